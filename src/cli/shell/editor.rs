use std::borrow::Cow;
use std::path::PathBuf;

use nu_ansi_term::{Color, Style};
use reedline::{
    ColumnarMenu, DefaultHinter, EditCommand, Emacs, FileBackedHistory, Highlighter, KeyCode,
    KeyModifiers, MenuBuilder, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus,
    Reedline, ReedlineEvent, ReedlineMenu, StyledText, ValidationResult, Validator,
    default_emacs_keybindings,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, Tokenizer, Whitespace};

use super::SharedNames;
use super::names::NameCompleter;

const MENU: &str = "names";
const HISTORY_ENTRIES: usize = 10_000;

pub fn editor(names: SharedNames, color: bool) -> Reedline {
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![
            ReedlineEvent::Menu(MENU.to_string()),
            ReedlineEvent::MenuNext,
        ]),
    );
    keys.add_binding(
        KeyModifiers::SHIFT,
        KeyCode::BackTab,
        ReedlineEvent::MenuPrevious,
    );
    keys.add_binding(
        KeyModifiers::ALT,
        KeyCode::Enter,
        ReedlineEvent::Edit(vec![EditCommand::InsertNewline]),
    );
    let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU)));
    let mut editor = Reedline::create()
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_completer(Box::new(NameCompleter(names)))
        .with_menu(menu)
        .with_partial_completions(true)
        .with_quick_completions(true)
        .with_validator(Box::new(Complete))
        .use_bracketed_paste(true)
        .with_ansi_colors(color);
    if color {
        let hint = Style::new().fg(Color::DarkGray);
        editor = editor
            .with_hinter(Box::new(DefaultHinter::default().with_style(hint)))
            .with_highlighter(Box::new(SqlColors));
    }
    match history_file().map(|path| FileBackedHistory::with_file(HISTORY_ENTRIES, path)) {
        Some(Ok(history)) => editor.with_history(Box::new(history)),
        // A home that cannot be written: the history lasts as long as the shell.
        _ => editor,
    }
}

/// `$XDG_STATE_HOME/belvedere/history`, by default in `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    Some(state.or_else(home)?.join("belvedere").join("history"))
}

pub struct Prompt;

impl reedline::Prompt for Prompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "belvedere".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "        …> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "nothing like ",
        };
        format!(" (history: {failing}{}) ", search.term).into()
    }
}

/// Enter executes what is complete, and begins a new line otherwise.
struct Complete;

impl Validator for Complete {
    fn validate(&self, line: &str) -> ValidationResult {
        match is_complete(line) {
            true => ValidationResult::Complete,
            false => ValidationResult::Incomplete,
        }
    }
}

fn is_complete(text: &str) -> bool {
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.starts_with('\\') || super::commands::is_word(trimmed) {
        return true;
    }
    // A text without its end (a quote, a comment) cannot be cut into tokens.
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize() else {
        return false;
    };
    let last = tokens
        .iter()
        .rev()
        .find(|token| !matches!(token, Token::Whitespace(_)));
    matches!(last, Some(Token::SemiColon))
}

/// Keywords, texts, numbers and comments in colours.
struct SqlColors;

impl Highlighter for SqlColors {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        styled.push((Style::new(), line.to_string()));
        let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, line).tokenize_with_location()
        else {
            return styled;
        };
        let starts: Vec<usize> = std::iter::once(0)
            .chain(line.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        for token in tokens {
            let (Some(style), Some(from), Some(to)) = (
                style(&token.token),
                offset(line, &starts, token.span.start),
                offset(line, &starts, token.span.end),
            ) else {
                continue;
            };
            styled.style_range(from, to, style);
        }
        styled
    }
}

fn style(token: &Token) -> Option<Style> {
    Some(match token {
        Token::Word(word) if word.keyword != Keyword::NoKeyword && word.quote_style.is_none() => {
            Style::new().fg(Color::LightBlue)
        }
        Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::DollarQuotedString(_) => Style::new().fg(Color::LightGreen),
        Token::Number(..) => Style::new().fg(Color::LightCyan),
        Token::Whitespace(
            Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_),
        ) => Style::new().fg(Color::DarkGray),
        _ => return None,
    })
}

/// The byte at a line and column, which count from 1, columns in characters.
fn offset(text: &str, starts: &[usize], at: Location) -> Option<usize> {
    let start = *starts.get(usize::try_from(at.line).ok()?.checked_sub(1)?)?;
    let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
    let line = &text[start..];
    Some(
        start
            + line
                .char_indices()
                .nth(column)
                .map_or(line.len(), |(at, _)| at),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_with_a_semicolon() {
        for complete in [
            "",
            "  ",
            "SELECT 1;",
            "SELECT 1; -- so",
            "\\d erp.item",
            "SELECT ';';",
            "quit",
        ] {
            assert!(is_complete(complete), "{complete}");
        }
        for open in [
            "SELECT 1",
            "SELECT ';",
            "SELECT 1 /* ;",
            "SELECT 1 -- ;",
            "SELECT \"a;",
            "SELECT 1; SELECT 2",
        ] {
            assert!(!is_complete(open), "{open}");
        }
    }

    #[test]
    fn colours_leave_the_text_as_it_is() {
        for text in [
            "SELECT 'größe', 1.5 -- für\nFROM t",
            "SELECT '",
            "sel ü\n\n'ß' x",
            "",
        ] {
            assert_eq!(SqlColors.highlight(text, 0).raw_string(), text);
        }
    }
}

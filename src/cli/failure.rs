use std::fmt::Write as _;
use std::process::ExitCode;

use crate::{Error, Kind};

/// Why a command ends without success: what failed, where, and what to do, in the one form all commands print.
#[derive(Debug)]
pub struct Failure {
    message: String,
    /// The statement and the place in it.
    place: Option<Place>,
    help: Option<String>,
    code: u8,
}

#[derive(Debug)]
struct Place {
    sql: String,
    line: u64,
    column: u64,
}

/// Exit codes, as `--help` lists them.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// A source or server is not to be had now: trying again may help.
const TRANSIENT: u8 = 75;
/// What a shell reports of a process that wrote to a closed pipe.
const UNHEARD: u8 = 141;
/// What a shell reports of a process ended by Ctrl-C.
pub const INTERRUPTED: u8 = 130;

pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            help: None,
            code: FAILED,
        }
    }

    /// The command line asks for something that cannot be.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            ..Self::new(message)
        }
    }

    pub fn interrupted() -> Self {
        Self {
            code: INTERRUPTED,
            ..Self::new("cancelled")
        }
    }

    /// Who read our output has gone: `… | head`. Nobody is to be told.
    pub fn unheard() -> Self {
        Self {
            code: UNHEARD,
            ..Self::new("nobody reads the output")
        }
    }

    pub fn is_unheard(&self) -> bool {
        self.code == UNHEARD
    }

    pub fn is_interruption(&self) -> bool {
        self.code == INTERRUPTED
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn transient(mut self) -> Self {
        self.code = TRANSIENT;
        self
    }

    /// Where in a statement's text, line and column from 1.
    #[must_use]
    pub fn at(mut self, sql: &str, (line, column): (u64, u64)) -> Self {
        self.place = Some(Place {
            sql: sql.to_string(),
            line,
            column,
        });
        self
    }

    /// What a file or statement it is about.
    #[must_use]
    pub fn inside(mut self, what: &str) -> Self {
        if !self.is_interruption() {
            self.message = format!("{what}: {}", self.message);
        }
        self
    }

    /// An error of the engine on a statement.
    pub fn of(error: &Error, sql: &str) -> Self {
        let failure = match error {
            Error::Parse(e) => Self {
                help: e.hint.clone(),
                ..Self::new(e.kind.to_string())
            },
            other => Self::from(other),
        };
        match error.position() {
            Some(position) => failure.at(sql, position),
            None => failure,
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// `error: …`, the line of SQL with a caret below the place, `help: …`.
    pub fn render(&self) -> String {
        if self.is_interruption() {
            return self.message.clone();
        }
        let mut text = format!("error: {}", self.message);
        if let Some(place) = &self.place {
            place.render(&mut text);
        }
        if let Some(help) = &self.help {
            let _ = write!(text, "\n help: {help}");
        }
        text
    }
}

impl From<&Error> for Failure {
    fn from(e: &Error) -> Self {
        let code = match e.kind() {
            Kind::Transient => TRANSIENT,
            _ => FAILED,
        };
        // What to do follows the message; it has a line of its own here.
        let (message, help) = match e {
            Error::Invalid { message, help } | Error::Store { message, help } => {
                (message.clone(), help.clone())
            }
            other => (other.to_string(), None),
        };
        Self {
            message,
            place: None,
            help,
            code,
        }
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::from(&e)
    }
}

impl From<arrow::error::ArrowError> for Failure {
    fn from(e: arrow::error::ArrowError) -> Self {
        Self::new(format!("a value cannot be shown: {e}"))
    }
}

impl Place {
    /// Characters of a long line that are shown on each side of the place.
    const CONTEXT: usize = 60;

    fn render(&self, text: &mut String) {
        let line = usize::try_from(self.line)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let column = usize::try_from(self.column)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let Some(shown) = self.sql.split('\n').nth(line) else {
            return;
        };
        let from = column.saturating_sub(Self::CONTEXT);
        // Tabs and control characters would move the caret away from its place.
        let part: String = shown
            .trim_end_matches('\r')
            .chars()
            .skip(from)
            .take(2 * Self::CONTEXT)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let caret = super::table::width_of(&part.chars().take(column - from).collect::<String>());
        let _ = write!(
            text,
            "\n {number} | {}\n {margin} | {}^",
            part.trim_end(),
            " ".repeat(caret)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_place() {
        let failure = Failure::new("expected FROM")
            .at("SELECT 1,\n\t'größe' FORM x", (2, 10))
            .help("did you mean FROM?");
        assert_eq!(
            failure.render(),
            "error: expected FROM\n 2 |  'größe' FORM x\n   |          ^\n help: did you mean FROM?"
        );
    }

    #[test]
    fn a_place_outside_of_the_text_is_left_out() {
        assert_eq!(
            Failure::new("bad").at("SELECT", (9, 9)).render(),
            "error: bad"
        );
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let sql = format!("SELECT {} FORM x", "a, ".repeat(200));
        let rendered = Failure::new("bad").at(&sql, (1, 609)).render();
        let lines: Vec<_> = rendered.lines().collect();
        assert!(lines[1].chars().count() < 140);
        assert_eq!(
            lines[1].chars().nth(lines[2].chars().count() - 1),
            Some('F')
        );
    }
}

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::messages::Replies;
use crate::error::Error;

/// How bad it is: after a fatal one the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    Fatal,
}

/// The engine's error, in the fields that PostgreSQL's clients look for. `sql`: what its position is in.
pub(super) fn error(out: &mut Replies, severity: Severity, error: &Error, sql: Option<&str>) {
    let written = || {
        let sql = sql?;
        match error.position() {
            Some(at) => Some(offset(sql, at)),
            None => place_of(error.about()?, sql),
        }
    };
    let position = written().map(|position| position.to_string());
    let position = position.as_deref().map(|position| (b'P', position));
    if error.is_of_other_columns() {
        // Drivers know it by this, and prepare the statement again.
        let message = error.to_string();
        let more = [(b'D', message.as_str()), (b'R', "RevalidateCachedQuery")];
        let message = "cached plan must not change result type";
        return fields(out, severity, "0A000", message, &more);
    }
    fields(
        out,
        severity,
        error.sqlstate(),
        &error.to_string(),
        position.as_slice(),
    );
}

pub(super) fn fatal(out: &mut Replies, sqlstate: &str, message: &str) {
    fields(out, Severity::Fatal, sqlstate, message, &[]);
}

pub(super) fn notice(out: &mut Replies, message: &str) {
    out.said(
        b'N',
        &[
            (b'S', "NOTICE"),
            (b'V', "NOTICE"),
            (b'C', "00000"),
            (b'M', message),
        ],
    );
}

fn fields(out: &mut Replies, severity: Severity, code: &str, message: &str, more: &[(u8, &str)]) {
    let severity = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    let mut fields = vec![
        (b'S', severity),
        (b'V', severity),
        (b'C', code),
        (b'M', message),
    ];
    fields.extend(more);
    out.said(b'E', &fields);
}

/// The character, counted from 1, at which a name stands in a text. None: it does not, or in several statements.
fn place_of(name: &str, sql: &str) -> Option<u64> {
    let tokens = tokens(sql)?;
    let parts: Vec<String> = parts_of(name)?;
    // Of a column that the planner calls by its table, where the text has its name alone.
    place(&parts, &tokens, sql).or_else(|| place(&parts[parts.len() - 1..], &tokens, sql))
}

fn place(parts: &[String], tokens: &[TokenWithSpan], sql: &str) -> Option<u64> {
    let length = (2 * parts.len()).checked_sub(1)?;
    let is_period = |at: usize| tokens.get(at).is_some_and(|t| t.token == Token::Period);
    let is_here = |at: &usize| {
        let words = tokens[*at..].iter().step_by(2).zip(parts);
        let same = words.filter(|(token, part)| match &token.token {
            Token::Word(word) => word.value.eq_ignore_ascii_case(part),
            _ => false,
        });
        let is_joined = (1..length).step_by(2).all(|period| is_period(at + period));
        let is_part = is_period(at + length) || (*at > 0 && is_period(at - 1));
        same.count() == parts.len() && is_joined && !is_part
    };
    let mut found = (0..tokens.len()).filter(is_here);
    let first = found.next()?;
    let last = found.next_back().unwrap_or(first);
    let is_one_statement = tokens[first..last]
        .iter()
        .all(|t| t.token != Token::SemiColon);
    let start = tokens[first].span.start;
    is_one_statement.then(|| offset(sql, (start.line, start.column)))
}

fn tokens(sql: &str) -> Option<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
    let mut tokens = tokens.ok()?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    Some(tokens)
}

/// The parts of a name. None: it is none.
fn parts_of(name: &str) -> Option<Vec<String>> {
    let tokens = tokens(name)?;
    let mut periods = tokens.iter().skip(1).step_by(2);
    if periods.any(|token| token.token != Token::Period) {
        return None;
    }
    let parts = tokens.into_iter().step_by(2);
    let parts = parts.map(|token| match token.token {
        Token::Word(word) => Some(word.value),
        _ => None,
    });
    let parts: Vec<String> = parts.collect::<Option<_>>()?;
    (!parts.is_empty()).then_some(parts)
}

/// Of a line and a column: the character, counted from 1.
fn offset(sql: &str, (line, column): (u64, u64)) -> u64 {
    let before = sql.split('\n').take(usize::try_from(line - 1).unwrap_or(0));
    let before: u64 = before.map(|line| line.chars().count() as u64 + 1).sum();
    before + column
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_characters() {
        assert_eq!(offset("SELECT é FORM t", (1, 10)), 10);
        assert_eq!(offset("SELECT é\nFORM t", (2, 1)), 10);
    }

    #[test]
    fn names_are_found_where_they_are_written() {
        assert_eq!(place_of("nope", "SELECT a,\n nope FROM t"), Some(12));
        assert_eq!(place_of("a.nope", "SELECT a.nope FROM a"), Some(8));
        assert_eq!(place_of("t.name", "SELECT count(*), name FROM t"), Some(18));
        // It is the column without a table that is ambiguous.
        let join = "SELECT a.id, id FROM a JOIN b ON a.id = b.id";
        assert_eq!(place_of("id", join), Some(14));
        assert_eq!(place_of("ID", "SELECT \"ID\" FROM t"), Some(8));
        assert_eq!(place_of("f", "SELECT 'f', f(1)"), Some(13));
        assert_eq!(place_of("x", "SELECT 1"), None);
        assert_eq!(place_of("x", "SELECT 1 AS x; SELECT x"), None);
        assert_eq!(place_of("", "SELECT 1"), None);
    }
}

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
    let position = error
        .position()
        .zip(sql)
        .map(|(at, sql)| offset(sql, at).to_string());
    fields(
        out,
        severity,
        error.sqlstate(),
        &error.to_string(),
        position.as_deref(),
    );
}

pub(super) fn fatal(out: &mut Replies, sqlstate: &str, message: &str) {
    fields(out, Severity::Fatal, sqlstate, message, None);
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

fn fields(
    out: &mut Replies,
    severity: Severity,
    code: &str,
    message: &str,
    position: Option<&str>,
) {
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
    fields.extend(position.map(|position| (b'P', position)));
    out.said(b'E', &fields);
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
}

//! `SIMILAR TO`: SQL's regular expressions as those that are matched here.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::wrong;

/// `similar_to_escape(pattern, escape)`
pub(super) fn escaped(args: &[ArrayRef]) -> Result<ArrayRef> {
    let patterns = cast(&args[0], &DataType::Utf8)?;
    let patterns = patterns.as_string::<i32>();
    let escapes = args
        .get(1)
        .map(|escapes| cast(escapes, &DataType::Utf8))
        .transpose()?;
    let mut found = Vec::with_capacity(patterns.len());
    for (row, pattern) in patterns.iter().enumerate() {
        let escape = match &escapes {
            None => Some("\\"),
            Some(escapes) => escapes.as_string::<i32>().iter().nth(row).flatten(),
        };
        found.push(match (pattern, escape) {
            (Some(pattern), Some(escape)) => Some(expression(pattern, one(escape)?)?),
            _ => None,
        });
    }
    Ok(Arc::new(StringArray::from(found)))
}

/// The character that takes the next one's meaning; of an empty text there is none.
fn one(escape: &str) -> Result<Option<char>> {
    let mut chars = escape.chars();
    match (chars.next(), chars.next()) {
        (escape, None) => Ok(escape),
        _ => Err(wrong("an escape is one character, or none", "22025")),
    }
}

/// The regular expression of all that a pattern is about.
fn expression(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut expression = String::from("(?s)^(?:");
    let mut chars = pattern.chars().peekable();
    let mut in_brackets = false;
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => {
                let next = chars.next();
                let next = next.ok_or_else(|| {
                    wrong("a pattern must not end with its escape character", "22025")
                })?;
                push_literal(&mut expression, next);
            }
            '[' if in_brackets && chars.peek() == Some(&':') => {
                // `[:alpha:]`
                expression.push(c);
                for c in chars.by_ref() {
                    expression.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            ']' if in_brackets => {
                in_brackets = false;
                expression.push(c);
            }
            '[' | '&' | '~' | '\\' if in_brackets => push_literal(&mut expression, c),
            c if in_brackets => expression.push(c),
            '[' => {
                in_brackets = true;
                expression.push(c);
                if chars.next_if_eq(&'^').is_some() {
                    expression.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    expression.push_str("\\]");
                }
            }
            '%' => expression.push_str(".*"),
            '_' => expression.push('.'),
            '(' => expression.push_str("(?:"),
            '\\' | '.' | '^' | '$' => push_literal(&mut expression, c),
            c => expression.push(c),
        }
    }
    expression.push_str(")$");
    Ok(expression)
}

fn push_literal(expression: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        expression.push('\\');
    }
    expression.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_regular_expressions_of_the_whole() {
        let of = |pattern| expression(pattern, Some('\\')).unwrap();
        assert_eq!(of("Smith%"), "(?s)^(?:Smith.*)$");
        assert_eq!(of("a|b_"), "(?s)^(?:a|b.)$");
        assert_eq!(of("(ab){2,3}c+"), "(?s)^(?:(?:ab){2,3}c+)$");
        assert_eq!(of("1.5$\\%"), "(?s)^(?:1\\.5\\$\\%)$");
        assert_eq!(of("[^a-c%][[:alpha:]]"), "(?s)^(?:[^a-c%][[:alpha:]])$");
        assert_eq!(expression("a#_", Some('#')).unwrap(), "(?s)^(?:a\\_)$");
        assert!(expression("a\\", Some('\\')).is_err());
    }
}

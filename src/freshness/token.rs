use std::fmt;
use std::time::Instant;

use belvedere_connector::Position;
use belvedere_sql::ident;

use crate::error::{Error, Result};

/// What a write answers with, and `read_after` takes: who has read as far as this has read that write.
#[derive(Debug, Clone)]
pub struct Token {
    pub source: String,
    /// None: the source has no log, and whoever asks it from then on sees the write.
    pub position: Option<Position>,
    /// What was asked of the source at this moment, or later, has the write: it was done when the token was made, or came here.
    pub since: Instant,
}

/// In place of a position, where there is none.
const NOW: &str = "now";

impl Token {
    pub fn new(source: &str, position: Option<Position>) -> Self {
        Self {
            source: source.to_string(),
            position,
            since: Instant::now(),
        }
    }

    /// Several, with commas between them; of an empty text none.
    pub fn parse_all(text: &str) -> Result<Vec<Self>> {
        let mut tokens = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let malformed = || {
                Error::invalid_with_help(
                    "setting read_after is what writes answered with, like 'erp=0a1b/00c4', several with commas between them",
                    "SHOW last_write has it; '' is none",
                )
            };
            let (source, after) = named(rest).ok_or_else(malformed)?;
            let (place, next) = after.split_once(',').unwrap_or((after, ""));
            let position = match place.trim() {
                NOW => None,
                place => Some(place.parse().map_err(|_| malformed())?),
            };
            tokens.push(Self::new(&source, position));
            rest = next.trim();
        }
        Ok(tokens)
    }

    pub fn all(tokens: &[Self]) -> String {
        let texts: Vec<String> = tokens.iter().map(ToString::to_string).collect();
        texts.join(",")
    }
}

/// The name before `=`, which may be in quotes, and what follows.
fn named(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let (name, rest) = text.split_once('=')?;
        let name = name.trim();
        return (!name.is_empty() && !name.contains(',')).then(|| (name.to_string(), rest));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, after.trim_start().strip_prefix('=')?)),
        }
    }
}

/// When it came does not tell it from another.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.position == other.position
    }
}

/// `erp=0a1b/00c4`
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", ident(self.source.as_str()))?;
        match &self.position {
            Some(position) => write!(f, "{position}"),
            None => f.write_str(NOW),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let at = |place: u8| Some(Position::new([1, 2], [place]));
        let tokens = [
            Token::new("erp", at(7)),
            Token::new("a, \"b\"=c", at(8)),
            Token::new("lake", None),
        ];
        let text = Token::all(&tokens);
        assert_eq!(text, r#"erp=0102/07,"a, ""b""=c"=0102/08,lake=now"#);
        assert_eq!(Token::parse_all(&text).unwrap(), tokens);
        assert_eq!(Token::parse_all(" ").unwrap(), []);
        for text in [
            "erp",
            "erp=",
            "erp=5",
            "=01/02",
            "erp=01/0g",
            "\"erp=01/02",
            "a,b=01/02",
        ] {
            assert!(Token::parse_all(text).is_err(), "{text}");
        }
    }
}

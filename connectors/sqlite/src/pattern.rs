//! LIKE by characters, without an escape.

use memchr::memmem::Finder;

/// A pattern that many texts are held against.
#[derive(Debug)]
pub enum Pattern {
    Exactly(String),
    /// `first%middle%last`: texts in which these follow one another. (In UTF-8, bytes found are characters found.)
    Pieces {
        first: String,
        middle: Vec<Finder<'static>>,
        last: String,
    },
    /// With `_`.
    Other(String),
}

impl Pattern {
    pub fn new(pattern: &str) -> Self {
        if pattern.contains('_') {
            return Self::Other(pattern.to_string());
        }
        let mut pieces = pattern.split('%');
        let first = pieces.next().unwrap_or_default().to_string();
        let Some(last) = pieces.next_back() else {
            return Self::Exactly(first);
        };
        let finder = |piece: &str| Finder::new(piece).into_owned();
        Self::Pieces {
            first,
            middle: pieces
                .filter(|piece| !piece.is_empty())
                .map(finder)
                .collect(),
            last: last.to_string(),
        }
    }

    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::Exactly(whole) => text == whole,
            Self::Other(pattern) => like(text, pattern),
            Self::Pieces {
                first,
                middle,
                last,
            } => {
                let rest = between(text.as_bytes(), first.as_bytes(), last.as_bytes());
                let found = middle.iter().try_fold(rest, |rest, piece| {
                    let rest = rest?;
                    let at = piece.find(rest)?;
                    Some(rest.get(at + piece.needle().len()..))
                });
                matches!(found, Some(Some(_)))
            }
        }
    }
}

/// What is left of a text without its beginning and its end. Nothing is not compared: it is nowhere, and a read from there
/// that needs no byte still takes longer than the rest of the work.
fn between<'a>(text: &'a [u8], first: &[u8], last: &[u8]) -> Option<&'a [u8]> {
    let text = match first {
        [] => text,
        _ => text.strip_prefix(first)?,
    };
    match last {
        [] => Some(text),
        _ => text.strip_suffix(last),
    }
}

/// Any pattern.
fn like(text: &str, pattern: &str) -> bool {
    let (mut text, mut pattern) = (text.chars(), pattern.chars());
    // Where to go on after the last `%`: what it has not taken yet.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut rest = pattern.clone();
        let matched = match rest.next() {
            Some('%') => {
                retry = Some((text.clone(), rest.clone()));
                true
            }
            Some('_') => text.next().is_some(),
            Some(wanted) => text.next() == Some(wanted),
            None if text.as_str().is_empty() => return true,
            None => false,
        };
        if matched {
            pattern = rest;
            continue;
        }
        let Some((from, after)) = &mut retry else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        text = from.clone();
        pattern = after.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_by_characters() {
        for (text, pattern, expected) in [
            ("", "", true),
            ("", "%", true),
            ("", "_", false),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "%b%", true),
            ("abc", "a_c", true),
            ("aäc", "a_c", true),
            ("abc", "A%", false),
            ("aab", "%ab", true),
            ("aaab", "%a_b", true),
            ("abcbd", "a%b_", true),
            ("ab", "a%b_", false),
            ("a\0b\n", "a_b_", true),
        ] {
            assert_eq!(like(text, pattern), expected, "{text:?} LIKE {pattern:?}");
        }
    }

    /// Every short pattern and text of a few characters, of which some share bytes.
    #[test]
    fn a_pattern_holds_for_what_like_says() {
        fn words(letters: &[char], length: usize) -> Vec<String> {
            let mut all = vec![String::new()];
            for _ in 0..length {
                let longer = all
                    .iter()
                    .flat_map(|word| letters.iter().map(move |letter| format!("{word}{letter}")));
                all = longer.chain([String::new()]).collect();
            }
            all
        }
        let texts = words(&['a', 'b', 'ä', 'ã'], 4);
        for pattern in words(&['%', '_', 'a', 'b', 'ä'], 4) {
            let compiled = Pattern::new(&pattern);
            for text in &texts {
                assert_eq!(
                    compiled.holds(text),
                    like(text, &pattern),
                    "{text} LIKE {pattern}"
                );
            }
        }
        assert!(Pattern::new("%b\0%d").holds("ab\0cd"));
        assert!(!Pattern::new("ab%bc").holds("abc"));
    }
}

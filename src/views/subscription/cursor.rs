//! Where a subscriber is, as a text that it may come back with.

use std::fmt;
use std::str::FromStr;

/// A place among the changes of one view: all up to an epoch was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// Of which view, with which query.
    pub origin: u64,
    /// An epoch's number, or a version's.
    pub epoch: u64,
    /// Where that epoch ended in the logs of sources; when that version's run began.
    pub mark: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}-{:016x}", self.origin, self.epoch, self.mark)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or(());
        let cursor = Self {
            origin: u64::from_str_radix(part()?, 16).map_err(drop)?,
            epoch: part()?.parse().map_err(drop)?,
            mark: u64::from_str_radix(part()?, 16).map_err(drop)?,
        };
        // Only what is written here: no sign, no other number of digits.
        match cursor.to_string() == text {
            true => Ok(cursor),
            false => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_read() {
        let cursor = Cursor {
            origin: 0xab,
            epoch: 12,
            mark: u64::MAX,
        };
        let text = cursor.to_string();
        assert_eq!(text, "00000000000000ab-12-ffffffffffffffff");
        assert_eq!(text.parse(), Ok(cursor));
        for text in ["", "ab-12-ff", &text[1..], &format!("{text}-"), "x-1-y"] {
            assert_eq!(text.parse::<Cursor>(), Err(()), "{text}");
        }
    }
}

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place in a source's log, after some transaction: what was committed up to it is in, the rest is not.
///
/// Opaque to all but its source, which gives it an order by how it writes it: within one timeline, places compare byte
/// by byte. Durable in the engine's checkpoint, so that a source still has to understand what an older version wrote.
///
/// | source | timeline | place |
/// |---|---|---|
/// | PostgreSQL | system identifier and timeline | LSN, big-endian |
/// | MariaDB | server, and what `RESET MASTER` changes | how many transactions of all domains there were, then the GTID list to resume with |
/// | MySQL | the server's UUID | how many transactions there were, then the GTID set to resume with |
/// | SQLite | a random number that is made with the triggers | the trigger's sequence |
/// | files, polls | a random number that is made with the first listing | the listing's number |
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    timeline: Vec<u8>,
    place: Vec<u8>,
}

impl Position {
    /// Where a source is restored from a backup, or replaced by another, it has another timeline from then on.
    pub fn new(timeline: impl Into<Vec<u8>>, place: impl Into<Vec<u8>>) -> Self {
        let (timeline, place) = (timeline.into(), place.into());
        Self { timeline, place }
    }

    pub fn timeline(&self) -> &[u8] {
        &self.timeline
    }

    pub fn place(&self) -> &[u8] {
        &self.place
    }
}

/// Positions of two timelines have no order: each of `<`, `<=`, `>`, `>=` is false.
impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.timeline == other.timeline).then(|| self.place.cmp(&other.place))
    }
}

/// As hexadecimal digits.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timeline
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "/")?;
        self.place
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// As it is displayed.
impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (timeline, place) = text.split_once('/').ok_or(NoPosition)?;
        Ok(Self::new(bytes(timeline)?, bytes(place)?))
    }
}

/// The text is none of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPosition;

fn bytes(hexadecimal: &str) -> Result<Vec<u8>, NoPosition> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    };
    let pairs = hexadecimal.as_bytes().chunks(2);
    pairs.map(byte).collect::<Option<_>>().ok_or(NoPosition)
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timelines_have_no_order_among_them() {
        let at = |timeline: u8, place: u64| Position::new([timeline], place.to_be_bytes());
        assert!(at(1, 255) < at(1, 256));
        assert!(at(1, 7) <= at(1, 7));
        assert_eq!(at(1, 7).partial_cmp(&at(2, 7)), None);
        let (a, b) = (at(1, 7), at(2, 9));
        assert_eq!([a < b, a <= b, a > b, a >= b], [false; 4]);
        assert_eq!(at(1, 258).to_string(), "01/0000000000000102");
    }

    #[test]
    fn what_is_displayed_is_read() {
        let position = Position::new([1, 0xab], 258_u64.to_be_bytes());
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", "01", "0g/00", "012/00", "01/0ü"] {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text}");
        }
    }
}

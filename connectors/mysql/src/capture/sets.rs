//! MySQL's positions: which transactions there were, as sets of numbers by who gave them.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use belvedere_connector::{Error, Result};
use mysql_async::Sid;

use super::bytes::{Bytes, malformed};
use super::place::rewound;

/// Who numbers transactions: a server, and a tag (of MySQL 8.3 and later) that may be empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub server: [u8; 16],
    pub tag: String,
}

/// A transaction's identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    pub origin: Origin,
    pub number: u64,
}

/// Ranges of numbers, first and last, in order and with gaps between them.
type Ranges = Vec<(u64, u64)>;

/// Transactions, by who numbered them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GtidSet(BTreeMap<Origin, Ranges>);

impl GtidSet {
    /// As the server writes it: `3e11fa47-…:1-5:9:tag:1,…`, also with the thread that owns each number (`9#17`). None: it is
    /// not of this form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Self::default();
        for of_server in text.split(',').map(str::trim).filter(|s| !s.is_empty()) {
            let mut parts = of_server.split(':').map(str::trim);
            let server = uuid(parts.next()?)?;
            let mut tag = String::new();
            for part in parts {
                if !part.starts_with(|c: char| c.is_ascii_digit()) {
                    tag = part.to_ascii_lowercase();
                    continue;
                }
                let part = part.split('#').next()?;
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                let tag = tag.clone();
                all.insert(Origin { server, tag }, first, last)?;
            }
        }
        Some(all)
    }

    /// As an event has it: `Gtid_set::encode` of the server, whose first number tells the form by its highest byte: 1 is that with
    /// tags, where the lowest byte repeats it.
    ///
    /// # Errors
    /// If it is of another form.
    pub fn decode(mut data: Bytes<'_>) -> Result<Self> {
        let header = data.uint(8)?;
        let (is_tagged, count) = match header >> 56 {
            0 => (false, header),
            1 => (true, header << 8 >> 16),
            _ => return Err(malformed()),
        };
        let mut all = Self::default();
        for _ in 0..count {
            let server = data.take(16)?.try_into().map_err(|_| malformed())?;
            let tag = if is_tagged {
                data.tag()?
            } else {
                String::new()
            };
            for _ in 0..data.uint(8)? {
                let (first, behind) = (data.uint(8)?, data.uint(8)?);
                let tag = tag.clone();
                let last = behind.checked_sub(1).ok_or_else(malformed)?;
                let added = all.insert(Origin { server, tag }, first, last);
                added.ok_or_else(malformed)?;
            }
        }
        Ok(all)
    }

    /// None: it is no range.
    fn insert(&mut self, origin: Origin, first: u64, last: u64) -> Option<()> {
        if first == 0 || first > last || last == u64::MAX {
            return None;
        }
        let ranges = self.0.entry(origin).or_default();
        // Those that it touches become one with it.
        let from = ranges.partition_point(|(_, end)| end + 1 < first);
        let to = ranges.partition_point(|(start, _)| *start <= last + 1);
        let touched = &ranges[from..to];
        let first = touched
            .first()
            .map_or(first, |(start, _)| first.min(*start));
        let last = touched.last().map_or(last, |(_, end)| last.max(*end));
        ranges.splice(from..to, [(first, last)]);
        Some(())
    }

    pub fn count(&self) -> u64 {
        let ranges = self.0.values().flatten();
        ranges.fold(0, |sum, (first, last)| sum.saturating_add(last - first + 1))
    }

    pub fn has(&self, other: &Self) -> bool {
        other.0.iter().all(|(origin, ranges)| {
            let ours = self.0.get(origin).map_or(&[][..], Vec::as_slice);
            ranges.iter().all(|range| covers(ours, *range))
        })
    }

    /// All that is in either.
    pub fn union(mut self, other: &Self) -> Self {
        for (origin, ranges) in &other.0 {
            for (first, last) in ranges {
                // What is in a set is a range.
                let _ = self.insert(origin.clone(), *first, *last);
            }
        }
        self
    }

    /// One more transaction.
    ///
    /// # Errors
    /// If it is in already: positions would not grow.
    pub fn add(&mut self, gtid: Numbered) -> Result<()> {
        let ours = self.0.get(&gtid.origin).map_or(&[][..], Vec::as_slice);
        if covers(ours, (gtid.number, gtid.number)) {
            return Err(rewound());
        }
        let added = self.insert(gtid.origin, gtid.number, gtid.number);
        added.ok_or_else(malformed)
    }

    /// As the client sends it (COM_BINLOG_DUMP_GTID).
    ///
    /// # Errors
    /// An internal one.
    pub fn sids(&self) -> Result<Vec<Sid<'static>>> {
        let sid = |(origin, ranges): (&Origin, &Ranges)| {
            let text = format!("{}{}", Named(origin), Listed(ranges));
            let sid = text.parse::<Sid<'static>>();
            sid.map_err(|e| Error::internal(format!("a position is not understood: {e}")))
        };
        self.0.iter().map(sid).collect()
    }
}

fn covers(ranges: &[(u64, u64)], (first, last): (u64, u64)) -> bool {
    let at = ranges.partition_point(|(_, end)| *end < last);
    ranges
        .get(at)
        .is_some_and(|(start, end)| *start <= first && *end >= last)
}

struct Named<'a>(&'a Origin);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::value::uuid(&self.0.server))?;
        match self.0.tag.is_empty() {
            true => Ok(()),
            false => write!(f, ":{}", self.0.tag),
        }
    }
}

struct Listed<'a>(&'a Ranges);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(first, last)| match first == last {
                true => write!(f, ":{first}"),
                false => write!(f, ":{first}-{last}"),
            })
    }
}

/// Each origin of its own, so that the text of one set is always the same.
impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (origin, ranges)) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_char(',')?;
            }
            write!(f, "{}{}", Named(origin), Listed(ranges))?;
        }
        Ok(())
    }
}

/// Of 32 digits and hyphens.
pub fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let is_digits = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u128::from_str_radix(&digits, 16).ok()?;
    is_digits.then(|| number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(&text.replace('A', A)).unwrap()
    }

    #[test]
    fn sets_are_read_and_written() {
        for (text, shown, count) in [
            ("", "", 0),
            ("A:1", "A:1", 1),
            ("A:1-3:5,\nA:4", "A:1-5", 5),
            ("A:5:1-3", "A:1-3:5", 4),
            ("A:1-2:Tag:7:9-10", "A:1-2,A:tag:7:9-10", 5),
            ("A:5#17:7#18", "A:5:7", 2),
            ("A:1-5:3-9", "A:1-9", 9),
        ] {
            assert_eq!(set(text).to_string(), shown.replace('A', A), "{text}");
            assert_eq!(set(text).count(), count, "{text}");
            assert_eq!(set(&set(text).to_string()), set(text), "{text}");
        }
        for odd in ["A:0", "A:3-1", "x:1", "A:1-", "A:18446744073709551615"] {
            assert_eq!(GtidSet::parse(&odd.replace('A', A)), None, "{odd}");
        }
    }

    #[test]
    fn what_is_in_another() {
        let all = set("A:1-5:8,A:x:1-2");
        for within in ["", "A:1", "A:2-5", "A:8", "A:x:2", "A:1-5:8:x:1"] {
            assert!(all.has(&set(within)), "{within}");
        }
        for beyond in ["A:6", "A:5-6", "A:5-8", "A:y:1", "A:x:3"] {
            assert!(!all.has(&set(beyond)), "{beyond}");
        }
        assert_eq!(set("A:1-2").union(&set("A:4,A:x:1")), set("A:1-2:4:x:1"));
    }

    #[test]
    fn numbers_come_once() {
        let mut all = set("A:1-3:5");
        let numbered = |number| Numbered {
            origin: Origin {
                server: uuid(A).unwrap(),
                tag: String::new(),
            },
            number,
        };
        all.add(numbered(4)).unwrap();
        assert_eq!(all, set("A:1-5"));
        assert!(all.add(numbered(2)).is_err());
    }

    #[test]
    fn events_have_sets() {
        let mut plain = 1_u64.to_le_bytes().to_vec();
        plain.extend(uuid(A).unwrap());
        for number in [1_u64, 1, 6] {
            plain.extend(number.to_le_bytes());
        }
        assert_eq!(GtidSet::decode(Bytes(&plain)).unwrap(), set("A:1-5"));
        let mut tagged = (1 << 56 | 1 << 8 | 1_u64).to_le_bytes().to_vec();
        tagged.extend(uuid(A).unwrap());
        tagged.extend([2, b'x']);
        for number in [1_u64, 7, 8] {
            tagged.extend(number.to_le_bytes());
        }
        assert_eq!(GtidSet::decode(Bytes(&tagged)).unwrap(), set("A:x:7"));
        assert!(GtidSet::decode(Bytes(&tagged[..40])).is_err());
        assert!(GtidSet::decode(Bytes(&[255; 40])).is_err());
    }
}

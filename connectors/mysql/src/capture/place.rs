use std::collections::BTreeMap;
use std::fmt::{self, Write};

use belvedere_connector::{Code, Error, Position, Result};

use super::bytes::malformed;

/// A transaction's identifier: domain, the server that committed it, and a number that grows within the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gtid {
    pub domain: u32,
    pub server: u32,
    pub number: u64,
}

/// The last transaction of each domain: what was committed up to them is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gtids(BTreeMap<u32, (u32, u64)>);

impl Gtids {
    /// As the server writes it: `0-1-39,7-2-4`. None: it is not of this form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = BTreeMap::new();
        for gtid in text
            .split(',')
            .map(str::trim)
            .filter(|gtid| !gtid.is_empty())
        {
            let mut parts = gtid.splitn(3, '-');
            let domain = parts.next()?.parse().ok()?;
            let server = parts.next()?.parse().ok()?;
            let number = parts.next()?.parse().ok()?;
            all.insert(domain, (server, number));
        }
        Some(Self(all))
    }

    /// How many transactions there were, as far as each domain numbers them without gaps: it grows with each.
    pub fn count(&self) -> u64 {
        let numbers = self.0.values().map(|(_, number)| number);
        numbers.fold(0, |sum, number| sum.saturating_add(*number))
    }

    /// Whether all that is in the other is in it, too.
    pub fn has(&self, other: &Self) -> bool {
        let has = |(domain, (_, number)): (&u32, &(u32, u64))| {
            self.0.get(domain).is_some_and(|(_, last)| last >= number)
        };
        other.0.iter().all(has)
    }

    /// One more transaction.
    ///
    /// # Errors
    /// If its number does not grow: positions would not either.
    pub fn add(&mut self, gtid: Gtid) -> Result<()> {
        let last = self.0.insert(gtid.domain, (gtid.server, gtid.number));
        match last {
            Some((_, last)) if last >= gtid.number => Err(Error::new(
                Code::LogRewound,
                "the numbers of its transactions went back",
            )
            .help("Run at the source: SET GLOBAL gtid_strict_mode = ON")),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Gtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (domain, (server, number))) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_char(',')?;
            }
            write!(f, "{domain}-{server}-{number}")?;
        }
        Ok(())
    }
}

/// A server's history of transactions, by its number among those that replicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeline {
    pub server: u32,
}

impl Timeline {
    pub fn at(self, gtids: &Gtids) -> Position {
        let mut place = gtids.count().to_be_bytes().to_vec();
        place.extend(gtids.to_string().into_bytes());
        Position::new(self.server.to_be_bytes(), place)
    }

    /// Where a position is on this timeline.
    ///
    /// # Errors
    /// [`Code::LogRewound`] if it is on another.
    pub fn gtids(self, position: &Position) -> Result<Gtids> {
        let list = position.place().get(8..).map(std::str::from_utf8);
        let gtids = match list {
            Some(Ok(list)) if position.timeline() == self.server.to_be_bytes() => {
                Gtids::parse(list)
            }
            _ => None,
        };
        gtids.ok_or_else(rewound)
    }

    pub fn parse(server: &str) -> Result<Self> {
        let server = server.parse().map_err(|_| malformed())?;
        Ok(Self { server })
    }
}

pub fn rewound() -> Error {
    let message = "its log is not the one that was read before: it was reset, restored from a backup, or is another server's";
    Error::new(Code::LogRewound, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_grow_with_each_transaction() {
        let timeline = Timeline { server: 7 };
        let mut gtids = Gtids::parse("0-1-9,3-2-4").unwrap();
        let before = timeline.at(&gtids);
        for (domain, number) in [(0, 10), (3, 5), (1, 1), (0, 11)] {
            let last = timeline.at(&gtids);
            let server = 1;
            gtids
                .add(Gtid {
                    domain,
                    server,
                    number,
                })
                .unwrap();
            assert!(timeline.at(&gtids) > last);
        }
        assert_eq!(gtids.to_string(), "0-1-11,1-1-1,3-1-5");
        assert_eq!(timeline.gtids(&timeline.at(&gtids)).unwrap(), gtids);
        assert!(gtids.has(&timeline.gtids(&before).unwrap()));
        assert!(!Gtids::default().has(&gtids) && gtids.has(&Gtids::default()));
        let back = Gtid {
            domain: 0,
            server: 1,
            number: 11,
        };
        assert_eq!(gtids.add(back).unwrap_err().code, Code::LogRewound);
    }

    #[test]
    fn positions_of_another_log_are_told_apart() {
        let timeline = Timeline { server: 7 };
        let position = timeline.at(&Gtids::parse("0-1-9").unwrap());
        let other = Timeline { server: 8 };
        assert_eq!(other.gtids(&position).unwrap_err().code, Code::LogRewound);
        for place in [&b"1"[..], b"12345678x", b"123456780-1"] {
            let odd = Position::new(position.timeline(), place);
            assert_eq!(timeline.gtids(&odd).unwrap_err().code, Code::LogRewound);
        }
    }
}

//! Positions, in the way of either family of servers.

use std::fmt;

use belvedere_connector::{Code, Error, Position, Result};

use super::bytes::malformed;
use super::domains::{self, Domains};
use super::sets::{self, GtidSet, Numbered};
use crate::session::Flavor;

/// A transaction's identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gtid {
    MariaDb(domains::Gtid),
    MySql(Numbered),
}

/// What was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gtids {
    MariaDb(Domains),
    MySql(GtidSet),
}

impl Gtids {
    /// As the server writes it. None: it is not of its form.
    pub fn parse(flavor: Flavor, text: &str) -> Option<Self> {
        match flavor {
            Flavor::MariaDb => Domains::parse(text).map(Self::MariaDb),
            Flavor::MySql => GtidSet::parse(text).map(Self::MySql),
        }
    }

    /// How many transactions there were: it grows with each.
    pub fn count(&self) -> u64 {
        match self {
            Self::MariaDb(gtids) => gtids.count(),
            Self::MySql(gtids) => gtids.count(),
        }
    }

    /// Whether all that is in the other is in it, too.
    pub fn has(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::MariaDb(gtids), Self::MariaDb(other)) => gtids.has(other),
            (Self::MySql(gtids), Self::MySql(other)) => gtids.has(other),
            _ => false,
        }
    }

    /// All that is in either.
    pub fn with(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::MySql(gtids), Self::MySql(other)) => Self::MySql(gtids.clone().union(other)),
            // It tells at once all that is in its log.
            _ => self.clone(),
        }
    }

    /// One more transaction.
    ///
    /// # Errors
    /// If its number does not grow, or is there: positions would not grow either.
    pub fn add(&mut self, gtid: Gtid) -> Result<()> {
        match (self, gtid) {
            (Self::MariaDb(gtids), Gtid::MariaDb(gtid)) => gtids.add(gtid),
            (Self::MySql(gtids), Gtid::MySql(gtid)) => gtids.add(gtid),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for Gtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MariaDb(gtids) => gtids.fmt(f),
            Self::MySql(gtids) => gtids.fmt(f),
        }
    }
}

/// A server's history of transactions: by its number among those that replicate, or, of MySQL, by its UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    pub flavor: Flavor,
    server: Vec<u8>,
}

impl Timeline {
    /// Of what the server is called by.
    ///
    /// # Errors
    /// If it is not of its form.
    pub fn parse(flavor: Flavor, server: &str) -> Result<Self> {
        let server = match flavor {
            Flavor::MariaDb => server.parse().ok().map(|id: u32| id.to_be_bytes().to_vec()),
            Flavor::MySql => sets::uuid(server).map(|uuid| uuid.to_vec()),
        };
        let server = server.ok_or_else(malformed)?;
        Ok(Self { flavor, server })
    }

    pub fn at(&self, gtids: &Gtids) -> Position {
        let mut place = gtids.count().to_be_bytes().to_vec();
        place.extend(gtids.to_string().into_bytes());
        Position::new(self.server.clone(), place)
    }

    /// Where a position is on this timeline.
    ///
    /// # Errors
    /// [`Code::LogRewound`] if it is on another.
    pub fn gtids(&self, position: &Position) -> Result<Gtids> {
        let list = position.place().get(8..).map(std::str::from_utf8);
        let gtids = match list {
            Some(Ok(list)) if position.timeline() == self.server => Gtids::parse(self.flavor, list),
            _ => None,
        };
        gtids.ok_or_else(rewound)
    }
}

pub fn rewound() -> Error {
    let message = "its log is not the one that was read before: it was reset, restored from a backup, or is another server's";
    Error::new(Code::LogRewound, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn at(flavor: Flavor, server: &str, gtids: &str) -> Position {
        let gtids = Gtids::parse(flavor, gtids).unwrap();
        Timeline::parse(flavor, server).unwrap().at(&gtids)
    }

    #[test]
    fn positions_grow_and_are_read_again() {
        let set = |ranges: &str| format!("{UUID}:{ranges}");
        for (flavor, server, less, more) in [
            (
                Flavor::MariaDb,
                "7",
                "0-1-9".to_string(),
                "0-1-10".to_string(),
            ),
            (Flavor::MySql, UUID, set("1-9"), set("1-9:11")),
        ] {
            let timeline = Timeline::parse(flavor, server).unwrap();
            let (less, more) = (at(flavor, server, &less), at(flavor, server, &more));
            assert!(less < more);
            assert_eq!(timeline.at(&timeline.gtids(&more).unwrap()), more);
            assert!(
                timeline
                    .gtids(&more)
                    .unwrap()
                    .has(&timeline.gtids(&less).unwrap())
            );
        }
        assert!(Timeline::parse(Flavor::MySql, "7").is_err());
    }

    #[test]
    fn positions_of_another_log_are_told_apart() {
        let position = at(Flavor::MariaDb, "7", "0-1-9");
        let timeline = Timeline::parse(Flavor::MariaDb, "7").unwrap();
        let other = Timeline::parse(Flavor::MariaDb, "8").unwrap();
        assert_eq!(other.gtids(&position).unwrap_err().code, Code::LogRewound);
        for place in [&b"1"[..], b"12345678x", b"123456780-1"] {
            let odd = Position::new(position.timeline(), place);
            assert_eq!(timeline.gtids(&odd).unwrap_err().code, Code::LogRewound);
        }
    }
}

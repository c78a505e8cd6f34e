//! MariaDB's positions: the last transaction of each domain.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use belvedere_connector::{Code, Error, Result};

/// A transaction's identifier: domain, the server that committed it, and a number that grows within the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gtid {
    pub domain: u32,
    pub server: u32,
    pub number: u64,
}

/// The last transaction of each domain: what was committed up to them is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domains(BTreeMap<u32, (u32, u64)>);

impl Domains {
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

impl fmt::Display for Domains {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_domain_grow() {
        let mut gtids = Domains::parse("0-1-9,3-2-4").unwrap();
        let before = gtids.clone();
        let gtid = |(domain, number)| Gtid {
            domain,
            server: 1,
            number,
        };
        for next in [(0, 10), (3, 5), (1, 1), (0, 11)] {
            let count = gtids.count();
            gtids.add(gtid(next)).unwrap();
            assert!(gtids.count() > count);
        }
        assert_eq!(gtids.to_string(), "0-1-11,1-1-1,3-1-5");
        assert!(gtids.has(&before) && !before.has(&gtids));
        assert!(!Domains::default().has(&gtids) && gtids.has(&Domains::default()));
        assert_eq!(gtids.add(gtid((0, 11))).unwrap_err().code, Code::LogRewound);
    }
}

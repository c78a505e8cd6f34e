use std::collections::BTreeMap;

use bytes::{Buf, BufMut};
use twox_hash::XxHash3_64;

/// By mark, what tells the versions of a file apart.
pub type Versions = BTreeMap<i64, u64>;

/// Which versions of which files some tables have, by the tables' names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing(pub BTreeMap<String, Versions>);

impl Listing {
    /// Table by table: the length of its name, its name, how many files, mark and version of each.
    pub fn write(&self, into: &mut Vec<u8>) {
        for (table, versions) in &self.0 {
            into.put_u32(table.len() as u32);
            into.put_slice(table.as_bytes());
            into.put_u32(versions.len() as u32);
            for (mark, version) in versions {
                into.put_i64(*mark);
                into.put_u64(*version);
            }
        }
    }

    /// None: it is nothing that was written.
    pub fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut tables = BTreeMap::new();
        while bytes.has_remaining() {
            let length = bytes.try_get_u32().ok()? as usize;
            let name = bytes.split_off(..length)?;
            let files = bytes.try_get_u32().ok()?;
            let mut versions = Versions::new();
            for _ in 0..files {
                let mark = bytes.try_get_i64().ok()?;
                versions.insert(mark, bytes.try_get_u64().ok()?);
            }
            tables.insert(String::from_utf8(name.to_vec()).ok()?, versions);
        }
        Some(Self(tables))
    }
}

/// The same in each process: positions hold it.
pub fn hash(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_as_it_was_written() {
        let listing = Listing(BTreeMap::from([
            ("empty".to_string(), Versions::new()),
            (
                "größe".to_string(),
                Versions::from([(-1, u64::MAX), (7, 0)]),
            ),
        ]));
        let mut bytes = Vec::new();
        listing.write(&mut bytes);
        assert_eq!(Listing::read(&bytes), Some(listing));
        assert_eq!(Listing::read(&[]), Some(Listing::default()));
        for end in 1..bytes.len() {
            let cut = Listing::read(&bytes[..end]);
            assert!(cut.is_none() || cut.is_some_and(|cut| cut.0.len() < 2));
        }
    }
}

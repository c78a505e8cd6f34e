use std::collections::HashSet;

/// Numbers below are PostgreSQL's own.
const FIRST: i64 = 16_384;
/// Clients keep them in 32 bits, some with a sign.
const LAST: i64 = i32::MAX as i64;

/// Schemas that have the same number everywhere.
pub(super) const PG_CATALOG: i64 = 11;
pub(super) const PUBLIC: i64 = 2200;
/// Who owns everything.
pub(super) const OWNER: i64 = 10;
pub(super) const DATABASE: i64 = 16_383;
pub(super) const TABLESPACE: i64 = 1663;
pub(super) const HEAP: i64 = 2;
pub(super) const BTREE: i64 = 403;
pub(super) const DEFAULT_COLLATION: i64 = 100;
pub(super) const INTERNAL: i64 = 12;

/// Gives numbers that follow from names: the same after a restart, and in every process, as long as the same things are
/// there. Of two names that would have one number, that which is asked for later has the next.
#[derive(Debug, Default)]
pub(super) struct Numbers(HashSet<i64>);

impl Numbers {
    pub fn give<'a>(&mut self, name: impl IntoIterator<Item = &'a str>) -> i64 {
        let mut oid = FIRST + (hash(name) % (LAST - FIRST) as u64) as i64;
        while !self.0.insert(oid) {
            oid = if oid == LAST { FIRST } else { oid + 1 };
        }
        oid
    }
}

/// FNV-1a: the same in every version of this program.
fn hash<'a>(name: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in name {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

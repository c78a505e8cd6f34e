//! Several connections that see one snapshot.
//!
//! SQLite has no name of a snapshot that another connection could ask for, but each connection counts the changes that
//! it meets. Every further connection looks before the first begins, and again when it has begun itself: if it met none,
//! nothing was committed in between, and it sees what the first sees, which began in between. (Without a
//! write-ahead log the first's lock alone lets nobody commit; then a writer that waits for it keeps others from beginning.)

use belvedere_connector::{Code, Result};

use crate::pool::{Lease, Patience};

/// How often all begin anew because somebody wrote.
const TRIES: usize = 4;

/// Begins on all of them, as one; of those that could not join the first, the connections are given back.
pub fn begin(mut leases: Vec<Lease>) -> Result<Vec<Lease>> {
    let Some((first, others)) = leases.split_first_mut() else {
        return Ok(leases);
    };
    let mut joined = Vec::new();
    for _ in 0..TRIES {
        first.end()?;
        let mut looked = Vec::with_capacity(others.len());
        for other in others.iter_mut() {
            other.end()?;
            looked.push(other.look()?);
        }
        first.begin()?;
        first.look()?;
        joined.clear();
        for (other, looked) in others.iter_mut().zip(looked) {
            joined.push(join(other, looked)? && other.shares_file_with(first));
        }
        if joined.iter().all(|joined| *joined) {
            break;
        }
    }
    let mut joined = [true].into_iter().chain(joined);
    leases.retain(|_| joined.next().unwrap_or(false));
    Ok(leases)
}

/// Whether nothing was committed since it looked.
fn join(lease: &mut Lease, looked: i64) -> Result<bool> {
    // The lock may be that of a writer who waits for the first: no use in waiting, too.
    lease.patience(Patience::None)?;
    let version = lease.begin().and_then(|()| lease.look());
    lease.patience(Patience::Usual)?;
    match version {
        Ok(version) => Ok(version == looked),
        Err(error) if error.code == Code::Busy => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rusqlite::Connection;

    use super::*;
    use crate::pool::Pool;

    struct File {
        dir: tempfile::TempDir,
        owner: Connection,
        pool: Arc<Pool>,
    }

    impl File {
        fn new(journal_mode: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("shop.db");
            let owner = Connection::open(&path).unwrap();
            let sql = format!("PRAGMA journal_mode = {journal_mode}; CREATE TABLE t (n INT)");
            owner.execute_batch(&sql).unwrap();
            // A test that waited for it would be noticed.
            let pool = Arc::new(Pool::new(path, 4, Duration::from_secs(600)));
            Self { dir, owner, pool }
        }

        fn lease(&self) -> Lease {
            self.pool.lease(self.pool.try_permit().unwrap()).unwrap()
        }

        fn write(&self) {
            self.owner
                .execute_batch("INSERT INTO t VALUES (1)")
                .unwrap();
        }
    }

    fn rows(lease: &mut Lease) -> i64 {
        let connection = lease.connection().unwrap();
        let count = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        count.unwrap()
    }

    #[test]
    fn nobody_joins_once_something_was_committed() {
        for journal_mode in ["WAL", "DELETE", "TRUNCATE", "PERSIST"] {
            let file = File::new(journal_mode);
            let mut lease = file.lease();
            for _ in 0..3 {
                let looked = lease.look().unwrap();
                assert!(join(&mut lease, looked).unwrap(), "{journal_mode}");
                lease.end().unwrap();
                file.write();
                assert!(!join(&mut lease, looked).unwrap(), "{journal_mode}");
                lease.end().unwrap();
            }
        }
    }

    #[test]
    fn all_see_the_same() {
        for journal_mode in ["WAL", "DELETE"] {
            let file = File::new(journal_mode);
            let mut leases = begin((0..4).map(|_| file.lease()).collect()).unwrap();
            assert_eq!(leases.len(), 4);
            if journal_mode == "WAL" {
                file.write();
            }
            assert!(leases.iter_mut().all(|lease| rows(lease) == 0));
            drop(leases);
            file.write();
            let mut lease = file.lease();
            assert!(rows(&mut lease) > 0);
        }
    }

    #[test]
    fn a_lock_is_not_waited_for() {
        let file = File::new("DELETE");
        let mut lease = file.lease();
        let looked = lease.look().unwrap();
        file.owner.execute_batch("BEGIN EXCLUSIVE").unwrap();
        assert!(!join(&mut lease, looked).unwrap());
        file.owner.execute_batch("COMMIT").unwrap();
        lease.end().unwrap();
        assert!(join(&mut lease, looked).unwrap());
    }

    #[test]
    fn another_file_is_not_joined() {
        let file = File::new("WAL");
        let first = file.lease();
        let path = file.dir.path().join("shop.db");
        std::fs::rename(&path, file.dir.path().join("old.db")).unwrap();
        std::fs::copy(file.dir.path().join("old.db"), &path).unwrap();
        let leases = begin(vec![first, file.lease()]).unwrap();
        assert_eq!(leases.len(), 1);
    }
}

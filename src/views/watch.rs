//! What is computed when it is asked for, and whether what that reads has changed since.
//!
//! A watch has no rows. It counts what sources' streams tell of rows that its query reads; what was computed while it stood at a
//! count is what the query gives, as long as it stands there. The count is taken before the query runs: what is committed after that
//! run has read is told later, and so counts. Since a run may have read between any two transactions, each of their rows is looked at,
//! not what an epoch has changed on the whole.
//!
//! A view that is computed when it is read has one of its own. Answers that are told again have those of the tables that are followed
//! for views anyway, one for each ([`Followed`]): for an answer alone no source is followed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use belvedere_connector::Captured;

use super::conditions::Conditions;
use crate::catalog::ObjectId;
use crate::replication::Wanted;

/// A table whose changes are told, and which of them count.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    pub wanted: Wanted,
    pub conditions: Conditions,
}

/// The tables of a view, and whether something has changed in them.
#[derive(Debug)]
pub struct Watch {
    pub tables: Vec<Watched>,
    pub sources: Arc<[String]>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    changes: u64,
    /// All changes are told. If not, nothing can be said of what was computed.
    is_live: bool,
}

/// What was computed while a watch stood at a count.
#[derive(Debug)]
pub struct Unchanged {
    /// When the run began.
    pub at: Instant,
    pub watch: Arc<Watch>,
    changes: u64,
}

/// The tables that an answer was made of, all of them followed, as they were when it was asked for.
#[derive(Debug)]
pub struct Followed {
    pub tables: Vec<Unchanged>,
    /// It is what it would be now for as long as they are: it does not hang on the time.
    pub is_timeless: bool,
}

impl Watch {
    /// Of one table, whatever of its rows changes.
    pub fn of_table(wanted: Wanted) -> Self {
        Self::new(vec![Watched {
            wanted,
            conditions: Conditions::every_row(),
        }])
    }

    /// Whether it tells of all changes of some columns of a source's table.
    pub fn tells_of(&self, source: &str, read: &Captured) -> bool {
        let mut tables = self.tables.iter();
        tables.any(|Watched { wanted, conditions }| {
            wanted.source == source && wanted.captured.holds(read) && conditions.is_every_row()
        })
    }

    pub fn new(tables: Vec<Watched>) -> Self {
        let sources = tables.iter().map(|table| table.wanted.source.clone());
        let mut sources: Vec<String> = sources.collect();
        sources.sort();
        sources.dedup();
        Self {
            tables,
            sources: sources.into(),
            seen: Mutex::default(),
        }
    }

    /// Something has changed.
    pub fn touch(&self) {
        self.seen().changes += 1;
    }

    /// Whether all changes are told from now on. What changed while they were not is not known.
    pub fn set_live(&self, is_live: bool) {
        let mut seen = self.seen();
        if seen.is_live != is_live {
            seen.is_live = is_live;
            seen.changes += 1;
        }
    }

    /// What a run that begins now finds is unchanged from here on. None: that could not be told.
    pub fn begin(self: &Arc<Self>, at: Instant) -> Option<Unchanged> {
        let seen = self.seen();
        seen.is_live.then(|| Unchanged {
            at,
            watch: self.clone(),
            changes: seen.changes,
        })
    }

    /// The tables of which not each change counts, and which do.
    pub fn conditions(&self) -> Option<String> {
        let narrowed = self
            .tables
            .iter()
            .filter(|table| !table.conditions.is_every_row());
        let narrowed = narrowed.map(|Watched { wanted, conditions }| {
            let table = &wanted.captured.table;
            let id = ObjectId::new([&*wanted.source, &*table.schema, &*table.name]);
            format!("{id} where {conditions}")
        });
        let narrowed: Vec<String> = narrowed.collect();
        (!narrowed.is_empty()).then(|| narrowed.join(", "))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unchanged {
    pub fn holds(&self) -> bool {
        let seen = self.watch.seen();
        seen.is_live && seen.changes == self.changes
    }
}

impl Followed {
    pub fn holds(&self) -> bool {
        self.tables.iter().all(Unchanged::holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_computed_holds_until_something_changes() {
        let watch = Arc::new(Watch::new(Vec::new()));
        let now = Instant::now();
        assert!(watch.begin(now).is_none());
        watch.set_live(true);
        let first = watch.begin(now).unwrap();
        assert!(first.holds());
        watch.set_live(true);
        assert!(first.holds());
        watch.touch();
        assert!(!first.holds());
        // What changed while nobody told is not known afterwards.
        let second = watch.begin(now).unwrap();
        watch.set_live(false);
        assert!(!second.holds());
        watch.set_live(true);
        assert!(!second.holds());
    }
}

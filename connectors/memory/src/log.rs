//! What was committed, in order, and what the tables were after each commit.

use std::collections::{BTreeMap, VecDeque};

use belvedere_connector::{Change, Code, Error, Position, Result};

use crate::table::MemoryTable;

pub(crate) type Tables = BTreeMap<String, MemoryTable>;

/// The commits there are still. Those before were truncated.
#[derive(Debug)]
pub(crate) struct Log {
    timeline: u32,
    /// The commit before the first that is kept, and what the tables were after it.
    base: u64,
    before: Tables,
    commits: VecDeque<Commit>,
}

#[derive(Debug)]
pub(crate) struct Commit {
    pub changes: Vec<(String, Change)>,
    /// After it. Batches are shared with those before.
    pub tables: Tables,
}

impl Log {
    pub fn new() -> Self {
        Self {
            timeline: 1,
            base: 0,
            before: Tables::new(),
            commits: VecDeque::new(),
        }
    }

    /// The last commit that was forgotten.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The last commit's number. They count from 1.
    pub fn head(&self) -> u64 {
        self.base + self.commits.len() as u64
    }

    pub fn position(&self, number: u64) -> Position {
        Position::new(self.timeline.to_be_bytes(), number.to_be_bytes())
    }

    /// The tables as they are.
    pub fn tables(&self) -> &Tables {
        self.commits
            .back()
            .map_or(&self.before, |commit| &commit.tables)
    }

    pub fn append(&mut self, changes: Vec<(String, Change)>, tables: Tables) {
        self.commits.push_back(Commit { changes, tables });
    }

    /// The commit of a number, and what the tables were before it. None: it is not there yet.
    pub fn commit(&self, number: u64) -> Result<Option<(&Tables, &Commit)>> {
        if number <= self.base {
            return Err(truncated());
        }
        let index = (number - self.base - 1) as usize;
        let before = match index.checked_sub(1) {
            None => Some(&self.before),
            Some(index) => self.commits.get(index).map(|commit| &commit.tables),
        };
        Ok(before.zip(self.commits.get(index)))
    }

    /// The number of the commit at a position that the log reaches back to, and on to.
    pub fn number(&self, position: &Position) -> Result<u64> {
        let place: Option<[u8; 8]> = position.place().try_into().ok();
        let number = place
            .map(u64::from_be_bytes)
            .filter(|number| *number <= self.head());
        match number {
            _ if position.timeline() != self.timeline.to_be_bytes() => Err(rewound()),
            None => Err(rewound()),
            Some(number) if number < self.base => Err(truncated()),
            Some(number) => Ok(number),
        }
    }

    /// What the tables were.
    pub fn tables_at(&self, position: &Position) -> Result<&Tables> {
        match self.number(position)? {
            number if number == self.base => Ok(&self.before),
            number => Ok(self
                .commit(number)?
                .map_or(&self.before, |(_, commit)| &commit.tables)),
        }
    }

    /// Forget what was committed up to a position.
    pub fn truncate(&mut self, position: &Position) -> Result<()> {
        let number = self.number(position)?;
        while self.base < number {
            let Some(commit) = self.commits.pop_front() else {
                break;
            };
            self.before = commit.tables;
            self.base += 1;
        }
        Ok(())
    }

    /// Be what it was at a position, as a system is that was restored from a backup: with a history of its own from then on.
    pub fn rewind(&mut self, position: &Position) -> Result<()> {
        let number = self.number(position)?;
        self.commits.truncate((number - self.base) as usize);
        self.timeline += 1;
        Ok(())
    }
}

fn truncated() -> Error {
    Error::new(
        Code::LogTruncated,
        "the log of changes no longer reaches back to that position",
    )
}

fn rewound() -> Error {
    Error::new(
        Code::LogRewound,
        "the position is not in the log of changes: the source was restored, or is another",
    )
}

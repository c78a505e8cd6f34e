//! What a session has written.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::freshness::{Freshness, Token};

/// The tokens of a session's writes.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    /// Of the last write of all.
    one: Option<Token>,
    /// Of the last one to each source.
    by_source: BTreeMap<String, Token>,
}

impl Written {
    pub fn add(&self, token: Token) {
        let mut last = self.lock();
        last.by_source.insert(token.source.clone(), token.clone());
        last.one = Some(token);
    }

    /// As `SHOW last_write` has it; empty before the first write.
    pub fn last(&self) -> String {
        let last = self.lock();
        last.one
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// The last of each source.
    pub fn tokens(&self) -> Vec<Token> {
        self.lock().by_source.values().cloned().collect()
    }

    /// Whether an answer has them that was made of this.
    pub fn are_in(&self, made_of: &Freshness) -> bool {
        let last = self.lock();
        let has = |token: &Token, age: Option<Duration>| {
            age.is_some_and(|age| age <= token.since.elapsed())
        };
        last.by_source.is_empty()
            || made_of.parts.iter().all(|part| {
                let mut own = part.sources.iter().filter_map(|s| last.by_source.get(s));
                own.all(|token| has(token, part.age()))
            })
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What there is of a table here, and of which position.

use std::collections::BTreeMap;
use std::sync::Arc;

use belvedere_connector::{Captured, Position};
use serde::{Deserialize, Serialize};

use crate::store::{Content, Pinned, Shape};

/// Where each source's log stands. One that nothing was copied of is not in it.
pub type Positions = BTreeMap<String, Position>;

/// A table of a source that is to be kept here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    pub source: String,
    pub captured: Captured,
    /// Its key's columns, by number among those wanted; None: rows are told apart by all of them.
    pub key: Option<Vec<usize>>,
    /// Columns that rows are found by. A source whose log names old rows by other columns than the key needs an index on
    /// those.
    pub indexes: Vec<Vec<usize>>,
    /// Its rows are not kept: it is only told when something has changed in it.
    #[serde(default)]
    pub is_watched: bool,
}

impl Wanted {
    pub(super) fn shape(&self, name: &str) -> Shape {
        let mut shape = Shape::new(name, self.captured.schema.clone());
        if let Some(key) = &self.key {
            shape = shape.with_key(key);
        }
        for index in &self.indexes {
            shape = shape.with_index(index);
        }
        shape
    }
}

/// The life of a replica. *P* is the position that the newest epoch has of its source.
///
/// ```text
///   add ──▶ Asked ──copied at S ≤ P──▶ Live ──its log does not go on──▶ Lost ──copied anew──▶ Live
///             └─────── refused ───────▶ Blocked ◀── it is not what it was, or a change does not fit ──┘
/// ```
///
/// A *copy* is made beside it: rows as of S, and what the stream brings behind S until an epoch has reached S. It is never
/// persisted: who did not finish it makes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// There is nothing to read. Set by whoever wants it; views on it wait. Persisted at once, with what it is: by then all that was
    /// [`State::Blocked`] is persisted, too. It has no position.
    Asked,
    /// Its content is the source's at P. Set by the epoch that takes its copy, once that is durable. Persisted with content and P in
    /// one commit; P ≤ what was received.
    Live,
    /// Its content is that of a position from which the source's log does not go on, or not for this table. It stays readable until a copy takes its place, in one
    /// epoch. Persisted as if it were live: who asks for the log again is told again.
    Lost,
    /// Its content is that at `at` ≤ P, and stays so; without `at` there is none. Set by an error that is this table's alone: it
    /// was dropped or has other columns, may not be read, or a change of it does not fit. Persisted. Only its removal ends it, and
    /// something else under another name.
    Blocked {
        at: Option<Position>,
        reason: String,
    },
}

impl State {
    /// Whether there is something to read.
    pub fn is_readable(&self) -> bool {
        match self {
            Self::Asked => false,
            Self::Live | Self::Lost => true,
            Self::Blocked { at, .. } => at.is_some(),
        }
    }

    /// Whether its changes are wanted, now or once it is copied.
    pub(super) fn is_followed(&self) -> bool {
        !matches!(self, Self::Blocked { .. })
    }

    pub(super) fn persisted(&self) -> Self {
        match self {
            Self::Lost => Self::Live,
            other => other.clone(),
        }
    }
}

/// An epoch: where it ends in each source's log, and in time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boundary {
    /// Counts from 1.
    pub epoch: u64,
    pub positions: Positions,
    /// What it takes for now: nanoseconds since 1970 in UTC, not before those of the epochs before it.
    #[serde(default)]
    pub clock: i64,
}

/// All there is after an epoch: what a restart begins with.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub boundary: Boundary,
    pub replicas: BTreeMap<String, Kept>,
    /// What the owner of the replicas wants to know again. Nothing is read from it here.
    pub note: String,
}

/// A replica in a checkpoint.
#[derive(Clone, Debug)]
pub struct Kept {
    pub wanted: Wanted,
    pub state: State,
    /// Where there is something to read.
    pub content: Option<Content>,
    /// Told by recovery alone: it had content, why it has none now, and that is not its source's doing. It is copied anew.
    pub lost: Option<String>,
}

/// What readers have: tables as of one epoch.
#[derive(Clone, Debug)]
pub struct Published {
    pub boundary: Boundary,
    /// Live ones are at the boundary's position of their source, others at their own.
    pub tables: BTreeMap<String, (State, Pinned)>,
    /// Sources that have not come to where they stood when this process began, by name: a reader may have seen later
    /// states of them before. Only one whose bound on staleness admits it may read them, or who waits.
    pub behind: Arc<[String]>,
}

//! One view that is kept by change.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;

use super::journal::{At, Ended, Epochs, Recorder};
use super::shelf::{AsOf, Content, Shown, State};
use super::{FlowPlan, KeptView};
use crate::incremental::{Dataflow, Moved, Output};
use crate::store::{self, Pinned, Shape, Table, ZSet};

/// A dataflow, and the table that it keeps.
pub(super) struct Flow {
    pub view: Arc<KeptView>,
    pub plan: Arc<FlowPlan>,
    /// Replicas, or views, by name: as the plan has its inputs.
    pub inputs: Vec<String>,
    /// All that it reads, through other views, too.
    pub sources: Arc<[String]>,
    /// The view, its query, and those of the views that it reads.
    pub origin: u64,
    epochs: Arc<Epochs>,
    running: Option<Running>,
    pub blocked: Option<Arc<str>>,
    /// What is shown of it is older.
    pub is_changed: bool,
}

struct Running {
    dataflow: Dataflow,
    table: Table,
    /// How many rows fail with each message.
    errors: BTreeMap<Arc<str>, i64>,
    /// Keys that several rows have.
    doubles: Doubles,
    recorder: Recorder,
}

type Failure = Arc<str>;

impl Flow {
    pub fn new(
        view: Arc<KeptView>,
        plan: Arc<FlowPlan>,
        inputs: Vec<String>,
        sources: Arc<[String]>,
        origin: u64,
        epochs: Arc<Epochs>,
    ) -> Self {
        Self {
            view,
            plan,
            inputs,
            sources,
            origin,
            epochs,
            running: None,
            blocked: None,
            is_changed: true,
        }
    }

    /// It cannot go on, for this reason. What it has stays.
    pub fn block(&mut self, reason: Option<Arc<str>>) {
        self.blocked = reason;
        self.is_changed = true;
    }

    pub fn is_filled(&self) -> bool {
        self.running.is_some()
    }

    /// Compute it from what its inputs have: the change from nothing to that.
    pub fn fill(&mut self, epoch: u64, inputs: &[Pinned]) -> Result<(), Failure> {
        let shapes: Vec<Arc<Shape>> = inputs.iter().map(|input| input.shape().clone()).collect();
        let dataflow = self.plan.compiled.start(&shapes).map_err(said)?;
        let moved = inputs.iter().map(|after| {
            Ok(Moved {
                before: Table::new(after.shape().as_ref().clone()).snapshot(),
                change: Some(content(after)?).filter(|rows| !rows.is_empty()),
                after: after.clone(),
            })
        });
        let moved = moved.collect::<store::Result<Vec<Moved>>>().map_err(said)?;
        let schema = self.plan.compiled.schema();
        let mut shape = Shape::new(self.view.id.to_string(), schema.clone());
        let key = self
            .view
            .contract
            .key
            .iter()
            .map(|name| schema.index_of(name));
        let key = key.collect::<Result<Vec<usize>, _>>().map_err(said)?;
        if !key.is_empty() {
            shape = shape.with_index(&key);
        }
        let mut running = Running {
            dataflow,
            table: Table::new(shape),
            errors: BTreeMap::new(),
            doubles: Doubles::new(key),
            recorder: Recorder::new(self.origin, self.sources.clone(), self.epochs.clone()),
        };
        running.step(epoch, &moved)?;
        // What is told of it begins with this.
        running.recorder.begin(epoch, running.failing());
        self.running = Some(running);
        self.block(None);
        Ok(())
    }

    /// Take an epoch's changes, and what they do to it. None: it is not filled, or blocked.
    pub fn step(&mut self, epoch: u64, inputs: &[Moved]) -> Option<Moved> {
        if self.blocked.is_some() {
            return None;
        }
        let running = self.running.as_mut()?;
        let before = running.table.snapshot();
        let mut change = None;
        if inputs.iter().any(|input| input.change.is_some()) {
            match running.step(epoch, inputs) {
                Ok(made) => {
                    change = made;
                    let failing = running.failing();
                    running.recorder.record(epoch, change.as_ref(), failing);
                }
                Err(reason) => self.blocked = Some(reason),
            }
            self.is_changed = true;
        }
        Some(Moved {
            before,
            change,
            after: running.table.snapshot(),
        })
    }

    /// Begin anew at the next occasion. What is shown stays until then.
    pub fn empty(&mut self) {
        self.running = None;
        self.block(None);
    }

    /// Tell subscribers what has changed up to an epoch, which is shown now.
    pub fn tell(&mut self, at: &Arc<At>, is_replaying: bool) {
        let Some(running) = &mut self.running else {
            return;
        };
        if let Some(reason) = &self.blocked {
            running.recorder.end(Ended::Blocked(reason.clone()));
            return;
        }
        let (table, retain) = (&running.table, self.view.contract.retain);
        let snapshot = || table.snapshot();
        // Whoever reads the view finds where its changes are told.
        self.is_changed |= running.recorder.tell(at, snapshot, retain, is_replaying);
    }

    /// With which epoch it has changed last, as far as subscribers were told, by what tells its journal from others.
    pub fn changed(&self) -> Option<(u64, u64)> {
        let running = self.running.as_ref().filter(|_| self.blocked.is_none());
        running?.recorder.changed()
    }

    /// Tell subscribers that nothing more comes.
    pub fn end(&self, why: Ended) {
        if let Some(running) = &self.running {
            running.recorder.end(why);
        }
    }

    pub fn snapshot(&self) -> Option<Pinned> {
        Some(self.running.as_ref()?.table.snapshot())
    }

    /// What readers find now; of one that is not filled what they found before.
    pub fn shown(&self, before: &Shown, behind: &[String]) -> Shown {
        let generation = self.view.generation;
        let is_behind = self.sources.iter().any(|source| behind.contains(source));
        let state = match (&self.blocked, &self.running) {
            (Some(reason), _) => State::Blocked {
                reason: reason.clone(),
            },
            (None, Some(_)) => State::Live,
            (None, None) => State::Filling,
        };
        match &self.running {
            Some(running) => Shown {
                generation,
                state,
                content: Some(Content::Table(running.table.snapshot())),
                journal: running.recorder.journal().cloned(),
                failing: running.failing(),
                is_behind,
                as_of: AsOf::Following(self.sources.clone()),
            },
            None => Shown {
                generation,
                state,
                content: before.content.clone(),
                journal: None,
                failing: before.failing.clone(),
                is_behind,
                as_of: before.as_of.clone(),
            },
        }
    }
}

impl Running {
    /// What its table changed by, if it did.
    fn step(&mut self, epoch: u64, inputs: &[Moved]) -> Result<Option<ZSet>, Failure> {
        let Output { rows, errors } = self.dataflow.step(epoch, inputs).map_err(said)?;
        let messages = errors.rows().column(0).as_string::<i32>();
        for (i, weight) in errors.weights().iter().enumerate() {
            let message = messages.value(i);
            let count = self.errors.entry(message.into()).or_default();
            *count += weight;
            if *count == 0 {
                self.errors.remove(message);
            }
        }
        let change = ZSet::concat(self.table.shape().schema(), &rows);
        let change = change.and_then(|rows| rows.consolidated()).map_err(said)?;
        if change.is_empty() {
            return Ok(None);
        }
        self.table.apply(epoch, &change).map_err(said)?;
        // Tidying up, as much as has come; it can as well be done the next time.
        let _ = self.table.compact(change.len());
        self.doubles
            .look(&self.table.snapshot(), &change)
            .map_err(said)?;
        Ok(Some(change))
    }

    fn failing(&self) -> Option<Arc<str>> {
        self.errors
            .keys()
            .next()
            .cloned()
            .or_else(|| self.doubles.failing())
    }
}

/// Keys of a view that several of its rows have: while there is one, a declared key does not hold.
struct Doubles {
    key: Vec<usize>,
    found: std::collections::HashSet<Box<[u8]>>,
}

impl Doubles {
    fn new(key: Vec<usize>) -> Self {
        Self {
            key,
            found: Default::default(),
        }
    }

    /// Look at the keys that a change has touched.
    fn look(&mut self, content: &Pinned, change: &ZSet) -> store::Result<()> {
        let Some(index) = content
            .shape()
            .index_on(&self.key)
            .filter(|_| !self.key.is_empty())
        else {
            return Ok(());
        };
        let columns = content.shape().index_columns(index).iter();
        let keys: Vec<_> = columns
            .map(|&c| crate::store::canonical_floats(change.rows().column(c)))
            .collect();
        let found = content.lookup(index, &keys)?;
        let counts = content.counts(&found.positions)?;
        let mut rows = vec![0i64; change.len()];
        for (i, key) in found.keys.iter().enumerate() {
            rows[*key as usize] += counts.as_ref().map_or(1, |counts| counts.value(i));
        }
        let fields = keys
            .iter()
            .map(|key| arrow::row::SortField::new(key.data_type().clone()));
        let converter = arrow::row::RowConverter::new(fields.collect())?;
        let bytes = converter.convert_columns(&keys)?;
        for (key, rows) in bytes.iter().zip(rows) {
            match rows > 1 {
                true => self.found.insert(key.data().into()),
                false => self.found.remove(key.data()),
            };
        }
        Ok(())
    }

    fn failing(&self) -> Option<Arc<str>> {
        let keys = self.found.len();
        let what = match keys {
            0 => return None,
            1 => "one key has".to_string(),
            _ => format!("{keys} keys have"),
        };
        Some(format!("{what} several rows, and the view's key is to tell them apart").into())
    }
}

/// All rows of a table, as the change from nothing.
fn content(table: &Pinned) -> store::Result<ZSet> {
    let schema = table.shape().schema();
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let rows = table
        .scan(&columns)
        .collect::<store::Result<Vec<RecordBatch>>>()?;
    Ok(ZSet::inserts(concat_batches(schema, &rows)?))
}

fn said(e: impl std::fmt::Display) -> Failure {
    e.to_string().into()
}

//! The dataflow of a view that is kept by change, and the table that it keeps: they go from thread to thread together.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;

use super::marks::At;
use super::{FlowPlan, KeptView};
use crate::incremental::{Dataflow, Moved, Output, Progress};
use crate::store::{self, Pinned, Shape, Table, ZSet};

pub(super) struct Running {
    dataflow: Dataflow,
    table: Table,
    /// How many rows fail with each message.
    errors: BTreeMap<Arc<str>, i64>,
    /// Keys that several rows have.
    doubles: Doubles,
}

/// What an epoch, or several, have made of a view.
pub(super) struct Made {
    pub change: Option<ZSet>,
    pub content: Pinned,
    /// Why it cannot be read.
    pub failing: Option<Arc<str>>,
    /// When it changes next though nothing that it reads does.
    pub due: Option<i64>,
    /// What is kept in memory for it.
    pub bytes: usize,
}

impl Made {
    /// The same, if what it reads is due then.
    pub fn no_later(self, due: Option<i64>) -> Self {
        let due = [self.due, due].into_iter().flatten().min();
        Self { due, ..self }
    }
}

pub(super) type Failure = Arc<str>;

/// What an entry of an index takes, with the room beside it.
const ENTRY_BYTES: usize = 32;

impl Running {
    /// Compute a view from what its inputs have at an epoch: the change from nothing to that.
    pub fn filled(
        view: &KeptView,
        plan: &FlowPlan,
        inputs: &[Pinned],
        at: &At,
        progress: &Progress,
    ) -> Result<(Self, Made), Failure> {
        let shapes: Vec<Arc<Shape>> = inputs.iter().map(|input| input.shape().clone()).collect();
        let dataflow = plan.compiled.start(&shapes).map_err(said)?;
        progress.begin(dataflow.rows(inputs));
        // They are in memory while it is computed.
        let bytes = inputs.iter().map(Pinned::row_bytes).sum();
        if !reserved(progress, bytes) {
            return Err("there is no room to compute it".into());
        }
        let moved = inputs.iter().map(|after| {
            Ok(Moved {
                before: Table::new(after.shape().as_ref().clone()).snapshot(),
                change: Some(content(after)?).filter(|rows| !rows.is_empty()),
                after: after.clone(),
            })
        });
        let moved = moved.collect::<store::Result<Vec<Moved>>>().map_err(said)?;
        let schema = plan.compiled.schema();
        let mut shape = Shape::new(view.id.to_string(), schema.clone());
        let key = view.contract.key.iter();
        let key = key.map(|name| schema.index_of(name));
        let key = key.collect::<Result<Vec<usize>, _>>().map_err(said)?;
        for index in &view.indexes {
            shape = shape.with_index(index);
        }
        let mut running = Self {
            dataflow,
            table: Table::new(shape),
            errors: BTreeMap::new(),
            doubles: Doubles::new(key),
        };
        let made = running.step(at, &moved, progress)?;
        Ok((running, made))
    }

    /// Whether rows are found by all that the view has indexes on.
    pub fn is_indexed(&self, view: &KeptView) -> bool {
        let shape = self.table.shape();
        let mut indexes = view.indexes.iter();
        indexes.all(|index| shape.index_on(index).is_some())
    }

    /// Find rows by the view's indexes, too. One that was dropped stays until the view is filled again.
    pub fn index(&mut self, view: &KeptView) -> Result<Made, Failure> {
        for index in &view.indexes {
            self.table.add_index(index).map_err(said)?;
        }
        Ok(self.made(None))
    }

    fn made(&self, change: Option<ZSet>) -> Made {
        let message = self.errors.keys().next().cloned();
        Made {
            change,
            content: self.table.snapshot(),
            failing: message.or_else(|| self.doubles.failing()),
            due: self.dataflow.due(),
            bytes: self.bytes(),
        }
    }

    fn bytes(&self) -> usize {
        self.dataflow.bytes() + self.table.snapshot().bytes()
    }

    /// Whether there is room for a step, as far as can be told before: for the change, and for each row that comes as much as is kept
    /// for those that there are. If not, nothing was done.
    pub fn has_room(&self, inputs: &[Moved], progress: &Progress) -> bool {
        let changes = || inputs.iter().filter_map(|input| input.change.as_ref());
        let growth: i64 = changes().flat_map(ZSet::weights).sum();
        if let Some(taking) = progress.taking().filter(|_| growth < 0) {
            taking.shrinks();
        }
        let rows: u64 = inputs.iter().map(|input| input.before.row_count()).sum();
        let per_row = self.bytes() as u64 / rows.max(1);
        let kept = per_row.saturating_mul(growth.max(0).unsigned_abs());
        let bytes: usize = changes().map(ZSet::bytes).sum();
        reserved(progress, bytes.saturating_add(kept as usize))
    }

    /// Go on to an epoch.
    pub fn step(
        &mut self,
        at: &At,
        inputs: &[Moved],
        progress: &Progress,
    ) -> Result<Made, Failure> {
        let output = self.dataflow.step(at.epoch, at.clock, inputs, progress);
        let Output { rows, errors } = output.map_err(said)?;
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
        if !change.is_empty() {
            let entries = change.len() * self.table.shape().index_count();
            progress.takes(ENTRY_BYTES * entries).map_err(said)?;
            self.table.apply(at.epoch, &change).map_err(said)?;
            // Tidying up, as much as has come; it can as well be done the next time.
            let _ = self.table.compact(change.len());
            let looked_at = self.doubles.look(&self.table.snapshot(), &change);
            looked_at.map_err(said)?;
        }
        Ok(self.made(Some(change).filter(|change| !change.is_empty())))
    }
}

/// Keys of a view that several of its rows have: while there is one, a declared key does not hold.
struct Doubles {
    key: Vec<usize>,
    found: HashSet<Box<[u8]>>,
}

impl Doubles {
    fn new(key: Vec<usize>) -> Self {
        Self {
            key,
            found: Default::default(),
        }
    }

    /// Look at the keys that a change has touched, each once.
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
        let fields = keys
            .iter()
            .map(|key| arrow::row::SortField::new(key.data_type().clone()));
        let converter = arrow::row::RowConverter::new(fields.collect())?;
        let rows = converter.convert_columns(&keys)?;
        let mut seen = HashSet::new();
        let distinct: Vec<usize> = (0..rows.num_rows())
            .filter(|&row| seen.insert(rows.row(row)))
            .collect();
        let taken = UInt32Array::from_iter_values(distinct.iter().map(|&row| row as u32));
        let keys = keys
            .iter()
            .map(|key| arrow::compute::take(key, &taken, None));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        for (row, is_double) in distinct.into_iter().zip(content.has_several(index, &keys)?) {
            let key = rows.row(row);
            match is_double {
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

fn reserved(progress: &Progress, bytes: usize) -> bool {
    (progress.taking()).is_none_or(|taking| taking.reserve(bytes))
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

//! What DataFusion computes of whole groups, for those groups that an epoch touches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, plan_err};

use super::PIECE_ROWS;
use super::dataflow::{Epoch, Operator, Sink};
use super::errors::message;
use super::reading::taken;
use super::relation::{Moves, Relation};
use super::whole::Whole;
use crate::store::{Pinned, Shape, Table, ZSet, batch, canonical_floats};

/// Groups that are computed at once.
const GROUPS: usize = 8192;
/// What a group that has failed takes besides its key: its message, most of all.
const FAILED_BYTES: usize = 128;

/// Any node of a plan whose output is that of its groups, each computed from the rows that have its key, and no others:
/// aggregates by their groups, windows by their partitions, joins by what they equate. A node without such a key is one
/// group. Costs in proportion to the groups that are touched.
#[derive(Debug)]
pub(super) struct Keyed {
    inputs: Vec<Arranged>,
    whole: Whole,
    key: SchemaRef,
    converter: RowConverter,
    /// Groups that have no output, as computing it failed, by their encoded keys.
    failed: HashMap<Box<[u8]>, String>,
    outputs: Option<Outputs>,
}

/// An input, and how its rows are found by a group's key.
#[derive(Debug)]
pub(super) struct Arranged {
    relation: Relation,
    /// The columns that are the key, in its order.
    columns: Vec<usize>,
    /// The index, and which of the key's columns its columns are. None: all rows.
    index: Option<(usize, Vec<usize>)>,
}

/// What groups have given, where computing it again may give the same in another way: functions that depend on the order
/// of rows, or may.
#[derive(Debug)]
struct Outputs {
    table: Table,
    index: usize,
    /// Which of the key's columns the index's columns are.
    order: Vec<usize>,
    epoch: u64,
}

impl Arranged {
    pub(super) fn new(relation: Relation, columns: Vec<usize>) -> Result<Self> {
        let origins = columns
            .iter()
            .map(|&column| relation.reading.origin(column));
        let origins: Option<Vec<usize>> = origins.collect();
        let index = match (&origins, columns.is_empty()) {
            (_, true) => None,
            (None, _) => return plan_err!("a key of groups is computed"),
            (Some(origins), false) => {
                let shape = relation.shape();
                let Some(index) = shape.index_on(origins) else {
                    let names = origins
                        .iter()
                        .map(|&i| shape.schema().field(i).name().as_str());
                    let names: Vec<&str> = names.collect();
                    let names = names.join(", ");
                    return plan_err!("groups need an index of {} by {names}", shape.name());
                };
                let order = shape.index_columns(index).iter();
                let order = order.map(|column| origins.iter().position(|origin| origin == column));
                let order: Option<Vec<usize>> = order.collect();
                Some((index, order.expect("the index is on these columns")))
            }
        };
        Ok(Self {
            relation,
            columns,
            index,
        })
    }

    /// The rows that have one of the keys, each as often as it is there.
    fn rows(&self, at: &Pinned, keys: &RecordBatch) -> Result<RecordBatch> {
        let positions = match &self.index {
            None => at.positions().collect(),
            Some((index, order)) => {
                let keys: Vec<ArrayRef> = order.iter().map(|&i| keys.column(i).clone()).collect();
                at.lookup(*index, &keys)?.positions
            }
        };
        self.relation.rows(at, &positions)
    }
}

impl Keyed {
    /// `remembers`: the columns of the output that are the key, where outputs are to be kept.
    pub(super) fn new(
        inputs: Vec<Arranged>,
        whole: Whole,
        remembers: Option<Vec<usize>>,
    ) -> Result<Self> {
        let mut fields = Vec::new();
        if let Some(input) = inputs.first() {
            let schema = input.relation.reading.schema();
            let columns = input.columns.iter().map(|&column| schema.field(column));
            fields.extend(
                columns.map(|field| Field::new(field.name(), field.data_type().clone(), true)),
            );
        }
        let sorted = fields
            .iter()
            .map(|field: &Field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(sorted.collect())?;
        let outputs = remembers.map(|by| {
            let mut shape = Shape::new("outputs of groups", whole.schema().clone());
            if !by.is_empty() && shape.index_on(&by).is_none() {
                shape = shape.with_index(&by);
            }
            let index = shape.index_on(&by).unwrap_or(0);
            let order = shape.index_columns(index).iter();
            let order = order.filter_map(|column| by.iter().position(|by| by == column));
            Outputs {
                order: order.collect(),
                table: Table::new(shape),
                index,
                epoch: 0,
            }
        });
        Ok(Self {
            inputs,
            whole,
            key: Arc::new(Schema::new(fields)),
            converter,
            failed: HashMap::new(),
            outputs,
        })
    }

    /// The keys of what has changed, each once. Without a key there is one group, whose key has no column.
    fn touched(&self, moves: &[Moves], is_first: bool) -> Result<RecordBatch> {
        let changes = |moves: &Moves| moves.change.iter().any(|piece| !piece.is_empty());
        if self.key.fields().is_empty() {
            let is_touched = is_first || moves.iter().any(changes);
            return Ok(batch(&self.key, Vec::new(), usize::from(is_touched))?);
        }
        let mut keys = Vec::new();
        for (input, moves) in self.inputs.iter().zip(moves) {
            for piece in moves.change.iter().filter(|piece| !piece.is_empty()) {
                let columns = input.columns.iter();
                let columns = columns.map(|&i| canonical_floats(piece.rows().column(i)));
                keys.push(batch(&self.key, columns.collect(), piece.len())?);
            }
        }
        let keys = concat_batches(&self.key, &keys)?;
        Ok(ZSet::inserts(keys).consolidated()?.rows().clone())
    }

    fn encoded(&self, keys: &RecordBatch) -> Result<Vec<Box<[u8]>>> {
        if keys.num_columns() == 0 {
            return Ok(vec![Box::default(); keys.num_rows()]);
        }
        let rows = self.converter.convert_columns(keys.columns())?;
        Ok(rows.iter().map(|row| row.data().into()).collect())
    }

    /// What groups give of their inputs at a time.
    fn run<'a>(
        &self,
        keys: &RecordBatch,
        at: impl Iterator<Item = &'a Pinned>,
    ) -> Result<Vec<RecordBatch>> {
        let inputs = self.inputs.iter().zip(at);
        let rows = inputs.map(|(input, at)| input.rows(at, keys));
        self.whole.run(&rows.collect::<Result<Vec<_>>>()?)
    }

    /// What groups had given; those that had failed have no longer.
    fn before(&mut self, keys: &RecordBatch, moves: &[Moves], epoch: &Epoch) -> Result<Vec<ZSet>> {
        if epoch.is_first {
            return Ok(Vec::new());
        }
        let mut given = keys.clone();
        if !self.failed.is_empty() {
            let mut numbers = Vec::new();
            for (i, key) in (0..).zip(self.encoded(keys)?) {
                match self.failed.remove(&key) {
                    Some(message) => epoch.failed(message, -1),
                    None => numbers.push(i),
                }
            }
            given = taken(keys, numbers)?;
        }
        if given.num_rows() == 0 {
            return Ok(Vec::new());
        }
        if let Some(outputs) = &self.outputs {
            return Ok(vec![outputs.of(&given)?]);
        }
        let rows = self.run(&given, moves.iter().map(|moves| &moves.before));
        let rows = match rows {
            Ok(rows) => rows,
            // Together they fail; each alone has not.
            Err(e) if given.num_rows() > 1 => {
                message(e)?;
                let mut rows = Vec::new();
                for i in 0..given.num_rows() {
                    let key = given.slice(i, 1);
                    rows.extend(self.run(&key, moves.iter().map(|moves| &moves.before))?);
                }
                rows
            }
            Err(e) => return Err(e),
        };
        let minus = |rows: RecordBatch| {
            let weights = vec![-1; rows.num_rows()];
            Ok(ZSet::new(rows, weights)?)
        };
        rows.into_iter().map(minus).collect()
    }

    /// What groups give now. A group fails if it does alone.
    fn after(&mut self, keys: &RecordBatch, moves: &[Moves], epoch: &Epoch) -> Result<Vec<ZSet>> {
        let e = match self.run(keys, moves.iter().map(|moves| &moves.after)) {
            Ok(rows) => return Ok(rows.into_iter().map(ZSet::inserts).collect()),
            Err(e) => message(e)?,
        };
        let half = keys.num_rows() / 2;
        if half == 0 {
            for key in self.encoded(keys)? {
                epoch.failed(e.clone(), 1);
                self.failed.insert(key, e.clone());
            }
            return Ok(Vec::new());
        }
        let mut given = self.after(&keys.slice(0, half), moves, epoch)?;
        let second = keys.slice(half, keys.num_rows() - half);
        given.extend(self.after(&second, moves, epoch)?);
        Ok(given)
    }
}

impl Outputs {
    /// What groups have given, with weights to take it away.
    fn of(&self, keys: &RecordBatch) -> Result<ZSet> {
        let at = self.table.snapshot();
        let positions = match keys.num_columns() {
            0 => at.positions().collect(),
            _ => {
                let keys = self.order.iter().map(|&i| keys.column(i).clone());
                at.lookup(self.index, &keys.collect::<Vec<_>>())?.positions
            }
        };
        let schema = self.table.shape().schema();
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let rows = batch(schema, at.gather(&positions, &columns)?, positions.len())?;
        let counts = at.counts(&positions)?;
        let minus = |i: usize| -counts.as_ref().map_or(1, |counts| counts.value(i));
        let weights: Vec<i64> = (0..positions.len()).map(minus).collect();
        Ok(ZSet::new(rows, weights)?)
    }

    fn apply(&mut self, change: &ZSet) -> Result<()> {
        self.epoch += 1;
        self.table.apply(self.epoch, change)?;
        self.table.compact(change.len())?;
        Ok(())
    }
}

impl Operator for Keyed {
    fn schema(&self) -> &SchemaRef {
        self.whole.schema()
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        let moves = self.inputs.iter_mut();
        let moves = moves.map(|input| input.relation.step(epoch));
        let moves = moves.collect::<Result<Vec<Moves>>>()?;
        let keys = self.touched(&moves, epoch.is_first)?;
        for start in (0..keys.num_rows()).step_by(GROUPS) {
            let keys = keys.slice(start, GROUPS.min(keys.num_rows() - start));
            let mut given = self.before(&keys, &moves, epoch)?;
            given.extend(self.after(&keys, &moves, epoch)?);
            let change = ZSet::concat(self.whole.schema(), &given)?.consolidated()?;
            if let Some(outputs) = &mut self.outputs {
                epoch.takes(change.bytes())?;
                outputs.apply(&change)?;
            }
            for start in (0..change.len()).step_by(PIECE_ROWS) {
                out(change.slice(start, PIECE_ROWS.min(change.len() - start)))?;
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let inputs = self.inputs.iter().map(|input| input.relation.bytes());
        let outputs = self.outputs.as_ref();
        let outputs = outputs.map_or(0, |outputs| outputs.table.snapshot().bytes());
        let failed = self.failed.keys().map(|key| key.len() + FAILED_BYTES);
        inputs.sum::<usize>() + outputs + failed.sum::<usize>()
    }
}

//! Operators that keep nothing of their own, or have it in what they are made of.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::common::Result;

use super::PIECE_ROWS;
use super::dataflow::{Epoch, Operator, Sink};
use super::group::GroupBy;
use super::join::Join;
use super::map::{Map, each_half};
use super::relation::{Moves, Relation};
use super::whole::Whole;
use crate::store::{Pinned, ZSet, batch};

/// Rows of an input, as they are read.
#[derive(Debug)]
pub(super) struct Scanned(pub(super) Relation);

impl Operator for Scanned {
    fn schema(&self) -> &SchemaRef {
        self.0.reading.schema()
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        self.0.step(epoch)?.change.into_iter().try_for_each(out)
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// Filters and projections, one after the other.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) input: Box<dyn Operator>,
    pub(super) maps: Vec<Map>,
}

impl Operator for Mapped {
    fn schema(&self) -> &SchemaRef {
        self.maps.last().map_or(self.input.schema(), Map::schema)
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        let maps = &self.maps;
        self.input.step(epoch, &mut |mut piece| {
            for map in maps {
                let failed = &mut |message, weight| epoch.failed(message, weight);
                piece = map.apply_each(&piece, failed)?;
            }
            match piece.is_empty() {
                true => Ok(()),
                false => out(piece),
            }
        })
    }

    fn bytes(&self) -> usize {
        self.input.bytes()
    }
}

/// Rows of several inputs with the same columns.
#[derive(Debug)]
pub(super) struct Union {
    pub(super) inputs: Vec<Box<dyn Operator>>,
    pub(super) schema: SchemaRef,
}

impl Operator for Union {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        let schema = &self.schema;
        for input in &mut self.inputs {
            input.step(epoch, &mut |piece| {
                let columns = piece.rows().columns().to_vec();
                let rows = batch(schema, columns, piece.len())?;
                out(ZSet::new(rows, piece.weights_buffer().clone())?)
            })?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.inputs.iter().map(|input| input.bytes()).sum()
    }
}

/// Rows that are always there.
#[derive(Debug)]
pub(super) struct Constant(pub(super) RecordBatch);

impl Operator for Constant {
    fn schema(&self) -> &SchemaRef {
        self.0.schema_ref()
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        match epoch.is_first {
            true => out(ZSet::inserts(self.0.clone())),
            false => Ok(()),
        }
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// A join of relations.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) inputs: Vec<Relation>,
    pub(super) join: Join,
}

impl Operator for Joined {
    fn schema(&self) -> &SchemaRef {
        self.join.schema()
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        let moves = self.inputs.iter_mut().map(|input| input.changes(epoch));
        let moves = moves.collect::<Result<Vec<Moves>>>()?;
        let out = &mut |piece| {
            epoch.go_on()?;
            out(piece)
        };
        let before: Vec<Pinned> = moves.iter().map(|moves| moves.before.clone()).collect();
        let after: Vec<Pinned> = moves.iter().map(|moves| moves.after.clone()).collect();
        for (input, moves) in moves.iter().enumerate() {
            // A filter may have left few of the rows that it took, or none.
            let taken = self.inputs[input].rows_taken(epoch);
            let rows: u64 = moves.change.iter().map(|change| change.len() as u64).sum();
            let mut told = 0;
            for piece in moves.change.iter().flat_map(pieces) {
                self.join.change(input, &piece, &before, &after, out)?;
                let share = taken * piece.len() as u64 / rows;
                epoch.took(share);
                told += share;
            }
            epoch.took(taken - told);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.inputs.iter().map(Relation::bytes).sum()
    }
}

/// A change, in pieces that are not empty.
fn pieces(change: &ZSet) -> impl Iterator<Item = ZSet> {
    let starts = (0..change.len()).step_by(PIECE_ROWS);
    starts.map(|start| change.slice(start, PIECE_ROWS.min(change.len() - start)))
}

/// Groups with aggregates that the change alone changes; of one change, perhaps several sets of them.
#[derive(Debug)]
pub(super) struct Grouped {
    pub(super) input: Box<dyn Operator>,
    /// With what is made of their columns.
    pub(super) sets: Vec<(GroupBy, Option<Map>)>,
    pub(super) schema: SchemaRef,
}

impl Operator for Grouped {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        let sets = &mut self.sets;
        self.input.step(epoch, &mut |piece| {
            sets.iter_mut().try_for_each(|(groups, _)| {
                let before = groups.bytes();
                groups.push(&piece)?;
                epoch.takes(groups.bytes().saturating_sub(before))
            })
        })?;
        for (groups, output) in sets {
            let failed = &mut |message, weight| epoch.failed(message, weight);
            let mut change = groups.finish_each(failed)?;
            if let Some(output) = output {
                change = output.apply(&change)?;
            }
            let columns = change.rows().columns().to_vec();
            let rows = batch(&self.schema, columns, change.len())?;
            out(ZSet::new(rows, change.weights_buffer().clone())?)?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let groups = self.sets.iter().map(|(groups, _)| groups.bytes());
        self.input.bytes() + groups.sum::<usize>()
    }
}

/// What DataFusion makes of each row alone. The row's weight is the last column of what it is given, and of what it
/// gives.
#[derive(Debug)]
pub(super) struct EachRow {
    pub(super) input: Box<dyn Operator>,
    pub(super) whole: Whole,
    pub(super) fed: SchemaRef,
    pub(super) schema: SchemaRef,
}

impl EachRow {
    fn apply(&self, zset: &ZSet) -> Result<ZSet> {
        let weights = Int64Array::new(zset.weights_buffer().clone(), None);
        let mut columns = zset.rows().columns().to_vec();
        columns.push(Arc::new(weights));
        let rows = batch(&self.fed, columns, zset.len())?;
        let given = self.whole.run(&[rows])?;
        let given = given.iter().map(|rows| self.weighed(rows));
        let given = given.collect::<Result<Vec<_>>>()?;
        Ok(ZSet::concat(&self.schema, &given)?)
    }

    fn weighed(&self, rows: &RecordBatch) -> Result<ZSet> {
        let mut columns = rows.columns().to_vec();
        let weights = columns.pop().expect("the weights are the last column");
        let weights = weights.as_primitive::<Int64Type>().values().clone();
        let rows = batch(&self.schema, columns, weights.len())?;
        Ok(ZSet::new(rows, weights)?)
    }
}

impl Operator for EachRow {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        let mut pieces = Vec::new();
        self.input.step(epoch, &mut |piece| {
            pieces.push(piece);
            Ok(())
        })?;
        let failed = &mut |message, weight| epoch.failed(message, weight);
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            out(each_half(
                piece,
                &self.schema,
                &|zset| self.apply(zset),
                failed,
            )?)?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.input.bytes()
    }
}

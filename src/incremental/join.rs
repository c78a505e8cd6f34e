//! Inner joins of tables by equality, of any number of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{Result, plan_err};

use super::PIECE_ROWS;
use super::path::{Joined, Of, Path, Step};
use super::reading::Reading;
use crate::store::{Pinned, Shape, ZSet, batch, equal_keys};

/// The join of some tables. It keeps nothing: what changes in one is looked up in the others.
#[derive(Debug)]
pub struct Join {
    inputs: Vec<Reading>,
    paths: Vec<Path>,
    schema: SchemaRef,
}

/// What is carried along a path.
struct Carried {
    columns: Vec<ArrayRef>,
    weights: Vec<i64>,
}

impl Join {
    /// A join of `inputs`, in this order, `on` pairs of columns that are equal; it gives the columns `output`. A column
    /// is named by its input's number and its own. The order of inputs says which are read before and which after an
    /// epoch: [`Join::changes`]. An input of which nothing is to equal another's is joined with all of its rows.
    ///
    /// # Errors
    /// If an input cannot be looked up by what the others give: it has no index for that; if types of an equality
    /// differ.
    pub fn new(inputs: &[Arc<Shape>], on: &[(Of, Of)], output: &[Of]) -> Result<Self> {
        let inputs = inputs.iter().map(|shape| Reading::whole(shape.clone()));
        Self::over(inputs.collect::<Result<_>>()?, on, output)
    }

    /// The same of what is read of tables.
    pub(super) fn over(inputs: Vec<Reading>, on: &[(Of, Of)], output: &[Of]) -> Result<Self> {
        for &(a, b) in on {
            let of = |(input, column): Of| inputs[input].schema().field(column).data_type();
            if of(a) != of(b) {
                return plan_err!("a join compares {} with {}", of(a), of(b));
            }
            if a.0 == b.0 {
                return plan_err!("a join compares columns of two inputs");
            }
        }
        let joined = Joined {
            inputs: &inputs,
            on,
            output,
        };
        let paths = (0..inputs.len()).map(|start| joined.path(start));
        let paths = paths.collect::<Result<Vec<_>>>()?;
        let field = |&(input, column): &Of| -> Arc<Field> {
            inputs[input].schema().fields()[column].clone()
        };
        let fields: Vec<_> = output.iter().map(field).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(Self {
            inputs,
            paths,
            schema,
        })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What an epoch changes: each input's change (None: none), and all inputs before and after it. The change of the
    /// join goes to `sink` in pieces; it is not consolidated.
    ///
    /// # Errors
    /// Those of the sink; text beyond what one array can have.
    ///
    /// # Panics
    /// If there are not as many of each as inputs.
    pub fn changes(
        &self,
        changes: &[Option<&ZSet>],
        before: &[Pinned],
        after: &[Pinned],
        sink: &mut dyn FnMut(ZSet) -> Result<()>,
    ) -> Result<()> {
        let inputs = self.paths.len();
        assert!([changes.len(), before.len(), after.len()] == [inputs; 3]);
        for (input, change) in changes.iter().enumerate() {
            let Some(change) = change.filter(|change| !change.is_empty()) else {
                continue;
            };
            self.change(input, change, before, after, sink)?;
        }
        Ok(())
    }

    /// A piece of what an epoch changes in one input, as it is read.
    pub(super) fn change(
        &self,
        input: usize,
        change: &ZSet,
        before: &[Pinned],
        after: &[Pinned],
        sink: &mut dyn FnMut(ZSet) -> Result<()>,
    ) -> Result<()> {
        let at = (before.iter().zip(after).enumerate())
            .map(|(other, (before, after))| if other < input { after } else { before });
        let at: Vec<&Pinned> = at.collect();
        let path = &self.paths[input];
        for start in (0..change.len()).step_by(PIECE_ROWS) {
            let piece = change.slice(start, PIECE_ROWS.min(change.len() - start));
            let columns = path
                .columns
                .iter()
                .map(|&column| piece.rows().column(column).clone());
            let carried = Carried {
                columns: columns.collect(),
                weights: piece.weights().to_vec(),
            };
            self.walk(path, 0, carried, &at, sink)?;
        }
        Ok(())
    }

    /// One step, then the others for each piece of what it gives: as much is in memory as there are steps, however much
    /// a row matches.
    fn walk(
        &self,
        path: &Path,
        number: usize,
        carried: Carried,
        at: &[&Pinned],
        sink: &mut dyn FnMut(ZSet) -> Result<()>,
    ) -> Result<()> {
        let Some(step) = path.steps.get(number) else {
            let columns = path
                .output
                .iter()
                .map(|&i| carried.columns[i].clone())
                .collect();
            let rows = batch(&self.schema, columns, carried.weights.len())?;
            return sink(ZSet::new(rows, carried.weights)?);
        };
        let Some(index) = step.index else {
            let positions: Vec<u32> = at[step.input].positions().collect();
            let pairs = carried.weights.len() * positions.len();
            for start in (0..pairs).step_by(PIECE_ROWS) {
                let pairs = start..pairs.min(start + PIECE_ROWS);
                let keys: Vec<u32> = pairs
                    .clone()
                    .map(|i| (i / positions.len()) as u32)
                    .collect();
                let found: Vec<u32> = pairs.map(|i| positions[i % positions.len()]).collect();
                let next = self.joined(step, &carried, at[step.input], &keys, &found)?;
                self.walk_on(path, number, next, at, sink)?;
            }
            return Ok(());
        };
        let keys: Vec<ArrayRef> = step
            .keys
            .iter()
            .map(|&i| carried.columns[i].clone())
            .collect();
        let matches = at[step.input].joined(index, &keys)?;
        let pieces = matches
            .keys
            .chunks(PIECE_ROWS)
            .zip(matches.positions.chunks(PIECE_ROWS));
        for (keys, positions) in pieces {
            let next = self.joined(step, &carried, at[step.input], keys, positions)?;
            self.walk_on(path, number, next, at, sink)?;
        }
        Ok(())
    }

    fn walk_on(
        &self,
        path: &Path,
        number: usize,
        next: Carried,
        at: &[&Pinned],
        sink: &mut dyn FnMut(ZSet) -> Result<()>,
    ) -> Result<()> {
        match next.weights.is_empty() {
            true => Ok(()),
            false => self.walk(path, number + 1, next, at, sink),
        }
    }

    /// What is carried, by number, beside rows of an input, by position.
    fn joined(
        &self,
        step: &Step,
        carried: &Carried,
        input: &Pinned,
        keys: &[u32],
        positions: &[u32],
    ) -> Result<Carried> {
        let (found, numbers) = self.inputs[step.input].columns(input, positions, &step.taken)?;
        let pick = |all: &[u32]| -> Option<Vec<u32>> {
            let numbers = numbers.as_ref()?.iter();
            Some(numbers.map(|&i| all[i as usize]).collect())
        };
        let (kept_keys, kept_positions) = (pick(keys), pick(positions));
        let keys = kept_keys.as_deref().unwrap_or(keys);
        let positions = kept_positions.as_deref().unwrap_or(positions);
        let is_each = keys.len() == carried.weights.len()
            && keys.iter().enumerate().all(|(i, key)| i == *key as usize);
        let mut weights: Vec<i64> = keys
            .iter()
            .map(|&key| carried.weights[key as usize])
            .collect();
        if let Some(counts) = input.counts(positions)? {
            let counts = counts.values().iter();
            weights
                .iter_mut()
                .zip(counts)
                .for_each(|(weight, count)| *weight *= count);
        }
        let kept = step.kept.iter().map(|&i| &carried.columns[i]);
        let mut columns: Vec<ArrayRef> = match is_each {
            true => kept.cloned().collect(),
            false => {
                let rows = UInt32Array::from(keys.to_vec());
                kept.map(|column| take(column, &rows, None))
                    .collect::<Result<_, _>>()?
            }
        };
        columns.extend(found);
        let next = Carried { columns, weights };
        match step.equal.is_empty() {
            true => Ok(next),
            false => next.filtered(&step.equal),
        }
    }
}

impl Carried {
    /// Those rows whose pairs of columns are equal, and not NULL.
    fn filtered(self, equal: &[(usize, usize)]) -> Result<Self> {
        let nulls: Vec<_> = equal
            .iter()
            .map(|&(a, _)| self.columns[a].logical_nulls())
            .collect();
        let is_equal = |i: &u32| {
            let i = *i as usize;
            equal.iter().zip(&nulls).all(|(&(a, b), nulls)| {
                let is_valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(i));
                is_valid && equal_keys(&self.columns[a], i, &self.columns[b], i)
            })
        };
        let rows: Vec<u32> = (0..self.weights.len() as u32).filter(is_equal).collect();
        let weights = rows.iter().map(|&i| self.weights[i as usize]).collect();
        let rows = UInt32Array::from(rows);
        let columns = self.columns.iter().map(|column| take(column, &rows, None));
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Self { columns, weights })
    }
}

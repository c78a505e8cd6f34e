//! A Z-set checked against a table: which positions go, which rows come. Nothing is changed yet.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::Int64Type;

use super::bits::BitsMut;
use super::chunks::Chunks;
use super::index::Directory;
use super::key::{Same, equal, hashes, rows_equal};
use super::shape::Shape;
use super::zset::{Seen, overflow};
use super::{Error, Result, ZSet};

/// What an epoch does to a table.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) edits: Edits,
    /// To be appended, with their counts where there is no key.
    pub(super) rows: RecordBatch,
    /// Of each index, the hashes of rows that go, and of those that come.
    pub(super) taken: Vec<Vec<u32>>,
    pub(super) added: Vec<Vec<u32>>,
    /// By how much the number of rows changes.
    pub(super) growth: i64,
}

/// Bits to clear, by slot, with their number.
#[derive(Debug, Default)]
pub(super) struct Edits(pub(super) Vec<Option<(BitsMut, usize)>>);

impl Edits {
    pub(super) fn new(chunks: &Chunks) -> Self {
        Self((0..chunks.len()).map(|_| None).collect())
    }

    /// Of a position that is indexed.
    fn is_live(&self, chunks: &Chunks, position: u32) -> bool {
        let (slot, offset) = chunks.split(position);
        match &self.0[slot as usize] {
            Some((live, _)) => live.get(offset),
            None => chunks.is_live(position),
        }
    }

    pub(super) fn take(&mut self, chunks: &Chunks, position: u32) {
        let (slot, offset) = chunks.split(position);
        let edit = self.0[slot as usize].get_or_insert_with(|| {
            let chunk = chunks.get(slot).expect("a live position has a chunk");
            (chunk.live_to_change(chunks.capacity()), 0)
        });
        edit.1 += usize::from(edit.0.clear(offset));
    }
}

/// Why a change cannot be, by its row.
pub(super) enum Refused {
    Missing(usize),
    Duplicate(usize),
    Other(Error),
}

impl From<Error> for Refused {
    fn from(e: Error) -> Self {
        Self::Other(e)
    }
}

impl Refused {
    fn with(self, shape: &Shape, epoch: u64) -> Error {
        let (table, key) = (shape.name().to_string(), shape.key_text());
        match self {
            Self::Missing(row) => Error::Missing {
                table,
                epoch,
                row,
                key,
            },
            Self::Duplicate(row) => Error::Duplicate {
                table,
                epoch,
                row,
                key,
            },
            Self::Other(e) => e,
        }
    }
}

/// A table as a change meets it.
pub(super) struct Before<'a> {
    pub(super) shape: &'a Shape,
    pub(super) chunks: &'a Chunks,
    /// The key's index.
    pub(super) directory: &'a Directory,
}

impl Before<'_> {
    pub(super) fn change(&self, epoch: u64, zset: &ZSet) -> Result<Change> {
        let schema = self.shape.schema();
        let theirs = zset.rows().schema();
        let fits = schema.fields().len() == theirs.fields().len()
            && (schema.fields().iter().zip(theirs.fields()))
                .all(|(ours, theirs)| ours.data_type() == theirs.data_type());
        if !fits {
            let name = self.shape.name();
            let text = format!("a change of table {name} has other columns than it has");
            return Err(Error::Shape(text));
        }
        let hashes = match self.shape.index_columns(0) {
            [] => vec![0; zset.len()],
            _ => hashes(&self.columns_of(0, zset.rows().columns()))?,
        };
        let change = match self.shape.has_key() {
            true => match self.keyed(zset, &hashes, false) {
                Ok(change) => Ok(change),
                Err(_) => self.keyed(zset, &hashes, true),
            },
            false => self.counted(zset, &hashes),
        };
        change.map_err(|refused| refused.with(self.shape, epoch))
    }

    /// The weights with which rows count, once those of equal rows are added up: the first has the sum, the others
    /// none. Few rows need it: those of keys that have more than one row that goes and one that comes; they are marked.
    /// `all`: so may the others, since a row that comes and goes within the change looks like one that is replaced.
    fn weights(&self, zset: &ZSet, by_key: &[u32], all: bool) -> Result<(Vec<i64>, Vec<bool>)> {
        let mut weights = zset.weights().to_vec();
        let mut seen = Seen::new(by_key.len());
        // By the first row of a hash: whether one went, one came, and whether that was not all.
        let mut known = vec![(false, false, false); by_key.len()];
        let firsts: Vec<u32> = (0..)
            .zip(by_key)
            .map(|(i, &hash)| seen.first(hash, i, |_| true))
            .collect();
        for (&first, &weight) in firsts.iter().zip(&weights) {
            let (goes, comes, more) = &mut known[first as usize];
            match weight {
                -1 if !*goes => *goes = true,
                1 if !*comes => *comes = true,
                _ => *more = true,
            }
        }
        let is_more = |first: &u32| all || known[*first as usize].2;
        let is_more: Vec<bool> = firsts.iter().map(is_more).collect();
        let more: Vec<u32> = (0..)
            .zip(&is_more)
            .filter(|(_, more)| **more)
            .map(|(i, _)| i)
            .collect();
        let columns = zset.rows().columns();
        let mut seen = Seen::new(more.len());
        for &i in &more {
            let row = i as usize;
            let equals = |j: u32| rows_equal(columns, row, columns, j as usize, Same::Row);
            let first = seen.first(by_key[row], i, equals);
            if first != i {
                let weight = std::mem::take(&mut weights[row]);
                let sum = &mut weights[first as usize];
                *sum = sum.checked_add(weight).ok_or_else(overflow)?;
            }
        }
        Ok((weights, is_more))
    }

    /// `exactly`: see [`Before::weights`].
    fn keyed(&self, zset: &ZSet, by_key: &[u32], exactly: bool) -> Result<Change, Refused> {
        let columns = zset.rows().columns();
        let key: Vec<ArrayRef> = self.columns_of(0, columns);
        let (weights, is_more) = self.weights(zset, by_key, exactly)?;
        let heads = self.directory.heads(by_key);
        let edits = self.taken(columns, &weights, by_key, &heads)?;
        let mut seen = Seen::new(is_more.iter().filter(|more| **more).count());
        let key_columns = self.shape.index_columns(0);
        for (i, _) in weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight == 1)
        {
            let mut chain = self.directory.from(by_key[i], heads[i]);
            let is_taken = chain.any(|position| {
                edits.is_live(self.chunks, position)
                    && self.is_same(position, key_columns, &key, i, Same::Key)
            });
            let equals = |j: u32| {
                key.iter()
                    .all(|column| equal(column, i, column, j as usize, Same::Key))
            };
            if is_taken || is_more[i] && seen.first(by_key[i], i as u32, equals) != i as u32 {
                return Err(Refused::Duplicate(i));
            }
        }
        let split = |hashes: &[u32]| {
            let with = |wanted: i64| -> Vec<u32> {
                let pairs = hashes.iter().zip(&weights);
                pairs
                    .filter(|(_, w)| **w == wanted)
                    .map(|(hash, _)| *hash)
                    .collect()
            };
            (with(-1), with(1))
        };
        let (mut taken, mut added) = (Vec::new(), Vec::new());
        for index in 0..self.shape.index_count() {
            let (goes, comes) = match index {
                0 => split(by_key),
                _ => split(&hashes(&self.columns_of(index, columns))?),
            };
            taken.push(goes);
            added.push(comes);
        }
        let rows = match weights.iter().all(|weight| *weight == 1) {
            true => zset.rows().clone(),
            false => {
                let comes = weights.iter().map(|weight| *weight == 1).collect();
                let comes = BooleanArray::new(comes, None);
                filter_record_batch(zset.rows(), &comes).map_err(Error::from)?
            }
        };
        let rows = self.stored(rows.columns().to_vec())?;
        let growth = weights.iter().sum();
        Ok(Change {
            edits,
            rows,
            taken,
            added,
            growth,
        })
    }

    /// Where the rows are that go. Nearly always that is the first live position with the hash; so those are compared
    /// all at once, by column, and only where one is not the row (two keys share the hash) the chain is searched.
    fn taken(
        &self,
        columns: &[ArrayRef],
        weights: &[i64],
        by_key: &[u32],
        heads: &[u32],
    ) -> Result<Edits, Refused> {
        let chain = |i: usize| self.directory.from(by_key[i], heads[i]);
        let (mut gone, mut positions) = (Vec::new(), Vec::new());
        for (i, &weight) in weights.iter().enumerate() {
            match weight {
                0 | 1 => continue,
                -1 => {}
                weight if weight > 0 => return Err(Refused::Duplicate(i)),
                _ => return Err(Refused::Missing(i)),
            }
            let position = chain(i).find(|&position| self.chunks.is_live(position));
            positions.push(position.ok_or(Refused::Missing(i))?);
            gone.push(i as u32);
        }
        let located = self.chunks.locate(&positions);
        let equal = located.equal(0..columns.len(), columns, &gone, Same::Row);
        let mut edits = Edits::new(self.chunks);
        for ((&i, &first), &is_row) in gone.iter().zip(&positions).zip(&equal) {
            let i = i as usize;
            let position = match is_row && edits.is_live(self.chunks, first) {
                true => Some(first),
                false => chain(i).find(|&position| {
                    edits.is_live(self.chunks, position) && self.is_row(position, columns, i)
                }),
            };
            edits.take(self.chunks, position.ok_or(Refused::Missing(i))?);
        }
        Ok(edits)
    }

    /// Of a table without a key: a row that is there gives way to one with another count.
    fn counted(&self, zset: &ZSet, by_row: &[u32]) -> Result<Change, Refused> {
        let columns = zset.rows().columns();
        let (weights, _) = self.weights(zset, by_row, true)?;
        let heads = self.directory.heads(by_row);
        let mut edits = Edits::new(self.chunks);
        let (mut gone, mut comes, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for (i, &weight) in weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight != 0)
        {
            let mut chain = self.directory.from(by_row[i], heads[i]);
            let position = chain.find(|&position| {
                edits.is_live(self.chunks, position) && self.is_row(position, columns, i)
            });
            let before = position.map_or(0, |position| self.count(position));
            let too_many = || Error::Shape("a row is there more than 2^63 times".into());
            let count = before.checked_add(weight).ok_or_else(too_many)?;
            if count < 0 {
                return Err(Refused::Missing(i));
            }
            if let Some(position) = position {
                edits.take(self.chunks, position);
                gone.push(i);
            }
            if count > 0 {
                comes.push(i);
                counts.push(count);
            }
        }
        let pick = |hashes: &[u32], rows: &[usize]| rows.iter().map(|&i| hashes[i]).collect();
        let (mut taken, mut added) = (vec![pick(by_row, &gone)], vec![pick(by_row, &comes)]);
        for index in 1..self.shape.index_count() {
            let hashes = hashes(&self.columns_of(index, columns))?;
            taken.push(pick(&hashes, &gone));
            added.push(pick(&hashes, &comes));
        }
        let comes = UInt32Array::from_iter_values(comes.iter().map(|&i| i as u32));
        let stored = columns.iter().map(|column| take(column, &comes, None));
        let mut stored = stored.collect::<Result<Vec<_>, _>>().map_err(Error::from)?;
        stored.push(Arc::new(Int64Array::from(counts)));
        let rows = self.stored(stored)?;
        let growth = weights.iter().sum();
        Ok(Change {
            edits,
            rows,
            taken,
            added,
            growth,
        })
    }

    fn columns_of(&self, index: usize, columns: &[ArrayRef]) -> Vec<ArrayRef> {
        let of = self.shape.index_columns(index).iter();
        of.map(|&column| columns[column].clone()).collect()
    }

    fn stored(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(self.shape.stored().clone(), columns)?)
    }

    /// Whether the row at a position is row `i` of a change, to the bit.
    fn is_row(&self, position: u32, columns: &[ArrayRef], i: usize) -> bool {
        let Some((rows, row)) = self.chunks.row(position) else {
            return false;
        };
        let mut pairs = rows.columns().iter().zip(columns);
        pairs.all(|(ours, theirs)| equal(ours, row, theirs, i, Same::Row))
    }

    fn is_same(
        &self,
        position: u32,
        of: &[usize],
        columns: &[ArrayRef],
        i: usize,
        same: Same,
    ) -> bool {
        let Some((rows, row)) = self.chunks.row(position) else {
            return false;
        };
        let mut pairs = of.iter().zip(columns);
        pairs.all(|(&ours, theirs)| equal(rows.column(ours), row, theirs, i, same))
    }

    fn count(&self, position: u32) -> i64 {
        let column = self.shape.counts_column();
        let at = self.chunks.row(position);
        column.zip(at).map_or(1, |(column, (rows, row))| {
            rows.column(column).as_primitive::<Int64Type>().value(row)
        })
    }
}

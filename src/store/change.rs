//! A Z-set checked against a table: which positions go, which rows come. Nothing is changed yet.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::Int64Type;

use super::bits::BitsMut;
use super::chunks::Chunks;
use super::index::Directory;
use super::key::{Same, equal, hashes};
use super::shape::Shape;
use super::zset::Seen;
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

    fn is_live(&self, chunks: &Chunks, position: u32) -> bool {
        let (slot, offset) = chunks.split(position);
        match self.0.get(slot as usize) {
            Some(Some((live, _))) => live.get(offset) && chunks.is_live(position),
            _ => chunks.is_live(position),
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
    fn with(self, shape: &Shape, epoch: u64, row: impl Fn(usize) -> usize) -> Error {
        let (table, key) = (shape.name().to_string(), shape.key_text());
        match self {
            Self::Missing(i) => Error::Missing {
                table,
                epoch,
                row: row(i),
                key,
            },
            Self::Duplicate(i) => Error::Duplicate {
                table,
                epoch,
                row: row(i),
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
        // As it comes if that is possible: what it comes to is the same. Only what comes and goes within the change, or has
        // weights other than one, has to be added up before.
        if self.shape.has_key()
            && let Ok(change) = self.keyed(zset)
        {
            return Ok(change);
        }
        let (consolidated, from) = zset.consolidated_from()?;
        let change = match self.shape.has_key() {
            true => self.keyed(&consolidated),
            false => self.counted(&consolidated),
        };
        change.map_err(|refused| refused.with(self.shape, epoch, |row| from[row] as usize))
    }

    fn keyed(&self, zset: &ZSet) -> Result<Change, Refused> {
        let (columns, weights) = (zset.rows().columns(), zset.weights());
        let key: Vec<ArrayRef> = self.columns_of(0, columns);
        let by_key = hashes(&key)?;
        let heads = self.directory.heads(&by_key);
        let mut edits = Edits::new(self.chunks);
        for (i, &weight) in weights.iter().enumerate() {
            match weight {
                1 => continue,
                -1 => {}
                weight if weight > 0 => return Err(Refused::Duplicate(i)),
                _ => return Err(Refused::Missing(i)),
            }
            let mut chain = self.directory.from(by_key[i], heads[i]);
            let position = chain.find(|&position| {
                edits.is_live(self.chunks, position) && self.is_row(position, columns, i)
            });
            edits.take(self.chunks, position.ok_or(Refused::Missing(i))?);
        }
        let mut seen = Seen::new(weights.len());
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
            if is_taken || seen.first(by_key[i], i as u32, equals) != i as u32 {
                return Err(Refused::Duplicate(i));
            }
        }
        let (mut taken, mut added) = (Vec::new(), Vec::new());
        let mut split = |hashes: &[u32]| {
            let with = |wanted: i64| {
                let pairs = hashes.iter().zip(weights);
                pairs
                    .filter(|(_, w)| **w == wanted)
                    .map(|(hash, _)| *hash)
                    .collect()
            };
            taken.push(with(-1));
            added.push(with(1));
        };
        split(&by_key);
        for index in 1..self.shape.index_count() {
            split(&hashes(&self.columns_of(index, columns))?);
        }
        let comes = |weight: &i64| *weight == 1;
        let rows = match weights.iter().all(comes) {
            true => zset.rows().clone(),
            false => {
                let mask: BooleanArray = weights.iter().map(|weight| Some(comes(weight))).collect();
                filter_record_batch(zset.rows(), &mask).map_err(Error::from)?
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

    /// Of a table without a key: a row that is there gives way to one with another count. Each row comes once.
    fn counted(&self, zset: &ZSet) -> Result<Change, Refused> {
        let (columns, weights) = (zset.rows().columns(), zset.weights());
        let by_row = match columns.is_empty() {
            true => vec![0; zset.len()],
            false => hashes(columns)?,
        };
        let heads = self.directory.heads(&by_row);
        let mut edits = Edits::new(self.chunks);
        let (mut gone, mut comes, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for (i, &weight) in weights.iter().enumerate() {
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
        let (mut taken, mut added) = (vec![pick(&by_row, &gone)], vec![pick(&by_row, &comes)]);
        for index in 1..self.shape.index_count() {
            let hashes = hashes(&self.columns_of(index, columns))?;
            taken.push(pick(&hashes, &gone));
            added.push(pick(&hashes, &comes));
        }
        let comes = UInt32Array::from_iter_values(comes.iter().map(|&i| i as u32));
        let rows = take_record_batch(zset.rows(), &comes).map_err(Error::from)?;
        let mut stored = rows.columns().to_vec();
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

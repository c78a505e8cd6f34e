//! What readers have: an epoch that stays as it is.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{filter_record_batch, interleave, take, take_record_batch};
use arrow::datatypes::Int64Type;

use super::Result;
use super::chunks::{Chunks, Located};
use super::index::Directory;
use super::key::{Same, equal_keys, hashes};
use super::shape::Shape;
use super::zset::{ZSet, batch};

/// A table after an epoch. Nothing in it changes but entries of shards that it does not see.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) epoch: u64,
    /// Counts publications: an epoch may be published again, compacted.
    pub(super) seq: u64,
    /// With their counts.
    pub(super) rows: u64,
    pub(super) chunks: Chunks,
    pub(super) indexes: Vec<Arc<Directory>>,
}

/// The newest version, for whoever asks. Locked for as long as it takes to count a reference.
pub(super) type Published = Arc<Mutex<Arc<Version>>>;

/// A handle by which other threads get at a table that its writer owns.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) shape: Arc<Shape>,
    pub(super) published: Published,
}

impl Reader {
    /// The newest epoch, pinned until the snapshot and its clones are dropped.
    pub fn snapshot(&self) -> Pinned {
        let published = self.published.lock();
        let version = published.unwrap_or_else(PoisonError::into_inner).clone();
        let shape = self.shape.clone();
        Pinned { shape, version }
    }
}

/// A table as it was after an epoch. While it, or a clone, lives, what it sees stays.
#[derive(Clone, Debug)]
pub struct Pinned {
    pub(super) shape: Arc<Shape>,
    pub(super) version: Arc<Version>,
}

/// Rows that lie together, with those that are not there any more.
#[derive(Debug)]
pub struct Part<'a> {
    rows: &'a RecordBatch,
    live: Option<BooleanBuffer>,
    shape: &'a Shape,
}

/// What was found for keys: pairs of a key's number and a row's position, in the order of the keys, newest rows first.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    pub keys: Vec<u32>,
    pub positions: Vec<u32>,
}

impl Part<'_> {
    /// A column's values, the dead rows' too.
    pub fn column(&self, i: usize) -> &ArrayRef {
        self.rows.column(i)
    }

    /// Live and dead.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which rows are live; None where all are.
    pub fn live(&self) -> Option<&BooleanBuffer> {
        self.live.as_ref()
    }

    /// How often each row is there; None in a table with a key: once.
    pub fn counts(&self) -> Option<&Int64Array> {
        let counts = self.shape.counts_column()?;
        Some(self.rows.column(counts).as_primitive())
    }

    /// The live rows, each as often as it is there.
    fn batch(&self, columns: &[usize]) -> Result<RecordBatch> {
        let rows = self.rows.project(columns)?;
        let Some(counts) = self.counts() else {
            return Ok(match &self.live {
                None => rows,
                Some(live) => filter_record_batch(&rows, &BooleanArray::new(live.clone(), None))?,
            });
        };
        let is_live = |i: &u32| {
            self.live
                .as_ref()
                .is_none_or(|live| live.value(*i as usize))
        };
        let live = (0..self.len() as u32).filter(is_live);
        let repeated = live.flat_map(|i| std::iter::repeat_n(i, counts.value(i as usize) as usize));
        Ok(take_record_batch(
            &rows,
            &UInt32Array::from_iter_values(repeated),
        )?)
    }
}

impl Pinned {
    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    pub fn epoch(&self) -> u64 {
        self.version.epoch
    }

    /// Equal rows of a table without a key all count.
    pub fn row_count(&self) -> u64 {
        self.version.rows
    }

    /// What it takes in memory: rows that lie in files take nothing there. Sums up chunks and indexes.
    pub fn bytes(&self) -> usize {
        let chunks = self.version.chunks.iter();
        let indexes = self.version.indexes.iter();
        let rows: usize = chunks.map(|(_, chunk)| chunk.bytes()).sum();
        rows + indexes.map(|index| index.bytes()).sum::<usize>()
    }

    /// What all of its rows take that have them in memory.
    pub fn row_bytes(&self) -> usize {
        let chunks = self.version.chunks.iter();
        chunks.map(|(_, chunk)| chunk.row_bytes()).sum()
    }

    /// All rows, with the dead ones marked: nothing is copied.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let chunks = self.version.chunks.iter();
        chunks.flat_map(move |(_, chunk)| {
            chunk.pieces().iter().map(move |piece| {
                let live = chunk
                    .live()
                    .map(|live| live.range(piece.start, piece.rows.num_rows()));
                let (rows, shape) = (&*piece.rows, &*self.shape);
                Part { rows, live, shape }
            })
        })
    }

    /// Into how many parts it can be read.
    pub fn part_count(&self) -> usize {
        self.parts().count()
    }

    /// The rows of one part, of some columns.
    ///
    /// # Errors
    /// As for [`Pinned::scan`].
    pub fn part(&self, part: usize, columns: &[usize]) -> Result<RecordBatch> {
        match self.parts().nth(part) {
            Some(part) => part.batch(columns),
            None => Ok(RecordBatch::new_empty(Arc::new(
                self.shape.schema().project(columns)?,
            ))),
        }
    }

    /// All rows, of some columns.
    ///
    /// # Errors
    /// If there is no such column, or text grows beyond what a batch can have.
    pub fn scan(&self, columns: &[usize]) -> impl Iterator<Item = Result<RecordBatch>> {
        let parts = self.parts().map(move |part| part.batch(columns));
        parts.filter(|batch| !matches!(batch, Ok(batch) if batch.num_rows() == 0))
    }

    /// Where all rows are, for [`Pinned::gather`] and [`Pinned::counts`].
    pub fn positions(&self) -> impl Iterator<Item = u32> {
        let chunks = &self.version.chunks;
        chunks.iter().flat_map(move |(slot, chunk)| {
            let live = (0..chunk.rows()).filter(|&offset| chunk.is_live(offset));
            live.map(move |offset| chunks.position(slot, offset))
        })
    }

    /// The row with a key, given as a value for each of the key's columns: none, or one. Of a table without a key, the
    /// rows that equal a whole one, each once.
    ///
    /// # Errors
    /// If types are not those of the key.
    pub fn get(&self, key: &[ArrayRef]) -> Result<RecordBatch> {
        let found = self.lookup(0, key)?;
        let columns: Vec<usize> = (0..self.shape.schema().fields().len()).collect();
        let columns = self.gather(&found.positions, &columns)?;
        Ok(RecordBatch::try_new(self.shape.schema().clone(), columns)?)
    }

    /// The rows that have one of the keys, by the columns of an index, as [`Shape::index_columns`] has them. NULL finds
    /// NULL.
    ///
    /// # Errors
    /// If there is no such index, or types are not those of its columns.
    pub fn lookup(&self, index: usize, keys: &[ArrayRef]) -> Result<Matches> {
        self.matches(index, keys, |_| true, usize::MAX)
    }

    /// The same as a join has it: a key with a NULL finds nothing.
    ///
    /// # Errors
    /// As for [`Pinned::lookup`].
    pub fn joined(&self, index: usize, keys: &[ArrayRef]) -> Result<Matches> {
        self.matches_of_values(index, keys, usize::MAX)
    }

    /// The same, if no more than so many are found: no more is done. None: more are.
    ///
    /// # Errors
    /// As for [`Pinned::lookup`].
    pub fn joined_few(
        &self,
        index: usize,
        keys: &[ArrayRef],
        most: usize,
    ) -> Result<Option<Matches>> {
        let found = self.matches_of_values(index, keys, most)?;
        Ok(Some(found).filter(|found| found.positions.len() <= most))
    }

    fn matches_of_values(&self, index: usize, keys: &[ArrayRef], most: usize) -> Result<Matches> {
        let nulls: Vec<_> = keys.iter().map(|key| key.logical_nulls()).collect();
        match NullBuffer::union_many(nulls.iter().map(Option::as_ref)) {
            Some(nulls) if nulls.null_count() > 0 => {
                self.matches(index, keys, |i| nulls.is_valid(i), most)
            }
            _ => self.matches(index, keys, |_| true, most),
        }
    }

    /// Of each key, whether several rows have it; equal rows all count. Looks at two of them, however many there are.
    ///
    /// # Errors
    /// As for [`Pinned::lookup`].
    pub fn has_several(&self, index: usize, keys: &[ArrayRef]) -> Result<Vec<bool>> {
        let columns = self.shape.check_keys(index, keys)?;
        let hashes = hashes(keys)?;
        let directory = &self.version.indexes[index];
        let heads = directory.heads(&hashes);
        let chunks = &self.version.chunks;
        let counts = self.shape.counts_column();
        let has_several = |key: usize| {
            let chain = directory.from(hashes[key], heads[key]);
            let rows = chain.filter(|&position| chunks.is_live(position));
            let rows = rows.filter_map(|position| chunks.row(position));
            let own = rows.filter(|(rows, row)| {
                let mut pairs = columns.iter().zip(keys);
                pairs.all(|(&column, value)| equal_keys(rows.column(column), *row, value, key))
            });
            let mut numbers = own.map(|(rows, row)| {
                counts.map_or(1, |counts| {
                    let counts = rows.column(counts).as_primitive::<Int64Type>();
                    counts.value(row)
                })
            });
            let first = numbers.next().unwrap_or(0);
            first > 1 || numbers.next().is_some()
        };
        Ok((0..hashes.len()).map(has_several).collect())
    }

    /// Those of the keys that are asked for; if there are more than `most`, some more, of any of them.
    fn matches(
        &self,
        index: usize,
        keys: &[ArrayRef],
        is_asked: impl Fn(usize) -> bool,
        most: usize,
    ) -> Result<Matches> {
        let columns = self.shape.check_keys(index, keys)?;
        let hashes = hashes(keys)?;
        let directory = &self.version.indexes[index];
        let heads = directory.heads(&hashes);
        let chunks = &self.version.chunks;
        let is_unique = self.shape.is_unique(index);
        let asked = (0..hashes.len()).filter(|&i| is_asked(i));
        let mut found = Matches::default();
        found.keys.reserve(hashes.len());
        found.positions.reserve(hashes.len());
        for i in asked {
            let chain = directory.from(hashes[i], heads[i]);
            for position in chain.filter(|&position| chunks.is_live(position)) {
                found.keys.push(i as u32);
                found.positions.push(position);
                if found.positions.len() > most {
                    return Ok(found);
                }
                if is_unique {
                    break;
                }
            }
        }
        let located = chunks.locate(&found.positions);
        let equal = located.equal(columns.iter().copied(), keys, &found.keys, Same::Key);
        if equal.iter().all(|equal| *equal) {
            return Ok(found);
        }
        // Some key only shares its hash with another.
        let is_row = |position: u32, i: usize| {
            chunks.row(position).is_some_and(|(rows, row)| {
                let mut pairs = columns.iter().zip(keys);
                pairs.all(|(&column, key)| equal_keys(rows.column(column), row, key, i))
            })
        };
        let mut exact = Matches::default();
        let pairs = found.keys.iter().zip(&found.positions).zip(equal);
        for ((&key, &position), is_equal) in pairs {
            let position = match is_equal {
                true => Some(position),
                // Another live one may be the key's; where a key has several, each is in the list anyway.
                false if is_unique => {
                    let mut chain = directory.from(hashes[key as usize], heads[key as usize]);
                    chain.find(|&p| chunks.is_live(p) && is_row(p, key as usize))
                }
                false => None,
            };
            if let Some(position) = position {
                exact.keys.push(key);
                exact.positions.push(position);
            }
        }
        Ok(exact)
    }

    /// What has changed since an earlier epoch of the same table, however many lie between. Costs in proportion to that, and to
    /// the chunks that there are.
    ///
    /// # Errors
    /// If text grows beyond what a batch can have.
    pub fn since(&self, before: &Self) -> Result<ZSet> {
        let schema = self.shape.schema();
        let (gone, came) = self.version.chunks.since(&before.version.chunks);
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let read = |at: &Self, positions: &[u32], sign: i64| {
            let columns = at.gather(positions, &columns)?;
            let rows = batch(schema, columns, positions.len())?;
            let weights = match at.counts(positions)? {
                Some(counts) => counts.values().iter().map(|count| count * sign).collect(),
                None => vec![sign; positions.len()],
            };
            ZSet::new(rows, weights)
        };
        let both = [read(before, &gone, -1)?, read(self, &came, 1)?];
        ZSet::concat(schema, &both)?.consolidated()
    }

    /// Columns of rows that were found, in the order of their positions.
    ///
    /// # Errors
    /// If text grows beyond what an array can have.
    ///
    /// # Panics
    /// If a position is not from this snapshot.
    pub fn gather(&self, positions: &[u32], columns: &[usize]) -> Result<Vec<ArrayRef>> {
        let schema = self.shape.stored();
        let Located { pieces, rows } = self.version.chunks.locate(positions);
        let gathered = columns.iter().map(|&column| match pieces.as_slice() {
            [] => Ok(arrow::array::new_empty_array(
                schema.field(column).data_type(),
            )),
            [piece] if rows.len() == 1 => Ok(piece.column(column).slice(rows[0].1, 1)),
            [piece] => {
                let rows = UInt32Array::from_iter_values(rows.iter().map(|(_, row)| *row as u32));
                Ok(take(piece.column(column), &rows, None)?)
            }
            pieces => {
                let values: Vec<&dyn Array> = pieces
                    .iter()
                    .map(|piece| piece.column(column).as_ref())
                    .collect();
                Ok(interleave(&values, &rows)?)
            }
        });
        gathered.collect()
    }

    /// How often rows that were found are there; None in a table with a key: once.
    pub fn counts(&self, positions: &[u32]) -> Result<Option<Int64Array>> {
        let Some(column) = self.shape.counts_column() else {
            return Ok(None);
        };
        let counts = self.gather(positions, &[column])?;
        Ok(Some(counts[0].as_primitive::<Int64Type>().clone()))
    }
}

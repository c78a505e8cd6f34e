//! The writer's side: changes, what is published of them, and what is thrown away.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int64Type;

use super::change::{Before, Edits};
use super::chunk::Chunk;
use super::chunks::Chunks;
use super::index::Index;
use super::key::hashes;
use super::shape::Shape;
use super::version::{Published, Version};
use super::{Error, Pinned, Reader, Result, ZSet};

/// Rows that change by epochs. One owner changes it; [`Table::reader`] gives others what they need to read it.
#[derive(Debug)]
pub struct Table {
    shape: Arc<Shape>,
    pub(super) chunks: Chunks,
    indexes: Vec<Index>,
    rows: u64,
    /// The slot that rows are appended to.
    tail: Option<u32>,
    /// Slots without a chunk, with the last version that has one there.
    vacant: Vec<(u32, u64)>,
    /// The chunk that is being moved to the tail, and the row from which on it was not yet.
    victim: Option<(u32, usize)>,
    published: Published,
}

impl Table {
    /// An empty table, at epoch 0.
    ///
    /// # Panics
    /// If a key or an index has no column, or one that is not there.
    pub fn new(shape: Shape) -> Self {
        let shape = Arc::new(shape);
        let chunks = Chunks::new(shape.chunk_bits);
        let indexes: Vec<Index> = (0..shape.index_count()).map(|_| Index::new(0)).collect();
        for index in 0..shape.index_count() {
            let columns = shape.index_columns(index);
            assert!(
                columns
                    .iter()
                    .all(|&column| column < shape.schema().fields().len()),
                "an index of a table has columns of it"
            );
            assert!(index == 0 && !shape.has_key() || !columns.is_empty());
        }
        let version = Arc::new(Version {
            epoch: 0,
            seq: 1,
            rows: 0,
            chunks: chunks.clone(),
            indexes: indexes
                .iter()
                .map(|index| index.directory().clone())
                .collect(),
        });
        Self {
            shape,
            chunks,
            indexes,
            rows: 0,
            tail: None,
            vacant: Vec::new(),
            victim: None,
            published: Arc::new(Mutex::new(version)),
        }
    }

    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// For other threads.
    pub fn reader(&self) -> Reader {
        let (shape, published) = (self.shape.clone(), self.published.clone());
        Reader { shape, published }
    }

    /// The newest epoch, pinned.
    pub fn snapshot(&self) -> Pinned {
        let (shape, version) = (self.shape.clone(), self.version());
        Pinned { shape, version }
    }

    fn version(&self) -> Arc<Version> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Change the table, and publish that as an epoch, which is greater than the last. An empty change publishes it,
    /// too. Costs in proportion to the change.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Duplicate`] if the change does not fit what is there, [`Error::Shape`] if its
    /// columns do not, [`Error::Late`], [`Error::Full`]: the table is as it was.
    pub fn apply(&mut self, epoch: u64, change: &ZSet) -> Result<()> {
        let at = self.version().epoch;
        if epoch <= at {
            let table = self.shape.name().to_string();
            return Err(Error::Late { table, at, epoch });
        }
        if !change.is_empty() {
            let before = Before {
                shape: &self.shape,
                chunks: &self.chunks,
                directory: self.indexes[0].directory(),
            };
            let change = before.change(epoch, change)?;
            self.check_room(change.rows.num_rows())?;
            self.rows = self.rows.wrapping_add_signed(change.growth);
            self.replace(change.edits, change.rows, &change.taken, &change.added);
        }
        self.publish(epoch);
        Ok(())
    }

    /// A chunk with its rows, into the indexes, too. Not published.
    pub(super) fn adopt(&mut self, chunk: Chunk) -> Result<()> {
        if chunk.live_rows() == 0 {
            return Ok(());
        }
        self.check_room(chunk.rows())?;
        let next = self.version().seq + 1;
        let slot = self.chunks.len() as u32;
        self.chunks.put(slot, Some(chunk));
        let chunks = &self.chunks;
        let Some(chunk) = chunks.get(slot) else {
            return Ok(());
        };
        if chunk.rows() < chunks.capacity() {
            self.tail = Some(slot);
        }
        let is_live = |position| chunks.is_live(position);
        for piece in chunk.pieces() {
            let by_index = self.shape.hashes(&piece.rows)?;
            for (index, hashes) in self.indexes.iter_mut().zip(by_index) {
                for (offset, hash) in (piece.start..).zip(hashes) {
                    if chunk.is_live(offset) {
                        index.insert(hash, chunks.position(slot, offset), next, &is_live);
                    }
                }
            }
            self.rows += match self.shape.counts_column() {
                None => 0,
                Some(column) => {
                    let counts = piece.rows.column(column).as_primitive::<Int64Type>();
                    let live = (0..counts.len()).filter(|i| chunk.is_live(piece.start + i));
                    live.map(|i| counts.value(i) as u64).sum()
                }
            };
        }
        if self.shape.has_key() {
            self.rows += chunk.live_rows() as u64;
        }
        Ok(())
    }

    fn check_room(&self, rows: usize) -> Result<()> {
        let chunks = rows / self.chunks.capacity() + 2;
        match self.chunks.len() + chunks <= self.chunks.most() {
            true => Ok(()),
            false => Err(Error::Full {
                table: self.shape.name().to_string(),
                rows: (self.chunks.len() * self.chunks.capacity()) as u64,
            }),
        }
    }

    /// Some rows go, others come. Hashes are by index, then in the order of rows.
    fn replace(&mut self, edits: Edits, rows: RecordBatch, taken: &[Vec<u32>], added: &[Vec<u32>]) {
        let mut emptied = Vec::new();
        for (slot, edit) in (0..).zip(edits.0) {
            let Some((live, cleared)) = edit else {
                continue;
            };
            if let Some(chunk) = self.chunks.change(slot) {
                chunk.set_live(live, cleared);
                if chunk.live_rows() == 0 && Some(slot) != self.tail {
                    emptied.push(slot);
                }
            }
        }
        let seq = self.version().seq;
        for slot in emptied {
            self.chunks.put(slot, None);
            self.vacant.push((slot, seq));
            self.victim = self.victim.filter(|(victim, _)| *victim != slot);
        }
        let runs = self.append(rows);
        let chunks = &self.chunks;
        let is_live = |position| chunks.is_live(position);
        for (index, (taken, added)) in self.indexes.iter_mut().zip(taken.iter().zip(added)) {
            taken.iter().for_each(|&hash| index.taken(hash));
            let positions = runs.iter().flat_map(|&(first, len)| first..first + len);
            for (&hash, position) in added.iter().zip(positions) {
                index.insert(hash, position, seq + 1, &is_live);
            }
            index.tidy(seq + 1, &is_live);
        }
    }

    /// The positions that rows have got: where each run begins, and its length.
    fn append(&mut self, rows: RecordBatch) -> Vec<(u32, u32)> {
        let capacity = self.chunks.capacity();
        let (mut runs, mut from) = (Vec::new(), 0);
        while from < rows.num_rows() {
            let slot = match self.tail {
                Some(slot) => slot,
                None => self.new_tail(),
            };
            let chunk = self.chunks.change(slot).expect("the tail has a chunk");
            let offset = chunk.rows();
            let len = (rows.num_rows() - from).min(capacity - offset);
            chunk.append(rows.slice(from, len), capacity);
            if chunk.rows() == capacity {
                self.tail = None;
            }
            runs.push((self.chunks.position(slot, offset), len as u32));
            from += len;
        }
        runs
    }

    fn new_tail(&mut self) -> u32 {
        let slot = self.vacant_slot().unwrap_or(self.chunks.len() as u32);
        let born = self.version().seq + 1;
        self.chunks.put(slot, Some(Chunk::new(born)));
        self.tail = Some(slot);
        slot
    }

    /// A slot of a chunk that was gone before the oldest shard was built. So no shard has a position in it; and a version
    /// that has the chunk has none of these shards, so that it will not meet the positions that come.
    fn vacant_slot(&mut self) -> Option<u32> {
        let oldest = self.vacant.first()?.1;
        // Shards are built anew as they fill up. Where that is too slow, they are made to.
        let is_wide = self.vacant.len() > 64 + self.chunks.len() / 2;
        if is_wide && self.clean() <= oldest {
            let next = self.version().seq + 1;
            let chunks = &self.chunks;
            for index in &mut self.indexes {
                index.raise(oldest + 1, next, &|position| chunks.is_live(position));
            }
        }
        let clean = self.clean();
        let place = self.vacant.iter().position(|(_, last)| *last < clean)?;
        Some(self.vacant.remove(place).0)
    }

    /// The first version of the oldest shard.
    fn clean(&self) -> u64 {
        self.indexes.iter().map(Index::oldest).min().unwrap_or(0)
    }

    /// Find rows by these columns, too, from now on: the same epoch is published again. Snapshots and readers from before
    /// do not have the index. Nothing is done if there is one already. Costs in proportion to the table.
    ///
    /// # Errors
    /// If a column has a type that cannot be hashed: the table is as it was.
    ///
    /// # Panics
    /// If there is no column, or one that is not there.
    pub fn add_index(&mut self, columns: &[usize]) -> Result<()> {
        let all = self.shape.schema().fields().len();
        assert!(!columns.is_empty() && columns.iter().all(|&column| column < all));
        if self.shape.index_on(columns).is_some() {
            return Ok(());
        }
        let next = self.version().seq + 1;
        let chunks = &self.chunks;
        let is_live = |position| chunks.is_live(position);
        let mut index = Index::new(next);
        for (slot, chunk) in chunks.iter() {
            for piece in chunk.pieces() {
                let of = columns.iter().map(|&i| piece.rows.column(i).clone());
                let hashes = hashes(&of.collect::<Vec<_>>())?;
                let first = chunks.position(slot, piece.start);
                for (hash, position) in hashes.into_iter().zip(first..) {
                    if is_live(position) {
                        index.insert(hash, position, next, &is_live);
                    }
                }
            }
        }
        self.indexes.push(index);
        self.shape = Arc::new(Shape::clone(&self.shape).with_index(columns));
        let epoch = self.version().epoch;
        self.publish(epoch);
        Ok(())
    }

    pub(super) fn publish(&mut self, epoch: u64) {
        let mut published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let version = Arc::new(Version {
            epoch,
            seq: published.seq + 1,
            rows: self.rows,
            chunks: self.chunks.clone(),
            indexes: self
                .indexes
                .iter()
                .map(|index| index.directory().clone())
                .collect(),
        });
        let before = std::mem::replace(&mut *published, version);
        // What it alone had is freed when readers no longer wait.
        drop(published);
        drop(before);
    }

    /// Move live rows out of chunks that are mostly dead, `budget` at most, if the dead are more than the living;
    /// publish the same epoch again, which has the same rows. How many were moved: 0 if there is nothing to do.
    ///
    /// For the writer's idle time, or as a share of each change: with as many rows moved as have come, memory stays at
    /// some twice that of the living.
    ///
    /// # Errors
    /// [`Error::Full`], and what Arrow's kernels refuse: the table is as it was.
    pub fn compact(&mut self, budget: usize) -> Result<usize> {
        let Some((slot, from)) = self.victim() else {
            return Ok(0);
        };
        self.check_room(budget)?;
        let chunk = self.chunks.get(slot).expect("it was found there");
        let is_live = |offset: &usize| chunk.is_live(*offset);
        let live: Vec<usize> = (from..chunk.rows()).filter(is_live).take(budget).collect();
        let mut edits = Edits::new(&self.chunks);
        for &offset in &live {
            edits.take(&self.chunks, self.chunks.position(slot, offset));
        }
        let mut batches = Vec::new();
        for piece in chunk.pieces() {
            let end = piece.start + piece.rows.num_rows();
            let mine = live
                .iter()
                .filter(|offset| (piece.start..end).contains(*offset));
            let mine =
                UInt32Array::from_iter_values(mine.map(|offset| (offset - piece.start) as u32));
            batches.push(take_record_batch(&piece.rows, &mine)?);
        }
        let rows = arrow::compute::concat_batches(self.shape.stored(), &batches)?;
        let by_index = self.shape.hashes(&rows)?;
        let moved = live.len();
        self.victim = live.last().map(|last| (slot, last + 1));
        self.replace(edits, rows, &by_index, &by_index);
        let epoch = self.version().epoch;
        self.publish(epoch);
        Ok(moved)
    }

    /// What [`Pinned::bytes`] is, counted anew.
    #[cfg(test)]
    pub(super) fn recounted(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|(_, chunk)| chunk.recounted()).sum();
        chunks + self.indexes.iter().map(Index::recounted).sum::<usize>()
    }

    /// The room of the key's shards.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.indexes[0].entries()
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.chunks.len()
    }

    fn victim(&mut self) -> Option<(u32, usize)> {
        if let Some((slot, from)) = self.victim
            && self.chunks.get(slot).is_some()
        {
            return Some((slot, from));
        }
        let tail = self.tail;
        let sealed = self.chunks.iter().filter(|(slot, _)| Some(*slot) != tail);
        let (mut live, mut all) = (0, 0);
        let mut emptiest: Option<(u32, usize)> = None;
        for (slot, chunk) in sealed {
            live += chunk.live_rows();
            all += chunk.rows();
            if emptiest.is_none_or(|(_, rows)| chunk.live_rows() < rows) {
                emptiest = Some((slot, chunk.live_rows()));
            }
        }
        // Dead rows beyond the living, and a chunk that is worth it: the emptiest costs least.
        self.victim = emptiest
            .filter(|(_, rows)| all > 2 * live && rows * 2 <= self.chunks.capacity())
            .map(|(slot, _)| (slot, 0));
        self.victim
    }
}

//! The rows of one slot, in the order they came, and which of them are live.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;

use super::bits::{Bits, BitsMut};
use super::bytes_of;
use super::content::{Mapped, address};

/// Pieces of the tail of one size that become one of the next: a row that comes alone is copied five times until its
/// chunk of 65,536 is full, and the tail has at most 35 pieces.
const FAN: usize = 8;
/// What a column of a piece takes besides its values.
const COLUMN_BYTES: usize = 200;

/// As a version sees it: immutable. A change makes another, which shares what is the same.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// The publication that had it first: tells it from another that had its slot.
    born: u64,
    pieces: Vec<Piece>,
    rows: usize,
    live_rows: usize,
    /// Of each row, also of those that are still to come. None: all are live.
    live: Option<Bits>,
}

#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) start: usize,
    pub(super) rows: Arc<RecordBatch>,
    /// What it is in memory, or would be.
    bytes: usize,
    /// Its rows lie in a file.
    is_mapped: bool,
}

impl Piece {
    pub(super) fn new(start: usize, rows: Arc<RecordBatch>, is_mapped: bool) -> Self {
        Self {
            start,
            bytes: bytes_of(&rows) + COLUMN_BYTES * rows.num_columns(),
            rows,
            is_mapped,
        }
    }
}

/// Offsets of rows.
pub(super) struct Since {
    pub(super) gone: Vec<usize>,
    pub(super) came: Vec<usize>,
}

impl Chunk {
    pub(super) fn new(born: u64) -> Self {
        Self {
            born,
            pieces: Vec::new(),
            rows: 0,
            live_rows: 0,
            live: None,
        }
    }

    /// One that was there before. `capacity` is how many rows it can have.
    pub(super) fn restored(pieces: Vec<Piece>, live: Option<BitsMut>, capacity: usize) -> Self {
        let rows = pieces.iter().map(|piece| piece.rows.num_rows()).sum();
        Self {
            born: 0,
            pieces,
            rows,
            live_rows: live.as_ref().map_or(rows, |live| live.count(rows)),
            live: live.map(|live| live.extended(capacity).freeze()),
        }
    }

    /// Live and dead.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn live_rows(&self) -> usize {
        self.live_rows
    }

    /// In memory.
    pub(super) fn bytes(&self) -> usize {
        let live = self.live.as_ref().map_or(0, |live| live.bytes().len());
        let pieces = self.pieces.iter().filter(|piece| !piece.is_mapped);
        size_of::<Self>() + live + pieces.map(|piece| piece.bytes).sum::<usize>()
    }

    /// The same, counted anew.
    #[cfg(test)]
    pub(super) fn recounted(&self) -> usize {
        let pieces = self.pieces.iter().filter(|piece| !piece.is_mapped);
        let anew = pieces.map(|piece| Piece::new(0, piece.rows.clone(), false).bytes);
        let live = self.live.as_ref().map_or(0, |live| live.bytes().len());
        size_of::<Self>() + live + anew.sum::<usize>()
    }

    /// What its rows would be in memory, the dead ones, too.
    pub(super) fn row_bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }

    pub(super) fn is_live(&self, offset: usize) -> bool {
        offset < self.rows && self.live.as_ref().is_none_or(|live| live.get(offset))
    }

    /// Rows that were live in an earlier state of this chunk and are not any more, and those that have come since.
    pub(super) fn since(&self, before: &Self) -> Since {
        let is_shared = match (&self.live, &before.live) {
            (None, None) => true,
            (Some(now), Some(then)) => now.is(then),
            _ => false,
        };
        let looked_at = if is_shared { 0 } else { before.rows };
        let gone = (0..looked_at).filter(|&i| before.is_live(i) && !self.is_live(i));
        let came = (before.rows..self.rows).filter(|&i| self.is_live(i));
        Since {
            gone: gone.collect(),
            came: came.collect(),
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.born == other.born
    }

    /// None where all are.
    pub(super) fn live(&self) -> Option<&Bits> {
        self.live.as_ref()
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The piece that has a row.
    pub(super) fn piece_of(&self, offset: usize) -> usize {
        match self.pieces.len() {
            1 => 0,
            _ => self.pieces.partition_point(|piece| piece.start <= offset) - 1,
        }
    }

    /// The row, as a batch and its number there.
    pub(super) fn row(&self, offset: usize) -> (&RecordBatch, usize) {
        let piece = &self.pieces[self.piece_of(offset)];
        (&piece.rows, offset - piece.start)
    }

    pub(super) fn remap(&mut self, mapped: &Mapped) {
        for piece in &mut self.pieces {
            let same = mapped.get(&address(&piece.rows));
            if let Some(rows) = same.filter(|rows| rows.num_rows() == piece.rows.num_rows()) {
                piece.rows = rows.clone();
                piece.is_mapped = true;
            }
        }
    }

    pub(super) fn live_to_change(&self, capacity: usize) -> BitsMut {
        match &self.live {
            Some(live) => live.copied(),
            None => BitsMut::all_set(capacity),
        }
    }

    /// `cleared` rows fewer.
    pub(super) fn set_live(&mut self, live: BitsMut, cleared: usize) {
        self.live = Some(live.freeze());
        self.live_rows -= cleared;
    }

    /// Rows at the end. `capacity` is how many the chunk can have.
    pub(super) fn append(&mut self, rows: RecordBatch, capacity: usize) {
        let added = rows.num_rows();
        let start = self.rows;
        self.pieces.push(Piece::new(start, Arc::new(rows), false));
        self.rows += added;
        self.live_rows += added;
        if self.rows == capacity {
            self.merge(self.pieces.len());
            return;
        }
        loop {
            let tier = |piece: &Piece| piece.rows.num_rows().ilog(FAN);
            let last = self.pieces.last().map_or(0, tier);
            let same = self
                .pieces
                .iter()
                .rev()
                .take_while(|piece| tier(piece) <= last);
            if same.count() < FAN || !self.merge(FAN) {
                return;
            }
        }
    }

    /// The last pieces as one; false, and nothing, if that cannot be (text beyond the 2 GB of one batch).
    fn merge(&mut self, pieces: usize) -> bool {
        let first = self.pieces.len() - pieces;
        if pieces < 2 {
            return false;
        }
        let batches = self.pieces[first..].iter().map(|piece| &*piece.rows);
        let schema = self.pieces[first].rows.schema();
        let Ok(rows) = concat_batches(&schema, batches) else {
            return false;
        };
        let start = self.pieces[first].start;
        let rows = Arc::new(without_foreign_text(rows));
        self.pieces.truncate(first);
        self.pieces.push(Piece::new(start, rows, false));
        true
    }
}

/// Views of text refer to the buffers of the batches they came with: copied, lest a row keep a whole batch in memory.
fn without_foreign_text(rows: RecordBatch) -> RecordBatch {
    let has_views = |column: &ArrayRef| {
        matches!(
            column.data_type(),
            DataType::Utf8View | DataType::BinaryView
        )
    };
    if !rows.columns().iter().any(has_views) {
        return rows;
    }
    let columns = rows
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column.clone(),
        });
    let columns = columns.collect();
    RecordBatch::try_new(rows.schema(), columns).unwrap_or(rows)
}

//! What is at a position: a slot has a chunk, an offset a row.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use super::chunk::Chunk;
use super::key::{Pairs, Same};

/// The chunks of a version, or of the writer. A clone shares them.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    slots: Vec<Option<Arc<Chunk>>>,
    /// A chunk has 2^shift rows.
    shift: u32,
}

impl Chunks {
    pub(super) fn new(shift: u32) -> Self {
        let slots = Vec::new();
        Self { slots, shift }
    }

    /// How many rows a chunk can have.
    pub(super) fn capacity(&self) -> usize {
        1 << self.shift
    }

    /// How many slots there are, with or without a chunk.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Slots that positions of 32 bits can name.
    pub(super) fn most(&self) -> usize {
        1 << (32 - self.shift)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Chunk)> {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(slot, chunk)| Some((slot, chunk.as_deref()?)))
    }

    /// What has changed since, slot by slot: the positions of rows that have gone, there, and of those that have come, here.
    /// Chunks that both share cost a comparison. A row that was moved is in both.
    pub(super) fn since(&self, before: &Self) -> (Vec<u32>, Vec<u32>) {
        let (mut gone, mut came) = (Vec::new(), Vec::new());
        for slot in 0..self.len().max(before.len()) as u32 {
            let of = |chunks: &Self| chunks.slots.get(slot as usize).cloned().flatten();
            let positions =
                |offsets: Vec<usize>| offsets.into_iter().map(move |i| self.position(slot, i));
            let live = |chunk: &Chunk| (0..chunk.rows()).filter(|&i| chunk.is_live(i)).collect();
            match (of(before), of(self)) {
                (Some(then), Some(now)) if Arc::ptr_eq(&then, &now) => {}
                (Some(then), Some(now)) if now.is_same(&then) => {
                    let since = now.since(&then);
                    gone.extend(positions(since.gone));
                    came.extend(positions(since.came));
                }
                (then, now) => {
                    let (then, now) = (then.as_deref().map(live), now.as_deref().map(live));
                    gone.extend(positions(then.unwrap_or_default()));
                    came.extend(positions(now.unwrap_or_default()));
                }
            }
        }
        (gone, came)
    }

    pub(super) fn position(&self, slot: u32, offset: usize) -> u32 {
        slot << self.shift | offset as u32
    }

    pub(super) fn split(&self, position: u32) -> (u32, usize) {
        (
            position >> self.shift,
            position as usize & (self.capacity() - 1),
        )
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Chunk> {
        self.slots.get(slot as usize)?.as_deref()
    }

    /// A copy in place of the chunk, to change, where a version shares it.
    pub(super) fn change(&mut self, slot: u32) -> Option<&mut Chunk> {
        Some(Arc::make_mut(self.slots[slot as usize].as_mut()?))
    }

    pub(super) fn put(&mut self, slot: u32, chunk: Option<Chunk>) {
        let slot = slot as usize;
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = chunk.map(Arc::new);
    }

    pub(super) fn is_live(&self, position: u32) -> bool {
        let (slot, offset) = self.split(position);
        self.get(slot).is_some_and(|chunk| chunk.is_live(offset))
    }

    /// The row at a position of this version, as a batch and its number there.
    pub(super) fn row(&self, position: u32) -> Option<(&RecordBatch, usize)> {
        let (slot, offset) = self.split(position);
        Some(self.get(slot)?.row(offset))
    }

    /// Where rows lie, for kernels that work on many.
    ///
    /// # Panics
    /// If there is no row at a position.
    pub(super) fn locate(&self, positions: &[u32]) -> Located<'_> {
        let mut located = Located {
            pieces: Vec::new(),
            rows: Vec::with_capacity(positions.len()),
        };
        let at = |position: u32| {
            let (slot, offset) = self.split(position);
            let chunk = self
                .get(slot)
                .expect("a position that was found has a chunk");
            (slot, chunk, chunk.piece_of(offset), offset)
        };
        if positions.len() <= FEW {
            for &position in positions {
                let (_, chunk, piece, offset) = at(position);
                let piece = &chunk.pieces()[piece];
                let rows: &RecordBatch = &piece.rows;
                let known = located
                    .pieces
                    .iter()
                    .position(|known| std::ptr::eq(*known, rows));
                let number = known.unwrap_or_else(|| located.add(rows));
                located.rows.push((number, offset - piece.start));
            }
            return located;
        }
        // By slot, where its pieces begin; by piece, its number in the list + 1.
        let mut first = Vec::with_capacity(self.len());
        let mut pieces = 0;
        for chunk in &self.slots {
            first.push(pieces);
            pieces += chunk.as_ref().map_or(0, |chunk| chunk.pieces().len());
        }
        let mut known = vec![0; pieces];
        for &position in positions {
            let (slot, chunk, piece, offset) = at(position);
            let known = &mut known[first[slot as usize] + piece];
            let piece = &chunk.pieces()[piece];
            if *known == 0 {
                *known = located.add(&piece.rows) + 1;
            }
            located.rows.push((*known - 1, offset - piece.start));
        }
        located
    }
}

/// So few positions are located by looking through a list.
const FEW: usize = 16;

/// Rows by batch.
pub(super) struct Located<'a> {
    pub(super) pieces: Vec<&'a RecordBatch>,
    /// Which of them, and the row there.
    pub(super) rows: Vec<(usize, usize)>,
}

impl<'a> Located<'a> {
    fn add(&mut self, rows: &'a RecordBatch) -> usize {
        self.pieces.push(rows);
        self.pieces.len() - 1
    }

    /// Of each row, whether its values are those of another batch's row, column by column: `columns` of ours, and
    /// `theirs`.
    pub(super) fn equal(
        &self,
        columns: impl Iterator<Item = usize>,
        theirs: &[ArrayRef],
        their_rows: &[u32],
        same: Same,
    ) -> Vec<bool> {
        let mut equal = vec![true; self.rows.len()];
        for (column, theirs) in columns.zip(theirs) {
            let ours: Vec<&ArrayRef> = self.pieces.iter().map(|rows| rows.column(column)).collect();
            let pairs = Pairs {
                ours: &ours,
                at: &self.rows,
                theirs,
                rows: their_rows,
            };
            pairs.compare(same, &mut equal);
        }
        equal
    }
}

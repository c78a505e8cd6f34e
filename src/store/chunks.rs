//! What is at a position: a slot has a chunk, an offset a row.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::chunk::Chunk;

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
}

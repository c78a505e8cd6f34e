//! Which rows of a chunk are live: a bit each, shared until it changes.

use arrow::buffer::{BooleanBuffer, Buffer};

/// Immutable; a clone shares the words.
#[derive(Clone, Debug)]
pub(super) struct Bits(Buffer);

/// A copy to change.
#[derive(Debug)]
pub(super) struct BitsMut(Vec<u64>);

impl Bits {
    pub(super) fn get(&self, i: usize) -> bool {
        // By bytes: how they are aligned need not be asked.
        self.0.as_slice()[i / 8] >> (i % 8) & 1 == 1
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    fn words(&self) -> &[u64] {
        self.0.typed_data()
    }

    /// Whether it is the same one, shared.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }

    /// The bits of some rows, as Arrow's kernels take them. Copies nothing.
    pub(super) fn range(&self, start: usize, len: usize) -> BooleanBuffer {
        BooleanBuffer::new(self.0.clone(), start, len)
    }

    pub(super) fn copied(&self) -> BitsMut {
        BitsMut(self.words().to_vec())
    }
}

impl BitsMut {
    pub(super) fn all_set(len: usize) -> Self {
        Self(vec![u64::MAX; len.div_ceil(64)])
    }

    /// Bits of some rows, the lowest of a byte first; those of rows beyond are set.
    pub(super) fn from_bytes(bytes: &[u8], rows: usize) -> Self {
        let mut bits = Self::all_set(rows);
        for i in (0..rows).filter(|i| bytes[i / 8] >> (i % 8) & 1 == 0) {
            bits.clear(i);
        }
        bits
    }

    /// The same, with room for as many rows.
    pub(super) fn extended(mut self, rows: usize) -> Self {
        self.0.resize(rows.div_ceil(64), u64::MAX);
        self
    }

    /// How many of the first rows are set.
    pub(super) fn count(&self, rows: usize) -> usize {
        (0..rows).filter(|&i| self.get(i)).count()
    }

    pub(super) fn get(&self, i: usize) -> bool {
        self.0[i / 64] >> (i % 64) & 1 == 1
    }

    /// Whether it was set.
    pub(super) fn clear(&mut self, i: usize) -> bool {
        let (word, bit) = (&mut self.0[i / 64], 1 << (i % 64));
        let was = *word & bit != 0;
        *word &= !bit;
        was
    }

    pub(super) fn freeze(self) -> Bits {
        Bits(Buffer::from_vec(self.0))
    }
}

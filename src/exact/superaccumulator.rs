//! The small superaccumulator of R. Neal, "Fast exact summation using small and large superaccumulators" (2015),
//! arXiv 1505.05571, with as many chunks as its values need.

use super::dyadic::Dyadic;

/// Bits by which one chunk is worth more than the one below.
const CHUNK_BITS: i32 = 32;
const CHUNK_MASK: i64 = (1 << CHUNK_BITS) - 1;

/// Additions after which carries are propagated. A chunk has room for four times as many, so that two can be merged.
const MAX_PENDING: u32 = 1 << 29;

/// A sum of dyadic rationals. Carries between its chunks wait until it is read, or a chunk could overflow.
#[derive(Debug, Clone, Default)]
pub(super) struct Superaccumulator {
    /// `chunks[i]` counts units of 2^(32 · (first + i)).
    first: i32,
    chunks: Vec<i64>,
    /// No chunk is further from zero than this many times 2^32.
    pending: u32,
}

impl Superaccumulator {
    /// Add ±magnitude · 2^exponent.
    pub(super) fn add(&mut self, magnitude: u64, exponent: i32, negative: bool) {
        let shifted = u128::from(magnitude) << exponent.rem_euclid(CHUNK_BITS);
        let at = self.make_room(exponent.div_euclid(CHUNK_BITS), 3);
        for (i, chunk) in self.chunks[at..at + 3].iter_mut().enumerate() {
            let part = (shifted >> (32 * i)) as i64 & CHUNK_MASK;
            *chunk += if negative { -part } else { part };
        }
        self.added(1);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let at = self.make_room(other.first, other.chunks.len());
        for (chunk, add) in self.chunks[at..].iter_mut().zip(&other.chunks) {
            *chunk += add;
        }
        self.added(other.pending);
    }

    pub(super) fn value(&self) -> Dyadic {
        let mut sum = self.clone();
        sum.propagate_carries();
        let negative = sum.chunks.last().is_some_and(|&top| top < 0);
        if negative {
            sum.chunks.iter_mut().for_each(|chunk| *chunk = -*chunk);
            sum.propagate_carries();
        }
        let limbs = sum.chunks.iter().map(|&chunk| chunk as u32).collect();
        Dyadic::new(negative, sum.first, limbs)
    }

    /// Bytes on the heap.
    pub(super) fn size(&self) -> usize {
        self.chunks.capacity() * size_of::<i64>()
    }

    /// Where in `chunks` the chunk `first` is, after which there are `len` at least.
    fn make_room(&mut self, first: i32, len: usize) -> usize {
        if self.chunks.is_empty() {
            self.first = first;
        }
        if first < self.first {
            let missing = self.first.abs_diff(first) as usize;
            self.chunks.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = first;
        }
        let at = first.abs_diff(self.first) as usize;
        if self.chunks.len() < at + len {
            self.chunks.resize(at + len, 0);
        }
        at
    }

    fn added(&mut self, additions: u32) {
        self.pending += additions;
        if self.pending > MAX_PENDING {
            self.propagate_carries();
        }
    }

    /// Leave every chunk in 0 .. 2^32 but the last, which has the sign.
    fn propagate_carries(&mut self) {
        let Some((top, lower)) = self.chunks.split_last_mut() else {
            return;
        };
        let mut carry = 0;
        for chunk in lower {
            *chunk += carry;
            carry = *chunk >> CHUNK_BITS;
            *chunk &= CHUNK_MASK;
        }
        *top += carry;
        let above = *top >> CHUNK_BITS;
        if above != 0 && above != -1 {
            *top &= CHUNK_MASK;
            self.chunks.push(above);
        }
        self.pending = 1;
    }
}

impl From<&Dyadic> for Superaccumulator {
    fn from(value: &Dyadic) -> Self {
        let chunk = |&limb: &u32| {
            if value.negative {
                -i64::from(limb)
            } else {
                i64::from(limb)
            }
        };
        Self {
            first: value.first,
            chunks: value.limbs.iter().map(chunk).collect(),
            pending: 1,
        }
    }
}

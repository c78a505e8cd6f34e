//! What is not a finite number: counted, so that it can be taken out again.

/// How many are NaN, the infinity, and the negative infinity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Specials([i64; 3]);

impl Specials {
    pub(super) fn count(&mut self, x: f64, out: bool) {
        let by = if out { -1 } else { 1 };
        self.merge(Self(match x {
            f64::INFINITY => [0, by, 0],
            f64::NEG_INFINITY => [0, 0, by],
            _ => [by, 0, 0],
        }));
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            // What was decoded can be any number.
            *count = count.wrapping_add(more);
        }
    }

    /// What they add up to, if there are any.
    pub(super) fn sum(self) -> Option<f64> {
        match self.0 {
            [0, 0, 0] => None,
            [0, _, 0] => Some(f64::INFINITY),
            [0, 0, _] => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    pub(super) fn encode(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.0.iter().flat_map(|count| count.to_le_bytes()));
    }

    pub(super) fn decode(bytes: &[u8; 24]) -> Self {
        let mut counts = [0; 3];
        for (count, bytes) in counts.iter_mut().zip(bytes.as_chunks().0) {
            *count = i64::from_le_bytes(*bytes);
        }
        Self(counts)
    }
}

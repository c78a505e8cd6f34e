//! What superaccumulators add up to: read, rounded, and divided.

use super::superaccumulator::Superaccumulator;

/// The exponent of the smallest float.
const MIN_EXPONENT: i32 = -1074;

/// An integer times a power of two.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dyadic {
    pub(super) negative: bool,
    /// `limbs[i]` counts units of 2^(32 · (first + i)).
    pub(super) first: i32,
    /// Neither the first nor the last is zero.
    pub(super) limbs: Vec<u32>,
}

impl Dyadic {
    pub(super) fn new(negative: bool, first: i32, mut limbs: Vec<u32>) -> Self {
        let last = limbs.iter().rposition(|&limb| limb != 0);
        limbs.truncate(last.map_or(0, |last| last + 1));
        let zeros = limbs.iter().take_while(|&&limb| limb == 0).count();
        limbs.drain(..zeros);
        let is_zero = limbs.is_empty();
        Self {
            negative: negative && !is_zero,
            first: if is_zero { 0 } else { first + zeros as i32 },
            limbs,
        }
    }

    /// How many units of 2^exponent this is, if that is such an integer.
    pub(super) fn in_units(&self, exponent: i32) -> Option<i128> {
        let mut units = 0u128;
        for (&limb, at) in self.limbs.iter().zip(self.first..) {
            let limb = u128::from(limb);
            let shift = 32 * at - exponent;
            let by = shift.unsigned_abs();
            let (shifted, back) = if shift < 0 {
                let shifted = limb.checked_shr(by)?;
                (shifted, shifted << by)
            } else {
                let shifted = limb.checked_shl(by)?;
                (shifted, shifted >> by)
            };
            if back != limb {
                return None;
            }
            units |= shifted;
        }
        if self.negative {
            0i128.checked_sub_unsigned(units)
        } else {
            0i128.checked_add_unsigned(units)
        }
    }

    /// The nearest float; of two, the even one.
    pub(super) fn round(&self) -> f64 {
        self.round_with(false)
    }

    /// The float nearest to this and a `rest`, less than a unit of the lowest limb, if there are 54 bits above it.
    fn round_with(&self, rest: bool) -> f64 {
        let split = self.limbs.len().saturating_sub(4);
        let rest = rest || split > 0;
        let high = self.limbs[split..].iter().rev();
        let high = high.fold(0u128, |high, &limb| high << 32 | u128::from(limb));
        if high == 0 {
            return 0.0;
        }
        let high_exponent = 32 * (self.first + split as i32);

        let bits = 128 - high.leading_zeros() as i32;
        let exponent = (high_exponent + bits - 53).max(MIN_EXPONENT);
        let dropped = exponent - high_exponent;
        let magnitude = if dropped <= 0 {
            high << -dropped
        } else if dropped <= 128 {
            let floor = high.checked_shr(dropped as u32).unwrap_or(0);
            let half = 1u128 << (dropped - 1);
            let is_more = rest || high & (half - 1) != 0;
            let up = high & half != 0 && (is_more || floor & 1 == 1);
            floor + u128::from(up)
        } else {
            0
        };
        // A normal float's first bit is not stored: here it counts the exponent up by one, as does a carry.
        let biased = (exponent - MIN_EXPONENT) as u64;
        let magnitude = if biased < 2046 {
            f64::from_bits((biased << 52) + magnitude as u64)
        } else {
            f64::INFINITY
        };
        if self.negative { -magnitude } else { magnitude }
    }

    /// The float nearest to the quotient of this and the product of two positive numbers.
    fn divide_and_round(&self, divisors: [u64; 2]) -> f64 {
        // Six limbs more than the divisors have: 54 bits of the quotient, at least, and a remainder.
        let mut limbs = [&[0; 6], &self.limbs[..]].concat();
        let mut rest = false;
        for divisor in divisors.map(u128::from) {
            let mut remainder = 0;
            for limb in limbs.iter_mut().rev() {
                let dividend = remainder << 32 | u128::from(*limb);
                *limb = (dividend / divisor) as u32;
                remainder = dividend % divisor;
            }
            rest |= remainder != 0;
        }
        Self::new(self.negative, self.first - 6, limbs).round_with(rest)
    }
}

/// (Σx² − (Σx)² / n) / divisor of `n` numbers, rounded once.
pub(super) fn variance(sum: &Dyadic, squares: &Dyadic, n: u64, divisor: u64) -> f64 {
    // n · Σx² − (Σx)²
    let mut spread = Superaccumulator::default();
    let mut add = |a: u32, b: u32, chunk: i32, negative| {
        spread.add(u64::from(a) * u64::from(b), 32 * chunk, negative);
    };
    for (&limb, at) in squares.limbs.iter().zip(squares.first..) {
        add(limb, n as u32, at, false);
        add(limb, (n >> 32) as u32, at + 1, false);
    }
    for (&a, at) in sum.limbs.iter().zip(sum.first..) {
        for (&b, bt) in sum.limbs.iter().zip(sum.first..) {
            add(a, b, at + bt, true);
        }
    }
    spread.value().divide_and_round([n, divisor])
}

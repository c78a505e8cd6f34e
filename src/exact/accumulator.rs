//! The exact sum of floats. Most sums need few bits: they are kept in a window of fixed point, and only what falls
//! outside of it in a superaccumulator.

use super::dyadic::{self, Dyadic};
use super::specials::Specials;
use super::superaccumulator::Superaccumulator;

/// The window counts units of 2^-75 and ends at 2^52: all floats between 2^-23 and 2^52 are in it, and all integers.
const WINDOW_EXPONENT: i32 = -75;
const WINDOW_UNIT: f64 = 1.0 / (1u128 << 75) as f64;

const MANTISSA_BITS: u32 = 52;
/// A float is an integer times two to the power of its exponent field less this.
const EXPONENT_BIAS: i32 = 1075;

/// The first byte of a state.
const WINDOW: u8 = 0;
const WIDE: u8 = 1;
/// The limbs that a sum of squares can have: from 2^-2148, the smallest, to 2^2048, of which there are 2^64.
const LIMBS: std::ops::Range<i32> = -68..67;

/// The mathematical sum of floats, in whatever order they come. It is rounded when it is read.
///
/// A float can be taken out, before or after it was added. NaN and the infinities are counted apart.
#[derive(Debug, Clone, Default)]
pub(super) struct ExactSum {
    /// The halves of the window, an `i128`: whole, it would be aligned to 16 bytes, and this a third larger.
    low: u64,
    high: i64,
    outside: Option<Box<Outside>>,
}

/// What the window cannot hold.
#[derive(Debug, Clone, Default)]
struct Outside {
    sum: Superaccumulator,
    specials: Specials,
}

impl ExactSum {
    /// Add a float. Like all that add, it returns by how many bytes the heap grew.
    #[inline]
    pub(super) fn add(&mut self, x: f64) -> usize {
        match window_units(x) {
            Some(units) => self.add_units(units),
            None => self.add_unusual(x, false),
        }
    }

    /// Take a float out.
    #[inline]
    pub(super) fn subtract(&mut self, x: f64) -> usize {
        match window_units(x) {
            Some(units) => self.add_units(-units),
            None => self.add_unusual(x, true),
        }
    }

    /// Add the square of a float.
    pub(super) fn add_square(&mut self, x: f64) -> usize {
        self.add_signed_square(x, false)
    }

    pub(super) fn subtract_square(&mut self, x: f64) -> usize {
        self.add_signed_square(x, true)
    }

    pub(super) fn merge(&mut self, other: &Self) -> usize {
        let mut grown = self.add_units(other.window());
        if let Some(more) = &other.outside {
            grown += self.change_outside(|outside| {
                outside.sum.merge(&more.sum);
                outside.specials.merge(more.specials);
            });
        }
        grown
    }

    /// The float nearest to the sum; of two, the even one. Zero is positive.
    pub(super) fn sum(&self) -> f64 {
        match &self.outside {
            // The first step rounds, and the second is exact.
            None => self.window() as f64 * WINDOW_UNIT,
            Some(outside) => (outside.specials.sum()).unwrap_or_else(|| self.finite().round()),
        }
    }

    /// (Σx² − (Σx)² / n) / divisor, rounded once, where this is the sum of `n` floats. Both divisors are positive.
    pub(super) fn variance(&self, squares: &Self, n: u64, divisor: u64) -> f64 {
        match &self.outside {
            Some(outside) if outside.specials.sum().is_some() => f64::NAN,
            _ => dyadic::variance(&self.finite(), &squares.finite(), n, divisor),
        }
    }

    /// Append this as bytes. Equal sums have equal bytes.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let Some(outside) = &self.outside else {
            return encode_window(self.window(), bytes);
        };
        let sum = self.finite();
        if outside.specials == Specials::default()
            && let Some(units) = sum.in_units(WINDOW_EXPONENT)
        {
            return encode_window(units, bytes);
        }
        bytes.push(WIDE);
        outside.specials.encode(bytes);
        bytes.extend([u8::from(sum.negative), sum.first as u8]);
        bytes.extend(sum.limbs.iter().flat_map(|limb| limb.to_le_bytes()));
    }

    /// What was encoded; nothing if it cannot be.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&tag, bytes) = bytes.split_first()?;
        let mut decoded = Self::default();
        match tag {
            WINDOW => decoded.set_window(decode_window(bytes)?),
            WIDE => decoded.outside = Some(Box::new(Outside::decode(bytes)?)),
            _ => return None,
        }
        Some(decoded)
    }

    /// Bytes on the heap.
    pub(super) fn size(&self) -> usize {
        let outside = self.outside.as_ref();
        outside.map_or(0, |outside| size_of::<Outside>() + outside.sum.size())
    }

    #[inline]
    fn window(&self) -> i128 {
        i128::from(self.high) << 64 | i128::from(self.low)
    }

    #[inline]
    fn set_window(&mut self, window: i128) {
        self.low = window as u64;
        self.high = (window >> 64) as i64;
    }

    #[inline]
    fn add_units(&mut self, units: i128) -> usize {
        match self.window().checked_add(units) {
            Some(sum) => {
                self.set_window(sum);
                0
            }
            None => self.empty_window(units),
        }
    }

    /// The window would overflow: what is in it goes outside.
    #[cold]
    fn empty_window(&mut self, units: i128) -> usize {
        let window = self.window();
        self.set_window(units);
        self.change_outside(|outside| add_window(&mut outside.sum, window))
    }

    /// Zero, what is not finite, and what the window has no room for, unless it has few bits.
    #[cold]
    fn add_unusual(&mut self, x: f64, out: bool) -> usize {
        if !x.is_finite() {
            return self.change_outside(|outside| outside.specials.count(x, out));
        }
        let (mantissa, exponent) = parts(x);
        self.add_term(mantissa.into(), exponent, x.is_sign_negative() != out)
    }

    fn add_signed_square(&mut self, x: f64, out: bool) -> usize {
        if !x.is_finite() {
            return self.change_outside(|outside| outside.specials.count(x.abs(), out));
        }
        let (mantissa, exponent) = parts(x);
        let mantissa = u128::from(mantissa);
        self.add_term(mantissa * mantissa, 2 * exponent, out)
    }

    /// Add ±magnitude · 2^exponent.
    fn add_term(&mut self, magnitude: u128, exponent: i32, negative: bool) -> usize {
        if magnitude == 0 {
            return 0;
        }
        let zeros = magnitude.trailing_zeros();
        let (magnitude, exponent) = (magnitude >> zeros, exponent + zeros as i32);
        let shift = exponent - WINDOW_EXPONENT;
        if (0..magnitude.leading_zeros() as i32).contains(&shift) {
            let units = (magnitude << shift) as i128;
            return self.add_units(if negative { -units } else { units });
        }
        self.change_outside(|outside| add_wide(&mut outside.sum, magnitude, exponent, negative))
    }

    fn change_outside(&mut self, change: impl FnOnce(&mut Outside)) -> usize {
        let before = self.size();
        change(self.outside.get_or_insert_default());
        self.size() - before
    }

    fn finite(&self) -> Dyadic {
        let outside = self.outside.as_ref();
        let mut sum = outside.map_or_else(Default::default, |outside| outside.sum.clone());
        add_window(&mut sum, self.window());
        sum.value()
    }
}

impl Outside {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (specials, bytes) = bytes.split_first_chunk()?;
        let (&[negative @ 0..=1, first], bytes) = bytes.split_first_chunk()? else {
            return None;
        };
        let (limbs, []) = bytes.as_chunks() else {
            return None;
        };
        let first = i32::from(first as i8);
        if !LIMBS.contains(&first) || limbs.len() > first.abs_diff(LIMBS.end) as usize {
            return None;
        }
        let limbs = limbs.iter().map(|&limb| u32::from_le_bytes(limb)).collect();
        Some(Self {
            sum: (&Dyadic::new(negative == 1, first, limbs)).into(),
            specials: Specials::decode(specials),
        })
    }
}

/// A float in units of the window, if its exponent says that it fits.
#[inline]
fn window_units(x: f64) -> Option<i128> {
    const LOWEST_FIELD: u32 = (EXPONENT_BIAS + WINDOW_EXPONENT) as u32;
    const HIGHEST_SHIFT: u32 = 127 - (MANTISSA_BITS + 1);
    let bits = x.to_bits();
    let shift = exponent_field(bits).wrapping_sub(LOWEST_FIELD);
    if shift > HIGHEST_SHIFT {
        return None;
    }
    let units = i128::from(mantissa_field(bits) | 1 << MANTISSA_BITS) << shift;
    // All bits of a negative one, and then one more, make it negative.
    let sign = i128::from(bits as i64 >> 63);
    Some((units ^ sign) - sign)
}

/// A finite float is ± the first times two to the power of the second.
fn parts(x: f64) -> (u64, i32) {
    let bits = x.to_bits();
    match (mantissa_field(bits), exponent_field(bits)) {
        (mantissa, 0) => (mantissa, 1 - EXPONENT_BIAS),
        (mantissa, field) => (mantissa | 1 << MANTISSA_BITS, field as i32 - EXPONENT_BIAS),
    }
}

#[inline]
fn exponent_field(bits: u64) -> u32 {
    (bits >> MANTISSA_BITS) as u32 & 0x7ff
}

#[inline]
fn mantissa_field(bits: u64) -> u64 {
    bits & ((1 << MANTISSA_BITS) - 1)
}

fn add_window(sum: &mut Superaccumulator, window: i128) {
    add_wide(sum, window.unsigned_abs(), WINDOW_EXPONENT, window < 0);
}

fn add_wide(sum: &mut Superaccumulator, magnitude: u128, exponent: i32, negative: bool) {
    for (half, exponent) in [
        (magnitude as u64, exponent),
        ((magnitude >> 64) as u64, exponent + 64),
    ] {
        if half != 0 {
            sum.add(half, exponent, negative);
        }
    }
}

/// As few bytes as keep the sign.
fn encode_window(units: i128, bytes: &mut Vec<u8>) {
    let unsigned = units ^ (units >> 127);
    let len = (128 - unsigned.leading_zeros()) as usize / 8 + 1;
    bytes.push(WINDOW);
    bytes.extend(&units.to_le_bytes()[..len]);
}

fn decode_window(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.last()? >> 7 == 1 { u8::MAX } else { 0 };
    let mut units = [fill; 16];
    units.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i128::from_le_bytes(units))
}

//! The float nearest to a decimal. Arrow divides the nearest float to its digits, which rounds twice where these are many:
//! 48.714286 of 20 decimal places is 48.714285999999994 there.

use std::fmt::{Display, Write};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, i256};
use datafusion::common::Result;

use super::decimals::digits;

/// Powers of ten up to these are floats, and so are whole numbers up to these: of two floats the quotient is the nearest one.
const EXACT_POWER: usize = 22;
const EXACT_WHOLE: u128 = 1 << 53;
const EXACT_POWER_32: usize = 10;
const EXACT_WHOLE_32: u128 = 1 << 24;

/// Whether [`nearest_floats`] are to be computed in place of a cast.
pub(crate) fn rounds_to_float(from: &DataType, to: &DataType) -> bool {
    let is_decimal = matches!(from, DataType::Decimal128(..) | DataType::Decimal256(..));
    is_decimal && matches!(to, DataType::Float32 | DataType::Float64)
}

/// Values cast to a type: decimals to the floats nearest to them.
pub(crate) fn nearest_floats(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let scale = digits(values.data_type()).map_or(0, |(_, scale)| scale);
    let mut nearest = Nearest {
        scale,
        text: String::new(),
    };
    Ok(match (values.data_type(), to) {
        (DataType::Decimal128(..), DataType::Float64) => {
            let values = values.as_primitive::<Decimal128Type>().iter();
            let floats = values.map(|value| value.map(|value| nearest.float(value)));
            Arc::new(floats.collect::<Float64Array>())
        }
        (DataType::Decimal128(..), DataType::Float32) => {
            let values = values.as_primitive::<Decimal128Type>().iter();
            let floats = values.map(|value| value.map(|value| nearest.float_32(value)));
            Arc::new(floats.collect::<Float32Array>())
        }
        (DataType::Decimal256(..), DataType::Float64) => {
            let values = values.as_primitive::<Decimal256Type>().iter();
            let floats = values.map(|value| value.map(|value| nearest.wide(value)));
            Arc::new(floats.collect::<Float64Array>())
        }
        (DataType::Decimal256(..), DataType::Float32) => {
            let values = values.as_primitive::<Decimal256Type>().iter();
            let floats = values.map(|value| value.map(|value| nearest.wide_32(value)));
            Arc::new(floats.collect::<Float32Array>())
        }
        _ => cast(values, to)?,
    })
}

struct Nearest {
    scale: i8,
    text: String,
}

impl Nearest {
    fn float(&mut self, unscaled: i128) -> f64 {
        match usize::try_from(self.scale) {
            Ok(scale @ 0..=EXACT_POWER) if unscaled.unsigned_abs() <= EXACT_WHOLE => {
                unscaled as f64 / POWERS[scale]
            }
            _ => self.text(unscaled).parse().unwrap_or(f64::NAN),
        }
    }

    fn float_32(&mut self, unscaled: i128) -> f32 {
        match usize::try_from(self.scale) {
            Ok(scale @ 0..=EXACT_POWER_32) if unscaled.unsigned_abs() <= EXACT_WHOLE_32 => {
                unscaled as f32 / POWERS[scale] as f32
            }
            _ => self.text(unscaled).parse().unwrap_or(f32::NAN),
        }
    }

    fn wide(&mut self, unscaled: i256) -> f64 {
        match unscaled.to_i128() {
            Some(unscaled) => self.float(unscaled),
            None => self.text(unscaled).parse().unwrap_or(f64::NAN),
        }
    }

    fn wide_32(&mut self, unscaled: i256) -> f32 {
        match unscaled.to_i128() {
            Some(unscaled) => self.float_32(unscaled),
            None => self.text(unscaled).parse().unwrap_or(f32::NAN),
        }
    }

    /// As a float's text, which Rust reads as the nearest float.
    fn text(&mut self, unscaled: impl Display) -> &str {
        self.text.clear();
        // Text has room for what is written.
        let _ = write!(self.text, "{unscaled}e{}", -i16::from(self.scale));
        &self.text
    }
}

const POWERS: [f64; EXACT_POWER + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Decimal128Array, Decimal256Array};
    use datafusion::arrow::datatypes::{Float32Type, Float64Type};

    use super::*;

    fn of_128(unscaled: i128, scale: i8) -> (f64, f32) {
        let values = Decimal128Array::from(vec![unscaled]);
        let values: ArrayRef = Arc::new(values.with_precision_and_scale(38, scale).unwrap());
        both(&values)
    }

    fn of_256(unscaled: i256, scale: i8) -> (f64, f32) {
        let values = Decimal256Array::from(vec![unscaled]);
        let values: ArrayRef = Arc::new(values.with_precision_and_scale(76, scale).unwrap());
        both(&values)
    }

    fn both(values: &ArrayRef) -> (f64, f32) {
        let long = nearest_floats(values, &DataType::Float64).unwrap();
        let short = nearest_floats(values, &DataType::Float32).unwrap();
        (
            long.as_primitive::<Float64Type>().value(0),
            short.as_primitive::<Float32Type>().value(0),
        )
    }

    /// Of few digits and of many, the text that a decimal has is that of the float nearest to it.
    #[test]
    fn a_float_is_the_nearest_one() {
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..20_000 {
            let scale = random.i8(0..=38);
            let unscaled = random.i128(..) % 10_i128.pow(random.u32(1..=38));
            let text = format!("{unscaled}e-{scale}");
            let expected: (f64, f32) = (text.parse().unwrap(), text.parse().unwrap());
            assert_eq!(of_128(unscaled, scale), expected, "{text}");
            assert_eq!(of_256(i256::from_i128(unscaled), scale), expected, "{text}");
        }
    }

    #[test]
    fn digits_behind_those_that_count_do_not() {
        for (text, float) in [("48.714286", 48.714286), ("110.714286", 110.714286)] {
            let unscaled: i128 = text.replace('.', "").parse().unwrap();
            for more in [0, 3, 14, 20] {
                let padded = unscaled * 10_i128.pow(more);
                assert_eq!(of_128(padded, 6 + more as i8).0, float, "{text}, {more}");
            }
        }
        assert_eq!(of_128(0, 20), (0.0, 0.0));
        let large = i256::from_string(&format!("-1{}", "0".repeat(75))).unwrap();
        assert_eq!(of_256(large, 20), (-1e55, f32::NEG_INFINITY));
        assert_eq!(of_256(large, 75), (-1.0, -1.0));
    }
}

use arrow::datatypes::i256;

use super::Unfit;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

const TOO_LARGE: Unfit = Unfit::Value("a number has more digits than its type");
const TOO_FINE: Unfit = Unfit::Value("a number has more decimal places than its type");

/// A `numeric` as sent: base-10,000 digits, the first of weight 10,000^`weight`.
struct Digits<'a> {
    negative: bool,
    weight: i32,
    digits: &'a [u8],
}

impl<'a> Digits<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Unfit> {
        let (header, digits) = bytes.split_at_checked(8).ok_or(Unfit::Format)?;
        let word = |i: usize| u16::from_be_bytes([header[i], header[i + 1]]);
        match word(4) {
            0 | NEGATIVE => {}
            NAN => return Err(Unfit::Value("NaN is no decimal")),
            INFINITY | NEGATIVE_INFINITY => return Err(Unfit::Value("infinity is no decimal")),
            _ => return Err(Unfit::Format),
        }
        if digits.len() != usize::from(word(0)) * 2 {
            return Err(Unfit::Format);
        }
        Ok(Self {
            negative: word(4) == NEGATIVE,
            weight: i32::from(word(2) as i16),
            digits,
        })
    }

    fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.digits
            .chunks_exact(2)
            .map(|d| u16::from_be_bytes([d[0], d[1]]))
    }

    /// The power of ten by which the digits, read as one whole number, are to be multiplied to get the value at
    /// `scale`.
    fn exponent(&self, scale: i8) -> i32 {
        4 * (self.weight + 1 - (self.digits.len() / 2) as i32) + i32::from(scale)
    }
}

/// The unscaled value, or why it has none of this precision and scale.
pub fn decimal128(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, Unfit> {
    let number = Digits::parse(bytes)?;
    let value: u128 = match number.digits.len() / 2 {
        // Most numbers of most tables: 16 decimal digits fit into 64 bits.
        ..=4 => number
            .iter()
            .fold(0u64, |v, d| v * 10_000 + u64::from(d))
            .into(),
        5..=9 => number.iter().fold(0u128, |v, d| v * 10_000 + u128::from(d)),
        // Its first and last digits may be zeros in part, so more than 38 decimal digits may still fit.
        _ => {
            return decimal256(bytes, precision, scale)?
                .to_i128()
                .ok_or(TOO_LARGE);
        }
    };
    let value = match number.exponent(scale) {
        _ if value == 0 => 0,
        0 => value,
        e @ 1..=38 => value.checked_mul(TENS[e as usize]).ok_or(TOO_LARGE)?,
        39.. => return Err(TOO_LARGE),
        e @ -38..=-1 => {
            let divisor = TENS[-e as usize];
            if !value.is_multiple_of(divisor) {
                return Err(TOO_FINE);
            }
            value / divisor
        }
        _ => return Err(TOO_FINE),
    };
    if value >= TENS[usize::from(precision)] {
        return Err(TOO_LARGE);
    }
    let value = value as i128;
    Ok(if number.negative { -value } else { value })
}

/// As [`decimal128`], up to 76 digits.
pub fn decimal256(bytes: &[u8], precision: u8, scale: i8) -> Result<i256, Unfit> {
    let number = Digits::parse(bytes)?;
    let ten = i256::from_i128(10);
    let base = i256::from_i128(10_000);
    let exponent = number.exponent(scale);
    let mut value = i256::ZERO;
    // Digits below the scale are checked to be zero one by one, so that any number of them is taken.
    let mut places = exponent + 4 * (number.digits.len() / 2) as i32;
    for digit in number.iter() {
        places -= 4;
        if places <= -4 {
            if digit != 0 {
                return Err(TOO_FINE);
            }
            continue;
        }
        let (shift, digit) = if places < 0 {
            let cut = 10i128.pow(-places as u32);
            if i128::from(digit) % cut != 0 {
                return Err(TOO_FINE);
            }
            (
                i256::from_i128(10i128.pow((4 + places) as u32)),
                i128::from(digit) / cut,
            )
        } else {
            (base, i128::from(digit))
        };
        value = value
            .checked_mul(shift)
            .and_then(|v| v.checked_add(i256::from_i128(digit)))
            .ok_or(TOO_LARGE)?;
    }
    if value != i256::ZERO {
        for _ in 0..places.max(0) {
            value = value.checked_mul(ten).ok_or(TOO_LARGE)?;
        }
    }
    let limit = (0..precision)
        .try_fold(i256::ONE, |v, _| v.checked_mul(ten))
        .ok_or(TOO_LARGE)?;
    if value >= limit {
        return Err(TOO_LARGE);
    }
    Ok(if number.negative {
        value.wrapping_neg()
    } else {
        value
    })
}

const TENS: [u128; 39] = {
    let mut tens = [1u128; 39];
    let mut i = 1;
    while i < 39 {
        tens[i] = tens[i - 1] * 10;
        i += 1;
    }
    tens
};

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(negative: bool, weight: i16, digits: &[u16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [
            digits.len() as u16,
            weight as u16,
            if negative { NEGATIVE } else { 0 },
            0,
        ] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(digits.iter().flat_map(|d| d.to_be_bytes()));
        bytes
    }

    #[test]
    fn exact_or_nothing() {
        // 1234.5600 at scales 2, 4 and 1
        let n = sent(false, 0, &[1234, 5600]);
        assert_eq!(decimal128(&n, 10, 2), Ok(123_456));
        assert_eq!(decimal128(&n, 10, 4), Ok(12_345_600));
        assert_eq!(decimal128(&n, 10, 1), Err(TOO_FINE));
        assert_eq!(decimal128(&n, 5, 2), Err(TOO_LARGE));
        assert_eq!(decimal128(&sent(true, 0, &[7]), 3, 0), Ok(-7));
        assert_eq!(decimal128(&sent(false, 0, &[]), 38, 20), Ok(0));
        // 7 * 10,000^2
        assert_eq!(decimal128(&sent(false, 2, &[7]), 9, 0), Ok(700_000_000));
        assert_eq!(decimal128(&sent(false, 2, &[7]), 8, 0), Err(TOO_LARGE));
        // 0.00000007
        assert_eq!(decimal128(&sent(false, -2, &[7]), 8, 8), Ok(7));
        assert_eq!(decimal128(&sent(false, -2, &[7]), 8, 7), Err(TOO_FINE));
        // weights far away
        assert_eq!(decimal128(&sent(false, 300, &[1]), 38, 0), Err(TOO_LARGE));
        assert_eq!(decimal128(&sent(false, -300, &[1]), 38, 0), Err(TOO_FINE));
        for (sign, wanted) in [(NAN, "NaN"), (INFINITY, "infinity")] {
            let mut n = sent(false, 0, &[]);
            n[4..6].copy_from_slice(&sign.to_be_bytes());
            match decimal128(&n, 38, 20) {
                Err(Unfit::Value(why)) => assert!(why.contains(wanted)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_largest_of_each_width() {
        // 10^38 - 1: nine whole digits and a leading 99
        let mut digits = vec![99];
        digits.extend([9999; 9]);
        let n = sent(false, 9, &digits);
        assert_eq!(decimal128(&n, 38, 0), Ok(10i128.pow(38) - 1));
        let n = sent(false, 9, &[100]);
        assert_eq!(decimal128(&n, 38, 0), Err(TOO_LARGE));
        // The same digits behind the point, with zeros behind them.
        let mut fine = vec![9900];
        fine.extend([9999; 8]);
        fine.extend([9999, 0]);
        let n = sent(false, -1, &fine);
        assert!(decimal128(&n, 38, 38).is_err());
        let mut whole = vec![9999; 9];
        whole.extend([9900, 0, 0]);
        let n = sent(true, -1, &whole);
        assert_eq!(decimal128(&n, 38, 38), Ok(-(10i128.pow(38) - 1)));
        assert_eq!(
            decimal256(&n, 76, 38),
            Ok(i256::from_i128(-(10i128.pow(38) - 1)))
        );
        let n = sent(false, 18, &[9999; 19]);
        assert_eq!(
            decimal256(&n, 76, 0).map(|v| v.to_string()),
            Ok("9".repeat(76))
        );
        assert_eq!(decimal128(&n, 38, 0), Err(TOO_LARGE));
    }
}

//! Sums against integers of any size, and groups that are computed in parts.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use num_bigint::{BigInt, Sign};
use proptest::collection::vec;
use proptest::prelude::*;

use super::accumulator::ExactSum;
use super::groups::ExactGroups;
use super::moments::Statistic;

/// A finite float, in units of 2^-1074.
fn units(x: f64) -> BigInt {
    let (mantissa, field) = (x.to_bits() % (1 << 52), x.to_bits() >> 52 & 0x7ff);
    let units = match field {
        0 => BigInt::from(mantissa),
        _ => BigInt::from(mantissa + (1 << 52)) << (field - 1),
    };
    if x < 0.0 { -units } else { units }
}

fn oracle(values: &[f64]) -> f64 {
    if values.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    let (up, down) = (
        values.contains(&f64::INFINITY),
        values.contains(&f64::NEG_INFINITY),
    );
    match (up, down) {
        (true, true) => f64::NAN,
        (true, false) => f64::INFINITY,
        (false, true) => f64::NEG_INFINITY,
        (false, false) => nearest(&values.iter().map(|&x| units(x)).sum(), &BigInt::from(1)),
    }
}

/// The float nearest to a quotient, in units of 2^-1074: found by halving what is between all of them.
fn nearest(numerator: &BigInt, denominator: &BigInt) -> f64 {
    if numerator.sign() == Sign::Minus {
        return -nearest(&-numerator, denominator);
    }
    // Positive floats are ordered as their bits are. After the last comes 2^1024.
    let unit = |bits: u64| match bits {
        0x7ff0_0000_0000_0000 => BigInt::from(1) << 2098,
        bits => units(f64::from_bits(bits)),
    };
    let (mut low, mut high) = (0, f64::INFINITY.to_bits());
    while high - low > 1 {
        let middle = low.midpoint(high);
        if unit(middle) * denominator <= *numerator {
            low = middle
        } else {
            high = middle
        }
    }
    let (down, up) = (
        numerator - unit(low) * denominator,
        unit(high) * denominator - numerator,
    );
    f64::from_bits(if down < up || (down == up && low % 2 == 0) {
        low
    } else {
        high
    })
}

fn of(values: &[f64]) -> ExactSum {
    let mut sum = ExactSum::default();
    for &x in values {
        sum.add(x);
    }
    sum
}

fn bytes(sum: &ExactSum) -> Vec<u8> {
    let mut bytes = Vec::new();
    sum.encode(&mut bytes);
    bytes
}

fn assert_same(a: f64, b: f64) {
    assert!(
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        "{a:e} is not {b:e}"
    );
}

/// Money, everyday numbers, and those at the edges of the window and of floats; what cancels; what is no number.
fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (-1_000_000i32..1_000_000).prop_map(|cents| f64::from(cents) / 100.0),
        2 => -1e6..1e6,
        2 => (any::<u64>(), 990u64..1090).prop_map(|(bits, field)| {
            f64::from_bits(bits & !(0x7ff << 52) | field << 52)
        }),
        2 => any::<u64>().prop_map(|bits| f64::from_bits(bits & !(1 << 62))),
        2 => any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |x| x.is_finite()),
        1 => (0u64..1 << 53).prop_map(f64::from_bits),
        1 => prop::sample::select(vec![
            0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -5e-324, 1e308, -1e308,
            4503599627370495.5, 4503599627370496.0, 1.1920928955078125e-7, 2f64.powi(970),
        ]),
    ]
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        60 => finite(),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    ]
}

/// Values, of which many cancel.
fn values() -> impl Strategy<Value = Vec<f64>> {
    (vec(any_float(), 0..40), any::<prop::sample::Index>()).prop_map(|(mut values, cut)| {
        let cancelled = cut.index(values.len() + 1);
        values.extend_from_within(..cancelled);
        let len = values.len();
        values[len - cancelled..].iter_mut().for_each(|x| *x = -*x);
        values
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn is_the_nearest_float(values in values()) {
        assert_same(of(&values).sum(), oracle(&values));
    }

    #[test]
    fn does_not_depend_on_order(
        (values, shuffled) in values().prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle())),
        cuts in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let whole = of(&values);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(shuffled.len() + 1)).collect();
        cuts.extend([0, shuffled.len()]);
        cuts.sort_unstable();
        let mut merged = ExactSum::default();
        for part in cuts.windows(2).rev() {
            let part = of(&shuffled[part[0]..part[1]]);
            merged.merge(&ExactSum::decode(&bytes(&part)).unwrap());
        }
        assert_same(whole.sum(), merged.sum());
        prop_assert_eq!(bytes(&whole), bytes(&merged));
    }

    #[test]
    fn what_is_taken_out_was_never_there(
        kept in values(), taken in values(), before in any::<bool>(),
    ) {
        let mut sum = ExactSum::default();
        if !before {
            taken.iter().for_each(|&x| { sum.add(x); });
        }
        taken.iter().for_each(|&x| { sum.subtract(x); });
        if before {
            taken.iter().for_each(|&x| { sum.add(x); });
        }
        kept.iter().for_each(|&x| { sum.add(x); });
        prop_assert_eq!(bytes(&sum), bytes(&of(&kept)));
        assert_same(sum.sum(), oracle(&kept));
    }

    #[test]
    fn variance_is_the_nearest_float(values in vec(finite(), 2..20), same in any::<bool>()) {
        let values: Vec<f64> = if same { vec![values[0]; values.len()] } else { values };
        let (mut sum, mut squares) = (ExactSum::default(), ExactSum::default());
        for &x in &values {
            sum.add(x);
            squares.add_square(x);
        }
        let squares = ExactSum::decode(&bytes(&squares)).unwrap();
        let n = BigInt::from(values.len());
        let total: BigInt = values.iter().map(|&x| units(x)).sum();
        let square: BigInt = values.iter().map(|&x| units(x).pow(2)).sum();
        let spread = &n * square - total.pow(2);
        let divisor = (&n * (&n - 1)) << 1074;
        assert_same(
            sum.variance(&squares, values.len() as u64, values.len() as u64 - 1),
            nearest(&spread, &divisor),
        );
    }

    #[test]
    fn other_bytes_are_refused_or_harmless(bytes in vec(any::<u8>(), 0..60), tag in 0u8..3) {
        let bytes = [&[tag], &bytes[..]].concat();
        if let Some(sum) = ExactSum::decode(&bytes) {
            let mut twice = sum.clone();
            twice.merge(&sum);
            twice.add(f64::NAN);
            twice.sum();
        }
    }
}

#[test]
fn known_sums() {
    for (values, sum) in [
        (&[][..], 0.0),
        (&[-0.0, -0.0], 0.0),
        (&[0.1; 10], 1.0),
        (&[1e308, 1e308, -1e308], 1e308),
        (&[1e308, 1e308], f64::INFINITY),
        (&[1e16, 1.0, -1e16], 1.0),
        (&[f64::MAX, 2f64.powi(969)], f64::MAX),
        (&[f64::MAX, 2f64.powi(970)], f64::INFINITY),
        (&[5e-324, 1.0, -1.0], 5e-324),
        (&[f64::INFINITY, 1.0], f64::INFINITY),
        (&[f64::INFINITY, f64::NEG_INFINITY], f64::NAN),
    ] {
        assert_same(of(values).sum(), sum);
    }
}

#[test]
fn everyday_numbers_stay_in_the_window() {
    let mut sum = ExactSum::default();
    for x in [0.0, -0.0, 0.01, 1e9 + 0.1, -1e15, 2f64.powi(-60), 1e-6] {
        assert_eq!(sum.add(x), 0, "{x}");
    }
    assert!(sum.add(1e-30) > 0);
    assert_eq!(size_of::<ExactSum>(), 24);
}

#[test]
fn carries_do_not_overflow() {
    let mut sum = of(&[f64::MAX, -1e-300]);
    for _ in 0..80 {
        sum.merge(&sum.clone());
    }
    assert_eq!(sum.sum(), f64::INFINITY);
    sum.merge(&ExactSum::decode(&bytes(&sum)).unwrap());
    let full = [&[0][..], &i128::MAX.to_le_bytes()].concat();
    for _ in 0..3 {
        sum.merge(&ExactSum::decode(&full).unwrap());
    }
    assert_eq!(sum.sum(), f64::INFINITY);
}

#[test]
fn groups_can_be_computed_in_parts() {
    let values = [
        Some(0.1),
        None,
        Some(1e300),
        Some(-0.0),
        Some(0.2),
        Some(-1e300),
        Some(7.0),
    ];
    let values: [ArrayRef; 1] = [Arc::new(Float64Array::from(values.to_vec()))];
    let groups = [0, 3, 1, 2, 0, 1, 0];
    let filter = [
        Some(true),
        Some(true),
        Some(true),
        Some(true),
        Some(true),
        Some(true),
        None,
    ];
    let filter = BooleanArray::from(filter.to_vec());
    let sums = Float64Array::from(vec![Some(0.1 + 0.2), Some(0.0), Some(0.0), None]);

    let new = || ExactGroups::<1>::new(Statistic::Sum);
    let empty = new().size();
    let mut whole = new();
    whole
        .update_batch(&values, &groups, Some(&filter), 4)
        .unwrap();
    assert!(whole.size() > empty + 4 * size_of::<ExactSum>());

    let states = new().convert_to_state(&values, Some(&filter)).unwrap();
    let mut rows = new();
    rows.merge_batch(&states, &groups, 4).unwrap();
    assert_eq!(rows.evaluate(EmitTo::All).unwrap().as_primitive(), &sums);
    assert_eq!(rows.size(), empty);

    let first = whole.state(EmitTo::First(1)).unwrap();
    let others = whole.state(EmitTo::All).unwrap();
    assert_eq!(whole.size(), empty);
    let mut parts = new();
    parts.merge_batch(&others, &[1, 2, 3], 4).unwrap();
    parts.merge_batch(&first, &[0], 4).unwrap();
    assert_eq!(parts.evaluate(EmitTo::All).unwrap().as_primitive(), &sums);
}

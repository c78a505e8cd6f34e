use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{DataType, Date32Type, TimestampSecondType};
use serde::{Deserialize, Serialize};

/// How a column's values are spread, as its source knows or a sample shows: the values that cut its rows (those that
/// have a value) into equal parts, the least and the greatest included.
///
/// All values are numbers on one line for each kind of type: dates and timestamps are days since 1970-01-01, times of day
/// have none, decimals are the number they stand for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Ascending and finite, two at least.
    bounds: Vec<f64>,
}

/// Parts of a histogram: as many as one of PostgreSQL is worth to a join's order.
const PARTS: usize = 32;

impl Histogram {
    /// Of values that each stand for so many rows (or for such a part of them). None: there are too few to tell.
    pub fn of(values: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let counts = |(value, rows): &(f64, f64)| value.is_finite() && *rows > 0.0;
        let mut values: Vec<_> = values.into_iter().filter(counts).collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (first, last) = (values.first()?.0, values.last()?.0);
        let rows: f64 = values.iter().map(|(_, rows)| rows).sum();
        let mut bounds = vec![first];
        let mut below = 0.0;
        for (value, rows_there) in values {
            below += rows_there;
            while bounds.len() < PARTS && below >= rows * bounds.len() as f64 / PARTS as f64 {
                bounds.push(value);
            }
        }
        bounds.push(last);
        Some(Self { bounds })
    }

    /// Of nothing but the ends: all between them is as likely.
    pub fn between(least: f64, greatest: f64) -> Option<Self> {
        let is_known = least.is_finite() && greatest.is_finite() && least <= greatest;
        is_known.then(|| Self {
            bounds: vec![least, greatest],
        })
    }

    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    /// Which part of the rows has less than this.
    pub fn below(&self, value: f64) -> f64 {
        let parts = (self.bounds.len() - 1) as f64;
        match self.bounds.partition_point(|bound| *bound < value) {
            0 => 0.0,
            after if after == self.bounds.len() => 1.0,
            after => {
                let (low, high) = (self.bounds[after - 1], self.bounds[after]);
                ((after - 1) as f64 + (value - low) / (high - low)) / parts
            }
        }
    }
}

/// Whether values of a type are on a histogram's line.
pub fn is_measured(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Date32 | DataType::Timestamp(_, _))
}

/// The place on a histogram's line of a value in text, as SQL systems write it (ISO, UTC). None: it has none.
pub fn measure(text: &str, data_type: &DataType) -> Option<f64> {
    const SECONDS_PER_DAY: f64 = 86_400.0;
    match data_type {
        DataType::Date32 => Date32Type::parse(text).map(f64::from),
        DataType::Timestamp(_, _) => {
            let seconds = TimestampSecondType::parse(text)?;
            Some(seconds as f64 / SECONDS_PER_DAY)
        }
        other if is_measured(other) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_texts() {
        let timestamp = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
        assert_eq!(measure("1970-01-11", &DataType::Date32), Some(10.0));
        assert_eq!(measure("1970-01-02 12:00:00", &timestamp), Some(1.5));
        assert_eq!(measure("-3.25", &DataType::Decimal128(10, 2)), Some(-3.25));
        assert_eq!(measure("0000-00-00", &DataType::Date32), None);
        assert_eq!(measure("1", &DataType::Utf8), None);
    }

    #[test]
    fn a_part_of_the_rows() {
        let even = Histogram::of((0..1000).map(|i| (f64::from(i), 1.0))).unwrap();
        for (value, part) in [
            (-5.0, 0.0),
            (0.0, 0.0),
            (250.0, 0.25),
            (900.0, 0.9),
            (5000.0, 1.0),
        ] {
            assert!((even.below(value) - part).abs() < 0.01, "{value}");
        }
        let skewed = Histogram::of([(1.0, 90.0), (100.0, 10.0)]).unwrap();
        assert_eq!(skewed.below(1.0), 0.0);
        assert!(skewed.below(2.0) > 0.85 && skewed.below(99.0) < 0.95);
        let ends = Histogram::between(0.0, 10.0).unwrap();
        assert_eq!((ends.below(2.5), ends.below(11.0)), (0.25, 1.0));
        assert!(Histogram::between(1.0, f64::INFINITY).is_none());
        assert!(Histogram::of([]).is_none());
        assert!(Histogram::of([(f64::NAN, 1.0), (f64::INFINITY, 1.0)]).is_none());
        let one = Histogram::of([(7.0, 3.0)]).unwrap();
        assert_eq!((one.below(7.0), one.below(7.1)), (0.0, 1.0));
    }
}

//! An end of a window of keys, computed of the clock.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use datafusion::common::{Result, exec_err};
use datafusion::physical_expr::PhysicalExpr;

/// Behind all keys.
pub(super) const FOREVER: i128 = i64::MAX as i128 + 1;

/// What keys are compared with, which moves as time passes: `key <compared with> moment`.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    /// It has the keys that are not before it; else those that are.
    pub(super) is_least: bool,
    /// The key that equals the moment lies before it.
    pub(super) is_beyond: bool,
    /// Of the clock, its only column.
    pub(super) moment: Arc<dyn PhysicalExpr>,
    pub(super) clock: SchemaRef,
    /// So many units of the moment are one of the key.
    pub(super) units: i64,
    /// As the clock goes on, the moment goes back by so many of its units at most.
    pub(super) back: i64,
}

// By hand: derived, it would move the moment out.
impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        let of = |bound: &Self| (bound.is_least, bound.is_beyond, bound.units, bound.back);
        of(self) == of(other) && self.moment.eq(&other.moment) && self.clock == other.clock
    }
}

/// Keys from the one, before the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: i128,
    pub(super) to: i128,
}

impl Window {
    pub(super) fn has(&self, key: i64) -> bool {
        (self.from..self.to).contains(&key.into())
    }
}

/// The window that some bounds leave, at each of some moments of the clock.
///
/// # Errors
/// If a bound cannot be computed.
pub(super) fn windows(bounds: &[Bound], clocks: &[i64]) -> Result<Vec<Window>> {
    let all = Window {
        from: i64::MIN.into(),
        to: FOREVER,
    };
    let mut windows = vec![all; clocks.len()];
    for bound in bounds {
        for (window, at) in windows.iter_mut().zip(bound.at(clocks)?) {
            match bound.is_least {
                true => window.from = window.from.max(at),
                false => window.to = window.to.min(at),
            }
        }
    }
    Ok(windows)
}

/// The same at one.
pub(super) fn window(bounds: &[Bound], clock: i64) -> Result<Window> {
    Ok(windows(bounds, &[clock])?[0])
}

impl Bound {
    /// The first key behind it, at each of some moments of the clock.
    ///
    /// # Errors
    /// If it cannot be computed: it is beyond what a type can hold.
    pub(super) fn at(&self, clocks: &[i64]) -> Result<Vec<i128>> {
        let moments = self.moments(clocks)?;
        Ok(moments.into_iter().map(|moment| self.key(moment)).collect())
    }

    /// The key before which it will not be again.
    ///
    /// # Errors
    /// Those of [`Bound::at`].
    pub(super) fn never_before(&self, clock: i64) -> Result<i128> {
        let moment = self.moments(&[clock])?[0];
        Ok(self.key(moment - i128::from(self.back)))
    }

    pub(super) fn goes_back(&self) -> bool {
        self.back > 0
    }

    fn moments(&self, clocks: &[i64]) -> Result<Vec<i128>> {
        let zone = match self.clock.field(0).data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let now = TimestampNanosecondArray::from(clocks.to_vec()).with_timezone_opt(zone);
        let now = RecordBatch::try_new(self.clock.clone(), vec![Arc::new(now)])?;
        let moments = self.moment.evaluate(&now)?.into_array(clocks.len())?;
        let moments = cast(&moments, &DataType::Int64)?;
        if moments.null_count() > 0 {
            return exec_err!("what rows are compared with is NULL");
        }
        let moments = moments.as_primitive::<Int64Type>().values();
        Ok(moments.iter().map(|&moment| moment.into()).collect())
    }

    fn key(&self, moment: i128) -> i128 {
        let units = i128::from(self.units);
        match self.is_beyond {
            true => moment.div_euclid(units) + 1,
            false => -(-moment).div_euclid(units),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema, TimeUnit};
    use datafusion::physical_expr::expressions::Column;

    use super::*;

    /// A moment between two keys, and one that is a key, before and after 1970.
    #[test]
    fn a_finer_moment_lies_between_keys() {
        let of = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let bound = |is_beyond| Bound {
            is_least: true,
            is_beyond,
            moment: Arc::new(Column::new("clock", 0)),
            clock: Arc::new(Schema::new(vec![Field::new("clock", of.clone(), false)])),
            units: 1000,
            back: 1000,
        };
        let moments = [5_001, 5_999, 5_000, -5_001, -5_000];
        assert_eq!(bound(true).at(&moments).unwrap(), [6, 6, 6, -5, -4]);
        assert_eq!(bound(false).at(&moments).unwrap(), [6, 6, 5, -5, -5]);
        assert_eq!(bound(true).never_before(5_001).unwrap(), 5);
    }
}

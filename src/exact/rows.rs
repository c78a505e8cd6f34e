use datafusion::arrow::array::{Array, ArrayRef, Float64Array};
use datafusion::common::cast::as_float64_array;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::moments::{Moments, States, Statistic, each_state};

/// A statistic of all rows, or of a window that slides over them.
#[derive(Debug)]
pub(super) struct RowsAccumulator<const SUMS: usize> {
    statistic: Statistic,
    moments: Moments<SUMS>,
}

impl<const SUMS: usize> RowsAccumulator<SUMS> {
    pub(super) fn new(statistic: Statistic) -> Self {
        Self {
            statistic,
            moments: Moments::default(),
        }
    }
}

impl<const SUMS: usize> Accumulator for RowsAccumulator<SUMS> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each_float(as_float64_array(&values[0])?, |x| {
            self.moments.add(x);
        });
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each_float(as_float64_array(&values[0])?, |x| {
            self.moments.subtract(x);
        });
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.statistic.of(&self.moments)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut states = States::with_capacity(1);
        states.push(&self.moments);
        let columns = states.finish();
        let columns = columns.iter();
        columns
            .map(|column| ScalarValue::try_from_array(column, 0))
            .collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        each_state(states, |_, moments| {
            self.moments.merge(&moments);
        })
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.moments.size()
    }
}

/// Hand over all that are not NULL.
pub(super) fn each_float(values: &Float64Array, mut f: impl FnMut(f64)) {
    match values.nulls() {
        Some(nulls) => nulls.valid_indices().for_each(|i| f(values.value(i))),
        None => values.values().iter().for_each(|&x| f(x)),
    }
}

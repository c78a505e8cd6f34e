use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::{as_float64_array, as_list_array};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{HashMap, Result, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::utils::format_state_name;

use super::moments::{Moments, Statistic};
use super::rows::each_float;

/// A statistic of the different values. As in groups, the zeros are equal, and all NaNs.
#[derive(Debug)]
pub(super) struct DistinctAccumulator<const SUMS: usize> {
    statistic: Statistic,
    moments: Moments<SUMS>,
    /// How many rows have a value, by its bits.
    rows: HashMap<u64, u64>,
}

impl<const SUMS: usize> DistinctAccumulator<SUMS> {
    pub(super) fn new(statistic: Statistic) -> Self {
        Self {
            statistic,
            moments: Moments::default(),
            rows: HashMap::default(),
        }
    }
}

impl<const SUMS: usize> Accumulator for DistinctAccumulator<SUMS> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each_float(as_float64_array(&values[0])?, |x| {
            let rows = self.rows.entry(canonical(x).to_bits()).or_default();
            *rows += 1;
            if *rows == 1 {
                self.moments.add(x);
            }
        });
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each_float(as_float64_array(&values[0])?, |x| {
            let bits = canonical(x).to_bits();
            if let Some(rows) = self.rows.get_mut(&bits) {
                *rows -= 1;
                if *rows == 0 {
                    self.rows.remove(&bits);
                    self.moments.subtract(x);
                }
            }
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
        let values = self.rows.keys().map(|&bits| f64::from_bits(bits));
        let values = Arc::new(Float64Array::from_iter_values(values));
        Ok(vec![
            SingleRowListArrayBuilder::new(values).build_list_scalar(),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = as_list_array(&states[0])?;
        lists
            .iter()
            .flatten()
            .try_for_each(|values| self.update_batch(&[values]))
    }

    fn size(&self) -> usize {
        let entries = self.rows.capacity() * size_of::<(u64, u64)>();
        size_of_val(self) + entries + self.moments.size()
    }
}

/// The column of a state: a list of values.
pub(super) fn state_fields(name: &str) -> Vec<FieldRef> {
    let values = Field::new_list_field(DataType::Float64, true);
    let name = format_state_name(name, "distinct");
    vec![Arc::new(Field::new_list(name, values, false))]
}

/// The float that stands for all that equal it: of the zeros the positive one, of all NaNs one.
pub(crate) fn canonical(x: f64) -> f64 {
    // Only -0.0 is changed by adding 0.0.
    if x.is_nan() { f64::NAN } else { x + 0.0 }
}

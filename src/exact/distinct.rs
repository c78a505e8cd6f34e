//! An aggregate of the different values: an accumulator of rows is given each with the first row that has it, and it is taken away
//! with the last.

use std::fmt::{self, Debug, Formatter};
use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::{as_float64_array, as_list_array};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{HashMap, Result, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::utils::format_state_name;

use super::rows::each_float;

/// What tells values apart, and the values themselves again.
pub(super) struct Keys<K> {
    /// Of those that are not NULL.
    pub(super) of: fn(&ArrayRef) -> Result<Vec<K>>,
    pub(super) values: Box<dyn Fn(Vec<K>) -> ArrayRef + Send + Sync>,
}

pub(super) struct Distinct<K> {
    aggregate: Box<dyn Accumulator>,
    keys: Keys<K>,
    /// How many rows have a value.
    rows: HashMap<K, u64>,
}

impl<K: Eq + Hash> Distinct<K> {
    /// `aggregate` can take values away again.
    pub(super) fn new(aggregate: impl Accumulator + 'static, keys: Keys<K>) -> Self {
        Self {
            aggregate: Box::new(aggregate),
            keys,
            rows: HashMap::default(),
        }
    }
}

/// As in groups, the zeros are equal, and all NaNs.
pub(super) fn floats() -> Keys<u64> {
    Keys {
        of: |values| {
            let mut keys = Vec::with_capacity(values.len());
            each_float(as_float64_array(values)?, |x| {
                keys.push(canonical(x).to_bits());
            });
            Ok(keys)
        },
        values: Box::new(|keys| {
            let values = keys.into_iter().map(f64::from_bits);
            Arc::new(Float64Array::from_iter_values(values))
        }),
    }
}

impl<K: Copy + Eq + Hash + Send + Sync + 'static> Accumulator for Distinct<K> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut new = (self.keys.of)(&values[0])?;
        new.retain(|key| {
            let rows = self.rows.entry(*key).or_default();
            *rows += 1;
            *rows == 1
        });
        self.aggregate.update_batch(&[(self.keys.values)(new)])
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut gone = (self.keys.of)(&values[0])?;
        gone.retain(|key| {
            let Some(rows) = self.rows.get_mut(key) else {
                return false;
            };
            *rows -= 1;
            let is_last = *rows == 0;
            if is_last {
                self.rows.remove(key);
            }
            is_last
        });
        self.aggregate.retract_batch(&[(self.keys.values)(gone)])
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.aggregate.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = (self.keys.values)(self.rows.keys().copied().collect());
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
        let entries = self.rows.capacity() * size_of::<(K, u64)>();
        size_of_val(self) + entries + self.aggregate.size()
    }
}

impl<K> Debug for Distinct<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Distinct({:?})", self.aggregate)
    }
}

/// The column of a state: a list of values.
pub(super) fn state_fields(name: &str, of: DataType) -> Vec<FieldRef> {
    let values = Field::new_list_field(of, true);
    let name = format_state_name(name, "distinct");
    vec![Arc::new(Field::new_list(name, values, false))]
}

/// The float that stands for all that equal it: of the zeros the positive one, of all NaNs one.
pub(crate) fn canonical(x: f64) -> f64 {
    // Only -0.0 is changed by adding 0.0.
    if x.is_nan() { f64::NAN } else { x + 0.0 }
}

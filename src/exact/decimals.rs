//! Sums of decimals whose type has no room for many more digits: added up in 256 bits, and refused where the sum is none of
//! its type. DataFusion's are added up in the type itself, and wrap.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal256Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, DecimalType, Field,
    FieldRef, i256,
};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

use super::distinct::Keys;
use crate::error::Error;

/// Digits that a sum has more than what it adds up, if its type is that wide: more rows than ten billion there are none.
const MORE_DIGITS: u8 = 10;
/// What a sum is, and remains, that 256 bits do not hold: of more digits than any decimal.
const TOO_LARGE: i256 = i256::MAX;

/// Whether sums of this type may be none of their own type, which has the digits that it gets from DataFusion.
pub(super) fn may_outgrow(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(precision, _) => {
            precision + MORE_DIGITS > Decimal128Type::MAX_PRECISION
        }
        DataType::Decimal256(precision, _) => {
            precision + MORE_DIGITS > Decimal256Type::MAX_PRECISION
        }
        other => other.is_decimal(),
    }
}

/// The error for a value that has more digits than its type.
pub(crate) fn out_of_range(what: &str, data_type: &DataType) -> Error {
    let name = match digits(data_type) {
        Some((precision, scale)) => format!("numeric({precision},{scale})"),
        None => data_type.to_string(),
    };
    Error::Data {
        message: format!("{what} is out of the range of its type, {name}"),
        sqlstate: "22003",
    }
}

/// A decimal's precision and scale.
pub(crate) fn digits(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// Decimals in 256 bits.
pub(crate) fn widened(values: &dyn Array) -> Result<Decimal256Array> {
    let Some((_, scale)) = digits(values.data_type()) else {
        return exec_err!("no decimals, but {}", values.data_type());
    };
    let wide: Decimal256Array = match values.data_type() {
        DataType::Decimal128(..) => values
            .as_primitive::<Decimal128Type>()
            .unary(i256::from_i128),
        DataType::Decimal256(..) => values.as_primitive::<Decimal256Type>().clone(),
        _ => cast(values, &widest(scale))?
            .as_primitive::<Decimal256Type>()
            .clone(),
    };
    Ok(wide.with_data_type(widest(scale)))
}

/// Decimals of 256 bits in a type of the same scale.
///
/// # Errors
/// If one of them is none of that type, [`out_of_range`].
pub(crate) fn narrowed(values: &Decimal256Array, what: &str, to: &DataType) -> Result<ArrayRef> {
    let precision = digits(to).map_or(0, |(precision, _)| precision);
    let fits = |value| Decimal256Type::is_valid_decimal_precision(value, precision);
    match values.iter().flatten().all(fits) {
        true => Ok(cast(values, to)?),
        false => Err(out_of_range(what, to).into()),
    }
}

fn widest(scale: i8) -> DataType {
    DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale)
}

/// What decimals of this type are added up in.
pub(super) fn wide_type(data_type: &DataType) -> DataType {
    let (_, scale) = digits(data_type).unwrap_or_default();
    widest(scale)
}

fn add(sum: &mut i256, value: i256) {
    *sum = match *sum == TOO_LARGE || value == TOO_LARGE {
        true => TOO_LARGE,
        false => sum.checked_add(value).unwrap_or(TOO_LARGE),
    };
}

fn summed(sums: &Decimal256Array, to: &DataType) -> Result<ArrayRef> {
    narrowed(sums, "a sum of decimals", to)
}

/// A sum of all rows, or of a window that slides over them.
#[derive(Debug)]
pub(super) struct RowsSum {
    sum: i256,
    /// How many values are in it: without any it is NULL.
    values: u64,
    data_type: DataType,
}

impl RowsSum {
    pub(super) fn new(data_type: &DataType) -> Self {
        Self {
            sum: i256::ZERO,
            values: 0,
            data_type: data_type.clone(),
        }
    }

    fn add(&mut self, value: i256) {
        add(&mut self.sum, value);
        self.values += 1;
    }

    fn subtract(&mut self, value: i256) {
        add(&mut self.sum, value.wrapping_neg());
        self.values -= 1;
    }

    fn wide(&self) -> Decimal256Array {
        let sum = (self.values > 0).then_some(self.sum);
        Decimal256Array::from_iter([sum]).with_data_type(wide_type(&self.data_type))
    }
}

impl Accumulator for RowsSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = widened(&values[0])?;
        values.iter().flatten().for_each(|value| self.add(value));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = widened(&values[0])?;
        let values = values.iter().flatten();
        values.for_each(|value| self.subtract(value));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&summed(&self.wide(), &self.data_type)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::try_from_array(&self.wide(), 0)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// Decimals of this type as what tells them apart.
pub(super) fn keys(data_type: &DataType) -> Keys<i256> {
    let wide = wide_type(data_type);
    Keys {
        of: |values| Ok(widened(values)?.iter().flatten().collect()),
        values: Box::new(move |keys| {
            let values = Decimal256Array::from_iter_values(keys);
            Arc::new(values.with_data_type(wide.clone()))
        }),
    }
}

/// The sum of each group.
pub(super) struct GroupSums {
    sums: Box<dyn GroupsAccumulator>,
    data_type: DataType,
}

impl GroupSums {
    pub(super) fn new(data_type: &DataType) -> Self {
        let wide = wide_type(data_type);
        let sums = PrimitiveGroupsAccumulator::<Decimal256Type, _>::new(&wide, add);
        Self {
            sums: Box::new(sums),
            data_type: data_type.clone(),
        }
    }
}

impl GroupsAccumulator for GroupSums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values: ArrayRef = Arc::new(widened(&values[0])?);
        let sums = &mut self.sums;
        sums.update_batch(&[values], group_indices, opt_filter, total_num_groups)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        let sums = &mut self.sums;
        sums.merge_batch(values, group_indices, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.sums.evaluate(emit_to)?;
        summed(sums.as_primitive::<Decimal256Type>(), &self.data_type)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.sums.state(emit_to)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values: ArrayRef = Arc::new(widened(&values[0])?);
        self.sums.convert_to_state(&[values], opt_filter)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sums.size()
    }
}

/// The column of a state: a sum.
pub(super) fn state_fields(name: &str, data_type: &DataType) -> Vec<FieldRef> {
    let name = format_state_name(name, "sum");
    vec![Arc::new(Field::new(name, wide_type(data_type), true))]
}

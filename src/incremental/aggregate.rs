//! Aggregates that a change alone changes.

use std::mem::discriminant;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, PrimitiveArray,
    UInt64Array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, Field,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type, i256,
};
use datafusion::common::{Result, plan_err};
use datafusion::physical_expr::PhysicalExpr;

use super::values::{Values, decoded};
use crate::exact::{Running, out_of_range};

/// An aggregate of a group.
#[derive(Clone, Debug)]
pub struct Aggregate {
    kind: Kind,
    /// Of different values, each as if it were there once.
    is_distinct: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Rows,
    Count(Arc<dyn PhysicalExpr>),
    Sum(Arc<dyn PhysicalExpr>),
    Floats(Arc<dyn PhysicalExpr>, Box<Running>),
    Min(Arc<dyn PhysicalExpr>),
    Max(Arc<dyn PhysicalExpr>),
}

/// What a group has of an aggregate.
#[derive(Clone, Debug)]
pub(super) enum Total {
    /// A sum, and how many values are in it: without any it is NULL. Rows are counted by the group. A sum of decimals may pass
    /// what 128 bits hold, and come back: to `sum` come so many times 2^128 as it was `carried`.
    Whole {
        sum: i128,
        carried: i32,
        values: i64,
    },
    Floats(Box<Running>),
    /// The first or the last of its values, encoded, as it was when an epoch ended.
    Extreme(Option<Box<[u8]>>),
}

/// What comes to a total; to a count, a zero.
#[derive(Clone, Copy, Debug)]
pub(super) enum Added {
    Whole(i128),
    Float(f64),
}

impl Total {
    /// As often as `weight` says.
    pub(super) fn add(&mut self, value: Added, weight: i64) {
        match (self, value) {
            (
                Self::Whole {
                    sum,
                    carried,
                    values,
                },
                Added::Whole(value),
            ) => {
                let (product, carry) = product(value, weight);
                let (total, wraps) = sum.overflowing_add(product);
                let wrapped = match (wraps, product > 0) {
                    (false, _) => 0,
                    (true, true) => 1,
                    (true, false) => -1,
                };
                *sum = total;
                *carried += carry + wrapped;
                *values += weight;
            }
            (Self::Floats(running), Added::Float(value)) => running.add(value, weight),
            (total, value) => debug_assert!(false, "{value:?} does not fit {total:?}"),
        }
    }
}

impl Default for Total {
    fn default() -> Self {
        Self::Whole {
            sum: 0,
            carried: 0,
            values: 0,
        }
    }
}

/// A product, and how many times 2^128 are to be added to it.
fn product(value: i128, weight: i64) -> (i128, i32) {
    if let Some(product) = value.checked_mul(weight.into()) {
        return (product, 0);
    }
    let product = i256::from_i128(value).wrapping_mul(i256::from_i128(weight.into()));
    let (low, high) = product.to_parts();
    let low = low as i128;
    // Its highest bit counts for itself there, and against it here.
    (low, high as i32 + i32::from(low < 0))
}

impl Aggregate {
    /// `count(*)`.
    pub fn rows() -> Self {
        Kind::Rows.into()
    }

    /// `count(x)`.
    pub fn count(x: Arc<dyn PhysicalExpr>) -> Self {
        Kind::Count(x).into()
    }

    /// `sum(x)`, of whole numbers or decimals.
    pub fn sum(x: Arc<dyn PhysicalExpr>) -> Self {
        Kind::Sum(x).into()
    }

    /// `min(x)`.
    pub fn min(x: Arc<dyn PhysicalExpr>) -> Self {
        Kind::Min(x).into()
    }

    /// `max(x)`.
    pub fn max(x: Arc<dyn PhysicalExpr>) -> Self {
        Kind::Max(x).into()
    }

    /// Of different values: `count(DISTINCT x)`, `sum(DISTINCT x)`.
    pub fn distinct(self) -> Self {
        let is_distinct = true;
        Self {
            is_distinct,
            ..self
        }
    }

    /// A statistic of floats, which `of_none` has of none.
    pub(crate) fn floats(x: Arc<dyn PhysicalExpr>, of_none: Running) -> Self {
        Kind::Floats(x, Box::new(of_none)).into()
    }

    /// Whether there is a sum of this type.
    pub(super) fn sums(data_type: &DataType) -> bool {
        data_type.is_integer() || matches!(data_type, DataType::Decimal128(_, _))
    }

    /// What it is computed of; None: of rows as such.
    pub(super) fn argument(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        match &self.kind {
            Kind::Rows => None,
            Kind::Count(x) | Kind::Sum(x) | Kind::Floats(x, _) | Kind::Min(x) | Kind::Max(x) => {
                Some(x)
            }
        }
    }

    /// What it takes the values of a group for; None: it does not need them.
    pub(super) fn of_values(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        match (&self.kind, self.is_distinct) {
            (Kind::Min(x) | Kind::Max(x), _) => Some(x),
            (_, true) => self.argument(),
            (_, false) => None,
        }
    }

    /// Whether each value counts once, however often it is there.
    pub(super) fn is_distinct(&self) -> bool {
        self.is_distinct
    }

    /// Which of a group's values it is; None: it is none of them.
    pub(super) fn extreme<'a>(&self, values: &'a Values) -> Option<Option<&'a [u8]>> {
        match &self.kind {
            Kind::Min(_) => Some(values.first()),
            Kind::Max(_) => Some(values.last()),
            _ => None,
        }
    }

    /// Of no rows.
    pub(super) fn start(&self) -> Total {
        match &self.kind {
            Kind::Floats(_, running) => Total::Floats(running.clone()),
            Kind::Min(_) | Kind::Max(_) => Total::Extreme(None),
            _ => Total::default(),
        }
    }

    /// What a total has outside of itself.
    pub(super) fn boxed_bytes(&self) -> usize {
        match &self.kind {
            Kind::Floats(_, _) => size_of::<Running>(),
            _ => 0,
        }
    }

    pub(super) fn field(&self, input: &Schema, name: &str) -> Result<Field> {
        use DataType::{Decimal128, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
        let expr = match &self.kind {
            Kind::Rows | Kind::Count(_) => return Ok(Field::new(name, Int64, false)),
            Kind::Floats(_, _) => return Ok(Field::new(name, DataType::Float64, true)),
            Kind::Min(x) | Kind::Max(x) => {
                return Ok(Field::new(name, x.data_type(input)?, true));
            }
            Kind::Sum(expr) => expr,
        };
        let data_type = match expr.data_type(input)? {
            Int8 | Int16 | Int32 | Int64 => Int64,
            UInt8 | UInt16 | UInt32 | UInt64 => UInt64,
            // As DataFusion has it.
            Decimal128(precision, scale) => {
                Decimal128(DECIMAL128_MAX_PRECISION.min(precision + 10), scale)
            }
            other => return plan_err!("an incremental sum of {other} is not in this version"),
        };
        Ok(Field::new(name, data_type, true))
    }

    /// Hand over each value that is not NULL, with its row.
    pub(super) fn each(
        &self,
        argument: &ArrayRef,
        mut add: impl FnMut(usize, Added),
    ) -> Result<()> {
        match &self.kind {
            Kind::Floats(_, _) => {
                let values = argument.as_primitive::<Float64Type>().iter().enumerate();
                let values = values.filter_map(|(row, value)| Some((row, value?)));
                values.for_each(|(row, value)| add(row, Added::Float(value)));
                Ok(())
            }
            Kind::Sum(_) => each_number(argument, |row, value| add(row, Added::Whole(value))),
            Kind::Count(_) => {
                each_value(argument, |row| add(row, Added::Whole(0)));
                Ok(())
            }
            Kind::Rows | Kind::Min(_) | Kind::Max(_) => Ok(()),
        }
    }

    /// Whether two totals look the same.
    pub(super) fn shows_same(&self, before: &Total, after: &Total) -> bool {
        match (before, after) {
            (
                Total::Whole {
                    sum,
                    carried,
                    values,
                },
                Total::Whole {
                    sum: new_sum,
                    carried: new_carried,
                    values: new_values,
                },
            ) => match &self.kind {
                Kind::Count(_) => values == new_values,
                _ => (sum, carried) == (new_sum, new_carried) && (*values > 0) == (*new_values > 0),
            },
            (Total::Extreme(before), Total::Extreme(after)) => before == after,
            (Total::Floats(before), Total::Floats(after)) => {
                before.value().map(f64::to_bits) == after.value().map(f64::to_bits)
            }
            _ => false,
        }
    }

    /// Why a total has no value of its type: it is a sum of decimals with more digits.
    pub(super) fn misfit(&self, data_type: &DataType, total: &Total) -> Option<String> {
        let DataType::Decimal128(precision, _) = data_type else {
            return None;
        };
        let (
            Kind::Sum(_),
            Total::Whole {
                sum,
                carried,
                values: 1..,
            },
        ) = (&self.kind, total)
        else {
            return None;
        };
        let fits = *carried == 0 && Decimal128Type::is_valid_decimal_precision(*sum, *precision);
        (!fits).then(|| out_of_range("a sum of decimals", data_type).to_string())
    }

    /// Whether it is the number of rows.
    pub(super) fn is_rows(&self) -> bool {
        matches!(self.kind, Kind::Rows)
    }

    /// Of groups, given as their rows and totals.
    pub(super) fn column<'a>(
        &self,
        data_type: &DataType,
        totals: impl Iterator<Item = (i64, &'a Total)>,
    ) -> Result<ArrayRef> {
        let sum = |(_, total): (i64, &Total)| match total {
            Total::Whole { sum, values, .. } => (*values > 0).then_some(*sum),
            _ => None,
        };
        let values = |(_, total): (i64, &Total)| match total {
            Total::Whole { values, .. } => *values,
            _ => 0,
        };
        let float = |(_, total): (i64, &Total)| match total {
            Total::Floats(running) => running.value(),
            _ => None,
        };
        let extreme = |(_, total): (i64, &'a Total)| match total {
            Total::Extreme(value) => value.as_deref(),
            _ => None,
        };
        Ok(match (&self.kind, data_type) {
            (Kind::Min(_) | Kind::Max(_), _) => decoded(data_type, totals.map(extreme))?,
            (Kind::Rows, _) => Arc::new(Int64Array::from_iter_values(totals.map(|(rows, _)| rows))),
            (Kind::Count(_), _) => Arc::new(Int64Array::from_iter_values(totals.map(values))),
            (Kind::Floats(_, _), _) => Arc::new(totals.map(float).collect::<Float64Array>()),
            // The lower half, as sums that wrap have it.
            (Kind::Sum(_), DataType::Int64) => Arc::new(
                totals
                    .map(|total| Some(sum(total)? as i64))
                    .collect::<Int64Array>(),
            ),
            (Kind::Sum(_), DataType::UInt64) => Arc::new(
                totals
                    .map(|total| Some(sum(total)? as u64))
                    .collect::<UInt64Array>(),
            ),
            (Kind::Sum(_), _) => {
                let sums: Decimal128Array = totals.map(sum).collect();
                Arc::new(sums.with_data_type(data_type.clone()))
            }
        })
    }
}

/// Of the same, computed in the same way.
impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        let is_one_kind = match (&self.kind, &other.kind) {
            (Kind::Floats(_, one), Kind::Floats(_, other)) => one.is_statistic_of(other),
            (one, other) => discriminant(one) == discriminant(other),
        };
        is_one_kind && self.is_distinct == other.is_distinct && self.argument() == other.argument()
    }
}

impl From<Kind> for Aggregate {
    fn from(kind: Kind) -> Self {
        let is_distinct = false;
        Self { kind, is_distinct }
    }
}

/// Only their number matters.
fn each_value(array: &ArrayRef, add: impl FnMut(usize)) {
    // Logical: a value of a dictionary may be NULL, and an untyped NULL is.
    let nulls = array.logical_nulls();
    let is_valid = |i: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*i));
    (0..array.len()).filter(is_valid).for_each(add);
}

fn each_number(array: &ArrayRef, add: impl FnMut(usize, i128)) -> Result<()> {
    fn of<T: ArrowPrimitiveType<Native: Into<i128>>>(
        array: &ArrayRef,
        mut add: impl FnMut(usize, i128),
    ) {
        let array: &PrimitiveArray<T> = array.as_primitive();
        let values = array.values().iter().enumerate();
        let is_valid = |(i, _): &(usize, &T::Native)| array.is_valid(*i);
        values
            .filter(is_valid)
            .for_each(|(i, value)| add(i, (*value).into()));
    }
    match array.data_type() {
        DataType::Int8 => of::<Int8Type>(array, add),
        DataType::Int16 => of::<Int16Type>(array, add),
        DataType::Int32 => of::<Int32Type>(array, add),
        DataType::Int64 => of::<Int64Type>(array, add),
        DataType::UInt8 => of::<UInt8Type>(array, add),
        DataType::UInt16 => of::<UInt16Type>(array, add),
        DataType::UInt32 => of::<UInt32Type>(array, add),
        DataType::UInt64 => of::<UInt64Type>(array, add),
        DataType::Decimal128(_, _) => of::<Decimal128Type>(array, add),
        other => return plan_err!("a sum of {other} has no value"),
    }
    Ok(())
}

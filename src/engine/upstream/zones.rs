//! A time without a zone as one of a zone: `SET timezone = 'Europe/Berlin'; … WHERE at >= now()`. DataFusion takes such a cast off
//! the column and gives its type to the constant, as if the zone were UTC: an hour or two of rows too many or too few.
//! And Arrow has no such time where summer ends (the hour is there twice) or begins (it is not there): one row of that
//! night fails the query.

use std::sync::{Arc, LazyLock};

use chrono::{MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    ArrowTimestampType, DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::temporal_conversions::as_datetime;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::expressions;

/// Further than any zone has ever been from UTC, in seconds.
const FURTHEST: i64 = 26 * 60 * 60;

/// The node with a function in place of these casts, and by it what sources and files can be asked.
pub fn times_in_zones(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let wanted = |expr: &Expr| zone_of_cast(expr).is_some() || is_unbounded(expr);
    expressions::rewritten(node, wanted, |expr, schema| {
        expr.transform_up(|expr| match &expr {
            Expr::Cast(_) | Expr::TryCast(_) => Ok(with_zone(expr, schema)),
            Expr::BinaryExpr(test) => Ok(match bounds(test) {
                Some(bounded) => Transformed::yes(bounded),
                None => Transformed::no(expr),
            }),
            _ => Ok(Transformed::no(expr)),
        })
    })
}

/// What is cast to a time of a zone that is not UTC, and to what.
fn zone_of_cast(expr: &Expr) -> Option<(&Expr, &DataType)> {
    let (value, field) = match expr {
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => (expr, field),
        _ => return None,
    };
    match field.data_type() {
        DataType::Timestamp(_, Some(zone)) if !is_utc(zone) => Some((value, field.data_type())),
        _ => None,
    }
}

pub fn is_utc(zone: &str) -> bool {
    ["UTC", "Etc/UTC", "Z", "+00:00"].contains(&zone)
}

fn with_zone(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Some((value, to)) = zone_of_cast(&expr) else {
        return Transformed::no(expr);
    };
    match value.get_type(schema) {
        Ok(DataType::Timestamp(_, None)) => {
            let function = InZone {
                to: to.clone(),
                is_bounded: false,
            };
            Transformed::yes(function.call(value.clone()))
        }
        _ => Transformed::no(expr),
    }
}

fn is_unbounded(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if unbounded(call).is_some())
}

fn unbounded(call: &ScalarFunction) -> Option<&InZone> {
    let function: &InZone = call.func.inner().downcast_ref()?;
    (!function.is_bounded).then_some(function)
}

/// A comparison of a time in its zone with a constant, and with it one of the time as it is: that a source may be sent, and files
/// are left out by it. It holds wherever the first does.
fn bounds(test: &BinaryExpr) -> Option<Expr> {
    let (call, op, constant, is_left) = match (test.left.as_ref(), test.right.as_ref()) {
        (Expr::ScalarFunction(call), Expr::Literal(constant, _)) => (call, test.op, constant, true),
        (Expr::Literal(constant, _), Expr::ScalarFunction(call)) => {
            (call, test.op.swap()?, constant, false)
        }
        _ => return None,
    };
    let function = unbounded(call)?;
    let value = call.args.first()?;
    let DataType::Timestamp(unit, _) = constant.data_type() else {
        return None;
    };
    let moment = match constant {
        ScalarValue::TimestampSecond(moment, _)
        | ScalarValue::TimestampMillisecond(moment, _)
        | ScalarValue::TimestampMicrosecond(moment, _)
        | ScalarValue::TimestampNanosecond(moment, _) => (*moment)?,
        _ => return None,
    };
    let of = DataType::Timestamp(unit, None);
    let bound = |op, seconds: i64| {
        let moment = moment.saturating_add(seconds * in_a_second(unit));
        let moment = ScalarValue::Int64(Some(moment)).cast_to(&of).ok()?;
        let value = Expr::Cast(Cast::new(Box::new(value.clone()), of.clone()));
        let moment = Box::new(Expr::Literal(moment, None));
        Some(Expr::BinaryExpr(BinaryExpr::new(
            Box::new(value),
            op,
            moment,
        )))
    };
    let after = || bound(Operator::GtEq, -FURTHEST);
    let before = || bound(Operator::LtEq, FURTHEST);
    let bound = match op {
        Operator::Gt | Operator::GtEq => after()?,
        Operator::Lt | Operator::LtEq => before()?,
        Operator::Eq => after()?.and(before()?),
        _ => return None,
    };
    let function = InZone {
        is_bounded: true,
        ..function.clone()
    };
    let exact = Box::new(function.call(value.clone()));
    let mut test = test.clone();
    match is_left {
        true => test.left = exact,
        false => test.right = exact,
    }
    Some(bound.and(Expr::BinaryExpr(test)))
}

pub fn in_a_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// A time without a zone as the moment that it is in one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct InZone {
    to: DataType,
    /// Whether what it is compared with has been made a bound of the time as it is.
    is_bounded: bool,
}

static ANY: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));

impl InZone {
    fn call(self, time: Expr) -> Expr {
        ScalarUDF::from(self).call(vec![time])
    }

    fn moments(&self, times: &ArrayRef) -> Result<ArrayRef> {
        let DataType::Timestamp(unit, Some(zone)) = &self.to else {
            return internal_err!("{} is no time of a zone", self.to);
        };
        let times = cast(times, &DataType::Timestamp(*unit, None))?;
        Ok(match unit {
            TimeUnit::Second => moments::<TimestampSecondType>(&times, zone),
            TimeUnit::Millisecond => moments::<TimestampMillisecondType>(&times, zone),
            TimeUnit::Microsecond => moments::<TimestampMicrosecondType>(&times, zone),
            TimeUnit::Nanosecond => moments::<TimestampNanosecondType>(&times, zone),
        }?)
    }
}

fn moments<T: ArrowTimestampType>(times: &ArrayRef, name: &str) -> Result<ArrayRef, ArrowError> {
    let zone: Tz = name.parse()?;
    let times: &PrimitiveArray<T> = times.as_primitive();
    let moments: PrimitiveArray<T> = times.try_unary(|time| {
        let moment = as_datetime::<T>(time).and_then(|local| {
            let offset = i64::from(offset(zone, local)?);
            time.checked_sub(offset * in_a_second(T::UNIT))
        });
        moment.ok_or_else(|| ArrowError::CastError("a time is out of range".into()))
    })?;
    Ok(Arc::new(moments.with_timezone(name)))
}

/// How far a zone is from UTC at a local time, in seconds. As PostgreSQL has it: where it is there twice, it is the second; where
/// it is not there, it is as if the clock had not been put forward.
pub fn offset(zone: Tz, local: NaiveDateTime) -> Option<i32> {
    let offset = match zone.offset_from_local_datetime(&local) {
        MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(_, offset) => offset,
        MappedLocalTime::None => {
            let before = local.checked_sub_signed(TimeDelta::days(1))?;
            zone.offset_from_utc_datetime(&before)
        }
    };
    Some(offset.fix().local_minus_utc())
}

impl ScalarUDFImpl for InZone {
    fn name(&self) -> &str {
        "in_zone"
    }

    fn signature(&self) -> &Signature {
        &ANY
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let [time] = take_function_args(self.name(), arguments.arg_fields)?;
        let field = Field::new(self.name(), self.to.clone(), time.is_nullable());
        Ok(Arc::new(field))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [time] = take_function_args(self.name(), arguments.args)?;
        Ok(match time {
            ColumnarValue::Scalar(time) => {
                let moments = self.moments(&time.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&moments, 0)?)
            }
            ColumnarValue::Array(times) => ColumnarValue::Array(self.moments(&times)?),
        })
    }
}

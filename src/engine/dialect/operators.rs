//! Operators over types that DataFusion does not combine, or combines otherwise.

use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr::{BinaryExpr, Cast};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use sqlparser::ast::BinaryOperator;

use super::{bytes, intervals};

#[derive(Debug)]
pub(super) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        raw: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_ours = matches!(
            raw.op,
            BinaryOperator::StringConcat
                | BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::Divide
        );
        if !is_ours {
            return Ok(PlannerResult::Original(raw));
        }
        // The left side of a sum of numbers may be long, and is not looked at.
        let right = kind(&raw.right, schema);
        let is_sum = matches!(raw.op, BinaryOperator::Plus | BinaryOperator::Minus);
        let left = match &right {
            Some(right) if is_sum && !is_interval(right) && !is_date(right) => None,
            _ => kind(&raw.left, schema),
        };
        let (Some(left), Some(right)) = (left, right) else {
            return Ok(PlannerResult::Original(raw));
        };
        let RawBinaryExpr {
            op,
            left: l,
            right: r,
        } = raw;
        let planned = match op {
            BinaryOperator::StringConcat if is_bytes(&left) || is_bytes(&right) => {
                bytes::joined().call(vec![as_bytes(l, &left)?, as_bytes(r, &right)?])
            }
            BinaryOperator::Multiply if is_interval(&left) && right.is_numeric() => {
                intervals::times(l, r)
            }
            BinaryOperator::Multiply if left.is_numeric() && is_interval(&right) => {
                intervals::times(r, l)
            }
            BinaryOperator::Divide if is_interval(&left) && right.is_numeric() => {
                intervals::divided(l, r)
            }
            BinaryOperator::Plus if is_date(&left) && is_interval(&right) => {
                binary(at_midnight(l), Operator::Plus, r)
            }
            BinaryOperator::Plus if is_interval(&left) && is_date(&right) => {
                binary(l, Operator::Plus, at_midnight(r))
            }
            BinaryOperator::Minus if is_date(&left) && is_interval(&right) => {
                binary(at_midnight(l), Operator::Minus, r)
            }
            op => {
                return Ok(PlannerResult::Original(RawBinaryExpr {
                    op,
                    left: l,
                    right: r,
                }));
            }
        };
        Ok(PlannerResult::Planned(planned))
    }
}

/// The type of an operand. What is still an operator in a chain is one that DataFusion has.
fn kind(operand: &Expr, schema: &DFSchema) -> Option<DataType> {
    match operand {
        Expr::BinaryExpr(chain) => match chain.op {
            Operator::Multiply | Operator::Divide | Operator::Modulo => Some(DataType::Float64),
            Operator::StringConcat => Some(DataType::Utf8),
            _ => operand.get_type(schema).ok(),
        },
        operand => operand.get_type(schema).ok(),
    }
}

pub(super) fn is_bytes(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

pub(super) fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(IntervalUnit::MonthDayNano))
}

fn is_date(data_type: &DataType) -> bool {
    data_type == &DataType::Date32
}

/// A text that stands beside bytes is one that is written for some.
fn as_bytes(value: Expr, of: &DataType) -> Result<Expr> {
    let is_written = matches!(value, Expr::Literal(..)) && (of.is_string() || of.is_null());
    match (is_bytes(of), is_written) {
        (true, _) => Ok(value),
        (false, true) => Ok(bytes::bytes_in().call(vec![value])),
        (false, false) => plan_err!("|| joins bytea with bytea: cast the other side"),
    }
}

/// A date plus or minus an interval is a time.
fn at_midnight(date: Expr) -> Expr {
    Expr::Cast(Cast::new(
        Box::new(date),
        DataType::Timestamp(TimeUnit::Microsecond, None),
    ))
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// The date and interval of a time that is made of them, if it is at midnight: a date may be compared with it as with a date.
pub(super) fn whole_days(value: &Expr) -> Option<Expr> {
    let Expr::BinaryExpr(sum) = value else {
        return None;
    };
    let date = |value: &Expr| match value {
        Expr::Cast(cast)
            if cast.field.data_type() == &DataType::Timestamp(TimeUnit::Microsecond, None) =>
        {
            Some(cast.expr.as_ref().clone())
        }
        _ => None,
    };
    let is_whole = |value: &Expr| {
        matches!(value, Expr::Literal(datafusion::common::ScalarValue::IntervalMonthDayNano(Some(i)), _)
            if i.nanoseconds == 0)
    };
    let (left, right) = (sum.left.as_ref(), sum.right.as_ref());
    match sum.op {
        Operator::Plus | Operator::Minus if is_whole(right) => {
            Some(binary(date(left)?, sum.op, right.clone()))
        }
        Operator::Plus if is_whole(left) => Some(binary(left.clone(), sum.op, date(right)?)),
        _ => None,
    }
}

//! Conditions that compare rows with the clock.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::Utc;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result as Done, ScalarValue};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, ScalarFunction};
use datafusion::logical_expr::utils::{conjunction, disjunction, split_binary, split_conjunction};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, when};

use super::super::bound::Bound;
use super::super::map::Map;
use super::super::plan::Plan;
use super::{Compiler, Result, refused};

/// What the clock is called where only it can be read.
const CLOCK: &str = "clock";
const DAY: i64 = 24 * 60 * 60 * 1_000_000_000;

/// A part of a condition; all parts have to hold.
enum Part {
    /// Of the row alone.
    Row(Expr),
    Clock(Comparison),
}

/// `row <op> clock`.
#[derive(Clone)]
struct Comparison {
    row: Expr,
    op: Operator,
    clock: Expr,
    /// It holds as well where this does.
    unless: Option<Expr>,
}

/// Why an expression with the clock in it is refused.
pub(super) fn refused_clock<T>(name: &str) -> Result<T> {
    refused(
        format!("{name}()"),
        "its value changes while no table does. It can be kept in conditions that compare rows with it, as in WHERE ordered_at > \
         now() - INTERVAL '1 hour': <, <=, >, >=, = or BETWEEN, with the row on one side, and on the other now() or current_date, \
         plus or minus intervals, cast to a date or timestamp, in date_trunc() or date_bin()",
    )
}

/// Whether the value of a function is what the clock says.
pub(super) fn is_clock(call: &ScalarFunction) -> bool {
    matches!(call.func.name(), "now" | "current_date")
}

pub(super) fn reads_clock(expr: &Expr) -> bool {
    let found =
        expr.exists(|expr| Ok(matches!(expr, Expr::ScalarFunction(call) if is_clock(call))));
    found.unwrap_or(true)
}

/// What a condition, which may be one of the clock, too, reads of rows. None: it cannot be kept.
pub(super) fn of_rows(condition: &Expr) -> Option<Vec<Expr>> {
    let read = parts(condition)?.into_iter().flat_map(|part| match part {
        Part::Row(row) => vec![row],
        Part::Clock(comparison) => comparison
            .unless
            .into_iter()
            .chain([comparison.row])
            .collect(),
    });
    Some(read.collect())
}

/// Filters as what is to be done one after the other: those of the clock with the others, whose order is their own.
pub(super) fn together(filters: &[Expr]) -> Vec<Expr> {
    match filters.iter().any(reads_clock) {
        true => conjunction(filters.iter().cloned()).into_iter().collect(),
        false => filters.to_vec(),
    }
}

impl Compiler<'_> {
    /// The rows of a plan that satisfy a condition, which may be one of the clock, too.
    pub(super) fn filtered(&self, input: Plan, condition: &Expr, named: &DFSchema) -> Result<Plan> {
        if !reads_clock(condition) {
            let map = Map::filter(input.schema(), self.physical(condition, named)?)?;
            return Ok(input.mapped(map));
        }
        let Some(parts) = parts(condition) else {
            return refused_clock("now");
        };
        // What cannot fail comes first: rows that it drops need not be kept.
        let (mut first, mut then) = (Vec::new(), Vec::new());
        let mut windows: Vec<(Expr, Vec<Bound>)> = Vec::new();
        for part in parts {
            match part {
                Part::Row(expr) if windows.is_empty() || cannot_fail(&expr) => first.push(expr),
                Part::Row(expr) => then.push(expr),
                Part::Clock(comparison) => {
                    let (key, bound) = self.bound(comparison, named)?;
                    match windows.iter_mut().find(|(other, _)| *other == key) {
                        Some((_, bounds)) => bounds.push(bound),
                        None => windows.push((key, vec![bound])),
                    }
                }
            }
        }
        let mut plan = input;
        if let Some(condition) = conjunction(first) {
            plan = self.filtered(plan, &condition, named)?;
        }
        for (key, bounds) in windows {
            plan = Plan::Timed {
                key: self.physical(&key, named)?,
                input: Box::new(plan),
                bounds,
            };
        }
        match conjunction(then) {
            None => Ok(plan),
            Some(condition) => self.filtered(plan, &condition, named),
        }
    }

    /// The key that a comparison is about, and the end of the keys' window that it is.
    fn bound(&self, comparison: Comparison, named: &DFSchema) -> Result<(Expr, Bound)> {
        let Comparison {
            row,
            op,
            clock,
            unless,
        } = comparison;
        let of = clock.get_type(&DFSchema::empty())?;
        let (Some(unit), true) = (unit(&of), row.get_type(named)? == of) else {
            return refused_clock("now");
        };
        // A value is compared in its own unit: in a finer one it may be beyond what that can hold.
        let (row, units) = match &row {
            Expr::Cast(cast) => match widened(&cast.expr.get_type(named)?, &of) {
                Some(units) => ((*cast.expr).clone(), units),
                None => (row, 1),
            },
            _ => (row, 1),
        };
        let is_least = matches!(op, Operator::Gt | Operator::GtEq);
        let key = match unless {
            None => row,
            Some(unless) => {
                let of = row.get_type(named)?;
                when(unless, extreme(&of, is_least)).otherwise(row)?
            }
        };
        let zone = self.state.config_options().execution.time_zone.clone();
        let zone = zone.map(Arc::from);
        let of = DataType::Timestamp(TimeUnit::Nanosecond, zone);
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new(CLOCK, of.clone(), false)]));
        let Some(back) = goes_back(&clock, is_civil(&of)) else {
            return refused_clock("now");
        };
        let moment = in_place_of_clock(clock, &of)?;
        let names = DFSchema::try_from(schema.clone())?;
        let bound = Bound {
            is_least,
            is_beyond: matches!(op, Operator::Gt | Operator::LtEq),
            moment: self.physical(&moment, &names)?,
            clock: schema,
            units,
            back: back.div_euclid(unit) + i64::from(back % unit > 0),
        };
        // An error that it has at any time is told when the view is defined.
        bound.at(&[Utc::now().timestamp_nanos_opt().unwrap_or_default()])?;
        Ok((key, bound))
    }
}

/// None: it is not of a kind that can be kept.
fn parts(condition: &Expr) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for conjunct in split_conjunction(condition) {
        if !reads_clock(conjunct) {
            parts.push(Part::Row(conjunct.clone()));
            continue;
        }
        match conjunct {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if *op == Operator::Or => {
                let either = [left.as_ref(), right.as_ref()].into_iter();
                let either = either.flat_map(|side| split_binary(side, Operator::Or));
                let (timed, others): (Vec<&Expr>, Vec<&Expr>) =
                    either.partition(|e| reads_clock(e));
                let [timed] = timed.as_slice() else {
                    return None;
                };
                let others = disjunction(others.into_iter().cloned())?;
                // a OR (b AND c) is (a OR b) AND (a OR c).
                for part in self::parts(timed)? {
                    parts.push(match part {
                        Part::Row(row) => Part::Row(row.or(others.clone())),
                        Part::Clock(Comparison { unless, .. }) if unless.is_some() => return None,
                        Part::Clock(comparison) => Part::Clock(Comparison {
                            unless: Some(others.clone()),
                            ..comparison
                        }),
                    });
                }
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::Eq => {
                    parts.push(compared(left, Operator::GtEq, right)?);
                    parts.push(compared(left, Operator::LtEq, right)?);
                }
                _ => parts.push(compared(left, *op, right)?),
            },
            Expr::Between(Between {
                expr,
                negated: false,
                low,
                high,
            }) => {
                parts.push(compared(expr, Operator::GtEq, low)?);
                parts.push(compared(expr, Operator::LtEq, high)?);
            }
            _ => return None,
        }
    }
    Some(parts)
}

/// `left <op> right`, the row being on the left.
fn compared(left: &Expr, op: Operator, right: &Expr) -> Option<Part> {
    use Operator::{Gt, GtEq, Lt, LtEq};
    if !matches!(op, Lt | LtEq | Gt | GtEq) {
        return None;
    }
    let (row, op, clock) = match (reads_clock(left), reads_clock(right)) {
        (false, false) => {
            let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
            return Some(Part::Row(Expr::BinaryExpr(BinaryExpr::new(
                left, op, right,
            ))));
        }
        (false, true) => (left, op, right),
        (true, false) => (right, op.swap()?, left),
        (true, true) => return None,
    };
    if !row.any_column_refs() && !row.contains_scalar_subquery() {
        return None;
    }
    goes_back(clock, true)?;
    Some(Part::Clock(Comparison {
        row: row.clone(),
        op,
        clock: clock.clone(),
        unless: None,
    }))
}

/// By how many nanoseconds a moment that is computed of the clock goes back at most, as the clock goes on. None: it is no such
/// moment. `in_zone`: the clock itself is that of a zone whose offset may change.
///
/// It does go back: a day of a month that is too short for it is the month's last, so that `now() - interval '1 month'` is on the
/// last of February at four midnights; and the clocks of a zone are put back.
fn goes_back(expr: &Expr, in_zone: bool) -> Option<i64> {
    match expr {
        Expr::Alias(alias) => goes_back(&alias.expr, in_zone),
        Expr::ScalarFunction(call) if is_clock(call) => match call.func.name() {
            "current_date" if in_zone => Some(DAY),
            _ => Some(0),
        },
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            let of = match (func.name(), args.as_slice()) {
                ("date_trunc", [Expr::Literal(_, _), of])
                | ("date_bin", [Expr::Literal(_, _), of])
                | ("date_bin", [Expr::Literal(_, _), of, Expr::Literal(_, _)])
                | ("to_local_time", [of]) => of,
                _ => return None,
            };
            let back = local(of, goes_back(of, in_zone)?);
            let unit = match (func.name(), &args[0]) {
                ("date_trunc", Expr::Literal(unit, _)) => trunc_unit(unit),
                ("date_bin", Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(bin)), _)) => {
                    i64::from(bin.months.abs()) * 31 * DAY
                        + i64::from(bin.days.abs()) * DAY
                        + bin.nanoseconds.abs()
                }
                _ => DAY,
            };
            Some(rounded(back, unit))
        }
        Expr::Cast(Cast { expr, field }) => {
            let back = goes_back(expr, in_zone)?;
            match field.data_type() {
                // A time of day that a zone leaves out is none.
                to if is_civil(to) && !has_zone(expr) => None,
                DataType::Timestamp(..) => Some(back),
                DataType::Date32 | DataType::Date64 => Some(rounded(local(expr, back), DAY)),
                _ => None,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (moment, by) = match (op, left.as_ref(), right.as_ref()) {
                (Operator::Plus | Operator::Minus, moment, Expr::Literal(by, _))
                | (Operator::Plus, Expr::Literal(by, _), moment) => (moment, by),
                _ => return None,
            };
            let back = goes_back(moment, in_zone)?;
            let (months, days) = match by {
                ScalarValue::IntervalYearMonth(Some(months)) => (*months, 0),
                ScalarValue::IntervalMonthDayNano(Some(by)) => (by.months, by.days),
                ScalarValue::IntervalDayTime(Some(by)) => (0, by.days),
                ScalarValue::DurationSecond(Some(_))
                | ScalarValue::DurationMillisecond(Some(_))
                | ScalarValue::DurationMicrosecond(Some(_))
                | ScalarValue::DurationNanosecond(Some(_)) => (0, 0),
                _ => return None,
            };
            match (months, days) {
                (0, 0) => Some(back),
                // That day may have no such time of day, or have it twice.
                _ if in_civil_zone(moment) => None,
                (0, _) => Some(back),
                _ => Some(back + 4 * DAY),
            }
        }
        _ => None,
    }
}

/// What goes by the time of day of a moment's zone.
fn local(moment: &Expr, back: i64) -> i64 {
    match in_civil_zone(moment) {
        false => back,
        true => back + DAY,
    }
}

fn in_civil_zone(moment: &Expr) -> bool {
    let of = moment.get_type(&DFSchema::empty());
    of.is_ok_and(|of| is_civil(&of))
}

/// What is rounded goes back as far as that, or not at all.
fn rounded(back: i64, unit: i64) -> i64 {
    match back {
        0 => 0,
        back => back.saturating_add(unit),
    }
}

fn trunc_unit(unit: &ScalarValue) -> i64 {
    let unit = unit.try_as_str().flatten().map(str::to_ascii_lowercase);
    let days = match unit.as_deref() {
        Some("year") => 366,
        Some("quarter") => 92,
        Some("month") => 31,
        Some("week") => 7,
        _ => 1,
    };
    days * DAY
}

fn has_zone(moment: &Expr) -> bool {
    let of = moment.get_type(&DFSchema::empty());
    matches!(of, Ok(DataType::Timestamp(_, Some(_))))
}

/// Whether the offset of a type's zone may change.
fn is_civil(of: &DataType) -> bool {
    match of {
        DataType::Timestamp(_, Some(zone)) => {
            !matches!(zone.as_ref(), "UTC" | "Etc/UTC" | "+00:00")
        }
        _ => false,
    }
}

/// Nanoseconds of the unit that values of a type are counted in.
fn unit(of: &DataType) -> Option<i64> {
    match of {
        DataType::Date32 => Some(DAY),
        DataType::Date64 => Some(1_000_000),
        DataType::Timestamp(unit, _) => Some(match unit {
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1_000,
            TimeUnit::Nanosecond => 1,
        }),
        _ => None,
    }
}

/// Where a cast only counts in a finer unit: how many are one of the coarser.
fn widened(from: &DataType, to: &DataType) -> Option<i64> {
    let is_same_moment = match (from, to) {
        (DataType::Timestamp(_, Some(_)), DataType::Timestamp(..)) => true,
        (DataType::Timestamp(..) | DataType::Date32, DataType::Timestamp(..)) => !is_civil(to),
        _ => false,
    };
    let (coarse, fine) = (unit(from)?, unit(to)?);
    (is_same_moment && coarse >= fine).then_some(coarse / fine)
}

/// The last key, or the first.
fn extreme(of: &DataType, is_last: bool) -> Expr {
    let (days, units) = match is_last {
        true => (i32::MAX, i64::MAX),
        false => (i32::MIN, i64::MIN),
    };
    let value = match of {
        DataType::Date32 => ScalarValue::Date32(Some(days)),
        DataType::Timestamp(TimeUnit::Second, zone) => {
            ScalarValue::TimestampSecond(Some(units), zone.clone())
        }
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            ScalarValue::TimestampMillisecond(Some(units), zone.clone())
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            ScalarValue::TimestampMicrosecond(Some(units), zone.clone())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            ScalarValue::TimestampNanosecond(Some(units), zone.clone())
        }
        _ => ScalarValue::Date64(Some(units)),
    };
    Expr::Literal(value, None)
}

/// The same with the clock's column in place of functions that read it.
fn in_place_of_clock(expr: Expr, of: &DataType) -> Done<Expr> {
    let replaced = expr.transform_up(|expr| match &expr {
        Expr::ScalarFunction(call) if is_clock(call) => {
            let wanted = expr.get_type(&DFSchema::empty())?;
            let clock = Expr::Column(Column::new_unqualified(CLOCK));
            Ok(Transformed::yes(match wanted == *of {
                true => clock,
                false => Expr::Cast(Cast::new(Box::new(clock), wanted)),
            }))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(replaced.data)
}

/// Whether a condition has a value for every row.
fn cannot_fail(condition: &Expr) -> bool {
    match condition {
        Expr::Column(_) | Expr::Literal(_, _) => true,
        Expr::Not(of) | Expr::IsNull(of) | Expr::IsNotNull(of) => cannot_fail(of),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            use Operator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
            matches!(op, And | Eq | Gt | GtEq | Lt | LtEq | NotEq | Or)
                && cannot_fail(left)
                && cannot_fail(right)
        }
        Expr::InList(list) => cannot_fail(&list.expr) && list.list.iter().all(cannot_fail),
        _ => false,
    }
}

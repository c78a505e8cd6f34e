//! What casts, comparisons and calls mean by the types of what they are about. A time with a zone is read, and shown, in that of the
//! session: a text or a time of day that it is compared with is one of that zone, and so are the day and the hour that it has. What
//! is computed in another zone than UTC is no expression that a source is sent.

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::functions::datetime::to_local_time;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, InList, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

use super::{arrays, bytes, functions, moments, operators, wrong};
use crate::engine::upstream::{self, is_utc};

/// The plan with what PostgreSQL means by its expressions, in a session of this zone.
pub(in crate::engine) fn meant(
    plan: LogicalPlan,
    state: &SessionState,
    zone: &str,
) -> Result<LogicalPlan> {
    let meaning = Meaning { state, zone };
    let mut has_changed = false;
    let plan = plan.transform_up_with_subqueries(|node| {
        let node = upstream::rewritten(node, may_differ, |expr, schema| {
            expr.transform_up(|expr| {
                let said = meaning.of(&expr, schema)?;
                let said = said.map(Transformed::yes);
                Ok(said.unwrap_or_else(|| Transformed::no(expr)))
            })
        })?;
        has_changed |= node.transformed;
        // What can be NULL may be otherwise, here or below. A recursion has the columns that it had.
        let is_recursion = matches!(node.data, LogicalPlan::RecursiveQuery(_));
        match has_changed && !is_recursion {
            true => node.map_data(LogicalPlan::recompute_schema),
            false => Ok(node),
        }
    })?;
    Ok(plan.data)
}

fn may_differ(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(_) | Expr::Between(_) | Expr::InList(_) => true,
        Expr::BinaryExpr(test) => is_comparison(test.op),
        Expr::ScalarFunction(call) => matches!(
            call.func.name(),
            "array_has" | "timezone" | "date_trunc" | "date_part" | "to_char" | "age"
        ),
        _ => false,
    }
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

struct Meaning<'a> {
    state: &'a SessionState,
    zone: &'a str,
}

impl Meaning<'_> {
    /// None: what DataFusion takes it for.
    fn of(&self, expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        match expr {
            Expr::Cast(cast) => self.cast(cast, schema),
            Expr::BinaryExpr(test) if is_comparison(test.op) => {
                let found = self.compared(&test.left, &test.right, schema)?;
                Ok(found.map(|(left, right)| binary(left, test.op, right)))
            }
            Expr::Between(between) => self.between(between, schema),
            Expr::InList(list) => self.in_list(list, schema),
            Expr::ScalarFunction(call) => self.call(call, schema),
            _ => Ok(None),
        }
    }

    fn is_session(&self, zone: &str) -> bool {
        zone == self.zone || (is_utc(zone) && is_utc(self.zone))
    }

    fn cast(&self, of: &Cast, schema: &DFSchema) -> Result<Option<Expr>> {
        let to = of.field.data_type();
        let Ok(from) = of.expr.get_type(schema) else {
            return Ok(None);
        };
        let value = of.expr.as_ref();
        Ok(match (&from, to) {
            (from, to) if from.is_string() && operators::is_bytes(to) => {
                let read = match text(value) {
                    Some(text) => literal(ScalarValue::Binary(Some(bytes::parsed(text)?))),
                    None => bytes::bytes_in().call(vec![value.clone()]),
                };
                Some(match to {
                    DataType::Binary => read,
                    to => cast(read, to.clone()),
                })
            }
            (from, to) if from.is_string() && is_moment(to) => match text(value) {
                Some(text) => self.moment(text, to)?,
                None => None,
            },
            (DataType::Timestamp(unit, Some(zone)), to) if self.shows_zone(zone, to) => {
                Some(match to.is_string() {
                    true => cast(self.in_session(value, *unit), to.clone()),
                    false => cast(self.local(value, *unit, zone), to.clone()),
                })
            }
            (DataType::Date32, DataType::Timestamp(_, Some(zone))) if !is_utc(zone) => {
                Some(cast(cast(value.clone(), MICROS), to.clone()))
            }
            (from, to) if to.is_integer() && has_fraction(from) => {
                Some(cast(whole(value), to.clone()))
            }
            _ => None,
        })
    }

    /// Whether it hangs on the session's zone what a time of another is in this type.
    fn shows_zone(&self, zone: &str, to: &DataType) -> bool {
        match to {
            DataType::Timestamp(_, None) | DataType::Time32(_) | DataType::Time64(_) => {
                !is_utc(self.zone) || !is_utc(zone)
            }
            DataType::Date32 | DataType::Date64 => !self.is_session(zone),
            to => to.is_string() && !self.is_session(zone),
        }
    }

    fn in_session(&self, time: &Expr, unit: TimeUnit) -> Expr {
        let of = DataType::Timestamp(unit, Some(self.zone.into()));
        cast(time.clone(), of)
    }

    /// What the clock shows in the session's zone at this moment.
    fn local(&self, time: &Expr, unit: TimeUnit, zone: &str) -> Expr {
        match (is_utc(self.zone), self.is_session(zone)) {
            (true, _) => cast(time.clone(), DataType::Timestamp(unit, None)),
            (false, true) => to_local_time().call(vec![time.clone()]),
            (false, false) => to_local_time().call(vec![self.in_session(time, unit)]),
        }
    }

    /// The moment at which the clock shows this in the session's zone, as a time of `zone`.
    fn moment_of(&self, local: Expr, unit: TimeUnit, zone: &str) -> Expr {
        let moment = cast(local, DataType::Timestamp(unit, Some(self.zone.into())));
        match self.zone == zone {
            true => moment,
            false => cast(moment, DataType::Timestamp(unit, Some(zone.into()))),
        }
    }

    /// The text as a date or time of this type. None: DataFusion reads it.
    fn moment(&self, text: &str, to: &DataType) -> Result<Option<Expr>> {
        let days = match text.trim().to_ascii_lowercase().as_str() {
            "now" => {
                let now = self.clock("now")?;
                let shown = match to {
                    DataType::Timestamp(_, Some(_)) => now,
                    _ => self.local(&now, TimeUnit::Nanosecond, self.zone),
                };
                return Ok(Some(cast(shown, to.clone())));
            }
            "yesterday" => -1,
            "today" => 0,
            "tomorrow" => 1,
            _ => return Ok(self.written(text, to).map(literal)),
        };
        let today = self.clock("current_date")?;
        let day = match days {
            0 => today,
            days => {
                let interval = ScalarValue::new_interval_mdn(0, days, 0);
                binary(today, Operator::Plus, literal(interval))
            }
        };
        Ok(Some(match to {
            DataType::Timestamp(unit, Some(zone)) => {
                let day = cast(day, DataType::Timestamp(*unit, None));
                self.moment_of(day, *unit, zone)
            }
            to => cast(day, to.clone()),
        }))
    }

    /// The date or time that a text says. None: DataFusion finds the same.
    fn written(&self, text: &str, to: &DataType) -> Option<ScalarValue> {
        let given = ScalarValue::Utf8(Some(text.to_string()));
        let found = match to {
            DataType::Timestamp(unit, Some(zone)) if !self.is_session(zone) => {
                let here = DataType::Timestamp(*unit, Some(self.zone.into()));
                let moment = given.cast_to(&here).ok();
                moment.and_then(|moment| moment.cast_to(to).ok())
            }
            _ if given.cast_to(to).is_ok() => return None,
            _ => None,
        };
        found.or_else(|| moments::read(text, to, self.zone))
    }

    fn clock(&self, name: &str) -> Result<Expr> {
        Ok(self.state.udf(name)?.call(Vec::new()))
    }

    /// Two values that are compared, if they are to be compared as others.
    fn compared(
        &self,
        left: &Expr,
        right: &Expr,
        schema: &DFSchema,
    ) -> Result<Option<(Expr, Expr)>> {
        let (Ok(l), Ok(r)) = (left.get_type(schema), right.get_type(schema)) else {
            return Ok(None);
        };
        let meant = self.beside(right, &r, &l, schema)?;
        let r = match &meant {
            Some(right) => right.get_type(schema)?,
            None => r,
        };
        Ok(match (self.beside(left, &l, &r, schema)?, meant) {
            (None, None) => None,
            (left_meant, right_meant) => Some((
                left_meant.unwrap_or_else(|| left.clone()),
                right_meant.unwrap_or_else(|| right.clone()),
            )),
        })
    }

    /// A value as it is compared with one of another type. None: as it is.
    fn beside(
        &self,
        value: &Expr,
        of: &DataType,
        other: &DataType,
        schema: &DFSchema,
    ) -> Result<Option<Expr>> {
        use DataType::{Date32, Time32, Time64, Timestamp};
        Ok(match (of, other) {
            (of, other) if of.is_string() && operators::is_bytes(other) => match text(value) {
                Some(text) => Some(literal(ScalarValue::Binary(Some(bytes::parsed(text)?)))),
                None => None,
            },
            (of, other) if of.is_string() && is_moment(other) => match text(value) {
                Some(text) => self.moment(text, other)?,
                None => None,
            },
            (Timestamp(unit, None), Timestamp(other, Some(zone))) if zone.as_ref() != self.zone => {
                let unit = match value.any_column_refs() {
                    true => finer(*unit, *other),
                    false => *other,
                };
                Some(self.moment_of(value.clone(), unit, zone))
            }
            (Date32, Timestamp(unit, Some(zone))) if !self.is_session(zone) || !is_utc(zone) => {
                let unit = finer(*unit, TimeUnit::Second);
                let midnight = cast(value.clone(), Timestamp(unit, None));
                Some(self.moment_of(midnight, unit, zone))
            }
            (Time32(_) | Time64(_), Time32(_) | Time64(_)) if of != other => {
                Some(match value.any_column_refs() {
                    true if other == &Time64(TimeUnit::Nanosecond) => {
                        cast(value.clone(), other.clone())
                    }
                    true => return Ok(None),
                    false => cast(value.clone(), other.clone()),
                })
            }
            // The clock is read in nanoseconds, in which no time is beyond 2262, as `9999-12-31` is, which stands for no end.
            (Timestamp(TimeUnit::Nanosecond, zone), Timestamp(unit, _))
                if unit != &TimeUnit::Nanosecond && !value.any_column_refs() =>
            {
                Some(cast(
                    value.clone(),
                    Timestamp(TimeUnit::Microsecond, zone.clone()),
                ))
            }
            (Date32, Timestamp(unit, None))
                if unit != &TimeUnit::Nanosecond && value.any_column_refs() =>
            {
                Some(cast(value.clone(), other.clone()))
            }
            (Timestamp(..), Date32) => {
                let days = operators::whole_days(value);
                days.filter(|days| matches!(days.get_type(schema), Ok(Date32)))
            }
            _ => None,
        })
    }

    fn between(&self, test: &Between, schema: &DFSchema) -> Result<Option<Expr>> {
        let low = self.compared(&test.expr, &test.low, schema)?;
        let high = self.compared(&test.expr, &test.high, schema)?;
        if low.is_none() && high.is_none() {
            return Ok(None);
        }
        let as_it_is = |end: &Expr| (test.expr.as_ref().clone(), end.clone());
        let (from, low) = low.unwrap_or_else(|| as_it_is(&test.low));
        let (to, high) = high.unwrap_or_else(|| as_it_is(&test.high));
        if from == to {
            let (low, high) = (Box::new(low), Box::new(high));
            return Ok(Some(Expr::Between(Between::new(
                Box::new(from),
                test.negated,
                low,
                high,
            ))));
        }
        Ok(Some(match test.negated {
            true => from.lt(low).or(to.gt(high)),
            false => from.gt_eq(low).and(to.lt_eq(high)),
        }))
    }

    fn in_list(&self, test: &InList, schema: &DFSchema) -> Result<Option<Expr>> {
        let Ok(of) = test.expr.get_type(schema) else {
            return Ok(None);
        };
        let mut has_changed = false;
        let mut list = Vec::with_capacity(test.list.len());
        for item in &test.list {
            let meant = match item.get_type(schema) {
                Ok(item_type) => self.beside(item, &item_type, &of, schema)?,
                Err(_) => None,
            };
            has_changed |= meant.is_some();
            list.push(meant.unwrap_or_else(|| item.clone()));
        }
        let expr = test.expr.clone();
        Ok(has_changed.then(|| Expr::InList(InList::new(expr, list, test.negated))))
    }

    fn call(&self, call: &ScalarFunction, schema: &DFSchema) -> Result<Option<Expr>> {
        let with = |args| Some(call.func.call(args));
        Ok(match (call.func.name(), call.args.as_slice()) {
            ("array_has", _) => arrays::with_unknown(call.clone()),
            ("timezone", [zone, time]) => match text(zone) {
                Some(zone) => Some(self.at_zone(zone, time, schema)?),
                None => None,
            },
            ("date_trunc", [part, time]) => match time.get_type(schema) {
                Ok(DataType::Timestamp(unit, Some(zone))) if !self.is_session(&zone) => {
                    let local = self.local(time, unit, &zone);
                    let start = call.func.call(vec![part.clone(), local]);
                    Some(self.moment_of(start, unit, &zone))
                }
                _ => None,
            },
            ("date_part", [part, time]) => match time.get_type(schema) {
                Ok(DataType::Timestamp(unit, Some(zone)))
                    if !self.is_session(&zone) && !is_epoch(part) =>
                {
                    with(vec![part.clone(), self.local(time, unit, &zone)])
                }
                _ => None,
            },
            ("to_char", [time, pattern]) => match time.get_type(schema) {
                Ok(DataType::Timestamp(unit, Some(zone))) if !self.is_session(&zone) => {
                    with(vec![self.in_session(time, unit), pattern.clone()])
                }
                _ => None,
            },
            ("age", [time]) => match self.clock_time(time, schema)? {
                Some(time) => {
                    let today = cast(self.clock("current_date")?, MICROS);
                    with(vec![today, time])
                }
                None => None,
            },
            ("age", [to, from]) => {
                let later = self.clock_time(to, schema)?;
                let earlier = self.clock_time(from, schema)?;
                match (later, earlier) {
                    // As they are left.
                    (Some(later), Some(earlier)) if later != *to || earlier != *from => {
                        with(vec![later, earlier])
                    }
                    (Some(_), Some(_)) => None,
                    _ => return Err(wrong("age() is of dates and times", "42883")),
                }
            }
            _ => None,
        })
    }

    /// A date or time as what the clock shows, in microseconds.
    fn clock_time(&self, value: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        Ok(match value.get_type(schema)? {
            of if of == MICROS => Some(value.clone()),
            DataType::Timestamp(unit, Some(zone)) => {
                Some(cast(self.local(value, unit, &zone), MICROS))
            }
            DataType::Timestamp(_, None) | DataType::Date32 => Some(cast(value.clone(), MICROS)),
            of if of.is_string() => match text(value) {
                Some(text) => Some(match self.moment(text, &MICROS)? {
                    Some(time) => time,
                    None => cast(value.clone(), MICROS),
                }),
                None => Some(cast(value.clone(), MICROS)),
            },
            of if of.is_null() => Some(cast(value.clone(), MICROS)),
            _ => None,
        })
    }

    /// `time AT TIME ZONE zone`
    fn at_zone(&self, zone: &str, time: &Expr, schema: &DFSchema) -> Result<Expr> {
        let unknown = || wrong(format!("time zone {zone} is not known"), "22023");
        let zone = match zone.parse::<Tz>() {
            Ok(_) => zone,
            Err(_) if zone.eq_ignore_ascii_case("utc") || zone.eq_ignore_ascii_case("z") => "UTC",
            Err(_) => return Err(unknown()),
        };
        let local = Meaning {
            state: self.state,
            zone,
        };
        Ok(match time.get_type(schema)? {
            DataType::Timestamp(unit, None) => local.moment_of(time.clone(), unit, "UTC"),
            DataType::Timestamp(unit, Some(of)) => local.local(time, unit, &of),
            // Dates and texts are of the session.
            of => {
                let moment = DataType::Timestamp(TimeUnit::Microsecond, Some(self.zone.into()));
                let value = match (text(time), &of) {
                    (Some(text), _) => self.moment(text, &moment)?,
                    (None, DataType::Date32) => {
                        Some(cast(cast(time.clone(), MICROS), moment.clone()))
                    }
                    _ => None,
                };
                let value = value.unwrap_or_else(|| cast(time.clone(), moment));
                local.local(&value, TimeUnit::Microsecond, self.zone)
            }
        })
    }
}

/// The text, if a value is one that is written.
fn text(value: &Expr) -> Option<&str> {
    match value {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

fn literal(value: ScalarValue) -> Expr {
    Expr::Literal(value, None)
}

fn cast(value: Expr, to: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(value), to))
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

fn is_moment(of: &DataType) -> bool {
    matches!(of, DataType::Date32 | DataType::Timestamp(..))
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    a.max(b)
}

/// Whether a part of a time is the same wherever one is.
fn is_epoch(part: &Expr) -> bool {
    text(part).is_some_and(|part| part.eq_ignore_ascii_case("epoch"))
}

fn has_fraction(of: &DataType) -> bool {
    match of {
        DataType::Float32 | DataType::Float64 => true,
        DataType::Decimal128(_, scale) => (1..=38).contains(scale),
        _ => false,
    }
}

/// A number without its fraction. One that is written is no float to PostgreSQL.
fn whole(value: &Expr) -> Expr {
    match value {
        Expr::Literal(ScalarValue::Float64(Some(number)), _) => {
            literal(ScalarValue::Float64(Some(number.round())))
        }
        Expr::Negative(inner) => match inner.as_ref() {
            Expr::Literal(ScalarValue::Float64(Some(_)), _) => {
                Expr::Negative(Box::new(whole(inner)))
            }
            _ => functions::rounded().call(vec![value.clone()]),
        },
        value => functions::rounded().call(vec![value.clone()]),
    }
}

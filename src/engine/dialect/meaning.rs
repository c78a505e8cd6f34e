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
use datafusion::logical_expr::expr::{BinaryExpr, Cast, ScalarFunction};
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
        let node = match &node.data {
            LogicalPlan::Union(union) => match meaning.union(union)? {
                Some(meant) => Transformed::yes(meant),
                None => node,
            },
            _ => node,
        };
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
        Expr::Cast(_) | Expr::Between(_) | Expr::InList(_) | Expr::Case(_) => true,
        Expr::BinaryExpr(test) => is_comparison(test.op) || test.op == Operator::Minus,
        Expr::ScalarFunction(call) => matches!(
            call.func.name(),
            "age"
                | "array_has"
                | "coalesce"
                | "date_bin"
                | "date_part"
                | "date_trunc"
                | "greatest"
                | "least"
                | "nullif"
                | "timezone"
                | "to_char"
                | "to_timestamp"
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

pub(super) struct Meaning<'a> {
    state: &'a SessionState,
    pub(super) zone: &'a str,
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
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if *op == Operator::Minus => {
                // The left side of a chain may be long, and is not looked at.
                if !matches!(right.get_type(schema), Ok(of) if is_moment(&of)) {
                    return Ok(None);
                }
                let alike = self.alike(&[left, right], schema)?;
                let alike = alike.and_then(|sides| <[Expr; 2]>::try_from(sides).ok());
                Ok(alike.map(|[left, right]| binary(left, *op, right)))
            }
            Expr::Case(case) => self.case(case, schema),
            Expr::Between(between) => self.between(between, schema),
            Expr::InList(list) => self.in_list(list, schema),
            Expr::ScalarFunction(call) => self.call(call, schema),
            _ => Ok(None),
        }
    }

    pub(super) fn is_session(&self, zone: &str) -> bool {
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
            // Seconds since 1970.
            (from, DataType::Timestamp(TimeUnit::Microsecond, zone)) if from.is_integer() => {
                let seconds = DataType::Timestamp(TimeUnit::Second, zone.clone());
                Some(cast(cast(value.clone(), seconds), to.clone()))
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
    pub(super) fn moment_of(&self, local: Expr, unit: TimeUnit, zone: &str) -> Expr {
        let moment = cast(local, DataType::Timestamp(unit, Some(self.zone.into())));
        match self.zone == zone {
            true => moment,
            false => cast(moment, DataType::Timestamp(unit, Some(zone.into()))),
        }
    }

    /// The text as a date or time of this type. None: DataFusion reads it.
    pub(super) fn moment(&self, text: &str, to: &DataType) -> Result<Option<Expr>> {
        let days = match text.trim().to_ascii_lowercase().as_str() {
            "now" => {
                let now = self.clock("now")?;
                let shown = match to {
                    DataType::Timestamp(_, Some(_)) => now,
                    _ => self.local(&now, TimeUnit::Microsecond, self.zone),
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
            // They are rounded, not cut off.
            DataType::Timestamp(TimeUnit::Microsecond, _) if moments::is_finer(text) => None,
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

    fn call(&self, call: &ScalarFunction, schema: &DFSchema) -> Result<Option<Expr>> {
        let with = |args| Some(call.func.call(args));
        Ok(match (call.func.name(), call.args.as_slice()) {
            ("array_has", _) => arrays::with_unknown(call.clone()),
            ("timezone", [zone, time]) => match text(zone) {
                Some(zone) => Some(self.at_zone(zone, time, schema)?),
                None => None,
            },
            ("date_trunc" | "date_bin", [part, time, rest @ ..])
                if !matches!(time.get_type(schema), Err(_) | Ok(DataType::Timestamp(..))) =>
            {
                self.clock_time(time, schema)?.and_then(|time| {
                    let args = [part.clone(), time].into_iter();
                    with(args.chain(rest.iter().cloned()).collect())
                })
            }
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
            ("to_timestamp", [value]) => Some(self.of_epoch(value, schema)?),
            ("coalesce" | "greatest" | "least" | "nullif", args) => {
                let args: Vec<&Expr> = args.iter().collect();
                self.alike(&args, schema)?.and_then(with)
            }
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

    /// The moment so many seconds after 1970 began, or that a text or another time says.
    fn of_epoch(&self, value: &Expr, schema: &DFSchema) -> Result<Expr> {
        let moment = DataType::Timestamp(TimeUnit::Microsecond, Some(self.zone.into()));
        let of = value.get_type(schema)?;
        if of.is_numeric() || of.is_null() {
            let seconds = cast(value.clone(), DataType::Float64);
            return Ok(cast(functions::of_epoch().call(vec![seconds]), moment));
        }
        let read = Cast::new(Box::new(value.clone()), moment);
        let meant = self.cast(&read, schema)?;
        Ok(meant.unwrap_or(Expr::Cast(read)))
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
pub(super) fn text(value: &Expr) -> Option<&str> {
    match value {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

pub(super) fn literal(value: ScalarValue) -> Expr {
    Expr::Literal(value, None)
}

pub(super) fn cast(value: Expr, to: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(value), to))
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

pub(super) fn is_moment(of: &DataType) -> bool {
    matches!(of, DataType::Date32 | DataType::Timestamp(..))
}

pub(super) fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
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

//! SQL functions with the engine's semantics, registered on every connection.
//!
//! | function | gives |
//! |---|---|
//! | `as_T(x)` | the stored value in canonical form, or an error |
//! | `try_T(x)` | … or NULL |
//! | `must_be_T(x)` | 1, or an error: guards a column that is used as stored |
//! | `fits_T(x)` | 1 or 0 |
//! | `float_order(x)` | an integer that orders as IEEE's total order does |
//! | `min_real`, `max_real` | in that order |
//! | `sum_integer`, `sum_decimal` | wrapping; exact |
//! | `wrapping_add`, `wrapping_subtract`, `wrapping_multiply` | 64-bit arithmetic that wraps |
//! | `average_float`, `average_decimal` | a sum by a count |
//! | `unicode_lower` … | text functions in characters, by bytes |
//!
//! T is a [`Reading`]'s name; `decimal` takes precision and scale as well.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::panic::{RefUnwindSafe, UnwindSafe};

use rusqlite::functions::{Aggregate, Context, FunctionFlags, SqlFnOutput, WindowAggregate};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, Result};

use crate::calendar;
use crate::pattern::Pattern;
use crate::reading::{Cell, Reading, unscaled_to_sql};

/// The message of the error that a value that does not fit raises inside SQLite.
pub const MISFIT: &str = "belvedere: a value does not fit the type its column is read as";

const READINGS: [Reading; 9] = [
    Reading::Boolean,
    Reading::Integer,
    Reading::Real,
    Reading::Text,
    Reading::Blob,
    Reading::Date,
    Reading::Time,
    Reading::Timestamp,
    Reading::Decimal {
        precision: 1,
        scale: 0,
    },
];

pub fn register(connection: &Connection) -> Result<()> {
    for reading in READINGS {
        readings(connection, reading)?;
    }
    numbers(connection)?;
    texts(connection)?;
    dates(connection)?;
    // Of 64 bits, which wrap.
    window(
        connection,
        "sum_integer",
        Sum(|sum| Value::Integer(sum as i64)),
    )?;
    window(connection, "sum_decimal", Sum(unscaled_to_sql))?;
    aggregate(connection, "min_real", Extremum(Ordering::Less))?;
    aggregate(connection, "max_real", Extremum(Ordering::Greater))
}

fn scalar<F, T>(connection: &Connection, name: &str, args: i32, function: F) -> Result<()>
where
    F: Fn(&Context<'_>) -> Result<T> + Send + 'static,
    T: SqlFnOutput,
{
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function(name, args, flags, move |context| function(context))
}

fn misfit() -> Error {
    Error::UserFunctionError(MISFIT.into())
}

fn readings(connection: &Connection, reading: Reading) -> Result<()> {
    let args = match reading {
        Reading::Decimal { .. } => 3,
        _ => 1,
    };
    let exact = move |context: &Context<'_>| match reading {
        Reading::Decimal { .. } => Ok(Reading::Decimal {
            precision: context.get(1)?,
            scale: context.get(2)?,
        }),
        other => Ok::<_, Error>(other),
    };
    let name = reading.name();
    scalar(connection, &format!("as_{name}"), args, move |context| {
        let cell = exact(context)?.read(context.get_raw(0));
        cell.map(Cell::into_sql).ok_or_else(misfit)
    })?;
    scalar(connection, &format!("try_{name}"), args, move |context| {
        let cell = exact(context)?.read(context.get_raw(0));
        Ok(cell.map_or(Value::Null, Cell::into_sql))
    })?;
    scalar(
        connection,
        &format!("must_be_{name}"),
        args,
        move |context| match exact(context)?.read(context.get_raw(0)) {
            Some(_) => Ok(true),
            None => Err(misfit()),
        },
    )?;
    scalar(connection, &format!("fits_{name}"), args, move |context| {
        Ok(exact(context)?.read(context.get_raw(0)).is_some())
    })
}

/// Orders as [`f64::total_cmp`] does.
fn total_order(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn numbers(connection: &Connection) -> Result<()> {
    scalar(connection, "float_order", 1, |context| {
        Ok(match context.get_raw(0) {
            ValueRef::Real(value) => Value::Integer(total_order(value)),
            ValueRef::Integer(value) => Value::Integer(total_order(value as f64)),
            _ => Value::Null,
        })
    })?;
    type Wrapping = fn(i64, i64) -> i64;
    let arithmetic: [(&str, Wrapping); 3] = [
        ("wrapping_add", i64::wrapping_add),
        ("wrapping_subtract", i64::wrapping_sub),
        ("wrapping_multiply", i64::wrapping_mul),
    ];
    for (name, operation) in arithmetic {
        scalar(connection, name, 2, move |context| {
            Ok(match (context.get_raw(0), context.get_raw(1)) {
                (ValueRef::Integer(a), ValueRef::Integer(b)) => Value::Integer(operation(a, b)),
                _ => Value::Null,
            })
        })?;
    }
    averages(connection)
}

fn averages(connection: &Connection) -> Result<()> {
    let of = |context: &Context<'_>| -> Result<Option<(i128, i128)>> {
        let (sum, count) = (unscaled(context.get_raw(0))?, unscaled(context.get_raw(1))?);
        Ok(sum.zip(count).filter(|(_, count)| *count > 0))
    };
    scalar(connection, "average_float", 2, move |context| {
        Ok(of(context)?.map(|(sum, count)| sum as f64 / count as f64))
    })?;
    // The third: by how much the unscaled average is larger than the sum's.
    scalar(connection, "average_decimal", 3, move |context| {
        let factor = i128::from(context.get::<i64>(2)?);
        Ok(match of(context)? {
            Some((sum, count)) => {
                // Towards zero, and nothing outgrows 128 bits.
                unscaled_to_sql(sum / count * factor + sum % count * factor / count)
            }
            None => Value::Null,
        })
    })
}

/// A whole number, or a decimal without its point.
fn unscaled(value: ValueRef<'_>) -> Result<Option<i128>> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(value) => Ok(Some(value.into())),
        ValueRef::Text(digits) => {
            let digits = std::str::from_utf8(digits).ok();
            let value = digits.and_then(|digits| digits.parse().ok());
            value.map(Some).ok_or_else(misfit)
        }
        _ => Err(misfit()),
    }
}

/// NULL arguments give NULL; others are read as text.
fn text_arg<'a>(context: &'a Context<'_>, index: usize) -> Result<Option<Cow<'a, str>>> {
    match Reading::Text.read(context.get_raw(index)) {
        Some(Cell::Null) => Ok(None),
        Some(Cell::Text(text)) => Ok(Some(text)),
        _ => Err(misfit()),
    }
}

fn texts(connection: &Connection) -> Result<()> {
    type Unary = fn(&str) -> Value;
    let unary: [(&str, Unary); 5] = [
        ("unicode_lower", |text| Value::Text(text.to_lowercase())),
        ("unicode_upper", |text| Value::Text(text.to_uppercase())),
        ("character_length", |text| {
            Value::Integer(text.chars().count() as i64)
        }),
        ("byte_length", |text| Value::Integer(text.len() as i64)),
        ("trim_spaces", |text| {
            Value::Text(text.trim_matches(' ').to_string())
        }),
    ];
    for (name, function) in unary {
        scalar(connection, name, 1, move |context| {
            Ok(text_arg(context, 0)?.map(|text| function(&text)))
        })?;
    }
    type Test = fn(&str, &str) -> bool;
    let tests: [(&str, Test); 2] = [
        ("text_starts_with", |text, part| text.starts_with(part)),
        ("text_ends_with", |text, part| text.ends_with(part)),
    ];
    for (name, test) in tests {
        scalar(connection, name, 2, move |context| {
            let both = text_arg(context, 0)?.zip(text_arg(context, 1)?);
            Ok(both.map(|(text, part)| test(&text, &part)))
        })?;
    }
    scalar(connection, "text_like", 2, |context| {
        let Some(text) = text_arg(context, 0)? else {
            return Ok(None);
        };
        // Kept while the statement runs: the pattern is a constant of it.
        let pattern = match context.get_aux::<Option<Pattern>>(1)? {
            Some(pattern) => pattern,
            None => context.set_aux(1, text_arg(context, 1)?.map(|text| Pattern::new(&text)))?,
        };
        Ok(pattern
            .as_ref()
            .as_ref()
            .map(|pattern| pattern.holds(&text)))
    })
}

fn dates(connection: &Connection) -> Result<()> {
    type Part = fn((i64, i64, i64)) -> i64;
    let parts: [(&str, Part); 4] = [
        ("date_year", |(year, _, _)| year),
        ("date_quarter", |(_, month, _)| (month + 2) / 3),
        ("date_month", |(_, month, _)| month),
        ("date_day", |(_, _, day)| day),
    ];
    for (name, part) in parts {
        scalar(connection, name, 1, move |context| {
            Ok(match context.get_raw(0) {
                ValueRef::Integer(days) => Value::Integer(part(calendar::civil(days))),
                _ => Value::Null,
            })
        })?;
    }
    scalar(connection, "day_of_timestamp", 1, |context| {
        Ok(match context.get_raw(0) {
            ValueRef::Integer(micros) => Value::Integer(calendar::day_of(micros)),
            _ => Value::Null,
        })
    })
}

fn aggregate<A, D>(connection: &Connection, name: &str, function: D) -> Result<()>
where
    A: RefUnwindSafe + UnwindSafe + Send,
    D: Aggregate<A, Value> + Send + 'static,
{
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_aggregate_function(name, 1, flags, function)
}

fn window<A, D>(connection: &Connection, name: &str, function: D) -> Result<()>
where
    A: RefUnwindSafe + UnwindSafe + Send,
    D: WindowAggregate<A, Value> + Send + 'static,
{
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_window_function(name, 1, flags, function)
}

/// A sum, and what is shown of it. In 128 bits no file has the rows that it would overflow with.
struct Sum(fn(i128) -> Value);

/// NULL is not counted, and is the sum of nothing.
struct Total {
    sum: i128,
    values: u64,
}

impl Sum {
    fn show(&self, total: Option<&Total>) -> Value {
        match total {
            Some(total) if total.values > 0 => (self.0)(total.sum),
            _ => Value::Null,
        }
    }
}

impl Aggregate<Total, Value> for Sum {
    fn init(&self, _: &mut Context<'_>) -> Result<Total> {
        Ok(Total { sum: 0, values: 0 })
    }

    fn step(&self, context: &mut Context<'_>, total: &mut Total) -> Result<()> {
        if let Some(value) = whole(context)? {
            total.sum += value;
            total.values += 1;
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, total: Option<Total>) -> Result<Value> {
        Ok(self.show(total.as_ref()))
    }
}

impl WindowAggregate<Total, Value> for Sum {
    fn value(&self, total: Option<&mut Total>) -> Result<Value> {
        Ok(self.show(total.as_deref()))
    }

    fn inverse(&self, context: &mut Context<'_>, total: &mut Total) -> Result<()> {
        if let Some(value) = whole(context)? {
            total.sum -= value;
            total.values -= 1;
        }
        Ok(())
    }
}

fn whole(context: &Context<'_>) -> Result<Option<i128>> {
    match context.get_raw(0) {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(value) => Ok(Some(value.into())),
        _ => Err(misfit()),
    }
}

/// The least or greatest float in IEEE's total order.
struct Extremum(Ordering);

impl Aggregate<Option<f64>, Value> for Extremum {
    fn init(&self, _: &mut Context<'_>) -> Result<Option<f64>> {
        Ok(None)
    }

    fn step(&self, context: &mut Context<'_>, best: &mut Option<f64>) -> Result<()> {
        match context.get_raw(0) {
            ValueRef::Null => {}
            ValueRef::Real(value) => {
                if best.is_none_or(|best| value.total_cmp(&best) == self.0) {
                    *best = Some(value);
                }
            }
            _ => return Err(misfit()),
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, best: Option<Option<f64>>) -> Result<Value> {
        Ok(best.flatten().map_or(Value::Null, Value::Real))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_order_as_ieee_says() {
        let mut values = [
            f64::NAN,
            1.5,
            0.0,
            -0.0,
            f64::INFINITY,
            -1.0,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
        ];
        values.sort_by(f64::total_cmp);
        assert!(
            values
                .windows(2)
                .all(|pair| total_order(pair[0]) < total_order(pair[1]))
        );
    }
}

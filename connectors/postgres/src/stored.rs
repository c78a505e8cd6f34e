//! How a stored column is selected and used, by its native type: types without a counterpart in Arrow become text in
//! one way everywhere, and nulls take the place of values that do not fit where the user decided so.

use arrow::datatypes::{DataType, Field};
use belvedere_connector::{Literal, NATIVE_TYPE};
use belvedere_sqlgen::{Operand, ast, sql};
use sqlparser::ast::{BinaryOperator, Value};

use crate::dialect::is_deterministic;
use crate::types::NULL_WHERE_UNFIT;

/// As sent to us, in the format its decoder reads.
pub fn on_the_wire(native: &str, data_type: &DataType, column: ast::Expr) -> ast::Expr {
    let (native, or_null) = decision(native);
    let value = match (data_type, native) {
        // Sent as 16 bytes.
        (DataType::Utf8, "uuid" | "jsonb" | "json") => column,
        // The decoder takes the padding off: the server.s own conversion is slow.
        (DataType::Utf8, _) if is_padded(native) && is_stored(&column) => column,
        (DataType::List(element), _) if is_sent_as_is(element.data_type(), native) => column,
        _ => converted(native, data_type, column),
    };
    or_null_where_unfit(or_null, data_type, value)
}

/// As the value that the engine reads.
pub fn in_expression(native: &str, data_type: &DataType, column: ast::Expr) -> ast::Expr {
    let (native, or_null) = decision(native);
    or_null_where_unfit(or_null, data_type, converted(native, data_type, column))
}

/// Whether equality with a constant has the same answer by the stored type as by its text, and can use its index.
pub fn is_indexed_as_itself(native: &str) -> bool {
    native == "uuid" || is_padded(native)
}

/// A column's stored form, and a constant in its type, if their equality is that of the texts.
pub fn as_itself(column: &Operand<'_>, constant: &Operand<'_>) -> Option<(ast::Expr, ast::Expr)> {
    let (stored, name) = all_as_itself(column)?;
    if !is_key_of(name, constant.as_literal()?) {
        return None;
    }
    let constant = sql::cast(constant.sql.clone(), sql::type_name(name));
    Some((stored, constant))
}

/// A column's stored form and its type, if the equality of that type is the texts'.
pub fn all_as_itself(column: &Operand<'_>) -> Option<(ast::Expr, &'static str)> {
    let native = column.facts.native_type.as_deref()?;
    let ast::Expr::Cast { expr: stored, .. } = &column.sql else {
        return None;
    };
    let name = if native == "uuid" {
        "uuid"
    } else if is_padded(native) && is_deterministic(column) {
        "bpchar"
    } else {
        return None;
    };
    Some((stored.as_ref().clone(), name))
}

/// Whether a text may be that of a value of this type: no value has another.
pub fn is_key_of(name: &str, key: &Literal) -> bool {
    match key {
        Literal::Text(text) if name == "uuid" => is_canonical_uuid(text),
        Literal::Text(text) => !text.ends_with(' ') && !text.contains('\0'),
        _ => false,
    }
}

/// A constant in a column, so that what is read of it is the constant. What is read as text is sent as a text of no type, which the
/// server takes for one of the column's.
pub fn store(
    literal: &Literal,
    field: &Field,
    bind: &dyn Fn(Literal, DataType) -> ast::Expr,
) -> Result<ast::Expr, String> {
    let native = native_of(field);
    let data_type = field.data_type();
    match (literal, data_type) {
        // A decimal of more digits than a constant has is its text, too.
        (Literal::Text(text), _) => {
            if text.contains('\0') {
                return Err("a text with a NUL, which PostgreSQL does not have".to_string());
            }
            // Spaces too many would be cut without a word.
            let is_padded = is_padded(native);
            let text_length = match is_padded {
                true => text.trim_end_matches(' ').chars().count(),
                false => text.chars().count(),
            };
            if is_padded || is_plain_text(native) {
                let most = argument(native).unwrap_or(usize::MAX);
                if text_length > most {
                    return Err(format!("a text is longer than {most} characters"));
                }
            }
            Ok(bind(literal.clone(), DataType::Null))
        }
        (
            Literal::Interval {
                months,
                days,
                nanos,
            },
            _,
        ) if nanos % 1_000 == 0 => {
            let micros = nanos / 1_000;
            let text = format!("{months} mons {days} days {micros} microseconds");
            Ok(bind(Literal::Text(text), DataType::Null))
        }
        (Literal::Decimal(unscaled), DataType::Decimal128(precision, scale))
            if native == "numeric" =>
        {
            // Without digits that nobody wrote.
            let (mut unscaled, mut scale) = (*unscaled, *scale);
            while scale > 0 && unscaled % 10 == 0 {
                (unscaled, scale) = (unscaled / 10, scale - 1);
            }
            Ok(bind(
                Literal::Decimal(unscaled),
                DataType::Decimal128(*precision, scale),
            ))
        }
        (Literal::Int(micros), DataType::Time64(_) | DataType::Timestamp(..))
            if argument(native).is_some_and(|digits| is_finer(*micros, digits)) =>
        {
            Err(format!("a time is finer than {native} has"))
        }
        _ if crate::params::fits(literal, data_type) => {
            Ok(bind(literal.clone(), data_type.clone()))
        }
        _ => Err("a value is beyond what PostgreSQL has".to_string()),
    }
}

/// What an expression gives, in a column: where nothing is cut or rounded for that, nor converted.
pub fn assign(value: &Operand<'_>, field: &Field) -> Result<ast::Expr, String> {
    let native = native_of(field);
    let is_as_computed = match field.data_type() {
        DataType::Utf8 => matches!(native, "text" | "character varying"),
        DataType::Time64(_) | DataType::Timestamp(..) => argument(native).is_none(),
        DataType::Decimal128(..) | DataType::Decimal256(..) => native.starts_with("numeric"),
        DataType::Interval(_) | DataType::List(_) => false,
        _ => native != "oid",
    };
    match is_as_computed {
        true => Ok(value.sql.clone()),
        false => Err(format!("what is computed would be converted to {native}")),
    }
}

/// A column to which any whole number is assigned that fits, and no other (22003).
pub fn is_integer(field: &Field) -> bool {
    matches!(native_of(field), "smallint" | "integer" | "bigint")
}

fn native_of(field: &Field) -> &str {
    let native = field.metadata().get(NATIVE_TYPE);
    decision(native.map_or("", String::as_str)).0
}

/// The first number in parentheses: a length, a precision.
fn argument(native: &str) -> Option<usize> {
    let (_, rest) = native.split_once('(')?;
    rest.split([')', ',']).next()?.trim().parse().ok()
}

/// Whether a number of microseconds has more than so many digits of a second.
fn is_finer(micros: i64, digits: usize) -> bool {
    let unit = 10_i64.pow(6_u32.saturating_sub(digits as u32));
    micros % unit != 0
}

fn decision(native: &str) -> (&str, bool) {
    match native.strip_suffix(NULL_WHERE_UNFIT) {
        Some(native) => (native, true),
        None => (native, false),
    }
}

/// `character(n)`, whose text has no padding; as an array's element its brackets follow.
fn is_padded(native: &str) -> bool {
    native == "bpchar"
        || native == "character"
        || (native.starts_with("character(") && native.ends_with(')'))
}

/// Not an expression over it, which may be text already.
fn is_stored(column: &ast::Expr) -> bool {
    matches!(column, ast::Expr::CompoundIdentifier(_))
}

fn is_plain_text(native: &str) -> bool {
    native == "text"
        || native == "character varying"
        || (native.starts_with("character varying(") && native.ends_with(')'))
}

fn is_sent_as_is(element: &DataType, native: &str) -> bool {
    let native = native.strip_suffix("[]").unwrap_or(native);
    *element != DataType::Utf8 || is_plain_text(native) || matches!(native, "uuid" | "name")
}

fn converted(native: &str, data_type: &DataType, column: ast::Expr) -> ast::Expr {
    let cast = |column, name| sql::cast(column, sql::type_name(name));
    match data_type {
        DataType::Utf8 if is_plain_text(native) => column,
        // Its own cast to text adds /32 to a host.
        DataType::Utf8 if native == "inet" => sql::call("abbrev", vec![column]),
        DataType::Utf8 if matches!(&column, ast::Expr::Cast { data_type, .. } if data_type.to_string() == "text") => {
            column
        }
        DataType::Utf8 => cast(column, "text"),
        DataType::List(element) if *element.data_type() == DataType::Utf8 => {
            let native = native.strip_suffix("[]").unwrap_or(native);
            match is_plain_text(native) {
                true => column,
                false => cast(column, "text[]"),
            }
        }
        DataType::Int64 if native == "oid" => cast(column, "bigint"),
        DataType::Decimal128(..)
            if matches!(native, "money" | "smallint" | "integer" | "bigint") =>
        {
            cast(column, "numeric")
        }
        _ => column,
    }
}

/// The conditions are those of the decoders.
fn or_null_where_unfit(or_null: bool, data_type: &DataType, value: ast::Expr) -> ast::Expr {
    if !or_null {
        return value;
    }
    let below = |value, limit: &str, name| {
        let limit = ast::Expr::value(Value::SingleQuotedString(limit.to_string()));
        sql::binary(
            value,
            BinaryOperator::Lt,
            sql::cast(limit, sql::type_name(name)),
        )
    };
    let finite = |value| sql::call("isfinite", vec![value]);
    let v = || value.clone();
    let fits = match data_type {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            let whole = usize::from(*precision) - usize::from(scale.unsigned_abs());
            // NaN and infinity are above every number, by their absolute value.
            let small = below(
                sql::call("abs", vec![v()]),
                &format!("1{}", "0".repeat(whole)),
                "numeric",
            );
            let exact = sql::binary(
                v(),
                BinaryOperator::Eq,
                sql::call("trunc", vec![v(), sql::number(scale)]),
            );
            // In this order: infinity has no decimal places to ask for.
            sql::and(small, exact)
        }
        DataType::Date32 => sql::and(finite(v()), below(v(), "262143-01-01", "date")),
        DataType::Timestamp(_, None) => {
            sql::and(finite(v()), below(v(), "262143-01-01", "timestamp"))
        }
        DataType::Timestamp(_, Some(_)) => {
            sql::and(finite(v()), below(v(), "262143-01-01 +00", "timestamptz"))
        }
        DataType::Time64(_) => below(v(), "24:00", "time"),
        // Hours are not carried over into days: 2,562,047 are what 64 bits of nanoseconds hold.
        DataType::Interval(_) => {
            let hours = sql::call("date_part", vec![sql::text("hour"), v()]);
            sql::and(
                finite(v()),
                below(sql::call("abs", vec![hours]), "2562047", "double precision"),
            )
        }
        DataType::List(_) => sql::binary(
            sql::call(
                "coalesce",
                vec![sql::call("array_ndims", vec![v()]), sql::number(1)],
            ),
            BinaryOperator::Eq,
            sql::number(1),
        ),
        _ => return value,
    };
    sql::case(vec![(fits, value)], None)
}

/// As PostgreSQL writes it, so that no two spellings are one value.
fn is_canonical_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

//! What the source computes as the engine does, operation by operation.
//!
//! Left out, each for its reason: division and modulo other than an average's (NULL by zero there, an error here), arithmetic of floats and
//! of integers that may overflow (an error there), `lower`, `upper` and ILIKE (their case mapping is the server
//! version's), `ceil`, `floor`, `round` (sign of zero, rounding of decimals).

use arrow::datatypes::{DataType, TimeUnit};
use belvedere_connector::{BinaryOp, DatePart, Expr, ExprKind, Function, Literal, UnaryOp};
use belvedere_sqlgen::{Call, Class, Form, Operand, Operation, Rule, ast, sql};

use crate::dialect::{cast_name, max_length, peel};

/// Characters up to which texts are put together at the source: a result beyond `max_allowed_packet` is NULL there.
const MAX_JOINED_CHARS: usize = 65_535;

const TEXT: &[Class] = &[Class::Text];

const fn rule(operation: Operation, of: &'static [Class], form: Form) -> Rule {
    Rule {
        operation,
        of,
        form,
    }
}

const fn exact(
    function: Function,
    of: &'static [Class],
    render: fn(&Call<'_>) -> Result<ast::Expr, String>,
) -> Rule {
    rule(Operation::Call(function), of, Form::Exact(render))
}

#[rustfmt::skip]
pub(crate) const RULES: &[Rule] = &[
    // An index serves IS NULL of the column as it is stored.
    rule(Operation::Unary(UnaryOp::IsNull), TEXT, Form::Exact(|c| Ok(sql::is_null(stored(c))))),
    rule(Operation::Unary(UnaryOp::IsNotNull), TEXT, Form::Exact(|c| Ok(sql::is_not_null(stored(c))))),
    rule(Operation::Unary(UnaryOp::Negate), &[Class::Decimal], Form::Exact(negated)),
    rule(Operation::Binary(BinaryOp::Plus), &[Class::Int], Form::Exact(integers)),
    rule(Operation::Binary(BinaryOp::Minus), &[Class::Int], Form::Exact(integers)),
    rule(Operation::Binary(BinaryOp::Multiply), &[Class::Int], Form::Exact(integers)),
    rule(Operation::Binary(BinaryOp::Plus), &[Class::Decimal], Form::Exact(decimals)),
    rule(Operation::Binary(BinaryOp::Minus), &[Class::Decimal], Form::Exact(decimals)),
    rule(Operation::Binary(BinaryOp::Multiply), &[Class::Decimal], Form::Exact(decimals)),
    rule(Operation::Binary(BinaryOp::Divide), &[], Form::No("division, which is NULL by zero at the source")),
    rule(Operation::Binary(BinaryOp::Modulo), &[], Form::No("modulo, which is NULL by zero at the source")),
    rule(Operation::Binary(BinaryOp::Concat), TEXT, Form::Exact(|c| joined(c, "concat", c.sql()))),
    rule(Operation::Like, TEXT, Form::Exact(like)),
    rule(Operation::ILike, &[], Form::No("LIKE without regard to case, which is the server version's own")),
    rule(Operation::Cast(Class::Any), &[], Form::Exact(cast)),
    exact(Function::Abs, &[Class::Decimal], |c| Ok(sql::call("abs", c.sql()))),
    exact(Function::Average, &[Class::Decimal, Class::Int], average),
    // Text.
    exact(Function::Concat, TEXT, concat),
    exact(Function::Lower, &[], |_| Err("lower(), whose case mapping is the server version's own".to_string())),
    exact(Function::Upper, &[], |_| Err("upper(), whose case mapping is the server version's own".to_string())),
    exact(Function::CharacterLength, TEXT, |c| Ok(sql::call("char_length", c.sql()))),
    exact(Function::OctetLength, TEXT, |c| Ok(sql::call("octet_length", c.sql()))),
    exact(Function::Substring, &[Class::Text, Class::Int], substring),
    exact(Function::Left, &[Class::Text, Class::Int], |c| end(c, "left")),
    exact(Function::Right, &[Class::Text, Class::Int], |c| end(c, "right")),
    exact(Function::Trim, TEXT, |c| trimmed(c, "trim")),
    exact(Function::LeftTrim, TEXT, |c| trimmed(c, "ltrim")),
    exact(Function::RightTrim, TEXT, |c| trimmed(c, "rtrim")),
    exact(Function::StrPos, TEXT, locate),
    exact(Function::StartsWith, TEXT, |c| side(c, "left")),
    exact(Function::EndsWith, TEXT, |c| side(c, "right")),
    exact(Function::Replace, TEXT, replaced),
    // Dates.
    rule(Operation::DatePart, &[Class::Date], Form::Exact(date_part)),
    rule(Operation::DatePart, &[Class::Timestamp], Form::Exact(date_part)),
    rule(Operation::DatePart, &[Class::TimestampTz], Form::Exact(date_part)),
    rule(Operation::DateTrunc, &[Class::Timestamp], Form::Exact(date_trunc)),
    rule(Operation::DateTrunc, &[Class::TimestampTz], Form::Exact(date_trunc)),
];

fn stored(c: &Call<'_>) -> ast::Expr {
    peel(&c.args[0].sql).clone()
}

fn negated(c: &Call<'_>) -> Result<ast::Expr, String> {
    Ok(ast::Expr::UnaryOp {
        op: ast::UnaryOperator::Minus,
        expr: Box::new(sql::nested(c.args[0].sql.clone())),
    })
}

/// NULLs are skipped.
fn concat(c: &Call<'_>) -> Result<ast::Expr, String> {
    let separator = sql::text("");
    let args = std::iter::once(separator).chain(c.sql()).collect();
    joined(c, "concat_ws", args)
}

fn substring(c: &Call<'_>) -> Result<ast::Expr, String> {
    constant_at_least(c, 1, 1)?;
    if c.args.len() > 2 {
        constant_at_least(c, 2, 0)?;
    }
    Ok(sql::call("substring", c.sql()))
}

/// So many characters from one end.
fn end(c: &Call<'_>, function: &str) -> Result<ast::Expr, String> {
    constant_at_least(c, 1, 0)?;
    Ok(sql::call(function, c.sql()))
}

fn locate(c: &Call<'_>) -> Result<ast::Expr, String> {
    needle(c, 1)?;
    let args = vec![c.args[1].sql.clone(), c.args[0].sql.clone()];
    Ok(sql::call("locate", args))
}

fn replaced(c: &Call<'_>) -> Result<ast::Expr, String> {
    needle(c, 1)?;
    match c.args[2].as_literal() {
        Some(Literal::Text(to)) if to.len() <= 16 => joined(c, "replace", c.sql()),
        _ => Err("replace() by anything but a short constant".to_string()),
    }
}

/// Integers whose result cannot leave its type: leaving it is an error there and wraps here.
fn integers(c: &Call<'_>) -> Result<ast::Expr, String> {
    let fits = magnitude(c.expr).is_some_and(|bits| bits < width(&c.expr.data_type));
    if !fits {
        return Err("arithmetic of integers that may overflow".to_string());
    }
    Ok(sql::binary(
        c.args[0].sql.clone(),
        operator(c)?,
        c.args[1].sql.clone(),
    ))
}

/// Bits of a signed integer type, 0 of others.
fn width(data_type: &DataType) -> u32 {
    match data_type {
        DataType::Int8 => 8,
        DataType::Int16 => 16,
        DataType::Int32 => 32,
        DataType::Int64 => 64,
        _ => 0,
    }
}

/// Some n such that the value is within ±2^n.
fn magnitude(expr: &Expr) -> Option<u32> {
    match &expr.kind {
        ExprKind::Literal(Literal::Int(v)) => Some(64 - v.unsigned_abs().leading_zeros()),
        ExprKind::Column(_) => match &expr.data_type {
            DataType::UInt8 => Some(8),
            DataType::UInt16 => Some(16),
            DataType::UInt32 => Some(32),
            signed => width(signed).checked_sub(1),
        },
        ExprKind::Cast { arg } => magnitude(arg),
        ExprKind::Binary { op, left, right } => {
            let (l, r) = (magnitude(left)?, magnitude(right)?);
            match op {
                BinaryOp::Plus | BinaryOp::Minus => Some(l.max(r) + 1),
                BinaryOp::Multiply => Some(l + r),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Decimals whose result type is wide enough for every result, so that neither side cuts or overflows.
fn decimals(c: &Call<'_>) -> Result<ast::Expr, String> {
    let (Some((p1, s1)), Some((p2, s2)), Some((p, s))) = (
        digits(c.args[0].data_type()),
        digits(c.args[1].data_type()),
        digits(&c.expr.data_type),
    ) else {
        return Err("arithmetic of decimals with other types".to_string());
    };
    let op = operator(c)?;
    let (needed, scale) = match op {
        ast::BinaryOperator::Multiply => (p1 + p2, s1 + s2),
        _ => ((p1 - s1).max(p2 - s2) + s1.max(s2) + 1, s1.max(s2)),
    };
    if s != scale || !(0..=30).contains(&s) || needed > p || needed > 65 {
        return Err("arithmetic of decimals that may overflow or lose digits".to_string());
    }
    Ok(sql::binary(
        c.args[0].sql.clone(),
        op,
        c.args[1].sql.clone(),
    ))
}

/// What a division leaves below the type's digits is taken off before, so that it comes out even and nothing is rounded. A
/// float is read from the digits, so it is the nearest.
fn average(c: &Call<'_>) -> Result<ast::Expr, String> {
    use ast::BinaryOperator::{Divide, Minus, Multiply};
    let (sum, count) = (c.args[0].sql.clone(), c.args[1].sql.clone());
    let cast_to = |value, name: &str| sql::cast(value, sql::type_name(name));
    match (digits(c.args[0].data_type()), &c.expr.data_type) {
        (Some(_), DataType::Float64) => Ok(sql::binary(
            cast_to(sum, "DOUBLE"),
            Divide,
            cast_to(count, "DOUBLE"),
        )),
        // A division has four digits more, and there are 65.
        (Some((precision, from)), DataType::Decimal128(_, scale @ 1..=26))
            if precision - from + i32::from(*scale) <= 61 =>
        {
            let unit = format!("0.{}1", "0".repeat(*scale as usize - 1));
            let step = sql::binary(count.clone(), Multiply, sql::number(unit));
            let below = sql::call("mod", vec![sum.clone(), step]);
            let even = sql::binary(sql::binary(sum, Minus, below), Divide, count);
            match cast_name(&c.expr.data_type) {
                Some(name) => Ok(cast_to(even, &name)),
                None => Err(format!("an average as {}", c.expr.data_type)),
            }
        }
        (_, other) => Err(format!("an average as {other}")),
    }
}

/// Precision and scale.
fn digits(data_type: &DataType) -> Option<(i32, i32)> {
    match data_type {
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
            Some((i32::from(*p), i32::from(*s)))
        }
        _ => None,
    }
}

fn operator(c: &Call<'_>) -> Result<ast::BinaryOperator, String> {
    match c.expr.kind {
        ExprKind::Binary {
            op: BinaryOp::Plus, ..
        } => Ok(ast::BinaryOperator::Plus),
        ExprKind::Binary {
            op: BinaryOp::Minus,
            ..
        } => Ok(ast::BinaryOperator::Minus),
        ExprKind::Binary {
            op: BinaryOp::Multiply,
            ..
        } => Ok(ast::BinaryOperator::Multiply),
        _ => Err("not an operation of arithmetic".to_string()),
    }
}

/// A constant pattern in which `\` does nothing but escape.
fn like(c: &Call<'_>) -> Result<ast::Expr, String> {
    let ExprKind::Like {
        escape, negated, ..
    } = &c.expr.kind
    else {
        return Err("not a LIKE".to_string());
    };
    let Some(Literal::Text(pattern)) = c.args[1].as_literal() else {
        return Err("LIKE with a pattern that is not constant".to_string());
    };
    if escape.is_some_and(|escape| escape != '\\') {
        return Err("LIKE with an escape character of its own".to_string());
    }
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && !matches!(chars.next(), Some('%' | '_' | '\\')) {
            return Err("LIKE with a backslash that escapes nothing".to_string());
        }
    }
    Ok(ast::Expr::Like {
        negated: *negated,
        any: false,
        expr: Box::new(sql::nested(c.args[0].sql.clone())),
        pattern: Box::new(c.args[1].sql.clone()),
        // A backslash, in a form that the client does not take for the start of an escape.
        escape_char: Some(ast::Value::HexStringLiteral("5C".into()).into()),
    })
}

/// Casts that change no value.
fn cast(c: &Call<'_>) -> Result<ast::Expr, String> {
    let (from, to) = (c.args[0].data_type(), &c.expr.data_type);
    let arg = c.args[0].sql.clone();
    let as_cast = |arg: ast::Expr| match cast_name(to) {
        Some(name) => Ok(sql::cast(arg, sql::type_name(&name))),
        None => Err(format!("a cast to {to}")),
    };
    let refused = || Err(format!("a cast from {from} to {to}"));
    match (Class::of(from), Class::of(to)) {
        (Class::Text, Class::Text) => Ok(arg),
        (Class::Int, Class::Int) if width(from) <= width(to) => Ok(arg),
        (Class::UInt, Class::UInt) if from.primitive_width() <= to.primitive_width() => Ok(arg),
        // Without the cast it would stay unsigned there.
        (Class::UInt, Class::Int) if from.primitive_width() < to.primitive_width() => as_cast(arg),
        (Class::Boolean, Class::Int) => as_cast(arg),
        (Class::Int | Class::UInt, Class::Decimal) => match digits(to) {
            Some((p, s)) if p - s >= integer_digits(from) => as_cast(arg),
            _ => refused(),
        },
        (Class::Decimal, Class::Decimal) => match (digits(from), digits(to)) {
            (Some((p1, s1)), Some((p2, s2))) if s2 >= s1 && p2 - s2 >= p1 - s1 => as_cast(arg),
            _ => refused(),
        },
        (Class::Int | Class::UInt, Class::Float)
            if *to == DataType::Float64 && from.primitive_width() <= Some(4) =>
        {
            Ok(sql::cast(arg, sql::type_name("DOUBLE")))
        }
        (Class::Date, Class::Timestamp) if *from == DataType::Date32 => as_cast(arg),
        _ => refused(),
    }
}

/// Decimal digits of an integer type.
fn integer_digits(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Int8 | DataType::UInt8 => 3,
        DataType::Int16 | DataType::UInt16 => 5,
        DataType::Int32 | DataType::UInt32 => 10,
        DataType::Int64 => 19,
        _ => 20,
    }
}

fn constant_at_least(c: &Call<'_>, arg: usize, least: i64) -> Result<i64, String> {
    match c.args.get(arg).and_then(Operand::as_literal) {
        // A place beyond 32 bits is read differently by old servers.
        Some(Literal::Int(v)) if *v >= least && *v <= i64::from(i32::MAX) => Ok(*v),
        _ => Err(format!(
            "a place or count that is no constant of at least {least}"
        )),
    }
}

fn trimmed(c: &Call<'_>, name: &str) -> Result<ast::Expr, String> {
    match c.args.len() {
        1 => Ok(sql::call(name, c.sql())),
        _ => Err("trimming characters other than spaces".to_string()),
    }
}

/// A constant that is not empty.
fn needle<'a>(c: &'a Call<'_>, arg: usize) -> Result<&'a str, String> {
    match c.args.get(arg).and_then(Operand::as_literal) {
        Some(Literal::Text(text)) if !text.is_empty() => Ok(text),
        _ => Err("searching for text that is empty or not constant".to_string()),
    }
}

/// Whether the first or last characters are the constant.
fn side(c: &Call<'_>, function: &str) -> Result<ast::Expr, String> {
    let length = needle(c, 1)?.chars().count();
    Ok(sql::binary(
        sql::call(function, vec![c.args[0].sql.clone(), sql::number(length)]),
        ast::BinaryOperator::Eq,
        c.args[1].sql.clone(),
    ))
}

/// A call whose result is no longer than the source can send.
fn joined(c: &Call<'_>, function: &str, args: Vec<ast::Expr>) -> Result<ast::Expr, String> {
    let bounded = |arg: &Operand<'_>| {
        Class::of(arg.data_type()) == Class::Text
            && (max_length(arg).is_some_and(|length| length <= MAX_JOINED_CHARS)
                || matches!(&arg.sql, ast::Expr::Function(f) if f.name.to_string().starts_with("concat")))
    };
    match c.args.iter().all(bounded) {
        true => Ok(sql::call(function, args)),
        false => Err("putting together texts of unknown length".to_string()),
    }
}

fn in_utc(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, Some(zone)) => matches!(zone.as_ref(), "UTC" | "+00:00"),
        _ => true,
    }
}

fn date_part(c: &Call<'_>) -> Result<ast::Expr, String> {
    let ExprKind::Call {
        function: Function::DatePart(part),
        ..
    } = &c.expr.kind
    else {
        return Err("not a date_part".to_string());
    };
    let data_type = c.args[0].data_type();
    if !in_utc(data_type) || c.expr.data_type != DataType::Int32 {
        return Err(format!("date_part of {data_type}"));
    }
    let call = |name| Ok(sql::call(name, c.sql()));
    match part {
        DatePart::Year => call("year"),
        DatePart::Quarter => call("quarter"),
        DatePart::Month => call("month"),
        DatePart::Day => call("dayofmonth"),
        DatePart::DayOfYear => call("dayofyear"),
        // Mode 3 is ISO 8601's.
        DatePart::Week => Ok(sql::call(
            "week",
            vec![c.args[0].sql.clone(), sql::number(3)],
        )),
        // Sunday is 1 there.
        DatePart::DayOfWeek => Ok(sql::binary(
            sql::call("dayofweek", c.sql()),
            ast::BinaryOperator::Minus,
            sql::number(1),
        )),
        DatePart::Hour | DatePart::Minute | DatePart::Second
            if Class::of(data_type) == Class::Date =>
        {
            Err("the time of a date".to_string())
        }
        DatePart::Hour => call("hour"),
        DatePart::Minute => call("minute"),
        DatePart::Second => call("second"),
    }
}

fn date_trunc(c: &Call<'_>) -> Result<ast::Expr, String> {
    let ExprKind::Call {
        function: Function::DateTrunc(part),
        ..
    } = &c.expr.kind
    else {
        return Err("not a date_trunc".to_string());
    };
    let data_type = &c.expr.data_type;
    if !in_utc(data_type)
        || c.args[0].data_type() != data_type
        || !matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _))
    {
        return Err(format!("date_trunc of {data_type}"));
    }
    let format = match part {
        DatePart::Year => "%Y-01-01",
        DatePart::Month => "%Y-%m-01",
        DatePart::Day => "%Y-%m-%d",
        DatePart::Hour => "%Y-%m-%d %H:00:00",
        DatePart::Minute => "%Y-%m-%d %H:%i:00",
        DatePart::Second => "%Y-%m-%d %H:%i:%s",
        other => return Err(format!("date_trunc to {other:?}")),
    };
    Ok(sql::cast(
        sql::call(
            "date_format",
            vec![c.args[0].sql.clone(), sql::text(format)],
        ),
        sql::type_name("DATETIME(6)"),
    ))
}

use arrow::datatypes::DataType;
use belvedere_connector::{BinaryOp, DatePart, ExprKind, Function, Literal, UnaryOp};
use belvedere_sqlgen::{Call, Class, Form, Operand, Operation, Rule, ast, sql};
use sqlparser::ast::BinaryOperator;

use crate::bounds::{bounds, fits};
use crate::dialect::{by_bytes, is_deterministic};

type Rendered = Result<ast::Expr, String>;

const fn rule(operation: Operation, of: &'static [Class], form: Form) -> Rule {
    Rule {
        operation,
        of,
        form,
    }
}

const fn call(function: Function, of: &'static [Class], form: Form) -> Rule {
    rule(Operation::Call(function), of, form)
}

const TEXT: &[Class] = &[Class::Text];
const INT: &[Class] = &[Class::Int];
const DECIMAL: &[Class] = &[Class::Decimal];

/// The capability table. What has no line here and no standard rendering stays in the engine.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    // Arithmetic: an overflow is an error there and wraps here, so only what cannot overflow.
    rule(Operation::Binary(BinaryOp::Plus), INT, Form::Exact(integer)),
    rule(Operation::Binary(BinaryOp::Minus), INT, Form::Exact(integer)),
    rule(Operation::Binary(BinaryOp::Multiply), INT, Form::Exact(integer)),
    rule(Operation::Binary(BinaryOp::Divide), INT, Form::Exact(divided)),
    rule(Operation::Binary(BinaryOp::Modulo), INT, Form::Exact(divided)),
    rule(Operation::Unary(UnaryOp::Negate), INT, Form::Exact(negated)),
    call(Function::Abs, INT, Form::Exact(absolute)),
    rule(Operation::Binary(BinaryOp::Plus), DECIMAL, Form::Exact(decimal)),
    rule(Operation::Binary(BinaryOp::Minus), DECIMAL, Form::Exact(decimal)),
    rule(Operation::Binary(BinaryOp::Multiply), DECIMAL, Form::Exact(decimal)),
    rule(Operation::Unary(UnaryOp::Negate), DECIMAL, Form::Exact(negated_decimal)),
    call(Function::Abs, DECIMAL, Form::Exact(|c| Ok(sql::call("abs", c.sql())))),
    call(Function::Average, &[Class::Decimal, Class::Int], Form::Exact(average)),
    // Casts between types of which one holds all values of the other.
    rule(Operation::Cast(Class::Int), INT, Form::Exact(widened)),
    rule(Operation::Cast(Class::Decimal), INT, Form::Exact(widened)),
    rule(Operation::Cast(Class::Decimal), DECIMAL, Form::Exact(widened)),
    rule(Operation::Cast(Class::Float), INT, Form::Exact(widened)),
    rule(Operation::Cast(Class::Float), &[Class::Float], Form::Exact(widened)),
    rule(Operation::Cast(Class::Timestamp), &[Class::Date], Form::Exact(cast)),
    rule(Operation::Cast(Class::Date), &[Class::Timestamp], Form::Exact(cast)),
    rule(Operation::Cast(Class::Text), TEXT, Form::Exact(|c| Ok(c.args[0].sql.clone()))),
    // Dates.
    rule(Operation::DatePart, &[Class::Date], Form::Exact(date_part)),
    rule(Operation::DatePart, &[Class::Timestamp], Form::Exact(date_part)),
    rule(Operation::DatePart, &[Class::TimestampTz], Form::Exact(date_part)),
    rule(Operation::DateTrunc, &[Class::Timestamp], Form::Exact(date_trunc)),
    rule(Operation::DateTrunc, &[Class::TimestampTz], Form::Exact(date_trunc)),
    // Text.
    rule(Operation::Binary(BinaryOp::Concat), TEXT, Form::Exact(joined)),
    call(Function::Concat, TEXT, Form::Exact(|c| Ok(sql::call("concat", c.sql())))),
    call(Function::CharacterLength, TEXT, Form::Exact(|c| length(c, "char_length"))),
    call(Function::OctetLength, TEXT, Form::Exact(|c| length(c, "octet_length"))),
    call(Function::Substring, &[Class::Text, Class::Int], Form::Exact(substring)),
    call(Function::Trim, TEXT, Form::Exact(|c| trimmed(c, "btrim"))),
    call(Function::LeftTrim, TEXT, Form::Exact(|c| trimmed(c, "ltrim"))),
    call(Function::RightTrim, TEXT, Form::Exact(|c| trimmed(c, "rtrim"))),
    call(Function::Left, &[Class::Text, Class::Int], Form::Exact(|c| side(c, "left"))),
    call(Function::Right, &[Class::Text, Class::Int], Form::Exact(|c| side(c, "right"))),
    call(Function::StrPos, TEXT, Form::Exact(position)),
    call(Function::StartsWith, TEXT, Form::Exact(starts_with)),
    call(Function::Replace, TEXT, Form::Exact(replaced)),
    rule(Operation::Like, TEXT, Form::Exact(like)),
    rule(Operation::ILike, &[], Form::No("ILIKE folds case by the source's locale")),
    call(Function::Lower, &[], Form::No("lower() folds case by the source's locale")),
    call(Function::Upper, &[], Form::No("upper() folds case by the source's locale")),
];

fn integer(call: &Call<'_>) -> Rendered {
    if !fits(call.expr) {
        return Err(overflow());
    }
    arithmetic(call)
}

fn arithmetic(call: &Call<'_>) -> Rendered {
    let ExprKind::Binary { op, .. } = &call.expr.kind else {
        return Err("not an operation of two".to_string());
    };
    let operator = match op {
        BinaryOp::Plus => BinaryOperator::Plus,
        BinaryOp::Minus => BinaryOperator::Minus,
        BinaryOp::Multiply => BinaryOperator::Multiply,
        BinaryOp::Divide => BinaryOperator::Divide,
        BinaryOp::Modulo => BinaryOperator::Modulo,
        other => return Err(format!("{other:?} is no arithmetic")),
    };
    Ok(sql::binary(
        call.args[0].sql.clone(),
        operator,
        call.args[1].sql.clone(),
    ))
}

fn overflow() -> String {
    "arithmetic that may overflow: the source would raise an error".to_string()
}

/// Both truncate towards zero; by zero is an error in both, but not before a row is filtered out; the least number by
/// -1 overflows.
fn divided(call: &Call<'_>) -> Rendered {
    match call.args[1].as_literal() {
        Some(Literal::Int(divisor)) if !matches!(divisor, 0 | -1) => arithmetic(call),
        _ => Err("division but by a constant other than 0 and -1".to_string()),
    }
}

fn negated(call: &Call<'_>) -> Rendered {
    match fits(call.expr) {
        true => Ok(minus(call)),
        false => Err(overflow()),
    }
}

fn negated_decimal(call: &Call<'_>) -> Rendered {
    Ok(minus(call))
}

fn minus(call: &Call<'_>) -> ast::Expr {
    ast::Expr::UnaryOp {
        op: ast::UnaryOperator::Minus,
        expr: Box::new(sql::nested(call.args[0].sql.clone())),
    }
}

fn absolute(call: &Call<'_>) -> Rendered {
    match fits(call.expr) {
        true => Ok(sql::call("abs", call.sql())),
        false => Err(overflow()),
    }
}

/// Exact at the source; here too, unless the result's digits had to be cut to what the type holds.
fn decimal(call: &Call<'_>) -> Rendered {
    let digits = |data_type: &DataType| match data_type {
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
            Some((i32::from(*p), i32::from(*s)))
        }
        _ => None,
    };
    let (Some((p1, s1)), Some((p2, s2)), Some((p, s))) = (
        digits(call.args[0].data_type()),
        digits(call.args[1].data_type()),
        digits(&call.expr.data_type),
    ) else {
        return Err("arithmetic of decimals and others".to_string());
    };
    let (needed, scale) = match &call.expr.kind {
        ExprKind::Binary {
            op: BinaryOp::Multiply,
            ..
        } => (p1 + p2, s1 + s2),
        _ => {
            let scale = s1.max(s2);
            ((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
    };
    if s != scale || p < needed {
        return Err("arithmetic of decimals whose result may not fit its type".to_string());
    }
    arithmetic(call)
}

/// `div` truncates towards zero, as the engine does, and is of any number of digits. A float is read from the digits, so it
/// is the nearest.
fn average(call: &Call<'_>) -> Rendered {
    let sum = call.args[0].sql.clone();
    let count = sql::call("nullif", vec![call.args[1].sql.clone(), sql::number(0)]);
    match &call.expr.data_type {
        DataType::Float64 => {
            let float = |number| sql::cast(number, sql::type_name("float8"));
            Ok(sql::binary(
                float(sum),
                BinaryOperator::Divide,
                float(count),
            ))
        }
        DataType::Decimal128(_, scale @ 1..) => {
            let zeros = "0".repeat(*scale as usize - 1);
            let (one, unit) = (format!("10{zeros}"), format!("0.{zeros}1"));
            let scaled = sql::binary(sum, BinaryOperator::Multiply, sql::number(one));
            let units = sql::call("div", vec![scaled, count]);
            Ok(sql::binary(
                units,
                BinaryOperator::Multiply,
                sql::number(unit),
            ))
        }
        other => Err(format!("an average as {other}")),
    }
}

fn cast(call: &Call<'_>) -> Rendered {
    let name = crate::dialect::type_name(&call.expr.data_type)
        .ok_or_else(|| format!("a cast to {}", call.expr.data_type))?;
    Ok(sql::cast(call.args[0].sql.clone(), sql::type_name(name)))
}

fn widened(call: &Call<'_>) -> Rendered {
    use DataType::*;
    let (from, to) = (call.args[0].data_type(), &call.expr.data_type);
    let holds = match (from, to) {
        (Int8 | Int16 | Int32 | Int64, Int8 | Int16 | Int32 | Int64) => {
            from.primitive_width() <= to.primitive_width()
        }
        (Int8 | Int16 | Int32 | Int64, Decimal128(p, s) | Decimal256(p, s)) => {
            let (low, high) = bounds(call.args[0].expr).unwrap_or((i128::MIN, i128::MAX));
            let digits = i32::from(*p) - i32::from(*s);
            (0..=38).contains(&digits)
                && 10i128
                    .checked_pow(digits as u32)
                    .is_none_or(|limit| -limit < low && high < limit)
        }
        (Decimal128(p1, s1) | Decimal256(p1, s1), Decimal128(p2, s2) | Decimal256(p2, s2)) => {
            s2 >= s1 && i32::from(*p2) - i32::from(*s2) >= i32::from(*p1) - i32::from(*s1)
        }
        // Both round to the nearest, to the even one of two.
        (Int8 | Int16 | Int32 | Int64, Float64) | (Int8 | Int16, Float32) => true,
        (Float32, Float32 | Float64) | (Float64, Float64) => true,
        _ => false,
    };
    match holds {
        true => cast(call),
        false => Err(format!(
            "a cast of {from} to {to}, which does not hold all its values"
        )),
    }
}

fn date_part(call: &Call<'_>) -> Rendered {
    let ExprKind::Call {
        function: Function::DatePart(part),
        ..
    } = &call.expr.kind
    else {
        return Err("not a date_part".to_string());
    };
    if call.expr.data_type != DataType::Int32 {
        return Err(format!("date_part as {}", call.expr.data_type));
    }
    in_utc(&call.args[0])?;
    let of_date = Class::of(call.args[0].data_type()) == Class::Date;
    let name = match part {
        DatePart::Year => "year",
        DatePart::Quarter => "quarter",
        DatePart::Month => "month",
        DatePart::Week => "week",
        DatePart::Day => "day",
        DatePart::DayOfWeek => "dow",
        DatePart::DayOfYear => "doy",
        _ if of_date => return Err("an hour of a date".to_string()),
        DatePart::Hour => "hour",
        DatePart::Minute => "minute",
        DatePart::Second => "second",
    };
    let arg = || call.args[0].sql.clone();
    let mut value = sql::call("date_part", vec![sql::text(name), arg()]);
    if *part == DatePart::Second {
        value = sql::call("floor", vec![value]);
    }
    let value = sql::cast(value, sql::type_name("integer"));
    if *part != DatePart::Year {
        return Ok(value);
    }
    // There is a year 0 here: PostgreSQL's -1.
    let before = sql::binary(value.clone(), BinaryOperator::Lt, sql::number(0));
    let shifted = sql::binary(value.clone(), BinaryOperator::Plus, sql::number(1));
    Ok(sql::case(vec![(before, shifted)], Some(value)))
}

fn date_trunc(call: &Call<'_>) -> Rendered {
    let ExprKind::Call {
        function: Function::DateTrunc(part),
        ..
    } = &call.expr.kind
    else {
        return Err("not a date_trunc".to_string());
    };
    if call.expr.data_type != *call.args[0].data_type() {
        return Err(format!("date_trunc as {}", call.expr.data_type));
    }
    in_utc(&call.args[0])?;
    let name = match part {
        DatePart::Year => "year",
        DatePart::Quarter => "quarter",
        DatePart::Month => "month",
        DatePart::Week => "week",
        DatePart::Day => "day",
        DatePart::Hour => "hour",
        DatePart::Minute => "minute",
        DatePart::Second => "second",
        DatePart::DayOfWeek | DatePart::DayOfYear => {
            return Err(format!("date_trunc to {part:?}"));
        }
    };
    Ok(sql::call(
        "date_trunc",
        vec![sql::text(name), call.args[0].sql.clone()],
    ))
}

/// Sessions are in UTC; a value in another zone would have other hours here.
fn in_utc(arg: &Operand<'_>) -> Result<(), String> {
    match arg.data_type() {
        DataType::Timestamp(_, Some(zone)) if !matches!(zone.as_ref(), "UTC" | "+00:00") => {
            Err(format!("parts of a time in {zone}"))
        }
        _ => Ok(()),
    }
}

fn joined(call: &Call<'_>) -> Rendered {
    Ok(sql::binary(
        call.args[0].sql.clone(),
        BinaryOperator::StringConcat,
        call.args[1].sql.clone(),
    ))
}

fn length(call: &Call<'_>, name: &str) -> Rendered {
    let value = sql::call(name, call.sql());
    match call.expr.data_type {
        DataType::Int32 => Ok(value),
        DataType::Int64 => Ok(sql::cast(value, sql::type_name("bigint"))),
        ref other => Err(format!("{name} as {other}")),
    }
}

/// A constant that PostgreSQL's 32 bits hold.
fn small(arg: &Operand<'_>, least: i64) -> Rendered {
    match arg.as_literal() {
        Some(Literal::Int(n)) if (least..=i64::from(i32::MAX)).contains(n) => {
            Ok(sql::cast(arg.sql.clone(), sql::type_name("integer")))
        }
        _ => Err("a count of characters that is no constant of 32 bits".to_string()),
    }
}

fn substring(call: &Call<'_>) -> Rendered {
    let mut args = vec![
        call.args[0].sql.clone(),
        small(&call.args[1], i64::from(i32::MIN))?,
    ];
    if let Some(count) = call.args.get(2) {
        args.push(small(count, 0)?);
    }
    Ok(sql::call("substr", args))
}

fn side(call: &Call<'_>, name: &str) -> Rendered {
    let count = small(&call.args[1], i64::from(i32::MIN) + 1)?;
    Ok(sql::call(name, vec![call.args[0].sql.clone(), count]))
}

fn trimmed(call: &Call<'_>, name: &str) -> Rendered {
    if let Some(characters) = call.args.get(1) {
        non_empty(characters)?;
    }
    Ok(sql::call(name, call.sql()))
}

fn non_empty<'a>(arg: &'a Operand<'_>) -> Result<&'a str, String> {
    match arg.as_literal() {
        Some(Literal::Text(text)) if !text.is_empty() => Ok(text),
        _ => Err("a text to look for that is no constant".to_string()),
    }
}

/// Searching in text is refused under collations that take different texts as equal.
fn searched(arg: &Operand<'_>) -> ast::Expr {
    match is_deterministic(arg) {
        true => arg.sql.clone(),
        false => by_bytes(arg.sql.clone()),
    }
}

fn position(call: &Call<'_>) -> Rendered {
    non_empty(&call.args[1])?;
    let args = vec![searched(&call.args[0]), call.args[1].sql.clone()];
    let value = sql::call("strpos", args);
    match call.expr.data_type {
        DataType::Int32 => Ok(value),
        DataType::Int64 => Ok(sql::cast(value, sql::type_name("bigint"))),
        ref other => Err(format!("strpos as {other}")),
    }
}

fn starts_with(call: &Call<'_>) -> Rendered {
    non_empty(&call.args[1])?;
    Ok(sql::call(
        "starts_with",
        vec![searched(&call.args[0]), call.args[1].sql.clone()],
    ))
}

fn replaced(call: &Call<'_>) -> Rendered {
    non_empty(&call.args[1])?;
    let by = match call.args[2].as_literal() {
        Some(_) => call.args[2].sql.clone(),
        None => return Err("a replacement that is no constant".to_string()),
    };
    Ok(sql::call(
        "replace",
        vec![searched(&call.args[0]), call.args[1].sql.clone(), by],
    ))
}

/// Backslash escapes in both; what it may not stand before is an error there or read otherwise here.
fn like(call: &Call<'_>) -> Rendered {
    let ExprKind::Like {
        escape, negated, ..
    } = &call.expr.kind
    else {
        return Err("not a LIKE".to_string());
    };
    if !matches!(escape, None | Some('\\')) {
        return Err("LIKE with another escape than a backslash".to_string());
    }
    let Some(Literal::Text(pattern)) = call.args[1].as_literal() else {
        return Err("LIKE with a pattern that is no constant".to_string());
    };
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if c == '\\' && !matches!(characters.next(), Some('%' | '_' | '\\')) {
            return Err("LIKE with a backslash before an ordinary character".to_string());
        }
    }
    Ok(ast::Expr::Like {
        negated: *negated,
        any: false,
        expr: Box::new(sql::nested(searched(&call.args[0]))),
        pattern: Box::new(call.args[1].sql.clone()),
        escape_char: None,
    })
}

use arrow::datatypes::{DataType, Field, TimeUnit};
use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, DatePart, Expr, ExprKind, Function, Literal, Window,
    WindowFunction,
};
use belvedere_sqlgen::{
    Aggregated, Call, Class, Dialect, Facts, Form, Limits, LiteralForm, Operand, Operation,
    Position, Read, Rendering, Rule, Use, ast, sql,
};

use crate::batch;
use crate::reading::{self, Reading};
use crate::store;
use crate::types::{Affinity, Native};

/// Collations SQLite always has; others are functions of the owner's program, which we have not.
const BINARY: &str = "BINARY";
const BUILT_IN: [&str; 3] = [BINARY, "NOCASE", "RTRIM"];

/// The largest precision whose unscaled values are SQLite's integers.
const INTEGER_DIGITS: u8 = 18;

/// SQLite's own defaults (limits of SQLite, 3, 4 and 9).
const LIMITS: Limits = Limits {
    parameters: 32_766,
    columns: 2_000,
    tables: 64,
};

/// SQLite with our functions. Expressions see columns in canonical form (see [`Reading`]).
#[derive(Debug, Clone, Copy)]
pub struct SqliteDialect {
    /// The file's text is UTF-8, so that its binary order is the engine's.
    pub orders_text: bool,
}

#[rustfmt::skip]
const RULES: &[Rule] = {
    use BinaryOp::*;
    use Class::*;
    use Operation::{Call as Function_, Cast, DatePart, ILike, Like};
    use belvedere_connector::Function::*;
    const fn rule(operation: Operation, of: &'static [Class], form: Form) -> Rule {
        Rule {
            operation,
            of,
            form,
        }
    }
    &[
        // Arithmetic that wraps. Division fails on zero, float results can be NaN, which SQLite has not.
        rule(Operation::Binary(Plus), &[Int], Form::Exact(|c| wrapping(c, "wrapping_add"))),
        rule(Operation::Binary(Minus), &[Int], Form::Exact(|c| wrapping(c, "wrapping_subtract"))),
        rule(Operation::Binary(Multiply), &[Int], Form::Exact(|c| wrapping(c, "wrapping_multiply"))),
        rule(Operation::Binary(Plus), &[Float], Form::No("float arithmetic: SQLite has no NaN")),
        rule(Operation::Binary(Minus), &[Float], Form::No("float arithmetic: SQLite has no NaN")),
        rule(Operation::Binary(Multiply), &[Float], Form::No("float arithmetic: SQLite has no NaN")),
        rule(Operation::Binary(Divide), &[], Form::No("a division can fail")),
        rule(Operation::Binary(Modulo), &[], Form::No("a division can fail")),
        rule(Function_(Average), &[Decimal, Int], Form::Exact(average)),
        // Text, in characters and by bytes.
        rule(Operation::Binary(BinaryOp::Concat), &[Text], Form::Exact(concat)),
        rule(Function_(Lower), &[Text], Form::Exact(|c| Ok(sql::call("unicode_lower", c.sql())))),
        rule(Function_(Upper), &[Text], Form::Exact(|c| Ok(sql::call("unicode_upper", c.sql())))),
        rule(Function_(CharacterLength), &[Text], Form::Exact(|c| Ok(sql::call("character_length", c.sql())))),
        rule(Function_(OctetLength), &[Text], Form::Exact(|c| Ok(sql::call("byte_length", c.sql())))),
        rule(Function_(StartsWith), &[Text], Form::Exact(|c| Ok(sql::call("text_starts_with", c.sql())))),
        rule(Function_(EndsWith), &[Text], Form::Exact(|c| Ok(sql::call("text_ends_with", c.sql())))),
        rule(Function_(Trim), &[Text], Form::Exact(trim)),
        rule(Like, &[Text], Form::Exact(like)),
        rule(ILike, &[], Form::No("LIKE without regard to case")),
        // Dates are days, timestamps microseconds.
        rule(DatePart, &[Date], Form::Exact(date_part)),
        rule(DatePart, &[Timestamp], Form::Exact(date_part)),
        // Casts that cannot fail and lose nothing.
        rule(Cast(Int), &[Int], Form::Exact(widen)),
        rule(Cast(Text), &[Text], Form::Exact(only_argument)),
        rule(Cast(Float), &[Int], Form::Exact(to_float)),
        rule(Cast(Decimal), &[Int], Form::Exact(whole)),
        rule(Cast(Decimal), &[Decimal], Form::Exact(rescale)),
        rule(Cast(Timestamp), &[Date], Form::Exact(date_to_timestamp)),
    ]
};

impl Dialect for SqliteDialect {
    fn placeholder(&self, n: usize) -> String {
        format!("?{n}")
    }

    fn literal(&self, literal: &Literal, data_type: &DataType) -> Result<LiteralForm, String> {
        if *literal == Literal::Null {
            return Ok(LiteralForm::inline(sql::null()));
        }
        let known = match (literal, data_type) {
            (Literal::Float(value), DataType::Float64) => !value.is_nan(),
            (Literal::Decimal(unscaled), DataType::Decimal128(..)) => {
                i64::try_from(*unscaled).is_ok()
            }
            (Literal::Int(_), _) => {
                matches!(Class::of(data_type), Class::Int) || Reading::of(data_type).is_some()
            }
            // No column has them: what a window counts.
            (Literal::UInt(value), DataType::UInt64) => i64::try_from(*value).is_ok(),
            (Literal::Text(_) | Literal::Boolean(_) | Literal::Binary(_), _) => true,
            _ => false,
        };
        match known {
            true => Ok(LiteralForm::Bind),
            false => Err(format!("this constant of type {data_type}")),
        }
    }

    fn store(
        &self,
        literal: &Literal,
        field: &Field,
        bind: &dyn Fn(Literal, DataType) -> ast::Expr,
    ) -> Result<ast::Expr, String> {
        Ok(bind(
            store::stored(literal, field)?,
            field.data_type().clone(),
        ))
    }

    fn assign(&self, value: &Operand<'_>, field: &Field) -> Result<ast::Expr, String> {
        match store::is_stored_as_computed(field) {
            true => Ok(value.sql.clone()),
            false => Err(format!(
                "what is computed is not stored as it is in a column read as {}",
                field.data_type()
            )),
        }
    }

    fn read(&self, data_type: &DataType, facts: &Facts, column: ast::Expr) -> Result<Read, String> {
        let Some(native) = facts.native_type.as_deref().map(Native::parse) else {
            return Ok(Read {
                sql: column,
                facts: facts.clone(),
                guard: None,
            });
        };
        let reading =
            Reading::of(data_type).ok_or_else(|| format!("a column read as {data_type}"))?;
        let call = |prefix: &str| {
            let mut args = vec![column.clone()];
            if let Reading::Decimal { precision, scale } = reading {
                args.extend([sql::number(precision), sql::number(scale)]);
            }
            sql::call(&format!("{prefix}_{}", reading.name()), args)
        };
        let canonical = Facts {
            native_type: None,
            collation: facts.collation.clone(),
        };
        let (sql, guard) = if native.null_on_misfit {
            (call("try"), None)
        } else if is_stored_as_read(reading, &native) {
            (
                column.clone(),
                (!native.always_fits).then(|| call("must_be")),
            )
        } else {
            (call("as"), None)
        };
        Ok(Read {
            sql,
            facts: canonical,
            guard,
        })
    }

    fn rules(&self) -> &[Rule] {
        RULES
    }

    fn key(&self, operand: &Operand<'_>, usage: Use) -> Result<ast::Expr, String> {
        let value = operand.sql.clone();
        match Class::of(operand.data_type()) {
            Class::Boolean | Class::Int | Class::UInt | Class::Date | Class::Time => Ok(value),
            Class::Timestamp | Class::TimestampTz | Class::Binary => Ok(value),
            Class::Decimal => match operand.data_type() {
                DataType::Decimal128(precision, _) if *precision <= INTEGER_DIGITS => Ok(value),
                _ => Err(format!(
                    "comparing decimals of more than {INTEGER_DIGITS} digits"
                )),
            },
            Class::Float => match usage {
                // There is no NaN.
                Use::Equality | Use::Order => Ok(value),
                Use::Sort => Ok(sql::call("float_order", vec![value])),
                Use::Group | Use::MinMax => Err("grouping by floats".to_string()),
            },
            Class::Text => {
                let ordered = matches!(usage, Use::Order | Use::Sort | Use::MinMax);
                if ordered && !self.orders_text {
                    return Err("the order of text in a file that is not known to be UTF-8".into());
                }
                Ok(match operand.facts.collation.as_deref() {
                    Some(BINARY) => value,
                    _ if operand.as_literal().is_some() => value,
                    _ => sql::collate(value, sql::word(BINARY)),
                })
            }
            _ => Err(format!("comparing {}", operand.data_type())),
        }
    }

    /// `x = ?1` under NOCASE or RTRIM holds for more than it should, and can use the column's index: both are said.
    fn compare(
        &self,
        op: BinaryOp,
        left: &Operand<'_>,
        right: &Operand<'_>,
        _position: Position,
    ) -> Option<Result<Rendering, String>> {
        let column = match (left.as_literal(), right.as_literal()) {
            (None, Some(_)) => left,
            (Some(_), None) => right,
            _ => return None,
        };
        let collation = column.facts.collation.as_deref()?;
        if op != BinaryOp::Eq || collation == BINARY || !BUILT_IN.contains(&collation) {
            return None;
        }
        let equal = |l: ast::Expr, r: ast::Expr| sql::binary(l, ast::BinaryOperator::Eq, r);
        let exact = sql::collate(column.sql.clone(), sql::word(BINARY));
        let constant = match left.as_literal() {
            Some(_) => &left.sql,
            None => &right.sql,
        };
        Some(Ok(Rendering::exact(sql::and(
            equal(column.sql.clone(), constant.clone()),
            equal(exact, constant.clone()),
        ))))
    }

    /// As a JSON array, of what JSON can say.
    fn in_batch(
        &self,
        arg: &Operand<'_>,
        keys: &[&Literal],
        bind: &dyn Fn(Vec<Literal>) -> ast::Expr,
    ) -> Option<Result<ast::Expr, String>> {
        if !keys.iter().all(|key| reading::in_json(key).is_some()) {
            return None;
        }
        let is_in = |column: ast::Expr| {
            let keys = keys.iter().map(|key| (*key).clone()).collect();
            sql::in_values_of(column, "json_each", bind(keys))
        };
        Some(self.key(arg, Use::Equality).map(is_in))
    }

    fn aggregate(
        &self,
        aggregate: &Aggregate,
        arg: Option<&Operand<'_>>,
    ) -> Option<Result<Aggregated, String>> {
        use AggregateFunction::*;
        let arg = arg?;
        let call = |name: &str| {
            let call = sql::function(name, vec![arg.sql.clone()], aggregate.distinct);
            Ok(Aggregated::plain(call))
        };
        Some(match (aggregate.function, Class::of(arg.data_type())) {
            (Min, Class::Float) => call("min_real"),
            (Max, Class::Float) => call("max_real"),
            (BoolAnd, Class::Boolean) => call("min"),
            (BoolOr, Class::Boolean) => call("max"),
            (Sum, Class::Int) if aggregate.data_type == DataType::Int64 => call("sum_integer"),
            (Sum, Class::Decimal) => match (arg.data_type(), &aggregate.data_type) {
                (DataType::Decimal128(from, a), DataType::Decimal128(_, b))
                    if (*from <= INTEGER_DIGITS || is_whole(arg.expr)) && a == b =>
                {
                    call("sum_decimal")
                }
                _ => Err(format!(
                    "sums of decimals of more than {INTEGER_DIGITS} digits"
                )),
            },
            (Sum, Class::Float) => Err("sums of floats depend on the order of rows".to_string()),
            _ => return None,
        })
    }

    fn window(&self, window: &Window) -> Result<(), String> {
        match &window.function {
            WindowFunction::Aggregate(Aggregate {
                function: AggregateFunction::Min | AggregateFunction::Max,
                arg: Some(arg),
                ..
            }) if Class::of(&arg.data_type) == Class::Float => {
                Err("extremes of floats over a window".to_string())
            }
            _ => Ok(()),
        }
    }

    fn no_limit(&self) -> Option<&'static str> {
        Some("-1")
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn output(
        &self,
        field: &Field,
        _facts: &Facts,
        column: ast::Expr,
    ) -> Result<ast::Expr, String> {
        match batch::reading(field.data_type()) {
            Some(_) => Ok(column),
            None => Err(format!("a result of type {}", field.data_type())),
        }
    }
}

/// SQLite has already brought values of this declared type into the form in which they are read.
fn is_stored_as_read(reading: Reading, native: &Native) -> bool {
    let affinity = Affinity::of(&native.declared);
    match reading {
        Reading::Integer => true,
        Reading::Real => affinity == Affinity::Real,
        Reading::Text => affinity == Affinity::Text,
        Reading::Blob => true,
        _ => false,
    }
}

fn wrapping(call: &Call<'_>, function: &str) -> Result<ast::Expr, String> {
    match call.expr.data_type {
        DataType::Int64 => Ok(sql::call(function, call.sql())),
        ref other => Err(format!("arithmetic of {other}")),
    }
}

fn average(call: &Call<'_>) -> Result<ast::Expr, String> {
    let mut args = call.sql();
    match (call.args[0].data_type(), &call.expr.data_type) {
        (DataType::Decimal128(_, 0), DataType::Float64) => Ok(sql::call("average_float", args)),
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to))
            if (0..19).contains(&(to - from)) =>
        {
            args.push(sql::number(10_i64.pow((to - from) as u32)));
            Ok(sql::call("average_decimal", args))
        }
        (_, other) => Err(format!("an average as {other}")),
    }
}

fn concat(call: &Call<'_>) -> Result<ast::Expr, String> {
    match call.args {
        [left, right] => Ok(sql::binary(
            left.sql.clone(),
            ast::BinaryOperator::StringConcat,
            right.sql.clone(),
        )),
        _ => Err("|| of two".to_string()),
    }
}

fn trim(call: &Call<'_>) -> Result<ast::Expr, String> {
    match call.args {
        [_] => Ok(sql::call("trim_spaces", call.sql())),
        _ => Err("trim() with characters to trim".to_string()),
    }
}

/// Patterns whose backslashes need no interpretation.
fn like(call: &Call<'_>) -> Result<ast::Expr, String> {
    let ExprKind::Like {
        escape, negated, ..
    } = &call.expr.kind
    else {
        return Err("LIKE".to_string());
    };
    match call.args[1].as_literal() {
        Some(Literal::Text(pattern)) if escape.is_none() && !pattern.contains('\\') => {
            let test = sql::call("text_like", call.sql());
            Ok(if *negated { sql::not(test) } else { test })
        }
        _ => Err("LIKE with a pattern that is not constant, or with an escape".to_string()),
    }
}

fn date_part(call: &Call<'_>) -> Result<ast::Expr, String> {
    let ExprKind::Call {
        function: Function::DatePart(part),
        ..
    } = call.expr.kind
    else {
        return Err("date_part".to_string());
    };
    let function = match part {
        DatePart::Year => "date_year",
        DatePart::Quarter => "date_quarter",
        DatePart::Month => "date_month",
        DatePart::Day => "date_day",
        other => return Err(format!("date_part({other:?})")),
    };
    if call.expr.data_type != DataType::Int32 {
        return Err(format!("date_part as {}", call.expr.data_type));
    }
    let days = match call.args {
        [arg] if *arg.data_type() == DataType::Date32 => arg.sql.clone(),
        [arg] if *arg.data_type() == MICROSECONDS => {
            sql::call("day_of_timestamp", vec![arg.sql.clone()])
        }
        _ => return Err("date_part of this type".to_string()),
    };
    Ok(sql::call(function, vec![days]))
}

const MICROSECONDS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn only_argument(call: &Call<'_>) -> Result<ast::Expr, String> {
    match call.args {
        [arg] => Ok(arg.sql.clone()),
        _ => Err("a cast of one value".to_string()),
    }
}

fn widen(call: &Call<'_>) -> Result<ast::Expr, String> {
    let bytes = |data_type: &DataType| data_type.primitive_width().unwrap_or(0);
    if bytes(&call.expr.data_type) < bytes(call.args[0].data_type()) {
        return Err(format!("a cast to {} can fail", call.expr.data_type));
    }
    only_argument(call)
}

fn to_float(call: &Call<'_>) -> Result<ast::Expr, String> {
    match call.expr.data_type {
        DataType::Float64 => Ok(sql::cast(only_argument(call)?, ast::DataType::Real)),
        ref other => Err(format!("a cast to {other}")),
    }
}

/// An integer is the unscaled value of a decimal without fraction.
fn whole(call: &Call<'_>) -> Result<ast::Expr, String> {
    match is_whole(call.expr) {
        true => only_argument(call),
        false => Err(format!("a cast to {}", call.expr.data_type)),
    }
}

/// A decimal that is an integer of SQLite's.
fn is_whole(expr: &Expr) -> bool {
    match (&expr.kind, &expr.data_type) {
        (ExprKind::Cast { arg }, DataType::Decimal128(19.., 0)) => {
            Class::of(&arg.data_type) == Class::Int
        }
        _ => false,
    }
}

fn rescale(call: &Call<'_>) -> Result<ast::Expr, String> {
    match (call.args[0].data_type(), &call.expr.data_type) {
        (DataType::Decimal128(from, a), DataType::Decimal128(to, b))
            if *to <= INTEGER_DIGITS
                && b >= a
                && i16::from(*to) - i16::from(*b) >= i16::from(*from) - i16::from(*a) =>
        {
            let value = only_argument(call)?;
            Ok(match 10_i64.pow((b - a).unsigned_abs().into()) {
                1 => value,
                factor => sql::binary(value, ast::BinaryOperator::Multiply, sql::number(factor)),
            })
        }
        (from, to) => Err(format!("a cast of {from} to {to}")),
    }
}

fn date_to_timestamp(call: &Call<'_>) -> Result<ast::Expr, String> {
    match (call.args[0].data_type(), &call.expr.data_type) {
        (DataType::Date32, to) if *to == MICROSECONDS => Ok(sql::binary(
            only_argument(call)?,
            ast::BinaryOperator::Multiply,
            sql::number(86_400_000_000_i64),
        )),
        (from, to) => Err(format!("a cast of {from} to {to}")),
    }
}

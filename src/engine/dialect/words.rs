//! What PostgreSQL has words for, in those that DataFusion has.

use std::ops::ControlFlow;

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, CharacterLength, DataType, DateTimeField,
    ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, TimezoneInfo, Value, VisitMut, VisitorMut,
};

use crate::engine::system::build::{call, cast, folded, null, number, text};

/// Say a statement in DataFusion's words.
pub(in crate::engine) fn in_words(statement: &mut impl VisitMut) {
    // Nothing breaks off.
    let _ = statement.visit(&mut Words);
}

struct Words;

impl VisitorMut for Words {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { .. } => casts(expr),
            Expr::TypedString(typed) => known(&mut typed.data_type),
            Expr::Function(_) => functions(expr),
            Expr::AtTimeZone {
                timestamp,
                time_zone,
            } => {
                let (time, zone) = (taken(timestamp), taken(time_zone));
                *expr = call("timezone", vec![zone, time]);
            }
            Expr::SimilarTo { .. } => similar(expr),
            Expr::Extract {
                field: DateTimeField::Second | DateTimeField::Seconds,
                expr: time,
                ..
            } => *expr = seconds(taken(time)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn taken(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, null())
}

/// `float` is `double precision`, and `float(n)` is as exact as n bits are. Times are in microseconds: in nanoseconds, in which
/// DataFusion would have them, there is none before 1677 or after 2262.
fn known(data_type: &mut DataType) {
    match data_type {
        DataType::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => {
            *data_type = DataType::Real;
        }
        DataType::Float(_) => *data_type = DataType::DoublePrecision,
        DataType::Timestamp(digits @ None, _) => *digits = Some(6),
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(item, _)
            | ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => known(item),
        _ => {}
    }
}

fn casts(expr: &mut Expr) {
    let Expr::Cast {
        kind,
        expr: inner,
        data_type,
        ..
    } = expr
    else {
        return;
    };
    known(data_type);
    if !matches!(kind, CastKind::Cast | CastKind::DoubleColon) {
        return;
    }
    *expr = match data_type {
        DataType::Uuid => call("uuid_in", vec![as_text(inner)]),
        DataType::JSON | DataType::JSONB => call("json_in", vec![as_text(inner)]),
        DataType::Char(Some(length))
        | DataType::Character(Some(length))
        | DataType::Varchar(Some(length))
        | DataType::CharacterVarying(Some(length)) => {
            let Some(length) = characters(length) else {
                return;
            };
            call("left", vec![as_text(inner), number(length)])
        }
        _ => return,
    };
}

fn as_text(inner: &mut Expr) -> Expr {
    cast(taken(inner), DataType::Text)
}

fn characters(length: &CharacterLength) -> Option<i64> {
    match length {
        CharacterLength::IntegerLength { length, .. } => i64::try_from(*length).ok(),
        CharacterLength::Max => None,
    }
}

/// `a SIMILAR TO b` is `a ~ similar_to_escape(b)`.
fn similar(expr: &mut Expr) {
    let Expr::SimilarTo {
        negated,
        expr: value,
        pattern,
        escape_char,
    } = expr
    else {
        return;
    };
    let mut args = vec![taken(pattern)];
    args.extend(escape_char.take().map(Expr::Value));
    let op = match negated {
        true => BinaryOperator::PGRegexNotMatch,
        false => BinaryOperator::PGRegexMatch,
    };
    *expr = Expr::BinaryOp {
        left: Box::new(taken(value)),
        op,
        right: Box::new(call("similar_to_escape", args)),
    };
}

/// With what is less than a second.
fn seconds(time: Expr) -> Expr {
    let micros = call("date_part", vec![text("microsecond"), time]);
    binary(
        micros,
        BinaryOperator::Divide,
        Expr::Value(Value::Number("1000000.0".to_string(), false).into()),
    )
}

fn functions(expr: &mut Expr) {
    let Expr::Function(function) = expr else {
        return;
    };
    let name = folded(&function.name);
    let [name] = name.as_slice() else {
        return;
    };
    let renamed = match name.as_str() {
        "every" => "bool_and",
        "variance" => "var_samp",
        "sign" => "signum",
        "mod" | "div" | "date_trunc" | "to_timestamp" | "make_interval" => {
            if let Some(said) = said(name, function) {
                *expr = said;
            }
            return;
        }
        _ => return,
    };
    function.name = ObjectName::from(vec![Ident::new(renamed)]);
}

fn said(name: &str, function: &mut Function) -> Option<Expr> {
    if name == "make_interval" {
        return interval(function);
    }
    let args = positional(function)?;
    let nested = |expr| Expr::Nested(Box::new(expr));
    Some(match (name, <[Expr; 2]>::try_from(args.clone())) {
        ("mod", Ok([a, b])) => nested(binary(nested(a), BinaryOperator::Modulo, nested(b))),
        ("div", Ok([a, b])) => {
            let rest = binary(nested(a.clone()), BinaryOperator::Modulo, nested(b.clone()));
            let whole = binary(nested(a), BinaryOperator::Minus, nested(rest));
            nested(binary(nested(whole), BinaryOperator::Divide, nested(b)))
        }
        ("to_timestamp", Ok([value, pattern])) => cast(
            call("parse_timestamp", vec![value, pattern]),
            DataType::Timestamp(Some(6), TimezoneInfo::WithTimeZone),
        ),
        ("date_trunc", _) => {
            let [part, time, zone] = <[Expr; 3]>::try_from(args).ok()?;
            let local = call("timezone", vec![zone.clone(), time]);
            call(
                "timezone",
                vec![zone, call("date_trunc", vec![part, local])],
            )
        }
        _ => return None,
    })
}

/// The arguments of a plain call.
fn positional(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let args = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    args.collect()
}

/// `make_interval(days => 10, secs => 1.5)`
fn interval(function: &Function) -> Option<Expr> {
    const PARTS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let mut args = PARTS.map(|_| number(0));
    for (at, arg) in list.args.iter().enumerate() {
        let (at, value) = match arg {
            FunctionArg::Unnamed(value) => (Some(at), value),
            FunctionArg::Named { name, arg, .. } => {
                let name = belvedere_sql::fold(name);
                (PARTS.iter().position(|part| *part == name), arg)
            }
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg,
                ..
            } => {
                let name = belvedere_sql::fold(name);
                (PARTS.iter().position(|part| *part == name), arg)
            }
            FunctionArg::ExprNamed { .. } => return None,
        };
        let FunctionArgExpr::Expr(value) = value else {
            return None;
        };
        *args.get_mut(at?)? = value.clone();
    }
    Some(call("make_interval", args.to_vec()))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

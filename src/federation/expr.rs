//! The one translator from DataFusion's expressions to the connectors' algebra. It declines what the algebra cannot
//! say, naming it; what a *source* can answer is for its capabilities to say.

use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, DatePart, Expr, ExprKind, Function, Literal, SortKey,
    UnaryOp,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{self as df, ExprSchemable, Operator};

/// What the algebra cannot say, in words for `EXPLAIN`.
pub(super) type Declined = String;

/// A function that gives what it is given, of which it is not known that it is never NULL.
pub const OR_NULL: &str = "or_null";

/// Translate `expr` over an input of this schema.
pub(super) fn scalar(expr: &df::Expr, input: &DFSchema) -> Result<Expr, Declined> {
    let boxed = |e: &df::Expr| scalar(e, input).map(Box::new);
    let unary = |op, arg: &df::Expr| {
        Ok::<_, Declined>(ExprKind::Unary {
            op,
            arg: boxed(arg)?,
        })
    };
    let kind = match expr {
        df::Expr::Alias(alias) => return scalar(&alias.expr, input),
        df::Expr::Column(column) => ExprKind::Column(
            input
                .index_of_column(column)
                .map_err(|_| format!("column {column} is not in the input"))?,
        ),
        df::Expr::Literal(value, _) => return literal(value),
        // Of a statement that is prepared: what it is sent with has values instead.
        df::Expr::Placeholder(placeholder) if placeholder.field.is_some() => {
            let name = placeholder.id.trim_start_matches('$');
            ExprKind::Literal(Literal::Parameter(name.to_string()))
        }
        df::Expr::Not(arg) => unary(UnaryOp::Not, arg)?,
        df::Expr::Negative(arg) => unary(UnaryOp::Negate, arg)?,
        df::Expr::IsNull(arg) | df::Expr::IsUnknown(arg) => unary(UnaryOp::IsNull, arg)?,
        df::Expr::IsNotNull(arg) | df::Expr::IsNotUnknown(arg) => unary(UnaryOp::IsNotNull, arg)?,
        df::Expr::IsTrue(arg) => unary(UnaryOp::IsTrue, arg)?,
        df::Expr::IsNotTrue(arg) => unary(UnaryOp::IsNotTrue, arg)?,
        df::Expr::IsFalse(arg) => unary(UnaryOp::IsFalse, arg)?,
        df::Expr::IsNotFalse(arg) => unary(UnaryOp::IsNotFalse, arg)?,
        df::Expr::BinaryExpr(binary) => ExprKind::Binary {
            op: binary_op(binary.op)?,
            left: boxed(&binary.left)?,
            right: boxed(&binary.right)?,
        },
        df::Expr::Between(between) => return scalar(&spelled_out(between), input),
        df::Expr::InList(list) => ExprKind::InList {
            arg: boxed(&list.expr)?,
            list: scalars(&list.list, input)?,
            negated: list.negated,
        },
        df::Expr::Like(like) => ExprKind::Like {
            arg: boxed(&like.expr)?,
            pattern: boxed(&like.pattern)?,
            escape: like.escape_char,
            negated: like.negated,
            case_insensitive: like.case_insensitive,
        },
        df::Expr::Case(case) => {
            let branch = |(when, then): &(Box<df::Expr>, Box<df::Expr>)| {
                let when = match &case.expr {
                    Some(base) => base.as_ref().clone().eq(when.as_ref().clone()),
                    None => when.as_ref().clone(),
                };
                Ok::<_, Declined>((scalar(&when, input)?, scalar(then, input)?))
            };
            ExprKind::Case {
                branches: case
                    .when_then_expr
                    .iter()
                    .map(branch)
                    .collect::<Result<_, _>>()?,
                otherwise: case.else_expr.as_deref().map(boxed).transpose()?,
            }
        }
        df::Expr::Cast(cast) => ExprKind::Cast {
            arg: boxed(&cast.expr)?,
        },
        df::Expr::ScalarFunction(call) if call.name() == OR_NULL => {
            let [value] = call.args.as_slice() else {
                return Err(format!("{OR_NULL}() is of one value"));
            };
            let value = scalar(value, input)?;
            return Ok(Expr {
                nullable: true,
                ..value
            });
        }
        df::Expr::ScalarFunction(call) => call_of(call, input)?,
        df::Expr::ScalarSubquery(_) | df::Expr::InSubquery(_) | df::Expr::Exists(_) => {
            return Err("a subquery inside an expression".into());
        }
        other => {
            return Err(format!(
                "{} has no form in the algebra",
                other.variant_name()
            ));
        }
    };
    let data_type = expr.get_type(input).map_err(|e| e.to_string())?;
    let nullable = expr.nullable(input).map_err(|e| e.to_string())?;
    Ok(Expr {
        kind,
        data_type,
        nullable,
    })
}

pub(super) fn scalars(exprs: &[df::Expr], input: &DFSchema) -> Result<Vec<Expr>, Declined> {
    exprs.iter().map(|e| scalar(e, input)).collect()
}

pub(super) fn sort_key(sort: &Sort, input: &DFSchema) -> Result<SortKey, Declined> {
    Ok(SortKey {
        expr: scalar(&sort.expr, input)?,
        descending: !sort.asc,
        nulls_first: sort.nulls_first,
    })
}

/// Translate one aggregate of an `Aggregate` node.
pub(super) fn aggregate(expr: &df::Expr, input: &DFSchema) -> Result<Aggregate, Declined> {
    let data_type = expr.get_type(input).map_err(|e| e.to_string())?;
    let df::Expr::AggregateFunction(call) = expr.clone().unalias() else {
        return Err(format!("{} as an aggregate", expr.variant_name()));
    };
    let name = call.func.name().to_ascii_lowercase();
    let function = match name.as_str() {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "min" => AggregateFunction::Min,
        "max" => AggregateFunction::Max,
        "bool_and" => AggregateFunction::BoolAnd,
        "bool_or" => AggregateFunction::BoolOr,
        _ => return Err(format!("aggregate {name}() runs here")),
    };
    if !call.params.order_by.is_empty() || call.params.null_treatment.is_some() {
        return Err(format!("{name}() with ORDER BY or null treatment"));
    }
    let arg = match call.params.args.as_slice() {
        // count(1) counts rows.
        [df::Expr::Literal(value, _)]
            if function == AggregateFunction::Count && !value.is_null() =>
        {
            None
        }
        [arg] => Some(scalar(arg, input)?),
        args => return Err(format!("{name}() of {} arguments", args.len())),
    };
    if arg.is_none() && call.params.distinct {
        return Err("count(DISTINCT constant)".into());
    }
    if let Some(arg) = &arg
        && function == AggregateFunction::Sum
        && arg.data_type.is_floating()
    {
        return Err("a sum of floats depends on the order of its rows".into());
    }
    Ok(Aggregate {
        function,
        arg,
        distinct: call.params.distinct,
        filter: call
            .params
            .filter
            .as_deref()
            .map(|f| scalar(f, input))
            .transpose()?,
        data_type,
    })
}

fn spelled_out(between: &df::Between) -> df::Expr {
    let arg = || between.expr.as_ref().clone();
    let (low, high) = (between.low.as_ref().clone(), between.high.as_ref().clone());
    if between.negated {
        arg().lt(low).or(arg().gt(high))
    } else {
        arg().gt_eq(low).and(arg().lt_eq(high))
    }
}

fn binary_op(op: Operator) -> Result<BinaryOp, Declined> {
    Ok(match op {
        Operator::Eq => BinaryOp::Eq,
        Operator::NotEq => BinaryOp::NotEq,
        Operator::Lt => BinaryOp::Lt,
        Operator::LtEq => BinaryOp::LtEq,
        Operator::Gt => BinaryOp::Gt,
        Operator::GtEq => BinaryOp::GtEq,
        Operator::IsDistinctFrom => BinaryOp::IsDistinctFrom,
        Operator::IsNotDistinctFrom => BinaryOp::IsNotDistinctFrom,
        Operator::And => BinaryOp::And,
        Operator::Or => BinaryOp::Or,
        Operator::Plus => BinaryOp::Plus,
        Operator::Minus => BinaryOp::Minus,
        Operator::Multiply => BinaryOp::Multiply,
        Operator::Divide => BinaryOp::Divide,
        Operator::Modulo => BinaryOp::Modulo,
        Operator::StringConcat => BinaryOp::Concat,
        other => return Err(format!("operator {other} has no form in the algebra")),
    })
}

fn call_of(call: &df::expr::ScalarFunction, input: &DFSchema) -> Result<ExprKind, Declined> {
    let name = call.name();
    let mut args = call.args.as_slice();
    let mut part = || -> Result<DatePart, Declined> {
        let declined = || format!("{name}() of a part the algebra cannot say");
        let [df::Expr::Literal(value, _), rest @ ..] = args else {
            return Err(declined());
        };
        args = rest;
        value
            .try_as_str()
            .flatten()
            .and_then(date_part)
            .ok_or_else(declined)
    };
    let function = match name {
        "abs" => Function::Abs,
        "average" => Function::Average,
        "ceil" => Function::Ceil,
        "floor" => Function::Floor,
        "round" => Function::Round,
        "coalesce" => Function::Coalesce,
        "nullif" => Function::NullIf,
        "lower" => Function::Lower,
        "upper" => Function::Upper,
        "character_length" => Function::CharacterLength,
        "octet_length" => Function::OctetLength,
        "substr" => Function::Substring,
        "btrim" => Function::Trim,
        "ltrim" => Function::LeftTrim,
        "rtrim" => Function::RightTrim,
        "left" => Function::Left,
        "right" => Function::Right,
        "strpos" => Function::StrPos,
        "starts_with" => Function::StartsWith,
        "ends_with" => Function::EndsWith,
        "replace" => Function::Replace,
        "concat" => Function::Concat,
        "date_part" => Function::DatePart(part()?),
        "date_trunc" => Function::DateTrunc(part()?),
        _ => return Err(format!("function {name}() has no form in the algebra")),
    };
    Ok(ExprKind::Call {
        function,
        args: scalars(args, input)?,
    })
}

fn date_part(name: &str) -> Option<DatePart> {
    Some(match name.to_ascii_lowercase().as_str() {
        "year" => DatePart::Year,
        "quarter" => DatePart::Quarter,
        "month" => DatePart::Month,
        "week" => DatePart::Week,
        "day" => DatePart::Day,
        "dow" => DatePart::DayOfWeek,
        "doy" => DatePart::DayOfYear,
        "hour" => DatePart::Hour,
        "minute" => DatePart::Minute,
        "second" => DatePart::Second,
        _ => return None,
    })
}

pub(super) fn literal(value: &ScalarValue) -> Result<Expr, Declined> {
    use ScalarValue as S;
    let data_type = value.data_type();
    if value.is_null() {
        return Ok(Expr::literal(Literal::Null, data_type));
    }
    let literal = match value {
        S::Null => Literal::Null,
        S::Boolean(Some(v)) => Literal::Boolean(*v),
        S::Int8(Some(v)) => Literal::Int((*v).into()),
        S::Int16(Some(v)) => Literal::Int((*v).into()),
        S::Int32(Some(v)) | S::Date32(Some(v)) | S::Time32Second(Some(v)) => {
            Literal::Int((*v).into())
        }
        S::Int64(Some(v))
        | S::Time64Microsecond(Some(v))
        | S::Time64Nanosecond(Some(v))
        | S::TimestampSecond(Some(v), _)
        | S::TimestampMillisecond(Some(v), _)
        | S::TimestampMicrosecond(Some(v), _)
        | S::TimestampNanosecond(Some(v), _) => Literal::Int(*v),
        S::UInt8(Some(v)) => Literal::UInt((*v).into()),
        S::UInt16(Some(v)) => Literal::UInt((*v).into()),
        S::UInt32(Some(v)) => Literal::UInt((*v).into()),
        S::UInt64(Some(v)) => Literal::UInt(*v),
        S::Float32(Some(v)) => Literal::Float((*v).into()),
        S::Float64(Some(v)) => Literal::Float(*v),
        S::Decimal128(Some(v), _, _) => Literal::Decimal(*v),
        S::Utf8(Some(v)) | S::Utf8View(Some(v)) | S::LargeUtf8(Some(v)) => Literal::Text(v.clone()),
        S::Binary(Some(v)) | S::BinaryView(Some(v)) | S::LargeBinary(Some(v)) => {
            Literal::Binary(v.clone())
        }
        S::IntervalMonthDayNano(Some(v)) => Literal::Interval {
            months: v.months,
            days: v.days,
            nanos: v.nanoseconds,
        },
        S::IntervalYearMonth(Some(v)) => Literal::Interval {
            months: *v,
            days: 0,
            nanos: 0,
        },
        S::IntervalDayTime(Some(v)) => Literal::Interval {
            months: 0,
            days: v.days,
            nanos: i64::from(v.milliseconds) * 1_000_000,
        },
        _ => return Err(format!("a constant of type {data_type}")),
    };
    Ok(Expr::literal(literal, data_type))
}

/// Whether rows can be ordered by values of this type.
pub(super) fn is_sortable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_sortable(value),
        DataType::Interval(_) => false,
        other => !other.is_nested(),
    }
}

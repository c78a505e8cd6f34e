//! Pieces of SQL.

use sqlparser::ast::{
    Array, ArrayElemTypeDef, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, OrderByExpr, Value,
};

pub(in crate::engine) fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

pub(in crate::engine) fn number(number: i64) -> Expr {
    Expr::Value(Value::Number(number.to_string(), false).into())
}

pub(in crate::engine) fn boolean(truth: bool) -> Expr {
    Expr::Value(Value::Boolean(truth).into())
}

pub(in crate::engine) fn text(text: impl Into<String>) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.into()).into())
}

/// The text, if an expression is one.
pub(in crate::engine) fn as_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        Expr::Nested(inner) => as_text(inner),
        _ => None,
    }
}

pub(in crate::engine) fn call(name: &str, args: Vec<Expr>) -> Expr {
    ordered_call(name, args, Vec::new())
}

/// `name(args ORDER BY order)`
pub(in crate::engine) fn ordered_call(
    name: &str,
    args: Vec<Expr>,
    order: Vec<OrderByExpr>,
) -> Expr {
    let args = args
        .into_iter()
        .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    let clauses = match order.is_empty() {
        true => Vec::new(),
        false => vec![FunctionArgumentClause::OrderBy(order)],
    };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses,
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

pub(in crate::engine) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

pub(in crate::engine) fn array(elem: Vec<Expr>) -> Expr {
    Expr::Array(Array { elem, named: true })
}

pub(in crate::engine) fn array_of(data_type: DataType) -> DataType {
    DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(data_type), None))
}

/// The parts of a name, folded.
pub(in crate::engine) fn folded(name: &ObjectName) -> Vec<String> {
    let parts = name.0.iter().filter_map(ObjectNamePart::as_ident);
    parts.map(belvedere_sql::fold).collect()
}

/// The items that stand in an array's text: `{a,"b c",NULL}`.
pub(in crate::engine) fn items(text: &str) -> Option<Vec<Option<String>>> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inside.trim().is_empty() {
        return Some(items);
    }
    let mut chars = inside.chars();
    let (mut item, mut quoted, mut was_quoted) = (String::new(), false, false);
    let mut end = |item: &mut String, was_quoted: &mut bool| {
        let is_null = !*was_quoted && item.trim().eq_ignore_ascii_case("null");
        let text = match *was_quoted {
            true => std::mem::take(item),
            false => std::mem::take(item).trim().to_string(),
        };
        *was_quoted = false;
        items.push((!is_null).then_some(text));
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' => item.extend(chars.next()),
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            ',' if !quoted => end(&mut item, &mut was_quoted),
            // Arrays of arrays are left as they are.
            '{' | '}' if !quoted => return None,
            c => item.push(c),
        }
    }
    end(&mut item, &mut was_quoted);
    (!quoted).then_some(items)
}

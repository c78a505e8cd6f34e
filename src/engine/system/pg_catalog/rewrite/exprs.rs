//! Types, names of functions, operators, arrays.

use sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, DataType, Expr, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, SelectItem, SetExpr,
    Subscript,
};

use super::build::{
    array, array_of, as_text, boolean, call, cast, folded, items, null, number, text,
};
use crate::catalog::{INFORMATION_SCHEMA, PG_CATALOG};
use crate::engine::system::pg_catalog::is_boolean;

pub(super) fn rewrite(expr: &mut Expr) {
    match expr {
        Expr::Cast { .. } => casts(expr),
        Expr::Function(_) => functions(expr),
        Expr::Collate {
            expr: inner,
            collation,
        } if is_by_bytes(collation) => *expr = std::mem::replace(inner, null()),
        Expr::BinaryOp { left, op, right } => {
            operator(op);
            truths(left, op, right);
        }
        Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => array_text(right),
        Expr::CompoundFieldAccess { root, access_chain } => {
            places(root, access_chain);
            fields(expr);
        }
        Expr::Identifier(name)
            if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("current_schema") =>
        {
            *expr = call("current_schema", Vec::new());
        }
        _ => {}
    }
}

/// Whether a collation is the one there is: another stays, and is refused.
fn is_by_bytes(collation: &ObjectName) -> bool {
    let name = folded(collation).pop();
    name.is_some_and(|name| matches!(name.as_str(), "default" | "C" | "POSIX" | "ucs_basic"))
}

/// The types that are names of things: what reads one, and what shows it.
const NAMES: &[(&str, &str, &str)] = &[
    ("regclass", "regclassin", "regclassout"),
    ("regtype", "regtypein", "regtypeout"),
    ("regnamespace", "regnamespacein", "regnamespaceout"),
    ("regproc", "regprocin", "regprocout"),
    ("regprocedure", "regprocin", "regprocout"),
    ("regrole", "regrolein", "regroleout"),
];

/// `'x'::regclass` is a number, `'x'::regclass::text` a name again.
fn casts(expr: &mut Expr) {
    let Expr::Cast {
        expr: inner,
        data_type,
        ..
    } = expr
    else {
        return;
    };
    if let Some(known) = named(data_type) {
        let inner = std::mem::replace(&mut **inner, null());
        *expr = call(known.1, vec![inner]);
        return;
    }
    if let Some(known) = known_type(data_type) {
        *data_type = known;
    }
    let is_text = matches!(
        data_type,
        DataType::Text | DataType::Varchar(_) | DataType::String(_) | DataType::CharacterVarying(_)
    );
    if is_text && let Some(shown) = shown(inner) {
        *expr = shown;
        return;
    }
    if let DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)) = data_type
        && let Some(values) = as_text(inner).and_then(items)
    {
        let values = values.into_iter().map(|value| match value {
            Some(value) => cast(text(value), (**item).clone()),
            None => null(),
        });
        let values: Vec<Expr> = values.collect();
        **inner = array(values);
    }
}

fn named(data_type: &DataType) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let name = match data_type {
        DataType::Regclass => "regclass".to_string(),
        DataType::Custom(name, _) => folded(name).pop()?,
        _ => return None,
    };
    NAMES.iter().find(|(known, _, _)| *known == name)
}

/// Whether a type is one of the names of things.
pub(super) fn is_name(data_type: &DataType) -> bool {
    named(data_type).is_some()
}

/// What shows the thing that an expression reads the name of.
fn shown(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Nested(inner) => shown(inner),
        Expr::Function(function) => {
            let name = folded(&function.name).pop()?;
            let known = NAMES.iter().find(|(_, reads, _)| *reads == name)?;
            Some(call(known.2, vec![expr.clone()]))
        }
        _ => None,
    }
}

/// Where the answer itself is such a name, it is shown.
pub(super) fn show_names(query: &mut Query) {
    fn of(body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => {
                for item in &mut select.projection {
                    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) =
                        item
                    else {
                        continue;
                    };
                    if let Some(shown) = shown(expr) {
                        *expr = shown;
                    }
                }
            }
            SetExpr::SetOperation { left, right, .. } => {
                of(left);
                of(right);
            }
            SetExpr::Query(query) => of(&mut query.body),
            _ => {}
        }
    }
    of(&mut query.body);
}

/// The type that DataFusion has for one of PostgreSQL's. None: it may know it itself.
fn known_type(data_type: &DataType) -> Option<DataType> {
    let name = match data_type {
        DataType::Custom(name, _) => folded(name).pop()?,
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)) => {
            let item = match named(item) {
                Some(_) => DataType::BigInt(None),
                None => known_type(item)?,
            };
            return Some(array_of(item));
        }
        _ => return None,
    };
    let of_array = name.strip_prefix('_');
    let known = match of_array.unwrap_or(&name) {
        "text" | "name" | "char" | "bpchar" | "varchar" | "character_data" | "sql_identifier"
        | "yes_or_no" | "citext" | "cstring" | "unknown" | "json" | "jsonb" | "xml" | "uuid"
        | "inet" | "cidr" | "macaddr" | "pg_node_tree" | "aclitem" | "refcursor" | "money"
        | "anyarray" | "time_stamp" => DataType::Text,
        "oid" | "xid" | "cid" | "xid8" | "int8" => DataType::BigInt(None),
        "int4" | "cardinal_number" => DataType::Int(None),
        "int2" => DataType::SmallInt(None),
        "int2vector" => array_of(DataType::SmallInt(None)),
        "oidvector" => array_of(DataType::BigInt(None)),
        "float4" => DataType::Real,
        "float8" => DataType::Double(sqlparser::ast::ExactNumberInfo::None),
        "bool" => DataType::Boolean,
        "numeric" => DataType::Numeric(sqlparser::ast::ExactNumberInfo::None),
        "bytea" => DataType::Bytea,
        "date" => DataType::Date,
        "timestamp" => DataType::Timestamp(None, sqlparser::ast::TimezoneInfo::None),
        "timestamptz" => DataType::Timestamp(None, sqlparser::ast::TimezoneInfo::WithTimeZone),
        _ => return None,
    };
    Some(match of_array {
        Some(_) => array_of(known),
        None => known,
    })
}

/// Functions that give rows in PostgreSQL, and lists here.
const LISTS: &[&str] = &["generate_subscripts", "_pg_expandarray"];

/// The schema before a function's name means nothing here.
fn functions(expr: &mut Expr) {
    let Expr::Function(function) = expr else {
        return;
    };
    let mut name = folded(&function.name);
    if let [.., schema, _] = name.as_slice()
        && (schema == PG_CATALOG || schema == INFORMATION_SCHEMA)
        && let Some(last) = name.pop()
    {
        function.name = ObjectName::from(vec![Ident::new(last)]);
    }
    let name = folded(&function.name);
    let [name] = name.as_slice() else {
        return;
    };
    let without = matches!(function.args, FunctionArguments::None);
    if without && crate::engine::system::pg_catalog::functions::is_known(name) {
        function.args = FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: Vec::new(),
            clauses: Vec::new(),
        });
    }
    if name == "coalesce" {
        empty_lists(&mut function.args);
        return;
    }
    if LISTS.contains(&name.as_str()) {
        let list = std::mem::replace(expr, null());
        *expr = call("unnest", vec![list]);
    }
}

/// `coalesce(list, '{}')`
fn empty_lists(args: &mut FunctionArguments) {
    let FunctionArguments::List(list) = args else {
        return;
    };
    for arg in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg
            && as_text(expr) == Some("{}")
        {
            *expr = array(Vec::new());
        }
    }
}

/// `indisprimary = 't'`
fn truths(left: &mut Expr, op: &BinaryOperator, right: &mut Expr) {
    if !matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq) || !is_boolean_column(left) {
        return;
    }
    let truth = match as_text(right) {
        Some("t" | "true" | "1") => true,
        Some("f" | "false" | "0") => false,
        _ => return,
    };
    *right = boolean(truth);
}

/// Whether the catalog has a column of this name that is true or false.
fn is_boolean_column(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    name.is_some_and(|name| is_boolean(&belvedere_sql::fold(name)))
}

/// `OPERATOR(pg_catalog.~)`
fn operator(op: &mut BinaryOperator) {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else {
        return;
    };
    let known = match parts.last().map(String::as_str) {
        Some("~") => BinaryOperator::PGRegexMatch,
        Some("~*") => BinaryOperator::PGRegexIMatch,
        Some("!~") => BinaryOperator::PGRegexNotMatch,
        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
        Some("~~") => BinaryOperator::PGLikeMatch,
        Some("~~*") => BinaryOperator::PGILikeMatch,
        Some("!~~") => BinaryOperator::PGNotLikeMatch,
        Some("!~~*") => BinaryOperator::PGNotILikeMatch,
        Some("=") => BinaryOperator::Eq,
        Some("<>") => BinaryOperator::NotEq,
        Some("<") => BinaryOperator::Lt,
        Some("<=") => BinaryOperator::LtEq,
        Some(">") => BinaryOperator::Gt,
        Some(">=") => BinaryOperator::GtEq,
        Some("+") => BinaryOperator::Plus,
        Some("-") => BinaryOperator::Minus,
        Some("*") => BinaryOperator::Multiply,
        Some("/") => BinaryOperator::Divide,
        Some("||") => BinaryOperator::StringConcat,
        _ => return,
    };
    *op = known;
}

/// `= ANY ('{r,v}')`
fn array_text(right: &mut Expr) {
    if let Expr::Nested(inner) = right {
        return array_text(inner);
    }
    if let Some(values) = as_text(right).and_then(items) {
        let values = values
            .into_iter()
            .map(|value| value.map_or_else(null, text));
        *right = array(values.collect());
    }
}

/// Columns that are lists whose first place is 0.
const VECTORS: &[&str] = &[
    "indclass",
    "indcollation",
    "indkey",
    "indoption",
    "partattrs",
    "partclass",
    "prattrs",
    "proargtypes",
    "stxkeys",
    "tgattr",
];

/// `i.indkey[0]`
fn places(root: &Expr, access_chain: &mut [AccessExpr]) {
    let column = match root {
        Expr::Identifier(name) => Some(name.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().cloned(),
        _ => None,
    };
    let mut column = column.map(|name| belvedere_sql::fold(&name));
    for access in access_chain {
        match access {
            AccessExpr::Dot(Expr::Identifier(name)) => column = Some(belvedere_sql::fold(name)),
            AccessExpr::Subscript(Subscript::Index { index })
                if column.take().is_some_and(|c| VECTORS.contains(&c.as_str())) =>
            {
                *index = Expr::BinaryOp {
                    left: Box::new(Expr::Nested(Box::new(index.clone()))),
                    op: BinaryOperator::Plus,
                    right: Box::new(number(1)),
                };
            }
            _ => column = None,
        }
    }
}

/// `(f(x)).n`
fn fields(expr: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else {
        return;
    };
    let all = access_chain.iter().map(|access| match access {
        AccessExpr::Dot(Expr::Identifier(name)) => Some(belvedere_sql::fold(name)),
        _ => None,
    });
    let Some(all) = all.collect::<Option<Vec<String>>>() else {
        return;
    };
    let root = match std::mem::replace(&mut **root, null()) {
        Expr::Nested(inner) => *inner,
        root => root,
    };
    *expr = all.into_iter().fold(root, |root, field| {
        call("get_field", vec![root, text(field)])
    });
}

/// Columns that every table of PostgreSQL has besides its own: `xmin` says when a row was last changed.
pub(super) fn system_column(expr: &mut Expr) {
    let name = match expr {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(name) => name,
            None => return,
        },
        _ => return,
    };
    if name.quote_style.is_some() {
        return;
    }
    match name.value.to_ascii_lowercase().as_str() {
        "xmin" | "xmax" => *expr = cast(number(1), DataType::BigInt(None)),
        "ctid" => *expr = text("(0,1)"),
        _ => {}
    }
}

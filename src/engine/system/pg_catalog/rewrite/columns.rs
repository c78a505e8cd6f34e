//! What columns are called: as PostgreSQL calls them, and no two computed ones the same, which DataFusion refuses.

use std::collections::HashSet;

use sqlparser::ast::{
    AccessExpr, DataType, Expr, Ident, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, TimezoneInfo, TrimWhereField,
};

use super::build::folded;

pub(super) fn name(select: &mut Select) {
    let mut taken: HashSet<String> = HashSet::new();
    for item in &select.projection {
        if let SelectItem::ExprWithAlias { alias, .. } = item {
            taken.insert(belvedere_sql::fold(alias));
        }
    }
    let wildcards = wildcards(select);
    let mut selected: HashSet<Vec<String>> = HashSet::new();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else {
            continue;
        };
        let name = match expr {
            // `SELECT n.oid, n.*` has one column twice.
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] if wildcards.contains(&belvedere_sql::fold(table)) => {
                    format!("{}_", belvedere_sql::fold(column))
                }
                parts => {
                    let parts: Vec<String> = parts.iter().map(belvedere_sql::fold).collect();
                    let name = parts.last().cloned().unwrap_or_default();
                    if selected.insert(parts) {
                        continue;
                    }
                    format!("{name}_")
                }
            },
            Expr::Identifier(name) if wildcards.contains("") => {
                format!("{}_", belvedere_sql::fold(name))
            }
            Expr::Identifier(_) => continue,
            _ => called(expr).unwrap_or_else(|| "?column?".to_string()),
        };
        let mut unique = name.clone();
        let mut count = 0;
        while !taken.insert(unique.clone()) {
            count += 1;
            unique = format!("{name}_{count}");
        }
        *item = SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: Ident::with_quote('"', unique),
        };
    }
}

/// The tables of which all columns are selected; an empty name: those of all.
fn wildcards(select: &Select) -> HashSet<String> {
    let all = select.projection.iter().filter_map(|item| match item {
        SelectItem::Wildcard(_) => Some(String::new()),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            folded(name).pop()
        }
        _ => None,
    });
    all.collect()
}

/// What PostgreSQL calls the column that an expression makes. None: `?column?`.
pub(in crate::engine) fn called(expr: &Expr) -> Option<String> {
    named(expr).map(|(name, _)| name)
}

/// The name, and whether it is the expression's own: a type's, and `case`, give way to what is around them.
fn named(expr: &Expr) -> Option<(String, bool)> {
    let own = |name: &str| Some((name.to_string(), true));
    match expr {
        Expr::Identifier(name) => Some((belvedere_sql::fold(name), true)),
        Expr::CompoundIdentifier(parts) => Some((belvedere_sql::fold(parts.last()?), true)),
        Expr::Function(function) => Some((folded(&function.name).pop()?, true)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => named(inner),
        Expr::Cast {
            expr, data_type, ..
        } => named(expr)
            .filter(|(_, is_own)| *is_own)
            .or_else(|| Some((type_name(data_type), false))),
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), false)),
        Expr::Interval(_) => Some(("interval".to_string(), false)),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(name))) => {
                Some((belvedere_sql::fold(name), true))
            }
            Some(AccessExpr::Subscript(_)) => named(root),
            _ => None,
        },
        Expr::Case { else_result, .. } => {
            let other = else_result.as_deref().and_then(named);
            other
                .filter(|(_, is_own)| *is_own)
                .or_else(|| Some(("case".to_string(), false)))
        }
        Expr::Exists { .. } => own("exists"),
        Expr::Array(_) => own("array"),
        Expr::Trim { trim_where, .. } => own(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Substring { .. } => own("substring"),
        Expr::Extract { .. } => own("extract"),
        Expr::Position { .. } => own("position"),
        Expr::AtTimeZone { .. } => own("timezone"),
        Expr::Ceil { .. } => own("ceil"),
        Expr::Floor { .. } => own("floor"),
        Expr::Overlay { .. } => own("overlay"),
        Expr::Tuple(_) => own("row"),
        Expr::Subquery(query) => match &*query.body {
            SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) => named(expr),
                SelectItem::ExprWithAlias { alias, .. } => Some((belvedere_sql::fold(alias), true)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Custom(name, _) => folded(name).pop().unwrap_or_default(),
        DataType::Regclass => "regclass".to_string(),
        DataType::Text => "text".to_string(),
        DataType::Boolean | DataType::Bool => "bool".to_string(),
        DataType::Int(_) | DataType::Integer(_) => "int4".to_string(),
        DataType::BigInt(_) => "int8".to_string(),
        DataType::SmallInt(_) => "int2".to_string(),
        DataType::Real | DataType::Float4 => "float4".to_string(),
        DataType::Double(_) | DataType::DoublePrecision | DataType::Float8 | DataType::Float(_) => {
            "float8".to_string()
        }
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric".to_string(),
        DataType::Varchar(_) | DataType::CharacterVarying(_) => "varchar".to_string(),
        DataType::Char(_) | DataType::Character(_) => "bpchar".to_string(),
        DataType::Timestamp(_, zone) => match zone {
            TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => "timestamptz".to_string(),
            _ => "timestamp".to_string(),
        },
        DataType::Time(..) => "time".to_string(),
        other => other.to_string().to_ascii_lowercase(),
    }
}

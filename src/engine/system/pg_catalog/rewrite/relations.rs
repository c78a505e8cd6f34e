//! Functions in `FROM`.

use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, Select, SelectItem,
    TableAlias, TableAliasColumnDef, TableFactor, VisitMut, VisitorMut,
};

use super::build::{boolean, cast, folded, null, number};
use crate::catalog::{INFORMATION_SCHEMA, PG_CATALOG};
use crate::engine::system::pg_catalog::{number_of, table};

/// Functions that give rows in PostgreSQL and never have any here, with their columns.
const EMPTY: &[(&str, &[&str])] = &[
    (
        "aclexplode",
        &["grantor", "grantee", "privilege_type", "is_grantable"],
    ),
    ("pg_event_trigger_dropped_objects", &["objid"]),
    (
        "pg_get_keywords",
        &["word", "catcode", "barelabel", "catdesc", "baredesc"],
    ),
    ("pg_options_to_table", &["option_name", "option_value"]),
    ("pg_partition_ancestors", &["relid"]),
    (
        "pg_partition_tree",
        &["relid", "parentrelid", "isleaf", "level"],
    ),
    ("pg_show_all_settings", &["name", "setting"]),
    ("pg_stat_get_wal_senders", &["pid"]),
];

/// The name and arguments of a function in `FROM`.
fn function(factor: &TableFactor) -> Option<(Vec<String>, &[FunctionArg])> {
    match factor {
        TableFactor::Table {
            name,
            args: Some(args),
            ..
        } => Some((folded(name), &args.args)),
        TableFactor::Function { name, args, .. } => Some((folded(name), args)),
        _ => None,
    }
}

fn plain_name(name: &[String]) -> Option<&str> {
    match name {
        [name] => Some(name),
        [.., schema, name] if schema == PG_CATALOG || schema == INFORMATION_SCHEMA => Some(name),
        _ => None,
    }
}

pub(super) fn is_ours(factor: &TableFactor) -> bool {
    function(factor).is_some_and(|(name, _)| {
        name.len() > 1
            || plain_name(&name).is_some_and(|name| EMPTY.iter().any(|(empty, _)| *empty == name))
    })
}

pub(super) fn rewrite(factor: &mut TableFactor) {
    let Some((name, args)) = function(factor) else {
        return;
    };
    let Some(name) = plain_name(&name) else {
        return;
    };
    let name = name.to_string();
    if let Some((_, columns)) = EMPTY.iter().find(|(empty, _)| *empty == name) {
        let alias = alias(factor).unwrap_or_else(|| named(&name));
        *factor = nothing(columns, alias);
        return;
    }
    if name == "unnest" {
        let arrays = args.iter().filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        });
        *factor = TableFactor::UNNEST {
            array_exprs: arrays.collect(),
            alias: alias(factor),
            with_offset: false,
            with_offset_alias: None,
            with_ordinality: false,
        };
        return;
    }
    if let TableFactor::Table { name: written, .. } | TableFactor::Function { name: written, .. } =
        factor
    {
        *written = ObjectName::from(vec![Ident::new(name)]);
    }
}

/// PostgreSQL calls the column of a list's rows as the table.
pub(super) fn name_rows(factor: &mut TableFactor) {
    let TableFactor::UNNEST {
        alias, array_exprs, ..
    } = factor
    else {
        return;
    };
    if array_exprs.len() != 1 {
        return;
    }
    let alias = alias.get_or_insert_with(|| named("unnest"));
    if alias.columns.is_empty() {
        alias.columns = vec![TableAliasColumnDef {
            name: alias.name.clone(),
            data_type: None,
        }];
    }
}

/// `c.tableoid`: the number of the table that a row is of.
pub(super) fn table_numbers(select: &mut Select) {
    struct Numbers(Vec<(String, i64)>);
    impl VisitorMut for Numbers {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let found = match &*expr {
                Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                    [.., of, name] if name.value.eq_ignore_ascii_case("tableoid") => {
                        let of = belvedere_sql::fold(of);
                        self.0.iter().find(|(alias, _)| *alias == of)
                    }
                    _ => None,
                },
                Expr::Identifier(name) if name.value.eq_ignore_ascii_case("tableoid") => {
                    self.0.first().filter(|_| self.0.len() == 1)
                }
                _ => None,
            };
            if let Some((_, oid)) = found {
                *expr = number(*oid);
            }
            ControlFlow::Continue(())
        }
    }
    let factors = select.from.iter().flat_map(|from| {
        std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
    });
    let tables = factors.filter_map(|factor| {
        let name = catalog_table(factor)?;
        let number = number_of(&name)?;
        let alias = match factor {
            TableFactor::Table { alias, .. } => alias.as_ref(),
            _ => None,
        };
        Some((
            alias.map_or(name, |alias| belvedere_sql::fold(&alias.name)),
            number,
        ))
    });
    let mut numbers = Numbers(tables.collect());
    if !numbers.0.is_empty() {
        // What is selected is called as it was.
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) = item
                && let Some(last) = parts.last()
                && last.value.eq_ignore_ascii_case("tableoid")
            {
                *item = SelectItem::ExprWithAlias {
                    alias: last.clone(),
                    expr: Expr::CompoundIdentifier(parts.clone()),
                };
            }
        }
        let _ = select.visit(&mut numbers);
    }
}

/// The name of the catalog's table that stands in `FROM`.
pub(super) fn catalog_table(factor: &TableFactor) -> Option<String> {
    let TableFactor::Table {
        name, args: None, ..
    } = factor
    else {
        return None;
    };
    let mut name = folded(name);
    let last = name.pop()?;
    let is_ours = match name.last() {
        None => last.starts_with("pg_"),
        Some(schema) => schema == PG_CATALOG,
    };
    (is_ours && table(&last).is_some()).then_some(last)
}

fn alias(factor: &TableFactor) -> Option<TableAlias> {
    match factor {
        TableFactor::Table { alias, .. } | TableFactor::Function { alias, .. } => alias.clone(),
        _ => None,
    }
}

fn named(name: &str) -> TableAlias {
    TableAlias {
        explicit: true,
        name: Ident::new(name),
        columns: Vec::new(),
        at: None,
    }
}

/// `(SELECT NULL AS a, … WHERE false) AS alias`
fn nothing(columns: &[&str], mut alias: TableAlias) -> TableFactor {
    // WITH ORDINALITY has one more.
    let more = alias.columns.len().saturating_sub(columns.len());
    let more = (0..more).map(|i| format!("ordinality{i}"));
    let columns = columns.iter().map(|name| (*name).to_string()).chain(more);
    let items: Vec<SelectItem> = columns
        .enumerate()
        .map(|(at, column)| {
            let told = alias.columns.get(at).map(|told| told.name.clone());
            SelectItem::ExprWithAlias {
                expr: match at {
                    0 => cast(null(), DataType::Text),
                    _ => null(),
                },
                alias: told.unwrap_or_else(|| Ident::new(column)),
            }
        })
        .collect();
    alias.columns = Vec::new();
    TableFactor::Derived {
        lateral: false,
        subquery: Box::new(select(items, boolean(false))),
        alias: Some(alias),
        sample: None,
    }
}

fn select(projection: Vec<SelectItem>, condition: Expr) -> Query {
    let mut select = empty_select();
    select.projection = projection;
    select.selection = Some(condition);
    Query {
        with: None,
        body: Box::new(sqlparser::ast::SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

fn empty_select() -> sqlparser::ast::Select {
    sqlparser::ast::Select {
        select_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: Vec::new(),
        exclude: None,
        into: None,
        from: Vec::new(),
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: sqlparser::ast::GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: sqlparser::ast::SelectFlavor::Standard,
    }
}

//! Guards that say nothing new.
//!
//! A guard (`must_be_integer(x)`) raises an error for a row that is given although its x does not fit. So does reading x, if
//! it is one of the columns that are given, and so does a text function that every row must have passed.

use belvedere_connector::Rel;
use belvedere_sqlgen::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Select, SelectItem, SetExpr,
    TableFactor, UnaryOperator,
};
use belvedere_sqlgen::{Facts, Rendered, sql};

use crate::ranges::conjuncts;

/// Leave them out of a statement that gives rows of one table as they are.
pub fn spare(rendered: &mut Rendered, rel: &Rel) {
    if !rel.is_row_wise() {
        return;
    }
    if let Some(select) = rows_of_table(&mut rendered.query)
        && let Some(condition) = select.selection.take()
    {
        let all = conjuncts(condition);
        let is_spare = |condition: &Expr| {
            guarded(condition, "must_be_").is_some_and(|column| {
                is_read(column, &select.projection, &rendered.columns)
                    || all.iter().any(|other| is_text_test(other, column))
            })
        };
        let left: Vec<Expr> = all.iter().filter(|one| !is_spare(one)).cloned().collect();
        select.selection = sql::all(left);
        rendered.sql = rendered.query.to_string();
    }
}

fn rows_of_table(query: &mut Query) -> Option<&mut Select> {
    if query.order_by.is_some() || query.limit_clause.is_some() {
        return None;
    }
    match query.body.as_mut() {
        SetExpr::Select(select) => match &select.from[..] {
            [from] if matches!(from.relation, TableFactor::Table { .. }) => Some(select),
            _ => None,
        },
        _ => None,
    }
}

/// The column of `prefix…(column …)`.
fn guarded<'a>(condition: &'a Expr, prefix: &str) -> Option<&'a Expr> {
    match condition {
        Expr::Nested(inner) => guarded(inner, prefix),
        Expr::Function(function) if function.name.to_string().starts_with(prefix) => {
            let FunctionArguments::List(list) = &function.args else {
                return None;
            };
            match list.args.first()? {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(column)) => Some(column),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Its stored value is one of those that a row has.
fn is_read(column: &Expr, projection: &[SelectItem], facts: &[Facts]) -> bool {
    projection.iter().zip(facts).any(|(item, facts)| {
        facts.native_type.is_some()
            && matches!(item, SelectItem::UnnamedExpr(given) if given == column)
    })
}

/// `text_…(column, …)`, or not: it takes nothing but text.
fn is_text_test(condition: &Expr, column: &Expr) -> bool {
    match condition {
        Expr::Nested(inner) => is_text_test(inner, column),
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr,
        } => is_text_test(expr, column),
        _ => guarded(condition, "text_") == Some(column),
    }
}

//! What clients of PostgreSQL say, in words that DataFusion has. A query that has nothing of it is walked through once, and
//! left as it is. Each rule is a function over a piece of the query; it goes when DataFusion takes what it is for.
//!
//! | file | owns |
//! |---|---|
//! | `found.rs` | whether a query has anything of it |
//! | `exprs.rs` | types, names of functions, operators, arrays |
//! | `subqueries.rs` | subqueries that give one value, an array, or nothing |
//! | `relations.rs` | functions in `FROM` |
//! | `columns.rs` | what columns are called |
//! | `build.rs` | pieces of SQL |

pub(in crate::engine) mod build;
mod columns;
mod exprs;
mod found;
mod relations;
mod subqueries;

use std::ops::ControlFlow;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use sqlparser::ast::{Expr, Query, Select, TableFactor, VisitMut, VisitorMut};

pub(in crate::engine) use columns::called;

use super::functions;
use crate::engine::names::Names;

/// Whether a query asks PostgreSQL's catalog.
pub(in crate::engine) fn asks_catalog(query: &Query) -> bool {
    found::found(query).catalog
}

/// Say a query in DataFusion's words, and give the state the functions that it names.
pub(in crate::engine) fn understand(
    query: &mut Query,
    names: &Names,
    state: &mut SessionState,
) -> Result<()> {
    let found = found::found(query);
    if !found.any {
        return Ok(());
    }
    rewrite(query, found.catalog);
    if !found.catalog {
        return Ok(());
    }
    for function in functions::of_statement(names) {
        // A function that the embedder has registered stays; DataFusion's own version is nobody's question.
        let is_taken = state.scalar_functions().contains_key(function.name());
        if !is_taken || function.name() == "version" {
            state.register_udf(function)?;
        }
    }
    Ok(())
}

/// `of_catalog`: it asks PostgreSQL's catalog, so that its columns are called as PostgreSQL calls them.
fn rewrite(query: &mut Query, of_catalog: bool) {
    // Nothing breaks off.
    let _ = query.visit(&mut Rewrite { of_catalog });
    exprs::show_names(query);
}

struct Rewrite {
    of_catalog: bool,
}

impl VisitorMut for Rewrite {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // Before what is in it is looked at: it may have no meaning here.
        subqueries::of_nothing(expr);
        if self.of_catalog {
            subqueries::names_of_columns(expr);
            subqueries::lifted(expr);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        exprs::rewrite(expr);
        subqueries::as_array(expr);
        if self.of_catalog {
            subqueries::first_row(expr);
            exprs::system_column(expr);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        relations::rewrite(factor);
        if self.of_catalog {
            relations::name_rows(factor);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if self.of_catalog {
            relations::table_numbers(select);
            columns::name(select);
            subqueries::selected_rows(select);
            subqueries::selected_of_nothing(select);
        }
        ControlFlow::Continue(())
    }
}

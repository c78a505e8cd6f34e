use std::ops::ControlFlow;

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, Expr, FunctionArguments, ObjectName, Query, Visit,
    Visitor,
};

use super::build::folded;
use crate::catalog::{INFORMATION_SCHEMA, PG_CATALOG};
use crate::engine::system::pg_catalog::{functions, table};

/// What a query has of PostgreSQL.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Found {
    pub any: bool,
    /// A table or function of the catalog.
    pub catalog: bool,
}

pub(super) fn found(query: &Query) -> Found {
    let mut found = Found::default();
    // It breaks off once there is nothing more to find.
    let _ = query.visit(&mut found);
    found
}

/// Types that DataFusion's planner does not have.
pub(super) fn is_foreign(data_type: &DataType) -> bool {
    match data_type {
        DataType::Custom(..) | DataType::Regclass => true,
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)) => is_foreign(item),
        _ => false,
    }
}

impl Found {
    fn next(&self) -> ControlFlow<()> {
        match self.any && self.catalog {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Found {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let catalog = match folded(relation).as_slice() {
            [name] => name.starts_with("pg_") && table(name).is_some(),
            [.., schema, _] => schema == PG_CATALOG,
            [] => false,
        };
        self.catalog |= catalog;
        self.any |= catalog;
        self.next()
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => match folded(&function.name).as_slice() {
                [name] => {
                    let known = functions::is_known(name);
                    self.catalog |= known;
                    self.any |= known || matches!(function.args, FunctionArguments::Subquery(_));
                }
                [.., schema, _] if schema == PG_CATALOG || schema == INFORMATION_SCHEMA => {
                    self.catalog = true;
                    self.any = true;
                }
                _ => {}
            },
            Expr::Cast { data_type, .. } => {
                let names = super::exprs::is_name(data_type);
                self.catalog |= names;
                self.any |= names || is_foreign(data_type);
            }
            Expr::Collate { .. } => self.any = true,
            Expr::Identifier(name) if name.quote_style.is_none() => {
                let is_schema = name.value.eq_ignore_ascii_case("current_schema");
                self.catalog |= is_schema;
                self.any |= is_schema;
            }
            Expr::BinaryOp { op, .. } => {
                self.any |= matches!(op, BinaryOperator::PGCustomBinaryOperator(_));
            }
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                self.any |= !matches!(**right, Expr::Subquery(_));
            }
            _ => {}
        }
        self.next()
    }

    fn pre_visit_table_factor(&mut self, factor: &sqlparser::ast::TableFactor) -> ControlFlow<()> {
        self.any |= super::relations::is_ours(factor);
        self.next()
    }
}

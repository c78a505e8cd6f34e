//! What changes in a table, as statements.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, Schema};
use belvedere_connector::{Expr, ExprKind, Literal, Support, TableRef};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    self, Assignment, AssignmentTarget, ObjectName, Parens, SetExpr, TableObject, Values,
};

use crate::block::{self, Column};
use crate::dialect::{Dialect, Facts};
use crate::render::{Renderer, Scope};
use crate::sql;

/// A statement that changes a table.
#[derive(Debug, Clone)]
pub struct Statement {
    pub sql: String,
    /// To bind, as in [`Rendered::params`](crate::Rendered).
    pub params: Vec<(Literal, DataType)>,
}

/// What cannot be said of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub column: Option<String>,
    /// In words that go on after the column's name; without a value.
    pub why: String,
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self { column: None, why }
    }
}

/// Rows that come into these columns of a table.
///
/// # Errors
/// If a column does not take a value as it is.
pub fn insert(
    table: &TableRef,
    columns: &[&Field],
    rows: &[Vec<Literal>],
    dialect: &dyn Dialect,
) -> Result<Statement, Refused> {
    let renderer = Renderer::new(dialect);
    let row = |row: &Vec<Literal>| {
        let values = row.iter().zip(columns);
        let values = values.map(|(value, field)| renderer.stored(value, field));
        Ok(Parens {
            opening_token: AttachedToken::empty(),
            content: values.collect::<Result<_, Refused>>()?,
            closing_token: AttachedToken::empty(),
        })
    };
    let values = Values {
        explicit_row: false,
        value_keyword: false,
        rows: rows.iter().map(row).collect::<Result<_, Refused>>()?,
    };
    let named = columns
        .iter()
        .map(|field| ObjectName::from(vec![dialect.ident(field.name())]));
    let insert = ast::Insert {
        insert_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        or: None,
        ignore: false,
        into: true,
        table: TableObject::TableName(dialect.table(table)),
        table_alias: None,
        columns: named.collect(),
        overwrite: false,
        source: Some(Box::new(block::query(SetExpr::Values(values)))),
        assignments: Vec::new(),
        partitioned: None,
        after_columns: Vec::new(),
        has_table_keyword: false,
        on: None,
        returning: None,
        output: None,
        replace_into: false,
        priority: None,
        insert_alias: None,
        settings: None,
        format_clause: None,
        multi_table_insert_type: None,
        multi_table_into_clauses: Vec::new(),
        multi_table_when_clauses: Vec::new(),
        multi_table_else_clause: None,
    };
    Ok(renderer.number(ast::Statement::Insert(insert))?)
}

/// Rows of a table that get other values.
///
/// # Errors
/// If there is no rendering that is exact, or a column does not take a constant as it is.
pub fn update(
    table: &TableRef,
    schema: &Schema,
    assignments: &[(usize, Expr)],
    predicates: &[Expr],
    dialect: &dyn Dialect,
) -> Result<Statement, Refused> {
    let renderer = Renderer::new(dialect);
    let scope = scope(table, schema, dialect);
    let mut written = BTreeSet::new();
    let mut sets = Vec::with_capacity(assignments.len());
    for (column, value) in assignments {
        let mut read = BTreeSet::new();
        value.columns_read(&mut read);
        if dialect.assigns_in_order() && !read.is_disjoint(&written) {
            let why = "a value is computed of a column that has been set before it".to_string();
            return Err(Refused::from(why));
        }
        let field = schema.field(*column);
        sets.push(Assignment {
            target: AssignmentTarget::ColumnName(ObjectName::from(vec![
                dialect.ident(field.name()),
            ])),
            value: renderer.assigned(value, &scope, field)?,
        });
        written.insert(*column);
    }
    let update = ast::Update {
        update_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        table: block::alone(block::named(dialect.table(table), None, None)),
        assignments: sets,
        from: None,
        selection: renderer.all(predicates, scope)?,
        returning: None,
        output: None,
        or: None,
        order_by: Vec::new(),
        limit: None,
    };
    Ok(renderer.number(ast::Statement::Update(update))?)
}

/// Rows of a table that go.
///
/// # Errors
/// If there is no rendering that is exact.
pub fn delete(
    table: &TableRef,
    schema: &Schema,
    predicates: &[Expr],
    dialect: &dyn Dialect,
) -> Result<Statement, Refused> {
    let renderer = Renderer::new(dialect);
    let from = block::alone(block::named(dialect.table(table), None, None));
    let delete = ast::Delete {
        delete_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        tables: Vec::new(),
        from: ast::FromTable::WithFromKeyword(vec![from]),
        using: None,
        selection: renderer.all(predicates, scope(table, schema, dialect))?,
        returning: None,
        output: None,
        order_by: Vec::new(),
        limit: None,
    };
    Ok(renderer.number(ast::Statement::Delete(delete))?)
}

/// Whether the system by itself sets columns to what the engine would compute.
pub(crate) fn stores(
    assignments: &[(usize, Expr)],
    schema: &Schema,
    dialect: &dyn Dialect,
) -> Support {
    let table = TableRef {
        schema: String::new(),
        name: String::new(),
    };
    match update(&table, schema, assignments, &[], dialect) {
        Ok(_) => Support::Exact,
        Err(Refused { column, why }) => Support::No(match column {
            Some(column) => format!("{column}: {why}"),
            None => why,
        }),
    }
}

/// The columns of the one table that a statement is about, by the table's name.
fn scope(table: &TableRef, schema: &Schema, dialect: &dyn Dialect) -> Scope {
    Scope::new(schema.fields().iter().map(|field| Column {
        sql: ast::Expr::CompoundIdentifier(vec![
            dialect.ident(&table.name),
            dialect.ident(field.name()),
        ]),
        facts: Facts::of(field),
    }))
}

impl Renderer<'_> {
    /// A constant in a column.
    fn stored(&self, literal: &Literal, field: &Field) -> Result<ast::Expr, Refused> {
        if *literal == Literal::Null {
            return Ok(sql::null());
        }
        let bind = |literal, data_type| self.placed(literal, data_type);
        let stored = self.dialect.store(literal, field, &bind);
        stored.map_err(|why| at(field, why))
    }

    fn assigned(&self, value: &Expr, scope: &Scope, field: &Field) -> Result<ast::Expr, Refused> {
        if let Some(literal) = value.as_literal() {
            return self.stored(literal, field);
        }
        // The last step is the column's own: it ends in the same error here.
        let value = match &value.kind {
            ExprKind::Cast { arg }
                if value.data_type.is_integer() && arg.data_type.is_integer() =>
            {
                match self.dialect.refuses_misfits(field) {
                    true => arg.as_ref(),
                    false => value,
                }
            }
            _ => value,
        };
        let operand = self.exact(value, scope).map_err(|why| at(field, why))?;
        let assigned = self.dialect.assign(&operand, field);
        assigned.map_err(|why| at(field, why))
    }

    /// All of these predicates, and what has to hold of the columns that were used.
    fn all(&self, predicates: &[Expr], scope: Scope) -> Result<Option<ast::Expr>, Refused> {
        let mut conditions = Vec::with_capacity(predicates.len());
        for predicate in predicates {
            let (condition, superset) = self.predicate(predicate, &scope)?;
            if let Some(why) = superset {
                return Err(Refused::from(why));
            }
            conditions.push(condition);
        }
        let mut guards: Vec<ast::Expr> = Vec::new();
        for (_, guard) in scope.into_guards() {
            if !guards.contains(&guard) {
                guards.push(guard);
            }
        }
        Ok(sql::all(conditions.into_iter().chain(guards)))
    }

    fn number(self, statement: ast::Statement) -> Result<Statement, String> {
        let (statement, params) = self.numbered(statement)?;
        Ok(Statement {
            sql: statement.to_string(),
            params,
        })
    }
}

fn at(field: &Field, why: String) -> Refused {
    Refused {
        column: Some(field.name().clone()),
        why,
    }
}

//! Statements that change a table.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    self, Assignment, AssignmentTarget, Expr, FromTable, Ident, ObjectName, SetExpr, TableFactor,
    TableObject, TableWithJoins,
};

use crate::name::{Name, fold, ident};

/// `INSERT INTO t (a, b) VALUES … | SELECT …`, `UPDATE t SET a = …, b = … WHERE …`, `DELETE FROM t WHERE …`
///
/// ```
/// use belvedere_sql::{parse_one, Statement, Write};
///
/// let parsed = parse_one("UPDATE erp.item AS i SET Price = $1 WHERE i.sku = $2")?;
/// let Statement::Other(statement) = &parsed.statement else { unreachable!() };
/// let write = Write::of(statement).unwrap().unwrap();
/// assert_eq!(write.target.to_string(), "erp.item");
/// assert_eq!(write.columns, ["price"]);
///
/// let parsed = parse_one("DELETE FROM erp.item RETURNING sku")?;
/// let Statement::Other(statement) = &parsed.statement else { unreachable!() };
/// assert_eq!(Write::of(statement).unwrap().unwrap_err(), "RETURNING");
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// What it does.
    pub change: Change,
    /// The table.
    pub target: Name,
    /// `INSERT`: those that are named, none if none is. `UPDATE`: those that are set. As a catalog knows them.
    pub columns: Vec<String>,
    /// The same without what means nothing to a planner: names are quoted, and a `DELETE` is an `UPDATE` that sets nothing, so
    /// that it may have an alias.
    pub planned: ast::Statement,
}

/// What a [`Write`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Rows come.
    Insert,
    /// Rows get other values.
    Update,
    /// Rows go.
    Delete,
}

impl Write {
    /// What a statement changes. None: it is no such statement; the error names a clause that is not in this version.
    pub fn of(statement: &ast::Statement) -> Option<Result<Self, String>> {
        match statement {
            ast::Statement::Insert(insert) => Some(of_insert(insert)),
            ast::Statement::Update(update) => Some(of_update(update)),
            ast::Statement::Delete(delete) => Some(of_delete(delete)),
            _ => None,
        }
    }

    /// Columns, by name, that its conditions and values may read; those of other tables that are called the same among them.
    pub fn reads(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let _ = ast::visit_expressions(&self.planned, |expr| {
            match expr {
                Expr::Identifier(name) => drop(names.insert(fold(name))),
                Expr::CompoundIdentifier(parts) => names.extend(parts.last().map(fold)),
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
        names
    }

    /// Whether what a column is set to says itself that it is to be of another type.
    pub fn is_cast(&self, column: &str) -> bool {
        let ast::Statement::Update(update) = &self.planned else {
            return false;
        };
        update.assignments.iter().any(|set| {
            let is_it = set_column(set).is_ok_and(|set| set == column);
            is_it && matches!(set.value, Expr::Cast { .. })
        })
    }
}

/// The first of some clauses that is there.
fn refused(clauses: &[(bool, &str)]) -> Result<(), String> {
    match clauses.iter().find(|(is_there, _)| *is_there) {
        Some((_, clause)) => Err((*clause).to_string()),
        None => Ok(()),
    }
}

fn name_of(name: &ObjectName) -> Result<Name, String> {
    let parts = name.0.iter().map(|part| part.as_ident().cloned());
    let parts = parts.collect::<Option<_>>();
    parts
        .map(Name)
        .ok_or_else(|| "a function in place of a table".to_string())
}

fn of_insert(insert: &ast::Insert) -> Result<Write, String> {
    refused(&[
        (insert.returning.is_some(), "RETURNING"),
        (insert.on.is_some(), "ON CONFLICT"),
        (insert.or.is_some(), "INSERT OR …"),
        (insert.ignore, "INSERT IGNORE"),
        (insert.replace_into, "REPLACE INTO"),
        (insert.overwrite, "INSERT OVERWRITE"),
        (insert.table_alias.is_some(), "an alias of INSERT"),
        (insert.insert_alias.is_some(), "an alias of INSERT"),
        (insert.partitioned.is_some(), "INSERT … PARTITION"),
        (!insert.assignments.is_empty(), "INSERT … SET"),
        (insert.output.is_some(), "OUTPUT"),
        (insert.multi_table_insert_type.is_some(), "INSERT ALL"),
    ])?;
    let TableObject::TableName(target) = &insert.table else {
        return Err("INSERT into anything but a table".to_string());
    };
    let query = insert.source.as_deref();
    let query = query.ok_or("INSERT … DEFAULT VALUES")?;
    if let SetExpr::Values(values) = query.body.as_ref() {
        let is_default = |value: &Expr| {
            matches!(value, Expr::Identifier(word)
                if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"))
        };
        let mut all = values.rows.iter().flat_map(|row| row.content.iter());
        if all.any(is_default) {
            return Err("DEFAULT among values (leave the column out for its default)".to_string());
        }
    }
    let column = |name: &ObjectName| match name.0.as_slice() {
        [part] => part.as_ident().map(fold),
        _ => None,
    };
    let columns = insert
        .columns
        .iter()
        .map(column)
        .collect::<Option<Vec<_>>>();
    let columns = columns.ok_or("INSERT into a part of a column")?;
    let quoted = columns
        .iter()
        .map(|name| ObjectName::from(vec![exact(name)]));
    let planned = ast::Insert {
        columns: quoted.collect(),
        ..insert.clone()
    };
    Ok(Write {
        change: Change::Insert,
        target: name_of(target)?,
        columns,
        planned: ast::Statement::Insert(planned),
    })
}

fn of_update(update: &ast::Update) -> Result<Write, String> {
    refused(&[
        (update.returning.is_some(), "RETURNING"),
        (update.from.is_some(), "UPDATE … FROM (use a subquery)"),
        (update.or.is_some(), "UPDATE OR …"),
        (update.output.is_some(), "OUTPUT"),
        (!update.order_by.is_empty(), "UPDATE … ORDER BY"),
        (update.limit.is_some(), "UPDATE … LIMIT"),
    ])?;
    let columns = update.assignments.iter().map(set_column);
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let assignments = update.assignments.iter().zip(&columns);
    let assignments = assignments.map(|(set, column)| Assignment {
        target: AssignmentTarget::ColumnName(ObjectName::from(vec![exact(column)])),
        value: set.value.clone(),
    });
    let planned = ast::Update {
        assignments: assignments.collect(),
        ..update.clone()
    };
    Ok(Write {
        change: Change::Update,
        target: target_of(&update.table)?,
        columns,
        planned: ast::Statement::Update(planned),
    })
}

fn of_delete(delete: &ast::Delete) -> Result<Write, String> {
    refused(&[
        (delete.returning.is_some(), "RETURNING"),
        (delete.using.is_some(), "DELETE … USING (use a subquery)"),
        (!delete.tables.is_empty(), "DELETE of several tables"),
        (delete.output.is_some(), "OUTPUT"),
        (!delete.order_by.is_empty(), "DELETE … ORDER BY"),
        (delete.limit.is_some(), "DELETE … LIMIT"),
    ])?;
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [table] = from.as_slice() else {
        return Err("DELETE of several tables".to_string());
    };
    let planned = ast::Update {
        update_token: ast::helpers::attached_token::AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        table: table.clone(),
        assignments: Vec::new(),
        from: None,
        selection: delete.selection.clone(),
        returning: None,
        output: None,
        or: None,
        order_by: Vec::new(),
        limit: None,
    };
    Ok(Write {
        change: Change::Delete,
        target: target_of(table)?,
        columns: Vec::new(),
        planned: ast::Statement::Update(planned),
    })
}

fn target_of(table: &TableWithJoins) -> Result<Name, String> {
    match &table.relation {
        TableFactor::Table { name, .. } if table.joins.is_empty() => name_of(name),
        _ => Err("to change several tables, or what is none,".to_string()),
    }
}

/// The column that is set; whatever qualifies it, it is one of the table's.
fn set_column(set: &Assignment) -> Result<String, String> {
    let column = match &set.target {
        AssignmentTarget::ColumnName(name) => name.0.last().and_then(|part| part.as_ident()),
        AssignmentTarget::Tuple(_) => None,
    };
    let column = column.map(fold);
    column.ok_or_else(|| "SET (a, b) = …".to_string())
}

/// A name that means exactly this, to whoever folds names without quotes.
fn exact(name: &str) -> Ident {
    match ident(name) {
        quoted if quoted.quote_style.is_some() => quoted,
        plain => Ident::with_quote('"', plain.value),
    }
}

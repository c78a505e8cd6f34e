//! What a statement is called: in errors, in the query log, in the one row a definition answers.

use std::borrow::Cow;

use crate::access::RoleKind;
use crate::ast::{Called, Statement, Transaction};

impl Statement {
    /// The words it begins with: `CREATE SOURCE`, `SELECT`, `INSERT`.
    ///
    /// ```
    /// for (sql, kind) in [
    ///     ("CREATE OR REPLACE VIEW v AS SELECT 1", "CREATE VIEW"),
    ///     ("CREATE MATERIALIZED VIEW v AS SELECT 1", "CREATE MATERIALIZED VIEW"),
    ///     ("WITH a AS (SELECT 1) SELECT * FROM a", "SELECT"),
    ///     ("DROP USER IF EXISTS ana", "DROP USER"),
    ///     ("insert into t values (1)", "INSERT"),
    ///     ("create or replace table t (a int)", "CREATE TABLE"),
    /// ] {
    ///     assert_eq!(belvedere_sql::parse_one(sql)?.statement.kind(), kind);
    /// }
    /// # Ok::<(), belvedere_sql::ParseError>(())
    /// ```
    pub fn kind(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Statement::CreateSource(_) => "CREATE SOURCE",
            Statement::AlterSource(_) => "ALTER SOURCE",
            Statement::DropSource(_) => "DROP SOURCE",
            Statement::RefreshSource { .. } => "REFRESH SOURCE",
            Statement::CreateView(view) if view.materialized => "CREATE MATERIALIZED VIEW",
            Statement::CreateView(_) => "CREATE VIEW",
            Statement::AlterView(view) => match view.called {
                Called::View => "ALTER VIEW",
                Called::MaterializedView => "ALTER MATERIALIZED VIEW",
                Called::Table => "ALTER TABLE",
            },
            Statement::DropView(view) if view.materialized => "DROP MATERIALIZED VIEW",
            Statement::DropView(_) => "DROP VIEW",
            Statement::RefreshView(_) => "REFRESH MATERIALIZED VIEW",
            Statement::CreateIndex(_) => "CREATE INDEX",
            Statement::DropIndex(_) => "DROP INDEX",
            Statement::CreateSchema(_) => "CREATE SCHEMA",
            Statement::AlterSchema(_) => "ALTER SCHEMA",
            Statement::DropSchema(_) => "DROP SCHEMA",
            Statement::CommentOn(_) => "COMMENT",
            Statement::CreateUser(_) => "CREATE USER",
            Statement::CreateRole(_) => "CREATE ROLE",
            Statement::AlterRole(role) => match role.called {
                RoleKind::User => "ALTER USER",
                RoleKind::Role => "ALTER ROLE",
            },
            Statement::DropRole(role) => match role.called {
                RoleKind::User => "DROP USER",
                RoleKind::Role => "DROP ROLE",
            },
            Statement::ReassignOwned(_) => "REASSIGN OWNED",
            Statement::Grant(_) => "GRANT",
            Statement::Revoke(_) => "REVOKE",
            Statement::CreatePolicy(_) => "CREATE POLICY",
            Statement::DropPolicy(_) => "DROP POLICY",
            Statement::CreateMask(_) => "CREATE MASK",
            Statement::DropMask(_) => "DROP MASK",
            Statement::CreateMapping(_) => "CREATE USER MAPPING",
            Statement::DropMapping(_) => "DROP USER MAPPING",
            Statement::Show(_) => "SHOW",
            Statement::Describe { .. } | Statement::DescribeQuery(_) => "DESCRIBE",
            Statement::Set(_) => "SET",
            Statement::ResetAll => "RESET",
            Statement::Explain(_) => "EXPLAIN",
            Statement::Copy(_) => "COPY",
            Statement::Subscribe(_) => "SUBSCRIBE",
            Statement::Transaction(Transaction::Begin) => "BEGIN",
            Statement::Transaction(Transaction::Commit) => "COMMIT",
            Statement::Transaction(Transaction::Rollback) => "ROLLBACK",
            Statement::Transaction(Transaction::Characteristics) => "SET",
            Statement::Transaction(Transaction::Savepoint(_)) => "SAVEPOINT",
            Statement::Transaction(Transaction::Release(_)) => "RELEASE",
            Statement::Transaction(Transaction::RollbackTo(_)) => "ROLLBACK",
            Statement::Declare(_) => "DECLARE CURSOR",
            Statement::Fetch(fetch) if fetch.moves => "MOVE",
            Statement::Fetch(_) => "FETCH",
            Statement::Close { .. } => "CLOSE CURSOR",
            Statement::Query(_) => "SELECT",
            Statement::Other(statement) => return Cow::Owned(first_words(&statement.to_string())),
        })
    }
}

/// sqlparser has a hundred statements and no names for them, but prints each with its name first.
fn first_words(sql: &str) -> String {
    let mut words = sql
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    let mut rest =
        words.skip_while(|word| matches!(word.to_ascii_uppercase().as_str(), "OR" | "REPLACE"));
    match (first.as_str(), rest.next()) {
        ("CREATE" | "ALTER" | "DROP" | "SHOW", Some(object)) => {
            format!("{first} {}", object.to_ascii_uppercase())
        }
        _ => first,
    }
}

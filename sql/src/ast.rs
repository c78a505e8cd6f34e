//! The statements.

use std::fmt;

use sqlparser::ast::{Ident, Query};

use crate::access::{
    AlterRole, CreateMapping, CreateMask, CreatePolicy, CreateRole, CreateUser, DropMapping,
    DropRole, DropRule, Grant, ReassignOwned,
};
use crate::name::Name;
use crate::options::{Options, Value};
use crate::redact::redacted;

/// A statement with the text it was read from.
#[derive(Clone, PartialEq, Eq)]
pub struct Spanned {
    /// What was read.
    pub statement: Statement,
    /// Its text, from its first to its last token, without the `;`. What may be shown of it is [`redacted`](crate::redacted).
    pub text: String,
    /// Line of its first token in the whole text, from 1.
    pub line: u64,
    /// Column (in characters) of its first token, from 1.
    pub column: u64,
}

impl fmt::Debug for Spanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spanned")
            .field("statement", &self.statement)
            .field("text", &redacted(&self.text))
            .field("line", &self.line)
            .field("column", &self.column)
            .finish()
    }
}

/// One SQL statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `CREATE [OR REPLACE] SOURCE [IF NOT EXISTS] erp FROM 'url' [WITH (…)]`
    CreateSource(CreateSource),
    /// `ALTER SOURCE erp …`
    AlterSource(AlterSource),
    /// `DROP SOURCE [IF EXISTS] erp [CASCADE]`
    DropSource(DropSource),
    /// `REFRESH SOURCE erp`: read its schema again.
    RefreshSource {
        /// The source.
        name: Ident,
    },
    /// `CREATE [OR REPLACE] [MATERIALIZED] VIEW [IF NOT EXISTS] v [(a, b)] [WITH (…)] [CHECK c AS (SELECT …)] AS SELECT …`
    CreateView(CreateView),
    /// `ALTER [MATERIALIZED] VIEW [IF EXISTS] v …`, `ALTER TABLE [IF EXISTS] v RENAME TO w | SET SCHEMA s`
    AlterView(AlterView),
    /// `DROP [MATERIALIZED] VIEW [IF EXISTS] v, w [CASCADE]`
    DropView(DropView),
    /// `REFRESH MATERIALIZED VIEW v [FULL]`
    RefreshView(RefreshView),
    /// `CREATE INDEX [IF NOT EXISTS] [i] ON v (a, b)`
    CreateIndex(CreateIndex),
    /// `DROP INDEX [IF EXISTS] i, j`
    DropIndex(DropIndex),
    /// `CREATE SCHEMA [IF NOT EXISTS] s`
    CreateSchema(CreateSchema),
    /// `ALTER SCHEMA s RENAME TO t`
    AlterSchema(AlterSchema),
    /// `DROP SCHEMA [IF EXISTS] s [CASCADE]`
    DropSchema(DropSchema),
    /// `COMMENT ON VIEW v IS 'text'`
    CommentOn(CommentOn),
    /// `CREATE USER [IF NOT EXISTS] u [PASSWORD 'text' | NULL] [SUPERUSER | NOSUPERUSER]`
    CreateUser(CreateUser),
    /// `CREATE ROLE [IF NOT EXISTS] r`
    CreateRole(CreateRole),
    /// `ALTER USER | ROLE r …`
    AlterRole(AlterRole),
    /// `DROP USER | ROLE [IF EXISTS] r, s`
    DropRole(DropRole),
    /// `REASSIGN OWNED BY r, s TO t`
    ReassignOwned(ReassignOwned),
    /// `GRANT r TO u`, `GRANT SELECT ON v TO r, PUBLIC`
    Grant(Grant),
    /// `REVOKE r FROM u`, `REVOKE SELECT ON v FROM r, PUBLIC`
    Revoke(Grant),
    /// `CREATE [OR REPLACE] POLICY p ON v [TO r, s] USING (condition)`
    CreatePolicy(CreatePolicy),
    /// `DROP POLICY [IF EXISTS] p ON v`
    DropPolicy(DropRule),
    /// `CREATE [OR REPLACE] MASK m ON v (a) [TO r, s] USING (expression)`
    CreateMask(CreateMask),
    /// `DROP MASK [IF EXISTS] m ON v`
    DropMask(DropRule),
    /// `CREATE [OR REPLACE] USER MAPPING FOR u ON SOURCE s [WITH (…)]`
    CreateMapping(CreateMapping),
    /// `DROP USER MAPPING [IF EXISTS] FOR u ON SOURCE s`
    DropMapping(DropMapping),
    /// `SHOW …`
    Show(Show),
    /// `DESCRIBE t`: its columns.
    Describe {
        /// A table, view or source.
        name: Name,
    },
    /// `DESCRIBE SELECT …`: the columns a query would have.
    DescribeQuery(Box<Query>),
    /// `SET …` and `RESET x`
    Set(Set),
    /// `RESET ALL`
    ResetAll,
    /// `EXPLAIN [ANALYZE] [VERBOSE] …`
    Explain(Explain),
    /// `COPY (SELECT …) TO 'x.parquet' [PARTITIONED BY (…)] [WITH (…)]`
    Copy(CopyTo),
    /// `SUBSCRIBE TO v | (SELECT …) [WITH (…)]`: rows now, then what changes.
    Subscribe(Subscribe),
    /// `BEGIN`, `COMMIT`, `ROLLBACK`, `SET TRANSACTION …`, `SAVEPOINT s`
    Transaction(Transaction),
    /// `DECLARE c CURSOR FOR SELECT …`
    Declare(Declare),
    /// `FETCH 100 FROM c`, `MOVE …`
    Fetch(Fetch),
    /// `CLOSE c`; all cursors without a name.
    Close {
        /// The cursor.
        name: Option<Ident>,
    },
    /// A query: `SELECT`, `WITH`, `VALUES`, `TABLE`, `FROM`, or any of them in parentheses.
    Query(Box<Query>),
    /// Anything else sqlparser reads: `INSERT`, `CREATE TABLE`, `USE`, …
    Other(Box<sqlparser::ast::Statement>),
}

/// See [`Statement::CreateSource`].
///
/// ```
/// use belvedere_sql::{parse_one, Statement};
///
/// let sql = "CREATE SOURCE lake FROM 's3://bucket/sales/' WITH (owner = 'sales')";
/// let Statement::CreateSource(source) = parse_one(sql)?.statement else { unreachable!() };
/// assert_eq!(source.url, "s3://bucket/sales/");
/// assert_eq!(source.to_string(), sql);
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSource {
    /// Replace a source of that name.
    pub or_replace: bool,
    /// Do nothing if there is one of that name.
    pub if_not_exists: bool,
    /// One part: a source is a catalog.
    pub name: Ident,
    /// The URL; its scheme picks the connector.
    pub url: String,
    /// `WITH (…)`
    pub options: Options,
}

/// See [`Statement::AlterSource`].
///
/// ```
/// use belvedere_sql::parse_one;
///
/// for sql in [
///     "ALTER SOURCE crm OWNS customer(name, credit)",
///     "ALTER SOURCE crm SET (max_connections = 2)",
///     "ALTER SOURCE crm RESET (max_connections)",
///     "ALTER SOURCE crm RENAME TO sales",
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterSource {
    /// The source.
    pub name: Ident,
    /// What to change.
    pub action: SourceAction,
}

/// What `ALTER SOURCE` changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceAction {
    /// `OWNS customer(name, credit)`: this source is the source of truth of these columns.
    Owns {
        /// A table of the source, or schema and table.
        table: Name,
        /// At least one column.
        columns: Vec<Ident>,
    },
    /// `SET (option = value, …)`
    SetOptions(Options),
    /// `RESET (option, …)`
    ResetOptions(Vec<Ident>),
    /// `RENAME TO new`
    RenameTo(Ident),
    /// `OWNER TO role`: whose it is from then on.
    OwnerTo(Ident),
}

/// See [`Statement::DropSource`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// let sql = "DROP SOURCE IF EXISTS erp CASCADE";
/// assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropSource {
    /// No error if there is none.
    pub if_exists: bool,
    /// The source.
    pub name: Ident,
    /// Drop what depends on it too.
    pub cascade: bool,
}

/// See [`Statement::CreateView`].
///
/// ```
/// use belvedere_sql::{parse_one, Statement};
///
/// let sql = "CREATE VIEW v (a, b) WITH (owner = 'sales') AS SELECT x, y FROM erp.item";
/// let Statement::CreateView(view) = parse_one(sql)?.statement else { unreachable!() };
/// assert_eq!(view.query.to_string(), "SELECT x, y FROM erp.item");
/// assert_eq!(view.to_string(), sql);
///
/// let sql = "CREATE MATERIALIZED VIEW m WITH (refresh = 'every 1 hour') CHECK paid AS (SELECT 1 FROM m) AS SELECT 2";
/// assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateView {
    /// Its rows are kept.
    pub materialized: bool,
    /// Replace a view of that name.
    pub or_replace: bool,
    /// Do nothing if there is one of that name.
    pub if_not_exists: bool,
    /// One to three parts.
    pub name: Name,
    /// Names of the columns, if given.
    pub columns: Vec<Ident>,
    /// `WITH (…)`
    pub options: Options,
    /// Of a materialized view alone: what must hold before its rows show.
    pub checks: Vec<Check>,
    /// The query.
    pub query: Box<Query>,
    /// The text of the query as the user wrote it, printed in place of `query` when present: formatting and comments
    /// survive, and a stored definition does not depend on sqlparser's printer. Whoever changes `query` clears it.
    pub text: Verbatim,
}

/// `CHECK name AS (SELECT …)`: a query that must find no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: Ident,
    /// What it looks for.
    pub query: Box<Query>,
    /// As in [`CreateView::text`].
    pub text: Verbatim,
}

/// Text kept for printing that plays no part in comparing: any two are equal.
#[derive(Debug, Clone, Default)]
pub struct Verbatim(pub Option<String>);

impl PartialEq for Verbatim {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Verbatim {}

/// See [`Statement::AlterView`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// for sql in [
///     "ALTER VIEW v RENAME TO w",
///     "ALTER MATERIALIZED VIEW v SET (refresh = 'manual')",
///     "ALTER VIEW v SET SCHEMA sales",
///     "ALTER VIEW v SET (owner = 'ops')",
///     "ALTER VIEW v RESET (owner, contact)",
///     "ALTER TABLE IF EXISTS v RENAME TO w",
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterView {
    /// What it is called.
    pub called: Called,
    /// No error if there is none.
    pub if_exists: bool,
    /// The view.
    pub name: Name,
    /// What to change.
    pub action: ViewAction,
}

/// What a statement calls a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// `VIEW`
    View,
    /// `MATERIALIZED VIEW`
    MaterializedView,
    /// `TABLE`, as in PostgreSQL: whatever has rows is renamed and moved by that, too.
    Table,
}

/// What `ALTER VIEW` changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewAction {
    /// `RENAME TO new`
    RenameTo(Ident),
    /// `SET SCHEMA s`
    SetSchema(Name),
    /// `SET (option = value, …)`
    SetOptions(Options),
    /// `RESET (option, …)`
    ResetOptions(Vec<Ident>),
    /// `OWNER TO role`: with whose rights it reads from then on.
    OwnerTo(Ident),
}

/// See [`Statement::DropView`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// let sql = "DROP VIEW IF EXISTS v, sales.w CASCADE";
/// assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropView {
    /// The views are called materialized.
    pub materialized: bool,
    /// No error if there is none.
    pub if_exists: bool,
    /// At least one view.
    pub names: Vec<Name>,
    /// Drop what depends on them too.
    pub cascade: bool,
}

/// See [`Statement::RefreshView`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// for sql in ["REFRESH MATERIALIZED VIEW v", "REFRESH MATERIALIZED VIEW sales.v FULL"] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshView {
    /// The materialized view.
    pub name: Name,
    /// Compute it anew, also one that is kept by change.
    pub full: bool,
}

/// See [`Statement::CreateIndex`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// for sql in ["CREATE INDEX ON stock (site)", "CREATE INDEX IF NOT EXISTS by_site ON sales.stock (site, sku)"] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateIndex {
    /// Do nothing if there is one of that name.
    pub if_not_exists: bool,
    /// None: it is named by what it is on.
    pub name: Option<Ident>,
    /// A materialized view.
    pub on: Name,
    /// At least one.
    pub columns: Vec<Ident>,
}

/// See [`Statement::DropIndex`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// let sql = "DROP INDEX IF EXISTS by_site, sales.by_sku";
/// assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIndex {
    /// No error if there is none.
    pub if_exists: bool,
    /// At least one index.
    pub names: Vec<Name>,
}

/// See [`Statement::CreateSchema`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// let sql = "CREATE SCHEMA IF NOT EXISTS sales";
/// assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSchema {
    /// Do nothing if there is one of that name.
    pub if_not_exists: bool,
    /// One part, or the engine's own catalog and one.
    pub name: Name,
}

/// See [`Statement::AlterSchema`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// let sql = "ALTER SCHEMA sales RENAME TO trade";
/// assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterSchema {
    /// The schema.
    pub name: Name,
    /// Its new name.
    pub rename_to: Ident,
}

/// See [`Statement::DropSchema`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// let sql = "DROP SCHEMA sales CASCADE";
/// assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropSchema {
    /// No error if there is none.
    pub if_exists: bool,
    /// The schema.
    pub name: Name,
    /// Drop its content too.
    pub cascade: bool,
}

/// See [`Statement::CommentOn`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// for sql in ["COMMENT ON VIEW v IS 'who buys what'", "COMMENT ON COLUMN erp.public.item.sku IS NULL"] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentOn {
    /// What kind of thing is named.
    pub object: CommentTarget,
    /// Its name; of a column, the table's name and one more part.
    pub name: Name,
    /// The text; `None` (`IS NULL`) takes it away.
    pub comment: Option<String>,
}

/// What can have a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentTarget {
    /// `SOURCE`
    Source,
    /// `SCHEMA`
    Schema,
    /// `TABLE`
    Table,
    /// `VIEW`
    View,
    /// `COLUMN`
    Column,
}

/// See [`Statement::Show`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// for sql in [
///     "SHOW search_path",
///     "SHOW ALL",
///     "SHOW SOURCES",
///     "SHOW SCHEMAS",
///     "SHOW TABLES FROM erp LIKE 'it%'",
///     "SHOW VIEWS",
///     "SHOW COLUMNS FROM erp.item",
///     "SHOW CREATE VIEW v",
///     "SHOW CREATE SOURCE erp",
///     "SHOW CAPABILITIES FOR erp",
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    /// `SHOW x`; also `SHOW TIME ZONE` (`timezone`) and `SHOW TRANSACTION ISOLATION LEVEL` (`transaction_isolation`).
    Setting(Name),
    /// `SHOW ALL`: every setting.
    All,
    /// `SHOW SOURCES`
    Sources,
    /// `SHOW SCHEMAS`
    Schemas,
    /// `SHOW TABLES [FROM schema] [LIKE 'pattern']`
    Tables {
        /// A source or schema.
        from: Option<Name>,
        /// A LIKE pattern on the table's name.
        like: Option<String>,
    },
    /// `SHOW VIEWS [FROM schema] [LIKE 'pattern']`
    Views {
        /// A schema.
        from: Option<Name>,
        /// A LIKE pattern on the view's name.
        like: Option<String>,
    },
    /// `SHOW COLUMNS FROM t`
    Columns(Name),
    /// `SHOW CREATE VIEW v`
    CreateView(Name),
    /// `SHOW CREATE SOURCE s`
    CreateSource(Ident),
    /// `SHOW CAPABILITIES FOR s`: what the source can be sent.
    Capabilities(Ident),
}

/// See [`Statement::Set`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// for (sql, printed) in [
///     ("SET max_staleness = '0s'", "SET max_staleness = '0s'"),
///     ("SET search_path TO sales, public", "SET search_path = sales, public"),
///     ("SET LOCAL statement_timeout = 10", "SET LOCAL statement_timeout = 10"),
///     ("SET TIME ZONE 'Europe/Berlin'", "SET timezone = 'Europe/Berlin'"),
///     ("RESET pushdown", "SET pushdown = DEFAULT"),
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), printed);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// `SESSION` or `LOCAL`, if written.
    pub scope: Option<SetScope>,
    /// The setting, `datafusion.execution.batch_size` included.
    pub name: Name,
    /// Its new value.
    pub value: SetValue,
}

/// How long a `SET` lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetScope {
    /// `SET SESSION`: this session, the same as without it.
    Session,
    /// `SET LOCAL`: this transaction.
    Local,
}

/// What a setting is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetValue {
    /// `DEFAULT`
    Default,
    /// One value, or several for a list (`search_path`).
    Values(Vec<Value>),
}

/// See [`Statement::Explain`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// for (sql, printed) in [
///     ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN ANALYZE SELECT 1"),
///     ("EXPLAIN (VERBOSE, FORMAT tree) SELECT 1", "EXPLAIN VERBOSE FORMAT 'tree' SELECT 1"),
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), printed);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explain {
    /// Run it and show what happened.
    pub analyze: bool,
    /// Show more.
    pub verbose: bool,
    /// `FORMAT x`, in lower case.
    pub format: Option<String>,
    /// A [`Statement::Query`], [`Statement::Copy`] or [`Statement::Other`].
    pub statement: Box<Statement>,
}

/// See [`Statement::Copy`].
///
/// PostgreSQL's, DuckDB's and DataFusion's ways to write the options are read as one:
///
/// ```
/// # use belvedere_sql::parse_one;
/// for (sql, printed) in [
///     ("COPY t TO 'x.csv' (HEADER, DELIMITER ';')", "COPY (SELECT * FROM t) TO 'x.csv' WITH (HEADER = true, DELIMITER = ';')"),
///     ("COPY t (a, b) TO 'x.csv'", "COPY (SELECT a, b FROM t) TO 'x.csv'"),
///     ("COPY (SELECT 1 AS a, 2 AS b) TO 'd' (FORMAT csv, PARTITION_BY (a))", "COPY (SELECT 1 AS a, 2 AS b) TO 'd' PARTITIONED BY (a) WITH (FORMAT = csv)"),
///     ("COPY t TO 'd' STORED AS PARQUET PARTITIONED BY (a) OPTIONS ('format.compression' 'zstd')", "COPY (SELECT * FROM t) TO 'd' PARTITIONED BY (a) WITH (format = PARQUET, compression = 'zstd')"),
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), printed);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyTo {
    /// What is written: `COPY t TO` is `COPY (SELECT * FROM t) TO`.
    pub query: Box<Query>,
    /// A path or URL; none for `STDOUT`: the client that asks, where its protocol has a way for that.
    pub to: Option<String>,
    /// Columns that become folders.
    pub partition_by: Vec<Ident>,
    /// `FORCE_QUOTE (…)`: columns whose values are in quotes in any case; `*` for all.
    pub force_quote: Vec<Ident>,
    /// `WITH (…)`; one without a value is true.
    pub options: Options,
}

/// See [`Statement::Subscribe`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// for sql in [
///     "SUBSCRIBE TO sales.stock",
///     "SUBSCRIBE TO stock WITH (snapshot = false)",
///     "SUBSCRIBE TO (SELECT sku FROM stock WHERE qty < 1) WITH (cursor = '00ff-3-00ff')",
/// ] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// What changes are told of.
    pub to: Subscribed,
    /// `WITH (…)`
    pub options: Options,
}

/// What `SUBSCRIBE TO` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscribed {
    /// A view, or a table.
    Relation(Name),
    /// A query in parentheses.
    Query {
        /// The query.
        query: Box<Query>,
        /// The query as it was written.
        text: Verbatim,
    },
}

/// See [`Statement::Transaction`].
///
/// ```
/// use belvedere_sql::{parse_one, Statement, Transaction};
///
/// let sql = "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
/// assert_eq!(parse_one(sql)?.statement, Statement::Transaction(Transaction::Begin));
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transaction {
    /// `BEGIN`, `START TRANSACTION`
    Begin,
    /// `COMMIT`, `END`
    Commit,
    /// `ROLLBACK`, `ABORT`
    Rollback,
    /// `SET TRANSACTION`, `SET SESSION CHARACTERISTICS AS TRANSACTION`: what all transactions are.
    Characteristics,
    /// `SAVEPOINT s`
    Savepoint(Ident),
    /// `RELEASE s`
    Release(Ident),
    /// `ROLLBACK TO s`
    RollbackTo(Ident),
}

/// See [`Statement::Declare`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declare {
    /// Of the cursor.
    pub name: Ident,
    /// Rows come in binary form.
    pub binary: bool,
    /// The cursor outlives its transaction.
    pub hold: bool,
    /// What it has the rows of.
    pub query: Box<Query>,
}

/// See [`Statement::Fetch`].
///
/// ```
/// # use belvedere_sql::parse_one;
/// for sql in ["FETCH 1 FROM c", "FETCH ALL FROM c", "MOVE 10 FROM c", "MOVE BACKWARD ALL FROM c"] {
///     assert_eq!(parse_one(sql)?.statement.to_string(), sql);
/// }
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Of the cursor.
    pub name: Ident,
    /// Which rows.
    pub rows: Rows,
    /// `MOVE`: the rows are passed over.
    pub moves: bool,
}

/// Which rows of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// As many as this from where it stands.
    Next(u64),
    /// All from where it stands.
    All,
    /// `BACKWARD ALL`: back to before the first.
    Rewind,
}

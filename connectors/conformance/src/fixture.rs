use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use belvedere_connector::Connector;

use crate::changes::Changing;
use crate::seed::{self, SqlNames};

/// A real system under test: how it is filled and broken, bypassing the connector, and what its connector declares.
///
/// A method that fails panics: the test system is broken, not the connector.
#[async_trait]
pub trait Fixture: Send + Sync + 'static {
    /// The connector's name.
    fn name(&self) -> &'static str;

    fn connector(&self) -> Arc<dyn Connector>;

    /// The source over the system.
    fn definition(&self) -> Definition;

    /// Remove all tables, and undo what a behaviour did to the system.
    async fn clear(&self);

    /// Run a statement on the system itself.
    async fn execute(&self, sql: &str);

    /// Run several; one transaction is faster.
    async fn execute_all(&self, statements: &[String]) {
        for statement in statements {
            self.execute(statement).await;
        }
    }

    /// How the system writes names, types and constants; None for one without SQL, which then says itself how a table
    /// is put and removed.
    fn sql(&self) -> Option<&dyn SqlNames>;

    /// Create the table with these rows, instead of another of that name. Every column's type is one that
    /// [`Fixture::reads`] knows.
    async fn put(&self, table: &str, data: &RecordBatch) {
        let sql = self
            .sql()
            .expect("a system without SQL puts tables in its own way");
        self.execute_all(&seed::statements(sql, table, data)).await;
    }

    /// Add a copy of all its rows to a table.
    async fn double(&self, table: &str) {
        let table = self
            .sql()
            .expect("a system without SQL doubles tables in its own way")
            .quoted(table);
        self.execute(&format!("INSERT INTO {table} SELECT * FROM {table}"))
            .await;
    }

    async fn remove(&self, table: &str) {
        let sql = self
            .sql()
            .expect("a system without SQL removes tables in its own way");
        self.execute(&format!("DROP TABLE {}", sql.quoted(table)))
            .await;
    }

    /// What a column put as this type is read as; None if the system has no type for it.
    fn reads(&self, data_type: &DataType) -> Option<DataType>;

    /// Whether the system can hold this float, and tells it from others.
    fn holds_float(&self, _value: f64) -> bool {
        true
    }

    /// The system's own types, with values at their extremes.
    fn natives(&self) -> Vec<Native> {
        Vec::new()
    }

    /// Whether the whole query of this feature runs at the source.
    fn pushes(&self, feature: Feature) -> bool;

    /// Why the system, or the test's hold on it, lacks an ability; None if it has it.
    fn lacks(&self, ability: Ability) -> Option<&'static str>;

    /// Queries the system is working on for the engine now.
    async fn reads_open(&self) -> usize {
        panic!("the fixture does not see reads")
    }

    /// Connections the engine holds now; None where there are none, or they cannot be seen.
    async fn connections(&self) -> Option<usize> {
        None
    }

    /// End all that the system does for the engine, as a restart does; it answers again when this returns.
    async fn interrupt(&self) {
        panic!("the fixture does not interrupt")
    }

    /// Let the source's user no longer read this table.
    async fn forbid(&self, _table: &str) {
        panic!("the fixture has no permissions")
    }

    /// How it is changed, if the connector captures changes; else why it does not.
    fn changing(&self) -> Result<&dyn Changing, &'static str> {
        Err("its connector does not capture changes")
    }

    /// The source, as a user who may write to it and follow it; else why its connector does not write.
    fn writing(&self) -> Result<Definition, &'static str> {
        Err("its connector only reads")
    }

    /// A definition that the system refuses in this way.
    fn refused(&self, _how: Refusal) -> Option<Definition> {
        None
    }
}

/// What follows `CREATE SOURCE name FROM`.
#[derive(Debug, Clone, Default)]
pub struct Definition {
    pub url: String,
    pub options: Vec<(String, String)>,
}

impl Definition {
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            options: Vec::new(),
        }
    }

    #[must_use]
    pub fn with(mut self, option: &str, value: &str) -> Self {
        self.options.push((option.to_string(), value.to_string()));
        self
    }

    /// The statement.
    pub fn create(&self, name: &str) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let mut sql = format!("CREATE SOURCE {name} FROM {}", quoted(&self.url));
        if !self.options.is_empty() {
            let options: Vec<_> = self
                .options
                .iter()
                .map(|(k, v)| format!("{k} = {}", quoted(v)))
                .collect();
            sql.push_str(&format!(" WITH ({})", options.join(", ")));
        }
        sql
    }
}

/// A type of the system's own, as a column `v` of a table is declared, with constants in the system's SQL.
#[derive(Debug, Clone)]
pub struct Native {
    pub declared: &'static str,
    pub reads: DataType,
    /// The constant, and the value as the engine shows it.
    pub values: Vec<(&'static str, &'static str)>,
}

/// What a whole query can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    Columns,
    IntegerComparison,
    TextEquality,
    TextOrder,
    Arithmetic,
    Limit,
    OrderBy,
    TopN,
    Count,
    GroupBy,
    Distinct,
    InnerJoin,
    LeftJoin,
    FullJoin,
    SemiJoin,
    AntiJoin,
    MarkJoin,
    Window,
    UnionAll,
}

/// What a behaviour needs beyond tables that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ability {
    /// Primary and foreign keys.
    Keys,
    /// Two tables, or two columns, whose names differ in nothing but case.
    TablesByCase,
    ColumnsByCase,
    /// [`Fixture::reads_open`] knows.
    SeesReads,
    /// [`Fixture::interrupt`] ends what is being read.
    Interrupts,
    /// [`Fixture::forbid`].
    Permissions,
    /// Transactions that are rolled back.
    Rollbacks,
    /// A log of what was committed, which has a position for each moment, comes in pieces where a transaction is large, and may be
    /// lost. Who has none is looked at again and again.
    Logs,
}

/// How a system refuses a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    WrongPassword,
    UnknownHost,
    /// The database, file or folder is not there.
    UnknownPlace,
}

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use belvedere_connector::{Code, Error, Fragment, Kind, Rel, Source, Table, TableRef};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Constraint, Constraints, Result, Statistics};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::exec::FragmentExec;
use super::gate::Gate;
use super::history::History;

/// A source under its name in the engine.
#[derive(Debug)]
pub struct SourceHandle {
    pub name: String,
    pub source: Arc<dyn Source>,
    /// Where scans wait for it.
    pub gate: Gate,
    pub history: History,
    health: Mutex<Health>,
}

/// How the last contact with a source went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Health {
    /// Not contacted since the engine started.
    #[default]
    Unknown,
    Up,
    /// The last contact failed in a way that says nothing of the query: with this error.
    Down(String),
}

impl SourceHandle {
    pub fn new(name: impl Into<String>, source: Arc<dyn Source>) -> Self {
        Self {
            name: name.into(),
            gate: Gate::new(source.max_streams()),
            history: History::default(),
            source,
            health: Mutex::default(),
        }
    }

    pub fn health(&self) -> Health {
        self.health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Note how a contact went. An error that is the query's own shows that the source is there.
    pub fn contacted(&self, error: Option<&Error>) {
        let health = match error {
            Some(e) if matches!(e.code, Code::Unreachable | Code::Authentication) => {
                Health::Down(e.to_string())
            }
            Some(e) if e.kind() != Kind::Definite => return,
            _ => Health::Up,
        };
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

/// A table of a source. Its own `scan` reads all rows of some columns and no more: everything else that can run at
/// the source is decided by [`cut`](super::cut()), over whole plans.
#[derive(Debug)]
pub struct SourceTable {
    pub handle: Arc<SourceHandle>,
    pub table: Arc<Table>,
    schema: SchemaRef,
    constraints: Constraints,
}

impl SourceTable {
    pub fn new(handle: Arc<SourceHandle>, table: Arc<Table>) -> Self {
        let schema = table.arrow_schema();
        let indexes = |columns: &[String]| -> Option<Vec<usize>> {
            columns.iter().map(|c| schema.index_of(c).ok()).collect()
        };
        let primary = Some(&table.primary_key).filter(|key| !key.is_empty());
        let constraints = Constraints::new_unverified(
            primary
                .and_then(|key| indexes(key))
                .map(Constraint::PrimaryKey)
                .into_iter()
                .collect(),
        );
        Self {
            handle,
            table,
            schema,
            constraints,
        }
    }

    pub fn reference(&self) -> TableRef {
        TableRef {
            schema: self.table.schema.clone(),
            name: self.table.name.clone(),
        }
    }

    /// The scan of some columns (all without a projection).
    pub(super) fn rel(&self, projection: Option<&[usize]>) -> Rel {
        let schema = match projection {
            None => self.schema.clone(),
            Some(columns) => Arc::new(Schema::new(
                columns
                    .iter()
                    .map(|i| self.schema.field(*i).clone())
                    .collect::<Vec<_>>(),
            )),
        };
        Rel::Scan {
            table: self.reference(),
            schema,
        }
    }
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut rel = self.rel(projection.map(Vec::as_slice));
        if let Some(limit) = limit {
            let limited = Rel::Limit {
                input: Box::new(rel.clone()),
                skip: 0,
                fetch: Some(limit as u64),
            };
            if self.handle.source.capabilities().node(&limited).is_exact() {
                rel = limited;
            }
        }
        let schema = rel.schema();
        Ok(Arc::new(FragmentExec::new(
            self.handle.clone(),
            Arc::new(Fragment::new(rel)),
            schema,
            self.statistics(),
            state.config().target_partitions(),
        )))
    }

    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Inexact(self.table.row_count? as usize);
        Some(statistics)
    }
}

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use belvedere_connector::{
    Code, Error, Fragment, Kind, Limits, Rel, Source, StatementContext, Table, TableRef,
};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Constraint, Constraints, Result, Statistics};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::breaker::{self, Admitted, Breaker};
use super::exec::FragmentExec;
use super::gate::Gate;
use super::history::History;
use super::inflight::InFlight;
use super::learned::Learned;
use super::outlet::Memory;

/// A source under its name in the engine.
#[derive(Debug)]
pub struct SourceHandle {
    pub name: String,
    pub source: Arc<dyn Source>,
    /// Where it is, if others may be there, too.
    place: Option<String>,
    pub limits: Limits,
    /// Where scans wait for it.
    pub gate: Arc<Gate>,
    pub in_flight: InFlight,
    /// For what waits of its answers; None: as much as there is.
    pub memory: Option<Arc<Memory>>,
    pub history: History,
    pub learned: Learned,
    /// Whoever it is read as, if that is not as it is defined: what is asked so is nobody else's.
    pub mapped: Option<Arc<str>>,
    contact: Mutex<Contact>,
}

/// How it goes with reaching a source.
#[derive(Debug)]
struct Contact {
    health: Health,
    breaker: Breaker,
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
    pub fn new(name: impl Into<String>, source: Arc<dyn Source>, limits: Limits) -> Self {
        let most = limits.max_concurrent_fragments.unwrap_or(usize::MAX);
        Self {
            name: name.into(),
            gate: Gate::new(most.min(source.max_streams())),
            in_flight: InFlight::default(),
            memory: limits
                .memory_limit
                .map(|limit| Arc::new(Memory::new(limit))),
            history: History::default(),
            learned: Learned::default(),
            mapped: None,
            place: source.place(),
            source,
            contact: Mutex::new(Contact {
                health: Health::default(),
                breaker: Breaker::new(limits.breaker_failures, limits.breaker_cooldown),
            }),
            limits,
        }
    }

    /// The same system, read as somebody else. All wait at one gate for it.
    pub fn mapped_to(&self, user: Arc<str>, source: Arc<dyn Source>) -> Self {
        Self {
            gate: self.gate.clone(),
            memory: self.memory.clone(),
            mapped: Some(user),
            ..Self::new(self.name.clone(), source, self.limits.clone())
        }
    }

    /// Whether one fragment can be about the tables of both: it can be asked of either.
    pub fn is_beside(&self, other: &Self) -> bool {
        let is_same_place = self.place.is_some() && self.place == other.place;
        Arc::ptr_eq(&self.source, &other.source) || (is_same_place && self.mapped == other.mapped)
    }

    /// Where it is: the same of all that are beside it.
    pub fn place(&self) -> &str {
        self.place.as_deref().unwrap_or(&self.name)
    }

    pub fn health(&self) -> Health {
        self.contact().health.clone()
    }

    pub fn breaker(&self) -> breaker::State {
        self.contact().breaker.state()
    }

    /// Until when a scan of the statement waits for its turn.
    pub fn patience(&self, statement: &StatementContext) -> Instant {
        let now = Instant::now();
        let limit = self.limits.queue_timeout.map(|limit| now + limit);
        let until = limit.into_iter().chain(statement.deadline).min();
        until.unwrap_or(now + Limits::PATIENCE)
    }

    /// An error if the source is left alone for now: who would be refused needs not wait for a place.
    pub fn reachable(&self) -> Result<(), Error> {
        let contact = self.contact();
        match contact.breaker.refuses(Instant::now()) {
            true => Err(self.left_alone(&contact)),
            false => Ok(()),
        }
    }

    /// To be asked before each contact for a query.
    pub fn admit(self: &Arc<Self>) -> Result<Option<Probe>, Error> {
        let mut contact = self.contact();
        match contact.breaker.admit(Instant::now()) {
            Some(Admitted::Freely) => Ok(None),
            Some(Admitted::AsProbe) => Ok(Some(Probe(self.clone()))),
            None => Err(self.left_alone(&contact)),
        }
    }

    /// It is there, whatever failed before: ask it from now on.
    pub fn trust(&self) {
        let mut contact = self.contact();
        contact.health = Health::Up;
        contact.breaker.reset();
    }

    fn left_alone(&self, contact: &Contact) -> Error {
        let again = match contact.breaker.state() {
            breaker::State::Open { until, .. } => {
                let left = until.saturating_duration_since(Instant::now());
                format!("it is tried again in {:.1} s", left.as_secs_f64())
            }
            _ => "it is being tried right now".to_string(),
        };
        let last = match &contact.health {
            Health::Down(last) => format!(". The last failure: {last}"),
            _ => String::new(),
        };
        let message = format!("it is not asked after several failures to reach it; {again}{last}");
        Error::new(Code::Unreachable, message)
            .help(format!("REFRESH SOURCE {} tries at once", self.name))
            .at_source(&self.name)
    }

    fn contact(&self) -> MutexGuard<'_, Contact> {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Note how a contact went. An error that is the query's own shows that the source is there.
    pub fn contacted(&self, error: Option<&Error>) {
        let mut contact = self.contact();
        match error {
            Some(e)
                if matches!(
                    e.code,
                    Code::Unreachable | Code::Authentication | Code::OutcomeUnknown
                ) =>
            {
                contact.health = Health::Down(e.to_string());
                contact.breaker.failed(Instant::now(), fastrand::f64());
            }
            Some(e) if e.kind() != Kind::Definite => {}
            _ => {
                contact.health = Health::Up;
                contact.breaker.succeeded();
            }
        }
    }
}

/// The one query that tries a source which was left alone, until [`SourceHandle::contacted`] knows how that went.
#[derive(Debug)]
pub struct Probe(Arc<SourceHandle>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.contact().breaker.given_up(Instant::now());
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

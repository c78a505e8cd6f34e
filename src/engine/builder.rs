use std::path::PathBuf;
use std::sync::Arc;

use belvedere_connector::Connector;
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionConfig;

use super::names::PATH;
use super::sources::LiveSource;
use super::world::{Inner, World};
use super::{Engine, connectors, dialect, kept, upstream};
use crate::access::Logins;
use crate::access::audit::{Audit, Level, Limits};
use crate::catalog::{CATALOG, Store};
use crate::error::{Error, Result};
use crate::exact;
use crate::freshness::{self, Results};
use crate::memory::{DEFAULT_LIMIT, Memory};
use crate::views::Views;

/// Bytes of the audit that are kept.
pub(crate) const AUDIT_LIMIT: u64 = 1 << 30;

/// Opens an [`Engine`].
#[derive(Debug, Default)]
pub struct EngineBuilder {
    data_dir: Option<PathBuf>,
    base_dir: Option<PathBuf>,
    memory_limit: Option<usize>,
    kept_memory_limit: Option<usize>,
    result_cache: Option<usize>,
    audit: Level,
    audit_parameters: bool,
    audit_limit: Option<u64>,
    connectors: Vec<Arc<dyn Connector>>,
    functions: Vec<ScalarUDF>,
}

impl EngineBuilder {
    /// Where definitions are kept. Without it they are forgotten with the engine. One process owns a directory.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Where relative paths in statements start: the working directory by default.
    #[must_use]
    pub fn base_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.base_dir = Some(path.into());
        self
    }

    /// Bytes all statements together may hold before they spill or fail: half of a machine's memory is a good value.
    /// Without it there is no limit.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Bytes that all that is kept by change may take: indexes of tables, their newest rows, what views remember. A view that needs
    /// more waits, with what it had. 4 GB by default; 0 for no limit.
    #[must_use]
    pub fn kept_memory_limit(mut self, bytes: usize) -> Self {
        self.kept_memory_limit = Some(bytes);
        self
    }

    /// Bytes of answers that are kept, so that whoever asks the same is told what was so a moment ago, if `max_staleness` admits it.
    /// 64 MB by default; 0 for none.
    #[must_use]
    pub fn result_cache(mut self, bytes: usize) -> Self {
        self.result_cache = Some(bytes);
        self
    }

    /// Which statements are recorded in the data directory: [`Level::Writes`] by default. Without a data directory none is.
    #[must_use]
    pub fn audit(mut self, level: Level) -> Self {
        self.audit = level;
        self
    }

    /// Record the values of statements' parameters, too.
    #[must_use]
    pub fn audit_parameters(mut self, recorded: bool) -> Self {
        self.audit_parameters = recorded;
        self
    }

    /// Bytes of records that are kept, about; then the oldest are removed. 1 GB by default.
    #[must_use]
    pub fn audit_limit(mut self, bytes: u64) -> Self {
        self.audit_limit = Some(bytes);
        self
    }

    /// A connector besides the built-in ones.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connectors.push(connector);
        self
    }

    /// A scalar function that all sessions know.
    #[must_use]
    pub fn udf(mut self, function: ScalarUDF) -> Self {
        self.functions.push(function);
        self
    }

    /// Read the definitions and make their sources, without contacting any: one that is down stops nothing.
    pub async fn open(self) -> Result<Engine> {
        let state = self.state()?;
        let base_dir = match self.base_dir {
            Some(path) => path,
            None => std::env::current_dir().map_err(|e| Error::Store {
                message: format!("the working directory cannot be read: {e}"),
                help: None,
            })?,
        };
        let store = Arc::new(match &self.data_dir {
            Some(path) => Store::open(path)?,
            None => Store::in_memory()?,
        });
        let mut connectors = connectors::built_in();
        connectors.extend(self.connectors);

        let mut world = World {
            definitions: store.load()?,
            ..World::default()
        };
        for (name, definition) in &world.definitions.sources {
            let known = world.definitions.discoveries.get(name).map(Arc::as_ref);
            let connector = super::options::connector_of(&connectors, &definition.url)?;
            let live = LiveSource::open(connector, definition.clone(), known)?;
            world.live.insert(name.clone(), Arc::new(live));
        }
        let durable = kept::durable(&store, self.data_dir.as_deref())?;
        let limit = self.kept_memory_limit.unwrap_or(DEFAULT_LIMIT);
        let memory = Memory::new(limit);
        let views = Arc::new(Views::new(self.data_dir.as_deref(), durable, memory)?);
        let results = Results::new(self.result_cache.unwrap_or(freshness::DEFAULT_LIMIT));
        let logins = Logins::new(store.secret()?);
        let audit = match &self.data_dir {
            Some(path) => {
                let limits = Limits::of(self.audit_limit.unwrap_or(AUDIT_LIMIT));
                let audit = Audit::open(path, self.audit, self.audit_parameters, limits);
                audit.map_err(|e| Error::Store {
                    message: e.to_string(),
                    help: None,
                })?
            }
            None => Audit::default(),
        };
        let inner = Inner::new(
            store, connectors, base_dir, state, views, results, logins, audit, world,
        );
        let inner = Arc::new(inner);
        kept::start(&inner).await;
        Ok(Engine { inner })
    }

    /// Functions, rules and run time that all statements have.
    pub(crate) fn state(&self) -> Result<SessionState> {
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(limit) = self.memory_limit {
            runtime = runtime.with_memory_pool(memory_pool(limit));
        }
        let mut config = SessionConfig::new()
            .with_information_schema(false)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, PATH);
        let options = config.options_mut();
        // Plain strings and binaries: clients that do not know view types are many.
        options.sql_parser.map_string_types_to_utf8view = false;
        options.execution.parquet.schema_force_view_types = false;
        // The keys of a join's build side are a list, which a source can be sent, up to these; then a hash table.
        options.optimizer.hash_join_inlist_pushdown_max_size = 16 << 20;
        options
            .optimizer
            .hash_join_inlist_pushdown_max_distinct_values = 50_000;
        // A join's smaller side is one table for all up to here: what the rows of the larger cost that are sorted into
        // partitions is more than what building it in one piece does, and its keys are one list.
        options.optimizer.hash_join_single_partition_threshold = 32 << 20;
        options.optimizer.hash_join_single_partition_threshold_rows = 500_000;
        options.sql_parser.default_null_ordering = "nulls_max".to_string();
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::new(runtime.build()?))
            .with_default_features()
            .with_optimizer_rules(super::query::logical_rules())
            .with_physical_optimizer_rules(super::query::physical_rules())
            .build();
        upstream::register_functions(&mut state)?;
        dialect::register(&mut state)?;
        // All sessions have the same: a sum of floats does not depend on who computes it, nor in which parts.
        exact::register(&mut state)?;
        for function in &self.functions {
            datafusion::execution::FunctionRegistry::register_udf(
                &mut state,
                Arc::new(function.clone()),
            )?;
        }
        Ok(state)
    }
}

/// A pool that shares `limit` bytes fairly among what can spill, and names the largest consumers when it is met.
pub(super) fn memory_pool(limit: usize) -> Arc<TrackConsumersPool<FairSpillPool>> {
    let largest = std::num::NonZeroUsize::MIN.saturating_add(2);
    Arc::new(TrackConsumersPool::new(FairSpillPool::new(limit), largest))
}

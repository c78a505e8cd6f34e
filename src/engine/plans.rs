use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use lru::LruCache;

use super::audited::Touched;
use super::lookup::{Generic, Lookup};
use super::names::Names;
use super::settings::Settings;
use super::system;
use crate::catalog::{ObjectId, SystemTableProvider};
use crate::federation::SourceTable;
use crate::views::{Bounds, CopyTable};

const MOST: NonZeroUsize = NonZeroUsize::new(500).expect("some");
/// Longer texts are not kept.
const MOST_BYTES: usize = 16 << 10;

/// Queries with parameters that were prepared of late, by text: many clients prepare the same for each execution. What is kept belongs
/// to no session and does not keep the engine.
#[derive(Debug)]
pub(super) struct Plans(Mutex<LruCache<String, Plan>>);

impl Default for Plans {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }
}

#[derive(Debug)]
struct Plan {
    known: Arc<Known>,
    /// In the world of this version, under these settings.
    version: u64,
    settings: Arc<Settings>,
}

/// One query, as it is understood.
#[derive(Debug)]
pub(super) struct Known {
    pub plan: LogicalPlan,
    pub schema: SchemaRef,
    pub parameters: Vec<(String, Option<DataType>)>,
    pub lookup: Option<Arc<Lookup>>,
    /// Of the views that it reads.
    pub bounds: Bounds,
    pub generic: Arc<Generic>,
    /// What it names, and what is applied to it.
    pub touched: Arc<Touched>,
    /// The tables and views that it names.
    pub reads: BTreeSet<ObjectId>,
}

impl Plans {
    pub fn get(&self, sql: &str, names: &Names) -> Option<Arc<Known>> {
        let mut kept = self.kept();
        let plan = kept.get(sql)?;
        let is_current = plan.version == names.world.version && plan.settings == names.settings;
        is_current.then(|| plan.known.clone())
    }

    pub fn keep(&self, sql: &str, query: &belvedere_sql::Query, names: &Names, known: &Arc<Known>) {
        let is_kept = !known.parameters.is_empty()
            && sql.len() <= MOST_BYTES
            // Its functions know the session.
            && !system::asks_catalog(query)
            && is_of_all_sessions(&known.plan);
        if !is_kept {
            return;
        }
        let plan = Plan {
            known: known.clone(),
            version: names.world.version,
            settings: names.settings.clone(),
        };
        self.kept().put(sql.to_string(), plan);
    }

    fn kept(&self) -> MutexGuard<'_, LruCache<String, Plan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is read as somebody else than its source is defined.
pub(super) fn is_mapped(provider: &Arc<dyn TableProvider>) -> bool {
    let table = provider.downcast_ref::<SourceTable>();
    table.is_some_and(|table| table.handle.mapped.is_some())
}

/// Whether a plan reads nothing that is one session's, or one moment's: a system table, a version of a view, a table as it is seen by a
/// user of its source's.
pub(super) fn is_of_all_sessions(plan: &LogicalPlan) -> bool {
    let mut is_so = true;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source);
            is_so &= provider.is_ok_and(|provider| {
                let fixed = provider.downcast_ref::<CopyTable>();
                !provider.is::<SystemTableProvider>()
                    && !fixed.is_some_and(|copy| copy.is_fixed)
                    && !is_mapped(&provider)
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && is_so
}

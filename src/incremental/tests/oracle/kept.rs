//! A query that is kept, beside the same recomputed.

use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider,
};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::{MemTable, TableType};
use datafusion::execution::context::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use futures::executor::block_on;

use super::world::{DAY, SECOND, World};
use crate::engine::kept_plan;
use crate::incremental::{Compiled, Dataflow, Moved, Output, Progress, Refused};
use crate::memory::{Memory, Taking};
use crate::store::{Pinned, Shape, Table, ZSet, batch};

/// A table as DataFusion reads it.
#[derive(Debug)]
struct Content {
    schema: SchemaRef,
    rows: Mutex<Vec<RecordBatch>>,
}

#[async_trait]
impl TableProvider for Content {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.rows.lock().unwrap().clone();
        let table = MemTable::try_new(self.schema.clone(), vec![rows])?;
        table.scan(state, projection, filters, limit).await
    }
}

/// Tables that plans read: what they hold is put in before a plan is run.
pub(super) struct Catalog {
    pub(super) state: SessionState,
    contents: Vec<(String, Arc<Content>)>,
}

impl Catalog {
    pub(super) fn new(tables: impl IntoIterator<Item = (String, SchemaRef)>) -> Self {
        let base = crate::Engine::builder().state().unwrap();
        let options = base.config_options().catalog.clone();
        let schema = Arc::new(MemorySchemaProvider::new());
        let mut contents = Vec::new();
        for (name, columns) in tables {
            let content = Arc::new(Content {
                schema: columns,
                rows: Mutex::default(),
            });
            schema
                .register_table(name.clone(), content.clone())
                .unwrap();
            contents.push((name, content));
        }
        let catalog = MemoryCatalogProvider::new();
        catalog
            .register_schema(&options.default_schema, schema)
            .unwrap();
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(options.default_catalog, Arc::new(catalog));
        let mut config = base.config().clone().with_target_partitions(2);
        config.options_mut().execution.time_zone = Some("UTC".to_string());
        let state = SessionStateBuilder::new_from_existing(base)
            .with_catalog_list(Arc::new(list))
            .with_config(config)
            .build();
        Self { state, contents }
    }

    /// The plan that is kept; with a clock, the one that is run then.
    pub(super) fn plan(&self, sql: &str, clock: Option<i64>) -> Result<LogicalPlan> {
        let mut state = self.state.clone();
        state.execution_props_mut().query_execution_start_time =
            clock.map(chrono::DateTime::from_timestamp_nanos);
        let plan = block_on(state.create_logical_plan(sql))?;
        let plan = kept_plan(plan, &state);
        plan.map_err(|e| DataFusionError::External(Box::new(e)))
    }

    pub(super) fn put(&self, table: &str, rows: Vec<RecordBatch>) {
        let content = self.contents.iter().find(|(name, _)| name == table);
        *content.unwrap().1.rows.lock().unwrap() = rows;
    }

    pub(super) fn run(&self, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let planner = DefaultPhysicalPlanner::default();
        runtime.block_on(async {
            let plan = planner.create_physical_plan(plan, &self.state).await?;
            collect(plan, self.state.task_ctx()).await
        })
    }
}

/// Why a query is not kept.
#[derive(Debug)]
#[allow(dead_code)]
pub(super) enum Not {
    /// DataFusion's planner has something against it, whoever is to run it.
    Planned(String),
    Kept(Refused),
}

pub(super) struct Kept {
    sql: String,
    catalog: Catalog,
    plan: LogicalPlan,
    pub(super) compiled: Compiled,
    dataflow: Dataflow,
    /// Tables by number, and as they were.
    inputs: Vec<(usize, Pinned)>,
    view: ZSet,
    errors: ZSet,
    is_first: bool,
    /// Epochs in which rows had errors that DataFusion did not come upon.
    pub(super) stricter: usize,
    /// How often there was no room.
    pub(super) refused: usize,
}

/// Memory that suffices for small changes of small views.
const LITTLE: usize = 32 << 10;

fn no_errors() -> ZSet {
    ZSet::empty(Arc::new(arrow::datatypes::Schema::empty()))
}

fn started(compiled: &Compiled, world: &World, inputs: &[(usize, Pinned)]) -> Dataflow {
    let shapes = inputs.iter().map(|(i, _)| world.tables[*i].table.shape());
    let shapes: Vec<_> = shapes.cloned().collect();
    let started = compiled.start(&shapes);
    started.unwrap_or_else(|e| panic!("{e}"))
}

impl Kept {
    /// The query, over tables that get the indexes it needs.
    pub(super) fn new(world: &mut World, sql: &str) -> Result<Self, Not> {
        let tables = world.tables.iter();
        let tables = tables.map(|table| (table.name.to_string(), table.schema.clone()));
        let catalog = Catalog::new(tables);
        let plan = catalog.plan(sql, None);
        let plan = plan.map_err(|e| Not::Planned(e.to_string()))?;
        let compiled = match Compiled::new(&plan, &catalog.state) {
            Ok(compiled) => compiled,
            Err(e) => {
                // What DataFusion does not run either is not ours to keep.
                let plan = catalog.plan(sql, Some(world.clock));
                let ran = plan
                    .and_then(|plan| catalog.run(&plan))
                    .map_err(crate::error::Error::from);
                return Err(match ran {
                    Ok(_) | Err(crate::error::Error::Data { .. }) => Not::Kept(e),
                    Err(e) => Not::Planned(e.to_string()),
                });
            }
        };
        let mut inputs = Vec::new();
        for input in compiled.inputs() {
            let is_it = |table: &super::world::Kept| table.name == &*input.table.table;
            let number = world.tables.iter().position(is_it).unwrap();
            let table = &mut world.tables[number];
            for index in &input.indexes {
                let columns = index
                    .iter()
                    .map(|name| table.schema.index_of(name).unwrap());
                table.table.add_index(&columns.collect::<Vec<_>>()).unwrap();
            }
            // Nothing yet, whatever the table holds.
            let empty = Table::new(Shape::clone(table.table.shape())).snapshot();
            inputs.push((number, empty));
        }
        Ok(Self {
            sql: sql.to_string(),
            catalog,
            plan,
            dataflow: started(&compiled, world, &inputs),
            view: ZSet::empty(compiled.schema().clone()),
            compiled,
            inputs,
            errors: no_errors(),
            is_first: true,
            stricter: 0,
            refused: 0,
        })
    }

    /// Forget all that was computed.
    fn begin_again(&mut self, world: &World) {
        self.dataflow = started(&self.compiled, world, &self.inputs);
        self.view = ZSet::empty(self.compiled.schema().clone());
        self.errors = no_errors();
        self.is_first = true;
        self.refused += 1;
        for (_, before) in &mut self.inputs {
            *before = Table::new(Shape::clone(before.shape())).snapshot();
        }
    }

    /// Take over what has happened, and compare. False if there is nothing to compare: rows have errors.
    pub(super) fn step(&mut self, world: &mut World) -> bool {
        world.epoch += 1;
        let changes = world.tables.iter_mut();
        let changes: Vec<Option<ZSet>> = changes.map(|table| table.apply(world.epoch)).collect();
        // Now and then there is little room: what is refused begins anew, with all there is.
        let limit = match world.epoch % 3 {
            0 => LITTLE,
            _ => 0,
        };
        let output = match self.output(world, &changes, limit) {
            Some(output) => output,
            None => {
                self.begin_again(world);
                let output = self.output(world, &changes, 0);
                output.expect("there is room without a limit")
            }
        };
        let mut all = vec![self.view.clone()];
        all.extend(output.rows);
        self.view = ZSet::concat(self.compiled.schema(), &all)
            .unwrap()
            .consolidated()
            .unwrap();
        if self.errors.is_empty() {
            self.errors = output.errors;
        } else {
            let schema = self.errors.rows().schema();
            let both = ZSet::concat(&schema, &[self.errors.clone(), output.errors]).unwrap();
            self.errors = both.consolidated().unwrap();
        }
        let is_positive = |zset: &ZSet| zset.weights().iter().all(|weight| *weight > 0);
        assert!(is_positive(&self.errors), "{}\n{:?}", self.sql, self.errors);
        assert!(
            is_positive(&self.view),
            "{}\n{}",
            self.sql,
            self.shown(&self.view)
        );
        let is_equal = self.compare(world, world.clock);
        if is_equal && self.compiled.is_timed() {
            // Until it is due it is what it has to be, whatever time it is.
            let due = self.dataflow.due().unwrap_or(world.clock + (40 * DAY));
            assert!(due > world.clock, "{}", self.sql);
            let last = (due - 1).div_euclid(SECOND) * SECOND;
            self.compare(world, last.max(world.clock));
        }
        is_equal
    }

    /// The second with which it changes by itself.
    pub(super) fn due(&self) -> Option<i64> {
        let due = self.dataflow.due()?;
        Some((due + SECOND - 1).div_euclid(SECOND) * SECOND)
    }

    /// What follows from changes; nothing if there is no room for it.
    fn output(&mut self, world: &World, changes: &[Option<ZSet>], limit: usize) -> Option<Output> {
        let mut moved = Vec::new();
        for (number, before) in &mut self.inputs {
            let table = &world.tables[*number];
            let change = match self.is_first {
                true => Some(ZSet::inserts(table.batch(&table.rows))),
                false => changes[*number].clone(),
            };
            let after = table.table.snapshot();
            let before = std::mem::replace(before, after.clone());
            moved.push(Moved {
                before,
                change,
                after,
            });
        }
        self.is_first = false;
        let share = Memory::new(limit).share();
        share.set(self.dataflow.bytes());
        let progress = Progress::within(share.taking());
        match self
            .dataflow
            .step(world.epoch, world.clock, &moved, &progress)
        {
            Ok(output) => Some(output),
            Err(_) if progress.taking().and_then(Taking::refused).is_some() => None,
            Err(e) => panic!("{}\n{e}", self.sql),
        }
    }

    /// Rows that the view has.
    pub(super) fn rows(&self) -> usize {
        self.view.len()
    }

    /// Rows of tables that a first step reads of what there is.
    pub(super) fn rows_read(&self) -> u64 {
        let inputs = self.inputs.iter().map(|(_, input)| input.clone());
        self.dataflow.rows(&inputs.collect::<Vec<_>>())
    }

    pub(super) fn bytes(&self) -> usize {
        self.dataflow.bytes()
    }

    /// How often each message is there.
    pub(super) fn failed(&self) -> &[i64] {
        self.errors.weights()
    }

    fn compare(&mut self, world: &World, clock: i64) -> bool {
        for table in &world.tables {
            self.catalog.put(table.name, vec![table.batch(&table.rows)]);
        }
        let plan = match self.compiled.is_timed() {
            true => self.catalog.plan(&self.sql, Some(clock)).unwrap(),
            false => self.plan.clone(),
        };
        let rows = match self.catalog.run(&plan) {
            Ok(rows) => rows,
            // Of a batch; row by row it need not.
            Err(e) => {
                let e = crate::error::Error::from(e);
                if !matches!(e, crate::error::Error::Data { .. }) {
                    // Its planner has refused what it has made of the query.
                    println!("not run by DataFusion: {}\n  {e}", self.sql);
                }
                return false;
            }
        };
        if !self.errors.is_empty() {
            self.stricter += 1;
            return false;
        }
        let schema = self.compiled.schema();
        let minus = rows.iter().map(|rows| {
            let rows = batch(schema, rows.columns().to_vec(), rows.num_rows()).unwrap();
            let weights = vec![-1; rows.num_rows()];
            ZSet::new(rows, weights).unwrap()
        });
        let mut all = vec![self.view.clone()];
        all.extend(minus);
        let difference = ZSet::concat(schema, &all).unwrap().consolidated().unwrap();
        assert!(
            difference.is_empty(),
            "epoch {}, at {clock}: {}\ntoo much (+) or missing (-):\n{}\n{}",
            world.epoch,
            self.sql,
            self.shown(&difference),
            self.plan.display_indent(),
        );
        true
    }

    fn shown(&self, zset: &ZSet) -> String {
        let rows = arrow::util::pretty::pretty_format_batches(&[zset.rows().clone()]).unwrap();
        format!("{rows}\nweights {:?}", zset.weights())
    }
}

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::Result;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::context::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableScan};
use datafusion::physical_plan::collect;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::scalar::ScalarValue;

use crate::catalog::{ObjectId, ViewColumn};
use crate::engine::kept_plan;
use crate::freshness::matching::{Answering, Way, with_answers};

/// `t (a, b bigint, s text, f double, d decimal(10, 2), at timestamp)` and `u (a, x bigint, s text)`, all of which may be NULL, and
/// nothing of which is unique.
pub(super) struct World {
    state: SessionState,
}

/// What came of a view and a query.
pub(super) struct Tried {
    /// How it answers all of the query, or a part; or why it does not.
    pub proved: Result<Way, String>,
    pub is_whole: bool,
    pub plain: Vec<String>,
    /// None: no part is answered by the view.
    pub matched: Option<Vec<String>>,
}

fn table_of(scan: &TableScan) -> Option<ObjectId> {
    Some(ObjectId::new(["erp", "public", scan.table_name.table()]))
}

impl World {
    /// With rows that are drawn by a number.
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let base = crate::Engine::builder().state().unwrap();
        let options = base.config_options().catalog.clone();
        let schema = Arc::new(MemorySchemaProvider::new());
        for (name, rows) in [("t", t(&mut random)), ("u", u(&mut random))] {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
            schema
                .register_table(name.to_string(), Arc::new(table))
                .unwrap();
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
        Self { state }
    }

    pub async fn plan(&self, sql: &str) -> Result<LogicalPlan> {
        self.state.create_logical_plan(sql).await
    }

    /// A query with and without a view.
    pub async fn tried(&self, view: &str, query: &str) -> Result<Tried> {
        let (view, query) = (self.plan(view).await?, self.plan(query).await?);
        let plain = shown(&self.run(&query).await?)?;
        let columns = view.schema().fields().iter().map(|field| ViewColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
        });
        let columns: Vec<ViewColumn> = columns.collect();
        let answering = match Answering::of(&view, &columns, &table_of) {
            Ok(answering) => answering,
            Err(why) => {
                return Ok(Tried {
                    proved: Err(why.to_string()),
                    is_whole: false,
                    plain,
                    matched: None,
                });
            }
        };
        let fields = columns
            .iter()
            .map(|c| Field::new(&c.name, c.data_type.clone(), true));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let rows = self.run(&view).await?;
        let rows = rows
            .iter()
            .map(|batch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let copy = Arc::new(MemTable::try_new(schema, vec![rows])?);
        let mut proved = Err("no part can be compared".to_string());
        let mut is_whole = false;
        let matched = with_answers(&query, &table_of, &mut |part| match answering
            .proves(&part.block)
        {
            Ok(proof) => {
                let copy = LogicalPlanBuilder::scan("v", provider_as_source(copy.clone()), None);
                let copy = copy.and_then(LogicalPlanBuilder::build).unwrap();
                let plan = proof.plan(&part.block, copy, &part.columns).unwrap();
                proved = Ok(proof.way);
                is_whole = part.is_whole;
                Some(plan)
            }
            Err(refusal) => {
                if part.is_whole || proved.as_ref().is_err_and(|e| e.starts_with("no part")) {
                    proved = Err(refusal.to_string());
                }
                None
            }
        })?;
        let matched = match matched {
            Some(plan) => Some(shown(&self.run(&plan).await?)?),
            None => None,
        };
        Ok(Tried {
            proved,
            is_whole,
            plain,
            matched,
        })
    }

    async fn run(&self, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
        let plan = kept_plan(plan.clone(), &self.state)
            .map_err(|e| datafusion::common::DataFusionError::External(Box::new(e)))?;
        let physical = DefaultPhysicalPlanner::default()
            .create_physical_plan(&plan, &self.state)
            .await?;
        collect(physical, self.state.task_ctx()).await
    }
}

/// Each row as a text, to the last bit but for which NaN it is and the sign of a zero, in order.
fn shown(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let mut text = String::new();
            for column in batch.columns() {
                let value = match ScalarValue::try_from_array(column, row)? {
                    ScalarValue::Float64(Some(x)) if x.is_nan() => "NaN".to_string(),
                    ScalarValue::Float64(Some(x)) => format!("{:x}", (x + 0.0).to_bits()),
                    // DataFusion's own sum beside a DISTINCT of its key is of a wider type than its schema says.
                    ScalarValue::Decimal128(value, _, scale) => format!("{value:?}e-{scale}"),
                    other => format!("{other:?}"),
                };
                text += &value;
                text.push('|');
            }
            rows.push(text);
        }
    }
    rows.sort();
    Ok(rows)
}

fn few(random: &mut fastrand::Rng, of: i64) -> Option<i64> {
    (random.u8(..8) > 0).then(|| random.i64(0..of))
}

fn texts(random: &mut fastrand::Rng, rows: usize) -> ArrayRef {
    let text = |n: i64| ["", "a", "A", "ä", "b "][n as usize];
    let texts = (0..rows).map(|_| few(random, 5).map(text));
    Arc::new(texts.collect::<StringArray>())
}

fn numbers(random: &mut fastrand::Rng, rows: usize, of: i64) -> ArrayRef {
    let numbers = (0..rows).map(|_| few(random, of));
    Arc::new(numbers.collect::<Int64Array>())
}

fn t(random: &mut fastrand::Rng) -> RecordBatch {
    let rows = random.usize(0..30);
    let floats = [
        0.0,
        -0.0,
        0.1,
        0.2,
        0.3,
        1e17,
        -1e17,
        f64::NAN,
        f64::INFINITY,
    ];
    let f = (0..rows).map(|_| few(random, 9).map(|n| floats[n as usize]));
    let f: Float64Array = f.collect();
    let d = (0..rows).map(|_| few(random, 400).map(i128::from));
    let d: Decimal128Array = d.collect();
    let d = d.with_precision_and_scale(10, 2).unwrap();
    let at = (0..rows).map(|_| few(random, 6).map(|n| n * 12 * 3_600_000_000));
    let at: TimestampMicrosecondArray = at.collect();
    let columns: Vec<ArrayRef> = vec![
        numbers(random, rows, 4),
        numbers(random, rows, 6),
        texts(random, rows),
        Arc::new(f),
        Arc::new(d),
        Arc::new(at),
    ];
    let types = [
        ("a", DataType::Int64),
        ("b", DataType::Int64),
        ("s", DataType::Utf8),
        ("f", DataType::Float64),
        ("d", DataType::Decimal128(10, 2)),
        ("at", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ];
    batch(&types, columns)
}

fn u(random: &mut fastrand::Rng) -> RecordBatch {
    let rows = random.usize(0..8);
    let columns = vec![
        numbers(random, rows, 4),
        numbers(random, rows, 6),
        texts(random, rows),
    ];
    let types = [
        ("a", DataType::Int64),
        ("x", DataType::Int64),
        ("s", DataType::Utf8),
    ];
    batch(&types, columns)
}

fn batch(types: &[(&str, DataType)], columns: Vec<ArrayRef>) -> RecordBatch {
    let fields = types
        .iter()
        .map(|(name, of)| Field::new(*name, of.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns).unwrap()
}

use std::sync::Arc;

use async_trait::async_trait;
use belvedere_connector::{
    BatchStream, Capabilities, Column, Connector, Expr, Fragment, OptionSpec, Rel, Result,
    ScanRequest, Source, SourceConfig, Support, Table, TableKind,
};
use datafusion::arrow::datatypes::{DataType, Schema};
use futures::StreamExt;

/// `empty:orders,lineitem`: those tables of TPC-H without rows, at a source that answers whatever the algebra can say.
#[derive(Debug)]
pub struct EmptyConnector;

impl Connector for EmptyConnector {
    fn name(&self) -> &'static str {
        "empty"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["empty"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn open(&self, config: SourceConfig) -> Result<Arc<dyn Source>> {
        let names = config.url.trim_start_matches("empty:").split(',');
        Ok(Arc::new(EmptySource {
            tables: names.map(table).collect(),
        }))
    }
}

#[derive(Debug)]
struct EmptySource {
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Everything;

impl Capabilities for Everything {
    fn predicate(&self, _: &Expr, _: &Schema) -> Support {
        Support::Exact
    }

    fn node(&self, _: &Rel) -> Support {
        Support::Exact
    }
}

#[async_trait]
impl Source for EmptySource {
    async fn discover(&self) -> Result<Vec<Table>> {
        Ok(self.tables.clone())
    }

    fn remember(&self, _: &[Table]) {}

    fn default_schema(&self) -> &str {
        "main"
    }

    fn capabilities(&self) -> Arc<dyn Capabilities> {
        Arc::new(Everything)
    }

    fn partitions(&self, _: &Fragment) -> usize {
        1
    }

    fn describe(&self, fragment: &Fragment) -> String {
        shape(&fragment.rel)
    }

    async fn scan(&self, _: ScanRequest) -> Result<Vec<BatchStream>> {
        Ok(vec![futures::stream::empty().boxed()])
    }
}

/// The nodes of a fragment: `aggregate(filter(orders))`.
fn shape(rel: &Rel) -> String {
    let node = match rel {
        Rel::Scan { table, .. } => return table.name.clone(),
        Rel::Filter { .. } => "filter".to_string(),
        Rel::Project { .. } => "project".to_string(),
        Rel::Join { kind, .. } => format!("{kind:?}Join"),
        Rel::Aggregate { .. } => "aggregate".to_string(),
        Rel::Window { .. } => "window".to_string(),
        Rel::Sort { .. } => "sort".to_string(),
        Rel::Limit { .. } => "limit".to_string(),
        Rel::UnionAll { .. } => "union".to_string(),
    };
    let inputs: Vec<_> = rel.inputs().into_iter().map(shape).collect();
    format!("{node}({})", inputs.join(", "))
}

fn table(name: &str) -> Table {
    let (key, columns) = COLUMNS
        .iter()
        .find_map(|(table, key, columns)| (*table == name).then_some((key, columns)))
        .unwrap_or_else(|| panic!("TPC-H has no table {name}"));
    let column = |text: &str| {
        let (name, kind) = text.trim().split_once(' ').unwrap();
        let data_type = match kind {
            "key" => DataType::Int64,
            "int" => DataType::Int32,
            "money" => DataType::Decimal128(15, 2),
            "date" => DataType::Date32,
            _ => DataType::Utf8,
        };
        Column {
            name: name.to_string(),
            data_type,
            nullable: false,
            native_type: kind.to_string(),
            collation: (kind == "text").then(|| "C".to_string()),
            comment: None,
            distinct: None,
            histogram: None,
            note: None,
        }
    };
    Table {
        schema: "main".to_string(),
        name: name.to_string(),
        kind: TableKind::Table,
        columns: columns.split(',').map(column).collect(),
        primary_key: key.split(", ").map(str::to_string).collect(),
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        comment: None,
        row_count: None,
        size_bytes: None,
        warnings: Vec::new(),
    }
}

const COLUMNS: &[(&str, &str, &str)] = &[
    (
        "region",
        "r_regionkey",
        "r_regionkey key, r_name text, r_comment text",
    ),
    (
        "nation",
        "n_nationkey",
        "n_nationkey key, n_name text, n_regionkey key, n_comment text",
    ),
    (
        "supplier",
        "s_suppkey",
        "s_suppkey key, s_name text, s_address text, s_nationkey key, s_phone text, s_acctbal money, s_comment text",
    ),
    (
        "customer",
        "c_custkey",
        "c_custkey key, c_name text, c_address text, c_nationkey key, c_phone text, c_acctbal money, c_mktsegment text, c_comment text",
    ),
    (
        "part",
        "p_partkey",
        "p_partkey key, p_name text, p_mfgr text, p_brand text, p_type text, p_size int, p_container text, p_retailprice money, p_comment text",
    ),
    (
        "partsupp",
        "ps_partkey, ps_suppkey",
        "ps_partkey key, ps_suppkey key, ps_availqty int, ps_supplycost money, ps_comment text",
    ),
    (
        "orders",
        "o_orderkey",
        "o_orderkey key, o_custkey key, o_orderstatus text, o_totalprice money, o_orderdate date, o_orderpriority text, o_clerk text, o_shippriority int, o_comment text",
    ),
    (
        "lineitem",
        "l_orderkey, l_linenumber",
        "l_orderkey key, l_partkey key, l_suppkey key, l_linenumber int, l_quantity money, l_extendedprice money, l_discount money, l_tax money, l_returnflag text, l_linestatus text, l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct text, l_shipmode text, l_comment text",
    ),
];

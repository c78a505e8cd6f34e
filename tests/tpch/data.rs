use std::fmt::Display;
use std::fs::File;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::parquet::arrow::ArrowWriter;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};

/// A table of TPC-H.
pub struct Table {
    pub name: &'static str,
    /// Columns and key as SQL declares them; the types mean the same to every system.
    pub declared: &'static str,
    /// The values of a row, separated by `|`: none holds one, nor a backslash or a quote.
    pub lines: Vec<String>,
}

pub fn generate(scale: f64) -> Vec<Table> {
    fn lines<T: Display>(rows: impl Iterator<Item = T>) -> Vec<String> {
        // tpchgen ends a line with the separator.
        rows.map(|row| row.to_string().trim_end_matches('|').to_string())
            .collect()
    }
    let table = |name, declared, lines| Table {
        name,
        declared,
        lines,
    };
    vec![
        table("part", PART, lines(PartGenerator::new(scale, 1, 1).iter())),
        table(
            "supplier",
            SUPPLIER,
            lines(SupplierGenerator::new(scale, 1, 1).iter()),
        ),
        table(
            "partsupp",
            PARTSUPP,
            lines(PartSuppGenerator::new(scale, 1, 1).iter()),
        ),
        table(
            "customer",
            CUSTOMER,
            lines(CustomerGenerator::new(scale, 1, 1).iter()),
        ),
        table(
            "nation",
            NATION,
            lines(NationGenerator::new(scale, 1, 1).iter()),
        ),
        table(
            "region",
            REGION,
            lines(RegionGenerator::new(scale, 1, 1).iter()),
        ),
        table(
            "orders",
            ORDERS,
            lines(OrderGenerator::new(scale, 1, 1).iter()),
        ),
        table(
            "lineitem",
            LINEITEM,
            lines(LineItemGenerator::new(scale, 1, 1).iter()),
        ),
    ]
}

impl Table {
    /// Names and declared types of its columns.
    fn declared_columns(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let lines = self.declared.lines().map(str::trim);
        let columns = lines.filter(|line| !line.is_empty() && !line.starts_with("PRIMARY KEY"));
        columns.map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words.next().unwrap())
        })
    }

    pub fn columns(&self) -> Vec<&'static str> {
        self.declared_columns().map(|(name, _)| name).collect()
    }

    /// The rows as Arrow reads them.
    pub fn batch(&self) -> RecordBatch {
        let columns = self.declared_columns();
        let fields: Vec<Field> = columns
            .map(|(name, declared)| Field::new(name, arrow_type(declared), false))
            .collect();
        let reader = ReaderBuilder::new(Arc::new(Schema::new(fields)))
            .with_delimiter(b'|')
            .with_batch_size(self.lines.len())
            .build(Cursor::new(self.lines.join("\n")));
        reader.unwrap().next().unwrap().unwrap()
    }
}

/// `batches` as the Parquet file `folder/name.parquet`.
pub fn write(folder: &Path, name: &str, batches: &[RecordBatch]) {
    std::fs::create_dir_all(folder).unwrap();
    let file = File::create(folder.join(format!("{name}.parquet"))).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), None).unwrap();
    batches
        .iter()
        .for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
}

fn arrow_type(declared: &str) -> DataType {
    match declared.split(['(', ',']).next().unwrap() {
        "BIGINT" => DataType::Int64,
        "INTEGER" => DataType::Int32,
        "DECIMAL" => DataType::Decimal128(15, 2),
        "DATE" => DataType::Date32,
        "CHAR" | "VARCHAR" => DataType::Utf8,
        other => unreachable!("{other}"),
    }
}

const PART: &str = "
    p_partkey BIGINT NOT NULL,
    p_name VARCHAR(55) NOT NULL,
    p_mfgr CHAR(25) NOT NULL,
    p_brand CHAR(10) NOT NULL,
    p_type VARCHAR(25) NOT NULL,
    p_size INTEGER NOT NULL,
    p_container CHAR(10) NOT NULL,
    p_retailprice DECIMAL(15,2) NOT NULL,
    p_comment VARCHAR(23) NOT NULL,
    PRIMARY KEY (p_partkey)";
const SUPPLIER: &str = "
    s_suppkey BIGINT NOT NULL,
    s_name CHAR(25) NOT NULL,
    s_address VARCHAR(40) NOT NULL,
    s_nationkey BIGINT NOT NULL,
    s_phone CHAR(15) NOT NULL,
    s_acctbal DECIMAL(15,2) NOT NULL,
    s_comment VARCHAR(101) NOT NULL,
    PRIMARY KEY (s_suppkey)";
const PARTSUPP: &str = "
    ps_partkey BIGINT NOT NULL,
    ps_suppkey BIGINT NOT NULL,
    ps_availqty INTEGER NOT NULL,
    ps_supplycost DECIMAL(15,2) NOT NULL,
    ps_comment VARCHAR(199) NOT NULL,
    PRIMARY KEY (ps_partkey, ps_suppkey)";
const CUSTOMER: &str = "
    c_custkey BIGINT NOT NULL,
    c_name VARCHAR(25) NOT NULL,
    c_address VARCHAR(40) NOT NULL,
    c_nationkey BIGINT NOT NULL,
    c_phone CHAR(15) NOT NULL,
    c_acctbal DECIMAL(15,2) NOT NULL,
    c_mktsegment CHAR(10) NOT NULL,
    c_comment VARCHAR(117) NOT NULL,
    PRIMARY KEY (c_custkey)";
const NATION: &str = "
    n_nationkey BIGINT NOT NULL,
    n_name CHAR(25) NOT NULL,
    n_regionkey BIGINT NOT NULL,
    n_comment VARCHAR(152) NOT NULL,
    PRIMARY KEY (n_nationkey)";
const REGION: &str = "
    r_regionkey BIGINT NOT NULL,
    r_name CHAR(25) NOT NULL,
    r_comment VARCHAR(152) NOT NULL,
    PRIMARY KEY (r_regionkey)";
const ORDERS: &str = "
    o_orderkey BIGINT NOT NULL,
    o_custkey BIGINT NOT NULL,
    o_orderstatus CHAR(1) NOT NULL,
    o_totalprice DECIMAL(15,2) NOT NULL,
    o_orderdate DATE NOT NULL,
    o_orderpriority CHAR(15) NOT NULL,
    o_clerk CHAR(15) NOT NULL,
    o_shippriority INTEGER NOT NULL,
    o_comment VARCHAR(79) NOT NULL,
    PRIMARY KEY (o_orderkey)";
const LINEITEM: &str = "
    l_orderkey BIGINT NOT NULL,
    l_partkey BIGINT NOT NULL,
    l_suppkey BIGINT NOT NULL,
    l_linenumber INTEGER NOT NULL,
    l_quantity DECIMAL(15,2) NOT NULL,
    l_extendedprice DECIMAL(15,2) NOT NULL,
    l_discount DECIMAL(15,2) NOT NULL,
    l_tax DECIMAL(15,2) NOT NULL,
    l_returnflag CHAR(1) NOT NULL,
    l_linestatus CHAR(1) NOT NULL,
    l_shipdate DATE NOT NULL,
    l_commitdate DATE NOT NULL,
    l_receiptdate DATE NOT NULL,
    l_shipinstruct CHAR(25) NOT NULL,
    l_shipmode CHAR(10) NOT NULL,
    l_comment VARCHAR(44) NOT NULL,
    PRIMARY KEY (l_orderkey, l_linenumber)";

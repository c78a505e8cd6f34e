use std::time::{Duration, Instant};

use belvedere::Engine;
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use insta::assert_snapshot;

use crate::fixture::{Fixture, database, shown};

/// Ten thousand million rows.
const ENDLESS: &str =
    "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b
    WHERE a.value * b.value % 7 = 3";

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_over_its_time() {
    let t = Fixture::new().await;
    t.ok("SET statement_timeout = '200ms'").await;
    let started = Instant::now();
    assert_snapshot!(t.err(ENDLESS).await, @"timeout: the statement took longer than its limit of 200 ms. SET statement_timeout to allow more");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_snapshot!(
        t.ok("SELECT state, error FROM system.queries WHERE sql LIKE '%% 7%' AND state <> 'running'").await, @r"
    +--------+-----------------------------------------------------------------------------------------+
    | state  | error                                                                                   |
    +--------+-----------------------------------------------------------------------------------------+
    | failed | the statement took longer than its limit of 200 ms. SET statement_timeout to allow more |
    +--------+-----------------------------------------------------------------------------------------+
    ");
    // At a source, too: whoever notices first says so.
    database(
        &t.path("shop.db"),
        "CREATE TABLE many AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
            SELECT CAST(i AS INTEGER) AS i FROM n",
    );
    t.ok("SET statement_timeout = '2s'").await;
    let joined =
        "SELECT count(*) FROM shop.many a JOIN shop.many b ON a.i <> b.i AND a.i % 2 = b.i % 2
        JOIN shop.many c ON b.i % 2 = c.i % 2 WHERE c.i < a.i";
    let error = t.err(joined).await;
    assert!(
        error.starts_with("timeout: ") || error.starts_with("source_timeout: "),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(20));
    t.ok("SET statement_timeout = 0").await;
    let once = [("statement_timeout".to_string(), "100ms".to_string())];
    let error = match t.session.execute_with(ENDLESS, &once).await {
        Ok(answer) => answer.collect().await.map(|_| ()).unwrap_err(),
        Err(e) => e,
    };
    assert_eq!(error.code(), "timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_over_its_memory() {
    let t = Fixture::new().await;
    t.ok("SET memory_limit = '1MB'").await;
    let error = t.err("SELECT count(*) FROM (SELECT DISTINCT value, md5(cast(value AS text)) AS m FROM generate_series(1, 2000000)) t
        JOIN generate_series(1, 2000000) u ON t.value = u.value").await;
    assert!(
        error.starts_with("memory: the statement needs more memory than its limit allows"),
        "{error}"
    );
    assert_snapshot!(t.ok("SELECT count(*) AS n FROM erp.item").await, @r"
    +---+
    | n |
    +---+
    | 3 |
    +---+
    ");
}

#[tokio::test]
async fn ten_thousand_nested_parentheses() {
    let t = Fixture::empty().await;
    let nested = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_snapshot!(t.err(&nested).await, @"parse: the statement is nested too deeply (about 64 levels are taken) (line 1, column 72)");
    let unclosed = format!("SELECT {}", "(".repeat(10_000));
    assert!(t.err(&unclosed).await.starts_with("parse: "));
    let queries = format!(
        "{}SELECT 1{}",
        "SELECT * FROM (".repeat(2_000),
        ") t".repeat(2_000)
    );
    assert!(t.err(&queries).await.starts_with("parse: "));
}

#[tokio::test]
async fn a_hundred_megabytes_of_sql() {
    let t = Fixture::empty().await;
    let mut sql = String::from("SELECT '");
    sql.push_str(&"x".repeat(100 << 20));
    sql.push('\'');
    let started = Instant::now();
    assert_snapshot!(t.err(&sql).await, @"parse: the SQL text has 104857609 bytes; at most 4194304 are taken at once (line 1, column 1)");
    assert!(started.elapsed() < Duration::from_secs(10));
    // The log keeps its beginning.
    assert_snapshot!(t.ok("SELECT length(sql) < 20000 AS short FROM system.queries WHERE state = 'failed'").await, @r"
    +-------+
    | short |
    +-------+
    | true  |
    +-------+
    ");
}

#[tokio::test]
async fn long_chains_are_fine() {
    let t = Fixture::new().await;
    let terms: Vec<String> = (0..3_000).map(|i| format!("qty = {i}")).collect();
    let sql = format!(
        "SELECT count(*) AS n FROM shop.orders WHERE {}",
        terms.join(" OR ")
    );
    assert_snapshot!(t.ok(&sql).await, @r"
    +---+
    | n |
    +---+
    | 3 |
    +---+
    ");
}

#[tokio::test]
async fn views_nest_so_deep_and_no_deeper() {
    let t = Fixture::empty().await;
    t.ok("CREATE VIEW v0 AS SELECT 1 AS one").await;
    let mut failed = None;
    for i in 1..200 {
        let sql = format!("CREATE VIEW v{i} AS SELECT one FROM v{}", i - 1);
        if let Err(e) = shown(&t.session, &sql).await {
            failed = Some((i, t.text(&e)));
            break;
        }
    }
    let (depth, error) = failed.unwrap();
    assert!(depth > 50, "{depth}");
    assert!(error.contains("views deep"), "{error}");
}

/// A function that panics on a row, and, of a constant, while the query is planned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Panics(Signature);

impl ScalarUDFImpl for Panics {
    fn name(&self) -> &str {
        "panics"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(
        &self,
        arguments: ScalarFunctionArgs,
    ) -> datafusion::common::Result<ColumnarValue> {
        panic!("on {} rows", arguments.number_rows)
    }
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_statement() {
    let panics = ScalarUDF::from(Panics(Signature::any(1, Volatility::Immutable)));
    let engine = Engine::builder().udf(panics).open().await.unwrap();
    let session = engine.session();
    for query in [
        "SELECT panics(1)",
        "SELECT panics(value) FROM generate_series(1, 3)",
        "SELECT count(*) FROM generate_series(1, 30000) WHERE panics(value) > 1",
    ] {
        let failed = match session.execute(query).await {
            Ok(answer) => answer.collect().await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(failed.code(), "internal", "{query}: {failed}");
        let rows = session.execute("SELECT 1").await.unwrap().collect().await;
        assert_eq!(rows.unwrap().len(), 1);
    }
    let prepared = session.prepare("SELECT panics($1)").await.unwrap();
    let one = [ScalarValue::Int64(Some(1))];
    let failed = session.execute_prepared(&prepared, &one).await.unwrap_err();
    assert_eq!(failed.code(), "internal", "{failed}");
}

#[tokio::test]
async fn values_are_not_longer_than_they_may_be() {
    let t = Fixture::new().await;
    for sql in [
        "SELECT repeat('x', 400000000)",
        "SELECT lpad('x', 400000000)",
        "SELECT rpad(CAST(value AS VARCHAR), 400000000, 'ab') FROM generate_series(1, 2)",
        "SELECT array_repeat(1, 400000000)",
    ] {
        let refused = t.session.execute(sql).await;
        let refused = match refused {
            Ok(answer) => answer.collect().await.unwrap_err(),
            Err(e) => e,
        };
        assert_eq!(refused.sqlstate(), "54000", "{sql}: {refused}");
    }
    assert_snapshot!(t.err("SELECT repeat('xy', 40000000)").await, @"data: repeat would make a value of more than 64 MB");
    assert_snapshot!(t.err("SELECT count(*) FROM generate_series(1, 8000) AS s(i) WHERE repeat('x', 1000000 + i) > 'y'").await, @"data: repeat would make values of more than 512 MB");
    assert!(
        t.ok("SELECT octet_length(repeat('xy', 1000000)) AS n")
            .await
            .contains("2000000")
    );
}

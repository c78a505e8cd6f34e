//! One table read by several connections: the same rows as by one, of one snapshot.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use belvedere_connector::{BinaryOp, Code, Expr, Fragment, Literal, Rel, ScanRequest};
use common::{File, Opened, binary, column, filter, rows, text};
use futures::StreamExt;

/// `INSERT INTO t (columns) SELECT values FROM` the numbers from 1, as i.
fn fill(into: &str, select: &str, rows: usize) -> String {
    format!(
        "INSERT INTO {into} WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {rows})
         SELECT {select} FROM c;"
    )
}

/// How many streams had rows; together they have those of one.
async fn streams_with_rows(shop: &Opened, rel: Rel, partitions: usize) -> usize {
    let mut whole = shop.rows(rel.clone()).await;
    let parts = shop.read_in(rel, partitions).await.unwrap();
    let mut found: Vec<String> = parts.iter().flat_map(rows).collect();
    whole.sort();
    found.sort();
    assert!(whole == found, "{} and {} rows", whole.len(), found.len());
    parts.iter().filter(|part| part.num_rows() > 0).count()
}

#[tokio::test]
async fn any_row_ids() {
    let columns = "(n INTEGER, s TEXT)";
    for (what, table, filled, expected) in [
        (
            "dense",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)",
            fill("t", "i, 's' || i", 5000),
            4,
        ),
        (
            "hidden",
            &format!("CREATE TABLE t {columns}"),
            fill("t", "i, 's' || i", 5000),
            4,
        ),
        (
            "to the ends",
            &format!("CREATE TABLE t {columns}"),
            fill(
                "t (rowid, n)",
                "CASE i WHEN 1 THEN -9223372036854775808 WHEN 2 THEN 9223372036854775807 ELSE i END, i",
                5000,
            ),
            4,
        ),
        (
            "below zero",
            &format!("CREATE TABLE t {columns}"),
            fill("t (rowid, n)", "-i * 1000003, i", 500),
            4,
        ),
        (
            "in heaps",
            &format!("CREATE TABLE t {columns}"),
            fill("t (rowid, n)", "(i % 7) * 1000000000000 + i, i", 3000),
            4,
        ),
        (
            "deleted",
            &format!("CREATE TABLE t {columns}"),
            fill("t", "i, 's'", 5000)
                + "DELETE FROM t WHERE rowid BETWEEN 10 AND 4990 AND rowid % 100 <> 0;",
            4,
        ),
        (
            "two",
            &format!("CREATE TABLE t {columns}"),
            "INSERT INTO t (rowid, n) VALUES (1, 1), (1000000, 2);".to_string(),
            2,
        ),
        (
            "few",
            &format!("CREATE TABLE t {columns}"),
            fill("t", "i, 's'", 100),
            1,
        ),
        (
            "none",
            &format!("CREATE TABLE t {columns}"),
            String::new(),
            0,
        ),
        (
            "shadowed",
            "CREATE TABLE t (rowid TEXT, OID TEXT, n INT)",
            fill("t", "'x', 9 - i, i", 5000),
            4,
        ),
        (
            "shadowed by the row id",
            "CREATE TABLE t (rowid TEXT, oid INTEGER PRIMARY KEY, _rowid_ INT)",
            fill("t", "'x' || i, 6000 - i, 1", 5000),
            4,
        ),
        (
            "shadowed wholly",
            "CREATE TABLE t (rowid TEXT, oid INT, _ROWID_ INT AS (1))",
            fill("t (rowid, oid)", "'x' || i, 1", 5000),
            1,
        ),
        (
            "an odd name",
            "CREATE TABLE t (\"a \"\"b\" INTEGER PRIMARY KEY, s TEXT)",
            fill("t", "i, 's' || i", 5000),
            4,
        ),
        (
            "another key",
            "CREATE TABLE t (id INTEGER PRIMARY KEY DESC, s TEXT)",
            fill("t", "10000 - i, 's' || i", 5000),
            4,
        ),
        (
            "without",
            "CREATE TABLE t (id INT PRIMARY KEY, s TEXT) WITHOUT ROWID",
            fill("t", "i, 's' || i", 5000),
            1,
        ),
        (
            "a view",
            "CREATE TABLE u (n INT); CREATE VIEW t AS SELECT n FROM u",
            fill("u", "i", 5000),
            1,
        ),
    ] {
        let file = File::new(&format!("{table}; {filled}"));
        let shop = file.open(&[]).await;
        let found = streams_with_rows(&shop, shop.scan("t", &[]), 4).await;
        assert_eq!(found, expected, "{what}");
    }
}

fn compared(rel: &Rel, name: &str, op: BinaryOp, value: i64) -> Expr {
    let constant = Expr::literal(Literal::Int(value), DataType::Int64);
    binary(op, column(rel, name), constant)
}

#[tokio::test]
async fn filters() {
    use BinaryOp::*;
    let file = File::new(&format!(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INT, sku TEXT, note TEXT); CREATE INDEX i ON t (sku); {}",
        fill(
            "t",
            "i, i % 1000, 'sku' || i, CASE WHEN i % 3 THEN 'abc' END",
            10_000
        ),
    ));
    let shop = file.open(&[]).await;
    let scan = shop.scan("t", &["id", "n", "note"]);
    let id = |op, value| compared(&scan, "id", op, value);
    let n = |op, value| compared(&scan, "n", op, value);
    for (predicates, expected) in [
        (vec![n(Lt, 500)], 3),
        (vec![n(Eq, 7), n(GtEq, 0)], 3),
        (vec![n(Lt, 0)], 0),
        (vec![id(Gt, 2000)], 3),
        (vec![id(GtEq, 2000), n(NotEq, 0), id(Lt, 8000)], 3),
        (vec![id(LtEq, 8000), id(Gt, 7000), id(Gt, 1)], 1),
        (vec![id(Gt, 20_000)], 0),
        (vec![id(Gt, 5000), id(Lt, 5000)], 0),
        (vec![id(Eq, 5000)], 1),
        (vec![binary(Or, id(Gt, 9000), id(Lt, 2000))], 1),
        (vec![id(GtEq, i64::MIN), id(LtEq, i64::MAX)], 3),
    ] {
        let filtered = Rel::Filter {
            input: Box::new(scan.clone()),
            predicates,
        };
        let sql = shop.sql(filtered.clone());
        assert_eq!(
            streams_with_rows(&shop, filtered, 3).await,
            expected,
            "{sql}"
        );
    }
    // Computed above a filter, and filtered again.
    let inner = filter(scan.clone(), n(Lt, 900));
    let projected = Rel::Project {
        columns: vec![
            (column(&inner, "id"), "id".to_string()),
            (
                binary(Plus, column(&inner, "n"), column(&inner, "id")),
                "sum".to_string(),
            ),
        ],
        input: Box::new(inner),
    };
    let outer = filter(projected.clone(), compared(&projected, "sum", Gt, 700));
    assert_eq!(streams_with_rows(&shop, outer, 3).await, 3);
    // What an index serves is not read in parts.
    let scan = shop.scan("t", &["id", "sku"]);
    let of_index = filter(
        scan.clone(),
        binary(Eq, column(&scan, "sku"), text("sku77")),
    );
    assert_eq!(streams_with_rows(&shop, of_index, 3).await, 1);
    assert_eq!(
        streams_with_rows(&shop, shop.scan("t", &["sku"]), 3).await,
        1
    );
}

#[tokio::test]
async fn large_tables_are_offered_in_parts() {
    let file = File::new(&format!(
        "CREATE TABLE t (n INTEGER); CREATE TABLE small (n INTEGER); CREATE VIEW v AS SELECT n FROM t; {} {}",
        fill("t", "i", 160_000),
        fill("small", "i", 50_000),
    ));
    let shop = file.open(&[("max_connections", "2")]).await;
    let offered = |rel: Rel| shop.source.partitions(&Fragment::new(rel));
    assert_eq!(offered(shop.scan("t", &[])), 2);
    assert_eq!(offered(shop.scan("small", &[])), 1);
    assert_eq!(offered(shop.scan("v", &[])), 1);
    let limited = Rel::Limit {
        input: Box::new(shop.scan("t", &[])),
        skip: 0,
        fetch: Some(10),
    };
    assert_eq!(offered(limited), 1);
    let shop = file.open(&[("max_connections", "8")]).await;
    assert_eq!(
        shop.source.partitions(&Fragment::new(shop.scan("t", &[]))),
        3
    );
}

/// A writer who moves amounts and rows about all the time, in transactions; whatever is read is what some of them left.
async fn sums_that_never_move(journal_mode: &str) {
    const ROWS: usize = 4000;
    let file = File::new(&format!(
        "PRAGMA journal_mode = {journal_mode}; PRAGMA synchronous = OFF; CREATE TABLE t (id INTEGER PRIMARY KEY, amount INTEGER); {}",
        fill("t", "i * 10, 100", ROWS),
    ));
    let shop = file.open(&[("busy_timeout_ms", "60000")]).await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (done, owner) = (done.clone(), file.owner);
        move || {
            owner.busy_timeout(Duration::from_secs(60)).unwrap();
            let mut commits = 0;
            for step in 0_i64.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let (from, to) = (
                    (step * 7919) % ROWS as i64,
                    (step * 104_729 + 1) % ROWS as i64,
                );
                let moved = format!(
                    "BEGIN IMMEDIATE;
                     UPDATE t SET amount = amount - 1 WHERE id / 10 = {from} + 1;
                     UPDATE t SET amount = amount + 1 WHERE id / 10 = {from} + 1 AND {from} = {to};
                     UPDATE t SET amount = amount + 1 WHERE id / 10 = {to} + 1 AND {from} <> {to};
                     UPDATE t SET id = id / 10 * 10 + {step} % 10 WHERE id / 10 = {to} + 1;
                     COMMIT;"
                );
                owner.execute_batch(&moved).unwrap();
                commits += 1;
                // Without a log, a writer who never rests leaves readers no moment to begin.
                std::thread::sleep(Duration::from_millis(2));
            }
            commits
        }
    });
    let mut in_parts = 0;
    for _ in 0..40 {
        let parts = shop.read_in(shop.scan("t", &["amount"]), 3).await.unwrap();
        in_parts += usize::from(parts.iter().filter(|part| part.num_rows() > 0).count() > 1);
        let amounts = || {
            parts
                .iter()
                .flat_map(|part| part.column(0).as_primitive::<Int64Type>().values())
        };
        assert_eq!(
            (amounts().count(), amounts().sum::<i64>()),
            (ROWS, 100 * ROWS as i64)
        );
    }
    done.store(true, Ordering::Relaxed);
    let commits: usize = writer.join().unwrap();
    assert!(
        commits > 0 && in_parts > 0,
        "{commits} commits, {in_parts} in parts"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_snapshot_with_a_log() {
    sums_that_never_move("WAL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_snapshot_with_a_journal() {
    sums_that_never_move("DELETE").await;
}

#[tokio::test]
async fn a_snapshot_lasts_until_the_last_stream_is_read() {
    let file = File::new(&format!(
        "CREATE TABLE t (n INTEGER); {}",
        fill("t", "i", 5000)
    ));
    let shop = file.open(&[("max_connections", "2")]).await;
    let request = ScanRequest {
        fragment: Fragment::new(shop.scan("t", &[])).into(),
        partitions: 2,
        batch_rows: 10,
        deadline: None,
    };
    let mut streams = shop.source.scan(request).await.unwrap();
    let mut read = 0;
    for (i, stream) in streams.iter_mut().enumerate() {
        while let Some(batch) = stream.next().await {
            read += batch.unwrap().num_rows();
            file.owner
                .execute_batch("DELETE FROM t WHERE n % 2; UPDATE t SET n = n + 1")
                .unwrap();
        }
        assert!(i > 0 || read < 5000);
    }
    assert_eq!(read, 5000);
}

#[tokio::test]
async fn connections_come_back() {
    let file = File::new(&format!(
        "CREATE TABLE t (n INTEGER); {}",
        fill("t", "i", 5000)
    ));
    let shop = file.open(&[("max_connections", "3")]).await;
    let request = ScanRequest {
        fragment: Fragment::new(shop.scan("t", &[])).into(),
        partitions: 3,
        batch_rows: 10,
        deadline: None,
    };
    let scan = async || shop.source.scan(request.clone()).await.unwrap();
    // Never polled; one polled; some dropped while others are read.
    drop(scan().await);
    let mut streams = scan().await;
    streams[1].next().await.unwrap().unwrap();
    drop(streams);
    let mut streams = scan().await;
    while let Some(batch) = streams[0].next().await {
        batch.unwrap();
    }
    let last = streams.swap_remove(2);
    drop(streams);
    last.for_each(async |batch| drop(batch.unwrap())).await;
    // More scans at once than there are connections: some read in fewer parts, all read everything.
    let reads = (0..30).map(|_| shop.read_in(shop.scan("t", &[]), 3));
    for parts in futures::future::join_all(reads).await {
        let read: usize = parts.unwrap().iter().map(|part| part.num_rows()).sum();
        assert_eq!(read, 5000);
    }
    // All are there again, and see what there is now. (Those of a stream that was dropped come back soon.)
    file.owner
        .execute_batch("DELETE FROM t WHERE n > 4000")
        .unwrap();
    assert_eq!(streams_with_rows(&shop, shop.scan("t", &[]), 3).await, 3);
    let shop = file.open(&[("max_connections", "1")]).await;
    assert_eq!(streams_with_rows(&shop, shop.scan("t", &[]), 3).await, 1);
}

#[tokio::test]
async fn what_is_wrong_is_said_of_each_part() {
    let file = File::new(&format!(
        "CREATE TABLE t (n INTEGER, s TEXT); {} UPDATE t SET n = 'many' WHERE rowid = 4321;",
        fill("t", "i, 'x'", 5000)
    ));
    let shop = file.open(&[]).await;
    let error = shop.read_in(shop.scan("t", &["n"]), 4).await.unwrap_err();
    assert_eq!(
        (error.code, error.row.as_deref()),
        (Code::ValueOutOfRange, Some("4321"))
    );
    file.owner
        .execute_batch("ALTER TABLE t DROP COLUMN s")
        .unwrap();
    let error = shop.read_in(shop.scan("t", &["s"]), 4).await.unwrap_err();
    assert_eq!(error.code, Code::SchemaChanged);
    file.owner.execute_batch("DROP TABLE t").unwrap();
    let error = shop.read_in(shop.scan("t", &["n"]), 4).await.unwrap_err();
    assert_eq!(error.code, Code::TableMissing);
}

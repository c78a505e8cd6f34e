use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use belvedere_connector::{BinaryOp, Code, Fragment, ScanRequest};
use futures::{StreamExt, TryStreamExt};

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread")]
async fn no_rows_no_columns_many_columns_one_huge_value() {
    let db = Database::new("shapes").await;
    let wide: Vec<String> = (0..1600).map(|i| format!("c{i} int2")).collect();
    db.run(&format!(
        "CREATE TABLE empty (a int, b text);
         CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
         CREATE TABLE wide ({}); INSERT INTO wide (c0, c1599) VALUES (1, 2);
         CREATE TABLE huge (id int8, v text); INSERT INTO huge VALUES (1, repeat('ä', 20000000)), (2, 'x');
         CREATE TABLE \"Odd \"\"Name\" (\"a b\" int8, \"A\"\"\" text, \"select\" int8);
         INSERT INTO \"Odd \"\"Name\" VALUES (1, 'x', 2)",
        wide.join(", ")
    ))
    .await;
    let (source, tables) = db.discovered(&[]).await;
    let rows = async |name: &str| read(&source, scan_of(table(&tables, name))).await.unwrap();
    assert_eq!(rows("empty").await.num_rows(), 0);
    assert_eq!(rows("nothing").await.num_rows(), 2);
    let wide = rows("wide").await;
    assert_eq!((wide.num_rows(), wide.num_columns()), (1, 1600));
    let huge = rows("huge").await;
    assert_eq!(huge.column(1).as_string::<i32>().value(0).len(), 40_000_000);
    assert_eq!(lines(&rows(r#"Odd "Name"#).await), ["1|x|2"]);
    // A scan of no columns counts rows, by either protocol.
    let t = table(&tables, "huge");
    assert_eq!(
        read(&source, project(scan_of(t), vec![]))
            .await
            .unwrap()
            .num_rows(),
        2
    );
    let one = filter(scan_of(t), compare(column(t, "id"), BinaryOp::Eq, int(1)));
    assert_eq!(
        read(&source, project(one, vec![]))
            .await
            .unwrap()
            .num_rows(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_cut_by_rows_and_by_bytes() {
    let db = Database::new("batches").await;
    db.run(
        "CREATE TABLE n (id int8); INSERT INTO n SELECT generate_series(1, 2500);
         CREATE TABLE fat (v text); INSERT INTO fat SELECT repeat('x', 1000000) FROM generate_series(1, 30)",
    )
    .await;
    let (source, tables) = db.discovered(&[]).await;
    let sizes = async |name: &str| -> Vec<usize> {
        let stream = source
            .scan(request(scan_of(table(&tables, name))))
            .await
            .unwrap()
            .remove(0);
        stream.map_ok(|b| b.num_rows()).try_collect().await.unwrap()
    };
    assert_eq!(sizes("n").await, [1000, 1000, 500]);
    assert_eq!(sizes("fat").await, [9, 9, 9, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_table_is_read_in_ranges_of_one_snapshot() {
    let db = Database::new("split").await;
    db.run(
        "CREATE TABLE big (id int8, v text);
         INSERT INTO big SELECT i, repeat('x', 1700) FROM generate_series(1, 40000) i;
         CREATE TABLE parent (id int8, v text); CREATE TABLE child () INHERITS (parent);
         INSERT INTO parent SELECT * FROM big; INSERT INTO child SELECT * FROM big LIMIT 10;
         ANALYZE",
    )
    .await;
    for (connections, backwards) in [("4", false), ("4", true), ("2", true), ("1", false)] {
        let (source, tables) = db.discovered(&[("max_connections", "4")]).await;
        let fragment = Fragment::new(scan_of(table(&tables, "big")));
        let partitions = source.partitions(&fragment);
        assert_eq!(partitions, 4);
        // The definition that planned may have had more connections than the one that reads.
        let source = db.source(&[("max_connections", connections)]);
        let mut streams = source
            .scan(ScanRequest {
                fragment: Arc::new(fragment),
                partitions,
                batch_rows: 8192,
                deadline: Some(Instant::now() + Duration::from_secs(60)),
            })
            .await
            .unwrap();
        assert_eq!(streams.len(), 4);
        if backwards {
            streams.reverse();
        }
        let mut ids: Vec<i64> = Vec::new();
        for (i, stream) in streams.into_iter().enumerate() {
            let batches: Vec<_> = stream.try_collect().await.unwrap();
            if i == 0 {
                db.run("UPDATE big SET id = -id WHERE id % 100 = 0; INSERT INTO big VALUES (0)")
                    .await;
            }
            for batch in batches {
                let column: &Int64Array = batch.column(0).as_primitive::<Int64Type>();
                ids.extend(column.values());
            }
        }
        ids.sort_unstable();
        assert_eq!(ids.len(), 40_000);
        assert!(ids.iter().zip(1..).all(|(a, b)| *a == b));
        db.run("DELETE FROM big WHERE id = 0; UPDATE big SET id = -id WHERE id < 0")
            .await;
    }

    // All at once, with a filter that has a parameter.
    let (source, tables) = db.discovered(&[]).await;
    let big = table(&tables, "big");
    let half = filter(
        scan_of(big),
        compare(column(big, "id"), BinaryOp::LtEq, int(20_000)),
    );
    let read_all = async |rel: belvedere_connector::Rel, partitions: usize| {
        let mut request = request(rel);
        request.partitions = partitions;
        let streams = source.scan(request).await.unwrap();
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|s| tokio::spawn(count(s)))
            .collect();
        let mut counts = Vec::new();
        for task in tasks {
            counts.push(task.await.unwrap().unwrap());
        }
        counts
    };
    let counts = read_all(half, 4).await;
    assert_eq!(counts.iter().sum::<usize>(), 20_000);
    // One with heirs is not split, and still whole.
    let counts = read_all(scan_of(table(&tables, "parent")), 3).await;
    assert_eq!(counts.iter().sum::<usize>(), 40_010);
    assert_eq!(counts.iter().filter(|n| **n > 0).count(), 1);
    // One row is found by its key, in one place.
    db.run("ALTER TABLE big ADD PRIMARY KEY (id)").await;
    let (source, tables) = db.discovered(&[]).await;
    let big = table(&tables, "big");
    let below = |op| filter(scan_of(big), compare(column(big, "id"), op, int(7)));
    assert_eq!(source.partitions(&Fragment::new(below(BinaryOp::Eq))), 1);
    assert!(source.partitions(&Fragment::new(below(BinaryOp::Lt))) > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_ends_its_work_and_frees_its_connection() {
    let db = Database::new("dropped").await;
    db.run(
        "CREATE TABLE big (id int8, v text);
         INSERT INTO big SELECT i, repeat('x', 400) FROM generate_series(1, 100000) i",
    )
    .await;
    let (source, tables) = db
        .discovered(&[("max_connections", "1"), ("application_name", "dropper")])
        .await;
    let big = table(&tables, "big");
    let everything = compare(column(big, "id"), BinaryOp::Gt, int(0));
    for rel in [scan_of(big), filter(scan_of(big), everything)] {
        let mut stream = source.scan(request(rel.clone())).await.unwrap().remove(0);
        assert!(stream.next().await.unwrap().is_ok());
        drop(stream);
        let started = Instant::now();
        // The only connection is free again.
        assert_eq!(read(&source, rel).await.unwrap().num_rows(), 100_000);
        assert!(started.elapsed() < Duration::from_secs(20));
        let active: i64 = db
            .client
            .query_one(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dropper' AND state <> 'idle'",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        assert_eq!(active, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_with_four_connections() {
    let db = Database::new("crowd").await;
    db.run("CREATE TABLE t (id int8); INSERT INTO t SELECT generate_series(1, 100)")
        .await;
    let (source, tables) = db.discovered(&[("application_name", "crowd")]).await;
    let rel = scan_of(table(&tables, "t"));
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let (source, rel) = (source.clone(), rel.clone());
            tokio::spawn(async move { read(&source, rel).await.map(|b| b.num_rows()) })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), 100);
    }
    let sessions: i64 = db
        .client
        .query_one(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crowd'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert!(sessions <= 4, "{sessions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_pool_and_a_passed_deadline_are_told_apart() {
    let db = Database::new("busy").await;
    db.run(
        "CREATE TABLE big (id int8, v text);
         INSERT INTO big SELECT i, repeat('x', 400) FROM generate_series(1, 100000) i;
         CREATE VIEW slow AS SELECT 1::int8 AS id FROM pg_sleep(30)",
    )
    .await;
    let (source, tables) = db.discovered(&[("max_connections", "1")]).await;
    let soon = |rel| {
        let mut request = request(rel);
        request.deadline = Some(Instant::now() + Duration::from_millis(500));
        request
    };
    let held = {
        let mut stream = source
            .scan(request(scan_of(table(&tables, "big"))))
            .await
            .unwrap()
            .remove(0);
        stream.next().await.unwrap().unwrap();
        stream
    };
    let stream = source
        .scan(soon(scan_of(table(&tables, "big"))))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(count(stream).await.unwrap_err().code, Code::Busy);
    drop(held);
    let started = Instant::now();
    read(&source, scan_of(table(&tables, "big"))).await.unwrap();
    let stream = source
        .scan(soon(scan_of(table(&tables, "slow"))))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(count(stream).await.unwrap_err().code, Code::Timeout);
    assert!(started.elapsed() < Duration::from_secs(15));
}

//! TPC-H spread over four systems, against one copy of the data.
//!
//! The eight tables are made once, as text. The text is loaded into PostgreSQL, MariaDB, SQLite and a Parquet file, and
//! read by Arrow into tables in memory, which plain DataFusion queries. Belvedere answers each query twice: pushdown on,
//! and off. On stderr stands what each query sent where. DuckDB's opinion of the same copy is asked for afterwards, in
//! `tests/clients/test_tpch.py`, if `BELVEDERE_TPCH_KEEP` names a folder in which to leave tables and answers.
//!
//! | file | owns |
//! |---|---|
//! | `data.rs` | [`Table`](data::Table): the rows of a table, and what it is declared as |
//! | `kept.rs` | the queries as views that are kept by change, while rows change in each system |
//! | `places.rs` | [`Places`](places::Places): the four systems, loaded |
//! | `rows.rs` | [`Rows`](rows::Rows): answers that can be compared |

mod data;
mod kept;
mod places;
mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use belvedere::{Engine, Session};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::prelude::SessionContext;

use data::Table;
use places::Places;
use rows::Rows;

/// Unless `BELVEDERE_TPCH_SCALE` says another.
const SCALE: f64 = 0.01;

/// Queries whose ORDER BY leaves the order of some rows open.
const OPEN_ORDER: &[usize] = &[3, 5, 10, 11, 18];

fn query(number: usize) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tpch/queries");
    std::fs::read_to_string(folder.join(format!("q{number:02}.sql"))).unwrap()
}

/// The one copy: no part of Belvedere is in it.
fn one_copy(tables: &[Table]) -> SessionContext {
    let context = SessionContext::new();
    for table in tables {
        context.register_batch(table.name, table.batch()).unwrap();
    }
    context
}

/// Whether changes are followed.
#[derive(Clone, Copy, PartialEq)]
enum Kept {
    Yes,
    No,
}

async fn four_systems(places: &Places, kept: Kept) -> Session {
    let engine = Engine::builder().open().await.unwrap();
    let session = engine.session();
    for (name, url) in places.urls() {
        if kept == Kept::Yes && name == "lake" {
            continue;
        }
        let mut sql = format!("CREATE SOURCE {name} FROM '{url}'");
        if kept == Kept::Yes && name == "lite" {
            sql += " WITH (changes = 'triggers')";
        }
        session
            .execute(&sql)
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    session
        .set(
            "search_path",
            &if kept == Kept::Yes {
                "pg, maria, lite".to_string()
            } else {
                places.urls().map(|(name, _)| name).join(", ")
            },
        )
        .unwrap();
    session
}

async fn answer(session: &Session, sql: &str, pushdown: &str) -> Result<Vec<RecordBatch>, String> {
    let settings = [("pushdown".to_string(), pushdown.to_string())];
    let answer = session
        .execute_with(sql, &settings)
        .await
        .map_err(|e| e.to_string())?;
    answer.collect().await.map_err(|e| e.to_string())
}

/// How many fragments each source is sent. Files are scanned here: theirs are scans.
async fn sent(session: &Session, sql: &str) -> String {
    let answer = session.execute(&format!("EXPLAIN {sql}")).await.unwrap();
    let batches = answer.collect().await.unwrap();
    let lines = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten());
    let mut counts = BTreeMap::new();
    for line in lines {
        if let Some(source) = line.strip_prefix("Sent to ") {
            let name = source.split_whitespace().next().unwrap_or(source);
            *counts.entry(name.to_string()).or_insert(0) += 1;
        } else if line.trim_start().starts_with("DataSourceExec: file_groups") {
            *counts.entry("lake (scans)".to_string()).or_insert(0) += 1;
        }
    }
    counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_22_queries_over_four_systems_equal_those_over_one_copy() {
    let scale = std::env::var("BELVEDERE_TPCH_SCALE").map_or(SCALE, |text| {
        text.parse().expect("BELVEDERE_TPCH_SCALE is a number")
    });
    let tables = data::generate(scale);
    let places = Places::start(&tables).await;
    let session = four_systems(&places, Kept::No).await;
    let copy = one_copy(&tables);
    let kept = std::env::var_os("BELVEDERE_TPCH_KEEP").map(PathBuf::from);
    if let Some(folder) = &kept {
        for table in &tables {
            data::write(&folder.join("tables"), table.name, &[table.batch()]);
        }
    }
    let mut failures = Vec::new();
    for number in 1..=22 {
        let sql = query(number);
        let plain = copy.sql(&sql).await.unwrap().collect().await.unwrap();
        let expected = Rows::new(&plain);
        assert!(
            expected.len() > 0,
            "Q{number} answers nothing at this scale"
        );
        let started = Instant::now();
        let mut bad = Vec::new();
        for pushdown in ["on", "off"] {
            let compared = answer(&session, &sql, pushdown).await.and_then(|batches| {
                if let Some(folder) = kept.as_ref().filter(|_| pushdown == "on") {
                    data::write(&folder.join("answers"), &format!("q{number:02}"), &batches);
                }
                Rows::new(&batches).same_as(&expected, !OPEN_ORDER.contains(&number))
            });
            let failed = |why| format!("Q{number}, pushdown {pushdown}: {why}");
            bad.extend(compared.err().map(failed));
        }
        eprintln!(
            "Q{number}: {}, {} rows, {} ms on and off; sent: {}",
            if bad.is_empty() { "equal" } else { "NOT EQUAL" },
            expected.len(),
            started.elapsed().as_millis(),
            sent(&session, &sql).await
        );
        if !bad.is_empty() {
            failures.push(bad.join("\n"));
        }
    }
    eprintln!(
        "TPC-H at scale {scale}: {} of 22 queries over four systems equal one copy, pushdown on and off",
        22 - failures.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

//! TPC-H over four systems, as the tests spread it, and Belvedere over them: part, supplier and partsupp are in
//! PostgreSQL; customer, nation and region in MariaDB; orders in SQLite; lineitem in one Parquet file; their keys are
//! indexed. The servers are private ones, on free ports of loopback.

#![allow(dead_code)]

#[path = "../../tests/tpch/data.rs"]
pub mod data;
#[path = "../../tests/tpch/places.rs"]
pub mod places;

use std::future::Future;

use belvedere::{Engine, Session};
use datafusion::arrow::array::RecordBatch;

/// Names and URLs of the sources.
pub type Urls = [(&'static str, String); 4];

/// On a thread of the runtime, as in a server: on the thread of `main`, every wake would go from one to another.
pub fn on_runtime<T: Send + 'static>(run: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(8 << 20)
        .build()
        .expect("a runtime");
    let task = runtime.spawn(run);
    runtime.block_on(task).expect("the benchmark ends")
}

/// Over an engine of its own.
pub async fn session(urls: &Urls) -> Session {
    let engine = Engine::builder().open().await.expect("an engine");
    let session = engine.session();
    for (name, url) in urls {
        let sql = format!("CREATE SOURCE {name} FROM '{url}'");
        session.execute(&sql).await.expect("a source");
    }
    let names: Vec<&str> = urls.iter().map(|(name, _)| *name).collect();
    session
        .set("search_path", &names.join(", "))
        .expect("a setting");
    session
}

/// The file of one of the 22 queries.
pub fn query_path(number: usize) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tpch/queries");
    format!("{folder}/q{number:02}.sql")
}

pub fn query(number: usize) -> String {
    std::fs::read_to_string(query_path(number)).expect("a query")
}

/// Of `--only 3,5`; without it all.
pub fn chosen(only: &str, name: &str) -> bool {
    only.is_empty() || only.split(',').any(|one| one.trim() == name)
}

pub async fn rows(session: &Session, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let answer = session.execute(sql).await.map_err(|e| e.to_string())?;
    answer.collect().await.map_err(|e| e.to_string())
}

/// What `EXPLAIN ANALYZE` says, a line each.
pub async fn analyzed(session: &Session, sql: &str) -> Vec<String> {
    let plan = rows(session, &format!("EXPLAIN ANALYZE {sql}")).await;
    texts(&plan.expect("a plan"), 0)
}

/// A column of text.
pub fn texts(batches: &[RecordBatch], column: usize) -> Vec<String> {
    use datafusion::arrow::array::AsArray;
    let columns = batches.iter().map(|batch| batch.column(column));
    let texts = columns.flat_map(|column| column.as_string::<i32>().iter().flatten());
    texts.map(ToString::to_string).collect()
}

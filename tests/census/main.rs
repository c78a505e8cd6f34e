//! The plan census: which parts of the 22 TPC-H queries the algebra of fragments cannot say.
//!
//! The tables are empty and at sources that answer exactly whatever can be said, so whatever stays here stays because
//! of the algebra or of the translation into it. Once with all tables at one source, where everything should be one
//! fragment; once split over four, where joins between sources stay by nature. The golden text is
//! `snapshots/`; `INSTA_UPDATE=always cargo test --test census` makes it anew.

mod source;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use belvedere::{Engine, Session};
use datafusion::arrow::array::AsArray;

const FOUR_WAYS: &[(&str, &str)] = &[
    ("pg", "part,supplier,partsupp"),
    ("maria", "customer,nation,region"),
    ("lite", "orders"),
    ("lake", "lineitem"),
];
const ONE: &[(&str, &str)] = &[(
    "all8",
    "part,supplier,partsupp,customer,nation,region,orders,lineitem",
)];

async fn session(sources: &[(&str, &str)]) -> Session {
    let engine = Engine::builder()
        .connector(Arc::new(source::EmptyConnector))
        .open()
        .await
        .unwrap();
    let session = engine.session();
    for (name, tables) in sources {
        let sql = format!("CREATE SOURCE {name} FROM 'empty:{tables}'");
        session.execute(&sql).await.unwrap();
    }
    let path: Vec<_> = sources.iter().map(|(name, _)| *name).collect();
    session.set("search_path", &path.join(", ")).unwrap();
    session
}

/// What is sent, and what stays though one source holds its input.
async fn explained(session: &Session, sql: &str) -> Vec<String> {
    let answer = session.execute(&format!("EXPLAIN {sql}")).await.unwrap();
    let batches = answer.collect().await.unwrap();
    let lines = batches
        .iter()
        .flat_map(|b| b.column(0).as_string::<i32>().iter().flatten());
    let lines =
        lines.take_while(|line| *line != "Runs here" && !line.starts_with("Nothing runs here"));
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_string)
        .collect()
}

async fn census(sources: &[(&str, &str)]) -> String {
    let session = session(sources).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tpch/queries");
    let mut text = String::new();
    let mut reasons: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for number in 1..=22 {
        let sql = std::fs::read_to_string(folder.join(format!("q{number:02}.sql"))).unwrap();
        writeln!(text, "Q{number}").unwrap();
        for line in explained(&session, &sql).await {
            if let Some(why) = line.trim().strip_prefix("because: ") {
                reasons.entry(why.to_string()).or_default().push(number);
            }
            writeln!(text, "  {line}").unwrap();
        }
        // It also runs: over empty tables, but over the whole plan.
        let rows = session.execute(&sql).await.unwrap().collect().await;
        rows.unwrap_or_else(|e| panic!("Q{number}: {e}"));
    }
    writeln!(text, "\nWhy something stays: in queries").unwrap();
    for (why, queries) in reasons {
        let queries: Vec<_> = queries.iter().map(usize::to_string).collect();
        writeln!(text, "  {why}: {}", queries.join(", ")).unwrap();
    }
    text
}

#[tokio::test]
async fn all_tables_at_one_source() {
    insta::assert_snapshot!("one_source", census(ONE).await);
}

#[tokio::test]
async fn split_four_ways() {
    insta::assert_snapshot!("four_sources", census(FOUR_WAYS).await);
}

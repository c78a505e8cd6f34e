//! Queries whose answers were wrong before `src/engine/upstream`.

mod decimals;
mod floats;
mod patterns;
mod plans;
mod subqueries;
mod times;

use crate::fixture::{Fixture, database};

async fn fixture(tables: &str) -> Fixture {
    let fixture = Fixture::empty().await;
    database(&fixture.path("own.db"), tables);
    fixture.ok("CREATE SOURCE own FROM 'sqlite:own.db'").await;
    fixture.ok("SET pushdown = off").await;
    fixture
}

/// Each query over `table`, which stands for what is `from`, and its answer.
async fn answers(fixture: &Fixture, (table, from): (&str, &str), queries: &[&str]) -> String {
    let mut found = String::new();
    for query in queries {
        let answer = fixture.ok(&query.replace(table, from)).await;
        found.push_str(&format!("{query}\n{answer}\n"));
    }
    found
}

//! Traps by name: where a source's answer is easily another than the engine's. Each is a test against the real system, of
//! queries that give the same with pushdown on and off. `docs/exactness.md` has the table of them; that its names are those
//! of tests is a test, too.
//!
//! | file | traps |
//! |---|---|
//! | `text.rs` | collations, padding, escapes, functions of text, text with NUL |
//! | `numbers.rs` | floats, integers, decimals, NULLs in an order |
//! | `times.rs` | time zones, the calendar's ends, intervals, parts |
//! | `types.rs` | what only one system has: enums, arrays, JSON, affinity … |

mod names;
mod numbers;
mod text;
mod times;
mod types;

use belvedere::{Engine, Session};

use crate::oracle::{Outcome, compare};
use crate::systems::System;

/// Tests named by their trap, in a module for each system: tables of the system, then queries over the source `s`.
macro_rules! traps {
    ($($system:ident { $($name:ident: $tables:expr => $queries:expr;)* })*) => {
        $(mod $system {
            #[allow(unused_imports)]
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let system = $crate::systems::$system(stringify!($name)).await;
                $crate::traps::agrees(&system, &$tables, &$queries).await;
            })*
        })*
    };
}
use traps;

/// An engine over the system's tables. It has to live as long as its session.
async fn opened(system: &dyn System, tables: &[impl ToString]) -> (Engine, Session) {
    let tables: Vec<_> = tables.iter().map(ToString::to_string).collect();
    system.execute(&tables).await;
    let engine = Engine::builder().open().await.unwrap();
    let session = engine.session();
    let source = format!("CREATE SOURCE s FROM '{}'", system.url());
    session.execute(&source).await.unwrap();
    (engine, session)
}

async fn agrees(system: &dyn System, tables: &[impl ToString], queries: &[&str]) {
    let (_engine, session) = opened(system, tables).await;
    let mut wrong = Vec::new();
    for query in queries {
        match compare(&session, query, query.contains("ORDER BY")).await {
            Outcome::Same(_) => {}
            Outcome::Fails(why) => wrong.push(format!("{query}\nfails without pushdown: {why}")),
            Outcome::Differs(how) => wrong.push(format!("{query}\n{how}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

//! What the oracle has found, each by its name, on tables as small as it made them.

use belvedere::Engine;

use crate::oracle::{Outcome, compare};
use crate::systems::{Mysql, Postgres, Sqlite, System};

/// Queries over tables of one system, the source `s`.
struct Case {
    name: &'static str,
    tables: &'static [&'static str],
    query: &'static str,
}

const ANYWHERE: &[Case] = &[
    Case {
        name: "a top-n by a column that is a constant",
        tables: &[
            "CREATE TABLE t (a INTEGER)",
            "INSERT INTO t VALUES (1), (2)",
        ],
        query: "SELECT * FROM (SELECT true AS b FROM s.t) AS q ORDER BY b LIMIT 3",
    },
    Case {
        name: "a group by a column that is a constant",
        tables: &[
            "CREATE TABLE t (a INTEGER)",
            "INSERT INTO t VALUES (1), (2)",
        ],
        query: "SELECT b, c, count(*) FROM (SELECT true AS b, a % 1 = 0 AS c FROM s.t) AS q
                GROUP BY b, c",
    },
    Case {
        name: "a constant of a type that no column of the source has",
        tables: &[
            "CREATE TABLE t (a INTEGER)",
            "INSERT INTO t VALUES (1), (2)",
        ],
        query: "SELECT a, CAST(NULL AS TIMESTAMP) FROM s.t GROUP BY a",
    },
];

async fn agree(system: &dyn System, cases: &[Case]) {
    for case in cases {
        system.clear().await;
        system
            .execute(
                &case
                    .tables
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
            )
            .await;
        let engine = Engine::builder().open().await.unwrap();
        let session = engine.session();
        let source = format!("CREATE SOURCE s FROM '{}'", system.url());
        session.execute(&source).await.unwrap();
        match compare(&session, case.query, case.query.contains("ORDER BY")).await {
            Outcome::Same => {}
            Outcome::Fails => panic!("{}: {}: the plain query fails", system.name(), case.name),
            Outcome::Differs(how) => panic!("{}: {}: {how}", system.name(), case.name),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    agree(&Sqlite::start(), ANYWHERE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    agree(&Postgres::start().await, ANYWHERE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql() {
    agree(&Mysql::start().await, ANYWHERE).await;
}

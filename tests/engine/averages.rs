//! Averages below other nodes: a source computes them where that spares rows, with the digits they have here.

use std::fmt::Write;

use insta::assert_snapshot;

use crate::fixture::{Fixture, database};
use crate::servers::{connected, mysql, postgres};

/// Of which averages do not come out even, of both signs, with NULLs, and with a group that has nothing else.
const ROWS: usize = 500;
const TABLE: &str = "CREATE TABLE m (k INTEGER, n BIGINT, d DECIMAL(10,2), b DECIMAL(30,4))";

fn values() -> String {
    let row = |i: usize| {
        let value =
            |step: usize, modulus: usize| (i * step % modulus) as i64 - (modulus / 2) as i64;
        let (n, d) = (value(7_919, 100_003), value(104_729, 99_991));
        let or_null = |text: String, every: usize| match i % every {
            0 => "NULL".to_string(),
            _ => text,
        };
        let decimal = format!(
            "{}{}.{:02}",
            if d < 0 { "-" } else { "" },
            d.abs() / 100,
            d.abs() % 100
        );
        let wide = n * 40_000_000_000_000;
        let k = i % 13;
        match k {
            12 => format!("({k}, NULL, NULL, NULL)"),
            _ => format!(
                "({k}, {}, {}, {})",
                or_null(wide.to_string(), 7),
                or_null(decimal.clone(), 11),
                or_null(decimal, 5)
            ),
        }
    };
    let rows: Vec<String> = (1..=ROWS).map(row).collect();
    format!("INSERT INTO m VALUES {}", rows.join(", "))
}

const QUERIES: &[&str] = &[
    "SELECT k, avg(n) AS a FROM TABLE AS m GROUP BY k HAVING avg(n) > 5",
    "SELECT k, avg(d) AS a FROM TABLE AS m GROUP BY k HAVING avg(d) > 5",
    "SELECT k, count(*) AS n FROM TABLE AS m GROUP BY k ORDER BY avg(d) DESC, k LIMIT 3",
    "SELECT k FROM TABLE AS m GROUP BY k ORDER BY avg(n) NULLS FIRST, k LIMIT 3",
    "SELECT count(*) AS n, min(a) AS a FROM (SELECT k, avg(d) AS a FROM TABLE AS m GROUP BY k) WHERE a < 3",
    "SELECT k, rank() OVER (ORDER BY avg(d)) AS r FROM TABLE AS m GROUP BY k",
    "SELECT k, d FROM TABLE AS m WHERE d < (SELECT avg(i.d) - 400 FROM TABLE AS i WHERE i.k = m.k)",
    "SELECT count(*) AS n FROM TABLE AS m WHERE d > (SELECT avg(d) FROM TABLE)",
    "SELECT count(*) AS n FROM TABLE AS m JOIN (SELECT k, avg(n) AS a FROM TABLE AS m GROUP BY k) AS g ON g.k = m.k WHERE m.n > g.a",
    "SELECT k, avg(d) FILTER (WHERE n > 0) AS f FROM TABLE AS m GROUP BY k HAVING avg(d) FILTER (WHERE n > 0) < 0",
    "SELECT k, avg(DISTINCT n % 7) AS n, avg(DISTINCT d) AS d FROM TABLE AS m GROUP BY k",
    "SELECT k, avg(b) AS b, avg(d) AS d, avg(n) AS n FROM TABLE AS m GROUP BY k",
    "SELECT avg(d) AS d, avg(n) AS n FROM TABLE AS m WHERE k = 12",
    "SELECT avg(d) AS d, avg(n) AS n FROM TABLE AS m WHERE k = 77",
];

async fn rows(fixture: &Fixture, query: &str) -> Vec<String> {
    let table = fixture.ok(query).await;
    let mut lines: Vec<String> = table.lines().map(str::to_string).collect();
    lines.sort();
    lines
}

/// What the source is sent for each query, whose answers are found to be those without pushdown.
async fn sent(fixture: &Fixture, source: &str) -> String {
    let mut text = String::new();
    for query in QUERIES {
        writeln!(text, "{}", query.replace("FROM TABLE", "FROM m")).unwrap();
        let query = query.replace("FROM TABLE", &format!("FROM {source}.m"));
        for line in fixture
            .sent(&query)
            .await
            .lines()
            .filter(|line| line.starts_with("  "))
        {
            writeln!(text, "{line}").unwrap();
        }
        let on = rows(fixture, &query).await;
        fixture.ok("SET pushdown = off").await;
        assert_eq!(on, rows(fixture, &query).await, "{query}");
        fixture.ok("SET pushdown = on").await;
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sqlite() {
    let fixture = Fixture::empty().await;
    database(&fixture.path("m.db"), &format!("{TABLE}; {}", values()));
    fixture.ok("CREATE SOURCE lite FROM 'sqlite:m.db'").await;
    assert_snapshot!(sent(&fixture, "lite").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_postgres() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    let port = server.port;
    let client = connected(port).await;
    let tables = format!("{TABLE}; {}; ANALYZE", values());
    client.batch_execute(&tables).await.unwrap();
    let fixture = Fixture::empty().await;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    fixture.ok(&format!("CREATE SOURCE pg FROM '{url}'")).await;
    assert_snapshot!(sent(&fixture, "pg").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_mariadb() {
    let server = mysql::Server::start().await;
    server
        .database("m", &[TABLE, &values(), "ANALYZE TABLE m"])
        .await;
    let fixture = Fixture::empty().await;
    let url = format!("mysql://root@127.0.0.1:{}/m", server.port);
    fixture
        .ok(&format!("CREATE SOURCE maria FROM '{url}'"))
        .await;
    assert_snapshot!(sent(&fixture, "maria").await);
}

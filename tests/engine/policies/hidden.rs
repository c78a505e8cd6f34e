//! Whatever is asked: what is told is the same whatever the hidden rows are.

use fastrand::Rng;

use super::{PLAIN, RELATIONS, Worlds, told};
use crate::servers::{mysql, postgres};

/// Conditions that fail of rows which are not seen, and of none that is.
const FAILING: &[&str] = &[
    "1 / (credit - 5) > -100",
    "100 / credit > 0",
    "credit % (credit - 5) >= 0",
    "CAST(note AS INTEGER) > 0",
    "CAST(note AS DECIMAL(5, 0)) > 0",
    "CAST(credit AS SMALLINT) > 0",
    "CAST(credit AS DECIMAL(4, 0)) > 0",
    "CASE WHEN credit = 5 THEN 1 / 0 ELSE 1 END = 1",
    "CASE WHEN region <> 'EMEA' THEN 1 / (credit - credit) ELSE 1 END = 1",
    "(credit = 5 AND 1 / 0 = 1) OR credit <> 5",
    "coalesce(credit, 1) <> 5 OR CAST('x' AS INTEGER) = 1",
    "substr(rep, 1, CAST(credit AS INTEGER)) IS NOT NULL",
    "repeat(rep, CAST(credit AS INTEGER)) <> ''",
    "lpad(rep, CAST(credit AS INTEGER), 'x') <> ''",
    "rep LIKE name || '%'",
    "CAST(CAST(note AS DOUBLE PRECISION) AS INTEGER) > 0",
    "random() < 2 AND 1 / (credit - 5) > -100",
    "abs(credit) * 1000000000000 > 0 AND 1 / (credit - 5) > -100",
    "(SELECT 1 / (credit - 5)) > -100",
    "EXISTS (SELECT 1 FROM crm.orders o WHERE o.customer = id AND 1 / (credit - 5) > -100)",
    "id IN (SELECT o.customer / (credit - 5) * (credit - 5) FROM crm.orders o) OR TRUE",
];

async fn nothing_is_told(worlds: &Worlds) {
    for of in RELATIONS {
        let all = worlds.answered(&format!("SELECT * FROM {of}")).await;
        assert!(all.contains("| A ") && !all.contains("Anton"), "{all}");
        for (i, condition) in FAILING.iter().enumerate() {
            let asked = [
                format!("SELECT id FROM {of} WHERE {condition}"),
                format!("SELECT count(*) FROM {of} WHERE {condition}"),
                format!("SELECT id FROM (SELECT * FROM {of} WHERE id > 0 LIMIT 100) q WHERE {condition}"),
                format!("SELECT region, count(*) FROM {of} WHERE {condition} GROUP BY region"),
                format!("SELECT o.id FROM crm.orders o JOIN {of} c ON o.customer = c.id WHERE {condition}")
                    .replace("WHERE id IN", "WHERE c.id IN").replace("= id AND", "= c.id AND"),
                format!("SELECT id FROM {of} WHERE id = 1 AND {condition}"),
                format!("SELECT id, ({condition}) AS holds FROM {of} ORDER BY holds, id LIMIT 3"),
            ];
            // All of them of the table, and of others each condition in some of them.
            let is_asked = |at: &usize| of == RELATIONS[0] || at % 3 == i % 3;
            for sql in asked.iter().enumerate().filter(|(at, _)| is_asked(at)) {
                worlds.told(sql.1).await.ok();
            }
        }
        // These have no reason to fail.
        for condition in &FAILING[..4] {
            let sql = format!("SELECT id FROM {of} WHERE {condition}");
            worlds.answered(&sql).await;
        }
        for sql in [
            "SELECT count(*), min(credit), max(id), count(DISTINCT region), sum(credit) FROM {}",
            "SELECT max(1 / (credit - 5)) FROM {}",
            "SELECT sum(1 / (credit - 5)) OVER (ORDER BY id) FROM {}",
            "SELECT id FROM {} ORDER BY 1 / (credit - 5) LIMIT 2",
            "SELECT o.id, c.id FROM crm.orders o LEFT JOIN {} c ON o.customer = c.id AND 1 / (c.credit - 5) > -100",
            "SELECT o.id, c.id FROM crm.orders o JOIN {} c ON o.customer = c.id / (c.credit - 5) * (c.credit - 5)",
            "SELECT o.id, c.id FROM crm.orders o JOIN {} c ON o.qty = CAST(c.note AS INTEGER)",
            "SELECT id FROM {} WHERE credit > (SELECT avg(1 / (credit - 5)) FROM {})",
            "SELECT a.id, b.id FROM {} a JOIN {} b ON a.credit = b.credit WHERE 1 / (b.credit - 5) > -100",
            "SELECT id FROM {} UNION ALL SELECT 1 / (credit - 5) FROM {}",
            "SELECT credit, count(*) FROM {} GROUP BY credit HAVING 1 / (credit - 5) > -100",
            "SELECT id FROM {} WHERE name = 'Zzz' OR name = 'Hidden' OR name = 'Anton'",
            "SELECT count(*) FROM {} WHERE region IS NULL OR region = 'APAC'",
            "SELECT * FROM {} WHERE id = 10",
            "SELECT * FROM {} LIMIT 1 OFFSET 5",
            "DESCRIBE {}",
            "EXPLAIN SELECT * FROM {} WHERE id > 3",
            "EXPLAIN VERBOSE SELECT count(*) FROM {} WHERE 1 / (credit - 5) > -100",
            "EXPLAIN ANALYZE SELECT * FROM {}",
            "EXPLAIN SELECT * FROM {} c JOIN crm.orders o ON o.customer = c.id ORDER BY o.qty LIMIT 3",
            "SELECT s.id FROM (SELECT id, 1 / (credit - 5) AS q FROM {}) s WHERE s.q > -100",
        ] {
            worlds.told(&sql.replace("{}", of)).await.ok();
        }
        let explained = worlds
            .answered(&format!("EXPLAIN SELECT id FROM {of} WHERE credit > 3"))
            .await;
        for hidden in ["EMEA", "left(", "rows", "assigned", "customer WHERE", " ms"] {
            assert!(!explained.contains(hidden), "{explained}");
        }
    }
    for sql in [
        "SELECT source, schema, name, row_count FROM system.tables WHERE name = 'customer'",
        "SELECT * FROM system.columns WHERE \"table\" NOT IN ('orders', 'assigned')",
        "SELECT * FROM system.histograms WHERE \"table\" <> 'orders'",
        "SELECT * FROM system.keys",
        "SELECT schema, name, sql, rows, memory_bytes, input_rows, input_rows_done FROM system.views",
        "SELECT schema, view, version, rows FROM system.versions",
        "SELECT schema, view, rows, version FROM system.refreshes",
        "SELECT * FROM system.fragments",
        "SELECT sql, rows FROM system.results",
        "SELECT sql, rows, error FROM system.queries WHERE sql NOT LIKE '%system.%'",
        "SELECT * FROM system.policies",
        "SELECT * FROM system.masks",
        "SELECT relname, reltuples, relpages FROM pg_class WHERE relname <> 'orders'",
        "SELECT sql, calls, failed, rows FROM system.statements",
        "SELECT * FROM system.advice",
    ] {
        worlds.told(sql).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_rows_in_sqlite() {
    nothing_is_told(&Worlds::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_rows_in_files() {
    nothing_is_told(&Worlds::files().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_rows_in_postgres() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    nothing_is_told(&Worlds::postgres(&server).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_rows_in_mariadb() {
    let server = mysql::Server::start().await;
    nothing_is_told(&Worlds::mariadb(&server).await).await;
}

/// Random queries: told the same whatever is hidden, and what is told is what whoever sees all would find in what is shown.
async fn random_queries(worlds: &Worlds, count: usize) {
    let seed: u64 = std::env::var("BELVEDERE_POLICIES_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("BELVEDERE_POLICIES_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let (mut answered, mut compared) = (0, 0);
    for _ in 0..count {
        let of = rng.choice(RELATIONS).unwrap();
        let sql = query(&mut rng);
        let asked = sql.replace("{}", of);
        let Ok(told_ana) = worlds.told(&asked).await else {
            continue;
        };
        answered += 1;
        let plain = sql.replace("{}", PLAIN);
        if let Ok(expected) = told(&worlds.worlds[0].root, &plain).await {
            assert_eq!(told_ana, expected, "{asked}");
            compared += 1;
        }
    }
    eprintln!("{count} queries: {answered} answered, {compared} compared");
    assert!(answered > count / 3 && compared > count / 4);
}

fn query(rng: &mut Rng) -> String {
    let (one, other) = (condition(rng, 2), condition(rng, 2));
    let value = value(rng);
    match rng.usize(..9) {
        0 => format!("SELECT c.id, {value} AS x FROM {{}} AS c WHERE {one}"),
        1 => format!("SELECT count(*), max(c.credit) FROM {{}} AS c WHERE {one}"),
        2 => format!(
            "SELECT c.region, count(*) FROM {{}} AS c WHERE {one} GROUP BY c.region HAVING count(*) > 1"
        ),
        3 => format!(
            "SELECT o.id, c.id FROM crm.orders o JOIN {{}} AS c ON o.customer = c.id AND {one} WHERE {other}"
        ),
        4 => format!(
            "SELECT o.id, c.id FROM crm.orders o LEFT JOIN {{}} AS c ON o.customer = c.id AND {one}"
        ),
        5 => format!(
            "SELECT o.id FROM crm.orders o WHERE o.customer IN (SELECT c.id FROM {{}} AS c WHERE {one})"
        ),
        6 => format!(
            "SELECT o.id FROM crm.orders o WHERE NOT EXISTS (SELECT 1 FROM {{}} AS c WHERE c.id = o.customer AND {one})"
        ),
        7 => format!("SELECT c.id FROM {{}} AS c WHERE {one} ORDER BY c.credit DESC, c.id LIMIT 2"),
        _ => format!(
            "SELECT c.id FROM (SELECT c.*, {value} AS x FROM {{}} AS c) c WHERE {one} AND c.x IS NOT NULL"
        ),
    }
}

fn condition(rng: &mut Rng, depth: usize) -> String {
    if depth > 0 && rng.u8(..10) < 4 {
        let (one, other) = (condition(rng, depth - 1), condition(rng, depth - 1));
        return match rng.usize(..3) {
            0 => format!("({one} AND {other})"),
            1 => format!("({one} OR {other})"),
            _ => format!("NOT ({one})"),
        };
    }
    let value = value(rng);
    let choices = [
        format!("{value} > 3"),
        format!("{value} IS NULL"),
        format!("{value} BETWEEN 1 AND 30"),
        "c.name = 'A'".to_string(),
        "c.name LIKE 'A%'".to_string(),
        "c.region <> 'EMEA'".to_string(),
        "c.rep IN ('r1', 'r9')".to_string(),
        "c.note ILIKE '%1%'".to_string(),
        "upper(c.note) = c.note".to_string(),
        format!("c.id = {}", rng.usize(..15)),
        "c.credit IN (5, 10, 40)".to_string(),
        "c.credit >= c.id".to_string(),
    ];
    rng.choice(choices).unwrap()
}

fn value(rng: &mut Rng) -> String {
    let choices = [
        "c.credit",
        "c.id",
        "1 / (c.credit - 5)",
        "CAST(c.note AS INTEGER)",
        "CAST(c.note AS DECIMAL(9, 2))",
        "CAST(c.credit AS SMALLINT)",
        "c.credit + c.id",
        "length(c.name)",
        "100 / c.credit",
        "CASE WHEN c.region = 'EMEA' THEN c.credit ELSE 1 / (c.id - c.id) END",
        "coalesce(c.credit, 1)",
        "length(c.note || c.rep)",
    ];
    rng.choice(choices).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn random_queries_are_told_what_is_shown_of_sqlite() {
    random_queries(&Worlds::sqlite().await, 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_queries_are_told_what_is_shown_of_files() {
    random_queries(&Worlds::files().await, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_queries_are_told_what_is_shown_of_postgres() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    random_queries(&Worlds::postgres(&server).await, 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_queries_are_told_what_is_shown_of_mariadb() {
    let server = mysql::Server::start().await;
    random_queries(&Worlds::mariadb(&server).await, 300).await;
}

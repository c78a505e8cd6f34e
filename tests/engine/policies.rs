//! Policies and masks: whoever is under them sees what they show, and nothing of what they hide, however it is asked for.

use std::path::Path;

use belvedere::{Engine, Session};
use fastrand::Rng;

use crate::fixture::{database, shown};
use crate::servers::{connected, mysql, postgres};

/// Rows that `ana` sees: of her region, and of a rep that she is assigned to.
const SEEN: &str = "
    (1, 'Anton', 'EMEA', 10, '12', 'r1'), (2, 'Berta', 'EMEA', 20, '7', 'r1'),
    (3, 'Cäsar', 'EMEA', NULL, '33', 'r2'), (4, 'Dora', 'EMEA', 40, NULL, 'r1'),
    (5, 'Emil', 'EMEA', 1, '1', 'r2')";
/// Rows that she does not see, of one world and of another: there, each attempt to be told of them would fail, or tell.
const HIDDEN: [&str; 2] = [
    "(10, 'Hidden', 'APAC', 11, '5', 'r9')",
    "(10, 'Zzz', 'APAC', 5, 'not a number', 'r9'), (11, 'x\\', 'APAC', 0, '', 'r9'),
     (12, NULL, NULL, 9223372036854775807, '99999999999999999999', 'r9'),
     (13, 'Anton', 'AMER', -5, '2024-13-45', 'r8'), (14, 'q', 'AMER', 999999999, '1e400', NULL)",
];
const TABLES: [&str; 3] = [
    "CREATE TABLE customer (id INTEGER PRIMARY KEY, name VARCHAR(40), region VARCHAR(10), credit BIGINT, note VARCHAR(40), rep VARCHAR(10))",
    "CREATE TABLE assigned (rep VARCHAR(10) PRIMARY KEY, usr VARCHAR(10))",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, qty INTEGER)",
];
const ROWS: [&str; 2] = [
    "INSERT INTO assigned VALUES ('r1', 'ana'), ('r2', 'ana'), ('r9', 'bob')",
    "INSERT INTO orders VALUES (1, 1, 5), (2, 1, 6), (3, 2, 0), (4, 4, 9), (5, 10, 3), (6, 12, 2)",
];
const DEFINITIONS: &[&str] = &[
    "CREATE USER root PASSWORD 'r' SUPERUSER",
    "CREATE USER ana PASSWORD 'a'",
    "CREATE ROLE sales",
    "GRANT sales TO ana",
    "CREATE VIEW v AS SELECT * FROM crm.customer",
    "CREATE VIEW closed AS SELECT id, left(name, 1) AS name, region, credit, note, rep FROM crm.customer WHERE region = 'EMEA'",
    "CREATE VIEW over_closed AS SELECT * FROM closed",
    "CREATE MATERIALIZED VIEW kept WITH (refresh = 'manual', key = 'id', wait = true) AS SELECT * FROM crm.customer",
    "CREATE POLICY region ON crm.customer TO sales USING (region = 'EMEA')",
    "CREATE POLICY mine ON v TO sales USING (rep IN (SELECT a.rep FROM crm.assigned a WHERE a.usr = current_user))",
    "CREATE POLICY region ON kept TO sales USING (region = 'EMEA')",
    "CREATE MASK first ON crm.customer (name) TO sales USING (left(name, 1))",
    "CREATE MASK first ON v (name) TO sales USING (left(name, 1))",
    "CREATE MASK first ON kept (name) TO sales USING (left(name, 1))",
    "GRANT SELECT ON crm.customer TO sales",
    "GRANT SELECT ON crm.orders TO sales",
    "GRANT SELECT ON v TO sales",
    "GRANT SELECT ON kept TO sales",
    "GRANT SELECT ON closed TO sales",
    "GRANT SELECT ON over_closed TO sales",
    "GRANT CREATE ON SCHEMA public TO ana",
];
const RELATIONS: [&str; 5] = ["crm.customer", "v", "kept", "closed", "over_closed"];
/// What `ana` sees of each, as who sees all would ask for it.
const PLAIN: &str = "(SELECT id, left(name, 1) AS name, region, credit, note, rep FROM crm.customer WHERE region = 'EMEA')";

struct World {
    root: Session,
    ana: Session,
    _engine: Engine,
}

/// Two worlds that differ in what is hidden.
struct Worlds {
    worlds: [World; 2],
    _dir: tempfile::TempDir,
}

async fn world(url: &str, folder: &Path) -> World {
    let engine = Engine::builder().base_dir(folder).open().await.unwrap();
    let session = engine.session();
    let source = format!("CREATE SOURCE crm FROM '{url}'");
    for sql in [source.as_str()].iter().chain(DEFINITIONS) {
        let done = shown(&session, sql).await;
        done.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    World {
        root: engine.session_as("root"),
        ana: engine.session_as("ana"),
        _engine: engine,
    }
}

impl Worlds {
    async fn of(urls: [String; 2], dir: tempfile::TempDir) -> Self {
        let [one, other] = urls;
        Self {
            worlds: [
                world(&one, dir.path()).await,
                world(&other, dir.path()).await,
            ],
            _dir: dir,
        }
    }

    async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let urls = [0, 1].map(|i| {
            let file = format!("crm{i}.db");
            database(&dir.path().join(&file), &statements(i).join(";\n"));
            format!("sqlite:{file}")
        });
        Self::of(urls, dir).await
    }

    async fn files() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut urls = Vec::new();
        for i in [0, 1] {
            let (file, folder) = (format!("rows{i}.db"), format!("files{i}"));
            database(&dir.path().join(&file), &statements(i).join(";\n"));
            std::fs::create_dir(dir.path().join(&folder)).unwrap();
            let engine = Engine::builder().base_dir(dir.path()).open().await.unwrap();
            let session = engine.session();
            let done = |sql: String| {
                let session = &session;
                async move { shown(session, &sql).await.unwrap() }
            };
            done(format!("CREATE SOURCE s FROM 'sqlite:{file}'")).await;
            for table in ["customer", "assigned", "orders"] {
                done(format!(
                    "COPY (SELECT * FROM s.{table}) TO '{folder}/{table}.parquet'"
                ))
                .await;
            }
            urls.push(folder);
        }
        Self::of(urls.try_into().unwrap(), dir).await
    }

    async fn postgres(server: &postgres::Server) -> Self {
        let mut urls = Vec::new();
        for i in [0, 1] {
            let maker = connected(server.port).await;
            maker
                .batch_execute(&format!("CREATE DATABASE crm{i}"))
                .await
                .unwrap();
            let url = format!("postgres://postgres@127.0.0.1:{}/crm{i}", server.port);
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .unwrap();
            let running = tokio::spawn(connection);
            client
                .batch_execute(&statements(i).join(";\n"))
                .await
                .unwrap();
            drop(client);
            running.await.unwrap().unwrap();
            urls.push(url);
        }
        Self::of(urls.try_into().unwrap(), tempfile::tempdir().unwrap()).await
    }

    async fn mariadb(server: &mysql::Server) -> Self {
        let mut urls = Vec::new();
        for i in [0, 1] {
            let name = format!("crm{i}");
            // There a backslash in a constant begins something.
            let statements = statements(i).map(|sql| sql.replace('\\', "\\\\"));
            let statements = statements.each_ref().map(String::as_str);
            server.database(&name, &statements).await;
            urls.push(format!("mysql://root@127.0.0.1:{}/{name}", server.port));
        }
        Self::of(urls.try_into().unwrap(), tempfile::tempdir().unwrap()).await
    }

    /// What `ana` is told, which has to be the same in both.
    async fn told(&self, sql: &str) -> Result<String, String> {
        let [one, other] = &self.worlds;
        let (one, other) = (told(&one.ana, sql).await, told(&other.ana, sql).await);
        assert_eq!(one, other, "{sql}");
        one
    }

    /// The same of what cannot fail of what she sees.
    async fn answered(&self, sql: &str) -> String {
        self.told(sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    }
}

fn statements(world: usize) -> [String; 6] {
    let insert = |rows: &str| format!("INSERT INTO customer VALUES {rows}");
    [
        TABLES[0].to_string(),
        TABLES[1].to_string(),
        TABLES[2].to_string(),
        insert(&format!("{SEEN}, {}", HIDDEN[world])),
        ROWS[0].to_string(),
        ROWS[1].to_string(),
    ]
}

/// Rows in the order of their texts; or what the error says.
async fn told(session: &Session, sql: &str) -> Result<String, String> {
    match shown(session, sql).await {
        Ok(table) if sql.starts_with("EXPLAIN") => Ok(table),
        Ok(table) => {
            let mut lines: Vec<&str> = table.lines().collect();
            lines.sort_unstable();
            Ok(lines.join("\n"))
        }
        Err(e) => Err(format!("{}: {e} ({:?})", e.sqlstate(), e.help())),
    }
}

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
        for condition in FAILING {
            for sql in [
                format!("SELECT id FROM {of} WHERE {condition}"),
                format!("SELECT count(*) FROM {of} WHERE {condition}"),
                format!("SELECT id FROM (SELECT * FROM {of} WHERE id > 0 LIMIT 100) q WHERE {condition}"),
                format!("SELECT region, count(*) FROM {of} WHERE {condition} GROUP BY region"),
                format!("SELECT o.id FROM crm.orders o JOIN {of} c ON o.customer = c.id WHERE {condition}")
                    .replace("WHERE id IN", "WHERE c.id IN").replace("= id AND", "= c.id AND"),
                format!("SELECT id FROM {of} WHERE id = 1 AND {condition}"),
                format!("SELECT id, ({condition}) AS holds FROM {of} ORDER BY holds, id LIMIT 3"),
            ] {
                worlds.told(&sql).await.ok();
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
        "SELECT source, schema, name, row_count, size_bytes FROM system.tables WHERE source = 'crm'",
        "SELECT * FROM system.columns WHERE source = 'crm' OR source = 'belvedere'",
        "SELECT * FROM system.histograms",
        "SELECT * FROM system.keys",
        "SELECT schema, name, sql, rows, memory_bytes, input_rows, input_rows_done FROM system.views",
        "SELECT schema, view, version, rows FROM system.versions",
        "SELECT schema, view, rows, version FROM system.refreshes",
        "SELECT * FROM system.fragments",
        "SELECT sql, rows FROM system.results",
        "SELECT sql, rows, error FROM system.queries WHERE sql NOT LIKE '%system.%'",
        "SELECT * FROM system.policies",
        "SELECT * FROM system.masks",
        "SELECT relname, reltuples, relpages FROM pg_class ORDER BY 1",
        "SELECT * FROM system.statements",
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

/// `crm` in SQLite, where nothing else is hidden: who is asked, and what is told.
struct One {
    world: World,
    folder: tempfile::TempDir,
}

impl One {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        database(&folder.path().join("crm.db"), &statements(0).join(";\n"));
        let world = world("sqlite:crm.db", folder.path()).await;
        Self { world, folder }
    }

    async fn root(&self, sql: &str) -> String {
        let done = shown(&self.world.root, sql).await;
        done.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// The first column of what `ana` is told, in order.
    async fn ana(&self, sql: &str) -> Vec<String> {
        let told = shown(&self.world.ana, sql).await;
        let told = told.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let lines = told.lines().skip(3).filter(|line| line.starts_with('|'));
        let cells = lines.map(|line| line.split('|').nth(1).unwrap_or("").trim().to_string());
        let mut cells: Vec<String> = cells.collect();
        cells.sort();
        cells
    }

    async fn refused(session: &Session, sql: &str) -> String {
        match shown(session, sql).await {
            Ok(answer) => panic!("{sql} succeeded:\n{answer}"),
            Err(e) => format!("{} {e}", e.sqlstate()),
        }
    }

    /// What `crm` was asked last.
    async fn asked(&self) -> String {
        self.root("SELECT text FROM system.fragments ORDER BY asked_at DESC LIMIT 1")
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_let_rows_through_and_masks_stand_for_columns() {
    let one = One::new().await;
    one.root("CREATE VIEW w AS SELECT id, name, region, credit FROM crm.customer")
        .await;
    one.root("GRANT SELECT ON w TO sales").await;
    let ids = "SELECT id FROM w";
    assert_eq!(one.ana(ids).await, ["1", "10", "2", "3", "4", "5"]);
    // Once there is one, who is named by none sees nothing.
    one.root("CREATE ROLE office").await;
    one.root("CREATE POLICY office ON w TO office USING (TRUE)")
        .await;
    assert_eq!(one.ana(ids).await, Vec::<String>::new());
    one.root("CREATE POLICY rich ON w TO ana USING (credit >= 20)")
        .await;
    assert_eq!(one.ana(ids).await, ["2", "4"]);
    one.root("CREATE POLICY first ON w USING (id = 1)").await;
    assert_eq!(one.ana(ids).await, ["1", "2", "4"]);
    one.root("CREATE OR REPLACE POLICY rich ON w TO ana USING (credit >= 40)")
        .await;
    assert_eq!(one.ana(ids).await, ["1", "4"]);
    one.root("GRANT office TO sales").await;
    assert_eq!(one.ana(ids).await.len(), 6);
    assert_eq!(
        one.ana("SELECT credit FROM w WHERE credit > 10").await,
        ["11", "20", "40"]
    );
    for policy in ["office", "rich", "first"] {
        one.root(&format!("DROP POLICY {policy} ON w")).await;
    }
    assert_eq!(one.ana(ids).await.len(), 6);

    let names = "SELECT name FROM w WHERE id < 3";
    one.root("CREATE MASK everybody ON w (name) USING (NULL)")
        .await;
    assert_eq!(one.ana(names).await, ["", ""]);
    one.root("CREATE MASK z ON w (name) TO sales USING (left(name, 1))")
        .await;
    assert_eq!(one.ana(names).await, ["A", "B"]);
    one.root("CREATE MASK b ON w (name) TO ana USING (upper(name))")
        .await;
    assert_eq!(one.ana(names).await, ["ANTON", "BERTA"]);
    one.root("CREATE MASK who ON w (region) TO sales USING (current_user)")
        .await;
    assert_eq!(one.ana("SELECT DISTINCT region FROM w").await, ["ana"]);
    // What is found by is what is seen.
    assert_eq!(
        one.ana("SELECT id FROM w WHERE name = 'ANTON'").await,
        ["1"]
    );
    assert_eq!(
        one.ana("SELECT id FROM w WHERE name = 'Anton'").await,
        Vec::<String>::new()
    );
    let root = one.root("SELECT name FROM w WHERE id = 1").await;
    assert!(root.contains("Anton"), "{root}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_meaning_is_refused() {
    let one = One::new().await;
    let (root, ana) = (&one.world.root, &one.world.ana);
    for (sql, expected) in [
        (
            "CREATE POLICY region ON v TO sales USING (nope = 1)",
            "nope",
        ),
        (
            "CREATE POLICY p ON v TO sales USING (credit)",
            "USING gives bigint where boolean is seen",
        ),
        (
            "CREATE POLICY p ON v TO sales USING (count(*) > 1)",
            "of a row by itself",
        ),
        (
            "CREATE POLICY p ON v TO sales USING (row_number() OVER (ORDER BY id) = 1)",
            "of a row by itself",
        ),
        (
            "CREATE POLICY p ON v TO sales USING (random() > 0.5)",
            "of a row by itself",
        ),
        (
            "CREATE POLICY p ON v TO sales USING (unnest([1, 2]) = 1)",
            "of a row by itself",
        ),
        (
            "CREATE POLICY p ON v TO nobody USING (TRUE)",
            "nobody does not exist",
        ),
        (
            "CREATE POLICY p ON nothing TO sales USING (TRUE)",
            "nothing does not exist",
        ),
        (
            "CREATE POLICY p ON system.users TO sales USING (TRUE)",
            "is there for everybody",
        ),
        (
            "CREATE POLICY mine ON v TO sales USING (TRUE)",
            "policy mine ON v already exists",
        ),
        (
            "CREATE MASK m ON v (credit) TO sales USING ('x')",
            "USING gives text where bigint is seen",
        ),
        (
            "CREATE MASK m ON v (nope) TO sales USING (NULL)",
            "v.nope does not exist",
        ),
        ("DROP POLICY nope ON v", "nope ON v does not exist"),
        // What is read is not dropped, and what is ruled does not lose what its rules read.
        ("DROP VIEW v_gone", "v_gone"),
        (
            "CREATE OR REPLACE VIEW v AS SELECT id, region FROM crm.customer",
            "would not know what it says",
        ),
    ] {
        let error = One::refused(root, sql).await;
        assert!(error.contains(expected), "{sql}: {error}");
    }
    one.root("DROP POLICY IF EXISTS nope ON v").await;
    one.root("CREATE VIEW reps AS SELECT rep, usr FROM crm.assigned")
        .await;
    one.root("CREATE OR REPLACE POLICY mine ON v TO sales USING (rep IN (SELECT rep FROM reps WHERE usr = current_user))").await;
    let ids = "SELECT id FROM v";
    assert_eq!(one.ana(ids).await, ["1", "2", "3", "4", "5"]);
    for sql in [
        "DROP VIEW reps",
        "DROP VIEW reps CASCADE",
        "ALTER VIEW reps RENAME TO others",
    ] {
        let error = One::refused(root, sql).await;
        assert!(error.contains("policy mine on v"), "{sql}: {error}");
    }
    // What they are of may be renamed: they follow.
    one.root("ALTER VIEW v RENAME TO w").await;
    assert_eq!(one.ana("SELECT id FROM w").await, ["1", "2", "3", "4", "5"]);
    // Whoever may not do all with it makes no rule of it, nor sees one.
    for sql in [
        "CREATE POLICY p ON w TO sales USING (TRUE)",
        "CREATE MASK m ON w (name) TO sales USING (NULL)",
        "DROP POLICY mine ON w",
        "DROP MASK first ON crm.customer",
    ] {
        let error = One::refused(ana, sql).await;
        assert!(error.starts_with("42501"), "{sql}: {error}");
    }
    assert_eq!(
        one.ana("SELECT name FROM system.policies").await,
        Vec::<String>::new()
    );
    // Of the own view it does.
    shown(
        ana,
        "CREATE VIEW own AS SELECT id, region FROM crm.customer",
    )
    .await
    .unwrap();
    shown(ana, "CREATE POLICY p ON own USING (id = 1)")
        .await
        .unwrap();
    assert_eq!(one.ana("SELECT name FROM system.policies").await, ["p"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hides_rows_is_read_and_not_written() {
    let one = One::new().await;
    one.root("ALTER SOURCE crm SET (writable = true)").await;
    one.root("GRANT INSERT, UPDATE, DELETE ON crm.customer TO sales")
        .await;
    let ana = &one.world.ana;
    for sql in [
        "UPDATE crm.customer SET credit = 1 / (credit - 5)",
        "UPDATE crm.customer SET credit = 1 WHERE id = 1",
        "DELETE FROM crm.customer WHERE id = 1",
        "INSERT INTO crm.customer SELECT id + 100, name, region, credit, note, rep FROM crm.customer",
    ] {
        let error = One::refused(ana, sql).await;
        assert!(error.starts_with("42501"), "{sql}: {error}");
    }
    let insert = "INSERT INTO crm.customer VALUES (6, 'Fritz', 'APAC', 1, '1', 'r1'), (7, 'Gerd', 'EMEA', 1, '1', 'r1')";
    shown(ana, insert).await.unwrap();
    assert_eq!(
        one.ana("SELECT id FROM crm.customer").await,
        ["1", "2", "3", "4", "5", "7"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_sent_what_passes_and_nothing_else() {
    let one = One::new().await;
    for (sql, sent, kept) in [
        (
            "SELECT id FROM crm.customer WHERE credit > 3",
            vec!["EMEA", "\"credit\" > 3"],
            vec!["name"],
        ),
        (
            "SELECT region, count(*), sum(credit) FROM crm.customer WHERE id > 1 GROUP BY region",
            vec!["EMEA", "count(", "sum("],
            vec![],
        ),
        (
            "SELECT id FROM crm.customer ORDER BY credit, id LIMIT 2",
            vec!["EMEA", "LIMIT"],
            vec![],
        ),
        (
            "SELECT id FROM crm.customer WHERE 1 / (credit - 5) > 0 AND id > 2",
            vec!["EMEA", "\"id\" > 2"],
            vec!["- 5", "/"],
        ),
        (
            "SELECT id, 1 / (credit - 5) AS x FROM crm.customer",
            vec!["EMEA"],
            vec!["- 5"],
        ),
        (
            "SELECT o.id FROM crm.orders o JOIN crm.customer c ON o.customer = c.id",
            vec!["EMEA", "JOIN"],
            vec![],
        ),
        (
            "SELECT o.id FROM crm.orders o JOIN crm.customer c ON o.customer = c.id AND 1 / (c.credit - 5) > 0",
            vec!["EMEA"],
            vec!["- 5"],
        ),
        (
            "SELECT id FROM closed WHERE name = 'A' AND credit > 3",
            vec!["EMEA", "\"credit\" > 3"],
            vec![],
        ),
    ] {
        one.ana(sql).await;
        let all = one
            .root("SELECT text FROM system.fragments ORDER BY asked_at DESC LIMIT 2")
            .await;
        let last = one.asked().await;
        let text = if last.contains("EMEA") { last } else { all };
        for part in sent {
            assert!(text.contains(part), "{sql}: {part} in {text}");
        }
        for part in kept {
            assert!(!text.contains(part), "{sql}: {part} in {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_kept_outlives_a_policy() {
    let one = One::new().await;
    let ana = &one.world.ana;
    one.root("CREATE VIEW w AS SELECT id, region FROM crm.customer")
        .await;
    one.root("GRANT SELECT ON w TO sales").await;
    let prepared = ana.prepare("SELECT id FROM w WHERE id > $1").await.unwrap();
    let zero = [datafusion::scalar::ScalarValue::Int64(Some(0))];
    let rows = async || {
        let answer = ana.execute_prepared(&prepared, &zero).await.unwrap();
        let table = crate::fixture::table(answer).await.unwrap();
        table.lines().count() - 4
    };
    shown(ana, "SET max_staleness = '1 hour'").await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            (rows().await, one.ana("SELECT id FROM w").await.len()),
            (6, 6)
        );
    }
    one.root("CREATE POLICY p ON w TO sales USING (region = 'EMEA')")
        .await;
    for _ in 0..3 {
        assert_eq!(
            (rows().await, one.ana("SELECT id FROM w").await.len()),
            (5, 5)
        );
    }
    one.root("CREATE OR REPLACE POLICY p ON w TO sales USING (id = 1)")
        .await;
    assert_eq!(
        (rows().await, one.ana("SELECT id FROM w").await.len()),
        (1, 1)
    );
    // Nor does one user's answer become another's.
    one.root("CREATE USER eve PASSWORD 'e'").await;
    one.root("GRANT sales TO eve").await;
    one.root("CREATE OR REPLACE POLICY p ON w TO sales USING (current_user = 'eve')")
        .await;
    let eve = one.world._engine.session_as("eve");
    shown(&eve, "SET max_staleness = '1 hour'").await.unwrap();
    for _ in 0..2 {
        let told = shown(&eve, "SELECT id FROM w").await.unwrap();
        assert_eq!(told.lines().count() - 4, 6);
        assert_eq!(
            (rows().await, one.ana("SELECT id FROM w").await.len()),
            (0, 0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_have_what_their_definer_sees() {
    let one = One::new().await;
    let ana = &one.world.ana;
    // Of the table, of the view with another policy, and of a copy.
    for (view, of) in [
        ("a1", "crm.customer"),
        ("a2", "v"),
        ("a3", "kept"),
        ("a4", "closed"),
    ] {
        let sql = format!(
            "CREATE MATERIALIZED VIEW {view} WITH (refresh = 'manual', wait = true) AS SELECT id, name FROM {of} WHERE credit IS NULL OR 1 / (credit - 5) > -100"
        );
        shown(ana, &sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(
            one.ana(&format!("SELECT id FROM {view}")).await,
            ["1", "2", "3", "4", "5"]
        );
        let names = one.ana(&format!("SELECT name FROM {view}")).await;
        assert_eq!(names, ["A", "B", "C", "D", "E"]);
    }
    // Superusers' copies are no answer to her, nor hers to them.
    one.root("CREATE MATERIALIZED VIEW whole WITH (refresh = 'manual', wait = true) AS SELECT region, count(*) AS n FROM crm.customer GROUP BY region").await;
    for session in [&one.world.root, ana] {
        shown(session, "SET max_staleness = '1 hour'")
            .await
            .unwrap();
    }
    let sql = "SELECT count(*) AS n FROM crm.customer";
    assert_eq!(one.ana(sql).await, ["5"]);
    assert!(one.root(sql).await.contains("| 6 |"));
    let sql = "SELECT region, count(*) AS n FROM crm.customer GROUP BY region";
    assert_eq!(one.ana(sql).await, ["EMEA"]);
    drop(one.folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_go_the_short_way_under_policies() {
    let one = One::new().await;
    let prepared = one
        .world
        .ana
        .prepare("SELECT id, name FROM kept WHERE id = $1")
        .await
        .unwrap();
    assert!(prepared.is_lookup());
    for (id, expected) in [
        (1, "| 1  | A    |"),
        (3, "| 3  | C    |"),
        (10, ""),
        (99, ""),
    ] {
        let value = [datafusion::scalar::ScalarValue::Int32(Some(id))];
        let answer = one
            .world
            .ana
            .execute_prepared(&prepared, &value)
            .await
            .unwrap();
        let table = crate::fixture::table(answer).await.unwrap();
        assert!(table.contains(expected), "{table}");
        assert_eq!(
            table.contains(&format!("| {id}")),
            !expected.is_empty(),
            "{table}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    database(&folder.path().join("crm.db"), &statements(0).join(";\n"));
    let open = || {
        Engine::builder()
            .base_dir(folder.path())
            .data_dir(folder.path().join("data"))
            .open()
    };
    let engine = open().await.unwrap();
    let session = engine.session();
    for sql in ["CREATE SOURCE crm FROM 'sqlite:crm.db'"]
        .iter()
        .chain(DEFINITIONS)
    {
        shown(&session, sql).await.unwrap();
    }
    let asked = async |engine: &Engine| {
        shown(
            &engine.session_as("ana"),
            "SELECT id, name FROM v ORDER BY id",
        )
        .await
        .unwrap()
    };
    let before = asked(&engine).await;
    assert!(
        before.contains("| C ") && !before.contains("Hidden"),
        "{before}"
    );
    drop(session);
    drop(engine);
    assert_eq!(asked(&open().await.unwrap()).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_tell_what_is_seen() {
    use futures::StreamExt;
    let one = One::new().await;
    one.root("ALTER SOURCE crm SET (changes = 'triggers', writable = true)")
        .await;
    one.root("CREATE MATERIALIZED VIEW live WITH (refresh = 'on change', key = 'id', wait = true) AS SELECT id, name, region FROM crm.customer").await;
    one.root("GRANT SELECT ON live TO sales").await;
    one.root("CREATE POLICY region ON live TO sales USING (region = 'EMEA')")
        .await;
    one.root("CREATE MASK first ON live (name) TO sales USING (left(name, 1))")
        .await;
    let mut told = one
        .world
        .ana
        .query("SUBSCRIBE TO live")
        .await
        .unwrap()
        .stream;
    let mut ids = Vec::new();
    let mut take = async |until: &str| {
        let patience = std::time::Duration::from_secs(30);
        while !ids.iter().any(|line: &String| line.contains(until)) {
            let batch = tokio::time::timeout(patience, told.next())
                .await
                .expect("in time");
            let batch = batch.unwrap().unwrap();
            let table = datafusion::arrow::util::pretty::pretty_format_batches(&[batch]).unwrap();
            ids.extend(table.to_string().lines().map(ToString::to_string));
        }
        ids.join("\n")
    };
    let first = take("| E ").await;
    assert!(
        !first.contains("Hidden") && !first.contains("APAC"),
        "{first}"
    );
    one.root("INSERT INTO crm.customer VALUES (20, 'Secret', 'APAC', 1, '1', 'r1')")
        .await;
    one.root("UPDATE crm.customer SET name = 'Antonia' WHERE id = 1")
        .await;
    one.root("INSERT INTO crm.customer VALUES (21, 'Xaver', 'EMEA', 1, '1', 'r1')")
        .await;
    let all = take("| X ").await;
    for hidden in ["Secret", "APAC", "Anton", "Xaver"] {
        assert!(!all.contains(hidden), "{all}");
    }
}

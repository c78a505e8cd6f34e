use insta::assert_snapshot;

use crate::fixture::Fixture;

#[tokio::test]
async fn sources_that_cannot_be() {
    let t = Fixture::empty().await;
    assert_snapshot!(t.err("CREATE SOURCE x FROM ''").await, @"invalid: a source needs a URL, e.g. 'postgres://reader@host/db'");
    assert_snapshot!(t.err("CREATE SOURCE x FROM 'sqlite://shop.db'").await, @"invalid: the URL sqlite://shop.db has a host. Write sqlite:shop.db for a relative path, sqlite:/… for an absolute one");
    assert_snapshot!(t.err("CREATE SOURCE x FROM 'sqlite:'").await, @"source_unreachable: source x: DIR is a folder, not a database file");
    assert_snapshot!(t.err("CREATE SOURCE x FROM 'sqlit:shop.db'").await, @"invalid: no connector takes URLs that begin with sqlit:. Did you mean sqlite:?");
    assert_snapshot!(t.err("CREATE SOURCE x FROM 'oracle://host/db'").await, @"invalid: no connector takes URLs that begin with oracle:. Known are postgres, postgresql, mysql, mariadb, file, s3, s3a, gs, az, azure, abfs, abfss, sqlite, and paths of folders");
    assert_snapshot!(t.err("CREATE SOURCE x FROM 'sqlite:nowhere.db'").await, @"source_unreachable: source x: the database file DIR/nowhere.db does not exist");
    assert_snapshot!(
        t.err("CREATE SOURCE x FROM 'sqlite:shop.db' WITH (max_conections = 3)").await, @"invalid: a sqlite has no option max_conections. Did you mean max_connections?");
    assert_snapshot!(
        t.err("CREATE SOURCE x FROM 'sqlite:shop.db' WITH (colour = 'red')").await, @"invalid: a sqlite has no option colour. Known are columns, max_connections, busy_timeout_ms, writable, changes, max_concurrent_fragments, statement_timeout, queue_timeout, memory_limit, retries, breaker_failures, breaker_cooldown, poll_interval, max_lag, owner, contact, event, impact, runbook");
    assert_snapshot!(
        t.err("CREATE SOURCE x FROM 'sqlite:shop.db' WITH (max_connections = 'many')").await, @"invalid_option: source x: option max_connections takes a whole number of at least 1, not 'many'");
    assert_snapshot!(
        t.err("CREATE SOURCE x FROM 'sqlite:shop.db' WITH (changes = 'somehow')").await, @"invalid_option: source x: a SQLite file has no changes = 'somehow'. changes = 'triggers' writes triggers and a log into the database; changes = 'poll' looks at its tables again and again");
    assert_snapshot!(t.err("CREATE SOURCE belvedere FROM 'sqlite:shop.db'").await, @"invalid: the name 'belvedere' is reserved");
    assert_snapshot!(t.err("CREATE SOURCE system FROM 'sqlite:shop.db'").await, @"name_taken: schema system already exists");
    assert_snapshot!(t.ok("SELECT count(*) AS sources FROM system.sources").await, @r"
    +---------+
    | sources |
    +---------+
    | 0       |
    +---------+
    ");
}

#[tokio::test]
async fn names_that_are_taken() {
    let t = Fixture::new().await;
    t.ok("CREATE SCHEMA sales").await;
    t.ok("CREATE VIEW v AS SELECT 1 AS one").await;
    assert_snapshot!(t.err("CREATE SOURCE erp FROM 'sqlite:shop.db'").await, @"name_taken: source erp already exists. CREATE OR REPLACE SOURCE replaces it");
    assert_snapshot!(t.err("CREATE SOURCE sales FROM 'sqlite:shop.db'").await, @"name_taken: schema sales already exists");
    assert_snapshot!(t.err("CREATE SCHEMA erp").await, @"name_taken: source erp already exists");
    assert_snapshot!(t.err("CREATE SCHEMA sales").await, @"name_taken: schema sales already exists");
    assert_snapshot!(t.err("CREATE VIEW v AS SELECT 2 AS two").await, @"name_taken: view v already exists. CREATE OR REPLACE VIEW replaces it");
    t.ok("CREATE SOURCE IF NOT EXISTS erp FROM 'sqlite:shop.db'")
        .await;
    t.ok("CREATE SCHEMA IF NOT EXISTS sales").await;
    t.ok("CREATE VIEW IF NOT EXISTS v AS SELECT 2 AS two").await;
    assert_snapshot!(t.ok("SELECT * FROM v").await, @r"
    +-----+
    | one |
    +-----+
    | 1   |
    +-----+
    ");
    t.ok("CREATE OR REPLACE VIEW v AS SELECT 2 AS two").await;
    assert_snapshot!(t.ok("SELECT * FROM v").await, @r"
    +-----+
    | two |
    +-----+
    | 2   |
    +-----+
    ");
    t.ok("CREATE OR REPLACE SOURCE erp FROM 'sqlite:shop.db'")
        .await;
    assert_snapshot!(t.ok("SELECT count(*) AS n FROM erp.orders").await, @r"
    +---+
    | n |
    +---+
    | 3 |
    +---+
    ");
}

#[tokio::test]
async fn views_that_cannot_be() {
    let t = Fixture::new().await;
    assert_snapshot!(t.err("CREATE VIEW v AS SELECT colour FROM erp.item").await, @"plan: No field named colour. Valid fields are erp.item.sku, erp.item.name, erp.item.price, erp.item.added");
    assert_snapshot!(t.err("CREATE VIEW v AS SELECT * FROM erp.itme").await, @"unknown_name: table erp.itme does not exist. Did you mean item?");
    assert_snapshot!(t.err("CREATE VIEW v AS SELECT * FROM epr.item").await, @"unknown_name: source or schema epr does not exist. Did you mean erp?");
    assert_snapshot!(t.err("CREATE VIEW v AS SELECT * FROM v").await, @"unknown_name: table or view v does not exist");
    assert_snapshot!(t.err("CREATE VIEW v (a) AS SELECT sku, name FROM erp.item").await, @"invalid: the view names 1 columns, its query has 2");
    assert_snapshot!(
        t.err("CREATE VIEW v AS SELECT i.sku, s.sku FROM erp.item i, erp.stock s").await, @"invalid: two columns would be named sku. Give one another name: SELECT … AS other_name");
    assert_snapshot!(t.err("CREATE VIEW v AS SELECT * FROM erp.item WHERE sku = $1").await, @"invalid: view v has parameters; a view takes none");
    assert_snapshot!(t.err("CREATE VIEW nowhere.v AS SELECT 1 AS one").await, @"unknown_name: schema nowhere does not exist. CREATE SCHEMA nowhere makes it");
    assert_snapshot!(t.err("CREATE VIEW system.v AS SELECT 1 AS one").await, @"invalid: schema system is the engine's own");
    assert_snapshot!(t.err("CREATE VIEW erp.main.v AS SELECT 1 AS one").await, @"invalid: views live in the catalog belvedere, not in erp.main.v. Write a name, or schema.name");
    assert_snapshot!(t.err("CREATE VIEW v WITH (ownr = 'x') AS SELECT 1 AS one").await, @"invalid: a view has no option ownr. Did you mean owner?");
    assert_snapshot!(t.err("CREATE VIEW v WITH (refresh = 'on change') AS SELECT 1 AS o").await, @"invalid: a virtual view has no option refresh: it is computed when it is read. CREATE MATERIALIZED VIEW keeps its rows");
    assert_snapshot!(t.err("CREATE INDEX ON v (one)").await, @"unknown_name: view v does not exist");
    assert_snapshot!(t.ok("SELECT count(*) AS views FROM system.views").await, @r"
    +-------+
    | views |
    +-------+
    | 0     |
    +-------+
    ");
}

#[tokio::test]
async fn a_view_never_reads_itself() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW a AS SELECT sku FROM erp.item").await;
    t.ok("CREATE VIEW b AS SELECT sku FROM a").await;
    t.ok("CREATE VIEW c AS SELECT sku FROM b").await;
    assert_snapshot!(t.err("CREATE OR REPLACE VIEW a AS SELECT sku FROM a").await, @"invalid: view a would read itself");
    assert_snapshot!(t.err("CREATE OR REPLACE VIEW a AS SELECT sku FROM c").await, @"invalid: view a would read itself");
    assert_snapshot!(t.ok("SELECT count(*) AS n FROM c").await, @r"
    +---+
    | n |
    +---+
    | 3 |
    +---+
    ");
}

#[tokio::test]
async fn a_replaced_view_keeps_the_columns_that_others_read() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW a AS SELECT sku, name FROM erp.item")
        .await;
    t.ok("CREATE VIEW b AS SELECT name FROM a").await;
    assert_snapshot!(t.err("CREATE OR REPLACE VIEW a AS SELECT sku FROM erp.item").await, @"invalid: a cannot be replaced like this: view b cannot be read any more: No field named name. Valid fields are a.sku. Drop the views over it first, or keep its columns");
    t.ok("CREATE OR REPLACE VIEW a AS SELECT upper(name) AS name, 1 AS more FROM erp.item")
        .await;
    assert_snapshot!(t.ok("SELECT * FROM b ORDER BY 1").await, @r"
    +--------+
    | name   |
    +--------+
    | APPLE  |
    | BREAD  |
    | CHEESE |
    +--------+
    ");
}

#[tokio::test]
async fn a_view_is_checked_with_its_own_search_path() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW items AS SELECT sku FROM erp.item").await;
    t.ok("SET search_path = public, erp").await;
    t.ok("CREATE VIEW both AS SELECT sku FROM items UNION ALL SELECT sku FROM stock")
        .await;
    t.ok("RESET search_path").await;
    t.ok("CREATE OR REPLACE VIEW items AS SELECT sku, name FROM erp.item")
        .await;
    assert_snapshot!(t.ok("SELECT count(*) AS n FROM both").await, @r"
    +---+
    | n |
    +---+
    | 7 |
    +---+
    ");
    let notices = t
        .session
        .execute("CREATE OR REPLACE SOURCE erp FROM 'sqlite:erp.db'")
        .await;
    assert_eq!(notices.unwrap().notices, Vec::<String>::new());
}

#[tokio::test]
async fn a_wider_table_does_not_widen_a_view() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW v AS SELECT * FROM shop.orders").await;
    crate::fixture::database(
        &t.path("shop.db"),
        "ALTER TABLE orders ADD COLUMN note TEXT",
    );
    t.ok("REFRESH SOURCE shop").await;
    assert_snapshot!(t.ok("SELECT * FROM v WHERE id = 1").await, @r"
    +----+-----+-----+----------+
    | id | sku | qty | customer |
    +----+-----+-----+----------+
    | 1  | a1  | 2   | ana      |
    +----+-----+-----+----------+
    ");
    assert_snapshot!(t.ok("SELECT * FROM shop.orders WHERE id = 1").await, @r"
    +----+-----+-----+----------+------+
    | id | sku | qty | customer | note |
    +----+-----+-----+----------+------+
    | 1  | a1  | 2   | ana      |      |
    +----+-----+-----+----------+------+
    ");
}

#[tokio::test]
async fn what_others_depend_on_is_not_dropped() {
    let t = Fixture::new().await;
    t.ok("CREATE SCHEMA sales").await;
    t.ok("CREATE VIEW sales.a AS SELECT sku FROM erp.item")
        .await;
    t.ok("CREATE VIEW b AS SELECT sku FROM sales.a").await;
    t.ok("CREATE VIEW c AS SELECT sku FROM b").await;
    assert_snapshot!(t.err("DROP SOURCE erp").await, @"in_use: source erp cannot be dropped or renamed without view b, view c, view sales.a. Drop them first, or DROP it with CASCADE");
    assert_snapshot!(t.err("DROP VIEW sales.a").await, @"in_use: view sales.a cannot be dropped or renamed without view b, view c. Drop them first, or DROP it with CASCADE");
    assert_snapshot!(t.err("DROP SCHEMA sales").await, @"in_use: schema sales cannot be dropped or renamed without view sales.a. Drop them first, or DROP it with CASCADE");
    assert_snapshot!(t.err("ALTER SOURCE erp RENAME TO erp2").await, @"in_use: source erp cannot be dropped or renamed without view b, view c, view sales.a. Drop them first, or DROP it with CASCADE");
    assert_snapshot!(t.err("ALTER SCHEMA sales RENAME TO selling").await, @"in_use: schema sales cannot be dropped or renamed without view c, view b. Drop them first, or DROP it with CASCADE");
    assert_snapshot!(t.err("DROP VIEW nothing").await, @"unknown_name: view nothing does not exist");
    assert_snapshot!(t.err("DROP SOURCE nothing").await, @"unknown_name: source nothing does not exist");
    assert_snapshot!(t.err("DROP SCHEMA nothing").await, @"unknown_name: schema nothing does not exist");
    assert_snapshot!(t.err("DROP SCHEMA system").await, @"invalid: schema system cannot be dropped");
    t.ok("DROP VIEW b, c").await;
    t.ok("DROP VIEW IF EXISTS b").await;
    t.ok("DROP SOURCE erp CASCADE").await;
    assert_snapshot!(t.ok("SELECT count(*) AS views FROM system.views").await, @r"
    +-------+
    | views |
    +-------+
    | 0     |
    +-------+
    ");
    t.ok("CREATE VIEW sales.x AS SELECT 1 AS one").await;
    t.ok("CREATE VIEW y AS SELECT one FROM sales.x").await;
    t.ok("DROP SCHEMA sales CASCADE").await;
    assert_snapshot!(t.ok("SHOW VIEWS").await, @r"
    +--------+--------+------+-------+------------+---------+
    | source | schema | name | owner | depends_on | comment |
    +--------+--------+------+-------+------------+---------+
    +--------+--------+------+-------+------------+---------+
    ");
}

/// As in PostgreSQL, whose views know what they read by number.
#[tokio::test]
async fn what_reads_a_view_follows_its_new_name() {
    let t = Fixture::new().await;
    for sql in [
        "CREATE SCHEMA sales",
        "CREATE VIEW v AS SELECT sku, price FROM erp.item",
        "CREATE VIEW of_v AS SELECT v.sku -- ü FROM v\n FROM  v JOIN \"v\" b ON v.sku = b.sku",
        "CREATE VIEW other AS WITH w AS (SELECT sku FROM public.v WHERE price > 1) SELECT count(*) AS n FROM w",
        "CREATE MATERIALIZED VIEW kept WITH (refresh = 'manual', key = 'sku') CHECK some AS (SELECT 1 FROM kept WHERE sku IS NULL)
            AS SELECT v.sku, max(price) AS price FROM v GROUP BY v.sku",
        "CREATE VIEW of_kept AS SELECT sku FROM kept",
        // `ALTER TABLE` is for all that has rows.
        "ALTER TABLE IF EXISTS v RENAME TO \"New name\"",
        "ALTER VIEW \"New name\" SET SCHEMA sales",
        "ALTER MATERIALIZED VIEW kept RENAME TO kept_now",
        "ALTER TABLE IF EXISTS nothing RENAME TO something",
    ] {
        t.ok(sql).await;
    }
    assert_snapshot!(t.ok("SELECT name, sql, depends_on FROM system.views ORDER BY name").await, @r#"
    +----------+-----------------------------------------------------------------------------------------------+------------------+
    | name     | sql                                                                                           | depends_on       |
    +----------+-----------------------------------------------------------------------------------------------+------------------+
    | New name | SELECT sku, price FROM erp.item                                                               | erp.main.item    |
    | kept_now | SELECT v.sku, max(price) AS price FROM sales."New name" AS v GROUP BY v.sku                   | sales."New name" |
    | of_kept  | SELECT sku FROM public.kept_now AS kept                                                       | kept_now         |
    | of_v     | SELECT v.sku -- ü FROM v                                                                      | sales."New name" |
    |          |  FROM  sales."New name" AS v JOIN sales."New name" b ON v.sku = b.sku                         |                  |
    | other    | WITH w AS (SELECT sku FROM sales."New name" AS v WHERE price > 1) SELECT count(*) AS n FROM w | sales."New name" |
    +----------+-----------------------------------------------------------------------------------------------+------------------+
    "#);
    assert_snapshot!(t.ok("SELECT (SELECT count(*) FROM of_v) AS a, (SELECT n FROM other) AS b").await, @r"
    +---+---+
    | a | b |
    +---+---+
    | 3 | 2 |
    +---+---+
    ");
    t.ok("REFRESH MATERIALIZED VIEW kept_now").await;
    assert!(t.ok("SELECT * FROM of_kept").await.contains("a1"));
    // Where the name is hidden, nothing is changed.
    t.ok("CREATE VIEW x AS SELECT 1 AS one").await;
    t.ok("CREATE VIEW hidden AS SELECT (WITH x AS (SELECT 2 AS one) SELECT one FROM x) + one AS two FROM x")
        .await;
    assert_snapshot!(t.err("ALTER VIEW x RENAME TO y").await, @"in_use: view x cannot be dropped or renamed without view hidden. Drop them first, or DROP it with CASCADE");
    t.ok("CREATE OR REPLACE VIEW hidden AS SELECT public.x.one AS two FROM public.x")
        .await;
    t.ok("ALTER VIEW x RENAME TO y").await;
    assert!(t.ok("SELECT * FROM hidden").await.contains("| 1"));
    t.ok("ALTER VIEW y RENAME TO x").await;
    // A transaction drops the old one, with what reads it by then.
    for sql in [
        "BEGIN",
        "CREATE OR REPLACE VIEW hidden AS SELECT one AS two FROM x",
        "ALTER VIEW x RENAME TO x_old",
        "CREATE VIEW x AS SELECT 2 AS one",
        "DROP VIEW x_old CASCADE",
        "COMMIT",
    ] {
        t.ok(sql).await;
    }
    assert!(t.ok("SELECT * FROM x").await.contains("| 2"));
    assert_snapshot!(t.err("SELECT * FROM hidden").await, @"unknown_name: table or view hidden does not exist");
}

#[tokio::test]
async fn renames() {
    let t = Fixture::new().await;
    t.ok("ALTER SOURCE shop RENAME TO store").await;
    assert_snapshot!(t.ok("SELECT count(*) AS n FROM store.orders").await, @r"
    +---+
    | n |
    +---+
    | 3 |
    +---+
    ");
    t.ok("CREATE VIEW v AS SELECT 1 AS one").await;
    t.ok("COMMENT ON VIEW v IS 'the view'").await;
    t.ok("COMMENT ON COLUMN v.one IS 'the column'").await;
    t.ok("CREATE SCHEMA sales").await;
    t.ok("ALTER VIEW v RENAME TO w").await;
    t.ok("ALTER VIEW w SET SCHEMA sales").await;
    t.ok("ALTER SCHEMA sales RENAME TO selling").await;
    assert_snapshot!(t.ok("SELECT * FROM selling.w").await, @r"
    +-----+
    | one |
    +-----+
    | 1   |
    +-----+
    ");
    let comments = "SELECT c.comment AS \"column\", v.comment AS view FROM system.columns c
        JOIN system.views v ON c.\"table\" = v.name WHERE v.name = 'w'";
    assert_snapshot!(t.ok(comments).await, @r"
    +------------+----------+
    | column     | view     |
    +------------+----------+
    | the column | the view |
    +------------+----------+
    ");
    t.ok("COMMENT ON COLUMN store.orders.qty IS 'pieces'").await;
    t.ok("ALTER SOURCE store RENAME TO shop").await;
    assert!(t.ok("DESCRIBE shop.orders").await.contains("pieces"));
    t.ok("DROP VIEW selling.w").await;
    t.ok("CREATE VIEW selling.w AS SELECT 1 AS one").await;
    assert_snapshot!(t.ok(comments).await, @r"
    +--------+------+
    | column | view |
    +--------+------+
    |        |      |
    +--------+------+
    ");
}

#[tokio::test]
async fn comments_and_ownership() {
    let t = Fixture::new().await;
    t.ok("COMMENT ON TABLE erp.item IS 'what we sell'").await;
    t.ok("COMMENT ON COLUMN erp.item.price IS 'net, EUR'").await;
    t.ok("COMMENT ON SOURCE erp IS 'the ERP'").await;
    t.ok("ALTER SOURCE erp OWNS item(name, price)").await;
    t.ok("ALTER SOURCE erp SET (owner = 'purchasing', contact = 'erp@example.com')")
        .await;
    assert_snapshot!(t.err("COMMENT ON COLUMN erp.item.colour IS 'x'").await, @"unknown_name: column erp.main.item.colour does not exist");
    assert_snapshot!(t.err("COMMENT ON TABLE erp.itm IS 'x'").await, @"unknown_name: table erp.itm does not exist. Did you mean item?");
    assert_snapshot!(t.err("ALTER SOURCE erp OWNS item(colour)").await, @"unknown_name: column erp.item.colour does not exist");
    assert_snapshot!(t.err("ALTER SOURCE erp OWNS items(name)").await, @"unknown_name: table erp.items does not exist. Did you mean item?");
    assert_snapshot!(t.ok("SELECT * FROM system.ownership").await, @r"
    +--------+--------+-------+--------+------------+-----------------+
    | source | schema | table | column | owner      | contact         |
    +--------+--------+-------+--------+------------+-----------------+
    | erp    | main   | item  | name   | purchasing | erp@example.com |
    | erp    | main   | item  | price  | purchasing | erp@example.com |
    +--------+--------+-------+--------+------------+-----------------+
    ");
    assert_snapshot!(t.ok("DESCRIBE erp.item").await, @r"
    +--------+---------------+----------+----------+
    | column | type          | nullable | comment  |
    +--------+---------------+----------+----------+
    | sku    | text          | true     |          |
    | name   | text          | false    |          |
    | price  | numeric(10,2) | true     | net, EUR |
    | added  | date          | true     |          |
    +--------+---------------+----------+----------+
    ");
    assert_snapshot!(
        t.ok("SELECT name, comment FROM system.tables WHERE source = 'erp' ORDER BY name").await, @r"
    +-------+--------------+
    | name  | comment      |
    +-------+--------------+
    | item  | what we sell |
    | stock |              |
    +-------+--------------+
    ");
}

#[tokio::test]
async fn later_statements_say_so() {
    let t = Fixture::new().await;
    for sql in [
        "CREATE POLICY own ON erp.item FOR UPDATE USING (sku = 'x')",
        "CREATE POLICY own ON erp.item AS RESTRICTIVE USING (sku = 'x')",
        "SET push_float_sums = on",
        "INSERT INTO erp.item VALUES ('x') RETURNING sku",
        "DELETE FROM erp.item RETURNING sku",
        "CREATE TABLE t (a INT)",
        "LISTEN a",
    ] {
        let error = t.err(sql).await;
        assert!(error.contains("not in this version"), "{sql}: {error}");
    }
}

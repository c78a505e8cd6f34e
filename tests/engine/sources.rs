use insta::assert_snapshot;

use crate::fixture::{Fixture, database, shown};

#[tokio::test]
async fn a_source_that_is_down_at_start_stops_nothing_else() {
    let t = Fixture::empty().await;
    let engine = t.open().await.unwrap();
    let session = engine.session();
    shown(&session, "CREATE SOURCE erp FROM 'sqlite:erp.db'")
        .await
        .unwrap();
    shown(&session, "CREATE SOURCE shop FROM 'sqlite:shop.db'")
        .await
        .unwrap();
    shown(&session, "CREATE VIEW v AS SELECT sku FROM shop.orders")
        .await
        .unwrap();
    drop(session);
    engine.close().await.unwrap();

    std::fs::rename(t.path("shop.db"), t.path("away.db")).unwrap();
    let engine = t.open().await.unwrap();
    let session = engine.session();
    let ask = async |sql| match shown(&session, sql).await {
        Ok(answer) => answer,
        Err(e) => t.text(&e),
    };
    assert_snapshot!(ask("SELECT count(*) AS n FROM erp.item").await, @r"
    +---+
    | n |
    +---+
    | 3 |
    +---+
    ");
    assert_snapshot!(ask("SELECT * FROM v").await, @"source_unreachable: source shop: the database file DIR/shop.db does not exist");
    assert_snapshot!(ask("SELECT name, state FROM system.sources ORDER BY name").await, @r"
    +------+-------+
    | name | state |
    +------+-------+
    | erp  | ok    |
    | shop | down  |
    +------+-------+
    ");
    // Its schema is known all the same.
    assert_snapshot!(ask("DESCRIBE shop.orders").await, @r"
    +----------+--------+----------+---------+
    | column   | type   | nullable | comment |
    +----------+--------+----------+---------+
    | id       | bigint | false    |         |
    | sku      | text   | true     |         |
    | qty      | bigint | true     |         |
    | customer | text   | true     |         |
    +----------+--------+----------+---------+
    ");
    assert_snapshot!(ask("REFRESH SOURCE shop").await, @"source_unreachable: source shop: the database file DIR/shop.db does not exist");
    std::fs::rename(t.path("away.db"), t.path("shop.db")).unwrap();
    assert_snapshot!(ask("SELECT count(*) AS n FROM v").await, @r"
    +---+
    | n |
    +---+
    | 3 |
    +---+
    ");
    assert_snapshot!(ask("SELECT name, state FROM system.sources ORDER BY name").await, @r"
    +------+-------+
    | name | state |
    +------+-------+
    | erp  | ok    |
    | shop | ok    |
    +------+-------+
    ");
}

#[tokio::test]
async fn refresh_reads_the_schema_again() {
    let t = Fixture::new().await;
    let tables = "SELECT name FROM system.tables WHERE source = 'shop' ORDER BY name";
    database(
        &t.path("shop.db"),
        "CREATE TABLE fresh AS SELECT 7 AS n; DROP TABLE orders",
    );
    assert_snapshot!(t.ok(tables).await, @r"
    +------------+
    | name       |
    +------------+
    | Mixed Case |
    | orders     |
    +------------+
    ");
    t.ok("REFRESH SOURCE shop").await;
    assert_snapshot!(t.ok(tables).await, @r"
    +------------+
    | name       |
    +------------+
    | Mixed Case |
    | fresh      |
    +------------+
    ");
    assert_snapshot!(t.err("REFRESH SOURCE shp").await, @"unknown_name: source shp does not exist. Did you mean shop?");
}

#[tokio::test]
async fn a_table_altered_at_the_source_is_planned_again_once() {
    let t = Fixture::new().await;
    t.ok("SELECT * FROM shop.orders").await;
    database(
        &t.path("shop.db"),
        "ALTER TABLE orders DROP COLUMN customer; ALTER TABLE orders ADD COLUMN buyer TEXT",
    );
    assert_snapshot!(t.ok("SELECT * FROM shop.orders WHERE id = 1").await, @r"
    +----+-----+-----+-------+
    | id | sku | qty | buyer |
    +----+-----+-----+-------+
    | 1  | a1  | 2   |       |
    +----+-----+-----+-------+
    ");
    database(&t.path("shop.db"), "ALTER TABLE orders DROP COLUMN buyer");
    assert_snapshot!(t.err("SELECT buyer FROM shop.orders").await, @"plan: No field named buyer. Valid fields are shop.orders.id, shop.orders.sku, shop.orders.qty");
    database(&t.path("shop.db"), "DROP TABLE orders");
    assert_snapshot!(t.err("SELECT * FROM shop.orders").await, @"unknown_name: table shop.orders does not exist. SHOW TABLES FROM shop lists what there is");
}

#[tokio::test]
async fn a_view_over_a_table_that_lost_its_column() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW v AS SELECT id, customer FROM shop.orders")
        .await;
    database(
        &t.path("shop.db"),
        "ALTER TABLE orders DROP COLUMN customer",
    );
    t.ok("REFRESH SOURCE shop").await;
    assert_snapshot!(t.err("SELECT * FROM v").await, @"invalid: view v cannot be read any more: No field named customer. Valid fields are shop.orders.id, shop.orders.sku, shop.orders.qty");
    // It is listed as it was defined.
    assert_snapshot!(t.ok("SELECT name, columns FROM system.views").await, @r"
    +------+--------------+
    | name | columns      |
    +------+--------------+
    | v    | id, customer |
    +------+--------------+
    ");
}

#[tokio::test]
async fn a_value_that_does_not_fit_names_its_place_and_not_itself() {
    let t = Fixture::empty().await;
    database(
        &t.path("odd.db"),
        "CREATE TABLE m (a INTEGER, b DATE); INSERT INTO m VALUES (1, '2024-01-01'), ('secret', NULL)",
    );
    t.ok("CREATE SOURCE odd FROM 'sqlite:odd.db'").await;
    assert_snapshot!(t.err("SELECT a FROM odd.m").await, @"source_value_out_of_range: source odd, table m, column a, row 2: a stored value does not fit the column's type INTEGER (read as integer). Correct it, or set columns = 'm.a: text' (or null) on the source");
    assert_snapshot!(t.err("SELECT cast(v AS INT) FROM (SELECT 'secret' AS v) t").await, @"data: a value cannot be cast to Int32");
    assert_snapshot!(t.err("SELECT 1 / (SELECT count(*) FROM odd.m WHERE b > '2030-01-01')").await, @"data: division by zero");
}

use insta::assert_snapshot;

use crate::fixture::{Fixture, database};

#[tokio::test]
async fn every_form_of_a_name() {
    let t = Fixture::new().await;
    t.ok("CREATE SCHEMA sales").await;
    t.ok("CREATE VIEW v AS SELECT sku FROM erp.item").await;
    t.ok("CREATE VIEW sales.v AS SELECT sku FROM erp.main.item WHERE sku < 'c'")
        .await;
    for (name, rows) in [
        ("erp.main.item", 3),
        ("erp.item", 3),
        ("ERP.Item", 3),
        ("\"erp\".\"item\"", 3),
        ("v", 3),
        ("V", 3),
        ("public.v", 3),
        ("belvedere.public.v", 3),
        ("sales.v", 2),
        ("belvedere.sales.v", 2),
        ("shop.\"Mixed Case\"", 1),
        ("shop.\"mixed case\"", 1),
        ("shop.main.\"MIXED CASE\"", 1),
    ] {
        let answer = t
            .ok(&format!("SELECT count(*) = {rows} AS ok FROM {name}"))
            .await;
        assert!(answer.contains("true"), "{name}: {answer}");
    }
}

#[tokio::test]
async fn names_that_mean_nothing() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW customers AS SELECT 1 AS one").await;
    assert_snapshot!(t.err("SELECT * FROM item").await, @"unknown_name: table or view item does not exist. There is erp.item");
    assert_snapshot!(t.err("SELECT * FROM customer").await, @"unknown_name: table or view customer does not exist. Did you mean customers?");
    assert_snapshot!(t.err("SELECT * FROM nothing.at.all").await, @"unknown_name: source or schema nothing does not exist. SHOW SOURCES lists the sources");
    assert_snapshot!(t.err("SELECT * FROM erp.orders").await, @"unknown_name: table erp.orders does not exist. SHOW TABLES FROM erp lists what there is");
    assert_snapshot!(t.err("SELECT * FROM erp.public.item").await, @"unknown_name: table erp.public.item does not exist. Did you mean item?");
    assert_snapshot!(t.err("SELECT * FROM shp.orders").await, @"unknown_name: source or schema shp does not exist. Did you mean shop?");
    assert_snapshot!(t.err("SELECT * FROM belvedere.nowhere.v").await, @"unknown_name: source or schema nowhere does not exist. SHOW SOURCES lists the sources");
    assert_snapshot!(t.err("SELECT * FROM public.item").await, @"unknown_name: table or view public.item does not exist. There is erp.main.item");
    assert_snapshot!(t.err("SELECT * FROM system.source").await, @"unknown_name: table or view system.source does not exist. Did you mean sources?");
    assert_snapshot!(t.err("SELECT * FROM a.b.c.d").await, @"plan: Unsupported compound identifier 'a.b.c.d'. Expected 1, 2 or 3 parts, got 4");
    assert_snapshot!(t.err("SELECT id FROM shop.\"Mixed Case\"").await, @r#"plan: No field named id. Columns match exactly: write "Id""#);
    assert_snapshot!(t.err("SELECT skuu FROM erp.item").await, @"plan: No field named skuu. Did you mean 'erp.item.sku'? Valid fields are erp.item.sku, erp.item.name, erp.item.price, erp.item.added");
    assert_snapshot!(t.err("SELECT frobnicate(1)").await, @"plan: Invalid function 'frobnicate'");
    assert_snapshot!(t.err("SELECT uper('x')").await, @"plan: Invalid function 'uper'. Did you mean 'upper'?");
}

#[tokio::test]
async fn the_search_path() {
    let t = Fixture::new().await;
    t.ok("SET search_path = erp, public").await;
    assert_snapshot!(t.ok("SELECT count(*) AS n FROM item").await, @r"
    +---+
    | n |
    +---+
    | 3 |
    +---+
    ");
    // A source is no place for views: the first own schema of the path is.
    t.ok("CREATE VIEW v AS SELECT sku FROM item").await;
    t.ok("RESET search_path").await;
    assert_snapshot!(t.ok("SELECT count(*) AS n FROM public.v").await, @r"
    +---+
    | n |
    +---+
    | 3 |
    +---+
    ");
    t.ok("CREATE SCHEMA sales").await;
    t.ok("SET search_path TO 'sales, shop'").await;
    t.ok("CREATE VIEW w AS SELECT * FROM orders").await;
    assert_snapshot!(t.ok("SELECT count(*) AS n FROM sales.w").await, @r"
    +---+
    | n |
    +---+
    | 3 |
    +---+
    ");
    assert_snapshot!(t.err("SELECT * FROM v").await, @"unknown_name: table or view v does not exist. There is public.v");
    assert_snapshot!(t.ok("SHOW search_path").await, @r"
    +-------------+
    | search_path |
    +-------------+
    | sales, shop |
    +-------------+
    ");
}

#[tokio::test]
async fn a_name_that_fits_two_tables_but_for_case() {
    let t = Fixture::empty().await;
    // SQLite's own names do not differ in case alone: two schemas of the engine do.
    t.ok("CREATE SCHEMA \"Sales\"").await;
    t.ok("CREATE SCHEMA sales").await;
    t.ok("CREATE VIEW \"Sales\".v AS SELECT 1 AS one").await;
    t.ok("CREATE VIEW sales.v AS SELECT 2 AS one").await;
    assert_snapshot!(t.ok("SELECT * FROM \"Sales\".v UNION ALL SELECT * FROM SALES.v").await, @r"
    +-----+
    | one |
    +-----+
    | 1   |
    | 2   |
    +-----+
    ");
    assert_snapshot!(t.err("SELECT * FROM \"SALES\".v").await, @"unknown_name: source or schema SALES does not exist. SHOW SOURCES lists the sources");
}

#[tokio::test]
async fn an_unknown_table_reads_the_source_again_once() {
    let t = Fixture::new().await;
    database(&t.path("shop.db"), "CREATE TABLE fresh AS SELECT 7 AS n");
    assert_snapshot!(t.ok("SELECT * FROM shop.fresh").await, @r"
    +---+
    | n |
    +---+
    | 7 |
    +---+
    ");
    database(&t.path("shop.db"), "CREATE TABLE fresher AS SELECT 8 AS n");
    t.ok("CREATE VIEW v AS SELECT n FROM shop.fresher").await;
    assert_snapshot!(t.ok("SELECT * FROM v").await, @r"
    +---+
    | n |
    +---+
    | 8 |
    +---+
    ");
    database(&t.path("shop.db"), "CREATE TABLE third AS SELECT 9 AS n");
    assert_snapshot!(t.ok("DESCRIBE shop.third").await, @r"
    +--------+------+----------+---------+
    | column | type | nullable | comment |
    +--------+------+----------+---------+
    | n      | text | true     |         |
    +--------+------+----------+---------+
    ");
}

/// As one is that is named with its source.
#[tokio::test]
async fn a_table_that_is_new_at_its_source_is_found_along_the_path() {
    let t = Fixture::new().await;
    t.ok("SET search_path = public, erp").await;
    assert_snapshot!(t.err("SELECT * FROM big").await, @"unknown_name: table or view big does not exist");
    rusqlite::Connection::open(t.path("erp.db"))
        .unwrap()
        .execute_batch("CREATE TABLE big (a INTEGER); INSERT INTO big VALUES (1), (2)")
        .unwrap();
    let answer = t.ok("SELECT count(*) = 2 AS ok FROM big").await;
    assert!(answer.contains("true"), "{answer}");
    // A function is no table that could be new.
    let answer = t
        .ok("SELECT count(*) = 2 AS ok FROM generate_series(1, 2)")
        .await;
    assert!(answer.contains("true"), "{answer}");
}

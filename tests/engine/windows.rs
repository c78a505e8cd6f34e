//! Windows at a source, and the orders that let them be there.

use crate::fixture::{Fixture, database};

async fn fixture() -> Fixture {
    let fixture = Fixture::empty().await;
    database(
        &fixture.path("shop.db"),
        "CREATE TABLE item (id INTEGER PRIMARY KEY, grp INTEGER, price REAL, name TEXT);
         INSERT INTO item VALUES (1, 1, 2.5, 'a'), (2, 1, 2.5, 'b'), (3, 2, NULL, 'b'), (4, 2, 1, NULL), (5, NULL, 3.5, 'a');",
    );
    fixture.ok("CREATE SOURCE shop FROM 'sqlite:shop.db'").await;
    fixture
}

/// The plan, after the answer has been found to be the one without pushdown.
async fn explained(fixture: &Fixture, query: &str) -> String {
    let plan = fixture.ok(&format!("EXPLAIN {query}")).await;
    let sorted = format!("SELECT * FROM ({query}) ORDER BY id");
    let on = fixture.ok(&sorted).await;
    fixture.ok("SET pushdown = off").await;
    assert_eq!(on, fixture.ok(&sorted).await);
    fixture.ok("SET pushdown = on").await;
    plan
}

/// Not even floats, of which a source does not say what is the same.
#[tokio::test]
async fn nothing_orders_behind_the_primary_key() {
    let fixture = fixture().await;
    let query = "SELECT id, price, row_number() OVER (PARTITION BY grp ORDER BY name) AS n,
         lag(price) OVER (ORDER BY id DESC) AS l FROM shop.item";
    let plan = explained(&fixture, query).await;
    assert!(
        plan.contains(r#"ORDER BY t0."name" NULLS LAST, t0."id")"#),
        "{plan}"
    );
    assert!(!plan.contains("WindowAggExec"), "{plan}");
    let plan = explained(&fixture, "SELECT * FROM shop.item ORDER BY grp, id LIMIT 3").await;
    assert!(
        plan.contains(r#"ORDER BY t0."grp" NULLS LAST, t0."id" LIMIT 3"#),
        "{plan}"
    );
}

#[tokio::test]
async fn an_order_that_is_not_total_decides_nothing() {
    let fixture = fixture().await;
    for window in [
        "lag(price) OVER (ORDER BY grp)",
        "count(*) OVER (ORDER BY name ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
    ] {
        let query = format!("SELECT id, price, {window} AS w FROM shop.item");
        let plan = fixture.ok(&format!("EXPLAIN {query}")).await;
        assert!(plan.contains("rows that differ may be peers"), "{plan}");
    }
}

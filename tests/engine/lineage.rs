use insta::assert_snapshot;

use crate::fixture::Fixture;

/// `column <- origin` for each row of a view's lineage, `?` marking what decides the rows, `…` what comes through
/// other views.
async fn lineage(t: &Fixture, view: &str) -> String {
    let sql = format!(
        "SELECT coalesce(view_column, '?') || CASE WHEN direct THEN ' <- ' ELSE ' … ' END || source || '.' ||
            \"table\" || '.' || \"column\" AS lineage
        FROM system.lineage WHERE view = '{view}' ORDER BY view_column, 1"
    );
    let table = t.ok(&sql).await;
    let rows = table.lines().skip(3).filter(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches(['|', ' ']))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn values_and_what_decides_the_rows() {
    let t = Fixture::new().await;
    t.ok(
        "CREATE VIEW v AS SELECT i.name, s.qty * i.price AS value, 1 AS one
        FROM erp.item i JOIN erp.stock s ON i.sku = s.sku WHERE s.site = 'B'",
    )
    .await;
    assert_snapshot!(lineage(&t, "v").await, @r"
    name <- erp.item.name
    value <- erp.item.price
    value <- erp.stock.qty
    ? <- erp.item.sku
    ? <- erp.stock.site
    ? <- erp.stock.sku
    ");
    t.ok("CREATE VIEW grouped AS SELECT site, sum(qty) AS total, count(*) AS n FROM erp.stock GROUP BY site
        HAVING max(sku) > 'a'").await;
    assert_snapshot!(lineage(&t, "grouped").await, @r"
    site <- erp.stock.site
    total <- erp.stock.qty
    ? <- erp.stock.site
    ? <- erp.stock.sku
    ");
    t.ok("CREATE VIEW top AS SELECT name FROM erp.item ORDER BY price DESC LIMIT 2")
        .await;
    assert_snapshot!(lineage(&t, "top").await, @r"
    name <- erp.item.name
    ? <- erp.item.price
    ");
    t.ok(
        "CREATE VIEW all_skus (key) AS SELECT sku FROM erp.item UNION SELECT sku FROM shop.orders",
    )
    .await;
    assert_snapshot!(lineage(&t, "all_skus").await, @r"
    key <- erp.item.sku
    key <- shop.orders.sku
    ? <- erp.item.sku
    ? <- shop.orders.sku
    ");
}

#[tokio::test]
async fn subqueries_windows_and_recursion() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW sub AS SELECT name, (SELECT max(qty) FROM erp.stock s WHERE s.sku = i.sku) AS most
        FROM erp.item i WHERE EXISTS (SELECT 1 FROM shop.orders o WHERE o.sku = i.sku)
        AND i.sku IN (SELECT sku FROM erp.stock WHERE site = 'B')").await;
    assert_snapshot!(lineage(&t, "sub").await, @r"
    most <- erp.stock.qty
    name <- erp.item.name
    ? <- erp.item.sku
    ? <- erp.stock.site
    ? <- erp.stock.sku
    ? <- shop.orders.sku
    ");
    t.ok("CREATE VIEW win AS SELECT id, rank() OVER (PARTITION BY sku ORDER BY qty) AS place FROM shop.orders").await;
    assert_snapshot!(lineage(&t, "win").await, @r"
    id <- shop.orders.id
    place <- shop.orders.qty
    place <- shop.orders.sku
    ");
    t.ok("CREATE VIEW sets AS SELECT sku, site, sum(qty) AS n FROM erp.stock GROUP BY ROLLUP (sku, site)").await;
    assert_snapshot!(lineage(&t, "sets").await, @r"
    n <- erp.stock.qty
    site <- erp.stock.site
    sku <- erp.stock.sku
    ? <- erp.stock.site
    ? <- erp.stock.sku
    ");
    t.ok("CREATE VIEW rec AS WITH RECURSIVE r AS (
        SELECT id, qty FROM shop.orders UNION ALL SELECT r.id, r.qty - 1 FROM r WHERE r.qty > 0) SELECT * FROM r").await;
    assert_snapshot!(lineage(&t, "rec").await, @r"
    id <- shop.orders.id
    qty <- shop.orders.qty
    ? <- shop.orders.qty
    ");
    t.ok("CREATE VIEW cte AS WITH item AS (SELECT sku AS name FROM shop.orders) SELECT name FROM item").await;
    assert_snapshot!(lineage(&t, "cte").await, @"name <- shop.orders.sku");
}

#[tokio::test]
async fn through_views_and_after_their_replacement() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW low AS SELECT sku, name AS title FROM erp.item WHERE price > 1")
        .await;
    t.ok("CREATE VIEW high AS SELECT upper(title) AS loud FROM low")
        .await;
    t.ok("CREATE VIEW counted AS SELECT count(*) AS n FROM high")
        .await;
    assert_snapshot!(lineage(&t, "high").await, @r"
    loud <- belvedere.low.title
    loud … erp.item.name
    ? … erp.item.price
    ");
    assert_snapshot!(lineage(&t, "counted").await, @"? … erp.item.price");
    t.ok("CREATE OR REPLACE VIEW low AS SELECT sku, customer AS title FROM shop.orders")
        .await;
    assert_snapshot!(lineage(&t, "high").await, @r"
    loud <- belvedere.low.title
    loud … shop.orders.customer
    ");
    assert_snapshot!(t.ok("SELECT * FROM system.lineage WHERE view = 'high' ORDER BY source").await, @r"
    +-------------+------+-------------+-----------+--------+--------+----------+-------+--------+
    | view_schema | view | view_column | source    | schema | table  | column   | kind  | direct |
    +-------------+------+-------------+-----------+--------+--------+----------+-------+--------+
    | public      | high | loud        | belvedere | public | low    | title    | value | true   |
    | public      | high | loud        | shop      | main   | orders | customer | value | false  |
    +-------------+------+-------------+-----------+--------+--------+----------+-------+--------+
    ");
}

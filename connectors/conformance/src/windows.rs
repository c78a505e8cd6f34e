//! Windows, and what is above them, pushdown on and off.

use std::sync::Arc;

use crate::fixture::Fixture;
use crate::lab::{Lab, item, sale};
use crate::queries::all;
use crate::suite::Outcome;

pub(crate) async fn ranks(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.gives(
        "SELECT id, qty, rank() OVER (ORDER BY qty DESC NULLS LAST), dense_rank() OVER (ORDER BY qty NULLS FIRST) FROM src.item",
        &[
            "1|10|1|5", "2|-3|6|2", "3|0|5|3", "4|∅|7|1", "5|10|1|5", "6|7|4|4", "7|∅|7|1", "8|10|1|5",
        ],
    )
    .await;
    for sql in [
        "SELECT id, rank() OVER (PARTITION BY grp ORDER BY qty) FROM src.item",
        "SELECT id, dense_rank() OVER (PARTITION BY grp ORDER BY name DESC) FROM src.item",
        "SELECT id, rank() OVER (PARTITION BY name ORDER BY id) FROM src.item",
        "SELECT id, rank() OVER (ORDER BY qty + grp, id % 2) FROM src.item",
        "SELECT id, rank() OVER (PARTITION BY 1 ORDER BY grp) FROM src.item",
        "SELECT id, rank() OVER () FROM src.item",
        "SELECT grp, count(*), rank() OVER (ORDER BY count(*) DESC) FROM src.item GROUP BY grp",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

/// Ties break by the remaining columns.
pub(crate) async fn row_numbers(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.gives(
        "SELECT qty, id, row_number() OVER (ORDER BY qty DESC NULLS LAST) FROM (SELECT qty, id FROM src.item)",
        &["10|1|1", "10|5|2", "10|8|3", "7|6|4", "0|3|5", "-3|2|6", "∅|4|7", "∅|7|8"],
    )
    .await;
    for sql in [
        "SELECT id, row_number() OVER (PARTITION BY grp ORDER BY qty, id) FROM src.item",
        "SELECT id, row_number() OVER (PARTITION BY grp ORDER BY name) FROM src.item",
        "SELECT id, qty, lag(qty) OVER (ORDER BY id, qty) FROM (SELECT id, qty FROM src.item)",
        "SELECT id, qty, lead(qty, 2) OVER (ORDER BY id DESC, qty) FROM (SELECT id, qty FROM src.item)",
        "SELECT id, lag(qty, 1, -1) OVER (ORDER BY id, qty) FROM (SELECT id, qty FROM src.item)",
        "SELECT id, first_value(id) OVER (PARTITION BY grp ORDER BY qty DESC, id) FROM (SELECT id, grp, qty FROM src.item)",
        "SELECT id, last_value(id) OVER (PARTITION BY grp ORDER BY qty DESC, id) FROM (SELECT id, grp, qty FROM src.item)",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

pub(crate) async fn aggregates(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.gives(
        "SELECT id, sum(qty) OVER (PARTITION BY grp), count(qty) OVER (PARTITION BY grp) FROM src.item WHERE grp = 1",
        &["1|7|2", "2|7|2"],
    )
    .await;
    // Up to the last peer.
    lab.gives(
        "SELECT id, count(*) OVER (ORDER BY qty NULLS FIRST) FROM src.item WHERE qty IS NULL OR qty > 5",
        &["1|6", "4|2", "5|6", "6|3", "7|2", "8|6"],
    )
    .await;
    for sql in [
        "SELECT id, sum(qty) OVER (ORDER BY grp) FROM src.item",
        "SELECT id, min(qty) OVER (PARTITION BY grp), max(qty) OVER (PARTITION BY grp) FROM src.item",
        "SELECT id, min(name) OVER (ORDER BY qty), max(name) OVER (PARTITION BY grp) FROM src.item",
        "SELECT id, count(*) FILTER (WHERE qty > 5) OVER (PARTITION BY grp) FROM src.item",
        "SELECT id, sum(CAST(qty AS DECIMAL(10, 2))) OVER (PARTITION BY grp ORDER BY id) FROM src.item",
        "SELECT id, bool_and(qty > 0) OVER (PARTITION BY grp) FROM src.item",
        "SELECT id, avg(qty) OVER (PARTITION BY grp) FROM src.item",
        "SELECT id, count(DISTINCT qty) OVER (PARTITION BY grp) FROM src.item",
        "SELECT id, sum(qty) OVER (ORDER BY id RANGE BETWEEN 2 PRECEDING AND CURRENT ROW) FROM src.item",
        "SELECT id, sum(qty) OVER (PARTITION BY grp ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM (SELECT id, grp, qty FROM src.item)",
        "SELECT id, qty, sum(qty) OVER (ORDER BY qty, id ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING) FROM (SELECT id, qty FROM src.item)",
        "SELECT id, qty, max(qty) OVER (ORDER BY qty, id ROWS BETWEEN CURRENT ROW AND 2 FOLLOWING) FROM (SELECT id, qty FROM src.item)",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

/// Filters, joins, groups and orders of windows, and windows of those.
pub(crate) async fn above_and_below(fixture: Arc<dyn Fixture>) -> Outcome {
    all(
        fixture,
        &[
            "SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY grp ORDER BY qty DESC, id) AS rn FROM src.item) WHERE rn = 1",
            "SELECT id FROM (SELECT id, grp, rank() OVER (PARTITION BY grp ORDER BY qty) AS r FROM src.item) WHERE r < 3 AND grp > 1",
            "SELECT r, count(*) FROM (SELECT rank() OVER (PARTITION BY grp ORDER BY qty) AS r FROM src.item) GROUP BY r",
            "SELECT id, n * 2 FROM (SELECT id, count(*) OVER (PARTITION BY grp) AS n FROM src.item) WHERE n > 1 ORDER BY n DESC, id LIMIT 3",
            "SELECT s.no, i.n FROM src.sale AS s JOIN (SELECT id, count(*) OVER (PARTITION BY grp) AS n FROM src.item) AS i ON i.id = s.item_id",
            "SELECT id FROM src.item WHERE id IN (SELECT no FROM (SELECT no, rank() OVER (ORDER BY amount) AS r FROM src.sale) WHERE r < 4)",
            "SELECT id, rank() OVER (ORDER BY n) FROM (SELECT id, count(*) OVER (PARTITION BY grp) AS n FROM src.item)",
            "SELECT id, rank() OVER (ORDER BY grp), rank() OVER (PARTITION BY grp ORDER BY id), sum(qty) OVER (PARTITION BY qty) FROM src.item",
            "SELECT id, count(*) OVER (PARTITION BY grp) FROM src.item WHERE qty > 0",
            "SELECT id, count(*) OVER (PARTITION BY grp) FROM (SELECT * FROM src.item ORDER BY id LIMIT 5)",
            "SELECT id, count(*) OVER (PARTITION BY m) FROM (SELECT id, qty > 3 AS m FROM src.item)",
            "SELECT id, count(*) OVER (PARTITION BY grp) FROM src.item WHERE qty > 3 OR id IN (SELECT item_id FROM src.sale)",
            "SELECT id, rank() OVER (ORDER BY id) FROM src.item UNION ALL SELECT no, rank() OVER (ORDER BY amount) FROM src.sale",
            "SELECT count(*) FROM (SELECT id, rank() OVER (ORDER BY qty) FROM src.item LIMIT 3)",
        ],
    )
    .await
}

//! Joins of all kinds, pushdown on and off.

use std::sync::Arc;

use crate::fixture::Fixture;
use crate::lab::{Lab, item, sale};
use crate::queries::all;
use crate::suite::Outcome;

pub(crate) async fn inner_joins(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.gives(
        "SELECT no, name FROM src.sale JOIN src.item ON id = item_id ORDER BY no",
        &["1|apple", "2|apple", "3|apple ", "6|a_p%e", "7|∅"],
    )
    .await;
    for sql in [
        "SELECT no, id FROM src.sale JOIN src.item ON id = item_id AND amount > 5",
        "SELECT no, id FROM src.sale JOIN src.item ON id = item_id WHERE qty = 10",
        "SELECT no, id FROM src.sale JOIN src.item ON word = name",
        "SELECT no, id FROM src.sale JOIN src.item ON amount < qty",
        "SELECT no, id FROM src.sale JOIN src.item ON amount = qty AND no = id",
        "SELECT no, id FROM src.sale JOIN src.item ON amount IS NOT DISTINCT FROM qty",
        "SELECT grp, sum(amount) FROM src.sale JOIN src.item ON id = item_id GROUP BY grp",
        "SELECT a.no, b.id, c.no FROM src.sale a JOIN src.item b ON b.id = a.item_id JOIN src.sale c ON c.item_id = b.id",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

pub(crate) async fn outer_joins(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.gives(
        "SELECT id FROM src.item LEFT JOIN src.sale ON id = item_id WHERE no IS NULL ORDER BY id",
        &["2", "4", "6", "7"],
    )
    .await;
    for sql in [
        "SELECT id, no FROM src.item LEFT JOIN src.sale ON id = item_id",
        "SELECT id, no FROM src.item RIGHT JOIN src.sale ON id = item_id",
        "SELECT id, no FROM src.item FULL JOIN src.sale ON id = item_id",
        "SELECT id, no FROM src.item LEFT JOIN src.sale ON id = item_id AND amount > 5",
        "SELECT id, no FROM src.item LEFT JOIN src.sale ON id = item_id AND qty > 5",
        "SELECT id, no FROM src.item FULL JOIN src.sale ON id = item_id AND amount > 5",
        "SELECT id, no FROM src.item LEFT JOIN src.sale ON id = item_id WHERE amount > 5",
        "SELECT id, no FROM src.item LEFT JOIN (SELECT * FROM src.sale WHERE amount > 5) ON id = item_id",
        "SELECT grp, count(no) FROM src.item LEFT JOIN src.sale ON id = item_id GROUP BY grp",
        "SELECT id, no FROM (SELECT * FROM src.item WHERE grp = 2) LEFT JOIN src.sale ON name = word",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

pub(crate) async fn semi_and_anti_joins(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.gives(
        "SELECT id FROM src.item WHERE id IN (SELECT item_id FROM src.sale) ORDER BY id",
        &["1", "3", "5", "8"],
    )
    .await;
    // A NULL in the list makes every miss unknown.
    lab.gives(
        "SELECT id FROM src.item WHERE id NOT IN (SELECT item_id FROM src.sale)",
        &[],
    )
    .await;
    for sql in [
        "SELECT id FROM src.item WHERE EXISTS (SELECT 1 FROM src.sale WHERE item_id = id)",
        "SELECT id FROM src.item WHERE NOT EXISTS (SELECT 1 FROM src.sale WHERE item_id = id)",
        "SELECT id FROM src.item WHERE EXISTS (SELECT 1 FROM src.sale WHERE item_id = id AND amount > qty)",
        "SELECT id FROM src.item WHERE id NOT IN (SELECT item_id FROM src.sale WHERE item_id IS NOT NULL)",
        "SELECT id FROM src.item WHERE qty NOT IN (SELECT amount FROM src.sale WHERE amount IS NOT NULL)",
        "SELECT id FROM src.item WHERE name IN (SELECT word FROM src.sale)",
        "SELECT id FROM src.item WHERE qty > 3 OR id IN (SELECT item_id FROM src.sale)",
        "SELECT id FROM src.item LEFT SEMI JOIN src.sale ON id = item_id",
        "SELECT id FROM src.item LEFT ANTI JOIN src.sale ON id = item_id",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

/// `EXISTS` and `IN` below an OR or a NOT of more than themselves.
pub(crate) async fn mark_joins(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.gives(
        "SELECT id FROM src.item WHERE qty < 0 OR EXISTS (SELECT 1 FROM src.sale WHERE item_id = id) ORDER BY id",
        &["1", "2", "3", "5", "8"],
    )
    .await;
    // A NULL in the list makes every miss unknown.
    lab.gives(
        "SELECT id FROM src.item WHERE qty < 0 OR NOT (grp = 1 OR id IN (SELECT item_id FROM src.sale))",
        &["2"],
    )
    .await;
    for sql in [
        "SELECT id FROM src.item WHERE qty > 3 OR id IN (SELECT item_id FROM src.sale)",
        "SELECT id FROM src.item WHERE qty > 3 OR qty NOT IN (SELECT amount FROM src.sale)",
        "SELECT id FROM src.item WHERE grp = 1 OR name IN (SELECT word FROM src.sale WHERE amount > 0)",
        "SELECT id FROM src.item WHERE (qty > 3) = EXISTS (SELECT 1 FROM src.sale WHERE item_id = id)",
        "SELECT id FROM src.item WHERE (qty IN (SELECT amount FROM src.sale)) IS NULL",
        "SELECT id FROM src.item WHERE qty > 3 OR EXISTS (SELECT 1 FROM src.sale WHERE amount > qty)",
        "SELECT id FROM src.item WHERE qty > 3 OR EXISTS (SELECT 1 FROM src.sale WHERE amount > 1000)",
        "SELECT id FROM src.item WHERE EXISTS (SELECT 1 FROM src.sale WHERE item_id = id) OR EXISTS (SELECT 1 FROM src.sale WHERE word = name)",
        "SELECT name, count(*) FROM src.item WHERE qty > 3 OR id IN (SELECT item_id FROM src.sale) GROUP BY name",
        "SELECT id, no FROM src.item JOIN src.sale ON id = item_id WHERE qty > 3 OR no IN (SELECT grp FROM src.item)",
        "SELECT id FROM src.item WHERE qty > 3 OR id IN (SELECT item_id FROM src.sale) ORDER BY id DESC LIMIT 2",
        "SELECT grp, n FROM (SELECT grp, count(*) AS n FROM src.item GROUP BY grp) WHERE n > 2 OR grp IN (SELECT no FROM src.sale)",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

pub(crate) async fn cross_and_self_joins(fixture: Arc<dyn Fixture>) -> Outcome {
    all(
        fixture,
        &[
            "SELECT id, no FROM src.item, src.sale",
            "SELECT id, no FROM src.item CROSS JOIN src.sale WHERE id = no",
            "SELECT a.id, b.id FROM src.item a JOIN src.item b ON a.qty = b.qty AND a.id < b.id",
            "SELECT a.id, b.id FROM src.item a LEFT JOIN src.item b ON a.grp = b.id",
            "SELECT count(*) FROM src.item a, src.item b, src.sale c WHERE a.id = b.grp",
        ],
    )
    .await
}

/// Systems join some 60 tables at most.
pub(crate) async fn long_joins(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item())]).await;
    for (joins, kind) in [(30, "JOIN"), (90, "JOIN"), (90, "LEFT JOIN")] {
        let mut query = "SELECT count(*), sum(i.qty) FROM src.item AS i".to_string();
        for n in 0..joins {
            query += &format!(" {kind} src.item AS i{n} ON i{n}.id = i.id");
        }
        lab.same(&query).await;
    }
    Ok(())
}

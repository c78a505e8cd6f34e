//! What a fixture declares as pushed runs at the source whole; what it does not is right all the same, and an
//! improvement changes the declaration.

use std::sync::Arc;

use crate::fixture::{Feature, Fixture};
use crate::lab::{Lab, item, sale};
use crate::suite::Outcome;

async fn check(fixture: Arc<dyn Fixture>, feature: Feature, queries: &[&str]) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    let declared = fixture.pushes(feature);
    for sql in queries {
        lab.same(sql).await;
        let pushed = lab.is_fully_pushed_down(sql).await;
        assert_eq!(
            pushed,
            declared,
            "{feature:?} is declared as {}pushed down; {sql}\n{}",
            if declared { "" } else { "not " },
            lab.explained(sql).await
        );
    }
    Ok(())
}

macro_rules! features {
    ($($name:ident: $feature:ident, $($sql:literal),+ $(,)?;)+) => {
        $(pub(crate) async fn $name(fixture: Arc<dyn Fixture>) -> Outcome {
            check(fixture, Feature::$feature, &[$($sql),+]).await
        })+
    };
}

features! {
    columns: Columns, "SELECT name, id FROM src.item", "SELECT qty FROM src.item";
    integer_comparison: IntegerComparison,
        "SELECT id FROM src.item WHERE qty > 3",
        "SELECT id FROM src.item WHERE qty = 10 AND (grp = 1 OR grp IS NULL)",
        "SELECT id FROM src.item WHERE qty IN (0, 7)";
    text_equality: TextEquality, "SELECT id FROM src.item WHERE name = 'apple'";
    text_order: TextOrder, "SELECT id FROM src.item WHERE name > 'apple'";
    arithmetic: Arithmetic, "SELECT id, qty + 1 FROM src.item";
    limit: Limit, "SELECT id FROM src.item LIMIT 8";
    order_by: OrderBy, "SELECT id, qty FROM src.item ORDER BY qty, id";
    top_n: TopN, "SELECT id FROM src.item ORDER BY id LIMIT 3";
    count: Count, "SELECT count(*) FROM src.item", "SELECT count(qty) FROM src.item WHERE qty > 3";
    group_by: GroupBy, "SELECT grp, count(*), max(qty) FROM src.item GROUP BY grp";
    distinct: Distinct, "SELECT DISTINCT qty FROM src.item";
    inner_join: InnerJoin, "SELECT id, no FROM src.item JOIN src.sale ON id = item_id";
    left_join: LeftJoin, "SELECT id, no FROM src.item LEFT JOIN src.sale ON id = item_id";
    full_join: FullJoin, "SELECT id, no FROM src.item FULL JOIN src.sale ON id = item_id";
    semi_join: SemiJoin, "SELECT id FROM src.item WHERE EXISTS (SELECT 1 FROM src.sale WHERE item_id = id)";
    anti_join: AntiJoin, "SELECT id FROM src.item WHERE NOT EXISTS (SELECT 1 FROM src.sale WHERE item_id = id)";
    mark_join: MarkJoin,
        "SELECT id FROM src.item WHERE qty > 5 OR EXISTS (SELECT 1 FROM src.sale WHERE item_id = id)",
        "SELECT id FROM src.item WHERE qty IS NULL OR NOT EXISTS (SELECT 1 FROM src.sale WHERE item_id = id AND amount > 5)",
        "SELECT id FROM src.item WHERE grp = 1 OR EXISTS (SELECT 1 FROM src.sale WHERE no > 6)",
        "SELECT grp, count(*) FROM src.item WHERE grp = 1 OR id IN (SELECT no FROM src.sale) GROUP BY grp";
    window: Window,
        "SELECT id, rank() OVER (PARTITION BY grp ORDER BY qty) FROM src.item",
        "SELECT id, sum(qty) OVER (PARTITION BY grp), max(qty) OVER (ORDER BY grp) FROM src.item",
        "SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY grp ORDER BY qty DESC, id) AS rn FROM (SELECT id, qty, grp FROM src.item)) WHERE rn = 1",
        "SELECT r, count(*) FROM (SELECT rank() OVER (PARTITION BY grp ORDER BY qty) AS r FROM src.item) GROUP BY r";
    union_all: UnionAll, "SELECT id FROM src.item UNION ALL SELECT no FROM src.sale";
}

pub(crate) async fn off_sends_no_more_than_scans(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item())]).await;
    lab.run("SET pushdown = 'off'").await;
    let sql = "SELECT grp, count(*) FROM src.item WHERE qty > 3 GROUP BY grp";
    let plan = lab.explained(sql).await;
    assert!(
        plan.contains("Runs here") && plan.contains("Aggregate") && plan.contains("Filter"),
        "{plan}"
    );
    Ok(())
}

//! What people ask, pushdown on and off.

use std::sync::Arc;

use arrow::array::Decimal128Array;
use datafusion::scalar::ScalarValue;

use crate::fixture::Fixture;
use crate::lab::{Lab, batch, ints, item, numbers, sale};
use crate::suite::Outcome;

/// All of these, pushdown on and off.
pub(crate) async fn all(fixture: Arc<dyn Fixture>, queries: &[&str]) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    for sql in queries {
        lab.same(sql).await;
    }
    Ok(())
}

pub(crate) async fn projections(fixture: Arc<dyn Fixture>) -> Outcome {
    all(
        fixture,
        &[
            "SELECT * FROM src.item",
            "SELECT name, id FROM src.item",
            "SELECT id, id AS again, id AS thrice FROM src.item",
            "SELECT id + 1, qty * 2 - id, -qty, id % 3 FROM src.item",
            "SELECT name || '!' || coalesce(name, '?') FROM src.item",
            "SELECT qty > 3, name = 'apple', qty IS NULL, NOT (qty > 3) FROM src.item",
            "SELECT CASE WHEN qty > 5 THEN 'many' WHEN qty IS NULL THEN 'unknown' ELSE 'few' END FROM src.item",
            "SELECT CASE grp WHEN 1 THEN 10 WHEN 2 THEN 20 END FROM src.item",
            "SELECT CAST(id AS DOUBLE) AS f, CAST(id AS VARCHAR) AS t, CAST(qty AS INT) FROM src.item",
            "SELECT nullif(qty, 10), coalesce(qty, grp, 0) FROM src.item",
        ],
    )
    .await
}

pub(crate) async fn filters_on_numbers(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item())]).await;
    lab.gives(
        "SELECT id FROM src.item WHERE qty > 3 ORDER BY id",
        &["1", "5", "6", "8"],
    )
    .await;
    lab.gives(
        "SELECT id FROM src.item WHERE NOT (qty > 3) ORDER BY id",
        &["2", "3"],
    )
    .await;
    lab.gives(
        "SELECT id FROM src.item WHERE qty NOT IN (10, 7) ORDER BY id",
        &["2", "3"],
    )
    .await;
    lab.gives("SELECT id FROM src.item WHERE qty NOT IN (10, NULL)", &[])
        .await;
    all(
        fixture,
        &[
            "SELECT id FROM src.item WHERE qty = 10 AND grp = 1",
            "SELECT id FROM src.item WHERE qty = 10 OR grp = 2",
            "SELECT id FROM src.item WHERE qty <> 10",
            "SELECT id FROM src.item WHERE qty BETWEEN -3 AND 7",
            "SELECT id FROM src.item WHERE qty NOT BETWEEN -3 AND 7",
            "SELECT id FROM src.item WHERE qty IN (10, 0, 99)",
            "SELECT id FROM src.item WHERE qty + grp > 10",
            "SELECT id FROM src.item WHERE qty > grp",
            "SELECT id FROM src.item WHERE (qty > 3) IS NOT TRUE",
            "SELECT id FROM src.item WHERE (qty > 3) = (grp > 1)",
            "SELECT id FROM src.item WHERE qty > 3.5",
            "SELECT id FROM src.item WHERE qty / 2 = 5",
            "SELECT id FROM src.item WHERE CASE WHEN qty IS NULL THEN grp ELSE qty END = 10",
            "SELECT id FROM src.item WHERE true",
            "SELECT id FROM src.item WHERE false",
            "SELECT id FROM src.item WHERE NULL",
        ],
    )
    .await
}

pub(crate) async fn filters_on_text(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item())]).await;
    lab.gives("SELECT id FROM src.item WHERE name = 'apple'", &["1"])
        .await;
    lab.gives("SELECT id FROM src.item WHERE name = ''", &["4"])
        .await;
    lab.gives(
        "SELECT id FROM src.item WHERE name >= 'a' ORDER BY id",
        &["1", "3", "6", "7", "8"],
    )
    .await;
    all(
        fixture,
        &[
            "SELECT id FROM src.item WHERE name <> 'apple'",
            "SELECT id FROM src.item WHERE name < 'apple'",
            "SELECT id FROM src.item WHERE name > 'Zebra'",
            "SELECT id FROM src.item WHERE name IN ('Apple', 'ÄPFEL', '')",
            "SELECT id FROM src.item WHERE name = 'apple ' OR name = ' apple'",
            "SELECT id FROM src.item WHERE name = name || ''",
            "SELECT id FROM src.item WHERE lower(name) = 'äpfel'",
            "SELECT id FROM src.item WHERE upper(name) = 'APPLE'",
            "SELECT id FROM src.item WHERE name = ' ORDER BY 1 LIMIT 1 --'",
        ],
    )
    .await
}

pub(crate) async fn filters_on_null(fixture: Arc<dyn Fixture>) -> Outcome {
    all(
        fixture,
        &[
            "SELECT id FROM src.item WHERE qty IS NULL",
            "SELECT id FROM src.item WHERE qty IS NOT NULL AND name IS NULL",
            "SELECT id FROM src.item WHERE qty = NULL",
            "SELECT id FROM src.item WHERE qty IS DISTINCT FROM 10",
            "SELECT id FROM src.item WHERE qty IS NOT DISTINCT FROM grp",
            "SELECT id FROM src.item WHERE NOT (qty = 10 AND grp = 1)",
            "SELECT id FROM src.item WHERE coalesce(qty, -1) = -1",
            "SELECT id FROM src.item WHERE (qty IS NULL) <> (grp IS NULL)",
        ],
    )
    .await
}

pub(crate) async fn like_patterns(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item())]).await;
    lab.gives(
        "SELECT id FROM src.item WHERE name LIKE 'a%' ORDER BY id",
        &["1", "3", "8"],
    )
    .await;
    lab.gives(
        "SELECT id FROM src.item WHERE name LIKE 'a\\_p\\%e'",
        &["8"],
    )
    .await;
    lab.gives(
        "SELECT id FROM src.item WHERE name LIKE 'a!_p!%e' ESCAPE '!'",
        &["8"],
    )
    .await;
    all(
        fixture,
        &[
            "SELECT id FROM src.item WHERE name LIKE '%'",
            "SELECT id FROM src.item WHERE name LIKE ''",
            "SELECT id FROM src.item WHERE name LIKE '_pple'",
            "SELECT id FROM src.item WHERE name LIKE '%E'",
            "SELECT id FROM src.item WHERE name ILIKE 'APP%'",
            "SELECT id FROM src.item WHERE name ILIKE 'ä%'",
            "SELECT id FROM src.item WHERE name NOT LIKE 'a%'",
            "SELECT id FROM src.item WHERE starts_with(name, 'App')",
        ],
    )
    .await
}

pub(crate) async fn limits(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item())]).await;
    for (sql, rows) in [
        (
            "SELECT count(*) FROM (SELECT id FROM src.item LIMIT 3)",
            "3",
        ),
        (
            "SELECT count(*) FROM (SELECT id FROM src.item LIMIT 0)",
            "0",
        ),
        (
            "SELECT count(*) FROM (SELECT id FROM src.item LIMIT 100)",
            "8",
        ),
        (
            "SELECT count(*) FROM (SELECT id FROM src.item LIMIT 3 OFFSET 6)",
            "2",
        ),
        (
            "SELECT count(*) FROM (SELECT id FROM src.item OFFSET 5)",
            "3",
        ),
        (
            "SELECT count(*) FROM (SELECT id FROM src.item WHERE qty = 10 LIMIT 2)",
            "2",
        ),
        (
            "SELECT count(*) FROM (SELECT * FROM (SELECT id FROM src.item LIMIT 4) LIMIT 9)",
            "4",
        ),
    ] {
        lab.gives(sql, &[rows]).await;
    }
    // A condition above a limit sees only what the limit left.
    lab.gives(
        "SELECT id FROM (SELECT id FROM src.item ORDER BY id LIMIT 2) WHERE id > 1",
        &["2"],
    )
    .await;
    Ok(())
}

pub(crate) async fn orders(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item())]).await;
    let by_qty = ["2|-3", "3|0", "6|7", "1|10", "5|10", "8|10", "4|∅", "7|∅"];
    lab.gives("SELECT id, qty FROM src.item ORDER BY qty, id", &by_qty)
        .await;
    let by_name = [
        "∅", "zebra", "apple ", "apple", "a_p%e", "Äpfel", "Apple", "",
    ];
    let mut by_name = by_name.to_vec();
    // By bytes: Ä comes after every ASCII letter.
    by_name.retain(|n| *n != "Äpfel");
    by_name.insert(1, "Äpfel");
    lab.gives(
        "SELECT name FROM src.item ORDER BY name DESC NULLS FIRST",
        &by_name,
    )
    .await;
    for sql in [
        "SELECT id FROM src.item ORDER BY qty DESC, id",
        "SELECT id FROM src.item ORDER BY qty NULLS FIRST, id DESC",
        "SELECT id FROM src.item ORDER BY qty DESC NULLS LAST, grp NULLS FIRST, id",
        "SELECT id FROM src.item ORDER BY name, id",
        "SELECT id, qty * -1 AS k FROM src.item ORDER BY k, id",
        "SELECT id FROM src.item ORDER BY qty % 3, id",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

pub(crate) async fn top_n(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.gives(
        "SELECT id, qty FROM src.item ORDER BY qty DESC NULLS LAST, id LIMIT 2",
        &["1|10", "5|10"],
    )
    .await;
    // Ties break by the remaining columns.
    lab.gives(
        "SELECT qty, id FROM src.item ORDER BY qty DESC NULLS LAST LIMIT 2",
        &["10|1", "10|5"],
    )
    .await;
    for sql in [
        "SELECT id FROM src.item ORDER BY name LIMIT 3",
        "SELECT id, name FROM src.item ORDER BY name DESC LIMIT 3 OFFSET 2",
        "SELECT id FROM src.item WHERE grp = 2 ORDER BY qty, id LIMIT 1",
        "SELECT grp, sum(qty) AS s FROM src.item GROUP BY grp ORDER BY s DESC NULLS LAST, grp LIMIT 2",
        "SELECT no, name FROM src.sale JOIN src.item ON id = item_id ORDER BY amount DESC, no LIMIT 2",
        "SELECT id FROM src.item ORDER BY qty LIMIT 0",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

pub(crate) async fn aggregates(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.gives(
        "SELECT count(*), count(qty), sum(qty), min(qty), max(qty) FROM src.item",
        &["8|6|34|-3|10"],
    )
    .await;
    lab.gives("SELECT min(name), max(name) FROM src.item", &["|Äpfel"])
        .await;
    lab.gives(
        "SELECT sum(qty), count(*) FROM src.item WHERE id > 99",
        &["∅|0"],
    )
    .await;
    for sql in [
        "SELECT avg(qty), avg(id) FROM src.item",
        "SELECT count(DISTINCT qty), sum(DISTINCT qty), count(DISTINCT name) FROM src.item",
        "SELECT sum(qty) FILTER (WHERE grp = 1), count(*) FILTER (WHERE name > 'a') FROM src.item",
        "SELECT bool_and(qty > 0), bool_or(qty > 5) FROM src.item",
        "SELECT sum(qty) + count(*) * 2 FROM src.item",
        "SELECT stddev(qty), median(qty) FROM src.item",
        "SELECT max(qty) - min(qty) FROM src.item HAVING count(*) > 3",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

/// Of whole numbers and decimals: the source is asked for sums and counts, and an average is of the exact sum.
pub(crate) async fn averages(fixture: Arc<dyn Fixture>) -> Outcome {
    let most = Some(i64::MAX);
    let cents = [Some(-5), Some(12_345), None, Some(99_999_999), Some(-1)];
    let cents = Decimal128Array::from_iter(cents.map(|c| c.map(i128::from)))
        .with_precision_and_scale(10, 2)
        .expect("ten digits");
    let data = batch(vec![
        ("id", numbers(0..5)),
        ("big", ints([most, most, Some(i64::MIN), None, most])),
        ("price", Arc::new(cents)),
    ]);
    let lab = Lab::with(&fixture, &[("t", data)]).await;
    // Two thirds of nothing but the last number, where floats would have lost it.
    lab.gives("SELECT avg(big) FROM src.t WHERE id IN (0, 2)", &["-0.5"])
        .await;
    lab.gives(
        "SELECT avg(id), avg(big), avg(price) FROM src.t WHERE id > 99",
        &["∅|∅|∅"],
    )
    .await;
    for sql in [
        "SELECT avg(id), avg(big), avg(price) FROM src.t",
        "SELECT avg(price), sum(price), count(price), count(*), avg(-price) FROM src.t",
        "SELECT sum(id), avg(id), sum(big), avg(big), count(big) FROM src.t",
        "SELECT big, avg(id) AS mean, avg(price) FROM src.t GROUP BY big HAVING avg(id) > 0",
        "SELECT id % 2, avg(id) FROM src.t GROUP BY ROLLUP (id % 2)",
        "SELECT avg(id) FILTER (WHERE id > 2), avg(DISTINCT id), avg(id) FROM src.t",
        "SELECT avg(CAST(id AS DOUBLE)) FROM src.t",
        "SELECT id FROM src.t WHERE price > (SELECT avg(price) FROM src.t)",
    ] {
        lab.same(sql).await;
    }
    for (average, sum) in [
        ("SELECT avg(id) FROM src.t", "SELECT sum(id) FROM src.t"),
        (
            "SELECT avg(price) FROM src.t",
            "SELECT sum(price) FROM src.t",
        ),
    ] {
        let plan = lab.explained(average).await;
        assert!(
            !lab.is_fully_pushed_down(sum).await || !plan.contains("AggregateExec"),
            "{average} adds up here:\n{plan}"
        );
    }
    Ok(())
}

pub(crate) async fn grouping(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.gives(
        "SELECT grp, count(*), sum(qty) FROM src.item GROUP BY grp",
        &["1|2|7", "2|3|10", "∅|2|7", "3|1|10"],
    )
    .await;
    for sql in [
        "SELECT name, count(*) FROM src.item GROUP BY name",
        "SELECT word, count(*) FROM src.sale GROUP BY word",
        "SELECT grp, qty, count(*) FROM src.item GROUP BY grp, qty",
        "SELECT grp % 2, max(qty) FROM src.item GROUP BY grp % 2",
        "SELECT grp FROM src.item GROUP BY grp HAVING count(*) > 1",
        "SELECT grp, count(*) FROM src.item WHERE qty > 0 GROUP BY grp HAVING max(qty) >= 10",
        "SELECT qty > 5, count(*) FROM src.item GROUP BY qty > 5",
        "SELECT grp, count(DISTINCT qty) FROM src.item GROUP BY grp",
        "SELECT grp, qty, sum(id) FROM src.item GROUP BY ROLLUP (grp, qty)",
        "SELECT s, count(*) FROM (SELECT grp, sum(qty) AS s FROM src.item GROUP BY grp) GROUP BY s",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

pub(crate) async fn distinct_values(fixture: Arc<dyn Fixture>) -> Outcome {
    all(
        fixture,
        &[
            "SELECT DISTINCT qty FROM src.item",
            "SELECT DISTINCT word FROM src.sale",
            "SELECT DISTINCT grp, qty FROM src.item",
            "SELECT DISTINCT qty FROM src.item ORDER BY qty LIMIT 2",
            "SELECT count(*) FROM (SELECT DISTINCT name FROM src.item)",
        ],
    )
    .await
}

pub(crate) async fn unions(fixture: Arc<dyn Fixture>) -> Outcome {
    all(
        fixture,
        &[
            "SELECT id FROM src.item UNION ALL SELECT no FROM src.sale",
            "SELECT id FROM src.item UNION SELECT no FROM src.sale",
            "SELECT name FROM src.item UNION SELECT word FROM src.sale",
            "SELECT qty FROM src.item INTERSECT SELECT amount FROM src.sale",
            "SELECT qty FROM src.item EXCEPT SELECT amount FROM src.sale",
            "SELECT x, count(*) FROM (SELECT qty AS x FROM src.item UNION ALL SELECT amount FROM src.sale) GROUP BY x",
            "SELECT * FROM (SELECT id FROM src.item UNION ALL SELECT no FROM src.sale) ORDER BY id LIMIT 3",
            "SELECT id, 'item' AS what FROM src.item WHERE qty > 3 UNION ALL SELECT no, 'sale' FROM src.sale",
        ],
    )
    .await
}

pub(crate) async fn subqueries(fixture: Arc<dyn Fixture>) -> Outcome {
    all(
        fixture,
        &[
            "SELECT id FROM src.item WHERE qty = (SELECT max(qty) FROM src.item)",
            "SELECT id, (SELECT count(*) FROM src.sale) FROM src.item",
            "SELECT id, (SELECT sum(amount) FROM src.sale WHERE item_id = id) FROM src.item",
            "SELECT id FROM src.item i WHERE qty >= (SELECT avg(qty) FROM src.item j WHERE j.grp = i.grp)",
            "WITH big AS (SELECT * FROM src.item WHERE qty > 5) SELECT a.id, b.id FROM big a JOIN big b ON a.grp = b.grp",
            "SELECT id, row_number() OVER (PARTITION BY grp ORDER BY qty, id) FROM src.item",
            "SELECT id, sum(qty) OVER (ORDER BY id) FROM src.item",
        ],
    )
    .await
}

/// Overflow wraps, whole numbers divide to whole numbers, floats by IEEE.
pub(crate) async fn arithmetic(fixture: Arc<dyn Fixture>) -> Outcome {
    let data = batch(vec![
        ("id", numbers(0..6)),
        (
            "v",
            ints([
                Some(i64::MAX),
                Some(i64::MIN),
                Some(-7),
                Some(7),
                Some(0),
                None,
            ]),
        ),
        (
            "w",
            ints([Some(1), Some(-1), Some(2), Some(-2), Some(5), Some(3)]),
        ),
    ]);
    let lab = Lab::with(&fixture, &[("t", data)]).await;
    for sql in [
        "SELECT id, v + w, v - w, v * w FROM src.t",
        "SELECT id, v / w FROM src.t WHERE id > 1",
        "SELECT id, v % w FROM src.t WHERE id > 1",
        "SELECT sum(v), sum(w) FROM src.t WHERE id > 1",
        "SELECT sum(v) FROM src.t WHERE id IN (0, 3)",
        "SELECT avg(v) FROM src.t",
        "SELECT id FROM src.t WHERE v + 1 > v",
        "SELECT id FROM src.t WHERE v / 2 = -3",
        "SELECT id, -v, abs(w) FROM src.t WHERE id > 1",
        "SELECT id, CAST(v AS DOUBLE) / 3, CAST(v AS DOUBLE) * 1e300 FROM src.t",
        "SELECT id, CAST(w AS DECIMAL(10, 2)) / 3, CAST(w AS DECIMAL(10, 2)) * 1.05 FROM src.t",
        "SELECT id, round(CAST(w AS DOUBLE) / 2), floor(CAST(w AS DOUBLE) / 2), ceil(CAST(w AS DOUBLE) / 2) FROM src.t",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

/// What fails here may not become another answer when pushed down, and nothing may fail only then.
pub(crate) async fn errors_of_values(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item())]).await;
    for sql in [
        "SELECT 10 / qty FROM src.item",
        "SELECT CAST(name AS INT) FROM src.item",
        "SELECT id % qty FROM src.item",
    ] {
        let error = lab.error(sql).await;
        assert!(error.code() != "internal", "{sql}: {error}");
        assert!(
            !error.to_string().contains("zebra"),
            "an error quotes a value: {error}"
        );
    }
    // Both sides of AND may be evaluated for every row.
    lab.fails_here("SELECT id FROM src.item WHERE qty <> 0 AND 10 / qty > 1")
        .await;
    for sql in [
        "SELECT id, 10 / qty FROM src.item WHERE qty <> 0",
        "SELECT qty, 10 / qty + id FROM src.item WHERE qty <> 0",
        "SELECT CASE WHEN qty <> 0 THEN 10 / qty END FROM src.item",
        "SELECT CASE WHEN name = '' THEN NULL ELSE id END FROM src.item",
        "SELECT TRY_CAST(name AS INT) FROM src.item",
    ] {
        lab.same(sql).await;
    }
    Ok(())
}

pub(crate) async fn functions(fixture: Arc<dyn Fixture>) -> Outcome {
    all(
        fixture,
        &[
            "SELECT lower(name), upper(name) FROM src.item",
            "SELECT character_length(name), octet_length(name) FROM src.item",
            "SELECT substr(name, 2), substr(name, 0, 3), substr(name, -1, 3), substr(name, 2, 2) FROM src.item",
            "SELECT trim(name), ltrim(name), rtrim(name), trim(BOTH 'a' FROM name) FROM src.item",
            "SELECT left(name, 2), right(name, 2), left(name, -1), right(name, -1) FROM src.item",
            "SELECT strpos(name, 'p'), replace(name, 'p', 'b'), concat(name, '-', qty) FROM src.item",
            "SELECT starts_with(name, 'a'), ends_with(name, 'e') FROM src.item",
            "SELECT abs(qty), round(qty), coalesce(name, 'none'), nullif(name, '') FROM src.item",
            "SELECT date_part('day', DATE '2024-02-28' + INTERVAL '1 day') + qty FROM src.item",
            "SELECT id FROM src.item WHERE substr(name, 1, 1) = 'a'",
            "SELECT substr(name, 1, 1), count(*) FROM src.item GROUP BY substr(name, 1, 1)",
            "SELECT reverse(name), md5(name) FROM src.item",
        ],
    )
    .await
}

pub(crate) async fn prepared_values(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item())]).await;
    let text = |t: &str| ScalarValue::Utf8(Some(t.to_string()));
    for (sql, values) in [
        (
            "SELECT id FROM src.item WHERE qty = $1",
            vec![ScalarValue::Int64(Some(10))],
        ),
        (
            "SELECT id FROM src.item WHERE qty = $1",
            vec![ScalarValue::Int64(None)],
        ),
        (
            "SELECT id FROM src.item WHERE qty > $1 AND id < $2",
            vec![ScalarValue::Int64(Some(0)), ScalarValue::Int64(Some(5))],
        ),
        (
            "SELECT id FROM src.item WHERE name = $1",
            vec![text("Äpfel")],
        ),
        (
            "SELECT id FROM src.item WHERE name = $1",
            vec![text("'; DROP TABLE item; --")],
        ),
        (
            "SELECT id FROM src.item WHERE name LIKE $1",
            vec![text("%p%")],
        ),
        (
            "SELECT id FROM src.item WHERE qty IN ($1, $2)",
            vec![ScalarValue::Int64(Some(7)), ScalarValue::Int64(Some(0))],
        ),
        (
            "SELECT id + $1 FROM src.item",
            vec![ScalarValue::Int64(Some(100))],
        ),
    ] {
        lab.same_with(sql, &values).await;
    }
    Ok(())
}

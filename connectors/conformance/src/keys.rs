//! The keys of a join's one side, sent to the source of the other: few and many, of each type, also such that the source
//! cannot have.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};

use crate::fixture::Fixture;
use crate::lab::{Lab, batch, ints, item, numbers, sale};
use crate::suite::Outcome;

/// A table of five numbers as values of a type, joined with keys made of the numbers from 1 to `count` by `key`.
async fn joined(fixture: &Arc<dyn Fixture>, data_type: DataType, key: &str) -> Outcome {
    if fixture.reads(&data_type).is_none() {
        return Err("the system has no such type");
    }
    let values = ints([Some(1), Some(40), Some(299), Some(1_000_000), None]);
    let narrow = cast(&values, &DataType::Int32).expect("small numbers");
    let values = match data_type {
        DataType::Date32 => cast(&narrow, &data_type),
        _ => cast(&values, &data_type),
    };
    let data = batch(vec![
        ("id", numbers(1..=5)),
        ("v", values.expect("a cast of numbers")),
    ]);
    let lab = Lab::with(fixture, &[("t", data)]).await;
    for (count, found) in [
        (0, &[][..]),
        (5, &["1"]),
        (60, &["1", "2"]),
        (3_000, &["1", "2", "3"]),
    ] {
        let keys = format!("(SELECT {key} AS k FROM generate_series(1, {count}) AS g)");
        let inner = format!("SELECT id FROM {keys} AS keys JOIN src.t ON k = v ORDER BY id");
        lab.gives(&inner, found).await;
        let semi = format!("SELECT id FROM src.t WHERE v IN (SELECT k FROM {keys} AS keys)");
        lab.gives(&semi, found).await;
        lab.same(&format!(
            "SELECT id FROM src.t WHERE v NOT IN (SELECT k FROM {keys} AS keys)"
        ))
        .await;
        lab.same(&format!(
            "SELECT id, k FROM src.t LEFT JOIN {keys} AS keys ON k = v"
        ))
        .await;
    }
    Ok(())
}

pub(crate) async fn integers(fixture: Arc<dyn Fixture>) -> Outcome {
    joined(&fixture, DataType::Int64, "g.value").await
}

pub(crate) async fn texts(fixture: Arc<dyn Fixture>) -> Outcome {
    joined(&fixture, DataType::Utf8, "CAST(g.value AS VARCHAR)").await
}

pub(crate) async fn decimals(fixture: Arc<dyn Fixture>) -> Outcome {
    let key = "CAST(g.value AS DECIMAL(12, 2))";
    joined(&fixture, DataType::Decimal128(12, 2), key).await
}

pub(crate) async fn dates(fixture: Arc<dyn Fixture>) -> Outcome {
    let key = "arrow_cast(CAST(g.value AS INT), 'Date32')";
    joined(&fixture, DataType::Date32, key).await
}

pub(crate) async fn timestamps(fixture: Arc<dyn Fixture>) -> Outcome {
    let key = "arrow_cast(g.value, 'Timestamp(Microsecond, None)')";
    joined(
        &fixture,
        DataType::Timestamp(TimeUnit::Microsecond, None),
        key,
    )
    .await
}

/// Texts that only bytes tell apart, and some that a system may have no way to hold.
pub(crate) async fn odd_texts(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    for many in [
        "",
        " UNION ALL SELECT 'w' || value FROM generate_series(1, 100)",
    ] {
        let keys = format!(
            "(SELECT * FROM (VALUES ('apple'), ('APPLE'), ('apple '), (''), (arrow_cast(X'7A6562726100', 'Utf8')), (NULL), ('ä'), ('😀')) AS v(k){many})"
        );
        for sql in [
            "SELECT id, k FROM {keys} AS keys JOIN src.item ON k = name",
            "SELECT no, k FROM {keys} AS keys JOIN src.sale ON k = word",
            "SELECT no FROM src.sale WHERE word IN (SELECT k FROM {keys} AS keys)",
            "SELECT no FROM src.sale WHERE word NOT IN (SELECT k FROM {keys} AS keys WHERE k IS NOT NULL)",
        ] {
            lab.same(&sql.replace("{keys}", &keys)).await;
        }
    }
    Ok(())
}

pub(crate) async fn of_two_columns(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    let keys = "(SELECT value AS a, value % 3 AS b FROM generate_series(0, 60))";
    for sql in [
        "SELECT id, a, b FROM {keys} AS k JOIN src.item ON id = a AND grp = b",
        "SELECT id, no FROM (SELECT * FROM src.item ORDER BY id LIMIT 5) AS i JOIN src.sale ON id = item_id AND qty > amount",
        "SELECT id, n FROM (SELECT * FROM src.item ORDER BY id LIMIT 5) AS i
         JOIN (SELECT item_id, count(*) AS n FROM src.sale GROUP BY item_id) AS s ON id = item_id",
        "SELECT i.id, l.no FROM (SELECT * FROM src.item ORDER BY id LIMIT 5) AS i
         JOIN (SELECT * FROM src.sale ORDER BY no DESC LIMIT 3) AS l ON i.id = l.item_id",
    ] {
        lab.same(&sql.replace("{keys}", keys)).await;
    }
    Ok(())
}

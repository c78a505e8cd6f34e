//! No rows, no columns, as many rows as a batch and one more or less, wide rows, huge values.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, new_null_array};
use arrow::datatypes::DataType;

use crate::fixture::Fixture;
use crate::lab::{Lab, batch, item, numbers, texts};
use crate::suite::Outcome;

pub(crate) async fn no_rows(fixture: Arc<dyn Fixture>) -> Outcome {
    let none = batch(vec![("id", numbers([])), ("name", texts([]))]);
    let lab = Lab::with(&fixture, &[("none", none), ("item", item())]).await;
    lab.gives("SELECT * FROM src.none", &[]).await;
    lab.gives(
        "SELECT count(*), count(id), sum(id), min(name) FROM src.none",
        &["0|0|∅|∅"],
    )
    .await;
    lab.gives("SELECT id, count(*) FROM src.none GROUP BY id", &[])
        .await;
    lab.gives(
        "SELECT item.id FROM src.item JOIN src.none ON item.id = none.id",
        &[],
    )
    .await;
    lab.gives(
        "SELECT count(*) FROM src.item LEFT JOIN src.none ON item.id = none.id",
        &["8"],
    )
    .await;
    lab.gives("SELECT id FROM src.none ORDER BY id LIMIT 3", &[])
        .await;
    lab.gives(
        "SELECT count(*) FROM src.item WHERE id NOT IN (SELECT id FROM src.none)",
        &["8"],
    )
    .await;
    Ok(())
}

pub(crate) async fn no_columns(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item())]).await;
    lab.gives("SELECT count(*) FROM src.item", &["8"]).await;
    lab.gives("SELECT 1 FROM src.item", &["1"; 8]).await;
    lab.gives("SELECT 'x' FROM src.item WHERE qty = 10", &["x"; 3])
        .await;
    lab.gives("SELECT count(*) FROM src.item a, src.item b", &["64"])
        .await;
    lab.gives(
        "SELECT count(*) FROM (SELECT 1 FROM src.item LIMIT 3)",
        &["3"],
    )
    .await;
    Ok(())
}

async fn so_many_rows(fixture: Arc<dyn Fixture>, rows: i64) -> Outcome {
    let words: Vec<String> = (0..rows).map(|i| format!("w{}", i % 97)).collect();
    let data = batch(vec![
        ("id", numbers(0..rows)),
        (
            "word",
            Arc::new(StringArray::from_iter_values(&words)) as ArrayRef,
        ),
    ]);
    let lab = Lab::with(&fixture, &[("t", data)]).await;
    let found = lab.run("SELECT id, word FROM src.t ORDER BY id").await.rows;
    assert!(
        found
            .iter()
            .enumerate()
            .all(|(i, row)| *row == format!("{i}|w{}", i % 97)),
        "each row once"
    );
    assert_eq!(found.len() as i64, rows);
    lab.gives(
        "SELECT count(*), sum(id) FROM src.t",
        &[&format!("{rows}|{}", rows * (rows - 1) / 2)],
    )
    .await;
    lab.same("SELECT word, id FROM src.t").await;
    lab.same("SELECT word, count(*) FROM src.t GROUP BY word")
        .await;
    lab.gives(
        &format!(
            "SELECT count(*) FROM (SELECT id FROM src.t LIMIT {})",
            rows - 1
        ),
        &[&(rows - 1).to_string()],
    )
    .await;
    lab.gives(
        &format!("SELECT id FROM src.t ORDER BY id DESC OFFSET {}", rows - 1),
        &["0"],
    )
    .await;
    Ok(())
}

pub(crate) async fn one_row_below_a_batch(fixture: Arc<dyn Fixture>) -> Outcome {
    so_many_rows(fixture, 8191).await
}

pub(crate) async fn one_batch(fixture: Arc<dyn Fixture>) -> Outcome {
    so_many_rows(fixture, 8192).await
}

pub(crate) async fn one_row_above_a_batch(fixture: Arc<dyn Fixture>) -> Outcome {
    so_many_rows(fixture, 8193).await
}

pub(crate) async fn many_columns(fixture: Arc<dyn Fixture>) -> Outcome {
    let names: Vec<String> = (0..300).map(|i| format!("c{i}")).collect();
    let columns = names.iter().enumerate().map(|(i, name)| {
        (
            name.as_str(),
            numbers((0..20).map(move |r| r * 1000 + i as i64)),
        )
    });
    let lab = Lab::with(&fixture, &[("wide", batch(columns.collect()))]).await;
    let found = lab.run("SELECT * FROM src.wide ORDER BY c0").await;
    assert_eq!(found.types.len(), 300);
    for (row, text) in found.rows.iter().enumerate() {
        let expected: Vec<_> = (0..300).map(|i| (row * 1000 + i).to_string()).collect();
        assert_eq!(*text, expected.join("|"));
    }
    lab.gives(
        "SELECT c299, c0 FROM src.wide WHERE c150 = 3150",
        &["3299|3000"],
    )
    .await;
    Ok(())
}

pub(crate) async fn a_huge_value(fixture: Arc<dyn Fixture>) -> Outcome {
    let huge = "ü".repeat(4 << 20);
    let data = batch(vec![
        ("id", numbers([1, 2])),
        ("v", texts([Some(huge.as_str()), Some("small")])),
    ]);
    let lab = Lab::with(&fixture, &[("t", data)]).await;
    let found = lab.run("SELECT v FROM src.t ORDER BY id").await.rows;
    assert!(
        found[0] == huge && found[1] == "small",
        "{} bytes and {}",
        found[0].len(),
        found[1].len()
    );
    lab.gives(
        "SELECT id, character_length(v), octet_length(v) FROM src.t WHERE id = 1",
        &["1|4194304|8388608"],
    )
    .await;
    Ok(())
}

pub(crate) async fn all_null(fixture: Arc<dyn Fixture>) -> Outcome {
    let data = batch(vec![
        ("id", numbers(0..5)),
        ("n", new_null_array(&DataType::Int64, 5)),
        ("t", new_null_array(&DataType::Utf8, 5)),
    ]);
    let lab = Lab::with(&fixture, &[("t", data)]).await;
    lab.gives("SELECT n, t FROM src.t ORDER BY id", &["∅|∅"; 5])
        .await;
    lab.gives("SELECT sum(n), max(t), count(n) FROM src.t", &["∅|∅|0"])
        .await;
    lab.gives("SELECT a.id FROM src.t a JOIN src.t b ON a.n = b.n", &[])
        .await;
    lab.gives("SELECT n, count(*) FROM src.t GROUP BY n", &["∅|5"])
        .await;
    lab.gives(
        "SELECT id FROM src.t WHERE n IS NOT DISTINCT FROM NULL ORDER BY id",
        &["0", "1", "2", "3", "4"],
    )
    .await;
    Ok(())
}

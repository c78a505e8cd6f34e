//! Rows that are looked up by a key, again and again, and by many at once.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use futures::future::join_all;

use crate::fixture::{Ability, Fixture};
use crate::lab::{Lab, lines};
use crate::suite::{Outcome, need};

const CUSTOMERS: i32 = 300;
const SITES: [&str; 3] = ["B", "HH", "M"];

/// Customers, and stock by two columns.
async fn tables(fixture: &Arc<dyn Fixture>) -> Outcome {
    need(fixture, Ability::Keys)?;
    let mut statements = vec![
        "CREATE TABLE customer (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(40), credit INTEGER)".to_string(),
        "CREATE TABLE stock (sku VARCHAR(20) NOT NULL, site VARCHAR(5) NOT NULL, qty INTEGER, PRIMARY KEY (sku, site))"
            .to_string(),
    ];
    let customers = (1..=CUSTOMERS).map(|i| format!("({i}, 'name {i}', {})", i % 7));
    let customers: Vec<_> = customers.collect();
    statements.push(format!(
        "INSERT INTO customer VALUES {}",
        customers.join(", ")
    ));
    let stock = (1..=100).flat_map(|i| SITES.map(|site| format!("('s{i}', '{site}', {i})")));
    let stock: Vec<_> = stock.collect();
    statements.push(format!("INSERT INTO stock VALUES {}", stock.join(", ")));
    fixture.execute_all(&statements).await;
    Ok(())
}

fn text(text: impl ToString) -> ScalarValue {
    ScalarValue::Utf8(Some(text.to_string()))
}

/// The same statement with other values: what it was first is no answer to the next.
pub(crate) async fn prepared_again(fixture: Arc<dyn Fixture>) -> Outcome {
    tables(&fixture).await?;
    let lab = Lab::with(&fixture, &[]).await;
    let int = |value| ScalarValue::Int64(value);
    let by_id = [
        Some(1),
        Some(2),
        None,
        Some(-1),
        Some(i64::MAX),
        Some(300),
        Some(2),
    ]
    .map(int);
    let names = ["name 1", "NAME 1", "name 1 ", "", "'", "nàme 1", "name 2"].map(text);
    let skus = ["s1", "S1", "s1 ", "s100", "\u{1F600}", "s2"].map(text);
    for (sql, values) in [
        ("SELECT * FROM src.customer WHERE id = $1", by_id.to_vec()),
        (
            "SELECT name FROM src.customer WHERE id = $1 AND credit > 2",
            by_id.to_vec(),
        ),
        (
            "SELECT name FROM src.customer WHERE id = $1 LIMIT 1",
            by_id.to_vec(),
        ),
        (
            "SELECT id AS a, id AS b FROM src.customer WHERE $1 = id ORDER BY name",
            by_id.to_vec(),
        ),
        (
            "SELECT count(*), max(name) FROM src.customer WHERE credit = $1",
            by_id.to_vec(),
        ),
        (
            "SELECT id, credit + $1 FROM src.customer WHERE id < 5",
            by_id[..2].to_vec(),
        ),
        (
            "SELECT id FROM src.customer WHERE name = $1",
            names.to_vec(),
        ),
        (
            "SELECT id FROM src.customer WHERE upper(name) LIKE $1",
            names.to_vec(),
        ),
        (
            "SELECT id FROM src.customer WHERE id IN ($1, 7, 8)",
            by_id.to_vec(),
        ),
        (
            "SELECT qty, site FROM src.stock WHERE sku = $1",
            skus.to_vec(),
        ),
        (
            "SELECT qty FROM src.stock WHERE sku = $1 AND site = 'HH'",
            skus.to_vec(),
        ),
        (
            "SELECT c.name, s.qty FROM src.customer c JOIN src.stock s ON s.qty = c.id WHERE c.id = $1",
            by_id.to_vec(),
        ),
    ] {
        let prepared = lab.session.prepare(sql).await.expect(sql);
        for value in values {
            let off = [("pushdown".to_string(), "off".to_string())];
            let plain = lab.answer(sql, std::slice::from_ref(&value), &off).await;
            let plain = plain.unwrap_or_else(|e| panic!("{sql} with {value:?}: {e}"));
            let value = [value];
            let again = lab.session.execute_prepared(&prepared, &value).await;
            let again = again.unwrap_or_else(|e| panic!("{sql} with {value:?}: {e}"));
            let batches: Vec<RecordBatch> = again.stream.try_collect().await.expect(sql);
            let (mut found, mut expected) = (lines(&batches), plain.rows);
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{sql} with {value:?}");
        }
    }
    Ok(())
}

/// Many ask at once, so that they wait, and are asked for together: each is given its own.
pub(crate) async fn at_once(fixture: Arc<dyn Fixture>) -> Outcome {
    tables(&fixture).await?;
    let lab = Lab::with(&fixture, &[]).await;
    let clients = (0..48).map(|client: i32| {
        let session = lab.engine.session();
        async move {
            let customer = "SELECT name, credit FROM src.customer WHERE id = $1";
            let customer = session.prepare(customer).await.expect(customer);
            let stock = "SELECT qty FROM src.stock WHERE site = $1 AND sku = $2";
            let stock = session.prepare(stock).await.expect(stock);
            for round in 0..12 {
                // Some of them ask for the same, and some for what is not there.
                let id = (client / 2 * 17 + round * 5) % (CUSTOMERS + 20);
                let key = [ScalarValue::Int32(Some(id))];
                let answer = session.execute_prepared(&customer, &key);
                let rows = answer
                    .await
                    .expect("a lookup")
                    .collect()
                    .await
                    .expect("a lookup");
                let expected = match (1..=CUSTOMERS).contains(&id) {
                    true => vec![format!("name {id}|{}", id % 7)],
                    false => vec![],
                };
                assert_eq!(lines(&rows), expected, "customer {id}");
                let (sku, site) = (client + round, SITES[(round % 3) as usize]);
                let key = [text(site), text(format!("s{sku}"))];
                let answer = session
                    .execute_prepared(&stock, &key)
                    .await
                    .expect("a lookup");
                let rows = answer.collect().await.expect("a lookup");
                let expected = match (1..=100).contains(&sku) {
                    true => vec![sku.to_string()],
                    false => vec![],
                };
                assert_eq!(lines(&rows), expected, "stock of s{sku} in {site}");
            }
        }
    });
    join_all(clients).await;
    // As the engine tells it: every question has ended.
    let open = "SELECT count(*) AS n FROM system.fragments WHERE state <> 'finished'";
    assert_eq!(lab.run(open).await.rows, ["0"]);
    Ok(())
}

use serde_json::{Value, json};

use super::support::Server;

/// The rows of all pages, the URL of each being that which the one before says.
async fn walk(server: &Server, first: &str) -> (Vec<Value>, usize) {
    let (mut rows, mut pages) = (Vec::new(), 0);
    let mut next = Some(first.to_string());
    while let Some(path) = next {
        let page = server.get(&path).await.ok();
        rows.extend(page["rows"].as_array().unwrap().iter().cloned());
        next = page["next"].as_str().map(str::to_string);
        pages += 1;
        assert!(pages < 2000, "it does not end");
    }
    (rows, pages)
}

#[tokio::test]
async fn pages_have_every_row_once() {
    let server = Server::start().await;
    for (view, key, count) in [
        ("orders", vec!["id"], 1000),
        ("parts", vec!["sku", "site"], 300),
        ("names", vec!["name"], 12),
    ] {
        let mut all: Vec<Vec<Value>> = Vec::new();
        for of in [format!("shop.{view}"), format!("kept_{view}")] {
            for limit in [1, 7, count - 1, count, count + 1] {
                if limit == 1 && count > 500 {
                    continue;
                }
                let (rows, pages) = walk(&server, &format!("/v1/views/{of}?limit={limit}")).await;
                assert_eq!(rows.len(), count, "{of} by {limit}");
                assert_eq!(pages, count.div_ceil(limit), "{of} by {limit}");
                all.push(rows);
            }
            // Columns of the key are not among those that are asked for.
            let other = if view == "names" {
                "n"
            } else if view == "parts" {
                "free"
            } else {
                "qty"
            };
            let (rows, _) = walk(&server, &format!("/v1/views/{of}?limit=11&select={other}")).await;
            assert_eq!(rows.len(), count);
            assert_eq!(rows[0].as_object().unwrap().len(), 1);
        }
        // A view that is kept and the table that it is of, whatever the pages.
        assert!(all.windows(2).all(|two| two[0] == two[1]), "{view}");
        let keys = all[0].iter().map(|row| {
            key.iter()
                .map(|k| row[*k].to_string())
                .collect::<Vec<_>>()
                .join("|")
        });
        let distinct: std::collections::BTreeSet<String> = keys.collect();
        assert_eq!(distinct.len(), count);
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_go_on_where_rows_come_and_go() {
    let server = Server::start().await;
    let page = server
        .get("/v1/views/shop.orders?limit=10&select=id")
        .await
        .ok();
    server
        .shop()
        .execute_batch("DELETE FROM orders WHERE id BETWEEN 5 AND 12")
        .unwrap();
    let page = server.get(page["next"].as_str().unwrap()).await.ok();
    assert_eq!(page["rows"][0], json!({"id": 13}));
}

#[tokio::test]
async fn keys_that_may_be_null_have_their_place() {
    let server = Server::start().await;
    server
        .shop()
        .execute_batch(
            "CREATE TABLE loose (a INTEGER, b INTEGER);
             INSERT INTO loose VALUES (1, 1), (1, NULL), (NULL, 1), (NULL, NULL), (2, 2), (2, 2), (NULL, 2), (1, 2);",
        )
        .unwrap();
    let view =
        "CREATE VIEW loose_groups AS SELECT a, b, count(*) AS n FROM shop.loose GROUP BY a, b";
    assert_eq!(server.sql("REFRESH SOURCE shop").await.status, 200);
    assert_eq!(server.sql(view).await.status, 200);
    let expected = json!([
        [1, 1, 1],
        [1, 2, 1],
        [1, null, 1],
        [2, 2, 2],
        [null, 1, 1],
        [null, 2, 1],
        [null, null, 1]
    ]);
    for limit in 1..9 {
        let (rows, _) = walk(&server, &format!("/v1/views/loose_groups?limit={limit}")).await;
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| json!([row["a"], row["b"], row["n"]]))
            .collect();
        assert_eq!(Value::from(rows), expected, "by {limit}");
    }
}

#[tokio::test]
async fn rows_are_found_by_columns() {
    let server = Server::start().await;
    for view in ["shop.orders", "kept_orders"] {
        let path = format!("/v1/views/{view}?sku=S-3&qty=5&select=id&limit=3");
        let page = server.get(&path).await.ok();
        let ids: Vec<i64> = (1..=1000)
            .filter(|i| i % 7 == 3 && i % 13 == 5)
            .take(3)
            .collect();
        let rows: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
        assert_eq!(page["rows"], Value::from(rows), "{view}");
        let (all, _) = walk(&server, &path).await;
        assert_eq!(
            all.len(),
            (1..=1000).filter(|i| i % 7 == 3 && i % 13 == 5).count()
        );
        let none = server.get(&format!("/v1/views/{view}?sku=nothing")).await;
        assert_eq!(none.text(), "{\"rows\":[\n],\"next\":null}\n");
        let price = server
            .get(&format!("/v1/views/{view}?price=1.5&select=id"))
            .await
            .ok();
        assert_eq!(price["rows"], json!([{"id": 3}]));
    }
    // What means something else is a column if it is quoted.
    let rows = server
        .get("/v1/views/kept_names?%22limit%22=3&select=n,%22limit%22,%22Odd%20%22%22name%22")
        .await;
    assert_eq!(
        rows.ok()["rows"],
        json!([{"n": 2, "limit": 3, "Odd \"name": "c"}])
    );
    // Without a key there are no pages, which is said.
    let page = server.get("/v1/views/without_key?limit=2").await.ok();
    assert_eq!(
        (
            page["rows"].as_array().unwrap().len(),
            &page["next"],
            &page["more"]
        ),
        (2, &Value::Null, &json!(true))
    );
    let page = server.get("/v1/views/mem.t").await.ok();
    assert_eq!(
        page,
        json!({"rows": [{"id": 1, "name": "a"}, {"id": 2, "name": null}, {"id": 3, "name": "c"}], "next": null})
    );
    assert_eq!(
        server
            .get("/v1/views/without_key?after=1")
            .await
            .problem()
            .0,
        400
    );
    for (wrong, said) in [
        ("limit=0", "limit is a number from 1 to 10000"),
        ("limit=10001", "limit is a number from 1 to 10000"),
        ("limit=x", "limit is a number from 1 to 10000"),
        ("nothing=1", "shop.main.orders has no column nothing"),
        (
            "select=id,nothing",
            "shop.main.orders has no column nothing",
        ),
        ("select=id,id", "column id is selected twice"),
        ("ID=1", "shop.main.orders has no column ID"),
        ("sku=a&sku=b", "parameter sku is given twice"),
        ("sku", "a parameter of the query has no value"),
        (
            "after=1,2",
            "the key of shop.main.orders is id; there are 2 values",
        ),
        ("qty=many", "the value of column qty is no bigint"),
        ("sku=%FF", "the URL is not UTF-8"),
        ("select=", "select is not written as names are"),
    ] {
        let (status, _, detail) = server
            .get(&format!("/v1/views/shop.orders?{wrong}"))
            .await
            .problem();
        assert_eq!((status, detail.as_str()), (400, said), "{wrong}");
    }
    server.stop().await;
}

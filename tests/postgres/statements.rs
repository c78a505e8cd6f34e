use futures::TryStreamExt;
use futures::future::join_all;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::Type;

use super::support::{Server, refused, rows, said};

#[tokio::test]
async fn a_text_of_statements_is_run_one_after_the_other() {
    let server = Server::start().await;
    let client = server.client().await;
    let sql = "SELECT 1 AS a; CREATE VIEW v AS SELECT id FROM mem.t; SELECT count(*) FROM v; ;";
    assert_eq!(rows(&client, sql).await, ["1", "3"]);
    let messages = client.simple_query(sql.split(';').nth(1).unwrap()).await;
    assert_eq!(
        said(&messages.unwrap_err()),
        "42P07: view v already exists. CREATE OR REPLACE VIEW replaces it"
    );
    // The first that fails is the last.
    let sql = "SELECT 1; SELECT nothing; CREATE VIEW w AS SELECT 1 AS a";
    assert!(refused(&client, sql).await.starts_with("42703: "));
    assert!(
        refused(&client, "SELECT * FROM w")
            .await
            .starts_with("42P01: ")
    );
    assert!(rows(&client, " ; ").await.is_empty());
}

#[tokio::test]
async fn errors_say_where() {
    let server = Server::start().await;
    let client = server.client().await;
    let e = client
        .simple_query("SELECT 1;\nSELEKT 2")
        .await
        .unwrap_err();
    let e = e.as_db_error().unwrap();
    assert_eq!(e.code().code(), "42601");
    assert_eq!(
        e.position(),
        Some(&tokio_postgres::error::ErrorPosition::Original(11))
    );
    // Prepared, too; and the connection goes on.
    let e = client.prepare("SELECT 1 +").await.unwrap_err();
    assert!(e.as_db_error().unwrap().position().is_some());
    assert_eq!(rows(&client, "SELECT 2").await, ["2"]);
}

#[tokio::test]
async fn tags_say_what_was_done() {
    let server = Server::start().await;
    let client = server.client().await;
    for (sql, rows) in [
        ("SELECT * FROM mem.t", 3),
        ("SET timezone = 'UTC'", 0),
        ("SHOW timezone", 0),
    ] {
        let messages = client.simple_query(sql).await.unwrap();
        let last = messages.last().unwrap();
        assert!(
            matches!(last, SimpleQueryMessage::CommandComplete(n) if *n == rows),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn parameters_have_the_types_of_what_they_are_compared_with() {
    let server = Server::start().await;
    let client = server.client().await;
    let statement = client
        .prepare("SELECT name FROM mem.t WHERE id = $1 AND (name = $2 OR $2 IS NULL)")
        .await
        .unwrap();
    assert_eq!(statement.params(), [Type::INT8, Type::TEXT]);
    assert_eq!(statement.columns()[0].type_(), &Type::TEXT);
    let found = client.query(&statement, &[&3i64, &"c"]).await.unwrap();
    assert_eq!(found[0].get::<_, String>(0), "c");
    let none = client.query(&statement, &[&3i64, &"x"]).await.unwrap();
    assert!(none.is_empty());
    // Declared, they are as declared, and nothing of a value is lost.
    let sql = "SELECT count(*) FROM mem.t WHERE id < $1";
    let statement = client.prepare_typed(sql, &[Type::FLOAT8]).await.unwrap();
    let row = client.query_one(&statement, &[&2.5f64]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 2);
    let statement = client
        .prepare_typed("SELECT $1", &[Type::INT4])
        .await
        .unwrap();
    let row = client.query_one(&statement, &[&7i32]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    let e = client
        .prepare_typed("SELECT $1", &[Type::POINT])
        .await
        .unwrap_err();
    assert_eq!(said(&e), "42704: there is no type with the number 600");
}

#[tokio::test]
async fn rows_come_in_portions() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction
        .bind("SELECT id FROM shop.orders ORDER BY id", &[])
        .await
        .unwrap();
    let mut seen = Vec::new();
    loop {
        let some = transaction.query_portal(&portal, 300).await.unwrap();
        assert!(some.len() <= 300);
        if some.is_empty() {
            break;
        }
        seen.extend(some.iter().map(|row| row.get::<_, i64>(0)));
    }
    assert_eq!(seen, (1..=1000).collect::<Vec<i64>>());
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn requests_are_answered_in_order() {
    let server = Server::start().await;
    let client = server.client().await;
    let statement = client
        .prepare("SELECT id * $1 FROM mem.t WHERE id = 2")
        .await
        .unwrap();
    let (client, statement) = (&client, &statement);
    let asked = (0..200i64).map(|n| async move {
        client
            .query_one(statement, &[&n])
            .await
            .unwrap()
            .get::<_, i64>(0)
    });
    let expected: Vec<i64> = (0..200).map(|n| 2 * n).collect();
    assert_eq!(join_all(asked).await, expected);
}

#[tokio::test]
async fn what_runs_can_be_cancelled() {
    let server = Server::start().await;
    let client = server.client().await;
    let cancel = client.cancel_token();
    let long = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000) b";
    let running = client.simple_query(long);
    let cancelling = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    };
    let (ran, ()) = tokio::join!(running, cancelling);
    assert_eq!(
        said(&ran.unwrap_err()),
        "57014: the statement was cancelled"
    );
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    // What has ended is not cancelled, and neither is what comes after.
    client
        .cancel_token()
        .cancel_query(tokio_postgres::NoTls)
        .await
        .unwrap();
    assert_eq!(rows(&client, "SELECT 2").await, ["2"]);
}

/// The server's end waits ten seconds for what runs.
#[tokio::test]
async fn what_the_servers_end_cuts_off_is_told_so() {
    let server = Server::start().await;
    let client = server.client().await;
    let long = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000) b";
    let running = client.simple_query(long);
    let ending = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        server.stop().await;
    };
    let (ran, ()) = tokio::join!(running, ending);
    assert_eq!(
        said(&ran.unwrap_err()),
        "57P01: the server ends, and the statement with it"
    );
}

#[tokio::test]
async fn rows_are_streamed() {
    let server = Server::start().await;
    let client = server.client().await;
    let rows = client
        .query_raw(
            "SELECT value FROM generate_series(1, 300000)",
            Vec::<i32>::new(),
        )
        .await
        .unwrap();
    let sum = rows
        .try_fold(0, async |sum, row| Ok(sum + row.get::<_, i64>(0)))
        .await
        .unwrap();
    assert_eq!(sum, 300_000 * 300_001 / 2);
}

#[tokio::test]
async fn columns_are_called_as_in_postgresql() {
    let server = Server::start().await;
    let client = server.client().await;
    let names = async |sql: &str| {
        let statement = client.prepare(sql).await.unwrap();
        let names: Vec<String> = statement
            .columns()
            .iter()
            .map(|column| column.name().to_string())
            .collect();
        // They are those of the rows, too.
        client.query(&statement, &[]).await.unwrap();
        names.join(" ")
    };
    for (sql, called) in [
        (
            "SELECT 1, 1, 'a', 1 + 1, NOT true",
            "?column? ?column? ?column? ?column? ?column?",
        ),
        (
            "SELECT count(*), sum(id), max(id) AS m, min(id) FROM mem.t",
            "count sum m min",
        ),
        (
            "SELECT id::text, 'pg_class'::regclass::oid, '5'::int, CAST(id AS double precision), DATE '2024-01-01' FROM mem.t",
            "id oid int4 id date",
        ),
        (
            "SELECT CASE WHEN true THEN 1 END, CASE WHEN true THEN 1 ELSE id END, (SELECT max(id) FROM mem.t) FROM mem.t",
            "case id max",
        ),
        (
            "SELECT true, ARRAY[1], EXISTS (SELECT 1), coalesce(id, 1), INTERVAL '1 day' FROM mem.t",
            "?column? array exists coalesce interval",
        ),
        (
            "SELECT row_number() OVER (ORDER BY id), extract(year FROM now()) FROM mem.t",
            "row_number extract",
        ),
        (
            "SELECT a.id, b.id FROM mem.t a JOIN mem.t b ON a.id = b.id",
            "id id",
        ),
        ("SELECT id, id FROM mem.t ORDER BY id", "id id"),
        ("SELECT a.id, a.* FROM mem.t a", "id id name"),
        ("SELECT *, id FROM mem.t", "id name id"),
        (
            "SELECT *, upper(name) AS name FROM mem.t ORDER BY 1",
            "id name name",
        ),
        (
            "SELECT * FROM (SELECT a.*, b.* FROM mem.t a JOIN mem.t b ON a.id = b.id) x",
            "id name id name",
        ),
        (
            "SELECT * FROM (SELECT 1, 1, id, id FROM mem.t) x",
            "?column? ?column? id id",
        ),
        ("SELECT count(*) FROM mem.t UNION ALL SELECT 2", "count"),
        ("(SELECT count(*) FROM mem.t)", "count"),
        (
            "SELECT x.count + 1 AS n, x.max FROM (SELECT count(*), max(id) FROM mem.t) x",
            "n max",
        ),
        (
            "WITH c AS (SELECT count(*), sum(id), sum(id) FROM mem.t) SELECT * FROM c WHERE count > 0",
            "count sum sum",
        ),
        // What is ordered and grouped by is found.
        (
            "SELECT count(*) FROM mem.t GROUP BY name ORDER BY count(*), count",
            "count",
        ),
        (
            "SELECT DISTINCT upper(name) FROM mem.t ORDER BY upper(name)",
            "upper",
        ),
        (
            "SELECT upper(name), count(*) FROM mem.t GROUP BY upper(name) HAVING count(*) > 0 ORDER BY upper",
            "upper count",
        ),
        ("SELECT id + 1 FROM mem.t ORDER BY id + 1", "?column?"),
        (
            "WITH c AS (SELECT count(*) AS n FROM mem.t) SELECT n, sum(n) FROM c GROUP BY n",
            "n sum",
        ),
    ] {
        assert_eq!(names(sql).await, called, "{sql}");
    }
    assert_eq!(
        rows(&client, "SELECT -id::int FROM mem.t ORDER BY -id").await,
        ["-3", "-2", "-1"]
    );
}

#[tokio::test]
async fn ranks_and_lengths_are_whole_numbers() {
    let server = Server::start().await;
    let client = server.client().await;
    let sql = "SELECT row_number() OVER (ORDER BY id), rank() OVER (ORDER BY id), dense_rank() OVER (ORDER BY id),
        ntile(2) OVER (ORDER BY id), array_length(ARRAY[1, 2], 1), cardinality(ARRAY[1]), array_position(ARRAY[4, 5], 5) FROM mem.t";
    let statement = client.prepare(sql).await.unwrap();
    let types: Vec<Type> = statement
        .columns()
        .iter()
        .map(|column| column.type_().clone())
        .collect();
    assert_eq!(
        types,
        [
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::INT4,
            Type::INT4,
            Type::INT4
        ]
    );
    let found = client.query(&statement, &[]).await.unwrap();
    let ranks = found.iter().map(|row| row.get::<_, i64>(0));
    assert_eq!(ranks.collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(found[2].get::<_, i64>(3), 2);
    assert_eq!(found[0].get::<_, i32>(4), 2);
    assert_eq!(found[0].get::<_, i32>(6), 2);
    let newest = "SELECT name FROM (SELECT name, row_number() OVER (ORDER BY id DESC) AS n FROM mem.t) x WHERE n = $1";
    let found = client.query(newest, &[&1i64]).await.unwrap();
    assert_eq!(found[0].get::<_, String>(0), "c");
}

#[tokio::test]
async fn lists_as_parameters_are_of_what_is_looked_for() {
    let server = Server::start().await;
    let client = server.client().await;
    let sql = "SELECT id FROM mem.t WHERE id = ANY($1) OR name = ANY($2) ORDER BY id";
    let statement = client.prepare(sql).await.unwrap();
    assert_eq!(statement.params(), [Type::INT8_ARRAY, Type::TEXT_ARRAY]);
    let values: (Vec<i64>, Vec<&str>) = (vec![3, 9], vec!["a"]);
    let found = client.query(&statement, &[&values.0, &values.1]).await;
    let found: Vec<i64> = found.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(found, [1, 3]);
}

/// What postgres_fdw reads of it.
#[tokio::test]
async fn a_plan_begins_with_its_costs() {
    let server = Server::start().await;
    let client = server.client().await;
    for sql in [
        "EXPLAIN SELECT * FROM mem.t",
        "EXPLAIN (VERBOSE, COSTS OFF) SELECT 1",
    ] {
        let plan = rows(&client, sql).await;
        assert!(plan[0].starts_with("Answer  (cost=100.00.."), "{plan:?}");
        assert!(
            plan[0].contains(" rows=") && plan[0].contains(" width="),
            "{plan:?}"
        );
    }
}

#[tokio::test]
async fn writes_are_told_as_postgres_tells_them() {
    let server = Server::start().await;
    let client = server.client().await;
    let insert = "INSERT INTO shop.orders (id, sku, qty) VALUES (5000, 'S-x', 1), (5001, 'S-x', 2)";
    assert!(refused(&client, insert).await.starts_with("25006: "));
    rows(&client, "ALTER SOURCE shop SET (writable = true)").await;
    let tag = |messages: Vec<SimpleQueryMessage>| match messages.last() {
        Some(SimpleQueryMessage::CommandComplete(rows)) => *rows,
        other => panic!("{other:?}"),
    };
    assert_eq!(tag(client.simple_query(insert).await.unwrap()), 2);
    let last = rows(&client, "SHOW last_write").await.remove(0);
    assert!(last.starts_with("shop="), "{last}");
    // Prepared, with parameters in the types of the columns.
    let update = client
        .prepare("UPDATE shop.orders SET qty = $1 WHERE sku = $2")
        .await
        .unwrap();
    assert_eq!(update.params(), [Type::INT8, Type::TEXT]);
    assert_eq!(client.execute(&update, &[&7_i64, &"S-x"]).await.unwrap(), 2);
    assert_eq!(
        client
            .execute("DELETE FROM shop.orders WHERE id = $1", &[&5001_i64])
            .await
            .unwrap(),
        1
    );
    let left = "SELECT id || ':' || qty FROM shop.orders WHERE sku = 'S-x'";
    assert_eq!(rows(&client, left).await, ["5000:7"]);
    let again = "INSERT INTO shop.orders (id, sku) VALUES (5000, 'secret')";
    let said = refused(&client, again).await;
    assert!(
        said.starts_with("23505: ") && !said.contains("secret"),
        "{said}"
    );
    let next = rows(&client, "SHOW last_write").await.remove(0);
    rows(&client, &format!("SET read_after = '{last},{next}'")).await;
    assert_eq!(rows(&client, left).await, ["5000:7"]);
    rows(&client, "BEGIN").await;
    assert!(refused(&client, insert).await.starts_with("25001: "));
    rows(&client, "ROLLBACK").await;
}

/// Their parts are of several types: the columns are said to be what they will be.
#[tokio::test]
async fn unions_and_cases_of_several_types_are_prepared() {
    let server = Server::start().await;
    let client = server.client().await;
    let numbers = async |sql: &str| -> Vec<f64> {
        let rows = client
            .query(sql, &[])
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        let mut numbers: Vec<f64> = rows.iter().map(|row| row.get(0)).collect();
        numbers.sort_by(f64::total_cmp);
        numbers
    };
    let half = "CAST(2.5 AS double precision)";
    assert_eq!(
        numbers(&format!("SELECT 1 UNION SELECT {half}")).await,
        [1.0, 2.5]
    );
    assert_eq!(
        numbers(&format!(
            "SELECT NULL UNION SELECT {half} ORDER BY 1 LIMIT 1"
        ))
        .await,
        [2.5]
    );
    let case = format!("SELECT CASE WHEN id = 1 THEN 1 ELSE {half} END FROM mem.t WHERE id < 3");
    assert_eq!(numbers(&case).await, [1.0, 2.5]);
    let sum = format!("SELECT sum(a) FROM (SELECT 1 AS a UNION ALL SELECT {half}) AS q");
    assert_eq!(numbers(&sum).await, [3.5]);
    client
        .batch_execute(&format!(
            "CREATE VIEW mixed AS SELECT 1 AS a UNION ALL SELECT {half}"
        ))
        .await
        .unwrap();
    assert_eq!(numbers("SELECT a FROM mixed").await, [1.0, 2.5]);
}

/// A parameter is what the function takes that it is given to, and a number of rows is whole.
#[tokio::test]
async fn parameters_have_the_types_of_arguments() {
    let server = Server::start().await;
    let client = server.client().await;
    let sql = "SELECT substr(name, $1), left(name, $2), repeat(name, $3), lpad(name, $4, $5), coalesce($6, id) \
               FROM mem.t WHERE name IS NOT NULL ORDER BY id LIMIT $7 OFFSET $8";
    let statement = client.prepare(sql).await.unwrap();
    let whole = Type::INT8;
    assert_eq!(
        statement.params(),
        [
            whole.clone(),
            whole.clone(),
            whole.clone(),
            whole.clone(),
            Type::TEXT,
            whole.clone(),
            whole.clone(),
            whole
        ]
    );
    let found = client
        .query(
            &statement,
            &[&1i64, &1i64, &2i64, &3i64, &"-", &None::<i64>, &1i64, &1i64],
        )
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].get::<_, String>(0), "c");
    assert_eq!(found[0].get::<_, String>(2), "cc");
    assert_eq!(found[0].get::<_, String>(3), "--c");
    assert_eq!(found[0].get::<_, i64>(4), 3);
    // Declared otherwise, as JDBC does.
    let sql = "SELECT id FROM mem.t ORDER BY id LIMIT $1";
    let statement = client.prepare_typed(sql, &[Type::INT4]).await.unwrap();
    let found = client.query(&statement, &[&2i32]).await.unwrap();
    assert_eq!(found.len(), 2);
}

/// What asyncpg sends when a connection goes back to its pool.
#[tokio::test]
async fn a_connection_goes_back_to_its_pool() {
    let server = Server::start().await;
    let client = server.client().await;
    rows(&client, "SET application_name = 'x'").await;
    let reset = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;";
    assert_eq!(rows(&client, reset).await, [""]);
    assert_eq!(rows(&client, "SHOW application_name").await, [""]);
    rows(&client, "UNLISTEN a").await;
    for sql in ["LISTEN a", "NOTIFY a"] {
        assert!(refused(&client, sql).await.starts_with("0A000: "), "{sql}");
    }
}

#[tokio::test]
async fn errors_have_postgresqls_states() {
    let server = Server::start().await;
    let client = server.client().await;
    for (sql, state, at) in [
        ("SELECT nosuch(id) FROM mem.t", "42883", Some(8)),
        ("SELECT sum(name) FROM mem.t", "42883", None),
        ("SELECT count(*), name FROM mem.t", "42803", Some(18)),
        (
            "SELECT id FROM mem.t a JOIN mem.t b ON a.id = b.id",
            "42702",
            Some(8),
        ),
        ("SELECT id FROM mem.t ORDER BY 5", "42P10", None),
        ("SELECT id,\n t.nope FROM mem.t", "42703", Some(13)),
        ("SELECT * FROM mem.nope", "42P01", Some(15)),
        ("SELECT 1 INTO t", "0A000", None),
    ] {
        let e = client.simple_query(sql).await.unwrap_err();
        let e = e.as_db_error().unwrap();
        assert_eq!(e.code().code(), state, "{sql}: {}", e.message());
        let position = e.position().map(|position| match position {
            tokio_postgres::error::ErrorPosition::Original(at) => *at,
            other => panic!("{other:?}"),
        });
        assert_eq!(position, at, "{sql}: {}", e.message());
        assert!(!e.message().contains("DataFusion"), "{}", e.message());
    }
}

/// Drivers prepare it again when they are told this.
#[tokio::test]
async fn a_prepared_statement_whose_columns_have_changed_is_told_as_in_postgresql() {
    let server = Server::start().await;
    let client = server.client().await;
    rows(&client, "CREATE VIEW v AS SELECT 1 AS a").await;
    let statement = client.prepare("SELECT * FROM v").await.unwrap();
    rows(
        &client,
        "CREATE OR REPLACE VIEW v AS SELECT 'x' AS a, 2 AS b",
    )
    .await;
    let e = client.query(&statement, &[]).await.unwrap_err();
    let e = e.as_db_error().unwrap();
    assert_eq!(
        (e.code().code(), e.message()),
        ("0A000", "cached plan must not change result type")
    );
    assert_eq!(e.routine(), Some("RevalidateCachedQuery"));
    assert!(e.detail().unwrap().contains("Prepare it again"));
}

#[tokio::test]
async fn common_words_of_postgresql_are_taken() {
    let server = Server::start().await;
    let client = server.client().await;
    for (sql, found) in [
        (
            "SELECT id FROM mem.t ORDER BY id FETCH FIRST 2 ROWS ONLY",
            vec!["1", "2"],
        ),
        (
            "SELECT id FROM mem.t ORDER BY id OFFSET 1 ROWS FETCH NEXT ROW ONLY",
            vec!["2"],
        ),
        ("TABLE mem.t ORDER BY id LIMIT 1", vec!["1|a"]),
        ("SELECT count(*) FROM (TABLE belvedere.mem.t) x", vec!["3"]),
        (
            "WITH x AS MATERIALIZED (SELECT 1 AS a), y AS NOT MATERIALIZED (SELECT a FROM x) SELECT a FROM y",
            vec!["1"],
        ),
        (
            "SELECT id FROM mem.t WHERE (id, name) IN (SELECT id, name FROM mem.t) ORDER BY id",
            vec!["1", "3"],
        ),
        (
            "SELECT id FROM mem.t WHERE (id, name) NOT IN (SELECT id, name FROM mem.t WHERE id = 1) ORDER BY id",
            vec!["2", "3"],
        ),
        (
            "SELECT id, (id, name) IN (SELECT id, name FROM mem.t) AS is_there FROM mem.t ORDER BY id",
            vec!["1|t", "2|NULL", "3|t"],
        ),
        (
            "SELECT * FROM unnest(make_array('a', 'b')) WITH ORDINALITY AS t(x, n)",
            vec!["a|1", "b|2"],
        ),
    ] {
        assert_eq!(rows(&client, sql).await, found, "{sql}");
    }
    for sql in [
        "SELECT id FROM mem.t ORDER BY id FETCH FIRST 2 ROWS WITH TIES",
        "SELECT * FROM mem.t TABLESAMPLE BERNOULLI (5)",
        "SELECT * FROM mem.t a WHERE id = (SELECT b.id FROM mem.t b WHERE b.id >= a.id ORDER BY b.id LIMIT 1)",
    ] {
        let said = refused(&client, sql).await;
        assert!(said.starts_with("0A000: "), "{sql}: {said}");
        assert!(!said.contains("Physical plan"), "{said}");
        assert!(!said.contains("supported yet"), "{said}");
    }
}

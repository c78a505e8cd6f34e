//! `INSERT`, `UPDATE`, `DELETE`: what is refused, what is computed here, and who sees it.

use std::sync::Arc;

use belvedere::{Engine, Session};
use belvedere_connector::Code;
use belvedere_memory::{MemoryConnector, MemorySource, MemoryTable, WriteFault};
use datafusion::arrow::array::{Decimal128Array, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::scalar::ScalarValue;

use crate::fixture::shown;

struct World {
    engine: Engine,
    session: Session,
    source: MemorySource,
}

/// `mem.item` with a key, `mem.bare` without one.
async fn world() -> World {
    let fields = vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("price", DataType::Decimal128(10, 2), true),
    ];
    let schema = Arc::new(Schema::new(fields));
    let price = Decimal128Array::from(vec![Some(100), Some(250), None]);
    let price = price.with_precision_and_scale(10, 2).unwrap();
    let rows = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(Int32Array::from(vec![1, 2, 3])),
            Arc::new(StringArray::from(vec![Some("a"), Some("b"), None])),
            Arc::new(price),
        ],
    );
    let table = MemoryTable::new(schema, vec![rows.unwrap()]);
    let source = MemorySource::new("mem")
        .with_table("item", table.clone().with_primary_key(&["id"]))
        .with_table("bare", table);
    let connector = MemoryConnector::new().with(source.clone());
    let engine = Engine::builder()
        .connector(Arc::new(connector))
        .open()
        .await
        .unwrap();
    let session = engine.session();
    let world = World {
        engine,
        session,
        source,
    };
    world
        .ok("CREATE SOURCE mem FROM 'memory:mem' WITH (writable = true)")
        .await;
    world.ok("CREATE SOURCE other FROM 'memory:mem'").await;
    world
}

impl World {
    async fn ok(&self, sql: &str) -> String {
        shown(&self.session, sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}\n{e}"))
    }

    async fn err(&self, sql: &str) -> String {
        match self.session.execute(sql).await {
            Err(e) => format!("{}: {e}", e.sqlstate()),
            Ok(_) => panic!("{sql} is not refused"),
        }
    }

    async fn items(&self) -> Vec<String> {
        let sql = "SELECT id || '|' || coalesce(name, '-') || '|' || coalesce(CAST(price AS VARCHAR), '-') AS item FROM mem.item ORDER BY id";
        self.values(sql).await
    }

    async fn values(&self, sql: &str) -> Vec<String> {
        let batches = self
            .session
            .execute(sql)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        belvedere_conformance::lines(&batches)
    }
}

#[tokio::test]
async fn rows_come_change_and_go() {
    let w = world().await;
    assert!(
        w.ok("INSERT INTO mem.item (id, name) VALUES (4, 'd'), (5, NULL)")
            .await
            .contains("INSERT 0 2")
    );
    assert!(
        w.ok("UPDATE mem.item SET price = price * 2, Name = upper(name) WHERE id <= 2")
            .await
            .contains("UPDATE 2")
    );
    assert!(
        w.ok("DELETE FROM mem.item AS i WHERE i.price IS NULL AND i.id > 3")
            .await
            .contains("DELETE 2")
    );
    assert!(
        w.ok("INSERT INTO mem.item SELECT id + 10, name, price FROM mem.bare WHERE id < 3")
            .await
            .contains("INSERT 0 2")
    );
    assert_eq!(
        w.items().await,
        ["1|A|2.00", "2|B|5.00", "3|-|-", "11|a|1.00", "12|b|2.50"]
    );
    // Of what other sources, views and the table itself have.
    w.ok("CREATE VIEW dear AS SELECT id FROM other.item WHERE price > 3")
        .await;
    assert!(w.ok("UPDATE mem.item SET price = (SELECT max(price) FROM other.item) WHERE id IN (SELECT id + 9 FROM dear)").await.contains("UPDATE 1"));
    assert_eq!(w.items().await[3], "11|a|5.00");
    assert!(w.ok("DELETE FROM mem.item").await.contains("DELETE 5"));
}

#[tokio::test]
async fn values_are_prepared() {
    let w = world().await;
    let insert = w
        .session
        .prepare("INSERT INTO mem.item (price, id) VALUES ($1, $2)")
        .await
        .unwrap();
    let types: Vec<_> = insert.parameters.iter().map(|(_, t)| t.clone()).collect();
    assert_eq!(
        types,
        [Some(DataType::Decimal128(10, 2)), Some(DataType::Int32)]
    );
    let values = [ScalarValue::from("7.25"), ScalarValue::Int64(Some(7))];
    let answer = w.session.execute_prepared(&insert, &values).await.unwrap();
    assert_eq!(answer.wrote.as_ref().unwrap().rows, 1);
    let update = w
        .session
        .prepare("UPDATE mem.item SET name = $1 WHERE id = $2")
        .await
        .unwrap();
    let values = [ScalarValue::from("it's"), ScalarValue::Int32(Some(7))];
    w.session.execute_prepared(&update, &values).await.unwrap();
    assert_eq!(w.items().await[3], "7|it's|7.25");
}

#[tokio::test]
async fn values_are_assigned_whatever_type_they_are_given_in() {
    let w = world().await;
    let run = async |sql: &str, values: &[ScalarValue]| {
        let prepared = w.session.prepare(sql).await.unwrap();
        let done = w.session.execute_prepared(&prepared, values).await;
        done.map(|answer| answer.wrote.unwrap().rows)
            .map_err(|e| format!("{}: {e}", e.sqlstate()))
    };
    let update = "UPDATE mem.item SET price = $1 WHERE id = $2";
    let id = ScalarValue::Int64(Some(2));
    let decimal = ScalarValue::Decimal128(Some(123_456), 38, 5);
    assert_eq!(run(update, &[decimal, id.clone()]).await, Ok(1));
    assert_eq!(w.items().await[1], "2|b|1.23");
    let float = ScalarValue::Float64(Some(1.239));
    assert_eq!(run(update, &[float.clone(), id]).await, Ok(1));
    assert_eq!(w.items().await[1], "2|b|1.24");
    let insert = "INSERT INTO mem.item (id, price) VALUES ($1, $2), (8, $2)";
    assert_eq!(
        run(insert, &[ScalarValue::Int16(Some(7)), float]).await,
        Ok(2)
    );
    assert_eq!(w.items().await[3..], ["7|-|1.24", "8|-|1.24"]);
    let insert = "INSERT INTO mem.item (price, id) VALUES ($1, $2)";
    let float = ScalarValue::Float64(Some(0.999));
    assert_eq!(
        run(insert, &[float, ScalarValue::Int16(Some(9))]).await,
        Ok(1)
    );
    assert_eq!(w.items().await[5], "9|-|1.00");
    // Also in a condition, a value may be none of the column's type.
    let below = "DELETE FROM mem.item WHERE id < $1";
    let number = ScalarValue::Float64(Some(1.5));
    assert_eq!(run(below, &[number]).await, Ok(1));
    let insert = "INSERT INTO mem.item (id) VALUES ($1)";
    for (value, why) in [
        (
            ScalarValue::Int64(Some(1 << 40)),
            "22003: a value of type Int64 does not fit column id",
        ),
        (
            ScalarValue::Float64(Some(1.5)),
            "22003: a value of type Float64 does not fit column id",
        ),
        (
            ScalarValue::from("one"),
            "22P02: a value of type Utf8 does not fit column id",
        ),
    ] {
        let refused = run(insert, &[value]).await.unwrap_err();
        assert!(refused.starts_with(why), "{refused}");
    }
}

/// A float has not all of them.
#[tokio::test]
async fn the_digits_that_are_written_are_stored() {
    let w = world().await;
    w.ok("INSERT INTO mem.item VALUES (7, 'x', 0.285), (8, 'y', 12345678.905)")
        .await;
    w.ok("UPDATE mem.item SET price = 98765432.01 WHERE id = 1")
        .await;
    let items = w.items().await;
    assert_eq!(items[0], "1|a|98765432.01");
    assert_eq!(items[3..], ["7|x|0.29", "8|y|12345678.91"]);
    let long = "SELECT CAST(12345678901234567.89 AS VARCHAR) AS v";
    assert_eq!(w.values(long).await, ["12345678901234567.89"]);
    let null = w.err("INSERT INTO mem.item (id) VALUES (NULL)").await;
    assert!(null.starts_with("23502: "), "{null}");
}

#[tokio::test]
async fn what_cannot_be_written_is_said() {
    let w = world().await;
    w.ok("CREATE VIEW v AS SELECT id FROM mem.item").await;
    w.ok("CREATE MATERIALIZED VIEW m AS SELECT id FROM mem.item")
        .await;
    for (sql, expected) in [
        ("UPDATE v SET id = 1", "42809: view v cannot be updated"),
        (
            "DELETE FROM m",
            "42809: materialized view m cannot be deleted from",
        ),
        (
            "INSERT INTO system.sources VALUES (1)",
            "42501: system.sources cannot be inserted into",
        ),
        (
            "DELETE FROM other.item",
            "25006: source other is only read. ALTER SOURCE other SET (writable = true)",
        ),
        ("DELETE FROM mem.nothing", "42P01: "),
        ("UPDATE mem.item SET nothing = 1", "42703: "),
        (
            "UPDATE mem.item SET name = 'x', name = 'y'",
            "22023: column name is set twice",
        ),
        (
            "INSERT INTO mem.item (id) VALUES (9) RETURNING id",
            "0A000: RETURNING is not in this version",
        ),
        (
            "INSERT INTO mem.item (id) VALUES (9) ON CONFLICT DO NOTHING",
            "0A000: ON CONFLICT is not",
        ),
        (
            "UPDATE mem.bare SET name = 'x' WHERE id = 1",
            "0A000: source mem does not compute it",
        ),
        (
            "INSERT INTO mem.item (id) VALUES (1)",
            "23505: source mem, table item: ",
        ),
        (
            "INSERT INTO mem.item (name) VALUES ('x')",
            "23502: source mem, table item, column id: ",
        ),
        (
            "INSERT INTO mem.item (id) VALUES (1.5)",
            "22003: a value of type Decimal128(2, 1) does not fit column id",
        ),
        (
            "INSERT INTO mem.item (id) VALUES (3000000000)",
            "22003: a value of type Int64 does not fit column id",
        ),
        (
            "INSERT INTO mem.item (id, price) VALUES (9, 'secret')",
            "22P02: a value of type Utf8 does not fit column price",
        ),
        (
            "SET read_after = 'erp=01/02'",
            "42704: source erp does not exist",
        ),
        (
            "SET read_after = 'mem'",
            "22023: setting read_after is what writes answered with",
        ),
    ] {
        let found = w.err(sql).await;
        assert!(found.starts_with(expected), "{sql}\n{found}");
        assert!(!found.contains("secret"), "{found}");
    }
    w.ok("BEGIN").await;
    let found = w.err("DELETE FROM mem.item").await;
    assert!(
        found.starts_with("25001: DELETE cannot be part of a transaction"),
        "{found}"
    );
    w.ok("ROLLBACK").await;
    assert_eq!(w.items().await, ["1|a|1.00", "2|b|2.50", "3|-|-"]);
}

#[tokio::test]
async fn what_is_unknown_is_not_tried_again() {
    let w = world().await;
    w.source.inject_write(WriteFault::AnswerLost);
    let found = w
        .err("UPDATE mem.item SET price = price + 1 WHERE id = 1")
        .await;
    assert!(found.starts_with("08007: "), "{found}");
    // It had come about, once.
    assert_eq!(w.items().await[0], "1|a|2.00");
    w.source
        .inject_write(WriteFault::Refused(Code::Unreachable));
    let found = w
        .err("UPDATE mem.item SET price = price + 1 WHERE id = 1")
        .await;
    assert!(found.starts_with("58000: "), "{found}");
    assert_eq!(w.items().await[0], "1|a|2.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_changed_meanwhile_are_found_again() {
    let w = world().await;
    let more = "UPDATE mem.item SET price = price + 1 WHERE id = 1";
    w.source.inject_write(WriteFault::Refused(Code::Conflict));
    w.ok(more).await;
    assert_eq!(w.items().await[0], "1|a|2.00");
    // What was not found here has no reason to be another the next time.
    w.source.inject_write(WriteFault::Refused(Code::Conflict));
    let found = w.err("INSERT INTO mem.item (id) VALUES (9)").await;
    assert!(found.starts_with("40001: "), "{found}");
    // Of several who add to one number each has added.
    let writers = (0..4).map(|_| {
        let session = w.engine.session();
        tokio::spawn(async move {
            for _ in 0..5 {
                shown(&session, more).await.unwrap();
            }
        })
    });
    for writer in futures::future::join_all(writers.collect::<Vec<_>>()).await {
        writer.unwrap();
    }
    assert_eq!(w.items().await[0], "1|a|22.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_read_after() {
    let w = world().await;
    assert_eq!(w.values("SHOW last_write").await, [""]);
    let count = "SELECT count(*) AS n FROM mem.item";
    for (view, options) in [
        ("kept", "refresh = 'on change', wait = true"),
        ("cached", "refresh = 'on read'"),
        ("hourly", "refresh = 'every 1 hour'"),
    ] {
        w.ok(&format!(
            "CREATE MATERIALIZED VIEW {view} WITH ({options}) AS {count}"
        ))
        .await;
    }
    w.ok("REFRESH MATERIALIZED VIEW hourly").await;
    assert_eq!(w.values("SELECT n FROM cached").await, ["3"]);
    let reader = w.engine.session();
    for id in 10..30 {
        w.ok(&format!("INSERT INTO mem.item (id) VALUES ({id})"))
            .await;
        let expected = [(id - 6).to_string()];
        // Its own cache does not show the writer what there was before.
        assert_eq!(w.values("SELECT n FROM cached").await, expected);
        let token = w.values("SHOW last_write").await.remove(0);
        reader.set("read_after", &token).unwrap();
        for view in ["kept", "cached", "hourly"] {
            let sql = format!("SELECT n FROM {view}");
            let batches = reader.execute(&sql).await.unwrap().collect().await.unwrap();
            assert_eq!(
                belvedere_conformance::lines(&batches),
                expected,
                "{view} after {token}"
            );
        }
    }
    // One that is checked has no other way.
    w.ok("CREATE MATERIALIZED VIEW checked WITH (refresh = 'manual') CHECK ok AS (SELECT 1 FROM checked WHERE n < 0) AS SELECT count(*) AS n FROM mem.item").await;
    w.ok("REFRESH MATERIALIZED VIEW checked").await;
    w.ok("DELETE FROM mem.item WHERE id > 20").await;
    let token = w.values("SHOW last_write").await.remove(0);
    w.ok(&format!("SET read_after = '{token}'")).await;
    let found = w.err("SELECT n FROM checked").await;
    assert!(found.starts_with("72000: "), "{found}");
    w.ok("RESET read_after").await;
    w.ok("SELECT n FROM checked").await;
}

/// Whatever is read that follows what was written; a copy that is computed by time shows its version.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_sees_its_own_writes() {
    let w = world().await;
    let count = "SELECT count(*) AS n FROM mem.item";
    for (view, options) in [
        ("kept", "refresh = 'on change', wait = true"),
        ("hourly", "refresh = 'every 1 hour', wait = true"),
    ] {
        w.ok(&format!(
            "CREATE MATERIALIZED VIEW {view} WITH ({options}) AS {count}"
        ))
        .await;
    }
    for (bound, first) in [("none", 10), ("1 hour", 30)] {
        w.ok(&format!("SET max_staleness = '{bound}'")).await;
        for id in first..first + 20 {
            w.ok(&format!("INSERT INTO mem.item (id) VALUES ({id})"))
                .await;
            let expected = [(id - 6).to_string()];
            assert_eq!(w.values(count).await, expected, "{bound}");
            assert_eq!(w.values("SELECT n FROM kept").await, expected, "{bound}");
            assert_eq!(w.values(count).await, expected, "{bound}");
        }
        assert_eq!(w.values("SELECT n FROM hourly").await, ["3"]);
    }
    // In a transaction, too, whose first read of a view says as of when it reads.
    w.ok("DELETE FROM mem.item").await;
    w.ok("BEGIN").await;
    assert_eq!(w.values("SELECT n FROM kept").await, ["0"]);
    w.ok("COMMIT").await;
}

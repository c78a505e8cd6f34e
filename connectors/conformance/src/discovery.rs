//! Tables, columns, keys and names; and what happened to them after discovery.

use std::sync::Arc;

use belvedere::Engine;

use crate::fixture::{Ability, Fixture};
use crate::lab::{Lab, SOURCE, batch, item, numbers, sale, texts};
use crate::suite::{Outcome, need};

/// The tables of the source, by name.
async fn tables(lab: &Lab) -> Vec<String> {
    lab.run(&format!(
        "SELECT name FROM system.tables WHERE source = '{SOURCE}' ORDER BY name"
    ))
    .await
    .rows
}

async fn columns(lab: &Lab, table: &str) -> Vec<String> {
    let sql = format!(
        "SELECT name FROM system.columns WHERE source = '{SOURCE}' AND \"table\" = '{}' ORDER BY ordinal",
        table.replace('\'', "''")
    );
    lab.run(&sql).await.rows
}

pub(crate) async fn tables_and_columns(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    assert_eq!(tables(&lab).await, ["item", "sale"]);
    assert_eq!(columns(&lab, "item").await, ["id", "grp", "qty", "name"]);
    lab.gives(
        "SELECT id, grp, qty, name FROM src.item ORDER BY id LIMIT 2",
        &["1|1|10|apple", "2|1|-3|Apple"],
    )
    .await;
    let qualified = lab.run("SELECT count(*) FROM src.item").await;
    let schema = lab
        .run("SELECT DISTINCT schema FROM system.tables WHERE source = 'src'")
        .await
        .rows;
    assert_eq!(schema.len(), 1, "all tables are in the default schema");
    let full = lab
        .run(&format!("SELECT count(*) FROM src.\"{}\".item", schema[0]))
        .await;
    assert_eq!(qualified, full);
    Ok(())
}

pub(crate) async fn nothing_there(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[]).await;
    assert!(tables(&lab).await.is_empty());
    let error = lab.error("SELECT * FROM src.item").await;
    assert!(error.to_string().contains("item"), "{error}");
    Ok(())
}

pub(crate) async fn keys(fixture: Arc<dyn Fixture>) -> Outcome {
    need(&fixture, Ability::Keys)?;
    for sql in [
        "CREATE TABLE parent (a INTEGER NOT NULL, b INTEGER NOT NULL, PRIMARY KEY (a, b))",
        "CREATE TABLE child (id INTEGER NOT NULL PRIMARY KEY, a INTEGER, b INTEGER, FOREIGN KEY (a, b) REFERENCES parent (a, b))",
    ] {
        fixture.execute(sql).await;
    }
    let lab = Lab::with(&fixture, &[]).await;
    let found = lab
        .run(
            "SELECT \"table\", kind, columns, referenced_table, referenced_columns FROM system.keys \
             WHERE source = 'src' ORDER BY \"table\", kind",
        )
        .await
        .rows;
    assert_eq!(
        found,
        [
            "child|FOREIGN KEY|a, b|parent|a, b",
            "child|PRIMARY KEY|id|∅|∅",
            "parent|PRIMARY KEY|a, b|∅|∅"
        ]
    );
    Ok(())
}

pub(crate) async fn names_that_need_quoting(fixture: Arc<dyn Fixture>) -> Outcome {
    let odd = [
        "two words",
        "select",
        "a.b",
        "x;y",
        "größe",
        "O'Neil",
        "100%",
        "[b]",
    ];
    let table = batch(
        odd.iter()
            .enumerate()
            .map(|(i, name)| (*name, numbers([i as i64, 100 + i as i64])))
            .collect(),
    );
    for name in ["odd name", "order", "tä.ble;"] {
        fixture.put(name, &table).await;
    }
    let lab = Lab::with(&fixture, &[]).await;
    assert_eq!(tables(&lab).await, ["odd name", "order", "tä.ble;"]);
    for name in ["odd name", "order", "tä.ble;"] {
        assert_eq!(columns(&lab, name).await, odd);
        for (i, column) in odd.iter().enumerate() {
            let sql = format!(
                "SELECT \"{column}\" AS \"{column}\" FROM src.\"{name}\" WHERE \"{column}\" < 100 ORDER BY \"{column}\""
            );
            lab.gives(&sql, &[i.to_string().as_str()]).await;
            lab.same(&format!(
                "SELECT max(\"{column}\") AS \"{column}\" FROM src.\"{name}\" GROUP BY \"{}\"",
                odd[0]
            ))
            .await;
        }
    }
    Ok(())
}

pub(crate) async fn tables_that_differ_in_case(fixture: Arc<dyn Fixture>) -> Outcome {
    need(&fixture, Ability::TablesByCase)?;
    let one = |n| batch(vec![("id", numbers([n]))]);
    let lab = Lab::with(
        &fixture,
        &[
            ("thing", one(1)),
            ("Thing", one(2)),
            ("THING", one(3)),
            ("Single", one(4)),
        ],
    )
    .await;
    lab.gives("SELECT id FROM src.thing", &["1"]).await;
    lab.gives("SELECT id FROM src.Thing", &["1"]).await;
    lab.gives("SELECT id FROM src.\"Thing\"", &["2"]).await;
    lab.gives("SELECT id FROM src.\"THING\"", &["3"]).await;
    lab.gives("SELECT id FROM src.single", &["4"]).await;
    lab.gives(
        "SELECT a.id, b.id FROM src.thing a, src.\"Thing\" b",
        &["1|2"],
    )
    .await;
    Ok(())
}

pub(crate) async fn columns_that_differ_in_case(fixture: Arc<dyn Fixture>) -> Outcome {
    need(&fixture, Ability::ColumnsByCase)?;
    let data = batch(vec![("v", numbers([1])), ("V", numbers([2]))]);
    let lab = Lab::with(&fixture, &[("t", data)]).await;
    lab.gives(
        "SELECT v, V AS again, \"V\" FROM src.t WHERE v = 1 AND \"V\" = 2",
        &["1|1|2"],
    )
    .await;
    lab.same("SELECT v + \"V\", count(*) FROM src.t GROUP BY v, \"V\"")
        .await;
    Ok(())
}

pub(crate) async fn a_new_table_is_found(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item())]).await;
    fixture
        .put("later", &batch(vec![("id", numbers([7]))]))
        .await;
    lab.gives("SELECT id FROM src.later", &["7"]).await;
    assert_eq!(tables(&lab).await, ["item", "later"]);
    Ok(())
}

pub(crate) async fn a_dropped_table(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.run("SELECT count(*) FROM src.item").await;
    fixture.remove("item").await;
    let error = lab.error("SELECT * FROM src.item").await;
    assert!(error.to_string().contains("item"), "{error}");
    assert_ne!(error.code(), "internal", "{error}");
    lab.gives("SELECT count(*) FROM src.sale", &["7"]).await;
    lab.run("REFRESH SOURCE src").await;
    assert_eq!(tables(&lab).await, ["sale"]);
    Ok(())
}

pub(crate) async fn a_column_that_changed_its_type(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(
        &fixture,
        &[("t", batch(vec![("id", numbers([1])), ("v", numbers([5]))]))],
    )
    .await;
    lab.gives("SELECT v FROM src.t", &["5"]).await;
    fixture
        .put(
            "t",
            &batch(vec![("id", numbers([1])), ("v", texts([Some("five")]))]),
        )
        .await;
    // Read again and planned anew, unasked.
    let found = lab.run("SELECT v FROM src.t").await;
    assert_eq!(
        (found.types, found.rows),
        (vec!["Utf8".to_string()], vec!["five".to_string()])
    );
    lab.gives("SELECT id FROM src.t WHERE v = 'five'", &["1"])
        .await;
    Ok(())
}

pub(crate) async fn a_column_that_is_gone(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(
        &fixture,
        &[("t", batch(vec![("id", numbers([1])), ("v", numbers([5]))]))],
    )
    .await;
    lab.gives("SELECT v FROM src.t", &["5"]).await;
    fixture.put("t", &batch(vec![("id", numbers([1]))])).await;
    lab.gives("SELECT id FROM src.t", &["1"]).await;
    lab.run("REFRESH SOURCE src").await;
    assert_eq!(columns(&lab, "t").await, ["id"]);
    let error = lab.error("SELECT v FROM src.t").await;
    assert!(
        error.to_string().contains('v') && error.code() != "internal",
        "{error}"
    );
    Ok(())
}

pub(crate) async fn a_new_column(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::with(&fixture, &[("t", batch(vec![("id", numbers([1]))]))]).await;
    lab.gives("SELECT * FROM src.t", &["1"]).await;
    fixture
        .put("t", &batch(vec![("id", numbers([1])), ("v", numbers([5]))]))
        .await;
    lab.run("REFRESH SOURCE src").await;
    lab.gives("SELECT * FROM src.t", &["1|5"]).await;
    Ok(())
}

pub(crate) async fn definitions_outlive_the_engine(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.put("item", &item()).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = || {
        Engine::builder()
            .connector(fixture.connector())
            .data_dir(folder.path())
            .open()
    };
    let engine = open().await.expect("the engine opens");
    engine
        .session()
        .execute(&fixture.definition().create(SOURCE))
        .await
        .expect("the source is defined");
    engine.close().await.expect("the engine closes");

    let engine = open().await.expect("the engine opens again");
    let lab = Lab {
        session: engine.session(),
        engine,
    };
    assert_eq!(
        tables(&lab).await,
        ["item"],
        "known without asking the source"
    );
    lab.gives("SELECT name FROM src.item WHERE id = 7", &["zebra"])
        .await;
    Ok(())
}

//! Two SQLite files as two sources: pushdown on and off give the same answers.

use belvedere::{Engine, Session};
use datafusion::arrow::util::pretty::pretty_format_batches;

async fn rows(session: &Session, sql: &str) -> String {
    let answer = session
        .execute(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    let batches = answer
        .collect()
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[tokio::test]
async fn pushdown_changes_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let erp = rusqlite::Connection::open(dir.path().join("erp.db")).unwrap();
    erp.execute_batch(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, qty INTEGER);
         INSERT INTO item VALUES (1, 'Äpfel', 3), (2, NULL, 0), (3, 'apples', NULL), (4, '', -5);
         CREATE TABLE stock (item INTEGER, site TEXT, n INTEGER);
         INSERT INTO stock VALUES (1, 'B', 7), (1, 'HH', 0), (3, 'B', 9), (NULL, 'B', 1);",
    )
    .unwrap();
    let shop = rusqlite::Connection::open(dir.path().join("shop.db")).unwrap();
    shop.execute_batch(
        "CREATE TABLE sale (item INTEGER, amount INTEGER);
         INSERT INTO sale VALUES (1, 10), (3, 20), (3, 5), (9, 1);",
    )
    .unwrap();
    let engine = Engine::builder().base_dir(dir.path()).open().await.unwrap();
    let session = engine.session();
    for name in ["erp", "shop"] {
        let sql = format!("CREATE SOURCE {name} FROM 'sqlite:{name}.db'");
        session.execute(&sql).await.unwrap();
    }
    for sql in [
        "SELECT * FROM erp.item WHERE qty > 0 OR name = ''",
        "SELECT name FROM erp.item WHERE name >= 'a'",
        "SELECT count(*), min(name), max(qty) FROM erp.item WHERE qty IS NOT NULL",
        "SELECT i.name, s.n FROM erp.item i LEFT JOIN erp.stock s ON i.id = s.item",
        "SELECT name FROM erp.item i WHERE NOT EXISTS (SELECT 1 FROM erp.stock s WHERE s.item = i.id)",
        "SELECT id, name FROM erp.item ORDER BY name DESC NULLS LAST LIMIT 2",
        "SELECT i.name, sum(s.amount) FROM erp.item i JOIN shop.sale s ON i.id = s.item GROUP BY i.name",
    ] {
        session.set("pushdown", "on").unwrap();
        let on = rows(&session, sql).await;
        session.set("pushdown", "off").unwrap();
        assert_eq!(on, rows(&session, sql).await, "{sql}");
    }
}

#[tokio::test]
async fn definitions_survive_and_errors_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let erp = rusqlite::Connection::open(dir.path().join("erp.db")).unwrap();
    erp.execute_batch("CREATE TABLE item (id INTEGER PRIMARY KEY); INSERT INTO item VALUES (1)")
        .unwrap();
    let open = || {
        Engine::builder()
            .data_dir(dir.path().join("data"))
            .base_dir(dir.path())
            .open()
    };
    {
        let engine = open().await.unwrap();
        let session = engine.session();
        session
            .execute("CREATE SOURCE erp FROM 'sqlite:erp.db'")
            .await
            .unwrap();
        session
            .execute("CREATE VIEW v AS SELECT id FROM erp.item")
            .await
            .unwrap();
        let error = session
            .execute("CREATE OR REPLACE VIEW v AS SELECT * FROM v")
            .await
            .unwrap_err();
        assert!(error.to_string().contains("would read itself"), "{error}");
        let error = session.execute("DROP SOURCE erp").await.unwrap_err();
        assert!(error.to_string().contains("view v"), "{error}");
        let error = session.execute("SELECT * FROM erp.itm").await.unwrap_err();
        assert!(error.to_string().contains("Did you mean item?"), "{error}");
    }
    let engine = open().await.unwrap();
    assert!(
        rows(&engine.session(), "SELECT count(*) AS n FROM v")
            .await
            .contains("| 1 |")
    );
}

//! What of statements is recorded: `system.audit`.

use std::path::Path;
use std::sync::Arc;

use belvedere::{AuditLevel, Engine, Session};
use belvedere_memory::{MemoryConnector, MemorySource, MemoryTable};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::scalar::ScalarValue;

use crate::fixture::shown;

async fn engine(data: Option<&Path>, level: AuditLevel) -> Engine {
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let batch = RecordBatch::try_from_iter([("id", id)]).unwrap();
    let table = MemoryTable::new(batch.schema(), vec![batch]).with_primary_key(&["id"]);
    let connector = MemoryConnector::new().with(MemorySource::new("mem").with_table("t", table));
    let mut builder = Engine::builder()
        .connector(Arc::new(connector))
        .audit(level);
    if let Some(data) = data {
        builder = builder.data_dir(data);
    }
    builder.open().await.unwrap()
}

async fn done(session: &Session, sql: &str) -> String {
    let shown = shown(session, sql).await;
    shown.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// The values of an answer's rows.
async fn rows(session: &Session, sql: &str) -> Vec<String> {
    let table = done(session, sql).await;
    let lines = table.lines().skip(3).filter(|line| line.starts_with('|'));
    let cells = lines.map(|line| {
        let cells = line.trim_matches('|').split('|').map(str::trim);
        cells.collect::<Vec<_>>().join("|")
    });
    cells.collect()
}

const DEFINITIONS: [&str; 6] = [
    "CREATE SOURCE mem FROM 'memory:mem' WITH (writable = true)",
    "CREATE VIEW v AS SELECT id FROM mem.t",
    "CREATE VIEW hidden AS SELECT id FROM mem.t",
    "CREATE USER root PASSWORD 'r' SUPERUSER",
    "CREATE USER ana PASSWORD 'a'",
    "GRANT SELECT ON v TO ana",
];

/// What was done since.
async fn since(session: &Session, seq: &str) -> Vec<String> {
    let sql = format!(
        "SELECT event, \"user\", statement, objects, rows, outcome FROM system.audit \
         WHERE seq > {seq} AND statement NOT LIKE '%system.audit%' ORDER BY seq"
    );
    rows(session, &sql).await
}

async fn newest(session: &Session) -> String {
    let newest = rows(session, "SELECT max(seq) FROM system.audit").await;
    newest.into_iter().next().unwrap()
}

#[tokio::test]
async fn each_level_has_what_it_says() {
    for level in [
        AuditLevel::None,
        AuditLevel::Logins,
        AuditLevel::Definitions,
        AuditLevel::Writes,
        AuditLevel::All,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(Some(folder.path()), level).await;
        let session = engine.session();
        for sql in DEFINITIONS {
            done(&session, sql).await;
        }
        let count = "SELECT count(*) FROM system.audit WHERE event = 'statement'";
        let defined = if level >= AuditLevel::Definitions {
            6
        } else {
            0
        };
        assert_eq!(
            rows(&session, count).await,
            [defined.to_string()],
            "{level}"
        );
        let before = match level >= AuditLevel::Definitions {
            true => newest(&session).await,
            false => "0".to_string(),
        };
        let (ana, root) = (engine.session_as("ana"), engine.session_as("root"));
        assert_eq!(rows(&ana, "SELECT count(*) FROM v").await, ["2"]);
        assert!(shown(&ana, "SELECT * FROM hidden").await.is_err());
        assert!(shown(&ana, "CREATE SCHEMA s").await.is_err());
        assert!(shown(&root, "SELECT * FROM nothing").await.is_err());
        done(&root, "INSERT INTO mem.t VALUES (3)").await;
        let all = [
            (
                "statement|ana|SELECT count(*) FROM v|[v]|1|ok",
                AuditLevel::All,
            ),
            (
                "statement|ana|SELECT * FROM hidden|[]||42P01",
                AuditLevel::Definitions,
            ),
            ("begun|ana|CREATE SCHEMA s|[s]||", AuditLevel::Definitions),
            (
                "statement|ana|CREATE SCHEMA s|[s]||42501",
                AuditLevel::Definitions,
            ),
            (
                "statement|root|SELECT * FROM nothing|[]||42P01",
                AuditLevel::All,
            ),
            (
                "begun|root|INSERT INTO mem.t VALUES (3)|[]||",
                AuditLevel::Writes,
            ),
            (
                "statement|root|INSERT INTO mem.t VALUES (3)|[mem.main.t]|1|ok",
                AuditLevel::Writes,
            ),
        ];
        let expected = all.into_iter().filter(|(_, of)| level >= *of);
        let expected: Vec<&str> = expected.map(|(record, _)| record).collect();
        assert_eq!(since(&session, &before).await, expected, "{level}");
    }
}

#[tokio::test]
async fn prepared_statements_are_recorded_with_what_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(Some(folder.path()), AuditLevel::All).await;
    let session = engine.session();
    for sql in DEFINITIONS {
        done(&session, sql).await;
    }
    let before = newest(&session).await;
    // The second one finds the plan of the first.
    for session in [engine.session_as("ana"), engine.session_as("ana")] {
        let prepared = session.prepare("SELECT id FROM v WHERE id = $1").await;
        let prepared = prepared.unwrap();
        for id in [1, 2] {
            let values = [ScalarValue::Int64(Some(id))];
            let answer = session.execute_prepared(&prepared, &values).await;
            answer.unwrap().collect().await.unwrap();
        }
        assert!(session.prepare("SELECT * FROM hidden").await.is_err());
    }
    let once = [
        "statement|ana|SELECT id FROM v WHERE id = $1|[v]|1|ok",
        "statement|ana|SELECT id FROM v WHERE id = $1|[v]|1|ok",
        "statement|ana|SELECT * FROM hidden|[]||42P01",
    ];
    assert_eq!(since(&session, &before).await, [once, once].concat());
    // Values are not asked for.
    let values = "SELECT count(*) FROM system.audit WHERE parameters IS NOT NULL";
    assert_eq!(rows(&session, values).await, ["0"]);
}

#[tokio::test]
async fn what_is_recorded_outlives_the_engine_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let first = engine(Some(folder.path()), AuditLevel::Writes).await;
    done(&first.session(), "CREATE SCHEMA one").await;
    drop(first);
    let second = engine(Some(folder.path()), AuditLevel::Writes).await;
    let session = second.session();
    done(&session, "BEGIN").await;
    done(&session, "CREATE SCHEMA two").await;
    done(&session, "COMMIT").await;
    let all = "SELECT seq, event, statement FROM system.audit ORDER BY seq";
    assert_eq!(
        rows(&session, all).await,
        [
            "1|started|",
            "2|begun|CREATE SCHEMA one",
            "3|statement|CREATE SCHEMA one",
            "4|started|",
            "5|begun|CREATE SCHEMA two",
            "6|statement|CREATE SCHEMA two",
            "7|begun|COMMIT",
            "8|statement|COMMIT",
        ]
    );
    let newest = "SELECT seq FROM system.audit LIMIT 2";
    assert_eq!(rows(&session, newest).await, ["8", "7"]);
    let late = "SELECT seq FROM system.audit WHERE seq >= 7 AND at > now() - INTERVAL '1 hour'";
    assert_eq!(rows(&session, late).await, ["8", "7"]);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let folder = tempfile::tempdir().unwrap();
    // A file where the folder would be.
    std::fs::write(folder.path().join("audit"), "").unwrap();
    let refused = Engine::builder().data_dir(folder.path()).open().await;
    assert!(refused.unwrap_err().to_string().contains("the audit in"));
    std::fs::remove_file(folder.path().join("audit")).unwrap();
    let engine = engine(Some(folder.path()), AuditLevel::Writes).await;
    let session = engine.session();
    std::fs::write(folder.path().join("audit"), "").unwrap();
    let refused = shown(&session, "CREATE SCHEMA s").await.unwrap_err();
    assert_eq!(refused.sqlstate(), "58030");
    let is_there = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = 's'";
    assert_eq!(rows(&session, is_there).await, ["0"]);
    std::fs::remove_file(folder.path().join("audit")).unwrap();
    for _ in 0..500 {
        if shown(&session, "CREATE SCHEMA s").await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it is never written again");
}

#[tokio::test]
async fn without_a_data_directory_there_is_none() {
    let session = engine(None, AuditLevel::All).await.session();
    done(&session, "CREATE SCHEMA s").await;
    assert_eq!(rows(&session, "SELECT * FROM system.audit").await, [""; 0]);
}

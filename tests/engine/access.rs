//! Users, roles and grants: who sees what, and may do what with it.

use std::sync::Arc;

use belvedere::{Engine, Session};
use belvedere_memory::{MemoryConnector, MemorySource, MemoryTable};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::Schema;
use datafusion::scalar::ScalarValue;

use crate::fixture::{Fixture, shown};

mod columns;
mod files;
mod limits;
mod owners;
mod revoked;

/// `hrsys.zstaff (id, name, zpay)` and `hrsys.zsite (id)`; views of it; and users: `root` may all, `ana` is of `sales`, `bob` of nothing.
struct World {
    engine: Engine,
    root: Session,
    ana: Session,
    bob: Session,
}

const DEFINITIONS: &[&str] = &[
    "CREATE SOURCE hrsys FROM 'memory:hrsys' WITH (writable = true)",
    "CREATE SOURCE other FROM 'memory:hrsys'",
    "CREATE SCHEMA zteam",
    "CREATE VIEW zpayroll AS SELECT sum(zpay) AS total FROM hrsys.zstaff",
    "CREATE VIEW zpeople AS SELECT id, name, zpay FROM hrsys.zstaff",
    "CREATE MATERIALIZED VIEW zkept WITH (refresh = 'manual', wait = true) AS SELECT id, zpay FROM hrsys.zstaff",
    "CREATE USER root PASSWORD 'r' SUPERUSER",
    "CREATE USER ana PASSWORD 'a'",
    "CREATE USER bob PASSWORD 'b'",
    "CREATE ROLE sales",
    "CREATE ROLE office",
    "GRANT office TO sales",
    "GRANT sales TO ana",
];

async fn world() -> World {
    let of = |name: &str, columns: Vec<(&str, ArrayRef)>| {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let schema = batch.schema();
        let fields = schema.fields().iter();
        let fields = fields.map(|f| f.as_ref().clone().with_nullable(f.name() != "id"));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let batch = RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec()).unwrap();
        let table = MemoryTable::new(batch.schema(), vec![batch]);
        (name.to_string(), table.with_primary_key(&["id"]))
    };
    let id = || Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let name = Arc::new(StringArray::from(vec!["Ada", "Bo"])) as ArrayRef;
    let pay = Arc::new(Int64Array::from(vec![70, 30])) as ArrayRef;
    let (staff, table) = of("zstaff", vec![("id", id()), ("name", name), ("zpay", pay)]);
    let (site, sites) = of("zsite", vec![("id", id())]);
    let source = MemorySource::new("hrsys")
        .with_table(&staff, table)
        .with_table(&site, sites);
    let connector = MemoryConnector::new().with(source);
    let engine = Engine::builder().connector(Arc::new(connector));
    let engine = engine.open().await.unwrap();
    let session = engine.session();
    for sql in DEFINITIONS {
        done(&session, sql).await;
    }
    World {
        root: engine.session_as("root"),
        ana: engine.session_as("ana"),
        bob: engine.session_as("bob"),
        engine,
    }
}

async fn done(session: &Session, sql: &str) -> String {
    shown(session, sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
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

/// SQLSTATE and message of a failure.
async fn refused(session: &Session, sql: &str) -> (&'static str, String) {
    match shown(session, sql).await {
        Ok(answer) => panic!("{sql} succeeded:\n{answer}"),
        Err(e) => (e.sqlstate(), e.to_string()),
    }
}

impl World {
    async fn grant(&self, sql: &str) {
        done(&self.engine.session(), sql).await;
    }
}

#[tokio::test]
async fn what_is_not_granted_does_not_exist() {
    let world = world().await;
    for (hidden, never) in [
        ("SELECT * FROM hrsys.zstaff", "SELECT * FROM qqqqq.zstaff"),
        (
            "SELECT * FROM hrsys.public.zstaff",
            "SELECT * FROM qqqqq.public.zstaff",
        ),
        ("SELECT * FROM zpeople", "SELECT * FROM vvvvvvv"),
        (
            "SELECT * FROM belvedere.public.zpeople",
            "SELECT * FROM belvedere.public.vvvvvvv",
        ),
        ("SELECT * FROM zteam.x", "SELECT * FROM jjjjj.x"),
        ("DESCRIBE zpeople", "DESCRIBE vvvvvvv"),
        ("SHOW CREATE VIEW zpeople", "SHOW CREATE VIEW vvvvvvv"),
        ("SHOW CREATE SOURCE hrsys", "SHOW CREATE SOURCE qqqqq"),
        (
            "SHOW CAPABILITIES FROM hrsys",
            "SHOW CAPABILITIES FROM qqqqq",
        ),
        (
            "EXPLAIN SELECT * FROM zpeople",
            "EXPLAIN SELECT * FROM vvvvvvv",
        ),
        ("SUBSCRIBE TO zkept", "SUBSCRIBE TO wwwww"),
        (
            "REFRESH MATERIALIZED VIEW zkept",
            "REFRESH MATERIALIZED VIEW wwwww",
        ),
        ("REFRESH SOURCE hrsys", "REFRESH SOURCE qqqqq"),
        ("DROP VIEW zpeople", "DROP VIEW vvvvvvv"),
        (
            "ALTER VIEW zpeople RENAME TO n",
            "ALTER VIEW vvvvvvv RENAME TO n",
        ),
        (
            "GRANT SELECT ON zpeople TO ana",
            "GRANT SELECT ON vvvvvvv TO ana",
        ),
        (
            "INSERT INTO hrsys.zstaff VALUES (3, 'C', 1)",
            "INSERT INTO qqqqq.zstaff VALUES (3, 'C', 1)",
        ),
        ("DELETE FROM hrsys.zstaff", "DELETE FROM qqqqq.zstaff"),
        (
            "COMMENT ON VIEW zpeople IS 'x'",
            "COMMENT ON VIEW vvvvvvv IS 'x'",
        ),
    ] {
        let (state, message) = refused(&world.bob, hidden).await;
        let (never_state, never_message) = refused(&world.bob, never).await;
        let stranger = ["zpeople", "zkept", "zteam", "hrsys"];
        let strange = ["vvvvvvv", "wwwww", "jjjjj", "qqqqq"];
        let one = stranger
            .iter()
            .fold(message.clone(), |text, name| text.replace(name, "x"));
        let other = strange
            .iter()
            .fold(never_message.clone(), |text, name| text.replace(name, "x"));
        assert_eq!(
            (state, one),
            (never_state, other),
            "{hidden}: {message} / {never_message}"
        );
    }
    for sql in [
        "DROP VIEW IF EXISTS zpeople",
        "ALTER VIEW IF EXISTS zpeople RENAME TO n",
    ] {
        done(&world.bob, sql).await;
    }
    assert_eq!(
        rows(&world.root, "SELECT count(*) FROM zpeople").await,
        ["2"]
    );
}

#[tokio::test]
async fn no_table_of_the_engine_shows_what_is_not_granted() {
    let world = world().await;
    world.grant("GRANT SELECT ON zpayroll TO office").await;
    world
        .grant("COMMENT ON TABLE hrsys.zstaff IS 'secret words'")
        .await;
    world
        .grant("COMMENT ON VIEW zpeople IS 'secret words'")
        .await;
    done(&world.root, "SELECT zpay FROM hrsys.zstaff").await;
    let all = "SELECT table_schema, table_name FROM information_schema.tables
               WHERE table_schema IN ('system', 'information_schema')";
    let tables = rows(&world.bob, all).await;
    let of_postgres = [
        "pg_class",
        "pg_namespace",
        "pg_attribute",
        "pg_views",
        "pg_description",
        "pg_roles",
    ];
    let of_postgres = of_postgres.map(|table| format!("pg_catalog|{table}"));
    let mut looked_at = 0;
    for table in tables.iter().chain(&of_postgres) {
        let sql = format!("SELECT * FROM {}", table.replace('|', "."));
        for (session, sees) in [(&world.bob, ""), (&world.ana, "zpayroll")] {
            let shown = done(session, &sql).await;
            let shown = shown.replace(if sees.is_empty() { "\0" } else { sees }, "");
            for word in [
                "hrsys", "zstaff", "zpeople", "zkept", "zteam", "zpay", "secret", " root ",
            ] {
                assert!(!shown.contains(word), "{sql} shows {word}:\n{shown}");
            }
            looked_at += 1;
        }
    }
    assert!(looked_at > 50, "{looked_at}");
    let views = "SELECT name, sql, depends_on FROM system.views";
    assert_eq!(rows(&world.ana, views).await, ["zpayroll||"]);
    let own = "SELECT DISTINCT \"user\" FROM system.queries";
    assert_eq!(rows(&world.ana, own).await, ["ana"]);
}

#[tokio::test]
async fn a_view_reads_with_the_rights_of_who_has_defined_it() {
    let world = world().await;
    world.grant("GRANT SELECT ON zpayroll TO office").await;
    assert_eq!(
        rows(&world.ana, "SELECT total FROM zpayroll").await,
        ["100"]
    );
    assert!(refused(&world.bob, "SELECT * FROM zpayroll").await.0 == "42P01");
    assert!(refused(&world.ana, "SELECT * FROM hrsys.zstaff").await.0 == "42P01");
    let explained = done(&world.ana, "EXPLAIN VERBOSE SELECT * FROM zpayroll").await;
    assert!(explained.contains("Barrier: zpayroll"), "{explained}");
    assert!(
        !explained.contains("hr") && !explained.contains("sum"),
        "{explained}"
    );
    let analyzed = refused(&world.ana, "EXPLAIN ANALYZE SELECT * FROM zpayroll").await;
    assert_eq!(analyzed.0, "42501");
    // Nor is it shown where some columns are seen of what it reads: it may read the others.
    world
        .grant("GRANT SELECT (id) ON hrsys.zstaff TO ana")
        .await;
    let again = done(&world.ana, "EXPLAIN VERBOSE SELECT * FROM zpayroll").await;
    assert_eq!(again, explained);
    done(&world.ana, "EXPLAIN SELECT * FROM hrsys.zstaff").await;
    world
        .grant("REVOKE SELECT (id) ON hrsys.zstaff FROM ana")
        .await;

    // Whoever defines one gives no more than the own rights.
    world.grant("GRANT SELECT ON hrsys.zsite TO ana").await;
    world.grant("GRANT CREATE ON SCHEMA zteam TO sales").await;
    done(
        &world.ana,
        "CREATE VIEW zteam.sites AS SELECT id FROM hrsys.zsite",
    )
    .await;
    assert!(
        refused(
            &world.ana,
            "CREATE VIEW zteam.v AS SELECT * FROM hrsys.zstaff"
        )
        .await
        .0 == "42P01"
    );
    assert_eq!(
        refused(&world.ana, "CREATE VIEW v AS SELECT 1 AS one")
            .await
            .0,
        "42501"
    );
    done(&world.ana, "GRANT SELECT ON zteam.sites TO bob").await;
    assert_eq!(
        rows(&world.bob, "SELECT count(*) FROM zteam.sites").await,
        ["2"]
    );
    let definer = "SELECT definer FROM system.views WHERE name = 'sites'";
    assert_eq!(rows(&world.root, definer).await, ["ana"]);
    world.grant("REVOKE SELECT ON hrsys.zsite FROM ana").await;
    let (_, message) = refused(&world.bob, "SELECT * FROM zteam.sites").await;
    assert!(
        message.contains("cannot be read any more") && !message.contains("hr"),
        "{message}"
    );
    let (_, message) = refused(&world.root, "DROP USER ana").await;
    assert!(
        message.contains("has defined view zteam.sites"),
        "{message}"
    );
}

#[tokio::test]
async fn columns_that_are_not_granted_are_not_there() {
    let world = world().await;
    world
        .grant("GRANT SELECT (id, name) ON hrsys.zstaff TO ana")
        .await;
    world
        .grant("GRANT SELECT (id, name) ON zpeople TO ana")
        .await;
    world.grant("GRANT SELECT (id) ON zkept TO ana").await;
    for table in ["hrsys.zstaff", "zpeople"] {
        let all = format!("SELECT * FROM {table} ORDER BY id");
        assert_eq!(rows(&world.ana, &all).await, ["1|Ada", "2|Bo"]);
        for sql in [
            "SELECT zpay FROM",
            "SELECT id FROM {} WHERE zpay > 50",
            "SELECT max(zpay) FROM",
        ] {
            let sql = match sql.contains("{}") {
                true => sql.replace("{}", table),
                false => format!("{sql} {table}"),
            };
            assert_eq!(refused(&world.ana, &sql).await.0, "42703", "{sql}");
        }
        let columns = format!("DESCRIBE {table}");
        assert_eq!(rows(&world.ana, &columns).await.len(), 2);
    }
    assert_eq!(
        rows(&world.ana, "SELECT * FROM zkept ORDER BY 1").await,
        ["1", "2"]
    );
    assert_eq!(
        refused(&world.ana, "SELECT zpay FROM zkept").await.0,
        "42703"
    );
    let columns = "SELECT \"table\", name FROM system.columns WHERE source <> 'belvedere' OR schema = 'public'";
    assert!(!done(&world.ana, columns).await.contains("zpay"));
    world.grant("GRANT SELECT ON hrsys.zstaff TO sales").await;
    assert_eq!(
        rows(&world.ana, "SELECT sum(zpay) FROM hrsys.zstaff").await,
        ["100"]
    );
    assert_eq!(
        rows(&world.root, "SELECT sum(zpay) FROM hrsys.zstaff").await,
        ["100"]
    );
}

#[tokio::test]
async fn writes_and_refreshes_need_their_privilege() {
    let world = world().await;
    let insert = "INSERT INTO hrsys.zstaff VALUES (3, 'Cy', 1)";
    let update = "UPDATE hrsys.zstaff SET name = 'Cyd' WHERE id = 3";
    let delete = "DELETE FROM hrsys.zstaff WHERE id = 3";
    world.grant("GRANT SELECT ON hrsys.zstaff TO ana").await;
    for sql in [insert, update, delete] {
        assert_eq!(refused(&world.ana, sql).await.0, "42501", "{sql}");
    }
    world.grant("GRANT INSERT ON hrsys.zstaff TO bob").await;
    done(&world.bob, insert).await;
    for sql in [
        "SELECT * FROM hrsys.zstaff",
        "INSERT INTO hrsys.zstaff SELECT id + 10, name, zpay FROM hrsys.zstaff",
        update,
        delete,
    ] {
        assert_eq!(refused(&world.bob, sql).await.0, "42501", "{sql}");
    }
    world
        .grant("GRANT UPDATE, DELETE ON hrsys.zstaff TO ana")
        .await;
    done(&world.ana, update).await;
    done(&world.ana, delete).await;
    assert_eq!(
        rows(&world.ana, "SELECT count(*) FROM hrsys.zstaff").await,
        ["2"]
    );

    world.grant("GRANT SELECT ON zkept TO ana").await;
    let refresh = "REFRESH MATERIALIZED VIEW zkept";
    assert_eq!(refused(&world.ana, refresh).await.0, "42501");
    world.grant("GRANT REFRESH ON zkept TO ana").await;
    done(&world.ana, refresh).await;
    for sql in [
        "CREATE SOURCE x FROM 'memory:hrsys'",
        "DROP SOURCE other",
        "CREATE SCHEMA s",
        "CREATE USER x PASSWORD 'x'",
        "ALTER USER ana SUPERUSER",
        "ALTER USER bob PASSWORD 'x'",
        "GRANT sales TO bob",
        "DROP VIEW zkept",
        "COPY (SELECT 1 AS one) TO 'x.csv'",
        "CREATE INDEX ON zkept (id)",
        "GRANT SELECT ON zkept TO bob",
    ] {
        assert!(
            ["42501", "42P01"].contains(&refused(&world.ana, sql).await.0),
            "{sql}"
        );
    }
    done(&world.ana, "ALTER USER ana PASSWORD 'other'").await;
    assert!(
        world
            .ana
            .apply(Vec::new(), Default::default())
            .await
            .is_err()
    );
    assert!(
        world
            .root
            .apply(Vec::new(), Default::default())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn what_is_taken_back_is_gone_from_what_was_prepared_and_told() {
    let world = world().await;
    world.grant("GRANT SELECT ON hrsys.zstaff TO sales").await;
    let sql = "SELECT name FROM hrsys.zstaff WHERE id = $1";
    done(&world.ana, "SET max_staleness = '1 hour'").await;
    done(&world.bob, "SET max_staleness = '1 hour'").await;
    let prepared = world.ana.prepare(sql).await.unwrap();
    let one = [ScalarValue::Int64(Some(1))];
    for _ in 0..3 {
        let answer = world.ana.execute_prepared(&prepared, &one).await.unwrap();
        assert_eq!(answer.collect().await.unwrap()[0].num_rows(), 1);
    }
    // Neither a plan nor an answer of another's.
    assert!(world.bob.prepare(sql).await.is_err());
    assert!(world.bob.execute_prepared(&prepared, &one).await.is_err());
    let all = "SELECT name FROM hrsys.zstaff ORDER BY id";
    assert_eq!(rows(&world.ana, all).await, ["Ada", "Bo"]);
    assert_eq!(refused(&world.bob, all).await.0, "42P01");
    for taken in [
        "REVOKE SELECT ON hrsys.zstaff FROM sales",
        "REVOKE sales FROM ana",
    ] {
        world.grant("GRANT SELECT ON hrsys.zstaff TO sales").await;
        world.grant("GRANT sales TO ana").await;
        assert_eq!(rows(&world.ana, all).await, ["Ada", "Bo"]);
        world.grant(taken).await;
        assert_eq!(refused(&world.ana, all).await.0, "42P01", "{taken}");
        assert!(
            world.ana.execute_prepared(&prepared, &one).await.is_err(),
            "{taken}"
        );
    }
    world.grant("DROP USER ana").await;
    assert_eq!(refused(&world.ana, "SELECT 1").await.0, "28000");
}

#[tokio::test]
async fn grants_on_sources_and_schemas_are_of_what_is_in_them() {
    let world = world().await;
    world.grant("GRANT SELECT ON SOURCE hrsys TO ana").await;
    world.grant("GRANT SELECT ON SCHEMA public TO bob").await;
    assert_eq!(
        rows(&world.ana, "SELECT count(*) FROM hrsys.zstaff").await,
        ["2"]
    );
    assert_eq!(
        rows(&world.ana, "SELECT name, url FROM system.sources").await,
        ["hrsys|"]
    );
    assert_eq!(
        rows(&world.bob, "SELECT total FROM zpayroll").await,
        ["100"]
    );
    assert_eq!(
        refused(&world.bob, "SELECT * FROM hrsys.zstaff").await.0,
        "42P01"
    );
    world.grant("CREATE VIEW later AS SELECT 1 AS one").await;
    assert_eq!(rows(&world.bob, "SELECT one FROM later").await, ["1"]);
    world.grant("REVOKE SELECT ON SOURCE hrsys FROM ana").await;
    world
        .grant("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
        .await;
    assert_eq!(rows(&world.ana, "SELECT one FROM later").await, ["1"]);
    let grants =
        "SELECT grantee, privilege, kind, source, schema, name FROM system.grants ORDER BY name";
    assert_eq!(
        rows(&world.ana, grants).await,
        ["later", "zkept", "zpayroll", "zpeople"]
            .map(|v| format!("|SELECT|relation|belvedere|public|{v}"))
    );
    world.grant("ALTER VIEW later RENAME TO sooner").await;
    assert_eq!(rows(&world.ana, "SELECT one FROM sooner").await, ["1"]);
    world.grant("DROP VIEW sooner").await;
    world.grant("CREATE VIEW sooner AS SELECT 2 AS two").await;
    assert_eq!(refused(&world.ana, "SELECT * FROM sooner").await.0, "42P01");
}

#[tokio::test]
async fn definitions_of_a_transaction_are_of_its_user() {
    let world = world().await;
    world
        .grant("GRANT CREATE, SELECT ON SCHEMA zteam TO ana")
        .await;
    world.grant("GRANT SELECT ON hrsys.zsite TO ana").await;
    done(&world.ana, "BEGIN").await;
    done(
        &world.ana,
        "CREATE VIEW zteam.a AS SELECT id FROM hrsys.zsite",
    )
    .await;
    done(&world.ana, "CREATE VIEW zteam.b AS SELECT id FROM zteam.a").await;
    assert_eq!(
        rows(&world.ana, "SELECT count(*) FROM zteam.b").await,
        ["2"]
    );
    done(&world.ana, "COMMIT").await;
    let definers = "SELECT definer FROM system.views WHERE schema = 'zteam'";
    assert_eq!(rows(&world.root, definers).await, ["ana", "ana"]);
    done(&world.ana, "BEGIN").await;
    done(&world.ana, "DROP VIEW zteam.b").await;
    assert_eq!(refused(&world.ana, "DROP VIEW zpeople").await.0, "42P01");
    done(&world.ana, "ROLLBACK").await;
    assert_eq!(
        rows(&world.ana, "SELECT count(*) FROM zteam.b").await,
        ["2"]
    );
}

#[tokio::test]
async fn users_are_there_after_a_restart_and_somebody_can_administer() {
    let fixture = Fixture::empty().await;
    let engine = fixture.open().await.unwrap();
    let session = engine.session();
    let (_, message) = refused(&session, "CREATE USER ana PASSWORD 'a'").await;
    assert!(message.contains("has to be a superuser"), "{message}");
    for sql in [
        "CREATE USER ana PASSWORD 'se''cret' SUPERUSER",
        "CREATE ROLE sales",
        "CREATE USER ben PASSWORD 'b'",
        "GRANT sales TO ben",
        "CREATE VIEW v AS SELECT 1 AS one",
        "GRANT SELECT ON v TO sales",
    ] {
        done(&session, sql).await;
    }
    for sql in [
        "DROP USER ana",
        "ALTER USER ana NOSUPERUSER",
        "ALTER USER ana PASSWORD NULL",
    ] {
        let (_, message) = refused(&session, sql).await;
        assert!(message.contains("nobody could administer"), "{message}");
    }
    assert_eq!(refused(&session, "CREATE ROLE ana").await.0, "42710");
    assert_eq!(refused(&session, "GRANT nothing TO ben").await.0, "42704");
    let queries = done(&session, "SELECT sql FROM system.queries").await;
    assert!(
        queries.contains("CREATE USER ana") && !queries.contains("cret"),
        "{queries}"
    );
    drop((session, engine));

    let engine = fixture.open().await.unwrap();
    let users = "SELECT name, superuser, has_password, roles FROM system.users ORDER BY name";
    assert_eq!(
        rows(&engine.session(), users).await,
        ["ana|true|true|", "ben|false|true|sales"]
    );
    assert_eq!(
        rows(&engine.session_as("ben"), "SELECT one FROM v").await,
        ["1"]
    );
    assert_eq!(
        rows(&engine.session_as("ben"), users).await,
        ["ben|false|true|sales"]
    );
    assert_eq!(
        rows(&engine.session_as("ben"), "SELECT current_user").await,
        ["ben"]
    );
    assert_eq!(
        refused(&engine.session_as("sales"), "SELECT 1").await.0,
        "28000"
    );
    done(&engine.session(), "DROP USER ben").await;
    done(&engine.session(), "DROP USER ana").await;
    assert_eq!(rows(&engine.session(), users).await, [""; 0]);
}

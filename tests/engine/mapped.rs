//! Sources that users read as users of their own.

use belvedere::{Engine, Session};

use crate::fixture::shown;
use crate::servers::{connected, postgres};

async fn done(session: &Session, sql: &str) -> String {
    let told = shown(session, sql).await;
    told.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

async fn refused(session: &Session, sql: &str) -> String {
    match shown(session, sql).await {
        Ok(answer) => panic!("{sql} succeeded:\n{answer}"),
        Err(e) => format!("{} {e}", e.sqlstate()),
    }
}

/// The system itself says who sees what: `item` has a row for each of its users, and `reader` has all.
const ITEMS: &str = "
    CREATE ROLE ana_k LOGIN; CREATE ROLE eve_k LOGIN; CREATE ROLE staff_k LOGIN;
    CREATE TABLE item (id int PRIMARY KEY, name text, owner text);
    CREATE TABLE other (id int PRIMARY KEY, note text);
    INSERT INTO item VALUES (1, 'of ana', 'ana_k'), (2, 'of eve', 'eve_k'), (3, 'of staff', 'staff_k');
    INSERT INTO other VALUES (1, 'x'), (2, 'y');
    ALTER TABLE item ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON item USING (owner = current_user);
    GRANT SELECT, UPDATE ON item TO ana_k, eve_k, staff_k;
    GRANT SELECT ON other TO staff_k";

#[tokio::test(flavor = "multi_thread")]
async fn each_user_is_its_own_at_the_source() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    let maker = connected(server.port).await;
    maker.batch_execute(ITEMS).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let open = || Engine::builder().data_dir(&data).open();
    let engine = open().await.unwrap();
    let session = engine.session();
    for sql in [
        &format!(
            "CREATE SOURCE erp FROM 'postgres://postgres@127.0.0.1:{}/postgres' WITH (writable = true)",
            server.port
        ),
        "CREATE VIEW everything AS SELECT id, name FROM erp.item",
        "CREATE MATERIALIZED VIEW kept WITH (refresh = 'manual', wait = true) AS SELECT id, name FROM erp.item",
        "CREATE USER root PASSWORD 'r' SUPERUSER",
        "CREATE USER ana PASSWORD 'a'",
        "CREATE USER eve PASSWORD 'e'",
        "CREATE USER bob PASSWORD 'b'",
        "CREATE USER zoe PASSWORD 'z'",
        "CREATE ROLE staff",
        "GRANT staff TO bob",
        "GRANT SELECT, UPDATE ON SOURCE erp TO ana, eve, bob, zoe",
        "GRANT SELECT ON everything TO eve",
        "GRANT CREATE ON SCHEMA public TO ana",
        "CREATE USER MAPPING FOR ana ON SOURCE erp WITH (user = 'ana_k')",
        "CREATE USER MAPPING FOR eve ON SOURCE erp WITH (user = 'eve_k')",
        "CREATE USER MAPPING FOR staff ON SOURCE erp WITH (user = 'staff_k')",
    ] {
        done(&session, sql).await;
    }
    let [root, ana, eve, bob, zoe] =
        ["root", "ana", "eve", "bob", "zoe"].map(|name| engine.session_as(name));
    let all = "SELECT id, name FROM erp.item ORDER BY id";
    for session in [&root, &ana, &eve, &bob] {
        done(session, "SET max_staleness = '1 hour'").await;
    }
    for _ in 0..3 {
        for (session, sees, not) in [
            (&ana, "of ana", "of eve"),
            (&eve, "of eve", "of ana"),
            (&bob, "of staff", "of eve"),
        ] {
            let told = done(session, all).await;
            assert!(told.contains(sees) && !told.contains(not), "{told}");
            // By its key as well, which several may ask for at once.
            let told = done(session, "SELECT name FROM erp.item WHERE id = 2").await;
            assert_eq!(told.contains("of eve"), sees == "of eve", "{told}");
        }
        // Superusers read it as it is defined; and whoever is none of its users does not.
        assert!(done(&root, all).await.contains("of staff"));
        let error = refused(&zoe, all).await;
        assert!(
            error.starts_with("42501") && error.contains("you are none"),
            "{error}"
        );
    }
    // What is asked so is told nobody again.
    maker
        .batch_execute("UPDATE item SET name = 'of ana now' WHERE id = 1")
        .await
        .unwrap();
    assert!(done(&ana, all).await.contains("of ana now"));
    let results = done(&root, "SELECT sql FROM system.results").await;
    // That of who reads it as it is defined is.
    assert_eq!(results.matches("ORDER BY id").count(), 1, "{results}");

    // A view reads as who has defined it: the administrator, or ana. What both read is asked of each by itself.
    assert!(
        done(&eve, "SELECT count(*) FROM everything")
            .await
            .contains("| 3 ")
    );
    done(&ana, "CREATE VIEW mine AS SELECT id, name FROM erp.item").await;
    done(&ana, "GRANT SELECT ON mine TO eve").await;
    assert!(
        done(&eve, "SELECT name FROM mine")
            .await
            .contains("of ana now")
    );
    let both = "SELECT m.name, i.name FROM mine m CROSS JOIN erp.item i";
    let told = done(&eve, both).await;
    assert!(
        told.contains("of ana now") && told.contains("of eve"),
        "{told}"
    );
    let both = "SELECT e.name, i.name AS own FROM everything e JOIN erp.item i ON i.id = e.id";
    let told = done(&eve, both).await;
    assert!(
        told.contains("of eve") && !told.contains("of ana"),
        "{told}"
    );
    // The system's own errors are told as its own.
    let error = refused(&ana, "SELECT * FROM erp.other").await;
    assert!(
        error.contains("erp") && error.contains("permission denied"),
        "{error}"
    );

    // Copies are nobody's, nor is a question answered by one.
    let error = refused(
        &ana,
        "CREATE MATERIALIZED VIEW own WITH (refresh = 'manual') AS SELECT id FROM erp.item",
    )
    .await;
    assert!(error.contains("nothing of it is kept"), "{error}");
    let error = refused(&ana, "SUBSCRIBE TO (SELECT id FROM erp.item)").await;
    assert!(error.contains("nothing of it is kept"), "{error}");
    assert!(
        done(&ana, "SELECT count(*) FROM erp.item")
            .await
            .contains("| 1 ")
    );

    // Writes are theirs, too.
    done(&ana, "UPDATE erp.item SET name = 'changed'").await;
    assert!(done(&root, all).await.contains("of eve"));
    assert!(done(&ana, all).await.contains("changed"));

    // It is there after a restart, and gone with its source's name and its user.
    drop((root, ana, eve, bob, zoe, session, engine));
    let engine = open().await.unwrap();
    let told = done(&engine.session_as("ana"), all).await;
    assert!(
        told.contains("changed") && !told.contains("of eve"),
        "{told}"
    );
    let session = engine.session_as("root");
    let list = "SELECT grantee, \"user\" FROM system.mappings ORDER BY grantee";
    assert!(done(&session, list).await.contains("staff_k"));
    done(
        &session,
        "CREATE OR REPLACE USER MAPPING FOR PUBLIC ON SOURCE erp",
    )
    .await;
    assert!(
        done(&engine.session_as("zoe"), all)
            .await
            .contains("of staff")
    );
    for (sql, expected) in [
        (
            "CREATE USER MAPPING FOR ana ON SOURCE erp WITH (user = 'x')",
            "already exists",
        ),
        (
            "CREATE USER MAPPING FOR nobody ON SOURCE erp",
            "nobody does not exist",
        ),
        (
            "CREATE USER MAPPING FOR bob ON SOURCE nothing",
            "nothing does not exist",
        ),
        (
            "CREATE USER MAPPING FOR bob ON SOURCE erp WITH (password = 'x')",
            "never written literally",
        ),
        (
            "CREATE USER MAPPING FOR bob ON SOURCE erp WITH (writable = 'true')",
            "writable",
        ),
        ("DROP USER MAPPING FOR bob ON SOURCE erp", "does not exist"),
    ] {
        let error = refused(&session, sql).await;
        assert!(error.contains(expected), "{sql}: {error}");
    }
    let error = refused(
        &engine.session_as("zoe"),
        "DROP USER MAPPING FOR ana ON SOURCE erp",
    )
    .await;
    assert!(error.starts_with("42501"), "{error}");
    for to in ["ana", "eve", "staff", "PUBLIC"] {
        done(
            &session,
            &format!("DROP USER MAPPING FOR {to} ON SOURCE erp"),
        )
        .await;
    }
    assert!(
        done(&engine.session_as("ana"), all)
            .await
            .contains("of eve")
    );
}

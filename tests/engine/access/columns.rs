//! INSERT and UPDATE that are granted on columns.

use super::*;

#[tokio::test]
async fn rows_are_inserted_with_the_columns_that_are_granted() {
    let world = world().await;
    world
        .grant("GRANT INSERT (id, name) ON hrsys.zstaff TO bob")
        .await;
    done(
        &world.bob,
        "INSERT INTO hrsys.zstaff (id, name) VALUES (3, 'Cy')",
    )
    .await;
    // The table has no others, for whoever may do nothing with these.
    done(&world.bob, "INSERT INTO hrsys.zstaff VALUES (4, 'Di')").await;
    let prepared = "INSERT INTO hrsys.zstaff (name, id) VALUES ($1, $2)";
    let prepared = world.bob.prepare(prepared).await.unwrap();
    let values = [ScalarValue::from("Ed"), ScalarValue::from(5i64)];
    world
        .bob
        .execute_prepared(&prepared, &values)
        .await
        .unwrap();
    let all = "SELECT id, name, zpay FROM hrsys.zstaff WHERE id > 2 ORDER BY id";
    assert_eq!(rows(&world.root, all).await, ["3|Cy|", "4|Di|", "5|Ed|"]);
    let columns = "SELECT name FROM system.columns WHERE \"table\" = 'zstaff' ORDER BY name";
    assert_eq!(rows(&world.bob, columns).await, ["id", "name"]);

    // What is not seen is what there is not, whatever is said of it.
    let never = refused(
        &world.bob,
        "INSERT INTO hrsys.zstaff (id, qqqq) VALUES (6, 1)",
    )
    .await;
    let hidden = refused(
        &world.bob,
        "INSERT INTO hrsys.zstaff (id, zpay) VALUES (6, 1)",
    )
    .await;
    assert_eq!(never.0, hidden.0);
    assert_eq!(never.1, hidden.1.replace("zpay", "qqqq"));
    for sql in [
        "SELECT id FROM hrsys.zstaff",
        "INSERT INTO hrsys.zstaff SELECT id + 10, name FROM hrsys.zstaff",
        "INSERT INTO hrsys.zstaff (id, name) SELECT 7, (SELECT max(name) FROM hrsys.zstaff)",
        "UPDATE hrsys.zstaff SET name = 'x'",
        "DELETE FROM hrsys.zstaff",
    ] {
        assert_eq!(refused(&world.bob, sql).await.0, "42501", "{sql}");
    }

    // Seen, and not to be inserted.
    world
        .grant("GRANT SELECT (zpay) ON hrsys.zstaff TO bob")
        .await;
    let (state, message) =
        refused(&world.bob, "INSERT INTO hrsys.zstaff VALUES (6, 'Fa', 1)").await;
    assert_eq!(state, "42501");
    assert!(
        message.contains("INSERT on column zpay of hrsys.main.zstaff"),
        "{message}"
    );
    assert_eq!(
        rows(&world.bob, "SELECT * FROM hrsys.zstaff ORDER BY 1")
            .await
            .len(),
        5
    );
    world
        .grant("REVOKE INSERT (name) ON hrsys.zstaff FROM bob")
        .await;
    done(&world.bob, "INSERT INTO hrsys.zstaff (id) VALUES (8)").await;
    let (state, _) = refused(
        &world.bob,
        "INSERT INTO hrsys.zstaff (id, name) VALUES (9, 'x')",
    )
    .await;
    assert_eq!(state, "42703");
    let granted = "SELECT privilege, columns FROM system.grants WHERE grantee = 'bob' ORDER BY 1";
    assert_eq!(
        rows(&world.root, granted).await,
        ["INSERT|id", "SELECT|zpay"]
    );
}

#[tokio::test]
async fn columns_that_are_granted_are_updated() {
    let world = world().await;
    for sql in [
        "GRANT SELECT (id, name) ON hrsys.zstaff TO ana",
        "GRANT UPDATE (name, zpay) ON hrsys.zstaff TO sales",
    ] {
        world.grant(sql).await;
    }
    done(
        &world.ana,
        "UPDATE hrsys.zstaff SET name = 'Ad', zpay = 5 WHERE id = 1",
    )
    .await;
    done(
        &world.ana,
        "UPDATE hrsys.zstaff SET name = name || '!' WHERE name = 'Ad'",
    )
    .await;
    let all = "SELECT id, name, zpay FROM hrsys.zstaff ORDER BY id";
    assert_eq!(rows(&world.root, all).await, ["1|Ad!|5", "2|Bo|30"]);
    for (sql, says) in [
        ("UPDATE hrsys.zstaff SET id = 9", "UPDATE on column id"),
        (
            "UPDATE hrsys.zstaff SET zpay = zpay + 1",
            "SELECT on column zpay",
        ),
        (
            "UPDATE hrsys.zstaff SET name = 'x' WHERE zpay > 20",
            "SELECT on column zpay",
        ),
        (
            "UPDATE hrsys.zstaff SET name = (SELECT max(name) FROM hrsys.zstaff)",
            "SELECT on",
        ),
        ("DELETE FROM hrsys.zstaff WHERE id = 1", "DELETE on"),
    ] {
        let (state, message) = refused(&world.ana, sql).await;
        assert_eq!(state, "42501", "{sql}: {message}");
        assert!(message.contains(says), "{sql}: {message}");
    }
    // It is there to be written, and not to be read.
    assert_eq!(
        rows(&world.ana, "SELECT * FROM hrsys.zstaff ORDER BY 1").await,
        ["1|Ad!", "2|Bo"]
    );
    assert_eq!(
        refused(&world.ana, "SELECT zpay FROM hrsys.zstaff").await.0,
        "42703"
    );
    world.grant("GRANT DELETE ON hrsys.zstaff TO ana").await;
    let (state, _) = refused(&world.ana, "DELETE FROM hrsys.zstaff WHERE zpay = 30").await;
    assert_eq!(state, "42501");
    done(&world.ana, "DELETE FROM hrsys.zstaff WHERE id = 2").await;
    assert_eq!(rows(&world.root, all).await, ["1|Ad!|5"]);
    let (state, _) = refused(&world.root, "GRANT DELETE (name) ON hrsys.zstaff TO ana").await;
    assert_eq!(state, "42601");
}

#[tokio::test]
async fn postgres_functions_tell_what_may_be_done() {
    let world = world().await;
    for sql in [
        "GRANT SELECT (id, name) ON hrsys.zstaff TO ana",
        "GRANT UPDATE (name) ON hrsys.zstaff TO sales",
        "GRANT SELECT ON zpeople TO sales",
        "GRANT CREATE ON SCHEMA zteam TO bob",
    ] {
        world.grant(sql).await;
    }
    let told = async |session: &Session, call: &str| {
        rows(session, &format!("SELECT {call}")).await.concat()
    };
    for (call, expected) in [
        ("has_table_privilege('zpeople', 'SELECT')", "true"),
        ("has_table_privilege('zpeople', 'select, insert')", "true"),
        (
            "has_table_privilege('zpeople', 'SELECT WITH GRANT OPTION')",
            "false",
        ),
        ("has_table_privilege('zpeople', 'INSERT')", "false"),
        ("has_table_privilege('hrsys.zstaff', 'SELECT')", "false"),
        ("has_any_column_privilege('hrsys.zstaff', 'SELECT')", "true"),
        (
            "has_column_privilege('hrsys.zstaff', 'name', 'UPDATE')",
            "true",
        ),
        (
            "has_column_privilege('hrsys.zstaff', 'id', 'UPDATE')",
            "false",
        ),
        ("has_column_privilege('hrsys.zstaff', 1, 'SELECT')", "true"),
        ("has_table_privilege('hrsys.zstaff', 'TRUNCATE')", "false"),
        ("has_table_privilege('ana', 'zpeople', 'SELECT')", "true"),
        ("has_table_privilege('sales', 'zpeople', 'SELECT')", "true"),
        (
            "has_table_privilege('office', 'zpeople', 'SELECT')",
            "false",
        ),
        ("has_table_privilege(123456789, 'SELECT')", ""),
        ("has_table_privilege('pg_class', 'SELECT')", "true"),
        ("has_schema_privilege('public', 'CREATE')", "false"),
        ("has_database_privilege('belvedere', 'CONNECT')", "true"),
        ("has_database_privilege('belvedere', 'CREATE')", "false"),
        ("pg_has_role('sales', 'MEMBER')", "true"),
    ] {
        assert_eq!(told(&world.ana, call).await, expected, "{call}");
    }
    assert_eq!(
        told(&world.bob, "has_schema_privilege('zteam', 'CREATE')").await,
        "true"
    );
    for (call, sqlstate) in [
        ("has_table_privilege('zpayroll', 'SELECT')", "42P01"),
        ("has_table_privilege('qqqq', 'SELECT')", "42P01"),
        (
            "has_column_privilege('hrsys.zstaff', 'zpay', 'SELECT')",
            "42703",
        ),
        ("has_table_privilege('zpeople', 'NONSENSE')", "22023"),
        ("has_table_privilege('bob', 'zpeople', 'SELECT')", "42704"),
        ("pg_has_role('bob', 'MEMBER')", "42704"),
        ("has_schema_privilege('zteam', 'USAGE')", "3F000"),
    ] {
        let (state, message) = refused(&world.ana, &format!("SELECT {call}")).await;
        assert_eq!(state, sqlstate, "{call}: {message}");
    }
    for (call, expected) in [
        ("has_table_privilege('hrsys.zstaff', 'INSERT')", "true"),
        ("has_table_privilege('other.zstaff', 'INSERT')", "false"),
        (
            "has_table_privilege('ana', 'hrsys.zstaff', 'UPDATE')",
            "false",
        ),
        (
            "has_column_privilege('ana', 'hrsys.zstaff', 'name', 'UPDATE')",
            "true",
        ),
        ("pg_has_role('ana', 'office', 'MEMBER')", "true"),
        ("pg_has_role('bob', 'office', 'MEMBER')", "false"),
    ] {
        assert_eq!(told(&world.root, call).await, expected, "{call}");
    }
}

//! What goes on while a right is taken back ends; a login ends with the account, or the password, that it was by.

use datafusion::common::DataFusionError;
use futures::StreamExt;

use super::*;

/// An answer of several batches, of which the first has been read.
async fn begun(session: &Session, sql: &str) -> belvedere::Answer {
    let mut answer = session.execute(sql).await.unwrap();
    answer.stream.next().await.unwrap().unwrap();
    answer
}

async fn rest(mut answer: belvedere::Answer) -> Result<(), &'static str> {
    while let Some(batch) = answer.stream.next().await {
        batch.map_err(|e: DataFusionError| belvedere::Error::from(e).sqlstate())?;
    }
    Ok(())
}

const MANY: &str = "SELECT g.value FROM hrsys.zstaff s, generate_series(1, 200000) g";

#[tokio::test]
async fn an_answer_ends_with_the_right_to_it() {
    let world = world().await;
    world.grant("GRANT SELECT ON hrsys.zstaff TO sales").await;
    world.grant("GRANT SELECT ON hrsys.zstaff TO bob").await;
    let before = [begun(&world.ana, MANY).await, begun(&world.bob, MANY).await];
    let prepared = world.ana.prepare(MANY).await.unwrap();
    // Once more: then its plan is one that is kept.
    let prepared_again = world.ana.prepare(MANY).await.unwrap();
    let mut executed = world.ana.execute_prepared(&prepared, &[]).await.unwrap();
    executed.stream.next().await.unwrap().unwrap();
    let mut again = world
        .ana
        .execute_prepared(&prepared_again, &[])
        .await
        .unwrap();
    again.stream.next().await.unwrap().unwrap();
    // Something else that is taken back is none of theirs.
    world.grant("GRANT SELECT ON zpeople TO ana").await;
    world.grant("REVOKE SELECT ON zpeople FROM ana").await;
    let unharmed = begun(&world.ana, MANY).await;
    assert_eq!(rest(unharmed).await, Ok(()));
    world
        .grant("REVOKE SELECT ON hrsys.zstaff FROM sales")
        .await;
    let [ana, bob] = before;
    assert_eq!(rest(ana).await, Err("42501"));
    assert_eq!(rest(executed).await, Err("42501"));
    assert_eq!(rest(again).await, Err("42501"));
    assert_eq!(rest(bob).await, Ok(()));
}

#[tokio::test]
async fn fewer_columns_are_a_right_that_is_taken_back() {
    let world = world().await;
    world
        .grant("GRANT SELECT (id, name) ON hrsys.zstaff TO bob")
        .await;
    let sql = "SELECT s.id FROM hrsys.zstaff s, generate_series(1, 200000) g";
    let before = begun(&world.bob, sql).await;
    world
        .grant("REVOKE SELECT (name) ON hrsys.zstaff FROM bob")
        .await;
    assert_eq!(rest(before).await, Err("42501"));
}

#[tokio::test]
async fn a_subscription_ends_with_the_right_to_it() {
    let world = world().await;
    world.grant("CREATE MATERIALIZED VIEW zlive WITH (refresh = 'on change', key = 'id', wait = true) AS SELECT id, name FROM hrsys.zstaff").await;
    world.grant("GRANT SELECT ON zlive TO bob").await;
    let mut answer = begun(&world.bob, "SUBSCRIBE TO zlive").await;
    world.grant("REVOKE SELECT ON zlive FROM bob").await;
    done(&world.root, "INSERT INTO hrsys.zstaff VALUES (7, 'Gil', 1)").await;
    let ended = async {
        loop {
            match answer.stream.next().await {
                Some(Ok(_)) => {}
                Some(Err(e)) => return belvedere::Error::from(e).sqlstate(),
                None => return "none",
            }
        }
    };
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), ended).await;
    assert_eq!(ended.unwrap(), "42501");
}

#[tokio::test]
async fn a_login_ends_with_what_it_was_by() {
    let world = world().await;
    world.grant("GRANT SELECT ON hrsys.zstaff TO ana").await;
    let open = begun(&world.ana, MANY).await;
    let other = world.engine.session_as("ana");
    rows(&other, "SELECT 1").await;
    // Whoever changes it goes on; who is logged in by the old one does not.
    done(&other, "ALTER USER ana PASSWORD 'another'").await;
    rows(&other, "SELECT 1").await;
    assert_eq!(refused(&world.ana, "SELECT 1").await.0, "28000");
    assert_eq!(rest(open).await, Err("28000"));
    // In a transaction, too.
    done(&other, "BEGIN").await;
    done(&other, "ALTER USER ana PASSWORD 'a third'").await;
    done(&other, "COMMIT").await;
    rows(&other, "SELECT 1").await;
    // One that is made anew is not the same.
    done(&world.root, "DROP USER ana").await;
    assert_eq!(refused(&other, "SELECT 1").await.0, "28000");
    done(&world.root, "CREATE USER ana PASSWORD 'a third'").await;
    let (state, message) = refused(&other, "SELECT 1").await;
    assert_eq!(state, "28000");
    assert!(message.contains("another user"), "{message}");
    rows(&world.engine.session_as("ana"), "SELECT 1").await;
    // What is set for a user, and that it is in a role, does not end it.
    let ana = world.engine.session_as("ana");
    done(&world.root, "ALTER USER ana SET timezone = 'UTC'").await;
    done(&world.root, "GRANT sales TO ana").await;
    rows(&ana, "SELECT 1").await;
}

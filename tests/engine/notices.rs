//! What a user is told besides the rows.

use belvedere::Session;
use insta::assert_snapshot;

use crate::fixture::Fixture;
use crate::servers::mysql;

async fn notices(session: &Session, query: &str) -> Vec<String> {
    let answer = session.execute(query).await.expect(query);
    let notices = answer.notices.clone();
    answer.collect().await.expect(query);
    notices
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_would_answer_otherwise() {
    let server = mysql::Server::start().await;
    server
        .database(
            "crm",
            &[
                "CREATE TABLE customer (id INT PRIMARY KEY,
                     name VARCHAR(40) COLLATE utf8mb4_general_ci, city VARCHAR(40) COLLATE utf8mb4_swedish_ci,
                     code VARCHAR(40) COLLATE utf8mb4_bin)",
                "INSERT INTO customer VALUES (1, 'smith', 'Bonn', 'a'), (2, 'SMITH', 'BONN', 'A')",
            ],
        )
        .await;
    let t = Fixture::empty().await;
    let url = format!("mysql://root@127.0.0.1:{}/crm", server.port);
    t.ok(&format!("CREATE SOURCE crm FROM '{url}'")).await;
    let smith = "SELECT id FROM crm.customer WHERE name = 'smith'";
    assert!(
        t.ok(&format!("SELECT count(*) AS n FROM ({smith})"))
            .await
            .contains("| 1 |")
    );

    // Once a session and column.
    let session = t.engine.session();
    let told = notices(&session, smith).await;
    assert_snapshot!(told.join("\n"), @"customer.name is compared exactly, letter by letter; crm itself compares it by utf8mb4_general_ci, which takes 'SMITH' for 'smith'. To ask for that: lower(name) = lower('…')");
    assert!(notices(&session, smith).await.is_empty());
    let other = "SELECT id FROM crm.customer c WHERE c.id > 0 AND (c.city IN ('bonn', 'x') OR c.name <> 'y')";
    assert_snapshot!(notices(&session, other).await.join("\n"), @"customer.city is compared exactly, letter by letter; crm itself compares it by utf8mb4_swedish_ci, which takes 'SMITH' for 'smith'. To ask for that: lower(city) = lower('…')");
    assert_eq!(notices(&t.engine.session(), smith).await, told);

    // What it says is so: the other answer is what the server gives by itself.
    let folded = "SELECT id FROM crm.customer WHERE lower(name) = lower('smith')";
    let found = t.ok(&format!("SELECT count(*) AS n FROM ({folded})")).await;
    assert!(found.contains("| 2 |"), "{found}");
    let own = server
        .ask(
            "crm",
            "SELECT CAST(id AS CHAR) FROM customer WHERE name = 'smith'",
        )
        .await;
    assert_eq!(own.len(), 2);

    // Nothing where there is no difference.
    let session = t.engine.session();
    for query in [
        folded,
        "SELECT id FROM crm.customer WHERE code = 'a'",
        "SELECT id FROM crm.customer WHERE name = '123'",
        "SELECT id FROM crm.customer WHERE name IS NOT NULL AND id = 1",
    ] {
        assert!(notices(&session, query).await.is_empty(), "{query}");
    }

    // Each time, to who asks how it is answered.
    let sent = t.sent(smith).await;
    assert!(sent.contains(&format!("Notice: {}", told[0])), "{sent}");
}

use futures::TryStreamExt;
use tokio_postgres::Client;

use super::support::{Server, refused, rows, said};

async fn copied(client: &Client, sql: &str) -> Vec<u8> {
    let stream = client
        .copy_out(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {}", said(&e)));
    let parts: Vec<_> = stream.try_collect().await.unwrap();
    parts.concat()
}

#[tokio::test]
async fn rows_are_copied_to_the_client() {
    let server = Server::start().await;
    let client = server.client().await;
    let text = async |sql: &str| String::from_utf8(copied(&client, sql).await).unwrap();
    assert_eq!(text("COPY mem.t TO STDOUT").await, "1\ta\n2\t\\N\n3\tc\n");
    let odd = "(VALUES ('a,b', 1.5), ('q\"x', NULL), ('', 2), ('l\n2', 3)) AS t(s, n)";
    assert_eq!(
        text(&format!(
            "COPY (SELECT * FROM {odd}) TO STDOUT WITH (FORMAT csv, HEADER)"
        ))
        .await,
        "s,n\n\"a,b\",1.5\n\"q\"\"x\",\n\"\",2\n\"l\n2\",3\n"
    );
    assert_eq!(
        text(&format!(
            "COPY (SELECT * FROM {odd}) TO STDOUT (DELIMITER '|', NULL 'none')"
        ))
        .await,
        "a,b|1.5\nq\"x|none\n|2\nl\\n2|3\n"
    );
    assert_eq!(
        text("COPY mem.t (name) TO STDOUT WITH CSV HEADER").await,
        "name\na\n\nc\n"
    );
    let quoted = "(SELECT id, name FROM mem.t)";
    for (options, expected) in [
        (
            "(FORMAT csv, FORCE_QUOTE *)",
            "\"1\",\"a\"\n\"2\",\n\"3\",\"c\"\n",
        ),
        ("(FORMAT csv, FORCE_QUOTE (name))", "1,\"a\"\n2,\n3,\"c\"\n"),
        ("CSV FORCE QUOTE name", "1,\"a\"\n2,\n3,\"c\"\n"),
    ] {
        let sql = format!("COPY {quoted} TO STDOUT {options}");
        assert_eq!(text(&sql).await, expected, "{sql}");
    }
    let binary = copied(
        &client,
        "COPY (SELECT CAST(7 AS INT) AS a) TO STDOUT (FORMAT binary)",
    )
    .await;
    let expected = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x04\0\0\0\x07\xff\xff";
    assert_eq!(binary, expected);
}

#[tokio::test]
async fn what_cannot_be_copied_is_said() {
    let server = Server::start().await;
    let client = server.client().await;
    for (sql, said) in [
        ("COPY mem.t TO STDOUT (FORMAT parquet)", "22023"),
        ("COPY mem.t TO STDOUT (DELIMITER 'ab')", "22023"),
        ("COPY mem.t TO STDOUT (QUOTE '|')", "22023"),
        ("COPY mem.t TO STDOUT (FORCE_QUOTE *)", "22023"),
        (
            "COPY mem.t TO STDOUT (FORMAT csv, FORCE_QUOTE (nothing))",
            "42703",
        ),
        ("COPY mem.t FROM STDIN", "0A000"),
        ("COPY nothing TO STDOUT", "42P01"),
        ("COPY mem.t TO 'x.csv'", "22023"),
    ] {
        assert!(refused(&client, sql).await.starts_with(said), "{sql}");
    }
    // In mid-stream: the client is told, and the connection goes on.
    let late = "COPY (SELECT 1 / (60000 - value) FROM generate_series(1, 70000)) TO STDOUT";
    let stream = client.copy_out(late).await.unwrap();
    let e = stream.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(said(&e).starts_with("22012"));
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
}

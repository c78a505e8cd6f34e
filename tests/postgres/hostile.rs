//! Messages that are cut off, lie about their length, or are larger and deeper than anybody needs: a clear error, and nobody
//! else notices.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::support::{Raw, Server, field, refused, rows};

const LIMIT: Duration = Duration::from_secs(20);

fn message(of: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[of], &length[..], body].concat()
}

fn opening(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&length[..], body].concat()
}

/// What a server says to a client that says this, and then no more: it ends the connection.
async fn told(server: &Server, says: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    // It may close before all is written.
    let _ = tcp.write_all(says).await;
    let _ = tcp.shutdown().await;
    let mut told = Vec::new();
    let ended = tokio::time::timeout(LIMIT, tcp.read_to_end(&mut told)).await;
    assert!(ended.is_ok(), "the connection stays open: {says:?}");
    told
}

async fn is_well(client: &Client) {
    assert_eq!(rows(client, "SELECT count(*) FROM mem.t").await, ["3"]);
}

/// A login with an encryption that is asked for, a simple query and an extended one with a value, as drivers send them.
fn conversation() -> Vec<u8> {
    [
        opening(b"\0\x03\0\0user\0ana\0database\0belvedere\0options\0-c timezone=UTC\0\0"),
        message(b'Q', b"SELECT id, name FROM mem.t ORDER BY id\0"),
        message(
            b'P',
            b"s\0SELECT name FROM mem.t WHERE id = $1\0\0\x01\0\0\0\x14",
        ),
        message(
            b'B',
            b"p\0s\0\0\x01\0\x01\0\x01\0\0\0\x08\0\0\0\0\0\0\0\x02\0\0",
        ),
        message(b'D', b"Pp\0"),
        message(b'E', b"p\0\0\0\0\0"),
        message(b'C', b"Pp\0"),
        message(b'S', b""),
        message(b'X', b""),
    ]
    .concat()
}

#[tokio::test]
async fn a_conversation_may_be_cut_off_anywhere() {
    let server = Server::start().await;
    let client = server.client().await;
    let whole = conversation();
    for length in 0..=whole.len() {
        told(&server, &whole[..length]).await;
    }
    is_well(&client).await;
    // One byte of it is another.
    for at in 0..whole.len() {
        let mut other = whole.clone();
        other[at] ^= 1 << (at % 8);
        told(&server, &other).await;
    }
    is_well(&client).await;
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_login_may_be_cut_off_anywhere() {
    let server = Server::start().await;
    let session = server.engine.session();
    for sql in ["CREATE USER ana PASSWORD 'geheim' SUPERUSER"] {
        session.execute(sql).await.unwrap();
    }
    let client = server.client_with("password=geheim").await;
    let first = b"n,,n=ana,r=rOprNGfwEbeRWgbNEkqO";
    let chosen = [
        b"SCRAM-SHA-256\0\0\0\0".as_slice(),
        &[first.len() as u8],
        first,
    ]
    .concat();
    let whole = [
        opening(b"\0\x03\0\0user\0ana\0\0"),
        message(b'p', &chosen),
        message(b'p', b"c=biws,r=rOprNGfwEbeRWgbNEkqO,p=AAAA"),
        message(b'Q', b"SELECT 1\0"),
    ]
    .concat();
    let let_in = |told: &[u8]| told.windows(9).any(|part| part == b"R\0\0\0\x08\0\0\0\0");
    for length in 0..=whole.len() {
        let told = told(&server, &whole[..length]).await;
        assert!(!let_in(&told), "{length}");
    }
    // Who has been there before is let in, whatever others try; from elsewhere, too.
    is_well(&client).await;
    for user in ["ana", "nobody"] {
        let error = server.try_client(&format!("user={user} password=x")).await;
        assert!(error.is_err());
    }
}

#[tokio::test]
async fn lengths_that_are_none() {
    let server = Server::start().await;
    let client = server.client().await;
    for length in [0, 1, 2, 3, 16_385, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let said = told(&server, &[&length.to_be_bytes()[..], &[0; 64]].concat()).await;
        assert!(said.is_empty(), "{length}: {said:?}");
    }
    for of in *b"QPBDECHSXdcfpy" {
        for length in [0, 1, 3, (64 << 20) + 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let mut raw = server.raw().await;
            let begun = [&[of][..], &u32::to_be_bytes(length), b"SELECT 1\0"].concat();
            raw.0.write_all(&begun).await.unwrap();
            let (types, error) = raw.until(0).await;
            let of = char::from(of);
            assert_eq!(
                (types.as_str(), error.as_deref()),
                ("E", Some("08P01")),
                "{of} {length}"
            );
        }
    }
    is_well(&client).await;
}

/// Each field that is a text, of each message.
#[tokio::test]
async fn texts_that_are_not_utf8() {
    let server = Server::start().await;
    for start in [
        &b"\0\x03\0\0user\0an\xff\0\0"[..],
        b"\0\x03\0\0us\xffer\0ana\0\0",
        b"\0\x03\0\0user\0ana\0database\0\xc3\x28\0\0",
        b"\0\x03\0\0user\0ana\0options\0-c timezone=\xed\xa0\x80\0\0",
    ] {
        let said = told(&server, &opening(start)).await;
        assert_eq!(
            field(&said[5..], b'C').as_deref(),
            Some("22021"),
            "{start:?}"
        );
    }
    let mut raw = server.raw().await;
    raw.send(b'P', b"s\0SELECT $1::text\0\0\0").await;
    raw.send(b'S', b"").await;
    assert_eq!(raw.until(b'Z').await.1, None);
    for (of, body) in [
        (b'Q', &b"SELECT '\xf0\x28\x8c\xbc'\0"[..]),
        (b'P', b"\xff\0SELECT 1\0\0\0"),
        (b'P', b"\0SELECT \xff\0\0\0"),
        (b'B', b"\xff\0s\0\0\0\0\0\0\0"),
        (b'B', b"\0\xff\0\0\0\0\0\0\0"),
        (b'B', b"\0s\0\0\0\0\x01\0\0\0\x02\xc0\x80\0\0"),
        (b'B', b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x02\xc0\x80\0\0"),
        (b'D', b"S\xff\0"),
        (b'D', b"P\xff\0"),
        (b'C', b"S\xff\0"),
        (b'E', b"\xff\0\0\0\0\0"),
    ] {
        raw.send(of, body).await;
        if of != b'Q' {
            raw.send(b'S', b"").await;
        }
        let (_, error) = raw.until(b'Z').await;
        assert_eq!(
            error.as_deref(),
            Some("22021"),
            "{} {body:?}",
            char::from(of)
        );
    }
    raw.send(b'Q', b"SELECT 1\0").await;
    assert_eq!(raw.until(b'Z').await, ("TDCZ".to_string(), None));
}

/// Of each type, values of each length: they are that type's, or refused.
#[tokio::test]
async fn binary_values_of_wrong_lengths() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    const TYPES: &[u32] = &[
        16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184,
        1186, 1700, 2950, // And of lists.
        1000, 1005, 1007, 1009, 1016, 1021, 1022, 1231,
    ];
    let (mut taken, mut kept_out) = (0, 0);
    for oid in TYPES {
        let parse = [&b"\0SELECT $1 AS a\0\0\x01"[..], &oid.to_be_bytes()].concat();
        for length in [
            0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 20, 24, 100, 1000u32,
        ] {
            for fill in [0, 1, 0x7f, 0xff] {
                raw.send(b'P', &parse).await;
                let value = vec![fill; length as usize];
                let bind = [
                    &b"\0\0\0\x01\0\x01\0\x01"[..],
                    &length.to_be_bytes(),
                    &value,
                    b"\0\x01\0\x01",
                ]
                .concat();
                raw.send(b'B', &bind).await;
                raw.send(b'E', b"\0\0\0\0\0").await;
                raw.send(b'S', b"").await;
                let (types, error) = raw.until(b'Z').await;
                match error.as_deref() {
                    None => taken += 1,
                    // No such type here.
                    Some("42704" | "0A000") => {}
                    Some("22P03" | "22P02" | "22021" | "22003" | "22008") => kept_out += 1,
                    Some(other) => panic!("{oid}: {length} × {fill}: {other} ({types})"),
                }
            }
        }
    }
    assert!(taken > 100 && kept_out > 500, "{taken} {kept_out}");
    raw.send(b'Q', b"SELECT 1\0").await;
    assert_eq!(raw.until(b'Z').await, ("TDCZ".to_string(), None));
}

/// A value's length is more than there is, or less than nothing; there are more values, types and formats than are said.
#[tokio::test]
async fn counts_that_are_not_true() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let one = |length: &[u8]| [b"\0\0\0\0\0\x01", length, b"x\0\0"].concat();
    let many = |count: u16| {
        let values = b"\xff\xff\xff\xff".repeat(count.into());
        [b"\0\0\0\0", &count.to_be_bytes()[..], &values, b"\0\0"].concat()
    };
    for (of, body) in [
        (b'B', one(b"\0\0\0\xff")),
        (b'B', one(b"\x7f\xff\xff\xff")),
        (b'B', one(b"\x80\0\0\0")),
        (b'B', one(b"\xff\xff\xff\xfe")),
        (b'B', b"\0\0\xff\xff\0\0\0\0".to_vec()),
        (b'B', b"\0\0\0\0\xff\xff\0\0".to_vec()),
        (b'B', b"\0\0\0\0\0\0\xff\xff".to_vec()),
        (b'B', many(2)),
        (b'B', many(u16::MAX)),
        (b'P', b"\0SELECT 1\0\xff\xff".to_vec()),
        (b'E', b"\0\0\0".to_vec()),
    ] {
        raw.send(b'P', b"\0SELECT $1::int\0\0\0").await;
        raw.send(of, &body).await;
        raw.send(b'S', b"").await;
        let (_, error) = raw.until(b'Z').await;
        let shown = &body[..body.len().min(20)];
        assert_eq!(
            error.as_deref(),
            Some("08P01"),
            "{} {shown:?}",
            char::from(of)
        );
    }
    // A parameter that no message could have a value of.
    for parameter in ["$0", "$65536", "$99999999999999999999"] {
        let sql = [b"\0SELECT ", parameter.as_bytes(), b"::int\0\0\0"].concat();
        raw.send(b'P', &sql).await;
        raw.send(b'S', b"").await;
        let (_, error) = raw.until(b'Z').await;
        let error = error.unwrap_or_else(|| panic!("{parameter} is taken"));
        assert!(
            error.starts_with("42") || error.starts_with("54"),
            "{parameter}: {error}"
        );
    }
}

#[tokio::test]
async fn what_is_deep_is_refused() {
    let server = Server::start().await;
    let (client, other) = (server.client().await, server.client().await);
    let nested = |open: &str, middle: &str, close: &str| {
        format!("{}{middle}{}", open.repeat(10_000), close.repeat(10_000))
    };
    for sql in [
        format!("SELECT {}", nested("(", "1", ")")),
        format!("SELECT {}", nested("CASE WHEN true THEN ", "1", " END")),
        format!("SELECT {}", nested("(SELECT ", "1", ")")),
        format!("SELECT {}", nested("ARRAY[", "1", "]")),
        format!("SELECT {}", nested("abs(", "1", ")")),
        format!("SELECT {}1", "- ".repeat(10_000)),
        format!(
            "SELECT * FROM {}",
            nested("(SELECT * FROM ", "mem.t", ") x")
        ),
        format!("SELECT 1{}", " + 1".repeat(10_000)),
        format!("SELECT 1 {}", " UNION SELECT 1".repeat(10_000)),
    ] {
        let said = refused(&client, &sql).await;
        assert!(said.starts_with("54"), "{}: {said}", &sql[..60]);
        is_well(&other).await;
    }
    // A value may be as deep as it likes: it is a text.
    let deep = nested("[", "", "]");
    let row = client.query_one("SELECT length($1::text)", &[&deep]).await;
    row.unwrap();
    is_well(&client).await;
}

/// More rows than anybody could keep: the server keeps what is on its way, and its other clients do not notice.
#[tokio::test]
async fn a_client_that_does_not_read_waits_alone() {
    let server = Server::start().await;
    let watcher = server.client().await;
    let mut slow = server.raw().await;
    let sql = b"SELECT value, repeat('x', 10000) FROM generate_series(1, 100000000)\0";
    slow.send(b'Q', sql).await;
    let mut some = [0; 100];
    slow.0.read_exact(&mut some).await.unwrap();
    let taken =
        "SELECT rows FROM system.queries WHERE sql LIKE '%100000000%' AND sql NOT LIKE '%system%'";
    let mut before = rows(&watcher, taken).await;
    let stands = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = rows(&watcher, taken).await;
            if now == before {
                break;
            }
            before = now;
        }
    };
    let stood = tokio::time::timeout(LIMIT, stands).await;
    assert!(stood.is_ok(), "it goes on though nobody reads");
    is_well(&watcher).await;
}

/// Of which an SQL printer that guesses makes another statement: where types are told, a statement is printed and read again.
#[tokio::test]
async fn a_text_ends_where_it_ends() {
    let server = Server::start().await;
    let client = server.client().await;
    let attack = r"\' OR 1 = 1 --";
    let literal = format!("'{}'", attack.replace('\'', "''"));
    for column in ["name", "CAST(id AS TEXT)"] {
        let sql = format!("SELECT id FROM mem.t WHERE {column} = {literal} OR id = $1");
        for declared in [&[Type::INT8][..], &[Type::INT4], &[Type::INT2], &[]] {
            let statement = client.prepare_typed(&sql, declared).await.unwrap();
            let number: &(dyn ToSql + Sync) = match *statement.params().first().unwrap() {
                Type::INT8 => &7i64,
                Type::INT4 => &7i32,
                Type::INT2 => &7i16,
                _ => &"7",
            };
            let found = client.query(&statement, &[number]).await.unwrap();
            assert!(found.is_empty(), "{sql}: {} rows", found.len());
        }
    }
    let prepare = format!("PREPARE p AS SELECT id FROM mem.t WHERE name = {literal}; EXECUTE p");
    assert!(rows(&client, &prepare).await.is_empty());
    let view = format!("CREATE VIEW v (n) AS SELECT id FROM mem.t WHERE name = {literal}");
    client.batch_execute(&view).await.unwrap();
    assert!(rows(&client, "SELECT * FROM v").await.is_empty());
    let named = format!("SELECT {literal} AS t, $1::int + 0 AS n");
    let row = client.query_one(&named, &[&1i32]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), attack);
}

/// What is prepared, and what is bound, is bounded by what it has, too.
#[tokio::test]
async fn statements_and_values_are_weighed() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let text = format!("SELECT '{}'", "x".repeat(3 << 20));
    let mut refused = None;
    for n in 0..40 {
        raw.send(b'P', format!("s{n}\0{text}\0\0\0").as_bytes())
            .await;
        raw.send(b'S', b"").await;
        if let (_, Some(error)) = raw.until(b'Z').await {
            refused = Some((n, error));
            break;
        }
    }
    assert_eq!(refused, Some((21, "54000".to_string())));
    raw.send(b'C', b"Ss0\0").await;
    raw.send(b'P', b"v\0SELECT length($1::text)\0\0\0").await;
    raw.send(b'S', b"").await;
    assert_eq!(raw.until(b'Z').await.1, None);
    let value = vec![b'x'; 3 << 20];
    let bind = |portal: &str| {
        let length = (value.len() as u32).to_be_bytes();
        let head = format!("{portal}\0v\0\0\0\0\x01");
        [head.as_bytes(), &length, &value, b"\0\0"].concat()
    };
    // One in the place of another is weighed alone.
    for portals in [&["", "", ""][..], &["p", "q"]] {
        for portal in portals {
            raw.send(b'B', &bind(portal)).await;
        }
        raw.send(b'S', b"").await;
        let expected = (portals.len() == 2).then_some("54000");
        assert_eq!(raw.until(b'Z').await.1.as_deref(), expected);
    }
    raw.send(b'Q', b"SELECT 1\0").await;
    assert_eq!(raw.until(b'Z').await, ("TDCZ".to_string(), None));
}

/// Who says nothing takes no place of those who have logged in, and of those who are about to few.
#[tokio::test]
async fn strangers_make_room_first() {
    let server = Server::with(belvedere::serve::ServeOptions {
        max_connections: 40,
        ..Default::default()
    })
    .await;
    let session = server.engine.session();
    let define = session.execute("CREATE USER ana PASSWORD 'geheim' SUPERUSER");
    define.await.unwrap();
    let mut here = Vec::new();
    for _ in 0..20 {
        here.push(server.client_with("password=geheim").await);
    }
    let mut strangers = Vec::new();
    for _ in 0..400 {
        strangers.push(TcpStream::connect(server.address).await.unwrap());
    }
    for client in &here {
        is_well(client).await;
    }
    is_well(&server.client_with("password=geheim").await).await;
    // Asking for encryption again and again is no way to stay.
    let mut raw = Raw(TcpStream::connect(server.address).await.unwrap());
    for _ in 0..3 {
        let _ = raw.0.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await;
    }
    assert_eq!(raw.0.read_u8().await.unwrap(), b'N');
    assert_eq!(raw.until(0).await.1.as_deref(), Some("08P01"));
}

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use belvedere_connector::{
    Capture, Captured, ChangeStream, Code, Connector, Error, Kind, Limits, Position, Source,
    SourceConfig, Table, TableRef,
};
use belvedere_postgres::PostgresConnector;

use crate::applied::Applied;
use crate::fixture::{Database, connect, read, scan_of, table};
use crate::server::Server;

/// Longer than the interval in which what the log does not tell is looked after.
const SOON: Duration = Duration::from_secs(20);

/// A source of a name of its own: slots are a whole server's.
async fn open(database: &Database, user: &str, options: &[(&str, &str)]) -> Arc<dyn Source> {
    let options = options.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    let config = SourceConfig {
        name: database.name.clone(),
        url: format!(
            "postgres://{user}@127.0.0.1:{}/{}",
            database.server.port, database.name
        ),
        options: options.collect::<BTreeMap<_, _>>(),
        limits: Limits::default(),
    };
    PostgresConnector.open(config).unwrap()
}

async fn captured(source: &Arc<dyn Source>, names: &[&str]) -> Vec<Captured> {
    let tables = source.discover().await.unwrap();
    let wanted = |name: &&str| {
        let table: &Table = tables.iter().find(|table| table.name == **name).unwrap();
        Captured {
            table: TableRef {
                schema: table.schema.clone(),
                name: table.name.clone(),
            },
            schema: table.arrow_schema(),
        }
    };
    names.iter().map(wanted).collect()
}

/// A snapshot, and the stream from it.
struct Following {
    source: Arc<dyn Source>,
    tables: Vec<Captured>,
    stream: Box<dyn ChangeStream>,
    applied: Applied,
}

impl Following {
    async fn new(source: Arc<dyn Source>, names: &[&str]) -> Self {
        let tables = captured(&source, names).await;
        let mut applied = Applied::default();
        let from = applied.copy(source.as_ref(), &tables).await.unwrap();
        let stream = source.changes(&from, &tables).await.unwrap();
        Self {
            source,
            tables,
            stream,
            applied,
        }
    }

    /// Take all there is. In good time, also where nothing is written any more.
    async fn catch_up(&mut self) {
        let to = self.source.position().await.unwrap();
        self.until(&to).await;
    }

    async fn until(&mut self, to: &Position) {
        let until = self.applied.until(self.stream.as_mut(), to);
        let until = tokio::time::timeout(SOON, until).await;
        until.expect("it comes to where the source is").unwrap();
    }

    /// Take what comes until a table has ended.
    async fn ended(&mut self, table: &str) -> Error {
        let ends = async {
            while !self.applied.ended.contains_key(table) {
                let transaction = self.stream.next().await.unwrap();
                self.applied.take(transaction);
            }
        };
        tokio::time::timeout(SOON, ends).await.expect("it ends");
        self.applied.ended[table].clone()
    }

    /// What it has of a table is what the source has.
    async fn check(&self, table: &str) {
        let captured = self.tables.iter().find(|t| t.table.name == table).unwrap();
        let mut now = Applied::default();
        // A second source would need a slot; a snapshot of this one is a scan in a transaction.
        now.copy(self.source.as_ref(), std::slice::from_ref(captured))
            .await
            .unwrap();
        assert_eq!(self.applied.sorted(table), now.sorted(table), "{table}");
    }

    async fn reopen(&mut self) {
        let from = self.applied.position.clone().unwrap();
        self.applied.broken();
        self.stream = self.source.changes(&from, &self.tables).await.unwrap();
    }
}

async fn following(name: &str, setup: &str, tables: &[&str]) -> (Database, Following) {
    let database = Database::new(name).await;
    database.run(setup).await;
    let source = open(&database, "postgres", &[]).await;
    let following = Following::new(source, tables).await;
    (database, following)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_keyed_table() {
    let setup = "CREATE TABLE t (id int PRIMARY KEY, v text, n numeric(10,2));
        INSERT INTO t SELECT i, 'v' || i, i FROM generate_series(1, 100) i";
    let (database, mut following) = following("keyed", setup, &["t"]).await;
    assert_eq!(following.applied.sorted("t").len(), 100);
    assert_eq!(
        following.source.identity(&following.tables[0].table),
        Some(vec!["id".to_string()])
    );
    database.run("INSERT INTO t VALUES (101, NULL, 1.5); UPDATE t SET v = 'x' WHERE id = 7; DELETE FROM t WHERE id = 8").await;
    database
        .run(
            "BEGIN; UPDATE t SET id = 1000 WHERE id = 9; UPDATE t SET id = 9 WHERE id = 10; COMMIT",
        )
        .await;
    database.run("BEGIN; DELETE FROM t; ROLLBACK").await;
    following.catch_up().await;
    following.check("t").await;
    assert_eq!(
        following.applied.transactions, 2,
        "what comes in one message is one"
    );
    database
        .run("BEGIN; TRUNCATE t; INSERT INTO t VALUES (1, 'new', 0); COMMIT")
        .await;
    following.catch_up().await;
    following.check("t").await;
    assert_eq!(following.applied.sorted("t").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_source_is_passed() {
    let (database, mut following) =
        following("idle", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    for what in [
        "CREATE TABLE other (n int); INSERT INTO other VALUES (1)",
        "SELECT 1",
        "SET synchronous_commit = off; INSERT INTO other VALUES (2)",
        "BEGIN; INSERT INTO other VALUES (3); ROLLBACK",
        "SELECT pg_switch_wal()",
    ] {
        database.run(what).await;
        let started = std::time::Instant::now();
        following.catch_up().await;
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{what}: {:?}",
            started.elapsed()
        );
    }
    // A transaction that stays open has written, and nobody has it on disk.
    let other = connect(database.server.port, &database.name).await;
    other
        .batch_execute("BEGIN; INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let started = std::time::Instant::now();
    following.catch_up().await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    assert!(following.applied.sorted("t").is_empty());
    other.batch_execute("COMMIT").await.unwrap();
    following.catch_up().await;
    assert_eq!(following.applied.sorted("t"), [["1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_forgotten_and_no_more() {
    let (database, mut following) =
        following("ack", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let confirmed = async |database: &Database| -> u64 {
        let sql = format!(
            "SELECT (confirmed_flush_lsn - '0/0')::text FROM pg_replication_slots WHERE slot_name = 'belvedere_{}'",
            database.name
        );
        database
            .client
            .query_one(&sql, &[])
            .await
            .unwrap()
            .get::<_, String>(0)
            .parse()
            .unwrap()
    };
    let lsn = |position: &Position| u64::from_be_bytes(position.place().try_into().unwrap());
    let began = confirmed(&database).await;
    database.run("INSERT INTO t VALUES (1)").await;
    following.catch_up().await;
    let first = following.applied.position.clone().unwrap();
    database.run("INSERT INTO t VALUES (2)").await;
    following.catch_up().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        confirmed(&database).await,
        began,
        "nothing was acknowledged"
    );
    following.stream.acknowledge(&first).await.unwrap();
    let moved = async {
        while confirmed(&database).await == began {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, moved)
        .await
        .expect("it is reported");
    assert_eq!(confirmed(&database).await, lsn(&first));
    // Another stream from further on says no more than that.
    following.reopen().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(confirmed(&database).await, lsn(&first));
    // And from before it there is none.
    let early = Position::new(first.timeline(), began.to_be_bytes());
    let refused = following.source.changes(&early, &following.tables).await;
    assert_eq!(refused.err().unwrap().code, Code::LogTruncated);
    let far = Position::new(first.timeline(), (lsn(&first) + (1 << 40)).to_be_bytes());
    let refused = following.source.changes(&far, &following.tables).await;
    assert_eq!(refused.err().unwrap().code, Code::LogRewound);
    let other = Position::new(b"another system".to_vec(), first.place());
    let refused = following.source.changes(&other, &following.tables).await;
    assert_eq!(refused.err().unwrap().code, Code::LogRewound);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_identity() {
    let setup = "
        CREATE TABLE whole (a int, b text); ALTER TABLE whole REPLICA IDENTITY FULL;
        CREATE TABLE by_index (a int PRIMARY KEY, b text NOT NULL UNIQUE, c int);
        ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_b_key;
        CREATE TABLE none (a int);
        CREATE TABLE nothing (a int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
        CREATE UNLOGGED TABLE unlogged (a int PRIMARY KEY);
        CREATE TABLE parent (a int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);
        CREATE VIEW v AS SELECT 1 AS a;
        INSERT INTO whole VALUES (1, 'x'), (1, 'x'), (2, NULL)";
    let (database, mut following) = following("identity", setup, &["whole", "by_index"]).await;
    let identity =
        |following: &Following, i: usize| following.source.identity(&following.tables[i].table);
    assert_eq!(identity(&following, 0), None);
    assert_eq!(identity(&following, 1), Some(vec!["b".to_string()]));
    database.run("UPDATE whole SET b = 'y' WHERE a = 2; DELETE FROM whole WHERE ctid IN (SELECT ctid FROM whole WHERE a = 1 LIMIT 1)").await;
    database.run("INSERT INTO by_index VALUES (1, 'one', 1), (2, 'two', 2); UPDATE by_index SET a = 10 WHERE a = 1; UPDATE by_index SET b = 'zwei' WHERE a = 2").await;
    following.catch_up().await;
    following.check("whole").await;
    following.check("by_index").await;
    for (table, says) in [
        ("none", "ALTER TABLE public.\"none\" REPLICA IDENTITY FULL"),
        (
            "nothing",
            "ALTER TABLE public.nothing REPLICA IDENTITY FULL",
        ),
        ("unlogged", "SET LOGGED"),
        ("parent", "inherit"),
        ("v", "only tables"),
    ] {
        let tables = captured(&following.source, &[table]).await;
        let error = following.source.snapshot(&tables).await.err().unwrap();
        assert_eq!(
            (error.code, error.kind()),
            (Code::NoChangeCapture, Kind::Definite),
            "{table}"
        );
        assert_eq!(error.table.as_deref(), Some(table));
        assert!(error.to_string().contains(says), "{error}");
        // It was not published: the server lets everybody go on.
        let changed = database
            .client
            .batch_execute(&format!("UPDATE {table} SET a = a"))
            .await;
        assert!(changed.is_ok() || table == "v", "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_that_are_as_they_were() {
    let setup = "
        CREATE TABLE t (id int PRIMARY KEY, n int, a text NOT NULL, b bytea, c jsonb, d text[], r int4range[]);
        ALTER TABLE t ALTER a SET STORAGE EXTERNAL; ALTER TABLE t ALTER b SET STORAGE EXTERNAL;
        ALTER TABLE t ALTER c SET STORAGE EXTERNAL; ALTER TABLE t ALTER d SET STORAGE EXTERNAL;
        ALTER TABLE t ALTER r SET STORAGE EXTERNAL;
        CREATE TABLE whole (id int, a text); ALTER TABLE whole ALTER a SET STORAGE EXTERNAL;
        ALTER TABLE whole REPLICA IDENTITY FULL;
        CREATE TABLE wide_key (k text PRIMARY KEY, n int); ALTER TABLE wide_key ALTER k SET STORAGE EXTERNAL;
        INSERT INTO t SELECT i, 0, repeat('a' || i, 5000), decode(repeat('ff00', 3000), 'hex'),
          to_jsonb(repeat('j' || i, 4000)), ARRAY[repeat('x', 4000), NULL],
          (SELECT array_agg(int4range(k, k + 2)) FROM generate_series(1, 500) k) FROM generate_series(1, 5) i;
        INSERT INTO whole SELECT i, repeat('w' || i, 5000) FROM generate_series(1, 5) i;
        INSERT INTO wide_key SELECT repeat('k' || i, 1000), i FROM generate_series(1, 3) i";
    let (database, mut following) = following("toast", setup, &["t", "whole", "wide_key"]).await;
    for sql in [
        "UPDATE t SET n = n + 1",
        "UPDATE t SET n = n + 1, b = NULL WHERE id = 1; UPDATE t SET n = n + 1 WHERE id = 1",
        "BEGIN; UPDATE t SET id = 100 WHERE id = 2; UPDATE t SET n = 7 WHERE id = 100; UPDATE t SET c = '1' WHERE id = 100; COMMIT",
        "UPDATE t SET a = repeat('neu', 3000) WHERE id = 3; UPDATE t SET n = 9 WHERE id = 3",
        "UPDATE whole SET id = id + 10",
        "UPDATE wide_key SET n = n + 1",
    ] {
        database.run(sql).await;
    }
    following.catch_up().await;
    for table in ["t", "whole", "wide_key"] {
        following.check(table).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_without_a_counterpart_are_the_servers_text() {
    let setup = "
        CREATE TYPE mood AS ENUM ('ok', 'so la la');
        CREATE TYPE pair AS (a int, b text);
        CREATE DOMAIN positive AS int CHECK (value > 0);
        CREATE TABLE t (id int PRIMARY KEY, mood mood, moods mood[], p pair, money money, i inet, c cidr, m macaddr,
          r int4range, tz timetz, x xml, bits bit varying(9), ts tsvector, d positive, ds positive[], ch char(4),
          \"char\" \"char\", o oid, n numeric, num numeric(50,2), u uuid, us uuid[], j json, iv interval, big numeric(1000,3),
          point point, dec text, nul date, nm name, l int[], reg regclass);
        INSERT INTO t (id) VALUES (0)";
    let database = Database::new("natives").await;
    database.run(setup).await;
    let values = "'so la la', '{ok,NULL}', '(1,\"a b\")', 12.5, '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03',
          '[1,5)', '12:00+02', '<a>x</a>', '101', 'a:1 b:2', 7, '{1,2}', 'ab', 'z', 4294967295, 1.5, 123456789012345678901234567890.12,
          'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}', '{\"a\": 1}', '1 day 2 s', 12345.678,
          '(1,2)', 'as text', 'infinity', 'name', '{1,NULL}', 'pg_class'";
    let insert = |id: i32| format!("INSERT INTO t VALUES ({id}, {values})");
    database.run(&insert(1)).await;
    let options = [(
        "columns",
        "t.money: decimal(12,2); t.nul: null; t.id: text; t.n: text",
    )];
    let source = open(&database, "postgres", &options).await;
    let mut following = Following::new(source, &["t"]).await;
    database.run(&insert(2)).await;
    let updated =
        "UPDATE t SET mood = 'ok', i = '::1/64', money = -1, nul = '2020-02-02' WHERE id = 0";
    database.run(updated).await;
    following.catch_up().await;
    following.check("t").await;
    let rows = following.applied.sorted("t");
    assert_eq!(
        rows[1][1..],
        rows[2][1..],
        "by a copy and by the log: {rows:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_their_table() {
    let setup = "
        CREATE TABLE t (id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE TABLE t2 (v text, at date NOT NULL, id int NOT NULL, PRIMARY KEY (id, at));
        ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
        INSERT INTO t VALUES (1, '2024-05-05', 'a'), (2, '2025-05-05', 'b')";
    let (database, mut following) = following("partitions", setup, &["t"]).await;
    database.run("UPDATE t SET v = 'x'; UPDATE t SET at = '2025-06-06' WHERE id = 1; INSERT INTO t2 VALUES ('c', '2025-01-01', 3)").await;
    database.run("CREATE TABLE t3 PARTITION OF t DEFAULT; INSERT INTO t VALUES (4, '2030-01-01', 'd'); DELETE FROM t WHERE id = 2").await;
    following.catch_up().await;
    following.check("t").await;
    database
        .run("TRUNCATE t; INSERT INTO t VALUES (5, '2024-01-01', 'e')")
        .await;
    following.catch_up().await;
    following.check("t").await;
    database.run("ALTER TABLE t DETACH PARTITION t1").await;
    let why = following.ended("t").await;
    assert_eq!(why.code, Code::SchemaChanged, "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_ends_the_table_it_touches() {
    let tables = [
        "added",
        "dropped",
        "renamed",
        "retyped",
        "gone",
        "moved",
        "unpublished",
        "infinite",
    ];
    let setup: String = tables
        .iter()
        .map(|t| format!("CREATE TABLE {t} (id int PRIMARY KEY, v date); INSERT INTO {t} VALUES (1, '2020-01-01');"))
        .collect();
    let (database, mut following) = following("drift", &setup, &tables).await;
    for sql in [
        "ALTER TABLE added ADD more int DEFAULT 5; INSERT INTO added VALUES (2, NULL, 6)",
        "INSERT INTO dropped VALUES (2); ALTER TABLE dropped DROP v; INSERT INTO dropped VALUES (3)",
        "ALTER TABLE renamed RENAME v TO w; INSERT INTO renamed VALUES (3)",
        "ALTER TABLE retyped ALTER v TYPE text; INSERT INTO retyped VALUES (3)",
        "DROP TABLE gone",
        "ALTER TABLE moved RENAME TO elsewhere; INSERT INTO elsewhere VALUES (3)",
        "INSERT INTO infinite VALUES (2, 'infinity')",
    ] {
        database.run(sql).await;
    }
    let alter = format!(
        "ALTER PUBLICATION belvedere_{} DROP TABLE unpublished",
        database.name
    );
    database.run(&alter).await;
    for (table, code) in [
        ("dropped", Code::SchemaChanged),
        ("renamed", Code::SchemaChanged),
        ("retyped", Code::SchemaChanged),
        ("infinite", Code::ValueOutOfRange),
        ("moved", Code::TableMissing),
        ("gone", Code::TableMissing),
        ("unpublished", Code::NoChangeCapture),
    ] {
        let why = following.ended(table).await;
        assert_eq!(
            (why.code, why.table.as_deref()),
            (code, Some(table)),
            "{why}"
        );
        assert_eq!(why.source_name.as_deref(), Some(database.name.as_str()));
    }
    following.catch_up().await;
    assert_eq!(
        following.applied.sorted("added"),
        [["1", "2020-01-01"], ["2", "∅"]]
    );
    assert_eq!(
        following.applied.ended.len(),
        7,
        "{:?}",
        following.applied.ended
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_comes_in_pieces() {
    let (database, mut following) = following(
        "large",
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        &["t"],
    )
    .await;
    database
        .run("INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 50000) i")
        .await;
    database
        .run("UPDATE t SET v = 'w' || id WHERE id % 100 = 0")
        .await;
    following.catch_up().await;
    assert!(
        following.applied.most_pieces > 5,
        "{}",
        following.applied.most_pieces
    );
    assert_eq!(following.applied.transactions, 2);
    following.check("t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_in_mid_piece_loses_nothing() {
    let (database, mut following) = following(
        "cancel",
        "CREATE TABLE t (id int PRIMARY KEY, m int4range)",
        &["t"],
    )
    .await;
    database
        .run("INSERT INTO t SELECT i, int4range(i, i + 1) FROM generate_series(1, 3000) i")
        .await;
    let to = following.source.position().await.unwrap();
    for i in 0.. {
        assert!(i < 100_000, "it comes to an end");
        let wait = tokio::time::timeout(Duration::from_micros(300), following.stream.next());
        if let Ok(transaction) = wait.await {
            following.applied.take(transaction.unwrap());
        }
        if following
            .applied
            .position
            .as_ref()
            .is_some_and(|at| *at >= to)
        {
            break;
        }
    }
    following.check("t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_goes_on() {
    let (database, mut following) =
        following("cut", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    for i in 1..4 {
        database.run(&format!("INSERT INTO t VALUES ({i})")).await;
        let cut = format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'belvedere_{}'",
            database.name
        );
        database.run(&cut).await;
        let error = loop {
            match following.stream.next().await {
                Ok(transaction) => following.applied.take(transaction),
                Err(e) => break e,
            }
        };
        assert_eq!(
            (error.code, error.kind()),
            (Code::Unreachable, Kind::Transient),
            "{error}"
        );
        assert!(
            following.stream.next().await.is_err(),
            "a stream is of no use after an error"
        );
        following.reopen().await;
    }
    following.catch_up().await;
    following.check("t").await;
    // Another stream ends the one before, and whoever else reads is named.
    let from = following.applied.position.clone().unwrap();
    let second = following
        .source
        .changes(&from, &following.tables)
        .await
        .unwrap();
    let ended = tokio::time::timeout(SOON, following.stream.next())
        .await
        .expect("it ends");
    assert!(ended.is_err());
    let other = open(&database, "postgres", &[]).await;
    let refused = other.changes(&from, &following.tables).await.err().unwrap();
    assert_eq!(refused.code, Code::Busy);
    assert!(refused.to_string().contains("process"), "{refused}");
    drop(second);
    other.changes(&from, &following.tables).await.unwrap();
}

/// However long queries take, and however many wait for the connections: where the log stands is told, and read on from there.
#[tokio::test(flavor = "multi_thread")]
async fn queries_keep_nothing_that_follows_waiting() {
    let database = Database::new("beside").await;
    database
        .run("CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW slow AS SELECT 1::int8 AS id FROM pg_sleep(600)")
        .await;
    let source = open(&database, "postgres", &[("max_connections", "1")]).await;
    let mut following = Following::new(source.clone(), &["t"]).await;
    let tables = source.discover().await.unwrap();
    let slow = scan_of(table(&tables, "slow"));
    let held = tokio::spawn({
        let source = source.clone();
        async move { read(&source, slow).await }
    });
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let runs = async {
        while database
            .client
            .query_one(running, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, runs)
        .await
        .expect("it is at work");
    for id in 1..4 {
        database.run(&format!("INSERT INTO t VALUES ({id})")).await;
        let caught_up = tokio::time::timeout(SOON, following.catch_up()).await;
        caught_up.expect("nobody waits for the query");
        let reopened = tokio::time::timeout(SOON, following.reopen()).await;
        reopened.expect("nobody waits for the query");
    }
    held.abort();
    following.check("t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_gone_is_truncation_and_made_anew() {
    let (database, mut following) =
        following("lost", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let slot = format!("belvedere_{}", database.name);
    drop(following.stream);
    let drop_slot = format!("SELECT pg_drop_replication_slot('{slot}')");
    while database.client.batch_execute(&drop_slot).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    database.run("INSERT INTO t VALUES (1)").await;
    let from = following.applied.position.clone().unwrap();
    let error = following
        .source
        .changes(&from, &following.tables)
        .await
        .err()
        .unwrap();
    assert_eq!(error.code, Code::LogTruncated);
    following = Following::new(following.source, &["t"]).await;
    assert_eq!(following.applied.sorted("t"), [["1"]]);
    // A table that left the publication while it was followed has lost changes.
    database
        .run(&format!("ALTER PUBLICATION {slot} DROP TABLE t"))
        .await;
    let from = following.applied.position.clone().unwrap();
    let error = following
        .source
        .changes(&from, &following.tables)
        .await
        .err()
        .unwrap();
    assert_eq!(error.code, Code::LogTruncated);
    // What was made is removed, and can be again.
    following.source.release().await.unwrap();
    let left = "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1)";
    let left: i64 = database
        .client
        .query_one(left, &[&slot])
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
    following.source.release().await.unwrap();
    let again = Following::new(following.source, &["t"]).await;
    assert_eq!(again.applied.sorted("t"), [["1"]]);
    again.source.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_named() {
    let database = Database::on(Arc::new(Server::private()), "open", "").await;
    database.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let other = connect(database.server.port, &database.name).await;
    other
        .batch_execute("BEGIN; INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let pid: i32 = other
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let source = open(&database, "postgres", &[]).await;
    let tables = captured(&source, &["t"]).await;
    let error = source.snapshot(&tables).await.err().unwrap();
    assert_eq!(error.code, Code::Busy);
    assert!(
        error.to_string().contains(&format!("process {pid}")),
        "{error}"
    );
    other.batch_execute("COMMIT").await.unwrap();
    let following = Following::new(source, &["t"]).await;
    assert_eq!(following.applied.sorted("t"), [["1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_and_readiness() {
    let database = Database::on(Arc::new(Server::private()), "rights", "").await;
    database.run("CREATE ROLE reader LOGIN; CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO reader").await;
    let source = open(&database, "reader", &[]).await;
    let tables = captured(&source, &["t"]).await;
    let Capture::None(why) = source.capture() else {
        panic!("{:?}", source.capture());
    };
    assert!(why.contains("ALTER ROLE \"reader\" REPLICATION"), "{why}");
    database.run("ALTER ROLE reader REPLICATION").await;
    source.discover().await.unwrap();
    assert_eq!(source.capture(), Capture::Transactional);
    // It may not publish: the owner does it for it.
    let error = source.snapshot(&tables).await.err().unwrap();
    assert_eq!(error.code, Code::PermissionDenied, "{error}");
    let statement = error.help.clone().unwrap();
    let (_, statements) = statement.split_once(": ").unwrap();
    database.run(statements).await;
    let mut following = Following::new(source, &["t"]).await;
    database.run("INSERT INTO t VALUES (1)").await;
    following.catch_up().await;
    assert_eq!(following.applied.sorted("t"), [["1"]]);
    following.source.release().await.unwrap();
    let left = "SELECT count(*) FROM pg_publication";
    let left: i64 = database.client.query_one(left, &[]).await.unwrap().get(0);
    assert_eq!(left, 1, "it was made by another");

    // Given, and checked.
    let options = [("slot", "given"), ("publication", "Given One")];
    let source = open(&database, "reader", &options).await;
    let tables = captured(&source, &["t"]).await;
    for (says, then) in [
        (
            "CREATE PUBLICATION \"Given One\"",
            "CREATE PUBLICATION \"Given One\" FOR TABLE t WHERE (id > 0) WITH (publish = 'insert')",
        ),
        (
            "SET (publish = ",
            "ALTER PUBLICATION \"Given One\" SET (publish = 'insert, update, delete, truncate')",
        ),
        ("DROP TABLE", "ALTER PUBLICATION \"Given One\" SET TABLE t"),
        (
            "pg_create_logical_replication_slot('given'",
            "SELECT pg_create_logical_replication_slot('given', 'pgoutput')",
        ),
    ] {
        let error = source.snapshot(&tables).await.err().unwrap();
        assert_eq!(error.code, Code::NoChangeCapture, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        database.run(then).await;
    }
    let mut following = Following::new(source, &["t"]).await;
    database.run("INSERT INTO t VALUES (2)").await;
    following.catch_up().await;
    assert_eq!(following.applied.sorted("t"), [["1"], ["2"]]);
    following.source.release().await.unwrap();
    let slots: i64 = database
        .client
        .query_one("SELECT count(*) FROM pg_replication_slots", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(slots, 1, "it was given");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_logical_log_says_so() {
    let server = Server::private_with("-c wal_level=replica");
    let database = Database::on(Arc::new(server), "replica", "").await;
    database.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let source = open(&database, "postgres", &[]).await;
    let tables = captured(&source, &["t"]).await;
    assert!(matches!(source.capture(), Capture::None(why) if why.contains("wal_level = logical")));
    let error = source.snapshot(&tables).await.err().unwrap();
    assert_eq!(error.code, Code::NoChangeCapture);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_told_to_whom_it_is_for() {
    let database = Database::on(Arc::new(Server::private()), "password", "").await;
    database
        .run("CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'right'; CREATE TABLE t (id int PRIMARY KEY)")
        .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "right").unwrap();
    let password = format!("file:{}", file.path().display());
    let source = open(&database, "locked", &[("password", &password)]).await;
    let mut following = Following::new(source, &["t"]).await;
    // A secret that is rotated is read anew by the next session.
    database
        .run("ALTER ROLE locked PASSWORD 'other'; INSERT INTO t VALUES (1)")
        .await;
    std::fs::write(file.path(), "other").unwrap();
    following.reopen().await;
    following.catch_up().await;
    assert_eq!(following.applied.sorted("t"), [["1"]]);
    std::fs::write(file.path(), "wrong").unwrap();
    let from = following.applied.position.clone().unwrap();
    let error = following
        .source
        .changes(&from, &following.tables)
        .await
        .err()
        .unwrap();
    assert_eq!(error.code, Code::Authentication, "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
}

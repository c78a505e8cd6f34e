//! Change capture by triggers: what it is told adds up to what is there, whatever writers do.

mod common;
mod follower;

use std::time::{Duration, Instant};

use belvedere_connector::{Capture, Code, Result};

use common::{File, open};
use follower::{Follower, SOON, TRIGGERS};

fn schema_of(file: &File) -> Vec<(String, Option<String>)> {
    let sql = "SELECT name, sql FROM sqlite_schema ORDER BY name";
    let mut statement = file.owner.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_option_says_how() {
    let file = File::new("CREATE TABLE t (id INTEGER PRIMARY KEY)");
    let url = format!("sqlite:{}", file.dir.path().join("shop.db").display());
    let error = open(&url, &[("changes", "magic")]).unwrap_err();
    assert_eq!(error.code, Code::InvalidOption);
    assert!(error.help.as_deref().unwrap().contains("triggers"));
    match open(&url, &[]).unwrap().capture() {
        Capture::None(why) => assert!(
            why.contains("'triggers'") && why.contains("'poll'"),
            "{why}"
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(open(&url, TRIGGERS).unwrap().capture(), Capture::Snapshot);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_unique_conflict_removes() {
    let file = File::new(
        "CREATE TABLE keyed (id INTEGER PRIMARY KEY, a TEXT UNIQUE COLLATE NOCASE, b INT UNIQUE, c INT);
         CREATE TABLE named (id TEXT NOT NULL COLLATE NOCASE PRIMARY KEY, a INT, b INT, UNIQUE (a, b));
         CREATE TABLE bare (a TEXT UNIQUE, b INT UNIQUE, c INT);
         INSERT INTO keyed VALUES (1, 'x', 1, 0), (2, 'y', 2, 0), (3, 'z', 3, 0), (4, NULL, NULL, 0);
         INSERT INTO named VALUES ('k', 1, 1), ('l', 1, 2), ('m', 2, 2);
         INSERT INTO bare VALUES ('x', 1, 0), ('y', 2, 0), ('z', 3, 0), (NULL, NULL, 0)",
    );
    let mut follower = Follower::new(&file, &["keyed", "named", "bare"]).await;
    for sql in [
        "INSERT OR REPLACE INTO keyed VALUES (9, 'X', 2, 1)",
        "UPDATE OR REPLACE keyed SET a = 'x' WHERE id = 3",
        "UPDATE OR REPLACE keyed SET id = 4 WHERE id = 3",
        "INSERT INTO keyed VALUES (5, 'x', 7, 7) ON CONFLICT (a) DO UPDATE SET b = 70",
        "INSERT OR IGNORE INTO keyed VALUES (5, 'x', 8, 8)",
        "INSERT OR REPLACE INTO named VALUES ('K', 1, 2)",
        "UPDATE OR REPLACE named SET a = 1 WHERE id = 'm'",
        "UPDATE named SET id = 'M'",
        "INSERT OR REPLACE INTO bare VALUES ('x', 2, 1)",
        "INSERT OR REPLACE INTO bare (rowid, a, b, c) VALUES (3, 'n', 9, 9), (7, 'o', 10, 9)",
        "UPDATE OR REPLACE bare SET rowid = 7 WHERE a = 'n'",
        "UPDATE OR REPLACE bare SET a = 'x' WHERE b = 9",
        "INSERT OR IGNORE INTO bare VALUES ('x', 11, 1), ('q', 12, 1)",
        "BEGIN; INSERT OR REPLACE INTO bare VALUES ('q', 1, 1); DELETE FROM bare WHERE a = 'q'; \
         INSERT OR REPLACE INTO bare VALUES ('q', 9, 1), ('x', 9, 2), ('q', 9, 3); COMMIT",
        "BEGIN; DELETE FROM keyed; INSERT OR REPLACE INTO bare VALUES ('never', 1, 1); ROLLBACK",
        "DELETE FROM bare WHERE a IS NULL",
        "DELETE FROM keyed; INSERT INTO keyed SELECT rowid, a, b, c FROM bare",
    ] {
        file.owner.execute_batch(sql).unwrap();
        follower.check(&file).await;
    }
    // All at once.
    file.owner.execute_batch(
        "BEGIN; DELETE FROM bare; INSERT INTO bare VALUES ('1', 1, 1), ('2', 2, 2);
         REPLACE INTO bare VALUES ('1', 2, 3); UPDATE bare SET c = c + 1; UPDATE OR REPLACE keyed SET b = 1; COMMIT",
    ).unwrap();
    follower.check(&file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_triggers_and_foreign_keys_do() {
    let file = File::new(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, n INT);
         CREATE TABLE child (id INTEGER PRIMARY KEY, parent INT REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
         CREATE TABLE bare (n INT, stamp INT);
         CREATE TRIGGER stamps AFTER INSERT ON bare BEGIN UPDATE bare SET stamp = n * 2 WHERE rowid = NEW.rowid; END;
         CREATE TRIGGER again AFTER UPDATE OF n ON bare BEGIN UPDATE bare SET stamp = stamp + 1 WHERE rowid = NEW.rowid; END;
         CREATE TRIGGER keeps BEFORE DELETE ON bare WHEN OLD.n = 1 BEGIN SELECT RAISE(IGNORE); END;
         INSERT INTO parent VALUES (1, 1), (2, 2); INSERT INTO child VALUES (1, 1), (2, 1), (3, 2);
         PRAGMA foreign_keys = ON",
    );
    let mut follower = Follower::new(&file, &["parent", "child", "bare"]).await;
    for sql in [
        "INSERT INTO bare (n) VALUES (1), (2), (2), (3)",
        "UPDATE bare SET n = n + 10 WHERE n = 2",
        "UPDATE parent SET id = 7 WHERE id = 2",
        "DELETE FROM parent WHERE id = 1",
        "DELETE FROM bare",
        "REPLACE INTO parent VALUES (7, 8)",
        "BEGIN; INSERT INTO bare (n) VALUES (5); UPDATE bare SET n = 6; DELETE FROM bare WHERE n = 6; INSERT INTO bare (n) VALUES (8); COMMIT",
    ] {
        file.owner.execute_batch(sql).unwrap();
        follower.check(&file).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_and_a_reader_that_comes_again() {
    let file = File::new(
        "CREATE TABLE keyed (id INTEGER PRIMARY KEY, n INT UNIQUE, v TEXT); CREATE TABLE bare (n INT, v TEXT)",
    );
    let mut follower = Follower::new(&file, &["keyed", "bare"]).await;
    let path = file.dir.path().join("shop.db");
    let writer = |seed: i64| {
        let path = path.clone();
        std::thread::spawn(move || {
            let other = rusqlite::Connection::open(path).unwrap();
            other.busy_timeout(SOON).unwrap();
            for i in 0..150 {
                let n = (i * 7 + seed) % 40;
                let sql = format!(
                    "BEGIN IMMEDIATE; REPLACE INTO keyed VALUES ({n}, {}, 'v{i}'); INSERT INTO bare VALUES ({n}, 'x');
                     DELETE FROM bare WHERE n = {}; UPDATE bare SET n = n + 1 WHERE n % 5 = {seed}; {}",
                    (n * 3 + seed) % 50,
                    (n + 3) % 40,
                    if i % 9 == 0 { "ROLLBACK" } else { "COMMIT" },
                );
                other.execute_batch(&sql).unwrap();
            }
        })
    };
    let writers = [writer(1), writer(2)];
    for _ in 0..5 {
        follower.catch_up().await.unwrap();
        let at = follower.at.clone();
        follower
            .stream
            .as_mut()
            .unwrap()
            .acknowledge(&at)
            .await
            .unwrap();
        follower.reopen(&file).await.unwrap();
    }
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());
    follower.check(&file).await;
    // All but the last row of the log goes.
    let at = follower.at.clone();
    follower
        .stream
        .as_mut()
        .unwrap()
        .acknowledge(&at)
        .await
        .unwrap();
    let left = "SELECT count(*) FROM belvedere_changes";
    let left: i64 = file.owner.query_row(left, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 1);
    follower.reopen(&file).await.unwrap();
    file.owner
        .execute_batch("INSERT INTO bare VALUES (99, 'last')")
        .unwrap();
    follower.check(&file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_numbered_anew() {
    let file = File::new(
        "CREATE TABLE keyed (id INTEGER PRIMARY KEY); CREATE TABLE bare (n INT); \
        INSERT INTO bare VALUES (1), (2), (3); DELETE FROM bare WHERE n = 1",
    );
    let mut keyed = Follower::new(&file, &["keyed"]).await;
    file.owner
        .execute_batch("INSERT INTO keyed VALUES (1); VACUUM; INSERT INTO keyed VALUES (2)")
        .unwrap();
    keyed.check(&file).await;
    let mut bare = Follower::new(&file, &["bare"]).await;
    file.owner
        .execute_batch("UPDATE bare SET n = 9; VACUUM; UPDATE bare SET n = n + 1")
        .unwrap();
    assert_eq!(bare.end().await, Code::LogTruncated);
    assert_eq!(
        bare.reopen(&file).await.err().map(|e| e.code),
        Some(Code::LogTruncated)
    );
    let mut bare = Follower::new(&file, &["bare"]).await;
    file.owner
        .execute_batch("INSERT INTO bare VALUES (5)")
        .unwrap();
    bare.check(&file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_the_same() {
    let file = File::new("CREATE TABLE t (id INTEGER PRIMARY KEY, n INT)");
    let mut follower = Follower::new(&file, &["t"]).await;
    file.owner
        .execute_batch(
            "INSERT INTO t VALUES (1, 1); DROP TRIGGER belvedere_t_updated; UPDATE t SET n = 2",
        )
        .unwrap();
    assert_eq!(follower.end().await, Code::LogTruncated);
    let before = follower.at.clone();
    let mut follower = Follower::new(&file, &["t"]).await;
    let error = follower
        .source
        .changes(&before, &follower.tables)
        .await
        .err();
    assert_eq!(
        error.map(|e| e.code),
        Some(Code::LogRewound),
        "triggers were missing meanwhile"
    );
    follower.reopen(&file).await.unwrap();
    // Another way to remove rows.
    file.owner
        .execute_batch("CREATE UNIQUE INDEX more ON t (n); REPLACE INTO t VALUES (2, 2)")
        .unwrap();
    assert_eq!(follower.end().await, Code::LogTruncated);
    let mut follower = Follower::new(&file, &["t"]).await;
    file.owner
        .execute_batch("REPLACE INTO t VALUES (3, 2)")
        .unwrap();
    follower.check(&file).await;
    // The sequence goes backwards.
    file.owner
        .execute_batch("DELETE FROM belvedere_changes WHERE seq > 2")
        .unwrap();
    assert_eq!(follower.end().await, Code::LogRewound);
    // It was emptied while nobody looked, and is longer now than it was read: its numbers are given again.
    let mut follower = Follower::new(&file, &["t"]).await;
    follower.stream = None;
    file.owner
        .execute_batch(
            "UPDATE t SET n = n + 100; DELETE FROM belvedere_changes;
             WITH RECURSIVE i(x) AS (SELECT 100 UNION ALL SELECT x + 1 FROM i WHERE x < 999)
             INSERT INTO t SELECT x, x + 1000 FROM i",
        )
        .unwrap();
    let lost = follower.reopen(&file).await.err();
    assert_eq!(lost.map(|e| e.code), Some(Code::LogTruncated));
    let mut follower = Follower::new(&file, &["t"]).await;
    file.owner
        .execute_batch("DELETE FROM t WHERE id > 500")
        .unwrap();
    follower.check(&file).await;
    // Another file.
    let mut follower = Follower::new(&file, &["t"]).await;
    let path = file.dir.path().join("shop.db");
    file.owner
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    std::fs::copy(&path, file.dir.path().join("copy.db")).unwrap();
    std::fs::rename(file.dir.path().join("copy.db"), &path).unwrap();
    assert_eq!(follower.end().await, Code::LogRewound);
    assert_eq!(
        follower.reopen(&file).await.err().map(|e| e.code),
        Some(Code::LogRewound)
    );
}

/// What is dropped and made again leaves nothing in the schema by which to tell, whether anybody looks meanwhile or not.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_made_again() {
    let file = File::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y')",
    );
    for is_looked_at in [true, false] {
        let mut follower = Follower::new(&file, &["t"]).await;
        let triggers = schema_of(&file).into_iter();
        let triggers = triggers.filter(|(name, _)| name.starts_with("belvedere_t_"));
        let triggers: Vec<String> = triggers.filter_map(|(_, sql)| sql).collect();
        file.owner
            .execute_batch(
                "CREATE TABLE u (n INT); CREATE INDEX i ON u (n); CREATE VIEW w AS SELECT n FROM u;
                 INSERT INTO t VALUES (3, 'z')",
            )
            .unwrap();
        follower.check(&file).await;
        for sql in [
            "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v TEXT".to_string(),
            format!(
                "CREATE TABLE other (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO other SELECT id, 'new' FROM t;
                 DROP TABLE t; ALTER TABLE other RENAME TO t; {}",
                triggers.join(";\n")
            ),
        ] {
            if !is_looked_at {
                follower.stream = None;
            }
            file.owner
                .execute_batch(&format!("BEGIN; {sql}; COMMIT"))
                .unwrap();
            let lost = match is_looked_at {
                true => Some(follower.end().await),
                false => follower.reopen(&file).await.err().map(|e| e.code),
            };
            assert_eq!(lost, Some(Code::LogTruncated), "{sql}");
            follower = Follower::new(&file, &["t"]).await;
            file.owner
                .execute_batch("UPDATE t SET v = 'again' WHERE id = 1")
                .unwrap();
            follower.check(&file).await;
        }
        file.owner
            .execute_batch("DROP VIEW w; DROP TABLE u; DELETE FROM t WHERE id = 3")
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_end() {
    let file = File::new(
        "CREATE TABLE gone (id INTEGER PRIMARY KEY); CREATE TABLE less (id INTEGER PRIMARY KEY, n INT);
         CREATE TABLE odd (id INTEGER PRIMARY KEY, n INT); CREATE TABLE stays (id INTEGER PRIMARY KEY)",
    );
    let mut follower = Follower::new(&file, &["gone", "less", "odd", "stays"]).await;
    file.owner.execute_batch(
        "DROP TABLE gone; ALTER TABLE less DROP n; INSERT INTO odd VALUES (1, 'no number'); INSERT INTO stays VALUES (1)",
    ).unwrap();
    let ended = tokio::time::timeout(SOON, async {
        while follower.ended.len() < 3 {
            follower.catch_up().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    ended
        .await
        .unwrap_or_else(|_| panic!("{:?}", follower.ended));
    assert_eq!(follower.ended["gone"], Code::TableMissing);
    assert_eq!(follower.ended["less"], Code::SchemaChanged);
    assert_eq!(follower.ended["odd"], Code::ValueOutOfRange);
    assert_eq!(follower.rows["stays"], ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_followed() {
    let file = File::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INT); CREATE VIEW seen AS SELECT * FROM t;
         CREATE TABLE packed (id INT PRIMARY KEY) WITHOUT ROWID;
         CREATE TABLE some (id INTEGER PRIMARY KEY, n INT); CREATE UNIQUE INDEX u ON some (n) WHERE n > 1;
         CREATE TABLE made (id INTEGER PRIMARY KEY, n INT); CREATE UNIQUE INDEX v ON made (n + 1);
         CREATE VIRTUAL TABLE words USING fts5 (word)",
    );
    for (table, why) in [
        ("seen", "a view"),
        ("packed", "WITHOUT ROWID"),
        ("some", "WHERE"),
        ("made", "an expression"),
        ("words", "virtual"),
    ] {
        let error = Follower::of(file.source_with(TRIGGERS), &["t", table])
            .await
            .err()
            .unwrap();
        assert_eq!(
            (error.code, error.table.as_deref()),
            (Code::NoChangeCapture, Some(table))
        );
        assert!(error.message.contains(why), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_left_as_it_was() {
    let file = File::new(
        "CREATE TABLE \"odd ' \"\" name\" (\"a \"\" b\" INTEGER PRIMARY KEY, c TEXT UNIQUE); CREATE TABLE bare (n INT)",
    );
    let before = schema_of(&file);
    let source = file.source_with(&[]);
    source.discover().await.unwrap();
    source.release().await.unwrap();
    let mut follower = Follower::new(&file, &["odd ' \" name", "bare"]).await;
    file.owner.execute_batch("REPLACE INTO \"odd ' \"\" name\" VALUES (1, 'x'), (2, 'x'); INSERT INTO bare VALUES (1)").unwrap();
    follower.check(&file).await;
    assert!(schema_of(&file).len() > before.len());
    let seen: Vec<_> = follower
        .source
        .discover()
        .await
        .unwrap()
        .into_iter()
        .map(|t| t.name)
        .collect();
    assert_eq!(
        seen,
        ["bare", "odd ' \" name"],
        "what capture made is not seen"
    );
    follower.source.release().await.unwrap();
    assert_eq!(schema_of(&file), before);
    assert_eq!(follower.end().await, Code::Unreachable);
    assert_eq!(
        follower.reopen(&file).await.err().map(|e| e.code),
        Some(Code::LogRewound)
    );
    follower.source.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_write_ahead_log() {
    let file =
        File::new("PRAGMA journal_mode = DELETE; CREATE TABLE t (id INTEGER PRIMARY KEY, n INT)");
    file.owner.busy_timeout(SOON).unwrap();
    let mut follower = Follower::new(&file, &["t"]).await;
    for i in 0..20 {
        file.owner
            .execute_batch(&format!(
                "INSERT INTO t VALUES ({i}, {i}); DELETE FROM t WHERE id = {}",
                i - 3
            ))
            .unwrap();
        if i % 5 == 0 {
            follower.check(&file).await;
        }
    }
    follower.check(&file).await;
}

/// What the triggers cost a writer. Printed with `--nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn the_cost_to_writers() {
    const ROWS: u32 = 20_000;
    let of = |file: &File| {
        let started = Instant::now();
        file.owner.execute_batch("BEGIN").unwrap();
        let mut insert = file
            .owner
            .prepare("INSERT INTO t VALUES (NULL, ?1, 'some text of a row')")
            .unwrap();
        for i in 0..ROWS {
            insert.execute([i]).unwrap();
        }
        file.owner.execute_batch("COMMIT").unwrap();
        f64::from(ROWS) / started.elapsed().as_secs_f64()
    };
    let file = File::new("CREATE TABLE t (id INTEGER PRIMARY KEY, n INT, v TEXT)");
    let without = of(&file);
    let _follower = Follower::new(&file, &["t"]).await;
    let with = of(&file);
    println!(
        "inserts a second, in one transaction: {without:.0} without triggers, {with:.0} with them"
    );
    assert!(with * 20.0 > without);
}

//! What policies and masks show, and how they are defined.

use std::time::Duration;

use belvedere::{Engine, Session};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;

use super::{DEFINITIONS, World, statements, world};
use crate::fixture::{database, shown, table};

/// `crm` in SQLite, where nothing else is hidden: who is asked, and what is told.
struct One {
    world: World,
    folder: tempfile::TempDir,
}

impl One {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        database(&folder.path().join("crm.db"), &statements(0).join(";\n"));
        let world = world("sqlite:crm.db", folder.path()).await;
        Self { world, folder }
    }

    async fn root(&self, sql: &str) -> String {
        let done = shown(&self.world.root, sql).await;
        done.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// The first column of what `ana` is told, in order.
    async fn ana(&self, sql: &str) -> Vec<String> {
        let told = shown(&self.world.ana, sql).await;
        let told = told.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let lines = told.lines().skip(3).filter(|line| line.starts_with('|'));
        let cells = lines.map(|line| line.split('|').nth(1).unwrap_or("").trim().to_string());
        let mut cells: Vec<String> = cells.collect();
        cells.sort();
        cells
    }

    async fn refused(session: &Session, sql: &str) -> String {
        match shown(session, sql).await {
            Ok(answer) => panic!("{sql} succeeded:\n{answer}"),
            Err(e) => format!("{} {e}", e.sqlstate()),
        }
    }

    /// What `crm` was asked last.
    async fn asked(&self) -> String {
        self.root("SELECT text FROM system.fragments ORDER BY asked_at DESC LIMIT 1")
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_let_rows_through_and_masks_stand_for_columns() {
    let one = One::new().await;
    one.root("CREATE VIEW w AS SELECT id, name, region, credit FROM crm.customer")
        .await;
    one.root("GRANT SELECT ON w TO sales").await;
    let ids = "SELECT id FROM w";
    assert_eq!(one.ana(ids).await, ["1", "10", "2", "3", "4", "5"]);
    // Once there is one, who is named by none sees nothing.
    one.root("CREATE ROLE office").await;
    one.root("CREATE POLICY office ON w TO office USING (TRUE)")
        .await;
    assert_eq!(one.ana(ids).await, Vec::<String>::new());
    one.root("CREATE POLICY rich ON w TO ana USING (credit >= 20)")
        .await;
    assert_eq!(one.ana(ids).await, ["2", "4"]);
    one.root("CREATE POLICY first ON w USING (id = 1)").await;
    assert_eq!(one.ana(ids).await, ["1", "2", "4"]);
    one.root("CREATE OR REPLACE POLICY rich ON w TO ana USING (credit >= 40)")
        .await;
    assert_eq!(one.ana(ids).await, ["1", "4"]);
    one.root("GRANT office TO sales").await;
    assert_eq!(one.ana(ids).await.len(), 6);
    assert_eq!(
        one.ana("SELECT credit FROM w WHERE credit > 10").await,
        ["11", "20", "40"]
    );
    for policy in ["office", "rich", "first"] {
        one.root(&format!("DROP POLICY {policy} ON w")).await;
    }
    assert_eq!(one.ana(ids).await.len(), 6);

    let names = "SELECT name FROM w WHERE id < 3";
    one.root("CREATE MASK everybody ON w (name) USING (NULL)")
        .await;
    assert_eq!(one.ana(names).await, ["", ""]);
    one.root("CREATE MASK z ON w (name) TO sales USING (left(name, 1))")
        .await;
    assert_eq!(one.ana(names).await, ["A", "B"]);
    one.root("CREATE MASK b ON w (name) TO ana USING (upper(name))")
        .await;
    assert_eq!(one.ana(names).await, ["ANTON", "BERTA"]);
    one.root("CREATE MASK who ON w (region) TO sales USING (current_user)")
        .await;
    assert_eq!(one.ana("SELECT DISTINCT region FROM w").await, ["ana"]);
    // What is found by is what is seen.
    assert_eq!(
        one.ana("SELECT id FROM w WHERE name = 'ANTON'").await,
        ["1"]
    );
    assert_eq!(
        one.ana("SELECT id FROM w WHERE name = 'Anton'").await,
        Vec::<String>::new()
    );
    let root = one.root("SELECT name FROM w WHERE id = 1").await;
    assert!(root.contains("Anton"), "{root}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_meaning_is_refused() {
    let one = One::new().await;
    let (root, ana) = (&one.world.root, &one.world.ana);
    for (sql, expected) in [
        (
            "CREATE POLICY region ON v TO sales USING (nope = 1)",
            "nope",
        ),
        (
            "CREATE POLICY p ON v TO sales USING (credit)",
            "USING gives bigint where boolean is seen",
        ),
        (
            "CREATE POLICY p ON v TO sales USING (count(*) > 1)",
            "of a row by itself",
        ),
        (
            "CREATE POLICY p ON v TO sales USING (row_number() OVER (ORDER BY id) = 1)",
            "of a row by itself",
        ),
        (
            "CREATE POLICY p ON v TO sales USING (random() > 0.5)",
            "of a row by itself",
        ),
        (
            "CREATE POLICY p ON v TO sales USING (unnest([1, 2]) = 1)",
            "of a row by itself",
        ),
        (
            "CREATE POLICY p ON v TO nobody USING (TRUE)",
            "nobody does not exist",
        ),
        (
            "CREATE POLICY p ON nothing TO sales USING (TRUE)",
            "nothing does not exist",
        ),
        (
            "CREATE POLICY p ON system.users TO sales USING (TRUE)",
            "is there for everybody",
        ),
        (
            "CREATE POLICY mine ON v TO sales USING (TRUE)",
            "policy mine ON v already exists",
        ),
        (
            "CREATE MASK m ON v (credit) TO sales USING ('x')",
            "USING gives text where bigint is seen",
        ),
        (
            "CREATE MASK m ON v (nope) TO sales USING (NULL)",
            "v.nope does not exist",
        ),
        ("DROP POLICY nope ON v", "nope ON v does not exist"),
        // What is read is not dropped, and what is ruled does not lose what its rules read.
        ("DROP VIEW v_gone", "v_gone"),
        (
            "CREATE OR REPLACE VIEW v AS SELECT id, region FROM crm.customer",
            "would not know what it says",
        ),
    ] {
        let error = One::refused(root, sql).await;
        assert!(error.contains(expected), "{sql}: {error}");
    }
    one.root("DROP POLICY IF EXISTS nope ON v").await;
    one.root("CREATE VIEW reps AS SELECT rep, usr FROM crm.assigned")
        .await;
    one.root("CREATE OR REPLACE POLICY mine ON v TO sales USING (rep IN (SELECT rep FROM reps WHERE usr = current_user))").await;
    let ids = "SELECT id FROM v";
    assert_eq!(one.ana(ids).await, ["1", "2", "3", "4", "5"]);
    for sql in [
        "DROP VIEW reps",
        "DROP VIEW reps CASCADE",
        "ALTER VIEW reps RENAME TO others",
    ] {
        let error = One::refused(root, sql).await;
        assert!(error.contains("policy mine on v"), "{sql}: {error}");
    }
    // What they are of may be renamed: they follow.
    one.root("ALTER VIEW v RENAME TO w").await;
    assert_eq!(one.ana("SELECT id FROM w").await, ["1", "2", "3", "4", "5"]);
    // Whoever may not do all with it makes no rule of it, nor sees one.
    for sql in [
        "CREATE POLICY p ON w TO sales USING (TRUE)",
        "CREATE MASK m ON w (name) TO sales USING (NULL)",
        "DROP POLICY mine ON w",
        "DROP MASK first ON crm.customer",
    ] {
        let error = One::refused(ana, sql).await;
        assert!(error.starts_with("42501"), "{sql}: {error}");
    }
    assert_eq!(
        one.ana("SELECT name FROM system.policies").await,
        Vec::<String>::new()
    );
    // Of the own view it does.
    shown(
        ana,
        "CREATE VIEW own AS SELECT id, region FROM crm.customer",
    )
    .await
    .unwrap();
    shown(ana, "CREATE POLICY p ON own USING (id = 1)")
        .await
        .unwrap();
    assert_eq!(one.ana("SELECT name FROM system.policies").await, ["p"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hides_rows_is_read_and_not_written() {
    let one = One::new().await;
    one.root("ALTER SOURCE crm SET (writable = true)").await;
    one.root("GRANT INSERT, UPDATE, DELETE ON crm.customer TO sales")
        .await;
    let ana = &one.world.ana;
    for sql in [
        "UPDATE crm.customer SET credit = 1 / (credit - 5)",
        "UPDATE crm.customer SET credit = 1 WHERE id = 1",
        "DELETE FROM crm.customer WHERE id = 1",
        "INSERT INTO crm.customer SELECT id + 100, name, region, credit, note, rep FROM crm.customer",
    ] {
        let error = One::refused(ana, sql).await;
        assert!(error.starts_with("42501"), "{sql}: {error}");
    }
    let insert = "INSERT INTO crm.customer VALUES (6, 'Fritz', 'APAC', 1, '1', 'r1'), (7, 'Gerd', 'EMEA', 1, '1', 'r1')";
    shown(ana, insert).await.unwrap();
    assert_eq!(
        one.ana("SELECT id FROM crm.customer").await,
        ["1", "2", "3", "4", "5", "7"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_sent_what_passes_and_nothing_else() {
    let one = One::new().await;
    for (sql, sent, kept) in [
        (
            "SELECT id FROM crm.customer WHERE credit > 3",
            vec!["\"region\" = ?1", "\"credit\" > ?"],
            vec!["name"],
        ),
        (
            "SELECT region, count(*), sum(credit) FROM crm.customer WHERE id > 1 GROUP BY region",
            vec!["\"region\" = ?1", "count(", "sum_integer("],
            vec![],
        ),
        (
            "SELECT id FROM crm.customer ORDER BY credit, id LIMIT 2",
            vec!["\"region\" = ?1", "LIMIT"],
            vec![],
        ),
        (
            "SELECT id FROM crm.customer WHERE 1 / (credit - 5) > 0 AND id > 2",
            vec!["\"region\" = ?1", "\"id\" > ?"],
            vec!["- 5", "/"],
        ),
        (
            "SELECT id, 1 / (credit - 5) AS x FROM crm.customer",
            vec!["\"region\" = ?1"],
            vec!["- 5"],
        ),
        (
            "SELECT o.id FROM crm.orders o JOIN crm.customer c ON o.customer = c.id",
            vec!["\"region\" = ?1", "EXISTS"],
            vec![],
        ),
        (
            "SELECT o.id FROM crm.orders o JOIN crm.customer c ON o.customer = c.id AND 1 / (c.credit - 5) > 0",
            vec!["\"region\" = ?1"],
            vec!["- 5"],
        ),
        (
            "SELECT id FROM closed WHERE name = 'A' AND credit > 3",
            vec!["\"region\" = ?1", "\"credit\" > ?"],
            vec![],
        ),
    ] {
        one.ana(sql).await;
        let all = one
            .root("SELECT text FROM system.fragments ORDER BY asked_at DESC LIMIT 2")
            .await;
        let last = one.asked().await;
        let text = if last.contains("\"region\" = ?1") {
            last
        } else {
            all
        };
        for part in sent {
            assert!(text.contains(part), "{sql}: {part} in {text}");
        }
        for part in kept {
            assert!(!text.contains(part), "{sql}: {part} in {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_kept_outlives_a_policy() {
    let one = One::new().await;
    let ana = &one.world.ana;
    one.root("CREATE VIEW w AS SELECT id, region FROM crm.customer")
        .await;
    one.root("GRANT SELECT ON w TO sales").await;
    let prepared = ana.prepare("SELECT id FROM w WHERE id > $1").await.unwrap();
    let zero = [ScalarValue::Int64(Some(0))];
    let rows = async || {
        let answer = ana.execute_prepared(&prepared, &zero).await.unwrap();
        let text = table(answer).await.unwrap();
        text.lines().count() - 4
    };
    shown(ana, "SET max_staleness = '1 hour'").await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            (rows().await, one.ana("SELECT id FROM w").await.len()),
            (6, 6)
        );
    }
    one.root("CREATE POLICY p ON w TO sales USING (region = 'EMEA')")
        .await;
    for _ in 0..3 {
        assert_eq!(
            (rows().await, one.ana("SELECT id FROM w").await.len()),
            (5, 5)
        );
    }
    one.root("CREATE OR REPLACE POLICY p ON w TO sales USING (id = 1)")
        .await;
    assert_eq!(
        (rows().await, one.ana("SELECT id FROM w").await.len()),
        (1, 1)
    );
    // Nor does one user's answer become another's.
    one.root("CREATE USER eve PASSWORD 'e'").await;
    one.root("GRANT sales TO eve").await;
    one.root("CREATE OR REPLACE POLICY p ON w TO sales USING (current_user = 'eve')")
        .await;
    let eve = one.world.engine.session_as("eve");
    shown(&eve, "SET max_staleness = '1 hour'").await.unwrap();
    for _ in 0..2 {
        let told = shown(&eve, "SELECT id FROM w").await.unwrap();
        assert_eq!(told.lines().count() - 4, 6);
        assert_eq!(
            (rows().await, one.ana("SELECT id FROM w").await.len()),
            (0, 0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_have_what_their_definer_sees() {
    let one = One::new().await;
    let ana = &one.world.ana;
    // Of the table, of the view with another policy, and of a copy.
    for (view, of) in [
        ("a1", "crm.customer"),
        ("a2", "v"),
        ("a3", "kept"),
        ("a4", "closed"),
    ] {
        let sql = format!(
            "CREATE MATERIALIZED VIEW {view} WITH (refresh = 'manual', wait = true) AS SELECT id, name FROM {of} WHERE credit IS NULL OR 1 / (credit - 5) > -100"
        );
        shown(ana, &sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(
            one.ana(&format!("SELECT id FROM {view}")).await,
            ["1", "2", "3", "4", "5"]
        );
        let names = one.ana(&format!("SELECT name FROM {view}")).await;
        assert_eq!(names, ["A", "B", "C", "D", "E"]);
    }
    // Superusers' copies are no answer to her, nor hers to them.
    one.root("CREATE MATERIALIZED VIEW whole WITH (refresh = 'manual', wait = true) AS SELECT region, count(*) AS n FROM crm.customer GROUP BY region").await;
    for session in [&one.world.root, ana] {
        shown(session, "SET max_staleness = '1 hour'")
            .await
            .unwrap();
    }
    let sql = "SELECT count(*) AS n FROM crm.customer";
    assert_eq!(one.ana(sql).await, ["5"]);
    assert!(one.root(sql).await.contains("| 6 |"));
    let sql = "SELECT region, count(*) AS n FROM crm.customer GROUP BY region";
    assert_eq!(one.ana(sql).await, ["EMEA"]);
    drop(one.folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_go_the_short_way_under_policies() {
    let one = One::new().await;
    let prepared = one
        .world
        .ana
        .prepare("SELECT id, name FROM kept WHERE id = $1")
        .await
        .unwrap();
    assert!(prepared.is_lookup());
    for (id, expected) in [
        (1, "| 1  | A    |"),
        (3, "| 3  | C    |"),
        (10, ""),
        (99, ""),
    ] {
        let value = [ScalarValue::Int32(Some(id))];
        let answer = one
            .world
            .ana
            .execute_prepared(&prepared, &value)
            .await
            .unwrap();
        let text = table(answer).await.unwrap();
        assert!(text.contains(expected), "{text}");
        assert_eq!(
            text.contains(&format!("| {id}")),
            !expected.is_empty(),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    database(&folder.path().join("crm.db"), &statements(0).join(";\n"));
    let open = || {
        Engine::builder()
            .base_dir(folder.path())
            .data_dir(folder.path().join("data"))
            .open()
    };
    let engine = open().await.unwrap();
    let session = engine.session();
    for sql in ["CREATE SOURCE crm FROM 'sqlite:crm.db'"]
        .iter()
        .chain(DEFINITIONS)
    {
        shown(&session, sql).await.unwrap();
    }
    let asked = async |engine: &Engine| {
        shown(
            &engine.session_as("ana"),
            "SELECT id, name FROM v ORDER BY id",
        )
        .await
        .unwrap()
    };
    let before = asked(&engine).await;
    assert!(
        before.contains("| C ") && !before.contains("Hidden"),
        "{before}"
    );
    drop(session);
    drop(engine);
    assert_eq!(asked(&open().await.unwrap()).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_tell_what_is_seen() {
    let one = One::new().await;
    one.root("ALTER SOURCE crm SET (changes = 'triggers', writable = true)")
        .await;
    one.root("CREATE MATERIALIZED VIEW live WITH (refresh = 'on change', key = 'id', wait = true) AS SELECT id, name, region FROM crm.customer").await;
    one.root("GRANT SELECT ON live TO sales").await;
    one.root("CREATE POLICY region ON live TO sales USING (region = 'EMEA')")
        .await;
    one.root("CREATE MASK first ON live (name) TO sales USING (left(name, 1))")
        .await;
    let mut told = one
        .world
        .ana
        .execute("SUBSCRIBE TO live")
        .await
        .unwrap()
        .stream;
    let mut ids = Vec::new();
    let mut take = async |until: &str| {
        let patience = Duration::from_secs(30);
        while !ids.iter().any(|line: &String| line.contains(until)) {
            let batch = tokio::time::timeout(patience, told.next())
                .await
                .expect("in time");
            let batch = batch.unwrap().unwrap();
            let table = pretty_format_batches(&[batch]).unwrap();
            ids.extend(table.to_string().lines().map(ToString::to_string));
        }
        ids.join("\n")
    };
    let first = take("| E ").await;
    assert!(
        !first.contains("Hidden") && !first.contains("APAC"),
        "{first}"
    );
    one.root("INSERT INTO crm.customer VALUES (20, 'Secret', 'APAC', 1, '1', 'r1')")
        .await;
    one.root("UPDATE crm.customer SET name = 'Antonia' WHERE id = 1")
        .await;
    one.root("INSERT INTO crm.customer VALUES (21, 'Xaver', 'EMEA', 1, '1', 'r1')")
        .await;
    let all = take("| X ").await;
    for hidden in ["Secret", "APAC", "Anton", "Xaver"] {
        assert!(!all.contains(hidden), "{all}");
    }
}

//! Names and values that would be SQL if they were pasted into it: real PostgreSQL, MariaDB and SQLite answer with pushdown what
//! the engine answers without, write what they are given, and lose nothing.

use belvedere::{Error, Session};
use belvedere_connector::Code;
use datafusion::scalar::ScalarValue;
use mysql_async::prelude::Queryable;

use crate::fixture::{Fixture, database, shown, table};
use crate::servers::{connected, mysql, postgres};

/// Each is a table's name and two columns' (and where there are such, a schema's), and a value.
const HOSTILE: &[&str] = &[
    "plain",
    "it's",
    "a\"b",
    "a`b",
    "'",
    "\"",
    "`",
    "''",
    "\"\"",
    "``",
    "\\",
    "a\\",
    "\\'",
    "\\\"",
    "\\`",
    "\\\\'",
    "'; DROP TABLE canary; --",
    "\"; DROP TABLE canary; --",
    "`; DROP TABLE canary; -- ",
    "\\'; DROP TABLE canary; --",
    "\\\"; DROP TABLE canary; #",
    "x') OR 1=1 --",
    "x' OR '1'='1",
    "'||(SELECT count(*) FROM canary)||'",
    "-- no",
    "/* no",
    "*/ no",
    "/*! DROP TABLE canary */",
    "# no",
    "; no",
    "$1",
    "$$",
    "$a$no$a$",
    "?",
    ":no",
    "@@version",
    "{}",
    "{0}",
    "%s",
    "%",
    "_",
    "a.b",
    "a%b_c",
    "a\nb",
    "a\r\nb",
    "a\tb",
    "\u{1}\u{1a}",
    "E'x",
    "x'00'",
    "select",
    "Ünï",
    "\u{202e}no",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"'`\\",
    "🦀';",
    "!",
];

/// A system, as its owner works at it.
enum System {
    Postgres(tokio_postgres::Client),
    Maria(mysql::Server),
    Sqlite(std::path::PathBuf),
}

impl System {
    async fn run(&self, sql: &str) {
        match self {
            Self::Postgres(client) => {
                let done = client.batch_execute(sql).await;
                done.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            }
            Self::Maria(server) => {
                let mut conn = server.connection_in("crm").await;
                let done = conn.query_drop(sql).await;
                done.unwrap_or_else(|e| panic!("{sql}: {e}"));
                conn.disconnect().await.unwrap();
            }
            Self::Sqlite(path) => database(path, sql),
        }
    }

    /// A name as the system has it.
    fn name(&self, name: &str) -> String {
        match self {
            Self::Maria(_) => format!("`{}`", name.replace('`', "``")),
            _ => quoted(name),
        }
    }

    /// A text that no setting of the system reads otherwise.
    fn text(&self, text: &str) -> String {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Postgres(_) => format!("convert_from(decode('{hex}', 'hex'), 'UTF8')"),
            Self::Maria(_) => format!("CONVERT(x'{hex}' USING utf8mb4)"),
            Self::Sqlite(_) => format!("CAST(x'{hex}' AS TEXT)"),
        }
    }

    /// What it takes as a name.
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Postgres(_) => name.len() <= 63,
            // Neither what ends in a blank, nor what is beyond the basic plane; and files are called as tables.
            Self::Maria(_) => !name.ends_with(' ') && name.chars().all(|c| c < '\u{10000}'),
            Self::Sqlite(_) => true,
        }
    }

    fn text_type(&self) -> &'static str {
        match self {
            Self::Maria(_) => "VARCHAR(200) COLLATE utf8mb4_bin",
            _ => "TEXT",
        }
    }
}

/// As the engine has names.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

struct World {
    t: Fixture,
    system: System,
    /// Which of the hostile ones are tried.
    texts: Vec<&'static str>,
    /// Without pushdown.
    plain: Session,
    compared: usize,
    sent: usize,
}

impl World {
    /// Of a server that reads quotes otherwise than others, those with quotes are tried.
    async fn new(system: System, url: &str, reads_otherwise: bool) -> Self {
        let is_tried = |text: &&str| !reads_otherwise || text.contains(['\'', '"', '`', '\\']);
        let texts: Vec<&str> = HOSTILE.iter().copied().filter(is_tried).collect();
        system.run("CREATE TABLE canary (id INT PRIMARY KEY)").await;
        system.run("INSERT INTO canary VALUES (1)").await;
        let create = format!(
            "CREATE TABLE texts (id INT PRIMARY KEY, v {})",
            system.text_type()
        );
        system.run(&create).await;
        for (n, text) in HOSTILE.iter().enumerate() {
            let value = system.text(text);
            let insert = format!("INSERT INTO texts VALUES ({n}, {value})");
            system.run(&insert).await;
        }
        let names = names(&system, &texts);
        for (n, name) in names.iter().enumerate() {
            let [a, b] = columns(&names, n);
            let mut table = system.name(name);
            if let System::Postgres(_) = system {
                system.run(&format!("CREATE SCHEMA {table}")).await;
                table = format!("{table}.{table}");
            }
            let (a_name, b_name, of) = (system.name(a), system.name(b), system.text_type());
            system
                .run(&format!(
                    "CREATE TABLE {table} (id INT PRIMARY KEY, {a_name} {of}, {b_name} {of})"
                ))
                .await;
            let [a, b] = [a, b].map(|text| system.text(text));
            system
                .run(&format!(
                    "INSERT INTO {table} VALUES (1, {a}, {b}), (2, {b}, {a}), (3, '', NULL)"
                ))
                .await;
        }
        let t = Fixture::empty().await;
        t.ok(&format!(
            "CREATE SOURCE s FROM '{url}' WITH (writable = true)"
        ))
        .await;
        let plain = t.engine.session();
        plain.set("pushdown", "off").unwrap();
        Self {
            t,
            system,
            texts,
            plain,
            compared: 0,
            sent: 0,
        }
    }

    fn table(&self, name: &str) -> String {
        let table = quoted(name);
        match self.system {
            System::Postgres(_) => format!("s.{table}.{table}"),
            _ => format!("s.{table}"),
        }
    }

    async fn same(&mut self, sql: &str) -> String {
        let pushed = shown(&self.t.session, sql).await;
        let plain = shown(&self.plain, sql).await;
        let text = |answer: Result<String, Error>| answer.unwrap_or_else(|e| e.to_string());
        let (pushed, plain) = (text(pushed), text(plain));
        assert_eq!(pushed, plain, "{sql}");
        assert!(pushed.starts_with('+'), "{sql}: {pushed}");
        self.compared += 1;
        if !self.compared.is_multiple_of(5) {
            return pushed;
        }
        let explained = self.t.ok(&format!("EXPLAIN {sql}")).await;
        // A condition, a group, a join.
        let words = ["WHERE", "GROUP BY", " JOIN "];
        let said: Vec<&str> = explained.lines().filter(|l| l.contains("SELECT")).collect();
        self.sent += usize::from(
            words
                .iter()
                .any(|w| said.iter().any(|line| line.contains(w))),
        );
        pushed
    }

    /// A prepared statement, whose values the connector may refuse by name, but never take for others.
    async fn same_prepared(&mut self, sql: &str, values: &[ScalarValue]) {
        let run = async |session: &Session| {
            let prepared = session.prepare(sql).await.unwrap();
            let answer = session.execute_prepared(&prepared, values).await;
            table(answer.unwrap_or_else(|e| panic!("{sql} {values:?}: {e}")))
                .await
                .unwrap_or_else(|e| panic!("{sql} {values:?}: {e}"))
        };
        // The third time it goes the shorter way.
        for _ in 0..3 {
            let pushed = run(&self.t.session).await;
            assert_eq!(pushed, run(&self.plain).await, "{sql} {values:?}");
        }
        self.compared += 1;
    }

    async fn names(&mut self) {
        let all = names(&self.system, &self.texts);
        for (n, name) in all.iter().enumerate() {
            let table = self.table(name);
            let [a_text, b_text] = columns(&all, n);
            let (a, b) = (quoted(a_text), quoted(b_text));
            let is = literal(a_text);
            self.same(&format!("SELECT * FROM {table} ORDER BY id"))
                .await;
            let found = self
                .same(&format!(
                    "SELECT id, {b} AS {a} FROM {table} WHERE {a} = {is} AND {b} IS NOT NULL ORDER BY 1"
                ))
                .await;
            assert!(found.contains("| 1 "), "{name}: {found}");
            self.same(&format!(
                "SELECT {a} AS {b}, count(*) AS {a} FROM {table} GROUP BY {a} ORDER BY 1 NULLS FIRST"
            ))
            .await;
            self.same(&format!(
                "SELECT x.{a}, {b}.{b} FROM {table} x JOIN {table} {b} ON x.id = {b}.id WHERE {b}.{a} <> {is} ORDER BY x.id"
            ))
            .await;
        }
    }

    async fn values(&mut self) {
        for text in self.texts.clone() {
            let is = literal(text);
            let escaped: String = text
                .chars()
                .flat_map(|c| match c {
                    '!' | '%' | '_' => vec!['!', c],
                    c => vec![c],
                })
                .collect();
            let within = literal(&format!("%{escaped}%"));
            let found = self
                .same(&format!("SELECT id FROM s.texts WHERE v = {is}"))
                .await;
            assert_eq!(found.matches("\n| ").count(), 2, "{text}: {found}");
            for condition in [
                format!("v IN ({is}, 'plain')"),
                format!("v >= {is}"),
                format!("v <> {is}"),
                format!("v LIKE {within} ESCAPE '!'"),
                format!(
                    "v LIKE {}",
                    literal(&format!("{text}%").replace('\\', "\\\\"))
                ),
                format!("v ILIKE {within} ESCAPE '!'"),
                format!("starts_with(v, {is})"),
                format!("strpos(v, {is}) > 0"),
                format!("v || {is} = {is} || {is}"),
            ] {
                self.same(&format!(
                    "SELECT id FROM s.texts WHERE {condition} ORDER BY id"
                ))
                .await;
            }
            self.same(&format!(
                "SELECT id, v || {is} AS x, replace(v, {is}, 'r') AS y, CASE WHEN v = {is} THEN {is} END AS {} FROM s.texts ORDER BY id",
                quoted(text)
            ))
            .await;
            self.same_prepared(
                "SELECT id FROM s.texts WHERE v = $1 OR v = $2 ORDER BY id",
                &[ScalarValue::from(text), ScalarValue::from("plain")],
            )
            .await;
        }
        // What no text of SQL has, but a value may.
        for text in ["\0", "a\0b", "';\0--"] {
            for sql in [
                "SELECT id FROM s.texts WHERE v = $1",
                "SELECT id FROM s.texts WHERE v <> $1 ORDER BY id",
                "SELECT id FROM s.texts WHERE v LIKE $1",
            ] {
                self.same_prepared(sql, &[ScalarValue::from(text)]).await;
            }
        }
    }

    /// What is written is what was given: read back here, and compared here.
    async fn writes(&mut self) {
        let all = names(&self.system, &self.texts);
        for (n, name) in all.iter().enumerate() {
            let table = self.table(name);
            let [a_text, b_text] = columns(&all, n);
            let (a, b) = (quoted(a_text), quoted(b_text));
            let text = literal(self.texts[n]);
            let wrote = |tag: &str, answer: &str| assert!(answer.contains(tag), "{name}: {answer}");
            let t = &self.t;
            let insert = format!("INSERT INTO {table} (id, {b}, {a}) VALUES (4, {text}, 'old')");
            wrote("INSERT 0 1", &t.ok(&insert).await);
            let insert = format!("INSERT INTO {table} (id, {b}, {a}) VALUES (5, $1, 'old')");
            let prepared = t.session.prepare(&insert).await.unwrap();
            let values = [ScalarValue::from(self.texts[n])];
            let done = t.session.execute_prepared(&prepared, &values).await;
            assert_eq!(done.unwrap().wrote.unwrap().rows, 1);
            let update =
                format!("UPDATE {table} SET {a} = {text} WHERE {b} = {text} AND {a} = 'old'");
            wrote("UPDATE 2", &t.ok(&update).await);
            let count = format!(
                "SELECT count(*) AS n FROM {table} WHERE id > 3 AND {a} = {text} AND {b} = {text}"
            );
            let counted = shown(&self.plain, &count).await.unwrap();
            assert!(counted.contains("| 2 "), "{name}: {counted}");
            let delete = format!("DELETE FROM {table} WHERE {a} = {text} AND id > 3");
            wrote("DELETE 2", &t.ok(&delete).await);
            self.same(&format!("SELECT * FROM {table} ORDER BY id"))
                .await;
        }
        // Which the source cannot hold, or holds as it is.
        let insert = "INSERT INTO s.texts VALUES (1000, $1)";
        let prepared = self.t.session.prepare(insert).await.unwrap();
        let values = [ScalarValue::from("a\0b'; DROP TABLE canary; --")];
        match self.t.session.execute_prepared(&prepared, &values).await {
            Ok(_) => {
                let read = "SELECT v = $1 AS same FROM s.texts WHERE id = 1000";
                self.same_prepared(read, &values).await;
            }
            Err(Error::Source(e)) => assert_ne!(e.code, Code::Internal, "{e}"),
            Err(e) => assert!(e.sqlstate().starts_with("22"), "{}: {e}", e.sqlstate()),
        }
    }

    async fn all(mut self, which: &str) -> System {
        self.names().await;
        self.values().await;
        self.writes().await;
        let canary = shown(&self.plain, "SELECT count(*) AS n FROM s.canary").await;
        assert!(canary.unwrap().contains("| 1 "), "{which}");
        let (compared, sent) = (self.compared, self.sent);
        println!("{which}: {compared} answers are the same with pushdown and without");
        // Of each fifth.
        assert!(
            sent * 15 > compared,
            "hardly anything was sent: {sent} of {compared}"
        );
        self.system
    }
}

fn names(system: &System, texts: &[&'static str]) -> Vec<&'static str> {
    let all = texts.iter().copied();
    all.filter(|name| system.has(name)).collect()
}

/// Two of the names after the n-th.
fn columns(names: &[&'static str], n: usize) -> [&'static str; 2] {
    [1, 2].map(|next| names[(n + next) % names.len()])
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_told_names_and_values() {
    for (which, options) in [
        ("PostgreSQL", ""),
        (
            "PostgreSQL, old strings",
            "-c standard_conforming_strings=off -c escape_string_warning=off -c backslash_quote=on",
        ),
    ] {
        let server = tokio::task::block_in_place(|| postgres::Server::private_with(options));
        let client = connected(server.port).await;
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
        World::new(System::Postgres(client), &url, !options.is_empty())
            .await
            .all(which)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_told_names_and_values() {
    let mut server = mysql::Server::start().await;
    if !server.is_own() {
        println!("not shown: modes of a server that is somebody else's");
        return;
    }
    for mode in [
        "",
        "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT",
        "ANSI",
    ] {
        server.kill();
        server.launch_with(&[format!("--sql-mode={mode}")]).await;
        server.database("crm", &[]).await;
        let url = format!("mysql://root@127.0.0.1:{}/crm", server.port);
        let world = World::new(System::Maria(server), &url, !mode.is_empty()).await;
        let which = format!("MariaDB, sql_mode '{mode}'");
        let System::Maria(ours) = world.all(&which).await else {
            unreachable!("it is the one that it was");
        };
        server = ours;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_told_names_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it's; DROP TABLE canary; --.db");
    let url = format!("sqlite:{}", path.display()).replace('\'', "''");
    World::new(System::Sqlite(path), &url, false)
        .await
        .all("SQLite")
        .await;
}

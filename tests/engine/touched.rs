//! Which changes make a view be computed that is computed when it is read: those of rows that it reads, as far as a log tells.

use std::sync::Arc;
use std::time::Duration;

use belvedere::Session;
use belvedere_connector::Change;
use belvedere_memory::{Image, MemorySource, MemoryTable};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use insta::assert_snapshot;
use mysql_async::prelude::Queryable;

use crate::fixture::{Fixture, database, until};
use crate::memory::InMemory;
use crate::reads::{ok, runs, watched};
use crate::servers::{connected, mysql, postgres};

const PATIENCE: Duration = Duration::from_secs(30);

const TABLES: &str = "CREATE TABLE item (id BIGINT PRIMARY KEY, price BIGINT);
    CREATE TABLE mark (id BIGINT PRIMARY KEY);
    INSERT INTO item VALUES (1, 5), (2, 50), (150, 5), (151, 500);
    INSERT INTO mark VALUES (0)";

/// One that reads rows by what they say, one that reads them by their key.
const VIEWS: [(&str, &str); 2] = [("dear", "price > 10"), ("first", "id < 100")];

/// What is done, and which of the two views it touches where a log has old rows whole, has them by key, or has keys alone.
#[rustfmt::skip]
const CASES: [(&str, [bool; 2], [bool; 2], [bool; 2]); 11] = [
    ("INSERT INTO item VALUES (160, 7)",          [false, false], [false, false], [true, false]),
    ("UPDATE item SET price = 8 WHERE id = 160",  [false, false], [true, false],  [true, false]),
    ("UPDATE item SET price = 80 WHERE id = 160", [true, false],  [true, false],  [true, false]),
    ("UPDATE item SET price = 8 WHERE id = 160",  [true, false],  [true, false],  [true, false]),
    ("DELETE FROM item WHERE id = 160",           [false, false], [true, false],  [true, false]),
    ("UPDATE item SET id = 99 WHERE id = 150",    [false, true],  [true, true],   [true, true]),
    ("UPDATE item SET id = 150 WHERE id = 99",    [false, true],  [true, true],   [true, true]),
    ("INSERT INTO item VALUES (161, NULL)",       [false, false], [false, false], [true, false]),
    ("UPDATE item SET price = 11 WHERE id = 161", [true, false],  [true, false],  [true, false]),
    ("DELETE FROM item WHERE id = 161",           [true, false],  [true, false],  [true, false]),
    ("DELETE FROM item",                          [true, true],   [true, true],   [true, true]),
];

/// The two views, and one more that says how far its source's log was told.
struct Watching<'a> {
    session: &'a Session,
    item: String,
    marks: i64,
}

impl<'a> Watching<'a> {
    async fn new(session: &'a Session, item: &str) -> Self {
        for (view, condition) in VIEWS {
            let query = format!("SELECT id, price FROM {item} WHERE {condition}");
            ok(session, &created(view, &query)).await;
        }
        ok(
            session,
            &created("seen", "SELECT max(id) AS id FROM erp.mark"),
        )
        .await;
        for view in ["dear", "first", "seen"] {
            watched(session, view).await;
        }
        Self {
            session,
            item: item.to_string(),
            marks: 0,
        }
    }

    /// Which views a change makes be computed. `commit` makes it, and then puts a mark.
    async fn touched(&mut self, commit: impl AsyncFnOnce(i64)) -> [bool; 2] {
        self.marks += 1;
        let mut before = Vec::new();
        for (view, _) in VIEWS {
            ok(self.session, &format!("SELECT * FROM {view}")).await;
            before.push(runs(self.session, view).await);
        }
        commit(self.marks).await;
        let mark = format!("SELECT {} AS id", self.marks);
        let mark = ok(self.session, &mark).await;
        until(self.session, "SELECT id FROM seen", &mark, PATIENCE).await;
        let mut touched = [false; 2];
        for (i, (view, condition)) in VIEWS.into_iter().enumerate() {
            let query = format!(
                "SELECT id, price FROM {} WHERE {condition} ORDER BY id",
                self.item
            );
            let kept = ok(self.session, &format!("SELECT * FROM {view} ORDER BY id")).await;
            assert_eq!(kept, ok(self.session, &query).await);
            touched[i] = runs(self.session, view).await != before[i];
        }
        touched
    }

    async fn end(self) {
        for view in ["dear", "first", "seen"] {
            ok(self.session, &format!("DROP MATERIALIZED VIEW {view}")).await;
        }
    }
}

fn created(view: &str, query: &str) -> String {
    format!("CREATE MATERIALIZED VIEW {view} WITH (refresh = 'on read') AS {query}")
}

fn marked(mark: i64) -> String {
    format!("INSERT INTO mark VALUES ({mark})")
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_tells_old_rows_by_key_or_whole() {
    let server = tokio::task::block_in_place(postgres::Server::private);
    let admin = connected(server.port).await;
    admin.batch_execute(TABLES).await.unwrap();
    let whole =
        "CREATE TABLE whole (LIKE item INCLUDING ALL); ALTER TABLE whole REPLICA IDENTITY FULL";
    admin.batch_execute(whole).await.unwrap();
    let t = Fixture::empty().await;
    let port = server.port;
    t.ok(&format!(
        "CREATE SOURCE erp FROM 'postgres://postgres@127.0.0.1:{port}/postgres'"
    ))
    .await;
    for is_kept in [false, true] {
        if is_kept {
            // Its rows are here then, and with them the old ones.
            t.ok("CREATE MATERIALIZED VIEW every WITH (refresh = 'on change') AS SELECT id, price FROM erp.item")
                .await;
            t.ok("SELECT count(*) FROM every").await;
        }
        for table in ["item", "whole"] {
            let fill = format!(
                "DELETE FROM mark; DELETE FROM {table};
                 INSERT INTO {table} VALUES (1, 5), (2, 50), (150, 5), (151, 500)"
            );
            admin.batch_execute(&fill).await.unwrap();
            let mut watching = Watching::new(&t.session, &format!("erp.{table}")).await;
            for (sql, of_whole, by_key, _) in CASES {
                let expected = match table == "whole" || is_kept {
                    true => of_whole,
                    false => by_key,
                };
                let sql = sql.replace("item", table);
                let touched = watching.touched(async |mark| {
                    admin.batch_execute(&sql).await.unwrap();
                    admin.batch_execute(&marked(mark)).await.unwrap();
                });
                assert_eq!(touched.await, expected, "{sql}, kept: {is_kept}");
            }
            let truncated = watching.touched(async |mark| {
                let sql = format!("TRUNCATE {table}");
                admin.batch_execute(&sql).await.unwrap();
                admin.batch_execute(&marked(mark)).await.unwrap();
            });
            assert_eq!(truncated.await, [true, true]);
            watching.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_tells_old_rows_whole() {
    let server = mysql::Server::start_logging().await;
    let tables: Vec<&str> = TABLES.split(';').collect();
    server.database("crm", &tables).await;
    let t = Fixture::empty().await;
    let port = server.port;
    t.ok(&format!(
        "CREATE SOURCE erp FROM 'mysql://root@127.0.0.1:{port}/crm'"
    ))
    .await;
    let mut connection = server.connection_in("crm").await;
    let mut watching = Watching::new(&t.session, "erp.item").await;
    for (sql, of_whole, ..) in CASES {
        let touched = watching.touched(async |mark| {
            connection.query_drop(sql).await.unwrap();
            connection.query_drop(marked(mark)).await.unwrap();
        });
        assert_eq!(touched.await, of_whole, "{sql}");
    }
    watching.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_sqlite_tell_keys() {
    let t = Fixture::empty().await;
    let path = t.path("item.db");
    let tables = TABLES.replace("BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY");
    database(&path, &tables);
    t.ok("CREATE SOURCE erp FROM 'sqlite:item.db' WITH (changes = 'triggers')")
        .await;
    for is_kept in [false, true] {
        if is_kept {
            // What was there between two looks is not known of it.
            t.ok("CREATE MATERIALIZED VIEW every WITH (refresh = 'on change') AS SELECT id, price FROM erp.item")
                .await;
            t.ok("SELECT count(*) FROM every").await;
            let fill =
                "DELETE FROM mark; INSERT INTO item VALUES (1, 5), (2, 50), (150, 5), (151, 500)";
            database(&path, fill);
        }
        let mut watching = Watching::new(&t.session, "erp.item").await;
        for (sql, _, _, keys_alone) in CASES {
            let touched = watching.touched(async |mark| {
                database(&path, sql);
                database(&path, &marked(mark));
            });
            assert_eq!(touched.await, keys_alone, "{sql}, kept: {is_kept}");
        }
        watching.end().await;
    }
}

fn numbers(columns: &[(&str, Vec<Option<i64>>)]) -> RecordBatch {
    let field = |(i, (name, _)): (usize, &(&str, _))| Field::new(*name, DataType::Int64, i > 0);
    let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
    let columns = columns.iter();
    let columns =
        columns.map(|(_, values)| -> ArrayRef { Arc::new(Int64Array::from(values.clone())) });
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect()).unwrap()
}

fn items(rows: &[(i64, i64)]) -> RecordBatch {
    let of = |value: fn(&(i64, i64)) -> i64| rows.iter().map(value).map(Some).collect();
    numbers(&[("id", of(|row| row.0)), ("price", of(|row| row.1))])
}

/// A run may have read what was there for a moment, also where nothing has changed on the whole.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_for_a_moment_counts() {
    for (image, is_kept) in [
        (Image::Whole, false),
        (Image::Key, false),
        (Image::Key, true),
    ] {
        let table = |rows: RecordBatch| {
            MemoryTable::new(rows.schema(), vec![rows]).with_primary_key(&["id"])
        };
        let marks = |mark| numbers(&[("id", vec![Some(mark)])]);
        let source = MemorySource::new("erp")
            .with_table("item", table(items(&[(1, 5), (2, 50), (150, 5)])))
            .with_table("mark", table(marks(0)));
        source.set_log(image, 100, 0);
        let t = InMemory::new(source).await;
        if is_kept {
            t.ok("CREATE MATERIALIZED VIEW every WITH (refresh = 'on change') AS SELECT id, price FROM erp.item")
                .await;
            t.ok("SELECT count(*) FROM every").await;
        }
        let mut watching = Watching::new(&t.session, "erp.item").await;
        let mechanisms =
            "SELECT name, mechanism FROM system.views WHERE refresh = 'on read' ORDER BY name";
        let mechanisms = t.ok(mechanisms).await;
        insta::allow_duplicates! {
        assert_snapshot!(mechanisms, @r"
        +-------+----------------------------------------+
        | name  | mechanism                              |
        +-------+----------------------------------------+
        | dear  | change: erp.main.item where price > 10 |
        | first | change: erp.main.item where id < 100   |
        | seen  | change                                 |
        +-------+----------------------------------------+
        ");
        }
        let put = |from: (i64, i64), to: (i64, i64)| {
            let (rows, weights) = (items(&[from, to]), vec![-1, 1]);
            t.commit(vec![("item", Change::Rows { rows, weights })]);
        };
        let mark = |mark| {
            let (rows, weights) = (marks(mark), vec![1]);
            t.commit(vec![("mark", Change::Rows { rows, weights })]);
        };
        let touched = watching.touched(async |at| {
            put((150, 5), (150, 500));
            put((150, 500), (150, 5));
            mark(at);
        });
        assert_eq!(touched.await, [true, false]);
        let touched = watching.touched(async |at| {
            put((150, 5), (150, 6));
            put((150, 6), (150, 5));
            mark(at);
        });
        assert_eq!(touched.await, [image == Image::Key && !is_kept, false]);
        watching.end().await;
    }
}

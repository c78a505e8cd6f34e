//! A source behind a proxy that misbehaves: its own queries fail as they should, others' do not notice, nothing is lost,
//! and it works again once the proxy does.

use std::sync::Arc;
use std::time::Duration;

use belvedere::{Answer, Engine, Error, Session};
use belvedere_memory::{Fault, MemoryConnector, MemorySource, MemoryTable};
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use futures::StreamExt;
use tokio::task::JoinHandle;

use crate::fixture::{Fixture, database, shown};
use crate::proxy::{Mode, Proxy};
use crate::servers::{connected, mysql, postgres};

/// Of the table `big`: more than connections buffer.
const ROWS: usize = 200_000;
const CONNECTIONS: usize = 3;
/// Far more than anything here takes, so that what hangs fails.
const PATIENCE: Duration = Duration::from_secs(120);
const READ: &str = "SELECT id, pad FROM sick.big";

/// A real server behind a proxy, as the source `sick`; `well` is SQLite.
struct Ward {
    fixture: Fixture,
    proxy: Proxy,
    server: Server,
}

enum Server {
    Postgres(postgres::Server),
    Mysql(mysql::Server),
}

impl Server {
    async fn execute(&self, sql: &str) {
        match self {
            Self::Postgres(server) => {
                let port = server.port;
                let client = connected(port).await;
                client.batch_execute(sql).await.unwrap();
            }
            Self::Mysql(server) => {
                for statement in sql.split(';') {
                    server.ask("ward", statement).await;
                }
            }
        }
    }

    fn url(&self, port: u16) -> String {
        match self {
            Self::Postgres(_) => format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            Self::Mysql(_) => format!("mysql://root@127.0.0.1:{port}/ward"),
        }
    }
}

impl Ward {
    async fn postgres() -> Self {
        let server = tokio::task::block_in_place(postgres::Server::private);
        let proxy = Proxy::before(server.port).await;
        let server = Server::Postgres(server);
        let rows = format!(
            "SELECT i AS id, repeat('x', 100) || i AS pad FROM generate_series(1, {ROWS}) AS i"
        );
        server.execute(&format!("CREATE TABLE big AS {rows}; CREATE TABLE item AS SELECT * FROM big WHERE id <= 8; ANALYZE")).await;
        Self::with(server, proxy).await
    }

    async fn mysql() -> Self {
        let server = mysql::Server::start().await;
        let rows =
            format!("SELECT seq AS id, concat(repeat('x', 100), seq) AS pad FROM seq_1_to_{ROWS}");
        let tables = [
            format!("CREATE TABLE big AS {rows}"),
            "CREATE TABLE item AS SELECT * FROM big WHERE id <= 8".to_string(),
        ];
        server
            .database("ward", &tables.each_ref().map(String::as_str))
            .await;
        let proxy = Proxy::before(server.port).await;
        let server = Server::Mysql(server);
        Self::with(server, proxy).await
    }

    async fn with(server: Server, proxy: Proxy) -> Self {
        let fixture = Fixture::empty().await;
        fixture.ok("CREATE SOURCE well FROM 'sqlite:erp.db'").await;
        let url = server.url(proxy.port);
        fixture
            .ok(&format!(
                "CREATE SOURCE sick FROM '{url}' WITH (max_connections = {CONNECTIONS}, connect_timeout = 60)"
            ))
            .await;
        Self {
            fixture,
            proxy,
            server,
        }
    }

    /// A read of the large table, its first batch taken.
    async fn begun(&self) -> (Answer, usize) {
        let mut answer = self.fixture.session.execute(READ).await.unwrap();
        let first = answer.stream.next().await.unwrap().unwrap();
        (answer, first.num_rows())
    }

    /// A query of the sick source, on its way.
    fn ask(&self) -> JoinHandle<Result<String, Error>> {
        let session = self.fixture.engine.session();
        tokio::spawn(async move { shown(&session, "SELECT count(*) AS n FROM sick.item").await })
    }

    /// Others' queries are answered, as often as they ask.
    async fn others_do_not_notice(&self) {
        let others = async {
            for _ in 0..20 {
                let found = self.fixture.ok("SELECT count(*) AS n FROM well.item").await;
                assert!(found.contains("| 3 |"), "{found}");
                // What is known of the sick one is there, too.
                self.fixture.ok("SELECT * FROM system.sources").await;
                self.fixture.ok("DESCRIBE sick.big").await;
            }
        };
        tokio::time::timeout(PATIENCE, others).await.unwrap();
    }

    /// The sick source works again, and holds nothing of what was.
    async fn is_well_again(&self) {
        self.proxy.set(Mode::Pass).await;
        let again = async {
            // More at once than it has connections.
            let all = (0..2 * CONNECTIONS).map(|_| self.ask());
            for found in futures::future::join_all(all).await {
                let found = found.unwrap().unwrap();
                assert!(found.contains("| 8 |"), "{found}");
            }
            self.until("SELECT running = 0 AND waiting = 0 AND state = 'ok' AS done FROM system.sources WHERE name = 'sick'").await;
            while self.proxy.open() > CONNECTIONS {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, again).await.unwrap();
    }

    async fn until(&self, query: &str) {
        while !self.fixture.ok(query).await.contains("| true |") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The rest of an answer.
async fn rest(mut answer: Answer) -> Result<usize, Error> {
    let mut rows = 0;
    let reading = async {
        while let Some(batch) = answer.stream.next().await {
            rows += batch?.num_rows();
        }
        Ok(rows)
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap()
}

/// That many statements with a limit, all ended by it.
async fn end_in_time(ward: &Ward, statements: usize) {
    let ended = (0..statements).map(|_| async {
        let limit = [("statement_timeout".to_string(), "300ms".to_string())];
        let answer = ward.fixture.session.execute_with(READ, &limit).await;
        let error = match answer {
            Err(error) => error,
            Ok(answer) => rest(answer).await.unwrap_err(),
        };
        let code = error.code();
        assert!(
            matches!(code, "timeout" | "source_timeout" | "source_busy"),
            "{code}: {error}"
        );
    });
    tokio::time::timeout(PATIENCE, futures::future::join_all(ended))
        .await
        .unwrap();
}

async fn hangs(ward: Ward) {
    let (read, first) = ward.begun().await;
    ward.proxy.set(Mode::Hang).await;
    // One has a connection that is there, others need new ones, or wait for a place.
    let asked: Vec<_> = (0..2 * CONNECTIONS).map(|_| ward.ask()).collect();
    ward.until("SELECT waiting > 0 AS done FROM system.sources WHERE name = 'sick'")
        .await;
    ward.others_do_not_notice().await;
    end_in_time(&ward, 2 * CONNECTIONS).await;
    assert!(asked.iter().all(|asked| !asked.is_finished()), "they wait");
    ward.is_well_again().await;
    // What had only been held up comes through.
    assert_eq!(first + rest(read).await.unwrap(), ROWS);
    for asked in asked {
        assert!(asked.await.unwrap().unwrap().contains("| 8 |"));
    }
}

async fn hangs_in_mid_answer(ward: Ward) {
    // Each has its limit while the answer flows, and meets it when it does not.
    let limit = [("statement_timeout".to_string(), "5s".to_string())];
    let mut answer = ward
        .fixture
        .session
        .execute_with(READ, &limit)
        .await
        .unwrap();
    answer.stream.next().await.unwrap().unwrap();
    ward.proxy.set(Mode::Hang).await;
    let code = rest(answer).await.unwrap_err().code();
    assert!(matches!(code, "timeout" | "source_timeout"), "{code}");
    ward.is_well_again().await;
    // By the source's own limit, too.
    let alter = "ALTER SOURCE sick";
    ward.fixture
        .ok(&format!("{alter} SET (statement_timeout = '5s')"))
        .await;
    let (read, _) = ward.begun().await;
    ward.proxy.set(Mode::Hang).await;
    assert_eq!(rest(read).await.unwrap_err().code(), "source_timeout");
    ward.proxy.set(Mode::Pass).await;
    ward.fixture
        .ok(&format!("{alter} RESET (statement_timeout)"))
        .await;
    ward.is_well_again().await;
}

async fn drips(ward: Ward) {
    let (read, _) = ward.begun().await;
    ward.proxy.set(Mode::Drip).await;
    let reading = tokio::spawn(rest(read));
    let asked: Vec<_> = (0..CONNECTIONS).map(|_| ward.ask()).collect();
    ward.others_do_not_notice().await;
    end_in_time(&ward, CONNECTIONS).await;
    assert!(!reading.is_finished());
    reading.abort();
    ward.is_well_again().await;
    for asked in asked {
        assert!(asked.await.unwrap().unwrap().contains("| 8 |"));
    }
}

async fn breaks(ward: Ward, how: Mode) {
    let (read, _) = ward.begun().await;
    ward.proxy.set(how).await;
    // Never a shorter answer.
    let error = rest(read).await.unwrap_err();
    assert_eq!(error.code(), "source_unreachable", "{error}");
    assert!(error.to_string().contains("source sick"), "{error}");
    for asked in (0..CONNECTIONS).map(|_| ward.ask()) {
        let error = asked.await.unwrap().unwrap_err();
        assert_eq!(error.code(), "source_unreachable", "{error}");
    }
    ward.until("SELECT state = 'down' AS done FROM system.sources WHERE name = 'sick'")
        .await;
    ward.others_do_not_notice().await;
    ward.is_well_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_hangs() {
    hangs(Ward::postgres().await).await;
    hangs_in_mid_answer(Ward::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_that_hangs() {
    hangs(Ward::mysql().await).await;
    hangs_in_mid_answer(Ward::mysql().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_drips() {
    drips(Ward::postgres().await).await;
    drips(Ward::mysql().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_resets_its_connections() {
    breaks(Ward::postgres().await, Mode::Reset).await;
    breaks(Ward::mysql().await, Mode::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_nobody_serves() {
    breaks(Ward::postgres().await, Mode::Refuse).await;
    breaks(Ward::mysql().await, Mode::Refuse).await;
}

/// What is held of an answer is bounded by its bytes, not by its rows alone.
#[tokio::test(flavor = "multi_thread")]
async fn wide_rows_come_in_small_batches() {
    const WIDE: usize = 50;
    const MEGABYTE: usize = 1_000_000;
    let pad = format!("repeat('x', {MEGABYTE}) AS pad");
    let postgres = Ward::postgres().await;
    let rows = format!("SELECT i AS id, {pad} FROM generate_series(1, {WIDE}) AS i");
    postgres
        .server
        .execute(&format!("CREATE TABLE wide AS {rows}"))
        .await;
    let mysql = Ward::mysql().await;
    let rows = format!("SELECT seq AS id, {pad} FROM seq_1_to_{WIDE}");
    mysql
        .server
        .execute(&format!("CREATE TABLE wide AS {rows}"))
        .await;
    let sqlite = format!(
        "CREATE TABLE wide (id INTEGER, pad TEXT);
         WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < {WIDE})
         INSERT INTO wide SELECT x, hex(zeroblob({MEGABYTE} / 2)) FROM i"
    );
    database(&mysql.fixture.path("erp.db"), &sqlite);
    for (ward, source) in [(&postgres, "sick"), (&mysql, "sick"), (&mysql, "well")] {
        let query = format!("SELECT id, pad FROM {source}.wide");
        let answer = ward.fixture.session.execute(&query).await.unwrap();
        let batches = answer.collect().await.unwrap();
        let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(rows.iter().sum::<usize>(), WIDE);
        assert!(rows.iter().all(|rows| *rows <= 16), "{source}: {rows:?}");
        let pads = batches
            .iter()
            .map(|batch| batch.column(1).as_string::<i32>());
        let bytes: usize = pads.map(|pads| pads.value_data().len()).sum();
        assert_eq!(bytes, WIDE * MEGABYTE);
    }
}

/// Behind our back: what was known is read again, and the query planned again.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_columns_change_their_types() {
    for ward in [Ward::postgres().await, Ward::mysql().await] {
        let session: &Session = &ward.fixture.session;
        let query = "SELECT max(id) AS most FROM sick.item";
        let prepared = session.prepare(query).await.unwrap();
        assert!(ward.fixture.ok(query).await.contains("| 8 "));
        ward.server
            .execute(match ward.server {
                Server::Postgres(_) => {
                    "ALTER TABLE item ALTER COLUMN id TYPE text USING 'number ' || id"
                }
                Server::Mysql(_) => {
                    "ALTER TABLE item MODIFY id TEXT; UPDATE item SET id = concat('number ', id)"
                }
            })
            .await;
        let found = ward.fixture.ok(query).await;
        assert!(found.contains("| number 8 |"), "{found}");
        // Whoever was told other types is told so, and given nothing else.
        let error = match session.execute_prepared(&prepared, &[]).await {
            Ok(answer) => panic!("an answer of {}", answer.schema),
            Err(e) => e,
        };
        assert_eq!(error.code(), "source_schema_changed", "{error}");
    }
}

/// A source that breaks its contract: its rows are not of the types it declares, however often it is read.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_match_their_schema() {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![1, 2]))]);
    let table = MemoryTable::new(schema, vec![rows.unwrap()]);
    let source = MemorySource::new("sick").with_table("t", table);
    let connector = MemoryConnector::new().with(source.clone());
    let builder = Engine::builder().connector(Arc::new(connector));
    let fixture = Fixture::empty().await;
    let engine = builder.base_dir(fixture.dir.path()).open().await.unwrap();
    let session = engine.session();
    for name in ["sick FROM 'memory:sick'", "well FROM 'sqlite:erp.db'"] {
        shown(&session, &format!("CREATE SOURCE {name}"))
            .await
            .unwrap();
    }
    let other = Arc::new(Schema::new(vec![Field::new("n", DataType::Utf8, false)]));
    source.inject(Fault::WrongSchema(other));
    let error = shown(&session, "SELECT n FROM sick.t").await.unwrap_err();
    insta::assert_snapshot!(fixture.text(&error), @"source_schema_changed: source sick: the answer does not have the types asked for. Run REFRESH SOURCE sick and try again");
    shown(&session, "SELECT * FROM well.item").await.unwrap();
    source.inject(Fault::None);
    shown(&session, "SELECT n FROM sick.t").await.unwrap();
}

//! What is cut × when it is cut, for each source with a log: afterwards a view is what its query is, nothing is lost or there
//! twice, and what goes on where it stopped does so without the right to read the tables again.
//!
//! Some cells by chance (BELVEDERE_MATRIX_SEED repeats a run), or as many as BELVEDERE_MATRIX_CELLS says for each source.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use belvedere::{Engine, Session};
use mysql_async::prelude::Queryable;
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::fixture::shown;
use crate::proxy::{Mode, Proxy};
use crate::servers::{connected, mysql, postgres};

const PATIENCE: Duration = Duration::from_secs(60);
/// Rows of a table that is cut while it is copied.
const MANY: usize = 60_000;
const FEW: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    /// Connections are reset.
    Reset,
    /// Nothing comes through for a while, then connections are reset.
    Silence,
    /// The server ends its side of them.
    Terminate,
    /// The server crashes, and is there again.
    Restart,
    /// The engine is closed, and opened again.
    Close,
    /// The engine's process is killed.
    Kill,
    /// The engine is closed, and the log is gone when it is opened again.
    LoseLog,
}

const CUTS: [Cut; 7] = [
    Cut::Reset,
    Cut::Silence,
    Cut::Terminate,
    Cut::Restart,
    Cut::Close,
    Cut::Kill,
    Cut::LoseLog,
];

#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Moment {
    BeforeFirstRow,
    MidSnapshot,
    HandOver,
    MidTransaction,
    AfterCommit,
    Checkpoint,
    Idle,
}

const MOMENTS: [Moment; 7] = [
    Moment::BeforeFirstRow,
    Moment::MidSnapshot,
    Moment::HandOver,
    Moment::MidTransaction,
    Moment::AfterCommit,
    Moment::Checkpoint,
    Moment::Idle,
];

/// A source, as who owns it sees it.
enum System {
    Postgres(postgres::Server, Proxy),
    Maria(Box<mysql::Server>, Proxy),
    Sqlite(TempDir),
}

/// A connection of a writer's.
enum Writer {
    Postgres(Client),
    Maria(mysql_async::Conn),
    Sqlite(rusqlite::Connection),
}

impl Writer {
    /// Whether it was done: a server that is restarted ends what was open.
    async fn run(&mut self, sql: &str) -> bool {
        match self {
            Self::Postgres(client) => client.batch_execute(sql).await.is_ok(),
            Self::Maria(conn) => {
                for statement in sql.split(';').filter(|sql| !sql.trim().is_empty()) {
                    if conn.query_drop(statement).await.is_err() {
                        return false;
                    }
                }
                true
            }
            Self::Sqlite(connection) => connection.execute_batch(sql).is_ok(),
        }
    }

    async fn ask(&mut self, sql: &str) -> String {
        match self {
            Self::Postgres(client) => client.query_one(sql, &[]).await.unwrap().get(0),
            Self::Maria(conn) => conn.query_first(sql).await.unwrap().unwrap(),
            Self::Sqlite(connection) => connection.query_row(sql, [], |row| row.get(0)).unwrap(),
        }
    }
}

impl System {
    async fn postgres() -> Self {
        let server = tokio::task::block_in_place(postgres::Server::private);
        let proxy = Proxy::before(server.port).await;
        let system = Self::Postgres(server, proxy);
        let sql =
            "CREATE ROLE follower LOGIN REPLICATION; GRANT CREATE ON DATABASE postgres TO follower;
            GRANT pg_read_all_stats TO follower; GRANT ALL ON SCHEMA public TO follower";
        assert!(system.writer().await.run(sql).await);
        system
    }

    async fn maria() -> Self {
        let server = mysql::Server::start_logging().await;
        server.database("matrix", &[]).await;
        for host in ["%", "localhost"] {
            let user = format!("follower@'{host}'");
            for sql in [
                format!("CREATE USER {user}"),
                format!("GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {user}"),
                // To see the database itself.
                format!("GRANT SHOW VIEW ON matrix.* TO {user}"),
            ] {
                let mut owner = server.connection_in("matrix").await;
                server.run(&mut owner, &sql).await;
            }
        }
        let proxy = Proxy::before(server.port).await;
        Self::Maria(Box::new(server), proxy)
    }

    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = rusqlite::Connection::open(folder.path().join("matrix.db")).unwrap();
        let wal = connection.execute_batch("PRAGMA journal_mode = WAL");
        wal.unwrap();
        Self::Sqlite(folder)
    }

    fn can(&self, cut: Cut, moment: Moment) -> bool {
        match self {
            Self::Sqlite(_) => {
                matches!(cut, Cut::Close | Cut::Kill | Cut::LoseLog)
                    && !matches!(moment, Moment::BeforeFirstRow | Moment::MidSnapshot)
                    // Who writes has the file for himself.
                    && (cut, moment) != (Cut::LoseLog, Moment::MidTransaction)
            }
            _ => true,
        }
    }

    fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::Postgres(_, proxy) | Self::Maria(_, proxy) => Some(proxy),
            Self::Sqlite(_) => None,
        }
    }

    fn definition(&self) -> String {
        match self {
            Self::Postgres(_, proxy) => {
                format!("'postgres://follower@127.0.0.1:{}/postgres'", proxy.port)
            }
            Self::Maria(_, proxy) => {
                format!("'mysql://follower@127.0.0.1:{}/matrix'", proxy.port)
            }
            Self::Sqlite(folder) => format!(
                "'sqlite:{}' WITH (changes = 'triggers')",
                folder.path().join("matrix.db").display()
            ),
        }
    }

    async fn writer(&self) -> Writer {
        match self {
            Self::Postgres(server, _) => {
                let client = connected(server.port).await;
                Writer::Postgres(client)
            }
            Self::Maria(server, _) => Writer::Maria(server.connection_in("matrix").await),
            Self::Sqlite(folder) => {
                let connection = rusqlite::Connection::open(folder.path().join("matrix.db"));
                let connection = connection.unwrap();
                connection.busy_timeout(PATIENCE).unwrap();
                Writer::Sqlite(connection)
            }
        }
    }

    async fn run(&self, sql: &str) {
        assert!(self.writer().await.run(sql).await, "{sql}");
    }

    /// Tables with a key and without.
    async fn create(&self, cell: usize, rows: usize) {
        let series = match self {
            Self::Postgres(..) => format!("generate_series(1, {rows}) AS s(i)"),
            Self::Maria(server, _) => {
                let numbers = format!("(SELECT seq AS i FROM seq_1_to_{rows}) s");
                server.brand.words(&numbers).remove(0)
            }
            Self::Sqlite(_) => format!(
                "(WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {rows}) SELECT i FROM s) s"
            ),
        };
        let pad = match self {
            Self::Sqlite(_) => "printf('%0300d', i)",
            _ => "concat(repeat('x', 300), i)",
        };
        self.run(&format!(
            "CREATE TABLE t{cell} (id bigint PRIMARY KEY, n bigint, v varchar(400));
             CREATE TABLE e{cell} (n bigint, v varchar(40));
             INSERT INTO t{cell} SELECT i, i % 10, {pad} FROM {series};
             INSERT INTO e{cell} VALUES (1, 'a'), (1, 'a')"
        ))
        .await;
        match self {
            Self::Postgres(..) => {
                self.run(&format!(
                    "ALTER TABLE e{cell} REPLICA IDENTITY FULL;
                     ALTER TABLE t{cell} OWNER TO follower; ALTER TABLE e{cell} OWNER TO follower"
                ))
                .await;
            }
            Self::Maria(..) => {
                for host in ["%", "localhost"] {
                    self.run(&format!(
                        "GRANT SELECT ON matrix.t{cell} TO follower@'{host}';
                         GRANT SELECT ON matrix.e{cell} TO follower@'{host}'"
                    ))
                    .await;
                }
            }
            Self::Sqlite(_) => {}
        }
    }

    async fn drop(&self, cell: usize) {
        self.run(&format!("DROP TABLE t{cell}; DROP TABLE e{cell}"))
            .await;
    }

    /// Who follows may not read the tables any more.
    async fn forbid(&self, cell: usize) {
        for table in [format!("t{cell}"), format!("e{cell}")] {
            match self {
                Self::Postgres(..) => {
                    self.run(&format!("REVOKE ALL ON {table} FROM follower"))
                        .await;
                }
                Self::Maria(..) => {
                    for host in ["%", "localhost"] {
                        self.run(&format!(
                            "REVOKE SELECT ON matrix.{table} FROM follower@'{host}'"
                        ))
                        .await;
                    }
                }
                Self::Sqlite(_) => {}
            }
        }
    }

    /// What both tables have, in a few numbers.
    async fn numbers(&self, cell: usize) -> String {
        let mut writer = self.writer().await;
        let sql = format!(
            "SELECT concat_ws(' ', (SELECT count(*) FROM t{cell}), (SELECT sum(n) FROM t{cell}), (SELECT sum(id * n) FROM t{cell}),
                (SELECT sum(length(v)) FROM t{cell}), (SELECT count(*) FROM e{cell}), (SELECT sum(n) FROM e{cell}))"
        );
        writer.ask(&sql).await
    }

    async fn terminate(&self) {
        match self {
            Self::Postgres(..) => {
                self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'follower'")
                    .await;
            }
            Self::Maria(server, _) => {
                let ids = "SELECT CAST(id AS CHAR) FROM information_schema.processlist WHERE user = 'follower'";
                for id in server.ask("matrix", ids).await.into_iter().flatten() {
                    // It may have ended meanwhile.
                    self.writer().await.run(&format!("KILL {id}")).await;
                }
            }
            Self::Sqlite(_) => {}
        }
    }

    async fn restart(&mut self) {
        match self {
            Self::Postgres(server, _) => tokio::task::block_in_place(|| server.restart()),
            Self::Maria(server, _) => {
                server.kill();
                server.launch_logging().await;
            }
            Self::Sqlite(_) => {}
        }
    }

    /// Nobody follows now.
    async fn lose_log(&self) {
        self.terminate().await;
        match self {
            Self::Postgres(..) => {
                let lost = async {
                    let sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT temporary";
                    while !self.writer().await.run(sql).await {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                tokio::time::timeout(PATIENCE, lost).await.unwrap();
            }
            Self::Maria(server, _) => {
                self.run("FLUSH BINARY LOGS").await;
                let mut conn = server.connection_in("matrix").await;
                let files: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await.unwrap();
                let newest = files.last().expect("a file is written to");
                let newest: String = newest.get(0).expect("it has a name");
                self.run(&format!("PURGE BINARY LOGS TO '{newest}'")).await;
            }
            // There is none before the first copy.
            Self::Sqlite(_) => {
                self.writer()
                    .await
                    .run("DELETE FROM belvedere_changes")
                    .await;
            }
        }
    }

    /// Wait until a table is being read. False: it was too fast.
    async fn is_reading(&self, cell: usize, host: &Host) -> bool {
        let sql = match self {
            Self::Postgres(..) => "SELECT count(*)::text FROM pg_stat_progress_copy".to_string(),
            _ => format!(
                "SELECT CAST(count(*) AS CHAR) FROM information_schema.processlist WHERE user = 'follower' AND info LIKE '%t{cell}%' AND (state LIKE '%net%' OR state LIKE '%client%')"
            ),
        };
        let mut writer = self.writer().await;
        let until = Instant::now() + PATIENCE;
        while writer.ask(&sql).await == "0" {
            if host.is_filled().await {
                return false;
            }
            assert!(Instant::now() < until, "nothing is copied");
        }
        true
    }
}

/// Where the engine is.
enum Host {
    Here(Engine, Session),
    /// A process, and how it is reached.
    There(Child, String),
}

impl Host {
    async fn here(data: &Path) -> Self {
        let engine = Engine::builder().data_dir(data).open().await.unwrap();
        let session = engine.session();
        Self::Here(engine, session)
    }

    fn there(data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_belvedere"));
        let command = command
            .args([
                "serve",
                "--flight",
                "127.0.0.1:0",
                "--postgres",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(data);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| {
            let line = line.unwrap();
            let mut words = line.split_whitespace();
            words
                .find(|word| word.starts_with("grpc://"))
                .map(str::to_string)
        });
        Self::There(child, url.unwrap())
    }

    /// The first row of an answer, if there is one.
    async fn run(&self, sql: &str) -> Result<Vec<String>, String> {
        let row = match self {
            Self::Here(_, session) => {
                let answer = shown(session, sql).await.map_err(|e| e.to_string())?;
                let row = answer.lines().nth(3).unwrap_or_default().to_string();
                row.trim_matches('|').replace('|', ",")
            }
            Self::There(_, url) => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_belvedere"));
                command.args(["sql", "--format", "csv", "--connect", url, "-c", sql]);
                let said = tokio::task::block_in_place(|| command.output().unwrap());
                if !said.status.success() {
                    return Err(String::from_utf8_lossy(&said.stderr).into_owned());
                }
                let answer = String::from_utf8(said.stdout).unwrap();
                answer.lines().nth(1).unwrap_or_default().to_string()
            }
        };
        let values = row.split(',').map(|value| value.trim().to_string());
        Ok(values.collect())
    }

    async fn ok(&self, sql: &str) -> Vec<String> {
        let done = self.run(sql).await;
        done.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn is_filled(&self) -> bool {
        let sql = "SELECT count(*) AS n FROM system.views WHERE state = 'live'";
        self.ok(sql).await == ["2"]
    }

    /// What both views have, in a few numbers.
    async fn numbers(&self) -> Result<String, String> {
        let sql = "SELECT * FROM (SELECT count(*), sum(n), sum(id * n), sum(length(v)) FROM kept), (SELECT c, s FROM sums)";
        Ok(self.run(sql).await?.join(" "))
    }

    async fn end(self) {
        match self {
            Self::Here(engine, session) => {
                drop(session);
                engine.close().await.unwrap();
            }
            Self::There(mut child, _) => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
    }
}

/// One transaction of each kind of change.
fn edits(cell: usize, step: usize) -> [String; 2] {
    let new = 1_000_000 + step;
    [
        format!(
            "UPDATE t{cell} SET n = n + 1 WHERE id % 50 = {}; INSERT INTO t{cell} VALUES ({new}, {step}, 'new')",
            step % 50
        ),
        format!(
            "DELETE FROM t{cell} WHERE id = {}; INSERT INTO e{cell} VALUES ({step}, 'b'), ({step}, 'b');
             DELETE FROM e{cell} WHERE n = {}",
            step + 1,
            step.wrapping_sub(2)
        ),
    ]
}

struct Cell<'a> {
    system: &'a mut System,
    number: usize,
    cut: Cut,
    moment: Moment,
    data: TempDir,
    steps: usize,
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = format!("{:?}", self.moment);
        write!(
            f,
            "{:3} {:<9} {moment:<14}",
            self.number,
            format!("{:?}", self.cut)
        )
    }
}

impl Cell<'_> {
    async fn write(&mut self) {
        self.steps += 1;
        let edits = edits(self.number, self.steps);
        let sql = format!("BEGIN; {}; {}; COMMIT", edits[0], edits[1]);
        self.system.run(&sql).await;
    }

    async fn until_same(&self, host: &Host) {
        let expected = self.system.numbers(self.number).await;
        let mut last = Ok(String::new());
        let wait = async {
            while last.as_ref() != Ok(&expected) {
                tokio::time::sleep(Duration::from_millis(10)).await;
                last = host.numbers().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        if waited.is_err() {
            let problem =
                "SELECT view, source, problem FROM system.freshness WHERE problem IS NOT NULL";
            let problem = host.run(problem).await;
            panic!("{self}: {last:?} instead of {expected}: {problem:?}");
        }
    }

    async fn define(&self, host: &Host) {
        let n = self.number;
        let definition = self.system.definition();
        host.ok(&format!("CREATE SOURCE src{n} FROM {definition}"))
            .await;
    }

    async fn follow(&self, host: &Host) {
        let n = self.number;
        for view in [
            format!("kept WITH (refresh = 'on change') AS SELECT id, n, v FROM src{n}.t{n}"),
            format!(
                "sums WITH (refresh = 'on change') AS SELECT count(*) AS c, sum(n) AS s FROM src{n}.e{n}"
            ),
        ] {
            host.ok(&format!("CREATE MATERIALIZED VIEW {view}")).await;
        }
    }

    /// Bring it about that it is this moment; what is to be run when it is over.
    async fn reach(&mut self, host: &Host, random: &mut fastrand::Rng) -> Option<(Writer, String)> {
        let n = self.number;
        if self.moment > Moment::HandOver {
            self.follow(host).await;
            self.until_same(host).await;
            self.write().await;
            self.until_same(host).await;
            if self.cut != Cut::LoseLog {
                self.system.forbid(n).await;
            }
        }
        let pause = async |most: u64, random: &mut fastrand::Rng| {
            tokio::time::sleep(Duration::from_millis(random.u64(0..most))).await;
        };
        match self.moment {
            Moment::BeforeFirstRow => {
                let mut locker = self.system.writer().await;
                let (lock, unlock) = match self.system {
                    System::Postgres(..) => (
                        format!("BEGIN; LOCK TABLE t{n} IN ACCESS EXCLUSIVE MODE"),
                        "COMMIT",
                    ),
                    _ => (format!("LOCK TABLES t{n} WRITE"), "UNLOCK TABLES"),
                };
                assert!(locker.run(&lock).await);
                self.follow(host).await;
                pause(300, random).await;
                return Some((locker, unlock.to_string()));
            }
            Moment::MidSnapshot => {
                self.follow(host).await;
                if self.system.is_reading(n, host).await {
                    let proxy = self.system.proxy().expect("a server is reached by a proxy");
                    proxy.set(Mode::Hang).await;
                } else {
                    println!("{self} was too late");
                }
            }
            Moment::HandOver => {
                self.follow(host).await;
                self.write().await;
                pause(200, random).await;
            }
            Moment::MidTransaction => {
                self.steps += 1;
                let [first, rest] = edits(n, self.steps);
                let mut writer = self.system.writer().await;
                assert!(writer.run(&format!("BEGIN; {first}")).await);
                pause(100, random).await;
                return Some((writer, format!("{rest}; COMMIT")));
            }
            Moment::AfterCommit => {
                self.write().await;
                self.until_same(host).await;
            }
            Moment::Checkpoint => {
                let until = Instant::now() + Duration::from_millis(900 + random.u64(0..400));
                while Instant::now() < until {
                    self.write().await;
                }
            }
            Moment::Idle => pause(1500, random).await,
        }
        None
    }

    /// It is cut, and ends being so.
    async fn cut(&mut self, host: Host, random: &mut fastrand::Rng) -> Host {
        let can_write = !matches!(self.moment, Moment::BeforeFirstRow | Moment::MidTransaction);
        let again = match self.cut {
            Cut::Reset | Cut::Silence => {
                if self.cut == Cut::Silence {
                    self.proxied(Mode::Hang).await;
                    if can_write {
                        self.write().await;
                    }
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                self.proxied(Mode::Reset).await;
                tokio::time::sleep(Duration::from_millis(random.u64(0..200))).await;
                host
            }
            Cut::Terminate => {
                self.system.terminate().await;
                host
            }
            Cut::Restart => {
                self.system.restart().await;
                host
            }
            Cut::Close | Cut::Kill | Cut::LoseLog => {
                host.end().await;
                if can_write {
                    self.write().await;
                }
                if self.cut == Cut::LoseLog {
                    self.system.lose_log().await;
                }
                self.proxied(Mode::Pass).await;
                Host::here(self.data.path()).await
            }
        };
        self.proxied(Mode::Pass).await;
        again
    }

    async fn proxied(&self, mode: Mode) {
        if let Some(proxy) = self.system.proxy() {
            proxy.set(mode).await;
        }
    }

    async fn run(&mut self, random: &mut fastrand::Rng) {
        let rows = match self.moment {
            Moment::MidSnapshot => MANY,
            _ => FEW,
        };
        self.system.create(self.number, rows).await;
        let host = match self.cut {
            Cut::Kill => Host::there(self.data.path()),
            _ => Host::here(self.data.path()).await,
        };
        self.define(&host).await;
        let open = self.reach(&host, random).await;
        let host = self.cut(host, random).await;
        if let Some((mut writer, rest)) = open {
            let is_done = writer.run(&rest).await;
            assert!(is_done || self.cut == Cut::Restart, "{self}: {rest}");
        }
        self.write().await;
        self.until_same(&host).await;
        self.write().await;
        self.until_same(&host).await;
        host.ok(&format!("DROP SOURCE src{} CASCADE", self.number))
            .await;
        host.end().await;
        self.system.drop(self.number).await;
    }
}

async fn matrix(name: &str, mut system: System, most: usize) {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seed = number("BELVEDERE_MATRIX_SEED").unwrap_or_else(|| fastrand::u64(..));
    let most = number("BELVEDERE_MATRIX_CELLS").map_or(most, |most| most as usize);
    println!("{name}: BELVEDERE_MATRIX_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let cells = CUTS
        .into_iter()
        .flat_map(|cut| MOMENTS.map(|moment| (cut, moment)));
    let mut cells: Vec<_> = cells
        .filter(|(cut, moment)| system.can(*cut, *moment))
        .collect();
    random.shuffle(&mut cells);
    cells.truncate(most);
    for (number, (cut, moment)) in cells.into_iter().enumerate() {
        let begun = Instant::now();
        let mut cell = Cell {
            system: &mut system,
            number,
            cut,
            moment,
            data: tempfile::tempdir().unwrap(),
            steps: 0,
        };
        cell.run(&mut random).await;
        println!(
            "{name} {cell} holds, {:.1} s",
            begun.elapsed().as_secs_f64()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_cut_whenever_postgres() {
    matrix("PostgreSQL", System::postgres().await, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_cut_whenever_mariadb() {
    let name = match mysql::brand::Brand::tested().is_mysql() {
        true => "MySQL",
        false => "MariaDB",
    };
    matrix(name, System::maria().await, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_cut_whenever_sqlite() {
    matrix("SQLite", System::sqlite(), 5).await;
}

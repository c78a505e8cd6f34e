//! How much a source is asked, and how patiently: tried again, left alone, limited, in turn.

use std::sync::Arc;
use std::time::Duration;

use belvedere::{Engine, Error, Session};
use belvedere_connector::Code;
use belvedere_memory::{Fault, MemoryConnector, MemorySource, MemoryTable};
use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use futures::StreamExt;
use insta::assert_snapshot;
use tokio::task::JoinHandle;

use crate::fixture::shown;

/// Far more than anything here takes, so that what hangs fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than one batch.
const ROWS: i64 = 20_000;

/// A source in memory, named `m`, with two tables.
struct Bench {
    source: MemorySource,
    engine: Engine,
    session: Session,
}

impl Bench {
    async fn new(options: &str) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let rows = Arc::new(Int64Array::from_iter_values(0..ROWS));
        let rows = RecordBatch::try_new(schema.clone(), vec![rows]).unwrap();
        let table = || MemoryTable::new(schema.clone(), vec![rows.clone()]);
        let source = MemorySource::new("m")
            .with_table("t", table())
            .with_table("u", table());
        let connector = MemoryConnector::new().with(source.clone());
        let engine = Engine::builder()
            .connector(Arc::new(connector))
            .open()
            .await
            .unwrap();
        let session = engine.session();
        let bench = Self {
            source,
            engine,
            session,
        };
        bench
            .ok(&format!("CREATE SOURCE m FROM 'memory:m' WITH ({options})"))
            .await;
        bench
    }

    async fn ok(&self, sql: &str) -> String {
        shown(&self.session, sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn err(&self, sql: &str) -> String {
        text(&shown(&self.session, sql).await.unwrap_err())
    }

    /// On its way.
    fn ask(&self, session: &Session, relation: &str) -> JoinHandle<Result<String, Error>> {
        let (session, sql) = (
            session.clone(),
            format!("SELECT count(*) AS n FROM {relation}"),
        );
        tokio::spawn(async move { shown(&session, &sql).await })
    }

    /// The one place of the source, until it is aborted.
    async fn hold(&self) -> JoinHandle<Result<String, Error>> {
        self.source.inject(Fault::HangAfter(0));
        let held = self.ask(&self.session, "m.t");
        self.until("running = 1 AND waiting = 0").await;
        held
    }

    /// All ask the same, in this order.
    async fn wait(&self, sessions: &[Session]) -> Vec<JoinHandle<Result<String, Error>>> {
        let mut asked = Vec::new();
        for session in sessions {
            asked.push(self.ask(session, "m.t"));
            self.until(&format!("waiting = {}", asked.len())).await;
        }
        asked
    }

    async fn until(&self, condition: &str) {
        let query = format!("SELECT {condition} AS met FROM system.sources");
        let met = async {
            while !self.ok(&query).await.contains("| true |") {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, met).await.expect(condition);
    }

    async fn until_scans(&self, count: usize) {
        let scanned = async {
            while self.source.scans() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, scanned).await.unwrap();
    }
}

/// The last row.
async fn answer(asked: JoinHandle<Result<String, Error>>) -> String {
    let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap();
    let answer = answer.unwrap().unwrap();
    let mut lines = answer.lines().rev().skip(1);
    lines.next().unwrap().to_string()
}

fn text(error: &Error) -> String {
    format!("{}: {error}", error.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_before_its_first_row_is_asked_again() {
    let bench = Bench::new("retries = 1000").await;
    for code in [Code::Unreachable, Code::Busy] {
        let before = bench.source.scans();
        bench.source.inject(Fault::Down(code));
        let asked = bench.ask(&bench.session, "m.t");
        bench.until_scans(before + 2).await;
        bench.source.inject(Fault::None);
        assert!(asked.await.unwrap().unwrap().contains("| 20000 |"));
    }
    let asked = "SELECT state, rows, attempts > 1 AS again, error FROM system.fragments";
    assert_snapshot!(bench.ok(asked).await, @r"
    +----------+-------+-------+-------+
    | state    | rows  | again | error |
    +----------+-------+-------+-------+
    | finished | 20000 | true  |       |
    | finished | 20000 | true  |       |
    +----------+-------+-------+-------+
    ");
    // Explained, too.
    bench.source.inject(Fault::Down(Code::Unreachable));
    let before = bench.source.scans();
    let session = bench.session.clone();
    let explained =
        tokio::spawn(async move { shown(&session, "EXPLAIN ANALYZE SELECT n FROM m.t").await });
    bench.until_scans(before + 2).await;
    bench.source.inject(Fault::None);
    let explained = explained.await.unwrap().unwrap();
    assert!(
        explained.contains(", asked ") && explained.contains(" times"),
        "{explained}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_good_is_asked_once() {
    let bench = Bench::new("retries = 2").await;
    // After its first rows.
    bench.source.inject(Fault::FailAt {
        batch: 1,
        code: Code::Unreachable,
    });
    assert_snapshot!(bench.err("SELECT count(n) FROM m.t").await, @"source_unreachable: source m: the read was broken off");
    assert_snapshot!(bench.source.scans(), @"1");
    // For a reason of its own.
    for code in [Code::PermissionDenied, Code::Timeout, Code::SourceRefused] {
        let before = bench.source.scans();
        bench.source.inject(Fault::Down(code));
        bench.err("SELECT count(n) FROM m.t").await;
        assert_eq!(bench.source.scans(), before + 1, "{code:?}");
    }
    // Not for ever.
    let before = bench.source.scans();
    bench.source.inject(Fault::Down(Code::Unreachable));
    assert_snapshot!(bench.err("SELECT count(n) FROM m.t").await, @"source_unreachable: source m: the system is down");
    assert_eq!(bench.source.scans(), before + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_reached_is_left_alone() {
    let bench = Bench::new("breaker_failures = 2, breaker_cooldown = '10h', retries = 0").await;
    let state = "SELECT state, breaker, retry_at IS NOT NULL AS later FROM system.sources";
    bench.source.inject(Fault::Down(Code::Unreachable));
    assert_snapshot!(bench.err("SELECT n FROM m.t").await, @"source_unreachable: source m: the system is down");
    bench.err("SELECT n FROM m.t").await;
    assert_snapshot!(bench.ok(state).await, @r"
    +-------+---------+-------+
    | state | breaker | later |
    +-------+---------+-------+
    | down  | open    | true  |
    +-------+---------+-------+
    ");
    // Nobody is kept waiting, and it is not asked in vain.
    let refused = bench.err("SELECT n FROM m.t").await;
    let (before, after) = refused.split_once("again in ").unwrap();
    let (_, after) = after.split_once(" s").unwrap();
    assert_snapshot!(format!("{before}again in … s{after}"), @"source_unreachable: source m: it is not asked after several failures to reach it; it is tried again in … s. The last failure: source m: the system is down. REFRESH SOURCE m tries at once");
    assert_eq!(bench.source.scans(), 2);
    // Who refreshes it knows better.
    bench.err("REFRESH SOURCE m").await;
    bench.source.inject(Fault::None);
    bench.ok("REFRESH SOURCE m").await;
    bench.ok("SELECT count(*) FROM m.t").await;
    assert_snapshot!(bench.ok(state).await, @r"
    +-------+---------+-------+
    | state | breaker | later |
    +-------+---------+-------+
    | ok    | closed  | false |
    +-------+---------+-------+
    ");
    // So does who changes it.
    bench.source.inject(Fault::Down(Code::Authentication));
    bench.err("SELECT n FROM m.t").await;
    bench.err("SELECT n FROM m.t").await;
    bench.until("breaker = 'open'").await;
    bench
        .ok("ALTER SOURCE m SET (breaker_cooldown = '1ms')")
        .await;
    bench.until("breaker = 'closed'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_query_tries_whether_it_can_be_reached_again() {
    let bench = Bench::new("breaker_failures = 1, breaker_cooldown = '1ms', retries = 0").await;
    bench.source.inject(Fault::Down(Code::Unreachable));
    bench.err("SELECT n FROM m.t").await;
    bench.source.inject(Fault::HangAfter(0));
    bench.until("breaker = 'open'").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let probe = bench.ask(&bench.session, "m.t");
    bench.until("breaker = 'half-open'").await;
    assert_snapshot!(bench.err("SELECT n FROM m.t").await, @"source_unreachable: source m: it is not asked after several failures to reach it; it is being tried right now. The last failure: source m: the system is down. REFRESH SOURCE m tries at once");
    // Given up, it says nothing; the next tries.
    probe.abort();
    bench.until("breaker = 'open'").await;
    bench.source.inject(Fault::None);
    assert!(bench.ask(&bench.session, "m.t").await.unwrap().is_ok());
    bench.until("breaker = 'closed'").await;
}

/// What follows a source sees it come back: queries do not wait until it is their turn to try.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_followed_is_asked_once_it_is_back() {
    let bench = Bench::new("breaker_failures = 1, breaker_cooldown = '10h', retries = 0").await;
    bench
        .ok("CREATE MATERIALIZED VIEW v WITH (refresh = 'on change', wait = true) AS SELECT count(*) AS n FROM m.t")
        .await;
    bench.source.inject(Fault::Down(Code::Unreachable));
    bench.err("SELECT n FROM m.u").await;
    bench.until("breaker = 'open'").await;
    bench
        .until("(SELECT max(problem) IS NOT NULL FROM system.freshness)")
        .await;
    bench.until("breaker = 'open' AND state = 'down'").await;
    bench.source.inject(Fault::None);
    bench.until("breaker = 'closed' AND state = 'ok'").await;
    assert!(
        bench
            .ok("SELECT count(*) AS n FROM m.u")
            .await
            .contains("| 20000 |")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_while_it_runs() {
    let bench = Bench::new("max_concurrent_fragments = 1, queue_timeout = '50ms'").await;
    let limits = "SELECT max_connections, max_concurrent_fragments, queue_timeout_ms, statement_timeout_ms, retries
                  FROM system.sources";
    assert_snapshot!(bench.ok(limits).await, @r"
    +-----------------+--------------------------+------------------+----------------------+---------+
    | max_connections | max_concurrent_fragments | queue_timeout_ms | statement_timeout_ms | retries |
    +-----------------+--------------------------+------------------+----------------------+---------+
    |                 | 1                        | 50               |                      | 2       |
    +-----------------+--------------------------+------------------+----------------------+---------+
    ");
    bench.source.inject(Fault::HangAfter(0));
    let hangs = bench.ask(&bench.session, "m.t");
    bench.until("running = 1").await;
    assert_snapshot!(bench.err("SELECT n FROM m.t").await, @"source_busy: source m: none of its 1 connections became free in time. Try again, give the statement more time, or raise max_connections of the source");
    hangs.abort();
    bench
        .ok("ALTER SOURCE m SET (statement_timeout = '50ms', retries = 0)")
        .await;
    bench
        .ok("ALTER SOURCE m RESET (queue_timeout, max_concurrent_fragments)")
        .await;
    assert_snapshot!(bench.ok(limits).await, @r"
    +-----------------+--------------------------+------------------+----------------------+---------+
    | max_connections | max_concurrent_fragments | queue_timeout_ms | statement_timeout_ms | retries |
    +-----------------+--------------------------+------------------+----------------------+---------+
    |                 |                          |                  | 50                   | 0       |
    +-----------------+--------------------------+------------------+----------------------+---------+
    ");
    assert_snapshot!(bench.err("SELECT n FROM m.t").await, @"source_timeout: source m: it has not answered within the time it has. Ask for less, or raise statement_timeout, of the session or of the source");
    bench.source.until_open_streams(0).await;
    bench.source.inject(Fault::None);
    assert!(bench.ask(&bench.session, "m.t").await.unwrap().is_ok());
    assert_snapshot!(bench.ok("SHOW CREATE SOURCE m").await, @r"
    +--------+----------------------------------------------------------------------------------+
    | source | definition                                                                       |
    +--------+----------------------------------------------------------------------------------+
    | m      | CREATE SOURCE m FROM 'memory:m' WITH (retries = '0', statement_timeout = '50ms') |
    +--------+----------------------------------------------------------------------------------+
    ");
    for wrong in [
        "retires = 1",
        "retries = -1",
        "queue_timeout = 'soon'",
        "max_concurrent_fragments = 0",
    ] {
        let error = bench.err(&format!("ALTER SOURCE m SET ({wrong})")).await;
        assert!(error.starts_with("invalid: "), "{error}");
    }
    assert_snapshot!(bench.err("ALTER SOURCE m SET (retires = 1)").await, @"invalid: a memory has no option retires. Did you mean retries?");
    assert_snapshot!(bench.err("ALTER SOURCE m SET (queue_timeout = 'soon')").await, @"invalid: option queue_timeout is a duration like '500ms', '30s' or '5min', not 'soon'");
}

/// A session with many queries keeps another waiting for one of them at most.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_take_turns() {
    let bench = Bench::new("max_concurrent_fragments = 1").await;
    let (many, one) = (bench.engine.session(), bench.engine.session());
    bench.source.inject(Fault::HangAfter(0));
    let mut asked = vec![bench.ask(&many, "m.t")];
    bench.until("running = 1 AND waiting = 0").await;
    for waiting in 1..=3 {
        let other = format!("(SELECT n FROM m.t LIMIT {waiting}) AS t");
        asked.push(bench.ask(&many, &other));
        bench.until(&format!("waiting = {waiting}")).await;
    }
    let other = bench.ask(&one, "m.u");
    bench.until("waiting = 4").await;
    assert_snapshot!(bench.ok(SENT).await, @r"
    +---+---+
    | t | u |
    +---+---+
    | 1 | 0 |
    +---+---+
    ");
    asked.remove(0).abort();
    bench.until_scans(2).await;
    assert_snapshot!(bench.ok(SENT).await, @r"
    +---+---+
    | t | u |
    +---+---+
    | 2 | 0 |
    +---+---+
    ");
    asked.remove(0).abort();
    bench.until_scans(3).await;
    assert_snapshot!(bench.ok(SENT).await, @r"
    +---+---+
    | t | u |
    +---+---+
    | 2 | 1 |
    +---+---+
    ");
    bench.source.inject(Fault::None);
    other.abort();
    for asked in asked {
        assert!(
            tokio::time::timeout(PATIENCE, asked)
                .await
                .unwrap()
                .unwrap()
                .is_ok()
        );
    }
    bench.until("running = 0 AND waiting = 0").await;
}

const SENT: &str = "SELECT count(*) FILTER (WHERE text LIKE '%main.t%') AS t, count(*) FILTER (WHERE text LIKE '%main.u%') AS u
    FROM system.fragments WHERE attempts > 0";

/// A view that asks for `m.t` three times, by its schedule: at once, since it was never computed.
async fn scheduled(bench: &Bench) {
    let query =
        (1..=3).map(|n| format!("SELECT count(*) AS n FROM (SELECT n FROM m.t LIMIT {n}) AS t"));
    let query = query.collect::<Vec<_>>().join(" UNION ALL ");
    bench
        .ok(&format!(
            "CREATE MATERIALIZED VIEW v WITH (refresh = 'every 1 hour') AS {query}"
        ))
        .await;
}

/// What a view computes by its schedule waits for those who are waited for, though it asked before.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_scheduled_goes_behind_what_is_read() {
    let bench = Bench::new("max_concurrent_fragments = 1, queue_timeout = '10min'").await;
    let held = bench.hold().await;
    scheduled(&bench).await;
    bench.until("waiting = 3").await;
    let read = bench.ask(&bench.engine.session(), "m.u");
    bench.until("waiting = 4").await;
    assert_snapshot!(bench.ok(SENT).await, @r"
    +---+---+
    | t | u |
    +---+---+
    | 1 | 0 |
    +---+---+
    ");
    held.abort();
    bench.until_scans(2).await;
    assert_snapshot!(bench.ok(SENT).await, @r"
    +---+---+
    | t | u |
    +---+---+
    | 1 | 1 |
    +---+---+
    ");
    // Then it is its turn.
    bench.source.inject(Fault::None);
    read.abort();
    assert_snapshot!(bench.ok("SELECT sum(n) AS n FROM v").await, @r"
    +---+
    | n |
    +---+
    | 6 |
    +---+
    ");
}

/// Of several places it leaves one free: whoever reads has it at once, though a run is long.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_scheduled_leaves_a_place() {
    let bench = Bench::new("max_concurrent_fragments = 2, queue_timeout = '10min'").await;
    bench.source.inject(Fault::HangAfter(0));
    scheduled(&bench).await;
    bench.until("running = 1 AND waiting = 2").await;
    bench.source.until_open_streams(1).await;
    bench.source.inject(Fault::None);
    let read = bench.ask(&bench.engine.session(), "m.u");
    assert_eq!(answer(read).await, "| 20000 |");
    bench.until("running = 1 AND waiting = 2").await;
}

/// What waits while the source is busy is asked once, for all who ask it.
#[tokio::test(flavor = "multi_thread")]
async fn what_many_wait_for_is_asked_once() {
    let bench = Bench::new("max_concurrent_fragments = 1, retries = 0").await;
    let sessions: Vec<Session> = (0..8).map(|_| bench.engine.session()).collect();
    let held = bench.hold().await;
    let mut same = bench.wait(&sessions).await;
    let other = bench.ask(&bench.engine.session(), "m.u");
    bench.until("waiting = 9").await;
    same.remove(3).abort();
    bench.until("waiting = 8").await;
    bench.source.inject(Fault::None);
    held.abort();
    for asked in same.into_iter().chain([other]) {
        assert_eq!(answer(asked).await, "| 20000 |");
    }
    assert_eq!(bench.source.scans(), 3);
    let asked = "SELECT state, rows, attempts, count(*) AS questions FROM system.fragments
                 GROUP BY state, rows, attempts ORDER BY state, rows, attempts";
    assert_snapshot!(bench.ok(asked).await, @r"
                 +----------+-------+----------+-----------+
                 | state    | rows  | attempts | questions |
                 +----------+-------+----------+-----------+
                 | dropped  | 0     | 0        | 1         |
                 | dropped  | 0     | 1        | 1         |
                 | finished | 20000 | 0        | 6         |
                 | finished | 20000 | 1        | 2         |
                 +----------+-------+----------+-----------+
                 ");
    // Later, it is asked again.
    bench.ok("SELECT count(*) FROM m.t").await;
    assert_eq!(bench.source.scans(), 4);
}

/// Whoever is sent for others may leave: before there is an answer, another is sent; after, they go on with it.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_for_all_may_leave() {
    let bench = Bench::new("max_concurrent_fragments = 1, retries = 0").await;
    let sessions: Vec<Session> = (0..4).map(|_| bench.engine.session()).collect();
    let held = bench.hold().await;
    let mut same = bench.wait(&sessions).await;
    held.abort();
    bench.until_scans(2).await;
    bench.source.inject(Fault::Slow(Duration::from_millis(200)));
    // The first in the queue is sent.
    same.remove(0).abort();
    bench.until_scans(3).await;
    let begun = "(SELECT max(rows) > 0 FROM system.fragments WHERE attempts = 1)";
    bench.until(begun).await;
    same.remove(0).abort();
    for asked in same {
        assert_eq!(answer(asked).await, "| 20000 |");
    }
    assert_eq!(bench.source.scans(), 3);
}

/// What one fails with, others do not share: they ask for themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_not_shared() {
    let bench = Bench::new("max_concurrent_fragments = 1, retries = 0").await;
    let sessions: Vec<Session> = (0..3).map(|_| bench.engine.session()).collect();
    let held = bench.hold().await;
    let same = bench.wait(&sessions).await;
    bench.source.inject(Fault::Down(Code::SourceRefused));
    held.abort();
    for asked in same {
        let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap();
        assert!(text(&answer.unwrap().unwrap_err()).starts_with("source_refused: "));
    }
    assert_eq!(bench.source.scans(), 4);
}

/// What nobody takes waits on disk once the source's memory is used up, and nobody else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_has_so_much_memory() {
    let bench = Bench::new("memory_limit = '64kB'").await;
    assert_snapshot!(bench.ok("SELECT memory_limit FROM system.sources").await, @r"
    +--------------+
    | memory_limit |
    +--------------+
    | 65536        |
    +--------------+
    ");
    let mut slow = bench
        .session
        .execute("SELECT n FROM m.t")
        .await
        .unwrap()
        .stream;
    assert!(slow.next().await.unwrap().is_ok());
    let other = bench.ask(&bench.engine.session(), "m.u");
    assert_eq!(answer(other).await, "| 20000 |");
    bench.until("running = 0").await;
    let spilled = "SELECT count(*) FILTER (WHERE spilled) > 0 AS some FROM system.fragments";
    assert!(bench.ok(spilled).await.contains("| true |"));
    let mut rows = 0;
    while let Some(batch) = slow.next().await {
        rows += batch.unwrap().num_rows();
    }
    assert_eq!(rows, ROWS as usize - 8192);
    assert_snapshot!(bench.err("ALTER SOURCE m SET (memory_limit = 'little')").await, @"invalid: memory_limit is a size like '512MB' or '2GB', not 'little'");
}

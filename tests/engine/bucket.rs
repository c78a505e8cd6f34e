//! A bucket behind a proxy that misbehaves: its own queries fail as they should and leave it alone for a while, others' do
//! not notice. At the server that `BELVEDERE_TEST_S3` names; `scripts/test` starts one.

use std::time::{Duration, Instant};

use belvedere::{Error, Session};
use futures::StreamExt;
use insta::assert_snapshot;

use crate::fixture::{Fixture, database, shown};
use crate::proxy::{Mode, Proxy};

/// Of the table `big`: many times what one request asks for.
const ROWS: usize = 100_000;
/// Far more than anything here takes, so that what hangs fails.
const PATIENCE: Duration = Duration::from_secs(60);
const COUNT: &str = "SELECT count(id) AS n FROM sick.item";

/// A bucket behind a proxy, as the source `sick`; `well` is SQLite.
struct Ward {
    fixture: Fixture,
    proxy: Proxy,
}

impl Ward {
    /// None where there is no server.
    async fn open(limits: &str) -> Option<Self> {
        let Ok(endpoint) = std::env::var("BELVEDERE_TEST_S3") else {
            eprintln!("not shown: BELVEDERE_TEST_S3 names no server");
            return None;
        };
        let fixture = Fixture::empty().await;
        let rows = format!(
            "CREATE TABLE big (id INTEGER, pad TEXT);
             WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < {ROWS})
             INSERT INTO big SELECT x, printf('%0100d', x) FROM i;"
        );
        database(&fixture.path("erp.db"), &rows);
        fixture.ok("CREATE SOURCE well FROM 'sqlite:erp.db'").await;
        // Of its own: another run may have written there.
        let folder = fixture.dir.path().file_name().unwrap().to_string_lossy();
        let url = format!("s3://belvedere/{}", folder.trim_start_matches('.'));
        let access = |endpoint: &str| {
            format!(
                "endpoint = '{endpoint}', access_key_id = 'env:BELVEDERE_TEST_S3_KEY', secret_access_key = 'env:BELVEDERE_TEST_S3_SECRET'"
            )
        };
        for (query, file) in [
            ("SELECT * FROM well.big", "big.csv"),
            ("SELECT * FROM well.big WHERE id <= 8", "item.parquet"),
        ] {
            let copy = format!("COPY ({query}) TO '{url}/{file}' ({})", access(&endpoint));
            fixture.ok(&copy).await;
        }
        let server = endpoint.rsplit_once(':').unwrap().1.parse().unwrap();
        let proxy = Proxy::before(server).await;
        let access = access(&format!("http://127.0.0.1:{}", proxy.port));
        let create = format!("CREATE SOURCE sick FROM '{url}/' WITH ({access})");
        fixture.ok(&create).await;
        // Found while there was time.
        fixture
            .ok(&format!("ALTER SOURCE sick SET ({limits})"))
            .await;
        Some(Self { fixture, proxy })
    }

    /// Its error, in time.
    async fn fails(&self, query: &str) -> String {
        let failed = self.fixture.err(query);
        tokio::time::timeout(PATIENCE, failed).await.unwrap()
    }

    async fn others_do_not_notice(&self) {
        let others = async {
            for _ in 0..10 {
                let found = self.fixture.ok("SELECT count(*) AS n FROM well.item").await;
                assert!(found.contains("| 3 |"), "{found}");
                self.fixture.ok("SELECT * FROM system.sources").await;
            }
        };
        tokio::time::timeout(PATIENCE, others).await.unwrap();
    }

    async fn until(&self, condition: &str) {
        let query = format!("SELECT {condition} AS done FROM system.sources WHERE name = 'sick'");
        let met = async {
            while !self.fixture.ok(&query).await.contains("| true ") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, met).await;
        in_time.unwrap_or_else(|_| panic!("{condition}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_hangs_ends_its_queries_and_is_left_alone() {
    let limits =
        "statement_timeout = '2s', retries = 0, breaker_failures = 3, breaker_cooldown = '700ms'";
    let Some(ward) = Ward::open(limits).await else {
        return;
    };
    assert!(ward.fixture.ok(COUNT).await.contains("| 8 |"));
    ward.proxy.set(Mode::Hang).await;
    // By the session's limit, and by the source's own.
    let begun = Instant::now();
    let limit = [("statement_timeout".to_string(), "100ms".to_string())];
    let late = match ward.fixture.session.execute_with(COUNT, &limit).await {
        Err(late) => late,
        Ok(answer) => answer.collect().await.unwrap_err(),
    };
    assert_eq!(late.code(), "timeout", "{late}");
    assert!(begun.elapsed() < Duration::from_millis(1500));
    let error = ward.fails(COUNT).await;
    assert_snapshot!(error, @"source_unreachable: source sick, table item: file item.parquet did not come within the time a request has. Try again later, or raise statement_timeout of the source");
    ward.others_do_not_notice().await;
    ward.until("state = 'down' AND breaker = 'closed'").await;
    ward.fails(COUNT).await;
    ward.fails(COUNT).await;
    ward.until("breaker = 'open'").await;
    let begun = Instant::now();
    let refused = ward.fails(COUNT).await;
    assert!(
        refused.contains("it is not asked after several failures to reach it"),
        "{refused}"
    );
    assert!(begun.elapsed() < Duration::from_millis(1500));
    // One query tries in vain, the next finds it well.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let session = ward.fixture.engine.session();
    let probe = tokio::spawn(async move { shown(&session, COUNT).await });
    ward.until("breaker = 'half-open'").await;
    let refused = ward.fails(COUNT).await;
    assert!(refused.contains("it is being tried right now"), "{refused}");
    let failed: Error = probe.await.unwrap().unwrap_err();
    assert_eq!(failed.code(), "source_unreachable", "{failed}");
    ward.proxy.set(Mode::Pass).await;
    let well = async {
        while shown(&ward.fixture.session, COUNT).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, well).await.unwrap();
    ward.until("breaker = 'closed' AND state = 'ok' AND running = 0 AND waiting = 0")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_breaks_in_mid_answer() {
    let Some(ward) =
        Ward::open("statement_timeout = '10s', retries = 0, breaker_failures = 0").await
    else {
        return;
    };
    for how in [Mode::Hang, Mode::Reset, Mode::Refuse] {
        let read = ward.fixture.session.execute("SELECT id, pad FROM sick.big");
        let mut answer = read.await.unwrap();
        answer.stream.next().await.unwrap().unwrap();
        ward.proxy.set(how).await;
        ward.others_do_not_notice().await;
        let rest = tokio::time::timeout(PATIENCE, answer.collect()).await;
        let error = rest.unwrap().unwrap_err();
        assert_eq!(error.code(), "source_unreachable", "{error}");
        let text = error.to_string();
        assert!(
            text.contains("source sick") && text.contains("file big.csv"),
            "{text}"
        );
        ward.until("state = 'down' AND running = 0").await;
        ward.proxy.set(Mode::Pass).await;
        let found = ward
            .fixture
            .ok("SELECT count(pad) AS n FROM sick.big")
            .await;
        assert!(found.contains(&format!("| {ROWS} |")), "{found}");
    }
}

/// A failure that passes is not noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_sent_again() {
    let Some(ward) = Ward::open("retries = 8").await else {
        return;
    };
    ward.proxy.set(Mode::Refuse).await;
    let session = ward.fixture.engine.session();
    let asked = tokio::spawn(async move { shown(&session, COUNT).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!asked.is_finished());
    ward.proxy.set(Mode::Pass).await;
    let found = tokio::time::timeout(PATIENCE, asked).await.unwrap();
    assert!(found.unwrap().unwrap().contains("| 8 |"));
}

/// However many queries read however many files of it, in whatever order: no more requests are sent at once.
#[tokio::test(flavor = "multi_thread")]
async fn requests_to_a_bucket_take_turns() {
    let Some(ward) = Ward::open("max_connections = 2, queue_timeout = '10min'").await else {
        return;
    };
    let limits = "SELECT max_connections, max_concurrent_fragments, queue_timeout_ms, retries FROM system.sources WHERE name = 'sick'";
    assert_snapshot!(ward.fixture.ok(limits).await, @r"
    +-----------------+--------------------------+------------------+---------+
    | max_connections | max_concurrent_fragments | queue_timeout_ms | retries |
    +-----------------+--------------------------+------------------+---------+
    | 2               | 2                        | 600000           | 2       |
    +-----------------+--------------------------+------------------+---------+
    ");
    // Those of the definition are still open.
    let before = ward.proxy.open();
    // Both sides are read at once, from files that are larger than one request.
    let merged = "SELECT count(*) AS n FROM (SELECT * FROM sick.big ORDER BY id) AS a
                  JOIN (SELECT * FROM sick.big ORDER BY pad) AS b ON a.id = b.id AND a.pad = b.pad";
    let sessions: Vec<Session> = (0..4).map(|_| ward.fixture.engine.session()).collect();
    let all = sessions.iter().map(|session| shown(session, merged));
    let watched = async {
        let mut most = 0;
        let mut all = std::pin::pin!(futures::future::join_all(all));
        loop {
            let step = tokio::time::timeout(Duration::from_millis(5), &mut all).await;
            most = most.max(ward.proxy.open());
            if let Ok(found) = step {
                return (most, found);
            }
        }
    };
    let (most, found) = tokio::time::timeout(5 * PATIENCE, watched).await.unwrap();
    for found in found {
        assert!(found.unwrap().contains(&format!("| {ROWS} |")));
    }
    assert!(most <= before.max(2), "{most} connections, {before} before");
    // Who finds no turn in time is told so.
    ward.fixture
        .ok("ALTER SOURCE sick SET (max_concurrent_fragments = 1, queue_timeout = '100ms')")
        .await;
    ward.fixture.ok(COUNT).await;
    ward.proxy.set(Mode::Hang).await;
    let session = ward.fixture.engine.session();
    let hangs = tokio::spawn(async move { shown(&session, COUNT).await });
    ward.until("running = 1").await;
    assert_snapshot!(ward.fails(COUNT).await, @"source_busy: source sick, table item: none of its 1 connections became free in time. Try again, give the statement more time, or raise max_connections of the source");
    hangs.abort();
    ward.until("running = 0").await;
}

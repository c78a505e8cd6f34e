//! Cancelled, broken, refused, forbidden, overloaded: what happens to the query, to the source, and to the next query.

use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere::{Answer, Error};
use futures::StreamExt;

use crate::fixture::{Ability, Fixture, Refusal};
use crate::lab::{Lab, SOURCE, item, padded, sale};
use crate::suite::{Outcome, need};

/// How soon a source must know that nobody reads any more.
const SOON: Duration = Duration::from_secs(15);
/// Rows of the large table: some 25 MB, more than connections buffer.
const LARGE: i64 = 64_000;

/// A lab with the table `big`, of [`LARGE`] rows.
async fn large(fixture: &Arc<dyn Fixture>) -> Lab {
    fixture.put("big", &padded(LARGE / 16)).await;
    for _ in 0..4 {
        fixture.double("big").await;
    }
    Lab::with(fixture, &[("item", item())]).await
}

/// A read of the large table, its first batch taken.
async fn begun(lab: &Lab) -> Answer {
    let begun = lab.session.execute("SELECT id, pad FROM src.big").await;
    let mut answer = begun.expect("it begins");
    let first = answer.stream.next().await;
    first.expect("a batch").expect("no error");
    answer
}

/// Wait until the source does nothing for us.
async fn until_idle(fixture: &Arc<dyn Fixture>) {
    let started = Instant::now();
    loop {
        let open = fixture.reads_open().await;
        if open == 0 {
            return;
        }
        assert!(
            started.elapsed() < SOON,
            "{open} reads are still going on at the source"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn cancelled_in_mid_read(fixture: Arc<dyn Fixture>) -> Outcome {
    need(&fixture, Ability::SeesReads)?;
    let lab = large(&fixture).await;
    let answer = begun(&lab).await;
    assert!(
        fixture.reads_open().await > 0,
        "the read is seen at the source"
    );
    drop(answer);
    until_idle(&fixture).await;
    lab.gives("SELECT count(*) FROM src.item", &["8"]).await;
    Ok(())
}

/// More often than there are connections.
pub(crate) async fn cancelled_again_and_again(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = large(&fixture).await;
    for _ in 0..12 {
        drop(begun(&lab).await);
    }
    let next = tokio::time::timeout(SOON, lab.rows("SELECT count(*) FROM src.item")).await;
    assert_eq!(
        next.expect("the connections are free again")
            .expect("no error")
            .rows,
        ["8"]
    );
    // Ended by a limit here, not by the reader.
    for _ in 0..6 {
        lab.gives(
            "SELECT count(*) FROM (SELECT pad FROM src.big WHERE md5(pad) <> '' LIMIT 5)",
            &["5"],
        )
        .await;
    }
    Ok(())
}

pub(crate) async fn interrupted_in_mid_read(fixture: Arc<dyn Fixture>) -> Outcome {
    need(&fixture, Ability::Interrupts)?;
    let lab = large(&fixture).await;
    let mut answer = begun(&lab).await;
    fixture.interrupt().await;
    let mut failure = None;
    while let Some(batch) = answer.stream.next().await {
        if let Err(e) = batch {
            failure = Some(Error::from(e));
            break;
        }
    }
    let failure = failure.expect("a broken read is an error, never a shorter answer");
    assert!(
        failure.to_string().contains(SOURCE),
        "names the source: {failure}"
    );
    assert_eq!(
        failure.kind(),
        belvedere_connector::Kind::Transient,
        "{failure}"
    );
    drop(answer);
    lab.gives("SELECT count(*) FROM src.item", &["8"]).await;
    Ok(())
}

pub(crate) async fn past_its_deadline(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = large(&fixture).await;
    lab.run("SET statement_timeout = '500ms'").await;
    let started = Instant::now();
    let error = lab
        .error("SELECT count(*) FROM src.big a, src.big b WHERE a.id + b.id = -1")
        .await;
    assert!(
        matches!(error.code(), "timeout" | "source_timeout"),
        "{}: {error}",
        error.code()
    );
    assert!(started.elapsed() < SOON, "it took {:?}", started.elapsed());
    if fixture.lacks(Ability::SeesReads).is_none() {
        until_idle(&fixture).await;
    }
    lab.run("SET statement_timeout = '0'").await;
    lab.gives("SELECT count(*) FROM src.item", &["8"]).await;
    Ok(())
}

async fn refused(fixture: Arc<dyn Fixture>, how: Refusal, codes: &[&str]) -> Outcome {
    let Some(definition) = fixture.refused(how) else {
        return Err("the system has no such refusal");
    };
    fixture.put("item", &item()).await;
    let lab = Lab::empty(&fixture).await;
    let started = Instant::now();
    // Said when it is defined, or when it is first asked.
    let error = match lab.rows(&definition.create(SOURCE)).await {
        Err(error) => error,
        Ok(_) => lab.error("SELECT * FROM src.item").await,
    };
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "it took {:?}",
        started.elapsed()
    );
    assert!(codes.contains(&error.code()), "{}: {error}", error.code());
    assert!(
        error.to_string().contains(SOURCE),
        "names the source: {error}"
    );
    Ok(())
}

pub(crate) async fn wrong_password(fixture: Arc<dyn Fixture>) -> Outcome {
    refused(fixture, Refusal::WrongPassword, &["source_authentication"]).await
}

pub(crate) async fn unknown_host(fixture: Arc<dyn Fixture>) -> Outcome {
    refused(fixture, Refusal::UnknownHost, &["source_unreachable"]).await
}

pub(crate) async fn unknown_place(fixture: Arc<dyn Fixture>) -> Outcome {
    refused(
        fixture,
        Refusal::UnknownPlace,
        &[
            "source_unreachable",
            "invalid_url",
            "source_permission_denied",
        ],
    )
    .await
}

pub(crate) async fn unknown_option(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = Lab::empty(&fixture).await;
    let error = lab
        .error(&fixture.definition().with("colums", "x").create(SOURCE))
        .await;
    assert!(error.to_string().contains("colums"), "{error}");
    assert_eq!(
        lab.run("SELECT count(*) FROM system.sources").await.rows,
        ["0"],
        "nothing was defined"
    );
    Ok(())
}

pub(crate) async fn forbidden_table(fixture: Arc<dyn Fixture>) -> Outcome {
    need(&fixture, Ability::Permissions)?;
    let lab = Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await;
    lab.gives("SELECT count(*) FROM src.sale", &["7"]).await;
    fixture.forbid("item").await;
    let error = lab.error("SELECT id FROM src.item").await;
    // Some systems do not even show what may not be read.
    assert!(
        matches!(
            error.code(),
            "source_permission_denied" | "source_table_missing" | "unknown_name"
        ),
        "{error}"
    );
    assert!(error.to_string().contains("item"), "{error}");
    lab.gives("SELECT count(*) FROM src.sale", &["7"]).await;
    lab.run("REFRESH SOURCE src").await;
    lab.gives("SELECT count(*) FROM src.sale", &["7"]).await;
    Ok(())
}

pub(crate) async fn two_hundred_at_once(fixture: Arc<dyn Fixture>) -> Outcome {
    const CONNECTIONS: usize = 4;
    let lab = Arc::new(Lab::with(&fixture, &[("item", item()), ("sale", sale())]).await);
    let queries = (0..200_i64).map(|i| {
        let lab = lab.clone();
        tokio::spawn(async move {
            let sql = format!(
                "SELECT count(*), {i} FROM src.item WHERE id <= {} UNION ALL SELECT count(*), no FROM src.sale WHERE no = 1 GROUP BY no",
                i % 9
            );
            let mut rows = lab.run(&sql).await.rows;
            rows.sort_unstable();
            let mut expected = vec![format!("{}|{i}", (i % 9).min(8)), "1|1".to_string()];
            expected.sort_unstable();
            assert_eq!(rows, expected, "{sql}");
        })
    });
    let all = futures::future::join_all(queries.collect::<Vec<_>>());
    tokio::pin!(all);
    let mut most = 0;
    let results = loop {
        tokio::select! {
            results = &mut all => break results,
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                most = most.max(fixture.connections().await.unwrap_or(0));
            }
        }
    };
    assert!(results.iter().all(Result::is_ok), "each has its own answer");
    assert!(most <= CONNECTIONS, "{most} connections were open");
    Ok(())
}

pub(crate) async fn more_than_memory(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = large(&fixture).await;
    lab.run("SET memory_limit = '8MB'").await;
    for pushdown in ["on", "off"] {
        lab.run(&format!("SET pushdown = '{pushdown}'")).await;
        let mut answer = lab
            .session
            .execute("SELECT id, pad FROM src.big")
            .await
            .expect("it begins");
        let mut rows = 0;
        while let Some(batch) = answer.stream.next().await {
            rows += batch.expect("a read larger than memory streams").num_rows() as i64;
        }
        assert_eq!(rows, LARGE);
        let found = lab
            .run("SELECT count(*), sum(id), max(pad) FROM src.big")
            .await
            .rows;
        let sum: i64 = (0..LARGE / 16).sum::<i64>() * 16;
        assert_eq!(found, [format!("{LARGE}|{sum}|{:0>400}", LARGE / 16 - 1)]);
    }
    Ok(())
}

pub(crate) async fn slow_reader(fixture: Arc<dyn Fixture>) -> Outcome {
    let lab = large(&fixture).await;
    let mut answer = lab
        .session
        .execute("SELECT id, pad FROM src.big")
        .await
        .expect("it begins");
    let mut rows = answer
        .stream
        .next()
        .await
        .expect("a batch")
        .expect("no error")
        .num_rows() as i64;
    tokio::time::sleep(Duration::from_secs(2)).await;
    while let Some(batch) = answer.stream.next().await {
        rows += batch.expect("it waits for its reader").num_rows() as i64;
    }
    assert_eq!(rows, LARGE);
    Ok(())
}

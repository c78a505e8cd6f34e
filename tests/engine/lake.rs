//! Views kept by change over files, which the tests write, append to, replace and remove.
//!
//! BELVEDERE_LAKE_SEED says by which chance.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use belvedere::Engine;
use datafusion::object_store::aws::AmazonS3Builder;
use datafusion::object_store::{self, ObjectStoreExt};
use insta::assert_snapshot;

use crate::fixture::{Fixture, shown, until};

const PATIENCE: Duration = Duration::from_secs(60);
const FORMATS: [&str; 4] = ["csv", "json", "parquet", "arrow"];

/// A folder `lake`, with a table of each format.
async fn lake(t: &Fixture) {
    for format in FORMATS {
        fs::create_dir_all(t.path("lake").join(format)).unwrap();
        write(t, &file(t, format, 0), &[(1, 10, "a"), (2, 20, "b")]).await;
    }
}

fn file(t: &Fixture, format: &str, number: usize) -> PathBuf {
    t.path("lake")
        .join(format)
        .join(format!("{number}.{format}"))
}

/// In one step, as COPY does.
async fn write(t: &Fixture, path: &Path, rows: &[(i64, i64, &str)]) {
    let rows: Vec<String> = rows
        .iter()
        .map(|(id, qty, sku)| format!("({id}, {qty}, '{sku}')"))
        .collect();
    t.ok(&format!(
        "COPY (SELECT * FROM (VALUES {}) AS t(id, qty, sku)) TO '{}' (OVERWRITE)",
        rows.join(", "),
        path.display(),
    ))
    .await;
}

/// At a file's end, as who writes a log does.
fn append(path: &Path, text: &str) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

async fn follow(t: &Fixture) {
    t.ok("CREATE SOURCE lake FROM 'lake' WITH (poll_interval = '50ms')")
        .await;
    for format in FORMATS {
        for (name, query) in queries(format) {
            t.ok(&format!(
                "CREATE MATERIALIZED VIEW {name} WITH (refresh = 'on change') AS {query}"
            ))
            .await;
        }
    }
}

fn queries(format: &str) -> [(String, String); 3] {
    [
        (
            format!("{format}_by_sku"),
            format!(
                "SELECT sku, count(*) AS n, sum(qty) AS qty, max(id) AS id FROM lake.{format} GROUP BY sku"
            ),
        ),
        (
            format!("{format}_count"),
            format!("SELECT count(*) AS n FROM lake.{format}"),
        ),
        (
            format!("{format}_joined"),
            format!(
                "SELECT a.id, a.qty, b.qty AS other FROM lake.{format} a LEFT JOIN lake.csv b ON b.id = a.id WHERE a.qty > 15"
            ),
        ),
    ]
}

async fn until_same(t: &Fixture) {
    for format in FORMATS {
        for (name, query) in queries(format) {
            let order = match name.ends_with("count") {
                true => "1",
                false => "1, 2, 3",
            };
            let ordered = |from: &str| format!("SELECT * FROM {from} ORDER BY {order}");
            let expected = t.ok(&ordered(&format!("({query}) q"))).await;
            until(&t.session, &ordered(&name), &expected, PATIENCE).await;
        }
    }
}

/// Each change of a file counts: which of its rows are others is not told.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_computed_when_it_is_read_is_told_too() {
    let t = Fixture::empty().await;
    lake(&t).await;
    t.ok("CREATE SOURCE lake FROM 'lake' WITH (poll_interval = '50ms')")
        .await;
    let query = "SELECT count(*) AS n FROM lake.parquet WHERE qty > 15";
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW dear WITH (refresh = 'on read') AS {query}"
    ))
    .await;
    assert_snapshot!(t.ok("SELECT mechanism FROM system.views").await, @r"
    +--------------------------------------------+
    | mechanism                                  |
    +--------------------------------------------+
    | change: lake.public.parquet where qty > 15 |
    +--------------------------------------------+
    ");
    for number in 1..3 {
        write(&t, &file(&t, "parquet", number), &[(3, 30, "c")]).await;
        let expected = t.ok(query).await;
        until(&t.session, "SELECT * FROM dear", &expected, PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_come_change_and_go_are_followed() {
    let seed = std::env::var("BELVEDERE_LAKE_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("BELVEDERE_LAKE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let t = Fixture::empty().await;
    lake(&t).await;
    follow(&t).await;
    until_same(&t).await;
    let mut there = FORMATS.map(|_| vec![0]);
    let mut next = 1;
    for _ in 0..12 {
        for _ in 0..random.usize(1..6) {
            let which = random.usize(0..FORMATS.len());
            let (format, numbers) = (FORMATS[which], &mut there[which]);
            let rows = random.usize(1..5);
            let rows: Vec<_> = std::iter::repeat_with(|| {
                let sku = ["a", "b", "c"][random.usize(0..3)];
                (random.i64(0..6), random.i64(0..40), sku)
            })
            .take(rows)
            .collect();
            let one = numbers[random.usize(0..numbers.len())];
            match random.u8(0..6) {
                0 | 1 => {
                    numbers.push(next);
                    write(&t, &file(&t, format, next), &rows).await;
                    next += 1;
                }
                2 => write(&t, &file(&t, format, one), &rows).await,
                3 if numbers.len() > 1 => {
                    numbers.retain(|number| *number != one);
                    fs::remove_file(file(&t, format, one)).unwrap();
                }
                4 => {
                    numbers.retain(|number| *number != one);
                    numbers.push(next);
                    fs::rename(file(&t, format, one), file(&t, format, next)).unwrap();
                    next += 1;
                }
                _ => {
                    let (id, qty, sku) = rows[0];
                    match format {
                        "csv" => append(&file(&t, format, one), &format!("{id},{qty},{sku}\n")),
                        "json" => append(
                            &file(&t, format, one),
                            &format!("{{\"id\":{id},\"qty\":{qty},\"sku\":\"{sku}\"}}\n"),
                        ),
                        _ => write(&t, &file(&t, format, one), &rows).await,
                    }
                }
            }
        }
        until_same(&t).await;
    }
    // Of one size, and within one tick of the clock.
    for text in ["id,qty,sku\n7,70,a\n", "id,qty,sku\n8,80,b\n"] {
        fs::write(file(&t, "csv", there[0][0]), text).unwrap();
        until_same(&t).await;
    }
}

fn hours_ago(path: &Path) {
    let then = SystemTime::now() - Duration::from_secs(7200);
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(then).unwrap();
}

/// Other bytes, under the same size and time: whoever reads them fails, who goes by the listing does not notice.
fn poison(path: &Path) {
    use std::io::Write;
    let known = fs::metadata(path).unwrap();
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.write_all(&vec![0xff; known.len() as usize]).unwrap();
    file.set_modified(known.modified().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_reads_only_what_has_changed() {
    let mut t = Fixture::empty().await;
    lake(&t).await;
    for format in FORMATS {
        write(&t, &file(&t, format, 1), &[(3, 30, "c")]).await;
        hours_ago(&file(&t, format, 0));
        hours_ago(&file(&t, format, 1));
    }
    let data = t.path("data");
    let open = async || {
        let builder = Engine::builder().base_dir(t.dir.path()).data_dir(&data);
        builder.open().await.unwrap()
    };
    t.engine = open().await;
    t.session = t.engine.session();
    follow(&t).await;
    until_same(&t).await;
    let writer = Fixture::empty().await;
    t.session = writer.session.clone();
    let followed = std::mem::replace(&mut t.engine, writer.engine.clone());
    followed.close().await.unwrap();
    for format in FORMATS {
        poison(&file(&t, format, 0));
        // While nobody looks: one is another, one is new.
        fs::remove_file(file(&t, format, 1)).unwrap();
        write(&t, &file(&t, format, 2), &[(4, 40, "d")]).await;
    }
    t.engine = open().await;
    t.session = t.engine.session();
    let expected = [
        "+-----+---+-----+----+",
        "| sku | n | qty | id |",
        "+-----+---+-----+----+",
        "| a   | 1 | 10  | 1  |",
        "| b   | 1 | 20  | 2  |",
        "| d   | 1 | 40  | 4  |",
        "+-----+---+-----+----+",
    ];
    for format in FORMATS {
        let view = format!("SELECT * FROM {format}_by_sku ORDER BY sku");
        until(&t.session, &view, &expected.join("\n"), PATIENCE).await;
        let read = shown(&t.session, &format!("SELECT * FROM lake.{format}")).await;
        read.expect_err("what is poisoned cannot be read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_file_yet_is_waited_for() {
    let t = Fixture::empty().await;
    lake(&t).await;
    follow(&t).await;
    until_same(&t).await;
    let before = t.ok("SELECT * FROM parquet_by_sku ORDER BY sku").await;
    let failing = "SELECT DISTINCT problem FROM system.freshness WHERE problem IS NOT NULL AND source = 'lake'";
    // It is written from its beginning on, as who knows no better does.
    let path = file(&t, "parquet", 1);
    fs::write(&path, b"PAR1").unwrap();
    let wait = async {
        while !t.ok(failing).await.contains("parquet/1.parquet") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    assert_eq!(
        t.ok("SELECT * FROM parquet_by_sku ORDER BY sku").await,
        before
    );
    write(&t, &path, &[(5, 50, "a")]).await;
    until_same(&t).await;
    // One that stays as it is ends its table; others go on.
    fs::write(&path, b"PAR1").unwrap();
    let blocked = "SELECT name, reason FROM system.views WHERE state = 'blocked' ORDER BY name";
    let wait = async {
        while !t.ok(blocked).await.contains("parquet_joined") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    assert_snapshot!(t.plain(&t.ok(blocked).await), @r"
    +-+-+
    | name | reason |
    +-+-+
    | parquet_by_sku | source lake, table parquet: file parquet/1.parquet is not a Parquet file, or is damaged. Once that is mended: REFRESH MATERIALIZED VIEW parquet_by_sku FULL |
    | parquet_count | source lake, table parquet: file parquet/1.parquet is not a Parquet file, or is damaged. Once that is mended: REFRESH MATERIALIZED VIEW parquet_count FULL |
    | parquet_joined | source lake, table parquet: file parquet/1.parquet is not a Parquet file, or is damaged. Once that is mended: REFRESH MATERIALIZED VIEW parquet_joined FULL |
    +-+-+
    ");
    append(&file(&t, "csv", 0), "9,90,c\n");
    let kept = "SELECT * FROM csv_by_sku ORDER BY sku";
    let query = "SELECT sku, count(*) AS n, sum(qty) AS qty, max(id) AS id FROM lake.csv GROUP BY sku ORDER BY sku";
    let expected = t.ok(query).await;
    until(&t.session, kept, &expected, PATIENCE).await;
    // Once it can be read, the view can be had again.
    fs::remove_file(&path).unwrap();
    for view in ["parquet_by_sku", "parquet_count", "parquet_joined"] {
        t.ok(&format!("REFRESH MATERIALIZED VIEW {view} FULL"))
            .await;
    }
    until_same(&t).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_columns_are_followed() {
    let t = Fixture::empty().await;
    let day = |day: &str| t.path("lake").join("sale").join(format!("day={day}"));
    for name in ["2024-01-01", "2024-01-02"] {
        fs::create_dir_all(day(name)).unwrap();
        write(&t, &day(name).join("a.parquet"), &[(1, 10, "a")]).await;
    }
    t.ok("CREATE SOURCE lake FROM 'lake' WITH (poll_interval = '50ms', changes = 'poll')")
        .await;
    let query = "SELECT day, sum(qty) AS qty FROM lake.sale GROUP BY day";
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW days WITH (refresh = 'on change') AS {query}"
    ))
    .await;
    let same = async || {
        let expected = t.ok(&format!("{query} ORDER BY day")).await;
        let kept = "SELECT * FROM days ORDER BY day";
        until(&t.session, kept, &expected, PATIENCE).await;
    };
    same().await;
    fs::create_dir_all(day("2024-01-03")).unwrap();
    write(&t, &day("2024-01-03").join("a.parquet"), &[(1, 10, "a")]).await;
    same().await;
    fs::rename(
        day("2024-01-01").join("a.parquet"),
        day("2024-01-02").join("b.parquet"),
    )
    .unwrap();
    same().await;
    assert_snapshot!(t.ok("SELECT changes, changes_problem FROM system.sources").await, @r"
    +----------+-----------------+
    | changes  | changes_problem |
    +----------+-----------------+
    | snapshot |                 |
    +----------+-----------------+
    ");
}

/// At the server that `BELVEDERE_TEST_S3` names; `scripts/test` starts one.
#[tokio::test(flavor = "multi_thread")]
async fn objects_of_a_bucket_are_followed() {
    let variable = |name: &str| std::env::var(name).ok();
    let Some(endpoint) = variable("BELVEDERE_TEST_S3") else {
        eprintln!("not shown: BELVEDERE_TEST_S3 names no server");
        return;
    };
    let t = Fixture::empty().await;
    // Of its own: another run may have written there.
    let folder = t.dir.path().file_name().unwrap().to_string_lossy();
    let folder = folder.trim_start_matches('.').to_string();
    let access = format!(
        "endpoint = '{endpoint}', access_key_id = 'env:BELVEDERE_TEST_S3_KEY', secret_access_key = 'env:BELVEDERE_TEST_S3_SECRET'"
    );
    let write = async |name: &str, rows: &str| {
        t.ok(&format!(
            "COPY (SELECT * FROM (VALUES {rows}) AS t(id, qty)) TO 's3://belvedere/{folder}/sale/{name}' (OVERWRITE, {access})"
        ))
        .await;
    };
    write("1.parquet", "(1, 10), (2, 20)").await;
    t.ok(&format!(
        "CREATE SOURCE lake FROM 's3://belvedere/{folder}/' WITH (poll_interval = '100ms', {access})"
    ))
    .await;
    let query = "SELECT id, sum(qty) AS qty FROM lake.sale GROUP BY id";
    t.ok(&format!(
        "CREATE MATERIALIZED VIEW sold WITH (refresh = 'on change') AS {query}"
    ))
    .await;
    let same = async || {
        let expected = t.ok(&format!("{query} ORDER BY id")).await;
        let kept = "SELECT * FROM sold ORDER BY id";
        until(&t.session, kept, &expected, PATIENCE).await;
    };
    same().await;
    write("2.parquet", "(2, 5), (3, 30)").await;
    same().await;
    // Of the same size.
    write("1.parquet", "(1, 11), (2, 21)").await;
    same().await;
    let bucket = AmazonS3Builder::new()
        .with_endpoint(&endpoint)
        .with_allow_http(true)
        .with_bucket_name("belvedere")
        .with_access_key_id(variable("BELVEDERE_TEST_S3_KEY").unwrap())
        .with_secret_access_key(variable("BELVEDERE_TEST_S3_SECRET").unwrap())
        .build()
        .unwrap();
    let path = object_store::path::Path::from(format!("{folder}/sale/2.parquet"));
    bucket.delete(&path).await.unwrap();
    same().await;
}

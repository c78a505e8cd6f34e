//! Writes: what was written is what is read, all of it or nothing, and whoever reads after it sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, BooleanArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use belvedere::Session;
use fastrand::Rng;

use crate::changes::Line;
use crate::fixture::{Ability, Fixture};
use crate::lab::{Lab, SOURCE, batch, ints, numbers, texts};
use crate::suite::{Outcome, need};

/// Statements of one random history.
const STATEMENTS: usize = 40;
/// A history to repeat.
const SEED: &str = "BELVEDERE_WRITES_SEED";

async fn lab(fixture: &Arc<dyn Fixture>) -> Result<Lab, &'static str> {
    let definition = fixture.writing()?;
    let lab = Lab::empty(fixture).await;
    lab.run(&definition.create(SOURCE)).await;
    Ok(lab)
}

/// The same rows in both tables, whatever their order.
async fn are_same(lab: &Lab, one: &str, other: &str) {
    let mut found = Vec::new();
    for table in [one, other] {
        let mut rows = lab.run(&format!("SELECT * FROM src.{table}")).await.rows;
        rows.sort_unstable();
        found.push(rows);
    }
    assert!(!found[0].is_empty());
    assert_eq!(found[0], found[1], "{one} and {other}");
}

pub(crate) async fn every_type_comes_back(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.writing()?;
    let micros = || {
        ints([
            Some(1_000_000),
            Some(1_000_000_123_456),
            Some(1_709_210_096_000_000),
            None,
        ])
    };
    let as_type = |values: ArrayRef, data_type: &DataType| cast(&values, data_type).ok();
    let small = cast(&ints([Some(1), Some(-7), Some(0), None]), &DataType::Int32).ok();
    let candidates: Vec<(&str, Option<ArrayRef>)> = vec![
        (
            "a",
            Some(Arc::new(BooleanArray::from(vec![
                Some(true),
                Some(false),
                Some(true),
                None,
            ]))),
        ),
        (
            "b",
            Some(ints([Some(i64::MAX), Some(i64::MIN), Some(0), None])),
        ),
        (
            "c",
            Some(Arc::new(Float64Array::from(vec![
                Some(0.1),
                Some(-1e300),
                Some(3.0),
                None,
            ]))),
        ),
        (
            "d",
            as_type(
                ints([Some(125), Some(-1), Some(0), None]),
                &DataType::Decimal128(12, 2),
            ),
        ),
        (
            "e",
            small.clone().and_then(|v| as_type(v, &DataType::Date32)),
        ),
        (
            "f",
            as_type(micros(), &DataType::Timestamp(TimeUnit::Microsecond, None)),
        ),
        (
            "g",
            as_type(
                micros(),
                &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
        ),
        (
            "h",
            Some(texts([Some("it's"), Some(""), Some("ä😀\\"), None])),
        ),
        (
            "i",
            Some(Arc::new(BinaryArray::from(vec![
                Some(&b"\x00\xff'"[..]),
                Some(b""),
                Some(b"abc"),
                None,
            ]))),
        ),
        ("j", small),
        (
            "k",
            as_type(
                ints([Some(1), Some(86_399_999_999), Some(0), None]),
                &DataType::Time64(TimeUnit::Microsecond),
            ),
        ),
    ];
    let mut columns = vec![("id", numbers(1..=4))];
    for (name, values) in candidates {
        let values = values.expect("a cast of numbers");
        if fixture.reads(values.data_type()).is_some() {
            columns.push((name, values));
        }
    }
    let data = batch(columns);
    fixture.put("t", &data).await;
    fixture.put("w", &data.slice(0, 0)).await;
    let lab = lab(&fixture).await?;
    let status = lab.run("INSERT INTO src.w SELECT * FROM src.t").await.rows;
    assert_eq!(status, ["INSERT 0 4"]);
    are_same(&lab, "t", "w").await;
    // Once more, as many rows as one statement does not have.
    lab.run("INSERT INTO src.w SELECT t.* FROM src.t AS t CROSS JOIN generate_series(1, 500) AS g")
        .await;
    let count = lab.run("SELECT count(*) FROM src.w").await.rows;
    assert_eq!(count, ["2004"]);
    Ok(())
}

pub(crate) async fn natives_come_back(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.writing()?;
    let Some(sql) = fixture.sql() else {
        return Err("the system has no types of its own");
    };
    let natives = fixture.natives();
    for (n, native) in natives.iter().enumerate() {
        for table in ["t", "w"] {
            let table = sql.quoted(&format!("{table}{n}"));
            let v = sql.quoted("v");
            fixture
                .execute(&format!("CREATE TABLE {table} ({v} {})", native.declared))
                .await;
        }
        for (constant, _) in &native.values {
            let table = sql.quoted(&format!("t{n}"));
            fixture
                .execute(&format!("INSERT INTO {table} VALUES ({constant})"))
                .await;
        }
    }
    let lab = lab(&fixture).await?;
    for (n, native) in natives.iter().enumerate() {
        let insert = format!("INSERT INTO src.w{n} SELECT * FROM src.t{n}");
        if let DataType::List(_) = native.reads {
            let error = lab.error(&insert).await;
            assert_eq!(error.sqlstate(), "0A000", "{error}");
            continue;
        }
        match lab.rows(&insert).await {
            Ok(_) => are_same(&lab, &format!("t{n}"), &format!("w{n}")).await,
            // A value that would not be read as it was is refused, and named by its column.
            Err(e) => {
                assert_eq!(e.sqlstate(), "22003", "{}: {e}", native.declared);
                assert!(
                    e.to_string().contains("column v"),
                    "{}: {e}",
                    native.declared
                );
                let left = lab
                    .run(&format!("SELECT count(*) FROM src.w{n}"))
                    .await
                    .rows;
                assert_eq!(left, ["0"]);
                eprintln!(
                    "{}: {} is not written: {e}",
                    fixture.name(),
                    native.declared
                );
            }
        }
    }
    Ok(())
}

pub(crate) async fn violations_leave_nothing(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.writing()?;
    let changing = fixture.changing()?;
    changing.create("first", true).await;
    let lab = lab(&fixture).await?;
    lab.run("INSERT INTO src.first VALUES (1, 10, 'a'), (2, 20, 'b')")
        .await;
    for (sql, sqlstate) in [
        (
            "INSERT INTO src.first VALUES (3, 30, 'c'), (1, 40, 'secret')",
            "23505",
        ),
        ("INSERT INTO src.first (n, v) VALUES (7, 'secret')", "23502"),
        ("UPDATE src.first SET id = 1 WHERE v || '' = 'b'", "23505"),
        ("UPDATE src.first SET n = CAST(v AS BIGINT)", "22P02"),
    ] {
        // SQLite numbers rows without a key by itself.
        if sqlstate == "23502" && fixture.name() == "sqlite" {
            continue;
        }
        let e = lab.error(sql).await;
        assert_eq!(e.sqlstate(), sqlstate, "{sql}\n{e}");
        assert!(!e.to_string().contains("secret"), "{e}");
        let rows = lab.run("SELECT * FROM src.first ORDER BY id").await.rows;
        assert_eq!(rows, ["1|10|a", "2|20|b"], "{sql}");
    }
    if need(&fixture, Ability::Keys).is_ok() && fixture.sql().is_some() {
        let e = lab.error("UPDATE src.first SET id = NULL").await;
        assert!(matches!(e.sqlstate(), "23502" | "58000" | "23000"), "{e}");
    }
    Ok(())
}

/// What a random statement does.
#[derive(Debug, Clone)]
enum Step {
    Insert(i64, Option<i64>, String),
    Update { below: i64, add: i64 },
    Rename { from: String, to: String },
    Shift { id: i64, n: Option<i64> },
    Delete { above: i64, even: bool },
    DeleteText(String),
}

impl Step {
    fn random(random: &mut Rng) -> Self {
        const WORDS: [&str; 6] = ["a", "A", "a ", "", "ä", "b"];
        let word = |random: &mut Rng| WORDS[random.usize(..WORDS.len())].to_string();
        let number = |random: &mut Rng| random.bool().then(|| random.i64(-50..50));
        let id = random.i64(0..40);
        match random.u8(..10) {
            0..4 => Self::Insert(id, number(random), word(random)),
            4..6 => Self::Update {
                below: random.i64(-50..50),
                add: random.i64(-5..5),
            },
            6 => Self::Rename {
                from: word(random),
                to: word(random),
            },
            7 => Self::Shift {
                id,
                n: number(random),
            },
            8 => Self::Delete {
                above: random.i64(30..50),
                even: random.bool(),
            },
            _ => Self::DeleteText(word(random)),
        }
    }

    fn sql(&self) -> String {
        let number = |n: &Option<i64>| n.map_or("NULL".to_string(), |n| n.to_string());
        match self {
            Self::Insert(id, n, v) => {
                format!("INSERT INTO src.first VALUES ({id}, {}, '{v}')", number(n))
            }
            Self::Update { below, add } => {
                format!("UPDATE src.first AS f SET n = f.n + {add} WHERE f.n < {below}")
            }
            Self::Rename { from, to } => {
                format!("UPDATE src.first SET v = '{to}' WHERE v = '{from}'")
            }
            Self::Shift { id, n } => format!(
                "UPDATE src.first SET n = {}, v = 's' WHERE id = {id}",
                number(n)
            ),
            Self::Delete { above, even: true } => {
                format!("DELETE FROM src.first WHERE n >= {above} AND n % 2 = 0")
            }
            Self::Delete { above, even: false } => {
                format!("DELETE FROM src.first WHERE n >= {above}")
            }
            Self::DeleteText(v) => format!("DELETE FROM src.first WHERE v = '{v}' AND id > 20"),
        }
    }

    /// The same to plain rows. None: it is refused.
    fn apply(&self, rows: &mut BTreeMap<i64, Line>) -> Option<usize> {
        let mut changed = 0;
        match self {
            Self::Insert(id, n, v) => {
                if rows.contains_key(id) {
                    return None;
                }
                let (id, n, v) = (*id, *n, Some(v.clone()));
                rows.insert(id, Line { id, n, v });
                changed = 1;
            }
            Self::Update { below, add } => {
                for row in rows
                    .values_mut()
                    .filter(|row| row.n.is_some_and(|n| n < *below))
                {
                    row.n = row.n.map(|n| n + add);
                    changed += 1;
                }
            }
            Self::Rename { from, to } => {
                for row in rows.values_mut().filter(|row| row.v.as_ref() == Some(from)) {
                    row.v = Some(to.clone());
                    changed += 1;
                }
            }
            Self::Shift { id, n } => {
                if let Some(row) = rows.get_mut(id) {
                    (row.n, row.v) = (*n, Some("s".to_string()));
                    changed = 1;
                }
            }
            Self::Delete { above, even } => {
                let before = rows.len();
                let goes = |n: i64| n >= *above && (!even || n % 2 == 0);
                rows.retain(|_, row| !row.n.is_some_and(goes));
                changed = before - rows.len();
            }
            Self::DeleteText(v) => {
                let before = rows.len();
                rows.retain(|id, row| !(row.v.as_ref() == Some(v) && *id > 20));
                changed = before - rows.len();
            }
        }
        Some(changed)
    }
}

pub(crate) async fn as_plain_rows_have_it(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.writing()?;
    fixture.changing()?.create("first", true).await;
    let lab = lab(&fixture).await?;
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("{}: {SEED}={seed}", fixture.name());
    let mut random = Rng::with_seed(seed);
    let mut rows = BTreeMap::new();
    for n in 0..STATEMENTS {
        let step = Step::random(&mut random);
        // What the source does by itself, and what is found here.
        let pushdown = if n % 3 == 2 { "off" } else { "on" };
        let settings = [("pushdown".to_string(), pushdown.to_string())];
        let sql = step.sql();
        let done = lab.answer(&sql, &[], &settings).await;
        match (step.apply(&mut rows), done) {
            (Some(count), Ok(done)) => {
                let told = done.rows.join("");
                assert!(
                    told.ends_with(&format!(" {count}")),
                    "{sql} ({pushdown}): {told}, not {count}"
                );
            }
            (None, Err(e)) => assert_eq!(e.sqlstate(), "23505", "{sql}\n{e}"),
            (expected, done) => panic!("{sql} ({pushdown}): {expected:?}, {done:?}"),
        }
        let null = || "∅".to_string();
        let line = |row: &Line| {
            let n = row.n.map_or_else(null, |n| n.to_string());
            format!("{}|{n}|{}", row.id, row.v.clone().unwrap_or_else(null))
        };
        let expected: Vec<String> = rows.values().map(line).collect();
        let found = lab.run("SELECT * FROM src.first ORDER BY id").await.rows;
        assert_eq!(found, expected, "{sql} ({pushdown})");
    }
    Ok(())
}

pub(crate) async fn seen_by_who_reads_after(fixture: Arc<dyn Fixture>) -> Outcome {
    fixture.writing()?;
    fixture.changing()?.create("first", true).await;
    let lab = lab(&fixture).await?;
    lab.run("CREATE MATERIALIZED VIEW kept WITH (refresh = 'on change', wait = true) AS SELECT count(*) AS c, sum(n) AS n FROM src.first")
        .await;
    let (mut count, mut sum) = (0, 0);
    let reader = lab.engine.session();
    for n in 1..=20_i64 {
        let sql = match n % 4 {
            0 => {
                sum += count;
                "UPDATE src.first SET n = n + 1".to_string()
            }
            _ => {
                (count, sum) = (count + 1, sum + n);
                format!("INSERT INTO src.first VALUES ({n}, {n}, NULL)")
            }
        };
        lab.run(&sql).await;
        let token = lab.run("SHOW last_write").await.rows.remove(0);
        assert!(token.starts_with("src=") && token != "src=now", "{token}");
        reader.set("read_after", &token).expect("a token");
        let found = answered(&reader, "SELECT c, n FROM kept").await;
        assert_eq!(found, [format!("{count}|{sum}")], "after {sql}: {token}");
    }
    Ok(())
}

async fn answered(session: &Session, sql: &str) -> Vec<String> {
    let answer = session
        .execute(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}\n{e}"));
    let batches = answer
        .collect()
        .await
        .unwrap_or_else(|e| panic!("{sql}\n{e}"));
    crate::lab::lines(&batches)
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::Schema;
use belvedere_connector::{
    Captured, ChangeStream, Error, Limits, Position, Source, SourceConfig, TableRef,
};

use super::applied::{Applied, Row, texts};
use super::{Changing, Edit, Line};
use crate::fixture::{Definition, Fixture};
use crate::lab::{Lab, SOURCE};

/// How soon what was committed is told.
pub const SOON: Duration = Duration::from_secs(30);
/// Writers at the same time. Each has numbers of its own.
const WRITERS: usize = 3;
/// Numbers of a writer.
const NUMBERS: i64 = 40;

pub type Stream = Box<dyn ChangeStream>;

/// A source whose changes are followed, and what was told of it.
pub struct World {
    pub fixture: Arc<dyn Fixture>,
    pub source: Arc<dyn Source>,
    pub tables: Vec<Captured>,
    pub applied: Applied,
    pub stream: Option<Stream>,
}

pub fn opened(fixture: &Arc<dyn Fixture>, name: &str, definition: Definition) -> Arc<dyn Source> {
    let config = SourceConfig {
        name: name.to_string(),
        url: definition.url,
        options: definition.options.into_iter().collect(),
        limits: Limits {
            // Who looks for changes by himself does so often.
            poll_interval: Duration::from_millis(50),
            ..Limits::default()
        },
    };
    fixture.connector().open(config).expect("the source opens")
}

impl World {
    /// Over tables that are there, and which of them to follow.
    pub async fn new(fixture: &Arc<dyn Fixture>, name: &str, tables: &[&str]) -> Self {
        let source = opened(fixture, name, changing(fixture).definition());
        let tables = captured(&source, tables).await;
        Self {
            fixture: fixture.clone(),
            source,
            tables,
            applied: Applied::default(),
            stream: None,
        }
    }

    /// A snapshot, and the stream from it.
    pub async fn follow(&mut self) {
        self.stream = None;
        let copied = self.applied.copy(self.source.as_ref(), &self.tables).await;
        let from = copied.expect("a snapshot");
        self.open(&from).await;
    }

    pub async fn open(&mut self, from: &Position) {
        self.stream = None;
        let opened = self.source.changes(from, &self.tables).await;
        self.stream = Some(opened.expect("a stream"));
    }

    /// What came before it was cut is not told again, and nothing is missing.
    pub async fn reopen(&mut self) {
        self.applied.broken();
        let from = self.applied.position.clone().expect("a position");
        self.open(&from).await;
    }

    /// Take what is told up to where the source is now.
    pub async fn catch_up(&mut self) {
        let to = self.source.position().await.expect("a position");
        self.until(&to).await.expect("the stream goes on");
    }

    pub async fn until(&mut self, to: &Position) -> Result<(), Error> {
        let stream = self.stream.as_mut().expect("a stream");
        let until = self.applied.until(stream.as_mut(), to);
        let until = tokio::time::timeout(SOON, until).await;
        until.unwrap_or_else(|_| panic!("{to} is not reached, nothing is told"))
    }

    /// A table's rows by what was told, without columns that a scan does not give, in order.
    pub fn told(&self, table: &str) -> Vec<Row> {
        let mut rows = self.applied.sorted(table);
        let captured = self.tables.iter().find(|c| c.table.name == table);
        let shown = captured.map_or(0, |captured| shown(self.source.as_ref(), captured));
        rows.iter_mut().for_each(|row| row.truncate(shown));
        rows.sort_unstable();
        rows
    }

    /// What was told of all tables is what a scan reads, by a source that has nothing to do with the log.
    pub async fn check(&mut self) {
        for captured in &self.tables {
            let expected = scanned(&self.fixture, self.source.as_ref(), captured).await;
            assert_rows(self.told(&captured.table.name), expected, captured);
        }
    }

    pub async fn finish(mut self) {
        self.stream = None;
        self.source
            .release()
            .await
            .expect("what capture made is removed");
    }
}

pub fn changing(fixture: &Arc<dyn Fixture>) -> &dyn Changing {
    fixture
        .changing()
        .expect("a behaviour asks first whether it captures")
}

pub async fn captured(source: &Arc<dyn Source>, names: &[&str]) -> Vec<Captured> {
    let tables = source.discover().await.expect("it can be discovered");
    let captured = |name: &&str| {
        let table = tables
            .iter()
            .find(|table| table.name == **name)
            .expect("a table");
        let (schema, name) = (table.schema.clone(), table.name.clone());
        let place = TableRef { schema, name };
        let mut fields = table.arrow_schema().fields().to_vec();
        fields.extend(source.hidden(&place));
        Captured {
            table: place,
            schema: Arc::new(Schema::new(fields)),
        }
    };
    names.iter().map(captured).collect()
}

/// How many columns of a table that is followed a scan gives: those before the others.
pub fn shown(source: &dyn Source, captured: &Captured) -> usize {
    captured.schema.fields().len() - source.hidden(&captured.table).len()
}

/// A table's rows, in order, as an engine reads them. `source`: who follows it.
pub async fn scanned(
    fixture: &Arc<dyn Fixture>,
    source: &dyn Source,
    captured: &Captured,
) -> Vec<Row> {
    let lab = Lab::empty(fixture).await;
    lab.run(&fixture.definition().create(SOURCE)).await;
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let fields = captured.schema.fields().iter();
    let columns = fields.take(shown(source, captured));
    let columns: Vec<String> = columns.map(|field| quoted(field.name())).collect();
    let sql = format!(
        "SELECT {} FROM {SOURCE}.{}.{}",
        columns.join(", "),
        quoted(&captured.table.schema),
        quoted(&captured.table.name)
    );
    let answer = lab.session.execute(&sql).await.expect("a scan");
    let batches = answer.collect().await.expect("rows");
    let mut rows: Vec<Row> = batches.iter().flat_map(texts).collect();
    rows.sort_unstable();
    rows
}

pub fn assert_rows(found: Vec<Row>, expected: Vec<Row>, captured: &Captured) {
    let table = &captured.table;
    let cut = |row: &Row| {
        let values = row
            .iter()
            .map(|value| value.chars().take(40).collect::<String>());
        values.collect::<Vec<_>>()
    };
    let mut only_told: Vec<_> = found.clone();
    only_told.retain(|row| !expected.contains(row));
    let mut only_read: Vec<_> = expected.clone();
    only_read.retain(|row| !found.contains(row));
    let few = |rows: &[Row]| rows.iter().take(5).map(cut).collect::<Vec<_>>();
    assert!(
        found == expected,
        "{table}: {} rows told and {} read; only told: {:?}, only read: {:?}",
        found.len(),
        expected.len(),
        few(&only_told),
        few(&only_read),
    );
}

/// Writers that go on until this is asked to end.
pub struct Writers {
    is_over: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    /// Of these tables, from a seed.
    pub fn start(fixture: &Arc<dyn Fixture>, tables: &[&str], seed: u64) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let tables: Vec<String> = tables.iter().map(ToString::to_string).collect();
        let task = |writer: usize| {
            let (fixture, is_over, tables) = (fixture.clone(), is_over.clone(), tables.clone());
            tokio::spawn(async move {
                let mut rng = fastrand::Rng::with_seed(seed * 100 + writer as u64);
                while !is_over.load(Ordering::SeqCst) {
                    let edits = transaction(&mut rng, writer, &tables);
                    let commits = rng.usize(0..8) > 0;
                    changing(&fixture).transact(writer, &edits, commits).await;
                    tokio::time::sleep(Duration::from_millis(rng.u64(0..4))).await;
                }
            })
        };
        let tasks = (0..WRITERS).map(task).collect();
        Self { is_over, tasks }
    }

    pub async fn end(mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        for task in std::mem::take(&mut self.tasks) {
            task.await.expect("the system takes what is written");
        }
    }
}

/// Of a behaviour that fails.
impl Drop for Writers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| task.abort());
    }
}

fn transaction(rng: &mut fastrand::Rng, writer: usize, tables: &[String]) -> Vec<(String, Edit)> {
    let mut edits = Vec::new();
    let table = |rng: &mut fastrand::Rng| tables[rng.usize(0..tables.len())].clone();
    if writer == 0 && rng.usize(0..40) == 0 {
        edits.push((table(rng), Edit::Truncate));
    }
    for _ in 0..rng.usize(1..8) {
        let id = |rng: &mut fastrand::Rng| rng.i64(0..NUMBERS) * WRITERS as i64 + writer as i64;
        let n = |rng: &mut fastrand::Rng| (rng.usize(0..5) > 0).then(|| rng.i64(-9..9));
        let at = id(rng);
        let edit = match rng.usize(0..8) {
            0..3 => Edit::Set(Line {
                id: at,
                n: n(rng),
                v: text(rng),
            }),
            3..5 => Edit::Update { id: at, n: n(rng) },
            5 => Edit::Move {
                id: at,
                to: id(rng),
            },
            _ => Edit::Delete { id: at },
        };
        edits.push((table(rng), edit));
    }
    edits
}

/// Some of them too large to be kept within their rows.
fn text(rng: &mut fastrand::Rng) -> Option<String> {
    let length = match rng.usize(0..6) {
        0 => return None,
        1 => rng.usize(3000..9000),
        _ => rng.usize(0..20),
    };
    Some(
        std::iter::repeat_with(|| rng.alphanumeric())
            .take(length)
            .collect(),
    )
}

/// What was put into a table is told alike by a snapshot and by the stream: its rows are added once more.
pub async fn both_ways(fixture: &Arc<dyn Fixture>, tables: &[&str]) {
    let Ok(changing) = fixture.changing() else {
        return;
    };
    for table in tables {
        changing.adopt(table).await;
    }
    let mut world = World::new(fixture, "both_ways", tables).await;
    world.follow().await;
    for table in tables {
        fixture.double(table).await;
    }
    world.catch_up().await;
    world.check().await;
    for captured in &world.tables {
        let rows = world.told(&captured.table.name);
        let pairs = rows
            .chunks(2)
            .all(|pair| pair.len() == 2 && pair[0] == pair[1]);
        assert!(pairs, "{}: each row once by each way", captured.table);
    }
    world.finish().await;
}

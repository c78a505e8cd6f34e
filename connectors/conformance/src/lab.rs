use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use belvedere::{Engine, Error, Session};
use datafusion::scalar::ScalarValue;

use crate::fixture::Fixture;

/// The source's name in all behaviours.
pub(crate) const SOURCE: &str = "src";
/// NULL, as no text is written.
pub(crate) const NULL: &str = "∅";

/// An engine over the seeded system.
pub(crate) struct Lab {
    pub engine: Engine,
    pub session: Session,
}

/// An answer: its columns' types and its rows, values separated by bars.
#[derive(PartialEq, Eq)]
pub(crate) struct Rows {
    pub types: Vec<String>,
    pub rows: Vec<String>,
}

/// Each row as a line: its values separated by bars, NULL as `∅`.
pub fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null(NULL);
    let mut lines = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter();
        let columns: Vec<_> = columns
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).expect("values can be shown"))
            .collect();
        lines.extend((0..batch.num_rows()).map(|row| {
            let values = columns.iter().map(|c| c.value(row).to_string());
            values.collect::<Vec<_>>().join("|")
        }));
    }
    lines
}

impl Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "({})", self.types.join(", "))?;
        for row in self.rows.iter().take(40) {
            writeln!(f, "  {}", row.chars().take(400).collect::<String>())?;
        }
        write!(f, "  {} rows", self.rows.len())
    }
}

impl Rows {
    fn of(schema: &Schema, batches: &[RecordBatch]) -> Self {
        let types = schema
            .fields()
            .iter()
            .map(|f| f.data_type().to_string())
            .collect();
        Self {
            types,
            rows: lines(batches),
        }
    }

    fn sorted(mut self) -> Self {
        self.rows.sort_unstable();
        self
    }
}

impl Lab {
    /// Put the tables, define the source `src`.
    pub async fn with(fixture: &Arc<dyn Fixture>, tables: &[(&str, RecordBatch)]) -> Self {
        for (name, data) in tables {
            fixture.put(name, &readable(fixture, data)).await;
        }
        let lab = Self::empty(fixture).await;
        lab.run(&fixture.definition().create(SOURCE)).await;
        lab
    }

    /// An engine without a source.
    pub async fn empty(fixture: &Arc<dyn Fixture>) -> Self {
        let engine = Engine::builder()
            .connector(fixture.connector())
            .open()
            .await
            .expect("the engine opens");
        let session = engine.session();
        Self { engine, session }
    }

    /// A statement that must succeed.
    pub async fn run(&self, sql: &str) -> Rows {
        self.rows(sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}\n{e}"))
    }

    /// An answer, in its order.
    pub async fn rows(&self, sql: &str) -> Result<Rows, Error> {
        self.answer(sql, &[], &[]).await
    }

    pub async fn answer(
        &self,
        sql: &str,
        values: &[ScalarValue],
        settings: &[(String, String)],
    ) -> Result<Rows, Error> {
        let answer = if values.is_empty() {
            self.session.execute_with(sql, settings).await?
        } else {
            let session = self.engine.session();
            for (name, value) in settings {
                session.set(name, value)?;
            }
            let prepared = session.prepare(sql).await?;
            session.execute_prepared(&prepared, values).await?
        };
        let schema = answer.schema.clone();
        Ok(Rows::of(&schema, &answer.collect().await?))
    }

    /// What a statement must fail with.
    pub async fn error(&self, sql: &str) -> Error {
        match self.rows(sql).await {
            Err(error) => error,
            Ok(rows) => panic!("{sql}\nshould fail; it gave {rows:?}"),
        }
    }

    /// The same rows with pushdown on and off.
    pub async fn same(&self, sql: &str) {
        self.same_with(sql, &[]).await;
    }

    pub async fn same_with(&self, sql: &str, values: &[ScalarValue]) {
        let off = [("pushdown".to_string(), "off".to_string())];
        let plain = self.answer(sql, values, &off).await;
        let pushed = self.answer(sql, values, &[]).await;
        match (plain, pushed) {
            (Ok(plain), Ok(pushed)) if is_ordered(sql) => {
                assert_eq!(
                    plain, pushed,
                    "pushdown off and on differ:\n{sql}\n{values:?}"
                );
            }
            (Ok(plain), Ok(pushed)) => {
                let (plain, pushed) = (plain.sorted(), pushed.sorted());
                assert_eq!(
                    plain, pushed,
                    "pushdown off and on differ:\n{sql}\n{values:?}"
                );
            }
            (Ok(_), Err(e)) => panic!("fails only when pushed down:\n{sql}\n{values:?}\n{e}"),
            (Err(plain), _) => panic!("{sql}\n{values:?}\n{plain}"),
        }
    }

    /// A query that fails here on its values, and not by a bug; a source may find its answer.
    pub async fn fails_here(&self, sql: &str) {
        let off = [("pushdown".to_string(), "off".to_string())];
        match self.answer(sql, &[], &off).await {
            Ok(rows) => panic!("{sql}\nshould fail; it gave {rows:?}"),
            Err(plain) => assert!(plain.code() != "internal", "{sql}\n{plain}"),
        }
        if let Err(pushed) = self.answer(sql, &[], &[]).await {
            assert!(pushed.code() != "internal", "{sql}\n{pushed}");
        }
    }

    /// These rows, with pushdown on and off; in this order if the query has one.
    pub async fn gives(&self, sql: &str, expected: &[&str]) {
        let found = self.run(sql).await;
        let mut expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        let found = if is_ordered(sql) {
            found
        } else {
            expected.sort_unstable();
            found.sorted()
        };
        assert_eq!(found.rows, expected, "{sql}");
        self.same(sql).await;
    }

    pub async fn explained(&self, sql: &str) -> String {
        self.run(&format!("EXPLAIN {sql}")).await.rows.join("\n")
    }

    pub async fn is_fully_pushed_down(&self, sql: &str) -> bool {
        self.explained(sql).await.contains("Nothing runs here")
    }
}

/// Whether the query itself, not a part of it in parentheses, has an order.
fn is_ordered(sql: &str) -> bool {
    let mut depth = 0;
    let outside: String = sql
        .chars()
        .filter(|c| {
            depth += i32::from(*c == '(') - i32::from(*c == ')');
            depth == 0
        })
        .collect();
    outside.contains("ORDER BY")
}

/// A batch with its columns in types the system has: what it lacks is put as what it is read as.
fn readable(fixture: &Arc<dyn Fixture>, data: &RecordBatch) -> RecordBatch {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in data.schema().fields().iter().zip(data.columns()) {
        match fixture.reads(field.data_type()) {
            Some(_) => {
                fields.push(field.as_ref().clone());
                columns.push(column.clone());
            }
            None => {
                let text =
                    cast(column, &arrow::datatypes::DataType::Utf8).expect("anything is text");
                fields.push(Field::new(
                    field.name(),
                    text.data_type().clone(),
                    field.is_nullable(),
                ));
                columns.push(text);
            }
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the same rows")
}

pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, c)| Field::new(*name, c.data_type().clone(), true))
        .collect();
    let columns = columns.into_iter().map(|(_, c)| c).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

pub(crate) fn ints(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

pub(crate) fn numbers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    ints(values.into_iter().map(Some))
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

/// Items: NULLs, ties, words that collations order otherwise than bytes do.
pub(crate) fn item() -> RecordBatch {
    batch(vec![
        ("id", numbers(1..=8)),
        (
            "grp",
            ints([
                Some(1),
                Some(1),
                Some(2),
                Some(2),
                Some(2),
                None,
                None,
                Some(3),
            ]),
        ),
        (
            "qty",
            ints([
                Some(10),
                Some(-3),
                Some(0),
                None,
                Some(10),
                Some(7),
                None,
                Some(10),
            ]),
        ),
        (
            "name",
            texts([
                Some("apple"),
                Some("Apple"),
                Some("apple "),
                Some(""),
                None,
                Some("Äpfel"),
                Some("zebra"),
                Some("a_p%e"),
            ]),
        ),
    ])
}

/// Sales of items: some of none, some of an item that is not there.
pub(crate) fn sale() -> RecordBatch {
    batch(vec![
        ("no", numbers(1..=7)),
        (
            "item_id",
            ints([Some(1), Some(1), Some(3), None, Some(99), Some(8), Some(5)]),
        ),
        (
            "amount",
            ints([Some(5), Some(6), Some(7), Some(8), None, Some(5), Some(-5)]),
        ),
        (
            "word",
            texts([
                Some("apple"),
                Some("APPLE"),
                Some("apple"),
                None,
                Some(""),
                Some("zebra"),
                Some("Apple"),
            ]),
        ),
    ])
}

/// So many rows of some 400 bytes.
pub(crate) fn padded(rows: i64) -> RecordBatch {
    let pad: Vec<String> = (0..rows).map(|i| format!("{i:0>400}")).collect();
    batch(vec![
        ("id", numbers(0..rows)),
        ("pad", texts(pad.iter().map(|p| Some(p.as_str())))),
    ])
}

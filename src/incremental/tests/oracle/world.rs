//! Tables, and what happens to them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;

use crate::store::{Shape, Table, ZSet};

pub(super) type Row = Vec<ScalarValue>;

/// A table, its plain content, and what has changed since a view was told.
pub(super) struct Kept {
    pub(super) name: &'static str,
    pub(super) schema: SchemaRef,
    pub(super) key: Vec<usize>,
    pub(super) table: Table,
    pub(super) rows: Vec<Row>,
    pub(super) change: Vec<(Row, i64)>,
}

pub(super) struct World {
    pub(super) tables: Vec<Kept>,
    pub(super) epoch: u64,
    /// What is taken for now: nanoseconds since 1970.
    pub(super) clock: i64,
}

pub(super) const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
pub(super) const DAY: i64 = 24 * HOUR;
/// The 27th of February 1970, 22:00: a month ends soon.
const BEGIN: i64 = 57 * DAY + 22 * HOUR;

fn decimal() -> DataType {
    DataType::Decimal128(10, 2)
}

impl World {
    pub(super) fn new() -> Self {
        use DataType::{Date32, Float64, Int64, Timestamp, Utf8};
        let table = |name, columns: &[(&str, DataType)], key: &[usize]| {
            let field = |(i, (name, of)): (usize, &(&str, DataType))| {
                Field::new(*name, of.clone(), !key.contains(&i))
            };
            let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
            Kept::new(name, Arc::new(Schema::new(fields)), key.to_vec(), 4)
        };
        let tables = vec![
            table(
                "t",
                &[
                    ("id", Int64),
                    ("a", Int64),
                    ("b", Int64),
                    ("s", Utf8),
                    ("d", decimal()),
                    ("f", Float64),
                    ("day", Date32),
                ],
                &[0],
            ),
            table(
                "u",
                &[
                    ("id", Int64),
                    ("a", Int64),
                    ("s", Utf8),
                    ("f", Float64),
                    ("at", Timestamp(TimeUnit::Microsecond, None)),
                ],
                &[0],
            ),
            table("v", &[("a", Int64), ("s", Utf8), ("d", decimal())], &[]),
            table(
                "w",
                &[
                    ("s", Utf8),
                    ("a", Int64),
                    ("day", Date32),
                    ("until", Timestamp(TimeUnit::Second, Some("UTC".into()))),
                ],
                &[0, 1],
            ),
        ];
        Self::of(tables)
    }

    pub(super) fn of(tables: Vec<Kept>) -> Self {
        Self {
            tables,
            epoch: 0,
            clock: BEGIN,
        }
    }

    /// Time passes: none, little, or much. In whole seconds, since DataFusion rounds a constant that is finer than the column which
    /// it is compared with.
    pub(super) fn pass(&mut self, random: &mut fastrand::Rng) {
        let most = [0, 1, 2, 3600, 7 * 3600, 86_400, 3 * 86_400, 29 * 86_400];
        let most = most[random.usize(0..most.len())];
        self.clock += random.i64(0..=most) * SECOND;
    }

    /// Up to `most` rows of each table come, go or are replaced, sometimes none.
    pub(super) fn change(&mut self, random: &mut fastrand::Rng, most: usize) {
        for table in &mut self.tables {
            if random.u8(0..3) == 0 {
                continue;
            }
            for _ in 0..random.usize(0..=most) {
                table.change(random);
            }
        }
    }

    /// What has happened is in the tables before a view is: its indexes are built over it.
    pub(super) fn settle(&mut self) {
        self.epoch += 1;
        for table in &mut self.tables {
            table.apply(self.epoch);
        }
    }

    pub(super) fn compact(&mut self, random: &mut fastrand::Rng) {
        for table in &mut self.tables {
            let budget = random.usize(0..40);
            table.table.compact(budget).unwrap();
        }
    }
}

impl Kept {
    pub(super) fn new(
        name: &'static str,
        schema: SchemaRef,
        key: Vec<usize>,
        chunk_bits: u32,
    ) -> Self {
        let shape = Shape::new(name, schema.clone()).with_chunk_bits(chunk_bits);
        let shape = match &key[..] {
            [] => shape,
            key => shape.with_key(key),
        };
        Self {
            name,
            schema,
            key,
            table: Table::new(shape),
            rows: Vec::new(),
            change: Vec::new(),
        }
    }

    pub(super) fn key_of(&self, row: &Row) -> Row {
        self.key.iter().map(|&i| row[i].clone()).collect()
    }

    /// Rows come.
    pub(super) fn fill(&mut self, rows: Vec<Row>) {
        self.change.extend(rows.iter().map(|row| (row.clone(), 1)));
        self.rows.extend(rows);
    }

    /// A row goes to those that wait, or one of these comes.
    pub(super) fn swap(&mut self, waiting: &mut Vec<Row>, random: &mut fastrand::Rng) {
        let goes = waiting.is_empty() || random.bool();
        if goes && !self.rows.is_empty() {
            let i = random.usize(0..self.rows.len());
            waiting.push(self.rows[i].clone());
            self.take(i);
        } else if !waiting.is_empty() {
            let row = waiting.swap_remove(random.usize(0..waiting.len()));
            self.fill(vec![row]);
        }
    }

    fn change(&mut self, random: &mut fastrand::Rng) {
        let dice = random.u8(0..10);
        if dice < 5 || self.rows.is_empty() {
            let row = self.row(random);
            self.put(row);
            return;
        }
        let i = random.usize(0..self.rows.len());
        let before = self.rows[i].clone();
        match dice {
            5 | 6 => self.take(i),
            // Comes and goes within an epoch.
            7 => {
                self.change.push((before.clone(), -1));
                self.change.push((before, 1));
            }
            _ => {
                self.take(i);
                let mut after = before;
                let column = random.usize(0..after.len());
                after[column] = self.value(column, random);
                self.put(after);
            }
        }
    }

    pub(super) fn take(&mut self, i: usize) {
        let row = self.rows.swap_remove(i);
        self.change.push((row, -1));
    }

    fn put(&mut self, row: Row) {
        if !self.key.is_empty() {
            let is_same = |other: &Row| self.key.iter().all(|&i| other[i] == row[i]);
            if let Some(i) = self.rows.iter().position(is_same) {
                self.take(i);
            }
        }
        self.change.push((row.clone(), 1));
        self.rows.push(row);
    }

    fn row(&self, random: &mut fastrand::Rng) -> Row {
        (0..self.schema.fields().len())
            .map(|column| self.value(column, random))
            .collect()
    }

    fn value(&self, column: usize, random: &mut fastrand::Rng) -> ScalarValue {
        let field = self.schema.field(column);
        let is_null = field.is_nullable() && random.u8(0..8) == 0;
        fn pick<T: Clone>(random: &mut fastrand::Rng, all: &[T]) -> T {
            all[random.usize(0..all.len())].clone()
        }
        let value = match field.data_type() {
            DataType::Int64 if field.name() == "id" => ScalarValue::from(random.i64(0..12)),
            DataType::Int64 => ScalarValue::from(pick::<i64>(random, &[0, 1, 1, 2, 2, 3, -1, 7])),
            DataType::Utf8 => ScalarValue::from(pick(random, &["", "1", "2", "a", "b", "ab"])),
            DataType::Decimal128(p, s) => {
                let cents = pick::<i128>(random, &[0, 1, 100, 150, -250, 9_999_999_999]);
                ScalarValue::Decimal128(Some(cents), *p, *s)
            }
            DataType::Float64 => ScalarValue::from(pick(
                random,
                &[
                    0.0,
                    -0.0,
                    1.0,
                    0.1,
                    1e16,
                    -1e16,
                    f64::NAN,
                    f64::INFINITY,
                    2.5,
                ],
            )),
            DataType::Timestamp(unit, zone) => {
                let hours = pick::<i64>(
                    random,
                    &[-30, -1, 0, 0, 1, 2, 2, 3, 23, 26, 27, 50, 90, 700],
                );
                // As is written where there is no end.
                let seconds = match random.u8(0..12) {
                    0 => 253_402_300_799,
                    _ => (BEGIN + hours * HOUR) / SECOND + random.i64(-1..=1),
                };
                match unit {
                    TimeUnit::Second => ScalarValue::TimestampSecond(Some(seconds), zone.clone()),
                    _ => ScalarValue::TimestampMicrosecond(Some(seconds * 1_000_000), zone.clone()),
                }
            }
            _ => {
                let days = [0, 1, 31, 28, 56, 57, 58, 59, 60, 90, 10_000];
                ScalarValue::Date32(Some(pick::<i32>(random, &days)))
            }
        };
        match is_null {
            true => ScalarValue::try_from(field.data_type()).unwrap(),
            false => value,
        }
    }

    pub(super) fn batch(&self, rows: &[Row]) -> RecordBatch {
        let columns = (0..self.schema.fields().len()).map(|i| -> ArrayRef {
            match rows.is_empty() {
                true => arrow::array::new_empty_array(self.schema.field(i).data_type()),
                false => ScalarValue::iter_to_array(rows.iter().map(|row| row[i].clone())).unwrap(),
            }
        });
        RecordBatch::try_new(self.schema.clone(), columns.collect()).unwrap()
    }

    /// What has changed, applied to the table.
    pub(super) fn apply(&mut self, epoch: u64) -> Option<ZSet> {
        let (rows, weights): (Vec<Row>, Vec<i64>) =
            std::mem::take(&mut self.change).into_iter().unzip();
        let change = (!rows.is_empty()).then(|| ZSet::new(self.batch(&rows), weights).unwrap());
        let empty = ZSet::empty(self.schema.clone());
        self.table
            .apply(epoch, change.as_ref().unwrap_or(&empty))
            .unwrap();
        change
    }
}

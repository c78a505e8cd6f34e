use std::collections::BTreeMap;
use std::time::Duration;

use belvedere::{Answer, Error, Session};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;

const PATIENCE: Duration = Duration::from_secs(30);

/// Rows by their values, as text, and how many there are of each.
pub type Rows = BTreeMap<Vec<String>, i64>;

/// Someone who adds up what he is told.
pub struct Follower {
    pub answer: Answer,
    pub sum: Sum,
}

/// What was told, added up.
pub struct Sum {
    /// As of the last epoch that was told whole.
    pub rows: Rows,
    /// Of an epoch that is not.
    pub open: Vec<(Vec<String>, i64)>,
    pub epoch: i64,
    pub cursor: String,
    /// Epochs that were told whole.
    pub told: usize,
    /// What holds at the end of each.
    pub whole: fn(&Rows),
}

impl Follower {
    pub async fn of(session: &Session, sql: &str) -> Self {
        Self::going_on(session, sql, Rows::new()).await
    }

    pub async fn going_on(session: &Session, sql: &str, rows: Rows) -> Self {
        let answer = session.execute(sql).await;
        Self {
            answer: answer.unwrap_or_else(|e| panic!("{sql}: {e}")),
            sum: Sum::of(rows, |_| {}),
        }
    }

    /// What comes next is taken.
    pub async fn next(&mut self) -> Result<(), Error> {
        let next = tokio::time::timeout(PATIENCE, self.answer.stream.next());
        let batch = next
            .await
            .expect("something is told")
            .expect("it goes on")?;
        self.sum.take(&batch);
        Ok(())
    }

    /// Until what was told adds up to what a query gives.
    pub async fn until_same(&mut self, session: &Session, query: &str) {
        let wait = async {
            loop {
                self.next().await.unwrap();
                if self.rows == rows(session, query).await {
                    return;
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{query}: {:?}", self.rows);
    }

    /// Until it fails.
    pub async fn until_error(&mut self) -> Error {
        loop {
            if let Err(e) = self.next().await {
                return e;
            }
        }
    }
}

impl std::ops::Deref for Follower {
    type Target = Sum;

    fn deref(&self) -> &Sum {
        &self.sum
    }
}

impl Sum {
    pub fn of(rows: Rows, whole: fn(&Rows)) -> Self {
        Self {
            rows,
            open: Vec::new(),
            epoch: 0,
            cursor: String::new(),
            told: 0,
            whole,
        }
    }

    pub fn take(&mut self, batch: &RecordBatch) {
        let format = FormatOptions::default().with_null("NULL");
        let columns: Vec<_> = batch.columns()[4..]
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &format).unwrap())
            .collect();
        let epochs = batch.column(0).as_primitive::<Int64Type>();
        let changes = batch.column(1).as_primitive::<Int64Type>();
        let cursors = batch.column(2).as_string::<i32>();
        for row in 0..batch.num_rows() {
            let epoch = epochs.value(row);
            assert!(epoch >= self.epoch, "epochs come in order");
            if changes.is_valid(row) {
                assert!(cursors.is_null(row), "a row is no end");
                let values = columns.iter().map(|column| column.value(row).to_string());
                self.open.push((values.collect(), changes.value(row)));
                continue;
            }
            for (values, change) in self.open.drain(..) {
                let count = self.rows.entry(values.clone()).or_default();
                *count += change;
                if *count == 0 {
                    self.rows.remove(&values);
                }
            }
            assert!(
                self.rows.values().all(|count| *count > 0),
                "what was there goes"
            );
            self.epoch = epoch;
            self.cursor = cursors.value(row).to_string();
            self.told += 1;
            (self.whole)(&self.rows);
        }
    }
}

/// What a query gives.
pub async fn rows(session: &Session, query: &str) -> Rows {
    let batches = session.execute(query).await.unwrap().collect().await;
    let format = FormatOptions::default().with_null("NULL");
    let mut rows = Rows::new();
    for batch in batches.unwrap_or_else(|e| panic!("{query}: {e}")) {
        for row in 0..batch.num_rows() {
            let value = |column: &ArrayRef| {
                let column = ArrayFormatter::try_new(column.as_ref(), &format).unwrap();
                column.value(row).to_string()
            };
            *rows
                .entry(batch.columns().iter().map(value).collect())
                .or_default() += 1;
        }
    }
    rows
}

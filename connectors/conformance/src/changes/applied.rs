use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use belvedere_connector::{
    Captured, Change, ChangeStream, Error, Position, Result, Snapshot, Source, Transaction,
};
use futures::TryStreamExt;

/// A row, each value as text.
pub type Row = Vec<String>;

/// What tables have by a snapshot and the changes behind it, as the contract says it, without any of the engine.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// Rows by table.
    pub tables: BTreeMap<String, Vec<Row>>,
    /// Why tables ended.
    pub ended: BTreeMap<String, Error>,
    /// Pieces of a transaction whose end has not come, or not been asked for.
    open: Vec<(String, Change)>,
    /// Where they end.
    end: Option<Position>,
    /// The most pieces that a transaction came in.
    pub most_pieces: usize,
    pieces: usize,
    pub transactions: usize,
    pub position: Option<Position>,
    columns: BTreeMap<String, Vec<String>>,
}

impl Applied {
    /// Read a snapshot, all of its streams at once.
    ///
    /// # Errors
    /// The source's.
    pub async fn copy(&mut self, source: &dyn Source, tables: &[Captured]) -> Result<Position> {
        let snapshot = source.snapshot(tables).await?;
        let position = snapshot.position.clone();
        self.read(snapshot, tables).await?;
        Ok(position)
    }

    /// # Errors
    /// The source's.
    pub async fn read(&mut self, snapshot: Snapshot, tables: &[Captured]) -> Result<()> {
        for captured in tables {
            let fields = captured.schema.fields().iter();
            let columns = fields.map(|field| field.name().clone()).collect();
            self.columns.insert(captured.table.name.clone(), columns);
            self.tables.insert(captured.table.name.clone(), Vec::new());
        }
        let streams = snapshot.streams.into_iter().map(async |(table, rows)| {
            let batches: Vec<RecordBatch> = rows.try_collect().await?;
            Ok::<_, Error>((table.name, batches))
        });
        for (table, batches) in futures::future::try_join_all(streams).await? {
            let rows = self.tables.entry(table).or_default();
            rows.extend(batches.iter().flat_map(texts));
        }
        self.position = Some(snapshot.position);
        Ok(())
    }

    /// Take what a stream tells, until all up to a position is there.
    ///
    /// # Errors
    /// The stream's.
    pub async fn until(&mut self, stream: &mut dyn ChangeStream, to: &Position) -> Result<()> {
        self.settle();
        while self.position.as_ref().is_none_or(|position| position < to) {
            let transaction = stream.next().await?;
            self.take(transaction);
        }
        Ok(())
    }

    /// The same, until there are so many transactions.
    ///
    /// # Errors
    /// The stream's.
    pub async fn at_least(&mut self, stream: &mut dyn ChangeStream, most: usize) -> Result<()> {
        self.settle();
        while self.transactions < most {
            let transaction = stream.next().await?;
            self.take(transaction);
        }
        Ok(())
    }

    /// What is told up to a position, and nothing of what comes behind it.
    ///
    /// # Errors
    /// The stream's.
    pub async fn exactly(&mut self, stream: &mut dyn ChangeStream, to: &Position) -> Result<()> {
        loop {
            match &self.end {
                Some(end) if end > to => return Ok(()),
                Some(_) => self.settle(),
                None if self.position.as_ref() == Some(to) => return Ok(()),
                None => {
                    let piece = stream.next().await?;
                    self.hold(piece);
                }
            }
        }
    }

    /// A transaction counts with its end. One that came before is left out.
    pub fn take(&mut self, piece: Transaction) {
        self.hold(piece);
        self.settle();
    }

    fn hold(&mut self, piece: Transaction) {
        self.pieces += 1;
        self.most_pieces = self.most_pieces.max(self.pieces);
        let changes = piece.changes.into_iter();
        self.open
            .extend(changes.map(|(table, change)| (table.name, change)));
        self.end = piece.end;
    }

    fn settle(&mut self) {
        let Some(end) = self.end.take() else {
            return;
        };
        self.pieces = 0;
        let changes = std::mem::take(&mut self.open);
        if self
            .position
            .as_ref()
            .is_some_and(|position| end <= *position)
        {
            return;
        }
        self.transactions += usize::from(!changes.is_empty());
        self.position = Some(end);
        for (table, change) in changes {
            self.apply(table, change);
        }
    }

    /// Take a table from another that is as far.
    pub fn adopt(&mut self, table: &str, mut other: Self) {
        let rows = other.tables.remove(table).unwrap_or_default();
        self.tables.insert(table.to_string(), rows);
        let columns = other.columns.remove(table).unwrap_or_default();
        self.columns.insert(table.to_string(), columns);
    }

    /// The stream has broken: what has not come to its end comes again.
    pub fn broken(&mut self) {
        self.settle();
        self.open.clear();
        self.pieces = 0;
    }

    /// A table's rows, in order.
    pub fn sorted(&self, table: &str) -> Vec<Row> {
        let mut rows = self.tables.get(table).cloned().unwrap_or_default();
        rows.sort_unstable();
        rows
    }

    fn apply(&mut self, table: String, change: Change) {
        let Some(columns) = self.columns.get(&table).cloned() else {
            // It is not copied yet: what comes is in its copy, or comes behind it.
            return;
        };
        let rows = self.tables.entry(table.clone()).or_default();
        match change {
            Change::Rows {
                rows: changed,
                weights,
            } => {
                assert_eq!(changed.num_rows(), weights.len());
                for (row, weight) in texts(&changed).into_iter().zip(weights) {
                    for _ in 0..weight.abs() {
                        match weight > 0 {
                            true => rows.push(row.clone()),
                            false => {
                                let found = rows.iter().position(|other| *other == row);
                                rows.swap_remove(found.expect("a row that goes was there"));
                            }
                        }
                    }
                }
            }
            Change::ByKey {
                keys,
                rows: came,
                is_there,
                unchanged,
            } => {
                let fields = keys.schema();
                let places = fields.fields().iter().map(|field| {
                    let place = columns.iter().position(|column| column == field.name());
                    place.expect("keys are wanted columns")
                });
                let places: Vec<usize> = places.collect();
                let mut came = texts(&came).into_iter().enumerate();
                for (key, is_there) in texts(&keys).into_iter().zip(is_there) {
                    let of = |row: &Row| places.iter().zip(&key).all(|(i, key)| row[*i] == *key);
                    let went: Vec<Row> = rows.extract_if(.., |row| of(row)).collect();
                    if is_there {
                        let (number, mut row) = came.next().expect("a row for each that is there");
                        for unchanged in &unchanged {
                            if unchanged.rows.value(number) {
                                assert_eq!(went.len(), 1, "a value as it was in one row");
                                row[unchanged.column] = went[0][unchanged.column].clone();
                            }
                        }
                        rows.push(row);
                    }
                }
                assert!(came.next().is_none(), "no row more than are there");
            }
            Change::Truncate => rows.clear(),
            Change::Anew => panic!("it is known what has changed in {table}"),
            Change::Ends(why) => {
                self.ended.insert(table, why);
            }
        }
    }
}

/// Each value as text, `∅` for NULL.
pub fn texts(rows: &RecordBatch) -> Vec<Row> {
    let options = FormatOptions::default().with_null("∅");
    let columns = rows.columns().iter();
    let columns: Vec<_> = columns
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("it can be shown"))
        .collect();
    let row = |row| {
        columns
            .iter()
            .map(|column| column.value(row).to_string())
            .collect()
    };
    (0..rows.num_rows()).map(row).collect()
}

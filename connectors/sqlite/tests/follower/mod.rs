//! A reader of changes that keeps plain rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use belvedere_connector::{
    Captured, Change, ChangeStream, Code, Position, Result, Source, TableRef,
};
use futures::TryStreamExt;

use crate::common::{self, File};

pub const TRIGGERS: &[(&str, &str)] = &[("changes", "triggers")];
pub const SOON: Duration = Duration::from_secs(20);

/// What a stream has told of tables, as plain rows.
pub struct Follower {
    pub source: Arc<dyn Source>,
    pub tables: Vec<Captured>,
    pub rows: BTreeMap<String, Vec<String>>,
    pub ended: BTreeMap<String, Code>,
    pub stream: Option<Box<dyn ChangeStream>>,
    pub at: Position,
}

impl Follower {
    pub async fn new(file: &File, names: &[&str]) -> Self {
        Self::of(file.source_with(TRIGGERS), names).await.unwrap()
    }

    pub async fn of(source: Arc<dyn Source>, names: &[&str]) -> Result<Self> {
        let found = source.discover().await?;
        let captured = |name: &&str| {
            let table = found.iter().find(|table| table.name == **name).unwrap();
            let (schema, name) = (table.schema.clone(), table.name.clone());
            Captured {
                table: TableRef { schema, name },
                schema: table.arrow_schema(),
            }
        };
        let tables: Vec<_> = names.iter().map(captured).collect();
        let snapshot = source.snapshot(&tables).await?;
        let mut rows = BTreeMap::new();
        for (table, stream) in snapshot.streams {
            let batches: Vec<_> = stream.try_collect().await?;
            rows.insert(table.name, batches.iter().flat_map(texts).collect());
        }
        let stream = Some(source.changes(&snapshot.position, &tables).await?);
        Ok(Self {
            source,
            tables,
            rows,
            ended: BTreeMap::new(),
            stream,
            at: snapshot.position,
        })
    }

    /// Take what comes up to where the source is now.
    pub async fn catch_up(&mut self) -> Result<()> {
        let to = self.source.position().await?;
        let stream = self.stream.as_mut().unwrap();
        while self.at < to {
            let piece = tokio::time::timeout(SOON, stream.next()).await;
            let piece = piece.expect("it is told")?;
            for (table, change) in piece.changes {
                let key = self.source.identity(&table);
                apply(
                    &self.tables,
                    self.rows.get_mut(&table.name).unwrap(),
                    &key,
                    change,
                )
                .map_err(|code| self.ended.insert(table.name, code))
                .ok();
            }
            self.at = piece.end.unwrap_or(self.at.clone());
        }
        Ok(())
    }

    /// What was told is what is there.
    pub async fn check(&mut self, file: &File) {
        self.catch_up().await.unwrap();
        for Captured { table, .. } in &self.tables {
            let opened = file.open(&[]).await;
            let mut expected = opened.rows(opened.scan(&table.name, &[])).await;
            expected.sort_unstable();
            let told = self.rows.get_mut(&table.name).unwrap();
            told.sort_unstable();
            assert_eq!(*told, expected, "{table}");
        }
    }

    /// From where it was, by another process so to speak.
    pub async fn reopen(&mut self, file: &File) -> Result<()> {
        self.stream = None;
        self.source = file.source_with(TRIGGERS);
        self.source.discover().await?;
        self.stream = Some(self.source.changes(&self.at, &self.tables).await?);
        Ok(())
    }

    /// Why the stream ends.
    pub async fn end(&mut self) -> Code {
        let stream = self.stream.as_mut().unwrap();
        let ends = async {
            loop {
                if let Err(e) = stream.next().await {
                    return e.code;
                }
            }
        };
        tokio::time::timeout(SOON, ends).await.expect("it ends")
    }
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    common::rows(batch)
}

fn apply(
    tables: &[Captured],
    rows: &mut Vec<String>,
    key: &Option<Vec<String>>,
    change: Change,
) -> Result<(), Code> {
    match change {
        Change::Rows {
            rows: changed,
            weights,
        } => {
            for (row, weight) in texts(&changed).into_iter().zip(weights) {
                match weight {
                    1 => rows.push(row),
                    _ => {
                        let found = rows.iter().position(|other| *other == row);
                        rows.swap_remove(found.expect("a row that goes was there"));
                    }
                }
            }
        }
        Change::ByKey {
            keys,
            rows: came,
            is_there,
            ..
        } => {
            // In these tests the columns of a key are the first ones.
            let names = keys.schema();
            let names: Vec<_> = names.fields().iter().map(|f| f.name().clone()).collect();
            assert_eq!(Some(&names), key.as_ref());
            assert!(
                tables
                    .iter()
                    .any(|t| t.schema.fields().len() >= names.len())
            );
            let mut came = texts(&came).into_iter();
            for (key, is_there) in texts(&keys).into_iter().zip(is_there) {
                rows.retain(|row| *row != key && !row.starts_with(&format!("{key}|")));
                rows.extend(is_there.then(|| came.next().unwrap()));
            }
        }
        Change::Truncate | Change::Anew => unreachable!("nothing says so"),
        Change::Ends(e) => return Err(e.code),
    }
    Ok(())
}

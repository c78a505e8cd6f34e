//! One table, followed: its snapshot, to which what is told is added.

use std::sync::Arc;
use std::time::Duration;

use belvedere_connector::{Captured, Change, ChangeStream, Error, Position, Source, TableRef};
use futures::TryStreamExt;

use crate::support::{read, scan, table, text_of};

pub type Row = Vec<Option<String>>;

/// One table, followed.
pub struct Following {
    pub source: Arc<dyn Source>,
    pub captured: Captured,
    pub rows: Vec<Row>,
    pub position: Position,
    pub stream: Option<Box<dyn ChangeStream>>,
    pub ended: Option<Error>,
    /// What is known of its rows does not count any more.
    pub is_anew: bool,
}

pub async fn captured(source: &Arc<dyn Source>, name: &str) -> Captured {
    let table = table(source, name).await;
    Captured {
        schema: table.arrow_schema(),
        table: TableRef {
            schema: table.schema,
            name: table.name,
        },
    }
}

impl Following {
    pub async fn start(source: Arc<dyn Source>, name: &str) -> Self {
        let captured = captured(&source, name).await;
        let snapshot = source.snapshot(std::slice::from_ref(&captured)).await;
        let snapshot = snapshot.expect("a snapshot");
        let mut rows = Vec::new();
        for (_, stream) in snapshot.streams {
            let batches: Vec<_> = stream.try_collect().await.expect("rows");
            rows.extend(text_of(&batches));
        }
        let mut following = Self {
            source,
            captured,
            rows,
            position: snapshot.position,
            stream: None,
            ended: None,
            is_anew: false,
        };
        following.open().await.expect("a stream");
        following
    }

    pub async fn open(&mut self) -> Result<(), Error> {
        self.stream = None;
        let tables = std::slice::from_ref(&self.captured);
        self.stream = Some(self.source.changes(&self.position, tables).await?);
        Ok(())
    }

    pub async fn step(&mut self) -> Result<(), Error> {
        let stream = self.stream.as_mut().expect("a stream");
        let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
        let told = next.expect("something is told")?;
        for (_, change) in told.changes {
            match change {
                Change::Rows { rows, weights } => {
                    for (row, weight) in text_of(&[rows]).into_iter().zip(weights) {
                        if weight > 0 {
                            self.rows.push(row);
                        } else {
                            let found = self.rows.iter().position(|other| *other == row);
                            let found = found.unwrap_or_else(|| panic!("{row:?} was not there"));
                            self.rows.swap_remove(found);
                        }
                    }
                }
                Change::Truncate => self.rows.clear(),
                Change::Anew => self.is_anew = true,
                Change::Ends(why) => self.ended = Some(why),
                Change::ByKey { .. } => panic!("old rows are whole"),
            }
        }
        if let Some(end) = told.end {
            self.position = end;
        }
        Ok(())
    }

    pub async fn catch_up(&mut self) -> Result<(), Error> {
        let to = self.source.position().await?;
        while self.position < to {
            self.step().await?;
        }
        Ok(())
    }

    /// What was told is what is there.
    pub async fn check(&mut self) {
        self.catch_up().await.expect("the stream goes on");
        assert!(self.ended.is_none(), "{:?}", self.ended);
        let name = self.captured.table.name.clone();
        let found = table(&self.source, &name).await;
        let mut expected = text_of(&read(&self.source, scan(&found, &[])).await.expect("rows"));
        expected.sort();
        self.rows.sort();
        for (told, read) in self.rows.iter().zip(&expected) {
            assert_eq!(told, read);
        }
        assert_eq!(self.rows.len(), expected.len());
    }

    /// Why it ends, by what is done.
    pub async fn ends(mut self) -> Error {
        while self.ended.is_none() {
            self.step().await.expect("the stream goes on");
        }
        self.ended.expect("it ended")
    }
}

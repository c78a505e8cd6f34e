//! Changes of a source that has no log, found by looking again.
//!
//! *It owns* what each table had at the last look. The central type is [`Polled`]: a source as it is, and the capture that it
//! lacks. Scans flow in, one of each table at an interval; what differs from the last look flows out as one step.
//!
//! A *position* is a number made at random with the process, and that of a look or a snapshot, in the order in which they
//! began. What a table had is forgotten with the process: its positions are of another timeline then, so that all is copied
//! anew, behind what is served.
//!
//! What a look keeps is in proportion to keys: of each the key, and a hash of 128 bits of its row. A table of which not all
//! columns of its primary key are wanted, or which has none, is kept by whole rows, with a count of each.
//!
//! Invariants:
//! - A look becomes the last one when it is given, and not before: a reader whose stream broke is given the same again.
//! - A table is looked at once its snapshot was read to the end; what the looks before found of it, nobody is told.
//! - A row that was changed and changed back between two looks was not changed.
//! - What a table had is compared with the same columns of it: where others are wanted, all is copied anew.
//!
//! Limits: each table is scanned whole, by one stream. Tables of one look are read one after the other, so each is whole, and
//! not all as of one moment.
//!
//! | file | owns |
//! |---|---|
//! | `seen.rs` | what a table had, and how another look differs |
//! | `looks.rs` | the looks at a source's tables: snapshots, the stream |

mod looks;
mod seen;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belvedere_connector::{
    BatchStream, Capabilities, Capture, Captured, ChangeStream, Door, Fragment, Position, Result,
    ScanRequest, Snapshot, Source, Table,
};
use datafusion::catalog::TableProvider;
use looks::{Looks, Stream};

/// A source whose tables are looked at again and again.
#[derive(Debug)]
pub struct Polled {
    source: Arc<dyn Source>,
    looks: Arc<Looks>,
}

impl Polled {
    /// `interval`: from the beginning of one look to that of the next, or as long as the look takes. It is how old the copies
    /// of an idle source get.
    pub fn new(source: Arc<dyn Source>, interval: Duration) -> Self {
        Self {
            looks: Arc::new(Looks::new(source.clone(), interval)),
            source,
        }
    }
}

#[async_trait]
impl Source for Polled {
    async fn discover(&self) -> Result<Vec<Table>> {
        self.source.discover().await
    }

    fn remember(&self, tables: &[Table]) {
        self.source.remember(tables);
    }

    fn default_schema(&self) -> &str {
        self.source.default_schema()
    }

    fn place(&self) -> Option<String> {
        self.source.place()
    }

    fn capabilities(&self) -> Arc<dyn Capabilities> {
        self.source.capabilities()
    }

    fn partitions(&self, fragment: &Fragment) -> usize {
        self.source.partitions(fragment)
    }

    fn max_streams(&self) -> usize {
        self.source.max_streams()
    }

    fn describe(&self, fragment: &Fragment) -> String {
        self.source.describe(fragment)
    }

    async fn scan(&self, request: ScanRequest) -> Result<Vec<BatchStream>> {
        self.source.scan(request).await
    }

    fn capture(&self) -> Capture {
        Capture::Snapshot
    }

    async fn position(&self) -> Result<Position> {
        Ok(self.looks.next())
    }

    async fn snapshot(&self, tables: &[Captured]) -> Result<Snapshot> {
        self.looks.snapshot(tables).await
    }

    async fn changes(&self, from: &Position, tables: &[Captured]) -> Result<Box<dyn ChangeStream>> {
        let stream = Stream::new(self.looks.clone(), from, tables.to_vec())?;
        Ok(Box::new(stream))
    }

    async fn table_provider(
        &self,
        table: &Table,
        door: Arc<dyn Door>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        self.source.table_provider(table, door).await
    }
}

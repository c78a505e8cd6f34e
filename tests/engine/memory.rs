use std::sync::Arc;

use belvedere::{Engine, Session};
use belvedere_connector::Change;
use belvedere_memory::{MemoryConnector, MemorySource};
use tempfile::TempDir;

use crate::fixture::shown;

/// An engine with a data directory over one source in memory, whose commits the test makes.
pub struct InMemory {
    pub source: MemorySource,
    pub session: Session,
    pub engine: Engine,
    dir: TempDir,
    /// What may be kept by change; 0: as much as there is.
    limit: usize,
}

impl InMemory {
    /// The source is defined by its own name.
    pub async fn new(source: MemorySource) -> Self {
        Self::within(source, 0).await
    }

    /// With so much memory for what is kept by change.
    pub async fn within(source: MemorySource, limit: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let new = Self::open(source, dir, limit).await;
        let name = new.source.name();
        new.ok(&format!("CREATE SOURCE {name} FROM 'memory:{name}'"))
            .await;
        new
    }

    async fn open(source: MemorySource, dir: TempDir, limit: usize) -> Self {
        let connector = Arc::new(MemoryConnector::new().with(source.clone()));
        let builder = Engine::builder().connector(connector);
        let builder = builder.data_dir(dir.path().join("data"));
        let builder = builder.kept_memory_limit(limit);
        let engine = builder.open().await.unwrap();
        Self {
            source,
            session: engine.session(),
            engine,
            dir,
            limit,
        }
    }

    pub async fn ok(&self, sql: &str) -> String {
        let answer = shown(&self.session, sql).await;
        answer.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    pub fn commit(&self, changes: Vec<(&str, Change)>) {
        commit(&self.source, changes);
    }

    pub async fn restarted(self) -> Self {
        self.restarted_after(|_| {}).await
    }

    /// With what happens at the source while nobody is there.
    pub async fn restarted_after(self, meanwhile: impl FnOnce(&MemorySource)) -> Self {
        let limit = self.limit;
        let (source, dir) = self.close().await;
        meanwhile(&source);
        Self::open(source, dir, limit).await
    }

    /// With another limit.
    pub async fn restarted_within(mut self, limit: usize) -> Self {
        self.limit = limit;
        self.restarted().await
    }

    pub async fn close(self) -> (MemorySource, TempDir) {
        drop(self.session);
        self.engine.close().await.unwrap();
        (self.source, self.dir)
    }
}

pub fn commit(source: &MemorySource, changes: Vec<(&str, Change)>) {
    let changes = changes.into_iter();
    let changes = changes.map(|(table, change)| (table.to_string(), change));
    source.commit(changes.collect()).unwrap();
}

pub fn rows(rows: datafusion::arrow::array::RecordBatch, weight: i64) -> Change {
    let weights = vec![weight; rows.num_rows()];
    Change::Rows { rows, weights }
}

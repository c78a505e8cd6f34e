//! What views had that do not go on, in files: a restart has their rows, too.
//!
//! Of a view that is kept by change, what it reads is durable, and its rows are computed of that at start. Where they cannot be any more,
//! since a table has become another one, they are nowhere else.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use datafusion::common::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::flow::LAGS;
use super::{AsOf, Asked, Content, KeptView, Shown, State, Version, Views};
use crate::error::{Error, Result};
use crate::store::Pinned;

/// How long until it is looked at again what goes on: epochs are many.
const PAUSE: Duration = Duration::from_millis(10);
/// The same after the disk has failed.
const LONG_PAUSE: Duration = Duration::from_secs(1);

impl Shown {
    /// Its rows stay as they are until somebody mends it.
    pub(super) fn has_stopped(&self) -> bool {
        // One that takes too long goes on.
        matches!(&self.state, State::Blocked { reason } if **reason != *LAGS)
    }
}

impl Views {
    /// Have in files what those show that are kept by change and have stopped, as long as there are views.
    pub(super) async fn keep_stopped(views: Weak<Self>) {
        let Some(mut watch) = views.upgrade().map(|views| views.shelves.watch()) else {
            return;
        };
        // As of when, by generation.
        let mut written: BTreeMap<u64, AsOf> = BTreeMap::new();
        loop {
            let Some(this) = views.upgrade() else {
                return;
            };
            let mut stopped = Vec::new();
            for (id, shown) in watch.borrow_and_update().iter() {
                let Some(Content::Table(table)) = &shown.content else {
                    continue;
                };
                if !shown.has_stopped() {
                    written.remove(&shown.generation);
                    this.stopped.forget(shown.generation);
                } else if !Asked::is_one(id) && written.get(&shown.generation) != Some(&shown.as_of)
                {
                    let of = (id.clone(), shown.generation, shown.as_of.clone());
                    stopped.push((of, table.clone()));
                }
            }
            let mut pause = PAUSE;
            for ((id, generation, as_of), table) in stopped {
                match this.write_stopped(generation, &as_of, table).await {
                    Ok(()) => drop(written.insert(generation, as_of)),
                    Err(e) => {
                        tracing::warn!(view = %id, "what it had would be lost by a restart: {e}");
                        pause = LONG_PAUSE;
                    }
                }
            }
            drop(this);
            tokio::time::sleep(pause).await;
            if pause == PAUSE && watch.changed().await.is_err() {
                return;
            }
        }
    }

    async fn write_stopped(&self, generation: u64, as_of: &AsOf, table: Pinned) -> Result<()> {
        // In this order: what passes between the two makes it older.
        let now = Utc::now();
        let age = self.shelves.age(as_of);
        let age = age.and_then(|age| TimeDelta::from_std(age).ok());
        // Of unknown age: older than any bound.
        let at = age.and_then(|age| now.checked_sub_signed(age));
        let at = at.unwrap_or(DateTime::UNIX_EPOCH);
        let schema = table.shape().schema().clone();
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let parts = (0..table.part_count()).map(move |part| {
            let rows = table.part(part, &columns);
            rows.map_err(|e| DataFusionError::from(Error::Internal(e.to_string())))
        });
        let rows = RecordBatchStreamAdapter::new(schema.clone(), futures::stream::iter(parts));
        let written = self.stopped.write(generation, at, schema, Box::pin(rows));
        let version = Arc::new(written.await?);
        self.stopped.keep(generation, version, 1);
        Ok(())
    }

    /// What a view had that had stopped before the engine began, unless it is on the shelf.
    pub(super) fn stopped_before(&self, view: &KeptView) -> Option<Arc<Version>> {
        let shelf = self.shelves.newest();
        let shown = shelf.get(&view.id);
        if shown.is_some_and(|shown| shown.generation == view.generation)
            || !self.stopped.has_files(view.generation)
        {
            return None;
        }
        let (versions, damaged) = self.stopped.open(view.generation);
        for reason in damaged {
            tracing::warn!(view = %view.id, "what it had cannot be read: {reason}");
        }
        versions.last().cloned()
    }
}

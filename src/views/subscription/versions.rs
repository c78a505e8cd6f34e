//! Changes of a view that is computed anew: each version's difference to the one before.

use std::sync::Arc;

use tokio::sync::watch;

use super::super::journal::Ended;
use super::super::shelf::{Content, Shelf, Version};
use super::super::versions::not_stored;
use super::told::Piece;
use super::{Cursor, Opening, Order, ended, expired, foreign};
use crate::error::{Error, Result};
use crate::store::{ZSet, checksum};
use crate::views::Views;

/// A reader of a view's versions.
#[derive(Debug)]
pub(super) struct Versioned {
    shelves: watch::Receiver<Arc<Shelf>>,
    generation: u64,
    /// What was told last.
    last: Arc<Version>,
}

impl Versioned {
    /// # Errors
    /// If the cursor is none of this view, or its version is not kept.
    pub fn begin(
        views: &Arc<Views>,
        order: &Order,
        generation: u64,
        newest: &Arc<Version>,
    ) -> Result<(Self, Opening)> {
        let versioned = |last: &Arc<Version>| Self {
            shelves: views.shelves().watch(),
            generation,
            last: last.clone(),
        };
        let Some(cursor) = &order.cursor else {
            let begun = versioned(newest);
            let rows = order.snapshot.then(|| Content::Rows(newest.clone()));
            let (part, end) = (0, begun.end());
            return Ok((begun, Opening { rows, part, end }));
        };
        let kept = views.versions(generation);
        let version = kept.iter().find(|version| version.number == cursor.epoch);
        let is_ours = cursor.origin == origin(generation);
        match version {
            Some(version) if is_ours && mark(version) == cursor.mark => {
                Ok((versioned(version), Opening::at(cursor)))
            }
            None if is_ours && cursor.epoch < newest.number => Err(expired(order, "keep")),
            _ => Err(foreign(order)),
        }
    }

    /// What has changed, if anything has.
    ///
    /// # Errors
    /// If the view is gone; if what there is cannot be compared.
    pub fn next(&mut self, order: &Order) -> Result<Vec<Piece>> {
        if self.shelves.has_changed().is_err() {
            return Err(Error::Cancelled);
        }
        let shown = self.shelves.borrow_and_update().get(&order.view).cloned();
        let shown = shown.filter(|shown| shown.generation == self.generation);
        let newest = match shown.as_ref().map(|shown| &shown.content) {
            Some(Some(Content::Rows(newest))) => newest.clone(),
            _ => return Err(ended(order, &Ended::Gone)),
        };
        if newest.number == self.last.number {
            return Ok(Vec::new());
        }
        let change = difference(&self.last, &newest)?;
        let epoch = newest.number;
        self.last = newest;
        let change = change.map(|change| Piece::Rows { epoch, change });
        Ok(change.into_iter().chain([self.end()]).collect())
    }

    /// Until there may be something more.
    pub async fn changed(&mut self) {
        if self.shelves.changed().await.is_err() {
            std::future::pending().await
        }
    }

    fn end(&self) -> Piece {
        let cursor = Cursor {
            origin: origin(self.generation),
            epoch: self.last.number,
            mark: mark(&self.last),
        };
        Piece::End {
            epoch: self.last.number,
            cursor: cursor.to_string(),
            positions: None,
        }
    }
}

/// Versions are counted in a view of a generation.
fn origin(generation: u64) -> u64 {
    checksum(&[b"versions".as_slice(), &generation.to_le_bytes()].concat())
}

/// When it was begun.
fn mark(version: &Version) -> u64 {
    version.at.timestamp_micros().cast_unsigned()
}

/// From one to the other, if either has rows. In memory, both of them.
fn difference(from: &Version, to: &Version) -> Result<Option<ZSet>> {
    let mut parts = Vec::new();
    for (version, weight) in [(from, -1i64), (to, 1)] {
        for number in 0..version.rows.batch_count() {
            let rows = version.rows.batch(number).map_err(not_stored)?;
            let weights = vec![weight; rows.num_rows()];
            parts.push(ZSet::new(rows, weights).map_err(internal)?);
        }
    }
    let Some(first) = parts.first() else {
        return Ok(None);
    };
    let schema = first.rows().schema();
    let all = ZSet::concat(&schema, &parts).map_err(internal)?;
    all.consolidated().map(Some).map_err(internal)
}

fn internal(e: crate::store::Error) -> Error {
    Error::Internal(format!("two versions cannot be compared: {e}"))
}

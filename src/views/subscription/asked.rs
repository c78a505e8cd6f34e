//! Queries that are kept by change while somebody subscribes to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::catalog::{ObjectId, ViewDefinition};
use crate::views::Views;
use crate::views::keeper::Command;

/// The schema of such queries, as views. Nobody can type it.
pub const ASKED: &str = "$asked";

/// The queries that somebody subscribes to, and how many do.
#[derive(Debug, Default)]
pub struct Asked(Mutex<BTreeMap<ObjectId, (Arc<ViewDefinition>, usize)>>);

impl Asked {
    /// Whether this is the name of such a query.
    pub fn is_one(id: &ObjectId) -> bool {
        matches!(id.0.as_slice(), [_, schema, _] if schema == ASKED)
    }

    pub fn all(&self) -> Vec<Arc<ViewDefinition>> {
        self.lock().values().map(|(view, _)| view.clone()).collect()
    }

    /// Locked: what is sent to the keeper meanwhile is of these.
    pub(in crate::views) fn lock(
        &self,
    ) -> MutexGuard<'_, BTreeMap<ObjectId, (Arc<ViewDefinition>, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query that is kept for whoever has this, too.
#[derive(Debug)]
pub struct AskedQuery {
    views: Weak<Views>,
    id: ObjectId,
}

impl Views {
    /// Keep a query as if it were a view, for as long as the answer is there. Whether all that is kept has to be settled for it:
    /// it was not among them.
    pub fn ask(self: &Arc<Self>, query: &Arc<ViewDefinition>) -> (AskedQuery, bool) {
        let id = query.id();
        let mut asked = self.asked.lock();
        let (_, users) = asked
            .entry(id.clone())
            .or_insert_with(|| (query.clone(), 0));
        *users += 1;
        let is_new = *users == 1;
        let views = Arc::downgrade(self);
        (AskedQuery { views, id }, is_new)
    }
}

impl Drop for AskedQuery {
    fn drop(&mut self) {
        let Some(views) = self.views.upgrade() else {
            return;
        };
        let mut asked = views.asked.lock();
        let Some((_, users)) = asked.get_mut(&self.id) else {
            return;
        };
        *users -= 1;
        if *users == 0 {
            asked.remove(&self.id);
            views.shelves.change(|shelf| {
                shelf.remove(&self.id);
            });
            views.keeper.send(Command::Forget(self.id.clone()));
        }
    }
}

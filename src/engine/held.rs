//! Rights that an answer is told with. Once one is taken back, the answer ends: a cursor, a subscription, a download may go on for
//! long.

use std::collections::BTreeMap;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result as PlanResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::names::{Names, Ruled};
use super::session::{Session, Who};
use super::world::World;
use crate::catalog::{CATALOG, Columns, ObjectId, Privilege};
use crate::error::{Error, Result};

/// What somebody reads, and may.
struct Held {
    session: Session,
    /// Of the world in which that was so.
    version: u64,
    read: BTreeMap<ObjectId, Columns>,
    /// By policies and masks.
    ruled: BTreeMap<ObjectId, Ruled>,
}

impl Session {
    /// The rows of what these names have been resolved for, as long as whoever asks has the rights that he began with.
    pub(super) fn held(
        &self,
        rows: SendableRecordBatchStream,
        names: &Names,
    ) -> SendableRecordBatchStream {
        // Nothing can be taken from whoever has the engine.
        if *self.who() == Who::Owner {
            return rows;
        }
        let read = names.referenced().into_iter().filter_map(|id| {
            let columns = names.world.allowed(&id).columns(Privilege::Select).cloned();
            Some((id, columns?))
        });
        let ruled = names.referenced().into_iter().filter_map(|id| {
            let ruled = names.world.ruled(&id).cloned();
            Some((id, ruled?))
        });
        let mut held = Held {
            session: self.clone(),
            version: self.inner.world().version,
            read: read.collect(),
            ruled: ruled.collect(),
        };
        let schema = rows.schema();
        let rows = rows.map(move |batch| -> PlanResult<RecordBatch> {
            let batch = batch?;
            held.check().map_err(DataFusionError::from)?;
            Ok(batch)
        });
        // After an error nothing is told any more.
        let rows = rows.scan(false, |has_failed, batch| {
            let next = (!*has_failed).then_some(batch);
            *has_failed |= next.as_ref().is_some_and(PlanResult::is_err);
            std::future::ready(next)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

impl Held {
    fn check(&mut self) -> Result<()> {
        let version = self.session.inner.world().version;
        if version == self.version {
            return Ok(());
        }
        // Of the login, first.
        self.session.identity()?;
        let seen = self.session.world();
        let lost = self.read.iter().find(|(id, columns)| {
            let allowed = seen.allowed(id);
            let has = allowed.columns(Privilege::Select);
            !has.is_some_and(|has| has.covers(columns)) && exists(&self.session.inner.world(), id)
        });
        if let Some((id, _)) = lost {
            return Err(Error::denied(
                format!("you do not have SELECT any more on all that is read of {id}"),
                "What was told until then was so; ask again for what you still may read",
            ));
        }
        let mut read = self.read.keys();
        if let Some(id) = read.find(|id| seen.ruled(id) != self.ruled.get(id)) {
            return Err(Error::denied(
                format!("the policies or masks of {id} are others now"),
                "What was told until then was so; ask again for what you may see",
            ));
        }
        self.version = version;
        Ok(())
    }
}

/// What is gone has not been taken from anybody.
fn exists(world: &World, id: &ObjectId) -> bool {
    match id.0.as_slice() {
        [catalog, schema, name] if catalog == CATALOG => {
            world.definitions.view(schema, name).is_some()
        }
        [source, schema, name] => {
            let mut tables = world.definitions.tables(source).iter();
            tables.any(|table| table.schema == *schema && table.name == *name)
        }
        _ => false,
    }
}

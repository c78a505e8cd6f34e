//! One table's rows read by several connections, which see one snapshot.
//!
//! The central type is [`Split`]. The first stream to be polled takes what connections are free, without waiting for more
//! than one, and begins on all of them; each stream then reads its ranges on its own. Streams for which there is no
//! connection, or no range, are empty.

use std::sync::{Arc, Mutex, PoisonError};

use belvedere_connector::{BatchStream, Error, Result, TableRef};
use futures::{StreamExt, stream};
use tokio::sync::{OnceCell, OwnedSemaphorePermit};

use crate::pool::Lease;
use crate::ranges::{self, Ranges};
use crate::scan::{Part, Scan, late};
use crate::snapshot;

/// Rows that are worth a connection of their own.
pub const ROWS_EACH: u64 = 50_000;

pub struct Split {
    scan: Arc<Scan>,
    table: TableRef,
    streams: usize,
    begun: OnceCell<Begun>,
}

/// Of each stream, until it is taken.
type Begun = Mutex<Vec<Option<(Lease, Part)>>>;

impl Split {
    /// So many streams over the rows of one table.
    pub fn streams(scan: Scan, table: TableRef, streams: usize) -> Vec<BatchStream> {
        let split = Arc::new(Self {
            scan: Arc::new(scan),
            table,
            streams,
            begun: OnceCell::new(),
        });
        let stream = |i| split.scan.clone().stream(split.clone().read(i));
        (0..streams).map(stream).collect()
    }

    async fn read(self: Arc<Self>, stream: usize) -> Result<BatchStream> {
        let begun = self.begun.get_or_try_init(|| self.begin()).await?;
        let mut parts = begun.lock().unwrap_or_else(PoisonError::into_inner);
        let part = parts.get_mut(stream).and_then(Option::take);
        Ok(match part {
            Some(part) => self.scan.read(move |_| Ok(part)),
            None => stream::empty().boxed(),
        })
    }

    async fn begin(self: &Arc<Self>) -> Result<Begun> {
        let mut permits = vec![self.scan.pool.permit(self.scan.deadline).await?];
        permits.extend((1..self.streams).map_while(|_| self.scan.pool.try_permit()));
        let split = self.clone();
        let parts = tokio::task::spawn_blocking(move || split.parts(permits));
        let parts = match self.scan.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), parts)
                .await
                .map_err(|_| late())?,
            None => parts.await,
        };
        let parts = parts.map_err(|e| Error::internal("a read ended early").caused_by(e))??;
        Ok(Mutex::new(parts.into_iter().map(Some).collect()))
    }

    fn parts(&self, permits: Vec<OwnedSemaphorePermit>) -> Result<Vec<(Lease, Part)>> {
        let lease = |permit| self.scan.pool.lease(permit);
        let leases = permits.into_iter().map(lease).collect::<Result<_>>()?;
        let mut leases = snapshot::begin(leases)?;
        let readers = leases.len();
        let ranges = match leases.first_mut() {
            Some(first) if readers > 1 => ranges::of(
                first.connection()?,
                &self.table,
                &self.scan.rendered,
                &self.scan.params()?,
                readers,
            )?,
            _ => None,
        };
        let Some(Ranges { sql, ranges }) = ranges else {
            leases.truncate(1);
            return Ok(leases
                .into_iter()
                .map(|lease| (lease, Part::Whole))
                .collect());
        };
        leases.truncate(ranges.len());
        let readers = leases.len();
        // Each reads from everywhere: rows may be dense here and thin there.
        let of = |reader: usize| Ranges {
            sql: sql.clone(),
            ranges: ranges
                .iter()
                .copied()
                .skip(reader)
                .step_by(readers)
                .collect(),
        };
        let parts = leases.into_iter().enumerate();
        Ok(parts
            .map(|(reader, lease)| (lease, Part::Ranges(of(reader))))
            .collect())
    }
}

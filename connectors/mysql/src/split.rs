//! A large table read by several connections at once, each a range of its primary key, all in one snapshot.
//!
//! The central type is [`Split`]. The first stream to be polled takes what connections are free, as many as there are
//! streams at most, begins a transaction on each until all see the same (`snapshot.rs`), and finds ranges
//! of about equal size (`ranges.rs`). Then each stream takes one of them; those for which there is none end.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::Field;
use belvedere_connector::{BatchStream, Error, Fragment, Result, TableRef};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value};
use tokio::sync::OnceCell;

use crate::error::{client_error, is_dead_connection};
use crate::pool::Lease;
use crate::ranges::{Piece, Range, Search};
use crate::read::{Answered, Batches, Reading, late, stream, until};
use crate::snapshot::{self, Shared};

pub(crate) struct Split {
    /// Of all rows.
    reading: Reading,
    table: TableRef,
    key: Field,
    partitions: usize,
    parts: OnceCell<Mutex<Vec<Part>>>,
}

/// A connection, and what it is to be asked.
struct Part {
    lease: Lease,
    fragment: Arc<Fragment>,
}

/// Why there are no parts.
enum NotOpened {
    Failed(Error),
    /// A connection that was idle is no longer alive.
    WasDead,
    /// Nobody waits for them.
    Abandoned,
}

impl Split {
    pub fn streams(
        reading: Reading,
        table: TableRef,
        key: Field,
        partitions: usize,
    ) -> Vec<BatchStream> {
        let source = reading.settings.source.clone();
        let split = Arc::new(Self {
            reading,
            table,
            key,
            partitions,
            parts: OnceCell::new(),
        });
        let one = |_| {
            let split = split.clone();
            stream(source.clone(), async move |batches| {
                split.run(batches).await
            })
        };
        (0..partitions).map(one).collect()
    }

    /// One of the parts, if there is one left.
    async fn run(&self, batches: Batches) -> Result<()> {
        let parts = self.parts.get_or_try_init(|| self.open(&batches)).await;
        let part = match parts {
            Ok(parts) => parts.lock().unwrap_or_else(PoisonError::into_inner).pop(),
            Err(NotOpened::Failed(error)) => return Err(self.reading.at_table(error)),
            Err(NotOpened::Abandoned) => return Ok(()),
            Err(NotOpened::WasDead) => {
                let error = Error::internal("a new connection was taken for an idle one");
                return Err(error.at_source(&self.reading.settings.source));
            }
        };
        let Some(Part { lease, fragment }) = part else {
            return Ok(());
        };
        let reading = Reading {
            fragment,
            ..self.reading.clone()
        };
        match reading.answer(lease, &batches).await? {
            Answered::Done => Ok(()),
            // None that has a snapshot: this is the one that reads all.
            Answered::WasDead => reading.run(&batches).await,
        }
    }

    async fn open(&self, batches: &Batches) -> Result<Mutex<Vec<Part>>, NotOpened> {
        let parts = match self.try_open(batches, false).await {
            Err(NotOpened::WasDead) => self.try_open(batches, true).await,
            result => result,
        };
        parts.map(Mutex::new)
    }

    async fn try_open(&self, batches: &Batches, fresh: bool) -> Result<Vec<Part>, NotOpened> {
        let mut leases = tokio::select! {
            leases = self.leases(fresh) => leases.map_err(NotOpened::Failed)?,
            () = batches.closed() => return Err(NotOpened::Abandoned),
        };
        let settings = &self.reading.settings;
        let found = tokio::select! {
            biased;
            found = self.ranges(&mut leases) => Some(found),
            () = batches.closed() => None,
            () = until(self.reading.deadline) => None,
        };
        let ranges = match found {
            Some(Ok(ranges)) => ranges,
            Some(Err(error)) => {
                let was_dead =
                    !fresh && is_dead_connection(&error) && leases.iter().any(|l| l.reused);
                discard(leases, false).await;
                return Err(match was_dead {
                    true => NotOpened::WasDead,
                    false => NotOpened::Failed(client_error(error, settings)),
                });
            }
            None => {
                discard(leases, true).await;
                return Err(match batches.is_closed() {
                    true => NotOpened::Abandoned,
                    false => NotOpened::Failed(late().at_source(&settings.source)),
                });
            }
        };
        let rel = &self.reading.fragment.rel;
        let mut parts = Vec::with_capacity(ranges.len());
        let mut ranges = ranges.into_iter();
        for lease in leases {
            match ranges.next() {
                Some(range) => parts.push(Part {
                    lease,
                    fragment: Arc::new(Fragment::new(range.of(rel, &self.key))),
                }),
                None => lease.give_back().await,
            }
        }
        Ok(parts)
    }

    /// A connection, and more if they are free: none waits for another.
    async fn leases(&self, fresh: bool) -> Result<Vec<Lease>> {
        let (pool, deadline) = (&self.reading.pool, self.reading.deadline);
        let mut leases = vec![pool.lease(deadline, fresh).await?];
        while leases.len() < self.partitions {
            match pool.try_lease(deadline).await? {
                Some(lease) => leases.push(lease),
                None => break,
            }
        }
        Ok(leases)
    }

    /// A range for each connection, or for some of them, all of which see the same rows then.
    async fn ranges(&self, leases: &mut [Lease]) -> mysql_async::Result<Vec<Range>> {
        let whole = || Range::between(&[]);
        for lease in leases.iter_mut() {
            lease.limit(self.reading.deadline).await?;
        }
        if leases.len() < 2 {
            return Ok(whole());
        }
        let shared = snapshot::share(leases).await?;
        self.reading.pool.has_shared(shared);
        if shared != Shared::Yes {
            return Ok(whole());
        }
        let parts = leases.len();
        let Some(lease) = leases.first_mut() else {
            return Ok(whole());
        };
        // Having read the table, the transaction keeps others from altering it.
        let Some(all) = self.ends(lease).await? else {
            return Ok(whole());
        };
        if !self.has_snapshots(lease).await? {
            return Ok(whole());
        }
        let asked_for = all.asked_for(&self.reading.fragment.rel, &self.key);
        let mut search = Search::new(asked_for, parts);
        while !search.pieces().is_empty() {
            let rows = self.count(lease, search.pieces()).await?;
            search.counted(&rows);
        }
        Ok(Range::between(&search.cuts()))
    }

    /// The least and the greatest key, which the server knows from the ends of the index.
    async fn ends(&self, lease: &mut Lease) -> mysql_async::Result<Option<Piece>> {
        let (key, table) = self.names();
        let ends = format!("SELECT MIN({key}), MAX({key}) FROM {table}");
        let row: Option<Row> = lease.conn.exec_first(ends, Params::Empty).await?;
        Ok(row.and_then(|row| {
            Some(Piece {
                least: number(&row, 0)?,
                greatest: number(&row, 1)?,
            })
        }))
    }

    /// Whether the table is one of InnoDB's, whose rows a snapshot keeps.
    async fn has_snapshots(&self, lease: &mut Lease) -> mysql_async::Result<bool> {
        let engine: Option<Option<String>> = lease
            .conn
            .exec_first(
                "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
                (&self.table.schema, &self.table.name),
            )
            .await?;
        Ok(engine.flatten().as_deref() == Some("InnoDB"))
    }

    /// About how many rows are in each piece, as the server guesses them from the pages at its ends.
    async fn count(&self, lease: &mut Lease, pieces: &[Piece]) -> mysql_async::Result<Vec<u64>> {
        let (key, table) = self.names();
        let one =
            format!("SELECT {key} FROM {table} FORCE INDEX (PRIMARY) WHERE {key} BETWEEN ? AND ?");
        let selects = vec![one.as_str(); pieces.len()];
        let explain = format!("EXPLAIN {}", selects.join(" UNION ALL "));
        let ends = pieces
            .iter()
            .flat_map(|p| [value(p.least), value(p.greatest)]);
        let statement = lease.conn.prep(explain).await?;
        let rows: Vec<Row> = lease
            .conn
            .exec(&statement, Params::Positional(ends.collect()))
            .await?;
        lease.conn.close(statement).await?;
        let mut counts = vec![0; pieces.len()];
        let column = |row: &Row, name: &str| {
            let index = row
                .columns_ref()
                .iter()
                .position(|c| c.name_str() == name)?;
            number(row, index)
        };
        for row in &rows {
            let place = column(row, "id").and_then(|id| usize::try_from(id - 1).ok());
            let guess = column(row, "rows").and_then(|n| u64::try_from(n).ok());
            if let (Some(place), Some(guess)) = (place, guess)
                && let Some(count) = counts.get_mut(place)
            {
                *count = guess;
            }
        }
        Ok(counts)
    }

    /// Key and table, quoted.
    fn names(&self) -> (String, String) {
        let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
        let table = format!(
            "{}.{}",
            quoted(&self.table.schema),
            quoted(&self.table.name)
        );
        (quoted(self.key.name()), table)
    }
}

async fn discard(leases: Vec<Lease>, running: bool) {
    for lease in leases {
        lease.discard(running).await;
    }
}

fn value(number: i128) -> Value {
    match i64::try_from(number) {
        Ok(number) => Value::Int(number),
        Err(_) => Value::UInt(number as u64),
    }
}

fn number(row: &Row, index: usize) -> Option<i128> {
    match row.as_ref(index)? {
        Value::Int(number) => Some(i128::from(*number)),
        Value::UInt(number) => Some(i128::from(*number)),
        Value::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

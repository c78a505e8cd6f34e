use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use belvedere_connector::{
    Captured, ChangeStream, Code, Error, Kind, Position, Result, Snapshot, TableRef,
};
use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};

use super::listing::{Listing, hash};
use super::stream::Stream;
use super::watched::{Found, Watched};
use crate::source::Shared;

/// Looks at a table that cannot be read, before it is taken for ended.
pub const PATIENCE: u32 = 12;
/// How positions are written. With another, all is read anew.
const FORMAT: u8 = 1;

/// How a source's tables are followed: by one stream.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    timeline: [u8; 8],
    state: Mutex<State>,
    /// The last listing, of the stream's tables. Who wants a later one waits until it is due, and for whoever is listing.
    listed: tokio::sync::Mutex<Option<Arc<Listed>>>,
}

#[derive(Debug, Default)]
pub struct State {
    /// The number that was given last.
    last: u64,
    /// The stream that may read: the one that was asked for last.
    reader: u64,
    tables: Arc<[Arc<Watched>]>,
    /// What the stream told last, and of which listing.
    pub told: Option<(Position, Listing)>,
    /// The greatest number that anybody was told, in a position that the stream has to come to.
    pub promised: u64,
    /// What was copied, and by number when: of that the stream has to tell, too, what changes.
    pub copied: Vec<(u64, Listing)>,
    /// Since when tables cannot be read.
    failing: HashMap<String, Instant>,
}

/// What was found at one moment, of each table.
#[derive(Debug)]
pub struct Listed {
    pub number: u64,
    pub began: Instant,
    tables: Arc<[Arc<Watched>]>,
    pub found: Vec<Result<Found>>,
}

impl Watch {
    pub fn new(shared: Arc<Shared>) -> Self {
        let settings = &shared.settings;
        let read = settings.reading();
        let timeline = hash(format!("{FORMAT} {read}").as_bytes());
        Self {
            timeline: timeline.to_be_bytes(),
            shared,
            state: Mutex::default(),
            listed: tokio::sync::Mutex::default(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interval(&self) -> Duration {
        self.shared.settings.config.limits.poll_interval
    }

    /// Greater than all before it; over restarts as far as the clock is right.
    fn number(&self) -> u64 {
        let mut state = self.state();
        let now = u64::try_from(Utc::now().timestamp_micros()).unwrap_or_default();
        state.last = now.max(state.last + 1);
        state.last
    }

    pub fn position(&self, number: u64, listing: &Listing) -> Position {
        let mut place = number.to_be_bytes().to_vec();
        listing.write(&mut place);
        Position::new(self.timeline, place)
    }

    fn parse(&self, position: &Position) -> Result<(u64, Listing)> {
        let parsed = position.place().split_first_chunk();
        let parsed = parsed.and_then(|(number, listing)| Some((number, Listing::read(listing)?)));
        match parsed {
            Some((number, listing)) if position.timeline() == self.timeline => {
                Ok((u64::from_be_bytes(*number), listing))
            }
            _ => Err(Error::new(
                Code::LogRewound,
                "it was another folder, or was read with other options",
            )),
        }
    }

    /// What the files are at a later moment than this: by a listing that another may have asked for.
    pub async fn listed(&self, after: Instant, tables: &Arc<[Arc<Watched>]>) -> Arc<Listed> {
        let mut last = self.listed.lock().await;
        if let Some(last) = &*last {
            if last.began > after && Arc::ptr_eq(&last.tables, tables) {
                return last.clone();
            }
            tokio::time::sleep_until((last.began + self.interval()).into()).await;
        }
        let (began, number) = (Instant::now(), self.number());
        let mut found = Vec::new();
        for table in tables.iter() {
            found.push(table.list().await);
        }
        let listed = Arc::new(Listed {
            number,
            began,
            tables: tables.clone(),
            found,
        });
        *last = Some(listed.clone());
        listed
    }

    /// Where a stream is that has come to what there is now: where it is, if nothing has changed.
    pub async fn now(&self) -> Result<Position> {
        let asked = Instant::now();
        let tables = self.state().tables.clone();
        let number = match tables.is_empty() {
            true => self.number(),
            false => {
                let listed = self.listed(asked, &tables).await;
                match &self.state().told {
                    Some((position, told)) if listed.is(told)? => return Ok(position.clone()),
                    _ => listed.number,
                }
            }
        };
        let mut state = self.state();
        state.promised = number.max(state.promised);
        Ok(self.position(number, &Listing::default()))
    }

    /// An error of one table: for a while it is taken for one that ends by itself.
    pub fn borne(&self, table: &str, error: Error) -> Error {
        if error.kind() != Kind::Definite {
            return error;
        }
        let mut state = self.state();
        let since = state.failing.entry(table.to_string());
        if since.or_insert_with(Instant::now).elapsed() >= PATIENCE * self.interval() {
            return error;
        }
        let message = format!("table {table} cannot be read as it is: {}", error.message);
        Error::new(Code::SourceRefused, message)
            .at_source(self.shared.settings.name())
            .caused_by(error)
    }

    /// A table can be read.
    pub fn readable(&self, table: &str) {
        self.state().failing.remove(table);
    }

    async fn watched(&self, captured: &Captured) -> Result<Arc<Watched>> {
        let watched = Watched::new(&self.shared, captured).await;
        watched
            .map(Arc::new)
            .map_err(|e| self.borne(&captured.table.name, e))
    }

    pub async fn snapshot(self: &Arc<Self>, tables: &[Captured]) -> Result<Snapshot> {
        let number = self.number();
        let mut listing = Listing::default();
        let mut streams = Vec::new();
        for captured in tables {
            let watched = self.watched(captured).await?;
            let found = watched.list().await;
            let found = found.map_err(|e| self.borne(watched.name(), e))?;
            let versions = found.versions.clone();
            listing.0.insert(watched.name().to_string(), versions);
            streams.push((captured.table.clone(), self.clone().copy(watched, found)));
        }
        let mut state = self.state();
        state.promised = number.max(state.promised);
        state.copied.push((number, listing.clone()));
        Ok(Snapshot {
            position: self.position(number, &listing),
            streams,
        })
    }

    /// The rows of all files of a table, one file after the other.
    fn copy(
        self: Arc<Self>,
        watched: Arc<Watched>,
        found: Found,
    ) -> belvedere_connector::BatchStream {
        let marks: Vec<i64> = found.files.keys().copied().collect();
        let found = Arc::new(found);
        let files = stream::iter(marks).then(move |mark| {
            let (this, watched, found) = (self.clone(), watched.clone(), found.clone());
            async move {
                let rows = watched.rows(&found, mark).await;
                let rows = rows.map_err(|e| this.borne(watched.name(), e))?;
                this.readable(watched.name());
                Ok::<_, Error>(stream::iter(rows.into_iter().map(Ok)))
            }
        });
        files.try_flatten().boxed()
    }

    pub async fn changes(
        self: &Arc<Self>,
        from: &Position,
        tables: &[Captured],
    ) -> Result<Box<dyn ChangeStream>> {
        let (number, listing) = self.parse(from)?;
        let mut watched = Vec::new();
        let mut ended: Vec<(TableRef, Error)> = Vec::new();
        for captured in tables {
            match self.watched(captured).await {
                Ok(table) => watched.push(table),
                Err(e) if e.kind() == Kind::Definite => ended.push((captured.table.clone(), e)),
                Err(e) => return Err(e),
            }
        }
        let tables: Arc<[Arc<Watched>]> = watched.into();
        let mut state = self.state();
        state.last = number.max(state.last);
        state.reader += 1;
        state.tables = tables.clone();
        state.told = None;
        // What was copied before is in it.
        state.copied.retain(|(copied, _)| *copied > number);
        Ok(Box::new(Stream::new(
            self.clone(),
            state.reader,
            tables,
            listing,
            ended,
        )))
    }

    /// Nobody follows any more.
    pub fn release(&self) {
        let mut state = self.state();
        state.reader += 1;
        state.tables = Arc::default();
        state.told = None;
        state.copied.clear();
    }

    pub fn check(&self, reader: u64) -> Result<()> {
        match self.state().reader == reader {
            true => Ok(()),
            false => Err(Error::new(Code::Cancelled, "another stream was asked for")),
        }
    }
}

impl Listed {
    /// Whether these tables are as they were.
    ///
    /// # Errors
    /// If one of them cannot be listed.
    fn is(&self, told: &Listing) -> Result<bool> {
        for (table, found) in self.tables.iter().zip(&self.found) {
            let Some(versions) = told.0.get(table.name()) else {
                continue;
            };
            let found = found.as_ref().map_err(Clone::clone)?;
            if found.versions != *versions {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

//! The log as the server sends it.

use std::sync::Arc;
use std::time::Duration;

use belvedere_connector::{Code, Error, Result};
use futures::StreamExt;
use mysql_async::BinlogStream;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::bytes::malformed;
use super::place::{Gtids, rewound};
use crate::error::{client_error, unreachable_error};
use crate::session::{self, Flavor};
use crate::settings::Settings;

/// How often a server that has nothing to say says so.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long it may say nothing at all.
const SILENCE: Duration = Duration::from_secs(60);
/// Events read ahead.
const AHEAD: usize = 64;

/// One event, without its header and checksum.
#[derive(Debug)]
pub struct Event {
    pub kind: u8,
    pub flags: u16,
    /// Which server it happened at.
    pub server: u32,
    /// Where it ends in its file. 0: it is in none.
    pub ends: u32,
    pub data: Vec<u8>,
}

/// How far into the server's files of log.
#[derive(Debug, Clone, Default)]
pub struct FilePlace {
    /// Its name; a checksum may follow, where the server has made up the event that tells it.
    file: String,
    offset: u64,
}

impl FilePlace {
    /// Behind an event.
    pub fn pass(&mut self, event: &Event) {
        const ROTATE: u8 = 4;
        match (event.kind, event.data.split_first_chunk()) {
            (ROTATE, Some((offset, name))) => {
                self.offset = u64::from_le_bytes(*offset);
                self.file = String::from_utf8_lossy(name).into_owned();
            }
            _ if event.ends > 0 => self.offset = event.ends.into(),
            _ => {}
        }
    }

    /// Bytes behind it in the server's files, which come in their order. None: it is in none of them.
    pub fn bytes_behind(&self, files: &[(String, u64)]) -> Option<u64> {
        let file = files
            .iter()
            .position(|(name, _)| self.file.starts_with(name))?;
        let later: u64 = files[file + 1..].iter().map(|(_, size)| size).sum();
        Some(files[file].1.saturating_sub(self.offset) + later)
    }
}

/// Events, in order. Dropped, the connection closes.
///
/// They are read by a task of their own: the client breaks off where an event is shorter than it says.
pub struct Log {
    events: mpsc::Receiver<Result<Event>>,
    task: JoinHandle<()>,
    /// The first, which came with the server's consent.
    first: Option<Event>,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Log {
    /// What follows `from`. `reader` is the number under which the server knows who reads: it ends the connection of another one
    /// with the same.
    ///
    /// # Errors
    /// [`Code::LogTruncated`], [`Code::LogRewound`]; the connection's.
    pub async fn open(settings: &Arc<Settings>, from: &Gtids, reader: u32) -> Result<Self> {
        let (mut conn, flavor) = session::connect(settings, None).await?;
        let wrap = |e| failure(e, flavor, settings);
        conn.query_drop(flavor.prepares(from)).await.map_err(wrap)?;
        let request = flavor.request(reader, from)?;
        let mut stream = conn.get_binlog_stream(request).await.map_err(wrap)?;
        let first = next(&mut stream, flavor, settings).await?;
        let (sender, events) = mpsc::channel(AHEAD);
        let settings = settings.clone();
        let task = tokio::spawn(async move {
            loop {
                let event = next(&mut stream, flavor, &settings).await;
                let is_over = event.is_err();
                if sender.send(event).await.is_err() || is_over {
                    return;
                }
            }
        });
        Ok(Self {
            events,
            task,
            first: Some(first),
        })
    }

    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Event> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        self.events.recv().await.unwrap_or_else(|| Err(malformed()))
    }

    /// None: nothing has come.
    pub fn try_next(&mut self) -> Result<Option<Event>> {
        match self.events.try_recv() {
            Ok(event) => event.map(Some),
            Err(mpsc::error::TryRecvError::Empty) => Ok(None),
            Err(mpsc::error::TryRecvError::Disconnected) => Err(malformed()),
        }
    }
}

async fn next(stream: &mut BinlogStream, flavor: Flavor, settings: &Settings) -> Result<Event> {
    let broken = |why: &str| unreachable_error(settings, why);
    let event = tokio::time::timeout(SILENCE, stream.next()).await;
    let event = event.map_err(|_| broken("the server has fallen silent"))?;
    let event = event.ok_or_else(|| broken("the server closed the connection"))?;
    let event = event.map_err(|e| failure(e, flavor, settings))?;
    let header = event.header();
    Ok(Event {
        kind: header.event_type_raw(),
        flags: header.flags_raw(),
        server: header.server_id(),
        ends: header.log_pos(),
        data: event.data().to_vec(),
    })
}

/// Re-word what the server says of the place that is asked for.
fn failure(error: mysql_async::Error, flavor: Flavor, settings: &Settings) -> Error {
    let code = match &error {
        mysql_async::Error::Server(server) => server.code,
        _ => 0,
    };
    let ours = match code {
        // A number that is not in its log, though later ones are, or that is ahead of it.
        1945 | 1955 => rewound(),
        1236 => Error::new(
            Code::LogTruncated,
            "its log does not reach back to where it was read to, or cannot be read",
        ),
        1045 | 1227 => Error::new(
            Code::NoChangeCapture,
            format!("user {} may not read the log", settings.user),
        )
        .help(format!(
            "Run at the source: {}",
            flavor.grant(&settings.user)
        )),
        _ => return client_error(error, settings),
    };
    ours.at_source(&settings.source)
}

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::record::{Event, Level, Record};
use super::recovery::{Recovered, recover};
use super::refusals::Refusals;
use super::writer::{ENOUGH, Writer};
use super::{AuditError, FOLDER, Head, Limits};

/// What may wait to be written, in bytes, before more is begun.
const MOST_BYTES: usize = 16 << 20;

/// Something was not done, since no record of it can be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the audit cannot be written, and what is not audited is not done: {why}")]
pub struct Unaudited {
    why: Arc<str>,
}

/// The audit of an engine. Dropped, it writes what it has.
#[derive(Debug, Default)]
pub struct Audit {
    level: Level,
    has_parameters: bool,
    /// None: there is none, since there is nowhere to keep it.
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    folder: PathBuf,
    shared: Arc<Shared>,
    state: watch::Receiver<State>,
    writer: Mutex<Option<Unstarted>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread is made of, when there is something to write.
#[derive(Debug)]
struct Unstarted {
    writer: Writer,
    found: Option<Record>,
}

/// Between those who note and the thread that writes.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    pub wake: Condvar,
    /// Of what waits.
    bytes: AtomicUsize,
    is_broken: AtomicBool,
    state: watch::Sender<State>,
    pub refusals: Refusals,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub waiting: Vec<(DateTime<Utc>, Record)>,
    /// Of the newest that was noted.
    pub last: u64,
    /// Somebody waits until it is durable.
    pub is_awaited: bool,
    pub is_ending: bool,
    /// What there was no room for.
    lost: u64,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// All up to this one.
    durable: u64,
    broken: Option<Arc<str>>,
}

impl Audit {
    /// In the data directory. Nothing is written before there is something to record.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn open(
        data_dir: &Path,
        level: Level,
        has_parameters: bool,
        limits: Limits,
    ) -> Result<Self, AuditError> {
        if level == Level::None {
            return Self::unwritten(data_dir);
        }
        let folder = data_dir.join(FOLDER);
        let Recovered { head, open, found } = recover(&folder)?;
        if let Some(found) = &found {
            let detail = found.detail.as_deref().unwrap_or_default();
            match found.event {
                Event::Damaged => tracing::error!("the audit is not whole: {detail}"),
                _ => tracing::warn!("the audit: {detail}"),
            }
        }
        if head.seq > 0 {
            tracing::info!("audit: the newest record is {head}");
        }
        let (sender, state) = watch::channel(State {
            durable: head.seq,
            broken: None,
        });
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                last: head.seq,
                ..Queue::default()
            }),
            wake: Condvar::new(),
            bytes: AtomicUsize::new(0),
            is_broken: AtomicBool::new(false),
            state: sender,
            refusals: Refusals::default(),
        });
        let writer = Writer::new(folder.clone(), head, open, limits, shared.clone());
        Ok(Self {
            level,
            has_parameters,
            kept: Some(Kept {
                folder,
                shared,
                state,
                writer: Mutex::new(Some(Unstarted { writer, found })),
                thread: Mutex::default(),
            }),
        })
    }

    /// Nothing is recorded; what was is read.
    fn unwritten(data_dir: &Path) -> Result<Self, AuditError> {
        let (sender, state) = watch::channel(State::default());
        let folder = data_dir.join(FOLDER);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            bytes: AtomicUsize::new(0),
            is_broken: AtomicBool::new(false),
            state: sender,
            refusals: Refusals::default(),
        });
        Ok(Self {
            level: Level::None,
            has_parameters: false,
            kept: Some(Kept {
                folder,
                shared,
                state,
                writer: Mutex::default(),
                thread: Mutex::default(),
            }),
        })
    }

    /// Whether what is of this level is recorded.
    pub fn takes(&self, level: Level) -> bool {
        self.level >= level && self.kept.is_some()
    }

    /// Whether values of parameters are.
    pub fn has_parameters(&self) -> bool {
        self.has_parameters
    }

    /// Where the files are.
    pub fn folder(&self) -> Option<&Path> {
        self.kept.as_ref().map(|kept| kept.folder.as_path())
    }

    /// That something may begin which is recorded at its end: records can be written, and not too much waits.
    ///
    /// # Errors
    /// They cannot.
    pub async fn admits(&self) -> Result<(), Unaudited> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        let shared = &kept.shared;
        let is_full = || shared.bytes.load(Ordering::Relaxed) > MOST_BYTES;
        if !shared.is_broken.load(Ordering::Relaxed) && !is_full() {
            return Ok(());
        }
        let mut state = kept.state.clone();
        let state = state.wait_for(|state| state.broken.is_some() || !is_full());
        match state.await.ok().and_then(|state| state.broken.clone()) {
            Some(why) => Err(Unaudited { why }),
            None => Ok(()),
        }
    }

    /// Record an event; returns its number. It is written soon.
    pub fn note(&self, record: Record) -> u64 {
        let Some(kept) = self.kept.as_ref().filter(|_| self.level > Level::None) else {
            return 0;
        };
        let started = self.started(kept);
        let mut queue = kept.shared.queue();
        let was_empty = queue.waiting.is_empty();
        for record in started {
            kept.shared.push(&mut queue, record);
        }
        // Nothing was done of what is refused: that may be lost, and memory may not. What is about to be done was admitted.
        let waits = kept.shared.bytes.load(Ordering::Relaxed);
        let is_broken = kept.shared.is_broken.load(Ordering::Relaxed);
        if is_broken && waits > 2 * MOST_BYTES && record.event != Event::Begun {
            queue.lost += 1;
            return 0;
        }
        let seq = kept.shared.push(&mut queue, record);
        // Each time that it is woken costs more than the record.
        let wakes = was_empty || queue.waiting.len() == ENOUGH;
        drop(queue);
        if wakes {
            kept.shared.wake.notify_one();
        }
        seq
    }

    /// A refusal, of which there may be any number in no time: of those that are alike, and from one address, a few are recorded, which
    /// say how many they stand for.
    #[cfg(feature = "serve")]
    pub fn note_refusal(&self, record: Record) {
        if let Some(kept) = &self.kept
            && let Some(record) = kept.shared.refusals.admits(record, Instant::now())
        {
            self.note(record);
        }
    }

    /// Until the record is durable, and all before it.
    ///
    /// # Errors
    /// It cannot be written now.
    pub async fn durable(&self, seq: u64) -> Result<(), Unaudited> {
        let Some(kept) = self.kept.as_ref().filter(|_| seq > 0) else {
            return Ok(());
        };
        kept.shared.queue().is_awaited = true;
        kept.shared.wake.notify_one();
        let mut state = kept.state.clone();
        let state = state.wait_for(|state| state.durable >= seq || state.broken.is_some());
        let why = match state.await {
            Ok(state) if state.durable >= seq => return Ok(()),
            Ok(state) => state.broken.clone(),
            Err(_) => None,
        };
        Err(Unaudited {
            why: why.unwrap_or_else(|| "it is closed".into()),
        })
    }

    /// Until all that was noted is durable.
    ///
    /// # Errors
    /// It cannot be written now.
    pub async fn flushed(&self) -> Result<(), Unaudited> {
        let last = self.kept.as_ref().map(|kept| kept.shared.queue().last);
        self.durable(last.unwrap_or_default()).await
    }

    /// Write what there is, and nothing from then on.
    #[cfg(feature = "cli")]
    pub fn close(&self) {
        if let Some(kept) = &self.kept {
            kept.close();
        }
    }

    /// What is said before the first record. With it, the thread begins.
    fn started(&self, kept: &Kept) -> Vec<Record> {
        let mut unstarted = lock(&kept.writer);
        let Some(Unstarted { writer, found }) = unstarted.take() else {
            return Vec::new();
        };
        let thread = std::thread::Builder::new().name("audit".to_string());
        match thread.spawn(move || writer.run()) {
            Ok(thread) => *lock(&kept.thread) = Some(thread),
            Err(e) => kept
                .shared
                .broken(format!("no thread can be made: {e}"), true),
        }
        let version = env!("CARGO_PKG_VERSION");
        let detail = format!("belvedere {version}, level {}", self.level);
        let started = Record::of(Event::Started, detail);
        found.into_iter().chain([started]).collect()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.close();
    }
}

impl Kept {
    fn close(&self) {
        self.shared.queue().is_ending = true;
        self.shared.wake.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    pub fn push(&self, queue: &mut Queue, record: Record) -> u64 {
        self.bytes.fetch_add(record.size(), Ordering::Relaxed);
        queue.waiting.push((Utc::now(), record));
        queue.last += 1;
        queue.last
    }

    /// Records up to this one are durable; so many bytes do not wait any more.
    pub fn is_durable(&self, head: &Head, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let mut queue = self.queue();
        if queue.lost > 0 {
            let lost = std::mem::take(&mut queue.lost);
            let record = Record::of(
                Event::Lost,
                "records could not be written, and were too many",
            );
            let record = Record {
                count: Some(lost),
                ..record
            };
            self.push(&mut queue, record);
        }
        drop(queue);
        self.is_broken.store(false, Ordering::Relaxed);
        self.state.send_modify(|state| {
            state.durable = head.seq;
            if state.broken.take().is_some() {
                tracing::info!("audit: it is written again");
            }
        });
    }

    /// From here on nothing is admitted: that is an error to be told, or the end.
    pub fn broken(&self, why: String, is_told: bool) {
        self.is_broken.store(true, Ordering::Relaxed);
        self.state.send_if_modified(|state| {
            let is_new = state.broken.is_none();
            if is_new {
                if is_told {
                    tracing::error!(
                        "the audit cannot be written, so what is audited is refused: {why}"
                    );
                }
                state.broken = Some(why.into());
            }
            is_new
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

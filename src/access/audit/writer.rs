use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::chain::{Head, Line};
use super::files::{self, Lines, Piece};
use super::queue::Shared;
use super::record::{Event, Record};
use super::{AuditError, Limits};

/// What nobody waits for is written so late at most, with what comes meanwhile.
const LINGERS: Duration = Duration::from_millis(50);
/// Or once there is so much.
pub(super) const ENOUGH: usize = 1000;
/// While records cannot be written, it is tried so often.
const TRIES: Duration = Duration::from_millis(250);
/// How often the head is noted beside the files, and in the log, while it moves.
const NOTES: Duration = Duration::from_secs(10);
const LOGS: Duration = Duration::from_secs(60);

/// Appends records, and is the only one who does.
#[derive(Debug)]
pub(super) struct Writer {
    folder: PathBuf,
    limits: Limits,
    shared: Arc<Shared>,
    /// All up to it is durable.
    head: Head,
    open: Option<Open>,
    noted: (Head, Option<Instant>),
    logged: (Head, Option<Instant>),
    /// There may be more files than there are to be.
    has_grown: bool,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    /// Of what is durable.
    len: u64,
    /// There may be more, which is none: it has failed.
    is_dirty: bool,
}

impl Writer {
    pub fn new(
        folder: PathBuf,
        head: Head,
        open: Option<(File, u64)>,
        limits: Limits,
        shared: Arc<Shared>,
    ) -> Self {
        let newest = files::list(&folder).ok().and_then(|mut all| all.pop());
        let open = open.zip(newest);
        let open = open.map(|((file, len), (_, path))| Open {
            path,
            file,
            len,
            is_dirty: false,
        });
        Self {
            folder,
            limits,
            shared,
            head,
            open,
            noted: (Head::default(), None),
            logged: (head, Some(Instant::now())),
            has_grown: true,
        }
    }

    /// Until it is told to end, and has written all.
    pub fn run(mut self) {
        let mut outdated: Vec<PathBuf> = Vec::new();
        while let Some(batch) = self.next() {
            if !batch.is_empty() && !self.write(&batch) {
                break;
            }
            // That they are removed is durable now.
            for path in outdated.drain(..) {
                if let Err(e) = fs::remove_file(&path) {
                    tracing::warn!("{} cannot be removed: {e}", path.display());
                }
            }
            if std::mem::take(&mut self.has_grown) {
                outdated = self.outdated();
            }
            let floods = self.shared.refusals.due(Instant::now());
            let mut queue = self.shared.queue();
            for record in floods {
                self.shared.push(&mut queue, record);
            }
            drop(queue);
            self.tell(false);
        }
        self.tell(true);
        self.shared.broken("it is closed".to_string(), false);
    }

    /// Files that are too many, of which it is said that they are removed.
    fn outdated(&self) -> Vec<PathBuf> {
        let mut all = files::list(&self.folder).unwrap_or_default();
        let many = all.len().saturating_sub(self.limits.files.max(2));
        let behind = all.get(many).cloned();
        all.truncate(many);
        let Some((number, path)) = behind.filter(|_| many > 0) else {
            return Vec::new();
        };
        let first = Lines::open(&path).and_then(|mut lines| lines.next());
        let first = match first {
            Ok(Some(Piece::Line(line))) => Line::read(&line).ok(),
            _ => None,
        };
        // Of a file that is damaged the number alone is known.
        let through = first.map_or(
            Head {
                seq: number.saturating_sub(1),
                ..Head::default()
            },
            |first| first.before(),
        );
        let paths: Vec<PathBuf> = all.into_iter().map(|(_, path)| path).collect();
        let names: Vec<String> = paths.iter().map(|path| files::name(path)).collect();
        let removed = Record {
            through: Some(through.to_string()),
            ..Record::of(Event::Removed, names.join(", "))
        };
        self.shared.push(&mut self.shared.queue(), removed);
        paths
    }

    /// Note the head where it can be compared with: beside the files, and in the log.
    fn tell(&mut self, is_last: bool) {
        let head = self.head;
        let is_due = |(told, at): (Head, Option<Instant>), each: Duration| {
            told != head && (is_last || at.is_none_or(|at| at.elapsed() >= each))
        };
        if is_due(self.noted, NOTES) {
            match files::note_head(&self.folder, &head) {
                Ok(()) => self.noted = (head, Some(Instant::now())),
                Err(e) => tracing::warn!("the head of the audit cannot be noted: {e}"),
            }
        }
        if is_due(self.logged, LOGS) {
            tracing::info!("audit: the newest record is {head}");
            self.logged = (head, Some(Instant::now()));
        }
    }

    /// What is to be written next; nothing, where it was only waited long enough to tell the head. None: it is over.
    fn next(&self) -> Option<Vec<(DateTime<Utc>, Record)>> {
        let mut queue = self.shared.queue();
        let begun = Instant::now();
        while queue.waiting.is_empty() && !queue.is_ending && begun.elapsed() < NOTES {
            let left = NOTES.saturating_sub(begun.elapsed());
            queue = match self.shared.wake.wait_timeout(queue, left) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        let begun = Instant::now();
        let is_urgent = |queue: &super::queue::Queue| {
            queue.is_awaited || queue.is_ending || queue.waiting.len() >= ENOUGH
        };
        while !queue.waiting.is_empty() && !is_urgent(&queue) && begun.elapsed() < LINGERS {
            let left = LINGERS.saturating_sub(begun.elapsed());
            queue = match self.shared.wake.wait_timeout(queue, left) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        queue.is_awaited = false;
        let batch = std::mem::take(&mut queue.waiting);
        (!batch.is_empty() || !queue.is_ending).then_some(batch)
    }

    /// Until it is durable. False: it is not, and there is no time left.
    fn write(&mut self, batch: &[(DateTime<Utc>, Record)]) -> bool {
        let before = self.head.seq;
        loop {
            // A part of it may be in a file that is full.
            let done = usize::try_from(self.head.seq - before).unwrap_or(batch.len());
            let Err(e) = self.append(&batch[done..]) else {
                let bytes = batch.iter().map(|(_, record)| record.size()).sum();
                self.shared.is_durable(&self.head, bytes);
                return true;
            };
            self.shared.broken(e.to_string(), true);
            let queue = self.shared.queue();
            if queue.is_ending {
                let lost = batch.len() + queue.waiting.len();
                tracing::error!("{lost} records of the audit are lost: {e}");
                return false;
            }
            // Whoever wants to end it wakes it.
            drop(self.shared.wake.wait_timeout(queue, TRIES));
        }
    }

    /// Up to `head` it is durable, whatever comes of the rest.
    fn append(&mut self, batch: &[(DateTime<Utc>, Record)]) -> Result<(), AuditError> {
        let (mut head, mut text) = (self.head, Vec::new());
        for (at, record) in batch {
            let is_full = |open: &Open| {
                let len = open.len + text.len() as u64;
                len > 0 && len >= self.limits.file_bytes
            };
            if self.open.as_ref().is_some_and(is_full) {
                self.put(&text, head)?;
                text.clear();
                self.open = None;
                self.has_grown = true;
            }
            if self.open.is_none() {
                self.open = Some(self.create(head.seq + 1)?);
            }
            head.append(*at, record, &mut text);
        }
        self.put(&text, head)
    }

    fn put(&mut self, text: &[u8], head: Head) -> Result<(), AuditError> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let put = |open: &mut Open| -> io::Result<()> {
            if open.is_dirty {
                open.file.set_len(open.len)?;
                open.file.sync_all()?;
                open.is_dirty = false;
            }
            open.is_dirty = true;
            open.file.write_all(text)?;
            open.file.sync_data()?;
            open.is_dirty = false;
            Ok(())
        };
        put(open).map_err(AuditError::io("written", &open.path))?;
        open.len += text.len() as u64;
        self.head = head;
        Ok(())
    }

    fn create(&self, first: u64) -> Result<Open, AuditError> {
        let path = files::path(&self.folder, first);
        let create = || -> io::Result<File> {
            // Where it was taken away while it is used, that is to be seen, and not healed.
            if self.head == Head::default() {
                files::create_folder(&self.folder)?;
            }
            let file = match files::create(&path) {
                // It was made, and then something failed.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    let file = fs::OpenOptions::new().append(true).open(&path)?;
                    match file.metadata()?.len() {
                        0 => file,
                        _ => return Err(e),
                    }
                }
                file => file?,
            };
            files::sync(&self.folder)?;
            Ok(file)
        };
        let file = create().map_err(AuditError::io("written", &path))?;
        Ok(Open {
            path,
            file,
            len: 0,
            is_dirty: false,
        })
    }
}

use std::time::Instant;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use belvedere_connector::{Error, ExportWriter, Exported, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::FilesExport;
use super::bucket::BucketStage;
use super::encoder::Encoder;
use super::local::LocalStage;
use super::stage::{Stage, given_up};

/// Batches that wait for the thread.
const AHEAD: usize = 2;

enum Message {
    Rows(RecordBatch),
    /// Show the files; the channel is closed if nobody wants that any more.
    Commit(oneshot::Sender<()>),
}

/// Hands rows to the thread that writes them.
///
/// A thread, since files are written and made durable by calls that block, and since a thread is not cut off in the middle
/// of one: whatever happens, it removes in order what it made, and a runtime that is shut down waits for it.
pub struct FilesWriter {
    messages: mpsc::Sender<Message>,
    thread: Thread,
}

/// Make ready in a new thread.
pub async fn begin(export: FilesExport) -> Result<FilesWriter> {
    let (messages, received) = mpsc::channel(AHEAD);
    let (ready, made) = oneshot::channel();
    let thread = tokio::task::spawn_blocking(move || {
        let files = Files::begin(&export)?;
        // Who does not wait for it any longer has closed the channel, too.
        let _ = ready.send(());
        files.run(received)
    });
    let mut thread = Thread(Some(thread));
    match made.await {
        Ok(()) => Ok(FilesWriter { messages, thread }),
        Err(_) => Err(thread.failure().await),
    }
}

/// The thread that writes, until its outcome is known.
struct Thread(Option<JoinHandle<Result<Exported>>>);

impl Thread {
    /// Dropped before it is done, this can be asked again.
    async fn outcome(&mut self) -> Result<Exported> {
        let Some(thread) = &mut self.0 else {
            return Err(given_up());
        };
        let outcome = thread.await;
        self.0 = None;
        outcome.unwrap_or_else(|e| {
            Err(Error::internal("the thread that writes files has ended").caused_by(e))
        })
    }

    /// Why it has ended.
    async fn failure(&mut self) -> Error {
        match self.outcome().await {
            Err(e) => e,
            Ok(_) => Error::internal("files were completed that nobody had asked for"),
        }
    }
}

#[async_trait]
impl ExportWriter for FilesWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        match self.messages.send(Message::Rows(batch)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.thread.failure().await),
        }
    }

    async fn commit(self: Box<Self>, deadline: Option<Instant>) -> Result<Exported> {
        let Self {
            messages,
            mut thread,
        } = *self;
        let (wanted, waiting) = oneshot::channel();
        let commit = async {
            // If the thread has ended, it says why.
            let _ = messages.send(Message::Commit(wanted)).await;
            thread.outcome().await
        };
        match deadline {
            None => commit.await,
            Some(at) => match tokio::time::timeout_at(at.into(), commit).await {
                Ok(done) => done,
                Err(_) => {
                    // Too late, unless it was showing them already: what is seen is no failure.
                    drop((waiting, messages));
                    thread.outcome().await
                }
            },
        }
    }

    async fn abort(self: Box<Self>) {
        let Self {
            messages,
            mut thread,
        } = *self;
        drop(messages);
        // Either the failure that led here, or that it was given up.
        let _ = thread.outcome().await;
    }
}

/// The files of one export, in their stage.
struct Files<'a> {
    export: &'a FilesExport,
    /// In all names, so that files of two exports never meet.
    id: String,
    /// The file that is written now, with its folder. Before the stage: given up before that is removed.
    open: Option<(String, Encoder)>,
    stage: Box<dyn Stage>,
    done: Exported,
}

impl<'a> Files<'a> {
    fn begin(export: &'a FilesExport) -> Result<Self> {
        let mut id = uuid::Uuid::new_v4().simple().to_string();
        id.truncate(16);
        let FilesExport {
            target, overwrite, ..
        } = export;
        let stage: Box<dyn Stage> = match &target.local {
            Some(path) => Box::new(LocalStage::open(path, target.kind.is_some(), *overwrite)?),
            None => Box::new(BucketStage::open(target, &id, *overwrite)?),
        };
        Ok(Self {
            export,
            id,
            open: None,
            stage,
            done: Exported::default(),
        })
    }

    fn run(mut self, mut messages: mpsc::Receiver<Message>) -> Result<Exported> {
        while let Some(message) = messages.blocking_recv() {
            match message {
                Message::Rows(batch) => self.write(&batch)?,
                Message::Commit(wanted) => {
                    return self.commit(&|| !wanted.is_closed());
                }
            }
        }
        Err(given_up())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for (folder, rows) in self.export.folders.runs(batch)? {
            let same = self.open.as_ref().is_some_and(|(open, encoder)| {
                *open == folder && (self.is_single() || encoder.bytes() < self.export.file_size)
            });
            if !same {
                self.finish()?;
                self.begin_file(folder)?;
            }
            if let Some((_, encoder)) = &mut self.open {
                encoder.write(&rows)?;
                self.done.rows += rows.num_rows() as u64;
            }
        }
        Ok(())
    }

    fn is_single(&self) -> bool {
        self.export.target.kind.is_some()
    }

    fn begin_file(&mut self, folder: String) -> Result<()> {
        let target = &self.export.target;
        let name = match &target.local {
            Some(path) if target.kind.is_some() => path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            _ => format!(
                "{folder}part-{:05}-{}.{}",
                self.done.files + 1,
                self.id,
                self.export.format.ending()
            ),
        };
        let sink = self.stage.create(&name)?;
        let encoder = Encoder::new(&self.export.format, self.export.folders.schema(), sink)?;
        self.open = Some((folder, encoder));
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if let Some((_, encoder)) = self.open.take() {
            self.done.bytes += encoder.finish()?;
            self.done.files += 1;
        }
        Ok(())
    }

    fn commit(mut self, wanted: &dyn Fn() -> bool) -> Result<Exported> {
        // What has no rows has columns, and a file to tell them.
        if self.open.is_none() && self.done.files == 0 && self.export.folders.names().is_empty() {
            self.begin_file(String::new())?;
        }
        self.finish()?;
        self.stage.publish(wanted)?;
        Ok(self.done)
    }
}

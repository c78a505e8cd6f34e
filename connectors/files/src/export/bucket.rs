use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use belvedere_connector::{Code, Error, Result};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, PutPayloadMut};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::stage::{Sink, Stage, given_up};
use super::target::Target;
use crate::failure;
use crate::settings::Settings;
use crate::store;

/// Bytes of a part. All but the last are equal, which some stores require, and at most 10,000 make an object.
const PART: usize = 16 << 20;
const PARTS: usize = 10_000;
/// Parts on their way at once.
const IN_FLIGHT: usize = 4;
/// Requests at once when uploads are completed or removed.
const CONCURRENCY: usize = 16;
/// What is not removed by then is left to the bucket's own rules.
const CLEANING: Duration = Duration::from_secs(15);
/// Name of the object that hides files of a folder while they are being completed, before their id. It comes first in a
/// listing, or nearly so.
const UNFINISHED: &str = ".copy-";

/// Uploads to a bucket that are not completed yet: nobody sees an object before.
pub struct BucketStage {
    at: Arc<Place>,
    /// Of a single object, below the place.
    file: Option<String>,
    overwrite: bool,
    id: String,
    uploaded: Arc<Mutex<Vec<Upload>>>,
}

/// A store, and what requests to it run on: a runtime of this COPY's own, so that what is left is removed even if the
/// engine's is being shut down.
struct Place {
    settings: Settings,
    store: Arc<dyn ObjectStore>,
    runtime: Runtime,
}

struct Upload {
    path: Path,
    upload: Box<dyn MultipartUpload>,
}

impl BucketStage {
    pub fn open(target: &Target, id: &str, overwrite: bool) -> Result<Self> {
        let settings = target.settings.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("belvedere-upload")
            .enable_all()
            .build()
            .map_err(|e| Error::internal("no thread can be started for uploads").caused_by(e))?;
        let stage = Self {
            at: Arc::new(Place {
                store: store::open(&settings)?,
                settings,
                runtime,
            }),
            file: target.kind.and_then(|_| target.settings.only.clone()),
            overwrite,
            id: id.to_string(),
            uploaded: Arc::default(),
        };
        stage.check()?;
        Ok(stage)
    }

    /// Whether what is there already allows it.
    fn check(&self) -> Result<()> {
        let Place {
            settings,
            store,
            runtime,
        } = &*self.at;
        let url = settings.url();
        let exists = |message: String, help: &str| {
            let error = Error::new(Code::TargetExists, message).help(help);
            Err(error.at_source(settings.name()))
        };
        let Some(file) = &self.file else {
            let first = runtime.block_on(store.list(None).next());
            return match first {
                None => Ok(()),
                Some(Err(e)) => Err(failure::written(settings, &e)),
                Some(Ok(_)) if self.overwrite => exists(
                    format!("{url} is not empty, and cannot be replaced at once"),
                    "OVERWRITE replaces a local folder or one object: choose a new folder of the bucket",
                ),
                Some(Ok(_)) => exists(
                    format!("{url} is not empty"),
                    "Choose a folder that holds nothing yet",
                ),
            };
        };
        if self.overwrite {
            return Ok(());
        }
        match runtime.block_on(store.head(&store::path(settings, file)?)) {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failure::written(settings, &e)),
            Ok(_) => exists(
                format!("{url} already exists"),
                "Choose another name, or replace it with (OVERWRITE)",
            ),
        }
    }

    fn take(&self) -> Vec<Upload> {
        std::mem::take(&mut *self.uploaded.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Complete all uploads. With several, an object hides them meanwhile; taking it away shows all of them.
    async fn complete(&self, uploads: Vec<Upload>) -> Result<()> {
        let Place {
            settings, store, ..
        } = &*self.at;
        let failed = |e| failure::written(settings, &e);
        let marker = match uploads.len() {
            0 | 1 => None,
            _ => Some(store::path(settings, &format!("{UNFINISHED}{}", self.id))?),
        };
        if let Some(marker) = &marker {
            // An empty object would be no object at some stores.
            let text = "COPY is completing the files whose names hold the id in this one's name; if none runs, remove both\n";
            if let Err(e) = store.put(marker, text.into()).await {
                removed(store, uploads, Vec::new(), None).await;
                return Err(failed(e));
            }
        }
        let completed: Vec<_> = stream::iter(uploads)
            .map(|mut upload| async move { (upload.upload.complete().await, upload) })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let (mut seen, mut unseen, mut error) = (Vec::new(), Vec::new(), None);
        for (result, upload) in completed {
            match result {
                Ok(_) => seen.push(upload.path),
                Err(e) => {
                    error = Some(e);
                    unseen.push(upload);
                }
            }
        }
        if error.is_none()
            && let Some(marker) = &marker
        {
            error = store.delete(marker).await.err();
        }
        match error {
            None => Ok(()),
            Some(e) => {
                removed(store, unseen, seen, marker).await;
                Err(failed(e))
            }
        }
    }
}

impl Stage for BucketStage {
    fn create(&mut self, path: &str) -> Result<Box<dyn Sink>> {
        let path = self.file.as_deref().unwrap_or(path);
        let path = store::path(&self.at.settings, path)?;
        let upload = self
            .at
            .runtime
            .block_on(self.at.store.put_multipart(&path))
            .map_err(|e| failure::written(&self.at.settings, &e))?;
        Ok(Box::new(ObjectSink {
            at: self.at.clone(),
            upload: Some(Upload { path, upload }),
            buffer: PutPayloadMut::new(),
            parts: 0,
            in_flight: JoinSet::new(),
            uploaded: self.uploaded.clone(),
        }))
    }

    fn publish(&mut self, wanted: &dyn Fn() -> bool) -> Result<()> {
        // Who came first meanwhile keeps what is there, but for the moment until the uploads are completed.
        self.check()?;
        if !wanted() {
            return Err(given_up());
        }
        let uploads = self.take();
        self.at.runtime.block_on(self.complete(uploads))
    }
}

impl Drop for BucketStage {
    fn drop(&mut self) {
        let left = self.take();
        if !left.is_empty() {
            let store = &self.at.store;
            self.at
                .runtime
                .block_on(removed(store, left, Vec::new(), None));
        }
    }
}

/// Remove uploads, objects that were completed, and at last what hides them. What cannot be removed stays hidden.
async fn removed(
    store: &Arc<dyn ObjectStore>,
    uploads: Vec<Upload>,
    objects: Vec<Path>,
    marker: Option<Path>,
) {
    let work = async {
        stream::iter(uploads)
            .map(|mut upload| async move { upload.upload.abort().await })
            .buffer_unordered(CONCURRENCY)
            .collect::<Vec<_>>()
            .await;
        let objects = stream::iter(objects).map(Ok).boxed();
        let deleted = store.delete_stream(objects).try_collect::<Vec<_>>().await;
        if let (Ok(_), Some(marker)) = (deleted, marker) {
            let _ = store.delete(&marker).await;
        }
    };
    let _ = tokio::time::timeout(CLEANING, work).await;
}

struct ObjectSink {
    at: Arc<Place>,
    upload: Option<Upload>,
    buffer: PutPayloadMut,
    parts: usize,
    in_flight: JoinSet<object_store::Result<()>>,
    uploaded: Arc<Mutex<Vec<Upload>>>,
}

impl ObjectSink {
    fn send(&mut self) -> Result<()> {
        if self.parts == PARTS {
            return Err(Error::new(
                Code::LimitExceeded,
                format!(
                    "one object holds at most {} GB",
                    ((PART >> 20) * PARTS) >> 10
                ),
            )
            .help("Write a folder, TO 's3://bucket/folder/': it holds as many as it takes"));
        }
        self.parts += 1;
        while self.in_flight.len() >= IN_FLIGHT {
            self.wait()?;
        }
        let payload: PutPayload = std::mem::take(&mut self.buffer).freeze();
        if let Some(upload) = &mut self.upload {
            let part = upload.upload.put_part(payload);
            self.in_flight.spawn_on(part, self.at.runtime.handle());
        }
        Ok(())
    }

    /// Until a part has arrived, if one is on its way.
    fn wait(&mut self) -> Result<()> {
        match self.at.runtime.block_on(self.in_flight.join_next()) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(e))) => Err(failure::written(&self.at.settings, &e)),
            Some(Err(e)) => Err(Error::internal("an upload ended").caused_by(e)),
        }
    }
}

impl Sink for ObjectSink {
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = PART - self.buffer.content_length();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.content_length() == PART {
                self.send()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.buffer.is_empty() || self.parts == 0 {
            self.send()?;
        }
        while !self.in_flight.is_empty() {
            self.wait()?;
        }
        let mut uploaded = self.uploaded.lock().unwrap_or_else(PoisonError::into_inner);
        uploaded.extend(self.upload.take());
        Ok(())
    }
}

impl Drop for ObjectSink {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            let store = &self.at.store;
            let parts = self.in_flight.shutdown();
            self.at.runtime.block_on(async {
                parts.await;
                removed(store, vec![upload], Vec::new(), None).await;
            });
        }
    }
}

/// The folder and id of files that a COPY has not completed, if this object says so.
pub fn unfinished(object: &Path) -> Option<(&str, &str)> {
    let path = object.as_ref();
    let (folder, name) = match path.rfind('/') {
        Some(at) => path.split_at(at + 1),
        None => ("", path),
    };
    Some((folder, name.strip_prefix(UNFINISHED)?))
}

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use belvedere_connector::{Door, Error, StatementContext};
use bytes::Bytes;
use datafusion::common::runtime::SpawnedTask;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use crate::failure;
use crate::settings::Settings;

/// Bytes of an object that one request asks for at most.
const PIECE: u64 = 4 << 20;
/// Pieces of an object that are on their way while it is read.
const AHEAD: usize = 2;
const NAME: &str = "source";

/// A bucket as one statement reads it: each request passes the source's door.
///
/// A request has ended, and given back its right, when its bytes are here. So none waits for whoever reads: a large object
/// is asked for piece by piece, and each request runs in a task of its own.
#[derive(Debug, Clone)]
pub struct CalmStore {
    bucket: Arc<dyn ObjectStore>,
    settings: Arc<Settings>,
    door: Arc<dyn Door>,
    statement: Arc<StatementContext>,
}

/// The answer of one request for an object.
struct Piece {
    bytes: Bytes,
    meta: ObjectMeta,
    range: Range<u64>,
    attributes: Attributes,
}

impl CalmStore {
    pub fn new(
        bucket: Arc<dyn ObjectStore>,
        settings: Arc<Settings>,
        door: Arc<dyn Door>,
        statement: Arc<StatementContext>,
    ) -> Self {
        Self {
            bucket,
            settings,
            door,
            statement,
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        path: Option<&Path>,
        request: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (this, path) = (self.clone(), path.cloned());
        let asked = SpawnedTask::spawn(async move {
            let _right = this.door.enter(&this.statement).await.map_err(refused)?;
            let answer = request.await;
            let path = path.as_ref().map(Path::as_ref);
            let failed = answer.as_ref().err();
            let failed = failed.map(|e| failure::store(&this.settings, path, e));
            this.door.contacted(failed.as_ref());
            answer
        });
        let stopped = |_| refused(Error::internal("the runtime is shutting down"));
        asked.join_unwind().await.map_err(stopped)?
    }

    async fn piece(&self, path: &Path, options: GetOptions) -> Result<Piece> {
        let (bucket, asked) = (self.bucket.clone(), path.clone());
        let request = async move {
            let is_head = options.head;
            let answer = bucket.get_opts(&asked, options).await?;
            let (meta, range) = (answer.meta.clone(), answer.range.clone());
            let attributes = answer.attributes.clone();
            let bytes = match is_head {
                true => Bytes::new(),
                false => answer.bytes().await?,
            };
            Ok(Piece {
                bytes,
                meta,
                range,
                attributes,
            })
        };
        self.ask(Some(path), request).await
    }

    /// The bytes that follow the first piece, up to `end`.
    fn rest(
        &self,
        path: &Path,
        options: &GetOptions,
        first: &Piece,
        end: u64,
    ) -> BoxStream<'static, Result<Bytes>> {
        let (this, path, options) = (self.clone(), path.clone(), options.clone());
        let version = first.meta.e_tag.clone();
        let starts = (first.range.end..end).step_by(PIECE as usize);
        let pieces = stream::iter(starts).map(move |start| {
            let range = start..end.min(start + PIECE);
            let options = options.clone().with_range(Some(range));
            let (this, path, version) = (this.clone(), path.clone(), version.clone());
            async move {
                let piece = this.piece(&path, options).await?;
                match piece.meta.e_tag == version {
                    true => Ok(piece.bytes),
                    false => Err(object_store::Error::Precondition {
                        path: path.to_string(),
                        source: "it was replaced while it was read".into(),
                    }),
                }
            }
        });
        pieces.buffered(AHEAD).boxed()
    }
}

/// An error of ours, on its way through the readers of files.
fn refused(error: Error) -> object_store::Error {
    object_store::Error::Generic {
        store: NAME,
        source: Box::new(error),
    }
}

impl fmt::Display for CalmStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bucket.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for CalmStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut first = options.clone();
        let asked_for = match &options.range {
            None => Some(0..u64::MAX),
            Some(GetRange::Offset(start)) => Some(*start..u64::MAX),
            Some(GetRange::Bounded(range)) => Some(range.clone()),
            Some(GetRange::Suffix(_)) => None,
        }
        .filter(|_| !options.head);
        if let Some(Range { start, end }) = asked_for.clone() {
            first.range = Some(GetRange::Bounded(
                start..end.min(start.saturating_add(PIECE)),
            ));
        }
        let first = self.piece(location, first).await?;
        let mut range = first.range.clone();
        if let Some(asked_for) = asked_for {
            range.end = asked_for.end.min(first.meta.size);
        }
        let rest = self.rest(location, &options, &first, range.end);
        let bytes = stream::iter([Ok(first.bytes)]).chain(rest).boxed();
        Ok(GetResult {
            payload: GetResultPayload::Stream(bytes),
            meta: first.meta,
            range,
            attributes: first.attributes,
        })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let found = this.bucket.list(prefix.as_ref()).try_collect::<Vec<_>>();
            let found = this.ask(prefix.as_ref(), found).await?;
            Ok::<_, object_store::Error>(stream::iter(found.into_iter().map(Ok)))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (bucket, folder) = (self.bucket.clone(), prefix.cloned());
        let listed = async move { bucket.list_with_delimiter(folder.as_ref()).await };
        self.ask(prefix, listed).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(only_read())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(only_read())
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::iter([Err(only_read())]).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(only_read())
    }
}

fn only_read() -> object_store::Error {
    refused(Error::internal("a source is only read"))
}

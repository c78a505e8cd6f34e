//! A file of rows, mapped.

use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::layout::{FileKind, Parts, UNIT, checksum, u64_at};
use super::{FileError, Folder, blocks};

pub(super) const KIND: FileKind = FileKind {
    magic: *b"BELVROWS",
    format: 1,
};

/// A file of rows that never changes. Cheap to clone; who has one, or a batch of it, has the file's rows even when it is
/// removed.
#[derive(Clone, Debug)]
pub struct Segment(Arc<Mapped>);

/// What a file of rows is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentMeta {
    pub rows: u64,
    pub bytes: u64,
    /// Of the whole file: two files with the same are the same.
    pub checksum: u64,
}

#[derive(Debug)]
struct Mapped {
    place: String,
    bytes: Bytes,
    schema: SchemaRef,
    blocks: Vec<Block>,
    meta: SegmentMeta,
}

#[derive(Debug)]
struct Block {
    at: usize,
    len: usize,
    rows: usize,
    checksum: u64,
    /// Once it was found to be whole: its buffers are the file's.
    batch: OnceLock<RecordBatch>,
}

impl Segment {
    /// Blocks are looked at when they are asked for.
    ///
    /// # Errors
    /// The file system's; [`FileError::NewerFormat`]; [`FileError::Damaged`] if the file is cut off, or what says where
    /// its blocks are is not as it was written.
    pub fn open(folder: &dyn Folder, name: &str) -> Result<Self, FileError> {
        let place = folder.place(name);
        let bytes = folder.read(name).map_err(FileError::io(&place, "read"))?;
        let parts = Parts::of(KIND, &place, &bytes)?;
        let damaged = |what| FileError::damaged(&place, "footer", what);
        let (blocks, schema) = listed(&parts).ok_or_else(|| damaged("its list of blocks"))?;
        let schema = blocks::decoded_schema(Buffer::from(schema));
        let schema = schema.map_err(|_| damaged("its columns"))?;
        let meta = SegmentMeta {
            rows: parts.rows,
            bytes: bytes.len() as u64,
            checksum: parts.checksum,
        };
        Ok(Self(Arc::new(Mapped {
            place,
            bytes,
            schema,
            blocks,
            meta,
        })))
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    pub fn meta(&self) -> SegmentMeta {
        self.0.meta
    }

    pub fn row_count(&self) -> u64 {
        self.0.meta.rows
    }

    /// How many batches there are. Each has rows.
    pub fn batch_count(&self) -> usize {
        self.0.blocks.len()
    }

    /// How many rows a batch has.
    ///
    /// # Panics
    /// If there is no such batch.
    pub fn batch_len(&self, number: usize) -> usize {
        self.0.blocks[number].rows
    }

    /// A batch, as it was written, but that small ones were put together and large ones cut. It shares the file's memory.
    /// The first time it is read from the disk as a whole, and checked.
    ///
    /// # Errors
    /// [`FileError::Damaged`] if it is not as it was written.
    ///
    /// # Panics
    /// If there is no such batch.
    pub fn batch(&self, number: usize) -> Result<RecordBatch, FileError> {
        let block = &self.0.blocks[number];
        if let Some(batch) = block.batch.get() {
            return Ok(batch.clone());
        }
        let bytes = self.0.bytes.slice(block.at..block.at + block.len);
        let damaged = |what| {
            let part = format!("block {} of {}", number + 1, self.batch_count());
            FileError::damaged(&self.0.place, part, what)
        };
        if checksum(&bytes) != block.checksum {
            return Err(damaged("its checksum is another"));
        }
        let batch = blocks::decoded(Buffer::from(bytes));
        let batch = batch.map_err(|_| damaged("it cannot be decoded"))?;
        if batch.schema_ref() != self.schema() || batch.num_rows() != block.rows {
            return Err(damaged("it has other columns or rows"));
        }
        // With the one schema that all batches share.
        let batch = batch.with_schema(self.schema().clone());
        let batch = batch.map_err(|_| damaged("it has other columns"))?;
        Ok(block.batch.get_or_init(|| batch).clone())
    }

    /// All batches, in the order in which they were written.
    pub fn batches(&self) -> impl Iterator<Item = Result<RecordBatch, FileError>> + Send + use<> {
        let segment = self.clone();
        (0..self.batch_count()).map(move |number| segment.batch(number))
    }
}

/// The blocks, which lie one behind the other from the header to the footer, and the schema's bytes.
fn listed(parts: &Parts) -> Option<(Vec<Block>, Bytes)> {
    let footer = &parts.footer;
    let len = (footer.len() >= 8).then(|| u64_at(footer, 0))?;
    let end = usize::try_from(len).ok()?.checked_add(8)?;
    let list = footer.get(8..end).filter(|list| list.len() % 32 == 0)?;
    let (mut blocks, mut next, mut sum) = (Vec::new(), UNIT as u64, 0u64);
    for entry in list.chunks_exact(32) {
        let [at, len, rows, checksum] = [0, 8, 16, 24].map(|i| u64_at(entry, i));
        if at != next || rows == 0 {
            return None;
        }
        next = next.checked_add(len)?;
        sum = sum.checked_add(rows)?;
        blocks.push(Block {
            at: at as usize,
            len: usize::try_from(len).ok()?,
            rows: usize::try_from(rows).ok()?,
            checksum,
            batch: OnceLock::new(),
        });
    }
    let is_all = next == parts.content_end && sum == parts.rows;
    is_all.then(|| (blocks, footer.slice(end..)))
}

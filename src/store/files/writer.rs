//! A file of rows that is being written.

use std::hash::Hasher;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use twox_hash::XxHash3_64;

use super::folder::{Folder, NewFile, UNFINISHED};
use super::layout::UNIT;
use super::segment::{KIND, SegmentMeta};
use super::{FileError, blocks};
use crate::store::bytes_of;

/// Rows of a block at least, but for the last and where they are wide.
const LEAST_ROWS: usize = 8192;
/// Rows of a block at most: a table's chunk is one.
const MOST_ROWS: usize = 65536;
/// Bytes of rows that wait for others, about.
const MOST_WAITING: usize = 4 << 20;

/// Writes a [`Segment`](super::Segment), batch after batch, in bounded memory. Nobody sees the file until it is finished;
/// one that is dropped before leaves nothing.
#[derive(Debug)]
pub struct SegmentWriter {
    folder: Arc<dyn Folder>,
    name: String,
    /// It is written under its own name: nobody asks for it before it is told of.
    is_at_once: bool,
    schema: SchemaRef,
    file: Option<BufWriter<Box<dyn NewFile>>>,
    /// Where the next block begins.
    at: u64,
    rows: u64,
    /// Of each block: where it begins, its length, rows and checksum, as the footer has them.
    blocks: Vec<u8>,
    /// Batches too small for a block of their own.
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    waiting_bytes: usize,
}

impl SegmentWriter {
    /// A file of rows with these columns, which takes the place of one of that name when it is finished.
    ///
    /// # Errors
    /// The file system's, and [`FileError::Rows`] if a file cannot have a column's type.
    pub fn create(
        folder: Arc<dyn Folder>,
        name: impl Into<String>,
        schema: SchemaRef,
    ) -> Result<Self, FileError> {
        Self::new(folder, name.into(), schema, false)
    }

    /// A file under a name that nobody knows yet. Whoever finishes it makes the folder durable, for many at once.
    ///
    /// # Errors
    /// As for [`SegmentWriter::create`].
    pub(crate) fn create_at_once(
        folder: Arc<dyn Folder>,
        name: String,
        schema: SchemaRef,
    ) -> Result<Self, FileError> {
        Self::new(folder, name, schema, true)
    }

    fn new(
        folder: Arc<dyn Folder>,
        name: String,
        schema: SchemaRef,
        is_at_once: bool,
    ) -> Result<Self, FileError> {
        let place = folder.place(&name);
        blocks::encoded_schema(&schema).map_err(|_| refused(&place, TYPE))?;
        let file = match is_at_once {
            true => folder.create(&name),
            false => folder.create(&unfinished(&name)),
        };
        let file = file.map_err(FileError::io(&place, "written"))?;
        let mut writer = Self {
            folder,
            name,
            is_at_once,
            schema,
            file: Some(BufWriter::with_capacity(1 << 18, file)),
            at: UNIT as u64,
            rows: 0,
            blocks: Vec::new(),
            waiting: Vec::new(),
            waiting_rows: 0,
            waiting_bytes: 0,
        };
        writer.put(&KIND.header())?;
        Ok(writer)
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows it has so far.
    pub fn row_count(&self) -> u64 {
        self.rows + self.waiting_rows as u64
    }

    /// More rows. Of a batch only its columns' types count, which must be the file's.
    ///
    /// # Errors
    /// The file system's, and [`FileError::Rows`]. After one the file cannot be finished.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), FileError> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.columns().to_vec();
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        let batch = batch.map_err(|_| refused(&self.place(), COLUMNS))?;
        if batch.num_rows() < LEAST_ROWS {
            self.waiting_rows += batch.num_rows();
            self.waiting_bytes += bytes_of(&batch);
            if batch.num_rows() > 0 {
                self.waiting.push(batch);
            }
            return match self.waiting_rows >= LEAST_ROWS || self.waiting_bytes >= MOST_WAITING {
                true => self.write_waiting(),
                false => Ok(()),
            };
        }
        self.write_waiting()?;
        for from in (0..batch.num_rows()).step_by(MOST_ROWS) {
            let rows = MOST_ROWS.min(batch.num_rows() - from);
            self.write_block(&batch.slice(from, rows))?;
        }
        Ok(())
    }

    /// Nothing comes any more: the file gets its name. Durable on return.
    ///
    /// # Errors
    /// The file system's: there is no file then, or the one that was there before.
    pub fn finish(mut self) -> Result<SegmentMeta, FileError> {
        self.write_waiting()?;
        let schema = blocks::encoded_schema(&self.schema);
        let schema = schema.map_err(|_| refused(&self.place(), TYPE))?;
        let mut footer = (self.blocks.len() as u64).to_le_bytes().to_vec();
        footer.append(&mut self.blocks);
        footer.extend_from_slice(&schema);
        let trailer = KIND.trailer(self.at, &footer, self.rows);
        let mut checksum = [0; 8];
        checksum.copy_from_slice(&trailer[UNIT - 8..]);
        footer.resize(footer.len().next_multiple_of(UNIT), 0);
        self.put(&footer)?;
        self.put(&trailer)?;
        let bytes = self.at + footer.len() as u64 + UNIT as u64;
        self.commit()
            .map_err(FileError::io(&self.place(), "written"))?;
        Ok(SegmentMeta {
            rows: self.rows,
            bytes,
            checksum: u64::from_le_bytes(checksum),
        })
    }

    fn commit(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.flush()?;
            file.get_mut().sync()?;
        }
        if !self.is_at_once {
            self.folder.rename(&unfinished(&self.name), &self.name)?;
        }
        self.file = None;
        Ok(())
    }

    fn write_waiting(&mut self) -> Result<(), FileError> {
        let waiting = std::mem::take(&mut self.waiting);
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
        if waiting.is_empty() {
            return Ok(());
        }
        match concat_batches(&self.schema, &waiting) {
            Ok(batch) => self.write_block(&batch),
            // Their text, or their dictionaries, are too much for one batch.
            Err(_) => waiting.iter().try_for_each(|batch| self.write_block(batch)),
        }
    }

    fn write_block(&mut self, batch: &RecordBatch) -> Result<(), FileError> {
        let pieces = blocks::encoded(batch).map_err(|_| refused(&self.place(), TYPE))?;
        let (mut len, mut sum) = (0, XxHash3_64::new());
        for piece in &pieces {
            self.put(piece)?;
            sum.write(piece);
            len += piece.len();
        }
        let padding = vec![0; len.next_multiple_of(UNIT) - len];
        self.put(&padding)?;
        sum.write(&padding);
        len += padding.len();
        for word in [self.at, len as u64, batch.num_rows() as u64, sum.finish()] {
            self.blocks.extend_from_slice(&word.to_le_bytes());
        }
        self.at += len as u64;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => Ok(()),
        }
        .map_err(FileError::io(&self.place(), "written"))
    }

    fn place(&self) -> String {
        self.folder.place(&self.name)
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // Not what is buffered: it is not wanted. What cannot be removed goes at the next start.
            drop(file.into_parts());
            let _ = match self.is_at_once {
                true => self.folder.remove(&self.name),
                false => self.folder.remove(&unfinished(&self.name)),
            };
        }
    }
}

const TYPE: &str = "a column has a type that files cannot have";
const COLUMNS: &str = "they have other columns, or NULL where there is to be none";

fn refused(file: &str, what: &str) -> FileError {
    FileError::Rows {
        file: file.to_string(),
        what: what.to_string(),
    }
}

fn unfinished(name: &str) -> String {
    format!("{name}{UNFINISHED}")
}

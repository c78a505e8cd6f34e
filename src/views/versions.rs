//! What runs found, in files: a folder for each view, a file for each version.
//!
//! ```text
//!   <folder>/<generation>/<number>-<microseconds since the epoch>.rows
//! ```
//!
//! The folder is the record: a file has its name once it is whole, and a version is there if its file is. An engine without
//! a data directory keeps versions in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use super::shelf::{Rows, Version};
use crate::error::{Error, Result};
use crate::store::{DiskFolder, FileError, Folder, Segment, SegmentWriter, batch, sweep};

const EXTENSION: &str = "rows";

/// The versions of views, in a folder: of those that are computed anew `views`, of those that have stopped `stopped`.
#[derive(Debug)]
pub struct Versions {
    folder: Option<PathBuf>,
    /// By view, oldest first.
    kept: Mutex<BTreeMap<u64, Vec<Arc<Version>>>>,
}

impl Versions {
    /// In a folder, or in memory.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            kept: Mutex::default(),
        }
    }

    /// Whether they outlive the process.
    pub fn are_durable(&self) -> bool {
        self.folder.is_some()
    }

    /// Whether there is a file of a view's.
    pub fn has_files(&self, generation: u64) -> bool {
        self.files(generation).next().is_some()
    }

    /// The versions of a view that earlier processes left. Those that cannot be read are left out, with the reason.
    pub fn open(&self, generation: u64) -> (Vec<Arc<Version>>, Vec<String>) {
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        if self.folder.is_none() {
            return (self.of(generation), damaged);
        }
        let folder = match self.folder(generation) {
            Ok(folder) => folder,
            Err(e) => return (found, vec![e.to_string()]),
        };
        // What a run of an earlier process left unfinished; later ones may be of a run that goes on.
        if !self.lock().contains_key(&generation) {
            damaged.extend(sweep(&folder, |_| true).err().map(|e| e.to_string()));
        }
        for (number, at, name) in self.files(generation) {
            match Segment::open(&folder, &name) {
                Ok(segment) => found.push(Arc::new(Version::new(number, at, Rows::File(segment)))),
                Err(e) => damaged.push(format!("version {number}: {e}")),
            }
        }
        found.sort_by_key(|version| version.number);
        self.lock().insert(generation, found.clone());
        (found, damaged)
    }

    /// All there are of a view, oldest first.
    pub fn of(&self, generation: u64) -> Vec<Arc<Version>> {
        self.lock().get(&generation).cloned().unwrap_or_default()
    }

    /// Make what a run finds a version, whole or not at all. It is durable on return, and not yet among those that are kept.
    ///
    /// # Errors
    /// The run's; the disk's.
    pub async fn write(
        &self,
        generation: u64,
        at: DateTime<Utc>,
        schema: SchemaRef,
        mut rows: SendableRecordBatchStream,
    ) -> Result<Version> {
        // Of files that cannot be read, too: a number is never given again.
        let files = self.files(generation).map(|(number, ..)| number);
        let kept = self.of(generation).into_iter().map(|v| v.number);
        let number = files.chain(kept).max().unwrap_or(0) + 1;
        if self.folder.is_none() {
            let mut kept = Vec::new();
            while let Some(batch) = rows.next().await {
                kept.push(with_schema(&batch?, &schema)?);
            }
            let rows = Rows::Memory(kept);
            return Ok(Version::new(number, at, rows));
        }
        let folder = self.folder(generation).map_err(not_stored)?;
        let name = format!("{number}-{}.{EXTENSION}", at.timestamp_micros());
        let writer = SegmentWriter::create(Arc::new(folder.clone()), &name, schema.clone());
        let mut writer = writer.map_err(not_stored)?;
        while let Some(batch) = rows.next().await {
            let batch = with_schema(&batch?, &schema)?;
            writer.write(&batch).map_err(not_stored)?;
        }
        writer.finish().map_err(not_stored)?;
        let rows = Rows::File(Segment::open(&folder, &name).map_err(not_stored)?);
        Ok(Version::new(number, at, rows))
    }

    fn folder(&self, generation: u64) -> Result<DiskFolder, FileError> {
        let all = self.folder.clone().unwrap_or_default();
        DiskFolder::open(all.join(generation.to_string()))
    }

    /// Keep a version, and of those before it as many as are wanted.
    pub fn keep(&self, generation: u64, version: Arc<Version>, most: u32) {
        let mut kept = self.lock();
        let versions = kept.entry(generation).or_default();
        versions.push(version);
        let surplus = versions.len().saturating_sub(most as usize);
        for old in versions.drain(..surplus) {
            self.remove(generation, &old);
        }
    }

    /// One that is not to be kept: its check has failed.
    pub fn remove(&self, generation: u64, version: &Version) {
        let files = self
            .files(generation)
            .filter(|(n, ..)| *n == version.number);
        for (.., name) in files {
            // Whoever reads it has it mapped. What cannot be removed now is found again at the next start.
            if let Ok(folder) = self.folder(generation) {
                let _ = folder.remove(&name);
            }
        }
    }

    /// None of a view's is kept any more.
    pub fn forget(&self, generation: u64) {
        let gone = self.lock().remove(&generation);
        for version in gone.into_iter().flatten() {
            self.remove(generation, &version);
        }
    }

    /// Without what belongs to no view that is defined.
    pub fn retain(&self, is_defined: impl Fn(u64) -> bool) {
        self.lock().retain(|generation, _| is_defined(*generation));
        let folders = self
            .folder
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok());
        for entry in folders.flatten().flatten() {
            let name = entry.file_name();
            let generation = name.to_str().and_then(|name| name.parse().ok());
            if generation.is_some_and(|generation| !is_defined(generation)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn files(&self, generation: u64) -> impl Iterator<Item = (u64, DateTime<Utc>, String)> {
        let folder = self.folder.as_ref().map(|f| f.join(generation.to_string()));
        let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
        entries.into_iter().flatten().flatten().filter_map(|entry| {
            let path = entry.path();
            let is_whole = path.extension().is_some_and(|e| e == EXTENSION);
            let (number, at) = path.file_stem()?.to_str()?.split_once('-')?;
            let at = DateTime::from_timestamp_micros(at.parse().ok()?)?;
            let name = entry.file_name().into_string().ok()?;
            is_whole.then_some((number.parse().ok()?, at, name))
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Vec<Arc<Version>>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names and nullability as the view was defined with.
pub(super) fn with_schema(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    batch(schema, rows.columns().to_vec(), rows.num_rows()).map_err(|_| {
        Error::invalid_with_help(
            "its query has other types than the view was defined with",
            "CREATE OR REPLACE MATERIALIZED VIEW defines it anew",
        )
    })
}

pub(super) fn not_stored(e: FileError) -> Error {
    Error::Store {
        message: e.to_string(),
        help: None,
    }
}

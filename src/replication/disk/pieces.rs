//! Which rows are in which file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Weak};

use arrow::array::{Array, AsArray, LargeBinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::manifest::{self, Manifest, Piece};
use crate::store::{Chunked, Content, FileError, Folder, Mapped, Segment, SegmentWriter, address};

/// What files of rows are called, behind their number.
const SUFFIX: &str = ".rows";
/// Rows of a piece that is worth a file of its own. Smaller ones are in one together, which is written again when one of
/// them has changed.
const LARGE: usize = 4096;

/// Files of rows, and which pieces of tables are in them.
#[derive(Debug)]
pub(super) struct Pieces {
    folder: Arc<dyn Folder>,
    /// The number of the next file: greater than that of all that ever were.
    next: u64,
    /// Files that are there, or may be.
    present: BTreeSet<u64>,
    /// By the address of the first piece that is in a file.
    known: HashMap<usize, Known>,
    /// By replica: which of its rows were live, by chunk, and the file that says so.
    live: BTreeMap<String, Live>,
    /// Files that the folder does not durably have.
    unsynced: BTreeSet<u64>,
    /// Addresses of pieces that a file was written of since memory was asked to give them up.
    unmapped: Vec<usize>,
}

/// A file with pieces of a chunk, one behind the other.
#[derive(Debug)]
struct Known {
    /// Weak: an address is nobody else's as long as they are there.
    pieces: Vec<Weak<RecordBatch>>,
    file: Piece,
}

#[derive(Debug)]
struct Live {
    bits: Vec<Option<Vec<u8>>>,
    file: Piece,
}

/// The number in a file's name.
pub(super) fn number_of(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    u64::from_str_radix(digits, 16).ok()
}

pub(super) fn name_of(number: u64, suffix: &str) -> String {
    format!("{number:016x}{suffix}")
}

/// Whether what a file had is gone, and not only out of reach.
pub(super) fn is_lost(e: &FileError) -> bool {
    match e {
        FileError::Damaged { .. } => true,
        FileError::Io { cause, .. } => cause.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

impl Pieces {
    pub(super) fn new(folder: Arc<dyn Folder>, names: &[String]) -> Self {
        let numbers = names.iter().filter_map(|name| number_of(name, SUFFIX));
        let present: BTreeSet<u64> = numbers.collect();
        Self {
            folder,
            next: present.last().map_or(0, |last| last + 1),
            present,
            known: HashMap::new(),
            live: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            unmapped: Vec::new(),
        }
    }

    /// Files with a replica's rows, those that there were included. They are durable after [`Pieces::sync`].
    pub(super) fn write(
        &mut self,
        replica: &str,
        schema: &SchemaRef,
        content: &Content,
    ) -> Result<manifest::Content, FileError> {
        let mut chunks = Vec::with_capacity(content.parts().len());
        for chunk in content.parts() {
            chunks.push(self.write_chunk(schema, chunk.pieces())?);
        }
        let bits = content
            .parts()
            .iter()
            .map(|part| part.live().map(<[u8]>::to_vec));
        let live = self.write_live(replica, bits.collect())?;
        Ok(manifest::Content { chunks, live })
    }

    fn write_chunk(
        &mut self,
        schema: &SchemaRef,
        pieces: &[Arc<RecordBatch>],
    ) -> Result<Vec<Piece>, FileError> {
        let mut files = Vec::new();
        let mut rest = pieces;
        while let Some(first) = rest.first() {
            if let Some((len, file)) = self.found(rest) {
                files.push(file);
                rest = &rest[len..];
                continue;
            }
            let is_small = |piece: &&Arc<RecordBatch>| piece.num_rows() < LARGE;
            let small = rest.iter().take_while(is_small).count();
            let (mine, others) = rest.split_at(small.max(1));
            let file = self.write_file(schema, mine.iter().map(|piece| &**piece))?;
            let pieces = mine.iter().map(Arc::downgrade).collect();
            self.known.insert(address(first), Known { pieces, file });
            self.unmapped.push(address(first));
            files.push(file);
            rest = others;
        }
        Ok(files)
    }

    /// The file that has the pieces from the first on, and how many of them. One of few rows must have all of them, lest each
    /// checkpoint add another.
    fn found(&self, pieces: &[Arc<RecordBatch>]) -> Option<(usize, Piece)> {
        let known = self.known.get(&address(pieces.first()?))?;
        let len = known.pieces.len();
        let mut pairs = known.pieces.iter().zip(pieces.get(..len)?);
        let is_same = pairs.all(|(known, piece)| known.as_ptr() == Arc::as_ptr(piece));
        let is_enough = known.file.meta.rows >= LARGE as u64 || len == pieces.len();
        (is_same && is_enough).then_some((len, known.file))
    }

    fn write_live(
        &mut self,
        replica: &str,
        bits: Vec<Option<Vec<u8>>>,
    ) -> Result<Option<Piece>, FileError> {
        if bits.iter().all(Option::is_none) {
            self.live.remove(replica);
            return Ok(None);
        }
        if let Some(known) = self.live.get(replica)
            && known.bits == bits
        {
            return Ok(Some(known.file));
        }
        let schema = live_schema();
        let column: LargeBinaryArray = bits.iter().map(Option::as_deref).collect();
        let file = match RecordBatch::try_new(schema.clone(), vec![Arc::new(column)]) {
            Ok(rows) => self.write_file(&schema, [&rows].into_iter())?,
            Err(e) => {
                return Err(FileError::Rows {
                    file: replica.to_string(),
                    what: crate::store::Error::from(e).to_string(),
                });
            }
        };
        self.live.insert(replica.to_string(), Live { bits, file });
        Ok(Some(file))
    }

    fn write_file<'a>(
        &mut self,
        schema: &SchemaRef,
        batches: impl Iterator<Item = &'a RecordBatch>,
    ) -> Result<Piece, FileError> {
        let number = self.next;
        self.next += 1;
        self.present.insert(number);
        let (folder, name) = (self.folder.clone(), name_of(number, SUFFIX));
        let mut writer = SegmentWriter::create_at_once(folder, name, schema.clone())?;
        for batch in batches {
            writer.write(batch)?;
        }
        let meta = writer.finish()?;
        self.unsynced.insert(number);
        Ok(Piece { number, meta })
    }

    /// What was written is durable on return.
    ///
    /// # Errors
    /// The disk's: what was written since the last time is not known any more, and will be written anew.
    pub(super) fn sync(&mut self) -> Result<(), FileError> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        let synced = self.folder.sync();
        let unsynced = std::mem::take(&mut self.unsynced);
        synced.map_err(|e| {
            self.known
                .retain(|_, known| !unsynced.contains(&known.file.number));
            self.live
                .retain(|_, live| !unsynced.contains(&live.file.number));
            FileError::io(&self.folder.place(""), "made durable")(e)
        })
    }

    /// A manifest is committed: files that it does not name go.
    pub(super) fn keep(&mut self, manifest: &Manifest) {
        let named = manifest.files();
        self.known
            .retain(|_, known| named.contains(&known.file.number));
        self.live
            .retain(|_, live| named.contains(&live.file.number));
        let folder = &self.folder;
        self.present.retain(|number| {
            named.contains(number) || {
                let removed = folder.remove(&name_of(*number, SUFFIX));
                removed.is_err_and(|e| e.kind() != io::ErrorKind::NotFound)
            }
        });
        self.next = named
            .last()
            .map_or(self.next, |last| self.next.max(last + 1));
    }

    /// Large pieces that were written, from their files: those that cannot be read stay in memory.
    pub(super) fn mapped(&mut self) -> Mapped {
        let mut mapped = Mapped::new();
        for old in std::mem::take(&mut self.unmapped) {
            let Some(known) = self.known.get(&old) else {
                continue;
            };
            let ([_], file) = (&known.pieces[..], known.file) else {
                continue;
            };
            if file.meta.rows < LARGE as u64 {
                continue;
            }
            let batches = self.open(&file).map(|segment| segment.batches());
            let batches = batches.and_then(|batches| batches.collect::<Result<Vec<_>, _>>());
            let rows = batches.ok().and_then(|mut batches| batches.pop());
            let is_all = |rows: &RecordBatch| rows.num_rows() as u64 == file.meta.rows;
            let Some(rows) = rows.filter(is_all) else {
                continue;
            };
            let rows = Arc::new(rows);
            // By its new address from now on. The old one is known until its last reader is gone.
            let pieces = vec![Arc::downgrade(&rows)];
            self.known.insert(address(&rows), Known { pieces, file });
            mapped.insert(old, rows);
        }
        mapped
    }

    /// What was written of a replica, mapped; each byte of it is looked at.
    pub(super) fn read(
        &mut self,
        replica: &str,
        content: &manifest::Content,
    ) -> Result<Content, FileError> {
        let mut bits = match &content.live {
            Some(file) => self.read_live(file, content.chunks.len())?,
            None => vec![None; content.chunks.len()],
        };
        if let Some(file) = content.live {
            let bits = bits.clone();
            self.live.insert(replica.to_string(), Live { bits, file });
        }
        let mut chunks = Vec::with_capacity(content.chunks.len());
        for (files, bits) in content.chunks.iter().zip(&mut bits) {
            let mut pieces = Vec::new();
            for file in files {
                let batches = self.open(file)?.batches();
                let mine = batches.map(|batch| Ok(Arc::new(batch?)));
                let mine = mine.collect::<Result<Vec<_>, FileError>>()?;
                if let Some(first) = mine.first() {
                    let pieces = mine.iter().map(Arc::downgrade).collect();
                    let file = *file;
                    self.known.insert(address(first), Known { pieces, file });
                }
                pieces.extend(mine);
            }
            let chunk = Chunked::new(pieces, bits.take().as_deref());
            chunks.push(chunk.map_err(|_| self.is_other(files.first(), "not as many rows"))?);
        }
        Ok(Content::new(chunks))
    }

    fn read_live(&self, file: &Piece, chunks: usize) -> Result<Vec<Option<Vec<u8>>>, FileError> {
        let segment = self.open(file)?;
        let is_other = |what| self.is_other(Some(file), what);
        if **segment.schema() != *live_schema() {
            return Err(is_other("other columns"));
        }
        let mut bits = Vec::with_capacity(chunks);
        for batch in segment.batches() {
            let batch = batch?;
            let column = batch.column(0).as_binary::<i64>();
            bits.extend((0..column.len()).map(|i| {
                let is_some = column.is_valid(i);
                is_some.then(|| column.value(i).to_vec())
            }));
        }
        match bits.len() == chunks {
            true => Ok(bits),
            false => Err(is_other("not as many rows")),
        }
    }

    fn open(&self, file: &Piece) -> Result<Segment, FileError> {
        let segment = Segment::open(&*self.folder, &name_of(file.number, SUFFIX))?;
        match segment.meta() == file.meta {
            true => Ok(segment),
            false => Err(self.is_other(Some(file), "another checksum")),
        }
    }

    /// The file is whole, and none that was written here under that name.
    fn is_other(&self, file: Option<&Piece>, what: &'static str) -> FileError {
        let name = file.map_or_else(String::new, |file| name_of(file.number, SUFFIX));
        let part = "it is another file than the checkpoint names";
        FileError::damaged(&self.folder.place(&name), part, what)
    }
}

fn live_schema() -> SchemaRef {
    let live = Field::new("live", DataType::LargeBinary, true);
    Arc::new(Schema::new(vec![live]))
}

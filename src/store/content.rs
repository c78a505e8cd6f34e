//! What is kept of a table: its rows, and which of them are live. Indexes are built anew.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::bits::{Bits, BitsMut};
use super::chunk::{Chunk, Piece};
use super::chunks::Chunks;
use super::shape::Shape;
use super::{Error, Pinned, Result, Table};

/// A table's rows, without what finds them. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Content {
    chunks: Vec<Chunked>,
}

/// The same rows elsewhere, by the address of the batch that had them.
pub type Mapped = HashMap<usize, Arc<RecordBatch>>;

/// What a batch is known by, as long as it is there.
pub(crate) fn address(rows: &Arc<RecordBatch>) -> usize {
    Arc::as_ptr(rows).addr()
}

/// Rows that lie together, as a table has them: with their counts where it has no key.
#[derive(Clone, Debug)]
pub struct Chunked {
    pieces: Vec<Arc<RecordBatch>>,
    live: Option<Bits>,
}

impl Chunked {
    /// # Errors
    /// If `live` has not as many bits as there are rows, in whole bytes.
    pub(crate) fn new(pieces: Vec<Arc<RecordBatch>>, live: Option<&[u8]>) -> Result<Self> {
        let rows: usize = pieces.iter().map(|piece| piece.num_rows()).sum();
        match live {
            Some(live) if live.len() != rows.div_ceil(8) => Err(Error::Shape(format!(
                "{rows} rows have {} bytes of bits",
                live.len()
            ))),
            _ => Ok(Self {
                pieces,
                live: live.map(|live| BitsMut::from_bytes(live, rows).freeze()),
            }),
        }
    }

    /// Immutable: who has kept a piece once need not keep it again.
    pub(crate) fn pieces(&self) -> &[Arc<RecordBatch>] {
        &self.pieces
    }

    /// A bit a row, the lowest of a byte first; None: all are live.
    pub(crate) fn live(&self) -> Option<&[u8]> {
        let live = self.live.as_ref()?;
        Some(&live.bytes()[..self.rows().div_ceil(8)])
    }

    /// Live and dead.
    pub(crate) fn rows(&self) -> usize {
        self.pieces.iter().map(|piece| piece.num_rows()).sum()
    }

    fn chunk(&self, capacity: usize) -> Chunk {
        let pieces = self.pieces.iter().scan(0, |start, rows| {
            // What is restored lies in files.
            let piece = Piece::new(*start, rows.clone(), true);
            *start += rows.num_rows();
            Some(piece)
        });
        let live = self
            .live()
            .map(|live| BitsMut::from_bytes(live, self.rows()));
        Chunk::restored(pieces.collect(), live, capacity)
    }
}

impl Content {
    pub(crate) fn new(chunks: Vec<Chunked>) -> Self {
        Self { chunks }
    }

    pub(crate) fn parts(&self) -> &[Chunked] {
        &self.chunks
    }

    /// The chunks of a table of a shape.
    pub(super) fn chunks(&self, shape: &Shape) -> Result<Vec<Chunk>> {
        let capacity = Chunks::new(shape.chunk_bits).capacity();
        let wrong = |what| {
            let name = shape.name();
            Err(Error::Shape(format!(
                "what was kept of table {name} {what}"
            )))
        };
        let mut chunks = Vec::with_capacity(self.chunks.len());
        for part in &self.chunks {
            if part.rows() > capacity {
                return wrong("has larger chunks than tables have now");
            }
            let types = |rows: &RecordBatch| {
                let ours = shape
                    .stored()
                    .fields()
                    .iter()
                    .map(|field| field.data_type());
                ours.eq(rows.schema().fields().iter().map(|field| field.data_type()))
            };
            if !part.pieces.iter().all(|rows| types(rows)) {
                return wrong("has other columns than it has");
            }
            chunks.push(part.chunk(capacity));
        }
        Ok(chunks)
    }
}

impl Pinned {
    /// What is to be kept of it. Copies no row.
    pub fn content(&self) -> Content {
        let chunks = self
            .version
            .chunks
            .iter()
            .filter(|(_, chunk)| chunk.rows() > 0);
        let part = |(_, chunk): (u32, &Chunk)| Chunked {
            pieces: chunk
                .pieces()
                .iter()
                .map(|piece| piece.rows.clone())
                .collect(),
            live: chunk.live().cloned(),
        };
        Content::new(chunks.map(part).collect())
    }
}

impl Table {
    /// A table with the rows that were kept of it, at an epoch. Shares the rows; costs what hashing their keys does.
    ///
    /// # Errors
    /// [`Error::Shape`] if the rows are not those of such a table.
    pub fn restore(shape: Shape, epoch: u64, content: &Content) -> Result<Self> {
        let chunks = content.chunks(&shape)?;
        let mut table = Self::new(shape);
        for chunk in chunks {
            table.adopt(chunk)?;
        }
        table.publish(epoch);
        Ok(table)
    }

    /// Let rows lie where they are the same. Publishes the same epoch again, if it has any of them: what only older epochs have
    /// goes with their last reader.
    pub fn remap(&mut self, mapped: &Mapped) {
        let mut is_changed = false;
        for slot in 0..self.chunks.len() as u32 {
            let Some(chunk) = self.chunks.get(slot) else {
                continue;
            };
            let mut is_mapped = chunk.pieces().iter().map(|p| mapped.get(&address(&p.rows)));
            if is_mapped.any(|rows| rows.is_some())
                && let Some(chunk) = self.chunks.change(slot)
            {
                chunk.remap(mapped);
                is_changed = true;
            }
        }
        if is_changed {
            let epoch = self.snapshot().epoch();
            self.publish(epoch);
        }
    }
}

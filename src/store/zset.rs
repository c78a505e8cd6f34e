//! Rows with weights: a change, or the content of a table.

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

use super::key::{Same, hashes, rows_equal};
use super::{Error, Result};

/// A batch and an Int64 weight per row: how many of the row come (positive) or go (negative). The same row may stand in
/// it several times, with weights that add up: [`ZSet::consolidated`] has each once.
#[derive(Clone, Debug, PartialEq)]
pub struct ZSet {
    rows: RecordBatch,
    weights: ScalarBuffer<i64>,
}

impl ZSet {
    /// # Errors
    /// If there are not as many weights as rows.
    pub fn new(rows: RecordBatch, weights: impl Into<ScalarBuffer<i64>>) -> Result<Self> {
        let weights = weights.into();
        match weights.len() == rows.num_rows() {
            true => Ok(Self { rows, weights }),
            false => Err(Error::Shape(format!(
                "{} rows have {} weights",
                rows.num_rows(),
                weights.len()
            ))),
        }
    }

    /// All rows once.
    pub fn inserts(rows: RecordBatch) -> Self {
        let weights = vec![1; rows.num_rows()].into();
        Self { rows, weights }
    }

    pub fn empty(schema: SchemaRef) -> Self {
        Self::inserts(RecordBatch::new_empty(schema))
    }

    /// Some, one behind the other, with these columns.
    ///
    /// # Errors
    /// If one has other columns, or text grows beyond what a batch can have.
    pub fn concat(schema: &SchemaRef, zsets: &[Self]) -> Result<Self> {
        if let [one] = zsets {
            return Ok(one.clone());
        }
        let weights: Vec<i64> = zsets.iter().flat_map(Self::weights).copied().collect();
        let rows = match schema.fields().is_empty() {
            true => batch(schema, Vec::new(), weights.len())?,
            false => concat_batches(schema, zsets.iter().map(Self::rows))?,
        };
        Self::new(rows, weights)
    }

    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    pub fn weights(&self) -> &[i64] {
        &self.weights
    }

    pub(crate) fn weights_buffer(&self) -> &ScalarBuffer<i64> {
        &self.weights
    }

    pub fn len(&self) -> usize {
        self.weights.len()
    }

    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// In memory.
    pub fn bytes(&self) -> usize {
        bytes_of(&self.rows) + size_of::<i64>() * self.len()
    }

    /// Some of the rows. Copies none.
    pub fn slice(&self, start: usize, len: usize) -> Self {
        let rows = self.rows.slice(start, len);
        let weights = self.weights.slice(start, len);
        Self { rows, weights }
    }

    /// Each row once, by its bits, with the sum of its weights; none whose sum is zero. In the order in which they come
    /// first.
    ///
    /// # Errors
    /// If a column has a type that cannot be hashed, or a sum is beyond 64 bits.
    pub fn consolidated(&self) -> Result<Self> {
        let columns = self.rows.columns();
        if columns.is_empty() {
            let sum = self
                .weights
                .iter()
                .try_fold(0i64, |sum, w| sum.checked_add(*w));
            let sum = sum.ok_or_else(overflow)?;
            let len = usize::from(sum != 0);
            let (rows, weights) = (self.rows.slice(0, len), vec![sum; len].into());
            return Ok(Self { rows, weights });
        }
        let firsts = firsts(columns, Same::Row)?;
        let mut sums = vec![0i64; self.len()];
        for (&first, &weight) in firsts.iter().zip(self.weights.iter()) {
            let sum = &mut sums[first as usize];
            *sum = sum.checked_add(weight).ok_or_else(overflow)?;
        }
        let kept: Vec<u32> = (0..self.len() as u32)
            .filter(|&i| sums[i as usize] != 0)
            .collect();
        if kept.len() == self.len() {
            let (rows, weights) = (self.rows.clone(), sums.into());
            return Ok(Self { rows, weights });
        }
        let weights: Vec<i64> = kept.iter().map(|&i| sums[i as usize]).collect();
        let rows = take_record_batch(&self.rows, &UInt32Array::from(kept))?;
        let weights = weights.into();
        Ok(Self { rows, weights })
    }
}

/// A batch, which may have no columns.
pub(crate) fn batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

/// What a batch holds of its own, where that can be told: of a slice, what is its own of the whole.
pub(crate) fn bytes_of(rows: &RecordBatch) -> usize {
    let columns = rows.columns().iter().map(|column| {
        let own = match column.data_type() {
            // Whose text is not counted with a slice.
            DataType::Utf8View | DataType::BinaryView => None,
            _ => column.to_data().get_slice_memory_size().ok(),
        };
        own.unwrap_or_else(|| column.get_array_memory_size())
    });
    columns.sum()
}

pub(super) fn overflow() -> Error {
    Error::Shape("the weights of a row add up to more than 64 bits".into())
}

/// Of each row the number of the first that equals it.
fn firsts(columns: &[ArrayRef], same: Same) -> Result<Vec<u32>> {
    let hashes = hashes(columns)?;
    let mut seen = Seen::new(hashes.len());
    let firsts = (0..).zip(hashes).map(|(i, hash)| {
        let equals = |j: u32| rows_equal(columns, i as usize, columns, j as usize, same);
        seen.first(hash, i, equals)
    });
    Ok(firsts.collect())
}

/// Rows by hash, within one batch.
pub(super) struct Seen {
    /// Hash in the upper half, row + 1 in the lower.
    slots: Vec<u64>,
}

impl Seen {
    pub(super) fn new(rows: usize) -> Self {
        let slots = vec![0; (rows * 2).next_power_of_two()];
        Self { slots }
    }

    /// The row that came before and is equal, or this one, which is kept.
    pub(super) fn first(&mut self, hash: u32, row: u32, equals: impl Fn(u32) -> bool) -> u32 {
        let mask = self.slots.len() - 1;
        let mut i = hash as usize & mask;
        loop {
            let word = self.slots[i];
            if word == 0 {
                self.slots[i] = u64::from(hash) << 32 | (u64::from(row) + 1);
                return row;
            }
            let before = word as u32 - 1;
            if (word >> 32) as u32 == hash && equals(before) {
                return before;
            }
            i = (i + 1) & mask;
        }
    }
}

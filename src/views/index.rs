//! Rows of a version found by the values of columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use super::Contract;
use super::shelf::Version;
use super::versions::not_stored;
use crate::catalog::ViewDefinition;
use crate::error::{Error, Result};
use crate::store::hashes;

/// What a version's rows are found by: their hashes, in order. 8 bytes a row.
#[derive(Debug)]
pub(super) struct RowIndex {
    /// Hash and number of each row.
    entries: Vec<(u32, u32)>,
}

/// The columns of a view's key, if it has one, and its first ones; and of each of its indexes.
pub fn indexes(view: &ViewDefinition, contract: &Contract) -> Vec<Vec<usize>> {
    let number = |name: &String| view.columns.iter().position(|column| column.name == *name);
    let key = &contract.key;
    let of_key = (1..=key.len()).rev().map(|first| &key[..first]);
    let declared = view.indexes().iter().map(|index| &index.columns[..]);
    let named = of_key.chain(declared);
    named
        .filter_map(|columns| columns.iter().map(number).collect())
        .collect()
}

/// Rows of a batch, in ascending order.
pub(super) type Found = (usize, Vec<u32>);

impl Version {
    /// The index on these columns, made at the first call. None: no number of a row would be large enough, or a column has a type
    /// that has no hashes.
    ///
    /// # Errors
    /// If the rows cannot be read.
    pub(super) fn index(&self, columns: &[usize]) -> Result<Option<Arc<RowIndex>>> {
        // Others that want one wait for this: they would only make the same.
        let mut indexes = self.indexes.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(index) = indexes.get(columns) {
            return Ok(index.clone());
        }
        let index = self.indexed(columns)?.map(Arc::new);
        indexes.insert(columns.to_vec(), index.clone());
        Ok(index)
    }

    fn indexed(&self, columns: &[usize]) -> Result<Option<RowIndex>> {
        if u32::try_from(self.rows.row_count()).is_err() {
            return Ok(None);
        }
        let mut entries = Vec::with_capacity(self.rows.row_count() as usize);
        for number in 0..self.rows.batch_count() {
            let rows = self.rows.batch(number).map_err(not_stored)?;
            let Ok(hashes) = hashes(&keys(&rows, columns)) else {
                return Ok(None);
            };
            let first = entries.len() as u32;
            entries.extend(hashes.into_iter().zip(first..));
        }
        entries.sort_unstable();
        Ok(Some(RowIndex { entries }))
    }

    /// The rows that an index finds by these values, each once, by batch: all that have them, and perhaps others.
    pub(super) fn found(&self, index: &RowIndex, values: &[ArrayRef]) -> Result<Vec<Found>> {
        let hashes = hashes(values).map_err(|e| Error::Internal(e.to_string()))?;
        let mut rows: Vec<u32> = hashes.into_iter().flat_map(|h| index.rows(h)).collect();
        rows.sort_unstable();
        rows.dedup();
        let (mut found, mut first, mut rest) = (Vec::new(), 0u32, rows.as_slice());
        for number in 0..self.rows.batch_count() {
            if rest.is_empty() {
                break;
            }
            let next = first + self.rows.batch_len(number) as u32;
            let here = rest.partition_point(|row| *row < next);
            if here > 0 {
                found.push((number, rest[..here].iter().map(|row| row - first).collect()));
            }
            (first, rest) = (next, &rest[here..]);
        }
        Ok(found)
    }
}

impl RowIndex {
    pub(super) fn rows(&self, hash: u32) -> impl Iterator<Item = u32> {
        let from = self.entries.partition_point(|(h, _)| *h < hash);
        let same = self.entries[from..].iter();
        same.take_while(move |(h, _)| *h == hash)
            .map(|(_, row)| *row)
    }
}

fn keys(rows: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().map(|&i| rows.column(i).clone()).collect()
}

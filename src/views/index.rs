//! Rows of a version found by the values of columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};

use super::Contract;
use super::shelf::Version;
use super::versions::not_stored;
use crate::catalog::ViewDefinition;
use crate::error::{Error, Result};
use crate::store::{equal_keys, hashes};

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
        let found = self.by_batch(&rows, |row| *row).into_iter();
        let found = found.map(|(number, first, here)| {
            let here = here.iter().map(|row| row - first);
            (number, here.collect())
        });
        Ok(found.collect())
    }

    /// The rows that an index finds in which its columns `by` equal one of these keys, each once, with their batches. A key with a
    /// NULL finds nothing. None: it finds more than `most`.
    ///
    /// # Errors
    /// If the rows cannot be read.
    pub(super) fn found_by(
        &self,
        index: &RowIndex,
        by: &[usize],
        keys: &[ArrayRef],
        most: usize,
    ) -> Result<Option<Vec<(RecordBatch, Vec<u32>)>>> {
        let hashes = hashes(keys).map_err(|e| Error::Internal(e.to_string()))?;
        let with = |(key, hash)| index.rows(hash).map(move |row| (row, key));
        let found = hashes.into_iter().enumerate().flat_map(with);
        let mut found: Vec<(u32, usize)> = found.take(most.saturating_add(1)).collect();
        if found.len() > most {
            return Ok(None);
        }
        found.sort_unstable();
        let found = self.by_batch(&found, |(row, _)| *row).into_iter();
        let found = found.map(|(number, first, here)| {
            let batch = self.rows.batch(number).map_err(not_stored)?;
            // The index knows hashes: others may have the same.
            let is_meant = |(row, key): &&(u32, usize)| {
                let mut pairs = by.iter().zip(keys);
                pairs.all(|(&column, values)| {
                    let (row, of) = ((row - first) as usize, batch.column(column));
                    values.is_valid(*key) && equal_keys(of, row, values, *key)
                })
            };
            let meant = here.iter().filter(is_meant);
            let mut meant: Vec<u32> = meant.map(|(row, _)| row - first).collect();
            meant.dedup();
            Ok((batch, meant))
        });
        found.collect::<Result<_>>().map(Some)
    }

    /// Rows, which are in order, by their batches: with each its number, and that of its first row.
    fn by_batch<'a, T>(
        &self,
        rows: &'a [T],
        row: impl Fn(&T) -> u32,
    ) -> Vec<(usize, u32, &'a [T])> {
        let (mut batches, mut first, mut rest) = (Vec::new(), 0, rows);
        for number in 0..self.rows.batch_count() {
            if rest.is_empty() {
                break;
            }
            let next = first + self.rows.batch_len(number) as u32;
            let (here, later) = rest.split_at(rest.partition_point(|one| row(one) < next));
            if !here.is_empty() {
                batches.push((number, first, here));
            }
            (first, rest) = (next, later);
        }
        batches
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

//! A commit: what it does to tables, and how the log has it.

use std::collections::HashMap;

use arrow::array::{BooleanArray, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use belvedere_connector::{Change, Error, Result};

use crate::log::Tables;
use crate::table::MemoryTable;

/// Do to the tables what the changes say, of rows that are there.
pub(crate) fn apply(tables: &mut Tables, changes: &[(String, Change)]) -> Result<()> {
    for (name, change) in changes {
        let table = tables
            .get_mut(name)
            .ok_or_else(|| Error::internal("a commit changes a table that is not there"))?;
        match change {
            Change::Rows { rows, weights } => add(table, rows, weights)?,
            Change::Truncate => table.batches.clear(),
            Change::ByKey { .. } | Change::Ends(_) => {
                return Err(Error::internal("a commit has rows, or truncates"));
            }
        }
    }
    Ok(())
}

fn arrow(e: ArrowError) -> Error {
    Error::internal(e.to_string())
}

fn add(table: &mut MemoryTable, rows: &RecordBatch, weights: &[i64]) -> Result<()> {
    let before: usize = table.batches.iter().map(RecordBatch::num_rows).sum();
    let all = concat_batches(&table.schema, table.batches.iter().chain([rows])).map_err(arrow)?;
    let fields = table.schema.fields().iter();
    let fields = fields.map(|field| SortField::new(field.data_type().clone()));
    let converter = RowConverter::new(fields.collect()).map_err(arrow)?;
    let keys = converter.convert_columns(all.columns()).map_err(arrow)?;
    // Of each row that is told apart: where it is first, and how often it is there.
    let mut counts: Vec<(u32, i64)> = Vec::new();
    let mut numbers = HashMap::new();
    for (i, row) in keys.iter().enumerate() {
        let number = *numbers.entry(row).or_insert(counts.len());
        if number == counts.len() {
            counts.push((i as u32, 0));
        }
        counts[number].1 += match i.checked_sub(before) {
            None => 1,
            Some(i) => *weights
                .get(i)
                .ok_or_else(|| Error::internal("a commit has a weight for each row"))?,
        };
    }
    if counts.iter().any(|(_, count)| *count < 0) {
        return Err(Error::internal(
            "a commit takes away a row that is not there",
        ));
    }
    let left = counts
        .iter()
        .flat_map(|&(row, count)| std::iter::repeat_n(row, count as usize));
    let left = take_record_batch(&all, &UInt32Array::from_iter_values(left)).map_err(arrow)?;
    table.batches = vec![left];
    Ok(())
}

/// The same as a log has it that names old rows by their key.
pub(crate) fn by_key(key: &[String], rows: &RecordBatch, weights: &[i64]) -> Result<Change> {
    let going: BooleanArray = weights.iter().map(|weight| Some(*weight < 0)).collect();
    let coming: BooleanArray = weights.iter().map(|weight| Some(*weight > 0)).collect();
    let going = filter_record_batch(rows, &going).map_err(arrow)?;
    let coming = filter_record_batch(rows, &coming).map_err(arrow)?;
    let both = concat_batches(&rows.schema(), [&going, &coming]).map_err(arrow)?;
    let columns = key.iter().map(|name| rows.schema().index_of(name));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(arrow)?;
    // First all go, or a row that comes under the key of another would go with it.
    let mut is_there = vec![false; going.num_rows()];
    is_there.resize(both.num_rows(), true);
    Ok(Change::ByKey {
        keys: both.project(&columns).map_err(arrow)?,
        rows: coming,
        is_there,
    })
}

/// A change in pieces of so many rows.
pub(crate) fn pieces(change: Change, most: usize) -> Vec<Change> {
    match change {
        Change::Rows { rows, weights } => (0..rows.num_rows())
            .step_by(most)
            .map(|start| {
                let len = most.min(rows.num_rows() - start);
                Change::Rows {
                    rows: rows.slice(start, len),
                    weights: weights[start..start + len].to_vec(),
                }
            })
            .collect(),
        Change::ByKey {
            keys,
            rows,
            is_there,
        } => {
            let mut taken = 0;
            let piece = |start: usize| {
                let len = most.min(keys.num_rows() - start);
                let is_there = is_there[start..start + len].to_vec();
                let count = is_there.iter().filter(|there| **there).count();
                taken += count;
                Change::ByKey {
                    keys: keys.slice(start, len),
                    rows: rows.slice(taken - count, count),
                    is_there,
                }
            };
            (0..keys.num_rows()).step_by(most).map(piece).collect()
        }
        change => vec![change],
    }
}

//! A commit: what it does to tables, and how the log has it.

use std::collections::HashMap;

use arrow::array::{BooleanArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, nullif, take_record_batch};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use belvedere_connector::{Change, Error, Result, Unchanged};

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
            Change::ByKey { .. } | Change::Anew | Change::Ends(_) => {
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

/// The same as a log has it that names old rows by their key. `is_difference`: and leaves out what is as it was.
pub(crate) fn by_key(
    key: &[String],
    rows: &RecordBatch,
    weights: &[i64],
    is_difference: bool,
) -> Result<Change> {
    let columns = key.iter().map(|name| rows.schema().index_of(name));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(arrow)?;
    let all: Vec<usize> = (0..rows.num_columns()).collect();
    let keys = encoded(rows, &columns)?;
    let (mut going, mut coming) = (Vec::new(), Vec::new());
    for (i, weight) in weights.iter().enumerate() {
        match *weight {
            1.. => coming.push(i as u32),
            ..0 => going.push(i as u32),
            0 => {}
        }
    }
    // The row that a row takes the place of.
    let mut before = HashMap::new();
    if is_difference {
        let going = going.iter();
        before.extend(going.map(|&old| (keys[old as usize].clone(), old)));
    }
    let before: Vec<Option<u32>> = coming
        .iter()
        .map(|&new| before.remove(&keys[new as usize]))
        .collect();
    going.retain(|old| !before.contains(&Some(*old)));
    // First all go, or a row that comes under the key of another would go with it.
    let mut is_there = vec![false; going.len()];
    is_there.resize(going.len() + coming.len(), true);
    let both = UInt32Array::from_iter_values(going.into_iter().chain(coming.iter().copied()));
    let mut came = take_record_batch(rows, &UInt32Array::from(coming.clone())).map_err(arrow)?;
    let mut unchanged = Vec::new();
    for column in all.into_iter().filter(|column| !columns.contains(column)) {
        let values = encoded(rows, &[column])?;
        let is_same = |(new, old): (&u32, &Option<u32>)| {
            old.is_some_and(|old| values[old as usize] == values[*new as usize])
        };
        let is_same: Vec<bool> = coming.iter().zip(&before).map(is_same).collect();
        if is_same.contains(&true) {
            came = without(&came, column, &is_same)?;
            let rows = BooleanBuffer::from(is_same);
            unchanged.push(Unchanged { column, rows });
        }
    }
    let keys = rows.project(&columns).map_err(arrow)?;
    Ok(Change::ByKey {
        keys: take_record_batch(&keys, &both).map_err(arrow)?,
        rows: came,
        is_there,
        unchanged,
    })
}

fn encoded(rows: &RecordBatch, columns: &[usize]) -> Result<Vec<OwnedRow>> {
    let rows = rows.project(columns).map_err(arrow)?;
    let fields = rows.schema();
    let fields = fields.fields().iter();
    let fields = fields.map(|field| SortField::new(field.data_type().clone()));
    let converter = RowConverter::new(fields.collect()).map_err(arrow)?;
    let keys = converter.convert_columns(rows.columns()).map_err(arrow)?;
    Ok(keys.iter().map(|row| row.owned()).collect())
}

/// NULL where the log says nothing, if the column may be.
fn without(rows: &RecordBatch, column: usize, is_same: &[bool]) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    if rows.schema().field(column).is_nullable() {
        let is_same = BooleanArray::from(is_same.to_vec());
        columns[column] = nullif(&columns[column], &is_same).map_err(arrow)?;
    }
    RecordBatch::try_new(rows.schema(), columns).map_err(arrow)
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
            unchanged,
        } => {
            let mut taken = 0;
            let piece = |start: usize| {
                let len = most.min(keys.num_rows() - start);
                let is_there = is_there[start..start + len].to_vec();
                let count = is_there.iter().filter(|there| **there).count();
                taken += count;
                let unchanged = unchanged
                    .iter()
                    .map(|Unchanged { column, rows }| Unchanged {
                        column: *column,
                        rows: rows.slice(taken - count, count),
                    });
                Change::ByKey {
                    keys: keys.slice(start, len),
                    rows: rows.slice(taken - count, count),
                    is_there,
                    unchanged: unchanged.collect(),
                }
            };
            (0..keys.num_rows()).step_by(most).map(piece).collect()
        }
        change => vec![change],
    }
}

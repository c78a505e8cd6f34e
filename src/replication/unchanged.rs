//! Values that a log leaves out, since they are as they were: taken from the row that was there before.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::interleave;
use belvedere_connector::Unchanged;

use super::pending::{Added, Key, Keys, unfit};
use crate::store::{Pinned, Result};

/// What batches of pending changes lack, in the order in which they came.
#[derive(Default)]
pub(super) struct Gaps(Vec<Gap>);

/// What one batch lacks.
struct Gap {
    batch: usize,
    /// Under which key the row was that each of its rows takes the place of.
    keys: Vec<Key>,
    unchanged: Vec<Unchanged>,
}

/// Where the row is that was under a key.
#[derive(Clone, Copy)]
enum Place {
    /// In one of the batches before, or earlier in the same.
    Added { batch: usize, row: usize },
    /// Among those looked up in the table's content.
    Content(usize),
}

impl Gaps {
    /// The batch of that number lacks values. `keys`: one for each of its rows.
    ///
    /// # Errors
    /// If it is not of this many rows, and columns.
    pub fn push(
        &mut self,
        batch: usize,
        keys: Vec<Key>,
        unchanged: Vec<Unchanged>,
        rows: &RecordBatch,
    ) -> Result<()> {
        let fits = |unchanged: &Unchanged| {
            unchanged.column < rows.num_columns() && unchanged.rows.len() == rows.num_rows()
        };
        if keys.len() != rows.num_rows() || !unchanged.iter().all(fits) {
            return Err(unfit("what it says is unchanged is not of its rows"));
        }
        if rows.num_rows() > 0 {
            self.0.push(Gap {
                batch,
                keys,
                unchanged,
            });
        }
        Ok(())
    }

    /// Give all rows what they lack. `content`: what was there before all of them, if anything.
    ///
    /// # Errors
    /// If a row is not there that a value is to be taken from.
    pub fn fill(self, added: &mut [Added], keys: &Keys, content: Option<&Pinned>) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let wanted = self.0.iter().flat_map(|gap| &gap.keys).collect();
        // Of each key that is wanted, the row that came last.
        let (mut latest, found) = in_content(&wanted, keys, content)?;
        let mut gaps = self.0.iter().peekable();
        for batch in 0..added.len() {
            let came = keys.of_rows(&added[batch].rows)?;
            let gap = gaps.next_if(|gap| gap.batch == batch);
            let mut places = Vec::new();
            for (row, key) in came.into_iter().enumerate() {
                if let Some(gap) = gap {
                    places.push(latest.get(&gap.keys[row]).copied());
                }
                if wanted.contains(&key) && added[batch].weights[row] > 0 {
                    latest.insert(key, Place::Added { batch, row });
                }
            }
            if let Some(gap) = gap {
                for unchanged in &gap.unchanged {
                    let column = filled(added, batch, unchanged, &places, &found)?;
                    let rows = &mut added[batch].rows;
                    let mut columns = rows.columns().to_vec();
                    columns[unchanged.column] = column;
                    *rows = RecordBatch::try_new(rows.schema(), columns)?;
                }
            }
        }
        Ok(())
    }
}

/// Rows of the table under some keys, with all columns, and where which is.
fn in_content(
    wanted: &HashSet<&Key>,
    keys: &Keys,
    content: Option<&Pinned>,
) -> Result<(HashMap<Key, Place>, Vec<ArrayRef>)> {
    let Some(content) = content else {
        return Ok(Default::default());
    };
    let positions = keys.look_up(
        wanted.iter().copied().collect::<Vec<_>>().into_iter(),
        content,
    )?;
    let schema = content.shape().schema().clone();
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let found = content.gather(&positions, &columns)?;
    let rows = RecordBatch::try_new(schema, found.clone())?;
    let places = keys.of_rows(&rows)?.into_iter().enumerate();
    let places = places.map(|(row, key)| (key, Place::Content(row)));
    Ok((places.collect(), found))
}

/// A column of a batch with the values that it lacked, row by row: a later one may be taken from an earlier one.
fn filled(
    added: &[Added],
    batch: usize,
    unchanged: &Unchanged,
    places: &[Option<Place>],
    found: &[ArrayRef],
) -> Result<ArrayRef> {
    // The batch's own, those of the batches before, the content's.
    let mut values: Vec<&dyn Array> = Vec::with_capacity(batch + 2);
    values.push(added[batch].rows.column(unchanged.column).as_ref());
    let before = added[..batch].iter();
    values.extend(before.map(|added| added.rows.column(unchanged.column).as_ref()));
    if let Some(found) = found.get(unchanged.column) {
        values.push(found.as_ref());
    }
    let content = batch + 1;
    let mut from: Vec<(usize, usize)> = Vec::with_capacity(places.len());
    for (row, place) in places.iter().enumerate() {
        let own = (0, row);
        let taken = match (unchanged.rows.value(row), place) {
            (false, _) => own,
            (true, Some(Place::Added { batch: other, row })) if *other == batch => from[*row],
            (true, Some(Place::Added { batch: other, row })) => (other + 1, *row),
            (true, Some(Place::Content(row))) => (content, *row),
            (true, None) => {
                return Err(unfit("a value is as it was in a row that is not there"));
            }
        };
        from.push(taken);
    }
    Ok(interleave(&values, &from)?)
}

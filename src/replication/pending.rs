//! Changes of one table, one after the other, as the one change they are together.

use std::collections::HashMap;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use belvedere_connector::Change;

use super::unchanged::Gaps;
use crate::store::{Error, Pinned, Result, ZSet, canonical_floats};

/// What is to be done to a table's content.
///
/// Rows under a key go at a *time*; rows that came before that time are gone with them, those that came then or later are not. So
/// only the last time of each key matters, and all is done in one pass.
pub(super) struct Pending {
    schema: SchemaRef,
    /// All that was there goes.
    is_cleared: bool,
    added: Vec<Added>,
    keys: Option<Keys>,
    /// What `added` lacks.
    unchanged: Gaps,
    /// Of what comes next.
    time: u64,
}

pub(super) struct Added {
    pub rows: RecordBatch,
    pub weights: Vec<i64>,
    /// One for each row, or one for all.
    times: Vec<u64>,
}

pub(super) type Key = Box<[u8]>;

pub(super) struct Keys {
    columns: Vec<usize>,
    converter: RowConverter,
    /// When rows under a key went last.
    gone: HashMap<Key, u64>,
}

impl Pending {
    pub fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            is_cleared: false,
            added: Vec::new(),
            keys: None,
            unchanged: Gaps::default(),
            time: 0,
        }
    }

    /// # Errors
    /// If the change is not one of this table's columns.
    pub fn push(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Rows { rows, weights } => {
                let times = vec![self.time];
                self.add(rows, weights, times)?;
                self.time += 1;
            }
            Change::ByKey {
                keys,
                rows,
                is_there,
                unchanged,
            } => {
                if keys.num_rows() != is_there.len() {
                    return Err(unfit("not as many keys as it says of which there is a row"));
                }
                let known = match &mut self.keys {
                    Some(known) => known,
                    none => none.insert(Keys::new(&self.schema, &keys)?),
                };
                let bytes = known.bytes(&self.schema, &keys)?;
                if !unchanged.is_empty() {
                    let came = bytes.iter().zip(&is_there).filter(|(_, there)| **there);
                    let keys: Vec<_> = came.map(|(key, _)| key.clone()).collect();
                    let batch = self.added.len();
                    self.unchanged.push(batch, keys, unchanged, &rows)?;
                }
                let times = self.time..;
                for (key, time) in bytes.into_iter().zip(times.clone()) {
                    known.gone.insert(key, time);
                }
                let came = times.zip(&is_there).filter(|(_, there)| **there);
                let times: Vec<u64> = came.map(|(time, _)| time).collect();
                if times.len() != rows.num_rows() {
                    return Err(unfit("not as many rows as it says there are"));
                }
                self.add(rows, vec![1; times.len()], times)?;
                self.time += is_there.len() as u64;
            }
            Change::Truncate => self.clear(),
            Change::Anew => return Err(unfit("it does not say what has changed")),
            Change::Ends(_) => return Err(unfit("it does not change what it ends")),
        }
        Ok(())
    }

    /// All that was there goes, and all that came.
    pub fn clear(&mut self) {
        self.is_cleared = true;
        self.added.clear();
        self.unchanged = Gaps::default();
        if let Some(keys) = &mut self.keys {
            keys.gone.clear();
        }
    }

    fn add(&mut self, rows: RecordBatch, weights: Vec<i64>, times: Vec<u64>) -> Result<()> {
        let types = |schema: &SchemaRef| -> Vec<_> {
            let fields = schema.fields().iter();
            fields
                .map(|f| (f.name().clone(), f.data_type().clone()))
                .collect()
        };
        if types(&rows.schema()) != types(&self.schema) || rows.num_rows() != weights.len() {
            return Err(unfit("its rows have other columns, or no weight each"));
        }
        if rows.num_rows() > 0 {
            self.added.push(Added {
                rows,
                weights,
                times,
            });
        }
        Ok(())
    }

    /// The change of a table with this content, each row once.
    ///
    /// # Errors
    /// If old rows are named by columns that the table has no index on; if a value is as it was in a row that is not there.
    pub fn change(mut self, content: &Pinned) -> Result<ZSet> {
        if let Some(keys) = &self.keys {
            let content = (!self.is_cleared).then_some(content);
            self.unchanged.fill(&mut self.added, keys, content)?;
        }
        let (mut batches, mut weights) = (Vec::new(), Vec::new());
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        if self.is_cleared {
            for rows in content.scan(&columns) {
                let rows = rows?;
                weights.resize(weights.len() + rows.num_rows(), -1);
                batches.push(rows);
            }
        } else if let Some(keys) = &self.keys {
            let found = keys.find(content)?;
            let rows = content.gather(&found, &columns)?;
            let counts = content.counts(&found)?;
            weights.extend(match counts {
                Some(counts) => counts.values().iter().map(|count| -count).collect(),
                None => vec![-1; found.len()],
            });
            batches.push(RecordBatch::try_new(self.schema.clone(), rows)?);
        }
        for added in self.added {
            let Added {
                mut rows,
                weights: mut of_rows,
                times,
            } = added;
            if let Some(keys) = self.keys.as_ref().filter(|keys| !keys.gone.is_empty()) {
                let stays = keys.stays(&rows, &times)?;
                let mut each = stays.iter();
                of_rows.retain(|_| each.next() == Some(&true));
                rows = filter_record_batch(&rows, &BooleanArray::from(stays))?;
            }
            weights.extend(of_rows);
            batches.push(rows);
        }
        let rows = concat_batches(&self.schema, &batches)?;
        ZSet::new(rows, weights)?.consolidated()
    }
}

impl Keys {
    fn new(schema: &SchemaRef, keys: &RecordBatch) -> Result<Self> {
        let columns = numbers(schema, keys)?;
        let field = |column: &usize| SortField::new(schema.field(*column).data_type().clone());
        let converter = RowConverter::new(columns.iter().map(field).collect())?;
        let gone = HashMap::new();
        Ok(Self {
            columns,
            converter,
            gone,
        })
    }

    fn bytes(&self, schema: &SchemaRef, keys: &RecordBatch) -> Result<Vec<Key>> {
        if numbers(schema, keys)? != self.columns {
            return Err(unfit("its keys have other columns than before"));
        }
        self.of(keys.columns().iter())
    }

    /// Equal as keys are: one zero, one NaN.
    fn of<'a>(&self, columns: impl Iterator<Item = &'a ArrayRef>) -> Result<Vec<Key>> {
        let columns: Vec<ArrayRef> = columns.map(canonical_floats).collect();
        let rows = self.converter.convert_columns(&columns)?;
        Ok(rows.iter().map(|row| row.data().into()).collect())
    }

    /// Positions of rows that go.
    fn find(&self, content: &Pinned) -> Result<Vec<u32>> {
        self.look_up(self.gone.keys(), content)
    }

    /// Positions of the rows under these keys.
    pub fn look_up<'a>(
        &self,
        keys: impl ExactSizeIterator<Item = &'a Key>,
        content: &Pinned,
    ) -> Result<Vec<u32>> {
        if keys.len() == 0 {
            return Ok(Vec::new());
        }
        let shape = content.shape();
        let index = shape
            .index_on(&self.columns)
            .ok_or_else(|| unfit("there is no index on the columns of its keys"))?;
        let parser = self.converter.parser();
        let keys = keys.map(|key| parser.parse(key));
        let keys = self.converter.convert_rows(keys)?;
        let place = |column: &usize| self.columns.iter().position(|mine| mine == column);
        let in_order = shape.index_columns(index).iter().filter_map(place);
        let in_order: Vec<ArrayRef> = in_order.map(|place| keys[place].clone()).collect();
        Ok(content.lookup(index, &in_order)?.positions)
    }

    /// Of rows with all columns.
    pub fn of_rows(&self, rows: &RecordBatch) -> Result<Vec<Key>> {
        self.of(self.columns.iter().map(|&column| rows.column(column)))
    }

    /// Which rows came when or after those under their key went.
    fn stays(&self, rows: &RecordBatch, times: &[u64]) -> Result<Vec<bool>> {
        let keys = self.of_rows(rows)?;
        let time = |i: usize| if times.len() == 1 { times[0] } else { times[i] };
        let stays = keys.iter().enumerate().map(|(i, key)| {
            let gone = self.gone.get(key);
            gone.is_none_or(|&gone| gone <= time(i))
        });
        Ok(stays.collect())
    }
}

fn numbers(schema: &SchemaRef, keys: &RecordBatch) -> Result<Vec<usize>> {
    let number = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        let found = schema.column_with_name(field.name());
        found.filter(|(_, mine)| mine.data_type() == field.data_type())
    };
    let fields = keys.schema();
    let numbers: Option<Vec<usize>> = fields
        .fields()
        .iter()
        .map(|f| number(f).map(|n| n.0))
        .collect();
    let numbers = numbers.filter(|numbers| !numbers.is_empty());
    numbers.ok_or_else(|| unfit("its keys are not columns of the table"))
}

pub(super) fn unfit(what: &str) -> Error {
    Error::Shape(format!("a change of it: {what}"))
}

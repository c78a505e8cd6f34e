//! What a table has: columns, a key, indexes.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::key::hashes;
use super::{Error, Result};

/// A table's name, columns, key and indexes. Columns are named by number, from 0.
#[derive(Clone, Debug)]
pub struct Shape {
    name: String,
    schema: SchemaRef,
    /// With the count, where there is no key.
    stored: SchemaRef,
    has_key: bool,
    /// The columns of each index. The first is the key's, or all.
    indexes: Vec<Vec<usize>>,
    pub(super) chunk_bits: u32,
}

impl Shape {
    /// A table without a key: rows are told apart by all their values, and the same may be there several times.
    pub fn new(name: impl Into<String>, schema: SchemaRef) -> Self {
        let mut fields = schema.fields().to_vec();
        let all = (0..fields.len()).collect();
        fields.push(Arc::new(Field::new("count", DataType::Int64, false)));
        Self {
            name: name.into(),
            schema,
            stored: Arc::new(Schema::new(fields)),
            has_key: false,
            indexes: vec![all],
            chunk_bits: 16,
        }
    }

    /// Rows are told apart by these columns. NULL is a value as any other.
    #[must_use]
    pub fn with_key(mut self, columns: &[usize]) -> Self {
        self.stored = self.schema.clone();
        self.has_key = true;
        self.indexes[0] = columns.to_vec();
        self
    }

    /// Rows are found by these columns, too.
    #[must_use]
    pub fn with_index(mut self, columns: &[usize]) -> Self {
        self.indexes.push(columns.to_vec());
        self
    }

    /// Chunks of 2^bits rows; 16 unless said otherwise, which is for tests.
    #[cfg(test)]
    pub(crate) fn with_chunk_bits(mut self, bits: u32) -> Self {
        self.chunk_bits = bits;
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn stored(&self) -> &SchemaRef {
        &self.stored
    }

    pub(super) fn has_key(&self) -> bool {
        self.has_key
    }

    /// Where a row's count is, in a table without a key.
    pub(super) fn counts_column(&self) -> Option<usize> {
        (!self.has_key).then(|| self.schema.fields().len())
    }

    pub(crate) fn index_count(&self) -> usize {
        self.indexes.len()
    }

    /// The columns of an index: 0 is the key's (all columns where there is none), then those of [`Shape::with_index`]
    /// in the order in which they were added.
    ///
    /// # Panics
    /// If there is no such index.
    pub fn index_columns(&self, index: usize) -> &[usize] {
        &self.indexes[index]
    }

    /// The index by these columns, whatever their order.
    pub fn index_on(&self, columns: &[usize]) -> Option<usize> {
        let is_on = |index: &&Vec<usize>| {
            index.len() == columns.len() && index.iter().all(|column| columns.contains(column))
        };
        self.indexes.iter().position(|index| is_on(&index))
    }

    /// Whether a key finds one row at most.
    pub(crate) fn is_unique(&self, index: usize) -> bool {
        self.has_key && index == 0
    }

    /// The index's columns, if keys have their types.
    pub(super) fn check_keys(&self, index: usize, keys: &[ArrayRef]) -> Result<&[usize]> {
        let wrong = |what: &str| {
            let name = &self.name;
            Err(Error::Shape(format!("a lookup in table {name}: {what}")))
        };
        let Some(columns) = self.indexes.get(index) else {
            return wrong("there is no such index");
        };
        if columns.len() != keys.len() || columns.is_empty() {
            return wrong("not as many values as the index has columns");
        }
        for (&column, key) in columns.iter().zip(keys) {
            let wanted = self.schema.field(column).data_type();
            if key.data_type() != wanted {
                let found = key.data_type();
                return wrong(&format!("a key's type is {found}, its column's {wanted}"));
            }
        }
        Ok(columns)
    }

    /// Of each index, the hashes of rows.
    pub(super) fn hashes(&self, rows: &RecordBatch) -> Result<Vec<Vec<u32>>> {
        let of = |columns: &Vec<usize>| {
            let columns: Vec<_> = columns.iter().map(|&i| rows.column(i).clone()).collect();
            match columns.is_empty() {
                true => Ok(vec![0; rows.num_rows()]),
                false => hashes(&columns),
            }
        };
        self.indexes.iter().map(of).collect()
    }

    /// How errors say what tells rows apart.
    pub(super) fn key_text(&self) -> String {
        if !self.has_key {
            return "all columns".into();
        }
        let names = self.indexes[0]
            .iter()
            .map(|&i| self.schema.field(i).name().as_str());
        format!("key ({})", names.collect::<Vec<_>>().join(", "))
    }
}

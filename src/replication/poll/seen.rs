//! What a table had at a look, and how the next one differs from it.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use belvedere_connector::{Captured, Change, Code, Error, PRIMARY_KEY, Result, holds_primary_key};
use twox_hash::XxHash3_64;

/// Rows of a table by their keys: by the primary key, or by all columns where there is none.
#[derive(Debug)]
pub(super) struct Seen {
    captured: Captured,
    /// The key's columns, where it does not have all.
    key: Option<Vec<usize>>,
    keys: RowConverter,
    rows: RowConverter,
    /// By key, encoded.
    entries: HashMap<Box<[u8]>, Entry>,
    /// Numbers below it that no entry has.
    free: Vec<usize>,
    numbers: usize,
}

#[derive(Debug)]
struct Entry {
    /// Where a look notes that it is there.
    number: usize,
    /// With a key: the row's hash. Else how often it is there.
    value: u128,
}

/// A look under way.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// By an entry's number: how often it was met.
    met: Vec<u64>,
    /// Rows of keys that are new or have another row, and what is to be noted of them.
    changed: Vec<RecordBatch>,
    values: Vec<(Box<[u8]>, u128)>,
    /// Without a key: rows that are new, and how often.
    new: HashMap<Box<[u8]>, u64>,
}

/// What a look found, to be given and noted.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) change: Option<Change>,
    values: Vec<(Box<[u8]>, u128)>,
    gone: Vec<Box<[u8]>>,
}

impl Seen {
    /// Nothing yet.
    ///
    /// # Errors
    /// If a column has a type whose values cannot be told apart.
    pub(super) fn new(captured: Captured) -> Result<Self> {
        let schema = &captured.schema;
        if schema.fields().is_empty() {
            let message = "rows of which no column is wanted cannot be told apart";
            return Err(Error::new(Code::SchemaChanged, message)
                .at_table(captured.table.to_string())
                .help("use a column of the table, its key at best"));
        }
        let all: BTreeSet<usize> = (0..schema.fields().len()).collect();
        let is_key = |i: &usize| schema.field(*i).metadata().contains_key(PRIMARY_KEY);
        let key = holds_primary_key(schema, &all)
            .then(|| all.iter().copied().filter(is_key).collect::<Vec<_>>());
        let columns = key.clone().unwrap_or_else(|| all.iter().copied().collect());
        let refused = |e: ArrowError| refused(&captured, &e);
        Ok(Self {
            keys: converter(schema, &columns).map_err(refused)?,
            rows: converter(schema, &all.into_iter().collect::<Vec<_>>()).map_err(refused)?,
            key,
            entries: HashMap::new(),
            free: Vec::new(),
            numbers: 0,
            captured,
        })
    }

    pub(super) fn captured(&self) -> &Captured {
        &self.captured
    }

    /// Rows that are there, besides those that were added before.
    ///
    /// # Errors
    /// If they have other columns.
    pub(super) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        let refused = |e: ArrowError| refused(&self.captured, &e);
        let all = encoded(&self.rows, rows.columns()).map_err(refused)?;
        let Some(key) = &self.key else {
            for row in &all {
                let value = self
                    .entries
                    .get(row.as_ref())
                    .map_or(0, |entry| entry.value);
                self.set(row.as_ref().into(), value + 1);
            }
            return Ok(());
        };
        let columns: Vec<ArrayRef> = key.iter().map(|&i| rows.column(i).clone()).collect();
        let keys = encoded(&self.keys, &columns).map_err(refused)?;
        for (key, row) in keys.iter().zip(&all) {
            self.set(key.as_ref().into(), hash(row.as_ref()));
        }
        Ok(())
    }

    fn set(&mut self, key: Box<[u8]>, value: u128) {
        let (free, numbers) = (&mut self.free, &mut self.numbers);
        let entry = self.entries.entry(key).or_insert_with(|| {
            let number = free.pop().unwrap_or(*numbers);
            *numbers = (*numbers).max(number + 1);
            Entry { number, value }
        });
        entry.value = value;
    }

    /// The next look begins.
    pub(super) fn look(&self) -> Look {
        Look {
            met: vec![0; self.numbers],
            ..Look::default()
        }
    }

    /// Some of a look's rows.
    ///
    /// # Errors
    /// If they have other columns.
    pub(super) fn see(&self, look: &mut Look, rows: &RecordBatch) -> Result<()> {
        let refused = |e: ArrowError| refused(&self.captured, &e);
        let all = encoded(&self.rows, rows.columns()).map_err(refused)?;
        let Some(key) = &self.key else {
            for row in &all {
                match self.entries.get(row.as_ref()) {
                    Some(entry) => look.met[entry.number] += 1,
                    None => *look.new.entry(row.as_ref().into()).or_default() += 1,
                }
            }
            return Ok(());
        };
        let columns: Vec<ArrayRef> = key.iter().map(|&i| rows.column(i).clone()).collect();
        let keys = encoded(&self.keys, &columns).map_err(refused)?;
        let mut changed = Vec::new();
        for (i, (key, row)) in (0..).zip(keys.iter().zip(&all)) {
            let value = hash(row.as_ref());
            if let Some(entry) = self.entries.get(key.as_ref()) {
                look.met[entry.number] = 1;
                if entry.value == value {
                    continue;
                }
            }
            changed.push(i);
            look.values.push((key.as_ref().into(), value));
        }
        if !changed.is_empty() {
            let changed = take_record_batch(rows, &UInt32Array::from(changed));
            look.changed.push(changed.map_err(refused)?);
        }
        Ok(())
    }

    /// All was seen.
    ///
    /// # Errors
    /// If rows cannot be put together.
    pub(super) fn found(&self, look: Look) -> Result<Found> {
        let found = match &self.key {
            Some(key) => self.found_by_key(key, look),
            None => self.found_by_count(look),
        };
        found.map_err(|e| refused(&self.captured, &e))
    }

    fn found_by_key(&self, key: &[usize], look: Look) -> Result<Found, ArrowError> {
        let entries = self.entries.iter();
        let gone = entries.filter(|(_, entry)| look.met[entry.number] == 0);
        let gone: Vec<Box<[u8]>> = gone.map(|(key, _)| key.clone()).collect();
        let names = look.values.iter().map(|(key, _)| key).chain(&gone);
        let schema = Schema::new(
            (key.iter().map(|&i| self.captured.schema.field(i).clone())).collect::<Vec<_>>(),
        );
        let keys = decoded(&self.keys, &schema.into(), names)?;
        let change = (keys.num_rows() > 0).then(|| -> Result<Change, ArrowError> {
            let is_there = (0..keys.num_rows()).map(|i| i < look.values.len());
            Ok(Change::ByKey {
                unchanged: Vec::new(),
                is_there: is_there.collect(),
                rows: concat_batches(&self.captured.schema, &look.changed)?,
                keys,
            })
        });
        Ok(Found {
            change: change.transpose()?,
            values: look.values,
            gone,
        })
    }

    fn found_by_count(&self, look: Look) -> Result<Found, ArrowError> {
        let (mut values, mut gone, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut changed = Vec::new();
        for (row, entry) in &self.entries {
            let met = look.met[entry.number];
            let weight = i128::from(met) - entry.value as i128;
            match (weight, met) {
                (0, _) => continue,
                (_, 0) => gone.push(row.clone()),
                (_, met) => values.push((row.clone(), u128::from(met))),
            }
            changed.push(row);
            weights.push(weight as i64);
        }
        for (row, &met) in &look.new {
            values.push((row.clone(), u128::from(met)));
            changed.push(row);
            weights.push(met as i64);
        }
        let rows = decoded(&self.rows, &self.captured.schema, changed.into_iter())?;
        let change = (!weights.is_empty()).then_some(Change::Rows { rows, weights });
        Ok(Found {
            change,
            values,
            gone,
        })
    }

    /// What was found is what it has now.
    pub(super) fn note(&mut self, found: Found) {
        for key in found.gone {
            if let Some(entry) = self.entries.remove(&key) {
                self.free.push(entry.number);
            }
        }
        for (key, value) in found.values {
            self.set(key, value);
        }
    }
}

/// Two of 64 bits, which know nothing of each other.
fn hash(row: &[u8]) -> u128 {
    let [a, b] = [0, 1].map(|seed| XxHash3_64::oneshot_with_seed(seed, row));
    u128::from(a) << 64 | u128::from(b)
}

fn converter(schema: &SchemaRef, columns: &[usize]) -> Result<RowConverter, ArrowError> {
    let fields = columns.iter().map(|&i| schema.field(i).data_type().clone());
    RowConverter::new(fields.map(SortField::new).collect())
}

fn encoded(converter: &RowConverter, columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
    let rows = columns.first().map_or(0, |column| column.len());
    let mut encoded = converter.empty_rows(rows, 0);
    converter.append(&mut encoded, columns)?;
    Ok(encoded)
}

/// Values as they were encoded, with the types of a schema.
fn decoded<'a>(
    converter: &RowConverter,
    schema: &SchemaRef,
    rows: impl Iterator<Item = &'a Box<[u8]>>,
) -> Result<RecordBatch, ArrowError> {
    let parser = converter.parser();
    let columns = converter.convert_rows(rows.map(|row| parser.parse(row)))?;
    // A dictionary comes back as its values.
    let pairs = columns.iter().zip(schema.fields());
    let columns = pairs.map(
        |(column, field)| match column.data_type() == field.data_type() {
            true => Ok(column.clone()),
            false => cast(column, field.data_type()),
        },
    );
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}

/// Without what Arrow says: it may quote a value.
fn refused(captured: &Captured, _: &ArrowError) -> Error {
    let message = "rows of the table cannot be told apart: a column has a type that cannot be compared, or is not what it was";
    Error::new(Code::SchemaChanged, message)
        .at_table(captured.table.to_string())
        .help("leave out the columns of nested types")
}

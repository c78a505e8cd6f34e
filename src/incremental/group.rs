//! Groups with counts, sums and extremes, changed by the change alone.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::hash_utils::QualityRandomState;
use datafusion::common::{Result, exec_err};
use datafusion::physical_expr::PhysicalExpr;

use super::aggregate::{Aggregate, Total};
use super::values::{self, Values};
use crate::store::{ZSet, batch, canonical_floats};

/// The state is a hash table in parts, so that none is large when it grows: growing moves some thousands of groups.
const PARTS: usize = 256;
/// What an allocator takes for itself, most of the time.
const ALLOCATION: usize = 8;

/// Groups and their aggregates. Its state is in memory, and read by nobody else.
#[derive(Debug)]
pub struct GroupBy {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    aggregates: Vec<Aggregate>,
    /// Columns whose values groups keep.
    ordered: Vec<Ordered>,
    /// Of each aggregate, which of these it reads.
    reads: Vec<Option<usize>>,
    schema: SchemaRef,
    converter: RowConverter,
    parts: Vec<Part>,
    /// What keys take, each allocated alone.
    key_bytes: usize,
    /// What values take, and extremes.
    value_bytes: usize,
    /// Groups that the epoch has changed, as they were.
    touched: Vec<Touched>,
}

/// A column whose values groups keep, for all aggregates of it.
#[derive(Debug)]
struct Ordered {
    column: Arc<dyn PhysicalExpr>,
    converter: RowConverter,
}

#[derive(Debug, Default)]
struct Part {
    by_key: HashMap<Box<[u8]>, u32, QualityRandomState>,
    groups: Vec<Group>,
    /// Of each group as many as there are aggregates.
    totals: Vec<Total>,
    /// Of each group as many as there are columns whose values are kept.
    values: Vec<Values>,
    free: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    rows: i64,
    is_touched: bool,
    /// Whether it is in what was given.
    is_shown: bool,
}

#[derive(Debug)]
struct Touched {
    part: u32,
    group: u32,
    key: Box<[u8]>,
    was: Group,
    /// What it showed: of its values the extremes alone.
    totals: Box<[Total]>,
}

impl GroupBy {
    /// Keys and aggregates over columns of `input`, with the names their values get. Without keys there is one group,
    /// which is there even if no row is.
    ///
    /// # Errors
    /// If an aggregate is of a type it is not defined for here.
    pub fn new(
        input: &Schema,
        keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
        aggregates: Vec<(Aggregate, String)>,
    ) -> Result<Self> {
        let (mut fields, mut sort_fields) = (Vec::new(), Vec::new());
        for (key, name) in &keys {
            let data_type = key.data_type(input)?;
            sort_fields.push(SortField::new(data_type.clone()));
            fields.push(Field::new(name, data_type, key.nullable(input)?));
        }
        for (aggregate, name) in &aggregates {
            fields.push(aggregate.field(input, name)?);
        }
        let mut ordered: Vec<Ordered> = Vec::new();
        let mut reads = Vec::new();
        for (aggregate, _) in &aggregates {
            let Some(column) = aggregate.of_values() else {
                reads.push(None);
                continue;
            };
            let known = ordered
                .iter()
                .position(|other| Arc::eq(&other.column, column));
            reads.push(Some(known.unwrap_or(ordered.len())));
            if known.is_none() {
                let converter = values::converter(&column.data_type(input)?)?;
                let column = column.clone();
                ordered.push(Ordered { column, converter });
            }
        }
        let mut groups = Self {
            keys: keys.into_iter().map(|(key, _)| key).collect(),
            aggregates: aggregates
                .into_iter()
                .map(|(aggregate, _)| aggregate)
                .collect(),
            ordered,
            reads,
            schema: Arc::new(Schema::new(fields)),
            converter: RowConverter::new(sort_fields)?,
            parts: (0..PARTS).map(|_| Part::default()).collect(),
            key_bytes: 0,
            value_bytes: 0,
            touched: Vec::new(),
        };
        if groups.keys.is_empty() {
            groups.group(&[], 0);
        }
        Ok(groups)
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Add a piece of an epoch's change.
    ///
    /// # Errors
    /// Those of the expressions; nothing was added then.
    pub fn push(&mut self, change: &ZSet) -> Result<()> {
        let rows = change.rows();
        let value = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(rows)?.into_array(rows.num_rows());
        let keys = self
            .keys
            .iter()
            .map(|key| Ok(canonical_floats(&value(key)?)));
        let keys = keys.collect::<Result<Vec<ArrayRef>>>()?;
        let arguments = self.aggregates.iter();
        let arguments = arguments.map(|aggregate| aggregate.argument().map(value).transpose());
        let arguments = arguments.collect::<Result<Vec<Option<ArrayRef>>>>()?;
        let ordered = self.ordered.iter().map(|ordered| {
            let column = value(&ordered.column)?;
            // Logical: a value of a dictionary may be NULL.
            let nulls = column.logical_nulls();
            Ok((ordered.converter.convert_columns(&[column])?, nulls))
        });
        let ordered = ordered.collect::<Result<Vec<_>>>()?;
        let weights = change.weights();
        let groups: Vec<(u32, u32)> = match keys.is_empty() {
            true => weights
                .iter()
                .map(|weight| self.group(&[], *weight))
                .collect(),
            false => {
                let keys = self.converter.convert_columns(&keys)?;
                let rows = keys.iter().zip(weights);
                rows.map(|(key, weight)| self.group(key.data(), *weight))
                    .collect()
            }
        };
        // Of each row, whether it brings a value that was not there, or takes the last one.
        let mut changed = Vec::new();
        let stride = self.ordered.len();
        for (i, (column, nulls)) in ordered.iter().enumerate() {
            let mut turns = vec![0; weights.len()];
            for (row, &(part, group)) in groups.iter().enumerate() {
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    continue;
                }
                let values = &mut self.parts[part as usize].values[group as usize * stride + i];
                let before = values.bytes();
                turns[row] = values.add(column.row(row).data(), weights[row]);
                self.value_bytes = self.value_bytes + values.bytes() - before;
            }
            changed.push(turns);
        }
        let stride = self.aggregates.len();
        for (i, (aggregate, argument)) in self.aggregates.iter().zip(&arguments).enumerate() {
            let Some(argument) = argument else {
                continue;
            };
            let weights = match self.reads[i].filter(|_| aggregate.is_distinct()) {
                Some(column) => &changed[column],
                None => weights,
            };
            let parts = &mut self.parts;
            aggregate.each(argument, |row, value| {
                let (part, group) = groups[row];
                let total = &mut parts[part as usize].totals[group as usize * stride + i];
                total.add(value, weights[row]);
            })?;
        }
        Ok(())
    }

    /// The group of a key, made if it is new, with its rows counted.
    fn group(&mut self, key: &[u8], weight: i64) -> (u32, u32) {
        let stride = self.aggregates.len();
        let hash = QualityRandomState::default().hash_one(key);
        let number = hash as usize % PARTS;
        let part = &mut self.parts[number];
        let id = match part.by_key.get(key) {
            Some(id) => *id,
            None => {
                let id = part.free.pop().unwrap_or_else(|| {
                    part.groups.push(Group::default());
                    part.totals
                        .extend(self.aggregates.iter().map(Aggregate::start));
                    let values = self.ordered.iter().map(|_| Values::default());
                    part.values.extend(values);
                    part.groups.len() as u32 - 1
                });
                part.by_key.insert(key.into(), id);
                self.key_bytes += allocated(key);
                id
            }
        };
        let group = &mut part.groups[id as usize];
        if !group.is_touched {
            group.is_touched = true;
            let first = id as usize * stride;
            self.touched.push(Touched {
                part: number as u32,
                group: id,
                key: key.into(),
                was: *group,
                totals: part.totals[first..first + stride].into(),
            });
        }
        group.rows += weight;
        (number as u32, id)
    }

    /// [`finish_each`](Self::finish_each), where all groups have a row.
    ///
    /// # Errors
    /// As it has, and if a group has none.
    pub fn finish(&mut self) -> Result<ZSet> {
        let mut why = None;
        let change = self.finish_each(&mut |message, _| why = Some(message))?;
        match why {
            Some(why) => exec_err!("{why}"),
            None => Ok(change),
        }
    }

    /// End the epoch: the change of all groups that were touched, those that ended up the same left out. A group's old
    /// row goes, its new one comes. Of a group with a sum that its type does not hold, `failed` is told why, in place of a row.
    ///
    /// # Errors
    /// If more rows of a group were taken away than there were: the state is no longer of use.
    pub fn finish_each(&mut self, failed: &mut dyn FnMut(String, i64)) -> Result<ZSet> {
        let stride = self.aggregates.len();
        let is_total = self.keys.is_empty();
        let mut out: Vec<(&[u8], i64, i64, &[Total])> = Vec::new();
        let touched = std::mem::take(&mut self.touched);
        for touched in &touched {
            self.settle(touched)?;
        }
        let parts = &self.parts;
        for touched in &touched {
            let part = &parts[touched.part as usize];
            let first = touched.group as usize * stride;
            let (key, was) = (&*touched.key, touched.was);
            let is = part.groups[touched.group as usize];
            let totals = &part.totals[first..first + stride];
            let is_same = was.is_shown
                && is.is_shown
                && self.shows_same(was.rows, &touched.totals, is.rows, totals);
            if was.is_shown && !is_same {
                out.push((key, -1, was.rows, &touched.totals));
            }
            if is.is_shown && !is_same {
                out.push((key, 1, is.rows, totals));
            }
        }
        out.retain(|(_, weight, _, totals)| match self.misfit(totals) {
            Some(why) => {
                failed(why, *weight);
                false
            }
            None => true,
        });
        let mut columns = match is_total {
            true => Vec::new(),
            false => {
                let parser = self.converter.parser();
                let keys = out.iter().map(|(key, ..)| parser.parse(key));
                self.converter.convert_rows(keys)?
            }
        };
        for (column, field) in columns.iter_mut().zip(self.schema.fields()) {
            // Values of dictionaries come back without them.
            if column.data_type() != field.data_type() {
                *column = cast(column, field.data_type())?;
            }
        }
        for (i, aggregate) in self.aggregates.iter().enumerate() {
            let field = self.schema.field(self.keys.len() + i);
            let totals = out.iter().map(|(_, _, rows, totals)| (*rows, &totals[i]));
            columns.push(aggregate.column(field.data_type(), totals)?);
        }
        let weights: Vec<i64> = out.iter().map(|(_, weight, ..)| *weight).collect();
        let rows = batch(&self.schema, columns, weights.len())?;
        Ok(ZSet::new(rows, weights)?)
    }

    /// End the epoch for a group: what it shows is what its rows say.
    fn settle(&mut self, touched: &Touched) -> Result<()> {
        let part = &mut self.parts[touched.part as usize];
        let group = &mut part.groups[touched.group as usize];
        group.is_touched = false;
        let rows = group.rows;
        let first = touched.group as usize * self.ordered.len();
        let values = &mut part.values[first..first + self.ordered.len()];
        let is_wrong = |values: &Values| values.is_owed() || rows == 0 && !values.is_empty();
        if rows < 0 || values.iter().any(is_wrong) {
            return exec_err!("a group has lost more rows than it had");
        }
        group.is_shown = rows > 0 || self.keys.is_empty();
        let first = touched.group as usize * self.aggregates.len();
        let totals = &mut part.totals[first..first + self.aggregates.len()];
        let aggregates = self.aggregates.iter().zip(&self.reads);
        for (total, (aggregate, reads)) in totals.iter_mut().zip(aggregates) {
            let Some(is) = reads.and_then(|column| aggregate.extreme(&values[column])) else {
                // Its totals are zero again, as all its rows went.
                if rows == 0 {
                    *total = aggregate.start();
                }
                continue;
            };
            if let Total::Extreme(was) = total
                && was.as_deref() != is
            {
                let bytes = |value: Option<&[u8]>| value.map_or(0, allocated);
                self.value_bytes = self.value_bytes + bytes(is) - bytes(was.as_deref());
                *was = is.map(Box::from);
            }
        }
        if !group.is_shown {
            part.by_key.remove(&touched.key);
            self.key_bytes -= allocated(&touched.key);
            part.free.push(touched.group);
        }
        Ok(())
    }

    /// Why a group with these totals has no row.
    fn misfit(&self, totals: &[Total]) -> Option<String> {
        let fields = self.schema.fields().iter().skip(self.keys.len());
        let mut columns = self.aggregates.iter().zip(fields).zip(totals);
        columns.find_map(|((aggregate, field), total)| aggregate.misfit(field.data_type(), total))
    }

    /// Whether two states of a group give the same row.
    fn shows_same(&self, was: i64, before: &[Total], is: i64, after: &[Total]) -> bool {
        let pairs = before.iter().zip(after);
        (self.aggregates.iter().zip(pairs)).all(|(aggregate, (before, after))| {
            match aggregate.is_rows() {
                true => was == is,
                false => aggregate.shows_same(before, after),
            }
        })
    }

    /// What groups take in memory. Counted by parts: groups are not looked at.
    pub(super) fn bytes(&self) -> usize {
        let floats: usize = self.aggregates.iter().map(Aggregate::boxed_bytes).sum();
        let parts = self.parts.iter().map(|part| {
            // As the table has it: seven eighths of its places, a byte more for each.
            let places = part.by_key.capacity() * 8 / 7;
            places * (size_of::<(Box<[u8]>, u32)>() + 1)
                + part.groups.capacity() * size_of::<Group>()
                + part.totals.capacity() * size_of::<Total>()
                + part.values.capacity() * size_of::<Values>()
                + part.groups.len() * floats
        });
        parts.sum::<usize>() + self.key_bytes + self.value_bytes
    }

    /// Groups there are.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.by_key.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a key takes that is allocated alone.
pub(super) fn allocated(key: &[u8]) -> usize {
    match key.len() {
        0 => 0,
        len => (len + ALLOCATION).next_multiple_of(16).max(32),
    }
}

//! Groups with counts and sums, changed by the change alone.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, PrimitiveArray, RecordBatch, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, Int8Type,
    Int16Type, Int32Type, Int64Type, Schema, SchemaRef, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::row::{RowConverter, SortField};
use datafusion::common::hash_utils::QualityRandomState;
use datafusion::common::{Result, exec_err, not_impl_err, plan_err};
use datafusion::physical_expr::PhysicalExpr;

use crate::store::{ZSet, canonical_floats};

/// An aggregate of a group.
#[derive(Clone, Debug)]
pub enum Aggregate {
    /// `count(*)`.
    Rows,
    /// `count(x)`.
    Count(Arc<dyn PhysicalExpr>),
    /// `sum(x)`, of whole numbers or decimals.
    Sum(Arc<dyn PhysicalExpr>),
}

/// The state is a hash table in parts, so that none is large when it grows: growing moves some thousands of groups.
const PARTS: usize = 256;

/// Groups and their aggregates. Its state is in memory, and read by nobody else.
#[derive(Debug)]
pub struct GroupBy {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    aggregates: Vec<Aggregate>,
    schema: SchemaRef,
    converter: RowConverter,
    parts: Vec<Part>,
    /// Groups that the epoch has changed, as they were.
    touched: Vec<Touched>,
}

#[derive(Debug, Default)]
struct Part {
    by_key: HashMap<Box<[u8]>, u32, QualityRandomState>,
    groups: Vec<Group>,
    /// Of each group as many as there are aggregates.
    totals: Vec<Total>,
    free: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    rows: i64,
    is_touched: bool,
}

/// A sum, and how many values are in it: without any it is NULL.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Total {
    sum: i128,
    values: i64,
}

#[derive(Debug)]
struct Touched {
    part: u32,
    group: u32,
    key: Box<[u8]>,
    rows: i64,
    totals: Box<[Total]>,
}

impl GroupBy {
    /// Keys and aggregates over columns of `input`, with the names their values get.
    ///
    /// # Errors
    /// If there is no key, or an aggregate is of a type it is not defined for here.
    pub fn new(
        input: &Schema,
        keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
        aggregates: Vec<(Aggregate, String)>,
    ) -> Result<Self> {
        if keys.is_empty() {
            return not_impl_err!("an incremental aggregate without groups");
        }
        let (mut fields, mut sort_fields) = (Vec::new(), Vec::new());
        for (key, name) in &keys {
            let data_type = key.data_type(input)?;
            sort_fields.push(SortField::new(data_type.clone()));
            fields.push(Field::new(name, data_type, key.nullable(input)?));
        }
        for (aggregate, name) in &aggregates {
            fields.push(aggregate.field(input, name)?);
        }
        Ok(Self {
            keys: keys.into_iter().map(|(key, _)| key).collect(),
            aggregates: aggregates
                .into_iter()
                .map(|(aggregate, _)| aggregate)
                .collect(),
            schema: Arc::new(Schema::new(fields)),
            converter: RowConverter::new(sort_fields)?,
            parts: (0..PARTS).map(|_| Part::default()).collect(),
            touched: Vec::new(),
        })
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
        let arguments = self.aggregates.iter().map(|aggregate| match aggregate {
            Aggregate::Rows => Ok(None),
            Aggregate::Count(expr) | Aggregate::Sum(expr) => value(expr).map(Some),
        });
        let arguments = arguments.collect::<Result<Vec<Option<ArrayRef>>>>()?;
        let keys = self.converter.convert_columns(&keys)?;
        let groups: Vec<(u32, u32)> = (keys.iter().zip(change.weights()))
            .map(|(key, weight)| self.group(key.data(), *weight))
            .collect();
        for (i, argument) in arguments.iter().enumerate() {
            let Some(argument) = argument else {
                continue;
            };
            let stride = self.aggregates.len();
            let is_sum = matches!(self.aggregates[i], Aggregate::Sum(_));
            let parts = &mut self.parts;
            let add = |row: usize, value: i128| {
                let (part, group) = groups[row];
                let total = &mut parts[part as usize].totals[group as usize * stride + i];
                let weight = change.weights()[row];
                total.sum = total.sum.wrapping_add(value.wrapping_mul(weight.into()));
                total.values += weight;
            };
            each_value(argument, is_sum, add)?;
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
                        .resize(part.groups.len() * stride, Total::default());
                    part.groups.len() as u32 - 1
                });
                part.by_key.insert(key.into(), id);
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
                rows: group.rows,
                totals: part.totals[first..first + stride].into(),
            });
        }
        group.rows += weight;
        (number as u32, id)
    }

    /// End the epoch: the change of all groups that were touched, those that ended up the same left out. A group's old
    /// row goes, its new one comes.
    ///
    /// # Errors
    /// If more rows of a group were taken away than there were: the state is no longer of use.
    pub fn finish(&mut self) -> Result<ZSet> {
        let stride = self.aggregates.len();
        let mut out: Vec<(&[u8], i64, i64, &[Total])> = Vec::new();
        let touched = std::mem::take(&mut self.touched);
        for touched in &touched {
            let part = &mut self.parts[touched.part as usize];
            let group = &mut part.groups[touched.group as usize];
            group.is_touched = false;
            let rows = group.rows;
            if rows < 0 {
                return exec_err!("a group has lost more rows than it had");
            }
            let first = touched.group as usize * stride;
            if rows == 0 {
                // Its totals are zero again, as all its rows went.
                part.totals[first..first + stride].fill(Total::default());
                part.by_key.remove(&touched.key);
                part.free.push(touched.group);
            }
        }
        let parts = &self.parts;
        for touched in &touched {
            let part = &parts[touched.part as usize];
            let first = touched.group as usize * stride;
            let (key, was) = (&*touched.key, touched.rows);
            let is = part.groups[touched.group as usize].rows;
            let totals = &part.totals[first..first + stride];
            let is_same = was > 0 && is > 0 && self.shows_same(was, &touched.totals, is, totals);
            if was > 0 && !is_same {
                out.push((key, -1, was, &touched.totals));
            }
            if is > 0 && !is_same {
                out.push((key, 1, is, totals));
            }
        }
        let parser = self.converter.parser();
        let keys = out.iter().map(|(key, ..)| parser.parse(key));
        let mut columns = self.converter.convert_rows(keys)?;
        for (column, field) in columns.iter_mut().zip(self.schema.fields()) {
            // Values of dictionaries come back without them.
            if column.data_type() != field.data_type() {
                *column = cast(column, field.data_type())?;
            }
        }
        for (i, aggregate) in self.aggregates.iter().enumerate() {
            let field = self.schema.field(self.keys.len() + i);
            let totals = out.iter().map(|(_, _, rows, totals)| (*rows, totals[i]));
            columns.push(aggregate.column(field.data_type(), totals)?);
        }
        let weights: Vec<i64> = out.iter().map(|(_, weight, ..)| *weight).collect();
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        Ok(ZSet::new(rows, weights)?)
    }

    /// Whether two states of a group give the same row.
    fn shows_same(&self, was: i64, before: &[Total], is: i64, after: &[Total]) -> bool {
        let pairs = before.iter().zip(after);
        (self.aggregates.iter().zip(pairs)).all(|(aggregate, (before, after))| match aggregate {
            Aggregate::Rows => was == is,
            Aggregate::Count(_) => before.values == after.values,
            Aggregate::Sum(_) => {
                before.sum == after.sum && (before.values > 0) == (after.values > 0)
            }
        })
    }

    /// Groups there are.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.by_key.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Aggregate {
    fn field(&self, input: &Schema, name: &str) -> Result<Field> {
        let Self::Sum(expr) = self else {
            return Ok(Field::new(name, DataType::Int64, false));
        };
        use DataType::{Decimal128, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
        let data_type = match expr.data_type(input)? {
            Int8 | Int16 | Int32 | Int64 => Int64,
            UInt8 | UInt16 | UInt32 | UInt64 => UInt64,
            // As DataFusion has it.
            Decimal128(precision, scale) => {
                Decimal128(DECIMAL128_MAX_PRECISION.min(precision + 10), scale)
            }
            other => return plan_err!("an incremental sum of {other} is not in this version"),
        };
        Ok(Field::new(name, data_type, true))
    }

    fn column(
        &self,
        data_type: &DataType,
        totals: impl Iterator<Item = (i64, Total)>,
    ) -> Result<ArrayRef> {
        let sum = |(_, total): (i64, Total)| (total.values > 0).then_some(total.sum);
        Ok(match (self, data_type) {
            (Self::Rows, _) => Arc::new(Int64Array::from_iter_values(totals.map(|(rows, _)| rows))),
            (Self::Count(_), _) => Arc::new(Int64Array::from_iter_values(
                totals.map(|(_, total)| total.values),
            )),
            // The lower half, as sums that wrap have it.
            (Self::Sum(_), DataType::Int64) => Arc::new(
                totals
                    .map(|total| Some(sum(total)? as i64))
                    .collect::<Int64Array>(),
            ),
            (Self::Sum(_), DataType::UInt64) => Arc::new(
                totals
                    .map(|total| Some(sum(total)? as u64))
                    .collect::<UInt64Array>(),
            ),
            (Self::Sum(_), _) => {
                let sums: Decimal128Array = totals.map(sum).collect();
                Arc::new(sums.with_data_type(data_type.clone()))
            }
        })
    }
}

/// Each value that is not NULL, with its row; zero if only their number matters.
fn each_value(array: &ArrayRef, is_sum: bool, mut add: impl FnMut(usize, i128)) -> Result<()> {
    if !is_sum {
        // Logical: a value of a dictionary may be NULL, and an untyped NULL is.
        let nulls = array.logical_nulls();
        let is_valid = |i: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*i));
        (0..array.len()).filter(is_valid).for_each(|i| add(i, 0));
        return Ok(());
    }
    fn of<T: ArrowPrimitiveType<Native: Into<i128>>>(
        array: &ArrayRef,
        mut add: impl FnMut(usize, i128),
    ) {
        let array: &PrimitiveArray<T> = array.as_primitive();
        let values = array.values().iter().enumerate();
        let is_valid = |(i, _): &(usize, &T::Native)| array.is_valid(*i);
        values
            .filter(is_valid)
            .for_each(|(i, value)| add(i, (*value).into()));
    }
    match array.data_type() {
        DataType::Int8 => of::<Int8Type>(array, add),
        DataType::Int16 => of::<Int16Type>(array, add),
        DataType::Int32 => of::<Int32Type>(array, add),
        DataType::Int64 => of::<Int64Type>(array, add),
        DataType::UInt8 => of::<UInt8Type>(array, add),
        DataType::UInt16 => of::<UInt16Type>(array, add),
        DataType::UInt32 => of::<UInt32Type>(array, add),
        DataType::UInt64 => of::<UInt64Type>(array, add),
        DataType::Decimal128(_, _) => of::<Decimal128Type>(array, add),
        other => return plan_err!("a sum of {other} has no value"),
    }
    Ok(())
}

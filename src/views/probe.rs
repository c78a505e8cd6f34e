//! Rows of a kept view that its indexes find: by values of columns, one by one or of a short range, and by those of rows of another.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_plan::project_schema;
use datafusion::scalar::ScalarValue;

use super::index::RowIndex;
use super::shelf::Version;
use super::table::{CopyTable, gathered};
use super::versions::with_schema;
use super::{Content, Shown};
use crate::store::Pinned;

/// Keys that are looked up; for more all rows are read.
const MOST_KEYS: usize = 10_000;
/// Values that a range has which is looked up one by one.
const MOST_OF_RANGE: i128 = 1_000;

/// Rows that an index has found.
#[derive(Debug)]
pub(super) struct Found {
    pub rows: FoundRows,
    /// The columns that they were found by.
    pub index: String,
}

#[derive(Debug)]
pub(super) enum FoundRows {
    /// Positions, each as often as its row is there.
    Table(Vec<u32>),
    Batches(Vec<(usize, Vec<u32>)>),
}

impl FoundRows {
    pub fn len(&self) -> usize {
        match self {
            Self::Table(positions) => positions.len(),
            Self::Batches(found) => found.iter().map(|(_, rows)| rows.len()).sum(),
        }
    }
}

/// An index of what is shown of a view.
#[derive(Debug)]
enum Index<'a> {
    Table(&'a Pinned, usize),
    Version(&'a Version, Arc<RowIndex>),
}

impl Content {
    /// The one on these columns, whatever their order. None: of a table, that it has none, or one that is being made; of a version,
    /// that there can be none.
    fn index(&self, columns: &[usize]) -> Result<Option<Index<'_>>> {
        Ok(match self {
            Self::Table(table) => {
                let index = table.shape().index_on(columns);
                index.map(|index| Index::Table(table, index))
            }
            Self::Rows(version) => {
                let index = version.index(columns)?;
                index.map(|index| Index::Version(version, index))
            }
        })
    }
}

impl CopyTable {
    /// The sets of columns that rows can be found by, each once: of each index all, or its first ones.
    pub fn ways(&self) -> Vec<&[usize]> {
        let mut ways: Vec<&[usize]> = Vec::new();
        for index in self.indexes.iter() {
            for way in (1..=index.len()).rev().map(|first| &index[..first]) {
                let is_same = |known: &&[usize]| {
                    known.len() == way.len() && way.iter().all(|column| known.contains(column))
                };
                if !ways.iter().any(is_same) {
                    ways.push(way);
                }
            }
        }
        ways
    }

    /// These columns of the rows, each once, in which other columns equal one of the keys, of which each has a value for each of them: by
    /// an index on just those. A key with a NULL finds nothing. None: there is no such index yet, or more rows than `most` are found.
    ///
    /// # Errors
    /// If rows cannot be read.
    pub fn probe(
        &self,
        shown: &Shown,
        by: &[usize],
        keys: &[ArrayRef],
        columns: &[usize],
        most: usize,
    ) -> Result<Option<RecordBatch>> {
        let schema = project_schema(&self.schema, Some(&columns.to_vec()))?;
        let Some(content) = &shown.content else {
            return Ok(None);
        };
        match content.index(by)? {
            Some(Index::Table(table, index)) => {
                let keys = ordered(table, index, by, keys);
                let Some(found) = table.joined_few(index, &keys, most)? else {
                    return Ok(None);
                };
                let Some(positions) = each_time(table, found.positions, most)? else {
                    return Ok(None);
                };
                Ok(Some(gathered(table, &positions, columns, &schema)?))
            }
            Some(Index::Version(version, index)) => {
                let Some(found) = version.found_by(&index, by, keys, most)? else {
                    return Ok(None);
                };
                let batches = found.into_iter().map(|(batch, rows)| {
                    let (batch, rows) = (batch.project(columns)?, UInt32Array::from(rows));
                    Ok(with_schema(&take_record_batch(&batch, &rows)?, &schema)?)
                });
                let batches = batches.collect::<Result<Vec<_>>>()?;
                Ok(Some(concat_batches(&schema, &batches)?))
            }
            None => Ok(None),
        }
    }

    /// Whether a filter may be what an index finds rows by.
    pub(super) fn may_find(&self, filter: &Expr) -> bool {
        let is_last = |name: &str| {
            self.ways().iter().any(|way| {
                let last = way.last().map(|c| self.schema.field(*c));
                last.is_some_and(|last| last.name() == name && is_counted(last.data_type()))
            })
        };
        wanted(filter).is_some() || limit(filter).is_some_and(|limit| is_last(limit.column))
    }

    /// The rows that an index finds, if the values of all its columns are given; of its first ones, if it can be had on those.
    pub(super) fn found(&self, content: &Content, filters: &[Expr]) -> Result<Option<Found>> {
        let wanted = self.wanted(filters);
        // The one with most columns leaves fewest rows.
        let mut ways = self.ways();
        ways.sort_by_key(|columns| Reverse(columns.len()));
        for columns in ways {
            let values = columns.iter().map(|column| wanted.get(column));
            let values: Option<Vec<&Vec<ScalarValue>>> = values.collect();
            let Some(keys) = values.map(|values| each(&values)).transpose()?.flatten() else {
                continue;
            };
            let (rows, columns) = match content.index(columns)? {
                Some(Index::Table(table, index)) => {
                    let keys = ordered(table, index, columns, &keys);
                    let found = table.joined(index, &keys)?;
                    let Some(positions) = each_time(table, found.positions, usize::MAX)? else {
                        continue;
                    };
                    let columns = table.shape().index_columns(index);
                    (FoundRows::Table(positions), columns)
                }
                Some(Index::Version(version, index)) => {
                    (FoundRows::Batches(version.found(&index, &keys)?), columns)
                }
                None => continue,
            };
            let names = columns
                .iter()
                .map(|&c| self.schema.field(c).name().as_str());
            return Ok(Some(Found {
                rows,
                index: names.collect::<Vec<_>>().join(", "),
            }));
        }
        Ok(None)
    }

    /// Values that filters leave of columns, in the columns' types.
    fn wanted(&self, filters: &[Expr]) -> BTreeMap<usize, Vec<ScalarValue>> {
        let mut found = BTreeMap::new();
        for Wanted { column, values } in filters.iter().filter_map(wanted) {
            let Ok(column) = self.schema.index_of(column) else {
                continue;
            };
            // A value that the column's type cannot have is for the filter above to say.
            let data_type = self.schema.field(column).data_type();
            let values = values.iter().map(|value| value.cast_to(data_type).ok());
            if let Some(values) = values.collect() {
                found.entry(column).or_insert(values);
            }
        }
        let limits: Vec<Limit> = filters.iter().filter_map(limit).collect();
        for Limit { column, .. } in &limits {
            let Ok(number) = self.schema.index_of(column) else {
                continue;
            };
            let own = limits.iter().filter(|limit| limit.column == *column);
            let own = own.map(|limit| (limit.op, limit.value));
            if !found.contains_key(&number)
                && let Some(values) = between(self.schema.field(number).data_type(), own)
            {
                found.insert(number, values);
            }
        }
        found
    }
}

/// Keys of some columns as the index of a table on them has these.
fn ordered(table: &Pinned, index: usize, by: &[usize], keys: &[ArrayRef]) -> Vec<ArrayRef> {
    let place = |column: &usize| by.iter().position(|other| other == column);
    let places = table.shape().index_columns(index).iter().filter_map(place);
    places.map(|place| keys[place].clone()).collect()
}

/// Positions, each as often as its row is there. None: that is more often than `most`.
fn each_time(table: &Pinned, mut positions: Vec<u32>, most: usize) -> Result<Option<Vec<u32>>> {
    // A value may be wanted twice.
    positions.sort_unstable();
    positions.dedup();
    let Some(counts) = table.counts(&positions)? else {
        return Ok(Some(positions));
    };
    let times = || counts.values().iter().map(|&count| count as usize);
    let total = times().try_fold(0usize, |total, times| total.checked_add(times));
    if total.is_none_or(|total| total > most) {
        return Ok(None);
    }
    let each = positions.iter().zip(times());
    let each = each.flat_map(|(&position, times)| std::iter::repeat_n(position, times));
    Ok(Some(each.collect()))
}

/// Each combination of values of several columns: a column of values for each of them. None: there are too many, or none.
///
/// # Errors
/// If values of one column have several types.
pub fn each(columns: &[&Vec<ScalarValue>]) -> Result<Option<Vec<ArrayRef>>> {
    let times = columns
        .iter()
        .try_fold(1usize, |n, c| n.checked_mul(c.len()));
    let times = times.filter(|times| (1..=MOST_KEYS).contains(times));
    let Some(times) = times.filter(|_| !columns.is_empty()) else {
        return Ok(None);
    };
    let (mut arrays, mut repeat) = (Vec::with_capacity(columns.len()), times);
    for column in columns {
        repeat /= column.len();
        let each = column
            .iter()
            .flat_map(|value| std::iter::repeat_n(value, repeat));
        let all = each.cycle().take(times).cloned();
        arrays.push(ScalarValue::iter_to_array(all)?);
    }
    Ok(Some(arrays))
}

/// Whether there are only so many values between two of a type.
pub fn is_counted(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Date32)
}

/// The values of a type that keep these limits, as `column >= value` has them. None: they are not bounded on both sides, there are too
/// many, or a limit is of another type.
pub fn between<'a>(
    data_type: &DataType,
    limits: impl Iterator<Item = (Operator, &'a ScalarValue)>,
) -> Option<Vec<ScalarValue>> {
    if !is_counted(data_type) {
        return None;
    }
    let (mut from, mut to) = (None, None);
    for (op, value) in limits {
        if value.is_null() {
            return Some(Vec::new());
        }
        let number = (value.data_type() == *data_type).then(|| counted(value))??;
        match op {
            Operator::Gt => from = from.max(Some(number + 1)),
            Operator::GtEq => from = from.max(Some(number)),
            Operator::Lt => to = Some(to.map_or(number - 1, |to: i128| to.min(number - 1))),
            Operator::LtEq => to = Some(to.map_or(number, |to: i128| to.min(number))),
            _ => return None,
        }
    }
    let (from, to) = (from?, to?);
    if to - from >= MOST_OF_RANGE {
        return None;
    }
    let value = |number: i128| match data_type {
        DataType::Date32 => i32::try_from(number)
            .ok()
            .map(|days| ScalarValue::Date32(Some(days))),
        DataType::UInt64 => u64::try_from(number)
            .ok()
            .map(|number| ScalarValue::UInt64(Some(number))),
        _ => {
            let number = i64::try_from(number).ok()?;
            ScalarValue::Int64(Some(number)).cast_to(data_type).ok()
        }
    };
    (from..=to).map(value).collect()
}

fn counted(value: &ScalarValue) -> Option<i128> {
    match value {
        ScalarValue::Date32(days) => days.map(i128::from),
        ScalarValue::UInt64(number) => number.map(i128::from),
        value => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(number) => number.map(i128::from),
            _ => None,
        },
    }
}

/// Values that a filter leaves of a column.
struct Wanted<'a> {
    column: &'a str,
    values: Vec<&'a ScalarValue>,
}

/// Of `column = value`, `column IN (…)`, and what DataFusion makes of a short list: `column = a OR column = b`.
fn wanted(filter: &Expr) -> Option<Wanted<'_>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _))
            | (Expr::Literal(value, _), Expr::Column(column)) => Some(Wanted {
                column: &column.name,
                values: vec![value],
            }),
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => {
            let (mut left, right) = (wanted(left)?, wanted(right)?);
            left.values.extend(right.values);
            (left.column == right.column).then_some(left)
        }
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = list.expr.as_ref() else {
                return None;
            };
            let values = list.list.iter().map(|value| match value {
                Expr::Literal(value, _) => Some(value),
                _ => None,
            });
            Some(Wanted {
                column: &column.name,
                values: values.collect::<Option<_>>()?,
            })
        }
        _ => None,
    }
}

/// What a filter bounds a column by.
struct Limit<'a> {
    column: &'a str,
    op: Operator,
    value: &'a ScalarValue,
}

fn limit(filter: &Expr) -> Option<Limit<'_>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return None;
    };
    let (column, op, value) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
        (Expr::Literal(value, _), Expr::Column(column)) => (column, op.swap()?, value),
        _ => return None,
    };
    let is_limit = matches!(
        op,
        Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq
    );
    is_limit.then_some(Limit {
        column: &column.name,
        op,
        value,
    })
}

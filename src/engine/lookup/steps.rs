//! What is done at each execution of a lookup: an index is probed by the values of parameters, another by the rows that were found, and
//! the few rows that there are go through what is left of the statement, in one batch.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{
    SortColumn, SortOptions, filter_record_batch, lexsort_to_indices, take, take_record_batch,
};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchemaRef, Result};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::scalar::ScalarValue;

use super::super::typed;
use crate::store::{batch, equal_keys, hashes};
use crate::views::{CopyTable, Shown, between, each};

/// Rows that a step has at most: of more the statement is executed the long way, which streams them.
const MOST_ROWS: usize = 10_000;

/// One execution.
pub struct Run<'a> {
    /// What the views have, in the order in which steps number them.
    pub shown: &'a [Arc<Shown>],
    /// Of parameters, by their names without `$`.
    pub values: &'a HashMap<String, ScalarValue>,
}

/// What rows come of. Each step gives the columns of the plan's node that it stands for.
#[derive(Debug)]
pub enum Step {
    Probe(Probe),
    /// The rows of a view that have one of the keys which a join gives it.
    Joined(Joined),
    Join(Box<Join>),
    Filter {
        input: Box<Step>,
        predicate: Computed,
    },
    Project {
        input: Box<Step>,
        columns: Vec<Computed>,
        schema: SchemaRef,
    },
    Sort {
        input: Box<Step>,
        by: Vec<(Computed, SortOptions)>,
        fetch: Option<usize>,
    },
    Limit {
        input: Box<Step>,
        skip: usize,
        fetch: Option<usize>,
    },
}

/// Rows of a view by conditions on its columns.
#[derive(Debug)]
pub struct Probe {
    /// Its number.
    pub view: usize,
    pub table: CopyTable,
    pub columns: Vec<usize>,
    pub schema: SchemaRef,
    pub conditions: Vec<Condition>,
    /// The best first.
    pub ways: Vec<Way>,
}

/// What a column has to be.
#[derive(Debug, Clone)]
pub struct Condition {
    pub column: usize,
    pub is: Is,
}

#[derive(Debug, Clone)]
pub enum Is {
    OneOf(Vec<Value>),
    Within(Vec<(Operator, Value)>),
}

#[derive(Debug, Clone)]
pub enum Value {
    Is(ScalarValue),
    /// Of the parameter of this name, without `$`.
    Of(String),
    /// Of parameters, and of no column.
    Computed(Arc<Open>),
}

/// An index that rows are found by.
#[derive(Debug)]
pub struct Way {
    pub columns: Vec<usize>,
    /// The number of the condition on each of these columns.
    pub by: Vec<usize>,
    /// What the others say.
    pub rest: Option<Computed>,
}

/// The inner side of a join.
#[derive(Debug)]
pub struct Joined {
    pub view: usize,
    pub table: CopyTable,
    pub columns: Vec<usize>,
    /// Those that the keys are of.
    pub by: Vec<usize>,
}

/// Rows with those of another view that have what they have.
#[derive(Debug)]
pub struct Join {
    pub outer: Step,
    /// Its keys are given to the step at its end.
    pub inner: Step,
    /// What is equal in rows of both.
    pub on: Vec<(Computed, Computed)>,
    /// The types of the columns that are probed.
    pub types: Vec<DataType>,
    /// Rows without another stay.
    pub is_outer: bool,
    /// The outer side is the right one.
    pub is_swapped: bool,
    pub filter: Option<Computed>,
    pub schema: SchemaRef,
}

/// An expression over the columns of a step.
#[derive(Debug)]
pub enum Computed {
    Column(usize),
    Known(Arc<dyn PhysicalExpr>),
    /// With parameters, so that it is known once they have values.
    Open(Arc<Open>),
}

#[derive(Debug)]
pub struct Open {
    pub expr: Expr,
    pub schema: DFSchemaRef,
    pub props: ExecutionProps,
}

impl Step {
    /// The rows. `keys`: those that a join gives. None: they are to be found the long way, since a value is none of its column's type, there
    /// is no index yet, or there are too many.
    pub fn rows(&self, run: &Run, keys: Option<&[ArrayRef]>) -> Result<Option<RecordBatch>> {
        match self {
            Self::Probe(probe) => probe.rows(run),
            Self::Joined(joined) => match keys {
                Some(keys) => joined.rows(run, keys),
                None => Ok(None),
            },
            Self::Join(join) => join.rows(run),
            Self::Filter { input, predicate } => {
                let Some(rows) = input.rows(run, keys)? else {
                    return Ok(None);
                };
                kept(rows, predicate, run)
            }
            Self::Project {
                input,
                columns,
                schema,
            } => {
                let Some(rows) = input.rows(run, keys)? else {
                    return Ok(None);
                };
                let computed = columns.iter().map(|column| column.of(&rows, run));
                let computed = computed.collect::<Result<Vec<_>>>()?;
                // What a parameter without a type has may be of another one than was planned with.
                let types = computed.iter().map(|column| column.data_type());
                if !types.eq(schema.fields().iter().map(|field| field.data_type())) {
                    return Ok(None);
                }
                Ok(Some(batch(schema, computed, rows.num_rows())?))
            }
            Self::Sort { input, by, fetch } => {
                let Some(rows) = input.rows(run, keys)? else {
                    return Ok(None);
                };
                let columns = by.iter().map(|(expr, options)| {
                    Ok(SortColumn {
                        values: expr.of(&rows, run)?,
                        options: Some(*options),
                    })
                });
                let columns = columns.collect::<Result<Vec<_>>>()?;
                let order = lexsort_to_indices(&columns, *fetch)?;
                Ok(Some(take_record_batch(&rows, &order)?))
            }
            Self::Limit { input, skip, fetch } => Ok(input.rows(run, keys)?.map(|rows| {
                let skip = (*skip).min(rows.num_rows());
                let left = rows.num_rows() - skip;
                rows.slice(skip, fetch.map_or(left, |fetch| fetch.min(left)))
            })),
        }
    }
}

impl Probe {
    fn rows(&self, run: &Run) -> Result<Option<RecordBatch>> {
        let mut values = Vec::with_capacity(self.conditions.len());
        for condition in &self.conditions {
            let data_type = self.table.schema.field(condition.column).data_type();
            values.push(match condition.values(data_type, run) {
                Some(values) if values.is_empty() => {
                    return Ok(Some(RecordBatch::new_empty(self.schema.clone())));
                }
                values => values,
            });
        }
        for way in &self.ways {
            let of_way = way.by.iter().map(|&condition| values[condition].as_ref());
            let Some(of_way) = of_way.collect::<Option<Vec<_>>>() else {
                continue;
            };
            let Some(keys) = each(&of_way)? else {
                continue;
            };
            let shown = &run.shown[self.view];
            let (by, columns) = (&way.columns, &self.columns);
            let found = self.table.probe(shown, by, &keys, columns, MOST_ROWS)?;
            let Some(rows) = found else {
                continue;
            };
            return match &way.rest {
                Some(rest) => kept(rows, rest, run),
                None => Ok(Some(rows)),
            };
        }
        Ok(None)
    }
}

impl Condition {
    /// Those that it leaves. None: a value is none of the column's type, or there are too many.
    fn values(&self, data_type: &DataType, run: &Run) -> Option<Vec<ScalarValue>> {
        let fitted = |value: &Value| match value {
            Value::Is(value) => typed::fitted(value, data_type),
            Value::Of(name) => typed::fitted(run.values.get(name)?, data_type),
            Value::Computed(open) => typed::fitted(&open.value(run.values)?, data_type),
        };
        match &self.is {
            Is::OneOf(values) => {
                let mut fitted = values.iter().map(fitted).collect::<Option<Vec<_>>>()?;
                // Nothing equals it.
                fitted.retain(|value| !value.is_null());
                Some(fitted)
            }
            Is::Within(limits) => {
                let values = limits.iter().map(|(_, value)| fitted(value));
                let values = values.collect::<Option<Vec<_>>>()?;
                let ops = limits.iter().map(|(op, _)| *op);
                between(data_type, ops.zip(&values))
            }
        }
    }
}

impl Joined {
    fn rows(&self, run: &Run, keys: &[ArrayRef]) -> Result<Option<RecordBatch>> {
        let shown = &run.shown[self.view];
        self.table
            .probe(shown, &self.by, keys, &self.columns, MOST_ROWS)
    }
}

impl Join {
    fn rows(&self, run: &Run) -> Result<Option<RecordBatch>> {
        let Some(outer) = self.outer.rows(run, None)? else {
            return Ok(None);
        };
        let keys = self.on.iter().map(|(own, _)| own.of(&outer, run));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let types = keys.iter().map(|key| key.data_type());
        if !types.eq(self.types.iter()) {
            return Ok(None);
        }
        let Some(inner) = self.inner.rows(run, Some(&keys))? else {
            return Ok(None);
        };
        let others = self.on.iter().map(|(_, other)| other.of(&inner, run));
        let others = others.collect::<Result<Vec<_>>>()?;
        let Some((left, right)) = self.pairs(&keys, &others, outer.num_rows())? else {
            return Ok(None);
        };
        let side = |rows: &RecordBatch, at: &UInt32Array| {
            let columns = rows.columns().iter();
            let columns = columns.map(|column| take(column, at, None));
            columns.collect::<Result<Vec<_>, _>>()
        };
        let count = left.len();
        let (outer, inner) = (side(&outer, &left)?, side(&inner, &right)?);
        let (mut columns, rest) = match self.is_swapped {
            true => (inner, outer),
            false => (outer, inner),
        };
        columns.extend(rest);
        let rows = batch(&self.schema, columns, count)?;
        match &self.filter {
            Some(filter) => kept(rows, filter, run),
            None => Ok(Some(rows)),
        }
    }

    /// The numbers of rows of the outer side, and of those of the inner one that are equal to them.
    fn pairs(
        &self,
        keys: &[ArrayRef],
        others: &[ArrayRef],
        outer: usize,
    ) -> Result<Option<(UInt32Array, UInt32Array)>> {
        let mut by_hash: HashMap<u32, Vec<u32>> = HashMap::new();
        for (row, hash) in hashes(others)?.into_iter().enumerate() {
            by_hash.entry(hash).or_default().push(row as u32);
        }
        let (mut left, mut right) = (Vec::with_capacity(outer), Vec::with_capacity(outer));
        for (row, hash) in hashes(keys)?.into_iter().enumerate() {
            let is_equal = |other: &&u32| {
                let mut pairs = keys.iter().zip(others);
                pairs.all(|(own, of)| {
                    own.is_valid(row) && equal_keys(own, row, of, **other as usize)
                })
            };
            let before = left.len();
            for other in by_hash.get(&hash).into_iter().flatten().filter(is_equal) {
                left.push(row as u32);
                right.push(Some(*other));
            }
            if self.is_outer && left.len() == before {
                left.push(row as u32);
                right.push(None);
            }
            if left.len() > MOST_ROWS {
                return Ok(None);
            }
        }
        Ok(Some((left.into(), right.into())))
    }
}

impl Computed {
    fn of(&self, rows: &RecordBatch, run: &Run) -> Result<ArrayRef> {
        let evaluated = match self {
            Self::Column(column) => return Ok(rows.column(*column).clone()),
            Self::Known(expr) => expr.evaluate(rows)?,
            Self::Open(open) => open.with(run.values)?.evaluate(rows)?,
        };
        evaluated.into_array(rows.num_rows())
    }
}

impl Open {
    /// None: it fails.
    fn value(&self, values: &HashMap<String, ScalarValue>) -> Option<ScalarValue> {
        let one = batch(self.schema.inner(), Vec::new(), 1).ok()?;
        let value = self.with(values).ok()?.evaluate(&one).ok()?;
        ScalarValue::try_from_array(&value.into_array(1).ok()?, 0).ok()
    }

    pub fn with(&self, values: &HashMap<String, ScalarValue>) -> Result<Arc<dyn PhysicalExpr>> {
        let in_place = |expr: Expr| {
            Ok(match expr {
                Expr::Placeholder(of) => match values.get(typed::bare(&of.id)) {
                    Some(value) => Transformed::yes(Expr::Literal(value.clone(), None)),
                    None => Transformed::no(Expr::Placeholder(of)),
                },
                expr => Transformed::no(expr),
            })
        };
        let expr = self.expr.clone().transform(in_place).data()?;
        let planning = PhysicalPlanningContext::default();
        create_physical_expr(&expr, &self.schema, &self.props, &planning)
    }
}

/// The rows for which a condition holds. None: it is none.
fn kept(rows: RecordBatch, predicate: &Computed, run: &Run) -> Result<Option<RecordBatch>> {
    let holds = predicate.of(&rows, run)?;
    let Some(holds) = holds.as_boolean_opt() else {
        return Ok(None);
    };
    Ok(Some(filter_record_batch(&rows, holds)?))
}

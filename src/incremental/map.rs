//! Rows that satisfy a predicate, as values of expressions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::{filter, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, plan_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use super::errors::message;
use crate::store::{ZSet, batch};

/// Filter and projection. Weights stay as they are: rows that become equal are not added up.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    predicate: Option<Arc<dyn PhysicalExpr>>,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

/// A column by number.
pub(super) fn column(schema: &Schema, i: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema.field(i).name(), i))
}

impl Map {
    /// Expressions over columns of `input`, with the names their values get.
    ///
    /// # Errors
    /// If the predicate is not a condition, or an expression does not fit the input.
    pub fn new(
        input: &Schema,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        exprs: Vec<(Arc<dyn PhysicalExpr>, String)>,
    ) -> Result<Self> {
        if let Some(predicate) = &predicate
            && predicate.data_type(input)? != DataType::Boolean
        {
            return plan_err!("a filter is a condition");
        }
        let field = |(expr, name): &(Arc<dyn PhysicalExpr>, String)| {
            Ok(Field::new(
                name,
                expr.data_type(input)?,
                expr.nullable(input)?,
            ))
        };
        let fields = exprs.iter().map(field).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            predicate,
            exprs: exprs.into_iter().map(|(expr, _)| expr).collect(),
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// Some columns of `input`.
    pub(super) fn columns(
        input: &Schema,
        columns: impl IntoIterator<Item = usize>,
    ) -> Result<Self> {
        let columns = columns.into_iter();
        let named = columns.map(|i| (column(input, i), input.field(i).name().clone()));
        Self::new(input, None, named.collect())
    }

    /// The rows that satisfy a predicate, as they are.
    pub(super) fn filter(input: &Schema, predicate: Arc<dyn PhysicalExpr>) -> Result<Self> {
        let mut map = Self::columns(input, 0..input.fields().len())?;
        if predicate.data_type(input)? != DataType::Boolean {
            return plan_err!("a filter is a condition");
        }
        map.predicate = Some(predicate);
        Ok(map)
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The input's column that a column is, unless it is computed.
    pub(super) fn origin(&self, column: usize) -> Option<usize> {
        let column = self.exprs[column].downcast_ref::<Column>()?;
        Some(column.index())
    }

    /// Whether it gives its input's columns, in their order.
    pub(super) fn is_filter(&self, input: &Schema) -> bool {
        self.exprs.len() == input.fields().len()
            && (0..self.exprs.len()).all(|i| self.origin(i) == Some(i))
    }

    /// This one's filter, where it is no more, and then `next`.
    pub(super) fn then(&self, next: &Self) -> Option<Self> {
        match next.predicate {
            Some(_) => None,
            None => Some(Self {
                predicate: self.predicate.clone(),
                ..next.clone()
            }),
        }
    }

    /// The input's columns that it reads.
    pub(super) fn reads(&self) -> Result<Vec<usize>> {
        let mut columns = Vec::new();
        for expr in self.exprs.iter().chain(&self.predicate) {
            expr.apply(|expr| {
                columns.extend(expr.downcast_ref::<Column>().map(Column::index));
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        columns.sort_unstable();
        columns.dedup();
        Ok(columns)
    }

    /// The same with the input's columns elsewhere.
    pub(super) fn moved(&self, to: &dyn Fn(usize) -> usize) -> Result<Self> {
        let moved = |expr: &Arc<dyn PhysicalExpr>| {
            let moved = expr.clone().transform(|expr| {
                Ok(match expr.downcast_ref::<Column>() {
                    Some(column) => Transformed::yes(Arc::new(Column::new(
                        column.name(),
                        to(column.index()),
                    )) as _),
                    None => Transformed::no(expr),
                })
            });
            moved.map(|moved| moved.data)
        };
        Ok(Self {
            predicate: self.predicate.as_ref().map(moved).transpose()?,
            exprs: self.exprs.iter().map(moved).collect::<Result<_>>()?,
            schema: self.schema.clone(),
        })
    }

    /// Only some of its columns.
    pub(super) fn only(&self, columns: &[usize]) -> Result<Self> {
        let exprs = columns.iter().map(|&i| self.exprs[i].clone());
        Ok(Self {
            predicate: self.predicate.clone(),
            exprs: exprs.collect(),
            schema: Arc::new(self.schema.project(columns)?),
        })
    }

    /// The same of an input that has more columns: those of `before`, then the `width` of this map's own input, then those
    /// of `after`. The others stay as they are.
    pub(super) fn between(&self, before: &Schema, width: usize, after: &Schema) -> Result<Self> {
        let first = before.fields().len();
        let inner = self.moved(&|i| i + first)?;
        let mut exprs: Vec<_> = (0..first).map(|i| column(before, i)).collect();
        exprs.extend(inner.exprs);
        let behind = after.fields().iter().zip(first + width..);
        exprs.extend(behind.map(|(field, i)| Arc::new(Column::new(field.name(), i)) as _));
        let fields = [before.fields(), self.schema.fields(), after.fields()];
        let fields: Vec<_> = fields.into_iter().flatten().cloned().collect();
        Ok(Self {
            predicate: inner.predicate,
            exprs,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// # Errors
    /// Those of the expressions, on the rows that are there: a projection is computed only of rows that the filter
    /// keeps.
    pub fn apply(&self, zset: &ZSet) -> Result<ZSet> {
        let filtered;
        let kept = match &self.predicate {
            None => zset,
            Some(predicate) => {
                filtered = keep(zset, predicate.as_ref())?;
                filtered.as_ref().unwrap_or(zset)
            }
        };
        let rows = kept.rows();
        let values = self.exprs.iter();
        let values = values.map(|expr| expr.evaluate(rows)?.into_array(rows.num_rows()));
        let values = values.collect::<Result<Vec<ArrayRef>>>()?;
        let rows = batch(&self.schema, values, kept.len())?;
        Ok(ZSet::new(rows, kept.weights_buffer().clone())?)
    }

    /// The same without the rows for which an expression fails: they go to `failed`, as [`each_half`] has it.
    pub(super) fn apply_each(
        &self,
        zset: &ZSet,
        failed: &mut dyn FnMut(String, i64),
    ) -> Result<ZSet> {
        each_half(zset, &self.schema, &|zset| self.apply(zset), failed)
    }
}

/// What is made of all rows but those for which it fails: these go to `failed`, with their weights. A row fails if it does
/// alone; so what fails for many at once is tried for each half.
pub(super) fn each_half(
    zset: &ZSet,
    schema: &SchemaRef,
    apply: &dyn Fn(&ZSet) -> Result<ZSet>,
    failed: &mut dyn FnMut(String, i64),
) -> Result<ZSet> {
    let e = match apply(zset) {
        Ok(applied) => return Ok(applied),
        Err(e) => message(e)?,
    };
    let half = zset.len() / 2;
    if half == 0 {
        zset.weights()
            .iter()
            .for_each(|&weight| failed(e.clone(), weight));
        return Ok(ZSet::empty(schema.clone()));
    }
    let first = each_half(&zset.slice(0, half), schema, apply, failed)?;
    let second = each_half(&zset.slice(half, zset.len() - half), schema, apply, failed)?;
    Ok(ZSet::concat(schema, &[first, second])?)
}

/// None: all rows.
fn keep(zset: &ZSet, predicate: &dyn PhysicalExpr) -> Result<Option<ZSet>> {
    let rows = zset.rows();
    let mask = predicate.evaluate(rows)?.into_array(rows.num_rows())?;
    let mask: &BooleanArray = mask.as_boolean();
    if mask.true_count() == rows.num_rows() {
        return Ok(None);
    }
    let without_nulls;
    let mask = match mask.null_count() {
        0 => mask,
        _ => {
            without_nulls = prep_null_mask_filter(mask);
            &without_nulls
        }
    };
    let weights = Int64Array::new(zset.weights_buffer().clone(), None);
    let weights = filter(&weights, mask)?;
    let weights = weights.as_primitive::<Int64Type>().values().clone();
    let kept = match rows.num_columns() {
        0 => batch(&rows.schema(), Vec::new(), weights.len())?,
        _ => filter_record_batch(rows, mask)?,
    };
    Ok(Some(ZSet::new(kept, weights)?))
}

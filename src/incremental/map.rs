//! Rows that satisfy a predicate, as values of expressions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{filter, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::{Result, plan_err};
use datafusion::physical_expr::PhysicalExpr;

use crate::store::ZSet;

/// Filter and projection. Weights stay as they are: rows that become equal are not added up.
#[derive(Debug)]
pub struct Map {
    predicate: Option<Arc<dyn PhysicalExpr>>,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
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

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
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
        let rows = RecordBatch::try_new(self.schema.clone(), values)?;
        Ok(ZSet::new(rows, kept.weights_buffer().clone())?)
    }
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
    Ok(Some(ZSet::new(filter_record_batch(rows, mask)?, weights)?))
}

//! Of a Parquet file whose rows are looked for by keys (a join's other side) the keys' columns can be read first, and of
//! the others only the rows that are left. That pays where few are: rows that are picked one by one take longer than all
//! of a page. How many are left is known when the file is opened, since only then the other side has been read.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileSource, ParquetSource};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr,
};
use datafusion::physical_expr::utils::conjunction;
use datafusion::physical_expr::{ScalarFunctionExpr, split_conjunction};

/// Up to this part of a column's values is few.
const FEW: f64 = 0.05;

/// A scan that is told keys while the query runs.
#[derive(Debug, Clone)]
pub struct Keyed {
    filters: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Keyed {
    /// With the same scan that reads the keys' columns first. None: none will be told.
    pub fn of(source: &dyn FileSource) -> Option<(Self, ParquetSource)> {
        let parquet = source.downcast_ref::<ParquetSource>()?;
        let predicate = source.filter()?;
        let conjuncts = split_conjunction(&predicate).into_iter().cloned();
        let (late, early): (Vec<_>, Vec<_>) =
            conjuncts.partition(|c| c.is::<DynamicFilterPhysicalExpr>());
        if late.is_empty() {
            return None;
        }
        let filters = conjunction(late.iter().cloned().chain(early));
        let keyed = Self {
            filters: late,
            schema: source.table_schema().table_schema().clone(),
        };
        let first = parquet.with_predicate(filters).with_pushdown_filters(true);
        Some((keyed, first))
    }

    /// Whether by now few of the file's rows are left.
    pub fn leaves_few(&self, file: &PartitionedFile) -> Result<bool> {
        let Some(statistics) = &file.statistics else {
            return Ok(false);
        };
        for filter in &self.filters {
            if let Some(keys) = Keys::of(filter)?
                && let Some(values) = self.values(&keys.columns, statistics)
                && (keys.count as f64) <= values * FEW
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many values the column has that has most, as far as the file tells.
    fn values(&self, columns: &[String], statistics: &Statistics) -> Option<f64> {
        let rows = match statistics.num_rows {
            Precision::Exact(rows) | Precision::Inexact(rows) => rows as f64,
            Precision::Absent => return None,
        };
        let values = columns.iter().filter_map(|name| {
            let column = &statistics.column_statistics[self.schema.index_of(name).ok()?];
            let least = whole(column.min_value.get_value()?)?;
            let most = whole(column.max_value.get_value()?)?;
            Some(most.saturating_sub(least).saturating_add(1) as f64)
        });
        values.reduce(f64::max).map(|values| values.min(rows))
    }
}

/// The fewest keys of which rows must have one.
struct Keys {
    columns: Vec<String>,
    count: usize,
}

impl Keys {
    /// A filter that first tells by a hash which of several lists is a row's costs more than it spares.
    fn of(filter: &Arc<dyn PhysicalExpr>) -> Result<Option<Self>> {
        if let Some(dynamic) = filter.downcast_ref::<DynamicFilterPhysicalExpr>() {
            return Self::of(&dynamic.current()?);
        }
        if let Some(binary) = filter.downcast_ref::<BinaryExpr>()
            && *binary.op() == Operator::And
        {
            let both = [Self::of(binary.left())?, Self::of(binary.right())?];
            return Ok(both.into_iter().flatten().min_by_key(|keys| keys.count));
        }
        let list = filter.downcast_ref::<InListExpr>();
        Ok(list.filter(|list| !list.negated()).and_then(|list| {
            Some(Self {
                columns: columns(list.expr())?,
                count: list.list().len(),
            })
        }))
    }
}

/// The columns of a list's keys: one, or several in a struct.
fn columns(keys: &Arc<dyn PhysicalExpr>) -> Option<Vec<String>> {
    if let Some(cast) = keys.downcast_ref::<CastExpr>() {
        return columns(cast.expr());
    }
    if let Some(column) = keys.downcast_ref::<Column>() {
        return Some(vec![column.name().to_string()]);
    }
    let several = keys.downcast_ref::<ScalarFunctionExpr>()?;
    let parts = several.args().iter().map(columns);
    let parts: Option<Vec<_>> = parts.collect();
    Some(parts?.concat()).filter(|_| several.name() == "struct")
}

/// A value of a type that has so many values between two.
fn whole(value: &ScalarValue) -> Option<i128> {
    Some(match value {
        ScalarValue::Int8(value) => (*value)?.into(),
        ScalarValue::Int16(value) => (*value)?.into(),
        ScalarValue::Int32(value) | ScalarValue::Date32(value) => (*value)?.into(),
        ScalarValue::Int64(value) => (*value)?.into(),
        ScalarValue::UInt8(value) => (*value)?.into(),
        ScalarValue::UInt16(value) => (*value)?.into(),
        ScalarValue::UInt32(value) => (*value)?.into(),
        ScalarValue::UInt64(value) => (*value)?.into(),
        ScalarValue::Decimal128(value, _, 0) => (*value)?,
        _ => return None,
    })
}

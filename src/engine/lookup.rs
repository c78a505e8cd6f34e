//! The short ways of prepared statements, which have nothing to plan when they are executed. One that reads a kept view by the
//! values of a key probes an index, and the rows found are the answer, in one batch. One that a source answers is a fragment,
//! in which the values are put.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

use super::query::Planned;
use super::typed;
use crate::error::{Error, Result};
use crate::federation::Template;
use crate::views::{CopyTable, Shown};

/// The same of a statement that one source answers, found when it is executed for the second time: many are prepared for one
/// execution.
#[derive(Debug, Default)]
pub(super) struct Generic {
    is_executed: AtomicBool,
    template: OnceLock<Option<Template>>,
}

impl Generic {
    /// None: it is planned for each execution.
    pub fn template(&self, planned: &Planned) -> Option<&Template> {
        if !self.is_executed.swap(true, Ordering::Relaxed) {
            return None;
        }
        // What cannot be planned with open parameters is said, if at all, of their values.
        let template = || planned.template().ok().flatten();
        self.template.get_or_init(template).as_ref()
    }
}

/// `SELECT columns FROM view WHERE key = $1 AND …`: as many conditions as an index of the view has columns.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    view: CopyTable,
    /// A column, and what it has to be.
    conditions: Vec<(usize, Value)>,
    /// Those that are asked for.
    columns: Vec<usize>,
    schema: SchemaRef,
}

#[derive(Debug, Clone)]
enum Value {
    Is(ScalarValue),
    /// Of the parameter of this name, without `$`.
    Of(String),
}

impl Lookup {
    /// None: it is no such statement.
    pub fn of(planned: &Planned) -> Option<Self> {
        let LogicalPlan::Projection(projection) = &planned.plan else {
            return None;
        };
        let LogicalPlan::Filter(filter) = projection.input.as_ref() else {
            return None;
        };
        let mut input = filter.input.as_ref();
        while let LogicalPlan::SubqueryAlias(alias) = input {
            input = alias.input.as_ref();
        }
        let LogicalPlan::TableScan(scan) = input else {
            return None;
        };
        let provider = source_as_provider(&scan.source).ok()?;
        let mut view = provider.downcast_ref::<CopyTable>()?.clone();
        if view.is_fixed || scan.fetch.is_some() || !scan.filters.is_empty() {
            return None;
        }
        // What is shown of it is found anew at each execution.
        view.shown = None;
        let named = |expr: &Expr| match expr {
            Expr::Column(column) => view.schema.index_of(&column.name).ok(),
            _ => None,
        };
        let mut conditions = Vec::new();
        let mut left = vec![&filter.predicate];
        while let Some(condition) = left.pop() {
            let Expr::BinaryExpr(BinaryExpr {
                left: a,
                op,
                right: b,
            }) = condition
            else {
                return None;
            };
            match op {
                Operator::And => left.extend([a.as_ref(), b.as_ref()]),
                Operator::Eq => {
                    let (column, value) = match (named(a), named(b)) {
                        (Some(column), None) => (column, b),
                        (None, Some(column)) => (column, a),
                        _ => return None,
                    };
                    let is_new = conditions.iter().all(|(other, _)| *other != column);
                    if !is_new || !is_told_by_bytes(view.schema.field(column).data_type()) {
                        return None;
                    }
                    conditions.push((column, constant(value)?));
                }
                _ => return None,
            }
        }
        // With more conditions than the columns of an index, what is found would have to be looked through.
        let is_index = |index: &Vec<usize>| {
            index.len() == conditions.len()
                && index
                    .iter()
                    .all(|c| conditions.iter().any(|(other, _)| other == c))
        };
        if !view.indexes.iter().any(is_index) {
            return None;
        }
        let columns = projection.expr.iter().map(|expr| match expr {
            Expr::Alias(alias) => named(&alias.expr),
            expr => named(expr),
        });
        Some(Self {
            columns: columns.collect::<Option<_>>()?,
            schema: Arc::clone(planned.plan.schema().inner()),
            view,
            conditions,
        })
    }

    /// What has to be readable.
    pub fn view(&self) -> &CopyTable {
        &self.view
    }

    /// The rows. None: they are to be found the long way, since a value is none of its column's type, or the index is still being
    /// made.
    ///
    /// # Errors
    /// If the view cannot be read.
    pub fn rows(
        &self,
        shown: &Shown,
        values: &HashMap<String, ScalarValue>,
    ) -> Result<Option<RecordBatch>> {
        let mut keys = Vec::with_capacity(self.conditions.len());
        for (column, value) in &self.conditions {
            let value = match value {
                Value::Is(value) => value,
                Value::Of(name) => match values.get(name) {
                    Some(value) => value,
                    None => return Ok(None),
                },
            };
            if value.is_null() {
                // Nothing equals it.
                return Ok(Some(RecordBatch::new_empty(self.schema.clone())));
            }
            match typed::fitted(value, self.view.schema.field(*column).data_type()) {
                Some(value) => keys.push((*column, value)),
                None => return Ok(None),
            }
        }
        let found = self.view.pick(shown, &keys, &self.columns);
        let Some(rows) = found.map_err(Error::from)? else {
            return Ok(None);
        };
        let rows = rows.with_schema(self.schema.clone());
        Ok(rows.ok())
    }
}

/// Whether two values of a type are equal just where their bytes are: floats are not (`0.0 = -0.0`), and what has parts may have
/// floats in it.
fn is_told_by_bytes(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_string()
        || data_type.is_decimal()
        || data_type.is_temporal()
        || matches!(data_type, DataType::Boolean)
}

fn constant(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Literal(value, _) => Some(Value::Is(value.clone())),
        Expr::Placeholder(placeholder) => Some(Value::Of(
            placeholder.id.trim_start_matches('$').to_string(),
        )),
        _ => None,
    }
}

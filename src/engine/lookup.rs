//! The short ways of prepared statements, which have nothing to plan when they are executed. One that reads a kept view by the
//! values of a key probes an index, and the rows found are the answer, in one batch. One that a source answers is a fragment,
//! in which the values are put.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::RecordBatch;
#[cfg(feature = "serve")]
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
#[cfg(feature = "serve")]
use datafusion::common::DataFusionError;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

#[cfg(feature = "serve")]
use super::answer::{Answer, batch_answer, settled};
#[cfg(feature = "serve")]
use super::panics::caught;
#[cfg(feature = "serve")]
use super::prepared::Prepared;
use super::query::Planned;
#[cfg(feature = "serve")]
use super::session::Session;
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

/// `SELECT columns FROM view WHERE key = $1 AND other IN ($2, $3) …`: conditions on the columns of an index of the view, or on the first of
/// them.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    view: CopyTable,
    /// A column, and what it has to be one of.
    conditions: Vec<(usize, Vec<Value>)>,
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
        let mut conditions: Vec<(usize, Vec<Value>)> = Vec::new();
        let mut left = vec![&filter.predicate];
        while let Some(condition) = left.pop() {
            let (column, values) = match condition {
                Expr::BinaryExpr(BinaryExpr {
                    left: a,
                    op: Operator::And,
                    right: b,
                }) => {
                    left.extend([a.as_ref(), b.as_ref()]);
                    continue;
                }
                Expr::BinaryExpr(BinaryExpr {
                    left: a,
                    op: Operator::Eq,
                    right: b,
                }) => match (named(a), named(b)) {
                    (Some(column), None) => (column, vec![constant(b)?]),
                    (None, Some(column)) => (column, vec![constant(a)?]),
                    _ => return None,
                },
                Expr::InList(list) if !list.negated => {
                    let values = list.list.iter().map(constant);
                    (named(&list.expr)?, values.collect::<Option<_>>()?)
                }
                _ => return None,
            };
            let is_new = conditions.iter().all(|(other, _)| *other != column);
            if !is_new || !is_told_by_bytes(view.schema.field(column).data_type()) {
                return None;
            }
            conditions.push((column, values));
        }
        // With more conditions than the columns of an index, what is found would have to be looked through.
        let is_index = |index: &Vec<usize>| {
            let first = index.get(..conditions.len());
            let is_one = |column| conditions.iter().any(|(other, _)| other == column);
            first.is_some_and(|first| first.iter().all(is_one))
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
        for (column, wanted) in &self.conditions {
            let mut fitted = Vec::with_capacity(wanted.len());
            for value in wanted {
                let value = match value {
                    Value::Is(value) => value,
                    Value::Of(name) => match values.get(name) {
                        Some(value) => value,
                        None => return Ok(None),
                    },
                };
                // Nothing equals it.
                if value.is_null() {
                    continue;
                }
                match typed::fitted(value, self.view.schema.field(*column).data_type()) {
                    Some(value) => fitted.push(value),
                    None => return Ok(None),
                }
            }
            if fitted.is_empty() {
                return Ok(Some(RecordBatch::new_empty(self.schema.clone())));
            }
            keys.push((*column, fitted));
        }
        let found = self.view.pick(shown, &keys, &self.columns);
        let Some(rows) = found.map_err(Error::from)? else {
            return Ok(None);
        };
        let rows = rows.with_schema(self.schema.clone());
        Ok(rows.ok())
    }
}

#[cfg(feature = "serve")]
impl Session {
    /// Whether it would be executed as it was planned: nothing has been defined since, and the settings are the same.
    pub(crate) fn is_current(&self, prepared: &Prepared) -> bool {
        let names = self.names(self.settings());
        let planned = prepared.planned.as_ref();
        planned.is_none_or(|planned| names.are_those_of(planned))
    }

    /// Execute a prepared lookup once for each of these values, as one statement: its answer is the rows of all, as of one moment.
    /// None: it does not go the short way, and nothing was done.
    pub(crate) async fn look_up_each(
        &self,
        prepared: &Prepared,
        values: &[Vec<ScalarValue>],
    ) -> Result<Option<Answer>> {
        let Some(lookup) = prepared.lookup.as_ref() else {
            return Ok(None);
        };
        if !self.is_current(prepared) {
            return Ok(None);
        }
        let running = self.inner.log.begin(&prepared.sql);
        let found = caught(Box::pin(async {
            self.admits(&prepared.statement.statement)?;
            let settings = self.settings();
            let names = self.names(settings.clone());
            let Some((shown, freshness)) = self.found(lookup, &names).await? else {
                return Ok(None);
            };
            let mut found = Vec::with_capacity(values.len());
            for values in values {
                let names = prepared.parameters.iter();
                let names = names.map(|(name, _)| name.trim_start_matches('$').to_string());
                let given = names.zip(values.iter().cloned()).collect();
                match lookup.rows(&shown, &given)? {
                    Some(rows) if rows.num_rows() > 0 => found.push(rows),
                    Some(_) => {}
                    None => return Ok(None),
                }
            }
            let rows = concat_batches(&prepared.schema, &found).map_err(DataFusionError::from)?;
            Ok(Some(self.told(batch_answer(rows), freshness, &settings)))
        }));
        match self.noted(found.await) {
            Ok(None) => {
                running.finished();
                Ok(None)
            }
            Ok(Some(answer)) => settled(Ok(answer), running).map(Some),
            Err(e) => settled(Err(e), running).map(Some),
        }
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

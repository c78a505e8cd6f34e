//! The short ways of prepared statements, which have nothing to plan when they are executed. One that reads kept views by the
//! values of keys probes indexes, and the rows found are the answer, in one batch. One that a source answers is a fragment,
//! in which the values are put.

mod compile;
mod joins;
mod steps;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::RecordBatch;
#[cfg(feature = "serve")]
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
#[cfg(feature = "serve")]
use datafusion::common::DataFusionError;
use datafusion::scalar::ScalarValue;

use self::compile::Compiler;
use self::steps::{Run, Step};

#[cfg(feature = "serve")]
use super::answer::{Answer, batch_answer, deadline, within};
#[cfg(feature = "serve")]
use super::names::Names;
#[cfg(feature = "serve")]
use super::panics::caught;
#[cfg(feature = "serve")]
use super::prepared::Prepared;
use super::query::Planned;
#[cfg(feature = "serve")]
use super::session::Session;
#[cfg(feature = "serve")]
use super::typed;
#[cfg(feature = "serve")]
use crate::error::Result;
use crate::federation::Template;
use crate::store::batch;
use crate::views::{CopyTable, Shown};

/// Keys of one statement that are looked up before others have their turn.
#[cfg(feature = "serve")]
const AT_A_TIME: usize = 64;
/// Rows that all of them have at most, for an answer in one batch.
#[cfg(feature = "serve")]
const MOST_TOGETHER: usize = 100_000;

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

/// A statement that reads kept views by values of keys: `SELECT … FROM view WHERE key = $1 AND other IN ($2, $3) …`, and with them the
/// rows of other views by keys that those have.
#[derive(Debug)]
pub(super) struct Lookup {
    step: Step,
    views: Vec<CopyTable>,
    schema: SchemaRef,
}

impl Lookup {
    /// None: it is no such statement.
    pub fn of(planned: &Planned) -> Option<Self> {
        let (plan, state) = planned.of_copies().ok()??;
        let mut compiler = Compiler {
            views: Vec::new(),
            state: &state,
        };
        let step = compiler.step(&plan)?;
        let schema = Arc::clone(planned.plan.schema().inner());
        let types = |schema: &SchemaRef| -> Vec<DataType> {
            let fields = schema.fields().iter();
            fields.map(|field| field.data_type().clone()).collect()
        };
        (types(plan.schema().inner()) == types(&schema)).then_some(Self {
            step,
            views: compiler.views,
            schema,
        })
    }

    /// What has to be readable.
    pub fn views(&self) -> &[CopyTable] {
        &self.views
    }

    /// The rows. None: they are to be found the long way, since a value is none of its column's type, an index is still being made, or
    /// there are many; or something fails, which may be of rows that the long way does not look at.
    pub fn rows(
        &self,
        shown: &[Arc<Shown>],
        values: &HashMap<String, ScalarValue>,
    ) -> Option<RecordBatch> {
        let run = Run { shown, values };
        let rows = self.step.rows(&run, None).ok()??;
        batch(&self.schema, rows.columns().to_vec(), rows.num_rows()).ok()
    }
}

#[cfg(feature = "serve")]
impl Session {
    /// Whether it would be executed as it was planned: nothing has been defined since, and the settings are the same.
    pub(crate) fn is_current(&self, prepared: &Prepared) -> bool {
        is_as_planned(prepared, &self.names(self.settings()))
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
        let settings = self.settings();
        let names = self.names(settings.clone());
        if !is_as_planned(prepared, &names) {
            return Ok(None);
        }
        let running = self.begin(&prepared.sql);
        let found = caught(Box::pin(async {
            running.begins()?;
            let rows: Vec<&[ScalarValue]> = values.iter().map(Vec::as_slice).collect();
            self.executes(prepared, &rows, &running).await?;
            self.admits(&prepared.statement.statement)?;
            if let (Some(audited), Some(planned)) = (running.audited(), &prepared.planned) {
                audited.touches(&planned.names.caller.touched);
            }
            let deadline = deadline(&settings);
            let Some((shown, freshness)) = self.found(lookup, &names, deadline).await? else {
                return Ok(None);
            };
            let each = async {
                let (mut found, mut rows) = (Vec::with_capacity(values.len()), 0);
                for values in values {
                    let (given, others) = typed::fit(&prepared.parameters, values)?;
                    let of_one = lookup.rows(&shown, &given);
                    let Some(of_one) = of_one.filter(|_| others.is_empty()) else {
                        return Ok(None);
                    };
                    rows += of_one.num_rows();
                    if rows > MOST_TOGETHER {
                        return Ok(None);
                    }
                    found.push(of_one);
                    // Others have their turn, and the deadline counts.
                    if found.len() % AT_A_TIME == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(Some(found))
            };
            let Some(found) = within(&settings, deadline, each).await? else {
                return Ok(None);
            };
            let rows = concat_batches(&prepared.schema, &found).map_err(DataFusionError::from)?;
            Ok(Some(self.told(batch_answer(rows), freshness, &settings)))
        }));
        match found.await {
            Ok(None) => {
                running.passed_on();
                Ok(None)
            }
            Ok(Some(answer)) => self.settled(Ok(answer), running).map(Some),
            Err(e) => self.settled(Err(e), running).map(Some),
        }
    }
}

#[cfg(feature = "serve")]
fn is_as_planned(prepared: &Prepared, names: &Names) -> bool {
    let planned = prepared.planned.as_ref();
    planned.is_none_or(|planned| names.are_those_of(planned))
}

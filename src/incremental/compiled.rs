//! A query understood, once.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::ResolvedTableReference;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;

use super::build::Builder;
use super::compile::Compiler;
use super::dataflow::Dataflow;
use super::plan::Plan;
use super::whole::Kitchen;
use crate::store::Shape;

/// A query understood: what it reads, and how it is kept. It does not depend on what tables hold, and is cheap to make
/// again.
#[derive(Debug)]
pub struct Compiled {
    plan: Plan,
    inputs: Vec<Input>,
    schema: SchemaRef,
    state: SessionState,
}

/// A table that a view reads: which columns, and by which of them its rows have to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub table: ResolvedTableReference,
    pub columns: Vec<String>,
    pub indexes: Vec<Vec<String>>,
}

/// Why a query cannot be kept by its changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operator} cannot be kept up to date by changes: {reason}")]
pub struct Refused {
    /// As the user knows it.
    pub operator: String,
    pub reason: String,
}

impl From<DataFusionError> for Refused {
    fn from(e: DataFusionError) -> Self {
        Self {
            operator: "the query".into(),
            reason: crate::error::Error::from(e).to_string(),
        }
    }
}

impl Compiled {
    /// Understand a plan: optimized, as it would be given to DataFusion's planner, by a state that has not folded `now()`
    /// and its like.
    ///
    /// # Errors
    /// If some of it cannot be kept.
    pub fn new(plan: &LogicalPlan, state: &SessionState) -> Result<Self, Refused> {
        let mut compiler = Compiler::new(state);
        let compiled = compiler.query(plan)?;
        compiled.check(&Kitchen::new(state)?)?;
        Ok(Self {
            inputs: compiler.inputs(&compiled),
            plan: compiled,
            schema: plan.schema().inner().clone(),
            state: state.clone(),
        })
    }

    /// The tables it reads, each once.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Whether it changes as time passes, though no table does.
    pub fn is_timed(&self) -> bool {
        self.plan.is_timed()
    }

    /// The view's columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The view's dataflow, of nothing yet: its first step is given what tables hold. `shapes` are those of the tables of
    /// [`Compiled::inputs`], as they are kept: with more columns perhaps, and indexes in any order.
    ///
    /// # Errors
    /// If a table has not what was asked for.
    pub fn start(&self, shapes: &[Arc<Shape>]) -> Result<Dataflow> {
        let kitchen = Kitchen::new(&self.state)?;
        let builder = Builder {
            inputs: &self.inputs,
            shapes,
            kitchen: &kitchen,
            reads: RefCell::new(vec![0; self.inputs.len()]),
            operators: RefCell::default(),
            relations: RefCell::default(),
        };
        builder.check()?;
        let root = builder.build(&self.plan)?;
        let reads = builder.reads.into_inner();
        Ok(Dataflow::new(root, self.schema.clone(), reads))
    }
}

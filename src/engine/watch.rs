//! What a view reads that is computed when it is read: tables whose sources tell what changes, or why that is not so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as PlanResult, TableReference};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, Volatility};

use super::kept::{flow_input, identified};
use super::names::Names;
use super::room::Room;
use crate::catalog::{CATALOG, ObjectId, ViewDefinition};
use crate::error::{Error, Result};
use crate::incremental::Input;
use crate::replication::Wanted;
use crate::views::{Conditions, FlowInput, Watched};

/// The tables, with the columns that are read of each, and what its rows have to meet for that.
///
/// # Errors
/// Why nobody can tell that what the view would be has changed.
pub(super) async fn tables(names: &Names, view: &ViewDefinition) -> Result<Vec<Watched>, Arc<str>> {
    let found = find(names, view).await;
    found.map_err(|e| match e {
        // Its way out is for a view that is kept by change.
        Error::Invalid { message, .. } => message.into(),
        other => other.to_string().into(),
    })
}

async fn find(names: &Names, view: &ViewDefinition) -> Result<Vec<Watched>> {
    let planned = identified(names, view).await?;
    let (plan, state) = planned.kept()?;
    let read = Room::for_plan(&plan)?.with(|| Read::of(&plan, &state))?;
    if let Some(function) = read.fickle {
        return Err(Error::invalid(format!(
            "{function}() may have another value while no table changes"
        )));
    }
    let mut tables = Vec::new();
    for (table, (columns, conditions)) in read.tables {
        let input = Input {
            table: table.clone().resolve("", ""),
            columns: columns.into_iter().collect(),
            indexes: Vec::new(),
        };
        let source = &*input.table.catalog;
        if source == CATALOG {
            let id = ObjectId::new([source, &*input.table.schema, &*input.table.table]);
            return Err(Error::invalid(format!(
                "it reads {id}, whose changes are not watched for"
            )));
        }
        let definition = names.root.definitions.sources.get(source);
        let changes = definition.and_then(|source| source.options.get("changes"));
        if changes.is_some_and(|changes| changes == "poll") {
            return Err(Error::invalid(format!(
                "source {source} has changes = 'poll': looking at its tables again and again costs more than computing the view"
            )));
        }
        if let FlowInput::Table(wanted) = flow_input(&names.root, &input)? {
            let wanted = Wanted {
                indexes: Vec::new(),
                is_watched: true,
                ..wanted
            };
            tables.push(Watched { wanted, conditions });
        }
    }
    Ok(tables)
}

/// What a plan reads.
#[derive(Default)]
pub(crate) struct Read {
    /// Of each table the columns, and what its rows have to meet.
    pub(crate) tables: BTreeMap<TableReference, (BTreeSet<String>, Conditions)>,
    /// A function that is not the same each time.
    fickle: Option<String>,
}

impl Read {
    pub(crate) fn of(plan: &LogicalPlan, state: &SessionState) -> PlanResult<Self> {
        let mut read = Self::default();
        read.add(plan, &[], state)?;
        Ok(read)
    }

    /// `filters`: those that all rows of a plan go through next.
    fn add(
        &mut self,
        plan: &LogicalPlan,
        filters: &[&Expr],
        state: &SessionState,
    ) -> PlanResult<TreeNodeRecursion> {
        if let LogicalPlan::TableScan(scan) = plan {
            let (columns, conditions) = self.tables.entry(scan.table_name.clone()).or_default();
            columns.extend(columns_of(scan));
            // What limits the rows before a filter sees them reads those that it drops, too.
            let above = filters.iter().filter(|_| scan.fetch.is_none()).copied();
            let filters: Vec<&Expr> = scan.filters.iter().chain(above).collect();
            conditions.add_scan(&filters, &scan.source.schema(), state)?;
        }
        plan.apply_expressions(|expr| expr.apply(|expr| Ok(self.look_at(expr))))?;
        plan.apply_subqueries(|subquery| self.add(subquery, &[], state))?;
        let mut below = Vec::new();
        match plan {
            LogicalPlan::Filter(filter) => {
                below.extend_from_slice(filters);
                below.push(&filter.predicate);
            }
            // It has the same columns.
            LogicalPlan::SubqueryAlias(_) => below.extend_from_slice(filters),
            _ => {}
        }
        plan.apply_children(|input| self.add(input, &below, state))
    }

    fn look_at(&mut self, expr: &Expr) -> TreeNodeRecursion {
        if let Expr::ScalarFunction(call) = expr
            && call.func.signature().volatility != Volatility::Immutable
        {
            self.fickle = Some(call.func.name().to_string());
        }
        TreeNodeRecursion::Continue
    }
}

/// What is read of a table, and what decides which of its rows are.
fn columns_of(scan: &TableScan) -> BTreeSet<String> {
    let output = scan.projected_schema.fields().iter();
    let mut names: BTreeSet<String> = output.map(|field| field.name().clone()).collect();
    let filters = scan.filters.iter().flat_map(Expr::column_refs);
    names.extend(filters.map(|column| column.name.clone()));
    names
}

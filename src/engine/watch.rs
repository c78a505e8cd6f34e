//! What a view reads that is computed when it is read: tables whose sources tell what changes, or why that is not so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, Volatility};

use super::kept::{flow_input, identified};
use super::names::Names;
use crate::catalog::{CATALOG, ObjectId, ViewDefinition};
use crate::error::{Error, Result};
use crate::incremental::Input;
use crate::replication::Wanted;
use crate::views::FlowInput;

/// The tables, with the columns that are read of each.
///
/// # Errors
/// Why nobody can tell that what the view would be has changed.
pub(super) async fn tables(names: &Names, view: &ViewDefinition) -> Result<Vec<Wanted>, Arc<str>> {
    let found = find(names, view).await;
    found.map_err(|e| match e {
        // Its way out is for a view that is kept by change.
        Error::Invalid { message, .. } => message.into(),
        other => other.to_string().into(),
    })
}

async fn find(names: &Names, view: &ViewDefinition) -> Result<Vec<Wanted>> {
    let planned = identified(names, view).await?;
    let (plan, _) = planned.kept()?;
    let (scans, fickle) = scanned(&plan)?;
    if let Some(function) = fickle {
        return Err(Error::invalid(format!(
            "{function}() may have another value while no table changes"
        )));
    }
    let mut tables = Vec::new();
    for (table, columns) in scans {
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
        let definition = names.world.definitions.sources.get(source);
        let changes = definition.and_then(|source| source.options.get("changes"));
        if changes.is_some_and(|changes| changes == "poll") {
            return Err(Error::invalid(format!(
                "source {source} has changes = 'poll': looking at its tables again and again costs more than computing the view"
            )));
        }
        if let FlowInput::Table(wanted) = flow_input(&names.world, &input)? {
            tables.push(Wanted {
                indexes: Vec::new(),
                is_watched: true,
                ..wanted
            });
        }
    }
    Ok(tables)
}

type Scans = BTreeMap<datafusion::common::TableReference, BTreeSet<String>>;

/// The columns that are read of each table, and a function that is not the same each time.
fn scanned(plan: &LogicalPlan) -> Result<(Scans, Option<String>)> {
    let (mut scans, mut fickle) = (Scans::new(), None);
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            scans
                .entry(scan.table_name.clone())
                .or_default()
                .extend(columns(scan));
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr
                    && call.func.signature().volatility != Volatility::Immutable
                {
                    fickle = Some(call.func.name().to_string());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(|e: DataFusionError| Error::from(e))?;
    Ok((scans, fickle))
}

/// What is read of a table, and what decides which of its rows are.
fn columns(scan: &TableScan) -> BTreeSet<String> {
    let output = scan.projected_schema.fields().iter();
    let mut names: BTreeSet<String> = output.map(|field| field.name().clone()).collect();
    let filters = scan.filters.iter().flat_map(Expr::column_refs);
    names.extend(filters.map(|column| column.name.clone()));
    names
}

//! `COPY … TO`: a query whose rows a connector writes, all of them or none.

use std::path::Path;
use std::sync::Arc;

use belvedere_connector::{Connector, Export, ExportRequest, Exported, SourceConfig};
use belvedere_sql::{CopyTo, fold};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, Sort, SortExpr};
use datafusion::prelude::col;

use super::names::Names;
use super::query::{self, Planned};
use super::world::World;
use super::{labels, nearest, options};
use crate::error::{Error, Result};

/// Other systems' names of our options.
const ALIASES: &[(&str, &str)] = &[
    ("has_header", "header"),
    ("delim", "delimiter"),
    ("sep", "delimiter"),
    ("codec", "compression"),
    ("file_size_bytes", "file_size"),
];

/// A `COPY` that has been understood: its rows, and where they go.
#[derive(Debug)]
pub(super) struct Copying {
    pub export: Arc<dyn Export>,
    /// In the order in which they are to be written.
    pub rows: Planned,
}

/// Resolve the query, and check where and how its rows are to be written. Nothing is contacted.
pub(super) async fn plan(names: Names, copy: &CopyTo) -> Result<Copying> {
    let rows = query::plan(names, &copy.query).await?;
    let columns = Arc::clone(rows.plan.schema().inner());
    if let Some(name) = labels::twice(&columns) {
        return Err(Error::invalid_with_help(
            format!("the files would have two columns named {name}"),
            "Give one another name: SELECT … AS other_name",
        ));
    }
    let export = export(&rows.names, copy, columns)?;
    let plan = ordered(rows.plan, export.ordered_by())?;
    Ok(Copying {
        export,
        rows: Planned {
            plan,
            names: rows.names,
        },
    })
}

fn export(names: &Names, copy: &CopyTo, columns: SchemaRef) -> Result<Arc<dyn Export>> {
    let to = copy.to.as_ref().ok_or_else(|| {
        Error::invalid_with_help(
            "COPY … TO STDOUT is for clients of the PostgreSQL protocol",
            "Elsewhere the rows of a query come without COPY; the shell writes them with --output",
        )
    })?;
    if !copy.force_quote.is_empty() {
        return Err(Error::invalid("FORCE_QUOTE is for COPY … TO STDOUT"));
    }
    if !names.world.is_whole() {
        return Err(Error::denied(
            "only superusers write files and buckets with COPY",
            "COPY … TO STDOUT, over PostgreSQL's protocol, hands the rows to the client",
        ));
    }
    let url = absolute(to, &names.inner.base_dir)?;
    let connector = options::connector_of(&names.inner.connectors, &url)?;
    let mut given = options::of_export(connector, &copy.options, ALIASES)?;
    let mut name = String::new();
    // How the place is reached is told by COPY alone, or by a source over it: never by both.
    let is_access = |option: &str| connector.options().iter().any(|o| o.name == option);
    if !given.keys().any(|option| is_access(option))
        && let Some(source) = source_over(&names.world, connector, &url)
    {
        name.clone_from(&source.name);
        let known = connector.export_options();
        for (option, value) in &source.options {
            if known.iter().any(|o| o.name == option) {
                given.insert(option.clone(), value.clone());
            }
        }
    }
    let request = ExportRequest {
        config: SourceConfig {
            name,
            url,
            options: given,
            limits: belvedere_connector::Limits::default(),
        },
        partition_by: partition_by(copy, &columns)?,
        columns,
    };
    Ok(connector.export(request)?)
}

fn absolute(to: &str, base_dir: &Path) -> Result<String> {
    match to.trim().is_empty() {
        true => Err(Error::invalid_with_help(
            "COPY needs a place to write to",
            "Name a file, e.g. TO 'orders.parquet', or a folder, e.g. TO 'orders/'",
        )),
        false => options::absolute(to, base_dir),
    }
}

/// The source of the same connector whose URL is the longest beginning of this one.
fn source_over<'a>(
    world: &'a World,
    connector: &dyn Connector,
    url: &str,
) -> Option<&'a crate::catalog::SourceDefinition> {
    let over = |source: &str| {
        let folder = source.trim_end_matches('/');
        url.strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let sources = world.live.values();
    sources
        .filter(|live| live.connector == connector.name() && over(&live.definition.url))
        .max_by_key(|live| live.definition.url.len())
        .map(|live| live.definition.as_ref())
}

fn partition_by(copy: &CopyTo, columns: &SchemaRef) -> Result<Vec<String>> {
    let names = copy.partition_by.iter().map(|column| {
        let name = fold(column);
        if columns.column_with_name(&name).is_some() {
            return Ok(name);
        }
        let known = columns.fields().iter().map(|f| f.name().as_str());
        let near = nearest(&name, known);
        Err(Error::Unknown {
            what: "column",
            hint: near.map(|near| format!("Did you mean {}?", belvedere_sql::ident(near))),
            name,
        })
    });
    names.collect()
}

/// The plan, its rows in the order of these columns. Within equal ones they keep the query's own order, if that is by
/// columns which the query gives.
fn ordered(plan: LogicalPlan, by: &[usize]) -> Result<LogicalPlan> {
    if by.is_empty() {
        return Ok(plan);
    }
    let mut keys: Vec<SortExpr> = by
        .iter()
        .map(|at| col(Column::from(plan.schema().qualified_field(*at))).sort(true, false))
        .collect();
    let own = match &plan {
        LogicalPlan::Sort(sort) => Some(sort),
        LogicalPlan::Limit(limit) => match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => Some(sort),
            _ => None,
        },
        _ => None,
    };
    keys.extend(own.map(|sort| sort.expr.clone()).unwrap_or_default());
    let input = match plan {
        // Its order is part of the new one, and it chooses no rows.
        LogicalPlan::Sort(Sort {
            input, fetch: None, ..
        }) => Arc::unwrap_or_clone(input),
        other => other,
    };
    Ok(LogicalPlanBuilder::from(input).sort(keys)?.build()?)
}

/// Of the one row that is answered.
pub(super) fn schema() -> SchemaRef {
    let field = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        field("rows"),
        field("files"),
        field("bytes"),
    ]))
}

pub(super) fn answer(written: Exported) -> Result<RecordBatch> {
    let column = |n: u64| -> ArrayRef {
        Arc::new(Int64Array::from(vec![i64::try_from(n).unwrap_or(i64::MAX)]))
    };
    let Exported { rows, files, bytes } = written;
    RecordBatch::try_new(schema(), vec![column(rows), column(files), column(bytes)])
        .map_err(|e| Error::Internal(e.to_string()))
}

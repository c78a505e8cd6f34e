//! `INSERT`, `UPDATE`, `DELETE`: what changes in one table of a source, there, in one transaction.
//!
//! Rows that come are computed here, whatever they are computed of. What an UPDATE or DELETE is about is a query over the table:
//! where the source answers all of that exactly, it is sent the change itself; else the query is run here, and each row that it
//! finds is changed by its primary key, if it still is what it was. If one is not, nothing was written, and all of it is done anew a few
//! times.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use belvedere_connector::{Each, Edit, StatementContext, Support, Write};
use belvedere_sql::{Change, Statement};
use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, ParamValues};
use datafusion::datasource::source_as_provider;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, Values};
use datafusion::sql::parser::Statement as SqlStatement;
use futures::{StreamExt, TryStreamExt};
use sqlparser::ast;

use super::answer::within;
use super::assigned::assigned;
use super::names::Names;
use super::prepared::bound;
use super::query::{self, Planned};
use super::room::Room;
use super::seen::{denied, denied_column};
use super::settings::Settings;
use super::{dialect, labels, system, upstream, versions};
use crate::catalog::{CATALOG, Columns, ObjectId, Privilege, SystemTableProvider};
use crate::error::{Error, Result};
use crate::federation::{Cut, SourceTable, Tries, of_one_table, spooled};
use crate::freshness::Token;
use crate::views::CopyTable;

/// What a write has done.
#[derive(Debug, Clone)]
pub struct Wrote {
    pub rows: u64,
    /// Whoever reads after it sees the write.
    pub token: Token,
}

/// A write whose names are resolved.
pub(super) struct PlannedWrite {
    pub change: Change,
    table: Arc<SourceTable>,
    /// Columns that get values, by index.
    assigned: Vec<usize>,
    /// Columns that tell a row and what was computed of it; of an INSERT none.
    known: Vec<usize>,
    /// The new values, then what is known.
    pub rows: Planned,
}

/// The write that a statement is.
pub(super) fn of(statement: &Statement) -> Option<Result<belvedere_sql::Write>> {
    let Statement::Other(statement) = statement else {
        return None;
    };
    let write = belvedere_sql::Write::of(statement)?;
    Some(write.map_err(|what| Error::NotInThisVersion { what }))
}

/// Resolve and type it.
pub(super) async fn plan(names: Names, write: belvedere_sql::Write) -> Result<PlannedWrite> {
    // What is changed is what there is now, however old answers may be.
    let names = match write.change {
        Change::Insert => names,
        Change::Update | Change::Delete => {
            let settings = names.settings.as_ref().clone();
            names.with_settings(Settings {
                max_staleness: None,
                stale_if_error: None,
                ..settings
            })
        }
    };
    let mut write = write;
    let (table, names) = target(&names, &write).await?;
    let schema = table.table.arrow_schema();
    let id = ObjectId::new([&table.handle.name, &table.table.schema, &table.table.name]);
    let allowed = names.world.allowed(&id);
    let seen = allowed.columns_seen().into_owned();
    if seen != Columns::All {
        let seen = schema.fields().iter().filter(|f| seen.contains(f.name()));
        of_columns(&mut write, seen.map(|field| field.name().clone()).collect());
        // Once as it is seen: a column that is not is one that there is not.
        let names = names.writing_to_seen(id.clone());
        projected(&names, &write.planned).await?;
    }
    let reads = write.reads();
    let is_cast: Vec<bool> = write.columns.iter().map(|c| write.is_cast(c)).collect();
    let (state, projection) = projected(&names, &write.planned).await?;
    let own = usize::from(write.change != Change::Insert);
    let scans = scans(&LogicalPlan::Projection(projection.clone()), &table)?;
    // To change rows they are read, and what is kept from who asks would tell.
    if scans > 0 && names.world.ruled(&id).is_some() {
        return Err(Error::denied(
            format!("policies or masks keep some of {id} from you: it is not read to be written"),
            "INSERT what is read of nothing else, or ask a superuser to write",
        ));
    }
    if !allowed.may(Privilege::Select) {
        if scans > own {
            return Err(denied(Privilege::Select, &id));
        }
        let read = schema.fields().iter().map(|field| field.name().as_str());
        let read = read.filter(|name| write.change != Change::Insert && reads.contains(*name));
        if let Some(column) = allowed.denies(Privilege::Select, read) {
            return Err(denied_column(Privilege::Select, &id, column));
        }
    }
    let all = || (0..schema.fields().len()).collect();
    let assigned: Vec<usize> = match write.columns.is_empty() && write.change == Change::Insert {
        true => all(),
        false => {
            let columns = write.columns.iter().map(|name| schema.index_of(name));
            columns
                .collect::<std::result::Result<_, _>>()
                .map_err(|_| planned())?
        }
    };
    let privilege = privilege(write.change);
    let names_assigned = assigned.iter().map(|i| schema.field(*i).name().as_str());
    if let Some(column) = allowed.denies(privilege, names_assigned) {
        return Err(denied_column(privilege, &id, column));
    }
    if let Some(twice) = (1..assigned.len()).find(|i| assigned[..*i].contains(&assigned[*i])) {
        let name = schema.field(assigned[twice]).name();
        return Err(Error::invalid(format!("column {name} is set twice")));
    }
    let known: Vec<usize> = match write.change {
        Change::Insert => Vec::new(),
        Change::Update | Change::Delete => {
            let is_known = |i: &usize| {
                let name = schema.field(*i).name();
                table.table.primary_key.contains(name) || reads.contains(name)
            };
            (0..schema.fields().len()).filter(is_known).collect()
        }
    };
    let rows = rows(projection, &schema, &assigned, &is_cast, &known)?;
    let room = Room::for_plan(&rows)?;
    let rows = room.with(|| {
        let rows = dialect::meant(rows, &state, &names.settings.timezone)?;
        upstream::as_planned(rows, &state)
    })?;
    Ok(PlannedWrite {
        change: write.change,
        table,
        assigned,
        known,
        rows: Planned { plan: rows, names },
    })
}

fn planned() -> Error {
    Error::Internal("a write is planned as a projection".to_string())
}

/// What a write is planned as, and what it is planned by.
async fn projected(
    names: &Names,
    statement: &ast::Statement,
) -> Result<(SessionState, Projection)> {
    let mut state = query::state(names, None)?;
    let mut statement = statement.clone();
    if let ast::Statement::Insert(insert) = &mut statement
        && let Some(source) = &mut insert.source
    {
        labels::tell_apart(source);
        versions::into_names(source, &names.settings.timezone)?;
        upstream::in_known_words(source)?;
        system::understand(source, names, &mut state)?;
    }
    dialect::in_words(&mut statement);
    dialect::written_numbers(&mut statement);
    let statement = SqlStatement::Statement(Box::new(statement));
    let plan = upstream::bare_recursion(state.statement_to_plan(statement).await?)?;
    let LogicalPlan::Dml(dml) = plan else {
        return Err(planned());
    };
    match Arc::unwrap_or_clone(dml.input) {
        LogicalPlan::Projection(projection) => Ok((state, projection)),
        _ => Err(planned()),
    }
}

/// An INSERT that names no columns is of these.
fn of_columns(write: &mut belvedere_sql::Write, columns: Vec<String>) {
    if let ast::Statement::Insert(insert) = &mut write.planned
        && write.columns.is_empty()
    {
        let names = columns.iter().map(|name| ast::Ident::with_quote('"', name));
        insert.columns = names
            .map(|name| ast::ObjectName::from(vec![name]))
            .collect();
        write.columns = columns;
    }
}

fn privilege(change: Change) -> Privilege {
    match change {
        Change::Insert => Privilege::Insert,
        Change::Update => Privilege::Update,
        Change::Delete => Privilege::Delete,
    }
}

/// How often a plan reads the rows of a table.
fn scans(plan: &LogicalPlan, table: &SourceTable) -> Result<usize> {
    let mut count = 0;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            count += usize::from(provider.downcast_ref::<SourceTable>().is_some_and(|read| {
                read.handle.name == table.handle.name && read.reference() == table.reference()
            }));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(count)
}

/// The query whose rows are the values that are assigned, and the columns as they are.
fn rows(
    projection: Projection,
    schema: &SchemaRef,
    assigned_columns: &[usize],
    is_cast: &[bool],
    known: &[usize],
) -> Result<LogicalPlan> {
    let fields = assigned_columns
        .iter()
        .map(|column| schema.fields()[*column].clone());
    let fields: Vec<FieldRef> = fields.collect();
    let input = in_values(Arc::unwrap_or_clone(projection.input), &fields)?;
    let mut columns = Vec::new();
    for (n, column) in assigned_columns.iter().enumerate() {
        let value = projection.expr[*column].clone();
        let value = match is_cast.get(n) {
            Some(true) => value,
            _ => assigned(value, input.schema(), &fields[n])?,
        };
        columns.push(value.unalias().alias(format!("value {n}")));
    }
    for column in known {
        columns.push(Expr::from(input.schema().qualified_field(*column)));
    }
    Ok(LogicalPlanBuilder::from(input).project(columns)?.build()?)
}

/// Rows of constants that are converted to the columns' types, as what is assigned to them.
fn in_values(plan: LogicalPlan, fields: &[FieldRef]) -> Result<LogicalPlan> {
    let LogicalPlan::Values(values) = plan else {
        return Ok(plan);
    };
    let schema = values.schema;
    let convert = |row: Vec<Expr>| {
        let row = row.into_iter().zip(fields);
        let row = row.map(|(value, field)| Ok(assigned(value, &schema, field)?.unalias()));
        row.collect::<Result<Vec<_>>>()
    };
    let values = values.values.into_iter().map(convert);
    // What may not be NULL is for the source to say.
    let nullable = schema.iter().map(|(table, field)| {
        let field = field.as_ref().clone().with_nullable(true);
        (table.cloned(), Arc::new(field))
    });
    let nullable = DFSchema::new_with_metadata(nullable.collect(), HashMap::new())?;
    Ok(LogicalPlan::Values(Values {
        values: values.collect::<Result<_>>()?,
        schema: Arc::new(nullable),
    }))
}

/// The constants that a plan's rows are made of.
fn constants(plan: &LogicalPlan) -> Option<(&Projection, &Values)> {
    let LogicalPlan::Projection(projection) = plan else {
        return None;
    };
    match projection.input.as_ref() {
        LogicalPlan::Values(values) => Some((projection, values)),
        _ => None,
    }
}

/// The table, if it is one that may be written to, and names by which it is.
async fn target(names: &Names, write: &belvedere_sql::Write) -> Result<(Arc<SourceTable>, Names)> {
    let name = &write.target;
    let provider = names.writing_to(None).resolve(&name.fold()).await?;
    let id = names.referenced().pop_first();
    let own = id
        .as_ref()
        .is_some_and(|id| id.0.first().is_some_and(|catalog| catalog == CATALOG));
    let kind = write.change;
    let verb = match kind {
        Change::Insert => "inserted into",
        Change::Update => "updated",
        Change::Delete => "deleted from",
    };
    if own {
        let (message, help, sqlstate) = if provider.is::<SystemTableProvider>() {
            let message = format!("{name} cannot be {verb}: it shows what the engine knows");
            (message, "CREATE, ALTER and DROP change that", "42501")
        } else if provider.is::<CopyTable>() {
            let message =
                format!("materialized view {name} cannot be {verb}: its rows are its query's");
            (message, "Change the tables that it reads", "42809")
        } else {
            let message = format!("view {name} cannot be {verb}: it is a query");
            (message, "Change the tables that it reads", "42809")
        };
        return Err(not_writable(message, help, sqlstate));
    }
    let source = id
        .as_ref()
        .and_then(|id| id.0.first().cloned())
        .unwrap_or_default();
    let live = names.world.live.get(&source);
    if !live.is_some_and(|live| live.handle.source.is_writable()) {
        let takes = |live: &Arc<super::sources::LiveSource>| {
            let connectors = names.inner.connectors.iter();
            let mut own = connectors.filter(|c| c.name() == live.connector);
            own.any(|c| c.options().iter().any(|option| option.name == "writable"))
        };
        let message = format!("source {source} is only read");
        return Err(match live.is_some_and(takes) {
            true => {
                let source = belvedere_sql::ident(source);
                let help =
                    format!("ALTER SOURCE {source} SET (writable = true) lets writes through");
                not_writable(message, &help, "25006")
            }
            false => {
                let kind = live.map_or("its kind", |live| live.connector);
                let help = format!("Sources of {kind} take no writes");
                not_writable(message, &help, "25006")
            }
        });
    }
    if let Some(id) = &id {
        // What is changed or deleted is found by what is in it. Which columns may be, is seen when they are known.
        let reads = (kind != Change::Insert).then_some(Privilege::Select);
        for privilege in [privilege(kind)].into_iter().chain(reads) {
            names.world.permits(privilege, id)?;
        }
    }
    let table = provider.downcast_ref::<SourceTable>();
    let table = table.ok_or_else(|| Error::Internal(format!("{name} is no table of a source")))?;
    let table = SourceTable::new(table.handle.clone(), table.table.clone());
    Ok((Arc::new(table), names.writing_to(id)))
}

fn not_writable(message: String, help: &str, sqlstate: &'static str) -> Error {
    Error::NotWritable {
        message,
        help: help.to_string(),
        sqlstate,
    }
}

impl PlannedWrite {
    /// The name of the source whose table it is.
    pub fn source(&self) -> &str {
        &self.table.handle.name
    }

    /// Whether its rows are constants and parameters, so that many rows of values are as many rows of one write.
    pub fn inserts_values(&self) -> bool {
        self.change == Change::Insert && constants(&self.rows.plan).is_some()
    }

    /// Its rows, with each of these values of its parameters.
    fn bound(&self, values: &[Option<ParamValues>]) -> Result<Planned> {
        if let [values] = values {
            return bound(&self.rows, values);
        }
        let several = || Error::Internal("rows of values are of an INSERT of values".to_string());
        let (projection, own) = constants(&self.rows.plan).ok_or_else(several)?;
        let mut all = Vec::new();
        for values in values {
            let bound = bound(&self.rows, values)?;
            let (_, row) = constants(&bound.plan).ok_or_else(several)?;
            all.extend(row.values.iter().cloned());
        }
        let values = LogicalPlan::Values(Values {
            schema: own.schema.clone(),
            values: all,
        });
        let plan = LogicalPlanBuilder::from(values).project(projection.expr.clone())?;
        Ok(Planned {
            plan: plan.build()?,
            names: self.rows.names.clone(),
        })
    }

    /// Do it, with each of these values of its parameters.
    pub async fn run(
        &self,
        values: &[Option<ParamValues>],
        deadline: Option<Instant>,
    ) -> Result<Wrote> {
        let names = &self.rows.names;
        let rows = self.bound(values)?;
        let handle = &self.table.handle;
        let statement = StatementContext {
            deadline,
            asker: names.caller.asker,
            spent: names.caller.spent.clone(),
        };
        let mut tries = Tries::of_write(deadline);
        let written = loop {
            let edit = within(&names.settings, deadline, self.edit(&rows, deadline)).await?;
            let is_of_found = matches!(edit, Edit::Each(_));
            let write = Write {
                table: self.table.reference(),
                schema: self.table.table.arrow_schema(),
                edit,
                deadline,
            };
            // Its deadline is the source's to keep: what has been sent when it passes is there or not, and only the source can tell.
            let error = match handle.write(write, &statement).await {
                Ok(written) => break written,
                Err(error) => error,
            };
            match tries.after(&error).filter(|_| is_of_found) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error.into()),
            }
        };
        let followed = names.world.live.get(&handle.name);
        // Of tables that are looked at again and again, positions are numbers of looks.
        let is_own = followed.is_some_and(|live| Arc::ptr_eq(&live.followed, &handle.source));
        Ok(Wrote {
            rows: written.rows,
            token: Token::new(&handle.name, written.position.filter(|_| is_own)),
        })
    }

    async fn edit(&self, rows: &Planned, deadline: Option<Instant>) -> Result<Edit> {
        if self.change == Change::Insert {
            return Ok(Edit::Insert {
                columns: self.assigned.clone(),
                rows: stream(self.found(rows, deadline).await?),
            });
        }
        let found = rows.with_copies(deadline, false).await?;
        let state = query::state(&rows.names, deadline)?;
        let cut = found.planned.cut(&state, false)?;
        match self.sent(&cut) {
            Ok(edit) => Ok(edit),
            Err(why) => {
                self.tells_rows(&why)?;
                Ok(Edit::Each(Each {
                    assigned: self.assigned.clone(),
                    known: self.known.clone(),
                    rows: stream(self.found(rows, deadline).await?),
                }))
            }
        }
    }

    /// What the source does by itself; or why it does not.
    fn sent(&self, cut: &Cut) -> std::result::Result<Edit, String> {
        let (table, schema) = (self.table.reference(), self.table.table.arrow_schema());
        let handle = &self.table.handle;
        let found = of_one_table(cut, handle, &table, &schema, self.assigned.len());
        let Some((values, predicates)) = found else {
            let kept = cut.kept.iter();
            let kept = kept.map(|kept| format!("{}: {}", kept.what, kept.why));
            let kept: Vec<String> = kept.collect();
            return Err(match kept.is_empty() {
                true => "it is computed of more than the rows of the table".to_string(),
                false => kept.join("; "),
            });
        };
        if self.change == Change::Delete {
            return Ok(Edit::Delete { predicates });
        }
        let assignments: Vec<_> = self.assigned.iter().copied().zip(values).collect();
        match handle.source.capabilities().stores(&assignments, &schema) {
            Support::Exact => Ok(Edit::Update {
                assignments,
                predicates,
            }),
            Support::Superset(why) | Support::No(why) => Err(why),
        }
    }

    /// That rows found here can be told there.
    fn tells_rows(&self, why: &str) -> Result<()> {
        let table = &self.table.table;
        let source = &self.table.handle.name;
        let computed =
            format!("source {source} does not compute it as it is computed here ({why})");
        if table.primary_key.is_empty() {
            return Err(Error::NotWritable {
                message: format!(
                    "{computed}, and table {} has no primary key by which rows that are found here could be written",
                    table.name
                ),
                help: format!(
                    "Give the table a primary key, or write what the source computes exactly: SHOW CAPABILITIES FOR {}",
                    belvedere_sql::ident(source.as_str())
                ),
                sqlstate: "0A000",
            });
        }
        let capabilities = self.table.handle.source.capabilities();
        match capabilities.tells(&self.known, &table.arrow_schema()) {
            Support::Exact => Ok(()),
            Support::Superset(more) | Support::No(more) => Err(Error::NotWritable {
                message: format!(
                    "{computed}, and cannot be told which rows of table {} were found here: {more}",
                    table.name
                ),
                help: format!(
                    "Write what the source computes exactly: SHOW CAPABILITIES FOR {}",
                    belvedere_sql::ident(source.as_str())
                ),
                sqlstate: "0A000",
            }),
        }
    }

    /// All rows, computed here.
    async fn found(
        &self,
        rows: &Planned,
        deadline: Option<Instant>,
    ) -> Result<SendableRecordBatchStream> {
        let ran = rows.run(deadline).await?;
        let runtime = rows.names.inner.state.runtime_env().clone();
        Ok(spooled(ran.stream, runtime).await?)
    }
}

fn stream(rows: SendableRecordBatchStream) -> belvedere_connector::BatchStream {
    let internal = |e| belvedere_connector::Error::internal(Error::from(e).to_string());
    rows.map_err(internal).boxed()
}

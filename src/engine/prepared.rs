//! Statements that are prepared: understood once, executed with values again and again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use belvedere_connector::Code;
use belvedere_sql::{Change, Spanned, Statement};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use futures::FutureExt;

use super::answer::{Answer, batch_answer, deadline, status_schema, within};
use super::audited::{Touched, Trying};
use super::copies::tables_asked;
use super::copy;
use super::log::Running;
use super::lookup::{Generic, Lookup};
use super::names::{Call, Caller, Names};
use super::panics::caught;
use super::plans::Known;
use super::query::{self, Planned, Ran};
use super::results::Asked;
use super::session::Session;
use super::settings::Consistency;
use super::{explain, labels, results, subscribe, system, typed, write};
use crate::error::{Error, OTHER_COLUMNS, Result};
use crate::freshness::Freshness;
use crate::views::{Bounds, Shown};

/// A statement that has been understood and not run.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub sql: String,
    /// Of the answer.
    pub schema: SchemaRef,
    /// Names (`$1`) and types as far as the statement tells, in order.
    pub parameters: Vec<(String, Option<DataType>)>,
    /// False of a definition or SET: its answer is one row, `status`.
    pub is_query: bool,
    /// True of a definition, SET and COPY: each execution does something, which stays.
    pub has_effect: bool,
    /// Its answer does not end by itself: a subscription's.
    pub goes_on: bool,
    /// It is an INSERT of VALUES: with many rows of parameters it may be one write.
    pub(crate) inserts_values: bool,
    pub(super) statement: Spanned,
    pub(super) planned: Option<Planned>,
    pub(super) lookup: Option<Arc<Lookup>>,
    /// Of the views that it reads.
    bounds: Bounds,
    generic: Arc<Generic>,
    /// The same as it is understood now, where that is otherwise: something has been defined or set since.
    again: Arc<Mutex<Option<Arc<Prepared>>>>,
}

impl Prepared {
    /// The words it begins with: `SELECT`, `CREATE VIEW`.
    pub fn kind(&self) -> Cow<'static, str> {
        self.statement.statement.kind()
    }

    /// Whether its rows are found by the keys of kept views, so that nothing is planned when it is executed.
    pub fn is_lookup(&self) -> bool {
        self.lookup.is_some()
    }
}

impl Session {
    /// Understand a statement without running it.
    pub async fn prepare(&self, sql: &str) -> Result<Prepared> {
        let statement = belvedere_sql::parse_one(sql).map_err(Error::from);
        let statement = self.noted(statement);
        self.prepare_parsed(self.unread(sql, statement)?).await
    }

    /// The same of one that has been read already.
    pub(crate) async fn prepare_parsed(&self, statement: Spanned) -> Result<Prepared> {
        let trying = Trying::begin(self, &statement);
        let touched = trying.touched();
        let prepared = caught(Box::pin(self.understand(statement, touched))).await;
        trying.ended(self, self.noted(prepared))
    }

    async fn understand(&self, statement: Spanned, touched: Arc<Touched>) -> Result<Prepared> {
        self.admits(&statement.statement)?;
        let call = || Call {
            touched: touched.clone(),
            ..self.settings().into()
        };
        let prepared = |schema, parameters, statement: Spanned, is_query| Prepared {
            sql: statement.text.clone(),
            schema,
            parameters,
            is_query,
            has_effect: !is_query || matches!(statement.statement, Statement::Copy(_)),
            goes_on: matches!(statement.statement, Statement::Subscribe(_)),
            inserts_values: false,
            statement,
            lookup: None,
            bounds: Bounds::default(),
            generic: Arc::default(),
            again: Arc::default(),
            planned: None,
        };
        if let Statement::Query(query) = &statement.statement {
            let names = self.names(call());
            let known = match self.inner.plans.get(&statement.text, &names) {
                Some(known) => known,
                None => self.planned(query, &statement.text, names.clone()).await?,
            };
            names.refer_to(&known.reads);
            // It may outlive the transaction that it is prepared in, and must not keep what that reads.
            let caller = Caller {
                snapshot: None,
                touched: known.touched.clone(),
                ..names.caller.clone()
            };
            let names = names.asked_by(caller);
            let plan = known.plan.clone();
            let (schema, parameters) = (known.schema.clone(), known.parameters.clone());
            return Ok(Prepared {
                lookup: known.lookup.clone(),
                bounds: known.bounds,
                generic: known.generic.clone(),
                planned: Some(Planned { plan, names }),
                ..prepared(schema, parameters, statement, true)
            });
        }
        if let Statement::Copy(copy) = &statement.statement {
            let rows = copy::plan(self.names(call()), copy).await?.rows;
            let parameters = parameters(&rows)?;
            return Ok(prepared(copy::schema(), parameters, statement, true));
        }
        if let Statement::Subscribe(subscribe) = &statement.statement {
            let names = self.names(call());
            let planned = subscribe::plan(names, subscribe, &statement.text).await?;
            let schema = planned.order.schema;
            return Ok(prepared(schema, Vec::new(), statement, true));
        }
        if let Some(write) = write::of(&statement.statement) {
            let planned = Box::pin(write::plan(self.names(call()), write?)).await?;
            let parameters = parameters(&planned.rows)?;
            return Ok(Prepared {
                inserts_values: planned.inserts_values(),
                ..prepared(status_schema(), parameters, statement, false)
            });
        }
        let rows = match &statement.statement {
            Statement::Explain(_) => Some(explain::schema()),
            Statement::Show(_) | Statement::Describe { .. } | Statement::DescribeQuery(_) => {
                let answer = Box::pin(self.dispatch(&statement, call())).await?;
                Some(answer.schema)
            }
            _ => None,
        };
        let is_query = rows.is_some();
        let schema = rows.unwrap_or_else(status_schema);
        Ok(prepared(schema, Vec::new(), statement, is_query))
    }

    /// A query as it is understood, and is kept for who prepares it again.
    async fn planned(
        &self,
        query: &belvedere_sql::Query,
        sql: &str,
        names: Names,
    ) -> Result<Arc<Known>> {
        let planned = query::plan_answer(names.clone(), query).await?;
        let as_postgres = names.settings.one_database;
        let mut parameters = parameters(&planned)?;
        let schema = with_parameters(&planned.plan, &parameters)?;
        let mut schema = labels::shown_schema(&schema, as_postgres);
        if as_postgres && system::asks_catalog(query) {
            schema = labels::of_catalog(&schema);
        }
        typed::add_unused(&mut parameters, query);
        let is_plain = !system::asks_catalog(query);
        let lookup = is_plain.then(|| Lookup::of(&planned)).flatten();
        let known = Arc::new(Known {
            lookup: lookup.map(Arc::new),
            bounds: planned.bounds()?,
            generic: Arc::default(),
            touched: names.caller.touched.clone(),
            reads: planned.names.referenced(),
            plan: planned.plan,
            schema,
            parameters,
        });
        self.inner.plans.keep(sql, query, &names, &known);
        Ok(known)
    }

    /// The statement with parameters of these types where its answer's type hangs on them (`SELECT $1`), so that the
    /// schema is known before it runs. None: it hangs on none.
    pub(crate) async fn prepare_typed(
        &self,
        prepared: &Prepared,
        types: &[DataType],
    ) -> Result<Option<Prepared>> {
        let fields = prepared.schema.fields();
        if !fields.iter().any(|f| f.data_type().is_null()) {
            return Ok(None);
        }
        let untyped = prepared.parameters.iter().zip(types);
        let untyped: HashMap<_, _> = untyped
            .filter(|((_, known), _)| known.as_ref().is_none_or(DataType::is_null))
            .map(|((name, _), given)| (name.clone(), given.clone()))
            .collect();
        match typed::with_types(&prepared.sql, &untyped) {
            Some(sql) if !untyped.is_empty() => self.prepare(&sql).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Execute a prepared statement with a value for each parameter, in order.
    pub async fn execute_prepared(
        &self,
        prepared: &Prepared,
        values: &[ScalarValue],
    ) -> Result<Answer> {
        let running = self.begin(&prepared.sql);
        let result = caught(Box::pin(async {
            running.begins()?;
            self.executes(prepared, &[values], &running).await?;
            self.run_prepared(prepared, values, &running).boxed().await
        }));
        self.settled(result.await, running)
    }

    /// Execute an INSERT [of values](Prepared::inserts_values) with each of these rows of values, as one write: all of them are there
    /// then, or none.
    pub(crate) async fn insert_each(
        &self,
        prepared: &Prepared,
        rows: &[Vec<ScalarValue>],
    ) -> Result<Answer> {
        let running = self.begin(&prepared.sql);
        let rows: Vec<&[ScalarValue]> = rows.iter().map(Vec::as_slice).collect();
        let result = caught(Box::pin(async {
            running.begins()?;
            self.executes(prepared, &rows, &running).await?;
            self.run_write(prepared, &rows, &running).boxed().await
        }));
        self.settled(result.await, running)
    }

    /// It is about to be executed with these rows of values.
    pub(super) async fn executes(
        &self,
        prepared: &Prepared,
        rows: &[&[ScalarValue]],
        running: &Running,
    ) -> Result<()> {
        let statement = &prepared.statement.statement;
        self.about_to(running.audited(), running.sql(), statement, rows)
            .await
    }

    async fn run_prepared(
        &self,
        prepared: &Prepared,
        values: &[ScalarValue],
        running: &Running,
    ) -> Result<Answer> {
        if write::of(&prepared.statement.statement).is_some() {
            return Box::pin(self.run_write(prepared, &[values], running)).await;
        }
        let (given, others) = typed::fit(&prepared.parameters, values)?;
        for ((name, taken), value) in prepared.parameters.iter().zip(values) {
            let given = value.data_type();
            if others.contains_key(name) && typed::is_text(&given) {
                let taken = taken.as_ref().unwrap_or(&DataType::Null);
                return Err(Error::invalid(format!(
                    "parameter {name} is of type {taken}; the {given} given does not fit"
                )));
            }
        }
        if !others.is_empty() {
            let again = self.understood_with(prepared, &others).await?;
            return Box::pin(self.run_prepared(&again, values, running)).await;
        }
        let settings = self.settings();
        let call = Call::of(running, settings.clone());
        let (ast, planned) = match (&prepared.statement.statement, &prepared.planned) {
            (Statement::Query(ast), Some(planned)) => (ast, planned),
            (Statement::Copy(copy), _) => {
                let values = parameter_values(given);
                return Box::pin(self.copy(copy, call, values)).await;
            }
            _ => return Box::pin(self.dispatch(&prepared.statement, call)).await,
        };
        self.admits(&prepared.statement.statement)?;
        let names = self.names(call.clone());
        if !names.are_those_of(planned) {
            let again = self.understood_again(prepared, &names).await?;
            as_prepared(&prepared.schema, &again.schema)?;
            return Box::pin(self.run_prepared(&again, values, running)).await;
        }
        if let Some(audited) = running.audited() {
            audited.touches(&planned.names.caller.touched);
        }
        // Of the whole: what the short way has waited for, the long way does not wait for again.
        let deadline = deadline(&settings);
        if let Some(lookup) = &prepared.lookup
            && let Some((shown, freshness)) = self.found(lookup, &names, deadline).await?
            && let Some(rows) = lookup.rows(&shown, &given)
        {
            return Ok(self.told(batch_answer(rows), freshness, &settings));
        }
        let text = &prepared.statement.text;
        let bounds = prepared.bounds;
        let may_be_older = results::may_be_older(&settings, bounds);
        let question = may_be_older.then(|| results::question(text, &given, &names));
        let asked = question
            .flatten()
            .map(|question| Asked { question, bounds });
        let told = asked.as_ref();
        if let Some(told) =
            told.and_then(|asks| self.told_before(&asks.question, &settings, Instant::now()))
        {
            return Ok(self.answer(told, &settings, deadline));
        }
        if let Some(template) = prepared.generic.template(planned)
            && let Some(fragment) = template.with(&given)
        {
            // What is asked as somebody is told nobody else, nor again.
            let asked = asked.as_ref().filter(|_| !template.is_mapped());
            let run = Box::pin(async {
                // Who may not be told it again need not know.
                let followed = asked.and_then(|_| {
                    let tables = tables_asked(template.source(), template.fragment());
                    names.followed(&tables.collect::<Vec<_>>(), true)
                });
                Ok(Ran {
                    stream: query::run_alone(fragment, &names, deadline).await?,
                    notices: Vec::new(),
                    freshness: Freshness::live(template.source()),
                    followed,
                })
            });
            let once = Box::pin(self.told_once(asked, &settings, run));
            match within(&settings, deadline, once).await {
                // It is found out the long way what has changed.
                Err(e) if planned.outdated_source(&e).is_some() => {}
                ran => {
                    let mut ran = ran?;
                    ran.stream = self.held(ran.stream, &planned.names);
                    return Ok(self.answer(ran, &settings, deadline));
                }
            }
        }
        let planned = Planned {
            plan: planned.plan.clone(),
            names: planned.names.clone().asked_by(names.caller),
        };
        let values = parameter_values(given);
        let as_postgres = settings.one_database;
        let answer = Box::pin(self.query(ast, planned, (call, deadline), values, asked)).await?;
        as_prepared(&prepared.schema, &answer.schema)?;
        if as_postgres && system::asks_catalog(ast) {
            let schema = labels::of_catalog(&answer.schema);
            return Ok(labels::with_schema(answer, schema));
        }
        Ok(answer)
    }

    /// Execute a write with each of these rows of values, as one. Values are assigned as the same literals would be, whatever type
    /// they are given in.
    async fn run_write(
        &self,
        prepared: &Prepared,
        rows: &[&[ScalarValue]],
        running: &Running,
    ) -> Result<Answer> {
        let statement = &prepared.statement.statement;
        self.admits(statement)?;
        let write = write::of(statement);
        let write = write.ok_or_else(|| Error::Internal("it is no write".to_string()))??;
        let (mut values, mut others) = (Vec::new(), HashMap::new());
        for row in rows {
            let (given, unfit) = typed::fit(&prepared.parameters, row)?;
            values.push(parameter_values(given));
            others.extend(unfit);
        }
        if !others.is_empty() {
            // Of an INSERT's parameters, DataFusion counts those alone that are a value by themselves: all of them are typed.
            if let (Change::Insert, Some(row)) = (write.change, rows.first()) {
                for ((name, taken), value) in prepared.parameters.iter().zip(*row) {
                    let known = [Some(value.data_type()), taken.clone()];
                    let mut known = known.into_iter().flatten();
                    let data_type = known.find(|of| !of.is_null()).unwrap_or(DataType::Utf8);
                    others.entry(name.clone()).or_insert(data_type);
                }
            }
            let again = self.understood_with(prepared, &others).await?;
            return Box::pin(self.run_write(&again, rows, running)).await;
        }
        let call = Call::of(running, self.settings());
        Box::pin(self.write(write, call, values)).await
    }

    /// The statement with parameters of these types.
    async fn understood_with(
        &self,
        prepared: &Prepared,
        types: &HashMap<String, DataType>,
    ) -> Result<Prepared> {
        let sql = typed::with_types(&prepared.sql, types).ok_or_else(|| {
            let names: Vec<&str> = types.keys().map(String::as_str).collect();
            Error::invalid(format!(
                "the value of parameter {} is of another type than the statement takes",
                names.join(", ")
            ))
        })?;
        let parsed = belvedere_sql::parse_one(&sql)?;
        Box::pin(self.understand(parsed, Arc::default())).await
    }

    /// The statement as it is understood now; once, until that is otherwise again.
    async fn understood_again(&self, prepared: &Prepared, names: &Names) -> Result<Arc<Prepared>> {
        let known = || {
            prepared
                .again
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let is_current = |again: &Arc<Prepared>| {
            let planned = again.planned.as_ref();
            planned.is_some_and(|planned| names.are_those_of(planned))
        };
        if let Some(again) = known().clone().filter(is_current) {
            return Ok(again);
        }
        let again = self.understand(prepared.statement.clone(), Arc::default());
        let again = Arc::new(again.await?);
        *known() = Some(again.clone());
        Ok(again)
    }

    /// What the views of a lookup have, if they can be read by their copies.
    pub(super) async fn found(
        &self,
        lookup: &Lookup,
        names: &Names,
        deadline: Option<Instant>,
    ) -> Result<Option<(Vec<Arc<Shown>>, Freshness)>> {
        let views = lookup.views();
        // By its query, if at all.
        if views.iter().any(|view| names.is_unfilled(&view.id)) {
            return Ok(None);
        }
        let wanted = views
            .iter()
            .map(|view| (view.id.clone(), names.wanted(view, false)));
        let wanted = wanted.collect();
        let found = async { Ok(names.readable(wanted, deadline).await) };
        let Ok(found) = within(&names.settings, deadline, found).await? else {
            return Ok(None);
        };
        let (mut all, mut freshness) = (Vec::with_capacity(views.len()), Freshness::default());
        for view in views {
            // It may have been defined anew since the names were.
            let is_same =
                |shown: &&Arc<Shown>| names.generation(&view.id) == Some(shown.generation);
            let Some(shown) = found.shelf.get(&view.id).filter(is_same) else {
                return Ok(None);
            };
            freshness.add(names.part(view, shown, Some(&found)));
            all.push(shown.clone());
        }
        if names.settings.consistency == Consistency::Strict {
            freshness.agrees()?;
        }
        Ok(Some((all, freshness)))
    }
}

/// Whoever prepared a statement has been told its columns: others come only once it is prepared again.
fn as_prepared(prepared: &Schema, answered: &Schema) -> Result<()> {
    let same = |(told, is): (&Arc<Field>, &Arc<Field>)| {
        // A parameter's own type is known with its value.
        let untold = told.data_type() == &DataType::Null;
        told.name() == is.name() && (untold || told.data_type() == is.data_type())
    };
    let columns = || prepared.fields().iter().zip(answered.fields());
    if prepared.fields().len() == answered.fields().len() && columns().all(same) {
        return Ok(());
    }
    let changed = belvedere_connector::Error::new(Code::SchemaChanged, OTHER_COLUMNS);
    Err(Error::Source(changed.help("Prepare it again")))
}

fn parameter_values(given: HashMap<String, ScalarValue>) -> Option<ParamValues> {
    let values = given.into_iter().map(|(name, value)| (name, value.into()));
    (values.len() > 0).then(|| ParamValues::Map(values.collect()))
}

/// Parameters in the order of their numbers (or names), with `$`, and what the plan tells of their types.
pub(super) fn parameters(planned: &Planned) -> Result<Vec<(String, Option<DataType>)>> {
    let mut found = planned.plan.get_parameter_types()?;
    typed::infer(&planned.plan, &mut found)?;
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(name, _)| typed::place(name));
    Ok(found)
}

/// The columns of the answer as they will be: what a function gives may hang on the type of a parameter that is known by what the function
/// takes.
fn with_parameters(
    plan: &LogicalPlan,
    parameters: &[(String, Option<DataType>)],
) -> Result<SchemaRef> {
    let schema = plan.schema().inner();
    if plan.get_parameter_types()?.values().all(Option::is_some) {
        return Ok(schema.clone());
    }
    let value = |(name, data_type): &(String, Option<DataType>)| {
        let value = ScalarValue::try_from(data_type.as_ref()?).ok()?;
        Some((typed::bare(name).to_string(), value.into()))
    };
    let values: Option<HashMap<_, _>> = parameters.iter().map(value).collect();
    let Some(values) = values else {
        return Ok(schema.clone());
    };
    let Ok(typed) = plan.clone().with_param_values(ParamValues::Map(values)) else {
        return Ok(schema.clone());
    };
    let fields = schema.fields().iter().zip(typed.schema().fields());
    let fields = fields.map(|(field, typed)| {
        let field = field.as_ref().clone();
        field.with_data_type(typed.data_type().clone())
    });
    let fields: Vec<Field> = fields.collect();
    Ok(Arc::new(Schema::new_with_metadata(
        fields,
        schema.metadata().clone(),
    )))
}

/// The plan with the values of its parameters, all of which must be there.
pub(super) fn bound(planned: &Planned, values: &Option<ParamValues>) -> Result<Planned> {
    if let Some(values) = values {
        return planned.with_parameters(values.clone());
    }
    match parameters(planned)?.first() {
        None => Ok(planned.clone()),
        Some((name, _)) => Err(Error::invalid_with_help(
            format!("the parameter {name} has no value"),
            "Prepare the statement, and execute it with a value for each parameter",
        )),
    }
}

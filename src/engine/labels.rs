//! What the columns of an answer are called. DataFusion takes no two columns of one name, and names a computed one by its
//! expression. `SELECT 1, 1` has two all the same, and to clients of PostgreSQL `sum(x)` is called `sum`: so what is planned has names of
//! its own where it has to, each of which has the asked name before a mark, and the answer has the asked ones.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use belvedere_sql::{Query, fold};
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use sqlparser::ast::{
    Expr, GroupByExpr, Ident, OrderByKind, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use super::answer::Answer;
use super::system;
use crate::error::Error;

/// Nobody types it.
const MARK: char = '\u{1}';

fn shown(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

fn marked(name: &str, number: usize) -> Ident {
    Ident::with_quote('"', format!("{name}{MARK}{number}"))
}

/// The same of what is called as the column so many before it.
fn marked_as_before(number: usize, distance: usize) -> Ident {
    Ident::with_quote('"', format!("{MARK}{number}{MARK}{distance}"))
}

/// Give columns of one `SELECT` that would have the same name different ones.
pub(super) fn tell_apart(query: &mut Query) {
    struct Selects;
    impl VisitorMut for Selects {
        type Break = ();
        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            apart(select);
            ControlFlow::Continue(())
        }
    }
    // Nothing breaks off.
    let _ = query.visit(&mut Selects);
}

/// What is known of the columns before one.
#[derive(Default)]
struct Taken {
    /// Columns without a table, and names that are given.
    plain: HashSet<String>,
    /// Columns with their tables.
    of_table: HashSet<(String, String)>,
    /// The texts of what is computed, which is called by it, and where it is first.
    computed: HashMap<String, usize>,
}

impl Taken {
    fn is_plain_free(&mut self, name: &str) -> bool {
        let is_taken = self.of_table.iter().any(|(_, taken)| taken == name);
        self.plain.insert(name.to_string()) && !is_taken
    }

    fn is_free(&mut self, parts: &[Ident]) -> bool {
        let (table, name) = table_and_name(parts);
        let is_taken = self.plain.contains(&name);
        self.of_table.insert((table, name)) && !is_taken
    }
}

fn table_and_name(parts: &[Ident]) -> (String, String) {
    let mut last = parts.iter().rev().map(fold);
    let name = last.next().unwrap_or_default();
    (last.next().unwrap_or_default(), name)
}

fn apart(select: &mut Select) {
    if select.projection.len() < 2 {
        return;
    }
    let all = wildcards(select);
    let mut taken = Taken::default();
    let mut last_wildcard = None;
    for (number, item) in select.projection.iter_mut().enumerate() {
        let is_free = match &*item {
            SelectItem::ExprWithAlias { alias, .. } => taken.is_plain_free(&fold(alias)),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                taken.is_plain_free(&fold(name)) && !all.contains("")
            }
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                let (table, _) = table_and_name(parts);
                taken.is_free(parts) && !all.contains(&table) && !all.contains("")
            }
            SelectItem::UnnamedExpr(expr) => {
                // In whatever case its functions are written.
                let text = expr.to_string().to_lowercase();
                let first = *taken.computed.entry(text).or_insert(number);
                if first == number {
                    continue;
                }
                // Behind all columns of a table it is not known how far that is.
                let is_near = last_wildcard.is_none_or(|wildcard| wildcard < first);
                *item = SelectItem::ExprWithAlias {
                    alias: match is_near {
                        true => marked_as_before(number, number - first),
                        false => marked(&called(expr), number),
                    },
                    expr: expr.clone(),
                };
                continue;
            }
            _ => {
                last_wildcard = Some(number);
                continue;
            }
        };
        if !is_free {
            mark(item, number);
        }
    }
}

/// Give the column a name of its own.
fn mark(item: &mut SelectItem, number: usize) {
    let (expr, name) = match item {
        SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), fold(alias)),
        SelectItem::UnnamedExpr(expr) => (expr.clone(), called(expr)),
        _ => return,
    };
    let alias = marked(&name, number);
    *item = SelectItem::ExprWithAlias { expr, alias };
}

/// Where all columns of a table are selected, what stands beside them may be called as one of them (`SELECT *, lower(name) AS name`):
/// only whoever knows the columns can tell. What is computed may be called as a column, too (`SELECT id, id::text`). True if there is
/// something of it.
pub(super) fn tell_more_apart(query: &mut Query) -> bool {
    struct Selects(bool);
    impl VisitorMut for Selects {
        type Break = ();
        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            let is_all = |item: &SelectItem| {
                matches!(
                    item,
                    SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
                )
            };
            let is_computed = |item: &SelectItem| match item {
                SelectItem::UnnamedExpr(expr) => {
                    !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
                }
                _ => false,
            };
            let is_beside_all = select.projection.iter().any(is_all);
            for (number, item) in select.projection.iter_mut().enumerate() {
                if is_computed(item) || (is_beside_all && !is_all(item)) {
                    mark(item, number);
                    self.0 = true;
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut selects = Selects(false);
    let _ = query.visit(&mut selects);
    selects.0
}

/// Whether an error says that two columns have the same name.
pub(super) fn are_the_same(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("require unique expression names")
        || text.contains("which would be ambiguous")
        || text.contains("Schema contains duplicate")
}

/// The tables of which all columns are selected; an empty name: those of all.
fn wildcards(select: &Select) -> HashSet<String> {
    let is_whole = |options: &WildcardAdditionalOptions| {
        options.opt_except.is_none()
            && options.opt_exclude.is_none()
            && options.opt_replace.is_none()
            && options.opt_rename.is_none()
            && options.opt_ilike.is_none()
    };
    let all = select.projection.iter().filter_map(|item| match item {
        SelectItem::Wildcard(options) if is_whole(options) => Some(String::new()),
        SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(name),
            options,
        ) if is_whole(options) => name.0.last().and_then(|part| part.as_ident()).map(fold),
        _ => None,
    });
    all.collect()
}

fn called(expr: &Expr) -> String {
    system::column_name(expr).unwrap_or_else(|| "?column?".to_string())
}

/// Call computed columns what PostgreSQL calls them: those of the answer, and those of subqueries, which can be referred to by that
/// name. Of the answer, what the query's order or groups name is called so in the plan; all else keeps to itself, so that no other name
/// in the query means something else than it did.
pub(super) fn as_postgres(query: &mut Query) {
    struct Queries {
        is_inner: bool,
    }
    impl VisitorMut for Queries {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            call_columns(query, self.is_inner);
            self.is_inner = true;
            ControlFlow::Continue(())
        }
    }
    // Nothing breaks off.
    let _ = query.visit(&mut Queries { is_inner: false });
}

fn call_columns(query: &mut Query, is_inner: bool) {
    let mut named: HashSet<String> = HashSet::new();
    let mut orders_by_computed = false;
    if let Some(order) = &query.order_by
        && let OrderByKind::Expressions(by) = &order.kind
    {
        named.extend(by.iter().filter_map(|by| bare(&by.expr)));
        orders_by_computed = by.iter().any(|by| bare(&by.expr).is_none());
    }
    let mut body = &mut *query.body;
    let select = loop {
        match body {
            SetExpr::Select(select) => break select,
            SetExpr::SetOperation { left, .. } => body = &mut **left,
            // It is visited by itself, and is the answer where this one is.
            SetExpr::Query(inner) => return call_columns(inner, is_inner),
            _ => return,
        }
    };
    if let GroupByExpr::Expressions(by, _) = &select.group_by {
        named.extend(by.iter().filter_map(bare));
    }
    let mut taken: HashSet<String> = HashSet::new();
    for item in &select.projection {
        match item {
            SelectItem::ExprWithAlias { alias, .. } => drop(taken.insert(fold(alias))),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => drop(taken.insert(fold(name))),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                taken.insert(table_and_name(parts).1);
            }
            _ => {}
        }
    }
    for (number, item) in select.projection.iter_mut().enumerate() {
        let SelectItem::UnnamedExpr(expr) = item else {
            continue;
        };
        if matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            continue;
        }
        let name = called(expr);
        let is_named = named.contains(&name) || (is_inner && !orders_by_computed);
        let alias = match taken.insert(name.clone()) && is_named {
            true => Ident::with_quote('"', name),
            false => marked(&name, number),
        };
        // Of rows that are told apart DataFusion finds what is selected by its name alone.
        if select.distinct.is_some()
            && let Some(order) = &mut query.order_by
            && let OrderByKind::Expressions(by) = &mut order.kind
        {
            let same = by.iter_mut().filter(|by| by.expr == *expr);
            same.for_each(|by| by.expr = Expr::Identifier(alias.clone()));
        }
        *item = SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias,
        };
    }
}

fn bare(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(fold(name)),
        _ => None,
    }
}

/// The schema with the names that were asked for. With `as_postgres` a column that a subquery has twice is called as it is there:
/// DataFusion calls the second one `id:1`.
pub(super) fn shown_schema(schema: &SchemaRef, as_postgres: bool) -> SchemaRef {
    let fields = schema.fields();
    let names: HashSet<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let shown = |at: usize| -> Option<String> {
        let name = fields[at].name();
        if let Some((_, mark)) = name.split_once(MARK) {
            let distance = mark.split_once(MARK).and_then(|(_, d)| d.parse().ok());
            let named = distance.and_then(|distance| fields.get(at.checked_sub(distance)?));
            return Some(shown(named.map_or(name, |field| field.name())).to_string());
        }
        let (first, number) = name.rsplit_once(':').filter(|_| as_postgres)?;
        let is_second = number.parse::<usize>().is_ok() && names.contains(first);
        is_second.then(|| first.to_string())
    };
    if (0..fields.len()).all(|at| shown(at).is_none()) {
        return Arc::clone(schema);
    }
    let fields = fields
        .iter()
        .enumerate()
        .map(|(at, field)| match shown(at) {
            Some(name) => Arc::new(field.as_ref().clone().with_name(name)),
            None => Arc::clone(field),
        });
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The schema with the types that PostgreSQL's catalog has: lists of `bigint` there are lists of `oid`.
pub(super) fn of_catalog(schema: &SchemaRef) -> SchemaRef {
    let is_numbers = |field: &Field| match field.data_type() {
        DataType::List(item) => item.data_type() == &DataType::Int64,
        _ => false,
    };
    if !schema.fields().iter().any(|field| is_numbers(field)) {
        return Arc::clone(schema);
    }
    let fields = schema.fields().iter().map(|field| {
        let mut metadata = field.metadata().clone();
        if is_numbers(field) && !metadata.contains_key(system::PG_TYPE) {
            metadata.insert(system::PG_TYPE.to_string(), system::OIDS.to_string());
        }
        Arc::new(field.as_ref().clone().with_metadata(metadata))
    });
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The answer with this schema, of the same columns.
pub(super) fn with_schema(answer: Answer, schema: SchemaRef) -> Answer {
    if Arc::ptr_eq(&schema, &answer.schema) {
        return answer;
    }
    Answer {
        stream: renamed(answer.stream, Arc::clone(&schema)),
        schema,
        ..answer
    }
}

/// The answer with the names that were asked for.
pub(super) fn shown_answer(answer: Answer, as_postgres: bool) -> Answer {
    let schema = shown_schema(&answer.schema, as_postgres);
    with_schema(answer, schema)
}

fn renamed(stream: SendableRecordBatchStream, schema: SchemaRef) -> SendableRecordBatchStream {
    let named = Arc::clone(&schema);
    let batches = stream.map(move |batch| {
        let batch = batch?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.columns().to_vec();
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&named),
            columns,
            &options,
        )?)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

/// A column that would be called as another where names tell columns apart: in a file.
pub(super) fn twice(schema: &SchemaRef) -> Option<String> {
    let fields = schema.fields();
    let at = fields
        .iter()
        .position(|field| field.name().contains(MARK))?;
    Some(shown_schema(schema, false).field(at).name().clone())
}

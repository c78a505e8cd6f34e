use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use belvedere_connector::Code;
use lru::LruCache;

use super::door::Asker;
use super::paging;
use super::problem::Problem;
use super::request::Settings;
use crate::catalog::CATALOG;
use crate::engine::{Column, Described, Prepared};
use crate::error::Error;

const SHAPES: NonZeroUsize = NonZeroUsize::new(512).expect("some");

/// What a request asks for but for its values: a statement that is prepared once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub settings: Settings,
    pub view: Vec<String>,
    /// Columns that are asked for; none is all.
    pub select: Vec<String>,
    pub of: Of,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Of {
    /// The row of a key.
    Row,
    /// The rows of so many keys, with the keys' columns behind those that are asked for.
    Rows(usize),
    /// Rows in which these columns have values, in the order of the key.
    Page {
        columns: Vec<String>,
        limit: usize,
        /// Behind a key of which these columns are NULL.
        after: Option<Vec<bool>>,
    },
}

/// A shape with what is known of its view, prepared.
#[derive(Debug)]
pub(super) struct Ready {
    pub view: Described,
    pub prepared: Prepared,
    /// The first columns of the answer are those that were asked for: so many.
    pub asked: usize,
    /// Where the key's columns are in the answer.
    pub key: Vec<usize>,
}

/// The statements that were asked for lately.
pub(super) struct Shapes(Mutex<LruCache<Shape, Arc<Ready>>>);

impl Default for Shapes {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(SHAPES)))
    }
}

impl Shapes {
    /// The statement of a shape, prepared now if it is not.
    pub async fn ready(&self, asker: &Asker, shape: &Shape) -> Result<Arc<Ready>, Problem> {
        let known = self.kept().get(shape).cloned();
        if let Some(known) = known
            && asker.session.is_current(&known.prepared)
        {
            return Ok(known);
        }
        let view = asker.within(asker.session.describe(&shape.view)).await?;
        let (sql, asked, key) = statement(&view, shape)?;
        let prepared = asker.within(asker.session.prepare(&sql)).await?;
        let ready = Arc::new(Ready {
            view,
            prepared,
            asked,
            key,
        });
        self.kept().put(shape.clone(), Arc::clone(&ready));
        Ok(ready)
    }

    /// Whether, after this error, what is prepared has to be made anew, once: its view may have other columns by now.
    pub fn is_outdated(&self, asker: &Asker, shape: &Shape, ready: &Ready, e: &Error) -> bool {
        let outdated = matches!(e, Error::Source(e) if e.code == Code::SchemaChanged)
            || !asker.session.is_current(&ready.prepared);
        if outdated {
            self.kept().pop(shape);
        }
        outdated
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, LruCache<Shape, Arc<Ready>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The statement's text, how many columns were asked for, and where the key's are. No value is in it.
fn statement(view: &Described, shape: &Shape) -> Result<(String, usize, Vec<usize>), Problem> {
    let mut columns: Vec<&Column> = match shape.select.as_slice() {
        [] => view.columns.iter().collect(),
        names => {
            let found = names.iter().map(|name| column(view, name));
            found.collect::<Result<_, _>>()?
        }
    };
    for (at, one) in columns.iter().enumerate() {
        if columns[..at].iter().any(|other| other.name == one.name) {
            let detail = format!("column {} is selected twice", one.name);
            return Err(Problem::request(detail));
        }
    }
    let asked = columns.len();
    // What is not asked for is needed to tell whose a row is, or where the next page begins.
    let mut key = Vec::new();
    for of in &view.key {
        let of = &view.columns[*of];
        let at = columns.iter().position(|c| c.name == of.name);
        key.push(at.unwrap_or(columns.len()));
        if at.is_none() && shape.of != Of::Row {
            columns.push(of);
        }
    }
    let list = columns.iter().map(|c| quoted(&c.name));
    let list = list.collect::<Vec<_>>().join(", ");
    let from = match view.id.0.as_slice() {
        [catalog, own @ ..] if catalog == CATALOG => own,
        all => all,
    };
    let from = from.iter().map(|part| quoted(part));
    let from = from.collect::<Vec<_>>().join(".");
    let mut sql = format!("SELECT {list} FROM {from}");
    match &shape.of {
        Of::Row => {
            has_key(view)?;
            sql += &format!(" WHERE {}", equal(view, 1));
        }
        Of::Rows(count) => {
            has_key(view)?;
            sql += &format!(" WHERE {}", among(view, *count));
        }
        Of::Page {
            columns,
            limit,
            after,
        } => {
            let mut conditions = Vec::new();
            for (at, name) in columns.iter().enumerate() {
                let name = quoted(&column(view, name)?.name);
                conditions.push(format!("{name} = ${}", at + 1));
            }
            if let Some(nulls) = after {
                has_key(view)?;
                conditions.push(paging::behind(view, nulls, columns.len() + 1)?);
            }
            if !conditions.is_empty() {
                sql += &format!(" WHERE {}", conditions.join(" AND "));
            }
            if !view.key.is_empty() {
                let order = view.key.iter().map(|at| quoted(&view.columns[*at].name));
                let order = order.map(|name| format!("{name} NULLS LAST"));
                sql += &format!(" ORDER BY {}", order.collect::<Vec<_>>().join(", "));
            }
            // One more tells whether there are more.
            sql += &format!(" LIMIT {}", limit + 1);
        }
    }
    Ok((sql, asked, key))
}

pub(super) fn quoted(name: &str) -> String {
    belvedere_sql::ident(name).to_string()
}

fn column<'a>(view: &'a Described, name: &str) -> Result<&'a Column, Problem> {
    let found = view.columns.iter().find(|c| c.name == name);
    found.ok_or_else(|| {
        let problem = Problem::request(format!("{} has no column {name}", view.id));
        let alike = view
            .columns
            .iter()
            .find(|c| c.name.eq_ignore_ascii_case(name));
        problem.help(match alike {
            Some(alike) => format!("Columns match exactly: write {}", alike.name),
            None => {
                let all = view.columns.iter().map(|c| c.name.as_str());
                format!("It has {}", all.collect::<Vec<_>>().join(", "))
            }
        })
    })
}

pub(super) fn has_key(view: &Described) -> Result<(), Problem> {
    if !view.key.is_empty() {
        return Ok(());
    }
    let problem = Problem::request(format!("{} has no key that is known", view.id));
    Err(problem.help(
        "Ask for rows by columns: ?column=value. A materialized view has the key that its definition says: WITH (key = '…')",
    ))
}

/// Each of the key's columns has a value, from this parameter on.
fn equal(view: &Described, first: usize) -> String {
    let each = view.key.iter().enumerate();
    let each =
        each.map(|(at, of)| format!("{} = ${}", quoted(&view.columns[*of].name), first + at));
    each.collect::<Vec<_>>().join(" AND ")
}

fn among(view: &Described, count: usize) -> String {
    if count == 1 {
        // As a lookup is written that goes the short way.
        return equal(view, 1);
    }
    if let [of] = view.key.as_slice() {
        let values = (1..=count).map(|n| format!("${n}"));
        let values = values.collect::<Vec<_>>().join(", ");
        return format!("{} IN ({values})", quoted(&view.columns[*of].name));
    }
    let of = view.key.len();
    let each = (0..count).map(|n| format!("({})", equal(view, n * of + 1)));
    each.collect::<Vec<_>>().join(" OR ")
}

//! Where names are looked up: which schema or source a qualifier means.

use std::collections::BTreeSet;
use std::sync::Arc;

use belvedere_connector::Table;

use super::super::nearest;
use super::super::world::World;
use crate::catalog::{CATALOG, INFORMATION_SCHEMA, SYSTEM};
use crate::error::{Error, Result};

/// Where a table name is looked up.
#[derive(Debug, Clone)]
pub(super) enum Scope {
    Path,
    Own(String),
    Source {
        source: String,
        schema: String,
    },
    /// A qualifier that means nothing: an error once the table is asked for.
    Unknown {
        what: &'static str,
        name: String,
        hint: Option<String>,
    },
}

impl World {
    pub(super) fn own_or_source(&self, name: &str) -> Scope {
        let definitions = &self.definitions;
        let exact = |name: &str| {
            if definitions.has_schema(name) {
                return Some(Scope::Own(name.to_string()));
            }
            let live = self.live.get(name)?;
            let schema = live.handle.source.default_schema().to_string();
            Some(Scope::Source {
                source: name.to_string(),
                schema,
            })
        };
        if let Some(scope) = exact(name) {
            return scope;
        }
        let known = || {
            self.live
                .keys()
                .chain(&definitions.schemas)
                .map(String::as_str)
        };
        if let Some(scope) = unique(known(), |k| *k, name).and_then(exact) {
            return scope;
        }
        if let Some(scope) = self.schema_of_source(name) {
            return scope;
        }
        let hint = nearest(name, known().chain([SYSTEM, INFORMATION_SCHEMA]));
        Scope::Unknown {
            what: "source or schema",
            name: name.to_string(),
            hint: Some(match hint {
                Some(near) => format!("Did you mean {near}?"),
                None => "SHOW SOURCES lists the sources".to_string(),
            }),
        }
    }

    /// `"a.other"`: schema `other` of source `a`.
    fn schema_of_source(&self, name: &str) -> Option<Scope> {
        let same = |a: &str, b: &str| match a == b {
            true => Some(true),
            false => a.eq_ignore_ascii_case(b).then_some(false),
        };
        // Either may have a dot in its name.
        let mut found: Vec<(bool, Scope)> = Vec::new();
        for (at, _) in name.match_indices('.') {
            let (source, schema) = (&name[..at], &name[at + 1..]);
            for known in self.live.keys() {
                let Some(is_source) = same(known, source) else {
                    continue;
                };
                let tables = self.definitions.tables(known).iter();
                let schemas: BTreeSet<&str> = tables.map(|t| t.schema.as_str()).collect();
                for other in schemas {
                    if let Some(is_schema) = same(other, schema) {
                        let scope = Scope::Source {
                            source: known.clone(),
                            schema: other.to_string(),
                        };
                        found.push((is_source && is_schema, scope));
                    }
                }
            }
        }
        if let Some(exact) = found.iter().position(|(exact, _)| *exact) {
            return Some(found.swap_remove(exact).1);
        }
        match found.len() {
            1 => found.pop().map(|(_, scope)| scope),
            _ => None,
        }
    }

    pub(super) fn in_catalog(&self, catalog: &str, schema: &str) -> Scope {
        // Clients of PostgreSQL write the database before the schema, and sources are schemas to them.
        if catalog == CATALOG {
            return self.own_or_source(schema);
        }
        match self.own_or_source(catalog) {
            Scope::Source { source, .. } => {
                let tables = self.definitions.tables(&source);
                let schemas = || tables.iter().map(|t| t.schema.as_str());
                let exact = schemas().any(|s| s == schema);
                let schema = match exact {
                    true => schema,
                    false => {
                        unique(schemas().collect::<BTreeSet<_>>(), |s| *s, schema).unwrap_or(schema)
                    }
                };
                Scope::Source {
                    source,
                    schema: schema.to_string(),
                }
            }
            Scope::Own(own) => Scope::Unknown {
                what: "source",
                name: own.clone(),
                hint: Some(format!("{own} is a schema of {CATALOG}: write {own}.table")),
            },
            other => other,
        }
    }

    pub(super) fn known_table(
        &self,
        source: &str,
        schema: &str,
        name: &str,
    ) -> Result<Option<Arc<Table>>> {
        let tables = self.definitions.tables(source);
        let inside = || tables.iter().filter(|t| t.schema == schema);
        if let Some(exact) = inside().find(|t| t.name == name) {
            return Ok(Some(exact.clone()));
        }
        let mut similar = inside().filter(|t| t.name.eq_ignore_ascii_case(name));
        match (similar.next(), similar.next()) {
            (Some(one), None) => Ok(Some(one.clone())),
            (Some(one), Some(other)) => Err(Error::invalid_with_help(
                format!("several tables of source {source} are named {name} but for case"),
                format!(
                    "Write {} or {}",
                    belvedere_sql::ident(one.name.clone()),
                    belvedere_sql::ident(other.name.clone())
                ),
            )),
            (None, _) => Ok(None),
        }
    }
}

/// The only candidate that differs from `name` in case alone.
pub(super) fn unique<'a, T: 'a>(
    candidates: impl IntoIterator<Item = T>,
    text: impl Fn(&T) -> &str,
    name: &str,
) -> Option<T> {
    let mut similar = candidates
        .into_iter()
        .filter(|c| text(c).eq_ignore_ascii_case(name));
    match (similar.next(), similar.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

//! A name in a text, as `'a."B"'::regclass` has it, and how it is written.

use super::catalog::{Catalog, Namespace, Relation};
use crate::catalog::{CATALOG, PG_CATALOG};
use crate::engine::settings::Settings;

/// The parts of a name, folded where they are not quoted. None: it is none.
pub(super) fn parts(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut was_quoted) = (false, false);
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        let last = parts.last_mut()?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                last.push('"');
            }
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            '.' if !quoted => {
                if last.is_empty() && !was_quoted {
                    return None;
                }
                was_quoted = false;
                parts.push(String::new());
            }
            c if quoted => last.push(c),
            c => last.extend(c.to_lowercase()),
        }
    }
    let complete = !quoted && parts.last().is_some_and(|part| !part.is_empty());
    complete.then_some(parts)
}

/// A name as it must be typed.
pub(super) fn quoted(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match plain {
        true => belvedere_sql::ident(name).to_string(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

pub(super) fn qualified(schema: &str, name: &str) -> String {
    match schema {
        PG_CATALOG => quoted(name),
        _ => format!("{}.{}", quoted(schema), quoted(name)),
    }
}

/// The schemas that names without one are looked up in, but for `pg_catalog`, which is before them.
pub(super) fn path<'a>(
    catalog: &'a Catalog,
    settings: &'a Settings,
) -> impl Iterator<Item = &'a Namespace> {
    let entries = settings.search_path.iter();
    entries.filter_map(|entry| {
        let exact = catalog.namespace(entry);
        exact.or_else(|| {
            let mut similar = catalog
                .namespaces
                .iter()
                .filter(|known| known.name.eq_ignore_ascii_case(entry));
            similar.next().filter(|_| similar.next().is_none())
        })
    })
}

/// The relation that a text names.
pub(super) fn relation<'a>(
    catalog: &'a Catalog,
    settings: &Settings,
    text: &str,
) -> Option<&'a Relation> {
    match parts(text)?.as_slice() {
        [name] => catalog.named(PG_CATALOG, name).or_else(|| {
            let mut path = path(catalog, settings);
            path.find_map(|schema| in_schema(catalog, &schema.name, name))
        }),
        [schema, name] => in_schema(catalog, schema, name),
        [first, schema, name] if first == CATALOG => in_schema(catalog, schema, name),
        [source, schema, name] => in_schema(catalog, &format!("{source}.{schema}"), name),
        _ => None,
    }
}

/// By its name, else by the only one that differs from it in case alone, as in a query.
fn in_schema<'a>(catalog: &'a Catalog, schema: &str, name: &str) -> Option<&'a Relation> {
    let known = catalog.namespace(schema);
    let schema = known.map_or(schema, |known| known.name.as_str());
    if let Some(exact) = catalog.named(schema, name) {
        return Some(exact);
    }
    let mut similar = catalog.relations.iter().filter(|known| {
        known.schema.eq_ignore_ascii_case(schema) && known.name.eq_ignore_ascii_case(name)
    });
    similar.next().filter(|_| similar.next().is_none())
}

/// Whether its name alone means it.
pub(super) fn is_visible(catalog: &Catalog, settings: &Settings, relation: &Relation) -> bool {
    if relation.schema == PG_CATALOG {
        return true;
    }
    if catalog.named(PG_CATALOG, &relation.name).is_some() {
        return false;
    }
    let first =
        path(catalog, settings).find_map(|schema| catalog.named(&schema.name, &relation.name));
    first.is_some_and(|first| first.schema == relation.schema)
}

/// As PostgreSQL shows a `regclass`: with the schema where it needs one.
pub(super) fn shown(catalog: &Catalog, settings: &Settings, oid: i64) -> String {
    match catalog.relation(oid) {
        None if oid == 0 => "-".to_string(),
        None => oid.to_string(),
        Some(found) if is_visible(catalog, settings, found) => quoted(&found.name),
        Some(found) => qualified(&found.schema, &found.name),
    }
}

//! A view that others read is renamed: their texts name it, and follow, as in PostgreSQL. `FROM v` becomes `FROM w AS v`, so that
//! columns of `v` are still found.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use belvedere_sql::{Statement, fold, ident};
use sqlparser::ast::{Ident, ObjectName, Query, TableFactor, Visit, Visitor};
use sqlparser::tokenizer::Location;

use crate::catalog::{Check, ObjectId, ViewDefinition};
use crate::engine::names::Names;
use crate::error::Result;

/// A text that names relations, and where.
struct Named {
    relations: Vec<Relation>,
    /// Names that a WITH gives, which hide others.
    hidden: Vec<String>,
}

struct Relation {
    parts: Vec<String>,
    from: Location,
    to: Location,
    has_alias: bool,
    /// An alias cannot follow the name.
    is_dressed: bool,
}

impl Visitor for Named {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.hidden.extend(ctes.map(|cte| fold(&cte.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name,
            alias,
            args: None,
            version,
            sample,
            with_hints,
            index_hints,
            ..
        } = factor
            && let Some(idents) = idents(name)
            && let (Some(first), Some(last)) = (idents.first(), idents.last())
        {
            self.relations.push(Relation {
                parts: idents.iter().map(|ident| fold(ident)).collect(),
                from: first.span.start,
                to: last.span.end,
                has_alias: alias.is_some(),
                is_dressed: version.is_some()
                    || sample.is_some()
                    || !with_hints.is_empty()
                    || !index_hints.is_empty(),
            });
        }
        ControlFlow::Continue(())
    }
}

fn idents(name: &ObjectName) -> Option<Vec<&Ident>> {
    name.0.iter().map(|part| part.as_ident()).collect()
}

/// The view as it reads what was `from` and is `to` now, or None if its text cannot be changed so. `before` are the names of the
/// world in which it was `from`.
pub(super) async fn following(
    before: &Names,
    view: &ViewDefinition,
    from: &ObjectId,
    to: &ObjectId,
) -> Result<Option<ViewDefinition>> {
    let mut new = view.clone();
    let Some(query) = followed(before, view, &view.query, (from, to)).await? else {
        return Ok(None);
    };
    new.query = query;
    if let Some(kept) = &mut new.materialized {
        let mut checks = Vec::new();
        for check in &kept.checks {
            let Some(query) = followed(before, view, &check.query, (from, to)).await? else {
                return Ok(None);
            };
            let name = check.name.clone();
            checks.push(Check { name, query });
        }
        kept.checks = checks;
    }
    new.depends_on = view
        .depends_on
        .iter()
        .map(|id| if id == from { to } else { id })
        .cloned()
        .collect();
    Ok(Some(new))
}

/// The text of a view's query in which `to` stands for `from`.
async fn followed(
    before: &Names,
    view: &ViewDefinition,
    text: &str,
    (from, to): (&ObjectId, &ObjectId),
) -> Result<Option<String>> {
    let Statement::Query(query) = belvedere_sql::parse_one(text)?.statement else {
        return Ok(None);
    };
    let mut named = Named {
        relations: Vec::new(),
        hidden: Vec::new(),
    };
    // Nothing breaks off.
    let _ = query.visit(&mut named);
    // With its schema: whatever the path is.
    let written: Vec<String> =
        to.0.iter()
            .skip(1)
            .map(|part| ident(part).to_string())
            .collect();
    let (new, old) = (written.join("."), from.0.last().map(String::as_str));
    let alias = format!(" AS {}", ident(old.unwrap_or_default()));
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    for relation in &named.relations {
        // Each by itself: what is referred to is then this.
        let names = before.outline().inside(view);
        if names.resolve(&relation.parts).await.is_err() || !names.referenced().contains(from) {
            continue;
        }
        let is_hidden = matches!(relation.parts.as_slice(), [name] if named.hidden.contains(name));
        let place = offset(text, relation.from).zip(offset(text, relation.to));
        match place {
            Some((start, end)) if !is_hidden && (relation.has_alias || !relation.is_dressed) => {
                let alias = if relation.has_alias { "" } else { &alias };
                changes.push((start..end, format!("{new}{alias}")));
            }
            _ => return Ok(None),
        }
    }
    changes.sort_by_key(|(place, _)| place.start);
    let mut text = text.to_string();
    for (place, new) in changes.into_iter().rev() {
        text.replace_range(place, &new);
    }
    Ok(Some(text))
}

/// The byte at a line and column, both counted from 1.
fn offset(text: &str, place: Location) -> Option<usize> {
    let line = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
    let start = match line {
        0 => 0,
        line => text.match_indices('\n').nth(line - 1)?.0 + 1,
    };
    let mut chars = text[start..].char_indices().map(|(at, _)| start + at);
    chars.nth(column).or_else(|| {
        // Behind the last character.
        (text[start..].chars().count() == column).then_some(text.len())
    })
}

/// All that read a view directly.
pub(super) fn readers<'a>(
    views: impl Iterator<Item = &'a Arc<ViewDefinition>>,
    of: &ObjectId,
) -> Vec<Arc<ViewDefinition>> {
    let reads = views.filter(|view| view.depends_on.contains(of));
    reads.cloned().collect()
}

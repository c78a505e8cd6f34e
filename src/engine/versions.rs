//! `FROM view VERSION AS OF 3` and `TIMESTAMP AS OF '2026-01-31'`: resolved before anything is planned.
//!
//! A query's text becomes one in which the view's name says which version is meant, in a form that no user can type: so the
//! planner knows nothing of versions, and a table is looked up like any other.

use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::compute::kernels::cast_utils::string_to_datetime;
use sqlparser::ast::{
    Expr, Ident, ObjectNamePart, TableAlias, TableFactor, TableVersion, Value, VisitMut, VisitorMut,
};

use crate::error::{Error, Result};
use crate::views::Version;

/// Between a name and what is asked of it.
const MARK: char = '\0';

/// Which version is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    Number(u64),
    /// The newest that is not younger.
    At(DateTime<Utc>),
}

/// Put versions into the names of what has them.
///
/// # Errors
/// If a version is neither a number nor a time.
pub(super) fn into_names(query: &mut belvedere_sql::Query, zone: &str) -> Result<()> {
    struct Names<'a>(&'a str);
    impl VisitorMut for Names<'_> {
        type Break = Error;

        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
            if let TableFactor::Table {
                name,
                alias,
                version: version @ Some(_),
                ..
            } = factor
                && let Some(wanted) = version.take()
                && let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut()
            {
                let wanted = match text(&wanted, self.0) {
                    Ok(wanted) => wanted,
                    Err(e) => return ControlFlow::Break(e),
                };
                alias.get_or_insert_with(|| TableAlias {
                    explicit: true,
                    name: last.clone(),
                    columns: Vec::new(),
                    at: None,
                });
                let name = format!("{}{MARK}{wanted}", belvedere_sql::fold(last));
                *last = Ident::with_quote('"', name);
            }
            ControlFlow::Continue(())
        }
    }
    match query.visit(&mut Names(zone)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(e) => Err(e),
    }
}

/// What is asked, in a name: `#3`, or microseconds since the epoch.
fn text(version: &TableVersion, zone: &str) -> Result<String> {
    let literal = |expr: &Expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) | Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        Expr::TypedString(typed) => typed.value.value.clone().into_string(),
        _ => None,
    };
    match version {
        TableVersion::VersionAsOf(number) => {
            let number = literal(number).and_then(|text| text.parse::<u64>().ok());
            let number = number.filter(|number| *number > 0);
            number.map(|number| format!("#{number}")).ok_or_else(|| {
                Error::invalid("VERSION AS OF takes a version's number, counted from 1")
            })
        }
        TableVersion::TimestampAsOf(time) | TableVersion::ForSystemTimeAsOf(time) => {
            let zone: Option<Tz> = zone.parse().ok();
            let time = literal(time).zip(zone);
            let time = time.and_then(|(text, zone)| string_to_datetime(&zone, &text).ok());
            time.map(|time| time.timestamp_micros().to_string())
                .ok_or_else(|| {
                    Error::invalid("TIMESTAMP AS OF takes a time like '2026-01-31 18:00'")
                })
        }
        _ => Err(Error::NotInThisVersion {
            what: "this way to ask for a version".to_string(),
        }),
    }
}

/// A name, and which version of it is asked for.
pub(super) fn split(name: &str) -> (&str, Option<Wanted>) {
    match name.split_once(MARK) {
        None => (name, None),
        Some((name, wanted)) => {
            let number = wanted
                .strip_prefix('#')
                .and_then(|number| number.parse().ok());
            let at = || DateTime::from_timestamp_micros(wanted.parse().ok()?);
            (
                name,
                number.map(Wanted::Number).or_else(|| at().map(Wanted::At)),
            )
        }
    }
}

/// The version that is asked for, of those that are kept, oldest first.
///
/// # Errors
/// If it is not kept; with what is.
pub(super) fn pick(
    view: &impl std::fmt::Display,
    kept: &[Arc<Version>],
    wanted: &Wanted,
) -> Result<Arc<Version>> {
    let found = match wanted {
        Wanted::Number(number) => kept.iter().find(|version| version.number == *number),
        Wanted::At(at) => kept.iter().rev().find(|version| version.at <= *at),
    };
    found.cloned().ok_or_else(|| {
        let asked = match wanted {
            Wanted::Number(number) => format!("version {number}"),
            Wanted::At(at) => format!("version of {}", at.format("%Y-%m-%d %H:%M:%S%.f UTC")),
        };
        let help = match (kept.first(), kept.last()) {
            (Some(first), Some(last)) => format!(
                "It has versions {} to {}; the option keep says how many stay",
                first.number, last.number
            ),
            _ => "It has none yet".to_string(),
        };
        Error::invalid_with_help(format!("view {view} has no {asked}"), help)
    })
}

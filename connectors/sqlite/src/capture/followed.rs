use belvedere_connector::{Captured, Code, Error, Kind, Rel, Result};
use rusqlite::Connection;

use super::layout::{self, Layout, Logged};
use super::{quoted, triggers};
use crate::discovery::{self, Decisions};

/// A table that is wanted, as it is now.
#[derive(Debug)]
pub enum Standing {
    /// It has no triggers yet: nothing is told of it.
    Unmade,
    Followed(Box<Followed>),
    /// From now on it is not what it was.
    Ends(Error),
}

/// How the log's entries about a table are read.
#[derive(Debug)]
pub struct Followed {
    pub captured: Captured,
    /// None: rows are told by row id.
    pub key: Option<Vec<String>>,
    pub sql: String,
}

impl Standing {
    pub fn of(connection: &Connection, captured: &Captured, decisions: &Decisions) -> Result<Self> {
        let Captured { table, schema } = captured;
        let Some(logged) = layout::logged(connection, &table.name)? else {
            return Ok(Self::Unmade);
        };
        let (table_, schema_) = (table.clone(), schema.clone());
        let rel = Rel::Scan {
            table: table_,
            schema: schema_,
        };
        let is_unchanged = discovery::check_unchanged(connection, &rel, decisions);
        let layout = is_unchanged
            .and_then(|()| Layout::read(connection, &table.name, decisions, Some(logged)));
        let layout = match layout {
            Ok(layout) => layout,
            Err(e) if e.kind() == Kind::Definite => return Ok(Self::Ends(e)),
            Err(e) => return Err(e),
        };
        if !triggers::are_there(connection, &layout)? {
            return Err(lost(
                "a trigger that capture made is not there any more, or another is needed",
                captured,
            ));
        }
        let (key, sql) = match &layout.rows {
            Logged::Keys(key) => (Some(key.clone()), by_key(captured, key)?),
            Logged::Rows { row_id, columns } => (None, by_row_id(captured, row_id, columns)?),
        };
        let captured = captured.clone();
        Ok(Self::Followed(Box::new(Followed { captured, key, sql })))
    }
}

pub fn lost(what: &str, captured: &Captured) -> Error {
    Error::new(Code::LogTruncated, what).at_table(&captured.table.name)
}

/// Keys that were touched, whether there is a row, and what it has.
fn by_key(captured: &Captured, key: &[String]) -> Result<String> {
    let numbered = |prefix: &str| -> Vec<String> {
        (1..=key.len()).map(|n| format!("{prefix}k{n}")).collect()
    };
    let is_text = |column: &String| {
        let field = captured.schema.field_with_name(column);
        field.is_ok_and(|field| field.data_type() == &arrow::datatypes::DataType::Utf8)
    };
    let same = |(n, column): (usize, &String)| {
        let name = quoted(column);
        let same = format!("t.{name} = x.k{}", n + 1);
        // As its index compares, and then to the byte.
        match is_text(column) {
            true => format!("{same} AND t.{name} = x.k{} COLLATE BINARY", n + 1),
            false => same,
        }
    };
    let first = key
        .first()
        .ok_or_else(|| Error::internal("a key without columns"))?;
    Ok(format!(
        "SELECT {}, t.{} IS NOT NULL, {} FROM (
           SELECT DISTINCT {} FROM belvedere_changes WHERE seq > ?1 AND seq <= ?2 AND tbl = ?3
         ) AS x LEFT JOIN main.{} AS t ON {}",
        numbered("x.").join(", "),
        quoted(first),
        columns(captured, "t"),
        numbered("").join(", "),
        quoted(&captured.table.name),
        key.iter()
            .enumerate()
            .map(same)
            .collect::<Vec<_>>()
            .join(" AND "),
    ))
}

/// Whether a row was there, whether one is there, and whether its first entry has values; what it had; what it has.
///
/// Whether one was there follows from whether one is, and from how often one came and went. Where a unique conflict may have
/// removed it, which no entry says, it follows from there having been one at the time: up to then entries say it all.
fn by_row_id(captured: &Captured, row_id: &str, logged: &[String]) -> Result<String> {
    let had = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        let number = logged.iter().position(|column| column == field.name());
        let number =
            number.ok_or_else(|| lost("a column of it was not logged so far", captured))?;
        Ok(format!("f.k{}", number + 2))
    };
    let had: Vec<String> = captured
        .schema
        .fields()
        .iter()
        .map(had)
        .collect::<Result<_>>()?;
    Ok(format!(
        "WITH e AS (
           SELECT seq, op, k1, (op = 'I') - (op = 'D') AS net,
             sum((op = 'I') - (op = 'D')) OVER w AS so_far, sum(op = 'V') OVER w AS victims
           FROM belvedere_changes WHERE seq > ?1 AND seq <= ?2 AND tbl = ?3
           WINDOW w AS (PARTITION BY k1 ORDER BY seq)
         ), x AS (
           SELECT k1, sum(net) AS net, min(CASE WHEN op IN ('U', 'V') THEN seq END) AS first,
             max(CASE WHEN op = 'V' AND victims = 1 THEN so_far END) AS until_victim
           FROM e GROUP BY k1
         )
         SELECT coalesce(1 - until_victim, (t.{row_id} IS NOT NULL) - net), t.{row_id} IS NOT NULL,
           f.seq IS NOT NULL, {}, {}
         FROM x LEFT JOIN belvedere_changes AS f ON f.seq = x.first
         LEFT JOIN main.{} AS t ON t.{row_id} = x.k1",
        had.join(", "),
        columns(captured, "t"),
        quoted(&captured.table.name),
    ))
}

fn columns(captured: &Captured, of: &str) -> String {
    let fields = captured.schema.fields().iter();
    let column =
        |field: &std::sync::Arc<arrow::datatypes::Field>| format!("{of}.{}", quoted(field.name()));
    fields.map(column).collect::<Vec<_>>().join(", ")
}

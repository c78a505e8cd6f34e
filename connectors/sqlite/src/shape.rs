//! What a table or view is made of, as SQLite's pragmas tell.

use belvedere_sqlgen::sql;
use rusqlite::{Connection, OptionalExtension};

/// The one schema: what else a program attaches is its own affair.
pub const SCHEMA: &str = "main";

/// The names of a row id, of which a column may have one, too.
const ROW_IDS: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// One row of `PRAGMA table_list`.
pub struct Shape {
    pub name: String,
    pub is_view: bool,
    pub is_virtual: bool,
    pub without_rowid: bool,
    pub strict: bool,
}

const COLUMNS: &str = "SELECT name, type, wr, strict";
/// Neither SQLite's own nor what change capture makes.
const OURS: &str = "schema = 'main' AND type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
     AND name NOT IN ('belvedere_changes', 'belvedere_captured', 'belvedere_capture')";

fn shape_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Shape> {
    let kind: String = row.get(1)?;
    Ok(Shape {
        name: row.get(0)?,
        is_view: kind == "view",
        is_virtual: kind == "virtual",
        without_rowid: row.get(2)?,
        strict: row.get(3)?,
    })
}

/// Of everything in the file, by name.
pub fn shapes(connection: &Connection) -> rusqlite::Result<Vec<Shape>> {
    let mut statement = connection.prepare(&format!(
        "{COLUMNS} FROM pragma_table_list WHERE {OURS} ORDER BY name"
    ))?;
    statement.query_map([], shape_of)?.collect()
}

pub fn shape(connection: &Connection, name: &str) -> rusqlite::Result<Option<Shape>> {
    let mut statement = connection.prepare_cached(&format!(
        "{COLUMNS} FROM pragma_table_list(?1) WHERE {OURS} AND name = ?1"
    ))?;
    statement.query_row([name], shape_of).optional()
}

/// A column as `PRAGMA table_xinfo` has it.
pub struct Info {
    pub name: String,
    pub declared: String,
    pub not_null: bool,
    /// From 1 in the primary key; 0 elsewhere.
    pub key_place: i64,
}

pub fn infos(connection: &Connection, shape: &Shape) -> rusqlite::Result<Vec<Info>> {
    // Hidden columns of virtual tables (1) are arguments; generated ones (2, 3) are columns.
    let mut statement = connection.prepare_cached(
        "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1, ?2) WHERE hidden <> 1 ORDER BY cid",
    )?;
    statement
        .query_map([&shape.name, SCHEMA], |row| {
            Ok(Info {
                name: row.get(0)?,
                declared: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
                not_null: row.get(2)?,
                key_place: row.get(3)?,
            })
        })?
        .collect()
}

/// The column that is the row id: `INTEGER PRIMARY KEY`, which has no index of its own.
pub fn row_id_column(
    connection: &Connection,
    shape: &Shape,
    infos: &[Info],
) -> rusqlite::Result<Option<String>> {
    let mut keys = infos.iter().filter(|info| info.key_place > 0);
    let (Some(only), None) = (keys.next(), keys.next()) else {
        return Ok(None);
    };
    if shape.is_view
        || shape.is_virtual
        || shape.without_rowid
        || !only.declared.eq_ignore_ascii_case("INTEGER")
    {
        return Ok(None);
    }
    let has_index = connection
        .prepare_cached("SELECT 1 FROM pragma_index_list(?1, ?2) WHERE origin = 'pk'")?
        .exists([&shape.name, SCHEMA])?;
    Ok((!has_index).then(|| only.name.clone()))
}

/// The row id as SQL, in a table that has one with a name of its own.
pub fn row_id(connection: &Connection, shape: &Shape) -> rusqlite::Result<Option<String>> {
    if shape.is_view || shape.without_rowid {
        return Ok(None);
    }
    let infos = infos(connection, shape)?;
    if let Some(column) = row_id_column(connection, shape, &infos)? {
        return Ok(Some(sql::quoted(&column, '"').value));
    }
    let is_free = |name: &&str| {
        !infos
            .iter()
            .any(|info| info.name.eq_ignore_ascii_case(name))
    };
    Ok(ROW_IDS.into_iter().find(is_free).map(str::to_string))
}

use belvedere_connector::{Captured, Result};
use rusqlite::Connection;

use super::layout::{self, Layout, Logged};
use super::log::{self, CAPTURE, CAPTURED, CHANGES, State};
use super::schema::Schema;
use super::triggers;
use crate::discovery::Decisions;
use crate::failure;

/// Make what is not there for these tables, within a transaction.
///
/// Where triggers were once and are not now, or not as they were, something may not have been logged; so it is where not all is seen that
/// was done to the schema. No position from before is of use then.
pub fn install(connection: &Connection, tables: &[&Captured], decisions: &Decisions) -> Result<()> {
    log::make(connection)?;
    let state = State::read(connection)?;
    let is_vacuumed = state.is_some_and(|state| !state.keeps_row_ids);
    let mut is_gap = match Schema::remembered(connection)? {
        Some(known) => !Schema::read(connection)?.follows(&known, is_vacuumed),
        None => false,
    };
    for Captured { table, schema } in tables {
        let logged = layout::logged(connection, &table.name)?;
        let was_there = logged.is_some();
        let has_wanted = |layout: &Layout| match &layout.rows {
            Logged::Keys(_) => true,
            Logged::Rows { columns, .. } => {
                let mut wanted = schema.fields().iter();
                wanted.all(|field| columns.contains(field.name()))
            }
        };
        if was_there {
            let layout = Layout::read(connection, &table.name, decisions, logged)?;
            if has_wanted(&layout) && triggers::are_there(connection, &layout)? {
                continue;
            }
        }
        is_gap |= was_there;
        let layout = Layout::read(connection, &table.name, decisions, None)?;
        log::widen(connection, layout.width())?;
        triggers::make(connection, &layout)?;
        layout::set_logged(connection, &layout)?;
    }
    match () {
        () if is_gap || is_vacuumed && layout::any_rows(connection)? => {
            log::begin_anew(connection)?
        }
        () if is_vacuumed => log::rearm(connection)?,
        () => {}
    }
    Schema::read(connection)?.remember(connection)
}

/// Whether capture has made something, and it is there still.
pub fn is_anything_there(connection: &Connection) -> Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE name IN (?1, ?2, ?3)";
    let mut statement = connection.prepare(sql).map_err(failure::of)?;
    let is_there = statement.exists([CHANGES, CAPTURED, CAPTURE]);
    is_there.map_err(failure::of)
}

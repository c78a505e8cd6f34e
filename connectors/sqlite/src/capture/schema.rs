//! What others have done to the schema since it was looked at last.
//!
//! SQLite counts the statements that change it, and what they leave behind is seen in `sqlite_schema`. Where there were more of them than
//! that takes, something was done and undone: a column was dropped and added again, a table was made anew with its triggers.
//! Rows may be others then, and no trigger has told so.

use std::collections::BTreeMap;

use belvedere_connector::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Row};

use super::log::CAPTURE;
use crate::failure;

/// The schema, as of one state of the file.
#[derive(Debug)]
pub struct Schema {
    /// Counts the statements that have changed it.
    pub version: i64,
    entries: Vec<Entry>,
}

/// Kind, name, the table that it is of, SQL.
type Entry = [String; 4];

impl Schema {
    pub fn read(connection: &Connection) -> Result<Self> {
        let read = || -> rusqlite::Result<Self> {
            let version = |row: &Row<'_>| row.get(0);
            let version = connection.pragma_query_value(None, "schema_version", version)?;
            let mut statement = connection.prepare_cached(
                "SELECT type, name, tbl_name, sql FROM sqlite_schema
                 WHERE sql IS NOT NULL AND name <> 'sqlite_sequence'",
            )?;
            let entry = |row: &Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]);
            let entries = statement.query_map([], entry)?;
            let entries = entries.collect::<rusqlite::Result<_>>()?;
            Ok(Self { version, entries })
        };
        read().map_err(failure::of)
    }

    /// None: it was not remembered yet.
    pub fn remembered(connection: &Connection) -> Result<Option<Self>> {
        if !has_place(connection)? {
            return Ok(None);
        }
        let sql = format!("SELECT known FROM {CAPTURE}");
        let text = connection.prepare_cached(&sql).and_then(|mut statement| {
            let text = |row: &Row<'_>| row.get::<_, Option<String>>(0);
            statement.query_row([], text).optional()
        });
        let text = text.map_err(failure::of)?.flatten();
        let known = text.and_then(|text| serde_json::from_str::<(i64, Vec<Entry>)>(&text).ok());
        Ok(known.map(|(version, entries)| Self { version, entries }))
    }

    /// What follows is compared with it from now on, unless a later one is remembered already.
    pub fn remember(&self, connection: &Connection) -> Result<()> {
        let known = Self::remembered(connection)?;
        if known.is_some_and(|known| known.version >= self.version) {
            return Ok(());
        }
        if !has_place(connection)? {
            let sql = format!("ALTER TABLE {CAPTURE} ADD COLUMN known TEXT");
            connection.execute_batch(&sql).map_err(failure::of)?;
        }
        let text = serde_json::to_string(&(self.version, &self.entries))
            .map_err(|e| Error::internal("a schema that is no text").caused_by(e))?;
        let sql = format!("UPDATE {CAPTURE} SET known = ?1");
        connection.execute(&sql, [text]).map_err(failure::of)?;
        Ok(())
    }

    /// Whether all that was done since then is seen. `is_vacuumed`: `VACUUM` counts, too, and leaves nothing behind.
    pub fn follows(&self, before: &Self, is_vacuumed: bool) -> bool {
        let seen = self.statements_since(before) + i64::from(is_vacuumed);
        (0..=seen).contains(&(self.version - before.version))
    }

    /// How many statements it takes from one to the other.
    fn statements_since(&self, before: &Self) -> i64 {
        let (now, then) = (self.by_name(), before.by_name());
        let came = now.keys().filter(|name| !then.contains_key(*name));
        let went = then.iter().filter(|(name, (table, _))| {
            let (kind, _) = **name;
            let is_own = matches!(kind, "table" | "view");
            // An index, a trigger goes with what it is of.
            let of = |kind| now.contains_key(&(kind, *table));
            !now.contains_key(*name) && (is_own || of("table") || of("view"))
        });
        let altered = now.iter().filter(|(name, (_, sql))| {
            let was = then.get(*name);
            was.is_some_and(|(_, was)| was != sql)
        });
        let (tables, others): (Vec<_>, Vec<_>) =
            altered.partition(|((kind, _), _)| *kind == "table");
        let altered = match tables.len() {
            // Dropped and made again.
            0 => 2 * others.len(),
            // What names a table, or a column of it, is altered along with that.
            tables => tables,
        };
        (came.count() + went.count() + altered) as i64
    }

    fn by_name(&self) -> BTreeMap<(&str, &str), (&str, &str)> {
        let entries = self.entries.iter();
        let by_name = entries.map(|[kind, name, table, sql]| {
            (
                (kind.as_str(), name.as_str()),
                (table.as_str(), sql.as_str()),
            )
        });
        by_name.collect()
    }
}

/// Logs of earlier versions have none.
fn has_place(connection: &Connection) -> Result<bool> {
    let sql = "SELECT 1 FROM pragma_table_info(?1) WHERE name = 'known'";
    let has = connection.prepare_cached(sql);
    has.and_then(|mut statement| statement.exists([CAPTURE]))
        .map_err(failure::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether what is done is seen in the schema, on a table that has a trigger, an index and a view.
    fn is_seen(sql: &str) -> bool {
        let connection = Connection::open_in_memory().unwrap();
        let made = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT, c TEXT); CREATE INDEX i ON t (b);
            CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT NEW.id; END; CREATE VIEW w AS SELECT b FROM t";
        connection.execute_batch(made).unwrap();
        let before = Schema::read(&connection).unwrap();
        connection.execute_batch(sql).unwrap();
        Schema::read(&connection).unwrap().follows(&before, false)
    }

    #[test]
    fn what_is_undone_is_not_seen() {
        for seen in [
            "INSERT INTO t (a) VALUES ('x')",
            "ALTER TABLE t ADD COLUMN more INT; CREATE INDEX j ON t (more)",
            "ALTER TABLE t DROP COLUMN a",
            "CREATE TABLE u (n INTEGER PRIMARY KEY AUTOINCREMENT); DROP VIEW w; DROP INDEX i",
            "CREATE TABLE u AS SELECT * FROM t; ANALYZE; REINDEX",
            "DROP TABLE t",
            "DROP TRIGGER tr; CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END",
            "ALTER TABLE t RENAME COLUMN b TO d",
        ] {
            assert!(is_seen(seen), "{seen}");
        }
        for unseen in [
            "ALTER TABLE t DROP COLUMN c; ALTER TABLE t ADD COLUMN c TEXT",
            "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a TEXT DEFAULT 'x'; CREATE TABLE u (n)",
            "ALTER TABLE t RENAME b TO x; ALTER TABLE t RENAME a TO b; ALTER TABLE t RENAME x TO a",
            "DROP VIEW w; CREATE TABLE u (id INTEGER PRIMARY KEY, a TEXT, b TEXT, c TEXT); DROP TABLE t; ALTER TABLE u RENAME TO t;
             CREATE INDEX i ON t (b); CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT NEW.id; END; CREATE VIEW w AS SELECT b FROM t",
            "VACUUM",
        ] {
            assert!(!is_seen(unseen), "{unseen}");
        }
    }
}

//! Tables in the publication: whether they can be, and that they are.

use std::collections::{BTreeMap, HashMap};

use belvedere_connector::{Captured, Code, Error, Result, TableRef};
use tokio_postgres::Client;

use super::names::Name;
use super::readiness::{Identity, identity, leaves, quoted};
use crate::failure::failure;
use crate::pool::Lease;
use crate::settings::Settings;

/// Of each table asked for, and of the partitions its rows are in, how their log names old rows.
const RELATIONS: &str = concat!(
    "
SELECT w.i::int8, c.oid, c.relkind::text, c.relpersistence::text,
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid),
       l.oid, l.oid::pg_catalog.regclass::text, ",
    identity!("l"),
    " FROM unnest($1::text[], $2::text[]) WITH ORDINALITY w (schema, name, i)
JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name",
    leaves!(),
    "ORDER BY w.i, l.oid <> c.oid"
);

const PUBLICATION: &str = "
SELECT pubviaroot, pubinsert AND pubupdate AND pubdelete AND pubtruncate
FROM pg_catalog.pg_publication WHERE pubname = $1";

const OWNED: &str = "
SELECT FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_roles r ON r.oid = p.pubowner
WHERE p.pubname = $1 AND r.rolname = current_user";

/// Of generated columns, before version 18 those that it does not have, though it says so.
const TABLES: &str = "
SELECT p.schemaname::text, p.tablename::text, p.attnames::text[], p.rowfilter IS NOT NULL,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attgenerated <> ''
               AND (a.attname <> ALL(p.attnames) OR pg_catalog.current_setting('server_version_num')::int < 180000))
FROM pg_catalog.pg_publication_tables p
JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
WHERE p.pubname = $1";

/// A table as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub oid: u32,
    /// Where its rows are, if it is partitioned.
    pub partitions: Vec<u32>,
    is_partitioned: bool,
}

/// What the publication has.
pub struct Publication<'a> {
    name: &'a Name,
    settings: &'a Settings,
    is_there: bool,
    is_via_root: bool,
    is_of_all: bool,
    tables: HashMap<TableRef, Has>,
}

/// What it has of a table.
struct Has {
    columns: Vec<String>,
    /// Some rows are left out.
    is_filtered: bool,
    /// Columns that are generated, and in no log.
    generated: Vec<String>,
}

/// The tables that can be followed, as they are, and why the others cannot.
///
/// # Errors
/// The connection's.
pub async fn relations(
    client: &Client,
    settings: &Settings,
    tables: &[Captured],
) -> Result<Vec<Result<Relation>>> {
    let schemas: Vec<&str> = tables.iter().map(|t| t.table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|t| t.table.name.as_str()).collect();
    let rows = client.query(RELATIONS, &[&schemas, &names]).await;
    let rows = rows.map_err(|e| failure(settings, None, e))?;
    let mut by_table: BTreeMap<i64, Vec<&tokio_postgres::Row>> = BTreeMap::new();
    for row in &rows {
        let number = row.try_get(0).map_err(|e| failure(settings, None, e))?;
        by_table.entry(number).or_default().push(row);
    }
    let found = tables.iter().zip(1..).map(|(captured, number)| {
        let rows = by_table.remove(&number).unwrap_or_default();
        let found = relation(captured, &rows).map_err(|e| failure(settings, None, e));
        found
            .and_then(|found| found)
            .map_err(|e| at(settings, captured, e))
    });
    Ok(found.collect())
}

fn at(settings: &Settings, captured: &Captured, e: Error) -> Error {
    e.at_source(&settings.source)
        .at_table(shown(&captured.table))
}

/// As other errors name it.
pub fn shown(table: &TableRef) -> String {
    match table.schema.as_str() {
        "public" => table.name.clone(),
        _ => table.to_string(),
    }
}

pub fn sql_name(table: &TableRef) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// By its rows of [`RELATIONS`], its own first.
fn relation(
    captured: &Captured,
    rows: &[&tokio_postgres::Row],
) -> Result<Result<Relation>, tokio_postgres::Error> {
    let cannot = |message: String| Error::new(Code::NoChangeCapture, message);
    let Some(own) = rows.first() else {
        let message = "the table is not there any more";
        return Ok(Err(Error::new(Code::TableMissing, message)));
    };
    let (kind, persistence): (String, String) = (own.try_get(2)?, own.try_get(3)?);
    if !matches!(kind.as_str(), "r" | "p") {
        return Ok(Err(cannot(
            "only tables have a log of what changes in them".to_string(),
        )));
    }
    if persistence != "p" {
        let message = "an unlogged or temporary table has no log".to_string();
        let name = sql_name(&captured.table);
        return Ok(Err(cannot(message).help(format!(
            "Run at the source: ALTER TABLE {name} SET LOGGED"
        ))));
    }
    if own.try_get(4)? {
        let message = "other tables inherit from it, and its log does not have their rows";
        return Ok(Err(cannot(message.to_string())));
    }
    let mut identities = Vec::new();
    let mut partitions = Vec::new();
    for row in rows {
        identities.push(Identity::of(row.try_get(7)?, row.try_get(8)?));
        partitions.push(row.try_get(5)?);
    }
    for (identity, row) in identities.iter().zip(rows) {
        let name: String = row.try_get(6)?;
        let by = |what: &str| format!("ALTER TABLE {name} REPLICA IDENTITY {what}");
        let (message, statement) = match (identity, &identities[0]) {
            (Identity::Nothing, _) => (
                "its log does not name rows that change or go: it has no replica identity",
                format!("{}, or give it a primary key", by("FULL")),
            ),
            (Identity::Key(_), Identity::Whole) => (
                "its log has old rows whole, and that of one of its partitions has not",
                by("FULL"),
            ),
            (Identity::Key(own), Identity::Key(root)) if own != root => (
                "one of its partitions has another replica identity than it has",
                by("FULL"),
            ),
            _ => continue,
        };
        return Ok(Err(
            cannot(message.to_string()).help(format!("Run at the source: {statement}"))
        ));
    }
    // A view's owner wants those columns among those that are read.
    if let Identity::Key(columns) = &identities[0]
        && let Some(column) = columns
            .iter()
            .find(|c| captured.schema.index_of(c).is_err())
    {
        let message = format!("its log names old rows by column {column}, which is not followed");
        return Ok(Err(
            Error::new(Code::SchemaChanged, message).help("Run REFRESH SOURCE")
        ));
    }
    partitions.remove(0);
    Ok(Ok(Relation {
        oid: own.try_get(1)?,
        partitions,
        is_partitioned: kind == "p",
    }))
}

impl<'a> Publication<'a> {
    /// # Errors
    /// The connection's; if it leaves out operations.
    pub async fn read(client: &Client, settings: &'a Settings) -> Result<Self> {
        let name = &settings.names.publication;
        let failed = |e| failure(settings, None, e);
        let found = client
            .query_opt(PUBLICATION, &[&name.text])
            .await
            .map_err(failed)?;
        let mut publication = Self {
            name,
            settings,
            is_there: found.is_some(),
            is_via_root: true,
            is_of_all: true,
            tables: HashMap::new(),
        };
        if let Some(row) = found {
            publication.is_via_root = row.try_get(0).map_err(failed)?;
            publication.is_of_all = row.try_get(1).map_err(failed)?;
        }
        for row in client.query(TABLES, &[&name.text]).await.map_err(failed)? {
            let read = || {
                let table = TableRef {
                    schema: row.try_get(0)?,
                    name: row.try_get(1)?,
                };
                let has = Has {
                    columns: row.try_get(2)?,
                    is_filtered: row.try_get(3)?,
                    generated: row.try_get(4)?,
                };
                Ok((table, has))
            };
            let (table, has) = read().map_err(failed)?;
            publication.tables.insert(table, has);
        }
        Ok(publication)
    }

    pub fn has(&self, table: &TableRef) -> bool {
        self.tables.contains_key(table)
    }

    /// Whether changes of a table come whole.
    ///
    /// # Errors
    /// If some are left out, and the statement to run.
    pub fn check(&self, captured: &Captured, relation: &Relation) -> Result<()> {
        let Some(has) = self.tables.get(&captured.table) else {
            return Ok(());
        };
        let name = quoted(&self.name.text);
        let table = sql_name(&captured.table);
        let cannot = |message: String, help: String| {
            let error = Error::new(Code::NoChangeCapture, message);
            Err(at(
                self.settings,
                captured,
                error.help(format!("Run at the source: {help}")),
            ))
        };
        if !self.is_of_all {
            let help = format!(
                "ALTER PUBLICATION {name} SET (publish = 'insert, update, delete, truncate')"
            );
            return cannot(
                format!("publication {name} leaves out kinds of changes"),
                help,
            );
        }
        if relation.is_partitioned && !self.is_via_root {
            let help = format!("ALTER PUBLICATION {name} SET (publish_via_partition_root = true)");
            return cannot(
                format!("publication {name} has its partitions one by one"),
                help,
            );
        }
        let again = format!(
            "ALTER PUBLICATION {name} DROP TABLE {table}; ALTER PUBLICATION {name} ADD TABLE {table}"
        );
        if has.is_filtered {
            return cannot(
                format!("publication {name} leaves out some of its rows"),
                again,
            );
        }
        for field in captured.schema.fields() {
            let column = field.name();
            if has.generated.contains(column) {
                let message = "the column is generated, and in no log";
                let help = format!(
                    "Compute it in the view, or recompute the view on a schedule. From PostgreSQL 18 on also, at the source: \
                     ALTER PUBLICATION {name} SET (publish_generated_columns = stored)"
                );
                let error = Error::new(Code::NoChangeCapture, message).help(help);
                return Err(at(self.settings, captured, error.at_column(column)));
            }
            if !has.columns.contains(column) {
                let message = format!("publication {name} does not have this column");
                return cannot(message, again).map_err(|e| e.at_column(column));
            }
        }
        Ok(())
    }

    /// Let it have a table.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] or [`Code::NoChangeCapture`] with the statements to run, where it was given, or the user may
    /// not; the connection's.
    pub async fn add(&mut self, lease: &mut Lease, captured: &Captured) -> Result<()> {
        let name = quoted(&self.name.text);
        let table = sql_name(&captured.table);
        let create = format!("CREATE PUBLICATION {name} WITH (publish_via_partition_root = true)");
        let add = format!("ALTER PUBLICATION {name} ADD TABLE {table}");
        let help = match self.is_there {
            true => format!("Run at the source, as the table's owner: {add}"),
            false => format!("Run at the source, as the table's owner: {create}; {add}"),
        };
        if !self.name.is_ours {
            let message = format!("publication {name} does not have the table");
            let error = Error::new(Code::NoChangeCapture, message).help(help);
            return Err(at(self.settings, captured, error));
        }
        let create = (!self.is_there).then_some(create);
        for statement in create.into_iter().chain([add]) {
            let done = writing(lease, &statement).await;
            match done.map_err(|e| (e.code().map(|c| c.code().to_string()), e)) {
                Ok(()) => self.is_there = true,
                // Somebody else was as quick.
                Err((Some(state), _)) if state == "42710" => self.is_there = true,
                Err((Some(state), e)) if state == "42501" => {
                    let denied = failure(self.settings, None, e).help(help);
                    return Err(at(self.settings, captured, denied));
                }
                Err((_, e)) => {
                    return Err(at(self.settings, captured, failure(self.settings, None, e)));
                }
            }
        }
        Ok(())
    }

    /// Whether there is the publication, and it is our user's: it was not made by somebody for us.
    ///
    /// # Errors
    /// The connection's.
    pub async fn is_own(client: &Client, settings: &Settings) -> Result<bool> {
        let owned = client
            .query_opt(OWNED, &[&settings.names.publication.text])
            .await;
        Ok(owned.map_err(|e| failure(settings, None, e))?.is_some())
    }
}

/// A statement that changes something at the source, in a transaction of its own. It does not wait for others for long.
pub async fn writing(lease: &mut Lease, statement: &str) -> Result<(), tokio_postgres::Error> {
    let all = format!("BEGIN READ WRITE; SET LOCAL lock_timeout = '10s'; {statement}; COMMIT");
    // Nobody else may have the connection in the middle of it.
    lease.busy();
    let Ok(client) = lease.client() else {
        return Ok(());
    };
    let done = client.batch_execute(&all).await;
    let is_settled = match done {
        Ok(()) => true,
        // What it did is undone. Where that fails, the connection is not used again.
        Err(_) => client.batch_execute("ROLLBACK").await.is_ok(),
    };
    if is_settled {
        lease.settled();
    }
    done
}

//! Whether a server can tell what changes, and by which columns each table's log names old rows.

use std::collections::HashMap;

use belvedere_connector::{Capture, TableRef};
use tokio_postgres::{Client, Error};

pub const WAL_LEVEL: &str = "its log does not hold what logical replication needs: run ALTER SYSTEM SET wal_level = logical, and restart it";

/// How the log names a row that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// By these columns, in the order of their index.
    Key(Vec<String>),
    /// It has all its columns.
    Whole,
    /// Not at all: the server would refuse updates and deletes of a table that is published.
    Nothing,
}

/// What one look at the server has found.
#[derive(Debug, Clone)]
pub struct Readiness {
    pub capture: Capture,
    pub identities: HashMap<TableRef, Identity>,
}

const SETTINGS: &str = "
SELECT pg_catalog.current_setting('wal_level'), pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('max_replication_slots')::int8,
       pg_catalog.current_setting('max_wal_senders')::int8,
       EXISTS (SELECT FROM pg_catalog.pg_roles
               WHERE (rolname = current_user AND (rolsuper OR rolreplication))
                  OR (rolname = 'rds_replication' AND pg_catalog.pg_has_role(oid, 'USAGE')))";

/// Of a relation: its `relreplident`, and the columns of the index that means.
macro_rules! identity {
    ($relation:literal) => {
        concat!(
            $relation,
            ".relreplident::text, ARRAY(
         SELECT a.attname::text
         FROM pg_catalog.pg_index i
         CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, n)
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         WHERE i.indrelid = ",
            $relation,
            ".oid AND i.indisvalid AND i.indimmediate AND k.n <= i.indnkeyatts
           AND CASE ",
            $relation,
            ".relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
         ORDER BY k.n)"
        )
    };
}
pub(super) use identity;

/// Of a table `c`: the relations `l` that its rows are in, itself or its partitions.
macro_rules! leaves {
    () => {
        " CROSS JOIN LATERAL (
  SELECT c.oid AS relid
  UNION SELECT t.relid::oid FROM pg_catalog.pg_partition_tree(c.oid) t WHERE t.isleaf) p
JOIN pg_catalog.pg_class l ON l.oid = p.relid
"
    };
}
pub(super) use leaves;

const IDENTITIES: &str = concat!(
    "SELECT n.nspname::text, c.relname::text, ",
    identity!("c"),
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
);

impl Identity {
    pub fn of(kind: &str, columns: Vec<String>) -> Self {
        match kind {
            "f" => Self::Whole,
            _ if columns.is_empty() => Self::Nothing,
            _ => Self::Key(columns),
        }
    }
}

/// The statement that lets a user replicate.
pub fn grant(user: &str) -> String {
    format!("ALTER ROLE {} REPLICATION", quoted(user))
}

/// A name as SQL has it, whatever is in it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub async fn read(client: &Client, user: &str) -> Result<Readiness, Error> {
    let row = client.query_one(SETTINGS, &[]).await?;
    let level: String = row.try_get(0)?;
    let why = if row.try_get(1)? {
        Some("it is a standby: name its primary in the URL".to_string())
    } else if level != "logical" {
        Some(WAL_LEVEL.to_string())
    } else if row.try_get::<_, i64>(2)? == 0 || row.try_get::<_, i64>(3)? == 0 {
        Some("it has no replication slots or no walsenders: raise max_replication_slots and max_wal_senders, and restart it".to_string())
    } else if !row.try_get::<_, bool>(4)? {
        Some(format!(
            "user {user} may not replicate: run {}",
            grant(user)
        ))
    } else {
        None
    };
    let mut identities = HashMap::new();
    for row in client.query(IDENTITIES, &[]).await? {
        let (schema, name) = (row.try_get(0)?, row.try_get(1)?);
        let identity = Identity::of(row.try_get(2)?, row.try_get(3)?);
        identities.insert(TableRef { schema, name }, identity);
    }
    Ok(Readiness {
        capture: why.map_or(Capture::Transactional, Capture::None),
        identities,
    })
}

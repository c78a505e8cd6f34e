use std::collections::HashMap;

use belvedere_connector::{Table, TableKind};
use tokio_postgres::{Client, Error};

use crate::settings::{Decision, Settings};

/// Tables in the making, found by their oid.
#[derive(Debug, Default)]
pub struct Relations {
    tables: Vec<Table>,
    by_oid: HashMap<u32, usize>,
}

/// Partitions are read through their parent. A parent has no pages of its own: its partitions' are summed up. Where
/// nothing was ever analyzed, the size is asked of the file system and the row count is unknown.
const RELATIONS: &str = r#"
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text,
       pg_catalog.obj_description(c.oid, 'pg_class'),
       CASE c.relkind
         WHEN 'p' THEN (SELECT sum(nullif(l.reltuples, -1))::float8
                        FROM pg_catalog.pg_partition_tree(c.oid) t
                        JOIN pg_catalog.pg_class l ON l.oid = t.relid AND t.isleaf)
         WHEN 'v' THEN NULL
         ELSE nullif(c.reltuples, -1)::float8
       END,
       CASE c.relkind
         WHEN 'p' THEN (SELECT sum(l.relpages)::float8
                        FROM pg_catalog.pg_partition_tree(c.oid) t
                        JOIN pg_catalog.pg_class l ON l.oid = t.relid AND t.isleaf)
         WHEN 'r' THEN c.relpages::float8
         WHEN 'm' THEN c.relpages::float8
       END * pg_catalog.current_setting('block_size')::float8,
       CASE WHEN c.relkind IN ('r', 'm') AND c.relpages = 0 AND c.reltuples < 0
            THEN pg_catalog.pg_relation_size(c.oid) END
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT c.relispartition
  AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^pg_'
  AND (pg_catalog.cardinality($1::text[]) = 0 OR n.nspname = ANY ($1))
ORDER BY n.nspname <> 'public', n.nspname, c.relname
"#;

pub async fn read(client: &Client, settings: &Settings) -> Result<Relations, Error> {
    let mut relations = Relations::default();
    for row in client.query(RELATIONS, &[&settings.schemas]).await? {
        let estimate = |n: Option<f64>| n.filter(|n| *n >= 0.0).map(|n| n as u64);
        let kind: String = row.try_get(3)?;
        let size_on_disk: Option<i64> = row.try_get(7)?;
        relations
            .by_oid
            .insert(row.try_get(0)?, relations.tables.len());
        relations.tables.push(Table {
            schema: row.try_get(1)?,
            name: row.try_get(2)?,
            kind: match kind.as_str() {
                "p" => TableKind::PartitionedTable,
                "v" => TableKind::View,
                "m" => TableKind::MaterializedView,
                "f" => TableKind::ForeignTable,
                _ => TableKind::Table,
            },
            columns: Vec::new(),
            primary_key: Vec::new(),
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            comment: row.try_get(4)?,
            row_count: estimate(row.try_get(5)?),
            size_bytes: size_on_disk
                .and_then(|n| u64::try_from(n).ok())
                .or(estimate(row.try_get(6)?)),
            warnings: Vec::new(),
        });
    }
    Ok(relations)
}

impl Relations {
    pub fn oids(&self) -> Vec<u32> {
        self.by_oid.keys().copied().collect()
    }

    pub fn get(&mut self, oid: u32) -> Option<&mut Table> {
        let index = *self.by_oid.get(&oid)?;
        self.tables.get_mut(index)
    }

    pub fn into_tables(self) -> Vec<Table> {
        self.tables
    }
}

impl Relations {
    /// A decision about a column that is not there helps nobody: say so on its table.
    pub fn check_decision(&mut self, decision: &Decision) {
        let named = self.tables.iter_mut().filter(|t| {
            t.name == decision.table && decision.schema.as_ref().is_none_or(|s| *s == t.schema)
        });
        let mut found = false;
        for table in named {
            found = true;
            if !table.columns.iter().any(|c| c.name == decision.column) {
                table.warnings.push(format!(
                    "the option columns decides about {}, which this table does not have",
                    decision.column
                ));
            }
        }
        if !found {
            tracing::warn!(
                table = decision.table,
                "the option columns decides about a table that was not found"
            );
        }
    }
}

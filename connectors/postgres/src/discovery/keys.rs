use belvedere_connector::ForeignKey;
use tokio_postgres::{Client, Error};

use super::relations::Relations;

/// Unique indexes over whole columns and all rows. A table that others inherit from shows their rows too, over which
/// its index is not unique.
const UNIQUE: &str = r#"
SELECT i.indrelid, i.indisprimary,
       ARRAY(SELECT a.attname::text
             FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, n)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             WHERE k.n <= i.indnkeyatts ORDER BY k.n)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
WHERE i.indrelid = ANY ($1) AND i.indisunique AND i.indisvalid AND i.indislive
  AND i.indpred IS NULL AND i.indexprs IS NULL
  AND NOT (c.relkind = 'r' AND c.relhassubclass)
ORDER BY i.indrelid, i.indexrelid
"#;

/// Declared once, on the topmost table of a partitioned one. Keys of periods (since 18) relate rows by more than equality.
const FOREIGN: &str = r#"
SELECT k.conrelid, k.conname::text, n.nspname::text, f.relname::text,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u (attnum, n)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
             ORDER BY u.n),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u (attnum, n)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum
             ORDER BY u.n)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class f ON f.oid = k.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = f.relnamespace
WHERE k.conrelid = ANY ($1) AND k.contype = 'f' AND k.conparentid = 0
  AND NOT coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false)
ORDER BY k.conrelid, k.conname
"#;

pub async fn read(client: &Client, relations: &mut Relations) -> Result<(), Error> {
    let oids = relations.oids();
    for row in client.query(UNIQUE, &[&oids]).await? {
        let Some(table) = relations.get(row.try_get(0)?) else {
            continue;
        };
        let columns: Vec<String> = row.try_get(2)?;
        if row.try_get(1)? {
            table.primary_key = columns;
            continue;
        }
        let never_null = columns
            .iter()
            .all(|name| table.columns.iter().any(|c| c.name == *name && !c.nullable));
        if never_null && !table.unique_keys.contains(&columns) {
            table.unique_keys.push(columns);
        }
    }
    for row in client.query(FOREIGN, &[&oids]).await? {
        let Some(table) = relations.get(row.try_get(0)?) else {
            continue;
        };
        table.foreign_keys.push(ForeignKey {
            name: row.try_get(1)?,
            columns: row.try_get(4)?,
            referenced_schema: row.try_get(2)?,
            referenced_table: row.try_get(3)?,
            referenced_columns: row.try_get(5)?,
        });
    }
    Ok(())
}

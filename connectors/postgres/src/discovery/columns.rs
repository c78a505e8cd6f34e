use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use belvedere_connector::{Column, Histogram, TableKind, measure};
use tokio_postgres::{Client, Error, Row};

use super::relations::Relations;
use crate::settings::Settings;
use crate::types::{NULL_WHERE_UNFIT, NativeKind, NativeType, mapping};

/// A column is never null if it is declared so, the declaration has been checked for the rows there are (PostgreSQL
/// 18 has NOT VALID), and it holds for the rows of inheriting tables too, which a read includes. (Constraints of kind
/// `n` exist from 18 on.)
const COLUMNS: &str = r#"
SELECT a.attrelid, a.attname::text, a.atttypid, a.atttypmod,
       pg_catalog.format_type(a.atttypid, a.atttypmod),
       a.attnotnull AND NOT EXISTS (
         SELECT FROM pg_catalog.pg_constraint k
         WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]
           AND (NOT k.convalidated OR (k.connoinherit AND c.relhassubclass))),
       pg_catalog.col_description(a.attrelid, a.attnum),
       nullif(a.attcollation, 0),
       CASE WHEN s.n_distinct < 0 THEN -s.n_distinct * greatest(c.reltuples, 0) ELSE s.n_distinct END::float8,
       CASE WHEN t.typcategory IN ('N', 'D') THEN s.histogram_bounds::text::text[] END,
       CASE WHEN t.typcategory IN ('N', 'D') THEN s.most_common_vals::text::text[] END,
       s.most_common_freqs, s.null_frac
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
  AND s.attname = a.attname AND s.inherited = (c.relkind = 'p')
WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"#;

/// The types in use, and what their domains and arrays are made of.
const TYPES: &str = r#"
WITH RECURSIVE used (oid) AS (
  SELECT DISTINCT unnest($1::oid[])
  UNION
  SELECT p.oid FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
  CROSS JOIN LATERAL (VALUES (t.typbasetype), (t.typelem)) p (oid)
  WHERE p.oid <> 0
)
SELECT t.oid, t.typname::text, t.typtype::text, t.typbasetype, t.typtypmod,
       CASE WHEN t.typcategory = 'A' AND t.typlen = -1
             AND t.typname NOT IN ('int2vector', 'oidvector') THEN t.typelem ELSE 0 END,
       pg_catalog.format_type(t.oid, NULL)
FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
"#;

/// The attributes of collations and databases have other names in each version.
const COLLATIONS: &str = r#"
SELECT c.oid, concat(nullif(n.nspname, 'pg_catalog') || '.', c.collname),
       c.collprovider::text, c.collisdeterministic,
       coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', to_jsonb(c) ->> 'collcollate')
FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
WHERE c.oid = ANY ($1)
UNION ALL
SELECT 0, 'default', coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'), true,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', d.datcollate::text)
FROM pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database()
"#;

pub async fn read(
    client: &Client,
    settings: &Settings,
    relations: &mut Relations,
) -> Result<(), Error> {
    let rows = client.query(COLUMNS, &[&relations.oids()]).await?;
    let types = Types::read(client, &rows).await?;
    let collations = Collations::read(client, &rows).await?;
    for row in &rows {
        let Some(table) = relations.get(row.try_get(0)?) else {
            continue;
        };
        let name: String = row.try_get(1)?;
        let native = types.resolve(row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        let mapping = mapping(
            &native,
            settings.decision(&table.schema, &table.name, &name),
        );
        let text = matches!(mapping.data_type, arrow::datatypes::DataType::Utf8);
        let distinct: Option<f64> = row.try_get(8)?;
        let declared_collation: Option<u32> = row.try_get(7)?;
        let histogram = histogram(row, &mapping.data_type)?;
        table.columns.push(Column {
            name,
            data_type: mapping.data_type,
            // The constraints of a foreign table are not enforced by anybody.
            nullable: mapping.or_null
                || table.kind == TableKind::ForeignTable
                || !row.try_get::<_, bool>(5)?,
            native_type: if mapping.or_null {
                format!("{}{NULL_WHERE_UNFIT}", native.display)
            } else {
                native.display
            },
            collation: text.then(|| collations.name(declared_collation)),
            comment: row.try_get(6)?,
            // Of no known number of rows a part is no number.
            distinct: distinct.filter(|n| *n >= 1.0).map(|n| n.round() as u64),
            histogram: histogram.map(Arc::new),
            note: mapping.note,
        });
    }
    for decision in &settings.decisions {
        relations.check_decision(decision);
    }
    Ok(())
}

/// Of what `pg_stats` has: the most common values with their part of the rows, and bounds of equal parts of the others.
fn histogram(row: &Row, data_type: &DataType) -> Result<Option<Histogram>, Error> {
    let texts = |column| {
        Ok::<_, Error>(
            row.try_get::<_, Option<Vec<String>>>(column)?
                .unwrap_or_default(),
        )
    };
    let (bounds, common) = (texts(9)?, texts(10)?);
    let parts: Vec<f32> = row.try_get::<_, Option<_>>(11)?.unwrap_or_default();
    let nulls: f32 = row.try_get::<_, Option<_>>(12)?.unwrap_or_default();
    let others = f64::from(1.0 - nulls - parts.iter().sum::<f32>()) / bounds.len().max(1) as f64;
    let common = common.into_iter().zip(parts.into_iter().map(f64::from));
    let values = common.chain(bounds.into_iter().map(|bound| (bound, others.max(0.0))));
    Ok(Histogram::of(values.filter_map(|(text, part)| {
        Some((measure(&text, data_type)?, part))
    })))
}

/// Types by oid.
struct Types(HashMap<u32, TypeRow>);

struct TypeRow {
    name: String,
    kind: String,
    base: u32,
    base_modifier: i32,
    element: u32,
    display: String,
}

impl Types {
    async fn read(client: &Client, columns: &[Row]) -> Result<Self, Error> {
        let used = columns
            .iter()
            .map(|row| row.try_get(2))
            .collect::<Result<Vec<u32>, _>>()?;
        let mut types = HashMap::new();
        for row in client.query(TYPES, &[&used]).await? {
            types.insert(
                row.try_get(0)?,
                TypeRow {
                    name: row.try_get(1)?,
                    kind: row.try_get(2)?,
                    base: row.try_get(3)?,
                    base_modifier: row.try_get(4)?,
                    element: row.try_get(5)?,
                    display: row.try_get(6)?,
                },
            );
        }
        Ok(Self(types))
    }

    /// The type with its domains resolved: a domain keeps its name for people and reads as its base type.
    fn resolve(&self, oid: u32, modifier: i32, display: String) -> NativeType {
        let Some(row) = self.0.get(&oid) else {
            return NativeType {
                name: display.clone(),
                display,
                modifier,
                kind: NativeKind::Other,
            };
        };
        if row.kind == "d" {
            return NativeType {
                display,
                ..self.resolve(row.base, row.base_modifier, String::new())
            };
        }
        let kind = match row.kind.as_str() {
            "e" => NativeKind::Enum,
            "b" if row.element != 0 => {
                let display = self
                    .0
                    .get(&row.element)
                    .map_or_else(String::new, |element| element.display.clone());
                // An array's modifier is its elements'.
                NativeKind::Array(Box::new(self.resolve(row.element, modifier, display)))
            }
            "b" => NativeKind::Base,
            _ => NativeKind::Other,
        };
        NativeType {
            name: row.name.clone(),
            display,
            modifier,
            kind,
        }
    }
}

/// Collations by oid, as the dialect wants to know them: `C`, `en_US.utf8`, `*und-x-ci` for one that takes different
/// texts as equal; with ` [LATIN1]` behind them where the server does not keep text as UTF-8.
struct Collations {
    by_oid: HashMap<u32, String>,
    default: String,
}

/// The oid of the collation named `default` in every PostgreSQL.
const DEFAULT_COLLATION: u32 = 100;

impl Collations {
    async fn read(client: &Client, columns: &[Row]) -> Result<Self, Error> {
        let mut used = columns
            .iter()
            .filter_map(|row| row.try_get(7).transpose())
            .collect::<Result<Vec<u32>, _>>()?;
        used.sort_unstable();
        used.dedup();
        let encoding: String = client
            .query_one("SELECT pg_catalog.current_setting('server_encoding')", &[])
            .await?
            .try_get(0)?;
        let suffix = match encoding.as_str() {
            "UTF8" => String::new(),
            other => format!(" [{other}]"),
        };
        let mut collations = Self {
            by_oid: HashMap::new(),
            default: String::new(),
        };
        for row in client.query(COLLATIONS, &[&used]).await? {
            let oid: u32 = row.try_get(0)?;
            let name: String = row.try_get(1)?;
            let provider: String = row.try_get(2)?;
            let deterministic: bool = row.try_get(3)?;
            let locale: Option<String> = row.try_get(4)?;
            let locale = locale.unwrap_or_else(|| name.clone());
            // libc's C and POSIX, and the built-in provider's C, compare bytes; C.UTF-8 of libc only nearly does.
            let bytewise =
                matches!(provider.as_str(), "c" | "b") && matches!(locale.as_str(), "C" | "POSIX");
            let shown = match (bytewise, oid) {
                (true, 0) => "C".to_string(),
                (false, 0) if provider == "i" => format!("{locale}-x-icu"),
                (false, 0) => locale,
                // Also of one that is a copy of C: PostgreSQL refuses to compare a column of one collation with a
                // column of another, even if they compare alike.
                (_, _) => name,
            };
            let mark = if deterministic { "" } else { "*" };
            let shown = format!("{mark}{shown}{suffix}");
            if oid == 0 {
                collations.default = shown;
            } else {
                collations.by_oid.insert(oid, shown);
            }
        }
        Ok(collations)
    }

    /// Of a column, or of a value cast to text, which compares by the default.
    fn name(&self, oid: Option<u32>) -> String {
        match oid {
            None | Some(DEFAULT_COLLATION) => self.default.clone(),
            Some(oid) => self
                .by_oid
                .get(&oid)
                .cloned()
                .unwrap_or_else(|| format!("*{oid}")),
        }
    }
}

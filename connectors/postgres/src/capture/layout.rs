//! What of a table's rows is wanted, and how each value is read.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use belvedere_connector::{Captured, Code, Error, NATIVE_TYPE, Result};
use belvedere_sqlgen::sql;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::message::Relation;
use super::published::shown;
use crate::decode::ColumnDecoder;
use crate::failure::failure;
use crate::settings::Settings;
use crate::stored;
use crate::types::NULL_WHERE_UNFIT;

/// Some columns of a table, as its log has them.
#[derive(Debug)]
pub struct Layout {
    /// For messages.
    pub table: String,
    pub schema: SchemaRef,
    pub columns: Vec<Wanted>,
}

#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its place in the log's rows.
    pub place: usize,
    pub reading: Reading,
}

/// How the values of a column are read.
#[derive(Debug, Clone)]
pub enum Reading {
    /// By the decoder that reads them from a copy, too.
    Decoded(Type),
    /// As the server writes them when it is asked, for types that a copy has it write: what to select, of a value `u.v` of a
    /// type of that name.
    Asked {
        expression: String,
        type_name: String,
    },
}

/// What old rows are known by.
#[derive(Debug)]
pub enum Old {
    Whole,
    /// By these columns of it.
    Key(Arc<Layout>),
}

/// A table that is followed, as it is from some message on.
#[derive(Debug)]
pub struct Shape {
    pub rows: Arc<Layout>,
    pub old: Old,
}

/// A type as the server describes it: as columns of it are declared, as its values are sent, and whether they are sent as their
/// text.
struct Described {
    declared: String,
    sent_as: u32,
    sent_name: String,
    is_text: bool,
}

/// Domains are sent as what they are made of.
const TYPES: &str = "
SELECT u.i::int8, pg_catalog.format_type(u.oid, u.modifier), b.oid, pg_catalog.format_type(b.oid, NULL),
       b.typtype = 'e' OR b.typname = 'citext'
FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY u (oid, modifier, i)
CROSS JOIN LATERAL (
  WITH RECURSIVE made_of AS (
    SELECT t.oid, t.typtype, t.typname, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = u.oid
    UNION ALL
    SELECT t.oid, t.typtype, t.typname, t.typbasetype
    FROM made_of m JOIN pg_catalog.pg_type t ON t.oid = m.typbasetype WHERE m.typtype = 'd')
  SELECT oid, typtype, typname FROM made_of WHERE typtype <> 'd') b";

impl Shape {
    /// # Errors
    /// [`Code::SchemaChanged`] and [`Code::NoChangeCapture`] if the table is not what it was; the connection's.
    pub async fn new(
        client: &Client,
        settings: &Settings,
        captured: &Captured,
        relation: &Relation,
    ) -> Result<Self> {
        let described = types(client, settings, relation).await?;
        let of_table = |e: Error| {
            e.at_source(&settings.source)
                .at_table(shown(&captured.table))
        };
        Self::of(captured, relation, &described).map_err(of_table)
    }

    fn of(
        captured: &Captured,
        relation: &Relation,
        described: &[Option<Described>],
    ) -> Result<Self> {
        let changed = |message: String, field: &Field| {
            let error = Error::new(Code::SchemaChanged, message).at_column(field.name());
            error.help("Run REFRESH SOURCE")
        };
        let mut columns = Vec::with_capacity(captured.schema.fields().len());
        for field in captured.schema.fields() {
            let place = relation
                .columns
                .iter()
                .position(|c| c.name == *field.name());
            let place =
                place.ok_or_else(|| changed("the column is not there any more".into(), field))?;
            let Some(described) = described.get(place).and_then(Option::as_ref) else {
                return Err(changed("its type is not there any more".into(), field));
            };
            let native = field.metadata().get(NATIVE_TYPE);
            let was = native.map(|native| native.strip_suffix(NULL_WHERE_UNFIT).unwrap_or(native));
            if let Some(was) = was.filter(|was| !holds(&described.declared, was)) {
                let message = format!("it was {was} and is {} now", described.declared);
                return Err(changed(message, field));
            }
            let native = native.unwrap_or(&described.declared);
            let reading = reading(native, field.data_type(), described);
            columns.push(Wanted { place, reading });
        }
        let table = shown(&captured.table);
        let old = match relation.identity {
            b'f' => Old::Whole,
            _ => key(captured, relation, &columns, &table)?,
        };
        let rows = Arc::new(Layout {
            table,
            schema: captured.schema.clone(),
            columns,
        });
        Ok(Self { rows, old })
    }
}

/// Whether a type has all values of another, in the same form: texts may get longer.
fn holds(now: &str, was: &str) -> bool {
    let longest = |name: &str| match name {
        "text" | "character varying" => Some(u32::MAX),
        _ => {
            let length = name.strip_prefix("character varying(")?;
            length.strip_suffix(')')?.parse().ok()
        }
    };
    now == was || longest(was).is_some_and(|was| longest(now).is_some_and(|now| now >= was))
}

/// The columns that name old rows, in the table's order.
fn key(captured: &Captured, relation: &Relation, columns: &[Wanted], table: &str) -> Result<Old> {
    let mut numbers = Vec::new();
    for column in relation.columns.iter().filter(|column| column.is_key) {
        let number = captured.schema.index_of(&column.name);
        numbers.push(number.map_err(|_| {
            let message = format!(
                "its log names old rows by column {}, which is not followed",
                column.name
            );
            Error::new(Code::SchemaChanged, message).help("Run REFRESH SOURCE")
        })?);
    }
    if numbers.is_empty() {
        let message =
            "its log does not name rows that change or go any more: it has no replica identity";
        return Err(Error::new(Code::NoChangeCapture, message).help(format!(
            "Run at the source: ALTER TABLE {table} REPLICA IDENTITY FULL"
        )));
    }
    let fields = numbers.iter().map(|&i| captured.schema.fields()[i].clone());
    let layout = Layout {
        table: table.to_string(),
        schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        columns: numbers.iter().map(|&i| columns[i].clone()).collect(),
    };
    Ok(Old::Key(Arc::new(layout)))
}

/// A value is decoded where a copy has it sent as it is; an enum's is its label.
fn reading(native: &str, data_type: &DataType, described: &Described) -> Reading {
    let value = sql::column("u", sql::word("v"));
    let sent = stored::on_the_wire(native, data_type, value.clone());
    let decided = native.ends_with(NULL_WHERE_UNFIT);
    let as_sent = match described.is_text && *data_type == DataType::Utf8 && !decided {
        true => Some(Type::TEXT),
        false => (sent == value)
            .then(|| Type::from_oid(described.sent_as))
            .flatten(),
    };
    match as_sent.filter(|sent| ColumnDecoder::new(data_type, sent).is_some()) {
        Some(sent) => Reading::Decoded(sent),
        None => Reading::Asked {
            expression: sent.to_string(),
            type_name: described.sent_name.clone(),
        },
    }
}

/// Of each of the relation's columns; None: the type is gone.
async fn types(
    client: &Client,
    settings: &Settings,
    relation: &Relation,
) -> Result<Vec<Option<Described>>> {
    let failed = |e| failure(settings, None, e);
    let oids: Vec<u32> = relation.columns.iter().map(|c| c.type_oid).collect();
    let modifiers: Vec<i32> = relation.columns.iter().map(|c| c.modifier).collect();
    let mut described: Vec<Option<Described>> = oids.iter().map(|_| None).collect();
    let rows = client
        .query(TYPES, &[&oids, &modifiers])
        .await
        .map_err(failed)?;
    for row in rows {
        let number: i64 = row.try_get(0).map_err(failed)?;
        let read = || {
            Ok(Described {
                declared: row.try_get(1)?,
                sent_as: row.try_get(2)?,
                sent_name: row.try_get(3)?,
                is_text: row.try_get(4)?,
            })
        };
        if let Some(described) = described.get_mut((number - 1) as usize) {
            *described = Some(read().map_err(failed)?);
        }
    }
    Ok(described)
}

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables,
};
use arrow_flight::{IpcMessage, SchemaAsIpc};
use datafusion::arrow::array::{AsArray, BinaryArray, RecordBatch};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use tonic::Status;

use super::{Row, rows};
use crate::catalog::CATALOG;
use crate::engine::Session;
use crate::serve::flight::status::encoding;
use crate::serve::flight::wire::plain_field;

/// Kinds of tables as the engine names them, and as JDBC and its like do.
const TABLE_TYPES: &[(&str, &str)] = &[
    ("BASE TABLE", "TABLE"),
    ("VIEW", "VIEW"),
    ("MATERIALIZED VIEW", "MATERIALIZED VIEW"),
    ("FOREIGN", "FOREIGN TABLE"),
    ("SYSTEM", "SYSTEM TABLE"),
];

fn table_type(kind: &str) -> &str {
    TABLE_TYPES
        .iter()
        .find(|(own, _)| *own == kind)
        .map_or(kind, |(_, name)| name)
}

pub(in crate::serve::flight) async fn catalogs(
    session: &Session,
    query: CommandGetCatalogs,
) -> Result<RecordBatch, Status> {
    let sources = rows(session, "SELECT name FROM system.sources").await?;
    let mut builder = query.into_builder();
    builder.append(CATALOG);
    for [name] in sources {
        builder.append(name.unwrap_or_default());
    }
    Ok(builder.build()?)
}

pub(in crate::serve::flight) async fn schemas(
    session: &Session,
    query: CommandGetDbSchemas,
) -> Result<RecordBatch, Status> {
    let sql = "SELECT catalog_name, schema_name FROM information_schema.schemata";
    let found: Vec<Row<2>> = rows(session, sql).await?;
    let mut builder = query.into_builder();
    for [catalog, schema] in found {
        builder.append(catalog.unwrap_or_default(), schema.unwrap_or_default());
    }
    Ok(builder.build()?)
}

pub(in crate::serve::flight) fn table_types(
    query: CommandGetTableTypes,
) -> Result<RecordBatch, Status> {
    let mut builder = query.into_builder();
    for (_, name) in TABLE_TYPES {
        builder.append(name);
    }
    Ok(builder.build()?)
}

pub(in crate::serve::flight) async fn tables(
    session: &Session,
    query: CommandGetTables,
) -> Result<RecordBatch, Status> {
    let sql = "SELECT source, schema, name, kind FROM system.tables";
    let found: Vec<Row<4>> = rows(session, sql).await?;
    // Names are filtered and sorted first: a table's schema costs planning a query over it.
    let names = CommandGetTables {
        include_schema: false,
        ..query.clone()
    };
    let mut builder = names.into_builder();
    for [source, schema, name, kind] in found {
        let text = Option::unwrap_or_default;
        let kind = text(kind);
        builder.append(
            text(source),
            text(schema),
            text(name),
            table_type(&kind),
            &Schema::empty(),
        )?;
    }
    let names = builder.build()?;
    if !query.include_schema {
        return Ok(names);
    }
    let about = Columns::read(session).await?;
    let mut encoded = Vec::with_capacity(names.num_rows());
    let text = |column: usize, row: usize| names.column(column).as_string::<i32>().value(row);
    for row in 0..names.num_rows() {
        let table = [text(0, row), text(1, row), text(2, row)];
        encoded.push(encode(&about.schema(session, table).await)?);
    }
    let mut columns = names.columns().to_vec();
    columns.push(Arc::new(BinaryArray::from_iter_values(encoded)));
    let schema = query.into_builder().schema();
    RecordBatch::try_new(schema, columns).map_err(encoding)
}

fn encode(schema: &Schema) -> Result<Vec<u8>, Status> {
    let options = IpcWriteOptions::default();
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &options)
        .try_into()
        .map_err(encoding)?;
    Ok(bytes.to_vec())
}

/// What there is to say of columns.
struct Columns {
    /// Type and comment, as their sources say: (source, schema, table, column).
    said: HashMap<[String; 4], (Option<String>, Option<String>)>,
    /// Sources whose tables are written to.
    writable: BTreeSet<String>,
}

impl Columns {
    async fn read(session: &Session) -> Result<Self, Status> {
        let sql = "SELECT source, schema, \"table\", name, coalesce(native_type, type), comment \
                   FROM system.columns";
        let found: Vec<Row<6>> = rows(session, sql).await?;
        let entry = |[source, schema, table, name, native, comment]: Row<6>| {
            let key = [source, schema, table, name].map(Option::unwrap_or_default);
            (key, (native, comment))
        };
        Ok(Self {
            said: found.into_iter().map(entry).collect(),
            writable: session.writable_sources(),
        })
    }

    /// A table's schema: that of a query over it. Empty if it cannot be queried any more, so that one broken view does
    /// not hide all others.
    async fn schema(&self, session: &Session, table: [&str; 3]) -> Schema {
        let name = belvedere_sql::Name::new(table);
        let prepared = match session.prepare(&format!("SELECT * FROM {name}")).await {
            Ok(prepared) => prepared,
            Err(e) => {
                tracing::debug!("{name} has no schema: {e}");
                return Schema::empty();
            }
        };
        let fields = prepared
            .schema
            .fields()
            .iter()
            .map(|field| self.described(field, table));
        Schema::new(fields.collect::<Vec<_>>())
    }

    /// The field with what the protocol says of a column.
    fn described(&self, field: &Field, [source, schema, table]: [&str; 3]) -> Field {
        let key = [source, schema, table, field.name()].map(str::to_string);
        let (native, comment) = self.said.get(&key).cloned().unwrap_or_default();
        let mut metadata = HashMap::new();
        let mut insert = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                metadata.insert(format!("ARROW:FLIGHT:SQL:{name}"), value);
            }
        };
        insert("CATALOG_NAME", Some(source.to_string()));
        insert("SCHEMA_NAME", Some(schema.to_string()));
        insert("TABLE_NAME", Some(table.to_string()));
        insert("TYPE_NAME", native);
        insert("REMARKS", comment);
        let is_read_only = !self.writable.contains(source);
        insert("IS_READ_ONLY", Some(u8::from(is_read_only).to_string()));
        insert("IS_SEARCHABLE", Some("1".to_string()));
        plain_field(field).with_metadata(metadata)
    }
}

/// The names in a list like `a, "b, c"`, as keys are listed.
pub(super) fn listed(text: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                push(&mut names, '"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => {
                if chars.peek() == Some(&' ') {
                    chars.next();
                }
                names.push(String::new());
            }
            other => push(&mut names, other),
        }
    }
    names
}

fn push(names: &mut [String], char: char) {
    if let Some(last) = names.last_mut() {
        last.push(char);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_names_are_read() {
        assert_eq!(listed("a, b"), ["a", "b"]);
        assert_eq!(listed("\"a, \"\"b\", c d"), ["a, \"b", "c d"]);
    }
}

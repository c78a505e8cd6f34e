//! `SHOW` and `DESCRIBE`: questions to the system tables.

use std::sync::Arc;

use belvedere_sql::{Name, Show, Statement, Value, fold};
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use futures::TryStreamExt;

use super::define::existing_source;
use super::names::Names;
use super::{labels, query};
use crate::catalog::ObjectId;
use crate::error::{Error, Result};
use crate::federation::capabilities;

pub(super) async fn show(statement: &Statement, names: &Names) -> Result<RecordBatch> {
    let show = match statement {
        Statement::Show(show) => show,
        Statement::Describe { name } => return describe(name, names).await,
        Statement::DescribeQuery(ast) => {
            let planned = query::plan_answer(names.clone(), ast).await?;
            let as_postgres = names.settings.one_database;
            let schema = labels::shown_schema(planned.plan.schema().inner(), as_postgres);
            return columns(&schema, &[]);
        }
        _ => return Err(Error::Internal("neither SHOW nor DESCRIBE".into())),
    };
    match show {
        Show::Setting(name) => {
            let name = name.dotted();
            if name == "last_write" {
                return texts(vec![(&name, vec![names.caller.written.last()])]);
            }
            texts(vec![(&name, vec![names.settings.get(&name)?])])
        }
        Show::All => {
            let all: Vec<_> = names.settings.iter().collect();
            texts(vec![
                ("name", all.iter().map(|s| s.0.to_string()).collect()),
                ("setting", all.iter().map(|s| s.1.clone()).collect()),
                ("description", all.iter().map(|s| s.2.to_string()).collect()),
            ])
        }
        Show::Sources => {
            ask(names, "SELECT name, connector, url, state, tables, owner FROM system.sources ORDER BY name").await
        }
        Show::Schemas => {
            ask(
                names,
                "SELECT catalog_name AS catalog, schema_name AS schema FROM information_schema.schemata ORDER BY 1, 2",
            )
            .await
        }
        Show::Tables { from, like } => {
            let select = "SELECT source, schema, name, kind, row_estimate, comment FROM system.tables";
            list(names, select, "kind <> 'SYSTEM'", from, like).await
        }
        Show::Views { from, like } => {
            let select = "SELECT 'belvedere' AS source, schema, name, owner, depends_on, comment FROM system.views";
            list(names, select, "true", from, like).await
        }
        Show::Columns(name) => describe(name, names).await,
        Show::CreateView(name) => {
            let names = names.outline();
            names.resolve(&name.fold()).await?;
            let id = names.referenced().pop_first();
            let key = match id.as_ref().map(|id| id.0.as_slice()) {
                Some([_, schema, view]) => (schema.clone(), view.clone()),
                _ => return Err(Error::Internal("a resolved view has a name".into())),
            };
            let view = names.world.definitions.views.get(&key).ok_or_else(|| {
                Error::invalid(format!("{name} is a table, not a view"))
            })?;
            // Of what is not all seen there is no text.
            if view.query.is_empty() {
                names.world.permits_all("view", &view.id())?;
            }
            texts(vec![
                ("view", vec![view.id().to_string()]),
                ("definition", vec![super::apply::view_text(view)]),
            ])
        }
        Show::CreateSource(name) => {
            let name = existing_source(&names.world, &fold(name))?;
            let source = &names.world.definitions.sources[&name];
            names.world.permits_all("source", &ObjectId::new([&name]))?;
            texts(vec![
                ("source", vec![name.clone()]),
                ("definition", vec![super::apply::source_text(source)]),
            ])
        }
        Show::Capabilities(name) => {
            let name = existing_source(&names.world, &fold(name))?;
            let tables = names.world.definitions.tables(&name);
            let found = match names.world.live.get(&name) {
                Some(live) => capabilities(&live.handle, tables),
                None => Vec::new(),
            };
            texts(vec![
                ("operation", found.iter().map(|c| c.operation.clone()).collect()),
                ("of", found.iter().map(|c| c.of.clone()).collect()),
                ("support", found.iter().map(|c| c.support.to_string()).collect()),
                ("leakproof", found.iter().map(|c| yes(c.is_leakproof)).collect()),
                ("detail", found.iter().map(|c| c.detail.clone()).collect()),
            ])
        }
    }
}

async fn list(
    names: &Names,
    select: &str,
    condition: &str,
    from: &Option<Name>,
    like: &Option<String>,
) -> Result<RecordBatch> {
    let text = |text: &str| Value::String(text.to_string()).to_string();
    let mut conditions = vec![condition.to_string()];
    match from.as_ref().map(Name::fold).as_deref() {
        None => {}
        Some([one]) => conditions.push(format!(
            "(source = {0} OR (source = 'belvedere' AND schema = {0}))",
            text(one)
        )),
        Some([source, schema]) => {
            conditions.push(format!(
                "source = {} AND schema = {}",
                text(source),
                text(schema)
            ));
        }
        Some(_) => return Err(Error::invalid("FROM names a source or schema")),
    }
    if let Some(pattern) = like {
        conditions.push(format!("name LIKE {}", text(pattern)));
    }
    let sql = format!(
        "SELECT * FROM ({select}) AS t WHERE {} ORDER BY source, schema, name",
        conditions.join(" AND ")
    );
    ask(names, &sql).await
}

/// The answer to one of our own questions, as one batch.
async fn ask(names: &Names, sql: &str) -> Result<RecordBatch> {
    let Statement::Query(ast) = belvedere_sql::parse_one(sql)?.statement else {
        return Err(Error::Internal(format!("not a query: {sql}")));
    };
    let planned = query::plan(names.clone(), &ast).await?;
    let stream = planned.run(None).await?.stream;
    let schema = stream.schema();
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    concat_batches(&schema, &batches).map_err(|e| Error::Internal(e.to_string()))
}

async fn describe(name: &Name, names: &Names) -> Result<RecordBatch> {
    let provider = names.resolve(&name.fold()).await?;
    let schema = provider.schema();
    let id = names
        .referenced()
        .pop_first()
        .unwrap_or(ObjectId(Vec::new()));
    let comments = schema
        .fields()
        .iter()
        .map(|field| column_comment(names, &id, field.name()));
    columns(&schema, &comments.collect::<Vec<_>>())
}

fn column_comment(names: &Names, table: &ObjectId, column: &str) -> Option<String> {
    let mut id = table.clone();
    id.0.push(column.to_string());
    let definitions = &names.world.definitions;
    let own = definitions.comments.get(&id).cloned();
    own.or_else(|| {
        let [source, schema, name] = table.0.as_slice() else {
            return None;
        };
        let tables = definitions.tables(source);
        let table = tables
            .iter()
            .find(|t| t.schema == *schema && t.name == *name)?;
        table
            .columns
            .iter()
            .find(|c| c.name == column)?
            .comment
            .clone()
    })
}

fn columns(schema: &Schema, comments: &[Option<String>]) -> Result<RecordBatch> {
    let fields = schema.fields();
    let names = StringArray::from_iter_values(fields.iter().map(|f| f.name()));
    let types = StringArray::from_iter_values(
        fields
            .iter()
            .map(|f| super::system::sql_type(f.data_type())),
    );
    let nullable: BooleanArray = fields.iter().map(|f| Some(f.is_nullable())).collect();
    let comments: StringArray = (0..fields.len())
        .map(|i| comments.get(i).cloned().flatten())
        .collect();
    let output = Schema::new(vec![
        Field::new("column", DataType::Utf8, false),
        Field::new("type", DataType::Utf8, false),
        Field::new("nullable", DataType::Boolean, false),
        Field::new("comment", DataType::Utf8, true),
    ]);
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(names),
        Arc::new(types),
        Arc::new(nullable),
        Arc::new(comments),
    ];
    RecordBatch::try_new(Arc::new(output), arrays).map_err(|e| Error::Internal(e.to_string()))
}

fn texts(columns: Vec<(&str, Vec<String>)>) -> Result<RecordBatch> {
    let fields = columns
        .iter()
        .map(|(name, _)| Field::new(*name, DataType::Utf8, false));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns
        .into_iter()
        .map(|(_, values)| Arc::new(StringArray::from(values)) as _);
    RecordBatch::try_new(schema, arrays.collect()).map_err(|e| Error::Internal(e.to_string()))
}

fn yes(is_so: bool) -> String {
    match is_so {
        true => "yes".to_string(),
        false => "no".to_string(),
    }
}

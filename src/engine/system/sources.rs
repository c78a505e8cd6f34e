use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::Definition;
use crate::catalog::SYSTEM;
use crate::engine::names::Names;
use crate::error::{Error, Result};
use crate::federation::Health;

/// Sources, how they are, and who answers for them.
pub(super) const SOURCES: Definition =
    Definition { schema_name: SYSTEM, name: "sources", columns, rows };

fn columns() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let discovered = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        text("name", false),
        text("connector", false),
        text("url", false),
        text("state", false),
        text("error", true),
        Field::new("tables", DataType::UInt64, false),
        text("owner", true),
        text("contact", true),
        text("event", true),
        text("impact", true),
        text("runbook", true),
        text("comment", true),
        Field::new("discovered_at", discovered, true),
    ]))
}

fn rows(names: &Names) -> Result<RecordBatch> {
    let definitions = &names.world.definitions;
    let sources: Vec<_> = definitions.sources.values().collect();
    let live = |name: &str| names.world.live.get(name);
    let health: Vec<Health> = sources
        .iter()
        .map(|s| live(&s.name).map(|l| l.handle.health()).unwrap_or_default())
        .collect();
    let connectors = sources.iter().map(|s| live(&s.name).map_or("", |l| l.connector));
    let states = health.iter().map(|h| match h {
        Health::Unknown => "unknown",
        Health::Up => "ok",
        Health::Down(_) => "down",
    });
    let errors = health.iter().map(|h| match h {
        Health::Down(error) => Some(error.as_str()),
        _ => None,
    });
    let mut columns_: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(sources.iter().map(|s| &s.name))),
        Arc::new(StringArray::from_iter_values(connectors)),
        Arc::new(StringArray::from_iter_values(sources.iter().map(|s| &s.url))),
        Arc::new(StringArray::from_iter_values(states)),
        Arc::new(errors.collect::<StringArray>()),
        Arc::new(UInt64Array::from_iter_values(
            sources.iter().map(|s| definitions.tables(&s.name).len() as u64),
        )),
    ];
    for field in 0..5 {
        let values = sources.iter().map(|s| s.about.fields()[field].1.clone());
        columns_.push(Arc::new(values.collect::<StringArray>()));
    }
    columns_.push(Arc::new(sources.iter().map(|s| s.comment.clone()).collect::<StringArray>()));
    let discovered = sources.iter().map(|s| definitions.discoveries.get(&s.name).map(|d| d.at_us));
    let discovered: TimestampMicrosecondArray = discovered.collect();
    columns_.push(Arc::new(discovered.with_timezone("UTC")));
    RecordBatch::try_new(columns(), columns_).map_err(|e| Error::Internal(e.to_string()))
}

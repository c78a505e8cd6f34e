use belvedere_connector::Histogram;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::temporal_conversions::date32_to_datetime;

use super::relations::{Relation, relations};
use super::sql_type;
use super::table::{Definition, Fill, Kind, Rows, always, maybe, row};
use crate::catalog::SYSTEM;
use crate::engine::names::Names;

/// Tables and views: our own, with source `belvedere`, and those of the sources.
pub(super) const TABLES: Definition = Definition {
    schema: SYSTEM,
    name: "tables",
    columns: &[
        always("source", Kind::Text),
        always("schema", Kind::Text),
        always("name", Kind::Text),
        always("kind", Kind::Text),
        maybe("row_estimate", Kind::Count),
        maybe("size_bytes", Kind::Count),
        maybe("primary_key", Kind::Text),
        maybe("comment", Kind::Text),
        maybe("warnings", Kind::Text),
    ],
    rows: Fill::Known(tables),
};

/// What each column is read as, and what the source calls it.
pub(super) const COLUMNS: Definition = Definition {
    schema: SYSTEM,
    name: "columns",
    columns: &[
        always("source", Kind::Text),
        always("schema", Kind::Text),
        always("table", Kind::Text),
        always("name", Kind::Text),
        always("ordinal", Kind::Integer),
        always("type", Kind::Text),
        always("nullable", Kind::Boolean),
        maybe("native_type", Kind::Text),
        maybe("collation", Kind::Text),
        maybe("comment", Kind::Text),
        maybe("distinct_values", Kind::Count),
        maybe("least", Kind::Text),
        maybe("greatest", Kind::Text),
        maybe("note", Kind::Text),
    ],
    rows: Fill::Known(columns),
};

fn tables(names: &Names, rows: &mut Rows) {
    for relation in relations(&names.world) {
        let table = relation.table();
        let kind = match &relation {
            Relation::View(view) if view.materialized.is_some() => "MATERIALIZED VIEW",
            Relation::View(_) => "VIEW",
            Relation::Table { table, .. } => table.kind.sql_name(),
            Relation::System(_) => "SYSTEM",
        };
        let list = |texts: &[String], separator| {
            Some(texts.join(separator)).filter(|text| !text.is_empty())
        };
        rows.push(row![
            relation.catalog(),
            relation.schema(),
            relation.name(),
            kind,
            table.and_then(|t| t.row_count),
            table.and_then(|t| t.size_bytes),
            table.and_then(|t| list(&t.primary_key, ", ")),
            relation.comment(&names.world),
            table.and_then(|t| list(&t.warnings, "; ")),
        ]);
    }
}

fn columns(names: &Names, rows: &mut Rows) {
    for relation in relations(&names.world) {
        for (i, column) in relation.columns(&names.world).into_iter().enumerate() {
            let bounds = column
                .histogram
                .map(|known| bounds(known, &column.data_type));
            rows.push(row![
                relation.catalog(),
                relation.schema(),
                relation.name(),
                column.name,
                i as i32 + 1,
                sql_type(&column.data_type),
                column.nullable,
                column.native_type,
                column.collation,
                column.comment,
                column.distinct,
                bounds.as_ref().and_then(|bounds| bounds.first()),
                bounds.as_ref().and_then(|bounds| bounds.last()),
                column.note,
            ]);
        }
    }
}

/// How the values of columns are spread, as far as their sources know or a sample shows.
pub(super) const HISTOGRAMS: Definition = Definition {
    schema: SYSTEM,
    name: "histograms",
    columns: &[
        always("source", Kind::Text),
        always("schema", Kind::Text),
        always("table", Kind::Text),
        always("column", Kind::Text),
        // The part of the rows that have less.
        always("part", Kind::Real),
        always("value", Kind::Text),
    ],
    rows: Fill::Known(histograms),
};

fn histograms(names: &Names, rows: &mut Rows) {
    for relation in relations(&names.world) {
        for column in relation.columns(&names.world) {
            let Some(known) = column.histogram else {
                continue;
            };
            let bounds = bounds(known, &column.data_type);
            let parts = (bounds.len() - 1) as f64;
            for (i, bound) in bounds.into_iter().enumerate() {
                rows.push(row![
                    relation.catalog(),
                    relation.schema(),
                    relation.name(),
                    column.name,
                    i as f64 / parts,
                    bound,
                ]);
            }
        }
    }
}

/// The bounds of a histogram as its column's values, but for fractions of a day.
fn bounds(histogram: &Histogram, data_type: &DataType) -> Vec<String> {
    let days = matches!(data_type, DataType::Date32 | DataType::Timestamp(_, _));
    let text = |bound: &f64| match date32_to_datetime(bound.floor() as i32) {
        Some(date) if days => date.date().to_string(),
        _ => bound.to_string(),
    };
    histogram.bounds().iter().map(text).collect()
}

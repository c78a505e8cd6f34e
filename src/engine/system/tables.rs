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
        maybe("note", Kind::Text),
    ],
    rows: Fill::Known(columns),
};

/// Our own views, and who answers for them.
pub(super) const VIEWS: Definition = Definition {
    schema: SYSTEM,
    name: "views",
    columns: &[
        always("schema", Kind::Text),
        always("name", Kind::Text),
        always("sql", Kind::Text),
        maybe("owner", Kind::Text),
        maybe("contact", Kind::Text),
        maybe("event", Kind::Text),
        maybe("impact", Kind::Text),
        maybe("runbook", Kind::Text),
        maybe("comment", Kind::Text),
        always("columns", Kind::Text),
        always("depends_on", Kind::Text),
    ],
    rows: Fill::Known(views),
};

fn tables(names: &Names, rows: &mut Rows) {
    for relation in relations(&names.world) {
        let table = relation.table();
        let kind = match &relation {
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
            relation.comment(names),
            table.and_then(|t| list(&t.warnings, "; ")),
        ]);
    }
}

fn columns(names: &Names, rows: &mut Rows) {
    for relation in relations(&names.world) {
        for (i, column) in relation.columns(names).into_iter().enumerate() {
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
                column.note,
            ]);
        }
    }
}

fn views(names: &Names, rows: &mut Rows) {
    for relation in relations(&names.world) {
        let Relation::View(view) = relation else {
            continue;
        };
        let columns: Vec<_> = view.columns.iter().map(|c| c.name.as_str()).collect();
        let depends_on: Vec<_> = view.depends_on.iter().map(ToString::to_string).collect();
        let about = &view.about;
        rows.push(row![
            &view.schema,
            &view.name,
            &view.query,
            &about.owner,
            &about.contact,
            &about.event,
            &about.impact,
            &about.runbook,
            relation.comment(names),
            columns.join(", "),
            depends_on.join(", "),
        ]);
    }
}

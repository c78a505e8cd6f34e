use futures::FutureExt;
use futures::future::BoxFuture;

use super::table::{Definition, Fill, Kind, Rows, always, maybe, row};
use crate::catalog::SYSTEM;
use crate::engine::lineage::{Lineage, Origin};
use crate::engine::names::Names;
use crate::error::Result;

/// What the columns of our own views are computed from. A `value` row: `view_column` is computed from `column`. A
/// `filter` row, with `view_column` NULL: `column` decides which rows there are (WHERE, HAVING, ON, GROUP BY, DISTINCT,
/// the order of a LIMIT). `direct`: the view's own text reads it; else through a view it reads.
pub(super) const LINEAGE: Definition = Definition {
    schema: SYSTEM,
    name: "lineage",
    columns: &[
        always("view_schema", Kind::Text),
        always("view", Kind::Text),
        maybe("view_column", Kind::Text),
        always("source", Kind::Text),
        always("schema", Kind::Text),
        always("table", Kind::Text),
        always("column", Kind::Text),
        always("kind", Kind::Text),
        always("direct", Kind::Boolean),
    ],
    rows: Fill::Planned(rows),
};

fn rows<'a>(names: &'a Names, rows: &'a mut Rows) -> BoxFuture<'a, Result<()>> {
    async move {
        let lineage = Lineage::of_all_views(&names.with_all_rights()).await;
        let is_seen = |origin: &Origin| {
            let allowed = names.world.allowed(&origin.table);
            allowed.sees() && allowed.columns_seen().contains(&origin.column)
        };
        for view in names.world.definitions.views.values() {
            let mut push = |column: Option<&String>, kind, origin: &Origin, direct| {
                if let [source, schema, table] = origin.table.0.as_slice() {
                    rows.push(row![
                        &view.schema,
                        &view.name,
                        column,
                        source,
                        schema,
                        table,
                        &origin.column,
                        kind,
                        direct,
                    ]);
                }
            };
            // As it is defined, and not as it is seen.
            let whole = names.view(&view.id()).unwrap_or(view);
            let columns = whole.columns.iter().enumerate();
            let columns = columns.filter(|(_, column)| view.columns.contains(column));
            for (i, column) in columns {
                let values = lineage.values(&view.id(), i).into_iter();
                for (origin, direct) in values.filter(|(origin, _)| is_seen(origin)) {
                    push(Some(&column.name), "value", &origin, direct);
                }
            }
            let filters = lineage.filters(&view.id()).into_iter();
            for (origin, direct) in filters.filter(|(origin, _)| is_seen(origin)) {
                push(None, "filter", &origin, direct);
            }
        }
        Ok(())
    }
    .boxed()
}

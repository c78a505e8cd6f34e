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
        let lineage = Lineage::of_all_views(names).await;
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
            for (i, column) in view.columns.iter().enumerate() {
                for (origin, direct) in lineage.values(&view.id(), i) {
                    push(Some(&column.name), "value", &origin, direct);
                }
            }
            for (origin, direct) in lineage.filters(&view.id()) {
                push(None, "filter", &origin, direct);
            }
        }
        Ok(())
    }
    .boxed()
}

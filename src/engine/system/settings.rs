use super::table::{Definition, Fill, Kind, Rows, always, row};
use crate::catalog::SYSTEM;
use crate::engine::names::Names;

/// The session's settings.
pub(super) const SETTINGS: Definition = Definition {
    schema: SYSTEM,
    name: "settings",
    columns: &[
        always("name", Kind::Text),
        always("value", Kind::Text),
        always("description", Kind::Text),
    ],
    rows: Fill::Known(rows),
};

fn rows(names: &Names, rows: &mut Rows) {
    for (name, value, description) in names.settings.iter() {
        rows.push(row![name, value, description]);
    }
}

use std::borrow::Cow;
use std::collections::BTreeSet;

use belvedere_connector::{Histogram, Table};
use datafusion::arrow::datatypes::DataType;

use super::ALL;
use super::pg_catalog::schema_name;
use super::table::Definition;
use crate::catalog::{CATALOG, INFORMATION_SCHEMA, ObjectId, PUBLIC, SYSTEM, ViewDefinition};
use crate::engine::names::Names;
use crate::engine::world::World;

/// Whatever has rows: an own view, a source's table, a system table.
pub(in crate::engine) enum Relation<'a> {
    View(&'a ViewDefinition),
    Table { source: &'a str, table: &'a Table },
    System(&'static Definition),
}

/// A relation's column.
pub(in crate::engine) struct ColumnFacts<'a> {
    pub name: &'a str,
    pub data_type: Cow<'a, DataType>,
    pub nullable: bool,
    /// Of a source's table alone, like those below.
    pub native_type: Option<&'a str>,
    pub collation: Option<&'a str>,
    pub distinct: Option<u64>,
    pub histogram: Option<&'a Histogram>,
    pub note: Option<&'a str>,
    pub comment: Option<&'a str>,
}

/// All relations: own ones first, then those of each source.
pub(in crate::engine) fn relations(world: &World) -> impl Iterator<Item = Relation<'_>> {
    let definitions = &world.definitions;
    let views = definitions.views.values().map(|view| Relation::View(view));
    let tables = definitions.sources.keys().flat_map(|source| {
        definitions
            .tables(source)
            .iter()
            .map(|table| Relation::Table { source, table })
    });
    views.chain(ALL.iter().map(Relation::System)).chain(tables)
}

/// Catalog and name of all schemas.
pub(super) fn schemas(world: &World) -> BTreeSet<(&str, &str)> {
    let definitions = &world.definitions;
    let built_in = [PUBLIC, SYSTEM, INFORMATION_SCHEMA].into_iter();
    let own = built_in.chain(definitions.schemas.iter().map(String::as_str));
    let mut all: BTreeSet<_> = own.map(|schema| (CATALOG, schema)).collect();
    for (source, live) in &world.live {
        all.insert((source, live.handle.source.default_schema()));
        all.extend(
            definitions
                .tables(source)
                .iter()
                .map(|t| (source.as_str(), t.schema.as_str())),
        );
    }
    all
}

/// Catalog and schema as the session that asks knows them: a source is a catalog, or a schema of the only database.
pub(super) fn place<'a>(
    names: &Names,
    catalog: &'a str,
    schema: &'a str,
) -> (&'a str, Cow<'a, str>) {
    match names.settings.one_database {
        false => (catalog, Cow::Borrowed(schema)),
        true => (
            CATALOG,
            Cow::Owned(schema_name(&names.world, catalog, schema)),
        ),
    }
}

impl<'a> Relation<'a> {
    pub fn catalog(&self) -> &'a str {
        match self {
            Self::View(_) | Self::System(_) => CATALOG,
            Self::Table { source, .. } => source,
        }
    }

    pub fn schema(&self) -> &'a str {
        match self {
            Self::View(view) => &view.schema,
            Self::Table { table, .. } => &table.schema,
            Self::System(definition) => definition.schema,
        }
    }

    pub fn name(&self) -> &'a str {
        match self {
            Self::View(view) => &view.name,
            Self::Table { table, .. } => &table.name,
            Self::System(definition) => definition.name,
        }
    }

    pub fn id(&self) -> ObjectId {
        ObjectId::new([self.catalog(), self.schema(), self.name()])
    }

    /// The source's table.
    pub fn table(&self) -> Option<&'a Table> {
        match self {
            Self::Table { table, .. } => Some(table),
            _ => None,
        }
    }

    /// `COMMENT ON` goes before the source's own.
    pub fn comment<'n>(&self, world: &'n World) -> Option<&'n str>
    where
        'a: 'n,
    {
        let ours = world.definitions.comments.get(&self.id());
        let ours = ours.map(String::as_str);
        ours.or(match self {
            Self::View(view) => view.comment.as_deref(),
            Self::Table { table, .. } => table.comment.as_deref(),
            Self::System(_) => None,
        })
    }

    pub fn columns<'n>(&self, world: &'n World) -> Vec<ColumnFacts<'n>>
    where
        'a: 'n,
    {
        let plain = |name: &'n str, data_type: Cow<'n, DataType>, nullable| ColumnFacts {
            name,
            data_type,
            nullable,
            native_type: None,
            collation: None,
            distinct: None,
            histogram: None,
            note: None,
            comment: None,
        };
        let mut columns: Vec<ColumnFacts<'n>> = match self {
            Self::View(view) => {
                let columns = view.columns.iter();
                columns
                    .map(|c| plain(&c.name, Cow::Borrowed(&c.data_type), c.nullable))
                    .collect()
            }
            Self::Table { table, .. } => {
                let facts = table.columns.iter().map(|c| ColumnFacts {
                    native_type: Some(&c.native_type),
                    collation: c.collation.as_deref(),
                    distinct: c.distinct,
                    histogram: c.histogram.as_deref(),
                    note: c.note.as_deref(),
                    comment: c.comment.as_deref(),
                    ..plain(&c.name, Cow::Borrowed(&c.data_type), c.nullable)
                });
                facts.collect()
            }
            Self::System(definition) => {
                let columns = definition.columns.iter();
                let owned = |kind: super::table::Kind| Cow::Owned(kind.data_type());
                columns
                    .map(|c| plain(c.name, owned(c.kind), c.nullable))
                    .collect()
            }
        };
        let comments = &world.definitions.comments;
        if !comments.is_empty() {
            let mut id = self.id();
            for column in &mut columns {
                id.0.push(column.name.to_string());
                column.comment = comments.get(&id).map(String::as_str).or(column.comment);
                id.0.pop();
            }
        }
        columns
    }
}

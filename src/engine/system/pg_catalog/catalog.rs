use std::collections::HashMap;

use belvedere_connector::TableKind;
use datafusion::arrow::datatypes::DataType;

use super::TABLES;
use super::oid::{self, Numbers};
use crate::catalog::{CATALOG, ObjectId, PG_CATALOG, PUBLIC};
use crate::engine::system::PgType;
use crate::engine::system::keys;
use crate::engine::system::relations as known;
use crate::engine::system::table::Definition;
use crate::engine::world::World;
use crate::views::Contract;

/// What a world has, as PostgreSQL numbers and names it. It holds nothing of the engine: a view that is kept may keep it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Catalog {
    pub(super) namespaces: Vec<Namespace>,
    /// Tables, views and indexes.
    pub(super) relations: Vec<Relation>,
    pub(super) indexes: Vec<Index>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) rules: Vec<Rule>,
    pub(super) by_oid: HashMap<i64, usize>,
    by_name: HashMap<(String, String), usize>,
}

#[derive(Debug)]
pub(super) struct Namespace {
    pub oid: i64,
    pub name: String,
    /// Of a source's default schema: its name in the form of the others.
    pub other_name: Option<String>,
    pub comment: Option<String>,
}

#[derive(Debug)]
pub(super) struct Relation {
    pub oid: i64,
    /// What privileges are on. None: everybody reads it.
    pub id: Option<ObjectId>,
    pub namespace: i64,
    pub schema: String,
    pub name: String,
    /// PostgreSQL's `relkind`.
    pub kind: char,
    pub columns: Vec<Column>,
    pub comment: Option<String>,
    pub rows: Option<u64>,
    pub bytes: Option<u64>,
    /// Of a view of ours.
    pub query: Option<String>,
    pub has_index: bool,
}

#[derive(Debug)]
pub(super) struct Column {
    pub name: String,
    pub data_type: PgType,
    pub modifier: i32,
    pub dimensions: i16,
    pub nullable: bool,
    pub comment: Option<String>,
}

#[derive(Debug)]
pub(super) struct Index {
    pub oid: i64,
    pub table: i64,
    /// Numbers of the table's columns.
    pub columns: Vec<i16>,
    pub is_unique: bool,
    pub is_primary: bool,
}

#[derive(Debug)]
pub(super) struct Constraint {
    pub oid: i64,
    pub name: String,
    pub namespace: i64,
    pub table: i64,
    /// PostgreSQL's `contype`.
    pub kind: char,
    pub columns: Vec<i16>,
    pub index: i64,
    /// The table a foreign key is of, and its columns.
    pub references: Option<(i64, Vec<i16>)>,
}

/// What PostgreSQL keeps a view as, and by which it knows what the view reads.
#[derive(Debug)]
pub(super) struct Rule {
    pub oid: i64,
    pub view: i64,
    /// Relations.
    pub reads: Vec<i64>,
}

impl Catalog {
    pub(in crate::engine) fn new(world: &World) -> Self {
        let mut numbers = Numbers::default();
        let mut catalog = Self::default();
        catalog.add_namespaces(world, &mut numbers);
        catalog.add_relations(world, &mut numbers);
        catalog.add_keys(world, &mut numbers);
        catalog.add_foreign_keys(world, &mut numbers);
        catalog.add_indexes_of_views(world, &mut numbers);
        catalog.add_rules(world, &mut numbers);
        catalog
    }

    pub(super) fn relation(&self, oid: i64) -> Option<&Relation> {
        self.by_oid.get(&oid).map(|at| &self.relations[*at])
    }

    pub(super) fn named(&self, schema: &str, name: &str) -> Option<&Relation> {
        // HashMap offers no borrowed lookup for pairs of strings.
        let at = self.by_name.get(&(schema.to_string(), name.to_string()))?;
        Some(&self.relations[*at])
    }

    pub(super) fn namespace(&self, name: &str) -> Option<&Namespace> {
        let mut all = self.namespaces.iter();
        all.find(|known| known.name == name || known.other_name.as_deref() == Some(name))
    }

    fn add_namespaces(&mut self, world: &World, numbers: &mut Numbers) {
        let comments = &world.definitions.comments;
        let mut all = vec![(PG_CATALOG.to_string(), None, None)];
        for (catalog, schema) in known::schemas(world) {
            let name = schema_name(world, catalog, schema);
            let own = world.definitions.sources.get(catalog);
            let is_default = own.is_some() && name == catalog;
            let own = own.filter(|_| is_default).and_then(|s| s.comment.clone());
            let id = ObjectId::new([catalog, schema]);
            let other_name = is_default.then(|| format!("{catalog}.{schema}"));
            all.push((name, other_name, comments.get(&id).cloned().or(own)));
        }
        for (name, other_name, comment) in all {
            let oid = match name.as_str() {
                PG_CATALOG => oid::PG_CATALOG,
                PUBLIC => oid::PUBLIC,
                name => numbers.give(["schema", name]),
            };
            self.namespaces.push(Namespace {
                oid,
                name,
                other_name,
                comment,
            });
        }
    }

    fn add(&mut self, relation: Relation) {
        let at = self.relations.len();
        self.by_oid.insert(relation.oid, at);
        let key = (relation.schema.clone(), relation.name.clone());
        // An index does not hide a table of its name.
        self.by_name.entry(key).or_insert(at);
        self.relations.push(relation);
    }

    fn add_relations(&mut self, world: &World, numbers: &mut Numbers) {
        for listed in TABLES.iter() {
            let definition = &listed.definition;
            let oid = listed
                .oid
                .unwrap_or_else(|| numbers.give([definition.schema, definition.name]));
            let kind = if listed.oid.is_some() { 'r' } else { 'v' };
            let namespace = self.namespace(definition.schema);
            let namespace = namespace.map_or(oid::PG_CATALOG, |found| found.oid);
            self.add(of_engine(definition, oid, namespace, kind));
        }
        for relation in known::relations(world) {
            let (catalog, name) = (relation.catalog(), relation.name());
            let schema = schema_name(world, catalog, relation.schema());
            let Some(namespace) = self.namespace(&schema).map(|found| found.oid) else {
                continue;
            };
            let oid = numbers.give([schema.as_str(), name]);
            if let known::Relation::System(definition) = &relation {
                self.add(of_engine(definition, oid, namespace, 'v'));
                continue;
            }
            let columns = relation.columns(world).into_iter();
            let columns = columns.map(|c| {
                column(
                    c.name,
                    &c.data_type,
                    c.nullable,
                    c.comment.map(str::to_string),
                )
            });
            let table = relation.table();
            let (kind, query) = match &relation {
                known::Relation::View(view) if view.materialized.is_some() => ('m', Some(view)),
                known::Relation::View(view) => ('v', Some(view)),
                known::Relation::Table { table, .. } => match table.kind {
                    TableKind::View => ('v', None),
                    TableKind::MaterializedView => ('m', None),
                    // As a foreign table, which it is, many tools would not show it.
                    _ => ('r', None),
                },
                known::Relation::System(_) => ('v', None),
            };
            let relation = Relation {
                id: Some(relation.id()).filter(|id| !id.is_built_in()),
                oid,
                namespace,
                name: name.to_string(),
                kind,
                columns: columns.collect(),
                comment: relation.comment(world).map(str::to_string),
                rows: table.and_then(|t| t.row_count),
                bytes: table.and_then(|t| t.size_bytes),
                query: query.map(|view| view.query.clone()),
                has_index: false,
                schema,
            };
            self.add(relation);
        }
    }

    /// Primary and unique keys of the sources' tables, each with its index.
    fn add_keys(&mut self, world: &World, numbers: &mut Numbers) {
        for (source, table, key) in keys::all(world) {
            if key.references.is_some() {
                continue;
            }
            let schema = schema_name(world, source, &table.schema);
            let kind = if key.kind == "PRIMARY KEY" { 'p' } else { 'u' };
            let columns = numbers_of(table, key.columns);
            let index = self.add_index(
                &schema,
                &table.name,
                &key.name,
                columns.clone(),
                kind,
                numbers,
            );
            let Some((table_oid, namespace, index)) = index else {
                continue;
            };
            self.constraints.push(Constraint {
                oid: numbers.give(["constraint", &schema, &table.name, &key.name]),
                name: key.name.to_string(),
                namespace,
                table: table_oid,
                kind,
                columns,
                index,
                references: None,
            });
        }
    }

    fn add_foreign_keys(&mut self, world: &World, numbers: &mut Numbers) {
        for (source, table, key) in keys::all(world) {
            let Some(to) = &key.references else {
                continue;
            };
            let schema = schema_name(world, source, &table.schema);
            let there = schema_name(world, source, to.schema);
            let tables = world.definitions.tables(source).iter();
            let referenced = tables
                .clone()
                .find(|t| t.schema == to.schema && t.name == to.table);
            let Some(((here, there), referenced)) = self
                .named(&schema, &table.name)
                .zip(self.named(&there, to.table))
                .zip(referenced)
            else {
                continue;
            };
            let columns = numbers_of(referenced, to.columns);
            let index = self.constraints.iter().find(|known| {
                known.table == there.oid
                    && known.references.is_none()
                    && known.columns.len() == columns.len()
                    && known.columns.iter().all(|c| columns.contains(c))
            });
            self.constraints.push(Constraint {
                oid: numbers.give(["constraint", &schema, &table.name, &key.name]),
                name: key.name.to_string(),
                namespace: here.namespace,
                table: here.oid,
                kind: 'f',
                columns: numbers_of(table, key.columns),
                index: index.map_or(0, |known| known.index),
                references: Some((there.oid, columns)),
            });
        }
    }

    /// Keys and indexes of views that are kept.
    fn add_indexes_of_views(&mut self, world: &World, numbers: &mut Numbers) {
        for view in world.definitions.views.values() {
            let Some(kept) = &view.materialized else {
                continue;
            };
            let number = |name: &String| {
                let at = view.columns.iter().position(|column| column.name == *name);
                at.map(|at| at as i16 + 1)
            };
            let key = Contract::new(&kept.options).map_or_else(|_| Vec::new(), |c| c.key);
            if !key.is_empty() {
                let name = format!("{}_key", view.name);
                let columns = key.iter().filter_map(number).collect();
                self.add_index(&view.schema, &view.name, &name, columns, 'u', numbers);
            }
            for index in &kept.indexes {
                let columns = index.columns.iter().filter_map(number).collect();
                self.add_index(&view.schema, &view.name, &index.name, columns, 'i', numbers);
            }
        }
    }

    fn add_rules(&mut self, world: &World, numbers: &mut Numbers) {
        for view in world.definitions.views.values() {
            let Some(oid) = self.named(&view.schema, &view.name).map(|found| found.oid) else {
                continue;
            };
            let reads = view.depends_on.iter().filter_map(|id| {
                let [catalog, schema, name] = id.0.as_slice() else {
                    return None;
                };
                let schema = schema_name(world, catalog, schema);
                self.named(&schema, name).map(|found| found.oid)
            });
            let reads = reads.collect();
            self.rules.push(Rule {
                oid: numbers.give(["rule", &view.schema, &view.name]),
                view: oid,
                reads,
            });
        }
    }

    /// The numbers of the table, its schema and the index.
    fn add_index(
        &mut self,
        schema: &str,
        table: &str,
        name: &str,
        columns: Vec<i16>,
        kind: char,
        numbers: &mut Numbers,
    ) -> Option<(i64, i64, i64)> {
        let key = (schema.to_string(), table.to_string());
        let at = *self.by_name.get(&key)?;
        let table = &mut self.relations[at];
        table.has_index = true;
        let oid = numbers.give(["index", schema, &table.name, name]);
        let of_index = columns.iter().filter_map(|number| {
            let column = table.columns.get(usize::try_from(number - 1).ok()?)?;
            Some(Column {
                name: column.name.clone(),
                comment: None,
                ..*column
            })
        });
        let relation = Relation {
            id: None,
            oid,
            namespace: table.namespace,
            schema: schema.to_string(),
            name: name.to_string(),
            kind: 'i',
            columns: of_index.collect(),
            comment: None,
            rows: table.rows,
            bytes: None,
            query: None,
            has_index: false,
        };
        let (table, namespace) = (table.oid, table.namespace);
        self.indexes.push(Index {
            oid,
            table,
            columns,
            is_unique: kind != 'i',
            is_primary: kind == 'p',
        });
        self.add(relation);
        Some((table, namespace, oid))
    }
}

/// What PostgreSQL's clients know a schema as: the default one of source `a` is `a`, its others are `a.other`.
pub(in crate::engine::system) fn schema_name(world: &World, catalog: &str, schema: &str) -> String {
    if catalog == CATALOG {
        return schema.to_string();
    }
    let live = world.live.get(catalog);
    match live.is_none_or(|live| live.handle.source.default_schema() == schema) {
        true => catalog.to_string(),
        false => format!("{catalog}.{schema}"),
    }
}

fn numbers_of(table: &belvedere_connector::Table, columns: &[String]) -> Vec<i16> {
    let number = |name: &String| table.columns.iter().position(|column| column.name == *name);
    let numbers = columns.iter().filter_map(number);
    numbers.map(|at| at as i16 + 1).collect()
}

fn column(name: &str, data_type: &DataType, nullable: bool, comment: Option<String>) -> Column {
    Column {
        name: name.to_string(),
        data_type: PgType::of(data_type),
        modifier: PgType::modifier(data_type),
        dimensions: i16::from(PgType::of(data_type).is_array()),
        nullable,
        comment,
    }
}

fn of_engine(definition: &Definition, oid: i64, namespace: i64, kind: char) -> Relation {
    let schema = definition.arrow_schema();
    let columns = schema.fields().iter().map(|field| Column {
        data_type: PgType::of_field(field),
        ..column(field.name(), field.data_type(), field.is_nullable(), None)
    });
    Relation {
        id: None,
        oid,
        namespace,
        schema: definition.schema.to_string(),
        name: definition.name.to_string(),
        kind,
        columns: columns.collect(),
        comment: None,
        rows: None,
        bytes: None,
        query: None,
        has_index: false,
    }
}

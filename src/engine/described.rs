//! What there is to read, as those need it who serve it by name and key.

use std::collections::BTreeSet;
use std::time::Duration;

use datafusion::arrow::datatypes::DataType;

use super::keyed;
use super::names::Names;
use super::query;
use super::session::Session;
use super::system::{Relation, relations};
use crate::catalog::{BUILT_IN, CATALOG, ObjectId, PUBLIC, Privilege, ViewDefinition};
use crate::error::{Error, Result};
use crate::views::Contract;

/// A table or view.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub id: ObjectId,
    /// The fewest names that mean it, under any search path.
    pub name: Vec<String>,
    /// What it is: `view`, `materialized view`, `table`.
    pub kind: &'static str,
    pub columns: Vec<Column>,
    /// Positions of the columns that tell its rows apart; none: it has no key that is known.
    pub key: Vec<usize>,
    /// What its definition says of its age.
    pub max_staleness: Option<Duration>,
    pub comment: Option<String>,
}

/// One of its columns.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
    pub comment: Option<String>,
}

impl Session {
    /// What a name of one to three parts means.
    pub(crate) async fn describe(&self, parts: &[String]) -> Result<Described> {
        let settings = self.settings();
        let outlines = self.names(settings.clone()).outline();
        let mut referenced = match outlines.resolve(parts).await {
            Ok(_) => outlines.referenced(),
            // A table that is not known makes its source be read again.
            Err(Error::Unknown { .. }) => {
                let names = self.names(settings.clone());
                names.resolve(parts).await?;
                names.referenced()
            }
            Err(e) => return Err(e),
        };
        let id = referenced.pop_first().ok_or_else(|| Error::Unknown {
            what: "table or view",
            name: ObjectId::new(parts).to_string(),
            hint: None,
        })?;
        let names = self.names(settings);
        let relation = relations(&names.world).find(|relation| relation.id() == id);
        match relation {
            Some(relation) => Ok(described(&names, &relation).await),
            // Those of PostgreSQL's catalog are no relations of ours.
            None => Err(Error::invalid_with_help(
                format!("{id} is not served by name"),
                "Ask for it with a query",
            )),
        }
    }

    /// All views and all tables of sources, and which world that is: while it is the same, so are they.
    pub(crate) async fn describe_all(&self) -> Vec<Described> {
        let names = self.names(self.settings());
        let mut all = Vec::new();
        for relation in relations(&names.world) {
            if !matches!(relation, Relation::System(_)) {
                all.push(described(&names, &relation).await);
            }
        }
        all
    }

    /// Names of the sources whose tables may be written to.
    pub(crate) fn writable_sources(&self) -> BTreeSet<String> {
        let world = self.world();
        let live = world.live.iter();
        let writable = live.filter(|(_, live)| live.handle.source.is_writable());
        writable.map(|(name, _)| name.clone()).collect()
    }

    /// Counts what has been defined: while it is the same, everything is described the same.
    pub(crate) fn world_version(&self) -> u64 {
        self.world().version
    }
}

async fn described(names: &Names, relation: &Relation<'_>) -> Described {
    let allowed = names.world.allowed(&relation.id());
    // Of one that may be read, what may be read.
    let read = allowed.columns(Privilege::Select);
    let is_read = |name: &str| read.is_none_or(|read| read.contains(name));
    let columns = relation.columns(&names.world).into_iter();
    let columns = columns.filter(|c| is_read(c.name)).map(|c| Column {
        name: c.name.to_string(),
        data_type: c.data_type.into_owned(),
        nullable: c.nullable,
        comment: c.comment.map(str::to_string),
    });
    let columns: Vec<Column> = columns.collect();
    let at = |name: &String| columns.iter().position(|c| &c.name == name);
    let positions = |key: &[String]| key.iter().map(at).collect::<Option<Vec<_>>>();
    let (key, max_staleness) = match relation {
        Relation::View(view) => {
            let kept = view.materialized.as_ref();
            let contract = kept.and_then(|kept| Contract::new(&kept.options).ok());
            let declared = contract.as_ref().map(|contract| contract.key.as_slice());
            let declared = declared.filter(|key| !key.is_empty());
            let key = match declared {
                Some(key) => positions(key),
                None => derived(names, view).await.and_then(|key| positions(&key)),
            };
            (key, contract.and_then(|contract| contract.max_staleness))
        }
        Relation::Table { table, .. } => (positions(&table.primary_key), None),
        Relation::System(_) => (None, None),
    };
    Described {
        id: relation.id(),
        name: shortest(names, relation),
        kind: match relation {
            Relation::View(view) if view.materialized.is_some() => "materialized view",
            Relation::View(_) => "view",
            Relation::Table { .. } | Relation::System(_) => "table",
        },
        columns,
        key: key.unwrap_or_default(),
        max_staleness,
        comment: relation.comment(&names.world).map(str::to_string),
    }
}

/// The columns of the key that its query shows. A view that cannot be planned has none: whoever reads it is told why.
async fn derived(names: &Names, view: &ViewDefinition) -> Option<Vec<String>> {
    let plan = query::view_plan(names, view).await.ok()?;
    // By position: of what is not all seen, too.
    let whole = names.view(&view.id())?;
    let key = keyed::key(&plan)?;
    let columns = key
        .into_iter()
        .map(|at| Some(whole.columns.get(at)?.name.clone()));
    columns.collect()
}

fn shortest(names: &Names, relation: &Relation<'_>) -> Vec<String> {
    let (catalog, schema, name) = (relation.catalog(), relation.schema(), relation.name());
    let own = |parts: &[&str]| parts.iter().map(ToString::to_string).collect();
    if catalog == CATALOG {
        return match schema == PUBLIC && !BUILT_IN.contains(&schema) && !name.starts_with("pg_") {
            true => own(&[name]),
            false => own(&[schema, name]),
        };
    }
    let live = names.world.live.get(catalog);
    match live.is_some_and(|live| live.handle.source.default_schema() == schema) {
        true => own(&[catalog, name]),
        false => own(&[catalog, schema, name]),
    }
}

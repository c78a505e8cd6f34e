use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use belvedere_connector::Table;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::accounts::{Account, Grants};
use super::rules::{Mappings, Rule, RuleKind, Rules};

/// The engine's own catalog.
pub const CATALOG: &str = "belvedere";
/// The schema of own views that name none.
pub const PUBLIC: &str = "public";
/// The schema of the tables that show what the engine knows.
pub const SYSTEM: &str = "system";
pub const INFORMATION_SCHEMA: &str = "information_schema";
/// The schema of the tables by which clients of PostgreSQL learn what there is.
pub const PG_CATALOG: &str = "pg_catalog";
/// Schemas whose tables are the engine's: nobody can define anything in them.
pub const BUILT_IN: [&str; 3] = [SYSTEM, INFORMATION_SCHEMA, PG_CATALOG];

/// All that has been defined: an immutable snapshot, shared by the statements that began under it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Definitions {
    pub sources: BTreeMap<String, Arc<SourceDefinition>>,
    /// Own schemas besides the built-in ones.
    pub schemas: BTreeSet<String>,
    /// By schema and name.
    pub views: BTreeMap<(String, String), Arc<ViewDefinition>>,
    /// What was last read of each source. A source that was never reached has none.
    pub discoveries: BTreeMap<String, Arc<Discovery>>,
    /// `COMMENT ON` what is not ours to define: schemas, tables and columns, by dotted name.
    pub comments: BTreeMap<ObjectId, String>,
    /// Users and roles, by name.
    pub accounts: BTreeMap<String, Account>,
    pub grants: Grants,
    /// Policies and masks.
    pub rules: Rules,
    /// As whom users read sources.
    pub mappings: Mappings,
}

/// A source as defined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceDefinition {
    pub name: String,
    /// Paths are absolute.
    pub url: String,
    /// The connector's options; secrets are references.
    pub options: BTreeMap<String, String>,
    pub about: About,
    pub comment: Option<String>,
    pub owns: Vec<Ownership>,
    /// The user who defined it. None: the administrator, before there was any, or whoever has the data directory.
    #[serde(default)]
    pub definer: Option<String>,
}

/// Who answers for a definition: text for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub owner: Option<String>,
    pub contact: Option<String>,
    /// What starts it.
    pub event: Option<String>,
    /// What breaks if it is late.
    pub impact: Option<String>,
    /// What to do.
    pub runbook: Option<String>,
}

impl About {
    /// Option names and values, in the order in which they are shown.
    pub fn fields(&self) -> [(&'static str, &Option<String>); 5] {
        [
            ("owner", &self.owner),
            ("contact", &self.contact),
            ("event", &self.event),
            ("impact", &self.impact),
            ("runbook", &self.runbook),
        ]
    }

    /// The field an option of this name sets.
    pub fn field_mut(&mut self, option: &str) -> Option<&mut Option<String>> {
        Some(match option {
            "owner" => &mut self.owner,
            "contact" => &mut self.contact,
            "event" => &mut self.event,
            "impact" => &mut self.impact,
            "runbook" => &mut self.runbook,
            _ => return None,
        })
    }
}

/// `ALTER SOURCE … OWNS`: the source is the source of truth of these columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    pub schema: String,
    pub table: String,
    pub columns: Vec<String>,
}

/// A view: virtual, or one whose rows are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewDefinition {
    pub schema: String,
    pub name: String,
    /// The query as written.
    pub query: String,
    /// Whether its columns were named by the definition (`v (a, b)`) and not by the query.
    pub named_columns: bool,
    /// As they were when it was defined. A column added at a source later does not widen the view.
    pub columns: Vec<ViewColumn>,
    /// The schemas its unqualified names were looked up in, in order.
    pub search_path: Vec<String>,
    /// The tables and views it reads directly.
    pub depends_on: BTreeSet<ObjectId>,
    pub about: About,
    pub comment: Option<String>,
    /// Of a virtual one, as they were written: how old what it reads may be.
    #[serde(default)]
    pub bounds: BTreeMap<String, String>,
    /// None: it is virtual.
    #[serde(default)]
    pub materialized: Option<Materialized>,
    /// The user who defined it: what it reads is read with the rights of that user. None: as of a source.
    #[serde(default)]
    pub definer: Option<String>,
}

/// How a view's rows are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Materialized {
    /// Its contract, as it was written.
    pub options: BTreeMap<String, String>,
    pub checks: Vec<Check>,
    /// Tells its content from that of an earlier view of its name.
    pub generation: u64,
    #[serde(default)]
    pub indexes: Vec<Index>,
}

/// Columns by which a kept view's rows are found, besides its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// In the view's schema, where it is the only index of this name.
    pub name: String,
    pub columns: Vec<String>,
}

/// A query that must find no row before a view's rows show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub query: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewColumn {
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
}

impl ViewDefinition {
    pub fn id(&self) -> ObjectId {
        ObjectId::new([CATALOG, &self.schema, &self.name])
    }

    /// What its errors call it.
    pub fn kind(&self) -> &'static str {
        match self.materialized {
            Some(_) => "materialized view",
            None => "view",
        }
    }

    pub fn checks(&self) -> &[Check] {
        self.materialized.as_ref().map_or(&[], |kept| &kept.checks)
    }

    pub fn indexes(&self) -> &[Index] {
        self.materialized.as_ref().map_or(&[], |kept| &kept.indexes)
    }

    pub fn arrow_schema(&self) -> SchemaRef {
        let field = |c: &ViewColumn| Field::new(&c.name, c.data_type.clone(), c.nullable);
        Arc::new(Schema::new(
            self.columns.iter().map(field).collect::<Vec<_>>(),
        ))
    }
}

/// A resolved name: catalog, schema, table (and column), as far as it goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId(pub Vec<String>);

impl ObjectId {
    pub fn new<S: Into<String>>(parts: impl IntoIterator<Item = S>) -> Self {
        Self(parts.into_iter().map(Into::into).collect())
    }

    pub fn catalog(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Whether it is a schema that is always there, or in one: nothing is granted of it.
    pub fn is_built_in(&self) -> bool {
        matches!(self.0.as_slice(), [catalog, schema, ..]
            if catalog == CATALOG && BUILT_IN.contains(&schema.as_str()))
    }

    /// What it is in, up to itself: source, schema, table.
    pub fn scopes(&self) -> impl Iterator<Item = ObjectId> + '_ {
        (1..=self.0.len()).map(|parts| Self(self.0[..parts].to_vec()))
    }

    /// Whether this is `scope` or something in it.
    pub fn is_within(&self, scope: &ObjectId) -> bool {
        self.0.starts_with(&scope.0)
    }
}

/// As a user would type it: own things without the catalog, quoted where needed.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = match self.0.as_slice() {
            [catalog, schema, rest @ ..] if catalog == CATALOG && schema == PUBLIC => rest,
            [catalog, rest @ ..] if catalog == CATALOG && !rest.is_empty() => rest,
            all => all,
        };
        write!(f, "{}", belvedere_sql::Name::new(parts))
    }
}

/// What a source's discovery found, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Discovery {
    pub tables: Vec<Arc<Table>>,
    /// Microseconds since the epoch, UTC.
    pub at_us: i64,
}

impl Definitions {
    pub fn has_schema(&self, name: &str) -> bool {
        name == PUBLIC || BUILT_IN.contains(&name) || self.schemas.contains(name)
    }

    pub fn view(&self, schema: &str, name: &str) -> Option<&Arc<ViewDefinition>> {
        // BTreeMap offers no borrowed lookup for pairs of strings.
        self.views.get(&(schema.to_string(), name.to_string()))
    }

    /// Whether somebody logs in: before the first user, whoever is on loopback is the administrator.
    pub fn has_users(&self) -> bool {
        self.accounts
            .values()
            .any(|account| account.login.is_some())
    }

    /// What is said about `scope` and what is in it, and who may do what with it, is forgotten.
    pub fn forget(&mut self, scope: &ObjectId) {
        self.comments.retain(|on, _| !on.is_within(scope));
        self.grants.retain(|(on, _), _| !on.is_within(scope));
        self.rules.retain(|(on, _, _), _| !on.is_within(scope));
        let is_source = |source: &str| scope.0 == [source];
        self.mappings.retain(|(source, _), _| !is_source(source));
    }

    /// What is said about `from` and what is in it, and who may do what with it, is now so of `to`.
    pub fn follow(&mut self, from: &ObjectId, to: &ObjectId) {
        let follow = |on: &mut ObjectId| {
            if on.is_within(from) {
                on.0.splice(..from.0.len(), to.0.iter().cloned());
            }
        };
        let comments = std::mem::take(&mut self.comments).into_iter();
        let comments = comments.map(|(mut on, text)| {
            follow(&mut on);
            (on, text)
        });
        self.comments = comments.collect();
        let grants = std::mem::take(&mut self.grants).into_iter();
        let grants = grants.map(|((mut on, to), granted)| {
            follow(&mut on);
            ((on, to), granted)
        });
        self.grants = grants.collect();
        let rules = std::mem::take(&mut self.rules).into_iter();
        let rules = rules.map(|((mut on, kind, name), rule)| {
            follow(&mut on);
            ((on, kind, name), rule)
        });
        self.rules = rules.collect();
        if let ([from], [to]) = (from.0.as_slice(), to.0.as_slice()) {
            let mappings = std::mem::take(&mut self.mappings).into_iter();
            let mappings = mappings.map(|((source, of), mapping)| match source == *from {
                true => ((to.clone(), of), mapping),
                false => ((source, of), mapping),
            });
            self.mappings = mappings.collect();
        }
    }

    /// The policies and masks of a table or view, by name, policies first.
    pub fn rules_of<'a>(
        &'a self,
        on: &ObjectId,
    ) -> impl Iterator<Item = (RuleKind, &'a str, &'a Rule)> + use<'a> {
        let (first, on) = ((on.clone(), RuleKind::Policy, String::new()), on.clone());
        let found = self
            .rules
            .range(first..)
            .take_while(move |((of, ..), _)| *of == on);
        found.map(|((_, kind, name), rule)| (*kind, name.as_str(), rule))
    }

    pub fn tables(&self, source: &str) -> &[Arc<Table>] {
        self.discoveries
            .get(source)
            .map_or(&[], |discovery| &discovery.tables)
    }

    /// The views that read something in `scope`, directly or through other views, in the order to drop them.
    pub fn dependents(&self, scope: &ObjectId) -> Vec<Arc<ViewDefinition>> {
        let mut found: Vec<Arc<ViewDefinition>> = Vec::new();
        let mut scopes = vec![scope.clone()];
        while let Some(scope) = scopes.pop() {
            for view in self.views.values() {
                let reads = view.depends_on.iter().any(|id| id.is_within(&scope));
                if reads && !found.iter().any(|known| known.id() == view.id()) {
                    scopes.push(view.id());
                    found.push(view.clone());
                }
            }
        }
        found.reverse();
        found
    }
}

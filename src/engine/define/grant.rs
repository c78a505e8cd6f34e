//! What is granted: roles to accounts, privileges on objects.

use std::collections::BTreeSet;

use belvedere_sql::{
    Grant, GrantOn, Granted as What, Grantee as To, Ident, Name, Privileges, fold,
};
use datafusion::arrow::datatypes::SchemaRef;

use super::account::said;
use super::{Context, existing_source};
use crate::access;
use crate::catalog::{CATALOG, Columns, Granted, Grantee, ObjectId, Privilege};
use crate::engine::nearest;
use crate::engine::world::World;
use crate::error::{Error, Result};

/// Something that privileges are granted on.
pub(super) struct On {
    pub id: ObjectId,
    pub kind: &'static str,
    /// Privileges that there are for it.
    has: &'static [Privilege],
    /// Of a table or view.
    columns: Option<SchemaRef>,
}

const OF_SOURCE: &[Privilege] = &[
    Privilege::Select,
    Privilege::Insert,
    Privilege::Update,
    Privilege::Delete,
    Privilege::Refresh,
    Privilege::Usage,
];
const OF_SOURCES_SCHEMA: &[Privilege] = &[
    Privilege::Select,
    Privilege::Insert,
    Privilege::Update,
    Privilege::Delete,
    Privilege::Usage,
];
const OF_OWN_SCHEMA: &[Privilege] = &[
    Privilege::Select,
    Privilege::Create,
    Privilege::Refresh,
    Privilege::Usage,
];
const OF_TABLE: &[Privilege] = &[
    Privilege::Select,
    Privilege::Insert,
    Privilege::Update,
    Privilege::Delete,
];
const OF_VIEW: &[Privilege] = &[Privilege::Select];
const OF_KEPT_VIEW: &[Privilege] = &[Privilege::Select, Privilege::Refresh];

impl Context<'_> {
    /// Grant what a statement says, or take it back.
    pub(super) async fn grant(
        &self,
        world: &mut World,
        grant: &Grant,
        revokes: bool,
    ) -> Result<&'static str> {
        let grantees = grantees(world, &grant.grantees)?;
        match &grant.what {
            What::Roles(roles) => {
                let accounts = &mut world.definitions.accounts;
                for (role, member) in pairs(roles, &grantees)? {
                    let changed = match revokes {
                        false => access::enlist(accounts, &role, member),
                        true => access::dismiss(accounts, &role, member).map(drop),
                    };
                    changed.map_err(|e| said(e, &*accounts))?;
                }
            }
            What::Privileges { privileges, on } => {
                for on in self.objects(world, on).await? {
                    let what = granted(privileges, &on)?;
                    let grants = &mut world.definitions.grants;
                    for to in &grantees {
                        match revokes {
                            false => access::grant(grants, &on.id, to, &what),
                            true => access::revoke(grants, &on.id, to, &what)
                                .map_err(|privilege| of_all_columns(privilege, &on.id, to))?,
                        }
                    }
                }
            }
        }
        Ok(if revokes { "REVOKE" } else { "GRANT" })
    }

    /// What privileges are granted on, all of which whoever grants them may do all with.
    async fn objects(&self, world: &World, on: &GrantOn) -> Result<Vec<On>> {
        let mut found = Vec::new();
        match on {
            GrantOn::Relations { names, .. } => {
                for name in names {
                    found.push(self.relation(world, &name.fold()).await?);
                }
            }
            GrantOn::Sources(names) => {
                let names_here = self.names(world);
                for name in names {
                    let name = existing_source(&names_here.world, &fold(name))?;
                    found.push(On {
                        id: ObjectId::new([name]),
                        kind: "source",
                        has: OF_SOURCE,
                        columns: None,
                    });
                }
            }
            GrantOn::Schemas(names) => {
                for name in names {
                    let id = self.schema(world, name)?;
                    found.push(On {
                        has: match id.catalog() == CATALOG {
                            true => OF_OWN_SCHEMA,
                            false => OF_SOURCES_SCHEMA,
                        },
                        id,
                        kind: "schema",
                        columns: None,
                    });
                }
            }
            GrantOn::AllTablesIn(names) => {
                for name in names {
                    let schema = self.schema(world, name)?;
                    for id in inside(&self.names(world).world, &schema) {
                        found.push(self.relation(world, &id.0).await?);
                    }
                }
            }
        }
        let seen = self.names(world).world;
        for on in &found {
            seen.permits_all(on.kind, &on.id)?;
        }
        Ok(found)
    }

    fn schema(&self, world: &World, name: &Name) -> Result<ObjectId> {
        let id = self.names(world).schema(&name.fold())?;
        match id.is_built_in() {
            true => Err(everybodys(&id)),
            false => Ok(id),
        }
    }

    pub(super) async fn relation(&self, world: &World, parts: &[String]) -> Result<On> {
        let names = self.names(world).outline();
        let provider = names.resolve(parts).await?;
        let id = names.referenced().pop_first();
        let id = id.ok_or_else(|| Error::Internal("a resolved table has a name".into()))?;
        if id.is_built_in() {
            return Err(everybodys(&id));
        }
        let (kind, has) = match names.view(&id) {
            Some(view) if view.materialized.is_some() => (view.kind(), OF_KEPT_VIEW),
            Some(view) => (view.kind(), OF_VIEW),
            None => ("table", OF_TABLE),
        };
        Ok(On {
            id,
            kind,
            has,
            columns: Some(provider.schema()),
        })
    }
}

fn of_all_columns(privilege: Privilege, id: &ObjectId, to: &Grantee) -> Error {
    Error::invalid_with_help(
        format!("{privilege} is granted on all columns of {id} to {to}"),
        format!("REVOKE {privilege} on all of it, then GRANT it on the columns that stay"),
    )
}

fn everybodys(id: &ObjectId) -> Error {
    Error::invalid_with_help(
        format!("{id} is there for everybody, and shows each what that one may know"),
        "Nothing is granted on it",
    )
}

/// Tables and views that are in a schema now.
fn inside(world: &World, schema: &ObjectId) -> Vec<ObjectId> {
    let definitions = &world.definitions;
    let views = definitions.views.values().map(|view| view.id());
    let tables = definitions.tables(schema.catalog()).iter();
    let tables = tables.map(|t| ObjectId::new([schema.catalog(), &t.schema, &t.name]));
    views
        .chain(tables)
        .filter(|id| id.is_within(schema))
        .collect()
}

pub(super) fn grantees(world: &World, to: &[To]) -> Result<Vec<Grantee>> {
    let accounts = &world.definitions.accounts;
    let each = to.iter().map(|to| match to {
        To::Public => Ok(Grantee::Public),
        To::Role(name) => {
            let found = access::existing(accounts, &fold(name), "user or role");
            let found = found.map_err(|e| said(e, accounts))?;
            Ok(Grantee::Account(found.name.clone()))
        }
    });
    each.collect()
}

/// Each role with each member that it is to have.
fn pairs<'a>(roles: &[Ident], members: &'a [Grantee]) -> Result<Vec<(String, &'a str)>> {
    let mut pairs = Vec::new();
    for role in roles.iter().map(fold) {
        for member in members {
            match member {
                Grantee::Account(name) => pairs.push((role.clone(), name.as_str())),
                Grantee::Public => {
                    return Err(Error::invalid_with_help(
                        "a role is not granted to everybody",
                        "GRANT its privileges TO PUBLIC instead",
                    ));
                }
            }
        }
    }
    Ok(pairs)
}

fn granted(privileges: &Privileges, on: &On) -> Result<Granted> {
    let listed = match privileges {
        Privileges::All => {
            let all = on.has.iter().map(|privilege| (*privilege, Columns::All));
            return Ok(all.collect());
        }
        Privileges::Listed(listed) => listed,
    };
    let mut granted = Granted::new();
    for one in listed {
        let privilege = one.privilege;
        if !on.has.contains(&privilege) {
            let has: Vec<_> = on.has.iter().map(|privilege| privilege.name()).collect();
            return Err(Error::invalid_with_help(
                format!("there is no {} on a {}", privilege.name(), on.kind),
                format!("There is {}", has.join(", ")),
            ));
        }
        let columns = columns(&one.columns, on)?;
        granted
            .entry(privilege)
            .and_modify(|known| known.add(&columns))
            .or_insert(columns);
    }
    Ok(granted)
}

fn columns(named: &[Ident], on: &On) -> Result<Columns> {
    if named.is_empty() {
        return Ok(Columns::All);
    }
    let each = named.iter().map(|named| column(on, named));
    Ok(Columns::These(each.collect::<Result<BTreeSet<_>>>()?))
}

/// The column that is named.
pub(super) fn column(on: &On, named: &Ident) -> Result<String> {
    let schema = on
        .columns
        .as_ref()
        .ok_or_else(|| Error::invalid(format!("{} is a {}: it has no columns", on.id, on.kind)))?;
    let name = fold(named);
    if schema.column_with_name(&name).is_some() {
        return Ok(name);
    }
    let near = nearest(&name, schema.fields().iter().map(|f| f.name().as_str()));
    Err(Error::Unknown {
        what: "column",
        hint: near.map(|near| format!("Did you mean {}?", belvedere_sql::ident(near))),
        name: format!("{}.{}", on.id, belvedere_sql::ident(name)),
    })
}

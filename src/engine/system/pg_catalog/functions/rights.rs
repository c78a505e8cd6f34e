//! What somebody may do with something: `has_table_privilege` and its like.

use datafusion::common::{Result, ScalarValue};

use super::{Context, Known, Returns, always, failed, known, number, text, truth};
use crate::access::{Allowed, Identity, Rights};
use crate::catalog::{CATALOG, ObjectId, Privilege};
use crate::engine::system::pg_catalog::catalog::Relation;
use crate::engine::system::pg_catalog::names;
use crate::engine::system::pg_catalog::schema_name;
use crate::engine::system::pg_catalog::server::OWNER_NAME;
use crate::engine::system::relations::schemas;
use crate::error::Error;

pub(super) static FUNCTIONS: &[Known] = &[
    known("has_table_privilege", Returns::Boolean, of_table),
    known("has_any_column_privilege", Returns::Boolean, of_any_column),
    known("has_column_privilege", Returns::Boolean, of_column),
    known("has_schema_privilege", Returns::Boolean, of_schema),
    known("has_database_privilege", Returns::Boolean, of_database),
    known("pg_has_role", Returns::Boolean, of_role),
    known("has_function_privilege", Returns::Boolean, always),
    known("has_type_privilege", Returns::Boolean, always),
    known("has_language_privilege", Returns::Boolean, always),
    known("has_sequence_privilege", Returns::Boolean, always),
    known("has_server_privilege", Returns::Boolean, always),
    known("has_tablespace_privilege", Returns::Boolean, always),
    known(
        "has_foreign_data_wrapper_privilege",
        Returns::Boolean,
        always,
    ),
];

/// PostgreSQL's privileges on tables that there are not here: nobody has them.
const OF_TABLES: &[&str] = &["TRUNCATE", "REFERENCES", "TRIGGER"];

/// Whose rights are asked for.
enum Subject {
    /// Who asks.
    Oneself,
    Another(Identity),
}

impl Subject {
    /// The first of the arguments, if there are more than `others`.
    fn of<'a>(
        context: &Context,
        args: &'a [ScalarValue],
        others: usize,
    ) -> Result<(Self, &'a [ScalarValue])> {
        if args.len() <= others {
            return Ok((Self::Oneself, args));
        }
        let name = text(args, 0).unwrap_or_default();
        Ok((Self::named(context, &name)?, &args[1..]))
    }

    fn named(context: &Context, name: &str) -> Result<Self> {
        if *name == *context.user {
            return Ok(Self::Oneself);
        }
        // By number they are the owner's alone: those of others are told by pg_roles, and asked for by name.
        if name == OWNER_NAME || name.parse::<i64>().is_ok() {
            return Ok(Self::Another(Identity::administrator()));
        }
        if name == "public" {
            return Ok(Self::Another(Identity::nobody()));
        }
        let identity = Identity::of(&context.world.definitions.accounts, name);
        let unknown = || {
            failed(Error::Unknown {
                what: "role",
                name: belvedere_sql::ident(name).to_string(),
                hint: None,
            })
        };
        Ok(Self::Another(identity.ok_or_else(unknown)?))
    }

    fn allowed(&self, context: &Context, id: &ObjectId) -> Allowed {
        match self {
            Self::Oneself => context.world.allowed(id),
            Self::Another(identity) => {
                let rights = Rights {
                    definitions: &context.world.definitions,
                    identity,
                };
                rights.on(id)
            }
        }
    }
}

/// The privileges that a text lists, one of which is enough, each perhaps with the right to grant it. None: one that nobody has.
fn wanted(
    args: &[ScalarValue],
    named: impl Fn(&str) -> Option<Option<Privilege>>,
) -> Result<Option<Vec<(Option<Privilege>, bool)>>> {
    let Some(list) = args.last().and_then(|_| text(args, args.len() - 1)) else {
        return Ok(None);
    };
    let each = list.split(',').map(|word| {
        let upper = word.trim().to_ascii_uppercase();
        let (name, with_grant) = match upper.strip_suffix(" WITH GRANT OPTION") {
            Some(name) => (name.trim_end(), true),
            None => (upper.as_str(), false),
        };
        let unknown = || {
            let word = word.trim();
            failed(Error::invalid(format!(
                "unrecognized privilege type: \"{word}\""
            )))
        };
        Ok((named(name).ok_or_else(unknown)?, with_grant))
    });
    each.collect::<Result<_>>().map(Some)
}

fn on_table(name: &str) -> Option<Option<Privilege>> {
    match name {
        "SELECT" => Some(Some(Privilege::Select)),
        "INSERT" => Some(Some(Privilege::Insert)),
        "UPDATE" => Some(Some(Privilege::Update)),
        "DELETE" => Some(Some(Privilege::Delete)),
        "MAINTAIN" => Some(Some(Privilege::Refresh)),
        _ => OF_TABLES.contains(&name).then_some(None),
    }
}

/// The relation of the first argument. None: there is none of this number.
fn relation<'a>(context: &'a Context, args: &[ScalarValue]) -> Result<Option<&'a Relation>> {
    let Some(name) = text(args, 0) else {
        return Ok(None);
    };
    if let Some(oid) = number(args, 0) {
        return Ok(context.catalog.relation(oid));
    }
    let found = names::relation(&context.catalog, &context.settings, &name);
    let unknown = || {
        failed(Error::Unknown {
            what: "table or view",
            name,
            hint: None,
        })
    };
    found.map(Some).ok_or_else(unknown)
}

/// Whether one of the privileges is held on a relation, as `is_held` says of each.
fn held(
    context: &Context,
    subject: &Subject,
    relation: &Relation,
    args: &[ScalarValue],
    is_held: impl Fn(&Allowed, Privilege) -> bool,
) -> Result<ScalarValue> {
    let Some(wanted) = wanted(args, on_table)? else {
        return Ok(ScalarValue::Null);
    };
    let Some(id) = &relation.id else {
        // What shows the engine itself, everybody reads.
        let reads = |(privilege, grants): &(Option<Privilege>, bool)| {
            *privilege == Some(Privilege::Select) && !grants
        };
        return truth(wanted.iter().any(reads));
    };
    let allowed = subject.allowed(context, id);
    let live = context.world.live.get(id.catalog());
    let is_writable = live.is_some_and(|live| live.handle.source.is_writable());
    let is_there = |privilege| match privilege {
        Privilege::Insert | Privilege::Update | Privilege::Delete => is_writable,
        Privilege::Refresh => relation.kind == 'm',
        _ => true,
    };
    truth(wanted.into_iter().any(|(privilege, grants)| {
        let may_grant = !grants || allowed == Allowed::All;
        may_grant && privilege.is_some_and(|it| is_there(it) && is_held(&allowed, it))
    }))
}

fn of_table(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let (subject, args) = Subject::of(context, args, 2)?;
    match relation(context, args)? {
        None => Ok(ScalarValue::Null),
        Some(relation) => held(context, &subject, relation, args, Allowed::may),
    }
}

fn of_any_column(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let (subject, args) = Subject::of(context, args, 2)?;
    match relation(context, args)? {
        None => Ok(ScalarValue::Null),
        Some(relation) => held(context, &subject, relation, args, |allowed, privilege| {
            allowed.columns(privilege).is_some()
        }),
    }
}

fn of_column(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let (subject, args) = Subject::of(context, args, 3)?;
    let (Some(relation), Some(named)) = (relation(context, args)?, text(args, 1)) else {
        return Ok(ScalarValue::Null);
    };
    let column = match number(args, 1) {
        Some(at) => {
            let at = usize::try_from(at).ok().and_then(|at| at.checked_sub(1));
            at.and_then(|at| relation.columns.get(at))
        }
        None => {
            let mut columns = relation.columns.iter();
            let found = columns.find(|column| column.name == named);
            let unknown = || {
                failed(Error::Unknown {
                    what: "column",
                    name: format!("{}.{}", relation.name, belvedere_sql::ident(&*named)),
                    hint: None,
                })
            };
            Some(found.ok_or_else(unknown)?)
        }
    };
    let Some(column) = column else {
        return Ok(ScalarValue::Null);
    };
    held(context, &subject, relation, args, |allowed, privilege| {
        let columns = allowed.columns(privilege);
        columns.is_some_and(|columns| columns.contains(&column.name))
    })
}

fn of_schema(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let (subject, args) = Subject::of(context, args, 2)?;
    let Some(name) = text(args, 0) else {
        return Ok(ScalarValue::Null);
    };
    let known = match number(args, 0) {
        Some(oid) => context.catalog.namespaces.iter().find(|n| n.oid == oid),
        None => {
            let unknown = || {
                failed(Error::Unknown {
                    what: "schema",
                    name: name.clone(),
                    hint: None,
                })
            };
            Some(context.catalog.namespace(&name).ok_or_else(unknown)?)
        }
    };
    let named = |name: &str| match name {
        "USAGE" => Some(Some(Privilege::Usage)),
        "CREATE" => Some(Some(Privilege::Create)),
        _ => None,
    };
    let (Some(known), Some(wanted)) = (known, wanted(args, named)?) else {
        return Ok(ScalarValue::Null);
    };
    let world = &context.world;
    let mut all = schemas(world).into_iter();
    let id = all.find(|(catalog, schema)| schema_name(world, catalog, schema) == known.name);
    let id = id.map(|(catalog, schema)| ObjectId::new([catalog, schema]));
    // It is seen, so that what is in it can be named.
    let is_held = |(privilege, grants): &(Option<Privilege>, bool)| match (privilege, &id) {
        (Some(Privilege::Create), Some(id)) => {
            let allowed = subject.allowed(context, id);
            let is_own = id.catalog() == CATALOG && !id.is_built_in();
            is_own && allowed.may(Privilege::Create) && (!grants || allowed == Allowed::All)
        }
        (Some(Privilege::Create), None) => false,
        _ => !grants,
    };
    truth(wanted.iter().any(is_held))
}

fn of_database(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let (subject, args) = Subject::of(context, args, 2)?;
    let named = |name: &str| match name {
        "CONNECT" | "TEMP" | "TEMPORARY" => Some(None),
        // Whoever may makes schemas.
        "CREATE" => Some(Some(Privilege::Create)),
        _ => None,
    };
    let Some(wanted) = wanted(args, named)? else {
        return Ok(ScalarValue::Null);
    };
    let may_all = match &subject {
        Subject::Oneself => context.world.is_whole(),
        Subject::Another(identity) => identity.may_all(),
    };
    truth(
        wanted
            .iter()
            .any(|(privilege, grants)| may_all || privilege.is_none() && !grants),
    )
}

fn of_role(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let (subject, args) = Subject::of(context, args, 2)?;
    let Some(role) = text(args, 0) else {
        return Ok(ScalarValue::Null);
    };
    // What is asked of by number is whose all is that there is, which tools take for those that they may change.
    if number(args, 0).is_some() || role == OWNER_NAME {
        return truth(true);
    }
    let accounts = &context.world.definitions.accounts;
    if role != *context.user && !accounts.contains_key(&role) {
        return Err(failed(Error::Unknown {
            what: "role",
            name: belvedere_sql::ident(&*role).to_string(),
            hint: None,
        }));
    }
    truth(match &subject {
        // Who does not see all sees the own roles.
        Subject::Oneself => true,
        Subject::Another(identity) => identity.may_all() || identity.roles().contains(&role),
    })
}

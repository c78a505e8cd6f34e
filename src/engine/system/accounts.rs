use std::collections::BTreeSet;

use super::table::{Definition, Fill, Kind, Rows, always, maybe, row};
use crate::catalog::{Columns, Grantee, ObjectId, SYSTEM, Shows};
use crate::engine::names::Names;

/// Who logs in. Whoever is no superuser sees himself.
pub(super) const USERS: Definition = Definition {
    schema: SYSTEM,
    name: "users",
    columns: &[
        always("name", Kind::Text),
        always("superuser", Kind::Boolean),
        always("has_password", Kind::Boolean),
        // Roles that it is a member of.
        always("roles", Kind::Text),
    ],
    rows: Fill::Known(users),
};

/// What users are given together. Whoever is no superuser sees the own ones.
pub(super) const ROLES: Definition = Definition {
    schema: SYSTEM,
    name: "roles",
    columns: &[
        always("name", Kind::Text),
        // Roles that it is a member of.
        always("roles", Kind::Text),
    ],
    rows: Fill::Known(roles),
};

/// What sessions of users begin with, and their limits. Whoever is no superuser sees the own ones and those of the own roles.
pub(super) const ROLE_SETTINGS: Definition = Definition {
    schema: SYSTEM,
    name: "role_settings",
    columns: &[
        // Of a user or role.
        always("name", Kind::Text),
        always("setting", Kind::Text),
        always("value", Kind::Text),
        // default, limit
        always("kind", Kind::Text),
    ],
    rows: Fill::Known(role_settings),
};

/// Who may do what. Whoever is no superuser sees what he is given.
pub(super) const GRANTS: Definition = Definition {
    schema: SYSTEM,
    name: "grants",
    columns: &[
        // A user or role. NULL: everybody.
        maybe("grantee", Kind::Text),
        always("privilege", Kind::Text),
        // source, schema, relation
        always("kind", Kind::Text),
        always("source", Kind::Text),
        maybe("schema", Kind::Text),
        maybe("name", Kind::Text),
        // NULL: all.
        maybe("columns", Kind::Text),
    ],
    rows: Fill::Known(grants),
};

/// Which rows of tables and views are seen, by whom.
pub(super) const POLICIES: Definition = Definition {
    schema: SYSTEM,
    name: "policies",
    columns: &[
        always("name", Kind::Text),
        always("source", Kind::Text),
        always("schema", Kind::Text),
        always("relation", Kind::Text),
        // Users and roles; PUBLIC: everybody.
        always("grantees", Kind::Text),
        always("using", Kind::Text),
    ],
    rows: Fill::Known(policies),
};

/// What is seen in place of columns, by whom.
pub(super) const MASKS: Definition = Definition {
    schema: SYSTEM,
    name: "masks",
    columns: &[
        always("name", Kind::Text),
        always("source", Kind::Text),
        always("schema", Kind::Text),
        always("relation", Kind::Text),
        always("column", Kind::Text),
        // Users and roles; PUBLIC: everybody.
        always("grantees", Kind::Text),
        always("using", Kind::Text),
    ],
    rows: Fill::Known(masks),
};

/// Those of what whoever asks may do all with: others are not told what is kept from them.
fn policies(names: &Names, rows: &mut Rows) {
    for ((on, _, name), rule) in &names.world.definitions.rules {
        if let Shows::Rows = &rule.shows {
            let (source, schema, relation) = (on.catalog(), on.0.get(1), on.0.get(2));
            let to = joined(&told(&rule.to));
            rows.push(row![name, source, schema, relation, to, &rule.using]);
        }
    }
}

fn masks(names: &Names, rows: &mut Rows) {
    for ((on, _, name), rule) in &names.world.definitions.rules {
        if let Shows::Column(column) = &rule.shows {
            let (source, schema, relation) = (on.catalog(), on.0.get(1), on.0.get(2));
            let to = joined(&told(&rule.to));
            rows.push(row![
                name,
                source,
                schema,
                relation,
                column,
                to,
                &rule.using
            ]);
        }
    }
}

/// As whom users read sources. For superusers.
pub(super) const MAPPINGS: Definition = Definition {
    schema: SYSTEM,
    name: "mappings",
    columns: &[
        always("source", Kind::Text),
        // A user or role; PUBLIC: everybody.
        always("grantee", Kind::Text),
        // NULL: the source's own.
        maybe("user", Kind::Text),
    ],
    rows: Fill::Known(mappings),
};

fn mappings(names: &Names, rows: &mut Rows) {
    for ((source, to), mapping) in &names.world.definitions.mappings {
        rows.push(row![source, to.to_string(), &mapping.user]);
    }
}

fn told(to: &BTreeSet<Grantee>) -> Vec<String> {
    to.iter().map(ToString::to_string).collect()
}

fn users(names: &Names, rows: &mut Rows) {
    for account in names.world.definitions.accounts.values() {
        if let Some(login) = &account.login {
            rows.push(row![
                &account.name,
                login.is_superuser,
                login.verifier.is_some(),
                joined(&account.member_of),
            ]);
        }
    }
}

fn roles(names: &Names, rows: &mut Rows) {
    for account in names.world.definitions.accounts.values() {
        if account.login.is_none() {
            rows.push(row![&account.name, joined(&account.member_of)]);
        }
    }
}

fn role_settings(names: &Names, rows: &mut Rows) {
    for account in names.world.definitions.accounts.values() {
        for (setting, values) in &account.settings {
            let values = values.join(", ");
            rows.push(row![&account.name, setting, values, "default"]);
        }
        for (limit, value) in &account.limits {
            let value = limit.text(*value);
            rows.push(row![&account.name, limit.name(), value, "limit"]);
        }
    }
}

fn grants(names: &Names, rows: &mut Rows) {
    for ((on, to), granted) in &names.world.definitions.grants {
        let grantee = match to {
            Grantee::Public => None,
            Grantee::Account(name) => Some(name),
        };
        for (privilege, columns) in granted {
            let columns = match columns {
                Columns::All => None,
                Columns::These(columns) => Some(joined(columns)),
            };
            rows.push(row![
                grantee,
                privilege.name(),
                kind(on),
                on.catalog(),
                on.0.get(1),
                on.0.get(2),
                columns,
            ]);
        }
    }
}

fn kind(on: &ObjectId) -> &'static str {
    match on.0.len() {
        1 => "source",
        2 => "schema",
        _ => "relation",
    }
}

fn joined<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    names.join(", ")
}

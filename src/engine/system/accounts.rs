use super::table::{Definition, Fill, Kind, Rows, always, maybe, row};
use crate::catalog::{Columns, Grantee, ObjectId, SYSTEM};
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

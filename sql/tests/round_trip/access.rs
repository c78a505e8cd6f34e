//! Users, roles, grants, policies and masks.

use belvedere_sql::{
    AlterRole, Called, CreateMask, CreatePolicy, CreateRole, CreateUser, DropRole, DropRule, Expr,
    Grant, GrantOn, Granted, GrantedPrivilege, Grantee, Ident, Name, Password, Privilege,
    Privileges, ReassignOwned, RoleAction, RoleKind, SetPassword, SetValue, Statement, UserOptions,
    Using, Verbatim,
};
use proptest::prelude::*;

use super::{any_ident, assert_prints_back, idents, name, one, text, value};

/// What a policy or mask may be made of.
const EXPRESSIONS: &[&str] = &[
    "region = 'EMEA'",
    "right(iban, 4)",
    "a OR b AND NOT c IS NULL",
    "CASE WHEN current_user = 'ana' THEN a ELSE NULL END",
    "a IN (SELECT b FROM t WHERE t.\"x\"\"y\" = 'it''s')",
    "EXISTS (TABLE t)",
    "(a, b) = (1, 2)",
    "a BETWEEN 1 AND - -2",
    "CAST(a AS DECIMAL(12,2)) IS DISTINCT FROM b::TEXT",
    "true",
];

/// A name that no word of PostgreSQL's stands for.
pub fn role() -> impl Strategy<Value = Ident> {
    any_ident().prop_filter("a word for a role", |name| {
        let word = name.value.to_ascii_uppercase();
        let words = ["PUBLIC", "CURRENT_USER", "CURRENT_ROLE", "SESSION_USER"];
        name.quote_style.is_some() || !words.contains(&word.as_str())
    })
}

fn roles() -> impl Strategy<Value = Vec<Ident>> {
    prop::collection::vec(role(), 1..4)
}

fn kind() -> impl Strategy<Value = RoleKind> {
    prop::sample::select(vec![RoleKind::User, RoleKind::Role])
}

/// A password given as text is not printed.
fn options() -> impl Strategy<Value = UserOptions> {
    let reference = (prop::sample::select(vec!["env:", "file:"]), text())
        .prop_map(|(scheme, text)| SetPassword::To(Password::new(format!("{scheme}{text}"))));
    let password = prop::option::of(prop_oneof![Just(SetPassword::Null), reference]);
    let superuser = prop::option::of(any::<bool>());
    (password, superuser).prop_map(|(password, superuser)| UserOptions {
        password,
        superuser,
    })
}

fn action() -> impl Strategy<Value = RoleAction> {
    let some = options().prop_filter("no option", |options| *options != UserOptions::default());
    let values = prop_oneof![
        Just(SetValue::Default),
        prop::collection::vec(value(), 1..4).prop_map(SetValue::Values),
    ];
    let settings = name(4).prop_filter("no setting", |name| name.fold()[0] != "password");
    prop_oneof![
        some.prop_map(RoleAction::Options),
        (settings, values).prop_map(|(name, value)| RoleAction::Set { name, value }),
        Just(RoleAction::ResetAll),
    ]
}

fn grant() -> impl Strategy<Value = Grant> {
    let what = prop_oneof![roles().prop_map(Granted::Roles), privileges()];
    (what, grantees()).prop_map(|(what, grantees)| Grant { what, grantees })
}

fn privileges() -> impl Strategy<Value = Granted> {
    let columns = prop_oneof![Just(Vec::new()), idents()];
    let listed = (prop::sample::select(Privilege::EACH.to_vec()), columns);
    let privileges = prop_oneof![
        1 => Just(Privileges::All),
        3 => prop::collection::vec(listed, 1..4).prop_map(|listed| {
            let listed = listed.into_iter().map(|(privilege, columns)| GrantedPrivilege {
                privilege,
                columns: if privilege.is_on_columns() { columns } else { Vec::new() },
            });
            Privileges::Listed(listed.collect())
        }),
    ];
    (privileges, grant_on()).prop_map(|(mut privileges, on)| {
        if let (Privileges::Listed(listed), false) =
            (&mut privileges, matches!(on, GrantOn::Relations { .. }))
        {
            listed.iter_mut().for_each(|one| one.columns.clear());
        }
        Granted::Privileges { privileges, on }
    })
}

fn grant_on() -> impl Strategy<Value = GrantOn> {
    let names = |most| prop::collection::vec(name(most), 1..4);
    let called = [
        None,
        Some(Called::Table),
        Some(Called::View),
        Some(Called::MaterializedView),
    ];
    prop_oneof![
        4 => (prop::sample::select(called.to_vec()), names(3))
            .prop_map(|(called, names)| GrantOn::Relations { called, names }),
        1 => idents().prop_map(GrantOn::Sources),
        1 => names(2).prop_map(GrantOn::Schemas),
        1 => names(2).prop_map(GrantOn::AllTablesIn),
    ]
}

fn grantees() -> impl Strategy<Value = Vec<Grantee>> {
    let grantee = prop_oneof![Just(Grantee::Public), role().prop_map(Grantee::Role)];
    prop::collection::vec(grantee, 1..4)
}

fn using() -> impl Strategy<Value = Using> {
    (prop::sample::select(EXPRESSIONS), any_ident(), text()).prop_map(|(sql, name, text)| {
        let name = Name::from(name);
        let text = text.replace('\'', "''");
        // A name and a string, so that sqlparser's printer meets them too.
        using_of(&format!("({sql}) = (q.{name} = '{text}')"))
    })
}

/// As a policy reads it, without its text.
fn using_of(sql: &str) -> Using {
    match one(&format!("CREATE POLICY p ON v USING ({sql})")) {
        Statement::CreatePolicy(policy) => Using {
            text: Verbatim::default(),
            ..policy.using
        },
        other => panic!("{other:?}"),
    }
}

fn rule() -> impl Strategy<Value = DropRule> {
    (any::<bool>(), any_ident(), name(3)).prop_map(|(if_exists, name, on)| DropRule {
        if_exists,
        name,
        on,
    })
}

pub fn statement() -> impl Strategy<Value = Statement> {
    prop_oneof![
        (any::<bool>(), role(), options()).prop_map(|(if_not_exists, name, options)| {
            Statement::CreateUser(CreateUser {
                if_not_exists,
                name,
                options,
            })
        }),
        (any::<bool>(), role()).prop_map(|(if_not_exists, name)| {
            Statement::CreateRole(CreateRole {
                if_not_exists,
                name,
            })
        }),
        (kind(), role(), action()).prop_map(|(called, name, action)| {
            Statement::AlterRole(AlterRole {
                called,
                name,
                action,
            })
        }),
        (kind(), any::<bool>(), roles()).prop_map(|(called, if_exists, names)| {
            Statement::DropRole(DropRole {
                called,
                if_exists,
                names,
            })
        }),
        (roles(), role()).prop_map(|(of, to)| Statement::ReassignOwned(ReassignOwned { of, to })),
        grant().prop_map(Statement::Grant),
        grant().prop_map(Statement::Revoke),
        (any::<bool>(), any_ident(), name(3), grantees(), using()).prop_map(
            |(or_replace, name, on, grantees, using)| {
                Statement::CreatePolicy(CreatePolicy {
                    or_replace,
                    name,
                    on,
                    grantees,
                    using,
                })
            }
        ),
        rule().prop_map(Statement::DropPolicy),
        (
            any::<bool>(),
            any_ident(),
            name(3),
            any_ident(),
            grantees(),
            using()
        )
            .prop_map(|(or_replace, name, on, column, grantees, using)| {
                Statement::CreateMask(CreateMask {
                    or_replace,
                    name,
                    on,
                    column,
                    grantees,
                    using,
                })
            }),
        rule().prop_map(Statement::DropMask),
    ]
}

/// As written, and as sqlparser prints it.
#[test]
fn every_expression_prints_back() {
    for sql in EXPRESSIONS {
        let policy = one(&format!(
            "CREATE POLICY p ON v TO PUBLIC USING ( {sql} /* end */ )"
        ));
        let printed = format!("CREATE POLICY p ON v TO PUBLIC USING ({sql})");
        assert_eq!(policy.to_string(), printed);
        assert_prints_back(&policy);
        let Statement::CreatePolicy(mut policy) = policy else {
            panic!()
        };
        policy.using.text = Verbatim(None);
        assert_prints_back(&Statement::CreatePolicy(policy));
    }
}

/// Words that begin a clause are names wherever a name stands.
#[test]
fn words_of_the_grammar_are_names() {
    for sql in [
        "GRANT role TO user_, role, granted",
        "GRANT insert, privileges TO insert",
        "GRANT INSERT ON insert TO insert",
        "GRANT SELECT ON source, view TO role",
        "GRANT SELECT ON source.view, materialized TO role",
        "GRANT SELECT ON SOURCE source TO role",
        "GRANT SELECT ON VIEW view TO role",
        "GRANT SELECT ON database TO role",
        "REVOKE admin FROM cascade, restrict",
        "CREATE USER if SUPERUSER",
        "ALTER USER password PASSWORD NULL",
        "ALTER ROLE rename RESET ALL",
        "DROP USER if, exists_",
        "CREATE POLICY policy ON policy TO role USING (using_)",
        "DROP MASK if ON mask",
    ] {
        let statement = one(sql);
        assert_eq!(statement.to_string(), sql);
        assert_prints_back(&statement);
    }
}

#[test]
fn other_ways_to_write_the_same() {
    for (sql, printed) in [
        (
            "create user Ana with login inherit encrypted password 'file:/x' nosuperuser nocreatedb",
            "CREATE USER Ana PASSWORD 'file:/x' NOSUPERUSER",
        ),
        ("CREATE USER ana WITH", "CREATE USER ana"),
        (
            "CREATE ROLE r WITH NOLOGIN INHERIT NOSUPERUSER NOCREATEDB",
            "CREATE ROLE r",
        ),
        (
            "ALTER ROLE r SET TIME ZONE 'UTC'",
            "ALTER ROLE r SET timezone = 'UTC'",
        ),
        (
            "ALTER USER \"ana\" PASSWORD $$env:X$$",
            "ALTER USER \"ana\" PASSWORD 'env:X'",
        ),
        (
            "GRANT ALL ON TABLE t TO ROLE r, USER u, GROUP g, public",
            "GRANT ALL PRIVILEGES ON TABLE t TO r, u, g, PUBLIC",
        ),
        (
            "REVOKE ALL ON t FROM r CASCADE",
            "REVOKE ALL PRIVILEGES ON t FROM r",
        ),
        (
            "REVOKE ROLE, admin FROM role RESTRICT",
            "REVOKE ROLE, admin FROM role",
        ),
        (
            "CREATE MASK m ON v (a) USING (NULL)",
            "CREATE MASK m ON v (a) TO PUBLIC USING (NULL)",
        ),
        ("DROP POLICY p ON v CASCADE", "DROP POLICY p ON v"),
    ] {
        let statement = one(sql);
        assert_eq!(statement.to_string(), printed);
        assert_prints_back(&statement);
    }
}

/// Whatever a policy asks for, it only reads, and it is what sqlparser reads.
#[test]
fn an_expression_is_read_as_in_a_query() {
    for sql in EXPRESSIONS {
        let Statement::Query(query) = one(&format!("SELECT 1 FROM x WHERE {sql}")) else {
            panic!("{sql}")
        };
        let read: Expr = *using_of(sql).expr;
        let belvedere_sql::Query { body, .. } = *query;
        let sqlparser::ast::SetExpr::Select(select) = *body else {
            panic!("{sql}")
        };
        assert_eq!(select.selection, Some(read), "{sql}");
    }
}

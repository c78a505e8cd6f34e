//! What is said about wrong text, and where.

use belvedere_sql::{ErrorKind, parse, parse_one};

/// The errors of these texts as a shell shows them.
fn errors(texts: &[&str]) -> String {
    let shown = texts.iter().map(|sql| match parse(sql) {
        Ok(statements) => panic!("{sql} is taken as {statements:?}"),
        Err(error) => error.render(sql),
    });
    shown.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn near_misses_are_named() {
    let texts = [
        "CREATE SOURCE erp FORM 'sqlite:erp.db'",
        "CREATE SUORCE erp FROM 'x'",
        "CREATE VEIW v AS SELECT 1",
        "SELCT 1",
        "SELECT 1; CREAT VIEW v AS SELECT 1",
        "ALTER SOURCE crm OWN customer(name)",
        "ALTER VIEW v SET SHEMA s",
        "REFRESH SOURCES x",
        "DROP TALBE t",
        "HELLO world",
    ];
    insta::assert_snapshot!(errors(&texts), @r#"
    error: expected FROM, found FORM
      at line 1, column 19
      | CREATE SOURCE erp FORM 'sqlite:erp.db'
      |                   ^
      hint: did you mean FROM?

    error: expected SOURCE, VIEW, SCHEMA, MATERIALIZED, INDEX, USER, ROLE, POLICY or MASK, found SUORCE
      at line 1, column 8
      | CREATE SUORCE erp FROM 'x'
      |        ^
      hint: did you mean SOURCE?

    error: expected SOURCE, VIEW, SCHEMA, MATERIALIZED, INDEX, USER, ROLE, POLICY or MASK, found VEIW
      at line 1, column 8
      | CREATE VEIW v AS SELECT 1
      |        ^
      hint: did you mean VIEW?

    error: expected a statement, found SELCT
      at line 1, column 1
      | SELCT 1
      | ^
      hint: did you mean SELECT?

    error: expected a statement, found CREAT
      at line 1, column 11
      | SELECT 1; CREAT VIEW v AS SELECT 1
      |           ^
      hint: did you mean CREATE?

    error: expected OWNS, OWNER, SET, RESET or RENAME, found OWN
      at line 1, column 18
      | ALTER SOURCE crm OWN customer(name)
      |                  ^
      hint: did you mean OWNS?

    error: expected SCHEMA, found SHEMA
      at line 1, column 18
      | ALTER VIEW v SET SHEMA s
      |                  ^
      hint: did you mean SCHEMA?

    error: expected SOURCE or MATERIALIZED, found SOURCES
      at line 1, column 9
      | REFRESH SOURCES x
      |         ^
      hint: did you mean SOURCE?

    error: expected SOURCE, VIEW, SCHEMA, MATERIALIZED, INDEX, USER, ROLE, POLICY or MASK, found TALBE
      at line 1, column 6
      | DROP TALBE t
      |      ^
      hint: did you mean TABLE?

    error: expected a statement, found HELLO
      at line 1, column 1
      | HELLO world
      | ^
    "#);
}

#[test]
fn names_are_checked() {
    let texts = [
        "CREATE VIEW AS SELECT 1",
        "CREATE VIEW a.b.c.d AS SELECT 1",
        "CREATE SOURCE a.b FROM 'x'",
        "CREATE SOURCE \"\" FROM 'x'",
        "DROP VIEW v,",
        "COMMENT ON COLUMN a IS 'x'",
        "DESCRIBE 'a'",
    ];
    insta::assert_snapshot!(errors(&texts), @r#"
    error: expected the name of a view, found AS
      at line 1, column 13
      | CREATE VIEW AS SELECT 1
      |             ^
      hint: AS is a reserved word; as a name it needs quotes: "AS"

    error: the name of a view has at most 3 parts, this one has 4
      at line 1, column 13
      | CREATE VIEW a.b.c.d AS SELECT 1
      |             ^

    error: the name of a source has one part, this one has 2
      at line 1, column 15
      | CREATE SOURCE a.b FROM 'x'
      |               ^

    error: a name cannot be empty
      at line 1, column 15
      | CREATE SOURCE "" FROM 'x'
      |               ^

    error: expected a name, found the end of the text
      at line 1, column 13
      | DROP VIEW v,
      |             ^

    error: a column is named with its table: table.column
      at line 1, column 19
      | COMMENT ON COLUMN a IS 'x'
      |                   ^

    error: expected the name of a table, view or source, found 'a'
      at line 1, column 10
      | DESCRIBE 'a'
      |          ^
    "#);
}

#[test]
fn values_and_options_are_checked() {
    let texts = [
        "CREATE SOURCE erp FROM \"sqlite:erp.db\"",
        "CREATE SOURCE erp FROM 'x' WITH (owner = 'a',\n  Owner = 'b')",
        "CREATE SOURCE erp FROM 'x' WITH (a = )",
        "CREATE SOURCE erp FROM 'x' WITH (a 1)",
        "CREATE SOURCE erp FROM 'x' WITH ()",
        "SET statement_timeout = 5s",
        "SET x 5",
        "SET x = - 'a'",
        "COMMENT ON VIEW a IS \"x\"",
    ];
    insta::assert_snapshot!(errors(&texts), @r#"
    error: expected the URL of the source ('scheme:…'), found "sqlite:erp.db"
      at line 1, column 24
      | CREATE SOURCE erp FROM "sqlite:erp.db"
      |                        ^
      hint: text is written in single quotes; double quotes are for names

    error: option owner is given twice
      at line 2, column 3
      |   Owner = 'b')
      |   ^

    error: expected a value ('text', a number, true, false or a word), found )
      at line 1, column 38
      | CREATE SOURCE erp FROM 'x' WITH (a = )
      |                                      ^

    error: expected =, found 1
      at line 1, column 36
      | CREATE SOURCE erp FROM 'x' WITH (a 1)
      |                                    ^

    error: expected the name of an option, found )
      at line 1, column 34
      | CREATE SOURCE erp FROM 'x' WITH ()
      |                                  ^

    error: expected , or the end of the value, found s
      at line 1, column 26
      | SET statement_timeout = 5s
      |                          ^
      hint: a value with a unit is text: '5s'

    error: expected = or TO, found 5
      at line 1, column 7
      | SET x 5
      |       ^

    error: expected a number, found 'a'
      at line 1, column 11
      | SET x = - 'a'
      |           ^

    error: expected 'text' or NULL, found "x"
      at line 1, column 22
      | COMMENT ON VIEW a IS "x"
      |                      ^
      hint: text is written in single quotes; double quotes are for names
    "#);
}

#[test]
fn statements_are_whole() {
    let texts = [
        "CREATE VIEW v AS",
        "CREATE VIEW v AS INSERT INTO t VALUES (1)",
        "CREATE VIEW v AS WITH d AS (DELETE FROM t RETURNING a) SELECT * FROM d",
        "CREATE OR REPLACE VIEW IF NOT EXISTS v AS SELECT 1",
        "CREATE OR REPLACE SCHEMA s",
        "ALTER SOURCE crm OWNS customer",
        "DROP VIEW v CASCADED",
        "SHOW COLUMNS t",
        "SHOW CREATE TABLE t",
        "EXPLAIN",
        "EXPLAIN DROP VIEW v",
        "EXPLAIN (ANALYZE maybe) SELECT 1",
    ];
    insta::assert_snapshot!(errors(&texts), @r#"
    error: expected a query, found the end of the text
      at line 1, column 17
      | CREATE VIEW v AS
      |                 ^

    error: expected a query, found INSERT
      at line 1, column 18
      | CREATE VIEW v AS INSERT INTO t VALUES (1)
      |                  ^

    error: the query may only read
      at line 1, column 18
      | CREATE VIEW v AS WITH d AS (DELETE FROM t RETURNING a) SELECT * FROM d
      |                  ^

    error: OR REPLACE and IF NOT EXISTS exclude each other
      at line 1, column 24
      | CREATE OR REPLACE VIEW IF NOT EXISTS v AS SELECT 1
      |                        ^

    error: a schema cannot be replaced
      at line 1, column 26
      | CREATE OR REPLACE SCHEMA s
      |                          ^
      hint: CREATE SCHEMA IF NOT EXISTS keeps one that is there

    error: expected (, found the end of the text
      at line 1, column 31
      | ALTER SOURCE crm OWNS customer
      |                               ^

    error: expected ; or the end of the text, found CASCADED
      at line 1, column 13
      | DROP VIEW v CASCADED
      |             ^

    error: expected FROM or IN, found t
      at line 1, column 14
      | SHOW COLUMNS t
      |              ^

    error: expected VIEW or SOURCE, found TABLE
      at line 1, column 13
      | SHOW CREATE TABLE t
      |             ^

    error: expected a query, found the end of the text
      at line 1, column 8
      | EXPLAIN
      |        ^

    error: expected a query, found DROP
      at line 1, column 9
      | EXPLAIN DROP VIEW v
      |         ^

    error: expected on or off, found maybe
      at line 1, column 18
      | EXPLAIN (ANALYZE maybe) SELECT 1
      |                  ^
    "#);
}

#[test]
fn queries_are_placed() {
    let texts = [
        "SELECT 'abc",
        "SELECT 1 /* abc",
        "SELECT \"abc",
        "SELECT a FROM",
        "SELECT (1",
        "SELECT 1)",
        "SELECT 1;\n\nSELECT * FROM t\n WHERE a = = 2",
        "SELECT 'é',\ta b c",
        "SELECT a\0",
        "SELECT 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', a b c, 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy'",
    ];
    insta::assert_snapshot!(errors(&texts), @r#"
    error: unterminated string literal
      at line 1, column 8
      | SELECT 'abc
      |        ^

    error: the text ends in a multi-line comment
      at line 1, column 16
      | SELECT 1 /* abc
      |                ^

    error: expected close delimiter '"' before the end of the text
      at line 1, column 8
      | SELECT "abc
      |        ^

    error: expected identifier, found the end of the text
      at line 1, column 14
      | SELECT a FROM
      |              ^

    error: expected ), found the end of the text
      at line 1, column 10
      | SELECT (1
      |          ^

    error: expected ; or the end of the text, found )
      at line 1, column 9
      | SELECT 1)
      |         ^

    error: expected an expression, found =
      at line 4, column 12
      |  WHERE a = = 2
      |            ^

    error: expected ; or the end of the text, found c
      at line 1, column 17
      | SELECT 'é', a b c
      |                 ^

    error: a NUL character cannot be part of SQL text
      at line 1, column 9
      | SELECT a
      |         ^

    error: expected ; or the end of the text, found c
      at line 1, column 116
      | xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', a b c, 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy
      |                                                             ^
    "#);
}

#[test]
fn later_versions_are_named() {
    for (sql, name) in [
        ("ALTER POLICY p ON v TO r", "ALTER POLICY"),
        ("ALTER MASK m ON v TO r", "ALTER MASK"),
        ("SET ROLE sales", "SET ROLE"),
        ("SET SESSION AUTHORIZATION ana", "SET SESSION AUTHORIZATION"),
        ("ALTER SCHEMA s OWNER TO ben", "ALTER SCHEMA … OWNER TO"),
        ("DROP OWNED BY ana", "DROP OWNED"),
        (
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r",
            "ALTER DEFAULT PRIVILEGES",
        ),
        ("CREATE SINK s", "CREATE SINK"),
        ("CREATE TASK t", "CREATE TASK"),
        ("COPY t FROM 'x.csv'", "COPY FROM"),
        ("COMMIT AND CHAIN", "AND CHAIN"),
        ("FETCH LAST FROM c", "FETCH LAST"),
        ("FETCH BACKWARD ALL FROM c", "FETCH BACKWARD"),
        ("FETCH -1 FROM c", "FETCH BACKWARD"),
    ] {
        match parse_one(sql).map_err(|e| e.kind) {
            Err(ErrorKind::NotInThisVersion { what }) => assert_eq!(what, name, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    let error = parse("SELECT 1;\n CREATE SINK s").unwrap_err();
    assert_eq!(
        error.to_string(),
        "CREATE SINK is not in this version (line 2, column 2)"
    );
}

/// The words of later versions are names like any other.
#[test]
fn words_of_later_versions_are_names() {
    for sql in [
        "SELECT version, sink.task FROM mask AS policy",
        "SELECT * FROM t AS version",
        "SELECT * FROM t timestamp",
        "CREATE VIEW materialized AS SELECT 1",
        "DROP VIEW index, role",
        "SELECT policy, mask.user FROM role AS grant, \"user\" revoke",
        "SELECT 1 AS timestamp, version AS of FROM t",
    ] {
        parse(sql).unwrap_or_else(|e| panic!("{}", e.render(sql)));
    }
}

#[test]
fn exactly_one_statement() {
    for (sql, message) in [
        (
            "",
            "expected a statement, found the end of the text (line 1, column 1)",
        ),
        (
            " ; -- none",
            "expected a statement, found the end of the text (line 1, column 11)",
        ),
        (
            "SELECT 1;\nSELECT 2",
            "only one statement is taken at once (line 2, column 1)",
        ),
    ] {
        assert_eq!(parse_one(sql).unwrap_err().to_string(), message);
    }
}

#[test]
fn what_is_subscribed_to_is_named() {
    let texts = [
        "SUBSCRIBE v",
        "SUBSCRIBE TO",
        "SUBSCRIBE TO (v)",
        "SUBSCRIBE TO SELECT 1",
        "SUBSCRIBE TO (SELECT 1) WITH (snapshot)",
        "SUBSCRIBE TO v WITH (cursor = 'a', cursor = 'b')",
        "SUBSCRIBE TO v AS OF 3",
        "EXPLAIN SUBSCRIBE TO v",
    ];
    insta::assert_snapshot!(errors(&texts), @r#"
    error: expected TO, found v
      at line 1, column 11
      | SUBSCRIBE v
      |           ^

    error: expected the name of a view, or a query in parentheses, found the end of the text
      at line 1, column 13
      | SUBSCRIBE TO
      |             ^

    error: expected a query, found v
      at line 1, column 15
      | SUBSCRIBE TO (v)
      |               ^

    error: expected the name of a view, or a query in parentheses, found SELECT
      at line 1, column 14
      | SUBSCRIBE TO SELECT 1
      |              ^
      hint: SELECT is a reserved word; as a name it needs quotes: "SELECT"

    error: expected =, found )
      at line 1, column 39
      | SUBSCRIBE TO (SELECT 1) WITH (snapshot)
      |                                       ^

    error: option cursor is given twice
      at line 1, column 36
      | SUBSCRIBE TO v WITH (cursor = 'a', cursor = 'b')
      |                                    ^

    error: expected ; or the end of the text, found AS
      at line 1, column 16
      | SUBSCRIBE TO v AS OF 3
      |                ^

    error: only a query can be explained
      at line 1, column 9
      | EXPLAIN SUBSCRIBE TO v
      |         ^
    "#);
}

//! What is said about wrong statements of access, and where.

use belvedere_sql::parse;

/// The errors of these texts as a shell shows them.
fn errors(texts: &[&str]) -> String {
    let shown = texts.iter().map(|sql| match parse(sql) {
        Ok(statements) => panic!("{sql} is taken as {statements:?}"),
        Err(error) => error.render(sql),
    });
    shown.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn access_is_checked() {
    let texts = [
        "CREATE USER",
        "CREATE USER PUBLIC",
        "CREATE OR REPLACE USER ana",
        "CREATE USER ana SUPRUSER",
        "CREATE USER ana PASSWORD secret",
        "CREATE USER ana PASSWORD ''",
        "CREATE USER ana PASSWORD 'a' 'b'",
        "CREATE USER ana PASSWORD 'a' PASSWORD 'b'",
        "CREATE USER ana SUPERUSER NOSUPERUSER",
        "CREATE USER 'ana'@'localhost' IDENTIFIED BY 'x'",
        "CREATE USER ana IDENTIFIED BY 'x'",
        "CREATE ROLE r LOGIN",
        "CREATE ROLE r PASSWORD 'x'",
        "CREATE ROLE a.r",
        "ALTER USER ana",
        "ALTER USER ana SET PASSWORD 'x'",
        "ALTER ROLE r SET x 1",
        "DROP USER ana, CURRENT_USER",
        "CREATE USER ana VALID UNTIL '2027-01-01'",
        "ALTER USER ana RENAME TO eva",
    ];
    insta::assert_snapshot!(errors(&texts), @r#"
    error: expected the name of a user, found the end of the text
      at line 1, column 12
      | CREATE USER
      |            ^

    error: PUBLIC is everybody, and no user or role
      at line 1, column 13
      | CREATE USER PUBLIC
      |             ^

    error: a user cannot be replaced
      at line 1, column 24
      | CREATE OR REPLACE USER ana
      |                        ^
      hint: CREATE USER IF NOT EXISTS keeps one that is there

    error: expected PASSWORD, SUPERUSER, NOSUPERUSER or the end of the statement, found SUPRUSER
      at line 1, column 17
      | CREATE USER ana SUPRUSER
      |                 ^
      hint: did you mean SUPERUSER?

    error: expected a password or NULL, found something else
      at line 1, column 26
      | CREATE USER ana PASSWORD secret
      |                          ^
      hint: a password is written as text, in single quotes: PASSWORD '…'

    error: a password cannot be empty
      at line 1, column 26
      | CREATE USER ana PASSWORD ''
      |                          ^
      hint: PASSWORD NULL takes it away

    error: expected PASSWORD, SUPERUSER, NOSUPERUSER or the end of the statement, found a text
      at line 1, column 30
      | CREATE USER ana PASSWORD 'a' 'b'
      |                              ^

    error: option password is given twice
      at line 1, column 30
      | CREATE USER ana PASSWORD 'a' PASSWORD 'b'
      |                              ^

    error: option superuser is given twice
      at line 1, column 27
      | CREATE USER ana SUPERUSER NOSUPERUSER
      |                           ^

    error: expected the name of a user, found a text
      at line 1, column 13
      | CREATE USER 'ana'@'localhost' IDENTIFIED BY 'x'
      |             ^
      hint: a name is written in double quotes, or in none

    error: expected PASSWORD, SUPERUSER, NOSUPERUSER or the end of the statement, found IDENTIFIED
      at line 1, column 17
      | CREATE USER ana IDENTIFIED BY 'x'
      |                 ^
      hint: a password is given as PASSWORD '…'

    error: a role does not log in
      at line 1, column 15
      | CREATE ROLE r LOGIN
      |               ^
      hint: CREATE USER makes one who does, and GRANT gives it the role

    error: a role does not log in
      at line 1, column 15
      | CREATE ROLE r PASSWORD 'x'
      |               ^
      hint: CREATE USER makes one who does, and GRANT gives it the role

    error: the name of a role has one part, this one has 2
      at line 1, column 13
      | CREATE ROLE a.r
      |             ^

    error: expected PASSWORD, SUPERUSER, NOSUPERUSER, SET or RESET, found the end of the text
      at line 1, column 15
      | ALTER USER ana
      |               ^

    error: a password is no setting
      at line 1, column 20
      | ALTER USER ana SET PASSWORD 'x'
      |                    ^
      hint: without SET it is ALTER USER ana PASSWORD '…'

    error: expected = or TO, found 1
      at line 1, column 20
      | ALTER ROLE r SET x 1
      |                    ^

    error: CURRENT_USER in place of a name is not in this version
      at line 1, column 16
      | DROP USER ana, CURRENT_USER
      |                ^

    error: VALID UNTIL is not in this version
      at line 1, column 17
      | CREATE USER ana VALID UNTIL '2027-01-01'
      |                 ^

    error: ALTER USER … RENAME TO is not in this version
      at line 1, column 16
      | ALTER USER ana RENAME TO eva
      |                ^
    "#);
}

#[test]
fn grants_are_checked() {
    let texts = [
        "GRANT",
        "GRANT SELECT TO ana",
        "GRANT sales FROM ana",
        "GRANT SELECT, INSRT ON v TO r",
        "GRANT MAINTAIN ON v TO r",
        "GRANT DELETE (a) ON v TO r",
        "GRANT SELECT (a) ON SCHEMA s TO r",
        "GRANT ALL v TO r",
        "GRANT SELECT ON v FROM r",
        "GRANT SELECT ON ALL TABLES IN SHEMA s TO r",
        "GRANT SELECT ON v TO 'r'",
        "GRANT SELECT ON v TO r,",
        "GRANT EXECUTE ON FUNCTION f TO r",
        "GRANT SELECT ON ALL SEQUENCES IN SCHEMA s TO r",
        "GRANT USAGE ON DATABASE d TO r",
        "GRANT SELECT ON v TO r WITH GRANT OPTION",
        "GRANT s TO r WITH ADMIN OPTION",
        "REVOKE GRANT OPTION FOR SELECT ON v FROM r",
        "REVOKE s FROM r GRANTED BY ana",
        "REVOKE s TO r",
    ];
    insta::assert_snapshot!(errors(&texts), @r#"
    error: expected a privilege or a role, found the end of the text
      at line 1, column 6
      | GRANT
      |      ^

    error: expected ON, found TO
      at line 1, column 14
      | GRANT SELECT TO ana
      |              ^

    error: expected ON or TO, found FROM
      at line 1, column 13
      | GRANT sales FROM ana
      |             ^

    error: expected a privilege (SELECT, INSERT, UPDATE, DELETE, REFRESH, CREATE, USAGE or ALL), found INSRT
      at line 1, column 15
      | GRANT SELECT, INSRT ON v TO r
      |               ^
      hint: did you mean INSERT?

    error: expected a privilege (SELECT, INSERT, UPDATE, DELETE, REFRESH, CREATE, USAGE or ALL), found MAINTAIN
      at line 1, column 7
      | GRANT MAINTAIN ON v TO r
      |       ^
      hint: REFRESH is the privilege to refresh

    error: DELETE cannot be limited to columns
      at line 1, column 7
      | GRANT DELETE (a) ON v TO r
      |       ^
      hint: SELECT, INSERT and UPDATE can

    error: columns are those of a table or view
      at line 1, column 7
      | GRANT SELECT (a) ON SCHEMA s TO r
      |       ^
      hint: behind ON, name the table that has them

    error: expected ON, found v
      at line 1, column 11
      | GRANT ALL v TO r
      |           ^

    error: expected TO, found FROM
      at line 1, column 19
      | GRANT SELECT ON v FROM r
      |                   ^

    error: expected SCHEMA, found SHEMA
      at line 1, column 31
      | GRANT SELECT ON ALL TABLES IN SHEMA s TO r
      |                               ^
      hint: did you mean SCHEMA?

    error: expected the name of a user or role, or PUBLIC, found a text
      at line 1, column 22
      | GRANT SELECT ON v TO 'r'
      |                      ^
      hint: a name is written in double quotes, or in none

    error: expected the name of a user or role, or PUBLIC, found the end of the text
      at line 1, column 24
      | GRANT SELECT ON v TO r,
      |                        ^

    error: expected a privilege (SELECT, INSERT, UPDATE, DELETE, REFRESH, CREATE, USAGE or ALL), found EXECUTE
      at line 1, column 7
      | GRANT EXECUTE ON FUNCTION f TO r
      |       ^

    error: ON ALL SEQUENCES is not in this version
      at line 1, column 21
      | GRANT SELECT ON ALL SEQUENCES IN SCHEMA s TO r
      |                     ^

    error: ON DATABASE is not in this version
      at line 1, column 16
      | GRANT USAGE ON DATABASE d TO r
      |                ^

    error: WITH GRANT OPTION is not in this version
      at line 1, column 24
      | GRANT SELECT ON v TO r WITH GRANT OPTION
      |                        ^

    error: WITH ADMIN OPTION is not in this version
      at line 1, column 14
      | GRANT s TO r WITH ADMIN OPTION
      |              ^

    error: REVOKE GRANT OPTION FOR is not in this version
      at line 1, column 8
      | REVOKE GRANT OPTION FOR SELECT ON v FROM r
      |        ^

    error: GRANTED BY is not in this version
      at line 1, column 17
      | REVOKE s FROM r GRANTED BY ana
      |                 ^

    error: expected ON or FROM, found TO
      at line 1, column 10
      | REVOKE s TO r
      |          ^
    "#);
}

#[test]
fn policies_and_masks_are_checked() {
    let texts = [
        "CREATE POLICY p",
        "CREATE POLICY p ON v TO r",
        "CREATE POLICY p ON v TO r USING a = 1",
        "CREATE POLICY p ON v TO r USING ()",
        "CREATE POLICY p ON v TO r USING (a, b)",
        "CREATE POLICY p ON v TO r USING (a = (WITH d AS (DELETE FROM t RETURNING a) SELECT a FROM d))",
        "CREATE POLICY p ON v AS RESTRICTIVE USING (a)",
        "CREATE POLICY p ON v FOR UPDATE USING (a)",
        "CREATE POLICY p ON v FOR SELEC USING (a)",
        "CREATE POLICY p ON v USING (a) WITH CHECK (b)",
        "CREATE MASK m ON v TO r USING (a)",
        "CREATE MASK m ON v (a, b) TO r USING (a)",
        "DROP POLICY p",
    ];
    insta::assert_snapshot!(errors(&texts), @r#"
    error: expected ON, found the end of the text
      at line 1, column 16
      | CREATE POLICY p
      |                ^

    error: expected USING, found the end of the text
      at line 1, column 26
      | CREATE POLICY p ON v TO r
      |                          ^

    error: expected (, found a
      at line 1, column 33
      | CREATE POLICY p ON v TO r USING a = 1
      |                                 ^

    error: expected an expression, found )
      at line 1, column 34
      | CREATE POLICY p ON v TO r USING ()
      |                                  ^

    error: expected ), found ,
      at line 1, column 35
      | CREATE POLICY p ON v TO r USING (a, b)
      |                                   ^

    error: the expression may only read
      at line 1, column 34
      | CREATE POLICY p ON v TO r USING (a = (WITH d AS (DELETE FROM t RETURNING a) SELECT a FROM d))
      |                                  ^

    error: AS RESTRICTIVE is not in this version
      at line 1, column 22
      | CREATE POLICY p ON v AS RESTRICTIVE USING (a)
      |                      ^

    error: a policy FOR UPDATE is not in this version
      at line 1, column 22
      | CREATE POLICY p ON v FOR UPDATE USING (a)
      |                      ^
      hint: FOR SELECT, or without FOR, it says which rows are read

    error: expected SELECT, found SELEC
      at line 1, column 26
      | CREATE POLICY p ON v FOR SELEC USING (a)
      |                          ^
      hint: did you mean SELECT?

    error: WITH CHECK is not in this version
      at line 1, column 32
      | CREATE POLICY p ON v USING (a) WITH CHECK (b)
      |                                ^

    error: expected (, found TO
      at line 1, column 20
      | CREATE MASK m ON v TO r USING (a)
      |                    ^

    error: a mask is of one column
      at line 1, column 22
      | CREATE MASK m ON v (a, b) TO r USING (a)
      |                      ^
      hint: each other column has a mask of its own

    error: expected ON, found the end of the text
      at line 1, column 14
      | DROP POLICY p
      |              ^
    "#);
}

//! A password is shown by nothing: not by a statement, nor by a text for a log, nor by an error.

use belvedere_sql::{Statement, UserOptions, parse, parse_one, redacted};
use proptest::prelude::*;

const SECRET: &str = "s3cretS3CRET";

/// What can be seen of a text.
fn seen(sql: &str) -> String {
    let parsed = match parse(sql) {
        Ok(read) => {
            let printed = read.iter().map(|s| s.statement.to_string());
            format!("{read:?} {}", printed.collect::<String>())
        }
        Err(e) => format!("{e} {e:?}"),
    };
    format!("{parsed}\n{}", redacted(sql))
}

#[test]
fn texts_are_redacted() {
    for (sql, shown) in [
        (
            "CREATE USER ana PASSWORD 'x'",
            "CREATE USER ana PASSWORD '…'",
        ),
        (
            "\u{feff}-- ü\nSELECT 'x';\n alter user \"é\" password 'it''s;' -- end",
            "\u{feff}-- ü\nSELECT 'x';\n alter user \"é\" password '…' -- end",
        ),
        (
            "CREATE USER a PASSWORD 'x'; CREATE USER b NOSUPERUSER PASSWORD $$y$$ SUPERUSER;;",
            "CREATE USER a PASSWORD '…'; CREATE USER b NOSUPERUSER PASSWORD '…' SUPERUSER;;",
        ),
        // What is no secret stays.
        (
            "CREATE USER ana PASSWORD 'env:ANA'",
            "CREATE USER ana PASSWORD 'env:ANA'",
        ),
        (
            "ALTER USER ana PASSWORD NULL SUPERUSER",
            "ALTER USER ana PASSWORD NULL SUPERUSER",
        ),
        (
            "ALTER ROLE r SET search_path = 'x', y",
            "ALTER ROLE r SET search_path = 'x', y",
        ),
        (
            "CREATE VIEW \"user\" AS SELECT 'x' AS role FROM password",
            "CREATE VIEW \"user\" AS SELECT 'x' AS role FROM password",
        ),
        (
            "CREATE POLICY p ON v TO role USING (user_password = 'x' AND password IN ('y'))",
            "CREATE POLICY p ON v TO role USING (user_password = 'x' AND password IN ('y'))",
        ),
        // Nor is it told by what is wrong.
        (
            "CREATE USER ana PASSWORD x-1",
            "CREATE USER ana PASSWORD '…'",
        ),
        (
            "CREATE USER ana PASSWORD = \"x\" VALID",
            "CREATE USER ana PASSWORD = '…' VALID",
        ),
        (
            "CREATE USER ana IDENTIFIED BY 'x'",
            "CREATE USER ana IDENTIFIED BY '…'",
        ),
        (
            "CREATE USER password PASSWORD 'x'",
            "CREATE USER password PASSWORD '…'",
        ),
        (
            "CRAETE USER ana PASSWORD 'x'",
            "CRAETE USER ana PASSWORD '…'",
        ),
        (
            "ALTER USER ana SET PASSWORD 'x'",
            "ALTER USER ana SET PASSWORD '…'",
        ),
        ("ALTER USER ana PASSWORD 'it's'", "ALTER USER ana …"),
        ("CREATE USER ana 'x", "CREATE USER ana …"),
        (
            "CREATE SOURCE s FROM 'u' WITH (password = 'x', owner = 'y')",
            "CREATE SOURCE s FROM 'u' WITH (password = '…', owner = 'y')",
        ),
        (
            "CREATE SOURCE s FROM 'u' WITH (password = 'file:/x')",
            "CREATE SOURCE s FROM 'u' WITH (password = 'file:/x')",
        ),
    ] {
        assert_eq!(redacted(sql), shown);
    }
}

/// More than is taken at once is cut off, and not looked through.
#[test]
fn a_long_text_is_cut() {
    let long = format!("SELECT 1; ALTER USER a PASSWORD 'x'{}", " ".repeat(4 << 20));
    assert_eq!(redacted(&long), "SELECT 1; ALTER USER a …");
}

/// The statement has it all the same, for whoever makes a verifier of it.
#[test]
fn a_password_is_read() {
    let read = parse_one("CREATE USER ana PASSWORD E'it\\'s' SUPERUSER").unwrap();
    let Statement::CreateUser(user) = read.statement else {
        panic!()
    };
    let UserOptions {
        password: Some(belvedere_sql::SetPassword::To(password)),
        superuser: Some(true),
    } = user.options
    else {
        panic!()
    };
    assert_eq!(password.expose(), "it's");
    assert!(!password.is_reference());
}

/// sqlparser would print it.
#[test]
fn no_other_statement_has_one() {
    let sql = "PREPARE p AS CREATE USER ana PASSWORD = 's3cretS3CRET'";
    assert_eq!(
        parse_one(sql).unwrap_err().to_string(),
        "a user or role is created and altered by a statement of its own (line 1, column 1)"
    );
    assert!(!seen(sql).contains(SECRET), "{}", seen(sql));
}

/// Where it is what does not belong there.
#[test]
fn an_error_does_not_say_what_it_found() {
    let error = parse("SELECT 1;\nALTER USER ana RESET PASSWORD 's3cretS3CRET'").unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected ; or the end of the text, found '…' (line 2, column 31)"
    );
    assert!(!seen("ALTER USER ana RESET PASSWORD 's3cretS3CRET'").contains(SECRET));
}

/// A text that was printed is not taken for the password.
#[test]
fn a_printed_statement_has_lost_it() {
    let read = parse_one("ALTER USER ana PASSWORD 'x'").unwrap();
    let error = parse_one(&read.statement.to_string()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the password is left out here (line 1, column 25); write it anew"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    /// Words missing, doubled, in another order.
    #[test]
    fn no_text_tells_it(
        alters in any::<bool>(),
        quoted in prop::sample::select(vec!["'@'", "$$@$$", "E'@'", "$a$@$a$", "N'@'", "U&'@'", "'ü''@\n'"]),
        mut words in prop::collection::vec(prop::sample::select(vec![
            "ana", "WITH", "ENCRYPTED", "PASSWORD", "SUPERUSER", "NULL", "=", "(", ")", ",", "VALID", "UNTIL", "IDENTIFIED",
            "BY", "IF", "NOT", "EXISTS", "\"B\"", "x", "/* ; */", "-- ;\n", "1",
        ]), 0..9),
        at in any::<prop::sample::Index>(),
    ) {
        words.insert(at.index(words.len() + 1), quoted);
        let verb = if alters { "ALTER" } else { "CREATE" };
        let sql = format!("SELECT 1;{verb} USER {} ; SELECT 2", words.join(" ")).replace('@', SECRET);
        let seen = seen(&sql);
        prop_assert!(!seen.contains(SECRET), "{}\n{}", sql, seen);
    }

    /// As it should not be written, either.
    #[test]
    fn no_word_tells_it(
        alters in any::<bool>(),
        written in prop::sample::select(vec!["@", "\"@\"", "@@", "$@", "-@", "(@)", "1@", "'a'@", "x @", "= @", "`@`"]),
        before in prop::sample::select(vec!["", "WITH", "SUPERUSER", "WITH ENCRYPTED", "PASSWORD"]),
        behind in prop::sample::select(vec!["", "SUPERUSER", "x", ";", "VALID UNTIL '2027'"]),
    ) {
        let verb = if alters { "ALTER" } else { "CREATE" };
        let written = written.replace('@', SECRET);
        let sql = format!("{verb} USER ana {before} PASSWORD {written} {behind}");
        let seen = seen(&sql);
        prop_assert!(!seen.contains(SECRET), "{}\n{}", sql, seen);
    }
}

use belvedere_sql::{
    AlterRole, CreateUser, RoleAction, SetPassword, Statement, parse, parse_one, redacted,
};

/// Of a thread of a server.
const STACK_BYTES: usize = 2 << 20;
/// No word of the dialect, and nothing that printing would write otherwise.
const SECRET: &str = "s3cretS3CRET";

/// SQL is read or refused; what is read prints to SQL that is read as the same.
pub fn dialect(data: &[u8]) {
    let Ok(sql) = String::from_utf8(data.to_vec()) else {
        return;
    };
    small(move || {
        let script = match parse(&sql) {
            Ok(script) => script,
            Err(error) => {
                let _ = error.to_string();
                return;
            }
        };
        for spanned in script {
            let statement = spanned.statement;
            assert_eq!(statement.clone(), statement);
            let _ = format!("{statement:?}");
            let printed = statement.to_string();
            if password(&statement).is_some() {
                continue;
            }
            match parse_one(&printed) {
                Ok(again) => assert_eq!(again.statement, statement, "{sql}\n{printed}"),
                Err(e) => panic!("{sql}\nprints to\n{printed}\n{e}"),
            }
        }
    });
}

/// No text that is shown tells a password.
pub fn redaction(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Whatever there is: what is read as a password is not shown, be it written as it may.
    if text.matches('@').count() == 1 {
        let sql = text.replace('@', SECRET);
        small(move || {
            let read = parse(&sql).unwrap_or_default();
            let told = |s: &Statement| password(s).is_some_and(|p| p.contains(SECRET));
            if read.iter().any(|spanned| told(&spanned.statement)) {
                unseen(&sql);
            }
        });
    }
    // And where a statement says that a password follows, it need be nothing that could be read.
    if !text.contains(SECRET) {
        let word = |c: char| c.is_ascii_alphanumeric() || c == ' ';
        let (before, behind) = text.split_once('@').unwrap_or(("", text));
        let before: String = before.chars().filter(|c| word(*c)).collect();
        // What comes between is an option, and no name of the user's that makes the rest another statement.
        let sql = format!("ALTER USER ana {before} PASSWORD '{SECRET}' {behind}");
        small(move || unseen(&sql));
    }
}

fn unseen(sql: &str) {
    // It stands elsewhere, too: the fuzzer sees what is compared with what.
    if sql.matches(SECRET).count() > 1 {
        return;
    }
    let redacted = redacted(sql);
    assert!(!redacted.contains(SECRET), "{sql}\nis shown as\n{redacted}");
    let told = match parse(sql) {
        Ok(read) => {
            let printed = read.iter().map(|s| s.statement.to_string());
            format!("{read:?} {}", printed.collect::<String>())
        }
        Err(e) => format!("{e} {e:?}"),
    };
    assert!(!told.contains(SECRET), "{sql}\nis told as\n{told}");
}

/// The password that a statement has, given as text: it is not printed.
fn password(statement: &Statement) -> Option<&str> {
    let options = match statement {
        Statement::CreateUser(CreateUser { options, .. }) => options,
        Statement::AlterRole(AlterRole {
            action: RoleAction::Options(options),
            ..
        }) => options,
        _ => return None,
    };
    match &options.password {
        Some(SetPassword::To(password)) if !password.is_reference() => Some(password.expose()),
        _ => None,
    }
}

/// On a stack as small as a server's.
fn small(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let ended = thread.spawn(work).map(std::thread::JoinHandle::join);
    // It has said why.
    assert!(matches!(ended, Ok(Ok(()))));
}

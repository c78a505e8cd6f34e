//! Text that is too long, too deep or not text at all: a clear error, and never a stack that overflows. Each case runs
//! on a stack as small as those of an async runtime's threads, and its AST is compared, cloned, printed and dropped.

use belvedere_sql::{ErrorKind, MAX_TEXT_BYTES, ParseError, parse, redacted};
use proptest::prelude::*;

const STACK: usize = 2 << 20;

/// Parses on a small stack and uses what comes out in every way that recurses.
fn handle(sql: String) -> Result<usize, ParseError> {
    let work = move || {
        let script = parse(&sql)?;
        for spanned in &script {
            assert_eq!(spanned.clone(), *spanned);
            let _ = (format!("{spanned:?}"), spanned.statement.to_string());
        }
        Ok(script.len())
    };
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap()
}

#[test]
fn ten_thousand_of_anything_inside_each_other() {
    let nested = |open: &str, middle: &str, close: &str| {
        format!("{}{middle}{}", open.repeat(10_000), close.repeat(10_000))
    };
    let cases = [
        format!("SELECT {}", nested("(", "1", ")")),
        format!("SELECT {}", "(".repeat(10_000)),
        format!("SELECT {}", ")".repeat(10_000)),
        nested("(", "SELECT 1", ")"),
        format!("SELECT * FROM {}", nested("(", "t", ")")),
        format!("SELECT * FROM {}", nested("(SELECT * FROM ", "t", ") x")),
        format!("SELECT {}", nested("(SELECT ", "1", ")")),
        format!("SELECT {}", nested("CASE WHEN a THEN ", "1", " END")),
        format!("SELECT {}", nested("f(", "1", ")")),
        format!("SELECT {}", nested("[", "1", "]")),
        format!("SELECT {}", nested("{'a': ", "1", "}")),
        format!("SELECT {} a", "NOT ".repeat(10_000)),
        format!("SELECT {} a", "- ".repeat(10_000)),
        format!("SELECT {} a", "+ ".repeat(10_000)),
        format!("SELECT CAST(a AS {})", nested("ARRAY<", "int", ">")),
        format!("SELECT CAST(a AS {})", nested("ARRAY(", "int", ")")),
        format!("SELECT CAST(a AS {})", nested("STRUCT<a ", "int", ">")),
        format!("SELECT CAST(a AS {})", nested("MAP(int, ", "int", ")")),
        format!("SELECT CAST(a AS int{})", "[]".repeat(10_000)),
        format!("SELECT {} 1", "INTERVAL ".repeat(10_000)),
        format!("{} SELECT 1", "EXPLAIN ".repeat(10_000)),
        format!("{} SELECT 1", "DESCRIBE ".repeat(10_000)),
        format!("{} SELECT 1", "FROM ".repeat(10_000)),
        format!("SELECT * FROM {} t", "LATERAL ".repeat(10_000)),
        format!("CREATE VIEW v AS {}", nested("(", "SELECT 1", ")")),
        nested("WITH a AS (", "SELECT 1", ") SELECT 1"),
        format!("{} SELECT 1; END", "IF a THEN ".repeat(10_000)),
        "BEGIN ".repeat(10_000),
        format!("{} SELECT 1", "PREPARE a AS ".repeat(10_000)),
        format!("{} SELECT 1", "PREPARE a AS ".repeat(100)),
        format!("EXPLAIN {} SELECT 1; END IF", "IF a THEN ".repeat(40)),
    ];
    for sql in cases {
        let start: String = sql.chars().take(30).collect();
        let error = handle(sql).expect_err(&start);
        assert!(error.line == 1 && error.column >= 1, "{start}: {error}");
    }
}

#[test]
fn chains_of_ten_thousand_are_refused() {
    for (operand, operator) in CHAINS {
        let error =
            handle(format!("SELECT {operand}{}", operator.repeat(10_000))).expect_err(operator);
        assert!(
            matches!(error.kind, ErrorKind::TooManyOperators { .. }),
            "{operator}: {error}"
        );
        // The rest of the text may be wrong too; what was read before is dropped on the way out.
        handle(format!("SELECT {operand}{} +", operator.repeat(10_000))).expect_err(operator);
    }
}

const CHAINS: [(&str, &str); 14] = [
    ("1", " + 1"),
    ("1", " OR a = 1"),
    ("1", " AND a OR b"),
    ("1", " UNION ALL SELECT 1"),
    ("1", " UNION SELECT 1"),
    ("1", " UNION ALL SELECT 1 EXCEPT SELECT 1"),
    ("1", "::int"),
    ("1", " IS NULL"),
    ("a", " || 'a'"),
    ("a", " IN (1)"),
    ("a", " BETWEEN 1 AND 2"),
    ("a", " LIKE 'a'"),
    ("a", " -> 'a'"),
    ("a", " AT TIME ZONE 'UTC'"),
];

/// The longest that are taken, and everything shorter on the way there.
#[test]
fn chains_up_to_the_limit_are_safe() {
    for (operand, operator) in CHAINS {
        let mut taken = 0;
        for length in [1, 10, 30, 40, 60, 100, 150, 199, 500, 1000, 1999, 3990] {
            for tail in ["", " + + )"] {
                if handle(format!("SELECT {operand}{}{tail}", operator.repeat(length))).is_ok() {
                    taken = length;
                }
            }
        }
        assert!(taken >= 10, "{operator} is taken only up to {taken}");
    }
    for operator in [" OR a = 1", " AND a BETWEEN 1 AND 2", " UNION ALL SELECT 1"] {
        handle(format!("SELECT 1{}", operator.repeat(3990))).unwrap();
    }
}

/// Chains below chains add up, though each is short.
#[test]
fn chains_inside_parentheses_count_together() {
    for (open, close) in [
        ("(", ")"),
        ("CASE WHEN 1 = 1 THEN ", " END"),
        ("f(", ")"),
        ("(SELECT ", ")"),
    ] {
        let nested = (0..20).fold("1".to_owned(), |inner, _| {
            format!("{open}{inner}{close}{}", " + 1".repeat(100))
        });
        let error = handle(format!("SELECT {nested}")).expect_err(open);
        assert!(
            matches!(error.kind, ErrorKind::TooManyOperators { .. }),
            "{open}: {error}"
        );
    }
}

/// Some depth is ordinary: what DataFusion's own limit admits, at least.
#[test]
fn ordinary_depth_is_taken() {
    let nested = |open: &str, middle: &str, close: &str, n: usize| {
        format!("{}{middle}{}", open.repeat(n), close.repeat(n))
    };
    for (sql, n) in [
        (format!("SELECT {}", nested("(", "1", ")", 40)), 40),
        (
            format!(
                "SELECT * FROM {}",
                nested("(SELECT * FROM ", "t", ") x", 24)
            ),
            24,
        ),
        (format!("SELECT {}", nested("f(1, ", "1", ")", 40)), 40),
        (
            format!("SELECT {}", nested("CASE WHEN a THEN ", "1", " END", 40)),
            40,
        ),
        (format!("SELECT * FROM {}", nested("(", "t", ")", 12)), 12),
    ] {
        let start = std::time::Instant::now();
        handle(sql.clone()).unwrap_or_else(|e| panic!("{n} levels of {}: {e}", &sql[..20]));
        assert!(
            start.elapsed().as_secs() < 10,
            "{n} levels of {}: {:?}",
            &sql[..20],
            start.elapsed()
        );
    }
}

/// What can be nested, with what ends it.
const SHAPES: [(&str, &str); 24] = [
    ("(", ")"),
    ("((", "))"),
    ("f(", ")"),
    ("(SELECT ", ")"),
    ("(SELECT * FROM ", ") x"),
    ("((SELECT * FROM ", ") x)"),
    ("(SELECT * FROM (", ")) x"),
    ("LATERAL (SELECT * FROM ", ") x"),
    ("(t JOIN ", " ON 1 = 1) x"),
    ("(SELECT 1 UNION ", ")"),
    ("(WITH a AS (", ") SELECT * FROM a)"),
    ("a IN ((SELECT 1 WHERE ", "), 1)"),
    ("EXISTS (SELECT 1 WHERE ", ")"),
    ("CASE WHEN a THEN ", " END"),
    ("CAST(", " AS INT)"),
    ("POSITION(", ", 1)"),
    ("INTERVAL ", " DAY"),
    ("[", "]"),
    ("{'a': ", "}"),
    ("CAST(a AS ARRAY<", ">)"),
    ("unnest(", ")"),
    ("NOT ", ""),
    ("(x) -> ", ""),
    ("((", ") JOIN u ON 1 = 1)"),
];

/// The deepest of each shape that is read, is safe to use.
#[test]
fn every_depth_is_safe() {
    for (open, close) in SHAPES {
        for (before, middle) in [
            ("SELECT ", "1"),
            ("SELECT * FROM ", "t"),
            ("SELECT ", "SELECT 1"),
        ] {
            let nested =
                |n: usize| format!("{before}{}{middle}{}", open.repeat(n), close.repeat(n));
            let _ = [64, 60, 40, 32, 31, 21, 16, 8]
                .into_iter()
                .find(|n| handle(nested(*n)).is_ok());
        }
    }
}

/// Two shapes in turn, whole or cut off: where sqlparser tries one reading after the other, it is stopped in time.
#[test]
fn many_readings_are_stopped() {
    for (i, (open, close)) in SHAPES.into_iter().enumerate() {
        for (other, end) in &SHAPES[i..] {
            let inside = format!("{open}{other}").repeat(12);
            for sql in [
                format!("SELECT {inside}1"),
                format!(
                    "SELECT * FROM {inside}t{}",
                    format!("{end}{close}").repeat(12)
                ),
            ] {
                let begun = std::time::Instant::now();
                let _ = parse(&sql);
                assert!(
                    begun.elapsed().as_secs() < 20,
                    "{sql} takes {:?}",
                    begun.elapsed()
                );
            }
        }
    }
}

/// What a policy says is limited as a query is.
#[test]
fn every_expression_of_a_policy_is_safe() {
    let policy = |expression: String| format!("CREATE POLICY p ON v TO r USING ({expression})");
    for (open, close) in SHAPES {
        let nested = |n: usize| policy(format!("{}1{}", open.repeat(n), close.repeat(n)));
        handle(nested(10_000)).expect_err(open);
        let _ = [64, 60, 40, 32, 31, 21, 16, 8]
            .into_iter()
            .find(|n| handle(nested(*n)).is_ok());
    }
    for (operand, operator) in CHAINS {
        let chain = |n: usize| policy(format!("{operand}{}", operator.repeat(n)));
        handle(chain(10_000)).expect_err(operator);
        for length in [10, 40, 100, 199, 1000, 3990] {
            let _ = handle(chain(length));
        }
    }
    handle(policy(format!("a = 0{}", " OR a = 1".repeat(3990)))).unwrap();
}

#[test]
fn long_lists_are_taken() {
    let list = (0..100_000)
        .map(|i| i.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    handle(format!("SELECT * FROM t WHERE a IN ({list})")).unwrap();
    let names = vec!["a"; 100_000].join(", ");
    handle(format!("GRANT SELECT ({names}) ON {names} TO {names}")).unwrap();
    assert_eq!(handle("SELECT 1;".repeat(1000)).unwrap(), 1000);
}

#[test]
fn a_hundred_megabytes_are_refused_at_once() {
    let sql = "SELECT 1, ".repeat(10 << 20);
    let start = std::time::Instant::now();
    let error = parse(&sql).unwrap_err();
    assert_eq!(
        error.kind,
        ErrorKind::TooLong {
            bytes: sql.len(),
            limit: MAX_TEXT_BYTES
        }
    );
    assert!(start.elapsed().as_millis() < 100);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_text_panics(sql in any::<String>()) {
        let _ = parse(&sql).map_err(|e| (e.to_string(), e.render(&sql)));
        let _ = redacted(&sql);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let sql = String::from_utf8_lossy(&bytes);
        let _ = parse(&sql).map_err(|e| (e.to_string(), e.render(&sql)));
        let _ = redacted(&sql);
    }

    #[test]
    fn no_sequence_of_words_panics(words in prop::collection::vec(prop::sample::select(WORDS), 0..25)) {
        let sql = words.join(" ");
        let _ = redacted(&sql);
        match parse(&sql) {
            Ok(script) => for spanned in script {
                prop_assert!(sql.contains(&spanned.text));
            },
            Err(error) => {
                let lines = sql.split('\n').count() as u64;
                prop_assert!((1..=lines).contains(&error.line), "{}", error);
                let _ = error.render(&sql);
            }
        }
    }
}

const WORDS: &[&str] = &[
    "CREATE", "OR", "REPLACE", "SOURCE", "VIEW", "SCHEMA", "ALTER", "DROP", "IF", "EXISTS", "NOT",
    "FROM", "WITH", "(", ")", "=", ",", ";", ".", "'s'", "\"q\"", "`b`", "1", "-", "a", "erp",
    "AS", "SELECT", "SET", "RESET", "SHOW", "ALL", "TABLES", "LIKE", "DESCRIBE", "EXPLAIN",
    "ANALYZE", "VERBOSE", "FORMAT", "COMMENT", "ON", "IS", "NULL", "COLUMN", "OWNS", "RENAME",
    "TO", "REFRESH", "TIME", "ZONE", "LOCAL", "SESSION", "DEFAULT", "UNION", "CASE", "END",
    "VALUES", "*", "::", "$1", "$$x$$", "--c\n", "/*c*/", "\n", "VERSION", "OF", "é", "|>", "{",
    "}", "[", "]", "E'\\n'", "U&'x'", "USER", "ROLE", "PASSWORD", "GRANT", "REVOKE", "PUBLIC",
    "INSERT", "IN", "POLICY", "MASK", "USING",
];

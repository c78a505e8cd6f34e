//! Text is compared by its bytes here, whatever its collation is at the source.

use super::traps;

/// A table `t` of one column of text, of this type, of words that collations take for each other.
fn words(column: &str) -> Vec<String> {
    let words = [
        "a", "A", "ä", "Ä", "b", "B", "ß", "ss", "é", "e\u{301}", "e", "", "aa", "a b", "ab", "z",
        "Z", "_", "%", "-a", "İ", "i", "I",
    ];
    table(column, &words)
}

/// With spaces and others below them, at the end.
fn padded(column: &str) -> Vec<String> {
    table(
        column,
        &[
            "a", "a ", "a  ", "", " ", "a\t", "b", " a", "a\u{1}", "a\u{a0}",
        ],
    )
}

fn table(column: &str, words: &[&str]) -> Vec<String> {
    let rows = words.iter().enumerate();
    let rows: Vec<_> = rows.map(|(i, word)| format!("({i}, '{word}')")).collect();
    vec![
        format!("CREATE TABLE t (id INTEGER PRIMARY KEY, c {column})"),
        "CREATE INDEX by_c ON t (c)".into(),
        format!("INSERT INTO t VALUES {}, (100, NULL)", rows.join(", ")),
    ]
}

const COMPARED: &[&str] = &[
    "SELECT id FROM s.t WHERE c = 'a'",
    "SELECT id FROM s.t WHERE c <> 'a'",
    "SELECT id FROM s.t WHERE c IS DISTINCT FROM 'a'",
    "SELECT id FROM s.t WHERE c IN ('a', 'B', 'ss', 'a ', '')",
    "SELECT id FROM s.t WHERE c NOT IN ('a', 'B')",
    "SELECT id FROM s.t WHERE c < 'b'",
    "SELECT id FROM s.t WHERE c >= 'Z'",
    "SELECT id FROM s.t WHERE c BETWEEN 'A' AND 'b'",
    "SELECT id FROM s.t WHERE c LIKE 'a%'",
    "SELECT id FROM s.t WHERE c LIKE 'a_'",
    "SELECT id FROM s.t WHERE c NOT LIKE '_'",
    "SELECT id FROM s.t WHERE c ILIKE 'a%'",
    "SELECT c, count(*) FROM s.t GROUP BY c",
    "SELECT DISTINCT c FROM s.t",
    "SELECT count(DISTINCT c) FROM s.t",
    "SELECT min(c), max(c) FROM s.t",
    "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.c = r.c",
    "SELECT l.id FROM s.t AS l LEFT ANTI JOIN s.t AS r ON l.c = r.c AND l.id <> r.id",
    "SELECT l.id FROM s.t AS l WHERE l.id = 1 OR EXISTS (SELECT 1 FROM s.t AS r WHERE l.c = r.c AND l.id <> r.id)",
    "SELECT l.id FROM s.t AS l WHERE l.id = 1 OR l.c IN (SELECT c FROM s.t WHERE id > 3)",
    "SELECT c, id FROM s.t ORDER BY c, id",
    "SELECT c, id FROM s.t ORDER BY c DESC, id LIMIT 5",
    "SELECT id FROM s.t WHERE CASE c WHEN 'a' THEN true WHEN 'B' THEN true END",
    "SELECT id, nullif(c, 'a') FROM s.t",
    "SELECT id, rank() OVER (ORDER BY c) AS r, count(*) OVER (PARTITION BY c) AS n FROM s.t ORDER BY id",
    "SELECT id, row_number() OVER (ORDER BY c DESC, id) AS r, min(c) OVER (ORDER BY c DESC) AS m FROM s.t ORDER BY id",
    "SELECT id, max(c) OVER (ORDER BY id) AS m, lag(c) OVER (ORDER BY c, id) AS l FROM s.t ORDER BY id",
];

const ESCAPES: &[&str] = &[
    "SELECT id FROM s.t WHERE c LIKE '\\%'",
    "SELECT id FROM s.t WHERE c LIKE '\\_'",
    "SELECT id FROM s.t WHERE c LIKE '\\\\'",
    "SELECT id FROM s.t WHERE c LIKE '%\\\\%'",
    "SELECT id FROM s.t WHERE c LIKE 'a\\b'",
    "SELECT id FROM s.t WHERE c LIKE '%''%'",
    "SELECT id FROM s.t WHERE c LIKE '%\"%'",
    "SELECT id FROM s.t WHERE c LIKE ''",
    "SELECT id FROM s.t WHERE c LIKE '%'",
    "SELECT id FROM s.t WHERE c NOT LIKE '%\\%%'",
    "SELECT id FROM s.t WHERE c = '\\'",
    "SELECT id FROM s.t WHERE c = '\\%'",
    "SELECT id FROM s.t WHERE starts_with(c, '\\')",
    "SELECT id FROM s.t WHERE c LIKE c",
];

const EMPTY: &[&str] = &[
    "SELECT id FROM s.t WHERE c = ''",
    "SELECT id FROM s.t WHERE c IS NULL",
    "SELECT id FROM s.t WHERE c <> ''",
    "SELECT id, c || '', concat(c, ''), coalesce(c, 'none'), nullif(c, '') FROM s.t",
    "SELECT c, count(*), count(c) FROM s.t GROUP BY c",
    "SELECT id, character_length(c), replace(c, '', 'x'), strpos(c, '') FROM s.t",
];

const PATTERNS: &[&str] = &[
    "SELECT id FROM s.t WHERE c ~ '^a+$'",
    "SELECT id FROM s.t WHERE c ~* '^A'",
    "SELECT id FROM s.t WHERE c !~ '[[:alpha:]]'",
    "SELECT id FROM s.t WHERE regexp_like(c, '\\w')",
    "SELECT id, regexp_replace(c, '(a)', '[\\1]') FROM s.t",
];

const PIECES: &[&str] = &[
    "SELECT id, substr(c, 0), substr(c, 1, 1), substr(c, 2, 9), substr(c, -1, 3), substr(c, 9) FROM s.t",
    "SELECT id, left(c, 1), left(c, -1), left(c, 0), right(c, 1), right(c, -1), right(c, 9) FROM s.t",
    "SELECT id, trim(c), ltrim(c), rtrim(c), btrim(c, 'a'), rtrim(c, 'a ') FROM s.t",
    "SELECT id FROM s.t WHERE trim(c) = c",
    "SELECT id FROM s.t WHERE substr(c, 1, 1) = 'a'",
    "SELECT trim(c), count(*) FROM s.t GROUP BY trim(c)",
    "SELECT id, strpos(c, 'a'), strpos(c, ''), replace(c, 'a', 'bb'), replace(c, ' ', '') FROM s.t",
];

const LENGTHS: &[&str] = &[
    "SELECT id, length(c), character_length(c), octet_length(c), bit_length(c) FROM s.t",
    "SELECT id FROM s.t WHERE length(c) = 1",
    "SELECT id FROM s.t WHERE octet_length(c) > length(c)",
    "SELECT length(c), count(*) FROM s.t GROUP BY length(c)",
];

const NUL: &[&str] = &[
    "SELECT id, c, length(c) FROM s.t ORDER BY c, id",
    "SELECT id FROM s.t WHERE c = 'a'",
    "SELECT id FROM s.t WHERE c LIKE 'a%'",
    "SELECT id FROM s.t WHERE c LIKE 'a'",
    "SELECT c, count(*) FROM s.t GROUP BY c",
    "SELECT max(c), min(c), count(DISTINCT c) FROM s.t",
    "SELECT l.id, r.id FROM s.t AS l JOIN s.t AS r ON l.c = r.c",
    "SELECT id, replace(c, 'a', 'b'), substr(c, 2), strpos(c, 'b'), c || 'x' FROM s.t",
];

/// Escapes of these are doubled where a system has such.
const ESCAPED: &[&str] = &[
    "\\", "\\\\", "%", "_", "\\%", "\\_", "a\\b", "ab", "''", "\"", "a%b", "", "\\a",
];

traps! {
    sqlite {
        case_insensitive: words("TEXT COLLATE NOCASE") => COMPARED;
        accents: words("TEXT") => COMPARED;
        padding: padded("TEXT COLLATE RTRIM") => COMPARED;
        like_escapes: table("TEXT", ESCAPED) => ESCAPES;
        empty_text: padded("TEXT") => EMPTY;
        regular_expressions: words("TEXT") => PATTERNS;
        pieces: padded("TEXT") => PIECES;
        pieces_of_letters: words("TEXT COLLATE NOCASE") => PIECES;
        lengths: words("TEXT") => LENGTHS;
        text_with_nul: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, c TEXT)",
            "INSERT INTO t VALUES (1, 'a'), (2, 'a' || char(0)), (3, 'a' || char(0) || 'b'), (4, char(0)), (5, ''), (6, NULL)",
        ] => NUL;
    }
    postgres {
        case_insensitive: with_collation("und-u-ks-level2", words("text COLLATE loose")) => COMPARED;
        accent_insensitive: with_collation("und-u-ks-level1", words("text COLLATE loose")) => COMPARED;
        nondeterministic_padding: with_collation("und-u-ka-shifted", padded("text COLLATE loose")) => COMPARED;
        locale: words("text COLLATE \"en-x-icu\"") => COMPARED;
        locale_of_sweden: words("varchar(20) COLLATE \"sv-x-icu\"") => COMPARED;
        citext: [vec!["CREATE EXTENSION citext".to_string()], words("citext")].concat() => COMPARED;
        padding: padded("char(6)") => COMPARED;
        like_escapes: table("text", ESCAPED) => ESCAPES;
        empty_text: padded("text") => EMPTY;
        empty_padded_text: padded("char(6)") => EMPTY;
        regular_expressions: words("text") => PATTERNS;
        pieces: padded("text") => PIECES;
        pieces_of_padded_text: padded("char(6)") => PIECES;
        pieces_of_letters: with_collation("und-u-ks-level1", words("text COLLATE loose")) => PIECES;
        lengths: words("text") => LENGTHS;
        lengths_of_padded_text: padded("char(6)") => LENGTHS;
    }
    mysql {
        case_insensitive: words("VARCHAR(20) COLLATE utf8mb4_general_ci") => COMPARED;
        accent_insensitive: words("VARCHAR(20) COLLATE utf8mb4_unicode_520_ci") => COMPARED;
        locale: words("VARCHAR(20) COLLATE utf8mb4_swedish_ci") => COMPARED;
        long_text: words("VARCHAR(2000) COLLATE utf8mb4_german2_ci") => COMPARED;
        padding: padded("VARCHAR(20) COLLATE utf8mb4_general_ci") => COMPARED;
        padding_of_bytes: padded("VARCHAR(20) COLLATE utf8mb4_bin") => COMPARED;
        padding_of_char: padded("CHAR(6) COLLATE utf8mb4_unicode_ci") => COMPARED;
        no_padding: padded("VARCHAR(20) COLLATE utf8mb4_nopad_bin") => COMPARED;
        like_escapes: doubled(table("VARCHAR(20)", ESCAPED)) => ESCAPES;
        empty_text: padded("VARCHAR(20)") => EMPTY;
        regular_expressions: words("VARCHAR(20)") => PATTERNS;
        pieces: padded("VARCHAR(20)") => PIECES;
        pieces_of_letters: words("VARCHAR(20) COLLATE utf8mb4_general_ci") => PIECES;
        lengths: words("VARCHAR(20)") => LENGTHS;
        text_with_nul: [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, c VARCHAR(20))",
            "INSERT INTO t VALUES (1, 'a'), (2, 'a\\0'), (3, 'a\\0b'), (4, '\\0'), (5, ''), (6, NULL)",
        ] => NUL;
    }
}

/// A collation `loose` that takes different texts as equal.
fn with_collation(locale: &str, tables: Vec<String>) -> Vec<String> {
    let collation = format!(
        "CREATE COLLATION loose (provider = icu, locale = '{locale}', deterministic = false)"
    );
    [vec![collation], tables].concat()
}

fn doubled(tables: Vec<String>) -> Vec<String> {
    let doubled = |statement: String| statement.replace('\\', "\\\\");
    tables.into_iter().map(doubled).collect()
}

/// Equality under a collation that takes more texts as equal reaches the column's index: the source's own comparison is
/// asked as well. That of SQLite and MariaDB is its connector's test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_serves_a_nondeterministic_collation() {
    let system = crate::systems::postgres("an_index_serves").await;
    let mut tables = with_collation("und-u-ks-level2", words("text COLLATE loose"));
    tables.push("INSERT INTO t SELECT n, 'w' || n FROM generate_series(1000, 9000) AS n".into());
    tables.push("ANALYZE t".into());
    let (_engine, session) = super::opened(&system, &tables).await;
    for (condition, values) in [
        ("c = 'a'", vec!["a"]),
        ("c IN ('a', 'ss')", vec!["a", "ss"]),
    ] {
        let answer = session
            .execute(&format!("EXPLAIN SELECT id FROM s.t WHERE {condition}"))
            .await
            .unwrap();
        let plan = belvedere_conformance::lines(&answer.collect().await.unwrap()).join("\n");
        let sent = plan
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with("SELECT"));
        let mut sent = sent
            .unwrap_or_else(|| panic!("nothing is sent: {plan}"))
            .to_string();
        for (n, value) in values.iter().enumerate() {
            sent = sent.replace(&format!("${}", n + 1), &format!("'{value}'"));
        }
        let source = system.ask(&format!("EXPLAIN {sent}")).await;
        assert!(source.contains("by_c"), "{sent}\n{source}");
    }
}

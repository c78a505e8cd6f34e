//! What is printed parses to the same AST.

use belvedere_sql::{
    AlterSchema, AlterSource, AlterView, Called, Check, CommentOn, CommentTarget, CopyTo,
    CreateSchema, CreateSource, CreateView, Declare, DropSchema, DropSource, DropView, Explain,
    Fetch, Ident, Name, Options, Query, RefreshView, Rows, Set, SetScope, SetValue, Show,
    SourceAction, Statement, Subscribe, Subscribed, Transaction, Value, Verbatim, ViewAction, fold,
    ident, parse, parse_one,
};
use proptest::prelude::*;

mod access;

/// Queries of every shape DataFusion is asked for, with the strings and names that are hard to print.
const QUERIES: &[&str] = &[
    "SELECT 1",
    "SELECT * FROM erp.public.item",
    "VALUES (1, 'a'), (2, NULL)",
    "FROM t SELECT a",
    "(SELECT 1) UNION ALL (SELECT 2 ORDER BY 1 LIMIT 1)",
    "SELECT a, sum(b) AS s FROM t WHERE c > 1 AND d IN (1, 2) GROUP BY a HAVING sum(b) > 3 ORDER BY 2 DESC NULLS LAST LIMIT 5 OFFSET 2",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 9) SELECT * FROM r",
    "SELECT row_number() OVER (PARTITION BY a ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
    "SELECT * FROM a LEFT JOIN b USING (x) CROSS JOIN c NATURAL JOIN d FULL JOIN e ON a.x = e.x",
    "SELECT CASE WHEN a = 1 THEN 'x' ELSE 'y' END, CAST(a AS DECIMAL(12,2)), a::TEXT, TRY_CAST(b AS INT) FROM t",
    "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.x = t.x) AND a NOT BETWEEN 1 AND 2 OR b IS NOT NULL",
    "SELECT DATE '2026-01-01' + INTERVAL '1 day', TIMESTAMP '2026-01-01 00:00:00', EXTRACT(YEAR FROM d) FROM t",
    "SELECT a -> 'b' ->> 'c', arr[1], [1, 2, 3], {'k': 1} FROM t",
    "SELECT count(DISTINCT a) FILTER (WHERE b), approx_percentile_cont(a, 0.5) FROM t GROUP BY ROLLUP (x, y)",
    "SELECT grouping(a) FROM t GROUP BY GROUPING SETS ((a), (a, b), ())",
    "SELECT a.* EXCEPT (b) FROM a",
    "SELECT changes.x, at.y FROM changes AS at, t changes",
    "SELECT $1, ?, -1, +a, NOT b, - -1, 1e10, X'00ff' FROM t",
    "SELECT 'it''s', 'it''''s', 'a\\b', 'a\\''b', '', '''', '''''', 'ü\n''x''', N'n''x', E'a\\n\\'b', $$a'b$$, U&'\\00e9'",
    "SELECT \"a\"\"b\", \"a\"\"\"\"b\", t.\"\"\"\" AS \"x\\\"\"y\", f.\"Ü b\"(1) FROM \"s\"\"\"\"\".\"T\" AS \"t\"\"\"\"\"",
    "WITH \"c\"\"\"\"\" AS (SELECT 1 AS \"\"\"\"\"\") SELECT \"c\"\"\"\"\".* FROM \"c\"\"\"\"\"",
    "SELECT * FROM generate_series(1, 10) AS g(n), LATERAL (SELECT n * 2) AS l, unnest([1, 2]) AS u",
    "SELECT a FROM t INTERSECT SELECT a FROM u EXCEPT ALL SELECT a FROM v",
    "SELECT DISTINCT ON (a) a, b FROM t QUALIFY row_number() OVER (ORDER BY a) = 1",
    "SELECT x LIKE 'a%' ESCAPE '\\', x ILIKE 'b', x ~ 'r', x SIMILAR TO 's', a IS DISTINCT FROM b FROM t",
    "SELECT substring(a FROM 1 FOR 2), trim(BOTH 'x' FROM a), position('a' IN b), overlay(a PLACING b FROM 1) FROM t",
    "SELECT a AT TIME ZONE 'UTC', current_date, now() FROM t AS x (a, b)",
    "SELECT * FROM t TABLESAMPLE BERNOULLI (10)",
    "SELECT a::l(1, 'a;', x, 'it''s', ''), CAST(b AS m('-')) FROM t",
    "SELECT first_value(a ORDER BY b) IGNORE NULLS OVER w FROM t WINDOW w AS (PARTITION BY c)",
];

/// Statements of sqlparser's own.
const OTHERS: &[&str] = &[
    "INSERT INTO t (a, b) VALUES (1, 'it''''s')",
    "UPDATE t SET a = 'x\\''y' WHERE b = 1",
    "DELETE FROM t WHERE a = 1",
    "CREATE TABLE t (a INT, b TEXT)",
    "CREATE TABLE t AS SELECT 1",
    "DROP TABLE IF EXISTS t",
    "TRUNCATE TABLE t",
    "USE erp",
    "PREPARE p AS SELECT $1",
    "EXECUTE p(1)",
    "DEALLOCATE p",
    "SHOW FUNCTIONS",
    "WITH d AS (DELETE FROM t RETURNING a) SELECT * FROM d",
];

#[test]
fn every_query_prints_back() {
    for sql in QUERIES {
        let statement = one(sql);
        let Statement::Query(query) = &statement else {
            panic!("{sql}: {statement:?}")
        };
        assert_prints_back(&statement);
        assert_prints_back(&Statement::DescribeQuery(query.clone()));
        assert_prints_back(&Statement::Explain(Explain {
            analyze: true,
            verbose: false,
            format: None,
            statement: Box::new(statement.clone()),
        }));
        // As written, and as sqlparser prints it.
        let mut view =
            one(&format!("CREATE VIEW v AS {sql} ; SELECT 1").replace(" ; SELECT 1", " -- end"));
        assert_eq!(view.to_string(), format!("CREATE VIEW v AS {sql}"));
        assert_prints_back(&view);
        let Statement::CreateView(create) = &mut view else {
            panic!()
        };
        create.text = Verbatim(None);
        assert_prints_back(&view);
    }
}

/// Our dialect wraps the generic one, which DataFusion uses, and reads everything as that does.
/// Which sqlparser does not read by itself.
#[test]
fn versions_of_tables_print_back() {
    for sql in [
        "SELECT * FROM a VERSION AS OF 3 AS x JOIN \"b\"\"\" TIMESTAMP AS OF '2126-01-01' y ON x.i = y.i",
        "SELECT a FROM \"t\\\"\"\" TIMESTAMP AS OF 'it''s'",
    ] {
        assert_prints_back(&one(sql));
    }
}

#[test]
fn every_query_is_read_as_sqlparser_reads_it() {
    for sql in QUERIES.iter().chain(OTHERS) {
        let plain =
            sqlparser::parser::Parser::parse_sql(&sqlparser::dialect::GenericDialect, sql).unwrap();
        match one(sql) {
            Statement::Query(query) => {
                assert_eq!(plain, [sqlparser::ast::Statement::Query(query)], "{sql}")
            }
            Statement::Other(statement) => assert_eq!(plain, [*statement], "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

/// To describe a table is to describe its columns, not the query `TABLE t`.
#[test]
fn table_is_a_query_except_described() {
    assert!(matches!(one("TABLE t"), Statement::Query(_)));
    assert_prints_back(&one("TABLE t"));
    assert_prints_back(&one("CREATE VIEW v AS TABLE t"));
    assert_eq!(
        one("DESCRIBE TABLE t"),
        Statement::Describe {
            name: Name::new(["t"])
        }
    );
}

#[test]
fn every_other_statement_prints_back() {
    for sql in OTHERS {
        let statement = one(sql);
        assert!(
            matches!(statement, Statement::Other(_)),
            "{sql}: {statement:?}"
        );
        assert_prints_back(&statement);
    }
}

#[test]
fn a_statement_knows_its_text_and_place() {
    let sql = "\u{feff}-- first\n  CREATE VIEW ü AS /* 1 */ SELECT 'ö;' -- end\n;; ;\n\tDROP VIEW v ;SELECT 2";
    let script = parse(sql).unwrap();
    let found: Vec<_> = script
        .iter()
        .map(|s| (s.text.as_str(), s.line, s.column))
        .collect();
    assert_eq!(
        found,
        [
            ("CREATE VIEW ü AS /* 1 */ SELECT 'ö;'", 2, 3),
            ("DROP VIEW v", 4, 2),
            ("SELECT 2", 4, 15)
        ]
    );
    assert_eq!(
        script[0].statement.to_string(),
        "CREATE VIEW ü AS SELECT 'ö;'"
    );
}

fn one(sql: &str) -> Statement {
    parse_one(sql)
        .unwrap_or_else(|e| panic!("{}", e.render(sql)))
        .statement
}

fn assert_prints_back(statement: &Statement) {
    let sql = statement.to_string();
    assert_eq!(one(&sql), *statement, "{sql}");
}

fn text() -> impl Strategy<Value = String> {
    let char = prop_oneof![
        4 => prop::char::range('a', 'z'),
        4 => prop::sample::select(vec!['\'', '"', '\\', '`', '\n', '\t', ' ', ';', '$', '-', '%', 'é', '漢', '😀', 'Ω']),
        1 => any::<char>(),
    ];
    prop::collection::vec(char, 0..12)
        .prop_map(|chars| chars.into_iter().filter(|c| *c != '\0').collect())
}

fn any_ident() -> impl Strategy<Value = Ident> {
    prop_oneof![
        4 => "[a-z_][a-z0-9_]{0,8}".prop_map(ident),
        2 => prop::sample::select(sqlparser::keywords::ALL_KEYWORDS).prop_map(|word| ident(word.to_lowercase())),
        2 => "X_[A-Z]{1,4}".prop_map(Ident::new),
        3 => (text(), prop::sample::select(vec!['"', '`'])).prop_filter_map("empty", |(text, quote)| {
            (!text.is_empty()).then(|| Ident::with_quote(quote, text))
        }),
    ]
}

fn name(most: usize) -> impl Strategy<Value = Name> {
    prop::collection::vec(any_ident(), 1..=most).prop_map(Name)
}

fn idents() -> impl Strategy<Value = Vec<Ident>> {
    prop::collection::vec(any_ident(), 1..4)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::String),
        any::<i64>().prop_map(|n| Value::Number(n.to_string())),
        (0u32..1000, 0u32..1000, 1u32..20)
            .prop_map(|(a, b, e)| Value::Number(format!("{a}.{b}e{e}"))),
        any::<bool>().prop_map(Value::Boolean),
        any_ident().prop_map(Value::Word),
        Just(Value::Word(Ident::new("on"))),
    ]
}

fn options(least: usize) -> impl Strategy<Value = Options> {
    prop::collection::vec((any_ident(), value()), least..5).prop_map(|entries| {
        let mut options = Options::default();
        for (name, value) in entries {
            options.set(name, value);
        }
        options
    })
}

fn query() -> impl Strategy<Value = Box<Query>> {
    (prop::sample::select(QUERIES), any_ident(), text()).prop_map(|(sql, name, text)| {
        // A name and a string in a query of their own, so that sqlparser's printer meets them too.
        let text = text.replace('\'', "''");
        let sql = if fold(&name).len().is_multiple_of(2) {
            sql.to_owned()
        } else {
            format!(
                "SELECT {}, '{text}' FROM ({sql}) AS q WHERE q.{} = '{text}'",
                Name::from(name.clone()),
                Name::from(name)
            )
        };
        match one(&sql) {
            Statement::Query(query) => query,
            other => panic!("{other:?}"),
        }
    })
}

fn statement() -> impl Strategy<Value = Statement> {
    let bools = any::<(bool, bool)>;
    let source = (bools(), any_ident(), text(), options(0)).prop_map(
        |((replace, exists), name, url, options)| {
            let (or_replace, if_not_exists) = (replace, exists && !replace);
            Statement::CreateSource(CreateSource {
                or_replace,
                if_not_exists,
                name,
                url,
                options,
            })
        },
    );
    let source_action = prop_oneof![
        (name(2), idents()).prop_map(|(table, columns)| SourceAction::Owns { table, columns }),
        options(1).prop_map(SourceAction::SetOptions),
        idents().prop_map(SourceAction::ResetOptions),
        any_ident().prop_map(SourceAction::RenameTo),
        access::role().prop_map(SourceAction::OwnerTo),
    ];
    let check = (any_ident(), query()).prop_map(|(name, query)| Check {
        name,
        query,
        text: Verbatim::default(),
    });
    let view = (
        bools(),
        prop::option::of(prop::collection::vec(check, 0..3)),
        name(3),
        prop::collection::vec(any_ident(), 0..3),
        options(0),
        query(),
    )
        .prop_map(|((replace, exists), kept, name, columns, options, query)| {
            let (or_replace, if_not_exists) = (replace, exists && !replace);
            let text = Verbatim::default();
            Statement::CreateView(CreateView {
                materialized: kept.is_some(),
                or_replace,
                if_not_exists,
                name,
                columns,
                options,
                checks: kept.unwrap_or_default(),
                query,
                text,
            })
        });
    let view_action = prop_oneof![
        any_ident().prop_map(ViewAction::RenameTo),
        name(2).prop_map(ViewAction::SetSchema),
        options(1).prop_map(ViewAction::SetOptions),
        idents().prop_map(ViewAction::ResetOptions),
        access::role().prop_map(ViewAction::OwnerTo),
    ];
    let comment = prop_oneof![
        (Just(CommentTarget::Source), name(1)),
        (Just(CommentTarget::Schema), name(2)),
        (Just(CommentTarget::Table), name(3)),
        (Just(CommentTarget::View), name(3)),
        (
            Just(CommentTarget::Column),
            (any_ident(), name(3)).prop_map(|(column, mut table)| {
                table.0.push(column);
                table
            })
        ),
    ];
    let set_value = prop_oneof![
        Just(SetValue::Default),
        prop::collection::vec(value(), 1..4).prop_map(SetValue::Values),
    ];
    let scope = prop::sample::select(vec![None, Some(SetScope::Session), Some(SetScope::Local)]);
    prop_oneof![
        source,
        (any_ident(), source_action)
            .prop_map(|(name, action)| Statement::AlterSource(AlterSource { name, action })),
        (bools(), any_ident()).prop_map(|((if_exists, cascade), name)| Statement::DropSource(
            DropSource {
                if_exists,
                name,
                cascade
            }
        )),
        any_ident().prop_map(|name| Statement::RefreshSource { name }),
        view,
        (0..3usize, any::<bool>(), name(3), view_action).prop_map(
            |(called, if_exists, name, action)| {
                let moves = matches!(
                    action,
                    ViewAction::RenameTo(_) | ViewAction::SetSchema(_) | ViewAction::OwnerTo(_)
                );
                let called = match called {
                    0 => Called::View,
                    2 if moves => Called::Table,
                    _ => Called::MaterializedView,
                };
                Statement::AlterView(AlterView {
                    called,
                    if_exists,
                    name,
                    action,
                })
            }
        ),
        (name(3), any::<bool>())
            .prop_map(|(name, full)| Statement::RefreshView(RefreshView { name, full })),
        (any::<bool>(), bools(), prop::collection::vec(name(3), 1..3)).prop_map(
            |(materialized, (if_exists, cascade), names)| Statement::DropView(DropView {
                materialized,
                if_exists,
                names,
                cascade
            })
        ),
        (any::<bool>(), name(2)).prop_map(|(if_not_exists, name)| Statement::CreateSchema(
            CreateSchema {
                if_not_exists,
                name
            }
        )),
        (name(2), any_ident())
            .prop_map(|(name, rename_to)| Statement::AlterSchema(AlterSchema { name, rename_to })),
        (bools(), name(2)).prop_map(|((if_exists, cascade), name)| Statement::DropSchema(
            DropSchema {
                if_exists,
                name,
                cascade
            }
        )),
        (comment, prop::option::of(text())).prop_map(|((object, name), comment)| {
            Statement::CommentOn(CommentOn {
                object,
                name,
                comment,
            })
        }),
        access::statement(),
        show().prop_map(Statement::Show),
        name(3).prop_map(|name| Statement::Describe { name }),
        query().prop_map(Statement::DescribeQuery),
        (scope, name(4), set_value).prop_map(|(scope, name, value)| Statement::Set(Set {
            scope,
            name,
            value
        })),
        Just(Statement::ResetAll),
        (
            bools(),
            prop::option::of(text().prop_map(|t| t.to_lowercase())),
            query()
        )
            .prop_map(|((analyze, verbose), format, query)| {
                let statement = Box::new(Statement::Query(query));
                Statement::Explain(Explain {
                    analyze,
                    verbose,
                    format,
                    statement,
                })
            }),
        (
            query(),
            prop::option::of(text()),
            prop::collection::vec(any_ident(), 0..3),
            options(0)
        )
            .prop_map(
                |(query, to, partition_by, options)| Statement::Copy(CopyTo {
                    query,
                    to,
                    partition_by,
                    force_quote: Vec::new(),
                    options
                })
            ),
        (
            prop_oneof![
                name(3).prop_map(Subscribed::Relation),
                query().prop_map(|query| Subscribed::Query {
                    query,
                    text: Verbatim::default()
                }),
            ],
            options(0)
        )
            .prop_map(|(to, options)| Statement::Subscribe(Subscribe { to, options })),
        prop::sample::select(
            &[
                Transaction::Begin,
                Transaction::Commit,
                Transaction::Rollback,
                Transaction::Characteristics,
            ][..]
        )
        .prop_map(Statement::Transaction),
        (name(1), 0..3).prop_map(|(name, which)| {
            let name = name.0[0].clone();
            Statement::Transaction(match which {
                0 => Transaction::Savepoint(name),
                1 => Transaction::Release(name),
                _ => Transaction::RollbackTo(name),
            })
        }),
        (name(1), any::<bool>(), any::<bool>(), query()).prop_map(|(name, binary, hold, query)| {
            let name = name.0[0].clone();
            Statement::Declare(Declare {
                name,
                binary,
                hold,
                query,
            })
        }),
        (name(1), any::<u64>(), 0..4).prop_map(|(name, count, which)| {
            let rows = match which {
                0 => Rows::All,
                1 => Rows::Rewind,
                _ => Rows::Next(count),
            };
            Statement::Fetch(Fetch {
                name: name.0[0].clone(),
                rows,
                moves: which % 2 == 1,
            })
        }),
        prop::option::of(name(1)).prop_map(|name| Statement::Close {
            name: name.map(|name| name.0[0].clone()),
        }),
        query().prop_map(Statement::Query),
        prop::sample::select(OTHERS).prop_map(one),
    ]
}

fn show() -> impl Strategy<Value = Show> {
    // Without quotes, these are no settings.
    let lists = [
        "SOURCES",
        "SCHEMAS",
        "TABLES",
        "VIEWS",
        "COLUMNS",
        "CAPABILITIES",
        "FUNCTIONS",
    ];
    let setting = name(4).prop_filter("a list", move |name| {
        let word = name.0[0].value.to_ascii_uppercase();
        name.0[0].quote_style.is_some() || !lists.contains(&word.as_str())
    });
    prop_oneof![
        setting.prop_map(Show::Setting),
        Just(Show::All),
        Just(Show::Sources),
        Just(Show::Schemas),
        (prop::option::of(name(2)), prop::option::of(text()))
            .prop_map(|(from, like)| Show::Tables { from, like }),
        (prop::option::of(name(2)), prop::option::of(text()))
            .prop_map(|(from, like)| Show::Views { from, like }),
        name(3).prop_map(Show::Columns),
        name(3).prop_map(Show::CreateView),
        any_ident().prop_map(Show::CreateSource),
        any_ident().prop_map(Show::Capabilities),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn every_statement_prints_back(statement in statement()) {
        let sql = statement.to_string();
        let read = parse_one(&sql).map_err(|e| TestCaseError::fail(e.render(&sql)))?;
        prop_assert_eq!(&read.statement, &statement, "{}", sql);
        prop_assert_eq!(&read.text, &sql);
    }

    #[test]
    fn a_script_is_its_statements(statements in prop::collection::vec(statement(), 0..4)) {
        let sql: String = statements.iter().map(|s| format!("{s};\n")).collect();
        let read = parse(&sql).map_err(|e| TestCaseError::fail(e.render(&sql)))?;
        let read: Vec<_> = read.into_iter().map(|s| s.statement).collect();
        prop_assert_eq!(read, statements);
    }
}

/// Found by the cases above: a name that is the word before it.
#[test]
fn a_savepoint_called_savepoint_prints_back() {
    for sql in [
        "RELEASE SAVEPOINT savepoint",
        "ROLLBACK TO SAVEPOINT savepoint",
    ] {
        let read = parse_one(sql).unwrap();
        assert_eq!(read.statement.to_string(), sql);
        let again = parse(&format!("{};", read.statement)).unwrap();
        assert_eq!(again[0].statement, read.statement);
    }
}

//! What is sent, computed twice: by the server, and here over the rows it stores.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, DatePart, Expr, ExprKind, Fragment, Function, JoinKind,
    Literal, Rel, SortKey, Source, Support, Table, UnaryOp,
};
use support::{Server, read, scan, table, text_of};

type Rows = Vec<Vec<Option<String>>>;

fn expr(kind: ExprKind, data_type: DataType) -> Expr {
    Expr {
        kind,
        data_type,
        nullable: true,
    }
}

fn binary(op: BinaryOp, left: Expr, right: Expr, data_type: DataType) -> Expr {
    let (left, right) = (Box::new(left), Box::new(right));
    expr(ExprKind::Binary { op, left, right }, data_type)
}

fn compare(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    binary(op, left, right, DataType::Boolean)
}

fn text(value: &str) -> Expr {
    Expr::literal(Literal::Text(value.to_string()), DataType::Utf8)
}

fn int(value: i64, data_type: DataType) -> Expr {
    Expr::literal(Literal::Int(value), data_type)
}

fn call(function: Function, args: Vec<Expr>, data_type: DataType) -> Expr {
    expr(ExprKind::Call { function, args }, data_type)
}

fn cast(arg: Expr, data_type: DataType) -> Expr {
    expr(ExprKind::Cast { arg: Box::new(arg) }, data_type)
}

fn in_list(arg: Expr, list: Vec<Expr>, negated: bool) -> Expr {
    let arg = Box::new(arg);
    expr(ExprKind::InList { arg, list, negated }, DataType::Boolean)
}

fn like(arg: Expr, pattern: &str, negated: bool) -> Expr {
    expr(
        ExprKind::Like {
            arg: Box::new(arg),
            pattern: Box::new(text(pattern)),
            escape: None,
            negated,
            case_insensitive: false,
        },
        DataType::Boolean,
    )
}

fn project(input: Rel, exprs: Vec<Expr>) -> Rel {
    Rel::Project {
        input: Box::new(input),
        columns: exprs
            .into_iter()
            .enumerate()
            .map(|(i, e)| (e, format!("x{i}")))
            .collect(),
    }
}

fn filter(input: Rel, predicate: Expr) -> Rel {
    Rel::Filter {
        input: Box::new(input),
        predicates: vec![predicate],
    }
}

/// The answer, after the source has said that it is exact.
async fn exact(source: &Arc<dyn Source>, rel: Rel) -> Rows {
    let sent = source.describe(&Fragment::new(rel.clone()));
    assert_eq!(source.capabilities().node(&rel), Support::Exact, "{sent}");
    match read(source, rel).await {
        Ok(batches) => text_of(&batches),
        Err(error) => panic!("{sent}: {error:?}"),
    }
}

/// The first column of the rows for which a predicate holds.
async fn ids(source: &Arc<dyn Source>, rel: &Rel, predicate: Expr) -> BTreeSet<String> {
    assert_eq!(
        source.capabilities().predicate(&predicate, &rel.schema()),
        Support::Exact,
        "{predicate:?}"
    );
    exact(source, filter(rel.clone(), predicate))
        .await
        .into_iter()
        .map(|row| row[0].clone().expect("an id"))
        .collect()
}

/// The same, found here: `holds` sees the second column's value, which is not NULL.
fn expected(rows: &Rows, holds: impl Fn(&str) -> bool) -> BTreeSet<String> {
    rows.iter()
        .filter(|row| row[1].as_deref().is_some_and(&holds))
        .map(|row| row[0].clone().expect("an id"))
        .collect()
}

const TRICKY: &[&str] = &[
    "", " ", "  ", "a", "A", "a ", "a  ", " a", "a\t", "a\n", "a\u{0}", "aa", "ä", "Ä", "a\u{308}",
    "å", "ss", "ß", "é", "e\u{301}", "i", "I", "İ", "ı", "a%", "a_", "a\\", "a\\%", "%", "_", "'",
    "\"", "? :a", "z", "Z", "æ", "ae", "ﬀ", "漢", "\u{E000}", "\u{FFFD}", "😀", "😁", "€", "b",
];

const COLUMNS: &[(&str, &str)] = &[
    ("general", "VARCHAR(20) COLLATE utf8mb4_general_ci"),
    ("unicode_", "VARCHAR(20) COLLATE utf8mb4_unicode_ci"),
    ("nopad", "VARCHAR(20) COLLATE utf8mb4_unicode_520_nopad_ci"),
    ("bin", "VARCHAR(20) COLLATE utf8mb4_bin"),
    ("nopad_bin", "VARCHAR(20) COLLATE utf8mb4_nopad_bin"),
    ("utf8mb3_", "VARCHAR(20) CHARACTER SET utf8mb3"),
    ("latin1_", "VARCHAR(20) CHARACTER SET latin1"),
    ("cp1250_", "VARCHAR(20) CHARACTER SET cp1250"),
    (
        "german",
        "VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci",
    ),
    ("ucs2_", "VARCHAR(20) CHARACTER SET ucs2"),
    ("utf16_", "VARCHAR(20) CHARACTER SET utf16"),
    ("gbk_", "VARCHAR(20) CHARACTER SET gbk"),
    ("padded", "CHAR(20)"),
    ("long_", "TEXT"),
];

fn quoted(text: &str) -> String {
    let hex: String = text.bytes().map(|b| format!("{b:02x}")).collect();
    format!("CONVERT(X'{hex}' USING utf8mb4)")
}

#[tokio::test]
async fn pushdown() {
    let server = Server::start().await;
    texts(&server).await;
    numbers(&server).await;
    dates(&server).await;
    relations(&server).await;
    left_here(&server).await;
}

async fn texts(server: &Server) {
    let columns: Vec<String> = COLUMNS
        .iter()
        .map(|(name, definition)| match *name {
            "long_" => format!("{name} {definition}"),
            _ => format!("{name} {definition}, KEY ({name})"),
        })
        .collect();
    let rows: Vec<String> = TRICKY
        .iter()
        .enumerate()
        .map(|(i, text)| {
            format!(
                "({i}{})",
                format!(", {}", quoted(text)).repeat(COLUMNS.len())
            )
        })
        .collect();
    server
        .database(
            "texts",
            &[
                &format!("CREATE TABLE t (id INT PRIMARY KEY, {})", columns.join(", ")),
                // What a character set does not have becomes '?'.
                &format!("INSERT IGNORE INTO t VALUES {}", rows.join(", ")),
                "INSERT INTO t (id) VALUES (1000)",
                "CREATE TABLE e (id INT PRIMARY KEY, v ENUM('b', 'B ', 'a', '', 'ä') CHARACTER SET latin1 COLLATE latin1_general_cs)",
                "INSERT INTO e VALUES (1, 'b'), (2, 'a'), (3, ''), (4, 'ä'), (5, NULL), (6, 'B ')",
                "INSERT IGNORE INTO e VALUES (7, 'none')",
            ],
        )
        .await;
    let source = server.source("texts", &[]);
    let t = table(&source, "t").await;
    for (name, _) in COLUMNS {
        let rel = scan(&t, &["id", name]);
        let rows = text_of(&read(&source, rel.clone()).await.unwrap());
        one_text(&source, &rel, &rows, *name == "long_").await;
    }
    let e = table(&source, "e").await;
    let rel = scan(&e, &["id", "v"]);
    let rows = text_of(&read(&source, rel.clone()).await.unwrap());
    one_text(&source, &rel, &rows, false).await;
    text_joins(&source, &t).await;
    text_unions(&source, &t).await;
    indexes(server, &source, &t).await;
}

async fn one_text(source: &Arc<dyn Source>, rel: &Rel, rows: &Rows, long: bool) {
    let v = || Expr::column(1, DataType::Utf8, true);
    for literal in TRICKY {
        for (op, holds) in [
            (BinaryOp::Eq, (|a, b| a == b) as fn(&str, &str) -> bool),
            (BinaryOp::NotEq, |a, b| a != b),
            (BinaryOp::Lt, |a, b| a < b),
            (BinaryOp::GtEq, |a, b| a >= b),
        ] {
            let found = ids(source, rel, compare(op, v(), text(literal))).await;
            assert_eq!(
                found,
                expected(rows, |a| holds(a, literal)),
                "{op:?} {literal:?}"
            );
        }
        let starts = call(
            Function::StartsWith,
            vec![v(), text(literal)],
            DataType::Boolean,
        );
        let ends = call(
            Function::EndsWith,
            vec![v(), text(literal)],
            DataType::Boolean,
        );
        if !literal.is_empty() {
            assert_eq!(
                ids(source, rel, starts).await,
                expected(rows, |a| a.starts_with(literal))
            );
            assert_eq!(
                ids(source, rel, ends).await,
                expected(rows, |a| a.ends_with(literal))
            );
            let place = call(Function::StrPos, vec![v(), text(literal)], DataType::Int32);
            let found = exact(source, project(rel.clone(), vec![place])).await;
            let here: Rows = rows
                .iter()
                .map(|row| {
                    let place =
                        |a: &String| a.find(literal).map_or(0, |i| a[..i].chars().count() + 1);
                    vec![row[1].as_ref().map(|a| place(a).to_string())]
                })
                .collect();
            assert_eq!(found, here, "position of {literal:?}");
        }
    }
    for list in [&["a", "ä", "ss"][..], &["A ", "😀", ""], &["z"]] {
        let items = || list.iter().map(|item| text(item)).collect::<Vec<_>>();
        let found = ids(source, rel, in_list(v(), items(), false)).await;
        assert_eq!(found, expected(rows, |a| list.contains(&a)), "in {list:?}");
        let found = ids(source, rel, in_list(v(), items(), true)).await;
        assert_eq!(
            found,
            expected(rows, |a| !list.contains(&a)),
            "not in {list:?}"
        );
    }
    for (pattern, matches) in [
        ("a", (|a| a == "a") as fn(&str) -> bool),
        ("a%", |a| a.starts_with('a')),
        ("%ß%", |a| a.contains('ß')),
        ("_", |a| a.chars().count() == 1),
        ("a\\%", |a| a == "a%"),
        ("a\\\\%", |a| a.starts_with("a\\")),
        ("a\\_", |a| a == "a_"),
        ("% ", |a| a.ends_with(' ')),
        ("", |a| a.is_empty()),
    ] {
        assert_eq!(
            ids(source, rel, like(v(), pattern, false)).await,
            expected(rows, matches),
            "like {pattern:?}"
        );
        assert_eq!(
            ids(source, rel, like(v(), pattern, true)).await,
            expected(rows, |a| !matches(a))
        );
    }
    let is_null = |op| {
        expr(
            ExprKind::Unary {
                op,
                arg: Box::new(v()),
            },
            DataType::Boolean,
        )
    };
    assert_eq!(
        ids(source, rel, is_null(UnaryOp::IsNotNull)).await,
        expected(rows, |_| true)
    );

    let number = |value| int(value, DataType::Int64);
    type Here = fn(&str) -> String;
    let functions: Vec<(Function, Vec<Expr>, DataType, Here)> = vec![
        (Function::CharacterLength, vec![], DataType::Int32, |a| {
            a.chars().count().to_string()
        }),
        (Function::OctetLength, vec![], DataType::Int32, |a| {
            a.len().to_string()
        }),
        (Function::Substring, vec![number(2)], DataType::Utf8, |a| {
            a.chars().skip(1).collect()
        }),
        (
            Function::Substring,
            vec![number(1), number(1)],
            DataType::Utf8,
            |a| a.chars().take(1).collect(),
        ),
        (Function::Left, vec![number(1)], DataType::Utf8, |a| {
            a.chars().take(1).collect()
        }),
        (Function::Right, vec![number(1)], DataType::Utf8, |a| {
            a.chars().last().into_iter().collect()
        }),
        (Function::Trim, vec![], DataType::Utf8, |a| {
            a.trim_matches(' ').to_string()
        }),
        (Function::LeftTrim, vec![], DataType::Utf8, |a| {
            a.trim_start_matches(' ').to_string()
        }),
        (Function::RightTrim, vec![], DataType::Utf8, |a| {
            a.trim_end_matches(' ').to_string()
        }),
    ];
    for (function, mut args, data_type, here) in functions {
        args.insert(0, v());
        let found = exact(
            source,
            project(rel.clone(), vec![call(function, args, data_type)]),
        )
        .await;
        let here: Rows = rows
            .iter()
            .map(|row| vec![row[1].as_deref().map(here)])
            .collect();
        assert_eq!(found, here, "{function:?}");
    }
    let min = |function| Aggregate {
        function,
        arg: Some(v()),
        distinct: false,
        filter: None,
        data_type: DataType::Utf8,
    };
    let values: Vec<&String> = rows.iter().filter_map(|row| row[1].as_ref()).collect();
    let extremes = Rel::Aggregate {
        input: Box::new(rel.clone()),
        group_by: Vec::new(),
        aggregates: vec![
            (min(AggregateFunction::Min), "a".into()),
            (min(AggregateFunction::Max), "b".into()),
        ],
    };
    assert_eq!(
        exact(source, extremes).await,
        [[
            values.iter().min().map(|v| v.to_string()),
            values.iter().max().map(|v| v.to_string())
        ]]
    );
    let groups = Rel::Aggregate {
        input: Box::new(rel.clone()),
        group_by: vec![(v(), "v".into())],
        aggregates: Vec::new(),
    };
    let sorted = |descending: bool, nulls_first: bool| Rel::Sort {
        input: Box::new(rel.clone()),
        keys: vec![
            SortKey {
                expr: v(),
                descending,
                nulls_first,
            },
            SortKey {
                expr: Expr::column(0, DataType::Int32, false),
                descending: false,
                nulls_first: false,
            },
        ],
        fetch: Some(30),
    };
    if long {
        for rel in [groups, sorted(false, false)] {
            assert!(
                matches!(source.capabilities().node(&rel), Support::No(why) if why.contains("longer"))
            );
        }
        return;
    }
    let mut found = exact(source, groups).await;
    found.sort();
    let mut here: Vec<Option<String>> = rows.iter().map(|row| row[1].clone()).collect();
    here.sort();
    here.dedup();
    assert_eq!(
        found
            .into_iter()
            .map(|mut row| row.remove(0))
            .collect::<Vec<_>>(),
        here
    );
    for (descending, nulls_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut here: Rows = rows.clone();
        here.sort_by(|a, b| {
            let (x, y) = (&a[1], &b[1]);
            let nulls = x.is_none().cmp(&y.is_none());
            let nulls = if nulls_first { nulls.reverse() } else { nulls };
            let values = if descending { y.cmp(x) } else { x.cmp(y) };
            let id = |row: &Vec<Option<String>>| {
                row[0].as_ref().map(|id| id.parse::<i32>().unwrap_or(0))
            };
            nulls.then(values).then(id(a).cmp(&id(b)))
        });
        here.truncate(30);
        assert_eq!(
            exact(source, sorted(descending, nulls_first)).await,
            here,
            "{descending} {nulls_first}"
        );
    }
}

/// Equal texts of two columns, whatever their collations and character sets.
async fn text_joins(source: &Arc<dyn Source>, t: &Table) {
    for (left, right) in [
        ("general", "general"),
        ("general", "latin1_"),
        ("german", "latin1_"),
        ("utf16_", "nopad_bin"),
        ("padded", "unicode_"),
    ] {
        let (l, r) = (scan(t, &["id", left]), scan(t, &["id", right]));
        let rows = |rel: Rel| async { text_of(&read(source, rel).await.unwrap()) };
        let (a, b) = (rows(l.clone()).await, rows(r.clone()).await);
        let mut here: Rows = Vec::new();
        for x in &a {
            for y in b.iter().filter(|y| x[1].is_some() && x[1] == y[1]) {
                here.push(vec![x[0].clone(), y[0].clone()]);
            }
        }
        let key = || Expr::column(1, DataType::Utf8, true);
        let join = |kind| Rel::Join {
            left: Box::new(l.clone()),
            right: Box::new(r.clone()),
            kind,
            on: vec![(key(), key())],
            filter: None,
        };
        let pairs = vec![
            Expr::column(0, DataType::Int32, false),
            Expr::column(2, DataType::Int32, false),
        ];
        let mut found = exact(source, project(join(JoinKind::Inner), pairs)).await;
        found.sort();
        here.sort();
        assert_eq!(found, here, "{left} {right}");
        let matched: BTreeSet<_> = here.iter().map(|pair| pair[0].clone()).collect();
        for (kind, wanted) in [(JoinKind::LeftSemi, true), (JoinKind::LeftAnti, false)] {
            let mut found = exact(source, join(kind)).await;
            found.sort();
            let mut here: Rows = a.clone();
            here.retain(|x| matched.contains(&x[0]) == wanted);
            here.sort();
            let sent = source.describe(&Fragment::new(join(kind)));
            assert_eq!(found, here, "{left} {right}: {sent}");
        }
    }
}

/// Columns that the server itself would refuse to put into one.
async fn text_unions(source: &Arc<dyn Source>, t: &Table) {
    let branch = |name| scan(t, &["id", name]);
    let union = |names: &[&'static str]| {
        let inputs: Vec<Rel> = names.iter().map(|name| branch(name)).collect();
        Rel::UnionAll {
            schema: inputs[0].schema(),
            inputs,
        }
    };
    for names in [
        &["general", "unicode_"][..],
        &["general", "latin1_"],
        &["german", "latin1_"],
    ] {
        let rows = exact(source, union(names)).await.len();
        assert_eq!(rows, 2 * (TRICKY.len() + 1), "{names:?}");
    }
    // A group's key beside the column it was made of.
    for name in ["latin1_", "ucs2_"] {
        let keys = Rel::Aggregate {
            input: Box::new(project(
                branch(name),
                vec![Expr::column(1, DataType::Utf8, true)],
            )),
            group_by: vec![(Expr::column(0, DataType::Utf8, true), "v".into())],
            aggregates: Vec::new(),
        };
        let limited = Rel::Limit {
            input: Box::new(keys.clone()),
            skip: 0,
            fetch: Some(1000),
        };
        for keys in [keys, limited] {
            let inputs = vec![scan(t, &[name]), keys];
            let both = Rel::UnionAll {
                schema: inputs[0].schema(),
                inputs,
            };
            let mut here = text_of(&read(source, scan(t, &[name])).await.unwrap());
            let distinct: BTreeSet<_> = here.iter().cloned().collect();
            here.extend(distinct);
            here.sort();
            let mut found = exact(source, both).await;
            found.sort();
            assert_eq!(found, here, "{name}");
        }
    }
    let union = union(&["general", "unicode_", "latin1_", "padded"]);
    assert_eq!(
        exact(source, union.clone()).await.len(),
        4 * (TRICKY.len() + 1)
    );
    let v = || Expr::column(1, DataType::Utf8, true);
    // Distinct counts make the server sort the groups.
    let groups = |input: Rel| Rel::Aggregate {
        input: Box::new(input),
        group_by: vec![(v(), "v".into())],
        aggregates: vec![(
            Aggregate {
                function: AggregateFunction::Count,
                arg: Some(Expr::column(0, DataType::Int32, false)),
                distinct: true,
                filter: None,
                data_type: DataType::Int64,
            },
            "n".into(),
        )],
    };
    for rel in [branch("general"), branch("latin1_"), union] {
        let mut here = std::collections::BTreeMap::<_, BTreeSet<_>>::new();
        for mut row in text_of(&read(source, rel.clone()).await.unwrap()) {
            here.entry(row.remove(1)).or_default().insert(row.remove(0));
        }
        let wide = matches!(rel, Rel::UnionAll { .. });
        let rel = groups(rel);
        if wide && source.capabilities().node(&rel) != Support::Exact {
            continue;
        }
        let mut found = exact(source, rel).await;
        found.sort();
        let here: Rows = here
            .into_iter()
            .map(|(v, ids)| vec![v, Some(ids.len().to_string())])
            .collect();
        assert_eq!(found, here);
    }
}

/// Equality reaches the index of the column under its own collation.
async fn indexes(server: &Server, source: &Arc<dyn Source>, t: &Table) {
    for (name, literal) in [
        ("general", "ä"),
        ("latin1_", "a"),
        ("utf8mb3_", "漢"),
        ("padded", "a"),
    ] {
        let v = Expr::column(1, DataType::Utf8, true);
        let rel = filter(
            scan(t, &["id", name]),
            compare(BinaryOp::Eq, v, text(literal)),
        );
        let sent = source.describe(&Fragment::new(rel));
        let sent = sent.replace('?', &format!("'{literal}'")).replace('"', "`");
        let plan = server
            .ask("texts", &format!("EXPLAIN FORMAT=JSON {sent}"))
            .await;
        let plan = plan[0].clone().unwrap_or_default();
        assert!(
            plan.contains(&format!("\"key\": \"{name}\"")),
            "{sent}: {plan}"
        );
    }
}

async fn numbers(server: &Server) {
    server
        .database(
            "numbers",
            &[
                "CREATE TABLE n (id INT PRIMARY KEY, i TINYINT, w INT, b BIGINT, u BIGINT UNSIGNED, f FLOAT, d DOUBLE, \
                 m DECIMAL(12,2), y YEAR, k BIT(1), small TINYINT UNSIGNED)",
                "INSERT INTO n VALUES (1, -128, -2147483648, -9223372036854775808, 0, 0.1, 0.1, -9999999999.99, 0, 0, 0)",
                "INSERT INTO n VALUES (2, 127, 2147483647, 9223372036854775807, 18446744073709551615, 16777216, 1e300, \
                 9999999999.99, 2024, 1, 255)",
                "INSERT INTO n VALUES (3, 0, 0, 0, 9223372036854775808, 2.7, 0.30000000000000004, 0.01, 1970, 1, 1)",
                "INSERT INTO n (id) VALUES (4)",
                "INSERT INTO n VALUES (5, 1, 1, 1, 1, -1, -1, 1.50, 2024, 0, 7)",
            ],
        )
        .await;
    let source = server.source("numbers", &[]);
    let n = table(&source, "n").await;
    let check = |name: &'static str, op: BinaryOp, literal: Literal, wanted: &'static [i32]| {
        let (source, n) = (source.clone(), n.clone());
        async move {
            let rel = scan(&n, &["id", name]);
            let data_type = rel.schema().field(1).data_type().clone();
            let predicate = compare(
                op,
                Expr::column(1, data_type.clone(), true),
                Expr::literal(literal.clone(), data_type),
            );
            let found = ids(&source, &rel, predicate).await;
            let wanted: BTreeSet<String> = wanted.iter().map(ToString::to_string).collect();
            assert_eq!(found, wanted, "{name} {op:?} {literal:?}");
        }
    };
    use BinaryOp::*;
    check("i", Lt, Literal::Int(0), &[1]).await;
    check("b", Eq, Literal::Int(i64::MIN), &[1]).await;
    check("b", GtEq, Literal::Int(i64::MAX), &[2]).await;
    check("u", Eq, Literal::UInt(u64::MAX), &[2]).await;
    check("u", Gt, Literal::UInt(i64::MAX as u64), &[2, 3]).await;
    check("f", Eq, Literal::Float(f64::from(0.1_f32)), &[1]).await;
    check("f", Eq, Literal::Float(f64::from(2.7_f32)), &[3]).await;
    check("f", Gt, Literal::Float(f64::from(0.1_f32)), &[2, 3]).await;
    check("d", Eq, Literal::Float(0.1 + 0.2), &[3]).await;
    check("d", NotEq, Literal::Float(0.3), &[1, 2, 3, 5]).await;
    check("m", Eq, Literal::Decimal(-999_999_999_999), &[1]).await;
    check("m", LtEq, Literal::Decimal(1), &[1, 3]).await;
    // A year is a number, not one of this century.
    check("y", Lt, Literal::Int(24), &[1]).await;
    check("y", Eq, Literal::Int(24), &[]).await;
    check("y", Eq, Literal::Int(2024), &[2, 5]).await;
    check("k", Eq, Literal::Boolean(true), &[2, 3]).await;

    let rel = scan(&n, &["id", "w", "m", "small", "k", "i"]);
    let w = || cast(Expr::column(1, DataType::Int32, true), DataType::Int64);
    let m = || Expr::column(2, DataType::Decimal128(12, 2), true);
    let small = || Expr::column(3, DataType::UInt8, true);
    let k = || Expr::column(4, DataType::Boolean, true);
    let when = |value: Expr, then: Expr, otherwise: Expr, data_type: DataType| {
        expr(
            ExprKind::Case {
                branches: vec![(value, then)],
                otherwise: Some(Box::new(otherwise)),
            },
            data_type,
        )
    };
    let long = |v| int(v, DataType::Int64);
    let computed = vec![
        binary(Plus, w(), long(1), DataType::Int64),
        binary(Multiply, w(), w(), DataType::Int64),
        binary(
            Minus,
            cast(small(), DataType::Int16),
            int(300, DataType::Int16),
            DataType::Int32,
        ),
        binary(Multiply, m(), m(), DataType::Decimal128(25, 4)),
        binary(
            Minus,
            m(),
            Expr::literal(Literal::Decimal(5), DataType::Decimal128(3, 1)),
            DataType::Decimal128(13, 2),
        ),
        cast(
            Expr::column(1, DataType::Int32, true),
            DataType::Decimal128(12, 2),
        ),
        cast(Expr::column(1, DataType::Int32, true), DataType::Float64),
        when(k(), long(1), w(), DataType::Int64),
        expr(
            ExprKind::Unary {
                op: UnaryOp::Not,
                arg: Box::new(k()),
            },
            DataType::Boolean,
        ),
        expr(
            ExprKind::Unary {
                op: UnaryOp::IsNotTrue,
                arg: Box::new(k()),
            },
            DataType::Boolean,
        ),
        call(Function::Abs, vec![m()], DataType::Decimal128(12, 2)),
        call(
            Function::Coalesce,
            vec![
                m(),
                Expr::literal(Literal::Decimal(7), DataType::Decimal128(12, 2)),
            ],
            DataType::Decimal128(12, 2),
        ),
    ];
    let rows = exact(&source, project(rel.clone(), computed)).await;
    let row = |i: usize| -> Vec<&str> {
        rows[i]
            .iter()
            .map(|v| v.as_deref().unwrap_or("NULL"))
            .collect()
    };
    assert_eq!(
        row(0),
        [
            "-2147483647",
            "4611686018427387904",
            "-300",
            "99999999999800000000.0001",
            "-10000000000.49",
            "-2147483648.00",
            "-2147483648.0",
            "-2147483648",
            "true",
            "true",
            "9999999999.99",
            "-9999999999.99"
        ]
    );
    assert_eq!(
        row(1),
        [
            "2147483648",
            "4611686014132420609",
            "-45",
            "99999999999800000000.0001",
            "9999999999.49",
            "2147483647.00",
            "2147483647.0",
            "1",
            "false",
            "false",
            "9999999999.99",
            "9999999999.99"
        ]
    );
    assert_eq!(
        row(3),
        [
            "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "true", "NULL",
            "0.07"
        ]
    );

    let aggregate = |function, arg, data_type, filter| {
        (
            Aggregate {
                function,
                arg,
                distinct: false,
                filter,
                data_type,
            },
            "x".to_string(),
        )
    };
    let positive = compare(Gt, w(), long(0));
    let sums = |input: Rel| Rel::Aggregate {
        input: Box::new(input),
        group_by: Vec::new(),
        aggregates: vec![
            aggregate(AggregateFunction::Count, None, DataType::Int64, None),
            aggregate(
                AggregateFunction::Count,
                None,
                DataType::Int64,
                Some(positive.clone()),
            ),
            aggregate(
                AggregateFunction::Sum,
                Some(Expr::column(1, DataType::Int32, true)),
                DataType::Int64,
                None,
            ),
            aggregate(
                AggregateFunction::Sum,
                Some(m()),
                DataType::Decimal128(22, 2),
                Some(positive.clone()),
            ),
            aggregate(
                AggregateFunction::Sum,
                Some(small()),
                DataType::UInt64,
                None,
            ),
            aggregate(
                AggregateFunction::Min,
                Some(m()),
                DataType::Decimal128(12, 2),
                None,
            ),
            aggregate(
                AggregateFunction::BoolAnd,
                Some(k()),
                DataType::Boolean,
                None,
            ),
            aggregate(
                AggregateFunction::BoolOr,
                Some(k()),
                DataType::Boolean,
                None,
            ),
        ],
    };
    let all = exact(&source, sums(rel.clone())).await;
    let shown: Vec<&str> = all[0]
        .iter()
        .map(|v| v.as_deref().unwrap_or("NULL"))
        .collect();
    assert_eq!(
        shown,
        [
            "5",
            "2",
            "0",
            "10000000001.49",
            "263",
            "-9999999999.99",
            "false",
            "true"
        ]
    );
    let none = filter(rel, compare(Gt, w(), long(1 << 40)));
    let all = exact(&source, sums(none)).await;
    let shown: Vec<&str> = all[0]
        .iter()
        .map(|v| v.as_deref().unwrap_or("NULL"))
        .collect();
    assert_eq!(
        shown,
        ["0", "0", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL"]
    );
}

async fn dates(server: &Server) {
    server
        .database(
            "dates",
            &[
                "CREATE TABLE d (id INT PRIMARY KEY, d DATE, t DATETIME(6), ts TIMESTAMP NULL, ti TIME(6), KEY (d), KEY (t))",
                "INSERT INTO d VALUES (1, '2024-02-29', '2024-02-29 23:59:59.999999', '2024-03-31 01:30:00', '10:11:12.5'), \
                 (2, '0001-01-01', '1969-12-31 00:00:00', '1970-01-01 00:00:01', '00:00:00'), \
                 (3, '2021-01-03', '2021-01-03 12:00:00.5', '2021-12-31 23:59:59', '23:59:59.999999'), \
                 (4, NULL, NULL, NULL, NULL)",
            ],
        )
        .await;
    let source = server.source("dates", &[]);
    let d = table(&source, "d").await;
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let check = |name: &'static str, op: BinaryOp, value: i64, wanted: &'static [i32]| {
        let (source, d) = (source.clone(), d.clone());
        async move {
            let rel = scan(&d, &["id", name]);
            let data_type = rel.schema().field(1).data_type().clone();
            let predicate = compare(
                op,
                Expr::column(1, data_type.clone(), true),
                int(value, data_type),
            );
            let wanted: BTreeSet<String> = wanted.iter().map(ToString::to_string).collect();
            assert_eq!(
                ids(&source, &rel, predicate).await,
                wanted,
                "{name} {op:?} {value}"
            );
        }
    };
    use BinaryOp::*;
    check("d", Eq, 19_782, &[1]).await;
    check("d", Lt, 0, &[2]).await;
    check("t", Eq, 1_709_251_199_999_999, &[1]).await;
    check("t", GtEq, 1_709_251_199_999_999, &[1]).await;
    check("t", Lt, 0, &[2]).await;
    // In March, in an hour that some zones do not have.
    check("ts", Eq, 1_711_848_600_000_000, &[1]).await;
    check("ti", Gt, 36_672_500_000 - 1, &[1, 3]).await;

    let rel = scan(&d, &["d", "t"]);
    let day = || Expr::column(0, DataType::Date32, true);
    let time = || Expr::column(1, micros.clone(), true);
    let part = |part, arg| call(Function::DatePart(part), vec![arg], DataType::Int32);
    let trunc = |part, arg| call(Function::DateTrunc(part), vec![arg], micros.clone());
    use DatePart::*;
    let rows = exact(
        &source,
        project(
            rel,
            vec![
                part(Year, day()),
                part(Quarter, day()),
                part(Month, day()),
                part(Week, day()),
                part(Day, day()),
                part(DayOfWeek, day()),
                part(DayOfYear, day()),
                part(Hour, time()),
                part(Minute, time()),
                part(Second, time()),
                trunc(Year, time()),
                trunc(Month, time()),
                trunc(Day, time()),
                trunc(Hour, time()),
                trunc(Minute, time()),
                trunc(Second, time()),
                cast(day(), micros.clone()),
            ],
        ),
    )
    .await;
    let row = |i: usize| -> Vec<&str> {
        rows[i]
            .iter()
            .map(|v| v.as_deref().unwrap_or("NULL"))
            .collect()
    };
    assert_eq!(
        row(0),
        [
            "2024",
            "1",
            "2",
            "9",
            "29",
            "4",
            "60",
            "23",
            "59",
            "59",
            "2024-01-01T00:00:00",
            "2024-02-01T00:00:00",
            "2024-02-29T00:00:00",
            "2024-02-29T23:00:00",
            "2024-02-29T23:59:00",
            "2024-02-29T23:59:59",
            "2024-02-29T00:00:00"
        ]
    );
    assert_eq!(row(1)[..7], ["1", "1", "1", "1", "1", "1", "1"]);
    assert_eq!(row(2)[3..6], ["53", "3", "0"]);
    assert!(rows[3].iter().all(Option::is_none));
}

async fn relations(server: &Server) {
    server
        .database(
            "relations",
            &[
                "CREATE TABLE a (id INT PRIMARY KEY, v INT)",
                "CREATE TABLE b (id INT PRIMARY KEY, v INT)",
                "INSERT INTO a VALUES (1, 10), (2, 20), (3, NULL)",
                "INSERT INTO b VALUES (7, 10), (8, 10), (9, 30)",
            ],
        )
        .await;
    let source = server.source("relations", &[]);
    let (a, b) = (table(&source, "a").await, table(&source, "b").await);
    let v = || Expr::column(1, DataType::Int32, true);
    let join = |kind| Rel::Join {
        left: Box::new(scan(&a, &[])),
        right: Box::new(scan(&b, &[])),
        kind,
        on: vec![(v(), v())],
        filter: None,
    };
    let count = |rel: Rel| {
        let source = source.clone();
        async move { exact(&source, rel).await.len() }
    };
    assert_eq!(count(join(JoinKind::Inner)).await, 2);
    assert_eq!(count(join(JoinKind::Left)).await, 4);
    assert_eq!(count(join(JoinKind::Right)).await, 3);
    assert_eq!(count(join(JoinKind::LeftSemi)).await, 1);
    assert_eq!(count(join(JoinKind::LeftAnti)).await, 2);
    assert!(matches!(
        source.capabilities().node(&join(JoinKind::Full)),
        Support::No(_)
    ));
    let union = Rel::UnionAll {
        schema: scan(&a, &[]).schema(),
        inputs: vec![scan(&a, &[]), scan(&b, &[]), scan(&a, &[])],
    };
    assert_eq!(count(union.clone()).await, 9);
    let limited = |skip, fetch| Rel::Limit {
        input: Box::new(union.clone()),
        skip,
        fetch,
    };
    assert_eq!(count(limited(2, None)).await, 7);
    assert_eq!(count(limited(2, Some(3))).await, 3);
    // A group of a limit of a union, filtered.
    let grouped = Rel::Aggregate {
        input: Box::new(limited(0, Some(9))),
        group_by: vec![(v(), "v".into())],
        aggregates: vec![(
            Aggregate {
                function: AggregateFunction::Count,
                arg: None,
                distinct: false,
                filter: None,
                data_type: DataType::Int64,
            },
            "n".into(),
        )],
    };
    let twice = compare(
        BinaryOp::Eq,
        Expr::column(1, DataType::Int64, false),
        int(2, DataType::Int64),
    );
    let mut rows = exact(&source, filter(grouped, twice)).await;
    rows.sort();
    assert_eq!(
        rows,
        [
            vec![None, Some("2".to_string())],
            vec![Some("20".into()), Some("2".into())]
        ]
    );
}

/// What stays in the engine, and says why.
async fn left_here(server: &Server) {
    server
        .database(
            "here",
            &["CREATE TABLE h (id INT PRIMARY KEY, w INT, b BIGINT, d DOUBLE, t VARCHAR(10), day DATE, u UUID, m DECIMAL(38,2))"],
        )
        .await;
    let source = server.source("here", &[("columns", "h.day: null")]);
    let h = table(&source, "h").await;
    let schema = h.arrow_schema();
    let column = |name: &str| {
        let i = schema.index_of(name).unwrap();
        Expr::column(i, schema.field(i).data_type().clone(), true)
    };
    let (utf8, boolean) = (DataType::Utf8, DataType::Boolean);
    use BinaryOp::*;
    let zero = |e: Expr| compare(Eq, e, int(0, DataType::Int64));
    let b = || column("b");
    let refused = vec![
        (
            "division",
            zero(binary(
                Divide,
                b(),
                int(2, DataType::Int64),
                DataType::Int64,
            )),
        ),
        (
            "modulo",
            zero(binary(
                Modulo,
                b(),
                int(2, DataType::Int64),
                DataType::Int64,
            )),
        ),
        (
            "overflow",
            zero(binary(Plus, b(), int(1, DataType::Int64), DataType::Int64)),
        ),
        (
            "lower()",
            compare(
                Eq,
                call(Function::Lower, vec![column("t")], utf8.clone()),
                text("a"),
            ),
        ),
        (
            "upper()",
            compare(
                Eq,
                call(Function::Upper, vec![column("t")], utf8.clone()),
                text("A"),
            ),
        ),
        (
            "0.0",
            compare(
                Eq,
                column("d"),
                Expr::literal(Literal::Float(0.0), DataType::Float64),
            ),
        ),
        ("0.0", compare(Lt, column("d"), column("d"))),
        (
            "not finite",
            compare(
                Lt,
                column("d"),
                Expr::literal(Literal::Float(f64::NAN), DataType::Float64),
            ),
        ),
        (
            "read as",
            compare(Eq, column("day"), int(0, DataType::Date32)),
        ),
        (
            "read as",
            expr(
                ExprKind::Unary {
                    op: UnaryOp::IsNull,
                    arg: Box::new(column("day")),
                },
                boolean.clone(),
            ),
        ),
        ("uuid", compare(Eq, column("u"), text("x"))),
        ("escapes nothing", like(column("t"), "a\\b", false)),
        ("escapes nothing", like(column("t"), "a\\", false)),
        (
            "cast",
            compare(
                Eq,
                cast(column("t"), DataType::Int64),
                int(0, DataType::Int64),
            ),
        ),
        (
            "constant",
            compare(
                Eq,
                call(
                    Function::Substring,
                    vec![column("t"), int(-1, DataType::Int64)],
                    utf8,
                ),
                text("a"),
            ),
        ),
        (
            "range",
            compare(
                Eq,
                cast(column("w"), DataType::Date32),
                int(10_000_000, DataType::Date32),
            ),
        ),
    ];
    for (why, predicate) in refused {
        match source.capabilities().predicate(&predicate, &schema) {
            Support::No(said) => assert!(said.contains(why) || why == "range", "{why}: {said}"),
            other => panic!("{why}: {other:?}"),
        }
    }
    let sum = |name: &str, data_type| Rel::Aggregate {
        input: Box::new(scan(&h, &[])),
        group_by: Vec::new(),
        aggregates: vec![(
            Aggregate {
                function: AggregateFunction::Sum,
                arg: Some(column(name)),
                distinct: false,
                filter: None,
                data_type,
            },
            "s".into(),
        )],
    };
    for rel in [
        sum("b", DataType::Int64),
        sum("d", DataType::Float64),
        sum("m", DataType::Decimal128(38, 2)),
    ] {
        assert!(matches!(source.capabilities().node(&rel), Support::No(_)));
    }
    // Before the first contact nothing is known of text.
    let fresh = server.source("here", &[]);
    let equal = compare(Eq, column("t"), text("a"));
    assert!(matches!(
        fresh.capabilities().predicate(&equal, &schema),
        Support::No(_)
    ));
    assert_eq!(
        source.capabilities().predicate(&equal, &schema),
        Support::Exact
    );
    // A pass-through of a column with a decision is no obstacle.
    assert_eq!(
        source.capabilities().node(&scan(&h, &["day", "u"])),
        Support::Exact
    );
}

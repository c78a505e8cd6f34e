//! Text conditions, computed twice: by the server, and here over the texts it stores.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, Expr, ExprKind, Fragment, Function, JoinKind, Rel,
    SortKey, Source, Support, Table, UnaryOp,
};
use support::algebra::*;
use support::{Server, read, scan, table, text_of};

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
async fn texts() {
    let server = Server::start().await;
    compared(&server).await;
}

async fn compared(server: &Server) {
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

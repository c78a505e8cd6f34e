use belvedere_sql::*;
fn handle(sql: String, what: String) -> Result<usize, ParseError> {
    let work = move || {
        let s = std::time::Instant::now();
        let script = parse(&sql);
        let e = s.elapsed();
        if e.as_millis() > 100 {
            println!("SLOW {what} {e:?}");
        }
        let script = script?;
 let step = |_x: &str| ();
        for spanned in &script {
            step("clone");
            let c = spanned.clone();
            step("eq");
            assert_eq!(c, *spanned);
            step("debug");
            let _ = format!("{spanned:?}");
            step("display");
            let _ = spanned.statement.to_string();
        }
        Ok(script.len())
    };
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap()
}

const SHAPES: &[(&str, &str)] = &[("(",")"),("(SELECT * FROM ",") x"),("(SELECT * FROM (",")) x"),("f(",")"), ("(",") IN (1)"),("a IN ((",")",), ("a IN ((SELECT 1 WHERE ",")), 1)"), ("CASE (",") WHEN 1 THEN 1 END"),("(a, ",")"), ("INTERVAL (",") DAY"), ("STRUCT(",")"), ("CAST(","AS INT)"), ("CAST(", ", 1)"), ("POSITION(", ", 1)"), ("POSITION(a IN ", ")"), ("TRIM(", ", 1, 2)"), ("EXTRACT(", ", 1)"), ("SUBSTRING(", ")"), ("OVERLAY(", ", 1)"), ("CEIL(", ")"),
    ("(WITH a AS (",") SELECT * FROM a)"), ("(WITH a (",") SELECT * FROM a)"), ("(SELECT 1 UNION ",")"), ("(SELECT (","))"), ("(SELECT 1 WHERE a IN (", "))"), ("EXISTS (SELECT 1 WHERE ", ")"), ("EXISTS (", ", 1)"), ("NOT ", ""), ("- ", ""), ("CASE WHEN a THEN ", " END"), ("CASE WHEN ", " THEN 1 END"), ("[", "]"), ("{'a': ", "}"), ("CAST(a AS ARRAY<", ">"), ("ARRAY<", ">"), ("ARRAY[", "]"), ("a.b(", ").c"), ("a.f(", ") || 1"), ("(t JOIN ",")"), ("(t JOIN "," ON 1=1) y"), ("LATERAL (SELECT * FROM ",") x"), ("(u JOIN (SELECT * FROM ", ") a ON 1=1) b"), ("(VALUES (", ")) x"), ("((SELECT 1 FROM ", ") x)"), ("f(a => ", ")"), ("TRY_CAST(", " AS INT)"), ("CONVERT(", ", INT)"), ("COLUMNS(", ")"), ("LAMBDA x : ", ""), ("x -> ", ""), ("(x) -> ", ""), ("GROUPING SETS ((", "))"), ("MAP {'a': ", "}"), ("f(a ORDER BY ", ")"), ("f(a) OVER (ORDER BY ", ")"), ("TABLE(", ")"), ("UNNEST(", ")"), ("a[", "]"), ("INTERVAL ", " DAY"), ("DATE ", ""), ("t PIVOT (sum(", ") FOR a IN (1))"), ("PRIOR ", ""), ("ANY(", ")"), ("a = ANY((SELECT ", "))"), ("MATCH (a) AGAINST (", ")"), ("((FROM ", ") x)"), ("{fn f(", ")}"), ("XMLELEMENT(NAME a, ", ")"), ("JSON_OBJECT('a' : ", ")"), ("LISTAGG(", ")"), ("(", " JOIN u ON 1=1)") , ("((", ") JOIN u)")];
#[test]
fn t() {
    let part: usize = std::env::var("PART").unwrap().parse().unwrap();
    for (i, a) in SHAPES.iter().enumerate() { if i % 8 != part { continue }
        for b in SHAPES { for p in ["SELECT ", "SELECT * FROM ", "SELECT 1 WHERE a IN "] { for n in [4usize, 7, 10, 14, 20, 30] { for tail in 0..3 {
            let mut sql = p.to_string();
            for k in 0..n { sql += if k % 2 == 0 { a.0 } else { b.0 }; }
            sql += ["1", "t", "SELECT 1 FROM t"][tail];
            if n != 7 { for k in (0..n).rev() { sql += if k % 2 == 0 { a.1 } else { b.1 }; } }
            eprintln!("@ {p} {a:?} {b:?} {n}");
            let _ = handle(sql, format!("{p} {a:?} {b:?} {n} {tail}"));
        }}}}
    }
}

use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use super::world::World;

const CASES: u32 = 400;

fn pick<'a>(random: &mut Rng, from: &[&'a str]) -> &'a str {
    from[random.usize(..from.len())]
}

fn some(random: &mut Rng, from: &[String], least: usize) -> Vec<String> {
    let mut left: Vec<String> = from.to_vec();
    random.shuffle(&mut left);
    left.truncate(random.usize(least.min(left.len())..=left.len()));
    left
}

/// What is read, and the columns of it.
#[derive(Clone)]
struct From {
    text: String,
    numbers: Vec<String>,
    others: Vec<String>,
}

fn from(random: &mut Rng) -> From {
    let (text, t, u) = match random.u8(..8) {
        0..4 => ("t", "t", None),
        4..6 => ("t JOIN u ON t.a = u.a", "t", Some("u")),
        6 => ("u JOIN t ON t.b < u.x", "t", Some("u")),
        _ => ("t LEFT JOIN u ON t.a = u.a", "t", Some("u")),
    };
    let of = |table: &str, columns: &[&str]| -> Vec<String> {
        columns.iter().map(|c| format!("{table}.{c}")).collect()
    };
    let (mut numbers, mut others) = (of(t, &["a", "b"]), of(t, &["s", "f", "d"]));
    if let Some(u) = u {
        numbers.extend(of(u, &["x"]));
        others.extend(of(u, &["s"]));
    }
    From {
        text: text.to_string(),
        numbers,
        others,
    }
}

fn condition(random: &mut Rng, from: &From) -> String {
    let numbers: Vec<&str> = from.numbers.iter().map(String::as_str).collect();
    let (one, other) = (pick(random, &numbers), pick(random, &numbers));
    let (n, m) = (random.i64(0..6), random.i64(0..6));
    match random.u8(..14) {
        0..4 => format!("{one} {} {n}", pick(random, &[">", ">=", "<", "<="])),
        4 => format!("{one} = {n}"),
        5 => format!("{one} <> {n}"),
        6 => format!("{one} IN ({n}, {m})"),
        7 => format!("{one} = {other}"),
        8 => format!("{one} < {other}"),
        9 => format!("({one} = {n} OR {other} > {m})"),
        10 => format!("{one} IS NOT NULL"),
        11 => format!("NOT ({one} = {n})"),
        12 => format!(
            "t.s {} '{}'",
            pick(random, &["=", "<", ">="]),
            pick(random, &["a", "A", ""])
        ),
        _ => format!(
            "t.f {} {}",
            pick(random, &[">", "<=", "="]),
            pick(random, &["0.1", "0.0", "'NaN'"])
        ),
    }
}

/// A condition that leaves no more than another, where that is easily said.
fn narrower(random: &mut Rng, condition: &str) -> String {
    let words: Vec<&str> = condition.split(' ').collect();
    match words[..] {
        [what, op @ (">" | ">="), n] if random.bool() => match n.parse::<i64>() {
            Ok(n) => format!("{what} {op} {}", n + random.i64(0..2)),
            Err(_) => condition.to_string(),
        },
        [what, "IN", ..] if random.bool() => {
            let first = condition.split(['(', ',']).nth(1).unwrap_or("1");
            format!("{what} = {first}")
        }
        _ => condition.to_string(),
    }
}

fn aggregate(random: &mut Rng, from: &From) -> String {
    let numbers: Vec<&str> = from.numbers.iter().map(String::as_str).collect();
    let number = pick(random, &numbers);
    match random.u8(..12) {
        0..3 => "count(*)".to_string(),
        3 => format!("count({number})"),
        4 => format!("sum({number})"),
        5 => "sum(t.d)".to_string(),
        6 => "sum(t.f)".to_string(),
        7 => format!("{}({number})", pick(random, &["min", "max"])),
        8 => format!("{}(t.f)", pick(random, &["min", "max", "avg"])),
        9 => format!("count(DISTINCT {number})"),
        10 => format!("bool_or({number} > 2)"),
        _ => format!("avg({number})"),
    }
}

fn selected(exprs: &[String]) -> String {
    let named = exprs.iter().enumerate();
    let named: Vec<String> = named.map(|(i, e)| format!("{e} AS c{i}")).collect();
    named.join(", ")
}

fn filtered(conditions: &[String]) -> String {
    match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    }
}

/// A view, and a query that it is likely to answer.
fn pair(random: &mut Rng) -> (String, String) {
    let from = from(random);
    let all: Vec<String> = from.numbers.iter().chain(&from.others).cloned().collect();
    let has: Vec<String> = (0..random.usize(0..3))
        .map(|_| condition(random, &from))
        .collect();
    let mut asked: Vec<String> = has.iter().map(|c| narrower(random, c)).collect();
    if random.u8(..6) == 0 {
        asked.pop();
    }
    let keys = some(random, &from.numbers, 1);
    let is_grouped = random.bool();
    let aggregates: Vec<String> = (0..4).map(|_| aggregate(random, &from)).collect();
    let view = match is_grouped {
        true => format!(
            "SELECT {} FROM {}{} GROUP BY {}",
            selected(&[keys.as_slice(), &aggregates].concat()),
            from.text,
            filtered(&has),
            keys.join(", ")
        ),
        false => {
            let most = match random.bool() {
                true => all.clone(),
                false => some(random, &all, 3),
            };
            format!(
                "SELECT {} FROM {}{}",
                selected(&most),
                from.text,
                filtered(&has)
            )
        }
    };
    if random.bool() {
        let over = match is_grouped {
            true => From {
                numbers: keys.clone(),
                ..from.clone()
            },
            false => from.clone(),
        };
        let more = condition(random, &over);
        if !(is_grouped && more.contains("t.s") || more.contains("t.f") && is_grouped) {
            asked.push(more);
        }
    }
    let is_grouping = is_grouped || random.bool();
    let query = match is_grouping {
        true => {
            let keys = match is_grouped {
                true => some(random, &keys, 0),
                false => some(random, &from.numbers, 0),
            };
            let mut wanted = some(random, &aggregates[..2], 1);
            if random.u8(..3) == 0 {
                wanted.push(aggregate(random, &from));
            }
            let having = match random.u8(..4) {
                0 => format!(" HAVING count(*) > {}", random.u8(..3)),
                _ => String::new(),
            };
            let by = match keys.is_empty() {
                true => String::new(),
                false => format!(" GROUP BY {}", keys.join(", ")),
            };
            let columns = selected(&[keys.as_slice(), &wanted].concat());
            format!(
                "SELECT {columns} FROM {}{}{by}{having}",
                from.text,
                filtered(&asked)
            )
        }
        false => {
            let distinct = pick(random, &["", "", "DISTINCT "]);
            let columns = selected(&some(random, &all, 1));
            format!(
                "SELECT {distinct}{columns} FROM {}{}",
                from.text,
                filtered(&asked)
            )
        }
    };
    let query = match random.u8(..6) {
        0 => format!("{query} UNION ALL {query}"),
        1 => format!("SELECT * FROM ({query}) AS q ORDER BY c0 LIMIT 5"),
        2 => format!("SELECT u.x, q.* FROM u JOIN ({query}) AS q ON u.a = q.c0"),
        _ => query,
    };
    (view, query)
}

/// Whatever a view is taken to answer, the answer is the plain one. The number that a failure shows draws it again.
#[test]
fn what_is_proved_is_so() {
    let (tried, matched, differ) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::with_cases(CASES)
    };
    let drawn = TestRunner::new(config).run(&any::<u64>(), |seed| {
        let mut random = Rng::with_seed(seed);
        let world = World::new(seed);
        let (view, query) = pair(&mut random);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let came = runtime.block_on(world.tried(&view, &query));
        let Ok(came) = came else {
            // Not all that is drawn is a query: c0 may be a text.
            return Ok(());
        };
        tried.fetch_add(1, Ordering::Relaxed);
        if let Some(rows) = came.matched {
            matched.fetch_add(1, Ordering::Relaxed);
            if !rows.is_empty() {
                differ.fetch_add(1, Ordering::Relaxed);
            }
            if rows != came.plain {
                let why = format!(
                    "{seed}\n{view}\n{query}\n{rows:#?}\nand not\n{:#?}",
                    came.plain
                );
                return Err(TestCaseError::fail(why));
            }
        }
        Ok(())
    });
    drawn.unwrap_or_else(|e| panic!("{e}"));
    let (tried, matched, rows) = (
        tried.into_inner(),
        matched.into_inner(),
        differ.into_inner(),
    );
    println!("{tried} pairs, {matched} matched, {rows} of them with rows");
    let cases = CASES as usize;
    assert!(tried > cases * 3 / 4, "{tried} of {cases} can be planned");
    assert!(matched > tried / 4, "{matched} of {tried} matched");
    assert!(rows > matched / 2, "{rows} of {matched} have rows");
}

//! Rounds of random queries, compared, and what differs made small.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::time::{Duration, Instant};

use belvedere::{Engine, Session};
use belvedere_conformance::lines;

use crate::draw::{Draw, simpler};
use crate::query::{Query, query};
use crate::systems::{Sqlite, System};
use crate::third::{Opinion, Rows, Third};
use crate::world::Table;

/// Where nothing is stated the same queries are asked again, so that a change is what breaks them; `scripts/test --all`
/// states a new one.
const SEED: u64 = 1;
/// Queries over one set of tables.
const QUERIES: usize = 80;
/// Differences to report before giving up.
const ENOUGH: usize = 6;
const SHRINKING: Duration = Duration::from_secs(20);

/// Tables in the system (`s`) and in an SQLite file beside it (`o`), and an engine over both.
struct Round<'a> {
    system: &'a dyn System,
    third: Option<&'a Third>,
    tables: Vec<Table>,
    session: Session,
    _engine: Engine,
}

/// What the ways to answer gave.
pub enum Outcome {
    Same(Rows),
    /// The plain query fails, mostly on a value or for what DataFusion lacks: any answer of the pushed one is right. Or
    /// the pushed one meets a value that the plain one did not read.
    Fails(String),
    Differs(String),
}

/// What has been asked.
#[derive(Default)]
struct Counts {
    queries: usize,
    failing: usize,
    /// In the third opinion.
    agreed: usize,
    /// Why there was none, and how often.
    without: BTreeMap<String, usize>,
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} queries ({} of them fail), {} with a third opinion, without:",
            self.queries, self.failing, self.agreed
        )?;
        self.without
            .iter()
            .try_for_each(|(why, count)| write!(f, " {count} {why};"))
    }
}

/// Look for differences until the time is up; panic with those found.
pub async fn search(system: &dyn System) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    // So many, or as many as there is time for.
    let queries = number("BELVEDERE_ORACLE_QUERIES").map_or(usize::MAX, |n| n as usize);
    let seconds = match (number("BELVEDERE_ORACLE_SECONDS"), queries) {
        (Some(seconds), _) => seconds,
        (None, usize::MAX) => 20,
        (None, _) => u64::from(u32::MAX),
    };
    let budget = Duration::from_secs(seconds);
    let seed = number("BELVEDERE_ORACLE_SEED").unwrap_or(SEED);
    println!("oracle {}: BELVEDERE_ORACLE_SEED={seed}", system.name());
    let started = Instant::now();
    let (mut counts, mut found) = (Counts::default(), Vec::new());
    let beside = Sqlite::start();
    let third = Third::start();
    let done = |counts: &Counts, found: &Vec<String>| {
        started.elapsed() >= budget || counts.queries >= queries || found.len() >= ENOUGH
    };
    let mut rounds = Draw::seeded(seed);
    while !done(&counts, &found) {
        let mut round = Round::start(system, &beside, third.as_ref(), &mut rounds).await;
        for _ in 0..QUERIES {
            if done(&counts, &found) {
                break;
            }
            let mut draw =
                Draw::seeded(((rounds.below(1 << 31) as u64) << 32) | rounds.below(1 << 31) as u64);
            let query = query(&mut draw, &round.tables);
            if verbose() {
                println!(
                    "{}\n{}",
                    query.sql,
                    round.plan(&query, Way::Restarted).await
                );
            }
            if round.differs(&query, &mut counts).await.is_some() {
                let report = round.smallest(draw.tape).await;
                println!("oracle {}: {report}", system.name());
                found.push(report);
            }
        }
    }
    println!(
        "oracle {}: {counts}, {} differences, seed {seed}",
        system.name(),
        found.len()
    );
    assert!(counts.queries > 0, "no query was run");
    assert!(found.is_empty(), "seed {seed}\n{}", found.join("\n\n"));
}

impl<'a> Round<'a> {
    async fn start(
        system: &'a dyn System,
        beside: &Sqlite,
        third: Option<&'a Third>,
        draw: &mut Draw,
    ) -> Self {
        let mut tables = Vec::new();
        for n in 0..4 {
            tables.push(Table::random(
                draw,
                "s",
                n,
                &system.natives(),
                system.text(),
            ));
        }
        let near: Vec<_> = (0..2)
            .map(|n| Table::random(draw, "o", n, &beside.natives(), beside.text()))
            .collect();
        fill(system, &tables).await;
        fill(beside, &near).await;
        tables.extend(near);
        let engine = Engine::builder().open().await.unwrap();
        let session = engine.session();
        for (name, url) in [("s", system.url()), ("o", beside.url())] {
            session
                .execute(&format!("CREATE SOURCE {name} FROM '{url}'"))
                .await
                .unwrap();
        }
        let round = Self {
            system,
            third,
            tables,
            session,
            _engine: engine,
        };
        for table in &round.tables {
            round.copy(table).await;
        }
        round
    }

    /// The third opinion is one of what the engine reads: whether it reads what is there, other tests ask.
    async fn copy(&self, table: &Table) {
        if let Some(third) = self.third {
            let all = format!("SELECT * FROM {}", table.name);
            third.hold(
                &table.name,
                &answer(&self.session, &all, Way::Plain).await.unwrap(),
            );
        }
    }

    /// The table's rows are no longer those in the system.
    async fn refill(&self, table: &Table) {
        self.system.execute(&table.fill()).await;
        self.copy(table).await;
    }

    /// How what the ways answer differs, or what DuckDB does.
    async fn differs(&self, query: &Query, counts: &mut Counts) -> Option<String> {
        counts.queries += 1;
        let rows = match compare(&self.session, &query.sql, query.ordered).await {
            Outcome::Same(rows) => rows,
            Outcome::Fails(_) => {
                counts.failing += 1;
                return None;
            }
            Outcome::Differs(how) => return Some(how),
        };
        if let Some(same) = &query.same {
            match compare(&self.session, same, false).await {
                Outcome::Same(others) => {
                    let (rows, others) = (texts(&rows, false), texts(&others, false));
                    if rows != others {
                        let how = format!("These: {rows:#?}\nare not those of {same}\n{others:#?}");
                        return Some(how);
                    }
                }
                Outcome::Fails(_) => {}
                Outcome::Differs(how) => return Some(format!("{same}\n{how}")),
            }
        }
        let opinion = match (&query.third, self.third?) {
            (Ok(sql), third) => third.opinion(sql, &rows, query.ordered),
            (Err(why), _) => Opinion::None(why.clone()),
        };
        match opinion {
            Opinion::Agrees => {
                counts.agreed += 1;
                None
            }
            Opinion::None(why) => {
                if verbose() {
                    println!("no third opinion: {why}");
                }
                // What DuckDB says goes on with the values at fault.
                let kind = why.split([':', '\n']).next().unwrap_or_default();
                *counts.without.entry(kind.into()).or_default() += 1;
                None
            }
            Opinion::Differs(how) => Some(how),
        }
    }

    async fn plan(&self, query: &Query, way: Way) -> String {
        let explain = format!("EXPLAIN {}", query.sql);
        match answer(&self.session, &explain, way).await {
            Ok(plan) => lines(&plan.batches).join("\n"),
            Err(error) => error,
        }
    }

    /// The simplest query and the fewest rows that still differ.
    async fn smallest(&mut self, mut tape: Vec<u32>) -> String {
        let until = Instant::now() + SHRINKING;
        let mut uncounted = Counts::default();
        'simpler: while Instant::now() < until {
            for shorter in simpler(&tape) {
                if Instant::now() >= until {
                    break;
                }
                let smaller = query(&mut Draw::replay(shorter.clone()), &self.tables);
                if self.differs(&smaller, &mut uncounted).await.is_some() {
                    tape = shorter;
                    continue 'simpler;
                }
            }
            break;
        }
        let query = query(&mut Draw::replay(tape), &self.tables);
        let seen: Vec<_> = (0..4)
            .filter(|t| query.sql.contains(&format!("{} ", self.tables[*t].name)))
            .collect();
        let rows: Vec<_> = seen.iter().map(|t| self.tables[*t].rows.clone()).collect();
        for table in &seen {
            let mut row = 0;
            while row < self.tables[*table].rows.len() {
                let removed = self.tables[*table].rows.remove(row);
                self.refill(&self.tables[*table]).await;
                if self.differs(&query, &mut uncounted).await.is_none() {
                    self.tables[*table].rows.insert(row, removed);
                    row += 1;
                }
            }
            self.refill(&self.tables[*table]).await;
        }
        let mut report = format!("a difference:\n{}\n", query.sql);
        report += &self
            .differs(&query, &mut uncounted)
            .await
            .unwrap_or_default();
        for way in [Way::Plain, Way::Dynamic] {
            report += &format!("\n{}\n", self.plan(&query, way).await);
        }
        for (table, rows) in seen.into_iter().zip(rows) {
            let made = &mut self.tables[table];
            report += &format!("{};\n{};\n", made.create(), made.fill().join(";\n"));
            made.rows = rows;
            self.refill(&self.tables[table]).await;
        }
        report
    }
}

async fn fill(system: &dyn System, tables: &[Table]) {
    system.clear().await;
    for table in tables {
        system.execute(&[table.create()]).await;
        system.execute(&table.fill()).await;
    }
}

/// Whether each query's plan and each plain failure is printed.
fn verbose() -> bool {
    std::env::var_os("BELVEDERE_ORACLE_VERBOSE").is_some()
}

/// How a query is answered: plainly, which is right; with what can run at the sources there; with the keys of joins
/// sent to them, too; and with a top-n over one row of the side that orders it first, as tables are small here.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    Plain,
    Pushed,
    Dynamic,
    Restarted,
}

/// All ways to answer a query.
pub async fn compare(session: &Session, sql: &str, ordered: bool) -> Outcome {
    let plain = match answer(session, sql, Way::Plain).await {
        Ok(rows) => rows,
        Err(error) => {
            if verbose() {
                println!("fails: {sql}\n  {error}");
            }
            return Outcome::Fails(error);
        }
    };
    let expected = texts(&plain, ordered);
    let mut ways = vec![Way::Pushed, Way::Dynamic];
    ways.extend(sql.contains(" LIMIT ").then_some(Way::Restarted));
    for way in ways {
        match answer(session, sql, way).await {
            // Which side a join reads first, and so whether it reads the other at all, follows from
            // estimates of rows: an error of a row that no answer needs may be met by either plan.
            Err(error) if error.starts_with("data: ") && has_join(sql) => {
                return Outcome::Fails(error);
            }
            Err(error) => return Outcome::Differs(format!("{way:?} fails: {error}")),
            Ok(rows) => {
                let found = texts(&rows, ordered);
                if expected != found {
                    return Outcome::Differs(format!("Plain: {expected:#?}\n{way:?}: {found:#?}"));
                }
            }
        }
    }
    Outcome::Same(plain)
}

/// Subqueries that are no tables become joins.
fn has_join(sql: &str) -> bool {
    let sql = sql
        .replace("FROM (SELECT", "")
        .replace("JOIN (SELECT", "JOIN ");
    [" JOIN ", "(SELECT", "EXCEPT", "INTERSECT"]
        .iter()
        .any(|word| sql.contains(word))
}

/// An error is `code: message`.
async fn answer(session: &Session, sql: &str, way: Way) -> Result<Rows, String> {
    let (pushdown, dynamic_filters, first_rows) = match way {
        Way::Plain => ("off", "off", "auto"),
        Way::Pushed => ("on", "off", "auto"),
        Way::Dynamic => ("on", "on", "auto"),
        Way::Restarted => ("on", "on", "1"),
    };
    let settings = [
        ("pushdown", pushdown),
        ("dynamic_filters", dynamic_filters),
        ("top_n_first_rows", first_rows),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()));
    let failed = |e: belvedere::Error| format!("{}: {e}", e.code());
    let answer = session.execute_with(sql, &settings).await.map_err(failed)?;
    Ok(Rows {
        schema: answer.schema.clone(),
        batches: answer.collect().await.map_err(failed)?,
    })
}

/// The types, then the rows, sorted if they have no order.
fn texts(rows: &Rows, ordered: bool) -> Vec<String> {
    let types: Vec<_> = rows
        .schema
        .fields()
        .iter()
        .map(|f| f.data_type().to_string())
        .collect();
    let mut found = lines(&rows.batches);
    if !ordered {
        found.sort();
    }
    found.insert(0, types.join("|"));
    found
}

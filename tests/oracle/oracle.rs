//! Rounds of random queries, compared, and what differs made small.

use std::time::{Duration, Instant};

use belvedere::{Engine, Session};
use belvedere_conformance::lines;

use crate::draw::{Draw, simpler};
use crate::query::{Query, query};
use crate::systems::{Sqlite, System};
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
    tables: Vec<Table>,
    session: Session,
    _engine: Engine,
}

/// What the ways to answer gave.
pub enum Outcome {
    Same,
    /// The plain query fails, mostly on a value or for what DataFusion lacks: any answer of the pushed one is right. Or
    /// the pushed one meets a value that the plain one did not read.
    Fails(String),
    Differs(String),
}

/// Look for differences until the time is up; panic with those found.
pub async fn search(system: &dyn System) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let budget = Duration::from_secs(number("BELVEDERE_ORACLE_SECONDS").unwrap_or(20));
    let seed = number("BELVEDERE_ORACLE_SEED").unwrap_or(SEED);
    println!("oracle {}: BELVEDERE_ORACLE_SEED={seed}", system.name());
    let started = Instant::now();
    let (mut count, mut failing, mut found) = (0, 0, Vec::new());
    let beside = Sqlite::start();
    let mut rounds = Draw::seeded(seed);
    while started.elapsed() < budget && found.len() < ENOUGH {
        let mut round = Round::start(system, &beside, &mut rounds).await;
        for _ in 0..QUERIES {
            if started.elapsed() >= budget || found.len() >= ENOUGH {
                break;
            }
            let mut draw =
                Draw::seeded(((rounds.below(1 << 31) as u64) << 32) | rounds.below(1 << 31) as u64);
            let query = query(&mut draw, &round.tables);
            count += 1;
            if verbose() {
                let plan = rows_of(
                    &round.session,
                    &format!("EXPLAIN {}", query.sql),
                    Way::Dynamic,
                )
                .await;
                println!("{}\n{}", query.sql, plan.unwrap_or_default().join("\n"));
            }
            match round.compare(&query).await {
                Outcome::Same => {}
                Outcome::Fails(_) => failing += 1,
                Outcome::Differs(_) => {
                    let report = round.smallest(draw.tape).await;
                    println!("oracle {}: {report}", system.name());
                    found.push(report);
                }
            }
        }
    }
    println!(
        "oracle {}: {count} queries ({failing} of them fail), {} differences, seed {seed}",
        system.name(),
        found.len()
    );
    assert!(count > 0, "no query was run");
    assert!(found.is_empty(), "seed {seed}\n{}", found.join("\n\n"));
}

impl<'a> Round<'a> {
    async fn start(system: &'a dyn System, beside: &Sqlite, draw: &mut Draw) -> Self {
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
        Self {
            system,
            tables,
            session,
            _engine: engine,
        }
    }

    async fn compare(&self, query: &Query) -> Outcome {
        compare(&self.session, &query.sql, query.ordered).await
    }

    /// The simplest query and the fewest rows that still differ.
    async fn smallest(&mut self, mut tape: Vec<u32>) -> String {
        let until = Instant::now() + SHRINKING;
        'simpler: while Instant::now() < until {
            for shorter in simpler(&tape) {
                if Instant::now() >= until {
                    break;
                }
                let smaller = query(&mut Draw::replay(shorter.clone()), &self.tables);
                if let Outcome::Differs(_) = self.compare(&smaller).await {
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
                self.system.execute(&self.tables[*table].fill()).await;
                if !matches!(self.compare(&query).await, Outcome::Differs(_)) {
                    self.tables[*table].rows.insert(row, removed);
                    row += 1;
                }
            }
            self.system.execute(&self.tables[*table].fill()).await;
        }
        let mut report = format!("a difference:\n{}\n", query.sql);
        if let Outcome::Differs(how) = self.compare(&query).await {
            report += &how;
        }
        for way in [Way::Plain, Way::Dynamic] {
            let explain = format!("EXPLAIN {}", query.sql);
            let plan = rows_of(&self.session, &explain, way).await;
            report += &format!("\n{}\n", plan.unwrap_or_default().join("\n"));
        }
        for (table, rows) in seen.into_iter().zip(rows) {
            let table = &mut self.tables[table];
            report += &format!("{};\n{};\n", table.create(), table.fill().join(";\n"));
            table.rows = rows;
            self.system.execute(&table.fill()).await;
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
/// sent to them, too.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    Plain,
    Pushed,
    Dynamic,
}

/// All ways to answer a query.
pub async fn compare(session: &Session, sql: &str, ordered: bool) -> Outcome {
    let mut plain = match rows_of(session, sql, Way::Plain).await {
        Ok(rows) => rows,
        Err(error) => {
            if verbose() {
                println!("fails: {sql}\n  {error}");
            }
            return Outcome::Fails(error);
        }
    };
    if !ordered {
        plain.sort();
    }
    for way in [Way::Pushed, Way::Dynamic] {
        match rows_of(session, sql, way).await {
            // Which side a join reads first, and so whether it reads the other at all, follows from
            // estimates of rows: an error of a row that no answer needs may be met by either plan.
            Err(error) if error.starts_with("data: ") && has_join(sql) => {
                return Outcome::Fails(error);
            }
            Err(error) => return Outcome::Differs(format!("{way:?} fails: {error}")),
            Ok(mut rows) => {
                if !ordered {
                    rows.sort();
                }
                if plain != rows {
                    return Outcome::Differs(format!("Plain: {plain:#?}\n{way:?}: {rows:#?}"));
                }
            }
        }
    }
    Outcome::Same
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

/// The types, then the rows. An error is `code: message`.
pub async fn rows_of(session: &Session, sql: &str, way: Way) -> Result<Vec<String>, String> {
    let (pushdown, dynamic_filters) = match way {
        Way::Plain => ("off", "off"),
        Way::Pushed => ("on", "off"),
        Way::Dynamic => ("on", "on"),
    };
    let settings = [("pushdown", pushdown), ("dynamic_filters", dynamic_filters)]
        .map(|(name, value)| (name.to_string(), value.to_string()));
    let failed = |e: belvedere::Error| format!("{}: {e}", e.code());
    let answer = session.execute_with(sql, &settings).await.map_err(failed)?;
    let types: Vec<_> = answer
        .schema
        .fields()
        .iter()
        .map(|f| f.data_type().to_string())
        .collect();
    // Sorted before any row.
    let mut rows = vec![format!("\u{0}{}", types.join("|"))];
    rows.extend(lines(&answer.collect().await.map_err(failed)?));
    Ok(rows)
}

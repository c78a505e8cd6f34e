//! The 22 queries as views that are kept by change, over the four systems, while rows of all eight tables change.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use belvedere::Session;
use fastrand::Rng;
use mysql_async::prelude::Queryable;
use tokio_postgres::NoTls;

use super::data::{self, Table};
use super::places::Places;
use super::rows::Rows;
use super::{Kept, one_copy, query};

/// Unless `BELVEDERE_TPCH_KEPT_SCALE` says another.
const SCALE: f64 = 0.01;
/// Unless `BELVEDERE_TPCH_STEPS` says another.
const STEPS: usize = 5;
/// How long views may take to come to what was written.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_22_queries_kept_by_change_equal_those_over_one_copy_after_every_step() {
    let scale = from_env("BELVEDERE_TPCH_KEPT_SCALE", SCALE);
    let steps = from_env("BELVEDERE_TPCH_STEPS", STEPS);
    let seed = from_env("BELVEDERE_TPCH_SEED", fastrand::u64(..));
    eprintln!("BELVEDERE_TPCH_SEED={seed}");
    let mut world = World {
        tables: data::generate(scale),
        rng: Rng::with_seed(seed),
        step: 0,
    };
    let places = Places::start(&world.tables).await;
    let session = super::four_systems(&places, Kept::Yes).await;
    let timeout = format!("{}s", PATIENCE.as_secs());
    session.set("statement_timeout", &timeout).unwrap();
    for number in 1..=22 {
        let sql = query(number);
        let sql =
            format!("CREATE MATERIALIZED VIEW q{number:02} WITH (refresh = 'on change') AS {sql}");
        let made = session.execute(&sql).await;
        made.unwrap_or_else(|e| panic!("Q{number}: {e}"));
    }
    let mut answered = BTreeSet::new();
    answered.extend(until_equal(&session, &world).await);
    for _ in 0..steps {
        let changes = world.change();
        places.write(&world.tables, &changes).await;
        let started = Instant::now();
        answered.extend(until_equal(&session, &world).await);
        eprintln!(
            "step {}: {} rows changed; 22 of 22 views equal, {} ms later",
            world.step,
            changes.len(),
            started.elapsed().as_millis()
        );
    }
    eprintln!(
        "TPC-H at scale {scale}: 22 views kept over four systems, equal after each of {steps} steps; {} had rows",
        answered.len()
    );
    assert!(answered.len() > 15, "only {answered:?} had rows to compare");
}

fn from_env<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => (text.parse().ok()).unwrap_or_else(|| panic!("{name} is a number")),
        Err(_) => default,
    }
}

/// Waits until all views equal the queries over the copy, and which of them have rows.
async fn until_equal(session: &Session, world: &World) -> Vec<usize> {
    let copy = one_copy(&world.tables);
    let started = Instant::now();
    let mut with_rows = Vec::new();
    for number in 1..=22 {
        let sql = query(number);
        let plain = copy.sql(&sql).await.unwrap().collect().await.unwrap();
        let expected = Rows::new(&plain);
        if expected.len() > 0 {
            with_rows.push(number);
        }
        loop {
            let sql = format!("SELECT * FROM public.q{number:02}");
            let found = super::answer(session, &sql, "on").await;
            let same = found.and_then(|rows| Rows::new(&rows).same_as(&expected, false));
            match same {
                Ok(()) => break,
                Err(why) if started.elapsed() > PATIENCE => {
                    let states = "SELECT name, state, reason FROM system.views";
                    let states = Rows::new(&super::answer(session, states, "on").await.unwrap());
                    panic!("Q{number} after step {}: {why}\n{states}", world.step)
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
    with_rows
}

/// What happens to a row, by its table.
pub enum Change {
    Remove(&'static str, Vec<String>),
    Put(&'static str, Vec<String>),
    Update(&'static str, Vec<String>),
}

impl Change {
    pub fn table(&self) -> &'static str {
        match self {
            Self::Remove(table, _) | Self::Put(table, _) | Self::Update(table, _) => table,
        }
    }

    /// As any of the systems understands it.
    fn sql(&self, tables: &[Table]) -> String {
        let name = self.table();
        let table = tables.iter().find(|table| table.name == name).unwrap();
        let columns = table.columns();
        let equal = |values: &[String], these: &[usize], separator: &str| {
            let one = |&i: &usize| format!("{} = '{}'", columns[i], values[i]);
            these.iter().map(one).collect::<Vec<_>>().join(separator)
        };
        let all: Vec<usize> = (0..columns.len()).collect();
        match self {
            Self::Remove(_, values) => {
                format!(
                    "DELETE FROM {name} WHERE {}",
                    equal(values, key(name), " AND ")
                )
            }
            Self::Put(_, values) => {
                format!("INSERT INTO {name} VALUES ('{}')", values.join("','"))
            }
            Self::Update(_, values) => format!(
                "UPDATE {name} SET {} WHERE {}",
                equal(values, &all, ", "),
                equal(values, key(name), " AND ")
            ),
        }
    }
}

/// Where a table's primary key is.
fn key(table: &str) -> &'static [usize] {
    match table {
        "partsupp" => &[0, 1],
        "lineitem" => &[0, 3],
        _ => &[0],
    }
}

/// The one copy that the systems are to equal, and what happens to it.
struct World {
    tables: Vec<Table>,
    rng: Rng,
    step: usize,
}

type Row = Vec<String>;

impl World {
    /// The next step: TPC-H's refresh functions in turn, and writes to all tables in between.
    fn change(&mut self) -> Vec<Change> {
        self.step += 1;
        let orders = self.rows("orders").len();
        let few = |rng: &mut Rng| rng.usize(1..=(orders / 200).max(3));
        let mut changes = Vec::new();
        let writes = match self.step % 5 {
            1 => [true, false, false, false],
            2 => [false, true, false, false],
            3 => [false, false, true, false],
            4 => [false, false, false, true],
            _ => [true; 4],
        };
        if writes[0] {
            for _ in 0..few(&mut self.rng) {
                self.new_order(&mut changes);
            }
        }
        if writes[1] {
            for _ in 0..few(&mut self.rng) {
                self.remove_order(&mut changes);
            }
        }
        if writes[2] {
            self.mix("part", &[3, 4, 5, 6, 7], 6, &mut changes);
            self.mix("partsupp", &[2, 3], 12, &mut changes);
            self.mix("supplier", &[3, 4, 5], 2, &mut changes);
            self.remove("partsupp", 3, &mut changes);
            self.twin("supplier", &mut changes);
        }
        if writes[3] {
            self.mix("customer", &[3, 4, 5, 6], 12, &mut changes);
            self.mix("nation", &[2], 2, &mut changes);
            self.mix("orders", &[2, 3, 4, 5], 8, &mut changes);
            self.mix("lineitem", &[4, 5, 6, 8, 10, 14], 8, &mut changes);
            self.remove("customer", 2, &mut changes);
            self.twin("customer", &mut changes);
        }
        changes
    }

    /// RF1: an order and its lines, like one that there is.
    fn new_order(&mut self, changes: &mut Vec<Change>) {
        let number = self.next_key("orders");
        let mut order = self.any("orders");
        order[0].clone_from(&number);
        order[1] = self.any("customer")[0].clone();
        self.put("orders", order, changes);
        for line_number in 1..=self.rng.usize(1..=7) {
            let mut line = self.any("lineitem");
            let offer = self.any("partsupp");
            line[0].clone_from(&number);
            line[1..3].clone_from_slice(&offer[..2]);
            line[3] = line_number.to_string();
            self.put("lineitem", line, changes);
        }
    }

    /// RF2: an order and its lines.
    fn remove_order(&mut self, changes: &mut Vec<Change>) {
        let number = self.any("orders")[0].clone();
        for table in ["orders", "lineitem"] {
            let gone = self
                .rows(table)
                .extract_if(.., |line| line.split('|').next() == Some(number.as_str()));
            changes.extend(gone.map(|line| Change::Remove(table, cells(&line))));
        }
    }

    /// Some rows get values of these columns from others.
    fn mix(
        &mut self,
        table: &'static str,
        columns: &[usize],
        rows: usize,
        changes: &mut Vec<Change>,
    ) {
        let mut touched = BTreeSet::new();
        for _ in 0..rows {
            let at = self.any_number(table);
            let other = self.any(table);
            if !touched.insert(at) {
                continue;
            }
            let mut row = cells(&self.rows(table)[at]);
            for &column in columns {
                if self.rng.bool() {
                    row[column].clone_from(&other[column]);
                }
            }
            self.rows(table)[at] = row.join("|");
            changes.push(Change::Update(table, row));
        }
    }

    fn remove(&mut self, table: &'static str, rows: usize, changes: &mut Vec<Change>) {
        for _ in 0..rows {
            let at = self.any_number(table);
            let line = self.rows(table).swap_remove(at);
            // What was changed in this step and goes has to be changed first: it is.
            changes.push(Change::Remove(table, cells(&line)));
        }
    }

    /// A row like another, with a key of its own.
    fn twin(&mut self, table: &'static str, changes: &mut Vec<Change>) {
        let mut row = self.any(table);
        row[0] = self.next_key(table);
        self.put(table, row, changes);
    }

    fn put(&mut self, table: &'static str, row: Row, changes: &mut Vec<Change>) {
        self.rows(table).push(row.join("|"));
        changes.push(Change::Put(table, row));
    }

    fn next_key(&mut self, table: &str) -> String {
        let keys = self.rows(table).iter();
        let keys = keys.map(|line| cells(line)[0].parse::<u64>().unwrap());
        (keys.max().unwrap_or(0) + 1).to_string()
    }

    fn any_number(&mut self, table: &str) -> usize {
        let rows = self.rows(table).len();
        self.rng.usize(0..rows)
    }

    fn any(&mut self, table: &str) -> Row {
        let at = self.any_number(table);
        cells(&self.rows(table)[at])
    }

    fn rows(&mut self, table: &str) -> &mut Vec<String> {
        let found = self.tables.iter_mut().find(|found| found.name == table);
        &mut found.unwrap().lines
    }
}

fn cells(line: &str) -> Row {
    line.split('|').map(str::to_string).collect()
}

impl Places {
    /// Write what has changed to each system, there in one transaction.
    async fn write(&self, tables: &[Table], changes: &[Change]) {
        for (source, url) in self.urls() {
            let mut statements = String::new();
            for change in changes {
                if Self::home(change.table()) == source {
                    writeln!(statements, "{};", change.sql(tables)).unwrap();
                }
            }
            if statements.is_empty() {
                continue;
            }
            match source {
                "pg" => {
                    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
                    tokio::spawn(connection);
                    client.batch_execute(&statements).await.unwrap();
                }
                "maria" => {
                    let mut client = self.mariadb().connection_in("tpch").await;
                    client.query_drop("START TRANSACTION").await.unwrap();
                    for statement in statements.lines() {
                        client.query_drop(statement).await.unwrap();
                    }
                    client.query_drop("COMMIT").await.unwrap();
                    client.disconnect().await.unwrap();
                }
                "lite" => {
                    let file = rusqlite::Connection::open(self.path("orders.db")).unwrap();
                    file.busy_timeout(PATIENCE).unwrap();
                    let all = format!("BEGIN IMMEDIATE;{statements}COMMIT;");
                    file.execute_batch(&all).unwrap();
                }
                _ => self.rewrite_lines(tables),
            }
        }
    }
}

//! Which changes a query is told of: whenever its answer is another than before, one that meets its conditions was among them,
//! however a log tells it.

use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use belvedere_connector::{Change, Unchanged};
use datafusion::common::ScalarValue;

use super::kept::Catalog;
use super::words::Writer;
use super::world::{self, Row, World};
use super::{budget, queries};
use crate::engine::Read;
use crate::store::{ZSet, canonical_floats};

/// How a log tells what has happened, where tables have a key.
#[derive(Clone, Copy, PartialEq)]
enum Log {
    /// Old rows and new ones.
    Whole,
    /// Old rows by their keys.
    Keys,
    /// The same, without the values of new ones that are as they were.
    Difference,
    /// What is under keys after several transactions.
    Looks,
}

/// A query over one table, or any.
fn query(seed: u64) -> String {
    let mut writer = Writer::new(seed);
    if writer.one_in(3) {
        return queries::query(seed);
    }
    let from = writer.table();
    let conditions = (0..writer.random.usize(1..3)).map(|_| writer.condition(&from, 1));
    let conditions = conditions.collect::<Vec<_>>().join(" AND ");
    let of = writer.pick(&["*", "count(*)"]);
    format!("SELECT {of} FROM {} WHERE {conditions}", from.sql)
}

/// A query's rows as text, in order. None: it fails.
fn answer(
    catalog: &Catalog,
    plan: &datafusion::logical_expr::LogicalPlan,
    world: &World,
) -> Option<Vec<String>> {
    for table in &world.tables {
        catalog.put(table.name, vec![table.batch(&table.rows)]);
    }
    let format = FormatOptions::default().with_null("NULL");
    let mut answer = Vec::new();
    for rows in catalog.run(plan).ok()? {
        let columns: Vec<ArrayRef> = rows.columns().iter().map(canonical_floats).collect();
        let columns = columns
            .iter()
            .map(|c| ArrayFormatter::try_new(c, &format).unwrap());
        let columns: Vec<_> = columns.collect();
        for row in 0..rows.num_rows() {
            let values = columns.iter().map(|column| column.value(row).to_string());
            answer.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    answer.sort();
    Some(answer)
}

/// What a log says of a table's rows that came and went.
fn told(table: &world::Kept, changes: &[(Row, i64)], log: Log) -> Vec<Change> {
    let (rows, weights): (Vec<Row>, Vec<i64>) = changes.iter().cloned().unzip();
    if log == Log::Whole || table.key.is_empty() {
        let rows = table.batch(&rows);
        return vec![Change::Rows { rows, weights }];
    }
    let (mut keys, mut came, mut is_there) = (Vec::new(), Vec::new(), Vec::new());
    let mut left_out = vec![Vec::new(); table.schema.fields().len()];
    let mut i = 0;
    while i < rows.len() {
        let key = table.key_of(&rows[i]);
        let replaced = (log == Log::Difference && weights[i] < 0)
            .then(|| rows.get(i + 1))
            .flatten()
            .filter(|next| weights[i + 1] > 0 && table.key_of(next) == key);
        let new = match replaced {
            Some(new) => {
                i += 1;
                Some(new.clone())
            }
            None if log == Log::Looks => (table.rows.iter())
                .find(|row| table.key_of(row) == key)
                .cloned(),
            None => (weights[i] > 0).then(|| rows[i].clone()),
        };
        keys.push(key);
        is_there.push(new.is_some());
        if let Some(mut new) = new {
            for (column, value) in new.iter_mut().enumerate() {
                let old = replaced.map(|_| &rows[i - 1][column]);
                let is_same = !table.key.contains(&column) && old == Some(value);
                left_out[column].push(is_same);
                if is_same {
                    *value = ScalarValue::try_from(table.schema.field(column).data_type()).unwrap();
                }
            }
            came.push(new);
        }
        i += 1;
    }
    let schema = table.schema.project(&table.key).unwrap();
    let column = |i: usize| ScalarValue::iter_to_array(keys.iter().map(|key| key[i].clone()));
    let keys: Vec<ArrayRef> = (0..table.key.len()).map(|i| column(i).unwrap()).collect();
    let unchanged = left_out.into_iter().enumerate();
    let unchanged = unchanged.filter(|(_, rows)| rows.contains(&true));
    vec![Change::ByKey {
        keys: RecordBatch::try_new(schema.into(), keys).unwrap(),
        rows: table.batch(&came),
        is_there,
        unchanged: unchanged
            .map(|(column, rows)| Unchanged {
                column,
                rows: BooleanBuffer::from(rows),
            })
            .collect(),
    }]
}

/// What was seen, over all histories.
#[derive(Default)]
struct Seen {
    queries: usize,
    /// Steps after which the answer is another, or was between.
    changed: usize,
    /// Steps of which none of the changes counts, and of those by key.
    passed: usize,
    passed_by_key: usize,
}

fn history(seed: u64, sql: &str, seen: &mut Seen) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new();
    let tables = world.tables.iter();
    let catalog = Catalog::new(tables.map(|table| (table.name.to_string(), table.schema.clone())));
    let Ok(plan) = catalog.plan(sql, Some(world.clock)) else {
        return;
    };
    let read = Read::of(&plan, &catalog.state).unwrap();
    world.change(&mut random, 12);
    world.settle();
    let mut last = answer(&catalog, &plan, &world);
    seen.queries += 1;
    for _ in 0..6 {
        let log = [Log::Whole, Log::Keys, Log::Difference, Log::Looks][random.usize(0..4)];
        // Whoever has the rows himself knows on the whole which went; looks do not tell him what was there between.
        let is_kept = log != Log::Looks && random.bool();
        let mut changes: Vec<Vec<(Row, i64)>> = vec![Vec::new(); world.tables.len()];
        let mut all = vec![Vec::new(); world.tables.len()];
        let mut answers = vec![last.take()];
        for _ in 0..random.usize(1..4) {
            world.change(&mut random, 2);
            for (i, table) in world.tables.iter_mut().enumerate() {
                let change = std::mem::take(&mut table.change);
                if log != Log::Looks && !change.is_empty() {
                    all[i].extend(told(table, &change, log));
                }
                changes[i].extend(change);
            }
            answers.push(answer(&catalog, &plan, &world));
        }
        let mut is_told = false;
        let mut tables = world.tables.iter().zip(&mut all).zip(&changes);
        let is_touched = tables.any(|((table, told_of_it), changes)| {
            let read = read
                .tables
                .iter()
                .find(|(name, _)| name.table() == table.name);
            let Some((_, (_, conditions))) = read.filter(|_| !changes.is_empty()) else {
                return false;
            };
            if log == Log::Looks {
                *told_of_it = told(table, changes, log);
            }
            is_told = true;
            let (rows, weights) = changes.iter().cloned().unzip::<_, _, Vec<_>, Vec<_>>();
            let net = ZSet::new(table.batch(&rows), weights).unwrap();
            let net = net.consolidated().unwrap();
            conditions.may_meet(
                told_of_it.iter(),
                log != Log::Looks,
                is_kept.then(|| net.rows()),
            )
        });
        last = answers.last().cloned().flatten();
        if answers.iter().any(Option::is_none) {
            continue;
        }
        let is_changed = answers.windows(2).any(|pair| pair[0] != pair[1]);
        assert!(
            is_touched || !is_changed,
            "seed {seed}: {sql}\n{answers:?}\n{}",
            plan.display_indent()
        );
        seen.changed += usize::from(is_changed);
        if is_told && !is_touched {
            seen.passed += 1;
            seen.passed_by_key += usize::from(log != Log::Whole);
        }
    }
}

#[test]
fn what_changes_an_answer_meets_its_conditions() {
    let (first, end) = budget(3);
    let mut seen = Seen::default();
    for seed in first.. {
        // As many as show that there is something to tell apart.
        if Instant::now() > end && seed >= first + 50 {
            break;
        }
        history(seed, &query(seed), &mut seen);
    }
    let Seen {
        queries,
        changed,
        passed,
        passed_by_key,
    } = seen;
    println!(
        "{queries} queries; {changed} steps changed an answer, {passed} passed ({passed_by_key} by key)"
    );
    assert!(changed > 0 && passed > passed_by_key && passed_by_key > 0);
}

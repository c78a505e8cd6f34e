//! The queries of TPC-H, kept over small tables whose rows come and go.

use std::path::Path;
use std::time::Instant;

use datafusion::common::ScalarValue;

use super::kept::Kept;
use super::world::{self, Row, World};

#[allow(dead_code)]
#[path = "../../../../tests/tpch/data.rs"]
mod data;

const READ_BY_15: [&str; 2] = ["supplier", "lineitem"];

fn query(number: usize) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tpch/queries");
    std::fs::read_to_string(folder.join(format!("q{number:02}.sql"))).unwrap()
}

/// All rows that there may be, of each table.
fn rows(tables: &[data::Table]) -> Vec<Vec<Row>> {
    let rows = tables.iter().map(|table| {
        let batch = table.batch();
        let row = |i| {
            let columns = batch.columns().iter();
            columns
                .map(|c| ScalarValue::try_from_array(c, i).unwrap())
                .collect()
        };
        (0..batch.num_rows()).map(row).collect()
    });
    rows.collect()
}

fn key(table: &data::Table, batch: &arrow::datatypes::Schema) -> Vec<usize> {
    let (_, key) = table.declared.split_once("PRIMARY KEY (").unwrap();
    let names = key.trim_end_matches(')').split(',');
    names
        .map(|name| batch.index_of(name.trim()).unwrap())
        .collect()
}

/// Seconds it may take: `BELVEDERE_TPCH_SCALE` says how large tables are.
#[test]
fn tpch() {
    let scale = std::env::var("BELVEDERE_TPCH_SCALE").ok();
    let scale = scale.map_or(0.001, |scale| scale.parse().unwrap());
    let generated = data::generate(scale);
    let all = rows(&generated);
    let mut refused = Vec::new();
    for number in 1..=22 {
        let start = Instant::now();
        let mut random = fastrand::Rng::with_seed(number as u64);
        let tables = generated.iter().map(|table| {
            let schema = table.batch().schema();
            let key = key(table, &schema);
            world::Kept::new(table.name, schema, key, 10)
        });
        let mut world = World::of(tables.collect());
        // Two thirds of the rows are there; the others wait.
        let mut spare: Vec<Vec<Row>> = Vec::new();
        for (table, rows) in world.tables.iter_mut().zip(&all) {
            let (mut there, mut waiting) = (Vec::new(), Vec::new());
            let mut seen = std::collections::HashSet::new();
            for row in rows {
                // Of few suppliers a part has one twice.
                if !seen.insert(table.key_of(row)) {
                    continue;
                }
                let is_there = random.u8(0..3) < 2 || rows.len() < 30;
                if is_there { &mut there } else { &mut waiting }.push(row.clone());
            }
            table.fill(there);
            spare.push(waiting);
        }
        let mut kept = match Kept::new(&mut world, &query(number)) {
            Ok(kept) => kept,
            Err(e) => {
                refused.push((number, format!("{e:?}")));
                continue;
            }
        };
        let mut answers = Vec::new();
        for step in 0..4 {
            assert!(kept.step(&mut world), "query {number} has errors");
            answers.push(kept.rows());
            if number == 15 {
                // What suppliers have earned is read twice, and kept once.
                let read = world
                    .tables
                    .iter()
                    .filter(|table| READ_BY_15.contains(&table.name));
                let rows: usize = read.map(|table| table.rows.len()).sum();
                assert_eq!(kept.rows_read(), rows as u64);
            }
            for (table, spare) in world.tables.iter_mut().zip(&mut spare) {
                let most = [1, 20, 200][step.min(2)].min(table.rows.len() / 4);
                for _ in 0..random.usize(0..=most) {
                    table.swap(spare, &mut random);
                }
            }
        }
        println!("query {number}: {answers:?} rows, {:?}", start.elapsed());
    }
    assert!(refused.is_empty(), "{refused:?}");
}

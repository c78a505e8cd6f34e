//! Sources in memory, and what they were at each position, as plain maps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use belvedere_connector::{Captured, Change, Position, TableRef};
use belvedere_memory::{MemorySource, MemoryTable};
use fastrand::Rng;

use crate::replication::Wanted;
use crate::store::Pinned;

/// Texts are numbers, too.
pub type Row = Vec<Option<i64>>;
/// How often each row is there.
pub type Bag = BTreeMap<Row, i64>;

/// A table that a source has from the beginning.
#[derive(Debug)]
pub struct Spec {
    pub source: &'static str,
    pub name: &'static str,
    types: &'static [DataType],
    key: Option<&'static [usize]>,
    indexes: &'static [&'static [usize]],
}

use DataType::{Int64, Utf8};

pub const SPECS: [Spec; 3] = [
    Spec {
        source: "a",
        name: "t0",
        types: &[Int64, Int64, Int64],
        key: Some(&[0]),
        indexes: &[&[1]],
    },
    Spec {
        source: "a",
        name: "t1",
        types: &[Int64, Utf8],
        key: None,
        indexes: &[],
    },
    Spec {
        source: "b",
        name: "t2",
        types: &[Int64, Utf8],
        key: Some(&[0]),
        indexes: &[],
    },
];

impl Spec {
    /// The columns that are read. The last one's name says how often it was changed.
    pub fn schema(&self, variant: u32) -> SchemaRef {
        let last = self.types.len() - 1;
        let field = |(i, data_type): (usize, &DataType)| {
            let name = match i == last && variant > 0 {
                true => format!("c{i}_{variant}"),
                false => format!("c{i}"),
            };
            Field::new(name, data_type.clone(), true)
        };
        let fields = self.types.iter().enumerate().map(field);
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    pub fn batch<'a>(
        &self,
        variant: u32,
        rows: impl Iterator<Item = &'a Row> + Clone,
    ) -> RecordBatch {
        let column = |(i, data_type): (usize, &DataType)| -> ArrayRef {
            let values = rows.clone().map(|row| row[i]);
            match data_type {
                Utf8 => Arc::new(StringArray::from_iter(
                    values.map(|v| v.map(|n| format!("{n} as text"))),
                )),
                _ => Arc::new(Int64Array::from_iter(values)),
            }
        };
        let columns = self.types.iter().enumerate().map(column).collect();
        RecordBatch::try_new(self.schema(variant), columns).unwrap()
    }

    pub fn wanted(&self, variant: u32) -> Wanted {
        let table = TableRef {
            schema: "main".into(),
            name: self.name.into(),
        };
        let schema = self.schema(variant);
        Wanted {
            source: self.source.into(),
            captured: Captured { table, schema },
            key: self.key.map(<[usize]>::to_vec),
            indexes: self.indexes.iter().map(|index| index.to_vec()).collect(),
            is_watched: false,
        }
    }
}

/// What a replica has.
pub fn bag(content: &Pinned) -> Bag {
    let columns: Vec<usize> = (0..content.shape().schema().fields().len()).collect();
    let mut bag = Bag::new();
    for batch in content.scan(&columns) {
        let batch = batch.unwrap();
        for i in 0..batch.num_rows() {
            let value = |column: &ArrayRef| {
                column.is_valid(i).then(|| match column.data_type() {
                    Utf8 => {
                        let text = column.as_string::<i32>().value(i);
                        text.split(' ').next().unwrap().parse().unwrap()
                    }
                    _ => column.as_primitive::<Int64Type>().value(i),
                })
            };
            let row: Row = batch.columns().iter().map(value).collect();
            *bag.entry(row).or_default() += 1;
        }
    }
    bag
}

/// A source's tables: of each how often it was changed, and its rows.
pub type Content = BTreeMap<&'static str, (u32, Bag)>;

/// A source and its oracle.
pub struct World {
    pub source: MemorySource,
    specs: Vec<&'static Spec>,
    now: Content,
    /// All that it ever was, also on timelines that are given up.
    pub was: HashMap<Position, Content>,
    /// Positions of this timeline that its log still has.
    kept: Vec<Position>,
    /// How often something happened that makes a reader start anew.
    pub losses: usize,
    /// Where a table had other rows of which the log does not tell.
    pub rewritten: Vec<Position>,
}

impl World {
    pub fn new(name: &str, rng: &mut Rng) -> Self {
        let specs: Vec<_> = SPECS.iter().filter(|spec| spec.source == name).collect();
        let mut world = Self {
            source: MemorySource::new(name),
            now: Content::new(),
            was: HashMap::new(),
            kept: Vec::new(),
            losses: 0,
            rewritten: Vec::new(),
            specs,
        };
        for spec in world.specs.clone() {
            world.put(spec, 0, false, rng);
        }
        // Nobody goes back to before there were all tables.
        world.kept = vec![world.source.head()];
        world
    }

    pub fn variant(&self, spec: &Spec) -> u32 {
        self.now[spec.name].0
    }

    pub fn now(&self) -> &Content {
        &self.now
    }

    fn happened(&mut self) {
        let head = self.source.head();
        self.was.insert(head.clone(), self.now.clone());
        self.kept.push(head);
    }

    fn some_rows(spec: &Spec, rng: &mut Rng) -> Bag {
        let mut bag = Bag::new();
        for _ in 0..rng.usize(0..5) {
            let row = row(spec, rng);
            if !taken(spec, &bag, &row) {
                *bag.entry(row).or_default() += 1;
            }
        }
        bag
    }

    /// A table has other rows, and the log does not say how they came about.
    fn rewrite(&mut self, spec: &'static Spec, rng: &mut Rng) {
        let bag = Self::some_rows(spec, rng);
        let variant = self.variant(spec);
        let wide = &self.source.tables_at(&self.source.head()).unwrap()[spec.name];
        let batch = widened(&spec.batch(variant, each(&bag)), &wide.schema);
        let position = self.source.rewrite(spec.name, vec![batch]).unwrap();
        self.now.insert(spec.name, (variant, bag));
        self.happened();
        self.rewritten.push(position);
        self.losses += 1;
    }

    /// A table with rows, instead of the one there was; `extra`: with a column that nobody wants.
    fn put(&mut self, spec: &'static Spec, variant: u32, extra: bool, rng: &mut Rng) {
        let bag = Self::some_rows(spec, rng);
        let mut batch = spec.batch(variant, each(&bag));
        if extra {
            let mut fields = vec![Field::new("extra", Int64, true)];
            fields.extend(spec.schema(variant).fields().iter().map(|f| (**f).clone()));
            let mut columns = vec![Arc::new(Int64Array::new_null(batch.num_rows())) as ArrayRef];
            columns.extend(batch.columns().iter().cloned());
            batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        }
        let mut table = MemoryTable::new(batch.schema(), vec![batch]);
        if spec.key.is_some() {
            table = table.with_primary_key(&["c0"]);
        }
        self.source.put(spec.name, table);
        self.now.insert(spec.name, (variant, bag));
        self.happened();
    }

    /// DDL: a wanted column becomes another, or the one it was before, or there is one more, or rows are converted.
    pub fn alter(&mut self, rng: &mut Rng) {
        let spec = self.specs[rng.usize(0..self.specs.len())];
        let variant = self.variant(spec);
        match rng.bool() {
            true if rng.bool() => self.rewrite(spec, rng),
            true => self.put(spec, variant, rng.bool(), rng),
            false if variant > 0 && rng.bool() => self.put(spec, variant - 1, rng.bool(), rng),
            false => self.put(spec, variant + 1, rng.bool(), rng),
        }
    }

    pub fn commit(&mut self, rng: &mut Rng) {
        let mut changes = Vec::new();
        for _ in 0..rng.usize(0..5) {
            let spec = self.specs[rng.usize(0..self.specs.len())];
            let (variant, bag) = self.now.get_mut(spec.name).unwrap();
            let wide = &self.source.tables_at(&self.source.head()).unwrap()[spec.name];
            if rng.usize(0..20) == 0 {
                bag.clear();
                changes.push((spec.name.to_string(), Change::Truncate));
                continue;
            }
            let edits = edits(spec, bag, rng);
            for (row, weight) in &edits {
                let count = bag.entry(row.clone()).or_default();
                *count += weight;
                if *count == 0 {
                    bag.remove(row);
                }
            }
            let rows = spec.batch(*variant, edits.iter().map(|(row, _)| row));
            let rows = widened(&rows, &wide.schema);
            let weights = edits.iter().map(|(_, weight)| *weight).collect();
            changes.push((spec.name.to_string(), Change::Rows { rows, weights }));
        }
        self.source.commit(changes).unwrap();
        self.happened();
    }

    /// Forget what its reader says it needs no more: never a loss.
    pub fn trim(&mut self) {
        if let Some(position) = self.source.acknowledged()
            && self.kept.contains(&position)
        {
            self.source.truncate_log(&position).unwrap();
            self.kept.retain(|kept| *kept >= position);
        }
    }

    pub fn truncate(&mut self) {
        let head = self.source.head();
        self.source.truncate_log(&head).unwrap();
        self.kept.retain(|kept| *kept >= head);
        self.losses += 1;
    }

    pub fn rewind(&mut self, rng: &mut Rng) {
        let to = self.kept[rng.usize(0..self.kept.len())].clone();
        self.now = self.was[&to].clone();
        self.source.rewind(&to).unwrap();
        // The commits that are left are on the new timeline, too; nobody is told of their positions.
        self.kept.clear();
        self.happened();
        self.losses += 1;
    }
}

/// Each row, as often as it is there.
fn each(bag: &Bag) -> impl Iterator<Item = &Row> + Clone {
    let rows = bag.iter();
    rows.flat_map(|(row, n)| std::iter::repeat_n(row, *n as usize))
}

/// With NULL in columns that the table has, too.
fn widened(rows: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let column = |field: &Arc<Field>| match rows.column_by_name(field.name()) {
        Some(column) => column.clone(),
        None => Arc::new(Int64Array::new_null(rows.num_rows())),
    };
    RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect()).unwrap()
}

fn row(spec: &Spec, rng: &mut Rng) -> Row {
    let key = spec.key.map_or(&[][..], |key| key);
    let value = |i: usize| match key.contains(&i) {
        true => Some(rng.i64(0..6)),
        false => (rng.usize(0..5) > 0).then(|| rng.i64(0..4)),
    };
    (0..spec.types.len()).map(value).collect()
}

fn taken(spec: &Spec, bag: &Bag, row: &Row) -> bool {
    spec.key.is_some_and(|key| {
        bag.keys()
            .any(|other| key.iter().all(|&i| other[i] == row[i]))
    })
}

/// One statement: an insert, an update (of the key, too), a delete.
fn edits(spec: &Spec, bag: &Bag, rng: &mut Rng) -> Vec<(Row, i64)> {
    let mut new = row(spec, rng);
    let old = (!bag.is_empty() && rng.usize(0..3) > 0)
        .then(|| bag.keys().nth(rng.usize(0..bag.len())).unwrap().clone());
    let Some(old) = old else {
        return match taken(spec, bag, &new) {
            true => Vec::new(),
            false => vec![(new, if spec.key.is_none() { rng.i64(1..3) } else { 1 })],
        };
    };
    if rng.usize(0..3) == 0 {
        return vec![(old, -1)];
    }
    if taken(spec, bag, &new) {
        // It stays under its key.
        spec.key
            .unwrap_or_default()
            .iter()
            .for_each(|&i| new[i] = old[i]);
    }
    vec![(old, -1), (new, 1)]
}

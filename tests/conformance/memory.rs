use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use belvedere_conformance::changes::{Changing, Edit, Line};
use belvedere_conformance::{Ability, Definition, Feature, Fixture, SqlNames, conformance};
use belvedere_connector::{Change, Connector};
use belvedere_memory::{Image, MemoryConnector, MemorySource, MemoryTable};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, new_null_array,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef};

conformance!(Memory::start());

struct Memory {
    source: MemorySource,
    tables: Mutex<BTreeMap<String, Vec<RecordBatch>>>,
    /// Of writers.
    turn: tokio::sync::Mutex<()>,
}

impl Memory {
    async fn start() -> Self {
        Self {
            source: MemorySource::new("lab"),
            tables: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    fn store(&self, table: &str, batches: Vec<RecordBatch>) {
        self.source.put(
            table,
            MemoryTable::new(batches[0].schema(), batches.clone()),
        );
        self.tables
            .lock()
            .unwrap()
            .insert(table.to_string(), batches);
    }
}

#[async_trait]
impl Fixture for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(MemoryConnector::new().with(self.source.clone()))
    }

    fn definition(&self) -> Definition {
        Definition::new("memory:lab")
    }

    fn writing(&self) -> Result<Definition, &'static str> {
        Ok(Definition::new("memory:lab").with("writable", "true"))
    }

    async fn clear(&self) {
        for table in std::mem::take(&mut *self.tables.lock().unwrap()).keys() {
            self.source.remove(table);
        }
    }

    async fn execute(&self, sql: &str) {
        panic!("memory knows no SQL: {sql}");
    }

    fn sql(&self) -> Option<&dyn SqlNames> {
        None
    }

    async fn put(&self, table: &str, data: &RecordBatch) {
        self.store(table, vec![data.clone()]);
    }

    async fn double(&self, table: &str) {
        let batches = self.tables.lock().unwrap()[table].clone();
        self.store(table, [batches.clone(), batches].concat());
    }

    async fn remove(&self, table: &str) {
        self.tables.lock().unwrap().remove(table);
        self.source.remove(table);
    }

    fn reads(&self, data_type: &DataType) -> Option<DataType> {
        Some(data_type.clone())
    }

    fn pushes(&self, feature: Feature) -> bool {
        matches!(feature, Feature::Columns | Feature::Limit)
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match ability {
            Ability::Keys => Some("it has no foreign keys"),
            Ability::Permissions => Some("it has no users"),
            _ => None,
        }
    }

    async fn reads_open(&self) -> usize {
        self.source.open_streams()
    }

    async fn interrupt(&self) {
        self.source.break_off();
    }

    fn changing(&self) -> Result<&dyn Changing, &'static str> {
        Ok(self)
    }
}

/// Tables of the shape that edits are of.
fn lines(schema: &SchemaRef, rows: &[Line]) -> RecordBatch {
    let column = |field: &FieldRef| -> ArrayRef {
        match field.name().as_str() {
            "id" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
            "n" => Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.n))),
            "v" => Arc::new(StringArray::from_iter(
                rows.iter().map(|row| row.v.as_deref()),
            )),
            _ => new_null_array(field.data_type(), rows.len()),
        }
    };
    RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect()).unwrap()
}

impl Memory {
    fn replaced(&self, table: &str, change: impl FnOnce(&mut Vec<FieldRef>)) {
        let found = self.source.tables_at(&self.source.head()).unwrap()[table].clone();
        let mut fields: Vec<FieldRef> = found.schema.fields().iter().cloned().collect();
        change(&mut fields);
        let schema = Arc::new(Schema::new(fields));
        let batch = |rows: &RecordBatch| {
            let column = |field: &FieldRef| match rows.column_by_name(field.name()) {
                Some(column) => column.clone(),
                None => new_null_array(field.data_type(), rows.num_rows()),
            };
            RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect())
        };
        let batches = found
            .batches
            .iter()
            .map(|rows| batch(rows).unwrap())
            .collect();
        let mut table_now = MemoryTable::new(schema.clone(), batches);
        table_now.primary_key = found.primary_key;
        self.source.put(table, table_now);
    }
}

#[async_trait]
impl Changing for Memory {
    fn definition(&self) -> Definition {
        Definition::new("memory:lab")
    }

    async fn create(&self, table: &str, is_keyed: bool) {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("n", DataType::Int64, true),
            Field::new("v", DataType::Utf8, true),
        ]));
        self.source.set_log(Image::Difference, 1000, 1);
        self.store(table, vec![lines(&schema, &[])]);
        if is_keyed {
            let table_now = MemoryTable::new(schema, Vec::new()).with_primary_key(&["id"]);
            self.source.put(table, table_now);
        }
    }

    async fn adopt(&self, _table: &str) {}

    async fn forbid(&self, _table: &str) -> bool {
        false
    }

    async fn transact(&self, _writer: usize, edits: &[(String, Edit)], commits: bool) {
        // One after the other: a commit names the rows that it finds.
        let _turn = self.turn.lock().await;
        let tables = self.source.tables_at(&self.source.head()).unwrap();
        let mut changes = Vec::new();
        let mut rows: BTreeMap<&str, [BTreeMap<i64, Line>; 2]> = BTreeMap::new();
        for (table, edit) in edits {
            let [before, now] = rows.entry(table).or_insert_with(|| {
                let rows = read(&tables[table]);
                let rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.id, row)).collect();
                [rows.clone(), rows]
            });
            edit.apply(now);
            if *edit == Edit::Truncate {
                before.clear();
                changes.push((table.clone(), Change::Truncate));
            }
        }
        for (table, [before, now]) in rows {
            let differs = |other: &BTreeMap<i64, Line>, row: &Line| other.get(&row.id) != Some(row);
            let gone = before.values().filter(|row| differs(&now, row)).cloned();
            let mut changed: Vec<Line> = gone.collect();
            let mut weights = vec![-1; changed.len()];
            changed.extend(now.values().filter(|row| differs(&before, row)).cloned());
            weights.resize(changed.len(), 1);
            let rows = lines(&tables[table].schema, &changed);
            changes.push((table.to_string(), Change::Rows { rows, weights }));
        }
        if commits {
            self.source.commit(changes).unwrap();
        }
    }

    async fn cut(&self) {
        self.source.break_off();
    }

    async fn lose_log(&self, _source: &str) {
        self.source.truncate_log(&self.source.head()).unwrap();
    }

    async fn add_column(&self, table: &str) {
        self.replaced(table, |fields| {
            fields.push(Arc::new(Field::new("more", DataType::Int64, true)));
        });
    }

    async fn drop_column(&self, table: &str) {
        self.replaced(table, |fields| fields.retain(|field| field.name() != "v"));
    }
}

fn read(table: &MemoryTable) -> Vec<Line> {
    let of = |rows: &RecordBatch| -> Vec<Line> {
        let (id, n) = (
            rows.column(0).as_primitive::<Int64Type>(),
            rows.column(1).as_primitive::<Int64Type>(),
        );
        let v = rows
            .column_by_name("v")
            .map(|v| v.as_string::<i32>().clone());
        let line = |i: usize| Line {
            id: id.value(i),
            n: n.is_valid(i).then(|| n.value(i)),
            v: v.as_ref()
                .filter(|v| v.is_valid(i))
                .map(|v| v.value(i).to_string()),
        };
        (0..rows.num_rows()).map(line).collect()
    };
    table.batches.iter().flat_map(of).collect()
}

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use belvedere_conformance::{Ability, Definition, Feature, Fixture, SqlNames, conformance};
use belvedere_connector::Connector;
use belvedere_memory::{MemoryConnector, MemorySource, MemoryTable};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;

conformance!(Memory::start());

struct Memory {
    source: MemorySource,
    tables: Mutex<BTreeMap<String, Vec<RecordBatch>>>,
}

impl Memory {
    async fn start() -> Self {
        Self {
            source: MemorySource::new("lab"),
            tables: Mutex::default(),
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
}

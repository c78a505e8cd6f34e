//! What the tests of each protocol serve.

use std::path::Path;
use std::sync::Arc;

use belvedere::Engine;
use belvedere_memory::{MemoryConnector, MemorySource, MemoryTable};
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

/// An engine that can have a source in memory, `memory:mem`, with a table `t` of three rows. Relative paths start in the folder.
pub async fn engine(folder: &Path) -> (Engine, MemorySource) {
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let name: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]));
    let batch = RecordBatch::try_from_iter([("id", id), ("name", name)]).unwrap();
    let table = MemoryTable::new(batch.schema(), vec![batch]);
    let memory = MemorySource::new("mem").with_table("t", table);
    let connector = MemoryConnector::new().with(memory.clone());
    let engine = Engine::builder()
        .base_dir(folder)
        .connector(Arc::new(connector))
        .open()
        .await
        .unwrap();
    (engine, memory)
}

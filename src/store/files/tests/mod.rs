//! Files of rows: what was written comes back to the bit, or an error does.

mod damage;
mod exact;
pub(crate) mod simulated;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::{Folder, Segment, SegmentWriter};

/// Rows whose numbers begin with `from`.
fn numbered(from: i64, rows: i64) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(from..from + rows);
    let texts = (from..from + rows).map(|i| (i % 7 != 0).then(|| format!("row {i}")));
    let texts: StringArray = texts.collect();
    let columns: [(&str, ArrayRef); 2] = [("n", Arc::new(numbers)), ("t", Arc::new(texts))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn written(folder: &Arc<dyn Folder>, name: &str, batches: &[RecordBatch]) -> Segment {
    let schema = batches[0].schema();
    let mut writer = SegmentWriter::create(folder.clone(), name, schema).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    let meta = writer.finish().unwrap();
    let segment = Segment::open(&**folder, name).unwrap();
    assert_eq!(segment.meta(), meta);
    segment
}

//! Batches as bytes, and back: an Arrow IPC stream each, with its schema and its dictionaries, so that no two blocks depend
//! on each other.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::buffer::Buffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};

use super::layout::UNIT;

/// The end of a stream. Without it a decoder does not take a batch that has no bytes for one that is there.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

fn encoder(schema: &Schema) -> Result<StreamEncoder, ArrowError> {
    let options = IpcWriteOptions::try_new(UNIT, false, MetadataVersion::V5)?;
    StreamEncoder::try_new_with_options(schema, options)
}

/// A batch's stream, in pieces; most are buffers of the batch itself.
pub(super) fn encoded(batch: &RecordBatch) -> Result<Vec<Buffer>, ArrowError> {
    let mut pieces = encoder(batch.schema_ref())?.encode(&compact(batch)?)?;
    pieces.push(Buffer::from(&END));
    Ok(pieces)
}

/// The batch of a stream. It shares the bytes.
pub(super) fn decoded(bytes: Buffer) -> Result<RecordBatch, ArrowError> {
    let mut bytes = bytes;
    let batch = StreamDecoder::new().decode(&mut bytes)?;
    batch.ok_or_else(|| ArrowError::IpcError("there is no batch".into()))
}

/// A schema's stream.
pub(super) fn encoded_schema(schema: &Schema) -> Result<Vec<u8>, ArrowError> {
    let pieces = encoder(schema)?.finish()?;
    Ok(pieces
        .iter()
        .flat_map(|piece| piece.as_slice())
        .copied()
        .collect())
}

pub(super) fn decoded_schema(bytes: Buffer) -> Result<SchemaRef, ArrowError> {
    let (mut bytes, mut decoder) = (bytes, StreamDecoder::new());
    decoder.decode(&mut bytes)?;
    let schema = decoder.schema();
    schema.ok_or_else(|| ArrowError::IpcError("there is no schema".into()))
}

/// The same rows, with nothing that is not theirs: views refer to whole buffers, and slices of nested values have their
/// neighbours below them, which would be written, too.
fn compact(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if batch.columns().iter().all(|column| !is_loose(column)) {
        return Ok(batch.clone());
    }
    let all = UInt64Array::from_iter_values(0..batch.num_rows() as u64);
    let column = |column: &ArrayRef| -> Result<ArrayRef, ArrowError> {
        Ok(match column.data_type() {
            _ if !is_loose(column) => column.clone(),
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => take(column, &all, None)?,
        })
    };
    let columns: Result<Vec<_>, _> = batch.columns().iter().map(column).collect();
    RecordBatch::try_new(batch.schema(), columns?)
}

fn is_loose(column: &ArrayRef) -> bool {
    let data_type = column.data_type();
    matches!(data_type, DataType::Utf8View | DataType::BinaryView)
        || data_type.is_nested()
        || matches!(
            data_type,
            DataType::RunEndEncoded(..) | DataType::Dictionary(..)
        ) && column.offset() != 0
}

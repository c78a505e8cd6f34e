//! Batches in the form and size clients take: plain text and binaries instead of views, values instead of dictionaries
//! and runs, and less than gRPC's customary 4 MB a message.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    StringViewArray,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tonic::Status;

use super::status::encoding;

/// Bytes of a batch's buffers: with the message around them they stay under 3 MB.
const BATCH_BYTES: usize = 2_700_000;

/// The schema as clients get it. Every column is nullable: what a query's plan says is not a promise all its rows
/// keep (an outer join moved by the optimizer), and no client needs it.
pub(in crate::serve) fn wire_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let field = field
            .as_ref()
            .clone()
            .with_data_type(wire_type(field.data_type()));
        field.with_nullable(true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

/// The field as clients get it of a table: its own nullability, and nothing of ours in its metadata.
pub(super) fn plain_field(field: &Field) -> Field {
    Field::new(
        field.name(),
        wire_type(field.data_type()),
        field.is_nullable(),
    )
}

fn wire_type(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| -> FieldRef {
        Arc::new(
            field
                .as_ref()
                .clone()
                .with_data_type(wire_type(field.data_type())),
        )
    };
    match data_type {
        DataType::Dictionary(_, value) => wire_type(value),
        DataType::RunEndEncoded(_, values) => wire_type(values.data_type()),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) | DataType::ListView(item) => DataType::List(inner(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => {
            DataType::LargeList(inner(item))
        }
        DataType::FixedSizeList(item, n) => DataType::FixedSizeList(inner(item), *n),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        other => other.clone(),
    }
}

/// The messages of an answer: its schema, then its batches.
pub(super) fn messages(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
) -> BoxStream<'static, Result<FlightData, Status>> {
    let wire = schema.clone();
    let batches = batches.flat_map(move |batch| match batch {
        Ok(batch) => stream::iter(pieces(batch, wire.clone())).left_stream(),
        Err(e) => stream::iter([Err(e)]).right_stream(),
    });
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        // The pieces have their size.
        .with_max_flight_data_size(usize::MAX)
        .build(batches.map_err(|e| FlightError::Tonic(Box::new(e))))
        .map_err(Status::from)
        .boxed()
}

/// A batch in pieces of at most [`BATCH_BYTES`]; a row that is larger is a piece of its own.
pub(in crate::serve) fn pieces(
    batch: RecordBatch,
    schema: SchemaRef,
) -> impl Iterator<Item = Result<RecordBatch, Status>> + Send {
    let mut left = VecDeque::from([batch]);
    std::iter::from_fn(move || {
        loop {
            let batch = left.pop_front()?;
            let rows = batch.num_rows();
            if rows == 0 {
                continue;
            }
            if rows == 1 || batch_bytes(&batch) <= BATCH_BYTES {
                return Some(as_wire(&batch, &schema));
            }
            left.push_front(batch.slice(rows / 2, rows - rows / 2));
            left.push_front(batch.slice(0, rows / 2));
        }
    })
}

/// The batch with the columns of this schema.
fn as_wire(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Status> {
    if batch.num_columns() != schema.fields().len() {
        return Err(changed());
    }
    let options = CastOptions {
        safe: false,
        ..Default::default()
    };
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        let (from, to) = (column.data_type(), field.data_type());
        columns.push(match from {
            _ if from == to => column.clone(),
            _ if wire_type(from).equals_datatype(to) => {
                cast_with_options(column, to, &options).map_err(encoding)?
            }
            _ => return Err(changed()),
        });
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &rows).map_err(encoding)
}

fn changed() -> Status {
    Status::aborted("a table has changed since the statement was planned: ask for it again")
}

fn batch_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| bytes(column.as_ref()))
        .sum()
}

/// Bytes of a column as it is sent.
fn bytes(array: &dyn Array) -> usize {
    let rows = array.len();
    let values = match array.data_type() {
        DataType::Null => 0,
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8 => offset_bytes(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => offset_bytes(array.as_string::<i64>().value_offsets()),
        DataType::Binary => offset_bytes(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => offset_bytes(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => view_bytes(
            array
                .as_any()
                .downcast_ref::<StringViewArray>()
                .map(|a| a.views().as_ref()),
        ),
        DataType::BinaryView => view_bytes(
            array
                .as_any()
                .downcast_ref::<BinaryViewArray>()
                .map(|a| a.views().as_ref()),
        ),
        DataType::FixedSizeBinary(width) => rows * usize::try_from(*width).unwrap_or(0),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            list_bytes(list.value_offsets(), list.values())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            list_bytes(list.value_offsets(), list.values())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            list_bytes(map.value_offsets(), &entries)
        }
        DataType::FixedSizeList(..) => bytes(array.as_fixed_size_list().values().as_ref()),
        DataType::Struct(_) => array
            .as_struct()
            .columns()
            .iter()
            .map(|c| bytes(c.as_ref()))
            .sum(),
        DataType::Dictionary(..) => dictionary_bytes(array),
        other => match other.primitive_width() {
            Some(width) => rows * width,
            None => array.to_data().get_slice_memory_size().unwrap_or(0),
        },
    };
    values + rows.div_ceil(8)
}

fn offset_bytes<O: OffsetSizeTrait>(offsets: &[O]) -> usize {
    range(offsets).map_or(0, |(from, to)| to - from) + std::mem::size_of_val(offsets)
}

fn range<O: OffsetSizeTrait>(offsets: &[O]) -> Option<(usize, usize)> {
    Some((offsets.first()?.as_usize(), offsets.last()?.as_usize()))
}

/// A view's length is its lowest four bytes.
fn view_bytes(views: Option<&[u128]>) -> usize {
    let views = views.unwrap_or_default();
    views
        .iter()
        .map(|view| *view as u32 as usize)
        .sum::<usize>()
        + 4 * (views.len() + 1)
}

fn list_bytes<O: OffsetSizeTrait>(offsets: &[O], values: &ArrayRef) -> usize {
    let (from, to) = range(offsets).unwrap_or((0, 0));
    bytes(values.slice(from, to - from).as_ref()) + std::mem::size_of_val(offsets)
}

/// What it takes with its values in place of its keys.
fn dictionary_bytes(array: &dyn Array) -> usize {
    let dictionary = array.as_any_dictionary();
    let values = dictionary.values();
    if values.is_empty() {
        return 0;
    }
    let each: Vec<usize> = (0..values.len())
        .map(|i| bytes(values.slice(i, 1).as_ref()))
        .collect();
    let keys = dictionary.normalized_keys();
    keys.iter()
        .map(|key| each.get(*key).copied().unwrap_or(0))
        .sum()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{DictionaryArray, Int32Array, StringArray};
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn batch(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("c", column)]).unwrap()
    }

    fn sent(batch: &RecordBatch) -> Vec<RecordBatch> {
        let schema = wire_schema(&batch.schema());
        pieces(batch.clone(), schema).map(Result::unwrap).collect()
    }

    #[test]
    fn large_batches_are_cut_and_large_rows_go_alone() {
        let texts: Vec<String> = [10, 3_000_000, 10, 1_500_000, 1_500_000, 10]
            .into_iter()
            .map(|n| "x".repeat(n))
            .collect();
        for column in [
            Arc::new(StringArray::from_iter_values(&texts)) as ArrayRef,
            Arc::new(StringViewArray::from_iter_values(&texts)),
        ] {
            let pieces = sent(&batch(column));
            let rows: usize = pieces.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(rows, texts.len());
            for piece in &pieces {
                assert!(piece.num_rows() == 1 || batch_bytes(piece) <= BATCH_BYTES);
                assert_eq!(piece.column(0).data_type(), &DataType::Utf8);
            }
        }
    }

    #[test]
    fn dictionaries_count_their_values() {
        let value = "y".repeat(1_000_000);
        let keys = Int32Array::from(vec![Some(0); 10]);
        let values: ArrayRef = Arc::new(StringArray::from(vec![value.as_str()]));
        let column = DictionaryArray::<Int32Type>::try_new(keys, values).unwrap();
        let pieces = sent(&batch(Arc::new(column)));
        assert!(pieces.len() >= 5);
        assert_eq!(pieces[0].column(0).data_type(), &DataType::Utf8);
    }

    #[test]
    fn nested_types_are_plain_inside() {
        let item = Arc::new(Field::new("item", DataType::Utf8View, true));
        let inner = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::BinaryView));
        let fields = vec![
            Field::new("a", DataType::List(item), true),
            Field::new("b", inner, false),
        ];
        let schema = Schema::new(vec![Field::new(
            "s",
            DataType::Struct(fields.into()),
            false,
        )]);
        let plain = Arc::new(Field::new("item", DataType::Utf8, true));
        let fields = vec![
            Field::new("a", DataType::List(plain), true),
            Field::new("b", DataType::Binary, false),
        ];
        let expected = Field::new("s", DataType::Struct(fields.into()), true);
        assert_eq!(wire_schema(&schema).field(0), &expected);
    }

    #[test]
    fn another_schema_than_planned_is_an_error() {
        let batch = batch(Arc::new(Int32Array::from(vec![1])));
        let planned = wire_schema(&Schema::new(vec![Field::new("c", DataType::Utf8, true)]));
        assert_eq!(
            as_wire(&batch, &planned).unwrap_err().code(),
            tonic::Code::Aborted
        );
    }
}

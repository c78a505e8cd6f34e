//! All types, sliced and not, small batches and large ones.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::*;

use super::{numbered, written};
use crate::store::files::{DiskFolder, FileError, Folder, Segment, SegmentWriter, sweep};

fn folder() -> (tempfile::TempDir, Arc<dyn Folder>) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Arc::new(DiskFolder::open(dir.path().join("rows")).unwrap());
    (dir, folder)
}

/// Six values of each kind of array, with NULLs where it can have them.
fn all_types() -> Vec<ArrayRef> {
    let texts = || {
        vec![
            Some("a"),
            None,
            Some(""),
            Some("a text that is longer than twelve"),
            Some("ß"),
            None,
        ]
    };
    let ints = Int32Array::from(vec![
        Some(1),
        None,
        Some(-3),
        Some(i32::MAX),
        Some(i32::MIN),
        None,
    ]);
    let lists = || {
        let rows = vec![
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
            Some(vec![Some(7)]),
            Some(vec![Some(8), Some(9)]),
            None,
        ];
        ListArray::from_iter_primitive::<Int32Type, _, _>(rows)
    };
    let structs = StructArray::new(
        Fields::from(vec![
            Field::new("x", DataType::Int32, true),
            Field::new("y", DataType::Utf8, true),
        ]),
        vec![Arc::new(ints.clone()), Arc::new(StringArray::from(texts()))],
        Some(NullBuffer::from(vec![true, true, false, true, true, true])),
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for i in 0..6 {
        for j in 0..i {
            map.keys().append_value(format!("k{j}"));
            map.values().append_option((j != 2).then_some(j));
        }
        map.append(i != 3).unwrap();
    }
    let union_fields = UnionFields::try_new(
        [0, 1],
        [
            Field::new("i", DataType::Int32, true),
            Field::new("t", DataType::Utf8, true),
        ],
    )
    .unwrap();
    let sparse = UnionArray::try_new(
        union_fields.clone(),
        ScalarBuffer::from(vec![0i8, 1, 0, 1, 0, 1]),
        None,
        vec![Arc::new(ints.clone()), Arc::new(StringArray::from(texts()))],
    )
    .unwrap();
    let dense = UnionArray::try_new(
        union_fields,
        ScalarBuffer::from(vec![0i8, 1, 0, 1, 0, 1]),
        Some(ScalarBuffer::from(vec![0, 0, 1, 1, 2, 2])),
        vec![Arc::new(ints.clone()), Arc::new(StringArray::from(texts()))],
    )
    .unwrap();
    let views = ListViewArray::new(
        Arc::new(Field::new("item", DataType::Int32, true)),
        ScalarBuffer::from(vec![0, 2, 2, 4, 0, 5]),
        ScalarBuffer::from(vec![2, 0, 3, 1, 6, 1]),
        Arc::new(ints.clone()),
        Some(NullBuffer::from(vec![true, true, true, true, true, false])),
    );
    let dictionary: DictionaryArray<Int8Type> = texts().into_iter().collect();
    let runs: RunArray<Int32Type> = vec![Some("a"), Some("a"), None, None, Some("b"), Some("b")]
        .into_iter()
        .collect();
    let fixed = FixedSizeListArray::new(
        Arc::new(Field::new("item", DataType::Int32, true)),
        2,
        Arc::new(Int32Array::from_iter_values(0..12)),
        Some(NullBuffer::from(vec![true, false, true, true, true, true])),
    );
    let nested = ListArray::new(
        Arc::new(Field::new("item", lists().data_type().clone(), true)),
        OffsetBuffer::new(ScalarBuffer::from(vec![0, 1, 1, 3, 4, 6, 6])),
        Arc::new(lists()),
        None,
    );
    vec![
        Arc::new(NullArray::new(6)),
        Arc::new(BooleanArray::from(vec![
            Some(true),
            None,
            Some(false),
            Some(true),
            None,
            Some(true),
        ])),
        Arc::new(ints.clone()),
        Arc::new(UInt64Array::from(vec![0, 1, u64::MAX, 3, 4, 5])),
        Arc::new(Float64Array::from(vec![
            -0.0,
            f64::NAN,
            f64::from_bits(0xfff8_0000_0000_0001),
            f64::INFINITY,
            1e-310,
            0.1,
        ])),
        Arc::new(
            Decimal128Array::from(vec![
                Some(1),
                None,
                Some(i128::MAX),
                Some(-1),
                Some(0),
                None,
            ])
            .with_precision_and_scale(38, 3)
            .unwrap(),
        ),
        Arc::new(Decimal256Array::from(vec![arrow::datatypes::i256::MAX; 6])),
        Arc::new(
            TimestampNanosecondArray::from(vec![i64::MIN, 0, 1, 2, 3, i64::MAX])
                .with_timezone("Europe/Berlin"),
        ),
        Arc::new(Date32Array::from(vec![i32::MIN, 0, 1, 2, 3, i32::MAX])),
        Arc::new(Time64MicrosecondArray::from(vec![0, 1, 2, 3, 4, 5])),
        Arc::new(IntervalMonthDayNanoArray::from(
            vec![IntervalMonthDayNano::new(1, -2, 3); 6],
        )),
        Arc::new(StringArray::from(texts())),
        Arc::new(LargeStringArray::from(texts())),
        Arc::new(StringViewArray::from(texts())),
        Arc::new(BinaryViewArray::from_iter(
            texts().into_iter().map(|t| t.map(str::as_bytes)),
        )),
        Arc::new(BinaryArray::from_opt_vec(
            texts().into_iter().map(|t| t.map(str::as_bytes)).collect(),
        )),
        Arc::new(FixedSizeBinaryArray::try_from_iter((0..6u8).map(|i| [i; 5])).unwrap()),
        Arc::new(lists()),
        Arc::new(structs),
        Arc::new(map.finish()),
        Arc::new(sparse),
        Arc::new(dense),
        Arc::new(views),
        Arc::new(dictionary),
        Arc::new(runs),
        Arc::new(fixed),
        Arc::new(nested),
    ]
}

#[test]
fn every_type_and_its_slices() {
    let (_dir, folder) = folder();
    for array in all_types() {
        let field = Field::new("c", array.data_type().clone(), true)
            .with_metadata([("unit".to_string(), "kg".to_string())].into());
        let schema = Arc::new(Schema::new(vec![field]));
        let all = RecordBatch::try_new(schema, vec![array]).unwrap();
        for (from, rows) in [(0, 6), (2, 3), (1, 1), (5, 1)] {
            let batch = all.slice(from, rows);
            let segment = written(&folder, "types", std::slice::from_ref(&batch));
            assert_eq!(segment.batch_count(), 1);
            let found = segment.batch(0).unwrap();
            assert_eq!(found, batch, "{}", batch.column(0).data_type());
            found.column(0).to_data().validate_full().unwrap();
        }
        // Two that wait for each other become one.
        let segment = written(&folder, "types", &[all.slice(3, 3), all.slice(0, 4)]);
        let expected = concat_batches(&all.schema(), [&all.slice(3, 3), &all.slice(0, 4)]);
        let found: Vec<_> = segment.batches().collect::<Result<_, _>>().unwrap();
        match expected {
            Ok(expected) => assert_eq!(found, [expected]),
            Err(_) => assert_eq!(found, [all.slice(3, 3), all.slice(0, 4)]),
        }
    }
}

#[test]
fn no_rows_and_no_columns() {
    let (_dir, folder) = folder();
    let segment = written(&folder, "a", &[numbered(0, 0)]);
    assert_eq!((segment.row_count(), segment.batch_count()), (0, 0));
    assert_eq!(segment.schema(), &numbered(0, 0).schema());
    let options = RecordBatchOptions::new().with_row_count(Some(70_000));
    let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options);
    let segment = written(&folder, "b", &[empty.unwrap()]);
    let rows: Vec<_> = segment.batches().map(|b| b.unwrap().num_rows()).collect();
    assert_eq!(rows, [65_536, 4_464]);
}

#[test]
fn batches_of_any_size_become_blocks_and_share_the_file() {
    let (dir, folder) = folder();
    let mut batches: Vec<_> = (0..9_000).map(|i| numbered(i, 1)).collect();
    batches.push(numbered(9_000, 150_000));
    batches.push(numbered(159_000, 5));
    let segment = written(&folder, "rows", &batches);
    let found: Vec<_> = segment.batches().collect::<Result<_, _>>().unwrap();
    let rows: Vec<_> = found.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(rows, [8_192, 808, 65_536, 65_536, 18_928, 5]);
    let schema = segment.schema();
    assert_eq!(
        concat_batches(schema, &found).unwrap(),
        numbered(0, 159_005)
    );
    // A second look is the same memory: the file's.
    let address = |batch: &RecordBatch| batch.column(0).to_data().buffers()[0].as_ptr();
    let again = segment.batch(2).unwrap();
    assert_eq!(address(&found[2]), address(&again));
    assert_eq!(address(&found[2]) as usize % 64, 0);
    // Who has it keeps it.
    std::fs::remove_dir_all(dir.path()).unwrap();
    drop(segment);
    assert_eq!(
        concat_batches(&found[0].schema(), &found).unwrap(),
        numbered(0, 159_005)
    );
}

#[test]
fn rows_that_do_not_fit_and_writers_that_are_given_up() {
    let (_dir, folder) = folder();
    let schema = numbered(0, 0).schema();
    let mut writer = SegmentWriter::create(folder.clone(), "rows", schema.clone()).unwrap();
    let other =
        RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let e = writer.write(&other.unwrap()).unwrap_err();
    assert!(matches!(e, FileError::Rows { .. }), "{e}");
    drop(writer);
    assert_eq!(folder.names().unwrap(), Vec::<String>::new());
    // One that fails, or is dropped, leaves what was there.
    written(&folder, "rows", &[numbered(0, 3)]);
    let mut writer = SegmentWriter::create(folder.clone(), "rows", schema).unwrap();
    writer.write(&numbered(0, 100_000)).unwrap();
    assert_eq!(writer.row_count(), 100_000);
    drop(writer);
    assert_eq!(folder.names().unwrap(), ["rows"]);
    assert_eq!(Segment::open(&*folder, "rows").unwrap().row_count(), 3);
}

#[test]
fn what_nobody_refers_to_goes() {
    let (_dir, folder) = folder();
    for name in ["1.rows", "2.rows", "3.rows.new"] {
        written(&folder, name, &[numbered(0, 3)]);
    }
    sweep(&*folder, |name| name != "2.rows").unwrap();
    assert_eq!(folder.names().unwrap(), ["1.rows"]);
}

//! When rows are the same, and hashes that agree with it.
//!
//! Columns are hashed, and compared where they lie. Against keys encoded with arrow-row that costs, for each key of a
//! batch of 10,000: 0.6 ns for the hash and 0.7 to compare, instead of 5.6 to encode and hash (whole numbers); 2.3 and
//! 1.7 instead of 20.6 (text of 17 bytes). One key alone: 20 and 20 ns instead of 130. Nor does a stored row need its
//! encoding.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, AsArray, PrimitiveArray, UInt64Array, downcast_primitive,
    make_array,
};
use arrow::compute::take;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};

use super::{Error, Result};

/// Fixed: a table's shards are the same in each run, and so is what a test sees. (Whoever chooses keys so that they
/// collide slows down his own table: chains grow, nothing else.)
const SEED: u64 = 0x0be1_7ede_7e00_0001;

/// One hash a row, by which equal keys are equal. At least one column.
pub(crate) fn hashes(columns: &[ArrayRef]) -> Result<Vec<u32>> {
    let rows = columns.first().map_or(0, |column| column.len());
    let mut hashes = vec![0; rows];
    let canonical: Vec<ArrayRef>;
    let columns = match columns.iter().any(|column| has_floats(column.data_type())) {
        false => columns,
        true => {
            canonical = columns.iter().map(canonical_floats).collect();
            &canonical
        }
    };
    create_hashes(columns, &QualityRandomState::with_seed(SEED), &mut hashes)
        .map_err(|_| Error::Shape("a key has a type that cannot be hashed".into()))?;
    Ok(hashes.into_iter().map(|hash| (hash >> 32) as u32).collect())
}

fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        data_type if data_type.is_floating() => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _)
        | DataType::RunEndEncoded(_, field) => has_floats(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        DataType::Union(fields, _) => fields
            .iter()
            .any(|(_, field)| has_floats(field.data_type())),
        DataType::Dictionary(_, values) => has_floats(values),
        _ => false,
    }
}

/// The array with one zero and one NaN, however deep its floats are.
pub(crate) fn canonical_floats(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float16 => {
            let zero = half_zero();
            Arc::new(
                array
                    .as_primitive::<Float16Type>()
                    .unary::<_, Float16Type>(|x| {
                        if x.is_nan() {
                            half_nan()
                        } else if x == zero {
                            zero
                        } else {
                            x
                        }
                    }),
            )
        }
        DataType::Float32 => Arc::new(
            (array.as_primitive::<Float32Type>())
                .unary::<_, Float32Type>(|x| if x.is_nan() { f32::NAN } else { x + 0.0 }),
        ),
        DataType::Float64 => Arc::new(
            (array.as_primitive::<Float64Type>())
                .unary::<_, Float64Type>(|x| if x.is_nan() { f64::NAN } else { x + 0.0 }),
        ),
        nested if has_floats(nested) => {
            let data = array.to_data();
            let children = data.child_data().iter();
            let children =
                children.map(|child| canonical_floats(&make_array(child.clone())).to_data());
            let children = children.collect();
            match data.into_builder().child_data(children).build() {
                Ok(data) => make_array(data),
                Err(_) => array.clone(),
            }
        }
        _ => array.clone(),
    }
}

fn half_zero() -> <Float16Type as ArrowPrimitiveType>::Native {
    Default::default()
}

fn half_nan() -> <Float16Type as ArrowPrimitiveType>::Native {
    <<Float16Type as ArrowPrimitiveType>::Native>::NAN
}

/// Which notion of equality: see the front page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Same {
    /// One zero, one NaN.
    Key,
    /// Bit by bit.
    Row,
}

/// Whether row `i` of the one is row `j` of the other. NULL is NULL.
pub(crate) fn rows_equal(a: &[ArrayRef], i: usize, b: &[ArrayRef], j: usize, same: Same) -> bool {
    a.iter().zip(b).all(|(a, b)| equal(a, i, b, j, same))
}

/// Whether two values are one as a key.
pub(crate) fn equal_keys(a: &ArrayRef, i: usize, b: &ArrayRef, j: usize) -> bool {
    equal(a, i, b, j, Same::Key)
}

/// Whether value `i` of the one is value `j` of the other, both of one type.
pub(crate) fn equal(a: &ArrayRef, i: usize, b: &ArrayRef, j: usize, same: Same) -> bool {
    match (a.is_null(i), b.is_null(j)) {
        (false, false) => {}
        (left, right) => return left == right,
    }
    macro_rules! primitive {
        ($t:ty) => {
            value::<$t>(a, i).is_eq(value::<$t>(b, j))
        };
    }
    macro_rules! text {
        ($as:ident) => {
            a.$as().value(i) == b.$as().value(j)
        };
        ($as:ident, $o:ty) => {
            a.$as::<$o>().value(i) == b.$as::<$o>().value(j)
        };
    }
    let data_type = a.data_type();
    if same == Same::Key && data_type.is_floating() {
        return floats_equal(a, i, b, j);
    }
    downcast_primitive! {
        data_type => (primitive),
        DataType::Boolean => text!(as_boolean),
        DataType::Utf8 => text!(as_string, i32),
        DataType::LargeUtf8 => text!(as_string, i64),
        DataType::Utf8View => text!(as_string_view),
        DataType::Binary => text!(as_binary, i32),
        DataType::LargeBinary => text!(as_binary, i64),
        DataType::BinaryView => text!(as_binary_view),
        DataType::FixedSizeBinary(_) => text!(as_fixed_size_binary),
        _ => nested_equal(a, i, b, j, same)
    }
}

fn value<T: ArrowPrimitiveType>(array: &dyn Array, i: usize) -> T::Native {
    let array: &PrimitiveArray<T> = array.as_primitive();
    array.value(i)
}

fn floats_equal(a: &ArrayRef, i: usize, b: &ArrayRef, j: usize) -> bool {
    match a.data_type() {
        DataType::Float64 => {
            let (a, b) = (value::<Float64Type>(a, i), value::<Float64Type>(b, j));
            a == b || a.is_nan() && b.is_nan()
        }
        DataType::Float32 => {
            let (a, b) = (value::<Float32Type>(a, i), value::<Float32Type>(b, j));
            a == b || a.is_nan() && b.is_nan()
        }
        _ => {
            let (a, b) = (value::<Float16Type>(a, i), value::<Float16Type>(b, j));
            a == b || a.is_nan() && b.is_nan()
        }
    }
}

/// Many values of one column in several arrays, and those they are compared with.
pub(super) struct Pairs<'a> {
    pub(super) ours: &'a [&'a ArrayRef],
    /// Which of ours, and the row there.
    pub(super) at: &'a [(usize, usize)],
    pub(super) theirs: &'a ArrayRef,
    pub(super) rows: &'a [u32],
}

impl Pairs<'_> {
    /// What [`equal`] says of each, or false as before. A type is looked up once for all.
    pub(super) fn compare(&self, same: Same, equals: &mut [bool]) {
        macro_rules! primitive {
            ($t:ty) => {
                self.each(
                    equals,
                    |a| a.as_primitive::<$t>(),
                    |a, i, b, j| a.value(i).is_eq(b.value(j)),
                )
            };
        }
        macro_rules! text {
            ($($as:tt)+) => {
                self.each(equals, |a| a.$($as)+(), |a, i, b, j| a.value(i) == b.value(j))
            };
        }
        let data_type = self.theirs.data_type();
        if same == Same::Key && has_floats(data_type) {
            return self.each(equals, |a| a, |a, i, b, j| equal(a, i, b, j, same));
        }
        downcast_primitive! {
            data_type => (primitive),
            DataType::Boolean => text!(as_boolean),
            DataType::Utf8 => text!(as_string::<i32>),
            DataType::LargeUtf8 => text!(as_string::<i64>),
            DataType::Utf8View => text!(as_string_view),
            DataType::Binary => text!(as_binary::<i32>),
            DataType::LargeBinary => text!(as_binary::<i64>),
            DataType::BinaryView => text!(as_binary_view),
            _ => self.each(equals, |a| a, |a, i, b, j| equal(a, i, b, j, same))
        }
    }

    fn each<'a, A: Array + 'a>(
        &'a self,
        equals: &mut [bool],
        of: impl Fn(&'a ArrayRef) -> &'a A,
        is_equal: impl Fn(&A, usize, &A, usize) -> bool,
    ) {
        let ours: Vec<&A> = self.ours.iter().map(|array| of(array)).collect();
        let theirs = of(self.theirs);
        for ((equals, &(array, i)), &j) in equals.iter_mut().zip(self.at).zip(self.rows) {
            let (ours, j) = (ours[array], j as usize);
            *equals &= match (ours.is_null(i), theirs.is_null(j)) {
                (false, false) => is_equal(ours, i, theirs, j),
                (left, right) => left == right,
            };
        }
    }
}

/// Lists, structs, dictionaries: rare as keys, so a slice of each is good enough.
fn nested_equal(a: &ArrayRef, i: usize, b: &ArrayRef, j: usize, same: Same) -> bool {
    if same == Same::Row || !has_floats(a.data_type()) {
        return a.slice(i, 1).to_data() == b.slice(j, 1).to_data();
    }
    // Taken, since a slice has all values of its array below it.
    let one = |array: &ArrayRef, i: usize| {
        let row = take(array, &UInt64Array::from(vec![i as u64]), None)?;
        Ok::<_, ArrowError>(canonical_floats(&row).to_data())
    };
    matches!((one(a, i), one(b, j)), (Ok(a), Ok(b)) if a == b)
}

//! The values of a group in their order.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;

use super::group::allocated;

/// Entries of a tree's node, most of the time, and what it takes: there is room for eleven.
const ENTRIES: usize = 7;
const NODE: usize = 11 * size_of::<(Box<[u8]>, i64)>() + 24;

/// An ordered multiset: values as arrow-row encodes them, which is in their order, and how often each is there. The
/// first, the last, and whether a value is there at all are found in logarithmic time, also after a value has gone.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// None is zero. One is below it in passing, as the pieces of an epoch come in any order.
    weights: BTreeMap<Box<[u8]>, i64>,
    /// How many are below zero.
    owed: usize,
    key_bytes: usize,
}

impl Values {
    /// As often as `weight` says. Gives 1 if the value was not there before, -1 if it is not there any more.
    pub(super) fn add(&mut self, value: &[u8], weight: i64) -> i64 {
        let Some(sum) = self.weights.get_mut(value) else {
            if weight == 0 {
                return 0;
            }
            self.weights.insert(value.into(), weight);
            self.owed += usize::from(weight < 0);
            self.key_bytes += allocated(value);
            return 1;
        };
        let was_owed = *sum < 0;
        *sum += weight;
        let sum = *sum;
        self.owed = self.owed + usize::from(sum < 0) - usize::from(was_owed);
        if sum != 0 {
            return 0;
        }
        self.weights.remove(value);
        self.key_bytes -= allocated(value);
        -1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Whether more of a value has gone than was there.
    pub(super) fn is_owed(&self) -> bool {
        self.owed > 0
    }

    pub(super) fn first(&self) -> Option<&[u8]> {
        let (value, _) = self.weights.first_key_value()?;
        Some(value)
    }

    pub(super) fn last(&self) -> Option<&[u8]> {
        let (value, _) = self.weights.last_key_value()?;
        Some(value)
    }

    /// What it has outside of itself. Counted as it changes: values are not looked at.
    pub(super) fn bytes(&self) -> usize {
        self.weights.len().div_ceil(ENTRIES) * NODE + self.key_bytes
    }
}

/// Whether DataFusion has the values of a type in the order of their encodings, and tells as many of them apart.
pub(super) fn is_ordered(data_type: &DataType) -> bool {
    use DataType::*;
    match data_type {
        Dictionary(_, values) => is_ordered(values),
        // Of times of day there are only these.
        Time32(TimeUnit::Second | TimeUnit::Millisecond)
        | Time64(TimeUnit::Microsecond | TimeUnit::Nanosecond) => true,
        Boolean | Float32 | Float64 | Decimal128(_, _) | Decimal256(_, _) => true,
        Date32 | Date64 | Timestamp(_, _) | Duration(_) | Interval(_) => true,
        Utf8 | LargeUtf8 | Utf8View => true,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => true,
        other => other.is_integer(),
    }
}

/// What encodes values of a type.
pub(super) fn converter(data_type: &DataType) -> Result<RowConverter> {
    Ok(RowConverter::new(vec![SortField::new(data_type.clone())])?)
}

/// Encoded values as a column, NULL where there is none.
pub(super) fn decoded<'a>(
    data_type: &DataType,
    values: impl Iterator<Item = Option<&'a [u8]>>,
) -> Result<ArrayRef> {
    let converter = converter(data_type)?;
    let null = converter.convert_columns(&[new_null_array(data_type, 1)])?;
    let null = null.row(0);
    let parser = converter.parser();
    let rows = values.map(|value| value.map_or(null, |value| parser.parse(value)));
    let mut columns = converter.convert_rows(rows)?;
    // Values of dictionaries come back without them.
    Ok(cast(&columns.swap_remove(0), data_type)?)
}

//! What is kept of some floats, and the statistics that are read off it.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, LargeBinaryBuilder, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::{as_large_binary_array, as_uint64_array};
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::logical_expr::utils::format_state_name;

use super::accumulator::ExactSum;

/// How many floats there are, their sum, and, if two are kept, the sum of their squares.
#[derive(Debug, Clone)]
pub(super) struct Moments<const SUMS: usize> {
    count: u64,
    sums: [ExactSum; SUMS],
}

impl<const SUMS: usize> Default for Moments<SUMS> {
    fn default() -> Self {
        Self {
            count: 0,
            sums: std::array::from_fn(|_| ExactSum::default()),
        }
    }
}

impl<const SUMS: usize> Moments<SUMS> {
    /// Like all that add, it returns by how many bytes the heap grew.
    #[inline]
    pub(super) fn add(&mut self, x: f64) -> usize {
        // In a change what goes may come before what it is taken from.
        self.count = self.count.wrapping_add(1);
        let mut grown = self.sums[0].add(x);
        for squares in &mut self.sums[1..] {
            grown += squares.add_square(x);
        }
        grown
    }

    #[inline]
    pub(super) fn subtract(&mut self, x: f64) -> usize {
        self.count = self.count.wrapping_sub(1);
        let mut grown = self.sums[0].subtract(x);
        for squares in &mut self.sums[1..] {
            grown += squares.subtract_square(x);
        }
        grown
    }

    pub(super) fn merge(&mut self, other: &Self) -> usize {
        self.count += other.count;
        let sums = self.sums.iter_mut().zip(&other.sums);
        sums.map(|(sum, other)| sum.merge(other)).sum()
    }

    /// Bytes on the heap.
    pub(super) fn size(&self) -> usize {
        self.sums.iter().map(ExactSum::size).sum()
    }
}

/// What a function answers. Without a float, and for a sample's variance without two, it is NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Statistic {
    Sum,
    /// The sum, rounded, by the count.
    Mean,
    /// (Σx² − (Σx)² / n) by n, or n − 1 of a sample; rounded once.
    Variance {
        sample: bool,
    },
    /// The root of the variance, rounded.
    Deviation {
        sample: bool,
    },
}

impl Statistic {
    pub(super) fn has_squares(self) -> bool {
        matches!(self, Self::Variance { .. } | Self::Deviation { .. })
    }

    pub(super) fn of<const SUMS: usize>(self, moments: &Moments<SUMS>) -> Option<f64> {
        let Moments { count, sums } = moments;
        let divisor = match self {
            Self::Variance { sample: true } | Self::Deviation { sample: true } => {
                count.saturating_sub(1)
            }
            _ => *count,
        };
        if divisor == 0 {
            return None;
        }
        let variance = || sums[0].variance(&sums[SUMS - 1], *count, divisor);
        Some(match self {
            Self::Sum => sums[0].sum(),
            Self::Mean => sums[0].sum() / divisor as f64,
            Self::Variance { .. } => variance(),
            Self::Deviation { .. } => variance().sqrt(),
        })
    }
}

/// The columns of [`States`].
pub(super) fn state_fields(name: &str, has_squares: bool) -> Vec<FieldRef> {
    let field = |part, data_type| {
        let name = format_state_name(name, part);
        Arc::new(Field::new(name, data_type, true))
    };
    let mut fields = vec![
        field("count", DataType::UInt64),
        field("sum", DataType::LargeBinary),
    ];
    if has_squares {
        fields.push(field("squares", DataType::LargeBinary));
    }
    fields
}

/// Moments as columns: the count, and the bytes of each sum. In a batch of many groups they are more than 2^31.
pub(super) struct States<const SUMS: usize> {
    counts: Vec<u64>,
    sums: [LargeBinaryBuilder; SUMS],
    bytes: Vec<u8>,
}

impl<const SUMS: usize> States<SUMS> {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            counts: Vec::with_capacity(rows),
            sums: std::array::from_fn(|_| LargeBinaryBuilder::with_capacity(rows, 16 * rows)),
            bytes: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, moments: &Moments<SUMS>) {
        self.counts.push(moments.count);
        for (column, sum) in self.sums.iter_mut().zip(&moments.sums) {
            self.bytes.clear();
            sum.encode(&mut self.bytes);
            column.append_value(&self.bytes);
        }
    }

    pub(super) fn finish(self) -> Vec<ArrayRef> {
        let counts: ArrayRef = Arc::new(UInt64Array::from(self.counts));
        let sums = self.sums.into_iter();
        let sums = sums.map(|mut sum| Arc::new(sum.finish()) as ArrayRef);
        std::iter::once(counts).chain(sums).collect()
    }
}

/// Hand over the moments of each row of [`States`], with the row's number.
pub(super) fn each_state<const SUMS: usize>(
    states: &[ArrayRef],
    mut f: impl FnMut(usize, Moments<SUMS>),
) -> Result<()> {
    let (counts, sums) = states.split_first().ok_or_else(damaged)?;
    let counts = as_uint64_array(counts)?;
    let sums: Vec<_> =
        (sums.iter().map(|sum| as_large_binary_array(sum))).collect::<Result<_>>()?;
    let sums: [_; SUMS] = sums.try_into().map_err(|_| damaged())?;
    for row in 0..counts.len() {
        let mut moments = Moments {
            count: counts.value(row),
            ..Moments::default()
        };
        for (sum, column) in moments.sums.iter_mut().zip(sums) {
            *sum = ExactSum::decode(column.value(row)).ok_or_else(damaged)?;
        }
        f(row, moments);
    }
    Ok(())
}

fn damaged() -> DataFusionError {
    internal_datafusion_err!("the state of a sum cannot be read")
}

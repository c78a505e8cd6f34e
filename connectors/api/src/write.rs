//! What changes in one table, as one transaction of its source.

use std::fmt;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, SchemaRef,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::record_batch::RecordBatch;

use crate::error::{Code, Error, Result};
use crate::expr::{BinaryOp, Expr, ExprKind, Literal};
use crate::fragment::TableRef;
use crate::position::Position;
use crate::source::BatchStream;

/// One statement's changes to one table: all of them, or none.
pub struct Write {
    pub table: TableRef,
    /// All columns of [`Table::arrow_schema`](crate::Table::arrow_schema): those below are named by their index in it.
    pub schema: SchemaRef,
    pub edit: Edit,
    /// Until when it has to be sent; what has not been by then is not done.
    pub deadline: Option<Instant>,
}

/// What is done.
pub enum Edit {
    /// Rows that come: a value for each of these columns. Others have their defaults.
    Insert {
        columns: Vec<usize>,
        rows: BatchStream,
    },
    /// Rows for which all predicates are true get what is computed of them as they were.
    ///
    /// Asked for only where the source has the engine's answer: each predicate is [exact](crate::Support::Exact), and so
    /// is what [`Capabilities::stores`](crate::Capabilities::stores) says of the values.
    Update {
        assignments: Vec<(usize, Expr)>,
        predicates: Vec<Expr>,
    },
    /// Rows for which all predicates are true go.
    Delete { predicates: Vec<Expr> },
    /// Rows that the engine has found and computed, one by one, each by its primary key.
    Each(Each),
}

/// Rows by key. A row that is not as it was found ends it with [`Code::Conflict`], and nothing is done.
pub struct Each {
    /// Columns that get other values; none: the row goes.
    pub assigned: Vec<usize>,
    /// Columns that tell the row: its key, and what the engine has computed with.
    pub known: Vec<usize>,
    /// For each row the new values of `assigned`, then the old ones of `known`.
    pub rows: BatchStream,
}

impl Error {
    /// A row is not as it was found.
    pub fn row_changed() -> Self {
        let message = "a row has been changed or removed by somebody else since it was read";
        Self::new(Code::Conflict, message).help("Nothing was written: try again")
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    pub rows: u64,
    /// A place in the source's log behind the transaction: who has read up to it has read the change. None: it has no log, or is
    /// not followed by it.
    pub position: Option<Position>,
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.edit {
            Edit::Insert { .. } => "Insert",
            Edit::Update { .. } => "Update",
            Edit::Delete { .. } => "Delete",
            Edit::Each(_) => "Each",
        };
        write!(f, "{what} {}", self.table)
    }
}

impl Each {
    /// What is true of the row alone that a row of [`Each::rows`] names.
    ///
    /// # Errors
    /// If a value has no form as a constant.
    pub fn predicates(
        &self,
        schema: &SchemaRef,
        rows: &RecordBatch,
        row: usize,
    ) -> Result<Vec<Expr>> {
        let known = self.known.iter().enumerate();
        let same = known.map(|(i, column)| {
            let field = schema.field(*column);
            let old = constant(rows.column(self.assigned.len() + i), row)
                .map_err(|e| e.at_column(field.name()))?;
            Ok(is_still(field.data_type(), *column, old))
        });
        same.collect()
    }
}

/// A predicate: the column has this value, or both are NULL.
pub fn is_still(data_type: &DataType, column: usize, old: Literal) -> Expr {
    let boxed = |expr| Box::new(expr);
    // For NULL another form is known of every source.
    let kind = match old {
        Literal::Null => ExprKind::Unary {
            op: crate::expr::UnaryOp::IsNull,
            arg: boxed(Expr::column(column, data_type.clone(), true)),
        },
        old => ExprKind::Binary {
            op: BinaryOp::Eq,
            left: boxed(Expr::column(column, data_type.clone(), true)),
            right: boxed(Expr::literal(old, data_type.clone())),
        },
    };
    Expr {
        kind,
        data_type: DataType::Boolean,
        nullable: true,
    }
}

/// A value of a column that a source reads, as a constant. A decimal of more than 38 digits is its text.
///
/// # Errors
/// If there is no such constant.
pub fn constant(column: &ArrayRef, row: usize) -> Result<Literal> {
    if column.is_null(row) {
        return Ok(Literal::Null);
    }
    macro_rules! of {
        ($type:ty, $literal:ident) => {
            Literal::$literal(column.as_primitive::<$type>().value(row).into())
        };
    }
    Ok(match column.data_type() {
        DataType::Null => Literal::Null,
        DataType::Boolean => Literal::Boolean(column.as_boolean().value(row)),
        DataType::Int8 => of!(Int8Type, Int),
        DataType::Int16 => of!(Int16Type, Int),
        DataType::Int32 => of!(Int32Type, Int),
        DataType::Int64 => of!(Int64Type, Int),
        DataType::UInt8 => of!(UInt8Type, UInt),
        DataType::UInt16 => of!(UInt16Type, UInt),
        DataType::UInt32 => of!(UInt32Type, UInt),
        DataType::UInt64 => of!(UInt64Type, UInt),
        DataType::Float32 => of!(Float32Type, Float),
        DataType::Float64 => of!(Float64Type, Float),
        DataType::Decimal128(..) => of!(Decimal128Type, Decimal),
        DataType::Decimal256(..) => {
            let decimals = column.as_primitive::<Decimal256Type>();
            match decimals.value(row).to_i128() {
                Some(unscaled) => Literal::Decimal(unscaled),
                None => Literal::Text(decimals.value_as_string(row)),
            }
        }
        DataType::Date32 => of!(Date32Type, Int),
        DataType::Time64(TimeUnit::Microsecond) => of!(Time64MicrosecondType, Int),
        DataType::Timestamp(TimeUnit::Microsecond, _) => of!(TimestampMicrosecondType, Int),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let interval = column.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Literal::Interval {
                months: interval.months,
                days: interval.days,
                nanos: interval.nanoseconds,
            }
        }
        DataType::Utf8 => Literal::Text(column.as_string::<i32>().value(row).to_string()),
        DataType::LargeUtf8 => Literal::Text(column.as_string::<i64>().value(row).to_string()),
        DataType::Utf8View => Literal::Text(column.as_string_view().value(row).to_string()),
        DataType::Binary => Literal::Binary(column.as_binary::<i32>().value(row).to_vec()),
        DataType::LargeBinary => Literal::Binary(column.as_binary::<i64>().value(row).to_vec()),
        DataType::BinaryView => Literal::Binary(column.as_binary_view().value(row).to_vec()),
        other => {
            let message = format!("values of type {other} are not written");
            return Err(Error::new(Code::ValueOutOfRange, message));
        }
    })
}

/// A decimal's digits: its unscaled value and its scale.
pub fn decimal_text(unscaled: i128, scale: usize) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    match fraction {
        "" => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_scale() {
        assert_eq!(decimal_text(-5, 2), "-0.05");
        assert_eq!(decimal_text(12345, 2), "123.45");
        assert_eq!(decimal_text(7, 0), "7");
    }
}

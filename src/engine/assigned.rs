//! Values on their way into a column: in its type, if that has them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::kernels::cmp::not_distinct;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::dialect;
use crate::error::Error;
use crate::exact;

/// What is assigned to a column, converted to its type.
///
/// Numbers are rounded to the digits that a decimal has, and to the nearest float. All else that would be lost is an error, which
/// names the column.
pub(super) fn assigned(value: Expr, input: &DFSchema, column: &FieldRef) -> Result<Expr> {
    let name = column.name().clone();
    refuse_arrays(&value, input, column)?;
    let value = match value.unalias() {
        Expr::Cast(cast) if cast.field.data_type() == column.data_type() => {
            let from = cast.expr.get_type(input)?;
            match is_constant(&cast.expr) || !is_kept(&from, column.data_type()) {
                true if !hangs_on_zone(column.data_type()) => {
                    let assigned = Assigned {
                        column: name.clone(),
                        to: column.data_type().clone(),
                        signature: Signature::any(1, Volatility::Immutable),
                    };
                    ScalarUDF::from(assigned).call(vec![*cast.expr])
                }
                _ => Expr::Cast(cast),
            }
        }
        value => value,
    };
    Ok(value.alias(name))
}

fn refuse_arrays(value: &Expr, input: &DFSchema, column: &FieldRef) -> Result<()> {
    let given = match value.clone().unalias() {
        Expr::Cast(cast) => cast.expr.get_type(input)?,
        value => value.get_type(input)?,
    };
    let is_array = |data_type: &DataType| {
        use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView};
        matches!(
            data_type,
            List(_) | LargeList(_) | FixedSizeList(..) | ListView(_) | LargeListView(_)
        )
    };
    let to = column.data_type();
    // Into a column of text goes the text of one.
    if given.is_null() || (!is_array(to) && (!is_array(&given) || to.is_string())) {
        return Ok(());
    }
    let refused = Error::NotWritable {
        message: format!(
            "column {} cannot be given a value: arrays are not written",
            column.name()
        ),
        help: "Leave the column out".to_string(),
        sqlstate: "0A000",
    };
    Err(refused.into())
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Negative(inner) => is_constant(inner),
        Expr::Cast(cast) => is_constant(&cast.expr),
        // A parameter in the type of its value.
        Expr::ScalarFunction(call) => {
            call.name() == "arrow_cast" && matches!(call.args.first(), Some(Expr::Placeholder(_)))
        }
        _ => false,
    }
}

/// A text or a time without a zone is taken for one of the session's.
fn hangs_on_zone(to: &DataType) -> bool {
    matches!(to, DataType::Timestamp(_, Some(_)))
}

/// Whether a cast loses nothing, or fails, or rounds a number as it may be rounded.
fn is_kept(from: &DataType, to: &DataType) -> bool {
    let is_number = |t: &DataType| t.is_integer() || t.is_floating() || t.is_decimal();
    from.is_null()
        || (from.is_integer() && to.is_integer())
        || (from.is_string() && to.is_string())
        || (is_number(from) && (to.is_floating() || to.is_decimal()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Assigned {
    column: String,
    to: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Assigned {
    fn name(&self) -> &str {
        "assigned"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = matches!(args.args[..], [ColumnarValue::Scalar(_)]);
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let value = self.convert(&arrays[0])?;
        match is_scalar {
            true => {
                let value = datafusion::common::ScalarValue::try_from_array(&value, 0)?;
                Ok(ColumnarValue::Scalar(value))
            }
            false => Ok(ColumnarValue::Array(value)),
        }
    }
}

impl Assigned {
    fn convert(&self, value: &ArrayRef) -> Result<ArrayRef> {
        let (from, to) = (value.data_type(), &self.to);
        let exactly = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let misfit = || -> DataFusionError {
            Error::Data {
                message: format!(
                    "a value of type {from} does not fit column {} of type {to}",
                    self.column
                ),
                sqlstate: match from.is_string() {
                    true => "22P02",
                    false => "22003",
                },
            }
            .into()
        };
        if exact::rounds_to_float(from, to) {
            return exact::nearest_floats(value, to);
        }
        let cast = || cast_with_options(value, to, &exactly).ok();
        let converted = match to {
            DataType::Binary if from.is_string() => dialect::read_bytes(value).ok(),
            DataType::Date32 | DataType::Timestamp(_, None) if from.is_string() => {
                cast().or_else(|| dialect::read_times(value, to))
            }
            _ => cast(),
        };
        let converted = converted.ok_or_else(&misfit)?;
        if is_kept(from, to) || from.is_string() || to.is_string() {
            return Ok(converted);
        }
        let back = cast_with_options(&converted, from, &exactly).map_err(|_| misfit())?;
        let same = not_distinct(&back, &Arc::clone(value))?;
        match same.true_count() == value.len() {
            true => Ok(converted),
            false => Err(misfit()),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Field;
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::lit;

    use super::*;

    #[test]
    fn arrays_are_not_written() {
        let column = |data_type| Arc::new(Field::new("tags", data_type, true));
        let list = DataType::new_list(DataType::Int64, true);
        let item = ScalarValue::Int64(Some(1));
        let value = ScalarValue::List(ScalarValue::new_list_nullable(&[item], &DataType::Int64));
        let given = |value, to| assigned(value, &DFSchema::empty(), &column(to));
        let e = Error::from(given(lit(value.clone()), list.clone()).unwrap_err());
        assert_eq!(e.sqlstate(), "0A000");
        assert_eq!(
            e.to_string(),
            "column tags cannot be given a value: arrays are not written. Leave the column out"
        );
        assert!(given(lit(value.clone()), DataType::Int64).is_err());
        assert!(given(lit(value), DataType::Utf8).is_ok());
        assert!(given(lit(ScalarValue::Null), list).is_ok());
    }
}

//! `value = ANY (array)`: where no item is equal and one is NULL, it is not known whether it is in there. DataFusion says that it
//! is not, which shows under a NOT; of a list of constants, and of one that a source is sent, it says right.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// The call of DataFusion's function as one of ours.
pub(super) fn with_unknown(call: ScalarFunction) -> Option<Expr> {
    if call.func.name() != "array_has" || call.func.inner().downcast_ref::<Contains>().is_some() {
        return None;
    }
    let inner = call.func;
    Some(ScalarUDF::from(Contains { inner }).call(call.args))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Contains {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Contains {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let lists = args.args.first().cloned();
        let rows = args.number_rows;
        let found = self.inner.invoke_with_args(args)?;
        let Some(lists) = lists else {
            return Ok(found);
        };
        match (&found, &lists) {
            (ColumnarValue::Scalar(ScalarValue::Boolean(Some(false))), lists) => {
                let unknown = has_null(&lists.to_array(1)?, 0);
                let answer = (!unknown).then_some(false);
                Ok(ColumnarValue::Scalar(ScalarValue::Boolean(answer)))
            }
            (ColumnarValue::Array(found), lists) if found.data_type() == &DataType::Boolean => {
                let lists = lists.to_array(rows)?;
                let found = found.as_boolean().iter().enumerate();
                let answers = found.map(|(row, found)| match found {
                    Some(false) if has_null(&lists, row) => None,
                    found => found,
                });
                Ok(ColumnarValue::Array(Arc::new(
                    answers.collect::<BooleanArray>(),
                )))
            }
            _ => Ok(found.clone()),
        }
    }
}

/// Whether the list of a row has an item that is NULL.
fn has_null(lists: &ArrayRef, row: usize) -> bool {
    let items = match lists.data_type() {
        _ if lists.is_null(row) => return false,
        DataType::List(_) => lists.as_list::<i32>().value(row),
        DataType::LargeList(_) => lists.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => lists.as_fixed_size_list().value(row),
        _ => return false,
    };
    items.logical_null_count() > 0
}

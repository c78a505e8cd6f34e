//! `SELECT … WHERE CAST(at AS DATE) = DATE '2024-03-01' ORDER BY at`: DataFusion follows the range of a condition's value
//! back to the columns it is computed of, and takes a column left with one value for a constant, of which it needs no
//! order. Casts and divisions round, products overflow, and sums of floats swallow: many values give that one. (`CAST`
//! from text to a number, and of a time to its day, and `n / 100 = 0` are the usual ones.)

use std::sync::LazyLock;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::utils::take_function_args;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Filter, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

/// The plan with what conditions compute behind a function through which no range is followed. Runs on the optimized
/// plan: what scans are given to skip files and groups of rows stays as it is.
pub fn unfollowed_ranges(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Filter(filter) = node else {
            return Ok(Transformed::no(node));
        };
        let predicate = filter.predicate.transform_down(|expr| {
            let Expr::BinaryExpr(mut test) = expr else {
                return Ok(Transformed::no(expr));
            };
            // Of what a subquery finds no range is known; a source may be sent it as a bound of what is computed. Nor of what is
            // now, in a view that is kept by change.
            let is_known = |side: &Expr| !side.contains_scalar_subquery() && !reads_clock(side);
            let hides =
                test.op.supports_propagation() && is_known(&test.left) && is_known(&test.right);
            let hides = [&mut test.left, &mut test.right].map(|side| hides && hide(side));
            Ok(Transformed::new_transformed(
                Expr::BinaryExpr(test),
                hides.contains(&true),
            ))
        })?;
        let changed = predicate.transformed;
        let filter = Filter::new(predicate.data, filter.input);
        Ok(Transformed::new_transformed(
            LogicalPlan::Filter(filter),
            changed,
        ))
    })?;
    Ok(plan.data)
}

fn reads_clock(side: &Expr) -> bool {
    let reads = side.exists(|expr| {
        Ok(matches!(expr, Expr::ScalarFunction(call)
            if call.func.signature().volatility == Volatility::Stable))
    });
    reads.unwrap_or(true)
}

fn hide(side: &mut Expr) -> bool {
    use Expr::{BinaryExpr, Cast, Negative, TryCast};
    let is_computed = matches!(side, BinaryExpr(_) | Cast(_) | Negative(_) | TryCast(_));
    if is_computed {
        *side = ScalarUDF::from(Computed).call(vec![std::mem::take(side)]);
    }
    is_computed
}

/// Its argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Computed;

static ANY: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));

impl ScalarUDFImpl for Computed {
    fn name(&self) -> &str {
        "computed"
    }

    fn signature(&self) -> &Signature {
        &ANY
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let [value] = take_function_args(self.name(), arguments)?;
        Ok(value.clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let [value] = take_function_args(self.name(), arguments.arg_fields)?;
        Ok(value.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = take_function_args(self.name(), arguments.args)?;
        Ok(value)
    }
}

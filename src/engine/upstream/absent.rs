//! `coalesce((SELECT name FROM customer WHERE id = 7), 'nobody')`: DataFusion takes the word of the subquery's column that it is never
//! NULL, drops the test, and gives NULL where there is no such row, or fails.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, plan_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Subquery, Volatility,
};

use super::single;
use crate::federation::OR_NULL;

/// The plan with such values as what may be NULL.
pub fn values_that_may_be_absent(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut is_asked = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            is_asked |= expr.exists(|expr| {
                Ok(matches!(expr, Expr::ScalarSubquery(query)
                    if is_taken_for_present(query) || single::is_of_its_rows(query)))
            })?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if !is_asked {
        return Ok(plan);
    }
    let plan = plan.transform_up_with_subqueries(|node| {
        let preserver = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = preserver.save(&expr);
            let expr = expr.transform_up(|expr| match expr {
                Expr::ScalarSubquery(query) if single::is_of_its_rows(&query) => {
                    let query = single::of_all_rows(query)?;
                    Ok(Transformed::yes(Expr::ScalarSubquery(query)))
                }
                Expr::ScalarSubquery(query) if is_taken_for_present(&query) => {
                    Ok(Transformed::yes(Expr::ScalarSubquery(or_null(query)?)))
                }
                expr => Ok(Transformed::no(expr)),
            })?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })?;
        // What is above it has its columns.
        Ok(Transformed::yes(node.data.recompute_schema()?))
    })?;
    Ok(plan.data)
}

fn is_taken_for_present(query: &Subquery) -> bool {
    let mut fields = query.subquery.schema().fields().iter();
    fields.next().is_some_and(|field| !field.is_nullable()) && !single::has_a_row(&query.subquery)
}

fn or_null(query: Subquery) -> Result<Subquery> {
    let (qualifier, field) = query.subquery.schema().qualified_field(0);
    let value = Expr::Column(Column::from((qualifier, field)));
    // By its own name, it stands beside columns that are read of the outer row.
    let value = FUNCTION.call(vec![value]);
    let plan = LogicalPlanBuilder::from(query.subquery.clone()).project([value])?;
    Ok(Subquery {
        subquery: Arc::new(plan.build()?),
        ..query
    })
}

static FUNCTION: LazyLock<ScalarUDF> = LazyLock::new(|| ScalarUDF::from(OrNull));

/// What it is given, which may be NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OrNull;

static ONE: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));

impl ScalarUDFImpl for OrNull {
    fn name(&self) -> &str {
        OR_NULL
    }

    fn signature(&self) -> &Signature {
        &ONE
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [of] => Ok(of.clone()),
            _ => plan_err!("{OR_NULL} is of one value"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match <[ColumnarValue; 1]>::try_from(arguments.args) {
            Ok([value]) => Ok(value),
            Err(_) => plan_err!("{OR_NULL} is of one value"),
        }
    }
}

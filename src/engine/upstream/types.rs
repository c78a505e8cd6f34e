//! `SELECT 1 UNION SELECT 2.5`, `CASE … THEN 1 ELSE 2.5 END`: until a plan is analyzed, its columns are said to be of the type of the
//! first part, or branch; and what is computed of unsigned numbers is said to be of theirs. Whoever prepares the statement, or makes a view of it, would be told so.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

use super::outer;

/// The plan with the types that its columns will have.
pub fn common_types(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let mut is_mixed = false;
    plan.apply_with_subqueries(|node| {
        let is_unsigned = |field: &Arc<Field>| field.data_type() == &DataType::UInt64;
        is_mixed |=
            matches!(node, LogicalPlan::Union(_)) || node.schema().fields().iter().any(is_unsigned);
        node.apply_expressions(|expr| {
            is_mixed |= expr.exists(|expr| Ok(matches!(expr, Expr::Case(_))))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(match is_mixed {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    if !is_mixed {
        return Ok(plan);
    }
    let typed = outer::outer_types(plan.clone(), state)?;
    // What has no common type is refused when it is run, in the words of that.
    let Ok(typed) = TypeCoercion::new().analyze(typed, state.config_options()) else {
        return Ok(plan);
    };
    let types = |plan: &LogicalPlan| {
        let fields = plan.schema().fields().iter();
        fields.map(|f| f.data_type().clone()).collect::<Vec<_>>()
    };
    Ok(match types(&typed) == types(&plan) {
        true => plan,
        false => typed,
    })
}

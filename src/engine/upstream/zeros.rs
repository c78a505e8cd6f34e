//! `0.0 = -0.0` holds, but `0.0 IN (-0.0, 1, 2, 3)`, `CASE 0.0 WHEN -0.0` and `nullif(0.0, -0.0)` compare bits.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Case, Expr, ExprSchemable, LogicalPlan, when};

/// The plan with one zero in the places that would tell two.
pub fn one_zero(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_down_with_subqueries(|node| {
        let mut found = false;
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(may_compare_bits(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !found {
            return Ok(Transformed::no(node));
        }
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| rewritten(expr, &schema))?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(plan.data)
}

/// Whether [`rewritten`] may have something to do, without knowing types.
fn may_compare_bits(expr: &Expr) -> bool {
    match expr {
        Expr::InList(_) => true,
        Expr::Case(case) => case.expr.is_some(),
        Expr::ScalarFunction(call) => call.name() == "nullif",
        _ => false,
    }
}

fn rewritten(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_float = |expr: &Expr| expr.get_type(schema).is_ok_and(|t| t.is_floating());
    Ok(match expr {
        Expr::InList(mut list) if is_float(&list.expr) => {
            *list.expr = positive(*list.expr, schema)?;
            let items = list.list.into_iter().map(|item| positive(item, schema));
            list.list = items.collect::<Result<_>>()?;
            Transformed::yes(Expr::InList(list))
        }
        Expr::Case(Case {
            expr: Some(base),
            when_then_expr,
            else_expr,
        }) if is_float(&base) => {
            let cases = when_then_expr
                .into_iter()
                .map(|(when, then)| Ok((Box::new(positive(*when, schema)?), then)))
                .collect::<Result<_>>()?;
            let base = Box::new(positive(*base, schema)?);
            Transformed::yes(Expr::Case(Case::new(Some(base), cases, else_expr)))
        }
        Expr::ScalarFunction(call) if call.name() == "nullif" && call.args.iter().any(is_float) => {
            let value = call.args[0].clone();
            let null = Expr::Literal(ScalarValue::try_from(&value.get_type(schema)?)?, None);
            let equal = value.clone().eq(call.args[1].clone());
            Transformed::yes(when(equal, null).otherwise(value)?)
        }
        other => Transformed::no(other),
    })
}

/// The same number, but for -0.0.
fn positive(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let zero = match (&expr, expr.get_type(schema)?) {
        (Expr::Literal(ScalarValue::Float32(Some(v)), _), _) => return Ok(literal(*v + 0.0)),
        (Expr::Literal(ScalarValue::Float64(Some(v)), _), _) => return Ok(literal(*v + 0.0)),
        (_, DataType::Float32) => literal(0f32),
        (_, DataType::Float64) => literal(0f64),
        _ => return Ok(expr),
    };
    Ok(expr + zero)
}

fn literal(value: impl Into<ScalarValue>) -> Expr {
    Expr::Literal(value.into(), None)
}

//! `0.0 = -0.0` holds, but `0.0 IN (-0.0, 1, 2, 3)`, `CASE 0.0 WHEN -0.0` and `nullif(0.0, -0.0)` compare bits, as
//! partitions of windows and some kinds of groups do; in others the zero that comes first stands for both, which depends on the order of rows, and
//! `SELECT DISTINCT x … ORDER BY x LIMIT 3` panics.

use std::sync::LazyLock;

use datafusion::arrow::compute::kernels::numeric::add_wrapping;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeContainer, TreeNodeRecursion};
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, Case, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, when,
};
use datafusion::physical_expr_common::datum::apply;

/// The plan with one zero in the places that would tell two.
pub fn one_zero(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_down_with_subqueries(|node| {
        one_zero_in_groups(node)?.transform_data(one_zero_in_comparisons)
    })?;
    Ok(plan.data)
}

fn one_zero_in_comparisons(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
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
}

/// The node with one zero in what it groups by.
fn one_zero_in_groups(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = node else {
        return Ok(Transformed::no(node));
    };
    let schema = aggregate.input.schema();
    let key = |expr: Expr| {
        if !is_float(&expr, schema) {
            return Ok(Transformed::no(expr));
        }
        let (qualifier, name) = expr.qualified_name();
        let expr = positive(expr, schema);
        Ok(Transformed::yes(expr.alias_qualified(qualifier, name)))
    };
    let groups = aggregate
        .group_expr
        .clone()
        .map_elements(|expr| match expr {
            Expr::GroupingSet(_) => expr.map_children(key),
            expr => key(expr),
        })?;
    if !groups.transformed {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let aggregate = Aggregate::try_new(aggregate.input, groups.data, aggregate.aggr_expr)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
}

/// Whether [`rewritten`] may have something to do, without knowing types.
fn may_compare_bits(expr: &Expr) -> bool {
    match expr {
        Expr::InList(_) => true,
        Expr::Case(case) => case.expr.is_some(),
        Expr::ScalarFunction(call) => call.name() == "nullif",
        Expr::WindowFunction(window) => !window.params.partition_by.is_empty(),
        _ => false,
    }
}

fn rewritten(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::InList(mut list) if is_float(&list.expr, schema) => {
            *list.expr = positive(*list.expr, schema);
            let items = list.list.into_iter().map(|item| positive(item, schema));
            list.list = items.collect();
            Transformed::yes(Expr::InList(list))
        }
        Expr::Case(Case {
            expr: Some(base),
            when_then_expr,
            else_expr,
        }) if is_float(&base, schema) => {
            let cases = when_then_expr
                .into_iter()
                .map(|(when, then)| (Box::new(positive(*when, schema)), then))
                .collect();
            let base = Box::new(positive(*base, schema));
            Transformed::yes(Expr::Case(Case::new(Some(base), cases, else_expr)))
        }
        Expr::ScalarFunction(call)
            if call.name() == "nullif" && call.args.iter().any(|arg| is_float(arg, schema)) =>
        {
            let value = call.args[0].clone();
            let null = Expr::Literal(ScalarValue::try_from(&value.get_type(schema)?)?, None);
            let equal = value.clone().eq(call.args[1].clone());
            Transformed::yes(when(equal, null).otherwise(value)?)
        }
        Expr::WindowFunction(mut window) => {
            let keys = window.params.partition_by.into_iter();
            window.params.partition_by = keys.map(|key| positive(key, schema)).collect();
            Transformed::yes(Expr::WindowFunction(window))
        }
        other => Transformed::no(other),
    })
}

fn is_float(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|t| t.is_floating())
}

/// The same number, but for -0.0.
fn positive(expr: Expr, schema: &DFSchema) -> Expr {
    static POSITIVE: LazyLock<ScalarUDF> = LazyLock::new(|| ScalarUDF::from(Positive));
    match expr {
        Expr::Literal(ScalarValue::Float32(Some(v)), m) => {
            Expr::Literal(ScalarValue::Float32(Some(v + 0.0)), m)
        }
        Expr::Literal(ScalarValue::Float64(Some(v)), m) => {
            Expr::Literal(ScalarValue::Float64(Some(v + 0.0)), m)
        }
        expr if is_float(&expr, schema) => POSITIVE.call(vec![expr]),
        expr => expr,
    }
}

/// A function, so that a column stays what is known of its field.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Positive;

static ANY: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));

impl ScalarUDFImpl for Positive {
    fn name(&self) -> &str {
        "positive"
    }

    fn signature(&self) -> &Signature {
        &ANY
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let [number] = take_function_args(self.name(), arguments)?;
        Ok(number.clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let [number] = take_function_args(self.name(), arguments.arg_fields)?;
        Ok(number.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [number] = take_function_args(self.name(), arguments.args)?;
        let zero = ScalarValue::new_zero(&number.data_type())?;
        apply(&number, &ColumnarValue::Scalar(zero), add_wrapping)
    }
}

//! `SELECT EXISTS (SELECT …)`, `sum(CASE WHEN x IN (SELECT …) …)`: DataFusion makes joins of such tests in conditions
//! alone, and has no plan for them elsewhere; nor for the value of a correlated subquery in an aggregate, say.

use std::sync::LazyLock;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, exec_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Filter, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::LogicalRule;

/// The plan with what aggregates, windows and sorts ask of subqueries as columns of a projection below them.
pub fn projected_subqueries(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_) => {
            projected(node)
        }
        node => Ok(Transformed::no(node)),
    })?;
    Ok(plan.data)
}

fn projected(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let asked = found(&node, |expr| {
        let is_correlated =
            matches!(expr, Expr::ScalarSubquery(query) if !query.outer_ref_columns.is_empty());
        is_correlated || is_test(expr)
    })?;
    let [input] = node.inputs()[..] else {
        return Ok(Transformed::no(node));
    };
    if asked.is_empty() {
        return Ok(Transformed::no(node));
    }
    let is_free = |name: &String| !input.schema().has_column_with_unqualified_name(name);
    let names = (0..).map(|i| format!("asked {i}")).filter(is_free);
    let names: Vec<_> = names.take(asked.len()).collect();
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let asked_too = asked.iter().zip(&names);
    let asked_too = asked_too.map(|(expr, name)| expr.clone().alias(name));
    let below = Projection::try_new(columns.chain(asked_too).collect(), input.clone().into())?;
    let values: Vec<_> = names.into_iter().map(Column::new_unqualified).collect();
    let values: Vec<_> = values.into_iter().map(Expr::Column).collect();
    let below = LogicalPlan::Projection(below);
    replaced(node, &asked, &values, below).map(Transformed::yes)
}

/// The node over another input, which has more columns, with these expressions in place of others.
fn replaced(
    node: LogicalPlan,
    from: &[Expr],
    to: &[Expr],
    input: LogicalPlan,
) -> Result<LogicalPlan> {
    let names = match node {
        // A window's column is named after its expression.
        LogicalPlan::Window(_) => NamePreserver::new_for_projection(),
        _ => NamePreserver::new(&node),
    };
    let columns = node.schema().columns();
    let exprs = node.expressions().into_iter().map(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_down(|expr| {
            let Some(at) = from.iter().position(|from| *from == expr) else {
                return Ok(Transformed::no(expr));
            };
            let expr = to[at].clone();
            Ok(Transformed::new(expr, true, TreeNodeRecursion::Jump))
        })?;
        Ok(name.restore(expr.data))
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    let plan = node.with_new_exprs(exprs, vec![input])?;
    if plan.schema().fields().len() == columns.len() {
        return Ok(plan);
    }
    // It hands on all that its input has.
    let columns = columns.into_iter().map(Expr::Column).collect();
    let projection = Projection::try_new(columns, plan.into())?;
    Ok(LogicalPlan::Projection(projection))
}

/// Lets the rule for conditions find the joins' marks for what a projection tests.
#[derive(Debug)]
pub struct Marks {
    /// DataFusion's rule for conditions.
    pub conditions: LogicalRule,
}

impl OptimizerRule for Marks {
    fn name(&self) -> &str {
        "marks"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let inner =
            plan.map_subqueries(|query| query.transform_down(|node| self.rewrite(node, config)))?;
        inner.transform_data(|node| match node {
            LogicalPlan::Projection(_) => self.marked(node, config),
            node => Ok(Transformed::no(node)),
        })
    }
}

impl Marks {
    fn marked(
        &self,
        node: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let tests = found(&node, is_test)?;
        let [input] = node.inputs()[..] else {
            return Ok(Transformed::no(node));
        };
        if tests.is_empty() {
            return Ok(Transformed::no(node));
        }
        let condition = ScalarUDF::from(AllOf).call(tests.clone());
        let filter = Filter::try_new(condition, input.clone().into())?;
        let joined = self
            .conditions
            .rewrite(LogicalPlan::Filter(filter), config)?;
        let Some((marks, joins)) = parts(joined.data) else {
            return Ok(Transformed::no(node));
        };
        replaced(node, &tests, &marks, joins).map(Transformed::yes)
    }
}

fn is_test(expr: &Expr) -> bool {
    matches!(expr, Expr::Exists(_) | Expr::InSubquery(_))
}

/// Such parts of the node's expressions, each once.
fn found(node: &LogicalPlan, is_sought: impl Fn(&Expr) -> bool) -> Result<Vec<Expr>> {
    let mut found = Vec::new();
    node.apply_expressions(|expr| {
        expr.apply(|expr| {
            if !is_sought(expr) {
                return Ok(TreeNodeRecursion::Continue);
            }
            if !found.contains(expr) {
                found.push(expr.clone());
            }
            Ok(TreeNodeRecursion::Jump)
        })
    })?;
    Ok(found)
}

/// What stands for each test, and the plan that has it; None: there is a test that no join can be made of.
fn parts(plan: LogicalPlan) -> Option<(Vec<Expr>, LogicalPlan)> {
    let filter = match plan {
        LogicalPlan::Projection(projection) => projection.input.as_ref().clone(),
        plan => plan,
    };
    let LogicalPlan::Filter(filter) = filter else {
        return None;
    };
    let Expr::ScalarFunction(call) = filter.predicate else {
        return None;
    };
    let is_left = call.args.iter().any(is_test);
    (!is_left).then(|| (call.args, filter.input.as_ref().clone()))
}

/// Holds tests as one condition while joins are made of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AllOf;

static ANY: LazyLock<Signature> = LazyLock::new(|| Signature::variadic_any(Volatility::Volatile));

impl ScalarUDFImpl for AllOf {
    fn name(&self) -> &str {
        "all_of"
    }

    fn signature(&self) -> &Signature {
        &ANY
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{} is in no plan that runs", self.name())
    }
}

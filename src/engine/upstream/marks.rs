//! `SELECT EXISTS (SELECT …)`, `sum(CASE WHEN x IN (SELECT …) …)`: DataFusion makes joins of such tests in conditions
//! alone, and has no plan for them elsewhere.

use std::sync::LazyLock;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Filter, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::LogicalRule;

/// Lets the rule for conditions find the joins' marks for what a projection, an aggregate or a window tests.
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
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => {
                self.marked(node, config)
            }
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
        let tests = tests(&node)?;
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
        let names = NamePreserver::new(&node);
        let columns = node.schema().columns();
        let is_window = matches!(node, LogicalPlan::Window(_));
        let exprs = node.expressions().into_iter().map(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_down(|expr| {
                let Some(at) = tests.iter().position(|test| *test == expr) else {
                    return Ok(Transformed::no(expr));
                };
                let mark = marks[at].clone();
                Ok(Transformed::new(mark, true, TreeNodeRecursion::Jump))
            })?;
            Ok(name.restore(expr.data))
        });
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        let mut plan = node.with_new_exprs(exprs, vec![joins])?;
        if is_window {
            // It hands on all that its input has.
            let columns = columns.into_iter().map(Expr::Column).collect();
            plan = LogicalPlan::Projection(Projection::try_new(columns, plan.into())?);
        }
        Ok(Transformed::yes(plan))
    }
}

/// What is tested in the node's expressions, each once.
fn tests(node: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut tests = Vec::new();
    node.apply_expressions(|expr| {
        expr.apply(|expr| {
            if !matches!(expr, Expr::Exists(_) | Expr::InSubquery(_)) {
                return Ok(TreeNodeRecursion::Continue);
            }
            if !tests.contains(expr) {
                tests.push(expr.clone());
            }
            Ok(TreeNodeRecursion::Jump)
        })
    })?;
    Ok(tests)
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
    let is_test = |expr: &Expr| matches!(expr, Expr::Exists(_) | Expr::InSubquery(_));
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

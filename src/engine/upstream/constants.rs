//! `SELECT … FROM t LEFT JOIN (SELECT * FROM u WHERE x = 1) AS v ON … ORDER BY v.x, t.y`: DataFusion takes a column that is
//! one value on a side of a join for one value of the join's answer, though rows that find no partner have NULL there;
//! and leaves it out of the order. In an order over `UNION ALL` what is one value in a part of it is left out of that
//! part's order, and the plan then refused, as one whose parts have no order in common.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{JoinType, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// What a join may fill with NULL is not known as one value below it; nor is what a part of a union has, below an order. Runs before sorts are placed.
#[derive(Debug)]
pub struct NoPassingConstants;

impl PhysicalOptimizerRule for NoPassingConstants {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        options: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let orders = plan.exists(|node| Ok(is_ordering(node)))?;
        let plan = plan.transform_up(|node| {
            let filled = match orders && node.is::<UnionExec>() {
                true => Some(vec![true; node.children().len()]),
                false => filled(&node).map(Vec::from),
            };
            let Some(filled) = filled else {
                return Ok(Transformed::no(node));
            };
            let children = node.children().into_iter().zip(filled);
            let children = children.map(|(child, filled)| match filled {
                true => hidden(child, options),
                false => Ok(child.clone()),
            });
            let children = children.collect::<Result<Vec<_>>>()?;
            replace_children_if_necessary(node, children).map(Transformed::yes)
        });
        plan.map(|plan| plan.data)
    }

    fn name(&self) -> &str {
        "NoPassingConstants"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn is_ordering(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<SortExec>() || node.is::<WindowAggExec>() || node.is::<BoundedWindowAggExec>()
}

/// Of an outer join, whether its left and its right are filled with NULL.
fn filled(node: &Arc<dyn ExecutionPlan>) -> Option<[bool; 2]> {
    let hash = node
        .downcast_ref::<HashJoinExec>()
        .map(|join| *join.join_type());
    let nested = || {
        node.downcast_ref::<NestedLoopJoinExec>()
            .map(|join| *join.join_type())
    };
    let merge = || {
        node.downcast_ref::<SortMergeJoinExec>()
            .map(|join| join.join_type())
    };
    match hash.or_else(nested).or_else(merge)? {
        JoinType::Left => Some([false, true]),
        JoinType::Right => Some([true, false]),
        JoinType::Full => Some([true, true]),
        _ => None,
    }
}

/// The plan with its constants behind a function that DataFusion cannot see through.
fn hidden(
    plan: &Arc<dyn ExecutionPlan>,
    options: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    let constants = plan.equivalence_properties().constants();
    let is_constant = |column: &Column| {
        let same = |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Column>() == Some(column);
        constants.iter().any(|constant| same(&constant.expr))
    };
    let (schema, options) = (plan.schema(), Arc::new(options.clone()));
    let mut found = false;
    let columns = schema.fields().iter().enumerate().map(|(i, field)| {
        let column = Column::new(field.name(), i);
        if !is_constant(&column) {
            return Ok((Arc::new(column) as _, field.name().clone()));
        }
        found = true;
        // One without arguments is nowhere taken for constant; nor is, then, what it is an argument of.
        let unknown = function(&Hidden::Unknown, Vec::new(), &plan.schema(), &options)?;
        let arguments = vec![Arc::new(column) as _, unknown];
        let value = function(&Hidden::Value, arguments, &plan.schema(), &options)?;
        Ok((value, field.name().clone()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    match found {
        true => Ok(Arc::new(ProjectionExec::try_new(columns, plan.clone())?)),
        false => Ok(plan.clone()),
    }
}

fn function(
    of: &Hidden,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    schema: &Schema,
    options: &Arc<ConfigOptions>,
) -> Result<Arc<dyn PhysicalExpr>> {
    let function = Arc::new(ScalarUDF::from(of.clone()));
    let call = ScalarFunctionExpr::try_new(function, arguments, schema, options.clone())?;
    Ok(Arc::new(call))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Hidden {
    /// Its first argument.
    Value,
    /// Of no arguments.
    Unknown,
}

static OF_TWO: LazyLock<Signature> = LazyLock::new(|| Signature::any(2, Volatility::Volatile));
static OF_NONE: LazyLock<Signature> = LazyLock::new(|| Signature::nullary(Volatility::Volatile));

impl ScalarUDFImpl for Hidden {
    fn name(&self) -> &str {
        match self {
            Self::Value => "value_of",
            Self::Unknown => "unknown",
        }
    }

    fn signature(&self) -> &Signature {
        match self {
            Self::Value => &OF_TWO,
            Self::Unknown => &OF_NONE,
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments.first().cloned().unwrap_or(DataType::Boolean))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(match arguments.arg_fields.first() {
            Some(field) => field.clone(),
            None => Arc::new(Field::new(self.name(), DataType::Boolean, true)),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let first = arguments.args.into_iter().next();
        Ok(first.unwrap_or(ColumnarValue::Scalar(ScalarValue::Boolean(None))))
    }
}

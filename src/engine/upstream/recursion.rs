//! The terms of a recursive query have to have the same metadata. A column of a source has some, and what is computed
//! from it has none: `WITH RECURSIVE r AS (SELECT id FROM t UNION ALL SELECT id + 1 FROM r …)` is refused.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::utils::take_function_args;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, Projection, RecursiveQuery, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

/// The plan with recursive queries whose terms have no metadata, where they had different ones.
pub fn bare_recursion(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::RecursiveQuery(query) if differs(query));
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !found {
        return Ok(plan);
    }
    let plan = plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::RecursiveQuery(query) if differs(&query) => {
                LogicalPlan::RecursiveQuery(RecursiveQuery::try_new(
                    query.name,
                    bare(query.static_term)?,
                    bare(query.recursive_term)?,
                    query.is_distinct,
                )?)
            }
            node => node.recompute_schema()?,
        };
        Ok(Transformed::yes(node))
    })?;
    Ok(plan.data)
}

fn differs(query: &RecursiveQuery) -> bool {
    let start = query.static_term.schema().fields();
    let step = query.recursive_term.schema().fields();
    (start.iter().zip(step)).any(|(a, b)| a.metadata() != b.metadata())
}

fn bare(term: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    static BARE: LazyLock<ScalarUDF> = LazyLock::new(|| ScalarUDF::from(Bare));
    let columns = term.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match field.metadata().is_empty() {
            true => column,
            false => {
                let bare = BARE.call(vec![column]);
                bare.alias_qualified(qualifier.cloned(), field.name())
            }
        }
    });
    let projection = Projection::try_new(columns.collect(), term.clone())?;
    Ok(Arc::new(LogicalPlan::Projection(projection)))
}

/// A value as it is, of a field without metadata.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bare;

static ANY: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));

impl ScalarUDFImpl for Bare {
    fn name(&self) -> &str {
        "bare"
    }

    fn signature(&self) -> &Signature {
        &ANY
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let [value] = take_function_args(self.name(), arguments)?;
        Ok(value.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = take_function_args(self.name(), arguments.args)?;
        Ok(value)
    }
}

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};

/// A filter's conditions in the order in which they cost least: comparisons of numbers and dates, which take less than a
/// nanosecond a row and cannot fail, before all others. Where they leave few rows, DataFusion looks at those alone; what
/// picks them costs more than such a comparison, so that it is done once, for the others, and not between these.
#[derive(Debug)]
pub(super) struct CheapFirst;

impl PhysicalOptimizerRule for CheapFirst {
    fn name(&self) -> &str {
        "cheap_first"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(filter) = node.downcast_ref::<FilterExec>() else {
                return Ok(Transformed::no(node));
            };
            let Some(predicate) = ordered(filter)? else {
                return Ok(Transformed::no(node));
            };
            let ordered = FilterExecBuilder::from(filter).with_predicate(predicate);
            Ok(Transformed::yes(Arc::new(ordered.build()?)))
        })
        .data()
    }
}

/// None: there is nothing to order.
fn ordered(filter: &FilterExec) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let schema = filter.input().schema();
    let conjuncts = split_conjunction(filter.predicate());
    if conjuncts.len() < 3 {
        return Ok(None);
    }
    let mut cheap = Vec::new();
    let mut others = Vec::new();
    for conjunct in conjuncts {
        match cost(conjunct, &schema)? {
            Some(bytes) => cheap.push((bytes, conjunct.clone())),
            None => others.push(conjunct.clone()),
        }
    }
    cheap.sort_by_key(|(bytes, _)| *bytes);
    let and = |left, right| Arc::new(BinaryExpr::new(left, Operator::And, right)) as _;
    let cheap = cheap.into_iter().map(|(_, conjunct)| conjunct);
    // a AND (b AND c): rows are picked for b and c together, if at all.
    let cheap = cheap.rev().reduce(|rest, first| and(first, rest));
    Ok(cheap.into_iter().chain(others).reduce(and))
}

/// Bytes that are compared for each row; None: it may take long, or fail.
fn cost(conjunct: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Option<usize>> {
    if let Some(test) = conjunct.downcast_ref::<IsNotNullExpr>() {
        return Ok(test.arg().is::<Column>().then_some(1));
    }
    let Some(binary) = conjunct.downcast_ref::<BinaryExpr>() else {
        return Ok(None);
    };
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let compares = matches!(binary.op(), Eq | NotEq | Lt | LtEq | Gt | GtEq);
    let is_plain = |side: &Arc<dyn PhysicalExpr>| side.is::<Column>() || side.is::<Literal>();
    if !compares || !is_plain(binary.left()) || !is_plain(binary.right()) {
        return Ok(None);
    }
    let compared = binary.left().data_type(schema)?;
    Ok(compared.primitive_width())
}

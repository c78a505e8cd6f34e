//! A subquery in the place of a value, as a join with the one row that it gives.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Expr, Extension, Filter, LogicalPlan, LogicalPlanBuilder, Projection, TableScan,
    UserDefinedLogicalNodeCore,
};

/// The one row of a subquery, or NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Single {
    pub(super) input: Arc<LogicalPlan>,
    pub(super) schema: DFSchemaRef,
}

impl Single {
    pub(super) fn of(extension: &Extension) -> Option<&Self> {
        extension.node.as_any().downcast_ref()
    }
}

/// The plan without subqueries in its expressions.
pub(super) fn joined(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut count = 0;
    let plan = plan.transform_up(|node| node_joined(node, &mut count))?;
    Ok(plan.data)
}

fn node_joined(node: LogicalPlan, count: &mut usize) -> Result<Transformed<LogicalPlan>> {
    // A scan has no input to join: its filters are a node of their own.
    let node = match node {
        LogicalPlan::TableScan(scan) if scan.filters.iter().any(has_subquery) => {
            let filters = scan.filters.iter().cloned();
            let all = filters.reduce(Expr::and).expect("there are some");
            let bare = LogicalPlan::TableScan(TableScan {
                filters: Vec::new(),
                ..scan
            });
            LogicalPlan::Filter(Filter::try_new(all, Arc::new(bare))?)
        }
        node => node,
    };
    let mut found: Vec<LogicalPlan> = Vec::new();
    let names = NamePreserver::new_for_projection();
    let schema = node.schema().clone();
    let node = node.map_expressions(|expr| {
        if !has_subquery(&expr) {
            return Ok(Transformed::no(expr));
        }
        let name = names.save(&expr);
        let expr = expr.transform_down(|expr| match expr {
            Expr::ScalarSubquery(subquery) if subquery.outer_ref_columns.is_empty() => {
                *count += 1;
                let name = format!("__value_{count}");
                let input = joined_below(&subquery.subquery, count)?;
                let field = input.schema().field(0).clone();
                let field = field.as_ref().clone().with_name(&name).with_nullable(true);
                let fields = vec![(None, Arc::new(field))];
                let schema = DFSchema::new_with_metadata(fields, Default::default())?;
                let single = Single {
                    input: Arc::new(input),
                    schema: Arc::new(schema),
                };
                found.push(LogicalPlan::Extension(Extension {
                    node: Arc::new(single),
                }));
                Ok(Transformed::yes(Expr::Column(Column::new_unqualified(
                    name,
                ))))
            }
            expr => Ok(Transformed::no(expr)),
        })?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })?;
    if found.is_empty() {
        return Ok(node);
    }
    let node = node.data;
    // The rows are carried beside those of the first input, and left out again where the node gives its input's columns.
    let mut inputs: Vec<LogicalPlan> = node.inputs().into_iter().cloned().collect();
    let Some(first) = inputs.first_mut() else {
        return internal_err!("an expression without an input has a subquery");
    };
    let mut joined = LogicalPlanBuilder::from(first.clone());
    for single in found {
        joined = joined.cross_join(single)?;
    }
    *first = joined.build()?;
    let wide = node.with_new_exprs(node.expressions(), inputs)?;
    let columns = schema.columns().into_iter().map(Expr::Column).collect();
    let projection = Projection::try_new_with_schema(columns, Arc::new(wide), schema)?;
    Ok(Transformed::yes(LogicalPlan::Projection(projection)))
}

fn joined_below(plan: &LogicalPlan, count: &mut usize) -> Result<LogicalPlan> {
    let plan = plan.clone().transform_up(|node| node_joined(node, count))?;
    Ok(plan.data)
}

fn has_subquery(expr: &Expr) -> bool {
    let found = expr.exists(|expr| Ok(matches!(expr, Expr::ScalarSubquery(_))));
    found.unwrap_or(false)
}

impl PartialOrd for Single {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Hash for Single {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for Single {
    fn name(&self) -> &str {
        "Single"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Single")
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (<[LogicalPlan; 1]>::try_from(inputs), exprs.is_empty()) {
            (Ok([input]), true) => Ok(Self {
                input: Arc::new(input),
                schema: self.schema.clone(),
            }),
            _ => internal_err!("a single row has one input"),
        }
    }
}

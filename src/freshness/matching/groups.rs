use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, cast, lit};

use super::terms::Terms;

/// An aggregate that a query asks for, as it is computed from what is at hand.
#[derive(Clone, Debug)]
pub struct Computed {
    pub asked: Expr,
    pub aggregate: Expr,
    finish: Finish,
}

/// What is made of the aggregate.
#[derive(Clone, Debug)]
enum Finish {
    Nothing,
    /// No row is counted as zero, and added up to NULL.
    OrZero,
    /// The sum of sums may be of a wider type.
    As(DataType),
}

impl Computed {
    pub fn plainly(asked: Expr, aggregate: Expr) -> Self {
        Self {
            asked,
            aggregate,
            finish: Finish::Nothing,
        }
    }

    /// From an aggregate of each of the groups that make up one: Gray's distributive functions (Data Cube, ICDE 1996), where they are
    /// so to the last bit. A sum of floats is not: each is rounded once. `keys`: what is at hand of each group's key; `all`: of
    /// its aggregates, too.
    pub fn of_groups(asked: &Expr, keys: &Terms, all: &Terms) -> Option<Self> {
        let Expr::AggregateFunction(call) = asked else {
            return None;
        };
        let data_type = asked.get_type(all.schema).ok()?;
        let name = call.func.name();
        let is_distinct = call.params.distinct;
        if let Some(part) = all.called(asked) {
            let again = || {
                let mut again = call.clone();
                again.params.args = vec![part.clone()];
                again.params.filter = None;
                again.params.distinct = false;
                Expr::AggregateFunction(again)
            };
            let is_exact = data_type.is_integer() || data_type.is_decimal();
            let (aggregate, finish) = match name {
                "count" if !is_distinct => (sum(part.clone()), Finish::OrZero),
                "sum" if !is_distinct && is_exact => (again(), Finish::As(data_type.clone())),
                "bit_xor" if !is_distinct => (again(), Finish::Nothing),
                "min" | "max" if !data_type.is_floating() => (again(), Finish::Nothing),
                "bool_and" | "bool_or" | "bit_and" | "bit_or" => (again(), Finish::Nothing),
                _ => return Self::of_keys(call, asked, keys),
            };
            return Some(Self {
                asked: asked.clone(),
                aggregate,
                finish,
            });
        }
        Self::of_keys(call, asked, keys)
    }

    /// It does not matter how often a value is there: a group's key is as good as its rows.
    fn of_keys(call: &AggregateFunction, asked: &Expr, keys: &Terms) -> Option<Self> {
        const IDEMPOTENT: &[&str] = &["min", "max", "bool_and", "bool_or", "bit_and", "bit_or"];
        if !call.params.distinct && !IDEMPOTENT.contains(&call.func.name()) {
            return None;
        }
        let mut aggregate = call.clone();
        let rewritten = |expr: &Expr| keys.rewritten(expr).ok();
        for arg in &mut aggregate.params.args {
            *arg = rewritten(arg)?;
        }
        if let Some(filter) = &mut aggregate.params.filter {
            **filter = rewritten(filter)?;
        }
        let is_plain = aggregate.params.order_by.is_empty();
        let aggregate = Expr::AggregateFunction(aggregate);
        is_plain.then(|| Self::plainly(asked.clone(), aggregate))
    }

    /// The value that was asked for, the aggregate being called so.
    pub fn finished(&self, called: Expr) -> Expr {
        match &self.finish {
            Finish::Nothing => called,
            Finish::OrZero => coalesce(vec![called, lit(0_i64)]),
            Finish::As(data_type) => cast(called, data_type.clone()),
        }
    }
}

/// The aggregates in expressions, each once.
pub fn aggregates<'a>(exprs: impl Iterator<Item = &'a Expr>) -> Vec<Expr> {
    let mut found: Vec<Expr> = Vec::new();
    for expr in exprs {
        let walked = expr.apply(|part| {
            if !matches!(part, Expr::AggregateFunction(_)) {
                return Ok(TreeNodeRecursion::Continue);
            }
            if !found.contains(part) {
                found.push(part.clone());
            }
            Ok(TreeNodeRecursion::Jump)
        });
        debug_assert!(walked.is_ok(), "the walk itself never fails");
    }
    found
}

/// Whether values of a key that are of one group are the same: zeros of two signs are of one group.
pub fn is_told_apart(key: &Expr, schema: &DFSchema) -> bool {
    let data_type = key.get_type(schema);
    data_type.is_ok_and(|data_type| {
        !data_type.is_floating()
            && !data_type.is_nested()
            && !matches!(data_type, DataType::Interval(_))
    })
}

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;

use super::block::leaf_of;
use super::facts::Facts;

/// The expressions that are at hand, and by what they are called there: what others are computed from.
pub struct Terms<'a> {
    pub facts: &'a Facts,
    pub schema: &'a DFSchema,
    known: Vec<(Expr, Expr)>,
    /// Leaves whose columns are at hand, too.
    free: &'a [usize],
    /// Whether aggregates of what is at hand may be computed.
    pub aggregates: bool,
}

impl<'a> Terms<'a> {
    pub fn new(
        facts: &'a Facts,
        schema: &'a DFSchema,
        known: impl IntoIterator<Item = (Expr, Expr)>,
        free: &'a [usize],
    ) -> Self {
        // A constant is at hand anyway, and some functions take nothing else.
        let known = known.into_iter();
        let known = known.filter(|(of, _)| !matches!(of, Expr::Literal(..)));
        Self {
            known: known.map(|(of, by)| (facts.in_one_way(&of), by)).collect(),
            facts,
            schema,
            free,
            aggregates: false,
        }
    }

    /// What an expression is called, if it is at hand as a whole.
    pub fn called(&self, expr: &Expr) -> Option<&Expr> {
        let expr = self.facts.in_one_way(expr);
        let known = self.known.iter().find(|(known, _)| *known == expr);
        known.map(|(_, called)| called)
    }

    /// The same in terms of what is at hand; else the part that is not.
    pub fn rewritten(&self, expr: &Expr) -> Result<Expr, Expr> {
        let mut missing = None;
        let rewritten = expr.clone().transform_down(|expr| {
            let jump = |expr| Ok(Transformed::new(expr, true, TreeNodeRecursion::Jump));
            if let Some(called) = self.called(&expr) {
                return jump(called.clone());
            }
            let is_at_hand = match &expr {
                Expr::Column(column) => {
                    leaf_of(column).is_some_and(|leaf| self.free.contains(&leaf))
                }
                Expr::AggregateFunction(_) => self.aggregates,
                _ => true,
            };
            if is_at_hand {
                return Ok(Transformed::no(expr));
            }
            if let Some(value) = self.facts.constant(&expr, self.schema) {
                return jump(Expr::Literal(value, None));
            }
            missing.get_or_insert_with(|| expr.clone());
            jump(expr)
        });
        match (rewritten, missing) {
            (Ok(rewritten), None) => Ok(rewritten.data),
            (_, missing) => Err(missing.unwrap_or_else(|| expr.clone())),
        }
    }
}

//! Long chains of AND, OR and UNION ALL, which tools write by the thousand, as balanced trees.
//!
//! sqlparser nests `a OR b OR c OR d` to the left, as deep as it is long, and everything that walks the tree afterwards
//! recurses once per level. The three are associative, also with NULL; the operands keep their order, and as no
//! parentheses are added the statement prints as before.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Query, SetExpr, SetOperator, SetQuantifier, Value, Values, VisitMut,
    VisitorMut,
};

/// Chains up to here are left as they are, so that what people write keeps the shape sqlparser gives it.
pub(crate) const SHORT_CHAIN: usize = 16;

/// Balances all long chains of a statement.
pub(crate) fn balance(node: &mut impl VisitMut) {
    let _ = node.visit(&mut Balancer);
}

struct Balancer;

impl VisitorMut for Balancer {
    type Break = ();

    // Before the children are visited, so that the walk itself never goes down a long chain.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp {
            op: op @ (BinaryOperator::And | BinaryOperator::Or),
            ..
        } = expr
        {
            let op = op.clone();
            rebuild(expr, &op);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // Operands of a set operation are no queries to the visitor, unless in parentheses.
        let mut body = &mut *query.body;
        loop {
            rebuild(body, &());
            match body {
                SetExpr::SetOperation { left, .. } => body = left,
                _ => return ControlFlow::Continue(()),
            }
        }
    }
}

/// A node that may be a link in a chain of equal operators, nested to the left.
trait Link: Sized {
    type Operator;
    /// The left operand, if the node is such an operator.
    fn left(&self, op: &Self::Operator) -> Option<&Self>;
    /// Both operands of such an operator; anything else as it is.
    fn split(self, op: &Self::Operator) -> Result<(Self, Self), Self>;
    fn join(left: Self, right: Self, op: &Self::Operator) -> Self;
    /// Something small to stand in for a node that is being taken apart.
    fn nothing() -> Self;
}

impl Link for Expr {
    type Operator = BinaryOperator;

    fn left(&self, op: &BinaryOperator) -> Option<&Self> {
        match self {
            Expr::BinaryOp {
                left, op: found, ..
            } if found == op => Some(left),
            _ => None,
        }
    }

    fn split(self, op: &BinaryOperator) -> Result<(Self, Self), Self> {
        match self {
            Expr::BinaryOp {
                left,
                op: found,
                right,
            } if found == *op => Ok((*left, *right)),
            other => Err(other),
        }
    }

    fn join(left: Self, right: Self, op: &BinaryOperator) -> Self {
        Expr::BinaryOp {
            left: Box::new(left),
            op: op.clone(),
            right: Box::new(right),
        }
    }

    fn nothing() -> Self {
        Expr::Value(Value::Null.into())
    }
}

/// `UNION ALL` alone: the other set operators are rare, and not all of them associative.
impl Link for SetExpr {
    type Operator = ();

    fn left(&self, (): &()) -> Option<&Self> {
        match self {
            SetExpr::SetOperation {
                left,
                op: SetOperator::Union,
                set_quantifier: SetQuantifier::All,
                ..
            } => Some(left),
            _ => None,
        }
    }

    fn split(self, (): &()) -> Result<(Self, Self), Self> {
        match self {
            SetExpr::SetOperation {
                left,
                op: SetOperator::Union,
                set_quantifier: SetQuantifier::All,
                right,
            } => Ok((*left, *right)),
            other => Err(other),
        }
    }

    fn join(left: Self, right: Self, (): &()) -> Self {
        SetExpr::SetOperation {
            left: Box::new(left),
            op: SetOperator::Union,
            set_quantifier: SetQuantifier::All,
            right: Box::new(right),
        }
    }

    fn nothing() -> Self {
        SetExpr::Values(Values {
            explicit_row: false,
            value_keyword: false,
            rows: Vec::new(),
        })
    }
}

/// Balances the chain of `op` that begins here, if it is long.
fn rebuild<N: Link>(node: &mut N, op: &N::Operator) {
    if std::iter::successors(Some(&*node), |node| node.left(op))
        .nth(SHORT_CHAIN + 1)
        .is_none()
    {
        return;
    }
    let mut rest = std::mem::replace(node, N::nothing());
    let mut operands = Vec::new();
    let first = loop {
        match rest.split(op) {
            Ok((left, right)) => {
                operands.push(right);
                rest = left;
            }
            Err(first) => break first,
        }
    };
    operands.push(first);
    // They were taken off from the right.
    operands.reverse();
    // Joins neighbours until one is left.
    while operands.len() > 1 {
        let mut pairs = Vec::with_capacity(operands.len().div_ceil(2));
        let mut rest = operands.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => N::join(left, right, op),
                None => left,
            });
        }
        operands = pairs;
    }
    if let Some(root) = operands.pop() {
        *node = root;
    }
}

#[cfg(test)]
mod tests {
    use crate::parse_one;

    #[test]
    fn a_long_chain_prints_as_it_was_and_reads_back_the_same() {
        let or = format!(
            "SELECT * FROM t WHERE a = 0{}",
            " OR a = 1 AND b = 2".repeat(1000)
        );
        let union = format!(
            "SELECT 0 UNION SELECT 0{}",
            " UNION ALL SELECT 1".repeat(1000)
        );
        for sql in [or, union] {
            let statement = parse_one(&sql).unwrap().statement;
            assert_eq!(statement.to_string(), sql);
            assert_eq!(
                parse_one(&statement.to_string()).unwrap().statement,
                statement
            );
        }
    }

    #[test]
    fn a_short_chain_keeps_its_shape() {
        let sql = format!("SELECT a{}", " OR a".repeat(super::SHORT_CHAIN));
        let plain = sqlparser::parser::Parser::parse_sql(&sqlparser::dialect::GenericDialect, &sql)
            .unwrap();
        let crate::Statement::Query(query) = parse_one(&sql).unwrap().statement else {
            panic!()
        };
        assert_eq!(sqlparser::ast::Statement::Query(query), plain[0]);
    }
}

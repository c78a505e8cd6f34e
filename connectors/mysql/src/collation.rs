//! What a column's collation takes for equal.

use arrow::datatypes::Schema;
use belvedere_connector::{
    BinaryOp, COLLATION, Capabilities, Differs, Expr, ExprKind, Literal, Rel, Support, UnaryOp,
};
use belvedere_sqlgen::SqlCapabilities;

use crate::dialect::MysqlDialect;

/// What the renderings prove, and where the server by itself compares text otherwise.
#[derive(Debug)]
pub(crate) struct MysqlCapabilities(pub SqlCapabilities<MysqlDialect>);

impl Capabilities for MysqlCapabilities {
    fn predicate(&self, predicate: &Expr, input: &Schema) -> Support {
        self.0.predicate(predicate, input)
    }

    fn node(&self, rel: &Rel) -> Support {
        self.0.node(rel)
    }

    fn stores(&self, assignments: &[(usize, Expr)], schema: &Schema) -> Support {
        self.0.stores(assignments, schema)
    }

    fn tells(&self, columns: &[usize], schema: &Schema) -> Support {
        self.0.tells(columns, schema)
    }

    fn differs(&self, predicate: &Expr, input: &Schema) -> Option<Differs> {
        match &predicate.kind {
            ExprKind::Binary {
                op: BinaryOp::And | BinaryOp::Or,
                left,
                right,
            } => self
                .differs(left, input)
                .or_else(|| self.differs(right, input)),
            ExprKind::Unary {
                op: UnaryOp::Not,
                arg,
            } => self.differs(arg, input),
            ExprKind::Binary {
                op: BinaryOp::Eq | BinaryOp::NotEq,
                left,
                right,
            } => folded(left, &[right.as_ref()], input)
                .or_else(|| folded(right, &[left.as_ref()], input)),
            ExprKind::InList { arg, list, .. } => {
                folded(arg, &list.iter().collect::<Vec<_>>(), input)
            }
            _ => None,
        }
    }
}

/// A column that the server compares regardless of case, with a constant that has letters.
fn folded(column: &Expr, constants: &[&Expr], input: &Schema) -> Option<Differs> {
    let field = input.fields().get(column.as_column()?)?;
    let collation = field.metadata().get(COLLATION)?;
    let has_letters = |expr: &&Expr| matches!(&expr.kind, ExprKind::Literal(Literal::Text(text)) if text.chars().any(char::is_alphabetic));
    if !collation.ends_with("_ci") || !constants.iter().any(has_letters) {
        return None;
    }
    let name = field.name();
    // No constant of the query is in a sentence that others may see.
    Some(Differs {
        column: name.clone(),
        how: format!("itself compares it by {collation}, which takes 'SMITH' for 'smith'"),
        instead: format!("lower({name}) = lower('…')"),
    })
}

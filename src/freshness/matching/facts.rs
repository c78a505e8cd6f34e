use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ExprSchema};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use datafusion::scalar::ScalarValue;

use super::block::with_columns;
use super::domain::{Domain, comparable};

/// What is known of the rows that some conditions leave: which columns are equal, what expressions may be.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Columns of one value in each row, which is not NULL.
    classes: Vec<Vec<Column>>,
    /// The conditions, with one column of each class in place of the others.
    known: Vec<Expr>,
    domains: Vec<(Expr, Domain)>,
}

impl Facts {
    pub fn of<'a>(conditions: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> Self {
        let conditions = conditions.into_iter().flat_map(split_conjunction);
        let conditions: Vec<&Expr> = conditions.collect();
        let mut facts = Self::default();
        for (one, other) in conditions.iter().filter_map(|c| equal_columns(c)) {
            if tells_all(one, schema) && tells_all(other, schema) {
                facts.join(one, other);
            }
        }
        for condition in conditions {
            let condition = facts.in_one_way(condition);
            if let Some((of, domain)) = Domain::of(&condition) {
                let at = facts.domains.iter().position(|(known, _)| known == of);
                match at {
                    Some(at) => {
                        if let Some(both) = facts.domains[at].1.clone().and(domain) {
                            facts.domains[at].1 = both;
                        }
                    }
                    None => facts.domains.push((of.clone(), domain)),
                }
            }
            facts.known.push(condition);
        }
        facts
    }

    fn join(&mut self, one: &Column, other: &Column) {
        let (with, without): (Vec<_>, Vec<_>) = std::mem::take(&mut self.classes)
            .into_iter()
            .partition(|class| class.contains(one) || class.contains(other));
        let mut class: Vec<Column> = with.into_iter().flatten().collect();
        class.extend([one.clone(), other.clone()]);
        class.sort();
        class.dedup();
        self.classes = without;
        self.classes.push(class);
    }

    /// An expression with one column of each class in place of the others.
    pub fn in_one_way(&self, expr: &Expr) -> Expr {
        if self.classes.is_empty() {
            return expr.clone();
        }
        let first = |column: &Column| {
            let class = self.classes.iter().find(|class| class.contains(column));
            class?.first().cloned()
        };
        with_columns(expr.clone(), &first)
    }

    /// The one value that a column has, if that is known.
    pub fn constant(&self, expr: &Expr, schema: &DFSchema) -> Option<ScalarValue> {
        let Expr::Column(column) = expr else {
            return None;
        };
        let expr = self.in_one_way(expr);
        let known = self.domains.iter().find(|(known, _)| *known == expr);
        let Some((_, Domain::Values(values))) = known else {
            return None;
        };
        let mut values = values.iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        let is_whole = tells_all(column, schema);
        let is_typed = expr
            .get_type(schema)
            .is_ok_and(|known| known == value.data_type());
        (is_whole && is_typed).then(|| value.clone())
    }

    /// Whether a condition holds for all of these rows.
    pub fn implies(&self, condition: &Expr) -> bool {
        if let Some((one, other)) = equal_columns(condition)
            && one != other
        {
            let mut classes = self.classes.iter();
            if classes.any(|class| class.contains(one) && class.contains(other)) {
                return true;
            }
        }
        let condition = &self.in_one_way(condition);
        if self.known.contains(condition) || self.domain_implies(condition) {
            return true;
        }
        let is_one_of_known = |condition: &Expr| {
            let mut known = self.known.iter();
            known.any(|known| {
                let each = disjuncts(known);
                each.len() > 1
                    && each.iter().all(|case| {
                        // What is known of that case alone; its columns have been written in one way.
                        let case = Self::of([*case], &DFSchema::empty());
                        case.implies(condition)
                    })
            })
        };
        match condition {
            Expr::Literal(ScalarValue::Boolean(Some(true)), _) => true,
            Expr::IsNotNull(of) => self.is_not_null(of),
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::And,
                right,
            }) => self.implies(left) && self.implies(right),
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::Or,
                right,
            }) => self.implies(left) || self.implies(right) || is_one_of_known(condition),
            _ => is_one_of_known(condition),
        }
    }

    fn domain_implies(&self, condition: &Expr) -> bool {
        let known = |of: &Expr| {
            let known = self.domains.iter().find(|(known, _)| known == of);
            known.map(|(_, domain)| domain)
        };
        if let Some((of, wanted)) = Domain::of(condition) {
            return known(of).is_some_and(|known| known.is_within(&wanted));
        }
        match condition {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::NotEq,
                right,
            }) => {
                let value = comparable(right);
                value.is_some_and(|value| known(left).is_some_and(|known| known.lacks(value)))
            }
            _ => false,
        }
    }

    /// A comparison with NULL holds for no row.
    fn is_not_null(&self, of: &Expr) -> bool {
        let in_class = |column: &Column| self.classes.iter().any(|class| class.contains(column));
        if let Expr::Column(column) = of
            && in_class(column)
        {
            return true;
        }
        let rejects = |known: &Expr| match known {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let compares = matches!(
                    op,
                    Operator::Eq
                        | Operator::NotEq
                        | Operator::Lt
                        | Operator::LtEq
                        | Operator::Gt
                        | Operator::GtEq
                );
                compares && (left.as_ref() == of || right.as_ref() == of)
            }
            Expr::Like(like) => like.expr.as_ref() == of,
            _ => false,
        };
        self.known.iter().any(rejects) || self.domains.iter().any(|(known, _)| known == of)
    }
}

fn equal_columns(condition: &Expr) -> Option<(&Column, &Column)> {
    match condition {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(left), Expr::Column(right)) => Some((left, right)),
            _ => None,
        },
        _ => None,
    }
}

fn disjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => [disjuncts(left), disjuncts(right)].concat(),
        other => vec![other],
    }
}

/// Whether values of a column that are equal are the same: zeros of two signs are not.
fn tells_all(column: &Column, schema: &DFSchema) -> bool {
    let field = schema.field_from_column(column);
    field.is_ok_and(|field| match field.data_type() {
        DataType::Boolean => true,
        DataType::Interval(_) => false,
        other => {
            other.is_integer() || other.is_string() || other.is_decimal() || other.is_temporal()
        }
    })
}

use std::cmp::Ordering;

use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

/// The values that a condition leaves of an expression; never NULL.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    Values(Vec<ScalarValue>),
    /// From one bound to another, each with whether it is among them.
    Range {
        low: Option<(ScalarValue, bool)>,
        high: Option<(ScalarValue, bool)>,
    },
}

impl Domain {
    /// Of a condition that says which values an expression may have: `e = 1`, `e > 1`, `e IN (1, 2)`, `e = 1 OR e = 2`.
    pub fn of(condition: &Expr) -> Option<(&Expr, Self)> {
        match condition {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::Or,
                right,
            }) => {
                let (of, values) = Self::of(left)?;
                let (also_of, others) = Self::of(right)?;
                let (Self::Values(mut values), Self::Values(others)) = (values, others) else {
                    return None;
                };
                values.extend(others);
                (of == also_of).then_some((of, Self::Values(values)))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let value = comparable(right)?;
                let bound = |is_in| Some((value.clone(), is_in));
                let (low, high) = match op {
                    Operator::Eq => return Some((left, Self::Values(vec![value.clone()]))),
                    Operator::Gt => (bound(false), None),
                    Operator::GtEq => (bound(true), None),
                    Operator::Lt => (None, bound(false)),
                    Operator::LtEq => (None, bound(true)),
                    _ => return None,
                };
                Some((left, Self::Range { low, high }))
            }
            Expr::InList(InList {
                expr,
                list,
                negated: false,
            }) => {
                let values = list.iter().map(|value| comparable(value).cloned());
                Some((expr, Self::Values(values.collect::<Option<_>>()?)))
            }
            _ => None,
        }
    }

    /// What both leave. None: they are of values that are not compared.
    pub fn and(self, other: Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Values(values), other) | (other, Self::Values(values)) => {
                let mut left = Vec::new();
                for value in values {
                    if other.has(&value)? {
                        left.push(value);
                    }
                }
                Self::Values(left)
            }
            (Self::Range { low: a, high: b }, Self::Range { low: c, high: d }) => Self::Range {
                low: tighter(a, c, Ordering::Greater)?,
                high: tighter(b, d, Ordering::Less)?,
            },
        })
    }

    /// Whether each of its values is one of the other's.
    pub fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Values(values), other) => {
                let mut values = values.iter();
                values.all(|value| other.has(value) == Some(true))
            }
            (Self::Range { .. }, Self::Values(_)) => false,
            (Self::Range { low: a, high: b }, Self::Range { low: c, high: d }) => {
                is_as_tight(a, c, Ordering::Greater) && is_as_tight(b, d, Ordering::Less)
            }
        }
    }

    /// Whether a value is none of them.
    pub fn lacks(&self, value: &ScalarValue) -> bool {
        self.has(value) == Some(false)
    }

    fn has(&self, value: &ScalarValue) -> Option<bool> {
        match self {
            Self::Values(values) => {
                for known in values {
                    if compared(value, known)? == Ordering::Equal {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Self::Range { low, high } => {
                let within = |bound: &Option<(ScalarValue, bool)>, side| match bound {
                    None => Some(true),
                    Some((bound, is_in)) => Some(match compared(value, bound)? {
                        Ordering::Equal => *is_in,
                        order => order == side,
                    }),
                };
                Some(within(low, Ordering::Greater)? && within(high, Ordering::Less)?)
            }
        }
    }
}

type Bound = Option<(ScalarValue, bool)>;

/// Of two bounds the one that leaves less: that on this side of the other.
fn tighter(one: Bound, other: Bound, side: Ordering) -> Option<Bound> {
    let (Some(a), Some(b)) = (&one, &other) else {
        return Some(one.or(other));
    };
    Some(match compared(&a.0, &b.0)? {
        Ordering::Equal if a.1 => other,
        Ordering::Equal => one,
        order if order == side => one,
        _ => other,
    })
}

fn is_as_tight(one: &Bound, than: &Bound, side: Ordering) -> bool {
    match (one, than) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some((a, is_in)), Some((b, may_be_in))) => match compared(a, b) {
            Some(Ordering::Equal) => *may_be_in || !is_in,
            order => order == Some(side),
        },
    }
}

/// A constant whose comparisons are those of its type's order: neither NULL nor a NaN, nor a zero that has another sign.
pub fn comparable(expr: &Expr) -> Option<&ScalarValue> {
    let Expr::Literal(value, _) = expr else {
        return None;
    };
    let is_so = match value {
        ScalarValue::Float32(Some(value)) => !value.is_nan() && *value != 0.0,
        ScalarValue::Float64(Some(value)) => !value.is_nan() && *value != 0.0,
        ScalarValue::Float16(_) => false,
        other => {
            let data_type = other.data_type();
            let is_ordered = data_type.is_integer()
                || data_type.is_decimal()
                || data_type.is_string()
                || data_type.is_temporal() && !data_type.is_nested();
            is_ordered && !is_interval(other) && !other.is_null()
        }
    };
    is_so.then_some(value)
}

/// Which of two is longer depends on the month.
fn is_interval(value: &ScalarValue) -> bool {
    matches!(
        value,
        ScalarValue::IntervalYearMonth(_)
            | ScalarValue::IntervalDayTime(_)
            | ScalarValue::IntervalMonthDayNano(_)
    )
}

fn compared(one: &ScalarValue, other: &ScalarValue) -> Option<Ordering> {
    let alike = one.data_type() == other.data_type();
    alike.then(|| one.partial_cmp(other)).flatten()
}

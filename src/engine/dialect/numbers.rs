//! Numbers with a point. DataFusion reads them as floats, of which fifteen digits are sure: what has more, and what a column is given, is
//! read as a decimal with just its digits.

use std::ops::ControlFlow;

use sqlparser::ast::{DataType, ExactNumberInfo, Expr, Value, VisitMut, VisitorMut};

use crate::engine::system::build::{cast, text};

/// Digits that each float has.
const SURE: usize = 15;
/// Of the largest decimal.
const MOST: usize = 76;

/// In a query: those that a float has not.
pub(in crate::engine) fn long_numbers(statement: &mut impl VisitMut) {
    // Nothing breaks off.
    let _ = statement.visit(&mut Numbers { least: SURE + 1 });
}

/// In a write: all.
pub(in crate::engine) fn written_numbers(statement: &mut impl VisitMut) {
    let _ = statement.visit(&mut Numbers { least: 1 });
}

struct Numbers {
    /// Digits.
    least: usize,
}

impl VisitorMut for Numbers {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Value(value) = expr
            && let Value::Number(number, _) = &value.value
            && let Some((precision, scale)) = digits(number)
            && (self.least..=MOST).contains(&precision)
        {
            let info = ExactNumberInfo::PrecisionAndScale(precision as u64, scale as i64);
            *expr = cast(text(number.clone()), DataType::Decimal(info));
        }
        ControlFlow::Continue(())
    }
}

/// How many there are, and how many of them behind the point. None: it has none, or an exponent.
fn digits(number: &str) -> Option<(usize, usize)> {
    let (whole, fraction) = number.split_once('.')?;
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0').len();
    Some(((whole + fraction.len()).max(1), fraction.len()))
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn digits_are_counted() {
        for (number, expected) in [
            ("0.285", Some((3, 3))),
            ("12.50", Some((4, 2))),
            ("7.", Some((1, 0))),
            (".5", Some((1, 1))),
            ("0.0", Some((1, 1))),
            ("12", None),
            ("1.5e3", None),
        ] {
            assert_eq!(digits(number), expected, "{number}");
        }
    }
}

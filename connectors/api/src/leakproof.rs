//! Which expressions may be computed of rows that whoever asks may not see: those that give nothing away of them. They cannot
//! fail, whatever the row is, and have no side effect. What is not known to be so is not.

use arrow::datatypes::{DataType, TimeUnit};

use crate::expr::{Aggregate, BinaryOp, Expr, ExprKind, Function, Literal, UnaryOp};
use crate::fragment::Rel;
use crate::window::WindowFunction;

impl Expr {
    /// Whether it cannot fail, here or at any source, whatever values its columns and parameters have.
    pub fn is_leakproof(&self) -> bool {
        let itself = match &self.kind {
            ExprKind::Column(_) | ExprKind::Literal(_) => true,
            ExprKind::InList { .. } | ExprKind::Case { .. } => true,
            ExprKind::Unary { op, .. } => *op != UnaryOp::Negate,
            ExprKind::Binary { op, .. } => {
                op.is_comparison() || matches!(op, BinaryOp::And | BinaryOp::Or)
            }
            // A pattern may be none: `\` at its end.
            ExprKind::Like {
                pattern, escape, ..
            } => is_pattern(pattern, escape.unwrap_or('\\')),
            ExprKind::Cast { arg } => holds_all(&self.data_type, &arg.data_type),
            ExprKind::Call { function, args } => is_total(*function, args),
        };
        itself && self.children().into_iter().all(Self::is_leakproof)
    }
}

impl Rel {
    /// Whether its outermost node computes nothing that could fail of a row of its inputs before what is below has decided whether that
    /// row is there. A filter could always be put before another by the source, and is not; sums are of what is left.
    pub fn is_leakproof(&self) -> bool {
        let all = |mut exprs: &mut dyn Iterator<Item = &Expr>| (&mut exprs).all(Expr::is_leakproof);
        match self {
            Self::Filter { .. } => false,
            Self::Scan { .. } | Self::Limit { .. } | Self::UnionAll { .. } => true,
            Self::Project { columns, .. } => all(&mut columns.iter().map(|(expr, _)| expr)),
            Self::Join { on, filter, .. } => {
                let on = on.iter().flat_map(|(left, right)| [left, right]);
                all(&mut on.chain(filter))
            }
            Self::Aggregate {
                group_by,
                aggregates,
                ..
            } => {
                let args = aggregates.iter();
                all(&mut group_by.iter().map(|(key, _)| key))
                    && all(&mut args.flat_map(|(aggregate, _)| read_by(aggregate)))
            }
            Self::Window { windows, .. } => windows.iter().all(|(window, _)| {
                let by = window.partition_by.iter();
                let of = match &window.function {
                    WindowFunction::RowNumber
                    | WindowFunction::Rank
                    | WindowFunction::DenseRank => true,
                    WindowFunction::Aggregate(aggregate) => all(&mut read_by(aggregate)),
                    WindowFunction::Lag { arg, .. }
                    | WindowFunction::Lead { arg, .. }
                    | WindowFunction::FirstValue(arg)
                    | WindowFunction::LastValue(arg) => arg.is_leakproof(),
                };
                of && all(&mut by.chain(window.order_by.iter().map(|key| &key.expr)))
            }),
            Self::Sort { keys, .. } => all(&mut keys.iter().map(|key| &key.expr)),
        }
    }
}

fn read_by(aggregate: &Aggregate) -> impl Iterator<Item = &Expr> {
    aggregate.arg.iter().chain(&aggregate.filter)
}

fn is_pattern(pattern: &Expr, escape: char) -> bool {
    let Some(Literal::Text(text)) = pattern.as_literal() else {
        return false;
    };
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == escape && chars.next().is_none() {
            return false;
        }
    }
    true
}

/// Whether each value of one type has its like in the other.
fn holds_all(to: &DataType, from: &DataType) -> bool {
    use DataType::*;
    if to == from || *from == Null {
        return true;
    }
    let is_text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    if is_text(to) {
        let is_told = from.is_integer() || from.is_decimal() || matches!(from, Boolean | Date32);
        return is_text(from) || is_told;
    }
    match (digits(from), to) {
        (Some((integral, scale)), Decimal128(precision, to_scale)) => {
            let room = i16::from(*precision) - i16::from(*to_scale);
            *to_scale >= scale && room >= integral
        }
        (Some(_), Float64) if from.is_integer() => true,
        _ => match (bits(from), bits(to)) {
            (Some((from, from_sign)), Some((to, to_sign))) => match (from_sign, to_sign) {
                (true, false) => false,
                (false, true) => to > from,
                _ => to >= from,
            },
            _ => matches!((from, to), (Float32, Float64)) || is_coarser(from, to),
        },
    }
}

/// The digits before and behind the point that an exact number may have.
fn digits(of: &DataType) -> Option<(i16, i8)> {
    use DataType::*;
    Some(match of {
        Int8 | UInt8 => (3, 0),
        Int16 | UInt16 => (5, 0),
        Int32 | UInt32 => (10, 0),
        Int64 => (19, 0),
        UInt64 => (20, 0),
        Decimal128(precision, scale) => (i16::from(*precision) - i16::from(*scale), *scale),
        _ => return None,
    })
}

/// Of an integer, and whether it has a sign.
fn bits(of: &DataType) -> Option<(usize, bool)> {
    let width = of.primitive_width().filter(|_| of.is_integer())?;
    Some((width * 8, of.is_signed_integer()))
}

fn is_coarser(from: &DataType, to: &DataType) -> bool {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    match (from, to) {
        (DataType::Timestamp(from, zone), DataType::Timestamp(to, same)) => {
            zone == same && unit(to) <= unit(from)
        }
        _ => false,
    }
}

/// Whether a function gives something for all values of its arguments.
fn is_total(function: Function, args: &[Expr]) -> bool {
    use Function::*;
    match function {
        Coalesce | NullIf | Lower | Upper | CharacterLength | OctetLength | Trim | LeftTrim
        | RightTrim | StrPos | StartsWith | EndsWith | DatePart(_) => true,
        Left | Right => args.get(1).is_some_and(|count| is_small(count, i32::MIN)),
        Substring => {
            let is_start = args
                .get(1)
                .is_some_and(|start| is_small(start, i32::MIN + 1));
            is_start && args.get(2).is_none_or(|count| is_small(count, 0))
        }
        // What they make may be too large.
        Abs | Ceil | Floor | Round | Average | Replace | Concat | DateTrunc(_) => false,
    }
}

/// A constant that is no less than this, and no number is too large for.
fn is_small(count: &Expr, least: i32) -> bool {
    match count.as_literal() {
        Some(Literal::Int(count)) => {
            i32::try_from(*count).is_ok_and(|count| count >= least && count > i32::MIN)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data_type: DataType) -> Expr {
        Expr::column(0, data_type, true)
    }

    fn of(kind: ExprKind, data_type: DataType) -> Expr {
        Expr {
            kind,
            data_type,
            nullable: true,
        }
    }

    fn binary(op: BinaryOp, data_type: DataType) -> Expr {
        let side = || Box::new(column(data_type.clone()));
        let (left, right) = (side(), side());
        of(ExprKind::Binary { op, left, right }, DataType::Boolean)
    }

    fn cast(from: DataType, to: DataType) -> bool {
        let arg = Box::new(column(from));
        of(ExprKind::Cast { arg }, to).is_leakproof()
    }

    fn like(pattern: &str) -> bool {
        let pattern = Expr::literal(Literal::Text(pattern.into()), DataType::Utf8);
        let kind = ExprKind::Like {
            arg: Box::new(column(DataType::Utf8)),
            pattern: Box::new(pattern),
            escape: None,
            negated: false,
            case_insensitive: false,
        };
        of(kind, DataType::Boolean).is_leakproof()
    }

    #[test]
    fn comparisons_are_and_arithmetic_is_not() {
        for op in [BinaryOp::Eq, BinaryOp::Lt, BinaryOp::IsDistinctFrom] {
            assert!(binary(op, DataType::Int64).is_leakproof(), "{op:?}");
        }
        for op in [BinaryOp::Plus, BinaryOp::Divide, BinaryOp::Concat] {
            assert!(!binary(op, DataType::Int64).is_leakproof(), "{op:?}");
        }
        // Nor is what is made of it.
        let not = ExprKind::Unary {
            op: UnaryOp::Not,
            arg: Box::new(binary(BinaryOp::Modulo, DataType::Int64)),
        };
        assert!(!of(not, DataType::Boolean).is_leakproof());
    }

    #[test]
    fn casts_are_where_no_value_is_lost() {
        use DataType::*;
        let micros = |zone: Option<&str>| Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        for (from, to) in [
            (Int32, Int64),
            (UInt32, Int64),
            (Int64, Float64),
            (Int32, Decimal128(12, 2)),
            (Decimal128(10, 2), Decimal128(12, 4)),
            (Int64, Utf8),
            (Utf8, Utf8View),
            (Timestamp(TimeUnit::Nanosecond, None), micros(None)),
        ] {
            assert!(cast(from.clone(), to.clone()), "{from} {to}");
        }
        for (from, to) in [
            (Int64, Int32),
            (Int64, UInt64),
            (UInt64, Int64),
            (Int64, Decimal128(12, 2)),
            (Decimal128(12, 2), Decimal128(12, 4)),
            (Utf8, Int64),
            (Utf8, Date32),
            (Float64, Int64),
            (Float64, Decimal128(38, 2)),
            (Date32, micros(None)),
            (micros(None), Timestamp(TimeUnit::Nanosecond, None)),
            (micros(Some("UTC")), micros(None)),
        ] {
            assert!(!cast(from.clone(), to.clone()), "{from} {to}");
        }
    }

    #[test]
    fn patterns_are_where_they_are_known_and_whole() {
        assert!(like("a%_"));
        assert!(like(r"a\%"));
        assert!(like(r"a\\"));
        assert!(!like(r"a\"));
        assert!(!like(r"\\\"));
    }

    #[test]
    fn functions_are_where_their_numbers_are_known() {
        let call = |function, numbers: &[i64]| {
            let numbers = numbers.iter();
            let numbers = numbers.map(|n| Expr::literal(Literal::Int(*n), DataType::Int64));
            let args = [column(DataType::Utf8)].into_iter().chain(numbers);
            let args = args.collect();
            of(ExprKind::Call { function, args }, DataType::Utf8).is_leakproof()
        };
        assert!(call(Function::Lower, &[]));
        assert!(call(Function::Right, &[4]));
        assert!(call(Function::Right, &[-4]));
        assert!(!call(Function::Right, &[i64::MIN]));
        assert!(call(Function::Substring, &[2, 3]));
        assert!(!call(Function::Substring, &[2, -1]));
        assert!(!call(Function::Replace, &[]));
    }
}

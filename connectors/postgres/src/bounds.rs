//! What values an integer expression can have, from its types and constants alone: arithmetic is sent only where no
//! row's can overflow.

use arrow::datatypes::DataType;
use belvedere_connector::{BinaryOp, Expr, ExprKind, Function, Literal, UnaryOp};

/// Least and greatest value; None if it is not an integer.
pub fn bounds(expr: &Expr) -> Option<(i128, i128)> {
    let of_type = type_bounds(&expr.data_type)?;
    let found = match &expr.kind {
        ExprKind::Literal(Literal::Int(n)) => (i128::from(*n), i128::from(*n)),
        ExprKind::Cast { arg } => bounds(arg).unwrap_or(of_type),
        _ => computed(expr).unwrap_or(of_type),
    };
    Some((found.0.max(of_type.0), found.1.min(of_type.1)))
}

/// Whether the operation's result is within its type for all values of its arguments.
pub fn fits(expr: &Expr) -> bool {
    match (computed(expr), type_bounds(&expr.data_type)) {
        (Some((low, high)), Some((least, greatest))) => low >= least && high <= greatest,
        _ => false,
    }
}

fn type_bounds(data_type: &DataType) -> Option<(i128, i128)> {
    Some(match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        _ => return None,
    })
}

/// Of the operation itself, before its type cuts it; 64-bit operands cannot overflow 128 bits.
fn computed(expr: &Expr) -> Option<(i128, i128)> {
    match &expr.kind {
        ExprKind::Binary { op, left, right } => {
            let ((a, b), (c, d)) = (bounds(left)?, bounds(right)?);
            match op {
                BinaryOp::Plus => Some((a + c, b + d)),
                BinaryOp::Minus => Some((a - d, b - c)),
                BinaryOp::Multiply => {
                    let products = [a * c, a * d, b * c, b * d];
                    Some((*products.iter().min()?, *products.iter().max()?))
                }
                _ => None,
            }
        }
        ExprKind::Unary {
            op: UnaryOp::Negate,
            arg,
        } => bounds(arg).map(|(a, b)| (-b, -a)),
        ExprKind::Call {
            function: Function::Abs,
            args,
        } => bounds(args.first()?).map(|(a, b)| (0, a.abs().max(b.abs()))),
        ExprKind::Call {
            function: Function::DatePart(_),
            ..
        } => Some((-300_000, 300_000)),
        _ => None,
    }
}

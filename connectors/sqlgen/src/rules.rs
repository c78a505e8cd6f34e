use arrow::datatypes::DataType;
use belvedere_connector::{BinaryOp, Expr, ExprKind, Function, UnaryOp};
use sqlparser::ast;

use crate::dialect::{Dialect, Operand, Position, Rendering};

/// One line of a capability table: an operation over arguments of these classes, and how it is rendered.
///
/// ```text
/// Rule { operation: Operation::Call(Function::CharacterLength), of: &[Class::Text], form: Form::Exact(|c| …) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub operation: Operation,
    /// Classes of the arguments in order; the last stands for all further ones. Empty fits any.
    pub of: &'static [Class],
    pub form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Call(Function),
    /// Any `date_part`: the call's expression says which.
    DatePart,
    /// Any `date_trunc`.
    DateTrunc,
    Unary(UnaryOp),
    Binary(BinaryOp),
    Like,
    /// LIKE without regard to case.
    ILike,
    /// To a class of types.
    Cast(Class),
    Case,
    InList,
}

/// Types that share a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Any,
    Boolean,
    Int,
    UInt,
    Float,
    Decimal,
    Text,
    Binary,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Other,
}

impl Class {
    pub fn of(data_type: &DataType) -> Self {
        use DataType::*;
        match data_type {
            Boolean => Self::Boolean,
            Int8 | Int16 | Int32 | Int64 => Self::Int,
            UInt8 | UInt16 | UInt32 | UInt64 => Self::UInt,
            Float16 | Float32 | Float64 => Self::Float,
            Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => Self::Decimal,
            Utf8 | LargeUtf8 | Utf8View => Self::Text,
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Self::Binary,
            Date32 | Date64 => Self::Date,
            Time32(_) | Time64(_) => Self::Time,
            Timestamp(_, None) => Self::Timestamp,
            Timestamp(_, Some(_)) => Self::TimestampTz,
            Interval(_) => Self::Interval,
            _ => Self::Other,
        }
    }

    fn fits(self, data_type: &DataType) -> bool {
        self == Self::Any || self == Self::of(data_type)
    }
}

/// What a line says.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// The engine's answer for all values, or an `Err` why not for these.
    Exact(fn(&Call<'_>) -> Result<ast::Expr, String>),
    /// A predicate that holds for at least the rows it should, and why for more.
    Superset(&'static str, fn(&Call<'_>) -> Result<ast::Expr, String>),
    /// Looks at the arguments to say which.
    Decide(fn(&Call<'_>) -> Result<Rendering, String>),
    /// The standard rendering is right here.
    Standard,
    /// Never; why.
    No(&'static str),
}

/// An operation to render, with its arguments rendered.
#[derive(Debug)]
pub struct Call<'a> {
    pub dialect: &'a dyn Dialect,
    pub expr: &'a Expr,
    /// In the order of [`Expr::children`].
    pub args: &'a [Operand<'a>],
    pub position: Position,
}

impl Call<'_> {
    /// The arguments' SQL.
    pub fn sql(&self) -> Vec<ast::Expr> {
        self.args.iter().map(|arg| arg.sql.clone()).collect()
    }
}

impl Rule {
    pub(crate) fn fits(&self, expr: &Expr, args: &[Operand<'_>]) -> bool {
        self.operation.fits(expr)
            && (self.of.is_empty()
                || (args.len() >= self.of.len()
                    && args
                        .iter()
                        .enumerate()
                        .all(|(i, arg)| self.of[i.min(self.of.len() - 1)].fits(arg.data_type()))))
    }

    /// None leaves it to the standard renderings.
    pub(crate) fn apply(&self, call: &Call<'_>) -> Option<Result<Rendering, String>> {
        Some(match self.form {
            Form::Standard => return None,
            Form::Exact(render) => render(call).map(Rendering::exact),
            Form::Superset(why, render) => render(call).map(|sql| Rendering::superset(sql, why)),
            Form::Decide(render) => render(call),
            Form::No(why) => Err(why.to_string()),
        })
    }
}

impl Operation {
    fn fits(self, expr: &Expr) -> bool {
        match (&expr.kind, self) {
            (ExprKind::Call { function, .. }, Self::Call(wanted)) => *function == wanted,
            (
                ExprKind::Call {
                    function: Function::DatePart(_),
                    ..
                },
                Self::DatePart,
            )
            | (
                ExprKind::Call {
                    function: Function::DateTrunc(_),
                    ..
                },
                Self::DateTrunc,
            )
            | (ExprKind::Case { .. }, Self::Case)
            | (ExprKind::InList { .. }, Self::InList) => true,
            (ExprKind::Unary { op, .. }, Self::Unary(wanted)) => *op == wanted,
            (ExprKind::Binary { op, .. }, Self::Binary(wanted)) => *op == wanted,
            (
                ExprKind::Like {
                    case_insensitive, ..
                },
                Self::Like | Self::ILike,
            ) => *case_insensitive == (self == Self::ILike),
            (ExprKind::Cast { .. }, Self::Cast(class)) => class.fits(&expr.data_type),
            _ => false,
        }
    }
}

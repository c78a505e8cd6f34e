//! Short constructors for AST nodes. Compound operands are parenthesised, so that no system's precedence matters.

use sqlparser::ast::{
    self, BinaryOperator, DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, UnaryOperator, Value,
};

use crate::block;

/// A quoted name, its quotes doubled.
pub fn quoted(name: &str, quote: char) -> Ident {
    let doubled = name.replace(quote, &format!("{quote}{quote}"));
    // Given as if unquoted: sqlparser's own quoting leaves a quote after a backslash as it is.
    Ident::new(format!("{quote}{doubled}{quote}"))
}

/// A name of ours, or a keyword-like name of the system: never from outside.
pub fn word(name: impl Into<String>) -> Ident {
    Ident::new(name)
}

pub fn column(table: &str, column: Ident) -> Expr {
    Expr::CompoundIdentifier(vec![word(table), column])
}

pub fn null() -> Expr {
    Expr::value(Value::Null)
}

pub fn boolean(value: bool) -> Expr {
    Expr::value(Value::Boolean(value))
}

pub fn number(value: impl ToString) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

/// An exact sum, brought into 64 bits as the engine's addition wraps: ((sum + 2^63) mod 2^64) - 2^63, the modulus taken twice
/// since these systems' has the dividend's sign.
pub fn wrapped(sum: Expr) -> Expr {
    let modulus = || number(1_u128 << 64);
    let half = || number(1_u128 << 63);
    let plus = |l, r| binary(l, BinaryOperator::Plus, r);
    let modulo = |of| call("mod", vec![of, modulus()]);
    let positive = modulo(plus(modulo(plus(sum, half())), modulus()));
    binary(positive, BinaryOperator::Minus, half())
}

/// A constant of the dialect's own (a format, a unit): never a value of a query.
pub fn text(value: &'static str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_string()))
}

/// `1 = 1`: true in every system.
pub fn always() -> Expr {
    binary(number(1), BinaryOperator::Eq, number(1))
}

pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(function(name, args, false))
}

pub fn count_star() -> ast::Function {
    let all = FunctionArg::Unnamed(FunctionArgExpr::Wildcard);
    with_args("count", vec![all], false)
}

/// A call of a function or aggregate, perhaps `DISTINCT`.
pub fn function(name: &str, args: Vec<Expr>, distinct: bool) -> ast::Function {
    let args = args
        .into_iter()
        .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)))
        .collect();
    with_args(name, args, distinct)
}

fn with_args(name: &str, args: Vec<FunctionArg>, distinct: bool) -> ast::Function {
    ast::Function {
        name: ObjectName::from(vec![word(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: distinct.then_some(DuplicateTreatment::Distinct),
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

pub fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(nested(left)),
        op,
        right: Box::new(nested(right)),
    }
}

/// All of them, without needless parentheses; None of none.
pub fn all(conditions: impl IntoIterator<Item = Expr>) -> Option<Expr> {
    conditions.into_iter().reduce(and)
}

pub fn and(left: Expr, right: Expr) -> Expr {
    logical(left, BinaryOperator::And, right)
}

pub fn or(left: Expr, right: Expr) -> Expr {
    logical(left, BinaryOperator::Or, right)
}

fn logical(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let side = |side: Expr| match &side {
        // Comparisons and conditions bind tighter than AND and OR in every system.
        Expr::BinaryOp { op: inner, .. }
            if *inner == op
                || !matches!(
                    inner,
                    BinaryOperator::And | BinaryOperator::Or | BinaryOperator::Xor
                ) =>
        {
            side
        }
        Expr::InList { .. } | Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::Like { .. } => side,
        Expr::Exists { .. } => side,
        _ => nested(side),
    };
    let (left, right) = (Box::new(side(left)), Box::new(side(right)));
    Expr::BinaryOp { left, op, right }
}

pub fn not(expr: Expr) -> Expr {
    Expr::UnaryOp {
        op: UnaryOperator::Not,
        expr: Box::new(nested(expr)),
    }
}

pub fn is_null(expr: Expr) -> Expr {
    Expr::IsNull(Box::new(nested(expr)))
}

pub fn is_not_null(expr: Expr) -> Expr {
    Expr::IsNotNull(Box::new(nested(expr)))
}

/// `expr COLLATE name`, the name already quoted where it must be.
pub fn collate(expr: Expr, name: Ident) -> Expr {
    Expr::Collate {
        expr: Box::new(nested(expr)),
        collation: ObjectName::from(vec![name]),
    }
}

pub fn cast(expr: Expr, data_type: ast::DataType) -> Expr {
    Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

/// A type by its name in the system.
pub fn type_name(name: &str) -> ast::DataType {
    ast::DataType::Custom(ObjectName::from(vec![word(name)]), Vec::new())
}

pub fn case(branches: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Expr {
    Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: branches
            .into_iter()
            .map(|(condition, result)| ast::CaseWhen { condition, result })
            .collect(),
        else_result: otherwise.map(Box::new),
    }
}

/// `left = ANY (list)`.
pub fn any(left: Expr, list: Expr) -> Expr {
    Expr::AnyOp {
        left: Box::new(nested(left)),
        compare_op: BinaryOperator::Eq,
        right: Box::new(list),
        is_some: false,
    }
}

/// `left IN (SELECT value FROM function(list))`.
pub fn in_values_of(left: Expr, function: &str, list: Expr) -> Expr {
    Expr::InSubquery {
        expr: Box::new(nested(left)),
        subquery: Box::new(block::values_of(word(function), list)),
        negated: false,
    }
}

/// Parenthesised unless it is one token or one call.
pub fn nested(expr: Expr) -> Expr {
    match expr {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Value(_)
        | Expr::Function(_)
        | Expr::Nested(_)
        | Expr::Cast { .. }
        | Expr::Case { .. }
        | Expr::Collate { .. } => expr,
        _ => Expr::Nested(Box::new(expr)),
    }
}

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

/// A scalar expression over the columns of its node's input, with the type the engine gives it.
///
/// Its meaning is DataFusion's over the same rows: a source renders it only where its own answer is proven to be that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expr {
    pub kind: ExprKind,
    pub data_type: DataType,
    pub nullable: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ExprKind {
    /// A column of the input, by index into [`Rel::schema`](crate::Rel::schema) of the input (of a join's filter:
    /// the left columns, then the right).
    Column(usize),
    Literal(Literal),
    Unary {
        op: UnaryOp,
        arg: Box<Expr>,
    },
    /// Both sides have been coerced by the engine: for comparisons they have one type; decimals may differ in
    /// precision and scale for arithmetic.
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// NULL semantics of SQL: NULL in the list makes a miss NULL.
    InList {
        arg: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    /// `%` and `_` as wildcards, `\` escapes unless `escape` says otherwise. Never pads.
    Like {
        arg: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<char>,
        negated: bool,
        case_insensitive: bool,
    },
    /// Searched CASE (a simple one arrives with its comparisons spelled out).
    Case {
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    /// To this expression's type; an error where the value does not fit.
    Cast {
        arg: Box<Expr>,
    },
    Call {
        function: Function,
        args: Vec<Expr>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnaryOp {
    Not,
    Negate,
    IsNull,
    IsNotNull,
    IsTrue,
    IsNotTrue,
    IsFalse,
    IsNotFalse,
}

/// Integer arithmetic wraps on overflow; integer division by zero is an error; float division is IEEE's; text is
/// compared by bytes; floats as numbers (-0.0 equals 0.0), NaN being equal to NaN and above everything; in
/// sorting, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BinaryOp {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
    IsDistinctFrom,
    IsNotDistinctFrom,
    And,
    Or,
    Plus,
    Minus,
    Multiply,
    Divide,
    Modulo,
    /// `||`: NULL if either side is.
    Concat,
}

impl BinaryOp {
    pub fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(
            self,
            Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
        )
    }

    pub fn is_arithmetic(self) -> bool {
        use BinaryOp::*;
        matches!(self, Plus | Minus | Multiply | Divide | Modulo)
    }
}

/// The scalar functions the algebra can say, with DataFusion's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Function {
    Abs,
    Ceil,
    Floor,
    Round,
    /// `average(sum, count)` of decimals, NULL for a count of 0: a decimal is cut, not rounded, to its type's digits; a
    /// float is the quotient of the floats that are nearest to both.
    Average,
    Coalesce,
    NullIf,
    /// Full Unicode case mapping, locale independent.
    Lower,
    Upper,
    /// In characters.
    CharacterLength,
    /// In bytes.
    OctetLength,
    /// `substr(text, start [, count])` in characters from 1; a start below 1 counts against the length.
    Substring,
    /// `trim(text [, characters])` and its one-sided forms; spaces without a second argument.
    Trim,
    LeftTrim,
    RightTrim,
    Left,
    Right,
    /// 1-based position of the second argument in the first, 0 if absent.
    StrPos,
    StartsWith,
    EndsWith,
    Replace,
    /// `concat(…)`: NULLs are skipped.
    Concat,
    /// `date_part(part, date or timestamp)`.
    DatePart(DatePart),
    /// `date_trunc(part, …)`.
    DateTrunc(DatePart),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DatePart {
    Year,
    Quarter,
    Month,
    /// ISO 8601.
    Week,
    Day,
    /// Sunday is 0.
    DayOfWeek,
    DayOfYear,
    Hour,
    Minute,
    /// Whole seconds.
    Second,
}

/// A typed constant. The value's form follows the type of the expression that holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Literal {
    Null,
    Boolean(bool),
    /// All signed integer types; days for Date32; units since midnight or the epoch for times and timestamps, in the
    /// unit of the type.
    Int(i64),
    /// All unsigned integer types.
    UInt(u64),
    Float(f64),
    /// Unscaled, with the scale of the type.
    Decimal(i128),
    Text(String),
    Binary(Vec<u8>),
    /// A batch of constants of the list type's element type, none of them NULL: a parameter of a connector's own, for
    /// many constants at once.
    List(Vec<Literal>),
    Interval {
        months: i32,
        days: i32,
        nanos: i64,
    },
    /// A constant that comes with each execution, by name: no NULL, and otherwise any of its type. What is said to be
    /// supported with it has to be so for most values, since it is asked for again once the value is there: a source is
    /// never sent one.
    Parameter(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SortKey {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    pub function: AggregateFunction,
    /// None is `count(*)`.
    pub arg: Option<Expr>,
    pub distinct: bool,
    /// Only rows for which this holds.
    pub filter: Option<Expr>,
    /// Of the result, as the engine gives it.
    pub data_type: DataType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AggregateFunction {
    Count,
    /// Integers wrap on overflow into their 64-bit type. NULL over no rows.
    Sum,
    Min,
    Max,
    BoolAnd,
    BoolOr,
}

impl Aggregate {
    pub(crate) fn exprs_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        self.arg.iter_mut().chain(&mut self.filter)
    }

    /// Collect the indexes of the input's columns it reads into `into`.
    pub fn columns_read(&self, into: &mut BTreeSet<usize>) {
        for expr in self.arg.iter().chain(&self.filter) {
            expr.columns_read(into);
        }
    }
}

impl Expr {
    pub fn column(index: usize, data_type: DataType, nullable: bool) -> Self {
        Self {
            kind: ExprKind::Column(index),
            data_type,
            nullable,
        }
    }

    pub fn literal(literal: Literal, data_type: DataType) -> Self {
        Self {
            nullable: literal == Literal::Null,
            kind: ExprKind::Literal(literal),
            data_type,
        }
    }

    pub fn as_column(&self) -> Option<usize> {
        match self.kind {
            ExprKind::Column(index) => Some(index),
            _ => None,
        }
    }

    pub fn as_literal(&self) -> Option<&Literal> {
        match &self.kind {
            ExprKind::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    /// The direct sub-expressions.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Column(_) | ExprKind::Literal(_) => Vec::new(),
            ExprKind::Unary { arg, .. } | ExprKind::Cast { arg } => vec![arg],
            ExprKind::Binary { left, right, .. } => vec![left, right],
            ExprKind::InList { arg, list, .. } => {
                std::iter::once(arg.as_ref()).chain(list).collect()
            }
            ExprKind::Like { arg, pattern, .. } => vec![arg, pattern],
            ExprKind::Case {
                branches,
                otherwise,
            } => branches
                .iter()
                .flat_map(|(when, then)| [when, then])
                .chain(otherwise.as_deref())
                .collect(),
            ExprKind::Call { args, .. } => args.iter().collect(),
        }
    }

    /// The same, to be changed.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            ExprKind::Column(_) | ExprKind::Literal(_) => Vec::new(),
            ExprKind::Unary { arg, .. } | ExprKind::Cast { arg } => vec![arg],
            ExprKind::Binary { left, right, .. } => vec![left, right],
            ExprKind::InList { arg, list, .. } => {
                std::iter::once(arg.as_mut()).chain(list).collect()
            }
            ExprKind::Like { arg, pattern, .. } => vec![arg, pattern],
            ExprKind::Case {
                branches,
                otherwise,
            } => branches
                .iter_mut()
                .flat_map(|(when, then)| [when, then])
                .chain(otherwise.as_deref_mut())
                .collect(),
            ExprKind::Call { args, .. } => args.iter_mut().collect(),
        }
    }

    /// Put values in the place of parameters. None: one has none, and what was done before is done.
    pub(crate) fn bind(&mut self, value: &dyn Fn(&str) -> Option<Literal>) -> Option<()> {
        if let ExprKind::Literal(literal) = &mut self.kind {
            if let Literal::Parameter(name) = literal {
                *literal = value(name)?;
                self.nullable = *literal == Literal::Null;
            }
            return Some(());
        }
        let mut children = self.children_mut().into_iter();
        children.try_for_each(|child| child.bind(value))
    }

    /// Collect the indexes of the input's columns it reads into `into`.
    pub fn columns_read(&self, into: &mut BTreeSet<usize>) {
        if let ExprKind::Column(index) = self.kind {
            into.insert(index);
        }
        for child in self.children() {
            child.columns_read(into);
        }
    }

    /// The same expression over an input whose column `i` is now at `map(i)`.
    #[must_use]
    pub fn map_columns(&self, map: &dyn Fn(usize) -> usize) -> Self {
        let boxed = |e: &Expr| Box::new(e.map_columns(map));
        let kind = match &self.kind {
            ExprKind::Column(index) => ExprKind::Column(map(*index)),
            ExprKind::Literal(literal) => ExprKind::Literal(literal.clone()),
            ExprKind::Unary { op, arg } => ExprKind::Unary {
                op: *op,
                arg: boxed(arg),
            },
            ExprKind::Cast { arg } => ExprKind::Cast { arg: boxed(arg) },
            ExprKind::Binary { op, left, right } => ExprKind::Binary {
                op: *op,
                left: boxed(left),
                right: boxed(right),
            },
            ExprKind::InList { arg, list, negated } => ExprKind::InList {
                arg: boxed(arg),
                list: list.iter().map(|e| e.map_columns(map)).collect(),
                negated: *negated,
            },
            ExprKind::Like {
                arg,
                pattern,
                escape,
                negated,
                case_insensitive,
            } => ExprKind::Like {
                arg: boxed(arg),
                pattern: boxed(pattern),
                escape: *escape,
                negated: *negated,
                case_insensitive: *case_insensitive,
            },
            ExprKind::Case {
                branches,
                otherwise,
            } => ExprKind::Case {
                branches: branches
                    .iter()
                    .map(|(when, then)| (when.map_columns(map), then.map_columns(map)))
                    .collect(),
                otherwise: otherwise.as_deref().map(boxed),
            },
            ExprKind::Call { function, args } => ExprKind::Call {
                function: *function,
                args: args.iter().map(|e| e.map_columns(map)).collect(),
            },
        };
        Self {
            kind,
            data_type: self.data_type.clone(),
            nullable: self.nullable,
        }
    }
}

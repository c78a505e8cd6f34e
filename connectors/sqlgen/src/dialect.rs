use std::fmt::Debug;

use arrow::datatypes::{DataType, Field};
use belvedere_connector::{
    Aggregate, BinaryOp, COLLATION, Expr, JoinKind, Literal, NATIVE_TYPE, TableRef, Window,
};
use sqlparser::ast;

use crate::rules::Rule;
use crate::sql;

/// What differs between SQL systems.
///
/// Every `Err` is a reason in words that `EXPLAIN` shows. Defaults are what PostgreSQL and SQLite share; a dialect
/// overrides what is otherwise.
pub trait Dialect: Debug + Send + Sync {
    /// The quote of names: `"` or a backtick.
    fn quote(&self) -> char {
        '"'
    }

    /// A name, quoted.
    fn ident(&self, name: &str) -> ast::Ident {
        sql::quoted(name, self.quote())
    }

    fn table(&self, table: &TableRef) -> ast::ObjectName {
        ast::ObjectName::from(vec![self.ident(&table.schema), self.ident(&table.name)])
    }

    /// The placeholder's text for the n-th parameter, from 1.
    fn placeholder(&self, n: usize) -> String;

    /// Placeholders are bound by their place in the text (`?`), not by number: a parameter that is used twice is bound
    /// twice.
    fn positional(&self) -> bool {
        false
    }

    /// How a placeholder is used as a value of a type: PostgreSQL states the type.
    fn bind(&self, placeholder: ast::Expr, _data_type: &DataType) -> ast::Expr {
        placeholder
    }

    /// How a constant is sent, if at all.
    fn literal(&self, literal: &Literal, data_type: &DataType) -> Result<LiteralForm, String>;

    /// How a constant, not NULL, is stored in a column, so that what is read of it then is the constant: `bind` makes a parameter of
    /// it, or of another constant that is stored in its place. `Err`: the column has no such value, and why.
    fn store(
        &self,
        literal: &Literal,
        field: &Field,
        bind: &dyn Fn(Literal, DataType) -> ast::Expr,
    ) -> Result<ast::Expr, String> {
        Ok(bind(literal.clone(), field.data_type().clone()))
    }

    /// How what an expression gives is stored in a column of its type. By default as it is.
    fn assign(&self, value: &Operand<'_>, _field: &Field) -> Result<ast::Expr, String> {
        Ok(value.sql.clone())
    }

    /// Whether a whole number that a column cannot hold is refused, whatever width it was computed in.
    fn refuses_misfits(&self, _field: &Field) -> bool {
        false
    }

    /// Whether a value of an UPDATE is computed of what was set before it, and not of the row as it was.
    fn assigns_in_order(&self) -> bool {
        false
    }

    /// How a column is used inside an expression: as the value the engine reads from it. Columns that only pass
    /// through are not asked about.
    fn read(
        &self,
        _data_type: &DataType,
        facts: &Facts,
        column: ast::Expr,
    ) -> Result<Read, String> {
        Ok(Read {
            sql: column,
            facts: facts.clone(),
            guard: None,
        })
    }

    /// The capability table: the first line that fits decides. What no line fits is left to the standard renderings.
    fn rules(&self) -> &[Rule];

    /// A value in the form in which this system's own comparison for this use *is* the engine's: text with a binary
    /// collation made explicit, say. The form must have the same value.
    fn key(&self, operand: &Operand<'_>, usage: Use) -> Result<ast::Expr, String>;

    /// A comparison better than the standard one over [`Dialect::key`]s, e.g. one that keeps an index usable. None is
    /// the standard one.
    fn compare(
        &self,
        _op: BinaryOp,
        _left: &Operand<'_>,
        _right: &Operand<'_>,
        _position: Position,
    ) -> Option<Result<Rendering, String>> {
        None
    }

    /// Like [`Dialect::compare`], for `arg IN (list)`.
    fn in_list(
        &self,
        _arg: &Operand<'_>,
        _list: &[Operand<'_>],
        _negated: bool,
        _position: Position,
    ) -> Option<Result<Rendering, String>> {
        None
    }

    /// `arg IN (keys)` of many constants, none of them NULL: as one parameter, which `bind` makes of a
    /// [`Literal::List`]. Keys that the source has no values for may be left out. None: each is a parameter.
    fn in_batch(
        &self,
        _arg: &Operand<'_>,
        _keys: &[&Literal],
        _bind: &dyn Fn(Vec<Literal>) -> ast::Expr,
    ) -> Option<Result<ast::Expr, String>> {
        None
    }

    /// Equality that takes NULL as a value.
    fn not_distinct(&self, left: ast::Expr, right: ast::Expr) -> ast::Expr {
        ast::Expr::IsNotDistinctFrom(Box::new(left), Box::new(right))
    }

    /// An aggregate over an argument already in the form of its [`Dialect::read`]. None is the standard one, which
    /// knows `count` and, by [`Use::MinMax`], `min` and `max`. A filter has become a CASE of the argument.
    fn aggregate(
        &self,
        _aggregate: &Aggregate,
        _arg: Option<&Operand<'_>>,
    ) -> Option<Result<Aggregated, String>> {
        None
    }

    /// Whether it has this window; of an aggregate that it has, over keys that it groups and sorts as the engine does.
    fn window(&self, _window: &Window) -> Result<(), String> {
        Ok(())
    }

    /// Where NULLs sort.
    fn nulls(&self) -> Nulls {
        Nulls::Stated
    }

    /// What a LIMIT must say to have an OFFSET without a limit; None where OFFSET may stand alone.
    fn no_limit(&self) -> Option<&'static str> {
        None
    }

    /// Whether a table made of a SELECT may be one whose EXISTS reads another such table.
    fn merges_exists(&self) -> bool {
        true
    }

    /// Whether it knows STRAIGHT_JOIN, and needs it: it would begin with a small table and look the many rows of the
    /// large one up by an index, one by one.
    fn straight_joins(&self) -> bool {
        false
    }

    /// What the names of the columns begin with of a table made of a SELECT, which is named so.
    fn output_prefix(&self, _table: &str) -> String {
        "c".to_string()
    }

    /// Whether it has this join: with equal pairs, with another condition.
    fn join(&self, _kind: JoinKind, _has_keys: bool, _has_filter: bool) -> Result<(), String> {
        Ok(())
    }

    /// How much one statement may have.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// How an outermost column is selected on the wire.
    fn output(
        &self,
        _field: &Field,
        _facts: &Facts,
        column: ast::Expr,
    ) -> Result<ast::Expr, String> {
        Ok(column)
    }
}

/// How much a system takes in one statement.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Parameters that are bound.
    pub parameters: usize,
    /// Columns that are selected.
    pub columns: usize,
    /// Tables that one SELECT reads.
    pub tables: usize,
}

impl Default for Limits {
    /// None.
    fn default() -> Self {
        Self {
            parameters: usize::MAX,
            columns: usize::MAX,
            tables: usize::MAX,
        }
    }
}

/// What is known of a value beyond its type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The type as the source calls it, while the value is a table's column as it is stored.
    pub native_type: Option<String>,
    /// The collation it compares by unless another is stated; None is unknown.
    pub collation: Option<String>,
}

impl Facts {
    /// Of a column, from its field's metadata.
    pub fn of(field: &Field) -> Self {
        Self {
            native_type: field.metadata().get(NATIVE_TYPE).cloned(),
            collation: field.metadata().get(COLLATION).cloned(),
        }
    }

    /// Of a value that is either: what both agree on.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        Self {
            native_type: self
                .native_type
                .clone()
                .filter(|_| self.native_type == other.native_type),
            collation: self
                .collation
                .clone()
                .filter(|_| self.collation == other.collation),
        }
    }
}

/// An argument, rendered exactly (in [`Position::Predicate`], perhaps as a superset).
#[derive(Debug, Clone)]
pub struct Operand<'a> {
    pub expr: &'a Expr,
    pub sql: ast::Expr,
    pub facts: Facts,
}

impl Operand<'_> {
    pub fn data_type(&self) -> &DataType {
        &self.expr.data_type
    }

    pub fn as_literal(&self) -> Option<&Literal> {
        match &self.expr.kind {
            belvedere_connector::ExprKind::Literal(literal) => Some(literal),
            _ => None,
        }
    }
}

/// How a constant is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum LiteralForm {
    /// In the text: NULL, TRUE, and what a system does not take as a parameter.
    Inline(Box<ast::Expr>),
    /// As a bound parameter.
    Bind,
}

impl LiteralForm {
    pub fn inline(sql: ast::Expr) -> Self {
        Self::Inline(Box::new(sql))
    }
}

/// A column as a value in an expression.
#[derive(Debug, Clone)]
pub struct Read {
    pub sql: ast::Expr,
    pub facts: Facts,
    /// A condition that is true or raises an error, for every row that is used: one for each column, in the WHERE of
    /// its SELECT. True for NULL, since it may see the empty side of an outer join.
    pub guard: Option<ast::Expr>,
}

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// A predicate of a filter, or below an AND of one: may hold for more rows than it should.
    Predicate,
    /// Elsewhere: exact or nothing.
    Value,
}

/// What two values are compared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// `=`, `<>`, `IN`, keys of joins.
    Equality,
    /// `<`, `>=` …
    Order,
    /// `GROUP BY`, `DISTINCT`.
    Group,
    /// `ORDER BY`.
    Sort,
    /// `min`, `max`.
    MinMax,
}

/// Where NULLs sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// Where `NULLS FIRST` or `NULLS LAST` says.
    Stated,
    /// Below every value, and there is no such keyword: `x IS NULL` becomes a sort key of its own where needed.
    Lowest,
}

/// An expression, rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendering {
    pub sql: ast::Expr,
    /// Why it holds for more rows than it should; None is exact.
    pub superset: Option<String>,
    /// The collation of the result, where the rendering states it.
    pub collation: Option<String>,
}

impl Rendering {
    pub fn exact(sql: ast::Expr) -> Self {
        Self {
            sql,
            superset: None,
            collation: None,
        }
    }

    pub fn superset(sql: ast::Expr, why: impl Into<String>) -> Self {
        Self {
            sql,
            superset: Some(why.into()),
            collation: None,
        }
    }
}

/// An aggregate, rendered.
#[derive(Debug, Clone)]
pub struct Aggregated {
    /// What a window may be put over.
    pub call: ast::Function,
    /// What the value is, given the call's.
    pub value: fn(ast::Expr) -> ast::Expr,
}

impl Aggregated {
    /// The call's own value.
    pub fn plain(call: ast::Function) -> Self {
        Self {
            call,
            value: |call| call,
        }
    }

    pub(crate) fn over(self, window: Option<ast::WindowSpec>) -> ast::Expr {
        let over = window.map(ast::WindowType::WindowSpec);
        (self.value)(ast::Expr::Function(ast::Function { over, ..self.call }))
    }
}

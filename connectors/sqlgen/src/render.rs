use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use belvedere_connector::{BinaryOp, Expr, ExprKind, Literal};
use sqlparser::ast::{self, Value, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut};

use crate::block::Column;
use crate::dialect::{Dialect, Facts, LiteralForm, Operand, Position, Rendering};
use crate::rules::Call;
use crate::{sql, standard};

/// Expressions nested deeper stay in the engine: printing recurses, and remote parsers have limits of their own.
const MAX_DEPTH: usize = 100;
/// From so many constants on they are sent as one parameter, where a dialect can.
const BATCH: usize = 33;

/// A fragment as SQL.
#[derive(Debug, Clone)]
pub struct Rendered {
    pub query: ast::Query,
    /// `query` as text.
    pub sql: String,
    /// To bind, in the order of their numbers (of their places, where placeholders have none).
    pub params: Vec<(Literal, DataType)>,
    /// Of the output's columns: a native type says that the stored value is sent as it is.
    pub columns: Vec<Facts>,
}

impl Rendered {
    /// Whether a SELECT is inside another.
    pub fn has_subqueries(&self) -> bool {
        let mut queries = Queries(0);
        let _ = Visit::visit(&self.query, &mut queries);
        queries.0 > 1
    }
}

struct Queries(usize);

impl Visitor for Queries {
    type Break = ();

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.0 += 1;
        match self.0 {
            ..=1 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

/// Renders expressions, collecting parameters.
#[derive(Debug)]
pub(crate) struct Renderer<'d> {
    pub dialect: &'d dyn Dialect,
    params: RefCell<Vec<(Literal, DataType)>>,
    tables: Cell<usize>,
}

/// The columns an expression sees, and the guards of those it used.
#[derive(Debug)]
pub(crate) struct Scope {
    columns: Vec<Column>,
    guards: RefCell<Vec<(usize, ast::Expr)>>,
}

impl Scope {
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self {
            columns: columns.into_iter().collect(),
            guards: RefCell::default(),
        }
    }

    /// (Index of the column, guard), of the columns used.
    pub fn into_guards(self) -> Vec<(usize, ast::Expr)> {
        self.guards.into_inner()
    }
}

impl<'d> Renderer<'d> {
    pub fn new(dialect: &'d dyn Dialect) -> Self {
        Self {
            dialect,
            params: RefCell::default(),
            tables: Cell::new(0),
        }
    }

    /// A table alias not used before.
    pub fn next_alias(&self) -> String {
        let n = self.tables.get();
        self.tables.set(n + 1);
        format!("t{n}")
    }

    pub fn exact<'e>(&self, expr: &'e Expr, scope: &Scope) -> Result<Operand<'e>, String> {
        self.operand(expr, scope, Position::Value, 0)
            .map(|(operand, _)| operand)
    }

    /// A filter's predicate, and why it is a superset if it is.
    pub fn predicate(
        &self,
        expr: &Expr,
        scope: &Scope,
    ) -> Result<(ast::Expr, Option<String>), String> {
        self.operand(expr, scope, Position::Predicate, 0)
            .map(|(operand, superset)| (operand.sql, superset))
    }

    /// What a column is inside an expression.
    pub fn column<'e>(
        &self,
        expr: &'e Expr,
        index: usize,
        scope: &Scope,
    ) -> Result<Operand<'e>, String> {
        let column = scope
            .columns
            .get(index)
            .ok_or_else(|| format!("column {index} is not in the input"))?;
        let read = self
            .dialect
            .read(&expr.data_type, &column.facts, column.sql.clone())?;
        if let Some(guard) = read.guard {
            scope.guards.borrow_mut().push((index, guard));
        }
        Ok(Operand {
            expr,
            sql: read.sql,
            facts: read.facts,
        })
    }

    fn operand<'e>(
        &self,
        expr: &'e Expr,
        scope: &Scope,
        position: Position,
        depth: usize,
    ) -> Result<(Operand<'e>, Option<String>), String> {
        if depth > MAX_DEPTH {
            return Err(format!("an expression nested deeper than {MAX_DEPTH}"));
        }
        match &expr.kind {
            ExprKind::Column(index) => Ok((self.column(expr, *index, scope)?, None)),
            ExprKind::Literal(literal) => {
                let sql = self.literal(literal, &expr.data_type)?;
                let facts = Facts::default();
                Ok((Operand { expr, sql, facts }, None))
            }
            _ => {
                let (rendering, args_superset) = self.compound(expr, scope, position, depth)?;
                let superset = rendering.superset.or(args_superset);
                if let (Position::Value, Some(why)) = (position, &superset) {
                    return Err(why.clone());
                }
                let operand = Operand {
                    expr,
                    sql: rendering.sql,
                    facts: Facts {
                        native_type: None,
                        collation: rendering.collation,
                    },
                };
                Ok((operand, superset))
            }
        }
    }

    fn compound(
        &self,
        expr: &Expr,
        scope: &Scope,
        position: Position,
        depth: usize,
    ) -> Result<(Rendering, Option<String>), String> {
        if let Some(batch) = self.batch(expr, scope, depth)? {
            return Ok((batch, None));
        }
        // Only an AND or OR of a predicate may have arguments that hold for too many rows.
        let inner = match expr.kind {
            ExprKind::Binary {
                op: BinaryOp::And | BinaryOp::Or,
                ..
            } => position,
            _ => Position::Value,
        };
        let mut args = Vec::new();
        let mut superset = None;
        for child in expr.children() {
            let (arg, why) = self.operand(child, scope, inner, depth + 1)?;
            args.push(arg);
            superset = superset.or(why);
        }
        let call = Call {
            dialect: self.dialect,
            expr,
            args: &args,
            position,
        };
        let rule = self
            .dialect
            .rules()
            .iter()
            .find(|rule| rule.fits(expr, &args));
        let rendering = match rule.and_then(|rule| rule.apply(&call)) {
            Some(own) => own?,
            None => standard::expr(self.dialect, expr, &args, position)?,
        };
        Ok((rendering, superset))
    }

    /// `arg IN (…)` of many constants, if the dialect takes them as one.
    fn batch(&self, expr: &Expr, scope: &Scope, depth: usize) -> Result<Option<Rendering>, String> {
        let ExprKind::InList {
            arg,
            list,
            negated: false,
        } = &expr.kind
        else {
            return Ok(None);
        };
        let keys = list.iter().map(|item| match &item.kind {
            ExprKind::Literal(literal) if *literal != Literal::Null => Some(literal),
            _ => None,
        });
        let keys: Option<Vec<&Literal>> = keys.collect();
        let Some(keys) = keys.filter(|keys| keys.len() >= BATCH) else {
            return Ok(None);
        };
        let (arg, _) = self.operand(arg, scope, Position::Value, depth + 1)?;
        let element = Field::new_list_field(arg.data_type().clone(), false);
        let list = DataType::List(Arc::new(element));
        let bind = |keys| self.parameter(Literal::List(keys), &list);
        let batch = self.dialect.in_batch(&arg, &keys, &bind).transpose()?;
        Ok(batch.map(Rendering::exact))
    }

    fn literal(&self, literal: &Literal, data_type: &DataType) -> Result<ast::Expr, String> {
        if let Literal::Parameter(_) = literal {
            // Whether it takes one of that value is asked again once there is one.
            self.dialect.literal(&sample(data_type)?, data_type)?;
            return Ok(self.parameter(literal.clone(), data_type));
        }
        Ok(match self.dialect.literal(literal, data_type)? {
            LiteralForm::Inline(sql) => *sql,
            LiteralForm::Bind => self.parameter(literal.clone(), data_type),
        })
    }

    fn parameter(&self, literal: Literal, data_type: &DataType) -> ast::Expr {
        let place = self.placed(literal, data_type.clone());
        self.dialect.bind(place, data_type)
    }

    /// A parameter whose type is its place's: that of the column it is stored in.
    pub fn placed(&self, literal: Literal, data_type: DataType) -> ast::Expr {
        let mut params = self.params.borrow_mut();
        params.push((literal, data_type));
        // An index for now; numbered when the text is complete.
        ast::Expr::value(Value::Placeholder((params.len() - 1).to_string()))
    }

    /// Number the placeholders and print.
    pub fn finish(self, query: ast::Query, columns: Vec<Facts>) -> Result<Rendered, String> {
        let (query, params) = self.numbered(query)?;
        Ok(Rendered {
            sql: query.to_string(),
            query,
            params,
            columns,
        })
    }

    /// With the placeholders' numbers, and what to bind.
    pub fn numbered<T: VisitMut>(
        self,
        mut tree: T,
    ) -> Result<(T, Vec<(Literal, DataType)>), String> {
        let mut numbering = Numbering {
            dialect: self.dialect,
            params: self.params.into_inner(),
            numbers: HashMap::new(),
            bound: Vec::new(),
        };
        match VisitMut::visit(&mut tree, &mut numbering) {
            ControlFlow::Break(why) => Err(why),
            ControlFlow::Continue(()) => Ok((tree, numbering.bound)),
        }
    }
}

/// A constant like most of a type.
fn sample(data_type: &DataType) -> Result<Literal, String> {
    Ok(match data_type {
        DataType::Boolean => Literal::Boolean(true),
        _ if data_type.is_signed_integer() || data_type.is_temporal() => Literal::Int(1),
        _ if data_type.is_unsigned_integer() => Literal::UInt(1),
        _ if data_type.is_floating() => Literal::Float(1.0),
        _ if data_type.is_decimal() => Literal::Decimal(1),
        _ if data_type.is_string() => Literal::Text("a".to_string()),
        _ if data_type.is_binary() => Literal::Binary(vec![1]),
        _ => return Err(format!("a parameter of type {data_type}")),
    })
}

/// Turns indexes into placeholders, in the order of the text.
struct Numbering<'d> {
    dialect: &'d dyn Dialect,
    params: Vec<(Literal, DataType)>,
    numbers: HashMap<usize, usize>,
    bound: Vec<(Literal, DataType)>,
}

impl VisitorMut for Numbering<'_> {
    type Break = String;

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<String> {
        if let Value::Placeholder(place) = &mut value.value {
            let found = place
                .parse::<usize>()
                .ok()
                .and_then(|index| self.params.get(index).map(|param| (index, param)));
            let Some((index, param)) = found else {
                return ControlFlow::Break(format!("placeholder {place} has no parameter"));
            };
            let known = self.numbers.get(&index).copied();
            let number = match known {
                Some(number) if !self.dialect.positional() => number,
                _ => {
                    self.bound.push(param.clone());
                    self.numbers.insert(index, self.bound.len());
                    self.bound.len()
                }
            };
            *place = self.dialect.placeholder(number);
        }
        ControlFlow::Continue(())
    }
}

/// Whether an expression holds a parameter.
pub(crate) fn has_parameter(expr: &ast::Expr) -> bool {
    struct Find;
    impl ast::Visitor for Find {
        type Break = ();
        fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
            match value.value {
                Value::Placeholder(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    ast::Visit::visit(expr, &mut Find).is_break()
}

/// An argument that counts only where the aggregate's filter holds.
pub(crate) fn only_where(filter: Option<ast::Expr>, arg: ast::Expr) -> ast::Expr {
    match filter {
        Some(filter) => sql::case(vec![(filter, arg)], None),
        None => arg,
    }
}

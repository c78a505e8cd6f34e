//! `FETCH FIRST n ROWS ONLY`, `(a, b) IN (SELECT …)` and `unnest(…) WITH ORDINALITY`, which DataFusion refuses, in words that it
//! takes; and what it would pass over without a word is refused.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, LimitClause, ObjectName, Query, Select, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, UnaryOperator, Value, VisitMut, VisitorMut,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use crate::error::{Error, Result};

/// What the rows are called that others are looked for in. Nobody types it.
const ROWS: &str = "$rows";

/// The query in words that DataFusion has.
pub(in crate::engine) fn in_known_words(query: &mut Query) -> Result<()> {
    match query.visit(&mut Words) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Words;

impl VisitorMut for Words {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        said(fetch_as_limit(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match &mut select.selection {
            Some(condition) => said(in_conjuncts(condition)),
            None => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        said(in_any_place(expr))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        said(numbered(factor))
    }
}

fn said(done: Result<()>) -> ControlFlow<Error> {
    match done {
        Ok(()) => ControlFlow::Continue(()),
        Err(e) => ControlFlow::Break(e),
    }
}

fn missing(what: &str) -> Error {
    Error::NotInThisVersion { what: what.into() }
}

fn fetch_as_limit(query: &mut Query) -> Result<()> {
    let Some(fetch) = query.fetch.take() else {
        return Ok(());
    };
    if fetch.with_ties {
        return Err(missing("FETCH FIRST … WITH TIES"));
    }
    if fetch.percent {
        return Err(missing("FETCH FIRST … PERCENT"));
    }
    let rows = fetch.quantity.unwrap_or_else(|| number(1));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) if limit.is_none() => *limit = Some(rows),
        Some(_) => {
            let message = "a query has LIMIT or FETCH FIRST, and not both";
            return Err(Error::invalid(message));
        }
        clause => {
            *clause = Some(LimitClause::LimitOffset {
                limit: Some(rows),
                offset: None,
                limit_by: Vec::new(),
            });
        }
    }
    Ok(())
}

/// Several values, the query that they are looked for in, and whether they are not to be there.
fn rows_in(expr: &Expr) -> Option<(&[Expr], &Query, bool)> {
    let Expr::InSubquery {
        expr,
        subquery,
        negated,
    } = expr
    else {
        return None;
    };
    match expr.as_ref() {
        Expr::Tuple(values) if values.len() > 1 => Some((values, subquery, *negated)),
        _ => None,
    }
}

/// Where false and NULL are the same, a row is there if one is equal, and is not if none may be.
fn in_conjuncts(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Nested(inner) => in_conjuncts(inner),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            in_conjuncts(left)?;
            in_conjuncts(right)
        }
        expr => {
            if let Some((values, query, negated)) = rows_in(expr) {
                let mut exists = exists(values, query, negated)?;
                if let Expr::Exists { negated: not, .. } = &mut exists {
                    *not = negated;
                }
                *expr = exists;
            }
            Ok(())
        }
    }
}

/// NULL, where no row is equal and one may be.
fn in_any_place(expr: &mut Expr) -> Result<()> {
    let Some((values, query, negated)) = rows_in(expr) else {
        return Ok(());
    };
    let null = Expr::Value(Value::Null.into());
    let unknown = binary(exists(values, query, true)?, BinaryOperator::And, null);
    let is_in = binary(exists(values, query, false)?, BinaryOperator::Or, unknown);
    *expr = match negated {
        true => Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(is_in),
        },
        false => is_in,
    };
    Ok(())
}

/// Whether a row of the query is equal to these values; with `or_may_be`, or may be, since some of them are NULL.
fn exists(values: &[Expr], query: &Query, or_may_be: bool) -> Result<Expr> {
    let of_rows = Ident::with_quote('"', ROWS);
    let columns: Vec<Ident> = (0..values.len())
        .map(|n| Ident::with_quote('"', format!("{ROWS}{n}")))
        .collect();
    let equal = columns.iter().zip(values).map(|(column, value)| {
        let column = Expr::CompoundIdentifier(vec![of_rows.clone(), column.clone()]);
        binary(column, BinaryOperator::Eq, value.clone())
    });
    let all = equal.reduce(|all, one| binary(all, BinaryOperator::And, one));
    let selection = match or_may_be {
        true => all.map(|all| Expr::IsNotFalse(Box::new(all))),
        false => all,
    };
    let internal = || Error::Internal("a row is looked for in no query".into());
    let parsed = Parser::new(&GenericDialect {}).try_with_sql("SELECT 1");
    let parsed = parsed.and_then(|mut parser| parser.parse_query());
    let mut subquery = parsed.map_err(|_| internal())?;
    let SetExpr::Select(select) = subquery.body.as_mut() else {
        return Err(internal());
    };
    select.selection = selection;
    select.from = vec![TableWithJoins {
        relation: TableFactor::Derived {
            // What it reads of the tables around it is found, or is said not to be planned.
            lateral: true,
            subquery: Box::new(query.clone()),
            alias: Some(alias(of_rows, columns)),
            sample: None,
        },
        joins: Vec::new(),
    }];
    Ok(Expr::Exists {
        subquery,
        negated: false,
    })
}

fn is_of_catalog(name: &ObjectName) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|last| last.value.to_ascii_lowercase().starts_with("pg_"))
}

/// The items of a list with their numbers are those of two lists.
fn numbered(factor: &mut TableFactor) -> Result<()> {
    match factor {
        TableFactor::Table {
            sample: Some(_), ..
        }
        | TableFactor::Derived {
            sample: Some(_), ..
        } => Err(missing("TABLESAMPLE")),
        // PostgreSQL's own are understood with it.
        TableFactor::Table {
            with_ordinality: true,
            name,
            ..
        }
        | TableFactor::Function {
            with_ordinality: true,
            name,
            ..
        } if !is_of_catalog(name) => Err(missing("WITH ORDINALITY but of unnest")),
        TableFactor::UNNEST {
            alias: named,
            array_exprs,
            with_ordinality,
            ..
        } if *with_ordinality => {
            let [list] = array_exprs.as_slice() else {
                return Err(missing("WITH ORDINALITY of several lists"));
            };
            let count = call("array_length", vec![list.clone()]);
            let numbers = call("generate_series", vec![number(1), count]);
            let mut given = named
                .take()
                .unwrap_or_else(|| alias(Ident::new("unnest"), Vec::new()));
            if given.columns.is_empty() {
                given.columns = columns(vec![given.name.clone()]);
            }
            if given.columns.len() == 1 {
                given
                    .columns
                    .extend(columns(vec![Ident::new("ordinality")]));
            }
            array_exprs.push(numbers);
            *with_ordinality = false;
            *named = Some(given);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn alias(name: Ident, names: Vec<Ident>) -> TableAlias {
    TableAlias {
        explicit: true,
        name,
        columns: columns(names),
        at: None,
    }
}

fn columns(names: Vec<Ident>) -> Vec<TableAliasColumnDef> {
    let columns = names.into_iter().map(|name| TableAliasColumnDef {
        name,
        data_type: None,
    });
    columns.collect()
}

fn number(number: i64) -> Expr {
    Expr::Value(Value::Number(number.to_string(), false).into())
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let side = |side| Box::new(Expr::Nested(Box::new(side)));
    Expr::BinaryOp {
        left: side(left),
        op,
        right: side(right),
    }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args
        .into_iter()
        .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(sql: &str) -> Result<String> {
        let parsed = belvedere_sql::parse_one(sql).unwrap();
        let belvedere_sql::Statement::Query(mut query) = parsed.statement else {
            panic!("{sql}");
        };
        in_known_words(&mut query)?;
        Ok(query.to_string())
    }

    #[test]
    fn rows_are_fetched() {
        assert_eq!(
            known("SELECT a FROM t ORDER BY a OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY").unwrap(),
            "SELECT a FROM t ORDER BY a LIMIT 2 OFFSET 1 ROWS"
        );
        assert_eq!(
            known("SELECT a FROM t FETCH FIRST ROW ONLY").unwrap(),
            "SELECT a FROM t LIMIT 1"
        );
        let e = known("SELECT a FROM t ORDER BY a FETCH FIRST 2 ROWS WITH TIES").unwrap_err();
        assert_eq!(e.sqlstate(), "0A000");
        assert!(known("SELECT a FROM t LIMIT 1 FETCH FIRST 2 ROWS ONLY").is_err());
    }

    #[test]
    fn what_would_be_passed_over_is_refused() {
        for sql in [
            "SELECT * FROM t TABLESAMPLE BERNOULLI (5)",
            "SELECT * FROM generate_series(1, 2) WITH ORDINALITY AS t(x, n)",
        ] {
            assert_eq!(known(sql).unwrap_err().sqlstate(), "0A000", "{sql}");
        }
    }
}

use std::ops::ControlFlow;
use std::sync::Arc;

use belvedere_sql::{Fetch, Spanned, Statement as Sql, fold};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::scalar::ScalarValue;
use sqlparser::ast::{self, DiscardObject, Expr, UnaryOperator, Value};

use super::copy::CopyOut;
use super::parameters;
use crate::engine::{PgType, Prepared, Session};
use crate::error::{Error, Result};
use crate::serve::paths::refuse_relative_in;

/// A statement as the protocol knows it.
#[derive(Debug)]
pub(super) struct Statement {
    pub what: What,
    /// The types of its parameters, as the client declared them or as the statement tells.
    pub parameters: Vec<u32>,
    /// Of its text; 0 where it is a part of another.
    pub bytes: usize,
}

/// What executing it does.
#[derive(Debug)]
pub(super) enum What {
    /// It is empty.
    Nothing,
    /// Ask the engine.
    Ask(Prepared),
    /// Ask the engine, and send the rows as `COPY` does.
    CopyOut(Prepared, CopyOut),
    /// Make a portal of a name.
    Declare {
        name: String,
        prepared: Arc<Statement>,
        is_binary: bool,
        is_held: bool,
    },
    Fetch(Fetch),
    /// Close one portal, or all.
    Close(Option<String>),
    /// Forget one prepared statement, or all.
    Deallocate(Option<String>),
    /// As if the connection had just begun.
    DiscardAll,
    /// Nothing of what it names is ever kept.
    Discard,
    /// `PREPARE name AS …`
    Prepare(String, Arc<Statement>),
    /// `EXECUTE name (…)`
    Execute(String, Vec<ScalarValue>),
}

impl Statement {
    /// `declared`: the numbers of its parameters' types, as far as the client says.
    pub async fn new(session: &Session, parsed: Option<Spanned>, declared: &[u32]) -> Result<Self> {
        let Some(parsed) = parsed else {
            return Ok(Self {
                what: What::Nothing,
                parameters: Vec::new(),
                bytes: 0,
            });
        };
        refuse_relative_in(&parsed.statement)?;
        let query = match &parsed.statement {
            Sql::Query(query) => Some(query.clone()),
            _ => None,
        };
        let what = match &parsed.statement {
            Sql::Copy(copy) if copy.to.is_none() => {
                let form = CopyOut::new(copy)?;
                let rows = Sql::Query(copy.query.clone());
                What::CopyOut(prepared(session, &parsed, rows).await?, form)
            }
            Sql::Declare(declare) => {
                let rows = Sql::Query(declare.query.clone());
                let prepared = prepared(session, &parsed, rows).await?;
                let mut statement = Self::of(What::Ask(prepared), declared)?;
                statement.type_answer(session).await?;
                What::Declare {
                    name: fold(&declare.name),
                    prepared: Arc::new(statement),
                    is_binary: declare.binary,
                    is_held: declare.hold,
                }
            }
            Sql::Fetch(fetch) => What::Fetch(fetch.clone()),
            Sql::Close { name } => What::Close(name.as_ref().map(fold)),
            Sql::Other(other) => match other.as_ref() {
                ast::Statement::Deallocate { name, .. } => {
                    let is_all =
                        name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
                    What::Deallocate((!is_all).then(|| fold(name)))
                }
                ast::Statement::Discard { object_type } => match object_type {
                    DiscardObject::ALL => What::DiscardAll,
                    _ => What::Discard,
                },
                ast::Statement::Prepare {
                    name, statement, ..
                } => {
                    // As the dialect prints it: of a text like `'\''` sqlparser's own printer makes another, that ends early.
                    let text = Sql::Other(statement.clone()).to_string();
                    let inner = belvedere_sql::parse_one(&text)?;
                    let is_same = match &inner.statement {
                        Sql::Query(query) => **statement == ast::Statement::Query(query.clone()),
                        Sql::Other(other) => other == statement,
                        _ => true,
                    };
                    if !is_same {
                        return Err(Error::NotInThisVersion {
                            what: "preparing this by PREPARE, and not by the protocol".to_string(),
                        });
                    }
                    let inner = Box::pin(Self::new(session, Some(inner), &[])).await?;
                    let inner = Self {
                        bytes: text.len(),
                        ..inner
                    };
                    What::Prepare(fold(name), Arc::new(inner))
                }
                ast::Statement::Execute {
                    name: Some(name),
                    parameters,
                    immediate: false,
                    ..
                } => {
                    let values = parameters.iter().map(literal).collect::<Result<_>>()?;
                    let parts = name.0.iter().filter_map(|part| part.as_ident());
                    What::Execute(parts.map(fold).collect::<Vec<_>>().join("."), values)
                }
                _ => What::Ask(session.prepare_parsed(parsed).await?),
            },
            _ => What::Ask(session.prepare_parsed(parsed).await?),
        };
        let mut statement = Self::of(what, declared)?;
        if let Some(query) = &query {
            name_types(query, &mut statement.parameters, declared);
        }
        // A cursor's parameters are its query's, whose values come with it.
        if let What::Declare { prepared, .. } = &statement.what {
            statement.parameters.clone_from(&prepared.parameters);
        }
        statement.type_answer(session).await?;
        Ok(statement)
    }

    /// Where its answer hangs on the types of its parameters, they are what is known of them now.
    async fn type_answer(&mut self, session: &Session) -> Result<()> {
        if let What::Ask(prepared) = &self.what
            && let Some(typed) = session
                .prepare_typed(prepared, &self.parameter_types())
                .await?
        {
            self.what = What::Ask(typed);
        }
        Ok(())
    }

    fn of(what: What, declared: &[u32]) -> Result<Self> {
        let mut parameters = Vec::new();
        if let What::Ask(prepared) | What::CopyOut(prepared, _) = &what {
            for (n, (name, inferred)) in prepared.parameters.iter().enumerate() {
                let number = name.trim_start_matches('$');
                let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                // More digits than a number has are none that comes next.
                if is_number && number.parse::<usize>() != Ok(n + 1) {
                    return Err(Error::Protocol {
                        message: format!(
                            "parameters are numbered from $1 on; there is no ${}",
                            n + 1
                        ),
                        sqlstate: "42P18",
                    });
                }
                parameters.push(match declared.get(n) {
                    Some(oid) if *oid != 0 => *oid,
                    _ => match inferred {
                        Some(inferred) if !inferred.is_null() => PgType::of(inferred).oid,
                        _ => PgType::TEXT.oid,
                    },
                });
            }
        }
        Ok(Self {
            what,
            parameters,
            bytes: 0,
        })
    }

    /// Of its rows. None: it has none.
    pub fn schema(&self) -> Option<&SchemaRef> {
        match &self.what {
            What::Ask(prepared) if prepared.is_query => Some(&prepared.schema),
            _ => None,
        }
    }

    fn parameter_types(&self) -> Vec<DataType> {
        let known = |oid: &u32| parameters::declared(*oid).unwrap_or(PgType::TEXT);
        let types = self.parameters.iter().map(known);
        types.map(parameters::data_type).collect()
    }
}

/// What a parameter is cast to is its type, also where the engine has none of that name: asyncpg asks of types by `$1::oid[]`, and asks
/// the same of each type that it does not know.
fn name_types(query: &ast::Query, parameters: &mut [u32], declared: &[u32]) {
    let named = |data_type: &ast::DataType| match data_type {
        ast::DataType::Custom(name, _) => {
            let name = name.0.last()?.as_ident().map(fold)?;
            [PgType::OID, PgType::NAME]
                .into_iter()
                .find(|known| known.name == name)
        }
        _ => None,
    };
    let _ = ast::visit_expressions(query, |expr| {
        if let Expr::Cast {
            expr, data_type, ..
        } = expr
            && let Expr::Value(value) = expr.as_ref()
            && let Value::Placeholder(name) = &value.value
            && let Ok(number) = name.trim_start_matches('$').parse::<usize>()
            && let Some(at) = number.checked_sub(1)
            && declared.get(at).is_none_or(|oid| *oid == 0)
            && let Some(parameter) = parameters.get_mut(at)
        {
            let of = match data_type {
                ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(item, _)) => {
                    named(item).map(|known| known.array_oid)
                }
                data_type => named(data_type).map(|known| known.oid),
            };
            *parameter = of.unwrap_or(*parameter);
        }
        ControlFlow::<()>::Continue(())
    });
}

/// The rows of this query, as a statement of its own.
async fn prepared(session: &Session, parsed: &Spanned, rows: Sql) -> Result<Prepared> {
    session
        .prepare_parsed(Spanned {
            text: rows.to_string(),
            statement: rows,
            line: parsed.line,
            column: parsed.column,
        })
        .await
}

/// The value of an argument of `EXECUTE`.
fn literal(expr: &Expr) -> Result<ScalarValue> {
    let refused = || {
        Error::invalid_with_help(
            "EXECUTE takes plain values",
            "Write numbers, 'text', true, false or NULL",
        )
    };
    let number = |text: &str, sign: &str| {
        let text = format!("{sign}{text}");
        match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(whole), _) => Ok(ScalarValue::Int64(Some(whole))),
            (_, Ok(float)) => Ok(ScalarValue::Float64(Some(float))),
            _ => Err(refused()),
        }
    };
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => number(text, ""),
            Value::Boolean(truth) => Ok(ScalarValue::Boolean(Some(*truth))),
            Value::Null => Ok(ScalarValue::Null),
            other => match other.clone().into_string() {
                Some(text) => Ok(ScalarValue::Utf8(Some(text))),
                None => Err(refused()),
            },
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match expr.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Number(text, _) => number(text, "-"),
                _ => Err(refused()),
            },
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

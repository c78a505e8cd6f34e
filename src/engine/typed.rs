//! The types of parameters, where DataFusion does not tell them; and values that say more of them than the statement does.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use belvedere_sql::{Query, Statement, Write};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::type_coercion::functions::{UDFCoercionExt, fields_with_udf};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr as Planned, ExprSchemable, LogicalPlan, WindowFunctionDefinition,
};
use datafusion::scalar::ScalarValue;
use sqlparser::ast::{Expr, Value, VisitMut, visit_expressions, visit_expressions_mut};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use crate::error::{self, Error};

/// What the places of parameters tell, of which nothing else is known: a number of rows is whole, what is cast is of the type that it
/// is cast to, what something is looked for in (`id = ANY($1)`) is a list, and an argument is what the function takes there.
pub(super) fn infer(
    plan: &LogicalPlan,
    found: &mut HashMap<String, Option<DataType>>,
) -> Result<()> {
    if found.values().all(Option::is_some) {
        return Ok(());
    }
    let mut tell = |of: &Planned, data_type: DataType| {
        if let Some(Placeholder { id, .. }) = unknown(of)
            && let Some(untold @ None) = found.get_mut(id)
            && !is_untold(&data_type)
        {
            *untold = Some(data_type);
        }
    };
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                tell(count, DataType::Int64);
            }
        }
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Planned::Cast(cast) => tell(&cast.expr, cast.field.data_type().clone()),
                    Planned::ScalarFunction(call) if call.name() == "array_has" => {
                        if let [list, element] = call.args.as_slice()
                            && let Ok(element) = element.get_type(&schema)
                        {
                            tell(list, DataType::new_list(element, true));
                        }
                    }
                    Planned::ScalarFunction(call) => {
                        taken(call.func.as_ref(), &call.args, &schema, &mut tell);
                    }
                    Planned::AggregateFunction(call) => {
                        taken(call.func.as_ref(), &call.params.args, &schema, &mut tell);
                    }
                    Planned::WindowFunction(call) => match &call.fun {
                        WindowFunctionDefinition::AggregateUDF(function) => {
                            taken(function.as_ref(), &call.params.args, &schema, &mut tell);
                        }
                        WindowFunctionDefinition::WindowUDF(function) => {
                            taken(function.as_ref(), &call.params.args, &schema, &mut tell);
                        }
                    },
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// A parameter that DataFusion knows no type of.
fn unknown(expr: &Planned) -> Option<&Placeholder> {
    match expr {
        Planned::Placeholder(parameter) if parameter.field.is_none() => Some(parameter),
        _ => None,
    }
}

/// NULL, or a list of it.
fn is_untold(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_untold(item.data_type())
        }
        data_type => data_type.is_null(),
    }
}

/// The types that a function's signature gives those of its arguments that are parameters.
fn taken<F: UDFCoercionExt>(
    function: &F,
    args: &[Planned],
    schema: &DFSchema,
    tell: &mut impl FnMut(&Planned, DataType),
) {
    if args.iter().all(|arg| unknown(arg).is_none()) {
        return;
    }
    let field = |arg: &Planned| -> Result<FieldRef> {
        let data_type = match unknown(arg) {
            Some(_) => DataType::Null,
            None => arg.get_type(schema)?,
        };
        Ok(Arc::new(Field::new("argument", data_type, true)))
    };
    // What the function does not take is said where it is called.
    let fields = args.iter().map(field).collect::<Result<Vec<_>>>();
    let Ok(fields) = fields.and_then(|fields| fields_with_udf(&fields, function)) else {
        return;
    };
    for (arg, field) in args.iter().zip(fields) {
        tell(arg, field.data_type().clone());
    }
}

/// The value in the type that the statement takes. None: it is no value of that type, but may be compared with those all the same
/// (`whole_number < 1.5`).
pub(super) fn fitted(value: &ScalarValue, taken: &DataType) -> Option<ScalarValue> {
    let given = value.data_type();
    if &given == taken {
        return Some(value.clone());
    }
    let cast = value.cast_to(taken).ok()?;
    if value.is_null() || is_text(&given) || is_text(taken) {
        return Some(cast);
    }
    let back = cast.cast_to(&given).ok()?;
    (&back == value).then_some(cast)
}

/// Values by the names of their parameters, in the types that the statement takes; and the types of those that are no value of that
/// type, by which the statement is [understood again](with_types).
pub(super) fn fit(
    parameters: &[(String, Option<DataType>)],
    values: &[ScalarValue],
) -> error::Result<(HashMap<String, ScalarValue>, HashMap<String, DataType>)> {
    if values.len() != parameters.len() {
        return Err(Error::invalid(format!(
            "the statement takes {} parameters, {} were given",
            parameters.len(),
            values.len()
        )));
    }
    let (mut given, mut others) = (HashMap::new(), HashMap::new());
    for ((name, taken), value) in parameters.iter().zip(values) {
        let fitted = match taken {
            Some(taken) if !taken.is_null() => fitted(value, taken),
            _ => Some(value.clone()),
        };
        match fitted {
            Some(value) => drop(given.insert(bare(name).to_string(), value)),
            None => drop(others.insert(name.clone(), value.data_type())),
        }
    }
    Ok((given, others))
}

/// A client gives a value for each parameter that it wrote, also for one that the plan does without: of a query to PostgreSQL's
/// catalog, what is asked of a table without rows is not planned.
pub(super) fn add_unused(parameters: &mut Vec<(String, Option<DataType>)>, query: &Query) {
    let _ = visit_expressions(query, |expr| {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(name) = &value.value
            && name.starts_with('$')
            && parameters.iter().all(|(known, _)| known != name)
        {
            parameters.push((name.clone(), None));
        }
        ControlFlow::<()>::Continue(())
    });
    parameters.sort_by_key(|(name, _)| place(name));
}

/// A parameter's name without its `$`: plans are given values by it.
pub(super) fn bare(name: &str) -> &str {
    name.trim_start_matches('$')
}

/// What parameters are ordered by: their numbers, else their names.
pub(super) fn place(name: &str) -> (u32, String) {
    let name = bare(name);
    (name.parse().unwrap_or(u32::MAX), name.to_string())
}

/// Text is what stands for a value of any type, in its own spelling.
pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// The query or write with each of these parameters cast to its type. None: it is another statement.
pub(super) fn with_types(sql: &str, types: &HashMap<String, DataType>) -> Option<String> {
    match belvedere_sql::parse_one(sql).ok()?.statement {
        Statement::Query(mut query) => {
            cast_parameters(&mut query, types);
            printed(Statement::Query(query))
        }
        Statement::Other(mut statement) if Write::of(&statement).is_some() => {
            cast_parameters(&mut statement, types);
            printed(Statement::Other(statement))
        }
        _ => None,
    }
}

/// As the dialect prints it, which knows where a text ends: of `'\''` sqlparser's own printer makes another statement. None: it would be
/// read as another all the same.
fn printed(statement: Statement) -> Option<String> {
    let text = statement.to_string();
    let read = belvedere_sql::parse_one(&text).ok()?;
    (read.statement == statement).then_some(text)
}

fn cast_parameters(statement: &mut impl VisitMut, types: &HashMap<String, DataType>) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Value(value) = &*expr
            && let Value::Placeholder(name) = &value.value
            && let Some(data_type) = types.get(name)
        {
            let cast = format!("arrow_cast({name}, '{data_type}')");
            let parsed = Parser::new(&GenericDialect {}).try_with_sql(&cast);
            if let Ok(cast) = parsed.and_then(|mut parser| parser.parse_expr()) {
                *expr = cast;
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_cast_to_what_they_are() {
        let types = HashMap::from([("$1".to_string(), DataType::Int32)]);
        let sql = with_types("SELECT $1, $2 FROM t WHERE a = $1", &types).unwrap();
        assert_eq!(
            sql,
            "SELECT arrow_cast($1, 'Int32'), $2 FROM t WHERE a = arrow_cast($1, 'Int32')"
        );
        let sql = with_types("UPDATE s.t SET a = $1 WHERE b = $2", &types).unwrap();
        assert_eq!(
            sql,
            "UPDATE s.t SET a = arrow_cast($1, 'Int32') WHERE b = $2"
        );
        let sql = with_types("INSERT INTO s.t (a, b) VALUES ($1, $2)", &types).unwrap();
        assert_eq!(
            sql,
            "INSERT INTO s.t (a, b) VALUES (arrow_cast($1, 'Int32'), $2)"
        );
        assert_eq!(with_types("SHOW ALL", &types), None);
    }

    #[test]
    fn a_value_fits_where_nothing_of_it_is_lost() {
        let fits = |value: ScalarValue, taken| fitted(&value, &taken).is_some();
        assert!(fits(ScalarValue::Int32(Some(5)), DataType::Int64));
        assert!(fits(ScalarValue::Int64(Some(5)), DataType::Int16));
        assert!(!fits(ScalarValue::Int64(Some(1 << 40)), DataType::Int16));
        let one_and_a_half = ScalarValue::Decimal128(Some(15), 2, 1);
        assert!(!fits(one_and_a_half.clone(), DataType::Int64));
        assert!(fits(one_and_a_half.clone(), DataType::Float64));
        assert!(fits(one_and_a_half, DataType::Decimal128(20, 4)));
        assert!(fits(ScalarValue::from(" 5"), DataType::Utf8View));
        assert!(fits(ScalarValue::Int32(None), DataType::Date32));
        let noon = ScalarValue::TimestampMicrosecond(Some(43_200_000_000), None);
        assert!(!fits(noon, DataType::Date32));
    }
}

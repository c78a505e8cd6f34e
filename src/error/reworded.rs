//! DataFusion's errors in our words.

use belvedere_connector::Code;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::parquet::errors::ParquetError;

use super::Error;
use crate::engine::unknown_function;
use crate::federation::SourceFailure;

/// What DataFusion has no plan for: a subquery that it cannot make a join of.
pub(super) const CORRELATED: &str = "this correlated subquery";

/// What DataFusion adds to an error that it takes for a bug of its own. The longer one first.
const PLEAS: &[&str] = &[
    "This issue was likely caused by a bug in DataFusion's code. Please help us to resolve this by filing a bug report in our issue tracker: https://github.com/apache/datafusion/issues.",
    "This issue was likely caused by a bug in DataFusion's code. Please help us to resolve this by filing a bug report in our issue tracker: https://github.com/apache/datafusion/issues",
];

/// DataFusion's errors in our words: those of its planner as they are, those of its kernels by kind, since they quote
/// values.
pub(super) fn reworded(e: &DataFusionError) -> Error {
    match e {
        DataFusionError::External(inner) => external(inner.as_ref()),
        DataFusionError::Shared(inner) => reworded(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            reworded(inner)
        }
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => reworded(first),
            None => Error::Internal("an empty collection of errors".into()),
        },
        DataFusionError::ArrowError(inner, _) => arrow_error(inner),
        DataFusionError::ParquetError(e) => computed_in_parquet(e).unwrap_or_else(|| Error::Data {
            message: "a Parquet file cannot be read: it is damaged, or not Parquet".into(),
            sqlstate: "58030",
        }),
        DataFusionError::ObjectStore(inner) => Error::Source(
            belvedere_connector::Error::new(Code::Unreachable, "the files cannot be read")
                .caused_by(inner.to_string()),
        ),
        DataFusionError::SchemaError(inner, _) => Error::Plan(schema_error(inner)),
        DataFusionError::Plan(message) | DataFusionError::Configuration(message) => {
            Error::Plan(unknown_function(message).unwrap_or_else(|| one_line(message)))
        }
        DataFusionError::SQL(inner, _) => Error::Plan(inner.to_string()),
        DataFusionError::NotImplemented(message) => Error::NotInThisVersion {
            what: missing(message),
        },
        DataFusionError::ResourcesExhausted(message) => {
            Error::Memory(message.lines().next().unwrap_or_default().to_string())
        }
        DataFusionError::Execution(message) => execution(message),
        other => Error::Internal(one_line(&other.to_string())),
    }
}

/// What it is that DataFusion does not have.
fn missing(message: &str) -> String {
    const SUBQUERIES: &[&str] = &["OuterReferenceColumn", "Subquery", "Exists"];
    if let Some((_, expr)) = message.split_once("does not support logical expression ") {
        if SUBQUERIES.iter().any(|of| expr.contains(*of)) {
            return CORRELATED.to_string();
        }
        // What follows shows it from inside.
        let name = expr.split(|c: char| !c.is_alphanumeric()).next();
        return format!("{} in this place", name.unwrap_or("an expression"));
    }
    let message = one_line(message);
    let said = [
        " is not supported yet",
        " is not yet supported",
        " is not supported",
        " are not supported",
        " not supported yet",
        " not supported",
        " is not implemented yet",
        " is not implemented",
        " not implemented yet",
        " not implemented",
    ];
    let what = said.iter().find_map(|said| message.strip_suffix(*said));
    what.unwrap_or(&message).to_string()
}

fn external(inner: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(e) = inner.downcast_ref::<Error>() {
        return e.clone();
    }
    if let Some(SourceFailure(e)) = inner.downcast_ref::<SourceFailure>() {
        return Error::Source(e.clone());
    }
    if let Some(e) = inner.downcast_ref::<belvedere_connector::Error>() {
        return Error::Source(e.clone());
    }
    if let Some(e) = inner.downcast_ref::<DataFusionError>() {
        return reworded(e);
    }
    Error::Internal(inner.to_string())
}

/// What failed of a condition that the reader of a file has computed, which it passes on as text.
fn computed_in_parquet(e: &ParquetError) -> Option<Error> {
    let ParquetError::ArrowError(text) = e else {
        return None;
    };
    let behind = |words: &str| text.split_once(words).map(|(_, rest)| rest.to_string());
    let cast = behind("Cast error: ").map(ArrowError::CastError);
    let is_of_value = |text: &String| text.contains("non UTF-8") || text.contains(" in a Decimal");
    let argument = || behind("Invalid argument error: ").filter(is_of_value);
    let argument = || argument().map(ArrowError::InvalidArgumentError);
    let overflow = || behind("Arithmetic overflow: ").map(ArrowError::ArithmeticOverflow);
    let zero = || {
        text.contains("Divide by zero")
            .then_some(ArrowError::DivideByZero)
    };
    let found = cast.or_else(argument).or_else(overflow).or_else(zero);
    found.as_ref().map(arrow_error)
}

fn arrow_error(e: &ArrowError) -> Error {
    let data = |message: &str, sqlstate| Error::Data {
        message: message.into(),
        sqlstate,
    };
    match e {
        ArrowError::ExternalError(inner) => external(inner.as_ref()),
        ArrowError::DivideByZero => data("division by zero", "22012"),
        ArrowError::ArithmeticOverflow(_) => out_of_range(),
        // Of digits that it has no room for: "Cannot cast to Decimal128(5, 2). Overflowing on 123456".
        ArrowError::CastError(message) if message.starts_with("Cannot cast to Decimal") => {
            out_of_range()
        }
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            // "Cannot cast string 'secret' to value of Int64 type": the type, never the value.
            let target = message
                .rsplit_once(" to value of ")
                .map(|(_, target)| target);
            match target.and_then(|t| t.strip_suffix(" type")) {
                Some(target) => data(&format!("a value cannot be cast to {target}"), "22P02"),
                None => data("a value cannot be cast to the type asked for", "22P02"),
            }
        }
        ArrowError::CsvError(_) => {
            data("a CSV file has a row that does not fit its schema", "22P04")
        }
        ArrowError::JsonError(_) => data(
            "a JSON file has a row that does not fit its schema",
            "22P04",
        ),
        ArrowError::InvalidArgumentError(message) if message.contains(" to store in a Decimal") => {
            out_of_range()
        }
        ArrowError::InvalidArgumentError(message) if message.contains("non UTF-8") => {
            data("bytes are no text in UTF-8", "22021")
        }
        ArrowError::ComputeError(message) if message.contains("overflow") => out_of_range(),
        ArrowError::ComputeError(message) => execution(message),
        ArrowError::MemoryError(message) => Error::Memory(message.clone()),
        ArrowError::SchemaError(message) => Error::Plan(message.clone()),
        other => Error::Internal(other.to_string()),
    }
}

fn out_of_range() -> Error {
    Error::Data {
        message: "a number is out of the range of its type".into(),
        sqlstate: "22003",
    }
}

fn execution(message: &str) -> Error {
    if message.contains("ivide by zero") || message.contains("ivision by zero") {
        return Error::Data {
            message: "division by zero".into(),
            sqlstate: "22012",
        };
    }
    if message.starts_with("Arithmetic Overflow") {
        return out_of_range();
    }
    // Messages of functions may quote their arguments: only the part before them is safe.
    let safe = message
        .split(|c: char| matches!(c, '\'' | '"' | ':' | '(') || c.is_ascii_digit())
        .next()
        .unwrap_or_default()
        .trim();
    Error::Data {
        message: format!("a function failed on a value ({safe})"),
        sqlstate: "22000",
    }
}

/// With the spelling to type: columns match exactly.
fn schema_error(e: &SchemaError) -> String {
    if let SchemaError::FieldNotFound {
        field,
        valid_fields,
    } = e
    {
        let same = valid_fields
            .iter()
            .find(|f| f.name.eq_ignore_ascii_case(&field.name) && f.name != field.name);
        if let Some(same) = same {
            let spelling = belvedere_sql::ident(same.name.clone());
            return format!(
                "No field named {}. Columns match exactly: write {spelling}",
                field.name
            );
        }
    }
    one_line(&e.to_string())
}

/// Sentences on lines of their own as one text without a final full stop, and without what is for DataFusion's developers.
fn one_line(message: &str) -> String {
    let mut message = message.to_string();
    for plea in PLEAS {
        message = message.replace(plea, "");
    }
    // What the function takes says more than what did not match.
    if let Some(at) = message.find("No function matches the given name and argument types") {
        message.drain(..at);
    }
    let lines = message.lines().map(str::trim_end);
    let lines = lines.filter(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join(" ");
    let text = text.trim_start_matches("Internal error: ");
    text.trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_once() {
        let said = |message: &str| {
            let e = Error::from(DataFusionError::NotImplemented(message.into()));
            assert_eq!(e.sqlstate(), "0A000");
            e.to_string()
        };
        assert_eq!(
            said("FETCH clause is not supported yet"),
            "FETCH clause is not in this version"
        );
        assert_eq!(
            said("Query X not implemented yet"),
            "Query X is not in this version"
        );
        assert_eq!(
            said(
                "Physical plan does not support logical expression OuterReferenceColumn(Field { name: \"id\" })"
            ),
            "this correlated subquery is not in this version. Write it as a join, or compare what is outside by = alone"
        );
        assert_eq!(
            said("Physical plan does not support logical expression Wildcard { qualifier: None }"),
            "Wildcard in this place is not in this version"
        );
    }

    #[test]
    fn nobody_is_asked_to_report_it_to_others() {
        let e = Error::from(DataFusionError::Internal("it is so".into()));
        assert_eq!(
            e.to_string(),
            "internal error: it is so. This is a bug of Belvedere; please report it with the statement"
        );
        let message = "Internal error: Function 'sum' failed to match any signature. \nThis issue was likely caused by a bug in DataFusion's code. Please help us to resolve this by filing a bug report in our issue tracker: https://github.com/apache/datafusion/issues. No function matches the given name and argument types 'sum(Utf8)'. You might need to add explicit type casts.";
        let e = Error::from(DataFusionError::Plan(message.into()));
        assert_eq!(
            e.to_string(),
            "No function matches the given name and argument types 'sum(Utf8)'. You might need to add explicit type casts"
        );
        assert_eq!(e.sqlstate(), "42883");
    }
}

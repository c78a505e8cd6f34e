//! Pages follow the order of the key, NULL behind all values. The next one begins behind the last row of this one, wherever rows have
//! come or gone since.

use datafusion::arrow::array::{Array, RecordBatch};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::json;
use super::problem::Problem;
use super::request::NULL;
use super::shapes::quoted;
use crate::engine::Described;
use crate::error::Result;

/// What stands for itself in a part of a path, and in a value of a query.
const SPECIAL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SPECIAL).to_string()
}

/// The conditions of rows behind a key: its first column is greater, or it is the same and the second is greater, and so on. Of
/// the key these columns are NULL; the values of the others are the parameters from this one on.
pub(super) fn behind(
    view: &Described,
    nulls: &[bool],
    first: usize,
) -> std::result::Result<String, Problem> {
    if nulls.len() != view.key.len() {
        return Err(columns_of_key(view, nulls.len()));
    }
    let mut parameter = first;
    let mut same: Vec<String> = Vec::new();
    let mut ways = Vec::new();
    for (of, is_null) in view.key.iter().zip(nulls) {
        let column = &view.columns[*of];
        let name = quoted(&column.name);
        if *is_null {
            // Nothing is behind it.
            same.push(format!("{name} IS NULL"));
            continue;
        }
        let greater = match column.nullable {
            true => format!("({name} > ${parameter} OR {name} IS NULL)"),
            false => format!("{name} > ${parameter}"),
        };
        let way = same.iter().cloned().chain([greater]);
        ways.push(way.collect::<Vec<_>>().join(" AND "));
        same.push(format!("{name} = ${parameter}"));
        parameter += 1;
    }
    let conditions = match ways.as_slice() {
        [] => "false".to_string(),
        [one] => one.clone(),
        ways => format!("({})", ways.join(" OR ")),
    };
    let head = &view.columns[view.key[0]];
    if ways.len() > 1 && !nulls[0] && !head.nullable {
        // It says nothing new, and sources have an index for it.
        let at_least = format!("{} >= ${first}", quoted(&head.name));
        return Ok(format!("{at_least} AND {conditions}"));
    }
    Ok(conditions)
}

pub(super) fn columns_of_key(view: &Described, given: usize) -> Problem {
    let names = view.key.iter().map(|of| view.columns[*of].name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    let detail = format!(
        "the key of {} is {names}; there are {given} values",
        view.id
    );
    Problem::request(detail)
        .help("Write its values with commas between them; a comma in a value is %2C")
}

/// The key of a row, as it is written in a path.
pub(super) fn key(rows: &RecordBatch, key: &[usize], row: usize) -> Result<String> {
    let mut parts = Vec::new();
    for at in key {
        let column = rows.column(*at);
        if column.is_null(row) {
            parts.push(NULL.to_string());
            continue;
        }
        let mut said = Vec::new();
        json::value(&mut said, column, row)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        // A text is what it says, and anything else is what JSON has for it.
        let text = serde_json::from_str::<String>(&said).unwrap_or(said);
        parts.push(encoded(&text));
    }
    Ok(parts.join(","))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;

    use super::*;
    use crate::catalog::ObjectId;
    use crate::engine::Column;

    fn view(nullable: [bool; 2]) -> Described {
        let column = |name: &str, nullable| Column {
            name: name.into(),
            data_type: DataType::Int64,
            nullable,
            comment: None,
        };
        Described {
            id: ObjectId::new(["belvedere", "public", "v"]),
            name: vec!["v".into()],
            kind: "view",
            columns: vec![column("a", nullable[0]), column("B", nullable[1])],
            key: vec![0, 1],
            max_staleness: None,
            comment: None,
        }
    }

    #[test]
    fn rows_behind_a_key() {
        let of = |nullable, nulls: &[bool]| behind(&view(nullable), nulls, 3).map_err(|_| ());
        assert_eq!(
            of([false, false], &[false, false]).unwrap(),
            "a >= $3 AND (a > $3 OR a = $3 AND \"B\" > $4)"
        );
        assert_eq!(of([false, true], &[false, true]).unwrap(), "a > $3");
        assert_eq!(
            of([true, true], &[true, false]).unwrap(),
            "a IS NULL AND (\"B\" > $3 OR \"B\" IS NULL)"
        );
        assert_eq!(of([true, true], &[true, true]).unwrap(), "false");
        assert!(of([false, false], &[false]).is_err());
    }
}

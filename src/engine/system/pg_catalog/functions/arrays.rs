use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, ScalarValue};

use super::{Context, Known, Returns, known, long, maybe_text, nothing, number, text, texted};
use crate::engine::system::pg_catalog::names::quoted;

pub(super) static FUNCTIONS: &[Known] = &[
    known("array_upper", Returns::Long, |_, args| {
        match items(args, 0) {
            Some(items) if !items.is_empty() && number(args, 1) == Some(1) => {
                long(i64::try_from(items.len()).ok())
            }
            _ => Ok(ScalarValue::Null),
        }
    }),
    known("array_lower", Returns::Long, |_, args| {
        match items(args, 0) {
            Some(items) if !items.is_empty() && number(args, 1) == Some(1) => long(1),
            _ => Ok(ScalarValue::Null),
        }
    }),
    // A set of rows in PostgreSQL: here a list, which is made rows of where it stands.
    known("generate_subscripts", Returns::Integers, subscripts),
    known("_pg_expandarray", Returns::Numbered, expanded),
    // No function of PostgreSQL's: what stands for a subquery.
    known("_pg_column_names", Returns::Texts, column_names),
    known("quote_ident", Returns::Text, |_, args| {
        maybe_text(text(args, 0).map(|name| quoted(&name)))
    }),
    known("quote_literal", Returns::Text, |_, args| {
        maybe_text(text(args, 0).map(|value| literal(&value)))
    }),
    known("quote_nullable", Returns::Text, |_, args| {
        texted(text(args, 0).map_or_else(|| "NULL".to_string(), |value| literal(&value)))
    }),
    known("acldefault", Returns::Texts, nothing),
    known("json_build_object", Returns::Text, json_object),
    known("jsonb_build_object", Returns::Text, json_object),
    known("format", Returns::Text, formatted),
];

/// The names of a relation's columns, by their numbers.
fn column_names(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let relation = number(args, 0).and_then(|oid| context.catalog.relation(oid));
    let (Some(relation), Some(items)) = (relation, items(args, 1)) else {
        return Ok(ScalarValue::Null);
    };
    let names = items.iter().filter_map(|item| {
        let place = usize::try_from(number(std::slice::from_ref(item), 0)? - 1).ok()?;
        let name = relation.columns.get(place)?.name.clone();
        Some(ScalarValue::Utf8(Some(name)))
    });
    let list = ScalarValue::new_list(&names.collect::<Vec<_>>(), &DataType::Utf8, true);
    Ok(ScalarValue::List(list))
}

/// Names and values in turn.
fn json_object(_: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let mut object = serde_json::Map::new();
    for at in (0..args.len()).step_by(2) {
        let name = text(args, at).unwrap_or_default();
        let value = match args.get(at + 1) {
            Some(ScalarValue::Boolean(Some(truth))) => (*truth).into(),
            Some(value) if value.data_type().is_integer() => number(args, at + 1).into(),
            _ => text(args, at + 1).into(),
        };
        object.insert(name, value);
    }
    texted(serde_json::Value::Object(object).to_string())
}

/// `%I` a name, `%L` a literal, `%s` a text, in the arguments' order.
fn formatted(_: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(pattern) = text(args, 0) else {
        return Ok(ScalarValue::Null);
    };
    let (mut answer, mut next) = (String::new(), 1);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            answer.push(c);
            continue;
        }
        let value = text(args, next);
        next += 1;
        match chars.next() {
            Some('I') => answer.push_str(&quoted(&value.unwrap_or_default())),
            Some('L') => {
                let value = value.map_or_else(|| "NULL".to_string(), |value| literal(&value));
                answer.push_str(&value);
            }
            Some('s') => answer.push_str(&value.unwrap_or_default()),
            other => {
                next -= 1;
                answer.extend(other);
            }
        }
    }
    texted(answer)
}

fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

/// The items of an argument that is a list.
fn items(args: &[ScalarValue], at: usize) -> Option<Vec<ScalarValue>> {
    let list = match args.get(at)? {
        ScalarValue::List(list) if !list.is_null(0) => list.value(0),
        ScalarValue::LargeList(list) if !list.is_null(0) => list.value(0),
        _ => return None,
    };
    let values = (0..list.len()).map(|row| ScalarValue::try_from_array(&list, row));
    values.collect::<Result<Vec<_>>>().ok()
}

fn subscripts(_: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(items) = items(args, 0) else {
        return Ok(ScalarValue::Null);
    };
    let numbers = (1..=items.len()).map(|n| ScalarValue::Int32(i32::try_from(n).ok()));
    let list = ScalarValue::new_list(&numbers.collect::<Vec<_>>(), &DataType::Int32, true);
    Ok(ScalarValue::List(list))
}

/// Item and place, as `information_schema._pg_expandarray` names them.
pub(super) fn numbered_fields() -> Fields {
    Fields::from(vec![
        Field::new("x", DataType::Int64, true),
        Field::new("n", DataType::Int32, true),
    ])
}

fn expanded(_: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(items) = items(args, 0) else {
        return Ok(ScalarValue::Null);
    };
    let data_type = DataType::Struct(numbered_fields());
    let mut rows = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let fields = [
            item.cast_to(&DataType::Int64)?.to_array()?,
            ScalarValue::Int32(i32::try_from(at + 1).ok()).to_array()?,
        ];
        let row = datafusion::arrow::array::StructArray::try_new(
            numbered_fields(),
            fields.to_vec(),
            None,
        )?;
        rows.push(ScalarValue::Struct(Arc::new(row)));
    }
    Ok(ScalarValue::List(ScalarValue::new_list(
        &rows, &data_type, true,
    )))
}

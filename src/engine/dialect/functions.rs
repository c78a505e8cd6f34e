//! Functions, one row after the other.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, TimeUnit};
use datafusion::common::{Result, ScalarValue, internal_err, not_impl_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::patterns;
use super::wrong;
use crate::engine::system::sql_type;

pub(super) type Returns = fn(&[DataType]) -> Result<DataType>;
pub(super) type Call = fn(&[ArrayRef]) -> Result<ArrayRef>;

/// A function of what its arguments are, and of nothing else.
pub(super) struct Function {
    name: &'static str,
    signature: Signature,
    returns: Returns,
    call: Call,
}

/// A function with as many arguments as one of these.
pub(super) fn function(
    name: &'static str,
    arguments: &[usize],
    returns: Returns,
    call: Call,
) -> ScalarUDF {
    let counts = arguments.iter().map(|count| TypeSignature::Any(*count));
    ScalarUDF::from(Function {
        name,
        signature: Signature::one_of(counts.collect(), Volatility::Immutable),
        returns,
        call,
    })
}

pub(super) fn all() -> Vec<ScalarUDF> {
    vec![
        function("uuid_in", &[1], text_type, |args| read(&args[0], uuid)),
        function("json_in", &[1], text_type, |args| read(&args[0], json)),
        function("similar_to_escape", &[1, 2], text_type, patterns::escaped),
        function("pg_typeof", &[1], text_type, |args| {
            let name = sql_type(args[0].data_type());
            // PostgreSQL's type has no digits, nor have its timestamps two names.
            let name = match name.as_str() {
                "timestamp" => "timestamp without time zone",
                "time" => "time without time zone",
                name if name.starts_with("numeric(") && !name.ends_with("[]") => "numeric",
                name => name,
            };
            let names = std::iter::repeat_n(Some(name), args[0].len());
            Ok(Arc::new(names.collect::<StringArray>()))
        }),
        function("timezone", &[2], zoned, |_| {
            not_impl_err!("AT TIME ZONE with a zone that is not a constant")
        }),
    ]
}

/// What `timezone(zone, time)` is of: times of a zone lose it, others get one.
fn zoned(types: &[DataType]) -> Result<DataType> {
    Ok(match types.get(1) {
        Some(DataType::Timestamp(unit, None)) => DataType::Timestamp(*unit, Some("UTC".into())),
        Some(DataType::Timestamp(unit, Some(_))) => DataType::Timestamp(*unit, None),
        _ => DataType::Timestamp(TimeUnit::Microsecond, None),
    })
}

/// A number as the whole one that a cast makes of it: of two that are equally near, the one further from zero; of floats the even
/// one.
pub(super) fn rounded() -> ScalarUDF {
    function("rounded", &[1], same_type, |args| {
        let values = &args[0];
        Ok(match values.data_type() {
            DataType::Float32 => {
                let values = values.as_primitive::<Float32Type>();
                Arc::new(values.unary::<_, Float32Type>(f32::round_ties_even))
            }
            DataType::Float64 => {
                let values = values.as_primitive::<Float64Type>();
                Arc::new(values.unary::<_, Float64Type>(f64::round_ties_even))
            }
            DataType::Decimal128(precision, scale) => {
                let one = 10i128.pow(u32::try_from(*scale).unwrap_or(0));
                let whole = |value: i128| {
                    let rest = value % one;
                    let more = i128::from(rest.abs() >= one - rest.abs()) * value.signum();
                    value - rest + more * one
                };
                let values = values.as_primitive::<Decimal128Type>();
                let values = values.unary::<_, Decimal128Type>(whole);
                Arc::new(values.with_precision_and_scale(*precision, *scale)?)
            }
            other => return internal_err!("{other} is not rounded"),
        })
    })
}

/// The moment so many seconds after 1970 began, to the nearest microsecond.
pub(super) fn of_epoch() -> ScalarUDF {
    let utc = |_: &[DataType]| {
        Ok(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some("UTC".into()),
        ))
    };
    function("of_epoch", &[1], utc, |args| {
        let moments = args[0].as_primitive::<Float64Type>().try_unary(|seconds| {
            // Apart: a product of both would have lost digits.
            let (whole, rest) = (seconds.trunc(), seconds.fract());
            let is_whole = whole.abs() < i64::MAX as f64;
            let micros = (whole as i64).checked_mul(1_000_000).filter(|_| is_whole);
            let rest = (rest * 1e6).round_ties_even() as i64;
            let moment = micros.and_then(|micros| micros.checked_add(rest));
            moment.ok_or_else(|| wrong("a timestamp is out of range", "22008"))
        });
        let moments: TimestampMicrosecondArray = moments?;
        Ok(Arc::new(moments.with_timezone("UTC")))
    })
}

pub(super) fn text_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Utf8)
}

fn same_type(types: &[DataType]) -> Result<DataType> {
    Ok(types.first().cloned().unwrap_or(DataType::Null))
}

/// Each text as what it is read as.
fn read(texts: &ArrayRef, of: fn(&str) -> Result<String>) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let read = texts.iter().map(|text| text.map(of).transpose());
    Ok(Arc::new(read.collect::<Result<StringArray>>()?))
}

fn uuid(text: &str) -> Result<String> {
    uuid_of(text).ok_or_else(|| wrong("a text is no value of type uuid", "22P02"))
}

/// `{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}`, with hyphens after any group of four digits, as PostgreSQL shows it.
pub(crate) fn uuid_of(text: &str) -> Option<String> {
    let text = text.trim();
    let inside = match text.strip_prefix('{') {
        Some(inside) => inside.strip_suffix('}')?,
        None => text,
    };
    let mut digits = String::new();
    let mut was_hyphen = true;
    for c in inside.chars() {
        let is_place = digits.len() % 4 == 0 && !was_hyphen && digits.len() < 32;
        match c {
            '-' if is_place => was_hyphen = true,
            c if c.is_ascii_hexdigit() => {
                digits.push(c.to_ascii_lowercase());
                was_hyphen = false;
            }
            _ => return None,
        }
    }
    if digits.len() != 32 || was_hyphen {
        return None;
    }
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    Some(parts.join("-"))
}

/// The text as it is, if it is JSON.
fn json(text: &str) -> Result<String> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => Ok(text.to_string()),
        Err(_) => Err(wrong("a text is no value of type json", "22P02")),
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        (self.returns)(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        let are_scalar = args.args.iter().all(is_scalar);
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let values = (self.call)(&arrays)?;
        Ok(match are_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?),
            false => ColumnarValue::Array(values),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_uuids_as_postgresql_takes_them() {
        let shown = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for text in [
            shown,
            "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(uuid(text).unwrap(), shown);
        }
        for text in ["", "{", "a0eebc99", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-"] {
            assert!(uuid(text).is_err(), "{text}");
        }
    }
}

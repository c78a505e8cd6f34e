//! Values as clients write them: texts in URLs, and JSON. A text stands for a value of any type.

use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::scalar::ScalarStructBuilder;
use datafusion::scalar::ScalarValue;
use serde_json::Value;

use super::numbers::Digits;
use super::problem::Problem;
use crate::engine::{Session, sql_type};
use crate::serve::postgres::times::parse_interval;

/// Digits of the largest decimal.
const DIGITS: u8 = 76;

/// What texts are read with.
pub(super) struct Reader {
    /// Of times that do not say theirs.
    zone: String,
}

impl Reader {
    pub fn of(session: &Session) -> Self {
        Self {
            zone: session.settings().timezone.clone(),
        }
    }

    /// A column's value, from a URL.
    pub fn column(&self, name: &str, of: &DataType, text: &str) -> Result<ScalarValue, Problem> {
        self.text(text, of).ok_or_else(|| unlike(name, of))
    }

    /// A column's value, from a body.
    pub fn json_column(
        &self,
        name: &str,
        of: &DataType,
        value: &Value,
    ) -> Result<ScalarValue, Problem> {
        let value = self.json(value, Some(of));
        // As in a URL: what is no whole number is none of the column's values.
        let value = value.filter(|value| !of.is_integer() || fitted(value, of).is_some());
        value.ok_or_else(|| unlike(name, of))
    }

    /// A parameter's value. `of`: as far as the statement tells.
    pub fn parameter(
        &self,
        name: &str,
        of: Option<&DataType>,
        value: &Value,
    ) -> Result<ScalarValue, Problem> {
        let of = of.filter(|of| !of.is_null());
        self.json(value, of).ok_or_else(|| match of {
            Some(of) => Problem::request(format!(
                "the value of parameter {name} is no {}",
                sql_type(of)
            )),
            None => Problem::request(format!("the value of parameter {name} has no type"))
                .help("A list has values of one type, and an object needs a parameter that is cast to one"),
        })
    }

    /// None: it is none of this type.
    fn text(&self, text: &str, of: &DataType) -> Option<ScalarValue> {
        let trimmed = text.trim();
        let utf8 = || ScalarValue::Utf8(Some(trimmed.to_string()));
        match of {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                ScalarValue::Utf8(Some(text.to_string())).cast_to(of).ok()
            }
            DataType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "on" | "1" => Some(ScalarValue::Boolean(Some(true))),
                "false" | "f" | "no" | "n" | "off" | "0" => Some(ScalarValue::Boolean(Some(false))),
                _ => None,
            },
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                let value = f64::from_str(trimmed).ok()?;
                ScalarValue::Float64(Some(value)).cast_to(of).ok()
            }
            DataType::Decimal32(_, _)
            | DataType::Decimal64(_, _)
            | DataType::Decimal128(_, _)
            | DataType::Decimal256(_, _) => decimal(trimmed),
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => {
                let bytes = STANDARD
                    .decode(trimmed)
                    .or_else(|_| URL_SAFE.decode(trimmed));
                ScalarValue::Binary(Some(bytes.ok()?)).cast_to(of).ok()
            }
            DataType::Interval(_) => {
                let value = parse_interval(trimmed)?;
                ScalarValue::IntervalMonthDayNano(Some(value))
                    .cast_to(of)
                    .ok()
            }
            DataType::Timestamp(unit, Some(_)) => {
                let here = DataType::Timestamp(*unit, Some(self.zone.as_str().into()));
                utf8().cast_to(&here).ok()?.cast_to(of).ok()
            }
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(_, _)
            | DataType::Struct(_) => self.json(&serde_json::from_str(trimmed).ok()?, Some(of)),
            DataType::Dictionary(_, value) => self.text(text, value)?.cast_to(of).ok(),
            of => utf8().cast_to(of).ok(),
        }
    }

    fn json(&self, value: &Value, of: Option<&DataType>) -> Option<ScalarValue> {
        match (value, of) {
            (Value::Null, None) => Some(ScalarValue::Null),
            (Value::Null, Some(of)) => ScalarValue::try_from(of).ok(),
            (Value::String(text), None) => Some(ScalarValue::from(text.as_str())),
            (Value::String(text), Some(of)) => self.text(text, of),
            (Value::Bool(truth), None | Some(DataType::Boolean)) => {
                Some(ScalarValue::Boolean(Some(*truth)))
            }
            (Value::Bool(_), Some(_)) => None,
            (Value::Number(number), of) => numeric(number, of),
            (Value::Array(items), Some(DataType::Struct(fields))) => {
                // A row without names.
                (items.len() == fields.len()).then_some(())?;
                let pairs = fields.iter().zip(items);
                self.parts(pairs.map(|(field, item)| (field, Some(item))))
            }
            (Value::Array(items), of) => {
                let item = match of {
                    Some(
                        DataType::List(item)
                        | DataType::LargeList(item)
                        | DataType::FixedSizeList(item, _),
                    ) => Some(item.data_type().clone()),
                    Some(_) => return None,
                    None => None,
                };
                let list = self.list(items, item)?;
                match of {
                    Some(of) => list.cast_to(of).ok(),
                    None => Some(list),
                }
            }
            (Value::Object(parts), Some(DataType::Struct(fields))) => {
                let known = |name: &String| fields.iter().any(|field| field.name() == name);
                parts.keys().all(known).then_some(())?;
                self.parts(fields.iter().map(|field| (field, parts.get(field.name()))))
            }
            (Value::Object(_), _) => None,
        }
    }

    fn parts<'a>(
        &self,
        parts: impl Iterator<
            Item = (
                &'a Arc<datafusion::arrow::datatypes::Field>,
                Option<&'a Value>,
            ),
        >,
    ) -> Option<ScalarValue> {
        let mut built = ScalarStructBuilder::new();
        for (field, value) in parts {
            let of = field.data_type();
            let value = self.json(value.unwrap_or(&Value::Null), Some(of))?;
            built = built.with_scalar(Arc::clone(field), value.cast_to(of).ok()?);
        }
        built.build().ok()
    }

    fn list(&self, items: &[Value], item: Option<DataType>) -> Option<ScalarValue> {
        let read = items.iter().map(|value| self.json(value, item.as_ref()));
        let read = read.collect::<Option<Vec<_>>>()?;
        let item = match item {
            Some(item) => item,
            // Of whole numbers and others all are floats.
            None => {
                let mut types = read
                    .iter()
                    .map(ScalarValue::data_type)
                    .filter(|t| !t.is_null());
                let first = types.next().unwrap_or(DataType::Utf8);
                match types.any(|t| t == DataType::Float64) && first == DataType::Int64 {
                    true => DataType::Float64,
                    false => first,
                }
            }
        };
        let same = read.iter().map(|value| {
            let is_alike = value.is_null() || value.data_type().is_numeric() == item.is_numeric();
            is_alike.then(|| value.cast_to(&item).ok())?
        });
        let same = same.collect::<Option<Vec<_>>>()?;
        Some(ScalarValue::List(ScalarValue::new_list(&same, &item, true)))
    }
}

/// The value in this type, if nothing of it is lost.
pub(super) fn fitted(value: &ScalarValue, of: &DataType) -> Option<ScalarValue> {
    let cast = value.cast_to(of).ok()?;
    let back = cast.cast_to(&value.data_type()).ok()?;
    (&back == value).then_some(cast)
}

fn unlike(name: &str, of: &DataType) -> Problem {
    Problem::request(format!("the value of column {name} is no {}", sql_type(of)))
}

/// With all its digits: what has more of them than a column's type equals none of the column's values.
fn decimal(text: &str) -> Option<ScalarValue> {
    if text.contains(['e', 'E']) {
        return match Digits::of(text).and_then(|digits| digits.plain(DIGITS)) {
            Some(plain) => decimal(&plain),
            None => Some(ScalarValue::Float64(Some(f64::from_str(text).ok()?))),
        };
    }
    let (_, fraction) = text.split_once('.').unwrap_or((text, ""));
    let scale = i8::try_from(fraction.len()).ok()?;
    let text = ScalarValue::Utf8(Some(text.to_string()));
    text.cast_to(&DataType::Decimal256(DIGITS, scale)).ok()
}

fn numeric(number: &serde_json::Number, of: Option<&DataType>) -> Option<ScalarValue> {
    match of {
        None => {}
        Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
            return Some(ScalarValue::from(number.to_string()));
        }
        Some(DataType::Dictionary(_, value)) => return numeric(number, Some(value)),
        Some(of) if of.is_decimal() => return decimal(&number.to_string()),
        // A day or a truth is no number.
        Some(of) if !of.is_numeric() => return None,
        Some(_) => {}
    }
    if let Some(whole) = number.as_i64() {
        return Some(ScalarValue::Int64(Some(whole)));
    }
    if let Some(whole) = number.as_u64() {
        return Some(ScalarValue::UInt64(Some(whole)));
    }
    Some(ScalarValue::Float64(Some(number.as_f64()?)))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, TimeUnit};
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_stand_for_every_type() {
        let reader = Reader {
            zone: "Europe/Berlin".into(),
        };
        let of = |text: &str, of: DataType| reader.text(text, &of);
        assert_eq!(
            of(" 7 ", DataType::Int16),
            Some(ScalarValue::Int16(Some(7)))
        );
        assert_eq!(of("7.0", DataType::Int16), None);
        assert_eq!(of("70000", DataType::Int16), None);
        assert_eq!(of("x", DataType::Int64), None);
        assert_eq!(
            of("T", DataType::Boolean),
            Some(ScalarValue::Boolean(Some(true)))
        );
        assert_eq!(of("maybe", DataType::Boolean), None);
        assert_eq!(of(" a", DataType::Utf8), Some(ScalarValue::from(" a")));
        assert_eq!(
            of("2024-02-29", DataType::Date32),
            Some(ScalarValue::Date32(Some(19_782)))
        );
        assert_eq!(of("2024-02-30", DataType::Date32), None);
        assert_eq!(
            of("AP8=", DataType::Binary),
            Some(ScalarValue::Binary(Some(vec![0, 255])))
        );
        assert_eq!(of("?", DataType::Binary), None);
        let utc = DataType::Timestamp(TimeUnit::Second, Some("+00:00".into()));
        let at = |seconds| {
            Some(ScalarValue::TimestampSecond(
                Some(seconds),
                Some("+00:00".into()),
            ))
        };
        assert_eq!(of("1970-01-01T01:00:00", utc.clone()), at(0));
        assert_eq!(of("1970-01-01T01:00:00Z", utc), at(3600));
        let cents = DataType::Decimal128(10, 2);
        let exact = |text: &str| of(text, cents.clone()).map(|d| d.to_string());
        assert_eq!(exact("1.005").as_deref(), Some("1.005"));
        assert_eq!(exact("1.5e-3").as_deref(), Some("0.0015"));
        assert_eq!(exact("-12e2").as_deref(), Some("-1200"));
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
        let items = [Some(1), None].map(ScalarValue::Int32);
        let expected = ScalarValue::List(ScalarValue::new_list(&items, &DataType::Int32, true));
        assert_eq!(of("[1, null]", list), Some(expected));
    }

    #[test]
    fn a_key_is_one_of_its_columns_values() {
        let reader = Reader { zone: "UTC".into() };
        let of = |value: serde_json::Value| {
            let value = reader.json_column("id", &DataType::Int16, &value);
            value.ok().map(|value| value.to_string())
        };
        assert_eq!(of(json!(2)).as_deref(), Some("2"));
        assert_eq!(of(json!(2.0)).as_deref(), Some("2"));
        assert_eq!(of(json!(null)).as_deref(), Some("NULL"));
        assert_eq!(of(json!(1.5)), None);
        assert_eq!(of(json!(70_000)), None);
    }

    #[test]
    fn numbers_are_no_days() {
        let reader = Reader { zone: "UTC".into() };
        let of = |value: serde_json::Value, of: Option<DataType>| reader.json(&value, of.as_ref());
        assert_eq!(of(json!(1), Some(DataType::Date32)), None);
        assert_eq!(of(json!(1), Some(DataType::Boolean)), None);
        assert_eq!(of(json!(true), Some(DataType::Int64)), None);
        assert_eq!(of(json!({"a": 1}), None), None);
        assert_eq!(of(json!([1, "a"]), None), None);
        assert_eq!(of(json!(1), None), Some(ScalarValue::Int64(Some(1))));
        assert_eq!(of(json!(1.5), None), Some(ScalarValue::Float64(Some(1.5))));
        assert_eq!(
            of(json!(null), Some(DataType::Int32)),
            Some(ScalarValue::Int32(None))
        );
    }
}

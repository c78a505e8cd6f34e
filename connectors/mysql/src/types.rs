use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use belvedere_connector::{Code, Error, Result};

/// What becomes of a date that no calendar has: `0000-00-00`, `2024-00-10`, `2024-02-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ZeroDates {
    Error,
    Null,
    Text,
}

/// A person's word on how one column is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    Text,
    /// As its own type; what does not fit is NULL.
    Null,
    As(DataType),
}

/// The decisions of a source's definition.
#[derive(Debug)]
pub(crate) struct Decisions {
    pub zero_dates: ZeroDates,
    /// `table.column` or `schema.table.column`.
    pub columns: Vec<(String, Decision)>,
}

/// A column as `information_schema` has it.
#[derive(Debug, Default)]
pub(crate) struct NativeColumn {
    /// `decimal`, `tinyint`.
    pub data_type: String,
    /// `decimal(12,2)`, `tinyint(1) unsigned`.
    pub column_type: String,
    pub precision: Option<u64>,
    pub scale: Option<u64>,
}

/// How a column is read.
#[derive(Debug, PartialEq)]
pub(crate) struct Mapping {
    pub data_type: DataType,
    /// The native type; says it where a decision changes what is read, so that the dialect leaves the column alone.
    pub native_type: String,
    /// Values may become NULL.
    pub nulls: bool,
    pub note: Option<String>,
}

/// Follows the native type of a column that is read otherwise than the source means it.
const DECIDED: &str = ", read as ";

/// Whether a native type, as the metadata of a field has it, is of a column with a decision.
pub(crate) fn is_decided(native_type: &str) -> bool {
    native_type.contains(DECIDED)
}

/// Whether its values that do not fit are NULL.
pub(crate) fn reads_misfits_as_null(native_type: &str) -> bool {
    native_type.ends_with(", read as null on error")
}

impl Decision {
    pub fn parse(text: &str) -> Result<Self> {
        let lower = text.to_ascii_lowercase();
        let micros = TimeUnit::Microsecond;
        Ok(match lower.as_str() {
            "text" => Self::Text,
            "null" => Self::Null,
            "boolean" | "bool" => Self::As(DataType::Boolean),
            "smallint" => Self::As(DataType::Int16),
            "int" | "integer" => Self::As(DataType::Int32),
            "bigint" => Self::As(DataType::Int64),
            "double" => Self::As(DataType::Float64),
            "date" => Self::As(DataType::Date32),
            "timestamp" => Self::As(DataType::Timestamp(micros, None)),
            "time" => Self::As(DataType::Time64(micros)),
            "interval" => Self::As(DataType::Interval(IntervalUnit::MonthDayNano)),
            _ => match decimal_arguments(&lower) {
                Some((precision, scale)) => Self::As(decimal(precision, scale)),
                None => {
                    return Err(Error::new(
                        Code::InvalidOption,
                        format!("option columns cannot read a column as '{text}'"),
                    )
                    .help(
                        "It takes text, null, boolean, smallint, int, bigint, decimal(p,s), double, date, time, \
                         timestamp or interval",
                    ));
                }
            },
        })
    }
}

impl Decisions {
    /// The decision on a column, as written for its table: an exact name first, then regardless of case.
    pub fn of(&self, schema: &str, table: &str, column: &str) -> Option<&Decision> {
        let names = [
            format!("{table}.{column}"),
            format!("{schema}.{table}.{column}"),
        ];
        let find = |same: &dyn Fn(&str, &str) -> bool| {
            self.columns
                .iter()
                .find(|(name, _)| names.iter().any(|n| same(n, name)))
                .map(|(_, decision)| decision)
        };
        find(&|a, b| a == b).or_else(|| find(&|a, b| a.eq_ignore_ascii_case(b)))
    }
}

/// How a native column is read under the decisions on it.
pub(crate) fn map(
    native: &NativeColumn,
    decision: Option<&Decision>,
    zero_dates: ZeroDates,
) -> Mapping {
    let (data_type, note) = natural(native);
    let mapping = |data_type: DataType, how: &str, nulls: bool| Mapping {
        data_type,
        native_type: format!("{}{DECIDED}{how}", native.column_type),
        nulls,
        note: None,
    };
    match decision {
        Some(Decision::Text) => mapping(DataType::Utf8, "text", false),
        Some(Decision::Null) => mapping(data_type, "null on error", true),
        Some(Decision::As(wanted)) => mapping(wanted.clone(), &wanted.to_string(), false),
        None => match (is_date(&data_type), zero_dates) {
            (true, ZeroDates::Text) => mapping(DataType::Utf8, "text", false),
            (true, ZeroDates::Null) => mapping(data_type, "null on error", true),
            _ => Mapping {
                data_type,
                native_type: native.column_type.clone(),
                nulls: false,
                note,
            },
        },
    }
}

fn is_date(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(_, _))
}

/// What a column is read as when nobody says otherwise.
fn natural(native: &NativeColumn) -> (DataType, Option<String>) {
    let unsigned = native.column_type.contains("unsigned");
    let pick = |signed, without_sign| if unsigned { without_sign } else { signed };
    let micros = TimeUnit::Microsecond;
    let as_is = |data_type| (data_type, None);
    match native.data_type.as_str() {
        "tinyint" if native.column_type == "tinyint(1)" => (
            DataType::Int8,
            Some("a number; the option columns reads it as boolean where it is only 0 and 1".into()),
        ),
        "tinyint" => as_is(pick(DataType::Int8, DataType::UInt8)),
        "smallint" => as_is(pick(DataType::Int16, DataType::UInt16)),
        "mediumint" | "int" | "integer" => as_is(pick(DataType::Int32, DataType::UInt32)),
        "bigint" => as_is(pick(DataType::Int64, DataType::UInt64)),
        "year" => as_is(DataType::Int16),
        "float" => as_is(DataType::Float32),
        "double" | "real" => as_is(DataType::Float64),
        "decimal" | "numeric" => as_is(decimal(
            native.precision.unwrap_or(10).min(76) as u8,
            native.scale.unwrap_or(0).min(76) as i8,
        )),
        "bit" if native.column_type == "bit(1)" => as_is(DataType::Boolean),
        "bit" => as_is(DataType::UInt64),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => {
            as_is(DataType::Utf8)
        }
        "json" | "uuid" | "inet4" | "inet6" => as_is(DataType::Utf8),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            as_is(DataType::Binary)
        }
        "date" => as_is(DataType::Date32),
        "datetime" => as_is(DataType::Timestamp(micros, None)),
        "timestamp" => as_is(DataType::Timestamp(micros, Some("UTC".into()))),
        "time" => (
            DataType::Time64(micros),
            Some(
                "a time of day; values below 0 or from 24:00 on are an error until the option columns reads it as \
                 interval, text or null"
                    .into(),
            ),
        ),
        "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometry" | "geometrycollection" | "geomcollection" => (
            DataType::Binary,
            Some(format!(
                "{}: read as the server stores it, four bytes of SRID and then WKB",
                native.data_type
            )),
        ),
        other => (
            DataType::Binary,
            Some(format!("{other} has no mapping: read as bytes")),
        ),
    }
}

/// The narrower of the two decimal types that holds it.
pub(crate) fn decimal(precision: u8, scale: i8) -> DataType {
    if precision <= 38 {
        DataType::Decimal128(precision, scale)
    } else {
        DataType::Decimal256(precision, scale)
    }
}

/// `decimal(p,s)` or `decimal(p)`.
fn decimal_arguments(text: &str) -> Option<(u8, i8)> {
    let inner = text
        .strip_prefix("decimal(")
        .or_else(|| text.strip_prefix("numeric("))?
        .strip_suffix(')')?;
    let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
    let precision: u8 = precision.trim().parse().ok()?;
    let scale: i8 = scale.trim().parse().ok()?;
    ((1..=76).contains(&precision) && (0..=precision as i8).contains(&scale))
        .then_some((precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(data_type: &str, column_type: &str) -> NativeColumn {
        NativeColumn {
            data_type: data_type.into(),
            column_type: column_type.into(),
            ..Default::default()
        }
    }

    #[test]
    fn decisions_change_the_type_and_mark_it() {
        let day = native("date", "date");
        let plain = map(&day, None, ZeroDates::Error);
        assert_eq!((plain.data_type, plain.nulls), (DataType::Date32, false));
        assert!(!is_decided(&plain.native_type));
        let null = map(&day, None, ZeroDates::Null);
        assert_eq!((null.data_type, null.nulls), (DataType::Date32, true));
        assert!(is_decided(&null.native_type) && reads_misfits_as_null(&null.native_type));
        let text = map(&day, None, ZeroDates::Text);
        assert_eq!(text.data_type, DataType::Utf8);
        // The column's own decision is stronger than the source's policy.
        let own = map(&day, Some(&Decision::Text), ZeroDates::Null);
        assert_eq!((own.data_type, own.nulls), (DataType::Utf8, false));
        let flag = map(
            &native("tinyint", "tinyint(1)"),
            Some(&Decision::parse("boolean").unwrap()),
            ZeroDates::Null,
        );
        assert_eq!(flag.data_type, DataType::Boolean);
    }

    #[test]
    fn decimals_as_decided() {
        assert_eq!(
            Decision::parse("DECIMAL(12, 2)").unwrap(),
            Decision::As(DataType::Decimal128(12, 2))
        );
        assert_eq!(
            Decision::parse("decimal(50,3)").unwrap(),
            Decision::As(DataType::Decimal256(50, 3))
        );
        assert!(Decision::parse("decimal(3,4)").is_err());
        assert!(Decision::parse("decimal(0)").is_err());
    }
}

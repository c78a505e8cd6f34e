use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use belvedere_connector::{Code, Error, Result, SourceConfig};

/// What a declared type says: what values are read as, and a note for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    pub data_type: DataType,
    pub note: Option<&'static str>,
}

/// SQLite's affinity of a declared type: what it does to a value that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    /// By SQLite's rules, in their order.
    pub fn of(declared: &str) -> Self {
        let upper = declared.to_ascii_uppercase();
        let has = |part: &str| upper.contains(part);
        match () {
            () if has("INT") => Self::Integer,
            () if has("CHAR") || has("CLOB") || has("TEXT") => Self::Text,
            () if has("BLOB") || upper.trim().is_empty() => Self::Blob,
            () if has("REAL") || has("FLOA") || has("DOUB") => Self::Real,
            () => Self::Numeric,
        }
    }
}

/// What a column of this declared type is read as.
pub fn declared(native: &str) -> Declared {
    let plain = |data_type| Declared {
        data_type,
        note: None,
    };
    let upper = native.to_ascii_uppercase();
    let (name, arguments) = match upper.split_once('(') {
        Some((name, rest)) => (name.trim(), rest.split(')').next().unwrap_or_default()),
        None => (upper.trim(), ""),
    };
    let zoned = upper.contains("WITH TIME ZONE");
    match name.split_whitespace().next().unwrap_or_default() {
        "BOOL" | "BOOLEAN" => plain(DataType::Boolean),
        "DATE" => plain(DataType::Date32),
        "TIME" if !zoned => plain(DataType::Time64(TimeUnit::Microsecond)),
        "TIMESTAMPTZ" => plain(timestamp(true)),
        "TIMESTAMP" | "DATETIME" => plain(timestamp(zoned)),
        "DECIMAL" | "NUMERIC" | "NUMBER" | "DEC" => decimal(arguments),
        "BINARY" | "VARBINARY" | "BYTEA" => plain(DataType::Binary),
        "INTERVAL" => plain(DataType::Utf8),
        "UUID" | "JSON" => plain(DataType::Utf8),
        "" => Declared {
            data_type: DataType::Utf8,
            note: Some("no declared type: read as text"),
        },
        _ => match Affinity::of(native) {
            Affinity::Integer => plain(DataType::Int64),
            Affinity::Real => plain(DataType::Float64),
            Affinity::Text => plain(DataType::Utf8),
            Affinity::Blob => plain(DataType::Binary),
            Affinity::Numeric => Declared {
                data_type: DataType::Utf8,
                note: Some("the declared type has no mapping: read as text"),
            },
        },
    }
}

fn timestamp(zoned: bool) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zoned.then(|| "UTC".into()))
}

fn decimal(arguments: &str) -> Declared {
    let mut numbers = arguments
        .split(',')
        .map(|number| number.trim().parse::<u8>());
    let precision = numbers.next();
    let scale = match numbers.next() {
        Some(scale) => scale.ok(),
        None => Some(0),
    };
    match (precision, scale) {
        (Some(Ok(precision @ 1..=38)), Some(scale)) if scale <= precision => Declared {
            data_type: DataType::Decimal128(precision, scale as i8),
            note: (precision > 15)
                .then_some("SQLite keeps 15 digits of it; more only in a column declared TEXT, read as a decimal by option columns"),
        },
        (Some(Err(_)), _) if arguments.trim().is_empty() => Declared {
            data_type: DataType::Float64,
            note: Some("a decimal without precision: read as a float"),
        },
        (None, _) => Declared {
            data_type: DataType::Float64,
            note: Some("a decimal without precision: read as a float"),
        },
        _ => Declared {
            data_type: DataType::Utf8,
            note: Some("a decimal outside of 38 digits: read as text"),
        },
    }
}

/// What the user decided about a column in option `columns`.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Read as this declared type.
    Type(String),
    /// A value that does not fit is NULL.
    NullOnMisfit,
}

/// Decisions by `table.column`.
pub fn decisions(config: &SourceConfig) -> Result<BTreeMap<String, Decision>> {
    config
        .column_decisions()?
        .into_iter()
        .map(|(column, decision)| {
            let decision = match decision.to_ascii_lowercase().as_str() {
                "null" => Decision::NullOnMisfit,
                "string" => Decision::Type("text".to_string()),
                other if declared(other).note.is_some_and(|note| note.contains("no mapping")) => {
                    return Err(Error::new(
                        Code::InvalidOption,
                        format!("option columns: '{decision}' for {column} is no type"),
                    )
                    .at_source(&config.name)
                    .help("Use null, text, or a type such as bigint, double, date, timestamp or decimal(12,2)"));
                }
                _ => Decision::Type(decision),
            };
            Ok((column, decision))
        })
        .collect()
}

/// Those about columns of one table, by column name.
pub fn decisions_of<'a>(
    decisions: &'a BTreeMap<String, Decision>,
    table: &'a str,
) -> impl Iterator<Item = (&'a str, &'a Decision)> {
    decisions.iter().filter_map(move |(column, decision)| {
        let column = column.strip_prefix(table)?.strip_prefix('.')?;
        Some((column, decision))
    })
}

/// What travels in a column's native type beside the declared type, so that scans and expressions need no lookup.
#[derive(Debug, Clone, PartialEq)]
pub struct Native {
    /// As declared in the table.
    pub declared: String,
    /// SQLite itself sees to it that stored values fit: a STRICT table, a row id.
    pub always_fits: bool,
    pub null_on_misfit: bool,
    /// Read as another type than the declared one, by decision.
    pub decided: bool,
}

const ALWAYS_FITS: &str = "; strict";
const NULL_ON_MISFIT: &str = "; null on misfit";
const DECIDED: &str = "; by decision";

impl Native {
    pub fn parse(text: &str) -> Self {
        let (declared, marks) = match text.find(';') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        Self {
            declared: declared.to_string(),
            always_fits: marks.contains(ALWAYS_FITS),
            null_on_misfit: marks.contains(NULL_ON_MISFIT),
            decided: marks.contains(DECIDED),
        }
    }

    pub fn text(&self) -> String {
        let mark = |on: bool, mark: &'static str| if on { mark } else { "" };
        format!(
            "{}{}{}{}",
            // A declared type may hold anything; marks are ours alone.
            self.declared.replace(';', ","),
            mark(self.always_fits, ALWAYS_FITS),
            mark(self.null_on_misfit, NULL_ON_MISFIT),
            mark(self.decided, DECIDED),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types() {
        for (native, expected) in [
            ("INTEGER", DataType::Int64),
            ("unsigned big int", DataType::Int64),
            ("VARCHAR(20)", DataType::Utf8),
            ("DOUBLE PRECISION", DataType::Float64),
            ("decimal(12, 2)", DataType::Decimal128(12, 2)),
            ("NUMERIC(5)", DataType::Decimal128(5, 0)),
            ("NUMERIC", DataType::Float64),
            ("DECIMAL(40,2)", DataType::Utf8),
            ("DECIMAL(2,5)", DataType::Utf8),
            ("BOOLEAN", DataType::Boolean),
            ("date", DataType::Date32),
            ("DATETIME", timestamp(false)),
            ("TIMESTAMP WITH TIME ZONE", timestamp(true)),
            ("TIMESTAMP(3) WITHOUT TIME ZONE", timestamp(false)),
            ("BLOB", DataType::Binary),
            ("UUID", DataType::Utf8),
            ("", DataType::Utf8),
            ("MONEY", DataType::Utf8),
        ] {
            assert_eq!(declared(native).data_type, expected, "{native}");
        }
    }

    #[test]
    fn a_declared_type_cannot_pretend_to_be_strict() {
        let native = Native {
            declared: "INTEGER; strict".to_string(),
            always_fits: false,
            null_on_misfit: true,
            decided: false,
        };
        let read = Native::parse(&native.text());
        assert!(!read.always_fits && read.null_on_misfit);
    }
}

//! How the rows of one table are read, as the log describes them now.

use arrow::datatypes::{Field, SchemaRef};
use belvedere_connector::{Captured, Code, Error, NATIVE_TYPE, Result};
use mysql_async::Value;
use mysql_async::consts::ColumnType;

use super::bytes::{Bytes, malformed};
use super::charset::{Charset, Charsets};
use super::json;
use super::layout::{Column, kind};
use super::value;
use crate::decode::{Origin, RowDecoder, Wire};

/// The columns of a table in the log, and which of them are wanted.
#[derive(Debug)]
pub struct Shape {
    schema: SchemaRef,
    origins: Vec<Option<Origin>>,
    wires: Vec<Wire>,
    columns: Vec<(Column, Option<Wanted>)>,
}

/// A column that is wanted.
#[derive(Debug)]
struct Wanted {
    /// Its number among those.
    number: usize,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    /// A number, a date, bits.
    Plain {
        is_unsigned: bool,
    },
    /// What is text, or bytes; without the spaces that pad it.
    Text {
        charset: Charset,
        is_padded: bool,
    },
    /// Bytes, of which the zeros at the end of so many are not stored.
    Bytes {
        length: usize,
    },
    Enum(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    /// MySQL's, which is not stored as text.
    Json,
    Uuid,
    Inet4,
    Inet6,
}

/// The type as the server says it: `decimal(12,2) unsigned`, without what a decision added.
struct Native<'a> {
    base: &'a str,
    arguments: &'a str,
    is_unsigned: bool,
}

impl<'a> Native<'a> {
    fn of(field: &'a Field) -> Self {
        let whole = field.metadata().get(NATIVE_TYPE).map_or("", String::as_str);
        let base = whole.split(['(', ' ', ',']).next().unwrap_or_default();
        let behind = &whole[base.len()..];
        let arguments = behind.strip_prefix('(').and_then(|a| a.split(')').next());
        Self {
            base,
            arguments: arguments.unwrap_or_default(),
            is_unsigned: behind.contains("unsigned") || behind.contains("zerofill"),
        }
    }

    /// Whether a column of the log is of this type.
    fn is(&self, column: &Column) -> bool {
        use kind::*;
        let kinds: &[u8] = match self.base {
            "tinyint" => &[TINY],
            "smallint" => &[SHORT],
            "mediumint" => &[INT24],
            "int" | "integer" => &[LONG],
            "bigint" => &[LONGLONG],
            "year" => &[YEAR],
            "float" => &[FLOAT],
            "double" | "real" => &[DOUBLE],
            "decimal" | "numeric" => {
                let [precision, scale] = column.meta.to_be_bytes();
                return column.kind == NEWDECIMAL
                    && self.arguments == format!("{precision},{scale}");
            }
            "bit" => &[BIT],
            "enum" => &[ENUM],
            "set" => &[SET],
            "char" | "binary" | "uuid" | "inet4" | "inet6" => &[STRING],
            "varchar" | "varbinary" => &[VARCHAR, VAR_STRING],
            "json" => &[BLOB, JSON],
            "vector" => &[VECTOR],
            "tinytext" | "text" | "mediumtext" | "longtext" | "tinyblob" | "blob"
            | "mediumblob" | "longblob" => &[TINY_BLOB, 250, 251, BLOB],
            "date" => &[DATE, NEWDATE],
            // What has digits after its seconds has no fixed length in the old form.
            "time" if self.arguments.is_empty() => &[TIME, TIME2],
            "datetime" if self.arguments.is_empty() => &[DATETIME, DATETIME2],
            "timestamp" if self.arguments.is_empty() => &[TIMESTAMP, TIMESTAMP2],
            "time" => &[TIME2],
            "datetime" => &[DATETIME2],
            "timestamp" => &[TIMESTAMP2],
            _ => &[GEOMETRY],
        };
        kinds.contains(&column.kind)
    }

    fn wire(&self) -> Wire {
        use ColumnType::*;
        let kind = match self.base {
            "bit" => MYSQL_TYPE_BIT,
            "decimal" | "numeric" => MYSQL_TYPE_NEWDECIMAL,
            "date" => MYSQL_TYPE_DATE,
            "datetime" => MYSQL_TYPE_DATETIME,
            "timestamp" => MYSQL_TYPE_TIMESTAMP,
            "time" => MYSQL_TYPE_TIME,
            "float" => MYSQL_TYPE_FLOAT,
            "double" | "real" => MYSQL_TYPE_DOUBLE,
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year" => {
                MYSQL_TYPE_LONGLONG
            }
            _ => MYSQL_TYPE_STRING,
        };
        Wire {
            kind,
            decimals: self.arguments.parse().unwrap_or(0),
        }
    }
}

impl Shape {
    /// # Errors
    /// A definite one, if wanted columns are not there, of another type, or of one that is not read from the log.
    pub fn new(captured: &Captured, columns: Vec<Column>, charsets: &Charsets) -> Result<Self> {
        let mut columns: Vec<_> = columns.into_iter().map(|column| (column, None)).collect();
        let (mut origins, mut wires) = (Vec::new(), Vec::new());
        for (number, field) in captured.schema.fields().iter().enumerate() {
            let native = Native::of(field);
            let at = |e: Error| e.at_table(&captured.table.name).at_column(field.name());
            let found = columns.iter_mut().find(|(c, _)| c.name == *field.name());
            let Some((column, wanted)) = found else {
                return Err(at(gone()));
            };
            if !native.is(column) {
                return Err(at(retyped()));
            }
            let reading = reading(column, &native, charsets).map_err(at)?;
            *wanted = Some(Wanted { number, reading });
            wires.push(native.wire());
            origins.push(Some(Origin {
                table: captured.table.clone(),
                column: field.name().clone(),
            }));
        }
        let unknown = |(column, wanted): &&(Column, Option<Wanted>)| {
            // In the old form the length of times depends on digits that the log does not tell.
            let is_old = matches!(column.kind, kind::TIMESTAMP | kind::TIME | kind::DATETIME);
            !is_known(column) || (is_old && wanted.is_none())
        };
        if let Some((column, _)) = columns.iter().find(unknown) {
            let why = "a column of the table is stored in a way that is not read from the log: compressed, or of a form of before MariaDB 10.1.2";
            return Err(Error::new(Code::NoChangeCapture, why)
                .at_table(&captured.table.name)
                .at_column(&column.name));
        }
        Ok(Self {
            schema: captured.schema.clone(),
            origins,
            wires,
            columns,
        })
    }

    pub fn decoder(&self) -> Result<RowDecoder> {
        RowDecoder::of(self.schema.clone(), &self.origins, &self.wires)
    }

    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The wanted values of the next row. Their places in `values` are the schema's.
    ///
    /// # Errors
    /// If the row ends too early.
    pub fn row(&self, rows: &mut Bytes<'_>, values: &mut Vec<Value>) -> Result<()> {
        values.resize(self.wires.len(), Value::NULL);
        let nulls = rows.take(self.columns.len().div_ceil(8))?;
        for (i, (column, wanted)) in self.columns.iter().enumerate() {
            let is_null = nulls[i / 8] >> (i % 8) & 1 == 1;
            let bytes = match is_null {
                true => None,
                false => Some(value::stored(column, rows)?),
            };
            if let Some(wanted) = wanted {
                values[wanted.number] = match bytes {
                    Some(bytes) => wanted.reading.value(column, bytes)?,
                    None => Value::NULL,
                };
            }
        }
        Ok(())
    }
}

impl Reading {
    fn value(&self, column: &Column, bytes: &[u8]) -> Result<Value> {
        Ok(Value::Bytes(match self {
            Self::Plain { is_unsigned } => return value::value(column, *is_unsigned, bytes),
            Self::Text { charset, is_padded } => {
                let mut text = charset.text(bytes);
                while *is_padded && text.last() == Some(&b' ') {
                    text.pop();
                }
                text
            }
            Self::Bytes { length } => padded(bytes, *length),
            Self::Enum(labels) => match super::bytes::little(bytes) {
                // What a lax server keeps of a label that is none.
                0 => Vec::new(),
                number => {
                    let label = labels.get(number as usize - 1);
                    label.ok_or_else(malformed)?.clone()
                }
            },
            Self::Set(labels) => {
                let bits = super::bytes::little(bytes);
                let set = labels
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| bits >> i & 1 == 1);
                let set: Vec<&[u8]> = set.map(|(_, label)| label.as_slice()).collect();
                set.join(&b","[..])
            }
            Self::Json => json::text(bytes)?.into_bytes(),
            Self::Uuid => value::uuid(&padded(bytes, 16)).into_bytes(),
            Self::Inet4 => value::inet4(&padded(bytes, 4)).into_bytes(),
            Self::Inet6 => value::inet6(&padded(bytes, 16)).into_bytes(),
        }))
    }
}

fn padded(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut all = bytes.to_vec();
    all.resize(length.max(bytes.len()), 0);
    all
}

fn reading(column: &Column, native: &Native<'_>, charsets: &Charsets) -> Result<Reading> {
    let charset = || {
        charsets.of(column.collation).map_err(|name| {
            Error::new(
                Code::NoChangeCapture,
                format!("text of {name} is not read from the log"),
            )
            .help("Convert the column to utf8mb4")
        })
    };
    let labels = || {
        let charset = charset()?;
        let labels = column.labels.iter().map(|label| charset.text(label));
        Ok::<_, Error>(labels.collect())
    };
    Ok(match native.base {
        "uuid" => Reading::Uuid,
        "inet4" => Reading::Inet4,
        "inet6" => Reading::Inet6,
        "json" if column.kind == kind::JSON => Reading::Json,
        "enum" => Reading::Enum(labels()?),
        "set" => Reading::Set(labels()?),
        "binary" => Reading::Bytes {
            length: column.meta.into(),
        },
        "char" => Reading::Text {
            charset: charset()?,
            is_padded: true,
        },
        "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "json" => Reading::Text {
            charset: charset()?,
            is_padded: false,
        },
        _ if matches!(
            column.kind,
            kind::VARCHAR | kind::VAR_STRING | kind::TINY_BLOB
                ..=kind::BLOB | kind::GEOMETRY | kind::VECTOR
        ) =>
        {
            Reading::Bytes { length: 0 }
        }
        _ => Reading::Plain {
            is_unsigned: native.is_unsigned,
        },
    })
}

/// Whether its values can at least be passed over.
fn is_known(column: &Column) -> bool {
    use kind::*;
    matches!(
        column.kind,
        TINY | SHORT
            | LONG
            | FLOAT
            | DOUBLE
            | TIMESTAMP
            | LONGLONG
            | INT24
            | DATE..=TIME2
            | VECTOR
            | JSON..=GEOMETRY
            | BLOB_COMPRESSED
            | VARCHAR_COMPRESSED
    )
}

pub fn gone() -> Error {
    Error::new(Code::SchemaChanged, "the column is no longer there").help("Run REFRESH SOURCE")
}

pub fn retyped() -> Error {
    let message = "the column is no longer of the type that was discovered";
    Error::new(Code::SchemaChanged, message).help("Run REFRESH SOURCE")
}

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use belvedere_connector::{Code, Error, Result, SourceConfig};
use datafusion::parquet::basic::{Compression, ZstdLevel};

use super::encoder::Encoder;
use super::stage::Sink;
use crate::kind::{Kind, Packing};
use crate::settings::single_byte;

/// How rows become bytes.
#[derive(Debug, Clone)]
pub struct Format {
    pub kind: Kind,
    /// Of Parquet's pages.
    pub pages: Compression,
    pub header: bool,
    pub delimiter: u8,
    pub quote: u8,
}

impl Format {
    /// From the options, and what a single file's ending says.
    pub fn new(config: &SourceConfig, named: Option<Kind>) -> Result<Self> {
        let invalid = |message: String| Error::new(Code::InvalidOption, message);
        let kind = match (config.option("format"), named) {
            (None, named) => named.unwrap_or(Kind::Parquet),
            (Some(word), named) => {
                let plain = of_word(word)?;
                match named {
                    None => plain,
                    Some(named) if named.packed(Packing::None) == plain => named,
                    Some(named) => {
                        return Err(invalid(format!(
                            "{} is to be {plain}, and its ending says {named}",
                            config.url
                        ))
                        .help(format!("Give it the ending .{}", plain.ending())));
                    }
                }
            }
        };
        if matches!(kind.packing(), Packing::Bzip2 | Packing::Xz) {
            return Err(invalid(format!("{kind} is read, and not written"))
                .help("Choose the ending .gz or .zst"));
        }
        let word = config.option("compression").map(str::to_ascii_lowercase);
        let (kind, pages) = compression(kind, named.is_some(), word.as_deref())?;
        if !kind.is_csv() {
            for option in ["header", "delimiter", "quote"] {
                if config.option(option).is_some() {
                    return Err(invalid(format!(
                        "option {option} is for CSV, and the format is {kind}"
                    )));
                }
            }
        }
        let format = Self {
            kind,
            pages,
            header: switch(config, "header", true)?,
            delimiter: single_byte(config, "delimiter")?.unwrap_or(match kind {
                Kind::Tsv(_) => b'\t',
                _ => b',',
            }),
            quote: single_byte(config, "quote")?.unwrap_or(b'"'),
        };
        for (option, byte) in [("delimiter", format.delimiter), ("quote", format.quote)] {
            if matches!(byte, b'\n' | b'\r' | 0) || byte >= 0x80 {
                return Err(invalid(format!("option {option} cannot be this character")));
            }
        }
        if format.delimiter == format.quote {
            return Err(invalid("delimiter and quote are the same character".into()));
        }
        Ok(format)
    }

    /// Of a file's name.
    pub fn ending(&self) -> String {
        self.kind.ending()
    }

    /// Whether all values of these columns can be written, and read back.
    pub fn check(&self, schema: &Schema) -> Result<()> {
        if schema.fields().is_empty() {
            return Err(Error::new(
                Code::InvalidOption,
                "the rows have no columns to write",
            ));
        }
        for field in schema.fields() {
            if !self.holds(field) {
                return Err(Error::new(
                    Code::InvalidOption,
                    format!(
                        "column {} of type {} cannot be written as {}",
                        field.name(),
                        field.data_type(),
                        self.kind
                    ),
                )
                .help(match self.kind {
                    Kind::Parquet | Kind::Arrow => "Cast it to another type, e.g. to text",
                    _ => "Write Parquet, or cast the column to text (bytes: encode(…, 'hex'))",
                }));
            }
        }
        Ok(())
    }

    /// A row of NULL is written to nowhere: what its writer cannot do it says then.
    fn holds(&self, field: &Field) -> bool {
        let data_type = field.data_type();
        let text = !matches!(self.kind, Kind::Parquet | Kind::Arrow);
        if text && any(data_type, &is_bytes) || self.kind.is_csv() && data_type.is_nested() {
            return false;
        }
        let schema = Arc::new(Schema::new(vec![field.clone().with_nullable(true)]));
        let row = RecordBatch::try_new(schema.clone(), vec![new_null_array(data_type, 1)]);
        let (Ok(row), Ok(mut encoder)) = (row, Encoder::new(self, &schema, Box::new(Nowhere)))
        else {
            return false;
        };
        encoder.write(&row).is_ok() && encoder.finish().is_ok()
    }
}

struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn of_word(word: &str) -> Result<Kind> {
    Ok(match word.to_ascii_lowercase().as_str() {
        "parquet" => Kind::Parquet,
        "csv" => Kind::Csv(Packing::None),
        "tsv" => Kind::Tsv(Packing::None),
        "json" | "jsonl" | "ndjson" => Kind::Json(Packing::None),
        "arrow" => Kind::Arrow,
        _ => {
            return Err(Error::new(
                Code::InvalidOption,
                format!("option format is one of parquet, csv, tsv, json, arrow, not '{word}'"),
            ));
        }
    })
}

/// The kind with its packing, and how Parquet packs its pages.
fn compression(kind: Kind, named: bool, word: Option<&str>) -> Result<(Kind, Compression)> {
    let invalid = |words: &str| {
        Error::new(
            Code::InvalidOption,
            format!(
                "option compression is one of {words} for {kind}, not '{}'",
                word.unwrap_or_default()
            ),
        )
    };
    let none = Compression::UNCOMPRESSED;
    Ok(match kind {
        Kind::Parquet => {
            let pages = match word {
                None | Some("zstd") => Compression::ZSTD(ZstdLevel::default()),
                Some("snappy") => Compression::SNAPPY,
                Some("gzip") => Compression::GZIP(Default::default()),
                Some("lz4") => Compression::LZ4_RAW,
                Some("none" | "uncompressed") => none,
                Some(_) => return Err(invalid("zstd, snappy, gzip, lz4, none")),
            };
            (kind, pages)
        }
        Kind::Arrow => match word {
            None | Some("none" | "uncompressed") => (kind, none),
            Some(_) => return Err(invalid("none")),
        },
        _ => {
            let packing = match word {
                None => kind.packing(),
                Some("none" | "uncompressed") => Packing::None,
                Some("gzip") => Packing::Gzip,
                Some("zstd") => Packing::Zstd,
                Some(_) => return Err(invalid("none, gzip, zstd")),
            };
            let packed = kind.packed(packing);
            if named && packed != kind {
                return Err(Error::new(
                    Code::InvalidOption,
                    format!("the file is to be {packed}, and its ending says {kind}"),
                )
                .help(format!("Give it the ending .{}", packed.ending())));
            }
            (packed, none)
        }
    })
}

/// An option that is on or off, however that is usually written.
pub fn switch(config: &SourceConfig, name: &str, default: bool) -> Result<bool> {
    let Some(text) = config.option(name) else {
        return Ok(default);
    };
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err(Error::new(
            Code::InvalidOption,
            format!("option {name} is true or false, not '{text}'"),
        )),
    }
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

/// Whether this type, or one inside it, is such.
fn any(data_type: &DataType, such: &dyn Fn(&DataType) -> bool) -> bool {
    such(data_type)
        || match data_type {
            DataType::Dictionary(_, inner) => any(inner, such),
            DataType::List(field)
            | DataType::LargeList(field)
            | DataType::ListView(field)
            | DataType::LargeListView(field)
            | DataType::FixedSizeList(field, _)
            | DataType::Map(field, _)
            | DataType::RunEndEncoded(_, field) => any(field.data_type(), such),
            DataType::Struct(fields) => fields.iter().any(|f| any(f.data_type(), such)),
            _ => false,
        }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match self.pages {
            Compression::UNCOMPRESSED => Ok(()),
            Compression::ZSTD(_) => f.write_str(" (zstd)"),
            Compression::GZIP(_) => f.write_str(" (gzip)"),
            Compression::SNAPPY => f.write_str(" (snappy)"),
            _ => f.write_str(" (lz4)"),
        }
    }
}

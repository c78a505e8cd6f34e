use std::sync::Arc;

use datafusion::common::config::{CsvOptions, JsonOptions, TableParquetOptions};
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;

use crate::settings::Csv;

/// What a file is, by its name. Files of one table have one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Parquet,
    Arrow,
    Csv(Packing),
    /// Comma-separated's sister: the delimiter is a tab unless the source says otherwise.
    Tsv(Packing),
    Json(Packing),
}

/// How a text file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Packing {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Kind {
    /// None for names that are no data file's.
    pub fn of_name(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let packed = |ending| lower.strip_suffix(ending);
        let (plain, packing) = if let Some(plain) = packed(".gz") {
            (plain, Packing::Gzip)
        } else if let Some(plain) = packed(".zst") {
            (plain, Packing::Zstd)
        } else if let Some(plain) = packed(".bz2") {
            (plain, Packing::Bzip2)
        } else if let Some(plain) = packed(".xz") {
            (plain, Packing::Xz)
        } else {
            (lower.as_str(), Packing::None)
        };
        let (stem, ending) = plain.rsplit_once('.')?;
        match ending {
            _ if stem.is_empty() => None,
            "parquet" | "pq" if packing == Packing::None => Some(Self::Parquet),
            "arrow" | "arrows" | "feather" | "ipc" if packing == Packing::None => Some(Self::Arrow),
            "csv" => Some(Self::Csv(packing)),
            "tsv" => Some(Self::Tsv(packing)),
            "json" | "jsonl" | "ndjson" => Some(Self::Json(packing)),
            _ => None,
        }
    }

    /// The file's name without what says its kind: `orders.csv.gz` → `orders`.
    pub fn stem(name: &str) -> &str {
        let plain = [".gz", ".zst", ".bz2", ".xz"]
            .iter()
            .find(|ending| name.to_ascii_lowercase().ends_with(*ending))
            .map_or(name, |ending| &name[..name.len() - ending.len()]);
        plain.rsplit_once('.').map_or(plain, |(stem, _)| stem)
    }

    /// What such a file's name ends with, without the dot.
    pub fn ending(self) -> String {
        let plain = match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Csv(_) => "csv",
            Self::Tsv(_) => "tsv",
            Self::Json(_) => "json",
        };
        match self.packing() {
            Packing::None => plain.to_string(),
            Packing::Gzip => format!("{plain}.gz"),
            Packing::Zstd => format!("{plain}.zst"),
            Packing::Bzip2 => format!("{plain}.bz2"),
            Packing::Xz => format!("{plain}.xz"),
        }
    }

    /// The same packed in another way, if it can be packed at all.
    pub fn packed(self, packing: Packing) -> Self {
        match self {
            Self::Parquet | Self::Arrow => self,
            Self::Csv(_) => Self::Csv(packing),
            Self::Tsv(_) => Self::Tsv(packing),
            Self::Json(_) => Self::Json(packing),
        }
    }

    pub fn packing(self) -> Packing {
        match self {
            Self::Parquet | Self::Arrow => Packing::None,
            Self::Csv(packing) | Self::Tsv(packing) | Self::Json(packing) => packing,
        }
    }

    pub fn is_csv(self) -> bool {
        matches!(self, Self::Csv(_) | Self::Tsv(_))
    }

    pub fn delimiter(self, csv: &Csv) -> u8 {
        csv.delimiter.unwrap_or(if matches!(self, Self::Tsv(_)) {
            b'\t'
        } else {
            b','
        })
    }

    /// DataFusion's reader of it.
    pub fn format(self, csv: &Csv) -> Arc<dyn FileFormat> {
        let compression = self.packing().variant();
        match self {
            Self::Parquet => {
                let mut options = TableParquetOptions::default();
                options.global.schema_force_view_types = false;
                // Microseconds reach all dates people write; nanoseconds end in 2262.
                options.global.coerce_int96 = Some("us".to_string());
                Arc::new(ParquetFormat::new().with_options(options))
            }
            Self::Arrow => Arc::new(ArrowFormat),
            Self::Csv(_) | Self::Tsv(_) => {
                Arc::new(CsvFormat::default().with_options(CsvOptions {
                    has_header: Some(csv.header),
                    delimiter: self.delimiter(csv),
                    quote: csv.quote,
                    escape: csv.escape,
                    comment: csv.comment,
                    newlines_in_values: Some(csv.newlines),
                    compression,
                    ..CsvOptions::default()
                }))
            }
            Self::Json(_) => Arc::new(JsonFormat::default().with_options(JsonOptions {
                compression,
                ..JsonOptions::default()
            })),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Arrow => "Arrow IPC",
            Self::Csv(_) => "CSV",
            Self::Tsv(_) => "TSV",
            Self::Json(_) => "JSON lines",
        })?;
        match self.packing() {
            Packing::None => Ok(()),
            Packing::Gzip => f.write_str(" (gzip)"),
            Packing::Zstd => f.write_str(" (zstd)"),
            Packing::Bzip2 => f.write_str(" (bzip2)"),
            Packing::Xz => f.write_str(" (xz)"),
        }
    }
}

impl Packing {
    pub fn decoder(self) -> FileCompressionType {
        self.variant().into()
    }

    fn variant(self) -> CompressionTypeVariant {
        match self {
            Self::None => CompressionTypeVariant::UNCOMPRESSED,
            Self::Gzip => CompressionTypeVariant::GZIP,
            Self::Zstd => CompressionTypeVariant::ZSTD,
            Self::Bzip2 => CompressionTypeVariant::BZIP2,
            Self::Xz => CompressionTypeVariant::XZ,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        for (name, kind, stem) in [
            ("prices.csv", Some(Kind::Csv(Packing::None)), "prices"),
            (
                "orders.2024.csv.gz",
                Some(Kind::Csv(Packing::Gzip)),
                "orders.2024",
            ),
            ("P.PARQUET", Some(Kind::Parquet), "P"),
            ("a.tsv.zst", Some(Kind::Tsv(Packing::Zstd)), "a"),
            ("a.ndjson", Some(Kind::Json(Packing::None)), "a"),
            ("a.feather", Some(Kind::Arrow), "a"),
            ("README.md", None, "README"),
            (".csv", None, ""),
            ("a.parquet.gz", None, "a"),
            ("Makefile", None, "Makefile"),
        ] {
            assert_eq!(Kind::of_name(name), kind, "{name}");
            assert_eq!(Kind::stem(name), stem, "{name}");
        }
    }
}

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::csv;
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;
use arrow::json;
use belvedere_connector::{Code, Error, Result};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use flate2::write::GzEncoder;

use super::format::Format;
use super::stage::Sink;
use crate::kind::{Kind, Packing};

/// A row group is held until it is written: it ends with so many bytes, or with Parquet's usual number of rows.
const ROW_GROUP: usize = 64 << 20;

/// Rows to the bytes of one file.
pub struct Encoder {
    rows: Rows,
    kind: Kind,
    output: Output,
}

enum Rows {
    Parquet(Box<ArrowWriter<Output>>),
    Arrow(FileWriter<Output>),
    Csv(csv::Writer<Output>),
    Json(json::Writer<Output, json::writer::LineDelimited>),
}

impl Encoder {
    pub fn new(format: &Format, schema: &SchemaRef, sink: Box<dyn Sink>) -> Result<Self> {
        let output = Output::new(format.kind.packing(), sink)?;
        let failed = |e: ArrowError| failed(format.kind, &output, e);
        let rows = match format.kind {
            Kind::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(format.pages)
                    .set_max_row_group_bytes(Some(ROW_GROUP))
                    .build();
                ArrowWriter::try_new(output.clone(), schema.clone(), Some(properties))
                    .map(|writer| Rows::Parquet(Box::new(writer)))
                    .map_err(|e| failed(e.into()))?
            }
            Kind::Arrow => FileWriter::try_new(output.clone(), schema)
                .map(Rows::Arrow)
                .map_err(failed)?,
            Kind::Csv(_) | Kind::Tsv(_) => {
                let mut writer = csv::WriterBuilder::new()
                    .with_header(format.header)
                    .with_delimiter(format.delimiter)
                    .with_quote(format.quote)
                    .build(output.clone());
                // The header also where there are no rows.
                writer
                    .write(&RecordBatch::new_empty(schema.clone()))
                    .map_err(failed)?;
                Rows::Csv(writer)
            }
            Kind::Json(_) => Rows::Json(
                json::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build(output.clone()),
            ),
        };
        Ok(Self {
            rows,
            kind: format.kind,
            output,
        })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = match &mut self.rows {
            Rows::Parquet(writer) => writer.write(batch).map_err(ArrowError::from),
            Rows::Arrow(writer) => writer.write(batch),
            Rows::Csv(writer) => writer.write(batch),
            Rows::Json(writer) => {
                check_finite(batch)?;
                writer.write(batch)
            }
        };
        written.map_err(|e| failed(self.kind, &self.output, e))
    }

    /// About how many bytes the file would have if it were ended now.
    pub fn bytes(&self) -> u64 {
        let held = match &self.rows {
            Rows::Parquet(writer) => writer.in_progress_size() as u64,
            _ => 0,
        };
        self.output.bytes() + held
    }

    /// End the file; returns its bytes.
    pub fn finish(self) -> Result<u64> {
        let Self { rows, kind, output } = self;
        let ended = match rows {
            Rows::Parquet(writer) => writer.close().map(|_| ()).map_err(ArrowError::from),
            Rows::Arrow(mut writer) => writer.finish(),
            // All of it was passed on with each batch.
            Rows::Csv(writer) => {
                drop(writer);
                Ok(())
            }
            Rows::Json(mut writer) => writer.finish(),
        };
        ended.map_err(|e| failed(kind, &output, e))?;
        output.finish()
    }
}

/// JSON has no word for NaN and the infinities: its writer would write them as NULL.
fn check_finite(batch: &RecordBatch) -> Result<()> {
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if !is_finite(column.as_ref()) {
            return Err(Error::new(
                Code::ValueOutOfRange,
                format!(
                    "column {} has NaN or an infinity, which JSON cannot hold",
                    field.name()
                ),
            )
            .help("Write Parquet or CSV, cast the column to text, or turn such values into NULL: nullif(…, 'NaN')"));
        }
    }
    Ok(())
}

fn is_finite(array: &dyn Array) -> bool {
    match array.data_type() {
        DataType::Float16 => {
            (array.as_primitive::<Float16Type>().iter().flatten()).all(|x| x.is_finite())
        }
        DataType::Float32 => {
            (array.as_primitive::<Float32Type>().iter().flatten()).all(f32::is_finite)
        }
        DataType::Float64 => {
            (array.as_primitive::<Float64Type>().iter().flatten()).all(f64::is_finite)
        }
        DataType::Struct(_) => (array.as_struct().columns().iter()).all(|c| is_finite(c.as_ref())),
        DataType::List(_) => {
            (array.as_list::<i32>().iter().flatten()).all(|v| is_finite(v.as_ref()))
        }
        DataType::LargeList(_) => {
            (array.as_list::<i64>().iter().flatten()).all(|v| is_finite(v.as_ref()))
        }
        DataType::FixedSizeList(..) => {
            (array.as_fixed_size_list().iter().flatten()).all(|v| is_finite(v.as_ref()))
        }
        DataType::Map(..) => (array.as_map().iter().flatten()).all(|entries| is_finite(&entries)),
        DataType::Dictionary(..) => is_finite(array.as_any_dictionary().values().as_ref()),
        _ => true,
    }
}

/// The place's error if it was that, else the writer's. Its own words may quote values.
fn failed(kind: Kind, output: &Output, e: ArrowError) -> Error {
    output.failure().unwrap_or_else(|| {
        let message = format!("a value cannot be written as {kind}");
        let code = match e {
            ArrowError::NotYetImplemented(_) => Code::InvalidOption,
            _ => Code::ValueOutOfRange,
        };
        Error::new(code, message)
    })
}

/// What a writer writes to, and we end behind it.
#[derive(Clone)]
struct Output(Arc<Mutex<Packed>>);

/// Bytes, packed on their way to the file.
enum Packed {
    Plain(Raw),
    Gzip(GzEncoder<Raw>),
    Zstd(zstd::stream::write::Encoder<'static, Raw>),
}

/// The file. Its error is kept: writers turn it into text.
struct Raw {
    sink: Box<dyn Sink>,
    bytes: u64,
    failure: Option<Error>,
}

impl Output {
    fn new(packing: Packing, sink: Box<dyn Sink>) -> Result<Self> {
        let raw = Raw {
            sink,
            bytes: 0,
            failure: None,
        };
        let packed = match packing {
            Packing::Gzip => Packed::Gzip(GzEncoder::new(raw, flate2::Compression::default())),
            Packing::Zstd => Packed::Zstd(
                zstd::stream::write::Encoder::new(raw, 0)
                    .map_err(|e| Error::internal("a compressor cannot be made").caused_by(e))?,
            ),
            _ => Packed::Plain(raw),
        };
        Ok(Self(Arc::new(Mutex::new(packed))))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Packed) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn bytes(&self) -> u64 {
        self.with(|packed| packed.raw().bytes)
    }

    fn failure(&self) -> Option<Error> {
        self.with(|packed| packed.raw().failure.clone())
    }

    /// Its writer is gone.
    fn finish(self) -> Result<u64> {
        let packed = Arc::into_inner(self.0)
            .ok_or_else(|| Error::internal("a file was ended while it was written"))?
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let ended = match packed {
            Packed::Plain(raw) => Ok(raw),
            Packed::Gzip(mut packer) => match packer.try_finish() {
                Ok(()) => packer.finish(),
                Err(e) => return Err(unpacked(packer.get_ref(), e)),
            },
            Packed::Zstd(packer) => match packer.try_finish() {
                Ok(raw) => Ok(raw),
                Err((packer, e)) => return Err(unpacked(packer.get_ref(), e)),
            },
        };
        let raw = ended.map_err(|e| Error::internal("a file cannot be ended").caused_by(e))?;
        let bytes = raw.bytes;
        raw.sink.finish()?;
        Ok(bytes)
    }
}

fn unpacked(raw: &Raw, e: io::Error) -> Error {
    let failure = raw.failure.clone();
    failure.unwrap_or_else(|| Error::internal("the bytes of a file cannot be packed").caused_by(e))
}

impl Packed {
    fn raw(&self) -> &Raw {
        match self {
            Self::Plain(raw) => raw,
            Self::Gzip(packer) => packer.get_ref(),
            Self::Zstd(packer) => packer.get_ref(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|packed| match packed {
            Packed::Plain(raw) => raw.write(bytes),
            Packed::Gzip(packer) => packer.write(bytes),
            Packed::Zstd(packer) => packer.write(bytes),
        })
    }

    /// What is packed is passed on when its packer thinks so: a flush for each batch would make the file larger.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.sink.write(bytes) {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                Ok(bytes.len())
            }
            Err(e) => {
                self.failure = Some(e.clone());
                Err(io::Error::other(e))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

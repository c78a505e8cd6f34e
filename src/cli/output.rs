use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder as JsonBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::ValueEnum;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::failure::{Failure, Result};
use super::floats::Floats;
use super::progress::Progress;
use super::table::{Look, Table, printable};
use super::target::Rows;

/// The form of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns
    Table,
    /// Comma-separated, with a header; NULL is empty
    Csv,
    /// One JSON object per line
    Json,
    /// Arrow IPC stream
    Arrow,
    /// A Parquet file: with --output FILE, or with standard output sent to a file
    Parquet,
}

impl Format {
    /// One answer is one file.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Arrow | Self::Parquet)
    }
}

/// Where answers go, and how they look there.
#[derive(Debug)]
pub struct Output {
    pub format: Format,
    /// None: standard output.
    pub file: Option<PathBuf>,
    /// Rows shown of an answer as a table; None: all.
    pub limit: Option<usize>,
    /// Whether the number of rows and the time are told.
    pub timing: bool,
    terminal: bool,
}

/// Rows that share the widths of their columns where an answer is longer than what is read ahead.
pub const PAGE: usize = 1_000;

impl Output {
    pub fn new(format: Format, file: Option<PathBuf>) -> Result<Self> {
        let terminal = file.is_none() && io::stdout().is_terminal();
        if format.is_binary() && terminal {
            return Err(Failure::usage("this format is not for people to read")
                .help("Add --output FILE, or send standard output to a file"));
        }
        if let Some(path) = &file {
            // Empty from now on, and a path that cannot be written is known before anything runs.
            File::create(path).map_err(|e| unwritable(path, &e))?;
        }
        Ok(Self {
            format,
            file,
            limit: None,
            timing: terminal,
            terminal,
        })
    }

    fn writer(&self) -> Result<Box<dyn Write + Send>> {
        match &self.file {
            None => Ok(Box::new(BufWriter::new(io::stdout()))),
            Some(path) => {
                let file = File::options().append(true).open(path);
                Ok(Box::new(BufWriter::new(
                    file.map_err(|e| unwritable(path, &e))?,
                )))
            }
        }
    }

    /// Colours are for terminals whose owner has not declined them.
    pub fn color(&self) -> bool {
        self.terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    pub fn look(&self) -> Look {
        let width = crossterm::terminal::size()
            .ok()
            .map(|(columns, _)| usize::from(columns));
        Look {
            width: width.filter(|width| self.terminal && *width > 0),
            color: self.color(),
        }
    }

    /// Write an answer as it arrives. A definition's is a word on a terminal, or in a table, and nothing elsewhere.
    pub async fn write(&self, answer: Rows, started: Instant) -> Result<()> {
        for notice in &answer.notices {
            eprintln!("notice: {notice}");
        }
        match self.format {
            _ if !answer.is_query => self.status(answer, started).await,
            Format::Table if answer.goes_on => self.follow(answer).await,
            Format::Table => self.table(answer, started).await,
            _ => self.data(answer).await,
        }
    }

    async fn status(&self, mut answer: Rows, started: Instant) -> Result<()> {
        let mut table = Table::new(&answer.schema);
        while let Some(batch) = answer.stream.next().await {
            let batch = batch?;
            table.add(&batch, batch.num_rows())?;
        }
        if self.format == Format::Table {
            let mut writer = self.writer()?;
            let time = if self.timing {
                format!("  ({})", duration(started.elapsed()))
            } else {
                String::new()
            };
            for line in table.first_column() {
                writeln!(writer, "{line}{time}").map_err(closed)?;
            }
            writer.flush().map_err(closed)?;
        }
        Ok(())
    }

    /// An answer that is a text, a line per row: as a table it would be cut.
    pub async fn text(&self, mut answer: Rows) -> Result<()> {
        let mut writer = self.writer()?;
        while let Some(batch) = answer.stream.next().await {
            let batch = batch?;
            let Some(texts) = batch.columns().last() else {
                continue;
            };
            let texts = ArrayFormatter::try_new(texts.as_ref(), &FormatOptions::default())?;
            for row in 0..batch.num_rows() {
                let text = printable(&texts.value(row).try_to_string()?);
                writeln!(writer, "{text}").map_err(closed)?;
            }
        }
        if self.timing {
            writeln!(writer).map_err(closed)?;
        }
        writer.flush().map_err(closed)
    }

    async fn table(&self, mut answer: Rows, started: Instant) -> Result<()> {
        let progress = Progress::rows();
        let mut writer = self.writer()?;
        let mut page = Table::new(&answer.schema);
        let (mut rows, mut more) = (0, false);
        let full = self.limit.unwrap_or(usize::MAX);
        'batches: while let Some(batch) = answer.stream.next().await {
            let mut batch = batch?;
            while batch.num_rows() > 0 {
                if rows == full {
                    more = true;
                    break 'batches;
                }
                let room = (PAGE - page.rows()).min(full - rows).min(batch.num_rows());
                page.add(&batch, room)?;
                rows += room;
                batch = batch.slice(room, batch.num_rows() - room);
                progress.advance(room);
                if page.rows() == PAGE && rows < full {
                    let text = page.render(self.look());
                    writer.write_all(text.as_bytes()).map_err(closed)?;
                    page.next_page();
                }
            }
        }
        drop(answer);
        progress.finish();
        writer
            .write_all(page.render(self.look()).as_bytes())
            .map_err(closed)?;
        if self.timing {
            let count = match (more, rows) {
                (true, _) => format!(
                    "the first {rows} rows; there are more (\\rows 0 or a LIMIT decide how many)"
                ),
                (false, 1) => "1 row".to_string(),
                (false, _) => format!("{rows} rows"),
            };
            writeln!(writer, "({count}, {})\n", duration(started.elapsed())).map_err(closed)?;
        }
        writer.flush().map_err(closed)
    }

    /// An answer that does not end by itself: each piece is shown as it comes.
    async fn follow(&self, mut answer: Rows) -> Result<()> {
        let mut writer = self.writer()?;
        let mut page = Table::new(&answer.schema);
        while let Some(batch) = answer.stream.next().await {
            let batch = batch?;
            page.add(&batch, batch.num_rows())?;
            let text = page.render(self.look());
            page.next_page();
            writer.write_all(text.as_bytes()).map_err(closed)?;
            writer.flush().map_err(closed)?;
        }
        Ok(())
    }

    async fn data(&self, mut answer: Rows) -> Result<()> {
        // Nobody waits for the end of what has none.
        let goes_on = answer.goes_on;
        if goes_on && self.format == Format::Parquet {
            return Err(Failure::usage(
                "a Parquet file is read from its end, and a subscription has none",
            )
            .help("Choose --format csv, json or arrow"));
        }
        let progress = Progress::rows();
        let mut encoder = Encoder::new(self.format, self.writer()?, &answer.schema)?;
        while let Some(batch) = answer.stream.next().await {
            let batch = batch?;
            progress.advance(batch.num_rows());
            encoder.write(&batch)?;
            if goes_on {
                encoder.flush()?;
            }
        }
        progress.finish();
        encoder.finish()
    }
}

/// A stream of batches to bytes.
enum Encoder {
    Csv(arrow::csv::Writer<Box<dyn Write + Send>>),
    Json(arrow::json::Writer<Box<dyn Write + Send>, LineDelimited>),
    Arrow(StreamWriter<Box<dyn Write + Send>>),
    Parquet(ArrowWriter<Box<dyn Write + Send>>),
}

impl Encoder {
    fn new(format: Format, writer: Box<dyn Write + Send>, schema: &SchemaRef) -> Result<Self> {
        Ok(match format {
            // A header also where there is no row.
            Format::Csv | Format::Table => {
                let mut csv = CsvBuilder::new().with_header(true).build(writer);
                csv.write(&RecordBatch::new_empty(schema.clone()))
                    .map_err(unwritten)?;
                Self::Csv(csv)
            }
            Format::Json => {
                let json = JsonBuilder::new().with_explicit_nulls(true);
                Self::Json(json.with_encoder_factory(Arc::new(Floats)).build(writer))
            }
            Format::Arrow => Self::Arrow(StreamWriter::try_new(writer, schema).map_err(unwritten)?),
            Format::Parquet => {
                let compression = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder()
                    .set_compression(compression)
                    .build();
                let writer = ArrowWriter::try_new(writer, schema.clone(), Some(properties));
                Self::Parquet(writer.map_err(|e| unwritten(e.into()))?)
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Csv(writer) => writer.write(batch),
            Self::Json(writer) => writer.write(batch),
            Self::Arrow(writer) => writer.write(batch),
            Self::Parquet(writer) => writer.write(batch).map_err(ArrowError::from),
        }
        .map_err(unwritten)
    }

    /// What was written is with whoever reads it.
    fn flush(&mut self) -> Result<()> {
        match self {
            // Each batch is flushed by its writer; a file that cannot be read before its end is not for what has none.
            Self::Csv(_) | Self::Parquet(_) => Ok(()),
            Self::Json(writer) => writer.get_mut().flush().map_err(closed),
            Self::Arrow(writer) => writer.flush().map_err(unwritten),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Csv(writer) => writer.into_inner().flush().map_err(ArrowError::from),
            Self::Json(mut writer) => writer
                .finish()
                .and_then(|()| writer.into_inner().flush().map_err(ArrowError::from)),
            Self::Arrow(writer) => writer
                .into_inner()
                .and_then(|mut inner| inner.flush().map_err(ArrowError::from)),
            Self::Parquet(writer) => {
                let inner = writer.into_inner().map_err(ArrowError::from);
                inner.and_then(|mut inner| inner.flush().map_err(ArrowError::from))
            }
        }
        .map_err(unwritten)
    }
}

/// Words of our own, to standard output.
pub fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(closed)
}

/// As people say it: `12 ms`, `3.4 s`, `2 min 5 s`.
pub fn duration(elapsed: Duration) -> String {
    match elapsed.as_secs_f64() {
        s if s < 0.01 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 60.0 => format!("{s:.1} s"),
        s => format!("{} min {} s", s as u64 / 60, s as u64 % 60),
    }
}

fn unwritable(path: &Path, e: &io::Error) -> Failure {
    Failure::new(format!("{} cannot be written: {e}", path.display()))
}

/// Who reads our output has gone, or the disk is full.
fn closed(e: io::Error) -> Failure {
    if e.kind() == io::ErrorKind::BrokenPipe {
        return Failure::unheard();
    }
    Failure::new(format!("the output cannot be written: {e}"))
}

fn unwritten(e: ArrowError) -> Failure {
    if let ArrowError::IoError(_, e) = e {
        return closed(e);
    }
    Failure::new(format!("the answer cannot be written in this format: {e}"))
        .help("Cast the column to text, or choose another --format")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let said = |ms| duration(Duration::from_millis(ms));
        assert_eq!(
            [said(3), said(340), said(3_400), said(125_000)],
            ["3.0 ms", "340 ms", "3.4 s", "2 min 5 s"]
        );
    }
}

//! `COPY … TO STDOUT`: its three formats.

use belvedere_sql::{CopyTo, fold};
use bytes::{BufMut, BytesMut};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use sqlparser::ast::Ident;

use super::messages::{Format, Replies};
use super::rows::Rows;
use crate::error::{Error, Result};

/// What binary data begins with, and no options and no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// How rows are written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CopyOut {
    kind: Kind,
    header: bool,
    delimiter: u8,
    /// What stands for NULL.
    null: String,
    quote: u8,
    escape: u8,
    /// Columns whose values are in quotes in any case: their names, `*` for all; then, of each column, whether it is one.
    force_quote: Vec<Ident>,
    is_forced: Vec<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Csv,
    Binary,
}

impl CopyOut {
    pub fn new(copy: &CopyTo) -> Result<Self> {
        let invalid = |message: String| Err(Error::invalid(message));
        if !copy.partition_by.is_empty() {
            return invalid("COPY TO STDOUT has no folders to partition by".into());
        }
        let option = |name: &str| {
            let mut all = copy.options.0.iter();
            all.find(|(known, _)| fold(known) == name)
                .map(|(_, value)| value)
        };
        let kind = match option("format").map(|value| value.text().to_ascii_lowercase()) {
            None => Kind::Text,
            Some(format) => match format.as_str() {
                "text" => Kind::Text,
                "csv" => Kind::Csv,
                "binary" => Kind::Binary,
                _ => {
                    return invalid(format!(
                        "COPY TO STDOUT has the formats text, csv and binary, not '{format}'"
                    ));
                }
            },
        };
        let csv = kind == Kind::Csv;
        let mut out = Self {
            kind,
            header: false,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { "" } else { "\\N" }.to_string(),
            quote: b'"',
            escape: b'"',
            force_quote: copy.force_quote.clone(),
            is_forced: Vec::new(),
        };
        if !csv && !out.force_quote.is_empty() {
            return invalid("FORCE_QUOTE of COPY is for the format csv".into());
        }
        let one = |name: &str, text: String| match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
            _ => Err(Error::invalid(format!(
                "{name} of COPY is one character, not '{text}'"
            ))),
        };
        let mut is_escape_given = false;
        for (name, value) in &copy.options.0 {
            let name = fold(name);
            match name.as_str() {
                "format" | "encoding" => {}
                "header" if kind != Kind::Binary => {
                    out.header = value
                        .as_bool()
                        .ok_or_else(|| Error::invalid("HEADER of COPY is true or false"))?;
                }
                "delimiter" if kind != Kind::Binary => {
                    out.delimiter = one("DELIMITER", value.text())?
                }
                "null" if kind != Kind::Binary => out.null = value.text(),
                "quote" if csv => out.quote = one("QUOTE", value.text())?,
                "escape" if csv => {
                    out.escape = one("ESCAPE", value.text())?;
                    is_escape_given = true;
                }
                _ => {
                    return invalid(format!(
                        "COPY TO STDOUT has no option {name} in this format"
                    ));
                }
            }
        }
        if csv && !is_escape_given {
            out.escape = out.quote;
        }
        Ok(out)
    }

    /// Of the values.
    pub fn format(&self) -> Format {
        match self.kind {
            Kind::Binary => Format::Binary,
            Kind::Text | Kind::Csv => Format::Text,
        }
    }

    /// # Errors
    /// If a column that is named is none of the rows.
    pub fn begin(&mut self, out: &mut Replies, schema: &SchemaRef) -> Result<()> {
        let columns = schema.fields().len();
        self.is_forced = self.forced(schema)?;
        out.copy_out(self.format(), columns);
        let _: std::result::Result<(), ()> = match self.kind {
            Kind::Binary => out.copy_data(|data| {
                data.put_slice(HEADER);
                Ok(())
            }),
            _ if self.header => out.copy_data(|data| {
                for (n, field) in schema.fields().iter().enumerate() {
                    self.between(n, data);
                    self.text(field.name().as_bytes(), columns, false, data);
                }
                data.put_u8(b'\n');
                Ok(())
            }),
            _ => Ok(()),
        };
        Ok(())
    }

    fn forced(&self, schema: &SchemaRef) -> Result<Vec<bool>> {
        let is_all = self.force_quote == [Ident::new("*")];
        let mut forced = vec![is_all; schema.fields().len()];
        for column in self.force_quote.iter().filter(|_| !is_all) {
            let name = fold(column);
            let at = schema
                .fields()
                .iter()
                .position(|field| *field.name() == name);
            let unknown = || Error::Plan(format!("No field named {name}"));
            forced[at.ok_or_else(unknown)?] = true;
        }
        Ok(forced)
    }

    pub fn row(
        &self,
        rows: &mut Rows<'_>,
        row: usize,
        out: &mut Replies,
    ) -> std::result::Result<(), ArrowError> {
        out.copy_data(|data| {
            let columns = rows.columns_mut();
            let count = columns.len();
            if self.kind == Kind::Binary {
                data.put_i16(count as i16);
                return columns
                    .iter_mut()
                    .try_for_each(|column| column.put(row, data));
            }
            let mut text = BytesMut::new();
            for (n, column) in columns.iter_mut().enumerate() {
                self.between(n, data);
                if column.is_null(row) {
                    data.put_slice(self.null.as_bytes());
                    continue;
                }
                text.clear();
                column.put_text(row, &mut text)?;
                let is_forced = self.is_forced.get(n).is_some_and(|forced| *forced);
                self.text(&text, count, is_forced, data);
            }
            data.put_u8(b'\n');
            Ok(())
        })
    }

    pub fn end(&self, out: &mut Replies) {
        if self.kind == Kind::Binary {
            let _: std::result::Result<(), ()> = out.copy_data(|data| {
                data.put_i16(-1);
                Ok(())
            });
        }
        out.copy_done();
    }

    fn between(&self, n: usize, data: &mut BytesMut) {
        if n > 0 {
            data.put_u8(self.delimiter);
        }
    }

    /// A value that is not NULL.
    fn text(&self, text: &[u8], columns: usize, is_forced: bool, data: &mut BytesMut) {
        if self.kind == Kind::Csv {
            // A line of `\.` alone would be the end of the data.
            let is_special = |byte: &u8| {
                matches!(byte, b'\n' | b'\r') || *byte == self.delimiter || *byte == self.quote
            };
            let needs_quotes = is_forced
                || text == self.null.as_bytes()
                || (columns == 1 && text == b"\\.")
                || text.iter().any(is_special);
            if !needs_quotes {
                data.put_slice(text);
                return;
            }
            data.put_u8(self.quote);
            for byte in text {
                if *byte == self.quote || *byte == self.escape {
                    data.put_u8(self.escape);
                }
                data.put_u8(*byte);
            }
            data.put_u8(self.quote);
            return;
        }
        for byte in text {
            let letter = match byte {
                b'\\' => b'\\',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x08 => b'b',
                0x0b => b'v',
                0x0c => b'f',
                byte if *byte == self.delimiter => *byte,
                byte => {
                    data.put_u8(*byte);
                    continue;
                }
            };
            data.put_u8(b'\\');
            data.put_u8(letter);
        }
    }
}

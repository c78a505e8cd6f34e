use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::partition;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use belvedere_connector::{Code, Error, Result};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode_byte, utf8_percent_encode};

use crate::layout::NULL_PARTITION;

/// What Hive escapes, and what some file system or store does not take in a name.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'\'')
    .add(b'*')
    .add(b'/')
    .add(b':')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'~');

/// The columns that become folders, and those that stay in the files.
#[derive(Debug, Clone)]
pub struct Folders {
    names: Vec<String>,
    /// By position in the rows.
    columns: Vec<usize>,
    rest: Vec<usize>,
    /// Of the files.
    schema: SchemaRef,
}

impl Folders {
    pub fn new(columns: &SchemaRef, partition_by: &[String]) -> Result<Self> {
        let mut positions = Vec::new();
        for name in partition_by {
            let invalid = |message: String| Error::new(Code::InvalidOption, message);
            let (at, field) = columns
                .column_with_name(name)
                .ok_or_else(|| invalid(format!("there is no column {name} to partition by")))?;
            if positions.contains(&at) {
                return Err(invalid(format!("column {name} is to partition by twice")));
            }
            if !is_named(field.data_type()) {
                let message = format!(
                    "column {name} of type {} cannot be the name of a folder",
                    field.data_type()
                );
                return Err(invalid(message).help(
                    "Partition by text, whole numbers, decimals, booleans, dates or times; others can be cast to text",
                ));
            }
            positions.push(at);
        }
        let rest: Vec<usize> = (0..columns.fields().len())
            .filter(|at| !positions.contains(at))
            .collect();
        if rest.is_empty() {
            return Err(
                Error::new(Code::InvalidOption, "no column is left for the files")
                    .help("Select one column more than PARTITION_BY names"),
            );
        }
        let fields: Vec<_> = rest
            .iter()
            .map(|at| columns.fields()[*at].clone())
            .collect();
        Ok(Self {
            names: partition_by.to_vec(),
            columns: positions,
            rest,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Of the files.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Runs of rows with their folder: `year=2024/`, or nothing.
    pub fn runs(&self, batch: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        let fields = self.rest.iter().map(|at| batch.column(*at).clone());
        let rows = RecordBatch::try_new(self.schema.clone(), fields.collect()).map_err(|e| {
            Error::internal("rows have not the columns they were planned with").caused_by(e)
        })?;
        if self.columns.is_empty() {
            return Ok(vec![(String::new(), rows)]);
        }
        let values: Vec<_> = self
            .columns
            .iter()
            .map(|at| batch.column(*at).clone())
            .collect();
        let unnamed = |e| Error::internal("values cannot be named as folders").caused_by(e);
        let options = FormatOptions::default();
        let texts = values
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()
            .map_err(unnamed)?;
        let ranges = partition(&values).map_err(unnamed)?.ranges();
        let mut runs = Vec::with_capacity(ranges.len());
        for range in ranges {
            let mut folder = String::new();
            for ((name, column), text) in self.names.iter().zip(&values).zip(&texts) {
                let value = match column.is_null(range.start) {
                    true => None,
                    false => Some(text.value(range.start).try_to_string().map_err(unnamed)?),
                };
                let _ = write!(
                    folder,
                    "{}={}/",
                    escaped(name),
                    folder_value(value.as_deref())
                );
            }
            runs.push((folder, rows.slice(range.start, range.len())));
        }
        Ok(runs)
    }
}

fn folder_value(value: Option<&str>) -> String {
    match value {
        None => NULL_PARTITION.to_string(),
        // Text that only looks like NULL.
        Some(NULL_PARTITION) => format!("{}{}", percent_encode_byte(b'_'), &NULL_PARTITION[1..]),
        Some(text) => utf8_percent_encode(text, ESCAPED).to_string(),
    }
}

/// A column's name; one that begins with a dot would hide the folder.
fn escaped(name: &str) -> String {
    match name.strip_prefix('.') {
        Some(rest) => format!(
            "{}{}",
            percent_encode_byte(b'.'),
            utf8_percent_encode(rest, ESCAPED)
        ),
        None => utf8_percent_encode(name, ESCAPED).to_string(),
    }
}

/// Whether values of this type have one text each. Floats do not: 0.0 and -0.0 are equal, and NaN is none.
fn is_named(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean => true,
        DataType::Dictionary(_, value) => is_named(value),
        DataType::Interval(_) | DataType::Duration(_) => false,
        other => other.is_integer() || other.is_decimal() || other.is_temporal(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    #[test]
    fn runs_have_the_folders_of_their_values() {
        let region: ArrayRef = Arc::new(StringArray::from(vec![
            Some(""),
            Some("a/b=c"),
            Some("a/b=c"),
            Some("Köln 1"),
            Some(NULL_PARTITION),
            None,
        ]));
        let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..6));
        let batch = RecordBatch::try_from_iter([(".region", region), ("id", id)]).unwrap();
        let folders = Folders::new(&batch.schema(), &[".region".to_string()]).unwrap();
        let runs = folders.runs(&batch).unwrap();
        let runs: Vec<_> = runs
            .iter()
            .map(|(folder, rows)| (folder.as_str(), rows.num_rows(), rows.num_columns()))
            .collect();
        assert_eq!(
            runs,
            [
                ("%2Eregion=/", 1, 1),
                ("%2Eregion=a%2Fb%3Dc/", 2, 1),
                ("%2Eregion=K%C3%B6ln 1/", 1, 1),
                ("%2Eregion=%5F_HIVE_DEFAULT_PARTITION__/", 1, 1),
                ("%2Eregion=__HIVE_DEFAULT_PARTITION__/", 1, 1),
            ]
        );
    }
}

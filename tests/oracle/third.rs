//! A third opinion, DuckDB's, on a copy of the tables: without pushdown, what DataFusion computes wrongly is just as wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema, SchemaRef, TimeUnit};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Value, json};

/// A process that holds the copy and is asked, see `duckdb.py`.
pub struct Third(Mutex<Conversation>);

struct Conversation {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A whole answer.
pub struct Rows {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
}

/// What it says of an answer.
#[derive(Debug)]
pub enum Opinion {
    Agrees,
    /// It cannot be asked, or has no answer: a reason of the generator's, or an error of DuckDB's.
    None(String),
    Differs(String),
}

impl Third {
    /// None where Python has no DuckDB: `scripts/test` sees to it.
    pub fn start() -> Option<Self> {
        let Some(python) = std::env::var_os("BELVEDERE_TEST_DUCKDB") else {
            println!(
                "not shown: DuckDB's opinion; BELVEDERE_TEST_DUCKDB names no Python that has it"
            );
            return None;
        };
        let mut process = Command::new(python)
            .arg("-c")
            .arg(include_str!("duckdb.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("BELVEDERE_TEST_DUCKDB is a Python");
        Some(Self(Mutex::new(Conversation {
            requests: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()),
            process,
        })))
    }

    /// These rows instead of the table's.
    pub fn hold(&self, table: &str, rows: &Rows) {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &rows.schema).unwrap();
        for batch in &rows.batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        self.ask(json!({ "table": table, "bytes": bytes.len() }), &bytes)
            .unwrap_or_else(|e| panic!("DuckDB does not hold {table} {}: {e}", rows.schema));
    }

    /// Of what the engine answered to a query, which is this one in DuckDB's dialect.
    pub fn opinion(&self, query: &str, answered: &Rows, ordered: bool) -> Opinion {
        let theirs = match self.ask(json!({ "query": query }), &[]) {
            Err(error) => return Opinion::None(error),
            Ok(answer) => {
                let reader = StreamReader::try_new(answer.as_slice(), None).unwrap();
                Rows {
                    schema: reader.schema(),
                    batches: reader.map(Result::unwrap).collect(),
                }
            }
        };
        if divides_wide_numbers(&answered.schema, &theirs.schema) {
            return Opinion::None(
                "Here an unsigned number of 64 bits is divided as a decimal".into(),
            );
        }
        let (mut ours, mut theirs) = match comparable(answered, &theirs) {
            Ok(both) => both,
            Err(why) => return Opinion::Differs(why),
        };
        if !ordered {
            ours.sort();
            theirs.sort();
        }
        match ours == theirs {
            true => Opinion::Agrees,
            false => Opinion::Differs(format!(
                "All ways here: {ours:#?}\nDuckDB: {theirs:#?}\nasked {query}"
            )),
        }
    }

    fn ask(&self, request: Value, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut conversation = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut request = request.to_string().into_bytes();
        request.push(b'\n');
        request.extend(bytes);
        conversation.requests.write_all(&request).unwrap();
        conversation.requests.flush().unwrap();
        let mut line = String::new();
        conversation.answers.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).expect("DuckDB's process has ended");
        let mut answer = vec![0; said["bytes"].as_u64().unwrap() as usize];
        conversation.answers.read_exact(&mut answer).unwrap();
        match said["error"].as_str() {
            Some(error) => Err(error.into()),
            None => Ok(answer),
        }
    }
}

impl Drop for Third {
    fn drop(&mut self) {
        let conversation = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = conversation.process.kill();
        let _ = conversation.process.wait();
    }
}

/// There is no other way to digits behind the point where DuckDB has a whole number.
fn divides_wide_numbers(ours: &Schema, theirs: &Schema) -> bool {
    let pairs = ours.fields().iter().zip(theirs.fields());
    pairs.into_iter().any(|(ours, theirs)| {
        matches!(ours.data_type(), DataType::Decimal128(_, scale) if *scale > 0)
            && matches!(theirs.data_type(), t if t.is_integer() || matches!(t, DataType::Decimal128(_, 0)))
    })
}

/// Rows as texts, the same for the same values, whatever the types are that hold them.
fn comparable(ours: &Rows, theirs: &Rows) -> Result<(Vec<String>, Vec<String>), String> {
    let [ours, theirs] = [ours, theirs]
        .map(|rows| concat_batches(&rows.schema, &rows.batches).expect("batches of one schema"));
    if ours.num_columns() != theirs.num_columns() {
        return Err(format!("{} columns", theirs.num_columns()));
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for (a, b) in ours.columns().iter().zip(theirs.columns()) {
        let both = common(a.data_type(), b.data_type());
        left.push(texts(a, &both)?);
        right.push(texts(b, &both)?);
    }
    let rows = |columns: Vec<Vec<String>>, count| {
        let row = |i: usize| columns.iter().map(|c| c[i].as_str()).collect::<Vec<_>>();
        (0..count).map(|i| row(i).join("|")).collect()
    };
    Ok((rows(left, ours.num_rows()), rows(right, theirs.num_rows())))
}

/// A type that tells values apart as ours does.
fn common(ours: &DataType, theirs: &DataType) -> DataType {
    match (ours, theirs) {
        (DataType::Float32, _) => DataType::Float32,
        (ours, theirs) if ours.is_floating() || theirs.is_floating() => DataType::Float64,
        (DataType::Timestamp(..), _) | (_, DataType::Timestamp(..)) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        (DataType::Time64(_), _) => DataType::Time64(TimeUnit::Microsecond),
        _ => DataType::Utf8,
    }
}

fn texts(values: &ArrayRef, common: &DataType) -> Result<Vec<String>, String> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let cast = |values: &ArrayRef, to: &DataType| match values.data_type().is_binary() {
        // Bytes need not be text.
        true => Ok(values.clone()),
        false => cast_with_options(values, to, &options).map_err(|e| e.to_string()),
    };
    let number = values.data_type().is_numeric();
    let values = cast(values, common)?;
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(&values, &options).map_err(|e| e.to_string())?;
    let text = |i| {
        let text = match common {
            // There is one zero, and one NaN.
            DataType::Float32 => (values.as_primitive::<Float32Type>().value(i) + 0.0).to_string(),
            DataType::Float64 => (values.as_primitive::<Float64Type>().value(i) + 0.0).to_string(),
            _ => return formatter.value(i).to_string(),
        };
        text.replace("-NaN", "NaN")
    };
    let trimmed = |text: String| match number && text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    };
    Ok((0..values.len())
        .map(|i| match values.is_null(i) {
            true => "NULL".into(),
            false => trimmed(text(i)),
        })
        .collect())
}

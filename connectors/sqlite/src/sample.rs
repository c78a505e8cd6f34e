//! What some rows tell of all: SQLite keeps no statistics of columns that are not indexed, and of those it knows no values.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use belvedere_connector::{Histogram, Table};
use belvedere_sqlgen::sql;
use rusqlite::{Connection, Rows, params};

use crate::discovery::quoted_table;
use crate::reading::{Cell, Reading};

/// Rows that are looked at, spread over the row ids.
const ROWS: i64 = 1_000;
const COLUMNS: usize = 100;

const MICROS_PER_DAY: f64 = 86_400e6;

/// What was seen of a column.
struct Seen {
    reading: Reading,
    /// On a histogram's line.
    numbers: Vec<f64>,
    /// How often, by the hash of the value.
    values: HashMap<u64, usize>,
}

/// Estimate distinct values and histograms of columns. A look that fails or takes too long tells nothing.
pub fn estimate(connection: &Connection, table: &mut Table) {
    let Some(rows) = table.row_count.filter(|rows| *rows > 0) else {
        return;
    };
    let columns = table.columns.iter().take(COLUMNS);
    let mut seen: Vec<(usize, Seen)> = columns
        .enumerate()
        .filter_map(|(at, column)| Some((at, Seen::new(Reading::of(&column.data_type)?))))
        .collect();
    let names = seen
        .iter()
        .map(|(at, _)| sql::quoted(&table.columns[*at].name, '"').to_string());
    let names: Vec<_> = names.collect();
    if names.is_empty()
        || look(connection, &table.name, &names.join(", "), rows, &mut seen).is_err()
    {
        return;
    }
    for (at, seen) in seen {
        let column = &mut table.columns[at];
        column.distinct = column.distinct.or_else(|| seen.distinct(rows));
        let histogram = Histogram::of(seen.numbers.iter().map(|number| (*number, 1.0)));
        column.histogram = histogram.map(Arc::new);
    }
}

fn look(
    connection: &Connection,
    table: &str,
    columns: &str,
    rows: u64,
    seen: &mut [(usize, Seen)],
) -> rusqlite::Result<()> {
    let from = format!("SELECT {columns} FROM {}", quoted_table(table));
    if rows <= ROWS.unsigned_abs() {
        return note(connection.prepare(&from)?.query([])?, seen);
    }
    let ends = format!("SELECT min(rowid), max(rowid) FROM {}", quoted_table(table));
    let (least, most): (i64, i64) =
        connection.query_row(&ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut statement =
        connection.prepare(&format!("{from} WHERE rowid >= ?1 ORDER BY rowid LIMIT 1"))?;
    note(statement.query(params![least])?, seen)?;
    let span = (i128::from(most) - i128::from(least)) as f64;
    for step in 0..ROWS {
        // Somewhere in each part, so that no period of the rows is met; always the same, so that a plan is.
        let mut hasher = DefaultHasher::new();
        step.hash(&mut hasher);
        let within = hasher.finish() as f64 / u64::MAX as f64;
        let after = span * (step as f64 + within) / ROWS as f64;
        note(
            statement.query(params![(least as f64 + after) as i64])?,
            seen,
        )?;
    }
    note(statement.query(params![most])?, seen)
}

fn note(mut rows: Rows<'_>, seen: &mut [(usize, Seen)]) -> rusqlite::Result<()> {
    while let Some(row) = rows.next()? {
        for (place, (_, seen)) in seen.iter_mut().enumerate() {
            if let Some(cell) = seen.reading.read(row.get_ref(place)?) {
                seen.note(&cell);
            }
        }
    }
    Ok(())
}

impl Seen {
    fn new(reading: Reading) -> Self {
        Self {
            reading,
            numbers: Vec::new(),
            values: HashMap::new(),
        }
    }

    fn note(&mut self, cell: &Cell<'_>) {
        let mut hasher = DefaultHasher::new();
        match cell {
            Cell::Null => return,
            Cell::Integer(value) => value.hash(&mut hasher),
            Cell::Real(value) => value.to_bits().hash(&mut hasher),
            Cell::Text(text) => text.hash(&mut hasher),
            Cell::Blob(bytes) => bytes.hash(&mut hasher),
            Cell::Decimal(unscaled) => unscaled.hash(&mut hasher),
        }
        *self.values.entry(hasher.finish()).or_default() += 1;
        self.numbers.extend(self.number(cell));
    }

    fn number(&self, cell: &Cell<'_>) -> Option<f64> {
        match (self.reading, cell) {
            (Reading::Boolean | Reading::Time, _) => None,
            (Reading::Timestamp, Cell::Integer(micros)) => Some(*micros as f64 / MICROS_PER_DAY),
            (Reading::Decimal { scale, .. }, Cell::Decimal(unscaled)) => {
                Some(*unscaled as f64 / 10f64.powi(scale.into()))
            }
            (_, Cell::Integer(value)) => Some(*value as f64),
            (_, Cell::Real(value)) => Some(*value),
            _ => None,
        }
    }

    /// The estimator of Haas and Stokes that PostgreSQL uses, too: n d / (n - f + f n / N), of n values seen among N, d of
    /// them different and f of these seen once.
    fn distinct(&self, rows: u64) -> Option<u64> {
        let seen: usize = self.values.values().sum();
        let once = self.values.values().filter(|times| **times == 1).count();
        let (n, d, f) = (seen as f64, self.values.len() as f64, once as f64);
        let estimate = n * d / (n - f + f * n / (rows as f64).max(n));
        (seen > 0).then(|| estimate.round() as u64)
    }
}

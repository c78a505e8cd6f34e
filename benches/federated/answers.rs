use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::util::display::array_value_to_string;

/// What two engines' decimals and floats may differ by: quotients have four digits or more behind the point.
const ABSOLUTE: f64 = 1e-4;
const RELATIVE: f64 = 1e-9;

/// An answer's rows, in an order of their own: `ORDER BY` leaves that of some open.
pub struct Rows(Vec<Vec<Cell>>);

#[derive(Debug, PartialEq, PartialOrd)]
enum Cell {
    Null,
    Text(String),
    Number(f64),
}

impl Cell {
    fn new(text: Option<String>) -> Self {
        let Some(text) = text else { return Self::Null };
        match text.parse() {
            Ok(number) => Self::Number(number),
            // Some keep the padding of CHAR.
            Err(_) => Self::Text(text.trim_end().to_string()),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => {
                (a - b).abs() <= ABSOLUTE + RELATIVE * a.abs().max(b.abs())
            }
            _ => self == other,
        }
    }
}

impl Rows {
    pub fn new(rows: Vec<Vec<Option<String>>>) -> Self {
        let cells = |row: Vec<Option<String>>| row.into_iter().map(Cell::new).collect();
        let mut rows: Vec<Vec<Cell>> = rows.into_iter().map(cells).collect();
        // By text first: numbers differ a little from engine to engine.
        let key = |row: &Vec<Cell>| -> (Vec<String>, Vec<f64>) {
            let (mut texts, mut numbers) = (Vec::new(), Vec::new());
            for cell in row {
                match cell {
                    Cell::Null => texts.push(String::new()),
                    Cell::Text(text) => texts.push(text.clone()),
                    Cell::Number(number) => numbers.push(*number),
                }
            }
            (texts, numbers)
        };
        rows.sort_by(|a, b| {
            let order = key(a).partial_cmp(&key(b));
            order.unwrap_or(std::cmp::Ordering::Equal)
        });
        Self(rows)
    }

    pub fn of(batches: &[RecordBatch]) -> Self {
        let mut rows = Vec::new();
        for batch in batches {
            rows.extend((0..batch.num_rows()).map(|row| {
                let value = |column: &dyn Array| {
                    let text = || array_value_to_string(column, row).expect("printable");
                    (!column.is_null(row)).then(text)
                };
                let columns = batch.columns().iter();
                columns.map(|column| value(column.as_ref())).collect()
            }));
        }
        Self::new(rows)
    }

    /// Else the first difference.
    pub fn same_as(&self, expected: &Self) -> Result<(), String> {
        if self.0.len() != expected.0.len() {
            return Err(format!(
                "another answer: {} rows instead of {}",
                self.0.len(),
                expected.0.len()
            ));
        }
        for (found, wanted) in self.0.iter().zip(&expected.0) {
            let like = |(a, b): (&Cell, &Cell)| a.is_like(b);
            if found.len() != wanted.len() || !found.iter().zip(wanted).all(like) {
                return Err(format!("another answer: {found:?} instead of {wanted:?}"));
            }
        }
        Ok(())
    }
}

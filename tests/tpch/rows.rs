use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;

/// An answer's rows as text, in the order they came.
pub struct Rows {
    rows: Vec<Vec<String>>,
    /// Which columns are floats: they may differ in the last digits.
    floats: Vec<bool>,
}

/// What floats may differ by, relative to the greater.
const FLOAT: f64 = 1e-12;

impl Rows {
    pub fn new(batches: &[RecordBatch]) -> Self {
        let mut rows = Vec::new();
        let mut floats = Vec::new();
        for batch in batches {
            let types = batch.columns().iter().map(|column| column.data_type());
            floats = types.map(DataType::is_floating).collect();
            rows.extend((0..batch.num_rows()).map(|row| {
                let values = batch.columns().iter();
                values
                    .map(|column| array_value_to_string(column, row).unwrap())
                    .collect()
            }));
        }
        Self { rows, floats }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Else the first difference.
    pub fn same_as(mut self, expected: &Self, ordered: bool) -> Result<(), String> {
        let mut wanted = expected.rows.clone();
        if self.rows.len() != wanted.len() {
            return Err(format!(
                "{} rows instead of {}",
                self.rows.len(),
                wanted.len()
            ));
        }
        if self.floats != expected.floats {
            return Err("other columns are floats".to_string());
        }
        if !ordered {
            self.rows.sort();
            wanted.sort();
        }
        for (row, (found, wanted)) in self.rows.iter().zip(&wanted).enumerate() {
            let mut cells = found.iter().zip(wanted).zip(&self.floats);
            let same = found.len() == wanted.len()
                && cells.all(|((found, wanted), float)| {
                    found == wanted || *float && near(found, wanted)
                });
            if !same {
                return Err(format!("row {row} is {found:?} instead of {wanted:?}"));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.rows.iter()).try_for_each(|row| writeln!(f, "{}", row.join(" | ")))
    }
}

fn near(a: &str, b: &str) -> bool {
    let (Ok(a), Ok(b)) = (a.parse::<f64>(), b.parse::<f64>()) else {
        return false;
    };
    (a - b).abs() <= FLOAT * a.abs().max(b.abs())
}

//! Changes gathered: of one table as long as there are no others between, and of a transaction up to a bound.

use std::sync::Arc;

use belvedere_connector::{Change, Error, Result};
use mysql_async::Value;

use super::bytes::Bytes;
use super::shape::Shape;
use crate::decode::RowDecoder;

/// A piece is told with so many rows, or bytes of values.
const MOST_ROWS: usize = 8192;
const MOST_BYTES: usize = 8 << 20;

/// A piece of a transaction. Tables are known by number.
#[derive(Default)]
pub struct Piece {
    changes: Vec<(usize, Change)>,
    run: Option<Run>,
    rows: usize,
    bytes: usize,
}

/// Changes of one table.
struct Run {
    table: usize,
    shape: Arc<Shape>,
    rows: RowDecoder,
    weights: Vec<i64>,
    /// Of the row that is read.
    values: Vec<Value>,
}

impl Piece {
    pub fn is_full(&self) -> bool {
        let run = self.run.as_ref();
        let (rows, bytes) = run.map_or((0, 0), |run| (run.rows.rows(), run.rows.bytes()));
        self.rows + rows >= MOST_ROWS || self.bytes + bytes >= MOST_BYTES
    }

    /// The next of the rows that are there, which comes or goes by its weight.
    ///
    /// # Errors
    /// A definite one if a value does not fit: the run is of no use then, see [`Piece::end`].
    pub fn row(
        &mut self,
        table: usize,
        shape: &Arc<Shape>,
        rows: &mut Bytes<'_>,
        weight: i64,
    ) -> Result<()> {
        let is_of = |run: &Run| run.table == table && Arc::ptr_eq(&run.shape, shape);
        if !self.run.as_ref().is_some_and(is_of) {
            self.finish_run()?;
        }
        let run = match &mut self.run {
            Some(run) => run,
            none => none.insert(Run {
                table,
                rows: shape.decoder()?,
                shape: shape.clone(),
                weights: Vec::new(),
                values: Vec::new(),
            }),
        };
        shape.row(rows, &mut run.values)?;
        run.rows.append_values(|i| &run.values[i])?;
        run.weights.push(weight);
        Ok(())
    }

    /// # Errors
    /// An internal one.
    pub fn truncate(&mut self, table: usize) -> Result<()> {
        self.finish_run()?;
        self.changes.push((table, Change::Truncate));
        Ok(())
    }

    /// Its rows are to be copied anew.
    ///
    /// # Errors
    /// An internal one.
    pub fn anew(&mut self, table: usize) -> Result<()> {
        self.finish_run()?;
        self.changes.push((table, Change::Anew));
        Ok(())
    }

    /// A table's changes end here: what it had in this transaction counts for nothing.
    ///
    /// # Errors
    /// An internal one.
    pub fn end(&mut self, table: usize, why: Error) -> Result<()> {
        if self.run.as_ref().is_some_and(|run| run.table == table) {
            self.run = None;
        }
        self.finish_run()?;
        self.changes.push((table, Change::Ends(why)));
        Ok(())
    }

    fn finish_run(&mut self) -> Result<()> {
        let Some(mut run) = self.run.take() else {
            return Ok(());
        };
        self.rows += run.rows.rows();
        self.bytes += run.rows.bytes();
        let rows = run.rows.finish()?;
        let weights = run.weights;
        self.changes
            .push((run.table, Change::Rows { rows, weights }));
        Ok(())
    }

    /// What has been gathered; it is empty then.
    ///
    /// # Errors
    /// An internal one.
    pub fn take(&mut self) -> Result<Vec<(usize, Change)>> {
        self.finish_run()?;
        Ok(std::mem::take(self).changes)
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.run.is_none()
    }
}

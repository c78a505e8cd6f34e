//! A subquery in the place of a value.

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;

use super::dataflow::{Epoch, Operator, Sink};
use super::relation::Relation;
use crate::store::{Pinned, ZSet, batch};

const TOO_MANY: &str = "a subquery in the place of a value gives more than one row";

/// The one row of an input: of NULL where there is none. Of several there is none either, and an error.
#[derive(Debug)]
pub(super) struct Single {
    pub(super) input: Relation,
    pub(super) schema: SchemaRef,
}

impl Single {
    /// None: too many rows.
    fn row(&self, at: &Pinned) -> Result<Option<RecordBatch>> {
        Ok(match at.row_count() {
            0 => {
                let fields = self.schema.fields().iter();
                let nulls = fields.map(|field| new_null_array(field.data_type(), 1));
                Some(batch(&self.schema, nulls.collect(), 1)?)
            }
            1 => {
                let positions: Vec<u32> = at.positions().collect();
                let (rows, _) = self.input.reading.rows(at, &positions)?;
                Some(batch(&self.schema, rows.columns().to_vec(), 1)?)
            }
            _ => None,
        })
    }
}

impl Operator for Single {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        let moves = self.input.step(epoch)?;
        if moves.change.is_empty() && !epoch.is_first {
            return Ok(());
        }
        let mut pieces = Vec::new();
        let mut put = |at: &Pinned, weight: i64| {
            match self.row(at)? {
                Some(row) => pieces.push(ZSet::new(row, vec![weight])?),
                None => epoch.failed(TOO_MANY.into(), weight),
            }
            Ok::<_, datafusion::common::DataFusionError>(())
        };
        if !epoch.is_first {
            put(&moves.before, -1)?;
        }
        put(&moves.after, 1)?;
        out(ZSet::concat(&self.schema, &pieces)?.consolidated()?)
    }

    fn bytes(&self) -> usize {
        self.input.bytes()
    }
}

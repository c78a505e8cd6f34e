use arrow::datatypes::FieldRef;
use arrow::record_batch::RecordBatch;
use belvedere_connector::{Rel, TableRef};

/// What a fragment asks: columns of a table, skipping some rows, at most so many.
pub struct Asked<'a> {
    pub table: &'a TableRef,
    /// As the table has them, in the order asked for.
    pub columns: Vec<FieldRef>,
    pub skip: u64,
    pub fetch: Option<u64>,
}

impl<'a> Asked<'a> {
    pub fn of(rel: &'a Rel) -> Option<Self> {
        match rel {
            Rel::Scan { table, schema } => Some(Self {
                table,
                columns: schema.fields().iter().cloned().collect(),
                skip: 0,
                fetch: None,
            }),
            Rel::Project { input, columns } => {
                let Rel::Scan { table, schema } = &**input else {
                    return None;
                };
                let columns = columns
                    .iter()
                    .map(|(expr, _)| schema.fields().get(expr.as_column()?).cloned())
                    .collect::<Option<_>>()?;
                Some(Self {
                    table,
                    columns,
                    skip: 0,
                    fetch: None,
                })
            }
            Rel::Limit { input, skip, fetch } if !matches!(**input, Rel::Limit { .. }) => {
                let asked = Self::of(input)?;
                Some(Self {
                    skip: *skip,
                    fetch: *fetch,
                    ..asked
                })
            }
            _ => None,
        }
    }

    /// Any `fetch` rows after any `skip` rows.
    pub fn cut(&self, batches: Vec<RecordBatch>) -> Vec<RecordBatch> {
        let mut skip = self.skip as usize;
        let mut left = self.fetch.map_or(usize::MAX, |n| n as usize);
        let mut kept = Vec::new();
        for batch in batches {
            let start = skip.min(batch.num_rows());
            let length = (batch.num_rows() - start).min(left);
            skip -= start;
            left -= length;
            if length > 0 {
                kept.push(batch.slice(start, length));
            }
        }
        kept
    }
}

/// The same rows in batches of at most that many.
pub fn sized(batches: Vec<RecordBatch>, rows: usize) -> Vec<RecordBatch> {
    let rows = rows.max(1);
    let pieces = batches.into_iter().flat_map(|batch| {
        let total = batch.num_rows();
        (0..total)
            .step_by(rows)
            .map(move |at| batch.slice(at, rows.min(total - at)))
            .collect::<Vec<_>>()
    });
    pieces.collect()
}

//! The statements of a write, one after the other.

use arrow::datatypes::{Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use belvedere_connector::{
    BatchStream, Code, Each, Edit, Error, Expr, Literal, Result, TableRef, Write, constant,
};
use futures::StreamExt;

use crate::dialect::Dialect;
use crate::write::{Refused, Statement, delete, insert, update};

/// Rows that one INSERT has at most.
const MOST_ROWS: usize = 500;

/// What a write sends, in one transaction.
pub struct Statements<'d> {
    table: TableRef,
    schema: SchemaRef,
    dialect: &'d dyn Dialect,
    left: Left,
}

/// What has not been sent.
enum Left {
    /// One statement; None: it was.
    One(Option<Edit>),
    Insert {
        columns: Vec<usize>,
        rows: Rows,
    },
    Each {
        each: Each,
        rows: Rows,
    },
}

/// Rows as they come.
struct Rows {
    stream: BatchStream,
    batch: Option<RecordBatch>,
}

/// A statement, and how many rows it has to change.
pub struct Next {
    pub statement: Statement,
    pub expected: Expected,
}

/// How many rows a statement has to change; None: as many as there are.
#[derive(Debug, Clone, Copy)]
pub struct Expected(Option<u64>);

impl Expected {
    /// The rows that it has changed.
    ///
    /// # Errors
    /// If they are not those that it was made for: nothing of the write may stay.
    pub fn met_by(self, rows: u64) -> Result<u64> {
        match self.0 {
            Some(expected) if expected != rows => Err(Error::row_changed()),
            _ => Ok(rows),
        }
    }
}

impl<'d> Statements<'d> {
    pub fn new(write: Write, dialect: &'d dyn Dialect) -> Self {
        let left = match write.edit {
            Edit::Insert { columns, rows } => Left::Insert {
                columns,
                rows: Rows::new(rows),
            },
            Edit::Each(each) => {
                let none = futures::stream::empty().boxed();
                let Each {
                    assigned,
                    known,
                    rows,
                } = each;
                Left::Each {
                    each: Each {
                        assigned,
                        known,
                        rows: none,
                    },
                    rows: Rows::new(rows),
                }
            }
            edit => Left::One(Some(edit)),
        };
        Self {
            table: write.table,
            schema: write.schema,
            dialect,
            left,
        }
    }

    /// The next one; None: that was all.
    ///
    /// # Errors
    /// If rows do not come, or a column does not take what it is to have.
    pub async fn next(&mut self) -> Result<Option<Next>> {
        let (table, schema, dialect) = (&self.table, &self.schema, self.dialect);
        let refused = |e: Refused| {
            let error = Error::new(Code::ValueOutOfRange, e.why).at_table(&table.name);
            match e.column {
                Some(column) => error.at_column(column),
                None => error,
            }
        };
        Ok(match &mut self.left {
            Left::One(edit) => {
                let statement = match edit.take() {
                    Some(Edit::Update {
                        assignments,
                        predicates,
                    }) => update(table, schema, &assignments, &predicates, dialect),
                    Some(Edit::Delete { predicates }) => {
                        delete(table, schema, &predicates, dialect)
                    }
                    _ => return Ok(None),
                };
                Some(Next {
                    statement: statement.map_err(refused)?,
                    expected: Expected(None),
                })
            }
            Left::Insert { columns, rows } => {
                let parameters = dialect.limits().parameters.min(usize::from(u16::MAX >> 1));
                let most = MOST_ROWS.min(parameters / columns.len().max(1)).max(1);
                let Some(batch) = rows.next(most).await? else {
                    return Ok(None);
                };
                let fields: Vec<&Field> = columns.iter().map(|i| schema.field(*i)).collect();
                let row = |row| constants(&batch, &fields, row);
                let values = (0..batch.num_rows()).map(row);
                let values = values.collect::<Result<Vec<_>>>();
                let values = values.map_err(|e| e.at_table(&table.name))?;
                let statement = insert(table, &fields, &values, dialect).map_err(refused)?;
                Some(Next {
                    statement,
                    expected: Expected(Some(batch.num_rows() as u64)),
                })
            }
            Left::Each { each, rows } => {
                let Some(batch) = rows.next(1).await? else {
                    return Ok(None);
                };
                let predicates = each.predicates(schema, &batch, 0)?;
                let fields: Vec<&Field> = each.assigned.iter().map(|i| schema.field(*i)).collect();
                let statement = match fields.is_empty() {
                    true => delete(table, schema, &predicates, dialect),
                    false => {
                        let values = constants(&batch, &fields, 0)?.into_iter();
                        let values = values
                            .zip(&fields)
                            .map(|(value, field)| Expr::literal(value, field.data_type().clone()));
                        let sets = each.assigned.iter().copied().zip(values);
                        update(
                            table,
                            schema,
                            &sets.collect::<Vec<_>>(),
                            &predicates,
                            dialect,
                        )
                    }
                };
                Some(Next {
                    statement: statement.map_err(refused)?,
                    expected: Expected(Some(1)),
                })
            }
        })
    }
}

/// The first values of a row, as constants for these columns.
fn constants(batch: &RecordBatch, fields: &[&Field], row: usize) -> Result<Vec<Literal>> {
    let values = batch.columns().iter().zip(fields);
    let values =
        values.map(|(values, field)| constant(values, row).map_err(|e| e.at_column(field.name())));
    values.collect()
}

impl Rows {
    fn new(stream: BatchStream) -> Self {
        Self {
            stream,
            batch: None,
        }
    }

    /// The next ones, at most so many.
    async fn next(&mut self, most: usize) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.batch.take().filter(|batch| batch.num_rows() > 0) {
                let taken = batch.slice(0, most.min(batch.num_rows()));
                let left = batch.num_rows() - taken.num_rows();
                self.batch = Some(batch.slice(taken.num_rows(), left));
                return Ok(Some(taken));
            }
            match self.stream.next().await.transpose()? {
                Some(batch) => self.batch = Some(batch),
                None => return Ok(None),
            }
        }
    }
}

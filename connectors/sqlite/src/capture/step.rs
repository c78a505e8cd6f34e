//! What the log has of one table after a place, as changes: each in pieces of bounded size.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use belvedere_connector::{Change, Error, Rel, Result};
use belvedere_sqlgen::Facts;
use rusqlite::{Connection, Row, params};

use super::followed::{Followed, lost};
use crate::batch::{Batch, Refused};
use crate::failure;

/// Rows of a piece, and bytes of text and blobs.
pub const PIECE_ROWS: usize = 1000;
const PIECE_BYTES: usize = 1 << 20;

/// What became of it.
pub enum Told {
    All,
    /// A value of it does not fit its column's type.
    Ends(Error),
    /// Nobody listens any more.
    Unheard,
}

/// Tell what entries after `from` up to `to` mean, by the state that a connection sees. `tell` says whether to go on.
pub fn tell(
    connection: &Connection,
    followed: &Followed,
    (from, to): (i64, i64),
    tell: &mut dyn FnMut(Change) -> bool,
) -> Result<Told> {
    let table = &followed.captured.table;
    let mut statement = connection
        .prepare_cached(&followed.sql)
        .map_err(failure::of)?;
    let rows = statement.query(params![from, to, table.name]);
    let mut rows = rows.map_err(failure::of)?;
    let mut piece = Piece::new(followed)?;
    while let Some(row) = rows.next().map_err(failure::of)? {
        match piece.push(row) {
            Ok(()) => {}
            Err(Refused::Failed(e)) => return Err(e),
            Err(Refused::Misfit) => {
                let (table, schema) = (table.clone(), followed.captured.schema.clone());
                let rel = Rel::Scan { table, schema };
                return Ok(Told::Ends(failure::locate_misfit(connection, &rel)));
            }
        }
        if piece.is_full() && !piece.take()?.into_iter().all(&mut *tell) {
            return Ok(Told::Unheard);
        }
    }
    match piece.take()?.into_iter().all(tell) {
        true => Ok(Told::All),
        false => Ok(Told::Unheard),
    }
}

enum Piece<'a> {
    ByKey {
        columns: usize,
        keys: Batch,
        rows: Batch,
        is_there: Vec<bool>,
    },
    Rows {
        followed: &'a Followed,
        columns: usize,
        went: Batch,
        came: Batch,
    },
}

impl<'a> Piece<'a> {
    fn new(followed: &'a Followed) -> Result<Self> {
        let schema = &followed.captured.schema;
        Ok(match &followed.key {
            Some(key) => {
                let number = |column: &String| {
                    let number = schema.index_of(column);
                    number.map_err(|_| Error::internal("a table is followed without its key"))
                };
                let numbers: Vec<usize> = key.iter().map(number).collect::<Result<_>>()?;
                let of_keys: Vec<_> = numbers
                    .iter()
                    .map(|n| schema.fields()[*n].clone())
                    .collect();
                Self::ByKey {
                    columns: key.len(),
                    keys: batch(&Arc::new(Schema::new(of_keys)))?,
                    rows: batch(schema)?,
                    is_there: Vec::new(),
                }
            }
            None => Self::Rows {
                followed,
                columns: schema.fields().len(),
                went: batch(schema)?,
                came: batch(schema)?,
            },
        })
    }

    fn push(&mut self, row: &Row<'_>) -> Result<(), Refused> {
        let number = |i: usize| {
            row.get::<_, i64>(i)
                .map_err(|e| Refused::Failed(failure::of(e)))
        };
        match self {
            Self::ByKey {
                columns,
                keys,
                rows,
                is_there,
            } => {
                keys.push_from(row, 0)?;
                let there = number(*columns)? != 0;
                is_there.push(there);
                match there {
                    true => rows.push_from(row, *columns + 1),
                    false => Ok(()),
                }
            }
            Self::Rows {
                followed,
                columns,
                went,
                came,
            } => {
                let (was, is, has_values) = (number(0)?, number(1)?, number(2)?);
                match (was, has_values) {
                    (0, _) => {}
                    (1, 1) => went.push_from(row, 3)?,
                    _ => {
                        let what = "what the log has of a row does not add up";
                        return Err(Refused::Failed(lost(what, &followed.captured)));
                    }
                }
                match is {
                    0 => Ok(()),
                    _ => came.push_from(row, 3 + *columns),
                }
            }
        }
    }

    fn is_full(&self) -> bool {
        let (first, second) = match self {
            Self::ByKey { keys, rows, .. } => (keys, rows),
            Self::Rows { went, came, .. } => (went, came),
        };
        first.rows().max(second.rows()) >= PIECE_ROWS
            || first.bytes() + second.bytes() >= PIECE_BYTES
    }

    fn take(&mut self) -> Result<Vec<Change>> {
        let changes = match self {
            Self::ByKey { is_there, .. } if is_there.is_empty() => Vec::new(),
            Self::ByKey {
                keys,
                rows,
                is_there,
                ..
            } => vec![Change::ByKey {
                keys: keys.take()?,
                rows: rows.take()?,
                is_there: std::mem::take(is_there),
                unchanged: Vec::new(),
            }],
            Self::Rows { went, came, .. } => {
                let weighed = |batch: &mut Batch, weight| {
                    let rows = batch.take()?;
                    let weights = vec![weight; rows.num_rows()];
                    Ok(Change::Rows { rows, weights })
                };
                let mut changes = Vec::new();
                for (batch, weight) in [(went, -1), (came, 1)] {
                    if batch.rows() > 0 {
                        changes.push(weighed(batch, weight)?);
                    }
                }
                changes
            }
        };
        Ok(changes)
    }
}

/// Of stored values, as a scan reads them.
fn batch(schema: &SchemaRef) -> Result<Batch> {
    let facts: Vec<Facts> = schema
        .fields()
        .iter()
        .map(|field| Facts::of(field))
        .collect();
    Batch::new(schema.clone(), &facts)
}

//! What a subscriber is told, as batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::error::{Error, Result};
use crate::store::ZSet;

/// The columns before the view's own, which therefore may have none of these names.
const OWN: [(&str, DataType); 4] = [
    ("epoch", DataType::Int64),
    // How many of the row come, or go. NULL: all of the epoch was told.
    ("change", DataType::Int64),
    // In a row that ends an epoch alone, as are the positions.
    ("cursor", DataType::Utf8),
    ("positions", DataType::Utf8),
];

/// The columns of a subscription to what has these.
///
/// # Errors
/// If one has a name that is taken.
pub fn columns(of: &Schema) -> Result<SchemaRef> {
    let taken = OWN.iter().find(|(name, _)| of.index_of(name).is_ok());
    if let Some((name, _)) = taken {
        return Err(Error::invalid_with_help(
            format!("a subscription has a column {name} of its own, and so has what it is to"),
            format!("Give it another name: SUBSCRIBE TO (SELECT {name} AS other_name, … FROM …)"),
        ));
    }
    let own = OWN.map(|(name, data_type)| Field::new(name, data_type, name != "epoch"));
    let rows = of.fields().iter().map(|field| field.as_ref().clone());
    // A row that ends an epoch has no values.
    let rows = rows.map(|field| field.with_nullable(true));
    Ok(Arc::new(Schema::new(
        own.into_iter().chain(rows).collect::<Vec<_>>(),
    )))
}

/// A part of what is told.
#[derive(Debug)]
pub enum Piece {
    Rows {
        epoch: u64,
        change: ZSet,
    },
    /// All of an epoch was told.
    End {
        epoch: u64,
        cursor: String,
        positions: Option<String>,
    },
}

impl Piece {
    pub fn epoch(&self) -> u64 {
        match self {
            Self::Rows { epoch, .. } | Self::End { epoch, .. } => *epoch,
        }
    }

    /// The same in pieces of so many rows.
    pub fn cut(self, rows: usize) -> Vec<Self> {
        match self {
            Self::Rows { epoch, change } if change.len() > rows => {
                let starts = (0..change.len()).step_by(rows);
                let pieces = starts.map(|start| Self::Rows {
                    epoch,
                    change: change.slice(start, rows.min(change.len() - start)),
                });
                pieces.collect()
            }
            piece => vec![piece],
        }
    }

    pub fn rows(&self) -> usize {
        match self {
            Self::Rows { change, .. } => change.len(),
            Self::End { .. } => 1,
        }
    }
}

/// Pieces, one behind the other.
///
/// # Errors
/// If rows are not of this schema, or their text is more than a batch can have.
pub fn batch(schema: &SchemaRef, pieces: &[Piece]) -> Result<RecordBatch, ArrowError> {
    let (mut epochs, mut changes) = (Int64Builder::new(), Int64Builder::new());
    let (mut cursors, mut places) = (StringBuilder::new(), StringBuilder::new());
    for piece in pieces {
        match piece {
            Piece::Rows { epoch, change } => {
                for weight in change.weights() {
                    epochs.append_value(epoch.cast_signed());
                    changes.append_value(*weight);
                    cursors.append_null();
                    places.append_null();
                }
            }
            Piece::End {
                epoch,
                cursor,
                positions,
            } => {
                epochs.append_value(epoch.cast_signed());
                changes.append_null();
                cursors.append_value(cursor);
                places.append_option(positions.as_deref());
            }
        }
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(epochs.finish()),
        Arc::new(changes.finish()),
        Arc::new(cursors.finish()),
        Arc::new(places.finish()),
    ];
    for (i, field) in schema.fields().iter().skip(OWN.len()).enumerate() {
        let of = |piece: &Piece| match piece {
            Piece::Rows { change, .. } => change.rows().column(i).clone(),
            Piece::End { .. } => new_null_array(field.data_type(), 1),
        };
        let parts: Vec<ArrayRef> = pieces.iter().map(of).collect();
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        columns.push(concat(&parts)?);
    }
    RecordBatch::try_new(schema.clone(), columns)
}

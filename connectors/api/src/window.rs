use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use crate::expr::{Aggregate, AggregateFunction, Expr, SortKey};

/// A value of each row, from those rows of the input that are in its partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub function: WindowFunction,
    pub partition_by: Vec<Expr>,
    /// Rows that are the same in all of these are peers.
    pub order_by: Vec<SortKey>,
    pub frame: Frame,
}

/// Those that tell peers apart come only with an order in which peers are the same in every column, as do frames of
/// rows: then any order among peers gives the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WindowFunction {
    /// From 1. Tells peers apart.
    RowNumber,
    /// One more than the rows before the row's first peer.
    Rank,
    /// One more than the groups of peers before the row.
    DenseRank,
    /// Of the frame's rows; never of distinct ones.
    Aggregate(Aggregate),
    /// The value so many rows before (at least one); NULL where there is none. Tells peers apart.
    Lag { arg: Expr, offset: u64 },
    /// The value so many rows after.
    Lead { arg: Expr, offset: u64 },
    /// The value of the frame's first row; NULL of an empty frame. Tells peers apart.
    FirstValue(Expr),
    /// The value of the frame's last row.
    LastValue(Expr),
}

/// Of which rows of the partition a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// All.
    Partition,
    /// Those up to the row and its peers.
    Peers,
    Rows {
        start: Bound,
        end: Bound,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// The partition's first row, as a start; its last, as an end.
    Unbounded,
    /// So many rows before the row.
    Preceding(u64),
    CurrentRow,
    Following(u64),
}

impl WindowFunction {
    /// Whether it is of the rows of a frame: of others, the frame says nothing.
    pub fn has_frame(&self) -> bool {
        matches!(
            self,
            Self::Aggregate(_) | Self::FirstValue(_) | Self::LastValue(_)
        )
    }

    /// Whether it may be another of two rows that are peers.
    pub fn tells_peers_apart(&self) -> bool {
        !matches!(self, Self::Rank | Self::DenseRank | Self::Aggregate(_))
    }
}

impl Window {
    pub(crate) fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        let mut exprs: Vec<&mut Expr> = match &mut self.function {
            WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank => {
                Vec::new()
            }
            WindowFunction::Aggregate(aggregate) => aggregate.exprs_mut().collect(),
            WindowFunction::Lag { arg, .. }
            | WindowFunction::Lead { arg, .. }
            | WindowFunction::FirstValue(arg)
            | WindowFunction::LastValue(arg) => vec![arg],
        };
        exprs.extend(&mut self.partition_by);
        exprs.extend(self.order_by.iter_mut().map(|key| &mut key.expr));
        exprs
    }

    /// Of its values.
    pub fn data_type(&self) -> DataType {
        match &self.function {
            WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank => {
                DataType::Int64
            }
            WindowFunction::Aggregate(aggregate) => aggregate.data_type.clone(),
            WindowFunction::Lag { arg, .. }
            | WindowFunction::Lead { arg, .. }
            | WindowFunction::FirstValue(arg)
            | WindowFunction::LastValue(arg) => arg.data_type.clone(),
        }
    }

    /// Collect the indexes of the input's columns it reads into `into`.
    pub fn columns_read(&self, into: &mut BTreeSet<usize>) {
        match &self.function {
            WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank => {}
            WindowFunction::Aggregate(aggregate) => aggregate.columns_read(into),
            WindowFunction::Lag { arg, .. }
            | WindowFunction::Lead { arg, .. }
            | WindowFunction::FirstValue(arg)
            | WindowFunction::LastValue(arg) => arg.columns_read(into),
        }
        let sorted = self.order_by.iter().map(|key| &key.expr);
        for expr in self.partition_by.iter().chain(sorted) {
            expr.columns_read(into);
        }
    }

    /// The field of its values under `name`.
    pub(crate) fn field(&self, name: &str, input: &Schema) -> Field {
        match &self.function {
            WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank => {
                Field::new(name, DataType::Int64, false)
            }
            WindowFunction::Aggregate(aggregate) => aggregate.field(name, input),
            WindowFunction::Lag { arg, .. }
            | WindowFunction::Lead { arg, .. }
            | WindowFunction::FirstValue(arg)
            | WindowFunction::LastValue(arg) => arg.field(name, input).with_nullable(true),
        }
    }
}

impl Aggregate {
    /// The field of its results under `name`.
    pub(crate) fn field(&self, name: &str, input: &Schema) -> Field {
        let nullable = self.function != AggregateFunction::Count;
        let field = Field::new(name, self.data_type.clone(), nullable);
        match (&self.arg, self.function) {
            // They compare as the column does.
            (Some(arg), AggregateFunction::Min | AggregateFunction::Max) => {
                field.with_metadata(arg.field(name, input).metadata().clone())
            }
            _ => field,
        }
    }
}

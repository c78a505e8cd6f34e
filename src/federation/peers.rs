//! Which rows an order leaves to any order among themselves.

use std::collections::BTreeSet;

use belvedere_connector::{Expr, Rel, SortKey, Table};
use datafusion::arrow::datatypes::Schema;

/// Sets of a relation's columns, of each of which no two rows have the same values.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<BTreeSet<usize>>);

impl Keys {
    /// The table's primary key, if it is of whole numbers: of other values, what differs at the source may be read as
    /// the same.
    pub fn of_table(table: &Table, schema: &Schema) -> Self {
        let column = |name: &String| {
            let (i, field) = schema.column_with_name(name)?;
            let tells_apart = field.data_type().is_integer() && !field.is_nullable();
            tells_apart.then_some(i)
        };
        let key: Option<BTreeSet<_>> = table.primary_key.iter().map(column).collect();
        Self(key.filter(|key| !key.is_empty()).into_iter().collect())
    }

    /// Of a node over one input that has these.
    pub fn above(self, node: &Rel) -> Self {
        match node {
            Rel::Filter { .. } | Rel::Sort { .. } | Rel::Limit { .. } | Rel::Window { .. } => self,
            Rel::Project { columns, .. } => {
                let place = |i: &usize| columns.iter().position(|(e, _)| e.as_column() == Some(*i));
                let keys = self.0.iter();
                Self(
                    keys.filter_map(|key| key.iter().map(place).collect())
                        .collect(),
                )
            }
            // Without groups there is one row, which no column need tell apart.
            Rel::Aggregate { group_by, .. } => Self(vec![(0..group_by.len()).collect()]),
            Rel::Scan { .. } | Rel::Join { .. } | Rel::UnionAll { .. } => Self::default(),
        }
    }

    fn is_one_in(&self, columns: &BTreeSet<usize>) -> bool {
        self.0.iter().any(|key| key.is_subset(columns))
    }
}

/// Whether rows that are the same in the partition's keys and the order's are the same in every column, as they have a
/// key in common, or each of so many columns. What orders behind a key orders nothing, and is cut off.
pub fn cut_where_total(
    partition_by: &[Expr],
    order_by: &mut Vec<SortKey>,
    keys: &Keys,
    width: usize,
) -> bool {
    let mut same: BTreeSet<usize> = partition_by.iter().filter_map(Expr::as_column).collect();
    let mut needed = 0;
    for key in order_by.iter() {
        if keys.is_one_in(&same) {
            break;
        }
        same.extend(key.expr.as_column());
        needed += 1;
    }
    // An order stays one: some functions must have it.
    order_by.truncate(needed.max(1));
    keys.is_one_in(&same) || same.len() == width
}

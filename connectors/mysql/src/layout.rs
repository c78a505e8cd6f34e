//! What discovery found of a table that several connections can read at once.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, Schema};
use belvedere_connector::{BinaryOp, Expr, ExprKind, NATIVE_TYPE, Rel, Table, TableKind};

use crate::types::is_decided;

/// What is smaller is read by one connection.
const SPLIT_BYTES: u64 = 32 << 20;
/// What a range should have at least.
const RANGE_BYTES: u64 = 16 << 20;

/// A table whose primary key begins with a whole number: it is stored in that order, and every row is in exactly one of
/// the ranges of that number.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub key: Field,
    bytes: u64,
    /// How many values the columns have that an index begins with.
    distinct: HashMap<String, u64>,
}

impl Layout {
    pub fn of(table: &Table) -> Option<Self> {
        if table.kind != TableKind::Table {
            return None;
        }
        let first = table.primary_key.first()?;
        let key = table.columns.iter().find(|c| c.name == *first)?.field();
        let distinct = table
            .columns
            .iter()
            .filter_map(|c| Some((c.name.clone(), c.distinct?)));
        is_whole_number(&key).then_some(Self {
            key,
            bytes: table.size_bytes?,
            distinct: distinct.collect(),
        })
    }

    /// Into how many ranges the table is worth being split for this question, by its size.
    pub fn ranges(&self, rel: &Rel) -> usize {
        let bytes = self.bytes_read(rel);
        match bytes >= SPLIT_BYTES {
            true => usize::try_from(bytes / RANGE_BYTES).unwrap_or(usize::MAX),
            false => 1,
        }
    }

    /// What the server reads of it: less than the table where an index finds the rows.
    fn bytes_read(&self, rel: &Rel) -> u64 {
        match rel {
            Rel::Filter { input, predicates } => {
                let schema = input.schema();
                let part = |predicate| self.part_found(predicate, &schema);
                let least = predicates.iter().filter_map(part).reduce(f64::min);
                let bytes = self.bytes_read(input);
                least.map_or(bytes, |part| (bytes as f64 * part) as u64)
            }
            Rel::Project { input, .. } => self.bytes_read(input),
            _ => self.bytes,
        }
    }

    /// The part of the rows that a condition on an indexed column finds.
    fn part_found(&self, predicate: &Expr, input: &Schema) -> Option<f64> {
        let (column, values) = match &predicate.kind {
            ExprKind::Binary {
                op: BinaryOp::Eq,
                left,
                right,
            } => match (left.as_column(), right.as_column()) {
                (Some(column), None) | (None, Some(column)) => (column, 1),
                _ => return None,
            },
            ExprKind::InList {
                arg,
                list,
                negated: false,
            } => (arg.as_column()?, list.len()),
            _ => return None,
        };
        let distinct = self.distinct.get(input.fields().get(column)?.name())?;
        Some((values as f64 / (*distinct).max(1) as f64).min(1.0))
    }
}

fn is_whole_number(field: &Field) -> bool {
    let native = field.metadata().get(NATIVE_TYPE).map_or("", String::as_str);
    let is_integer = ["tinyint", "smallint", "mediumint", "int", "bigint"]
        .iter()
        .any(|name| {
            native
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['(', ' ']))
        });
    is_integer
        && !is_decided(native)
        && !field.is_nullable()
        && matches!(
            field.data_type(),
            DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::UInt8
                | DataType::UInt16
                | DataType::UInt32
                | DataType::UInt64
        )
}

#[cfg(test)]
mod tests {
    use belvedere_connector::{Column, Literal, TableRef};

    use super::*;

    fn table(native: &str, data_type: DataType) -> Table {
        let column = |name: &str, native_type: &str, data_type, distinct| Column {
            name: name.into(),
            data_type,
            nullable: false,
            native_type: native_type.into(),
            collation: None,
            comment: None,
            distinct,
            histogram: None,
            note: None,
        };
        Table {
            schema: "crm".into(),
            name: "bill".into(),
            kind: TableKind::Table,
            columns: vec![
                column("id", native, data_type, Some(1_000_000)),
                column("region", "int(11)", DataType::Int32, Some(2)),
            ],
            primary_key: vec!["id".into()],
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            comment: None,
            row_count: Some(1_000_000),
            size_bytes: Some(128 << 20),
            warnings: Vec::new(),
        }
    }

    fn is(column: usize, data_type: DataType) -> Expr {
        Expr {
            kind: ExprKind::Binary {
                op: BinaryOp::Eq,
                left: Box::new(Expr::column(column, data_type.clone(), false)),
                right: Box::new(Expr::literal(Literal::Int(7), data_type)),
            },
            data_type: DataType::Boolean,
            nullable: false,
        }
    }

    #[test]
    fn only_large_tables_by_whole_numbers_are_split() {
        let bill = table("bigint(20)", DataType::Int64);
        let scan = Rel::Scan {
            table: TableRef {
                schema: "crm".into(),
                name: "bill".into(),
            },
            schema: bill.arrow_schema(),
        };
        let layout = Layout::of(&bill).unwrap();
        assert_eq!(layout.ranges(&scan), 8);
        let filter = |predicates| Rel::Filter {
            input: Box::new(scan.clone()),
            predicates,
        };
        // Half of it; one row.
        let region = is(1, DataType::Int32);
        assert_eq!(layout.ranges(&filter(vec![region.clone()])), 4);
        let id = is(0, DataType::Int64);
        assert_eq!(layout.ranges(&filter(vec![region, id])), 1);

        assert!(Layout::of(&table("varchar(20)", DataType::Utf8)).is_none());
        assert!(Layout::of(&table("bit(8)", DataType::UInt64)).is_none());
        assert!(Layout::of(&table("bigint(20), read as text", DataType::Utf8)).is_none());
        let mut view = bill.clone();
        view.kind = TableKind::View;
        assert!(Layout::of(&view).is_none());
        let small = Layout::of(&Table {
            size_bytes: Some(1 << 20),
            ..bill
        });
        assert_eq!(small.unwrap().ranges(&scan), 1);
    }
}

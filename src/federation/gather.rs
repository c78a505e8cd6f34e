//! Lookups that wait for a source are gathered into one: `key = 1` and `key = 2` become `key IN (1, 2)`, and the rows go back
//! to whom each is of. There is no window of time: what waits for a place at the source while others have all of them is
//! asked with the next that gets one, so that nothing waits when the source is idle, and more is asked at once the busier
//! it is.

use std::collections::HashMap;
use std::sync::Arc;

use belvedere_connector::{
    BinaryOp, Capabilities, Expr, ExprKind, Fragment, Literal, PRIMARY_KEY, Rel, holds_primary_key,
};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};

use super::expr;

/// Keys of one column that are asked for at once; a statement grows with them.
const MOST: usize = 256;
/// Keys of several columns: `(a = 1 AND b = 2) OR (…)` is a deep expression.
const MOST_OF_SEVERAL: usize = 32;

/// A fragment that names one row of a table by its whole primary key. Two are the same if they differ in the key alone.
#[derive(Debug, Clone)]
pub struct Lookup {
    fragment: Arc<Fragment>,
    /// Columns of the table's scan, in the order of the key, and which predicate says what each is.
    by: Vec<(usize, usize)>,
}

/// What a lookup asks.
struct Parts<'a> {
    table: &'a Rel,
    schema: &'a SchemaRef,
    predicates: &'a [Expr],
    /// What is wanted of the row; None: all columns of the table's scan.
    columns: Option<&'a [(Expr, String)]>,
}

impl<'a> Parts<'a> {
    fn of(fragment: &'a Fragment) -> Option<Self> {
        let mut rel = &fragment.rel;
        // One row is in order, and the first.
        loop {
            rel = match rel {
                Rel::Sort { input, fetch, .. } if *fetch != Some(0) => input,
                Rel::Limit {
                    input,
                    skip: 0,
                    fetch,
                } if *fetch != Some(0) => input,
                _ => break,
            };
        }
        let (columns, rel) = match rel {
            Rel::Project { input, columns } => (Some(columns.as_slice()), input.as_ref()),
            rel => (None, rel),
        };
        let Rel::Filter { input, predicates } = rel else {
            return None;
        };
        let Rel::Scan { schema, .. } = input.as_ref() else {
            return None;
        };
        Some(Self {
            table: input,
            schema,
            predicates,
            columns,
        })
    }
}

impl PartialEq for Lookup {
    fn eq(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (Parts::of(&self.fragment), Parts::of(&other.fragment))
        else {
            return false;
        };
        let same_columns = self.columns().eq(other.columns());
        same_columns
            && own.columns == others.columns
            && own.table == others.table
            && self.others(&own).eq(other.others(&others))
    }
}

/// A key's values, by column; each is told by its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Boolean(bool),
    Int(i64),
    UInt(u64),
    Decimal(i128),
    Text(String),
    Binary(Vec<u8>),
}

/// One question for many keys.
#[derive(Debug)]
pub struct Gathered {
    pub fragment: Arc<Fragment>,
    /// Where the key is in its answer.
    key: Vec<usize>,
    /// So many columns are those that were wanted.
    width: usize,
}

impl Lookup {
    /// What a fragment asks, and of which key. None: it is no such question.
    pub fn of(fragment: &Arc<Fragment>) -> Option<(Self, Key)> {
        let parts = Parts::of(fragment)?;
        let mut found: Vec<(usize, usize, Part)> = Vec::new();
        for (number, predicate) in parts.predicates.iter().enumerate() {
            let Some((column, value)) = predicate.as_equal_column() else {
                continue;
            };
            let field = parts.schema.fields().get(column)?;
            let is_of_key = field.metadata().contains_key(PRIMARY_KEY);
            let is_new = found.iter().all(|(other, ..)| *other != column);
            if is_of_key
                && is_new
                && let Some(part) = Part::of(value)
            {
                found.push((column, number, part));
            }
        }
        found.sort_unstable_by_key(|(column, ..)| *column);
        let columns = found.iter().map(|(column, ..)| *column).collect();
        if !holds_primary_key(parts.schema, &columns) {
            return None;
        }
        let by = found.iter().map(|(column, number, _)| (*column, *number));
        let lookup = Self {
            by: by.collect(),
            fragment: fragment.clone(),
        };
        Some((
            lookup,
            Key(found.into_iter().map(|(.., part)| part).collect()),
        ))
    }

    fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.by.iter().map(|(column, _)| *column)
    }

    /// Further conditions on the row.
    fn others<'a>(&'a self, parts: &Parts<'a>) -> impl Iterator<Item = &'a Expr> {
        let numbered = parts.predicates.iter().enumerate();
        let is_other = |number: &usize| self.by.iter().all(|(_, of_key)| of_key != number);
        numbered
            .filter(move |(number, _)| is_other(number))
            .map(|(_, predicate)| predicate)
    }

    /// How many are asked for at once, at most.
    pub fn most(&self) -> usize {
        match self.by.len() {
            1 => MOST,
            _ => MOST_OF_SEVERAL,
        }
    }

    /// All of them at once. None: the source does not take that.
    pub fn gathered(&self, keys: &[&Key], source: &dyn Capabilities) -> Option<Gathered> {
        let parts = Parts::of(&self.fragment)?;
        let column = |i: usize| {
            let field = parts.schema.field(i);
            Expr::column(i, field.data_type().clone(), field.is_nullable())
        };
        let mut predicates: Vec<Expr> = self.others(&parts).cloned().collect();
        let by: Vec<Expr> = self.columns().map(column).collect();
        predicates.push(any_of(&by, keys)?);
        let filter = Rel::Filter {
            input: Box::new(parts.table.clone()),
            predicates,
        };
        let (rel, key, width) = match parts.columns {
            None => (
                filter,
                self.columns().collect(),
                parts.schema.fields().len(),
            ),
            Some(wanted) => {
                let mut columns = wanted.to_vec();
                let mut place = |i: usize| {
                    let there = columns.iter().position(|(e, _)| e.as_column() == Some(i));
                    there.unwrap_or_else(|| {
                        columns.push((column(i), format!("key {i}")));
                        columns.len() - 1
                    })
                };
                let key = self.columns().map(&mut place).collect();
                let input = Box::new(filter);
                (Rel::Project { input, columns }, key, wanted.len())
            }
        };
        source.node(&rel).is_exact().then(|| Gathered {
            fragment: Arc::new(Fragment::new(rel)),
            key,
            width,
        })
    }
}

impl Gathered {
    /// Each row, by its key, as one that was wanted.
    pub fn rows(&self, batches: Vec<RecordBatch>) -> Result<HashMap<Key, RecordBatch>> {
        let mut rows = HashMap::new();
        for batch in batches {
            let wanted: Vec<usize> = (0..self.width).collect();
            let columns = batch.project(&wanted)?;
            for row in 0..batch.num_rows() {
                let part = |column: &usize| {
                    let value = ScalarValue::try_from_array(batch.column(*column), row)?;
                    let literal = expr::literal(&value).map_err(DataFusionError::Internal)?;
                    let part = literal.as_literal().and_then(Part::of);
                    let lost = || DataFusionError::Internal("a key without a value".to_string());
                    part.ok_or_else(lost)
                };
                let key = self.key.iter().map(part).collect::<Result<_>>()?;
                rows.insert(Key(key), columns.slice(row, 1));
            }
        }
        Ok(rows)
    }
}

impl Part {
    /// None: it is not told by its bytes.
    fn of(literal: &Literal) -> Option<Self> {
        Some(match literal {
            Literal::Boolean(value) => Self::Boolean(*value),
            Literal::Int(value) => Self::Int(*value),
            Literal::UInt(value) => Self::UInt(*value),
            Literal::Decimal(value) => Self::Decimal(*value),
            Literal::Text(value) => Self::Text(value.clone()),
            Literal::Binary(value) => Self::Binary(value.clone()),
            Literal::Null
            | Literal::Float(_)
            | Literal::List(_)
            | Literal::Interval { .. }
            | Literal::Parameter(_) => return None,
        })
    }

    fn literal(&self) -> Literal {
        match self {
            Self::Boolean(value) => Literal::Boolean(*value),
            Self::Int(value) => Literal::Int(*value),
            Self::UInt(value) => Literal::UInt(*value),
            Self::Decimal(value) => Literal::Decimal(*value),
            Self::Text(value) => Literal::Text(value.clone()),
            Self::Binary(value) => Literal::Binary(value.clone()),
        }
    }
}

/// That the columns are those of one of the keys.
fn any_of(columns: &[Expr], keys: &[&Key]) -> Option<Expr> {
    let nullable = columns.iter().any(|column| column.nullable);
    let boolean = |kind| Expr {
        kind,
        data_type: DataType::Boolean,
        nullable,
    };
    let constant =
        |part: &Part, column: &Expr| Expr::literal(part.literal(), column.data_type.clone());
    if let [column] = columns {
        let list = keys.iter().flat_map(|key| &key.0);
        return Some(boolean(ExprKind::InList {
            arg: Box::new(column.clone()),
            list: list.map(|part| constant(part, column)).collect(),
            negated: false,
        }));
    }
    let binary = |op, left, right| {
        let (left, right) = (Box::new(left), Box::new(right));
        boolean(ExprKind::Binary { op, left, right })
    };
    let one = |key: &&Key| {
        let parts = key.0.iter().zip(columns);
        let equal = parts
            .map(|(part, column)| binary(BinaryOp::Eq, column.clone(), constant(part, column)));
        equal.reduce(|a, b| binary(BinaryOp::And, a, b))
    };
    let all = keys.iter().map(one).collect::<Option<Vec<_>>>()?;
    all.into_iter().reduce(|a, b| binary(BinaryOp::Or, a, b))
}

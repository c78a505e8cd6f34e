use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::expr::{Aggregate, BinaryOp, Expr, ExprKind, Literal, SortKey};
use crate::table::holds_primary_key;
use crate::window::Window;

/// A piece of a query that one source answers: a small closed algebra over typed expressions.
///
/// The answer's columns have exactly the types of [`Fragment::schema`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fragment {
    pub rel: Rel,
}

impl Fragment {
    pub fn new(rel: Rel) -> Self {
        Self { rel }
    }

    pub fn schema(&self) -> SchemaRef {
        self.rel.schema()
    }

    /// With the values of its parameters, by name; None: one has none.
    pub fn with_parameters(&self, value: &dyn Fn(&str) -> Option<Literal>) -> Option<Self> {
        let mut rel = self.rel.clone();
        rel.bind(value)?;
        Some(Self { rel })
    }
}

/// A table of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableRef {
    pub schema: String,
    pub name: String,
}

impl std::fmt::Display for TableRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A relation: a bag of rows. Columns are known by index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Rel {
    /// All rows of a table, some of its columns. Fields are those of [`Table::arrow_schema`](crate::Table), with
    /// their metadata (native type, collation).
    Scan { table: TableRef, schema: SchemaRef },
    /// Rows for which all predicates are true.
    Filter {
        input: Box<Rel>,
        predicates: Vec<Expr>,
    },
    /// Computed columns with their names.
    Project {
        input: Box<Rel>,
        columns: Vec<(Expr, String)>,
    },
    Join {
        left: Box<Rel>,
        right: Box<Rel>,
        kind: JoinKind,
        /// Equal pairs, each side over its own input. NULL equals nothing.
        on: Vec<(Expr, Expr)>,
        /// Over the left columns, then the right; part of the join's condition.
        filter: Option<Expr>,
    },
    /// Group keys, then aggregates. Without keys: one row, also over no rows.
    Aggregate {
        input: Box<Rel>,
        group_by: Vec<(Expr, String)>,
        aggregates: Vec<(Aggregate, String)>,
    },
    /// The input's columns, then the windows.
    Window {
        input: Box<Rel>,
        windows: Vec<(Window, String)>,
    },
    /// Sorted; with `fetch` only the first rows. Only the outermost node's order is kept by those above.
    Sort {
        input: Box<Rel>,
        keys: Vec<SortKey>,
        fetch: Option<u64>,
    },
    /// Any `fetch` rows after any `skip` rows.
    Limit {
        input: Box<Rel>,
        skip: u64,
        fetch: Option<u64>,
    },
    /// The inputs have equal types; names and nullability are the given schema's.
    UnionAll { inputs: Vec<Rel>, schema: SchemaRef },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    /// Left rows with a match; left columns only.
    LeftSemi,
    /// Left rows without a match; left columns only.
    LeftAnti,
    /// All left rows, and as a last column whether there is a match: true or false, never NULL.
    LeftMark,
}

impl JoinKind {
    /// The right side only says which left rows have a match: there are never more rows than on the left.
    pub fn is_existence(self) -> bool {
        matches!(self, Self::LeftSemi | Self::LeftAnti | Self::LeftMark)
    }
}

impl Rel {
    /// Output columns. A column passed through keeps its field's metadata (collation, native type).
    pub fn schema(&self) -> SchemaRef {
        match self {
            Self::Scan { schema, .. } | Self::UnionAll { schema, .. } => schema.clone(),
            Self::Filter { input, .. } | Self::Sort { input, .. } | Self::Limit { input, .. } => {
                input.schema()
            }
            Self::Project { input, columns } => {
                let input = input.schema();
                Arc::new(Schema::new(
                    columns
                        .iter()
                        .map(|(expr, name)| expr.field(name, &input))
                        .collect::<Vec<_>>(),
                ))
            }
            Self::Join {
                left, right, kind, ..
            } => {
                let (left, right) = (left.schema(), right.schema());
                let (left_null, right_null) = match kind {
                    JoinKind::LeftSemi | JoinKind::LeftAnti => return left,
                    JoinKind::LeftMark => {
                        let mark = Arc::new(Field::new("mark", DataType::Boolean, false));
                        let fields = left.fields().iter().cloned().chain([mark]);
                        return Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                    }
                    JoinKind::Inner => (false, false),
                    JoinKind::Left => (false, true),
                    JoinKind::Right => (true, false),
                    JoinKind::Full => (true, true),
                };
                let side = |schema: &Schema, null: bool| {
                    schema
                        .fields()
                        .iter()
                        .map(|f| f.as_ref().clone().with_nullable(f.is_nullable() || null))
                        .collect::<Vec<_>>()
                };
                let mut fields = side(&left, left_null);
                fields.extend(side(&right, right_null));
                Arc::new(Schema::new(fields))
            }
            Self::Window { input, windows } => {
                let input = input.schema();
                let columns = input.fields().iter().map(|field| field.as_ref().clone());
                let values = windows
                    .iter()
                    .map(|(value, name)| value.field(name, &input));
                Arc::new(Schema::new(columns.chain(values).collect::<Vec<_>>()))
            }
            Self::Aggregate {
                input,
                group_by,
                aggregates,
            } => {
                let input = input.schema();
                let keys = group_by.iter().map(|(expr, name)| expr.field(name, &input));
                let values = aggregates
                    .iter()
                    .map(|(value, name)| value.field(name, &input));
                Arc::new(Schema::new(keys.chain(values).collect::<Vec<_>>()))
            }
        }
    }

    pub fn inputs(&self) -> Vec<&Rel> {
        match self {
            Self::Scan { .. } => Vec::new(),
            Self::Filter { input, .. }
            | Self::Project { input, .. }
            | Self::Aggregate { input, .. }
            | Self::Window { input, .. }
            | Self::Sort { input, .. }
            | Self::Limit { input, .. } => vec![input],
            Self::Join { left, right, .. } => vec![left, right],
            Self::UnionAll { inputs, .. } => inputs.iter().collect(),
        }
    }

    fn inputs_mut(&mut self) -> Vec<&mut Rel> {
        match self {
            Self::Scan { .. } => Vec::new(),
            Self::Filter { input, .. }
            | Self::Project { input, .. }
            | Self::Aggregate { input, .. }
            | Self::Window { input, .. }
            | Self::Sort { input, .. }
            | Self::Limit { input, .. } => vec![input],
            Self::Join { left, right, .. } => vec![left, right],
            Self::UnionAll { inputs, .. } => inputs.iter_mut().collect(),
        }
    }

    /// Its own expressions, without those of its inputs.
    fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Self::Scan { .. } | Self::Limit { .. } | Self::UnionAll { .. } => Vec::new(),
            Self::Filter { predicates, .. } => predicates.iter_mut().collect(),
            Self::Project { columns, .. } => columns.iter_mut().map(|(expr, _)| expr).collect(),
            Self::Join { on, filter, .. } => {
                let on = on.iter_mut().flat_map(|(left, right)| [left, right]);
                on.chain(filter).collect()
            }
            Self::Aggregate {
                group_by,
                aggregates,
                ..
            } => {
                let keys = group_by.iter_mut().map(|(expr, _)| expr);
                let values = aggregates.iter_mut();
                keys.chain(values.flat_map(|(value, _)| value.exprs_mut()))
                    .collect()
            }
            Self::Window { windows, .. } => {
                let windows = windows.iter_mut();
                windows.flat_map(|(window, _)| window.exprs_mut()).collect()
            }
            Self::Sort { keys, .. } => keys.iter_mut().map(|key| &mut key.expr).collect(),
        }
    }

    fn bind(&mut self, value: &dyn Fn(&str) -> Option<Literal>) -> Option<()> {
        let mut exprs = self.exprs_mut().into_iter();
        exprs.try_for_each(|expr| expr.bind(value))?;
        let mut inputs = self.inputs_mut().into_iter();
        inputs.try_for_each(|input| input.bind(value))
    }

    /// The tables it reads, each once, in order of appearance.
    pub fn tables(&self) -> Vec<&TableRef> {
        let mut found = Vec::new();
        for (table, _) in self.scans() {
            if !found.contains(&table) {
                found.push(table);
            }
        }
        found
    }

    /// The tables it reads, as often as it does, and the columns that it reads of each, in order of appearance.
    pub fn scans(&self) -> Vec<(&TableRef, &SchemaRef)> {
        let mut found = Vec::new();
        let mut pending = vec![self];
        while let Some(rel) = pending.pop() {
            if let Self::Scan { table, schema } = rel {
                found.push((table, schema));
            }
            pending.extend(rel.inputs().into_iter().rev());
        }
        found
    }

    /// Whether its conditions name one row of a table: each column of the primary key equals a constant.
    pub fn names_one_row(&self) -> bool {
        let mut named = BTreeSet::new();
        let mut rel = self;
        loop {
            rel = match rel {
                Self::Project { input, .. } if named.is_empty() => input,
                Self::Filter { input, predicates } => {
                    let equal = predicates.iter().filter_map(Expr::as_equal_column);
                    named.extend(equal.map(|(column, _)| column));
                    input
                }
                Self::Scan { schema, .. } => return holds_primary_key(schema, &named),
                _ => return false,
            };
        }
    }

    /// Whether it begins with rows of a table that constants name, each by its whole primary key.
    pub fn reads_by_key(&self) -> bool {
        match self {
            Self::Filter { input, predicates } => match input.as_ref() {
                Self::Scan { schema, .. } => {
                    let named = predicates.iter().flat_map(Expr::named_columns).collect();
                    holds_primary_key(schema, &named)
                }
                input => input.reads_by_key(),
            },
            _ => self.inputs().into_iter().any(Self::reads_by_key),
        }
    }

    /// Whether it is a scan, filters, projections, and nothing that relates rows to each other: any split of the
    /// table's rows gives a split of its answer.
    pub fn is_row_wise(&self) -> bool {
        match self {
            Self::Scan { .. } => true,
            Self::Filter { input, .. } | Self::Project { input, .. } => input.is_row_wise(),
            _ => false,
        }
    }
}

impl Expr {
    /// Of `column = constant`, either way round, both.
    pub fn as_equal_column(&self) -> Option<(usize, &Literal)> {
        let ExprKind::Binary {
            op: BinaryOp::Eq,
            left,
            right,
        } = &self.kind
        else {
            return None;
        };
        let column = left.as_column().or(right.as_column())?;
        let constant = left.as_literal().or(right.as_literal())?;
        Some((column, constant))
    }

    /// The columns that are one of some constants where this holds.
    fn named_columns(&self) -> BTreeSet<usize> {
        match &self.kind {
            ExprKind::InList {
                arg,
                list,
                negated: false,
            } if list.iter().all(|item| item.as_literal().is_some()) => {
                arg.as_column().into_iter().collect()
            }
            ExprKind::Binary { op, left, right } => match op {
                BinaryOp::And => &left.named_columns() | &right.named_columns(),
                BinaryOp::Or => &left.named_columns() & &right.named_columns(),
                _ => self.as_equal_column().map(|(c, _)| c).into_iter().collect(),
            },
            _ => BTreeSet::new(),
        }
    }

    /// The field it becomes under `name`; a bare column keeps the metadata of the input's field.
    pub(crate) fn field(&self, name: &str, input: &Schema) -> Field {
        let field = Field::new(name, self.data_type.clone(), self.nullable);
        match self.as_column().and_then(|i| input.fields().get(i)) {
            Some(origin) => field.with_metadata(origin.metadata().clone()),
            None => field,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::PRIMARY_KEY;

    #[test]
    fn a_row_is_named_by_its_whole_key() {
        let field = |name: &str, key: Option<usize>| {
            let metadata = key.map(|columns| (PRIMARY_KEY.to_string(), columns.to_string()));
            let field = Field::new(name, DataType::Int64, false);
            field.with_metadata(metadata.into_iter().collect())
        };
        let table = |key: usize| Rel::Scan {
            table: TableRef {
                schema: "s".to_string(),
                name: "t".to_string(),
            },
            schema: Arc::new(Schema::new(vec![
                field("a", Some(key)),
                field("b", (key > 1).then_some(key)),
                field("c", None),
            ])),
        };
        let where_all = |input: Rel, conditions: &[(BinaryOp, usize)]| {
            let condition = |(op, column): &(BinaryOp, usize)| Expr {
                kind: ExprKind::Binary {
                    op: *op,
                    left: Box::new(Expr::column(*column, DataType::Int64, false)),
                    right: Box::new(Expr::literal(Literal::Int(1), DataType::Int64)),
                },
                data_type: DataType::Boolean,
                nullable: false,
            };
            Rel::Filter {
                input: Box::new(input),
                predicates: conditions.iter().map(condition).collect(),
            }
        };
        use BinaryOp::{Eq, Gt};
        assert!(where_all(table(1), &[(Eq, 0)]).names_one_row());
        assert!(where_all(table(1), &[(Gt, 2), (Eq, 0)]).names_one_row());
        assert!(where_all(where_all(table(2), &[(Eq, 1)]), &[(Eq, 0)]).names_one_row());
        assert!(!where_all(table(2), &[(Eq, 0)]).names_one_row());
        assert!(!where_all(table(1), &[(Gt, 0)]).names_one_row());
        assert!(!where_all(table(1), &[(Eq, 2)]).names_one_row());
        assert!(!table(1).names_one_row());
    }
}

use std::sync::Arc;

use belvedere_connector::{Aggregate, Expr, JoinKind, Rel, SortKey};
use datafusion::arrow::datatypes::{Field, Schema};

/// Two relations as one that has the columns of both: rows of the same, one by one.
pub struct Both {
    pub rel: Rel,
    /// Where the columns of each are.
    pub left: Vec<usize>,
    pub right: Vec<usize>,
    /// Whether something is computed of row after row for one of them alone: that may fail when rows have been given.
    pub computes: bool,
}

/// None unless they are the same but for their columns.
pub fn both(left: &Rel, right: &Rel) -> Option<Both> {
    if left == right {
        let columns: Vec<usize> = (0..left.schema().fields().len()).collect();
        return Some(Both {
            rel: left.clone(),
            left: columns.clone(),
            right: columns,
            computes: false,
        });
    }
    match (left, right) {
        (
            Rel::Scan { table, schema },
            Rel::Scan {
                table: other,
                schema: more,
            },
        ) if table == other => {
            let own = schema.fields().iter().cloned();
            let (fields, columns) = joined(own.collect(), more.fields().iter().cloned());
            Some(Both {
                rel: Rel::Scan {
                    table: table.clone(),
                    schema: Arc::new(Schema::new(fields)),
                },
                left: (0..schema.fields().len()).collect(),
                right: columns,
                computes: false,
            })
        }
        (
            Rel::Filter { input, predicates },
            Rel::Filter {
                input: other,
                predicates: others,
            },
        ) => {
            let below = both(input, other)?;
            let predicates = same(exprs(predicates, &below.left), exprs(others, &below.right))?;
            Some(below.under(|input| Rel::Filter { input, predicates }))
        }
        (
            Rel::Sort { input, keys, fetch },
            Rel::Sort {
                input: other,
                keys: others,
                fetch: most,
            },
        ) if fetch == most => {
            let below = both(input, other)?;
            let keys = same(
                sort_keys(keys, &below.left),
                sort_keys(others, &below.right),
            )?;
            let fetch = *fetch;
            Some(Both {
                computes: false,
                ..below.under(|input| Rel::Sort { input, keys, fetch })
            })
        }
        (
            Rel::Limit { input, skip, fetch },
            Rel::Limit {
                input: other,
                skip: others,
                fetch: most,
            },
        ) if (skip, fetch) == (others, most) => {
            let (skip, fetch) = (*skip, *fetch);
            Some(both(input, other)?.under(|input| Rel::Limit { input, skip, fetch }))
        }
        (
            Rel::Aggregate {
                input,
                group_by,
                aggregates,
            },
            Rel::Aggregate {
                input: other,
                group_by: others,
                aggregates: more,
            },
        ) => {
            let below = both(input, other)?;
            let keys = |keys: &[(Expr, String)], at: &[usize]| -> Vec<Expr> {
                keys.iter().map(|(key, _)| expr(key, at)).collect()
            };
            same(keys(group_by, &below.left), keys(others, &below.right))?;
            let group_by = named(group_by, |key| expr(key, &below.left));
            let own = named(aggregates, |value| aggregate(value, &below.left));
            let more = named(more, |value| aggregate(value, &below.right));
            let keys = group_by.len();
            let (aggregates, places) = joined(own, more);
            let columns = |values: &[usize]| {
                let values = values.iter().map(|at| keys + at);
                (0..keys).chain(values).collect()
            };
            let left: Vec<usize> = (0..left.schema().fields().len() - keys).collect();
            Some(Both {
                left: columns(&left),
                right: columns(&places),
                computes: false,
                rel: Rel::Aggregate {
                    input: Box::new(below.rel),
                    group_by,
                    aggregates,
                },
            })
        }
        (
            Rel::Join {
                left: l,
                right: r,
                kind,
                on,
                filter,
            },
            Rel::Join {
                left: other_l,
                right: other_r,
                kind: other_kind,
                on: other_on,
                filter: other_filter,
            },
        ) if kind == other_kind => {
            let (l, r) = (both(l, other_l)?, both(r, other_r)?);
            let width = l.rel.schema().fields().len();
            let across = |l: &[usize], r: &[usize]| -> Vec<usize> {
                l.iter()
                    .copied()
                    .chain(r.iter().map(|at| width + at))
                    .collect()
            };
            let (own, others) = (across(&l.left, &r.left), across(&l.right, &r.right));
            let pairs = |on: &[(Expr, Expr)], l: &[usize], r: &[usize]| -> Vec<(Expr, Expr)> {
                on.iter().map(|(a, b)| (expr(a, l), expr(b, r))).collect()
            };
            let on = same(
                pairs(on, &l.left, &r.left),
                pairs(other_on, &l.right, &r.right),
            )?;
            let filter = same(
                filter.as_ref().map(|e| expr(e, &own)),
                other_filter.as_ref().map(|e| expr(e, &others)),
            )?;
            let (left, right) = match kind {
                JoinKind::LeftSemi | JoinKind::LeftAnti => (l.left, l.right),
                JoinKind::LeftMark => (across(&l.left, &[0]), across(&l.right, &[0])),
                JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {
                    (own, others)
                }
            };
            Some(Both {
                computes: l.computes || r.computes,
                rel: Rel::Join {
                    left: Box::new(l.rel),
                    right: Box::new(r.rel),
                    kind: *kind,
                    on,
                    filter,
                },
                left,
                right,
            })
        }
        // One may have its input's columns as they are.
        (Rel::Project { input, columns }, other) => {
            let (other, others) = projection(other);
            Some(projected(both(input, other)?, columns, &others))
        }
        (own, Rel::Project { input, columns }) => {
            let (own, owns) = projection(own);
            Some(projected(both(own, input)?, &owns, columns))
        }
        _ => None,
    }
}

impl Both {
    /// The same rows and columns under another node.
    fn under(self, top: impl FnOnce(Box<Rel>) -> Rel) -> Self {
        Self {
            rel: top(Box::new(self.rel)),
            ..self
        }
    }
}

fn projected(below: Both, left: &[(Expr, String)], right: &[(Expr, String)]) -> Both {
    let own = named(left, |value| expr(value, &below.left));
    let more = named(right, |value| expr(value, &below.right));
    let (columns, places) = joined(own, more);
    let left: Vec<usize> = (0..left.len()).collect();
    let is_of_one = |at: &usize| *at >= left.len() || !places.contains(at);
    let mut of_one = (0..columns.len()).filter(is_of_one);
    Both {
        computes: below.computes || of_one.any(|at| columns[at].0.as_column().is_none()),
        rel: Rel::Project {
            input: Box::new(below.rel),
            columns,
        },
        left,
        right: places,
    }
}

/// A relation as a projection of another.
fn projection(rel: &Rel) -> (&Rel, Vec<(Expr, String)>) {
    if let Rel::Project { input, columns } = rel {
        return (input, columns.clone());
    }
    let schema = rel.schema();
    let column = |(at, field): (usize, &Arc<Field>)| {
        let column = Expr::column(at, field.data_type().clone(), field.is_nullable());
        (column, field.name().clone())
    };
    (
        rel,
        schema.fields().iter().enumerate().map(column).collect(),
    )
}

fn same<T: PartialEq>(left: T, right: T) -> Option<T> {
    (left == right).then_some(left)
}

/// The first ones, then those of the others that are not among them; and where all the others are.
fn joined<T: Alike>(mut own: Vec<T>, others: impl IntoIterator<Item = T>) -> (Vec<T>, Vec<usize>) {
    let places = others.into_iter().map(|other| {
        let known = own.iter().position(|own| own.is_like(&other));
        known.unwrap_or_else(|| {
            own.push(other);
            own.len() - 1
        })
    });
    let places = places.collect();
    (own, places)
}

/// The same, whatever it is called.
trait Alike {
    fn is_like(&self, other: &Self) -> bool;
}

impl<T: PartialEq> Alike for (T, String) {
    fn is_like(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Alike for Arc<Field> {
    fn is_like(&self, other: &Self) -> bool {
        self == other
    }
}

fn named<T>(values: &[(T, String)], map: impl Fn(&T) -> T) -> Vec<(T, String)> {
    let values = values
        .iter()
        .map(|(value, name)| (map(value), name.clone()));
    values.collect()
}

fn expr(expr: &Expr, at: &[usize]) -> Expr {
    expr.map_columns(&|column| at[column])
}

fn exprs(exprs: &[Expr], at: &[usize]) -> Vec<Expr> {
    exprs.iter().map(|e| expr(e, at)).collect()
}

fn sort_keys(keys: &[SortKey], at: &[usize]) -> Vec<SortKey> {
    let key = |key: &SortKey| SortKey {
        expr: expr(&key.expr, at),
        ..key.clone()
    };
    keys.iter().map(key).collect()
}

fn aggregate(aggregate: &Aggregate, at: &[usize]) -> Aggregate {
    Aggregate {
        arg: aggregate.arg.as_ref().map(|arg| expr(arg, at)),
        filter: aggregate.filter.as_ref().map(|filter| expr(filter, at)),
        ..aggregate.clone()
    }
}

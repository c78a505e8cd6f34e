//! A dataflow before there are tables: what it reads, and what each operator is to do.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;

use super::aggregate::Aggregate;
use super::bound::Bound;
use super::group::GroupBy;
use super::map::{Map, column};
use super::path::Of;
use super::whole::{Kitchen, Recipe, Whole};

/// An operator with its inputs. Columns are named by number. Equal plans give the same of the same inputs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    /// Columns of an input, by their numbers in its list.
    Scan {
        input: usize,
        columns: Vec<usize>,
        schema: SchemaRef,
    },
    Map {
        input: Box<Plan>,
        map: Map,
    },
    /// The rows whose key lies within bounds, which move with the clock.
    Timed {
        input: Box<Plan>,
        key: Arc<dyn PhysicalExpr>,
        bounds: Vec<Bound>,
    },
    /// All columns of all inputs, one input after the other.
    Join {
        inputs: Vec<Plan>,
        on: Vec<(Of, Of)>,
        schema: SchemaRef,
    },
    Union {
        inputs: Vec<Plan>,
        schema: SchemaRef,
    },
    Group {
        input: Box<Plan>,
        /// Of each set of groups, the columns that are its keys. What it gives has all keys, then aggregates.
        sets: Vec<Set>,
        aggregates: Vec<Aggregate>,
        schema: SchemaRef,
    },
    Keyed {
        /// With the columns that are the key, in the same order for all.
        inputs: Vec<(Plan, Vec<usize>)>,
        recipe: Recipe,
        /// The output's columns that are the key, where outputs are to be kept.
        remembers: Option<Vec<usize>>,
        schema: SchemaRef,
    },
    First {
        input: Box<Plan>,
        /// Sorts the input's columns, with a mark behind them.
        recipe: Recipe,
        skip: usize,
        fetch: usize,
    },
    EachRow {
        input: Box<Plan>,
        recipe: Recipe,
        /// With the weight behind its columns.
        fed: SchemaRef,
        schema: SchemaRef,
    },
    Single {
        input: Box<Plan>,
        schema: SchemaRef,
    },
    Constant(RecordBatch),
}

/// Groups by some columns, and what is made of its columns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    pub(super) keys: Vec<usize>,
    pub(super) output: Option<Map>,
}

impl Set {
    /// The groups. Their columns are named by number.
    pub(super) fn groups(&self, input: &SchemaRef, aggregates: &[Aggregate]) -> Result<GroupBy> {
        let keys = self.keys.iter();
        let keys = keys.map(|&key| (column(input, key), format!("k{key}")));
        let aggregates = aggregates.iter().enumerate();
        let aggregates = aggregates.map(|(i, aggregate)| (aggregate.clone(), format!("a{i}")));
        GroupBy::new(input, keys.collect(), aggregates.collect())
    }
}

/// Columns of an input, and an index that is needed by them.
pub(super) type Indexes = Vec<BTreeSet<Vec<usize>>>;

impl Plan {
    pub(super) fn schema(&self) -> &SchemaRef {
        match self {
            Self::Map { map, .. } => map.schema(),
            Self::First { input, .. } | Self::Timed { input, .. } => input.schema(),
            Self::Constant(rows) => rows.schema_ref(),
            Self::Scan { schema, .. }
            | Self::Join { schema, .. }
            | Self::Union { schema, .. }
            | Self::Group { schema, .. }
            | Self::Keyed { schema, .. }
            | Self::EachRow { schema, .. }
            | Self::Single { schema, .. } => schema,
        }
    }

    /// The plan with a map over it: one step where the two can be.
    pub(super) fn mapped(self, map: Map) -> Self {
        if let Self::Map { input, map: below } = &self
            && below.is_filter(input.schema())
            && let Some(both) = below.then(&map)
        {
            let (input, map) = (input.clone(), both);
            return Self::Map { input, map };
        }
        let input = Box::new(self);
        Self::Map { input, map }
    }

    /// Only some columns, in this order.
    pub(super) fn columns(self, columns: &[usize]) -> Result<Self> {
        if columns.iter().copied().eq(0..self.schema().fields().len()) {
            return Ok(self);
        }
        let map = Map::columns(self.schema(), columns.iter().copied())?;
        Ok(self.mapped(map))
    }

    /// Where it is an input and what is computed of its rows: the input, and which of its columns these are. None: it has
    /// to be kept to be looked up by them.
    pub(super) fn origins(&self, columns: &[usize]) -> Option<(usize, Vec<usize>)> {
        match self {
            Self::Scan {
                input,
                columns: scanned,
                ..
            } => Some((*input, columns.iter().map(|&i| scanned[i]).collect())),
            Self::Map { input, map } => {
                let columns = columns.iter().map(|&column| map.origin(column));
                input.origins(&columns.collect::<Option<Vec<_>>>()?)
            }
            _ => None,
        }
    }

    /// Where it can be looked up, by each of some lists of columns, in an input: which, and by which of its columns.
    pub(super) fn lookups(&self, by: &[Vec<usize>]) -> Option<(usize, Vec<Vec<usize>>)> {
        let (input, _) = self.origins(&[])?;
        let found = by.iter().map(|columns| {
            let (_, mut found) = self.origins(columns)?;
            found.sort_unstable();
            // Not where one column is to equal two values.
            let is_each = found.windows(2).all(|two| two[0] != two[1]);
            is_each.then_some(found)
        });
        Some((input, found.collect::<Option<_>>()?))
    }

    /// By which columns inputs have to be found.
    pub(super) fn indexes(&self, found: &mut Indexes) {
        let mut need = |plan: &Self, by: &[Vec<usize>]| {
            if let Some((input, by)) = plan.lookups(by) {
                found[input].extend(by.into_iter().filter(|columns| !columns.is_empty()));
            }
        };
        match self {
            Self::Join { inputs, on, .. } => {
                let inputs = inputs.iter().enumerate();
                inputs.for_each(|(i, input)| need(input, &partners(i, on)));
            }
            Self::Keyed { inputs, .. } => {
                let inputs = inputs.iter();
                inputs.for_each(|(input, columns)| need(input, std::slice::from_ref(columns)));
            }
            _ => {}
        }
        self.inputs()
            .into_iter()
            .for_each(|input| input.indexes(found));
    }

    /// Whether DataFusion can run all that is left to it: found out when a view is defined, not when it is started.
    pub(super) fn check(&self, kitchen: &Kitchen) -> Result<()> {
        if let Self::Keyed { recipe, .. }
        | Self::First { recipe, .. }
        | Self::EachRow { recipe, .. } = self
        {
            Whole::new(recipe, kitchen)?;
        }
        let mut inputs = self.inputs().into_iter();
        inputs.try_for_each(|input| input.check(kitchen))
    }

    /// Whether it changes as time passes.
    pub(super) fn is_timed(&self) -> bool {
        matches!(self, Self::Timed { .. }) || self.inputs().into_iter().any(Self::is_timed)
    }

    /// Whether its operator has something to remember, beside what its inputs have.
    pub(super) fn keeps_state(&self) -> bool {
        match self {
            Self::Timed { .. } | Self::Group { .. } | Self::Keyed { .. } => true,
            Self::First { .. } | Self::Single { .. } => true,
            Self::Scan { .. } | Self::Map { .. } | Self::EachRow { .. } => false,
            Self::Join { .. } | Self::Union { .. } | Self::Constant(_) => false,
        }
    }

    fn inputs(&self) -> Vec<&Self> {
        match self {
            Self::Scan { .. } | Self::Constant(_) => Vec::new(),
            Self::Map { input, .. }
            | Self::Timed { input, .. }
            | Self::Group { input, .. }
            | Self::EachRow { input, .. }
            | Self::First { input, .. }
            | Self::Single { input, .. } => vec![input],
            Self::Join { inputs, .. } | Self::Union { inputs, .. } => inputs.iter().collect(),
            Self::Keyed { inputs, .. } => inputs.iter().map(|(input, _)| input).collect(),
        }
    }
}

/// Of an input of a join, the columns by which each of the others finds it.
pub(super) fn partners(input: usize, on: &[(Of, Of)]) -> Vec<Vec<usize>> {
    let both = on.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
    let links: Vec<(Of, Of)> = both.filter(|(a, _)| a.0 == input).collect();
    let others: BTreeSet<usize> = links.iter().map(|(_, b)| b.0).collect();
    let columns = others.into_iter().map(|other| {
        let of = links.iter().filter(|(_, b)| b.0 == other);
        let columns: BTreeSet<usize> = of.map(|(a, _)| a.1).collect();
        columns.into_iter().collect()
    });
    columns.collect()
}

//! Windows by what they partition by, and the first rows of an order.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as Done};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, FetchType, Limit, LogicalPlan, SkipType, Sort, Window};

use super::super::plan::Plan;
use super::super::whole::Recipe;
use super::aggregates::Computed;
use super::{Compiler, Result, refusals};

impl Compiler<'_> {
    pub(super) fn window(&mut self, node: &Window) -> Result<Plan> {
        let input = self.plan(&node.input)?;
        let mut computed = Computed::default();
        // First the input's columns, as the output has them.
        let columns = node.input.schema().columns();
        let own: Vec<usize> = columns
            .iter()
            .map(|column| computed.number(Expr::Column(column.clone())))
            .collect();
        let mut keys: Option<Vec<usize>> = None;
        let mut exprs = Vec::new();
        for (i, expr) in node.window_expr.iter().enumerate() {
            let expr = expr.clone().unalias().transform(|expr| {
                let Expr::WindowFunction(mut call) = expr else {
                    return Ok(Transformed::no(expr));
                };
                let partition = partition(&mut call, &mut computed);
                keys = Some(match keys.take() {
                    None => partition,
                    Some(keys) => keys
                        .into_iter()
                        .filter(|key| partition.contains(key))
                        .collect(),
                });
                Ok(Transformed::yes(Expr::WindowFunction(call)))
            })?;
            exprs.push(expr.data.alias(format!("w{i}")));
        }
        let key = keys.unwrap_or_default();
        let (below, named) = computed.over(self, input, node.input.schema())?;
        let width = below.schema().fields().len();
        let recipe = Recipe::new(&[Arc::new(named)], |inputs| {
            let input = Arc::new(inputs.into_iter().next().expect("there is one"));
            Ok(LogicalPlan::Window(Window::try_new(exprs, input)?))
        })?;
        let plan = Plan::Keyed {
            inputs: vec![(below, key.clone())],
            schema: recipe.schema(),
            recipe,
            // Of rows that are peers one may come before the other in one run and behind it in the next.
            remembers: Some(key),
        };
        let kept = own.into_iter().chain(width..width + node.window_expr.len());
        Ok(plan.columns(&kept.collect::<Vec<_>>())?)
    }

    /// The first rows by what is computed beside the input's columns.
    fn first(&self, sort: &Sort, input: Plan, skip: usize, fetch: usize) -> Done<Plan> {
        let mut computed = Computed::default();
        let columns = sort.input.schema().columns().into_iter();
        let own = columns.map(|column| computed.number(Expr::Column(column)));
        let own: Vec<usize> = own.collect();
        let keys = computed.sorts(sort.expr.clone());
        let (below, named) = computed.over(self, input, sort.input.schema())?;
        let mark = Arc::new(Field::new("__mark", DataType::Boolean, false));
        let fields = named.fields().iter().cloned().chain([mark]);
        let fields = fields.map(|field| (None, field)).collect();
        let marked = DFSchema::new_with_metadata(fields, Default::default())?;
        let recipe = Recipe::new(&[Arc::new(marked)], |inputs| {
            let input = Arc::new(inputs.into_iter().next().expect("there is one"));
            Ok(LogicalPlan::Sort(Sort {
                expr: keys,
                input,
                fetch: None,
            }))
        })?;
        let first = Plan::First {
            input: Box::new(below),
            recipe,
            skip,
            fetch,
        };
        first.columns(&own)
    }

    /// An order matters only to what takes the first rows of it.
    pub(super) fn ordered(&mut self, plan: &LogicalPlan) -> Result<Plan> {
        match plan {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.plan(&sort.input),
            LogicalPlan::Sort(sort) => self.first_rows(sort, None),
            LogicalPlan::Limit(limit) => self.limited(limit, &limit.input),
            other => self.plan(other),
        }
    }

    /// A limit over an order, perhaps with projections between the two: these are computed of the rows that are left.
    fn limited(&mut self, limit: &Limit, below: &LogicalPlan) -> Result<Plan> {
        match below {
            LogicalPlan::Sort(sort) => self.first_rows(sort, Some(limit)),
            LogicalPlan::SubqueryAlias(alias) => self.limited(limit, &alias.input),
            LogicalPlan::Projection(projection) => {
                let input = self.limited(limit, &projection.input)?;
                let fields = projection.schema.fields().iter();
                let names = fields.map(|field| field.name().clone());
                let named = projection.input.schema();
                let map = self.projected(&projection.expr, names, named, input.schema())?;
                Ok(input.mapped(map))
            }
            _ => refusals::limit(),
        }
    }

    fn first_rows(&mut self, sort: &Sort, limit: Option<&Limit>) -> Result<Plan> {
        let input = self.plan(&sort.input)?;
        if let Some((skip, fetch)) = bounds(sort, limit)
            && !input.schema().fields().is_empty()
        {
            return Ok(self.first(sort, input, skip, fetch)?);
        }
        let recipe = Recipe::new(&[sort.input.schema().clone()], |inputs| {
            let input = Arc::new(inputs.into_iter().next().expect("there is one"));
            let sorted = LogicalPlan::Sort(Sort {
                input,
                ..sort.clone()
            });
            Ok(match limit {
                None => sorted,
                Some(limit) => LogicalPlan::Limit(Limit {
                    input: Arc::new(sorted),
                    ..limit.clone()
                }),
            })
        })?;
        Ok(Plan::Keyed {
            inputs: vec![(input, Vec::new())],
            schema: recipe.schema(),
            recipe,
            remembers: Some(Vec::new()),
        })
    }
}

/// How many rows are skipped, and how many taken then; None if it is all.
fn bounds(sort: &Sort, limit: Option<&Limit>) -> Option<(usize, usize)> {
    let Some(limit) = limit else {
        return Some((0, sort.fetch?));
    };
    let Ok(SkipType::Literal(skip)) = limit.get_skip_type() else {
        return None;
    };
    let Ok(FetchType::Literal(fetch)) = limit.get_fetch_type() else {
        return None;
    };
    let sorted = sort.fetch.map(|rows| rows.saturating_sub(skip));
    let fetch = fetch.into_iter().chain(sorted).min()?;
    Some((skip, fetch))
}

/// A window function of columns, and those it partitions by.
fn partition(call: &mut WindowFunction, computed: &mut Computed) -> Vec<usize> {
    let params = &mut call.params;
    let mut keys = Vec::new();
    let partition_by = std::mem::take(&mut params.partition_by).into_iter();
    let partition_by = partition_by.filter(|expr| !expr.column_refs().is_empty());
    params.partition_by = partition_by
        .map(|expr| {
            let key = computed.number(expr.clone());
            if !keys.contains(&key) {
                keys.push(key);
            }
            computed.column(expr)
        })
        .collect();
    let args = std::mem::take(&mut params.args).into_iter();
    params.args = args.map(|arg| computed.argument(arg)).collect();
    params.order_by = computed.sorts(std::mem::take(&mut params.order_by));
    let filter = params.filter.take();
    params.filter = filter.map(|filter| Box::new(computed.argument(*filter)));
    keys
}

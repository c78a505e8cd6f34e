//! Groups: by the change alone where all aggregates are sums, or read off a group's values in order; else each as a whole.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Column, DFSchema, Result as Done, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, grouping_set_to_exprlist};
use datafusion::logical_expr::{Aggregate as Node, Expr, GroupingSet, LogicalPlan, when};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use super::super::aggregate::Aggregate;
use super::super::map::{Map, column};
use super::super::plan::{Plan, Set};
use super::super::values::is_ordered;
use super::super::whole::Recipe;
use super::{Compiler, Result};
use crate::exact::Running;

/// Expressions computed below a node, as columns of its own.
#[derive(Default)]
pub(super) struct Computed {
    exprs: Vec<Expr>,
}

/// An aggregate by the change alone, of what.
enum Linear {
    Rows,
    Of(Expr, fn(Arc<dyn PhysicalExpr>) -> Aggregate),
    Floats(Expr, Running),
}

impl Computed {
    /// The number of the column that has an expression's value.
    pub(super) fn number(&mut self, expr: Expr) -> usize {
        let known = self.exprs.iter().position(|known| *known == expr);
        known.unwrap_or_else(|| {
            self.exprs.push(expr);
            self.exprs.len() - 1
        })
    }

    /// The column, by the name that it has.
    pub(super) fn column(&mut self, expr: Expr) -> Expr {
        Expr::Column(Column::new_unqualified(name(self.number(expr))))
    }

    /// The same for what a function is computed of: constants stay, since some functions ask for them.
    pub(super) fn argument(&mut self, expr: Expr) -> Expr {
        match expr.column_refs().is_empty() {
            true => expr,
            false => self.column(expr),
        }
    }

    pub(super) fn sorts(&mut self, sorts: Vec<Sort>) -> Vec<Sort> {
        let sorts = sorts.into_iter();
        let sorts = sorts.map(|sort| Sort {
            expr: self.argument(sort.expr),
            ..sort
        });
        sorts.collect()
    }

    /// The plan that computes them of `input`, and its columns.
    pub(super) fn over(
        self,
        compiler: &Compiler,
        input: Plan,
        named: &DFSchema,
    ) -> Done<(Plan, DFSchema)> {
        let names = (0..self.exprs.len()).map(name);
        let map = compiler.projected(&self.exprs, names, named, input.schema())?;
        let schema = DFSchema::try_from(map.schema().as_ref().clone())?;
        Ok((input.mapped(map), schema))
    }
}

fn name(number: usize) -> String {
    format!("c{number}")
}

impl Compiler<'_> {
    pub(super) fn aggregate(&mut self, node: &Node) -> Result<Plan> {
        let input = self.plan(&node.input)?;
        match linear(node)? {
            Some(linear) => Ok(self.linear(node, input, linear)?),
            None => Ok(self.whole_groups(node, input)?),
        }
    }

    fn linear(&self, node: &Node, input: Plan, linear: Vec<Linear>) -> Done<Plan> {
        let mut computed = Computed::default();
        // Each key has a column of its own, as the output has.
        let keys = grouping_set_to_exprlist(&node.group_expr)?;
        computed.exprs.extend(keys.iter().map(|key| (*key).clone()));
        let places = linear.iter().map(|aggregate| match aggregate {
            Linear::Rows => 0,
            Linear::Of(x, _) | Linear::Floats(x, _) => computed.number(x.clone()),
        });
        let places: Vec<usize> = places.collect();
        let (below, _) = computed.over(self, input, node.input.schema())?;
        let of = below.schema().clone();
        let aggregates = places
            .into_iter()
            .zip(linear)
            .map(|(place, aggregate)| match aggregate {
                Linear::Rows => Aggregate::rows(),
                Linear::Of(_, aggregate) => aggregate(column(&of, place)),
                Linear::Floats(_, running) => Aggregate::floats(column(&of, place), running),
            });
        let aggregates: Vec<Aggregate> = aggregates.collect();
        let schema = node.schema.inner().clone();
        let sets = match &node.group_expr[..] {
            [Expr::GroupingSet(set)] => {
                let mut before: Vec<Vec<usize>> = Vec::new();
                let sets = each_set(set).into_iter().map(|set| {
                    let place = |expr: &Expr| keys.iter().position(|key| *key == expr);
                    let mut set: Vec<usize> = set.iter().filter_map(place).collect();
                    set.sort_unstable();
                    set.dedup();
                    let ordinal = before.iter().filter(|other| **other == set).count();
                    before.push(set.clone());
                    let of = (&of, &aggregates[..]);
                    nulled(set, keys.len(), ordinal, of, &schema)
                });
                sets.collect::<Done<_>>()?
            }
            _ => vec![Set {
                keys: (0..keys.len()).collect(),
                output: None,
            }],
        };
        Ok(Plan::Group {
            input: Box::new(below),
            sets,
            aggregates,
            schema,
        })
    }

    /// Groups computed by DataFusion; of grouping sets, by what all of them group by.
    fn whole_groups(&self, node: &Node, input: Plan) -> Done<Plan> {
        let mut computed = Computed::default();
        let mut key = None;
        let groups = node.group_expr.iter().cloned().map(|expr| match expr {
            Expr::GroupingSet(set) => {
                let set = sets(set, &mut computed);
                key = Some(common(&set, &mut computed));
                Expr::GroupingSet(set)
            }
            expr => computed.column(expr),
        });
        let groups: Vec<Expr> = groups.collect();
        let key = key.unwrap_or_else(|| {
            let columns = node.group_expr.iter().cloned();
            let mut columns: Vec<usize> = columns.map(|expr| computed.number(expr)).collect();
            let mut seen = Vec::new();
            columns.retain(|column| {
                !seen.contains(column) && {
                    seen.push(*column);
                    true
                }
            });
            columns
        });
        let mut is_ordered = false;
        let aggregates = node.aggr_expr.iter().enumerate().map(|(i, expr)| {
            let Expr::AggregateFunction(call) = expr.clone().unalias() else {
                return datafusion::common::plan_err!("an aggregate that is none");
            };
            is_ordered |= !call.params.order_by.is_empty()
                || call.func.order_sensitivity() != AggregateOrderSensitivity::Insensitive
                || is_inexact(&call);
            Ok(with_columns(call, &mut computed).alias(format!("a{i}")))
        });
        let aggregates = aggregates.collect::<Done<Vec<Expr>>>()?;
        let (below, named) = computed.over(self, input, node.input.schema())?;
        let recipe = Recipe::new(&[Arc::new(named)], |inputs| {
            let input = Arc::new(inputs.into_iter().next().expect("there is one"));
            Ok(LogicalPlan::Aggregate(Node::try_new(
                input, groups, aggregates,
            )?))
        })?;
        // The output's columns that are the key: those of plain groups are its first, in their order.
        let is_plain = !matches!(node.group_expr[..], [Expr::GroupingSet(_)]);
        let is_each = is_plain && key.len() == node.group_expr.len();
        let (key, remembers) = match (is_ordered, is_each) {
            (false, _) => (key, None),
            (true, true) => {
                let columns = (0..key.len()).collect();
                (key, Some(columns))
            }
            (true, false) => (Vec::new(), Some(Vec::new())),
        };
        Ok(Plan::Keyed {
            inputs: vec![(below, key)],
            schema: recipe.schema(),
            recipe,
            remembers,
        })
    }
}

/// The groups of one of several sets: keys that it does not have are NULL, and a number says which these are.
fn nulled(
    keys: Vec<usize>,
    all: usize,
    ordinal: usize,
    (input, aggregates): (&SchemaRef, &[Aggregate]),
    schema: &SchemaRef,
) -> Done<Set> {
    let mut set = Set { keys, output: None };
    let given = set.groups(input, aggregates)?.schema().clone();
    let mut exprs: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    let mut number = ordinal as u64;
    for key in 0..all {
        let place = set.keys.iter().position(|of| *of == key);
        number = number << 1 | u64::from(place.is_none());
        exprs.push(match place {
            Some(place) => column(&given, place),
            None => literal(ScalarValue::try_from(schema.field(key).data_type())?),
        });
    }
    let number = ScalarValue::from(number).cast_to(schema.field(all).data_type())?;
    exprs.push(literal(number));
    let first = set.keys.len();
    exprs.extend((0..aggregates.len()).map(|i| column(&given, first + i)));
    let names = schema.fields().iter().map(|field| field.name().clone());
    set.output = Some(Map::new(
        &given,
        None,
        exprs.into_iter().zip(names).collect(),
    )?);
    Ok(set)
}

fn each_set(set: &GroupingSet) -> Vec<Vec<Expr>> {
    match set {
        GroupingSet::Rollup(exprs) => {
            let lens = (0..=exprs.len()).rev();
            lens.map(|len| exprs[..len].to_vec()).collect()
        }
        GroupingSet::Cube(exprs) => {
            let subsets = 0..1usize << exprs.len();
            let subset = |bits: usize| {
                let members = exprs.iter().enumerate();
                let members = members.filter(|(i, _)| bits >> i & 1 == 1);
                members.map(|(_, expr)| expr.clone()).collect()
            };
            subsets.map(subset).collect()
        }
        GroupingSet::GroupingSets(sets) => sets.clone(),
    }
}

fn literal(value: ScalarValue) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(value))
}

/// All of a node's aggregates, if each is one by the change alone.
fn linear(node: &Node) -> Done<Option<Vec<Linear>>> {
    let first = node.schema.fields().len() - node.aggr_expr.len();
    let calls = node.aggr_expr.iter().zip(first..);
    let mut found = Vec::new();
    for (expr, place) in calls {
        let Expr::AggregateFunction(call) = expr.clone().unalias() else {
            return Ok(None);
        };
        let params = &call.params;
        let is_plain = params.order_by.is_empty() && params.null_treatment.is_none();
        let [argument] = &params.args[..] else {
            return Ok(None);
        };
        if !is_plain {
            return Ok(None);
        }
        let passed = || match &params.filter {
            None => Ok(argument.clone()),
            Some(filter) => when((**filter).clone(), argument.clone()).end(),
        };
        let data_type = {
            use datafusion::logical_expr::ExprSchemable;
            argument.get_type(node.input.schema())?
        };
        let output = node.schema.field(place).data_type();
        let is_one_of_them = is_ordered(&data_type) && *output == data_type;
        found.push(match (call.func.name(), params.distinct) {
            ("min" | "bool_and", _) if is_one_of_them => Linear::Of(passed()?, Aggregate::min),
            ("max" | "bool_or", _) if is_one_of_them => Linear::Of(passed()?, Aggregate::max),
            ("count", true) if is_ordered(&data_type) => {
                Linear::Of(passed()?, |x| Aggregate::count(x).distinct())
            }
            ("sum", true) if Aggregate::sums(&data_type) => {
                Linear::Of(passed()?, |x| Aggregate::sum(x).distinct())
            }
            (_, true) => return Ok(None),
            ("count", false) => match (argument, &params.filter) {
                (Expr::Literal(value, _), None) if !value.is_null() => Linear::Rows,
                _ => Linear::Of(passed()?, Aggregate::count),
            },
            ("sum", false) if Aggregate::sums(&data_type) => Linear::Of(passed()?, Aggregate::sum),
            (_, false) if data_type.is_floating() && output.is_floating() => {
                match Running::of(&call.func) {
                    Some(running) => Linear::Floats(passed()?, running),
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        });
    }
    Ok(Some(found))
}

/// An aggregate of columns. Rows that its filter drops are not evaluated.
fn with_columns(mut call: AggregateFunction, computed: &mut Computed) -> Expr {
    let params = &mut call.params;
    let filter = params.filter.take();
    let passed = |expr: Expr| match &filter {
        Some(filter) if !expr.column_refs().is_empty() => {
            when((**filter).clone(), expr.clone()).end().unwrap_or(expr)
        }
        _ => expr,
    };
    let args = std::mem::take(&mut params.args).into_iter();
    params.args = args.map(|arg| computed.argument(passed(arg))).collect();
    let sorts = std::mem::take(&mut params.order_by).into_iter();
    let sorts = sorts.map(|sort| Sort {
        expr: passed(sort.expr),
        ..sort
    });
    params.order_by = computed.sorts(sorts.collect());
    params.filter = filter.map(|filter| Box::new(computed.column(*filter)));
    Expr::AggregateFunction(call)
}

/// Whether an aggregate's last digits depend on the order of rows.
fn is_inexact(call: &AggregateFunction) -> bool {
    let name = call.func.name();
    !matches!(
        name,
        "count" | "sum" | "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or" | "bit_xor"
    ) && Running::of(&call.func).is_none()
}

fn sets(set: GroupingSet, computed: &mut Computed) -> GroupingSet {
    let mut all = |exprs: Vec<Expr>| -> Vec<Expr> {
        let exprs = exprs.into_iter();
        exprs.map(|expr| computed.column(expr)).collect()
    };
    match set {
        GroupingSet::Rollup(exprs) => GroupingSet::Rollup(all(exprs)),
        GroupingSet::Cube(exprs) => GroupingSet::Cube(all(exprs)),
        GroupingSet::GroupingSets(sets) => {
            GroupingSet::GroupingSets(sets.into_iter().map(all).collect())
        }
    }
}

/// What all of some sets group by.
fn common(set: &GroupingSet, computed: &mut Computed) -> Vec<usize> {
    let GroupingSet::GroupingSets(sets) = set else {
        return Vec::new();
    };
    let Some((first, rest)) = sets.split_first() else {
        return Vec::new();
    };
    let shared = first.iter();
    let shared = shared.filter(|expr| rest.iter().all(|set| set.contains(expr)));
    let mut columns: Vec<usize> = Vec::new();
    for expr in shared {
        // They are columns by now, named by their numbers.
        let place = (0..computed.exprs.len())
            .find(|&i| matches!(expr, Expr::Column(column) if column.name == name(i)));
        columns.extend(place.filter(|place| !columns.contains(place)));
    }
    columns
}

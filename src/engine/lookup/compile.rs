//! Which optimized plans are lookups, and the steps that each of them takes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::datasource::source_as_provider;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, FetchType, LogicalPlan, Operator, Projection, SkipType, Sort,
    TableScan,
};

use super::super::typed;
use super::steps::{Computed, Condition, Is, Open, Probe, Step, Value, Way};
use crate::access::Barrier;
use crate::views::{CopyTable, is_counted};

/// The views that steps read, by their numbers.
pub struct Compiler<'a> {
    pub views: Vec<CopyTable>,
    pub state: &'a SessionState,
}

impl Compiler<'_> {
    /// None: rows of it are not found by keys, or it has a node that no step is for.
    pub fn step(&mut self, node: &LogicalPlan) -> Option<Step> {
        if let Some((scan, conditions)) = filtered_scan(node) {
            return self.probe(scan, &conditions).map(Step::Probe);
        }
        match node {
            LogicalPlan::Join(join) => self.join(join).map(|join| Step::Join(Box::new(join))),
            _ => self.above(node, |this, input| this.step(input)),
        }
    }

    /// A step over that of its input, as `of` has it.
    pub(super) fn above(
        &mut self,
        node: &LogicalPlan,
        of: impl FnOnce(&mut Self, &LogicalPlan) -> Option<Step>,
    ) -> Option<Step> {
        match node {
            LogicalPlan::SubqueryAlias(alias) => of(self, &alias.input),
            // Steps are taken one after another: what is above it is asked of the rows that it lets through.
            LogicalPlan::Extension(_) => of(self, &Barrier::of(node)?.input),
            LogicalPlan::Projection(projection) => {
                let input = of(self, &projection.input)?;
                self.projected(input, projection)
            }
            LogicalPlan::Filter(filter) => {
                let input = Box::new(of(self, &filter.input)?);
                let predicate = self.computed(&filter.predicate, filter.input.schema())?;
                Some(Step::Filter { input, predicate })
            }
            LogicalPlan::Sort(Sort { expr, input, fetch }) => {
                let step = Box::new(of(self, input)?);
                let by = expr.iter().map(|by| {
                    let options = SortOptions {
                        descending: !by.asc,
                        nulls_first: by.nulls_first,
                    };
                    let data_type = by.expr.get_type(input.schema()).ok()?;
                    let is_plain = is_told_by_bytes(&data_type) || data_type.is_floating();
                    let computed = self.computed(&by.expr, input.schema());
                    Some((computed.filter(|_| is_plain)?, options))
                });
                Some(Step::Sort {
                    by: by.collect::<Option<_>>()?,
                    input: step,
                    fetch: *fetch,
                })
            }
            LogicalPlan::Limit(limit) => {
                let input = Box::new(of(self, &limit.input)?);
                match (limit.get_skip_type().ok()?, limit.get_fetch_type().ok()?) {
                    (SkipType::Literal(skip), FetchType::Literal(fetch)) => {
                        Some(Step::Limit { input, skip, fetch })
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn projected(&mut self, input: Step, projection: &Projection) -> Option<Step> {
        let columns = projection.expr.iter();
        let columns = columns.map(|expr| self.computed(expr, projection.input.schema()));
        let columns: Vec<Computed> = columns.collect::<Option<_>>()?;
        let schema = Arc::clone(projection.schema.inner());
        let places = columns.iter().map(|column| match column {
            Computed::Column(column) => Some(*column),
            _ => None,
        });
        let places: Option<Vec<usize>> = places.collect();
        match (input, places) {
            // Other columns need not be gathered.
            (Step::Probe(probe), Some(places))
                if !places.is_empty() && probe.ways.iter().all(|way| way.rest.is_none()) =>
            {
                Some(Step::Probe(Probe {
                    columns: places.iter().map(|&place| probe.columns[place]).collect(),
                    schema: Arc::new(probe.schema.project(&places).ok()?),
                    ..probe
                }))
            }
            (input, _) => Some(Step::Project {
                input: Box::new(input),
                columns,
                schema,
            }),
        }
    }

    fn probe(&mut self, scan: &TableScan, conditions: &[&Expr]) -> Option<Probe> {
        let schema = &scan.projected_schema;
        let (table, columns) = copy(scan)?;
        let mut found: Vec<Condition> = Vec::new();
        // The condition that each of them is part of.
        let mut of = Vec::with_capacity(conditions.len());
        for expr in conditions {
            let condition = self.condition(expr, &|name| {
                let column = table.schema.index_of(name).ok()?;
                is_told_by_bytes(table.schema.field(column).data_type()).then_some(column)
            });
            of.push(condition.and_then(|new| add(&mut found, new)));
        }
        let mut ways: Vec<Way> = Vec::new();
        for index in table.ways() {
            let by = index.iter().map(|column| {
                let data_type = table.schema.field(*column).data_type();
                let tells = |one: &Condition| one.column == *column && one.tells_values(data_type);
                found.iter().position(tells)
            });
            let Some(by) = by.collect::<Option<Vec<usize>>>() else {
                continue;
            };
            let rest = conditions.iter().zip(&of);
            let rest = rest.filter(|(_, of)| of.is_none_or(|of| !by.contains(&of)));
            let rest = conjunction(rest.map(|(expr, _)| (*expr).clone()));
            let rest = match rest {
                Some(rest) => Some(self.computed(&rest, schema)?),
                None => None,
            };
            ways.push(Way {
                columns: index.to_vec(),
                by,
                rest,
            });
        }
        if ways.is_empty() {
            return None;
        }
        // The one with most columns leaves fewest rows, and lists of values are shorter than ranges.
        let ranges = |way: &Way| {
            let by = way.by.iter();
            by.filter(|by| matches!(found[**by].is, Is::Within(_)))
                .count()
        };
        ways.sort_by_key(|way| (Reverse(way.columns.len()), ranges(way)));
        Some(Probe {
            view: self.view(&table),
            schema: Arc::new(table.schema.project(&columns).ok()?),
            table,
            columns,
            conditions: found,
            ways,
        })
    }

    pub(super) fn view(&mut self, table: &CopyTable) -> usize {
        let known = self.views.iter().position(|view| view.id == table.id);
        let number = known.unwrap_or(self.views.len());
        match known {
            // It is read by views that say other things of its age.
            Some(number) => {
                let known = &mut self.views[number];
                known.contract = known.contract.clone().bounded(table.contract.bounds());
            }
            None => self.views.push(table.clone()),
        }
        number
    }

    pub(super) fn computed(&self, expr: &Expr, schema: &DFSchemaRef) -> Option<Computed> {
        let expr = expr.clone().unalias_nested().data;
        if let Expr::Column(column) = &expr {
            return schema.maybe_index_of_column(column).map(Computed::Column);
        }
        let (mut is_open, mut is_other) = (false, expr.is_volatile() || expr.contains_outer());
        let looked_at = expr.apply(|expr| {
            match expr {
                Expr::Placeholder(placeholder) => {
                    is_open = true;
                    // What it was planned as may not be what its value is.
                    is_other |= placeholder.field.is_none();
                }
                Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_) => is_other = true,
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
        looked_at.ok()?;
        if is_other {
            return None;
        }
        let open = Open {
            expr,
            schema: schema.clone(),
            props: self.state.execution_props().clone(),
        };
        match is_open {
            true => Some(Computed::Open(Arc::new(open))),
            false => open.with(&HashMap::new()).ok().map(Computed::Known),
        }
    }

    /// What is the same for all rows.
    fn constant(&self, expr: &Expr) -> Option<Value> {
        match expr {
            Expr::Literal(value, _) => Some(Value::Is(value.clone())),
            Expr::Placeholder(placeholder) => {
                Some(Value::Of(typed::bare(&placeholder.id).to_string()))
            }
            _ if expr.any_column_refs() => None,
            _ => match self.computed(expr, &Arc::new(DFSchema::empty()))? {
                Computed::Open(open) => Some(Value::Computed(open)),
                _ => None,
            },
        }
    }

    /// What a condition says of one column, which `of` numbers by its name.
    fn condition(&self, expr: &Expr, of: &impl Fn(&str) -> Option<usize>) -> Option<Condition> {
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::Or,
                right,
            }) => {
                let (one, other) = (self.condition(left, of)?, self.condition(right, of)?);
                match (one.is, other.is) {
                    (Is::OneOf(mut values), Is::OneOf(more)) if one.column == other.column => {
                        values.extend(more);
                        Some(Condition {
                            column: one.column,
                            is: Is::OneOf(values),
                        })
                    }
                    _ => None,
                }
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let (column, op, value) = match (named(left), named(right)) {
                    (Some(column), None) => (column, *op, self.constant(right)?),
                    (None, Some(column)) => (column, op.swap()?, self.constant(left)?),
                    _ => return None,
                };
                let is = match op {
                    Operator::Eq => Is::OneOf(vec![value]),
                    Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                        Is::Within(vec![(op, value)])
                    }
                    _ => return None,
                };
                let column = of(column)?;
                Some(Condition { column, is })
            }
            Expr::InList(list) if !list.negated => {
                let values = list.list.iter().map(|value| self.constant(value));
                Some(Condition {
                    column: of(named(&list.expr)?)?,
                    is: Is::OneOf(values.collect::<Option<_>>()?),
                })
            }
            _ => None,
        }
    }
}

impl Condition {
    /// Whether it may say which values a column of this type has.
    fn tells_values(&self, data_type: &DataType) -> bool {
        let Is::Within(limits) = &self.is else {
            return true;
        };
        let has = |ops: [Operator; 2]| limits.iter().any(|(op, _)| ops.contains(op));
        is_counted(data_type)
            && has([Operator::Gt, Operator::GtEq])
            && has([Operator::Lt, Operator::LtEq])
    }
}

/// Take another condition to those that there are: the number of that which it is part of. None: another says already what its column is.
fn add(found: &mut Vec<Condition>, new: Condition) -> Option<usize> {
    let known = found.iter().position(|one| one.column == new.column);
    let Some(known) = known else {
        found.push(new);
        return Some(found.len() - 1);
    };
    match (&mut found[known].is, new.is) {
        (Is::Within(limits), Is::Within(more)) => {
            limits.extend(more);
            Some(known)
        }
        _ => None,
    }
}

/// A view that is read as it is when the statement runs, and its columns that a scan has.
pub(super) fn copy(scan: &TableScan) -> Option<(CopyTable, Vec<usize>)> {
    let provider = source_as_provider(&scan.source).ok()?;
    let mut table = provider.downcast_ref::<CopyTable>()?.clone();
    if table.is_fixed || scan.fetch.is_some() {
        return None;
    }
    // What is shown of it is found anew at each execution.
    table.shown = None;
    let all = || (0..table.schema.fields().len()).collect();
    let columns = scan.projection.clone().unwrap_or_else(all);
    (!columns.is_empty()).then_some((table, columns))
}

/// A scan, and the conditions right above it.
fn filtered_scan(node: &LogicalPlan) -> Option<(&TableScan, Vec<&Expr>)> {
    match node {
        LogicalPlan::Filter(filter) => {
            let (scan, mut conditions) = filtered_scan(&filter.input)?;
            conditions.extend(split_conjunction(&filter.predicate));
            Some((scan, conditions))
        }
        LogicalPlan::TableScan(scan) => Some((scan, Vec::new())),
        _ => None,
    }
}

fn named(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// Whether two values of a type are equal just where their bytes are: floats are not (`0.0 = -0.0`), and what has parts may have
/// floats in it.
pub(super) fn is_told_by_bytes(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_string()
        || data_type.is_decimal()
        || data_type.is_temporal()
        || matches!(data_type, DataType::Boolean)
}

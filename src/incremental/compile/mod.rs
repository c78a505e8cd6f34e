//! DataFusion's logical plan → the dataflow's.
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | [`Compiler`]: tables, filters, projections, unions |
//! | `times.rs` | filters by the clock |
//! | `refusals.rs` | what cannot be kept, and why |
//! | `subqueries.rs` | subqueries in the place of values, as joins |
//! | `joins.rs` | joins: of many tables at once, and by whole keys |
//! | `aggregates.rs` | groups: by the change alone, or as a whole |
//! | `orders.rs` | windows, and first rows |
//! | `wholes.rs` | recursion, and what DataFusion computes of each row |

mod aggregates;
mod joins;
mod orders;
mod refusals;
mod subqueries;
mod times;
mod wholes;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::ResolvedTableReference;
use datafusion::common::{DFSchema, DataFusionError, Result as Done};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::compiled::{Input, Refused};
use super::map::Map;
use super::plan::{Indexes, Plan, Set};
use super::whole::Recipe;
use crate::access::Barrier;
use crate::store::batch;

type Result<T, E = Refused> = std::result::Result<T, E>;

/// What is known of a plan that is being compiled.
pub(super) struct Compiler<'a> {
    state: &'a SessionState,
    tables: Vec<Table>,
}

struct Table {
    name: ResolvedTableReference,
    columns: Vec<String>,
}

fn refused<T>(operator: impl Into<String>, reason: impl Into<String>) -> Result<T> {
    Err(Refused {
        operator: operator.into(),
        reason: reason.into(),
    })
}

impl<'a> Compiler<'a> {
    pub(super) fn new(state: &'a SessionState) -> Self {
        let tables = Vec::new();
        Self { state, tables }
    }

    /// All of a query.
    pub(super) fn query(&mut self, plan: &LogicalPlan) -> Result<Plan> {
        refusals::check(plan)?;
        let plan = subqueries::joined(plan.clone())?;
        self.plan(&plan)
    }

    /// What a compiled plan reads.
    pub(super) fn inputs(&self, plan: &Plan) -> Vec<Input> {
        let mut indexes: Indexes = vec![BTreeSet::new(); self.tables.len()];
        plan.indexes(&mut indexes);
        let inputs = self.tables.iter().zip(indexes).map(|(table, indexes)| {
            let name = |i: usize| table.columns[i].clone();
            let named = |columns: Vec<usize>| columns.into_iter().map(name).collect();
            Input {
                table: table.name.clone(),
                columns: table.columns.clone(),
                indexes: indexes.into_iter().map(named).collect(),
            }
        });
        inputs.collect()
    }

    fn plan(&mut self, plan: &LogicalPlan) -> Result<Plan> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input),
            LogicalPlan::Subquery(subquery) => self.plan(&subquery.subquery),
            LogicalPlan::Repartition(repartition) => self.plan(&repartition.input),
            LogicalPlan::Filter(filter) => {
                let input = self.plan(&filter.input)?;
                self.filtered(input, &filter.predicate, filter.input.schema())
            }
            LogicalPlan::Projection(projection) => {
                let input = self.plan(&projection.input)?;
                let fields = projection.schema.fields().iter();
                let names = fields.map(|field| field.name().clone());
                let map = self.projected(
                    &projection.expr,
                    names,
                    projection.input.schema(),
                    input.schema(),
                )?;
                Ok(input.mapped(map))
            }
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|input| self.plan(input));
                Ok(Plan::Union {
                    inputs: inputs.collect::<Result<_>>()?,
                    schema: union.schema.inner().clone(),
                })
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let input = self.plan(input)?;
                let schema = input.schema().clone();
                Ok(Plan::Group {
                    input: Box::new(input),
                    sets: vec![Set {
                        keys: (0..schema.fields().len()).collect(),
                        output: None,
                    }],
                    aggregates: Vec::new(),
                    schema,
                })
            }
            LogicalPlan::EmptyRelation(empty) if empty.schema.fields().is_empty() => {
                let schema = empty.schema.inner();
                let rows = usize::from(empty.produce_one_row);
                let rows = batch(schema, Vec::new(), rows).map_err(DataFusionError::from)?;
                Ok(Plan::Constant(rows))
            }
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
                let recipe = Recipe::new(&[], |_| Ok(plan.clone()))?;
                Ok(Plan::Keyed {
                    inputs: Vec::new(),
                    schema: recipe.schema(),
                    recipe,
                    remembers: None,
                })
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => self.ordered(plan),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::RecursiveQuery(_) => self.recursive(plan),
            LogicalPlan::Extension(extension) => {
                // What is kept is computed in the order of its plan.
                if let Some(barrier) = Barrier::of(plan) {
                    return self.plan(&barrier.input);
                }
                match subqueries::Single::of(extension) {
                    Some(single) => Ok(Plan::Single {
                        input: Box::new(self.plan(&single.input)?),
                        schema: single.schema.inner().clone(),
                    }),
                    None => refused(extension.node.name(), "it is not an operator of SQL"),
                }
            }
            other => refused(
                other.display().to_string(),
                "only queries can be kept, not statements",
            ),
        }
    }

    /// The columns that are wanted, and those of filters.
    fn scan(&mut self, scan: &TableScan) -> Result<Plan> {
        if scan.fetch.is_some() {
            return refusals::limit();
        }
        let all = scan.source.schema();
        let mut read: Vec<usize> = match &scan.projection {
            Some(columns) => columns.clone(),
            None => (0..all.fields().len()).collect(),
        };
        let wanted = read.len();
        for column in scan.filters.iter().flat_map(Expr::column_refs) {
            if let Some((i, _)) = all.column_with_name(&column.name)
                && !read.contains(&i)
            {
                read.push(i);
            }
        }
        let config = &self.state.config_options().catalog;
        let name = scan.table_name.clone();
        let name = name.resolve(&config.default_catalog, &config.default_schema);
        let known = self.tables.iter().position(|table| table.name == name);
        let input = known.unwrap_or(self.tables.len());
        if known.is_none() {
            let columns = Vec::new();
            self.tables.push(Table { name, columns });
        }
        let names = &mut self.tables[input].columns;
        let columns = read.iter().map(|&i| {
            let name = all.field(i).name();
            let known = names.iter().position(|known| known == name);
            known.unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            })
        });
        let columns = columns.collect();
        let schema = all.project(&read);
        let schema = Arc::new(schema.map_err(DataFusionError::from)?);
        let mut plan = Plan::Scan {
            input,
            columns,
            schema: schema.clone(),
        };
        let named = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &schema)?;
        for filter in times::together(&scan.filters) {
            plan = self.filtered(plan, &filter, &named)?;
        }
        let wanted: Vec<usize> = (0..wanted).collect();
        Ok(plan.columns(&wanted)?)
    }

    fn physical(&self, expr: &Expr, input: &DFSchema) -> Done<Arc<dyn PhysicalExpr>> {
        let planning = PhysicalPlanningContext::default();
        create_physical_expr(expr, input, self.state.execution_props(), &planning)
    }

    fn projected(
        &self,
        exprs: &[Expr],
        names: impl Iterator<Item = String>,
        named: &DFSchema,
        input: &Schema,
    ) -> Done<Map> {
        let exprs = exprs.iter().zip(names);
        let exprs = exprs.map(|(expr, name)| Ok((self.physical(expr, named)?, name)));
        Map::new(input, None, exprs.collect::<Done<_>>()?)
    }
}

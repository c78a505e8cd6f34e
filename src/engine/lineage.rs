//! Column lineage: which columns each column of a view is computed from, found in the view's resolved plan.
//!
//! Each view is planned over *outlines*: the tables and views it reads are leaves that have columns and no content. So
//! a plan shows what a view reads itself; what it reads through other views follows from theirs. Nothing is stored:
//! a view that was replaced has its new lineage at once, and so have the views over it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result as PlanResult, internal_err};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Distinct, Expr, Join, LogicalPlan, RecursiveQuery, SortExpr, Subquery, TableScan, TableType,
};
use datafusion::physical_plan::ExecutionPlan;

use super::names::Names;
use super::query;
use crate::catalog::{ObjectId, ViewDefinition};

/// A column of a table or view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    pub table: ObjectId,
    pub column: String,
}

type Origins = BTreeSet<Origin>;

/// The lineage of all own views.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    views: BTreeMap<ObjectId, ViewLineage>,
}

/// What a view reads itself.
#[derive(Debug)]
struct ViewLineage {
    /// The name of each column and what it is computed from.
    columns: Vec<(String, Origins)>,
    /// What decides which rows there are.
    filter: Origins,
    /// The tables and views it reads.
    reads: BTreeSet<ObjectId>,
}

impl Lineage {
    /// A view that cannot be planned any more has none.
    pub async fn of_all_views(names: &Names) -> Self {
        let mut views = BTreeMap::new();
        for view in names.world.definitions.views.values() {
            if let Ok(lineage) = of_view(names, view).await {
                views.insert(view.id(), lineage);
            }
        }
        Self { views }
    }

    /// What column `index` of a view is computed from, and whether its own text says so.
    pub fn values(&self, view: &ObjectId, index: usize) -> BTreeMap<Origin, bool> {
        let mut found = BTreeMap::new();
        if let Some((_, origins)) = self.views.get(view).and_then(|v| v.columns.get(index)) {
            self.follow(origins, true, &mut found);
        }
        found
    }

    /// What decides which rows a view has, and whether its own text says so.
    pub fn filters(&self, view: &ObjectId) -> BTreeMap<Origin, bool> {
        let mut found = BTreeMap::new();
        if let Some(lineage) = self.views.get(view) {
            self.follow(&lineage.filter, true, &mut found);
            for read in &lineage.reads {
                for origin in self.filters(read).into_keys() {
                    found.entry(origin).or_insert(false);
                }
            }
        }
        found
    }

    /// The origins and theirs. Views do not read themselves: this ends.
    fn follow(&self, origins: &Origins, direct: bool, found: &mut BTreeMap<Origin, bool>) {
        for origin in origins {
            *found.entry(origin.clone()).or_insert(direct) |= direct;
            let view = self.views.get(&origin.table);
            let column = view.and_then(|v| v.columns.iter().find(|(n, _)| *n == origin.column));
            if let Some((_, below)) = column {
                self.follow(below, false, found);
            }
        }
    }
}

async fn of_view(names: &Names, view: &ViewDefinition) -> crate::Result<ViewLineage> {
    let plan = query::view_plan(&names.outline(), view).await?;
    let traced = Tracer::default().trace(&plan, &[])?;
    let columns = view
        .columns
        .iter()
        .map(|c| c.name.clone())
        .zip(traced.columns)
        .collect();
    Ok(ViewLineage {
        columns,
        filter: traced.filter,
        reads: view.depends_on.clone(),
    })
}

/// A table or view as a leaf of a plan: its name and columns.
#[derive(Debug)]
pub(super) struct Outline {
    pub id: ObjectId,
    pub schema: SchemaRef,
}

#[async_trait]
impl TableProvider for Outline {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        internal_err!("the outline of {} has no rows", self.id)
    }
}

/// What the columns of a node come from.
#[derive(Debug, Clone, Default, PartialEq)]
struct Traced {
    /// For each column of the node's schema.
    columns: Vec<Origins>,
    /// What decides which rows there are.
    filter: Origins,
    /// What its rows are sorted by: with a limit above, that decides too.
    order: Origins,
}

/// Where a subquery's outer columns are found: the nodes around it, innermost last.
type Outer<'a> = [(&'a DFSchema, &'a Traced)];

#[derive(Default)]
struct Tracer {
    /// Recursive queries in the making, by name.
    recursive: BTreeMap<String, Traced>,
}

impl Tracer {
    fn trace(&mut self, plan: &LogicalPlan, outer: &Outer<'_>) -> PlanResult<Traced> {
        if let LogicalPlan::TableScan(scan) = plan {
            return self.scan(scan);
        }
        if let LogicalPlan::RecursiveQuery(query) = plan {
            return self.recursive_query(query, outer);
        }
        if let LogicalPlan::Join(join) = plan {
            return self.join(join, outer);
        }
        let inputs = plan.inputs();
        let traced = inputs.iter().map(|input| self.trace(input, outer));
        let traced = traced.collect::<PlanResult<Vec<_>>>()?;
        match (plan, traced.as_slice()) {
            (LogicalPlan::Union(_), all) => Ok(union(all)),
            (_, [input]) => node(plan, input, self.reader(outer, inputs[0].schema(), input)),
            _ => Ok(Traced {
                columns: nothing(plan),
                ..Traced::default()
            }),
        }
    }

    fn reader<'r>(
        &'r mut self,
        outer: &'r Outer<'r>,
        schema: &'r DFSchema,
        input: &'r Traced,
    ) -> Reader<'r> {
        Reader {
            tracer: self,
            outer,
            schema,
            input,
            filter: Origins::new(),
        }
    }

    fn join(&mut self, join: &Join, outer: &Outer<'_>) -> PlanResult<Traced> {
        let left = self.trace(&join.left, outer)?;
        // A lateral subquery on the right reads the left's columns.
        let mut beside = outer.to_vec();
        beside.push((join.left.schema(), &left));
        let right = self.trace(&join.right, &beside)?;
        let both = Traced {
            columns: [left.columns.clone(), right.columns.clone()].concat(),
            filter: &left.filter | &right.filter,
            order: Origins::new(),
        };
        let schema = join.left.schema().join(join.right.schema())?;
        let equal = join.on.iter().flat_map(|(l, r)| [l, r]);
        let mut reader = self.reader(outer, &schema, &both);
        let condition = reader.all(equal.chain(&join.filter))?;
        let condition = &condition | &reader.filter;
        let columns = match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => left.columns,
            JoinType::RightSemi | JoinType::RightAnti => right.columns,
            JoinType::LeftMark => with(&left.columns, condition.clone()),
            JoinType::RightMark => with(&right.columns, condition.clone()),
            _ => both.columns,
        };
        Ok(Traced {
            columns,
            filter: &both.filter | &condition,
            order: Origins::new(),
        })
    }

    fn scan(&mut self, scan: &TableScan) -> PlanResult<Traced> {
        let schema = &scan.projected_schema;
        if let Some(known) = self.recursive.get(scan.table_name.table()) {
            return Ok(known.clone());
        }
        let provider = source_as_provider(&scan.source)?;
        let any: &dyn std::any::Any = provider.as_ref();
        let columns = schema.fields().iter().map(|field| {
            let outline = any.downcast_ref::<Outline>();
            let origin = outline.map(|o| Origin {
                table: o.id.clone(),
                column: field.name().clone(),
            });
            origin.into_iter().collect()
        });
        Ok(Traced {
            columns: columns.collect(),
            ..Traced::default()
        })
    }

    /// The recursive term reads what it makes: repeated until nothing is added.
    fn recursive_query(&mut self, query: &RecursiveQuery, outer: &Outer<'_>) -> PlanResult<Traced> {
        let mut whole = self.trace(&query.static_term, outer)?;
        loop {
            let shadowed = self.recursive.insert(query.name.clone(), whole.clone());
            let step = self.trace(&query.recursive_term, outer);
            match shadowed {
                Some(shadowed) => self.recursive.insert(query.name.clone(), shadowed),
                None => self.recursive.remove(&query.name),
            };
            let more = union(&[whole.clone(), step?]);
            if more == whole {
                return Ok(whole);
            }
            whole = more;
        }
    }
}

/// A node over one input.
fn node(plan: &LogicalPlan, input: &Traced, mut read: Reader<'_>) -> PlanResult<Traced> {
    let mut output = input.clone();
    match plan {
        LogicalPlan::Projection(projection) => {
            output.columns = read.each(&projection.expr)?;
        }
        LogicalPlan::Window(window) => {
            output.columns.extend(read.each(&window.window_expr)?);
        }
        LogicalPlan::Filter(filter) => {
            output.filter.append(&mut read.all([&filter.predicate])?);
        }
        LogicalPlan::Aggregate(aggregate) => {
            let keys = grouping_set_to_exprlist(&aggregate.group_expr)?;
            let mut decide = read.all(keys.iter().copied())?;
            output.columns = read.each(keys)?;
            if matches!(aggregate.group_expr.first(), Some(Expr::GroupingSet(_))) {
                // Which of the sets a row belongs to.
                output.columns.push(decide.clone());
            }
            output.columns.extend(read.each(&aggregate.aggr_expr)?);
            output.filter.append(&mut decide);
            output.order.clear();
        }
        LogicalPlan::Distinct(Distinct::All(_)) => {
            output
                .filter
                .extend(input.columns.iter().flatten().cloned());
        }
        LogicalPlan::Distinct(Distinct::On(on)) => {
            let sort = on.sort_expr.iter().flatten().map(|sort| &sort.expr);
            let mut decide = read.all(on.on_expr.iter().chain(sort))?;
            output.columns = read.each(&on.select_expr)?;
            output.filter.append(&mut decide);
        }
        LogicalPlan::Sort(sort) => {
            let by = |sort: &SortExpr| sort.expr.clone();
            output.order = read.all(&sort.expr.iter().map(by).collect::<Vec<_>>())?;
        }
        LogicalPlan::Limit(_) => output.filter.append(&mut output.order.clone()),
        LogicalPlan::Unnest(unnest) => {
            let from = unnest.dependency_indices.iter();
            output.columns = from.map(|i| input.columns[*i].clone()).collect();
        }
        // Aliases, subqueries, repartitions: the same columns.
        _ => {}
    }
    output.filter.append(&mut read.filter);
    if output.columns.len() != plan.schema().fields().len() {
        return internal_err!("lineage of {}: its columns were miscounted", plan.display());
    }
    Ok(output)
}

fn nothing(plan: &LogicalPlan) -> Vec<Origins> {
    vec![Origins::new(); plan.schema().fields().len()]
}

fn with(columns: &[Origins], mark: Origins) -> Vec<Origins> {
    columns.iter().cloned().chain([mark]).collect()
}

fn union(all: &[Traced]) -> Traced {
    let mut whole = all.first().cloned().unwrap_or_default();
    for next in all.iter().skip(1) {
        for (column, more) in whole.columns.iter_mut().zip(&next.columns) {
            column.extend(more.iter().cloned());
        }
        whole.filter.extend(next.filter.iter().cloned());
    }
    whole.order.clear();
    whole
}

/// What expressions over one input read.
struct Reader<'r> {
    tracer: &'r mut Tracer,
    outer: &'r Outer<'r>,
    schema: &'r DFSchema,
    input: &'r Traced,
    /// What decides the rows of the subqueries met so far.
    filter: Origins,
}

impl Reader<'_> {
    fn all<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) -> PlanResult<Origins> {
        Ok(self.each(exprs)?.into_iter().flatten().collect())
    }

    fn each<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) -> PlanResult<Vec<Origins>> {
        exprs.into_iter().map(|expr| self.one(expr)).collect()
    }

    fn one(&mut self, expr: &Expr) -> PlanResult<Origins> {
        let mut found = Origins::new();
        expr.apply(|part| {
            match part {
                Expr::Column(column) => {
                    let at = self.schema.index_of_column(column)?;
                    found.extend(self.input.columns[at].iter().cloned());
                }
                Expr::OuterReferenceColumn(_, column) => found.extend(self.outside(column)),
                Expr::ScalarSubquery(subquery) => found.extend(self.subquery(subquery)?),
                Expr::InSubquery(test) => found.extend(self.subquery(&test.subquery)?),
                Expr::SetComparison(test) => found.extend(self.subquery(&test.subquery)?),
                // Whether there is a row is decided by its conditions, not by its columns.
                Expr::Exists(test) => {
                    self.subquery(&test.subquery)?;
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(found)
    }

    fn outside(&self, column: &Column) -> Origins {
        let mut around = self.outer.iter().rev();
        let found = around
            .find_map(|(schema, traced)| traced.columns.get(schema.maybe_index_of_column(column)?));
        found.cloned().unwrap_or_default()
    }

    fn subquery(&mut self, subquery: &Subquery) -> PlanResult<Origins> {
        let mut outer = self.outer.to_vec();
        outer.push((self.schema, self.input));
        let mut traced = self.tracer.trace(&subquery.subquery, &outer)?;
        self.filter.append(&mut traced.filter);
        Ok(traced.columns.into_iter().flatten().collect())
    }
}

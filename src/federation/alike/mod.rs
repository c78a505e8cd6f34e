//! What is the same in two places but for its columns: as the optimizer leaves a common table expression of which each
//! reader reads others.

mod rel;

use std::sync::Arc;

use belvedere_connector::{Fragment, Rel};
use datafusion::arrow::datatypes::Field;
use datafusion::common::{DFSchema, Result, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use datafusion::logical_expr::{
    Aggregate, Expr, Extension, Filter, LogicalPlan, Projection, SubqueryAlias, TableScan,
};

use super::node::{FragmentNode, fragment_of};
use super::peers::Keys;

/// Two plans as one that has the columns of both.
pub struct Both {
    pub plan: LogicalPlan,
    /// Where the columns of each are.
    pub left: Vec<usize>,
    pub right: Vec<usize>,
}

impl Both {
    /// Whether the left has all of it, as it is.
    pub fn is_left(&self) -> bool {
        self.is_all(&self.left)
    }

    pub fn is_right(&self) -> bool {
        self.is_all(&self.right)
    }

    fn is_all(&self, columns: &[usize]) -> bool {
        (0..self.plan.schema().fields().len()).eq(columns.iter().copied())
    }
}

/// None unless they are the same but for their columns, so that one gives the rows of both.
pub fn both(left: &LogicalPlan, right: &LogicalPlan) -> Result<Option<Both>> {
    if let (Some(left), Some(right)) = (fragment_of(left), fragment_of(right)) {
        return fragments(left, right);
    }
    if left == right {
        let columns: Vec<usize> = (0..left.schema().fields().len()).collect();
        return Ok(Some(Both {
            plan: left.clone(),
            left: columns.clone(),
            right: columns,
        }));
    }
    let plan = match (left, right) {
        (LogicalPlan::TableScan(l), LogicalPlan::TableScan(r)) => table(l, r)?,
        (LogicalPlan::SubqueryAlias(l), LogicalPlan::SubqueryAlias(r)) if l.alias == r.alias => {
            let input = below(&l.input, &r.input)?;
            let alias = |input| SubqueryAlias::try_new(input, l.alias.clone());
            input
                .map(alias)
                .transpose()?
                .map(LogicalPlan::SubqueryAlias)
        }
        (LogicalPlan::Filter(l), LogicalPlan::Filter(r)) if l.predicate == r.predicate => {
            let input = below(&l.input, &r.input)?;
            let filter = |input| Filter::new(l.predicate.clone(), input);
            input.map(filter).map(LogicalPlan::Filter)
        }
        (LogicalPlan::Projection(l), LogicalPlan::Projection(r)) => {
            let input = below(&l.input, &r.input)?;
            let both = input.zip(joined(&l.expr, &r.expr));
            let project = |(input, exprs)| Projection::try_new(exprs, input);
            both.map(project).transpose()?.map(LogicalPlan::Projection)
        }
        (LogicalPlan::Aggregate(l), LogicalPlan::Aggregate(r)) if l.group_expr == r.group_expr => {
            let input = below(&l.input, &r.input)?;
            let both = input.zip(joined(&l.aggr_expr, &r.aggr_expr));
            let aggregate =
                |(input, values)| Aggregate::try_new(input, l.group_expr.clone(), values);
            both.map(aggregate).transpose()?.map(LogicalPlan::Aggregate)
        }
        _ => None,
    };
    Ok(plan.and_then(|plan| {
        Some(Both {
            left: places(left, &plan)?,
            right: places(right, &plan)?,
            plan,
        })
    }))
}

/// What nodes above find by its names, as they would in their own input.
fn below(left: &LogicalPlan, right: &LogicalPlan) -> Result<Option<Arc<LogicalPlan>>> {
    let both = both(left, right)?.filter(|both| {
        let is_found = |of, columns: &Vec<usize>| places(of, &both.plan).as_ref() == Some(columns);
        is_found(left, &both.left) && is_found(right, &both.right)
    });
    Ok(both.map(|both| Arc::new(both.plan)))
}

/// Where the columns of a plan are in another, by their names.
fn places(of: &LogicalPlan, within: &LogicalPlan) -> Option<Vec<usize>> {
    let place = |(qualifier, field): (Option<&TableReference>, &Arc<Field>)| {
        let schema = within.schema();
        schema.index_of_column_by_name(qualifier, field.name())
    };
    of.schema().iter().map(place).collect()
}

/// The expressions of both, each once; None if two of them have one name.
fn joined(own: &[Expr], others: &[Expr]) -> Option<Vec<Expr>> {
    let mut all = own.to_vec();
    for other in others.iter().filter(|other| !own.contains(other)) {
        let name = other.qualified_name();
        if all.iter().any(|known| known.qualified_name() == name) {
            return None;
        }
        all.push(other.clone());
    }
    Some(all)
}

fn table(left: &TableScan, right: &TableScan) -> Result<Option<LogicalPlan>> {
    let is_same = left.table_name == right.table_name
        && Arc::ptr_eq(
            &source_as_provider(&left.source)?,
            &source_as_provider(&right.source)?,
        )
        && left.filters == right.filters
        && (left.fetch, right.fetch) == (None, None);
    let (true, Some(own), Some(more)) = (is_same, &left.projection, &right.projection) else {
        return Ok(None);
    };
    let mut columns: Vec<usize> = own.iter().chain(more).copied().collect();
    columns.sort_unstable();
    columns.dedup();
    let scan = TableScanBuilder::from(left.clone()).with_projection(Some(columns));
    Ok(Some(LogicalPlan::TableScan(scan.build()?)))
}

/// The names of a fragment's columns are its reader's: those of the left, then others of the right.
fn fragments(left: &FragmentNode, right: &FragmentNode) -> Result<Option<Both>> {
    if !Arc::ptr_eq(&left.handle, &right.handle) {
        return Ok(None);
    }
    let found = rel::both(&left.fragment.rel, &right.fragment.rel);
    let Some(both) = found.filter(|both| !both.computes) else {
        return Ok(None);
    };
    let is_known = both.rel == left.fragment.rel;
    if !is_known && !is_answered(&both.rel, left) {
        return Ok(None);
    }
    let mut fields: Vec<(Option<TableReference>, Arc<Field>)> = Vec::new();
    for at in 0..both.rel.schema().fields().len() {
        let own = both.left.iter().position(|column| *column == at);
        let others = both.right.iter().position(|column| *column == at);
        let (qualifier, field) = match (own, others) {
            (Some(own), _) => left.schema.qualified_field(own),
            (None, Some(other)) => right.schema.qualified_field(other),
            // Neither reads it.
            (None, None) => return Ok(None),
        };
        // A name with a table and the same name without one cannot be in one schema.
        let is_taken = |name: &str| {
            let added = fields.iter().any(|(_, field)| field.name() == name);
            added || left.schema.has_column_with_unqualified_name(name)
        };
        let field = match own.is_none() && is_taken(field.name()) {
            true => Arc::new(
                field
                    .as_ref()
                    .clone()
                    .with_name(format!("{} {at}", field.name())),
            ),
            false => field.clone(),
        };
        fields.push((qualifier.cloned(), field));
    }
    let schema = DFSchema::new_with_metadata(fields, left.schema.metadata().clone())?;
    let node = FragmentNode {
        handle: left.handle.clone(),
        fragment: Arc::new(Fragment::new(both.rel)),
        schema: Arc::new(schema),
        // They tell which rows may be left out of what one place reads, and this has several readers.
        keys: Keys::default(),
        estimate: left.estimate.clone().beside(&right.estimate),
    };
    Ok(Some(Both {
        plan: LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }),
        left: both.left,
        right: both.right,
    }))
}

/// Each was, but what one node has of both may be too much for it.
fn is_answered(rel: &Rel, by: &FragmentNode) -> bool {
    let own = match rel {
        Rel::Scan { .. } => true,
        _ => by.handle.source.capabilities().node(rel).is_exact(),
    };
    own && rel.inputs().into_iter().all(|input| is_answered(input, by))
}

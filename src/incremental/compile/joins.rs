//! Joins. Inner ones of any number of tables are one delta join; others are computed for whole keys.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, NullEquality, Result as Done};
use datafusion::logical_expr::{Expr, FetchType, Join, LogicalPlan, SkipType, TableScan, lit};

use super::super::aggregate::Aggregate;
use super::super::map::{self, Map};
use super::super::path::Of;
use super::super::plan::{Plan, Set};
use super::super::whole::Recipe;
use super::{Compiler, Result};

/// A side of a join: its plan with the keys behind its own columns where they are computed, and where the keys are.
struct Side {
    plan: Plan,
    schema: DFSchemaRef,
    width: usize,
    keys: Vec<usize>,
}

/// Inner joins below some maps.
struct Flat {
    inputs: Vec<Plan>,
    on: Vec<(Of, Of)>,
    width: usize,
    /// From the bottom.
    maps: Vec<Map>,
    schema: Arc<Schema>,
}

impl Compiler<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Plan> {
        if asks_existence(join) {
            return self.existence(join);
        }
        let (left, right): (Vec<&Expr>, Vec<&Expr>) =
            join.on.iter().map(|(left, right)| (left, right)).unzip();
        let left = self.side(&join.left, &left, "__left")?;
        let right = self.side(&join.right, &right, "__right")?;
        // In an inner join the condition over both is a filter behind it.
        if has_filter_behind(join) {
            return self.inner(join, left, right);
        }
        if join.null_aware && join.on.len() == 1 && join.filter.is_none() {
            return self.not_in(join, left, right);
        }
        self.keyed_join(join, left, right)
    }

    /// Only whether the right has a row matters to those of the left: a number, beside each.
    fn existence(&mut self, join: &Join) -> Result<Plan> {
        let left = self.plan(&join.left)?;
        let right = self.plan(&unlimited(&join.right))?;
        let width = left.schema().fields().len();
        let totals = totals(right, &[])?;
        let (plan, named) = beside(left, join.left.schema(), totals)?;
        let exists = number(0).gt(lit(0i64));
        let exists = match &join.filter {
            None => exists,
            Some(filter) => exists.and(filter.clone()),
        };
        let exists = exists.is_true();
        if join.join_type == JoinType::LeftMark {
            let mut exprs: Vec<Expr> = named.columns().into_iter().map(Expr::Column).collect();
            exprs.truncate(width);
            exprs.push(exists);
            let names = join
                .schema
                .fields()
                .iter()
                .map(|field| field.name().clone());
            let map = self.projected(&exprs, names, &named, plan.schema())?;
            return Ok(plan.mapped(map));
        }
        let predicate = match join.join_type {
            JoinType::LeftSemi => exists,
            _ => Expr::Not(Box::new(exists)),
        };
        let map = Map::filter(plan.schema(), self.physical(&predicate, &named)?)?;
        Ok(plan.mapped(map).columns(&(0..width).collect::<Vec<_>>())?)
    }

    /// `x NOT IN (SELECT y …)`: no y is x, and none is NULL; nor is x, unless there is no y.
    fn not_in(&mut self, join: &Join, left: Side, right: Side) -> Result<Plan> {
        let (width, key) = (left.width, left.keys[0]);
        let named = left.schema.clone();
        let totals = totals(right.plan.clone(), &right.keys)?;
        let unaware = Join {
            null_aware: false,
            ..join.clone()
        };
        // With its computed key, if it has one.
        let whole = Side {
            width: named.fields().len(),
            ..left
        };
        let others = self.keyed_join(&unaware, whole, right)?;
        let (plan, wide) = beside(others, &named, totals)?;
        let x = Expr::Column(Column::from(named.qualified_field(key)));
        let has_no_null = number(0).eq(number(1));
        let is_known = x.is_not_null().or(number(0).eq(lit(0i64)));
        let predicate = self.physical(&has_no_null.and(is_known), &wide)?;
        let map = Map::filter(plan.schema(), predicate)?;
        Ok(plan.mapped(map).columns(&(0..width).collect::<Vec<_>>())?)
    }

    fn side(&mut self, input: &LogicalPlan, keys: &[&Expr], prefix: &str) -> Result<Side> {
        let plan = self.plan(input)?;
        let schema = input.schema();
        let width = schema.fields().len();
        let mut computed: Vec<Expr> = Vec::new();
        let mut places = Vec::new();
        for key in keys {
            places.push(match key {
                Expr::Column(column) => schema.index_of_column(column)?,
                key => {
                    computed.push((*key).clone());
                    width + computed.len() - 1
                }
            });
        }
        if computed.is_empty() {
            return Ok(Side {
                plan,
                schema: schema.clone(),
                width,
                keys: places,
            });
        }
        let mut exprs: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
        exprs.append(&mut computed);
        let names = (0..exprs.len()).map(|i| match i < width {
            true => schema.field(i).name().clone(),
            false => format!("{prefix}_{i}"),
        });
        let map = self.projected(&exprs, names, schema, plan.schema())?;
        let fields = map.schema().fields().iter().skip(width);
        let fields = fields.map(|field| (None, field.clone()));
        let own = schema.iter();
        let own = own.map(|(qualifier, field)| (qualifier.cloned(), field.clone()));
        let all = own.chain(fields).collect();
        let schema = DFSchema::new_with_metadata(all, Default::default())?;
        Ok(Side {
            plan: plan.mapped(map),
            schema: Arc::new(schema),
            width,
            keys: places,
        })
    }

    fn inner(&mut self, join: &Join, left: Side, right: Side) -> Result<Plan> {
        let (widths, keys) = ([left.width, right.width], [left.keys, right.keys]);
        let sides = [
            Flat::new(left.plan, &keys[0])?,
            Flat::new(right.plan, &keys[1])?,
        ];
        let first = sides[0].schema.fields().len();
        let links = keys[0].iter().zip(&keys[1]);
        let links: Vec<(usize, usize)> = links.map(|(&a, &b)| (a, first + b)).collect();
        let joined = Flat::both(sides, &links)?;
        // Computed keys go.
        let kept = (0..widths[0]).chain(first..first + widths[1]);
        let plan = joined.plan().columns(&kept.collect::<Vec<_>>())?;
        match &join.filter {
            None => Ok(plan),
            Some(filter) => self.filtered(plan, filter, &join.schema),
        }
    }

    /// A join that has something to say of rows without a partner, or takes NULL for equal.
    fn keyed_join(&mut self, join: &Join, left: Side, right: Side) -> Result<Plan> {
        let column = |side: &Side, i: usize| {
            let (qualifier, field) = side.schema.qualified_field(i);
            Expr::Column(Column::from((qualifier, field)))
        };
        let on = left.keys.iter().zip(&right.keys);
        let on = on.map(|(&l, &r)| (column(&left, l), column(&right, r)));
        let on: Vec<(Expr, Expr)> = on.collect();
        let schemas = [left.schema.clone(), right.schema.clone()];
        let recipe = Recipe::new(&schemas, |inputs| joined(join, on, inputs))?;
        // Rows of other keys matter to NOT IN: a NULL among them.
        let mut keys: (Vec<usize>, Vec<usize>) = Default::default();
        if !join.null_aware {
            for (&l, &r) in left.keys.iter().zip(&right.keys) {
                if !keys.0.contains(&l) && !keys.1.contains(&r) {
                    keys.0.push(l);
                    keys.1.push(r);
                }
            }
        }
        let widths = [left.width, right.width];
        let wide = [left.schema.fields().len(), right.schema.fields().len()];
        let kept: Vec<usize> = match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => (0..widths[0]).collect(),
            JoinType::RightSemi | JoinType::RightAnti => (0..widths[1]).collect(),
            JoinType::LeftMark => (0..widths[0]).chain([wide[0]]).collect(),
            JoinType::RightMark => (0..widths[1]).chain([wide[1]]).collect(),
            _ => (0..widths[0]).chain(wide[0]..wide[0] + widths[1]).collect(),
        };
        let plan = Plan::Keyed {
            inputs: vec![(left.plan, keys.0), (right.plan, keys.1)],
            schema: recipe.schema(),
            recipe,
            remembers: None,
        };
        Ok(plan.columns(&kept)?)
    }
}

/// Whether a join's condition over both sides is a filter of what it gives.
pub(super) fn has_filter_behind(join: &Join) -> bool {
    let is_null_equal = join.null_equality == NullEquality::NullEqualsNull;
    join.join_type == JoinType::Inner && (join.on.is_empty() || !is_null_equal)
}

/// Whether a join only asks if its right has rows.
fn asks_existence(join: &Join) -> bool {
    use JoinType::{LeftAnti, LeftMark, LeftSemi};
    let right = join.right.schema();
    let mut columns = join.filter.iter().flat_map(Expr::column_refs);
    matches!(join.join_type, LeftSemi | LeftAnti | LeftMark)
        && join.on.is_empty()
        && !columns.any(|column| right.has_column(column))
}

/// The plan without a limit of at least one row, where it does not matter which.
fn unlimited(plan: &LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Limit(limit) => {
            let skip = limit.get_skip_type();
            let fetch = limit.get_fetch_type();
            match (skip, fetch) {
                (Ok(SkipType::Literal(0)), Ok(FetchType::Literal(Some(1..)))) => {
                    unlimited(&limit.input)
                }
                _ => plan.clone(),
            }
        }
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Extension(_) => {
            let inputs = plan.inputs().into_iter().map(unlimited).collect();
            let unlimited = plan.with_new_exprs(plan.expressions(), inputs);
            unlimited.unwrap_or_else(|_| plan.clone())
        }
        LogicalPlan::TableScan(scan) if scan.fetch.is_some_and(|rows| rows > 0) => {
            LogicalPlan::TableScan(TableScan {
                fetch: None,
                ..scan.clone()
            })
        }
        _ => plan.clone(),
    }
}

/// How many rows there are, and how many values some columns have.
fn totals(input: Plan, columns: &[usize]) -> Done<Plan> {
    let schema = input.schema().clone();
    let mut aggregates = vec![Aggregate::rows()];
    let counts = columns.iter();
    aggregates.extend(counts.map(|&i| Aggregate::count(map::column(&schema, i))));
    let fields = (0..aggregates.len()).map(|i| Field::new(number_name(i), DataType::Int64, false));
    Ok(Plan::Group {
        input: Box::new(input),
        sets: vec![Set {
            keys: Vec::new(),
            output: None,
        }],
        aggregates,
        schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
    })
}

/// One row, beside each row of a plan, and the names of what that gives.
fn beside(plan: Plan, named: &DFSchema, row: Plan) -> Done<(Plan, DFSchema)> {
    let own = named.iter();
    let own = own.map(|(qualifier, field)| (qualifier.cloned(), field.clone()));
    let more = row
        .schema()
        .fields()
        .iter()
        .map(|field| (None, field.clone()));
    let all = own.chain(more).collect();
    let wide = DFSchema::new_with_metadata(all, Default::default())?;
    let links = [];
    let sides = [Flat::new(plan, &[])?, Flat::new(row, &[])?];
    Ok((Flat::both(sides, &links)?.plan(), wide))
}

fn number(i: usize) -> Expr {
    Expr::Column(Column::new_unqualified(number_name(i)))
}

fn number_name(i: usize) -> String {
    format!("__number_{i}")
}

/// The same join of other inputs.
fn joined(join: &Join, on: Vec<(Expr, Expr)>, inputs: Vec<LogicalPlan>) -> Done<LogicalPlan> {
    let mut inputs = inputs.into_iter().map(Arc::new);
    let (Some(left), Some(right)) = (inputs.next(), inputs.next()) else {
        return datafusion::common::internal_err!("a join has two inputs");
    };
    Ok(LogicalPlan::Join(Join::try_new(
        left,
        right,
        on,
        join.filter.clone(),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?))
}

impl Flat {
    /// A plan as a join of many inputs, if it is one and these columns are columns of its inputs; else of itself alone.
    fn new(plan: Plan, keys: &[usize]) -> Done<Self> {
        let schema = plan.schema().clone();
        let mut maps = Vec::new();
        let mut below = &plan;
        while let Plan::Map { input, map } = below {
            maps.push(map.clone());
            below = input;
        }
        let through = |column: usize| {
            let mut maps = maps.iter();
            maps.try_fold(column, |column, map| map.origin(column))
        };
        if let Plan::Join {
            inputs,
            on,
            schema: all,
        } = below
            && keys.iter().all(|&key| through(key).is_some())
        {
            maps.reverse();
            return Ok(Self {
                inputs: inputs.clone(),
                on: on.clone(),
                width: all.fields().len(),
                maps,
                schema,
            });
        }
        Ok(Self {
            width: schema.fields().len(),
            inputs: vec![plan],
            on: Vec::new(),
            maps: Vec::new(),
            schema,
        })
    }

    /// The input and its column that a column is.
    fn origin(&self, column: usize) -> Option<Of> {
        let mut maps = self.maps.iter().rev();
        let mut column = maps.try_fold(column, |column, map| map.origin(column))?;
        for (i, input) in self.inputs.iter().enumerate() {
            let width = input.schema().fields().len();
            if column < width {
                return Some((i, column));
            }
            column -= width;
        }
        None
    }

    /// Both, with links between columns of the first and columns of the second, counted behind the first's.
    fn both(sides: [Self; 2], links: &[(usize, usize)]) -> Done<Self> {
        let [left, right] = sides;
        let first = left.schema.fields().len();
        let count = left.inputs.len();
        let links = links.iter().map(|&(a, b)| {
            let b = right.origin(b - first);
            let both = left
                .origin(a)
                .zip(b.map(|(input, column)| (input + count, column)));
            both.ok_or_else(|| datafusion::common::internal_datafusion_err!("a key is computed"))
        });
        let links = links.collect::<Done<Vec<_>>>()?;
        let right_on = right.on.iter().map(|&(a, b)| {
            let moved = |of: Of| (of.0 + count, of.1);
            (moved(a), moved(b))
        });
        let on = left.on.iter().copied().chain(right_on).chain(links);
        let on = on.collect();
        // First the left's maps, with the right as it is below its own; then the right's, with the left as it has become.
        let below = right.below();
        let mut maps = Vec::new();
        let mut width = left.width;
        for map in &left.maps {
            maps.push(map.between(&Schema::empty(), width, &below)?);
            width = map.schema().fields().len();
        }
        let mut width = right.width;
        for map in &right.maps {
            maps.push(map.between(&left.schema, width, &Schema::empty())?);
            width = map.schema().fields().len();
        }
        let fields = left.schema.fields().iter().chain(right.schema.fields());
        let schema = Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
        Ok(Self {
            width: left.width + right.width,
            inputs: left.inputs.into_iter().chain(right.inputs).collect(),
            on,
            maps,
            schema,
        })
    }

    /// The columns below the maps.
    fn below(&self) -> Schema {
        let fields = self.inputs.iter().flat_map(|input| input.schema().fields());
        Schema::new(fields.cloned().collect::<Vec<_>>())
    }

    fn plan(self) -> Plan {
        let schema = Arc::new(self.below());
        let join = Plan::Join {
            inputs: self.inputs,
            on: self.on,
            schema,
        };
        let maps = self.maps.into_iter();
        maps.fold(join, |plan, map| plan.mapped(map))
    }
}

use std::collections::HashMap;
use std::sync::Arc;

use belvedere_connector::{Histogram, Rel, is_measured};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, FetchType, Filter, Join, LogicalPlan, Operator, TableScan,
};

use super::expr;
use super::learned::Conditions;
use super::node::fragment_of;
use super::provider::SourceTable;

/// Rows of a table of which nothing is known.
const UNKNOWN_ROWS: f64 = 1_000.0;
/// Parts of the rows that a predicate of unknown effect leaves.
const EQUAL: f64 = 0.1;
const RANGE: f64 = 1.0 / 3.0;
const LIKE: f64 = 0.1;
const NULL: f64 = 0.05;
const OTHER: f64 = 0.25;
/// By how much a source's count of different values is thought to be off at most.
const MISCOUNT: f64 = 4.0;

/// What is thought of a relation, from what its sources say of their tables.
#[derive(Debug, Clone)]
pub struct Estimate {
    pub rows: f64,
    /// Whether all tables have said how many rows they have.
    is_known: bool,
    columns: HashMap<Column, Facts>,
}

/// What is known of a column's values in the table it comes from. Filters do not change it: a row of the other side of a
/// join finds one in so many.
#[derive(Debug, Clone, Default)]
struct Facts {
    distinct: Option<f64>,
    /// Each row of the table has another value.
    is_unique: bool,
    histogram: Option<Arc<Histogram>>,
}

impl Estimate {
    pub fn of(plan: &LogicalPlan) -> Self {
        let inputs = plan.inputs().into_iter().map(Self::of).collect();
        Self::over(plan, inputs)
    }

    /// Of the node alone, over what is thought of its inputs.
    pub fn over(plan: &LogicalPlan, mut inputs: Vec<Self>) -> Self {
        if let LogicalPlan::Join(join) = plan
            && let (Some(right), Some(left)) = (inputs.pop(), inputs.pop())
        {
            return Self::of_join(join, left, right);
        }
        if let LogicalPlan::Union(_) = plan {
            return Self {
                rows: inputs.iter().map(|input| input.rows).sum(),
                is_known: inputs.iter().all(|input| input.is_known),
                columns: HashMap::new(),
            };
        }
        let Some(input) = inputs.pop() else {
            return match plan {
                LogicalPlan::TableScan(scan) => Self::of_scan(scan),
                LogicalPlan::Values(values) => Self::exactly(values.values.len() as f64),
                LogicalPlan::EmptyRelation(_) => Self::exactly(1.0),
                _ => match fragment_of(plan) {
                    Some(fragment) => fragment.estimate.clone(),
                    None => Self {
                        is_known: false,
                        ..Self::exactly(UNKNOWN_ROWS)
                    },
                },
            };
        };
        match plan {
            LogicalPlan::Filter(filter) => {
                let part = input.selectivity(&filter.predicate);
                let guess = input.reduced(part);
                match asked_before(filter) {
                    Some(rows) => guess.learned(rows),
                    None => guess,
                }
            }
            LogicalPlan::Projection(projection) => {
                let known = projection
                    .expr
                    .iter()
                    .map(|expr| input.facts(expr).cloned());
                let columns = named(&projection.schema, known);
                Self { columns, ..input }
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let inner = alias.input.schema().columns();
                let known = inner.iter().map(|c| input.columns.get(c).cloned());
                let columns = named(&alias.schema, known);
                Self { columns, ..input }
            }
            LogicalPlan::Aggregate(aggregate) => Self::of_groups(aggregate, input),
            LogicalPlan::Sort(sort) => match sort.fetch {
                Some(fetch) => input.at_most(fetch),
                None => input,
            },
            LogicalPlan::Limit(limit) => match limit.get_fetch_type() {
                Ok(FetchType::Literal(Some(fetch))) => input.at_most(fetch),
                _ => input,
            },
            _ => input,
        }
    }

    fn exactly(rows: f64) -> Self {
        Self {
            rows,
            is_known: true,
            columns: HashMap::new(),
        }
    }

    fn of_scan(scan: &TableScan) -> Self {
        let mut columns = HashMap::new();
        let mut rows = None;
        if let Ok(provider) = source_as_provider(&scan.source) {
            rows = provider
                .statistics()
                .and_then(|known| known.num_rows.get_value().map(|rows| *rows as f64));
            let any: &dyn std::any::Any = provider.as_ref();
            if let Some(SourceTable { table, .. }) = any.downcast_ref::<SourceTable>() {
                let name = |column: &str| Column::new(Some(scan.table_name.clone()), column);
                columns.extend(table.columns.iter().map(|column| {
                    let facts = Facts {
                        distinct: column.distinct.map(|distinct| distinct as f64),
                        is_unique: false,
                        histogram: column.histogram.clone(),
                    };
                    (name(&column.name), facts)
                }));
                let keys = std::iter::once(&table.primary_key).chain(&table.unique_keys);
                for key in keys {
                    if let (Some(rows), [key]) = (rows, &key[..]) {
                        let facts = columns.entry(name(key)).or_default();
                        facts.distinct = Some(rows);
                        facts.is_unique = true;
                    }
                }
            }
        }
        let whole = Self {
            rows: rows.unwrap_or(UNKNOWN_ROWS),
            is_known: rows.is_some(),
            columns,
        };
        let part = whole.selectivity_of(scan.filters.iter());
        let left = whole.reduced(part);
        match scan.fetch {
            Some(fetch) => left.at_most(fetch),
            None => left,
        }
    }

    fn of_groups(aggregate: &Aggregate, input: Self) -> Self {
        if aggregate.group_expr.is_empty() {
            return Self::exactly(1.0);
        }
        let keys = aggregate.group_expr.iter();
        let known: Vec<_> = keys.map(|e| input.facts(e).cloned()).collect();
        let distinct = known.iter().map(|facts| facts.as_ref()?.distinct);
        let groups: Option<f64> = distinct.product();
        let rows = groups.unwrap_or(input.rows / 10.0).min(input.rows).max(1.0);
        let mut columns = named(&aggregate.schema, known.into_iter());
        if let [key] = &aggregate.schema.columns()[..aggregate.group_expr.len()] {
            columns
                .entry(key.clone())
                .or_default()
                .distinct
                .get_or_insert(rows);
        }
        Self {
            rows,
            columns,
            ..input
        }
    }

    fn of_join(join: &Join, left: Self, right: Self) -> Self {
        let (l, r) = (left.rows, right.rows);
        let mut part = matched(&left, &right, &join.on);
        if let Some(filter) = &join.filter {
            let filters = split_conjunction(filter);
            part *= filters.iter().map(|_| RANGE).product::<f64>();
        }
        let both = (l * r * part).max(1.0);
        let rows = match join.join_type {
            JoinType::Inner => both,
            JoinType::Left => both.max(l),
            JoinType::Right => both.max(r),
            JoinType::Full => both.max(l).max(r),
            JoinType::LeftSemi => both.min(l),
            JoinType::RightSemi => both.min(r),
            JoinType::LeftAnti => (l - both).max(l * EQUAL),
            JoinType::RightAnti => (r - both).max(r * EQUAL),
            JoinType::LeftMark => l,
            JoinType::RightMark => r,
        };
        let mut columns = left.columns;
        columns.extend(right.columns);
        Self {
            rows,
            is_known: left.is_known && right.is_known,
            columns,
        }
    }

    /// The same rows, and what is known of other columns of them.
    pub fn beside(mut self, other: &Self) -> Self {
        let columns = other.columns.clone();
        for (column, facts) in columns {
            self.columns.entry(column).or_insert(facts);
        }
        self
    }

    /// As a number to show, if it is more than a guess.
    pub fn known_rows(&self) -> Option<usize> {
        self.is_known.then_some(self.rows.ceil() as usize)
    }

    pub fn at_most(self, rows: usize) -> Self {
        Self {
            rows: self.rows.min(rows as f64),
            ..self
        }
    }

    /// How many different values there are, as far as known, in the table it comes from.
    pub fn domain(&self, expr: &Expr) -> Option<f64> {
        self.facts(expr)?.distinct
    }

    fn facts(&self, expr: &Expr) -> Option<&Facts> {
        self.columns.get(column_of(expr)?)
    }

    /// So many rows there were last time.
    pub fn learned(self, rows: u64) -> Self {
        Self {
            rows: (rows as f64).max(1.0),
            ..self
        }
    }

    pub fn reduced(self, part: f64) -> Self {
        Self {
            rows: (self.rows * part).max(1.0),
            ..self
        }
    }

    /// Which part of the rows a predicate leaves.
    pub fn selectivity(&self, predicate: &Expr) -> f64 {
        self.selectivity_of(std::iter::once(predicate))
    }

    /// Which part of the rows all of these leave: those on one column's histogram together, the others as if they did not
    /// depend on each other.
    pub fn selectivity_of<'a>(&self, predicates: impl Iterator<Item = &'a Expr>) -> f64 {
        let mut ranges: HashMap<&Column, (&Facts, f64, f64)> = HashMap::new();
        let mut part = 1.0;
        for predicate in predicates.flat_map(split_conjunction) {
            let on_histogram = range(predicate).and_then(|(column, from, to)| {
                let facts = self.columns.get(column)?;
                let histogram = facts.histogram.as_ref()?;
                Some((column, facts, histogram.below(from), histogram.below(to)))
            });
            match on_histogram {
                Some((column, facts, from, to)) => {
                    let known = ranges.entry(column).or_insert((facts, 0.0, 1.0));
                    *known = (facts, known.1.max(from), known.2.min(to));
                }
                None => part *= self.selectivity_alone(predicate),
            }
        }
        for (facts, from, to) in ranges.into_values() {
            // What is known is a sample: that nothing is there is not.
            let one = 1.0 / facts.distinct.unwrap_or(self.rows).max(1.0);
            part *= (to - from).max(one.min(RANGE));
        }
        part
    }

    fn selectivity_alone(&self, predicate: &Expr) -> f64 {
        let one_of = |domain: Option<f64>| domain.map_or(EQUAL, |domain| 1.0 / domain.max(1.0));
        let equal = |left: &Expr, right: &Expr| {
            let (left, right) = (self.domain(left), self.domain(right));
            one_of(left.into_iter().chain(right).reduce(f64::max))
        };
        match predicate {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::Or => {
                    let (l, r) = (self.selectivity(left), self.selectivity(right));
                    l + r - l * r
                }
                Operator::Eq | Operator::IsNotDistinctFrom => equal(left, right),
                Operator::NotEq | Operator::IsDistinctFrom => 1.0 - equal(left, right),
                Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => RANGE,
                _ => OTHER,
            },
            Expr::Between(_) => RANGE * RANGE,
            Expr::InList(list) => {
                let part = (one_of(self.domain(&list.expr)) * list.list.len() as f64).min(0.5);
                if list.negated { 1.0 - part } else { part }
            }
            Expr::Like(like) => match like.negated {
                true => 1.0 - LIKE,
                false => LIKE,
            },
            Expr::Not(inner) => 1.0 - self.selectivity(inner),
            Expr::IsNull(_) => NULL,
            Expr::IsNotNull(_) => 1.0 - NULL,
            Expr::Alias(alias) => self.selectivity(&alias.expr),
            _ => OTHER,
        }
    }
}

fn column_of(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => column_of(&alias.expr),
        Expr::Cast(cast) => column_of(&cast.expr),
        _ => None,
    }
}

/// A predicate that keeps a range of a column's values, as numbers of a [`Histogram`].
fn range(predicate: &Expr) -> Option<(&Column, f64, f64)> {
    match predicate {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, value) = match (column_of(left), column_of(right)) {
                (Some(column), None) => (column, *op, number(right)?),
                (None, Some(column)) => (column, op.swap()?, number(left)?),
                _ => return None,
            };
            match op {
                Operator::Lt | Operator::LtEq => Some((column, f64::NEG_INFINITY, value)),
                Operator::Gt | Operator::GtEq => Some((column, value, f64::INFINITY)),
                _ => None,
            }
        }
        Expr::Between(between) if !between.negated => {
            let (low, high) = (number(&between.low)?, number(&between.high)?);
            Some((column_of(&between.expr)?, low, high))
        }
        _ => None,
    }
}

/// A constant's place on a histogram's line.
fn number(expr: &Expr) -> Option<f64> {
    const SECONDS_PER_DAY: f64 = 86_400.0;
    let value = match expr {
        Expr::Literal(value, _) => value,
        Expr::Cast(cast) => return number(&cast.expr),
        _ => return None,
    };
    let to = |data_type| value.cast_to(&data_type).ok();
    let known = match value.data_type() {
        DataType::Date32 | DataType::Date64 => match to(DataType::Date32)? {
            ScalarValue::Date32(days) => days.map(f64::from),
            _ => None,
        },
        DataType::Timestamp(_, zone) => match to(DataType::Timestamp(TimeUnit::Second, zone))? {
            ScalarValue::TimestampSecond(seconds, _) => seconds.map(|s| s as f64 / SECONDS_PER_DAY),
            _ => None,
        },
        other if is_measured(&other) => match to(DataType::Float64)? {
            ScalarValue::Float64(value) => value,
            _ => None,
        },
        _ => None,
    };
    known.filter(|number| !number.is_nan())
}

/// Which part of all pairs of rows the equal keys of a join leave. A key that is unique on one side has its domain in
/// the other's values, too; several keys are at most as many as the table that has them has rows.
fn matched(left: &Estimate, right: &Estimate, on: &[(Expr, Expr)]) -> f64 {
    if on.is_empty() {
        return 1.0;
    }
    let mut combinations = 1.0_f64;
    for (l, r) in on {
        combinations *= match (left.facts(l), right.facts(r)) {
            (Some(l), Some(r)) => common_domain(l, r),
            (Some(facts), None) | (None, Some(facts)) => facts.distinct,
            (None, None) => None,
        }
        .unwrap_or(left.rows.min(right.rows));
    }
    let most = match on.len() {
        1 => f64::INFINITY,
        _ => left.rows.max(right.rows),
    };
    1.0 / combinations.min(most).max(1.0)
}

/// How many different values two columns have between them: as many as the one with more, which has the other's, too. But a
/// sample miscounts (InnoDB's of a few pages: 49 nations), and a key does not: not far above the key's values, it is what
/// refers to the key.
fn common_domain(left: &Facts, right: &Facts) -> Option<f64> {
    let (l, r) = match (left.distinct, right.distinct) {
        (Some(l), Some(r)) => (l, r),
        (known, other) => return known.or(other),
    };
    let refers = |key: &Facts, rows: f64, values: f64| key.is_unique && values <= rows * MISCOUNT;
    if refers(left, l, r) {
        return Some(l);
    }
    if refers(right, r, l) {
        return Some(r);
    }
    Some(l.max(r))
}

/// What is known of the columns of a schema, in their order.
fn named(schema: &DFSchema, known: impl Iterator<Item = Option<Facts>>) -> HashMap<Column, Facts> {
    let columns = schema.columns().into_iter().zip(known);
    columns
        .filter_map(|(column, facts)| Some((column, facts?)))
        .collect()
}

/// How many rows of a source's table met these conditions when it was asked last.
fn asked_before(filter: &Filter) -> Option<u64> {
    let LogicalPlan::TableScan(scan) = filter.input.as_ref() else {
        return None;
    };
    let provider = source_as_provider(&scan.source).ok()?;
    let any: &dyn std::any::Any = provider.as_ref();
    let table = any.downcast_ref::<SourceTable>()?;
    let conjuncts = split_conjunction(&filter.predicate).into_iter();
    let predicates = conjuncts.map(|e| expr::scalar(e, &scan.projected_schema).ok());
    let conditions = Conditions::of(&Rel::Filter {
        input: Box::new(table.rel(scan.projection.as_deref())),
        predicates: predicates.collect::<Option<_>>()?,
    })?;
    table.handle.learned.rows(conditions)
}

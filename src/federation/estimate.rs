use std::collections::HashMap;

use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, FetchType, Join, LogicalPlan, Operator, TableScan,
};

use super::provider::SourceTable;

/// Rows of a table of which nothing is known.
const UNKNOWN_ROWS: f64 = 1_000.0;
/// Parts of the rows that a predicate of unknown effect leaves.
const EQUAL: f64 = 0.1;
const RANGE: f64 = 1.0 / 3.0;
const LIKE: f64 = 0.1;
const NULL: f64 = 0.05;
const OTHER: f64 = 0.25;

/// What is thought of a relation, from what its sources say of their tables.
#[derive(Debug, Clone)]
pub struct Estimate {
    pub rows: f64,
    /// Whether all tables have said how many rows they have.
    is_known: bool,
    /// Of columns: how many different values their tables have in them. Filters do not change it: a row of the other
    /// side of a join finds one in so many.
    domains: HashMap<Column, f64>,
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
                domains: HashMap::new(),
            };
        }
        let Some(input) = inputs.pop() else {
            return match plan {
                LogicalPlan::TableScan(scan) => Self::of_scan(scan),
                LogicalPlan::Values(values) => Self::exactly(values.values.len() as f64),
                LogicalPlan::EmptyRelation(_) => Self::exactly(1.0),
                _ => Self {
                    is_known: false,
                    ..Self::exactly(UNKNOWN_ROWS)
                },
            };
        };
        match plan {
            LogicalPlan::Filter(filter) => {
                let part = input.selectivity(&filter.predicate);
                input.reduced(part)
            }
            LogicalPlan::Projection(projection) => {
                let known = projection.expr.iter().map(|expr| input.domain(expr));
                let domains = named(&projection.schema, known);
                Self { domains, ..input }
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let inner = alias.input.schema().columns();
                let known = inner.iter().map(|c| input.domains.get(c).copied());
                let domains = named(&alias.schema, known);
                Self { domains, ..input }
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
            domains: HashMap::new(),
        }
    }

    fn of_scan(scan: &TableScan) -> Self {
        let mut domains = HashMap::new();
        let mut rows = None;
        if let Ok(provider) = source_as_provider(&scan.source) {
            rows = provider
                .statistics()
                .and_then(|known| known.num_rows.get_value().map(|rows| *rows as f64));
            let any: &dyn std::any::Any = provider.as_ref();
            if let Some(SourceTable { table, .. }) = any.downcast_ref::<SourceTable>() {
                let name = |column: &str| Column::new(Some(scan.table_name.clone()), column);
                let known = table.columns.iter().filter_map(|c| Some((c, c.distinct?)));
                domains.extend(known.map(|(c, distinct)| (name(&c.name), distinct as f64)));
                if let (Some(rows), [key]) = (rows, &table.primary_key[..]) {
                    domains.insert(name(key), rows);
                }
            }
        }
        let whole = Self {
            rows: rows.unwrap_or(UNKNOWN_ROWS),
            is_known: rows.is_some(),
            domains,
        };
        let parts = scan.filters.iter().map(|filter| whole.selectivity(filter));
        let part = parts.product();
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
        let known: Vec<_> = keys.map(|e| input.domain(e)).collect();
        let groups: Option<f64> = known.iter().copied().product();
        let rows = groups.unwrap_or(input.rows / 10.0).min(input.rows).max(1.0);
        let mut domains = named(&aggregate.schema, known.into_iter());
        if let [key] = &aggregate.schema.columns()[..aggregate.group_expr.len()] {
            domains.entry(key.clone()).or_insert(rows);
        }
        Self {
            rows,
            domains,
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
        let mut domains = left.domains;
        domains.extend(right.domains);
        Self {
            rows,
            is_known: left.is_known && right.is_known,
            domains,
        }
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
        match expr {
            Expr::Column(column) => self.domains.get(column).copied(),
            Expr::Alias(alias) => self.domain(&alias.expr),
            Expr::Cast(cast) => self.domain(&cast.expr),
            _ => None,
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
        let equal = |value: &Expr| {
            self.domain(value)
                .map_or(EQUAL, |domain| 1.0 / domain.max(1.0))
        };
        match predicate {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And => self.selectivity(left) * self.selectivity(right),
                Operator::Or => {
                    let (l, r) = (self.selectivity(left), self.selectivity(right));
                    l + r - l * r
                }
                Operator::Eq | Operator::IsNotDistinctFrom => equal(left).min(equal(right)),
                Operator::NotEq | Operator::IsDistinctFrom => 1.0 - equal(left).min(equal(right)),
                Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => RANGE,
                _ => OTHER,
            },
            Expr::Between(_) => RANGE * RANGE,
            Expr::InList(list) => {
                let part = (equal(&list.expr) * list.list.len() as f64).min(0.5);
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

/// Which part of all pairs of rows the equal keys of a join leave. A key that is unique on one side has its domain in
/// the other's values, too; several keys are at most as many as the table that has them has rows.
fn matched(left: &Estimate, right: &Estimate, on: &[(Expr, Expr)]) -> f64 {
    if on.is_empty() {
        return 1.0;
    }
    let mut combinations = 1.0_f64;
    for (l, r) in on {
        combinations *= match (left.domain(l), right.domain(r)) {
            (Some(l), Some(r)) => l.max(r),
            (Some(known), None) | (None, Some(known)) => known,
            (None, None) => left.rows.min(right.rows),
        };
    }
    let most = match on.len() {
        1 => f64::INFINITY,
        _ => left.rows.max(right.rows),
    };
    1.0 / combinations.min(most).max(1.0)
}

/// What is known of the columns of a schema, in their order.
fn named(schema: &DFSchema, known: impl Iterator<Item = Option<f64>>) -> HashMap<Column, f64> {
    let columns = schema.columns().into_iter().zip(known);
    columns
        .filter_map(|(column, domain)| Some((column, domain?)))
        .collect()
}

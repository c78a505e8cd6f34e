use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    self, GroupByExpr, Join, LimitClause, Offset, OffsetRows, OrderBy, OrderByExpr, OrderByKind,
    Query, Select, SelectFlavor, SelectItem, SetExpr, SetOperator, SetQuantifier, TableAlias,
    TableFactor, TableWithJoins,
};

use crate::dialect::{Dialect, Facts};
use crate::sql;

/// One output column of a block.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// Over what is in the block's FROM.
    pub sql: ast::Expr,
    pub facts: Facts,
}

/// One SELECT under construction. Nodes are added to it while SQL's order of clauses is theirs; then it is wrapped into
/// the FROM of the next.
#[derive(Debug)]
pub(crate) struct Block {
    pub from: TableWithJoins,
    pub columns: Vec<Column>,
    pub conditions: Vec<ast::Expr>,
    /// Conditions that are true or raise an error, one for each column that an expression uses.
    pub guards: Vec<ast::Expr>,
    /// Some: it is an aggregate, over one group if empty.
    pub group_by: Option<Vec<ast::Expr>>,
    pub having: Vec<ast::Expr>,
    /// Some columns are over windows of its rows.
    pub has_windows: bool,
    pub order_by: Vec<OrderByExpr>,
    pub skip: u64,
    pub fetch: Option<u64>,
}

impl Block {
    pub fn over(from: TableWithJoins, columns: Vec<Column>) -> Self {
        Self {
            from,
            columns,
            conditions: Vec::new(),
            guards: Vec::new(),
            group_by: None,
            having: Vec::new(),
            has_windows: false,
            order_by: Vec::new(),
            skip: 0,
            fetch: None,
        }
    }

    pub fn is_limited(&self) -> bool {
        self.skip > 0 || self.fetch.is_some()
    }

    /// FROM and WHERE alone (an order that nothing above sees does not count).
    pub fn is_plain(&self) -> bool {
        self.group_by.is_none() && !self.has_windows && !self.is_limited()
    }

    /// Every column is one of a table in the FROM.
    pub fn has_bare_columns(&self) -> bool {
        self.columns.iter().all(|column| is_bare(&column.sql))
    }

    /// Whether one of these columns is such.
    pub fn reads(&self, columns: &BTreeSet<usize>, such: impl Fn(&ast::Expr) -> bool) -> bool {
        let mut read = columns.iter().filter_map(|i| self.columns.get(*i));
        read.any(|column| such(&column.sql))
    }

    fn has_exists_over_derived(&self) -> bool {
        let joined = self.from.joins.iter().map(|join| &join.relation);
        let mut relations = joined.chain([&self.from.relation]);
        let columns = self.columns.iter().map(|column| &column.sql);
        relations.any(|relation| matches!(relation, TableFactor::Derived { .. }))
            && self.conditions.iter().chain(columns).any(has_exists)
    }

    pub fn add_guards(&mut self, guards: impl IntoIterator<Item = ast::Expr>) {
        // A group's columns are made of guarded ones.
        if self.group_by.is_none() {
            for guard in guards {
                if !self.guards.contains(&guard) {
                    self.guards.push(guard);
                }
            }
        }
    }

    /// A further limit on top of what is there.
    pub fn limit(&mut self, skip: u64, fetch: Option<u64>) {
        let left = self.fetch.map(|mine| mine.saturating_sub(skip));
        self.skip = self.skip.saturating_add(skip);
        self.fetch = match (left, fetch) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }

    /// As a table of a new block, in which the columns have names of the dialect's: c0, c1 …
    pub fn wrap(mut self, alias: String, dialect: &dyn Dialect) -> Self {
        if !dialect.merges_exists() && self.has_exists_over_derived() {
            // What has a limit is not merged.
            self.fetch.get_or_insert(u64::MAX);
        }
        let prefix = dialect.output_prefix(&alias);
        let columns = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| Column {
                sql: sql::column(&alias, output_name(&prefix, i)),
                facts: match column.facts.native_type {
                    Some(_) if is_bare(&column.sql) => column.facts.clone(),
                    // Systems differ in whether a subquery's column keeps the collation of an expression.
                    _ => Facts::default(),
                },
            })
            .collect();
        let query = self.into_query(dialect, Some(&prefix));
        Self::over(derived(query, alias), columns)
    }

    /// Columns are named with this prefix; without one, those that are computed are c0, c1 …
    pub fn into_query(self, dialect: &dyn Dialect, prefix: Option<&str>) -> Query {
        let order_by = (!self.order_by.is_empty()).then(|| OrderBy {
            kind: OrderByKind::Expressions(self.order_by.clone()),
            interpolate: None,
        });
        let limit_clause = self.is_limited().then(|| LimitClause::LimitOffset {
            limit: match self.fetch {
                Some(fetch) => Some(row_count(fetch)),
                None => dialect.no_limit().map(sql::number),
            },
            offset: (self.skip > 0).then(|| Offset {
                value: row_count(self.skip),
                rows: OffsetRows::None,
            }),
            limit_by: Vec::new(),
        });
        let mut query = query(SetExpr::Select(Box::new(self.into_select(prefix))));
        query.order_by = order_by;
        query.limit_clause = limit_clause;
        query
    }

    pub fn into_select(self, prefix: Option<&str>) -> Select {
        let mut projection: Vec<SelectItem> = self
            .columns
            .into_iter()
            .enumerate()
            .map(
                |(i, column)| match prefix.is_some() || !is_bare(&column.sql) {
                    true => SelectItem::ExprWithAlias {
                        expr: column.sql,
                        alias: output_name(prefix.unwrap_or("c"), i),
                    },
                    false => SelectItem::UnnamedExpr(column.sql),
                },
            )
            .collect();
        if projection.is_empty() {
            projection.push(SelectItem::UnnamedExpr(sql::number(1)));
        }
        Select {
            select_token: ast::helpers::attached_token::AttachedToken::empty(),
            optimizer_hints: Vec::new(),
            distinct: None,
            select_modifiers: None,
            top: None,
            top_before_distinct: false,
            projection,
            exclude: None,
            into: None,
            from: vec![self.from],
            lateral_views: Vec::new(),
            prewhere: None,
            selection: sql::all(self.conditions.into_iter().chain(self.guards)),
            connect_by: Vec::new(),
            group_by: GroupByExpr::Expressions(self.group_by.unwrap_or_default(), Vec::new()),
            cluster_by: Vec::new(),
            distribute_by: Vec::new(),
            sort_by: Vec::new(),
            having: sql::all(self.having),
            named_window: Vec::new(),
            qualify: None,
            window_before_qualify: false,
            value_table_mode: None,
            flavor: SelectFlavor::Standard,
        }
    }
}

pub(crate) fn is_bare(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::CompoundIdentifier(_))
}

/// Whether it asks, somewhere, if a subquery has a row.
pub(crate) fn has_exists(expr: &ast::Expr) -> bool {
    let found = ast::visit_expressions(expr, |part| match part {
        ast::Expr::Exists { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Neither column nor call: in ORDER BY or GROUP BY a number, bound or not, may name a column, and PostgreSQL refuses any
/// other constant.
pub(crate) fn is_constant(expr: &ast::Expr) -> bool {
    let found = ast::visit_expressions(expr, |part| match part {
        ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) | ast::Expr::Function(_) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_continue()
}

pub(crate) fn output_name(prefix: &str, i: usize) -> ast::Ident {
    sql::word(format!("{prefix}{i}"))
}

/// Limits beyond what systems take are no limits.
fn row_count(rows: u64) -> ast::Expr {
    sql::number(rows.min(i64::MAX as u64))
}

pub(crate) fn query(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// `SELECT … UNION ALL SELECT …`; at least one branch.
pub(crate) fn union_all(branches: impl IntoIterator<Item = Select>) -> Option<Query> {
    branches
        .into_iter()
        .map(|select| SetExpr::Select(Box::new(select)))
        .reduce(|left, right| SetExpr::SetOperation {
            op: SetOperator::Union,
            set_quantifier: SetQuantifier::All,
            left: Box::new(left),
            right: Box::new(right),
        })
        .map(query)
}

fn alias(name: String) -> Option<TableAlias> {
    Some(TableAlias {
        explicit: true,
        name: sql::word(name),
        columns: Vec::new(),
        at: None,
    })
}

pub(crate) fn derived(subquery: Query, name: String) -> TableWithJoins {
    alone(TableFactor::Derived {
        lateral: false,
        subquery: Box::new(subquery),
        alias: alias(name),
        sample: None,
    })
}

pub(crate) fn table(table: ast::ObjectName, name: String) -> TableWithJoins {
    alone(named(table, alias(name), None))
}

/// `SELECT value FROM function(list)`.
pub(crate) fn values_of(function: ast::Ident, list: ast::Expr) -> Query {
    let args = ast::TableFunctionArgs {
        args: vec![ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(list))],
        settings: None,
    };
    let from = alone(named(function.into(), None, Some(args)));
    let value = Column {
        sql: ast::Expr::Identifier(sql::word("value")),
        facts: Facts::default(),
    };
    let select = Block::over(from, vec![value]).into_select(None);
    query(SetExpr::Select(Box::new(select)))
}

pub(crate) fn named(
    name: ast::ObjectName,
    alias: Option<TableAlias>,
    args: Option<ast::TableFunctionArgs>,
) -> TableFactor {
    TableFactor::Table {
        name,
        alias,
        args,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

pub(crate) fn alone(relation: TableFactor) -> TableWithJoins {
    TableWithJoins {
        relation,
        joins: Vec::<Join>::new(),
    }
}

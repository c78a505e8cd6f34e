use std::collections::BTreeSet;

use arrow::datatypes::Schema;
use belvedere_connector::{
    Aggregate, BinaryOp, Expr, ExprKind, Fragment, JoinKind, Rel, SortKey, Support, TableRef,
    Window,
};
use sqlparser::ast::{
    self, Join, JoinConstraint, JoinOperator, OrderByExpr, OrderByOptions, TableFactor,
};

use crate::block::{self, Block, Column, has_exists, is_bare, is_constant};
use crate::dialect::{Aggregated, Dialect, Facts, Nulls, Operand, Position, Use};
use crate::render::{Rendered, Renderer, Scope, has_parameter, only_where};
use crate::{sql, standard};

/// A fragment as SQL for a dialect; `Err` says what has no proven rendering.
///
/// The outermost columns are in the order of the fragment's schema; a fragment without columns selects a constant for
/// each row.
pub fn render(fragment: &Fragment, dialect: &dyn Dialect) -> Result<Rendered, String> {
    // Rendering, numbering and printing recurse, and a long chain of joins is a deep tree.
    let stack = STACK_PER_NODE * (depth(&fragment.rel) + 1);
    stacker::maybe_grow(stack, stack, || render_here(fragment, dialect))
}

/// What one level of a fragment takes in a debug build, with room to spare.
const STACK_PER_NODE: usize = 256 << 10;

/// Nodes from the root to the deepest leaf.
fn depth(root: &Rel) -> usize {
    let mut deepest = 0;
    let mut open = vec![(root, 1)];
    while let Some((rel, level)) = open.pop() {
        deepest = deepest.max(level);
        open.extend(rel.inputs().into_iter().map(|input| (input, level + 1)));
    }
    deepest
}

fn render_here(fragment: &Fragment, dialect: &dyn Dialect) -> Result<Rendered, String> {
    let renderer = Renderer::new(dialect);
    let mut block = renderer.rel(&fragment.rel)?;
    for (column, field) in block.columns.iter_mut().zip(fragment.schema().fields()) {
        column.sql = dialect.output(field, &column.facts, column.sql.clone())?;
    }
    let facts = block.columns.iter().map(|c| c.facts.clone()).collect();
    let query = block.into_query(dialect, None);
    renderer.finish(query, facts)
}

/// One predicate over an input whose columns are known by their fields alone.
pub(crate) fn predicate(predicate: &Expr, input: &Schema, dialect: &dyn Dialect) -> Support {
    let scope = Scope::new(input.fields().iter().map(|field| Column {
        sql: sql::column("t0", dialect.ident(field.name())),
        facts: Facts::of(field),
    }));
    match Renderer::new(dialect).predicate(predicate, &scope) {
        Ok((_, None)) => Support::Exact,
        Ok((_, Some(why))) => Support::Superset(why),
        Err(why) => Support::No(why),
    }
}

impl Renderer<'_> {
    pub(crate) fn rel(&self, rel: &Rel) -> Result<Block, String> {
        match rel {
            Rel::Scan { table, schema } => Ok(self.scan(table, schema)),
            Rel::Filter { input, predicates } => self.filter(self.rel(input)?, predicates),
            Rel::Project { input, columns } => {
                let exprs: Vec<&Expr> = columns.iter().map(|(expr, _)| expr).collect();
                self.project(self.rel(input)?, &exprs)
            }
            Rel::Join {
                left,
                right,
                kind,
                on,
                filter,
            } => self.join(
                self.rel(left)?,
                self.rel(right)?,
                *kind,
                on,
                filter.as_ref(),
            ),
            Rel::Aggregate {
                input,
                group_by,
                aggregates,
            } => {
                let keys: Vec<&Expr> = group_by.iter().map(|(expr, _)| expr).collect();
                let aggregates: Vec<&Aggregate> = aggregates.iter().map(|(a, _)| a).collect();
                self.aggregate(self.rel(input)?, &keys, &aggregates)
            }
            Rel::Window { input, windows } => {
                let windows: Vec<&Window> = windows.iter().map(|(window, _)| window).collect();
                self.windows(self.rel(input)?, &windows)
            }
            Rel::Sort { input, keys, fetch } => self.sort(self.rel(input)?, keys, *fetch),
            Rel::Limit { input, skip, fetch } => {
                let mut block = self.rel(input)?;
                block.limit(*skip, *fetch);
                Ok(block)
            }
            Rel::UnionAll { inputs, schema } => self.union_all(inputs, schema),
        }
    }

    fn scan(&self, table: &TableRef, schema: &Schema) -> Block {
        let alias = self.next_alias();
        let columns = schema
            .fields()
            .iter()
            .map(|field| Column {
                sql: sql::column(&alias, self.dialect.ident(field.name())),
                facts: Facts::of(field),
            })
            .collect();
        Block::over(block::table(self.dialect.table(table), alias), columns)
    }

    pub(crate) fn wrap(&self, block: Block) -> Block {
        block.wrap(self.next_alias(), self.dialect)
    }

    fn filter(&self, block: Block, predicates: &[Expr]) -> Result<Block, String> {
        // HAVING over one group cannot do without it, and MariaDB's does not know a computed key for the same.
        let groups = block.group_by.as_ref();
        let needs_rows = groups.is_some_and(|keys| keys.is_empty() || !keys.iter().all(is_bare));
        let mut block = match block.is_limited() || block.has_windows || needs_rows {
            true => self.wrap(block),
            false => block,
        };
        let scope = Scope::new(block.columns.iter().cloned());
        for predicate in predicates {
            let (condition, _) = self.predicate(predicate, &scope)?;
            match block.group_by {
                Some(_) => block.having.push(condition),
                None => block.conditions.push(condition),
            }
        }
        block.add_guards(scope.into_guards().into_iter().map(|(_, guard)| guard));
        Ok(block)
    }

    fn project(&self, block: Block, exprs: &[&Expr]) -> Result<Block, String> {
        let mut used = vec![0usize; block.columns.len()];
        exprs.iter().for_each(|expr| count_uses(expr, &mut used));
        let repeats = block
            .columns
            .iter()
            .zip(&used)
            .any(|(column, used)| *used > 1 && !is_bare(&column.sql));
        // A global aggregate is one only while an aggregate is selected.
        let one_group = block.group_by.as_ref().is_some_and(Vec::is_empty);
        let loses_group = one_group && used.iter().all(|used| *used == 0);
        // What is computed of a window's value is computed above it, as systems differ in how well they do that.
        let above = block.has_windows && exprs.iter().any(|e| e.as_column().is_none());
        let mut block = match repeats || loses_group || above {
            true => self.wrap(block),
            false => block,
        };
        let scope = Scope::new(block.columns.iter().cloned());
        let mut columns = Vec::with_capacity(exprs.len());
        for expr in exprs {
            columns.push(match expr.as_column().and_then(|i| block.columns.get(i)) {
                Some(passed) => passed.clone(),
                None => self.exact(expr, &scope)?.into_column(),
            });
        }
        block.columns = columns;
        block.add_guards(scope.into_guards().into_iter().map(|(_, guard)| guard));
        Ok(block)
    }

    fn join(
        &self,
        mut left: Block,
        mut right: Block,
        kind: JoinKind,
        on: &[(Expr, Expr)],
        filter: Option<&Expr>,
    ) -> Result<Block, String> {
        self.dialect.join(kind, !on.is_empty(), filter.is_some())?;
        let left_filled = matches!(kind, JoinKind::Right | JoinKind::Full);
        let right_filled = matches!(kind, JoinKind::Left | JoinKind::Full);
        let exists = kind.is_existence();
        if !left.is_plain()
            || (left_filled && !(left.conditions.is_empty() && left.has_bare_columns()))
        {
            left = self.wrap(left);
        }
        let right_fits = right.is_plain()
            && (exists
                || (right.from.joins.is_empty()
                    && (!right_filled || right.has_bare_columns())
                    && (kind != JoinKind::Full || right.conditions.is_empty())));
        if !right_fits {
            right = self.wrap(right);
        }
        let width = left.columns.len();
        let scope = Scope::new(left.columns.iter().chain(&right.columns).cloned());
        let mut condition = Vec::new();
        for (l, r) in on {
            let r = r.map_columns(&|i| i + width);
            let (l, r) = (self.exact(l, &scope)?, self.exact(&r, &scope)?);
            let equal = standard::compare(self.dialect, BinaryOp::Eq, &l, &r, Position::Value)?;
            if let Some(why) = equal.superset {
                return Err(why);
            }
            condition.push(equal.sql);
        }
        if let Some(filter) = filter {
            condition.push(self.exact(filter, &scope)?.sql);
        }
        for (index, guard) in scope.into_guards() {
            match index < width {
                true => left.add_guards([guard]),
                false => right.add_guards([guard]),
            }
        }
        left.order_by.clear();
        if exists {
            right.columns.clear();
            right.order_by.clear();
            right.conditions.extend(condition);
            let sql = ast::Expr::Exists {
                subquery: Box::new(right.into_query(self.dialect, None)),
                negated: kind == JoinKind::LeftAnti,
            };
            match kind {
                JoinKind::LeftMark => left.columns.push(Column {
                    sql,
                    facts: Facts::default(),
                }),
                _ => left.conditions.push(sql),
            }
            return Ok(left);
        }
        match kind {
            // A filter of the side that may be empty decides which rows match.
            JoinKind::Left => condition.append(&mut right.conditions),
            _ => left.conditions.append(&mut right.conditions),
        }
        left.columns.extend(right.columns);
        left.add_guards(right.guards);
        left.from
            .joins
            .push(join_of(kind, right.from.relation, condition));
        Ok(left)
    }

    fn aggregate(
        &self,
        block: Block,
        keys: &[&Expr],
        aggregates: &[&Aggregate],
    ) -> Result<Block, String> {
        if keys.is_empty() && aggregates.is_empty() {
            return Err("an aggregate of nothing".to_string());
        }
        let mut read = BTreeSet::new();
        keys.iter().for_each(|key| key.columns_read(&mut read));
        aggregates.iter().for_each(|a| a.columns_read(&mut read));
        // A key's subquery reads columns that are no keys.
        let reads_mark = block.reads(&read, has_exists);
        let mut block = match block.is_plain() && !reads_mark {
            true => block,
            false => self.wrap(block),
        };
        block.order_by.clear();
        let scope = Scope::new(block.columns.iter().cloned());
        let mut group_by = Vec::new();
        for key in keys {
            if matches!(key.kind, ExprKind::Literal(_)) {
                return Err("a constant group key".to_string());
            }
            let operand = self.exact(key, &scope)?;
            group_by.push(Column {
                sql: self.dialect.key(&operand, Use::Group)?,
                facts: operand.facts,
            });
        }
        if group_by
            .iter()
            .any(|key| has_parameter(&key.sql) || is_constant(&key.sql))
        {
            // The key must be recognised as itself in the output, which placeholders by place prevent; and a
            // constant that a projection below has put in a column's place is none.
            let width = block.columns.len();
            block.columns.extend(group_by);
            block.add_guards(scope.into_guards().into_iter().map(|(_, guard)| guard));
            let block = self.wrap(block);
            let columns: Vec<Expr> = keys
                .iter()
                .enumerate()
                .map(|(i, key)| Expr::column(width + i, key.data_type.clone(), key.nullable))
                .collect();
            return self.aggregate(block, &columns.iter().collect::<Vec<_>>(), aggregates);
        }
        let mut columns = group_by.clone();
        for aggregate in aggregates {
            columns.push(self.aggregate_column(aggregate, None, &scope)?);
        }
        block.columns = columns;
        block.add_guards(scope.into_guards().into_iter().map(|(_, guard)| guard));
        block.group_by = Some(group_by.into_iter().map(|key| key.sql).collect());
        Ok(block)
    }

    /// An aggregate, over a window if there is one.
    pub(crate) fn aggregate_column(
        &self,
        aggregate: &Aggregate,
        window: Option<ast::WindowSpec>,
        scope: &Scope,
    ) -> Result<Column, String> {
        let filter = match &aggregate.filter {
            Some(filter) => Some(self.exact(filter, scope)?.sql),
            None => None,
        };
        let Some(arg) = &aggregate.arg else {
            let rendered = match filter {
                Some(_) => {
                    let counted = only_where(filter, sql::number(1));
                    Aggregated::plain(sql::function("count", vec![counted], false))
                }
                None => standard::aggregate(self.dialect, aggregate, None)?,
            };
            return Ok(Column {
                sql: rendered.over(window),
                facts: Facts::default(),
            });
        };
        let mut arg = self.exact(arg, scope)?;
        arg.sql = only_where(filter, arg.sql);
        let rendered = standard::aggregate(self.dialect, aggregate, Some(&arg))?;
        use belvedere_connector::AggregateFunction::{Max, Min};
        let facts = match aggregate.function {
            Min | Max => arg.facts,
            _ => Facts::default(),
        };
        Ok(Column {
            sql: rendered.over(window),
            facts,
        })
    }

    fn sort(&self, block: Block, keys: &[SortKey], fetch: Option<u64>) -> Result<Block, String> {
        let mut block = match block.is_limited() || block.has_windows {
            true => self.wrap(block),
            false => block,
        };
        let scope = Scope::new(block.columns.iter().cloned());
        block.order_by = self.order_by(keys, &scope)?;
        block.fetch = fetch;
        block.add_guards(scope.into_guards().into_iter().map(|(_, guard)| guard));
        Ok(block)
    }

    pub(crate) fn order_by(
        &self,
        keys: &[SortKey],
        scope: &Scope,
    ) -> Result<Vec<OrderByExpr>, String> {
        let mut order_by = Vec::new();
        for key in keys {
            // A constant orders nothing, and a number would name a column.
            if matches!(key.expr.kind, ExprKind::Literal(_)) {
                continue;
            }
            let operand = self.exact(&key.expr, scope)?;
            if !is_constant(&operand.sql) {
                let value = self.dialect.key(&operand, Use::Sort)?;
                order_by.extend(order_by_exprs(self.dialect, value, key));
            }
        }
        Ok(order_by)
    }

    fn union_all(&self, inputs: &[Rel], schema: &Schema) -> Result<Block, String> {
        let mut branches = Vec::new();
        for input in inputs {
            let mut branch = self.rel(input)?;
            if branch.is_limited() {
                branch = self.wrap(branch);
            }
            branch.order_by.clear();
            branches.push(branch);
        }
        let mut facts = Vec::new();
        for (i, field) in schema.fields().iter().enumerate() {
            let of = |b: &Block| {
                b.columns
                    .get(i)
                    .map(|c| c.facts.clone())
                    .unwrap_or_default()
            };
            // Of one type and collation, sent as stored; systems refuse or convert what differs.
            let stored_alike = branches.windows(2).all(|pair| of(&pair[0]) == of(&pair[1]))
                && branches
                    .iter()
                    .filter_map(|b| b.columns.get(i))
                    .all(|c| c.facts.native_type.is_none() || is_bare(&c.sql));
            if !stored_alike {
                for branch in &mut branches {
                    let expr = Expr::column(i, field.data_type().clone(), field.is_nullable());
                    let scope = Scope::new(branch.columns.iter().cloned());
                    branch.columns[i] = self.column(&expr, i, &scope)?.into_column();
                    let guards = scope.into_guards();
                    branch.add_guards(guards.into_iter().map(|(_, guard)| guard));
                }
            }
            facts.push(
                branches
                    .iter()
                    .map(of)
                    .reduce(|a, b| a.common(&b))
                    .unwrap_or_default(),
            );
        }
        let alias = self.next_alias();
        let prefix = self.dialect.output_prefix(&alias);
        let selects = branches
            .into_iter()
            .map(|branch| branch.into_select(Some(&prefix)));
        let query = block::union_all(selects).ok_or("a union of nothing")?;
        let columns = facts
            .into_iter()
            .enumerate()
            .map(|(i, facts)| Column {
                sql: sql::column(&alias, block::output_name(&prefix, i)),
                facts,
            })
            .collect();
        Ok(Block::over(block::derived(query, alias), columns))
    }
}

impl Operand<'_> {
    pub(crate) fn into_column(self) -> Column {
        Column {
            sql: self.sql,
            facts: self.facts,
        }
    }
}

fn count_uses(expr: &Expr, used: &mut [usize]) {
    if let Some(count) = expr.as_column().and_then(|i| used.get_mut(i)) {
        *count += 1;
    }
    for child in expr.children() {
        count_uses(child, used);
    }
}

fn join_of(kind: JoinKind, relation: TableFactor, condition: Vec<ast::Expr>) -> Join {
    let unconditional = condition.is_empty();
    let on = JoinConstraint::On(sql::all(condition).unwrap_or_else(sql::always));
    Join {
        relation,
        global: false,
        join_operator: match kind {
            JoinKind::Left => JoinOperator::Left(on),
            JoinKind::Right => JoinOperator::Right(on),
            JoinKind::Full => JoinOperator::FullOuter(on),
            _ if unconditional => JoinOperator::CrossJoin(JoinConstraint::None),
            _ => JoinOperator::Join(on),
        },
    }
}

fn order_by_exprs(dialect: &dyn Dialect, value: ast::Expr, key: &SortKey) -> Vec<OrderByExpr> {
    let by = |expr, descending: bool, nulls_first| OrderByExpr {
        expr,
        options: OrderByOptions {
            asc: descending.then_some(false),
            nulls_first,
        },
        with_fill: None,
    };
    match dialect.nulls() {
        Nulls::Stated => {
            let nulls_first = key.expr.nullable.then_some(key.nulls_first);
            vec![by(value, key.descending, nulls_first)]
        }
        // Ascending has them first by itself, descending last.
        Nulls::Lowest if key.expr.nullable && key.nulls_first == key.descending => vec![
            by(sql::is_null(value.clone()), key.nulls_first, None),
            by(value, key.descending, None),
        ],
        Nulls::Lowest => vec![by(value, key.descending, None)],
    }
}

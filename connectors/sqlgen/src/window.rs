use std::collections::BTreeSet;

use belvedere_connector::{Bound, ExprKind, Frame, Window, WindowFunction};
use sqlparser::ast::{self, WindowFrameBound, WindowFrameUnits};

use crate::block::{Block, Column, has_exists, is_bare, is_constant};
use crate::dialect::{Aggregated, Facts, Use};
use crate::render::{Renderer, Scope};
use crate::sql;

impl Renderer<'_> {
    pub(crate) fn windows(&self, block: Block, windows: &[&Window]) -> Result<Block, String> {
        let mut read = BTreeSet::new();
        windows.iter().for_each(|w| w.columns_read(&mut read));
        // Windows of nothing but its tables may stand beside those that it has.
        let fits = block.group_by.is_none()
            && !block.is_limited()
            && !block.reads(&read, |sql| {
                has_exists(sql) || block.has_windows && !is_bare(sql)
            });
        let mut block = match fits {
            true => block,
            false => self.wrap(block),
        };
        block.order_by.clear();
        let scope = Scope::new(block.columns.iter().cloned());
        for window in windows {
            self.dialect.window(window)?;
            block.columns.push(self.window(window, &scope)?);
        }
        block.has_windows = true;
        block.add_guards(scope.into_guards().into_iter().map(|(_, guard)| guard));
        Ok(block)
    }

    fn window(&self, window: &Window, scope: &Scope) -> Result<Column, String> {
        let over = self.over(window, scope)?;
        let plain = |name: &str, args| {
            let call = Aggregated::plain(sql::function(name, args, false));
            call.over(Some(over.clone()))
        };
        let ranked = |name: &str| match over.order_by.is_empty() {
            // Systems differ in whether they take it.
            true => Err(format!("{name}() without an order")),
            false => Ok(Column {
                sql: plain(name, Vec::new()),
                facts: Facts::default(),
            }),
        };
        let value_of = |name: &str, arg, offset: Option<u64>| {
            let operand = self.exact(arg, scope)?;
            let args = [operand.sql].into_iter().chain(offset.map(sql::number));
            Ok(Column {
                sql: plain(name, args.collect()),
                facts: operand.facts,
            })
        };
        match &window.function {
            WindowFunction::RowNumber => ranked("row_number"),
            WindowFunction::Rank => ranked("rank"),
            WindowFunction::DenseRank => ranked("dense_rank"),
            WindowFunction::Aggregate(aggregate) => {
                self.aggregate_column(aggregate, Some(over), scope)
            }
            WindowFunction::Lag { arg, offset } => value_of("lag", arg, Some(*offset)),
            WindowFunction::Lead { arg, offset } => value_of("lead", arg, Some(*offset)),
            WindowFunction::FirstValue(arg) => value_of("first_value", arg, None),
            WindowFunction::LastValue(arg) => value_of("last_value", arg, None),
        }
    }

    fn over(&self, window: &Window, scope: &Scope) -> Result<ast::WindowSpec, String> {
        let mut partition_by = Vec::new();
        for key in &window.partition_by {
            // A constant tells no rows apart.
            if matches!(key.kind, ExprKind::Literal(_)) {
                continue;
            }
            let operand = self.exact(key, scope)?;
            if !is_constant(&operand.sql) {
                partition_by.push(self.dialect.key(&operand, Use::Group)?);
            }
        }
        for key in &window.order_by {
            // Peers are a group.
            let operand = self.exact(&key.expr, scope)?;
            self.dialect.key(&operand, Use::Group)?;
        }
        let order_by = self.order_by(&window.order_by, scope)?;
        let rows = |start, end| ast::WindowFrame {
            units: WindowFrameUnits::Rows,
            start_bound: bound(start, WindowFrameBound::Preceding(None)),
            end_bound: Some(bound(end, WindowFrameBound::Following(None))),
        };
        Ok(ast::WindowSpec {
            window_name: None,
            partition_by,
            window_frame: match window.frame {
                Frame::Rows { start, end } => Some(rows(start, end)),
                Frame::Partition if !order_by.is_empty() => {
                    Some(rows(Bound::Unbounded, Bound::Unbounded))
                }
                // What is meant where nothing is said: all rows without an order, up to the row's peers with one.
                Frame::Partition | Frame::Peers => None,
            },
            order_by,
        })
    }
}

fn bound(bound: Bound, unbounded: WindowFrameBound) -> WindowFrameBound {
    let rows = |n| Some(Box::new(sql::number(n)));
    match bound {
        Bound::Unbounded => unbounded,
        Bound::Preceding(n) => WindowFrameBound::Preceding(rows(n)),
        Bound::CurrentRow => WindowFrameBound::CurrentRow,
        Bound::Following(n) => WindowFrameBound::Following(rows(n)),
    }
}

//! Joins that look rows up in a table, for systems that would do it the wrong way round.

use belvedere_connector::{Expr, JoinKind, Rel, holds_primary_key};
use sqlparser::ast::JoinOperator;

use crate::block::Block;
use crate::render::Renderer;

impl Renderer<'_> {
    /// Where one side is a table whose rows are looked up, it is read last, whatever the system thinks.
    pub fn straight_join(
        &self,
        (left, mut l): (&Rel, Block),
        (right, mut r): (&Rel, Block),
        on: &[(Expr, Expr)],
        filter: Option<&Expr>,
    ) -> Result<Block, String> {
        let kind = JoinKind::Inner;
        if is_lookup(right, on.iter().map(|(_, key)| key)) {
            let mut joined = self.join(l, r, kind, on, filter)?;
            joined.read_last_join_last();
            return Ok(joined);
        }
        if is_lookup(left, on.iter().map(|(key, _)| key)) {
            let (width, wider) = (l.columns.len(), r.columns.len());
            let on: Vec<_> = on.iter().map(|(l, r)| (r.clone(), l.clone())).collect();
            let swapped = |i| match i < width {
                true => i + wider,
                false => i - width,
            };
            let filter = filter.map(|filter| filter.map_columns(&swapped));
            let mut joined = self.join(r, l, kind, &on, filter.as_ref())?;
            joined.columns.rotate_left(wider);
            joined.read_last_join_last();
            return Ok(joined);
        }
        l.read_in_any_order();
        r.read_in_any_order();
        self.join(l, r, kind, on, filter)
    }
}

impl Block {
    /// What was joined last is read after all others, whatever the system thinks.
    fn read_last_join_last(&mut self) {
        if let Some(join) = self.from.joins.last_mut()
            && let JoinOperator::Join(on) = &join.join_operator
        {
            join.join_operator = JoinOperator::StraightJoin(on.clone());
        }
    }

    /// A further condition may be a better beginning.
    pub fn read_in_any_order(&mut self) {
        for join in &mut self.from.joins {
            if let JoinOperator::StraightJoin(on) = &join.join_operator {
                join.join_operator = JoinOperator::Join(on.clone());
            }
        }
    }
}

/// Whether a join by these keys finds at most one row of a table, and no condition on the table leaves any out.
fn is_lookup<'a>(rel: &Rel, keys: impl Iterator<Item = &'a Expr>) -> bool {
    let Rel::Scan { schema, .. } = rel else {
        return false;
    };
    holds_primary_key(schema, &keys.filter_map(Expr::as_column).collect())
}

use belvedere_connector::{Expr, JoinKind, Literal, Rel};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, JoinType, NullEquality, Result, ScalarValue};
use datafusion::logical_expr::{self as df, ExprSchemable, Join};

use super::expr::{self, Declined};
use super::peers::Keys;
use super::remote::Remote;

/// A join of two relations at one source.
pub(super) fn translated(join: &Join, left: &Remote, right: &Remote) -> Result<Rel, Declined> {
    let (kind, swap) = match join.join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi => (JoinKind::LeftSemi, false),
        JoinType::LeftAnti => (JoinKind::LeftAnti, false),
        JoinType::LeftMark => (JoinKind::LeftMark, false),
        JoinType::RightSemi => (JoinKind::LeftSemi, true),
        JoinType::RightAnti => (JoinKind::LeftAnti, true),
        JoinType::RightMark => (JoinKind::LeftMark, true),
    };
    nulls_match_nothing(join, &left.schema, &right.schema)?;
    if join.on.is_empty() && !kind.is_existence() {
        return Err("a join without equal keys may be far larger than its inputs".into());
    }
    let (outer, inner) = if swap { (right, left) } else { (left, right) };
    let pair = |(l, r): &(df::Expr, df::Expr)| {
        let (l, r) = if swap { (r, l) } else { (l, r) };
        Ok((
            expr::scalar(l, &outer.schema)?,
            expr::scalar(r, &inner.schema)?,
        ))
    };
    let on: Vec<_> = join.on.iter().map(pair).collect::<Result<_, Declined>>()?;
    let both = outer.schema.join(&inner.schema);
    let both = both.map_err(|e| e.to_string())?;
    let filter = join.filter.as_ref().map(|f| expr::scalar(f, &both));
    Ok(Rel::Join {
        left: Box::new(outer.rel.clone()),
        right: Box::new(inner.rel.clone()),
        kind,
        on,
        // Of a subquery that reads nothing of the row it is asked for.
        filter: filter.transpose()?.filter(|filter| !is_true(filter)),
    })
}

/// Those of the side of which each row is there once at most.
pub(super) fn keys(join: &Join, left: &Remote, right: &Remote) -> Keys {
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left.keys.clone(),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right.keys.clone(),
        _ => Keys::default(),
    }
}

/// Which input is asked for nothing but whether it has a row, if one is.
pub(super) fn asked_for_some_row(join: &Join) -> Option<usize> {
    let always = |filter: &df::Expr| {
        matches!(
            filter,
            df::Expr::Literal(ScalarValue::Boolean(Some(true)), _)
        )
    };
    if !join.on.is_empty() || !join.filter.as_ref().is_none_or(always) {
        return None;
    }
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => Some(1),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => Some(0),
        _ => None,
    }
}

fn is_true(filter: &Expr) -> bool {
    *filter == Expr::literal(Literal::Boolean(true), DataType::Boolean)
}

fn nulls_match_nothing(join: &Join, left: &DFSchema, right: &DFSchema) -> Result<(), Declined> {
    // Of a pair with a side that has no NULL it makes no difference. (INTERSECT, EXCEPT.)
    let may_be_null = |(l, r): &(df::Expr, df::Expr)| Ok(l.nullable(left)? && r.nullable(right)?);
    let pairs = join.on.iter().map(may_be_null).collect::<Result<Vec<_>>>();
    if join.null_equality == NullEquality::NullEqualsNull
        && pairs.map_err(|e| e.to_string())?.contains(&true)
    {
        return Err("a join in which NULL equals NULL".into());
    }
    if join.null_aware {
        return Err("NOT IN over a column that may be NULL".into());
    }
    Ok(())
}

use std::collections::HashSet;
use std::sync::Arc;

use belvedere_connector::{BinaryOp, Expr, ExprKind, Fragment, Rel, Support, UnaryOp};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{Result, ScalarValue, Statistics};
use datafusion::physical_expr::PhysicalExpr;

use super::domain::{self, Domain, Domains};
use super::expr;
use super::provider::SourceHandle;

/// So many keys are a short list.
const FEW_KEYS: usize = 1_000;
/// Of how many of a column's values keys are worth sending: a list is quickly searched while it is short.
const MOST_OF_FEW: f64 = 0.7;
const MOST_OF_MANY: f64 = 0.25;
/// Keys that are such a part of the column's values are looked up; those that are more, and a scan, in parallel.
const SELECTIVE: f64 = 0.02;

/// What a fragment becomes under dynamic filters: predicates that a running query learns (of a join's other side, of a
/// top-n) before the fragment is sent. They hold for at least the rows that are needed; what is above checks again.
#[derive(Debug)]
pub enum Narrowed {
    /// No row can be needed.
    Nothing,
    Fragment {
        fragment: Arc<Fragment>,
        /// Few rows are left: more than one connection would only repeat the lookup.
        lookup: bool,
    },
}

/// `known` is what is thought of the fragment without the filters.
pub fn narrow(
    fragment: &Arc<Fragment>,
    filters: &[Arc<dyn PhysicalExpr>],
    schema: &Schema,
    handle: &SourceHandle,
    known: Option<&Statistics>,
) -> Result<Narrowed> {
    let mut domains: Domains = Some(Default::default());
    for filter in filters {
        domains = domain::and(domains, domain::of(filter, schema)?);
    }
    let Some(domains) = domains else {
        return Ok(Narrowed::Nothing);
    };
    let capabilities = handle.source.capabilities();
    let input = fragment.schema();
    let taken =
        |predicate: &Expr| !matches!(capabilities.predicate(predicate, &input), Support::No(_));
    let mut predicates = Vec::new();
    let mut lookup = false;
    for (column, domain) in domains {
        let Some(field) = input.fields().get(column) else {
            continue;
        };
        let distinct = known
            .and_then(|known| known.column_statistics.get(column))
            .and_then(|known| known.distinct_count.get_value().copied());
        let rows = known.and_then(|known| known.num_rows.get_value().copied());
        let column = Expr::column(column, field.data_type().clone(), field.is_nullable());
        let Some(keys) = &domain.keys else {
            predicates.extend(bounds(&column, &domain).into_iter().filter(taken));
            continue;
        };
        // As if a tenth of the rows had each a value of its own.
        let values = distinct.or(rows.map(|rows| rows / 10));
        let part = values.map(|values| keys.len() as f64 / values.max(1) as f64);
        let worth = match part {
            Some(part) if keys.len() > FEW_KEYS => part <= MOST_OF_MANY,
            Some(part) => part <= MOST_OF_FEW || distinct.is_none(),
            None => keys.len() <= FEW_KEYS,
        };
        if worth && let Some(is_key) = is_key(&column, keys) {
            let predicate = or_null(&column, is_key, domain.null);
            if taken(&predicate) {
                lookup |= part.is_some_and(|part| part <= SELECTIVE);
                predicates.push(predicate);
            } else {
                predicates.extend(bounds(&column, &domain).into_iter().filter(taken));
            }
        }
    }
    let unchanged = || Narrowed::Fragment {
        fragment: fragment.clone(),
        lookup: false,
    };
    if predicates.is_empty() {
        return Ok(unchanged());
    }
    let rel = Rel::Filter {
        input: Box::new(fragment.rel.clone()),
        predicates,
    };
    Ok(match capabilities.node(&rel) {
        Support::Exact => Narrowed::Fragment {
            fragment: Arc::new(Fragment::new(rel)),
            lookup,
        },
        Support::Superset(_) | Support::No(_) => unchanged(),
    })
}

fn boolean(kind: ExprKind, of: &Expr) -> Expr {
    Expr {
        kind,
        data_type: DataType::Boolean,
        nullable: of.nullable,
    }
}

/// `column IN (keys)`, in their order, so that the same keys are the same text.
fn is_key(column: &Expr, keys: &HashSet<ScalarValue>) -> Option<Expr> {
    let mut sorted: Vec<&ScalarValue> = keys.iter().collect();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let list = sorted.into_iter().map(|key| constant(key, column));
    let list: Vec<Expr> = list.collect::<Option<_>>()?;
    if list.is_empty() {
        return None;
    }
    let arg = Box::new(column.clone());
    let negated = false;
    Some(boolean(ExprKind::InList { arg, list, negated }, column))
}

/// A constant of the column's own type.
fn constant(value: &ScalarValue, column: &Expr) -> Option<Expr> {
    let value = match value.data_type() == column.data_type {
        true => expr::literal(value),
        false => expr::literal(&value.cast_to(&column.data_type).ok()?),
    };
    value.ok()
}

fn or_null(column: &Expr, predicate: Expr, null: bool) -> Expr {
    if !null || !column.nullable {
        return predicate;
    }
    let is_null = ExprKind::Unary {
        op: UnaryOp::IsNull,
        arg: Box::new(column.clone()),
    };
    binary(BinaryOp::Or, predicate, boolean(is_null, column))
}

fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    let of = left.clone();
    let (left, right) = (Box::new(left), Box::new(right));
    boolean(ExprKind::Binary { op, left, right }, &of)
}

fn bounds(column: &Expr, domain: &Domain) -> Vec<Expr> {
    let bound = |op, value: &Option<ScalarValue>| {
        let constant = constant(value.as_ref()?, column)?;
        let predicate = binary(op, column.clone(), constant);
        Some(or_null(column, predicate, domain.null))
    };
    let least = bound(BinaryOp::GtEq, &domain.least);
    let most = bound(BinaryOp::LtEq, &domain.most);
    least.into_iter().chain(most).collect()
}

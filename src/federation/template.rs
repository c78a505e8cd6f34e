use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use belvedere_connector::{Capabilities, Expr, ExprKind, Fragment, Literal, Rel};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;

use super::cut::Cut;
use super::exec::FragmentExec;
use super::expr;
use super::node::fragment_of;
use super::provider::SourceHandle;

/// The fragment that a prepared statement becomes when one source answers all of it: cut once, with its parameters open.
/// To execute it, there is nothing left to plan.
#[derive(Debug)]
pub struct Template {
    handle: Arc<SourceHandle>,
    fragment: Arc<Fragment>,
    schema: SchemaRef,
}

impl Template {
    /// Of a statement that was cut with its parameters open. None: not all of it is one source's.
    pub fn of(cut: &Cut) -> Option<Self> {
        let mut plan = &cut.plan;
        while let LogicalPlan::SubqueryAlias(alias) = plan {
            plan = alias.input.as_ref();
        }
        let node = fragment_of(plan)?;
        // What is to be said of a constant is said when it is known.
        let is_whole = cut.notices.is_empty() && has_them_in_filters(&node.fragment);
        is_whole.then(|| Self {
            handle: node.handle.clone(),
            fragment: node.fragment.clone(),
            schema: Arc::clone(cut.plan.schema().inner()),
        })
    }

    /// Whether who answers is asked as somebody else than it is defined.
    pub fn is_mapped(&self) -> bool {
        self.handle.mapped.is_some()
    }

    /// Who answers.
    pub fn source(&self) -> &str {
        &self.handle.name
    }

    /// What it asks.
    pub fn fragment(&self) -> &Fragment {
        &self.fragment
    }

    /// Its scan with these values, by name. None: it has to be planned with them, since one is NULL, or of a kind that the
    /// source does not take, or since the answer is read in several parts.
    pub fn with(&self, values: &HashMap<String, ScalarValue>) -> Option<FragmentExec> {
        let literal = |name: &str| {
            let value = values.get(name).filter(|value| !value.is_null())?;
            expr::literal(value).ok()?.as_literal().cloned()
        };
        let fragment = Arc::new(self.fragment.with_parameters(&literal)?);
        let source = &self.handle.source;
        let capabilities = source.capabilities();
        let is_taken = is_exact(&self.fragment.rel, &fragment.rel, capabilities.as_ref());
        (is_taken && source.partitions(&fragment) <= 1).then(|| {
            let (handle, schema) = (self.handle.clone(), self.schema.clone());
            FragmentExec::new(handle, fragment, schema, None, 1)
        })
    }
}

/// Whether all parameters are in predicates, of which a source says one by one whether it takes them.
fn has_them_in_filters(fragment: &Fragment) -> bool {
    let all = Cell::new(0);
    let bound = fragment.with_parameters(&|_| {
        all.set(all.get() + 1);
        Some(Literal::Null)
    });
    let mut in_filters = 0;
    let mut pending = vec![&fragment.rel];
    while let Some(rel) = pending.pop() {
        if let Rel::Filter { predicates, .. } = rel {
            in_filters += predicates.iter().map(parameters).sum::<usize>();
        }
        pending.extend(rel.inputs());
    }
    bound.is_some() && all.get() > 0 && all.get() == in_filters
}

fn parameters(expr: &Expr) -> usize {
    match &expr.kind {
        ExprKind::Literal(Literal::Parameter(_)) => 1,
        _ => expr.children().into_iter().map(parameters).sum(),
    }
}

/// Whether a source answers each predicate exactly with the values that its parameters have now: of `name = $1` that may hang
/// on the letters.
fn is_exact(open: &Rel, bound: &Rel, source: &dyn Capabilities) -> bool {
    if let (
        Rel::Filter { predicates, .. },
        Rel::Filter {
            input,
            predicates: bound,
        },
    ) = (open, bound)
    {
        let schema = input.schema();
        let is_taken = |(open, bound): (&Expr, &Expr)| {
            parameters(open) == 0 || source.predicate(bound, &schema).is_exact()
        };
        if !predicates.iter().zip(bound).all(is_taken) {
            return false;
        }
    }
    let mut inputs = open.inputs().into_iter().zip(bound.inputs());
    inputs.all(|(open, bound)| is_exact(open, bound, source))
}

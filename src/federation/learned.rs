use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use belvedere_connector::{Expr, ExprKind, Rel};
use datafusion::arrow::datatypes::Schema;

/// Questions that are remembered of a source; when there are more, all are forgotten.
const KEPT: usize = 10_000;

/// How many rows conditions left of a table when a source was asked last: what is asked again, as a dashboard does, needs
/// no guess.
#[derive(Debug, Default)]
pub struct Learned(Mutex<HashMap<Conditions, u64>>);

/// A table's rows that meet some conditions, whatever is then read of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conditions(u64);

impl Conditions {
    /// None: it is something else.
    pub fn of(rel: &Rel) -> Option<Self> {
        let (input, predicates) = match rel {
            Rel::Project { input, .. } => return Self::of(input),
            Rel::Filter { input, predicates } => (input, predicates),
            _ => return None,
        };
        let Rel::Scan { table, schema } = input.as_ref() else {
            return None;
        };
        let mut printed: Vec<String> = predicates.iter().map(|p| print(p, schema)).collect();
        printed.sort_unstable();
        let mut hasher = DefaultHasher::new();
        (table, printed).hash(&mut hasher);
        Some(Self(hasher.finish()))
    }
}

impl Learned {
    pub fn rows(&self, conditions: Conditions) -> Option<u64> {
        self.known().get(&conditions).copied()
    }

    pub fn learn(&self, conditions: Conditions, rows: u64) {
        let mut known = self.known();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(conditions, rows);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Conditions, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The expression with its columns' names: their numbers depend on what else is read.
fn print(expr: &Expr, schema: &Schema) -> String {
    let label = match &expr.kind {
        ExprKind::Column(i) => match schema.fields().get(*i) {
            Some(field) => field.name().clone(),
            None => i.to_string(),
        },
        ExprKind::Literal(literal) => format!("{literal:?}"),
        ExprKind::Unary { op, .. } => format!("{op:?}"),
        ExprKind::Binary { op, .. } => format!("{op:?}"),
        ExprKind::InList { negated, .. } => format!("in {negated}"),
        ExprKind::Like {
            escape,
            negated,
            case_insensitive,
            ..
        } => format!("like {escape:?} {negated} {case_insensitive}"),
        ExprKind::Case { otherwise, .. } => format!("case {}", otherwise.is_some()),
        ExprKind::Cast { .. } => "cast".to_string(),
        ExprKind::Call { function, .. } => format!("{function:?}"),
    };
    let parts: Vec<String> = expr.children().iter().map(|e| print(e, schema)).collect();
    format!("{label}:{}({})", expr.data_type, parts.join(","))
}

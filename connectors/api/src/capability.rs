use arrow::datatypes::Schema;

use crate::expr::Expr;
use crate::fragment::Rel;

/// Whether a source's own answer is the engine's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// The same answer, for all rows; and no error where the engine has none.
    Exact,
    /// A predicate that holds for at least the rows it should: sent, and checked again here. Says why.
    Superset(String),
    /// Not sent. Says why, in words that `EXPLAIN` shows: "lower() of a text column under collation de_DE".
    No(String),
}

impl Support {
    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Exact)
    }

    /// The weaker of two answers.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No(why), _) | (_, Self::No(why)) => Self::No(why),
            (Self::Superset(why), _) | (_, Self::Superset(why)) => Self::Superset(why),
            (Self::Exact, Self::Exact) => Self::Exact,
        }
    }
}

/// How a source's own answer differs, for one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    pub column: String,
    /// `crm compares it …` without the source's name: `compares it under latin1_swedish_ci, …`.
    pub how: String,
    /// The same condition as the source means it, in SQL that the engine takes.
    pub instead: String,
}

/// What a source can answer. For SQL sources this *is* the renderer: a thing is supported exactly when there is a
/// proven rendering for it.
pub trait Capabilities: std::fmt::Debug + Send + Sync {
    /// One predicate in a filter (positive position) over an input of this schema. Only here may the answer be
    /// [`Support::Superset`].
    fn predicate(&self, predicate: &Expr, input: &Schema) -> Support;

    /// A whole node, expressions included; its inputs have been found supported before. A filter's predicates must be
    /// exact or superset, everything else exact. Never [`Support::Superset`].
    fn node(&self, rel: &Rel) -> Support;

    /// Whether the source, by itself, sets columns of a row of this schema to what the engine would compute of the row as it
    /// was: each by its index, and all at once. A constant that a column does not take as it is is not supported.
    fn stores(&self, _assignments: &[(usize, Expr)], _schema: &Schema) -> Support {
        Support::No("this source computes nothing that it stores".to_string())
    }

    /// Whether rows are told by these columns, each by its index in this schema, as the engine compares them:
    /// [`Each`](crate::Each) is asked for only then.
    fn tells(&self, _columns: &[usize], _schema: &Schema) -> Support {
        Support::No("this source finds no rows by their values".to_string())
    }

    /// Where the source by itself would answer a condition otherwise than the engine (it takes `'Smith'` for `'smith'`): the
    /// column, and a sentence for the user that says how, and how to ask for that here.
    fn differs(&self, _predicate: &Expr, _input: &Schema) -> Option<Differs> {
        None
    }
}

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ObjectId;
use super::accounts::Grantee;

/// A policy or a mask of a table or view: what of it those see whom it is for. It reads with the rights of who has defined that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub shows: Shows,
    pub to: BTreeSet<Grantee>,
    /// The expression as it was written.
    pub using: String,
    /// The schemas its unqualified names are looked up in, in order.
    pub search_path: Vec<String>,
    /// The tables and views that its subqueries read directly.
    pub depends_on: BTreeSet<ObjectId>,
}

/// What a rule decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shows {
    /// Which rows are seen: a policy.
    Rows,
    /// What is seen in place of a column: a mask.
    Column(String),
}

/// Policies and masks have names of their own for each table or view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RuleKind {
    Policy,
    Mask,
}

impl RuleKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Mask => "mask",
        }
    }
}

/// As whom somebody is known at a source: what is other there than in the source's definition. Nothing: it is read as that says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mapping {
    /// In place of the URL's.
    pub user: Option<String>,
    /// Options; secrets are references.
    pub options: BTreeMap<String, String>,
}

/// Of a source, and whom.
pub type Mappings = BTreeMap<(String, Grantee), Mapping>;

/// Of what it is, its kind, its name.
pub type Rules = BTreeMap<(ObjectId, RuleKind, String), Rule>;

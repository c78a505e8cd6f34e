use std::fmt;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, Result as PlanResult, TableReference, plan_err};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator};

use super::block::{Block, Groups, What, moved, relation};
use super::facts::Facts;
use super::groups::{Computed, aggregates, is_told_apart};
use super::terms::Terms;
use crate::catalog::ObjectId;

/// What a kept view's columns are of in a plan that reads it.
const KEPT: &str = "kept";
/// Ways in which the tables of a view may be those of a query that reads one several times.
const MOST_WAYS: usize = 24;

/// A kept view as what may answer a query.
#[derive(Clone, Debug)]
pub struct Answering {
    pub block: Block,
    /// By the place of the block's outputs.
    pub columns: Vec<String>,
}

/// How a view answers a block: the theorems of Goldstein and Larson (SIGMOD 2001).
#[derive(Clone, Debug)]
pub struct Proof {
    /// The leaves of the query that the view does not have.
    free: Vec<usize>,
    /// What is asked of the view's rows, besides what the view asks.
    conditions: Vec<Expr>,
    /// How its rows are grouped. None: not at all.
    groups: Option<Regrouped>,
    having: Vec<Expr>,
    outputs: Vec<Expr>,
    pub way: Way,
}

#[derive(Clone, Debug)]
struct Regrouped {
    keys: Vec<Expr>,
    computed: Vec<Computed>,
    /// By the query's own terms: which of the keys, or of what is computed.
    called: Vec<(Expr, Place)>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Key(usize),
    Aggregate(usize),
}

/// What is done with the view's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They are taken as they are, or some of them.
    Rows,
    /// They are grouped.
    Grouped,
    /// They are groups, of which larger ones are made.
    RolledUp,
    /// They are joined with what else the query reads.
    Joined,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "from its rows",
            Self::Grouped => "by grouping its rows",
            Self::RolledUp => "by rolling its groups up",
            Self::Joined => "joined with what it lacks",
        })
    }
}

/// Why a view is not known to answer a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// It reads something that the query does not.
    Reads(Option<ObjectId>),
    /// Its condition is not known to hold for the rows that the query wants.
    Condition(String),
    /// It has groups, and the query wants rows; or other rows joined to them.
    Grouped,
    /// Its groups are not told apart by what the query asks of them.
    Lacks(String),
    /// An aggregate cannot be computed from those of smaller groups.
    Aggregate(String),
    /// Its groups are chosen by HAVING, and not those of the query.
    Having,
    /// Keys that are equal may differ.
    FloatKeys,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reads(Some(id)) => write!(f, "it reads {id}, too"),
            Self::Reads(None) => f.write_str("it reads more than tables that are joined"),
            Self::Condition(condition) => {
                write!(
                    f,
                    "its condition may keep out rows that are wanted ({condition})"
                )
            }
            Self::Grouped => f.write_str("it has groups where rows are wanted"),
            Self::Lacks(what) => write!(f, "it lacks {what}"),
            Self::Aggregate(what) => {
                write!(
                    f,
                    "{what} cannot be computed from its groups to the last bit"
                )
            }
            Self::Having => f.write_str("it has some of its groups alone (HAVING)"),
            Self::FloatKeys => f.write_str("its groups have floats for keys"),
        }
    }
}

impl Answering {
    /// That it answers a block, and how; or why that is not known.
    pub fn proves(&self, query: &Block) -> Result<Proof, Refusal> {
        let mut first = None;
        for places in ways(&self.block, query)? {
            match self.proves_with(query, &places) {
                Ok(proof) => return Ok(proof),
                Err(refusal) => drop(first.get_or_insert(refusal)),
            }
        }
        Err(first.unwrap_or(Refusal::Reads(None)))
    }

    /// `places`: which of the query's leaves each of its own is.
    fn proves_with(&self, query: &Block, places: &[usize]) -> Result<Proof, Refusal> {
        let at = |leaf: usize| places.get(leaf).copied().unwrap_or(usize::MAX);
        let here = |exprs: &[Expr]| -> Vec<Expr> {
            exprs.iter().cloned().map(|e| moved(e, &at)).collect()
        };
        let free = (0..query.leaves.len()).filter(|leaf| !places.contains(leaf));
        let free: Vec<usize> = free.collect();
        let groups = self.block.groups.as_ref().map(|groups| Groups {
            keys: here(&groups.keys),
            having: here(&groups.having),
        });
        if groups.is_some() && (query.groups.is_none() || !free.is_empty()) {
            return Err(Refusal::Grouped);
        }
        let schema = query.schema().map_err(|_| Refusal::Reads(None))?;
        let conditions = here(&self.block.conditions);
        let wanted = Facts::of(&query.conditions, &schema);
        let given = Facts::of(&conditions, &schema);
        if let Some(more) = conditions.iter().find(|c| !wanted.implies(c)) {
            return Err(Refusal::Condition(shown(more)));
        }
        let outputs = here(&self.block.outputs).into_iter().zip(&self.columns);
        let outputs: Vec<(Expr, Expr)> = outputs
            .map(|(of, name)| (of, Expr::Column(kept(name))))
            .collect();
        // What tells groups apart; of rows, all of it.
        let of_keys = outputs.iter().filter(|(of, _)| !has_aggregate(of)).cloned();
        let of_keys: Vec<_> = of_keys.collect();
        let checks = Terms::new(&given, &schema, of_keys.clone(), &free);
        let mut left = Vec::new();
        for condition in query.conditions.iter().filter(|c| !given.implies(c)) {
            left.push(checks.rewritten(condition).map_err(lacks)?);
        }
        let context = Context {
            query,
            schema: &schema,
            wanted: &wanted,
            free: &free,
            of_keys,
            outputs,
            conditions: left,
        };
        match (&query.groups, groups) {
            (None, _) => context.rows(),
            (Some(asked), None) => context.grouped(asked),
            (Some(asked), Some(groups)) => context.regrouped(asked, &groups, &conditions),
        }
    }
}

/// What a proof has once the rows are those that are wanted.
struct Context<'a> {
    query: &'a Block,
    schema: &'a DFSchema,
    wanted: &'a Facts,
    free: &'a [usize],
    of_keys: Vec<(Expr, Expr)>,
    outputs: Vec<(Expr, Expr)>,
    conditions: Vec<Expr>,
}

impl Context<'_> {
    fn terms(&self, known: &[(Expr, Expr)]) -> Terms<'_> {
        Terms::new(self.wanted, self.schema, known.to_vec(), self.free)
    }

    fn rows(self) -> Result<Proof, Refusal> {
        let terms = self.terms(&self.outputs);
        let outputs = all(&terms, &self.query.outputs)?;
        let way = match self.free.is_empty() {
            true => Way::Rows,
            false => Way::Joined,
        };
        Ok(self.proof(None, Vec::new(), outputs, way))
    }

    /// The view's rows are grouped as the query groups its own.
    fn grouped(self, asked: &Groups) -> Result<Proof, Refusal> {
        let mut terms = self.terms(&self.outputs);
        terms.aggregates = true;
        let mut computed = Vec::new();
        for aggregate in aggregates(asked.having.iter().chain(&self.query.outputs)) {
            let rewritten = terms.rewritten(&aggregate).map_err(lacks)?;
            computed.push(Computed::plainly(aggregate, rewritten));
        }
        let groups = Regrouped::new(asked, &terms, computed)?;
        let way = match self.free.is_empty() {
            true => Way::Grouped,
            false => Way::Joined,
        };
        let having = asked.having.clone();
        let outputs = self.query.outputs.clone();
        Ok(self.proof(Some(groups), having, outputs, way))
    }

    /// The view's groups are those of the query, or make them up. `given`: what the view asks of rows.
    fn regrouped(self, asked: &Groups, groups: &Groups, given: &[Expr]) -> Result<Proof, Refusal> {
        let told = |keys: &[Expr]| {
            let is_one = |key: &&Expr| {
                matches!(key, Expr::Literal(..)) || self.wanted.constant(key, self.schema).is_some()
            };
            let mut told: Vec<Expr> = Vec::new();
            for key in keys.iter().filter(|key| !is_one(key)) {
                let key = self.wanted.in_one_way(key);
                if !told.contains(&key) {
                    told.push(key);
                }
            }
            told
        };
        let (want, have) = (told(&asked.keys), told(&groups.keys));
        // Without a key there is a group where there is no row.
        let alike = asked.keys.is_empty() == groups.keys.is_empty()
            && want.len() == have.len()
            && want.iter().all(|key| have.contains(key));
        let is_total = groups.keys.is_empty();
        if is_total && !(alike && self.conditions.is_empty()) {
            return Err(Refusal::Lacks(match asked.keys.first() {
                Some(key) => shown(key),
                None => "rows to choose from".to_string(),
            }));
        }
        let is_same = alike && self.conditions.is_empty();
        let mut keys = groups.keys.iter();
        if !is_same && !keys.all(|key| is_told_apart(key, self.schema)) {
            return Err(Refusal::FloatKeys);
        }
        let everything = self.terms(&self.outputs);
        if alike {
            let conditions = self.query.conditions.iter();
            let wanted = Facts::of(conditions.chain(&asked.having), self.schema);
            if groups.having.iter().any(|c| !wanted.implies(c)) {
                return Err(Refusal::Having);
            }
            let given = Facts::of(given.iter().chain(&groups.having), self.schema);
            let left = asked.having.iter().filter(|c| !given.implies(c));
            let left: Vec<Expr> = left.cloned().collect();
            let having = all(&everything, &left)?;
            let outputs = all(&everything, &self.query.outputs)?;
            return Ok(self.proof(None, having, outputs, Way::Rows));
        }
        if !groups.having.is_empty() {
            return Err(Refusal::Having);
        }
        let keys = self.terms(&self.of_keys);
        let mut computed = Vec::new();
        for aggregate in aggregates(asked.having.iter().chain(&self.query.outputs)) {
            let of = Computed::of_groups(&aggregate, &keys, &everything);
            computed.push(of.ok_or_else(|| Refusal::Aggregate(shown(&aggregate)))?);
        }
        let groups = Regrouped::new(asked, &keys, computed)?;
        let having = asked.having.clone();
        let outputs = self.query.outputs.clone();
        Ok(self.proof(Some(groups), having, outputs, Way::RolledUp))
    }

    fn proof(
        &self,
        groups: Option<Regrouped>,
        having: Vec<Expr>,
        outputs: Vec<Expr>,
        way: Way,
    ) -> Proof {
        Proof {
            free: self.free.to_vec(),
            conditions: self.conditions.clone(),
            groups,
            having,
            outputs,
            way,
        }
    }
}

impl Regrouped {
    fn new(asked: &Groups, terms: &Terms, computed: Vec<Computed>) -> Result<Self, Refusal> {
        let mut keys: Vec<Expr> = Vec::new();
        let mut called = Vec::new();
        for key in &asked.keys {
            let rewritten = terms.rewritten(key).map_err(lacks)?;
            // A key that is one value might be all there is to tell no group from an empty one.
            if matches!(rewritten, Expr::Literal(..)) {
                return Err(Refusal::Lacks(shown(key)));
            }
            let at = keys.iter().position(|known| *known == rewritten);
            let at = at.unwrap_or_else(|| {
                keys.push(rewritten);
                keys.len() - 1
            });
            called.push((terms.facts.in_one_way(key), Place::Key(at)));
        }
        for (i, computed) in computed.iter().enumerate() {
            let asked = terms.facts.in_one_way(&computed.asked);
            called.push((asked, Place::Aggregate(i)));
        }
        Ok(Self {
            keys,
            computed,
            called,
        })
    }
}

impl Proof {
    /// The plan that reads the view, with these columns.
    ///
    /// # Errors
    /// If it does not give them: then there is an error in the proof, and the query is answered without it.
    pub fn plan(
        &self,
        query: &Block,
        view: LogicalPlan,
        columns: &DFSchema,
    ) -> PlanResult<LogicalPlan> {
        let mut plan = LogicalPlanBuilder::from(view).alias(KEPT)?;
        for &leaf in &self.free {
            plan = plan.cross_join(read(query, leaf)?)?;
        }
        if let Some(condition) = conjunction(self.conditions.clone()) {
            plan = plan.filter(condition)?;
        }
        let (mut having, mut outputs) = (self.having.clone(), self.outputs.clone());
        if let Some(groups) = &self.groups {
            let computed = groups.computed.iter().map(|c| c.aggregate.clone());
            let mut different: Vec<Expr> = Vec::new();
            let mut places = Vec::new();
            for aggregate in computed {
                let known = different.iter().position(|known| *known == aggregate);
                places.push(known.unwrap_or(different.len()));
                if known.is_none() {
                    different.push(aggregate);
                }
            }
            plan = plan.aggregate(groups.keys.clone(), different)?;
            let given = plan.schema().columns();
            let column = |at: usize| Expr::Column(given[at].clone());
            let known = groups.called.iter().map(|(of, place)| {
                let by = match *place {
                    Place::Key(at) => column(at),
                    Place::Aggregate(at) => {
                        groups.computed[at].finished(column(groups.keys.len() + places[at]))
                    }
                };
                (of.clone(), by)
            });
            let schema = query.schema()?;
            let facts = Facts::of(&query.conditions, &schema);
            let terms = Terms::new(&facts, &schema, known, &[]);
            for expr in having.iter_mut().chain(&mut outputs) {
                *expr = match terms.rewritten(expr) {
                    Ok(rewritten) => rewritten,
                    Err(missing) => return plan_err!("{missing} is not of a group"),
                };
            }
        }
        if let Some(condition) = conjunction(having) {
            plan = plan.filter(condition)?;
        }
        let named = outputs.into_iter().zip(columns.iter());
        let named = named.map(|(output, (qualifier, field))| {
            output.alias_qualified(qualifier.cloned(), field.name())
        });
        let plan = plan.project(named.collect::<Vec<_>>())?.build()?;
        let types = |schema: &DFSchema| {
            let fields = schema.fields().iter();
            fields.map(|f| f.data_type().clone()).collect::<Vec<_>>()
        };
        if types(plan.schema()) != types(columns) {
            return plan_err!("a view gives columns of other types than the query");
        }
        Ok(plan)
    }

    /// The view's columns of which one value is asked for: an index may find it.
    pub fn fixed_columns(&self) -> Vec<&str> {
        let fixed = self
            .conditions
            .iter()
            .filter_map(|condition| match condition {
                Expr::BinaryExpr(BinaryExpr {
                    left,
                    op: Operator::Eq,
                    right,
                }) => match (left.as_ref(), right.as_ref()) {
                    (Expr::Column(column), Expr::Literal(..)) => Some(column.name.as_str()),
                    _ => None,
                },
                _ => None,
            });
        fixed.collect()
    }

    /// What else is read, besides the view.
    pub fn others<'a>(&'a self, query: &'a Block) -> impl Iterator<Item = &'a LogicalPlan> {
        let leaves = self.free.iter().filter_map(|&leaf| query.leaves.get(leaf));
        leaves.map(|leaf| leaf.plan.as_ref())
    }
}

/// A leaf under the names that the block has for its columns.
fn read(query: &Block, leaf: usize) -> PlanResult<LogicalPlan> {
    let Some(read) = query.leaves.get(leaf) else {
        return plan_err!("a leaf of a query is gone");
    };
    let plan = read.plan.as_ref().clone();
    let builder = match read.what {
        What::Table(_) => LogicalPlanBuilder::from(plan),
        _ => {
            let columns = plan.schema().columns();
            let columns = columns.into_iter().zip(&read.fields);
            let named = columns.map(|(column, field)| Expr::Column(column).alias(field.name()));
            LogicalPlanBuilder::from(plan).project(named.collect::<Vec<_>>())?
        }
    };
    builder.alias(relation(leaf))?.build()
}

/// The ways in which each leaf of a view can be one of the query's.
fn ways(view: &Block, query: &Block) -> Result<Vec<Vec<usize>>, Refusal> {
    let mut ways: Vec<Vec<usize>> = vec![Vec::new()];
    for leaf in &view.leaves {
        let mut longer = Vec::new();
        for way in &ways {
            for (i, other) in query.leaves.iter().enumerate() {
                let is_same = leaf.what == other.what && leaf.what != What::Unknown;
                if is_same && !way.contains(&i) && longer.len() < MOST_WAYS {
                    longer.push([way.as_slice(), &[i]].concat());
                }
            }
        }
        if longer.is_empty() {
            return Err(Refusal::Reads(match &leaf.what {
                What::Table(id) => Some(id.clone()),
                _ => None,
            }));
        }
        ways = longer;
    }
    Ok(ways)
}

fn all(terms: &Terms, exprs: &[Expr]) -> Result<Vec<Expr>, Refusal> {
    let exprs = exprs.iter().map(|e| terms.rewritten(e).map_err(lacks));
    exprs.collect()
}

fn lacks(missing: Expr) -> Refusal {
    Refusal::Lacks(shown(&missing))
}

fn has_aggregate(expr: &Expr) -> bool {
    let found = expr.exists(|expr| Ok(matches!(expr, Expr::AggregateFunction(_))));
    found.unwrap_or(true)
}

fn kept(name: &str) -> Column {
    Column::new(Some(TableReference::bare(KEPT)), name)
}

/// As people write it.
fn shown(expr: &Expr) -> String {
    let bare = expr.clone().transform_up(|expr| {
        Ok(match expr {
            Expr::Column(column) => {
                Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))
            }
            other => Transformed::no(other),
        })
    });
    let bare = bare.data().unwrap_or_else(|_| expr.clone());
    bare.human_display().to_string()
}

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, Result, TableReference};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, ExprSchemable, Join, LogicalPlan, Operator, TableScan, Volatility,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::scalar::ScalarValue;

use crate::catalog::ObjectId;

/// A query as one block of select, project, join and group by: what it reads, what it asks of the rows, how it groups them, what
/// it gives. Two blocks can be compared: a column is called by the place of what it is read from (`t0.amount`), an output of
/// groups is an expression over columns with the aggregates in it, and a comparison has one way to be written.
#[derive(Clone, Debug)]
pub struct Block {
    pub leaves: Vec<Leaf>,
    /// All of them hold. In the order in which they are asked: one may keep rows from the next that it could not be computed of.
    pub conditions: Vec<Expr>,
    /// None: its rows are not grouped.
    pub groups: Option<Groups>,
    pub outputs: Vec<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    pub keys: Vec<Expr>,
    /// What is asked of groups.
    pub having: Vec<Expr>,
}

/// What a block reads.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub what: What,
    pub fields: Vec<FieldRef>,
    /// As it is read in the query.
    pub plan: Arc<LogicalPlan>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Table(ObjectId),
    /// Something else, which is the same as another that is made of the same. Its columns are numbered.
    Made {
        by: String,
        with: Vec<Expr>,
        of: Vec<Block>,
    },
    /// The same as nothing: a table of nobody, rows that a limit has left.
    Unknown,
}

/// Which table is scanned, if it is one.
pub type Tables<'a> = &'a dyn Fn(&TableScan) -> Option<ObjectId>;

/// What two blocks are made of is the same; not by which plan it is read.
impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Leaf, &Leaf)| a.what == b.what && a.what != What::Unknown;
        self.leaves.len() == other.leaves.len()
            && self.leaves.iter().zip(&other.leaves).all(same)
            && self.conditions == other.conditions
            && self.groups == other.groups
            && self.outputs == other.outputs
    }
}

impl Block {
    /// Of a plan whose types have been coerced. None: its topmost operator is no part of a block, or it says something that may be
    /// otherwise the next time.
    pub fn of(plan: &LogicalPlan, tables: Tables) -> Option<Self> {
        match plan {
            LogicalPlan::TableScan(scan) => Some(Self::of_scan(scan, plan, tables)),
            LogicalPlan::SubqueryAlias(alias) => Self::over(&alias.input, tables),
            LogicalPlan::Projection(projection) => {
                let input = Self::over(&projection.input, tables)?;
                let exprs = projection.expr.iter();
                let outputs = exprs.map(|e| input.resolved(e, projection.input.schema()));
                let outputs = outputs.collect::<Option<_>>()?;
                Some(Self { outputs, ..input })
            }
            LogicalPlan::Filter(filter) => {
                let mut input = Self::over(&filter.input, tables)?;
                let condition = input.resolved(&filter.predicate, filter.input.schema())?;
                let conditions = split_conjunction_owned(condition);
                match &mut input.groups {
                    Some(groups) => groups.having.extend(conditions),
                    None => input.conditions.extend(conditions),
                }
                Some(input)
            }
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
                Self::of_join(join, tables)
            }
            LogicalPlan::Aggregate(aggregate) => {
                let input = Self::over(&aggregate.input, tables)?;
                let schema = aggregate.input.schema();
                let resolved = |exprs: &[Expr]| {
                    let exprs = exprs.iter().map(|e| input.resolved(e, schema));
                    exprs.collect::<Option<Vec<_>>>()
                };
                let keys = resolved(&aggregate.group_expr)?;
                let mut outputs = keys.clone();
                outputs.extend(resolved(&aggregate.aggr_expr)?);
                input.grouped(keys, outputs)
            }
            LogicalPlan::Distinct(Distinct::All(rows)) => {
                let input = Self::over(rows, tables)?;
                let outputs = input.outputs.clone();
                input.grouped(outputs.clone(), outputs)
            }
            _ => None,
        }
    }

    /// What is below a block's operator: a block, or a leaf of it.
    fn over(plan: &LogicalPlan, tables: Tables) -> Option<Self> {
        if let Some(block) = Self::of(plan, tables) {
            return Some(block);
        }
        let of = plan.inputs().into_iter();
        let of = of.map(|input| Self::over(input, tables));
        let of = of.collect::<Option<Vec<_>>>();
        let made = of.and_then(|of| Self::made(plan, of));
        Some(Self::leaf(made.unwrap_or(What::Unknown), plan))
    }

    /// What an operator that is no part of a block makes of blocks.
    fn made(plan: &LogicalPlan, of: Vec<Self>) -> Option<What> {
        let inputs = plan.inputs();
        let resolved = |expr: &Expr, side: usize| {
            let other = |(leaf, block): (usize, &Self)| (leaf < side).then_some(block.leaves.len());
            let before: usize = of.iter().enumerate().filter_map(other).sum();
            let expr = of.get(side)?.resolved(expr, inputs.get(side)?.schema())?;
            Some(moved(expr, &|leaf| leaf + before))
        };
        let (by, with) = match plan {
            LogicalPlan::Join(join) if !join.null_aware => {
                let (Some(left), Some(right)) = (of.first(), of.get(1)) else {
                    return None;
                };
                let mut with = Vec::new();
                for (l, r) in &join.on {
                    with.push(ordered(resolved(l, 0)?, Operator::Eq, resolved(r, 1)?));
                }
                if let Some(filter) = &join.filter {
                    let both = left.beside(right);
                    let schema = join.left.schema().join(join.right.schema()).ok()?;
                    with.push(both.resolved(filter, &schema)?);
                }
                let (kind, nulls) = (join.join_type, join.null_equality);
                (format!("{kind} join, {nulls:?}"), with)
            }
            LogicalPlan::Union(_) => ("union".to_string(), Vec::new()),
            _ => return None,
        };
        Some(What::Made { by, with, of })
    }

    fn of_scan(scan: &TableScan, plan: &LogicalPlan, tables: Tables) -> Self {
        let is_whole = scan.filters.is_empty() && scan.fetch.is_none();
        let Some(id) = tables(scan).filter(|_| is_whole) else {
            return Self::leaf(What::Unknown, plan);
        };
        let fields = scan.projected_schema.fields().iter();
        let outputs = fields.map(|field| Expr::Column(column(0, field.name())));
        let outputs = outputs.collect();
        let leaf = Leaf {
            what: What::Table(id),
            fields: scan.projected_schema.fields().iter().cloned().collect(),
            plan: Arc::new(plan.clone()),
        };
        Self {
            leaves: vec![leaf],
            conditions: Vec::new(),
            groups: None,
            outputs,
        }
    }

    fn leaf(what: What, plan: &LogicalPlan) -> Self {
        let fields = plan.schema().fields().iter().enumerate();
        let fields = fields.map(|(i, f)| Arc::new(f.as_ref().clone().with_name(i.to_string())));
        let fields: Vec<FieldRef> = fields.collect();
        let outputs = fields
            .iter()
            .map(|field| Expr::Column(column(0, field.name())));
        Self {
            outputs: outputs.collect(),
            conditions: Vec::new(),
            groups: None,
            leaves: vec![Leaf {
                what,
                fields,
                plan: Arc::new(plan.clone()),
            }],
        }
    }

    fn of_join(join: &Join, tables: Tables) -> Option<Self> {
        let side = |plan: &LogicalPlan| match Self::over(plan, tables)? {
            // Groups are joined as what they are.
            grouped if grouped.groups.is_some() => {
                let made = What::Made {
                    by: "groups".to_string(),
                    with: Vec::new(),
                    of: vec![grouped],
                };
                Some(Self::leaf(made, plan))
            }
            rows => Some(rows),
        };
        if join.null_equality != NullEquality::NullEqualsNothing {
            return None;
        }
        let (left, right) = (side(&join.left)?, side(&join.right)?);
        let count = left.leaves.len();
        let mut both = left.beside(&right);
        for (l, r) in &join.on {
            let l = left.resolved(l, join.left.schema())?;
            let r = right.resolved(r, join.right.schema())?;
            let r = moved(r, &|leaf| leaf + count);
            both.conditions.push(ordered(l, Operator::Eq, r));
        }
        if let Some(filter) = &join.filter {
            let filter = both.resolved(filter, &join.schema)?;
            both.conditions.extend(split_conjunction_owned(filter));
        }
        Some(both)
    }

    /// All pairs of rows.
    fn beside(&self, other: &Self) -> Self {
        let count = self.leaves.len();
        let mut both = self.clone();
        let moved = |exprs: &[Expr]| {
            let exprs = exprs.iter().cloned();
            exprs
                .map(|e| moved(e, &|leaf| leaf + count))
                .collect::<Vec<_>>()
        };
        both.leaves.extend(other.leaves.iter().cloned());
        both.conditions.extend(moved(&other.conditions));
        both.outputs.extend(moved(&other.outputs));
        both
    }

    /// None: they are grouped already.
    fn grouped(self, keys: Vec<Expr>, outputs: Vec<Expr>) -> Option<Self> {
        let having = Vec::new();
        let is_grouped = self.groups.is_some();
        let groups = Some(Groups { keys, having });
        (!is_grouped).then_some(Self {
            groups,
            outputs,
            ..self
        })
    }

    /// An expression over what a plan gives, whose block this is.
    fn resolved(&self, expr: &Expr, schema: &DFSchema) -> Option<Expr> {
        if !is_of_rows(expr) {
            return None;
        }
        let named = expr.clone().transform_up(|expr| {
            Ok(match expr {
                Expr::Column(column) => {
                    let at = schema.index_of_column(&column)?;
                    let output = self.outputs.get(at).cloned();
                    Transformed::yes(output.unwrap_or(Expr::Column(column)))
                }
                Expr::Alias(alias) => Transformed::yes(*alias.expr),
                other => Transformed::no(other),
            })
        });
        canonical(named.ok()?.data).ok()
    }

    /// The same without the plans by which it is read: it may be kept for long, and they hold sources.
    pub fn bare(mut self) -> Self {
        for leaf in &mut self.leaves {
            leaf.plan = Arc::default();
            if let What::Made { of, .. } = &mut leaf.what {
                *of = std::mem::take(of).into_iter().map(Self::bare).collect();
            }
        }
        self
    }

    /// Its leaves' columns.
    pub fn schema(&self) -> Result<DFSchema> {
        let fields = self.leaves.iter().enumerate();
        let fields = fields.flat_map(|(i, leaf)| {
            let fields = leaf.fields.iter();
            fields.map(move |field| (Some(relation(i)), field.clone()))
        });
        DFSchema::new_with_metadata(fields.collect(), HashMap::new())
    }

    /// Whether it gives something else at another time.
    pub fn reads_clock(&self) -> bool {
        let stable = |expr: &Expr| {
            let stable = expr.exists(|expr| {
                Ok(matches!(expr, Expr::ScalarFunction(call)
                    if call.func.signature().volatility != Volatility::Immutable))
            });
            stable.unwrap_or(true)
        };
        self.any(&|expr, _| stable(expr))
    }

    /// Whether it computes with times, which may mean another moment in another time zone.
    pub fn computes_times(&self) -> bool {
        self.any(&|whole, schema| {
            let computes = whole.exists(|expr| {
                let is_time = matches!(expr.get_type(schema), Ok(DataType::Timestamp(..)) | Err(_));
                Ok(is_time && !matches!(whole, Expr::Column(_)))
            });
            computes.unwrap_or(true)
        })
    }

    /// Whether something is so of an expression in it; what it reads is made of some, too.
    fn any(&self, is_so: &dyn Fn(&Expr, &DFSchema) -> bool) -> bool {
        let Ok(schema) = self.schema() else {
            return true;
        };
        let groups = self.groups.iter();
        let groups = groups.flat_map(|groups| groups.keys.iter().chain(&groups.having));
        let mut exprs = self.conditions.iter().chain(groups).chain(&self.outputs);
        exprs.any(|expr| is_so(expr, &schema))
            || self.leaves.iter().any(|leaf| match &leaf.what {
                What::Table(_) | What::Unknown => false,
                What::Made { with, of, .. } => {
                    // Their conditions are over what they are made of, side by side.
                    let all = of.iter().skip(1).fold(of.first().cloned(), |all, other| {
                        all.map(|all| all.beside(other))
                    });
                    let schema = all.map_or(Ok(DFSchema::empty()), |all| all.schema());
                    of.iter().any(|made| made.any(is_so))
                        || schema.map_or(true, |schema| with.iter().any(|e| is_so(e, &schema)))
                }
            })
    }
}

/// Whether it is computed of a row, or of a group of rows, alone, and is the same each time.
fn is_of_rows(expr: &Expr) -> bool {
    let other = expr.exists(|expr| {
        Ok(match expr {
            Expr::Alias(_)
            | Expr::Column(_)
            | Expr::Literal(..)
            | Expr::BinaryExpr(_)
            | Expr::Like(_)
            | Expr::SimilarTo(_)
            | Expr::Not(_)
            | Expr::IsNotNull(_)
            | Expr::IsNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Negative(_)
            | Expr::Between(_)
            | Expr::Case(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::InList(_) => false,
            Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Volatile,
            Expr::AggregateFunction(call) => !is_of_any_order(call.func.name()),
            _ => true,
        })
    });
    !other.unwrap_or(true)
}

/// Aggregates that do not depend on the order of rows.
fn is_of_any_order(function: &str) -> bool {
    const KNOWN: &[&str] = &[
        "avg",
        "bit_and",
        "bit_or",
        "bit_xor",
        "bool_and",
        "bool_or",
        "count",
        "max",
        "min",
        "stddev",
        "stddev_pop",
        "sum",
        "var",
        "var_pop",
    ];
    KNOWN.contains(&function)
}

/// What leaf of a block columns of this relation are of.
pub fn relation(leaf: usize) -> TableReference {
    TableReference::bare(format!("t{leaf}"))
}

fn column(leaf: usize, name: &str) -> Column {
    Column::new(Some(relation(leaf)), name)
}

/// The leaf that a column is of.
pub fn leaf_of(column: &Column) -> Option<usize> {
    let relation = column.relation.as_ref()?.table();
    relation.strip_prefix('t')?.parse().ok()
}

/// The same over other leaves.
pub fn moved(expr: Expr, to: &dyn Fn(usize) -> usize) -> Expr {
    let place = |from: &Column| Some(column(to(leaf_of(from)?), &from.name));
    with_columns(expr, &place)
}

/// The same with other columns in place of some.
pub fn with_columns(expr: Expr, instead: &dyn Fn(&Column) -> Option<Column>) -> Expr {
    let changed = expr.clone().transform_up(|expr| {
        Ok(match expr {
            Expr::Column(column) => match instead(&column) {
                Some(other) => Transformed::yes(Expr::Column(other)),
                None => Transformed::no(Expr::Column(column)),
            },
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                Transformed::yes(ordered(*left, op, *right))
            }
            other => Transformed::no(other),
        })
    });
    changed.data().unwrap_or(expr)
}

/// Written in the one way: what has no column is a constant, the smaller side of a comparison is on the left, a range is two
/// comparisons.
fn canonical(expr: Expr) -> Result<Expr> {
    let folded = expr.transform_down(|expr| {
        if !is_constant(&expr) {
            return Ok(Transformed::no(expr));
        }
        // What cannot be computed is said by who computes it.
        let folding = ExprSimplifier::new(SimplifyContext::default());
        let constant = folding.simplify(expr.clone()).unwrap_or(expr);
        Ok(Transformed::new(constant, true, TreeNodeRecursion::Jump))
    })?;
    let written = folded.data.transform_up(|expr| {
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                Transformed::yes(ordered(*left, op, *right))
            }
            Expr::Between(range) if !range.negated => {
                let low = ordered(*range.expr.clone(), Operator::GtEq, *range.low);
                let high = ordered(*range.expr, Operator::LtEq, *range.high);
                Transformed::yes(low.and(high))
            }
            other => Transformed::no(other),
        })
    });
    written.data()
}

/// Whether it is one value, in all sessions: functions may know a session's time zone, and so do casts from and to times with one.
fn is_constant(expr: &Expr) -> bool {
    let is_zoned = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, Some(_)));
    if let Expr::Cast(cast) = expr
        && let Expr::Literal(ScalarValue::Utf8(_), _) = cast.expr.as_ref()
    {
        return true;
    }
    let varies = expr.exists(|part| {
        Ok(match part {
            Expr::Literal(value, _) => is_zoned(&value.data_type()),
            Expr::Cast(cast) => is_zoned(cast.field.data_type()),
            Expr::TryCast(cast) => is_zoned(cast.field.data_type()),
            Expr::Column(_) | Expr::AggregateFunction(_) | Expr::ScalarFunction(_) => true,
            _ => false,
        })
    });
    !varies.unwrap_or(true)
}

/// A comparison with its smaller side on the left, and constants on the right.
fn ordered(left: Expr, op: Operator, right: Expr) -> Expr {
    let place = |expr: &Expr| (matches!(expr, Expr::Literal(..)), expr.to_string());
    let swapped = match op {
        Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq
        | Operator::IsDistinctFrom
        | Operator::IsNotDistinctFrom => op.swap(),
        _ => None,
    };
    let (left, op, right) = match swapped {
        Some(swapped) if place(&right) < place(&left) => (right, swapped, left),
        _ => (left, op, right),
    };
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

//! What DataFusion 55 plans or computes wrongly, and how each is kept from changing an answer. A file goes when the
//! defect it names is gone: its test in `tests/engine/upstream` says which answer was wrong.
//!
//! | file | kept from |
//! |---|---|
//! | `keys.rs` | taking the key of one side of a join for the key of groups over it |
//! | `recursion.rs` | refusing recursive queries over columns of sources |
//! | `projections.rs` | computing over rows that a filter drops |
//! | `filters.rs` | filters pushed to another column of the same name, or over keys that are floats |
//! | `topk.rs` | a top-n over a union that shares its bound between partitions ordered by different keys |
//! | `constants.rs` | an order without columns that are one value, or NULL by an outer join |
//! | `groups.rs` | a panic in the first groups by floats, and ranks among the first groups alone |
//! | `floats.rs` | telling 0.0 from -0.0, which are equal, and one NaN from another, in some places |
//! | `decimals.rs` | decimals with more digits than their type has, and casts to floats that round twice |
//! | `membership.rs` | `IN (SELECT …)` that is true or false where it is NULL, and `> ANY (SELECT …)` that compares a column with itself |
//! | `single.rs` | refusing the value of a subquery that reads the row around it, unless it is computed of all rows |
//! | `absent.rs` | `(SELECT …)` taken for what is never NULL, although it may find no row |
//! | `types.rs` | columns of unions and of `CASE` that are said to be of one type, and are of another |
//! | `folding.rs` | folding constants to a NaN that does not equal another |
//! | `ranges.rs` | an order without a column that a condition rounds: `WHERE CAST(at AS DATE) = … ORDER BY at` |
//! | `frames.rs` | refusing windows ordered by times of day, intervals and bytes |
//! | `windows.rs` | a panic over windows whose keys are computed |
//! | `marks.rs` | refusing `EXISTS` and `IN (SELECT …)` outside conditions |
//! | `outer.rs` | comparing what a subquery reads of a union as the type it had in one of its parts |
//! | `aggregates.rs` | filters moved below an aggregate that has a row for no input, and sums of decimals that are of another type beside a DISTINCT |
//! | `escapes.rs` | refusing `LIKE … ESCAPE` with another escape than a backslash |
//! | `copies.rs` | `EXCEPT ALL` and `INTERSECT ALL` that do not count the copies of a row |
//! | `zones.rs` | times without a zone compared as if they were in UTC, and none where summer begins or ends |
//! | `amended.rs` | nothing by itself: a rule with more that is done to a node, or without nodes for which it is wrong |
//! | `expressions.rs` | nothing by itself: rewriting the expressions of a node |
//! | `ranks.rs` | ranks, and lengths of lists, without a sign |
//! | `words.rs` | refusing `FETCH FIRST`, `(a, b) IN (SELECT …)` and `WITH ORDINALITY`, and passing over `TABLESAMPLE` |
//! | `lengths.rs` | values made longer than memory is: `repeat('x', 400000000)` |
//! | `truncated.rs` | refusing `date_trunc` of times before 1677 and after 2262 |
//! | `series.rs` | refusing `generate_series` of times in another unit than nanoseconds |
//! | `extremes.rs` | `min` and `max` of floats, by group, that depend on where a NaN comes, and lose infinities |

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::RelationPlanner;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

mod absent;
mod aggregates;
mod amended;
mod constants;
mod copies;
mod decimals;
mod escapes;
mod expressions;
mod extremes;
mod filters;
mod floats;
mod folding;
mod frames;
mod groups;
mod keys;
mod lengths;
mod marks;
mod membership;
mod outer;
mod projections;
mod ranges;
mod ranks;
mod recursion;
mod series;
mod single;
mod topk;
mod truncated;
mod types;
mod windows;
mod words;
mod zones;

pub(super) use expressions::rewritten;
pub(super) use recursion::bare_recursion;
pub(super) use words::in_known_words;
pub(super) use zones::{is_utc, offset};

use amended::{Amended, Amends};

type LogicalRule = Arc<dyn OptimizerRule + Send + Sync>;
type PhysicalRule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// What plans the relations of one statement.
pub(super) fn relation_planners() -> Vec<Arc<dyn RelationPlanner>> {
    vec![Arc::new(keys::KeyedRelations::default())]
}

/// What is done to a statement's plan as it has been read: then its columns are what they will be.
pub(super) fn as_planned(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    types::common_types(absent::values_that_may_be_absent(plan)?, state)
}

/// What is done to it before it is optimized.
pub(super) fn before_optimizer(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let plan = escapes::by_backslash(outer::outer_types(plan, state)?)?;
    let plan = frames::peers_as_groups(plan)?;
    let plan = marks::projected_subqueries(plan)?;
    let plan = membership::whole_membership(plan)?;
    copies::counted_copies(plan)
}

/// What is done to what has been optimized, and cut, before it becomes a physical plan.
pub(super) fn before_planner(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = decimals::exact_decimals(floats::equal_floats(plan)?)?;
    ranges::unfollowed_ranges(plan)
}

/// DataFusion's rules over logical plans, in their order. Those that use keys find them as they are.
pub(super) fn logical_rules() -> Vec<LogicalRule> {
    let mut rules: Vec<LogicalRule> = Vec::new();
    for rule in Optimizer::new().rules {
        let amends = match rule.name() {
            "single_distinct_aggregation_to_group_by" => {
                Amends::Unless(aggregates::adds_up_otherwise)
            }
            "simplify_expressions" => Amends::Before(before_simplification),
            "push_down_filter" => Amends::Unless(aggregates::is_over_totals),
            "common_sub_expression_eliminate" => Amends::Unless(windows::have_computed_keys),
            // It makes a DISTINCT a group, and drops one over what has a key: the two at once, from below.
            "replace_distinct_aggregate" => Amends::After(keys::with_keys),
            name => {
                match name {
                    "decorrelate_predicate_subquery" => {
                        let conditions = rule.clone();
                        rules.push(Arc::new(marks::Marks { conditions }));
                    }
                    "eliminate_duplicated_expr" | "optimize_projections" => {
                        rules.push(Arc::new(keys::Keys));
                    }
                    _ => {}
                }
                rules.push(rule);
                continue;
            }
        };
        rules.push(Arc::new(Amended { rule, amends }));
    }
    rules
}

fn before_simplification(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let node = folding::folds_to_one_nan(node)?.transform_data(decimals::folds_exactly)?;
    node.transform_data(zones::times_in_zones)
}

/// DataFusion's rules over physical plans, in their order.
pub(super) fn physical_rules() -> Vec<PhysicalRule> {
    let mut rules = Vec::new();
    for rule in PhysicalOptimizer::new().rules {
        match rule.name() {
            "ProjectionPushdown" => {
                rules.push(Arc::new(projections::CarefulProjections(rule)) as PhysicalRule)
            }
            "EnsureRequirements" => {
                rules.push(Arc::new(constants::NoPassingConstants));
                rules.push(rule);
            }
            "LimitAggregation" => rules.push(Arc::new(groups::ExactGroups(rule))),
            "FilterPushdown" => rules.push(Arc::new(filters::GuardedFilters {
                rule,
                are_dynamic: false,
            })),
            "FilterPushdown(Post)" => {
                // What a sort is to be bounded by is decided before its bound is pushed down.
                rules.push(Arc::new(topk::WholeTopK));
                rules.push(Arc::new(filters::GuardedFilters {
                    rule,
                    are_dynamic: true,
                }));
            }
            _ => rules.push(rule),
        }
    }
    rules
}

/// Functions in place of DataFusion's own.
pub(super) fn register_functions(state: &mut SessionState) -> Result<()> {
    for function in extremes::functions() {
        state.register_udaf(function)?;
    }
    lengths::register(state)?;
    series::register(state);
    truncated::register(state)?;
    ranks::register(state)
}

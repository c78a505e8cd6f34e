//! What DataFusion 55 plans or computes wrongly, and how each is kept from changing an answer. A file goes when the
//! defect it names is gone: its test in `tests/engine/upstream.rs` says which answer was wrong.
//!
//! | file | kept from |
//! |---|---|
//! | `projections.rs` | computing over rows that a filter drops |
//! | `filters.rs` | filters pushed to another column of the same name |
//! | `topk.rs` | a top-n over a union that shares its bound between partitions ordered by different keys |
//! | `zeros.rs` | telling 0.0 from -0.0, which are equal, in some places |
//! | `extremes.rs` | `min` and `max` of floats, by group, that depend on where a NaN comes, and lose infinities |

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

mod extremes;
mod filters;
mod projections;
mod topk;
mod zeros;

pub(super) use zeros::one_zero;

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// DataFusion's rules, in their order.
pub(super) fn physical_rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for rule in PhysicalOptimizer::new().rules {
        match rule.name() {
            "ProjectionPushdown" => {
                rules.push(Arc::new(projections::CarefulProjections(rule)) as Rule)
            }
            "FilterPushdown" => rules.push(Arc::new(filters::UnambiguousFilters(rule))),
            "FilterPushdown(Post)" => {
                // What a sort is to be bounded by is decided before its bound is pushed down.
                rules.push(Arc::new(topk::WholeTopK));
                rules.push(Arc::new(filters::UnambiguousFilters(rule)));
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
    Ok(())
}

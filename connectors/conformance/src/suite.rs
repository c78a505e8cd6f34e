use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::fixture::{Ability, Fixture};
use crate::{
    changes, discovery, faults, joins, keys, lookups, pushdown, queries, shapes, types, windows,
    writes,
};

/// A behaviour passes, or cannot be shown by this system, for this reason. It fails by panicking.
pub(crate) type Outcome = Result<(), &'static str>;

type Behaviour = (
    &'static str,
    fn(Arc<dyn Fixture>) -> BoxFuture<'static, Outcome>,
);

/// A behaviour that has not ended by then has failed.
const PATIENCE: Duration = Duration::from_secs(300);

/// Only behaviours whose name contains its value are run.
const ONLY: &str = "BELVEDERE_CONFORMANCE";

macro_rules! behaviours {
    ($($module:ident: $($name:ident),+ $(,)?;)+) => {
        &[$($((
            concat!(stringify!($module), "::", stringify!($name)),
            (|fixture| $module::$name(fixture).boxed()) as fn(Arc<dyn Fixture>) -> BoxFuture<'static, Outcome>,
        )),+),+]
    };
}

const ALL: &[Behaviour] = behaviours! {
    discovery: tables_and_columns, nothing_there, keys, names_that_need_quoting, tables_that_differ_in_case,
        columns_that_differ_in_case, a_new_table_is_found, a_dropped_table, a_column_that_changed_its_type,
        a_column_that_is_gone, a_new_column, definitions_outlive_the_engine;
    types: booleans, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64, decimal, wide_decimal,
        dates, times, timestamps, timestamps_with_zone, text, binary, natives;
    shapes: no_rows, no_columns, one_row_below_a_batch, one_batch, one_row_above_a_batch, many_columns, a_huge_value,
        all_null;
    queries: projections, filters_on_numbers, filters_on_text, filters_on_null, like_patterns, limits, orders, top_n,
        aggregates, averages, grouping, distinct_values, unions, subqueries, arithmetic, errors_of_values, functions, prepared_values;
    joins: inner_joins, outer_joins, semi_and_anti_joins, mark_joins, cross_and_self_joins, long_joins;
    windows: ranks, row_numbers, aggregates, above_and_below;
    keys: integers, texts, decimals, dates, timestamps, odd_texts, of_two_columns;
    lookups: prepared_again, at_once;
    pushdown: columns, integer_comparison, text_equality, text_order, arithmetic, limit, order_by, top_n, count, group_by,
        distinct, inner_join, left_join, full_join, semi_join, anti_join, mark_join, window, union_all, off_sends_no_more_than_scans;
    writes: every_type_comes_back, natives_come_back, violations_leave_nothing, as_plain_rows_have_it, seen_by_who_reads_after;
    changes: snapshot_meets_stream, resumes_without_a_snapshot, a_table_later, what_is_rolled_back_is_not_told,
        large_transactions_and_values, columns_that_come_and_go, a_lost_log_is_named, an_idle_source_is_passed,
        replicas_over_restarts;
    faults: cancelled_in_mid_read, cancelled_again_and_again, interrupted_in_mid_read, past_its_deadline, wrong_password,
        unknown_host, unknown_place, unknown_option, forbidden_table, two_hundred_at_once, more_than_memory, slow_reader;
};

/// Run all behaviours over a fixture, print each that did not pass and the number of those that did.
///
/// # Panics
/// If one failed.
pub fn run(start: impl Future<Output = Arc<dyn Fixture>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        // Plans are trees, and unoptimized builds walk them with large frames.
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .expect("a runtime");
    let failed = runtime.block_on(async {
        let fixture = start.await;
        report(fixture).await
    });
    assert!(
        failed.is_empty(),
        "{} behaviours failed: {}",
        failed.len(),
        failed.join(", ")
    );
}

async fn report(fixture: Arc<dyn Fixture>) -> Vec<&'static str> {
    let name = fixture.name();
    let only = std::env::var(ONLY).unwrap_or_default();
    let (mut passed, mut impossible, mut failed) = (0, 0, Vec::new());
    let started = Instant::now();
    for (behaviour, check) in ALL
        .iter()
        .filter(|(behaviour, _)| behaviour.contains(only.as_str()))
    {
        fixture.clear().await;
        // A task of its own: its panic is a failure, not the end.
        let outcome = tokio::spawn(tokio::time::timeout(PATIENCE, check(fixture.clone()))).await;
        match outcome {
            Ok(Ok(Ok(()))) => passed += 1,
            Ok(Ok(Err(reason))) => {
                impossible += 1;
                say(&format!("{name}: {behaviour} cannot be shown: {reason}"));
            }
            Ok(Err(_)) => {
                say(&format!(
                    "{name}: {behaviour} FAILED: it did not end within {} s",
                    PATIENCE.as_secs()
                ));
                failed.push(*behaviour);
            }
            Err(_) => {
                say(&format!("{name}: {behaviour} FAILED"));
                failed.push(*behaviour);
            }
        }
    }
    fixture.clear().await;
    assert!(passed > 0, "no behaviour of {name} passed");
    say(&format!(
        "conformance {name}: {passed} behaviours passed, {} failed, {impossible} cannot be shown, in {:.0} s",
        failed.len(),
        started.elapsed().as_secs_f64()
    ));
    failed
}

/// Past the test harness, which keeps what a passing test prints.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Go on only if the fixture has the ability.
pub(crate) fn need(fixture: &Arc<dyn Fixture>, ability: Ability) -> Outcome {
    fixture.lacks(ability).map_or(Ok(()), Err)
}

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belvedere_sql::{Explain, Statement};
use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan, TableScan};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext, execute_stream};
use futures::TryStreamExt;

use super::copies::WithCopies;
use super::copy::{self, Copying};
use super::names::Names;
use super::query::{self, Planned};
use super::results;
use super::sources::LiveSource;
use crate::access::Barrier;
use crate::catalog::{ObjectId, Privilege};
use crate::error::{Error, Result};
use crate::federation::{
    Cut, FragmentExec, FragmentNode, Outcome, Question, Restart, fragments, is_repeated,
};
use crate::views::{Content, CopyTable, State, Upkeep};

/// One text column, a row per line.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("plan", DataType::Utf8, false)]))
}

/// What a statement would do: the text sent to each source, what stays here and why; with ANALYZE, what it did.
pub(super) async fn explain(
    explain: &Explain,
    names: Names,
    deadline: Option<Instant>,
) -> Result<RecordBatch> {
    if let Some(format) = &explain.format {
        return Err(Error::NotInThisVersion {
            what: format!("EXPLAIN (FORMAT {format})"),
        });
    }
    let mut text = String::new();
    let planned = match &*explain.statement {
        Statement::Query(ast) => query::plan(names.clone(), ast).await?,
        Statement::Copy(_) if explain.analyze => {
            return Err(Error::invalid_with_help(
                "EXPLAIN ANALYZE would run the query, and writes nothing",
                "Use EXPLAIN COPY, or EXPLAIN ANALYZE with the query alone",
            ));
        }
        Statement::Copy(ast) => {
            let Copying { export, rows } = copy::plan(names.clone(), ast).await?;
            let _ = writeln!(text, "Written as {}", export.describe());
            rows
        }
        _ => {
            return Err(Error::invalid_with_help(
                "only a query can be explained",
                "Definitions do nothing but what they say",
            ));
        }
    };
    if !names.world.is_whole() && Barrier::is_in(&planned.plan) {
        return behind_barriers(text, &planned.plan, explain.analyze);
    }
    shows_what_is_seen(&planned)?;
    let matched = planned.matched().await;
    let asked = planned.clone();
    let planned = matched.planned.unwrap_or(planned);
    let WithCopies {
        planned,
        freshness,
        live,
    } = planned.with_copies(deadline, false).await?;
    let state = query::state(&names, deadline)?;
    let cut = planned.cut(&state, true)?;
    let physical = query::physical(&cut.plan, &state).await?;

    let ran = match explain.analyze {
        false => None,
        true => {
            let started = Instant::now();
            let stream = execute_stream(physical.clone(), state.task_ctx())?;
            let batches: Vec<RecordBatch> = stream.try_collect().await?;
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            Some((rows, started.elapsed()))
        }
    };
    if names.settings.one_database {
        text.insert_str(0, &costs(&cut, physical.as_ref()));
    }
    sources(&mut text, &cut, &names, ran.is_some().then_some(&physical));
    readers(&mut text, &cut, &names);
    copies(&mut text, &cut, &names);
    for considered in &matched.considered {
        let _ = writeln!(text, "{considered}");
    }
    for (view, why) in &live {
        let _ = writeln!(text, "Read live instead of {view}: {why}");
    }
    let freshness = freshness.with_sources(&cut.plan, &names)?;
    if let Statement::Query(ast) = &*explain.statement
        && let Some(bound) = results::told_again_for(ast, &asked, &freshness)?
    {
        let until = match planned.followed(&cut.plan)? {
            None => format!("for {bound:?}"),
            Some(followed) if followed.is_timeless => "until its tables change".to_string(),
            Some(_) => format!("for {bound:?}, or until its tables change,"),
        };
        let _ = writeln!(text, "Told again {until} to who asks the same");
    }
    if let Err(e) = freshness.agrees() {
        let _ = writeln!(text, "Not of one moment: {e}");
    }
    kept(&mut text, &cut);
    for notice in &cut.notices {
        let _ = writeln!(text, "\nNotice: {notice}");
    }
    here(&mut text, &physical, ran.is_some());
    if let Some((rows, elapsed)) = ran {
        let ms = elapsed.as_secs_f64() * 1e3;
        let noun = if rows == 1 { "row" } else { "rows" };
        let _ = writeln!(text, "\n{rows} {noun} in {ms:.1} ms");
    }
    if explain.verbose {
        let _ = writeln!(text, "\nLogical plan, as resolved");
        indented(&mut text, &planned.plan.display_indent().to_string());
        let _ = writeln!(text, "\nLogical plan, optimized and cut");
        indented(&mut text, &cut.plan.display_indent().to_string());
    }
    told(&text)
}

/// What is asked for, down to what is not seen. How it is found hangs on rows that are there, seen or not: it is not told, nor is how
/// many there are, and how long they take.
fn behind_barriers(mut text: String, plan: &LogicalPlan, analyze: bool) -> Result<RecordBatch> {
    if analyze {
        return Err(Error::denied(
            "EXPLAIN ANALYZE would count rows that you do not see",
            "EXPLAIN shows what is asked for",
        ));
    }
    let shown = plan.clone().transform_down_with_subqueries(|node| {
        let Some(barrier) = Barrier::of(&node) else {
            return Ok(Transformed::no(node));
        };
        let nothing = LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: false,
            schema: barrier.input.schema().clone(),
        });
        let barrier = Barrier {
            input: Arc::new(nothing),
            ..barrier.clone()
        };
        Ok(Transformed::new(
            barrier.into_plan(),
            true,
            TreeNodeRecursion::Jump,
        ))
    })?;
    let _ = writeln!(
        text,
        "Some of what is read is not for you to see: what is asked for"
    );
    let shown = shown.data.display_indent().to_string();
    // Of the tree, what stands for the rest of it.
    let lines = shown
        .lines()
        .filter(|line| !line.trim_start().starts_with("EmptyRelation: rows=0"));
    indented(&mut text, &lines.collect::<Vec<_>>().join("\n"));
    told(&text)
}

fn told(text: &str) -> Result<RecordBatch> {
    let lines = StringArray::from(text.trim_end().lines().collect::<Vec<_>>());
    RecordBatch::try_new(schema(), vec![Arc::new(lines)])
        .map_err(|e| Error::Internal(e.to_string()))
}

/// That whoever asks may know of all that is read, by views, too: that is what is shown.
fn shows_what_is_seen(planned: &Planned) -> Result<()> {
    let names = &planned.names;
    if names.world.is_whole() {
        return Ok(());
    }
    let mut known = BTreeSet::new();
    let named = names.referenced().into_iter().map(|id| (id, false));
    let mut pending: Vec<(ObjectId, bool)> = named.collect();
    while let Some((id, is_of_view)) = pending.pop() {
        if id.is_built_in() || !known.insert((id.clone(), is_of_view)) {
            continue;
        }
        let allowed = names.world.allowed(&id);
        // A view may read the columns that are not there for who asks.
        let is_seen = match is_of_view {
            true => allowed.may(Privilege::Select),
            false => allowed.sees(),
        };
        if !is_seen {
            return Err(Error::denied(
                "EXPLAIN shows what views read, and you may not know of all of that",
                "Who has defined them can explain it",
            ));
        }
        let view = names.view(&id);
        let reads = view.iter().flat_map(|view| &view.depends_on);
        pending.extend(reads.map(|id| (id.clone(), true)));
    }
    Ok(())
}

/// The line that programs read which ask a PostgreSQL for its estimates, as postgres_fdw does: the work, in PostgreSQL's measure,
/// to have all rows, and how many and how wide they are.
fn costs(cut: &Cut, physical: &dyn ExecutionPlan) -> String {
    /// To ask at all, and to take one row: postgres_fdw's own defaults.
    const ASKED: f64 = 100.0;
    const TAKEN: f64 = 0.01;
    /// Where nothing is known.
    const ROWS: usize = 1000;
    let (fragments, _) = fragments(&cut.plan);
    let read = fragments
        .iter()
        .map(|fragment| fragment.estimate.known_rows().unwrap_or(ROWS));
    let read = read.max().unwrap_or_default();
    let known = StatisticsContext::new().compute(physical, &StatisticsArgs::new());
    let known = known.ok();
    let known = known.and_then(|known| known.num_rows.get_value().copied());
    let rows = known.unwrap_or(read.max(1));
    let schema = physical.schema();
    let width = schema.fields().iter().map(|field| {
        let fixed = field.data_type().primitive_width();
        fixed.unwrap_or(32)
    });
    let all = ASKED + TAKEN * (read + rows) as f64;
    format!(
        "Answer  (cost={ASKED:.2}..{all:.2} rows={rows} width={})\n",
        width.sum::<usize>()
    )
}

/// Each fragment: its source, its text, and its rows (estimated, or counted by a run).
fn sources(text: &mut String, cut: &Cut, names: &Names, ran: Option<&Arc<dyn ExecutionPlan>>) {
    let mut counted = Vec::new();
    if let Some(plan) = ran {
        count_rows(plan, &mut counted);
        // Of those that are read in several places, one was sent.
        counted.sort_by_key(|counted| counted.sent.is_none());
    }
    let (fragments, restarts) = fragments(&cut.plan);
    if fragments.is_empty() && restarts.is_empty() {
        let _ = writeln!(text, "No source is sent a fragment");
    }
    for fragment in fragments {
        source(text, &fragment, &mut counted, names);
    }
    for restart in restarts {
        attempts(text, &restart, &mut counted, names, ran.is_some());
    }
}

/// What a top-n is tried over, one after another, and what each sends.
fn attempts(
    text: &mut String,
    restart: &Restart,
    counted: &mut Vec<Counted>,
    names: &Names,
    ran: bool,
) {
    let (all, ordered) = (restart.attempts.len(), &restart.trial.ordered);
    for (i, attempt) in restart.attempts.iter().enumerate() {
        let (fragments, _) = fragments(attempt);
        let is_sent = |fragment: &FragmentNode| {
            let mut counted = counted.iter();
            counted.any(|counted| counted.sent.is_some() && counted.is_of(fragment))
        };
        if ran && !fragments.iter().any(is_sent) {
            let _ = writeln!(text, "Attempt {} of {all}: not needed", i + 1);
            continue;
        }
        let rows = match restart.trial.limits.get(i) {
            Some(limit) => format!("the first {limit} rows of {ordered}"),
            None => format!("all rows of {ordered}"),
        };
        let when = match i == 0 || ran {
            true => "",
            false => ", if that does not decide",
        };
        let _ = writeln!(text, "Attempt {} of {all}{when}: {rows}", i + 1);
        for fragment in fragments {
            source(text, &fragment, counted, names);
        }
    }
}

fn source(text: &mut String, fragment: &FragmentNode, counted: &mut Vec<Counted>, names: &Names) {
    let name = &fragment.handle.name;
    let connector = names.world.live.get(name).map_or("", |live| live.connector);
    let found = counted
        .iter()
        .position(|counted| counted.is_of(fragment))
        .map(|at| counted.remove(at));
    let rows = match (&found, fragment.estimate.known_rows()) {
        (Some(counted), Some(rows)) => format!(", {} rows of about {rows}", counted.rows),
        (Some(counted), None) => format!(", {} rows", counted.rows),
        (None, Some(rows)) => format!(", about {rows} rows"),
        (None, None) => String::new(),
    };
    let came = found.as_ref().and_then(|counted| counted.came.clone());
    let sent = found.map_or_else(|| Some(text_of(fragment)), |counted| counted.sent);
    let _ = match &sent {
        Some(_) => writeln!(text, "Sent to {name} ({connector}{rows})"),
        None => writeln!(
            text,
            "Not sent to {name} ({connector}): no row could be needed"
        ),
    };
    if let Some(sent) = sent {
        indented(text, &sent);
    }
    if let Some(came) = came {
        indented(text, &came);
    }
}

fn text_of(fragment: &FragmentNode) -> String {
    fragment.handle.source.describe(&fragment.fragment)
}

/// Long lists of keys are not for reading; what was counted, at the end, is.
fn shortened(line: &str) -> String {
    const SHOWN: usize = 2_000;
    let counted = line.rfind(", metrics=[").unwrap_or(line.len());
    let (what, counted) = line.split_at(counted);
    match what.char_indices().nth(SHOWN) {
        None => line.to_string(),
        Some((end, _)) => {
            let more = what[end..].chars().count();
            format!("{} … and {more} characters more{counted}", &what[..end])
        }
    }
}

/// What a fragment did in a run.
struct Counted {
    source: String,
    text: String,
    sent: Option<String>,
    rows: usize,
    came: Option<String>,
}

impl Counted {
    fn is_of(&self, fragment: &FragmentNode) -> bool {
        self.source == fragment.handle.name && self.text == text_of(fragment)
    }
}

/// How an answer came: `1.2 kB in 3.4 ms, the first row after 3.0 ms`.
fn came(question: &Question) -> String {
    let progress = question.progress();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let end = match progress.outcome {
        Outcome::Running | Outcome::Finished(_) => "",
        Outcome::Failed(..) => ", failed",
        Outcome::Dropped(_) => ", the rest was not needed",
    };
    let mut text = format!("{} in {:.1} ms", bytes(progress.bytes), ms(progress.lasted));
    if let Some(first) = progress.first {
        let _ = write!(text, ", the first row after {:.1} ms", ms(first));
    }
    if progress.waited >= Duration::from_millis(1) {
        let _ = write!(
            text,
            ", {:.1} ms of it waiting for a connection",
            ms(progress.waited)
        );
    }
    if progress.attempts > 1 {
        let _ = write!(text, ", asked {} times", progress.attempts);
    }
    if progress.spilled {
        let _ = write!(text, ", partly by way of the disk");
    }
    text + end
}

fn bytes(count: u64) -> String {
    let count = count as f64;
    match count {
        1e9.. => format!("{:.1} GB", count / 1e9),
        1e6.. => format!("{:.1} MB", count / 1e6),
        1e3.. => format!("{:.1} kB", count / 1e3),
        _ => format!("{count} bytes"),
    }
}

/// Each table that is read by DataFusion's own readers (files): what of it is asked for.
fn readers(text: &mut String, cut: &Cut, names: &Names) {
    let mut tables = Vec::new();
    scans(&cut.plan, &mut tables);
    for scan in tables {
        let Ok(provider) = source_as_provider(&scan.source) else {
            continue;
        };
        let read = |(name, live): (&String, &Arc<LiveSource>)| {
            Some((name.clone(), live.connector, live.table_of(&provider)?))
        };
        let Some((name, connector, table)) = names.world.live.iter().find_map(read) else {
            continue;
        };
        let _ = writeln!(text, "Read from {name} ({connector})");
        let columns: Vec<_> = scan
            .projected_schema
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .collect();
        let mut line = format!("{}: {}", table.name, columns.join(", "));
        if !scan.filters.is_empty() {
            let filters: Vec<_> = scan
                .filters
                .iter()
                .map(|f| f.human_display().to_string())
                .collect();
            let _ = write!(line, " where {}", filters.join(" AND "));
        }
        indented(text, &line);
    }
}

/// Each kept view that is read: what keeps it, and how old it is.
fn copies(text: &mut String, cut: &Cut, names: &Names) {
    let mut tables = Vec::new();
    scans(&cut.plan, &mut tables);
    let mut told = BTreeSet::new();
    for scan in tables {
        let provider = source_as_provider(&scan.source).ok();
        let copy = provider
            .as_ref()
            .and_then(|p| p.downcast_ref::<CopyTable>());
        let Some((copy, shown)) = copy.and_then(|copy| Some((copy, copy.shown.as_ref()?))) else {
            continue;
        };
        let kept = match &copy.contract.upkeep {
            _ if copy.is_fixed => "as it was",
            Upkeep::Change => "kept by change",
            Upkeep::Schedule(_) => "computed by schedule",
            Upkeep::Read => "computed when it is read",
            Upkeep::Manual => "computed when that is asked for",
        };
        let version = match &shown.content {
            Some(Content::Rows(version)) => format!(", version {}", version.number),
            _ => String::new(),
        };
        let age = names.inner.views.shelves().age(&shown.as_of);
        let age = age.map_or(String::new(), |age| format!(", {} ms old", age.as_millis()));
        let state = match &shown.state {
            State::Live => String::new(),
            state => format!(", {}", state.name()),
        };
        let line = format!("Read from {} ({kept}{version}{age}{state})", copy.id);
        // A view that is read twice is of one moment.
        if told.insert(copy.id.clone()) {
            let _ = writeln!(text, "{line}");
        }
    }
}

/// The tables of a plan that DataFusion reads; of what is read in several places, or attempts, those of one.
fn scans(plan: &LogicalPlan, into: &mut Vec<TableScan>) {
    let walked = plan.apply_with_subqueries(|node| {
        if is_repeated(node) {
            return Ok(TreeNodeRecursion::Jump);
        }
        if let Some(restart) = Restart::of(node) {
            restart
                .attempts
                .iter()
                .take(1)
                .for_each(|attempt| scans(attempt, into));
            return Ok(TreeNodeRecursion::Jump);
        }
        if let LogicalPlan::TableScan(scan) = node {
            into.push(scan.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "the walk itself never fails");
}

fn count_rows(plan: &Arc<dyn ExecutionPlan>, into: &mut Vec<Counted>) {
    if let Some(exec) = plan.downcast_ref::<FragmentExec>() {
        let rows = plan.metrics().and_then(|m| m.output_rows()).unwrap_or(0);
        into.push(Counted {
            source: exec.source_name().to_string(),
            text: exec.text(),
            sent: exec.asked().map(|asked| exec.text_of(&asked.fragment)),
            rows,
            came: exec.asked().map(|asked| came(&asked.question)),
        });
    }
    for child in plan.children() {
        count_rows(child, into);
    }
}

fn kept(text: &mut String, cut: &Cut) {
    if cut.kept.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nStays here, though one source holds its input");
    for kept in &cut.kept {
        let _ = writeln!(
            text,
            "  {}: {}\n    because: {}",
            kept.source, kept.what, kept.why
        );
    }
}

fn here(text: &mut String, physical: &Arc<dyn ExecutionPlan>, ran: bool) {
    // DataFusion wraps leaves so that they yield; that is no work.
    let mut answering = physical;
    while let (true, [child]) = (
        answering.name() == "CooperativeExec",
        &answering.children()[..],
    ) {
        answering = child;
    }
    if answering.downcast_ref::<FragmentExec>().is_some() {
        let _ = writeln!(
            text,
            "\nNothing runs here: the source answers the whole query"
        );
        return;
    }
    let _ = writeln!(text, "\nRuns here");
    let shown = match ran {
        true => DisplayableExecutionPlan::with_metrics(physical.as_ref()),
        false => DisplayableExecutionPlan::new(physical.as_ref()),
    };
    indented(text, &shown.indent(false).to_string());
}

fn indented(text: &mut String, lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(text, "  {}", shortened(line));
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_long_line_keeps_its_beginning_and_what_was_counted() {
        let line = format!("Scan: keys={}, metrics=[rows=7]", "é,".repeat(5_000));
        let short = shortened(&line);
        assert!(short.starts_with("Scan: keys=é,é,"), "{short}");
        let end = " … and 8011 characters more, metrics=[rows=7]";
        assert!(short.ends_with(end), "{short}");
        assert_eq!(
            shortened("Scan: keys=1, metrics=[]"),
            "Scan: keys=1, metrics=[]"
        );
    }
}

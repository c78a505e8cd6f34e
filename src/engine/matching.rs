//! Kept views that a query does not name, in the place of parts of it that they answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result as PlanResult, TableReference};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableScan};

use super::names::Names;
use super::query::{self, Planned};
use super::room::Room;
use super::settings::Settings;
use super::world::World;
use crate::catalog::{CATALOG, ObjectId, Privilege, ViewDefinition};
use crate::error::Result;
use crate::federation::price;
use crate::freshness::Freshness;
use crate::freshness::matching::{Answering, Block, Part, Proof, Refusal, Way, with_answers};
use crate::views::{Contract, CopyTable, Shown, indexes};

/// Rows that an index finds, beside those of the whole copy: few.
const FOUND_BY_INDEX: f64 = 100.0;

/// The kept views of the world that was asked for last, in the form in which they are compared with queries.
#[derive(Debug, Default)]
pub(super) struct Matching(Mutex<Option<Arc<Forms>>>);

/// The kept views of one world.
#[derive(Debug)]
struct Forms {
    version: u64,
    /// By the tables of sources that they read.
    by_table: BTreeMap<ObjectId, Vec<ObjectId>>,
    known: Mutex<BTreeMap<ObjectId, Form>>,
}

/// What a view answers with; or why it answers nothing that does not name it.
type Form = Result<Arc<Answering>, &'static str>;

/// A query with what answers parts of it.
#[derive(Default)]
pub(super) struct Matched {
    /// None: no part is answered by a view.
    pub planned: Option<Planned>,
    pub considered: Vec<Considered>,
}

/// A kept view that reads what a query reads, and what came of it.
#[derive(Debug)]
pub(super) struct Considered {
    view: ObjectId,
    verdict: Verdict,
}

#[derive(Debug, Clone)]
enum Verdict {
    Chosen {
        way: Way,
        is_whole: bool,
    },
    Not(String),
    /// It has not been compared yet with a part that reads what it reads.
    Elsewhere(String),
}

impl fmt::Display for Considered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Considered {}: ", self.view)?;
        match &self.verdict {
            Verdict::Chosen { way, is_whole } => {
                let what = if *is_whole { "it" } else { "a part" };
                write!(f, "answers {what} {way}, chosen")
            }
            Verdict::Not(why) | Verdict::Elsewhere(why) => write!(f, "not used: {why}"),
        }
    }
}

/// A view whose copy a statement may read now.
struct Candidate {
    copy: Arc<CopyTable>,
    shown: Arc<Shown>,
    form: Form,
    /// What it is of cannot be asked.
    source_fails: bool,
}

impl Matching {
    fn of(&self, world: &World) -> Arc<Forms> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(forms) if forms.version == world.version => forms.clone(),
            _ => kept.insert(Arc::new(Forms::of(world))).clone(),
        }
    }
}

impl Forms {
    fn of(world: &World) -> Self {
        let mut by_table: BTreeMap<ObjectId, Vec<ObjectId>> = BTreeMap::new();
        for view in world.definitions.views.values() {
            if view.materialized.is_none() {
                continue;
            }
            for table in world.tables_of(view) {
                by_table.entry(table).or_default().push(view.id());
            }
        }
        Self {
            version: world.version,
            by_table,
            known: Mutex::default(),
        }
    }

    async fn form(&self, names: &Names, view: &ViewDefinition) -> Form {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(form) = known().get(&view.id()) {
            return form.clone();
        }
        let form = form(names, view).await;
        known().insert(view.id(), form.clone());
        form
    }
}

/// A view as what may answer queries: as it is computed, which is under no session's settings.
async fn form(names: &Names, view: &ViewDefinition) -> Form {
    // What a virtual view was when a copy was computed is not known, nor how old another copy was.
    let is_own = |id: &ObjectId| id.0.first().is_some_and(|first| first == CATALOG);
    if view.depends_on.iter().any(is_own) {
        return Err("it reads other views, which may have been others when it was computed");
    }
    let (inner, world) = (names.inner.clone(), names.root.clone());
    let names = Names::new(inner, world, Settings::default(), true);
    let plan = query::view_plan(&names, view).await;
    let plan = plan.map_err(|_| "it cannot be planned any more")?;
    let room = Room::for_plan(&plan).map_err(|_| "it is too deep")?;
    let of = || Answering::of(&plan, &view.columns, &|scan| names.table_of(scan));
    room.with(of).map(Arc::new)
}

impl Planned {
    /// Whether a kept view could answer a part of it that does not name it: it reads what the query reads, and may be older than now.
    pub fn may_be_matched(&self) -> bool {
        let names = &self.names;
        let is_asked_for =
            names.looser_bound().is_some() || names.settings.stale_if_error.is_some();
        is_asked_for && !names.beside(&self.plan).is_empty()
    }

    /// The query with kept views in the place of the largest parts that they answer, where the session's bound admits their copies and
    /// reading them costs less than asking. This is where that is picked.
    pub async fn matched(&self) -> Matched {
        match self.names.looser_bound() {
            Some(_) => self.matched_by(&self.names, false).await,
            None => Matched::default(),
        }
    }

    /// The same while what it reads fails: by copies as old as `stale_if_error` says, whatever reading them costs.
    pub async fn matched_stale(&self) -> Option<Planned> {
        let settings = &self.names.settings;
        let bound = settings.stale_if_error.filter(|bound| !bound.is_zero())?;
        let names = self.names.with_settings(Settings {
            max_staleness: Some(bound),
            ..settings.as_ref().clone()
        });
        self.matched_by(&names, true).await.planned
    }

    async fn matched_by(&self, names: &Names, source_fails: bool) -> Matched {
        let views = names.beside(&self.plan);
        if views.is_empty() {
            return Matched::default();
        }
        let forms = names.inner.matching.of(&names.root);
        let mut considered = BTreeMap::new();
        let mut candidates = Vec::new();
        for view in views {
            match names.admitted(&view, source_fails) {
                Ok((copy, shown)) => {
                    let form = forms.form(names, &view).await;
                    candidates.push(Candidate {
                        copy,
                        shown,
                        form,
                        source_fails,
                    });
                }
                Err(why) => drop(considered.insert(view.id(), Verdict::Not(why))),
            }
        }
        let room = Room::for_plan(&self.plan);
        let found = room.and_then(|room| {
            room.with(|| Ok(names.replaced(&self.plan, &candidates, &mut considered)?))
        });
        let plan = match found {
            Ok(plan) => plan.filter(|plan| is_alike(plan, &self.plan)),
            Err(_) => None,
        };
        let considered = considered.into_iter();
        let considered = considered.map(|(view, verdict)| Considered { view, verdict });
        Matched {
            planned: plan.map(|plan| Planned {
                plan,
                names: names.clone(),
            }),
            considered: considered.collect(),
        }
    }
}

impl Names {
    /// How old copies may be that the statement does not name. None: what it reads live, it reads as of now.
    fn looser_bound(&self) -> Option<Duration> {
        self.settings.max_staleness.filter(|bound| !bound.is_zero())
    }

    /// The kept views that read a table which a plan reads.
    fn beside(&self, plan: &LogicalPlan) -> Vec<Arc<ViewDefinition>> {
        let forms = self.inner.matching.of(&self.root);
        let mut ids = BTreeSet::new();
        if forms.by_table.is_empty() {
            return Vec::new();
        }
        let walked = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(table) = self.table_of(scan)
            {
                ids.extend(forms.by_table.get(&table).into_iter().flatten());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(walked.is_ok(), "the walk itself never fails");
        let is_read = |id: &&&ObjectId| self.world.allowed(id).may(Privilege::Select);
        let views = ids.iter().filter(is_read).filter_map(|id| self.view(id));
        views.cloned().collect()
    }

    /// The table of a source that is scanned.
    fn table_of(&self, scan: &TableScan) -> Option<ObjectId> {
        let provider = source_as_provider(&scan.source).ok()?;
        self.root.live.iter().find_map(|(name, live)| {
            let table = live.table_of(&provider)?;
            Some(ObjectId::new([name, &table.schema, &table.name]))
        })
    }

    /// That a kept view may serve this statement, unnamed, now; or why not. Nobody waits for it: what it would answer can be asked.
    /// `source_fails`: that has been tried, and what is shown is marked: it may be older than what the session has seen.
    fn admitted(
        &self,
        view: &ViewDefinition,
        source_fails: bool,
    ) -> Result<(Arc<CopyTable>, Arc<Shown>), String> {
        let id = view.id();
        let kept = view.materialized.as_ref();
        let kept = kept.ok_or_else(|| "it is virtual".to_string())?;
        let contract = Contract::new(&kept.options).map_err(|e| e.to_string())?;
        let views = &self.inner.views;
        let taken = self
            .caller
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.get());
        let (ages, shelf) = match taken {
            Some(taken) => (taken.ages, taken.shelf),
            // Before the shelf: it is not older than they say.
            None => (views.shelves().ages(), views.shelves().newest()),
        };
        let shown = shelf.get(&id).filter(|s| s.generation == kept.generation);
        let shown = shown.ok_or_else(|| "it is not filled yet".to_string())?;
        let copy = CopyTable {
            schema: view.arrow_schema(),
            indexes: indexes(view, &contract).into(),
            id,
            contract,
            shown: None,
            is_fixed: false,
        };
        let mut wanted = self.wanted_unnamed(&copy);
        if source_fails {
            wanted.contract.max_staleness = self.settings.max_staleness;
        }
        views.serves(shown, &copy.id, &wanted, &ages)?;
        let age = ages.of(&shown.as_of);
        if !source_fails && !self.caller.seen_so_far.admits(&copy.id, shown, age) {
            return Err("the session has seen what is younger".to_string());
        }
        Ok((Arc::new(copy), shown.clone()))
    }

    /// The plan with copies in the place of what they answer. None: they answer nothing.
    fn replaced(
        &self,
        plan: &LogicalPlan,
        candidates: &[Candidate],
        considered: &mut BTreeMap<ObjectId, Verdict>,
    ) -> PlanResult<Option<LogicalPlan>> {
        let mut left: Vec<&Candidate> = candidates.iter().collect();
        loop {
            let mut verdicts = considered.clone();
            let (replaced, chosen) = self.replaced_by(plan, &left, &mut verdicts)?;
            // Whoever asks one source is answered as of one moment: what he did not ask for does not change that.
            let disagrees = replaced.as_ref().and_then(|plan| {
                let made_of = self.made_of(plan, &chosen);
                let reason = made_of.agrees().err()?.to_string();
                let is_one = |c: &&&Candidate| made_of.disagrees_on(&c.copy.id.to_string());
                let last = chosen.iter().rev().find(is_one)?;
                Some((last.copy.id.clone(), reason))
            });
            let Some((id, reason)) = disagrees else {
                *considered = verdicts;
                return Ok(replaced);
            };
            // Others may answer their parts without it.
            left.retain(|candidate| candidate.copy.id != id);
            considered.insert(id, Verdict::Not(reason));
        }
    }

    /// The same by these, and by which of them.
    fn replaced_by<'a>(
        &self,
        plan: &LogicalPlan,
        candidates: &[&'a Candidate],
        considered: &mut BTreeMap<ObjectId, Verdict>,
    ) -> PlanResult<(Option<LogicalPlan>, Vec<&'a Candidate>)> {
        let mut chosen: Vec<&Candidate> = Vec::new();
        let replaced = with_answers(plan, &|scan| self.table_of(scan), &mut |part| {
            let (best, proof) = self.best(part, candidates, considered)?;
            let id = best.copy.id.clone();
            let source = provider_as_source(best.copy.clone());
            let name = TableReference::bare(id.to_string());
            let copy = LogicalPlanBuilder::scan(name, source, None);
            let copy = copy.and_then(LogicalPlanBuilder::build);
            match copy.and_then(|copy| proof.plan(&part.block, copy, &part.columns)) {
                Ok(answer) => {
                    let (way, is_whole) = (proof.way, part.is_whole);
                    considered.insert(id, Verdict::Chosen { way, is_whole });
                    chosen.push(best);
                    Some(answer)
                }
                Err(e) => {
                    let why = format!("it cannot be put in: {e}");
                    considered.insert(id, Verdict::Not(why));
                    None
                }
            }
        })?;
        Ok((replaced, chosen))
    }

    /// The view that answers a part at the least cost, if that is less than asking.
    fn best<'a>(
        &self,
        part: &Part,
        candidates: &[&'a Candidate],
        considered: &mut BTreeMap<ObjectId, Verdict>,
    ) -> Option<(&'a Candidate, Proof)> {
        let is_elsewhere = self.settings.timezone != Settings::default().timezone;
        let mut answers: Vec<(&Candidate, Proof, f64)> = Vec::new();
        for &candidate in candidates {
            match candidate.answers(part, is_elsewhere) {
                Ok((proof, cost)) => answers.push((candidate, proof, cost)),
                Err(why) => candidate.is_not_used(why, considered),
            }
        }
        answers.sort_by(|(.., one), (.., other)| one.total_cmp(other));
        let mut answers = answers.into_iter();
        let (best, proof, _) = answers.next()?;
        for (other, ..) in answers {
            let why = format!("{} answers for less", best.copy.id);
            other.is_not_used(Verdict::Not(why), considered);
        }
        Some((best, proof))
    }

    /// What an answer by a plan would be made of.
    fn made_of(&self, plan: &LogicalPlan, read: &[&Candidate]) -> Freshness {
        let mut freshness = Freshness::default();
        for candidate in read {
            freshness.add(self.part(&candidate.copy, &candidate.shown, None));
        }
        let walked = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(table) = self.table_of(scan)
                && let Some(source) = table.0.first()
            {
                freshness.asked(source);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(walked.is_ok(), "the walk itself never fails");
        freshness
    }
}

impl Candidate {
    /// How it answers a part, at which cost; or why it is not used for it. `is_elsewhere`: the session is in another time zone than
    /// those who compute views.
    fn answers(&self, part: &Part, is_elsewhere: bool) -> Result<(Proof, f64), Verdict> {
        let form = self.form.as_ref();
        let form = form.map_err(|why| Verdict::Not(why.to_string()))?;
        if is_elsewhere && (form.block.computes_times() || part.block.computes_times()) {
            let why = format!("it computes times in {}", Settings::default().timezone);
            return Err(Verdict::Not(why));
        }
        let proof = form.proves(&part.block).map_err(|refusal| match refusal {
            Refusal::Reads(_) => Verdict::Elsewhere(refusal.to_string()),
            refusal => Verdict::Not(refusal.to_string()),
        })?;
        let (cost, live) = (self.cost(&proof, &part.block), price::live(part.plan));
        match cost > live && !self.source_fails {
            true => Err(Verdict::Not(format!(
                "reading its copy costs more ({cost:.0}) than asking ({live:.0})"
            ))),
            false => Ok((proof, cost)),
        }
    }

    /// What is said of the largest part that can be compared with it holds: that is looked at first.
    fn is_not_used(&self, why: Verdict, considered: &mut BTreeMap<ObjectId, Verdict>) {
        match considered.get(&self.copy.id) {
            None | Some(Verdict::Elsewhere(_)) => {
                drop(considered.insert(self.copy.id.clone(), why))
            }
            Some(_) => {}
        }
    }

    /// What reading it costs, with what else has to be asked, in rows of a copy.
    fn cost(&self, proof: &Proof, block: &Block) -> f64 {
        let fixed = proof.fixed_columns();
        let is_fixed =
            |column: &usize| fixed.contains(&self.copy.schema.field(*column).name().as_str());
        let mut indexes = self.copy.indexes.iter();
        let has_index = indexes.any(|index| !index.is_empty() && index.iter().all(is_fixed));
        let content = self.shown.content.as_ref();
        let rows = content.map_or(0, |content| content.row_count()) as f64;
        let read = match has_index {
            true => rows.min(FOUND_BY_INDEX),
            false => rows,
        };
        read + proof.others(block).map(price::live).sum::<f64>()
    }
}

/// Whether two plans have columns of the same names and types.
fn is_alike(plan: &LogicalPlan, other: &LogicalPlan) -> bool {
    let (plan, other) = (plan.schema(), other.schema());
    plan.columns() == other.columns()
}

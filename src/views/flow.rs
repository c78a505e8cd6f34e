//! One view that is kept by change: how far it is, and what of it is shown.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::journal::{Ended, Recorder};
use super::keeper::{Record, Stand};
use super::marks::{At, Marks};
use super::running::{Made, Running};
use super::shelf::{AsOf, Content, Shown, State};
use super::{FlowPlan, KeptView};
use crate::incremental::Progress;
use crate::memory::Share;
use crate::store::Pinned;

/// A view that goes from epoch to epoch at its own pace.
pub(super) struct Flow {
    /// Tells it from what it was before it was begun anew.
    pub number: u64,
    pub view: Arc<KeptView>,
    pub name: String,
    pub plan: Arc<FlowPlan>,
    /// Replicas, or views, by name: as the plan has its inputs.
    pub inputs: Vec<String>,
    /// All that it reads, through other views, too.
    pub sources: Arc<[String]>,
    /// Its inputs have what it needs from this epoch on.
    pub born: u64,
    pub stage: Stage,
    /// The epoch that it has come to.
    pub at: u64,
    /// Its inputs there.
    pub pins: Vec<Pinned>,
    /// What it had where others may still stop, oldest first.
    made: VecDeque<Past>,
    pub blocked: Option<Arc<str>>,
    /// What is in memory for it.
    pub share: Arc<Share>,
    /// What it needs to go on. Until there is room it stays where it is.
    pub needs: Option<Need>,
    /// What it needed the last time that there was no room.
    pub wanted: usize,
    /// Why it does not go on, or what it reads does not: there is no room.
    pub waits: Option<Arc<str>>,
    /// What it keeps, without its journal.
    has: usize,
    /// What it kept when there was room for more.
    calm: usize,
    /// The view, its query, and those of the views that it reads.
    pub origin: u64,
    marks: Arc<Marks>,
    /// Tells subscribers what has changed, since it was filled.
    recorder: Option<Recorder>,
    /// Others are shown no newer than it has come.
    pub is_member: bool,
    /// What it has may be shown, be it alone: it was together with others, or cannot keep up with them.
    is_shown: bool,
    /// None of what it has is older.
    young: Option<Instant>,
    is_behind: bool,
    /// What the shelf has of it.
    shown: Option<Look>,
    /// Whoever waits for it to be filled.
    pub waiting: Vec<oneshot::Sender<()>>,
}

/// What is done with it. Where it is at work, an epoch is said to which it is brought.
pub(super) enum Stage {
    /// It waits for what it reads.
    Empty,
    Filling(u64, Arc<Progress>),
    Ready(Box<Running>),
    Stepping(u64, Arc<Progress>),
}

/// Memory that there was no room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    pub bytes: usize,
    /// Rows of what it reads, by then: with fewer it needs less.
    pub rows: u64,
}

struct Past {
    stand: Stand,
    /// The last epoch at which it was so.
    to: u64,
    failing: Option<Arc<str>>,
}

/// What tells what is shown from what was.
#[derive(PartialEq)]
struct Look {
    state: State,
    from: Option<u64>,
    is_behind: bool,
    as_of: AsOf,
    is_filling: bool,
}

impl Flow {
    pub fn new(
        view: Arc<KeptView>,
        plan: Arc<FlowPlan>,
        inputs: Vec<String>,
        sources: Arc<[String]>,
        number: u64,
        born: u64,
        (origin, marks, share): (u64, Arc<Marks>, Arc<Share>),
    ) -> Self {
        Self {
            origin,
            marks,
            share,
            needs: None,
            wanted: 0,
            waits: None,
            has: 0,
            calm: 0,
            recorder: None,
            number,
            name: view.id.to_string(),
            view,
            plan,
            inputs,
            sources,
            born,
            stage: Stage::Empty,
            at: born,
            pins: Vec::new(),
            made: VecDeque::new(),
            blocked: None,
            is_member: false,
            is_shown: false,
            young: None,
            is_behind: false,
            shown: None,
            waiting: Vec::new(),
        }
    }

    pub fn is_filled(&self) -> bool {
        !self.made.is_empty()
    }

    /// It cannot go on, for this reason. What it has stays.
    pub fn block(&mut self, reason: Arc<str>) {
        self.end(Ended::Blocked(reason.clone()));
        self.blocked = Some(reason);
        self.is_member = false;
        self.waiting.clear();
    }

    /// Whether it is brought to epochs.
    pub fn goes_on(&self) -> bool {
        self.blocked.is_none() && self.needs.is_none()
    }

    /// It stays where it is until there is room. What it took for the step is given back.
    pub fn stop(&mut self, needs: Need) {
        self.needs = Some(needs);
        self.wanted = needs.bytes;
        self.is_member = false;
        self.waiting.clear();
        self.weigh();
    }

    /// While it stays where it is, changes are not retained for longer.
    pub fn trim(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.trim(self.view.contract.retain);
        }
        self.weigh();
    }

    /// How many rows it has.
    pub fn row_count(&self) -> Option<u64> {
        Some(self.made.back()?.stand.content.row_count())
    }

    /// How much more what is computed would have needed, if there was no room for it.
    pub fn refused(&self) -> Option<usize> {
        match &self.stage {
            Stage::Filling(_, progress) | Stage::Stepping(_, progress) => {
                progress.taking()?.refused()
            }
            _ => None,
        }
    }

    /// Begin anew at the next occasion, with another share: what is computed still has the old one. What is shown stays until then.
    pub fn empty(&mut self, number: u64, share: Arc<Share>) {
        self.cancel();
        self.number = number;
        self.stage = Stage::Empty;
        self.recorder = None;
        self.needs = None;
        let shown = self.made.back();
        self.has = shown.map_or(self.has, |last| last.stand.content.bytes());
        self.share = share;
        self.shown = None;
        self.weigh();
        self.made.clear();
        self.pins.clear();
        self.blocked = None;
        self.is_member = false;
        self.is_shown = false;
    }

    /// Nobody waits for what it computes.
    pub fn cancel(&self) {
        if let Stage::Filling(_, progress) | Stage::Stepping(_, progress) = &self.stage {
            progress.cancel();
        }
    }

    /// It has come to an epoch. `is_replaying`: one that was shown before the engine was started again.
    pub fn came(&mut self, at: &Arc<At>, pins: Vec<Pinned>, made: Made, is_replaying: bool) {
        let to = at.epoch;
        let (content, retain) = (&made.content, self.view.contract.retain);
        match &mut self.recorder {
            Some(recorder) => {
                let change = made.change.as_ref();
                let failing = made.failing.as_ref();
                recorder.tell(at, change, content, failing, retain, is_replaying);
            }
            None => {
                self.recorder = Some(Recorder::begin(
                    (self.origin, self.sources.clone()),
                    self.marks.clone(),
                    at,
                    (content, made.failing.as_ref()),
                    is_replaying,
                ));
            }
        }
        if !self.is_filled() {
            self.calm = made.bytes;
        }
        self.has = made.bytes;
        self.wanted = 0;
        self.weigh();
        if self.is_filled() && !self.is_member {
            self.joins();
        }
        if let Some(last) = self.made.back_mut().filter(|_| self.at == to) {
            // The same rows, found in another way.
            last.stand.content = made.content;
            self.shown = None;
            return;
        }
        let since = self.made.back().map_or(to, |last| last.stand.from);
        self.made.push_back(Past {
            stand: Stand::new(since, to, made.content, made.change).due(made.due),
            to,
            failing: made.failing,
        });
        self.at = to;
        self.pins = pins;
    }

    /// Nothing has changed for it up to an epoch.
    pub fn stays(&mut self, at: &Arc<At>, pins: Vec<Pinned>, is_replaying: bool) {
        let (to, retain) = (at.epoch, self.view.contract.retain);
        if let Some(recorder) = &mut self.recorder {
            recorder.same(at, retain, is_replaying);
        }
        self.weigh();
        self.at = to;
        self.pins = pins;
        if let Some(last) = self.made.back_mut() {
            last.to = to;
        }
    }

    fn weigh(&self) {
        let journal = self.recorder.as_ref().map(|r| r.journal().bytes());
        self.share.set(self.has + journal.unwrap_or_default());
    }

    /// By how much it has grown since there was room, or what it has while there is.
    pub fn growth(&mut self, is_room: bool) -> usize {
        if is_room {
            self.calm = self.has;
        }
        self.has.saturating_sub(self.calm)
    }

    /// With which epoch it has changed last, by what tells its journal from others; if all up to an epoch was told.
    pub fn changed(&self, up_to: u64) -> Option<(u64, u64)> {
        let recorder = self.recorder.as_ref();
        let recorder = recorder.filter(|_| self.blocked.is_none() && self.at == up_to);
        Some(recorder?.changed())
    }

    /// Tell subscribers that nothing more comes.
    pub fn end(&self, why: Ended) {
        if let Some(recorder) = &self.recorder {
            recorder.end(why);
        }
    }

    /// When it changes next though no source does, nanoseconds since 1970.
    pub fn due(&self) -> Option<i64> {
        self.made.back()?.stand.due
    }

    /// What it had at an epoch, if that is known.
    pub fn stand(&self, at: u64) -> Option<&Stand> {
        self.past(at).map(|past| &past.stand)
    }

    fn past(&self, at: u64) -> Option<&Past> {
        let mut made = self.made.iter().rev();
        made.find(|past| past.stand.from <= at && at <= past.to)
    }

    /// Forget what it had where nobody stops any more.
    pub fn retain(&mut self, is_needed: impl Fn(u64, u64) -> bool) {
        let last = self.made.len().saturating_sub(1);
        let mut number = 0;
        self.made.retain(|past| {
            number += 1;
            number > last || is_needed(past.stand.from, past.to)
        });
    }

    /// How far its first content is: rows of its inputs, and of how many.
    pub fn progress(&self) -> Option<Arc<Progress>> {
        match &self.stage {
            Stage::Filling(_, progress) if !self.is_filled() => Some(progress.clone()),
            _ => None,
        }
    }

    /// Where it is, in what is remembered of that epoch.
    pub fn look_at(&mut self, record: &Record) {
        let asked = self.sources.iter().map(|source| record.reached.get(source));
        self.young = asked.min().flatten().copied();
        let mut sources = self.sources.iter();
        self.is_behind = sources.any(|source| record.behind.contains(source));
    }

    /// What it has is shown.
    pub fn joins(&mut self) {
        self.is_shown = true;
        self.waiting.clear();
    }

    /// What readers find, `together` being the epoch that is shown of several; nothing if it is what they have. `before`: what they found.
    pub fn shown(&mut self, together: &Record, before: &Shown) -> Option<Shown> {
        let with_others = self.past(together.epoch).filter(|_| self.is_member);
        let state = match (&self.blocked, &self.waits) {
            (Some(reason), _) => State::Blocked {
                reason: reason.clone(),
            },
            (None, Some(reason)) => State::Paused {
                reason: reason.clone(),
            },
            _ if with_others.is_some() => State::Live,
            _ if self.is_shown && !self.is_member => State::Blocked {
                reason: LAGS.into(),
            },
            // Until it has what is shown of others, which it is about to.
            _ if self.is_shown => return None,
            _ => State::Filling,
        };
        let is_own = self.blocked.is_some() || self.waits.is_some() || self.is_shown;
        let past = with_others.or_else(|| self.made.back().filter(|_| is_own));
        let mut sources = self.sources.iter();
        let (is_behind, as_of) = match with_others {
            Some(_) => (
                sources.any(|source| together.behind.contains(source)),
                AsOf::Following(self.sources.clone()),
            ),
            // What it had when it was begun anew is of its moment.
            None if past.is_none() && self.young.is_none() => {
                match (&self.blocked, &before.as_of) {
                    (Some(_), AsOf::At(at)) => (false, AsOf::At(*at)),
                    (Some(_), _) => (false, AsOf::Never),
                    (None, _) => (before.is_behind, AsOf::Never),
                }
            }
            // It is brought up to date no more, or not now.
            None => (self.is_behind, self.young.map_or(AsOf::Never, AsOf::At)),
        };
        let look = Look {
            state,
            from: past.map(|past| past.stand.from),
            is_behind,
            as_of,
            is_filling: self.progress().is_some(),
        };
        if self.shown.as_ref() == Some(&look) {
            return None;
        }
        let shown = Shown {
            generation: self.view.generation,
            state: look.state.clone(),
            content: match past {
                Some(past) => Some(Content::Table(past.stand.content.clone())),
                None => before.content.clone(),
            },
            journal: self.recorder.as_ref().map(|r| r.journal().clone()),
            failing: past.map_or_else(|| before.failing.clone(), |past| past.failing.clone()),
            is_behind,
            due: with_others.and_then(|past| past.stand.due),
            as_of: look.as_of.clone(),
            progress: self.progress(),
            share: Arc::downgrade(&self.share),
        };
        self.shown = Some(look);
        Some(shown)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.cancel();
    }
}

pub(super) const LAGS: &str = "it takes longer than 10 s to follow what changes. It goes on, and is shown with others once it \
                    has caught up";

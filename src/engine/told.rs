//! What a session has been told.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::settings::Settings;
use crate::catalog::ObjectId;
use crate::freshness::{Answered, Freshness, Origin, Question};
use crate::views::{AsOf, Shown};

/// Of one session that are told apart.
const MOST_BOUNDS: usize = 16;
/// Of one session that it does not go back in time by.
const MOST_QUESTIONS: NonZeroUsize = NonZeroUsize::new(256).expect("some");
const MOST_VIEWS: usize = 256;

/// What a session has been told, as far as it decides what it is told next: it does not go back in time.
#[derive(Debug)]
pub(super) struct Told {
    /// When the last answer was given, by the bound on its age.
    under: BTreeMap<Duration, Instant>,
    of: LruCache<u64, ToldOf>,
    instead_of: Arc<InsteadOf>,
}

/// Kept views whose queries were read, since their copies were too old: when last, by the bound; that of larger ones was before.
type InsteadOf = BTreeMap<String, BTreeMap<Duration, Instant>>;

/// Of one question.
#[derive(Debug, Clone)]
struct ToldOf {
    /// What it was told was so at this moment, or before.
    at: Instant,
    made_of: Arc<Freshness>,
    /// What may be told again all the same.
    answered: Weak<Answered>,
}

/// What the session of a statement has seen, as far as the statement is to show nothing older.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenSoFar {
    /// When it was last told something under a smaller bound.
    under: Option<Instant>,
    /// By the same question.
    of: Option<ToldOf>,
    instead_of: Arc<InsteadOf>,
}

impl SeenSoFar {
    /// Whether a copy of this age shows nothing older.
    pub fn admits(&self, id: &ObjectId, shown: &Shown, age: Option<Duration>) -> bool {
        let goes_on = |told: &ToldOf| is_after(told.at, age) || told.goes_on_with(id, shown);
        self.under.is_none_or(|at| is_after(at, age)) && self.of.as_ref().is_none_or(goes_on)
    }

    /// Of a kept view, whose query it was that was read: a copy is not to be older, but for who has allowed more since.
    pub fn instead_of(&self, id: &ObjectId, bound: Option<Duration>) -> Option<Instant> {
        if self.instead_of.is_empty() {
            return None;
        }
        let told = self.instead_of.get(&id.to_string())?;
        told.range(bound.unwrap_or(Duration::MAX)..)
            .map(|(_, at)| *at)
            .max()
    }

    /// Whether a result that is so old by now does.
    pub fn admits_result(&self, answered: &Arc<Answered>, age: Option<Duration>) -> bool {
        let is_same = |told: &ToldOf| told.answered.as_ptr() == Arc::as_ptr(answered);
        self.under.is_none_or(|at| is_after(at, age))
            && self
                .of
                .as_ref()
                .is_none_or(|told| is_same(told) || is_after(told.at, age))
    }
}

impl ToldOf {
    /// Whether a copy has all that was told, whenever it is of: one that follows its sources goes on from where those were that do, too,
    /// and one that is computed anew from its own versions.
    fn goes_on_with(&self, id: &ObjectId, shown: &Shown) -> bool {
        self.made_of.parts.iter().all(|part| match &part.origin {
            Origin::Copy {
                is_of_epoch: true, ..
            } => matches!(shown.as_of, AsOf::Following(_)),
            Origin::Copy {
                version: Some(version),
                ..
            } => part.name == id.to_string() && shown.version_number() >= Some(*version),
            _ => false,
        })
    }
}

impl Default for Told {
    fn default() -> Self {
        Self {
            under: BTreeMap::new(),
            of: LruCache::new(MOST_QUESTIONS),
            instead_of: Arc::default(),
        }
    }
}

impl Told {
    /// As far as a statement under these settings is not to go back behind it.
    pub fn so_far(&self, question: Option<&Question>, settings: &Settings) -> SeenSoFar {
        let under_less = |bound| self.under.range(..bound).map(|(_, at)| *at).max();
        SeenSoFar {
            under: settings.max_staleness.and_then(under_less),
            of: question.and_then(|question| self.of.peek(&key(question)).cloned()),
            instead_of: self.instead_of.clone(),
        }
    }

    /// Something was told under the session's bound, and made of this.
    pub fn add_under(&mut self, settings: &Settings, made_of: &Freshness) {
        let now = Instant::now();
        if !made_of.instead_of.is_empty() {
            let told = Arc::make_mut(&mut self.instead_of);
            for (view, bound) in &made_of.instead_of {
                let bound = bound.unwrap_or(Duration::MAX);
                let of_view = told.entry(view.clone()).or_default();
                of_view.retain(|other, _| *other > bound);
                of_view.insert(bound, now);
                // Of many bounds the smallest are one: what was told under it is told as if under the larger.
                if of_view.len() > MOST_BOUNDS
                    && let (Some(_), Some(mut other)) = (of_view.pop_first(), of_view.first_entry())
                {
                    other.insert(now);
                }
            }
            while told.len() > MOST_VIEWS {
                let oldest = told
                    .iter()
                    .min_by_key(|(_, by_bound)| by_bound.values().max());
                let oldest = oldest.map(|(view, _)| view.clone());
                oldest.map(|view| told.remove(&view));
            }
        }
        let told = &mut self.under;
        // Who reads after a write sees what is younger than any bound says.
        let bound = match settings.read_after.is_empty() {
            true => settings.max_staleness.unwrap_or_default(),
            false => Duration::ZERO,
        };
        told.insert(bound, now);
        // Of many bounds the largest two are one: what was told under it is told as if under the smaller.
        if told.len() > MOST_BOUNDS
            && let (Some((_, last)), Some(mut other)) = (told.pop_last(), told.last_entry())
        {
            let at = last.max(*other.get());
            other.insert(at);
        }
    }

    /// This was answered to a question.
    pub fn add(
        &mut self,
        question: &Question,
        made_of: &Freshness,
        answered: Option<&Arc<Answered>>,
    ) {
        let told = ToldOf {
            at: Instant::now(),
            made_of: Arc::new(made_of.clone()),
            answered: answered.map(Arc::downgrade).unwrap_or_default(),
        };
        self.of.put(key(question), told);
    }
}

/// Whether what is so old now is of this moment, or younger.
fn is_after(at: Instant, age: Option<Duration>) -> bool {
    age.is_some_and(|age| age <= at.elapsed())
}

fn key(question: &Question) -> u64 {
    let mut hasher = DefaultHasher::new();
    question.hash(&mut hasher);
    hasher.finish()
}

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};

/// What an answer was made of, each part as old as it was when it was taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Freshness {
    pub parts: Vec<Part>,
    /// Kept views whose copies were too old, and how old they might have been: what they read was asked instead.
    pub instead_of: BTreeMap<String, Option<Duration>>,
}

/// One thing that an answer was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// A kept view, or a source.
    pub name: String,
    pub origin: Origin,
    /// Of a copy: what it was made of, too. Of a source: itself.
    pub sources: Arc<[String]>,
}

/// Where a part was taken from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// The source was asked when the statement ran.
    Live,
    /// The source was asked when another one ran that asked the same.
    Result {
        age: Duration,
        /// How old it may be.
        bound: Duration,
        /// It is older than it may be, and was taken since the source fails (`stale_if_error`).
        is_stale: bool,
    },
    /// A copy. Nothing in it is older; None: nobody knows, or it is a version that was asked for.
    Copy {
        age: Option<Duration>,
        /// How old it may be. None: as old as it is.
        bound: Option<Duration>,
        /// It is of one moment with others that are kept by change.
        is_of_epoch: bool,
        /// It is older than it may be, and was taken since what it is of fails (`stale_if_error`).
        is_stale: bool,
        /// A version by number, of one that is computed anew.
        version: Option<u64>,
    },
}

impl Freshness {
    pub fn live(source: &str) -> Self {
        let mut freshness = Self::default();
        freshness.asked(source);
        freshness
    }

    /// A source was asked, too.
    pub fn asked(&mut self, source: &str) {
        let part = Part {
            name: source.to_string(),
            origin: Origin::Live,
            sources: Arc::from([source.to_string()]),
        };
        self.add(part);
    }

    /// What is read twice is one part: it is taken once.
    pub fn add(&mut self, part: Part) {
        if !self.parts.iter().any(|other| other.is_taken_with(&part)) {
            self.parts.push(part);
        }
    }

    /// How old its oldest part is. None: that is not known of one.
    pub fn age(&self) -> Option<Duration> {
        let ages = self.parts.iter().map(Part::age);
        ages.into_iter()
            .try_fold(Duration::ZERO, |oldest, age| Some(oldest.max(age?)))
    }

    /// Whether a part is older than it may be, since its source fails.
    pub fn is_stale(&self) -> bool {
        let stale = |part: &Part| match part.origin {
            Origin::Live => false,
            Origin::Result { is_stale, .. } | Origin::Copy { is_stale, .. } => is_stale,
        };
        self.parts.iter().any(stale)
    }

    /// The same when it is told again, so much later, where it may be as old as this: what is older is stale. `live`: how old what
    /// sources were asked for is by now.
    #[must_use]
    pub fn aged(&self, later: Duration, live: Duration, bound: Duration) -> Self {
        let parts = self.parts.iter().map(|part| {
            let origin = match part.origin.clone() {
                Origin::Live => Origin::Result {
                    age: live,
                    bound,
                    is_stale: live > bound,
                },
                Origin::Result { age, .. } => Origin::Result {
                    age: age + later,
                    bound,
                    is_stale: age + later > bound,
                },
                Origin::Copy {
                    age,
                    is_of_epoch,
                    version,
                    ..
                } => Origin::Copy {
                    age: age.map(|age| age + later),
                    bound: Some(bound),
                    is_of_epoch,
                    is_stale: age.is_none_or(|age| age + later > bound),
                    version,
                },
            };
            Part {
                origin,
                ..part.clone()
            }
        });
        Self {
            parts: parts.collect(),
            // To who is told it now, it is of this bound.
            instead_of: self
                .instead_of
                .keys()
                .map(|view| (view.clone(), Some(bound)))
                .collect(),
        }
    }

    /// The same for who is to know of these names alone. That there is something else remains, and how old it is.
    #[must_use]
    pub fn shown(mut self, is_shown: impl Fn(&str) -> bool) -> Self {
        /// What stands for all others.
        const OTHERS: &str = "what views read";
        for part in &mut self.parts {
            if !is_shown(&part.name) {
                part.name = OTHERS.to_string();
            }
            let sources = part.sources.iter().filter(|source| is_shown(source));
            part.sources = sources.cloned().collect();
        }
        self.instead_of.retain(|view, _| is_shown(view));
        self
    }

    /// Whether all of it is of views that are kept by change.
    pub fn is_followed(&self) -> bool {
        let is_followed = |part: &Part| match part.origin {
            Origin::Copy { is_of_epoch, .. } => is_of_epoch,
            Origin::Live | Origin::Result { .. } => false,
        };
        self.parts.iter().all(is_followed)
    }

    /// Whether no copy is in it.
    pub fn is_live(&self) -> bool {
        self.parts.iter().all(|part| part.origin == Origin::Live)
    }

    /// Each copy in it is older than it may be, and was taken since what it is of fails.
    pub fn mark_stale(&mut self) {
        for part in &mut self.parts {
            if let Origin::Copy { is_stale, .. } = &mut part.origin {
                *is_stale = true;
            }
        }
    }

    /// That no source is in it as of two moments (`consistency = 'strict'`).
    ///
    /// # Errors
    /// If one is: in a copy and live, or in two copies that are not of one epoch.
    pub fn agrees(&self) -> Result<()> {
        match self.disagreeing().next() {
            None => Ok(()),
            Some((part, other, source)) => Err(Error::Consistency {
                message: format!(
                    "{} and {} would show source {source} as of two moments",
                    part.described(),
                    other.described()
                ),
            }),
        }
    }

    /// Whether a source is in a copy of this name as of another moment than in another part.
    pub fn disagrees_on(&self, copy: &str) -> bool {
        let is_copy = |part: &Part| matches!(part.origin, Origin::Copy { .. }) && part.name == copy;
        self.disagreeing()
            .any(|(part, other, _)| is_copy(part) || is_copy(other))
    }

    /// Parts that show a source as of two moments, and which.
    fn disagreeing(&self) -> impl Iterator<Item = (&Part, &Part, &String)> {
        let parts = self.parts.iter().enumerate();
        let pairs =
            parts.flat_map(move |(i, part)| self.parts[i + 1..].iter().map(move |o| (part, o)));
        pairs.filter_map(|(part, other)| {
            let both = part.sources.iter().find(|s| other.sources.contains(s))?;
            (!part.is_of_one_moment(other)).then_some((part, other, both))
        })
    }
}

impl Part {
    /// How old it is. None: that is not known.
    pub fn age(&self) -> Option<Duration> {
        match self.origin {
            Origin::Live => Some(Duration::ZERO),
            Origin::Result { age, .. } => Some(age),
            Origin::Copy { age, .. } => age,
        }
    }

    fn is_taken_with(&self, other: &Self) -> bool {
        let same = match (&self.origin, &other.origin) {
            (Origin::Live, Origin::Live) | (Origin::Result { .. }, Origin::Result { .. }) => true,
            (Origin::Copy { version: one, .. }, Origin::Copy { version: other, .. }) => {
                one == other
            }
            _ => false,
        };
        same && self.name == other.name
    }

    fn is_of_one_moment(&self, other: &Self) -> bool {
        match (&self.origin, &other.origin) {
            // One statement has asked for all of it.
            (Origin::Live, Origin::Live) | (Origin::Result { .. }, Origin::Result { .. }) => true,
            (
                Origin::Copy {
                    is_of_epoch: one, ..
                },
                Origin::Copy {
                    is_of_epoch: other, ..
                },
            ) => *one && *other,
            _ => false,
        }
    }

    fn described(&self) -> String {
        match self.origin {
            Origin::Live | Origin::Result { .. } => format!("live tables of {}", self.name),
            Origin::Copy { .. } => format!("materialized view {}", self.name),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (age, is_stale, version) = match &self.origin {
            Origin::Live => return write!(f, "{} live", self.name),
            Origin::Result { age, is_stale, .. } => (&Some(*age), is_stale, &None),
            Origin::Copy {
                age,
                is_stale,
                version,
                ..
            } => (age, is_stale, version),
        };
        write!(f, "{}", self.name)?;
        if let Some(version) = version {
            write!(f, " version {version}")?;
        }
        match age {
            Some(age) => write!(f, " {} ms old", age.as_millis())?,
            None => f.write_str(" of unknown age")?,
        }
        match is_stale {
            true => f.write_str(" (its source fails)"),
            false => Ok(()),
        }
    }
}

/// `stock_available 12 ms old, erp live`.
impl fmt::Display for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{part}")?;
        }
        Ok(())
    }
}

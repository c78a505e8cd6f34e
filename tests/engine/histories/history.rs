//! What was written and read, and whether that may be: after Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental
//! Observations" (VLDB 2020), for what a freshness contract promises. A row's number is only ever counted up, so that a number says
//! which write was seen.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// How much of what came before a violation is shown with it.
const SHOWN: usize = 12;

/// A row was given this number.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    pub key: i64,
    pub number: i64,
    /// It was committed at some moment of these.
    pub began: Instant,
    pub ended: Instant,
}

/// A question was answered.
#[derive(Debug, Clone)]
pub struct Read {
    pub session: usize,
    /// How often the engine had been opened before.
    pub round: usize,
    /// Its text: without what differs from reader to reader.
    pub question: String,
    pub key: i64,
    /// How old what is seen may be; None: nothing was promised.
    pub bound: Option<Duration>,
    /// No copy has its rows: who allows more is told nothing older, either, than it has seen.
    pub is_live: bool,
    /// A write that has to be seen.
    pub after: Option<i64>,
    pub began: Instant,
    pub ended: Instant,
    /// What was seen of the row, in each of the views that the question reads together.
    pub seen: Vec<i64>,
    /// Kept views alone were read, each as it was kept.
    pub is_of_copies: bool,
    /// What the answer said of itself.
    pub told: String,
}

#[derive(Debug, Default)]
pub struct History {
    pub writes: Vec<Write>,
    pub reads: Vec<Read>,
}

#[derive(Debug, PartialEq)]
pub enum Anomaly {
    /// A write had been committed longer ago than the bound says, and is not seen.
    TooOld { missing: i64 },
    /// Nobody had begun to write it.
    FromNowhere,
    /// The session has seen a later one by the same question, and has not allowed more since.
    BackInTime { before: i64 },
    /// What is read together is of two moments.
    Torn,
    /// The session's own write, or one that it was told of, is not seen.
    NotAfter { written: i64 },
}

/// An anomaly, and the answer that has it.
#[derive(Debug)]
pub struct Violation<'a> {
    pub anomaly: Anomaly,
    pub read: &'a Read,
    /// What the session was told of the row before, by whatever question: the last first.
    pub before: Vec<&'a Read>,
    /// The write that is not seen.
    pub missed: Option<&'a Write>,
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Read {
            session,
            round,
            question,
            key,
            bound,
            after,
            seen,
            told,
            ..
        } = self;
        write!(
            f,
            "session {session}, round {round}, bound {bound:?}, after {after:?}: {question} of {key} gave {seen:?}, read from {told}"
        )
    }
}

impl fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation {
            anomaly,
            read,
            before,
            missed,
        } = self;
        let ago =
            |then: Instant| format!("{:?} before", read.began.saturating_duration_since(then));
        write!(f, "{anomaly:?}: {read}, took {:?}", read.ended - read.began)?;
        if let Some(write) = missed {
            write!(f, "\n    missed {write:?}, committed {}", ago(write.ended))?;
        }
        for then in before {
            write!(f, "\n    {}: {then}", ago(then.ended))?;
        }
        Ok(())
    }
}

impl History {
    /// All that may not be.
    pub fn violations(&self) -> Vec<Violation<'_>> {
        let mut found = Vec::new();
        let mut before: BTreeMap<(usize, &str, i64), Vec<&Read>> = BTreeMap::new();
        let mut reads: Vec<&Read> = self.reads.iter().collect();
        reads.sort_by_key(|read| read.ended);
        let mut writes: BTreeMap<i64, Vec<&Write>> = BTreeMap::new();
        for write in &self.writes {
            writes.entry(write.key).or_default().push(write);
        }
        for (place, read) in reads.iter().copied().enumerate() {
            let of_row = || writes.get(&read.key).into_iter().flatten().copied();
            let mut add = |anomaly| {
                let missing = match anomaly {
                    Anomaly::TooOld { missing } => missing,
                    Anomaly::BackInTime { before } => before,
                    Anomaly::NotAfter { written } => written,
                    Anomaly::FromNowhere | Anomaly::Torn => 0,
                };
                let of_session = reads[..place].iter().rev().copied();
                let of_session =
                    of_session.filter(|then| (then.session, then.key) == (read.session, read.key));
                found.push(Violation {
                    anomaly,
                    read,
                    before: of_session.take(SHOWN).collect(),
                    missed: of_row().find(|write| write.number == missing),
                });
            };
            let (Some(least), Some(most)) = (read.seen.iter().min(), read.seen.iter().max()) else {
                continue;
            };
            if least != most {
                add(Anomaly::Torn);
            }
            if let Some(bound) = read.bound {
                // What was committed before this moment has to be seen.
                let then = read.began.checked_sub(bound);
                let before = of_row().filter(|write| then.is_some_and(|then| write.ended < then));
                let due = before.map(|write| write.number).max();
                if let Some(missing) = due.filter(|due| due > least) {
                    add(Anomaly::TooOld { missing });
                }
            }
            let possible = of_row().filter(|write| write.began < read.ended);
            if *most > possible.map(|write| write.number).max().unwrap_or(0) {
                add(Anomaly::FromNowhere);
            }
            if let Some(written) = read.after.filter(|written| written > least) {
                add(Anomaly::NotAfter { written });
            }
            // A session does one thing after another.
            let question = (read.session, read.question.as_str(), read.key);
            let before = before.entry(question).or_default();
            let allowed = |read: &Read| read.bound.unwrap_or(Duration::MAX);
            let no_more = |then: &&&Read| {
                let is_after = then.after <= read.after;
                // With the engine ends what its session was told; what copies have had they have again.
                let is_known = then.round == read.round || then.is_of_copies;
                let is_as_strict = is_after && allowed(read) <= allowed(then);
                is_known && (read.is_live || is_as_strict)
            };
            let seen = before.iter().filter(no_more);
            let seen = seen.filter_map(|then| then.seen.iter().min()).max();
            if let Some(&before) = seen.filter(|seen| *seen > least) {
                add(Anomaly::BackInTime { before });
            }
            before.push(read);
        }
        found
    }
}

/// A checker that finds nothing would pass all histories.
#[test]
fn what_may_not_be_is_found() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let write = |number, from, to| Write {
        key: 1,
        number,
        began: at(from),
        ended: at(to),
    };
    let writes = vec![write(1, 0, 10), write(2, 100, 110), write(3, 200, 210)];
    let read = |from, to, seen: &[i64]| Read {
        session: 1,
        round: 0,
        is_of_copies: true,
        question: "q".to_string(),
        key: 1,
        bound: Some(Duration::from_millis(50)),
        is_live: false,
        after: None,
        began: at(from),
        ended: at(to),
        seen: seen.to_vec(),
        told: String::new(),
    };
    let anomalies = |reads: Vec<Read>| -> Vec<Anomaly> {
        let history = History {
            writes: writes.clone(),
            reads,
        };
        let found = history.violations();
        found.into_iter().map(|found| found.anomaly).collect()
    };
    // Within the bound, either may be seen; while it is written, too.
    assert_eq!(
        anomalies(vec![read(150, 151, &[1]), read(152, 153, &[2])]),
        []
    );
    assert_eq!(anomalies(vec![read(90, 105, &[2])]), []);
    // At 161 the second one was written longer ago than 50 ms.
    let missing = Anomaly::TooOld { missing: 2 };
    assert_eq!(anomalies(vec![read(161, 162, &[1])]), [missing]);
    assert_eq!(anomalies(vec![read(90, 99, &[2])]), [Anomaly::FromNowhere]);
    assert_eq!(
        anomalies(vec![read(115, 116, &[2]), read(117, 118, &[1])]),
        [Anomaly::BackInTime { before: 2 }]
    );
    let more = Read {
        bound: None,
        ..read(117, 118, &[1])
    };
    assert_eq!(anomalies(vec![read(115, 116, &[2]), more.clone()]), []);
    let live = Read {
        is_live: true,
        ..more
    };
    assert_eq!(
        anomalies(vec![read(115, 116, &[2]), live]),
        [Anomaly::BackInTime { before: 2 }]
    );
    let other = Read {
        session: 2,
        ..read(117, 118, &[1])
    };
    assert_eq!(anomalies(vec![read(115, 116, &[2]), other]), []);
    assert_eq!(anomalies(vec![read(120, 121, &[1, 2])]), [Anomaly::Torn]);
    let later = Read {
        round: 1,
        ..read(117, 118, &[1])
    };
    let told = |is_of_copies| Read {
        is_of_copies,
        ..read(115, 116, &[2])
    };
    assert_eq!(
        anomalies(vec![told(true), later.clone()]),
        [Anomaly::BackInTime { before: 2 }]
    );
    let live = Read {
        is_live: true,
        ..later.clone()
    };
    assert_eq!(anomalies(vec![told(false), later]), []);
    assert_eq!(anomalies(vec![told(false), live]), []);
    let own = Read {
        after: Some(2),
        ..read(115, 116, &[1])
    };
    assert_eq!(anomalies(vec![own]), [Anomaly::NotAfter { written: 2 }]);
    let unbounded = Read {
        bound: None,
        ..read(300, 301, &[1])
    };
    assert_eq!(anomalies(vec![unbounded]), []);
}

use std::time::{Duration, Instant};

/// However often it fails, a source is tried again after so long (unless it was told to be left alone for longer).
const LONGEST: Duration = Duration::from_secs(60);

/// Whether a source is asked at all. After some failures to reach it, in a row, it is left alone for a while, so that its
/// queries fail at once instead of waiting for it, and it is not asked in vain; then one query tries.
///
/// Only the state: its clock and chance are its caller's.
#[derive(Debug)]
pub struct Breaker {
    /// 0: it never opens.
    failures: u32,
    cooldown: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is asked; so many failures in a row.
    Closed { failures: u32 },
    /// It is left alone. The next query after `until` tries.
    Open { until: Instant, failures: u32 },
    /// One query tries, others are refused meanwhile.
    HalfOpen { failures: u32 },
}

/// The source may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    Freely,
    /// To see whether it can be reached again: [`Breaker::succeeded`], [`Breaker::failed`] or [`Breaker::given_up`] must
    /// follow.
    AsProbe,
}

impl Breaker {
    pub fn new(failures: u32, cooldown: Duration) -> Self {
        Self {
            failures,
            cooldown,
            state: State::Closed { failures: 0 },
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Whether [`Self::admit`] would refuse.
    pub fn refuses(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { until, .. } => now < until,
            State::HalfOpen { .. } => true,
        }
    }

    /// None: it is left alone for now.
    pub fn admit(&mut self, now: Instant) -> Option<Admitted> {
        match self.state {
            State::Closed { .. } => Some(Admitted::Freely),
            State::Open { until, failures } if now >= until => {
                self.state = State::HalfOpen { failures };
                Some(Admitted::AsProbe)
            }
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// It has answered. While it is left alone, that is news of what was asked before.
    pub fn succeeded(&mut self) {
        if !matches!(self.state, State::Open { .. }) {
            self.reset();
        }
    }

    /// It could not be reached. `random`: from 0 to 1.
    pub fn failed(&mut self, now: Instant, random: f64) {
        let failures = match self.state {
            State::Closed { failures } | State::HalfOpen { failures } => failures.saturating_add(1),
            State::Open { .. } => return,
        };
        self.state = match self.failures {
            0 => State::Closed { failures },
            most if failures < most => State::Closed { failures },
            most => State::Open {
                until: now + self.pause(failures - most, random),
                failures,
            },
        };
    }

    /// The probe ended without an outcome (its query was cancelled): the next query tries.
    pub fn given_up(&mut self, now: Instant) {
        if let State::HalfOpen { failures } = self.state {
            let until = now;
            self.state = State::Open { until, failures };
        }
    }

    /// Somebody who knows better wants it asked.
    pub fn reset(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// Doubled with each probe that failed; half of it is left to chance, so that sources that failed together are not
    /// tried together.
    fn pause(&self, probes: u32, random: f64) -> Duration {
        let doubled = self.cooldown.saturating_mul(1 << probes.min(16));
        let whole = doubled.min(LONGEST.max(self.cooldown));
        whole.mul_f64(0.5 + random / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Opened by the third failure, at `now`.
    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(3, SECOND);
        for _ in 0..3 {
            assert_eq!(breaker.admit(now), Some(Admitted::Freely));
            breaker.failed(now, 1.0);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3, SECOND);
        for _ in 0..5 {
            breaker.failed(now, 1.0);
            breaker.failed(now, 1.0);
            breaker.succeeded();
        }
        assert_eq!(breaker.admit(now), Some(Admitted::Freely));
        let mut breaker = open(now);
        let until = now + SECOND;
        assert_eq!(breaker.state(), State::Open { until, failures: 3 });
        assert_eq!(breaker.admit(now + SECOND / 2), None);
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let now = Instant::now();
        let then = now + SECOND;
        let mut breaker = open(now);
        assert!(breaker.refuses(now) && !breaker.refuses(then));
        assert_eq!(breaker.admit(then), Some(Admitted::AsProbe));
        assert_eq!(breaker.admit(then), None);
        breaker.succeeded();
        assert_eq!(breaker.state(), State::Closed { failures: 0 });
        // Failed, it is left alone for longer; given up, the next may try.
        let mut breaker = open(now);
        assert_eq!(breaker.admit(then), Some(Admitted::AsProbe));
        breaker.given_up(then);
        assert_eq!(breaker.admit(then), Some(Admitted::AsProbe));
        breaker.failed(then, 1.0);
        let until = then + 2 * SECOND;
        assert_eq!(breaker.state(), State::Open { until, failures: 4 });
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut now = Instant::now();
        let mut breaker = open(now);
        let mut pauses = Vec::new();
        while pauses.len() < 8 {
            let State::Open { until, .. } = breaker.state() else {
                panic!("{:?}", breaker.state());
            };
            pauses.push((until - now).as_secs());
            now = until;
            assert_eq!(breaker.admit(now), Some(Admitted::AsProbe));
            breaker.failed(now, 1.0);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        let mut never = Breaker::new(0, SECOND);
        (0..100).for_each(|_| never.failed(now, 1.0));
        assert_eq!(never.admit(now), Some(Admitted::Freely));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Admit,
        Succeeded,
        Failed(f64),
        GivenUp,
        Wait(u64),
    }

    proptest! {
        /// Whatever happens, it is tried again: waiting for as long as it says admits the next.
        #[test]
        fn it_never_stays_open(steps in prop::collection::vec(prop_oneof![
            Just(Step::Admit), Just(Step::Succeeded), (0.0..1.0).prop_map(Step::Failed), Just(Step::GivenUp),
            (0_u64..90_000).prop_map(Step::Wait),
        ], 0..100)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(2, SECOND);
            for step in steps {
                match step {
                    Step::Admit => {
                        let refuses = breaker.refuses(now);
                        prop_assert_eq!(breaker.admit(now).is_none(), refuses);
                    }
                    Step::Succeeded => breaker.succeeded(),
                    Step::Failed(random) => breaker.failed(now, random),
                    Step::GivenUp => breaker.given_up(now),
                    Step::Wait(ms) => now += Duration::from_millis(ms),
                }
                if let State::Open { until, .. } = breaker.state() {
                    prop_assert!(until <= now + LONGEST);
                }
            }
            breaker.given_up(now);
            prop_assert!(breaker.admit(now + LONGEST).is_some());
        }
    }
}

use std::time::{Duration, Instant};

use belvedere_connector::{Code, Error};

/// The longest pause before the second try; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Whoever has waited so long is told what failed, rather than asked to wait for another try.
const PATIENCE: Duration = Duration::from_secs(10);

/// A write by key is tried so often after the first: of rows that many write at once, somebody else is faster again and again.
const WRITES: u32 = 8;

/// How often one question is asked. Reads change nothing, so one that has given no row yet can be asked again, if it
/// failed for a reason that says nothing of it. A write can be made again if nothing of it was written.
#[derive(Debug)]
pub struct Tries {
    is_passing: fn(&Error) -> bool,
    left: u32,
    failed: u32,
    begun: Instant,
    deadline: Option<Instant>,
}

impl Tries {
    /// At most so many after the first, within the deadline.
    pub fn new(retries: u32, deadline: Option<Instant>) -> Self {
        Self::of(is_passing, retries, deadline)
    }

    /// Of a write of rows that were found before: they may have been changed meanwhile, and then nothing is written.
    pub fn of_write(deadline: Option<Instant>) -> Self {
        Self::of(|e| e.code == Code::Conflict, WRITES, deadline)
    }

    fn of(is_passing: fn(&Error) -> bool, retries: u32, deadline: Option<Instant>) -> Self {
        Self {
            is_passing,
            left: retries,
            failed: 0,
            begun: Instant::now(),
            deadline,
        }
    }

    /// How long to wait before another try after this error; None: it is the answer.
    pub fn after(&mut self, error: &Error) -> Option<Duration> {
        self.pause(error, Instant::now(), fastrand::f64())
    }

    fn pause(&mut self, error: &Error, now: Instant, random: f64) -> Option<Duration> {
        if self.left == 0 || !(self.is_passing)(error) {
            return None;
        }
        let longest = FIRST_PAUSE.saturating_mul(1 << self.failed.min(16));
        // Anything up to the longest: those who failed together do not come back together.
        let pause = longest.min(LONGEST_PAUSE).mul_f64(random);
        let again = now + pause;
        if again >= self.begun + PATIENCE || self.deadline.is_some_and(|deadline| again >= deadline)
        {
            return None;
        }
        self.left -= 1;
        self.failed += 1;
        Some(pause)
    }
}

/// The connection broke, the server starts, has too many connections, or chose another's transaction: not the query.
fn is_passing(error: &Error) -> bool {
    matches!(error.code, Code::Unreachable | Code::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: Code) -> Error {
        Error::new(code, "it failed")
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut tries = Tries::new(8, None);
        let now = tries.begun;
        let broken = error(Code::Unreachable);
        let pauses: Vec<_> = std::iter::from_fn(|| tries.pause(&broken, now, 1.0)).collect();
        let ms = [50, 100, 200, 400, 800, 1600, 2000, 2000].map(Duration::from_millis);
        assert_eq!(pauses, ms);
        let mut tries = Tries::new(2, None);
        assert_eq!(tries.pause(&broken, now, 0.0), Some(Duration::ZERO));
        assert_eq!(tries.pause(&broken, now, 0.5), Some(ms[0]));
        assert_eq!(tries.pause(&broken, now, 0.0), None);
    }

    #[test]
    fn only_what_says_nothing_of_the_query_is_asked_again() {
        let asked_again = |code| {
            let mut tries = Tries::new(1, None);
            tries.after(&error(code)).is_some()
        };
        assert!(asked_again(Code::Unreachable) && asked_again(Code::Busy));
        for code in [
            Code::Timeout,
            Code::Cancelled,
            Code::Authentication,
            Code::PermissionDenied,
            Code::SchemaChanged,
            Code::SourceRefused,
            Code::Internal,
        ] {
            assert!(!asked_again(code), "{code:?}");
        }
    }

    #[test]
    fn a_write_is_made_again_if_nothing_was_written() {
        let mut tries = Tries::of_write(None);
        assert!(tries.after(&error(Code::Conflict)).is_some());
        for code in [Code::OutcomeUnknown, Code::Unreachable, Code::Busy] {
            assert!(tries.after(&error(code)).is_none(), "{code:?}");
        }
    }

    #[test]
    fn never_beyond_the_deadline() {
        let begun = Instant::now();
        let broken = error(Code::Unreachable);
        let mut tries = Tries::new(5, Some(begun + Duration::from_millis(60)));
        assert!(tries.pause(&broken, begun, 1.0).is_some());
        assert_eq!(
            tries.pause(&broken, begun, 1.0),
            None,
            "100 ms are too many"
        );
        let mut tries = Tries::new(5, None);
        assert_eq!(tries.pause(&broken, begun + 2 * PATIENCE, 0.0), None);
    }
}

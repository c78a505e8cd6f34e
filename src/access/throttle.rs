use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

/// Of each address and each user, those that failed last are remembered.
const MOST: NonZeroUsize = NonZeroUsize::new(10_000).expect("some");
/// Failures that are taken at once, of one address and of one user from one address.
const PER_ADDRESS: f64 = 30.0;
const PER_USER: f64 = 10.0;
const MOST_DEBT: f64 = 60.0;
/// After that, one each so often.
const EACH: Duration = Duration::from_secs(2);

/// Limits how often a login may fail, before anything is hashed for it: a bucket of tokens for each address, and one for each
/// user at an address. A user's bucket is by address, so that who tries many passwords elsewhere does not keep the user out; and
/// who has logged in from an address before hangs on the own bucket alone, whatever others try there. It has no clock: `now` is
/// given.
#[derive(Debug)]
pub struct Throttle {
    addresses: LruCache<IpAddr, Bucket>,
    users: LruCache<(IpAddr, u64), User>,
    /// Makes of a user's name, which is as long as whoever tries it likes, what is remembered of it. Its key is random: nobody
    /// outside finds two names that are one here.
    names: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct User {
    bucket: Bucket,
    /// It has logged in from there.
    is_known: bool,
}

/// Tokens that were left at a moment.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn at(self, now: Instant, most: f64) -> Self {
        let since = now.saturating_duration_since(self.at);
        let more = since.as_secs_f64() / EACH.as_secs_f64();
        Self {
            tokens: (self.tokens + more).min(most),
            at: now,
        }
    }

    fn full(most: f64, now: Instant) -> Self {
        Self {
            tokens: most,
            at: now,
        }
    }

    /// Of many that are tried at once more may fail than there are tokens: it is in debt then.
    fn less(self) -> Self {
        Self {
            tokens: (self.tokens - 1.0).max(-MOST_DEBT),
            ..self
        }
    }

    /// How long until there is a whole token.
    fn wait(self) -> Option<Duration> {
        let missing = 1.0 - self.tokens;
        (missing > 0.0).then(|| EACH.mul_f64(missing))
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            addresses: LruCache::new(MOST),
            users: LruCache::new(MOST),
            names: RandomState::new(),
        }
    }
}

impl Throttle {
    /// Whether a login may be tried. Several may be at once: those that fail count when they have.
    ///
    /// # Errors
    /// How long to wait: too many have failed.
    pub fn admits(&mut self, from: IpAddr, user: &str, now: Instant) -> Result<(), Duration> {
        let from = place(from);
        let (address, user) = (self.address(from, now), self.user(from, user, now));
        let of_address = address.wait().filter(|_| !user.is_known);
        of_address.max(user.bucket.wait()).map_or(Ok(()), Err)
    }

    /// Whether that user has logged in from there before.
    pub fn knows(&mut self, from: IpAddr, user: &str, now: Instant) -> bool {
        self.user(place(from), user, now).is_known
    }

    /// One has failed.
    pub fn failed(&mut self, from: IpAddr, user: &str, now: Instant) {
        let from = place(from);
        let mut of_user = self.user(from, user, now);
        if !of_user.is_known {
            let address = self.address(from, now);
            self.addresses.put(from, address.less());
        }
        of_user.bucket = of_user.bucket.less();
        self.users.put((from, self.names.hash_one(user)), of_user);
    }

    /// One was right.
    pub fn succeeded(&mut self, from: IpAddr, user: &str, now: Instant) {
        let known = User {
            bucket: Bucket::full(PER_USER, now),
            is_known: true,
        };
        self.users
            .put((place(from), self.names.hash_one(user)), known);
    }

    fn address(&mut self, from: IpAddr, now: Instant) -> Bucket {
        let known = self.addresses.get(&from).copied();
        known.map_or(Bucket::full(PER_ADDRESS, now), |bucket| {
            bucket.at(now, PER_ADDRESS)
        })
    }

    fn user(&mut self, from: IpAddr, user: &str, now: Instant) -> User {
        let known = self.users.get(&(from, self.names.hash_one(user))).copied();
        let user = known.unwrap_or(User {
            bucket: Bucket::full(PER_USER, now),
            is_known: false,
        });
        User {
            bucket: user.bucket.at(now, PER_USER),
            ..user
        }
    }
}

/// Of IPv6, one customer has all addresses of a network.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// One is tried, and fails.
    fn fails(throttle: &mut Throttle, from: IpAddr, user: &str, now: Instant) -> bool {
        let is_admitted = throttle.admits(from, user, now).is_ok();
        if is_admitted {
            throttle.failed(from, user, now);
        }
        is_admitted
    }

    #[test]
    fn who_fails_too_often_waits() {
        let (mut throttle, mut now) = (Throttle::default(), Instant::now());
        let from = address("192.0.2.1");
        for _ in 0..10 {
            assert!(fails(&mut throttle, from, "ana", now));
        }
        let wait = throttle.admits(from, "ana", now).unwrap_err();
        assert_eq!(wait, EACH);
        // Others are not harmed: another user there, the same user elsewhere.
        throttle.admits(from, "bob", now).unwrap();
        throttle.admits(address("192.0.2.2"), "ana", now).unwrap();
        now += wait;
        assert!(fails(&mut throttle, from, "ana", now));
        assert!(!fails(&mut throttle, from, "ana", now));
    }

    #[test]
    fn many_names_from_one_address_are_limited_together() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let from = address("2001:db8::1");
        let tried = (0..100).filter(|n| fails(&mut throttle, from, &n.to_string(), now));
        assert_eq!(tried.count(), 30);
        // The same network.
        assert!(throttle.admits(address("2001:db8::2"), "x", now).is_err());
        assert!(throttle.admits(address("2001:db8:1::1"), "x", now).is_ok());
    }

    #[test]
    fn many_that_are_right_at_once_are_admitted_and_many_that_are_wrong_are_in_debt() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let from = address("::ffff:192.0.2.1");
        for _ in 0..1000 {
            throttle.admits(from, "ana", now).unwrap();
        }
        for _ in 0..1000 {
            throttle.succeeded(address("192.0.2.1"), "ana", now);
        }
        for _ in 0..30 {
            throttle.failed(from, "ana", now);
        }
        assert_eq!(throttle.admits(from, "ana", now), Err(21 * EACH));
        for _ in 0..1000 {
            throttle.failed(from, "ana", now);
        }
        assert_eq!(throttle.admits(from, "ana", now), Err(61 * EACH));
    }

    #[test]
    fn who_has_logged_in_there_before_is_not_kept_out_by_others() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let from = address("192.0.2.1");
        throttle.succeeded(from, "ana", now);
        for n in 0..100_000 {
            fails(&mut throttle, from, &(n % 100).to_string(), now);
        }
        assert!(throttle.admits(from, "bob", now).is_err());
        throttle.admits(from, "ana", now).unwrap();
        assert!(throttle.knows(from, "ana", now) && !throttle.knows(from, "bob", now));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..20_000u32 {
            throttle.failed(IpAddr::from(n.to_be_bytes()), "ana", now);
        }
        assert_eq!(
            (throttle.addresses.len(), throttle.users.len()),
            (MOST.get(), MOST.get())
        );
    }
}

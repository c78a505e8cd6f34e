use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

/// Of each address and each user, those that failed last are remembered.
const MOST: NonZeroUsize = NonZeroUsize::new(10_000).expect("some");
/// Failures that are taken at once, of one address and of one user from one address.
const PER_ADDRESS: f64 = 30.0;
const PER_USER: f64 = 10.0;
/// After that, one each so often.
const EACH: Duration = Duration::from_secs(2);

/// Limits how often a login may fail, before anything is hashed for it: a bucket of tokens for each address, and one for each
/// user at an address. A user's bucket is by address, so that who tries many passwords elsewhere does not keep the user out; and
/// who has logged in from an address before hangs on the own bucket alone, whatever others try there. It has no clock: `now` is
/// given.
#[derive(Debug)]
pub struct Throttle {
    addresses: LruCache<IpAddr, Bucket>,
    users: LruCache<(IpAddr, String), User>,
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

    fn less(self) -> Self {
        Self {
            tokens: self.tokens - 1.0,
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
        }
    }
}

impl Throttle {
    /// A login is tried: each try is taken for one that fails until it [succeeds](Self::succeeded), so that many at once are no
    /// way around.
    ///
    /// # Errors
    /// How long to wait: too many have failed.
    pub fn tries(&mut self, from: IpAddr, user: &str, now: Instant) -> Result<(), Duration> {
        let from = place(from);
        let key = (from, user.to_string());
        let full = |most| Bucket {
            tokens: most,
            at: now,
        };
        let address = self.addresses.get(&from).copied();
        let address = address.unwrap_or(full(PER_ADDRESS)).at(now, PER_ADDRESS);
        let user = self.users.get(&key).copied().unwrap_or(User {
            bucket: full(PER_USER),
            is_known: false,
        });
        let bucket = user.bucket.at(now, PER_USER);
        let of_address = address.wait().filter(|_| !user.is_known);
        if let Some(wait) = of_address.max(bucket.wait()) {
            return Err(wait);
        }
        if !user.is_known {
            self.addresses.put(from, address.less());
        }
        let bucket = bucket.less();
        self.users.put(key, User { bucket, ..user });
        Ok(())
    }

    /// The try was right: it does not count.
    pub fn succeeded(&mut self, from: IpAddr, user: &str) {
        let from = place(from);
        if let Some(user) = self.users.get_mut(&(from, user.to_string())) {
            let was_known = std::mem::replace(&mut user.is_known, true);
            user.bucket.tokens = PER_USER;
            if let (false, Some(bucket)) = (was_known, self.addresses.get_mut(&from)) {
                bucket.tokens = (bucket.tokens + 1.0).min(PER_ADDRESS);
            }
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

    #[test]
    fn who_fails_too_often_waits() {
        let (mut throttle, mut now) = (Throttle::default(), Instant::now());
        let from = address("192.0.2.1");
        for _ in 0..10 {
            throttle.tries(from, "ana", now).unwrap();
        }
        let wait = throttle.tries(from, "ana", now).unwrap_err();
        assert_eq!(wait, EACH);
        // Others are not harmed: another user there, the same user elsewhere.
        throttle.tries(from, "bob", now).unwrap();
        throttle.tries(address("192.0.2.2"), "ana", now).unwrap();
        now += wait;
        throttle.tries(from, "ana", now).unwrap();
        assert!(throttle.tries(from, "ana", now).is_err());
    }

    #[test]
    fn many_names_from_one_address_are_limited_together() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let from = address("2001:db8::1");
        let tried = (0..100).filter(|n| throttle.tries(from, &n.to_string(), now).is_ok());
        assert_eq!(tried.count(), 30);
        // The same network.
        assert!(throttle.tries(address("2001:db8::2"), "x", now).is_err());
        assert!(throttle.tries(address("2001:db8:1::1"), "x", now).is_ok());
    }

    #[test]
    fn what_is_right_does_not_count() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let from = address("::ffff:192.0.2.1");
        for _ in 0..1000 {
            throttle.tries(from, "ana", now).unwrap();
            throttle.succeeded(address("192.0.2.1"), "ana");
        }
    }

    #[test]
    fn who_has_logged_in_there_before_is_not_kept_out_by_others() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let from = address("192.0.2.1");
        throttle.tries(from, "ana", now).unwrap();
        throttle.succeeded(from, "ana");
        for n in 0..100_000 {
            let _ = throttle.tries(from, &(n % 100).to_string(), now);
        }
        assert!(throttle.tries(from, "bob", now).is_err());
        throttle.tries(from, "ana", now).unwrap();
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..20_000u32 {
            let _ = throttle.tries(IpAddr::from(n.to_be_bytes()), "ana", now);
        }
        assert_eq!(
            (throttle.addresses.len(), throttle.users.len()),
            (MOST.get(), MOST.get())
        );
    }
}

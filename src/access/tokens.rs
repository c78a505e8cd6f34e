use std::collections::HashMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::random;

/// Tokens at once: beyond it, that which was unused the longest goes.
const MOST: usize = 100_000;
/// Of one owner: who logs in for each call does not take the others' place.
const MOST_OF_ONE: usize = 1_000;

type Hash = [u8; 32];

/// Bearer tokens: random, kept as their SHA-256, so that what is in memory is of no use to who reads it. It has no clock: `now` is
/// given.
#[derive(Debug)]
pub struct Tokens {
    issued: HashMap<Hash, Issued>,
    /// A token that is not used for so long is none any more.
    idle: Duration,
}

#[derive(Debug)]
struct Issued {
    owner: String,
    /// Used or not.
    until: Instant,
    used: Instant,
}

impl Tokens {
    pub fn new(idle: Duration) -> Self {
        Self {
            issued: HashMap::new(),
            idle,
        }
    }

    /// A new token, which nobody is told again.
    pub fn issue(&mut self, owner: &str, lasts: Duration, now: Instant) -> String {
        let token: String = random::<32>().iter().map(|b| format!("{b:02x}")).collect();
        self.make_room(owner, now);
        let issued = Issued {
            owner: owner.to_string(),
            until: now + lasts,
            used: now,
        };
        self.issued.insert(hash(&token), issued);
        token
    }

    fn make_room(&mut self, owner: &str, now: Instant) {
        let is_full = |tokens: &Self| tokens.issued.len() >= MOST;
        if is_full(self) {
            let idle = self.idle;
            self.issued.retain(|_, issued| issued.is_good(idle, now));
        }
        let of_owner = self.issued.values().filter(|issued| issued.owner == owner);
        let owner = (of_owner.count() >= MOST_OF_ONE).then_some(owner);
        if owner.is_some() || is_full(self) {
            let is_one = |issued: &Issued| owner.is_none_or(|owner| issued.owner == owner);
            let all = self.issued.iter().filter(|(_, issued)| is_one(issued));
            let oldest = all.min_by_key(|(_, issued)| issued.used);
            let oldest = oldest.map(|(hash, _)| *hash);
            oldest.map(|hash| self.issued.remove(&hash));
        }
    }

    /// Whose token this is; that counts as a use. None: it is not one, or is one no more.
    pub fn bearer(&mut self, token: &str, now: Instant) -> Option<String> {
        let hash = hash(token);
        let issued = self.issued.get_mut(&hash)?;
        if !issued.is_good(self.idle, now) {
            self.issued.remove(&hash);
            return None;
        }
        issued.used = now;
        Some(issued.owner.clone())
    }

    /// None of this owner's is one any more.
    pub fn revoke_all_of(&mut self, owner: &str) {
        self.issued.retain(|_, issued| issued.owner != owner);
    }
}

impl Issued {
    fn is_good(&self, idle: Duration, now: Instant) -> bool {
        now < self.until && now.saturating_duration_since(self.used) < idle
    }
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_token_is_its_owners_until_it_ends() {
        let (mut tokens, now) = (Tokens::new(HOUR), Instant::now());
        let token = tokens.issue("ana", 3 * HOUR, now);
        assert_eq!(token.len(), 64);
        assert!(!format!("{tokens:?}").contains(&token));
        let half = HOUR / 2;
        for n in 0..6 {
            let then = now + n * half;
            assert_eq!(tokens.bearer(&token, then).as_deref(), Some("ana"), "{n}");
        }
        assert_eq!(tokens.bearer(&token, now + 3 * HOUR), None);
        assert_eq!(tokens.bearer(&token, now), None, "and is not one again");
        let idle = tokens.issue("ana", 3 * HOUR, now);
        assert_eq!(tokens.bearer(&idle, now + HOUR), None);
        assert_eq!(tokens.bearer("", now), None);
    }

    #[test]
    fn tokens_of_an_owner_are_revoked() {
        let (mut tokens, now) = (Tokens::new(HOUR), Instant::now());
        let mut issue = |owner| tokens.issue(owner, HOUR, now);
        let [one, other, bobs] = ["ana", "ana", "bob"].map(&mut issue);
        tokens.revoke_all_of("ana");
        assert_eq!(
            (tokens.bearer(&one, now), tokens.bearer(&other, now)),
            (None, None)
        );
        assert!(tokens.bearer(&bobs, now).is_some());
    }

    #[test]
    fn who_has_many_loses_the_own_longest_unused() {
        let (mut tokens, now) = (Tokens::new(HOUR), Instant::now());
        let bobs = tokens.issue("bob", HOUR, now);
        let second = Duration::from_secs(1);
        let mut issue = |n: u32| tokens.issue("ana", HOUR, now + n * second);
        let all: Vec<String> = (1..=MOST_OF_ONE as u32 + 1).map(&mut issue).collect();
        let now = now + 1500 * second;
        assert_eq!(tokens.bearer(&all[0], now), None);
        assert!(tokens.bearer(&all[1], now).is_some() && tokens.bearer(&bobs, now).is_some());
    }
}

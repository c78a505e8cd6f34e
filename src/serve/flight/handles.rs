use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tonic::Status;

/// What clients make the server remember, under keys nobody can guess. Bounded: what was not used for `idle` is gone,
/// and beyond `capacity` what was unused the longest goes first.
#[derive(Debug)]
pub(super) struct Handles<V> {
    held: Mutex<HashMap<Vec<u8>, Held<V>>>,
    capacity: usize,
    idle: Duration,
}

#[derive(Debug)]
struct Held<V> {
    value: V,
    used: Instant,
}

impl<V: Clone> Handles<V> {
    pub fn new(capacity: usize, idle: Duration) -> Self {
        Self {
            held: Mutex::default(),
            capacity,
            idle,
        }
    }

    /// Keep a value under a new handle.
    pub fn insert(&self, value: V) -> Result<Vec<u8>, Status> {
        let handle = random::<16>()?.to_vec();
        self.insert_at(handle.clone(), value);
        Ok(handle)
    }

    /// Keep a value under this key.
    pub fn insert_at(&self, key: Vec<u8>, value: V) {
        let now = Instant::now();
        let mut held = self.held();
        if held.len() >= self.capacity {
            held.retain(|_, h| now.duration_since(h.used) < self.idle);
        }
        while held.len() >= self.capacity {
            let oldest = held
                .iter()
                .min_by_key(|(_, h)| h.used)
                .map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            held.remove(&oldest);
        }
        held.insert(key, Held { value, used: now });
    }

    /// The value under this key, which counts as a use.
    pub fn get(&self, key: &[u8]) -> Option<V> {
        let now = Instant::now();
        let mut held = self.held();
        let found = held.get_mut(key)?;
        if now.duration_since(found.used) >= self.idle {
            held.remove(key);
            return None;
        }
        found.used = now;
        Some(found.value.clone())
    }

    pub fn remove(&self, key: &[u8]) -> Option<V> {
        self.held().remove(key).map(|h| h.value)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, Held<V>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes from the operating system's source of randomness.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Status> {
    let mut bytes = [0; N];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source
        .fill(&mut bytes)
        .map_err(|_| Status::internal("no random bytes are to be had"))?;
    Ok(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first() {
        let handles = Handles::new(2, Duration::from_secs(60));
        let a = handles.insert('a').unwrap();
        let b = handles.insert('b').unwrap();
        assert_eq!(handles.get(&a), Some('a'));
        let c = handles.insert('c').unwrap();
        assert_eq!(handles.get(&a), Some('a'));
        assert_eq!(handles.get(&b), None);
        assert_eq!(handles.remove(&c), Some('c'));
        assert_eq!(handles.get(&c), None);
    }

    #[test]
    fn what_is_idle_expires() {
        let handles = Handles::new(2, Duration::ZERO);
        let a = handles.insert('a').unwrap();
        assert_eq!(handles.get(&a), None);
    }
}

//! From a hash to every position that has it, newest first.
//!
//! A directory finds a *shard* by the hash's upper bits; the shard finds the newest entry by open addressing, and each
//! entry names the one before it. Entries are added in place, with atomic stores, while readers walk; they are never
//! moved or removed. A shard that is full, or mostly dead, is *built anew* and put into the writer's directory: what is
//! dead is left out, a chain lies in one piece again, and a shard that is still large is split (extendible hashing: a
//! growing table never moves more than one shard at a time).
//!
//! That needs no regard to pins. Versions from before keep the old shard, which from then on does not change: it has
//! all that they see. Those that come see nothing that was dead. So a row that is changed over and over has few
//! entries, however long an old epoch is pinned.
//!
//! A key with very many rows is one chain in one shard, since their hash is one: such a shard grows beyond its size.
//! Adding costs the same; building it anew costs 5 ns an entry, each time that it has doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries of a shard that is not one long chain: 96 KB, built anew in some 50 µs.
const SHARD_ENTRIES: usize = 8192;

/// Shared by the writer and readers.
#[derive(Debug)]
pub(super) struct Shard {
    /// By the hash's lower bits: hash in the upper half, entry + 1 in the lower; 0 where there is none.
    slots: Box<[AtomicU64]>,
    /// Position in the upper half, the next entry + 1 in the lower.
    entries: Box<[AtomicU64]>,
    /// Which shard of the writer's list it is, and how many bits of the hash all its entries share.
    id: u32,
    depth: u32,
}

/// The shards of an index, `2^bits` of them; one that is not split as often as others stands in several places.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    bits: u32,
    shards: Vec<Arc<Shard>>,
    /// Of all shards, each once.
    shard_bytes: usize,
}

/// What the writer knows of a shard.
#[derive(Clone, Copy, Debug, Default)]
struct Fill {
    slots: usize,
    entries: usize,
    /// Rows taken away since it was built.
    dead: usize,
    /// The first version that has it: it has no position that was dead then.
    since: u64,
}

impl Fill {
    fn is_crowded(&self) -> bool {
        self.dead >= 64 && self.dead * 3 > self.entries * 2
    }
}

/// The writer's side.
#[derive(Debug)]
pub(super) struct Index {
    directory: Arc<Directory>,
    fills: Vec<Fill>,
    /// Shards with more dead than is bearable.
    crowded: Vec<u32>,
}

impl Directory {
    fn place(&self, hash: u32) -> usize {
        (u64::from(hash) >> (32 - self.bits)) as usize
    }

    /// In memory.
    pub(super) fn bytes(&self) -> usize {
        self.shard_bytes + size_of::<Arc<Shard>>() * self.shards.len()
    }

    /// The beginnings of many chains, for [`Directory::from`]: found one after the other, with nothing in between, so
    /// that the processor waits for several at a time.
    pub(super) fn heads(&self, hashes: &[u32]) -> Vec<u32> {
        let head = |&hash| self.shards[self.place(hash)].head(hash);
        hashes.iter().map(head).collect()
    }

    /// The positions that were added for a hash, newest first. Some of them no reader of this version sees.
    pub(super) fn from(&self, hash: u32, head: u32) -> Chain<'_> {
        let shard = &*self.shards[self.place(hash)];
        Chain { shard, next: head }
    }
}

pub(super) struct Chain<'a> {
    shard: &'a Shard,
    /// Entry + 1.
    next: u32,
}

impl Iterator for Chain<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let entry = self.next.checked_sub(1)?;
        let word = self.shard.entries[entry as usize].load(Ordering::Relaxed);
        self.next = word as u32;
        Some((word >> 32) as u32)
    }
}

impl Shard {
    fn new(id: u32, depth: u32, hashes: usize, entries: usize) -> Self {
        let zeros = |len| (0..len).map(|_| AtomicU64::new(0)).collect();
        Self {
            slots: zeros((hashes * 3 / 2).next_power_of_two().max(8)),
            entries: zeros(entries),
            id,
            depth,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<AtomicU64>() * (self.slots.len() + self.entries.len())
    }

    /// The slot that has the hash, or the empty one where it belongs; and its word.
    ///
    /// Acquire, which [`Shard::insert`] releases: who sees an entry's number sees the entry, and those before it. Entries
    /// that a version sees are there before it is published; of later ones a reader sees some, and drops their positions.
    fn slot(&self, hash: u32) -> (usize, u64) {
        let mask = self.slots.len() - 1;
        let mut i = hash as usize & mask;
        loop {
            let word = self.slots[i].load(Ordering::Acquire);
            if word == 0 || (word >> 32) as u32 == hash {
                return (i, word);
            }
            i = (i + 1) & mask;
        }
    }

    /// The newest entry + 1, or 0.
    fn head(&self, hash: u32) -> u32 {
        self.slot(hash).1 as u32
    }

    /// False if there is no room.
    fn insert(&self, fill: &mut Fill, hash: u32, position: u32) -> bool {
        let (slot, word) = self.slot(hash);
        let is_new = word == 0;
        // Four fifths: searches end after two cache lines at most times, and always.
        let is_crowded = is_new && fill.slots * 5 >= self.slots.len() * 4;
        if fill.entries == self.entries.len() || is_crowded {
            return false;
        }
        let entry = fill.entries;
        let word = u64::from(position) << 32 | word & u64::from(u32::MAX);
        self.entries[entry].store(word, Ordering::Relaxed);
        let head = u64::from(hash) << 32 | (entry as u64 + 1);
        self.slots[slot].store(head, Ordering::Release);
        fill.entries += 1;
        fill.slots += usize::from(is_new);
        true
    }
}

impl Index {
    /// An empty one, that the version `since` is the first to have.
    pub(super) fn new(since: u64) -> Self {
        let shard = Arc::new(Shard::new(0, 0, 8, 16));
        Self {
            directory: Arc::new(Directory {
                bits: 0,
                shard_bytes: shard.bytes(),
                shards: vec![shard],
            }),
            fills: vec![Fill {
                since,
                ..Fill::default()
            }],
            crowded: Vec::new(),
        }
    }

    /// As it is now, for a version to keep.
    pub(super) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Add a position. `next` is the version that will be the first to see it, `is_live` what it sees besides.
    pub(super) fn insert(
        &mut self,
        hash: u32,
        position: u32,
        next: u64,
        is_live: &dyn Fn(u32) -> bool,
    ) {
        loop {
            let shard = &self.directory.shards[self.directory.place(hash)];
            let fill = &mut self.fills[shard.id as usize];
            if shard.insert(fill, hash, position) {
                return;
            }
            let id = shard.id;
            self.rebuild(self.directory.place(hash), id, next, is_live);
        }
    }

    /// A row with this hash was taken away.
    pub(super) fn taken(&mut self, hash: u32) {
        let id = self.directory.shards[self.directory.place(hash)].id;
        let fill = &mut self.fills[id as usize];
        fill.dead += 1;
        // Where rows are replaced, it is full before that.
        if fill.is_crowded() {
            self.crowded.push(hash);
        }
    }

    /// Build those shards anew that are mostly dead, so that chains stay short where rows only go.
    pub(super) fn tidy(&mut self, next: u64, is_live: &dyn Fn(u32) -> bool) {
        for hash in std::mem::take(&mut self.crowded) {
            let place = self.directory.place(hash);
            let id = self.directory.shards[place].id;
            let fill = self.fills[id as usize];
            if fill.is_crowded() {
                self.rebuild(place, id, next, is_live);
            }
        }
    }

    /// No shard has a position that was dead in this version; the oldest shard's.
    pub(super) fn oldest(&self) -> u64 {
        self.fills.iter().map(|fill| fill.since).min().unwrap_or(0)
    }

    /// Build anew all shards from before `wanted`.
    pub(super) fn raise(&mut self, wanted: u64, next: u64, is_live: &dyn Fn(u32) -> bool) {
        let mut place = 0;
        while place < self.directory.shards.len() {
            let id = self.directory.shards[place].id;
            if self.fills[id as usize].since < wanted {
                self.rebuild(place, id, next, is_live);
            }
            place += 1;
        }
    }

    /// What [`Directory::bytes`] is, counted anew.
    #[cfg(test)]
    pub(super) fn recounted(&self) -> usize {
        let shards = self.directory.shards.iter();
        let mut each: Vec<_> = shards
            .clone()
            .map(|s| (Arc::as_ptr(s), s.bytes()))
            .collect();
        each.sort();
        each.dedup();
        let lists = size_of::<Arc<Shard>>() * shards.len();
        lists + each.iter().map(|(_, bytes)| bytes).sum::<usize>()
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        let shards = self.directory.shards.iter();
        shards.map(|shard| shard.entries.len()).sum()
    }

    fn rebuild(&mut self, place: usize, id: u32, next: u64, is_live: &dyn Fn(u32) -> bool) {
        let old = self.directory.shards[place].clone();
        // Chains one after the other: hash, length; positions.
        let mut chains: Vec<(u32, u32)> = Vec::new();
        let mut positions = Vec::with_capacity(self.fills[id as usize].entries);
        for word in &old.slots {
            let word = word.load(Ordering::Relaxed);
            if word == 0 {
                continue;
            }
            let (before, shard, next) = (positions.len(), &*old, word as u32);
            positions.extend(Chain { shard, next }.filter(|&position| is_live(position)));
            if positions.len() > before {
                chains.push(((word >> 32) as u32, (positions.len() - before) as u32));
            }
        }
        // By 16 bits at most: beyond it shards grow, and the directory does not. A long chain cannot be split.
        let longest = chains
            .iter()
            .map(|(_, len)| *len as usize)
            .max()
            .unwrap_or(0);
        let is_large = positions.len() > SHARD_ENTRIES * 5 / 8 && old.depth < 16;
        if !is_large || longest * 2 > positions.len() {
            let (shard, fill) = built(id, old.depth, next, &chains, &positions, |_| true);
            self.replace(place, old.depth, [shard.clone(), shard]);
            self.fills[id as usize] = fill;
            return;
        }
        let depth = old.depth + 1;
        let upper = |hash: u32| hash >> (32 - depth) & 1 == 1;
        let new_id = self.fills.len() as u32;
        let (low, low_fill) = built(id, depth, next, &chains, &positions, |hash| !upper(hash));
        let (high, high_fill) = built(new_id, depth, next, &chains, &positions, upper);
        self.fills[id as usize] = low_fill;
        self.fills.push(high_fill);
        self.replace(place, old.depth, [low, high]);
    }

    /// Put a shard's two halves in its place: all places whose first `depth` bits are those of `place`.
    fn replace(&mut self, place: usize, depth: u32, halves: [Arc<Shard>; 2]) {
        let directory = Arc::make_mut(&mut self.directory);
        let mut place = place;
        directory.shard_bytes -= directory.shards[place].bytes();
        directory.shard_bytes += halves[0].bytes();
        if !Arc::ptr_eq(&halves[0], &halves[1]) {
            directory.shard_bytes += halves[1].bytes();
        }
        if halves[0].depth > directory.bits {
            let doubled = directory.shards.iter().flat_map(|s| [s.clone(), s.clone()]);
            directory.shards = doubled.collect();
            directory.bits += 1;
            place *= 2;
        }
        let span = 1 << (directory.bits - depth);
        let first = place / span * span;
        for (i, shard) in directory.shards[first..first + span].iter_mut().enumerate() {
            *shard = halves[usize::from(i >= span / 2 && span > 1)].clone();
        }
    }
}

/// A shard of the chains whose hash is wanted, with as much room again.
fn built(
    id: u32,
    depth: u32,
    next: u64,
    chains: &[(u32, u32)],
    positions: &[u32],
    wanted: impl Fn(u32) -> bool,
) -> (Arc<Shard>, Fill) {
    let mine = chains.iter().filter(|(hash, _)| wanted(*hash));
    let (hashes, entries) = mine.fold((0, 0), |(n, sum), (_, len)| (n + 1, sum + *len as usize));
    // Twice the entries, so that building costs as much as adding; slots for half again, which fill up more rarely.
    let shard = Shard::new(id, depth, hashes + hashes / 2 + 8, (entries * 2).max(16));
    let mut fill = Fill {
        slots: hashes,
        entries,
        dead: 0,
        since: next,
    };
    let (mut from, mut entry) = (0, 0u64);
    for &(hash, len) in chains {
        let chain = &positions[from..from + len as usize];
        from += len as usize;
        if !wanted(hash) {
            continue;
        }
        let slot = shard.slot(hash).0;
        let head = u64::from(hash) << 32 | (entry + 1);
        shard.slots[slot].store(head, Ordering::Relaxed);
        for (i, &position) in chain.iter().enumerate() {
            let next = if i + 1 < chain.len() { entry + 2 } else { 0 };
            shard.entries[entry as usize]
                .store(u64::from(position) << 32 | next, Ordering::Relaxed);
            entry += 1;
        }
    }
    fill.entries = entry as usize;
    (Arc::new(shard), fill)
}

//! Seeded histories of sources, disk and process, and an oracle of plain maps after every step.
//!
//! After each: what is shown at an epoch is what the sources had at just its positions, and so are views of it; an epoch that is shown
//! is durable, and shown again as it was; what a source may forget is behind a checkpoint; nobody reads an earlier state than
//! before, over a restart; what is in a checkpoint is not copied again. In the end all is mended, and everything comes to where its source is.
//!
//! *That it finds what it is for* was seen by breaking the module by hand. Histories up to the 205th found each of these:
//!
//! - hand-over: changes at S taken twice; nothing skipped; the one right behind S skipped; a copy that joins before S, before its rows are
//!   all there, broken off, or in a replayed epoch; held changes forgotten; a late table not among the stream's
//! - durability: acknowledged what is received, or before the checkpoint; a boundary not recorded, or shown though that
//!   failed; a joined copy shown before it is durable; recorded epochs not replayed; an epoch overtaken by the next; positions
//!   of a checkpoint ahead of its state; readers served at once after a restart, or never told; copied anew after one
//! - connection: pieces that outlive it; what comes again taken again; a keep-alive taken for a transaction; asked again from where it began
//! - a lost log: its queue kept, recorded epochs waited for, replicas that go on, a copy added to what is served
//! - changes: the first time of a key counted, or what came with it taken away; a truncation that leaves rows; an ended table at
//!   the position that ended it
//!
//! Not found, as they change nothing that can be seen: keys kept over a truncation, an acknowledgement that failed and is not said
//! again (the next one is), an ended table that is blocked as one with a change that does not fit, a snapshot of another timeline (its
//! stream says so next). What blocks by an error of its own is in `cases.rs`.

mod bench;
mod cases;
pub(super) mod disk;
mod durable;
mod files;
mod flows;
mod histories;
mod pending;
mod seen;
mod simulation;
mod world;

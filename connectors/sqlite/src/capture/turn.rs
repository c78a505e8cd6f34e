use std::collections::VecDeque;

use belvedere_connector::Position;

use crate::pool::Lease;

/// Who reads the log, and what its steps may not pass over. Held while a read transaction begins, so that a step begins before
/// a snapshot or behind it.
#[derive(Debug, Default)]
pub struct Turn {
    /// Streams there were; the last one is read.
    streams: u64,
    is_open: bool,
    fences: VecDeque<Fence>,
    /// The last fence that is gone although nobody came by.
    passed: Option<Position>,
}

/// A state that was copied.
#[derive(Debug)]
pub struct Fence {
    /// It sees that state.
    pub lease: Lease,
    pub position: Position,
}

impl Turn {
    /// A stream from there on: its number. None: a snapshot was taken behind it, whose state is not there any more.
    pub fn open(&mut self, from: &Position) -> Option<u64> {
        if self.passed.as_ref().is_some_and(|passed| from < passed) {
            return None;
        }
        self.fences.retain(|fence| fence.position > *from);
        self.streams += 1;
        self.is_open = true;
        Some(self.streams)
    }

    pub fn is_read_by(&self, stream: u64) -> bool {
        self.is_open && self.streams == stream
    }

    pub fn close(&mut self, stream: u64) {
        self.is_open &= self.streams != stream;
    }

    /// What nobody reads needs no fence.
    pub fn put(&mut self, fence: Fence) {
        match self.is_open {
            true => self.fences.push_back(fence),
            false => self.pull_down(),
        }
    }

    pub fn next_fence(&mut self) -> Option<Fence> {
        self.fences.pop_front()
    }

    pub fn has_fences(&self) -> bool {
        !self.fences.is_empty()
    }

    pub fn streams(&self) -> u64 {
        self.streams
    }

    /// They keep SQLite from writing over what they see.
    pub fn pull_down(&mut self) {
        if let Some(last) = self.fences.pop_back() {
            self.passed = Some(last.position);
        }
        self.fences.clear();
    }

    pub fn release(&mut self) {
        self.is_open = false;
        self.fences.clear();
        self.passed = None;
    }
}

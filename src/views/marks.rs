//! Where epochs ended that were shown: what tells a cursor of this history from any other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::moments::Moments;
use crate::replication::{Boundary, Positions};
use crate::store::checksum;

/// Epochs of which it is known where they ended.
const MOST_EPOCHS: usize = 1 << 20;
/// Those of them that a checkpoint has.
const NOTED_EPOCHS: usize = 1 << 10;

/// An epoch that was shown.
#[derive(Debug, PartialEq)]
pub struct At {
    pub epoch: u64,
    pub positions: Positions,
    /// What it takes for now.
    pub clock: i64,
    /// Of the positions and the clock: an epoch of this number that ended elsewhere has another.
    pub mark: u64,
}

impl At {
    pub fn new(boundary: &Boundary) -> Self {
        let mut bytes = Vec::new();
        for (source, position) in &boundary.positions {
            for part in [source.as_bytes(), position.timeline(), position.place()] {
                bytes.extend((part.len() as u64).to_le_bytes());
                bytes.extend(part);
            }
        }
        // Epochs of before there was a clock in them are known by what was told of them then.
        if boundary.clock != 0 {
            bytes.extend(boundary.clock.to_le_bytes());
        }
        Self {
            epoch: boundary.epoch,
            clock: boundary.clock,
            positions: boundary.positions.clone(),
            mark: checksum(&bytes),
        }
    }
}

/// The epochs that were shown since the process began, and where each ended: whoever was told of an epoch by another process was
/// told the same only if it ended there.
#[derive(Debug)]
pub struct Marks {
    known: Mutex<VecDeque<(u64, u64)>>,
    /// Of the checkpoint that this process has begun with.
    noted: Note,
}

/// What a checkpoint says of journals: from which places before it a restart goes on, since nothing has changed after them. And how old
/// it is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Note {
    /// The checkpoint's. One that was made without a note has another.
    epoch: u64,
    /// The newest epochs that were shown, and where each ended.
    epochs: Vec<(u64, u64)>,
    /// With which epoch each view has changed last, by its journal's origin.
    changed: BTreeMap<u64, u64>,
    /// When each source was asked for a position that it has.
    #[serde(default)]
    asked: Moments,
}

impl Marks {
    /// With what the last checkpoint says, if it is at this epoch.
    pub fn new(noted: Note, epoch: u64) -> Self {
        let noted = Some(noted).filter(|noted| noted.epoch == epoch);
        let noted = noted.unwrap_or_default();
        Self {
            known: Mutex::new(noted.epochs.iter().copied().collect()),
            noted,
        }
    }

    /// What a checkpoint at this epoch says. `changed`: with which each journal has changed last. `asked`: when each source was, for
    /// a position that the epoch has.
    pub fn note(
        &self,
        epoch: u64,
        changed: BTreeMap<u64, u64>,
        asked: &BTreeMap<String, Instant>,
    ) -> Note {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = known.iter().skip(known.len().saturating_sub(NOTED_EPOCHS));
        Note {
            epoch,
            epochs: newest.copied().collect(),
            changed,
            asked: Moments::new(asked),
        }
    }

    /// When each source was asked for a position that the checkpoint has, as far as it is known.
    pub fn asked(&self) -> BTreeMap<String, Instant> {
        self.noted.asked.restored()
    }

    /// With which epoch a view has changed last that is begun at this one: this, or one before, as far as it is known.
    pub fn changed(&self, origin: u64, epoch: u64) -> u64 {
        let changed = self.noted.changed.get(&origin).copied();
        let changed = changed.filter(|_| self.noted.epoch == epoch);
        changed.map_or(epoch, |changed| changed.min(epoch))
    }

    pub fn add(&self, at: &At) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.back().is_none_or(|(epoch, _)| *epoch < at.epoch) {
            known.push_back((at.epoch, at.mark));
        }
        if known.len() > MOST_EPOCHS {
            known.pop_front();
        }
    }

    pub fn has(&self, epoch: u64, mark: u64) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.binary_search(&(epoch, mark)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_counts_for_its_own_epoch_alone() {
        let asked = BTreeMap::from([("erp".to_string(), Instant::now())]);
        let note = Marks::new(Note::default(), 0).note(7, BTreeMap::from([(1, 3)]), &asked);
        let text = serde_json::to_string(&note).unwrap();
        let read = |epoch| Marks::new(serde_json::from_str(&text).unwrap(), epoch);
        assert_eq!(read(7).changed(1, 7), 3);
        // Another view; one that is begun later; a checkpoint that was made without a note.
        assert_eq!(read(7).changed(2, 7), 7);
        assert_eq!(read(7).changed(1, 8), 8);
        assert_eq!(read(8).changed(1, 8), 8);
        assert!(read(7).asked()["erp"] <= asked["erp"]);
        assert!(read(8).asked().is_empty());
    }

    #[test]
    fn a_note_of_before_there_were_moments_is_read() {
        let note = serde_json::from_str(r#"{"epoch":7,"epochs":[[6,1]],"changed":{"1":3}}"#);
        let marks = Marks::new(note.unwrap(), 7);
        assert_eq!(marks.changed(1, 7), 3);
        assert!(marks.asked().is_empty());
    }

    #[test]
    fn an_epoch_is_known_by_where_it_ended() {
        let at = |epoch, place: u8| {
            let position = belvedere_connector::Position::new([1], [place]);
            At::new(&Boundary {
                epoch,
                positions: Positions::from([("a".to_string(), position)]),
                clock: 0,
            })
        };
        let epochs = Marks::new(Note::default(), 0);
        let (one, other) = (at(3, 1), at(3, 2));
        epochs.add(&one);
        epochs.add(&at(4, 3));
        assert!(epochs.has(3, one.mark) && !epochs.has(3, other.mark));
        assert!(!epochs.has(4, one.mark) && !epochs.has(5, one.mark));
        // A checkpoint takes them along.
        let note = epochs.note(4, BTreeMap::new(), &BTreeMap::new());
        assert!(Marks::new(note, 4).has(3, one.mark));
    }
}

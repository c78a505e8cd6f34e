//! What the simulator has found, and what is to be seen by name.

use std::sync::Arc;

use belvedere_connector::Change;
use belvedere_memory::{LogFault, MemoryTable};

use super::bench::{Bench, T0, T1, of, rows};
use super::disk::{Disk, DiskFault};
use super::world::{Row, SPECS, bag};
use crate::replication::{Error, State};
use crate::store::Folder;

/// Found: what a restart held back stayed so until the next change.
#[test]
fn after_a_restart_readers_are_served_though_nothing_changes() {
    let mut bench = Bench::new(&[T1]);
    bench.catch_up();
    bench.restart();
    assert_eq!(bench.published().behind[..], ["a".to_string()]);
    bench.catch_up();
    assert!(bench.published().behind.is_empty());
}

/// What was shown last is in the checkpoint, or it is known that it is not.
#[test]
fn a_restart_knows_whether_more_was_shown_than_there_is() {
    let mut bench = Bench::new(&[T1]);
    bench.commit(&[(T1, &[1, 1], 1)]);
    bench.catch_up();
    bench.replication.checkpoint().unwrap();
    bench.restart();
    assert!(!bench.replication.is_recorded_elsewhere("a"));
    bench.catch_up();
    bench.commit(&[(T1, &[2, 2], 1)]);
    bench.catch_up();
    bench.restart();
    assert!(bench.replication.is_recorded_elsewhere("a"));
    bench.catch_up();
    assert!(!bench.replication.is_recorded_elsewhere("a"));
}

/// Found: its content was said to be that of the transaction that ended it.
#[test]
fn a_table_that_ends_right_behind_its_copy_is_as_it_was_copied() {
    let mut bench = Bench::new(&[T1]);
    let copied = bench.commit(&[(T1, &[1, 1], 1)]);
    while bench.replication.states()["t1"] == State::Asked && bench.source.snapshots() == 0 {
        assert!(bench.advance());
    }
    bench.source.remove("t1");
    let published = bench.catch_up();
    let (state, _) = &published.tables["t1"];
    assert!(
        matches!(state, State::Blocked { at: Some(at), .. } if *at == copied),
        "{state:?}"
    );
    assert_eq!(rows(&published, T1), of(&[&[1, 1]]));
}

/// Found: a copy that was whole and waited for its epoch took the rows of the next copy of the same table, too.
#[test]
fn a_copy_that_waits_takes_nothing_of_another() {
    let mut bench = Bench::new(&[T1]);
    bench.commit(&[(T1, &[1, 1], 1), (T1, &[2, 2], 3)]);
    while bench.advance() {}
    let spec = &SPECS[T1];
    bench.replication.add("another", spec.wanted(0)).unwrap();
    let published = bench.catch_up();
    assert_eq!(bench.source.snapshots(), 2);
    let mut expected = of(&[&[1, 1], &[2, 2]]);
    expected.insert(vec![Some(2), Some(2)], 3);
    assert_eq!(rows(&published, T1), expected);
    assert_eq!(bag(&published.tables["another"].1), expected);
}

#[test]
fn the_stream_goes_on_while_a_late_table_is_copied() {
    let mut bench = Bench::new(&[T0]);
    bench.catch_up();
    bench.commit(&[(T1, &[1, 1], 1), (T0, &[1, 1, 1], 1)]);
    bench.add(T1).unwrap();
    while bench.source.snapshots() == 1 {
        assert!(bench.advance());
    }
    // Behind its snapshot, before its rows are there.
    bench.commit(&[(T1, &[2, 2], 1), (T0, &[2, 2, 2], 1)]);
    let published = bench.catch_up();
    assert_eq!(rows(&published, T0), of(&[&[1, 1, 1], &[2, 2, 2]]));
    assert_eq!(rows(&published, T1), of(&[&[1, 1], &[2, 2]]));
    assert_eq!(bench.source.snapshots(), 2);
}

#[test]
fn a_change_that_does_not_fit_blocks_its_table_alone() {
    let mut bench = Bench::new(&[T0, T1]);
    let before = bench.commit(&[(T0, &[1, 1, 1], 1)]);
    bench.catch_up();
    // The source says that a key has two rows.
    bench.commit(&[(T0, &[1, 2, 2], 1), (T1, &[3, 3], 1)]);
    let published = bench.catch_up();
    let State::Blocked { at, reason } = &published.tables["t0"].0 else {
        panic!("{published:?}");
    };
    assert_eq!(*at, Some(before));
    assert!(reason.contains("gives a key a second row"), "{reason}");
    assert_eq!(rows(&published, T0), of(&[&[1, 1, 1]]));
    assert_eq!(rows(&published, T1), of(&[&[3, 3]]));
    bench.restart();
    bench.catch_up();
    let state = &bench.replication.states()["t0"];
    assert!(matches!(state, State::Blocked { .. }), "{state:?}");
    bench.replication.remove("t0").unwrap();
    assert!(!bench.published().tables.contains_key("t0"));
}

/// Some columns of a table in a replica of its own.
fn narrow(bench: &mut Bench) {
    let mut wanted = SPECS[T0].wanted(0);
    wanted.captured.schema = Arc::new(wanted.captured.schema.project(&[0, 1]).unwrap());
    bench.replication.add("narrow", wanted).unwrap();
}

/// Found: whoever reads a table was blocked by a column that only others use.
#[test]
fn a_column_that_goes_blocks_those_that_have_it() {
    for is_behind in [false, true] {
        let mut bench = Bench::new(&[T0]);
        narrow(&mut bench);
        bench.commit(&[(T0, &[1, 1, 1], 1)]);
        bench.catch_up();
        // It may come behind others that wait for their epoch.
        bench.commit(&[(T0, &[2, 2, 2], 1)]);
        let before = match is_behind {
            true => bench.published().boundary.positions["a"].clone(),
            false => bench.catch_up().boundary.positions["a"].clone(),
        };
        let rows_of = |rows: &[Row]| SPECS[T0].batch(0, rows.iter());
        let all = rows_of(&[vec![Some(2); 3], vec![Some(3); 3]]);
        let without = all.project(&[0, 1]).unwrap();
        let table = MemoryTable::new(without.schema(), vec![without]);
        bench.source.put("t0", table.with_primary_key(&["c0"]));
        let published = bench.catch_up();
        let State::Blocked { at, reason } = &published.tables["t0"].0 else {
            panic!("{published:?}");
        };
        assert_eq!(*at, Some(before));
        assert!(reason.contains("other columns now"), "{reason}");
        assert_eq!(published.tables["narrow"].0, State::Live);
        let is = bag(&published.tables["narrow"].1);
        assert_eq!(is, of(&[&[2, 2], &[3, 3]]));
        assert_eq!(bench.source.snapshots(), 1);
        // It is told what comes then, too, also after a restart.
        let more = rows_of(&[vec![Some(4); 3]]).project(&[0, 1]).unwrap();
        let weights = vec![1];
        let more = Change::Rows {
            rows: more,
            weights,
        };
        bench.source.commit(vec![("t0".into(), more)]).unwrap();
        bench.restart();
        let published = bench.catch_up();
        let is = bag(&published.tables["narrow"].1);
        assert_eq!(is, of(&[&[2, 2], &[3, 3], &[4, 4]]));
    }
}

/// Found: a stream says that a table has ended, and nothing more of it; of another of that name, that was copied since, changes were
/// missed up to the next epoch.
#[test]
fn a_table_that_is_made_anew_before_its_copy_has_joined_is_told_of() {
    for is_copied_first in [false, true] {
        let mut bench = Bench::new(&[T0]);
        bench.catch_up();
        bench.add(T1).unwrap();
        bench.replication.hold("t1", true);
        while bench.advance() {}
        bench.source.remove("t1");
        let table = MemoryTable::new(SPECS[T1].schema(0), Vec::new());
        bench.source.put("t1", table);
        bench.commit(&[(T1, &[1, 1], 1)]);
        match is_copied_first {
            true => bench.source.inject_log(LogFault::Stall),
            false => while bench.advance() {},
        }
        bench.replication.hold("t1", false);
        let snapshots = bench.source.snapshots();
        while bench.source.snapshots() == snapshots {
            assert!(bench.advance());
        }
        bench.commit(&[(T1, &[2, 2], 1)]);
        bench.source.inject_log(LogFault::None);
        let published = bench.catch_up();
        assert_eq!(published.tables["t1"].0, State::Live);
        assert_eq!(rows(&published, T1), of(&[&[1, 1], &[2, 2]]));
    }
}

#[test]
fn a_name_is_given_once() {
    let mut bench = Bench::new(&[T0]);
    assert!(matches!(bench.add(T0), Err(Error::Exists(_))));
    // Under another name it is another replica, with columns of its own.
    bench.replication.add("other", SPECS[T0].wanted(0)).unwrap();
    bench.replication.remove("other").unwrap();
    let nowhere = bench.replication.add("t2", SPECS[2].wanted(0));
    assert!(matches!(nowhere, Err(Error::UnknownSource(_))));
    let none = bench.replication.remove("none");
    assert!(matches!(none, Err(Error::UnknownReplica(_))));
    bench.disk.fail(0, DiskFault::Full);
    assert!(matches!(bench.add(T1), Err(Error::Disk(_))));
    bench.disk.heal();
    bench.add(T1).unwrap();
}

#[test]
fn a_restored_source_is_copied_behind_what_is_served() {
    let mut bench = Bench::new(&[T0]);
    let backup = bench.commit(&[(T0, &[1, 1, 1], 1)]);
    bench.commit(&[(T0, &[2, 2, 2], 1)]);
    bench.catch_up();
    bench.source.rewind(&backup).unwrap();
    bench.commit(&[(T0, &[3, 3, 3], 1)]);
    while bench.replication.states()["t0"] == State::Live {
        bench.advance();
    }
    let served = bench.published();
    assert_eq!(served.tables["t0"].0, State::Lost);
    assert_eq!(rows(&served, T0), of(&[&[1, 1, 1], &[2, 2, 2]]));
    let published = bench.catch_up();
    assert_eq!(published.tables["t0"].0, State::Live);
    assert_eq!(rows(&published, T0), of(&[&[1, 1, 1], &[3, 3, 3]]));
}

/// Found: an epoch that was recorded before anything was kept waited for a position of a log that is gone.
#[test]
fn a_source_is_set_back_before_anything_of_it_is_kept() {
    let mut bench = Bench::uncopied();
    let backup = bench.source.head();
    bench.commit(&[(T0, &[2, 2, 2], 1)]);
    bench.tick(1);
    bench.restart();
    bench.source.rewind(&backup).unwrap();
    bench.commit(&[(T0, &[3, 3, 3], 1)]);
    let published = bench.catch_up();
    assert_eq!(published.tables["t0"].0, State::Live);
    assert_eq!(rows(&published, T0), of(&[&[3, 3, 3]]));
}

/// Found: it had a position in epochs. After a restart, where it could not be copied, all waited for it to come there.
#[test]
fn nobody_waits_for_a_source_of_which_nothing_is_kept() {
    let mut bench = Bench::uncopied();
    let at = bench.tick(1);
    assert!(at.is_empty(), "{at:?}");
    bench.source.remove("t0");
    bench.restart();
    let published = bench.catch_up();
    let state = &bench.replication.states()["t0"];
    assert!(
        matches!(state, State::Blocked { at: None, .. }),
        "{state:?}"
    );
    assert!(!bench.replication.is_replaying());
    assert_eq!(published.boundary.clock, 1);
}

/// Found: it had a position in epochs. After a restart, the same epochs were read as if nobody had been told of a later one.
#[test]
fn a_source_has_no_position_before_its_first_copy_has_joined() {
    let mut bench = Bench::uncopied();
    for n in 1..4 {
        bench.commit(&[(T0, &[n, n, n], 1)]);
        // What it brings meanwhile is in the next copy.
        assert!(bench.advance());
        let at = bench.tick(n);
        assert!(at.is_empty(), "{at:?}");
    }
    bench.restart();
    for n in 1..4 {
        let epoch = bench.replication.cut().unwrap().unwrap();
        assert!(epoch.boundary.positions.is_empty() && epoch.boundary.clock == n);
        bench.replication.publish().unwrap();
    }
    let published = bench.catch_up();
    assert_eq!(published.boundary.positions["a"], bench.source.head());
    assert_eq!(
        rows(&published, T0),
        of(&[&[1, 1, 1], &[2, 2, 2], &[3, 3, 3]])
    );
}

/// What waits for a copy that nobody makes would wait for good.
#[test]
fn a_log_of_which_nothing_is_kept_is_not_read() {
    let mut bench = Bench::new(&[T0]);
    while bench.advance() {}
    bench.replication.remove("t0").unwrap();
    assert!(bench.advance());
    bench.commit(&[(T1, &[1, 1], 1)]);
    assert!(!bench.advance());
    bench.add(T1).unwrap();
    let published = bench.catch_up();
    assert_eq!(rows(&published, T1), of(&[&[1, 1]]));
}

/// What the log does not tell of a table is copied; until it is, its source's others wait with it, and all that is shown was there at once.
#[test]
fn a_table_whose_rows_are_others_is_copied_anew() {
    let mut bench = Bench::new(&[T0, T1]);
    bench.commit(&[(T0, &[1, 1, 1], 1), (T1, &[1, 1], 1)]);
    let before = bench.catch_up();
    let snapshots = bench.source.snapshots();
    let other: Row = vec![Some(7); 3];
    let rewritten = vec![SPECS[T0].batch(0, [&other].into_iter())];
    bench.source.rewrite("t0", rewritten).unwrap();
    let last = bench.commit(&[(T0, &[2, 2, 2], 1), (T1, &[2, 2], 1)]);
    while bench.replication.states()["t0"] == State::Live {
        assert!(bench.advance());
    }
    bench.cut();
    let served = bench.published();
    assert_eq!(served.tables["t0"].0, State::Lost);
    assert_eq!(served.boundary.positions, before.boundary.positions);
    assert_eq!(rows(&served, T0), of(&[&[1, 1, 1]]));
    for _ in 0..2 {
        let published = bench.catch_up();
        assert_eq!(published.tables["t0"].0, State::Live);
        assert_eq!(published.boundary.positions["a"], last);
        assert_eq!(rows(&published, T0), of(&[&[2, 2, 2], &[7, 7, 7]]));
        assert_eq!(rows(&published, T1), of(&[&[1, 1], &[2, 2]]));
        assert_eq!(bench.source.snapshots(), snapshots + 1);
        bench.restart();
    }
}

/// A restart before the copy has joined is told of it again.
#[test]
fn a_table_that_was_not_copied_anew_is_after_a_restart() {
    let mut bench = Bench::new(&[T0]);
    bench.commit(&[(T0, &[1, 1, 1], 1)]);
    bench.catch_up();
    bench.source.rewrite("t0", Vec::new()).unwrap();
    while bench.replication.states()["t0"] == State::Live {
        assert!(bench.advance());
    }
    bench.replication.checkpoint().unwrap();
    bench.restart();
    assert_eq!(rows(&bench.published(), T0), of(&[&[1, 1, 1]]));
    let published = bench.catch_up();
    assert_eq!(published.tables["t0"].0, State::Live);
    assert_eq!(rows(&published, T0), of(&[]));
}

/// A copy that was begun before is of no use then.
#[test]
fn a_table_whose_rows_are_others_again_while_it_is_copied() {
    let mut bench = Bench::new(&[T0]);
    bench.commit(&[(T0, &[1, 1, 1], 1)]);
    bench.catch_up();
    for n in 2..4 {
        let other: Row = vec![Some(n); 3];
        let rewritten = vec![SPECS[T0].batch(0, [&other].into_iter())];
        bench.source.rewrite("t0", rewritten).unwrap();
        let snapshots = bench.source.snapshots();
        while bench.source.snapshots() == snapshots {
            assert!(bench.advance());
        }
    }
    let published = bench.catch_up();
    assert_eq!(published.tables["t0"].0, State::Live);
    assert_eq!(rows(&published, T0), of(&[&[3, 3, 3]]));
}

#[test]
fn a_replica_is_copied_anew_once_that_is_asked_for() {
    let mut bench = Bench::new(&[T0]);
    bench.commit(&[(T0, &[1, 1, 1], 1)]);
    bench.catch_up();
    let snapshots = bench.source.snapshots();
    assert!(bench.replication.renew("t0"));
    while bench.source.snapshots() == snapshots {
        assert!(bench.advance());
    }
    // It goes on meanwhile.
    bench.commit(&[(T0, &[2, 2, 2], 1)]);
    assert!(bench.replication.waits_for_copy("t0"));
    let published = bench.catch_up();
    assert_eq!(published.tables["t0"].0, State::Live);
    assert_eq!(rows(&published, T0), of(&[&[1, 1, 1], &[2, 2, 2]]));
    assert!(!bench.replication.waits_for_copy("t0"));
    assert_eq!(bench.source.snapshots(), snapshots + 1);
}

#[test]
fn a_full_disk_shows_nothing_that_is_not_durable_and_goes_on_when_there_is_room() {
    for disk in [Disk::default(), Disk::files()] {
        let mut bench = Bench::on(disk, &[T0]);
        bench.catch_up();
        bench.commit(&[(T0, &[1, 1, 1], 1)]);
        while bench.advance() {}
        bench.disk.fail(0, DiskFault::Full);
        for _ in 0..2 {
            let e = bench.replication.cut().unwrap_err();
            assert!(
                matches!(&e, Error::Disk(e) if e.kind() == std::io::ErrorKind::StorageFull),
                "{e}"
            );
            assert_eq!(rows(&bench.published(), T0), of(&[]));
        }
        bench.disk.heal();
        bench.cut();
        assert_eq!(rows(&bench.published(), T0), of(&[&[1, 1, 1]]));
        bench.disk.fail(0, DiskFault::Full);
        let e = bench.replication.checkpoint().unwrap_err();
        assert!(matches!(&e, Error::Disk(_)), "{e}");
        bench.restart();
        bench.disk.heal();
        bench.catch_up();
        assert_eq!(rows(&bench.published(), T0), of(&[&[1, 1, 1]]));
        bench.replication.checkpoint().unwrap();
    }
}

#[test]
fn a_damaged_file_costs_its_replica_alone_which_is_copied_anew() {
    let mut bench = Bench::on(Disk::files(), &[T0, T1]);
    bench.commit(&[(T0, &[1, 1, 1], 1), (T1, &[2, 2], 1)]);
    bench.catch_up();
    bench.replication.checkpoint().unwrap();
    let folder = bench.disk.folder().unwrap().clone();
    let names = folder.names().unwrap();
    let first = names.iter().find(|name| name.ends_with(".rows")).unwrap();
    folder.edit(first, |bytes| bytes[100] ^= 1);
    bench.restart();
    let lost = bench.replication.lost();
    let [(name, why)] = &lost.into_iter().collect::<Vec<_>>()[..] else {
        panic!("one is lost");
    };
    assert!(why.contains(first) && why.contains("is damaged"), "{why}");
    let states = bench.replication.states();
    let (asked, live): (Vec<_>, Vec<_>) = states.iter().partition(|(other, _)| *other == name);
    assert_eq!((asked[0].1, live[0].1), (&State::Asked, &State::Live));
    let published = bench.catch_up();
    assert_eq!(rows(&published, T0), of(&[&[1, 1, 1]]));
    assert_eq!(rows(&published, T1), of(&[&[2, 2]]));
    assert!(bench.replication.lost().is_empty());
}

#[test]
fn epochs_that_the_clock_ends_are_replayed_as_of_then() {
    for disk in [Disk::default(), Disk::files()] {
        let mut bench = Bench::on(disk, &[T0]);
        bench.catch_up();
        bench.replication.checkpoint().unwrap();
        let mut ended = Vec::new();
        // Nothing is due; something is, also after the clock was put back; and with what comes from the source.
        for (clock, is_due, row) in [
            (5, false, None),
            (7, true, None),
            (3, true, None),
            (4, false, Some(1)),
            (9, false, Some(2)),
        ] {
            if let Some(n) = row {
                bench.commit(&[(T0, &[n, n, n], 1)]);
                while bench.advance() {}
            }
            bench.replication.tick(clock, is_due);
            let cut = bench.replication.cut().unwrap();
            bench.replication.publish().unwrap();
            ended.extend(cut.map(|epoch| epoch.boundary));
        }
        let clocks: Vec<i64> = ended.iter().map(|boundary| boundary.clock).collect();
        assert_eq!(clocks, [7, 7, 7, 9]);
        bench.restart();
        bench.replication.tick(20, true);
        let mut again = Vec::new();
        while again.len() <= ended.len() {
            while bench.advance() {}
            let cut = bench.replication.cut().unwrap();
            bench.replication.publish().unwrap();
            again.extend(cut.map(|epoch| epoch.boundary));
        }
        let last = again.pop().unwrap();
        assert_eq!(again, ended);
        assert_eq!(last.clock, 20);
    }
}

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::chain::Flaw;
use super::*;

fn open(dir: &Path, file_bytes: u64, files: usize) -> Audit {
    let limits = Limits { file_bytes, files };
    Audit::open(dir, Level::All, false, limits).unwrap()
}

fn record(n: u64) -> Record {
    Record {
        user: Some("ana".into()),
        statement: Some(format!("SELECT '{n} \"quoted\" ☃\n'")),
        rows: Some(n),
        outcome: Some("ok".into()),
        ..Record::default()
    }
}

/// Records in files of some lines each. What it ends with is the head that the log would have.
fn written(records: u64) -> (TempDir, Head) {
    let dir = TempDir::new().unwrap();
    let audit = open(dir.path(), 1000, 100);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for n in 0..records {
        audit.note(record(n));
        // Each in a batch of its own, as far as it can be had: files end between batches, and in them.
        if n % 3 == 0 {
            runtime.block_on(audit.flushed()).unwrap();
        }
    }
    drop(audit);
    let verified = verify(&folder(&dir), &[]).unwrap();
    assert!(verified.findings.is_empty(), "{verified:?}");
    // And the one that says that it was started.
    assert_eq!(verified.records, records + 1);
    (dir, verified.head)
}

fn folder(dir: &TempDir) -> PathBuf {
    dir.path().join(FOLDER)
}

fn files(dir: &TempDir) -> Vec<PathBuf> {
    let all = super::files::list(&folder(dir)).unwrap();
    all.into_iter().map(|(_, path)| path).collect()
}

fn findings(dir: &TempDir, heads: &[Head]) -> Vec<String> {
    let verified = verify(&folder(dir), heads).unwrap();
    verified.findings.iter().map(ToString::to_string).collect()
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(str::to_string).collect()
}

fn put(path: &Path, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(path, text).unwrap();
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let mut head = Head::default();
    let mut text = Vec::new();
    let at = chrono::Utc::now();
    head.append(at, &record(7), &mut text);
    let line = Line::read(text.strip_suffix(b"\n").unwrap()).unwrap();
    assert_eq!(line.record, record(7));
    assert_eq!((line.head(), line.before()), (head, Head::default()));
    assert_eq!(line.at_us, at.timestamp_micros());
    assert_eq!(head.to_string().parse::<Head>(), Ok(head));
    assert_eq!(Line::read(b"{}"), Err(Flaw::Malformed));
    for bad in ["", ":", "1:", "1:zz", "+1:00", "1"] {
        assert!(bad.parse::<Head>().is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn a_flipped_bit_is_found(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let (dir, _) = written(12);
        let mut all = files(&dir);
        prop_assert!(all.len() > 3);
        all.push(folder(&dir).join("head"));
        let sizes: Vec<usize> = all.iter().map(|path| fs::read(path).unwrap().len()).collect();
        let mut at = at.index(sizes.iter().sum());
        let mut file = 0;
        while at >= sizes[file] {
            at -= sizes[file];
            file += 1;
        }
        let mut bytes = fs::read(&all[file]).unwrap();
        bytes[at] ^= 1 << bit;
        fs::write(&all[file], bytes).unwrap();
        prop_assert!(!findings(&dir, &[]).is_empty(), "byte {} of {}", at, all[file].display());
    }

    #[test]
    fn a_cut_tail_is_found_by_the_head_that_the_log_has(at in any::<prop::sample::Index>()) {
        let (dir, head) = written(12);
        let all = files(&dir);
        let sizes: Vec<u64> = all.iter().map(|path| fs::metadata(path).unwrap().len()).collect();
        let mut left = at.index(usize::try_from(sizes.iter().sum::<u64>()).unwrap()) as u64;
        for (path, size) in all.iter().zip(sizes) {
            let keeps = left.min(size);
            left -= keeps;
            match keeps {
                0 => fs::remove_file(path).unwrap(),
                keeps => fs::OpenOptions::new().write(true).open(path).unwrap().set_len(keeps).unwrap(),
            }
        }
        // Whoever cuts it cuts the noted head, too.
        fs::remove_file(folder(&dir).join("head")).unwrap();
        let found = findings(&dir, &[head]);
        prop_assert!(found.iter().any(|found| found.contains("the log's head")), "{found:?}");
    }
}

#[test]
fn lines_that_are_moved_or_missing_are_found() {
    let (dir, _) = written(30);
    let path = &files(&dir)[1];
    let whole = lines(path);
    assert!(whole.len() > 2, "{whole:?}");
    let name = super::files::name(path);
    let mut swapped = whole.clone();
    swapped.swap(0, 1);
    put(path, &swapped);
    assert!(
        findings(&dir, &[])
            .iter()
            .any(|found| found.starts_with(&name))
    );
    let mut removed = whole.clone();
    removed.remove(1);
    put(path, &removed);
    let seq = Line::read(whole[1].as_bytes()).unwrap().seq;
    let missing = format!("{name}, line 2: record {seq} is missing before it");
    assert_eq!(findings(&dir, &[]), [missing]);
    let twice = [whole.clone(), vec![whole[whole.len() - 1].clone()]].concat();
    put(path, &twice);
    assert!(!findings(&dir, &[]).is_empty());
    put(path, &whole);
    assert_eq!(findings(&dir, &[]), [""; 0]);
    // A file from the middle, and the first one.
    for at in [0, 1] {
        let path = &files(&dir)[at];
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        let found = findings(&dir, &[]);
        assert!(found[0].contains("missing"), "{found:?}");
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_chain_that_is_computed_anew_has_another_head() {
    let (dir, head) = written(9);
    let mut forged = Head::default();
    for path in files(&dir) {
        let mut text = Vec::new();
        for line in lines(&path) {
            let line = Line::read(line.as_bytes()).unwrap();
            let at = chrono::DateTime::from_timestamp_micros(line.at_us).unwrap();
            let mut record = line.record;
            record.user = Some("bob".into());
            forged.append(at, &record, &mut text);
        }
        fs::write(path, text).unwrap();
    }
    super::files::note_head(&folder(&dir), &forged).unwrap();
    assert_eq!(findings(&dir, &[]), [""; 0]);
    let found = findings(&dir, &[head]);
    assert!(
        found[0].contains("is not the one that the log's head is of"),
        "{found:?}"
    );
}

#[test]
fn what_a_crash_has_torn_is_cut_off_and_said() {
    let (dir, head) = written(5);
    let last = files(&dir).pop().unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&last).unwrap();
    file.write_all(b"{\"seq\":7,\"prev\":\"00").unwrap();
    let torn = verify(&folder(&dir), &[head]).unwrap();
    assert_eq!(
        (torn.findings.len(), torn.notices.len()),
        (0, 1),
        "{torn:?}"
    );
    let audit = open(dir.path(), 1000, 100);
    audit.note(record(1));
    drop(audit);
    let verified = verify(&folder(&dir), &[head]).unwrap();
    assert!(verified.findings.is_empty(), "{verified:?}");
    assert!(verified.notices[0].contains("19 bytes"), "{verified:?}");
    assert_eq!(verified.head.seq, head.seq + 3);
}

#[test]
fn what_is_damaged_at_a_start_is_recorded_and_left_as_it_is() {
    // Cut at a record's end, with the noted head left.
    let (dir, head) = written(9);
    let last = files(&dir).pop().unwrap();
    fs::remove_file(&last).unwrap();
    let before: Vec<Vec<u8>> = files(&dir)
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
    let audit = open(dir.path(), 1000, 100);
    audit.note(record(1));
    drop(audit);
    let found = findings(&dir, &[head]);
    assert!(
        found
            .iter()
            .any(|found| found.contains("its end is cut off")),
        "{found:?}"
    );
    let after: Vec<Vec<u8>> = files(&dir)
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
    assert_eq!(after[..before.len()], before);
    // A byte of the newest file.
    let (dir, _) = written(9);
    let last = files(&dir).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    bytes[5] ^= 1;
    fs::write(&last, &bytes).unwrap();
    let audit = open(dir.path(), 1000, 100);
    audit.note(record(1));
    drop(audit);
    assert_eq!(fs::read(&last).unwrap(), bytes);
    let found = findings(&dir, &[]);
    assert!(
        found
            .iter()
            .any(|found| found.contains("says what a start has found")),
        "{found:?}"
    );
    let sound = open(dir.path(), 1000, 100);
    sound.note(record(2));
    drop(sound);
    // It is said once.
    let again = findings(&dir, &[]);
    assert_eq!(again, found);
}

#[test]
fn old_files_are_removed_and_that_is_no_damage() {
    let dir = TempDir::new().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut heads = Vec::new();
    for start in 0..3 {
        let audit = open(dir.path(), 1000, 4);
        for n in 0..40 {
            audit.note(record(start * 40 + n));
            runtime.block_on(audit.flushed()).unwrap();
        }
        drop(audit);
        let verified = verify(&folder(&dir), &heads).unwrap();
        assert!(verified.findings.is_empty(), "{verified:?}");
        assert!(
            verified.first.unwrap() > 1 && verified.files <= 6,
            "{verified:?}"
        );
        heads.push(verified.head);
    }
    // By hand it is one.
    fs::remove_file(&files(&dir)[0]).unwrap();
    let found = findings(&dir, &[]);
    assert!(found[0].contains("no record says that"), "{found:?}");
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_admitted_until_it_can() {
    let dir = TempDir::new().unwrap();
    let audit = open(dir.path(), 200, 100);
    audit.note(record(1));
    audit.flushed().await.unwrap();
    // As where the disk is full, no file can be made.
    let (there, away) = (dir.path().join(FOLDER), dir.path().join("away"));
    fs::rename(&there, &away).unwrap();
    let seq = audit.note(record(2));
    let refused = audit.durable(seq).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("what is not audited is not done")
    );
    assert!(audit.admits().await.is_err());
    fs::rename(&away, &there).unwrap();
    while audit.admits().await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    audit.durable(seq).await.unwrap();
    drop(audit);
    let verified = verify(&there, &[]).unwrap();
    assert_eq!(
        (verified.findings.len(), verified.records),
        (0, 3),
        "{verified:?}"
    );
}

#[test]
fn records_are_read_newest_first() {
    let (dir, head) = written(50);
    let mut newest = Newest::of(&folder(&dir), 5).unwrap();
    let mut seqs = Vec::new();
    loop {
        let lines = newest.next(7).unwrap();
        if lines.is_empty() {
            break;
        }
        assert!(lines.len() <= 7);
        seqs.extend(lines.into_iter().map(|line| line.unwrap().seq));
    }
    let all: Vec<u64> = (5..=head.seq).rev().collect();
    assert_eq!(seqs, all);
    // One that is being written is none yet; one that is none is told.
    let last = files(&dir).pop().unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&last).unwrap();
    file.write_all(b"nonsense\n{\"seq\":7").unwrap();
    let mut newest = Newest::of(&folder(&dir), 0).unwrap();
    let lines = newest.next(2).unwrap();
    assert_eq!(lines[0], Err(Flaw::Malformed));
    assert_eq!(lines[1].as_ref().unwrap().seq, head.seq);
}

#[test]
fn nothing_is_made_before_there_is_something_to_record() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path(), 1000, 4));
    assert!(!folder(&dir).exists());
}

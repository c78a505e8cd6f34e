//! Files that are not what was written.

use std::io;
use std::sync::Arc;

use arrow::array::RecordBatch;
use proptest::prelude::*;

use super::simulated::{FAULTS, Fault, Faults, Simulated};
use super::{numbered, written};
use crate::store::files::layout::checksum;
use crate::store::files::{FileError, Folder, Segment, SegmentWriter};

fn read(folder: &Simulated) -> Result<Vec<RecordBatch>, FileError> {
    Segment::open(folder, "rows")?.batches().collect()
}

fn three_blocks() -> (Simulated, Vec<RecordBatch>) {
    let folder = Simulated::new(Faults::default());
    let batches: Vec<_> = (0..3).map(|i| numbered(i * 9_000, 9_000)).collect();
    written(
        &(Arc::new(folder.clone()) as Arc<dyn Folder>),
        "rows",
        &batches,
    );
    (folder, batches)
}

#[test]
fn any_byte_flipped_is_found() {
    let (folder, _) = three_blocks();
    let mut len = 0;
    folder.edit("rows", |bytes| len = bytes.len());
    let tried = (0..len).step_by(997).chain(0..256).chain(len - 512..len);
    for at in tried {
        folder.edit("rows", |bytes| bytes[at] ^= 0x10);
        let e = read(&folder).expect_err("it is found");
        assert!(matches!(e, FileError::Damaged { .. }), "{at}: {e}");
        folder.edit("rows", |bytes| bytes[at] ^= 0x10);
    }
    read(&folder).unwrap();
}

#[test]
fn a_damaged_block_is_named_and_the_others_are_read() {
    let (folder, batches) = three_blocks();
    folder.edit("rows", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let segment = Segment::open(&folder, "rows").unwrap();
    assert_eq!(segment.batch(0).unwrap(), batches[0]);
    assert_eq!(segment.batch(2).unwrap(), batches[2]);
    let e = segment.batch(1).unwrap_err();
    assert_eq!(
        e.to_string(),
        "rows is damaged (block 2 of 3: its checksum is another): put the file back from a backup, or have its content \
         made anew; other files are not concerned"
    );
    assert_eq!(io::Error::from(e).kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_newer_format_is_told_from_damage() {
    let (folder, _) = three_blocks();
    folder.edit("rows", |bytes| {
        bytes[8] = 2;
        let sum = checksum(&bytes[..56]);
        bytes[56..64].copy_from_slice(&sum.to_le_bytes());
    });
    assert_eq!(
        read(&folder).unwrap_err().to_string(),
        "rows was written by a newer version (format 2, this one knows 1): open it with that version"
    );
    folder.edit("rows", |bytes| bytes[0] = b'X');
    let e = read(&folder).unwrap_err();
    assert!(e.to_string().contains("it is no file of this kind"), "{e}");
}

#[test]
fn a_full_disk_is_said_and_nothing_is_left() {
    let faults = Faults::default();
    let folder: Arc<dyn Folder> = Arc::new(Simulated::new(faults.clone()));
    faults.fail(2, Fault::Full);
    let mut writer =
        SegmentWriter::create(folder.clone(), "rows", numbered(0, 0).schema()).unwrap();
    let e = (0..9)
        .try_for_each(|_| writer.write(&numbered(0, 60_000)))
        .unwrap_err();
    assert_eq!(
        e.to_string(),
        "there is no room on the disk for rows: free some, it is tried again then"
    );
    faults.heal();
    drop(writer);
    assert_eq!(folder.names().unwrap(), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Cut, or with other bytes somewhere: an error, or what was written.
    #[test]
    fn cut_and_scribbled(cut in 0.0..1.0f64, at in 0.0..1.0f64, garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (folder, batches) = three_blocks();
        folder.edit("rows", |bytes| bytes.truncate((bytes.len() as f64 * cut) as usize));
        prop_assert!(read(&folder).is_err());
        let (folder, _) = three_blocks();
        folder.edit("rows", |bytes| {
            let at = (bytes.len() as f64 * at) as usize;
            for (byte, new) in bytes[at..].iter_mut().zip(&garbage) {
                *byte = *new;
            }
        });
        if let Ok(found) = read(&folder) {
            prop_assert_eq!(found, batches);
        }
    }

    /// Whatever fails, and whenever the process ends: the new file, the old one, or none is there.
    #[test]
    fn whole_or_not_at_all(after in 0usize..20, fault in proptest::sample::select(&FAULTS[..]), is_over in any::<bool>(), seed in any::<u64>()) {
        let faults = Faults::default();
        let simulated = Simulated::new(faults.clone());
        let folder: Arc<dyn Folder> = Arc::new(simulated.clone());
        if is_over {
            written(&folder, "rows", &[numbered(7, 7)]);
        }
        faults.fail(after, fault);
        let made = SegmentWriter::create(folder.clone(), "rows", numbered(0, 0).schema())
            .and_then(|mut writer| {
                writer.write(&numbered(0, 20_000))?;
                writer.write(&numbered(20_000, 30_000))?;
                writer.finish()
            });
        simulated.crash(&mut fastrand::Rng::with_seed(seed));
        faults.restart();
        faults.heal();
        match read(&simulated) {
            Ok(found) if found.len() == 2 => {}
            Ok(found) => prop_assert!(made.is_err() && is_over && found == [numbered(7, 7)]),
            Err(FileError::Io { .. }) => prop_assert!(made.is_err() && !is_over),
            Err(e) => prop_assert!(false, "{}", e),
        }
    }
}

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::AuditError;
use super::chain::{Head, Line};
use super::files::{self, Lines, Piece};
use super::record::{Event, Record};

/// Where a chain goes on.
#[derive(Debug, Default)]
pub struct Recovered {
    pub head: Head,
    /// The file that is appended to, and its length. None: the next record is in a new one.
    pub open: Option<(File, u64)>,
    /// What has to be said of what was found.
    pub found: Option<Record>,
}

/// What a file has, as far as it is whole.
struct Scanned {
    path: PathBuf,
    /// Of the last record that is as it was written.
    last: Option<Head>,
    /// The bytes up to there.
    len: u64,
    /// The highest number that a record has, whatever is around it.
    highest: u64,
    rest: Rest,
    /// The record that the noted head is of, if it has it.
    noted: Option<Head>,
}

enum Rest {
    Nothing,
    /// Half a record, as a crash leaves it: nobody was told that it is durable.
    Torn,
    /// Line, and what is wrong with it.
    Damaged(u64, String),
}

/// Find where the chain in this folder ends. Only the newest file is looked at, and the noted head: all of it is for
/// [`verify`](super::verify).
pub fn recover(folder: &Path) -> Result<Recovered, AuditError> {
    let failed = |doing| AuditError::io(doing, folder);
    let noted = files::noted_head(folder).map_err(failed("read"))?;
    let noted = noted.and_then(Result::ok);
    let all = files::list(folder).map_err(failed("read"))?;
    let mut newest = None;
    for (number, path) in all.iter().rev() {
        let scanned = scan(path, noted).map_err(failed("read"))?;
        let is_empty = scanned.last.is_none() && !matches!(scanned.rest, Rest::Damaged(..));
        // Made, and nothing was written to its end: the one before has the end of the chain.
        if is_empty && *number != 1 && newest.is_none() {
            newest = Some(scanned);
            continue;
        }
        return recovered(scanned, newest, noted).map_err(failed("made whole"));
    }
    if let Some(empty) = newest {
        return recovered(empty, None, noted).map_err(failed("made whole"));
    }
    let Some(noted) = noted.filter(|noted| noted.seq > 0) else {
        return Ok(Recovered::default());
    };
    Ok(Recovered {
        head: noted,
        open: None,
        found: Some(damaged(format!(
            "there were records up to {}, and there are none",
            noted.seq
        ))),
    })
}

fn scan(path: &Path, noted: Option<Head>) -> io::Result<Scanned> {
    let mut scanned = Scanned {
        path: path.to_path_buf(),
        last: None,
        len: 0,
        highest: 0,
        rest: Rest::Nothing,
        noted: None,
    };
    let mut lines = Lines::open(path)?;
    while let Some(piece) = lines.next()? {
        let is_sound = matches!(scanned.rest, Rest::Nothing);
        match piece {
            Piece::Line(line) => match Line::read(&line) {
                Ok(line) => {
                    let follows = scanned.last.is_none_or(|last| last.precedes(&line));
                    if is_sound && follows {
                        scanned.last = Some(line.head());
                        scanned.len = lines.end;
                    } else if is_sound {
                        let what = format!("record {} does not follow the one before it", line.seq);
                        scanned.rest = Rest::Damaged(lines.number, what);
                    }
                    scanned.highest = scanned.highest.max(line.seq);
                    if noted.is_some_and(|noted| noted.seq == line.seq) {
                        scanned.noted = Some(line.head());
                    }
                }
                // Blocks of a disk that were never written are zeros.
                Err(_) if is_sound && line.contains(&0) => scanned.rest = Rest::Torn,
                Err(flaw) if is_sound => {
                    scanned.rest = Rest::Damaged(lines.number, flaw.to_string());
                }
                Err(_) => {}
            },
            Piece::Rest(_) if is_sound => scanned.rest = Rest::Torn,
            Piece::Endless if is_sound => {
                let what = "it is no record of an audit".to_string();
                scanned.rest = Rest::Damaged(lines.number, what);
            }
            Piece::Rest(_) | Piece::Endless => {}
        }
    }
    // What comes behind zeros was written after them.
    if matches!(scanned.rest, Rest::Torn) && scanned.highest > scanned.last.map_or(0, |l| l.seq) {
        let what = "records follow what is none".to_string();
        scanned.rest = Rest::Damaged(0, what);
    }
    Ok(scanned)
}

/// `newest` is an empty file behind that which was scanned.
fn recovered(
    mut scanned: Scanned,
    newest: Option<Scanned>,
    noted: Option<Head>,
) -> io::Result<Recovered> {
    if newest.is_some() && matches!(scanned.rest, Rest::Torn) {
        scanned.rest = Rest::Damaged(0, "its end is cut off".to_string());
    }
    let name = files::name(&scanned.path);
    let last = scanned.last.unwrap_or_default();
    let end = noted.map_or(last.seq, |noted| noted.seq.max(last.seq));
    // What was there stays there as it is; the chain goes on behind all that there was, in a file of its own.
    let apart = |what: String| {
        let seq = end.max(scanned.highest);
        let head = match noted {
            Some(noted) if noted.seq == seq => noted,
            _ => Head {
                seq,
                hash: last.hash,
            },
        };
        Recovered {
            head,
            open: None,
            found: Some(damaged(what)),
        }
    };
    if let Rest::Damaged(line, what) = &scanned.rest {
        return Ok(apart(format!("{name}, line {line}: {what}")));
    }
    if let Some(noted) = noted {
        if noted.seq > last.seq {
            let (there, were) = (last.seq, noted.seq);
            return Ok(apart(format!(
                "{name}: its end is cut off: there were records up to {were}, and there are up to {there}"
            )));
        }
        if scanned.noted.is_some_and(|found| found != noted) {
            let seq = noted.seq;
            return Ok(apart(format!(
                "{name}: record {seq} is another than the one that was written"
            )));
        }
    }
    let open = newest.unwrap_or(scanned);
    let name = files::name(&open.path);
    let mut found = None;
    if matches!(open.rest, Rest::Torn) {
        let bytes = std::fs::read(&open.path)?;
        let torn = &bytes[usize::try_from(open.len)
            .unwrap_or(usize::MAX)
            .min(bytes.len())..];
        let hash: [u8; 32] = Sha256::digest(torn).into();
        let count = torn.len();
        let hash = Head { seq: 0, hash }.to_string();
        let hash = hash.trim_start_matches("0:");
        found = Some(Record::of(
            Event::Torn,
            format!(
                "{name}: {count} bytes of a record that was not finished are cut off; their SHA-256 is {hash}"
            ),
        ));
        let file = OpenOptions::new().write(true).open(&open.path)?;
        file.set_len(open.len)?;
        file.sync_all()?;
    }
    let file = OpenOptions::new().append(true).open(&open.path)?;
    let len = file.metadata()?.len();
    Ok(Recovered {
        head: last,
        open: Some((file, len)),
        found,
    })
}

fn damaged(what: String) -> Record {
    Record::of(Event::Damaged, what)
}

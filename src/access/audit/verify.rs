use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::AuditError;
use super::chain::{Head, Line};
use super::files::{self, Lines, Piece};
use super::record::Event;

/// More are not told: one is enough to know.
const MOST: usize = 100;
/// Whose head it is that is beside the files.
const NOTED: &str = "the noted";

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name. None: it is about all of them.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u64>,
    pub what: String,
}

/// What is there, and what is not.
#[derive(Debug, Default)]
pub struct Verified {
    pub files: usize,
    pub records: u64,
    /// Of the oldest record that is there.
    pub first: Option<u64>,
    pub head: Head,
    pub findings: Vec<Finding>,
    /// What should be known, and is no damage.
    pub notices: Vec<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}")?;
            if let Some(line) = self.line {
                write!(f, ", line {line}")?;
            }
            write!(f, ": ")?;
        }
        f.write_str(&self.what)
    }
}

/// Whether all records in this folder are as they were written, and all that there were up to these heads, which the log has. It may be
/// written to meanwhile.
///
/// # Errors
/// The files cannot be read.
pub fn verify(folder: &Path, heads: &[Head]) -> Result<Verified, AuditError> {
    let failed = AuditError::io("read", folder);
    read(folder, heads).map_err(failed)
}

fn read(folder: &Path, heads: &[Head]) -> io::Result<Verified> {
    // Before the files: what is noted later may be of records that are read no more.
    let noted = files::noted_head(folder)?;
    let all = files::list(folder)?;
    let mut check = Check::default();
    let mut heads: Vec<(Head, &str)> = heads.iter().map(|head| (*head, "the log's")).collect();
    match noted {
        Some(Ok(head)) => heads.push((head, NOTED)),
        Some(Err(why)) => check.find(Some("head"), None, format!("it is no head: {why}")),
        None if all.is_empty() => {}
        None => check
            .verified
            .notices
            .push("no head is noted beside the files".to_string()),
    }
    check.wanted = heads.iter().map(|(head, _)| head.seq).collect();
    let last = all.len().saturating_sub(1);
    for (at, (number, path)) in all.iter().enumerate() {
        check.file(*number, path, at == last)?;
    }
    check.begins();
    for (head, whose) in heads {
        check.head(head, whose);
    }
    Ok(check.verified)
}

#[derive(Debug, Default)]
struct Check {
    verified: Verified,
    /// What the next record follows. None: it is the first, or the one before is damaged.
    last: Option<Head>,
    /// A line was none.
    is_flawed: bool,
    /// What the first one follows.
    begins: Option<Head>,
    /// Last records of what was removed.
    removed: Vec<Head>,
    /// Records that heads are of, and what was found there.
    wanted: BTreeSet<u64>,
    found: Vec<Head>,
}

impl Check {
    fn find(&mut self, file: Option<&str>, line: Option<u64>, what: String) {
        if self.verified.findings.len() < MOST {
            self.verified.findings.push(Finding {
                file: file.map(str::to_string),
                line,
                what,
            });
        }
    }

    fn file(&mut self, number: u64, path: &Path, is_last: bool) -> io::Result<()> {
        let name = files::name(path);
        self.verified.files += 1;
        let mut lines = Lines::open(path)?;
        let mut is_first = true;
        while let Some(piece) = lines.next()? {
            let (at, is_begin) = (Some(lines.number), std::mem::take(&mut is_first));
            let line = match piece {
                Piece::Line(line) => Line::read(&line).map_err(|flaw| flaw.to_string()),
                Piece::Endless => Err("it is longer than any record".to_string()),
                Piece::Rest(rest) if is_last => {
                    let bytes = rest.len();
                    self.verified.notices.push(format!(
                        "{name}, line {}: {bytes} bytes of a record that is not finished: it is being written, or a crash has torn it",
                        lines.number
                    ));
                    continue;
                }
                Piece::Rest(_) => Err("its end is cut off".to_string()),
            };
            let line = match line {
                Ok(line) => line,
                Err(flaw) => {
                    self.find(Some(&name), at, flaw);
                    self.is_flawed = true;
                    self.last = None;
                    continue;
                }
            };
            if is_begin && line.seq != number {
                let what = format!("it begins with record {}", line.seq);
                self.find(Some(&name), at, what);
            }
            self.line(&name, at, line);
        }
        Ok(())
    }

    fn line(&mut self, name: &str, at: Option<u64>, line: Line) {
        let seq = line.seq;
        match self.last {
            Some(last) if !last.precedes(&line) => {
                let what = match seq.checked_sub(last.seq + 1) {
                    Some(0) => format!("record {seq} follows another one than record {}", last.seq),
                    Some(1) => format!("record {} is missing before it", last.seq + 1),
                    Some(_) => format!(
                        "records {} to {} are missing before it",
                        last.seq + 1,
                        seq - 1
                    ),
                    None => format!("record {seq} comes behind record {}", last.seq),
                };
                self.find(Some(name), at, what);
            }
            _ => {}
        }
        if self.verified.records == 0 && !self.is_flawed {
            self.begins = Some(line.before());
        }
        self.verified.records += 1;
        self.verified.first.get_or_insert(seq);
        if self.wanted.contains(&seq) {
            self.found.push(line.head());
        }
        let detail = line.record.detail.as_deref().unwrap_or_default();
        match line.record.event {
            Event::Removed => {
                let through = line.record.through.as_deref();
                self.removed
                    .extend(through.and_then(|head| head.parse::<Head>().ok()));
            }
            Event::Damaged => {
                let what = format!("record {seq} says what a start has found: {detail}");
                self.find(Some(name), at, what);
            }
            Event::Torn => self
                .verified
                .notices
                .push(format!("record {seq} says that a crash was met: {detail}")),
            _ => {}
        }
        let head = line.head();
        self.last = Some(head);
        if head.seq >= self.verified.head.seq {
            self.verified.head = head;
        }
    }

    /// What is missing before the first record was removed, and a record says so.
    fn begins(&mut self) {
        let Some(begins) = self.begins else {
            return;
        };
        if begins == Head::default() || self.removed.contains(&begins) {
            return;
        }
        let what = match begins.seq {
            0 => "the first record says that there was one before it".to_string(),
            1 => "record 1 is missing, and no record says that it was removed".to_string(),
            last => format!(
                "records 1 to {last} are missing, and no record says that they were removed"
            ),
        };
        self.find(None, None, what);
    }

    fn head(&mut self, head: Head, whose: &str) {
        let Head { seq, .. } = head;
        if seq == 0 || self.found.contains(&head) {
            return;
        }
        let newest = self.verified.head.seq;
        if seq > newest {
            let what = match newest {
                0 => format!("{whose} head is of record {seq}, and there is none"),
                _ => format!(
                    "the end is cut off: {whose} head is of record {seq}, and there are records up to {newest}"
                ),
            };
            self.find(None, None, what);
        } else if self.begins.is_some_and(|begins| begins.seq >= seq) {
            // The head is the hash of all before, too.
            let what = format!("{whose} head is of record {seq}, which was removed");
            match whose {
                _ if self.begins == Some(head) => {}
                // It is of one of the newest.
                NOTED => self.find(None, None, what),
                _ => self.verified.notices.push(what),
            }
        } else {
            let what = format!("record {seq} is not the one that {whose} head is of");
            self.find(None, None, what);
        }
    }
}

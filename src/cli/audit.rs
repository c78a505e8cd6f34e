use super::args::{Audit, AuditCommand, Verify};
use super::failure::{Failure, Result};
use super::output::say;
use crate::access::audit::{self, FOLDER, Verified};

/// `belvedere audit …`
pub fn run(arguments: Audit) -> Result<()> {
    match arguments.command {
        AuditCommand::Verify(arguments) => verify(&arguments),
    }
}

fn verify(arguments: &Verify) -> Result<()> {
    let folder = arguments.data.join(FOLDER);
    if !arguments.data.is_dir() {
        let place = arguments.data.display();
        return Err(Failure::usage(format!(
            "there is no data directory {place}"
        )));
    }
    let verified = audit::verify(&folder, &arguments.heads);
    let verified = verified.map_err(|e| Failure::new(e.to_string()))?;
    for notice in &verified.notices {
        say(&format!("notice: {notice}\n"))?;
    }
    for finding in &verified.findings {
        say(&format!("{finding}\n"))?;
    }
    match verified.findings.len() {
        0 => say(&summary(&verified)),
        1 => Err(damaged("the audit is not as it was written")),
        many => Err(damaged(&format!(
            "the audit is not as it was written, in {many} places"
        ))),
    }
}

fn damaged(message: &str) -> Failure {
    Failure::new(message).help(
        "Keep a copy of its files as they are now, and compare with one from before. The server goes on behind what there is",
    )
}

fn summary(verified: &Verified) -> String {
    let Some(first) = verified.first else {
        return "no records\n".to_string();
    };
    let (records, files, head) = (verified.records, verified.files, verified.head);
    let files = match files {
        1 => "1 file".to_string(),
        files => format!("{files} files"),
    };
    format!(
        "records {first} to {} in {files}, {records} in all, are as they were written\nhead: {head}\n",
        head.seq
    )
}

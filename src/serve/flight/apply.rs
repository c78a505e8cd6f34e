//! The action `belvedere.apply`: files of definitions as one change, checked or applied. Its body and its one result
//! are JSON; the forms stand here for both ends.

use std::path::PathBuf;

use belvedere_sql::Statement;
use serde::{Deserialize, Serialize};
use tonic::Status;

use super::status::{OrStatus, status};
use crate::engine::{Action, ApplyOptions, Change, Session, SqlFile};
use crate::error::Error;
use crate::serve::paths::refuse_relative;

pub(super) const APPLY: &str = "belvedere.apply";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub files: Vec<File>,
    /// Drop what no file defines.
    #[serde(default)]
    pub prune: bool,
    /// Validate, and change nothing.
    #[serde(default)]
    pub check_only: bool,
    /// Also list definitions without an owner and the like.
    #[serde(default)]
    pub strict: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// As errors name it.
    pub name: String,
    pub text: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub changes: Vec<RemoteChange>,
}

/// A difference between the files and what runs on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteChange {
    /// `create`, `replace`, `keep`, `drop`, `extra` or `notice`.
    pub action: String,
    /// `source`, `schema`, `view` or `comment`.
    pub kind: String,
    pub name: String,
    pub detail: Option<String>,
}

impl From<Change> for RemoteChange {
    fn from(change: Change) -> Self {
        let action = match change.action {
            Action::Create => "create",
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::Extra => "extra",
            Action::Notice => "notice",
        };
        Self {
            action: action.to_string(),
            kind: change.kind.to_string(),
            name: change.name,
            detail: change.detail,
        }
    }
}

pub(super) async fn apply(session: &Session, body: &[u8]) -> Result<Vec<u8>, Status> {
    let request: Request = serde_json::from_slice(body).map_err(|e| {
        Status::invalid_argument(format!("{APPLY}: the body is not the JSON it takes: {e}"))
    })?;
    for file in &request.files {
        refuse_relative_paths(file)?;
    }
    let files = request.files.into_iter().map(|file| SqlFile {
        name: file.name,
        text: file.text,
        base_dir: PathBuf::new(),
    });
    let options = ApplyOptions {
        prune: request.prune,
        check_only: request.check_only,
        strict: request.strict,
    };
    let changes = session.apply(files.collect(), options).await.or_status()?;
    let reply = Reply {
        changes: changes.into_iter().map(RemoteChange::from).collect(),
    };
    serde_json::to_vec(&reply).map_err(|e| Status::internal(e.to_string()))
}

fn refuse_relative_paths(file: &File) -> Result<(), Status> {
    let at = |line: u64, message: &str| {
        let message = format!("{}, line {line}: {message}", file.name);
        status(&Error::Invalid {
            message,
            help: None,
        })
    };
    let statements = belvedere_sql::parse(&file.text).map_err(|e| at(e.line, &e.to_string()))?;
    for spanned in statements {
        if let Statement::CreateSource(source) = &spanned.statement {
            refuse_relative(&source.url).map_err(|e| at(spanned.line, &e.to_string()))?;
        }
    }
    Ok(())
}

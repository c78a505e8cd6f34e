use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Which events are recorded: each level has those of the levels before it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// None.
    None,
    /// Who has logged in, or was refused; tokens.
    Logins,
    /// Definitions, users, grants; and every statement that was refused.
    Definitions,
    /// `INSERT`, `UPDATE`, `DELETE`, `COPY … TO`.
    #[default]
    Writes,
    /// Every statement.
    All,
}

impl Level {
    /// Their names, as they are given.
    pub const NAMES: [&str; 5] = ["none", "logins", "definitions", "writes", "all"];
}

impl FromStr for Level {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "none" => Ok(Self::None),
            "logins" => Ok(Self::Logins),
            "definitions" => Ok(Self::Definitions),
            "writes" => Ok(Self::Writes),
            "all" => Ok(Self::All),
            _ => Err(format!("write one of {}", Self::NAMES.join(", "))),
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Self::NAMES[*self as usize])
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The first record since a process has opened the data directory.
    Started,
    /// Somebody has proved who he is, or has not.
    Login,
    /// One was made, or ended.
    Token,
    /// A statement that changes something is about to be carried out.
    Begun,
    /// A statement has ended.
    #[default]
    Statement,
    /// The oldest file is removed: there are too many.
    Removed,
    /// A crash has left half a record, which is cut off.
    Torn,
    /// While nothing could be written, refusals came for which there was no room.
    Lost,
    /// The chain was not whole when a process has opened it.
    Damaged,
}

impl Event {
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Login => "login",
            Self::Token => "token",
            Self::Begun => "begun",
            Self::Statement => "statement",
            Self::Removed => "removed",
            Self::Torn => "torn",
            Self::Lost => "lost",
            Self::Damaged => "damaged",
        }
    }
}

/// Where somebody comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// None: it is in this process.
    pub protocol: Option<&'static str>,
    pub address: Option<IpAddr>,
}

impl Origin {
    #[cfg(feature = "serve")]
    pub fn new(protocol: &'static str, address: Option<IpAddr>) -> Self {
        Self {
            protocol: Some(protocol),
            address: address.map(|address| address.to_canonical()),
        }
    }
}

/// What is written of one event. What an event has not is left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub event: Event,
    /// None: the administrator, who has not logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// How somebody has proved who he is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// Tables and views that the statement names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    /// Policies and masks that were applied to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Vec<String>>,
    /// That were answered, or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// `ok`, or the SQLSTATE of its error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    /// The record of when it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<u64>,
    /// How many such events it stands for, if more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Of what was removed: the last record, `SEQ:HASH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
}

impl Record {
    /// Of something that the audit has to say of itself.
    pub fn of(event: Event, detail: impl Into<String>) -> Self {
        Self {
            event,
            detail: Some(detail.into()),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn from(mut self, origin: Origin) -> Self {
        self.protocol = Some(origin.protocol.unwrap_or("embedded").into());
        self.address = origin.address;
        self
    }

    /// What it takes in memory, about.
    pub(super) fn size(&self) -> usize {
        let texts = [&self.statement, &self.detail];
        let texts = texts.into_iter().flatten().map(String::len);
        let lists = [Some(&self.objects), self.parameters.as_ref()];
        let lists = lists.into_iter().flatten().flatten().map(String::len);
        size_of::<Self>() + texts.chain(lists).sum::<usize>()
    }
}

//! What a source system implements to become a catalog of tables in Belvedere.
//!
//! The one central type is [`Source`]: it discovers its [`Table`]s, says which [`Fragment`]s of a query it can answer
//! ([`Capabilities`]) and answers them as streams of Arrow batches. Everything else here is what travels through that
//! door.
//!
//! | file | owns |
//! |---|---|
//! | `source.rs` | [`Connector`] (opens sources), [`Source`], scans |
//! | `config.rs` | [`SourceConfig`]: URL, options, secrets by reference |
//! | `calm.rs` | [`Limits`]: what a source is asked at most |
//! | `table.rs` | what discovery finds: tables, columns, keys |
//! | `histogram.rs` | [`Histogram`]: how a column's values are spread |
//! | `fragment.rs` | [`Fragment`]: the closed algebra of what can be asked |
//! | `expr.rs` | typed scalar expressions, aggregates, literals |
//! | `window.rs` | [`Window`]: a value of each row, from the rows around it |
//! | `capability.rs` | [`Capabilities`]: exact, superset or no, and why |
//! | `change.rs` | [`Snapshot`], [`ChangeStream`], [`Transaction`]: what a source has, and what changes in it |
//! | `position.rs` | [`Position`]: a place in a source's log |
//! | `write.rs` | [`Write`]: what changes in one table, as one transaction of its source |
//! | `export.rs` | [`Export`]: rows written to a place outside, all of them or none |
//! | `error.rs` | [`Error`]: a stable code, where, why, what to do |
//!
//! *Invariant:* this crate does no I/O and knows no engine: no DataFusion (but for the optional feature
//! `table-provider`, which the files connector alone uses).

mod calm;
mod capability;
mod change;
mod config;
mod error;
mod export;
mod expr;
mod fragment;
mod histogram;
mod leakproof;
mod position;
mod source;
mod table;
mod window;
mod write;

#[cfg(feature = "table-provider")]
pub use calm::Door;
pub use calm::{Limits, Spent, StatementContext};
pub use capability::{Capabilities, Differs, Support};
pub use change::{Capture, Captured, Change, ChangeStream, Lag, Snapshot, Transaction, Unchanged};
pub use config::{OptionSpec, Secret, SourceConfig, with_unit};
pub use error::{Code, Constraint, Details, Error, Kind, Result};
pub use export::{Export, ExportRequest, ExportWriter, Exported};
pub use expr::{
    Aggregate, AggregateFunction, BinaryOp, DatePart, Expr, ExprKind, Function, Literal, SortKey,
    UnaryOp,
};
pub use fragment::{Fragment, JoinKind, Rel, TableRef};
pub use histogram::{Histogram, is_measured, measure};
pub use position::Position;
pub use source::{BatchStream, Connector, ScanRequest, Source};
pub use table::{
    COLLATION, Column, ForeignKey, NATIVE_TYPE, PRIMARY_KEY, Table, TableKind, holds_primary_key,
};
pub use window::{Bound, Frame, Window, WindowFunction};
pub use write::{Each, Edit, Write, Written, constant, decimal_text, is_still};

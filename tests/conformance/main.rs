//! The one conformance suite over every connector, each against the real system.
//!
//! `BELVEDERE_CONFORMANCE=part` runs only behaviours whose name contains that part.

#[cfg(any(feature = "files", feature = "sqlite"))]
mod cut;
#[cfg(feature = "files")]
mod files;
mod memory;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

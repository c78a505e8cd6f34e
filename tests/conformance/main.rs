//! The one conformance suite over every connector, each against the real system.
//!
//! `BELVEDERE_CONFORMANCE=part` runs only behaviours whose name contains that part.
//!
//! Not yet here, each with behaviours that do not pass: `files`, `sqlite`, `postgres`, `mysql`.

mod memory;

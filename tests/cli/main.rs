//! The binary, as a person or a script runs it.
//!
//! | file | owns |
//! |---|---|
//! | `support.rs` | running the binary in a folder of its own; a server that ends with its test |
//! | `sql.rs` | `sql`: statements, formats, errors, exit codes |
//! | `serve.rs` | `serve` and `--connect`; one process per data directory |
//! | `apply.rs` | `apply` and `check` |
//! | `audit.rs` | `audit verify`, over what servers have recorded |
//! | `demo.rs` | `demo` |
//! | `help.rs` | the help texts |
//! | `docs.rs` | the links in the documents |

mod apply;
mod audit;
mod demo;
mod docs;
mod help;
mod serve;
mod sql;
mod support;

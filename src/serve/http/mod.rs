//! HTTP: rows of views by key, by columns and in pages; SQL; and what monitors ask for.
//!
//! The central type is [`HttpServer`]: bound to an address, it serves one [`Engine`](crate::Engine) until told to stop. In flow
//! requests; out flow rows as JSON or Arrow. It keeps no sessions: each request is one of its own, with the settings that
//! its headers say, and whatever a client can make the server hold is bounded.
//!
//! A request's way: `server.rs` accepts its connection, `door.rs` lets it in and finds who answers it. Of a view, `rows.rs`
//! makes the statement that its path and query mean, which `shapes.rs` has prepared already if such a one was asked for
//! before: a key of a kept view is then looked up without anything being planned. Answers of `sql.rs` are sent as they
//! arrive (`stream.rs`), all others are whole before they begin, and have an `ETag` (`reply.rs`).
//!
//! | file | owns |
//! |---|---|
//! | `server.rs` | [`HttpServer`]: bind, run, stop |
//! | `line.rs` | a connection whose client has to read |
//! | `door.rs` | [`Door`](door::Door): every request's entry; which path is whose |
//! | `request.rs` | what a request says: names, query, settings, formats, body |
//! | `rows.rs` | `/v1/views/…`: one row, a page |
//! | `batch.rs` | `/v1/views/…`: the rows of many keys |
//! | `paging.rs` | the order of a page's rows, and where the next one begins |
//! | `shapes.rs` | [`Shapes`](shapes::Shapes): statements that are prepared, by what they ask for |
//! | `sql.rs` | `/v1/sql` |
//! | `values.rs` | values as clients write them |
//! | `json.rs` | values as they are told |
//! | `stream.rs` | rows in a format, sent as they arrive |
//! | `reply.rs` | answers that are whole: formats, `ETag` |
//! | `freshness.rs` | what an answer's headers say of its age |
//! | `problem.rs` | [`Problem`](problem::Problem): errors |
//! | `openapi.rs` | `/openapi.json` |
//! | `metrics.rs` | `/metrics` |

mod batch;
mod door;
mod freshness;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod json;
mod line;
mod metrics;
mod numbers;
mod openapi;
mod paging;
mod problem;
mod reply;
mod request;
mod rows;
mod server;
mod shapes;
mod sql;
mod stream;
mod values;

pub use server::{Bound, HttpServer};

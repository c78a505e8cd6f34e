//! PostgreSQL's protocol, as its clients see it.

mod abuse;
mod access;
mod audit;
mod copies;
mod cursors;
mod hostile;
mod lookups;
#[path = "../served.rs"]
mod served;
mod sessions;
mod statements;
mod support;
mod transactions;
mod values;

//! HTTP, as its clients see it.

mod abuse;
mod access;
mod certificates;
mod docs;
mod hostile;
mod monitors;
mod pages;
mod rows;
#[path = "../served.rs"]
mod served;
mod statements;
mod support;

//! HTTP, as its clients see it.

mod abuse;
mod docs;
mod monitors;
mod pages;
mod rows;
#[path = "../served.rs"]
mod served;
mod statements;
mod support;

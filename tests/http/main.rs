//! HTTP, as its clients see it.

mod abuse;
mod docs;
mod monitors;
mod pages;
mod rows;
mod statements;
mod support;

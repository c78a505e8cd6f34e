//! Real servers, as the connectors' own tests start them.

#[path = "../../connectors/mysql/tests/support/mod.rs"]
pub mod mysql;
#[path = "../../connectors/postgres/tests/it/server.rs"]
#[allow(dead_code)]
pub mod postgres;

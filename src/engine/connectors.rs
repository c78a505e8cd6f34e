//! The one place that names connectors.

use std::sync::Arc;

use belvedere_connector::Connector;

/// The connectors this build has, one feature each.
pub(super) fn built_in() -> Vec<Arc<dyn Connector>> {
    vec![
        #[cfg(feature = "postgres")]
        Arc::new(belvedere_postgres::PostgresConnector),
        #[cfg(feature = "mysql")]
        Arc::new(belvedere_mysql::MysqlConnector),
        #[cfg(feature = "files")]
        Arc::new(belvedere_files::FilesConnector),
        #[cfg(feature = "sqlite")]
        Arc::new(belvedere_sqlite::SqliteConnector),
    ]
}

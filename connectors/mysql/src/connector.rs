use std::sync::Arc;

use belvedere_connector::{Connector, OptionSpec, Result, Source, SourceConfig};

use crate::settings::OPTIONS;
use crate::source::MysqlSource;

/// Sources at `mysql://user@host:3306/database` (or `mariadb://…`).
#[derive(Debug, Clone, Copy, Default)]
pub struct MysqlConnector;

impl Connector for MysqlConnector {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["mysql", "mariadb"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn open(&self, config: SourceConfig) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(MysqlSource::open(&config)?))
    }
}

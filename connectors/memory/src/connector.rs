use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use belvedere_connector::{Code, Connector, Error, OptionSpec, Result, Source, SourceConfig};

use crate::source::MemorySource;

/// Opens the sources it was given, by name: `memory:shop`. Clones know the same sources.
#[derive(Debug, Clone, Default)]
pub struct MemoryConnector {
    sources: Arc<Mutex<BTreeMap<String, MemorySource>>>,
}

impl MemoryConnector {
    pub fn new() -> Self {
        Self::default()
    }

    /// Make a source known under its name, instead of another of that name.
    #[must_use]
    pub fn with(self, source: MemorySource) -> Self {
        self.add(source);
        self
    }

    pub fn add(&self, source: MemorySource) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.insert(source.name().to_string(), source);
    }
}

impl Connector for MemoryConnector {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[OptionSpec {
            name: "writable",
            help: "whether INSERT, UPDATE and DELETE are taken (false)",
            secret: false,
        }]
    }

    fn open(&self, config: SourceConfig) -> Result<Arc<dyn Source>> {
        let invalid =
            |message: String| Error::new(Code::InvalidUrl, message).at_source(&config.name);
        let name = config
            .url
            .strip_prefix("memory:")
            .filter(|name| !name.is_empty())
            .ok_or_else(|| {
                invalid(format!(
                    "the URL of a source in memory is memory:name, not {}",
                    config.url
                ))
            })?;
        let is_writable = config.is_writable()?;
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        match sources.get(name) {
            Some(source) => Ok(Arc::new(source.opened_as(&config.name, is_writable))),
            None => Err(invalid(format!("there is no source {name} in memory"))),
        }
    }
}

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::definitions::{Definitions, Discovery, ObjectId, SourceDefinition, ViewDefinition};

/// One JSON value per definition, keyed `kind/name`.
const RECORDS: TableDefinition<&str, &str> = TableDefinition::new("definitions");
/// The layout of the records. A newer one is refused.
const FORMAT: u32 = 1;
const FORMAT_KEY: &str = "format";
const FILE: &str = "catalog.redb";

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the data directory {0} is in use by another process")]
    InUse(String),
    #[error(
        "the data directory {path} was written by a newer version (format {found}, this one knows {FORMAT})"
    )]
    NewerFormat { path: String, found: u32 },
    #[error("the catalog cannot be {doing}")]
    Io {
        doing: &'static str,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the definition {key} in the catalog is damaged")]
    Damaged {
        key: String,
        #[source]
        cause: serde_json::Error,
    },
}

impl StoreError {
    fn io<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        doing: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |cause| Self::Io {
            doing,
            cause: cause.into(),
        }
    }
}

/// The durable catalog: a redb file in the data directory, held by one process. Without a directory it forgets.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

impl Store {
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(data_dir).map_err(StoreError::io("created"))?;
        let database = Database::create(data_dir.join(FILE)).map_err(|e| match e {
            redb::DatabaseError::DatabaseAlreadyOpen => {
                StoreError::InUse(data_dir.display().to_string())
            }
            other => StoreError::io("opened")(other),
        })?;
        let store = Self { database };
        store.check_format(data_dir)?;
        Ok(store)
    }

    pub fn in_memory() -> Result<Self, StoreError> {
        let backend = redb::backends::InMemoryBackend::new();
        let database = Database::builder()
            .create_with_backend(backend)
            .map_err(StoreError::io("opened"))?;
        let store = Self { database };
        store.check_format(Path::new("(memory)"))?;
        Ok(store)
    }

    fn check_format(&self, path: &Path) -> Result<(), StoreError> {
        match self.records()?.get(FORMAT_KEY) {
            None => self.write(&BTreeMap::new(), &record(FORMAT_KEY, &FORMAT)?),
            Some(text) => match decode(FORMAT_KEY, text)? {
                FORMAT => Ok(()),
                found => Err(StoreError::NewerFormat {
                    path: path.display().to_string(),
                    found,
                }),
            },
        }
    }

    pub fn load(&self) -> Result<Definitions, StoreError> {
        let mut definitions = Definitions::default();
        for (key, text) in self.records()? {
            match key.split_once('/') {
                Some(("source", _)) => {
                    let source: SourceDefinition = decode(&key, &text)?;
                    definitions
                        .sources
                        .insert(source.name.clone(), Arc::new(source));
                }
                Some(("view", _)) => {
                    let view: ViewDefinition = decode(&key, &text)?;
                    let name = (view.schema.clone(), view.name.clone());
                    definitions.views.insert(name, Arc::new(view));
                }
                Some(("schema", name)) => {
                    definitions.schemas.insert(name.to_string());
                }
                Some(("discovery", source)) => {
                    let discovery: Discovery = decode(&key, &text)?;
                    definitions
                        .discoveries
                        .insert(source.to_string(), Arc::new(discovery));
                }
                Some(("comment", _)) => {
                    let Comment { on, text } = decode(&key, &text)?;
                    definitions.comments.insert(on, text);
                }
                _ => {}
            }
        }
        Ok(definitions)
    }

    /// Make `new` durable in one transaction, given that `old` is.
    pub fn commit(&self, old: &Definitions, new: &Definitions) -> Result<(), StoreError> {
        self.write(&encode(old)?, &encode(new)?)
    }

    fn records(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::io("read"))?;
        let table = match transaction.open_table(RECORDS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
            Err(e) => return Err(StoreError::io("read")(e)),
        };
        let mut records = BTreeMap::new();
        for entry in table.iter().map_err(StoreError::io("read"))? {
            let (key, value) = entry.map_err(StoreError::io("read"))?;
            records.insert(key.value().to_string(), value.value().to_string());
        }
        Ok(records)
    }

    fn write(
        &self,
        old: &BTreeMap<String, String>,
        new: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let transaction = self
            .database
            .begin_write()
            .map_err(StoreError::io("written"))?;
        {
            let mut table = transaction
                .open_table(RECORDS)
                .map_err(StoreError::io("written"))?;
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                table
                    .remove(key.as_str())
                    .map_err(StoreError::io("written"))?;
            }
            for (key, value) in new
                .iter()
                .filter(|(key, value)| old.get(*key) != Some(value))
            {
                table
                    .insert(key.as_str(), value.as_str())
                    .map_err(StoreError::io("written"))?;
            }
        }
        transaction.commit().map_err(StoreError::io("written"))
    }
}

#[derive(Serialize, Deserialize)]
struct Comment {
    on: ObjectId,
    text: String,
}

fn encode(definitions: &Definitions) -> Result<BTreeMap<String, String>, StoreError> {
    let mut records = BTreeMap::new();
    for (name, source) in &definitions.sources {
        records.append(&mut record(format!("source/{name}"), source)?);
    }
    for schema in &definitions.schemas {
        records.append(&mut record(format!("schema/{schema}"), &())?);
    }
    for view in definitions.views.values() {
        records.append(&mut record(format!("view/{}", view.id()), view)?);
    }
    for (source, discovery) in &definitions.discoveries {
        records.append(&mut record(format!("discovery/{source}"), discovery)?);
    }
    for (on, text) in &definitions.comments {
        let comment = Comment {
            on: on.clone(),
            text: text.clone(),
        };
        records.append(&mut record(format!("comment/{on}"), &comment)?);
    }
    Ok(records)
}

fn record<T: Serialize>(
    key: impl Into<String>,
    value: &T,
) -> Result<BTreeMap<String, String>, StoreError> {
    let key = key.into();
    match serde_json::to_string(value) {
        Ok(text) => Ok(BTreeMap::from([(key, text)])),
        Err(cause) => Err(StoreError::Damaged { key, cause }),
    }
}

fn decode<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|cause| StoreError::Damaged {
        key: key.to_string(),
        cause,
    })
}

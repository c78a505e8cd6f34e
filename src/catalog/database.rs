//! The file with what is durable: where it is, and what is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::StoreError;

/// One JSON value per definition, keyed `kind/name`.
const RECORDS: TableDefinition<&str, &str> = TableDefinition::new("definitions");
/// What the last checkpoint consists of. Its form is its writer's.
const CHECKPOINT: TableDefinition<&str, &[u8]> = TableDefinition::new("checkpoint");
const MANIFEST_KEY: &str = "manifest";
pub(super) const FILE: &str = "catalog.redb";
/// One that is to take its place.
pub(super) const NEW_FILE: &str = "catalog.redb.new";

/// Definitions as they are written.
pub(super) type Records = BTreeMap<String, String>;

/// Where databases are made.
pub(super) trait Files: fmt::Debug + Send + Sync {
    /// What there is, or an empty one.
    fn open(&self) -> Result<Database, StoreError>;

    /// An empty one beside it.
    fn create(&self) -> Result<Database, StoreError>;

    /// The one that was created takes the place of the other. Durable on return.
    fn replace(&self) -> io::Result<()>;

    fn place(&self) -> String;
}

#[derive(Debug)]
pub(super) struct InFolder(pub(super) PathBuf);

impl Files for InFolder {
    fn open(&self) -> Result<Database, StoreError> {
        std::fs::create_dir_all(&self.0)
            .map_err(|e| StoreError::io("created")(redb::Error::Io(e)))?;
        Database::create(self.0.join(FILE)).map_err(|e| match e {
            redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(self.place()),
            other => StoreError::io("opened")(other),
        })
    }

    fn create(&self) -> Result<Database, StoreError> {
        let path = self.0.join(NEW_FILE);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("written")(redb::Error::Io(e)));
            }
            _ => {}
        }
        Database::create(path).map_err(StoreError::io("written"))
    }

    fn replace(&self) -> io::Result<()> {
        std::fs::rename(self.0.join(NEW_FILE), self.0.join(FILE))?;
        match cfg!(unix) {
            true => File::open(&self.0)?.sync_all(),
            false => Ok(()),
        }
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }
}

#[derive(Debug)]
pub(super) struct InMemory;

impl Files for InMemory {
    fn open(&self) -> Result<Database, StoreError> {
        let backend = redb::backends::InMemoryBackend::new();
        let database = Database::builder().create_with_backend(backend);
        database.map_err(StoreError::io("opened"))
    }

    fn create(&self) -> Result<Database, StoreError> {
        self.open()
    }

    fn replace(&self) -> io::Result<()> {
        Ok(())
    }

    fn place(&self) -> String {
        "(memory)".into()
    }
}

pub(super) fn records(database: &Database) -> Result<Records, StoreError> {
    let transaction = database.begin_read().map_err(StoreError::io("read"))?;
    let table = match transaction.open_table(RECORDS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Records::new()),
        Err(e) => return Err(StoreError::io("read")(e)),
    };
    let mut records = Records::new();
    for entry in table.iter().map_err(StoreError::io("read"))? {
        let (key, value) = entry.map_err(StoreError::io("read"))?;
        records.insert(key.value().to_string(), value.value().to_string());
    }
    Ok(records)
}

pub(super) fn manifest(database: &Database) -> Result<Option<Vec<u8>>, StoreError> {
    let transaction = database.begin_read().map_err(StoreError::io("read"))?;
    let table = match transaction.open_table(CHECKPOINT) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(e) => return Err(StoreError::io("read")(e)),
    };
    let manifest = table.get(MANIFEST_KEY).map_err(StoreError::io("read"))?;
    Ok(manifest.map(|manifest| manifest.value().to_vec()))
}

/// One transaction.
pub(super) fn put(
    database: &Database,
    gone: &[&str],
    changed: &[(&str, &str)],
    manifest: Option<&[u8]>,
) -> Result<(), StoreError> {
    let transaction = database.begin_write();
    let transaction = transaction.map_err(StoreError::io("written"))?;
    {
        let table = transaction.open_table(RECORDS);
        let mut table = table.map_err(StoreError::io("written"))?;
        for key in gone {
            table.remove(key).map_err(StoreError::io("written"))?;
        }
        for (key, value) in changed {
            let put = table.insert(key, value);
            put.map_err(StoreError::io("written"))?;
        }
    }
    if let Some(manifest) = manifest {
        let table = transaction.open_table(CHECKPOINT);
        let mut table = table.map_err(StoreError::io("written"))?;
        let put = table.insert(MANIFEST_KEY, manifest);
        put.map_err(StoreError::io("written"))?;
    }
    transaction.commit().map_err(StoreError::io("written"))
}

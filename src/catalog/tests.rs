//! What the store keeps, and what it does when the disk fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{Database, StorageBackend};

use super::database::{FILE, Files, InFolder, NEW_FILE};
use super::{
    Account, CATALOG, Columns, Definitions, Granted, Grantee, Limit, Login, ObjectId, PUBLIC,
    Privilege, SourceDefinition, Store, StoreError,
};

#[test]
fn definitions_and_a_manifest_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut definitions = Definitions::default();
    let store = Store::open(dir.path()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse(_))));
    assert_eq!(store.manifest(), None);
    let before = definitions.clone();
    definitions.schemas.insert("first".into());
    store.commit(&before, &definitions).unwrap();
    store.commit_manifest(b"one").unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(
        (store.load().unwrap(), store.manifest()),
        (definitions, Some(b"one".into()))
    );
    store.commit_manifest(b"two").unwrap();
    drop(store);
    assert_eq!(
        Store::open(dir.path()).unwrap().manifest(),
        Some(b"two".into())
    );
}

#[test]
fn users_and_grants_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let none = Definitions::default();
    let mut some = none.clone();
    let login = Login {
        verifier: Some("SCRAM-SHA-256$…".into()),
        is_superuser: true,
    };
    for (name, login) in [("ana", Some(login)), ("sales", None)] {
        let account = Account {
            name: name.into(),
            login,
            member_of: BTreeSet::from(["all".to_string()]),
            limits: BTreeMap::from([(Limit::Sessions, 3)]),
            ..Account::default()
        };
        some.accounts.insert(name.into(), account);
    }
    let columns = Columns::These(BTreeSet::from(["id".to_string()]));
    let read = Granted::from([
        (Privilege::Select, columns),
        (Privilege::Insert, Columns::All),
    ]);
    // The view and the source are shown the same.
    let (view, source) = (ObjectId::new([CATALOG, PUBLIC, "x"]), ObjectId::new(["x"]));
    for on in [view, source] {
        for to in [Grantee::Public, Grantee::Account("public".into())] {
            some.grants.insert((on.clone(), to), read.clone());
        }
    }
    store.commit(&none, &some).unwrap();
    let secret = store.secret().unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(
        (store.load().unwrap(), store.secret().unwrap()),
        (some.clone(), secret)
    );
    store.commit(&some, &none).unwrap();
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().load().unwrap(), none);
}

#[test]
fn a_definition_of_an_earlier_version_is_read() {
    let text = r#"{"name":"erp","url":"sqlite:/x","options":{},"about":{"owner":null,"contact":null,"event":null,
        "impact":null,"runbook":null},"comment":null,"owns":[]}"#;
    let source: SourceDefinition = serde_json::from_str(text).unwrap();
    assert_eq!(source.definer, None);
}

/// Files of a folder, on a disk that is full at times.
#[derive(Debug)]
struct Full(InFolder, Arc<AtomicBool>);

impl Files for Full {
    fn open(&self) -> Result<Database, StoreError> {
        std::fs::create_dir_all(&self.0.0).unwrap();
        self.backed(FILE)
    }

    fn create(&self) -> Result<Database, StoreError> {
        let _ = std::fs::remove_file(self.0.0.join(NEW_FILE));
        self.backed(NEW_FILE)
    }

    fn replace(&self) -> io::Result<()> {
        self.0.replace()
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

impl Full {
    fn backed(&self, name: &str) -> Result<Database, StoreError> {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(self.0.0.join(name)).unwrap();
        let backend = Backend(FileBackend::new(file).unwrap(), self.1.clone());
        let database = Database::builder().create_with_backend(backend);
        database.map_err(StoreError::io("opened"))
    }
}

#[derive(Debug)]
struct Backend(FileBackend, Arc<AtomicBool>);

impl Backend {
    fn room(&self) -> io::Result<()> {
        match self.1.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.room()?;
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.0.write(offset, data)
    }
}

#[test]
fn a_full_disk_is_said_and_all_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let files = Full(InFolder(dir.path().into()), full.clone());
    let store = Store::over(Box::new(files)).unwrap();
    let (none, mut some) = (Definitions::default(), Definitions::default());
    some.schemas.insert("kept".into());
    store.commit(&none, &some).unwrap();
    full.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let e = store.commit_manifest(b"manifest").unwrap_err();
        assert_eq!(e.io_kind(), io::ErrorKind::StorageFull, "{e:?}");
        assert_eq!(store.manifest(), None);
    }
    full.store(false, Ordering::Relaxed);
    store.commit_manifest(b"manifest").unwrap();
    store.commit(&some, &none).unwrap();
    store.commit(&none, &some).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(
        (store.load().unwrap(), store.manifest()),
        (some, Some(b"manifest".into()))
    );
}

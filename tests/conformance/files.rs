use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use belvedere_conformance::changes::{Changing, Edit, Line};
use belvedere_conformance::{
    Ability, Definition, Feature, Fixture, Refusal, SqlNames, conformance,
};
use belvedere_connector::Connector;
use belvedere_files::FilesConnector;
use datafusion::arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::object_store::aws::AmazonS3Builder;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path;
use datafusion::object_store::prefix::PrefixStore;
use datafusion::object_store::{ObjectStore, ObjectStoreExt};
use datafusion::parquet::arrow::ArrowWriter;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex;

use super::cut::Cutting;

conformance!(Files::in_a_folder());

mod bucket {
    //! At the server that `BELVEDERE_TEST_S3` names; run by `scripts/test --all s3`.
    super::conformance!(
        #[ignore = "needs an S3-compatible server"]
        super::Files::in_a_bucket()
    );
}

/// Files of a table that is changed.
const FILES: i64 = 4;
/// Between two writers: a file that is written over again and again while it is read is read by nobody.
const PAUSE: Duration = Duration::from_millis(100);

/// A place with a folder of Parquet files for each table.
struct Files {
    name: &'static str,
    store: Arc<dyn ObjectStore>,
    definition: Definition,
    /// The same, but for the place; and but for the secret, where there is one.
    elsewhere: Definition,
    wrong: Option<Definition>,
    /// The place, or a secret.
    folder: tempfile::TempDir,
    is_local: bool,
    cutting: Cutting,
    /// What is in tables that are changed.
    written: Mutex<HashMap<String, Written>>,
    /// Whoever writes.
    writer: Mutex<()>,
}

/// A table that is changed.
#[derive(Clone, Default)]
struct Written {
    /// By their numbers, which say in which file each is.
    rows: BTreeMap<i64, Line>,
    has_more: bool,
    has_no_v: bool,
}

impl Written {
    fn file(&self, number: i64) -> RecordBatch {
        let rows = self.rows.values();
        let rows: Vec<&Line> = rows
            .filter(|row| row.id.rem_euclid(FILES) == number)
            .collect();
        let id: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id)));
        let n: ArrayRef = Arc::new(rows.iter().map(|row| row.n).collect::<Int64Array>());
        let text = rows.iter().map(|row| row.v.as_deref());
        let v: ArrayRef = match self.has_no_v {
            false => Arc::new(text.collect::<StringArray>()),
            true => Arc::new(text.map(|v| v.map(str::as_bytes)).collect::<BinaryArray>()),
        };
        let mut columns = vec![("id", id, false), ("n", n, true), ("v", v, true)];
        if self.has_more {
            let more = rows.iter().map(|_| Some(5)).collect::<Int64Array>();
            columns.push(("more", Arc::new(more), true));
        }
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }
}

impl Files {
    async fn in_a_folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        Self {
            name: "files",
            store: Arc::new(store.with_automatic_cleanup(true)),
            definition: Definition::new(folder.path().display().to_string()),
            elsewhere: Definition::new("/no/such/folder"),
            wrong: None,
            folder,
            is_local: true,
            cutting: Cutting::new(Arc::new(FilesConnector)),
            written: Mutex::default(),
            writer: Mutex::default(),
        }
    }

    async fn in_a_bucket() -> Self {
        let variable =
            |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        let endpoint = variable("BELVEDERE_TEST_S3");
        let store = AmazonS3Builder::new()
            .with_endpoint(&endpoint)
            .with_allow_http(true)
            .with_bucket_name("belvedere")
            .with_access_key_id(variable("BELVEDERE_TEST_S3_KEY"))
            .with_secret_access_key(variable("BELVEDERE_TEST_S3_SECRET"))
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "not the secret").unwrap();
        let definition = |bucket: &str, secret: &str| {
            Definition::new(format!("s3://{bucket}/conformance/"))
                .with("endpoint", &endpoint)
                .with("access_key_id", "env:BELVEDERE_TEST_S3_KEY")
                .with("secret_access_key", secret)
        };
        Self {
            name: "files (S3)",
            store: Arc::new(PrefixStore::new(store, "conformance")),
            definition: definition("belvedere", "env:BELVEDERE_TEST_S3_SECRET"),
            elsewhere: definition("no-such-bucket", "env:BELVEDERE_TEST_S3_SECRET"),
            wrong: Some(definition(
                "belvedere",
                &format!("file:{}", secret.display()),
            )),
            folder,
            is_local: false,
            cutting: Cutting::new(Arc::new(FilesConnector)),
            written: Mutex::default(),
            writer: Mutex::default(),
        }
    }

    async fn write(&self, path: &Path, data: &RecordBatch) {
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, data.schema(), None).unwrap();
        writer.write(data).unwrap();
        writer.close().unwrap();
        self.store.put(path, bytes.into()).await.unwrap();
    }

    /// Change a table, and write those of its files that are others then.
    async fn rewrite(&self, table: &str, change: impl FnOnce(&mut Written)) {
        let mut written = self.written.lock().await;
        let table_is = written.get_mut(table).unwrap();
        let before: Vec<_> = (0..FILES).map(|number| table_is.file(number)).collect();
        change(table_is);
        for (number, before) in (0..FILES).zip(before) {
            let after = table_is.file(number);
            if after != before {
                let path = named(table, &format!("{number}.parquet"));
                self.write(&path, &after).await;
            }
        }
    }

    /// Remove what is in the folder, or everything.
    async fn delete(&self, folder: Option<Path>) {
        let found = self.store.list(folder.as_ref());
        let found = found.map_ok(|object| object.location).boxed();
        let deleted = self.store.delete_stream(found);
        deleted.try_collect::<Vec<_>>().await.unwrap();
    }
}

/// As it is written: `Path::from` would escape what is not ASCII.
fn named(table: &str, file: &str) -> Path {
    Path::parse(format!("{table}/{file}")).unwrap()
}

#[async_trait]
impl Fixture for Files {
    fn name(&self) -> &'static str {
        self.name
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(self.cutting.clone())
    }

    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    async fn clear(&self) {
        self.written.lock().await.clear();
        self.delete(None).await;
    }

    async fn execute(&self, sql: &str) {
        panic!("files know no SQL: {sql}");
    }

    fn sql(&self) -> Option<&dyn SqlNames> {
        None
    }

    async fn put(&self, table: &str, data: &RecordBatch) {
        self.remove(table).await;
        self.write(&named(table, "0.parquet"), data).await;
    }

    async fn double(&self, table: &str) {
        let files: Vec<_> = self
            .store
            .list(Some(&named(table, "")))
            .try_collect()
            .await
            .unwrap();
        for (i, file) in files.iter().enumerate() {
            let copy = format!("{}.parquet", files.len() + i);
            let copy = named(table, &copy);
            self.store.copy(&file.location, &copy).await.unwrap();
        }
    }

    async fn remove(&self, table: &str) {
        self.delete(Some(named(table, ""))).await;
    }

    fn reads(&self, data_type: &DataType) -> Option<DataType> {
        Some(data_type.clone())
    }

    fn pushes(&self, _feature: Feature) -> bool {
        // The engine's own readers do the work: nothing is sent.
        false
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match ability {
            Ability::Keys => Some("files have no keys"),
            Ability::TablesByCase | Ability::ColumnsByCase => None,
            Ability::SeesReads => Some("reading a file holds nothing at the source"),
            Ability::Interrupts => Some("there is no system to break"),
            Ability::Permissions => Some("the tests may run as a user who may read everything"),
            Ability::Rollbacks => Some("a file that is written is there"),
            Ability::Logs => Some("files have no log"),
        }
    }

    fn changing(&self) -> Result<&dyn Changing, &'static str> {
        Ok(self)
    }

    fn refused(&self, how: Refusal) -> Option<Definition> {
        match how {
            Refusal::UnknownPlace => Some(self.elsewhere.clone()),
            Refusal::UnknownHost => {
                let bucket =
                    Definition::new("s3://bucket/").with("endpoint", "http://no-such-host.invalid");
                Some(bucket.with("anonymous", "true"))
            }
            Refusal::WrongPassword => self.wrong.clone(),
        }
    }
}

#[async_trait]
impl Changing for Files {
    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    async fn create(&self, table: &str, _is_keyed: bool) {
        let new = Written::default();
        for number in 0..FILES {
            let name = format!("{number}.parquet");
            self.write(&named(table, &name), &new.file(number)).await;
            if self.is_local {
                // As if it had been there: what was written just now is read twice.
                let path = self.folder.path().join(table).join(name);
                let file = std::fs::File::options().write(true).open(path).unwrap();
                let then = SystemTime::now() - Duration::from_secs(60);
                file.set_modified(then).unwrap();
            }
        }
        self.written.lock().await.insert(table.to_string(), new);
    }

    async fn adopt(&self, _table: &str) {}

    async fn forbid(&self, _table: &str) -> bool {
        false
    }

    async fn transact(&self, _writer: usize, edits: &[(String, Edit)], commits: bool) {
        if !commits {
            return;
        }
        let _alone = self.writer.lock().await;
        let mut of_tables: BTreeMap<&String, Vec<&Edit>> = BTreeMap::new();
        for (table, edit) in edits {
            of_tables.entry(table).or_default().push(edit);
        }
        for (table, edits) in of_tables {
            let change = |table: &mut Written| {
                edits.iter().for_each(|edit| edit.apply(&mut table.rows));
            };
            self.rewrite(table, change).await;
        }
        tokio::time::sleep(PAUSE).await;
    }

    async fn cut(&self) {
        self.cutting.cut();
    }

    async fn lose_log(&self, _source: &str) {}

    async fn add_column(&self, table: &str) {
        self.rewrite(table, |table| table.has_more = true).await;
    }

    async fn drop_column(&self, table: &str) {
        self.rewrite(table, |table| table.has_no_v = true).await;
    }
}

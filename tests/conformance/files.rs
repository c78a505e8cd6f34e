use std::sync::Arc;

use async_trait::async_trait;
use belvedere_conformance::{
    Ability, Definition, Feature, Fixture, Refusal, SqlNames, conformance,
};
use belvedere_connector::Connector;
use belvedere_files::FilesConnector;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::object_store::aws::AmazonS3Builder;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path;
use datafusion::object_store::prefix::PrefixStore;
use datafusion::object_store::{ObjectStore, ObjectStoreExt};
use datafusion::parquet::arrow::ArrowWriter;
use futures::{StreamExt, TryStreamExt};

conformance!(Files::in_a_folder());

mod bucket {
    //! At the server that `BELVEDERE_TEST_S3` names; run by `scripts/test --all s3`.
    super::conformance!(
        #[ignore = "needs an S3-compatible server"]
        super::Files::in_a_bucket()
    );
}

/// A place with a folder of Parquet files for each table.
struct Files {
    name: &'static str,
    store: Arc<dyn ObjectStore>,
    definition: Definition,
    /// The same, but for the place; and but for the secret, where there is one.
    elsewhere: Definition,
    wrong: Option<Definition>,
    /// The place, or a secret.
    _folder: tempfile::TempDir,
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
            _folder: folder,
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
            _folder: folder,
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
        Arc::new(FilesConnector)
    }

    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    async fn clear(&self) {
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
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, data.schema(), None).unwrap();
        writer.write(data).unwrap();
        writer.close().unwrap();
        let path = named(table, "0.parquet");
        self.store.put(&path, bytes.into()).await.unwrap();
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
        }
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

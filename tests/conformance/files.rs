use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use belvedere_conformance::{
    Ability, Definition, Feature, Fixture, Refusal, SqlNames, conformance,
};
use belvedere_connector::Connector;
use belvedere_files::FilesConnector;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::parquet::arrow::ArrowWriter;

conformance!(Files::start());

/// A folder with a folder of Parquet files for each table.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    async fn start() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn table(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[async_trait]
impl Fixture for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(FilesConnector)
    }

    fn definition(&self) -> Definition {
        Definition::new(self.folder.path().display().to_string())
    }

    async fn clear(&self) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
    }

    async fn execute(&self, sql: &str) {
        panic!("files know no SQL: {sql}");
    }

    fn sql(&self) -> Option<&dyn SqlNames> {
        None
    }

    async fn put(&self, table: &str, data: &RecordBatch) {
        let folder = self.table(table);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        std::fs::create_dir(&folder).unwrap();
        let file = std::fs::File::create(folder.join("0.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, data.schema(), None).unwrap();
        writer.write(data).unwrap();
        writer.close().unwrap();
    }

    async fn double(&self, table: &str) {
        let files: Vec<_> = std::fs::read_dir(self.table(table))
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect();
        for (i, file) in files.iter().enumerate() {
            std::fs::copy(
                file,
                self.table(table)
                    .join(format!("{}.parquet", files.len() + i)),
            )
            .unwrap();
        }
    }

    async fn remove(&self, table: &str) {
        std::fs::remove_dir_all(self.table(table)).unwrap();
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
            Refusal::UnknownPlace => Some(Definition::new("/no/such/folder")),
            Refusal::UnknownHost => {
                let bucket =
                    Definition::new("s3://bucket/").with("endpoint", "http://no-such-host.invalid");
                Some(bucket.with("anonymous", "true"))
            }
            Refusal::WrongPassword => None,
        }
    }
}

//! Parquet files as a system of the oracle: small row groups with statistics, so that most are pruned.

use std::collections::HashMap;
use std::fs::File;

use async_trait::async_trait;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::SessionContext;
use tokio::sync::Mutex;

use crate::systems::{System, native, text};
use crate::world::{Kind, Native, Values};

const ROWS_OF_A_GROUP: usize = 3;

/// A folder; its tables are filled by DataFusion's SQL, in memory, and written from there.
pub struct Files {
    folder: tempfile::TempDir,
    filler: SessionContext,
    /// By name.
    created: Mutex<HashMap<String, String>>,
}

impl Files {
    pub fn start() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            filler: SessionContext::new(),
            created: Mutex::default(),
        }
    }

    async fn run(&self, statement: &str) {
        let run = async { self.filler.sql(statement).await?.collect().await };
        run.await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }

    /// All rows, in two files.
    async fn write(&self, table: &str) {
        let rows = self.filler.table(table).await.unwrap();
        let schema = rows.schema().inner().clone();
        let rows = rows.collect().await.unwrap();
        let rows = arrow::compute::concat_batches(&schema, &rows).unwrap();
        let folder = self.folder.path().join(table);
        std::fs::create_dir_all(&folder).unwrap();
        let half = rows.num_rows() / 2;
        for (name, part) in [
            ("a.parquet", rows.slice(0, half)),
            ("b.parquet", rows.slice(half, rows.num_rows() - half)),
        ] {
            let properties = WriterProperties::builder()
                .set_max_row_group_row_count(Some(ROWS_OF_A_GROUP))
                .set_bloom_filter_enabled(true)
                .build();
            let file = File::create(folder.join(name)).unwrap();
            let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).unwrap();
            writer.write(&part).unwrap();
            writer.close().unwrap();
        }
    }
}

#[async_trait]
impl System for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    /// Constants are texts, which are cast: a list of numbers would be of one type that holds none exactly.
    fn natives(&self) -> Vec<Native> {
        const FLOATS: &[&str] = &[
            "'1'", "'0'", "'-0'", "'NaN'", "'0.5'", "'inf'", "'-inf'", "'-1.5'", "'0.1'",
        ];
        const TIMESTAMPS: &[&str] = &[
            "'2024-02-29 12:34:56'",
            "'1970-01-01 00:00:00'",
            "'2024-02-29 00:00:00'",
            "'1969-12-31 23:59:59.999999'",
            "'2024-02-29 12:34:56.789012'",
        ];
        vec![
            native(
                "INT",
                Kind::Int,
                &["'1'", "'0'", "'2'", "'-1'", "'7'", "'2147483647'"],
            ),
            text("VARCHAR", Values::Text),
            native(
                "BIGINT",
                Kind::Int,
                &[
                    "'1'",
                    "'0'",
                    "'2'",
                    "'-1'",
                    "'9223372036854775807'",
                    "'9007199254740993'",
                ],
            ),
            native(
                "SMALLINT",
                Kind::Int,
                &["'1'", "'0'", "'-1'", "'2'", "'32767'"],
            ),
            native(
                "BIGINT UNSIGNED",
                Kind::Int,
                &[
                    "'1'",
                    "'0'",
                    "'2'",
                    "'9223372036854775808'",
                    "'18446744073709551615'",
                ],
            ),
            native(
                "DECIMAL(10,2)",
                Kind::Decimal,
                &[
                    "'1.00'",
                    "'0'",
                    "'0.10'",
                    "'-0.01'",
                    "'12.30'",
                    "'99999999.99'",
                ],
            ),
            native(
                "DECIMAL(30,6)",
                Kind::Decimal,
                &[
                    "'1'",
                    "'0'",
                    "'-0.000001'",
                    "'999999999999999999999999.999999'",
                ],
            ),
            native("DOUBLE", Kind::Float, FLOATS),
            native("REAL", Kind::Float, FLOATS),
            native("BOOLEAN", Kind::Boolean, &["'true'", "'false'"]),
            native(
                "DATE",
                Kind::Date,
                &[
                    "'2024-02-29'",
                    "'1970-01-01'",
                    "'1969-12-31'",
                    "'9999-12-31'",
                ],
            ),
            native("TIMESTAMP(6)", Kind::Timestamp, TIMESTAMPS),
            native("TIMESTAMP", Kind::Timestamp, TIMESTAMPS),
            native("BYTEA", Kind::Binary, &["X'61'", "X''", "X'00'", "X'ff00'"]),
        ]
    }

    fn url(&self) -> String {
        format!("file://{}", self.folder.path().display())
    }

    async fn clear(&self) {
        for (table, _) in self.created.lock().await.drain() {
            self.run(&format!("DROP TABLE {table}")).await;
            std::fs::remove_dir_all(self.folder.path().join(table)).unwrap();
        }
    }

    async fn execute(&self, statements: &[String]) {
        let mut changed = None;
        for statement in statements {
            let words: Vec<_> = statement.split_whitespace().take(3).collect();
            let table = words.last().copied().unwrap_or_default().to_string();
            match words[..] {
                ["CREATE", "TABLE", _] => {
                    self.run(statement).await;
                    let mut created = self.created.lock().await;
                    created.insert(table.clone(), statement.clone());
                }
                // There is no DELETE here.
                ["DELETE", ..] => {
                    self.run(&format!("DROP TABLE {table}")).await;
                    let create = self.created.lock().await[&table].clone();
                    self.run(&create).await;
                }
                _ => self.run(statement).await,
            }
            changed = Some(table);
        }
        if let Some(table) = changed {
            self.write(&table).await;
        }
    }
}

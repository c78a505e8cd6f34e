//! A bucket as a source, at a real server: the one that `BELVEDERE_TEST_S3` names, as `s3_server.py` prints it.

mod common;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use belvedere_connector::{
    Code, Connector, Error, ExportRequest, ExportWriter, SourceConfig, TableKind,
};
use belvedere_files::FilesConnector;
use common::{Lake, gzip, parquet_bytes};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

/// The options that the bucket's owner would write.
struct Bucket {
    endpoint: String,
    store: AmazonS3,
}

/// None where there is no server: said, past the test harness.
fn bucket() -> Option<Bucket> {
    let Ok(endpoint) = std::env::var("BELVEDERE_TEST_S3") else {
        use std::io::Write;
        let _ = writeln!(
            std::io::stderr(),
            "S3 is not shown: BELVEDERE_TEST_S3 names no server (scripts/test starts one)"
        );
        return None;
    };
    let variable = |name| std::env::var(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let store = AmazonS3Builder::new()
        .with_endpoint(&endpoint)
        .with_allow_http(true)
        .with_bucket_name("belvedere")
        .with_access_key_id(variable("BELVEDERE_TEST_S3_KEY"))
        .with_secret_access_key(variable("BELVEDERE_TEST_S3_SECRET"))
        .build()
        .unwrap();
    Some(Bucket { endpoint, store })
}

impl Bucket {
    fn options(&self) -> [(&str, &str); 3] {
        [
            ("endpoint", self.endpoint.as_str()),
            ("access_key_id", "env:BELVEDERE_TEST_S3_KEY"),
            ("secret_access_key", "env:BELVEDERE_TEST_S3_SECRET"),
        ]
    }

    async fn lake(&self, folder: &str) -> Lake {
        let url = format!("s3://belvedere/{folder}/");
        Lake::open(&url, &self.options()).await.unwrap()
    }

    async fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let content = content.as_ref().to_vec();
        self.store
            .put(&Path::parse(path).unwrap(), content.into())
            .await
            .unwrap_or_else(|e| panic!("{path}: {e}"));
    }
}

fn ids(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("id", column)]).unwrap()
}

/// Bytes that the readers of a query fetched, and its rows.
async fn fetched(lake: &Lake, sql: &str) -> (usize, usize) {
    fn bytes(plan: &Arc<dyn ExecutionPlan>) -> usize {
        let own = plan
            .metrics()
            .and_then(|metrics| metrics.sum_by_name("bytes_scanned"))
            .map_or(0, |value| value.as_usize());
        own + plan.children().into_iter().map(bytes).sum::<usize>()
    }
    let query = lake.context.sql(sql).await.unwrap();
    let plan = query.create_physical_plan().await.unwrap();
    let batches = collect(plan.clone(), lake.context.task_ctx())
        .await
        .unwrap();
    (
        bytes(&plan),
        batches.iter().map(RecordBatch::num_rows).sum(),
    )
}

#[tokio::test]
async fn folders_and_files_of_a_bucket_are_tables() {
    let Some(bucket) = bucket() else { return };
    for (file, year) in [
        ("year=2023/a", 2023),
        ("year=2023/b", 2023),
        ("year=2024/a", 2024),
    ] {
        let rows = parquet_bytes(&ids([year, year + 1]));
        bucket
            .write(&format!("tables/sales/{file}.parquet"), rows)
            .await;
    }
    let csv = "id,name\n1,apple\n2,Größe\n";
    bucket
        .write("tables/items.csv.gz", gzip(csv.as_bytes()))
        .await;
    bucket
        .write("tables/größen/ü.jsonl", "{\"id\":1}\n{\"id\":2}\n")
        .await;
    bucket.write("tables/notes.txt", "no table").await;

    let lake = bucket.lake("tables").await;
    assert_eq!(lake.names(), ["größen", "items", "sales"]);
    for table in &lake.tables {
        assert!(table.warnings.is_empty(), "{:?}", table.warnings);
    }
    assert_eq!(lake.table("sales").kind, TableKind::PartitionedTable);
    assert_eq!(lake.table("sales").row_count, Some(6));
    assert_eq!(lake.columns("sales"), "id Int64, year Int64");
    assert_eq!(lake.columns("items"), "id Int64, name Utf8");
    assert_eq!(
        lake.rows("SELECT year, count(*), sum(id) FROM sales GROUP BY year ORDER BY year")
            .await,
        ["2023|4|8094", "2024|2|4049"]
    );
    assert_eq!(
        lake.rows("SELECT name FROM items WHERE id = 2").await,
        ["Größe"]
    );
    assert_eq!(lake.rows("SELECT sum(id) FROM \"größen\"").await, ["3"]);

    // One object as the source.
    for (url, table) in [
        ("s3://belvedere/tables/items.csv.gz", "items"),
        ("s3://belvedere/tables/größen/ü.jsonl", "ü"),
        ("s3://belvedere/tables/gr%C3%B6%C3%9Fen/", "ü"),
    ] {
        let one = Lake::open(url, &bucket.options()).await.unwrap();
        assert_eq!(one.names(), [table], "{url}");
        let sql = format!("SELECT count(*) FROM \"{table}\"");
        assert_eq!(one.rows(&sql).await, ["2"], "{url}");
    }
}

#[tokio::test]
async fn what_a_condition_rules_out_is_not_fetched() {
    let Some(bucket) = bucket() else { return };
    let mut bytes = Vec::new();
    let schema = ids([]).schema();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, schema, None).unwrap();
    for group in 0..8 {
        // Spread out, or they are packed into next to nothing.
        let values = (0..50_000).map(|i| group * 1_000_000_000 + (i * 7919) % 999_983);
        writer.write(&ids(values)).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
    let size = bytes.len();
    bucket.write("pruned/day=2026-01-01/a.parquet", bytes).await;
    bucket
        .write("pruned/day=2026-01-02/a.parquet", parquet_bytes(&ids([5])))
        .await;
    let lake = bucket.lake("pruned").await;

    let (all, rows) = fetched(&lake, "SELECT id FROM pruned").await;
    assert_eq!(rows, 400_001);
    assert!(all > size / 2, "{all} of {size}");
    // Row groups, by their statistics.
    let group = "SELECT id FROM pruned WHERE id BETWEEN 3000000000 AND 3000999999";
    let (some, rows) = fetched(&lake, group).await;
    assert_eq!(rows, 50_000);
    assert!(some < all / 4, "{some} of {all}");
    // Folders, by their names.
    let (one, rows) = fetched(&lake, "SELECT id FROM pruned WHERE day > '2026-01-01'").await;
    assert_eq!(rows, 1);
    assert!(one < all / 20, "{one} of {all}");
}

#[tokio::test]
async fn a_listing_longer_than_a_page() {
    let Some(bucket) = bucket() else { return };
    // The server keeps 1,500 empty objects there, which are no tables; a page holds 1,000.
    bucket.write("paged/z/last.csv", "id\n7\n").await;
    let lake = bucket.lake("paged").await;
    assert_eq!(lake.names(), ["z"]);
    assert_eq!(lake.rows("SELECT id FROM z").await, ["7"]);
    let folder = Path::from("paged/a");
    let listed = bucket.store.list_with_delimiter(Some(&folder)).await;
    assert_eq!(listed.unwrap().objects.len(), 1500);
}

#[tokio::test]
async fn objects_that_come_and_go() {
    let Some(bucket) = bucket() else { return };
    bucket.write("moving/t/a.csv", "id\n1\n").await;
    let _ = bucket.store.delete(&"moving/new/b.csv".into()).await;
    let _ = bucket.store.delete(&"moving/t/b.csv".into()).await;
    let mut lake = bucket.lake("moving").await;
    assert_eq!(lake.rows("SELECT sum(id) FROM t").await, ["1"]);

    // Of a table: seen at once. A table: when the source is read again.
    bucket.write("moving/t/b.csv", "id\n10\n").await;
    bucket.write("moving/new/b.csv", "id\n5\n").await;
    assert_eq!(lake.rows("SELECT sum(id) FROM t").await, ["11"]);
    assert_eq!(lake.names(), ["t"]);
    lake.context = SessionContext::new();
    lake.refresh().await.unwrap();
    assert_eq!(lake.names(), ["new", "t"]);
    assert_eq!(lake.rows("SELECT id FROM new").await, ["5"]);

    bucket.write("moving/t/b.csv", "id\n20\n").await;
    assert_eq!(lake.rows("SELECT sum(id) FROM t").await, ["21"]);
    bucket.store.delete(&"moving/t/a.csv".into()).await.unwrap();
    assert_eq!(lake.rows("SELECT sum(id) FROM t").await, ["20"]);
    bucket
        .store
        .delete(&"moving/new/b.csv".into())
        .await
        .unwrap();
    let gone = lake.error("SELECT id FROM new").await;
    assert_eq!(gone.code, Code::TableMissing, "{gone}");
}

#[tokio::test]
async fn what_a_server_refuses_is_said() {
    let Some(bucket) = bucket() else { return };
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong");
    std::fs::write(&wrong, "wrong-4711").unwrap();
    let wrong = format!("file:{}", wrong.display());
    let own = std::env::var("BELVEDERE_TEST_S3_SECRET").unwrap();
    let [endpoint, key, secret] = bucket.options();
    let (wrong_key, wrong_secret) = (
        ("access_key_id", wrong.as_str()),
        ("secret_access_key", wrong.as_str()),
    );
    let unknown = ("access_key_id", "env:NO_SUCH_VARIABLE_4711");
    for (url, options, code, words) in [
        (
            "s3://no-such-bucket/x/",
            [endpoint, key, secret],
            Code::Unreachable,
            "there is no s3://no-such-bucket/x/",
        ),
        (
            "s3://private/",
            [endpoint, key, secret],
            Code::PermissionDenied,
            "s3://private/ may not be read",
        ),
        (
            "s3://belvedere/",
            [endpoint, wrong_key, secret],
            Code::Authentication,
            "the credentials for s3://belvedere/ were refused",
        ),
        (
            "s3://belvedere/",
            [endpoint, key, wrong_secret],
            Code::Authentication,
            "the credentials for s3://belvedere/ were refused",
        ),
        (
            "s3://belvedere/",
            [endpoint, unknown, secret],
            Code::InvalidSecret,
            "NO_SUCH_VARIABLE_4711",
        ),
    ] {
        let source = common::open(url, &options).unwrap();
        let error = source.discover().await.expect_err(words);
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.source_name.as_deref(), Some("lake"));
        let everything = format!("{error:?}");
        for hidden in ["wrong-4711", own.as_str()] {
            assert!(!everything.contains(hidden), "{everything}");
        }
    }
    // A folder that holds nothing is no error: folders do not exist in a bucket.
    assert!(bucket.lake("nothing-here").await.names().is_empty());
}

/// A `COPY` to this path of the bucket, made ready.
async fn begin(
    bucket: &Bucket,
    path: &str,
    more: &[(&str, &str)],
    partition_by: &[&str],
    columns: &RecordBatch,
) -> Result<Box<dyn ExportWriter>, Error> {
    let options = bucket.options().into_iter().chain(more.iter().copied());
    let request = ExportRequest {
        config: SourceConfig {
            name: String::new(),
            url: format!("s3://belvedere/{path}"),
            options: options
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            limits: belvedere_connector::Limits::default(),
        },
        columns: columns.schema(),
        partition_by: partition_by.iter().map(ToString::to_string).collect(),
    };
    FilesConnector.export(request)?.begin().await
}

impl Bucket {
    /// All objects below a folder, hidden ones too, without what each COPY chooses anew.
    async fn objects(&self, folder: &str) -> Vec<String> {
        let objects = self.store.list(Some(&Path::from(folder)));
        let objects: Vec<_> = objects.try_collect().await.unwrap();
        let name = |object: ObjectMeta| {
            let path = object.location.to_string();
            match path.split_once("part-") {
                Some((folder, file)) => {
                    let (_, ending) = file.split_once('.').unwrap();
                    format!("{folder}part-{}.{ending}", &file[..5])
                }
                None => path,
            }
        };
        objects.into_iter().map(name).collect()
    }

    async fn empty(&self, folder: &str) {
        let found = self.store.list(Some(&Path::from(folder)));
        let found = found.map_ok(|object| object.location).boxed();
        let deleted = self.store.delete_stream(found);
        deleted.try_collect::<Vec<_>>().await.unwrap();
    }
}

fn pairs(range: std::ops::Range<i64>, part: &str) -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(range.clone()));
    let part: ArrayRef = Arc::new(StringArray::from_iter_values(range.map(|_| part)));
    RecordBatch::try_from_iter([("id", id), ("part", part)]).unwrap()
}

#[tokio::test]
async fn what_is_written_is_seen_at_the_end() {
    let Some(bucket) = bucket() else { return };
    bucket.empty("written").await;
    let columns = pairs(0..0, "");
    let mut writer = begin(&bucket, "written/t/", &[], &["part"], &columns)
        .await
        .unwrap();
    for part in ["a/b", "ü"] {
        writer.write(pairs(0..1000, part)).await.unwrap();
        writer.write(pairs(1000..1500, part)).await.unwrap();
        assert!(bucket.objects("written").await.is_empty());
    }
    let written = writer.commit(None).await.unwrap();
    assert_eq!((written.rows, written.files), (3000, 2));
    assert_eq!(
        bucket.objects("written").await,
        [
            "written/t/part=%C3%BC/part-00002.parquet",
            "written/t/part=a%2Fb/part-00001.parquet"
        ]
    );
    let lake = bucket.lake("written").await;
    assert_eq!(lake.table("t").size_bytes, Some(written.bytes));
    assert_eq!(
        lake.rows("SELECT part, count(*), sum(id) FROM t GROUP BY part ORDER BY part")
            .await,
        ["a/b|1500|1124250", "ü|1500|1124250"]
    );

    // More than one part of an upload; and one that is given up.
    let large = [("compression", "none"), ("overwrite", "true")];
    for commit in [true, false] {
        let mut writer = begin(&bucket, "written/large.parquet", &large, &[], &ids([]))
            .await
            .unwrap();
        for batch in 0..60_i64 {
            // Spread out, or they are packed into next to nothing.
            let values =
                (0..100_000).map(|i| (batch * 100_000 + i) * 7_919_777_213 % 1_000_000_007);
            writer.write(ids(values)).await.unwrap();
        }
        match commit {
            true => {
                let written = writer.commit(None).await.unwrap();
                assert_eq!((written.rows, written.files), (6_000_000, 1));
                assert!(written.bytes > 40 << 20, "{}", written.bytes);
            }
            false => writer.abort().await,
        }
        let lake = bucket.lake("written").await;
        assert_eq!(lake.rows("SELECT count(*) FROM large").await, ["6000000"]);
        assert_eq!(bucket.objects("written").await.len(), 3);
    }
}

#[tokio::test]
async fn what_a_bucket_has_is_kept() {
    let Some(bucket) = bucket() else { return };
    bucket.empty("kept").await;
    bucket.write("kept/t/old.csv", "id\n1\n").await;
    bucket.write("kept/one.csv", "id\n1\n").await;
    for (path, overwrite, words) in [
        ("kept/t/", "false", "s3://belvedere/kept/t/ is not empty"),
        ("kept/t", "true", "cannot be replaced at once"),
        (
            "kept/one.csv",
            "false",
            "s3://belvedere/kept/one.csv already exists",
        ),
    ] {
        let options = [("overwrite", overwrite), ("format", "csv")];
        let error = begin(&bucket, path, &options, &[], &ids([]))
            .await
            .err()
            .unwrap();
        assert_eq!(error.code, Code::TargetExists, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let options = [("overwrite", "true")];
    let mut writer = begin(&bucket, "kept/one.csv", &options, &[], &ids([]))
        .await
        .unwrap();
    writer.write(ids([7])).await.unwrap();
    assert_eq!(
        bucket.lake("kept").await.rows("SELECT id FROM one").await,
        ["1"]
    );
    writer.commit(None).await.unwrap();
    assert_eq!(
        bucket.lake("kept").await.rows("SELECT id FROM one").await,
        ["7"]
    );

    // Who comes second finds what the first has written.
    let mut writer = begin(&bucket, "kept/two.csv", &[], &[], &ids([]))
        .await
        .unwrap();
    writer.write(ids([8])).await.unwrap();
    bucket.write("kept/two.csv", "id\n9\n").await;
    let error = writer.commit(None).await.unwrap_err();
    assert_eq!(error.code, Code::TargetExists, "{error}");
    assert_eq!(
        bucket.lake("kept").await.rows("SELECT id FROM two").await,
        ["9"]
    );

    let request = ExportRequest {
        config: SourceConfig {
            name: String::new(),
            url: "s3://private/x.csv".into(),
            options: bucket
                .options()
                .into_iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            limits: belvedere_connector::Limits::default(),
        },
        columns: ids([]).schema(),
        partition_by: Vec::new(),
    };
    let export = FilesConnector.export(request).unwrap();
    let error = export.begin().await.err().unwrap();
    assert_eq!(error.code, Code::PermissionDenied, "{error}");
    assert!(
        error
            .to_string()
            .contains("s3://private/x.csv may not be written"),
        "{error}"
    );
}

#[tokio::test]
async fn files_that_are_being_completed_are_not_read() {
    let Some(bucket) = bucket() else { return };
    bucket.empty("half").await;
    bucket.write("half/t/old.csv", "id\n1\n").await;
    bucket
        .write("half/t/new/part-00001-4711.csv", "id\n10\n")
        .await;
    bucket.write("half/t/new/.copy-4711", "unfinished").await;
    bucket
        .write("half/u/part-00001-4711.csv", "id\n100\n")
        .await;
    let lake = bucket.lake("half").await;
    assert_eq!(lake.rows("SELECT sum(id) FROM t").await, ["1"]);
    assert_eq!(lake.rows("SELECT sum(id) FROM u").await, ["100"]);
    let marker = Path::from("half/t/new/.copy-4711");
    bucket.store.delete(&marker).await.unwrap();
    assert_eq!(lake.rows("SELECT sum(id) FROM t").await, ["11"]);
}

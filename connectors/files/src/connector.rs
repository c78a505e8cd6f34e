use std::sync::{Arc, LazyLock};

use belvedere_connector::{
    Connector, Export, ExportRequest, OptionSpec, Result, Source, SourceConfig,
};

use crate::export::{self, FilesExport};
use crate::settings::Settings;
use crate::source::FilesSource;

/// Opens folders and buckets: `./dir`, `file:///dir`, `s3://bucket/folder/`, `gs://…`, `az://container/folder/`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FilesConnector;

const fn option(name: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec {
        name,
        help,
        secret: false,
    }
}

const fn secret(name: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec {
        name,
        help,
        secret: true,
    }
}

/// How files are read.
const READING: &[OptionSpec] = &[
    option(
        "columns",
        "types of columns that need a decision: 'price_list.price: decimal(12,2); item.sku: text'",
    ),
    option(
        "csv_header",
        "true (default) | false: whether the first line of a CSV file names its columns",
    ),
    option(
        "csv_delimiter",
        "the character between values of a CSV file, or 'tab'; default ',' (.tsv: tab)",
    ),
    option(
        "csv_quote",
        "the character around values of a CSV file; default '\"'",
    ),
    option(
        "csv_escape",
        "the character that escapes a quote inside a value; default: the quote, doubled",
    ),
    option(
        "csv_comment",
        "lines of a CSV file that begin with this character are skipped; default: none",
    ),
    option(
        "csv_newlines",
        "true (default) | false: whether quoted values may hold line breaks; without them one large file is read in parallel",
    ),
    option(
        "schema_infer_rows",
        "rows of each CSV or JSON file from which its types are inferred; default 1000",
    ),
    option(
        "max_connections",
        "requests to a bucket that are sent at once; default 64",
    ),
];

/// How a place is reached.
const PLACE: &[OptionSpec] = &[
    option(
        "endpoint",
        "URL of an S3-compatible (or Azure) service instead of the provider's own",
    ),
    option("region", "the bucket's region; default us-east-1"),
    option(
        "virtual_host",
        "true | false (default): whether the bucket is part of the host's name",
    ),
    option(
        "anonymous",
        "true | false (default): requests are not signed, as for public buckets",
    ),
    option("account", "the Azure storage account"),
    secret(
        "access_key_id",
        "S3 access key: 'env:NAME' or 'file:/path'; default: from the environment (AWS_…)",
    ),
    secret(
        "secret_access_key",
        "S3 secret key: 'env:NAME' or 'file:/path'",
    ),
    secret(
        "session_token",
        "S3 session token: 'env:NAME' or 'file:/path'",
    ),
    secret(
        "account_key",
        "Azure account key: 'env:NAME' or 'file:/path'",
    ),
    secret(
        "service_account_key",
        "Google service account, its JSON: 'env:NAME' or 'file:/path'",
    ),
];

static OPTIONS: LazyLock<Vec<OptionSpec>> = LazyLock::new(|| [READING, PLACE].concat());
static EXPORT: LazyLock<Vec<OptionSpec>> = LazyLock::new(|| [export::OPTIONS, PLACE].concat());

impl Connector for FilesConnector {
    fn name(&self) -> &'static str {
        "files"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["file", "s3", "s3a", "gs", "az", "azure", "abfs", "abfss"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        &OPTIONS
    }

    fn open(&self, config: SourceConfig) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(FilesSource::new(Settings::new(config)?)))
    }

    fn export_options(&self) -> &'static [OptionSpec] {
        &EXPORT
    }

    fn export(&self, request: ExportRequest) -> Result<Arc<dyn Export>> {
        Ok(Arc::new(FilesExport::new(&request)?))
    }
}

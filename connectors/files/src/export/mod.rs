//! Files that `COPY … TO` writes: all of them are seen at once, or none.
//!
//! The central type is [`FilesExport`]. In flow batches, ordered by the columns that become folders; out flow files. They
//! are written by a thread of their own, one at a time, into a *stage* that nobody reads, and published at the end.
//!
//! | file | owns |
//! |---|---|
//! | `target.rs` | the URL to write to: one file or a folder, local or in a bucket |
//! | `format.rs` | the format with its options; what it cannot hold |
//! | `encoder.rs` | batches → the bytes of one file, by Arrow's and Parquet's own writers |
//! | `folders.rs` | `column=value` folders |
//! | `writer.rs` | the thread that writes |
//! | `stage.rs` | what a place of files not yet seen can do |
//! | `local.rs` | a hidden folder beside the target, renamed at the end |
//! | `bucket.rs` | multipart uploads, completed at the end |

mod bucket;
mod encoder;
mod folders;
mod format;
mod local;
mod stage;
mod target;
mod writer;

use std::collections::BTreeSet;

use async_trait::async_trait;
use belvedere_connector::{
    Code, Error, Export, ExportRequest, ExportWriter, OptionSpec, Result, SourceConfig, with_unit,
};

use self::folders::Folders;
use self::format::Format;
use self::target::Target;

pub use self::bucket::unfinished;

/// A larger file is ended, and another begun, if a folder is written.
const FILE_SIZE: &str = "1GB";

const fn option(name: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec {
        name,
        help,
        secret: false,
    }
}

/// What `COPY` takes besides the options that say how a place is reached.
pub const OPTIONS: &[OptionSpec] = &[
    option(
        "format",
        "parquet | csv | tsv | json | arrow; default: by the file's ending, parquet for a folder",
    ),
    option(
        "overwrite",
        "true | false (default): whether what is already there is replaced",
    ),
    option(
        "compression",
        "Parquet: zstd (default), snappy, gzip, lz4, none; CSV and JSON: none (default), gzip, zstd",
    ),
    option(
        "file_size",
        "about how large the files of a folder become, e.g. '256MB'; default 1GB",
    ),
    option(
        "header",
        "true (default) | false: whether a CSV file begins with the names of its columns",
    ),
    option(
        "delimiter",
        "the character between values of a CSV file, or 'tab'; default ','",
    ),
    option(
        "quote",
        "the character around values of a CSV file; default '\"'",
    ),
];

/// Where and how, checked.
#[derive(Debug, Clone)]
pub struct FilesExport {
    target: Target,
    format: Format,
    folders: Folders,
    overwrite: bool,
    /// Bytes.
    file_size: u64,
}

impl FilesExport {
    pub fn new(request: &ExportRequest) -> Result<Self> {
        let config = &request.config;
        let target = Target::new(SourceConfig {
            options: without_ours(config),
            ..config.clone()
        })?;
        let mut names = BTreeSet::new();
        for field in request.columns.fields() {
            if !names.insert(field.name()) {
                return Err(Error::new(
                    Code::InvalidOption,
                    format!("the files would have two columns named {}", field.name()),
                )
                .help("Give one another name: SELECT … AS other_name"));
            }
        }
        let folders = Folders::new(&request.columns, &request.partition_by)?;
        if target.kind.is_some() && !request.partition_by.is_empty() {
            return Err(Error::new(
                Code::InvalidOption,
                format!("{} is one file, and folders by column are many", config.url),
            )
            .help("Name a folder: TO 'folder/'"));
        }
        let format = Format::new(config, target.kind)?;
        format.check(folders.schema())?;
        if target.kind.is_some() && config.option("file_size").is_some() {
            return Err(Error::new(
                Code::InvalidOption,
                format!("{} is one file, whatever its size", config.url),
            )
            .help("Name a folder: TO 'folder/'"));
        }
        Ok(Self {
            overwrite: format::switch(config, "overwrite", false)?,
            file_size: size(config.option("file_size").unwrap_or(FILE_SIZE))?,
            target,
            format,
            folders,
        })
    }
}

/// The options that say how the place is reached.
fn without_ours(config: &SourceConfig) -> std::collections::BTreeMap<String, String> {
    let mut options = config.options.clone();
    options.retain(|name, _| !OPTIONS.iter().any(|ours| ours.name == name));
    options
}

fn size(text: &str) -> Result<u64> {
    let units = [
        ("", 1),
        ("B", 1),
        ("kB", 1 << 10),
        ("MB", 1 << 20),
        ("GB", 1 << 30),
        ("TB", 1 << 40),
    ];
    with_unit(text, &units)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| {
            Error::new(
                Code::InvalidOption,
                format!("option file_size is a size like '256MB' or '2GB', not '{text}'"),
            )
        })
}

#[async_trait]
impl Export for FilesExport {
    fn describe(&self) -> String {
        let folders = match self.folders.names() {
            [] => String::new(),
            names => format!(", in folders by {}", names.join(", ")),
        };
        format!("{} to {}{folders}", self.format, self.target.settings.url())
    }

    fn ordered_by(&self) -> &[usize] {
        self.folders.columns()
    }

    async fn begin(&self) -> Result<Box<dyn ExportWriter>> {
        Ok(Box::new(writer::begin(self.clone()).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("256MB").unwrap(), 256 << 20);
        assert_eq!(size(" 2 gb").unwrap(), 2 << 30);
        assert_eq!(size("4096").unwrap(), 4096);
        for wrong in ["", "0", "MB", "1.5GB", "-1", "99999999999TB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}

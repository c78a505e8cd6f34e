use std::path::PathBuf;

use belvedere_connector::{Code, Error, Result, SourceConfig};

use crate::kind::Kind;
use crate::settings::{Place, Settings};

/// The URL that is written to: a single file if its ending says so, else a folder.
#[derive(Debug, Clone)]
pub struct Target {
    /// Of the place as a source over it would have them: its store is made from these.
    pub settings: Settings,
    /// The path of a local file or folder; None: it is in a bucket.
    pub local: Option<PathBuf>,
    /// Of a single file.
    pub kind: Option<Kind>,
}

impl Target {
    pub fn new(config: SourceConfig) -> Result<Self> {
        let is_folder = config.url.ends_with('/');
        let settings = Settings::new(config)?;
        let (local, name) = match &settings.place {
            Place::Local(folder) => {
                let path = match &settings.only {
                    Some(file) => folder.join(file),
                    None => folder.clone(),
                };
                let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
                (Some(path), name)
            }
            Place::S3 { folder, .. }
            | Place::Google { folder, .. }
            | Place::Azure { folder, .. } => {
                let last = folder.rsplit('/').next().map(str::to_string);
                (None, settings.only.clone().or(last))
            }
        };
        let name = name.filter(|_| !is_folder).unwrap_or_default();
        let kind = Kind::of_name(&name);
        if kind.is_none() && name.contains('.') {
            return Err(Error::new(
                Code::InvalidUrl,
                format!("{name} has an ending that says no format"),
            )
            .help(format!(
                "End a file's name with .parquet, .csv, .tsv, .json or .arrow (text also with .gz or .zst after it); a folder's with /: '{}/'",
                settings.url()
            )));
        }
        Ok(Self {
            settings,
            local,
            kind,
        })
    }
}

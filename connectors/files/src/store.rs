use std::sync::Arc;
use std::time::Duration;

use belvedere_connector::{Code, Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};

use crate::failure;
use crate::settings::{Place, Settings};

const TIMEOUT: ClientConfigKey = ClientConfigKey::Timeout;
const REQUEST: Duration = Duration::from_secs(30);

/// The store of a definition, its paths relative to the definition's folder. Secrets are resolved here.
pub fn open(settings: &Settings) -> Result<Arc<dyn ObjectStore>> {
    let failed = |e| failure::store(settings, None, &e);
    match &settings.place {
        Place::Local(path) => {
            if !path.is_dir() {
                return Err(Error::new(
                    Code::Unreachable,
                    format!("there is no folder {}", path.display()),
                )
                .help("Create it, or correct the source's URL")
                .at_source(settings.name()));
            }
            Ok(Arc::new(
                LocalFileSystem::new_with_prefix(path).map_err(failed)?,
            ))
        }
        Place::S3 { bucket, folder } => {
            let store = s3(settings, bucket)?.build().map_err(failed)?;
            within(settings, store, folder)
        }
        Place::Google { bucket, folder } => {
            let mut builder = GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(bucket)
                .with_skip_signature(settings.flag("anonymous"))
                .with_retry(retry(settings))
                .with_config(GoogleConfigKey::Client(TIMEOUT), timeout(settings));
            if let Some(key) = settings.config.secret("service_account_key")? {
                builder = builder.with_service_account_key(key.expose());
            }
            if let Some(endpoint) = settings.config.option("endpoint") {
                builder = builder.with_base_url(endpoint);
            }
            within(settings, builder.build().map_err(failed)?, folder)
        }
        Place::Azure { url, folder } => {
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_url(url.as_str())
                .with_skip_signature(settings.flag("anonymous"))
                .with_retry(retry(settings))
                .with_config(AzureConfigKey::Client(TIMEOUT), timeout(settings));
            if let Some(account) = settings.config.option("account") {
                builder = builder.with_account(account);
            }
            if let Some(key) = settings.config.secret("account_key")? {
                builder = builder.with_access_key(key.expose());
            }
            if let Some(endpoint) = settings.config.option("endpoint") {
                builder = builder
                    .with_endpoint(endpoint.to_string())
                    .with_allow_http(endpoint.starts_with("http://"));
            }
            within(settings, builder.build().map_err(failed)?, folder)
        }
    }
}

fn s3(settings: &Settings, bucket: &str) -> Result<AmazonS3Builder> {
    let config = &settings.config;
    let key = config.secret("access_key_id")?;
    let mut builder = match (&key, config.secret("secret_access_key")?) {
        (Some(key), Some(secret)) => AmazonS3Builder::new()
            .with_access_key_id(key.expose())
            .with_secret_access_key(secret.expose()),
        (None, None) => AmazonS3Builder::from_env(),
        _ => {
            return Err(Error::new(
                Code::InvalidOption,
                "access_key_id and secret_access_key are given together or not at all",
            )
            .at_source(settings.name()));
        }
    };
    builder = builder
        .with_bucket_name(bucket)
        .with_skip_signature(settings.flag("anonymous"))
        .with_virtual_hosted_style_request(settings.flag("virtual_host"))
        .with_retry(retry(settings))
        .with_config(AmazonS3ConfigKey::Client(TIMEOUT), timeout(settings));
    if let Some(token) = config.secret("session_token")? {
        builder = builder.with_token(token.expose());
    }
    if let Some(region) = config.option("region") {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = config.option("endpoint") {
        // Who writes http:// has decided.
        builder = builder
            .with_endpoint(endpoint)
            .with_allow_http(endpoint.starts_with("http://"));
    }
    Ok(builder)
}

/// Pauses between tries grow and are left to chance. A service that cannot be reached is an error within seconds, not
/// minutes.
fn retry(settings: &Settings) -> RetryConfig {
    RetryConfig {
        max_retries: settings.config.limits.retries as usize,
        retry_timeout: Duration::from_secs(20),
        ..RetryConfig::default()
    }
}

/// Each try of a request has so long, its bytes included.
fn timeout(settings: &Settings) -> String {
    let limit = settings.config.limits.statement_timeout;
    format!("{}ms", limit.unwrap_or(REQUEST).as_millis().max(1))
}

fn within(
    settings: &Settings,
    store: impl ObjectStore,
    folder: &str,
) -> Result<Arc<dyn ObjectStore>> {
    Ok(match folder {
        "" => Arc::new(store),
        _ => Arc::new(PrefixStore::new(store, path(settings, folder)?)),
    })
}

/// A path as it is written: `Path::from` would escape what is not ASCII.
pub fn path(settings: &Settings, text: &str) -> Result<Path> {
    Path::parse(text).map_err(|e| {
        Error::new(
            Code::InvalidUrl,
            format!(
                "the URL {} has a path that no object can have",
                settings.url()
            ),
        )
        .at_source(settings.name())
        .caused_by(e)
    })
}

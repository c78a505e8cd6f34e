use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use belvedere_sql::Privilege;
use redb::Database;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::accounts::{Account, Columns, Granted, Grantee};
use super::database::{Files, InFolder, InMemory, Records, manifest, put, records};
use super::definitions::{Definitions, Discovery, ObjectId, SourceDefinition, ViewDefinition};
use super::rules::{Mapping, Rule, RuleKind};

/// The layout of the records. A newer one is refused.
const FORMAT: u32 = 3;
/// That of a catalog without users. With users it is a newer one: a version that does not know them must not open it, and serve
/// everybody.
const WITHOUT_USERS: u32 = 1;
/// The same of policies, masks and mappings: a version that does not know them must not show all.
const WITHOUT_RULES: u32 = 2;
const FORMAT_KEY: &str = "format";
const SECRET_KEY: &str = "secret";

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the data directory {0} is in use by another process")]
    InUse(String),
    #[error(
        "the data directory {path} was written by a newer version (format {found}, this one knows {FORMAT})"
    )]
    NewerFormat { path: String, found: u32 },
    #[error("the catalog cannot be {doing}")]
    Io {
        doing: &'static str,
        #[source]
        cause: Box<redb::Error>,
    },
    #[error("the definition {key} in the catalog is damaged")]
    Damaged {
        key: String,
        #[source]
        cause: serde_json::Error,
    },
}

impl StoreError {
    pub(super) fn io<E: Into<redb::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Io {
            doing,
            cause: Box::new(cause.into()),
        }
    }

    /// What a disk said, where it said something.
    pub fn io_kind(&self) -> io::ErrorKind {
        match self {
            Self::Io { cause, .. } => match &**cause {
                redb::Error::Io(e) => e.kind(),
                _ => io::ErrorKind::Other,
            },
            Self::NewerFormat { .. } => io::ErrorKind::Unsupported,
            Self::Damaged { .. } => io::ErrorKind::InvalidData,
            Self::InUse(_) => io::ErrorKind::ResourceBusy,
        }
    }
}

/// The durable catalog, and the manifest of the last checkpoint: a redb file in the data directory, held by one process.
/// Without a directory it forgets. To be shared between threads.
///
/// What it has is in memory, too: it is little, and where the disk has failed, all of it is written anew to another file,
/// which takes the place of the one of which nobody knows what is in it.
#[derive(Debug)]
pub struct Store {
    files: Box<dyn Files>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// It has the files' lock, sound or not.
    database: Database,
    /// All commits have succeeded.
    is_sound: bool,
    records: Records,
    manifest: Option<Vec<u8>>,
}

impl Store {
    /// # Errors
    /// If another process has it, a newer version has written it, or it cannot be read.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Self::over(Box::new(InFolder(data_dir.to_path_buf())))
    }

    /// # Errors
    /// None that is known.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::over(Box::new(InMemory))
    }

    pub(super) fn over(files: Box<dyn Files>) -> Result<Self, StoreError> {
        let database = files.open()?;
        let state = State {
            records: records(&database)?,
            manifest: manifest(&database)?,
            database,
            is_sound: true,
        };
        let store = Self {
            files,
            state: Mutex::new(state),
        };
        store.check_format()?;
        Ok(store)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let found = self.state().records.get(FORMAT_KEY).cloned();
        match found {
            None => {
                let format = record(FORMAT_KEY, &WITHOUT_USERS)?;
                self.write(Some((Records::new(), format)), None)
            }
            Some(text) => match decode(FORMAT_KEY, &text)? {
                WITHOUT_USERS..=FORMAT => Ok(()),
                found => Err(StoreError::NewerFormat {
                    path: self.files.place(),
                    found,
                }),
            },
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A secret of this catalog's own, which is the same each time that it is opened.
    ///
    /// # Errors
    /// If it is not there yet, and cannot be written.
    pub fn secret(&self) -> Result<[u8; 32], StoreError> {
        let known = self.state().records.get(SECRET_KEY).cloned();
        if let Some(known) = known {
            return decode(SECRET_KEY, &known);
        }
        let secret: [u8; 32] = random();
        self.write(Some((Records::new(), record(SECRET_KEY, &secret)?)), None)?;
        Ok(secret)
    }

    /// # Errors
    /// If a definition cannot be decoded.
    pub fn load(&self) -> Result<Definitions, StoreError> {
        let mut definitions = Definitions::default();
        let records = self.state().records.clone();
        for (key, text) in records {
            match key.split_once('/') {
                Some(("source", _)) => {
                    let source: SourceDefinition = decode(&key, &text)?;
                    definitions
                        .sources
                        .insert(source.name.clone(), Arc::new(source));
                }
                Some(("view", _)) => {
                    let view: ViewDefinition = decode(&key, &text)?;
                    let name = (view.schema.clone(), view.name.clone());
                    definitions.views.insert(name, Arc::new(view));
                }
                Some(("schema", name)) => {
                    definitions.schemas.insert(name.to_string());
                }
                Some(("discovery", source)) => {
                    let discovery: Discovery = decode(&key, &text)?;
                    definitions
                        .discoveries
                        .insert(source.to_string(), Arc::new(discovery));
                }
                Some(("comment", _)) => {
                    let Comment { on, text } = decode(&key, &text)?;
                    definitions.comments.insert(on, text);
                }
                Some(("account", _)) => {
                    let account: Account = decode(&key, &text)?;
                    definitions.accounts.insert(account.name.clone(), account);
                }
                Some(("rule", _)) => {
                    let Ruled {
                        on,
                        kind,
                        name,
                        rule,
                    } = decode(&key, &text)?;
                    definitions.rules.insert((on, kind, name), rule);
                }
                Some(("mapping", _)) => {
                    let Mapped { of, mapping } = decode(&key, &text)?;
                    definitions.mappings.insert(of, mapping);
                }
                Some(("grant", _)) => {
                    let Grant { on, to, what } = decode(&key, &text)?;
                    let what = what.into_iter().map(|(name, columns)| {
                        let unknown = || StoreError::Damaged {
                            key: key.clone(),
                            cause: serde::de::Error::custom(format!(
                                "there is no privilege {name}"
                            )),
                        };
                        Ok((Privilege::named(&name).ok_or_else(unknown)?, columns))
                    });
                    let what: Granted = what.collect::<Result<_, StoreError>>()?;
                    definitions.grants.insert((on, to), what);
                }
                _ => {}
            }
        }
        Ok(definitions)
    }

    /// Make `new` durable in one transaction, given that `old` is.
    ///
    /// # Errors
    /// The disk's: after a crash either may be found. It can be tried again.
    pub fn commit(&self, old: &Definitions, new: &Definitions) -> Result<(), StoreError> {
        self.write(Some((encode(old)?, encode(new)?)), None)
    }

    /// Make a checkpoint's manifest durable.
    ///
    /// # Errors
    /// As for [`Store::commit`].
    pub fn commit_manifest(&self, manifest: &[u8]) -> Result<(), StoreError> {
        self.write(None, Some(manifest))
    }

    /// The manifest of the last checkpoint.
    pub fn manifest(&self) -> Option<Vec<u8>> {
        self.state().manifest.clone()
    }

    /// What has changed in the definitions, from which to which.
    fn write(
        &self,
        definitions: Option<(Records, Records)>,
        new_manifest: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        let State {
            database,
            is_sound,
            records,
            manifest,
        } = &mut *state;
        let (old, new) = definitions.unwrap_or_default();
        let gone: Vec<&str> = (old.keys().filter(|key| !new.contains_key(*key)))
            .map(String::as_str)
            .collect();
        let changed = (new.iter()).filter(|(key, value)| old.get(*key) != Some(value));
        let changed: Vec<(&str, &str)> = changed.map(|(k, v)| (k.as_str(), v.as_str())).collect();
        // Until it is known to have succeeded.
        let was_sound = std::mem::replace(is_sound, false);
        match was_sound {
            true => put(database, &gone, &changed, new_manifest)?,
            // Anew, elsewhere: a disk that has failed to sync may say of the next sync what is not so.
            false => {
                let fresh = self.files.create()?;
                let is_there = |(key, _): &(&String, &String)| !gone.contains(&key.as_str());
                let all = records.iter().filter(is_there);
                let all = all.map(|(k, v)| (k.as_str(), v.as_str()));
                let all: Vec<_> = all.chain(changed.iter().copied()).collect();
                put(&fresh, &[], &all, new_manifest.or(manifest.as_deref()))?;
                let replaced = self.files.replace();
                replaced.map_err(|e| StoreError::io("written")(redb::Error::Io(e)))?;
                *database = fresh;
            }
        }
        *is_sound = true;
        gone.iter().for_each(|key| {
            records.remove(*key);
        });
        records.extend(changed.iter().map(|(k, v)| (k.to_string(), v.to_string())));
        if let Some(new) = new_manifest {
            *manifest = Some(new.to_vec());
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Comment {
    on: ObjectId,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct Grant {
    on: ObjectId,
    to: Grantee,
    /// Privileges by name.
    what: BTreeMap<String, Columns>,
}

#[derive(Serialize, Deserialize)]
struct Ruled {
    on: ObjectId,
    kind: RuleKind,
    name: String,
    rule: Rule,
}

#[derive(Serialize, Deserialize)]
struct Mapped {
    of: (String, Grantee),
    mapping: Mapping,
}

fn encode(definitions: &Definitions) -> Result<BTreeMap<String, String>, StoreError> {
    let has_rules = !definitions.rules.is_empty() || !definitions.mappings.is_empty();
    let format = match (has_rules, definitions.accounts.is_empty()) {
        (false, true) => WITHOUT_USERS,
        (false, false) => WITHOUT_RULES,
        (true, _) => FORMAT,
    };
    let mut records = record(FORMAT_KEY, &format)?;
    for (name, source) in &definitions.sources {
        records.append(&mut record(format!("source/{name}"), source)?);
    }
    for schema in &definitions.schemas {
        records.append(&mut record(format!("schema/{schema}"), &())?);
    }
    for view in definitions.views.values() {
        records.append(&mut record(format!("view/{}", view.id()), view)?);
    }
    for (source, discovery) in &definitions.discoveries {
        records.append(&mut record(format!("discovery/{source}"), discovery)?);
    }
    for (on, text) in &definitions.comments {
        let comment = Comment {
            on: on.clone(),
            text: text.clone(),
        };
        records.append(&mut record(format!("comment/{on}"), &comment)?);
    }
    for (name, account) in &definitions.accounts {
        records.append(&mut record(format!("account/{name}"), account)?);
    }
    for ((on, to), what) in &definitions.grants {
        let grant = Grant {
            on: on.clone(),
            to: to.clone(),
            what: what
                .iter()
                .map(|(privilege, columns)| (privilege.name().to_string(), columns.clone()))
                .collect(),
        };
        // In full: shortened, a view's name could be a source's.
        let name = belvedere_sql::Name::new(&on.0);
        records.append(&mut record(format!("grant/{name} TO {to}"), &grant)?);
    }
    for (of, mapping) in &definitions.mappings {
        let (source, to) = (belvedere_sql::ident(&of.0), &of.1);
        let mapped = Mapped {
            of: of.clone(),
            mapping: mapping.clone(),
        };
        records.append(&mut record(format!("mapping/{source} FOR {to}"), &mapped)?);
    }
    for ((on, kind, name), rule) in &definitions.rules {
        let (of, called) = (belvedere_sql::Name::new(&on.0), belvedere_sql::ident(name));
        let key = format!("rule/{} {called} ON {of}", kind.name());
        let ruled = Ruled {
            on: on.clone(),
            kind: *kind,
            name: name.clone(),
            rule: rule.clone(),
        };
        records.append(&mut record(key, &ruled)?);
    }
    Ok(records)
}

/// Bytes that nobody can guess.
///
/// # Panics
/// If the operating system has none, which it has from when it is started on.
fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

fn record<T: Serialize>(
    key: impl Into<String>,
    value: &T,
) -> Result<BTreeMap<String, String>, StoreError> {
    let key = key.into();
    match serde_json::to_string(value) {
        Ok(text) => Ok(BTreeMap::from([(key, text)])),
        Err(cause) => Err(StoreError::Damaged { key, cause }),
    }
}

fn decode<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|cause| StoreError::Damaged {
        key: key.to_string(),
        cause,
    })
}

use std::sync::Arc;

use arrow::datatypes::DataType;
use belvedere_connector::{Code, Error, Result};
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use percent_encoding::percent_decode_str;

use crate::export;
use crate::failure;
use crate::kind::Kind;
use crate::settings::Settings;
use crate::store;

/// What Hive writes for NULL.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// A table and where its files are.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub name: String,
    pub place: TablePlace,
    /// What a person should know of its name.
    pub warning: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum TablePlace {
    /// All files below this folder; the source's own folder if empty.
    Folder(Path),
    File(Path),
}

/// The tables of a source, by name.
pub async fn entries(settings: &Settings, store: &Arc<dyn ObjectStore>) -> Result<Vec<Entry>> {
    let failed = |e| failure::store(settings, None, &e);
    let mut found: Vec<Entry> = Vec::new();
    if let Some(only) = &settings.only {
        found.push(Entry {
            name: Kind::stem(only).to_string(),
            place: TablePlace::File(store::path(settings, only)?),
            warning: None,
        });
        return Ok(found);
    }
    let top = store.list_with_delimiter(None).await.map_err(failed)?;
    let folders: Vec<_> = top
        .common_prefixes
        .iter()
        .filter(|p| p.filename().is_some_and(visible))
        .collect();
    if folders.iter().any(|folder| folder.as_ref().contains('=')) {
        // The folder itself is partitioned: it is one table.
        found.push(Entry {
            name: settings.place_name.clone(),
            place: TablePlace::Folder(Path::default()),
            warning: None,
        });
        return Ok(found);
    }
    for folder in folders {
        let name = folder.filename().unwrap_or_default().to_string();
        found.push(Entry {
            name,
            place: TablePlace::Folder(folder.clone()),
            warning: None,
        });
    }
    // In the order of names, whatever the listing's is: who has a name that two could have follows from it.
    let mut objects = top.objects;
    objects.sort_by(|a, b| a.location.cmp(&b.location));
    for object in &objects {
        let file = object.location.filename().unwrap_or_default();
        if visible(file) && object.size > 0 && Kind::of_name(file).is_some() {
            found.push(Entry {
                name: Kind::stem(file).to_string(),
                place: TablePlace::File(object.location.clone()),
                warning: None,
            });
        }
    }
    // Folders first: they keep the name they share with a file; the file gets its full name.
    for i in 0..found.len() {
        if found[..i]
            .iter()
            .any(|earlier| earlier.name == found[i].name)
            && let TablePlace::File(path) = &found[i].place
        {
            let full = path.filename().unwrap_or_default().to_string();
            found[i].warning = Some(format!(
                "{} is taken by another table: this one has the file's full name",
                found[i].name
            ));
            found[i].name = full;
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Hidden files and folders begin with a dot; those of other engines' housekeeping with an underscore.
fn visible(name: &str) -> bool {
    !name.starts_with('.') && (!name.starts_with('_') || name.contains('='))
}

/// One file of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    pub meta: ObjectMeta,
    pub kind: Kind,
    /// (column, value) of each `column=value` folder above it, outermost first.
    pub partitions: Vec<(String, Option<String>)>,
}

/// The files of a table as they are now, by path.
pub async fn files(
    settings: &Settings,
    store: &Arc<dyn ObjectStore>,
    place: &TablePlace,
) -> Result<Vec<DataFile>> {
    let mut found = match place {
        TablePlace::File(path) => match store.head(path).await {
            Ok(meta) => {
                // Of a folder in a bucket, the answer names the path from the bucket on.
                let location = path.clone();
                let meta = ObjectMeta { location, ..meta };
                data_file(meta, &Path::default()).into_iter().collect()
            }
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(e) => return Err(failure::store(settings, Some(path.as_ref()), &e)),
        },
        TablePlace::Folder(folder) => {
            let prefix = Some(folder).filter(|f| !f.as_ref().is_empty());
            complete(store, prefix)
                .await
                .map_err(|e| failure::store(settings, prefix.map(AsRef::as_ref), &e))?
                .into_iter()
                .filter_map(|meta| data_file(meta, folder))
                .collect()
        }
    };
    found.sort_by(|a, b| a.meta.location.cmp(&b.meta.location));
    Ok(found)
}

/// All objects of a folder but those that a COPY is still completing.
async fn complete(
    store: &Arc<dyn ObjectStore>,
    folder: Option<&Path>,
) -> object_store::Result<Vec<ObjectMeta>> {
    let mut objects: Vec<ObjectMeta> = store.list(folder).try_collect().await?;
    let unfinished: Vec<(String, String)> = objects
        .iter()
        .filter_map(|meta| export::unfinished(&meta.location))
        .map(|(folder, id)| (folder.to_string(), id.to_string()))
        .collect();
    objects.retain(|meta| {
        let path = meta.location.as_ref();
        let name = meta.location.filename().unwrap_or_default();
        !(unfinished.iter()).any(|(folder, id)| path.starts_with(folder) && name.contains(id))
    });
    Ok(objects)
}

fn data_file(meta: ObjectMeta, folder: &Path) -> Option<DataFile> {
    if meta.size == 0 {
        return None;
    }
    let depth = folder.parts().count();
    let parts: Vec<String> = meta
        .location
        .parts()
        .skip(depth)
        .map(|p| p.as_ref().to_string())
        .collect();
    let (name, folders) = parts.split_last()?;
    if !parts.iter().all(|part| visible(part)) {
        return None;
    }
    let kind = Kind::of_name(name)?;
    let partitions = folders
        .iter()
        .filter_map(|folder| folder.split_once('='))
        .map(partition)
        .collect();
    Some(DataFile {
        meta,
        kind,
        partitions,
    })
}

fn partition((column, value): (&str, &str)) -> (String, Option<String>) {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    // Before it is decoded: text that only looks like NULL has a letter escaped.
    let value = (value != NULL_PARTITION).then(|| decoded(value));
    (decoded(column), value)
}

/// The kind and the partition columns that all files of a table share.
pub fn shape(table: &str, files: &[DataFile]) -> Result<Option<(Kind, Vec<String>)>> {
    let Some(first) = files.first() else {
        return Ok(None);
    };
    let columns = |file: &DataFile| {
        file.partitions
            .iter()
            .map(|(c, _)| c.clone())
            .collect::<Vec<_>>()
    };
    let expected = columns(first);
    for file in files {
        if file.kind != first.kind {
            return Err(Error::new(
                Code::MalformedFile,
                format!(
                    "{} is {}, {} is {}: the files of a table have one format",
                    first.meta.location, first.kind, file.meta.location, file.kind
                ),
            )
            .help("Put each format in a folder of its own")
            .at_table(table));
        }
        if columns(file) != expected {
            return Err(Error::new(
                Code::MalformedFile,
                format!(
                    "{} and {} lie in folders of different partition columns",
                    first.meta.location, file.meta.location
                ),
            )
            .help("Each file of a table lies in the same column=value folders")
            .at_table(table));
        }
    }
    Ok(Some((first.kind, expected)))
}

/// A folder's value as its column's type; None if it is not one.
pub fn partition_value(value: Option<&str>, data_type: &DataType) -> Option<ScalarValue> {
    match value {
        None => ScalarValue::try_new_null(data_type).ok(),
        Some(text) => ScalarValue::try_from_string(text.to_string(), data_type).ok(),
    }
}

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use belvedere_connector::{Connector, Secret};
use belvedere_sql::Options;

use super::{limits, nearest};
use crate::catalog::{About, Mapping};
use crate::error::{Error, Result};
use crate::views;

/// Options of the design that a later version will have.
const LATER: &[&str] = &["retain"];

/// The connector that takes this URL's scheme. What has no scheme is a path.
pub(super) fn connector_of<'a>(
    connectors: &'a [Arc<dyn Connector>],
    url: &str,
) -> Result<&'a dyn Connector> {
    let scheme = scheme(url);
    let found = connectors.iter().find(|c| c.schemes().contains(&scheme));
    found.map(Arc::as_ref).ok_or_else(|| {
        let known: Vec<_> = connectors
            .iter()
            .flat_map(|c| c.schemes())
            .copied()
            .collect();
        let near = nearest(scheme, known.iter().copied());
        Error::invalid_with_help(
            format!("no connector takes URLs that begin with {scheme}:"),
            match near {
                Some(near) => format!("Did you mean {near}:?"),
                None => format!("Known are {}, and paths of folders", known.join(", ")),
            },
        )
    })
}

fn scheme(url: &str) -> &str {
    match url.split_once(':') {
        // One letter is a drive, not a scheme.
        Some((scheme, _))
            if scheme.len() > 1
                && scheme
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
        {
            scheme
        }
        _ => "file",
    }
}

/// The URL with a relative path made absolute: `sqlite:shop.db`, `file:dir`, `./dir`.
pub(super) fn absolute(url: &str, base_dir: &Path) -> Result<String> {
    if url.trim().is_empty() {
        return Err(Error::invalid(
            "a source needs a URL, e.g. 'postgres://reader@host/db'",
        ));
    }
    let (prefix, path) = match scheme(url) {
        "file" => match url.strip_prefix("file:") {
            Some(path) => ("file:", path),
            None => ("", url),
        },
        "sqlite" => match url.strip_prefix("sqlite:") {
            Some(path) => ("sqlite:", path),
            None => return Ok(url.to_string()),
        },
        _ => return Ok(url.to_string()),
    };
    if let Some(absolute) = path.strip_prefix("//") {
        return match absolute.starts_with('/') {
            true => Ok(url.to_string()),
            false => Err(Error::invalid_with_help(
                format!("the URL {url} has a host"),
                format!(
                    "Write {prefix}{absolute} for a relative path, {prefix}/… for an absolute one"
                ),
            )),
        };
    }
    if path.starts_with(':') || Path::new(path).is_absolute() {
        return Ok(url.to_string());
    }
    let plain: std::path::PathBuf = base_dir.join(path).components().collect();
    let slash = if path.ends_with('/') { "/" } else { "" };
    Ok(format!("{prefix}{}{slash}", plain.display()))
}

/// The URL with another user in it.
pub(super) fn as_user(url: &str, user: &str) -> Result<String> {
    let no_user = || {
        Error::invalid_with_help(
            format!("sources of {}: have no users", scheme(url)),
            "What is mapped is a user of a database",
        )
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(no_user)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let encoded = user.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    let user: String = encoded.collect();
    Ok(format!("{scheme}://{user}@{host}{path}"))
}

/// The options of a mapping, checked: `user`, and those of the connector that are secrets.
pub(super) fn of_mapping(connector: &dyn Connector, options: &Options) -> Result<Mapping> {
    let known = connector.options();
    let secrets = || {
        known
            .iter()
            .filter(|spec| spec.secret)
            .map(|spec| spec.name)
    };
    let mut mapping = Mapping::default();
    for (name, value) in options.iter() {
        let text = value.text();
        if name == "user" {
            mapping.user = Some(text);
        } else if secrets().any(|secret| secret == name) {
            if !Secret::is_reference(&text) {
                return Err(literal_secret(&name));
            }
            mapping.options.insert(name, text);
        } else {
            let names = secrets().chain(["user"]);
            return Err(unknown_option(&name, "user mapping", names));
        }
    }
    Ok(mapping)
}

/// A source's options, checked: those about people, those of every source, and the connector's own.
pub(super) fn of_source(
    connector: &dyn Connector,
    options: &Options,
) -> Result<(About, BTreeMap<String, String>)> {
    let mut about = About::default();
    let mut own = BTreeMap::new();
    for (name, value) in options.iter() {
        let text = value.text();
        if let Some(field) = about.field_mut(&name) {
            *field = Some(text);
            continue;
        }
        if limits::is_common(&name, &text) {
            own.insert(name, text);
            continue;
        }
        let known = connector.options();
        let Some(spec) = known.iter().find(|spec| spec.name == name) else {
            if name == "changes" {
                return Err(Error::invalid_with_help(
                    format!("a {} has no changes = '{text}'", connector.name()),
                    "changes = 'poll' looks at its tables again and again, every poll_interval",
                ));
            }
            if name == "writable" {
                return Err(Error::invalid_with_help(
                    format!("a {} source is only read", connector.name()),
                    "Databases take writes; COPY … TO writes files",
                ));
            }
            let names = known
                .iter()
                .map(|s| s.name)
                .chain(limits::OPTIONS.iter().copied())
                .chain(About::default().fields().map(|f| f.0));
            return Err(unknown_option(&name, connector.name(), names));
        };
        if spec.secret && !Secret::is_reference(&text) {
            return Err(literal_secret(&name));
        }
        own.insert(name, text);
    }
    Ok((about, own))
}

/// The options of `COPY` to a place of this connector, under their own names.
pub(super) fn of_export(
    connector: &dyn Connector,
    options: &Options,
    aliases: &[(&str, &str)],
) -> Result<BTreeMap<String, String>> {
    let known = connector.export_options();
    let mut own = BTreeMap::new();
    for (name, value) in options.iter() {
        // Words are the same in any case.
        let name = name.to_ascii_lowercase();
        let alias = aliases.iter().find(|(other, _)| *other == name);
        let name = alias.map_or(name, |(_, ours)| ours.to_string());
        let Some(spec) = known.iter().find(|spec| spec.name == name) else {
            let names = known.iter().map(|spec| spec.name).chain(["partition_by"]);
            return Err(unknown_option(&name, "COPY", names));
        };
        let text = value.text();
        if spec.secret && !Secret::is_reference(&text) {
            return Err(literal_secret(&name));
        }
        if own.insert(name.clone(), text).is_some() {
            return Err(Error::invalid(format!("option {name} is given twice")));
        }
    }
    Ok(own)
}

fn literal_secret(name: &str) -> Error {
    Error::invalid_with_help(
        format!("option {name} is a secret and never written literally"),
        format!("Refer to it: {name} = 'env:NAME' or 'file:/run/secrets/name'"),
    )
}

/// A view's options: those about people, and, of one that is kept, those of its contract.
pub(super) fn of_view(
    options: &Options,
    about: &mut About,
    contract: &mut BTreeMap<String, String>,
    is_kept: bool,
) -> Result<()> {
    let own = if is_kept {
        views::OPTIONS
    } else {
        views::BOUNDS
    };
    for (name, value) in options.iter() {
        if let Some(field) = about.field_mut(&name) {
            *field = Some(value.text());
            continue;
        }
        if own.contains(&name.as_str()) {
            contract.insert(name, value.text());
            continue;
        }
        if views::OPTIONS.contains(&name.as_str()) {
            return Err(Error::invalid_with_help(
                format!("a virtual view has no option {name}: it is computed when it is read"),
                "CREATE MATERIALIZED VIEW keeps its rows",
            ));
        }
        let people = About::default().fields().map(|f| f.0);
        let known = people.into_iter().chain(own.iter().copied());
        let of = match is_kept {
            true => "materialized view",
            false => "view",
        };
        return Err(unknown_option(&name, of, known));
    }
    Ok(())
}

fn unknown_option<'a>(name: &str, of: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    if LATER.contains(&name) {
        return Error::NotInThisVersion {
            what: format!("option {name}"),
        };
    }
    let known: Vec<_> = known.into_iter().collect();
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("Did you mean {near}?"),
        None => format!("Known are {}", known.join(", ")),
    };
    Error::invalid_with_help(format!("a {of} has no option {name}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_made_absolute() {
        let base = Path::new("/work/defs");
        for (url, expected) in [
            ("sqlite:shop.db", "sqlite:/work/defs/shop.db"),
            ("sqlite:./shop.db", "sqlite:/work/defs/shop.db"),
            ("sqlite:/data/shop.db", "sqlite:/data/shop.db"),
            ("sqlite:///data/shop.db", "sqlite:///data/shop.db"),
            ("./sales/", "/work/defs/sales/"),
            ("sales", "/work/defs/sales"),
            ("file:sales", "file:/work/defs/sales"),
            ("s3://bucket/sales/", "s3://bucket/sales/"),
            ("postgres://reader@host/db", "postgres://reader@host/db"),
        ] {
            assert_eq!(absolute(url, base).unwrap(), expected);
        }
        assert!(absolute("sqlite://shop.db", base).is_err());
    }
}

use belvedere_sql::Statement;

use crate::error::{Error, Result};

/// A path has no meaning on another machine than the one it was typed on.
pub(super) fn refuse_relative(url: &str) -> Result<()> {
    let path = match url.split_once(':') {
        Some(("sqlite" | "file", path)) => path,
        // One letter is a drive.
        Some((scheme, _)) if scheme.len() > 1 && !scheme.contains(['/', '.']) => return Ok(()),
        _ => url,
    };
    if path.starts_with(['/', ':']) || std::path::Path::new(path).is_absolute() {
        return Ok(());
    }
    Err(Error::Invalid {
        message: format!("the path in '{url}' is relative"),
        help: Some("Over a connection write it absolute, as the server sees it".into()),
    })
}

/// The same of the paths of a statement.
pub(super) fn refuse_relative_in(statement: &Statement) -> Result<()> {
    match statement {
        Statement::CreateSource(source) => refuse_relative(&source.url),
        Statement::Copy(copy) => copy.to.as_deref().map_or(Ok(()), refuse_relative),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_refused() {
        for url in [
            "shop.db",
            "./dir",
            "sqlite:shop.db",
            "file:dir",
            "sqlite:./a.db",
            "a/b:c",
        ] {
            assert!(refuse_relative(url).is_err(), "{url}");
        }
        for url in [
            "/dir",
            "sqlite:/a.db",
            "sqlite:///a.db",
            "sqlite::memory:",
            "s3://b/c/",
            "postgres://h/d",
        ] {
            assert!(refuse_relative(url).is_ok(), "{url}");
        }
    }
}

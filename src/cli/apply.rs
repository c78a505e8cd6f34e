use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::args::{Apply, Check};
use super::failure::{Failure, Result};
use super::progress::Progress;
use super::script::cancellable;
use super::target;
use crate::engine::{ApplyOptions, SqlFile};
use crate::serve::flight::client::RemoteChange;

/// Folders in folders: more is a loop of links.
const MAX_DEPTH: usize = 32;

/// `belvedere apply`
pub async fn apply(arguments: Apply) -> Result<()> {
    if arguments.place.data.is_none() && arguments.place.connect.is_none() {
        return Err(Failure::usage("apply needs to know where")
            .help("Add --data DIR or --connect URL; belvedere check validates without either"));
    }
    let options = ApplyOptions {
        prune: arguments.prune,
        ..ApplyOptions::default()
    };
    let changes = cancellable(async {
        let files = read(&arguments.files)?;
        let target = target::open(&arguments.place).await?;
        let progress = Progress::work("reading the sources");
        let changes = target.apply(files, options).await?;
        progress.finish();
        Ok(changes)
    })
    .await?;
    print(&changes, "applied")
}

/// `belvedere check`
pub async fn check(arguments: Check) -> Result<()> {
    let options = ApplyOptions {
        check_only: true,
        strict: arguments.strict,
        prune: false,
    };
    let changes = cancellable(async {
        let files = read(&arguments.files)?;
        let target = target::open(&arguments.place).await?;
        let progress = Progress::work("reading the sources");
        let changes = target.apply(files, options).await?;
        progress.finish();
        Ok(changes)
    })
    .await?;
    print(&changes, "valid; nothing was changed")?;
    let missing = changes
        .iter()
        .filter(|c| c.action == "notice" && c.kind != "source")
        .count();
    match arguments.strict && missing > 0 {
        true => Err(Failure::new(format!(
            "{missing} definitions lack what --strict asks for"
        ))),
        false => Ok(()),
    }
}

/// All `*.sql` files below a folder, by name; or the one file.
fn read(path: &Path) -> Result<Vec<SqlFile>> {
    let unreadable = |path: &Path, e: io::Error| {
        Failure::usage(format!("{} cannot be read: {e}", path.display()))
    };
    // Relative paths inside are relative to the file; stored, they are absolute.
    let root = fs::canonicalize(path).map_err(|e| unreadable(path, e))?;
    let mut found = BTreeMap::new();
    if root.is_dir() {
        collect(&root, 0, &mut found).map_err(|(path, e)| unreadable(&path, e))?;
    } else {
        let text = fs::read_to_string(&root).map_err(|e| unreadable(path, e))?;
        found.insert(root.clone(), text);
    }
    if found.is_empty() {
        return Err(Failure::usage(format!(
            "{} holds no *.sql file",
            path.display()
        )));
    }
    let files = found.into_iter().map(|(file, text)| {
        let name = match file.strip_prefix(&root) {
            Ok(inside) if !inside.as_os_str().is_empty() => inside.display().to_string(),
            _ => path.display().to_string(),
        };
        SqlFile {
            name,
            text,
            base_dir: file.parent().unwrap_or(&root).to_path_buf(),
        }
    });
    Ok(files.collect())
}

fn collect(
    folder: &Path,
    depth: usize,
    found: &mut BTreeMap<PathBuf, String>,
) -> Result<(), (PathBuf, io::Error)> {
    let at = |e: io::Error| (folder.to_path_buf(), e);
    for entry in fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden && depth < MAX_DEPTH {
            collect(&path, depth + 1, found)?;
        } else if path.is_file()
            && !hidden
            && path
                .extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("sql"))
        {
            let text = fs::read_to_string(&path).map_err(|e| (path.clone(), e))?;
            found.insert(path, text);
        }
    }
    Ok(())
}

/// The difference, a line each: `+` created, `~` replaced, `-` dropped, `?` not in the files, `!` to be known.
fn print(changes: &[RemoteChange], done: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let mut write = |line: String| {
        writeln!(out, "{line}")
            .map_err(|e| Failure::new(format!("the output cannot be written: {e}")))
    };
    let mut kept = 0;
    for change in changes {
        let sign = match change.action.as_str() {
            "create" => '+',
            "replace" => '~',
            "drop" => '-',
            "extra" => '?',
            "notice" => '!',
            _ => {
                kept += 1;
                continue;
            }
        };
        let detail = match (&change.detail, sign) {
            (Some(detail), _) => format!(": {detail}"),
            (None, '?') => ": no file defines it (--prune drops it)".to_string(),
            (None, _) => String::new(),
        };
        write(format!("{sign} {} {}{detail}", change.kind, change.name))?;
    }
    let count = |action: &str| changes.iter().filter(|c| c.action == action).count();
    write(format!(
        "{} created, {} replaced, {} dropped, {kept} as they were: {done}",
        count("create"),
        count("replace"),
        count("drop")
    ))
}

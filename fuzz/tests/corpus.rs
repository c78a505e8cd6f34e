//! What was worth keeping of what fuzz targets were given, once more: seeds, and what has found something.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use belvedere_fuzz::TARGETS;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A panic that a server catches is one all the same.
#[test]
fn whatever_was_kept_does_no_harm() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let folder = corpus.join(name);
        let files = std::fs::read_dir(&folder);
        let files = files.unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut given = 0;
        for file in files {
            let path = file.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            // Each target takes bytes that end anywhere.
            for bytes in [&data[..], &data[..data.len() / 2]] {
                let _ = std::panic::catch_unwind(|| target(bytes));
                let panics = PANICS.load(Ordering::Relaxed);
                assert_eq!(panics, 0, "{}", path.display());
            }
            given += 1;
        }
        assert!(given > 0, "{name} has no corpus");
        println!("{name}: {given} files");
    }
}

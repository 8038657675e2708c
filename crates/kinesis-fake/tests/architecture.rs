//! House rules that a compiler does not know.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

/// The model is pure: no clock, no task, no I/O, no chance, no order that differs between runs.
#[test]
fn the_model_knows_no_clock_and_no_runtime() {
    let banned = [
        "tokio",
        "async ",
        ".await",
        "Instant",
        "SystemTime",
        "rand::",
        "HashMap",
        "HashSet",
        "std::io",
        "std::net",
        "std::thread",
    ];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = vec![src.join("model.rs")];
    sources_in(&src.join("model"), &mut sources);
    assert!(sources.len() > 10, "the model has moved: {sources:?}");
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        for word in banned {
            assert!(!text.contains(word), "{} says `{word}`", path.display());
        }
    }
}

fn sources_in(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources_in(&path, found);
        } else {
            found.push(path);
        }
    }
}

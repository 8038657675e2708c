//! COVERAGE.md says nothing that is not so.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// How many tests GenStage's release 1.3.2 has.
const GENSTAGES: usize = 212;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn page() -> String {
    fs::read_to_string(tests().join("COVERAGE.md")).unwrap()
}

fn rows(page: &str) -> impl Iterator<Item = &str> {
    page.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| GenStage's"))
}

#[test]
fn each_test_of_genstages_has_a_line() {
    let page = page();
    let mut titles = BTreeSet::new();
    for section in page.split("\n## ").skip(1) {
        let file = section.lines().next().unwrap();
        if !file.starts_with("Other versions") {
            let all = rows(section).map(|row| (file, row.split(" | ").next().unwrap()));
            all.for_each(|title| assert!(titles.insert(title), "twice: {title:?}"));
        }
    }
    assert_eq!(titles.len(), GENSTAGES);
}

#[test]
fn every_test_that_is_named_exists() {
    let (tests, page) = (tests(), page());
    let rows = rows(&page);
    let (mut covered, mut not_applicable) = (0, 0);
    for row in rows {
        let place = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        if let Some(reason) = place.strip_prefix("n/a") {
            assert!(reason.len() > 4, "no reason: {row}");
            not_applicable += 1;
            continue;
        }
        let is_trace = place.starts_with("trace: ");
        let place = place.trim_start_matches("trace: ");
        let (file, test) = place.split_once(": ").unwrap_or_else(|| panic!("{row}"));
        let test = test.split(" (").next().unwrap();
        let file = tests
            .join(if is_trace { "genstage" } else { "" })
            .join(file);
        let code = fs::read_to_string(&file).unwrap_or_else(|_| panic!("no file: {row}"));
        assert!(code.contains(&format!("fn {test}(")), "no such test: {row}");
        covered += 1;
    }
    println!("{covered} covered, {not_applicable} not applicable");
    assert!(covered > 150, "only {covered}");
}

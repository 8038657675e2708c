//! The specification says nothing that is not tested.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn every_rule_names_a_test_that_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(here.join("src/rules.md")).unwrap();
    let heads = ["| --- ", "| rule | value | source | test |"];
    let mut rules = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with('|')) {
        if heads.iter().any(|head| row.starts_with(head)) {
            continue;
        }
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [rule, value, source, test] = cells[..] else {
            panic!("not four cells: {row}");
        };
        assert!(!value.is_empty() && !source.is_empty(), "{row}");
        assert!(rules.insert((rule, value)), "twice: {row}");
        let (file, name) = test.trim_matches('`').split_once(": ").unwrap();
        let code = fs::read_to_string(here.join(file));
        let code = code.unwrap_or_else(|_| panic!("no such file: {row}"));
        let found = code.find(&format!("fn {name}("));
        let found = found.unwrap_or_else(|| panic!("no such test: {row}"));
        let before = code[..found].rsplit('\n').skip(1);
        let mut attributes = before.take_while(|line| line.trim_start().starts_with("#["));
        assert!(
            attributes.any(|line| line.contains("test")),
            "not a test: {row}"
        );
    }
    assert!(rules.len() > 90, "only {} rules", rules.len());
}

/// Who copies an example that leaves it out waits for hours.
#[test]
fn the_page_on_testing_shows_how_time_is_paused() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(here.join("src/testing.md")).unwrap();
    let pausing = page
        .lines()
        .filter(|line| line.contains("tokio::main(flavor"));
    let pausing: Vec<_> = pausing.collect();
    assert!(pausing.len() > 4, "{pausing:?}");
    for line in pausing {
        assert!(
            line.starts_with("#[") && line.contains("start_paused = true"),
            "{line}"
        );
    }
    assert!(page.contains("#[tokio::test(start_paused = true)]"));
    assert!(page.contains(r#"features = ["macros", "rt", "test-util"]"#));
}

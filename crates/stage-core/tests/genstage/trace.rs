//! Where traces come from.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use serde_json::Value;

pub(crate) enum Traces {
    /// Those of the project, compressed.
    Kept(PathBuf),
    /// Plain ones, of whoever runs this.
    Given(PathBuf),
}

impl Traces {
    pub(crate) fn find() -> Self {
        env::var_os("STAGE_CORE_TRACES").map_or_else(Self::kept, |dir| Self::given(Path::new(&dir)))
    }

    /// A directory, also one that is named from the workspace: tests run in their crate.
    pub(crate) fn given(dir: &Path) -> Self {
        let from_workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(dir);
        Self::Given(match dir.is_dir() {
            true => dir.to_owned(),
            false => from_workspace,
        })
    }

    pub(crate) fn kept() -> Self {
        Self::Kept(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/genstage/traces"))
    }

    pub(crate) fn are_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }

    /// The names of its files that no replay of these knows.
    pub(crate) fn unknown(&self, known: &[&str]) -> Vec<String> {
        let Self::Given(dir) = self else {
            return Vec::new();
        };
        let entries =
            fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let is_unknown = |name: &String| {
            let trace = name.strip_suffix(".jsonl");
            trace.is_some_and(|trace| !known.contains(&trace))
        };
        names.filter(is_unknown).collect()
    }

    /// The scenarios of a file, a line each. A given directory need not have all files.
    pub(crate) fn scenarios(&self, name: &str) -> Option<impl Iterator<Item = Value> + use<>> {
        let reader: Box<dyn Read> = match self {
            Self::Kept(dir) => {
                Box::new(GzDecoder::new(open(&dir.join(format!("{name}.jsonl.gz")))))
            }
            Self::Given(dir) => {
                let file = dir.join(format!("{name}.jsonl"));
                if !file.exists() {
                    return None;
                }
                Box::new(open(&file))
            }
        };
        let lines = BufReader::new(reader).lines().map(|line| line.unwrap());
        let scenarios = lines.filter(|line| !line.trim().is_empty()).map(|line| {
            let mut scenario: Value = serde_json::from_str(&line).unwrap();
            if scenario.get("dispatcher").is_some() {
                for step in scenario["steps"].as_array_mut().into_iter().flatten() {
                    // How GenStage keeps its books is not compared.
                    step.as_object_mut().unwrap().remove("state");
                }
            }
            scenario
        });
        Some(scenarios)
    }
}

fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn steps(scenario: &Value) -> &[Value] {
    scenario["steps"].as_array().map_or(&[], Vec::as_slice)
}

/// Producers whose subscription is accepted, and ends since it is one too many.
pub(crate) fn refused_late(steps: &[Value]) -> BTreeSet<String> {
    let mut ended = BTreeSet::new();
    let mut refused = BTreeSet::new();
    for step in steps {
        let who = match step["op"].as_str() {
            Some("producer_cancels") => &step["producer"],
            Some("down") => &step["who"],
            _ => continue,
        };
        // Only the first end is one.
        let who = who.as_str().unwrap().to_owned();
        if ended.insert(who.clone()) && step["reason"] == "already_subscribed" {
            refused.insert(who);
        }
    }
    refused
}

/// What GenStage is known to do wrong. See section 8 of the traces' FORMAT.md.
const QUIRKS: [&str; 6] = [
    "accumulate_takes_buffer",
    "already_subscribed_forgets_process",
    "none_not_rerequested",
    "pc_demand_not_used_up",
    "stale_requested",
    "waiting_with_buffer",
];

/// From which step on GenStage is known to be wrong, by one of the quirks that are known.
pub(crate) fn disputed_from(scenario: &Value) -> usize {
    let Some(from) = scenario["quirk_from"].as_u64() else {
        return usize::MAX;
    };
    let quirks: Vec<String> = serde_json::from_value(scenario["quirks"].clone()).unwrap();
    let unknown = quirks.iter().find(|it| !QUIRKS.contains(&it.as_str()));
    assert!(
        unknown.is_none() && !quirks.is_empty(),
        "no quirk that is known: {quirks:?}"
    );
    from as usize
}

/// `c12` is 12.
pub(crate) fn number(name: &Value) -> u64 {
    name.as_str().unwrap()[1..].parse().unwrap()
}

pub(crate) fn numbers(list: &Value) -> Vec<u64> {
    serde_json::from_value(list.clone()).unwrap()
}

/// What a handler makes of an event.
pub(crate) fn handled(handler: &Value, event: u64) -> impl Iterator<Item = u64> {
    let get = |key: &str| handler.get(key).and_then(Value::as_u64);
    let (modulus, mul) = (get("mod").unwrap_or(1), get("mul").unwrap_or(1));
    let kept = handler.get("in").is_none_or(|kept| {
        let kept = kept.as_array().unwrap();
        kept.iter()
            .any(|kept| kept.as_u64() == Some(event % modulus))
    });
    let times = if kept { get("repeat").unwrap_or(1) } else { 0 };
    std::iter::repeat_n(event * mul, times as usize)
}

/// Whether a reason means that nothing is wrong.
pub(crate) fn is_graceful(reason: &str) -> bool {
    reason == "normal" || reason.starts_with("shutdown")
}

#[test]
#[should_panic(expected = "no quirk that is known")]
fn an_invented_quirk_sets_nothing_aside() {
    disputed_from(&serde_json::json!({ "quirks": ["nonsense"], "quirk_from": 0 }));
}

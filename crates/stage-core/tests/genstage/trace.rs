//! Where traces come from, and what is counted about them.

use std::{
    env, fmt,
    fs::File,
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
        env::var_os("STAGE_CORE_TRACES").map_or_else(Self::kept, |dir| Self::Given(dir.into()))
    }

    pub(crate) fn kept() -> Self {
        Self::Kept(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/genstage/traces"))
    }

    /// The scenarios of a file, a line each.
    pub(crate) fn scenarios(&self, name: &str) -> impl Iterator<Item = Value> + use<> {
        let reader: Box<dyn Read> = match self {
            Self::Kept(dir) => {
                Box::new(GzDecoder::new(open(&dir.join(format!("{name}.jsonl.gz")))))
            }
            Self::Given(dir) => Box::new(open(&dir.join(format!("{name}.jsonl")))),
        };
        let lines = BufReader::new(reader).lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }
}

fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What was compared, of one file.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) scenarios: usize,
    pub(crate) steps: usize,
    /// Steps that GenStage refuses with an error and that are ignored here.
    pub(crate) ignored: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenarios,
            steps,
            ignored,
        } = self;
        writeln!(
            f,
            "demand_dispatcher: {scenarios} scenarios, {steps} steps compared, all identical:"
        )?;
        writeln!(
            f,
            "  who is sent what, in which batches, what is left over, what is raised upstream"
        )?;
        write!(
            f,
            "  {ignored} of them are errors in GenStage (no such subscription) and do nothing here"
        )
    }
}

/// Makes the first two batches of a step change their receivers.
pub(crate) fn swap_batches(scenario: &mut Value) -> bool {
    let mut steps = scenario["steps"].as_array_mut().unwrap().iter_mut();
    steps.any(|step| {
        let Some(sent) = step["sent"].as_array_mut().filter(|sent| sent.len() > 1) else {
            return false;
        };
        let first = sent[0][0].take();
        sent[0][0] = sent[1][0].take();
        sent[1][0] = first;
        true
    })
}

/// Takes an event out of a batch.
pub(crate) fn drop_event(scenario: &mut Value) -> bool {
    let steps = scenario["steps"].as_array_mut().unwrap().iter_mut();
    let mut batches = steps.filter_map(|step| step["sent"].get_mut(0));
    batches
        .next()
        .is_some_and(|batch| batch[1].as_array_mut().unwrap().pop().is_some())
}

/// Lets a batch that was sent be left over.
pub(crate) fn move_to_leftover(scenario: &mut Value) -> bool {
    let mut steps = scenario["steps"].as_array_mut().unwrap().iter_mut();
    steps.any(|step| {
        let last = step["sent"].as_array_mut().and_then(Vec::pop);
        let Some(mut last) = last else { return false };
        let events = last[1].as_array_mut().unwrap();
        let leftover = step["leftover"].as_array_mut().unwrap();
        leftover.splice(0..0, events.drain(..));
        true
    })
}

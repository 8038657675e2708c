//! Each field of each kind of step, made wrong: a replay that does not notice looks away.
//!
//! What was recorded must be noticed at each place that is tried. What was done (an argument, an option)
//! may be made another without changing what came of it, and so must be noticed at one of some places.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread::{self, ScopedJoinHandle},
};

use serde_json::{Value, json};

use crate::{
    files::{FILES, File},
    tally::Tally,
    trace::{Traces, disputed_from},
};

/// At how many places something recorded is made wrong, something done, and what cannot matter. (Of what
/// is recorded, fifteen were noticed as well.)
const RECORDED: usize = 3;
const DONE: usize = 50;
const DOES_NOT_MATTER: usize = 3;

use Wrong::{Gone, Other, Twice};

/// A place in a scenario.
struct Site {
    pointer: String,
    scenario: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    /// It is another.
    Other,
    /// It is not there.
    Gone,
    /// It is there twice.
    Twice,
}

const NO_BATCHES: &str = "it decides on batches, and of this kind none are recorded";
const SUMMED_UP: &str = "only whether all arrive, and in order, is recorded of this kind";
const NO_MODE: &str = "nothing ends that it would be for";

const IMMATERIAL: &[Immaterial] = &[
    immaterial("scenario seed", &[Other, Gone], "it is a name"),
    immaterial(
        "scenario profile",
        &[Other, Gone],
        "it is a note on what the scenario is for",
    ),
    immaterial("scenario quirks", &[Other], "they are names, for the table"),
    immaterial(
        "scenario quirks[]",
        &[Other, Twice],
        "they are names, for the table",
    ),
    immaterial(
        "scenario quirk_from",
        &[Other, Gone],
        "what GenStage does may be right there",
    ),
    immaterial("partitions[]", &[Twice], "it is a set"),
    immaterial(".in[]", &[Twice], "it is a set"),
    immaterial(
        "spec.consumers[]",
        &[Twice],
        "one of the same name is looked for, and found",
    ),
    immaterial("hash.mul", &[Gone], "it is one, then"),
    immaterial(
        "handler.stop_on",
        &[Gone],
        "it never stops, then, as if it were null",
    ),
    immaterial(
        "options.handler",
        &[Gone],
        "it never stops, then, as if `stop_on` were null",
    ),
    immaterial(
        "ask self",
        &[Gone],
        "who asks is all the same to a dispatcher",
    ),
    immaterial(
        "manual_cancel spec.max_demand",
        &[Other, Gone],
        "it is asked by hand",
    ),
    immaterial(
        "manual_cancel spec.min_demand",
        &[Other, Gone],
        "it is asked by hand",
    ),
    immaterial("spec.consumers[].max_demand", &[Other], NO_BATCHES),
    immaterial("spec.consumer", &[Other], NO_BATCHES),
    immaterial("spec.consumer.max_demand", &[Other], NO_BATCHES),
    immaterial("spec.consumer.min_demand", &[Other], NO_BATCHES),
    immaterial("spec.hop.max_demand", &[Other], NO_BATCHES),
    immaterial("spec.hops[].max_demand", &[Other], NO_BATCHES),
    immaterial("spec.hops[].min_demand", &[Other], NO_BATCHES),
    immaterial("stream spec.max_demand", &[Other], NO_BATCHES),
    immaterial("spec.first.min_demand", &[Other], NO_BATCHES),
    immaterial("fanout spec", &[Other], SUMMED_UP),
    immaterial("fanout spec.events", &[Other], SUMMED_UP),
    immaterial("fanout spec.consumers", &[Other], SUMMED_UP),
    immaterial("fanout spec.max_demand", &[Other], SUMMED_UP),
    immaterial("spec.consumer.cancel", &[Gone], NO_MODE),
    immaterial("spec.second.cancel", &[Gone], NO_MODE),
    immaterial("options spec.cancel", &[Gone], "it is as good as null"),
    immaterial(
        "enumerable spec.ends",
        &[Other, Gone],
        "an iterator can only come to its end",
    ),
    immaterial(
        "options outcome.text",
        &[Other, Gone],
        "what ours says is its own",
    ),
];

/// A field that cannot matter, named by how its label ends.
struct Immaterial {
    label: &'static str,
    /// If it is made so wrong.
    wrongs: &'static [Wrong],
    reason: &'static str,
}

const fn immaterial(
    label: &'static str,
    wrongs: &'static [Wrong],
    reason: &'static str,
) -> Immaterial {
    Immaterial {
        label,
        wrongs,
        reason,
    }
}

#[test]
fn each_field_that_is_made_wrong_is_noticed() {
    // Two files take as long as all others.
    let (long, others): (Vec<_>, Vec<_>) = FILES
        .into_iter()
        .partition(|file| file.name.starts_with("producer"));
    let found: BTreeSet<_> = thread::scope(|scope| {
        let check_all =
            |files: Vec<File>| scope.spawn(move || files.iter().flat_map(check).collect());
        let both: [ScopedJoinHandle<'_, Vec<_>>; 2] = [long, others].map(check_all);
        both.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    for Immaterial { label, .. } in IMMATERIAL {
        assert!(
            found.contains(label),
            "there is no {label}, or it matters everywhere"
        );
    }
}

/// Makes each field of a file wrong in each way. Returns what does not matter.
fn check(file: &File) -> Vec<&'static str> {
    let scenarios: Vec<_> = Traces::kept().scenarios(file.name).unwrap().collect();
    let (mut wrongs, mut failures, mut found) = (0, Vec::new(), Vec::new());
    for (label, sites) in by_label(&scenarios) {
        for wrong in [Other, Gone, Twice] {
            let trial = Trial {
                file,
                scenarios: &scenarios,
                sites: &sites,
                wrong,
            };
            let known = IMMATERIAL.iter().find(|it| it.is(&label, wrong));
            let (places, noticed) = trial.run(
                match known {
                    Some(_) => DOES_NOT_MATTER,
                    None if is_recorded(&label) => RECORDED,
                    None => DONE,
                },
                is_recorded(&label),
            );
            let is_noticed = noticed == places || noticed > 0 && !is_recorded(&label);
            match known {
                _ if is_noticed => {}
                Some(known) => found.push(known),
                None => failures.push(format!("{label}, {wrong:?}: {noticed} of {places} places")),
            }
            wrongs += usize::from(places > 0);
        }
    }
    println!(
        "{}: {wrongs} ways to be wrong, and of these do not matter",
        file.title
    );
    for Immaterial {
        label,
        wrongs,
        reason,
    } in &found
    {
        println!("    {label} {wrongs:?}: {reason}");
    }
    assert!(failures.is_empty(), "{}: {failures:#?}", file.title);
    found.into_iter().map(|it| it.label).collect()
}

impl Immaterial {
    fn is(&self, label: &str, wrong: Wrong) -> bool {
        label.ends_with(self.label) && self.wrongs.contains(&wrong)
    }
}

/// A field that is made wrong in one way.
struct Trial<'a> {
    file: &'a File,
    scenarios: &'a [Value],
    sites: &'a [Site],
    wrong: Wrong,
}

impl Trial<'_> {
    /// At how many places it was made wrong, and at how many of these that was noticed. Of what was
    /// done, one is enough.
    fn run(&self, most: usize, is_recorded: bool) -> (usize, usize) {
        let mut dice = Dice(0x5eed);
        let (mut tried, mut noticed) = (0, 0);
        let mut places = Vec::from_iter(self.sites);
        while tried < most && !places.is_empty() && (is_recorded || noticed == 0) {
            let site = places.swap_remove(dice.roll(places.len()));
            if let Some(scenario) = self.corrupt(site, &mut dice) {
                let verdict = self.file.verdict(&scenario, &mut Tally::default());
                tried += 1;
                noticed += usize::from(verdict.is_err());
            }
        }
        (tried, noticed)
    }

    /// A scenario that is wrong at a place, if it can be.
    fn corrupt(&self, site: &Site, dice: &mut Dice) -> Option<Value> {
        let scenario = &self.scenarios[site.scenario];
        let (parent, key) = site.pointer.rsplit_once('/').unwrap();
        let place = scenario.pointer(&site.pointer).unwrap();
        let other = match self.wrong {
            Other => self.other_than(place, dice)?,
            Twice if !scenario.pointer(parent).unwrap().is_array() => return None,
            Twice | Gone => Value::Null,
        };
        let mut scenario = scenario.clone();
        match (self.wrong, scenario.pointer_mut(parent).unwrap()) {
            (Other, Value::Array(list)) => list[key.parse::<usize>().unwrap()] = other,
            (Other, object) => object[key] = other,
            (Gone, Value::Object(object)) => {
                object.remove(key);
            }
            (Gone, list) => {
                let list = list.as_array_mut().unwrap();
                list.remove(key.parse().unwrap());
            }
            (Twice, list) => {
                let (list, at) = (list.as_array_mut().unwrap(), key.parse().unwrap());
                list.insert(at, list[at].clone());
            }
        }
        Some(scenario)
    }

    /// A number that is one more; of all else, what is there at another such place, or a word that is
    /// none.
    fn other_than(&self, place: &Value, dice: &mut Dice) -> Option<Value> {
        if let Some(number) = place.as_u64() {
            return Some(json!(number + 1));
        }
        let mut others = (0..20).map(|_| {
            let other = &self.sites[dice.roll(self.sites.len())];
            let scenario = &self.scenarios[other.scenario];
            scenario.pointer(&other.pointer).unwrap()
        });
        let other = others.find(|other| *other != place).cloned();
        other.or_else(|| Some(json!(format!("no-{}", place.as_str()?))))
    }
}

/// Whether a field is what came of a step, and not what was done.
fn is_recorded(label: &str) -> bool {
    const RECORDED: [&str; 24] = [
        "log",
        "buffered",
        "exit",
        "result",
        "demand",
        "sent",
        "leftover",
        "discarded",
        "infos",
        "self_asks",
        "warnings",
        "error",
        "excess",
        "perms",
        "size",
        "remaining",
        "queued",
        "asks",
        "started",
        "active",
        "children",
        "outcome",
        "state",
        "-",
    ];
    let mut words = label.split([' ', '.', '[']);
    let (op, field) = (words.next().unwrap(), words.next().unwrap_or_default());
    RECORDED.contains(&field) || field == "events" && ["take", "emit", "feed"].contains(&op)
}

fn by_label(scenarios: &[Value]) -> BTreeMap<String, Vec<Site>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        let undisputed = disputed_from(scenario);
        let mut note = |label: String, pointer: String| {
            let site = Site {
                pointer,
                scenario: number,
            };
            all.entry(label).or_default().push(site);
        };
        let kind = scenario["kind"].as_str().unwrap_or("scenario");
        for (key, value) in scenario.as_object().unwrap() {
            if value.is_null() && key == "steps" {
                continue;
            }
            if key != "steps" {
                let kind = if ["spec", "outcome"].contains(&&**key) {
                    kind
                } else {
                    "scenario"
                };
                walk(
                    value,
                    &format!("{kind} {key}"),
                    &format!("/{key}"),
                    &mut note,
                );
                continue;
            }
            for (at, step) in value
                .as_array()
                .unwrap()
                .iter()
                .take(undisputed)
                .enumerate()
            {
                let op = step["op"].as_str().unwrap();
                for (key, value) in step.as_object().unwrap() {
                    walk(
                        value,
                        &format!("{op} {key}"),
                        &format!("/steps/{at}/{key}"),
                        &mut note,
                    );
                }
            }
        }
    }
    all
}

fn walk(value: &Value, label: &str, pointer: &str, note: &mut impl FnMut(String, String)) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                // A name is none of a field.
                let is_name = key.ends_with(|c: char| c.is_ascii_digit());
                let field = if is_name { "*" } else { key };
                walk(
                    value,
                    &format!("{label}.{field}"),
                    &format!("{pointer}/{key}"),
                    note,
                );
            }
        }
        Value::Array(list) if !list.is_empty() => {
            // What begins by a name of something has a place for each thing.
            let is_entry = label.ends_with(']') && list[0].is_string();
            let what = list[0].as_str().unwrap_or_default();
            let is_log = label.ends_with(" log[]") || label.ends_with("_log[]");
            let label = if is_log {
                format!("{label} {what}")
            } else {
                label.to_owned()
            };
            if is_log {
                note(format!("{label} "), pointer.to_owned());
            }
            for (at, value) in list.iter().enumerate() {
                let place = if is_entry {
                    at.to_string()
                } else {
                    String::new()
                };
                walk(
                    value,
                    &format!("{label}[{place}]"),
                    &format!("{pointer}/{at}"),
                    note,
                );
            }
        }
        _ => {}
    }
    note(label.to_owned(), pointer.to_owned());
}

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }
}

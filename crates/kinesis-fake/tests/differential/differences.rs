use std::collections::BTreeSet;

use serde_json::Value;

use crate::{account::REFUSED, step::Step};

/// A server that others wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    Kinesalite,
    Moto,
}

/// A difference that has an explanation, under its name, in `DIFFERENCES.md`.
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    pub(crate) other: Other,
    /// Takes out of our answer and of theirs what it explains; whether there was anything.
    pub(crate) take_out: fn(&Step, &mut Value, &mut Value) -> bool,
}

/// Whether both are in different states after a step.
pub(crate) fn part_ways(other: Other, step: &Step, ours: &Value, theirs: &Value) -> bool {
    // Moto's numbers are not those of its records alone: what is read from there on says nothing.
    let by_number = matches!(step, Step::IteratorAt { .. } | Step::IteratorAtStart { .. });
    let refused = |answer: &Value| answer.get(REFUSED).is_some();
    let next = |answer: &Value| answer.get("NextShardIterator").is_some();
    let reads = matches!(step, Step::Read { .. });
    let puts = matches!(step, Step::Put { .. } | Step::PutBatch { .. });
    other == Other::Moto && by_number
        || refused(ours) != refused(theirs)
        || reads && next(ours) != next(theirs)
        || puts && shards_put_on(ours) != shards_put_on(theirs)
}

fn shards_put_on(answer: &Value) -> Vec<&Value> {
    let records = answer["Records"].as_array().into_iter().flatten();
    let shards = records.map(|record| &record["ShardId"]);
    shards.chain([&answer["ShardId"]]).collect()
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "kinesalite: members that came later",
        other: Other::Kinesalite,
        take_out: |step, ours, _| match step {
            Step::Put { .. } | Step::PutBatch { .. } => remove(ours, &["EncryptionType"]),
            Step::Describe { .. } => remove_in(ours, "/StreamDescription", &["StreamModeDetails"]),
            Step::Summary => remove_in(
                ours,
                "/StreamDescriptionSummary",
                &[
                    "MaxRecordSizeInKiB",
                    "RecordDistributionStrategy",
                    "StreamModeDetails",
                ],
            ),
            Step::Read { .. } => remove(ours, &["ChildShards"]),
            _ => false,
        },
    },
    Difference {
        name: "kinesalite: lag",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let lags = [&*ours, &*theirs].map(|it| it["MillisBehindLatest"].clone());
            let differ = matches!(step, Step::Read { .. }) && lags[0] != lags[1];
            differ && remove_both(ours, theirs, &["MillisBehindLatest"])
        },
    },
    Difference {
        name: "kinesalite: the end of a shard",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let ends = ours.get("NextShardIterator").is_none() && ours.get("Records").is_some();
            matches!(step, Step::Read { .. }) && ends && remove(theirs, &["NextShardIterator"])
        },
    },
    Difference {
        name: "kinesalite: the order of a merge",
        other: Other::Kinesalite,
        take_out: merge_the_other_way_round,
    },
    Difference {
        name: "kinesalite: listings are whole",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let pages = matches!(
                step,
                Step::List { most: Some(_) }
                    | Step::ListFiltered { .. }
                    | Step::Describe { most: Some(_) }
            );
            pages && has_shards_of(ours, theirs) && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "kinesalite: zeros before a hash key",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let zeros = |body: &Value| body["ExplicitHashKey"] == "01";
            matches!(step, Step::Odd { body, .. } if zeros(body)) && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "kinesalite: retention of a week at most",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let out = matches!(step, Step::Retention { hours, .. } if !(24..=168).contains(hours));
            let refusal = theirs[REFUSED].as_str().unwrap_or_default();
            let validated = refusal.ends_with("equal to 168") || refusal.ends_with("equal to 24");
            out && validated && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "moto: requests are hardly checked",
        other: Other::Moto,
        take_out: |step, ours, theirs| {
            let odd = matches!(
                step,
                Step::Odd { .. } | Step::List { most: Some(0) } | Step::Describe { most: Some(0) }
            );
            odd && ours.get(REFUSED).is_some() && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "moto: shards do not end",
        other: Other::Moto,
        take_out: |step, ours, theirs| {
            let ends = ours.get("NextShardIterator").is_none() && ours.get("Records").is_some();
            let read = matches!(step, Step::Read { .. }) && ends;
            read && remove_both(ours, theirs, &["NextShardIterator", "ChildShards"])
        },
    },
    Difference {
        name: "moto: members that came later",
        other: Other::Moto,
        take_out: |step, ours, _| match step {
            Step::Put { .. } | Step::PutBatch { .. } => remove(ours, &["EncryptionType"]),
            Step::Describe { .. } => remove_in(ours, "/StreamDescription", &["StreamModeDetails"]),
            Step::Summary => remove_in(
                ours,
                "/StreamDescriptionSummary",
                &[
                    "MaxRecordSizeInKiB",
                    "RecordDistributionStrategy",
                    "ConsumerCount",
                ],
            ),
            _ => false,
        },
    },
    Difference {
        name: "moto: sequence numbers count from one in each shard",
        other: Other::Moto,
        take_out: |_, ours, theirs| {
            let numbers = remove_numbers(ours);
            remove_numbers(theirs) || numbers
        },
    },
    Difference {
        name: "moto: the order of a merge",
        other: Other::Moto,
        take_out: merge_the_other_way_round,
    },
    Difference {
        name: "moto: filters are not applied",
        other: Other::Moto,
        take_out: |step, ours, theirs| {
            let filtered = matches!(step, Step::ListFiltered { .. } | Step::ListAfter { .. });
            filtered && has_shards_of(ours, theirs) && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "moto: nothing is an empty object",
        other: Other::Moto,
        take_out: |_, ours, theirs| {
            let empty = theirs.as_object().is_some_and(serde_json::Map::is_empty);
            *ours == Value::Null && empty && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "moto: numbers of other shards",
        other: Other::Moto,
        take_out: |step, ours, theirs| {
            let at = matches!(step, Step::IteratorAt { .. } | Step::IteratorAtStart { .. });
            at && ours.get(REFUSED).is_some() && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "moto: closed shards take records",
        other: Other::Moto,
        take_out: |step, ours, theirs| {
            let puts = matches!(step, Step::Put { .. } | Step::PutBatch { .. });
            let elsewhere = shards_put_on(ours) != shards_put_on(theirs);
            puts && elsewhere && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "moto: the count of open shards",
        other: Other::Moto,
        take_out: |step, ours, theirs| {
            let place = "/StreamDescriptionSummary/OpenShardCount";
            let counts = ours.pointer(place) != theirs.pointer(place);
            let (at, count) = ("/StreamDescriptionSummary", ["OpenShardCount"]);
            let removed = counts && remove_in(ours, at, &count);
            matches!(step, Step::Summary) && removed && remove_in(theirs, at, &count)
        },
    },
];

fn merge_the_other_way_round(step: &Step, ours: &mut Value, theirs: &mut Value) -> bool {
    let refused = theirs[REFUSED] == "400 InvalidArgumentException";
    let done = *ours == Value::Null;
    matches!(step, Step::Merge { .. }) && done && refused && forget_both(ours, theirs)
}

/// Where two answers differ, for people.
pub(crate) fn differing(ours: &Value, theirs: &Value, place: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        _ if ours == theirs => {}
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for name in names {
                differing(
                    &ours[name],
                    &theirs[name],
                    &format!("{place}/{name}"),
                    found,
                );
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (position, (one, other)) in one.iter().zip(other).enumerate() {
                differing(one, other, &format!("{place}/{position}"), found);
            }
        }
        _ => found.push(format!("{place}: ours {ours}, theirs {theirs}")),
    }
}

/// Whether all shards of our listing are in theirs.
fn has_shards_of(ours: &Value, theirs: &Value) -> bool {
    let shards = |answer: &Value| {
        let listed = answer["Shards"].as_array().cloned();
        listed.or_else(|| answer["StreamDescription"]["Shards"].as_array().cloned())
    };
    let (Some(ours), Some(theirs)) = (shards(ours), shards(theirs)) else {
        return false;
    };
    ours.iter().all(|shard| theirs.contains(shard))
}

fn remove(from: &mut Value, members: &[&str]) -> bool {
    let Some(from) = from.as_object_mut() else {
        return false;
    };
    members
        .iter()
        .filter(|member| from.remove(**member).is_some())
        .count()
        > 0
}

fn remove_in(of: &mut Value, place: &str, members: &[&str]) -> bool {
    of.pointer_mut(place)
        .is_some_and(|inner| remove(inner, members))
}

fn remove_both(ours: &mut Value, theirs: &mut Value, members: &[&str]) -> bool {
    let removed = remove(ours, members);
    remove(theirs, members) || removed
}

/// Takes out the numbers of records, wherever they are.
fn remove_numbers(of: &mut Value) -> bool {
    let records = of.get_mut("Records").and_then(Value::as_array_mut);
    let records = records.into_iter().flatten();
    let removed = records.filter_map(|record| remove(record, &["SequenceNumber"]).then_some(()));
    let removed = removed.count();
    remove(of, &["SequenceNumber"]) || removed > 0
}

fn forget_both(ours: &mut Value, theirs: &mut Value) -> bool {
    (*ours, *theirs) = (Value::Null, Value::Null);
    true
}

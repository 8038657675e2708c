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
    // Moto has kept what it failed at.
    let failed = |answer: &Value| {
        answer[REFUSED]
            .as_str()
            .is_some_and(|it| it.starts_with("500"))
    };
    other == Other::Moto && by_number
        || failed(theirs)
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
            _ if puts(step) => remove(ours, &["EncryptionType"]),
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
        name: "kinesalite: closed shards are resharded again",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let reshards = matches!(step, Step::Split { .. } | Step::Merge { .. });
            let refused = ours[REFUSED] == "400 InvalidArgumentException";
            reshards && refused && *theirs == Value::Null && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "kinesalite: the code of a limit out of bounds",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let refused = ours[REFUSED] == "400 InvalidArgumentException";
            out_of_bounds(step) && refused && is_validation(theirs) && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "kinesalite: other names of a shard",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let short = |body: &Value| body["ShardId"] == "0" || body["ShardId"] == "shardId-0";
            let refused = ours[REFUSED] == "400 ResourceNotFoundException";
            matches!(step, Step::Odd { body, .. } if short(body))
                && refused
                && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "kinesalite: a name that is no shard's",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let none = |body: &Value| body["ExclusiveStartShardId"] == "xx";
            matches!(step, Step::Odd { body, .. } if none(body)) && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "kinesalite: a key beside a MiB of data",
        other: Other::Kinesalite,
        take_out: |_, ours, theirs| {
            let both = "Member and its partition key must have length";
            let refusal = ours[REFUSED].as_str().unwrap_or_default();
            refusal.contains(both) && theirs.get(REFUSED).is_none() && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "kinesalite: ten tags at once",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let many = |body: &Value| body["Tags"].as_object().is_some_and(|it| it.len() > 10);
            let refusal = theirs[REFUSED].as_str().unwrap_or_default();
            let ten = refusal.ends_with("Member must have length less than or equal to 10");
            matches!(step, Step::Odd { body, .. } if many(body)) && ten && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "kinesalite: the most shards of a request",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let many = |body: &Value| body["ShardCount"] == 100_001;
            let refused = ours[REFUSED] == "400 LimitExceededException";
            matches!(step, Step::Odd { body, .. } if many(body))
                && refused
                && is_validation(theirs)
                && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "kinesalite: how many records are shown",
        other: Other::Kinesalite,
        take_out: |_, ours, theirs| {
            let shown = "Value '[501 records]'";
            let end = |refusal: &Value| {
                let text = refusal[REFUSED].as_str()?;
                Some(text.split_once("]' at ")?.1.to_owned())
            };
            let same = end(ours).is_some() && end(ours) == end(theirs);
            let ours_shown = ours[REFUSED].as_str().is_some_and(|it| it.contains(shown));
            same && ours_shown && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "kinesalite: large requests",
        other: Other::Kinesalite,
        take_out: |step, ours, theirs| {
            let refused = theirs[REFUSED] == "413 no code";
            let done = ours.get("FailedRecordCount").is_some();
            matches!(step, Step::PutMany { .. }) && refused && done && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "moto: lag",
        other: Other::Moto,
        take_out: |step, ours, theirs| {
            let lags = [&*ours, &*theirs].map(|it| it["MillisBehindLatest"].clone());
            let differ = matches!(step, Step::Read { .. }) && lags[0] != lags[1];
            let read = theirs.get("Records").is_some() && ours.get("Records").is_some();
            differ && read && remove_both(ours, theirs, &["MillisBehindLatest"])
        },
    },
    Difference {
        name: "moto: five MB of records in a request",
        other: Other::Moto,
        take_out: |step, ours, theirs| {
            let puts = matches!(step, Step::PutMany { .. });
            let refused = theirs[REFUSED] == "400 InvalidArgumentException";
            let done = ours.get("FailedRecordCount").is_some();
            puts && refused && done && forget_both(ours, theirs)
        },
    },
    Difference {
        name: "moto: requests are hardly checked",
        other: Other::Moto,
        take_out: |step, ours, theirs| {
            let odd = out_of_bounds(step)
                || matches!(
                    step,
                    Step::Odd { .. }
                        | Step::PutLarge { .. }
                        | Step::PutMany { .. }
                        | Step::List { most: Some(0) }
                        | Step::Describe { most: Some(0) }
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
            _ if puts(step) => remove(ours, &["EncryptionType"]),
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

fn puts(step: &Step) -> bool {
    let by_target = |target: &str| matches!(target, "PutRecord" | "PutRecords");
    match step {
        Step::Odd { target, .. } => by_target(target),
        Step::Put { .. } | Step::PutBatch { .. } => true,
        Step::PutLarge { .. } | Step::PutMany { .. } => true,
        _ => false,
    }
}

/// A GetRecords of too many records, or of none.
fn out_of_bounds(step: &Step) -> bool {
    matches!(step, Step::Read { limit: Some(limit) } if !(1..=10_000).contains(limit))
}

fn is_validation(answer: &Value) -> bool {
    let refusal = answer[REFUSED].as_str().unwrap_or_default();
    refusal.starts_with("400 ValidationException: 1 validation error detected: ")
}

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

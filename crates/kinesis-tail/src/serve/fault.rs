//! Faults as they are written on the command line: `GetRecords:delay=2s:every=5`.

use std::{collections::BTreeSet, fs, ops::Range, time::Duration};

use kinesis_fake::{Fault, Operation, Operations, Rewrite, Swizzle};
use kinesis_source::ShardId;

use super::value::Value;

/// What `--help` says of faults.
pub(super) const HELP: &str = "\
Faults, as OPERATION[:EFFECT[:WHEN]]:
  OPERATION  AWS's name for it, several as GetRecords+ListShards, or `all`; `events` are those of
             the subscriptions that SubscribeToShard makes
  EFFECT     InternalFailure if nothing is said, or one of these:
    CODE         the call is refused with this code of the service, or with any other
    delay=SPAN   it is carried out that much later
    late=SPAN    it is carried out at once, and answered that much later
    hang         it is neither carried out nor ever answered
    hold         it waits until `between` or `swizzle` is over, and is carried out then
    lose         it is carried out, and the connection breaks without an answer
    cut=BYTES    it is carried out, and the connection is reset after so many bytes of the answer
    garble       it is carried out, and nobody can read the answer
    some=SHARE   of a PutRecords, that share of the records is refused as for throughput
    REWRITE      its answer is changed: empty-page, duplicate-page, repeated-records, wrong-order,
                 missing-record, no-next-iterator, no-children, no-partition-keys,
                 no-arrival-times, arrival-times-backwards, no-lag, huge-lag, missing-shard,
                 no-shards, shards-backwards, same-token, no-token, stored-and-refused,
                 missing-outcome, outcomes-backwards
  WHEN       always if nothing is said, or some of these with commas between them:
    0.3          with that probability
    every=N      each N-th of the calls
    after=N      not the first N of them
    times=N      so many times, then never again
    shard=N      of this shard only: its number, or its name
    between=SPAN..SPAN
                 in that time, counted from the start
    swizzle=SHARE
                 while their shard is stopped: within 10s that share of the shards is, one after the
                 other, and within 10s more they go on in another order
  SPAN is a time as 250ms, 2s, 5m or 1h. Of several faults that strike a call, the first does.";

/// The faults of a file.
#[derive(Clone, Debug)]
pub(super) struct Faults(pub(super) Vec<Fault>);

/// Reads a fault.
pub(super) fn fault(text: &str) -> Result<Fault, String> {
    let mut parts = text.splitn(3, ':');
    let name = parts.next().unwrap_or_default();
    let effect = parts.next().unwrap_or("InternalFailure");
    let fault = match name {
        "events" => with_effect(Operation::SubscribeToShard.into(), effect)?.in_stream(),
        _ => with_effect(operations_of(name)?, effect)?,
    };
    fault.may_strike().map_err(|never| match name {
        "events" => format!("events:{effect} would never strike: {}", never.meant()),
        _ => format!("{name}:{effect} would never strike: {}", never.meant()),
    })?;
    let mut whens: Vec<_> = parts
        .next()
        .into_iter()
        .flat_map(|it| it.split(','))
        .collect();
    if whens.iter().any(|when| when.starts_with("shard=")) && !fault.may_be_on_shard() {
        return Err(format!(
            "no call of {name} concerns a shard: `shard` is for GetShardIterator, GetRecords, \
             SubscribeToShard, SplitShard, MergeShards, events, and PutRecords:some=SHARE"
        ));
    }
    if whens.iter().any(|when| when.starts_with("swizzle=")) && !fault.may_be_swizzled() {
        return Err(format!(
            "calls of {name} do not concern one shard each: `swizzle` is for GetShardIterator, GetRecords, \
             SubscribeToShard, SplitShard, MergeShards and events"
        ));
    }
    if let Some(twice) = said_twice(&whens) {
        return Err(format!("{twice} is said twice: write two faults"));
    }
    let spans = |when: &&str| when.starts_with("between=") || when.starts_with("swizzle=");
    if whens.iter().filter(|when| spans(when)).count() > 1 {
        return Err("a fault has one `between` or one `swizzle`: write two faults".to_owned());
    }
    if !whens.iter().any(|when| when.starts_with("times=")) {
        whens.push("always");
    }
    whens.into_iter().try_fold(fault, at)
}

/// What of a fault's WHEN is there more than once: the later one would undo the one before.
fn said_twice(whens: &[&str]) -> Option<String> {
    let mut names = BTreeSet::new();
    let mut said = whens.iter().map(|when| match when.split_once('=') {
        Some((name, _)) => format!("`{name}`"),
        None => "a probability".to_owned(),
    });
    said.find(|name| !names.insert(name.clone()))
}

/// Reads a file with a fault on each line. Empty lines and what follows a `#` say nothing.
pub(super) fn file(path: &str) -> Result<Faults, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"))?;
    let lines = text.lines().zip(1..);
    let lines = lines.map(|(line, number)| (line.split('#').next().unwrap_or_default(), number));
    let faults = lines.filter(|(line, _)| !line.trim().is_empty());
    let faults = faults.map(|(line, number)| {
        let line = line.trim();
        fault(line).map_err(|error| format!("line {number}, {line:?}: {error}"))
    });
    faults.collect::<Result<_, _>>().map(Faults)
}

fn operations_of(text: &str) -> Result<Operations, String> {
    if text == "all" {
        return Ok(Operations::ALL);
    }
    let operations = text.split('+').map(|name| {
        Operation::from_name(name).ok_or_else(|| {
            format!(
                "there is no operation {name:?}: expected AWS's name for it, as GetRecords, several \
                 as GetRecords+ListShards, `all` or `events`"
            )
        })
    });
    operations.collect()
}

fn with_effect(operations: Operations, effect: &str) -> Result<Fault, String> {
    let (name, value) = match effect.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (effect, None),
    };
    let fault = match (name, value) {
        ("delay", Some(by)) => Fault::delayed(operations, value_of(name, by)?),
        ("late", Some(by)) => Fault::late_answer(operations, value_of(name, by)?),
        ("cut", Some(after)) => Fault::cut_answer(operations, value_of(name, after)?),
        ("some", Some(share)) if operations == Operation::PutRecords.into() => {
            let code = "ProvisionedThroughputExceededException";
            Fault::refused_records(share_of(share)?, code)
        }
        ("some", Some(_)) => return Err("`some` is for PutRecords only".to_owned()),
        ("hang", None) => Fault::hung(operations),
        ("hold", None) => Fault::held(operations),
        ("lose", None) => Fault::lost_answer(operations),
        ("garble", None) => Fault::garbled_answer(operations),
        (code, None) if is_code(code) => Fault::refusal(operations, code),
        (name, None) => {
            let rewrite = Rewrite::from_name(&name.to_uppercase().replace('-', "_"));
            Fault::rewritten(operations, rewrite.ok_or_else(|| no_effect(effect))?)
        }
        _ => return Err(no_effect(effect)),
    };
    Ok(fault)
}

fn no_effect(effect: &str) -> String {
    format!(
        "there is no effect {effect:?}: expected an error's code, as \
         ProvisionedThroughputExceededException, delay=SPAN, late=SPAN, hang, hold, lose, cut=BYTES, \
         garble, some=SHARE, or a change of the answer, as empty-page"
    )
}

/// Codes begin with a capital, and nothing else does.
fn is_code(text: &str) -> bool {
    text.starts_with(|it: char| it.is_ascii_uppercase())
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"._".contains(&it))
}

fn at(fault: Fault, when: &str) -> Result<Fault, String> {
    Ok(match when.split_once('=') {
        None if when == "always" => fault.always(),
        None => fault.with_probability(share_of(when)?),
        Some(("every", calls)) => fault.every(positive("every", calls)?),
        Some(("after", calls)) => fault.after(value_of("after", calls)?),
        Some(("times", times)) => fault.times(positive("times", times)?),
        Some(("shard", shard)) => fault.on_shard(&shard_of(shard)?),
        Some(("between", window)) => fault.between(window_of(window)?),
        Some(("swizzle", share)) => fault.swizzled(Swizzle::of(share_of(share)?)),
        Some(_) => {
            return Err(format!(
                "{when:?} says no time: expected a probability as 0.3, every=N, after=N, times=N, \
                 shard=N, between=SPAN..SPAN or swizzle=SHARE"
            ));
        }
    })
}

fn value_of<T: Value>(name: &str, text: &str) -> Result<T, String> {
    T::read(text).ok_or_else(|| format!("{name} is {}, and not {text:?}", T::expected()))
}

fn positive(name: &str, text: &str) -> Result<u32, String> {
    match value_of(name, text)? {
        0 => Err(format!("{name} is 1 at least")),
        number => Ok(number),
    }
}

fn share_of(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("{text:?} is no number from 0 to 1, as 0.3"))
}

/// A shard's name, by its number or as it is.
fn shard_of(text: &str) -> Result<ShardId, String> {
    let number = text.strip_prefix("shardId-").unwrap_or(text);
    let number = number.parse::<u32>();
    let number =
        number.map_err(|_| format!("{text:?} is neither the number of a shard nor its name"))?;
    Ok(ShardId::new(format!("shardId-{number:012}")))
}

fn window_of(text: &str) -> Result<Range<Duration>, String> {
    let window = text.split_once("..").and_then(|(start, end)| {
        let window = Duration::read(start)?..Duration::read(end)?;
        (window.start < window.end).then_some(window)
    });
    window.ok_or_else(|| format!("between is two times in order, as 10s..1m, and not {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_fault_that_it_says() {
        let get = Operation::GetRecords;
        let second = Duration::from_secs(1);
        let code = "KMSThrottlingException";
        for (text, expected) in [
            ("GetRecords", Fault::refusal(get, "InternalFailure")),
            (
                "GetRecords:KMSThrottlingException",
                Fault::refusal(get, code),
            ),
            (
                "GetRecords:KMSThrottlingException:0.3",
                Fault::refusal(get, code).with_probability(0.3),
            ),
            (
                "all:delay=250ms",
                Fault::delayed(Operations::ALL, second / 4),
            ),
            (
                "GetRecords+ListShards:late=2s",
                Fault::late_answer([get, Operation::ListShards], 2 * second),
            ),
            ("GetRecords:hang", Fault::hung(get)),
            (
                "GetRecords:hold:swizzle=0.5",
                Fault::held(get).swizzled(Swizzle::of(0.5)),
            ),
            ("GetRecords:lose:every=5", Fault::lost_answer(get).every(5)),
            (
                "GetRecords:cut=100:after=3",
                Fault::cut_answer(get, 100).after(3),
            ),
            (
                "GetRecords:garble:between=1s..1m",
                Fault::garbled_answer(get).between(second..60 * second),
            ),
            (
                "PutRecords:some=0.5",
                Fault::refused_records(0.5, "ProvisionedThroughputExceededException"),
            ),
            (
                "GetRecords:empty-page:shard=1",
                Fault::rewritten(get, Rewrite::EMPTY_PAGE).on_shard(&"shardId-000000000001".into()),
            ),
            (
                "events:ResourceInUseException:shard=shardId-000000000002",
                Fault::refusal(Operation::SubscribeToShard, "ResourceInUseException")
                    .in_stream()
                    .on_shard(&"shardId-000000000002".into()),
            ),
        ] {
            assert_eq!(fault(text).unwrap(), expected.always(), "{text}");
        }
        let twice = fault("GetRecords:InternalFailure:0.25,after=2,times=2").unwrap();
        let expected = Fault::refusal(get, "InternalFailure").with_probability(0.25);
        assert_eq!(twice, expected.after(2).times(2));
    }

    #[test]
    fn every_rewrite_can_be_said_and_the_help_has_it() {
        for rewrite in Rewrite::ALL {
            let name = format!("{rewrite:?}").to_lowercase().replace('_', "-");
            let name = name.strip_prefix("rewrite::").unwrap();
            let said = fault(&format!("all:{name}")).unwrap();
            assert_eq!(
                said,
                Fault::rewritten(Operations::ALL, rewrite.clone()).always()
            );
            assert!(HELP.contains(name), "{name}");
        }
    }

    #[test]
    fn who_writes_something_else_is_told_what_to_write() {
        for (text, words) in [
            ("", "there is no operation \"\": expected AWS's name"),
            ("getrecords", "there is no operation \"getrecords\""),
            ("GetRecords+x", "there is no operation \"x\""),
            (
                "GetRecords:",
                "there is no effect \"\": expected an error's code",
            ),
            ("GetRecords:slow", "there is no effect \"slow\""),
            ("GetRecords:delay", "there is no effect \"delay\""),
            ("GetRecords:hang=1", "there is no effect \"hang=1\""),
            (
                "GetRecords:delay=2",
                "delay is a time as 250ms, 2s, 5m or 1h, and not \"2\"",
            ),
            ("GetRecords:cut=x", "cut is a whole number, and not \"x\""),
            ("GetRecords:some=0.5", "`some` is for PutRecords only"),
            ("PutRecords:some=2", "\"2\" is no number from 0 to 1"),
            ("GetRecords:hang:1.5", "\"1.5\" is no number from 0 to 1"),
            ("GetRecords:hang:NaN", "\"NaN\" is no number from 0 to 1"),
            ("GetRecords:hang:", "\"\" is no number from 0 to 1"),
            ("GetRecords:hang:every=0", "every is 1 at least"),
            ("GetRecords:hang:times=0", "times is 1 at least"),
            (
                "PutRecord:hang:shard=0",
                "no call of PutRecord concerns a shard: `shard` is for GetShardIterator",
            ),
            (
                "PutRecords:hold:swizzle=0.5",
                "calls of PutRecords do not concern one shard each: `swizzle` is for GetShardIterator",
            ),
            (
                "GetRecords:hang:shard=a",
                "\"a\" is neither the number of a shard",
            ),
            (
                "GetRecords:hang:between=2s..1s",
                "between is two times in order, as 10s..1m",
            ),
            (
                "GetRecords:hang:between=2s",
                "between is two times in order",
            ),
            (
                "GetRecords:hang:often=1",
                "\"often=1\" says no time: expected a probability",
            ),
            (
                "GetRecords:hold:between=1s..2s,swizzle=0.5",
                "one `between` or one `swizzle`",
            ),
            (
                "GetRecords:hang:shard=0,shard=1",
                "`shard` is said twice: write two faults",
            ),
            ("GetRecords:hang:every=2,every=3", "`every` is said twice"),
            ("GetRecords:hang:after=2,after=2", "`after` is said twice"),
            ("GetRecords:hang:times=2,times=3", "`times` is said twice"),
            ("GetRecords:hang:0.5,0.1", "a probability is said twice"),
            (
                "GetShardIterator:empty-page",
                "would never strike: it is for GetRecords",
            ),
            (
                "ListStreams:no-shards",
                "would never strike: it is for ListShards",
            ),
            (
                "DescribeStream:no-shards",
                "would never strike: it is for ListShards",
            ),
            (
                "GetRecords+ListShards:no-token",
                "would never strike: it is for ListShards",
            ),
            (
                "events:empty-page",
                "would never strike: it is for GetRecords",
            ),
            (
                "events:duplicate-page",
                "would never strike: it is for GetRecords",
            ),
            (
                "SubscribeToShard:empty-page",
                "would never strike: it is for GetRecords",
            ),
            (
                "SubscribeToShard:no-lag",
                "it is for GetRecords, and for events",
            ),
        ] {
            let said = fault(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}

//! Settings by name, as `--limit records_per_put=100`.

use std::{fmt::Write as _, marker::PhantomData};

use kinesis_fake::{Choices, Durations, Limits};

use super::value::Value;

/// Something whose parts have names.
pub(super) trait Named: Default {
    /// What one of its parts is.
    const PART: &str;
    const NAMES: &[&str];
    /// What some of them are at least and at most: what lies beyond would do nothing that anybody
    /// wants, or take all the machine.
    const BOUNDS: &[Bounds];

    /// # Errors
    ///
    /// What to write instead.
    fn set(&mut self, name: &str, text: &str) -> Result<(), String>;

    /// Names and what they stand for, as they are written.
    fn parts(&self) -> Vec<(&'static str, String)>;
}

/// Names, and what each of these is at least and at most.
pub(super) type Bounds = (&'static [&'static str], &'static str, &'static str);

/// A part, and what it is to be.
#[derive(Debug)]
pub(super) struct Setting<T> {
    name: String,
    text: String,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Setting<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            text: self.text.clone(),
            of: PhantomData,
        }
    }
}

/// Reads `NAME=VALUE`.
pub(super) fn setting<T: Named>(text: &str) -> Result<Setting<T>, String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!(
            "expected the name of a {} and a value, as NAME=VALUE",
            T::PART
        ));
    };
    T::default().set(name, value)?;
    Ok(Setting {
        name: name.to_owned(),
        text: value.to_owned(),
        of: PhantomData,
    })
}

impl<T: Named> Setting<T> {
    pub(super) fn apply(&self, to: &mut T) -> Result<(), String> {
        to.set(&self.name, &self.text)
    }
}

/// All parts of one, line by line.
pub(super) fn list<T: Named>(of: &T) -> String {
    let mut lines = String::new();
    for (name, value) in of.parts() {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "  {name}={value}");
    }
    lines
}

// What has parts of one kind may have them set `together`, as `all=5s`.
macro_rules! named {
    ($of:ty, $part:literal, together: $together:literal, bounds: $bounds:ident, $($name:ident)*) => {
        impl Named for $of {
            const PART: &str = $part;
            const NAMES: &[&str] = &[$(stringify!($name)),*];
            const BOUNDS: &[Bounds] = $bounds;

            fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
                match name {
                    $(stringify!($name) => read::<Self, _>(&mut self.$name, name, text),)*
                    "all" if $together => {
                        $(read::<Self, _>(&mut self.$name, stringify!($name), text)?;)*
                        Ok(())
                    }
                    _ => Err(unknown::<Self>(name)),
                }
            }

            fn parts(&self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($name), self.$name.write())),*]
            }
        }
    };
}

fn read<T: Named, V: Value>(part: &mut V, name: &str, text: &str) -> Result<(), String> {
    let value = V::read(text).ok_or_else(|| format!("{name} is {}", V::expected()))?;
    for (_, least, most) in T::BOUNDS.iter().filter(|(names, ..)| names.contains(&name)) {
        if !value.is_within(least, most) {
            let none = V::read("none").map_or("", |_| ", or none");
            return Err(format!(
                "{name} is from {least} to {most}{none}, and not {text}"
            ));
        }
    }
    if name == "empty_answer_every" && text == "1" {
        return Err(format!(
            "{name} is 0, for never, or 2 at least: else no answer had records"
        ));
    }
    *part = value;
    Ok(())
}

fn unknown<T: Named>(name: &str) -> String {
    let names: Vec<_> = T::NAMES.iter().filter(|it| it.contains(name)).collect();
    match names[..] {
        [] if T::NAMES.len() <= 20 => {
            format!(
                "there is no {} {name:?}: expected one of {}",
                T::PART,
                T::NAMES.join(", ")
            )
        }
        [one] => format!("there is no {} {name:?}: perhaps {one} is meant", T::PART),
        _ => format!("there is no {} {name:?}: --help has their names", T::PART),
    }
}

named! {
    Limits, "limit", together: false, bounds: OF_LIMITS,
    get_records_per_second read_bytes_per_second read_records_per_second read_burst
    records_per_answer bytes_per_answer get_shard_iterator_per_second dry_runs_per_second iterator_life token_life
    write_bytes_per_second write_burst_bytes write_records_per_second records_per_put bytes_per_put
    record_bytes record_kib partition_key_chars retention_hours describe_limits_per_second
    update_shard_count_per_second update_shard_count_per_day update_shard_count_factor
    update_shard_count_shards mode_switches_per_day encryption_changes_per_day tags tag_key_chars
    tag_value_chars policy_bytes commitment on_demand_streams on_demand_shards_at_start
    on_demand_shards on_demand_growth on_demand_window on_demand_headroom list_shards_per_second
    list_shards_per_second_of_stream shards_per_page shards_per_description streams_per_page
    consumers_per_page tags_per_page results_asked_for describe_stream_per_second
    describe_stream_summary_per_second control_per_second streams_in_creation open_shards
    consumers_per_second describe_stream_consumer_per_second consumers_per_stream
    consumers_per_advantage_stream consumers_in_creation subscribe_to_shard_per_second
    resubscribe_after subscription_life subscription_bytes_per_second records_per_event
    bytes_per_event subscriber_stall stored_bytes
}

named! {
    Choices, "choice", together: false, bounds: OF_CHOICES,
    older_than_horizon future_timestamp time_before_horizon merge_order shard_end
    empty_answer_every arrival_disorder heartbeat deleting_stream continuation takeover
    subscription_refusal no_policy read_limit foreign_arn
}

named! {
    Durations, "change", together: true, bounds: OF_DURATIONS,
    create update encrypt delete register deregister
}

// Where 0 means that there are to be none, as of tags, it may be said. Where it would let no call pass,
// or no time, it may not: a fault refuses calls.
const OF_LIMITS: &[Bounds] = &[
    (
        &[
            "get_records_per_second",
            "get_shard_iterator_per_second",
            "dry_runs_per_second",
            "describe_limits_per_second",
            "update_shard_count_per_second",
            "list_shards_per_second",
            "list_shards_per_second_of_stream",
            "describe_stream_per_second",
            "describe_stream_summary_per_second",
            "control_per_second",
            "consumers_per_second",
            "describe_stream_consumer_per_second",
            "subscribe_to_shard_per_second",
            "records_per_put",
            "tags_per_page",
            "results_asked_for",
            "tag_key_chars",
            "partition_key_chars",
            "streams_in_creation",
            "consumers_in_creation",
        ],
        "1",
        "1000000",
    ),
    (
        &[
            "read_bytes_per_second",
            "read_records_per_second",
            "write_bytes_per_second",
            "write_burst_bytes",
            "write_records_per_second",
            "subscription_bytes_per_second",
            "bytes_per_put",
            "record_bytes",
            "stored_bytes",
        ],
        "1",
        // A tebibyte.
        "1099511627776",
    ),
    // As much as the server puts into an answer, whatever is said.
    (&["bytes_per_answer", "bytes_per_event"], "1", "33554432"),
    (
        &[
            "records_per_answer",
            "records_per_event",
            "update_shard_count_shards",
            "on_demand_shards_at_start",
            "on_demand_shards",
            "shards_per_page",
            "shards_per_description",
            "streams_per_page",
            "consumers_per_page",
            "open_shards",
        ],
        "1",
        "100000",
    ),
    (
        &["consumers_per_stream", "consumers_per_advantage_stream"],
        "0",
        "10000",
    ),
    (
        &["update_shard_count_factor", "on_demand_headroom"],
        "1",
        "100000",
    ),
    (&["record_kib"], "1", "1048576"),
    (&["retention_hours"], "1", "876000"),
    (
        &[
            "iterator_life",
            "token_life",
            "subscription_life",
            "subscriber_stall",
        ],
        "1ms",
        "876000h",
    ),
    (&["on_demand_window"], "1s", "876000h"),
    (
        &[
            "read_burst",
            "commitment",
            "on_demand_growth",
            "resubscribe_after",
        ],
        "0",
        "876000h",
    ),
];

const OF_CHOICES: &[Bounds] = &[
    // At 0, subscribers were sent nothing else and as fast as they could take it. It is by their clock.
    (&["heartbeat"], "100ms", "876000h"),
    (&["arrival_disorder"], "0", "24h"),
];

const OF_DURATIONS: &[Bounds] = &[(Durations::NAMES, "0", "876000h")];

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    /// The names of a struct's fields, in order.
    fn fields(of: &impl Debug) -> Vec<String> {
        let printed = format!("{of:#?}");
        let lines = printed.lines().filter_map(|line| line.strip_prefix("    "));
        let names = lines.filter(|line| !line.starts_with([' ', ')']));
        names
            .map(|line| line.split(':').next().unwrap().to_owned())
            .collect()
    }

    /// Each can be said, and what is said of it is what `--help` shows.
    fn has_all<T: Named + Debug + PartialEq>() {
        assert_eq!(T::NAMES, fields(&T::default()), "{}", T::PART);
        let mut it = T::default();
        for (name, text) in T::default().parts() {
            setting::<T>(&format!("{name}={text}"))
                .unwrap()
                .apply(&mut it)
                .unwrap();
            assert_eq!(it, T::default(), "{name}={text}");
        }
    }

    #[test]
    fn every_limit_choice_and_duration_has_its_name() {
        has_all::<Limits>();
        has_all::<Choices>();
        has_all::<Durations>();
    }

    #[test]
    fn a_setting_changes_its_part_and_no_other() {
        let mut limits = Limits::none();
        for text in [
            "get_records_per_second=7",
            "record_kib=8..16",
            "read_burst=1s",
        ] {
            setting::<Limits>(text).unwrap().apply(&mut limits).unwrap();
        }
        let mut expected = Limits::none();
        expected.get_records_per_second = Some(7);
        expected.record_kib = 8..=16;
        expected.read_burst = std::time::Duration::from_secs(1);
        assert_eq!(limits, expected);
        let minute = std::time::Duration::from_secs(60);
        let mut durations = Durations::default();
        for text in ["all=1m", "create=0"] {
            setting::<Durations>(text)
                .unwrap()
                .apply(&mut durations)
                .unwrap();
        }
        let mut expected = Durations::all(minute);
        expected.create = std::time::Duration::ZERO;
        assert_eq!(durations, expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        let limit = |text| setting::<Limits>(text).map(drop);
        let choice = |text| setting::<Choices>(text).map(drop);
        let duration = |text| setting::<Durations>(text).map(drop);
        for (said, sentence) in [
            (
                choice("heartbeat=0s"),
                "heartbeat is from 100ms to 876000h, and not 0s",
            ),
            (
                choice("empty_answer_every=1"),
                "empty_answer_every is 0, for never, or 2 at least: else no answer had records",
            ),
            (
                limit("get_records_per_second=0"),
                "get_records_per_second is from 1 to 1000000, or none, and not 0",
            ),
            (
                limit("bytes_per_answer=400000000"),
                "bytes_per_answer is from 1 to 33554432, and not 400000000",
            ),
            (
                limit("iterator_life=0"),
                "iterator_life is from 1ms to 876000h, or none, and not 0",
            ),
            (
                limit("on_demand_window=0"),
                "on_demand_window is from 1s to 876000h, and not 0",
            ),
            (
                limit("retention_hours=0..24"),
                "retention_hours is from 1 to 876000, and not 0..24",
            ),
            (
                limit("open_shards=4000000000"),
                "open_shards is from 1 to 100000, and not 4000000000",
            ),
            (
                duration("all=900000h"),
                "create is from 0 to 876000h, and not 900000h",
            ),
        ] {
            assert_eq!(said, Err(sentence.to_owned()));
        }
        for said in [
            choice("heartbeat=100ms"),
            choice("empty_answer_every=0"),
            choice("empty_answer_every=2"),
            limit("get_records_per_second=none"),
            limit("tags=0"),
            limit("read_burst=0"),
            duration("all=0"),
        ] {
            assert_eq!(said, Ok(()));
        }
    }

    /// Each is bounded once at most, by two texts of its kind in order.
    #[test]
    fn bounds_are_of_what_there_is() {
        fn are_sound<T: Named>() {
            let mut bounded = std::collections::BTreeSet::new();
            for (names, least, most) in T::BOUNDS {
                for name in *names {
                    assert!(T::NAMES.contains(name), "{name}");
                    assert!(bounded.insert(name), "{name} twice");
                    // A range has two numbers.
                    if T::default().set(name, "1..1").is_ok() {
                        continue;
                    }
                    assert_eq!(T::default().set(name, least), Ok(()), "{name}={least}");
                    assert_eq!(T::default().set(name, most), Ok(()), "{name}={most}");
                }
            }
        }
        are_sound::<Limits>();
        are_sound::<Choices>();
        are_sound::<Durations>();
    }

    #[test]
    fn who_writes_something_else_is_told_what_to_write() {
        let limit = |text| setting::<Limits>(text).unwrap_err();
        let choice = |text| setting::<Choices>(text).unwrap_err();
        for (said, words) in [
            (
                limit("x"),
                "expected the name of a limit and a value, as NAME=VALUE",
            ),
            (
                limit("x=1"),
                "there is no limit \"x\": --help has their names",
            ),
            (limit("burst_bytes=1"), "perhaps write_burst_bytes is meant"),
            (limit("all=1"), "there is no limit \"all\""),
            (limit("tags=many"), "tags is a whole number"),
            (
                limit("read_burst=1"),
                "read_burst is a time as 250ms, 2s, 5m or 1h",
            ),
            (
                limit("iterator_life=x"),
                "is a time as 250ms, 2s, 5m or 1h, or none",
            ),
            (
                choice("read_limits=x"),
                "expected one of older_than_horizon, future_timestamp",
            ),
            (
                choice("read_limit=x"),
                "read_limit is InvalidArgument or Validation",
            ),
        ] {
            assert!(said.contains(words), "{said}");
        }
    }
}

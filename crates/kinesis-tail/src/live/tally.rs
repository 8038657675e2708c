//! All shards in sum, in words.

use kinesis_source::ShardState;

use super::{
    concern::{Concern, rank},
    snapshot::{ShardView, Snapshot, Wait},
};
use crate::figures::{mebibytes, printable, span};

/// How many shards are doing what. Each is counted once, and those of concern by that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) stuck: usize,
    pub(super) failing: usize,
    pub(super) unanswered: usize,
    pub(super) expiring: usize,
    pub(super) reading: usize,
    pub(super) at_tip: usize,
    pub(super) draining: usize,
    pub(super) stopped: usize,
    pub(super) waiting_for_parents: usize,
    pub(super) other: usize,
}

/// How many shards of concern a line names.
const NAMED: usize = 3;

impl Tally {
    pub(super) fn of<'a>(shards: impl IntoIterator<Item = &'a ShardView>) -> Self {
        let mut tally = Self::default();
        for shard in shards {
            *tally.place(shard) += 1;
        }
        tally
    }

    fn place(&mut self, shard: &ShardView) -> &mut usize {
        match (shard.concern, shard.state) {
            (Some(Concern::Stuck), _) => &mut self.stuck,
            (Some(Concern::Failing), _) => &mut self.failing,
            (Some(Concern::Unanswered), _) => &mut self.unanswered,
            (Some(Concern::Expiring), _) => &mut self.expiring,
            (None, ShardState::Reading) => &mut self.reading,
            (None, ShardState::AtTip) => &mut self.at_tip,
            (None, ShardState::Draining) => &mut self.draining,
            (None, ShardState::Stopped) => &mut self.stopped,
            (None, ShardState::WaitingForParents) => &mut self.waiting_for_parents,
            (None, _) => &mut self.other,
        }
    }

    /// As `970 reading, 18 at their tip`.
    pub(super) fn words(&self) -> String {
        let all = [
            (self.stuck, Concern::Stuck.word()),
            (self.failing, Concern::Failing.word()),
            (self.unanswered, Concern::Unanswered.word()),
            (self.expiring, Concern::Expiring.word()),
            (self.reading, "reading"),
            (self.at_tip, "at their tip"),
            (self.draining, "draining"),
            (self.stopped, "stopped"),
            (self.waiting_for_parents, "waiting for parents"),
            (self.other, "other"),
        ];
        let some = all.into_iter().filter(|(shards, _)| *shards > 0);
        let words: Vec<String> = some
            .map(|(shards, word)| format!("{shards} {word}"))
            .collect();
        words.join(", ")
    }
}

/// What a person has to know of all of it, in one line.
pub(super) fn line(snapshot: &Snapshot) -> String {
    let mut line = format!("{}; {}", sum(snapshot).join(", "), shards(snapshot));
    if let Some(held_up) = held_up(snapshot) {
        line = format!("{line}; {held_up}");
    }
    let mut concerning: Vec<&ShardView> = snapshot.concerning().collect();
    concerning.sort_unstable_by(|a, b| rank(a).cmp(&rank(b)));
    for shard in concerning.iter().take(NAMED) {
        let (name, doing) = (printable(&shard.shard.to_string()), doing(shard));
        line = format!("{line}; look at {name}: {doing}");
    }
    let more = Tally::of(concerning.iter().skip(NAMED).copied()).words();
    if !more.is_empty() {
        line = format!("{line}; and others: {more}");
    }
    line
}

/// What was done, what is on its way, and how far it is behind.
pub(super) fn sum(snapshot: &Snapshot) -> Vec<String> {
    let speed = snapshot.done_per_second;
    let speed = speed.map_or_else(String::new, |speed| format!(" ({speed}/s)"));
    let (in_use, budget) = (snapshot.budget_in_use, snapshot.budget);
    let (name, elapsed) = (printable(&snapshot.source), span(snapshot.elapsed));
    let mut sum = vec![
        format!("{name}, {elapsed}: {} done{speed}", snapshot.done),
        format!("{} read", snapshot.read),
        format!("{} in flight", snapshot.in_flight),
        format!("{} of {} MiB", mebibytes(in_use), mebibytes(budget)),
    ];
    sum.extend(lag(&snapshot.shards));
    sum.extend(
        snapshot
            .checkpoint_age
            .map(|it| format!("checkpoint {} ago", span(it))),
    );
    if snapshot.throttled > 0 {
        sum.push(format!("{} throttled", snapshot.throttled));
    }
    sum
}

/// How far reading is behind, and how long until records are lost, of the shards that are worst; and of how many
/// that is not known.
fn lag(shards: &[ShardView]) -> Vec<String> {
    let behind = shards.iter().filter_map(|it| it.behind).max();
    let headroom = shards.iter().filter_map(|it| it.headroom).min();
    let unknown = shards.iter().filter(|it| it.is_lag_unknown()).count();
    let Some(behind) = behind else {
        let lag = if unknown == 0 { "lag -" } else { "lag unknown" };
        return vec![lag.to_owned()];
    };
    let mut lag = vec![format!("lag {}", span(behind))];
    lag.extend(headroom.map(|it| format!("headroom {}", span(it))));
    let both = if headroom.is_some() { "both " } else { "" };
    match unknown {
        0 => {}
        1 => lag.push(format!("{both}unknown for 1 shard")),
        some => lag.push(format!("{both}unknown for {some} shards")),
    }
    lag
}

/// As `12 shards: 10 reading, 2 at their tip; 3 finished`.
fn shards(snapshot: &Snapshot) -> String {
    let words = Tally::of(&snapshot.shards).words();
    let shards = match snapshot.shards.len() {
        0 => "no shard is read".to_owned(),
        1 => format!("1 shard: {words}"),
        all => format!("{all} shards: {words}"),
    };
    match snapshot.over {
        0 => shards,
        over => format!("{shards}; {over} finished"),
    }
}

/// What the source itself waits for, if somebody should know.
pub(super) fn held_up(snapshot: &Snapshot) -> Option<String> {
    let Wait { is_stuck, .. } = snapshot.waiting;
    is_stuck.then(|| format!("the source {}", waits(snapshot.waiting)))
}

/// What a shard is doing, and what it waits for.
pub(super) fn doing(shard: &ShardView) -> String {
    use kinesis_source::WaitingFor::{Nothing, Parents};
    let mut state = match shard.concern {
        None => shard.state.to_string(),
        Some(concern) => format!("{}: {}", concern.word(), shard.state),
    };
    // Who is stuck waits for so long.
    if let (Some(Concern::Unanswered), Some(throttled_for)) = (shard.concern, shard.throttled_for) {
        state = format!("{state}, throttled for {}", span(throttled_for));
    }
    let doing = match shard.waiting.waiting_for {
        Nothing | Parents => state,
        _ => format!("{state}, {}", waits(shard.waiting)),
    };
    printable(&doing)
}

fn waits(wait: Wait) -> String {
    let waits = format!("waits for {}", wait.waiting_for);
    // Shorter ones come and go.
    match wait.since.as_secs() {
        0 | 1 => waits,
        _ => format!("{waits}, for {}", span(wait.since)),
    }
}

impl Snapshot {
    /// The shards that somebody should look at.
    pub(super) fn concerning(&self) -> impl Iterator<Item = &ShardView> {
        self.shards.iter().filter(|shard| shard.concern.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{frame::tests::shard, snapshot::tests::snapshot_of};

    #[test]
    fn a_line_says_what_is_done_and_which_shards_to_look_at() {
        let mut snapshot = snapshot_of((0..7).map(shard).collect());
        for number in 0..5 {
            snapshot.shards[number].concern = Some(Concern::Failing);
        }
        snapshot.shards[6].concern = Some(Concern::Stuck);
        snapshot.over = 2;
        assert_eq!(
            line(&snapshot),
            "orders, 83.0 s: 1000 done (120/s), 1100 read, 70 in flight, 1.5 of 256.0 MiB, lag 340 ms, \
             headroom 24 h, checkpoint 400 ms ago, 3 throttled; 7 shards: 1 stuck, 5 failing, 1 reading; 2 finished; look at \
             shardId-000000000006: stuck: reading, waits for demand, for 12.0 s; look at \
             shardId-000000000000: failing: reading, waits for demand, for 12.0 s; look at \
             shardId-000000000001: failing: reading, waits for demand, for 12.0 s; and others: 3 failing"
        );
    }

    #[test]
    fn a_source_that_is_held_up_is_told() {
        let mut snapshot = snapshot_of(Vec::new());
        assert!(line(&snapshot).ends_with("; no shard is read"));
        snapshot.waiting = Wait {
            waiting_for: kinesis_source::WaitingFor::CheckpointStore,
            since: std::time::Duration::from_secs(40),
            is_stuck: true,
        };
        let told = "; the source waits for the checkpoint store, for 40.0 s";
        assert!(line(&snapshot).ends_with(told), "{}", line(&snapshot));
    }

    /// What nobody knows is not left out, as if it were nothing.
    #[test]
    fn of_how_many_shards_it_is_unknown_is_said() {
        let lag = |shards: Vec<ShardView>| {
            let line = line(&snapshot_of(shards));
            let (_, line) = line.split_once(" MiB, ").unwrap();
            line.split_once(", checkpoint ").unwrap().0.to_owned()
        };
        let unsaid = |number| ShardView {
            is_lag_said: false,
            ..shard(number)
        };
        let unknown = |number| ShardView {
            is_lag_said: false,
            behind: None,
            headroom: None,
            ..shard(number)
        };
        let without_retention = |number| ShardView {
            headroom: None,
            ..shard(number)
        };
        let waiting = |number| ShardView {
            state: ShardState::WaitingForParents,
            ..unknown(number)
        };
        assert_eq!(lag(vec![]), "lag -");
        assert_eq!(lag(vec![waiting(0)]), "lag -");
        assert_eq!(lag(vec![unknown(0), unknown(1), waiting(2)]), "lag unknown");
        let some = "lag 340 ms, headroom 24 h";
        assert_eq!(lag(vec![shard(0), waiting(1)]), some);
        let both = lag(vec![shard(0), unknown(1), waiting(2)]);
        assert_eq!(both, format!("{some}, both unknown for 1 shard"));
        let both = lag(vec![shard(0), unknown(1), unknown(2)]);
        assert_eq!(both, format!("{some}, both unknown for 2 shards"));
        // It is at least that, for all that is known.
        let both = lag(vec![unsaid(0)]);
        assert_eq!(both, format!("{some}, both unknown for 1 shard"));
        let one = lag(vec![without_retention(0), unknown(1)]);
        assert_eq!(one, "lag 340 ms, unknown for 1 shard");
    }

    /// The worst of all is what the sum says.
    #[test]
    fn the_sum_says_the_most_lag_and_the_least_headroom() {
        let mut snapshot = snapshot_of((0..3).map(shard).collect());
        snapshot.shards[1].behind = Some(std::time::Duration::from_secs(40));
        snapshot.shards[1].headroom = Some(std::time::Duration::from_secs(7_300));
        snapshot.shards[2].behind = Some(std::time::Duration::ZERO);
        let line = line(&snapshot);
        assert!(line.contains(", lag 40.0 s, headroom 2 h, "), "{line}");
    }

    /// For how long is said once.
    #[test]
    fn a_shard_without_an_answer_says_for_how_long_it_has_none() {
        use kinesis_source::WaitingFor::{Retry, Turn};
        let mut shard = shard(0);
        shard.throttled_for = Some(std::time::Duration::from_secs(40));
        shard.waiting.waiting_for = Retry;
        shard.concern = Some(Concern::Unanswered);
        assert_eq!(
            doing(&shard),
            "unanswered: reading, throttled for 40.0 s, waits for the next try, for 12.0 s"
        );
        shard.waiting.waiting_for = Turn;
        shard.concern = Some(Concern::Stuck);
        assert_eq!(
            doing(&shard),
            "stuck: reading, waits for its turn, by the service's limits, for 12.0 s"
        );
    }
}

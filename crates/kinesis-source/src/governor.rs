use std::time::Duration;

use tokio::time::Instant;

/// Says when the next call for a shard may be made, so that the service does not refuse it.
///
/// Pure: it is told when calls are sent and answered, and how large the answers are.
///
/// - **Five calls in any second.** The service counts when they arrive, which lies between sending and
///   answer: a call is sent a second after the fifth before it was *answered*, however long each was on
///   its way. They are also spaced evenly: a burst leaves no room for a reader beside this one.
/// - **2 MiB a second, as a debt.** The service gives an answer in full, then refuses reads until it is
///   paid for. What is read is counted from when it has come, which is after the service counts it.
/// - **The share that others leave.** All readers of a shard have these limits together. Who is refused
///   although all is paid for has found another reader: it takes three quarters of its share, and a little more
///   with each answer that comes, until it meets the other again. A reader at full speed would never
///   be refused, and never leave room either: so it pauses for a moment now and then, and whoever asks
///   meanwhile is found.
#[derive(Debug)]
pub(crate) struct Governor {
    /// When the last calls were answered, or sent if they are not: as many as may be made in a second.
    answered: [Option<Instant>; CALLS_PER_SECOND],
    /// Where the oldest of them stands, and the next one will.
    place: usize,
    spaced_at: Instant,
    /// When what has been read so far is paid for.
    paid_at: Instant,
    /// Of what the service allows, in thousandths.
    share: u32,
    /// Whether the last call was refused.
    is_refused: bool,
    /// How much reading has been paid for since the last pause.
    since_pause: Duration,
    /// When, of that, the next one is due: not at the same moment for all.
    pause_after: Duration,
}

/// Calls of one kind a second and shard: GetRecords as well as GetShardIterator. All readers of a
/// shard share them.
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>)
const CALLS_PER_SECOND: usize = 5;

/// Bytes a second and shard. After a larger answer the service refuses reads until the average is
/// met. (Same page.)
pub(crate) const BYTES_PER_SECOND: u64 = 2 * 1024 * 1024;

const WHOLE: u32 = 1_000;

/// Even among many readers, each goes on.
const LEAST: u32 = 100;

/// What an answer adds to the share.
const GROWTH: u32 = 20;

/// How long a pause is. A reader that is refused asks more often than that.
pub(crate) const PAUSE: Duration = Duration::from_millis(700);

/// After how much reading there is a pause: 0.7 % of the time.
const PAUSE_AFTER: Duration = Duration::from_secs(100);

impl Governor {
    /// `seed` decides when it first pauses.
    pub(crate) fn new(now: Instant, seed: u64) -> Self {
        Self {
            answered: [None; CALLS_PER_SECOND],
            place: 0,
            spaced_at: now,
            paid_at: now,
            share: WHOLE,
            is_refused: false,
            since_pause: Duration::ZERO,
            pause_after: PAUSE_AFTER + PAUSE * (seed % 32) as u32,
        }
    }

    /// When the next call may be sent.
    pub(crate) fn ready_at(&self) -> Instant {
        let second = Duration::from_secs(1);
        let counted = self.answered[self.place].map_or(self.spaced_at, |oldest| oldest + second);
        counted.max(self.spaced_at).max(self.paid_at)
    }

    /// A call is sent.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.answered[self.place] = Some(now);
        self.place = (self.place + 1) % CALLS_PER_SECOND;
        let interval = Duration::from_secs(1) / CALLS_PER_SECOND as u32;
        self.spaced_at = now + self.stretched(interval);
    }

    /// The call that was sent last is answered, with so many bytes.
    pub(crate) fn answered(&mut self, now: Instant, bytes: u64) {
        let span = self.charge(now, bytes);
        self.since_pause += span;
        if self.since_pause >= self.pause_after {
            self.since_pause = Duration::ZERO;
            self.paid_at += PAUSE;
        }
        self.share = WHOLE.min(self.share + GROWTH);
        self.is_refused = false;
    }

    /// Nobody waits any more for the answer to the call that was sent last. The service may count it, and
    /// so many bytes.
    pub(crate) fn given_up(&mut self, now: Instant, bytes: u64) {
        self.charge(now, bytes);
    }

    /// The call that was sent last failed.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.note_answer(now);
    }

    /// The call that was sent last is refused, as too much is read of the shard.
    pub(crate) fn refused(&mut self, now: Instant) {
        self.note_answer(now);
        // One answer of the other's is the reason for all refusals until the next of ours.
        if !std::mem::replace(&mut self.is_refused, true) {
            self.share = LEAST.max(self.share / 4 * 3);
        }
    }

    /// The call that was sent last is over, and so many bytes are to be paid for. Returns how long that
    /// takes a reader alone.
    fn charge(&mut self, now: Instant, bytes: u64) -> Duration {
        self.note_answer(now);
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(BYTES_PER_SECOND.into());
        let span = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        // The one before was paid for before this one was sent.
        self.paid_at = now + self.stretched(span);
        span
    }

    /// A span that is longer the smaller the share.
    fn stretched(&self, span: Duration) -> Duration {
        span.saturating_mul(WHOLE) / self.share
    }

    fn note_answer(&mut self, now: Instant) {
        let last = (self.place + CALLS_PER_SECOND - 1) % CALLS_PER_SECOND;
        if let Some(last) = &mut self.answered[last] {
            *last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1_024 * 1_024;

    /// A shard as the service counts, and a reader of it.
    struct Rig {
        start: Instant,
        now: Instant,
        governor: Governor,
    }

    impl Rig {
        fn new(seed: u64) -> Self {
            let now = Instant::now();
            Self {
                start: now,
                now,
                governor: Governor::new(now, seed),
            }
        }

        /// A call as soon as it may be, and when the service takes it in.
        fn call(&mut self, there: Duration, back: Duration, bytes: u64) -> Instant {
            self.call_that(there, back, |governor, now| governor.answered(now, bytes))
        }

        /// One that ends so.
        fn call_that(
            &mut self,
            there: Duration,
            back: Duration,
            ends: impl FnOnce(&mut Governor, Instant),
        ) -> Instant {
            self.now = self.now.max(self.governor.ready_at());
            self.governor.sent(self.now);
            let taken = self.now + there;
            self.now = taken + back;
            ends(&mut self.governor, self.now);
            taken
        }
    }

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn calls_are_spaced_evenly() {
        let mut rig = Rig::new(0);
        for call in 0..51 {
            let taken = rig.call(NOW, NOW, 0);
            assert_eq!(taken - rig.start, Duration::from_millis(200) * call);
        }
    }

    #[test]
    fn a_large_answer_is_paid_for_before_the_next_call() {
        let mut rig = Rig::new(0);
        rig.call(NOW, NOW, 10 * MIB);
        let wait = rig.governor.ready_at() - rig.start;
        assert!((5_000..5_100).contains(&wait.as_millis()), "{wait:?}");
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let mut rig = Rig::new(0);
        rig.now += Duration::from_secs(3_600);
        let idle = rig.now;
        rig.call(NOW, NOW, 2 * MIB);
        assert!(rig.governor.ready_at() - idle >= Duration::from_secs(1));
    }

    #[test]
    fn who_is_refused_takes_less_and_then_more_again() {
        let mut rig = Rig::new(0);
        for _ in 0..9 {
            rig.governor.refused(rig.now);
            rig.governor.failed(rig.now);
        }
        rig.call(NOW, NOW, 3 * MIB);
        let wait = rig.governor.ready_at() - rig.start;
        assert!((2_000..2_030).contains(&wait.as_millis()), "{wait:?}");
        for _ in 0..100 {
            rig.call(NOW, NOW, 0);
        }
        let before = rig.now.max(rig.governor.ready_at());
        rig.call(NOW, NOW, 2 * MIB);
        let wait = rig.governor.ready_at() - before;
        assert!((1_000..1_020).contains(&wait.as_millis()), "{wait:?}");
        for _ in 0..100 {
            rig.governor.refused(rig.now);
            rig.governor.answered(rig.now, 0);
        }
        let before = rig.now.max(rig.governor.ready_at());
        rig.call(NOW, NOW, 2 * MIB);
        let wait = rig.governor.ready_at() - before;
        assert!(wait <= Duration::from_secs(11), "each goes on: {wait:?}");
    }

    #[test]
    fn however_a_call_ends_it_counts_from_then() {
        let ends: [fn(&mut Governor, Instant); 4] = [
            |governor, now| governor.answered(now, 0),
            |governor, now| governor.failed(now),
            |governor, now| governor.refused(now),
            |governor, now| governor.given_up(now, 0),
        ];
        for end in ends {
            let mut rig = Rig::new(0);
            let first =
                rig.call_that(NOW, Duration::from_millis(900), end) + Duration::from_millis(900);
            for _ in 0..4 {
                rig.call(NOW, NOW, 0);
            }
            assert!(rig.governor.ready_at() >= first + Duration::from_secs(1));
        }
    }

    /// Whoever waits for that moment finds it.
    #[test]
    fn a_reader_at_full_speed_pauses_now_and_then() {
        for (seed, first) in [(0, 100), (31, 122)] {
            let mut rig = Rig::new(seed);
            let mut pauses = Vec::new();
            for call in 1..=300 {
                rig.call(NOW, NOW, 2 * MIB);
                if rig.governor.ready_at() - rig.now > Duration::from_secs(1) {
                    pauses.push(call);
                }
            }
            let second = 2 * first;
            assert_eq!(pauses[..2], [first, second]);
            assert_eq!(rig.governor.ready_at() - rig.start, {
                Duration::from_secs(300) + PAUSE * pauses.len() as u32
            });
        }
    }

    /// Until something comes, one answer of the other's is the reason of all refusals; then it is another.
    #[test]
    fn a_refusal_counts_once_until_there_is_an_answer() {
        let mut rig = Rig::new(0);
        for _ in 0..2 {
            rig.call_that(NOW, NOW, |governor, now| governor.refused(now));
            rig.call_that(NOW, NOW, |governor, now| governor.refused(now));
            rig.call(NOW, NOW, 0);
        }
        rig.call(NOW, NOW, 1_000 * MIB);
        // 1,000, 750, 770, 576, 596 thousandths.
        let wait = (rig.governor.ready_at() - rig.now).as_secs_f64();
        assert!(
            (838.0..840.0).contains(&(wait - PAUSE.as_secs_f64())),
            "{wait}"
        );
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_paid_for() {
        let mut rig = Rig::new(0);
        rig.governor.refused(rig.now);
        rig.governor.sent(rig.now);
        rig.now += Duration::from_millis(300);
        rig.governor.given_up(rig.now, 3 * MIB);
        // It says nothing of the share: that is three quarters still.
        assert_eq!(rig.governor.ready_at() - rig.now, Duration::from_secs(2));
    }

    /// Most calls are quick, and some are not: those are what the next ones may catch up with.
    fn delay() -> impl Strategy<Value = u64> {
        prop_oneof![5 => 0..20u64, 1 => 0..900u64]
    }

    /// Most answers are small, or only what is to be paid for would count.
    fn bytes() -> impl Strategy<Value = u64> {
        prop_oneof![5 => 0..1_000u64, 1 => 0..10 * MIB]
    }

    proptest! {
        /// However long each call is on its way, the service never sees six in a second, nor one that
        /// is not paid for. And one that is late by nothing reads 98 % of what it may.
        #[test]
        fn a_reader_alone_is_never_refused(
            seed: u64,
            calls in prop::collection::vec((delay(), delay(), bytes(), 0..6u32), 1..60),
        ) {
            let mut rig = Rig::new(seed);
            let (mut taken, mut free_at) = (Vec::new(), rig.start);
            for (there, back, bytes, end) in calls {
                let (there, back) = (Duration::from_millis(there), Duration::from_millis(back));
                let bytes = if end < 2 { 0 } else { bytes };
                let at = rig.call_that(there, back, |governor, now| match end {
                    0 => governor.failed(now),
                    1 => governor.refused(now),
                    2 => governor.given_up(now, bytes),
                    _ => governor.answered(now, bytes),
                });
                prop_assert!(free_at <= at + Duration::from_millis(1));
                taken.push(at);
                if let [.., first, _, _, _, _, sixth] = taken[..] {
                    prop_assert!(sixth - first >= Duration::from_secs(1));
                }
                let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(BYTES_PER_SECOND);
                free_at = free_at.max(at) + Duration::from_nanos(u64::try_from(nanos).unwrap());
            }
        }

        #[test]
        fn a_reader_that_is_behind_reads_98_percent(seed: u64, kib in 450..10_240u64) {
            let mut rig = Rig::new(seed);
            for _ in 0..200 {
                rig.call(NOW, NOW, kib * 1_024);
            }
            let took = (rig.governor.ready_at() - rig.start).as_secs_f64();
            let share = (200 * kib * 1_024) as f64 / BYTES_PER_SECOND as f64 / took;
            prop_assert!((0.98..=1.0).contains(&share), "{share}");
        }
    }
}

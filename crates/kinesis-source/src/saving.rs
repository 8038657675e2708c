use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::watch;

/// When checkpoints are due besides by time, and how far shards may go while they cannot be stored, or
/// beyond what holds them up.
/// Shared by the coordinator, which stores them, and all shards of a stream.
#[derive(Debug)]
pub(crate) struct Saving {
    /// After so many acknowledgements.
    after: AtomicU64,
    acked: AtomicU64,
    /// How many records a shard may hand out after its checkpoint while none can be stored; and how many
    /// may be acknowledged beyond one that is not.
    unsaved_at_most: u64,
    is_failing: watch::Sender<bool>,
}

impl Saving {
    pub(crate) fn new(after: u64, unsaved_at_most: u64) -> Self {
        Self {
            after: AtomicU64::new(after),
            acked: AtomicU64::new(0),
            unsaved_at_most,
            is_failing: watch::Sender::new(false),
        }
    }

    /// Takes note that so many records are acknowledged. Whether checkpoints are due by that.
    pub(crate) fn note_acked(&self, records: u64) -> bool {
        let after = self.after.load(Relaxed);
        if after == u64::MAX {
            return false;
        }
        let before = self.acked.fetch_add(records, Relaxed);
        before < after && before + records >= after
    }

    /// Whether so many are acknowledged that checkpoints are due.
    pub(crate) fn is_due(&self) -> bool {
        self.acked.load(Relaxed) >= self.after.load(Relaxed)
    }

    /// From now on each acknowledgement is a reason to store it.
    pub(crate) fn store_each(&self) {
        self.after.store(1, Relaxed);
    }

    /// Whether the last try has failed.
    pub(crate) fn is_failing(&self) -> bool {
        *self.is_failing.borrow()
    }

    /// What is acknowledged by now is about to be stored.
    pub(crate) fn begin(&self) {
        self.acked.store(0, Relaxed);
    }

    /// Checkpoints were stored, or could not be. Whether that is news.
    pub(crate) fn ended(&self, is_failing: bool) -> bool {
        self.is_failing
            .send_if_modified(|before| std::mem::replace(before, is_failing) != is_failing)
    }

    /// Whether a shard has to wait that has handed out so many since its checkpoint.
    pub(crate) fn must_wait(&self, unsaved: u64) -> bool {
        unsaved >= self.unsaved_at_most && self.is_failing()
    }

    /// How many more a shard may hand out that has handed out so many since its checkpoint, and does not have to wait.
    pub(crate) fn room(&self, unsaved: u64) -> usize {
        if !self.is_failing() {
            return usize::MAX;
        }
        let room = self.unsaved_at_most.saturating_sub(unsaved);
        usize::try_from(room).unwrap_or(usize::MAX).max(1)
    }

    /// Whether a shard has to wait that has so many records acknowledged beyond one that is not.
    pub(crate) fn is_too_far(&self, beyond: u64) -> bool {
        beyond >= self.unsaved_at_most
    }

    /// Waits until a shard may hand out more that has handed out so many since its checkpoint.
    pub(crate) async fn may_hand_out(&self, unsaved: u64) {
        if !self.must_wait(unsaved) {
            return;
        }
        // An error would be that nobody stores anything any more: then nobody waits for it either.
        let _ = self
            .is_failing
            .subscribe()
            .wait_for(|failing| !failing)
            .await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn while_nothing_can_be_stored_there_is_room_for_what_is_left() {
        let saving = Saving::new(u64::MAX, 100);
        assert_eq!(saving.room(1_000), usize::MAX);
        saving.ended(true);
        assert_eq!((saving.room(0), saving.room(99)), (100, 1));
        assert_eq!(saving.room(100), 1, "who may go on nevertheless does");
        saving.ended(false);
        assert_eq!(saving.room(100), usize::MAX);
    }

    #[test]
    fn checkpoints_are_due_once_for_each_so_many() {
        let saving = Saving::new(10, 0);
        assert!(!saving.note_acked(9));
        assert!(!saving.is_due());
        assert!(saving.note_acked(5));
        assert!(!saving.note_acked(5), "it is known by now");
        assert!(saving.is_due());
        saving.begin();
        assert!(!saving.is_due());
        assert!(saving.note_acked(10));
    }

    #[test]
    fn in_a_drain_they_are_due_at_each() {
        let saving = Saving::new(u64::MAX, 0);
        assert!(!saving.note_acked(9) && !saving.is_due());
        saving.store_each();
        assert!(saving.note_acked(1) && saving.is_due());
        saving.begin();
        assert!(!saving.is_due());
        assert!(saving.note_acked(1) && saving.is_due());
    }

    #[tokio::test(start_paused = true)]
    async fn shards_go_on_as_far_as_they_may_and_further_when_all_is_well() {
        let saving = Saving::new(u64::MAX, 100);
        let a_while = Duration::from_secs(3_600);
        saving.may_hand_out(5_000).await;
        assert!(saving.ended(true));
        assert!(!saving.ended(true));
        saving.may_hand_out(99).await;
        assert!(timeout(a_while, saving.may_hand_out(100)).await.is_err());
        let (healed, ()) = tokio::join!(timeout(a_while, saving.may_hand_out(100)), async {
            assert!(saving.ended(false));
        });
        healed.unwrap();
    }
}

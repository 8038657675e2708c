use std::{collections::BTreeMap, sync::Arc};

use crate::{ShardId, progress::Progress};

/// Shards of which something is awaited. Each is looked at until it has come to that, and as a rule not
/// again.
#[derive(Debug, Default)]
pub(super) struct Awaited(Vec<Arc<Progress>>);

impl Awaited {
    /// Whether all of these shards have come to it.
    pub(super) fn is_over(
        &mut self,
        shards: &BTreeMap<ShardId, Arc<Progress>>,
        has_come: impl Fn(&Progress) -> bool,
    ) -> bool {
        let is_done = |it: &Arc<Progress>| has_come(it) || !shards.contains_key(it.shard());
        if self.drop_those(is_done) {
            // Others may have come, or some back.
            let left = shards.values().filter(|it| !has_come(it));
            self.0.extend(left.cloned());
        }
        self.0.is_empty()
    }

    /// Whether those that are left have come to it, whoever else there may be by now.
    pub(super) fn is_over_with_these(&mut self, has_come: impl Fn(&Progress) -> bool) -> bool {
        self.drop_those(|it| has_come(it))
    }

    fn drop_those(&mut self, is_done: impl Fn(&Arc<Progress>) -> bool) -> bool {
        while self.0.pop_if(|last| is_done(last)).is_some() {}
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PinnedPosition, progress::Phase};

    fn shards(names: &[&str]) -> BTreeMap<ShardId, Arc<Progress>> {
        let of = |name: &&str| {
            let shard = ShardId::from(*name);
            let from = PinnedPosition::TrimHorizon;
            (shard.clone(), Progress::new(shard, from, Arc::default()))
        };
        names.iter().map(of).collect()
    }

    #[test]
    fn it_is_over_once_all_have_come_to_it() {
        let (all, mut awaited) = (shards(&["a", "b"]), Awaited::default());
        assert!(!awaited.is_over(&all, Progress::has_ended));
        for progress in all.values() {
            assert!(!awaited.is_over(&all, Progress::has_ended));
            progress.enter(Phase::Stopped);
        }
        assert!(awaited.is_over(&all, Progress::has_ended));
    }

    #[test]
    fn whoever_has_gone_back_or_come_meanwhile_is_awaited() {
        let (mut all, mut awaited) = (shards(&["a", "b"]), Awaited::default());
        assert!(!awaited.is_over(&all, Progress::has_ended));
        let [a, b] = ["a", "b"].map(|name| Arc::clone(&all[&ShardId::from(name)]));
        b.enter(Phase::Stopped);
        assert!(!awaited.is_over(&all, Progress::has_ended));
        b.enter(Phase::Reading);
        a.enter(Phase::Stopped);
        assert!(!awaited.is_over(&all, Progress::has_ended));
        b.enter(Phase::Stopped);
        all.extend(shards(&["c"]));
        assert!(!awaited.is_over(&all, Progress::has_ended));
    }

    #[test]
    fn whoever_has_left_is_not_awaited() {
        let (mut all, mut awaited) = (shards(&["a", "b"]), Awaited::default());
        assert!(!awaited.is_over(&all, Progress::has_ended));
        all.clear();
        assert!(awaited.is_over(&all, Progress::has_ended));
    }
}

//! A dispatcher as a user would write one.

use std::collections::VecDeque;

use stage_core::{
    Demand,
    protocol::{Backlog, Dispatcher, Handout, Refused, SubscriptionId, Terms},
};

/// Gives each in turn one event.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin {
    turns: VecDeque<(SubscriptionId, usize)>,
}

impl Dispatcher<u64> for RoundRobin {
    fn subscribe(&mut self, id: SubscriptionId, _: Terms<u64>) -> Result<(), Refused> {
        if self.turns.iter().any(|(other, _)| *other == id) {
            return Err(Refused::AlreadySubscribed);
        }
        self.turns.push_back((id, 0));
        Ok(())
    }

    fn ask(&mut self, id: SubscriptionId, demand: Demand) {
        if let Some((_, open)) = self.turns.iter_mut().find(|(other, _)| *other == id) {
            *open += demand.get();
        }
    }

    fn cancel(&mut self, id: SubscriptionId) {
        self.turns.retain(|(other, _)| *other != id);
    }

    fn demand(&self) -> usize {
        self.turns.iter().map(|(_, open)| open).sum()
    }

    fn dispatch(&mut self, backlog: &mut Backlog<u64>, handout: &mut Handout<u64>) {
        while !backlog.is_empty()
            && let Some(next) = self.turns.iter().position(|(_, open)| *open > 0)
        {
            self.turns.rotate_left(next);
            self.turns[0].1 -= 1;
            handout.deliver(self.turns[0].0, backlog.take(1));
            self.turns.rotate_left(1);
        }
    }
}

//! Putting stages together: what pipelines, groups and handles have in common.

use std::sync::Arc;

use crate::{
    AddError, Consumer, Producer, Subscription, Transform,
    crew::{AnyDesk, Claim, Member, Task},
    desk::Desk,
    inbox::Inbox,
    link::{ReceiveEnd, SendEnd},
    outbox::Outbox,
    protocol::Dispatcher,
    seat::Seat,
    stage,
};

/// A stage that is put together and not added yet.
pub(crate) struct Assembled<D> {
    /// Where its subscriptions go.
    pub(crate) desk: Arc<D>,
    pub(crate) member: Member,
    pub(crate) task: Task,
}

impl<D> Assembled<D> {
    pub(crate) fn add_by(self, claim: Claim) -> Result<Arc<D>, AddError> {
        claim.add(self.member, self.task)?;
        Ok(self.desk)
    }
}

pub(crate) fn producer<P: Producer>(
    name: &Arc<str>,
    producer: P,
    dispatcher: Box<dyn Dispatcher<P::Event>>,
) -> Assembled<Desk<SendEnd<P::Event>>> {
    let seat = Seat::new(name);
    let desk = Desk::new(&seat);
    let outbox = Outbox::new(Arc::clone(&desk), dispatcher);
    Assembled {
        task: Box::pin(Arc::clone(&seat).watch(stage::produce(producer, outbox))),
        member: Member {
            front: Some(Arc::clone(&desk) as Arc<dyn AnyDesk>),
            back: None,
            seat,
        },
        desk,
    }
}

pub(crate) fn transform<In, T>(
    name: &Arc<str>,
    transform: T,
    subscriptions: impl IntoIterator<Item = Subscription<In>>,
    dispatcher: Box<dyn Dispatcher<T::Out>>,
) -> Assembled<Desk<SendEnd<T::Out>>>
where
    In: Send + 'static,
    T: Transform<In>,
{
    let seat = Seat::new(name);
    let back = intake(&seat, subscriptions);
    let desk = Desk::new(&seat);
    let inbox = Inbox::new(Arc::clone(&back));
    let outbox = Outbox::new(Arc::clone(&desk), dispatcher);
    Assembled {
        task: Box::pin(Arc::clone(&seat).watch(stage::transform(transform, inbox, outbox))),
        member: Member {
            front: Some(Arc::clone(&desk) as Arc<dyn AnyDesk>),
            back: Some(back as Arc<dyn AnyDesk>),
            seat,
        },
        desk,
    }
}

pub(crate) fn consumer<E, C>(
    name: &Arc<str>,
    consumer: C,
    subscriptions: impl IntoIterator<Item = Subscription<E>>,
) -> Assembled<Desk<ReceiveEnd<E>>>
where
    E: Send + 'static,
    C: Consumer<E>,
{
    let seat = Seat::new(name);
    let desk = intake(&seat, subscriptions);
    let inbox = Inbox::new(Arc::clone(&desk));
    Assembled {
        task: Box::pin(Arc::clone(&seat).watch(stage::consume(consumer, inbox))),
        member: Member {
            front: None,
            back: Some(Arc::clone(&desk) as Arc<dyn AnyDesk>),
            seat,
        },
        desk,
    }
}

fn intake<E: Send + 'static>(
    seat: &Arc<Seat>,
    subscriptions: impl IntoIterator<Item = Subscription<E>>,
) -> Arc<Desk<ReceiveEnd<E>>> {
    let desk = Desk::new(seat);
    for subscription in subscriptions {
        subscription.open(&desk);
    }
    desk
}

//! The three loops. Everything a stage decides is in [`protocol`](crate::protocol); everything it
//! does is here.

use std::{
    future::{pending, poll_fn},
    pin::pin,
    task::Poll,
};

use tokio::{
    task::{consume_budget, yield_now},
    time::{Instant, sleep_until},
};

use crate::{
    Consumer, Flow, Producer, Transform,
    failure::{Failure, guarded, guarded_call},
    inbox::{Inbox, Input, Portion},
    outbox::{Change, Outbox, Wanted},
    protocol::End,
};

pub(crate) async fn produce<P: Producer>(
    mut producer: P,
    mut outbox: Outbox<P::Event>,
) -> Result<(), Failure> {
    let made = make(&mut producer, &mut outbox).await;
    outbox.flush().await;
    // Closed before it finishes: what it waits for may wait for the end of its events.
    let changes = outbox.close(&end_of(&made))?;
    made?;
    for change in changes {
        tell_producer(&mut producer, &change)?;
    }
    guarded(producer.finish()).await
}

async fn make<P: Producer>(
    producer: &mut P,
    outbox: &mut Outbox<P::Event>,
) -> Result<End, Failure> {
    loop {
        let demand = match outbox.wanted().await {
            Wanted::Events(demand) => demand,
            Wanted::Change(change) => {
                tell_producer(producer, &change)?;
                continue;
            }
            Wanted::Nothing(end) => return Ok(end),
        };
        let mut batch = outbox.batch();
        let produced = outbox
            .while_serving(guarded(producer.produce(demand, &mut batch)))
            .await;
        let empty = batch.is_empty();
        outbox.push_made(batch);
        match produced {
            // One that breaks its promise of an event must not keep the thread to itself.
            Ok(Ok(Flow::More)) if empty => yield_now().await,
            Ok(Ok(Flow::More)) => consume_budget().await,
            Ok(Ok(Flow::End)) => return Ok(End::Completed),
            Ok(Err(failure)) => return Err(failure),
            Err(end) => return Ok(end),
        }
    }
}

fn tell_producer<P: Producer>(producer: &mut P, change: &Change) -> Result<(), Failure> {
    guarded_call(|| match change {
        Change::Opened(info) => producer.subscribed(info),
        Change::Ended(info, end) => producer.unsubscribed(info, end),
    })
}

pub(crate) async fn transform<In, T>(
    mut stage: T,
    mut inbox: Inbox<In>,
    mut outbox: Outbox<T::Out>,
) -> Result<(), Failure>
where
    In: Send + 'static,
    T: Transform<In>,
{
    let mut turned = turn(&mut stage, &mut inbox, &mut outbox).await;
    inbox.close(&end_of(&turned));
    drop(inbox);
    if turned.is_ok() {
        let mut out = outbox.batch();
        if let Err(failure) = guarded(stage.finish(&mut out)).await {
            turned = Err(failure);
        }
        outbox.push(out);
    }
    outbox.flush().await;
    let changes = outbox.close(&end_of(&turned))?;
    turned?;
    for change in changes {
        tell_transform(&mut stage, &change)?;
    }
    Ok(())
}

/// What a transform has to do next.
enum Step<In> {
    Input(Option<Input<In>>),
    Change(Change),
    Due,
    Nothing(End),
}

async fn turn<In, T>(
    stage: &mut T,
    inbox: &mut Inbox<In>,
    outbox: &mut Outbox<T::Out>,
) -> Result<End, Failure>
where
    In: Send + 'static,
    T: Transform<In>,
{
    loop {
        let mut due = pin!(at(stage.due()));
        let step = poll_fn(|cx| match outbox.poll_listening(cx) {
            Some(Wanted::Change(change)) => Step::Change(change).into(),
            Some(Wanted::Nothing(end)) => Step::Nothing(end).into(),
            Some(Wanted::Events(_)) if due.as_mut().poll(cx).is_ready() => Step::Due.into(),
            Some(Wanted::Events(_)) => inbox.poll_next(cx).map(Step::Input),
            None if outbox.is_held() => inbox.poll_without_events(cx).map(Step::Input),
            // Nobody asks for what it makes of a delivery that it has begun. It is bounded by the
            // window that it came through.
            None => inbox.poll_begun(cx).map(Step::Input),
        });
        let Portion { mut batch, debt } = match step.await {
            Step::Input(Some(Input::Events(portion))) => portion,
            Step::Input(Some(Input::Opened(info))) => {
                tell_transform(stage, &Change::Opened(info))?;
                continue;
            }
            Step::Input(Some(Input::Ended(info, end))) => {
                tell_transform(stage, &Change::Ended(info, end))?;
                continue;
            }
            Step::Change(change) => {
                tell_transform(stage, &change)?;
                continue;
            }
            Step::Due => {
                let mut out = outbox.batch();
                let elapsing = guarded(stage.elapsed(&mut out));
                match outbox.while_serving(elapsing).await {
                    Ok(result) => result?,
                    Err(end) => return Ok(end),
                }
                outbox.push(out);
                consume_budget().await;
                continue;
            }
            Step::Input(None) => return Ok(inbox.outcome()?),
            Step::Nothing(end) => return Ok(end),
        };
        let mut out = outbox.batch();
        let turning = guarded(stage.transform(&mut batch, &mut out));
        match outbox.while_serving(turning).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => return Err(failure),
            Err(end) => return Ok(end),
        }
        out.stand_for(&mut batch);
        drop(batch);
        outbox.push(out);
        inbox.settle(debt);
        consume_budget().await;
    }
}

fn tell_transform<In, T: Transform<In>>(stage: &mut T, change: &Change) -> Result<(), Failure> {
    guarded_call(|| match change {
        Change::Opened(info) => stage.subscribed(info),
        Change::Ended(info, end) => stage.unsubscribed(info, end),
    })
}

pub(crate) async fn consume<E, C>(mut consumer: C, mut inbox: Inbox<E>) -> Result<(), Failure>
where
    E: Send + 'static,
    C: Consumer<E>,
{
    let taken = take_in(&mut consumer, &mut inbox).await;
    inbox.close(&end_of(&taken));
    drop(inbox);
    taken?;
    guarded(consumer.finish()).await
}

async fn take_in<E, C>(consumer: &mut C, inbox: &mut Inbox<E>) -> Result<End, Failure>
where
    E: Send + 'static,
    C: Consumer<E>,
{
    loop {
        let Some(input) = next_or_idle(consumer, inbox).await? else {
            return Ok(inbox.outcome()?);
        };
        let Portion { mut batch, debt } = match input {
            Input::Events(portion) => portion,
            Input::Opened(info) => {
                guarded_call(|| consumer.subscribed(&info))?;
                continue;
            }
            Input::Ended(info, end) => {
                guarded_call(|| consumer.unsubscribed(&info, &end))?;
                continue;
            }
        };
        guarded(consumer.consume(&mut batch)).await?;
        batch.ack();
        drop(batch);
        inbox.settle(debt);
        consume_budget().await;
    }
}

/// The next input. The consumer may do what it does while it is idle.
async fn next_or_idle<E, C: Consumer<E>>(
    consumer: &mut C,
    inbox: &mut Inbox<E>,
) -> Result<Option<Input<E>>, Failure> {
    loop {
        let mut idle = pin!(guarded(consumer.while_idle()));
        let input = poll_fn(|cx| match inbox.poll_next(cx) {
            Poll::Ready(input) => Poll::Ready(Ok(Some(input))),
            Poll::Pending => idle.as_mut().poll(cx).map_ok(|()| None),
        });
        if let Some(input) = input.await? {
            return Ok(input);
        }
        // One that is idle in no time must not keep the thread to itself.
        yield_now().await;
    }
}

/// How a stage ends for those that it has subscriptions with.
fn end_of(result: &Result<End, Failure>) -> End {
    match result {
        Ok(end) => end.clone(),
        Err(failure) => failure.end(),
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

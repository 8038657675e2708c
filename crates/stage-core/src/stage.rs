//! The three loops. Everything a stage decides is in [`protocol`](crate::protocol); everything it
//! does is here.

use std::{
    future::{pending, poll_fn},
    mem,
    pin::pin,
    task::Poll,
};

use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use crate::{
    Consumer, Flow, Producer, Transform,
    change::Change,
    failure::{Failure, caught, failing},
    inbox::{Debt, Inbox, Input},
    outbox::{Outbox, Wanted},
    pace::{Pace, budgeted, if_it_waits},
    protocol::End,
};

#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` has room for what it is given twice: as it is given, and as it is used"
)]
pub(crate) fn produce<P: Producer>(
    mut producer: P,
    mut outbox: Outbox<P::Event>,
) -> impl Future<Output = Result<(), Failure>> + Send {
    async move {
        outbox.begin();
        let made = caught(pin!(make(&mut producer, &mut outbox))).await;
        let made = hand_out_the_rest(&mut outbox, made).await;
        // Closed before it finishes: what it waits for may wait for the end of its events.
        let changes = outbox.close(&end_of(&made))?;
        made?;
        let finishing = pin!(async {
            for change in changes {
                tell_producer(&mut producer, &change);
            }
            failing(producer.finish()).await
        });
        caught(finishing).await
    }
}

/// Waits until what the stage has made is taken. If it has failed, others are not to wait for that.
async fn hand_out_the_rest<E: Send + 'static>(
    outbox: &mut Outbox<E>,
    result: Result<End, Failure>,
) -> Result<End, Failure> {
    if result.is_err() {
        outbox.raise_alarm();
    }
    let flushing = pin!(async {
        outbox.flush().await;
        Ok(())
    });
    let flushed = caught(flushing).await;
    result.and_then(|end| flushed.map(|()| end))
}

async fn make<P: Producer>(
    producer: &mut P,
    outbox: &mut Outbox<P::Event>,
) -> Result<End, Failure> {
    let mut pace = Pace::new();
    loop {
        let wanted = match outbox.ready() {
            Some(wanted) => {
                pace.give_way(outbox.has_woken()).await;
                if pace.costs() {
                    budgeted().await;
                }
                wanted
            }
            None => outbox.wanted().await,
        };
        let demand = match wanted {
            Wanted::Events(demand) => demand,
            Wanted::Change => {
                if let Some(change) = outbox.take_change() {
                    tell_producer(producer, &change);
                }
                continue;
            }
            Wanted::Nothing => return Ok(outbox.end()),
        };
        let demand = outbox.in_one_piece(pace.moderate(demand));
        let mut batch = outbox.batch(demand.get());
        let stopwatch = pace.start();
        let produced = outbox
            .serve_during(pin!(producer.produce(demand, &mut batch)), || {})
            .await;
        pace.note(stopwatch, produced.waited);
        let empty = batch.is_empty();
        outbox.push_made(batch);
        match produced.done {
            // One that breaks its promise of an event must not keep the thread to itself.
            Some(Ok(Flow::More)) if empty => yield_now().await,
            Some(Ok(Flow::More)) => {}
            Some(Ok(Flow::End)) => return Ok(End::Completed),
            Some(Err(error)) => return Err(Failure::Failed(error.into())),
            None => return Ok(outbox.end()),
        }
    }
}

fn tell_producer<P: Producer>(producer: &mut P, change: &Change<P::Event>) {
    match change {
        Change::Opened(link) => producer.subscribed(link.info()),
        Change::Ended(link, end) => producer.unsubscribed(link.info(), end),
    }
}

#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` has room for what it is given twice: as it is given, and as it is used"
)]
pub(crate) fn transform<In, T>(
    mut stage: T,
    mut inbox: Inbox<In>,
    mut outbox: Outbox<T::Out>,
) -> impl Future<Output = Result<(), Failure>> + Send
where
    In: Send + 'static,
    T: Transform<In>,
{
    async move {
        outbox.begin();
        let mut turned = caught(pin!(turn(&mut inbox, &mut stage, &mut outbox))).await;
        inbox.close(&end_of(&turned));
        drop(inbox);
        if turned.is_ok() {
            let mut out = outbox.batch(1);
            if let Err(failure) = caught(pin!(failing(stage.finish(&mut out)))).await {
                turned = Err(failure);
            }
            outbox.push(out);
        }
        let turned = hand_out_the_rest(&mut outbox, turned).await;
        let changes = outbox.close(&end_of(&turned))?;
        turned?;
        let telling = pin!(async {
            for change in changes {
                tell_transform(&mut stage, &change);
            }
            Ok(())
        });
        caught(telling).await
    }
}

/// What a transform has to do next.
enum Step {
    Input(Input),
    Change,
    Due,
    Nothing,
}

async fn turn<In, T>(
    inbox: &mut Inbox<In>,
    stage: &mut T,
    outbox: &mut Outbox<T::Out>,
) -> Result<End, Failure>
where
    In: Send + 'static,
    T: Transform<In>,
{
    let mut pace = Pace::new();
    loop {
        let due = stage.due();
        let is_due = due.is_some_and(|due| due <= Instant::now());
        let step = match look(is_due, inbox, outbox) {
            Some(step) => {
                pace.give_way(outbox.has_woken() | inbox.has_woken()).await;
                if pace.costs() {
                    budgeted().await;
                }
                step
            }
            None => wait(due, inbox, outbox).await,
        };
        match step {
            Step::Input(Input::Events(debt)) => {
                if let Some(end) = take_through(stage, debt, inbox, outbox, &mut pace).await? {
                    return Ok(end);
                }
            }
            Step::Input(Input::Change) => {
                if let Some(change) = inbox.take_change() {
                    tell_transform(stage, &change);
                }
            }
            Step::Change => {
                if let Some(change) = outbox.take_change() {
                    tell_transform(stage, &change);
                }
            }
            Step::Due => {
                let mut out = outbox.batch(1);
                match outbox
                    .serve_during(pin!(stage.elapsed(&mut out)), || inbox.ask_for_begun())
                    .await
                    .done
                {
                    Some(result) => result.map_err(|error| Failure::Failed(error.into()))?,
                    None => return Ok(outbox.end()),
                }
                outbox.push(out);
            }
            Step::Input(Input::End) => return Ok(inbox.outcome()?),
            Step::Nothing => return Ok(outbox.end()),
        }
    }
}

/// Takes a portion in, and hands out what is made of it. An end is why the stage does not go on.
async fn take_through<In, T>(
    stage: &mut T,
    debt: Debt,
    inbox: &mut Inbox<In>,
    outbox: &mut Outbox<T::Out>,
    pace: &mut Pace,
) -> Result<Option<End>, Failure>
where
    In: Send + 'static,
    T: Transform<In>,
{
    let (batch, put_off) = inbox.at_work(&debt);
    let mut out = outbox.batch(batch.len());
    let stopwatch = pace.start();
    let turned = outbox
        .serve_during(pin!(stage.transform(batch, &mut out)), || put_off.ask())
        .await;
    pace.note(stopwatch, turned.waited);
    match turned.done {
        Some(result) => result.map_err(|error| Failure::Failed(error.into()))?,
        None => return Ok(Some(outbox.end())),
    }
    out.stand_for(&mut inbox.portion);
    outbox.push(out);
    inbox.settle(debt);
    Ok(None)
}

fn look<In: Send + 'static, Out: Send + 'static>(
    is_due: bool,
    inbox: &mut Inbox<In>,
    outbox: &mut Outbox<Out>,
) -> Option<Step> {
    match outbox.look() {
        Some(Wanted::Change) => Some(Step::Change),
        Some(Wanted::Nothing) => Some(Step::Nothing),
        Some(Wanted::Events(_)) if is_due => Some(Step::Due),
        Some(Wanted::Events(_)) => inbox.look().map(Step::Input),
        None if outbox.is_held() => inbox.look_past_events().map(Step::Input),
        // Nobody asks for what it makes of a delivery that it has begun. It is bounded by the window
        // that it came through.
        None => inbox.look_at_begun().map(Step::Input),
    }
}

/// After a look at nothing: waits for something to do.
async fn wait<In: Send + 'static, Out: Send + 'static>(
    due: Option<Instant>,
    inbox: &mut Inbox<In>,
    outbox: &mut Outbox<Out>,
) -> Step {
    inbox.ask_for_begun();
    let (mut timer, mut is_due) = (pin!(at(due)), false);
    let mut has_looked = true;
    poll_fn(|cx| {
        is_due = is_due || timer.as_mut().poll(cx).is_ready();
        loop {
            // The time alone is no news while nothing is wanted.
            let is_seen = mem::take(&mut has_looked) && !(is_due && outbox.is_wanted());
            if !is_seen && let Some(step) = look(is_due, inbox, outbox) {
                return Poll::Ready(step);
            }
            // Both, since either may wake it.
            let (no_news, nothing_comes) = (outbox.sleep(cx), inbox.sleep(cx));
            if no_news && nothing_comes {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Of a subscription at either side, whatever its events are.
fn tell_transform<In, T: Transform<In>, E>(stage: &mut T, change: &Change<E>) {
    match change {
        Change::Opened(link) => stage.subscribed(link.info()),
        Change::Ended(link, end) => stage.unsubscribed(link.info(), end),
    }
}

#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` has room for what it is given twice: as it is given, and as it is used"
)]
pub(crate) fn consume<E, C>(
    mut consumer: C,
    mut inbox: Inbox<E>,
) -> impl Future<Output = Result<(), Failure>> + Send
where
    E: Send + 'static,
    C: Consumer<E>,
{
    async move {
        inbox.begin();
        let taken = caught(pin!(take_in(&mut consumer, &mut inbox))).await;
        inbox.close(&end_of(&taken));
        drop(inbox);
        taken?;
        caught(pin!(failing(consumer.finish()))).await
    }
}

async fn take_in<E, C>(consumer: &mut C, inbox: &mut Inbox<E>) -> Result<End, Failure>
where
    E: Send + 'static,
    C: Consumer<E>,
{
    let mut pace = Pace::new();
    loop {
        let input = match inbox.ready() {
            Some(input) => {
                pace.give_way(inbox.has_woken()).await;
                if pace.costs() {
                    budgeted().await;
                }
                input
            }
            None => next_or_idle(consumer, inbox).await.map_err(|it| *it)?,
        };
        match input {
            Input::Events(debt) => {
                let stopwatch = pace.start();
                let (portion, put_off) = inbox.at_work(&debt);
                let taken = if_it_waits(pin!(consumer.consume(portion)), || put_off.ask()).await;
                pace.note(stopwatch, taken.waited);
                taken.done.map_err(|error| Failure::Failed(error.into()))?;
                inbox.portion.ack();
                inbox.settle(debt);
            }
            Input::Change => match inbox.take_change() {
                Some(Change::Opened(link)) => consumer.subscribed(link.info()),
                Some(Change::Ended(link, end)) => consumer.unsubscribed(link.info(), &end),
                None => {}
            },
            Input::End => return Ok(inbox.outcome()?),
        }
    }
}

/// When there is nothing without news: waits for the next input. The consumer may do what it does
/// while it is idle. What it returns is small enough for registers.
async fn next_or_idle<E: Send + 'static, C: Consumer<E>>(
    consumer: &mut C,
    inbox: &mut Inbox<E>,
) -> Result<Input, Box<Failure>> {
    let mut has_looked = true;
    loop {
        let mut idle = pin!(consumer.while_idle());
        let idled = poll_fn(|cx| {
            loop {
                if !mem::take(&mut has_looked)
                    && let Some(input) = inbox.look()
                {
                    return Poll::Ready(Err(input));
                }
                if inbox.sleep(cx) {
                    return idle.as_mut().poll(cx).map(Ok);
                }
            }
        });
        match idled.await {
            Err(input) => return Ok(input),
            Ok(Err(error)) => return Err(Box::new(Failure::Failed(error.into()))),
            // One that is idle in no time must not keep the thread to itself.
            Ok(Ok(())) => yield_now().await,
        }
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

//! The three loops. Everything a stage decides is in [`protocol`](crate::protocol); everything it
//! does is here.

use tokio::{
    task::consume_budget,
    time::{Instant, timeout_at},
};

use crate::{
    BoxError, Consumer, Flow, Producer, Transform,
    inbox::{Inbox, Portion},
    outbox::Outbox,
};

pub(crate) async fn produce<P: Producer>(
    mut producer: P,
    mut outbox: Outbox<P::Event>,
) -> Result<(), BoxError> {
    let mut failed = None;
    while let Some(demand) = outbox.wanted().await {
        let mut batch = outbox.batch();
        let produced = outbox
            .while_serving(producer.produce(demand, &mut batch))
            .await;
        let empty = batch.is_empty();
        outbox.push(batch);
        match produced {
            // One that breaks its promise of an event must not keep the thread to itself.
            Some(Ok(Flow::More)) if empty => tokio::task::yield_now().await,
            Some(Ok(Flow::More)) => consume_budget().await,
            Some(Ok(Flow::End)) | None => break,
            Some(Err(error)) => {
                failed = Some(error);
                break;
            }
        }
    }
    outbox.flush().await;
    // Before it finishes: what it waits for may wait for the end of its events.
    drop(outbox);
    match failed {
        Some(error) => Err(error.into()),
        None => producer.finish().await.map_err(Into::into),
    }
}

pub(crate) async fn transform<In, T>(
    mut stage: T,
    mut inbox: Inbox<In>,
    mut outbox: Outbox<T::Out>,
) -> Result<(), BoxError>
where
    In: Send + 'static,
    T: Transform<In>,
{
    while outbox.wanted().await.is_some() {
        let next = unless_due(stage.due(), inbox.next());
        let Some(next) = outbox.while_serving(next).await else {
            break;
        };
        let mut out = outbox.batch();
        let Some(next) = next else {
            let Some(done) = outbox.while_serving(stage.elapsed(&mut out)).await else {
                break;
            };
            done.map_err(Into::into)?;
            outbox.push(out);
            consume_budget().await;
            continue;
        };
        let Some(portion) = next else {
            break;
        };
        let Portion { mut batch, debt } = portion?;
        let Some(done) = outbox
            .while_serving(stage.transform(&mut batch, &mut out))
            .await
        else {
            break;
        };
        done.map_err(Into::into)?;
        out.stand_for(&mut batch);
        drop(batch);
        outbox.push(out);
        inbox.settle(debt);
        consume_budget().await;
    }
    let mut out = outbox.batch();
    stage.finish(&mut out).await.map_err(Into::into)?;
    outbox.push(out);
    outbox.flush().await;
    Ok(())
}

pub(crate) async fn consume<E, C>(mut consumer: C, mut inbox: Inbox<E>) -> Result<(), BoxError>
where
    E: Send + 'static,
    C: Consumer<E>,
{
    while let Some(portion) = inbox.next().await {
        let Portion { mut batch, debt } = portion?;
        consumer.consume(&mut batch).await.map_err(Into::into)?;
        batch.ack();
        drop(batch);
        inbox.settle(debt);
        consume_budget().await;
    }
    consumer.finish().await.map_err(Into::into)
}

/// Waits for `work`, but not for longer than until it is `due` to do something else: `None`.
async fn unless_due<T>(due: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match due {
        None => Some(work.await),
        Some(due) if due <= Instant::now() => None,
        Some(due) => timeout_at(due, work).await.ok(),
    }
}

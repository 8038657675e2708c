use std::{mem, sync::Arc, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    ApiError, ByteBudget, ConsumerArn, KinesisApi, Position, Remedy, SequenceNumber,
    ShardSubscription, SubscribeEvent, WaitingFor,
    arrival::{self, Arrival, Survey},
    byte_budget::Charge,
    fan_out::{Consumer, READY_WITHIN},
    held_subscription::{HeldSubscription, Said},
    listing::within_deadline,
    progress::Progress,
    read_size::{MOST_BYTES, ReadSize},
    unread::MARGIN,
};

/// Has a shard send its records, by one subscription after another.
///
/// Each goes on after the continuation of the last event, which moves also while there are no
/// records. One is made anew shortly before its five minutes are over, and takes the shard over from
/// the one before: nothing is missing between them, and what the former still sends is not read.
#[derive(Debug)]
pub(crate) struct Subscribing {
    consumer: Arc<Consumer>,
    /// Whose clock counts.
    api: Arc<dyn KinesisApi>,
    /// After this, if it is known; otherwise where the progress says.
    continuation: Option<SequenceNumber>,
    current: Option<Current>,
    /// As which consumer it subscribed last.
    arn: Option<ConsumerArn>,
    /// How often in a row another subscriber has taken the shard over.
    takeovers: u32,
    /// Whether the last error was told in words of its own.
    is_told: bool,
    event_size: ReadSize,
}

#[derive(Debug)]
struct Current {
    subscription: HeldSubscription,
    since: Instant,
    renew_at: Instant,
    /// Whether anything has come of it.
    has_said: bool,
    /// Whether it has lasted for so long that nobody else has the shard.
    is_settled: bool,
}

const OPERATION: &str = "SubscribeToShard";

/// SubscribeToShard may be called once a second for the same consumer and shard.
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>)
const BETWEEN_CALLS: Duration = Duration::from_secs(1);

/// For so long after a call that succeeded, the next one finds the shard in use. (Same page.)
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(5);

/// When to make a subscription anew, of the five minutes that it lasts. (Same page.)
const RENEW_AFTER: Duration = Duration::from_secs(4 * 60 + 45);

/// The most that is waited before a shard is taken back from another subscriber.
const LONGEST_TRUCE: Duration = Duration::from_secs(80);

/// A subscription that lasted so long was not taken over because it had just been taken back.
const SETTLED_AFTER: Duration = Duration::from_secs(120);

impl Subscribing {
    pub(crate) fn new(consumer: Arc<Consumer>, api: Arc<dyn KinesisApi>) -> Self {
        Self {
            consumer,
            api,
            continuation: None,
            current: None,
            arn: None,
            takeovers: 0,
            is_told: false,
            event_size: ReadSize::new(MOST_BYTES),
        }
    }

    pub(crate) fn api(&self) -> Arc<dyn KinesisApi> {
        Arc::clone(&self.api)
    }

    /// Waits for the next event, and for room for it. Safe to cancel.
    pub(crate) async fn next(
        &mut self,
        progress: &Progress,
        budget: &ByteBudget,
    ) -> Result<Arrival, ApiError> {
        let mut grant = None;
        loop {
            let silence = self.consumer.silence();
            let expected = self.event_size.expected(1);
            let Some(current) = &mut self.current else {
                // Else it would only be let go again.
                if budget.try_reserve(expected).is_none() {
                    progress.watch().waits_for_room(budget, expected).await;
                }
                let subscription = self.subscribe(progress).await?;
                self.take_up(subscription);
                progress.watch().subscribed();
                continue;
            };
            if current.renew_at <= Instant::now() {
                self.renew(progress).await;
                continue;
            }
            let watch = progress.watch();
            watch.waits_for(WaitingFor::Subscription, silence);
            let said = select! {
                biased;
                said = current.subscription.next(progress.shard(), budget, expected, grant.take()) => said,
                () = sleep_until(current.renew_at) => continue,
                () = sleep(silence) => {
                    self.current = None;
                    progress.note(|figures| figures.silences += 1);
                    let message = format!("the subscription has sent nothing for {} s", silence.as_secs());
                    let error = ApiError::new(OPERATION, Remedy::Retry).with_message(&message);
                    return Err(self.lost(error, progress));
                }
            };
            match said {
                Said::Event(event, survey, charge) => {
                    current.has_said = true;
                    return self.accept(event, survey, charge, progress);
                }
                // It may be let go meanwhile, as when nobody asks.
                Said::NoRoom => grant = Some(watch.waits_for_room(budget, expected).await),
                Said::Failed(error) => {
                    let lasted = self.end();
                    if error.remedy() == Remedy::AwaitActive {
                        self.give_way(lasted, progress);
                        self.is_told = true;
                        return Err(error);
                    }
                    return Err(self.lost(error, progress));
                }
                Said::Ended => {
                    let has_said = current.has_said;
                    let lasted = self.end();
                    // Its time cannot be over.
                    if lasted < RESUBSCRIBE_AFTER {
                        self.give_way(lasted, progress);
                    } else if !has_said {
                        // Even of an idle shard something comes every few seconds. If it goes on like
                        // that, somebody has to hear of it.
                        let message = format!(
                            "the subscription has ended after {} s, and nothing came of it",
                            lasted.as_secs()
                        );
                        let error = ApiError::new(OPERATION, Remedy::Retry).with_message(&message);
                        return Err(self.lost(error, progress));
                    }
                }
                Said::LetGo => {
                    progress.watch().let_go();
                    self.end();
                }
            }
        }
    }

    /// Subscribes where it goes on, once that is allowed.
    async fn subscribe(&mut self, progress: &Progress) -> Result<ShardSubscription, ApiError> {
        let watch = progress.watch();
        watch.waits_for(WaitingFor::Consumer, READY_WITHIN);
        let arn = self.consumer.arn().await?;
        let calls = progress.calls();
        let not_before = calls.may_subscribe_at();
        let wait = not_before.saturating_duration_since(Instant::now());
        watch.waits_for(WaitingFor::Turn, wait);
        sleep_until(not_before).await;
        if progress.may_be_trimmed(MARGIN, || self.api.now()) && progress.begin_doubt() {
            self.continuation = None;
        }
        let position = match &self.continuation {
            Some(number) => Position::AfterSequenceNumber(number.clone()),
            None => progress.position(),
        };
        calls.subscribe_no_sooner_than(Instant::now() + BETWEEN_CALLS);
        self.arn = Some(arn.clone());
        watch.waits_for_answer(OPERATION);
        let api = self.consumer.api();
        let call = api.subscribe_to_shard(&arn, progress.shard(), &position);
        let answer = within_deadline(OPERATION, call).await;
        let wait = match &answer {
            Ok(_) => RESUBSCRIBE_AFTER,
            // It is somebody's, or was taken by a call of ours whose answer got lost.
            Err(error) if error.remedy() == Remedy::AwaitActive => RESUBSCRIBE_AFTER,
            Err(_) => BETWEEN_CALLS,
        };
        calls.subscribe_no_sooner_than(Instant::now() + wait);
        if answer.is_ok() {
            progress.note(|figures| figures.subscriptions += 1);
        }
        answer
    }

    fn take_up(&mut self, subscription: ShardSubscription) {
        let now = Instant::now();
        let let_go_after = self.consumer.let_go_after();
        self.current = Some(Current {
            subscription: HeldSubscription::new(subscription, let_go_after),
            since: now,
            renew_at: now + RENEW_AFTER,
            has_said: false,
            is_settled: false,
        });
    }

    /// Replaces a subscription before its time is over. If that fails, it is read on to its end.
    async fn renew(&mut self, progress: &Progress) {
        // Without an event there is no place to go on at.
        let renewed = match self.continuation {
            Some(_) => self.subscribe(progress).await,
            None => {
                let error = ApiError::new(OPERATION, Remedy::Retry);
                Err(error.with_message("no event has said where it goes on"))
            }
        };
        match renewed {
            Ok(subscription) => {
                self.settle(progress);
                self.take_up(subscription);
                progress.watch().renewed();
            }
            Err(error) => {
                let Some(current) = &mut self.current else {
                    return;
                };
                current.renew_at = Instant::now() + RESUBSCRIBE_AFTER;
                progress.watch().not_renewed(error);
            }
        }
    }

    /// Ends the current subscription; how long it lasted.
    fn end(&mut self) -> Duration {
        let current = self.current.take();
        current.map_or(Duration::ZERO, |current| current.since.elapsed())
    }

    /// Leaves the shard to whoever has taken it over, for longer each time.
    fn give_way(&mut self, lasted: Duration, progress: &Progress) {
        if lasted >= SETTLED_AFTER {
            self.settle(progress);
        }
        let truce = RESUBSCRIBE_AFTER.saturating_mul(1 << self.takeovers.min(8));
        let truce = truce.min(LONGEST_TRUCE);
        self.takeovers += 1;
        let calls = progress.calls();
        calls.subscribe_no_sooner_than(Instant::now() + truce);
        progress.note(|figures| figures.takeovers += 1);
        progress.watch().taken_over(truce);
    }

    /// Nobody else takes the shard over for now.
    fn settle(&mut self, progress: &Progress) {
        self.takeovers = 0;
        progress.watch().keeps_subscription();
    }

    /// A subscription has gone by that error, which is told or counted here.
    fn lost(&mut self, error: ApiError, progress: &Progress) -> ApiError {
        self.is_told = true;
        progress.watch().lost(&error);
        error
    }

    /// Moves on after an event.
    fn accept(
        &mut self,
        event: SubscribeEvent,
        mut survey: Survey,
        charge: Charge,
        progress: &Progress,
    ) -> Result<Arrival, ApiError> {
        self.event_size.note(1, survey.taken);
        if let Some(current) = &mut self.current
            && !current.is_settled
            && current.since.elapsed() >= SETTLED_AFTER
        {
            current.is_settled = true;
            self.settle(progress);
        }
        let mut records = event.records;
        let repeated = arrival::drop_repeated(OPERATION, &mut records, &mut survey, progress);
        let found = match repeated {
            Ok(found) => found,
            Err(error) => {
                // It is not sent again but to the next subscription.
                self.end();
                return Err(error);
            }
        };
        let is_end = event.continuation_sequence_number.is_none();
        let last = records.last().map(|record| &record.sequence_number);
        // One that is before what came with it says nothing.
        let continuation = event.continuation_sequence_number;
        self.continuation = continuation.filter(|number| last.is_none_or(|last| last <= number));
        if is_end {
            self.end();
        }
        Ok(Arrival {
            records,
            survey,
            charge,
            found,
            millis_behind_latest: event.millis_behind_latest,
            children: event.children,
            says_end: is_end,
            is_end: false,
            is_full: false,
        })
    }

    pub(crate) fn has_place(&self) -> bool {
        self.continuation.is_some()
    }

    /// Whether the error that has just come was told in words of its own.
    pub(crate) fn take_told(&mut self) -> bool {
        mem::take(&mut self.is_told)
    }

    /// Goes on where the progress says, perhaps as a consumer that is found anew.
    pub(crate) fn start_over(&mut self, remedy: Remedy) {
        self.end();
        self.continuation = None;
        if remedy == Remedy::Verify
            && let Some(arn) = &self.arn
        {
            self.consumer.forget(arn);
        }
    }
}

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{self, Arc, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use super::{Deregistration, FanOut};
use crate::{
    ApiError, ConsumerAddress, ConsumerArn, ConsumerStatus, KinesisFanOutApi, Remedy, SourceEvent,
    StreamConsumer, backoff::Backoff, listing::within_deadline, reporter::Reporter,
};

/// The consumer that a source's shards send to: found or registered once, for all of them.
#[derive(Debug)]
pub(crate) struct Consumer {
    fan_out: FanOut,
    reporter: Reporter,
    /// Once it is known to be active.
    arn: sync::Mutex<Option<ConsumerArn>>,
    state: Mutex<State>,
}

/// Whoever finds it has this.
#[derive(Debug, Default)]
struct State {
    registered_here: bool,
    /// Of which one it was told that it is active.
    told: Option<ConsumerArn>,
}

/// How long to wait before asking again whether it is active. 20 such calls a second are allowed.
const POLL: Duration = Duration::from_secs(1);

/// How long a consumer may take to become active, or to go.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long it takes until it is ready or not, with all calls.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(PATIENCE.as_secs() + 100);

/// How often taking it away is tried.
const LAST_TRIES: u32 = 5;

/// How long that may take altogether: its source waits for it in order to end.
const LEFT_WITHIN: Duration = Duration::from_secs(10);

impl Consumer {
    pub(crate) fn new(fan_out: FanOut, reporter: Reporter) -> Arc<Self> {
        Arc::new(Self {
            fan_out,
            reporter,
            arn: sync::Mutex::default(),
            state: Mutex::default(),
        })
    }

    pub(crate) fn api(&self) -> &dyn KinesisFanOutApi {
        &*self.fan_out.api
    }

    #[cfg(test)]
    pub(crate) fn fan_out(&self) -> &FanOut {
        &self.fan_out
    }

    /// How long a subscription may be silent.
    pub(crate) fn silence(&self) -> Duration {
        self.fan_out.silence
    }

    /// How long one may go unread.
    pub(crate) fn let_go_after(&self) -> Duration {
        self.fan_out.let_go_after
    }

    /// Its ARN, once it is active. Finds it, or registers it, if that has not been done or it
    /// [has gone](Self::forget); others wait meanwhile.
    ///
    /// # Errors
    ///
    /// Those of the calls; [`Verify`](Remedy::Verify) if it is not there and not to be registered;
    /// [`AwaitActive`](Remedy::AwaitActive) if it does not become active.
    pub(crate) async fn arn(&self) -> Result<ConsumerArn, ApiError> {
        if let Some(arn) = self.known() {
            return Ok(arn);
        }
        let mut state = self.state.lock().await;
        // Whoever had it before has found it, perhaps.
        if let Some(arn) = self.known() {
            return Ok(arn);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(consumer) = self.find_or_register(&mut state).await?
                && consumer.status == ConsumerStatus::Active
            {
                // It may be looked for again and again, and be the same.
                if state.told.replace(consumer.arn.clone()).as_ref() != Some(&consumer.arn) {
                    self.reporter.report(SourceEvent::ConsumerActive {
                        consumer: consumer.arn.clone(),
                        registered_here: state.registered_here,
                    });
                }
                return Ok(self.lock_arn().insert(consumer.arn).clone());
            }
            if Instant::now() >= deadline {
                let message = format!("{self} is not active after {} s", PATIENCE.as_secs());
                let error = ApiError::new("DescribeStreamConsumer", Remedy::AwaitActive);
                return Err(error.with_message(&message));
            }
            sleep(POLL).await;
        }
    }

    /// It as it is; `None` if that changes right now.
    async fn find_or_register(
        &self,
        state: &mut State,
    ) -> Result<Option<StreamConsumer>, ApiError> {
        let call = self.api().describe_stream_consumer(&self.fan_out.consumer);
        let absent = match within_deadline("DescribeStreamConsumer", call).await {
            Err(error) if error.remedy() == Remedy::Verify => error,
            answer => return answer.map(Some),
        };
        let ConsumerAddress::Name(name) = &self.fan_out.consumer else {
            return Err(absent);
        };
        let call = self.api().register_stream_consumer(name);
        match within_deadline("RegisterStreamConsumer", call).await {
            Ok(consumer) => {
                state.registered_here = true;
                Ok(Some(consumer))
            }
            // Another process was faster.
            Err(error) if error.remedy() == Remedy::AwaitActive => Ok(None),
            Err(error) => {
                // The answer may have got lost, and it is there after all.
                state.registered_here |= error.remedy() == Remedy::Retry;
                Err(error)
            }
        }
    }

    /// Takes note that the one of this ARN was not found: it is to be found or registered again.
    pub(crate) fn forget(&self, arn: &ConsumerArn) {
        self.lock_arn().take_if(|known| known == arn);
    }

    fn known(&self) -> Option<ConsumerArn> {
        self.lock_arn().clone()
    }

    fn lock_arn(&self) -> MutexGuard<'_, Option<ConsumerArn>> {
        self.arn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it away, if that is wanted, before so much time is over, if there is no more. What does not work is
    /// logged: it goes on costing.
    pub(crate) async fn leave(&self, left: Option<Duration>) {
        // Some of it is for the end of whoever waits for this.
        let left = left.map(|left| left - left / 10);
        let within = left.map_or(LEFT_WITHIN, |left| left.min(LEFT_WITHIN));
        if timeout(within, self.deregister()).await.is_err() {
            let message = format!("not done within {:.1} s", within.as_secs_f32());
            let error = ApiError::new("DeregisterStreamConsumer", Remedy::Retry);
            let error = error.with_message(&message);
            let consumer = self.to_string();
            self.reporter
                .report(SourceEvent::ConsumerLeft { consumer, error });
        }
    }

    async fn deregister(&self) {
        let state = self.state.lock().await;
        let wanted = match self.fan_out.deregistration {
            Deregistration::Never => false,
            Deregistration::IfRegisteredHere => state.registered_here,
            Deregistration::Always => true,
        };
        if !wanted {
            return;
        }
        let address = match self.known() {
            Some(arn) => ConsumerAddress::Arn(arn),
            None => self.fan_out.consumer.clone(),
        };
        let mut backoff = Backoff::for_name(self);
        loop {
            let call = self.api().deregister_stream_consumer(&address);
            let error = match within_deadline("DeregisterStreamConsumer", call).await {
                Ok(()) => {
                    let consumer = self.to_string();
                    let event = SourceEvent::ConsumerDeregistered { consumer };
                    return self.reporter.report(event);
                }
                Err(error) if error.remedy() == Remedy::Verify => return,
                Err(error) => error,
            };
            let wait = backoff.failed();
            if backoff.failures() >= LAST_TRIES {
                let consumer = self.to_string();
                let event = SourceEvent::ConsumerLeft { consumer, error };
                return self.reporter.report(event);
            }
            sleep(wait).await;
        }
    }
}

/// As the user named it.
impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fan_out.consumer {
            ConsumerAddress::Name(name) => f.write_str(name),
            ConsumerAddress::Arn(arn) => write!(f, "{arn}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::MockKinesisFanOutApi;

    /// Many shards ask for it all the time, in any thread: that one does is no sign that it is found anew.
    #[tokio::test(start_paused = true)]
    async fn one_that_has_gone_is_forgotten_although_another_shard_asks_for_it() {
        let calls = Arc::new(AtomicUsize::new(0));
        let mut api = MockKinesisFanOutApi::new();
        let counted = Arc::clone(&calls);
        api.expect_describe_stream_consumer().returning(move |_| {
            let arn = match counted.fetch_add(1, Ordering::SeqCst) {
                0 => "old",
                _ => "new",
            };
            Ok(StreamConsumer {
                name: "audit".to_owned(),
                arn: arn.into(),
                status: ConsumerStatus::Active,
                created: None,
            })
        });
        let consumer = Consumer::new(FanOut::new(Arc::new(api), "audit"), Reporter::alone());
        let old = consumer.arn().await.unwrap();
        // One asks, and finds what is known.
        let asking = consumer.state.lock().await;
        // Here another one's subscription is refused, as the consumer has gone.
        consumer.forget(&old);
        drop(asking);
        assert_eq!(consumer.arn().await.unwrap(), "new".into());
    }
}

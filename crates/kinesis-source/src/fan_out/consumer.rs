use std::{fmt, sync::Arc, time::Duration};

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
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Once it is known to be active.
    arn: Option<ConsumerArn>,
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
        let mut state = self.state.lock().await;
        if let Some(arn) = &state.arn {
            return Ok(arn.clone());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(consumer) = self.find_or_register(&mut state).await?
                && consumer.status == ConsumerStatus::Active
            {
                // It may be looked for again and again, and be the same.
                if state.told.replace(consumer.arn.clone()).as_ref() != Some(&consumer.arn) {
                    self.reporter.report(&SourceEvent::ConsumerActive {
                        consumer: consumer.arn.clone(),
                        registered_here: state.registered_here,
                    });
                }
                return Ok(state.arn.insert(consumer.arn).clone());
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
        // Whoever holds the lock finds it anew just now.
        if let Ok(mut state) = self.state.try_lock()
            && state.arn.as_ref() == Some(arn)
        {
            state.arn = None;
        }
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
                .report(&SourceEvent::ConsumerLeft { consumer, error });
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
        let address = match &state.arn {
            Some(arn) => ConsumerAddress::Arn(arn.clone()),
            None => self.fan_out.consumer.clone(),
        };
        let mut backoff = Backoff::for_name(self);
        loop {
            let call = self.api().deregister_stream_consumer(&address);
            let error = match within_deadline("DeregisterStreamConsumer", call).await {
                Ok(()) => {
                    let consumer = self.to_string();
                    let event = SourceEvent::ConsumerDeregistered { consumer };
                    return self.reporter.report(&event);
                }
                Err(error) if error.remedy() == Remedy::Verify => return,
                Err(error) => error,
            };
            let wait = backoff.failed();
            if backoff.failures() >= LAST_TRIES {
                let consumer = self.to_string();
                let event = SourceEvent::ConsumerLeft { consumer, error };
                return self.reporter.report(&event);
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

use std::time::SystemTime;

use kinesis_source::Timestamp;

use crate::{
    Fake, FaultPlan,
    clock::{Clock, EPOCH},
    model::{Choices, Durations, Limits, Service, Settings},
};

/// Describes a [`Fake`] before it is made.
///
/// ```
/// use std::time::Duration;
///
/// use kinesis_fake::{Durations, Fake};
///
/// let fake = Fake::builder()
///     .name("orders")
///     .shards(4)
///     .durations(Durations::all(Duration::from_secs(30)))
///     .build();
/// assert_eq!(fake.shards().len(), 4);
/// ```
#[derive(Clone, Debug)]
#[must_use = "describes a fake; `build` makes it"]
pub struct Builder {
    name: String,
    shards: u32,
    epoch: Timestamp,
    settings: Settings,
    plan: Option<FaultPlan>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            name: "stream".to_owned(),
            shards: 1,
            epoch: EPOCH,
            settings: Settings::default(),
            plan: None,
        }
    }
}

impl Builder {
    /// Its stream has that name instead of `stream`.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// Its stream begins with so many shards instead of one, each with an even part of the hash
    /// keys. It is there at once, however long creating takes.
    pub fn shards(self, shards: u32) -> Self {
        Self { shards, ..self }
    }

    /// There is no stream yet:
    /// [`create_stream`](kinesis_source::KinesisWriteApi::create_stream) makes it.
    pub fn without_stream(self) -> Self {
        self.shards(0)
    }

    /// What is allowed instead of what the service allows.
    pub fn limits(self, limits: Limits) -> Self {
        self.settings(|settings| settings.limits = limits)
    }

    /// What it does where the documents leave it open.
    pub fn choices(self, choices: Choices) -> Self {
        self.settings(|settings| settings.choices = choices)
    }

    /// How long changes of streams and shards take, instead of no time.
    pub fn durations(self, durations: Durations) -> Self {
        self.settings(|settings| settings.durations = durations)
    }

    /// How long new streams keep records, in hours, instead of 24.
    pub fn retention_hours(self, hours: u32) -> Self {
        self.settings(|settings| settings.retention_hours = hours)
    }

    /// How many shards a page of a listing has at most, instead of 1,000.
    pub fn page_size(self, shards: usize) -> Self {
        self.settings(|settings| settings.page_size = shards)
    }

    /// What iterators and tokens are sealed with: fakes of different seeds refuse each other's.
    pub fn seed(self, seed: u64) -> Self {
        self.settings(|settings| settings.seed = seed)
    }

    /// From its first moment on, it [follows](Fake::follow) that plan.
    pub fn follow(self, plan: FaultPlan) -> Self {
        Self {
            plan: Some(plan),
            ..self
        }
    }

    /// What time it is when the fake is made, instead of 2026-01-01T00:00:00Z. From there on it
    /// follows tokio's clock.
    pub fn epoch(self, epoch: Timestamp) -> Self {
        Self { epoch, ..self }
    }

    /// It is the time of the machine's clock when the fake is made: for clients that look at their
    /// own.
    pub fn wall_clock(self) -> Self {
        self.epoch(SystemTime::now().into())
    }

    /// Makes the fake. To run in paused time, make it where time is paused.
    #[must_use]
    pub fn build(self) -> Fake {
        let clock = Clock::starting_at(self.epoch);
        let mut service = Service::new(self.settings);
        if self.shards > 0 {
            service.put_stream(&self.name, self.shards, clock.now());
        }
        let fake = Fake::open(clock, service, &self.name);
        if let Some(plan) = self.plan {
            fake.follow(&plan);
        }
        fake
    }

    fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }
}

use std::time::SystemTime;

use kinesis_source::Timestamp;

use crate::{
    Fake, FaultPlan,
    clock::{Clock, EPOCH},
    model::{Choices, Durations, Limits, Owner, Service, Settings},
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
    first: First,
    others: Vec<(String, u32)>,
    epoch: Timestamp,
    manual: bool,
    settings: Settings,
    page_size: Option<usize>,
    plan: Option<FaultPlan>,
}

/// The stream that there is from the start.
#[derive(Clone, Copy, Debug)]
enum First {
    None,
    Provisioned(u32),
    OnDemand,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            name: "stream".to_owned(),
            first: First::Provisioned(1),
            others: Vec::new(),
            epoch: EPOCH,
            manual: false,
            settings: Settings::default(),
            page_size: None,
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
        let first = match shards {
            0 => First::None,
            shards => First::Provisioned(shards),
        };
        Self { first, ..self }
    }

    /// Its stream is on demand: it begins with four shards and grows by itself.
    pub fn on_demand(self) -> Self {
        let first = First::OnDemand;
        Self { first, ..self }
    }

    /// There is another stream of that name and of so many shards, one at least, from the start.
    pub fn and_stream(mut self, name: impl Into<String>, shards: u32) -> Self {
        self.others.push((name.into(), shards.max(1)));
        self
    }

    /// There is no stream yet:
    /// [`create_stream`](kinesis_source::KinesisWriteApi::create_stream) makes it.
    pub fn without_stream(self) -> Self {
        let first = First::None;
        Self { first, ..self }
    }

    /// What is allowed instead of what the service allows.
    pub fn limits(self, limits: Limits) -> Self {
        self.settings(|settings| settings.limits = limits)
    }

    /// Nothing is limited, as for a benchmark: see [`Limits::none`] for what is left.
    pub fn without_limits(self) -> Self {
        self.limits(Limits::none())
    }

    /// What it does where the documents leave it open.
    pub fn choices(self, choices: Choices) -> Self {
        self.settings(|settings| settings.choices = choices)
    }

    /// How long changes of streams, shards and consumers take, instead of about as
    /// [long](Durations::realistic) as on the service.
    pub fn durations(self, durations: Durations) -> Self {
        self.settings(|settings| settings.durations = durations)
    }

    /// Changes take no time: there is no `CREATING`, `UPDATING` or `DELETING`, and what was asked for is
    /// there when the call returns. For tests that are not about that.
    pub fn instant(self) -> Self {
        self.durations(Durations::instant())
    }

    /// How long new streams keep records, in hours, instead of 24.
    pub fn retention_hours(self, hours: u32) -> Self {
        self.settings(|settings| settings.retention_hours = hours)
    }

    /// How many shards, streams or consumers a page of a listing has at most, instead of 1,000 and
    /// 100, whatever the [limits](Self::limits) are.
    pub fn page_size(self, most: usize) -> Self {
        Self {
            page_size: Some(most),
            ..self
        }
    }

    /// Its streams belong to that account instead of `000000000000`: their ARNs say so, and an ARN of
    /// another account is [refused](crate::ForeignArn).
    ///
    /// # Panics
    ///
    /// If it is not twelve digits.
    #[track_caller]
    pub fn account(self, account: &str) -> Self {
        let owner = Owner::new(account, self.settings.owner.region());
        let owner = owner.unwrap_or_else(|| panic!("an account is twelve digits: {account:?}"));
        self.settings(|settings| settings.owner = owner)
    }

    /// Its streams are in that region instead of `us-east-1`: their ARNs say so, and an ARN of another
    /// region is refused as of a stream that is not there.
    ///
    /// # Panics
    ///
    /// If it has other characters than small letters, digits and `-`.
    #[track_caller]
    pub fn region(self, region: &str) -> Self {
        let owner = Owner::new(self.settings.owner.account(), region);
        let owner = owner.unwrap_or_else(|| panic!("a region is named as us-east-1: {region:?}"));
        self.settings(|settings| settings.owner = owner)
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

    /// Its time passes so many times as fast as tokio's: at 3,600, an hour takes a second. For clients of
    /// the [server](crate::Server) that are to see records trimmed and shards expire. Everything goes
    /// by that clock: limits allow so much more in a second, and iterators live so much shorter, unless
    /// told otherwise.
    ///
    /// A subscription lasts for five of its minutes, which are 83 ms at 3,600: clients of enhanced fan-out
    /// do little but subscribe then, unless [`subscription_life`](Limits::subscription_life) has it last
    /// longer. How fast a client and its network are does not change with the clock. So two durations are
    /// tokio's, whatever the rate: [heartbeats](Choices::heartbeat) come every five seconds, and a
    /// subscriber may [not read](Limits::subscriber_stall) for thirty. So are the time-outs of the server.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn clock_rate(self, rate: u32) -> Self {
        assert!(rate > 0, "a clock goes: its rate is 1 at least");
        self.settings(|settings| settings.clock_rate = rate)
    }

    /// Its time passes by [`Fake::advance`] and not otherwise: for tests where tokio's clock cannot
    /// be paused, on a runtime of several threads.
    pub fn manual_clock(self) -> Self {
        Self {
            manual: true,
            ..self
        }
    }

    /// Makes the fake. To run in paused time, make it where time is paused.
    #[must_use]
    pub fn build(self) -> Fake {
        let mut settings = self.settings;
        let clock = match self.manual {
            true => {
                settings.clock_rate = 1;
                Clock::standing_at(self.epoch)
            }
            false => Clock::starting_at(self.epoch, settings.clock_rate),
        };
        if let Some(most) = self.page_size {
            let limits = &mut settings.limits;
            limits.shards_per_page = most;
            limits.shards_per_description = most;
            limits.streams_per_page = most;
            limits.consumers_per_page = most;
        }
        let mut service = Service::new(settings);
        match self.first {
            First::None => {}
            First::Provisioned(shards) => service.put_stream(&self.name, shards, clock.now()),
            First::OnDemand => service.put_on_demand_stream(&self.name, clock.now()),
        }
        for (name, shards) in &self.others {
            service.put_stream(name, *shards, clock.now());
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

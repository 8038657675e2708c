//! A pipeline put together as a plan says, and changed while it runs.

use std::{future::pending, sync::Arc, time::Duration};

use proptest::{prop_assert, test_runner::TestCaseError};
use stage_core::{
    Consumer, DrainReport, Lane, Outlet, Pipeline, PipelineError, PipelineHandle, Producer,
    StageBuilder, Subscription, SubscriptionHandle, Transform, Window,
};
use tokio::{
    task::{JoinHandle, yield_now},
    time::{sleep, timeout},
};

use crate::{
    LONG,
    act::Act,
    book::{Event, Fates, Kind, Link},
    plan::{Ending, Input, Makes, Manner, Out, Plan, Sink, Step},
    stages::{Calls, Producing, Shared, Taking, Turning, steps},
};

pub(crate) struct Scene {
    pub(crate) handle: PipelineHandle,
    pub(crate) running: JoinHandle<DrainReport>,
    /// Events may be lost from here on.
    pub(crate) is_cut: bool,
    book: Shared,
    held: Vec<Held>,
    /// The stage that is to fail.
    faulty: Option<usize>,
}

/// A subscription that has a handle.
struct Held {
    from: usize,
    to: usize,
    handle: SubscriptionHandle,
}

/// Where the events of a stage can be had.
enum Source {
    Outlet(Outlet<Event>),
    Lanes(Vec<Lane<Event>>),
}

/// While it is put together.
struct Draft {
    pipeline: Pipeline,
    book: Shared,
    sources: Vec<Source>,
    held: Vec<Held>,
    fault: Option<(usize, u64, bool)>,
}

const IDLE: Manner = Manner {
    yields: 0,
    sleeps: 0,
    spins: 0,
    has_steps: false,
    acts: 0,
    act: Act::Nothing,
    is_late: false,
};

/// What is known of a subscription from the start, but for its window.
fn terms(subscription: Subscription<Event>, input: Input, out: Out) -> Subscription<Event> {
    let subscription = match input.bytes {
        Some(limit) => subscription.bytes(limit, |event: &Event| event.weight()),
        None => subscription,
    };
    match input.selects && out == Out::ToAll {
        true => subscription.selecting(|event: &Event| event.is_selected()),
        false => subscription,
    }
}

fn link(input: Input, out: Out) -> Link {
    let mut link = Link::new(input.window);
    link.selects = input.selects && out == Out::ToAll;
    link
}

impl Draft {
    fn add(&mut self, kind: Kind) -> usize {
        self.book.lock().unwrap().add(kind)
    }

    fn calls(&self, stage: usize, manner: Manner) -> Calls {
        let fault = self.fault.filter(|(faulty, ..)| *faulty == stage);
        let calls = Calls::new(stage, &self.book, manner);
        calls.with_fault(fault.map(|(_, call, panics)| (call, panics)))
    }

    fn subscribe(&mut self, inputs: &[Input], to: usize) -> Vec<Subscription<Event>> {
        let subscriptions = inputs.iter().filter_map(|input| {
            // Stages that take events from others are behind them.
            let from = input.from % self.sources.len();
            let mut book = self.book.lock().unwrap();
            if book.link_of(from, to).is_some() {
                return None;
            }
            let out = book.stages[from].out()?;
            let mut link = link(*input, out);
            let subscription = match &mut self.sources[from] {
                Source::Outlet(outlet) => outlet.subscribe(input.window),
                Source::Lanes(lanes) => {
                    let lane = lanes.pop()?;
                    link.lane = Some(lane.number());
                    lane.subscribe(input.window)
                }
            };
            book.link(from, to, link);
            let subscription = terms(subscription, *input, out);
            if !input.has_handle {
                return Some(subscription);
            }
            let (subscription, handle) = subscription.with_handle();
            self.held.push(Held { from, to, handle });
            Some(subscription)
        });
        subscriptions.collect()
    }

    /// Has somebody take what nobody takes.
    fn take_the_rest(&mut self) {
        let rest = |from| Input {
            from,
            window: Window::new(7),
            bytes: None,
            selects: false,
            has_handle: false,
        };
        for from in 0..self.sources.len() {
            loop {
                let is_taken = match &self.sources[from] {
                    Source::Outlet(_) => self.book.lock().unwrap().has_links(from),
                    Source::Lanes(lanes) => lanes.is_empty(),
                };
                if is_taken {
                    break;
                }
                self.consume(&Sink {
                    inputs: vec![rest(from)],
                    keeps: false,
                    manner: IDLE,
                });
            }
        }
    }

    fn consume(&mut self, plan: &Sink) {
        let stage = self.add(Kind::Sink { keeps: plan.keeps });
        let taking = Taking {
            calls: self.calls(stage, plan.manner),
            keeps: plan.keeps,
        };
        let subscriptions = self.subscribe(&plan.inputs, stage);
        let builder = self.pipeline.stage(stage.to_string());
        match plan.manner.has_steps {
            true => builder.consume(taking.after(steps()), subscriptions),
            false => builder.consume(taking, subscriptions),
        };
    }
}

/// Adds a producer.
fn produce(builder: StageBuilder<'_>, out: Out, producer: impl Producer<Event = Event>) -> Source {
    match out {
        Out::ToOne => Source::Outlet(builder.produce(producer)),
        Out::ToAll => Source::Outlet(builder.broadcast().produce(producer)),
        Out::Lanes(lanes) => {
            let builder = builder.partition_by(lanes, move |it: &Event| it.lane_of(lanes));
            Source::Lanes(builder.produce(producer))
        }
    }
}

/// Adds a transform.
fn turn(
    builder: StageBuilder<'_>,
    out: Out,
    transform: impl Transform<Event, Out = Event>,
    inputs: Vec<Subscription<Event>>,
) -> Source {
    match out {
        Out::ToOne => Source::Outlet(builder.transform(transform, inputs)),
        Out::ToAll => Source::Outlet(builder.broadcast().transform(transform, inputs)),
        Out::Lanes(lanes) => {
            let builder = builder.partition_by(lanes, move |it: &Event| it.lane_of(lanes));
            Source::Lanes(builder.transform(transform, inputs))
        }
    }
}

impl Scene {
    pub(crate) fn of(plan: &Plan) -> Self {
        let stages = plan.sources.len() + plan.middles.len() + plan.sinks.len();
        let fault = match plan.ending {
            Ending::Fault {
                stage,
                call,
                panics,
            } => Some((stage % stages, call, panics)),
            _ => None,
        };
        let book = Shared::default();
        book.lock().unwrap().is_fixed = plan.steps.is_empty() && fault.is_none();
        let mut draft = Draft {
            pipeline: Pipeline::new(),
            book,
            sources: Vec::new(),
            held: Vec::new(),
            fault,
        };
        for source in &plan.sources {
            let fates = Arc::<Fates>::default();
            let stage = draft.add(Kind::Source(source.out, Arc::clone(&fates)));
            let producing = Producing {
                calls: draft.calls(stage, source.manner),
                fates,
                left: source.events,
                plan: source.clone(),
            };
            let builder = draft.pipeline.stage(stage.to_string());
            draft.sources.push(match source.manner.has_steps {
                true => produce(builder, source.out, producing.then(steps())),
                false => produce(builder, source.out, producing),
            });
        }
        for middle in &plan.middles {
            let stage = draft.add(Kind::Middle(middle.out));
            let turning = Turning {
                calls: draft.calls(stage, middle.manner),
                makes: match middle.makes {
                    Makes::AllBut(0) => Makes::One,
                    makes => makes,
                },
            };
            let inputs = draft.subscribe(&middle.inputs, stage);
            let builder = draft.pipeline.stage(stage.to_string());
            draft.sources.push(match middle.manner.has_steps {
                true => turn(builder, middle.out, turning.then(steps()), inputs),
                false => turn(builder, middle.out, turning, inputs),
            });
        }
        for sink in &plan.sinks {
            draft.consume(sink);
        }
        draft.take_the_rest();
        let Draft {
            pipeline,
            book,
            held,
            ..
        } = draft;
        Self {
            handle: pipeline.handle(),
            running: tokio::spawn(pipeline.run_reporting(pending())),
            is_cut: false,
            book,
            held,
            faulty: fault.map(|(stage, ..)| stage),
        }
    }

    /// As long as the pipeline runs: no subscription has more on its way than was asked for. (What it says
    /// is of one instant if there is one thread.)
    pub(crate) fn look_on(&self) -> impl Future<Output = ()> + use<> {
        let (handle, book) = (self.handle.clone(), Arc::clone(&self.book));
        async move {
            loop {
                let stages = handle.status().stages;
                if stages.is_empty() {
                    return;
                }
                for subscription in stages.iter().flat_map(|stage| &stage.subscriptions) {
                    book.lock().unwrap().check_subscription(subscription);
                }
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    pub(crate) fn perform(&mut self, step: Step) {
        let stages = self.book.lock().unwrap().stages.len();
        let name = |pick: usize| (pick % stages).to_string();
        match step {
            // Consumers are not held back, and who has ended is not there.
            Step::Pause(stage) => drop(self.handle.pause(&name(stage))),
            Step::Resume(stage) => drop(self.handle.resume(&name(stage))),
            Step::Remove(stage) => {
                self.is_cut = true;
                drop(self.handle.remove(&name(stage)));
            }
            Step::Ask(..) | Step::Cancel(_) if self.held.is_empty() => {}
            Step::Ask(held, events) => {
                let Held { from, to, handle } = &self.held[held % self.held.len()];
                let mut book = self.book.lock().unwrap();
                book.link_of(*from, *to).unwrap().asked += events;
                drop(book);
                // It may have ended.
                let _ = handle.ask(events);
            }
            Step::Cancel(held) => {
                self.is_cut = true;
                self.held[held % self.held.len()].handle.cancel();
            }
            Step::Join(stage, window) => self.join(stage, window),
            Step::Add(sink, input) => self.add(sink, input),
        }
    }

    fn join(&self, from: usize, window: Window) {
        let plan = Sink {
            inputs: Vec::new(),
            keeps: false,
            manner: IDLE,
        };
        let input = Input {
            from,
            window,
            bytes: None,
            selects: false,
            has_handle: false,
        };
        let stage = self.book.lock().unwrap().add(Kind::Sink { keeps: false });
        let taking = Taking::new(stage, &self.book, &plan);
        if let Some(subscription) = self.subscribe(stage, input) {
            let builder = self.handle.stage(stage.to_string());
            // It may be stopping.
            drop(builder.consume(taking, subscription));
        }
    }

    fn add(&self, sink: usize, input: Input) {
        let book = self.book.lock().unwrap();
        let sinks = book.stages.iter().enumerate();
        let sinks = sinks.filter(|(_, stage)| stage.out().is_none());
        let sinks = Vec::from_iter(sinks.map(|(stage, _)| stage));
        drop(book);
        let to = sinks[sink % sinks.len()];
        if let Ok(intake) = self.handle.intake(&to.to_string())
            && let Some(subscription) = self.subscribe(to, input)
        {
            // The same.
            drop(intake.add(subscription));
        }
    }

    /// A subscription more, of a stage that runs.
    fn subscribe(&self, to: usize, input: Input) -> Option<Subscription<Event>> {
        let mut book = self.book.lock().unwrap();
        let sources = book.stages.iter().enumerate();
        let sources = sources.filter_map(|(stage, it)| Some((stage, it.out()?)));
        let sources = Vec::from_iter(sources);
        let (from, out) = sources[input.from % sources.len()];
        let mut link = link(input, out);
        link.is_first = false;
        let name = from.to_string();
        let subscription = match out {
            Out::Lanes(lanes) => {
                // If it is not free, that is refused.
                let number = input.from % lanes;
                link.lane = Some(number);
                let lane = self.handle.lane(&name, number).ok()?;
                lane.subscribe(input.window)
            }
            _ => self.handle.outlet(&name).ok()?.subscribe(input.window),
        };
        let is_new = book.link(from, to, link);
        is_new.then(|| terms(subscription, input, out))
    }

    pub(crate) fn let_all_go_on(&self) {
        let stages = self.book.lock().unwrap().stages.len();
        for stage in 0..stages {
            drop(self.handle.resume(&stage.to_string()));
        }
    }

    pub(crate) fn abort(&mut self) {
        self.is_cut = true;
        self.running.abort();
    }

    /// What holds once the pipeline has ended; without a report, if it was dropped.
    pub(crate) async fn check(mut self, report: Option<DrainReport>) -> Result<(), TestCaseError> {
        if report.is_none() {
            // Who had a turn just then is dropped at its end.
            let book = Arc::clone(&self.book);
            let settled = timeout(LONG, async {
                while !book.lock().unwrap().is_settled() {
                    yield_now().await;
                }
            });
            prop_assert!(settled.await.is_ok(), "not all is settled");
        }
        if let Some(report) = &report {
            let faulty = self.faulty.map(|stage| stage.to_string());
            match &report.result {
                Ok(()) => {}
                Err(
                    PipelineError::Failed { stage, .. } | PipelineError::Panicked { stage, .. },
                ) if Some(&**stage) == faulty.as_deref() => self.is_cut = true,
                Err(error) => prop_assert!(false, "{error:?}"),
            }
        }
        let book = self.book.lock().unwrap();
        book.check()?;
        if !self.is_cut {
            book.check_all_arrived()?;
        }
        if let Some(report) = &report {
            book.check_report(report, self.is_cut)?;
        }
        Ok(())
    }
}

//! What is drawn: which stages there are, how they behave, and what is done to them.

use proptest::prelude::*;
use stage_core::Window;

use crate::act::{Act, acts};

/// Names others by number: the remainder says which of those that there are.
type Pick = usize;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) sources: Vec<Source>,
    pub(crate) middles: Vec<Middle>,
    pub(crate) sinks: Vec<Sink>,
    /// After so many milliseconds each.
    pub(crate) steps: Vec<(u64, Step)>,
    pub(crate) ending: Ending,
}

#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) events: u64,
    /// How many it makes at most at once.
    pub(crate) at_most: usize,
    /// And how many more than that, or than it is asked for.
    pub(crate) more: usize,
    pub(crate) out: Out,
    pub(crate) manner: Manner,
}

#[derive(Clone, Debug)]
pub(crate) struct Middle {
    pub(crate) inputs: Vec<Input>,
    pub(crate) makes: Makes,
    pub(crate) out: Out,
    pub(crate) manner: Manner,
}

#[derive(Clone, Debug)]
pub(crate) struct Sink {
    pub(crate) inputs: Vec<Input>,
    /// Has each second portion in hand for a while after its call.
    pub(crate) keeps: bool,
    pub(crate) manner: Manner,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Input {
    pub(crate) from: Pick,
    pub(crate) window: Window,
    /// The most that is on its way by weight.
    pub(crate) bytes: Option<usize>,
    /// Lets some of what is broadcast through.
    pub(crate) selects: bool,
    /// It may be cancelled, and asked by hand besides.
    pub(crate) has_handle: bool,
}

/// Who gets what a stage makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Out {
    ToOne,
    ToAll,
    Lanes(usize),
}

/// What a transform makes of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Makes {
    One,
    /// The same, event by event with its receipt.
    OneByOne,
    /// Nothing of one in so many.
    AllBut(u64),
    Times(u64),
}

/// What a call does besides. Each every so many calls; never if that is zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) yields: u64,
    /// For a millisecond, the first times.
    pub(crate) sleeps: u64,
    /// For longer than a turn of a stage that others wait for.
    pub(crate) spins: u64,
    /// The first times.
    pub(crate) acts: u64,
    pub(crate) act: Act,
    /// Rather at the end of the call.
    pub(crate) is_late: bool,
    /// It runs steps in its task, which change nothing.
    pub(crate) has_steps: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Pause(Pick),
    Resume(Pick),
    Ask(Pick, usize),
    /// Another consumer.
    Join(Pick, Window),
    /// One that there is takes from one stage more.
    Add(Pick, Input),
    Cancel(Pick),
    Remove(Pick),
}

/// What ends the pipeline, if it does not end before. All but the first are milliseconds or calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    ByItself,
    Stop(u64),
    /// A stage fails in one of its calls, or panics.
    Fault {
        stage: Pick,
        call: u64,
        panics: bool,
    },
    Abort(u64),
}

fn windows() -> impl Strategy<Value = Window> {
    let max = prop_oneof![1..5_usize, 1..70_usize, 1..1_001_usize];
    (max, 0..4_usize).prop_map(|(max, min)| match min {
        0 => Window::new(max).with_min(0),
        1 => Window::new(max).with_min(max - 1),
        _ => Window::new(max),
    })
}

fn inputs() -> impl Strategy<Value = Input> {
    let bytes = prop::option::weighted(0.15, 1..40_usize);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    (any::<u8>(), windows(), bytes, flags).prop_map(
        |(from, window, bytes, (selects, has_handle))| Input {
            from: usize::from(from),
            window,
            bytes,
            selects,
            has_handle,
        },
    )
}

fn outs() -> impl Strategy<Value = Out> {
    prop_oneof![
        3 => Just(Out::ToOne),
        2 => Just(Out::ToAll),
        2 => (1..5_usize).prop_map(Out::Lanes),
    ]
}

fn manners() -> impl Strategy<Value = Manner> {
    let every = || prop_oneof![2 => Just(0), 1 => 1..6_u64];
    let spins = prop_oneof![5 => Just(0), 1 => 1..6_u64];
    let waits = (every(), every(), spins);
    let flags = (any::<bool>(), any::<bool>());
    (waits, 1..6_u64, acts(), flags).prop_map(
        |((yields, sleeps, spins), acts, act, (is_late, has_steps))| Manner {
            yields,
            sleeps,
            spins,
            acts,
            act,
            is_late,
            has_steps,
        },
    )
}

fn sources() -> impl Strategy<Value = Source> {
    let events = prop_oneof![0..20_u64, 0..3_000_u64];
    let at_most = prop_oneof![2 => Just(usize::MAX), 1 => 1..100_usize];
    let more = prop_oneof![5 => Just(0), 1 => 1..300_usize];
    (events, at_most, more, outs(), manners()).prop_map(|(events, at_most, more, out, manner)| {
        Source {
            events,
            at_most,
            more,
            out,
            manner,
        }
    })
}

fn middles() -> impl Strategy<Value = Middle> {
    let makes = prop_oneof![
        3 => Just(Makes::One),
        1 => Just(Makes::OneByOne),
        1 => (1..5_u64).prop_map(Makes::AllBut),
        1 => (0..4_u64).prop_map(Makes::Times),
    ];
    let inputs = prop::collection::vec(inputs(), 1..4);
    (inputs, makes, outs(), manners()).prop_map(|(inputs, makes, out, manner)| Middle {
        inputs,
        makes,
        out,
        manner,
    })
}

fn sinks() -> impl Strategy<Value = Sink> {
    let inputs = prop::collection::vec(inputs(), 1..4);
    let keeps = prop::bool::weighted(0.2);
    (inputs, keeps, manners()).prop_map(|(inputs, keeps, manner)| Sink {
        inputs,
        keeps,
        manner,
    })
}

fn steps() -> impl Strategy<Value = (u64, Step)> {
    let pick = || any::<u8>().prop_map(usize::from);
    let step = prop_oneof![
        2 => pick().prop_map(Step::Pause),
        2 => pick().prop_map(Step::Resume),
        2 => (pick(), 1..100_usize).prop_map(|(link, events)| Step::Ask(link, events)),
        2 => (pick(), windows()).prop_map(|(stage, window)| Step::Join(stage, window)),
        2 => (pick(), inputs()).prop_map(|(sink, input)| Step::Add(sink, input)),
        2 => pick().prop_map(Step::Cancel),
        1 => pick().prop_map(Step::Remove),
    ];
    (0..6_u64, step)
}

pub(crate) fn plans() -> impl Strategy<Value = Plan> {
    let steps = prop_oneof![
        prop::collection::vec(steps(), 0..1),
        prop::collection::vec(steps(), 1..8),
    ];
    let faults = (any::<u8>(), 1..20_u64, any::<bool>());
    let ending = prop_oneof![
        4 => Just(Ending::ByItself),
        2 => (0..30_u64).prop_map(Ending::Stop),
        2 => faults.prop_map(|(stage, call, panics)| Ending::Fault {
            stage: usize::from(stage),
            call,
            panics,
        }),
        1 => (0..30_u64).prop_map(Ending::Abort),
    ];
    (
        prop::collection::vec(sources(), 1..4),
        prop::collection::vec(middles(), 0..4),
        prop::collection::vec(sinks(), 0..6),
        steps,
        ending,
    )
        .prop_map(|(sources, middles, sinks, steps, ending)| Plan {
            sources,
            middles,
            sinks,
            steps,
            ending,
        })
}

//! What a user's stage makes when nothing is difficult. The rules compare with that.

use std::{ops::Range, sync::Arc, thread, time::Duration};

use tokio::time::timeout;

use super::{
    ConsumerSpec, ProducerSpec, TransformSpec,
    gauged::Gauged,
    spec::MOST,
    watch::{Cut, ENOUGH_CALLS, Watch, keep_their_thread, watched},
};
use crate::{Batch, BoxError, Consumer, Demand, Flow, Producer, Transform};

/// What it makes; or the rule that it breaks, and how.
pub(crate) type Expected<E> = Result<Arc<Vec<E>>, Unfit>;

pub(crate) type Unfit = (&'static str, String);

/// As often in a row as a producer may give nothing here. R2 says what it has to say of it.
const MOST_EMPTY: usize = 1_000;

/// The rules are about what is in flight, not about how much there is in all: after so many outputs,
/// no more inputs are needed.
const ENOUGH_OUTPUTS: usize = 6_400;

/// But so many there must be.
const FEWEST_INPUTS: usize = 3;

pub(crate) fn expected_of_producer<S: ProducerSpec>(spec: &S) -> Expected<S::Event> {
    let spec = spec.clone();
    let made = aside(move || async move {
        let (mut producer, mut events) = (Gauged::new(spec.make()), Vec::new());
        let mut empty = 0;
        while events.len() < MOST {
            threads_are_free(spec.thread_time())?;
            let mut batch = Batch::new();
            let call = producer.produce(Demand::MIN, &mut batch);
            let Ok(made) = timeout(spec.patience(), call).await else {
                if spec.waits_for_ever() && !events.is_empty() {
                    break;
                }
                return Err(no_answer(events.len(), spec.patience()));
            };
            let came = batch.len();
            for (event, receipt) in batch.drain_with_receipts() {
                events.push(event);
                receipt.ack();
            }
            match made {
                Ok(Flow::More) if came == 0 => empty += 1,
                Ok(Flow::More) => empty = 0,
                Ok(Flow::End) => break,
                Err(error) => return Err(failed(events.len(), &error.into())),
            }
            if empty > MOST_EMPTY {
                return Err((
                    "R2",
                    format!(
                        "polled without events: {empty} times in a row it gave none and said `More`"
                    ),
                ));
            }
        }
        Ok(events)
    });
    made.map(Arc::new)
}

fn no_answer(events: usize, patience: Duration) -> Unfit {
    let what = match events {
        0 => "its first event, or its end. One was asked for".to_owned(),
        _ => format!(
            "event {events}, counted from zero, or the end. If it is to wait there for ever, its spec \
             says so by `waits_for_ever`"
        ),
    };
    ("D2", format!("missing after {patience:?}: {what}"))
}

fn failed(events: usize, error: &BoxError) -> Unfit {
    let how = format!("missing: what comes after {events} events. It failed instead: {error}");
    ("D2", how)
}

/// What a transform makes of inputs that come one by one.
pub(crate) struct Made<E> {
    /// All, with what it makes at the end.
    pub(crate) all: Arc<Vec<E>>,
    /// What it makes when each input comes, by number.
    pub(crate) of: Arc<[Range<u64>]>,
}

impl<E> Clone for Made<E> {
    fn clone(&self) -> Self {
        Self {
            all: Arc::clone(&self.all),
            of: Arc::clone(&self.of),
        }
    }
}

/// Of up to so many inputs: of fewer, if it makes very many of each.
pub(crate) fn expected_of_transform<S: TransformSpec>(
    spec: &S,
    inputs: u64,
) -> Result<Made<S::Out>, Unfit> {
    let spec = spec.clone();
    aside(move || async move {
        let (mut transform, mut all) = (Gauged::new(spec.make()), Vec::new());
        let mut of = Vec::new();
        let missing = |what: String| {
            let patience = spec.patience();
            ("D2", format!("missing after {patience:?}: {what}"))
        };
        for number in 0..inputs {
            threads_are_free(spec.thread_time())?;
            let mut batch = Batch::from_iter([spec.event(number)]);
            let mut out = Batch::new();
            let call = transform.transform(&mut batch, &mut out);
            // If it fails, it fails in the rules, too.
            let _ = timeout(spec.patience(), call)
                .await
                .map_err(|_| missing(format!("what it makes of event {number}")))?;
            let before = all.len() as u64;
            all.extend(out.into_vec());
            of.push(before..all.len() as u64);
            if all.len() >= ENOUGH_OUTPUTS && of.len() >= FEWEST_INPUTS {
                break;
            }
        }
        let mut out = Batch::new();
        let _ = timeout(spec.patience(), transform.finish(&mut out))
            .await
            .map_err(|_| missing("its end, after the last event".into()))?;
        all.extend(out.into_vec());
        Ok(Made {
            all: Arc::new(all),
            of: of.into(),
        })
    })
}

/// How many outputs it makes of each of these inputs if there is no other. None are known of one that
/// cannot do with that input alone.
pub(crate) fn made_alone<S: TransformSpec>(spec: &S, inputs: u64) -> Vec<u64> {
    let alone = |number| {
        let spec = spec.clone();
        let made = aside(move || async move {
            let mut transform = Gauged::new(spec.make());
            let mut batch = Batch::from_iter([spec.event(number)]);
            let mut out = Batch::new();
            let call = transform.transform(&mut batch, &mut out);
            Ok(timeout(spec.patience(), call)
                .await
                .is_ok_and(|made| made.is_ok())
                .then_some(out.len() as u64))
        });
        made.ok().flatten()
    };
    (0..inputs).map_while(alone).collect()
}

/// Nothing is expected of a consumer but that it lets others have their turn.
pub(crate) fn expected_of_consumer<S: ConsumerSpec>(spec: &S) -> Result<(), Unfit> {
    let spec = spec.clone();
    let made = aside(move || async move {
        let mut consumer = Gauged::new(spec.make());
        for number in 0..=ENOUGH_CALLS as u64 {
            threads_are_free(spec.thread_time())?;
            let mut batch = Batch::from_iter([spec.event(number)]);
            // How it fares by itself says nothing of how it does in a pipeline.
            let _ = timeout(spec.patience(), consumer.consume(&mut batch)).await;
        }
        Ok(())
    });
    match made {
        Err((rule, _)) if rule != "R4" => Ok(()),
        made => made,
    }
}

/// Once there were enough calls: whether they keep their thread. If they do, all rules take long.
fn threads_are_free(limit: Duration) -> Result<(), Unfit> {
    let Some(watch) = Watch::here() else {
        return Ok(());
    };
    let calls = watch.measured();
    let kept = match calls.len() {
        0 => {
            watch.measure();
            None
        }
        ENOUGH_CALLS => keep_their_thread(&calls, limit),
        _ => None,
    };
    kept.map_or(Ok(()), |how| Err(("R4", how)))
}

/// Does `work` by itself, and says which rule is broken if that does not come to its end.
fn aside<T, W>(work: impl FnOnce() -> W + Send + 'static) -> Result<T, Unfit>
where
    T: Send + 'static,
    W: Future<Output = Result<T, Unfit>>,
{
    let made = watched(thread::Builder::new(), work);
    made.unwrap_or_else(|cut| {
        Err(match cut {
            Cut::Panicked(message) => ("T6", format!("it panicked by itself: {message}")),
            Cut::Blocks => ("R4", cut.to_string()),
            cut => ("D2", cut.to_string()),
        })
    })
}

//! a1000 to f, with both events, on both runtimes.

use std::{
    fmt,
    time::{Duration, Instant},
};

use benches::{Bytes1k, Candidate, Event, Job, PEERS, Shape, WORKLOADS, Workload, candidates};
use tokio::runtime::Runtime;

use crate::{
    Setting,
    contest::{Contest, Entrant, Figure},
};

pub(crate) fn measure(workload: &Workload, setting: &Setting) -> Vec<Figure> {
    let mut figures = measure_with::<u64>(workload, setting);
    figures.extend(measure_with::<Bytes1k>(workload, setting));
    figures
}

fn measure_with<E: Event>(workload: &Workload, setting: &Setting) -> Vec<Figure> {
    let runtimes = setting.runtimes.each().into_iter();
    let figures = runtimes.flat_map(|(name, runtime)| {
        let bar = workload.bars.of(E::NAME, name, workload.shape);
        let by_hand = has_bar_by_hand(workload).then_some(("tokio-batches", 1.0));
        let contest = Contest {
            workload: workload.name.to_owned(),
            about: workload.about.to_owned(),
            event: E::NAME,
            runtime: name,
            entrants: entrants::<E>(&PEERS, workload.shape, workload.window, runtime, setting),
            bars: [("tokio-mpsc", bar)].into_iter().chain(by_hand).collect(),
        };
        contest.hold(setting.time / 4)
    });
    figures.collect()
}

/// Whether it is to be never slower than vectors by hand.
fn has_bar_by_hand(workload: &Workload) -> bool {
    workload.name != "a1" && workload.name != "f"
}

/// Us, and those of `peers` that do such jobs.
pub(crate) fn entrants<'a, E: Event>(
    peers: &[&str],
    shape: Shape,
    window: usize,
    runtime: &'a Runtime,
    setting: &Setting,
) -> Vec<Entrant<'a>> {
    let wanted = candidates::<E>(peers, shape).filter(|it| setting.is_chosen(it.name));
    let entrants = wanted.map(|candidate| Entrant {
        name: candidate.name,
        count: None,
        sample: Box::new(move |events| {
            let job = Job {
                shape,
                window,
                events,
            };
            let expected = job.expected::<E>();
            let took = time(&candidate, job, &expected, runtime);
            took.as_secs_f64() * 1e9 / events as f64
        }),
    });
    entrants.collect()
}

fn time(candidate: &Candidate, job: Job, expected: &benches::Tally, runtime: &Runtime) -> Duration {
    let start = Instant::now();
    let tally = runtime.block_on((candidate.run)(job));
    let took = start.elapsed();
    assert_eq!(tally, *expected, "{} lost events", candidate.name);
    took
}

/// All ratios in one table.
pub(crate) fn summarize(figures: &[Figure]) {
    if figures.is_empty() {
        return;
    }
    println!("\nTimes faster than others, by the least of all rounds");
    println!(
        "{:<7} {:<9} {:<15} {:>10} {:>7} {:>14} {:>18}",
        "", "", "", "tokio-mpsc", "bar", "tokio-batches", "best other channel"
    );
    let (mut bars, mut bars_by_hand) = (Bars::default(), Bars::default());
    for ours in figures.iter().filter(|it| it.candidate == "stage-core") {
        let Some(workload) = WORKLOADS.iter().find(|it| it.name == ours.workload) else {
            continue;
        };
        let same = |it: &&Figure| {
            (&it.workload, it.event, it.runtime) == (&ours.workload, ours.event, ours.runtime)
        };
        let of = |name: &str| {
            let it = figures.iter().filter(same).find(|it| it.candidate == name);
            it.map_or(f64::NAN, |it| it.least_ns / ours.least_ns)
        };
        let channels = ["flume", "kanal", "crossfire", "futures", "tokio-recv-many"];
        let best = channels
            .into_iter()
            .map(|name| (name, of(name)))
            .filter(|(_, ratio)| !ratio.is_nan())
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .unwrap_or_default();
        let bar = workload.bars.of(ours.event, ours.runtime, workload.shape);
        let is_missed = bars.judge(of("tokio-mpsc"), bar);
        if has_bar_by_hand(workload) {
            bars_by_hand.judge(of("tokio-batches"), 1.0);
        }
        println!(
            "{:<7} {:<9} {:<15} {:>10.1} {:>7} {:>14.2} {:>9.1} ({}){}",
            ours.workload,
            ours.event,
            ours.runtime,
            of("tokio-mpsc"),
            bar,
            of("tokio-batches"),
            best.1,
            best.0,
            if is_missed { "  MISSED" } else { "" },
        );
    }
    println!("{bars} bars missed, and {bars_by_hand} of those against vectors by hand");
}

/// How many were looked at, and how many of them were missed.
#[derive(Default)]
struct Bars {
    all: usize,
    missed: usize,
}

impl Bars {
    /// Whether the ratio is below its bar. There is none of who was not measured.
    fn judge(&mut self, ratio: f64, bar: f64) -> bool {
        let is_missed = ratio < bar;
        self.all += usize::from(!ratio.is_nan());
        self.missed += usize::from(is_missed);
        is_missed
    }
}

impl fmt::Display for Bars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.missed, self.all)
    }
}

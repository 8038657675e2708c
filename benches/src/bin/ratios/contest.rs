//! Candidates in turn, and what comes of it.

use std::{
    fmt::{self, Display},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// One line of the JSON.
#[derive(Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) workload: String,
    pub(crate) event: &'static str,
    pub(crate) runtime: &'static str,
    pub(crate) candidate: &'static str,
    pub(crate) least_ns: f64,
    pub(crate) median_ns: f64,
}

/// Candidates at the same task. The first is ours.
pub(crate) struct Contest<'a> {
    pub(crate) workload: String,
    pub(crate) about: String,
    pub(crate) event: &'static str,
    pub(crate) runtime: &'static str,
    pub(crate) entrants: Vec<Entrant<'a>>,
    /// Who has to be how many times slower than we are.
    pub(crate) bars: Vec<(&'static str, f64)>,
}

pub(crate) struct Entrant<'a> {
    pub(crate) name: &'static str,
    /// How many make a sample, if that is not to be found out.
    pub(crate) count: Option<u64>,
    /// Does so many, and returns the nanoseconds that one took.
    pub(crate) sample: Box<dyn Fn(u64) -> f64 + 'a>,
}

/// About how long one sample takes.
const SAMPLE_NS: f64 = 5e6;

/// At least so many rounds, however long they take.
const LEAST_ROUNDS: usize = 5;

/// More rounds than that tell nothing new.
const MOST_ROUNDS: usize = 100;

impl Contest<'_> {
    /// Measures for so long: all in turn, with the order rotated each round. Prints a table.
    pub(crate) fn hold(&self, time: Duration) -> Vec<Figure> {
        let start = Instant::now();
        let entrants = &self.entrants;
        let counts: Vec<u64> = entrants.iter().map(calibrate).collect();
        let mut samples = vec![Vec::new(); entrants.len()];
        for round in 0..MOST_ROUNDS {
            let taken = start.elapsed();
            let one_more = taken + taken / (round as u32 + 1);
            if round >= LEAST_ROUNDS && one_more > time {
                break;
            }
            for turn in 0..entrants.len() {
                let i = (turn + round) % entrants.len();
                samples[i].push((entrants[i].sample)(counts[i]));
            }
        }
        self.print(&samples);
        let figures = entrants
            .iter()
            .zip(samples)
            .map(|(entrant, samples)| Figure {
                workload: self.workload.clone(),
                event: self.event,
                runtime: self.runtime,
                candidate: entrant.name,
                least_ns: least(&samples),
                median_ns: median(samples),
            });
        figures.collect()
    }

    fn print(&self, samples: &[Vec<f64>]) {
        let Self {
            workload,
            about,
            event,
            runtime,
            ..
        } = self;
        let rounds = samples.first().map_or(0, Vec::len);
        println!("\n{workload}: {about}; {event}, {runtime}, {rounds} rounds");
        println!(
            "{:>22} {:>10} {:>10} {:>9} {:>9}",
            "", "least ns", "median ns", "× least", "× paired"
        );
        let Some(ours) = samples.first() else { return };
        for (entrant, theirs) in self.entrants.iter().zip(samples) {
            let paired = theirs.iter().zip(ours).map(|(theirs, ours)| theirs / ours);
            let by_least = least(theirs) / least(ours);
            println!(
                "{:>22} {:>10.2} {:>10.2} {:>9.2} {:>9.2}{}",
                entrant.name,
                least(theirs),
                median(theirs.clone()),
                by_least,
                median(paired.collect()),
                self.verdict(entrant.name, by_least),
            );
        }
    }

    fn verdict(&self, candidate: &str, ratio: f64) -> impl Display {
        let bar = self.bars.iter().find(|(name, _)| *name == candidate);
        Verdict(bar.map(|(_, bar)| *bar), ratio)
    }
}

/// A ratio, and what it should be.
struct Verdict(Option<f64>, f64);

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(None, _) => Ok(()),
            Self(Some(bar), ratio) if ratio >= bar => write!(f, "   bar {}: met", round(bar)),
            Self(Some(bar), _) => write!(f, "   bar {}: MISSED", round(bar)),
        }
    }
}

/// How many make a sample: enough to hide what starting costs, which is much with a thousand
/// consumers. By the processor's time, of a run that is half as long at least, and not of one: what disturbs it, or
/// the start of a shorter one, would make all samples too short.
fn calibrate(entrant: &Entrant<'_>) -> u64 {
    if let Some(count) = entrant.count {
        return count;
    }
    // Once could be an accident.
    let least_of_three = |count| least(&[(); 3].map(|()| cost(entrant, count)));
    let sample = SAMPLE_NS.max(least_of_three(1) * 20.0);
    let mut count = 500;
    loop {
        let missing = sample / least_of_three(count);
        if missing <= 2.0 {
            return (missing * count as f64) as u64;
        }
        // Not all at once: a short run is mostly its start.
        count = (missing.min(8.0) * count as f64) as u64;
    }
}

/// How long so many take.
fn cost(entrant: &Entrant<'_>, count: u64) -> f64 {
    let (start, busy) = (Instant::now(), cpu_time());
    (entrant.sample)(count);
    let busy = (cpu_time() - busy).as_secs_f64() * 1e9;
    let took = start.elapsed().as_secs_f64() * 1e9;
    // Threads that sleep between events take long, but no time of the processor.
    busy.max(took / 3.0)
}

pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

pub(crate) fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn print_versions() {
    println!(
        "Nanoseconds per event. The allocator is mimalloc. × is how many times faster stage-core is: \
         of the least of all rounds, and the median of the ratios within each round."
    );
}

/// To two places, for printing.
fn round(ratio: f64) -> f64 {
    (ratio * 100.0).round() / 100.0
}

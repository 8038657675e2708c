//! What is measured by name only.

use benches::{
    Event, FEW, OUTSIDE, Ping, STEPS, Shape, Toil, ToilAtEnd, pings_by_demand,
    pings_through_a_stage,
};
use tokio::runtime::Runtime;

use crate::{
    Setting,
    contest::{Contest, Entrant, Figure},
    standard::entrants,
};

/// Their names, and what they are.
pub(crate) const NAMES: [(&str, &str); 10] = [
    (
        "ping",
        "round trip of one event, through a stage and by demand",
    ),
    ("fanout", "1, 8, 64 and 1000 consumers with windows of 100"),
    ("chain", "1 to 16 stages between producer and consumer"),
    ("windows", "1 → 1 with windows of 1, 10, 100 and 1000"),
    (
        "overlap",
        "350 ns of work for each event at both ends; at the end only, by 8",
    ),
    ("setup", "a stage and its link, from nothing to its end"),
    ("receipts", "a1000 with an ack for each event"),
    ("limit", "a loop in one task against a1000, a10, a1 and e"),
    (
        "steps",
        "1 and 4 steps in the tasks of other stages, window 1000",
    ),
    (
        "outside",
        "a1000, sent by a task that is no stage, and taken as a stream",
    ),
];

pub(crate) fn measure(name: &str, setting: &Setting) -> Vec<Figure> {
    match name {
        "ping" => ping(setting),
        "fanout" => fan_out(setting),
        "chain" => series(
            "chain",
            [1, 2, 4, 8, 16].map(|stages| (stages, Shape::Chain(stages), 1_000)),
            setting,
        ),
        "windows" => series(
            "windows",
            [1, 10, 100, 1_000].map(|window| (window, Shape::Direct, window)),
            setting,
        ),
        "overlap" => overlap(setting),
        "setup" => {
            let task = Task(name, Shape::SetUp, 100);
            both::<u64>(&task, &FEW[..1], &[], setting, 2)
        }
        "receipts" => {
            // Ours comes first: what is more than twice as slow has missed its bar.
            let with = ["stage-core-receipts", "stage-core-tracker"];
            let task = Task(name, Shape::Direct, 1_000);
            both::<u64>(&task, &with, &[], setting, 2)
        }
        "limit" => limit(setting),
        "steps" => steps(setting),
        "outside" => outside(setting),
        _ => unreachable!("names have been checked"),
    }
}

/// The same, once for each parameter.
fn series<const N: usize>(
    name: &str,
    points: [(usize, Shape, usize); N],
    setting: &Setting,
) -> Vec<Figure> {
    let figures = points.into_iter().flat_map(|(point, shape, window)| {
        let task = Task(&format!("{name}-{point}"), shape, window);
        both::<u64>(&task, &FEW, &[], setting, 2 * N)
    });
    figures.collect()
}

/// What all do in a contest: its name, the shape and the window.
struct Task<'a>(&'a str, Shape, usize);

/// On both runtimes.
fn both<E: Event>(
    task: &Task<'_>,
    peers: &[&str],
    bars: &[(&'static str, f64)],
    setting: &Setting,
    contests: usize,
) -> Vec<Figure> {
    both_by::<E>("stage-core", task, peers, bars, setting, contests)
}

/// The same, compared with this one of ours.
fn both_by<E: Event>(
    ours: &str,
    task: &Task<'_>,
    peers: &[&str],
    bars: &[(&'static str, f64)],
    setting: &Setting,
    contests: usize,
) -> Vec<Figure> {
    let Task(name, shape, window) = *task;
    let runtimes = setting.runtimes.each().into_iter();
    let figures = runtimes.flat_map(|(runtime_name, runtime)| {
        let mut entrants = entrants::<E>(peers, shape, window, runtime, setting);
        entrants.sort_by_key(|it| it.name != ours);
        let contest = Contest {
            workload: name.to_owned(),
            about: format!("{shape:?}, window {window}"),
            event: E::NAME,
            runtime: runtime_name,
            entrants,
            bars: bars.to_vec(),
        };
        contest.hold(setting.time / contests as u32)
    });
    figures.collect()
}

fn fan_out(setting: &Setting) -> Vec<Figure> {
    let points = [1, 8, 64, 1_000];
    let mut figures = Vec::new();
    for consumers in points {
        let task = Task(&format!("fanout-{consumers}"), Shape::Share(consumers), 100);
        let bars = if consumers == 1_000 {
            &[("tokio-mpsc", 5.0)][..]
        } else {
            &[]
        };
        figures.extend(both::<u64>(&task, &FEW, bars, setting, 8));
    }
    for (runtime, _) in setting.runtimes.each() {
        let cost = |consumers: usize| {
            let workload = format!("fanout-{consumers}");
            let same = |it: &&Figure| {
                it.workload == workload && it.runtime == runtime && it.candidate == "stage-core"
            };
            figures.iter().find(same).map_or(f64::NAN, |it| it.least_ns)
        };
        println!(
            "stage-core, {runtime}: 64 consumers cost {:.2} times what 8 do (bar: at most 1.5), \
             1000 cost {:.2} times what 1 does (bar: at most 2)",
            cost(64) / cost(8),
            cost(1_000) / cost(1),
        );
    }
    figures
}

/// Whether two threads both work. The fused loop is what one could do.
fn overlap(setting: &Setting) -> Vec<Figure> {
    let peers = ["tokio-mpsc", "tokio-batches", "fused"];
    let runtime = &setting.runtimes.multi;
    let both_ends = entrants::<Toil>(&peers, Shape::Direct, 1_000, runtime, setting);
    let mut at_end = entrants::<ToilAtEnd>(&peers, Shape::Share(8), 125, runtime, setting);
    let mut alone = entrants::<ToilAtEnd>(&["fused"], Shape::Direct, 1_000, runtime, setting);
    at_end.extend(alone.drain(..).filter(|it| it.name == "fused"));
    let contest = |workload: &str, about: &str, entrants, bar| Contest {
        workload: workload.to_owned(),
        about: about.to_owned(),
        event: "u64",
        runtime: "multi-thread",
        entrants,
        bars: vec![("fused", bar)],
    };
    let ends = contest("overlap", "350 ns at both ends", both_ends, 1.8);
    let fan = contest(
        "overlap-8",
        "350 ns at the end, by 8 consumers",
        at_end,
        1.9,
    );
    let mut figures = ends.hold(setting.time / 2);
    figures.extend(fan.hold(setting.time / 2));
    figures
}

fn limit(setting: &Setting) -> Vec<Figure> {
    let peers = ["fused", "bare-loop"];
    let points = [
        ("limit-1000", Shape::Direct, 1_000),
        ("limit-10", Shape::Direct, 10),
        ("limit-1", Shape::Direct, 1),
        ("limit-chain", Shape::Chain(1), 1_000),
    ];
    let figures = points.into_iter().flat_map(|(name, shape, window)| {
        let task = Task(name, shape, window);
        both::<u64>(&task, &peers, &[], setting, 8)
    });
    figures.collect()
}

/// Those in one task are to be 80 times as fast as a channel, and hardly slower than a loop by hand.
fn steps(setting: &Setting) -> Vec<Figure> {
    let peers = [STEPS, "tokio-mpsc", "tokio-batches", "fused"];
    let bars = [("fused", 1.0 / 1.1), ("tokio-mpsc", 80.0)];
    let points = [("steps-1", 1, &bars[..]), ("steps-4", 4, &bars[..1])];
    let figures = points.into_iter().flat_map(|(name, between, bars)| {
        let task = Task(name, Shape::Chain(between), 1_000);
        both_by::<u64>(STEPS, &task, &peers, bars, setting, 4)
    });
    figures.collect()
}

fn outside(setting: &Setting) -> Vec<Figure> {
    let figures = OUTSIDE.into_iter().flat_map(|ours| {
        let peers = [ours, "tokio-mpsc", "flume", "futures"];
        let task = Task(ours, Shape::Direct, 1_000);
        both_by::<u64>(ours, &task, &peers, &[], setting, 4)
    });
    figures.collect()
}

fn ping(setting: &Setting) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (name, runtime) in setting.runtimes.each() {
        let kinds = [
            ("ping", "through a stage", &pings_through_a_stage()[..]),
            ("ping-by-demand", "by demand", &pings_by_demand()[..]),
        ];
        for (workload, how, pings) in kinds {
            // A round trip takes at most 0.75 of what it takes by two of tokio's channels.
            for (suffix, quantile, most) in [("", 0.5, 0.75), ("-p99", 0.99, 1.05)] {
                let contest = Contest {
                    workload: format!("{workload}{suffix}"),
                    about: format!("round trip of one event {how}, p{}", quantile * 100.0),
                    event: "u64",
                    runtime: name,
                    entrants: trips(runtime, pings, quantile, setting),
                    bars: vec![("tokio-mpsc", 1.0 / most)],
                };
                figures.extend(contest.hold(setting.time / 8));
            }
        }
    }
    figures
}

fn trips<'a>(
    runtime: &'a Runtime,
    pings: &[Ping],
    quantile: f64,
    setting: &Setting,
) -> Vec<Entrant<'a>> {
    let pings = pings
        .iter()
        .copied()
        .filter(|it| setting.is_chosen(it.name));
    let entrants = pings.map(|ping| Entrant {
        name: ping.name,
        count: None,
        sample: Box::new(move |times| {
            let mut laps = runtime.block_on((ping.run)(times as usize));
            assert_eq!(laps.len(), times as usize, "{} lost answers", ping.name);
            laps.sort_unstable();
            let place = (laps.len() as f64 * quantile) as usize;
            f64::from(laps[place.min(laps.len() - 1)])
        }),
    });
    entrants.collect()
}

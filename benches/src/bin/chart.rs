//! Draws a chart from what `ratios --json` has written.
//!
//!     cargo run --release -p benches --bin ratios -- --json target/ratios.json
//!     cargo run --release -p benches --bin chart -- target/ratios.json docs/speed.svg

use std::{error::Error, fmt::Write, fs, path::PathBuf};

use clap::Parser;
use serde::Deserialize;

/// Draws figures as bars: one group for each workload, on a logarithmic scale.
#[derive(Parser)]
struct Args {
    /// What `ratios --json` has written.
    figures: PathBuf,
    /// Where to draw.
    chart: PathBuf,
    #[arg(long, default_value = "u64")]
    event: String,
    #[arg(long, default_value = "multi-thread")]
    runtime: String,
}

#[derive(Deserialize)]
struct Figure {
    workload: String,
    event: String,
    runtime: String,
    candidate: String,
    least_ns: f64,
}

/// Who is drawn, and how.
const COLOURS: [(&str, &str); 6] = [
    ("stage-core", "#1f6feb"),
    ("tokio-batches", "#8c96a0"),
    ("crossfire", "#e0a030"),
    ("kanal", "#c77d4f"),
    ("flume", "#7fa86b"),
    ("tokio-mpsc", "#b04a5a"),
];

const BAR: f64 = 11.0;
const GAP: f64 = 20.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 64.0;
const WIDTH: f64 = 560.0;

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let figures: Vec<Figure> = serde_json::from_str(&fs::read_to_string(&args.figures)?)?;
    let mut shown: Vec<&Figure> = figures
        .iter()
        .filter(|it| it.event == args.event && it.runtime == args.runtime)
        .collect();
    shown.retain(|it| COLOURS.iter().any(|(name, _)| *name == it.candidate));
    if shown.is_empty() {
        return Err(format!("no figures for {} on {}", args.event, args.runtime).into());
    }
    let title = format!(
        "Nanoseconds per event ({}, {}), least of all rounds",
        args.event, args.runtime
    );
    fs::write(args.chart, draw(&title, &shown)?)?;
    Ok(())
}

fn draw(title: &str, figures: &[&Figure]) -> Result<String, std::fmt::Error> {
    let mut workloads: Vec<&str> = figures.iter().map(|it| it.workload.as_str()).collect();
    workloads.dedup();
    let scale = Scale::over(figures);
    let group = BAR * COLOURS.len() as f64 + GAP;
    let bottom = TOP + group * workloads.len() as f64;
    let mut svg = String::new();
    let (width, height) = (LEFT + WIDTH + 60.0, bottom + 30.0);
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"10\" fill=\"#333\">"
    )?;
    writeln!(
        svg,
        "<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>"
    )?;
    writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"20\" font-size=\"13\">{}</text>",
        escape(title)
    )?;
    legend(&mut svg)?;
    for (x, label) in scale.lines() {
        writeln!(
            svg,
            "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            bottom + 14.0
        )?;
    }
    for (place, workload) in workloads.iter().enumerate() {
        let top = TOP + GAP / 2.0 + group * place as f64;
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"12\">{}</text>",
            LEFT - 8.0,
            top + (group - GAP) / 2.0 + 4.0,
            escape(workload)
        )?;
        for (row, (candidate, colour)) in COLOURS.iter().enumerate() {
            let same = |it: &&&Figure| it.workload == *workload && it.candidate == *candidate;
            let Some(figure) = figures.iter().find(same) else {
                continue;
            };
            let (y, length) = (top + BAR * row as f64, scale.place(figure.least_ns) - LEFT);
            writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                BAR - 1.0,
                LEFT + length + 4.0,
                y + BAR - 2.0,
                number(figure.least_ns)
            )?;
        }
    }
    svg += "</svg>\n";
    Ok(svg)
}

fn legend(svg: &mut String) -> std::fmt::Result {
    for (place, (name, colour)) in COLOURS.iter().enumerate() {
        let x = LEFT + 100.0 * place as f64;
        writeln!(
            svg,
            "<rect x=\"{x}\" y=\"34\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"43\">{name}</text>",
            x + 14.0
        )?;
    }
    Ok(())
}

/// Powers of ten from left to right.
struct Scale {
    from: f64,
    decades: f64,
}

impl Scale {
    fn over(figures: &[&Figure]) -> Self {
        let logs = || figures.iter().map(|it| it.least_ns.log10());
        // A bar of the smallest figure is to be seen, too.
        let from = (logs().fold(f64::INFINITY, f64::min) - 0.2).floor();
        let to = logs().fold(f64::NEG_INFINITY, f64::max).ceil();
        Self {
            from,
            decades: (to - from).max(1.0),
        }
    }

    fn place(&self, ns: f64) -> f64 {
        LEFT + WIDTH * (ns.log10() - self.from) / self.decades
    }

    fn lines(&self) -> impl Iterator<Item = (f64, String)> {
        (0..=self.decades as i32).map(|decade| {
            let ns = 10_f64.powf(self.from + f64::from(decade));
            (self.place(ns), number(ns))
        })
    }
}

fn number(ns: f64) -> String {
    if ns < 10.0 {
        format!("{ns:.1}")
    } else {
        format!("{ns:.0}")
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

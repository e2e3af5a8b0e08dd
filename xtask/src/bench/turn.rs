//! `cargo xtask bench turn`: what relaying costs, next to Debian's coturn and to a forwarder that does nothing else, in
//! the same minutes on the same machine.
//!
//! Each server gets processor 0 for itself, the load generator the rest. Processor time is the server's own, user and
//! system, so a busy machine disturbs it little; what is counted per second it does disturb. The servers take turns
//! within a run, and the table shows the median of all runs, how far they lie apart, and what was lost.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::figures::{Figures, Summary};
use super::server::{Kind, Server, number};
use crate::needs::{self, Need, need};
use crate::step::{self, Step};
use crate::target_dir;

/// What is run besides our own.
const NEEDED: &[Need] = &[need("turnserver", "coturn"), need("taskset", "util-linux"), need("chrt", "util-linux")];
const DEFAULT_RUNS: usize = 3;
/// The search for the highest rate that loses nothing is no load of its own.
const MAXIMUM: &[&str] = &["maximum"];

const USAGE: &str = "\
cargo xtask bench turn [--runs N] [--only WORD]...
    --runs N      how often each server is measured (default 3)
    --only WORD   only figures whose name has this word, such as \"trains\" or \"allocation\"";

/// A figure: what it is, how to get it, and what is promised of it.
struct Figure {
    name: &'static str,
    load: &'static [&'static str],
    key: &'static str,
    goal: Goal,
}

/// What is promised of the ratio to coturn, or of the value itself.
#[derive(Clone, Copy)]
enum Goal {
    /// Less is better.
    Less,
    /// At most so many times coturn's.
    RatioAtMost(f64),
    /// At least so many times coturn's.
    RatioAtLeast(f64),
    /// At most this.
    AtMost(f64),
}

const CPU: &str = "cpu_per_million";
const ALLOCATE: &[&str] = &["allocate", "5000"];
const FLOOD: &[&str] = &["flood", "20000"];
const ECHO: &[&str] = &["echo", "10000"];

const FIGURES: &[Figure] = &[
    figure("single packets up, backlogged: CPU-s per million", &["up"], CPU, Goal::RatioAtMost(0.9)),
    figure("single packets down, backlogged: CPU-s per million", &["down"], CPU, Goal::RatioAtMost(0.9)),
    figure("trains of 16 up, backlogged: CPU-s per million", &["up-trains"], CPU, Goal::RatioAtMost(0.5)),
    figure("trains of 16 down, backlogged: CPU-s per million", &["down-trains"], CPU, Goal::RatioAtMost(0.5)),
    figure("client to client, backlogged: CPU-s per million", &["between"], CPU, Goal::RatioAtMost(0.55)),
    figure("single packets up, 20 k/s: CPU-s per million", &["up", "20000"], CPU, Goal::Less),
    figure("single packets down, 20 k/s: CPU-s per million", &["down", "20000"], CPU, Goal::Less),
    figure("trains of 16 up, 100 k/s: CPU-s per million", &["up-trains", "100000"], CPU, Goal::Less),
    figure("trains of 16 down, 100 k/s: CPU-s per million", &["down-trains", "100000"], CPU, Goal::Less),
    figure("client to client, 20 k/s: CPU-s per million", &["between", "20000"], CPU, Goal::Less),
    figure("echo, 20 k/s: CPU-s per million", ECHO, CPU, Goal::Less),
    figure("echo, 20 k/s: round trip us, half of all", ECHO, "p50", Goal::AtMost(2_000.0)),
    figure("echo, 20 k/s: round trip us, 99 of 100", ECHO, "p99", Goal::Less),
    figure("highest rate without loss: packets/s", MAXIMUM, "per_second", Goal::RatioAtLeast(1.3)),
    figure("allocations with a channel: per second", ALLOCATE, "per_second", Goal::RatioAtLeast(4.0)),
    figure("allocations with a channel: CPU-us each", ALLOCATE, "cpu_microseconds", Goal::Less),
    figure("allocations with a channel: RSS KiB each", ALLOCATE, "resident_kib", Goal::Less),
    figure("allocations with a channel: heap KiB each", ALLOCATE, "heap_kib", Goal::AtMost(3.0)),
    figure("allocations, after all ended: RSS KiB each", ALLOCATE, "resident_kib_after", Goal::Less),
    figure("unauthenticated request: bytes kept", FLOOD, "kept_bytes", Goal::Less),
    figure("unauthenticated request: CPU-us each", FLOOD, "cpu_microseconds", Goal::Less),
    figure("unauthenticated request: bytes out per byte in", FLOOD, "bytes_out_per_in", Goal::AtMost(2.2)),
];

const fn figure(name: &'static str, load: &'static [&'static str], key: &'static str, goal: Goal) -> Figure {
    Figure { name, load, key, goal }
}

/// Ours first; the others are what it is compared with.
const SERVERS: [(&str, Kind); 6] = [
    ("Lanyard", Kind::Relay),
    ("coturn", Kind::Coturn),
    ("forwarder", Kind::Forwarder),
    ("forwarder", Kind::ForwarderOfTrains),
    ("gather 0", Kind::RelayAtOnce),
    ("4 workers", Kind::RelayOfFour),
];
const OURS: usize = 0;
const COTURN: usize = 1;
const FORWARDER: usize = 2;
const TRAIN_FORWARDER: usize = 3;
const AT_ONCE: usize = 4;
const FOUR_WORKERS: usize = 5;

impl Figure {
    fn is_of_trains(&self) -> bool {
        self.load.first().is_some_and(|load| load.ends_with("trains"))
    }

    /// The forwarder to compare with.
    fn floor(&self) -> usize {
        if self.is_of_trains() { TRAIN_FORWARDER } else { FORWARDER }
    }

    /// Whether this server is measured for it. A forwarder has no allocations and no strangers.
    fn is_for(&self, server: usize) -> bool {
        let is_of_turn = self.load == ALLOCATE || self.load == FLOOD;
        match server {
            OURS | COTURN => true,
            AT_ONCE | FOUR_WORKERS => !is_of_turn,
            forwarder => !is_of_turn && forwarder == self.floor(),
        }
    }
}

/// What was asked for.
struct Wanted {
    runs: usize,
    words: Vec<String>,
}

impl Wanted {
    fn parse(args: &[String]) -> Result<Self> {
        let mut wanted = Self { runs: DEFAULT_RUNS, words: Vec::new() };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let value = rest.next().context(USAGE)?;
            match arg.as_str() {
                "--runs" => wanted.runs = value.parse().ok().filter(|runs| *runs > 0).context(USAGE)?,
                "--only" => wanted.words.push(value.clone()),
                _ => bail!(USAGE),
            }
        }
        Ok(wanted)
    }

    fn figures(&self) -> Vec<&'static Figure> {
        let has_word = |figure: &&Figure| self.words.is_empty() || self.words.iter().any(|w| figure.name.contains(w));
        FIGURES.iter().filter(has_word).collect()
    }
}

/// Runs everything for all servers and prints the table.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let wanted = Wanted::parse(args)?;
    let chosen = wanted.figures();
    if chosen.is_empty() {
        bail!("no figure has such a name\n{USAGE}");
    }
    needs::programs(&[NEEDED])?;
    let packages = ["--package", "lanyard-relay", "--package", "lanyard-tests"];
    Step::new("build server and load generator", "cargo", &["build", "--release", "--bins"]).args(&packages).run()?;
    let release = target_dir().join("release");
    let started = Instant::now();
    let mut figures = Figures::default();
    for run in 1..=wanted.runs {
        for (number, (name, kind)) in SERVERS.iter().enumerate() {
            let of_this: Vec<_> = chosen.iter().copied().filter(|figure| figure.is_for(number)).collect();
            if !of_this.is_empty() {
                step::say(&format!("run {run} of {}: {name} ({kind:?})", wanted.runs));
                measure(&mut figures, number, *kind, &of_this, &release)?;
            }
        }
    }
    print_table(&figures, &chosen);
    step::say(&format!("\n{} runs in {:.0} s", wanted.runs, started.elapsed().as_secs_f64()));
    Ok(())
}

fn measure(figures: &mut Figures, number_of: usize, kind: Kind, wanted: &[&Figure], release: &Path) -> Result<()> {
    let server = Server::start(kind, release)?;
    let mut last: Option<(&[&str], Value)> = None;
    for figure in wanted {
        let outcome = match last.take() {
            Some((load, outcome)) if load == figure.load => outcome,
            _ if figure.load == MAXIMUM => server.loss_free_maximum(release)?,
            _ => server.load(release, figure.load)?,
        };
        let loss = outcome.get("loss").and_then(Value::as_f64);
        figures.add(number_of, figure.name, number(&outcome, figure.key)?, loss);
        last = Some((figure.load, outcome));
    }
    Ok(())
}

/// A line a figure: each server's median with its spread and its loss, then the ratios of ours to the others.
fn print_table(figures: &Figures, chosen: &[&Figure]) {
    let heads = ["Lanyard", "gather 0", "4 workers", "coturn", "forwarder"];
    let heads: String = heads.iter().map(|head| format!("{head:>32}")).collect();
    step::say(&format!("\nmedian (lowest – highest) loss\n{:<52}{heads}{:>10}{:>12}", "", "/ coturn", "/ forwarder"));
    for figure in chosen {
        let of = |server| figures.summary(server, figure.name);
        let (ours, coturn, floor) = (of(OURS), of(COTURN), of(figure.floor()));
        let columns: String =
            [ours, of(AT_ONCE), of(FOUR_WORKERS), coturn, floor].iter().map(|s| format!("{:>32}", shown(*s))).collect();
        let ratio = |other: Option<Summary>| Some(ours?.median / other.filter(|other| other.median > 0.0)?.median);
        let text = |ratio: Option<f64>| ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let (to_coturn, to_floor) = (ratio(coturn), ratio(floor));
        let verdict = figure.goal.verdict(ours.map(|ours| ours.median), to_coturn);
        step::say(&format!("{:<52}{columns}{:>10}{:>12}  {verdict}", figure.name, text(to_coturn), text(to_floor)));
    }
}

fn shown(summary: Option<Summary>) -> String {
    let Some(Summary { median, low, high, loss }) = summary else { return "–".to_owned() };
    let digits = if median >= 1_000.0 { 0 } else { 2 };
    let loss = loss.map_or_else(String::new, |loss| format!(" {:.1}%", loss * 100.0));
    format!("{median:.digits$} ({low:.digits$} – {high:.digits$}){loss}")
}

impl Goal {
    fn verdict(self, ours: Option<f64>, to_coturn: Option<f64>) -> String {
        let (promise, kept) = match self {
            Self::Less => return "less is better".to_owned(),
            Self::RatioAtMost(most) => (format!("at most {most:.2} of coturn"), to_coturn.map(|ratio| ratio <= most)),
            Self::RatioAtLeast(least) => {
                (format!("at least {least:.2} of coturn"), to_coturn.map(|ratio| ratio >= least))
            }
            Self::AtMost(most) => (format!("at most {most}"), ours.map(|ours| ours <= most)),
        };
        let kept = kept.map_or("not measured", |kept| if kept { "kept" } else { "MISSED" });
        format!("{promise}: {kept}")
    }
}

//! `cargo xtask bench transfer`: how fast files move, next to other programs, in one run.
//!
//! Every way moves the same files, once within one host over loopback and once between two hosts on a bridge of network
//! namespaces. The clock runs from the start of the sending command to its end (for pages: from the click to the last
//! check), so meeting and encryption are part of it. Processor time and memory are those of all processes in the
//! namespaces, whatever program they belong to.

mod pages;
mod place;
mod plain;
mod usage;
mod ways;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use self::place::{Lab, Place};
use self::usage::Outcome;
use self::ways::WAYS;
use crate::needs::{self, Need, need};
use crate::step::{self, Step};
use crate::{target_dir, web};

pub(crate) use plain::run as tcp_copy;

const NEEDED: &[Need] = &[
    need("ip", "iproute2"),
    need("rsync", "rsync"),
    need("sshd", "openssh-server"),
    need("scp", "openssh-client"),
    need("wormhole", "magic-wormhole"),
    // Its server is a plugin of `twist3`, and no program.
    need(
        "/usr/lib/python3/dist-packages/twisted/plugins/magic_wormhole_mailbox.py",
        "python3-magic-wormhole-mailbox-server",
    ),
    need("chromium", "chromium"),
];

/// What is moved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    name: &'static str,
    files: u64,
    bytes: u64,
}

const WHOLE: [Load; 2] = [
    Load { name: "one file of 2 GiB", files: 1, bytes: 2 << 30 },
    Load { name: "10 000 files of 10 kB", files: 10_000, bytes: 10_000 },
];

/// To see that everything runs; the figures mean little.
const QUICK: [Load; 2] = [
    Load { name: "one file of 64 MiB", files: 1, bytes: 64 << 20 },
    Load { name: "300 files of 10 kB", files: 300, bytes: 10_000 },
];

impl Load {
    fn total_bytes(&self) -> u64 {
        self.files * self.bytes
    }

    /// Makes the files in `folder`, and returns what is to be named to send them all.
    fn make(&self, folder: &Path) -> Result<PathBuf> {
        if self.files == 1 {
            let path = folder.join("large.bin");
            plain::write_random(&path, self.bytes)?;
            return Ok(path);
        }
        let root = folder.join("many");
        for number in 0..self.files {
            let path = root.join(format!("{:02}/{number}.dat", number % 100));
            std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
            plain::write_random(&path, self.bytes)?;
        }
        Ok(root)
    }
}

/// Runs everything and prints the table. `--quick`: small files, debug programs. `--no-pages`: without browsers.
pub(super) fn run(args: &[String]) -> Result<()> {
    let (mut quick, mut with_pages) = (false, true);
    for arg in args {
        match arg.as_str() {
            "--quick" => quick = true,
            "--no-pages" => with_pages = false,
            other => bail!("bench transfer takes --quick and --no-pages, not {other:?}"),
        }
    }
    needs::namespaces()?;
    needs::programs(&[NEEDED])?;
    let packages = ["--package", "lanyard", "--package", "lanyard-relay", "--package", "lanyard-tests"];
    web::build_if_stale()?;
    let profile: &[&str] = if quick { &["build", "--bins"] } else { &["build", "--release", "--bins"] };
    Step::new("build the programs", "cargo", profile).args(&packages).run()?;
    let programs = target_dir().join(if quick { "debug" } else { "release" });
    let scratch = Scratch::new()?;
    let loads = if quick { QUICK } else { WHOLE };
    for load in &loads {
        let source = load.make(&scratch.0)?;
        for place in [Place::Loopback, Place::Bridge] {
            let mut rows: Vec<(&str, Option<Outcome>)> = Vec::new();
            for way in &WAYS {
                step::say(&format!("{}, {}: {}", load.name, place.words(), way.name));
                let lab = Lab::new(&programs, place)?;
                let outcome = way.measure(&lab, &programs, &source, load);
                rows.push((way.name, told(way.name, outcome)));
            }
            if with_pages {
                rows.extend(pages::measure(&programs, place, &source)?);
            }
            print(load, place, &rows);
        }
    }
    Ok(())
}

/// A way that does not work here is left out of the table, and the reason told.
fn told(name: &str, outcome: Result<Outcome>) -> Option<Outcome> {
    match outcome {
        Ok(outcome) => Some(outcome),
        Err(error) => {
            step::say(&format!("{name}: {error:#}"));
            None
        }
    }
}

fn print(load: &Load, place: Place, rows: &[(&str, Option<Outcome>)]) {
    let bare = rows.first().and_then(|(_, outcome)| outcome.as_ref()).map(|outcome| outcome.rate(load));
    step::say(&format!("\n{}, {}", load.name, place.words()));
    let (way, rate, cpu, memory, ratio) = ("", "MB/s", "CPU-s/GB", "RSS MB", "of TCP");
    step::say(&format!("{way:<28}{rate:>10}{cpu:>10}{memory:>10}{ratio:>10}"));
    for (way, outcome) in rows {
        let Some(outcome) = outcome else {
            step::say(&format!("{way:<28}{:>10}", "–"));
            continue;
        };
        let rate = outcome.rate(load);
        let gigabytes = load.total_bytes() as f64 / 1e9;
        let cpu = outcome.cpu_seconds / gigabytes;
        let memory = outcome.resident_bytes as f64 / 1e6;
        let ratio = bare.map_or_else(|| "–".to_owned(), |bare| format!("{:.2}", rate / bare));
        step::say(&format!("{way:<28}{rate:>10.1}{cpu:>10.2}{memory:>10.0}{ratio:>10}"));
    }
    step::say("");
}

/// A folder that goes with this.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};

        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lanyard-bench-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

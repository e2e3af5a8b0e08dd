//! `cargo xtask bench turn`: what relaying costs, next to Debian's coturn in the same minutes on the same machine.
//!
//! Each server gets processor 0 for itself, the load generator the rest. Processor time is the server's own, user and
//! system, so a busy machine disturbs it little; what is counted per second it does disturb.

use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::needs::{self, Need, need};
use crate::step::{self, Step};
use crate::target_dir;

/// What is run besides our own.
const NEEDED: &[Need] = &[need("turnserver", "coturn"), need("taskset", "util-linux")];
const USER: &str = "bench";
const PASSWORD: &str = "bench-password";
/// Allocations that are made at once.
const ALLOCATIONS: &str = "5000";
/// Packets a second at which the search for the loss-free maximum starts.
const FIRST_RATE: f64 = 60_000.0;
/// From one rate to the next.
const RATE_STEP: f64 = 1.15;
/// Packets lost of which a rate still counts as free of loss.
const LOSS: f64 = 0.001;

/// A figure: what it is, how to get it, and whether less is better.
struct Figure {
    name: &'static str,
    load: &'static [&'static str],
    key: &'static str,
    less_is_better: bool,
}

const FIGURES: [Figure; 12] = [
    cost("single packets up, CPU-s per million", &["up"], "cpu_per_million"),
    cost("single packets down, CPU-s per million", &["down"], "cpu_per_million"),
    cost("trains of 16 up, CPU-s per million", &["up-trains"], "cpu_per_million"),
    cost("trains of 16 down, CPU-s per million", &["down-trains"], "cpu_per_million"),
    cost("client to client, CPU-s per million", &["between"], "cpu_per_million"),
    gain("allocations with a channel per second", &["allocate", ALLOCATIONS], "per_second"),
    cost("CPU-us per allocation", &["allocate", ALLOCATIONS], "cpu_microseconds"),
    cost("RSS KiB per allocation", &["allocate", ALLOCATIONS], "resident_kib"),
    cost("RSS KiB per allocation, after all ended", &["allocate", ALLOCATIONS], "resident_kib_after"),
    cost("bytes kept per unauthenticated request", &["flood"], "kept_bytes"),
    cost("CPU-us per unauthenticated request", &["flood"], "cpu_microseconds"),
    cost("bytes out per byte in, unauthenticated", &["flood"], "bytes_out_per_in"),
];

const fn cost(name: &'static str, load: &'static [&'static str], key: &'static str) -> Figure {
    Figure { name, load, key, less_is_better: true }
}

const fn gain(name: &'static str, load: &'static [&'static str], key: &'static str) -> Figure {
    Figure { name, load, key, less_is_better: false }
}

/// Runs everything for both servers and prints the table.
pub(crate) fn turn() -> Result<()> {
    needs::programs(&[NEEDED])?;
    let packages = ["--package", "lanyard-relay", "--package", "lanyard-tests"];
    Step::new("build server and load generator", "cargo", &["build", "--release", "--bins"]).args(&packages).run()?;
    let release = target_dir().join("release");
    let ours = measure("lanyard-relay", &Server::relay(&release)?, &release)?;
    let coturn = measure("coturn", &Server::coturn()?, &release)?;
    let (name, first, second, ratio) = ("", "Lanyard", "coturn", "ratio");
    step::say(&format!("\n{name:<46}{first:>12}{second:>12}{ratio:>8}"));
    for ((name, ours, less_is_better), (_, theirs, _)) in ours.iter().zip(&coturn) {
        let ratio = if *theirs > 0.0 { format!("{:.2}", ours / theirs) } else { "–".to_owned() };
        let better = if *less_is_better { "less is better" } else { "more is better" };
        step::say(&format!("{name:<46}{ours:>12.2}{theirs:>12.2}{ratio:>8}  {better}"));
    }
    Ok(())
}

/// A server that runs, and ends with this.
struct Server {
    child: Child,
    address: String,
    _dir: Option<Scratch>,
}

/// A folder that goes with this.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn relay(release: &Path) -> Result<Self> {
        let dir = Scratch(std::env::temp_dir().join(format!("lanyard-bench-{}", std::process::id())));
        std::fs::create_dir_all(&dir.0)?;
        let config = dir.0.join("relay.toml");
        std::fs::write(
            &config,
            format!(
                r#"
                drain_seconds = 0
                [http]
                listen = ["127.0.0.1:0"]
                [stun]
                listen = "127.0.0.1:0"
                [turn]
                peer_policy = "any"
                users = [{{ name = "{USER}", password = "{PASSWORD}" }}]
                allocations_per_user = 20000
                allocations_per_source = 20000
                allocations_per_network = 20000
                allocations = 20000
                megabits_per_user = 0
                "#
            ),
        )?;
        let mut child = pinned(&release.join("lanyard-relay").to_string_lossy())
            .arg("--config")
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .context("could not start lanyard-relay")?;
        let mut lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let port = line.split_once("stun:127.0.0.1:")?.1.split_once('"')?.0.to_owned();
            Some(format!("127.0.0.1:{port}"))
        });
        // Nobody reads on, but the pipe must stay open and empty.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, address: address.context("lanyard-relay did not say where it listens")?, _dir: Some(dir) })
    }

    fn coturn() -> Result<Self> {
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = pinned("turnserver")
            .args(["-n", "-L", "127.0.0.1", "-E", "127.0.0.1", "-p", &port.to_string()])
            .args(["--lt-cred-mech", "-r", "bench", "-u", &format!("{USER}:{PASSWORD}")])
            .args(["--no-tls", "--no-dtls", "--no-cli", "--allow-loopback-peers", "--no-stdout-log"])
            .args(["--log-file", "/dev/null", "--pidfile", "/dev/null", "--no-tcp", "-m", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("could not start turnserver")?;
        Ok(Self { child, address: format!("127.0.0.1:{port}"), _dir: None })
    }

    /// Waits until a Binding request is answered (RFC 8489 §5).
    fn wait_until_it_answers(&self) -> Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            socket.send_to(b"\x00\x01\x00\x00\x21\x12\xa4\x42lanyardbench", &self.address)?;
            if socket.recv(&mut [0; 512]).is_ok() {
                return Ok(());
            }
        }
        bail!("the server at {} does not answer", self.address)
    }

    fn load(&self, release: &Path, load: &[&str]) -> Result<Value> {
        let output = Command::new("taskset")
            .args(["-c", &other_processors()])
            .arg(release.join("turn-load"))
            .args([self.address.as_str(), &self.child.id().to_string(), USER, PASSWORD])
            .args(load)
            .output()
            .context("could not start turn-load")?;
        if !output.status.success() {
            bail!("turn-load {}: {}", load.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("turn-load printed no JSON")
    }

    /// The highest rate at which nothing is lost, in packets a second.
    fn loss_free_maximum(&self, release: &Path) -> Result<f64> {
        let (mut best, mut rate, mut misses) = (0.0, FIRST_RATE, 0);
        // Another program may have taken the processor for a moment, so one miss is none.
        while misses < 2 && rate < 2e6 {
            let outcome = self.load(release, &["up-at", &format!("{rate:.0}")])?;
            let loss = number(&outcome, "loss")?;
            let per_second = number(&outcome, "per_second")?;
            if loss < LOSS && per_second > rate * 0.9 {
                (best, misses) = (per_second.max(best), 0);
                rate *= RATE_STEP;
            } else {
                misses += 1;
            }
        }
        Ok(best)
    }
}

/// All processors but the server's, as `taskset` takes them. On a machine with one they share it.
fn other_processors() -> String {
    match std::thread::available_parallelism().map_or(1, usize::from) {
        1 => "0".to_owned(),
        count => format!("1-{}", count - 1),
    }
}

/// A program on processor 0, with as many files as the system lets it have.
fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", "sh", "-c", r#"ulimit -n "$(ulimit -Hn)"; exec "$@""#, "sh", program]);
    command
}

fn number(value: &Value, key: &str) -> Result<f64> {
    value.get(key).and_then(Value::as_f64).with_context(|| format!("turn-load did not print {key}"))
}

fn measure(name: &str, server: &Server, release: &Path) -> Result<Vec<(String, f64, bool)>> {
    server.wait_until_it_answers()?;
    let mut rows = Vec::new();
    let mut last: Option<(&[&str], Value)> = None;
    for figure in &FIGURES {
        let outcome = match last.take() {
            Some((load, outcome)) if load == figure.load => outcome,
            _ => {
                step::say(&format!("{name}: {}", figure.load.join(" ")));
                server.load(release, figure.load)?
            }
        };
        rows.push((figure.name.to_owned(), number(&outcome, figure.key)?, figure.less_is_better));
        last = Some((figure.load, outcome));
    }
    step::say(&format!("{name}: the highest rate without loss"));
    rows.push(("packets per second without loss".to_owned(), server.loss_free_maximum(release)?, false));
    Ok(rows)
}

//! A server under test, alone on processor 0, and the load generator on the others.

use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

const USER: &str = "bench";
const PASSWORD: &str = "bench-password";
/// Packets a second at which the search for the loss-free maximum starts.
const FIRST_RATE: f64 = 60_000.0;
/// From one rate to the next while searching.
const RATE_STEP: f64 = 1.3;
/// How close to the true maximum the search comes.
const PRECISION: f64 = 1.04;
/// Packets lost of which a rate still counts as free of loss.
pub(super) const LOSS: f64 = 0.001;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Ours, as it is delivered.
    Relay,
    /// Ours, with `gather_microseconds = 0`.
    RelayAtOnce,
    /// Ours, with four workers, which share the processor.
    RelayOfFour,
    /// Debian's coturn.
    Coturn,
    /// A forwarder that does nothing else.
    Forwarder,
    /// The same with UDP GRO and GSO.
    ForwarderOfTrains,
}

/// A server that runs, and ends with this.
pub(super) struct Server {
    child: Child,
    address: String,
    user: &'static str,
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
    pub(super) fn start(kind: Kind, release: &Path) -> Result<Self> {
        let server = match kind {
            Kind::Relay => Self::relay(release, "")?,
            Kind::RelayAtOnce => Self::relay(release, "gather_microseconds = 0")?,
            Kind::RelayOfFour => Self::relay(release, "workers = 4")?,
            Kind::Coturn => Self::coturn()?,
            Kind::Forwarder => Self::forwarder(release, &[])?,
            Kind::ForwarderOfTrains => Self::forwarder(release, &["trains"])?,
        };
        if !server.user.is_empty() {
            server.wait_until_it_answers()?;
        }
        Ok(server)
    }

    fn relay(release: &Path, turn: &str) -> Result<Self> {
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
                {turn}
                "#
            ),
        )?;
        let mut child = pinned("0", &release.join("lanyard-relay").to_string_lossy())
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
        let address = address.context("lanyard-relay did not say where it listens")?;
        Ok(Self { child, address, user: USER, _dir: Some(dir) })
    }

    fn coturn() -> Result<Self> {
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = pinned("0", "turnserver")
            .args(["-n", "-L", "127.0.0.1", "-E", "127.0.0.1", "-p", &port.to_string()])
            .args(["--lt-cred-mech", "-r", "bench", "-u", &format!("{USER}:{PASSWORD}")])
            .args(["--no-tls", "--no-dtls", "--no-cli", "--allow-loopback-peers", "--no-stdout-log"])
            .args(["--log-file", "/dev/null", "--pidfile", "/dev/null", "--no-tcp", "-m", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("could not start turnserver")?;
        Ok(Self { child, address: format!("127.0.0.1:{port}"), user: USER, _dir: None })
    }

    fn forwarder(release: &Path, args: &[&str]) -> Result<Self> {
        let mut child = pinned("0", &release.join("udp-forward").to_string_lossy())
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start udp-forward")?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned(), user: "", _dir: None })
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

    /// Puts a load on it.
    pub(super) fn load(&self, release: &Path, load: &[&str]) -> Result<Value> {
        let output = pinned(&other_processors(), &release.join("turn-load").to_string_lossy())
            .args([self.address.as_str(), &self.child.id().to_string(), self.user, PASSWORD])
            .args(load)
            .output()
            .context("could not start turn-load")?;
        if !output.status.success() {
            bail!("turn-load {}: {}", load.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("turn-load printed no JSON")
    }

    /// The highest rate at which nothing is lost, in packets a second, both directions counted. Steps up until that
    /// fails, then halves the gap.
    pub(super) fn loss_free_maximum(&self, release: &Path) -> Result<Value> {
        let mut best = serde_json::json!({ "per_second": 0.0, "loss": 0.0 });
        let (mut good, mut bad) = (0.0, f64::MAX);
        let mut rate = FIRST_RATE;
        while rate < 4e6 && (good == 0.0 || bad / good > PRECISION) {
            // Another program may have taken the processor for a moment, so one miss is none.
            let passed = match self.echo_at(release, rate)? {
                None => self.echo_at(release, rate)?,
                passed => passed,
            };
            match passed {
                Some(outcome) => (best, good) = (outcome, rate),
                None => bad = rate,
            }
            if bad < FIRST_RATE / 16.0 {
                break;
            }
            rate = match (good > 0.0, bad < f64::MAX) {
                (_, false) => rate * RATE_STEP,
                (true, true) => (good * bad).sqrt(),
                (false, true) => rate / 2.0,
            };
        }
        Ok(best)
    }

    /// Half as many round trips a second, each two packets. `None` when some were lost.
    fn echo_at(&self, release: &Path, rate: f64) -> Result<Option<Value>> {
        let outcome = self.load(release, &["echo", &format!("{:.0}", rate / 2.0)])?;
        let passed = number(&outcome, "loss")? < LOSS && number(&outcome, "offered_per_second")? > rate * 0.97;
        Ok(passed.then_some(outcome))
    }
}

/// A number that `turn-load` printed.
pub(super) fn number(value: &Value, key: &str) -> Result<f64> {
    value.get(key).and_then(Value::as_f64).with_context(|| format!("turn-load did not print {key}"))
}

/// All processors but the server's, as `taskset` takes them. On a machine with one they share it.
fn other_processors() -> String {
    match std::thread::available_parallelism().map_or(1, usize::from) {
        1 => "0".to_owned(),
        count => format!("1-{}", count - 1),
    }
}

/// A program on these processors, before all others there where the system allows that (so that what else runs on the
/// machine disturbs little), and with as many files as the system lets it have.
fn pinned(processors: &str, program: &str) -> Command {
    let start = r#"ulimit -n "$(ulimit -Hn)"
        chrt --rr 5 true 2>/dev/null && exec chrt --rr 5 "$@"
        exec "$@""#;
    let mut command = Command::new("taskset");
    command.args(["-c", processors, "sh", "-c", start, "sh", program]);
    command
}

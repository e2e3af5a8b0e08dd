//! Load on a TURN server, and what it cost: processor time is read from the server's process.
//!
//! The generator is one thread on a processor of its own. It never waits: what is due is sent in small portions, and
//! between two portions everything that arrived is taken, so that a loss is the server's and not the generator's.

mod allocations;
mod echo;
mod field;
mod flood;
mod wire;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::process::cpu_seconds;
pub use allocations::AllocationCost;
pub use echo::Echoed;
use field::{Field, Sender};
pub use flood::FloodCost;
use wire::Wire;

/// Rounds of sending between two looks at what arrived.
const ROUNDS: usize = 8;
/// Time before measuring starts.
const WARM_UP: Duration = Duration::from_millis(300);
/// Silence after which nothing more is on its way; the server may be a full buffer behind.
const SILENCE: Duration = Duration::from_millis(100);

/// A server under load.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub server: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// What it speaks.
    pub service: Service,
}

/// What a server speaks.
#[derive(Debug, Clone)]
pub enum Service {
    /// TURN, with a user it knows, under policy `any`.
    Turn {
        /// The user.
        username: String,
        /// The user's password.
        password: String,
    },
    /// Nothing: it forwards (see [`super::forwarder`]).
    Forwarder,
}

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From clients to a peer.
    Up,
    /// From a peer to clients.
    Down,
    /// From clients to other clients, by their relayed addresses.
    Between,
}

/// A load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Which way.
    pub direction: Direction,
    /// Clients; pairs of them for [`Direction::Between`].
    pub sessions: usize,
    /// Bytes of a payload.
    pub payload_bytes: usize,
    /// Whether packets come in trains, and trains are taken.
    pub trains: bool,
    /// Packets offered in a second; 0 for as many as possible.
    pub rate: u64,
    /// How long.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Packets sent to the server.
    pub offered: u64,
    /// Packets that came out of it.
    pub delivered: u64,
    /// Processor seconds of the server.
    pub cpu_seconds: f64,
    /// Seconds it took.
    pub seconds: f64,
}

impl Outcome {
    /// Processor seconds for a million packets delivered.
    #[must_use]
    pub fn cpu_per_million(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.delivered.max(1) as f64
    }

    /// Share of packets that were lost. Backlogged, this is what the server could not take.
    #[must_use]
    pub fn loss(&self) -> f64 {
        (1.0 - self.delivered as f64 / self.offered.max(1) as f64).max(0.0)
    }
}

impl Target {
    /// Runs a load.
    ///
    /// # Errors
    /// The server refuses the sessions, or is gone.
    pub fn run(&self, load: Load) -> Result<Outcome> {
        let field = Field::lay_out(self, &load)?;
        let mut wire = Wire::new(&field.receivers, load.trains)?;
        drive(&field, &load, &mut wire, Instant::now() + WARM_UP)?;
        // What is left of it must not count as delivered.
        settle(&mut wire)?;
        let (cpu, started) = (cpu_seconds(self.pid)?, Instant::now());
        let (offered, mut bytes) = drive(&field, &load, &mut wire, started + load.duration)?;
        let seconds = started.elapsed().as_secs_f64();
        bytes += settle(&mut wire)?;
        let cpu_seconds = cpu_seconds(self.pid)? - cpu;
        let delivered = bytes / field.arriving_bytes.max(1) as u64;
        field.release();
        Ok(Outcome { offered, delivered, cpu_seconds, seconds })
    }
}

/// Sends and takes until the time is over. Returns packets sent and bytes that arrived.
fn drive(field: &Field, load: &Load, wire: &mut Wire<'_>, until: Instant) -> Result<(u64, u64)> {
    let started = Instant::now();
    let (mut offered, mut arrived) = (0, 0);
    let mut now = started;
    while now < until {
        let due = ((now - started).as_secs_f64() * load.rate as f64) as u64;
        if load.rate == 0 || offered < due {
            for _ in 0..if load.trains || load.rate > 0 { 1 } else { ROUNDS } {
                for sender in &field.senders {
                    offered += wire.send(sender, load.trains)?;
                }
            }
        }
        arrived += wire.take()?;
        now = Instant::now();
    }
    Ok((offered, arrived))
}

/// Takes what is still on its way; the bytes of it.
fn settle(wire: &mut Wire<'_>) -> Result<u64> {
    let (mut bytes, mut quiet) = (0, Instant::now());
    while quiet.elapsed() < SILENCE {
        let more = wire.take()?;
        bytes += more;
        if more > 0 {
            quiet = Instant::now();
        } else {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(bytes)
}

/// Allows this process as many files as the system lets it.
///
/// # Errors
/// The system does not say.
pub fn raise_file_limit() -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(())
}

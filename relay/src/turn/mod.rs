//! STUN and TURN: sockets around `lanyard-turn-core`.
//!
//! A thread owns a machine and its UDP sockets (`worker`, `net`): it waits with epoll, reads many datagrams in one call
//! (`datagrams`), lets the machine decide about each, and sends what results in few calls (`outgoing`). Clients over TCP
//! and TLS are served by async tasks, which hand whole messages to that thread through a bounded queue (`control`) and
//! write what comes back (`stream_queue`). Signaling tells it which credentials belong together (`ice`). There may be
//! several such threads, each for the clients that are steered to it (`steering`); what they must know together is in the
//! machine's ledger.

#[cfg(target_os = "linux")]
mod batch;
pub(crate) mod config;
mod control;
mod datagrams;
pub(crate) mod discovery;
mod host;
mod ice;
mod icmp;
mod net;
mod outgoing;
mod pace;
mod poller;
mod snapshot;
mod sockets;
mod steering;
pub(crate) mod stream;
mod stream_queue;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use lanyard_turn_core::{Ledger, Server, SharedSecret};
use tokio::sync::watch;
use tracing::{error, warn};

use crate::config::StunConfig;
#[cfg(target_os = "linux")]
pub use batch::ManySources;
use config::TurnConfig;
pub(crate) use control::Controller;
use control::{Bell, Inlet, Line, Rules};
pub(crate) use host::AddressBook;
use host::{Addresses, HostAddresses};
pub(crate) use ice::{TurnIce, TurnPorts};
use net::Net;
use pace::Pace;
use poller::Poller;
pub(crate) use snapshot::Snapshot;
use sockets::{Binder, Door, Listener};
use steering::Steering;
use stream::StreamDoor;
use worker::Worker;

/// Bytes of the secret that signaling mints credentials with; drawn at each start.
const SECRET_BYTES: usize = 32;

/// A running STUN and TURN server. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) address: SocketAddr,
    pub(crate) controller: Controller,
    pub(crate) addresses: AddressBook,
    secret: SharedSecret,
    stop_streams: watch::Sender<bool>,
    _crew: Crew,
}

/// The workers' threads. They end with this.
#[derive(Debug, Default)]
struct Crew {
    lines: Vec<Line>,
    threads: Vec<JoinHandle<()>>,
}

impl Turn {
    /// Binds and serves.
    pub(crate) fn start(stun: &StunConfig, turn: &TurnConfig) -> io::Result<Self> {
        let steering = Steering::new(turn.worker_count(), rand::random());
        let binder = Binder { data_plane: turn.data_plane, steering };
        let (doors, discovery) = match stun.alternate {
            Some(alternate) => {
                let (doors, discovery) = binder.discovery(stun.listen, alternate, stun.port_tries)?;
                (doors, Some(discovery))
            }
            None => (binder.doors(stun.listen, stun.port_tries)?, None),
        };
        let address = doors.first().map_or(stun.listen, |door| door.local);
        let secret = SharedSecret::new(rand::random::<[u8; SECRET_BYTES]>());
        let relays = turn.enabled;
        let mut host = HostAddresses::new(stun.listen.ip(), &turn.relay_addresses, &turn.external_addresses);
        let Addresses { relay: relay_addresses, own: own_addresses } = host.changed().unwrap_or_default();
        let config = lanyard_turn_core::Config {
            realm: turn.realm.clone(),
            secrets: if relays { turn.shared_secrets(&secret) } else { Vec::new() },
            users: if relays { turn.static_users() } else { Vec::new() },
            relay_addresses: if relays { relay_addresses } else { Vec::new() },
            own_addresses,
            peer_policy: turn.peer_policy.into(),
            limits: turn.limits(),
            dont_fragment: turn.data_plane.is_batched(),
            discovery,
        };
        config.check().map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        if let Err(error) = raise_file_limit() {
            warn!(%error, "the number of allocations is limited by that of open files");
        }
        let ledger = (steering.workers() > 1).then(|| Ledger::new(rand::random(), Instant::now()));
        let mut crew = Crew::default();
        let mut plans = Vec::new();
        for listeners in by_worker(doors) {
            let (poller, waker) = Poller::new(turn.data_plane)?;
            let (line, inlet) = control::channel(Arc::new(Bell::new(waker)));
            crew.lines.push(line);
            plans.push(Plan { config: config.clone(), ledger: ledger.clone(), listeners, poller, inlet });
        }
        for (number, plan) in plans.into_iter().enumerate() {
            crew.threads.push(plan.start(number, turn, Together(crew.lines.clone()))?);
        }
        let controller = Controller::new(crew.lines.clone(), steering);
        let addresses = AddressBook::new(host, controller.clone());
        Ok(Self { address, controller, addresses, secret, stop_streams: watch::Sender::new(false), _crew: crew })
    }

    /// What mints credentials for members of mailboxes.
    pub(crate) fn ice_provider(&self, tcp: Option<u16>, tls: Option<u16>) -> TurnIce {
        let ports = TurnPorts { udp: self.address.port(), tcp, tls };
        TurnIce::new(ports, self.secret.clone(), self.controller.clone())
    }

    /// Changes secrets, users, policy and limits. What is still allowed goes on without a gap, all else is cut.
    pub(crate) async fn reload(&self, turn: &TurnConfig) {
        let rules = Rules {
            secrets: if turn.enabled { turn.shared_secrets(&self.secret) } else { Vec::new() },
            users: if turn.enabled { turn.static_users() } else { Vec::new() },
            peer_policy: turn.peer_policy.into(),
            limits: turn.limits(),
            alternate: turn.alternate(),
        };
        self.controller.reload(&rules).await;
    }

    /// Where clients over TCP and TLS come in.
    pub(crate) fn stream_door(&self) -> StreamDoor {
        StreamDoor::new(self.controller.clone(), self.stop_streams.subscribe())
    }

    /// Ends the clients over TCP and TLS.
    pub(crate) fn stop_streams(&self) {
        self.stop_streams.send_replace(true);
    }
}

/// What a worker is made of.
struct Plan {
    config: lanyard_turn_core::Config,
    /// With the other workers, where there are any.
    ledger: Option<Ledger>,
    listeners: Vec<Listener>,
    poller: Poller,
    inlet: Inlet,
}

impl Plan {
    /// Starts its thread, and waits until it works.
    fn start(self, number: usize, turn: &TurnConfig, together: Together) -> io::Result<JoinHandle<()>> {
        let Self { config, ledger, listeners, poller, inlet } = self;
        let (data_plane, ports) = (turn.data_plane, turn.ports());
        let (pause, alternate) = (turn.pause(), turn.alternate());
        // All threads share one table.
        let most_files = if number == 0 { turn.allocations } else { 0 };
        let (started, starting) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("turn-{number}")).spawn(move || {
            let _together = together;
            widen_file_table(most_files);
            let (seed, now) = (rand::random(), Instant::now());
            let server = match ledger {
                Some(ledger) => Server::with_ledger(config, seed, now, ledger),
                None => Server::new(config, seed, now),
            };
            let (net, outcome) = match Net::new(data_plane, poller, listeners, ports) {
                Ok(net) => (Some(net), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Who waits for it is there.
            let _ = started.send(outcome);
            if let Some(net) = net {
                Worker::new(server, net, data_plane, inlet, Pace::new(pause), alternate).run();
            }
        })?;
        starting.recv().map_err(io::Error::other)??;
        Ok(thread)
    }
}

/// Ends all workers when one ends: the system would hand its clients to others that know nothing of them.
struct Together(Vec<Line>);

impl Drop for Together {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!("STUN and TURN do not work any more; restart to have them back");
        }
        self.0.iter().for_each(Line::stop);
    }
}

/// The listeners of each worker: one of each door.
fn by_worker(doors: Vec<Door>) -> Vec<Vec<Listener>> {
    let mut workers: Vec<Vec<Listener>> = Vec::new();
    for (number, listener) in doors.into_iter().flat_map(|door| door.listeners.into_iter().enumerate()) {
        match workers.get_mut(number) {
            Some(listeners) => listeners.push(listener),
            None => workers.push(vec![listener]),
        }
    }
    workers
}

/// Each allocation is a file, and the usual limit is one for programs with a handful.
#[cfg(unix)]
fn raise_file_limit() -> io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn raise_file_limit() -> io::Result<()> {
    Ok(())
}

/// Has the kernel make its table of this process's files as long as all allocations need, once. Left alone it doubles the
/// table again and again as they come, and waits each time until no other thread can still be looking at the old one:
/// milliseconds, in which no packet is relayed.
#[cfg(target_os = "linux")]
fn widen_file_table(allocations: u32) {
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::sys::resource::{Resource, getrlimit};
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    let last = u64::from(allocations).min(limit.saturating_sub(1));
    let Ok(last) = i32::try_from(last) else { return };
    // A table that stays short only costs time.
    if let Ok(copy) = fcntl(io::stderr(), FcntlArg::F_DUPFD_CLOEXEC(last)) {
        let _ = nix::unistd::close(copy);
    }
}

#[cfg(not(target_os = "linux"))]
fn widen_file_table(_: u32) {}

impl Drop for Turn {
    fn drop(&mut self) {
        self.stop_streams();
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.lines.iter().for_each(Line::stop);
        for thread in self.threads.drain(..) {
            // It panicked, which its own message says.
            let _ = thread.join();
        }
    }
}

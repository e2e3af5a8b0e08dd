//! A relay from start to end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lanyard_signaling::{Fronted, Server};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::AgentToken;
use crate::acme::Certifier;
use crate::config::{Config, ConfigError};
use crate::http::{AppState, ExtraRoutes, Guard, Page, router};
use crate::ice::{IceProvider, StunOnly};
use crate::lane::Lanes;
use crate::listener::{self, Front, Places, Purpose};
use crate::metrics::Metrics;
use crate::switchboard::{FrontedCall, Switchboard};
use crate::tls::{Identity, IdentityError};
use crate::turn::{Controller, Turn, discovery};

/// How often a stopping relay looks whether its connections are gone.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// The same for what is relayed, and the packets in that time from which on it is no mere keeping alive.
const TURN_LOOK: Duration = Duration::from_millis(250);
const BUSY_PACKETS: u64 = 20;

/// Why a relay does not start. Nothing is left open.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An address cannot be listened on. [`io::ErrorKind::AddrInUse`] when all tried ports are taken.
    #[error("cannot listen on {address} ({what}): {source}")]
    Bind {
        /// `http`, `https`, `STUN and TURN`, `TURN over TCP` or `TURN over TLS`.
        what: &'static str,
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A relay that is to start: a configuration, and what an embedding program adds.
pub struct Relay {
    config: Config,
    page: Option<Page>,
    routes: ExtraRoutes,
}

impl Relay {
    /// A relay with the page of this build and no routes of its own.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, page: None, routes: ExtraRoutes::default() }
    }

    /// Serves another page.
    #[must_use]
    pub fn with_page(mut self, page: Page) -> Self {
        self.page = Some(page);
        self
    }

    /// Adds routes behind the same checks of `Host`, and of `Origin`, `Sec-Fetch-Site` and `X-Lanyard: 1` for methods
    /// that change something. They must not have a fallback or a route that the relay has.
    #[must_use]
    pub fn with_routes(mut self, routes: axum::Router) -> Self {
        self.routes.checked = Some(routes);
        self
    }

    /// Adds routes whose addresses hold a secret that nobody can guess. `Host` is checked, and `Origin` and
    /// `Sec-Fetch-Site` where a browser sends them; `X-Lanyard: 1` is not asked for, as programs do not send it. Their
    /// handlers find the [`crate::ClientIp`] among the request's extensions. No fallback, and no route that the relay has.
    #[must_use]
    pub fn with_secret_routes(mut self, routes: axum::Router) -> Self {
        self.routes.secret = Some(routes);
        self
    }

    /// Starts a relay without additions. The same as `Relay::new(config).run()`.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<RelayHandle, StartError> {
        Self::new(config).run().await
    }

    /// Opens everything and serves until [`RelayHandle::shutdown`], or until the handle is dropped.
    ///
    /// # Errors
    /// See [`StartError`].
    #[expect(clippy::unused_async, reason = "it must run inside a runtime, and says so by its type")]
    pub async fn run(self) -> Result<RelayHandle, StartError> {
        let Self { config, page, routes } = self;
        config.check()?;
        let (identity, certifier) = identify(&config)?;
        let metrics = Arc::new(Metrics::default());
        let http = open("http", &config.http.listen, config.http.port_tries)?;
        let https = match &identity {
            Some(_) => open("https", &config.tls.listen, config.http.port_tries)?,
            None => Vec::new(),
        };
        let turn = start_turn(&config)?;
        let stun_address = turn.as_ref().map(|turn| turn.address);
        let relaying = turn.as_ref().filter(|_| config.turn.enabled);
        let turn_tcp = match relaying {
            Some(turn) if config.turn.tcp => open_turn_tcp(turn.address, config.stun.listen)?,
            _ => Vec::new(),
        };
        let turn_tls = match (relaying, &identity) {
            (Some(_), Some(_)) => open("TURN over TLS", &config.turn.tls_listen, config.stun.port_tries)?,
            _ => Vec::new(),
        };
        let ice: Box<dyn IceProvider> = match relaying {
            Some(turn) => {
                // The port of the page gets through more firewalls than any other.
                let tls = first_port(&https).or_else(|| first_port(&turn_tls));
                Box::new(turn.ice_provider(first_port(&turn_tcp), tls))
            }
            None => Box::new(StunOnly { port: stun_address.map(|address| address.port()) }),
        };
        let server = Server::new(config.signaling.limits(), rand::random());
        let lanes = Lanes::new(config.lanes.clone());
        let (switchboard, calls) = Switchboard::start(server, ice, lanes.clone(), Arc::clone(&metrics));
        let agent_token = AgentToken::draw();
        let state = Arc::new(AppState {
            guard: Guard::new(&config.hosts(), &config.http.origins, &config.http.trusted_proxies),
            page: page.unwrap_or_else(Page::embedded),
            switchboard: switchboard.clone(),
            lanes,
            metrics: Arc::clone(&metrics),
            metrics_access: config.metrics,
            agent_token: agent_token.clone(),
            signaling: config.signaling.clone(),
            stun_host: config.stun.host.clone(),
            identity: identity.clone(),
            turn: turn.as_ref().map(|turn| turn.controller.clone()),
        });
        let (stop, stopping) = watch::channel(false);
        let connections = Arc::new(Places::new(config.http.connections, config.http.connections_per_source));
        let proxies = Arc::clone(&state);
        let front = Arc::new(Front {
            router: router(Arc::clone(&state), routes),
            metrics,
            connections: Arc::clone(&connections),
            handshakes: Front::handshake_places(),
            is_exempt: Box::new(move |ip| proxies.guard.is_trusted_proxy(ip)),
            turn: relaying.map(Turn::stream_door),
            stopping,
        });
        let http_addresses = addresses(&http);
        let https_addresses = addresses(&https);
        let turn_tcp_addresses = addresses(&turn_tcp);
        let turn_tls_addresses = addresses(&turn_tls);
        let kinds = [
            (http, Purpose::Web, None),
            (https, Purpose::Web, identity.clone()),
            (turn_tcp, Purpose::Turn, None),
            (turn_tls, Purpose::Turn, identity.clone()),
        ];
        let mut tasks: Vec<_> = kinds
            .into_iter()
            .flat_map(|(listeners, purpose, identity)| {
                listeners.into_iter().map(move |listener| (listener, purpose, identity.clone()))
            })
            .map(|(listener, purpose, identity)| {
                tokio::spawn(listener::run(listener, purpose, identity, Arc::clone(&front)))
            })
            .collect();
        if let (Some(turn), Some(server)) = (relaying, &config.turn.stun_server) {
            let every = Duration::from_secs(config.turn.stun_server_seconds);
            tasks.push(tokio::spawn(discovery::run(server.clone(), every, turn.addresses.clone())));
        }
        tasks.extend(turn.as_ref().map(|turn| tokio::spawn(turn.addresses.clone().watch())));
        // It proves itself on the listeners, so they come first.
        tasks.extend(certifier.map(|certifier| tokio::spawn(certifier.run())));
        Ok(RelayHandle {
            http_addresses,
            https_addresses,
            stun_address,
            turn_tcp_addresses,
            turn_tls_addresses,
            agent_token,
            state,
            switchboard,
            calls,
            identity,
            stop,
            connections,
            drain: Duration::from_secs(config.drain_seconds),
            tasks,
            turn,
        })
    }
}

/// A running relay. Dropping it stops listening; [`RelayHandle::shutdown`] also lets connections end well.
#[derive(Debug)]
pub struct RelayHandle {
    http_addresses: Vec<SocketAddr>,
    https_addresses: Vec<SocketAddr>,
    stun_address: Option<SocketAddr>,
    turn_tcp_addresses: Vec<SocketAddr>,
    turn_tls_addresses: Vec<SocketAddr>,
    agent_token: AgentToken,
    state: Arc<AppState>,
    switchboard: Switchboard,
    calls: mpsc::Receiver<FrontedCall>,
    identity: Option<Arc<Identity>>,
    stop: watch::Sender<bool>,
    connections: Arc<Places>,
    drain: Duration,
    tasks: Vec<JoinHandle<()>>,
    turn: Option<Turn>,
}

impl RelayHandle {
    /// Where http is listened on, with the ports that were really taken.
    #[must_use]
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.http_addresses
    }

    /// Where https is listened on; empty without a certificate.
    #[must_use]
    pub fn https_addresses(&self) -> &[SocketAddr] {
        &self.https_addresses
    }

    /// Where TURN over TCP is listened on, besides the addresses of the page.
    #[must_use]
    pub fn turn_tcp_addresses(&self) -> &[SocketAddr] {
        &self.turn_tcp_addresses
    }

    /// Where TURN over TLS is listened on, besides the addresses of the page.
    #[must_use]
    pub fn turn_tls_addresses(&self) -> &[SocketAddr] {
        &self.turn_tls_addresses
    }

    /// Where STUN is listened on over UDP, and TURN unless it is switched off; if at all.
    #[must_use]
    pub fn stun_address(&self) -> Option<SocketAddr> {
        self.stun_address
    }

    /// What the agent in this process sends in [`crate::AGENT_TOKEN_HEADER`] when it connects over loopback.
    #[must_use]
    pub fn agent_token(&self) -> &AgentToken {
        &self.agent_token
    }

    /// Whether there is a page to serve.
    #[must_use]
    pub fn has_page(&self) -> bool {
        self.state.page.is_built()
    }

    /// Replaces the host names that are ours, for example when mDNS had to choose another one.
    pub fn set_hosts(&self, hosts: &[String]) {
        self.state.guard.set_hosts(hosts);
    }

    /// Replaces the other devices that this process can reach for its pages: listed as `mdns`, and dialled through
    /// [`RelayHandle::next_fronted_call`]. At most 128 are kept.
    pub async fn set_fronted(&self, devices: Vec<Fronted>) {
        self.switchboard.front(devices).await;
    }

    /// Waits for somebody to dial a fronted device. Answer within 10 seconds. Cancel-safe.
    pub async fn next_fronted_call(&mut self) -> Option<FrontedCall> {
        self.calls.recv().await
    }

    /// How many WebSockets are open that are not the agent's own, and each change of that.
    #[must_use]
    pub fn connected_pages(&self) -> watch::Receiver<usize> {
        self.switchboard.pages()
    }

    /// Reads certificate and key again, for connections from now on. Without https it does nothing.
    ///
    /// # Errors
    /// They cannot be used; the old ones stay.
    pub fn reload_certificate(&self) -> Result<(), IdentityError> {
        self.identity.as_ref().map_or(Ok(()), |identity| identity.reload())
    }

    /// Takes over what may change while running: certificate and key, read again from where they were, and secrets,
    /// users, policy and limits of TURN. Allowed connections go on without a gap, those no longer allowed are cut.
    /// Everything else in `config` is ignored.
    ///
    /// # Errors
    /// The certificate cannot be used: the old one stays, and the rest is taken over.
    pub async fn reload(&self, config: &Config) -> Result<(), IdentityError> {
        if let Some(turn) = &self.turn {
            turn.reload(&config.turn).await;
        }
        self.reload_certificate()
    }

    /// Stops listening, tells every WebSocket, lets answers under way end and what is being relayed go on, and waits for
    /// that at most [`Config::drain_seconds`]. Says whether all ended in time.
    pub async fn shutdown(self) -> bool {
        self.stop.send_replace(true);
        self.switchboard.stop().await;
        self.state.lanes.stop();
        let deadline = tokio::time::Instant::now() + self.drain;
        let mut is_relaying = false;
        if let Some(turn) = &self.turn {
            is_relaying = !drain_turn(&turn.controller, deadline).await;
            turn.stop_streams();
        }
        loop {
            let sockets = self.state.metrics.open_sockets();
            let connections = self.connections.taken();
            if sockets == 0 && connections == 0 {
                if is_relaying {
                    warn!("stopped while packets were still relayed");
                } else {
                    info!("all connections ended");
                }
                return !is_relaying;
            }
            if tokio::time::Instant::now() >= deadline {
                warn!(sockets, connections, "stopped with connections still open");
                return false;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn open(what: &'static str, addresses: &[SocketAddr], port_tries: u16) -> Result<Vec<TcpListener>, StartError> {
    let bind = |address: &SocketAddr| {
        listener::bind_tcp(*address, port_tries).map_err(|source| StartError::Bind { what, address: *address, source })
    };
    addresses.iter().map(bind).collect()
}

/// The certificate from files, or by ACME with what keeps it supplied.
fn identify(config: &Config) -> Result<(Option<Arc<Identity>>, Option<Certifier>), StartError> {
    if let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) {
        return Ok((Some(Arc::new(Identity::load(certificate, key)?)), None));
    }
    if !config.tls.acme.is_on() {
        return Ok((None, None));
    }
    let opened = Certifier::open(config.tls.acme.clone());
    let (certifier, identity) = opened.map_err(|error| ConfigError::Unusable {
        key: "tls.acme",
        problem: format!("{error}; set tls.acme.state to a directory that the relay may write"),
    })?;
    Ok((Some(identity), Some(certifier)))
}

fn start_turn(config: &Config) -> Result<Option<Turn>, StartError> {
    if !config.stun.enabled {
        return Ok(None);
    }
    let address = config.stun.listen;
    let turn = Turn::start(&config.stun, &config.turn);
    turn.map(Some).map_err(|source| StartError::Bind { what: "STUN and TURN", address, source })
}

/// TCP at the port that UDP got. Somebody else may have it; then TURN goes without.
fn open_turn_tcp(udp: SocketAddr, configured: SocketAddr) -> Result<Vec<TcpListener>, StartError> {
    let address = SocketAddr::new(configured.ip(), udp.port());
    match listener::bind_tcp(address, 1) {
        Ok(listener) => Ok(vec![listener]),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            warn!(%address, "TURN is not available over TCP: something else listens there");
            Ok(Vec::new())
        }
        Err(source) => Err(StartError::Bind { what: "TURN over TCP", address, source }),
    }
}

fn first_port(listeners: &[TcpListener]) -> Option<u16> {
    addresses(listeners).first().map(SocketAddr::port)
}

/// Waits while anything is being relayed, until the deadline at most. ICE keeps idle paths alive with a packet now and
/// then, which does not count. Says whether it ended in time.
async fn drain_turn(turn: &Controller, deadline: tokio::time::Instant) -> bool {
    turn.drain().await;
    let mut before = None;
    while let Some(snapshot) = turn.snapshot().await {
        let relayed = snapshot.server.to_peer_packets + snapshot.server.to_client_packets;
        let is_idle = snapshot.server.allocations == 0
            || before.replace(relayed).is_some_and(|before| relayed - before < BUSY_PACKETS);
        if is_idle || tokio::time::Instant::now() >= deadline {
            return is_idle;
        }
        tokio::time::sleep(TURN_LOOK).await;
    }
    true
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

//! The ways to TURN, and the echo that proves each of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use lanyard_turn_core::StreamFramer;
use rustls::RootCertStore;
use tokio::net::UdpSocket;

use super::Finding;
use super::door;
use super::turn_client::{Allocated, Credential, ProbeError, Step, TurnClient, Wire};
use crate::outbound::Shown;

/// How often an echo is tried, and how long each time: single packets get lost.
const ECHOES: usize = 3;
const ECHO_TIME: Duration = Duration::from_secs(1);

/// What TURN is carried by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum TurnTransport {
    /// Datagrams.
    Udp,
    /// A plain stream.
    Tcp,
    /// A stream with TLS.
    Tls,
}

/// One way to a TURN server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) transport: TurnTransport,
    /// What the certificate must be for.
    pub(super) host: String,
    pub(super) address: SocketAddr,
    /// Devices are told to come this way; else it is tried for other applications.
    pub(super) is_told: bool,
}

/// What a probe brought to light.
pub(super) struct Probed {
    pub(super) allocated: Allocated,
    round_trip: Duration,
    shown: Option<Shown>,
}

impl Way {
    /// How people call it: `TURN over TLS at 203.0.113.5:443`.
    pub(super) fn name(&self) -> String {
        let transport = match self.transport {
            TurnTransport::Udp => "UDP",
            TurnTransport::Tcp => "TCP",
            TurnTransport::Tls => "TLS",
        };
        format!("TURN over {transport}, {}", self.address)
    }

    async fn open(&self, roots: &RootCertStore) -> io::Result<(Wire, Option<Shown>)> {
        match self.transport {
            TurnTransport::Udp => {
                let socket = udp(self.address.is_ipv4()).await?;
                socket.connect(self.address).await?;
                Ok((Wire::Datagrams(socket), None))
            }
            TurnTransport::Tcp => {
                let stream = door::tcp(self.address).await?;
                Ok((Wire::Stream(Box::new(stream), StreamFramer::new()), None))
            }
            TurnTransport::Tls => {
                let (stream, shown) = door::tls(door::tcp(self.address).await?, &self.host, roots).await?;
                Ok((Wire::Stream(stream, StreamFramer::new()), shown))
            }
        }
    }

    /// Two allocations, a permission and a channel each, and a payload there and back.
    pub(super) async fn probe(
        &self,
        roots: &RootCertStore,
        credentials: &[Credential; 2],
    ) -> Result<Probed, ProbeError> {
        let [one, other] = credentials;
        let (wire, shown) = self.open(roots).await?;
        let mut one = TurnClient::new(wire, one.clone());
        let mut other = TurnClient::new(self.open(roots).await?.0, other.clone());
        let allocated = one.allocate().await?;
        let peer = other.allocate().await?.relayed;
        one.open_channel(peer).await?;
        other.open_channel(allocated.relayed).await?;
        let echoed = echo(&mut one, &mut other).await;
        one.release().await;
        other.release().await;
        Ok(Probed { allocated, round_trip: echoed?, shown })
    }

    /// Whether an allocation is given for this credential.
    pub(super) async fn allocates(&self, roots: &RootCertStore, credential: &Credential) -> Result<(), ProbeError> {
        let mut client = TurnClient::new(self.open(roots).await?.0, credential.clone());
        client.allocate().await?;
        client.release().await;
        Ok(())
    }

    /// Whether a packet from outside reaches a relayed port: from a socket of ours that is no TURN client.
    pub(super) async fn lets_peers_in(
        &self,
        roots: &RootCertStore,
        credential: &Credential,
        stun: SocketAddr,
    ) -> Result<Allocated, ProbeError> {
        let socket = udp(stun.is_ipv4()).await?;
        let seen = super::turn_client::seen_address(&socket, stun).await?.ok_or(ProbeError::Silent(Step::Challenge))?;
        let mut client = TurnClient::new(self.open(roots).await?.0, credential.clone());
        let allocated = client.allocate().await?;
        client.open_channel(seen).await?;
        let token: [u8; 16] = rand::random();
        for _ in 0..ECHOES {
            socket.send_to(&token, allocated.relayed).await?;
            let deadline = tokio::time::Instant::now() + ECHO_TIME;
            if client.receive(deadline).await?.is_some_and(|payload| payload == token) {
                client.release().await;
                return Ok(allocated);
            }
        }
        client.release().await;
        Err(ProbeError::Lost)
    }

    /// What to say about a probe.
    pub(super) fn finding(&self, outcome: &Result<Probed, ProbeError>) -> Finding {
        let name = self.name();
        match outcome {
            Ok(Probed { shown: Some(Shown { problem: Some(problem), .. }), .. }) => Finding::failed(
                name,
                format!("It relays, but browsers refuse the certificate: {problem}."),
                "Give it a certificate for the name that devices are told, from an authority they know.",
            ),
            Ok(probed) => {
                let millis = probed.round_trip.as_secs_f64() * 1000.0;
                let relayed = probed.allocated.relayed;
                Finding::ok(name, format!("A packet came back in {millis:.1} ms, relayed at {relayed}."))
            }
            Err(error) => {
                let (detail, fix) = self.explain(error);
                if self.is_told {
                    Finding::failed(name, detail, fix)
                } else {
                    Finding::note(name, format!("{detail} No device is told to come this way."), None)
                }
            }
        }
    }

    /// What is wrong, and what to do.
    fn explain(&self, error: &ProbeError) -> (String, String) {
        let port = self.address.port();
        let protocol = if self.transport == TurnTransport::Udp { "UDP" } else { "TCP" };
        let open_port = format!(
            "Let {protocol} {port} in at the server's firewall and out at this network's, and see that the relay runs."
        );
        match error {
            ProbeError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => (
                format!("Nothing listens at {protocol} {port}."),
                "Start the relay, or set the address that it should listen at (stun.listen, turn.tcp, turn.tls_listen)."
                    .to_owned(),
            ),
            ProbeError::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                (format!("No answer at {protocol} {port}."), open_port)
            }
            ProbeError::Io(error) if error.kind() == io::ErrorKind::InvalidData => (
                format!("What listens at {protocol} {port} does not speak TURN here ({error})."),
                "If a proxy ends TLS in front, let TURN bypass it: on a port of its own, or the relay on 443 itself."
                    .to_owned(),
            ),
            ProbeError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => (
                format!("What listens at {protocol} {port} ends the connection."),
                "If a proxy stands in front, let TURN bypass it; else see http.connections and turn.enabled.".to_owned(),
            ),
            ProbeError::Io(error) => (format!("The connection fails: {error}."), open_port),
            ProbeError::Silent(Step::Challenge) => (format!("No answer at {protocol} {port}."), open_port),
            ProbeError::Silent(step) => (
                format!("The server stops answering at {}.", step_name(*step)),
                "See the relay's log: it is overloaded, or its limits are reached (turn.allocations_per_source)."
                    .to_owned(),
            ),
            ProbeError::Refused(step, code) => refused(*step, *code),
            ProbeError::Garbled => (
                format!("What listens at {protocol} {port} is no TURN server."),
                "Stop what else uses this port, or set another one for the relay.".to_owned(),
            ),
            ProbeError::Lost => (
                "Allocations are given, but packets between them do not arrive.".to_owned(),
                "Let UDP of turn.relay_ports in at the server's firewall, and check turn.external_addresses.".to_owned(),
            ),
        }
    }
}

fn refused(step: Step, code: u16) -> (String, String) {
    let at = step_name(step);
    match code {
        401 | 441 => (
            format!("The server does not accept the credentials ({code} at {at})."),
            "Use the secret that the server has, and set both clocks right.".to_owned(),
        ),
        403 => (
            format!("The server refuses the peer (403 at {at})."),
            "With peer_policy \"room\" only members of a mailbox reach each other: run doctor without a secret."
                .to_owned(),
        ),
        486 => (
            format!("The quota of allocations is used up (486 at {at})."),
            "Raise turn.allocations_per_user or turn.allocations_per_source, or wait ten minutes.".to_owned(),
        ),
        508 => (
            format!("The server has no room for one more allocation (508 at {at})."),
            "Raise turn.allocations and the range of turn.relay_ports.".to_owned(),
        ),
        code => (
            format!("The server refuses with {code} at {at}."),
            "See the relay's log at level debug for the reason.".to_owned(),
        ),
    }
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::Challenge => "the first request",
        Step::Allocate => "Allocate",
        Step::Permission => "CreatePermission",
        Step::Channel => "ChannelBind",
    }
}

async fn udp(is_ipv4: bool) -> io::Result<UdpSocket> {
    let any: IpAddr = if is_ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind(SocketAddr::new(any, 0)).await
}

/// A payload from one to the other and back; how long that takes.
async fn echo(one: &mut TurnClient, other: &mut TurnClient) -> Result<Duration, ProbeError> {
    for _ in 0..ECHOES {
        let token: [u8; 32] = rand::random();
        let started = Instant::now();
        let deadline = tokio::time::Instant::now() + ECHO_TIME;
        one.send(&token).await?;
        let Some(payload) = other.receive(deadline).await? else { continue };
        other.send(&payload).await?;
        if one.receive(deadline).await?.is_some_and(|payload| payload == token) {
            return Ok(started.elapsed());
        }
    }
    Err(ProbeError::Lost)
}

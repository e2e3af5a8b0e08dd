//! Clients with allocations and bound channels, and a peer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::socket::SockaddrIn;

use super::wire::{sockaddr, tune};
use super::{Direction, Load, Service, Target};
use crate::turn::client::{TurnClient, channel_data};
use crate::turn::forwarder;

/// The channel that every session binds.
pub(super) const CHANNEL: u16 = 0x4000;

/// Sockets that send and take.
pub(super) struct Field {
    pub(super) senders: Vec<Sender>,
    pub(super) receivers: Vec<UdpSocket>,
    /// Bytes of each datagram as it arrives.
    pub(super) arriving_bytes: usize,
    clients: Vec<Client>,
}

/// A socket, where it sends to (`None`: where it is connected to), and what.
pub(super) struct Sender {
    pub(super) socket: UdpSocket,
    pub(super) targets: Vec<Option<SockaddrIn>>,
    pub(super) packet: Vec<u8>,
}

/// A session with the server.
pub(super) enum Client {
    Turn(Box<TurnClient>),
    Forwarder(UdpSocket),
}

impl Client {
    /// The `n`th client. Each has an address of its own, as a server answers only so many requests without
    /// credentials of one address in a second. With the address where peers reach it.
    pub(super) fn open(target: &Target, n: usize) -> Result<(Self, SocketAddr)> {
        let own = IpAddr::from(Ipv4Addr::from_bits(0x7f02_0000 + u32::try_from(n)?));
        match &target.service {
            Service::Turn { username, password } => {
                let mut client = TurnClient::udp(own, target.server, username, password)?;
                let relayed = client.allocate()?;
                Ok((Self::Turn(Box::new(client)), relayed))
            }
            Service::Forwarder => {
                let socket = UdpSocket::bind(SocketAddr::new(own, 0))?;
                socket.connect(target.server)?;
                let relayed = forwarder::open(&socket, target.server)?;
                Ok((Self::Forwarder(socket), relayed))
            }
        }
    }

    pub(super) fn bind(&mut self, peer: SocketAddr) -> Result<()> {
        match self {
            Self::Turn(client) => match client.bind(CHANNEL, peer)? {
                0 => Ok(()),
                code => bail!("ChannelBind refused with {code}"),
            },
            Self::Forwarder(socket) => forwarder::connect(socket, peer),
        }
    }

    pub(super) fn socket(&self) -> Result<&UdpSocket> {
        match self {
            Self::Turn(client) => client.socket(),
            Self::Forwarder(socket) => Ok(socket),
        }
    }

    /// A payload as it travels between this client and the server.
    pub(super) fn framed(&self, payload: &[u8]) -> Vec<u8> {
        match self {
            Self::Turn(_) => channel_data(CHANNEL, payload),
            Self::Forwarder(_) => payload.to_vec(),
        }
    }

    /// Gives the session up: it must not be in the next load's way.
    pub(super) fn release(self) {
        if let Self::Turn(mut client) = self
            && let Ok(socket) = client.socket()
            && socket.set_nonblocking(false).is_ok()
            && socket.set_read_timeout(Some(Duration::from_millis(1))).is_ok()
        {
            // What is still arriving does not matter.
            let _ = client.release();
        }
    }
}

/// So many clients, and the addresses where peers reach them.
pub(super) fn open_clients(target: &Target, count: usize) -> Result<(Vec<Client>, Vec<SocketAddr>)> {
    let opened: Vec<_> = (0..count).map(|n| Client::open(target, n)).collect::<Result<_>>()?;
    Ok(opened.into_iter().unzip())
}

impl Field {
    pub(super) fn lay_out(target: &Target, load: &Load) -> Result<Self> {
        let payload = vec![0x5a; load.payload_bytes];
        let peer = UdpSocket::bind(SocketAddr::new(target.server.ip(), 0))?;
        tune(&peer, load.trains)?;
        let peer_address = peer.local_addr()?;
        let half = load.sessions;
        let count = half * if load.direction == Direction::Between { 2 } else { 1 };
        let (mut clients, relayed) = open_clients(target, count)?;
        for (n, client) in clients.iter_mut().enumerate() {
            client.bind(match load.direction {
                Direction::Up | Direction::Down => peer_address,
                Direction::Between => relayed[(n + half) % (2 * half)],
            })?;
            tune(client.socket()?, load.trains)?;
        }
        let mut sockets = clients.iter().map(|client| Ok(client.socket()?.try_clone()?)).collect::<Result<Vec<_>>>()?;
        let framed = clients.first().context("no sessions")?.framed(&payload);
        let from_client = |socket| Sender { socket, targets: vec![None], packet: framed.clone() };
        let (senders, receivers, arriving_bytes) = match load.direction {
            Direction::Up => (sockets.into_iter().map(from_client).collect(), vec![peer], payload.len()),
            Direction::Down => {
                let targets = relayed.iter().map(|address| sockaddr(*address).map(Some)).collect::<Result<_>>()?;
                (vec![Sender { socket: peer, targets, packet: payload }], sockets, framed.len())
            }
            Direction::Between => {
                let receivers = sockets.split_off(half);
                (sockets.into_iter().map(from_client).collect(), receivers, framed.len())
            }
        };
        Ok(Self { senders, receivers, arriving_bytes, clients })
    }

    pub(super) fn release(self) {
        self.clients.into_iter().for_each(Client::release);
    }
}

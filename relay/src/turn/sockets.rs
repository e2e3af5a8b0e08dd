//! UDP sockets: listeners, and one for each relayed transport address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd};

use lanyard_turn_core::{PortRequest, RelayId, RelaySocketUnavailable};
use nix::sys::socket::{setsockopt, sockopt};
use rand::RngExt as _;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

use super::datagrams::set_path_mtu_discovery;

/// Bytes of a listener's receive buffer that are asked for: some 50 ms of a fast link.
const LISTENER_BUFFER_BYTES: usize = 4 << 20;
/// The same of a relay socket, of which there may be thousands.
const RELAY_BUFFER_BYTES: usize = 1 << 20;
/// Ports tried for a relay socket. With half the range taken, all are taken once in 10^19 allocations.
const PORT_TRIES: usize = 64;

/// A socket for clients.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: UdpSocket,
    pub(super) local: SocketAddr,
    /// Bytes of receive buffer that the system granted.
    pub(super) buffer_bytes: usize,
}

impl Listener {
    /// Whether it is bound to all addresses: then datagrams tell theirs, and answers must name it.
    pub(super) fn is_wildcard(&self) -> bool {
        self.local.ip().is_unspecified()
    }

    /// Whether packets to clients of this server address leave here.
    pub(super) fn serves(&self, server: SocketAddr) -> bool {
        self.local == server
            || self.is_wildcard()
                && self.local.port() == server.port()
                && self.local.is_ipv4() == server.ip().to_canonical().is_ipv4()
    }
}

/// Binds `wanted`, or one of the next ports when it is taken. `[::]` is one socket for each family on one port.
pub(super) fn bind_listeners(wanted: SocketAddr, port_tries: u16) -> io::Result<Vec<Listener>> {
    let mut address = wanted;
    for tries_left in (0..port_tries.max(1)).rev() {
        match bind_both_families(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries_left > 0 && address.port() < u16::MAX => {
                // Any port means another one each time.
                address.set_port(if address.port() == 0 { 0 } else { address.port() + 1 });
            }
            result => return result,
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn bind_both_families(address: SocketAddr) -> io::Result<Vec<Listener>> {
    if !(address.is_ipv6() && address.ip().is_unspecified()) {
        return Ok(vec![bind_listener(address)?]);
    }
    let v4 = bind_listener(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))?;
    let v6 = bind_listener(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), v4.local.port()));
    match v6 {
        Ok(v6) => Ok(vec![v6, v4]),
        Err(error) if crate::listener::is_without_ipv6(&error) => Ok(vec![v4]),
        Err(error) => Err(error),
    }
}

fn bind_listener(address: SocketAddr) -> io::Result<Listener> {
    let socket = open(address, LISTENER_BUFFER_BYTES)?;
    accept_trains(socket.as_fd());
    // The count of datagrams nobody read in time; only for the metrics.
    let _ = setsockopt(&socket, sockopt::RxqOvfl, &1);
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    let buffer_bytes = socket.recv_buffer_size()?;
    let socket: UdpSocket = socket.into();
    let local = socket.local_addr()?;
    Ok(Listener { socket, local, buffer_bytes })
}

fn open(address: SocketAddr, buffer_bytes: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Past the system's limit where we may; else as much as the system gives.
    if setsockopt(&socket, sockopt::RcvBufForce, &buffer_bytes).is_err() {
        socket.set_recv_buffer_size(buffer_bytes)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Lets trains arrive in one piece, where the kernel knows how.
pub(super) fn accept_trains(socket: BorrowedFd<'_>) {
    if let Err(error) = setsockopt(&socket, sockopt::UdpGroSegment, &true) {
        debug!(%error, "no UDP GRO");
    }
}

/// A socket for peers.
#[derive(Debug)]
pub(super) struct RelaySocket {
    pub(super) relay: RelayId,
    pub(super) socket: UdpSocket,
}

/// Binds a relay socket, or two of them, at ports of the range.
pub(super) fn bind_relay(
    relay: RelayId,
    bind: IpAddr,
    request: PortRequest,
    ports: &RangeInclusive<u16>,
) -> Result<(SocketAddr, Vec<RelaySocket>), RelaySocketUnavailable> {
    let mut rng = rand::rng();
    let mut last_error = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let drawn = rng.random_range(ports.clone());
        let (port, next) = match request {
            PortRequest::Any => (drawn, None),
            PortRequest::Even => (drawn & !1, None),
            PortRequest::EvenWithNext(next) => (drawn & !1, Some(next)),
        };
        if !ports.contains(&port) || next.is_some() && !ports.contains(&(port | 1)) {
            continue;
        }
        match bind_pair(relay, next, SocketAddr::new(bind, port)) {
            Ok(sockets) => return Ok((SocketAddr::new(bind, port), sockets)),
            Err(error) => {
                let is_taken = error.kind() == io::ErrorKind::AddrInUse;
                last_error = error;
                if !is_taken {
                    break;
                }
            }
        }
    }
    debug!(error = %last_error, "no relay socket");
    Err(RelaySocketUnavailable)
}

fn bind_pair(relay: RelayId, next: Option<RelayId>, address: SocketAddr) -> io::Result<Vec<RelaySocket>> {
    let one = |relay, port| {
        let socket = open(SocketAddr::new(address.ip(), port), RELAY_BUFFER_BYTES)?;
        accept_trains(socket.as_fd());
        io::Result::Ok(RelaySocket { relay, socket: socket.into() })
    };
    let mut sockets = vec![one(relay, address.port())?];
    if let Some(next) = next {
        sockets.push(one(next, address.port() + 1)?);
    }
    Ok(sockets)
}

/// Sends one datagram that no router may cut (RFC 8656 §14, DONT-FRAGMENT). Rare, so the socket is set for it and back.
pub(super) fn send_unfragmented(socket: &UdpSocket, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
    // Only IPv4 routers cut packets.
    if to.is_ipv4() {
        set_path_mtu_discovery(socket.as_fd(), libc::IP_PMTUDISC_DO)?;
    }
    let sent = socket.send_to(payload, to);
    if to.is_ipv4() {
        set_path_mtu_discovery(socket.as_fd(), libc::IP_PMTUDISC_WANT)?;
    }
    sent.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_of_both_families_shares_one_port() {
        let listeners = bind_listeners("[::]:0".parse().unwrap(), 1).unwrap();
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local.port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
        let client_of = |server: &str| {
            let server = SocketAddr::new(server.parse().unwrap(), ports[0]);
            listeners.iter().find(|listener| listener.serves(server)).map(|listener| listener.local.is_ipv4())
        };
        assert_eq!(client_of("192.0.2.1"), Some(true));
        assert!(listeners.iter().all(|listener| listener.buffer_bytes > 0));
    }

    #[test]
    fn taken_port_makes_the_next_one_ours() {
        let first = bind_listeners("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let second = bind_listeners(first[0].local, 20).unwrap();
        assert!(second[0].local.port() > first[0].local.port());
        assert_eq!(bind_listeners(first[0].local, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}

//! UDP sockets: listeners, and one for each relayed transport address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use lanyard_turn_core::{Discovery, PortRequest, RelayId, RelaySocketUnavailable};
use mio::net::UdpSocket;
#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt};
use rand::RngExt as _;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tracing::debug;

#[cfg(target_os = "linux")]
use super::batch::set_path_mtu_discovery;
use super::config::DataPlane;
#[cfg(target_os = "linux")]
use super::icmp;
use super::outgoing::SocketNumber;
use super::steering::Steering;

/// Bytes of a receive buffer that are asked for: some 50 ms of a fast link.
const BUFFER_BYTES: usize = 4 << 20;
/// Ports tried for a relay socket. With half the range taken, all are taken once in 10^19 allocations.
const PORT_TRIES: usize = 64;

/// Pairs of free ports tried for the listeners of RFC 5780.
const FREE_PORT_TRIES: usize = 20;

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

/// One address, with a socket for each worker.
pub(super) struct Door {
    pub(super) local: SocketAddr,
    pub(super) listeners: Vec<Listener>,
}

/// How doors are bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Binder {
    pub(super) data_plane: DataPlane,
    pub(super) steering: Steering,
}

impl Binder {
    /// Binds `wanted`, or one of the next ports when it is taken. `[::]` is a door for each family on one port.
    pub(super) fn doors(self, wanted: SocketAddr, port_tries: u16) -> io::Result<Vec<Door>> {
        let mut address = wanted;
        for tries_left in (0..port_tries.max(1)).rev() {
            match self.both_families(address) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && tries_left > 0 && address.port() < u16::MAX =>
                {
                    // Any port means another one each time.
                    address.set_port(if address.port() == 0 { 0 } else { address.port() + 1 });
                }
                result => return result,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Binds both addresses at both ports (RFC 5780 §6). The first of what is returned is `wanted`'s, as without.
    pub(super) fn discovery(
        self,
        wanted: SocketAddr,
        alternate: SocketAddr,
        port_tries: u16,
    ) -> io::Result<(Vec<Door>, Discovery)> {
        let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
        // Any port that is free at one address may be taken at the other.
        for _ in 0..FREE_PORT_TRIES {
            let first = self.doors(wanted, port_tries)?;
            let Some(primary) = first.first().map(|door| door.local) else { continue };
            let rest = [SocketAddr::new(alternate.ip(), primary.port()), alternate];
            match rest.into_iter().map(|address| self.door(address)).collect::<io::Result<Vec<_>>>() {
                Ok(rest) => {
                    let Some(alternate) = rest.last().map(|door| door.local) else { continue };
                    match self.door(SocketAddr::new(primary.ip(), alternate.port())) {
                        Ok(last) => {
                            let doors = first.into_iter().chain(rest).chain([last]).collect();
                            return Ok((doors, Discovery { primary, alternate }));
                        }
                        Err(error) => taken = error,
                    }
                }
                Err(error) => taken = error,
            }
            if taken.kind() != io::ErrorKind::AddrInUse || wanted.port() != 0 && alternate.port() != 0 {
                break;
            }
        }
        Err(taken)
    }

    fn both_families(self, address: SocketAddr) -> io::Result<Vec<Door>> {
        if !(address.is_ipv6() && address.ip().is_unspecified()) {
            return Ok(vec![self.door(address)?]);
        }
        let v4 = self.door(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))?;
        let v6 = self.door(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), v4.local.port()));
        match v6 {
            Ok(v6) => Ok(vec![v6, v4]),
            Err(error) if crate::listener::is_without_ipv6(&error) => Ok(vec![v4]),
            Err(error) => Err(error),
        }
    }

    fn door(self, address: SocketAddr) -> io::Result<Door> {
        let workers = self.steering.workers();
        if workers == 1 {
            let alone = self.listener(address, |_| Ok(()))?;
            return Ok(Door { local: alone.local, listeners: vec![alone] });
        }
        // A socket with a program does not join others at a port, so one that another relay shares is taken.
        let first = self.listener(address, |socket| {
            share_port(socket)?;
            self.steering.attach(socket, address.is_ipv4())
        })?;
        let local = first.local;
        let others = (1..workers).map(|_| self.listener(local, share_port));
        Ok(Door { local, listeners: [Ok(first)].into_iter().chain(others).collect::<io::Result<_>>()? })
    }

    fn listener(self, address: SocketAddr, prepare: impl Fn(&Socket) -> io::Result<()>) -> io::Result<Listener> {
        let socket = open(address)?;
        tune(&socket, self.data_plane);
        #[cfg(target_os = "linux")]
        if self.data_plane.is_batched() && address.ip().is_unspecified() {
            match address {
                SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
                SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            }
        }
        prepare(&socket)?;
        socket.bind(&address.into())?;
        let buffer_bytes = socket.recv_buffer_size()?;
        let socket = UdpSocket::from_std(socket.into());
        let local = socket.local_addr()?;
        Ok(Listener { socket, local, buffer_bytes })
    }
}

#[cfg(unix)]
fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn share_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A socket that never waits.
fn open(address: SocketAddr) -> io::Result<Socket> {
    #[cfg(target_os = "linux")]
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    #[cfg(not(target_os = "linux"))]
    let socket = {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket
    };
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Prepares a socket for many packets. What the system does not grant goes without.
fn tune<'s>(socket: impl Into<SockRef<'s>>, data_plane: DataPlane) {
    let socket: SockRef<'_> = socket.into();
    #[cfg(target_os = "linux")]
    if data_plane.is_batched() {
        // The count of datagrams nobody read in time; only for the metrics.
        let _ = setsockopt(&*socket, sockopt::RxqOvfl, &1);
        accept_trains(&*socket);
        // Past the system's limit, where we may.
        if setsockopt(&*socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_ok() {
            return;
        }
    }
    let _ = data_plane;
    if let Err(error) = socket.set_recv_buffer_size(BUFFER_BYTES) {
        debug!(%error, "a receive buffer stays small");
    }
}

/// Lets trains arrive in one piece, where the kernel knows how.
#[cfg(target_os = "linux")]
pub(super) fn accept_trains(socket: &impl std::os::fd::AsFd) {
    if let Err(error) = setsockopt(socket, sockopt::UdpGroSegment, &true) {
        debug!(%error, "no UDP GRO");
    }
}

/// A socket for peers.
#[derive(Debug)]
pub(super) struct RelaySocket {
    pub(super) relay: RelayId,
    pub(super) socket: UdpSocket,
    /// The connected socket at the same port, if there is one.
    pub(super) twin: Option<Twin>,
    /// Whom the last packet was for, and how many in a row were.
    pub(super) last_peer: Option<SocketAddr>,
    pub(super) in_a_row: u32,
    /// Datagrams that it has dropped so far because they were not read in time.
    pub(super) dropped: u32,
    data_plane: DataPlane,
    is_tuned: bool,
}

/// A second socket at the port of a relay socket, connected to the peer that gets most packets: the kernel then finds
/// the way once and not for each packet. What other peers, and other ports of this peer, send still arrives at the first
/// socket, as it must: a permission is for all ports of an address (RFC 8656 §9).
#[derive(Debug, Clone, Copy)]
pub(super) struct Twin {
    pub(super) number: SocketNumber,
    pub(super) peer: SocketAddr,
}

impl RelaySocket {
    fn new(relay: RelayId, socket: UdpSocket, data_plane: DataPlane) -> Self {
        Self { relay, socket, twin: None, last_peer: None, in_a_row: 0, dropped: 0, data_plane, is_tuned: false }
    }

    /// Prepares the socket for packets with its first one: most allocations that browsers make never carry any.
    pub(super) fn tune(&mut self) {
        if self.is_tuned {
            return;
        }
        self.is_tuned = true;
        tune(&self.socket, self.data_plane);
        #[cfg(target_os = "linux")]
        if self.data_plane.is_batched() {
            let is_ipv4 = self.socket.local_addr().is_ok_and(|local| local.is_ipv4());
            icmp::keep_errors(&self.socket, is_ipv4);
        }
    }

    /// Opens a connected socket at the same port.
    pub(super) fn open_twin(&self, peer: SocketAddr) -> io::Result<Self> {
        let mut twin = Self::new(self.relay, connected_beside(&self.socket, peer)?, self.data_plane);
        twin.tune();
        Ok(twin)
    }
}

/// Opens a connected socket at the port of `first`, which is shared for that moment only: no other program can get it.
fn connected_beside(first: &UdpSocket, peer: SocketAddr) -> io::Result<UdpSocket> {
    let local = first.local_addr()?;
    let socket = open(local)?;
    socket.set_reuse_address(true)?;
    SockRef::from(first).set_reuse_address(true)?;
    let bound = socket.bind(&local.into());
    SockRef::from(first).set_reuse_address(false)?;
    bound?;
    socket.set_reuse_address(false)?;
    socket.connect(&peer.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// Binds a relay socket, or two of them, at ports of the range.
pub(super) fn bind_relay(
    relay: RelayId,
    bind: IpAddr,
    request: PortRequest,
    ports: &RangeInclusive<u16>,
    data_plane: DataPlane,
) -> Result<(SocketAddr, Vec<RelaySocket>), RelaySocketUnavailable> {
    let mut rng = rand::rng();
    // A socket whose port was taken can try the next one.
    let mut unbound = None;
    let mut opening = || -> io::Result<(SocketAddr, Vec<RelaySocket>)> {
        let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
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
            let address = SocketAddr::new(bind, port);
            let mut bound = Vec::with_capacity(1);
            let wanted = [Some((relay, address)), next.map(|next| (next, SocketAddr::new(bind, port | 1)))];
            for (relay, address) in wanted.into_iter().flatten() {
                let socket = unbound.take().map_or_else(|| open(address), Ok)?;
                match socket.bind(&address.into()) {
                    Ok(()) => bound.push(RelaySocket::new(relay, UdpSocket::from_std(socket.into()), data_plane)),
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        (unbound, taken) = (Some(socket), error);
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            if bound.len() == wanted.iter().flatten().count() {
                return Ok((address, bound));
            }
        }
        Err(taken)
    };
    opening().map_err(|error| {
        debug!(%error, "no relay socket");
        RelaySocketUnavailable
    })
}

/// Sends one datagram that no router may cut (RFC 8656 §14, DONT-FRAGMENT). Rare, so the socket is set for it and back.
#[cfg(target_os = "linux")]
pub(super) fn send_unfragmented(socket: &UdpSocket, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
    // Only IPv4 routers cut packets.
    if to.is_ipv4() {
        set_path_mtu_discovery(socket, libc::IP_PMTUDISC_DO)?;
    }
    let sent = socket.send_to(payload, to);
    if to.is_ipv4() {
        set_path_mtu_discovery(socket, libc::IP_PMTUDISC_WANT)?;
    }
    sent.map(|_| ())
}

/// Clients are told that this is not to be had here.
#[cfg(not(target_os = "linux"))]
pub(super) fn send_unfragmented(_socket: &UdpSocket, _to: SocketAddr, _payload: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn binder(workers: u32) -> Binder {
        Binder { data_plane: DataPlane::Auto, steering: Steering::new(workers, rand::random()) }
    }

    fn one_listener(wanted: SocketAddr, port_tries: u16) -> io::Result<Vec<Listener>> {
        let doors = binder(1).doors(wanted, port_tries)?;
        Ok(doors.into_iter().flat_map(|door| door.listeners).collect())
    }

    #[test]
    fn wildcard_of_both_families_shares_one_port() {
        let listeners = one_listener("[::]:0".parse().unwrap(), 1).unwrap();
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
    fn connected_twin_gets_its_peers_packets_and_the_first_socket_all_others() {
        let receive = |socket: &mio::net::UdpSocket| {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
            let mut buffer = [0; 16];
            loop {
                match socket.recv(&mut buffer) {
                    Ok(len) => return buffer[..len].to_vec(),
                    Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
                }
            }
        };
        for ip in ["127.0.0.1", "::1"] {
            let Ok(first) = UdpSocket::bind((ip, 0)) else { continue };
            first.set_nonblocking(true).unwrap();
            let first = mio::net::UdpSocket::from_std(first);
            let local = first.local_addr().unwrap();
            let [peer, other] = [(); 2].map(|()| UdpSocket::bind((ip, 0)).unwrap());
            let twin = connected_beside(&first, peer.local_addr().unwrap()).unwrap();
            peer.send_to(b"peer", local).unwrap();
            other.send_to(b"other", local).unwrap();
            assert_eq!((receive(&twin), receive(&first)), (b"peer".to_vec(), b"other".to_vec()));
            twin.send(b"from the same port").unwrap();
            assert_eq!(peer.recv_from(&mut [0; 32]).unwrap().1, local);
            twin.connect(other.local_addr().unwrap()).unwrap();
            other.send_to(b"other", local).unwrap();
            peer.send_to(b"peer", local).unwrap();
            assert_eq!((receive(&twin), receive(&first)), (b"other".to_vec(), b"peer".to_vec()));
            assert!(UdpSocket::bind(local).is_err(), "the port is taken for everybody else");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn kernel_steers_each_source_to_the_worker_that_its_streams_go_to() {
        let binder = binder(3);
        for own in ["127.0.0.1:0", "[::1]:0"] {
            let doors = binder.doors(own.parse().unwrap(), 1).unwrap();
            let Door { local, listeners } = &doors[0];
            assert!(UdpSocket::bind(local).is_err(), "the port is taken for everybody else");
            let mut workers = std::collections::BTreeSet::new();
            for n in 0..100_u16 {
                // Of IPv6, addresses that this host need not have.
                let source = if local.is_ipv4() {
                    IpAddr::from([127, 0, 1, n as u8])
                } else {
                    IpAddr::from([0x2001, 0xdb8, n, 9 * n, 1, 2, 3, n])
                };
                let client = open(SocketAddr::new(source, 0)).unwrap();
                if source.is_ipv6() {
                    client.set_freebind_v6(true).unwrap();
                }
                client.bind(&SocketAddr::new(source, 0).into()).unwrap();
                client.send_to(&n.to_be_bytes(), &(*local).into()).unwrap();
                let worker = binder.steering.worker_of(source);
                let mut buffer = [0; 8];
                let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
                while let Err(error) = listeners[worker].socket.recv(&mut buffer) {
                    assert!(std::time::Instant::now() < deadline, "{source} should come to worker {worker}: {error}");
                }
                assert_eq!(buffer[..2], n.to_be_bytes());
                workers.insert(worker);
            }
            assert_eq!(workers.len(), 3);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn port_of_another_relay_with_several_workers_is_taken() {
        let first = binder(2).doors("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        for workers in [1, 2] {
            let error = binder(workers).doors(first[0].local, 1).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(binder(workers).doors(first[0].local, 20).unwrap()[0].local.port() > first[0].local.port());
        }
    }

    #[test]
    fn taken_port_makes_the_next_one_ours() {
        let first = one_listener("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let second = one_listener(first[0].local, 20).unwrap();
        assert!(second[0].local.port() > first[0].local.port());
        assert_eq!(one_listener(first[0].local, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}

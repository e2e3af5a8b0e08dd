//! The floor: a forwarder that does nothing else. `recvmmsg`, find the session, `sendmmsg`; for trains UDP GRO and GSO.
//! What a TURN server costs beyond this is the price of TURN, what it costs below is the gain of a trick.
//!
//! A client opens a session with 2 bytes, which it gets back as the port where peers reach it, and names its peer with
//! 6: address and port. All else is forwarded as it is.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, recvmsg, sendmmsg, sendmsg,
    setsockopt, sockopt,
};

/// Datagrams of one call.
const BATCH: usize = 64;
/// Bytes of the sockets' receive buffers that are asked for: those of the relay.
const BUFFER_BYTES: usize = 4 << 20;
const LISTENER: u64 = u64::MAX;

/// For a client: opens a session; where peers reach it.
///
/// # Errors
/// No answer.
pub fn open(socket: &UdpSocket, forwarder: SocketAddr) -> Result<SocketAddr> {
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send(&[0; 2])?;
    let mut port = [0; 2];
    socket.recv(&mut port).context("the forwarder does not answer")?;
    Ok(SocketAddr::new(forwarder.ip(), u16::from_be_bytes(port)))
}

/// For a client: names its peer, and waits until the forwarder knows it.
///
/// # Errors
/// No answer.
pub fn connect(socket: &UdpSocket, peer: SocketAddr) -> Result<()> {
    let SocketAddr::V4(peer) = peer else { bail!("the forwarder speaks IPv4") };
    let [a, b, c, d] = peer.ip().octets();
    let [high, low] = peer.port().to_be_bytes();
    socket.send(&[a, b, c, d, high, low])?;
    socket.recv(&mut [0; 2]).context("the forwarder does not answer")?;
    Ok(())
}

struct Session {
    client: SockaddrIn,
    socket: UdpSocket,
}

/// A forwarder.
pub struct Forwarder {
    listener: UdpSocket,
    epoll: Epoll,
    sessions: Vec<Session>,
    by_client: HashMap<(u32, u16), usize>,
    trains: bool,
    buffers: Vec<Vec<u8>>,
    receiving: MultiHeaders<SockaddrIn>,
    sending: MultiHeaders<SockaddrIn>,
}

impl Forwarder {
    /// Binds any port of 127.0.0.1. `trains`: takes and sends trains, one a call, instead of many datagrams.
    ///
    /// # Errors
    /// No socket.
    pub fn bind(trains: bool) -> Result<Self> {
        let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        prepare(&listener, trains)?;
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let [receiving, sending] = [(); 2].map(|()| MultiHeaders::preallocate(BATCH, None));
        let buffers = vec![vec![0; 65_536]; BATCH];
        Ok(Self {
            listener,
            epoll,
            sessions: Vec::new(),
            by_client: HashMap::new(),
            trains,
            buffers,
            receiving,
            sending,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Forwards until it is killed.
    ///
    /// # Errors
    /// A socket fails.
    pub fn run(&mut self) -> Result<()> {
        let mut events = [EpollEvent::empty(); 256];
        loop {
            let ready = self.epoll.wait(&mut events, EpollTimeout::NONE)?;
            for event in &events[..ready] {
                let session = (event.data() != LISTENER).then_some(event.data() as usize);
                if self.trains { self.forward_train(session)? } else { self.forward_many(session)? }
            }
        }
    }

    fn fd(&self, session: Option<usize>) -> RawFd {
        session.map_or(self.listener.as_raw_fd(), |session| self.sessions[session].socket.as_raw_fd())
    }

    /// From the listener (`None`), or a session's socket.
    fn forward_many(&mut self, from: Option<usize>) -> Result<()> {
        let fd = self.fd(from);
        let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let received = match recvmmsg(fd, &mut self.receiving, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(received) => received.map(|message| (message.address, message.bytes)).collect::<Vec<_>>(),
            Err(nix::Error::EAGAIN | nix::Error::ECONNREFUSED) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut ways: Vec<(usize, usize)> = Vec::with_capacity(received.len());
        for (slot, (address, len)) in received.iter().enumerate() {
            let to = match from {
                Some(session) => Some(session),
                None => self.session_of(*address, slot, *len)?,
            };
            ways.extend(to.map(|to| (to, slot)));
        }
        ways.sort_by_key(|(session, _)| *session);
        for run in ways.chunk_by(|a, b| a.0 == b.0) {
            let session = run[0].0;
            let slices: Vec<_> =
                run.iter().map(|(_, slot)| [IoSlice::new(&self.buffers[*slot][..received[*slot].1])]).collect();
            let (out, target) = match from {
                Some(_) => (self.listener.as_raw_fd(), Some(self.sessions[session].client)),
                None => (self.sessions[session].socket.as_raw_fd(), None),
            };
            let targets = vec![target; slices.len()];
            // What does not fit is lost, as at a router.
            let _ = sendmmsg(out, &mut self.sending, &slices, &targets, [], MsgFlags::MSG_DONTWAIT);
        }
        Ok(())
    }

    fn forward_train(&mut self, from: Option<usize>) -> Result<()> {
        let fd = self.fd(from);
        let mut control = nix::cmsg_space!(i32);
        for _ in 0..BATCH {
            let (address, len, segment) = {
                let mut slices = [IoSliceMut::new(&mut self.buffers[0])];
                let received = match recvmsg::<SockaddrIn>(fd, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)
                {
                    Ok(received) => received,
                    Err(nix::Error::EAGAIN | nix::Error::ECONNREFUSED) => return Ok(()),
                    Err(error) => return Err(error.into()),
                };
                let segment = received.cmsgs()?.find_map(|message| {
                    let ControlMessageOwned::UdpGroSegments(bytes) = message else { return None };
                    u16::try_from(bytes).ok()
                });
                (received.address, received.bytes, segment)
            };
            let to = match from {
                Some(session) => Some(session),
                None => self.session_of(address, 0, len)?,
            };
            let Some(session) = to else { continue };
            let (out, target) = match from {
                Some(_) => (self.listener.as_raw_fd(), Some(self.sessions[session].client)),
                None => (self.sessions[session].socket.as_raw_fd(), None),
            };
            let slices = [IoSlice::new(&self.buffers[0][..len])];
            let train = segment.filter(|segment| usize::from(*segment) < len);
            let controls: Vec<_> = train.iter().map(ControlMessage::UdpGsoSegments).collect();
            let _ = sendmsg(out, &slices, &controls, MsgFlags::MSG_DONTWAIT, target.as_ref());
        }
        Ok(())
    }

    /// Whose datagram it is, if it is to be forwarded.
    fn session_of(&mut self, address: Option<SockaddrIn>, slot: usize, len: usize) -> Result<Option<usize>> {
        let client = address.context("a datagram from nowhere")?;
        let key = (u32::from(client.ip()), client.port());
        if len > 6 {
            return Ok(self.by_client.get(&key).copied());
        }
        let session = match self.by_client.get(&key) {
            Some(session) => *session,
            None => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                prepare(&socket, self.trains)?;
                let session = self.sessions.len();
                self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, session as u64))?;
                self.sessions.push(Session { client, socket });
                self.by_client.insert(key, session);
                session
            }
        };
        let socket = &self.sessions[session].socket;
        if len == 6 {
            let bytes = &self.buffers[slot];
            let ip = Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
            socket.connect((ip, u16::from_be_bytes([bytes[4], bytes[5]])))?;
        }
        let port = socket.local_addr()?.port().to_be_bytes();
        self.listener.send_to(&port, SocketAddrV4::new(client.ip(), client.port()))?;
        Ok(None)
    }
}

fn prepare(socket: &UdpSocket, trains: bool) -> Result<()> {
    socket.set_nonblocking(true)?;
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &BUFFER_BYTES)?;
    }
    if trains {
        setsockopt(socket, sockopt::UdpGroSegment, &true)?;
    }
    Ok(())
}

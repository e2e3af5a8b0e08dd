//! Many datagrams in few calls.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, sendmsg, setsockopt, sockopt,
};

use super::Sender;

/// Messages of one call.
pub(super) const BATCH: usize = 64;
/// Datagrams of a train.
const TRAIN: usize = 16;
/// Bytes of a receive buffer that are asked for: what the generator loses is not the server's fault.
const BUFFER_BYTES: usize = 8 << 20;

/// Sends for senders, and takes what arrives at the receivers.
pub(super) struct Wire<'a> {
    receivers: &'a [UdpSocket],
    epoll: Epoll,
    events: Vec<EpollEvent>,
    // Apart from each other: receiving would write to where sending last read its addresses.
    sending: MultiHeaders<SockaddrIn>,
    receiving: MultiHeaders<SockaddrIn>,
    buffers: Vec<Vec<u8>>,
}

impl<'a> Wire<'a> {
    /// `trains`: whether whole trains may arrive.
    pub(super) fn new(receivers: &'a [UdpSocket], trains: bool) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        for (number, receiver) in receivers.iter().enumerate() {
            epoll.add(receiver, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        }
        // Only the length is looked at; a whole train needs its room.
        let (room, count) = if trains { (65_536, 16) } else { (2_048, BATCH) };
        Ok(Self {
            receivers,
            epoll,
            events: vec![EpollEvent::empty(); BATCH],
            sending: MultiHeaders::preallocate(BATCH, None),
            receiving: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![vec![0; room]; count],
        })
    }

    /// Takes all that arrived; the bytes of it.
    pub(super) fn take(&mut self) -> Result<u64> {
        let mut bytes = 0;
        loop {
            let ready = self.epoll.wait(&mut self.events, EpollTimeout::ZERO)?;
            for event in &self.events[..ready] {
                let socket = &self.receivers[event.data() as usize];
                let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
                let received =
                    recvmmsg(socket.as_raw_fd(), &mut self.receiving, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
                match received {
                    Ok(received) => bytes += received.map(|message| message.bytes as u64).sum::<u64>(),
                    Err(nix::Error::EAGAIN | nix::Error::ECONNREFUSED) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if ready == 0 {
                return Ok(bytes);
            }
        }
    }

    /// One packet, or one train, for each target; how many packets.
    pub(super) fn send(&mut self, sender: &Sender, trains: bool) -> Result<u64> {
        let fd = sender.socket.as_raw_fd();
        if trains {
            let size = u16::try_from(sender.packet.len())?;
            let slices = [IoSlice::new(&sender.packet); TRAIN];
            let mut sent = 0;
            for target in &sender.targets {
                let control = [ControlMessage::UdpGsoSegments(&size)];
                match sendmsg(fd, &slices, &control, MsgFlags::MSG_DONTWAIT, target.as_ref()) {
                    Ok(_) => sent += TRAIN as u64,
                    Err(nix::Error::EAGAIN | nix::Error::ECONNREFUSED) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            return Ok(sent);
        }
        if let [None] = sender.targets[..] {
            return match sender.socket.send(&sender.packet) {
                Ok(_) => Ok(1),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => Ok(0),
                Err(error) => Err(error.into()),
            };
        }
        let slices = vec![[IoSlice::new(&sender.packet)]; sender.targets.len()];
        match sendmmsg(fd, &mut self.sending, &slices, &sender.targets, [], MsgFlags::MSG_DONTWAIT) {
            Ok(sent) => Ok(sent.count() as u64),
            Err(nix::Error::EAGAIN | nix::Error::ECONNREFUSED) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// Makes a socket of the generator one that loses nothing and waits for nothing.
pub(super) fn tune(socket: &UdpSocket, trains: bool) -> Result<()> {
    socket.set_nonblocking(true)?;
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
        // As much as the system gives.
        setsockopt(socket, sockopt::RcvBuf, &BUFFER_BYTES).context("a receive buffer")?;
    }
    if trains {
        setsockopt(socket, sockopt::UdpGroSegment, &true).context("UDP GRO")?;
    }
    Ok(())
}

/// An address as the kernel takes it.
pub(super) fn sockaddr(address: SocketAddr) -> Result<SockaddrIn> {
    match (address.ip(), address.port()) {
        (IpAddr::V4(ip), port) => Ok(SocketAddrV4::new(ip, port).into()),
        (IpAddr::V6(_), _) => bail!("the load generator speaks IPv4"),
    }
}

//! There and back again: a peer returns everything, and clients look how long it took.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

use super::Target;
use super::field::{Client, open_clients};
use super::wire::{BATCH, tune};
use crate::turn::process::cpu_seconds;

/// Bytes of a payload. The first eight say when it was sent.
const PAYLOAD_BYTES: usize = 160;
/// Bytes of a channel's header; a forwarder has none.
const CHANNEL_HEADER_BYTES: usize = 4;
/// Packets sent between two looks at what arrived.
const PORTION: u64 = 16;
/// Time before measuring starts.
const WARM_UP: Duration = Duration::from_millis(200);
/// How long the last ones may take.
const LINGER: Duration = Duration::from_millis(150);

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echoed {
    /// Payloads sent.
    pub offered: u64,
    /// Of these, how many came back.
    pub returned: u64,
    /// Processor seconds of the server.
    pub cpu_seconds: f64,
    /// Seconds it took.
    pub seconds: f64,
    /// Half of the round trips took no longer than so many microseconds.
    pub p50_microseconds: f64,
    /// 99 of 100 took no longer than so many microseconds.
    pub p99_microseconds: f64,
}

impl Echoed {
    /// Processor seconds for a million packets relayed: two in each round trip.
    #[must_use]
    pub fn cpu_per_million(&self) -> f64 {
        self.cpu_seconds * 1e6 / (2 * self.returned).max(1) as f64
    }

    /// Share of round trips that were not completed.
    #[must_use]
    pub fn loss(&self) -> f64 {
        1.0 - self.returned as f64 / self.offered.max(1) as f64
    }
}

/// The generator's state.
struct Echo {
    clients: Vec<Client>,
    peer: UdpSocket,
    epoll: Epoll,
    sending: MultiHeaders<SockaddrIn>,
    receiving: MultiHeaders<SockaddrIn>,
    buffers: Vec<Vec<u8>>,
    packet: Vec<u8>,
    header_bytes: usize,
    next: usize,
    started: Instant,
    round_trips: Vec<u32>,
}

impl Target {
    /// Sends so many packets a second from so many clients to a peer that returns them.
    ///
    /// # Errors
    /// The server refuses the sessions, or is gone.
    pub fn echo(&self, sessions: usize, rate: u64, duration: Duration) -> Result<Echoed> {
        let mut echo = Echo::lay_out(self, sessions)?;
        echo.run(rate, WARM_UP)?;
        echo.round_trips.clear();
        let (cpu, started) = (cpu_seconds(self.pid)?, Instant::now());
        let offered = echo.run(rate, duration)?;
        let seconds = started.elapsed().as_secs_f64() - LINGER.as_secs_f64();
        let cpu_seconds = cpu_seconds(self.pid)? - cpu;
        let mut took = std::mem::take(&mut echo.round_trips);
        took.sort_unstable();
        let at =
            |share: f64| took.get((took.len() as f64 * share) as usize).map_or(f64::NAN, |ns| f64::from(*ns) / 1e3);
        let (p50_microseconds, p99_microseconds) = (at(0.5), at(0.99));
        echo.release();
        Ok(Echoed { offered, returned: took.len() as u64, cpu_seconds, seconds, p50_microseconds, p99_microseconds })
    }
}

impl Echo {
    fn lay_out(target: &Target, sessions: usize) -> Result<Self> {
        let peer = UdpSocket::bind(SocketAddr::new(target.server.ip(), 0))?;
        tune(&peer, false)?;
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let (mut clients, _) = open_clients(target, sessions)?;
        for (number, client) in clients.iter_mut().enumerate() {
            client.bind(peer.local_addr()?)?;
            tune(client.socket()?, false)?;
            epoll.add(client.socket()?, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        }
        let packet = clients.first().map(|client| client.framed(&[0x5a; PAYLOAD_BYTES])).unwrap_or_default();
        let header_bytes = if packet.len() > PAYLOAD_BYTES { CHANNEL_HEADER_BYTES } else { 0 };
        let [sending, receiving] = [(); 2].map(|()| MultiHeaders::preallocate(BATCH, None));
        let (buffers, started) = (vec![vec![0; 512]; BATCH], Instant::now());
        Ok(Self {
            clients,
            peer,
            epoll,
            sending,
            receiving,
            buffers,
            packet,
            header_bytes,
            next: 0,
            started,
            round_trips: Vec::new(),
        })
    }

    /// Runs for this time, and a little longer for the last ones. Returns how many were sent.
    fn run(&mut self, rate: u64, duration: Duration) -> Result<u64> {
        let started = Instant::now();
        let mut offered = 0;
        loop {
            let elapsed = started.elapsed();
            if elapsed >= duration + LINGER {
                return Ok(offered);
            }
            let due = (elapsed.min(duration).as_secs_f64() * rate as f64) as u64;
            let portion = due.saturating_sub(offered).min(PORTION);
            for _ in 0..portion {
                offered += u64::from(self.send()?);
            }
            self.return_all()?;
            self.take_all()?;
        }
    }

    /// One packet from the next client. `false` when the system would not take it: then it was not offered.
    fn send(&mut self) -> Result<bool> {
        let nanoseconds = (self.started.elapsed().as_nanos() as u64).to_be_bytes();
        self.packet[self.header_bytes..][..8].copy_from_slice(&nanoseconds);
        self.next = (self.next + 1) % self.clients.len();
        Ok(self.clients[self.next].socket()?.send(&self.packet).is_ok())
    }

    /// The peer's part.
    fn return_all(&mut self) -> Result<()> {
        loop {
            let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let fd = self.peer.as_raw_fd();
            let received = match recvmmsg(fd, &mut self.receiving, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
                Ok(received) => received.map(|message| (message.address, message.bytes)).collect::<Vec<_>>(),
                Err(nix::Error::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let slices: Vec<_> =
                self.buffers.iter().zip(&received).map(|(buffer, (_, len))| [IoSlice::new(&buffer[..*len])]).collect();
            let addresses: Vec<_> = received.iter().map(|(address, _)| *address).collect();
            let mut gone = 0;
            while gone < slices.len() {
                let (slices, addresses) = (&slices[gone..], &addresses[gone..]);
                match sendmmsg(fd, &mut self.sending, slices, addresses, [], MsgFlags::MSG_DONTWAIT) {
                    Ok(sent) => gone += sent.count().max(1),
                    Err(nix::Error::EAGAIN | nix::Error::ECONNREFUSED) => gone += 1,
                    Err(error) => return Err(error.into()),
                }
            }
            if received.len() < BATCH {
                return Ok(());
            }
        }
    }

    fn take_all(&mut self) -> Result<()> {
        let mut events = [EpollEvent::empty(); BATCH];
        let ready = self.epoll.wait(&mut events, EpollTimeout::ZERO)?;
        for event in &events[..ready] {
            let fd = self.clients[event.data() as usize].socket()?.as_raw_fd();
            let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let count = match recvmmsg(fd, &mut self.receiving, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
                Ok(received) => received.count(),
                Err(_) => continue,
            };
            let now = self.started.elapsed().as_nanos() as u64;
            for buffer in &self.buffers[..count] {
                let sent = buffer[self.header_bytes..].first_chunk().copied().map_or(now, u64::from_be_bytes);
                self.round_trips.push(u32::try_from(now.saturating_sub(sent)).unwrap_or(u32::MAX));
            }
        }
        Ok(())
    }

    fn release(self) {
        self.clients.into_iter().for_each(Client::release);
    }
}

//! Load on a TURN server, and what it cost: processor time is read from the server's process.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::libc;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, sendmsg, setsockopt, sockopt,
};

use super::client::{TurnClient, answer, channel_data, relayed_of};
use super::process::{cpu_seconds, resident_kib};

/// The channel that every session binds.
const CHANNEL: u16 = 0x4000;
/// Messages of one call.
const BATCH: usize = 64;
/// Rounds of sending between two looks at what arrived.
const ROUNDS: usize = 8;
/// Datagrams of a train.
const TRAIN: usize = 16;
/// Time before measuring starts.
const WARM_UP: Duration = Duration::from_millis(400);

/// A server under load.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub server: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// A user it knows, under policy `any`.
    pub username: String,
    /// The user's password.
    pub password: String,
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

    /// Share of packets that were lost.
    #[must_use]
    pub fn loss(&self) -> f64 {
        1.0 - self.delivered as f64 / self.offered.max(1) as f64
    }
}

/// Clients with allocations and bound channels, and sockets that send and take.
struct Field {
    senders: Vec<Sender>,
    receivers: Vec<UdpSocket>,
    /// Bytes of each datagram as it arrives.
    arriving_bytes: usize,
    /// Whose sockets these are.
    clients: Vec<TurnClient>,
}

/// Apart from each other: receiving would write to where sending last read its addresses.
struct Headers {
    sending: MultiHeaders<SockaddrIn>,
    receiving: MultiHeaders<SockaddrIn>,
}

impl Headers {
    fn new() -> Self {
        let [sending, receiving] = [(); 2].map(|()| MultiHeaders::preallocate(BATCH, None));
        Self { sending, receiving }
    }
}

struct Sender {
    socket: UdpSocket,
    targets: Vec<Option<SockaddrIn>>,
    packet: Vec<u8>,
}

impl Target {
    /// The `n`th client. Each has an address of its own, as a server answers only so many requests without
    /// credentials of one address in a second.
    fn client(&self, n: usize) -> Result<TurnClient> {
        let own = Ipv4Addr::from_bits(0x7f02_0000 + u32::try_from(n)?);
        TurnClient::udp(own.into(), self.server, &self.username, &self.password)
    }

    /// Runs a load.
    ///
    /// # Errors
    /// The server refuses the sessions, or is gone.
    pub fn run(&self, load: Load) -> Result<Outcome> {
        let mut field = self.lay_out(&load)?;
        let mut headers = Headers::new();
        drive(&field, &load, &mut headers, Instant::now() + WARM_UP)?;
        let (cpu, started) = (cpu_seconds(self.pid)?, Instant::now());
        let (offered, mut delivered) = drive(&field, &load, &mut headers, started + load.duration)?;
        let seconds = started.elapsed().as_secs_f64();
        // What is still on its way; the server may be a full buffer behind.
        let mut quiet = Instant::now();
        while quiet.elapsed() < Duration::from_millis(100) {
            let more = take(&field, &load, &mut headers)?;
            delivered += more;
            if more > 0 {
                quiet = Instant::now();
            } else {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let cpu_seconds = cpu_seconds(self.pid)? - cpu;
        for client in &mut field.clients {
            // Its sessions must not be in the next load's way; what is still arriving does not matter.
            client.socket()?.set_nonblocking(false)?;
            let _ = client.release();
        }
        Ok(Outcome { offered, delivered, cpu_seconds, seconds })
    }

    fn lay_out(&self, load: &Load) -> Result<Field> {
        let payload = vec![0x5a; load.payload_bytes];
        let peer = UdpSocket::bind(SocketAddr::new(self.server.ip(), 0))?;
        tune(&peer, load.trains)?;
        let peer_address = peer.local_addr()?;
        let mut clients = Vec::new();
        let mut relayed = Vec::new();
        for n in 0..load.sessions * if load.direction == Direction::Between { 2 } else { 1 } {
            let mut client = self.client(n)?;
            relayed.push(client.allocate()?);
            clients.push(client);
        }
        let half = load.sessions;
        for (n, client) in clients.iter_mut().enumerate() {
            let to = match load.direction {
                Direction::Up | Direction::Down => peer_address,
                Direction::Between => relayed[(n + half) % (2 * half)],
            };
            match client.bind(CHANNEL, to)? {
                0 => {}
                code => bail!("ChannelBind refused with {code}"),
            }
            tune(client.socket()?, load.trains)?;
        }
        let sockets = clients.iter().map(|client| Ok(client.socket()?.try_clone()?)).collect::<Result<Vec<_>>>()?;
        let framed = channel_data(CHANNEL, &payload);
        let from_client =
            |socket: UdpSocket| Sender { socket, targets: vec![None], packet: channel_data(CHANNEL, &payload) };
        let (senders, receivers, arriving_bytes) = match load.direction {
            Direction::Up => (sockets.into_iter().map(from_client).collect(), vec![peer], payload.len()),
            Direction::Down => {
                let targets = relayed.iter().map(|address| sockaddr(*address).map(Some)).collect::<Result<_>>()?;
                (vec![Sender { socket: peer, targets, packet: payload.clone() }], sockets, framed.len())
            }
            Direction::Between => {
                let mut sockets = sockets;
                let receivers = sockets.split_off(half);
                (sockets.into_iter().map(from_client).collect(), receivers, framed.len())
            }
        };
        Ok(Field { senders, receivers, arriving_bytes, clients })
    }

    /// Makes so many allocations with a bound channel each, 64 at a time.
    ///
    /// # Errors
    /// One is refused, or lost more than a few times.
    pub fn allocate_many(&self, count: usize) -> Result<AllocationCost> {
        let resident = resident_kib(self.pid)?;
        let (cpu, started) = (cpu_seconds(self.pid)?, Instant::now());
        let peer = SocketAddr::new(self.server.ip(), 9);
        let mut clients = Vec::with_capacity(count);
        while clients.len() < count {
            let made = clients.len();
            let group = made..count.min(made + BATCH);
            let mut group = group.map(|n| self.client(n)).collect::<Result<Vec<_>>>()?;
            each(&mut group, TurnClient::unauthenticated_allocate, |client, answer| client.take_challenge(answer))?;
            each(&mut group, TurnClient::allocate_request, |_, answer| relayed_of(answer).map(|_| ()))?;
            each(
                &mut group,
                |client| client.bind_request(CHANNEL, peer),
                |_, answer| match answer.code()? {
                    0 => Ok(()),
                    code => bail!("ChannelBind refused with {code}"),
                },
            )?;
            clients.extend(group);
        }
        let seconds = started.elapsed().as_secs_f64();
        let cpu = cpu_seconds(self.pid)? - cpu;
        let grown = resident_kib(self.pid)?.saturating_sub(resident);
        for group in clients.chunks_mut(BATCH) {
            for client in group {
                client.release()?;
            }
        }
        let left = resident_kib(self.pid)?.saturating_sub(resident);
        Ok(AllocationCost {
            per_second: count as f64 / seconds,
            cpu_microseconds: cpu * 1e6 / count as f64,
            resident_kib: grown as f64 / count as f64,
            resident_kib_after: left as f64 / count as f64,
        })
    }

    /// Sends Allocate requests without credentials, each from another address of 127/8.
    ///
    /// # Errors
    /// The system refuses to send.
    pub fn flood(&self, sources: u32, rate: u64, duration: Duration) -> Result<FloodCost> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        tune(&socket, false)?;
        let request = self.client(0)?.unauthenticated_allocate();
        let to = sockaddr(self.server)?;
        let resident = resident_kib(self.pid)?;
        let (cpu, started) = (cpu_seconds(self.pid)?, Instant::now());
        let (mut sent, mut answers, mut answer_bytes) = (0_u64, 0_u64, 0_u64);
        let mut buffer = [0; 2048];
        while started.elapsed() < duration {
            let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
            while sent < due {
                // 127.1.0.0 and up: never the server's own address.
                let source = Ipv4Addr::from_bits(0x7f01_0000 + (sent % u64::from(sources)) as u32);
                let mut info: libc::in_pktinfo = empty_info();
                info.ipi_spec_dst.s_addr = source.to_bits().to_be();
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmsg(socket.as_raw_fd(), &[IoSlice::new(&request)], &control, MsgFlags::empty(), Some(&to))?;
                sent += 1;
            }
            loop {
                match socket.recv(&mut buffer) {
                    Ok(len) => {
                        answers += 1;
                        answer_bytes += len as u64;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        let grown = resident_kib(self.pid)?.saturating_sub(resident);
        // IP and UDP headers count.
        let out = answer_bytes + answers * 28;
        let sent_bytes = sent * (request.len() as u64 + 28);
        Ok(FloodCost {
            kept_bytes: grown as f64 * 1024.0 / sent.max(1) as f64,
            cpu_microseconds: (cpu_seconds(self.pid)? - cpu) * 1e6 / sent.max(1) as f64,
            bytes_out_per_in: out as f64 / sent_bytes.max(1) as f64,
            answered: answers as f64 / sent.max(1) as f64,
        })
    }
}

/// What allocations cost.
#[derive(Debug, Clone, Copy)]
pub struct AllocationCost {
    /// Allocations with a bound channel in a second.
    pub per_second: f64,
    /// Processor time of the server for one.
    pub cpu_microseconds: f64,
    /// Memory of the server for one.
    pub resident_kib: f64,
    /// The same after all were given up.
    pub resident_kib_after: f64,
}

/// What requests without credentials cost.
#[derive(Debug, Clone, Copy)]
pub struct FloodCost {
    /// Memory that the server kept for each.
    pub kept_bytes: f64,
    /// Processor time of the server for each.
    pub cpu_microseconds: f64,
    /// Bytes sent back for each byte, headers counted.
    pub bytes_out_per_in: f64,
    /// Share that was answered.
    pub answered: f64,
}

fn empty_info() -> libc::in_pktinfo {
    libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: 0 },
        ipi_addr: libc::in_addr { s_addr: 0 },
    }
}

/// One request of each client, and all their answers.
fn each(
    clients: &mut [TurnClient],
    mut request: impl FnMut(&mut TurnClient) -> Vec<u8>,
    mut take: impl FnMut(&mut TurnClient, &super::client::Answer) -> Result<()>,
) -> Result<()> {
    let mut requests = Vec::with_capacity(clients.len());
    for client in clients.iter_mut() {
        let bytes = request(client);
        client.send(&bytes)?;
        requests.push(bytes);
    }
    for (client, request) in clients.iter_mut().zip(&requests) {
        let received = match client.receive(Duration::from_millis(500))? {
            Some(bytes) => answer(bytes),
            // Lost on a full buffer.
            None => client.exchange(request)?,
        };
        take(client, &received)?;
    }
    Ok(())
}

fn sockaddr(address: SocketAddr) -> Result<SockaddrIn> {
    match (address.ip(), address.port()) {
        (IpAddr::V4(ip), port) => Ok(SocketAddrV4::new(ip, port).into()),
        (IpAddr::V6(_), _) => bail!("the load generator speaks IPv4"),
    }
}

fn tune(socket: &UdpSocket, trains: bool) -> Result<()> {
    socket.set_nonblocking(true)?;
    // As much as the system gives: what the generator loses is not the server's fault.
    if setsockopt(socket, sockopt::RcvBufForce, &(8 << 20)).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &(8 << 20)).context("a receive buffer")?;
    }
    if trains {
        setsockopt(socket, sockopt::UdpGroSegment, &true).context("UDP GRO")?;
    }
    Ok(())
}

/// Sends and takes until the time is over. Returns packets sent and packets that arrived.
fn drive(field: &Field, load: &Load, headers: &mut Headers, until: Instant) -> Result<(u64, u64)> {
    let started = Instant::now();
    let (mut offered, mut delivered) = (0, 0);
    while Instant::now() < until {
        let due = started.elapsed().as_secs_f64() * load.rate as f64;
        if load.rate == 0 || (offered as f64) < due {
            for _ in 0..if load.trains { 1 } else { ROUNDS } {
                for sender in &field.senders {
                    offered += sender.send(load.trains, headers)?;
                }
            }
        }
        delivered += take(field, load, headers)?;
    }
    Ok((offered, delivered))
}

impl Sender {
    /// One packet, or one train, for each target.
    fn send(&self, trains: bool, headers: &mut Headers) -> Result<u64> {
        let fd = self.socket.as_raw_fd();
        if trains {
            let size = u16::try_from(self.packet.len())?;
            let slices = [IoSlice::new(&self.packet); TRAIN];
            let mut sent = 0;
            for target in &self.targets {
                let control = [ControlMessage::UdpGsoSegments(&size)];
                match sendmsg(fd, &slices, &control, MsgFlags::MSG_DONTWAIT, target.as_ref()) {
                    Ok(_) => sent += TRAIN as u64,
                    Err(nix::Error::EAGAIN) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            return Ok(sent);
        }
        if let [None] = self.targets[..] {
            return match self.socket.send(&self.packet) {
                Ok(_) => Ok(1),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                Err(error) => Err(error.into()),
            };
        }
        let slices = vec![[IoSlice::new(&self.packet)]; self.targets.len()];
        match sendmmsg(fd, &mut headers.sending, &slices, &self.targets, [], MsgFlags::MSG_DONTWAIT) {
            Ok(sent) => Ok(sent.count() as u64),
            Err(nix::Error::EAGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes all that arrived.
fn take(field: &Field, load: &Load, headers: &mut Headers) -> Result<u64> {
    // Only the length is looked at; a whole train needs its room.
    let room = if load.trains { 65_536 } else { 2_048 };
    let mut buffers = vec![vec![0; room]; if load.trains { 8 } else { BATCH }];
    let mut bytes = 0;
    for socket in &field.receivers {
        loop {
            let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let asked = slices.len();
            match recvmmsg(socket.as_raw_fd(), &mut headers.receiving, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)
            {
                Ok(received) => {
                    let lengths: Vec<usize> = received.map(|message| message.bytes).collect();
                    bytes += lengths.iter().sum::<usize>() as u64;
                    if lengths.len() < asked {
                        break;
                    }
                }
                Err(nix::Error::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(bytes / field.arriving_bytes.max(1) as u64)
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

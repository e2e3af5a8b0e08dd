//! Many allocations at once: one socket, thousands of clients behind it, so many of them at work at any time.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lanyard_relay::ManySources;
use lanyard_turn_core::stun::{
    AttributeKind, Class, ErrorCode, Integrity, IntegrityKey, Message, MessageWriter, Method, PasswordAlgorithm,
    TransactionId,
};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, recvmmsg, setsockopt, sockopt,
};

use super::field::CHANNEL;
use super::wire::tune;
use super::{Service, Target};
use crate::turn::process::{anonymous_kib, cpu_seconds, resident_kib};

/// The address of the first client; the others follow.
const FIRST_CLIENT: u32 = 0x7f40_0000;
/// Clients at work at once.
const IN_FLIGHT: usize = 64;
/// How long an answer may take before the request is sent again.
const RESEND: Duration = Duration::from_millis(200);
/// How long a server may take to give memory back.
const SETTLE: Duration = Duration::from_secs(12);
/// How long all may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What allocations cost.
#[derive(Debug, Clone, Copy)]
pub struct AllocationCost {
    /// Allocations with a bound channel in a second.
    pub per_second: f64,
    /// Processor time of the server for one.
    pub cpu_microseconds: f64,
    /// Memory of the server for one: all that is in RAM.
    pub resident_kib: f64,
    /// Of that, what belongs to no file: heap and stacks.
    pub heap_kib: f64,
    /// Resident memory for one, after all were given up the second time and some seconds have passed.
    pub resident_kib_after: f64,
    /// Requests that had to be sent again, for one allocation.
    pub resent: f64,
}

impl Target {
    /// Makes so many allocations with a bound channel each, gives them up, and does both again.
    ///
    /// # Errors
    /// One is refused, or no answer comes.
    pub fn allocate_many(&self, count: usize) -> Result<AllocationCost> {
        let Service::Turn { username, password } = &self.service else { bail!("only TURN has allocations") };
        let (resident, heap) = (resident_kib(self.pid)?, anonymous_kib(self.pid)?);
        let (mut seconds, mut cpu, mut resent) = (0.0, 0.0, 0);
        let mut held = None;
        for _ in 0..2 {
            let mut crowd = Crowd::new(self.server, username, password, count)?;
            let (cpu_before, started) = (cpu_seconds(self.pid)?, Instant::now());
            crowd.advance(Stage::Bound)?;
            seconds += started.elapsed().as_secs_f64();
            cpu += cpu_seconds(self.pid)? - cpu_before;
            resent += crowd.resent;
            let grown = (resident_kib(self.pid)?, anonymous_kib(self.pid)?);
            held = held.or(Some((grown.0.saturating_sub(resident), grown.1.saturating_sub(heap))));
            crowd.advance(Stage::Released)?;
        }
        let left = self.settled_kib(resident)?.saturating_sub(resident);
        let (resident, heap) = held.unwrap_or_default();
        let each = |kib: u64| kib as f64 / count as f64;
        let made = 2.0 * count as f64;
        Ok(AllocationCost {
            per_second: made / seconds,
            cpu_microseconds: cpu * 1e6 / made,
            resident_kib: each(resident),
            heap_kib: each(heap),
            resident_kib_after: each(left),
            resent: resent as f64 / made,
        })
    }
}

impl Target {
    /// What is in RAM once the server has had time to give back what it does not need: as little as before, or as much
    /// as it keeps.
    fn settled_kib(&self, before: u64) -> Result<u64> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let resident = resident_kib(self.pid)?;
            if resident <= before || Instant::now() >= deadline {
                return Ok(resident);
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

/// How far a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    New,
    Challenged,
    Allocated,
    Bound,
    Released,
}

impl Stage {
    fn next(self) -> Self {
        match self {
            Self::New => Self::Challenged,
            Self::Challenged => Self::Allocated,
            Self::Allocated => Self::Bound,
            Self::Bound | Self::Released => Self::Released,
        }
    }
}

struct Member {
    stage: Stage,
    nonce: Vec<u8>,
    sent_at: Instant,
}

/// Clients that differ in their addresses.
struct Crowd {
    socket: UdpSocket,
    server: SocketAddr,
    username: Vec<u8>,
    password: Vec<u8>,
    realm: Vec<u8>,
    key: Option<IntegrityKey>,
    salt: [u8; 4],
    members: Vec<Member>,
    resent: u64,
    /// Requests that wait until a round is over: the generator must not be slower than the server, and each call costs.
    outgoing: Vec<u8>,
    /// From where each of them goes, and where it ends.
    sources: Vec<IpAddr>,
    ends: Vec<usize>,
    sender: ManySources,
    headers: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; 512]>,
}

impl Crowd {
    fn new(server: SocketAddr, username: &str, password: &str, count: usize) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        tune(&socket, false)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        let (username, password) = (username.into(), password.into());
        let sent_at = Instant::now();
        let members = (0..count).map(|_| Member { stage: Stage::New, nonce: Vec::new(), sent_at }).collect();
        // Not twice the same: an earlier crowd may have had the same port.
        let salt = socket.local_addr()?.port().to_be_bytes();
        let salt = [salt[0], salt[1], std::process::id() as u8, random_byte()];
        let headers = MultiHeaders::preallocate(IN_FLIGHT, Some(nix::cmsg_space!(nix::libc::in_pktinfo)));
        let buffers = vec![[0; 512]; IN_FLIGHT];
        let (realm, key) = (Vec::new(), None);
        Ok(Self {
            socket,
            server,
            username,
            password,
            realm,
            key,
            salt,
            members,
            resent: 0,
            outgoing: Vec::new(),
            sources: Vec::new(),
            ends: Vec::new(),
            sender: ManySources::default(),
            headers,
            buffers,
        })
    }

    /// Takes all clients to this stage.
    fn advance(&mut self, goal: Stage) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut waiting: VecDeque<usize> = (0..self.members.len()).collect();
        let mut working: Vec<usize> = Vec::with_capacity(IN_FLIGHT);
        let mut looked = Instant::now();
        loop {
            while working.len() < IN_FLIGHT
                && let Some(n) = waiting.pop_front()
            {
                self.request(n)?;
                working.push(n);
            }
            if working.is_empty() {
                return Ok(());
            }
            self.send()?;
            for n in self.take_answers()? {
                if self.members[n].stage < goal {
                    self.request(n)?;
                } else if let Some(place) = working.iter().position(|working| *working == n) {
                    working.swap_remove(place);
                }
            }
            let now = Instant::now();
            if now - looked > RESEND / 4 {
                looked = now;
                for n in working.clone() {
                    if now - self.members[n].sent_at > RESEND {
                        self.resent += 1;
                        self.request(n)?;
                    }
                }
                if now > deadline {
                    bail!("{} clients are stuck at {goal:?}", working.len());
                }
            }
        }
    }

    /// Queues what takes a client to its next stage.
    fn request(&mut self, n: usize) -> Result<()> {
        let peer = SocketAddr::new(self.server.ip(), 9);
        let member = &mut self.members[n];
        member.sent_at = Instant::now();
        let method = match member.stage {
            Stage::New | Stage::Challenged => Method::ALLOCATE,
            Stage::Allocated => Method::CHANNEL_BIND,
            Stage::Bound | Stage::Released => Method::REFRESH,
        };
        let id = transaction_id(self.salt, n, member.stage);
        let mut writer = MessageWriter::new(&mut self.outgoing, Class::Request, method, id);
        match member.stage {
            Stage::New | Stage::Challenged => {
                writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            }
            Stage::Allocated => {
                let [high, low] = CHANNEL.to_be_bytes();
                writer.attribute(AttributeKind::CHANNEL_NUMBER, &[high, low, 0, 0]);
                writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer);
            }
            Stage::Bound | Stage::Released => {
                writer.u32(AttributeKind::LIFETIME, 0);
            }
        }
        if let Some(key) = self.key.as_ref().filter(|_| member.stage > Stage::New) {
            writer.attribute(AttributeKind::USERNAME, &self.username);
            writer.attribute(AttributeKind::REALM, &self.realm);
            writer.attribute(AttributeKind::NONCE, &member.nonce);
            writer.integrity(Integrity::Sha1, key);
        }
        writer.finish()?;
        self.sources.push(client_address(n).into());
        self.ends.push(self.outgoing.len());
        Ok(())
    }

    /// Sends what is queued.
    fn send(&mut self) -> Result<()> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let requests = starts.zip(&self.ends).map(|(start, end)| IoSlice::new(&self.outgoing[start..*end]));
        let requests: Vec<_> = requests.collect();
        self.sender.send(self.socket.as_fd(), self.server, &self.sources, &requests)?;
        self.outgoing.clear();
        self.sources.clear();
        self.ends.clear();
        Ok(())
    }

    /// Takes what has arrived; whose it was, as far as it was news.
    fn take_answers(&mut self) -> Result<Vec<usize>> {
        let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let fd = self.socket.as_raw_fd();
        // All answers have control messages of one size, so headers that were used before still have the room.
        let arrived: Vec<_> = match recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(received) => received.map(|message| (addressee(&message), message.bytes)).collect(),
            Err(nix::Error::EAGAIN) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut news = Vec::with_capacity(arrived.len());
        let buffers = std::mem::take(&mut self.buffers);
        for (buffer, (n, len)) in buffers.iter().zip(arrived) {
            if let Some(n) = n
                && self.learn(n, &buffer[..len])?
            {
                news.push(n);
            }
        }
        self.buffers = buffers;
        Ok(news)
    }

    /// Takes note of an answer. `false` when it is an old one.
    fn learn(&mut self, n: usize, bytes: &[u8]) -> Result<bool> {
        let Some(member) = self.members.get_mut(n) else { return Ok(false) };
        let message = Message::decode(bytes)?;
        if message.transaction_id() != transaction_id(self.salt, n, member.stage) {
            return Ok(false);
        }
        if message.class() == Class::Error {
            let code = message.attribute(AttributeKind::ERROR_CODE).and_then(ErrorCode::decode);
            if member.stage != Stage::New || code != Some(ErrorCode::UNAUTHENTICATED) {
                bail!("{:?} refused after {:?}: {code:?}", message.method(), member.stage);
            }
            member.nonce = message.attribute(AttributeKind::NONCE).unwrap_or_default().to_vec();
            if self.key.is_none() {
                self.realm = message.attribute(AttributeKind::REALM).unwrap_or_default().to_vec();
                let (username, realm, password) = (&self.username, &self.realm, &self.password);
                self.key = Some(IntegrityKey::long_term(PasswordAlgorithm::Md5, username, realm, password));
            }
        }
        member.stage = member.stage.next();
        Ok(true)
    }
}

/// Whom an answer was for.
fn addressee(message: &RecvMsg<'_, '_, SockaddrIn>) -> Option<usize> {
    let to = message.cmsgs().ok()?.find_map(|message| {
        let ControlMessageOwned::Ipv4PacketInfo(info) = message else { return None };
        Some(u32::from_be(info.ipi_addr.s_addr))
    })?;
    to.checked_sub(FIRST_CLIENT).map(|n| n as usize)
}

fn client_address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST_CLIENT + n as u32)
}

/// Says whose it is and what for.
fn transaction_id(salt: [u8; 4], n: usize, stage: Stage) -> TransactionId {
    let mut id = [0; 12];
    id[..4].copy_from_slice(&salt);
    id[4..8].copy_from_slice(&(n as u32).to_be_bytes());
    id[8] = stage as u8;
    TransactionId(id)
}

fn random_byte() -> u8 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0) as u8
}

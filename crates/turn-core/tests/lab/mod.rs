//! A server under virtual time with pretended sockets, and a client that speaks to it.

#![allow(dead_code, reason = "each test file uses its own part of the lab")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lanyard_turn_core::stun::{
    AttributeKind, Class, ErrorCode, Integrity, IntegrityKey, Message, MessageWriter, Method, PasswordAlgorithm,
    TransactionId, decode_xor_address,
};
use lanyard_turn_core::{
    Command, Config, FiveTuple, Forward, ForwardToClient, Ledger, MemberId, PeerPolicy, PortRequest, RelayAddress,
    RelayId, RelaySocketUnavailable, RoomId, RoomMember, Server, SharedSecret, StaticUser, Transport,
};

/// What the wall clock says when a lab starts.
pub(crate) const UNIX_START: u64 = 1_800_000_000;
pub(crate) const RELAY_V4: &str = "198.51.100.1";
pub(crate) const RELAY_V6: &str = "2001:db8:100::1";
pub(crate) const REALM: &str = "lanyard";

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn secret() -> SharedSecret {
    SharedSecret::new(*b"0123456789abcdef")
}

/// Both families, one secret, two static users, room policy.
pub(crate) fn config() -> Config {
    let user = |name: &str| StaticUser {
        name: name.to_owned(),
        password: format!("password of {name}"),
        peer_policy: None,
        max_allocations: None,
    };
    Config {
        realm: REALM.to_owned(),
        secrets: vec![secret()],
        users: vec![user("alice"), user("bob")],
        relay_addresses: vec![RelayAddress::direct(ip(RELAY_V4)), RelayAddress::direct(ip(RELAY_V6))],
        own_addresses: vec![ip(RELAY_V4), ip(RELAY_V6), ip("192.168.7.1")],
        dont_fragment: true,
        ..Config::default()
    }
}

pub(crate) fn with_policy(peer_policy: PeerPolicy) -> Config {
    Config { peer_policy, ..config() }
}

/// What came of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    ToPeer { relay: RelayId, from: SocketAddr, peer: SocketAddr, payload: Vec<u8>, dont_fragment: bool },
    ToClient { tuple: FiveTuple, bytes: Vec<u8> },
}

pub(crate) struct Lab {
    pub(crate) server: Server,
    pub(crate) now: Instant,
    /// Relay sockets that are open.
    pub(crate) sockets: BTreeMap<RelayId, SocketAddr>,
    /// Sockets that were to be opened, and neither failed nor were to be closed since.
    pub(crate) named: BTreeSet<RelayId>,
    /// Commands to open sockets that were not answered.
    pub(crate) unanswered: Vec<(RelayId, IpAddr, PortRequest)>,
    /// Messages to clients.
    pub(crate) sent: Vec<(FiveTuple, Vec<u8>)>,
    /// What each client was told as its first relayed address.
    pub(crate) relayed_of: BTreeMap<FiveTuple, SocketAddr>,
    /// Whether sockets open by themselves.
    pub(crate) opens: bool,
    next_port: u16,
}

impl Lab {
    pub(crate) fn new(config: Config) -> Self {
        config.check().unwrap();
        let now = Instant::now();
        Self::around(Server::new(config, [42; 32], now), now)
    }

    /// A lab around one of several servers, whose sockets get ports of their own.
    pub(crate) fn of_several(config: Config, ledger: &Ledger, now: Instant, number: u8) -> Self {
        let lab = Self::around(Server::with_ledger(config, [number; 32], now, ledger.clone()), now);
        Self { next_port: 50_000 + 1_000 * u16::from(number), ..lab }
    }

    fn around(mut server: Server, now: Instant) -> Self {
        server.set_wall_clock(now, Duration::from_secs(UNIX_START));
        Self {
            server,
            now,
            sockets: BTreeMap::new(),
            named: BTreeSet::new(),
            unanswered: Vec::new(),
            sent: Vec::new(),
            relayed_of: BTreeMap::new(),
            opens: true,
            next_port: 50_000,
        }
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now += duration;
        while self.server.poll_timeout().is_some_and(|at| at <= self.now) {
            self.server.handle_timeout(self.now);
            self.drain();
        }
    }

    /// Carries out all commands.
    pub(crate) fn drain(&mut self) {
        loop {
            let opened = match self.server.poll_command() {
                None => break,
                Some(Command::SendToClient { tuple, message }) => {
                    self.sent.push((tuple, message.to_vec()));
                    continue;
                }
                Some(Command::CloseRelaySocket { relay }) => {
                    assert!(self.named.remove(&relay), "closed twice, or never to be opened");
                    self.sockets.remove(&relay);
                    self.unanswered.retain(|(id, ..)| *id != relay);
                    continue;
                }
                Some(Command::OpenRelaySocket { relay, bind, port }) => (relay, bind, port),
            };
            assert!(self.named.insert(opened.0), "opened twice");
            if let PortRequest::EvenWithNext(next) = opened.2 {
                assert!(self.named.insert(next), "opened twice");
            }
            self.unanswered.push(opened);
            if self.opens {
                self.answer_open(true);
            }
        }
    }

    /// Answers the oldest command to open a socket.
    pub(crate) fn answer_open(&mut self, succeed: bool) {
        let (relay, bind, port) = self.unanswered.remove(0);
        let result = if succeed {
            self.next_port += if self.next_port.is_multiple_of(2) && port != PortRequest::Any { 2 } else { 1 };
            let local = SocketAddr::new(bind, self.next_port);
            self.sockets.insert(relay, local);
            if let PortRequest::EvenWithNext(next) = port {
                self.next_port += 1;
                self.sockets.insert(next, SocketAddr::new(bind, self.next_port));
            }
            Ok(local)
        } else {
            self.named.remove(&relay);
            if let PortRequest::EvenWithNext(next) = port {
                self.named.remove(&next);
            }
            Err(RelaySocketUnavailable)
        };
        self.server.relay_socket_opened(self.now, relay, result);
    }

    /// Hands in bytes from a client and carries out what follows.
    pub(crate) fn client_sends(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Option<Delivery> {
        let delivery = self.server.handle_client_datagram(self.now, tuple, bytes).map(|forward| match forward {
            Forward::ToPeer(out) => Delivery::ToPeer {
                relay: out.relay,
                from: self.sockets[&out.relay],
                peer: out.peer,
                payload: out.payload.to_vec(),
                dont_fragment: out.dont_fragment,
            },
            Forward::ToClient(out) => to_client(&out),
        });
        self.drain();
        delivery
    }

    /// Hands in a datagram that arrived at the socket with this address.
    pub(crate) fn peer_sends(&mut self, relayed: SocketAddr, peer: SocketAddr, payload: &[u8]) -> Option<Delivery> {
        let relay = *self.sockets.iter().find(|(_, local)| **local == relayed)?.0;
        let delivery =
            self.server.handle_peer_datagram(self.now, relay, peer, payload).map(|forward| to_client(&forward));
        self.drain();
        delivery
    }

    /// The messages to clients since the last call.
    pub(crate) fn take_sent(&mut self) -> Vec<(FiveTuple, Vec<u8>)> {
        std::mem::take(&mut self.sent)
    }

    pub(crate) fn relay_of(&self, relayed: SocketAddr) -> RelayId {
        *self.sockets.iter().find(|(_, local)| **local == relayed).unwrap().0
    }

    /// Puts a tag into a room. The member is seen at `observed`.
    pub(crate) fn join(&mut self, tag: &str, room: u8, member: u32, observed: &[&str]) {
        let observed = observed.iter().map(|text| ip(text)).collect();
        self.server.set_member(
            tag,
            RoomMember {
                room: RoomId([room; 16]),
                member: MemberId(member),
                observed,
                transport_addresses: Vec::new(),
            },
        );
        self.drain();
    }
}

fn to_client(forward: &ForwardToClient<'_>) -> Delivery {
    let bytes = forward.slices().concat();
    assert_eq!(bytes.len(), forward.size_bytes());
    Delivery::ToClient { tuple: forward.tuple, bytes }
}

/// A message that came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply(pub(crate) Vec<u8>);

impl Reply {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::decode(&self.0).unwrap()
    }

    pub(crate) fn code(&self) -> Option<u16> {
        let value = self.message().attribute(AttributeKind::ERROR_CODE)?;
        ErrorCode::decode(value).map(|code| code.0)
    }

    /// 0 for success.
    pub(crate) fn outcome(&self) -> u16 {
        match self.message().class() {
            Class::Success => 0,
            Class::Error => self.code().unwrap(),
            Class::Request | Class::Indication => panic!("not a response"),
        }
    }

    pub(crate) fn xor_addresses(&self, kind: AttributeKind) -> Vec<SocketAddr> {
        let message = self.message();
        let found = message.attributes().filter(|attribute| attribute.kind == kind);
        found.map(|attribute| decode_xor_address(attribute.value, message.transaction_id()).unwrap()).collect()
    }

    pub(crate) fn relayed(&self) -> SocketAddr {
        self.xor_addresses(AttributeKind::XOR_RELAYED_ADDRESS)[0]
    }

    pub(crate) fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.message().attribute(AttributeKind::LIFETIME).unwrap().try_into().unwrap())
    }
}

/// A client with credentials and its nonce.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) tuple: FiveTuple,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) realm: String,
    pub(crate) nonce: Vec<u8>,
    pub(crate) algorithm: PasswordAlgorithm,
    pub(crate) integrity: Integrity,
    /// PASSWORD-ALGORITHMS as they were offered; sent back when set.
    pub(crate) offered: Option<Vec<u8>>,
    pub(crate) hides_name: bool,
    pub(crate) next_id: u64,
}

impl Client {
    pub(crate) fn over(transport: Transport, client: &str, username: &str, password: &str) -> Self {
        let server = if addr(client).is_ipv4() { "198.51.100.1:3478" } else { "[2001:db8:100::1]:3478" };
        Self {
            tuple: FiveTuple { transport, client: addr(client), server: addr(server) },
            username: username.to_owned(),
            password: password.to_owned(),
            realm: REALM.to_owned(),
            nonce: Vec::new(),
            algorithm: PasswordAlgorithm::Md5,
            integrity: Integrity::Sha1,
            offered: None,
            hides_name: false,
            next_id: 1,
        }
    }

    pub(crate) fn user(client: &str, name: &str) -> Self {
        Self::over(Transport::Udp, client, name, &format!("password of {name}"))
    }

    /// Credentials from the lab's secret that last an hour.
    pub(crate) fn tagged(client: &str, tag: &str) -> Self {
        let minted = secret().mint(UNIX_START + 3600, tag);
        Self::over(Transport::Udp, client, &minted.username, &minted.password)
    }

    pub(crate) fn key(&self) -> IntegrityKey {
        let (username, realm, password) = (self.username.as_bytes(), self.realm.as_bytes(), self.password.as_bytes());
        IntegrityKey::long_term(self.algorithm, username, realm, password)
    }

    pub(crate) fn next_id(&mut self) -> TransactionId {
        self.next_id += 1;
        let mut id = [b'.'; 12];
        id[..8].copy_from_slice(&self.next_id.to_be_bytes());
        TransactionId(id)
    }

    /// A request with credentials.
    pub(crate) fn build(&mut self, method: Method, fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
        let id = self.next_id();
        self.build_as(id, method, fill)
    }

    pub(crate) fn build_as(
        &self,
        id: TransactionId,
        method: Method,
        fill: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Vec<u8> {
        let mut buffer = Vec::new();
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, method, id);
        fill(&mut writer);
        if self.hides_name {
            writer.attribute(AttributeKind::USERHASH, &userhash(&self.username, &self.realm));
        } else {
            writer.attribute(AttributeKind::USERNAME, self.username.as_bytes());
        }
        writer.attribute(AttributeKind::REALM, self.realm.as_bytes());
        writer.attribute(AttributeKind::NONCE, &self.nonce);
        if let Some(offered) = &self.offered {
            writer.attribute(AttributeKind::PASSWORD_ALGORITHMS, offered);
            let [high, low] = self.algorithm.number().to_be_bytes();
            writer.attribute(AttributeKind::PASSWORD_ALGORITHM, &[high, low, 0, 0]);
        }
        writer.integrity(self.integrity, &self.key());
        writer.finish().unwrap();
        buffer
    }

    /// Sends bytes and returns the answer to this client, if there is one.
    pub(crate) fn exchange(&self, lab: &mut Lab, bytes: &[u8]) -> Option<Reply> {
        lab.take_sent();
        assert_eq!(lab.client_sends(self.tuple, bytes), None);
        let mut sent = lab.take_sent();
        assert!(sent.len() <= 1, "{sent:?}");
        let (tuple, bytes) = sent.pop()?;
        assert_eq!(tuple, self.tuple);
        let reply = Reply(bytes);
        let request = Message::decode(bytes_of(&reply)).unwrap();
        assert!(matches!(request.class(), Class::Success | Class::Error));
        Some(reply)
    }

    /// A request with credentials and its answer, which must be protected with the same.
    pub(crate) fn request(
        &mut self,
        lab: &mut Lab,
        method: Method,
        fill: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Reply {
        let bytes = self.build(method, fill);
        let reply = self.exchange(lab, &bytes).expect("an answer");
        if !matches!(reply.outcome(), 400 | 401 | 438) {
            assert!(reply.message().verify_integrity(&self.key()), "answer without integrity");
            assert_eq!(reply.message().integrity_kind(), Some(self.integrity));
        }
        reply
    }

    /// Fetches a nonce, as every client does first.
    pub(crate) fn challenge(&mut self, lab: &mut Lab) -> Reply {
        let mut buffer = Vec::new();
        let id = self.next_id();
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::ALLOCATE, id);
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        writer.u32(AttributeKind::LIFETIME, 600);
        writer.finish().unwrap();
        let reply = self.exchange(lab, &buffer).expect("a challenge");
        assert_eq!(reply.outcome(), 401);
        self.nonce = reply.message().attribute(AttributeKind::NONCE).unwrap().to_vec();
        reply
    }

    /// Asks for an allocation, after a challenge when there is no nonce yet.
    pub(crate) fn allocate_with(&mut self, lab: &mut Lab, fill: impl FnOnce(&mut MessageWriter<'_>)) -> Reply {
        if self.nonce.is_empty() {
            self.challenge(lab);
        }
        self.request(lab, Method::ALLOCATE, |writer| {
            writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            fill(writer);
        })
    }

    /// Allocates; the relayed address.
    pub(crate) fn allocate(&mut self, lab: &mut Lab) -> SocketAddr {
        let reply = self.allocate_with(lab, |_| {});
        assert_eq!(reply.outcome(), 0);
        lab.relayed_of.insert(self.tuple, reply.relayed());
        reply.relayed()
    }

    pub(crate) fn permit(&mut self, lab: &mut Lab, peer: SocketAddr) -> u16 {
        self.request(lab, Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer);
        })
        .outcome()
    }

    pub(crate) fn bind(&mut self, lab: &mut Lab, number: u16, peer: SocketAddr) -> u16 {
        let [high, low] = number.to_be_bytes();
        self.request(lab, Method::CHANNEL_BIND, |writer| {
            writer.attribute(AttributeKind::CHANNEL_NUMBER, &[high, low, 0, 0]);
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer);
        })
        .outcome()
    }

    pub(crate) fn refresh(&mut self, lab: &mut Lab, lifetime: u32) -> Reply {
        self.request(lab, Method::REFRESH, |writer| {
            writer.u32(AttributeKind::LIFETIME, lifetime);
        })
    }

    /// Sends a payload in a Send indication.
    pub(crate) fn send(&mut self, lab: &mut Lab, peer: SocketAddr, payload: &[u8]) -> Option<Delivery> {
        let mut buffer = Vec::new();
        let id = self.next_id();
        let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::SEND, id);
        writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer).attribute(AttributeKind::DATA, payload);
        writer.finish().unwrap();
        let delivery = lab.client_sends(self.tuple, &buffer);
        assert_eq!(lab.take_sent(), [], "indications are not answered");
        delivery
    }

    /// Sends a payload on a channel.
    pub(crate) fn send_on(&self, lab: &mut Lab, number: u16, payload: &[u8]) -> Option<Delivery> {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        let delivery = lab.client_sends(self.tuple, &bytes);
        assert_eq!(lab.take_sent(), []);
        delivery
    }
}

fn bytes_of(reply: &Reply) -> &[u8] {
    &reply.0
}

/// USERHASH's value, computed as the vector of RFC 8489 appendix B.1 shows.
pub(crate) fn userhash(username: &str, realm: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(format!("{username}:{realm}")).into()
}

/// Reads a Data indication: peer and payload.
pub(crate) fn data_indication(delivery: &Delivery) -> (SocketAddr, Vec<u8>) {
    let Delivery::ToClient { bytes, .. } = delivery else { panic!("{delivery:?}") };
    let message = Message::decode(bytes).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
    let peer = message.attribute(AttributeKind::XOR_PEER_ADDRESS).unwrap();
    let peer = decode_xor_address(peer, message.transaction_id()).unwrap();
    (peer, message.attribute(AttributeKind::DATA).unwrap().to_vec())
}

/// The payload of what was sent to a peer.
pub(crate) fn to_peer(delivery: Option<Delivery>) -> (SocketAddr, SocketAddr, Vec<u8>) {
    match delivery {
        Some(Delivery::ToPeer { from, peer, payload, .. }) => (from, peer, payload),
        other => panic!("{other:?}"),
    }
}

//! STUN and TURN: messages, framing, and whole sessions of several clients.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lanyard_turn_core::stun::{
    AttributeKind, Class, Integrity, IntegrityKey, Message, MessageWriter, Method, PasswordAlgorithm, TransactionId,
    decode_address, decode_xor_address,
};
use lanyard_turn_core::{
    ChannelData, Command, Config, FiveTuple, Forward, PeerPolicy, RelayAddress, RelayId, Server, StaticUser,
    StreamFramer, Transport, first_frame,
};

use crate::Input;

/// Attributes lie inside the message, addresses are read or refused, and no integrity fits by chance.
pub fn stun(data: &[u8]) {
    let Ok(message) = Message::decode(data) else { return };
    assert!(message.bytes().len() <= data.len());
    let mut bytes = 0;
    for attribute in message.attributes() {
        bytes += 4 + attribute.value.len();
        let _ = decode_address(attribute.value);
        let _ = decode_xor_address(attribute.value, message.transaction_id());
    }
    assert!(bytes + 20 <= data.len(), "attributes of {bytes} bytes in {}", data.len());
    let key = IntegrityKey::long_term(PasswordAlgorithm::Md5, b"user", b"realm", b"nobody knows this password");
    assert!(!message.verify_integrity(&key));
}

/// A ChannelData message is its header and its payload, no more.
pub fn channel_data(data: &[u8]) {
    let Ok(message) = ChannelData::decode(data) else { return };
    assert!(message.payload.len() + 4 <= data.len());
    let header = ChannelData::header(message.channel, message.payload.len()).expect("its length fits");
    assert_eq!(header[..], data[..4]);
    assert_eq!(message.payload, &data[4..4 + message.payload.len()]);
}

/// However a stream is cut into reads, the same frames come out, and little is held.
pub fn turn_stream(data: &[u8]) {
    let mut input = Input::new(data);
    let cut = usize::from(input.byte()).max(1);
    let stream = input.rest();
    let mut whole = Vec::new();
    let mut rest = stream;
    while let Ok(Some(frame)) = first_frame(rest) {
        assert!(!frame.message.is_empty() && frame.message.len() <= rest.len());
        whole.push(frame.message.to_vec());
        rest = &rest[frame.message.len()..];
    }
    let mut framer = StreamFramer::new();
    let mut pieces = Vec::new();
    'reads: for read in stream.chunks(cut) {
        framer.extend(read);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => pieces.push(frame.to_vec()),
                Ok(None) => break,
                Err(_) => break 'reads,
            }
        }
        assert!(framer.pending_bytes() <= lanyard_turn_core::MAX_FRAME_BYTES + cut);
    }
    assert_eq!(pieces, whole);
}

const CLIENTS: [&str; 3] = ["192.0.2.1:5000", "192.0.2.2:5000", "[2001:db8::3]:5000"];
const PASSWORD: &str = "password";
const REALM: &str = "lanyard";
const ALLOCATIONS_OF_ALL: usize = 64;

struct World {
    server: Server,
    now: Instant,
    sockets: BTreeMap<RelayId, SocketAddr>,
    nonces: [Vec<u8>; 3],
    next_port: u16,
    authenticated: bool,
}

impl World {
    fn new() -> Self {
        let address = |text: &str| text.parse().expect("an address");
        let user = |name: &str| StaticUser {
            name: name.to_owned(),
            password: PASSWORD.to_owned(),
            peer_policy: None,
            max_allocations: None,
        };
        let config = Config {
            realm: REALM.to_owned(),
            users: vec![user("a"), user("b"), user("c")],
            relay_addresses: vec![
                RelayAddress::direct(address("198.51.100.1")),
                RelayAddress::direct(address("2001:db8:100::1")),
            ],
            own_addresses: vec![address("198.51.100.1")],
            peer_policy: PeerPolicy::Public,
            ..Config::default()
        };
        let now = Instant::now();
        let mut server = Server::new(config, [1; 32], now);
        server.set_wall_clock(now, Duration::from_secs(1_800_000_000));
        Self {
            server,
            now,
            sockets: BTreeMap::new(),
            nonces: Default::default(),
            next_port: 50_000,
            authenticated: false,
        }
    }

    fn tuple(client: usize) -> FiveTuple {
        let client: SocketAddr = CLIENTS[client].parse().expect("an address");
        let server = if client.is_ipv4() { "198.51.100.1:3478" } else { "[2001:db8:100::1]:3478" };
        FiveTuple { transport: Transport::Udp, client, server: server.parse().expect("an address") }
    }

    fn client_sends(&mut self, client: usize, bytes: &[u8]) {
        if let Some(forward) = self.server.handle_client_datagram(self.now, Self::tuple(client), bytes) {
            assert!(self.authenticated, "a stranger's packet was passed on");
            if let Forward::ToPeer(out) = forward {
                assert!(self.sockets.contains_key(&out.relay), "out of a socket that is open");
                let ip = out.peer.ip().to_canonical();
                assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(), "sent to {}", out.peer);
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        let mut open = Vec::new();
        while let Some(command) = self.server.poll_command() {
            match command {
                Command::SendToClient { tuple, message } => {
                    let reply = Message::decode(message).expect("what the server says is STUN");
                    let at = CLIENTS.iter().position(|client| tuple.client.to_string() == *client);
                    if let (Some(at), Some(nonce)) = (at, reply.attribute(AttributeKind::NONCE)) {
                        self.nonces[at] = nonce.to_vec();
                    }
                }
                Command::OpenRelaySocket { relay, bind, .. } => {
                    assert!(self.authenticated, "a stranger has a socket opened");
                    open.push((relay, bind));
                }
                Command::CloseRelaySocket { relay } => drop(self.sockets.remove(&relay)),
            }
        }
        for (relay, bind) in open {
            self.next_port = self.next_port.wrapping_add(2).max(1024);
            let local = SocketAddr::new(bind, self.next_port);
            self.sockets.insert(relay, local);
            self.server.relay_socket_opened(self.now, relay, Ok(local));
        }
        assert!(self.sockets.len() <= 2 * ALLOCATIONS_OF_ALL, "{} sockets", self.sockets.len());
    }

    /// A request with the right credentials and whatever attributes the input names.
    fn authenticated_request(&mut self, client: usize, input: &mut Input<'_>) {
        const METHODS: [Method; 6] = [
            Method::ALLOCATE,
            Method::REFRESH,
            Method::CREATE_PERMISSION,
            Method::CHANNEL_BIND,
            Method::SEND,
            Method::BINDING,
        ];
        let method = METHODS[usize::from(input.byte()) % METHODS.len()];
        let class = if method == Method::SEND { Class::Indication } else { Class::Request };
        let mut id = [0; 12];
        id[0] = input.byte();
        let mut buffer = Vec::new();
        let mut writer = MessageWriter::new(&mut buffer, class, method, TransactionId(id));
        for _ in 0..input.byte() % 5 {
            match input.byte() % 8 {
                0 => {
                    writer.u32(AttributeKind::REQUESTED_TRANSPORT, 17 << 24);
                }
                1 => {
                    writer.u32(AttributeKind::LIFETIME, u32::from(input.u16()));
                }
                2 => {
                    writer.u32(AttributeKind::CHANNEL_NUMBER, u32::from(input.u16()) << 16);
                }
                3 | 4 => {
                    let [a, b] = [input.byte(), input.byte()];
                    let peer = match a % 4 {
                        0 => SocketAddr::from(([203, 0, 113, b], 7000)),
                        1 => SocketAddr::from(([127, 0, 0, b], 80)),
                        2 => self.sockets.values().next().copied().unwrap_or(SocketAddr::from(([8, 8, 8, b], 53))),
                        _ => SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x7f00, u16::from(b)], 80)),
                    };
                    writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer);
                }
                5 => {
                    writer.attribute(AttributeKind::DATA, input.piece());
                }
                _ => {
                    let kind = AttributeKind(input.u16());
                    writer.attribute(kind, input.piece());
                }
            }
        }
        let user = ["a", "b", "c"][client];
        if class == Class::Request {
            let key =
                IntegrityKey::long_term(PasswordAlgorithm::Md5, user.as_bytes(), REALM.as_bytes(), PASSWORD.as_bytes());
            writer.attribute(AttributeKind::USERNAME, user.as_bytes());
            writer.attribute(AttributeKind::REALM, REALM.as_bytes());
            writer.attribute(AttributeKind::NONCE, &self.nonces[client]);
            writer.integrity(Integrity::Sha1, &key);
        }
        if writer.finish().is_ok() {
            self.authenticated = true;
            self.client_sends(client, &buffer);
        }
    }
}

/// Three clients, peers and time in any order: nothing panics, strangers get nothing, nobody reaches this host, and what
/// is held is bounded.
pub fn turn_session(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new();
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let step = input.byte();
        let client = usize::from(step >> 4) % CLIENTS.len();
        match step & 0xf {
            0 | 1 => {
                let bytes = input.piece();
                world.client_sends(client, bytes);
            }
            2..=9 => world.authenticated_request(client, &mut input),
            10 | 11 => {
                let channel = 0x4000 | u16::from(input.byte() % 4);
                let payload = input.piece();
                let mut bytes = channel.to_be_bytes().to_vec();
                bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
                bytes.extend_from_slice(payload);
                world.client_sends(client, &bytes);
            }
            12 | 13 => {
                let from = SocketAddr::from(([203, 0, 113, input.byte()], 7000));
                let payload = input.piece();
                if let Some(relay) = world.sockets.keys().next().copied() {
                    let forward = world.server.handle_peer_datagram(world.now, relay, from, payload);
                    assert!(forward.is_none() || world.authenticated);
                }
                world.drain();
            }
            14 => {
                world.now += Duration::from_secs(u64::from(input.u16()) % 2_000);
                let now = world.now;
                world.server.handle_timeout(now);
                world.drain();
            }
            _ => {
                world.server.handle_client_disconnected(World::tuple(client));
                world.drain();
            }
        }
    }
    // Everything ends by itself.
    world.now += Duration::from_secs(24 * 3600);
    let now = world.now;
    world.server.handle_timeout(now);
    world.drain();
    assert!(world.sockets.is_empty(), "{} sockets outlive every lifetime", world.sockets.len());
}

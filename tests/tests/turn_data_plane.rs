//! What sockets do for allocations: errors that come back, the connected socket of a busy peer, and rules that change
//! while packets flow.

#![allow(clippy::unwrap_used, reason = "a failed test is what they are for")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lanyard_tests::turn::client::TurnClient;
use lanyard_tests::turn::metrics::{figure, get};
use lanyard_tests::turn::relay::{Echo, PASSWORD, Relay, Rules, USER};
use lanyard_turn_core::stun::{AttributeKind, Class, Message, Method, decode_xor_address};
use lanyard_turn_core::{ChannelData, SharedSecret};

const PATIENCE: Duration = Duration::from_secs(10);
const CHANNEL: u16 = 0x4000;
/// More than it takes until a socket is connected.
const MANY: u32 = 500;

fn loopback_socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The fastest way of this system, the one of every system, and several workers: all must pass the same tests.
const DATA_PLANES: [&str; 3] = ["data_plane = \"auto\"", "data_plane = \"portable\"", "workers = 4"];

fn rules_on<'a>(data_plane: &str, users: &'a mut String) -> Rules<'a> {
    users.push_str(&format!("\n{data_plane}"));
    Rules { users, ..Rules::default() }
}

/// Waits for a Data indication; its peer, and one attribute of it.
fn receive_data(client: &mut TurnClient, kind: AttributeKind) -> (SocketAddr, Vec<u8>) {
    let bytes = client.receive(PATIENCE).unwrap().expect("something comes");
    let message = Message::decode(&bytes).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
    let peer = message.attribute(AttributeKind::XOR_PEER_ADDRESS).unwrap();
    let peer = decode_xor_address(peer, message.transaction_id()).unwrap();
    (peer, message.attribute(kind).unwrap_or_default().to_vec())
}

#[test]
fn client_hears_that_nobody_listens_at_its_peer() {
    let relay = Relay::start(Rules::default()).unwrap();
    let gone = loopback_socket().1;
    let mut client = relay.client().unwrap();
    client.allocate().unwrap();
    assert_eq!(client.bind(CHANNEL, gone).unwrap(), 0);
    for _ in 0..3 {
        client.send_on(CHANNEL, b"anybody there?").unwrap();
        // Type 3 in seven bits, code 3 in nine: port unreachable (RFC 8656 §18.13).
        assert_eq!(receive_data(&mut client, AttributeKind::ICMP), (gone, vec![0, 0, 0x06, 0x03, 0, 0, 0, 0]));
    }
    // The socket is fine nevertheless.
    let echo = Echo::start(Ipv4Addr::LOCALHOST.into()).unwrap();
    assert_eq!(client.bind(CHANNEL + 1, echo.address).unwrap(), 0);
    client.send_on(CHANNEL + 1, b"ping").unwrap();
    assert_eq!(client.receive_on(CHANNEL + 1).unwrap(), b"ping");
}

#[test]
fn while_one_peer_is_busy_no_packet_is_lost_and_other_ports_are_heard() {
    for data_plane in DATA_PLANES {
        let mut users = Rules::default().users.to_owned();
        let relay = Relay::start(rules_on(data_plane, &mut users)).unwrap();
        relay_for_busy_peers(&relay);
    }
}

fn relay_for_busy_peers(relay: &Relay) {
    let [(peer, peer_address), (stranger, stranger_address)] = [(); 2].map(|()| loopback_socket());
    let mut client = relay.client().unwrap();
    let relayed = client.allocate().unwrap();
    assert_eq!(client.bind(CHANNEL, peer_address).unwrap(), 0);
    let mut buffer = [0; 64];
    for n in 0..MANY {
        client.send_on(CHANNEL, &n.to_be_bytes()).unwrap();
        let (len, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (&n.to_be_bytes()[..], relayed), "in order, and from one address");
        peer.send_to(&buffer[..len], relayed).unwrap();
        assert_eq!(client.receive_on(CHANNEL).unwrap(), n.to_be_bytes());
    }
    // The permission is for the address, whatever the port (RFC 8656 §9).
    stranger.send_to(b"hello", relayed).unwrap();
    assert_eq!(receive_data(&mut client, AttributeKind::DATA), (stranger_address, b"hello".to_vec()));
    // A second peer is busy now, and then both.
    assert_eq!(client.bind(CHANNEL + 1, stranger_address).unwrap(), 0);
    for n in 0..2 * MANY {
        let (channel, socket) = if n < MANY || n % 2 == 0 { (CHANNEL + 1, &stranger) } else { (CHANNEL, &peer) };
        client.send_on(channel, &n.to_be_bytes()).unwrap();
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (&n.to_be_bytes()[..], relayed));
        socket.send_to(&buffer[..len], relayed).unwrap();
        assert_eq!(client.receive_on(channel).unwrap(), n.to_be_bytes());
    }
    assert_eq!(client.release().unwrap(), 0);
}

#[test]
fn clients_of_every_worker_and_transport_are_relayed_to_each_other() {
    let mut users = Rules::default().users.to_owned();
    let relay = Relay::start(rules_on("workers = 3", &mut users)).unwrap();
    let mut clients: Vec<(TurnClient, SocketAddr)> = (0..12)
        .map(|number| {
            let own = Ipv4Addr::new(127, 0, 2, number).into();
            let mut client = match number % 2 {
                0 => TurnClient::udp(own, relay.udp, USER, PASSWORD),
                _ => TurnClient::tcp(own, relay.udp, USER, PASSWORD),
            }
            .unwrap();
            let relayed = client.allocate().unwrap();
            (client, relayed)
        })
        .collect();
    let relayed: Vec<SocketAddr> = clients.iter().map(|(_, relayed)| *relayed).collect();
    let channel = |number: usize| CHANNEL + u16::try_from(number).unwrap();
    for (client, _) in &mut clients {
        for (number, peer) in relayed.iter().enumerate() {
            assert_eq!(client.bind(channel(number), *peer).unwrap(), 0);
        }
    }
    for from in 0..clients.len() {
        for to in (0..clients.len()).filter(|to| *to != from) {
            let payload = [from, to].map(|number| u8::try_from(number).unwrap());
            clients[from].0.send_on(channel(to), &payload).unwrap();
            assert_eq!(clients[to].0.receive_on(channel(from)).unwrap(), payload);
        }
    }
    let metrics = get(relay.http, "/metrics").unwrap();
    assert_eq!(figure(&metrics, "lanyard_turn_allocations").unwrap(), 12, "of all workers");
    let pairs = 12 * 11;
    // Within a worker by the short cut, between workers through their sockets.
    let local = figure(&metrics, "lanyard_turn_local_packets_total").unwrap();
    assert!((1..pairs).contains(&local), "{local} of {pairs}");
}

/// Before the rules change, and once they are others.
const BEFORE: u8 = 0;
const AFTER: u8 = 1;
const OVER: u8 = 2;
/// Packets on their way at once.
const WINDOW: usize = 64;

/// What a session saw.
#[derive(Debug)]
struct Seen {
    who: String,
    /// Packets that were sent before and while the rules changed, and after.
    sent: [u32; 2],
    /// The same of those that came back.
    returned: [u32; 2],
}

/// Sends without a break until it is over, then waits for what is still missing.
fn pump(who: String, mut client: TurnClient, phase: &AtomicU8) -> Seen {
    let mut seen = Seen { who, sent: [0; 2], returned: [0; 2] };
    let mut missing: BTreeMap<u32, usize> = BTreeMap::new();
    let mut deadline = None;
    for n in 0.. {
        let now = phase.load(Ordering::SeqCst);
        if now == OVER {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + Duration::from_secs(2));
            if missing.is_empty() || Instant::now() > deadline {
                break;
            }
        } else {
            // What does not come back any more must not stop the rest.
            while missing.len() >= WINDOW && now == AFTER {
                missing.pop_first();
            }
            if missing.len() < WINDOW && client.send_on(CHANNEL, &u32::to_be_bytes(n)).is_ok() {
                missing.insert(n, usize::from(now));
                seen.sent[usize::from(now)] += 1;
            }
        }
        let patience = if missing.len() < WINDOW / 2 { Duration::from_micros(200) } else { Duration::from_millis(10) };
        // An end of the stream is the end of the session.
        while let Ok(Some(bytes)) = client.receive(patience) {
            let payload = ChannelData::decode(&bytes).ok().and_then(|data| data.payload.try_into().ok());
            if let Some(phase) = payload.and_then(|payload| missing.remove(&u32::from_be_bytes(payload))) {
                seen.returned[phase] += 1;
            }
            if missing.len() < WINDOW / 2 {
                break;
            }
        }
    }
    seen
}

#[test]
fn reload_under_load_loses_no_packet_of_those_still_allowed_and_cuts_the_others() {
    DATA_PLANES.into_iter().for_each(reload_under_load);
}

fn reload_under_load(data_plane: &str) {
    let before = r#"
        users = [
            { name = "alice", password = "her own" },
            { name = "bob", password = "his first" },
            { name = "carol", password = "her own too", peer_policy = "any" },
        ]
        secrets = ["a secret that stays", "a secret that goes"]"#;
    let after = r#"
        users = [
            { name = "alice", password = "her own" },
            { name = "bob", password = "his second" },
            { name = "carol", password = "her own too", peer_policy = "public" },
        ]
        secrets = ["a secret that is new", "a secret that stays"]"#;
    let (mut before, mut after) = (before.to_owned(), after.to_owned());
    let mut relay = Relay::start(rules_on(data_plane, &mut before)).unwrap();
    let echo = Echo::start(Ipv4Addr::LOCALHOST.into()).unwrap();
    let minted = |secret: &str, tag: &str| {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let credential = SharedSecret::new(secret.as_bytes()).mint(since_1970.as_secs() + 600, tag);
        (credential.username, credential.password)
    };
    let owned = |name: &str, password: &str| (name.to_owned(), password.to_owned());
    let allowed = [owned("alice", "her own"), minted("a secret that stays", "dave")];
    let cut = [owned("bob", "his first"), owned("carol", "her own too"), minted("a secret that goes", "eve")];
    let old_certificate = relay.certificate().unwrap();
    let phase = AtomicU8::new(BEFORE);
    std::thread::scope(|scope| {
        let mut pumps = Vec::new();
        for (username, password) in allowed.iter().chain(&cut) {
            for transport in ["UDP", "TCP", "TLS"] {
                // Each from an address of its own, and so at one worker or another.
                let own = Ipv4Addr::new(127, 0, 1, u8::try_from(pumps.len()).unwrap()).into();
                let mut client = match transport {
                    "UDP" => TurnClient::udp(own, relay.udp, username, password),
                    "TCP" => TurnClient::tcp(own, relay.udp, username, password),
                    _ => TurnClient::tls(own, relay.https, &old_certificate, username, password),
                }
                .unwrap();
                client.allocate().unwrap();
                assert_eq!(client.bind(CHANNEL, echo.address).unwrap(), 0);
                let (who, phase) = (format!("{username} over {transport}"), &phase);
                pumps.push(scope.spawn(move || pump(who, client, phase)));
            }
        }
        std::thread::sleep(Duration::from_millis(400));
        relay.change_certificate().unwrap();
        relay.reload(rules_on(data_plane, &mut after)).unwrap();
        phase.store(AFTER, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(400));
        phase.store(OVER, Ordering::SeqCst);
        for pump in pumps {
            let seen = pump.join().unwrap();
            let is_allowed = allowed.iter().any(|(username, _)| seen.who.starts_with(username.as_str()));
            assert!(seen.sent[0] > 100, "{seen:?}");
            if is_allowed {
                assert!(seen.sent[1] > 100, "{seen:?}");
                assert_eq!(seen.returned, seen.sent, "{seen:?}");
            } else {
                assert!(seen.returned[0] > 50, "{seen:?}");
                assert_eq!(seen.returned[1], 0, "{seen:?}");
            }
        }
    });
    let (username, password) = &allowed[0];
    assert!(
        TurnClient::tls(Ipv4Addr::LOCALHOST.into(), relay.https, &old_certificate, username, password).is_err(),
        "the old certificate"
    );
    let new_certificate = relay.certificate().unwrap();
    TurnClient::tls(Ipv4Addr::LOCALHOST.into(), relay.https, &new_certificate, username, password)
        .unwrap()
        .allocate()
        .unwrap();
    let mut bob = TurnClient::udp(Ipv4Addr::LOCALHOST.into(), relay.udp, "bob", "his second").unwrap();
    bob.allocate().unwrap();
}

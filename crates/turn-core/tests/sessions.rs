//! Whole sessions at random: whatever clients, peers, the shell and time do, nothing panics, leaks or escapes.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, in its helpers too")]

mod lab;

use std::time::Duration;

use lab::{Client, Delivery, Lab, addr, config};
use lanyard_turn_core::stun::{AttributeKind, Class, Message, MessageWriter, Method, TransactionId};
use lanyard_turn_core::{Command, Limits, PeerPolicy, RelayAddress, Transport};
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

const TAGS: [&str; 4] = ["a", "b", "c", "d"];
const PEERS: [&str; 6] =
    ["192.168.1.1:1", "192.168.1.2:1", "8.8.8.8:53", "127.0.0.1:22", "198.51.100.1:50001", "[2606:4700::1]:1"];

#[derive(Debug, Clone)]
enum Step {
    Allocate { client: usize, kind: u8 },
    Refresh { client: usize, lifetime: u32 },
    Permit { client: usize, peer: usize },
    Bind { client: usize, peer: usize, channel: u16 },
    BindEachOther { one: usize, other: usize },
    Send { client: usize, peer: usize },
    SendOn { client: usize, channel: u16 },
    PeerSends { socket: usize, peer: usize },
    Pass { seconds: u64 },
    Disconnect { client: usize },
    AnswerOpen { succeed: bool },
    OpensByItself { opens: bool },
    Join { client: usize, room: u8 },
    Leave { client: usize },
    SetPolicy { public: bool },
    Renumber { last: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..TAGS.len();
    let peer = 0..PEERS.len();
    let channel = prop_oneof![Just(0x4000_u16), Just(0x4001), Just(0x7fff), Just(0x3fff)];
    prop_oneof![
        4 => (client.clone(), 0..5_u8).prop_map(|(client, kind)| Step::Allocate { client, kind }),
        2 => (client.clone(), prop_oneof![Just(0), Just(600), any::<u32>()])
            .prop_map(|(client, lifetime)| Step::Refresh { client, lifetime }),
        2 => (client.clone(), peer.clone()).prop_map(|(client, peer)| Step::Permit { client, peer }),
        2 => (client.clone(), peer.clone(), channel.clone())
            .prop_map(|(client, peer, channel)| Step::Bind { client, peer, channel }),
        2 => (client.clone(), client.clone()).prop_map(|(one, other)| Step::BindEachOther { one, other }),
        3 => (client.clone(), peer.clone()).prop_map(|(client, peer)| Step::Send { client, peer }),
        3 => (client.clone(), channel).prop_map(|(client, channel)| Step::SendOn { client, channel }),
        3 => (0..8_usize, peer).prop_map(|(socket, peer)| Step::PeerSends { socket, peer }),
        3 => (0..400_u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => client.clone().prop_map(|client| Step::Disconnect { client }),
        2 => any::<bool>().prop_map(|succeed| Step::AnswerOpen { succeed }),
        1 => any::<bool>().prop_map(|opens| Step::OpensByItself { opens }),
        2 => (client.clone(), 1..3_u8).prop_map(|(client, room)| Step::Join { client, room }),
        1 => client.prop_map(|client| Step::Leave { client }),
        1 => any::<bool>().prop_map(|public| Step::SetPolicy { public }),
        1 => (1..4_u8).prop_map(|last| Step::Renumber { last }),
    ]
}

/// A request whatever its answer; a stale nonce is renewed.
fn ask(lab: &mut Lab, client: &mut Client, method: Method, fill: impl Fn(&mut MessageWriter<'_>)) {
    for _ in 0..2 {
        let bytes = client.build(method, &fill);
        lab.take_sent();
        assert_eq!(lab.client_sends(client.tuple, &bytes), None);
        let answer = lab.take_sent().pop().filter(|(tuple, _)| *tuple == client.tuple);
        let nonce = answer.and_then(|(_, bytes)| {
            Message::decode(&bytes).unwrap().attribute(AttributeKind::NONCE).map(<[u8]>::to_vec)
        });
        match nonce {
            Some(nonce) => client.nonce = nonce,
            None => return,
        }
    }
}

fn perform(lab: &mut Lab, clients: &mut [Client], step: &Step) -> Option<Delivery> {
    lab.take_sent();
    match *step {
        Step::Allocate { client, kind } => ask(lab, &mut clients[client], Method::ALLOCATE, |writer| {
            writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            match kind {
                0 => {}
                1 => drop(writer.attribute(AttributeKind::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])),
                2 => drop(writer.attribute(AttributeKind::EVEN_PORT, &[0x80])),
                3 => drop(writer.attribute(AttributeKind::EVEN_PORT, &[0])),
                _ => drop(writer.attribute(AttributeKind::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])),
            }
        }),
        Step::Refresh { client, lifetime } => ask(lab, &mut clients[client], Method::REFRESH, |writer| {
            writer.u32(AttributeKind::LIFETIME, lifetime);
        }),
        Step::Permit { client, peer } => ask(lab, &mut clients[client], Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr(PEERS[peer]));
        }),
        Step::Bind { client, peer, channel } => ask(lab, &mut clients[client], Method::CHANNEL_BIND, |writer| {
            let [high, low] = channel.to_be_bytes();
            writer.attribute(AttributeKind::CHANNEL_NUMBER, &[high, low, 0, 0]);
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr(PEERS[peer]));
        }),
        Step::BindEachOther { one, other } => {
            let sockets: Vec<_> = lab.sockets.values().copied().collect();
            for (client, socket) in [(one, sockets.first()), (other, sockets.last())] {
                let Some(socket) = socket else { continue };
                ask(lab, &mut clients[client], Method::CHANNEL_BIND, |writer| {
                    writer.attribute(AttributeKind::CHANNEL_NUMBER, &[0x40, 0, 0, 0]);
                    writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, *socket);
                });
            }
        }
        Step::Send { client, peer } => return clients[client].send(lab, addr(PEERS[peer]), b"payload"),
        Step::SendOn { client, channel } => return clients[client].send_on(lab, channel, b"payload"),
        Step::PeerSends { socket, peer } => {
            let relayed = lab.sockets.values().copied().nth(socket)?;
            return lab.peer_sends(relayed, addr(PEERS[peer]), b"payload");
        }
        Step::Pass { seconds } => lab.pass(Duration::from_secs(seconds)),
        Step::Disconnect { client } => lab.server.handle_client_disconnected(clients[client].tuple),
        Step::AnswerOpen { succeed } if !lab.unanswered.is_empty() => lab.answer_open(succeed),
        Step::AnswerOpen { .. } => {}
        Step::OpensByItself { opens } => lab.opens = opens,
        Step::Join { client, room } => {
            let seen = format!("192.168.1.{client}");
            lab.join(TAGS[client], room, u32::try_from(client).unwrap(), &[&seen]);
        }
        Step::Leave { client } => lab.server.remove_member(TAGS[client]),
        Step::SetPolicy { public } => {
            lab.server.set_peer_policy(if public { PeerPolicy::Public } else { PeerPolicy::Room });
        }
        Step::Renumber { last } => {
            let relay = RelayAddress::direct(format!("198.51.100.{last}").parse().unwrap());
            lab.server.set_addresses(vec![relay], vec![]);
        }
    }
    lab.drain();
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_sessions_leak_nothing_and_reach_nobody_they_may_not(steps in prop::collection::vec(step(), 1..120)) {
        let limits = Limits { expired_credential_grace: Duration::from_secs(1_000_000), ..Limits::default() };
        let mut lab = Lab::new(lanyard_turn_core::Config { limits, ..config() });
        let transports = [Transport::Udp, Transport::Udp, Transport::Tcp, Transport::Tls];
        let mut clients: Vec<Client> = TAGS.iter().zip(transports).enumerate().map(|(n, (tag, transport))| {
            let mut client = Client::tagged(&format!("192.0.2.{n}:1000"), tag);
            client.tuple.transport = transport;
            client.nonce = b"none yet".to_vec();
            client
        }).collect();
        let mut public = false;
        for step in &steps {
            let delivery = perform(&mut lab, &mut clients, step);
            if let Step::SetPolicy { public: now } = step {
                public = *now;
            }
            if let Some(Delivery::ToPeer { peer, .. }) = delivery {
                let ip = peer.ip().to_string();
                let may = if public { ip == "8.8.8.8" || ip == "2606:4700::1" } else { ip.starts_with("192.168.1.") };
                prop_assert!(may, "{peer} was reached");
            }
            // Every allocation has one or two sockets, and there is a deadline exactly while there is anything.
            let allocations = lab.server.metrics().allocations;
            prop_assert!(allocations <= 4);
            prop_assert!(lab.named.len() >= usize::try_from(allocations).unwrap());
            prop_assert_eq!(lab.server.poll_timeout().is_some(), !lab.named.is_empty());
        }
        for _ in 0..3 {
            lab.pass(Duration::from_secs(600));
        }
        prop_assert_eq!(lab.server.metrics().allocations, 0);
        prop_assert!(lab.named.is_empty() && lab.sockets.is_empty() && lab.unanswered.is_empty());
        prop_assert_eq!(lab.server.poll_timeout(), None);
    }
}

/// Valid messages of every kind, from a client with an allocation.
fn specimens(lab: &mut Lab, client: &mut Client) -> Vec<Vec<u8>> {
    client.allocate(lab);
    let mut specimens = vec![
        client.build(Method::ALLOCATE, |writer| {
            writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            writer.attribute(AttributeKind::EVEN_PORT, &[0x80]);
        }),
        client.build(Method::REFRESH, |writer| {
            writer.u32(AttributeKind::LIFETIME, 600);
        }),
        client.build(Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr("8.8.8.8:1"));
        }),
        client.build(Method::CHANNEL_BIND, |writer| {
            writer.attribute(AttributeKind::CHANNEL_NUMBER, &[0x40, 0, 0, 0]);
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr("8.8.8.8:1"));
        }),
        b"\x40\x00\x00\x05hello".to_vec(),
    ];
    for (class, method) in
        [(Class::Indication, Method::SEND), (Class::Request, Method::BINDING), (Class::Request, Method::ALLOCATE)]
    {
        let mut bytes = Vec::new();
        let mut writer = MessageWriter::new(&mut bytes, class, method, TransactionId([8; 12]));
        writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr("8.8.8.8:1")).attribute(AttributeKind::DATA, b"data");
        writer.finish().unwrap();
        specimens.push(bytes);
    }
    specimens
}

fn mutate(rng: &mut ChaCha12Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        let len = bytes.len();
        match rng.random_range(0..6) {
            0 if len > 0 => bytes[rng.random_range(0..len)] ^= 1 << rng.random_range(0..8),
            1 if len > 0 => bytes[rng.random_range(0..len)] = rng.random(),
            2 => bytes.truncate(rng.random_range(0..=len)),
            3 => bytes.extend(std::iter::repeat_n(rng.random::<u8>(), rng.random_range(0..40))),
            // A length field, of the message or of an attribute.
            4 if len > 24 => {
                let at = rng.random_range(0..len / 4 - 1) * 4 + 2;
                bytes[at..at + 2].copy_from_slice(&rng.random::<u16>().to_be_bytes());
            }
            _ if len > 20 => {
                let length = u16::try_from(len - 20).unwrap() & !3;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                bytes.truncate(usize::from(length) + 20);
            }
            _ => {}
        }
    }
}

#[test]
fn two_hundred_thousand_mutated_packets_do_no_harm() {
    let seed: u64 = 20_261_121;
    println!("seed {seed}");
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut lab = Lab::new(lab::with_policy(PeerPolicy::Public));
    let mut client = Client::user("192.0.2.1:1000", "alice");
    let specimens = specimens(&mut lab, &mut client);
    for round in 0..200_000_u32 {
        let mut bytes = specimens[rng.random_range(0..specimens.len())].clone();
        mutate(&mut rng, &mut bytes);
        let mut tuple = client.tuple;
        if rng.random_ratio(1, 4) {
            tuple.client.set_ip(std::net::IpAddr::V4(rng.next_u32().into()));
        }
        let _ = lab.server.handle_client_datagram(lab.now, tuple, &bytes);
        while let Some(command) = lab.server.poll_command() {
            if let Command::SendToClient { message, .. } = command {
                assert!(Message::decode(message).is_ok(), "every answer is well-formed");
            }
        }
        if round % 10_000 == 0 {
            lab.now += Duration::from_secs(1);
            let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
            assert_eq!(client.exchange(&mut lab, &binding).unwrap().outcome(), 0);
        }
    }
    assert!(lab.server.metrics().allocations <= 1);
}

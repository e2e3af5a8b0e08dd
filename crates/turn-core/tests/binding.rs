//! Binding requests against a server under virtual time.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, in its helpers too")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lanyard_turn_core::stun::{
    AttributeKind, Class, ErrorCode, Message, MessageWriter, Method, TransactionId, decode_address, decode_xor_address,
};
use lanyard_turn_core::{Command, Config, Discovery, FiveTuple, Server, Transport};

const ID: TransactionId = TransactionId(*b"transaction!");

fn tuple(client: &str, server: &str) -> FiveTuple {
    FiveTuple { transport: Transport::Udp, client: client.parse().unwrap(), server: server.parse().unwrap() }
}

fn request(fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, ID);
    fill(&mut writer);
    writer.finish().unwrap();
    buffer
}

fn answers(server: &mut Server, now: Instant, tuple: FiveTuple, request: &[u8]) -> Vec<(FiveTuple, Vec<u8>)> {
    assert_eq!(server.handle_client_datagram(now, tuple, request), None);
    let mut answers = Vec::new();
    while let Some(command) = server.poll_command() {
        match command {
            Command::SendToClient { tuple, message } => answers.push((tuple, message.to_vec())),
            Command::OpenRelaySocket { .. } | Command::CloseRelaySocket { .. } => panic!("{command:?}"),
        }
    }
    answers
}

fn server(now: Instant) -> Server {
    Server::new(Config::default(), [1; 32], now)
}

fn discovery() -> Config {
    let primary = "198.51.100.1:3478".parse().unwrap();
    let alternate = "198.51.100.2:3479".parse().unwrap();
    Config { discovery: Some(Discovery { primary, alternate }), ..Config::default() }
}

#[test]
fn binding_is_answered_with_the_address_the_client_is_seen_at() {
    let now = Instant::now();
    for (client, server_address, seen) in [
        ("192.0.2.1:32853", "198.51.100.1:3478", "192.0.2.1:32853"),
        ("[2001:db8::7]:1", "[2001:db8::1]:3478", "[2001:db8::7]:1"),
        ("[::ffff:192.0.2.1]:9", "[::ffff:198.51.100.1]:3478", "192.0.2.1:9"),
    ] {
        let from = tuple(client, server_address);
        let answers = answers(&mut server(now), now, from, &request(|_| {}));
        let [(to, bytes)] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!(*to, from);
        let message = Message::decode(bytes).unwrap();
        assert_eq!(
            (message.class(), message.method(), message.transaction_id()),
            (Class::Success, Method::BINDING, ID)
        );
        let value = message.attribute(AttributeKind::XOR_MAPPED_ADDRESS).unwrap();
        assert_eq!(decode_xor_address(value, ID), Some(seen.parse::<SocketAddr>().unwrap()));
        assert!(!message.has_fingerprint());
    }
}

#[test]
fn answer_carries_a_fingerprint_when_the_request_did() {
    let now = Instant::now();
    let from = tuple("192.0.2.1:1", "198.51.100.1:3478");
    let answers = answers(
        &mut server(now),
        now,
        from,
        &request(|writer| {
            writer.fingerprint();
        }),
    );
    assert!(Message::decode(&answers[0].1).unwrap().has_fingerprint());
}

#[test]
fn unknown_attribute_that_must_be_understood_is_answered_with_420() {
    let now = Instant::now();
    let from = tuple("192.0.2.1:1", "198.51.100.1:3478");
    let request = request(|writer| {
        writer.attribute(AttributeKind(0x7f01), b"").attribute(AttributeKind(0xff01), b"");
        writer.attribute(AttributeKind::CHANGE_REQUEST, &[0; 4]);
    });
    let answers = answers(&mut server(now), now, from, &request);
    let message = Message::decode(&answers[0].1).unwrap();
    assert_eq!(message.class(), Class::Error);
    let code = message.attribute(AttributeKind::ERROR_CODE).and_then(ErrorCode::decode);
    assert_eq!(code, Some(ErrorCode::UNKNOWN_ATTRIBUTE));
    assert_eq!(message.attribute(AttributeKind::UNKNOWN_ATTRIBUTES), Some(&[0x7f, 0x01, 0x00, 0x03][..]));
}

#[test]
fn responses_indications_and_noise_are_not_answered() {
    let now = Instant::now();
    let from = tuple("192.0.2.1:1", "198.51.100.1:3478");
    let mut server = server(now);
    for class in [Class::Success, Class::Error, Class::Indication] {
        let mut buffer = Vec::new();
        MessageWriter::new(&mut buffer, class, Method::BINDING, ID).finish().unwrap();
        assert_eq!(answers(&mut server, now, from, &buffer), []);
    }
    for noise in [&b""[..], &[0], &[0x16, 3, 1, 0, 5], &[0xff; 100], b"GET / HTTP/1.1\r\n\r\n"] {
        assert_eq!(answers(&mut server, now, from, noise), []);
    }
}

#[test]
fn no_answer_weighs_more_than_twice_its_request_and_a_fifth() {
    let now = Instant::now();
    let requests = [
        request(|_| {}),
        request(|writer| {
            writer.fingerprint();
        }),
        request(|writer| {
            writer.attribute(AttributeKind(0x7f01), b"");
        }),
        request(|writer| {
            for kind in 0..40 {
                writer.attribute(AttributeKind(0x7f00 + kind), b"");
            }
        }),
    ];
    for config in [Config::default(), discovery()] {
        for (client, listener, overhead) in
            [("192.0.2.1:1", "198.51.100.1:3478", 28), ("[2001:db8::7]:1", "[2001:db8::1]:3478", 48)]
        {
            for request in &requests {
                let mut server = Server::new(config.clone(), [1; 32], now);
                let answers = answers(&mut server, now, tuple(client, listener), request);
                let factor = (answers[0].1.len() + overhead) as f64 / (request.len() + overhead) as f64;
                assert!(factor <= 2.2, "{factor}");
            }
        }
    }
}

#[test]
fn flood_of_bindings_from_one_source_gets_back_less_than_it_sends() {
    let start = Instant::now();
    let mut server = server(start);
    let from = tuple("192.0.2.1:1", "198.51.100.1:3478");
    let request = request(|_| {});
    let (mut sent, mut received) = (0, 0);
    for tick in 0..20_000 {
        let now = start + Duration::from_micros(tick * 50);
        sent += request.len() + 28;
        received += answers(&mut server, now, from, &request).iter().map(|(_, bytes)| bytes.len() + 28).sum::<usize>();
    }
    assert!(received <= sent, "{received} > {sent}");
    assert!(server.metrics().answers_withheld > 0);
    let other = tuple("192.0.2.2:1", "198.51.100.1:3478");
    assert_eq!(answers(&mut server, start + Duration::from_secs(1), other, &request).len(), 1);
}

#[test]
fn stream_clients_have_proved_their_address_and_are_always_answered() {
    let now = Instant::now();
    let mut server = server(now);
    let from = FiveTuple { transport: Transport::Tls, ..tuple("192.0.2.1:1", "198.51.100.1:443") };
    for _ in 0..1_000 {
        assert_eq!(answers(&mut server, now, from, &request(|_| {})).len(), 1);
    }
}

#[test]
fn change_request_is_answered_from_the_other_address_or_port() {
    let now = Instant::now();
    let from = tuple("192.0.2.1:1", "198.51.100.1:3478");
    for (flags, origin) in
        [(0, "198.51.100.1:3478"), (2, "198.51.100.1:3479"), (4, "198.51.100.2:3478"), (6, "198.51.100.2:3479")]
    {
        let mut server = Server::new(discovery(), [1; 32], now);
        let request = request(|writer| {
            writer.u32(AttributeKind::CHANGE_REQUEST, flags);
        });
        let answers = answers(&mut server, now, from, &request);
        let origin: SocketAddr = origin.parse().unwrap();
        assert_eq!(answers[0].0, FiveTuple { server: origin, ..from });
        let message = Message::decode(&answers[0].1).unwrap();
        let address = |kind| message.attribute(kind).and_then(decode_address);
        assert_eq!(address(AttributeKind::RESPONSE_ORIGIN), Some(origin));
        assert_eq!(address(AttributeKind::OTHER_ADDRESS), Some("198.51.100.2:3479".parse().unwrap()));
    }
}

#[test]
fn response_port_moves_the_answer_but_never_a_refusal() {
    let now = Instant::now();
    let from = tuple("192.0.2.1:1", "198.51.100.1:3478");
    let mut server = Server::new(discovery(), [1; 32], now);
    let moved = request(|writer| {
        writer.attribute(AttributeKind::RESPONSE_PORT, &[0x12, 0x34, 0, 0]);
    });
    assert_eq!(answers(&mut server, now, from, &moved)[0].0.client, "192.0.2.1:4660".parse().unwrap());
    let refused = request(|writer| {
        writer.attribute(AttributeKind::RESPONSE_PORT, &[0x12, 0x34, 0, 0]).attribute(AttributeKind(0x7f00), b"");
    });
    assert_eq!(answers(&mut server, now, from, &refused)[0].0.client, from.client);
}

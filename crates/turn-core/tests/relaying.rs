//! Permissions, channels and payloads (RFC 8656 §10–§12), and the short cut between two clients of one server.

mod lab;

use std::time::Duration;

use lab::{Client, Delivery, Lab, addr, config, data_indication, to_peer, with_policy};
use lanyard_turn_core::stun::{
    AttributeKind, Class, Message, MessageWriter, Method, TransactionId, decode_xor_address,
};
use lanyard_turn_core::{Bandwidth, Config, Icmp, IcmpFamily, Limits, PeerPolicy, Transport};

const PEER: &str = "8.8.4.4:7000";
const OTHER_PORT: &str = "8.8.4.4:7001";

/// A client with an allocation on a server that lets it reach every public address.
fn allocated() -> (Lab, Client, std::net::SocketAddr) {
    let mut lab = Lab::new(with_policy(PeerPolicy::Public));
    let mut client = Client::user("192.0.2.1:1000", "alice");
    let relayed = client.allocate(&mut lab);
    (lab, client, relayed)
}

fn both_families() -> (Lab, Client) {
    let mut lab = Lab::new(with_policy(PeerPolicy::Public));
    let mut client = Client::user("192.0.2.1:1000", "alice");
    let reply = client.allocate_with(&mut lab, |writer| {
        writer.attribute(AttributeKind::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(reply.outcome(), 0);
    (lab, client)
}

#[test]
fn nothing_passes_without_a_permission() {
    let (mut lab, mut client, relayed) = allocated();
    assert_eq!(client.send(&mut lab, addr(PEER), b"out"), None);
    assert_eq!(client.send_on(&mut lab, 0x4000, b"out"), None);
    assert_eq!(lab.peer_sends(relayed, addr(PEER), b"in"), None);
    let metrics = lab.server.metrics();
    assert_eq!((metrics.dropped_from_client, metrics.dropped_from_peer), (2, 1));
}

#[test]
fn permission_opens_both_ways_for_every_port_of_the_address() {
    let (mut lab, mut client, relayed) = allocated();
    assert_eq!(client.permit(&mut lab, addr(PEER)), 0);
    for peer in [addr(PEER), addr(OTHER_PORT)] {
        assert_eq!(to_peer(client.send(&mut lab, peer, b"out")), (relayed, peer, b"out".to_vec()));
        let back = lab.peer_sends(relayed, peer, b"in").unwrap();
        assert_eq!(data_indication(&back), (peer, b"in".to_vec()));
    }
    assert_eq!(lab.peer_sends(relayed, addr("8.8.4.5:7000"), b"in"), None);
    let metrics = lab.server.metrics();
    assert_eq!((metrics.to_peer_packets, metrics.to_peer_bytes), (2, 6));
    assert_eq!((metrics.to_client_packets, metrics.to_client_bytes), (2, 4));
}

#[test]
fn permission_lasts_five_minutes_unless_refreshed() {
    let (mut lab, mut client, _) = allocated();
    client.permit(&mut lab, addr(PEER));
    lab.pass(Duration::from_secs(299));
    assert!(client.send(&mut lab, addr(PEER), b"out").is_some());
    client.permit(&mut lab, addr(PEER));
    lab.pass(Duration::from_secs(299));
    assert!(client.send(&mut lab, addr(PEER), b"out").is_some());
    lab.pass(Duration::from_secs(1));
    assert_eq!(client.send(&mut lab, addr(PEER), b"out"), None);
}

#[test]
fn create_permission_takes_all_its_peers_or_none() {
    let (mut lab, mut client, _) = allocated();
    let mut ask = |lab: &mut Lab, peers: &[&str]| {
        let reply = client.request(lab, Method::CREATE_PERMISSION, |writer| {
            for peer in peers {
                writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr(peer));
            }
        });
        reply.outcome()
    };
    assert_eq!(ask(&mut lab, &[]), 400);
    assert_eq!(ask(&mut lab, &["1.1.1.1:1", "10.0.0.1:1"]), 403);
    assert_eq!(ask(&mut lab, &["1.1.1.1:1", "[2606:4700::1]:1"]), 443);
    assert_eq!(ask(&mut lab, &["1.1.1.1:1", "1.0.0.1:1", "1.1.1.1:2"]), 0);
    let many: Vec<String> = (1..=15).map(|n| format!("9.9.9.{n}:1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(ask(&mut lab, &many), 508);
    assert_eq!(ask(&mut lab, &many[..14]), 0);
    assert_eq!(ask(&mut lab, &many[14..]), 508);
    lab.pass(Duration::from_secs(300));
    assert_eq!(ask(&mut lab, &many), 0, "expired permissions make room");
}

#[test]
fn malformed_peer_is_400() {
    let (mut lab, mut client, _) = allocated();
    let reply = client.request(&mut lab, Method::CREATE_PERMISSION, |writer| {
        writer.attribute(AttributeKind::XOR_PEER_ADDRESS, &[0, 9, 1, 2, 3, 4, 5, 6]);
    });
    assert_eq!(reply.outcome(), 400);
    let reply = client.request(&mut lab, Method::CHANNEL_BIND, |writer| {
        writer.attribute(AttributeKind::CHANNEL_NUMBER, &[0x40, 0, 0, 0]);
        writer.attribute(AttributeKind::XOR_PEER_ADDRESS, &[0, 1]);
    });
    assert_eq!(reply.outcome(), 400);
    assert_eq!(client.bind(&mut lab, 0x4000, addr("8.8.4.4:0")), 400);
}

#[test]
fn requests_about_an_allocation_that_is_not_there_are_437() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    assert_eq!(client.permit(&mut lab, addr(PEER)), 437);
    assert_eq!(client.bind(&mut lab, 0x4000, addr(PEER)), 437);
    assert_eq!(client.refresh(&mut lab, 600).outcome(), 437);
}

#[test]
fn channel_carries_payloads_both_ways_and_permits_its_peer() {
    let (mut lab, mut client, relayed) = allocated();
    for number in [0x4000, 0x4fff, 0x5000, 0x7fff] {
        let peer = addr(&format!("8.8.4.4:{number}"));
        assert_eq!(client.bind(&mut lab, number, peer), 0);
        assert_eq!(to_peer(client.send_on(&mut lab, number, b"hello")), (relayed, peer, b"hello".to_vec()));
        let Some(Delivery::ToClient { tuple, bytes }) = lab.peer_sends(relayed, peer, b"olleh") else { panic!() };
        assert_eq!(tuple, client.tuple);
        assert_eq!(bytes, [&number.to_be_bytes()[..], &[0, 5], b"olleh"].concat());
    }
    let other = lab.peer_sends(relayed, addr("8.8.4.4:1"), b"in").unwrap();
    assert_eq!(data_indication(&other).1, b"in");
}

#[test]
fn channel_data_in_a_stream_is_padded_and_over_udp_not() {
    for (transport, padding) in [(Transport::Udp, 0), (Transport::Tcp, 3), (Transport::Tls, 3)] {
        let mut lab = Lab::new(with_policy(PeerPolicy::Public));
        let mut client = Client::over(transport, "192.0.2.1:1000", "alice", "password of alice");
        let relayed = client.allocate(&mut lab);
        client.bind(&mut lab, 0x4000, addr(PEER));
        let Some(Delivery::ToClient { bytes, .. }) = lab.peer_sends(relayed, addr(PEER), b"12345") else { panic!() };
        assert_eq!(bytes, [&[0x40, 0, 0, 5][..], b"12345", &vec![0; padding]].concat());
        let padded = lab.client_sends(client.tuple, &[0x40, 0, 0, 1, b'x', 0, 0, 0]);
        assert_eq!(to_peer(padded).2, b"x");
    }
}

#[test]
fn numbers_and_peers_are_bound_one_to_one() {
    let (mut lab, mut client, _) = allocated();
    assert_eq!(client.bind(&mut lab, 0x4000, addr(PEER)), 0);
    assert_eq!(client.bind(&mut lab, 0x4000, addr(PEER)), 0, "again: refreshed");
    assert_eq!(client.bind(&mut lab, 0x4000, addr(OTHER_PORT)), 400, "number taken");
    assert_eq!(client.bind(&mut lab, 0x4001, addr(PEER)), 400, "peer taken");
    assert_eq!(client.bind(&mut lab, 0x4001, addr(OTHER_PORT)), 0);
    for number in [0, 0x3fff, 0x8000, 0xffff] {
        assert_eq!(client.bind(&mut lab, number, addr("8.8.4.4:9")), 400);
    }
    let without_number = client.request(&mut lab, Method::CHANNEL_BIND, |writer| {
        writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr(PEER));
    });
    assert_eq!(without_number.outcome(), 400);
    for port in 0..14 {
        assert_eq!(client.bind(&mut lab, 0x4100 + port, addr(&format!("8.8.4.4:{}", 100 + port))), 0);
    }
    assert_eq!(client.bind(&mut lab, 0x4200, addr("8.8.4.4:99")), 508);
}

#[test]
fn channel_lasts_ten_minutes_and_may_then_be_bound_anew() {
    let (mut lab, mut client, relayed) = allocated();
    client.bind(&mut lab, 0x4000, addr(PEER));
    lab.pass(Duration::from_secs(400));
    client.refresh(&mut lab, 600);
    assert!(client.send_on(&mut lab, 0x4000, b"x").is_some(), "no permission is needed to send on a channel");
    assert_eq!(lab.peer_sends(relayed, addr(PEER), b"x"), None, "but to be sent to");
    lab.pass(Duration::from_secs(200));
    assert_eq!(client.send_on(&mut lab, 0x4000, b"x"), None);
    assert_eq!(client.bind(&mut lab, 0x4000, addr(OTHER_PORT)), 0);
}

#[test]
fn channel_data_longer_than_its_datagram_is_dropped() {
    let (mut lab, mut client, _) = allocated();
    client.bind(&mut lab, 0x4000, addr(PEER));
    for bytes in [&[0x40, 0, 0, 5, 1, 2, 3, 4][..], &[0x40, 0, 0xff, 0xff, 1], &[0x40, 0, 0], &[0x40]] {
        assert_eq!(lab.client_sends(client.tuple, bytes), None);
    }
    assert_eq!(to_peer(client.send_on(&mut lab, 0x4000, b"")).2, b"");
}

#[test]
fn send_indication_with_anything_wrong_is_dropped_in_silence() {
    let (mut lab, mut client, _) = allocated();
    client.permit(&mut lab, addr(PEER));
    type Fill = fn(&mut MessageWriter<'_>);
    let cases: [Fill; 4] = [
        |writer| {
            writer.attribute(AttributeKind::DATA, b"x");
        },
        |writer| {
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr(PEER));
        },
        |writer| {
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr(PEER)).attribute(AttributeKind::DATA, b"x");
            writer.attribute(AttributeKind(0x7123), b"");
        },
        |writer| {
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr("8.8.4.4:0"));
            writer.attribute(AttributeKind::DATA, b"x");
        },
    ];
    for fill in cases {
        let mut buffer = Vec::new();
        let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([3; 12]));
        fill(&mut writer);
        writer.finish().unwrap();
        assert_eq!(lab.client_sends(client.tuple, &buffer), None);
        assert_eq!(lab.take_sent(), []);
    }
}

#[test]
fn dont_fragment_goes_with_the_packet_where_it_can_be_done() {
    for dont_fragment in [true, false] {
        let mut lab = Lab::new(Config { dont_fragment, ..with_policy(PeerPolicy::Public) });
        let mut client = Client::user("192.0.2.1:1000", "alice");
        client.allocate(&mut lab);
        client.permit(&mut lab, addr(PEER));
        let mut buffer = Vec::new();
        let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([3; 12]));
        writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr(PEER)).attribute(AttributeKind::DATA, b"x");
        writer.attribute(AttributeKind::DONT_FRAGMENT, b"");
        writer.finish().unwrap();
        match lab.client_sends(client.tuple, &buffer) {
            Some(Delivery::ToPeer { dont_fragment: set, .. }) => assert!(set && dont_fragment),
            other => assert!(other.is_none() && !dont_fragment, "{other:?}"),
        }
    }
}

#[test]
fn each_family_of_a_dual_allocation_reaches_peers_of_its_own() {
    let (mut lab, mut client) = both_families();
    for (number, peer) in [(0x4000, addr(PEER)), (0x4001, addr("[2606:4700::1]:7000"))] {
        assert_eq!(client.bind(&mut lab, number, peer), 0);
        let (from, to, _) = to_peer(client.send_on(&mut lab, number, b"x"));
        assert_eq!((from.is_ipv4(), to), (peer.is_ipv4(), peer));
        assert!(lab.peer_sends(from, peer, b"y").is_some());
    }
}

#[test]
fn data_indication_is_whole_for_every_length_and_family() {
    let (mut lab, mut client) = both_families();
    for peer in [addr(PEER), addr("[2606:4700::1]:7000")] {
        client.permit(&mut lab, peer);
        let (relayed, ..) = to_peer(client.send(&mut lab, peer, b"x"));
        for len in 0..70 {
            let payload = vec![0xa5; len];
            let delivery = lab.peer_sends(relayed, peer, &payload).unwrap();
            assert_eq!(data_indication(&delivery), (peer, payload));
        }
    }
}

#[test]
fn two_clients_of_one_server_meet_without_the_network() {
    let mut lab = Lab::new(config());
    lab.join("a", 1, 1, &[]);
    lab.join("b", 1, 2, &[]);
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut a = Client {
            tuple: Client::over(transport, "192.0.2.1:1000", "", "").tuple,
            ..Client::tagged("192.0.2.1:1000", "a")
        };
        let mut b = Client::tagged("203.0.113.1:1000", "b");
        if transport == Transport::Tcp {
            b.tuple.client = addr("203.0.113.1:1001");
        }
        let (at_a, at_b) = (a.allocate(&mut lab), b.allocate(&mut lab));
        assert_eq!(a.permit(&mut lab, at_b), 0);
        assert_eq!(a.send(&mut lab, at_b, b"too early"), None, "b has not permitted a");
        assert_eq!(b.permit(&mut lab, at_a), 0);
        let indication = a.send(&mut lab, at_b, b"hello b").unwrap();
        assert_eq!(data_indication(&indication), (at_a, b"hello b".to_vec()));
        assert_eq!(b.bind(&mut lab, 0x4001, at_a), 0);
        assert_eq!(a.bind(&mut lab, 0x4000, at_b), 0);
        let to_b = a.send_on(&mut lab, 0x4000, b"hi");
        assert_eq!(to_b, Some(Delivery::ToClient { tuple: b.tuple, bytes: b"\x40\x01\x00\x02hi".to_vec() }));
        let padding: &[u8] = if transport.is_stream() { &[0, 0] } else { &[] };
        let to_a = b.send_on(&mut lab, 0x4001, b"ho");
        assert_eq!(to_a, Some(Delivery::ToClient { tuple: a.tuple, bytes: [b"\x40\x00\x00\x02ho", padding].concat() }));
    }
    assert_eq!(lab.server.metrics().local_packets, 6);
}

#[test]
fn ipv4_only_and_ipv6_only_clients_meet() {
    let mut lab = Lab::new(config());
    lab.join("a", 1, 1, &[]);
    lab.join("b", 1, 2, &[]);
    let mut a = Client::tagged("192.0.2.1:1000", "a");
    let mut b = Client::tagged("[2001:db8:7::1]:1000", "b");
    let (at_a, at_b) = (a.allocate(&mut lab), b.allocate(&mut lab));
    assert_eq!((a.bind(&mut lab, 0x4000, at_b), b.bind(&mut lab, 0x4000, at_a)), (0, 0));
    let there = a.send_on(&mut lab, 0x4000, b"x");
    assert_eq!(there, Some(Delivery::ToClient { tuple: b.tuple, bytes: b"\x40\x00\x00\x01x".to_vec() }));
    let back = b.send_on(&mut lab, 0x4000, b"y");
    assert_eq!(back, Some(Delivery::ToClient { tuple: a.tuple, bytes: b"\x40\x00\x00\x01y".to_vec() }));
}

#[test]
fn client_whose_partner_has_gone_sends_into_nothing() {
    let mut lab = Lab::new(config());
    let mut a = Client::user("192.0.2.1:1000", "alice");
    let mut b = Client::user("192.0.2.2:1000", "alice");
    let (at_a, at_b) = (a.allocate(&mut lab), b.allocate(&mut lab));
    assert_eq!((a.bind(&mut lab, 0x4000, at_b), b.bind(&mut lab, 0x4000, at_a)), (0, 0));
    assert!(a.send_on(&mut lab, 0x4000, b"x").is_some());
    b.refresh(&mut lab, 0);
    assert_eq!(a.send_on(&mut lab, 0x4000, b"x"), None);
    assert_eq!(lab.server.metrics().denied_own_address, 1);
}

#[test]
fn bandwidth_of_a_credential_is_shared_by_its_allocations() {
    let bandwidth = Bandwidth { bytes_per_second: 10_000, burst_bytes: 2_000 };
    let limits = Limits { bandwidth: Some(bandwidth), ..Limits::default() };
    let mut lab = Lab::new(Config { limits, ..with_policy(PeerPolicy::Public) });
    let mut clients: Vec<Client> = (1..=2).map(|port| Client::user(&format!("192.0.2.1:{port}"), "alice")).collect();
    let mut other = Client::user("192.0.2.1:9", "bob");
    for client in clients.iter_mut().chain([&mut other]) {
        client.allocate(&mut lab);
        client.bind(&mut lab, 0x4000, addr(PEER));
    }
    let mut passed = 0;
    for _ in 0..1_000 {
        for client in &clients {
            passed += usize::from(client.send_on(&mut lab, 0x4000, &[0; 500]).is_some()) * 500;
        }
        lab.pass(Duration::from_millis(1));
    }
    assert!((11_000..=12_500).contains(&passed), "{passed}");
    assert!(other.send_on(&mut lab, 0x4000, &[0; 500]).is_some());
    assert!(lab.server.metrics().dropped_over_limit > 0);
}

#[test]
fn daily_cap_stops_payloads_and_new_allocations_until_the_next_day() {
    let limits =
        Limits { daily_egress_bytes: Some(1_000), lifetime: Duration::from_secs(200_000), ..Limits::default() };
    let mut lab = Lab::new(Config { limits, ..with_policy(PeerPolicy::Public) });
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.allocate_with(&mut lab, |writer| {
        writer.u32(AttributeKind::LIFETIME, 200_000);
    });
    client.bind(&mut lab, 0x4000, addr(PEER));
    assert!(client.send_on(&mut lab, 0x4000, &[0; 1_000]).is_some());
    assert!(client.send_on(&mut lab, 0x4000, &[0; 1]).is_none());
    assert_eq!(Client::user("192.0.2.1:1001", "alice").allocate_with(&mut lab, |_| {}).outcome(), 508);
    lab.pass(Duration::from_secs(24 * 60 * 60));
    Client::user("192.0.2.1:1001", "alice").allocate(&mut lab);
    client.challenge(&mut lab);
    client.bind(&mut lab, 0x4000, addr(PEER));
    assert!(client.send_on(&mut lab, 0x4000, &[0; 1]).is_some());
}

#[test]
fn icmp_error_reaches_the_client_that_caused_it() {
    let (mut lab, mut client, relayed) = allocated();
    let relay = lab.relay_of(relayed);
    let too_big = Icmp { family: IcmpFamily::V4, kind: 3, code: 4, mtu: 1400 };
    lab.server.handle_peer_icmp(lab.now, relay, addr(PEER), too_big);
    lab.drain();
    assert_eq!(lab.take_sent(), [], "not permitted");
    client.permit(&mut lab, addr(PEER));
    let cases = [
        (too_big, Some([0, 0, 0x06, 0x04, 0, 0, 0x05, 0x78])),
        (Icmp { code: 1, ..too_big }, Some([0, 0, 0x06, 0x01, 0, 0, 0, 0])),
        (Icmp { family: IcmpFamily::V6, kind: 2, code: 0, mtu: 1280 }, Some([0, 0, 0x04, 0x00, 0, 0, 0x05, 0x00])),
        (Icmp { kind: 8, ..too_big }, None),
    ];
    for (icmp, expected) in cases {
        lab.take_sent();
        lab.server.handle_peer_icmp(lab.now, relay, addr(PEER), icmp);
        lab.drain();
        let sent = lab.take_sent();
        let value = sent.first().map(|(tuple, bytes)| {
            assert_eq!(*tuple, client.tuple);
            let message = Message::decode(bytes).unwrap();
            let peer = message.attribute(AttributeKind::XOR_PEER_ADDRESS).unwrap();
            assert_eq!(decode_xor_address(peer, message.transaction_id()), Some(addr(PEER)));
            assert_eq!(message.attribute(AttributeKind::DATA), None);
            message.attribute(AttributeKind::ICMP).unwrap().to_vec()
        });
        assert_eq!(value, expected.map(|value| value.to_vec()));
    }
}

#[test]
fn packets_at_a_closed_socket_go_nowhere() {
    let (mut lab, mut client, relayed) = allocated();
    client.permit(&mut lab, addr(PEER));
    let relay = lab.relay_of(relayed);
    client.refresh(&mut lab, 0);
    assert_eq!(lab.server.handle_peer_datagram(lab.now, relay, addr(PEER), b"late"), None);
}

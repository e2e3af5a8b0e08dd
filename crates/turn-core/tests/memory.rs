//! What the machine takes from the heap: nothing per packet, nothing per stranger, little per allocation.

mod lab;

use lab::{Client, Lab, addr, with_policy};
use lanyard_turn_core::stun::{AttributeKind, Class, MessageWriter, Method, TransactionId};
use lanyard_turn_core::{Config, Limits, PeerPolicy};

const PEER: &str = "8.8.4.4:7000";

#[test]
fn payloads_pass_without_touching_the_heap() {
    let mut lab = Lab::new(with_policy(PeerPolicy::Public));
    let mut client = Client::user("192.0.2.1:1000", "alice");
    let mut partner = Client::user("192.0.2.2:1000", "alice");
    let (relayed, at_partner) = (client.allocate(&mut lab), partner.allocate(&mut lab));
    client.bind(&mut lab, 0x4000, addr(PEER));
    client.bind(&mut lab, 0x4001, at_partner);
    partner.permit(&mut lab, relayed);
    let relay = lab.relay_of(relayed);

    let payload = [0x5a; 1200];
    let channel_data = |number: u16| [&number.to_be_bytes()[..], &1200_u16.to_be_bytes(), &payload].concat();
    let mut send = Vec::new();
    let mut writer = MessageWriter::new(&mut send, Class::Indication, Method::SEND, TransactionId([1; 12]));
    writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, addr(PEER)).attribute(AttributeKind::DATA, &payload);
    assert!(writer.finish().is_ok());
    let from_client = [channel_data(0x4000), channel_data(0x4001), send];

    let (now, peer, other_port) = (lab.now, addr(PEER), addr("8.8.4.4:7001"));
    let mut passed = 0;
    let heap = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            for datagram in &from_client {
                passed += u32::from(lab.server.handle_client_datagram(now, client.tuple, datagram).is_some());
            }
            for peer in [peer, other_port] {
                passed += u32::from(lab.server.handle_peer_datagram(now, relay, peer, &payload).is_some());
            }
        }
    });
    assert!(passed > 500 && lab.server.metrics().local_packets > 100, "{passed}");
    assert_eq!(heap.count_total, 0, "{heap:?}");
}

#[test]
fn a_million_strangers_leave_nothing_behind() {
    let mut lab = Lab::new(with_policy(PeerPolicy::Room));
    let mut request = Vec::new();
    let mut writer = MessageWriter::new(&mut request, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
    writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    assert!(writer.finish().is_ok());
    let mut tuple = Client::user("192.0.2.1:1000", "alice").tuple;
    let (mut now, mut answered) = (lab.now, 0_u32);
    let heap = allocation_counter::measure(|| {
        for n in 0..1_000_000_u32 {
            now += std::time::Duration::from_micros(50);
            tuple.client.set_ip(std::net::IpAddr::V4((0x0a00_0000 + n % 50_000).into()));
            let _ = lab.server.handle_client_datagram(now, tuple, &request);
            while lab.server.poll_command().is_some() {
                answered += 1;
            }
        }
    });
    assert!(answered > 900_000, "{answered}");
    assert_eq!((heap.count_total, lab.server.poll_timeout()), (0, None), "{heap:?}");
}

#[test]
fn bound_allocation_takes_at_most_three_kibibytes_and_gives_them_back() {
    const COUNT: u32 = 2_000;
    let limits = Limits {
        allocations_per_credential: u32::MAX,
        allocations_per_source: u32::MAX,
        allocations_per_network: u32::MAX,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config { limits, ..with_policy(PeerPolicy::Public) });
    // The lab's own books must not count: they are as large as they will be.
    let mut clients: Vec<Client> = (0..COUNT)
        .map(|n| Client::tagged(&format!("10.0.{}.{}:1000", n >> 8, n & 0xff), &format!("tag {n}")))
        .collect();
    let mut run = |lab: &mut Lab| {
        let held = allocation_counter::measure(|| {
            for client in &mut clients {
                client.allocate(lab);
                client.bind(lab, 0x4000, addr(PEER));
            }
        });
        let left = allocation_counter::measure(|| {
            for client in &mut clients {
                client.refresh(lab, 0);
            }
        });
        (held.bytes_current, left.bytes_current)
    };
    run(&mut lab);
    let (held, given_back) = run(&mut lab);
    let per_allocation = held / i64::from(COUNT);
    println!("{per_allocation} bytes held for each, {} given back", -given_back / i64::from(COUNT));
    assert!(per_allocation <= 3 * 1024, "{per_allocation}");
    assert!(held + given_back <= 64 * i64::from(COUNT), "{held} taken, {given_back} given back");
}

//! No spelling of an address leads into the owner's network: every special range, the server itself, cloud metadata
//! and other rooms, tried through every door over every transport.

mod lab;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lab::{Client, Delivery, Lab, RELAY_V4, RELAY_V6, addr, config, ip};
use lanyard_turn_core::stun::AttributeKind;
use lanyard_turn_core::{Config, PeerPolicy, Transport};

/// What must not be reached as IPv4, nor inside any IPv6 spelling.
const IPV4: [&str; 32] = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.254",
    "127.0.0.1",
    "127.0.0.53",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.254",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.55",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.7.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "224.0.0.251",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.254",
    "255.255.255.255",
];

const IPV6: [&str; 30] = [
    "::",
    "::1",
    "::2",
    "100::1",
    "100:0:0:1::1",
    "64:ff9b:1::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2001:db8:100::1",
    "2620:4f:8000::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "8000::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fdff:ffff::1",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "febf::1",
    "fec0::1",
    "feff::1",
    "ff01::1",
    "ff02::1",
    "ff02::fb",
];

/// Every way to write an IPv4 address as IPv6.
fn spellings(v4: Ipv4Addr) -> Vec<IpAddr> {
    let low = u128::from(v4.to_bits());
    let within = |prefix: &str| -> u128 {
        let IpAddr::V6(prefix) = ip(prefix) else { panic!("{prefix} is IPv6") };
        prefix.to_bits()
    };
    let bits = [
        within("::ffff:0:0") | low,                          // mapped
        within("::") | low,                                  // compatible
        within("::ffff:0:0:0") | low,                        // translated
        within("64:ff9b::") | low,                           // NAT64
        within("64:ff9b:1::") | low,                         // local NAT64
        within("2002::") | low << 80,                        // 6to4
        within("2002:808:808::") | low,                      // 6to4 of a public address, the other one inside
        within("2001::808:808:0:0:0") | (low ^ 0xffff_ffff), // Teredo client
        within("2001::") | low << 64 | 0xf7f7_f7f7,          // Teredo server
        within("2606:4700::5efe:0:0") | low,                 // ISATAP
        within("2606:4700::200:5efe:0:0") | low,             // ISATAP, universal
    ];
    bits.into_iter().map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))).collect()
}

fn probes() -> Vec<IpAddr> {
    let mut probes: Vec<IpAddr> = Vec::new();
    for text in IPV4 {
        let IpAddr::V4(v4) = ip(text) else { panic!("{text} is IPv4") };
        probes.push(v4.into());
        // 6to4 around a public address is public whatever follows the prefix: that is its owner's network.
        probes.extend(spellings(v4).into_iter().filter(|ip| !ip.to_string().starts_with("2002:808:808:")));
    }
    probes.extend(IPV6.map(ip));
    probes
}

const PORTS: [u16; 4] = [22, 80, 3478, 40_000];

/// A client with bad intentions, and its relayed addresses.
struct Attacker {
    client: Client,
    relayed: Vec<SocketAddr>,
}

/// Tries to reach a peer through every door; what got through.
fn attempt(lab: &mut Lab, attacker: &mut Attacker, peer: SocketAddr) -> Vec<Delivery> {
    let (client, channel) = (&mut attacker.client, 0x4000);
    let mut findings = Vec::new();
    findings.extend(client.send(lab, peer, b"before"));
    client.permit(lab, peer);
    findings.extend(client.send(lab, peer, b"permitted"));
    client.bind(lab, channel, peer);
    findings.extend(client.send_on(lab, channel, b"bound"));
    for relayed in &attacker.relayed {
        findings.extend(lab.peer_sends(*relayed, peer, b"in"));
    }
    findings
}

fn attacker(lab: &mut Lab, transport: Transport) -> Attacker {
    let minted = Client::tagged("8.8.4.4:1000", "attacker");
    let mut client = Client::over(transport, "8.8.4.4:1000", &minted.username, &minted.password);
    let reply = client.allocate_with(lab, |writer| {
        writer.attribute(AttributeKind::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(reply.outcome(), 0);
    Attacker { client, relayed: reply.xor_addresses(AttributeKind::XOR_RELAYED_ADDRESS) }
}

#[test]
fn no_special_address_is_reached_in_any_spelling_over_any_transport() {
    let probes = probes();
    assert!(probes.len() >= 120, "{}", probes.len());
    for policy in [PeerPolicy::Room, PeerPolicy::Public] {
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            let mut lab = Lab::new(Config { peer_policy: policy, ..config() });
            lab.join("attacker", 1, 1, &["8.8.4.4"]);
            lab.join("friend", 1, 2, &["1.1.1.1"]);
            let mut attacker = attacker(&mut lab, transport);
            for peer in &probes {
                for port in PORTS {
                    let findings = attempt(&mut lab, &mut attacker, SocketAddr::new(*peer, port));
                    assert_eq!(findings, [], "{policy:?} over {transport:?}: {peer} port {port}");
                }
            }
            // The probe itself works: an allowed peer is reached.
            let allowed = attempt(&mut lab, &mut attacker, addr("1.1.1.1:53"));
            assert_eq!(allowed.len(), 3, "{policy:?}");
        }
    }
}

#[test]
fn special_address_stays_out_of_reach_even_when_a_room_mate_claims_it() {
    let forbidden = [
        "0.0.0.0",
        "127.0.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "224.0.0.251",
        "255.255.255.255",
        "192.168.7.1",
        RELAY_V4,
        RELAY_V6,
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
        "fd00:ec2::254",
        "64:ff9b::7f00:1",
        "64:ff9b::192.168.7.1",
        "2002:7f00:1::",
        "64:ff9b::198.51.100.1",
    ];
    let mut lab = Lab::new(config());
    lab.join("friend", 1, 2, &forbidden);
    lab.join("attacker", 1, 1, &[]);
    let mut attacker = attacker(&mut lab, Transport::Udp);
    for peer in forbidden {
        for port in PORTS {
            assert_eq!(attempt(&mut lab, &mut attacker, SocketAddr::new(ip(peer), port)), [], "{peer}");
        }
    }
}

#[test]
fn public_policy_does_not_reach_this_server_through_a_gateway() {
    let config = Config { own_addresses: vec![ip("9.9.9.9")], peer_policy: PeerPolicy::Public, ..config() };
    let mut lab = Lab::new(config);
    let mut attacker = attacker(&mut lab, Transport::Udp);
    for peer in ["9.9.9.9", "64:ff9b::9.9.9.9", "2002:909:909::1", "2001::909:909:0:0:0:f7f7"] {
        assert_eq!(attempt(&mut lab, &mut attacker, SocketAddr::new(ip(peer), 22)), [], "{peer}");
    }
    assert_eq!(attempt(&mut lab, &mut attacker, addr("9.9.9.10:53")).len(), 3);
}

#[test]
fn member_of_another_room_is_reached_at_none_of_its_addresses() {
    let mut lab = Lab::new(config());
    lab.join("attacker", 1, 1, &["8.8.4.4"]);
    lab.join("victim", 2, 1, &["1.1.1.1", "192.168.1.5"]);
    let mut victim = Client::tagged("9.9.9.9:1000", "victim");
    let at_victim = victim.allocate(&mut lab);
    let mut attacker = attacker(&mut lab, Transport::Udp);
    for address in &attacker.relayed {
        victim.permit(&mut lab, *address);
    }
    for peer in [addr("1.1.1.1:53"), addr("192.168.1.5:80"), addr("9.9.9.9:1000"), at_victim] {
        assert_eq!(attempt(&mut lab, &mut attacker, peer), [], "{peer}");
    }
}

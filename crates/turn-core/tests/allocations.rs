//! Allocate and Refresh (RFC 8656 §7, §8) under virtual time.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, in its helpers too")]

mod lab;

use std::net::SocketAddr;
use std::time::Duration;

use lab::{Client, Lab, RELAY_V4, RELAY_V6, Reply, addr, config, ip};
use lanyard_turn_core::stun::{AttributeKind, MessageWriter, Method};
use lanyard_turn_core::{Admission, AlternateServer, Config, Limits, PortRequest, RelayAddress, StaticUser, Transport};

const IPV4: [u8; 4] = [1, 0, 0, 0];
const IPV6: [u8; 4] = [2, 0, 0, 0];

fn lab_with(limits: Limits) -> Lab {
    Lab::new(Config { limits, ..config() })
}

fn token(reply: &Reply) -> Vec<u8> {
    reply.message().attribute(AttributeKind::RESERVATION_TOKEN).unwrap().to_vec()
}

#[test]
fn allocation_answers_with_relayed_address_lifetime_and_mapped_address() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    let reply = client.allocate_with(&mut lab, |_| {});
    assert_eq!(reply.outcome(), 0);
    assert_eq!(reply.relayed().ip(), ip(RELAY_V4));
    assert_eq!(reply.lifetime(), 600);
    assert_eq!(reply.xor_addresses(AttributeKind::XOR_MAPPED_ADDRESS), [addr("192.0.2.1:1000")]);
    assert_eq!(lab.server.allocation_expires_at(&client.tuple), Some(lab.now + Duration::from_secs(600)));
}

#[test]
fn fingerprint_of_the_request_is_returned_in_the_late_answer() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    let mut bytes = client.build(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    // Append FINGERPRINT by hand: it must come after the integrity.
    let length = u16::try_from(bytes.len() - 20 + 8).unwrap();
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let crc = crc32fast::hash(&bytes) ^ 0x5354_554e;
    bytes.extend([0x80, 0x28, 0, 4]);
    bytes.extend(crc.to_be_bytes());
    let reply = client.exchange(&mut lab, &bytes).unwrap();
    assert_eq!(reply.outcome(), 0);
    assert!(reply.message().has_fingerprint() && reply.message().verify_integrity(&client.key()));
}

#[test]
fn ipv6_client_that_asks_for_no_family_gets_ipv4() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("[2001:db8:7::1]:1000", "alice");
    assert_eq!(client.allocate(&mut lab).ip(), ip(RELAY_V4));
}

#[test]
fn requested_family_is_given_or_440() {
    let mut lab = Lab::new(config());
    for (port, family, relay) in [(1, IPV4, RELAY_V4), (2, IPV6, RELAY_V6)] {
        let mut client = Client::user(&format!("192.0.2.1:{port}"), "alice");
        let reply = client.allocate_with(&mut lab, |writer| {
            writer.attribute(AttributeKind::REQUESTED_ADDRESS_FAMILY, &family);
        });
        assert_eq!(reply.relayed().ip(), ip(relay));
    }
    let mut client = Client::user("192.0.2.1:3", "alice");
    let unknown = client.allocate_with(&mut lab, |writer| {
        writer.attribute(AttributeKind::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0]);
    });
    assert_eq!(unknown.outcome(), 440);

    let mut lab = Lab::new(Config { relay_addresses: vec![RelayAddress::direct(ip(RELAY_V4))], ..config() });
    let mut client = Client::user("192.0.2.1:1", "alice");
    let absent = client.allocate_with(&mut lab, |writer| {
        writer.attribute(AttributeKind::REQUESTED_ADDRESS_FAMILY, &IPV6);
    });
    assert_eq!(absent.outcome(), 440);
}

#[test]
fn malformed_or_unsupported_requests_are_refused_as_the_rfc_says() {
    type Fill = fn(&mut MessageWriter<'_>);
    let udp: Fill = |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    };
    let cases: [(&str, Fill, u16); 12] = [
        ("no transport", |_| {}, 400),
        (
            "TCP",
            |writer| {
                writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
            },
            442,
        ),
        (
            "short transport",
            |writer| {
                writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17]);
            },
            400,
        ),
        (
            "token and even port",
            |writer| {
                writer.attribute(AttributeKind::RESERVATION_TOKEN, &[0; 8]).attribute(AttributeKind::EVEN_PORT, &[0]);
            },
            400,
        ),
        (
            "token and family",
            |writer| {
                writer.attribute(AttributeKind::RESERVATION_TOKEN, &[0; 8]);
                writer.attribute(AttributeKind::REQUESTED_ADDRESS_FAMILY, &IPV4);
            },
            400,
        ),
        (
            "unknown token",
            |writer| {
                writer.attribute(AttributeKind::RESERVATION_TOKEN, &[0; 8]);
            },
            508,
        ),
        (
            "short token",
            |writer| {
                writer.attribute(AttributeKind::RESERVATION_TOKEN, &[0; 4]);
            },
            400,
        ),
        (
            "both families in both ways",
            |writer| {
                writer.attribute(AttributeKind::REQUESTED_ADDRESS_FAMILY, &IPV4);
                writer.attribute(AttributeKind::ADDITIONAL_ADDRESS_FAMILY, &IPV6);
            },
            400,
        ),
        (
            "additional IPv4",
            |writer| {
                writer.attribute(AttributeKind::ADDITIONAL_ADDRESS_FAMILY, &IPV4);
            },
            400,
        ),
        (
            "additional and kept port",
            |writer| {
                writer.attribute(AttributeKind::ADDITIONAL_ADDRESS_FAMILY, &IPV6);
                writer.attribute(AttributeKind::EVEN_PORT, &[0x80]);
            },
            400,
        ),
        (
            "short lifetime",
            |writer| {
                writer.attribute(AttributeKind::LIFETIME, &[1]);
            },
            400,
        ),
        (
            "unknown attribute",
            |writer| {
                writer.attribute(AttributeKind(0x7000), &[]);
            },
            420,
        ),
    ];
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    for (name, fill, outcome) in cases {
        let names_transport = ["no transport", "TCP", "short transport"].contains(&name);
        let reply = client.request(&mut lab, Method::ALLOCATE, |writer| {
            if !names_transport {
                udp(writer);
            }
            fill(writer);
        });
        assert_eq!(reply.outcome(), outcome, "{name}");
    }
    assert_eq!(lab.server.metrics().allocations, 0);
}

#[test]
fn dont_fragment_is_an_unknown_attribute_where_it_cannot_be_done() {
    for (dont_fragment, outcome) in [(true, 0), (false, 420)] {
        let mut lab = Lab::new(Config { dont_fragment, ..config() });
        let mut client = Client::user("192.0.2.1:1000", "alice");
        let reply = client.allocate_with(&mut lab, |writer| {
            writer.attribute(AttributeKind::DONT_FRAGMENT, &[]);
        });
        assert_eq!(reply.outcome(), outcome);
    }
}

#[test]
fn retransmitted_request_gets_the_same_answer_and_another_one_437() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    let request = client.build(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    let first = client.exchange(&mut lab, &request).unwrap();
    assert_eq!(client.exchange(&mut lab, &request).unwrap().0, first.0);
    assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 437);
    assert_eq!((lab.sockets.len(), lab.server.metrics().allocations_created), (1, 1));
}

#[test]
fn retransmission_while_the_socket_opens_is_answered_once() {
    let mut lab = Lab::new(config());
    lab.opens = false;
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    let request = client.build(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    for _ in 0..3 {
        assert!(client.exchange(&mut lab, &request).is_none());
    }
    assert_eq!(lab.unanswered.len(), 1);
    assert_eq!(client.refresh(&mut lab, 600).outcome(), 437);
    lab.take_sent();
    lab.answer_open(true);
    lab.drain();
    assert_eq!(lab.take_sent().len(), 1);
}

#[test]
fn socket_that_cannot_be_opened_is_508_and_leaves_nothing() {
    let mut lab = Lab::new(config());
    lab.opens = false;
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    let request = client.build(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    client.exchange(&mut lab, &request);
    lab.answer_open(false);
    lab.drain();
    let (_, bytes) = lab.take_sent().pop().unwrap();
    let reply = Reply(bytes);
    assert_eq!(reply.outcome(), 508);
    assert!(reply.message().verify_integrity(&client.key()));
    assert_eq!((lab.server.metrics().allocations, lab.server.poll_timeout()), (0, None));
}

#[test]
fn socket_that_takes_too_long_is_508_and_closed_when_it_comes() {
    let mut lab = Lab::new(config());
    lab.opens = false;
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    let request = client.build(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    client.exchange(&mut lab, &request);
    let (relay, bind, _) = lab.unanswered[0];
    lab.pass(Duration::from_secs(5));
    assert_eq!(Reply(lab.take_sent().pop().unwrap().1).outcome(), 508);
    assert!(lab.unanswered.is_empty(), "the command to close came");
    lab.server.relay_socket_opened(lab.now, relay, Ok(SocketAddr::new(bind, 5)));
    lab.drain();
    assert_eq!((lab.server.metrics().allocations, lab.take_sent().len()), (0, 0));
}

#[test]
fn client_that_leaves_while_its_socket_opens_leaves_nothing() {
    let mut lab = Lab::new(config());
    lab.opens = false;
    let mut client = Client::over(Transport::Tcp, "192.0.2.1:1000", "alice", "password of alice");
    client.challenge(&mut lab);
    let request = client.build(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        writer.attribute(AttributeKind::EVEN_PORT, &[0x80]);
    });
    client.exchange(&mut lab, &request);
    lab.server.handle_client_disconnected(client.tuple);
    lab.drain();
    assert_eq!(lab.server.metrics().allocations, 0);
    assert_eq!(lab.server.poll_timeout(), None);
}

#[test]
fn clients_of_the_draft_get_both_families_too() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    let reply = client.allocate_with(&mut lab, |writer| {
        writer.attribute(AttributeKind::ADDITIONAL_ADDRESS_FAMILY_OF_DRAFT, &IPV6);
    });
    let relayed = reply.xor_addresses(AttributeKind::XOR_RELAYED_ADDRESS);
    assert_eq!(relayed.iter().map(SocketAddr::ip).collect::<Vec<_>>(), [ip(RELAY_V4), ip(RELAY_V6)]);
}

#[test]
fn dual_allocation_has_an_address_of_each_family() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("[2001:db8:7::1]:1000", "alice");
    let reply = client.allocate_with(&mut lab, |writer| {
        writer.attribute(AttributeKind::ADDITIONAL_ADDRESS_FAMILY, &IPV6);
    });
    let relayed = reply.xor_addresses(AttributeKind::XOR_RELAYED_ADDRESS);
    assert_eq!(relayed.iter().map(SocketAddr::ip).collect::<Vec<_>>(), [ip(RELAY_V4), ip(RELAY_V6)]);
    assert_eq!(reply.message().attribute(AttributeKind::ADDRESS_ERROR_CODE), None);
    assert_eq!(lab.sockets.len(), 2);

    let refused = client.request(&mut lab, Method::REFRESH, |writer| {
        writer.u32(AttributeKind::LIFETIME, 0).attribute(AttributeKind::REQUESTED_ADDRESS_FAMILY, &IPV6);
    });
    assert_eq!((refused.outcome(), lab.sockets.len()), (0, 1));
    let gone = client.request(&mut lab, Method::REFRESH, |writer| {
        writer.attribute(AttributeKind::REQUESTED_ADDRESS_FAMILY, &IPV6);
    });
    assert_eq!(gone.outcome(), 443);
    assert_eq!(client.refresh(&mut lab, 600).outcome(), 0);
}

#[test]
fn dual_allocation_with_one_family_missing_says_which() {
    let only = |text: &str| Config { relay_addresses: vec![RelayAddress::direct(ip(text))], ..config() };
    for (relay, error) in [(RELAY_V4, [2, 0, 4, 40]), (RELAY_V6, [1, 0, 4, 40])] {
        let mut lab = Lab::new(only(relay));
        let mut client = Client::user("192.0.2.1:1000", "alice");
        let reply = client.allocate_with(&mut lab, |writer| {
            writer.attribute(AttributeKind::ADDITIONAL_ADDRESS_FAMILY, &IPV6);
        });
        assert_eq!(reply.relayed().ip(), ip(relay));
        assert_eq!(reply.message().attribute(AttributeKind::ADDRESS_ERROR_CODE), Some(&error[..]));
    }
    let mut lab = Lab::new(config());
    lab.opens = false;
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    let request = client.build(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        writer.attribute(AttributeKind::ADDITIONAL_ADDRESS_FAMILY, &IPV6);
    });
    client.exchange(&mut lab, &request);
    lab.answer_open(true);
    lab.drain();
    assert!(lab.take_sent().is_empty(), "the answer waits for both");
    lab.answer_open(false);
    lab.drain();
    let reply = Reply(lab.take_sent().pop().unwrap().1);
    assert_eq!(reply.xor_addresses(AttributeKind::XOR_RELAYED_ADDRESS).len(), 1);
    assert_eq!(reply.message().attribute(AttributeKind::ADDRESS_ERROR_CODE), Some(&[2, 0, 5, 8][..]));
    assert_eq!(client.exchange(&mut lab, &request).unwrap().0, reply.0, "said again when asked again");
}

#[test]
fn even_port_is_even_and_its_neighbour_is_kept_for_the_token() {
    let mut lab = Lab::new(config());
    for port in 1..4 {
        let mut client = Client::user(&format!("192.0.2.9:{port}"), "bob");
        let reply = client.allocate_with(&mut lab, |writer| {
            writer.attribute(AttributeKind::EVEN_PORT, &[0]);
        });
        assert_eq!(reply.relayed().port() % 2, 0);
        assert_eq!(reply.message().attribute(AttributeKind::RESERVATION_TOKEN), None);
    }
    let mut first = Client::user("192.0.2.1:1000", "alice");
    let reply = first.allocate_with(&mut lab, |writer| {
        writer.attribute(AttributeKind::EVEN_PORT, &[0x80]);
    });
    let token = token(&reply);
    let with_token = |lab: &mut Lab, client: &mut Client| {
        client.allocate_with(lab, |writer| {
            writer.attribute(AttributeKind::RESERVATION_TOKEN, &token);
        })
    };
    let mut thief = Client::user("192.0.2.3:1000", "bob");
    assert_eq!(with_token(&mut lab, &mut thief).outcome(), 508);
    let mut second = Client::user("192.0.2.1:1001", "alice");
    let kept = with_token(&mut lab, &mut second);
    assert_eq!(kept.outcome(), 0);
    assert_eq!(kept.relayed().port(), reply.relayed().port() + 1);
    let mut third = Client::user("192.0.2.1:1002", "alice");
    assert_eq!(with_token(&mut lab, &mut third).outcome(), 508, "a token is good once");
}

#[test]
fn kept_port_is_closed_after_thirty_seconds_and_counts_until_then() {
    let limits = Limits { allocations_per_credential: 2, ..Limits::default() };
    let mut lab = lab_with(limits);
    let mut first = Client::user("192.0.2.1:1000", "alice");
    first.allocate_with(&mut lab, |writer| {
        writer.attribute(AttributeKind::EVEN_PORT, &[0x80]);
    });
    assert_eq!(lab.sockets.len(), 2);
    let mut second = Client::user("192.0.2.1:1001", "alice");
    assert_eq!(second.allocate_with(&mut lab, |_| {}).outcome(), 486);
    lab.pass(Duration::from_secs(30));
    assert_eq!(lab.sockets.len(), 1);
    assert_eq!(second.allocate_with(&mut lab, |_| {}).outcome(), 0);
}

#[test]
fn odd_port_for_an_even_one_is_closed_and_508() {
    let mut lab = Lab::new(config());
    lab.opens = false;
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.challenge(&mut lab);
    let request = client.build(Method::ALLOCATE, |writer| {
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        writer.attribute(AttributeKind::EVEN_PORT, &[0]);
    });
    client.exchange(&mut lab, &request);
    let (relay, bind, port) = lab.unanswered[0];
    assert_eq!(port, PortRequest::Even);
    lab.server.relay_socket_opened(lab.now, relay, Ok(SocketAddr::new(bind, 50_001)));
    lab.drain();
    assert_eq!(Reply(lab.take_sent().pop().unwrap().1).outcome(), 508);
    assert!(lab.unanswered.is_empty());
}

#[test]
fn lifetime_is_at_least_ten_minutes_and_at_most_the_limit() {
    for (limit, asked, granted) in [
        (600, None, 600),
        (600, Some(0), 600),
        (600, Some(1), 600),
        (600, Some(777), 600),
        (3600, Some(777), 777),
        (3600, Some(u32::MAX), 3600),
    ] {
        let mut lab = lab_with(Limits { lifetime: Duration::from_secs(limit), ..Limits::default() });
        let mut client = Client::user("192.0.2.1:1000", "alice");
        let reply = client.allocate_with(&mut lab, |writer| {
            if let Some(asked) = asked {
                writer.u32(AttributeKind::LIFETIME, asked);
            }
        });
        assert_eq!(reply.lifetime(), granted);
    }
}

#[test]
fn allocation_ends_when_its_time_is_over_unless_refreshed() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.allocate(&mut lab);
    lab.pass(Duration::from_secs(500));
    assert_eq!(client.refresh(&mut lab, 600).lifetime(), 600);
    lab.pass(Duration::from_secs(599));
    assert_eq!(lab.sockets.len(), 1);
    lab.pass(Duration::from_secs(1));
    assert_eq!((lab.sockets.len(), lab.server.metrics().allocations_expired), (0, 1));
    assert_eq!(lab.server.poll_timeout(), None);
    assert_eq!(client.refresh(&mut lab, 600).outcome(), 437);
}

#[test]
fn allocation_grows_no_older_than_its_age_limit() {
    let mut lab = lab_with(Limits { age: Some(Duration::from_secs(1000)), ..Limits::default() });
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.allocate(&mut lab);
    lab.pass(Duration::from_secs(500));
    assert_eq!(client.refresh(&mut lab, 600).lifetime(), 500);
    lab.pass(Duration::from_secs(500));
    assert_eq!(lab.sockets.len(), 0);
}

#[test]
fn refresh_with_lifetime_zero_ends_the_allocation_and_repeated_is_437() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.allocate(&mut lab);
    assert_eq!(client.refresh(&mut lab, 0).lifetime(), 0);
    assert_eq!((lab.sockets.len(), lab.server.metrics().allocations), (0, 0));
    assert_eq!(client.refresh(&mut lab, 0).outcome(), 437);
    assert_eq!(client.allocate_with(&mut lab, |_| {}).outcome(), 0);
}

#[test]
fn allocation_of_another_is_441() {
    let mut lab = Lab::new(config());
    let mut alice = Client::user("192.0.2.1:1000", "alice");
    alice.allocate(&mut lab);
    let mut bob = Client { tuple: alice.tuple, nonce: alice.nonce.clone(), ..Client::user("192.0.2.1:1000", "bob") };
    assert_eq!(bob.refresh(&mut lab, 0).outcome(), 441);
    assert_eq!(bob.permit(&mut lab, addr("8.8.8.8:1")), 441);
    assert_eq!(bob.bind(&mut lab, 0x4000, addr("8.8.8.8:1")), 441);
    assert_eq!(bob.allocate_with(&mut lab, |_| {}).outcome(), 437);
    assert_eq!(lab.sockets.len(), 1);
}

#[test]
fn same_addresses_over_another_transport_are_another_flow() {
    let mut lab = Lab::new(config());
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        Client::over(transport, "192.0.2.1:1000", "alice", "password of alice").allocate(&mut lab);
    }
    assert_eq!(lab.sockets.len(), 3);
}

#[test]
fn quotas_hold_per_credential_source_network_and_in_all() {
    let limits = Limits {
        allocations: 6,
        allocations_per_credential: 2,
        allocations_per_source: 3,
        allocations_per_network: 4,
        ..Limits::default()
    };
    let user = |name: &str, max_allocations| StaticUser {
        name: name.to_owned(),
        password: format!("password of {name}"),
        peer_policy: None,
        max_allocations,
    };
    let users = vec![user("alice", None), user("bob", None), user("carol", Some(9))];
    let mut lab = Lab::new(Config { limits, users, ..config() });
    let mut outcome = |address: &str, name: &str| Client::user(address, name).allocate_with(&mut lab, |_| {}).outcome();
    assert_eq!(outcome("192.0.2.1:1", "alice"), 0);
    assert_eq!(outcome("192.0.2.1:2", "alice"), 0);
    assert_eq!(outcome("192.0.2.2:1", "alice"), 486, "credential");
    assert_eq!(outcome("192.0.2.1:3", "bob"), 0);
    assert_eq!(outcome("192.0.2.1:4", "bob"), 486, "source");
    assert_eq!(outcome("192.0.2.2:1", "bob"), 0);
    assert_eq!(outcome("192.0.2.3:1", "carol"), 486, "network");
    assert_eq!(outcome("192.0.3.1:1", "carol"), 0);
    assert_eq!(outcome("192.0.4.1:1", "carol"), 0);
    assert_eq!(outcome("192.0.5.1:1", "carol"), 508, "total");
    assert_eq!((lab.server.metrics().quota_reached, lab.server.metrics().insufficient_capacity), (3, 1));
}

#[test]
fn quota_of_a_room_member_grows_with_the_room() {
    let limits = Limits { allocations_per_credential: 2, ..Limits::default() };
    let mut lab = lab_with(limits);
    for (tag, member) in [("a", 1), ("b", 2), ("c", 3)] {
        lab.join(tag, 1, member, &[]);
    }
    let outcomes: Vec<u16> = (1..=5)
        .map(|port| Client::tagged(&format!("192.0.2.1:{port}"), "a").allocate_with(&mut lab, |_| {}).outcome())
        .collect();
    assert_eq!(outcomes, [0, 0, 0, 0, 486]);
}

#[test]
fn quota_is_given_back_when_an_allocation_ends() {
    let mut lab = lab_with(Limits { allocations_per_source: 1, ..Limits::default() });
    for port in 1..50 {
        let mut client = Client::user(&format!("192.0.2.1:{port}"), "alice");
        client.allocate(&mut lab);
        match port % 3 {
            0 => assert_eq!(client.refresh(&mut lab, 0).outcome(), 0),
            1 => {
                lab.server.handle_client_disconnected(client.tuple);
                lab.drain();
            }
            _ => lab.pass(Duration::from_secs(600)),
        }
        lab.pass(Duration::from_secs(1));
    }
}

#[test]
fn draining_server_sends_new_clients_elsewhere_and_keeps_the_old() {
    let mut lab = Lab::new(config());
    let mut old = Client::user("192.0.2.1:1000", "alice");
    old.allocate(&mut lab);
    let alternate = AlternateServer { address: addr("203.0.113.5:3478"), domain: Some("b.example.org".to_owned()) };
    lab.server.set_admission(Admission::Draining { alternate: Some(alternate) });
    let mut new = Client::user("192.0.2.1:1001", "alice");
    let reply = new.allocate_with(&mut lab, |_| {});
    assert_eq!(reply.outcome(), 300);
    assert_eq!(
        reply.message().attribute(AttributeKind::ALTERNATE_SERVER),
        Some(&[0, 1, 0x0d, 0x96, 203, 0, 113, 5][..])
    );
    assert_eq!(reply.message().attribute(AttributeKind::ALTERNATE_DOMAIN), Some(&b"b.example.org"[..]));
    let mut ipv6 = Client::user("[2001:db8::5]:1000", "alice");
    assert_eq!(ipv6.allocate_with(&mut lab, |_| {}).outcome(), 508, "no alternate of its family");
    assert_eq!(old.refresh(&mut lab, 600).outcome(), 0);
    lab.server.set_admission(Admission::Open);
    assert_eq!(new.allocate_with(&mut lab, |_| {}).outcome(), 0);
}

#[test]
fn advertised_address_is_what_clients_are_told() {
    let relay = RelayAddress { bind: ip("192.168.7.1"), advertised: ip("203.0.113.77") };
    let mut lab = Lab::new(Config { relay_addresses: vec![relay], ..config() });
    let relayed = Client::user("192.0.2.1:1000", "alice").allocate(&mut lab);
    assert_eq!(relayed.ip(), ip("203.0.113.77"));
    assert_eq!(lab.sockets.values().next().unwrap().ip(), ip("192.168.7.1"));
}

#[test]
fn allocation_at_an_address_that_is_gone_is_437_and_a_new_one_gets_the_new_address() {
    let mut lab = Lab::new(config());
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.allocate(&mut lab);
    lab.server.set_addresses(vec![RelayAddress::direct(ip("198.51.100.9"))], vec![]);
    lab.drain();
    assert_eq!(lab.sockets.len(), 1, "packets may still flow");
    assert_eq!(client.refresh(&mut lab, 600).outcome(), 437);
    assert_eq!(lab.sockets.len(), 0);
    assert_eq!(client.allocate(&mut lab).ip(), ip("198.51.100.9"));
}

#[test]
fn next_timeout_is_right_among_ten_thousand_allocations() {
    let limits = Limits {
        allocations_per_credential: u32::MAX,
        allocations_per_source: u32::MAX,
        allocations_per_network: u32::MAX,
        ..Limits::default()
    };
    let mut lab = lab_with(limits);
    let start = lab.now;
    for n in 0..10_000_u32 {
        let address = format!("10.{}.{}.{}:1000", n >> 16, n >> 8 & 0xff, n & 0xff);
        Client::user(&address, "alice").allocate(&mut lab);
        if n % 100 == 99 {
            lab.pass(Duration::from_millis(100));
        }
    }
    assert_eq!(lab.server.poll_timeout(), Some(start + Duration::from_secs(600)));
    assert_eq!(Client::user("10.99.0.1:1", "alice").allocate_with(&mut lab, |_| {}).outcome(), 508);
    lab.pass(Duration::from_secs(590));
    assert_eq!(lab.sockets.len(), 9_900);
    lab.pass(Duration::from_secs(10));
    assert_eq!((lab.sockets.len(), lab.server.poll_timeout()), (0, None));
}

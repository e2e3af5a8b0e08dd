//! Whom a client may reach (room, public, any), and that a change takes hold at once.

mod lab;

use lab::{Client, Lab, RELAY_V4, addr, config, ip, with_policy};
use lanyard_turn_core::{Config, MemberId, PeerPolicy, RelayAddress, RoomId, RoomMember, StaticUser};

/// Members 1 and 2 of room 1, member 1 of room 2, each with an allocation.
struct Rooms {
    lab: Lab,
    a: Client,
    b: Client,
    stranger: Client,
    at_b: std::net::SocketAddr,
    at_stranger: std::net::SocketAddr,
}

fn rooms() -> Rooms {
    let mut lab = Lab::new(config());
    lab.join("a", 1, 1, &["192.168.1.10"]);
    lab.join("b", 1, 2, &["192.168.1.20", "::ffff:203.0.113.20"]);
    lab.join("x", 2, 1, &["192.168.1.30"]);
    let mut a = Client::tagged("192.0.2.1:1000", "a");
    let mut b = Client::tagged("192.0.2.2:1000", "b");
    let mut stranger = Client::tagged("192.0.2.3:1000", "x");
    a.allocate(&mut lab);
    let at_b = b.allocate(&mut lab);
    let at_stranger = stranger.allocate(&mut lab);
    Rooms { lab, a, b, stranger, at_b, at_stranger }
}

#[test]
fn member_reaches_where_its_room_mates_were_seen_and_nowhere_else() {
    let Rooms { mut lab, mut a, .. } = rooms();
    for (peer, outcome) in [
        ("192.168.1.20:5000", 0),   // observed
        ("203.0.113.20:5000", 0),   // observed, in another spelling
        ("192.0.2.2:5000", 0),      // source of a room mate's allocation
        ("192.168.1.10:5000", 403), // its own
        ("192.0.2.1:5000", 403),    // its own allocation's source
        ("192.168.1.30:5000", 403), // a stranger's
        ("192.0.2.3:5000", 403),    // a stranger's allocation's source
        ("192.168.1.21:5000", 403),
        ("8.8.8.8:53", 403),
        ("127.0.0.1:22", 403),
    ] {
        assert_eq!(a.permit(&mut lab, addr(peer)), outcome, "{peer}");
    }
}

#[test]
fn relayed_address_of_a_room_mate_is_reached_and_a_strangers_is_not() {
    let Rooms { mut lab, mut a, mut b, mut stranger, at_b, at_stranger } = rooms();
    let at_a = lab.relayed_of[&a.tuple];
    assert_eq!(a.bind(&mut lab, 0x4000, at_b), 0);
    assert_eq!(b.bind(&mut lab, 0x4000, at_a), 0);
    assert!(a.send_on(&mut lab, 0x4000, b"x").is_some());

    // The address is this server's, so it may be permitted; the port is not for this room.
    assert_eq!(a.permit(&mut lab, at_stranger), 0);
    assert_eq!(stranger.permit(&mut lab, at_b), 0);
    assert_eq!(a.send(&mut lab, at_stranger, b"x"), None);
    assert_eq!(a.bind(&mut lab, 0x4001, at_stranger), 403);
    for port in [1, 22, 3478, 5349, 65_535] {
        let own = std::net::SocketAddr::new(at_b.ip(), port);
        assert_eq!(a.send(&mut lab, own, b"x"), None, "port {port}");
        assert_eq!(a.bind(&mut lab, 0x4001, own), 403, "port {port}");
        // And whatever listens there cannot send in.
        assert_eq!(lab.peer_sends(at_a, own, b"x"), None);
    }
}

#[test]
fn credentials_outside_every_room_allocate_but_reach_nobody() {
    let mut lab = Lab::new(config());
    let mut client = Client::tagged("192.0.2.1:1000", "nobody");
    client.allocate(&mut lab);
    for peer in ["8.8.8.8:53", "192.168.1.1:80", "192.0.2.1:1000"] {
        assert_eq!(client.permit(&mut lab, addr(peer)), 403);
    }
    lab.join("nobody", 1, 1, &[]);
    lab.join("somebody", 1, 2, &["192.168.1.1"]);
    assert_eq!(client.permit(&mut lab, addr("192.168.1.1:80")), 0, "known as a member from now on");
}

#[test]
fn static_user_is_a_room_of_its_own() {
    let mut lab = Lab::new(config());
    let mut first = Client::user("192.0.2.1:1000", "alice");
    let mut second = Client::user("192.0.2.2:1000", "alice");
    let mut bob = Client::user("192.0.2.3:1000", "bob");
    let at_first = first.allocate(&mut lab);
    let at_second = second.allocate(&mut lab);
    let at_bob = bob.allocate(&mut lab);
    assert_eq!((first.bind(&mut lab, 0x4000, at_second), second.bind(&mut lab, 0x4000, at_first)), (0, 0));
    assert!(first.send_on(&mut lab, 0x4000, b"x").is_some());
    assert_eq!(first.bind(&mut lab, 0x4001, at_bob), 403);
    assert_eq!(first.permit(&mut lab, addr("8.8.8.8:53")), 403);
    assert_eq!(first.permit(&mut lab, addr("192.0.2.2:9")), 0);
    assert_eq!(first.permit(&mut lab, addr("192.0.2.3:9")), 403);
}

#[test]
fn static_user_may_have_a_policy_of_its_own_but_reaches_no_room() {
    let user = StaticUser {
        name: "app".into(),
        password: "password of app".into(),
        peer_policy: Some(PeerPolicy::Public),
        max_allocations: None,
    };
    let mut lab = Lab::new(Config { users: vec![user], ..config() });
    lab.join("a", 1, 1, &[]);
    let mut app = Client::user("192.0.2.9:1000", "app");
    let mut member = Client::tagged("192.0.2.1:1000", "a");
    let at_app = app.allocate(&mut lab);
    let at_member = member.allocate(&mut lab);
    assert_eq!(app.permit(&mut lab, addr("8.8.8.8:53")), 0);
    assert_eq!(app.permit(&mut lab, addr("192.168.1.1:53")), 403);
    assert_eq!(member.permit(&mut lab, addr("8.8.8.8:53")), 403);
    assert_eq!(app.bind(&mut lab, 0x4000, at_member), 403);
    assert_eq!(member.bind(&mut lab, 0x4000, at_app), 403);
}

#[test]
fn public_policy_reaches_public_addresses_and_all_relayed_ones() {
    let mut lab = Lab::new(with_policy(PeerPolicy::Public));
    let mut a = Client::tagged("192.0.2.1:1000", "a");
    let mut b = Client::user("192.0.2.2:1000", "alice");
    let (at_a, at_b) = (a.allocate(&mut lab), b.allocate(&mut lab));
    assert_eq!(a.permit(&mut lab, addr("8.8.8.8:53")), 0);
    assert_eq!(a.permit(&mut lab, addr("10.1.2.3:53")), 403);
    assert_eq!((a.bind(&mut lab, 0x4000, at_b), b.bind(&mut lab, 0x4000, at_a)), (0, 0));
    assert!(a.send_on(&mut lab, 0x4000, b"x").is_some());
    let listener = addr("198.51.100.1:3478");
    assert_eq!(a.bind(&mut lab, 0x4001, listener), 403);
    assert_eq!(a.send(&mut lab, listener, b"x"), None);
}

#[test]
fn any_policy_reaches_everything_and_still_takes_the_short_cut() {
    let mut lab = Lab::new(with_policy(PeerPolicy::Any));
    let mut a = Client::user("192.0.2.1:1000", "alice");
    let mut b = Client::user("192.0.2.2:1000", "bob");
    let (at_a, at_b) = (a.allocate(&mut lab), b.allocate(&mut lab));
    for peer in ["127.0.0.1:9", "10.0.0.1:9", "198.51.100.1:3478"] {
        assert_eq!(a.permit(&mut lab, addr(peer)), 0);
        assert!(a.send(&mut lab, addr(peer), b"x").is_some(), "{peer}");
    }
    assert!(lab.peer_sends(at_a, addr("198.51.100.1:3478"), b"x").is_some());
    assert_eq!((a.bind(&mut lab, 0x4000, at_b), b.bind(&mut lab, 0x4000, at_a)), (0, 0));
    assert!(a.send_on(&mut lab, 0x4000, b"x").is_some());
    assert_eq!(lab.server.metrics().local_packets, 1);
}

#[test]
fn stricter_policy_cuts_what_is_no_longer_allowed_and_nothing_else() {
    let mut lab = Lab::new(with_policy(PeerPolicy::Any));
    let mut client = Client::user("192.0.2.1:1000", "alice");
    client.allocate(&mut lab);
    let (public, private) = (addr("8.8.8.8:53"), addr("10.0.0.1:53"));
    assert_eq!((client.bind(&mut lab, 0x4000, public), client.bind(&mut lab, 0x4001, private)), (0, 0));
    lab.server.set_peer_policy(PeerPolicy::Public);
    assert!(client.send_on(&mut lab, 0x4000, b"x").is_some());
    assert_eq!(client.send_on(&mut lab, 0x4001, b"x"), None);
    assert_eq!(client.send(&mut lab, private, b"x"), None);
    assert_eq!(lab.server.metrics().cut_by_reload, 2);
    lab.server.set_peer_policy(PeerPolicy::Room);
    assert_eq!(client.send_on(&mut lab, 0x4000, b"x"), None);
    assert_eq!(client.refresh(&mut lab, 600).outcome(), 0, "the allocation itself stays");
}

#[test]
fn member_that_leaves_is_cut_and_no_longer_reached() {
    let Rooms { mut lab, mut a, mut b, at_b, .. } = rooms();
    let seen = addr("192.168.1.20:5000");
    let at_a = lab.relayed_of[&a.tuple];
    assert_eq!((a.bind(&mut lab, 0x4000, at_b), a.bind(&mut lab, 0x4001, seen)), (0, 0));
    assert_eq!(b.bind(&mut lab, 0x4000, at_a), 0);
    assert!(a.send_on(&mut lab, 0x4000, b"x").is_some() && a.send_on(&mut lab, 0x4001, b"x").is_some());
    lab.server.remove_member("b");
    lab.drain();
    assert_eq!(lab.sockets.len(), 2);
    assert_eq!(a.send_on(&mut lab, 0x4000, b"x"), None);
    assert_eq!(a.send_on(&mut lab, 0x4001, b"x"), None);
    assert_eq!(lab.peer_sends(at_a, seen, b"x"), None);
    assert_eq!(b.refresh(&mut lab, 600).outcome(), 437);
}

#[test]
fn member_seen_elsewhere_is_no_longer_reached_where_it_was() {
    let Rooms { mut lab, mut a, .. } = rooms();
    let before = addr("192.168.1.20:5000");
    a.permit(&mut lab, before);
    lab.join("b", 1, 2, &["192.168.1.99"]);
    assert_eq!(a.send(&mut lab, before, b"x"), None);
    assert_eq!(a.permit(&mut lab, addr("192.168.1.99:5000")), 0);
}

#[test]
fn published_transport_address_is_reached_at_its_port_only() {
    let Rooms { mut lab, mut a, .. } = rooms();
    // A relayed address on another server, and a socket on this host.
    let published = [addr("203.0.113.200:40000"), addr("192.168.7.1:41000")];
    lab.server.set_member(
        "b",
        RoomMember {
            room: RoomId([1; 16]),
            member: MemberId(2),
            observed: vec![],
            transport_addresses: published.to_vec(),
        },
    );
    for (number, address) in (0x4000..).zip(published) {
        let other_port = std::net::SocketAddr::new(address.ip(), 22);
        assert_eq!(a.bind(&mut lab, number, address), 0);
        assert!(a.send_on(&mut lab, number, b"x").is_some());
        assert_eq!(a.send(&mut lab, other_port, b"x"), None);
        assert_eq!(a.bind(&mut lab, 0x4010, other_port), 403);
        let at_a = lab.relayed_of[&a.tuple];
        assert!(lab.peer_sends(at_a, address, b"y").is_some());
        assert_eq!(lab.peer_sends(at_a, other_port, b"y"), None);
    }
}

#[test]
fn own_addresses_are_no_peers_even_where_a_room_mate_was_seen_there() {
    let Rooms { mut lab, mut a, .. } = rooms();
    lab.join("b", 1, 2, &["192.168.7.1", "127.0.0.1", "169.254.169.254"]);
    for peer in ["192.168.7.1:22", "127.0.0.1:22", "169.254.169.254:80"] {
        assert_eq!(a.permit(&mut lab, addr(peer)), 403, "{peer}");
    }
}

#[test]
fn both_names_of_a_relayed_address_lead_to_its_client() {
    let relay = RelayAddress { bind: ip("192.168.7.1"), advertised: ip("203.0.113.77") };
    let mut lab = Lab::new(Config { relay_addresses: vec![relay], ..config() });
    let mut a = Client::user("192.0.2.1:1000", "alice");
    let mut b = Client::user("192.0.2.2:1000", "alice");
    let (at_a, at_b) = (a.allocate(&mut lab), b.allocate(&mut lab));
    assert_eq!(b.permit(&mut lab, at_a), 0);
    for ip in [relay.bind, relay.advertised] {
        let peer = std::net::SocketAddr::new(ip, at_b.port());
        assert_eq!(a.permit(&mut lab, peer), 0);
        let delivery = a.send(&mut lab, peer, b"x").unwrap();
        assert_eq!(lab::data_indication(&delivery), (at_a, b"x".to_vec()));
    }
}

#[test]
fn retired_address_of_this_server_is_still_no_peer() {
    let mut lab = Lab::new(with_policy(PeerPolicy::Public));
    let mut client = Client::user("192.0.2.1:1000", "alice");
    lab.server.set_addresses(vec![RelayAddress::direct(ip("198.51.100.9"))], vec![]);
    client.allocate(&mut lab);
    assert_eq!(client.bind(&mut lab, 0x4000, std::net::SocketAddr::new(ip(RELAY_V4), 3478)), 403);
}

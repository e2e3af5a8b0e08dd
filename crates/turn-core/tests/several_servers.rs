//! Several servers with one ledger: to clients they are one.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, in its helpers too")]

mod lab;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lab::{Client, Delivery, Lab, RELAY_V4, addr, config, data_indication, ip, with_policy};
use lanyard_turn_core::{Bandwidth, Config, Ledger, Limits, PeerPolicy, RelayAddress};
use proptest::prelude::*;

const INSIDE: &str = "10.0.0.1";

/// Behind a NAT that keeps ports: advertised at [`RELAY_V4`], bound inside.
fn behind_nat() -> Config {
    let inside = RelayAddress { bind: ip(INSIDE), advertised: ip(RELAY_V4) };
    Config { relay_addresses: vec![inside], own_addresses: vec![ip(INSIDE), ip(RELAY_V4)], ..config() }
}

/// A relay of one or more servers, each with the clients whose number is its own.
struct Relay {
    labs: Vec<Lab>,
}

impl Relay {
    fn new(servers: u8, config: &Config) -> Self {
        if servers == 1 {
            return Self { labs: vec![Lab::new(config.clone())] };
        }
        let now = Instant::now();
        let ledger = Ledger::new(7, now);
        Self { labs: (0..servers).map(|number| Lab::of_several(config.clone(), &ledger, now, number)).collect() }
    }

    fn of(&mut self, client: usize) -> &mut Lab {
        let count = self.labs.len();
        &mut self.labs[client % count]
    }

    fn each(&mut self, tell: impl Fn(&mut Lab)) {
        for lab in &mut self.labs {
            tell(lab);
            lab.drain();
        }
    }

    fn join(&mut self, tag: &str, room: u8, member: u32) {
        self.each(|lab| lab.join(tag, room, member, &[]));
    }

    /// Carries a packet for another server's relay socket there, as the host's network does.
    fn deliver(&mut self, delivery: Option<Delivery>) -> Option<Delivery> {
        let Some(Delivery::ToPeer { from, peer, payload, .. }) = &delivery else { return delivery };
        let is_ours = |lab: &&mut Lab| lab.sockets.values().any(|local| local == peer);
        let Some(lab) = self.labs.iter_mut().find(is_ours) else { return delivery };
        lab.peer_sends(*peer, *from, payload)
    }
}

/// Members of one room and a stranger, each at a server of its own, with an allocation.
fn two_and_a_stranger(config: &Config) -> (Relay, [Client; 3], [SocketAddr; 3]) {
    let mut relay = Relay::new(3, config);
    for (tag, room, member) in [("a", 1, 1), ("b", 1, 2), ("x", 2, 1)] {
        relay.join(tag, room, member);
    }
    let mut clients =
        [("192.0.2.1:1", "a"), ("192.0.2.2:1", "b"), ("192.0.2.3:1", "x")].map(|(at, tag)| Client::tagged(at, tag));
    let mut number = 0;
    let relayed = clients.each_mut().map(|client| {
        number += 1;
        client.allocate(relay.of(number - 1))
    });
    (relay, clients, relayed)
}

#[test]
fn room_mates_at_different_servers_meet_and_a_stranger_stays_out() {
    for config in [config(), behind_nat()] {
        let (mut relay, [mut a, mut b, mut stranger], [at_a, at_b, at_stranger]) = two_and_a_stranger(&config);
        assert_eq!(a.bind(relay.of(0), 0x4000, at_b), 0);
        assert_eq!(b.permit(relay.of(1), at_a), 0);
        let sent = a.send_on(relay.of(0), 0x4000, b"to b");
        let arrived = relay.deliver(sent).unwrap();
        assert_eq!(data_indication(&arrived), (at_a, b"to b".to_vec()), "under the name that b knows");
        let sent = b.send(relay.of(1), at_a, b"to a");
        let arrived = relay.deliver(sent);
        assert!(matches!(arrived, Some(Delivery::ToClient { tuple, bytes })
            if tuple == a.tuple && bytes == [&[0x40, 0, 0, 4][..], b"to a"].concat()));

        // The address is this relay's, so it may be permitted; the port is not for this room.
        assert_eq!(stranger.permit(relay.of(2), at_b), 0);
        assert_eq!(stranger.bind(relay.of(2), 0x4000, at_b), 403);
        assert_eq!(stranger.send(relay.of(2), at_b, b"x"), None);
        assert_eq!(a.bind(relay.of(0), 0x4001, at_stranger), 403);
        // And what arrives from there regardless goes no further.
        let bound = |lab: &Lab| *lab.sockets.values().next().unwrap();
        let (from, to) = (bound(relay.of(2)), bound(relay.of(1)));
        assert_eq!(relay.of(1).peer_sends(to, from, b"x"), None);
    }
}

#[test]
fn relayed_address_that_is_given_up_is_nobodys() {
    let (mut relay, [mut a, mut b, _], [at_a, at_b, _]) = two_and_a_stranger(&config());
    assert_eq!(a.bind(relay.of(0), 0x4000, at_b), 0);
    assert_eq!(b.permit(relay.of(1), at_a), 0);
    assert_eq!(b.refresh(relay.of(1), 0).outcome(), 0);
    assert_eq!(a.send_on(relay.of(0), 0x4000, b"x"), None);
    assert_eq!(a.bind(relay.of(0), 0x4000, at_b), 403);
}

#[test]
fn member_that_leaves_is_out_of_reach_at_every_server() {
    let (mut relay, [mut a, mut b, _], [at_a, at_b, _]) = two_and_a_stranger(&config());
    assert_eq!(a.bind(relay.of(0), 0x4000, at_b), 0);
    assert_eq!(a.permit(relay.of(0), b.tuple.client), 0, "where b's allocation comes from");
    assert_eq!(b.permit(relay.of(1), at_a), 0);
    relay.each(|lab| lab.server.remove_member("b"));
    assert!(relay.of(1).sockets.is_empty());
    assert_eq!(a.send_on(relay.of(0), 0x4000, b"x"), None);
    assert_eq!(a.send(relay.of(0), b.tuple.client, b"x"), None);
    assert_eq!(a.permit(relay.of(0), b.tuple.client), 403);
}

#[test]
fn quotas_hold_for_all_servers_together() {
    let limits = |limits: Limits| Config { limits, ..config() };
    let (wide, tight) = (Limits::default(), 3);
    for (config, refusal, same_user) in [
        (limits(Limits { allocations_per_credential: tight, ..wide }), 486, true),
        (limits(Limits { allocations_per_network: tight, ..wide }), 486, false),
        (limits(Limits { allocations: tight, ..wide }), 508, false),
    ] {
        let mut relay = Relay::new(2, &config);
        let mut clients: Vec<Client> = (0..5)
            .map(|number| {
                let name = if same_user || number % 2 == 0 { "alice" } else { "bob" };
                Client::user(&format!("192.0.2.{number}:1000"), name)
            })
            .collect();
        let outcomes: Vec<u16> = (0..5).map(|n| clients[n].allocate_with(relay.of(n), |_| {}).outcome()).collect();
        assert_eq!(outcomes, [0, 0, 0, refusal, refusal]);
        // What one server gives back, another can give out.
        assert_eq!(clients[0].refresh(relay.of(0), 0).outcome(), 0);
        assert_eq!(clients[3].allocate_with(relay.of(3), |_| {}).outcome(), 0);
    }
}

#[test]
fn bandwidth_and_the_days_cap_are_counted_once_for_all_servers() {
    let bandwidth = Bandwidth { bytes_per_second: 1_000, burst_bytes: 1_000 };
    let slow = Limits { bandwidth: Some(bandwidth), ..Limits::default() };
    let capped = Limits { daily_egress_bytes: Some(1_000), ..Limits::default() };
    for limits in [slow, capped] {
        let mut relay = Relay::new(2, &Config { limits, ..with_policy(PeerPolicy::Public) });
        let mut clients = ["192.0.2.1:1", "192.0.2.2:1"].map(|at| Client::user(at, "alice"));
        let peer = addr("8.8.8.8:53");
        for (number, client) in clients.iter_mut().enumerate() {
            client.allocate(relay.of(number));
            assert_eq!(client.permit(relay.of(number), peer), 0);
        }
        let passed =
            (0..10).filter(|n| clients[n % 2].send(relay.of(*n), peer, &[0; 250]).is_some()).collect::<Vec<_>>();
        assert_eq!(passed, [0, 1, 2, 3]);
    }
}

const TAGS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone, Copy)]
enum Step {
    Allocate { client: usize },
    GiveUp { client: usize },
    Permit { client: usize, of: usize },
    PermitSource { client: usize, of: usize },
    PermitInside { client: usize },
    Bind { client: usize, of: usize },
    Send { client: usize, to: usize },
    SendOn { client: usize, to: usize },
    Join { client: usize, room: u8 },
    Leave { client: usize },
    SetPolicy { public: bool },
    Pass { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..TAGS.len();
    let two = || (client(), client());
    prop_oneof![
        5 => client().prop_map(|client| Step::Allocate { client }),
        1 => client().prop_map(|client| Step::GiveUp { client }),
        3 => two().prop_map(|(client, of)| Step::Permit { client, of }),
        2 => two().prop_map(|(client, of)| Step::PermitSource { client, of }),
        1 => client().prop_map(|client| Step::PermitInside { client }),
        3 => two().prop_map(|(client, of)| Step::Bind { client, of }),
        4 => two().prop_map(|(client, to)| Step::Send { client, to }),
        4 => two().prop_map(|(client, to)| Step::SendOn { client, to }),
        3 => (client(), 1..3_u8).prop_map(|(client, room)| Step::Join { client, room }),
        1 => client().prop_map(|client| Step::Leave { client }),
        1 => any::<bool>().prop_map(|public| Step::SetPolicy { public }),
        // In all less than credentials and nonces last.
        1 => (1..40_u64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// What a client sees of a step, with relayed addresses by whose they are.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Answer(u16),
    /// Who got it, from whom, and whether on a channel.
    Arrived(SocketAddr, Option<usize>, bool),
    Nothing,
}

struct Run {
    relay: Relay,
    clients: Vec<Client>,
    relayed: [SocketAddr; TAGS.len()],
}

impl Run {
    fn new(servers: u8, config: &Config) -> Self {
        let mut relay = Relay::new(servers, config);
        let client = |number: usize| {
            let mut client = Client::tagged(&format!("203.0.{number}.1:1"), TAGS[number]);
            client.challenge(relay.of(number));
            client
        };
        let clients = (0..TAGS.len()).map(client).collect();
        // Before the first allocation: a port that nobody has.
        Self { relay, clients, relayed: [SocketAddr::new(ip(RELAY_V4), 9); TAGS.len()] }
    }

    fn perform(&mut self, step: Step) -> Seen {
        let Self { relay, clients, relayed } = self;
        match step {
            Step::Allocate { client } => {
                let reply = clients[client].allocate_with(relay.of(client), |_| {});
                if reply.outcome() == 0 {
                    relayed[client] = reply.relayed();
                }
                Seen::Answer(reply.outcome())
            }
            Step::GiveUp { client } => Seen::Answer(clients[client].refresh(relay.of(client), 0).outcome()),
            Step::Permit { client, of } => Seen::Answer(clients[client].permit(relay.of(client), relayed[of])),
            Step::PermitSource { client, of } => {
                let source = clients[of].tuple.client;
                Seen::Answer(clients[client].permit(relay.of(client), source))
            }
            // Where the sockets are bound behind the NAT: another host may have the same private address.
            Step::PermitInside { client } => {
                Seen::Answer(clients[client].permit(relay.of(client), SocketAddr::new(ip(INSIDE), 9)))
            }
            Step::Bind { client, of } => {
                let channel = 0x4000 + u16::try_from(of).unwrap();
                Seen::Answer(clients[client].bind(relay.of(client), channel, relayed[of]))
            }
            Step::Send { client, to } => {
                let sent = clients[client].send(relay.of(client), relayed[to], b"payload");
                self.seen(sent)
            }
            Step::SendOn { client, to } => {
                let channel = 0x4000 + u16::try_from(to).unwrap();
                let sent = clients[client].send_on(relay.of(client), channel, b"payload");
                self.seen(sent)
            }
            Step::Join { client, room } => {
                relay.join(TAGS[client], room, u32::try_from(client).unwrap());
                Seen::Nothing
            }
            Step::Leave { client } => {
                relay.each(|lab| lab.server.remove_member(TAGS[client]));
                Seen::Nothing
            }
            Step::SetPolicy { public } => {
                let policy = if public { PeerPolicy::Public } else { PeerPolicy::Room };
                relay.each(|lab| lab.server.set_peer_policy(policy));
                Seen::Nothing
            }
            Step::Pass { seconds } => {
                relay.labs.iter_mut().for_each(|lab| lab.pass(Duration::from_secs(seconds)));
                Seen::Nothing
            }
        }
    }

    fn seen(&mut self, sent: Option<Delivery>) -> Seen {
        match self.relay.deliver(sent) {
            Some(Delivery::ToClient { tuple, bytes }) if bytes[0] == 0x40 => {
                Seen::Arrived(tuple.client, Some(bytes[1].into()), true)
            }
            Some(delivery @ Delivery::ToClient { tuple, .. }) => {
                let (peer, payload) = data_indication(&delivery);
                assert_eq!(payload, b"payload");
                Seen::Arrived(tuple.client, self.relayed.iter().position(|relayed| *relayed == peer), false)
            }
            Some(Delivery::ToPeer { peer, .. }) => panic!("to {peer}, which is no client's"),
            None => Seen::Nothing,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn several_servers_do_what_one_does(nat in any::<bool>(), steps in prop::collection::vec(step(), 1..80)) {
        let config = if nat { behind_nat() } else { config() };
        let limits = Limits { allocations_per_credential: 2, allocations: 3, ..config.limits };
        let config = Config { limits, ..config };
        let mut one = Run::new(1, &config);
        let mut several = Run::new(3, &config);
        for step in &steps {
            prop_assert_eq!(one.perform(*step), several.perform(*step), "{:?}", step);
        }
    }
}

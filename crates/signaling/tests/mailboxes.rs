//! Rules SG-1 to SG-8 of `docs/protocol/signaling.md`: greeting, joining, sending, dropping, leaving.

mod world;

use lanyard_protocol::signaling::{ClientMessage, ErrorCode, PresenceState, ServerMessage, Side};
use lanyard_protocol::{DeviceId, PROTOCOL_VERSION, SlotToken};
use lanyard_signaling::{CloseReason, Limits, Occupancy, Violation};
use world::{World, body, mailbox, seconds};

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";
const C: &str = "192.0.2.3";

fn presence(world: &mut World, id: lanyard_signaling::ConnectionId) -> Vec<(u8, PresenceState)> {
    let told = world.take(id);
    told.iter()
        .filter_map(
            |m| if let ServerMessage::Presence { member, state, .. } = m { Some((*member, *state)) } else { None },
        )
        .collect()
}

#[test]
fn sg_1_anything_before_hello_closes_the_socket() {
    let mut world = World::new(Limits::default());
    let id = world.connect_from(A).unwrap();
    world.join(id, mailbox(1));
    assert_eq!(world.errors(id), [ErrorCode::Malformed]);
    assert_eq!(world.closed[&id], CloseReason::Malformed);
    assert_eq!(world.server.occupancy(), Occupancy::default());
}

#[test]
fn sg_1_a_second_hello_closes_the_socket() {
    let mut world = World::new(Limits::default());
    let id = world.device(A);
    world.hello(id);
    assert_eq!(world.closed[&id], CloseReason::Malformed);
}

#[test]
fn sg_1_another_version_is_refused_and_told_which_side_is_too_old() {
    for (version, too_old) in [(PROTOCOL_VERSION - 1, Side::Client), (PROTOCOL_VERSION + 1, Side::Server)] {
        let mut world = World::new(Limits::default());
        let id = world.connect_from(A).unwrap();
        world.say(id, ClientMessage::Hello { protocol_version: version });
        assert_eq!(world.take(id), [ServerMessage::Refused { protocol_version: PROTOCOL_VERSION, too_old }]);
        assert_eq!(world.closed[&id], CloseReason::Refused);
    }
}

#[test]
fn sg_2_every_socket_gets_its_own_device_id_and_the_limits() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(A));
    let (a_id, b_id) = (world.device_id(a), world.device_id(b));
    assert_ne!(a_id, b_id);
    let Some(ServerMessage::Welcome { limits, .. }) = world.take(a).pop() else { panic!("no welcome") };
    assert_eq!((limits.body_bytes, limits.messages_per_second), (40 * 1024, 30));
    assert_eq!((limits.mailboxes, limits.slot_kept_seconds), (256, 30));
}

#[test]
fn sg_3_first_in_is_member_0_and_both_learn_of_each_other() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    world.join(a, mailbox(1));
    let (a_number, a_others, _) = world.joined(a);
    world.forget_told();
    world.join(b, mailbox(1));
    let (b_number, b_others, _) = world.joined(b);
    assert_eq!((a_number, a_others), (0, vec![]));
    assert_eq!((b_number, b_others), (1, vec![0]));
    assert_eq!(presence(&mut world, a), [(1, PresenceState::Joined)]);
}

#[test]
fn sg_3_joining_twice_on_one_socket_answers_the_same_again() {
    let mut world = World::new(Limits::default());
    let a = world.device(A);
    world.join(a, mailbox(1));
    let first = world.joined(a);
    world.forget_told();
    world.join(a, mailbox(1));
    assert_eq!(world.joined(a), first);
}

#[test]
fn sg_4_a_third_side_closes_the_mailbox_for_all_three() {
    let mut world = World::new(Limits::default());
    let (a, b, c) = (world.device(A), world.device(B), world.device(C));
    world.join(a, mailbox(1));
    world.join(b, mailbox(1));
    world.forget_told();
    world.join(c, mailbox(1));
    for id in [a, b, c] {
        assert_eq!(world.take(id), [ServerMessage::Crowded { mailbox: mailbox(1) }]);
    }
    assert_eq!(world.server.occupancy().mailboxes, 0);
    world.send(a, mailbox(1), 1, b"still there?");
    assert_eq!(world.errors(a), [ErrorCode::NotJoined]);
}

#[test]
fn sg_4_a_side_that_is_only_away_still_counts() {
    let mut world = World::new(Limits::default());
    let (a, b, c) = (world.device(A), world.device(B), world.device(C));
    world.join(a, mailbox(1));
    world.join(b, mailbox(1));
    world.drop_socket(b);
    world.forget_told();
    world.join(c, mailbox(1));
    assert_eq!(world.take(a), [ServerMessage::Crowded { mailbox: mailbox(1) }]);
    assert_eq!(world.take(c), [ServerMessage::Crowded { mailbox: mailbox(1) }]);
}

#[test]
fn sg_4_after_a_side_left_another_may_come_with_a_new_number() {
    let mut world = World::new(Limits::default());
    let (a, b, c) = (world.device(A), world.device(B), world.device(C));
    world.join(a, mailbox(1));
    world.join(b, mailbox(1));
    world.say(b, ClientMessage::Leave { mailbox: mailbox(1) });
    world.join(c, mailbox(1));
    let (number, others, _) = world.joined(c);
    assert_eq!((number, others), (2, vec![0]));
    world.send(a, mailbox(1), 1, b"to the one who left");
    assert_eq!(world.errors(a), [ErrorCode::NotJoined]);
}

#[test]
fn sg_5_bodies_go_to_the_other_side_only_and_keep_their_order() {
    let mut world = World::new(Limits::default());
    let (a, b, c) = (world.device(A), world.device(B), world.device(C));
    world.join(a, mailbox(1));
    world.join(b, mailbox(1));
    world.join(c, mailbox(2));
    world.forget_told();
    for n in 0..5 {
        world.send(a, mailbox(1), 1, &[n]);
    }
    assert_eq!(world.bodies(b), (0..5).map(|n| (0, vec![n])).collect::<Vec<_>>());
    assert!(world.take(a).is_empty() && world.take(c).is_empty());
}

#[test]
fn sg_5_a_body_to_oneself_or_to_nobody_is_refused() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    world.join(a, mailbox(1));
    for to in [0, 2, 255] {
        world.send(a, mailbox(1), to, b"x");
    }
    world.send(b, mailbox(1), 0, b"not a member");
    world.send(b, mailbox(9), 0, b"no such mailbox");
    assert_eq!(world.errors(a), [ErrorCode::NotJoined; 3]);
    assert_eq!(world.errors(b), [ErrorCode::NotJoined; 2]);
}

#[test]
fn sg_5_what_is_said_before_the_other_side_comes_waits_for_it() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    world.join(a, mailbox(1));
    world.send(a, mailbox(1), 1, b"early");
    world.join(b, mailbox(1));
    let told = world.take(b);
    let joined = told.iter().position(|m| matches!(m, ServerMessage::Joined { .. })).unwrap();
    let message = told.iter().position(|m| matches!(m, ServerMessage::Message { .. })).unwrap();
    assert!(joined < message, "a side is told that it joined before it gets bodies");
}

#[test]
fn sg_5_the_65th_waiting_body_is_refused_and_the_64_arrive() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    world.join(a, mailbox(1));
    for n in 0..65 {
        world.send(a, mailbox(1), 1, &[n]);
    }
    assert_eq!(world.errors(a), [ErrorCode::QueueFull]);
    world.join(b, mailbox(1));
    world.settle_drains();
    assert_eq!(world.bodies(b), (0..64).map(|n| (0, vec![n])).collect::<Vec<_>>());
}

#[test]
fn sg_5_waiting_bodies_are_bounded_in_bytes_by_side_source_and_server() {
    let forty_kib = [0; 40 * 1024];
    let mut world = World::new(Limits::default());
    let a = world.device(A);
    world.join(a, mailbox(1));
    for _ in 0..7 {
        world.send(a, mailbox(1), 1, &forty_kib);
    }
    assert_eq!(world.errors(a), [ErrorCode::QueueFull], "six fit into 256 KiB");

    let limits = Limits { stored_bytes_per_source: 100 * 1024, stored_bytes_total: 150 * 1024, ..Limits::default() };
    let mut world = World::new(limits);
    let (a, b) = (world.device(A), world.device(B));
    world.join(a, mailbox(1));
    world.join(b, mailbox(2));
    for _ in 0..3 {
        world.send(a, mailbox(1), 1, &forty_kib);
    }
    assert_eq!(world.errors(a), [ErrorCode::QueueFull], "two of one source");
    world.send(b, mailbox(2), 1, &forty_kib);
    world.send(b, mailbox(2), 1, &forty_kib);
    assert_eq!(world.errors(b), [ErrorCode::QueueFull], "three in all");
    world.say(a, ClientMessage::Leave { mailbox: mailbox(1) });
    world.send(b, mailbox(2), 1, &forty_kib);
    assert_eq!(world.errors(b), [], "what is dropped makes room");
}

#[test]
fn sg_5_a_slow_socket_gets_what_waited_in_batches() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    world.join(a, mailbox(1));
    for n in 0..40 {
        world.send(a, mailbox(1), 1, &[n]);
    }
    world.join(b, mailbox(1));
    world.send(a, mailbox(1), 1, &[40]);
    assert_eq!(world.bodies(b).len(), 16);
    assert_eq!(world.drains.len(), 1, "asked once");
    world.settle_drains();
    let rest = world.bodies(b);
    assert_eq!(rest, (16..=40).map(|n| (0, vec![n])).collect::<Vec<_>>(), "the newest waits behind the older");
    assert_eq!(world.server.occupancy().stored_bytes, 0);
}

#[test]
fn sg_6_a_dropped_side_comes_back_to_its_slot_and_gets_what_waited() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    world.join(a, mailbox(1));
    world.join(b, mailbox(1));
    let (_, _, slot) = world.joined(b);
    world.forget_told();
    world.drop_socket(b);
    world.send(a, mailbox(1), 1, b"while away");
    world.pass(seconds(29));
    let b = world.device(C);
    world.rejoin(b, mailbox(1), slot);
    assert_eq!(world.joined(b), (1, vec![0], slot));
    assert_eq!(world.bodies(b), [(0, b"while away".to_vec())]);
    assert_eq!(presence(&mut world, a), [(1, PresenceState::Away), (1, PresenceState::Back)]);
}

#[test]
fn sg_6_after_30_seconds_the_slot_is_gone() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    world.join(a, mailbox(1));
    world.join(b, mailbox(1));
    let (_, _, slot) = world.joined(b);
    world.drop_socket(b);
    world.forget_told();
    world.pass(seconds(30));
    assert_eq!(presence(&mut world, a), [(1, PresenceState::Left)]);
    assert_eq!(world.gone, [(mailbox(1), 1)], "its credentials end with it");
    let b = world.device(B);
    world.rejoin(b, mailbox(1), slot);
    assert_eq!(world.errors(b), [ErrorCode::SlotGone]);
}

#[test]
fn sg_6_a_wrong_token_or_an_unknown_mailbox_is_slot_gone_and_harms_nobody() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    world.join(a, mailbox(1));
    world.forget_told();
    world.rejoin(b, mailbox(1), SlotToken([9; 16]));
    world.rejoin(b, mailbox(2), SlotToken([9; 16]));
    assert_eq!(world.errors(b), [ErrorCode::SlotGone; 2]);
    assert!(world.take(a).is_empty());
    assert_eq!(world.server.occupancy().mailboxes, 1);
}

#[test]
fn sg_6_a_new_socket_takes_the_slot_from_one_that_is_dead_but_not_known_to_be() {
    let mut world = World::new(Limits::default());
    let (a, old) = (world.device(A), world.device(B));
    world.join(a, mailbox(1));
    world.join(old, mailbox(1));
    let (_, _, slot) = world.joined(old);
    world.forget_told();
    let new = world.device(C);
    world.rejoin(new, mailbox(1), slot);
    assert_eq!(world.errors(old), [ErrorCode::SlotGone]);
    assert_eq!(presence(&mut world, a), [(1, PresenceState::Back)]);
    world.drop_socket(old);
    world.send(a, mailbox(1), 1, b"to the new one");
    assert_eq!(world.bodies(new), [(0, b"to the new one".to_vec())]);
    assert!(presence(&mut world, a).is_empty(), "the old socket's end is no news");
}

#[test]
fn sg_7_leaving_tells_the_other_side_and_the_last_one_takes_the_mailbox_along() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    world.join(a, mailbox(1));
    world.join(b, mailbox(1));
    world.forget_told();
    world.say(a, ClientMessage::Leave { mailbox: mailbox(1) });
    assert_eq!(presence(&mut world, b), [(0, PresenceState::Left)]);
    world.say(b, ClientMessage::Leave { mailbox: mailbox(1) });
    assert_eq!(world.server.occupancy().mailboxes, 0);
    world.say(b, ClientMessage::Leave { mailbox: mailbox(1) });
    assert_eq!(world.errors(b), [ErrorCode::NotJoined]);
}

#[test]
fn sg_8_a_mailbox_lives_as_long_as_a_socket_is_in_it_and_is_forgotten_after() {
    let mut world = World::new(Limits::default());
    let a = world.device(A);
    world.join(a, mailbox(1));
    world.send(a, mailbox(1), 1, b"kept");
    world.pass(seconds(24 * 3600));
    assert_eq!(world.server.occupancy().mailboxes, 1);
    world.drop_socket(a);
    world.pass(seconds(31));
    assert_eq!(world.server.occupancy(), Occupancy::default());
    assert_eq!(world.server.poll_timeout(), None);
}

#[test]
fn sg_15_sockets_are_limited_by_source_and_in_all() {
    let limits = Limits { sockets: 40, ..Limits::default() };
    let mut world = World::new(limits);
    let first: Vec<_> = (0..32).map(|_| world.connect_from("2001:db8::1").unwrap()).collect();
    assert!(world.connect_from("2001:db8::ffff").is_err(), "the 33rd of one /64");
    for _ in 0..8 {
        world.connect_from(A).unwrap();
    }
    assert!(world.connect_from(B).is_err(), "the 41st in all");
    world.drop_socket(first[0]);
    world.connect_from("2001:db8::1").unwrap();
}

#[test]
fn sg_15_mailboxes_are_limited_by_socket_source_and_in_all() {
    let limits = Limits { mailboxes_per_socket: 4, mailboxes_per_source: 6, mailboxes: 8, ..Limits::default() };
    let mut world = World::new(limits);
    let (a, b, c) = (world.device(A), world.device(A), world.device(B));
    (0..5).for_each(|n| world.join(a, mailbox(n)));
    assert_eq!(world.errors(a), [ErrorCode::Full], "the fifth of a socket");
    (10..13).for_each(|n| world.join(b, mailbox(n)));
    assert_eq!(world.errors(b), [ErrorCode::Full], "the seventh of a source");
    (20..23).for_each(|n| world.join(c, mailbox(n)));
    assert_eq!(world.errors(c), [ErrorCode::Full], "the ninth in all");
    world.say(a, ClientMessage::Leave { mailbox: mailbox(0) });
    world.join(c, mailbox(22));
    assert_eq!(world.errors(c), []);
}

#[test]
fn sg_15_the_agent_is_exempt_from_limits_of_one_source() {
    let limits =
        Limits { sockets_per_source: 1, mailboxes_per_socket: 1, mailboxes_per_source: 1, ..Limits::default() };
    let mut world = World::new(limits);
    let agents: Vec<_> = (0..3).map(|_| world.agent()).collect();
    (0..9).for_each(|n| world.join(agents[0], mailbox(n)));
    assert_eq!(world.errors(agents[0]), []);
    world.connect_from("127.0.0.1").unwrap();
}

#[test]
fn sg_15_a_socket_that_does_nothing_for_10_seconds_is_closed() {
    for nearby in [true, false] {
        let mut world = World::new(Limits { nearby, ..Limits::default() });
        let (mute, polite, useful) = (world.connect_from(A).unwrap(), world.device(A), world.device(A));
        world.join(useful, mailbox(1));
        world.pass(seconds(11));
        assert_eq!(world.closed.get(&mute), Some(&CloseReason::JoinTimeout));
        // Where there is a list to watch, hello is enough.
        assert_eq!(world.closed.contains_key(&polite), !nearby);
        assert!(!world.closed.contains_key(&useful));
    }
}

#[test]
fn sg_16_what_is_no_message_and_a_flood_close_the_socket_with_a_reason() {
    let mut world = World::new(Limits::default());
    for (violation, code, reason) in [
        (Violation::Malformed, ErrorCode::Malformed, CloseReason::Malformed),
        (Violation::Flooding, ErrorCode::RateLimited, CloseReason::Flooding),
    ] {
        let id = world.device(A);
        world.forget_told();
        world.server.handle_violation(world.now, id, violation);
        world.drain();
        assert_eq!(world.errors(id), [code]);
        assert_eq!(world.closed[&id], reason);
    }
}

#[test]
fn sg_19_members_get_fresh_credentials_while_they_stay() {
    let limits = Limits { credentials_renewed: Some(seconds(300)), ..Limits::default() };
    let mut world = World::new(limits);
    let a = world.device(A);
    world.join(a, mailbox(1));
    world.pass(seconds(700));
    assert_eq!(world.renewed, [(a, mailbox(1), 0); 2]);
    world.say(a, ClientMessage::Leave { mailbox: mailbox(1) });
    world.pass(seconds(700));
    assert_eq!(world.renewed.len(), 2);
    assert_eq!(world.server.occupancy().deadlines, 0);
}

#[test]
fn messages_of_a_forgotten_socket_are_ignored() {
    let mut world = World::new(Limits::default());
    let a = world.device(A);
    world.drop_socket(a);
    world.forget_told();
    world.join(a, mailbox(1));
    world.say(a, ClientMessage::Dial { device: DeviceId([0; 16]) });
    world.say(a, ClientMessage::Send { mailbox: mailbox(1), to: 0, body: body(b"x") });
    world.server.handle_drained(world.now, a);
    world.drop_socket(a);
    assert!(world.take(a).is_empty());
}

#[test]
fn sg_8_a_hundred_thousand_mailboxes_made_and_gone_leave_nothing() {
    let mut world = World::new(Limits::default());
    for round in 0..400_u32 {
        let ip = format!("10.{}.{}.1", round / 256, round % 256);
        let (a, b) = (world.device(&ip), world.device(B));
        for n in 0..250_u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&(round * 250 + n).to_be_bytes());
            let id = lanyard_protocol::MailboxId(id);
            world.join(a, id);
            if n % 2 == 0 {
                world.send(a, id, 1, b"waits");
            }
            if n % 3 == 0 {
                world.join(b, id);
            }
            if n % 5 == 0 {
                world.say(a, ClientMessage::Leave { mailbox: id });
            }
        }
        world.drop_socket(a);
        world.drop_socket(b);
        world.forget_told();
        world.drains.clear();
        world.gone.clear();
        world.pass(seconds(31));
        assert_eq!(world.server.occupancy(), Occupancy::default(), "after round {round}");
    }
    assert_eq!(world.server.counters().mailboxes_total, 100_000);
}

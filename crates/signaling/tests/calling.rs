//! Rules SG-12 to SG-14 of `docs/protocol/signaling.md`: the nearby list, dialling, and fronted devices.

mod world;

use lanyard_protocol::signaling::{ClientMessage, ErrorCode, ListingSource, Platform, ServerMessage};
use lanyard_protocol::{DeviceId, MailboxId};
use lanyard_signaling::{CloseReason, ConnectionId, Fronted, Limits, Occupancy};
use world::{World, mailbox, seconds};

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";
const C: &str = "192.0.2.3";

/// The newest list a socket got, as names and sources.
fn list(world: &mut World, id: ConnectionId) -> Option<Vec<(String, ListingSource)>> {
    world.pass(seconds(1));
    world.take(id).into_iter().rev().find_map(|message| {
        let ServerMessage::Nearby { devices } = message else { return None };
        Some(devices.into_iter().map(|d| (d.name, d.source)).collect())
    })
}

fn dial(world: &mut World, caller: ConnectionId, device: DeviceId) -> Result<MailboxId, ErrorCode> {
    world.say(caller, ClientMessage::Dial { device });
    match world.take(caller).pop() {
        Some(ServerMessage::Dialed { device: answered, mailbox }) if answered == device => Ok(mailbox),
        Some(ServerMessage::Error { code, .. }) => Err(code),
        other => panic!("{other:?}"),
    }
}

fn rung(world: &mut World, id: ConnectionId) -> Vec<MailboxId> {
    let told = world.take(id);
    told.iter().filter_map(|m| if let ServerMessage::Ring { mailbox } = m { Some(*mailbox) } else { None }).collect()
}

fn fronted(key: &str, name: &str) -> Fronted {
    Fronted { key: key.to_owned(), name: name.to_owned(), platform: Platform::Server }
}

#[test]
fn sg_12_an_announced_device_is_listed_to_others_until_its_time_is_over() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    world.announce(a, "Amber Heron", 5);
    assert_eq!(list(&mut world, b), Some(vec![("Amber Heron".to_owned(), ListingSource::Visible)]));
    assert_eq!(list(&mut world, a), Some(vec![]), "not to itself");
    world.pass(seconds(5));
    assert_eq!(list(&mut world, b), Some(vec![]));
}

#[test]
fn sg_12_a_page_is_listed_for_ten_minutes_at_most_and_the_agent_without_end() {
    let mut world = World::new(Limits::default());
    let (page, agent, watcher) = (world.device(A), world.agent(), world.device(B));
    world.announce(page, "Page", 86_400);
    world.announce(agent, "Attic NAS", 1);
    assert_eq!(list(&mut world, watcher).unwrap().len(), 2);
    world.pass(seconds(600));
    assert_eq!(list(&mut world, watcher), Some(vec![("Attic NAS".to_owned(), ListingSource::ThisAgent)]));
    world.drop_socket(agent);
    assert_eq!(list(&mut world, watcher), Some(vec![]));
}

#[test]
fn sg_12_zero_seconds_takes_a_device_off() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    world.announce(a, "Amber Heron", 600);
    list(&mut world, b);
    world.announce(a, "Amber Heron", 0);
    assert_eq!(list(&mut world, b), Some(vec![]));
    world.announce(a, "Amber Heron", 0);
    assert_eq!(list(&mut world, b), None, "no news, no message");
}

#[test]
fn sg_12_a_new_socket_gets_the_list_at_once_and_many_changes_are_one_message() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    for n in 0..20 {
        world.announce(a, &format!("Name {n}"), 600);
    }
    world.forget_told();
    world.pass(seconds(1));
    assert_eq!(world.take(b).len(), 1);
    let c = world.device(C);
    let told = world.take(c);
    assert!(
        matches!(&told[..], [ServerMessage::Welcome { .. }, ServerMessage::Nearby { devices }] if devices.len() == 1)
    );
}

#[test]
fn sg_12_every_socket_gets_the_newest_list_however_many_there_are() {
    let mut world = World::new(Limits::default());
    let watchers: Vec<_> = (0..1000).map(|n| world.device(&format!("10.0.{}.{}", n / 250, n % 250))).collect();
    let a = world.device(A);
    for n in 0..10 {
        world.announce(a, &format!("Name {n}"), 600);
        world.pass(std::time::Duration::from_millis(90));
    }
    world.pass(seconds(2));
    for id in watchers {
        let told = world.take(id);
        assert!(matches!(told.last(), Some(ServerMessage::Nearby { devices }) if devices[0].name == "Name 9"));
    }
}

#[test]
fn sg_12_names_are_1_to_64_bytes() {
    for name in ["", "   ", &"x".repeat(65)] {
        let mut world = World::new(Limits::default());
        let a = world.device(A);
        world.announce(a, name, 60);
        assert_eq!(world.closed.get(&a), Some(&CloseReason::Malformed));
    }
}

#[test]
fn sg_12_listings_are_limited_by_source_and_in_all() {
    let limits = Limits { sockets_per_source: 1000, ..Limits::default() };
    let mut world = World::new(limits);
    for n in 0..9 {
        let id = world.device(A);
        world.announce(id, "One of many", 600);
        assert_eq!(world.errors(id).len(), usize::from(n == 8), "listing {n} of a source");
    }
    for n in 0..300 {
        let id = world.device(&format!("10.{}.{}.1", n / 250, n % 250));
        world.announce(id, "One of many", 600);
    }
    assert_eq!(world.server.occupancy().listed, 256);
}

#[test]
fn sg_12_a_server_without_a_list_says_so() {
    let mut world = World::new(Limits { nearby: false, ..Limits::default() });
    let (a, b) = (world.device(A), world.device(B));
    world.announce(a, "Amber Heron", 60);
    assert_eq!(world.errors(a), [ErrorCode::Full]);
    assert_eq!(list(&mut world, b), None);
}

#[test]
fn sg_13_a_dial_rings_the_device_and_names_one_mailbox_to_both() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    let b_id = world.device_id(b);
    world.forget_told();
    let mailbox = dial(&mut world, a, b_id).unwrap();
    assert_eq!(rung(&mut world, b), [mailbox]);
    world.join(a, mailbox);
    world.join(b, mailbox);
    world.forget_told();
    world.send(a, mailbox, 1, b"hello");
    assert_eq!(world.bodies(b).len(), 1);
}

#[test]
fn sg_13_unknown_gone_and_own_devices_cannot_be_dialled() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    let (a_id, b_id) = (world.device_id(a), world.device_id(b));
    world.drop_socket(b);
    for device in [DeviceId([1; 16]), a_id, b_id] {
        assert_eq!(dial(&mut world, a, device), Err(ErrorCode::NoSuchDevice));
    }
    assert_eq!(world.server.occupancy().mailboxes, 0);
}

#[test]
fn sg_13_a_device_has_one_ring_of_a_source_and_three_in_all() {
    let mut world = World::new(Limits::default());
    let target = world.device(A);
    let device = world.device_id(target);
    let callers: Vec<_> = (1..=4).map(|n| world.device(&format!("198.51.100.{n}"))).collect();
    let again = world.device("198.51.100.1");
    world.forget_told();
    for caller in &callers[..3] {
        dial(&mut world, *caller, device).unwrap();
    }
    assert_eq!(dial(&mut world, again, device), Err(ErrorCode::NoSuchDevice), "the same source");
    assert_eq!(dial(&mut world, callers[3], device), Err(ErrorCode::NoSuchDevice), "the fourth");
    let rings = rung(&mut world, target);
    assert_eq!(rings.len(), 3);
    world.join(target, rings[0]);
    dial(&mut world, callers[3], device).unwrap();
    world.pass(seconds(60));
    dial(&mut world, again, device).expect("rings end after a minute");
}

#[test]
fn sg_13_dials_of_one_source_are_limited() {
    let mut world = World::new(Limits::default());
    let a = world.device(A);
    let results: Vec<_> = (0..12).map(|_| dial(&mut world, a, DeviceId([1; 16]))).collect();
    assert_eq!(results.iter().filter(|r| **r == Err(ErrorCode::RateLimited)).count(), 2);
}

#[test]
fn sg_14_fronted_devices_are_listed_keep_their_ids_and_are_called_through_the_shell() {
    let mut world = World::new(Limits::default());
    let page = world.device(A);
    world.forget_told();
    world.server.set_fronted(world.now, vec![fronted("attic", "Attic NAS"), fronted("desk", "Desk")]);
    world.pass(seconds(1));
    let told = world.take(page);
    let Some(ServerMessage::Nearby { devices }) = told.last() else { panic!("{told:?}") };
    assert!(devices.iter().all(|device| device.source == ListingSource::Mdns));
    let attic = devices[0].device;

    world.say(page, ClientMessage::Dial { device: attic });
    let (call, key) = world.calls.pop().unwrap();
    assert_eq!(key, "attic");
    world.server.set_fronted(world.now, vec![fronted("attic", "Attic NAS 2")]);
    world.server.answer_call(world.now, call, Some(mailbox(5)));
    world.drain();
    assert!(world.take(page).contains(&ServerMessage::Dialed { device: attic, mailbox: mailbox(5) }));
    world.join(page, mailbox(5));
    assert_eq!(world.joined(page).0, 0);
}

#[test]
fn sg_14_a_call_that_fails_is_late_or_to_a_device_that_went_is_no_such_device() {
    let mut world = World::new(Limits::default());
    let page = world.device(A);
    world.server.set_fronted(world.now, vec![fronted("attic", "Attic NAS")]);
    world.pass(seconds(1));
    let attic = world
        .take(page)
        .into_iter()
        .find_map(|m| if let ServerMessage::Nearby { devices } = m { Some(devices[0].device) } else { None })
        .unwrap();
    let call = |world: &mut World| {
        world.say(page, ClientMessage::Dial { device: attic });
        world.calls.pop().unwrap().0
    };
    let failed = call(&mut world);
    world.server.answer_call(world.now, failed, None);
    world.drain();
    assert_eq!(world.errors(page), [ErrorCode::NoSuchDevice]);
    let late = call(&mut world);
    world.pass(seconds(10));
    assert_eq!(world.errors(page), [ErrorCode::NoSuchDevice]);
    world.server.answer_call(world.now, late, Some(mailbox(5)));
    world.drain();
    assert!(world.take(page).is_empty());
    call(&mut world);
    world.server.set_fronted(world.now, vec![]);
    world.drain();
    assert_eq!(world.errors(page), [ErrorCode::NoSuchDevice]);
    world.drop_socket(page);
    world.pass(seconds(60));
    assert_eq!(world.server.occupancy(), Occupancy::default());
}

#[test]
fn sg_14_calls_of_a_socket_that_went_are_forgotten() {
    let mut world = World::new(Limits::default());
    let page = world.device(A);
    world.server.set_fronted(world.now, vec![fronted("attic", "Attic NAS")]);
    world.pass(seconds(1));
    let told = world.take(page);
    let Some(ServerMessage::Nearby { devices }) = told.last() else { panic!("{told:?}") };
    for _ in 0..4 {
        world.say(page, ClientMessage::Dial { device: devices[0].device });
    }
    assert_eq!(world.calls.len(), 3, "three open calls of one socket");
    world.drop_socket(page);
    assert_eq!(world.server.occupancy().calls, 0);
}

//! Rules SG-9 to SG-11 of `docs/protocol/signaling.md`: nameplates.

mod world;

use std::collections::HashSet;

use lanyard_protocol::signaling::{ClientMessage, ErrorCode, ServerMessage};
use lanyard_protocol::{MailboxId, Nameplate};
use lanyard_signaling::{ConnectionId, Limits, Rate};
use world::{World, seconds};

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";

fn allocate(world: &mut World, id: ConnectionId) -> Option<(Nameplate, MailboxId)> {
    world.say(id, ClientMessage::Allocate);
    match world.take(id).pop() {
        Some(ServerMessage::Allocated { nameplate, mailbox }) => Some((nameplate, mailbox)),
        _ => None,
    }
}

fn claim(world: &mut World, id: ConnectionId, nameplate: &Nameplate) -> Result<MailboxId, ErrorCode> {
    claim_with(world, id, nameplate, None).expect("no stamp is wanted")
}

/// `Err` is how many bits of work the claim costs.
fn claim_with(
    world: &mut World,
    id: ConnectionId,
    nameplate: &Nameplate,
    stamp: Option<u64>,
) -> Result<Result<MailboxId, ErrorCode>, u8> {
    world.say(id, ClientMessage::Claim { nameplate: nameplate.clone(), stamp });
    match world.take(id).pop() {
        Some(ServerMessage::StampWanted { nameplate: asked, bits }) if asked == *nameplate => Err(bits),
        Some(ServerMessage::Claimed { mailbox, .. }) => Ok(Ok(mailbox)),
        Some(ServerMessage::Error { code, .. }) => Ok(Err(code)),
        other => panic!("{other:?}"),
    }
}

fn plate(text: &str) -> Nameplate {
    Nameplate::try_from(text.to_owned()).expect("digits")
}

fn unlimited() -> Limits {
    let any = Rate::new(1_000_000, seconds(1), 1_000_000);
    Limits { allocations: any, mailboxes_per_source: usize::MAX, ..Limits::default() }
}

#[test]
fn sg_9_a_nameplate_leads_its_claimer_to_the_mailbox() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    let (nameplate, mailbox) = allocate(&mut world, a).unwrap();
    assert_eq!(nameplate.as_str().len(), 4);
    world.join(a, mailbox);
    assert_eq!(claim(&mut world, b, &nameplate), Ok(mailbox));
}

#[test]
fn sg_9_nameplates_are_spread_over_their_space_and_never_twice_in_use() {
    let mut world = World::new(unlimited());
    let a = world.device(A);
    let drawn: Vec<_> = (0..1000).map(|_| allocate(&mut world, a).unwrap().0.as_str().to_owned()).collect();
    assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 1000);
    for digit in '0'..='9' {
        let count = drawn.iter().filter(|text| text.starts_with(digit)).count();
        assert!((60..140).contains(&count), "{count} of 1000 start with {digit}");
    }
}

#[test]
fn sg_9_above_a_tenth_in_use_nameplates_get_longer() {
    let mut world = World::new(unlimited());
    let a = world.device(A);
    let lengths: Vec<_> = (0..1010).map(|_| allocate(&mut world, a).unwrap().0.as_str().len()).collect();
    assert_eq!(lengths.iter().filter(|length| **length == 4).count(), 1001);
    assert_eq!(lengths.last(), Some(&5));
}

#[test]
fn sg_9_a_nameplate_ends_after_ten_minutes_and_an_unjoined_mailbox_with_it() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    let (joined, mailbox) = allocate(&mut world, a).unwrap();
    allocate(&mut world, a).unwrap();
    world.join(a, mailbox);
    world.forget_told();
    world.pass(seconds(600));
    assert_eq!(world.server.occupancy().nameplates, 0);
    assert_eq!(world.server.occupancy().mailboxes, 1, "the one somebody is in lives on");
    assert_eq!(claim(&mut world, b, &joined), Err(ErrorCode::NameplateExpired));
    world.pass(seconds(600));
    assert_eq!(claim(&mut world, b, &joined), Err(ErrorCode::NoSuchNameplate));
}

#[test]
fn sg_9_allocations_of_one_source_are_limited() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    assert_eq!((0..70).filter(|_| allocate(&mut world, a).is_some()).count(), 60);
    assert!(allocate(&mut world, b).is_some());
}

#[test]
fn sg_10_one_source_may_try_10_a_minute_and_60_an_hour_from_however_many_sockets() {
    let mut world = World::new(Limits::default());
    let mut tried = 0;
    for _ in 0..240 {
        let id = world.device(A);
        world.forget_told();
        tried += usize::from(claim(&mut world, id, &plate("0000")) == Err(ErrorCode::NoSuchNameplate));
        world.drop_socket(id);
        world.pass(seconds(15));
    }
    assert_eq!(tried, 60, "in one hour");

    let mut world = World::new(Limits::default());
    let ids = [world.device(A), world.device(A)];
    world.forget_told();
    let results: Vec<_> = (0..20).map(|n| claim(&mut world, ids[n % 2], &plate("0000"))).collect();
    assert_eq!(results.iter().filter(|r| **r == Err(ErrorCode::NoSuchNameplate)).count(), 10);
    assert_eq!(results.iter().filter(|r| **r == Err(ErrorCode::RateLimited)).count(), 10);
}

#[test]
fn sg_10_beyond_the_sources_it_can_remember_strangers_may_not_try() {
    let mut world = World::new(Limits { sources_remembered: 2, ..Limits::default() });
    let ids: Vec<_> = (0..3).map(|n| world.device(&format!("198.51.100.{n}"))).collect();
    world.forget_told();
    assert_eq!(claim(&mut world, ids[0], &plate("0000")), Err(ErrorCode::RateLimited));
    world.drop_socket(ids[2]);
    assert_eq!(claim(&mut world, ids[0], &plate("0000")), Err(ErrorCode::NoSuchNameplate));
}

#[test]
fn sg_10_a_claimed_nameplate_counts_as_a_try_too() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    let (nameplate, _) = allocate(&mut world, a).unwrap();
    world.forget_told();
    let results: Vec<_> = (0..11).map(|_| claim(&mut world, b, &nameplate)).collect();
    assert_eq!(results.last(), Some(&Err(ErrorCode::RateLimited)));
}

#[test]
fn sg_10_when_many_guess_wrong_new_nameplates_have_a_digit_more_for_a_while() {
    let mut world = World::new(Limits::default());
    let a = world.device(A);
    for n in 0..11 {
        let id = world.device(&format!("198.51.100.{n}"));
        world.forget_told();
        for _ in 0..10 {
            let tried = claim_with(&mut world, id, &plate("999999"), None);
            assert!(matches!(tried, Ok(Err(ErrorCode::NoSuchNameplate)) | Err(18)), "{tried:?}");
        }
    }
    assert_eq!(allocate(&mut world, a).unwrap().0.as_str().len(), 5);
    world.pass(seconds(61));
    assert_eq!(allocate(&mut world, a).unwrap().0.as_str().len(), 4);
    assert_eq!(world.server.counters().claims_failed_total, 101, "then guesses cost work (SG-21)");
}

#[test]
fn sg_21_when_many_guess_wrong_a_claim_costs_work_that_only_its_socket_can_use() {
    let mut world = World::new(Limits::default());
    let (shower, typer) = (world.device("203.0.113.1"), world.device("203.0.113.2"));
    let (nameplate, mailbox) = allocate(&mut world, shower).unwrap();
    world.join(shower, mailbox);
    let device = |world: &mut World, ip: &str| {
        let id = world.connect_from(ip).unwrap();
        world.hello(id);
        match world.take(id).into_iter().next() {
            Some(ServerMessage::Welcome { device, .. }) => (id, device),
            other => panic!("{other:?}"),
        }
    };
    for n in 0..11 {
        let id = world.device(&format!("198.51.100.{n}"));
        world.forget_told();
        for _ in 0..10 {
            let _ = claim_with(&mut world, id, &plate("999999"), None);
        }
    }
    world.forget_told();
    assert_eq!(claim_with(&mut world, typer, &nameplate, None), Err(18));
    assert_eq!(claim_with(&mut world, typer, &nameplate, Some(0)), Err(18), "a guessed stamp");

    let (stamped, own_device) = device(&mut world, "203.0.113.3");
    let (other, _) = device(&mut world, "203.0.113.3");
    let stamp = lanyard_signaling::find_stamp(own_device, &nameplate, 18);
    assert_eq!(claim_with(&mut world, other, &nameplate, stamp), Err(18), "the stamp of another socket");
    assert_eq!(claim_with(&mut world, stamped, &plate("0000"), stamp), Err(18), "the stamp of another nameplate");
    assert_eq!(claim_with(&mut world, stamped, &nameplate, stamp), Ok(Ok(mailbox)));
    // Being told what it costs is no try.
    for _ in 0..9 {
        assert_eq!(claim_with(&mut world, stamped, &nameplate, stamp), Ok(Ok(mailbox)));
    }
    assert_eq!(claim_with(&mut world, stamped, &nameplate, stamp), Ok(Err(ErrorCode::RateLimited)));
    world.pass(seconds(61));
    assert_eq!(claim(&mut world, typer, &nameplate), Ok(mailbox), "a minute later it costs nothing");
}

#[test]
fn sg_11_a_released_nameplate_rests_ten_minutes() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.device(A), world.device(B));
    let (nameplate, mailbox) = allocate(&mut world, a).unwrap();
    world.join(a, mailbox);
    world.forget_told();
    world.say(b, ClientMessage::Release { nameplate: nameplate.clone() });
    assert_eq!(world.errors(b), [ErrorCode::NoSuchNameplate], "only its members may");
    world.say(a, ClientMessage::Release { nameplate: nameplate.clone() });
    assert_eq!(claim(&mut world, b, &nameplate), Err(ErrorCode::NameplateUsed));
    assert_eq!((world.server.occupancy().nameplates, world.server.occupancy().nameplates_resting), (0, 1));
    assert_eq!(world.server.occupancy().mailboxes, 1);
    world.pass(seconds(600));
    assert_eq!(world.server.occupancy().nameplates_resting, 0);
}

#[test]
fn sg_11_a_nameplate_of_a_forgotten_mailbox_rests_too() {
    let mut world = World::new(Limits::default());
    let a = world.device(A);
    let (_, mailbox) = allocate(&mut world, a).unwrap();
    world.join(a, mailbox);
    world.say(a, ClientMessage::Leave { mailbox });
    assert_eq!((world.server.occupancy().nameplates, world.server.occupancy().nameplates_resting), (0, 1));
    world.drop_socket(a);
    world.pass(seconds(3600));
    assert_eq!(world.server.occupancy(), lanyard_signaling::Occupancy::default());
}

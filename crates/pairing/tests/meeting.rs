//! Two honest devices meet by each of the five ways (PA-3 to PA-7, PA-13 to PA-17).

mod wire;

use lanyard_pairing::{Hour, Identity, Pairing, PairingError, RememberedDevice, ResumeSecret, Role, Trust};
use wire::{MAILBOX, Pair, desktop, link, phone, profile, rng};
use zeroize::Zeroizing;

const SESSION_ID: [u8; 16] = [9; 16];
const DESKTOP_CERT: [u8; 32] = [0xd; 32];
const PHONE_CERT: [u8; 32] = [0xf; 32];

/// What must hold of every meeting that succeeded.
fn assert_met(pair: &mut Pair, trust: Trust) {
    assert_eq!((&pair.shower.failed, &pair.opener.failed), (&None, &None));
    let (shower, opener) = pair.sessions();
    assert_eq!((shower.trust(), opener.trust()), (trust, trust));
    assert_eq!((shower.role(), opener.role()), (Role::Responder, Role::Initiator));
    assert_eq!((shower.peer_key(), opener.peer_key()), (phone().public_key(), desktop().public_key()));
    assert_eq!((shower.peer_profile().name(), opener.peer_profile().name()), ("phone", "desktop"));
    assert!(shower.peer_profile().can("webrtc"));

    for (from, to) in [(&b"offer"[..], &b"answer"[..]), (b"", b"more")] {
        let sealed = shower.seal(from);
        assert_eq!(opener.open(&sealed).as_deref(), Ok(from));
        let sealed = opener.seal(to);
        assert_eq!(shower.open(&sealed).as_deref(), Ok(to));
    }

    let bind = shower.bind_message(&SESSION_ID, &DESKTOP_CERT, &PHONE_CERT);
    assert!(opener.verify_bind(&SESSION_ID, &PHONE_CERT, &DESKTOP_CERT, &bind).is_ok());
    let bind = opener.bind_message(&SESSION_ID, &PHONE_CERT, &DESKTOP_CERT);
    assert!(shower.verify_bind(&SESSION_ID, &DESKTOP_CERT, &PHONE_CERT, &bind).is_ok());

    assert!(shower.lane_keys().is_token(opener.lane_keys().token()));
    assert!(!shower.lane_keys().is_token(&opener.lane_keys().token()[..31]));
    let (mut sealer, _) = shower.lane_keys().stream(3);
    let (_, mut reader) = opener.lane_keys().stream(3);
    assert_eq!(reader.open(&sealer.seal(b"piece")).as_deref(), Ok(&b"piece"[..]));
    assert_eq!(shower.remember().pair_secret(), opener.remember().pair_secret());
    assert_eq!(shower.resume_secret().secret_bytes(), opener.resume_secret().secret_bytes());
}

#[test]
fn devices_meet_by_link_in_three_messages() {
    let mut pair = Pair::by_link();
    pair.run();
    assert_met(&mut pair, Trust::Scanned);
    assert_eq!((pair.opener.sent.len(), pair.shower.sent.len()), (2, 1));
}

#[test]
fn devices_meet_by_code_however_it_is_typed() {
    for typed in ["4821-piano-tiger", "  4821 Piano TIGER ", "4821pianotiger", "48 21–piano—tiger"] {
        let mut pair = Pair::by_codes("4821-piano-tiger", typed, 1);
        pair.run();
        assert_met(&mut pair, Trust::Code);
    }
}

#[test]
fn devices_meet_nearby_when_both_humans_agree() {
    let mut pair = Pair::nearby();
    pair.run();
    assert!(pair.shower.session.is_none() && pair.opener.session.is_none(), "nothing is established unseen");
    pair.compare();
    assert_met(&mut pair, Trust::Compared);
}

#[test]
fn nearby_is_established_whichever_human_answers_first() {
    let mut pair = Pair::nearby();
    pair.run();
    pair.opener.pairing.confirm_pictures(true);
    pair.opener.drain();
    pair.run();
    assert!(pair.shower.session.is_none() && pair.opener.session.is_none(), "one human is not enough");
    let mine = pair.opener.mine.unwrap();
    let right = pair.shower.rows.unwrap().iter().position(|row| *row == mine).unwrap();
    pair.shower.pairing.pick_row(right);
    pair.shower.drain();
    pair.run();
    assert_met(&mut pair, Trust::Compared);
}

#[test]
fn wrong_row_declines_and_both_sides_are_told() {
    let mut pair = Pair::nearby();
    pair.run();
    let mine = pair.opener.mine.unwrap();
    let wrong = pair.shower.rows.unwrap().iter().position(|row| *row != mine).unwrap();
    pair.shower.pairing.pick_row(wrong);
    pair.shower.drain();
    pair.run();
    assert_eq!(pair.shower.failed, Some(PairingError::WrongPictures));
    assert!(matches!(pair.opener.failed, Some(PairingError::PeerStopped(_))));
    pair.opener.pairing.confirm_pictures(true);
    pair.opener.drain();
    pair.run();
    assert!(pair.shower.session.is_none() && pair.opener.session.is_none());
}

#[test]
fn human_who_sees_other_pictures_declines_for_both() {
    let mut pair = Pair::nearby();
    pair.run();
    pair.opener.pairing.confirm_pictures(false);
    pair.opener.drain();
    pair.run();
    assert_eq!(pair.opener.failed, Some(PairingError::PicturesDiffer));
    assert!(pair.shower.failed.is_some());
}

#[test]
fn remembered_devices_meet_without_a_human_in_either_direction() {
    let mut first = Pair::by_link();
    first.run();
    let (shower, opener) = first.sessions();
    // What is stored on the desktop about the phone, and the other way round.
    let (of_phone, of_desktop) = (shower.remember(), opener.remember());
    let hour = Hour::at_ms(1_790_000_000_000);
    assert_eq!(of_phone.mailboxes(hour), of_desktop.mailboxes(hour));
    let mailbox = of_phone.mailboxes(hour)[1];
    assert_eq!(mailbox, of_desktop.mailboxes(Hour(hour.0 + 1))[0], "a clock that is an hour ahead still meets");
    let mut pair = Pair::new(
        Pairing::remembered(Role::Responder, mailbox, &of_phone, &desktop(), profile("desktop"), &mut rng(3)),
        Pairing::remembered(Role::Initiator, mailbox, &of_desktop, &phone(), profile("phone"), &mut rng(4)),
    );
    pair.run();
    assert_met(&mut pair, Trust::Remembered);

    let mut turned = Pair::new(
        Pairing::remembered(Role::Responder, mailbox, &of_desktop, &phone(), profile("phone"), &mut rng(5)),
        Pairing::remembered(Role::Initiator, mailbox, &of_phone, &desktop(), profile("desktop"), &mut rng(6)),
    );
    turned.run();
    assert!(turned.shower.session.is_some() && turned.opener.session.is_some());
}

#[test]
fn mailboxes_of_different_hours_have_nothing_in_common() {
    let device = RememberedDevice::new(phone().public_key(), Zeroizing::new([7; 32]));
    let [before, now, after] = device.mailboxes(Hour(490_000));
    assert!(before != now && now != after && before != after);
    let resume = ResumeSecret::new(phone().public_key(), Trust::Code, Zeroizing::new([8; 32]));
    assert_ne!(resume.mailboxes(Hour(490_000))[1], now);
}

#[test]
fn resumed_session_keeps_its_trust_and_gets_new_keys() {
    let mut first = Pair::by_codes("4821-piano-tiger", "4821-piano-tiger", 1);
    first.run();
    let (shower, opener) = first.sessions();
    let (at_desktop, at_phone) = (shower.resume_secret(), opener.resume_secret());
    let old_token = *shower.lane_keys().token();
    let mut pair = Pair::new(
        Pairing::resume(Role::Responder, MAILBOX, &at_desktop, &desktop(), profile("desktop"), &mut rng(3)),
        Pairing::resume(Role::Initiator, MAILBOX, &at_phone, &phone(), profile("phone"), &mut rng(4)),
    );
    pair.run();
    assert_met(&mut pair, Trust::Code);
    assert_ne!(pair.shower.session().lane_keys().token(), &old_token);
}

#[test]
fn changed_key_of_a_remembered_device_stops_on_the_side_that_knew_it() {
    let mut first = Pair::by_link();
    first.run();
    let (shower, opener) = first.sessions();
    let (of_phone, of_desktop) = (shower.remember(), opener.remember());
    // The phone was reset: it has the pair secret from a backup, but another key.
    let reset = Identity::generate(&mut rng(77));
    let mut pair = Pair::new(
        Pairing::remembered(Role::Responder, MAILBOX, &of_phone, &desktop(), profile("desktop"), &mut rng(3)),
        Pairing::remembered(Role::Initiator, MAILBOX, &of_desktop, &reset, profile("phone"), &mut rng(4)),
    );
    pair.run();
    assert_eq!(pair.shower.refused, [PairingError::KeyChanged]);
    assert!(pair.shower.session.is_none());
    assert!(matches!(pair.opener.failed, Some(PairingError::PeerStopped(_))), "the phone is told why nothing follows");
}

#[test]
fn joiner_that_went_away_leaves_the_link_to_the_next_one() {
    let mut pair = Pair::by_link();
    let m1 = pair.opener.next_message();
    pair.shower.take(&m1);
    let _lost = pair.shower.next_message();
    assert!(pair.shower.pairing.restart());
    pair.opener = wire::Side::new(Pairing::open_link(&phone(), &link(), profile("phone"), &mut rng(22)));
    pair.run();
    assert_met(&mut pair, Trust::Scanned);
    assert!(!pair.shower.pairing.restart(), "a used link does not wait again");
}

#[test]
fn third_side_stops_both() {
    let mut pair = Pair::by_link();
    pair.shower.pairing.crowded();
    pair.opener.pairing.crowded();
    pair.shower.drain();
    pair.opener.drain();
    assert_eq!(
        (&pair.shower.failed, &pair.opener.failed),
        (&Some(PairingError::Crowded), &Some(PairingError::Crowded))
    );
    pair.run();
    assert!(pair.shower.session.is_none() && pair.opener.session.is_none());
}

#[test]
fn refused_last_message_is_told_after_one_side_thought_they_had_met() {
    let mut pair = Pair::by_link();
    let m1 = pair.opener.next_message();
    pair.shower.take(&m1);
    let m2 = pair.shower.next_message();
    pair.opener.take(&m2);
    let mut m3 = pair.opener.next_message();
    m3[10] ^= 1;
    pair.shower.take(&m3);
    assert!(pair.opener.session.is_some(), "it has said its last word");
    let abort = pair.shower.next_message();
    pair.opener.take(&abort);
    assert!(matches!(pair.opener.failed, Some(PairingError::PeerStopped(_))));
}

#[test]
fn meeting_and_session_can_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Pairing>();
    assert_send::<lanyard_pairing::Session>();
}

//! What an attacker in the mailbox, or at one end, tries; each test fails when the check it is about is taken out.

#![allow(clippy::unwrap_used, reason = "a test that can not go on should stop")]

mod wire;

use std::collections::HashSet;

use lanyard_pairing::{
    AbortReason, Code, Identity, Link, LinkSecret, Pairing, PairingError, PublicKey, RememberedDevice, Role, words,
};
use proptest::prelude::*;
use wire::{MAILBOX, Pair, Side, attacker, code, desktop, link, link_to, phone, profile, rng, stranger};
use zeroize::Zeroizing;

fn show_link(seed: u64) -> Side {
    Side::new(Pairing::show_link(&desktop(), link().secret(), profile("desktop"), &mut rng(seed)))
}

fn open_link(link: &Link, seed: u64) -> Side {
    Side::new(Pairing::open_link(&phone(), link, profile("phone"), &mut rng(seed)))
}

/// A link with the right mailbox's form but another secret, as a joiner has who guesses.
fn wrong_link(number: u8) -> Link {
    Link::new("https://relay.example/", LinkSecret::from_bytes([number; 16]), desktop().fingerprint()).unwrap()
}

// Links (SAFETY §4 rule 1).

#[test]
fn thousand_replays_of_message_1_do_not_spend_a_link() {
    let mut shower = show_link(1);
    let mut gone = open_link(&link(), 2);
    let recorded = gone.next_message();
    for replay in 0..1_000 {
        shower.take(&recorded);
        assert!(shower.session.is_none() && shower.failed.is_none(), "replay {replay}");
        if replay % 2 == 0 {
            assert!(shower.pairing.restart(), "the shell's timeout ends the silent joiner");
        }
    }
    shower.outbox.clear();
    shower.pairing.restart();
    let mut pair = Pair { shower, opener: open_link(&link(), 3) };
    pair.run();
    assert!(pair.shower.session.is_some() && pair.opener.session.is_some(), "the right joiner still meets");
}

#[test]
fn message_1_that_comes_twice_disturbs_nobody() {
    let mut pair = Pair::by_link();
    let m1 = pair.opener.next_message();
    pair.shower.take(&m1);
    pair.shower.take(&m1);
    assert_eq!(pair.shower.refused, [PairingError::Replayed]);
    pair.run();
    assert!(pair.shower.session.is_some() && pair.opener.session.is_some());
}

#[test]
fn fifth_joiner_without_the_secret_closes_the_link() {
    let mut shower = show_link(1);
    for wrong in 1..=4 {
        shower.take(&open_link(&wrong_link(wrong), 2).next_message());
        assert_eq!(shower.refused.len(), usize::from(wrong));
        assert!(shower.failed.is_none());
    }
    shower.take(&open_link(&wrong_link(5), 2).next_message());
    assert_eq!(shower.failed, Some(PairingError::TooManyWrongTries));
    shower.take(&open_link(&link(), 3).next_message());
    assert!(shower.session.is_none(), "a closed link opens for nobody");
}

#[test]
fn four_wrong_joiners_leave_the_link_to_the_right_one() {
    let mut shower = show_link(1);
    for wrong in 1..=4 {
        shower.take(&open_link(&wrong_link(wrong), 2).next_message());
    }
    shower.outbox.clear();
    let mut pair = Pair { shower, opener: open_link(&link(), 3) };
    pair.run();
    assert!(pair.shower.session.is_some() && pair.opener.session.is_some());
}

#[test]
fn message_3_that_does_not_verify_does_not_consume_the_link() {
    let mut pair = Pair::by_link();
    let m1 = pair.opener.next_message();
    pair.shower.take(&m1);
    let m2 = pair.shower.next_message();
    pair.opener.take(&m2);
    let mut m3 = pair.opener.next_message();
    *m3.last_mut().unwrap() ^= 1;
    pair.shower.take(&m3);
    assert_eq!(pair.shower.refused, [PairingError::Tampered]);
    pair.shower.outbox.clear();
    pair.opener = open_link(&link(), 3);
    pair.run();
    assert!(pair.shower.session.is_some() && pair.opener.session.is_some());
}

#[test]
fn every_attempt_on_a_link_has_its_own_one_time_key() {
    let mut shower = show_link(1);
    let mut keys = HashSet::new();
    for joiner in 0..20 {
        shower.take(&open_link(&link(), 100 + joiner).next_message());
        let m2 = shower.next_message();
        assert!(keys.insert(m2[3..35].to_vec()), "attempt {joiner} repeats a one-time key");
    }
}

#[test]
fn photographer_who_answers_in_place_of_the_shower_is_unmasked() {
    // Knows S from the picture, not the key behind F.
    let shower = Pairing::show_link(&stranger(), link().secret(), profile("desktop"), &mut rng(1));
    let mut pair = Pair::new(shower, Pairing::open_link(&phone(), &link(), profile("phone"), &mut rng(2)));
    pair.run();
    assert_eq!(pair.opener.failed, Some(PairingError::WrongShower));
    assert!(pair.opener.session.is_none() && pair.shower.session.is_none());
}

// Codes: one try.

#[test]
fn thousand_wrong_codes_have_no_success_and_burn_a_thousand_codes() {
    let shown = code("4821-piano-tiger");
    let (mut successes, mut burns) = (0, 0);
    for guess in 0..1_000_usize {
        let words = [words()[guess * 2], words()[2047 - guess]];
        let guess = Code::parse(&format!("4821-{}-{}", words[0], words[1])).unwrap();
        assert_ne!(*guess.to_text(), *shown.to_text());
        let mut pair = Pair::by_codes("4821-piano-tiger", &guess.to_text(), 1);
        pair.run();
        successes += usize::from(pair.shower.session.is_some() || pair.opener.session.is_some());
        burns += usize::from(pair.shower.failed == Some(PairingError::WrongCode));
        assert!(matches!(pair.opener.failed, Some(PairingError::PeerStopped(_))), "the guesser is told");
        assert!(!pair.shower.pairing.restart(), "a burnt code does not wait again");
    }
    assert_eq!((successes, burns), (0, 1_000));
}

#[test]
fn right_code_after_a_wrong_one_is_too_late() {
    let mut pair = Pair::by_codes("4821-piano-tiger", "4821-piano-tide", 1);
    let element = pair.shower.sent[0].clone();
    pair.run();
    assert_eq!(pair.shower.failed, Some(PairingError::WrongCode));
    let right = code("4821-piano-tiger");
    pair.opener = Side::new(Pairing::type_code(&phone(), &right, profile("phone"), &mut rng(9)));
    pair.opener.take(&element);
    pair.run();
    assert!(pair.shower.session.is_none() && pair.opener.session.is_none());
}

#[test]
fn shower_of_a_code_says_nothing_that_tests_words_before_message_1() {
    // The same randomness with two codes: all that crosses the wire before a guess is the blinded element, and nothing
    // but the element depends on the words.
    let one = Pair::by_codes("4821-piano-tiger", "4821-piano-tiger", 1);
    let other = Pair::by_codes("4821-zebra-zoo", "4821-zebra-zoo", 1);
    assert_eq!((one.shower.sent.len(), other.shower.sent.len()), (1, 1));
    assert!(one.opener.sent.is_empty());
    assert_eq!(one.shower.sent[0].len(), 36);
    assert_eq!(one.shower.sent[0][..4], other.shower.sent[0][..4]);
    assert_ne!(one.shower.sent[0][4..], other.shower.sent[0][4..]);
}

#[test]
fn joiner_that_left_before_a_guess_costs_nothing_and_its_element_is_worth_nothing() {
    let mut shower =
        Side::new(Pairing::show_code(&desktop(), &code("4821-piano-tiger"), profile("desktop"), &mut rng(1)));
    let old_element = shower.next_message();
    assert!(shower.pairing.restart());
    shower.drain();
    let mut late = Side::new(Pairing::type_code(&phone(), &code("4821-piano-tiger"), profile("phone"), &mut rng(2)));
    late.take(&old_element);
    shower.take(&late.next_message());
    assert_eq!(shower.failed, Some(PairingError::WrongCode), "a message 1 for the old element does not verify");
}

// Reflection, wrong roles, equal keys, weak keys.

#[test]
fn our_own_message_that_comes_back_is_named() {
    let mut pair = Pair::by_link();
    let m1 = pair.opener.next_message();
    pair.opener.take(&m1);
    assert_eq!(pair.opener.failed, Some(PairingError::Reflected));

    let mut pair = Pair::by_link();
    let m1 = pair.opener.next_message();
    pair.shower.take(&m1);
    let m2 = pair.shower.next_message();
    pair.shower.take(&m2);
    assert_eq!(pair.shower.refused, [PairingError::Reflected]);
}

#[test]
fn message_under_a_number_of_nobody_ends_the_attempt_on_both_sides() {
    let mut pair = Pair::by_link();
    let m1 = pair.opener.next_message();
    pair.shower.take(&m1);
    pair.opener.take(&pair.shower.next_message());
    // Message 3 arrives under another number than message 1 did.
    let _m3 = pair.opener.next_message();
    pair.shower.pairing.refuse_sender();
    pair.shower.drain();
    assert_eq!(pair.shower.refused, [PairingError::WrongSender]);
    pair.opener.take(&pair.shower.next_message());
    assert_eq!(pair.opener.failed, Some(PairingError::PeerStopped(AbortReason::Protocol)));
    assert!(pair.shower.session.is_none());

    // A code has one try, whoever spoilt it.
    let mut pair = Pair::by_codes("4821-piano-tiger", "4821-piano-tiger", 1);
    pair.shower.pairing.refuse_sender();
    pair.run();
    assert_eq!(pair.shower.failed, Some(PairingError::WrongSender));
    assert!(pair.shower.session.is_none() && pair.opener.session.is_none());
}

#[test]
fn two_openers_do_not_meet() {
    let mut one = open_link(&link(), 1);
    let mut other = open_link(&link(), 2);
    one.take(&other.next_message());
    assert_eq!(one.failed, Some(PairingError::WrongRole));
}

#[test]
fn shower_refuses_a_peer_with_its_own_one_time_key() {
    // Both draw the same randomness, as a mirror would have it.
    let shower = Pairing::show_link(&desktop(), link().secret(), profile("desktop"), &mut rng(1));
    let mut pair = Pair::new(shower, Pairing::open_link(&phone(), &link(), profile("phone"), &mut rng(1)));
    pair.run();
    assert_eq!(pair.shower.refused, [PairingError::EqualEphemerals]);
    assert!(pair.shower.session.is_none() && pair.opener.session.is_none());
}

#[test]
fn peer_with_our_own_device_key_is_refused_on_both_sides() {
    let own = link_to(&phone());
    let shower = Pairing::show_link(&phone(), own.secret(), profile("copy"), &mut rng(1));
    let mut pair = Pair::new(shower, Pairing::open_link(&phone(), &own, profile("phone"), &mut rng(2)));
    pair.run();
    assert_eq!(pair.opener.failed, Some(PairingError::EqualStatics));
    assert!(pair.shower.session.is_none() && pair.opener.session.is_none());
}

#[test]
fn shower_refuses_an_opener_with_its_own_device_key() {
    let (shower, _) = cheat_as(&desktop());
    assert_eq!(shower.failed, Some(PairingError::EqualStatics));
}

#[test]
fn opener_refuses_a_shower_with_its_own_one_time_key() {
    let mut opener = Side::new(Pairing::nearby(Role::Initiator, MAILBOX, &phone(), profile("phone"), &mut rng(2)));
    let m1 = opener.next_message();
    let ephemeral = attacker::ephemeral_of(&mut rng(2));
    opener.take(&attacker::m2_with_key(&m1, &ephemeral, &desktop()));
    assert_eq!(opener.failed, Some(PairingError::EqualEphemerals));

    let mut opener = Side::new(Pairing::nearby(Role::Initiator, MAILBOX, &phone(), profile("phone"), &mut rng(2)));
    let m1 = opener.next_message();
    opener.take(&attacker::m2_with_key(&m1, &[5; 32], &desktop()));
    assert_eq!(opener.failed, None, "with any other key the same message is taken");
}

#[test]
fn one_time_key_of_small_order_is_refused() {
    // A nearby pairing has no secret, so anybody can make a message 1 that verifies; snow itself would take this key.
    for weak in [[0_u8; 32], std::array::from_fn(|index| u8::from(index == 0))] {
        let mut shower =
            Side::new(Pairing::nearby(Role::Responder, MAILBOX, &desktop(), profile("desktop"), &mut rng(1)));
        shower.take(&attacker::nearby_m1_with_key(&weak));
        assert_eq!(shower.failed, Some(PairingError::WeakKey));
    }
}

// Versions and methods: downgrade.

#[test]
fn version_and_method_are_part_of_what_is_authenticated() {
    // An attacker that rewrites the method byte on both legs of a link turned "nearby", say, changes only the header.
    let mut pair = Pair::by_link();
    let mut m1 = pair.opener.next_message();
    m1[1] = 3;
    let mut nearby =
        Side::new(Pairing::nearby(Role::Responder, link().secret().mailbox(), &desktop(), profile("x"), &mut rng(1)));
    nearby.take(&m1);
    assert_eq!(nearby.failed, Some(PairingError::Tampered));

    // The same pair secret under another method: remembered against resumed.
    let secret = || Zeroizing::new([7; 32]);
    let device = RememberedDevice::new(phone().public_key(), secret());
    let resume = lanyard_pairing::ResumeSecret::new(desktop().public_key(), lanyard_pairing::Trust::Scanned, secret());
    let mut shower =
        Side::new(Pairing::remembered(Role::Responder, MAILBOX, &device, &desktop(), profile("x"), &mut rng(1)));
    let mut opener = Side::new(Pairing::resume(Role::Initiator, MAILBOX, &resume, &phone(), profile("y"), &mut rng(2)));
    let mut m1 = opener.next_message();
    m1[1] = 4;
    shower.take(&m1);
    assert_eq!(shower.refused, [PairingError::WrongSecret]);
}

#[test]
fn handshake_in_one_mailbox_is_worth_nothing_in_another() {
    let device = |key: PublicKey| RememberedDevice::new(key, Zeroizing::new([7; 32]));
    let (of_phone, of_desktop) = (device(phone().public_key()), device(desktop().public_key()));
    let [yesterday, today, _] = of_phone.mailboxes(lanyard_pairing::Hour(490_000));
    let mut recorded =
        Side::new(Pairing::remembered(Role::Initiator, yesterday, &of_desktop, &phone(), profile("p"), &mut rng(2)));
    let mut shower =
        Side::new(Pairing::remembered(Role::Responder, today, &of_phone, &desktop(), profile("d"), &mut rng(1)));
    shower.take(&recorded.next_message());
    assert_eq!(shower.refused, [PairingError::WrongSecret]);
}

// Nearby: somebody in the middle.

#[test]
fn pictures_differ_when_somebody_is_in_the_middle() {
    for seed in 0..50 {
        let mut left = Pair::new(
            Pairing::nearby(Role::Responder, MAILBOX, &stranger(), profile("phone"), &mut rng(1_000 + seed)),
            Pairing::nearby(Role::Initiator, MAILBOX, &phone(), profile("phone"), &mut rng(2_000 + seed)),
        );
        let mut right = Pair::new(
            Pairing::nearby(Role::Responder, MAILBOX, &desktop(), profile("desktop"), &mut rng(3_000 + seed)),
            Pairing::nearby(Role::Initiator, MAILBOX, &stranger(), profile("desktop"), &mut rng(4_000 + seed)),
        );
        left.run();
        right.run();
        let shown = left.opener.mine.unwrap();
        assert!(!right.shower.rows.unwrap().contains(&shown), "seed {seed}: a human would find the row");
    }
}

#[test]
fn nonce_that_does_not_fit_the_commitment_is_refused() {
    let (mut shower, mut cheat) = cheat_after_m3();
    shower.take(&cheat.commit(&[1; 32]));
    let _nonce_r = shower.next_message();
    // Having seen R's nonce, it would rather have another one.
    shower.take(&cheat.reveal(&[2; 32]));
    assert_eq!(shower.failed, Some(PairingError::CommitmentBroken));
    assert!(shower.rows.is_none(), "no rows are shown for a broken commitment");
}

/// R of a nearby pairing and an initiator that may cheat, after the Noise handshake.
fn cheat_after_m3() -> (Side, attacker::Cheat) {
    cheat_as(&phone())
}

fn cheat_as(identity: &Identity) -> (Side, attacker::Cheat) {
    let mut shower = Side::new(Pairing::nearby(Role::Responder, MAILBOX, &desktop(), profile("desktop"), &mut rng(1)));
    let mut cheat = attacker::Cheat::nearby(identity);
    shower.take(&cheat.m1());
    let m2 = shower.next_message();
    shower.take(&cheat.m3(&m2));
    (shower, cheat)
}

#[test]
fn initiator_that_reveals_before_it_committed_is_out_of_step() {
    let (mut shower, mut cheat) = cheat_after_m3();
    assert!(shower.outbox.is_empty(), "R keeps its nonce until it has the commitment");
    shower.take(&cheat.reveal(&[2; 32]));
    assert_eq!(shower.failed, Some(PairingError::OutOfStep));
}

// Bind.

#[test]
fn bind_of_other_certificates_role_session_or_pairing_is_refused() {
    let mut pair = Pair::by_link();
    pair.run();
    let mut others = Pair::new(
        Pairing::show_link(&desktop(), link().secret(), profile("desktop"), &mut rng(11)),
        Pairing::open_link(&phone(), &link(), profile("phone"), &mut rng(12)),
    );
    others.run();
    let (shower, opener) = pair.sessions();
    let (id, cert_r, cert_i, evil) = ([1; 16], [2; 32], [3; 32], [4; 32]);
    let good = opener.bind_message(&id, &cert_i, &cert_r);
    assert!(shower.verify_bind(&id, &cert_r, &cert_i, &good).is_ok());
    assert!(shower.verify_bind(&id, &cert_r, &evil, &good).is_err(), "we see another certificate");
    assert!(shower.verify_bind(&id, &evil, &cert_i, &good).is_err(), "they see another certificate");
    assert!(shower.verify_bind(&[9; 16], &cert_r, &cert_i, &good).is_err(), "another session id");
    assert!(shower.verify_bind(&id, &cert_r, &cert_i, &good[..31]).is_err(), "cut");
    assert!(shower.verify_bind(&id, &cert_r, &cert_i, &[]).is_err(), "empty");
    let own = shower.bind_message(&id, &cert_r, &cert_i);
    assert!(shower.verify_bind(&id, &cert_r, &cert_i, &own).is_err(), "our own, reflected");
    // With one certificate on both ends only the role tells the two directions apart.
    let mirrored = shower.bind_message(&id, &cert_r, &cert_r);
    assert!(shower.verify_bind(&id, &cert_r, &cert_r, &mirrored).is_err(), "our own, with equal certificates");
    let foreign = others.opener.session().bind_message(&id, &cert_i, &cert_r);
    assert!(pair.shower.session().verify_bind(&id, &cert_r, &cert_i, &foreign).is_err(), "of another pairing");
}

// Watching.

#[test]
fn watcher_of_a_whole_nearby_transcript_derives_none_of_the_keys() {
    let mut pair = Pair::nearby();
    pair.run();
    pair.compare();
    let transcript: Vec<Vec<u8>> = pair.opener.sent.iter().chain(&pair.shower.sent).cloned().collect();
    let known = attacker::watched_values(&transcript, [desktop().public_key(), phone().public_key()]);
    assert!(known.len() > 1_000);
    let (shower, opener) = pair.sessions();
    let bind = shower.bind_message(&[1; 16], &[2; 32], &[3; 32]);
    let (sealed, lane) = (opener.seal(b"offer"), opener.lane_keys().stream(1).0.seal(b"piece"));
    for value in &known {
        assert_ne!(value, shower.lane_keys().token());
        assert_ne!(value, shower.remember().pair_secret());
        assert_ne!(value, shower.resume_secret().secret_bytes());
        assert_ne!(attacker::bind_with(value), bind, "k_bind");
        assert!(!attacker::opens(value, &sealed), "transport key");
        assert!(
            !attacker::opens(&blake3::derive_key("lanyard/1 lane stream", &lane_input(value, 1)), &lane),
            "lane key"
        );
    }
}

fn lane_input(key: &[u8; 32], stream: u64) -> Vec<u8> {
    [&key[..], &stream.to_be_bytes()].concat()
}

#[test]
fn keys_that_a_watcher_cannot_derive_are_derived_by_who_holds_the_split() {
    // So that the test above would notice: the same formulas, with the split in hand, give every key.
    let (mut shower, mut cheat) = cheat_after_m3();
    shower.take(&cheat.commit(&[1; 32]));
    let nonce_r = shower.next_message();
    shower.take(&cheat.reveal(&[1; 32]));
    let mine = cheat.pictures(&[1; 32], &nonce_r);
    let right = shower.rows.unwrap().iter().position(|row| *row == mine).expect("one row is ours");
    shower.pairing.pick_row(right);
    shower.drain();
    assert!(shower.session.is_none(), "not before the other human has agreed");
    shower.take(&cheat.confirm());
    let session = shower.session();
    assert_eq!(cheat.exported("lanyard/1 lane"), *session.lane_keys().token());
    assert_eq!(cheat.exported("lanyard/1 pair"), *session.remember().pair_secret());
    assert_eq!(cheat.exported("lanyard/1 resume"), *session.resume_secret().secret_bytes());
    let bind = session.bind_message(&[1; 16], &[2; 32], &[3; 32]);
    assert_eq!(attacker::bind_with(&cheat.exported("lanyard/1 bind")), bind);
    let lane = session.lane_keys().stream(1).0.seal(b"piece");
    let key = cheat.exported("lanyard/1 lane R");
    assert!(attacker::opens(&blake3::derive_key("lanyard/1 lane stream", &lane_input(&key, 1)), &lane));
}

// Any bytes.

fn all_sides() -> Vec<Side> {
    let device = RememberedDevice::new(stranger().public_key(), Zeroizing::new([7; 32]));
    let identity = desktop();
    let nearby = |role| Pairing::nearby(role, MAILBOX, &identity, profile("d"), &mut rng(1));
    let remembered = |role| Pairing::remembered(role, MAILBOX, &device, &identity, profile("d"), &mut rng(1));
    let code = code("4821-piano-tiger");
    vec![
        Side::new(Pairing::show_link(&identity, link().secret(), profile("d"), &mut rng(1))),
        Side::new(Pairing::open_link(&identity, &link_to(&stranger()), profile("d"), &mut rng(1))),
        Side::new(Pairing::show_code(&identity, &code, profile("d"), &mut rng(1))),
        Side::new(Pairing::type_code(&identity, &code, profile("d"), &mut rng(1))),
        Side::new(nearby(Role::Responder)),
        Side::new(nearby(Role::Initiator)),
        Side::new(remembered(Role::Responder)),
        Side::new(remembered(Role::Initiator)),
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let framed = (1..6_u8, prop::sample::select(vec![0x01, 0x11, 0x12, 0x13, 0x21, 0x22, 0x23, 0x24, 0x25, 0xff]))
        .prop_flat_map(|(method, step)| {
            prop::collection::vec(any::<u8>(), 0..200).prop_map(move |rest| [&[1, method, step], &rest[..]].concat())
        });
    prop_oneof![framed, prop::collection::vec(any::<u8>(), 0..64)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_neither_panic_nor_establish(messages in prop::collection::vec(message(), 1..6)) {
        for mut side in all_sides() {
            for message in &messages {
                side.take(message);
                side.pairing.pick_row(0);
                side.pairing.confirm_pictures(true);
                side.drain();
            }
            prop_assert!(side.session.is_none());
        }
    }

    #[test]
    fn any_text_is_read_as_link_or_code_or_refused(text in "\\PC{0,80}", near in "https?://[a-z.]{0,9}/?#[0-9]\\.[A-Za-z_.-]{0,46}") {
        for text in [&text, &near] {
            if let Ok(link) = Link::parse(text) {
                let again = Link::parse(&link.to_url()).expect("what we write we read");
                prop_assert_eq!(&*again.to_url(), &*link.to_url());
            }
            let _ = Code::parse(text).map(|code| code.to_text());
            let _ = Code::complete(text);
        }
    }

    #[test]
    fn any_one_byte_changed_in_a_link_meeting_lets_nobody_in(at in 0..4_usize, place in 0..120_usize, change in 1..=255_u8) {
        let mut pair = Pair::by_link();
        let mut index = 0;
        loop {
            let from_opener = !pair.opener.outbox.is_empty();
            let side = if from_opener { &mut pair.opener } else { &mut pair.shower };
            let Some(mut message) = side.outbox.pop_front() else { break };
            let changed = index == at && place < message.len();
            if changed {
                message[place] ^= change;
            }
            index += 1;
            let target = if from_opener { &mut pair.shower } else { &mut pair.opener };
            target.take(&message);
            prop_assert!(!(changed && target.session.is_some()));
        }
    }
}

#[test]
fn identity_survives_storage() {
    let identity = Identity::generate(&mut rng(5));
    let stored = Identity::from_secret_bytes(identity.secret_bytes());
    assert_eq!(stored.public_key(), identity.public_key());
}

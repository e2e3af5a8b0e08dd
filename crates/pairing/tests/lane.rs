//! Frames of a lane (LK-33, LK-37): taken once, in order, whole, or not at all.

mod wire;

use lanyard_pairing::{LaneError, LaneFrame, LaneOpener, LaneSealer, NO_CERTIFICATE, lane_session_id};
use wire::Pair;

/// What R seals for attempt 3, and how I opens it.
fn lane() -> (LaneSealer, LaneOpener) {
    let mut pair = Pair::by_link();
    pair.run();
    let (shower, opener) = pair.sessions();
    (shower.lane_keys().lane(3).0, opener.lane_keys().lane(3).1)
}

#[test]
fn lk_33_each_kind_arrives_as_it_was_sealed() {
    let (mut sealer, mut opener) = lane();
    let sealed = [sealer.bind(&[7; 32]), sealer.control("{}"), sealer.data(b"\x01piece"), sealer.alive()];
    let opened = sealed.each_ref().map(|frame| opener.open(frame).unwrap());
    let expected = [
        LaneFrame::Bind(vec![7; 32]),
        LaneFrame::Control("{}".to_owned()),
        LaneFrame::Data(b"\x01piece".to_vec()),
        LaneFrame::Alive,
    ];
    assert_eq!(opened, expected);
}

#[test]
fn lk_33_a_changed_shortened_repeated_left_out_or_swapped_frame_is_refused_by_name() {
    let (mut sealer, _) = lane();
    let [first, second, third] = [sealer.data(b"first"), sealer.data(b"second"), sealer.data(b"third")];
    let fresh = || {
        let mut opener = lane().1;
        opener.open(&first).unwrap();
        opener
    };
    for at in 8..second.len() {
        let mut changed = second.clone();
        changed[at] ^= 1;
        assert_eq!(fresh().open(&changed), Err(LaneError::Forged), "byte {at}");
    }
    for len in 0..second.len() {
        assert!(fresh().open(&second[..len]).is_err(), "{len} bytes");
    }
    assert_eq!(fresh().open(&first), Err(LaneError::Replayed));
    assert_eq!(fresh().open(&third), Err(LaneError::Missing));
    let mut pretended = third.clone();
    pretended[..8].copy_from_slice(&1_u64.to_be_bytes());
    assert_eq!(fresh().open(&pretended), Err(LaneError::Forged), "another frame's number");
}

#[test]
fn lk_33_frames_of_another_attempt_direction_or_session_do_not_open() {
    let mut pair = Pair::by_link();
    pair.run();
    let (shower, opener) = pair.sessions();
    let other_attempt = shower.lane_keys().lane(4).0.alive();
    let own = opener.lane_keys().lane(3).0.alive();
    for frame in [other_attempt, own] {
        assert_eq!(opener.lane_keys().lane(3).1.open(&frame), Err(LaneError::Forged));
    }
    let mut elsewhere = Pair::by_codes("4821-piano-tiger", "4821-piano-tiger", 1);
    elsewhere.run();
    let frame = elsewhere.sessions().0.lane_keys().lane(3).0.alive();
    assert_eq!(opener.lane_keys().lane(3).1.open(&frame), Err(LaneError::Forged));
}

#[test]
fn lk_33_what_is_sealed_but_no_frame_is_refused() {
    let mut pair = Pair::by_link();
    pair.run();
    let (shower, opener) = pair.sessions();
    for (plaintext, why) in [
        (vec![], LaneError::UnknownKind),
        (vec![0], LaneError::UnknownKind),
        (vec![5], LaneError::UnknownKind),
        (vec![2, 0xff], LaneError::UnknownKind),
        (vec![3; 64 * 1024 + 2], LaneError::TooLong),
    ] {
        let sealed = shower.lane_keys().stream(3).0.seal(&plaintext);
        assert_eq!(opener.lane_keys().lane(3).1.open(&sealed), Err(why));
    }
}

#[test]
fn lk_37_a_bind_of_a_lane_fits_that_attempt_of_a_lane_only() {
    let mut pair = Pair::by_link();
    pair.run();
    let (shower, opener) = pair.sessions();
    let id = lane_session_id(3);
    assert_eq!(id, *b"lane\0\0\0\0\0\0\0\0\0\0\0\x03");
    let bind = shower.bind_message(&id, &NO_CERTIFICATE, &NO_CERTIFICATE);
    let verify = |id| opener.verify_bind(&id, &NO_CERTIFICATE, &NO_CERTIFICATE, &bind).is_ok();
    assert!(verify(id));
    assert!(!verify(lane_session_id(4)));
    assert!(!verify(3_u128.to_be_bytes()), "a data channel's");
}

//! Links, codes, the handshake and what is sealed after it.

use std::cell::OnceCell;
use std::collections::VecDeque;

use lanyard_pairing::{
    Code, Identity, LaneKeys, Link, LinkSecret, MailboxId, Output, Pairing, PictureRow, Profile, RememberedDevice,
    ResumeSecret, Role, SEAL_OVERHEAD, Session, Trust, words,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::Input;

/// A link has one spelling, names a web page, and is never long.
pub fn link(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(link) = Link::parse(text) else { return };
    let url = link.to_url();
    assert!(url.len() <= 512, "{} bytes", url.len());
    assert!(url.starts_with("http://") || url.starts_with("https://"));
    assert!(!url.contains(char::is_control));
    // What stands before the host, as in `https://bank.example@thief.example/`, is never kept.
    assert!(url.split('/').nth(2).is_some_and(|authority| !authority.contains('@')));
    let again = Link::parse(&url).expect("what is written is read");
    assert_eq!(*again.to_url(), *url);
    assert_eq!(again.secret().mailbox().0, link.secret().mailbox().0);
}

/// A code has 4 to 6 digits and two words of the list, and completing a text offers only words.
pub fn code(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    assert!(Code::complete(text).len() <= words().len());
    let Ok(code) = Code::parse(text) else { return };
    assert!((4..=6).contains(&code.nameplate().len()) && code.nameplate().bytes().all(|byte| byte.is_ascii_digit()));
    assert!(code.words().iter().all(|word| words().contains(word)));
    let again = Code::parse(&code.to_text()).expect("what is written is read");
    assert_eq!((again.nameplate(), again.words()), (code.nameplate(), code.words()));
}

/// One device of a meeting and what it has to say.
struct Side {
    pairing: Pairing,
    established: bool,
    outbox: VecDeque<Vec<u8>>,
    shown: Option<PictureRow>,
    rows: Option<[PictureRow; 3]>,
}

impl Side {
    fn new(pairing: Pairing) -> Self {
        let mut side = Self { pairing, established: false, outbox: VecDeque::new(), shown: None, rows: None };
        side.drain();
        side
    }

    fn take(&mut self, message: &[u8]) {
        self.pairing.handle_message(message);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.pairing.poll_output() {
            match output {
                Output::Send(message) => {
                    assert!(message.len() <= lanyard_pairing::MAX_MESSAGE_BYTES);
                    self.outbox.push_back(message);
                }
                Output::ShowPictures { mine } => self.shown = Some(mine),
                Output::PickPictures { rows } => self.rows = Some(rows),
                Output::Established(_) => self.established = true,
                Output::Refused(_) | Output::Failed(_) => {}
            }
        }
        assert!(self.outbox.len() <= 64, "an answer is never a flood");
    }
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn profile() -> Profile {
    Profile::new("Otter", "phone", ["webrtc"]).expect("short enough")
}

/// The one that shows and the one that opens, by a way.
fn pair(way: u8) -> [Side; 2] {
    let (shower, opener) = (Identity::generate(&mut rng(1)), Identity::generate(&mut rng(2)));
    let place = MailboxId([3; 16]);
    let (mut left, mut right) = (rng(4), rng(5));
    let pairings = match way % 5 {
        0 => {
            let link = Link::new("https://relay.example/", LinkSecret::from_bytes([6; 16]), shower.fingerprint())
                .expect("a web address");
            [
                Pairing::show_link(&shower, link.secret(), profile(), &mut left),
                Pairing::open_link(&opener, &link, profile(), &mut right),
            ]
        }
        1 => {
            let code = Code::parse("4821-piano-tiger").expect("a code");
            [
                Pairing::show_code(&shower, &code, profile(), &mut left),
                Pairing::type_code(&opener, &code, profile(), &mut right),
            ]
        }
        2 => [
            Pairing::nearby(Role::Responder, place, &shower, profile(), &mut left),
            Pairing::nearby(Role::Initiator, place, &opener, profile(), &mut right),
        ],
        3 => {
            let device = |key| RememberedDevice::new(key, [7; 32].into());
            let (of_opener, of_shower) = (device(opener.public_key()), device(shower.public_key()));
            [
                Pairing::remembered(Role::Responder, place, &of_opener, &shower, profile(), &mut left),
                Pairing::remembered(Role::Initiator, place, &of_shower, &opener, profile(), &mut right),
            ]
        }
        _ => {
            let resume = |key| ResumeSecret::new(key, Trust::Scanned, [7; 32].into());
            let (of_opener, of_shower) = (resume(opener.public_key()), resume(shower.public_key()));
            [
                Pairing::resume(Role::Responder, place, &of_opener, &shower, profile(), &mut left),
                Pairing::resume(Role::Initiator, place, &of_shower, &opener, profile(), &mut right),
            ]
        }
    };
    pairings.map(Side::new)
}

/// Whoever takes a message of the handshake that was changed in place establishes nothing, and nobody ever panics.
///
/// Input: the way; the number of the message that is changed, or 255 for none; bytes that are put over it from an offset
/// on; then messages out of the blue for both sides.
pub fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let mut sides = pair(input.byte());
    let (at, offset, cut, over) = (input.byte(), usize::from(input.byte()), usize::from(input.byte()), input.piece());
    let mut index = 0_u8;
    let mut changed_for = None;
    while index < 32 {
        let Some(from) = [1, 0].into_iter().find(|&side| !sides[side].outbox.is_empty()) else {
            // Both people look at both screens, once.
            let (Some(shown), Some(rows)) = (sides[1].shown.take(), sides[0].rows.take()) else { break };
            let Some(right) = rows.iter().position(|row| *row == shown) else { break };
            sides[0].pairing.pick_row(right);
            sides[1].pairing.confirm_pictures(true);
            sides.iter_mut().for_each(Side::drain);
            continue;
        };
        let Some(genuine) = sides[from].outbox.pop_front() else { break };
        let mut message = genuine.clone();
        if index == at {
            for (byte, new) in message.iter_mut().skip(offset).zip(over) {
                *byte = *new;
            }
            message.truncate(genuine.len().saturating_sub(cut));
            if message != genuine {
                changed_for = Some(1 - from);
            }
        }
        index += 1;
        sides[1 - from].take(&message);
    }
    match changed_for {
        Some(side) => assert!(!sides[side].established, "a changed message was taken for genuine"),
        None if at == u8::MAX => assert!(sides.iter().all(|side| side.established), "two honest devices meet"),
        None => {}
    }
    let before: Vec<bool> = sides.iter().map(|side| side.established).collect();
    while !input.is_empty() {
        let (to, message) = (usize::from(input.byte() % 2), input.piece());
        sides[to].take(message);
        sides[to].outbox.clear();
    }
    let after: Vec<bool> = sides.iter().map(|side| side.established).collect();
    assert_eq!(before, after, "messages out of the blue establish nothing");
}

thread_local! {
    static LANES: OnceCell<[LaneKeys; 2]> = const { OnceCell::new() };
}

fn lanes() -> [LaneKeys; 2] {
    LANES.with(|lanes| {
        lanes
            .get_or_init(|| {
                let sessions = sessions();
                sessions.map(|session| session.lane_keys())
            })
            .clone()
    })
}

fn sessions() -> [Box<Session>; 2] {
    let mut pairings = {
        let (shower, opener) = (Identity::generate(&mut rng(1)), Identity::generate(&mut rng(2)));
        let link = Link::new("https://relay.example/", LinkSecret::from_bytes([6; 16]), shower.fingerprint())
            .expect("a web address");
        [
            Pairing::show_link(&shower, link.secret(), profile(), &mut rng(4)),
            Pairing::open_link(&opener, &link, profile(), &mut rng(5)),
        ]
    };
    let mut met = [None, None];
    while met.iter().any(Option::is_none) {
        for at in [1, 0] {
            while let Some(output) = pairings[at].poll_output() {
                match output {
                    Output::Send(message) => pairings[1 - at].handle_message(&message),
                    Output::Established(session) => met[at] = Some(session),
                    Output::ShowPictures { .. } | Output::PickPictures { .. } => {}
                    Output::Refused(error) | Output::Failed(error) => panic!("nothing interferes here: {error}"),
                }
            }
        }
    }
    met.map(|session| session.expect("both have met"))
}

/// Only what the other side sealed opens, once; whatever is refused changes nothing.
///
/// Input: how many frames are sealed before; a forged frame; then bytes that are put over the genuine next one.
pub fn sealed_frame(data: &[u8]) {
    let mut input = Input::new(data);
    let [shower, opener] = lanes();
    let number = u64::from(input.byte());
    let ((mut seal, _), (_, mut open)) = (shower.stream(number), opener.stream(number));
    for _ in 0..input.byte() % 4 {
        let frame = seal.seal(b"piece");
        assert_eq!(open.open(&frame).as_deref(), Ok(&b"piece"[..]));
    }
    let genuine = seal.seal(b"the next piece");
    assert_eq!(genuine.len(), b"the next piece".len() + SEAL_OVERHEAD);
    // A fuzzer sees the frames that are compared here, and brings one of another run: that is sealed, and opens.
    let is_sealed = |frame: &[u8]| {
        (0..4).any(|before| {
            let (mut seal, _) = shower.stream(number);
            for _ in 0..before {
                seal.seal(b"piece");
            }
            seal.seal(b"the next piece") == frame
        })
    };
    let forged = input.piece();
    assert!(is_sealed(forged) || open.open(forged).is_err(), "a forged frame opened");
    let (offset, over) = (usize::from(input.byte()), input.rest());
    let mut changed = genuine.clone();
    for (byte, new) in changed.iter_mut().skip(offset).zip(over) {
        *byte = *new;
    }
    if !is_sealed(&changed) {
        assert!(open.open(&changed).is_err(), "a changed frame opened");
    }
    assert_eq!(open.open(&genuine).as_deref(), Ok(&b"the next piece"[..]), "a refused frame changes nothing");
    assert!(open.open(&genuine).is_err(), "a frame opens once");
}

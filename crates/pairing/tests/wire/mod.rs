//! Two pairings wired back to back, with every message at hand to be changed, held or repeated.
#![allow(dead_code, unreachable_pub, reason = "each test file uses another part of it")]
#![allow(clippy::unwrap_used, reason = "a test that can not go on should stop")]

pub mod attacker;

use std::collections::VecDeque;

use lanyard_pairing::{
    Code, Identity, Link, LinkSecret, MailboxId, Output, Pairing, PairingError, PictureRow, Profile, Role, Session,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub fn desktop() -> Identity {
    Identity::generate(&mut rng(0xD0))
}

pub fn phone() -> Identity {
    Identity::generate(&mut rng(0xF0))
}

pub fn stranger() -> Identity {
    Identity::generate(&mut rng(0xBAD))
}

pub fn profile(name: &str) -> Profile {
    Profile::new(name, "computer", ["webrtc"]).expect("short enough")
}

/// A profile as it is inside message 3: name, platform, no caps.
pub fn profile_bytes() -> Vec<u8> {
    vec![2, b'm', b'e', 0, 0]
}

pub fn link() -> Link {
    link_to(&desktop())
}

pub fn link_to(shower: &Identity) -> Link {
    let secret = LinkSecret::from_bytes([0x5e; 16]);
    Link::new("https://relay.example/", secret, shower.fingerprint()).expect("a web address")
}

pub fn code(text: &str) -> Code {
    Code::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub const MAILBOX: MailboxId = MailboxId([0x3b; 16]);

/// One device and all that it said.
pub struct Side {
    pub pairing: Pairing,
    pub session: Option<Session>,
    pub failed: Option<PairingError>,
    pub refused: Vec<PairingError>,
    pub sent: Vec<Vec<u8>>,
    pub outbox: VecDeque<Vec<u8>>,
    pub mine: Option<PictureRow>,
    pub rows: Option<[PictureRow; 3]>,
}

impl Side {
    pub fn new(pairing: Pairing) -> Self {
        let mut side = Self {
            pairing,
            session: None,
            failed: None,
            refused: Vec::new(),
            sent: Vec::new(),
            outbox: VecDeque::new(),
            mine: None,
            rows: None,
        };
        side.drain();
        side
    }

    pub fn take(&mut self, message: &[u8]) {
        self.pairing.handle_message(message);
        self.drain();
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.pairing.poll_output() {
            match output {
                Output::Send(message) => {
                    self.sent.push(message.clone());
                    self.outbox.push_back(message);
                }
                Output::ShowPictures { mine } => self.mine = Some(mine),
                Output::PickPictures { rows } => self.rows = Some(rows),
                Output::Established(session) => {
                    assert!(self.session.is_none(), "a meeting gives one session");
                    self.session = Some(*session);
                }
                Output::Refused(error) => self.refused.push(error),
                Output::Failed(error) => {
                    assert!(self.failed.is_none(), "a meeting fails once");
                    self.failed = Some(error);
                }
            }
        }
    }

    /// The next message on its way to the other side.
    pub fn next_message(&mut self) -> Vec<u8> {
        self.outbox.pop_front().expect("this side has something to say")
    }

    pub fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("this side has met the other")
    }
}

/// The shower (R) and the opener (I).
pub struct Pair {
    pub shower: Side,
    pub opener: Side,
}

impl Pair {
    pub fn new(shower: Pairing, opener: Pairing) -> Self {
        assert_eq!((shower.role(), opener.role()), (Role::Responder, Role::Initiator));
        Self { shower: Side::new(shower), opener: Side::new(opener) }
    }

    pub fn by_link() -> Self {
        let link = link();
        Self::new(
            Pairing::show_link(&desktop(), link.secret(), profile("desktop"), &mut rng(1)),
            Pairing::open_link(&phone(), &link, profile("phone"), &mut rng(2)),
        )
    }

    pub fn by_codes(shown: &str, typed: &str, seed: u64) -> Self {
        Self::new(
            Pairing::show_code(&desktop(), &code(shown), profile("desktop"), &mut rng(seed)),
            Pairing::type_code(&phone(), &code(typed), profile("phone"), &mut rng(seed + 1)),
        )
    }

    pub fn nearby() -> Self {
        Self::new(
            Pairing::nearby(Role::Responder, MAILBOX, &desktop(), profile("desktop"), &mut rng(1)),
            Pairing::nearby(Role::Initiator, MAILBOX, &phone(), profile("phone"), &mut rng(2)),
        )
    }

    /// Carries messages both ways until nobody has anything to say.
    pub fn run(&mut self) {
        loop {
            if let Some(message) = self.opener.outbox.pop_front() {
                self.shower.take(&message);
            } else if let Some(message) = self.shower.outbox.pop_front() {
                self.opener.take(&message);
            } else {
                return;
            }
        }
    }

    /// Both humans compare honestly.
    pub fn compare(&mut self) {
        let mine = self.opener.mine.expect("the opener shows its row");
        let rows = self.shower.rows.expect("the shower offers three rows");
        let right = rows.iter().position(|row| *row == mine).expect("one of them is right");
        self.shower.pairing.pick_row(right);
        self.shower.drain();
        self.opener.pairing.confirm_pictures(true);
        self.opener.drain();
        self.run();
    }

    pub fn sessions(&mut self) -> (&mut Session, &mut Session) {
        (self.shower.session(), self.opener.session())
    }
}

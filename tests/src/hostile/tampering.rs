//! What a hostile server does in one meeting, drawn from a seed.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng as _;

/// What is done, to the `nth` body (from 0) that goes to the side `to` (0 shows, 1 opens) where it is about a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tampering {
    /// What.
    pub action: Action,
    /// To whom the changed body goes.
    pub to: u8,
    /// Which body, counted for that side.
    pub nth: usize,
}

/// What a hostile server can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing: the control.
    Honest,
    /// These bits of the body (taken modulo its length) are the other way round.
    FlipBits(Vec<usize>),
    /// Only the first bytes are carried: this many thousandths of the body.
    Truncate(usize),
    /// Bytes are added at the end.
    Extend(Vec<u8>),
    /// The body in the same place of an earlier meeting with the same secret, or of one with another.
    Replay,
    /// The receiver's own last body comes back to it.
    Reflect,
    /// The body comes a second time, after the handshake.
    Repeat,
    /// The body after it comes first.
    Reorder,
    /// Two meetings are crossed: the body goes to the side of the other meeting, and that one's comes here.
    SwapMembers,
    /// The sender's number is another one.
    WrongSender(u8),
    /// One or both sides are told of a third device that never came: which of the two are told.
    Crowded([bool; 2]),
    /// The body is one that nobody sent: framed as the handshake frames it, with random content.
    Forge(Vec<u8>),
    /// Version or method byte are those of another handshake.
    Downgrade(u8, u8),
    /// The server runs the handshake with both sides under a key of its own, to put its own certificates into the
    /// offers: the only way to swap fingerprints that are sealed.
    SwapFingerprints,
}

/// The names of all actions, as they stand in reports.
pub const ACTIONS: [&str; 13] = [
    "flip bits",
    "truncate",
    "extend",
    "replay",
    "reflect",
    "repeat",
    "reorder",
    "swap members",
    "wrong sender",
    "forged crowded",
    "forge",
    "downgrade",
    "swap fingerprints",
];

impl Action {
    /// As in [`ACTIONS`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::FlipBits(_) => "flip bits",
            Self::Truncate(_) => "truncate",
            Self::Extend(_) => "extend",
            Self::Replay => "replay",
            Self::Reflect => "reflect",
            Self::Repeat => "repeat",
            Self::Reorder => "reorder",
            Self::SwapMembers => "swap members",
            Self::WrongSender(_) => "wrong sender",
            Self::Crowded(_) => "forged crowded",
            Self::Forge(_) => "forge",
            Self::Downgrade(..) => "downgrade",
            Self::SwapFingerprints => "swap fingerprints",
        }
    }
}

/// How the two sides of a meeting share a secret, or do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// A link or QR code.
    Link,
    /// A spoken code.
    Code,
    /// Pictures.
    Nearby,
    /// A pair secret and pinned keys.
    Remembered,
    /// A resume secret.
    Resumed,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Link, Self::Code, Self::Nearby, Self::Remembered, Self::Resumed];

    /// As in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Code => "code",
            Self::Nearby => "nearby",
            Self::Remembered => "remembered",
            Self::Resumed => "resumed",
        }
    }

    /// How many bodies go to the side that shows and to the one that opens until both have the session's keys. The next
    /// one to the opener is the sealed offer, and the next one to the shower what the opener says of itself or the answer.
    const fn handshake_bodies(self) -> [usize; 2] {
        match self {
            Self::Link | Self::Remembered | Self::Resumed => [2, 1],
            Self::Code => [2, 2],
            // m1, m3, commit, reveal, confirm; m2, nonce, confirm.
            Self::Nearby => [5, 3],
        }
    }
}

impl Tampering {
    /// Nothing is done.
    #[must_use]
    pub fn honest() -> Self {
        Self { action: Action::Honest, to: 0, nth: 0 }
    }

    /// The tampering of this number in a run: each action comes as often as every other, the rest is random.
    #[must_use]
    pub fn draw(number: usize, way: Way, rng: &mut ChaCha20Rng) -> Self {
        let mut below = |bound: usize| usize::try_from(rng.next_u64() % (bound.max(1) as u64)).unwrap_or_default();
        let to = u8::from(below(2) == 1);
        let handshake = way.handshake_bodies()[usize::from(to)];
        // Handshake and the offer (to the opener) or the answer (to the shower): both come before any link can be bound.
        let mut nth = below(handshake + 1);
        let action = match ACTIONS[number % ACTIONS.len()] {
            "flip bits" => Action::FlipBits((0..=below(4)).map(|_| below(1 << 20)).collect()),
            "truncate" => Action::Truncate(below(1000)),
            "extend" => Action::Extend((0..=below(40)).map(|_| below(256) as u8).collect()),
            "replay" => Action::Replay,
            "reflect" => Action::Reflect,
            "repeat" => {
                nth = handshake;
                Action::Repeat
            }
            "reorder" => {
                nth = reorderable(way, to, below(4));
                Action::Reorder
            }
            "swap members" => Action::SwapMembers,
            "wrong sender" => {
                nth = below(handshake);
                Action::WrongSender([2, 7, 255, to][below(4)])
            }
            "forged crowded" => {
                nth = below(handshake);
                Action::Crowded([[true, true], [true, false], [false, true]][below(3)])
            }
            "forge" => Action::Forge((0..48 + below(120)).map(|_| below(256) as u8).collect()),
            "downgrade" => {
                nth = below(handshake);
                Action::Downgrade([0, 2, 1, 1][below(4)], below(7) as u8)
            }
            _ => {
                nth = 0;
                Action::SwapFingerprints
            }
        };
        Self { action, to, nth }
    }
}

/// A body that is followed by another one of the same side before that needs an answer: sealed ones always are, and of a
/// nearby handshake message 3 is (the commitment) and the opener's reveal (its confirmation).
fn reorderable(way: Way, to: u8, choice: usize) -> usize {
    match (way, to) {
        (Way::Nearby, 0) if choice < 2 => 1,
        _ => way.handshake_bodies()[usize::from(to)],
    }
}

//! The public numbers of spoken codes.

use std::collections::BTreeMap;
use std::time::Instant;

use lanyard_protocol::{MailboxId, Nameplate};
use rand::RngExt;
use rand_chacha::ChaCha20Rng;

use crate::Rate;
use crate::rate::Meter;

/// Digits of the shortest nameplate.
const DIGITS_MIN: u8 = 4;
/// Digits of the longest nameplate.
const DIGITS_MAX: u8 = 6;
/// A length is left for the next one when more than this part of it is in use, so that a guess rarely hits anything
/// and a free number is found quickly.
const CROWDED_PART: usize = 10;
/// Draws before giving up; at a tenth in use, failing is a matter of 10⁻³².
const DRAWS: usize = 32;

/// A nameplate as a number, which is ordered and small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Plate {
    digits: u8,
    number: u32,
}

impl Plate {
    pub(crate) fn read(nameplate: &Nameplate) -> Option<Self> {
        let text = nameplate.as_str();
        Some(Self { digits: u8::try_from(text.len()).ok()?, number: text.parse().ok()? })
    }

    pub(crate) fn write(self) -> Nameplate {
        let width = usize::from(self.digits);
        Nameplate::try_from(format!("{:0width$}", self.number)).expect("4 to 6 digits by construction")
    }
}

/// How a nameplate ended, for whoever still tries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its members gave it back or left.
    Used,
    /// Its time was over.
    Expired,
}

/// Which nameplates stand for which mailbox, and which rest.
#[derive(Debug, Default)]
pub(crate) struct Nameplates {
    active: BTreeMap<Plate, MailboxId>,
    resting: BTreeMap<Plate, Ended>,
    failed_claims: Meter,
    /// Somebody guesses: hand out longer ones until then.
    guessed_until: Option<Instant>,
}

impl Nameplates {
    /// Draws a free nameplate. `None` when even the longest are crowded.
    pub(crate) fn allocate(&mut self, now: Instant, rng: &mut ChaCha20Rng, mailbox: MailboxId) -> Option<Plate> {
        let shortest = if self.is_guessed(now) { DIGITS_MIN + 1 } else { DIGITS_MIN };
        let digits = (shortest..=DIGITS_MAX).find(|digits| !self.is_crowded(*digits))?;
        for _ in 0..DRAWS {
            let plate = Plate { digits, number: rng.random_range(0..space(digits)) };
            if !self.active.contains_key(&plate) && !self.resting.contains_key(&plate) {
                self.active.insert(plate, mailbox);
                return Some(plate);
            }
        }
        None
    }

    pub(crate) fn mailbox(&self, plate: Plate) -> Option<MailboxId> {
        self.active.get(&plate).copied()
    }

    /// Counts a wrong guess. Above the rate, nameplates are longer for the next minute.
    pub(crate) fn count_failure(&mut self, now: Instant, rate: Rate) {
        if !self.failed_claims.take(rate, now) {
            self.guessed_until = Some(now + std::time::Duration::from_secs(60));
        }
    }

    /// Whether somebody guesses just now.
    pub(crate) fn is_guessed(&self, now: Instant) -> bool {
        self.guessed_until.is_some_and(|until| now < until)
    }

    /// Ends a nameplate; it rests until [`Nameplates::forget`]. Says whether it was active.
    pub(crate) fn retire(&mut self, plate: Plate, why: Ended) -> bool {
        let was_active = self.active.remove(&plate).is_some();
        if was_active {
            self.resting.insert(plate, why);
        }
        was_active
    }

    /// How a nameplate that rests ended.
    pub(crate) fn ended(&self, plate: Plate) -> Option<Ended> {
        self.resting.get(&plate).copied()
    }

    /// Its rest is over.
    pub(crate) fn forget(&mut self, plate: Plate) {
        self.resting.remove(&plate);
    }

    pub(crate) fn active(&self) -> usize {
        self.active.len()
    }

    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    fn is_crowded(&self, digits: u8) -> bool {
        let range = Plate { digits, number: 0 }..Plate { digits: digits + 1, number: 0 };
        let limit = space(digits) as usize / CROWDED_PART;
        let active = self.active.range(range.clone()).take(limit + 1).count();
        active + self.resting.range(range).take(limit + 1).count() > limit
    }
}

fn space(digits: u8) -> u32 {
    10_u32.pow(u32::from(digits))
}

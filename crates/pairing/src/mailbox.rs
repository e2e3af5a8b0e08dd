//! Where two devices meet: ids that the relay can not connect with the secret behind them.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;

use crate::kdf;

/// A mailbox at the signaling server, 16 bytes. All the server ever learns of a meeting.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MailboxId(pub [u8; 16]);

/// Base64url without padding, 22 characters, as the signaling messages have it.
impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

/// Six characters: enough to follow one through a log.
impl fmt::Debug for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailboxId({:.6}…)", BASE64URL_NOPAD.encode(&self.0))
    }
}

/// Whole hours since 1970, from the relay's clock (`welcome`), so that a wrong local clock does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hour(pub u64);

impl Hour {
    /// The hour that holds this moment, milliseconds since 1970.
    #[must_use]
    pub fn at_ms(unix_ms: u64) -> Self {
        Self(unix_ms / 3_600_000)
    }
}

/// Where two devices that share `secret` meet again in this hour; to others it looks random and new each hour (PA-7).
pub(crate) fn again(secret: &[u8; 32], hour: Hour) -> MailboxId {
    MailboxId(kdf::derive_short("lanyard/1 again", &[secret, &hour.0.to_be_bytes()]))
}

/// The mailboxes of the hour before, this one and the next: two clocks that differ by up to an hour still meet.
pub(crate) fn around(secret: &[u8; 32], hour: Hour) -> [MailboxId; 3] {
    [Hour(hour.0.saturating_sub(1)), hour, Hour(hour.0.saturating_add(1))].map(|hour| again(secret, hour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clocks_an_hour_apart_share_mailboxes() {
        let early = around(&[7; 32], Hour(490_000));
        let late = around(&[7; 32], Hour(490_001));
        assert_eq!(early.iter().filter(|id| late.contains(id)).count(), 2);
    }

    #[test]
    fn debug_shows_six_characters_of_an_id() {
        assert_eq!(format!("{:?}", MailboxId([0; 16])), "MailboxId(AAAAAA…)");
    }
}

//! Devices that meet again without a human: remembered ones, and sessions that lost their connection.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{Hour, MailboxId, PublicKey, Trust, mailbox};

/// A device whose key is pinned, and the secret that only the two share.
#[derive(Clone)]
pub struct RememberedDevice {
    peer_key: PublicKey,
    pair_secret: Zeroizing<[u8; 32]>,
}

impl RememberedDevice {
    /// Puts back together what was stored.
    #[must_use]
    pub fn new(peer_key: PublicKey, pair_secret: Zeroizing<[u8; 32]>) -> Self {
        Self { peer_key, pair_secret }
    }

    /// The pinned key.
    #[must_use]
    pub fn peer_key(&self) -> PublicKey {
        self.peer_key
    }

    /// What to store beside the key, as carefully as the identity.
    #[must_use]
    pub fn pair_secret(&self) -> &[u8; 32] {
        &self.pair_secret
    }

    /// Where the two meet: the hour before, this hour, the next. Wait in all three.
    #[must_use]
    pub fn mailboxes(&self, hour: Hour) -> [MailboxId; 3] {
        mailbox::around(&self.pair_secret, hour)
    }
}

/// Two are equal when key and secret are; in constant time.
impl PartialEq for RememberedDevice {
    fn eq(&self, other: &Self) -> bool {
        self.peer_key == other.peer_key && bool::from(self.pair_secret.ct_eq(&*other.pair_secret))
    }
}

/// What brings one session back. Keep it for 24 hours at most, in memory or in the transfer's journal.
#[derive(Clone)]
pub struct ResumeSecret {
    peer_key: PublicKey,
    trust: Trust,
    psk: Zeroizing<[u8; 32]>,
}

impl ResumeSecret {
    /// Puts back together what was stored.
    #[must_use]
    pub fn new(peer_key: PublicKey, trust: Trust, psk: Zeroizing<[u8; 32]>) -> Self {
        Self { peer_key, trust, psk }
    }

    /// The key that the session had; another one is refused.
    #[must_use]
    pub fn peer_key(&self) -> PublicKey {
        self.peer_key
    }

    /// The level that the session had, and has again when it is back.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// What to store.
    #[must_use]
    pub fn secret_bytes(&self) -> &[u8; 32] {
        &self.psk
    }

    /// Where the two meet when the relay no longer keeps their slots: the hour before, this hour, the next.
    #[must_use]
    pub fn mailboxes(&self, hour: Hour) -> [MailboxId; 3] {
        mailbox::around(&self.psk, hour)
    }
}

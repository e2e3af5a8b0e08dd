//! What two devices share once they have met: exported keys, the sealed channel, `bind`.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    LaneOpener, LaneSealer, OpenError, Opener, Profile, PublicKey, RememberedDevice, ResumeSecret, Role, Sealer, kdf,
    noise::Finished,
};

/// How sure the two are of each other. There is no "unverified": without one of these no session exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// By QR code or link.
    Scanned,
    /// By spoken code.
    Code,
    /// By comparing pictures.
    Compared,
    /// By a key that was pinned before.
    Remembered,
}

impl Trust {
    /// The name both languages store and show: `scanned`, `code`, `compared`, `remembered`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scanned => "scanned",
            Self::Code => "code",
            Self::Compared => "compared",
            Self::Remembered => "remembered",
        }
    }

    /// The level with this [`Trust::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Scanned, Self::Code, Self::Compared, Self::Remembered].into_iter().find(|trust| trust.name() == name)
    }
}

/// Two devices that have met. The channel is sealed; the transport below it still has to be bound to it.
///
/// No file byte may move before [`Session::verify_bind`] has passed on the connection that carries it, unless that
/// connection seals each frame with [`Session::lane_keys`].
pub struct Session {
    role: Role,
    trust: Trust,
    peer_profile: Profile,
    peer_key: PublicKey,
    hash: [u8; 32],
    exported: Zeroizing<[u8; 32]>,
    sealer: Sealer,
    opener: Opener,
}

impl Session {
    pub(crate) fn new(role: Role, trust: Trust, peer_profile: Profile, finished: Finished) -> Self {
        let Finished { split: (i_to_r, r_to_i), hash, peer_key } = finished;
        // From the raw split: `hash` alone is computed by whoever saw the handshake of a nearby pairing (PA-13).
        let exported = kdf::derive_secret("lanyard/1 export", &[&*i_to_r, &*r_to_i, &hash]);
        let (sealing, opening) = match role {
            Role::Initiator => (&i_to_r, &r_to_i),
            Role::Responder => (&r_to_i, &i_to_r),
        };
        let (sealer, opener) = (Sealer::new(sealing), Opener::new(opening));
        Self { role, trust, peer_profile, peer_key, hash, exported, sealer, opener }
    }

    /// Our part in the handshake; the responder makes the WebRTC offer.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// How the two met; store it with the device.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// What the other device says of itself. Escape it before it is shown.
    #[must_use]
    pub fn peer_profile(&self) -> &Profile {
        &self.peer_profile
    }

    /// The other device's static key; its [`PublicKey::fingerprint`] is what a link to it would carry.
    #[must_use]
    pub fn peer_key(&self) -> PublicKey {
        self.peer_key
    }

    /// Seals one message for the mailbox: offers, answers, candidates. 24 bytes longer than `plaintext`.
    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.sealer.seal(plaintext)
    }

    /// Opens one message of the other side.
    ///
    /// # Errors
    /// When it was forged, came twice or late, or too many are missing.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        self.opener.open(sealed)
    }

    /// The first frame to send on a new transport: a MAC over the session and both certificates' SHA-256, as this end
    /// really uses and sees them (PA-16).
    #[must_use]
    pub fn bind_message(&self, session_id: &[u8; 16], own_cert: &[u8; 32], peer_cert: &[u8; 32]) -> [u8; 32] {
        self.bind(self.role, session_id, own_cert, peer_cert).finalize().into_bytes().into()
    }

    /// Checks the other side's first frame, in constant time.
    ///
    /// # Errors
    /// [`BindError`]: close the transport and show it; the connection does not end at the device that was met.
    pub fn verify_bind(
        &self,
        session_id: &[u8; 16],
        own_cert: &[u8; 32],
        peer_cert: &[u8; 32],
        received: &[u8],
    ) -> Result<(), BindError> {
        // The other side calls its own what we saw, and the other way round.
        let expected = self.bind(self.role.other(), session_id, peer_cert, own_cert);
        expected.verify_slice(received).map_err(|_| BindError)
    }

    fn bind(&self, role: Role, session_id: &[u8; 16], own_cert: &[u8; 32], peer_cert: &[u8; 32]) -> Hmac<Sha256> {
        let key = self.export("lanyard/1 bind");
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&*key).expect("HMAC takes a key of any length");
        mac.update(&[role.byte()]);
        mac.update(session_id);
        mac.update(own_cert);
        mac.update(peer_cert);
        mac
    }

    /// Keys for paths where no certificate can be seen: the sealed WebSocket and the plain-http lane.
    #[must_use]
    pub fn lane_keys(&self) -> LaneKeys {
        let i_to_r = self.export("lanyard/1 lane I");
        let r_to_i = self.export("lanyard/1 lane R");
        let (sealing, opening) = match self.role {
            Role::Initiator => (i_to_r, r_to_i),
            Role::Responder => (r_to_i, i_to_r),
        };
        LaneKeys { token: self.export("lanyard/1 lane"), sealing, opening }
    }

    /// What both sides store when both opted in to be remembered. Never on a page of plain http (SAFETY D7).
    #[must_use]
    pub fn remember(&self) -> RememberedDevice {
        RememberedDevice::new(self.peer_key, self.export("lanyard/1 pair"))
    }

    /// What brings this session back after a lost connection, without a human, for 24 hours.
    #[must_use]
    pub fn resume_secret(&self) -> ResumeSecret {
        ResumeSecret::new(self.peer_key, self.trust, self.export("lanyard/1 resume"))
    }

    /// `h`, for the pictures. No secret.
    pub(crate) fn handshake_hash(&self) -> &[u8; 32] {
        &self.hash
    }

    fn export(&self, context: &'static str) -> Zeroizing<[u8; 32]> {
        kdf::derive_secret(context, &[&*self.exported])
    }
}

/// The certificates that this end sees are not those the other end sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this connection ends at somebody else than the device you met: it was closed, nothing was sent")]
pub struct BindError;

/// Keys for frames outside the mailbox. Cloneable, so that a worker can have them.
#[derive(Clone)]
pub struct LaneKeys {
    token: Zeroizing<[u8; 32]>,
    sealing: Zeroizing<[u8; 32]>,
    opening: Zeroizing<[u8; 32]>,
}

impl LaneKeys {
    /// Ties an HTTP request to the session on https or localhost. Never send it over plain http to another machine.
    #[must_use]
    pub fn token(&self) -> &[u8; 32] {
        &self.token
    }

    /// Whether a request carries the token; in constant time.
    #[must_use]
    pub fn is_token(&self, received: &[u8]) -> bool {
        received.ct_eq(&*self.token).into()
    }

    /// Both directions of the sealed WebSocket of one attempt (LK-33). Once for each attempt of a session.
    #[must_use]
    pub fn lane(&self, attempt: u32) -> (LaneSealer, LaneOpener) {
        let (sealer, opener) = self.stream(u64::from(attempt));
        (LaneSealer::new(sealer), LaneOpener::new(opener))
    }

    /// The two directions of one stream, a connection or one request and its answer, with keys of their own.
    ///
    /// Each number may be used once in a session: a second sealer of the same number would repeat its nonces, and an
    /// opener made twice would take a replayed stream.
    #[must_use]
    pub fn stream(&self, number: u64) -> (Sealer, Opener) {
        let key = |lane: &[u8; 32]| kdf::derive_secret("lanyard/1 lane stream", &[lane, &number.to_be_bytes()]);
        (Sealer::new(&key(&self.sealing)), Opener::new(&key(&self.opening)))
    }
}

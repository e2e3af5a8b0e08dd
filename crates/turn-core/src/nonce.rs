//! Nonces that need no memory: time, and an HMAC over it and the client's address (RFC 8489 §9.2).
//!
//! ```text
//! obMatJos2 features(4) base64url(seconds(4) ‖ HMAC-SHA-256(key, seconds ‖ features ‖ transport ‖ address ‖ port)[..8])
//! `──────── nonce cookie ───────┘  left out when no feature is on (RFC 8489 §9.2)
//! ```

use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::five_tuple::{FiveTuple, Transport};

/// How long a nonce is good for (RFC 8656 §5 asks for at most an hour), and how often the key changes.
const NONCE_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Says that security features follow (RFC 8489 §9.2).
const COOKIE: &[u8] = b"obMatJos2";

const TAG_BYTES: usize = 8;

/// Time and tag in base64.
const ENCODED_BYTES: usize = (4 + TAG_BYTES) / 3 * 4;

/// The security features a nonce vouches for (RFC 8489 §18.1); without that, an attacker could strip an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Features {
    /// PASSWORD-ALGORITHMS went with the nonce.
    pub(crate) password_algorithms: bool,
    /// Clients send USERHASH instead of USERNAME.
    pub(crate) username_anonymity: bool,
}

impl Features {
    const ALL: [Self; 3] = [
        Self { password_algorithms: true, username_anonymity: false },
        Self { password_algorithms: false, username_anonymity: true },
        Self { password_algorithms: true, username_anonymity: true },
    ];

    /// 24 bits in base64, the first bit of all for password algorithms, the second for anonymity. Empty when all off.
    fn text(self) -> &'static [u8] {
        match (self.password_algorithms, self.username_anonymity) {
            (false, false) => b"",
            (true, false) => b"gAAA",
            (false, true) => b"QAAA",
            (true, true) => b"wAAA",
        }
    }
}

/// What became of a nonce that a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NonceCheck {
    /// Ours, and still good.
    Fresh(Features),
    /// Too old, for another address, or not ours: 438 (RFC 8489 §9.2.4).
    Stale,
}

/// A nonce on its way out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nonce {
    bytes: [u8; 32],
    len: usize,
}

impl Nonce {
    /// As long as one with these features, and good for nothing.
    pub(crate) fn blank(features: Features) -> Self {
        let prefix = if features.text().is_empty() { 0 } else { COOKIE.len() + features.text().len() };
        Self { bytes: [0; 32], len: prefix + ENCODED_BYTES }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The two keys in use. Nothing is kept per nonce.
pub(crate) struct NonceKeys {
    started: Instant,
    rotated_at: Instant,
    current: Hmac<Sha256>,
    previous: Hmac<Sha256>,
}

impl NonceKeys {
    pub(crate) fn new(now: Instant, rng: &mut impl Rng) -> Self {
        Self { started: now, rotated_at: now, current: random_key(rng), previous: random_key(rng) }
    }

    /// Changes the key when it is due. A nonce of the key before stays good for its whole life.
    pub(crate) fn rotate_if_due(&mut self, now: Instant, rng: &mut impl Rng) {
        if now.saturating_duration_since(self.rotated_at) >= NONCE_LIFETIME {
            self.previous = std::mem::replace(&mut self.current, random_key(rng));
            self.rotated_at = now;
        }
    }

    /// A nonce for this client.
    pub(crate) fn issue(&self, now: Instant, tuple: &FiveTuple, features: Features) -> Nonce {
        let seconds = self.seconds(now).to_be_bytes();
        let mut raw = [0; 4 + TAG_BYTES];
        let (time, tag) = raw.split_at_mut(4);
        time.copy_from_slice(&seconds);
        tag.copy_from_slice(&tag_of(&self.current, seconds, features, tuple));

        let mut nonce = Nonce { bytes: [0; 32], len: 0 };
        let mut encoded = [0; ENCODED_BYTES];
        data_encoding::BASE64URL_NOPAD.encode_mut(&raw, &mut encoded);
        let prefix: [&[u8]; 2] = if features.text().is_empty() { [b"", b""] } else { [COOKIE, features.text()] };
        let text = prefix.into_iter().chain([encoded.as_slice()]).flatten();
        for (slot, byte) in nonce.bytes.iter_mut().zip(text) {
            *slot = *byte;
            nonce.len += 1;
        }
        nonce
    }

    /// Checks a nonce that came from this client.
    pub(crate) fn check(&self, now: Instant, tuple: &FiveTuple, nonce: &[u8]) -> NonceCheck {
        self.try_check(now, tuple, nonce).map_or(NonceCheck::Stale, NonceCheck::Fresh)
    }

    fn try_check(&self, now: Instant, tuple: &FiveTuple, nonce: &[u8]) -> Option<Features> {
        let (features, encoded) = match nonce.strip_prefix(COOKIE) {
            Some(rest) => {
                let (text, encoded) = rest.split_at_checked(4)?;
                (Features::ALL.into_iter().find(|features| features.text() == text)?, encoded)
            }
            None => (Features::default(), nonce),
        };
        let mut raw = [0; 4 + TAG_BYTES];
        if encoded.len() != ENCODED_BYTES || data_encoding::BASE64URL_NOPAD.decode_mut(encoded, &mut raw).is_err() {
            return None;
        }
        let (seconds, tag) = raw.split_first_chunk::<4>()?;
        let age = self.seconds(now).checked_sub(u32::from_be_bytes(*seconds))?;
        let is_ours = [&self.current, &self.previous]
            .into_iter()
            .any(|key| tag_of(key, *seconds, features, tuple).as_slice().ct_eq(tag).into());
        (is_ours && u64::from(age) < NONCE_LIFETIME.as_secs()).then_some(features)
    }

    fn seconds(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.started).as_secs()).unwrap_or(u32::MAX)
    }
}

impl std::fmt::Debug for NonceKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NonceKeys(..)")
    }
}

fn random_key(rng: &mut impl Rng) -> Hmac<Sha256> {
    let mut key = [0; 64];
    rng.fill_bytes(&mut key);
    <Hmac<Sha256> as KeyInit>::new(&key.into())
}

fn tag_of(key: &Hmac<Sha256>, seconds: [u8; 4], features: Features, tuple: &FiveTuple) -> [u8; TAG_BYTES] {
    let client = tuple.canonical_client();
    let mut mac = key.clone();
    mac.update(&seconds);
    mac.update(features.text());
    mac.update(&[match tuple.transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
    }]);
    match client.ip() {
        std::net::IpAddr::V4(v4) => mac.update(&v4.octets()),
        std::net::IpAddr::V6(v6) => mac.update(&v6.octets()),
    }
    mac.update(&client.port().to_be_bytes());
    let full = mac.finalize().into_bytes();
    full.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;

    fn tuple(client: &str) -> FiveTuple {
        FiveTuple {
            transport: Transport::Udp,
            client: client.parse().unwrap(),
            server: "198.51.100.1:3478".parse().unwrap(),
        }
    }

    const OFFERED: Features = Features { password_algorithms: true, username_anonymity: false };

    #[test]
    fn nonce_is_good_for_its_client_and_time_across_a_change_of_keys() {
        let start = Instant::now();
        let mut rng = ChaCha12Rng::from_seed([3; 32]);
        let mut keys = NonceKeys::new(start, &mut rng);
        let client = tuple("192.0.2.1:1000");
        let later = start + NONCE_LIFETIME - Duration::from_secs(1);
        let nonce = keys.issue(later, &client, OFFERED);
        assert!(nonce.as_bytes().starts_with(b"obMatJos2gAAA"));
        for (after, check) in
            [(0, NonceCheck::Fresh(OFFERED)), (1799, NonceCheck::Fresh(OFFERED)), (1800, NonceCheck::Stale)]
        {
            let now = later + Duration::from_secs(after);
            keys.rotate_if_due(now, &mut rng);
            assert_eq!(keys.check(now, &client, nonce.as_bytes()), check, "{after}");
        }
    }

    #[test]
    fn blank_nonce_is_as_long_as_a_good_one() {
        let now = Instant::now();
        let keys = NonceKeys::new(now, &mut ChaCha12Rng::from_seed([3; 32]));
        for features in Features::ALL.into_iter().chain([Features::default()]) {
            let issued = keys.issue(now, &tuple("192.0.2.1:1000"), features);
            assert_eq!(Nonce::blank(features).as_bytes().len(), issued.as_bytes().len());
        }
    }

    #[test]
    fn nonce_of_another_address_port_or_transport_is_stale() {
        let now = Instant::now();
        let keys = NonceKeys::new(now, &mut ChaCha12Rng::from_seed([3; 32]));
        let client = tuple("192.0.2.1:1000");
        let nonce = keys.issue(now, &client, Features::default());
        assert_eq!(nonce.as_bytes().len(), 16);
        assert_eq!(keys.check(now, &client, nonce.as_bytes()), NonceCheck::Fresh(Features::default()));
        let tls = FiveTuple { transport: Transport::Tls, ..client };
        for other in [tuple("192.0.2.2:1000"), tuple("192.0.2.1:1001"), tls] {
            assert_eq!(keys.check(now, &other, nonce.as_bytes()), NonceCheck::Stale);
        }
    }

    #[test]
    fn changed_features_or_bytes_make_a_nonce_stale() {
        let now = Instant::now();
        let keys = NonceKeys::new(now, &mut ChaCha12Rng::from_seed([3; 32]));
        let client = tuple("192.0.2.1:1000");
        let nonce = keys.issue(now, &client, OFFERED).as_bytes().to_vec();
        let stripped = nonce[13..].to_vec();
        let swapped = [b"obMatJos2QAAA", &nonce[13..]].concat();
        assert_eq!(keys.check(now, &client, &stripped), NonceCheck::Stale);
        assert_eq!(keys.check(now, &client, &swapped), NonceCheck::Stale);
        for at in 0..nonce.len() {
            let mut changed = nonce.clone();
            changed[at] ^= 1;
            assert_eq!(keys.check(now, &client, &changed), NonceCheck::Stale, "byte {at}");
        }
        for noise in [&b""[..], b"obMatJos2", b"obMatJos2AAAAAAAAAAAAAAAAAAAA", &[0xff; 100]] {
            assert_eq!(keys.check(now, &client, noise), NonceCheck::Stale);
        }
    }
}

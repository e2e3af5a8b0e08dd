//! Sealed messages: ChaCha20-Poly1305 with a counter that only grows and a new key every 2²⁰ messages (PA-15).
//!
//! ```text
//! offset  bytes  field
//! 0       8      counter, big-endian
//! 8       n      ciphertext of n bytes of plaintext
//! 8 + n   16     tag
//! ```
//!
//! The nonce is Noise's: four zero bytes, then the counter, little-endian. Below 2⁵⁶ messages the first byte is 0, while
//! a handshake message begins with the version, so the two can share a mailbox.

use chacha20poly1305::{
    ChaCha20Poly1305, Nonce, Tag,
    aead::{AeadInPlace, KeyInit},
};
use zeroize::Zeroizing;

/// Bytes that sealing adds: counter and tag.
pub const SEAL_OVERHEAD: usize = COUNTER_BYTES + TAG_BYTES;

/// Messages under one key, as a power of two.
const REKEY_LOG2: u32 = 20;
/// Of two neighbouring messages, how far the counters may be apart. So at most one new key is computed for a forged one.
const MAX_SKIP: u64 = (1 << REKEY_LOG2) - 1;
const COUNTER_BYTES: usize = 8;
const TAG_BYTES: usize = 16;

/// Seals one direction of one channel. Two sealers must never hold the same key: the counter is the nonce.
pub struct Sealer {
    cipher: ChaCha20Poly1305,
    counter: u64,
}

impl Sealer {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { cipher: ChaCha20Poly1305::new(key.into()), counter: 0 }
    }

    /// Seals one message; the result is [`SEAL_OVERHEAD`] bytes longer.
    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plaintext.len() + SEAL_OVERHEAD);
        sealed.extend_from_slice(&self.counter.to_be_bytes());
        sealed.extend_from_slice(plaintext);
        let tag = encrypt(&self.cipher, self.counter, &mut sealed[COUNTER_BYTES..]);
        sealed.extend_from_slice(&tag);
        // A message a nanosecond would take 584 years to wrap this.
        self.counter += 1;
        if self.counter.is_multiple_of(1 << REKEY_LOG2) {
            self.cipher = rekeyed(&self.cipher);
        }
        sealed
    }

    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, counter: u64) {
        while self.counter >> REKEY_LOG2 < counter >> REKEY_LOG2 {
            self.cipher = rekeyed(&self.cipher);
            self.counter += 1 << REKEY_LOG2;
        }
        self.counter = counter;
    }
}

/// Opens one direction of one channel. A message may be lost, but none is taken twice or late.
pub struct Opener {
    cipher: ChaCha20Poly1305,
    /// How often `cipher` was rekeyed.
    epoch: u64,
    /// The lowest counter that is new.
    next: u64,
}

impl Opener {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { cipher: ChaCha20Poly1305::new(key.into()), epoch: 0, next: 0 }
    }

    /// Opens one sealed message. A refused message changes nothing.
    ///
    /// # Errors
    /// Says why the message was refused; after [`OpenError::Forged`] the channel should be closed.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let too_short = OpenError::TooShort { len: sealed.len() };
        let (counter, rest) = sealed.split_first_chunk::<COUNTER_BYTES>().ok_or(too_short)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(too_short)?;
        let counter = u64::from_be_bytes(*counter);
        if counter < self.next {
            return Err(OpenError::Replayed);
        }
        if counter - self.next > MAX_SKIP {
            return Err(OpenError::TooFarAhead);
        }
        let epoch = counter >> REKEY_LOG2;
        let decrypt = |cipher: &ChaCha20Poly1305| {
            let mut plaintext = ciphertext.to_vec();
            let tag = Tag::from_slice(tag);
            let opened = cipher.decrypt_in_place_detached(&nonce(counter), &[], &mut plaintext, tag);
            opened.map(|()| plaintext).map_err(|_| OpenError::Forged)
        };
        let plaintext = if epoch == self.epoch {
            decrypt(&self.cipher)?
        } else {
            // The counter is at most MAX_SKIP ahead of `next`, and `next` at most at the start of the next epoch.
            let cipher = rekeyed(&self.cipher);
            let plaintext = decrypt(&cipher)?;
            self.cipher = cipher;
            self.epoch = epoch;
            plaintext
        };
        self.next = counter + 1;
        Ok(plaintext)
    }
}

/// Why a sealed message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than counter and tag.
    #[error("a sealed message of {len} bytes is shorter than its 24 bytes of counter and tag")]
    TooShort {
        /// Its length in bytes.
        len: usize,
    },
    /// Its counter is not above the last one.
    #[error("a sealed message came twice or late")]
    Replayed,
    /// Its counter is 2²⁰ or more above the last one.
    #[error("too many sealed messages were lost")]
    TooFarAhead,
    /// Not made by the other side, or changed on its way.
    #[error("a sealed message was changed on its way: the connection is not safe, meet again")]
    Forged,
}

impl OpenError {
    /// The name both languages and the vectors use.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::Replayed => "replayed",
            Self::TooFarAhead => "too_far_ahead",
            Self::Forged => "forged",
        }
    }
}

/// Noise §4.2, `REKEY(k)`: the first 32 bytes of zeros encrypted under the nonce 2⁶⁴ − 1.
fn rekeyed(cipher: &ChaCha20Poly1305) -> ChaCha20Poly1305 {
    let mut key = Zeroizing::new([0; 32]);
    encrypt(cipher, u64::MAX, &mut *key);
    ChaCha20Poly1305::new((&*key).into())
}

fn encrypt(cipher: &ChaCha20Poly1305, counter: u64, buffer: &mut [u8]) -> Tag {
    let tag = cipher.encrypt_in_place_detached(&nonce(counter), &[], buffer);
    tag.expect("ChaCha20-Poly1305 takes 256 GiB in one message")
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sealer, Opener) {
        (Sealer::new(&[7; 32]), Opener::new(&[7; 32]))
    }

    #[test]
    fn message_is_opened_once() {
        let (mut sealer, mut opener) = pair();
        let sealed = sealer.seal(b"offer");
        assert_eq!(opener.open(&sealed).as_deref(), Ok(&b"offer"[..]));
        assert_eq!(opener.open(&sealed), Err(OpenError::Replayed));
    }

    #[test]
    fn late_message_is_refused_after_a_newer_one() {
        let (mut sealer, mut opener) = pair();
        let first = sealer.seal(b"first");
        let second = sealer.seal(b"second");
        assert!(opener.open(&second).is_ok());
        assert_eq!(opener.open(&first), Err(OpenError::Replayed));
    }

    #[test]
    fn every_flipped_bit_is_refused_and_changes_nothing() {
        let (mut sealer, mut opener) = pair();
        let sealed = sealer.seal(b"candidate");
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let error = opener.open(&forged).expect_err("a flipped bit must not open");
            assert!(matches!(error, OpenError::Forged | OpenError::TooFarAhead), "bit {bit}: {error}");
        }
        assert!(opener.open(&sealed).is_ok());
    }

    #[test]
    fn key_changes_after_2_to_the_20_messages_and_both_ends_follow() {
        let (mut sealer, mut opener) = pair();
        sealer.skip_to((1 << 20) - 1);
        let before = sealer.seal(b"same");
        let after = sealer.seal(b"same");
        assert!(opener.open(&before).is_ok());
        assert_eq!(opener.epoch, 0);
        assert!(opener.open(&after).is_ok());
        assert_eq!(opener.epoch, 1);

        let mut without_rekey = Sealer::new(&[7; 32]);
        without_rekey.counter = 1 << 20;
        let (_, mut fresh) = pair();
        fresh.next = 1 << 19;
        assert_eq!(fresh.open(&without_rekey.seal(b"same")), Err(OpenError::Forged));
        assert_eq!(fresh.epoch, 0, "a forged message must not move the key");
    }

    #[test]
    fn messages_around_each_change_of_the_key_are_those_of_an_independent_implementation() {
        let vectors: serde_json::Value = serde_json::from_str(include_str!("../vectors/seal.json")).unwrap();
        let hex =
            |value: &serde_json::Value| data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap();
        let key = hex(&vectors["key"]).try_into().unwrap();
        let (mut sealer, mut opener) = (Sealer::new(&key), Opener::new(&key));
        for message in vectors["messages"].as_array().unwrap() {
            let (sealed, plaintext) = (hex(&message["sealed"]), hex(&message["plaintext"]));
            let opened = opener.open(&sealed);
            assert_eq!(opened.as_ref().err().map(OpenError::name), message["error"].as_str(), "{message}");
            if let Ok(opened) = opened {
                assert_eq!(opened, plaintext);
                sealer.skip_to(u64::from_be_bytes(sealed[..8].try_into().unwrap()));
                assert_eq!(sealer.seal(&plaintext), sealed);
            }
        }
    }

    #[test]
    fn counter_far_ahead_is_refused_without_work() {
        let (_, mut opener) = pair();
        let mut far = vec![0; SEAL_OVERHEAD];
        far[..8].copy_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(opener.open(&far), Err(OpenError::TooFarAhead));
        assert_eq!(opener.open(&[0; 23]), Err(OpenError::TooShort { len: 23 }));
    }
}

//! Who a device is: one static X25519 key, and its short fingerprint.

use std::fmt;

use curve25519_dalek::montgomery::MontgomeryPoint;
use data_encoding::BASE64URL_NOPAD;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::kdf;

/// This device's static key (X25519, RFC 7748). Nothing else identifies a device; there are no signatures (SAFETY D7).
#[derive(Clone)]
pub struct Identity {
    secret: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl Identity {
    /// Draws a new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *secret);
        Self::from_secret_bytes(secret)
    }

    /// The key that [`Identity::secret_bytes`] gave. Any 32 bytes are a key.
    #[must_use]
    pub fn from_secret_bytes(secret: Zeroizing<[u8; 32]>) -> Self {
        let public = PublicKey(MontgomeryPoint::mul_base_clamped(*secret).to_bytes());
        Self { secret, public }
    }

    /// What to store: in a file of mode 0600, or wrapped in IndexedDB (SAFETY §4 rule 7).
    #[must_use]
    pub fn secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.secret.clone()
    }

    /// What other devices pin.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    /// What a link carries.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.public.fingerprint()
    }
}

/// The public half of an [`Identity`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// `H("lanyard/1 id", key)[..16]`.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(kdf::derive_short("lanyard/1 id", &[&self.0]))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:.6}…)", BASE64URL_NOPAD.encode(&self.0))
    }
}

/// The first 16 bytes of the hash of a public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

/// Base64url without padding, 22 characters.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:.6}…)", BASE64URL_NOPAD.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_key_is_the_one_openssl_computes() {
        let secret: [u8; 32] = std::array::from_fn(|index| u8::try_from(index).unwrap());
        let public = Identity::from_secret_bytes(Zeroizing::new(secret)).public_key();
        let expected = "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f";
        assert_eq!(data_encoding::HEXLOWER.encode(&public.0), expected);
    }
}

//! All randomness of one pairing, drawn once from the caller and spread by purpose and attempt.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::kdf;

/// 32 random bytes of the caller and how many joiners were tried with them.
///
/// Every value a pairing needs is `H("lanyard/1 entropy <purpose>", seed ‖ attempt)`, with the attempt as a big-endian
/// `u32`. So no attempt sees the ephemeral key of another, and a fixed seed gives a fixed transcript in both languages.
pub(crate) struct Entropy {
    seed: Zeroizing<[u8; 32]>,
    attempt: u32,
}

impl Entropy {
    pub(crate) fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self { seed, attempt: 0 }
    }

    /// Goes on to values that were never used.
    pub(crate) fn next_attempt(&mut self) {
        // A link lives ten minutes, so 2³² joiners cannot come; if they did, no value may come twice.
        self.attempt = self.attempt.checked_add(1).unwrap_or_else(|| {
            self.seed = kdf::derive_secret("lanyard/1 entropy next", &[&*self.seed]);
            0
        });
    }

    pub(crate) fn noise_ephemeral(&self) -> Zeroizing<[u8; 32]> {
        self.fill("lanyard/1 entropy ephemeral")
    }

    /// Reduced modulo the group order by the receiver, little-endian.
    pub(crate) fn spake2_scalar(&self) -> Zeroizing<[u8; 64]> {
        self.fill("lanyard/1 entropy spake2")
    }

    pub(crate) fn picture_nonce(&self) -> Zeroizing<[u8; 32]> {
        self.fill("lanyard/1 entropy nonce")
    }

    /// For the two wrong rows and the place of the right one.
    pub(crate) fn picture_rows(&self) -> Zeroizing<[u8; 18]> {
        self.fill("lanyard/1 entropy rows")
    }

    fn fill<const N: usize>(&self, context: &'static str) -> Zeroizing<[u8; N]> {
        kdf::derive_long(context, &[&*self.seed, &self.attempt.to_be_bytes()])
    }
}

//! `Noise_XXpsk0_25519_ChaChaPoly_SHA256`, driven through `snow` (PA-8, PA-9).

use curve25519_dalek::montgomery::MontgomeryPoint;
use snow::{
    HandshakeState,
    params::{CipherChoice, DHChoice, HashChoice},
    resolvers::{CryptoResolver, DefaultResolver},
    types::{Cipher, Dh, Hash, Random},
};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{Identity, Method, PublicKey, Role};

const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_SHA256";
/// The longest Noise message inside a handshake message.
const MAX_NOISE_BYTES: usize = crate::MAX_MESSAGE_BYTES;

/// Why a Noise message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoiseError {
    /// A tag did not verify, or a part is missing.
    Decrypt,
    /// A Diffie-Hellman result was zero (RFC 7748 §6.1).
    WeakKey,
}

/// One handshake, from message 1 to the split.
pub(crate) struct Noise {
    state: HandshakeState,
    /// Own and received one-time public keys, in the order they crossed the wire.
    ephemerals: [Option<[u8; 32]>; 2],
}

/// What a finished handshake leaves.
pub(crate) struct Finished {
    /// Key of messages I → R, then of R → I. Nobody else can know them.
    pub(crate) split: (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>),
    /// `h`. Whoever sees the transcript of a nearby pairing and holds one of its keys knows it: it is no secret.
    pub(crate) hash: [u8; 32],
    pub(crate) peer_key: PublicKey,
}

impl Noise {
    /// `mailbox` is what both sides know of where they meet; it is last in the prologue, so nothing is ambiguous.
    pub(crate) fn new(
        role: Role,
        method: Method,
        mailbox: &[u8],
        psk: &[u8; 32],
        identity: &Identity,
        ephemeral: Zeroizing<[u8; 32]>,
    ) -> Self {
        let mut prologue = b"lanyard/1".to_vec();
        prologue.push(method.byte());
        prologue.extend_from_slice(mailbox);
        let secret = identity.secret_bytes();
        let build = || {
            let resolver = Box::new(Primitives { ephemeral });
            let builder = snow::Builder::with_resolver(PATTERN.parse()?, resolver)
                .local_private_key(&*secret)?
                .psk(0, psk)?
                .prologue(&prologue)?;
            match role {
                Role::Initiator => builder.build_initiator(),
                Role::Responder => builder.build_responder(),
            }
        };
        let state = build().expect("the pattern is fixed and has its one psk and its static key");
        Self { state, ephemerals: [None, None] }
    }

    pub(crate) fn write(&mut self, payload: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let mut message = vec![0; MAX_NOISE_BYTES];
        let len = self.state.write_message(payload, &mut message).map_err(NoiseError::from)?;
        message.truncate(len);
        self.note_ephemeral(&message);
        Ok(message)
    }

    pub(crate) fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let mut payload = vec![0; MAX_NOISE_BYTES];
        let len = self.state.read_message(message, &mut payload).map_err(NoiseError::from)?;
        payload.truncate(len);
        self.note_ephemeral(message);
        Ok(payload)
    }

    /// Whether the two one-time keys are known and the same.
    pub(crate) fn has_equal_ephemerals(&self) -> bool {
        matches!(self.ephemerals, [Some(first), Some(second)] if first == second)
    }

    pub(crate) fn peer_key(&self) -> Option<PublicKey> {
        self.state.get_remote_static().and_then(|key| key.try_into().ok()).map(PublicKey)
    }

    /// The keys, once all three messages are through.
    pub(crate) fn finish(mut self) -> Option<Finished> {
        if !self.state.is_handshake_finished() {
            return None;
        }
        let peer_key = self.peer_key()?;
        let hash = self.state.get_handshake_hash().try_into().ok()?;
        let (first, second) = self.state.dangerously_get_raw_split();
        Some(Finished { split: (Zeroizing::new(first), Zeroizing::new(second)), hash, peer_key })
    }

    /// Messages 1 and 2 begin with the one-time key of their sender.
    fn note_ephemeral(&mut self, message: &[u8]) {
        if let Some(slot) = self.ephemerals.iter_mut().find(|slot| slot.is_none()) {
            *slot = message.first_chunk().copied();
        }
    }
}

impl From<snow::Error> for NoiseError {
    fn from(error: snow::Error) -> Self {
        if error == snow::Error::Dh { Self::WeakKey } else { Self::Decrypt }
    }
}

/// Cipher and hash of `snow`; X25519 and randomness of our own, because `snow`'s neither refuses weak keys nor wipes
/// its secrets, and takes its randomness from the system.
struct Primitives {
    ephemeral: Zeroizing<[u8; 32]>,
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(OneKey(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::<X25519>::default() as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// Gives its 32 bytes once: a handshake draws exactly one one-time key.
struct OneKey(Option<Zeroizing<[u8; 32]>>);

impl Random for OneKey {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        let bytes = self.0.take().filter(|bytes| bytes.len() == dest.len()).ok_or(snow::Error::Rng)?;
        dest.copy_from_slice(&*bytes);
        Ok(())
    }
}

#[derive(Default, Zeroize, ZeroizeOnDrop)]
struct X25519 {
    secret: [u8; 32],
    public: [u8; 32],
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        self.secret.copy_from_slice(secret);
        self.public = MontgomeryPoint::mul_base_clamped(self.secret).to_bytes();
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *secret)?;
        self.set(&*secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &self.secret
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let point = public.first_chunk().copied().map(MontgomeryPoint).ok_or(snow::Error::Dh)?;
        let shared = Zeroizing::new(point.mul_clamped(self.secret).to_bytes());
        if bool::from(shared.ct_eq(&[0; 32])) {
            return Err(snow::Error::Dh);
        }
        out.get_mut(..32).ok_or(snow::Error::Dh)?.copy_from_slice(&*shared);
        Ok(())
    }
}

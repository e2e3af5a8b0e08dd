//! An attacker's own Noise, written from the specification: it can do what an honest side never would.

use chacha20poly1305::{
    ChaCha20Poly1305, Nonce,
    aead::{Aead, KeyInit, Payload},
};
use curve25519_dalek::montgomery::MontgomeryPoint;
use hmac::{Hmac, Mac};
use lanyard_pairing::{Identity, PictureRow, PublicKey, pictures};
use rand_chacha::rand_core::CryptoRng;
use sha2::{Digest, Sha256};

use super::{MAILBOX, profile_bytes};

const NEARBY: u8 = 3;

/// Noise §5.2.
#[derive(Clone)]
struct Symmetric {
    h: [u8; 32],
    ck: [u8; 32],
    key: [u8; 32],
    counter: u64,
}

impl Symmetric {
    /// Of a nearby pairing: everybody knows the prologue and the psk.
    fn nearby() -> Self {
        let h = Sha256::digest(b"Noise_XXpsk0_25519_ChaChaPoly_SHA256").into();
        let mut state = Self { h, ck: h, key: [0; 32], counter: 0 };
        state.mix_hash(&[&b"lanyard/1"[..], &[NEARBY], &MAILBOX.0].concat());
        let [ck, hash, key] = hkdf(&state.ck, &[0; 32]);
        state.ck = ck;
        state.mix_hash(&hash);
        state.set_key(key);
        state
    }

    fn set_key(&mut self, key: [u8; 32]) {
        self.key = key;
        self.counter = 0;
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.h = Sha256::digest([&self.h[..], data].concat()).into();
    }

    fn mix_key(&mut self, input: &[u8]) {
        let [ck, key, _] = hkdf(&self.ck, input);
        self.ck = ck;
        self.set_key(key);
    }

    fn ephemeral(&mut self, public: &[u8]) {
        self.mix_hash(public);
        self.mix_key(public);
    }

    fn encrypt(&mut self, msg: &[u8]) -> Vec<u8> {
        let sealed = cipher(&self.key).encrypt(&nonce(self.counter), Payload { msg, aad: &self.h }).unwrap();
        self.counter += 1;
        self.mix_hash(&sealed);
        sealed
    }

    fn decrypt(&mut self, msg: &[u8]) -> Vec<u8> {
        let opened = cipher(&self.key).decrypt(&nonce(self.counter), Payload { msg, aad: &self.h }).unwrap();
        self.counter += 1;
        self.mix_hash(msg);
        opened
    }
}

fn hkdf(ck: &[u8; 32], input: &[u8]) -> [[u8; 32]; 3] {
    let mac = |key: &[u8], data: &[u8]| -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap();
        mac.update(data);
        mac.finalize().into_bytes().into()
    };
    let key = mac(ck, input);
    let first = mac(&key, &[1]);
    let second = mac(&key, &[&first[..], &[2]].concat());
    let third = mac(&key, &[&second[..], &[3]].concat());
    [first, second, third]
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(key.into())
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

fn frame(step: u8, payload: &[u8]) -> Vec<u8> {
    [&[1, NEARBY, step], payload].concat()
}

/// Message 1 of a nearby pairing with any one-time key; it verifies.
pub fn nearby_m1_with_key(ephemeral: &[u8; 32]) -> Vec<u8> {
    let mut state = Symmetric::nearby();
    state.ephemeral(ephemeral);
    let tag = state.encrypt(&[]);
    frame(0x11, &[&ephemeral[..], &tag].concat())
}

/// Message 2 of a nearby pairing from a responder with any one-time key.
pub fn m2_with_key(m1: &[u8], ephemeral: &[u8; 32], identity: &Identity) -> Vec<u8> {
    let mut state = Symmetric::nearby();
    let re = MontgomeryPoint(m1[3..35].try_into().unwrap());
    state.ephemeral(re.as_bytes());
    state.decrypt(&m1[35..]);
    let public = MontgomeryPoint::mul_base_clamped(*ephemeral).to_bytes();
    state.ephemeral(&public);
    state.mix_key(re.mul_clamped(*ephemeral).as_bytes());
    let s = state.encrypt(&identity.public_key().0);
    state.mix_key(re.mul_clamped(*identity.secret_bytes()).as_bytes());
    let payload = state.encrypt(&profile_bytes());
    frame(0x12, &[&public[..], &s, &payload].concat())
}

/// The one-time secret key that a pairing with this random source uses first.
pub fn ephemeral_of(rng: &mut impl CryptoRng) -> [u8; 32] {
    let mut seed = [0; 36];
    rng.fill_bytes(&mut seed[..32]);
    blake3::derive_key("lanyard/1 entropy ephemeral", &seed)
}

/// An initiator of a nearby pairing that commits to and reveals what it likes.
pub struct Cheat {
    state: Symmetric,
    identity: [u8; 32],
    ephemeral: [u8; 32],
    sealed: u64,
}

impl Cheat {
    pub fn nearby(identity: &Identity) -> Self {
        Self { state: Symmetric::nearby(), identity: *identity.secret_bytes(), ephemeral: [0xee; 32], sealed: 0 }
    }

    pub fn m1(&mut self) -> Vec<u8> {
        let public = MontgomeryPoint::mul_base_clamped(self.ephemeral).to_bytes();
        self.state.ephemeral(&public);
        let tag = self.state.encrypt(&[]);
        frame(0x11, &[&public[..], &tag].concat())
    }

    pub fn m3(&mut self, m2: &[u8]) -> Vec<u8> {
        let (re, rest) = m2[3..].split_at(32);
        let re = MontgomeryPoint(re.try_into().unwrap());
        self.state.ephemeral(re.as_bytes());
        self.state.mix_key(re.mul_clamped(self.ephemeral).as_bytes());
        let rs = MontgomeryPoint(self.state.decrypt(&rest[..48]).try_into().unwrap());
        self.state.mix_key(rs.mul_clamped(self.ephemeral).as_bytes());
        self.state.decrypt(&rest[48..]);
        let s = self.state.encrypt(MontgomeryPoint::mul_base_clamped(self.identity).as_bytes());
        self.state.mix_key(re.mul_clamped(self.identity).as_bytes());
        let payload = self.state.encrypt(&profile_bytes());
        frame(0x13, &[s, payload].concat())
    }

    pub fn commit(&mut self, nonce: &[u8; 32]) -> Vec<u8> {
        let commitment = blake3::derive_key("lanyard/1 sas commit", nonce);
        self.seal(0x21, &commitment)
    }

    pub fn reveal(&mut self, nonce: &[u8; 32]) -> Vec<u8> {
        self.seal(0x23, nonce)
    }

    pub fn confirm(&mut self) -> Vec<u8> {
        self.seal(0x24, &[])
    }

    /// The pictures that an honest initiator with this nonce would show.
    pub fn pictures(&self, nonce_i: &[u8; 32], nonce_r_message: &[u8]) -> PictureRow {
        let [_, r_to_i, _] = hkdf(&self.state.ck, &[]);
        let nonce_r = cipher(&r_to_i).decrypt(&nonce(0), &nonce_r_message[11..]).unwrap();
        let sas = blake3::derive_key("lanyard/1 sas", &[&self.state.h[..], nonce_i, &nonce_r].concat());
        let bits = u32::from_be_bytes([0, sas[0], sas[1], sas[2]]);
        [18, 12, 6, 0].map(|shift| pictures().nth(((bits >> shift) & 63) as usize).unwrap())
    }

    /// A key of this session, as only somebody with the raw split can derive it.
    pub fn exported(&self, context: &str) -> [u8; 32] {
        export(context, &self.state.ck, &self.state.h)
    }

    fn seal(&mut self, step: u8, plaintext: &[u8]) -> Vec<u8> {
        let [i_to_r, _, _] = hkdf(&self.state.ck, &[]);
        let sealed = cipher(&i_to_r).encrypt(&nonce(self.sealed), plaintext).unwrap();
        let message = [&self.sealed.to_be_bytes()[..], &sealed].concat();
        self.sealed += 1;
        frame(step, &message)
    }
}

fn export(context: &str, ck: &[u8; 32], h: &[u8; 32]) -> [u8; 32] {
    let [first, second, _] = hkdf(ck, &[]);
    blake3::derive_key(context, &blake3::derive_key("lanyard/1 export", &[first, second, *h].concat()))
}

/// Everything of 32 bytes that somebody can compute who saw each message of a nearby pairing, knows both devices' public
/// keys, and takes each shared secret that it does not know for zero: the messages' parts, every state of the handshake
/// hash and chaining key, and all keys derived from those by the protocol's own rules.
pub fn watched_values(transcript: &[Vec<u8>], keys: [PublicKey; 2]) -> Vec<[u8; 32]> {
    let mut state = Symmetric::nearby();
    let mut states = vec![state.clone()];
    let message = |step: u8| &transcript.iter().find(|message| message[2] == step).unwrap()[3..];
    let (m1, m2, m3) = (message(0x11), message(0x12), message(0x13));
    let note = |state: &Symmetric, states: &mut Vec<Symmetric>| states.push(state.clone());
    state.ephemeral(&m1[..32]);
    note(&state, &mut states);
    state.decrypt(&m1[32..]);
    state.ephemeral(&m2[..32]);
    note(&state, &mut states);
    for part in [&m2[32..80], &m2[80..], &m3[..48], &m3[48..]] {
        // `h` needs no secret: it takes in ciphertexts. The chaining key would.
        state.mix_key(&[0; 32]);
        state.mix_hash(part);
        note(&state, &mut states);
    }
    let mut values: Vec<[u8; 32]> =
        transcript.iter().flat_map(|m| m.windows(32)).map(|w| w.try_into().unwrap()).collect();
    values.extend(keys.map(|key| key.0));
    let last = state.h;
    for state in &states {
        values.extend([state.h, state.ck, state.key]);
        values.extend(hkdf(&state.ck, &[]));
        for context in CONTEXTS {
            values.push(export(context, &state.ck, &last));
        }
    }
    let exported: Vec<_> = values.iter().map(|value| blake3::derive_key("lanyard/1 export", value)).collect();
    values.extend(exported);
    let derived: Vec<_> =
        values.iter().flat_map(|value| CONTEXTS.map(|context| blake3::derive_key(context, value))).collect();
    values.extend(derived);
    values
}

const CONTEXTS: [&str; 6] =
    ["lanyard/1 bind", "lanyard/1 pair", "lanyard/1 resume", "lanyard/1 lane", "lanyard/1 lane I", "lanyard/1 lane R"];

/// What R would send as `bind` with this key, for the session and certificates of the tests.
pub fn bind_with(key: &[u8; 32]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap();
    mac.update(b"R");
    mac.update(&[1; 16]);
    mac.update(&[2; 32]);
    mac.update(&[3; 32]);
    mac.finalize().into_bytes().into()
}

/// Whether this key opens a sealed message.
pub fn opens(key: &[u8; 32], sealed: &[u8]) -> bool {
    let counter = u64::from_be_bytes(sealed[..8].try_into().unwrap());
    cipher(key).decrypt(&nonce(counter), &sealed[8..]).is_ok()
}

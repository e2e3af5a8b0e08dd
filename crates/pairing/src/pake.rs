//! SPAKE2 over the words of a code (PA-5). R is side A, I is side B.
//!
//! The construction is that of crate `spake2` 0.4 and PyPI `spake2` 0.9 (edwards25519, SHA-256), which is older than
//! RFC 9382 and has another transcript. On top of the crate, an element must be canonical and in the prime-order group,
//! as the Python one demands.

use curve25519_dalek::{edwards::CompressedEdwardsY, traits::IsIdentity};
use rand_core_06::{CryptoRng, RngCore};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

use crate::{Code, Role};

/// Bytes of an element with the side in front, `A` or `B`.
pub(crate) const ELEMENT_BYTES: usize = 33;

/// One side of one exchange.
pub(crate) struct Pake {
    state: Spake2<Ed25519Group>,
    element: [u8; ELEMENT_BYTES],
}

/// The element is of the wrong length, side or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadElement;

impl Pake {
    pub(crate) fn new(role: Role, code: &Code, scalar: Zeroizing<[u8; 64]>) -> Self {
        let password = Password::new(code.password().as_bytes());
        let id_a = Identity::new(format!("lanyard/1 R {}", code.nameplate()).as_bytes());
        let id_b = Identity::new(format!("lanyard/1 I {}", code.nameplate()).as_bytes());
        let (state, element) = match role {
            Role::Responder => Spake2::start_a_with_rng(&password, &id_a, &id_b, OneScalar(scalar)),
            Role::Initiator => Spake2::start_b_with_rng(&password, &id_a, &id_b, OneScalar(scalar)),
        };
        let element = element.try_into().expect("an element of edwards25519 has 32 bytes and its side one");
        Self { state, element }
    }

    pub(crate) fn element(&self) -> &[u8; ELEMENT_BYTES] {
        &self.element
    }

    /// The psk. Equal on both sides if and only if words and nameplate are.
    pub(crate) fn finish(self, theirs: &[u8]) -> Result<Zeroizing<[u8; 32]>, BadElement> {
        let point = theirs.get(1..).and_then(|bytes| CompressedEdwardsY::from_slice(bytes).ok()).ok_or(BadElement)?;
        let element = point.decompress().ok_or(BadElement)?;
        // The only encodings that are not canonical are of the neutral element and of points with torsion.
        if element.is_identity() || !element.is_torsion_free() {
            return Err(BadElement);
        }
        let key = Zeroizing::new(self.state.finish(theirs).map_err(|_| BadElement)?);
        key.as_slice().try_into().map(Zeroizing::new).map_err(|_| BadElement)
    }
}

/// Gives `spake2` the one scalar it draws, 64 bytes that it reduces modulo the group order.
struct OneScalar(Zeroizing<[u8; 64]>);

impl CryptoRng for OneScalar {}

impl RngCore for OneScalar {
    fn next_u32(&mut self) -> u32 {
        rand_core_06::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core_06::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        // Crate `spake2` 0.4 asks exactly once, for 64 bytes; the vectors would show a change.
        for (to, from) in dest.iter_mut().zip(self.0.iter()) {
            *to = *from;
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../vectors/spake2.json")).unwrap()
    }

    fn hex(value: &Value) -> Vec<u8> {
        HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    fn side(role: Role, case: &Value, code: &str, scalar: &str) -> Pake {
        let scalar = hex(&case[scalar]).try_into().unwrap();
        Pake::new(role, &Code::parse(case[code].as_str().unwrap()).unwrap(), Zeroizing::new(scalar))
    }

    #[test]
    fn both_sides_agree_with_the_python_implementation() {
        for case in vectors()["exchanges"].as_array().unwrap() {
            let a = side(Role::Responder, case, "shown", "scalar_a");
            let b = side(Role::Initiator, case, "typed", "scalar_b");
            let (element_a, element_b) = (*a.element(), *b.element());
            assert_eq!(element_a[..], hex(&case["element_a"]));
            assert_eq!(element_b[..], hex(&case["element_b"]));
            assert_eq!(a.finish(&element_b).unwrap()[..], hex(&case["key_a"]));
            assert_eq!(b.finish(&element_a).unwrap()[..], hex(&case["key_b"]));
        }
    }

    #[test]
    fn elements_that_are_no_honest_side_b_are_refused() {
        let vectors = vectors();
        for refused in vectors["refused_from_b"].as_array().unwrap() {
            let a = side(Role::Responder, &vectors["exchanges"][0], "shown", "scalar_a");
            assert!(a.finish(&hex(&refused["element"])).is_err(), "{}", refused["why"]);
        }
    }
}

//! Proof of work for a claim while somebody guesses codes (SG-21).

use lanyard_protocol::{DeviceId, Nameplate};

/// Stamps are numbers that JSON and JavaScript hold exactly.
const MAX_STAMP: u64 = (1 << 53) - 1;

/// Whether `stamp` is worth `bits` of work for this claim on this socket.
#[must_use]
pub fn is_stamp(device: DeviceId, nameplate: &Nameplate, stamp: u64, bits: u8) -> bool {
    stamp <= MAX_STAMP && zero_bits(&key(device, nameplate), stamp) >= u32::from(bits)
}

/// Finds a stamp: about 2^`bits` hashes. `None` only when all numbers were tried.
#[must_use]
pub fn find_stamp(device: DeviceId, nameplate: &Nameplate, bits: u8) -> Option<u64> {
    let key = key(device, nameplate);
    (0..=MAX_STAMP).find(|stamp| zero_bits(&key, *stamp) >= u32::from(bits))
}

/// A stamp is good for one nameplate on one socket, so none can be made in advance or shared.
fn key(device: DeviceId, nameplate: &Nameplate) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("lanyard/1 stamp");
    hasher.update(&device.0).update(nameplate.as_str().as_bytes());
    *hasher.finalize().as_bytes()
}

fn zero_bits(key: &[u8; 32], stamp: u64) -> u32 {
    let mut input = [0; 40];
    input[..32].copy_from_slice(key);
    input[32..].copy_from_slice(&stamp.to_be_bytes());
    let hash = blake3::hash(&input);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_be_bytes(first).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plate(text: &str) -> Nameplate {
        Nameplate::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_stamp_is_good_for_its_socket_and_nameplate_only() {
        let device = DeviceId([7; 16]);
        let stamp = find_stamp(device, &plate("48210"), 12).unwrap();
        assert!(is_stamp(device, &plate("48210"), stamp, 12));
        assert!(!is_stamp(device, &plate("48211"), stamp, 12));
        assert!(!is_stamp(DeviceId([8; 16]), &plate("48210"), stamp, 12));
        assert!(!is_stamp(device, &plate("48210"), stamp + (1 << 53), 0), "a number that JavaScript does not hold");
    }

    /// The same two numbers stand in `docs/protocol/signaling.md` and in the page's tests.
    #[test]
    fn the_documented_stamp_is_the_first_one() {
        assert_eq!(find_stamp(DeviceId([7; 16]), &plate("48210"), 12), Some(DOCUMENTED));
    }

    const DOCUMENTED: u64 = 16_957;
}

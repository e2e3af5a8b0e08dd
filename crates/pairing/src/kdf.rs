//! `H`, the one hash of this protocol: BLAKE3 in derive-key mode, a context string for each purpose (PA-2).

use zeroize::Zeroizing;

/// `H(context, input)`, 32 bytes.
pub(crate) fn derive(context: &'static str, input: &[&[u8]]) -> [u8; 32] {
    let mut hasher = hasher(context, input);
    let hash = *hasher.finalize().as_bytes();
    zeroize::Zeroize::zeroize(&mut hasher);
    hash
}

/// `H(context, input)` of a value that must not be left behind in memory.
pub(crate) fn derive_secret(context: &'static str, input: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(derive(context, input))
}

/// The first `N` bytes (at most 32) of `H(context, input)`.
pub(crate) fn derive_short<const N: usize>(context: &'static str, input: &[&[u8]]) -> [u8; N] {
    const { assert!(N <= 32, "a longer output is drawn with `derive_long`") };
    let hash = derive(context, input);
    std::array::from_fn(|index| hash[index])
}

/// `N` bytes of `H(context, input)` in extendable-output mode; the first 32 are those of [`derive`].
pub(crate) fn derive_long<const N: usize>(context: &'static str, input: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let mut output = Zeroizing::new([0; N]);
    let mut hasher = hasher(context, input);
    hasher.finalize_xof().fill(&mut *output);
    zeroize::Zeroize::zeroize(&mut hasher);
    output
}

fn hasher(context: &'static str, input: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in input {
        hasher.update(part);
    }
    hasher
}

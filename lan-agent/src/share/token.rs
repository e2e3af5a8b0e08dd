//! The secret in a link.

use data_encoding::BASE64URL_NOPAD;

/// Bytes of a token: more than anybody can try.
const TOKEN_BYTES: usize = 16;

/// What a link is found by. Hashed, so that how long a look-up takes says nothing about the links there are.
pub(super) type TokenKey = [u8; 32];

/// A new token, as it stands in its link.
pub(super) fn draw() -> String {
    BASE64URL_NOPAD.encode(&rand::random::<[u8; TOKEN_BYTES]>())
}

/// The key of a token.
pub(super) fn key(token: &str) -> TokenKey {
    blake3::derive_key("lanyard/1 share token", token.as_bytes())
}

//! Piece hashes and file roots (TR-20, TR-21).

use lanyard_protocol::control::Hash;
use lanyard_protocol::frame::PIECE_BYTES;

/// Context of the key derivation that makes a file's root unlike any piece hash.
const FILE_CONTEXT: &str = "lanyard/1 file";

/// BLAKE3 of a piece's bytes.
#[must_use]
pub fn piece_hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

/// Root of a file: BLAKE3 in key-derivation mode over the size (u64, big-endian) and all piece hashes in order.
#[must_use]
pub fn file_root<'a>(size_bytes: u64, pieces: impl IntoIterator<Item = &'a Hash>) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(FILE_CONTEXT);
    hasher.update(&size_bytes.to_be_bytes());
    for hash in pieces {
        hasher.update(hash);
    }
    *hasher.finalize().as_bytes()
}

/// How many pieces a file of this size has; an empty one has none.
#[must_use]
pub fn piece_count(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(PIECE_BYTES)
}

/// Bytes of piece number `piece` of a file of this size; 0 past its end.
#[must_use]
pub fn piece_len(size_bytes: u64, piece: u64) -> u64 {
    size_bytes.saturating_sub(piece.saturating_mul(PIECE_BYTES)).min(PIECE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_piece_is_the_rest() {
        assert_eq!((piece_count(0), piece_count(1), piece_count(PIECE_BYTES)), (0, 1, 1));
        assert_eq!(piece_len(PIECE_BYTES + 5, 0), PIECE_BYTES);
        assert_eq!(piece_len(PIECE_BYTES + 5, 1), 5);
        assert_eq!(piece_len(PIECE_BYTES + 5, 2), 0);
        assert_eq!(piece_count((1 << 53) - 1), 1 << 33);
    }

    #[test]
    fn root_depends_on_size_and_order() {
        let (a, b) = ([1; 32], [2; 32]);
        assert_ne!(file_root(2, [&a, &b]), file_root(2, [&b, &a]));
        assert_ne!(file_root(2, [&a, &b]), file_root(3, [&a, &b]));
        assert_ne!(file_root(0, []), piece_hash(&[]));
    }
}

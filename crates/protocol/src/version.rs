//! Which versions of the protocol understand each other.

/// The version this build speaks. It changes only when an older build would misunderstand a newer one; new optional
/// fields and new message types that may be ignored do not change it.
pub const PROTOCOL_VERSION: u32 = 1;

/// The side that must be updated before the two can talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooOld {
    /// The other side speaks an older version than this build still understands.
    Them,
    /// The other side speaks a newer version than this build.
    Us,
}

/// Checks the version the other side named.
///
/// # Errors
/// Which side is too old, when the versions differ.
pub fn check_version(theirs: u32) -> Result<(), TooOld> {
    match theirs.cmp(&PROTOCOL_VERSION) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(TooOld::Them),
        std::cmp::Ordering::Greater => Err(TooOld::Us),
    }
}

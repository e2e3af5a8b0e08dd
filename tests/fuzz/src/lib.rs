//! Fuzz targets as plain functions: bytes in, and a panic when something that must hold does not.
//!
//! `cargo xtask fuzz` runs them under libFuzzer (the crate in `libfuzzer/`); `cargo test` replays the corpora in
//! `corpus/`, one folder for each target. A crash that is found is kept there as a file.

#![forbid(unsafe_code)]

mod pairing;
mod signaling;
mod transfer;
mod turn;

pub use pairing::{code, handshake, link, sealed_frame};
pub use signaling::{control_json, peer_json, signaling_json};
pub use transfer::{data_frame, journal, manifest, name};
pub use turn::{channel_data, stun, turn_session, turn_stream};

/// A target: takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 15] = [
    ("link", link),
    ("code", code),
    ("handshake", handshake),
    ("sealed_frame", sealed_frame),
    ("stun", stun),
    ("channel_data", channel_data),
    ("turn_stream", turn_stream),
    ("turn_session", turn_session),
    ("manifest", manifest),
    ("name", name),
    ("journal", journal),
    ("data_frame", data_frame),
    ("signaling_json", signaling_json),
    ("peer_json", peer_json),
    ("control_json", control_json),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// Reads numbers and pieces off the front of the input; an empty one gives zeros.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// At most so many bytes.
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A piece with its length in the byte before it.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        self.take(length)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }
}

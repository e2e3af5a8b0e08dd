//! What Lanyard's parts say to each other: types, limits and framing, and nothing that does anything.
//!
//! * [`signaling`]: client ↔ server over the WebSocket `/v1/ws`, JSON text.
//! * [`lane`]: what a client says first on the WebSocket `/v1/relay`, which then carries sealed bytes.
//! * [`peer`]: device ↔ device, sealed by `pairing` and carried as opaque bodies by the server.
//! * [`control`] and [`frame`]: device ↔ device on the open link, for transfers.
//!
//! The TypeScript types of the web app are generated from these (`cargo xtask bindings`), and both languages read the
//! same `vectors/`: messages that must be read, and messages that must be refused.

#![forbid(unsafe_code)]

pub mod control;
pub mod frame;
mod ids;
pub mod lane;
pub mod limits;
pub mod peer;
pub mod signaling;
mod version;

pub use ids::{DeviceId, IdError, LaneTicket, MailboxId, MemberNumber, Nameplate, SlotToken};
pub use version::{PROTOCOL_VERSION, TooOld, check_version};

/// Why a JSON message could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Longer than the limit of its kind; nothing of it was parsed.
    #[error("message of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes received.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not JSON, an unknown `type`, a missing field or a value out of range.
    #[error("message is not one this version knows: {0}")]
    Malformed(#[from] serde_json::Error),
}

//! A relay of ours in a hostile mode, between real clients.
//!
//! [`Middle`] stands in front of a real relay as a WebSocket (and page) proxy that understands the signaling protocol, so
//! it can do to the bodies, and to what the server says of itself, everything that a hostile server could. [`Tampering`]
//! says what it does in one meeting; [`meeting`] runs the two agent-side clients of it, code for code those of `lanyard`.

pub mod attacker;
pub mod hub;
pub mod meeting;
pub mod middle;
pub mod pages;
pub mod recorder;
pub mod run;
pub mod tampering;

pub use middle::Middle;
pub use recorder::Recorder;
pub use tampering::{Action, Tampering};

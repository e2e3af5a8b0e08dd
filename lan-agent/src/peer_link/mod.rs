//! One WebRTC connection to one other device: signals in, signals out, and two data channels.
//!
//! This is the only module that names a type of the WebRTC stack. Everything else of the agent sees [`PeerLink`], which
//! sends, [`LinkEvents`], which receives, and [`Signal`], which is what both sides exchange before they are connected.
//!
//! ```text
//! offerer: open ─► Signal(Offer) ─► … ─► handle_signal(Answer) ─┐
//! answerer: open ─► handle_signal(Offer) ─► Signal(Answer) ─────┴─► Open ─► Control / Data ─► Closed
//! ```
//!
//! Invariants:
//!
//! * `Open` comes before the first `Control` or `Data`, and `Closed` is the last event.
//! * Nothing grows without a bound: candidates, events, messages in both directions.
//! * A slow reader of [`LinkEvents`] slows the sender at the other end (SCTP's receive window closes).
//! * `Disconnected` and `Failed` end nothing: a locked phone comes back after minutes. Only `Closed` is final.
//! * After [`PeerLink::close`] returned, no task of the link is left.

mod certificate;
mod channel;
mod config;
mod error;
mod event;
mod follow_up;
mod handler;
mod ice_server;
mod interfaces;
mod keeper;
mod link;
mod negotiation;
mod route;
mod shared;
mod socket;
mod turn_bridge;

pub use certificate::CertificateSha256;
pub use config::{IceServer, Interfaces, LinkConfig, Pacing, Policy, ResolveName, Role};
pub use error::{OpenError, RestartError, SendError, SignalError};
pub use event::{CloseReason, LinkEvent, LinkEvents, LinkState};
pub use lanyard_protocol::peer::Signal;
pub use link::{LinkStats, PeerLink};
pub use route::{CandidateKind, Family, Route, RouteInfo};

//! `/v1/relay`: two WebSockets of one mailbox, joined; what one sends the other gets (LK-31 to LK-37).
//!
//! ```text
//! joined{lane: ticket} ─► ticket ‖ stream ─► seat ─┬─ the other side's seat, same stream ─► two pipes of 1 MiB
//!                                                  └─ nobody yet: waits, unread
//! ```
//!
//! Messages are sealed between the devices: here they have a length and nothing else. A side that is faster than the
//! other is read later, so nothing piles up beyond its pipe, and nothing is ever dropped.

mod bucket;
mod config;
mod pipe;
mod registry;
mod socket;

pub use config::LaneConfig;
pub(crate) use registry::Lanes;
pub(crate) use socket::upgrade;

//! The mailbox machine: who is in which mailbox, what is waiting for them, and who may ring whom.
//!
//! [`Server`] is the whole of it: a plain struct without sockets, clock or random source of its own. The shell (the
//! relay) gives every WebSocket a [`ConnectionId`] and then
//!
//! 1. calls [`Server::handle_connected`], [`Server::handle_message`], [`Server::handle_disconnected`] as things
//!    happen, and [`Server::handle_timeout`] when [`Server::poll_timeout`] is due;
//! 2. after each of them drains [`Server::poll_output`] and does what it says.
//!
//! Two answers need what only the shell knows: `welcome` the wall clock, `joined` the ICE servers with credentials.
//! They come out as [`Output::Welcome`] and [`Output::Joined`], and become messages by [`Welcome::at`] and
//! [`Joined::with_paths`].
//!
//! How fast one socket may talk is not decided here but in its reader, by a [`Pacer`]: a fast client is read more
//! slowly, so that nothing it said is lost, and closed only when it never stops.
//!
//! Everything is bounded by [`Limits`]. What is refused is answered with an `error` message; rules are numbered
//! `SG-n` in `docs/protocol/signaling.md`. Left out on purpose: rooms with more than two members, persistence,
//! everything about the content of bodies.

#![forbid(unsafe_code)]

mod connection;
mod deadlines;
mod limits;
mod mailbox;
mod nameplate;
mod nearby;
mod output;
mod rate;
mod server;
mod source;
mod stamp;

pub use connection::{ConnectionId, Origin};
pub use limits::Limits;
pub use nearby::{CallId, Fronted};
pub use output::{CloseReason, Joined, Output, Welcome};
pub use rate::{Pace, Pacer, Rate};
pub use server::{AdmitError, Counters, Occupancy, Server, Violation};
pub use source::SourceKey;
pub use stamp::{find_stamp, is_stamp};

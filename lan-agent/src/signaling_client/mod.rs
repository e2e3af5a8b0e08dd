//! A client of a signaling server's `/v1/ws`: of this agent's own server over loopback, and of others' servers.
//!
//! One socket holds many mailboxes. When it drops, it is opened again with growing pauses, and each mailbox returns to
//! its slot, so that those who hold a [`Mailbox`] notice at most a delay.

mod backoff;
mod client;
mod driver;
mod mailbox;
mod url;

pub use client::{ServerClock, ServerStatus, SignalingClient, SignalingError};
pub use mailbox::{LaneDoor, Mailbox, MailboxEvent, MailboxSender};
pub use url::{ServerUrl, ServerUrlError};

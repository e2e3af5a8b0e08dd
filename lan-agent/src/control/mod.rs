//! How a command reaches the agent that is already running: a unix socket of this user, JSON lines, no network.

mod client;
mod message;
mod server;

pub use client::{ControlClient, ControlError};
pub use message::{Devices, RememberedDevice, Reply, Request, Status, Target, Transfers, Waiting};
pub use server::{ControlConnection, ControlListener, ListenError, Replies, Requests};

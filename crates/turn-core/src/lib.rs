//! STUN and TURN server machine (RFC 8489, RFC 8656, RFC 5780).
//!
//! A [`Server`] is a plain struct that never touches a socket, a clock or a random source. Datagrams and time come in
//! through `handle_*`, work for the shell comes out of [`Server::poll_command`]:
//!
//! ```
//! use std::time::Instant;
//! use lanyard_turn_core::{Command, Config, FiveTuple, Server, Transport};
//!
//! let now = Instant::now();
//! let mut server = Server::new(Config::default(), [7; 32], now);
//! let tuple = FiveTuple {
//!     transport: Transport::Udp,
//!     client: "192.0.2.1:32853".parse()?,
//!     server: "198.51.100.1:3478".parse()?,
//! };
//! let binding_request = *b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";
//! assert_eq!(server.handle_client_datagram(now, tuple, &binding_request), None);
//! while let Some(command) = server.poll_command() {
//!     match command {
//!         Command::SendToClient { tuple, message } => println!("{} bytes to {}", message.len(), tuple.client),
//!         Command::OpenRelaySocket { .. } | Command::CloseRelaySocket { .. } => {}
//!     }
//! }
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]
#![expect(dead_code, reason = "relay sockets come with allocations")]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

mod channel_data;
mod command;
mod config;
mod five_tuple;
mod metrics;
mod outbox;
mod reply_budget;
mod server;
pub mod stun;

pub use channel_data::{CHANNEL_HEADER_BYTES, ChannelData, ChannelDataError, ChannelNumber};
pub use command::{Command, Forward, ForwardHeader, ForwardToClient, ForwardToPeer, PortRequest, RelayId};
pub use config::{Config, Discovery};
pub use five_tuple::{FiveTuple, Transport};
pub use metrics::Metrics;
pub use server::Server;

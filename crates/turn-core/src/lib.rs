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
//!
//! # What a shell does
//!
//! | when | it calls |
//! |---|---|
//! | a datagram, or a [frame](first_frame) of a stream, comes from a client | [`Server::handle_client_datagram`], and sends the [`Forward`] it may get |
//! | a datagram arrives at a relay socket | [`Server::handle_peer_datagram`], and sends the [`ForwardToClient`] it may get |
//! | an ICMP error comes back to a relay socket | [`Server::handle_peer_icmp`] |
//! | [`Command::OpenRelaySocket`] was carried out, or failed | [`Server::relay_socket_opened`] |
//! | a stream ended | [`Server::handle_client_disconnected`] |
//! | the time of [`Server::poll_timeout`] has come | [`Server::handle_timeout`] |
//! | someone joins, is seen elsewhere, or leaves a room | [`Server::set_member`], [`Server::remove_member`] |
//! | the configuration is loaded again | [`Server::set_peer_policy`], [`Server::set_secrets`] and their like |
//!
//! and drains [`Server::poll_command`] after each. ChannelData, Send and Data pass without allocation, copy or log; a
//! request from a stranger leaves nothing behind but a count in a table of fixed size.
//!
//! # What is left out
//!
//! - TCP towards peers (RFC 6062), on purpose: it lets clients open connections from this host into its network. No
//!   browser uses it.
//! - Messages of RFC 3489, without the magic cookie.
//! - Mobility (RFC 8016), whose attribute may be ignored and is, and third-party authorization (RFC 7635).
//! - DTLS, which belongs to a shell.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

mod account;
mod address_scope;
mod allocation;
mod byte_bucket;
mod channel_data;
mod command;
mod config;
mod credential;
mod deadlines;
mod five_tuple;
mod keyed_map;
mod ledger;
mod metrics;
mod nonce;
mod outbox;
mod peer_policy;
mod relay_socket;
mod reply_budget;
mod reservation;
mod room;
mod server;
mod slab;
mod source_quota;
mod stream;
pub mod stun;

pub use address_scope::AddressScope;
pub use byte_bucket::Bandwidth;
pub use channel_data::{CHANNEL_HEADER_BYTES, ChannelData, ChannelDataError, ChannelNumber};
pub use command::{Command, Forward, ForwardHeader, ForwardToClient, ForwardToPeer, PortRequest, RelayId};
pub use config::{Config, ConfigError, Discovery, Limits, RelayAddress};
pub use credential::{MAX_SHARED_SECRETS, MintedCredential, SharedSecret, StaticUser};
pub use five_tuple::{FiveTuple, Transport};
pub use ledger::Ledger;
pub use metrics::{Metrics, Traffic};
pub use peer_policy::PeerPolicy;
pub use room::{MemberId, RoomId, RoomMember};
pub use server::{Admission, AlternateServer, Icmp, IcmpFamily, RelaySocketUnavailable, Server};
pub use stream::{Frame, MAX_FRAME_BYTES, StreamError, StreamFramer, first_frame, is_first_byte_of_turn};

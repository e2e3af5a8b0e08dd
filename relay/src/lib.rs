//! Self-hosted STUN, signaling and web app in one process, as a library.
//!
//! `lanyard-relay` is this with a command line; the agent embeds it for its own network:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lanyard_relay::{AGENT_TOKEN_HEADER, Config, Relay};
//!
//! let mut config = Config::default();
//! config.http.listen = vec!["[::]:53380".parse()?];
//! config.http.port_tries = 20;
//! config.http.hosts = vec!["attic.local".to_owned()];
//! config.stun.port_tries = 20;
//! let mut relay = Relay::start(config).await?;
//!
//! // The agent is a client of its own relay. This header, on a connection over loopback, exempts it from limits per
//! // address and lists it as `this_agent` when it announces itself.
//! let url = format!("ws://127.0.0.1:{}/v1/ws", relay.http_addresses()[0].port());
//! let header = (AGENT_TOKEN_HEADER, relay.agent_token().as_str());
//! # let _ = (url, header);
//!
//! // Other agents that it sees by mDNS are listed to its pages; who dials one comes out here.
//! relay.set_fronted(vec![]).await;
//! while let Some(call) = relay.next_fronted_call().await {
//!     println!("somebody dials {}", call.key);
//! }
//! relay.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! Inside: one loop owns the signaling machine (`switchboard`), each WebSocket has a reader, a writer and a bounded
//! queue between (`ws`, `out_queue`), HTTP stands behind one set of checks (`http::guard`), and `turn` answers STUN
//! through `lanyard-turn-core`. `lane` joins two WebSockets where nothing else gets through. The relay can read nothing that devices say to each other: it depends on neither
//! `lanyard-pairing` nor `lanyard-transfer`.

#![deny(unsafe_code)]

mod acme;
mod agent_token;
mod certificate;
pub mod config;
pub mod credentials;
pub mod doctor;
mod http;
mod ice;
mod lane;
mod listener;
mod metrics;
mod out_queue;
mod outbound;
pub mod qr;
mod relay;
mod switchboard;
mod tls;
mod turn;
mod ws;

pub use agent_token::{AGENT_TOKEN_HEADER, AgentToken};
pub use config::{Config, ConfigError};
pub use http::{ClientIp, Page};
pub use lanyard_signaling::Fronted;
pub use relay::{Relay, RelayHandle, StartError};
pub use switchboard::FrontedCall;
pub use tls::IdentityError;
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub use turn::ManySources;

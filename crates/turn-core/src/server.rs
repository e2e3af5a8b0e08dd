//! The machine: bytes and time in, commands out.

mod answer;
mod binding;

use std::net::SocketAddr;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::command::{Command, Forward, ForwardToClient, RelayId};
use crate::config::Config;
use crate::five_tuple::FiveTuple;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::reply_budget::ReplyBudget;
use crate::stun::{Class, Message, Method};

/// A STUN and TURN server without sockets, clock or threads.
///
/// Every `handle_*` may leave commands: drain [`poll_command`](Self::poll_command) after each. Call
/// [`handle_timeout`](Self::handle_timeout) when the time that [`poll_timeout`](Self::poll_timeout) names has come.
#[derive(Debug)]
pub struct Server {
    config: Config,
    outbox: Outbox,
    reply_budget: ReplyBudget,
    metrics: Metrics,
}

impl Server {
    /// A server without allocations. All randomness derives from `seed`.
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        Self {
            config,
            outbox: Outbox::new(),
            reply_budget: ReplyBudget::new(now, rng.next_u64()),
            metrics: Metrics::default(),
        }
    }

    /// Takes one datagram, or one whole message of a stream, from a client. `Some` is the fast path: pass the
    /// payload on as it is, without a copy.
    pub fn handle_client_datagram<'a>(
        &mut self,
        now: Instant,
        tuple: FiveTuple,
        datagram: &'a [u8],
    ) -> Option<Forward<'a>> {
        match datagram.first() {
            Some(0x00..=0x3f) => self.handle_message(now, tuple, datagram),
            _ => {
                self.metrics.malformed += 1;
                None
            }
        }
    }

    /// Takes one datagram that arrived at a relay socket. `Some` is to be sent to the client as it is.
    pub fn handle_peer_datagram<'a>(
        &mut self,
        _now: Instant,
        _relay: RelayId,
        _peer: SocketAddr,
        _payload: &'a [u8],
    ) -> Option<ForwardToClient<'a>> {
        None
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next thing the shell must do.
    pub fn poll_command(&mut self) -> Option<Command<'_>> {
        self.outbox.pop()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, if at all.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// What happened so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn handle_message<'a>(&mut self, now: Instant, tuple: FiveTuple, datagram: &'a [u8]) -> Option<Forward<'a>> {
        let Ok(message) = Message::decode(datagram) else {
            self.metrics.malformed += 1;
            return None;
        };
        match (message.class(), message.method()) {
            (Class::Request, Method::BINDING) => self.handle_binding(now, tuple, &message),
            // Other methods are not known, and responses were not asked for: both are dropped (RFC 8489 §6.3).
            _ => self.metrics.malformed += 1,
        }
        None
    }
}

//! The machine: bytes and time in, commands out.

mod allocate;
mod answer;
mod authenticate;
mod binding;
mod channel;
mod lifecycle;
mod peers;
mod permission;
mod refresh;
mod relay;
mod reload;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::account::Accounts;
use crate::allocation::Allocation;
use crate::byte_bucket::Rate;
use crate::command::{Command, Forward, RelayId};
use crate::config::Config;
use crate::credential::Credentials;
use crate::deadlines::{Deadline, Deadlines};
use crate::five_tuple::FiveTuple;
use crate::keyed_map::KeyedMap;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::nonce::NonceKeys;
use crate::outbox::Outbox;
use crate::relay_socket::{RelaySocket, names};
use crate::reply_budget::ReplyBudget;
use crate::reservation::{Reservation, ReservationToken};
use crate::room::Rooms;
use crate::slab::{Key, Slab};
use crate::stun::{AttributeKind, Class, Message, Method};

use answer::UnknownAttributes;
pub use lifecycle::RelaySocketUnavailable;
pub use relay::{Icmp, IcmpFamily};
pub use reload::{Admission, AlternateServer};

/// Addresses this server once relayed at; still not to be reached as plain peers.
const MAX_RETIRED_ADDRESSES: usize = 16;

/// A STUN and TURN server without sockets, clock or threads.
///
/// Every call that takes `&mut self` may leave commands: drain [`poll_command`](Self::poll_command) after each. Call
/// [`handle_timeout`](Self::handle_timeout) when the time that [`poll_timeout`](Self::poll_timeout) names has come.
///
/// Several workers may each own a server that serves part of the clients: give them the same configuration and one
/// [`Ledger`], and tell each of them of all members of rooms. All requests from one IP address must come to one of them.
#[derive(Debug)]
pub struct Server {
    config: Config,
    credentials: Credentials,
    admission: Admission,
    /// A moment, and what time it was then, since 1970.
    wall_clock: Option<(Instant, Duration)>,
    rng: ChaCha12Rng,
    nonces: NonceKeys,
    reply_budget: ReplyBudget,

    rooms: Rooms,
    accounts: Accounts,
    ledger: Ledger,
    /// Of the limits' bandwidth.
    rate: Option<Rate>,

    allocations: Slab<Allocation>,
    allocation_of: KeyedMap<FiveTuple, Key>,
    relays: Slab<RelaySocket>,
    /// Open relay sockets by all their names.
    relay_named: KeyedMap<SocketAddr, RelayId>,
    /// Every address relay sockets have had.
    relay_ips: Vec<IpAddr>,
    reservations: KeyedMap<ReservationToken, Reservation>,
    deadlines: Deadlines,

    outbox: Outbox,
    metrics: Metrics,
    indications_sent: u64,
}

impl Server {
    /// A server without allocations. All randomness derives from `seed`, which must be random and secret.
    ///
    /// Time-limited credentials count as expired until [`set_wall_clock`](Self::set_wall_clock) has been called.
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let ledger = Ledger::of_one(rng.next_u64(), now);
        Self::with_rng(config, rng, now, ledger)
    }

    /// The same for one of several servers: `ledger` is common to them, `seed` is not.
    pub fn with_ledger(config: Config, seed: [u8; 32], now: Instant, ledger: Ledger) -> Self {
        Self::with_rng(config, ChaCha12Rng::from_seed(seed), now, ledger)
    }

    fn with_rng(config: Config, mut rng: ChaCha12Rng, now: Instant, ledger: Ledger) -> Self {
        let mut credentials = Credentials::new(&config.realm, rng.next_u64());
        credentials.set_secrets(config.secrets.clone());
        credentials.set_users(config.users.clone());
        Self {
            credentials,
            admission: Admission::Open,
            wall_clock: None,
            nonces: NonceKeys::new(now, &mut rng),
            reply_budget: ReplyBudget::new(now, rng.next_u64()),
            rooms: Rooms::new(rng.next_u64()),
            accounts: Accounts::new(rng.next_u64()),
            ledger,
            rate: config.limits.bandwidth.map(Rate::new),
            allocations: Slab::new(),
            allocation_of: KeyedMap::new(rng.next_u64()),
            relays: Slab::new(),
            relay_named: KeyedMap::new(rng.next_u64()),
            relay_ips: config.relay_addresses.iter().copied().flat_map(names).collect(),
            reservations: KeyedMap::new(rng.next_u64()),
            deadlines: Deadlines::new(),
            outbox: Outbox::new(),
            metrics: Metrics::default(),
            indications_sent: rng.next_u64(),
            rng,
            config,
        }
    }

    /// Says what time it is for credentials: `since_1970` at `now`. Everything else runs on `now` alone, so a clock
    /// that jumps disturbs no allocation.
    pub fn set_wall_clock(&mut self, now: Instant, since_1970: Duration) {
        self.wall_clock = Some((now, since_1970));
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
            Some(0x40..=0x7f) => self.handle_channel_data(now, &tuple, datagram),
            Some(0x00..=0x3f) => self.handle_message(now, tuple, datagram),
            _ => {
                self.metrics.malformed += 1;
                None
            }
        }
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(deadline) = self.deadlines.pop_due(now) {
            match deadline {
                Deadline::Allocation(key) => self.expire_allocation(now, key),
                Deadline::Reservation(token) => self.expire_reservation(token),
            }
        }
    }

    /// The next thing the shell must do.
    pub fn poll_command(&mut self) -> Option<Command<'_>> {
        self.outbox.pop()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, if at all. A field: cheap to ask every time.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first()
    }

    /// What happened so far.
    pub fn metrics(&self) -> Metrics {
        Metrics { allocations: self.allocations.len() as u64, ..self.metrics }
    }

    fn handle_message<'a>(&mut self, now: Instant, tuple: FiveTuple, datagram: &'a [u8]) -> Option<Forward<'a>> {
        let Ok(message) = Message::decode_as_far_as_it_goes(datagram) else {
            self.metrics.malformed += 1;
            return None;
        };
        match (message.class(), message.method()) {
            // Also one whose attributes break off. Before its integrity it has no credentials, and is told so instead of
            // being left without an answer; after it, what breaks off does not count (RFC 8489 §14.5).
            (
                Class::Request,
                method @ (Method::ALLOCATE | Method::REFRESH | Method::CREATE_PERMISSION | Method::CHANNEL_BIND),
            ) => self.handle_turn_request(now, tuple, &message, method),
            _ if !message.is_whole() => self.metrics.malformed += 1,
            (Class::Indication, Method::SEND) => return self.handle_send(now, &tuple, &message),
            // Keeps a NAT's mapping alive and wants no answer (RFC 8489 §3).
            (Class::Indication, Method::BINDING) => {}
            (Class::Request, Method::BINDING) => self.handle_binding(now, tuple, &message),
            // Methods that are not known, and responses that were not asked for, are dropped (RFC 8489 §6.3). So are
            // those of RFC 6062, which lets clients open TCP connections from here: left out on purpose.
            _ => self.metrics.malformed += 1,
        }
        None
    }

    fn handle_turn_request(&mut self, now: Instant, tuple: FiveTuple, request: &Message<'_>, method: Method) {
        let Some(sender) = self.authenticate(now, tuple, request) else { return };
        let dont_fragment = if self.config.dont_fragment { [AttributeKind::DONT_FRAGMENT].as_slice() } else { &[] };
        let unknown = UnknownAttributes::of(request, &[KNOWN_IN_TURN, dont_fragment]);
        if !unknown.is_empty() {
            self.reject_unknown(tuple, request, &sender, &unknown);
            return;
        }
        let outcome = match method {
            Method::ALLOCATE => self.handle_allocate(now, tuple, request, &sender),
            Method::REFRESH => self.handle_refresh(now, tuple, request, &sender),
            Method::CREATE_PERMISSION => self.handle_create_permission(now, tuple, request, &sender),
            _ => self.handle_channel_bind(now, tuple, request, &sender),
        };
        if let Err(code) = outcome {
            self.reject(tuple, request, &sender, code);
        }
    }
}

/// What a TURN request may carry, besides DONT-FRAGMENT. What makes no sense in a method is ignored there.
const KNOWN_IN_TURN: &[AttributeKind] = &[
    AttributeKind::USERNAME,
    AttributeKind::USERHASH,
    AttributeKind::REALM,
    AttributeKind::NONCE,
    AttributeKind::PASSWORD_ALGORITHM,
    AttributeKind::CHANNEL_NUMBER,
    AttributeKind::LIFETIME,
    AttributeKind::XOR_PEER_ADDRESS,
    AttributeKind::DATA,
    AttributeKind::REQUESTED_ADDRESS_FAMILY,
    AttributeKind::EVEN_PORT,
    AttributeKind::REQUESTED_TRANSPORT,
    AttributeKind::RESERVATION_TOKEN,
];

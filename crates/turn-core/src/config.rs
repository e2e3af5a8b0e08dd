//! What a server is told at the start; most of it can be changed later.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::byte_bucket::Bandwidth;
use crate::credential::{SharedSecret, StaticUser};
use crate::peer_policy::PeerPolicy;

/// Settings of a [`Server`](crate::Server).
#[derive(Debug, Clone)]
pub struct Config {
    /// The realm of all credentials (RFC 8489 §9.2). See [`Config::check`] for its length.
    pub realm: String,
    /// Secrets that mint time-limited credentials, at most [`MAX_SHARED_SECRETS`](crate::MAX_SHARED_SECRETS).
    pub secrets: Vec<SharedSecret>,
    /// Users with passwords of their own.
    pub users: Vec<StaticUser>,
    /// Where relay sockets are bound; the first of a family serves it, unless one is the address the client came to.
    pub relay_addresses: Vec<RelayAddress>,
    /// All addresses of this host, as others see them: never peers, except at relayed addresses.
    pub own_addresses: Vec<IpAddr>,
    /// Whom clients may exchange packets with.
    pub peer_policy: PeerPolicy,
    /// How much of everything.
    pub limits: Limits,
    /// Whether the shell can set DF on a packet for a peer; without, DONT-FRAGMENT is an unknown attribute
    /// (RFC 8656 §7.2).
    pub dont_fragment: bool,
    /// The two addresses of a server that helps to classify NATs (RFC 5780 §6); `None` without a second address.
    pub discovery: Option<Discovery>,
}

impl Default for Config {
    /// Answers Binding, and refuses all else: there is no credential and no relay address.
    fn default() -> Self {
        Self {
            realm: "lanyard".to_owned(),
            secrets: Vec::new(),
            users: Vec::new(),
            relay_addresses: Vec::new(),
            own_addresses: Vec::new(),
            peer_policy: PeerPolicy::Room,
            limits: Limits::default(),
            dont_fragment: false,
            discovery: None,
        }
    }
}

/// Bytes of a realm with which a first refusal still weighs at most 2.2 times the lightest Allocate request.
const MAX_REALM_BYTES: usize = 40;

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Empty, or too long for a light refusal.
    #[error("the realm must have 1 to {MAX_REALM_BYTES} bytes, not {len}")]
    RealmLength {
        /// Bytes given.
        len: usize,
    },
    /// Bound in one family and advertised in another.
    #[error("relay address {bind} cannot be advertised as {advertised}: another family")]
    RelayFamily {
        /// The local address.
        bind: IpAddr,
        /// The advertised address.
        advertised: IpAddr,
    },
    /// Peers cannot send to "any address".
    #[error("relay address {bind} needs an advertised address")]
    RelayUnspecified {
        /// The local address.
        bind: IpAddr,
    },
    /// A secret this short can be guessed from one credential.
    #[error("a shared secret must have at least {min} bytes")]
    SecretTooShort {
        /// The least.
        min: usize,
    },
}

impl Config {
    /// Bytes of a shared secret at least.
    pub const MIN_SECRET_BYTES: usize = 8;

    /// Looks for mistakes that would only show later.
    ///
    /// # Errors
    ///
    /// The first mistake found.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.realm.is_empty() || self.realm.len() > MAX_REALM_BYTES {
            return Err(ConfigError::RealmLength { len: self.realm.len() });
        }
        for RelayAddress { bind, advertised } in &self.relay_addresses {
            if bind.is_ipv4() != advertised.is_ipv4() {
                return Err(ConfigError::RelayFamily { bind: *bind, advertised: *advertised });
            }
            if advertised.is_unspecified() {
                return Err(ConfigError::RelayUnspecified { bind: *bind });
            }
        }
        if self.secrets.iter().any(|secret| secret.len() < Self::MIN_SECRET_BYTES) {
            return Err(ConfigError::SecretTooShort { min: Self::MIN_SECRET_BYTES });
        }
        Ok(())
    }
}

/// Where relay sockets live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayAddress {
    /// The local address to bind to.
    pub bind: IpAddr,
    /// The address peers send to: the same, unless a NAT stands before this host and keeps ports.
    pub advertised: IpAddr,
}

impl RelayAddress {
    /// An address that peers see as it is.
    pub const fn direct(address: IpAddr) -> Self {
        Self { bind: address, advertised: address }
    }
}

/// How much of everything. The defaults are those of the internet profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Allocations in all; 508 beyond.
    pub allocations: u32,
    /// Allocations of one credential; 486 beyond. In a room: for each other member.
    pub allocations_per_credential: u32,
    /// Allocations from one IPv4 address or IPv6 /64; 486 beyond.
    pub allocations_per_source: u32,
    /// Allocations from one IPv4 /24 or IPv6 /48; 486 beyond.
    pub allocations_per_network: u32,
    /// Permissions of one allocation; 508 beyond.
    pub permissions: usize,
    /// Channels of one allocation; 508 beyond.
    pub channels: usize,
    /// The longest lifetime between refreshes. Not under the ten minutes that are given anyway (RFC 8656 §7.2).
    pub lifetime: Duration,
    /// How old an allocation may become, however often it is refreshed. `None`: as old as its credential allows.
    pub age: Option<Duration>,
    /// How long allocations may be kept with a time-limited credential after it ran out. A member of a room may keep
    /// them until it leaves: browsers cannot change the credential of an allocation that carries a transfer.
    pub expired_credential_grace: Duration,
    /// Payload per credential, both directions together. `None`: unlimited.
    pub bandwidth: Option<Bandwidth>,
    /// Payload of the whole server per day. `None`: unlimited.
    pub daily_egress_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allocations: 10_000,
            allocations_per_credential: 16,
            allocations_per_source: 128,
            allocations_per_network: 1_024,
            permissions: 16,
            channels: 16,
            lifetime: Duration::from_secs(600),
            age: None,
            expired_credential_grace: Duration::from_secs(60 * 60),
            bandwidth: Some(Bandwidth { bytes_per_second: 12_500_000, burst_bytes: 12_500_000 }),
            daily_egress_bytes: None,
        }
    }
}

/// Two addresses and two ports, listened on in all four combinations (RFC 5780 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovery {
    /// First address and first port.
    pub primary: SocketAddr,
    /// Second address and second port. Both differ from the first; the family is the same.
    pub alternate: SocketAddr,
}

impl Discovery {
    /// The listener that differs from `from` in what is asked for; `None` when `from` is none of the four.
    pub(crate) fn listener(&self, from: SocketAddr, change_ip: bool, change_port: bool) -> Option<SocketAddr> {
        let ips = [self.primary.ip(), self.alternate.ip()];
        let ports = [self.primary.port(), self.alternate.port()];
        let ip = other_of(ips, from.ip(), change_ip)?;
        let port = other_of(ports, from.port(), change_port)?;
        Some(SocketAddr::new(ip, port))
    }
}

/// `value` itself, or the other of the pair; `None` when it is not of the pair.
fn other_of<T: Copy + PartialEq>([first, second]: [T; 2], value: T, change: bool) -> Option<T> {
    if value == first {
        Some(if change { second } else { first })
    } else if value == second {
        Some(if change { first } else { second })
    } else {
        None
    }
}

//! What an operator may set for TURN.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use lanyard_turn_core as core;
use serde::Deserialize;

use crate::config::ConfigError;

/// TURN. Clients reach it at the STUN port over UDP and TCP, over TLS at `tls_listen`, and at all addresses of page and
/// signaling, where the first bytes of a connection tell TURN from HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TurnConfig {
    /// Whether to relay at all. Without, STUN only.
    pub enabled: bool,
    /// Whether clients may come over TCP at the STUN port.
    pub tcp: bool,
    /// Addresses for TURN over TLS, when there is a certificate. Other applications expect 5349.
    pub tls_listen: Vec<SocketAddr>,
    /// Whom clients may exchange packets with.
    pub peer_policy: PeerPolicy,
    /// Addresses under which others see this host, where a NAT that keeps ports stands before it: one of a family.
    pub external_addresses: Vec<IpAddr>,
    /// A STUN server elsewhere, as `host:port`, to ask for that address instead: for hosts whose public address changes.
    pub stun_server: Option<String>,
    /// How often to ask it, in seconds: 1 to 3600.
    pub stun_server_seconds: u64,
    /// Addresses to relay at; empty for those of all interfaces, or the one that STUN listens at.
    pub relay_addresses: Vec<IpAddr>,
    /// The lowest and the highest port to relay at.
    pub relay_ports: (u16, u16),
    /// The realm of all credentials: 1 to 40 bytes.
    pub realm: String,
    /// Secrets that other applications mint time-limited credentials with, the newest first: 8 bytes or more each, at
    /// most 7 of them. Lanyard's own credentials need none here.
    pub secrets: Vec<Secret>,
    /// Users of other applications.
    pub users: Vec<TurnUser>,
    /// Allocations in all.
    pub allocations: u32,
    /// Allocations of one user, and of one device for each other device it connects to.
    pub allocations_per_user: u32,
    /// Allocations from one IPv4 address or IPv6 /64.
    pub allocations_per_source: u32,
    /// Allocations from one IPv4 /24 or IPv6 /48.
    pub allocations_per_network: u32,
    /// Megabits a second that one user or device may relay, both directions together; 0 for no limit.
    pub megabits_per_user: u64,
    /// Gigabytes that may be relayed in a day; 0 for no limit.
    pub gigabytes_per_day: u64,
    /// Where new clients are sent while this relay drains, instead of being refused.
    pub alternate_server: Option<AlternateServer>,
    /// Microseconds to let packets gather when many come one by one; 0 for never, at most 1000.
    pub gather_microseconds: u64,
    /// How datagrams are moved.
    pub data_plane: DataPlane,
    /// Threads that relay, each for the clients whose addresses are steered to it; 0 for one a processor, at most 64.
    /// Several need Linux and `data_plane = "auto"`.
    pub workers: u32,
}

/// More than relay anywhere.
const MAX_WORKERS: u32 = 64;

/// How datagrams are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataPlane {
    /// The fastest way that this system has: on Linux many in one call, elsewhere one by one.
    #[default]
    Auto,
    /// One by one, by calls that every system has. Clients then hear of no ICMP errors, and packets to which
    /// DONT-FRAGMENT is attached are refused.
    Portable,
}

impl DataPlane {
    /// Whether the calls of Linux are used.
    pub(crate) fn is_batched(self) -> bool {
        cfg!(target_os = "linux") && self == Self::Auto
    }
}

impl Default for TurnConfig {
    fn default() -> Self {
        let limits = core::Limits::default();
        Self {
            enabled: true,
            tcp: true,
            tls_listen: vec![SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 5349)],
            peer_policy: PeerPolicy::Room,
            external_addresses: Vec::new(),
            stun_server: None,
            stun_server_seconds: 30,
            relay_addresses: Vec::new(),
            relay_ports: (49_152, 65_535),
            realm: "lanyard".to_owned(),
            secrets: Vec::new(),
            users: Vec::new(),
            allocations: limits.allocations,
            allocations_per_user: limits.allocations_per_credential,
            allocations_per_source: limits.allocations_per_source,
            allocations_per_network: limits.allocations_per_network,
            megabits_per_user: 100,
            gigabytes_per_day: 0,
            alternate_server: None,
            gather_microseconds: 100,
            data_plane: DataPlane::Auto,
            workers: 1,
        }
    }
}

/// Another TURN server that knows the same credentials.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlternateServer {
    /// Its address. Clients of the other family are refused.
    pub address: SocketAddr,
    /// The name in its certificate, for clients over TLS.
    pub name: Option<String>,
}

/// Whom clients may exchange packets with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerPolicy {
    /// Other members of a device's own mailbox, at addresses they were seen at or relayed at.
    #[default]
    Room,
    /// Any public address; for other applications.
    Public,
    /// Any address, also inside this host's networks. For tests only.
    Any,
}

/// A user of another application, with a password that does not expire.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnUser {
    /// Username.
    pub name: String,
    /// Password.
    pub password: Secret,
    /// The user's own rule for peers, instead of the general one.
    pub peer_policy: Option<PeerPolicy>,
    /// Allocations at once, instead of `allocations_per_user`.
    pub allocations: Option<u32>,
}

/// A text that is not printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<PeerPolicy> for core::PeerPolicy {
    fn from(policy: PeerPolicy) -> Self {
        match policy {
            PeerPolicy::Room => Self::Room,
            PeerPolicy::Public => Self::Public,
            PeerPolicy::Any => Self::Any,
        }
    }
}

impl TurnConfig {
    /// Finds values that cannot work.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let unusable = |key, problem: &str| Err(ConfigError::Unusable { key, problem: problem.to_owned() });
        let (lowest, highest) = self.relay_ports;
        if lowest < 1024 || highest < lowest {
            return unusable("turn.relay_ports", "must be two ports from 1024 up, the lower one first");
        }
        if !(1..=40).contains(&self.realm.len()) {
            return unusable("turn.realm", "must have 1 to 40 bytes");
        }
        if self.secrets.iter().any(|secret| secret.reveal().len() < core::Config::MIN_SECRET_BYTES) {
            return unusable(
                "turn.secrets",
                "each must have at least 8 bytes; `openssl rand -hex 16` makes a good one",
            );
        }
        if self.secrets.len() >= core::MAX_SHARED_SECRETS {
            return unusable("turn.secrets", "at most 7 are kept; take out the oldest");
        }
        if self.users.iter().any(|user| user.name.is_empty() || user.password.reveal().is_empty()) {
            return unusable("turn.users", "each needs a name and a password");
        }
        if self.external_addresses.iter().chain(&self.relay_addresses).any(IpAddr::is_unspecified) {
            return unusable("turn.external_addresses, turn.relay_addresses", "must be addresses of this host");
        }
        let is_server = |text: &String| {
            text.rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0))
        };
        if self.stun_server.as_ref().is_some_and(|server| !is_server(server)) {
            return unusable("turn.stun_server", "write it as host:port, such as \"stun.example.org:3478\"");
        }
        if self.stun_server.is_some() && !self.external_addresses.is_empty() {
            return unusable("turn.stun_server", "the external address is set or asked for; take one of the two out");
        }
        if !(1..=3600).contains(&self.stun_server_seconds) {
            return unusable("turn.stun_server_seconds", "must be 1 to 3600");
        }
        if self.alternate_server.as_ref().is_some_and(|server| !server.is_usable()) {
            return unusable("turn.alternate_server", "needs an address with a port, and a name of at most 255 bytes");
        }
        if self.gather_microseconds > 1_000 {
            return unusable("turn.gather_microseconds", "must be 0 to 1000");
        }
        if self.workers > MAX_WORKERS {
            return unusable("turn.workers", "must be 0 to 64");
        }
        if self.workers > 1 && !self.data_plane.is_batched() {
            return unusable("turn.workers", "several need Linux and data_plane = \"auto\"; set it to 1");
        }
        Ok(())
    }

    /// How many threads relay.
    pub(super) fn worker_count(&self) -> u32 {
        let processors = || std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        match self.workers {
            0 if self.data_plane.is_batched() => processors().clamp(1, MAX_WORKERS),
            count => count.clamp(1, MAX_WORKERS),
        }
    }

    pub(super) fn ports(&self) -> RangeInclusive<u16> {
        self.relay_ports.0..=self.relay_ports.1
    }

    pub(super) fn pause(&self) -> Duration {
        Duration::from_micros(self.gather_microseconds)
    }

    /// Where clients are sent while draining.
    pub(super) fn alternate(&self) -> Option<core::AlternateServer> {
        let AlternateServer { address, name } = self.alternate_server.clone()?;
        Some(core::AlternateServer { address, domain: name })
    }

    pub(super) fn limits(&self) -> core::Limits {
        // A second of it at once: SCTP waits that long for what a full bucket lost of it, and what flows meanwhile is all
        // that flows at all.
        let bytes_per_second = self.megabits_per_user.saturating_mul(125_000);
        let bandwidth = core::Bandwidth { bytes_per_second, burst_bytes: bytes_per_second.max(131_072) };
        core::Limits {
            allocations: self.allocations,
            allocations_per_credential: self.allocations_per_user,
            allocations_per_source: self.allocations_per_source,
            allocations_per_network: self.allocations_per_network,
            bandwidth: (self.megabits_per_user > 0).then_some(bandwidth),
            daily_egress_bytes: (self.gigabytes_per_day > 0)
                .then(|| self.gigabytes_per_day.saturating_mul(1_000_000_000)),
            ..core::Limits::default()
        }
    }

    /// Secrets of the configuration, after the relay's own.
    pub(super) fn shared_secrets(&self, own: &core::SharedSecret) -> Vec<core::SharedSecret> {
        let configured = self.secrets.iter().map(|secret| core::SharedSecret::new(secret.reveal().as_bytes()));
        std::iter::once(own.clone()).chain(configured).collect()
    }

    pub(super) fn static_users(&self) -> Vec<core::StaticUser> {
        self.users
            .iter()
            .map(|user| core::StaticUser {
                name: user.name.clone(),
                password: user.password.reveal().to_owned(),
                peer_policy: user.peer_policy.map(Into::into),
                max_allocations: user.allocations,
            })
            .collect()
    }
}

impl AlternateServer {
    /// ALTERNATE-DOMAIN holds at most 255 bytes (RFC 8489 §14.16).
    fn is_usable(&self) -> bool {
        let is_name = |name: &String| (1..=255).contains(&name.len());
        !self.address.ip().is_unspecified() && self.address.port() != 0 && self.name.as_ref().is_none_or(is_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_secrets_are_not_printed() {
        let text = r#"secrets = ["hush-hush-hush"]
            users = [{ name = "meet", password = "hush", peer_policy = "public" }]"#;
        let config: TurnConfig = toml::from_str(text).unwrap();
        config.check().unwrap();
        assert_eq!(config.users[0].password.reveal(), "hush");
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn example_shows_the_defaults() {
        let text = include_str!("../../../deploy/relay.toml");
        let example: crate::Config = toml::from_str(text).unwrap();
        assert_eq!(example.turn, TurnConfig::default());
    }

    #[test]
    fn values_that_cannot_work_are_named() {
        for (text, key) in [
            ("relay_ports = [600, 700]", "turn.relay_ports"),
            ("relay_ports = [50000, 49999]", "turn.relay_ports"),
            ("secrets = [\"short\"]", "turn.secrets"),
            ("realm = \"\"", "turn.realm"),
            ("users = [{ name = \"\", password = \"x\" }]", "turn.users"),
            ("gather_microseconds = 5000", "turn.gather_microseconds"),
            ("workers = 65", "turn.workers"),
            ("workers = 2\ndata_plane = \"portable\"", "turn.workers"),
            ("stun_server = \"stun.example.org\"", "turn.stun_server"),
            ("stun_server = \"a:1\"\nexternal_addresses = [\"192.0.2.1\"]", "turn.stun_server"),
            ("stun_server_seconds = 0", "turn.stun_server_seconds"),
            ("alternate_server = { address = \"0.0.0.0:3478\" }", "turn.alternate_server"),
        ] {
            let config: TurnConfig = toml::from_str(text).unwrap();
            let problem = config.check().unwrap_err().to_string();
            assert!(problem.starts_with(key), "{problem}");
        }
    }
}

//! What an operator may set, with defaults in one place.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use lanyard_signaling::Limits;
use serde::Deserialize;

pub use crate::lane::LaneConfig;
pub use crate::turn::config::{PeerPolicy, Secret, TurnConfig, TurnUser};

/// Settings of a relay. In a TOML file the fields of the parts are tables; unknown keys are refused.
///
/// `deploy/relay.toml` shows every key with its default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Page and signaling over http.
    pub http: HttpConfig,
    /// The same over https, when a certificate is given.
    pub tls: TlsConfig,
    /// STUN, and TURN over UDP: one socket serves both.
    pub stun: StunConfig,
    /// TURN.
    pub turn: TurnConfig,
    /// Mailboxes, codes and the nearby list.
    pub signaling: SignalingConfig,
    /// Sealed bytes over WebSockets, where nothing else gets through.
    pub lanes: LaneConfig,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// What is written to standard error.
    pub log: LogConfig,
    /// Seconds that open connections get to end when the relay stops.
    pub drain_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: HttpConfig::default(),
            tls: TlsConfig::default(),
            stun: StunConfig::default(),
            turn: TurnConfig::default(),
            signaling: SignalingConfig::default(),
            lanes: LaneConfig::default(),
            metrics: MetricsAccess::default(),
            log: LogConfig::default(),
            drain_seconds: 10,
        }
    }
}

/// Page and signaling over http.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Addresses to listen on; empty for none. `[::]` takes IPv4 as well. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// How many consecutive ports to try when one is taken; 1 to 100.
    pub port_tries: u16,
    /// Names by which browsers may call this relay, besides `localhost` and the address they reached it at: host
    /// names or IP addresses, without port. Anything else is answered with 421.
    pub hosts: Vec<String>,
    /// Pages of other origins that may open a WebSocket here, as `https://host[:port]`. None is needed for the page
    /// that the relay serves itself.
    pub origins: Vec<String>,
    /// Reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Open connections in all, http and https.
    pub connections: usize,
    /// Open connections of one IPv4 address or IPv6 /64, as seen on the wire; a trusted proxy is exempt.
    pub connections_per_source: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8080)],
            port_tries: 1,
            hosts: Vec::new(),
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            connections: 12_000,
            connections_per_source: 64,
        }
    }
}

/// Page and signaling over https.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Addresses to listen on, when there is a certificate.
    pub listen: Vec<SocketAddr>,
    /// Certificate chain in PEM. Read again on SIGHUP.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM. Read again on SIGHUP.
    pub key: Option<PathBuf>,
    /// A certificate that the relay gets and renews itself, instead of the files.
    pub acme: AcmeConfig,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8443)],
            certificate: None,
            key: None,
            acme: AcmeConfig::default(),
        }
    }
}

impl TlsConfig {
    /// Whether there is https, by files or by ACME.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.certificate.is_some() || self.acme.is_on()
    }

    fn check(&self) -> Result<(), ConfigError> {
        let unusable = |key, problem: &str| Err(ConfigError::Unusable { key, problem: problem.to_owned() });
        if self.certificate.is_some() != self.key.is_some() {
            return unusable("tls", "certificate and key go together; set both or neither");
        }
        if !self.acme.is_on() {
            return Ok(());
        }
        if self.certificate.is_some() {
            return unusable("tls.acme", "a certificate comes from files or by ACME; take one of the two out");
        }
        if !self.acme.terms_agreed {
            return unusable("tls.acme.terms_agreed", "read the terms of the authority, and set this to true");
        }
        if !self.acme.directory.starts_with("https://") {
            return unusable("tls.acme.directory", "must be an https URL");
        }
        if let Some(domain) =
            self.acme.domains.iter().find(|domain| !is_host(domain) || domain.parse::<IpAddr>().is_ok())
        {
            return Err(ConfigError::Unusable {
                key: "tls.acme.domains",
                problem: format!("{domain:?} is not a host name; write it without scheme, port and path"),
            });
        }
        Ok(())
    }
}

/// A certificate from an authority that speaks ACME (RFC 8555), proved on the https port itself (TLS-ALPN-01, RFC 8737),
/// which the authority must reach as port 443.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AcmeConfig {
    /// Names to get a certificate for; empty for no ACME. They are names of the relay as those in `http.hosts`.
    pub domains: Vec<String>,
    /// Whether the operator agrees to the authority's terms of service.
    pub terms_agreed: bool,
    /// A mail address that the authority may warn.
    pub contact: Option<String>,
    /// The authority's directory.
    pub directory: String,
    /// Where account, key and certificate are kept: a directory that only the relay can read.
    pub state: PathBuf,
    /// Root certificates in PEM to trust for the directory instead of the system's.
    pub roots: Option<PathBuf>,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            terms_agreed: false,
            contact: None,
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            state: PathBuf::from("/var/lib/lanyard-relay"),
            roots: None,
        }
    }
}

impl AcmeConfig {
    /// Whether there are names to get a certificate for.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.domains.is_empty()
    }
}

/// STUN.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StunConfig {
    /// Address to listen on over UDP; `[::]` takes IPv4 as well.
    pub listen: SocketAddr,
    /// Whether to listen at all.
    pub enabled: bool,
    /// How many consecutive ports to try when one is taken; 1 to 100.
    pub port_tries: u16,
    /// Host name or address that browsers are told, where it is not the one they reached the page at.
    pub host: Option<String>,
    /// A second address of this host and a second port, for clients that find out what kind of NAT they are behind
    /// (RFC 5780). `listen` must name the first address. Both addresses are then listened on at both ports.
    pub alternate: Option<SocketAddr>,
}

impl StunConfig {
    /// The two addresses of RFC 5780 have one family, and nothing else in common.
    fn has_usable_alternate(&self) -> bool {
        self.alternate.is_none_or(|alternate| {
            let is_other = |ip: IpAddr| !ip.is_unspecified() && ip != self.listen.ip();
            is_other(alternate.ip())
                && !self.listen.ip().is_unspecified()
                && alternate.is_ipv4() == self.listen.is_ipv4()
                && (alternate.port() != self.listen.port() || alternate.port() == 0)
        })
    }
}

impl Default for StunConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 3478),
            enabled: true,
            port_tries: 1,
            host: None,
            alternate: None,
        }
    }
}

/// Mailboxes, codes and the nearby list. Everything that is not here has the value of
/// [`lanyard_signaling::Limits::default`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignalingConfig {
    /// Whether devices may choose to be listed to everyone who is connected.
    pub nearby: bool,
    /// WebSockets in all.
    pub sockets: usize,
    /// WebSockets of one IPv4 address or IPv6 /64.
    pub sockets_per_source: usize,
    /// Mailboxes in all.
    pub mailboxes: usize,
    /// Mailboxes made by one source.
    pub mailboxes_per_source: usize,
    /// Codes that one source may try in a minute.
    pub code_tries_per_minute: usize,
    /// Codes that one source may try in an hour.
    pub code_tries_per_hour: usize,
    /// Seconds after which a silent WebSocket is asked for a sign of life.
    pub ping_seconds: u64,
    /// Seconds of silence after which a WebSocket is dead.
    pub dead_seconds: u64,
}

impl Default for SignalingConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            nearby: limits.nearby,
            sockets: limits.sockets,
            sockets_per_source: limits.sockets_per_source,
            mailboxes: limits.mailboxes,
            mailboxes_per_source: limits.mailboxes_per_source,
            code_tries_per_minute: limits.claims_per_minute,
            code_tries_per_hour: limits.claims_per_hour,
            ping_seconds: 20,
            dead_seconds: 45,
        }
    }
}

impl SignalingConfig {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            nearby: self.nearby,
            sockets: self.sockets,
            sockets_per_source: self.sockets_per_source,
            mailboxes: self.mailboxes,
            mailboxes_per_source: self.mailboxes_per_source,
            claims_per_minute: self.code_tries_per_minute,
            claims_per_hour: self.code_tries_per_hour,
            ..Limits::default()
        }
    }

    pub(crate) fn ping(&self) -> Duration {
        Duration::from_secs(self.ping_seconds)
    }

    pub(crate) fn dead(&self) -> Duration {
        Duration::from_secs(self.dead_seconds)
    }
}

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsAccess {
    /// Nobody: 404.
    Off,
    /// Only who comes from this machine.
    #[default]
    Loopback,
    /// Everyone. The figures name no user.
    All,
}

/// What is written to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How.
    pub format: LogFormat,
    /// What: `error`, `warn`, `info`, `debug`, `trace`, or a list such as `info,lanyard_relay=debug`. Addresses are
    /// written at `debug` and below only.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".to_owned() }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a configuration is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{path} is not a configuration this version knows: {source}")]
    Malformed {
        /// As given.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot work.
    #[error("{key}: {problem}")]
    Unusable {
        /// The key, as in the file.
        key: &'static str,
        /// What is wrong and what to set instead.
        problem: String,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has an unknown key. Values are checked by [`Config::check`].
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| ConfigError::Malformed { path: path.to_owned(), source: Box::new(source) })
    }

    /// The names that are ours besides `localhost` and addresses: those of [`HttpConfig::hosts`], and of the certificate.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let acme = self.tls.acme.domains.iter().filter(|domain| !self.http.hosts.contains(domain));
        self.http.hosts.iter().chain(acme).cloned().collect()
    }

    /// Finds values that cannot work, before anything is opened.
    ///
    /// # Errors
    /// The first such value, with what to set instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let unusable = |key, problem: &str| Err(ConfigError::Unusable { key, problem: problem.to_owned() });
        self.tls.check()?;
        if self.http.listen.is_empty() && (!self.tls.is_on() || self.tls.listen.is_empty()) {
            return unusable("http.listen", "nothing to listen on; name an address, or a certificate for https");
        }
        for (key, tries) in [("http.port_tries", self.http.port_tries), ("stun.port_tries", self.stun.port_tries)] {
            if !(1..=100).contains(&tries) {
                return unusable(key, "must be 1 to 100");
            }
        }
        if let Some(host) = self.http.hosts.iter().chain(&self.stun.host).find(|host| !is_host(host)) {
            return Err(ConfigError::Unusable {
                key: "http.hosts, stun.host",
                problem: format!("{host:?} is not a host name or IP address; write it without scheme, port and path"),
            });
        }
        if let Some(origin) = self.http.origins.iter().find(|origin| !is_origin(origin)) {
            return Err(ConfigError::Unusable {
                key: "http.origins",
                problem: format!("{origin:?} is not an origin; write it as https://host or https://host:port"),
            });
        }
        if !self.stun.has_usable_alternate() {
            let problem = "must be another address and another port than stun.listen, which must name one address";
            return unusable("stun.alternate", problem);
        }
        self.turn.check()?;
        self.lanes.check()?;
        let counts = [
            ("http.connections", self.http.connections),
            ("http.connections_per_source", self.http.connections_per_source),
            ("signaling.sockets", self.signaling.sockets),
            ("signaling.sockets_per_source", self.signaling.sockets_per_source),
            ("signaling.mailboxes", self.signaling.mailboxes),
            ("signaling.mailboxes_per_source", self.signaling.mailboxes_per_source),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return unusable(key, "must be at least 1");
        }
        if self.signaling.ping_seconds == 0 || self.signaling.dead_seconds <= self.signaling.ping_seconds {
            return unusable("signaling.dead_seconds", "must be more than signaling.ping_seconds, and that at least 1");
        }
        Ok(())
    }
}

/// A name or address as it may stand in a `Host` header, without port.
fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
        || (1..=253).contains(&text.len())
            && text.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            })
}

fn is_origin(text: &str) -> bool {
    let Some(authority) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    crate::http::Authority::parse(authority).is_some()
}

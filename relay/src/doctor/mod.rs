//! Finds out why a relay does not work, from where it is run: a real allocation and a packet there and back by each way.
//!
//! ```no_run
//! # async fn example() -> Result<(), lanyard_relay::doctor::TrustError> {
//! use lanyard_relay::doctor::{Options, Subject, examine};
//!
//! let subject = Subject::Host("relay.example.org".parse().expect("a host"));
//! let report = examine(&Options::new(subject), |finding| println!("{}", finding.detail)).await?;
//! assert!(report.is_well());
//! # Ok(()) }
//! ```
//!
//! Credentials come the product's way: two WebSockets join one mailbox, and what the relay gives its two members lets
//! them relay to each other under every policy. For servers without signaling there is a [shared secret](StaticSecret).

mod door;
mod finding;
mod signaling;
mod transport;
mod turn_client;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lanyard_protocol::MailboxId;
use lanyard_protocol::signaling::IceServer;
use lanyard_turn_core::{AddressScope, SharedSecret};
use rustls::RootCertStore;

use crate::certificate;
use crate::config::{Config, Secret};
use crate::http::{Authority, Host};
use crate::outbound::{self, Shown};
use door::{Door, ShutError};
pub use finding::{Finding, Report, Verdict};
use signaling::{Member, SignalingError};
pub use transport::TurnTransport;
use transport::{Probed, Way};
pub(crate) use turn_client::seen_address;
use turn_client::{Credential, ProbeError};

pub use crate::outbound::TrustError;

/// How long the credentials of a probe are valid.
const CREDENTIAL_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// A certificate that ends sooner is worth a word.
const EXPIRY_NOTICE: Duration = Duration::from_secs(14 * 24 * 3600);
/// Ports of other TURN servers (RFC 8656 §3.1).
const TURN_PORT: u16 = 3478;
const TURNS_PORT: u16 = 5349;

/// A host as a person writes it: `relay.example.org`, `https://relay.example.org:8443`, `203.0.113.5:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    tls: Option<bool>,
    host: String,
    port: Option<u16>,
}

/// This is neither a host nor the address of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write it as relay.example.org, relay.example.org:8443 or https://relay.example.org/")]
pub struct HostNameError;

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Some(true), rest),
            Some(("http", rest)) => (Some(false), rest),
            Some(_) => return Err(HostNameError),
            None => (None, text),
        };
        let rest = rest.split(['/', '#', '?']).next().unwrap_or_default();
        let (host, port) = match rest.parse::<IpAddr>() {
            Ok(ip) => (Host::Ip(ip), None),
            Err(_) => {
                let Authority { host, port } = Authority::parse(rest).ok_or(HostNameError)?;
                (host, port)
            }
        };
        let host = match host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name,
        };
        Ok(Self { tls, host, port })
    }
}

/// A secret for a TURN server that is not reached by signaling.
#[derive(Debug, Clone)]
pub struct StaticSecret {
    /// What credentials are minted with.
    pub secret: Secret,
    /// The transports to try.
    pub transports: Vec<TurnTransport>,
}

/// What is examined.
#[derive(Debug, Clone)]
pub enum Subject {
    /// The relay of this configuration, on this machine.
    Own(Box<Config>),
    /// A relay by its name.
    Host(HostName),
    /// Any TURN server, by a secret.
    Turn(HostName, StaticSecret),
}

/// What to examine, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is examined.
    pub subject: Subject,
    /// Root certificates in PEM to trust instead of the system's.
    pub roots: Option<PathBuf>,
}

impl Options {
    /// With the system's roots.
    #[must_use]
    pub fn new(subject: Subject) -> Self {
        Self { subject, roots: None }
    }
}

/// Runs all checks, one after another; `told` hears each finding at once. Takes seconds, and half a minute at most for
/// each way that is silent.
///
/// # Errors
/// The roots cannot be read.
pub async fn examine(options: &Options, told: impl FnMut(&Finding)) -> Result<Report, TrustError> {
    let roots = outbound::roots(options.roots.as_deref())?;
    let mut examination = Examination { roots, report: Report::default(), told };
    match &options.subject {
        Subject::Own(config) => examination.own(config).await,
        Subject::Host(name) => examination.host(name).await,
        Subject::Turn(name, secret) => examination.turn(name, secret).await,
    }
    Ok(examination.report)
}

struct Examination<T> {
    roots: RootCertStore,
    report: Report,
    told: T,
}

impl<T: FnMut(&Finding)> Examination<T> {
    fn say(&mut self, finding: Finding) {
        (self.told)(&finding);
        self.report.findings.push(finding);
    }

    async fn own(&mut self, config: &Config) {
        let doors = door::of_config(config);
        if doors.iter().any(|door| door.address.port() == 0) {
            self.say(Finding::failed(
                "page",
                "The configuration takes any free port, so there is no telling where the relay is.",
                "Name the address that it printed: lanyard-relay doctor HOST:PORT.",
            ));
            return;
        }
        let mut open = Vec::new();
        for door in doors {
            if self.web(&door, "Start the relay (systemctl start lanyard-relay), and see its log if it does not.").await
            {
                open.push(door);
            }
        }
        if !config.tls.is_on() {
            self.say(Finding::note(
                "certificate",
                "There is no https: browsers cannot save large files or scan codes, and TURN has no TLS.",
                Some("Set tls.certificate and tls.key, or tls.acme."),
            ));
        }
        let Some(door) = open.first() else { return };
        let extra = config.turn.tls_listen.iter().filter(|_| config.tls.is_on() && config.turn.enabled);
        let extra: Vec<_> = extra.map(|listen| door::from_here(*listen)).collect();
        let Some(probed) = self.mailbox(door, &extra).await else { return };
        self.own_secrets(config).await;
        let relayed = probed.allocated.relayed.ip();
        let external = &config.turn.external_addresses;
        let told: Vec<_> = external.iter().filter(|ip| ip.is_ipv4() == relayed.is_ipv4()).collect();
        self.say(if told.iter().any(|ip| **ip == relayed) {
            Finding::ok("external address", format!("Devices are told {relayed}, as configured."))
        } else if let Some(wanted) = told.first() {
            Finding::failed(
                "external address",
                format!("Devices are told {relayed}, and turn.external_addresses says {wanted}."),
                "Restart the relay, so that it runs with this configuration.",
            )
        } else if is_public(relayed) {
            Finding::ok("external address", format!("Devices are told {relayed}, which is public."))
        } else {
            Finding::note(
                "external address",
                format!("Devices are told {relayed}, which is reached from this network only."),
                Some("For devices elsewhere set turn.external_addresses to the public address, or turn.stun_server."),
            )
        });
    }

    /// Whether other applications can use the secrets of the configuration.
    async fn own_secrets(&mut self, config: &Config) {
        let Some(secret) = config.turn.secrets.first().filter(|_| config.turn.enabled) else { return };
        let address = door::from_here(config.stun.listen);
        let host = address.ip().to_string();
        let way = Way { transport: TurnTransport::Udp, host, address, is_told: false };
        let [credential, _] = minted(secret);
        self.say(match way.allocates(&self.roots, &credential).await {
            Ok(()) => Finding::ok("turn.secrets", "A credential minted with the newest secret is accepted."),
            Err(ProbeError::Refused(_, 401 | 441)) => Finding::failed(
                "turn.secrets",
                "The running relay does not accept the newest secret of this file.",
                "Let it read the file again: systemctl reload lanyard-relay, or kill -HUP.",
            ),
            Err(_) => Finding::note("turn.secrets", "Not tried: TURN over UDP does not work.", None),
        });
    }

    async fn host(&mut self, name: &HostName) {
        let Some(addresses) = self.resolve(name).await else { return };
        let fix = "See that the relay runs, and that a firewall lets the ports of http.listen and tls.listen in.";
        let doors = door::of_host(name, &addresses);
        let mut open: Vec<Door> = Vec::new();
        for ip in &addresses {
            // The likeliest door of each family that opens at all.
            let mut found = None;
            for door in doors.iter().filter(|door| door.address.ip() == *ip) {
                if door.open(&self.roots).await.is_ok() {
                    found = Some(door.clone());
                    break;
                }
            }
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            match found {
                Some(door) => {
                    self.say(Finding::ok(family, format!("{} answers.", door.address)));
                    open.push(door);
                }
                None if addresses.len() > 1 => self.say(Finding::failed(
                    family,
                    format!("{} has the address {ip}, and nothing answers there.", name.host),
                    format!(
                        "Let the relay listen there, or take the {} record out.",
                        if ip.is_ipv4() { "A" } else { "AAAA" }
                    ),
                )),
                None => {}
            }
        }
        let Some(door) = open.first().cloned() else {
            let tried: Vec<_> = doors.iter().map(Door::url).collect();
            self.say(Finding::failed("page", format!("Nothing answers at {}.", tried.join(", ")), fix));
            return;
        };
        if !self.web(&door, fix).await {
            return;
        }
        if !door.tls {
            self.say(Finding::note(
                "certificate",
                "There is no https here: browsers cannot save large files or scan codes.",
                Some("Set tls.certificate and tls.key, or tls.acme, and ask for https://."),
            ));
        }
        let extra = SocketAddr::new(door.address.ip(), TURNS_PORT);
        let Some(probed) = self.mailbox(&door, &[extra]).await else { return };
        let relayed = probed.allocated.relayed.ip();
        self.say(if is_public(door.address.ip()) && !is_public(relayed) {
            Finding::failed(
                "external address",
                format!("It relays at {relayed}, which nobody outside its network can send to."),
                format!("Set turn.external_addresses to the public address ({}).", door.address.ip()),
            )
        } else {
            Finding::ok("external address", format!("It relays at {relayed}."))
        });
    }

    async fn turn(&mut self, name: &HostName, secret: &StaticSecret) {
        let Some(addresses) = self.resolve(name).await else { return };
        let credentials = minted(&secret.secret);
        for ip in addresses {
            for transport in &secret.transports {
                let default = if *transport == TurnTransport::Tls { TURNS_PORT } else { TURN_PORT };
                let address = SocketAddr::new(ip, name.port.unwrap_or(default));
                let way = Way { transport: *transport, host: name.host.clone(), address, is_told: true };
                self.probe(&way, &credentials).await;
            }
        }
    }

    /// The addresses of a name, at most one of a family.
    async fn resolve(&mut self, name: &HostName) -> Option<Vec<IpAddr>> {
        let found: Vec<SocketAddr> = match tokio::net::lookup_host((name.host.as_str(), 0)).await {
            Ok(found) => found.collect(),
            Err(_) => Vec::new(),
        };
        let of_family = |is_ipv4: bool| found.iter().map(SocketAddr::ip).find(|ip| ip.is_ipv4() == is_ipv4);
        let addresses: Vec<IpAddr> = [of_family(true), of_family(false)].into_iter().flatten().collect();
        if addresses.is_empty() {
            self.say(Finding::failed(
                "name",
                format!("{} has no address here.", name.host),
                "Correct the name, or give it an A or AAAA record.",
            ));
            return None;
        }
        let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        self.say(Finding::ok("name", format!("{} is {}.", name.host, texts.join(" and "))));
        Some(addresses)
    }

    /// Page and certificate. Whether the door opens.
    async fn web(&mut self, door: &Door, fix: &str) -> bool {
        let shown = match door.open(&self.roots).await {
            Ok((_, shown)) => shown,
            Err(ShutError::Tcp(error)) => {
                self.say(Finding::failed("page", format!("Nothing answers at {} ({error}).", door.url()), fix));
                return false;
            }
            Err(ShutError::Tls(error)) => {
                self.say(Finding::failed(
                    "certificate",
                    format!("{} does not speak TLS ({error}).", door.url()),
                    "Set tls.certificate and tls.key, or tls.acme, or ask for http://.",
                ));
                return false;
            }
        };
        self.report.is_reached = true;
        if let Some(shown) = shown {
            self.say(certificate_finding(&door.host, &shown));
        }
        match door.check_page(&self.roots).await {
            Ok(finding) => self.say(finding),
            Err(_) => return false,
        }
        true
    }

    /// Signaling, and every way that devices are told; `extra` are addresses for TURN over TLS besides. Gives the first
    /// probe that succeeded.
    async fn mailbox(&mut self, door: &Door, extra: &[SocketAddr]) -> Option<Probed> {
        let mailbox = MailboxId(rand::random());
        let one = self.member(door, mailbox).await?;
        let skew = one.clock_ahead_ms.unsigned_abs();
        self.say(Finding::ok("WebSocket", "Signaling answers."));
        self.say(if skew < signaling::SKEW_MS {
            Finding::ok("clock", format!("The clocks differ by {skew} ms."))
        } else {
            let way = if one.clock_ahead_ms > 0 { "ahead of" } else { "behind" };
            Finding::failed(
                "clock",
                format!(
                    "The server's clock is {} s {way} this one, so credentials expire at the wrong time.",
                    skew / 1000
                ),
                "Set both by NTP: timedatectl set-ntp true.",
            )
        });
        let other = self.member(door, mailbox).await?;
        let (Some(mine), Some(theirs)) = (credential(&one.ice_servers), credential(&other.ice_servers)) else {
            self.say(Finding::failed(
                "TURN",
                "Devices are told no TURN server, so those behind strict firewalls cannot connect.",
                "Set stun.enabled and turn.enabled to true.",
            ));
            return None;
        };
        let ways = self.ways(door, &one.ice_servers, extra).await;
        let credentials = [mine, theirs];
        let mut first: Option<(Way, Probed)> = None;
        for way in ways {
            if let Some(probed) = self.probe(&way, &credentials).await {
                first.get_or_insert((way, probed));
            }
        }
        let (way, probed) = first?;
        if !door.address.ip().is_loopback() && way.transport == TurnTransport::Udp {
            self.relay_ports(&way, &credentials[0]).await;
        }
        Some(probed)
    }

    async fn member(&mut self, door: &Door, mailbox: MailboxId) -> Option<Member> {
        let error = match signaling::join(door, &self.roots, mailbox).await {
            Ok(member) => return Some(member),
            Err(error) => error,
        };
        let (detail, fix) = match error {
            SignalingError::Shut => (
                "The page answers, and then no more.".to_owned(),
                "See http.connections_per_source and the relay's log.",
            ),
            SignalingError::NoUpgrade(404) => (
                "There is no signaling here (404).".to_owned(),
                "Give doctor the address of a Lanyard relay, or let the proxy pass /v1/ws on.",
            ),
            SignalingError::NoUpgrade(status) => (
                format!("The WebSocket is answered with {status}."),
                "If a proxy stands in front, let it pass Upgrade and Connection on (docs/turn.md has an example).",
            ),
            SignalingError::Broken(why) => {
                (format!("The WebSocket opens, and then: {why}."), "See the relay's log at level debug for the reason.")
            }
            SignalingError::Refused(version) => (
                format!("The server speaks version {version} of the protocol."),
                "Update the older of the two, so that both are of one version.",
            ),
        };
        self.say(Finding::failed("WebSocket", detail, fix));
        None
    }

    /// What the ICE servers' URLs mean, one way for each address family.
    async fn ways(&mut self, door: &Door, servers: &[IceServer], extra: &[SocketAddr]) -> Vec<Way> {
        let mut ways: Vec<Way> = Vec::new();
        for url in servers.iter().flat_map(|server| &server.urls) {
            let Some((transport, host, port)) = parse_turn_url(url) else { continue };
            let found: Vec<SocketAddr> = match tokio::net::lookup_host((host.as_str(), port)).await {
                Ok(found) => found.collect(),
                Err(_) => {
                    self.say(Finding::failed(
                        "TURN",
                        format!("Devices are told {host}, which has no address here."),
                        "Correct stun.host.",
                    ));
                    continue;
                }
            };
            for is_ipv4 in [true, false] {
                if let Some(address) = found.iter().find(|address| address.is_ipv4() == is_ipv4) {
                    let way = Way { transport, host: host.clone(), address: *address, is_told: true };
                    if !ways.contains(&way) {
                        ways.push(way);
                    }
                }
            }
        }
        let shared = door.tls.then_some(door.address);
        for address in shared.into_iter().chain(extra.iter().copied()) {
            let is_there = |way: &Way| way.transport == TurnTransport::Tls && way.address == address;
            if door.tls && !ways.iter().any(is_there) {
                let host = door.host.clone();
                ways.push(Way { transport: TurnTransport::Tls, host, address, is_told: false });
            }
        }
        ways
    }

    async fn probe(&mut self, way: &Way, credentials: &[Credential; 2]) -> Option<Probed> {
        let outcome = way.probe(&self.roots, credentials).await;
        self.report.is_reached |= !matches!(outcome, Err(ProbeError::Io(_) | ProbeError::Silent(_)));
        self.say(way.finding(&outcome));
        outcome.ok()
    }

    async fn relay_ports(&mut self, way: &Way, credential: &Credential) {
        let check = "relayed ports";
        self.say(match way.lets_peers_in(&self.roots, credential, way.address).await {
            Ok(allocated) => Finding::ok(
                check,
                format!("A packet from here ({}) reaches a relayed port.", allocated.mapped.ip()),
            ),
            Err(ProbeError::Refused(_, 403)) => Finding::note(
                check,
                "Not tried: this network shows one address to the page and another one to STUN.",
                None,
            ),
            Err(ProbeError::Lost) => Finding::failed(
                check,
                "TURN works, and a packet from outside does not reach a relayed port.",
                "Let UDP of turn.relay_ports (49152-65535) in at the server's firewall, and forward it where there is NAT.",
            ),
            Err(_) => Finding::note(check, "Not tried: TURN stopped answering.", None),
        });
    }
}

fn certificate_finding(host: &str, shown: &Shown) -> Finding {
    use rustls::CertificateError as Problem;
    use rustls::Error::InvalidCertificate as Invalid;
    let check = "certificate";
    let until = certificate::validity(&shown.certificate).map(|(_, until)| until);
    let now = unix_now().as_secs().cast_signed();
    let days = until.map(|until| (until - now) / 86_400);
    let renew = "Renew it and reload the relay, or let it renew its own: tls.acme.";
    match &shown.problem {
        Some(Invalid(Problem::Expired | Problem::ExpiredContext { .. })) => {
            let days = days.map_or(0, i64::abs);
            Finding::failed(check, format!("The certificate of {host} ended {days} days ago."), renew)
        }
        Some(Invalid(Problem::NotValidYet | Problem::NotValidYetContext { .. })) => Finding::failed(
            check,
            format!("The certificate of {host} is not valid yet."),
            "Set the clocks right: timedatectl set-ntp true.",
        ),
        Some(Invalid(Problem::NotValidForName | Problem::NotValidForNameContext { .. })) => Finding::failed(
            check,
            format!("The certificate is not for {host}."),
            "Open the relay by a name in the certificate, or get one for this name.",
        ),
        Some(Invalid(Problem::UnknownIssuer)) => Finding::failed(
            check,
            format!("The certificate of {host} is from an authority that this system does not know."),
            "Take one that browsers know (tls.acme), put the whole chain into tls.certificate, or name the root with --roots.",
        ),
        Some(problem) => {
            Finding::failed(check, format!("Browsers refuse the certificate of {host}: {problem}."), renew)
        }
        None => match days {
            Some(days) if days < i64::try_from(EXPIRY_NOTICE.as_secs() / 86_400).unwrap_or(14) => {
                Finding::note(check, format!("The certificate of {host} ends in {days} days."), Some(renew))
            }
            Some(days) => Finding::ok(check, format!("The certificate is for {host} and valid for {days} days.")),
            None => Finding::ok(check, format!("The certificate is for {host} and valid.")),
        },
    }
}

/// `turn:host:port?transport=tcp` (RFC 7065 §3.1), as this relay writes it.
fn parse_turn_url(url: &str) -> Option<(TurnTransport, String, u16)> {
    let (scheme, rest) = url.split_once(':')?;
    let (authority, query) = rest.split_once('?').unwrap_or((rest, "transport=udp"));
    let transport = match (scheme, query) {
        ("turn", "transport=udp") => TurnTransport::Udp,
        ("turn", "transport=tcp") => TurnTransport::Tcp,
        ("turns", "transport=tcp") => TurnTransport::Tls,
        _ => return None,
    };
    let authority = Authority::parse(authority)?;
    let host = match authority.host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name,
    };
    Some((transport, host, authority.port.unwrap_or(TURN_PORT)))
}

fn credential(servers: &[IceServer]) -> Option<Credential> {
    servers.iter().find_map(|server| {
        let (username, password) = (server.username.clone()?, server.credential.clone()?);
        Some(Credential { username, password })
    })
}

fn minted(secret: &Secret) -> [Credential; 2] {
    let expires = (unix_now() + CREDENTIAL_LIFETIME).as_secs();
    let secret = SharedSecret::new(secret.reveal().as_bytes());
    ["doctor-1", "doctor-2"].map(|id| {
        let minted = secret.mint(expires, id);
        Credential { username: minted.username, password: minted.password }
    })
}

fn is_public(ip: IpAddr) -> bool {
    AddressScope::of(ip) == AddressScope::Public
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<HostName>().map(|name| (name.tls, name.host, name.port));
        assert_eq!(read("relay.example.org"), Ok((None, "relay.example.org".to_owned(), None)));
        assert_eq!(
            read("https://Relay.example.org:8443/#x"),
            Ok((Some(true), "relay.example.org".to_owned(), Some(8443)))
        );
        assert_eq!(read("http://203.0.113.5"), Ok((Some(false), "203.0.113.5".to_owned(), None)));
        assert_eq!(read("2001:db8::1"), Ok((None, "2001:db8::1".to_owned(), None)));
        assert_eq!(read("[2001:db8::1]:8080"), Ok((None, "2001:db8::1".to_owned(), Some(8080))));
        for bad in ["", "ftp://x.example", "user@host", "a b"] {
            assert_eq!(read(bad), Err(HostNameError), "{bad}");
        }
    }

    #[test]
    fn ice_urls_name_their_transport() {
        assert_eq!(parse_turn_url("stun:a.example:3478"), None);
        let read = parse_turn_url;
        assert_eq!(
            read("turn:[2001:db8::1]:99?transport=udp"),
            Some((TurnTransport::Udp, "2001:db8::1".to_owned(), 99))
        );
        assert_eq!(read("turns:a.example:443?transport=tcp"), Some((TurnTransport::Tls, "a.example".to_owned(), 443)));
        assert_eq!(read("turn:a.example:99?transport=tcp"), Some((TurnTransport::Tcp, "a.example".to_owned(), 99)));
    }
}

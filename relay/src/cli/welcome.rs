//! What an operator reads when the relay is up.

use std::io::IsTerminal as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use lanyard_relay::RelayHandle;
use lanyard_relay::config::Config;
use lanyard_relay::credentials::Ports;
use lanyard_relay::qr::{self, QrStyle};

/// Where the page is, as text and as a QR code, and what other applications enter as ICE servers.
pub(crate) fn lines(config: &Config, relay: &RelayHandle, qr: bool) -> Vec<String> {
    let mut lines = vec![format!("Lanyard relay {} is up.", env!("CARGO_PKG_VERSION"))];
    let page = |scheme: &'static str| move |address: &SocketAddr| page_url(config, scheme, *address);
    let https = relay.https_addresses().iter().map(page("https"));
    let pages: Vec<_> = https.chain(relay.http_addresses().iter().map(page("http"))).collect();
    lines.extend(pages.iter().map(|url| format!("  Page        {url}")));
    if let Some(address) = relay.stun_address() {
        let host = config.stun.host.clone().unwrap_or_else(|| host_of(config, address));
        lines.extend(ice_servers(config, relay, &host).into_iter().map(|entry| format!("  ICE server  {entry}")));
        if config.turn.enabled {
            lines.push("  TURN        Devices that open the page get credentials by themselves.".to_owned());
        }
        if config.turn.enabled && !config.turn.secrets.is_empty() {
            lines.push("              For other applications: lanyard-relay credentials".to_owned());
        }
    }
    if !relay.has_page() {
        lines.push(
            "  This build has no page in it; run `cargo xtask up`, or `cargo xtask dist` for a release.".to_owned(),
        );
    }
    if relay.https_addresses().is_empty() {
        lines.push(
            "  Without https, browsers cannot save large files or scan codes; see tls in deploy/relay.toml.".to_owned(),
        );
    }
    if let Some(code) = pages.first().filter(|_| qr).and_then(|url| draw(url)) {
        lines.push(code);
    }
    lines
}

/// The code, when standard error is a terminal that it fits into.
fn draw(url: &str) -> Option<String> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(std::io::stderr())?;
    qr::draw(url, QrStyle::HalfBlocks, columns.into())
}

/// Entries for `iceServers` of other applications, as JSON. The passwords are known to who set them, and not shown.
fn ice_servers(config: &Config, relay: &RelayHandle, host: &str) -> Vec<String> {
    let Some(udp) = relay.stun_address().map(|address| address.port()) else { return Vec::new() };
    let first = |addresses: &[SocketAddr]| addresses.first().map(SocketAddr::port);
    let tls = first(relay.https_addresses()).or_else(|| first(relay.turn_tls_addresses()));
    let ports = Ports { udp, tcp: first(relay.turn_tcp_addresses()), tls };
    let users = config.turn.users.iter().filter(|_| config.turn.enabled);
    let turn = users.map(|user| ports.turn(host, &user.name, "its password"));
    let servers = std::iter::once(ports.stun(host)).chain(turn);
    servers.filter_map(|server| serde_json::to_string(&server).ok()).collect()
}

fn page_url(config: &Config, scheme: &str, address: SocketAddr) -> String {
    let host = host_of(config, address);
    match (scheme, address.port()) {
        ("https", 443) | ("http", 80) => format!("{scheme}://{host}/"),
        (_, port) => format!("{scheme}://{host}:{port}/"),
    }
}

/// What a browser can reach: the configured name, the address itself, or the one this machine uses towards others.
pub(super) fn host_of(config: &Config, address: SocketAddr) -> String {
    if let Some(name) = config.hosts().into_iter().next() {
        return if name.contains(':') { format!("[{name}]") } else { name };
    }
    let ip = if address.ip().is_unspecified() { outgoing_ip().unwrap_or(address.ip()) } else { address.ip() };
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The address of the interface with the default route. Connecting a UDP socket sends nothing; the addresses are
/// from the ranges for documentation.
fn outgoing_ip() -> Option<IpAddr> {
    let towards = |own: &str, other: &str| {
        let socket = UdpSocket::bind(own).ok()?;
        socket.connect(other).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    towards("0.0.0.0:0", "192.0.2.1:9").or_else(|| towards("[::]:0", "[2001:db8::1]:9"))
}

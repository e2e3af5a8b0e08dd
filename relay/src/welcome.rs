//! What an operator reads when the relay is up.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use lanyard_relay::RelayHandle;
use lanyard_relay::config::Config;

/// Where the page is, and what to enter elsewhere as ICE servers.
pub(crate) fn lines(config: &Config, relay: &RelayHandle) -> Vec<String> {
    let mut lines = vec![format!("Lanyard relay {} is up.", env!("CARGO_PKG_VERSION"))];
    let host = |address: SocketAddr| host_of(config, address);
    for address in relay.https_addresses() {
        lines.push(format!("  Page        https://{}:{}/", host(*address), address.port()));
    }
    for address in relay.http_addresses() {
        lines.push(format!("  Page        http://{}:{}/", host(*address), address.port()));
    }
    if let Some(address) = relay.stun_address() {
        let host = config.stun.host.clone().unwrap_or_else(|| host(address));
        lines.push(format!("  ICE server  {{ urls: \"stun:{host}:{}\" }}", address.port()));
        for user in config.turn.users.iter().filter(|_| config.turn.enabled) {
            let (port, name) = (address.port(), &user.name);
            lines
                .push(format!("  ICE server  {{ urls: \"turn:{host}:{port}\", username: \"{name}\", credential: … }}"));
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
    lines
}

/// What a browser can reach: the configured name, the address itself, or the one this machine uses towards others.
fn host_of(config: &Config, address: SocketAddr) -> String {
    if let Some(name) = config.http.hosts.first() {
        return name.clone();
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

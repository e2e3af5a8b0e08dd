//! The address under which others see this host, asked from a STUN server elsewhere (RFC 8489 §3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tracing::{debug, info, warn};

use super::host::AddressBook;
use crate::doctor::seen_address;

/// Asks again and again, and tells the workers when the answer is another one. Without an answer the last one stays:
/// a lost packet must not cut anybody off.
pub(crate) async fn run(server: String, every: Duration, addresses: AddressBook) {
    let mut known = Vec::new();
    let mut has_warned = false;
    loop {
        let found = ask(&server).await;
        if found.is_empty() && !has_warned {
            warn!(%server, "turn.stun_server does not answer: no external address is known");
        }
        has_warned = found.is_empty();
        if !found.is_empty() && found != known {
            info!("others see this host at another address than before");
            debug!(addresses = ?found, "external addresses");
            if addresses.set_external(found.clone()).await.is_err() {
                return;
            }
            known = found;
        }
        tokio::time::sleep(every).await;
    }
}

/// The address that is seen of each family, as far as the server has one of that family and answers.
async fn ask(server: &str) -> Vec<IpAddr> {
    let servers: Vec<SocketAddr> = match lookup_host(server).await {
        Ok(found) => found.collect(),
        Err(_) => return Vec::new(),
    };
    let mut seen = Vec::new();
    for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let Some(server) = servers.iter().find(|server| server.is_ipv4() == any.is_ipv4()) else { continue };
        let Ok(socket) = UdpSocket::bind(SocketAddr::new(any, 0)).await else { continue };
        if let Ok(Some(address)) = seen_address(&socket, *server).await {
            seen.push(address.ip());
        }
    }
    seen
}

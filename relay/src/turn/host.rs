//! The addresses of this host: where relay sockets can be, and what is never a peer.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use lanyard_turn_core::RelayAddress;
#[cfg(unix)]
use nix::ifaddrs::getifaddrs;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::control::{Controller, Unavailable};

/// How often the addresses of this host are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// The addresses of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Where relay sockets can be.
    pub(super) relay: Vec<RelayAddress>,
    /// All, as others see them.
    pub(super) own: Vec<IpAddr>,
}

/// Keeps the workers informed of the addresses of this host: all at once, so that none refuses what another relays at.
#[derive(Debug, Clone)]
pub(crate) struct AddressBook {
    host: Arc<Mutex<HostAddresses>>,
    controller: Controller,
}

impl AddressBook {
    pub(super) fn new(host: HostAddresses, controller: Controller) -> Self {
        Self { host: Arc::new(Mutex::new(host)), controller }
    }

    /// Others see this host at other addresses now: at most one of a family.
    pub(super) async fn set_external(&self, external: Vec<IpAddr>) -> Result<(), Unavailable> {
        let mut host = self.host.lock().await;
        host.external = external;
        self.look(&mut host).await
    }

    /// Looks for changes until there is nobody left to tell.
    pub(crate) async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if self.look(&mut *self.host.lock().await).await.is_err() {
                return;
            }
        }
    }

    async fn look(&self, host: &mut HostAddresses) -> Result<(), Unavailable> {
        let Some(addresses) = host.changed() else { return Ok(()) };
        info!("the addresses of this host changed");
        self.controller.set_addresses(&addresses).await
    }
}

/// Relay addresses and all own ones, for as long as they stay the same.
#[derive(Debug)]
pub(super) struct HostAddresses {
    listen: IpAddr,
    /// Bound where given, whatever interfaces there are.
    configured: Vec<IpAddr>,
    external: Vec<IpAddr>,
    last: Option<Addresses>,
}

impl HostAddresses {
    /// For a listener at `listen`; `configured` are the addresses for relay sockets, if any were, and `external` those
    /// under which others see this host.
    pub(super) fn new(listen: IpAddr, configured: &[IpAddr], external: &[IpAddr]) -> Self {
        Self { listen, configured: configured.to_vec(), external: external.to_vec(), last: None }
    }

    /// The addresses, if they are others than the last time.
    pub(super) fn changed(&mut self) -> Option<Addresses> {
        let interfaces = interface_addresses();
        let default = [outgoing_ip("0.0.0.0:0", "192.0.2.1:9"), outgoing_ip("[::]:0", "[2001:db8::1]:9")];
        let relay = self.relay_addresses(&interfaces, &default);
        let own = interfaces.into_iter().chain(self.external.iter().copied()).collect();
        let current = Some(Addresses { relay, own });
        if current == self.last {
            return None;
        }
        self.last.clone_from(&current);
        current
    }

    fn relay_addresses(&self, interfaces: &[IpAddr], default: &[Option<IpAddr>]) -> Vec<RelayAddress> {
        let bind: Vec<IpAddr> = if !self.configured.is_empty() {
            self.configured.clone()
        } else if !self.listen.is_unspecified() {
            vec![self.listen]
        } else {
            let mut usable: Vec<IpAddr> = interfaces.iter().copied().filter(|ip| is_usable(*ip)).collect();
            if self.listen.is_ipv4() {
                usable.retain(IpAddr::is_ipv4);
            }
            // That of the default route first: clients get it when they came to an address of the other family.
            usable.sort_by_key(|ip| !default.contains(&Some(*ip)));
            // Cut off from every network there are still the programs of this host.
            if usable.is_empty() { interfaces.iter().copied().filter(IpAddr::is_loopback).collect() } else { usable }
        };
        let mut relay_addresses: Vec<RelayAddress> = bind.into_iter().map(RelayAddress::direct).collect();
        for external in self.external.iter().filter(|ip| !interfaces.contains(ip)) {
            let inside = relay_addresses.iter_mut().find(|address| address.bind.is_ipv4() == external.is_ipv4());
            match inside {
                Some(address) => address.advertised = *external,
                None => warn!(%external, "no address of this host can stand behind the external address"),
            }
        }
        relay_addresses
    }
}

/// Whether peers elsewhere can send to this address.
fn is_usable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_link_local() || ip.is_unspecified()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified()),
    }
}

/// Only those with a route out, where the interfaces cannot be asked.
#[cfg(not(unix))]
fn interface_addresses() -> Vec<IpAddr> {
    let out = [outgoing_ip("0.0.0.0:0", "192.0.2.1:9"), outgoing_ip("[::]:0", "[2001:db8::1]:9")];
    let loopback = [IpAddr::from(std::net::Ipv4Addr::LOCALHOST), std::net::Ipv6Addr::LOCALHOST.into()];
    out.into_iter().flatten().chain(loopback).collect()
}

#[cfg(unix)]
fn interface_addresses() -> Vec<IpAddr> {
    let interfaces = match getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            warn!(%error, "cannot list the addresses of this host");
            return Vec::new();
        }
    };
    let mut addresses: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        })
        .collect();
    addresses.dedup();
    addresses
}

/// The address of the interface with the route to `other`. Connecting a UDP socket sends nothing.
fn outgoing_ip(own: &str, other: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(own).ok()?;
    socket.connect(other.parse::<SocketAddr>().ok()?).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn chosen(listen: &str, configured: &[&str], external: &[&str]) -> Vec<(String, String)> {
        let host = HostAddresses::new(listen.parse().unwrap(), &ips(configured), &ips(external));
        let interfaces = ips(&["127.0.0.1", "::1", "172.17.0.1", "192.168.7.2", "fe80::1", "2001:db8::2"]);
        let default = ["192.168.7.2", "2001:db8::2"].map(|ip| ip.parse().ok());
        let addresses = host.relay_addresses(&interfaces, &default);
        addresses.iter().map(|address| (address.bind.to_string(), address.advertised.to_string())).collect()
    }

    fn direct(ip: &str) -> (String, String) {
        (ip.to_owned(), ip.to_owned())
    }

    #[test]
    fn default_route_comes_first_and_addresses_only_this_host_reaches_never() {
        assert_eq!(chosen("::", &[], &[]), ["192.168.7.2", "2001:db8::2", "172.17.0.1"].map(direct));
        assert_eq!(chosen("0.0.0.0", &[], &[]), ["192.168.7.2", "172.17.0.1"].map(direct));
    }

    #[test]
    fn what_is_set_by_hand_wins() {
        assert_eq!(chosen("127.0.0.1", &[], &[]), ["127.0.0.1"].map(direct));
        assert_eq!(chosen("::", &["127.0.0.1", "::1"], &[]), ["127.0.0.1", "::1"].map(direct));
    }

    #[test]
    fn external_address_stands_for_the_one_of_the_default_route() {
        let addresses = chosen("::", &[], &["198.51.100.7"]);
        assert_eq!(addresses[0], ("192.168.7.2".to_owned(), "198.51.100.7".to_owned()));
        assert_eq!(chosen("::", &[], &["2001:db8::2"])[1], direct("2001:db8::2"), "it is on an interface itself");
    }
}

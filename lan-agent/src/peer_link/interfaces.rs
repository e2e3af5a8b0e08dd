//! The local addresses that become host candidates.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::vec;

use if_addrs::{IfAddr, get_if_addrs};
use tracing::debug;

use super::Interfaces;

/// More addresses than a real device has; each one is a socket and a candidate to check against all of the peer's.
const MAX_ADDRESSES: usize = 16;

/// Asked by the stack each time it binds sockets, so that an ICE restart finds the interfaces of that moment.
#[derive(Debug, Clone)]
pub(super) struct LocalAddresses(pub(super) Interfaces);

impl LocalAddresses {
    fn now(&self) -> io::Result<Vec<IpAddr>> {
        Ok(match &self.0 {
            Interfaces::Usable => usable(get_if_addrs()?.into_iter().map(|interface| interface.ip())),
            Interfaces::Only(addresses) => addresses.clone(),
        })
    }

    /// Whether the stack will bind no IPv4 socket.
    pub(super) fn is_ipv6_only(&self) -> bool {
        self.now().is_ok_and(|addresses| addresses.iter().all(IpAddr::is_ipv6))
    }
}

impl ToSocketAddrs for LocalAddresses {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let addresses = self.now()?;
        debug!(count = addresses.len(), "local addresses");
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter())
    }
}

/// Every address a peer could reach, private IPv4 first; loopback when there is nothing else, so that a device without
/// any network can still talk to itself.
fn usable(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut usable: Vec<IpAddr> = addresses.filter(is_usable).collect();
    usable.sort_by_key(|address| (address.is_ipv6(), !is_local(*address)));
    usable.dedup();
    usable.truncate(MAX_ADDRESSES);
    if usable.is_empty() {
        usable.push(Ipv4Addr::LOCALHOST.into());
    }
    usable
}

fn is_usable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !(address.is_loopback() || address.is_unspecified()),
        IpAddr::V6(address) => !(address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local()),
    }
}

/// Loopback, private (RFC 1918), link-local or unique local (RFC 4193).
pub(super) fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local() || address.is_unique_local(),
    }
}

/// Whether `remote` lies in the subnet of one of this device's interfaces. Unknown interfaces count as no.
pub(super) fn is_on_link(remote: IpAddr) -> bool {
    let Ok(interfaces) = get_if_addrs() else { return false };
    interfaces.iter().any(|interface| match (&interface.addr, remote.to_canonical()) {
        (IfAddr::V4(own), IpAddr::V4(remote)) => same_subnet_v4(own.ip, own.netmask, remote),
        (IfAddr::V6(own), IpAddr::V6(remote)) => same_subnet_v6(own.ip, own.netmask, remote),
        (IfAddr::V4(_), IpAddr::V6(_)) | (IfAddr::V6(_), IpAddr::V4(_)) => false,
    })
}

fn same_subnet_v4(own: Ipv4Addr, netmask: Ipv4Addr, remote: Ipv4Addr) -> bool {
    let mask = netmask.to_bits();
    mask != 0 && own.to_bits() & mask == remote.to_bits() & mask
}

fn same_subnet_v6(own: Ipv6Addr, netmask: Ipv6Addr, remote: Ipv6Addr) -> bool {
    let mask = netmask.to_bits();
    mask != 0 && own.to_bits() & mask == remote.to_bits() & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn usable_keeps_private_public_and_ipv4_link_local_and_drops_the_rest() {
        let all = ["127.0.0.1", "::1", "fe80::1", "2001:db8::5", "fd00::5", "169.254.3.4", "11.0.0.2", "192.168.1.7"];
        let kept = usable(all.into_iter().map(ip));
        assert_eq!(kept, ["169.254.3.4", "192.168.1.7", "11.0.0.2", "fd00::5", "2001:db8::5"].map(ip));
    }

    #[test]
    fn a_device_without_network_offers_loopback() {
        assert_eq!(usable([ip("127.0.0.1"), ip("::1")].into_iter()), [ip("127.0.0.1")]);
    }

    #[test]
    fn more_addresses_than_the_limit_are_left_out() {
        let many = (1..=40_u8).map(|last| IpAddr::from([10, 0, 0, last]));
        assert_eq!(usable(many).len(), MAX_ADDRESSES);
    }

    #[test]
    fn local_ranges_are_recognised_also_as_mapped_ipv6() {
        for local in ["10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.1.1", "fe80::1", "fd12::1", "::ffff:10.0.0.1"] {
            assert!(is_local(ip(local)), "{local}");
        }
        for global in ["172.32.0.1", "100.64.0.1", "8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!is_local(ip(global)), "{global}");
        }
    }

    #[test]
    fn subnets_follow_the_netmask() {
        let own = Ipv4Addr::new(11, 0, 0, 2);
        let mask = Ipv4Addr::new(255, 255, 255, 0);
        assert!(same_subnet_v4(own, mask, Ipv4Addr::new(11, 0, 0, 99)));
        assert!(!same_subnet_v4(own, mask, Ipv4Addr::new(11, 0, 1, 99)));
        assert!(!same_subnet_v4(own, Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(8, 8, 8, 8)));
    }
}

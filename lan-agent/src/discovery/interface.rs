//! Which network interfaces the agent shows itself on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use if_addrs::Interface;

/// The interfaces a person asked for, or none: then every one that leads to a network of people.
#[derive(Debug, Clone, Default)]
pub struct InterfaceChoice {
    only: Vec<String>,
}

/// Names of interfaces that containers, virtual machines and overlay networks make. Nobody's phone is behind them.
const VIRTUAL_PREFIXES: [&str; 14] = [
    "docker",
    "podman",
    "virbr",
    "vmnet",
    "vboxnet",
    "lxcbr",
    "lxdbr",
    "cni",
    "flannel",
    "cali",
    "zt",
    "tailscale",
    "wg",
    "utun",
];

impl InterfaceChoice {
    /// Only the named interfaces, or addresses of interfaces; all suitable ones when the list is empty.
    #[must_use]
    pub fn new(only: Vec<String>) -> Self {
        Self { only }
    }

    /// Whether to show ourselves there. Loopback, point-to-point and virtual interfaces only when asked for by name.
    #[must_use]
    pub fn includes(&self, interface: &Interface) -> bool {
        if !self.only.is_empty() {
            return self.only.iter().any(|wanted| {
                *wanted == interface.name || wanted.parse::<IpAddr>().is_ok_and(|address| address == interface.ip())
            });
        }
        !interface.is_loopback()
            && !interface.is_p2p
            && !has_virtual_name(&interface.name)
            && !is_bridge_port(&interface.name)
    }

    /// Addresses that others on this network can open, the likeliest first: the one that packets to other networks
    /// leave from, then IPv4, then IPv6. Link-local IPv6 is left out, because a browser cannot open it.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let preferred = outgoing_address();
        let mut addresses: Vec<IpAddr> = interfaces
            .iter()
            .filter(|interface| self.includes(interface))
            .map(Interface::ip)
            .filter(|address| !is_link_local_v6(address))
            .collect();
        addresses.sort_by_key(|address| (Some(*address) != preferred, address.is_ipv6(), is_link_local_v4(address)));
        addresses.dedup();
        addresses
    }
}

/// The address packets to elsewhere leave from; nothing is sent to find out. `None` without a default route.
fn outgoing_address() -> Option<IpAddr> {
    // TEST-NET-3 (RFC 5737): routed like any far address, and nobody's.
    let elsewhere = SocketAddr::from((Ipv4Addr::new(203, 0, 113, 1), 9));
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(elsewhere).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn has_virtual_name(name: &str) -> bool {
    let docker_network =
        name.strip_prefix("br-").is_some_and(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    docker_network || VIRTUAL_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A port of a bridge has no network of its own: the bridge's interface speaks for it. So are the host's ends of
/// containers' cables.
fn is_bridge_port(name: &str) -> bool {
    let safe = !name.contains('/') && !name.starts_with('.');
    safe && std::path::Path::new("/sys/class/net").join(name).join("brport").exists()
}

fn is_link_local_v6(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn is_link_local_v4(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_link_local())
}

#[cfg(test)]
mod tests {
    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr};

    use super::*;

    fn interface(name: &str, address: [u8; 4]) -> Interface {
        let addr = IfAddr::V4(Ifv4Addr {
            ip: address.into(),
            netmask: [255, 255, 255, 0].into(),
            prefixlen: 24,
            broadcast: None,
        });
        Interface { name: name.to_owned(), addr, index: Some(7), oper_status: IfOperStatus::Up, is_p2p: false }
    }

    #[test]
    fn loopback_tunnels_and_container_networks_are_left_out_unless_named() {
        let everything_suitable = InterfaceChoice::default();
        assert!(everything_suitable.includes(&interface("eth0", [192, 168, 1, 2])));
        assert!(everything_suitable.includes(&interface("br0", [192, 168, 1, 2])));
        for (name, address) in [
            ("lo", [127, 0, 0, 1]),
            ("docker0", [172, 17, 0, 1]),
            ("br-0123456789ab", [172, 18, 0, 1]),
            ("virbr0", [192, 168, 122, 1]),
            ("wg0", [10, 9, 0, 1]),
        ] {
            assert!(!everything_suitable.includes(&interface(name, address)), "{name}");
            assert!(InterfaceChoice::new(vec![name.to_owned()]).includes(&interface(name, address)), "{name}");
        }
        let tunnel = Interface { is_p2p: true, ..interface("tun0", [10, 8, 0, 2]) };
        assert!(!everything_suitable.includes(&tunnel));
    }

    #[test]
    fn an_interface_can_be_named_by_its_address() {
        let choice = InterfaceChoice::new(vec!["127.0.0.1".to_owned()]);
        assert!(choice.includes(&interface("lo", [127, 0, 0, 1])));
        assert!(!choice.includes(&interface("eth0", [192, 168, 1, 2])));
        assert_eq!(choice.addresses(), vec![IpAddr::from([127, 0, 0, 1])]);
    }
}

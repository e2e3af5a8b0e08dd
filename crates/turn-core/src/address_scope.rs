//! What kind of address a peer's is, whatever way it is spelled.
//!
//! IPv6 has many ways to write an IPv4 address. Two of them (mapped, compatible) never travel as IPv6 packets, but a
//! dual-stack socket turns them into IPv4: they are forbidden outright. The others (NAT64, 6to4, Teredo, ISATAP) end
//! at an IPv4 host behind a gateway: they are judged by the address inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressScope {
    /// A host on the public internet.
    Public,
    /// Private or otherwise special (RFC 6890): no peer unless it is known to be one.
    Special,
    /// No peer, ever: this host itself, groups of hosts, link-local, cloud metadata, and spellings without a use.
    Forbidden,
}

impl AddressScope {
    /// The scope of an address as it stands on the wire.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => of_ipv4(v4),
            IpAddr::V6(v6) => of_ipv6(v6),
        }
    }
}

use AddressScope::{Forbidden, Public, Special};

/// Network, prefix length, scope. The first that matches decides.
const IPV4_RANGES: &[(Ipv4Addr, u32, AddressScope)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, Forbidden),      // "this network", RFC 791 §3.2
    (Ipv4Addr::new(127, 0, 0, 0), 8, Forbidden),    // loopback, RFC 1122 §3.2.1.3
    (Ipv4Addr::new(169, 254, 0, 0), 16, Forbidden), // link-local and metadata, RFC 3927
    (Ipv4Addr::new(192, 0, 0, 0), 24, Forbidden),   // protocol assignments and metadata, RFC 6890 §2.1
    (Ipv4Addr::new(100, 100, 100, 200), 32, Forbidden), // metadata (Alibaba)
    (Ipv4Addr::new(168, 63, 129, 16), 32, Forbidden), // host agent (Azure)
    (Ipv4Addr::new(224, 0, 0, 0), 4, Forbidden),    // multicast, RFC 1112 §4
    (Ipv4Addr::new(240, 0, 0, 0), 4, Forbidden),    // reserved, and limited broadcast, RFC 1112 §4, RFC 919
    (Ipv4Addr::new(10, 0, 0, 0), 8, Special),       // private, RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10, Special),    // shared by carriers, RFC 6598
    (Ipv4Addr::new(172, 16, 0, 0), 12, Special),    // private, RFC 1918
    (Ipv4Addr::new(192, 0, 2, 0), 24, Special),     // documentation, RFC 5737
    (Ipv4Addr::new(192, 31, 196, 0), 24, Special),  // AS112, RFC 7535
    (Ipv4Addr::new(192, 52, 193, 0), 24, Special),  // AMT, RFC 7450
    (Ipv4Addr::new(192, 88, 99, 0), 24, Special),   // 6to4 relays, RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16, Special),   // private, RFC 1918
    (Ipv4Addr::new(192, 175, 48, 0), 24, Special),  // AS112, RFC 7534
    (Ipv4Addr::new(198, 18, 0, 0), 15, Special),    // benchmarks, RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24, Special),  // documentation, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24, Special),   // documentation, RFC 5737
];

/// Network, prefix length, scope. The first that matches decides; what matches none must be in 2000::/3.
const IPV6_RANGES: &[(Ipv6Addr, u32, AddressScope)] = &[
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96, Forbidden), // ::, ::1, compatible, RFC 4291 §2.5.5.1
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, Forbidden), // mapped, RFC 4291 §2.5.5.2
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, Forbidden), // translated, RFC 2765 §2.1
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 63, Forbidden), // discard and dummy, RFC 6666, RFC 9780
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32, Forbidden), // metadata (AWS)
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, Forbidden), // metadata (Google)
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Forbidden), // link-local, RFC 4291 §2.5.6
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Forbidden), // site-local, RFC 3879
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Forbidden), // multicast, RFC 4291 §2.7
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Special), // local NAT64, RFC 8215
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Special), // unique local, RFC 4193
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Special), // documentation, RFC 3849
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Special), // documentation, RFC 9637
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, Special), // segment routing, RFC 9602
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, Special), // AS112, RFC 7534
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, Public), // Teredo: judged by what is inside, RFC 4380
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Special), // protocol assignments, RFC 2928
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, Public), // NAT64: judged by what is inside, RFC 6052
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Public), // global unicast, RFC 4291 §2.4
];

fn of_ipv4(address: Ipv4Addr) -> AddressScope {
    let found = IPV4_RANGES
        .iter()
        .find(|(network, prefix, _)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= *prefix);
    found.map_or(Public, |(_, _, scope)| *scope)
}

fn of_ipv6(address: Ipv6Addr) -> AddressScope {
    let found = IPV6_RANGES
        .iter()
        .find(|(network, prefix, _)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= *prefix);
    let outer = found.map_or(Special, |(_, _, scope)| *scope);
    // A special address behind a gateway is nobody's own: forbidden, not just special.
    let inner_is_public = embedded_ipv4(address).into_iter().flatten().all(|inner| of_ipv4(inner) == Public);
    if inner_is_public { outer } else { Forbidden }
}

/// IPv4 addresses inside an address that some gateway or host turns into them.
pub(crate) fn embedded_ipv4(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let bits = address.to_bits();
    let low = Ipv4Addr::from_bits(bits as u32);
    match address.segments() {
        // NAT64 (RFC 6052 §2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => [Some(low), None],
        // 6to4 (RFC 3056 §2).
        [0x2002, ..] => [Some(Ipv4Addr::from_bits((bits >> 80) as u32)), None],
        // Teredo: the server, and the client with all bits flipped (RFC 4380 §4).
        [0x2001, 0, ..] => [Some(Ipv4Addr::from_bits((bits >> 64) as u32)), Some(Ipv4Addr::from_bits(!bits as u32))],
        // ISATAP interface identifiers (RFC 5214 §6.1).
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => [Some(low), None],
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> AddressScope {
        AddressScope::of(text.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_public() {
        for text in [
            "8.8.8.8",
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "198.20.0.1",
            "223.255.255.255",
        ] {
            assert_eq!(scope(text), Public, "{text}");
        }
    }

    #[test]
    fn private_addresses_are_special() {
        for text in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "fd12::1",
            "2001:db8::1",
            "198.19.255.255",
            "203.0.113.9",
            "4000::1",
        ] {
            assert_eq!(scope(text), Special, "{text}");
        }
    }

    #[test]
    fn loopback_is_forbidden_in_every_spelling() {
        for text in [
            "127.0.0.1",
            "127.255.255.254",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::1",
            "2001:0:808:808::80ff:fffe",
            "2606:4700::5efe:7f00:1",
            "2606:4700::200:5efe:127.0.0.1",
        ] {
            assert_eq!(scope(text), Forbidden, "{text}");
        }
    }
}

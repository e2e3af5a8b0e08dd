//! `host[:port]`, as it stands in `Host` and `Origin`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The host a browser means, and the port where it named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: Host,
    pub(crate) port: Option<u16>,
}

/// A host: an address, or a name in lower case without the final dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Authority {
    /// Reads an authority without user information (RFC 3986 §3.2). `None` for everything a browser would not send.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (inside, rest) = rest.split_once(']')?;
            let ip: Ipv6Addr = inside.parse().ok()?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':')?),
            };
            (Host::Ip(IpAddr::V6(ip).to_canonical()), port)
        } else {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            (Host::parse(host)?, port)
        };
        let port = match port {
            None => None,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        Some(Self { host, port })
    }

    /// The port, or the scheme's own.
    pub(crate) fn port_or_default(&self, scheme: Scheme) -> u16 {
        self.port.unwrap_or(match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        })
    }
}

impl Host {
    /// Reads a name or an IP address without brackets.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Self::Ip(ip.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_name = !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
            // "1.2.3", "0x7f.1" and the like mean an address to some browsers: a host name does not end in digits.
            && name.rsplit('.').next().is_some_and(|label| label.bytes().any(|byte| byte.is_ascii_alphabetic()));
        is_name.then_some(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// http or https, as the browser sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_ports_are_read() {
        let shown = |text: &str| Authority::parse(text).map(|authority| authority.to_string());
        assert_eq!(shown("Attic.LOCAL.:53380").as_deref(), Some("attic.local:53380"));
        assert_eq!(shown("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(shown("[2001:db8::1]:80").as_deref(), Some("[2001:db8::1]:80"));
        assert_eq!(shown("[::ffff:192.0.2.1]").as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for text in [
            "",
            ":80",
            "a:b",
            "a:99999",
            "user@host",
            "a b",
            "[::1",
            "[::1]80",
            "::1",
            "a:+1",
            "0x7f.1",
            "127.1",
            "a/b",
            "a:",
        ] {
            assert_eq!(Authority::parse(text), None, "{text:?}");
        }
    }
}

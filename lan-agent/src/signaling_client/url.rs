//! Where a server is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A server's address: scheme, host and port; the path is always `/v1/ws`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    secure: bool,
    authority: String,
}

/// A text that is no server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a server's address begins with http:// or https:// and names a host")]
pub struct ServerUrlError;

impl ServerUrl {
    /// Takes scheme and host of a page's address, such as the part of a link before `#`.
    ///
    /// # Errors
    /// Another scheme, or no host.
    pub fn of_page(page: &str) -> Result<Self, ServerUrlError> {
        let (secure, rest) = match (page.strip_prefix("http://"), page.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            (None, None) => return Err(ServerUrlError),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let plain = authority
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']'));
        if authority.is_empty() || authority.len() > 260 || !plain {
            return Err(ServerUrlError);
        }
        Ok(Self { secure, authority: authority.to_owned() })
    }

    /// An agent on this network.
    #[must_use]
    pub fn of_agent(address: IpAddr, port: u16) -> Self {
        Self { secure: false, authority: SocketAddr::new(address, port).to_string() }
    }

    /// `ws://…/v1/ws` or `wss://…/v1/ws`.
    pub(super) fn websocket(&self) -> String {
        self.endpoint("ws")
    }

    /// `ws://…/v1/relay` or `wss://…/v1/relay`.
    pub(super) fn lane(&self) -> String {
        self.endpoint("relay")
    }

    fn endpoint(&self, name: &str) -> String {
        format!("{}://{}/v1/{name}", if self.secure { "wss" } else { "ws" }, self.authority)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/", if self.secure { "https" } else { "http" }, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_leads_to_its_websocket() {
        for (page, socket) in [
            ("http://192.168.1.2:53380/", "ws://192.168.1.2:53380/v1/ws"),
            ("https://relay.example", "wss://relay.example/v1/ws"),
            ("http://[fd00::1]:53380/x#1.a.b", "ws://[fd00::1]:53380/v1/ws"),
        ] {
            assert_eq!(ServerUrl::of_page(page).unwrap().websocket(), socket);
        }
    }

    #[test]
    fn other_schemes_credentials_and_odd_characters_are_refused() {
        for bad in ["ftp://a", "a.example", "http://", "https:///x", "http://user@host/", "http://a b/", "http://é/"] {
            assert_eq!(ServerUrl::of_page(bad), Err(ServerUrlError), "{bad}");
        }
    }
}

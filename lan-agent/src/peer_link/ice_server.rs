//! From configured ICE servers to those that the stack can use.

use tracing::debug;

use super::turn_bridge::Way;
use super::{LinkConfig, OpenError, Policy};

/// One configured server, sorted by how the stack reaches it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct UsableServer {
    /// STUN and TURN over UDP, which the stack speaks itself.
    pub(super) urls: Vec<String>,
    /// TURN over TCP and TLS, which needs a [`Bridge`](super::turn_bridge::Bridge).
    pub(super) ways: Vec<Way>,
    /// There is TURN over UDP among `urls`.
    pub(super) turn_over_udp: bool,
    pub(super) username: String,
    pub(super) credential: String,
}

impl UsableServer {
    pub(super) fn has_relay(&self) -> bool {
        self.turn_over_udp || !self.ways.is_empty()
    }
}

/// Sorts and filters the servers of `config`.
///
/// # Errors
/// TURN without credentials, or only relays allowed and none usable.
pub(super) fn usable(config: &LinkConfig) -> Result<Vec<UsableServer>, OpenError> {
    let mut servers = Vec::new();
    for server in &config.ice_servers {
        let mut usable = UsableServer {
            username: server.username.clone(),
            credential: server.credential.clone(),
            ..UsableServer::default()
        };
        for url in &server.urls {
            match Kind::of(url) {
                Kind::Stun => usable.urls.push(url.clone()),
                Kind::TurnUdp | Kind::TurnStream(_) if config.policy == Policy::DirectOnly => {}
                Kind::TurnUdp | Kind::TurnStream(_) if server.username.is_empty() || server.credential.is_empty() => {
                    return Err(OpenError::NoCredential { url: url.clone() });
                }
                Kind::TurnUdp => {
                    usable.turn_over_udp = true;
                    usable.urls.push(url.clone());
                }
                Kind::TurnStream(way) => usable.ways.push(way),
                Kind::Unusable => debug!(url, "ICE server left out: neither STUN nor TURN"),
            }
        }
        if !usable.urls.is_empty() || !usable.ways.is_empty() {
            servers.push(usable);
        }
    }
    if config.policy == Policy::RelayOnly && !servers.iter().any(UsableServer::has_relay) {
        return Err(OpenError::NoRelayServer);
    }
    Ok(servers)
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Stun,
    TurnUdp,
    TurnStream(Way),
    Unusable,
}

impl Kind {
    fn of(url: &str) -> Self {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let over_udp = query.is_empty() || query.eq_ignore_ascii_case("transport=udp");
        match address.split_once(':') {
            Some((scheme, host)) if !host.is_empty() && scheme.eq_ignore_ascii_case("stun") => Self::Stun,
            Some((scheme, host)) if !host.is_empty() && scheme.eq_ignore_ascii_case("turn") && over_udp => {
                Self::TurnUdp
            }
            _ => Way::parse(url).map_or(Self::Unusable, Self::TurnStream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{IceServer, Role};
    use super::*;

    fn config(policy: Policy, urls: &[&str]) -> LinkConfig {
        let server = IceServer {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            username: "1700000000:7".to_owned(),
            credential: "secret".to_owned(),
        };
        LinkConfig { policy, ice_servers: vec![server], ..LinkConfig::new(Role::Offerer) }
    }

    fn only_server(config: &LinkConfig) -> UsableServer {
        usable(config).expect("usable").remove(0)
    }

    const ALL: [&str; 5] =
        ["stun:a:3478", "turn:a:3478", "turn:a:3478?transport=udp", "turn:a:3478?transport=tcp", "turns:a:443"];

    #[test]
    fn turn_over_tcp_and_tls_goes_through_a_bridge() {
        let server = only_server(&config(Policy::All, &ALL));
        assert_eq!(server.urls, ALL[..3]);
        assert_eq!(server.ways, [Way::parse(ALL[3]).expect("tcp"), Way::parse(ALL[4]).expect("tls")]);
    }

    #[test]
    fn direct_only_keeps_stun_and_leaves_turn_out() {
        let server = only_server(&config(Policy::DirectOnly, &ALL));
        assert_eq!(server.urls, ALL[..1]);
        assert!(!server.has_relay());
    }

    #[test]
    fn relay_only_without_a_usable_turn_server_is_an_error() {
        let result = usable(&config(Policy::RelayOnly, &["stun:a:3478", "turns:a:443?transport=udp"]));
        assert!(matches!(result, Err(OpenError::NoRelayServer)));
    }

    #[test]
    fn turn_without_credentials_is_an_error_that_names_the_server() {
        for turn in ["turn:a:3478", "turns:a:443"] {
            let mut config = config(Policy::All, &[turn]);
            config.ice_servers[0].credential.clear();
            assert!(matches!(usable(&config), Err(OpenError::NoCredential { url }) if url == turn));
        }
    }

    #[test]
    fn turn_over_tls_alone_is_a_relay() {
        assert!(only_server(&config(Policy::RelayOnly, &["turns:a:443"])).has_relay());
    }

    #[test]
    fn credentials_do_not_appear_in_debug_output() {
        let shown = format!("{:?}", config(Policy::All, &["turn:a:3478"]));
        assert!(!shown.contains("secret"), "{shown}");
    }
}

//! From configured ICE servers to those that the stack can use.

use tracing::debug;
use webrtc::peer_connection::RTCIceServer;

use super::{LinkConfig, OpenError, Policy};

/// What is left of the configured servers.
pub(super) struct UsableServers {
    pub(super) servers: Vec<RTCIceServer>,
    /// There is a TURN server among them.
    pub(super) has_relay: bool,
}

/// Rewrites and filters the servers of `config`.
///
/// # Errors
/// TURN without credentials, or only relays allowed and none usable.
pub(super) fn usable(config: &LinkConfig) -> Result<UsableServers, OpenError> {
    let mut servers = Vec::new();
    let mut has_relay = false;
    for server in &config.ice_servers {
        let mut urls = Vec::new();
        for url in &server.urls {
            let rewritten = match &config.rewrite_url {
                Some(rewrite) => rewrite(url),
                None => Some(url.clone()),
            };
            let Some(url) = rewritten else { continue };
            match Kind::of(&url) {
                Kind::Stun => urls.push(url),
                Kind::TurnUdp if config.policy == Policy::DirectOnly => {}
                Kind::TurnUdp => {
                    if server.username.is_empty() || server.credential.is_empty() {
                        return Err(OpenError::NoCredential { url });
                    }
                    has_relay = true;
                    urls.push(url);
                }
                Kind::Unusable => debug!(url, "ICE server left out: not STUN or TURN over UDP"),
            }
        }
        if !urls.is_empty() {
            servers.push(RTCIceServer {
                urls,
                username: server.username.clone(),
                credential: server.credential.clone(),
            });
        }
    }
    if config.policy == Policy::RelayOnly && !has_relay {
        return Err(OpenError::NoRelayServer);
    }
    Ok(UsableServers { servers, has_relay })
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Stun,
    TurnUdp,
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
            _ => Self::Unusable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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

    fn urls(config: &LinkConfig) -> Vec<String> {
        usable(config).expect("usable").servers.into_iter().flat_map(|server| server.urls).collect()
    }

    const ALL: [&str; 5] =
        ["stun:a:3478", "turn:a:3478", "turn:a:3478?transport=udp", "turn:a:3478?transport=tcp", "turns:a:443"];

    #[test]
    fn turn_over_tcp_and_tls_is_left_out() {
        assert_eq!(urls(&config(Policy::All, &ALL)), ALL[..3]);
    }

    #[test]
    fn direct_only_keeps_stun_and_leaves_turn_out() {
        assert_eq!(urls(&config(Policy::DirectOnly, &ALL)), ALL[..1]);
    }

    #[test]
    fn relay_only_without_a_usable_turn_server_is_an_error() {
        let result = usable(&config(Policy::RelayOnly, &["stun:a:3478", "turns:a:443"]));
        assert!(matches!(result, Err(OpenError::NoRelayServer)));
    }

    #[test]
    fn turn_without_credentials_is_an_error_that_names_the_server() {
        let mut config = config(Policy::All, &["turn:a:3478"]);
        config.ice_servers[0].credential.clear();
        assert!(matches!(usable(&config), Err(OpenError::NoCredential { url }) if url == "turn:a:3478"));
    }

    #[test]
    fn a_rewritten_url_makes_turn_over_tls_usable() {
        let mut config = config(Policy::RelayOnly, &["turns:a:443"]);
        config.rewrite_url = Some(Arc::new(|url| url.starts_with("turns:").then(|| "turn:127.0.0.1:40000".to_owned())));
        assert_eq!(urls(&config), ["turn:127.0.0.1:40000"]);
    }

    #[test]
    fn credentials_do_not_appear_in_debug_output() {
        let shown = format!("{:?}", config(Policy::All, &["turn:a:3478"]));
        assert!(!shown.contains("secret"), "{shown}");
    }
}

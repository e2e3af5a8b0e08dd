//! Time-limited credentials for other applications, and ICE servers as pages take them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lanyard_protocol::signaling::IceServer;
use lanyard_turn_core::SharedSecret;

use crate::config::{Config, Secret};

/// Bytes of an id at most.
const MAX_ID_BYTES: usize = 200;

/// What a page needs to relay here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    /// `expiry:id`.
    pub username: String,
    /// The password.
    pub credential: Secret,
    /// When it ends, in seconds since 1970.
    pub expires_unix: u64,
}

/// Why there is no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The id cannot be part of a username.
    #[error("an id has 1 to {MAX_ID_BYTES} bytes and no control characters")]
    Id,
    /// The time is none, or the clock is set before 1970.
    #[error("the time must end between now and the year 10000; is the clock right?")]
    Time,
}

/// Mints a credential that opens allocations for `lifetime` from now, for somebody called `id`.
///
/// # Errors
/// See [`MintError`].
pub fn mint(secret: &Secret, lifetime: Duration, id: &str) -> Result<Minted, MintError> {
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
        return Err(MintError::Id);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| MintError::Time)?;
    let expires_unix = now.checked_add(lifetime).ok_or(MintError::Time)?.as_secs();
    if lifetime.is_zero() || expires_unix > 253_402_300_799 {
        return Err(MintError::Time);
    }
    let minted = SharedSecret::new(secret.reveal().as_bytes()).mint(expires_unix, id);
    Ok(Minted { username: minted.username, credential: Secret::new(minted.password), expires_unix })
}

/// The ports that a relay is reached at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// STUN, and TURN over UDP.
    pub udp: u16,
    /// TURN over TCP.
    pub tcp: Option<u16>,
    /// TURN over TLS.
    pub tls: Option<u16>,
}

impl Ports {
    /// Those of a relay that runs with this configuration. `None` when it has no STUN, or takes any free port.
    #[must_use]
    pub fn of_config(config: &Config) -> Option<Self> {
        let udp = config.stun.listen.port();
        if !config.stun.enabled || udp == 0 {
            return None;
        }
        let tls = config.tls.listen.first().or(config.turn.tls_listen.first()).map(std::net::SocketAddr::port);
        Some(Self {
            udp,
            tcp: config.turn.tcp.then_some(udp),
            tls: tls.filter(|_| config.tls.is_on()).filter(|port| *port != 0),
        })
    }

    /// STUN at `host`, IPv6 in brackets.
    #[must_use]
    pub fn stun(self, host: &str) -> IceServer {
        IceServer { urls: vec![format!("stun:{host}:{}", self.udp)], username: None, credential: None }
    }

    /// TURN at `host` over all its transports, best first.
    #[must_use]
    pub fn turn(self, host: &str, username: &str, credential: &str) -> IceServer {
        let udp = format!("turn:{host}:{}?transport=udp", self.udp);
        let tcp = self.tcp.map(|port| format!("turn:{host}:{port}?transport=tcp"));
        let tls = self.tls.map(|port| format!("turns:{host}:{port}?transport=tcp"));
        IceServer {
            urls: [Some(udp), tcp, tls].into_iter().flatten().collect(),
            username: Some(username.to_owned()),
            credential: Some(credential.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_names_its_end_and_its_bearer() {
        let secret = Secret::new("north-of-the-river");
        let minted = mint(&secret, Duration::from_secs(60), "guest").unwrap();
        assert_eq!(minted.username, format!("{}:guest", minted.expires_unix));
        assert_eq!(minted.credential.reveal().len(), 28);
        assert!(!format!("{minted:?}").contains(minted.credential.reveal()));
        for bad in ["", "a\nb", &"x".repeat(201)] {
            assert_eq!(mint(&secret, Duration::from_secs(60), bad), Err(MintError::Id));
        }
        assert_eq!(mint(&secret, Duration::ZERO, "guest"), Err(MintError::Time));
        assert_eq!(mint(&secret, Duration::MAX, "guest"), Err(MintError::Time));
    }
}

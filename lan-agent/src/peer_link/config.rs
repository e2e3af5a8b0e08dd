//! What a link is opened with.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Which side of the offer and answer exchange (RFC 9429 §3) this device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Makes the offer, creates both data channels, restarts ICE.
    Offerer,
    /// Waits for the offer.
    Answerer,
}

/// Which kinds of path a link may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The best that works.
    #[default]
    All,
    /// Only through a TURN server: no address of this device is told to the peer.
    RelayOnly,
    /// Never through a TURN server, not even the peer's.
    DirectOnly,
}

/// A STUN or TURN server, as `joined` lists it and as `RTCPeerConnection` takes it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` URLs (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// For `turn:` and `turns:`; empty otherwise.
    pub username: String,
    /// For `turn:` and `turns:`; empty otherwise.
    pub credential: String,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// How much may be on its way to the peer before [`PeerLink::send_data`](super::PeerLink::send_data) waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// Bytes per channel that were given to the stack and not yet acknowledged by the peer. One message may exceed it.
    pub high_water_bytes: usize,
}

impl Pacing {
    /// Towards another agent, whose socket buffers are as large as ours.
    pub const NATIVE: Self = Self { high_water_bytes: 1024 * 1024 };
    /// Towards a browser: larger bursts overflow its socket's buffer, and each loss costs a second or more.
    pub const BROWSER: Self = Self { high_water_bytes: 128 * 1024 };
}

/// Which local addresses offer themselves as host candidates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Interfaces {
    /// Every address of every interface that is up, IPv4 and IPv6, whether or not there is a default route.
    /// Loopback is not among them, nor are IPv6 link-local addresses, which mean nothing without a zone.
    #[default]
    Usable,
    /// Exactly these.
    Only(Vec<IpAddr>),
}

/// Finds the address behind a browser's `<uuid>.local` candidate; `None` when nobody answers.
pub type ResolveName = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Option<IpAddr>> + Send>> + Send + Sync>;

/// Everything a link needs to know before it opens.
#[derive(Clone)]
pub struct LinkConfig {
    /// Offerer or answerer.
    pub role: Role,
    /// STUN and TURN servers; may be empty on a LAN.
    pub ice_servers: Vec<IceServer>,
    /// Which paths are allowed.
    pub policy: Policy,
    /// Where sending waits.
    pub pacing: Pacing,
    /// Which local addresses take part.
    pub interfaces: Interfaces,
    /// How long the link may take from the moment both descriptions are known until both channels are open.
    pub connect_timeout: Duration,
    /// Asked for each `.local` candidate of the peer. Without it they are ignored, which mostly does no harm:
    /// the peer's checks reach this device and reveal its address (RFC 8445 §7.3.1.3).
    pub resolve_name: Option<ResolveName>,
    /// Which certificates `turns:` servers may show. `None`: what the system trusts.
    pub turn_tls: Option<Arc<rustls::ClientConfig>>,
}

impl LinkConfig {
    /// A link between agents on one LAN: no servers, all paths, 30 s to connect.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            ice_servers: Vec::new(),
            policy: Policy::All,
            pacing: Pacing::NATIVE,
            interfaces: Interfaces::Usable,
            connect_timeout: Duration::from_secs(30),
            resolve_name: None,
            turn_tls: None,
        }
    }
}

impl fmt::Debug for LinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkConfig")
            .field("role", &self.role)
            .field("ice_servers", &self.ice_servers)
            .field("policy", &self.policy)
            .field("pacing", &self.pacing)
            .field("interfaces", &self.interfaces)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

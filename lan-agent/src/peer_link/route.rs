//! Which way packets take, in the words that a person is shown.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use webrtc::peer_connection::{
    PeerConnection, RTCIceCandidate, RTCIceCandidateType, RTCIceProtocol, RTCStatsReportEntry, StatsSelector,
};

use super::interfaces::{is_local, is_on_link};

/// The answer to "does this stay in the house?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Straight to an address of the same network.
    DirectLan,
    /// Straight to the other device, through the internet.
    DirectInternet,
    /// Through a TURN server of either side.
    Relayed,
}

/// Candidate type (RFC 8445 §5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateKind {
    /// An address of an interface.
    Host,
    /// What a STUN server sees.
    ServerReflexive,
    /// What the peer sees, learned from its checks.
    PeerReflexive,
    /// An address of a TURN server.
    Relayed,
}

/// Address family of the selected pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The selected candidate pair. Addresses stay inside: this is what may be shown and logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteInfo {
    /// The summary.
    pub route: Route,
    /// This side's candidate.
    pub local: CandidateKind,
    /// The peer's candidate.
    pub remote: CandidateKind,
    /// TCP instead of UDP between the two candidates.
    pub tcp: bool,
    /// Of the peer's address.
    pub family: Family,
    /// From the last connectivity check; `None` until one was answered.
    pub round_trip_time: Option<Duration>,
}

/// What tells one selected pair from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SelectedPair {
    local: (String, u16),
    remote: (IpAddr, u16),
    local_kind: CandidateKind,
    remote_kind: CandidateKind,
    tcp: bool,
}

impl SelectedPair {
    /// The pair in use, if there is one already.
    pub(super) async fn current(connection: &dyn PeerConnection) -> Option<Self> {
        let ice = connection.sctp().await?.transport().ice_transport();
        let pair = ice.get_selected_candidate_pair().await.ok()??;
        let (local, remote) = (pair.local(), pair.remote());
        Some(Self {
            local: (local.address.clone(), local.port),
            remote: (remote.address.parse().ok()?, remote.port),
            local_kind: kind(local)?,
            remote_kind: kind(remote)?,
            tcp: remote.protocol == RTCIceProtocol::Tcp,
        })
    }

    /// `remote_relays` are the peer's relayed addresses as signaled: its relay may be seen as peer-reflexive first.
    pub(super) fn describe(&self, remote_relays: &[SocketAddr], round_trip_time: Option<Duration>) -> RouteInfo {
        let (address, port) = self.remote;
        let remote_kind = if remote_relays.contains(&SocketAddr::new(address, port)) {
            CandidateKind::Relayed
        } else {
            self.remote_kind
        };
        RouteInfo {
            route: classify(self.local_kind, remote_kind, is_local(address) || is_on_link(address)),
            local: self.local_kind,
            remote: remote_kind,
            tcp: self.tcp,
            family: if address.to_canonical().is_ipv4() { Family::V4 } else { Family::V6 },
            round_trip_time,
        }
    }
}

/// A private address that a STUN server reported belongs to a provider's network, not to this one.
fn classify(local: CandidateKind, remote: CandidateKind, remote_is_near: bool) -> Route {
    match (local, remote) {
        (CandidateKind::Relayed, _) | (_, CandidateKind::Relayed) => Route::Relayed,
        (_, CandidateKind::Host | CandidateKind::PeerReflexive) if remote_is_near => Route::DirectLan,
        (_, CandidateKind::Host | CandidateKind::PeerReflexive | CandidateKind::ServerReflexive) => {
            Route::DirectInternet
        }
    }
}

fn kind(candidate: &RTCIceCandidate) -> Option<CandidateKind> {
    match candidate.typ {
        RTCIceCandidateType::Host => Some(CandidateKind::Host),
        RTCIceCandidateType::Srflx => Some(CandidateKind::ServerReflexive),
        RTCIceCandidateType::Prflx => Some(CandidateKind::PeerReflexive),
        RTCIceCandidateType::Relay => Some(CandidateKind::Relayed),
        RTCIceCandidateType::Unspecified | _ => None,
    }
}

/// Counters of the selected pair.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PairStats {
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) round_trip_time: Option<Duration>,
}

pub(super) async fn pair_stats(connection: &dyn PeerConnection) -> PairStats {
    let report = connection.get_stats(Instant::now(), StatsSelector::None).await;
    let mut stats = PairStats::default();
    let mut selected = String::new();
    for entry in report.iter() {
        if let RTCStatsReportEntry::Transport(transport) = entry {
            stats.bytes_sent = transport.bytes_sent;
            stats.bytes_received = transport.bytes_received;
            selected.clone_from(&transport.selected_candidate_pair_id);
        }
    }
    for entry in report.iter() {
        if let RTCStatsReportEntry::IceCandidatePair(pair) = entry
            && pair.stats.id == selected
        {
            stats.round_trip_time =
                Duration::try_from_secs_f64(pair.current_round_trip_time).ok().filter(|rtt| !rtt.is_zero());
        }
    }
    stats
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: CandidateKind = CandidateKind::Host;
    const SRFLX: CandidateKind = CandidateKind::ServerReflexive;
    const PRFLX: CandidateKind = CandidateKind::PeerReflexive;
    const RELAY: CandidateKind = CandidateKind::Relayed;

    #[test]
    fn a_relay_on_either_side_makes_the_route_relayed() {
        assert_eq!(classify(RELAY, HOST, true), Route::Relayed);
        assert_eq!(classify(HOST, RELAY, true), Route::Relayed);
    }

    #[test]
    fn a_near_host_or_peer_reflexive_address_is_the_lan() {
        assert_eq!(classify(HOST, HOST, true), Route::DirectLan);
        assert_eq!(classify(PRFLX, PRFLX, true), Route::DirectLan);
    }

    #[test]
    fn everything_else_that_is_direct_is_the_internet() {
        assert_eq!(classify(HOST, HOST, false), Route::DirectInternet);
        assert_eq!(classify(SRFLX, SRFLX, false), Route::DirectInternet);
        assert_eq!(classify(HOST, SRFLX, true), Route::DirectInternet);
    }

    #[test]
    fn a_relay_that_was_learned_from_its_checks_is_still_a_relay() {
        let pair = SelectedPair {
            local: ("192.168.1.2".to_owned(), 5000),
            remote: (IpAddr::from([192, 168, 1, 9]), 50_000),
            local_kind: HOST,
            remote_kind: PRFLX,
            tcp: false,
        };
        assert_eq!(pair.describe(&[], None).route, Route::DirectLan);
        let relay = SocketAddr::from(([192, 168, 1, 9], 50_000));
        assert_eq!(pair.describe(&[relay], None).route, Route::Relayed);
    }
}

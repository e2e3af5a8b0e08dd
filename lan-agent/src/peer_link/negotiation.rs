//! Offer, answer and candidates: what arrives in which order, and what has to wait.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lanyard_protocol::limits::BODY_BYTES;
use rtc::peer_connection::configuration::RTCOfferOptions;
use tokio::time::Instant;
use tracing::debug;
use webrtc::peer_connection::{PeerConnection, RTCIceCandidateInit, RTCSessionDescription};

use super::error::StackError;
use super::shared::Shared;
use super::{LinkConfig, LinkEvent, Policy, ResolveName, RestartError, Role, Signal, SignalError};

/// The only media section of our descriptions.
pub(super) const DATA_SECTION_ID: &str = "0";
/// Bytes of one candidate line. Real ones have about 200.
const CANDIDATE_BYTES: usize = 1024;
/// Candidates of one generation, and candidates that may wait for their description.
const CANDIDATES: usize = 64;
/// How long a `.local` name may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the exchange. Its owner calls one method at a time, which keeps signals in order.
pub(super) struct Negotiation {
    role: Role,
    policy: Policy,
    resolve_name: Option<ResolveName>,
    connect_timeout: Duration,
    awaits_answer: bool,
    /// ICE username fragment of the peer's newest description.
    remote_ufrag: Option<String>,
    /// Candidates that were faster than their description. When full, the next one is refused.
    early: Vec<Candidate>,
    /// Candidates given to the stack for `remote_ufrag`.
    accepted: usize,
}

impl Negotiation {
    pub(super) fn new(config: &LinkConfig) -> Self {
        Self {
            role: config.role,
            policy: config.policy,
            resolve_name: config.resolve_name.clone(),
            connect_timeout: config.connect_timeout,
            awaits_answer: false,
            remote_ufrag: None,
            early: Vec::new(),
            accepted: 0,
        }
    }

    /// Makes an offer, with new ICE credentials when `restart`, and tells the owner to send it.
    pub(super) async fn offer(
        &mut self,
        connection: &dyn PeerConnection,
        shared: &Shared,
        restart: bool,
    ) -> Result<(), RestartError> {
        if self.role != Role::Offerer {
            return Err(RestartError::NotOfferer);
        }
        if self.awaits_answer {
            return Err(RestartError::InProgress);
        }
        let stack = |error: webrtc::error::Error| RestartError::Stack(Box::new(error));
        let options = restart.then_some(RTCOfferOptions { ice_restart: true });
        let offer = connection.create_offer(options).await.map_err(stack)?;
        let sdp = offer.sdp.clone();
        self.announce(shared, &sdp, Signal::Offer { sdp: sdp.clone() });
        connection.set_local_description(offer).await.map_err(stack)?;
        self.awaits_answer = true;
        Ok(())
    }

    pub(super) async fn handle(
        &mut self,
        connection: &Arc<dyn PeerConnection>,
        shared: &Arc<Shared>,
        signal: Signal,
    ) -> Result<(), SignalError> {
        match signal {
            Signal::Offer { sdp } if self.role == Role::Answerer => {
                self.take_description(connection, shared, sdp, RTCSessionDescription::offer).await?;
                let answer = connection.create_answer(None).await.map_err(description)?;
                let sdp = answer.sdp.clone();
                self.announce(shared, &sdp, Signal::Answer { sdp: sdp.clone() });
                connection.set_local_description(answer).await.map_err(description)?;
                shared.expect_open_by(Instant::now() + self.connect_timeout);
                Ok(())
            }
            Signal::Answer { sdp } if self.awaits_answer => {
                self.take_description(connection, shared, sdp, RTCSessionDescription::answer).await?;
                self.awaits_answer = false;
                shared.expect_open_by(Instant::now() + self.connect_timeout);
                Ok(())
            }
            Signal::Offer { .. } => Err(SignalError::Unexpected { kind: "offer", role: self.role }),
            Signal::Answer { .. } => Err(SignalError::Unexpected { kind: "answer", role: self.role }),
            Signal::Candidate { candidate, .. } => self.take_candidate(connection, shared, &candidate).await,
            // The stack needs no sign of it: pairs fail by their own clock.
            Signal::EndOfCandidates => Ok(()),
            // An attempt of another kind.
            Signal::Lane { .. } => Ok(()),
        }
    }

    /// The description goes out before the stack starts to gather, so that it precedes its candidates.
    fn announce(&self, shared: &Shared, sdp: &str, signal: Signal) {
        shared.set_local_ufrag(attribute(sdp, "ice-ufrag").unwrap_or_default());
        shared.notify(LinkEvent::Signal(signal));
    }

    async fn take_description(
        &mut self,
        connection: &Arc<dyn PeerConnection>,
        shared: &Arc<Shared>,
        sdp: String,
        parse: fn(String) -> webrtc::error::Result<RTCSessionDescription>,
    ) -> Result<(), SignalError> {
        if sdp.len() > BODY_BYTES {
            return Err(SignalError::TooLong { len: sdp.len(), limit: BODY_BYTES });
        }
        // Candidates inside the description take the same way as those beside it: limits, policy, `.local` names.
        let (sdp, inside) = split_candidates(&sdp);
        let ufrag = attribute(&sdp, "ice-ufrag").map(str::to_owned);
        connection.set_remote_description(parse(sdp).map_err(description)?).await.map_err(description)?;
        if self.remote_ufrag != ufrag {
            self.remote_ufrag = ufrag;
            self.accepted = 0;
        }
        let early = std::mem::take(&mut self.early);
        for candidate in inside.iter().filter_map(|line| Candidate::parse(line)).chain(early) {
            if self.belongs_to_current(&candidate)
                && let Err(error) = self.accept(connection, shared, candidate).await
            {
                debug!(%error, "candidate refused");
            }
        }
        Ok(())
    }

    async fn take_candidate(
        &mut self,
        connection: &Arc<dyn PeerConnection>,
        shared: &Arc<Shared>,
        line: &str,
    ) -> Result<(), SignalError> {
        if line.len() > CANDIDATE_BYTES {
            return Err(SignalError::TooLong { len: line.len(), limit: CANDIDATE_BYTES });
        }
        if line.is_empty() {
            // How a browser says that there are no more.
            return Ok(());
        }
        let Some(candidate) = Candidate::parse(line) else {
            return Err(SignalError::Candidate("not a candidate line".into()));
        };
        if self.remote_ufrag.is_some() && self.belongs_to_current(&candidate) {
            return self.accept(connection, shared, candidate).await;
        }
        if self.early.len() >= CANDIDATES {
            return Err(SignalError::TooManyCandidates { limit: CANDIDATES });
        }
        self.early.push(candidate);
        Ok(())
    }

    /// A candidate that does not say its generation is taken to be of the current one.
    fn belongs_to_current(&self, candidate: &Candidate) -> bool {
        candidate.ufrag.is_none() || candidate.ufrag == self.remote_ufrag
    }

    async fn accept(
        &mut self,
        connection: &Arc<dyn PeerConnection>,
        shared: &Arc<Shared>,
        candidate: Candidate,
    ) -> Result<(), SignalError> {
        if !candidate.is_udp || (self.policy == Policy::DirectOnly && candidate.is_relayed) {
            return Ok(());
        }
        if self.accepted >= CANDIDATES {
            return Err(SignalError::TooManyCandidates { limit: CANDIDATES });
        }
        self.accepted += 1;
        match candidate.address.parse::<IpAddr>() {
            Ok(address) => {
                if candidate.is_relayed {
                    shared.add_remote_relay(SocketAddr::new(address, candidate.port));
                }
                add(&**connection, candidate.line).await.map_err(|error| SignalError::Candidate(Box::new(error)))
            }
            Err(_) => {
                self.resolve(connection, shared, candidate);
                Ok(())
            }
        }
    }

    /// Looks up an mDNS name beside everything else. Other names are not looked up at all: a peer must not make this
    /// device ask a name server for it.
    fn resolve(&self, connection: &Arc<dyn PeerConnection>, shared: &Arc<Shared>, candidate: Candidate) {
        let Some(resolve_name) = self.resolve_name.clone().filter(|_| is_mdns_name(&candidate.address)) else {
            return;
        };
        let connection = Arc::downgrade(connection);
        let closing = Arc::clone(shared);
        shared.spawn(async move {
            let lookup = tokio::time::timeout(RESOLVE_TIMEOUT, resolve_name(candidate.address.clone()));
            let found = tokio::select! {
                () = closing.wait_closing() => return,
                found = lookup => found,
            };
            let Ok(Some(address)) = found else {
                debug!("nobody answers for a .local candidate");
                return;
            };
            let Some(connection) = connection.upgrade() else { return };
            let line = candidate.line.replacen(&candidate.address, &address.to_string(), 1);
            if let Err(error) = add(&*connection, line).await {
                debug!(%error, "resolved candidate was refused");
            }
        });
    }
}

async fn add(connection: &dyn PeerConnection, candidate: String) -> webrtc::error::Result<()> {
    let init = RTCIceCandidateInit { candidate, sdp_mline_index: Some(0), ..RTCIceCandidateInit::default() };
    connection.add_ice_candidate(init).await
}

fn description(error: webrtc::error::Error) -> SignalError {
    let error: StackError = Box::new(error);
    SignalError::Description(error)
}

/// The first value of `a=<name>:` in `sdp`.
fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

/// The description without its `a=candidate` lines, and these as they would be trickled.
fn split_candidates(sdp: &str) -> (String, Vec<String>) {
    let mut candidates = Vec::new();
    let mut rest = String::with_capacity(sdp.len());
    for line in sdp.lines() {
        match line.strip_prefix("a=candidate:") {
            Some(candidate) => candidates.push(format!("candidate:{}", candidate.trim_end())),
            None => {
                rest.push_str(line);
                rest.push_str("\r\n");
            }
        }
    }
    (rest, candidates)
}

/// `<one label>.local`, as browsers make them up.
fn is_mdns_name(name: &str) -> bool {
    name.strip_suffix(".local").is_some_and(|label| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// The parts of a candidate line (RFC 8839 §5.1) that matter before the stack reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    line: String,
    address: String,
    port: u16,
    is_udp: bool,
    is_relayed: bool,
    ufrag: Option<String>,
}

impl Candidate {
    /// `candidate:<foundation> <component> <transport> <priority> <address> <port> typ <type> [<name> <value>]…`
    fn parse(line: &str) -> Option<Self> {
        let line = line.strip_prefix("a=").unwrap_or(line).trim_end();
        let mut words = line.strip_prefix("candidate:")?.split_ascii_whitespace();
        let _foundation = words.next()?;
        let _component = words.next()?;
        let is_udp = words.next()?.eq_ignore_ascii_case("udp");
        let _priority = words.next()?;
        let address = words.next()?.to_owned();
        let port = words.next()?.parse().ok()?;
        if words.next()? != "typ" {
            return None;
        }
        let is_relayed = words.next()? == "relay";
        let mut ufrag = None;
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if name == "ufrag" {
                ufrag = Some(value.to_owned());
            }
        }
        Some(Self { line: line.to_owned(), address, port, is_udp, is_relayed, ufrag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROWSER: &str = "candidate:842163049 1 udp 1677729535 11.0.0.9 46154 typ srflx raddr 0.0.0.0 rport 0 \
                           generation 0 ufrag 8Kqf network-cost 999";

    #[test]
    fn a_browsers_candidate_is_read() {
        let candidate = Candidate::parse(BROWSER).expect("candidate");
        assert_eq!((candidate.address.as_str(), candidate.port), ("11.0.0.9", 46154));
        assert!(candidate.is_udp && !candidate.is_relayed);
        assert_eq!(candidate.ufrag.as_deref(), Some("8Kqf"));
    }

    #[test]
    fn what_is_not_a_candidate_is_refused() {
        for line in ["candidate:", "candidate:1 1 udp 1 1.2.3.4", "candidate:1 1 udp 1 1.2.3.4 99999 typ host", "x"] {
            assert_eq!(Candidate::parse(line), None, "{line}");
        }
    }

    #[test]
    fn candidates_are_taken_out_of_a_description() {
        let sdp = "v=0\r\na=ice-ufrag:abcd\r\na=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\na=mid:0\r\n";
        let (rest, candidates) = split_candidates(sdp);
        assert_eq!(rest, "v=0\r\na=ice-ufrag:abcd\r\na=mid:0\r\n");
        assert_eq!(candidates, ["candidate:1 1 udp 1 10.0.0.1 9 typ host"]);
        assert_eq!(attribute(&rest, "ice-ufrag"), Some("abcd"));
    }

    #[test]
    fn only_single_label_local_names_are_looked_up() {
        assert!(is_mdns_name("7f9d2c9e-3a51-4f4b-8a0e-0d8a3b6b8a11.local"));
        for name in ["example.com", "a.b.local", ".local", "local", "a_b.local", "a\n.local"] {
            assert!(!is_mdns_name(name), "{name}");
        }
    }
}

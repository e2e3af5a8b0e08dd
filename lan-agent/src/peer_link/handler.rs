//! The stack's callbacks. They run on the connection's own task and so never wait for the owner.

use std::sync::{Arc, Weak};

use tracing::{debug, warn};
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::{
    PeerConnectionEventHandler, RTCIceGatheringState, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
};

use super::channel::Label;
use super::negotiation::DATA_SECTION_ID;
use super::shared::Shared;
use super::{CloseReason, LinkEvent, LinkState, Policy, Signal};

pub(super) struct Handler {
    /// Weak, because the connection owns this handler and `Shared` owns channels of the connection.
    pub(super) shared: Weak<Shared>,
    pub(super) policy: Policy,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut candidate = event.candidate;
        if self.policy == Policy::RelayOnly {
            // A relayed candidate carries the address it was allocated from (RFC 8839 §5.1).
            candidate.related_address = "0.0.0.0".to_owned();
            candidate.related_port = 0;
        }
        match candidate.to_json() {
            Ok(init) => shared.notify(LinkEvent::Signal(Signal::Candidate {
                candidate: format!("{} ufrag {}", init.candidate, shared.local_ufrag()),
                sdp_mid: Some(DATA_SECTION_ID.to_owned()),
                sdp_m_line_index: Some(0),
            })),
            Err(error) => debug!(%error, "local candidate cannot be written"),
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if let (RTCIceGatheringState::Complete, Some(shared)) = (state, self.shared.upgrade()) {
            shared.notify(LinkEvent::Signal(Signal::EndOfCandidates));
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let Some(shared) = self.shared.upgrade() else { return };
        debug!(%state, "connection state");
        match state {
            RTCPeerConnectionState::Connected => shared.notify(LinkEvent::State(LinkState::Connected)),
            RTCPeerConnectionState::Disconnected => shared.notify(LinkEvent::State(LinkState::Disconnected)),
            RTCPeerConnectionState::Failed => shared.notify(LinkEvent::State(LinkState::Failed)),
            RTCPeerConnectionState::Closed => shared.begin_close(CloseReason::Peer),
            RTCPeerConnectionState::Unspecified
            | RTCPeerConnectionState::New
            | RTCPeerConnectionState::Connecting
            | _ => {}
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let Some(shared) = self.shared.upgrade() else { return };
        if let Some(label) = acceptable(&*channel).await
            && shared.attach(label, Arc::clone(&channel))
        {
            return;
        }
        warn!("the peer opened a data channel that is not part of a link; closing it");
        if let Err(error) = channel.close().await {
            debug!(%error, "unknown data channel was gone already");
        }
    }
}

/// The label of a channel that is one of ours, ordered and reliable.
async fn acceptable(channel: &dyn DataChannel) -> Option<Label> {
    let label = Label::parse(&channel.label().await.ok()?)?;
    let reliable = channel.ordered().await.ok()?
        && channel.max_retransmits().await.ok()?.is_none()
        && channel.max_packet_life_time().await.ok()?.is_none();
    reliable.then_some(label)
}

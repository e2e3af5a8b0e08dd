//! What a link tells its owner.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::channel::ControlIn;
use super::shared::{Receivers, Shared};
use super::{RouteInfo, Signal};

/// Something happened on a link.
#[derive(Debug, Clone)]
pub enum LinkEvent {
    /// To be brought to the other side.
    Signal(Signal),
    /// Both data channels are open; from here on sending works.
    Open,
    /// A JSON text of the control channel, at most 64 KiB.
    Control(String),
    /// A binary message of the control channel, at most 64 KiB: the bind that has to come before anything else (LK-4).
    Bind(Bytes),
    /// A binary frame of the data channel.
    Data(Bytes),
    /// The path that packets take, whenever it changes. The one at `Open` may be replaced soon.
    Route(RouteInfo),
    /// Whether the other side answers connectivity checks. Ends nothing.
    State(LinkState),
    /// The end; no event follows.
    Closed(CloseReason),
}

/// Whether the other side can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// It answers.
    Connected,
    /// No answer for 5 s. It may be asleep, or its network may have changed.
    Disconnected,
    /// No answer for minutes: only [`PeerLink::restart_ice`](super::PeerLink::restart_ice) helps.
    Failed,
}

/// Why a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// `close` was called, or link or events were dropped.
    #[error("closed by this device")]
    Local,
    /// The other side closed the connection or one of the channels.
    #[error("closed by the other device")]
    Peer,
    /// Both sides described themselves, yet no channel opened in time.
    #[error("no path to the other device was found in time")]
    ConnectTimeout,
    /// The other side broke the rules of the link.
    #[error("the other device broke the protocol: {0}")]
    PeerBrokeRules(&'static str),
}

/// The receiving half of a link. Dropping it closes the link in the background.
pub struct LinkEvents {
    receivers: Receivers,
    shared: Arc<Shared>,
    ended: bool,
}

impl LinkEvents {
    pub(super) fn new(receivers: Receivers, shared: Arc<Shared>) -> Self {
        Self { receivers, shared, ended: false }
    }

    /// The next event; `None` after [`LinkEvent::Closed`]. May be dropped and called again without losing an event.
    ///
    /// Signals, states and routes come before messages, and control messages before data, whatever their order of
    /// arrival. What the peer sent before it closed is delivered before `Closed`.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        if self.ended {
            return None;
        }
        tokio::select! {
            biased;
            Some(notice) = self.receivers.notices.recv() => Some(notice),
            Some(message) = self.receivers.control.recv() => Some(match message {
                ControlIn::Text(text) => LinkEvent::Control(text),
                ControlIn::Binary(bytes) => LinkEvent::Bind(bytes),
            }),
            Some(frame) = self.receivers.data.recv() => Some(LinkEvent::Data(frame)),
            else => {
                self.ended = true;
                Some(LinkEvent::Closed(self.shared.closing().unwrap_or(CloseReason::Local)))
            }
        }
    }
}

impl Drop for LinkEvents {
    fn drop(&mut self) {
        self.shared.begin_close(CloseReason::Local);
    }
}

impl fmt::Debug for LinkEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkEvents").field("ended", &self.ended).finish_non_exhaustive()
    }
}

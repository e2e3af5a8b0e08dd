//! The two data channels, and the task that empties each of them.

use std::sync::Arc;

use bytes::Bytes;
use lanyard_protocol::limits::CONTROL_MESSAGE_BYTES;
use tokio::sync::mpsc;
use tracing::{debug, trace};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelMessage};

use super::shared::Shared;
use super::{CloseReason, socket};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Control,
    Data,
}

impl Label {
    pub(super) const ALL: [Self; 2] = [Self::Control, Self::Data];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Data => "data",
        }
    }

    pub(super) fn parse(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == label)
    }
}

/// A message of the control channel.
pub(super) enum ControlIn {
    Text(String),
    Binary(Bytes),
}

/// Where the messages of one channel go.
pub(super) enum Sink {
    Control(mpsc::Sender<ControlIn>),
    Data(mpsc::Sender<Bytes>),
}

impl Sink {
    fn label(&self) -> Label {
        match self {
            Self::Control(_) => Label::Control,
            Self::Data(_) => Label::Data,
        }
    }
}

enum Refused {
    /// The owner dropped its events.
    NoReader,
    Rules(&'static str),
}

/// Moves messages of `channel` into `sink` until either ends.
///
/// While the sink is full the channel is not polled, which closes SCTP's receive window and so slows the peer.
pub(super) async fn pump(shared: Arc<Shared>, channel: Arc<dyn DataChannel>, sink: Sink) {
    let label = sink.label();
    loop {
        let event = tokio::select! {
            biased;
            () = shared.wait_discard() => break,
            event = channel.poll() => event,
        };
        match event {
            Some(DataChannelEvent::OnOpen) => {
                debug!(channel = label.as_str(), "data channel is open");
                shared.channel_opened(label).await;
            }
            Some(DataChannelEvent::OnMessage(message)) => {
                // A message proves that the channel is open, should the stack ever deliver it first.
                shared.channel_opened(label).await;
                let forwarded = tokio::select! {
                    biased;
                    () = shared.wait_discard() => break,
                    forwarded = forward(&shared, &sink, message) => forwarded,
                };
                match forwarded {
                    Ok(()) => {}
                    Err(Refused::NoReader) => {
                        shared.begin_close(CloseReason::Local);
                        break;
                    }
                    Err(Refused::Rules(rule)) => {
                        shared.begin_close(CloseReason::PeerBrokeRules(rule));
                        break;
                    }
                }
            }
            Some(DataChannelEvent::OnClose) | None => break,
            Some(other) => trace!(channel = label.as_str(), event = ?other, "data channel event"),
        }
    }
    debug!(channel = label.as_str(), "data channel has ended");
    drop(sink);
    shared.channel_ended(label);
}

async fn forward(shared: &Shared, sink: &Sink, message: RTCDataChannelMessage) -> Result<(), Refused> {
    if !shared.is_open() && !shared.wait_open().await {
        // The other channel never opened; the peer's messages have nobody to go to.
        return Ok(());
    }
    match sink {
        Sink::Control(queue) => {
            if message.data.len() > CONTROL_MESSAGE_BYTES {
                return Err(Refused::Rules("control message over 64 KiB"));
            }
            let message = if message.is_string {
                let text = String::from_utf8(message.data.into());
                ControlIn::Text(text.map_err(|_| Refused::Rules("control message is not UTF-8 text"))?)
            } else {
                ControlIn::Binary(message.data.freeze())
            };
            queue.send(message).await.map_err(|_| Refused::NoReader)
        }
        Sink::Data(queue) => {
            if message.is_string {
                return Err(Refused::Rules("text on the data channel"));
            }
            if message.data.len() > socket::MAX_MESSAGE_BYTES {
                return Err(Refused::Rules("data frame over the agreed size"));
            }
            queue.send(message.data.freeze()).await.map_err(|_| Refused::NoReader)
        }
    }
}

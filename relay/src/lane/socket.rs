//! One WebSocket of a lane, from upgrade to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use lanyard_protocol::lane::LaneHello;
use lanyard_protocol::limits::LANE_MESSAGE_BYTES;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use super::pipe::{PipeIn, PipeOut};
use super::registry::{Guest, Joined, LaneRefusal, Lanes, Seat, Toll};
use crate::AGENT_TOKEN_HEADER;
use crate::http::{AppState, Caller};
use crate::metrics::Metrics;
use crate::out_queue::Close;
use crate::ws::is_too_long;

/// How long a socket may take to show its ticket.
const HELLO_TIME: Duration = Duration::from_secs(5);

/// How long the other end gets to answer our close frame.
const CLOSE_ANSWER: Duration = Duration::from_secs(1);

pub(crate) async fn upgrade(
    State(state): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response<Body> {
    if let Err(refusal) = state.guard.check_page(&caller, &headers) {
        return refusal.into_response();
    }
    let trusted = caller.is_loopback
        && headers.get(AGENT_TOKEN_HEADER).is_some_and(|value| state.agent_token.matches(value.as_bytes()));
    let guest = match state.lanes.admit(caller.ip, trusted) {
        Ok(guest) => guest,
        Err(why) => {
            let status = match why {
                LaneRefusal::Disabled => StatusCode::NOT_FOUND,
                LaneRefusal::SourceFull => StatusCode::TOO_MANY_REQUESTS,
                LaneRefusal::ServerFull => StatusCode::SERVICE_UNAVAILABLE,
            };
            state.metrics.lane_refused();
            return (status, format!("{why}; try again later\n")).into_response();
        }
    };
    let served = Served {
        lanes: state.lanes.clone(),
        metrics: Arc::clone(&state.metrics),
        ping: state.signaling.ping(),
        dead: state.signaling.dead(),
    };
    upgrade
        .max_message_size(LANE_MESSAGE_BYTES)
        .max_frame_size(LANE_MESSAGE_BYTES)
        .on_upgrade(move |socket| served.serve(socket, guest))
}

/// What serving one socket needs.
struct Served {
    lanes: Lanes,
    metrics: Arc<Metrics>,
    ping: Duration,
    dead: Duration,
}

impl Served {
    async fn serve(self, socket: WebSocket, guest: Guest) {
        let _open = self.metrics.socket_opened();
        self.metrics.lane_opened();
        let (mut sink, mut stream) = socket.split();
        let close = match self.carry(&mut sink, &mut stream, guest).await {
            Ok(()) => return,
            Err(close) => close,
        };
        debug!(code = close.code, reason = close.reason, "closed a lane's socket");
        self.metrics.count_lane_close(close);
        let frame = CloseFrame { code: close.code, reason: close.reason.into() };
        // Lets the other end answer the close frame, so that it is not lost with the connection.
        let closing = async {
            if sink.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = stream.next().await {}
            }
        };
        let _ = timeout(CLOSE_ANSWER, closing).await;
    }

    /// Ends with `Ok` when the socket itself ended, else with what to close it with.
    async fn carry(
        &self,
        sink: &mut SplitSink<WebSocket, Message>,
        stream: &mut SplitStream<WebSocket>,
        guest: Guest,
    ) -> Result<(), Close> {
        let first = loop {
            match timeout(HELLO_TIME, hear(stream)).await.map_err(|_| Close::IDLE)?? {
                Heard::Message(first) => break first,
                Heard::Sign => {}
                Heard::End => return Ok(()),
            }
        };
        let hello = LaneHello::decode(&first).map_err(|_| Close::MALFORMED)?;
        let mut seat = self.lanes.seat(guest, hello)?;
        let mut end = seat.end.clone();
        // Not read while it waits: what it sends stays with it.
        let Joined { to_other, from_other, is_own } = tokio::select! {
            joined = timeout(self.lanes.partner_time(), &mut seat.joined) => {
                joined.map_err(|_| Close::NOBODY_CAME)?.map_err(|_| Close::OTHER_GONE)?
            }
            close = ended(&mut end) => return Err(close),
        };
        tokio::select! {
            read = self.read(stream, &to_other, &seat, is_own) => read,
            close = self.write(sink, from_other) => Err(close),
            close = ended(&mut end) => Err(close),
        }
    }

    /// Reads at the pace of the other side and of the limits.
    async fn read(
        &self,
        stream: &mut SplitStream<WebSocket>,
        to_other: &PipeIn,
        seat: &Seat,
        is_own: bool,
    ) -> Result<(), Close> {
        loop {
            let message = match timeout(self.dead, hear(stream)).await.map_err(|_| Close::DEAD)?? {
                Heard::Message(message) => message,
                Heard::Sign => continue,
                Heard::End => return Ok(()),
            };
            let bytes = message.len();
            if to_other.send(message).await.is_err() {
                // The writer says why, after what is left to write.
                return std::future::pending().await;
            }
            self.metrics.lane_forwarded(bytes);
            if is_own {
                continue;
            }
            let now = Instant::now();
            match seat.toll(now, bytes) {
                Toll::WaitUntil(at) if at > now => tokio::time::sleep_until(at.into()).await,
                Toll::WaitUntil(_) => {}
                Toll::UsedUp => return Err(Close::USED_UP),
            }
        }
    }

    /// Writes what comes from the other side, and pings while nothing does.
    async fn write(&self, sink: &mut SplitSink<WebSocket, Message>, mut from_other: PipeOut) -> Close {
        loop {
            let (message, _in_pipe) = match timeout(self.ping, from_other.next()).await {
                Ok(Some(in_pipe)) => (Message::Binary(in_pipe.message.clone()), Some(in_pipe)),
                Ok(None) => return Close::OTHER_GONE,
                Err(_) => (Message::Ping(Bytes::new()), None),
            };
            match timeout(self.dead, sink.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Close::DEAD,
            }
        }
    }
}

/// What came from a socket.
enum Heard {
    Message(Bytes),
    /// A ping or pong.
    Sign,
    End,
}

async fn hear(stream: &mut SplitStream<WebSocket>) -> Result<Heard, Close> {
    match stream.next().await {
        Some(Ok(Message::Binary(bytes))) => Ok(Heard::Message(bytes)),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Heard::Sign),
        Some(Ok(Message::Text(_))) => Err(Close::MALFORMED),
        Some(Err(error)) if is_too_long(&error) => Err(Close::TOO_LONG),
        Some(Ok(Message::Close(_)) | Err(_)) | None => Ok(Heard::End),
    }
}

async fn ended(end: &mut watch::Receiver<Option<Close>>) -> Close {
    // The registry keeps the sender as long as the seat lives.
    let close = end.wait_for(Option::is_some).await.ok().and_then(|close| *close);
    close.unwrap_or(Close::MAILBOX_GONE)
}

//! `/v1/ws`: one WebSocket, from upgrade to end.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use lanyard_protocol::limits::SIGNALING_MESSAGE_BYTES;
use lanyard_protocol::signaling::ClientMessage;
use lanyard_signaling::{AdmitError, Origin, Pace, Pacer, Violation};
use tokio::sync::watch;
use tracing::debug;

use crate::AGENT_TOKEN_HEADER;
use crate::http::{AppState, Caller, Host};
use crate::metrics::Metrics;
use crate::out_queue::{Close, Item};
use crate::switchboard::{Seat, Visitor};

/// How long the other end gets to answer our close frame.
const CLOSE_ANSWER: Duration = Duration::from_secs(1);

/// Bytes read from the socket at once; messages are small.
const READ_BUFFER_BYTES: usize = 8 * 1024;

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
    let visitor =
        Visitor { origin: Origin { ip: caller.ip, trusted }, ice_host: ice_host(state.stun_host.as_deref(), &caller) };
    let seat = match state.switchboard.visit(visitor).await {
        Some(Ok(seat)) => seat,
        Some(Err(why)) => {
            let status = match why {
                AdmitError::SourceFull => StatusCode::TOO_MANY_REQUESTS,
                AdmitError::ServerFull => StatusCode::SERVICE_UNAVAILABLE,
            };
            state.metrics.socket_refused();
            return (status, format!("{why}; try again later\n")).into_response();
        }
        None => return (StatusCode::SERVICE_UNAVAILABLE, "this server is stopping\n").into_response(),
    };
    let pacer = (!trusted).then(|| Pacer::new(&state.signaling.limits()));
    let (ping, dead) = (state.signaling.ping(), state.signaling.dead());
    let metrics = Arc::clone(&state.metrics);
    upgrade
        .max_message_size(SIGNALING_MESSAGE_BYTES)
        .max_frame_size(SIGNALING_MESSAGE_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .on_upgrade(move |socket| serve(socket, seat, pacer, ping, dead, metrics))
}

/// The host that browsers are told for STUN: the one they reached us at. Names that only a resolver of their own
/// machine knows are replaced by the address, because browsers do not look STUN servers up there (FACTS: Chromium and
/// the hosts file).
fn ice_host(configured: Option<&str>, caller: &Caller) -> String {
    let host = match (configured.and_then(Host::parse), &caller.authority.host) {
        (Some(host), _) => host,
        (None, Host::Name(name)) if name == "localhost" || name.ends_with(".local") => Host::Ip(caller.local.ip()),
        (None, host) => host.clone(),
    };
    host.to_string()
}

async fn serve(
    socket: WebSocket,
    seat: Seat,
    pacer: Option<Pacer>,
    ping: Duration,
    dead: Duration,
    metrics: Arc<Metrics>,
) {
    let _open = metrics.socket_opened();
    let (mut sink, mut stream) = socket.split();
    let (heard, last_heard) = watch::channel(Instant::now());
    tokio::select! {
        () = read(&mut stream, &seat, pacer, &heard, &metrics) => {}
        close = write(&mut sink, &seat, ping) => {
            if let Some(close) = close {
                // Lets the other end answer the close frame, so that it is not lost with the connection.
                debug!(code = close.code, reason = close.reason, "closed a socket");
                let rest = async { while let Some(Ok(_)) = stream.next().await {} };
                let _ = tokio::time::timeout(CLOSE_ANSWER, rest).await;
            }
        }
        () = silence(last_heard, dead) => metrics.socket_dead(),
    }
}

/// Reads until the socket ends. After a violation what comes is read and thrown away, until the writer has closed.
async fn read(
    stream: &mut SplitStream<WebSocket>,
    seat: &Seat,
    mut pacer: Option<Pacer>,
    heard: &watch::Sender<Instant>,
    metrics: &Metrics,
) {
    let mut is_listening = true;
    while let Some(received) = stream.next().await {
        heard.send_replace(Instant::now());
        let message = match received {
            Ok(message) => message,
            Err(error) if is_too_long(&error) => {
                metrics.count_close(Close::TOO_LONG);
                seat.queue.close(Close::TOO_LONG);
                // Nothing more can be read; the writer ends this.
                return std::future::pending().await;
            }
            Err(error) => {
                debug!(%error, "reading a socket failed");
                return;
            }
        };
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) if is_listening => {
                seat.violation(Violation::Malformed).await;
                is_listening = false;
                continue;
            }
            Message::Close(_) => return,
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => continue,
        };
        if !is_listening {
            continue;
        }
        metrics.signaling_received(text.len());
        match ClientMessage::decode(&text) {
            Ok(message) => seat.message(message).await,
            Err(error) => {
                debug!(%error, "not a message");
                seat.violation(Violation::Malformed).await;
                is_listening = false;
            }
        }
        match pacer.as_mut().map_or(Pace::Go, |pacer| pacer.count(Instant::now(), text.len())) {
            Pace::Go => {}
            Pace::WaitUntil(at) => tokio::time::sleep_until(at.into()).await,
            Pace::Flood if is_listening => {
                seat.violation(Violation::Flooding).await;
                is_listening = false;
            }
            Pace::Flood => {}
        }
    }
}

/// Writes what is queued, and pings. Ends with the close frame it wrote, or `None` when writing failed.
async fn write(sink: &mut SplitSink<WebSocket, Message>, seat: &Seat, ping: Duration) -> Option<Close> {
    let mut pings = tokio::time::interval_at(tokio::time::Instant::now() + ping, ping);
    loop {
        let item = tokio::select! {
            item = seat.queue.next() => item,
            _ = pings.tick() => {
                sink.send(Message::Ping(Default::default())).await.ok()?;
                continue;
            }
        };
        match item {
            Item::Text(text) => sink.send(Message::Text(text.into())).await.ok()?,
            Item::Drained => seat.drained().await,
            Item::Close(close) => {
                let frame = CloseFrame { code: close.code, reason: close.reason.into() };
                sink.send(Message::Close(Some(frame))).await.ok()?;
                return Some(close);
            }
        }
    }
}

/// Ends when nothing was heard for so long, not even an answer to a ping.
async fn silence(last_heard: watch::Receiver<Instant>, dead: Duration) {
    loop {
        let at = *last_heard.borrow() + dead;
        if at <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(at.into()).await;
    }
}

pub(crate) fn is_too_long(error: &axum::Error) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<tungstenite::Error>())
        .is_some_and(|error| matches!(error, tungstenite::Error::Capacity(_)))
}

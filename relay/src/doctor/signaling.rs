//! The WebSocket, and the two memberships that probes of TURN need.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use lanyard_protocol::signaling::{ClientMessage, IceServer, ServerMessage};
use lanyard_protocol::{MailboxId, PROTOCOL_VERSION};
use rustls::RootCertStore;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::door::{Door, PATIENCE};
use super::turn_client::Duplex;

/// A clock that is wrong by more makes credentials that are expired, or valid for too long.
pub(super) const SKEW_MS: u64 = 60_000;

/// Why there is no signaling.
#[derive(Debug)]
pub(super) enum SignalingError {
    /// No connection.
    Shut,
    /// Something answers the upgrade with another status.
    NoUpgrade(u16),
    /// It opens, and nothing comes or something strange.
    Broken(String),
    /// Another version of the protocol.
    Refused(u32),
}

/// A member of a mailbox; it is one as long as this lives.
pub(super) struct Member {
    _socket: WebSocketStream<Box<dyn Duplex>>,
    pub(super) ice_servers: Vec<IceServer>,
    /// How far the server's clock is before ours, in milliseconds; negative when behind.
    pub(super) clock_ahead_ms: i64,
}

/// Joins a mailbox.
pub(super) async fn join(door: &Door, roots: &RootCertStore, mailbox: MailboxId) -> Result<Member, SignalingError> {
    let (stream, _) = door.open(roots).await.map_err(|_| SignalingError::Shut)?;
    let scheme = if door.tls { "wss" } else { "ws" };
    let url = format!("{scheme}://{}/v1/ws", door.authority);
    let broken = |error: &dyn std::fmt::Display| SignalingError::Broken(error.to_string());
    let opening = timeout(PATIENCE, tokio_tungstenite::client_async(url, stream));
    let mut socket = match opening.await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(tungstenite::Error::Http(answer))) => return Err(SignalingError::NoUpgrade(answer.status().as_u16())),
        Ok(Err(error)) => return Err(broken(&error)),
        Err(_) => return Err(broken(&"no answer")),
    };
    let asked_ms = now_ms();
    say(&mut socket, &ClientMessage::Hello { protocol_version: PROTOCOL_VERSION }).await?;
    let time_ms = loop {
        let message = hear(&mut socket).await?;
        if let ServerMessage::Refused { protocol_version, .. } = message {
            return Err(SignalingError::Refused(protocol_version));
        }
        if let ServerMessage::Welcome { time_ms, .. } = message {
            break time_ms;
        }
    };
    // The clock was read about half way of the round trip.
    let clock_ahead_ms = time_ms.cast_signed() - (asked_ms + now_ms()).cast_signed() / 2;
    say(&mut socket, &ClientMessage::Join { mailbox, slot: None }).await?;
    loop {
        let message = hear(&mut socket).await?;
        if let ServerMessage::Error { message, .. } = message {
            return Err(SignalingError::Broken(message));
        }
        if let ServerMessage::Joined { ice_servers, .. } = message {
            return Ok(Member { _socket: socket, ice_servers, clock_ahead_ms });
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

async fn say(socket: &mut WebSocketStream<Box<dyn Duplex>>, message: &ClientMessage) -> Result<(), SignalingError> {
    let text = serde_json::to_string(message).map_err(|error| SignalingError::Broken(error.to_string()))?;
    socket.send(Message::text(text)).await.map_err(|error| SignalingError::Broken(error.to_string()))
}

async fn hear(socket: &mut WebSocketStream<Box<dyn Duplex>>) -> Result<ServerMessage, SignalingError> {
    let listening = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return ServerMessage::decode(&text).map_err(|error| SignalingError::Broken(error.to_string()));
                }
                Some(Ok(Message::Close(_))) | None => {
                    return Err(SignalingError::Broken("it was closed at once".to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(SignalingError::Broken(error.to_string())),
            }
        }
    };
    timeout(PATIENCE, listening).await.unwrap_or_else(|_| Err(SignalingError::Broken("no answer".to_owned())))
}

//! A relay on free ports, and clients that can misbehave.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a failed test is what they are for")]

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lanyard_protocol::signaling::{Body, ClientMessage, ServerMessage};
use lanyard_protocol::{MailboxId, MemberNumber, PROTOCOL_VERSION, SlotToken};
use lanyard_relay::{Config, Page, Relay, RelayHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Everything a test waits for comes within this, or the test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Loopback, free ports, metrics on.
pub fn config() -> Config {
    let mut config = Config::default();
    config.http.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.tls.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.stun.listen = "127.0.0.1:0".parse().unwrap();
    config.turn.tls_listen = vec!["127.0.0.1:0".parse().unwrap()];
    config
}

pub fn page() -> Page {
    let file = |path: &str, text: &'static str| (path.to_owned(), Cow::Borrowed(text.as_bytes()));
    Page::from_files([
        file("index.html", "<!doctype html><title>Lanyard</title>"),
        file("assets/app-1a2b3c4d.js", "console.log(1)"),
        file("sw.js", "self"),
        file("manifest.webmanifest", "{}"),
    ])
}

pub async fn start(config: Config) -> RelayHandle {
    Relay::new(config).with_page(page()).run().await.unwrap()
}

pub fn address(relay: &RelayHandle) -> SocketAddr {
    relay.http_addresses()[0]
}

/// A WebSocket client.
pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Opens a socket with more headers.
    pub async fn open(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{address}/v1/ws").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let opening = tokio_tungstenite::connect_async(request);
        let (socket, _) = tokio::time::timeout(PATIENCE, opening).await.expect("the relay answers")?;
        Ok(Self { socket })
    }

    /// A socket that was welcomed.
    pub async fn connect(address: SocketAddr) -> Self {
        let mut client = Self::open(address, &[]).await.unwrap();
        client.hello().await;
        client
    }

    pub async fn hello(&mut self) -> ServerMessage {
        self.say(&ClientMessage::Hello { protocol_version: PROTOCOL_VERSION }).await;
        self.hear(|message| matches!(message, ServerMessage::Welcome { .. })).await
    }

    pub async fn say(&mut self, message: &ClientMessage) {
        self.say_text(serde_json::to_string(message).unwrap()).await;
    }

    pub async fn say_text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub async fn join(&mut self, mailbox: MailboxId, slot: Option<SlotToken>) -> ServerMessage {
        self.say(&ClientMessage::Join { mailbox, slot }).await;
        self.hear(|message| matches!(message, ServerMessage::Joined { .. })).await
    }

    pub async fn send(&mut self, mailbox: MailboxId, to: MemberNumber, bytes: &[u8]) {
        self.say(&ClientMessage::Send { mailbox, to, body: Body::new(bytes.to_vec()).unwrap() }).await;
    }

    /// The next message that is looked for; others are passed over.
    pub async fn hear(&mut self, wanted: impl Fn(&ServerMessage) -> bool) -> ServerMessage {
        let listening = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let message = ServerMessage::decode(&text).unwrap();
                        if wanted(&message) {
                            return message;
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("the socket ended: {other:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("the relay says it")
    }

    /// Reads until the end; gives the close code where one came.
    pub async fn end(&mut self) -> Option<u16> {
        let ending = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        };
        tokio::time::timeout(PATIENCE, ending).await.expect("the relay closes")
    }
}

/// Sends bytes as they are and reads to the end.
pub async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ =
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the relay answers and closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A GET with the right `Host` and more header lines.
pub async fn get(address: SocketAddr, path: &str, more: &str) -> String {
    raw(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n")).await
}

pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

pub fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// The figure of a metric.
pub fn figure(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find(|line| line.split(' ').next() == Some(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

/// Asks until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

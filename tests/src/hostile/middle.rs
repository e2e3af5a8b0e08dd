//! The proxy: what a browser or an agent takes for its relay.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use lanyard_protocol::signaling::ServerMessage;
use lanyard_relay::{Config, Relay, RelayHandle};
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::hub::Hub;

/// The longest head of a request.
const HEAD_BYTES: usize = 8192;

/// A real relay with somebody in front of it.
pub struct Middle {
    /// Where clients reach it.
    pub address: SocketAddr,
    /// What it does.
    pub hub: Hub,
    relay: RelayHandle,
    accepting: JoinHandle<()>,
}

impl Middle {
    /// Starts both on free ports of `ip`. The relay's limits per address are lifted: all clients have this one.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(ip: IpAddr) -> Result<Self> {
        let any_port = SocketAddr::new(ip, 0);
        let mut config = Config::default();
        config.http.listen = vec![any_port];
        config.http.connections = 20_000;
        config.http.connections_per_source = 20_000;
        config.stun.listen = any_port;
        config.signaling.sockets = 20_000;
        config.signaling.sockets_per_source = 20_000;
        config.signaling.mailboxes_per_source = 20_000;
        let relay = Relay::start(config).await.context("the relay does not start")?;
        let upstream = *relay.http_addresses().first().context("the relay has no address")?;
        let listener = TcpListener::bind(any_port).await?;
        let address = listener.local_addr()?;
        let hub = Hub::default();
        let accepting = tokio::spawn(accept(listener, upstream, hub.clone()));
        Ok(Self { address, hub, relay, accepting })
    }

    /// Ends both.
    pub async fn stop(self) {
        self.accepting.abort();
        self.relay.shutdown().await;
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, hub: Hub) {
    while let Ok((client, _)) = listener.accept().await {
        let hub = hub.clone();
        tokio::spawn(async move {
            // A client that goes away is no news.
            let _ = serve(client, upstream, hub).await;
        });
    }
}

async fn serve(client: TcpStream, upstream: SocketAddr, hub: Hub) -> Result<()> {
    client.set_nodelay(true)?;
    let head = peek_head(&client).await?;
    if head.starts_with("GET /v1/ws ") {
        signaling(client, upstream, hub).await
    } else {
        page(client, &head, upstream).await
    }
}

async fn peek_head(client: &TcpStream) -> Result<String> {
    let mut buffer = vec![0; HEAD_BYTES];
    loop {
        let length = client.peek(&mut buffer).await?;
        let head = String::from_utf8_lossy(&buffer[..length]);
        if let Some((head, _)) = head.split_once("\r\n\r\n") {
            return Ok(head.to_owned());
        }
        if length == 0 || length == HEAD_BYTES {
            bail!("no request");
        }
        client.readable().await?;
        tokio::task::yield_now().await;
    }
}

/// Carries one request for the page, under the name that the relay knows itself by.
async fn page(mut client: TcpStream, head: &str, upstream: SocketAddr) -> Result<()> {
    let mut taken = vec![0; head.len() + 4];
    tokio::io::AsyncReadExt::read_exact(&mut client, &mut taken).await?;
    let mut server = TcpStream::connect(upstream).await?;
    let is_kept = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !matches!(name.as_str(), "host" | "connection" | "origin")
    };
    let kept: Vec<&str> = head.split("\r\n").filter(is_kept).collect();
    let request = format!("{}\r\nHost: {upstream}\r\nConnection: close\r\n\r\n", kept.join("\r\n"));
    server.write_all(request.as_bytes()).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn signaling(client: TcpStream, upstream: SocketAddr, hub: Hub) -> Result<()> {
    let (mut to_client, mut from_client) = tokio_tungstenite::accept_async(client).await?.split();
    let (server, _) = tokio_tungstenite::connect_async(format!("ws://{upstream}/v1/ws")).await?;
    let (mut to_server, mut from_server) = server.split();
    let (say, mut said) = unbounded_channel::<ServerMessage>();
    loop {
        tokio::select! {
            message = from_client.next() => match message {
                Some(Ok(Message::Text(text))) => to_server.send(Message::Text(text)).await?,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    // As a client that ends: the relay keeps its slots for a while.
                    let _ = to_server.close().await;
                    return Ok(());
                }
            },
            message = from_server.next() => match message {
                Some(Ok(Message::Text(text))) => hub.to_client(ServerMessage::decode(&text)?, &say),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    let _ = to_client.close().await;
                    return Ok(());
                }
            },
            Some(message) = said.recv() => {
                to_client.send(Message::text(serde_json::to_string(&message)?)).await?;
            }
        }
    }
}

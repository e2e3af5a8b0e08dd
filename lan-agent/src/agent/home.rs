//! This agent's own server: the embedded relay, and the agent as a client of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lanyard_protocol::MailboxId;
use lanyard_relay::{AGENT_TOKEN_HEADER, Config, Relay, RelayHandle, StartError};
use tokio::sync::mpsc;

use crate::signaling_client::{ServerUrl, SignalingClient};

/// Ports tried from the wanted one on.
const PORT_TRIES: u16 = 20;

/// A running server of our own.
pub struct Home {
    /// Owns the sockets.
    pub relay: RelayHandle,
    /// The agent as its client.
    pub client: SignalingClient,
    /// Calls for this agent.
    pub rings: mpsc::Receiver<MailboxId>,
    /// TCP port of page and signaling.
    pub port: u16,
}

impl Home {
    /// Starts the server on all interfaces, at `port` or the next free one; any for 0.
    ///
    /// # Errors
    /// No port could be taken.
    pub async fn start(port: u16, hosts: Vec<String>) -> Result<Self, StartError> {
        Self::start_with(port, hosts, axum::Router::new()).await
    }

    /// The same, serving addresses besides that hold a secret of their own.
    ///
    /// # Errors
    /// No port could be taken.
    pub async fn start_with(port: u16, hosts: Vec<String>, secret: axum::Router) -> Result<Self, StartError> {
        let relay = match start_relay(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port, hosts.clone(), secret.clone()).await {
            Ok(relay) => relay,
            // A kernel without IPv6.
            Err(StartError::Bind { source, .. }) if source.kind() != std::io::ErrorKind::AddrInUse => {
                start_relay(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port, hosts, secret).await?
            }
            Err(error) => return Err(error),
        };
        let port = relay.http_addresses().first().map_or(port, SocketAddr::port);
        let url = ServerUrl::of_agent(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let token = (AGENT_TOKEN_HEADER, relay.agent_token().as_str().to_owned());
        let (client, rings) = SignalingClient::connect(vec![url], Some(token));
        Ok(Self { relay, client, rings, port })
    }
}

async fn start_relay(
    address: IpAddr,
    port: u16,
    hosts: Vec<String>,
    secret: axum::Router,
) -> Result<RelayHandle, StartError> {
    let mut config = Config::default();
    config.http.listen = vec![SocketAddr::new(address, port)];
    config.http.port_tries = PORT_TRIES;
    config.http.hosts = hosts;
    config.stun.listen.set_ip(address);
    config.stun.port_tries = PORT_TRIES;
    // People who stop the agent do not wait for pages that are still open.
    config.drain_seconds = 1;
    Relay::new(config).with_secret_routes(secret).run().await
}

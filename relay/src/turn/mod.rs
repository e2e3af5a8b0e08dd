//! The STUN socket: a UDP loop around `turn-core`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use lanyard_turn_core::{Command, Config, FiveTuple, Server, Transport};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::config::StunConfig;
use crate::listener::bind_udp;
use crate::metrics::Metrics;

/// Bytes of the largest datagram that is answered; a STUN message over UDP stays well below (RFC 8489 §6.1).
const DATAGRAM_BYTES: usize = 2048;

/// A running STUN server. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Stun {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Stun {
    /// Binds and answers. Must be called inside a runtime.
    pub(crate) fn start(config: &StunConfig, seed: [u8; 32], metrics: Arc<Metrics>) -> io::Result<Self> {
        let socket = bind_udp(config.listen, config.port_tries)?;
        let address = socket.local_addr()?;
        let task = tokio::spawn(run(socket, address, seed, metrics));
        Ok(Self { address, task })
    }
}

impl Drop for Stun {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(socket: UdpSocket, local: SocketAddr, seed: [u8; 32], metrics: Arc<Metrics>) {
    let mut server = Server::new(Config::default(), seed, Instant::now());
    let mut buffer = [0; DATAGRAM_BYTES];
    loop {
        let (len, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error of an earlier answer; the socket itself is fine.
                debug!(%error, "reading the STUN socket");
                continue;
            }
        };
        metrics.stun_packet();
        // On a dual-stack socket an IPv4 client shows up as a mapped address; it must be told its IPv4 address.
        let client = SocketAddr::new(from.ip().to_canonical(), from.port());
        let tuple = FiveTuple { transport: Transport::Udp, client, server: local };
        let forward = server.handle_client_datagram(Instant::now(), tuple, &buffer[..len]);
        debug_assert!(forward.is_none(), "nothing is relayed without allocations");
        while let Some(command) = server.poll_command() {
            match command {
                Command::SendToClient { message, .. } => {
                    // The answer is dropped when the socket is full: clients ask again (RFC 8489 §6.2.1).
                    match socket.try_send_to(message, from) {
                        Ok(_) => metrics.stun_answer(),
                        Err(error) => debug!(%error, "answering over STUN"),
                    }
                }
                Command::OpenRelaySocket { .. } | Command::CloseRelaySocket { .. } => {
                    warn!("relaying is not switched on");
                }
            }
        }
    }
}

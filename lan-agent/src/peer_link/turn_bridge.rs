//! TURN over TCP and TLS for a stack that speaks TURN over UDP only.
//!
//! The stack's TURN client talks to a UDP socket on loopback; behind it each of the stack's sockets gets a connection of
//! its own to the server, on which the same messages travel, framed as RFC 8489 §6.2.2 and RFC 8656 §12.5 say. Messages
//! are not changed: the credential never passes through here in the clear, only the integrity made with it.
//!
//! A bridge knows several ways to one server, say `turn:…?transport=tcp` and `turns:…:443`. They are tried a quarter of a
//! second apart and the first that stands is taken.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lanyard_turn_core::{MAX_FRAME_BYTES, StreamFramer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tracing::debug;

/// The sockets of one link that may use its bridges: addresses and ICE restarts.
const MAX_CLIENTS: usize = 32;
/// Messages of one client that wait for its connection. What comes when they are full is dropped, as on UDP.
const WAITING_MESSAGES: usize = 256;
/// How long a way may take until it stands, TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// How much later the next way is tried when the one before has neither stood nor failed (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);
/// How much later a bridge begins when the same server is also reached over UDP, so that UDP wins where it works: a
/// stream delivers late what it lost.
const HEAD_START_OF_UDP: Duration = Duration::from_millis(600);
/// Bytes read from a connection at once.
const READ_BYTES: usize = 32 * 1024;
/// Bytes put together for one write.
const WRITE_BYTES: usize = 64 * 1024;

/// Addresses of the sockets that a link has bound: nobody else may use its bridges.
#[derive(Debug, Default)]
pub(super) struct OwnSockets(Mutex<Vec<SocketAddr>>);

impl OwnSockets {
    pub(super) fn add(&self, address: SocketAddr) {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Restarts bind new sockets; the oldest are closed by then.
        if sockets.len() >= 4 * MAX_CLIENTS {
            sockets.remove(0);
        }
        sockets.push(address);
    }

    fn contains(&self, address: SocketAddr) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }
}

/// One way to a TURN server over a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// Name or address; IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl Way {
    /// Reads `turn:HOST[:PORT]?transport=tcp` and `turns:HOST[:PORT][?transport=tcp]` (RFC 7065); `None` for all others.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, authority) = address.split_once(':')?;
        let tls = scheme.eq_ignore_ascii_case("turns");
        let over_tcp = query.eq_ignore_ascii_case("transport=tcp");
        if !(tls && (query.is_empty() || over_tcp) || scheme.eq_ignore_ascii_case("turn") && over_tcp) {
            return None;
        }
        let default_port = if tls { 5349 } else { 3478 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                (host, after.strip_prefix(':').map_or(Some(default_port), |port| port.parse().ok())?)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, port.parse().ok()?),
                None => (authority, default_port),
            },
        };
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port, tls })
    }

    async fn connect(&self, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Connection> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        if !self.tls {
            return Ok(Box::new(stream));
        }
        let config = tls.cloned().map_or_else(system_trust, Ok)?;
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(config).connect(name, stream).await?))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
type Connection = Box<dyn Stream>;

/// Trusts what the system trusts, as the connection to the signaling server does. No ALPN: TURN clients send none.
fn system_trust() -> io::Result<Arc<rustls::ClientConfig>> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

/// What a bridge is opened with.
pub(super) struct BridgeConfig {
    /// Ways to one server, best first; not empty.
    pub(super) ways: Vec<Way>,
    /// Whose packets are taken.
    pub(super) own: Arc<OwnSockets>,
    /// `None`: what the system trusts.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    /// The link also has TURN over UDP, which gets a head start.
    pub(super) beside_udp: bool,
    /// The stack has no IPv4 socket.
    pub(super) ipv6_only: bool,
}

/// A UDP socket on loopback behind which a TURN server is reached over TCP or TLS. Ends when dropped.
#[derive(Debug)]
pub(super) struct Bridge {
    address: SocketAddr,
    task: AbortHandle,
}

impl Bridge {
    /// Must be called on a Tokio runtime.
    ///
    /// # Errors
    /// No socket on loopback.
    pub(super) async fn open(config: BridgeConfig) -> io::Result<Self> {
        let loopback = if config.ipv6_only { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let socket = UdpSocket::bind(SocketAddr::new(loopback, 0)).await?;
        let address = socket.local_addr()?;
        let task = tokio::spawn(serve(Arc::new(socket), Arc::new(config))).abort_handle();
        Ok(Self { address, task })
    }

    /// What the stack is told instead of the server's own URLs.
    pub(super) fn url(&self) -> String {
        format!("turn:{}?transport=udp", self.address)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hands each datagram to its client's connection. The connections end with this task.
async fn serve(socket: Arc<UdpSocket>, config: Arc<BridgeConfig>) {
    let begin = Instant::now() + if config.beside_udp { HEAD_START_OF_UDP } else { Duration::ZERO };
    let mut clients: HashMap<SocketAddr, mpsc::Sender<Bytes>> = HashMap::new();
    let mut connections = JoinSet::new();
    let mut buffer = vec![0; MAX_FRAME_BYTES];
    loop {
        tokio::select! {
            Some(ended) = connections.join_next() => {
                let Ok(client) = ended else { continue };
                clients.remove(&client);
            }
            received = socket.recv_from(&mut buffer) => {
                // Loopback reports a closed port of the stack here; the next datagram is as good as any.
                let Ok((len, client)) = received else { continue };
                let message = Bytes::copy_from_slice(buffer.get(..len).unwrap_or_default());
                if !clients.contains_key(&client) {
                    if clients.len() >= MAX_CLIENTS || !config.own.contains(client) {
                        debug!(%client, "not a socket of this link");
                        continue;
                    }
                    let (sender, messages) = mpsc::channel(WAITING_MESSAGES);
                    clients.insert(client, sender);
                    connections.spawn(carry(client, begin, Arc::clone(&config), Arc::clone(&socket), messages));
                }
                if let Some(sender) = clients.get(&client) {
                    // Full: dropped, and the stack's own retransmission or SCTP's sends it again.
                    let _ = sender.try_send(message);
                }
            }
        }
    }
}

/// One client's connection, from its first message until either end is gone.
async fn carry(
    client: SocketAddr,
    begin: Instant,
    config: Arc<BridgeConfig>,
    socket: Arc<UdpSocket>,
    messages: mpsc::Receiver<Bytes>,
) -> SocketAddr {
    sleep_until(begin).await;
    match timeout(CONNECT_TIMEOUT, first_connection(&config)).await {
        Ok(Ok(connection)) => {
            let (reader, writer) = tokio::io::split(connection);
            let ended = tokio::select! {
                ended = write_messages(messages, writer) => ended,
                ended = read_messages(reader, &socket, client) => ended,
            };
            debug!(?ended, "TURN connection ended");
        }
        Ok(Err(error)) => debug!(%error, "no way to the TURN server over a stream"),
        Err(_) => debug!("the TURN server does not answer over a stream"),
    }
    client
}

/// Tries all ways, each somewhat after the one before or as soon as that failed.
async fn first_connection(config: &BridgeConfig) -> io::Result<Connection> {
    let mut last_error = io::Error::from(io::ErrorKind::NotFound);
    let mut attempts = FuturesUnordered::new();
    let mut ways = config.ways.iter();
    loop {
        if let Some(way) = ways.next() {
            attempts.push(async move { (way, way.connect(config.tls.as_ref()).await) });
        }
        tokio::select! {
            attempt = attempts.next() => match attempt {
                Some((way, Ok(connection))) => {
                    debug!(?way, "TURN over a stream");
                    return Ok(connection);
                }
                Some((way, Err(error))) => {
                    debug!(?way, %error, "no TURN there");
                    last_error = error;
                }
                None => return Err(last_error),
            },
            () = sleep(STAGGER), if ways.len() > 0 => {}
        }
    }
}

/// Everything that waits goes out in one write, each message padded to four bytes (RFC 8656 §12.5).
async fn write_messages(mut messages: mpsc::Receiver<Bytes>, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut batch = BytesMut::with_capacity(WRITE_BYTES);
    while let Some(message) = messages.recv().await {
        put_padded(&mut batch, &message);
        while batch.len() < WRITE_BYTES
            && let Ok(message) = messages.try_recv()
        {
            put_padded(&mut batch, &message);
        }
        writer.write_all(&batch).await?;
        writer.flush().await?;
        batch.clear();
    }
    Ok(())
}

fn put_padded(batch: &mut BytesMut, message: &[u8]) {
    batch.put_slice(message);
    batch.put_bytes(0, message.len().next_multiple_of(4) - message.len());
}

async fn read_messages(mut reader: impl AsyncRead + Unpin, socket: &UdpSocket, client: SocketAddr) -> io::Result<()> {
    let mut framer = StreamFramer::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let len = reader.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        framer.extend(buffer.get(..len).unwrap_or_default());
        while let Some(message) = framer.next_frame().map_err(io::Error::other)? {
            socket.send_to(without_padding(message), client).await?;
        }
    }
}

/// ChannelData needs no padding in a datagram (RFC 8656 §12.5).
fn without_padding(message: &[u8]) -> &[u8] {
    match message {
        [0x40..=0x7f, _, high, low, ..] => {
            let len = 4 + usize::from(u16::from_be_bytes([*high, *low]));
            message.get(..len).unwrap_or(message)
        }
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn way(host: &str, port: u16, tls: bool) -> Way {
        Way { host: host.to_owned(), port, tls }
    }

    #[test]
    fn urls_over_tcp_and_tls_are_ways_and_others_are_not() {
        assert_eq!(Way::parse("turn:a:3478?transport=tcp"), Some(way("a", 3478, false)));
        assert_eq!(Way::parse("turns:a:443?transport=tcp"), Some(way("a", 443, true)));
        assert_eq!(Way::parse("turns:a"), Some(way("a", 5349, true)));
        assert_eq!(Way::parse("TURN:[2001:db8::1]?transport=TCP"), Some(way("2001:db8::1", 3478, false)));
        assert_eq!(Way::parse("turns:[::1]:443"), Some(way("::1", 443, true)));
        for other in [
            "turn:a:3478",
            "turn:a?transport=udp",
            "turns:a?transport=udp",
            "stun:a",
            "turns:",
            "turn:a:x?transport=tcp",
        ] {
            assert_eq!(Way::parse(other), None, "{other}");
        }
    }

    /// A STUN header with a length of `len` and that many bytes behind it.
    fn stun(len: u16) -> Vec<u8> {
        let mut message = vec![0, 1];
        message.extend(len.to_be_bytes());
        message.extend([7; 16]);
        message.resize(20 + usize::from(len), 9);
        message
    }

    async fn bridge_to(ways: Vec<Way>) -> (Bridge, UdpSocket) {
        let own = Arc::new(OwnSockets::default());
        let stack = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("socket");
        own.add(stack.local_addr().expect("address"));
        let config = BridgeConfig { ways, own, tls: None, beside_udp: false, ipv6_only: false };
        let bridge = Bridge::open(config).await.expect("bridge");
        stack.connect(bridge.address).await.expect("connect");
        (bridge, stack)
    }

    #[tokio::test]
    async fn messages_are_padded_towards_the_server_and_bare_towards_the_stack() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listener");
        let port = server.local_addr().expect("address").port();
        let (_bridge, stack) = bridge_to(vec![way("127.0.0.1", port, false)]).await;
        let channel_data = [0x40, 0, 0, 5, 1, 2, 3, 4, 5];
        stack.send(&stun(8)).await.expect("send");
        stack.send(&channel_data).await.expect("send");

        let (mut connection, _) = timeout(PATIENCE, server.accept()).await.expect("in time").expect("connection");
        let mut received = vec![0; 28 + 12];
        timeout(PATIENCE, connection.read_exact(&mut received)).await.expect("in time").expect("both messages");
        assert_eq!(received, [&stun(8)[..], &channel_data, &[0; 3]].concat());

        connection.write_all(&received).await.expect("write");
        let mut buffer = [0; 100];
        let mut received = Vec::new();
        for _ in 0..2 {
            let len = timeout(PATIENCE, stack.recv(&mut buffer)).await.expect("in time").expect("datagram");
            received.push(buffer[..len].to_vec());
        }
        assert_eq!(received, [stun(8), channel_data.to_vec()]);
    }

    #[tokio::test]
    async fn a_stranger_on_loopback_opens_no_connection() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listener");
        let port = server.local_addr().expect("address").port();
        let (bridge, stack) = bridge_to(vec![way("127.0.0.1", port, false)]).await;
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("socket");
        stranger.send_to(&stun(0), bridge.address).await.expect("send");
        stack.send(&stun(4)).await.expect("send");
        let (mut connection, _) = timeout(PATIENCE, server.accept()).await.expect("in time").expect("connection");
        let mut received = vec![0; 24];
        timeout(PATIENCE, connection.read_exact(&mut received)).await.expect("in time").expect("message");
        assert_eq!(received, stun(4), "the stranger came first and got no connection");
    }

    #[tokio::test]
    async fn a_way_that_stands_is_found_behind_one_that_is_refused() {
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listener");
        let refused = closed.local_addr().expect("address").port();
        drop(closed);
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listener");
        let port = server.local_addr().expect("address").port();
        let (_bridge, stack) = bridge_to(vec![way("127.0.0.1", refused, false), way("127.0.0.1", port, false)]).await;
        stack.send(&stun(0)).await.expect("send");
        timeout(PATIENCE, server.accept()).await.expect("in time").expect("connection");
    }

    #[tokio::test]
    async fn a_stream_out_of_step_ends_and_the_next_message_connects_anew() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listener");
        let port = server.local_addr().expect("address").port();
        let (_bridge, stack) = bridge_to(vec![way("127.0.0.1", port, false)]).await;
        stack.send(&stun(0)).await.expect("send");
        let (mut connection, _) = timeout(PATIENCE, server.accept()).await.expect("in time").expect("connection");
        connection.write_all(&[0xff; 8]).await.expect("write");
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, connection.read_to_end(&mut rest)).await.expect("the bridge closes it");
        let again = async {
            loop {
                stack.send(&stun(0)).await.expect("send");
                if let Ok(accepted) = timeout(Duration::from_millis(50), server.accept()).await {
                    break accepted.expect("connection");
                }
            }
        };
        timeout(PATIENCE, again).await.expect("connected anew in time");
    }
}

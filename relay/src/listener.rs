//! TCP listeners: limits before anything is read, TLS, and HTTP/1.1 within bounds.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lanyard_signaling::SourceKey;
use lanyard_turn_core::{Transport, is_first_byte_of_turn};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::http::WireInfo;
use crate::metrics::Metrics;
use crate::tls::{CHALLENGE_PROTOCOL, Identity};
use crate::turn::stream::{Rewound, StreamDoor};

/// Bytes of a request's head.
const HEAD_BYTES: usize = 8 * 1024;
/// Header fields of a request.
const HEAD_FIELDS: usize = 64;
/// Time for a request's head, and between requests of one connection.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// The same, as HTTP/2 says it.
const HEAD_BYTES_U32: u32 = 8 * 1024;
/// Requests at once on one connection of HTTP/2, and streams that a client may open and reset unseen.
const H2_STREAMS: u32 = 32;
/// Bytes that a client of HTTP/2 may send ahead, and that wait for it on each stream.
const H2_WINDOW: u32 = 64 * 1024;
const H2_SEND_BYTES: usize = 64 * 1024;
/// How often a connection of HTTP/2 is asked for a sign of life.
const H2_PING: Duration = Duration::from_secs(20);
/// Time for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Unfinished TLS handshakes in all and of one source.
const HANDSHAKES: (usize, usize) = (1_000, 16);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// Pause after a failed accept: out of file descriptors is the usual reason, and trying at once helps nobody.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds `address`, or one of the next ports when it is taken. `[::]` takes IPv4 too, and is `0.0.0.0` where there is
/// no IPv6.
pub(crate) fn bind_tcp(address: SocketAddr, port_tries: u16) -> io::Result<TcpListener> {
    bind(address, port_tries, |address| {
        let socket = open(address, Type::STREAM, Protocol::TCP)?;
        // A relay that restarts gets its port back at once. On Unix this does not share a port that is in use.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    })
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind<T>(wanted: SocketAddr, port_tries: u16, try_one: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut address = wanted;
    let mut tries = port_tries;
    loop {
        match try_one(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 1 && address.port() < u16::MAX => {
                tries -= 1;
                address.set_port(address.port() + 1);
            }
            Err(error) if is_without_ipv6(&error) && address.ip().is_unspecified() && address.is_ipv6() => {
                address.set_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            }
            result => return result,
        }
    }
}

pub(crate) fn is_without_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT and EADDRNOTAVAIL; the first has no stable kind.
    error.kind() == io::ErrorKind::AddrNotAvailable || matches!(error.raw_os_error(), Some(97 | 47 | 10047))
}

/// What all listeners share.
pub(crate) struct Front {
    pub(crate) router: axum::Router,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) connections: Arc<Places>,
    pub(crate) handshakes: Arc<Places>,
    /// Addresses that may hold any number of connections: trusted proxies.
    pub(crate) is_exempt: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Takes TURN clients; `None` when nothing is relayed.
    pub(crate) turn: Option<StreamDoor>,
    /// Becomes true when the relay stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Front {
    pub(crate) fn handshake_places() -> Arc<Places> {
        Arc::new(Places::new(HANDSHAKES.0, HANDSHAKES.1))
    }
}

/// What a listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Page and signaling, and TURN: the first byte tells which.
    Web,
    /// TURN only.
    Turn,
}

/// Accepts until the relay stops; with an identity, TLS.
pub(crate) async fn run(listener: TcpListener, purpose: Purpose, identity: Option<Arc<Identity>>, front: Arc<Front>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(front.stopping.clone()) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let source = (!(front.is_exempt)(peer.ip())).then(|| SourceKey::of(peer.ip()));
        let Some(place) = front.connections.take(source) else {
            debug!(%peer, "too many connections");
            front.metrics.connection_refused();
            continue;
        };
        let (front, identity) = (Arc::clone(&front), identity.clone());
        tokio::spawn(async move {
            front.metrics.connection_opened();
            serve(stream, (peer, source), purpose, identity, &front).await;
            front.metrics.connection_closed();
            drop(place);
        });
    }
}

async fn serve(
    stream: TcpStream,
    (peer, source): (SocketAddr, Option<SourceKey>),
    purpose: Purpose,
    identity: Option<Arc<Identity>>,
    front: &Front,
) {
    let Ok(local) = stream.local_addr() else { return };
    // Signaling is small messages that somebody waits for.
    let _ = stream.set_nodelay(true);
    let wire = WireInfo { peer, local, tls: identity.is_some() };
    let Some(identity) = identity else { return serve_either(stream, purpose, wire, false, front).await };
    let Some(place) = front.handshakes.take(source) else {
        front.metrics.tls_failed();
        return;
    };
    let handshake = TlsAcceptor::from(identity.current()).accept(stream);
    let result = tokio::time::timeout(HANDSHAKE_TIME, handshake).await;
    drop(place);
    match result {
        // Who asks for a proof has seen it in the handshake (RFC 8737 §3).
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(CHALLENGE_PROTOCOL) => {}
        Ok(Ok(stream)) => {
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve_either(stream, purpose, wire, is_h2, front).await;
        }
        Ok(Err(error)) => {
            debug!(%peer, %error, "TLS handshake failed");
            front.metrics.tls_failed();
        }
        Err(_) => front.metrics.tls_failed(),
    }
}

/// TURN clients send no ALPN, so it is the first byte that tells them from browsers.
async fn serve_either(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    purpose: Purpose,
    wire: WireInfo,
    is_h2: bool,
    front: &Front,
) {
    let Some(turn) = &front.turn else { return serve_web(stream, wire, is_h2, front).await };
    let first = tokio::time::timeout(HEAD_TIME, Rewound::after_first_byte(stream));
    let Ok(Ok(Some((first, stream)))) = first.await else { return };
    if is_first_byte_of_turn(first) {
        let transport = if wire.tls { Transport::Tls } else { Transport::Tcp };
        turn.serve(stream, transport, wire.peer, wire.local).await;
    } else if purpose == Purpose::Web {
        serve_web(stream, wire, is_h2, front).await;
    }
}

async fn serve_web(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    wire: WireInfo,
    is_h2: bool,
    front: &Front,
) {
    if is_h2 { serve_h2(stream, wire, front).await } else { serve_http(stream, wire, front).await }
}

/// HTTP/2, for the page and its assets: browsers open WebSockets over HTTP/1.1 as long as nobody offers them otherwise
/// (RFC 8441 §3).
async fn serve_h2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, wire: WireInfo, front: &Front) {
    let router = TowerToHyperService::new(front.router.clone());
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(wire);
        router.call(request)
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(HEAD_BYTES_U32)
        .max_pending_accept_reset_streams(H2_STREAMS as usize)
        .initial_stream_window_size(H2_WINDOW)
        .initial_connection_window_size(H2_WINDOW)
        .max_send_buf_size(H2_SEND_BYTES)
        .keep_alive_interval(H2_PING)
        .keep_alive_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(front.stopping.clone()) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(peer = %wire.peer, %error, "HTTP/2 connection ended");
    }
}

async fn serve_http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, wire: WireInfo, front: &Front) {
    let router = TowerToHyperService::new(front.router.clone());
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(wire);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_header_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        .max_buf_size(2 * HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(front.stopping.clone()) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(peer = %wire.peer, %error, "HTTP connection ended");
    }
}

/// Ends when the relay stops, or is gone.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Places for connections: so many in all, so many of one source.
#[derive(Debug)]
pub(crate) struct Places {
    total: usize,
    per_source: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_source: HashMap<SourceKey, usize>,
}

/// A taken place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    source: Option<SourceKey>,
}

impl Places {
    pub(crate) fn new(total: usize, per_source: usize) -> Self {
        Self { total, per_source, taken: Mutex::default() }
    }

    /// `None` when the source, or all, hold as many as they may. Without a source only the total counts.
    pub(crate) fn take(self: &Arc<Self>, source: Option<SourceKey>) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.total {
            return None;
        }
        if let Some(key) = source {
            let held = taken.by_source.entry(key).or_default();
            if *held >= self.per_source {
                return None;
            }
            *held += 1;
        }
        taken.total += 1;
        Some(Place { places: Arc::clone(self), source })
    }

    /// Places taken now.
    pub(crate) fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        if let Some(key) = self.source
            && let Some(held) = taken.by_source.get_mut(&key)
        {
            *held -= 1;
            if *held == 0 {
                taken.by_source.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_source_and_in_all_and_given_back() {
        let source = |n: u8| Some(SourceKey::of(IpAddr::from([192, 0, 2, n])));
        let places = Arc::new(Places::new(3, 2));
        let held: Vec<_> = (0..2).map(|_| places.take(source(1)).unwrap()).collect();
        assert!(places.take(source(1)).is_none(), "the third of one source");
        let other = places.take(source(2)).unwrap();
        assert!(places.take(None).is_none(), "the fourth in all");
        drop((held, other));
        assert_eq!(places.taken(), 0);
        assert!(places.taken.lock().unwrap().by_source.is_empty());
    }
}

//! UDP sockets with buffers that hold a burst.
//!
//! The sender emits up to 60 KB at once and the receive window lets a mebibyte be on its way, while a socket's default
//! buffer holds about 200 KB: what overflows it is lost, and SCTP notices after a second at the earliest. So every
//! socket gets larger buffers, and the window follows what the system really granted.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tracing::debug;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

use super::follow_up::FollowUps;
use super::turn_bridge::OwnSockets;

/// Bytes asked of the system for each direction of each socket.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the largest message this device accepts, if its window holds it several times over.
pub(super) const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// Bytes of the largest receive window.
const MAX_WINDOW_BYTES: usize = 1024 * 1024;
/// Bytes of the smallest receive window: measured to lose nothing with Linux's default buffer of 212,992 bytes.
const MIN_WINDOW_BYTES: usize = 128 * 1024;
/// A STUN or TURN name that is not resolved by then is left out. The stack waits for it before it gathers anything.
const NAME_TIMEOUT: Duration = Duration::from_millis(700);

/// How much may be on its way to this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// SCTP's receive window (`a_rwnd`, RFC 9260 §3.3.2).
    pub(super) receive_bytes: usize,
    /// What `a=max-message-size` says (RFC 8841 §6). A message larger than the window could never be completed.
    pub(super) max_message_bytes: usize,
}

impl Window {
    /// Measured on a socket like those that the link will use.
    pub(super) fn measure() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        Ok(Self::for_receive_buffer(enlarge_buffers(&socket)?.receive_bytes))
    }

    /// A third of the reported size: Linux reports twice what it granted, and counts each packet with its bookkeeping.
    fn for_receive_buffer(reported_bytes: usize) -> Self {
        let receive_bytes = (reported_bytes / 3).clamp(MIN_WINDOW_BYTES, MAX_WINDOW_BYTES);
        let max_message_bytes = if receive_bytes >= 2 * MAX_MESSAGE_BYTES { MAX_MESSAGE_BYTES } else { 64 * 1024 };
        Self { receive_bytes, max_message_bytes }
    }
}

#[derive(Debug, Clone, Copy)]
struct GrantedBuffers {
    receive_bytes: usize,
    send_bytes: usize,
}

/// Asks for [`SOCKET_BUFFER_BYTES`] both ways and reads back what the system's limits left of it.
fn enlarge_buffers(socket: &UdpSocket) -> io::Result<GrantedBuffers> {
    let socket = SockRef::from(socket);
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    Ok(GrantedBuffers { receive_bytes: socket.recv_buffer_size()?, send_bytes: socket.send_buffer_size()? })
}

/// Tokio, with larger socket buffers, impatient name lookups, [`FollowUps`] and a list of what is bound.
#[derive(Debug)]
pub(super) struct LinkRuntime {
    pub(super) follow_ups: Arc<FollowUps>,
    /// Told of each socket.
    pub(super) own: Arc<OwnSockets>,
}

impl Runtime for LinkRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(Box::pin(FollowUps::mark(future)))
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let granted = enlarge_buffers(&socket)?;
        self.own.add(socket.local_addr()?);
        debug!(receive_bytes = granted.receive_bytes, send_bytes = granted.send_bytes, "socket buffers");
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        Box::pin(async move { TokioRuntime.connect_tcp(remote_addr).await })
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        Box::pin(async move {
            match tokio::time::timeout(NAME_TIMEOUT, TokioRuntime.resolve_host(host)).await {
                Ok(resolved) => resolved,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.follow_ups.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        "tokio"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generous_buffer_gives_the_full_window_and_message_size() {
        let window = Window::for_receive_buffer(8 * 1024 * 1024);
        assert_eq!(window, Window { receive_bytes: 1024 * 1024, max_message_bytes: 256 * 1024 });
    }

    #[test]
    fn a_capped_buffer_gives_a_window_that_holds_two_messages() {
        for reported in [0, 212_992, 425_984, 1_000_000] {
            let window = Window::for_receive_buffer(reported);
            assert!(window.receive_bytes >= 2 * window.max_message_bytes, "{window:?}");
        }
    }

    #[test]
    fn the_system_grants_at_least_what_it_gives_by_default() {
        let plain = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback socket");
        let before = SockRef::from(&plain).recv_buffer_size().expect("size");
        let granted = enlarge_buffers(&plain).expect("enlarge");
        assert!(granted.receive_bytes >= before);
        assert!(granted.send_bytes > 0);
    }
}

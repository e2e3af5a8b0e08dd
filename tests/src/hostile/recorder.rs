//! A proxy that changes nothing and writes down everything: what a wire tap at the relay would have.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A recording proxy on loopback; it ends with the runtime. What clients send is recorded as they meant it, without the
/// masks of WebSocket frames.
pub struct Recorder {
    /// Where clients reach it.
    pub address: SocketAddr,
    record: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    /// Starts it in front of a relay.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let record = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&record);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(upstream).await else { return };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(carry(from_client, to_server, Arc::clone(&kept), true));
                tokio::spawn(carry(from_server, to_client, Arc::clone(&kept), false));
            }
        });
        Ok(Self { address, record })
    }

    /// Everything so far, both ways.
    #[must_use]
    pub fn recorded(&self) -> Vec<u8> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, record: Arc<Mutex<Vec<u8>>>, masked: bool) {
    let mut sent = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..length];
        record.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        if masked {
            sent.extend_from_slice(bytes);
            let plain = unmasked(&mut sent);
            record.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&plain);
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// The payloads of the whole frames in `sent` (RFC 6455 §5.2), which are taken out of it. Before the first frame stands
/// the request, which ends with an empty line.
fn unmasked(sent: &mut Vec<u8>) -> Vec<u8> {
    if sent.starts_with(b"GET ") {
        let Some(end) = sent.windows(4).position(|four| four == b"\r\n\r\n") else { return Vec::new() };
        sent.drain(..end + 4);
    }
    let mut plain = Vec::new();
    while let [_, length, rest @ ..] = sent.as_slice() {
        let (length, head) = match length & 0x7f {
            126 => match rest {
                [high, low, ..] => (usize::from(u16::from_be_bytes([*high, *low])), 4),
                _ => break,
            },
            127 => break,
            short => (usize::from(short), 2),
        };
        let Some(frame) = sent.get(head..head + 4 + length) else { break };
        let (mask, payload) = frame.split_at(4);
        plain.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        plain.push(b'\n');
        sent.drain(..head + 4 + length);
    }
    plain
}

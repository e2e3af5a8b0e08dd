//! TURN clients over TCP and TLS (RFC 8656 §3.1): a task each, between the connection and the worker.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lanyard_turn_core::{FiveTuple, MAX_FRAME_BYTES, Transport, first_frame};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use super::control::{Control, Controller, Ended, Line, StreamId};
use super::stream_queue::StreamQueue;

/// Time for a message that was begun, the first one included.
const MESSAGE_TIME: Duration = Duration::from_secs(10);
/// Time between messages: an allocation that is not refreshed within ten minutes is gone (RFC 8656 §3.2).
const IDLE_TIME: Duration = Duration::from_secs(11 * 60);
/// Time in which a client takes something of what is written to it.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// Makes streams into TURN clients.
#[derive(Debug, Clone)]
pub(crate) struct StreamDoor {
    controller: Controller,
    stopping: watch::Receiver<bool>,
}

/// Tells the worker when the task ends, however it does.
struct Registration<'a> {
    line: &'a Line,
    id: StreamId,
    tuple: FiveTuple,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.line.ended(Ended::Stream(self.id, self.tuple));
    }
}

impl StreamDoor {
    /// Streams end when `stopping` becomes true.
    pub(super) fn new(controller: Controller, stopping: watch::Receiver<bool>) -> Self {
        Self { controller, stopping }
    }

    /// Serves until either side ends it.
    pub(crate) async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        transport: Transport,
        client: SocketAddr,
        server: SocketAddr,
    ) {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let tuple = FiveTuple { transport, client: canonical(client), server: canonical(server) };
        let Some(line) = self.controller.line_for(tuple.client.ip()) else { return };
        let id = line.next_stream();
        let queue = Arc::new(StreamQueue::default());
        let opened = Control::StreamOpened { stream: id, tuple, queue: Arc::clone(&queue) };
        if line.tell(opened).await.is_err() {
            return;
        }
        let _registration = Registration { line, id, tuple };
        let (reader, writer) = tokio::io::split(stream);
        let mut stopping = self.stopping.clone();
        let ended = tokio::select! {
            ended = read(reader, tuple, line) => ended,
            ended = write(writer, transport, &queue) => ended,
            _ = stopping.wait_for(|stopping| *stopping) => Ok(()),
        };
        if let Err(error) = ended {
            debug!(peer = %client, %error, "TURN stream ended");
        }
    }
}

/// Hands whole messages on; waits while the worker has much to do, so that the client is slowed down.
async fn read(mut reader: impl AsyncRead + Unpin, tuple: FiveTuple, line: &Line) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    let mut is_first = true;
    loop {
        let patience = if is_first || !buffer.is_empty() { MESSAGE_TIME } else { IDLE_TIME };
        buffer.reserve(READ_BYTES);
        if timeout(patience, reader.read_buf(&mut buffer)).await?? == 0 {
            return Ok(());
        }
        let whole = whole_messages(&buffer)?;
        if whole == 0 {
            continue;
        }
        is_first = false;
        let rest = buffer.split_off(whole);
        let messages = std::mem::replace(&mut buffer, rest);
        if line.tell(Control::StreamMessages { tuple, messages }).await.is_err() {
            return Ok(());
        }
    }
}

/// How many bytes at the start are whole messages.
fn whole_messages(bytes: &[u8]) -> io::Result<usize> {
    let mut whole = 0;
    loop {
        let rest = bytes.get(whole..).unwrap_or_default();
        match first_frame(rest) {
            Ok(Some(frame)) => whole += frame.message.len(),
            Ok(None) => {
                debug_assert!(rest.len() < MAX_FRAME_BYTES, "no message is longer");
                return Ok(whole);
            }
            Err(problem) => return Err(io::Error::new(io::ErrorKind::InvalidData, problem)),
        }
    }
}

/// Over TLS each message gets a record of its own, for clients that take a record for a message: Debian's
/// `turnutils_uclient` is one.
async fn write(mut writer: impl AsyncWrite + Unpin, transport: Transport, queue: &StreamQueue) -> io::Result<()> {
    let mut bytes = Vec::new();
    while queue.take(&mut bytes).await {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let message = match first_frame(rest) {
                Ok(Some(frame)) if transport == Transport::Tls => frame.message,
                _ => rest,
            };
            match timeout(WRITE_TIME, writer.write(message)).await?? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                // Less than the message only when it is longer than a record can be.
                written => rest = rest.get(written..).unwrap_or_default(),
            }
        }
        timeout(WRITE_TIME, writer.flush()).await??;
    }
    writer.shutdown().await
}

/// A stream of which one byte was read to find out what it is.
#[derive(Debug)]
pub(crate) struct Rewound<S> {
    first: Option<u8>,
    inner: S,
}

impl<S: AsyncRead + Unpin> Rewound<S> {
    /// Reads the first byte; it will be read again. `None` at the end of the stream.
    pub(crate) async fn after_first_byte(mut inner: S) -> io::Result<Option<(u8, Self)>> {
        let mut first = [0];
        match inner.read(&mut first).await? {
            0 => Ok(None),
            _ => Ok(Some((first[0], Self { first: Some(first[0]), inner }))),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rewound_stream_is_read_from_its_start() {
        let (mut far, near) = tokio::io::duplex(64);
        far.write_all(b"GET /").await.unwrap();
        let (first, mut stream) = Rewound::after_first_byte(near).await.unwrap().unwrap();
        let mut all = [0; 5];
        stream.read_exact(&mut all).await.unwrap();
        assert_eq!((first, &all), (b'G', b"GET /"));
        drop(far);
        assert!(Rewound::after_first_byte(stream).await.unwrap().is_none());
    }

    #[test]
    fn only_whole_messages_are_handed_on() {
        let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[5; 12]].concat();
        let bytes = [&binding[..], &[0x40, 0, 0, 1, 9, 0, 0, 0], &binding[..7]].concat();
        assert_eq!(whole_messages(&bytes).unwrap(), 28);
        assert_eq!(whole_messages(&bytes[..19]).unwrap(), 0);
        assert!(whole_messages(&[0x80, 0, 0, 0]).is_err());
    }
}

//! One direction of a lane: what was read from one socket and is not yet written to the other.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Bytes that wait in one direction at most.
pub(super) const WINDOW_BYTES: usize = 1024 * 1024;

/// What a message counts besides its bytes, so that empty ones are bounded too.
const MESSAGE_COST: usize = 64;

/// The end that is read into.
#[derive(Debug)]
pub(super) struct PipeIn {
    room: Arc<Semaphore>,
    queue: mpsc::UnboundedSender<InPipe>,
}

/// The end that is written from.
#[derive(Debug)]
pub(super) struct PipeOut {
    queue: mpsc::UnboundedReceiver<InPipe>,
}

/// A message in a pipe. It takes its room until it is dropped, which is when it was written.
#[derive(Debug)]
pub(super) struct InPipe {
    pub(super) message: Bytes,
    _room: OwnedSemaphorePermit,
}

/// The other end is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

pub(super) fn pipe() -> (PipeIn, PipeOut) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (PipeIn { room: Arc::new(Semaphore::new(WINDOW_BYTES)), queue: sender }, PipeOut { queue: receiver })
}

impl PipeIn {
    /// Puts a message in; waits for room.
    pub(super) async fn send(&self, message: Bytes) -> Result<(), Broken> {
        // A message is at most a sixteenth of the window, so it fits once enough was written.
        let cost = u32::try_from((message.len() + MESSAGE_COST).min(WINDOW_BYTES)).unwrap_or(u32::MAX);
        let room = tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(cost) => room.map_err(|_| Broken)?,
            () = self.queue.closed() => return Err(Broken),
        };
        self.queue.send(InPipe { message, _room: room }).map_err(|_| Broken)
    }
}

impl PipeOut {
    /// The next message; `None` when the other end is gone and everything it put in was taken. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<InPipe> {
        self.queue.recv().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_full_pipe_takes_no_more_until_something_was_written() {
        let (pipe_in, mut pipe_out) = pipe();
        let message = Bytes::from(vec![0; 64 * 1024]);
        let mut taken = 0;
        while pipe_in.send(message.clone()).now_or_never().is_some() {
            taken += message.len();
            assert!(taken <= WINDOW_BYTES, "the window is 1 MiB");
        }
        assert_eq!(taken, 15 * 64 * 1024);
        let written = pipe_out.next().await.unwrap();
        assert!(pipe_in.send(message.clone()).now_or_never().is_none(), "taken, but not written yet");
        drop(written);
        assert!(pipe_in.send(message).now_or_never().is_some());
    }

    #[tokio::test]
    async fn what_was_put_in_comes_out_after_the_other_end_is_gone() {
        let (pipe_in, mut pipe_out) = pipe();
        pipe_in.send(Bytes::from_static(b"last")).await.unwrap();
        drop(pipe_in);
        assert_eq!(pipe_out.next().await.unwrap().message, "last");
        assert!(pipe_out.next().await.is_none());
    }

    #[tokio::test]
    async fn a_sender_that_waits_for_room_hears_of_the_end() {
        let (pipe_in, pipe_out) = pipe();
        let message = Bytes::from(vec![0; WINDOW_BYTES]);
        pipe_in.send(message.clone()).await.unwrap();
        let waiting = tokio::spawn(async move { pipe_in.send(message).await });
        drop(pipe_out);
        assert_eq!(waiting.await.unwrap(), Err(Broken));
    }
}
